#include "base/clock.h"

#include "suites.h"

START_TEST(monotonic_time_never_goes_back)
{
	int64_t before = clock_mono_ns();
	for (int i = 0; i < 10000; i++) {
		int64_t now = clock_mono_ns();
		ck_assert_int_ge(now, before);
		before = now;
	}
	ck_assert_int_gt(clock_mono_ms(), 0);
	ck_assert_int_gt(clock_cpu_ns(), 0);
}
END_TEST

START_TEST(wall_time_is_shifted)
{
	enum { DAY_MS = 86400000 };
	int64_t before = clock_wall_ms();
	clock_wall_shift_ms(DAY_MS);
	clock_wall_shift_ms(DAY_MS);
	int64_t after = clock_wall_ms();
	clock_wall_shift_ms(-2 * (int64_t)DAY_MS);
	ck_assert_int_ge(after - before, 2 * (int64_t)DAY_MS);
	ck_assert_int_lt(clock_wall_ms() - before, DAY_MS);
}
END_TEST

static const struct {
	int64_t ms;
	const char *text;
} times[] = {
	{0, "1970-01-01T00:00:00.000Z"},
	{999, "1970-01-01T00:00:00.999Z"},
	{1000, "1970-01-01T00:00:01.000Z"},
	{-1, "1969-12-31T23:59:59.999Z"},
	{1700000000123, "2023-11-14T22:13:20.123Z"},
	{1769860800123, "2026-01-31T12:00:00.123Z"},
	{253402300799999, "9999-12-31T23:59:59.999Z"},
};

START_TEST(time_is_printed)
{
	char text[CLOCK_ISO_MAX];
	clock_iso(times[_i].ms, text);
	ck_assert_str_eq(text, times[_i].text);
}
END_TEST

Suite *clock_suite(void)
{
	Suite *s = suite_create("clock");
	TCase *t = tcase_create("clock");
	tcase_add_test(t, monotonic_time_never_goes_back);
	tcase_add_test(t, wall_time_is_shifted);
	tcase_add_loop_test(t, time_is_printed, 0, (int)(sizeof times / sizeof *times));
	suite_add_tcase(s, t);
	return s;
}
