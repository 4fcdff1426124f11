#include "gateway/units.h"

#include <check.h>

static const struct {
	const char *text;
	uint64_t value;
} sizes[] = {
	{"0", 0},
	{"512", 512},
	{"512k", UINT64_C(512) << 10},
	{"64KiB", UINT64_C(64) << 10},
	{"1MB", UINT64_C(1) << 20},
	{"64mib", UINT64_C(64) << 20},
	{"2g", UINT64_C(2) << 30},
	{"1GB", UINT64_C(1) << 30},
	{"3T", UINT64_C(3) << 40},
	{"10B", 10},
	{"18446744073709551615", UINT64_MAX},
};

START_TEST(size_is_read)
{
	uint64_t v;
	struct err_detail d;
	ck_assert_int_eq(units_parse_size(sizes[_i].text, &v, &d), ERR_OK);
	ck_assert_uint_eq(v, sizes[_i].value);
}
END_TEST

static const char *const bad_sizes[] = {
	"", "k", "-1", "1.5M", "1 MB", "12x", "MiB", "18446744073709551616", "16777216T", "0x10",
};

START_TEST(bad_size_is_refused)
{
	uint64_t v;
	struct err_detail d;
	ck_assert_int_eq(units_parse_size(bad_sizes[_i], &v, &d), ERR_INVALID);
}
END_TEST

static const struct {
	const char *text;
	uint64_t value;
} times[] = {
	{"0", 0},	      {"500ms", 500},	      {"2s", 2000},
	{"15m", 900000},      {"1h", 3600000},	      {"7d", 604800000},
	{"1h30m", 5400000},   {"1d2h3m4s5ms", 93784005},
};

START_TEST(duration_is_read)
{
	uint64_t v;
	struct err_detail d;
	ck_assert_int_eq(units_parse_ms(times[_i].text, &v, &d), ERR_OK);
	ck_assert_uint_eq(v, times[_i].value);
}
END_TEST

static const char *const bad_times[] = {
	"", "5", "ms", "-1s", "1.5s", "1 s", "1S", "1w", "2s3", "300000000000000000d",
};

START_TEST(bad_duration_is_refused)
{
	uint64_t v;
	struct err_detail d;
	ck_assert_int_eq(units_parse_ms(bad_times[_i], &v, &d), ERR_INVALID);
}
END_TEST

START_TEST(count_is_a_whole_number)
{
	uint64_t v;
	struct err_detail d;
	ck_assert_int_eq(units_parse_count("42", &v, &d), ERR_OK);
	ck_assert_uint_eq(v, 42);
	ck_assert_int_eq(units_parse_count("42x", &v, &d), ERR_INVALID);
	ck_assert_int_eq(units_parse_count("", &v, &d), ERR_INVALID);
	ck_assert_int_eq(units_parse_count("+1", &v, &d), ERR_INVALID);
}
END_TEST

START_TEST(printed_text_reads_back)
{
	char text[UNITS_TEXT];
	units_size_text(UINT64_C(256) << 20, text);
	ck_assert_str_eq(text, "256MiB");
	units_size_text(1000, text);
	ck_assert_str_eq(text, "1000");
	units_size_text(0, text);
	ck_assert_str_eq(text, "0");
	units_ms_text(240000, text);
	ck_assert_str_eq(text, "4m");
	units_ms_text(90000, text);
	ck_assert_str_eq(text, "90s");
	units_ms_text(1500, text);
	ck_assert_str_eq(text, "1500ms");
	units_ms_text(0, text);
	ck_assert_str_eq(text, "0");
}
END_TEST

Suite *units_suite(void);
Suite *units_suite(void)
{
	Suite *s = suite_create("units");
	TCase *t = tcase_create("all");
	tcase_add_loop_test(t, size_is_read, 0, (int)(sizeof sizes / sizeof *sizes));
	tcase_add_loop_test(t, bad_size_is_refused, 0, (int)(sizeof bad_sizes / sizeof *bad_sizes));
	tcase_add_loop_test(t, duration_is_read, 0, (int)(sizeof times / sizeof *times));
	tcase_add_loop_test(t, bad_duration_is_refused, 0,
			    (int)(sizeof bad_times / sizeof *bad_times));
	tcase_add_test(t, count_is_a_whole_number);
	tcase_add_test(t, printed_text_reads_back);
	suite_add_tcase(s, t);
	return s;
}
