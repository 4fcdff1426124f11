#include "gateway/http/json.h"

#include "base/mem.h"
#include "test/unit/http/suites.h"

static enum err check_text(const char *text, struct err_detail *d)
{
	struct http_json j;
	http_json_init(&j, span_str(text), d);
	(void)http_json_skip(&j);
	return http_json_end(&j);
}

static const char *const good[] = {
	"0", "-0", "1.5e+10", "true", "false", "null", "\"\"", "[]", "{}", " [ 1 , 2 ] ",
	"{\"a\":{\"b\":[1,\"x\",null]}}", "\"\\u00e4\\ud83d\\ude00\"", "\"\xc3\xa4\"", "\t\r\n1",
};

START_TEST(value_is_accepted)
{
	ck_assert_int_eq(check_text(good[_i], NULL), ERR_OK);
}
END_TEST

static const char *const bad[] = {
	"", " ", "01", "-", "1.", "1e", "+1", ".5", "tru", "nul", "truex", "\"", "\"\\x\"", "\"\\u12\"",
	"\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\xff\"", "\"\xc0\x80\"", "\"a\nb\"",
	"[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "{1:2}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
	"{\"a\":1", "]", "}", "1 2", "[}", "{]",
	"1111111111111111111111111111111111111111111111111111111111111111111111111111111111",
};

START_TEST(malformed_text_is_refused)
{
	struct err_detail d = {""};
	ck_assert_int_eq(check_text(bad[_i], &d), ERR_INVALID);
	ck_assert_int_eq(strncmp(d.text, "JSON line ", 10), 0);
}
END_TEST

START_TEST(failure_names_line_and_column)
{
	struct err_detail d = {""};
	ck_assert_int_eq(check_text("[1,\n  2,\n   x]", &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "JSON line 3 column 4: a value is expected here");
}
END_TEST

START_TEST(nesting_is_bounded)
{
	char text[2 * HTTP_JSON_NESTING + 3];
	for (int extra = 0; extra < 2; extra++) {
		size_t n = HTTP_JSON_NESTING + (size_t)extra;
		memset(text, '[', n);
		memset(text + n, ']', n);
		text[2 * n] = '\0';
		ck_assert_int_eq(check_text(text, NULL), extra == 0 ? ERR_OK : ERR_INVALID);
	}
}
END_TEST

START_TEST(string_escapes_are_decoded)
{
	struct http_json j;
	struct str s = {0};
	http_json_init(&j, span_str("\"a\\n\\\"\\u0041\\u00e4\\u20ac\\ud83d\\ude00\\/\""), NULL);
	http_json_string(&j, &s);
	ck_assert_int_eq(http_json_end(&j), ERR_OK);
	ck_assert_str_eq(s.p, "a\n\"A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80/");
	str_fini(&s);
}
END_TEST

static const struct {
	const char *text;
	bool is_int;
	int64_t i;
	double d;
} numbers[] = {
	{"0", true, 0, 0},
	{"-7", true, -7, -7},
	{"9223372036854775807", true, INT64_MAX, 9223372036854775807.0},
	{"-9223372036854775808", true, INT64_MIN, -9223372036854775808.0},
	{"9223372036854775808", false, 0, 9223372036854775808.0},
	{"1.0", false, 0, 1.0},
	{"1e2", false, 0, 100.0},
};

START_TEST(number_keeps_its_kind)
{
	struct http_json j;
	http_json_init(&j, span_str(numbers[_i].text), NULL);
	struct http_json_number n = http_json_number(&j);
	ck_assert_int_eq(http_json_end(&j), ERR_OK);
	ck_assert_int_eq(n.is_int, numbers[_i].is_int);
	if (n.is_int) {
		ck_assert(n.i == numbers[_i].i);
	}
	ck_assert_double_eq(n.d, numbers[_i].d);
}
END_TEST

START_TEST(infinite_number_is_refused)
{
	struct http_json j;
	http_json_init(&j, span_str("1e999"), NULL);
	(void)http_json_number(&j);
	ck_assert_int_eq(j.err, ERR_INVALID);
}
END_TEST

START_TEST(wrong_kind_is_refused)
{
	struct http_json j;
	struct str s = {0};
	http_json_init(&j, span_str("1"), NULL);
	http_json_string(&j, &s);
	ck_assert_int_eq(j.err, ERR_INVALID);
	http_json_init(&j, span_str("\"1\""), NULL);
	(void)http_json_number(&j);
	ck_assert_int_eq(j.err, ERR_INVALID);
	http_json_init(&j, span_str("null"), NULL);
	(void)http_json_bool(&j);
	ck_assert_int_eq(j.err, ERR_INVALID);
	str_fini(&s);
}
END_TEST

START_TEST(compact_drops_space_outside_strings)
{
	struct str s = {0};
	http_json_compact(span_str("{ \"a b\" : [ 1 ,\n\"x \\\" y\" ] }"), &s);
	ck_assert_str_eq(s.p, "{\"a b\":[1,\"x \\\" y\"]}");
	str_fini(&s);
}
END_TEST

START_TEST(written_text_is_quoted)
{
	struct str s = {0};
	http_json_put(&s, span_str("a\"\\\n\xc3\xa4\xff"));
	ck_assert_str_eq(s.p, "\"a\\\"\\\\\\u000a\xc3\xa4\\ufffd\"");
	str_fini(&s);
}
END_TEST

START_TEST(no_memory_is_reported)
{
	struct http_json j;
	struct str s = {0};
	http_json_init(&j, span_str("\"text\""), NULL);
	mem_fault_at(1);
	http_json_string(&j, &s);
	mem_fault_at(0);
	ck_assert_int_eq(j.err, ERR_NOMEM);
	str_fini(&s);
}
END_TEST

Suite *json_suite(void)
{
	Suite *s = suite_create("json");
	TCase *t = tcase_create("json");
	tcase_add_loop_test(t, value_is_accepted, 0, sizeof good / sizeof *good);
	tcase_add_loop_test(t, malformed_text_is_refused, 0, sizeof bad / sizeof *bad);
	tcase_add_test(t, failure_names_line_and_column);
	tcase_add_test(t, nesting_is_bounded);
	tcase_add_test(t, string_escapes_are_decoded);
	tcase_add_loop_test(t, number_keeps_its_kind, 0, sizeof numbers / sizeof *numbers);
	tcase_add_test(t, infinite_number_is_refused);
	tcase_add_test(t, wrong_kind_is_refused);
	tcase_add_test(t, compact_drops_space_outside_strings);
	tcase_add_test(t, written_text_is_quoted);
	tcase_add_test(t, no_memory_is_reported);
	suite_add_tcase(s, t);
	return s;
}
