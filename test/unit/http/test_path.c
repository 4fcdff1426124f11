#include "gateway/http/path.h"

#include "test/unit/http/suites.h"

static const struct {
	const char *pattern;
	const char *path;
	const char *params;	/* joined by '|'; NULL: no match */
} matches[] = {
	{"/health/live", "/health/live", ""},
	{"/health/live", "/health/live/", ""},
	{"/health/live", "/Health/LIVE", ""},
	{"/health/live", "/health", NULL},
	{"/health", "/health/live", NULL},
	{"/health", "/", NULL},
	{"/health", "", NULL},
	{"**/messages", "/hub/messages", "hub"},
	{"**/messages", "/a/b/c/messages", "a/b/c"},
	{"**/messages", "/a%2Fb/Messages", "a%2Fb"},
	{"**/messages", "/messages", NULL},
	{"**/messages", "//messages", NULL},
	{"**/messages", "/hub/messagesx", NULL},
	{"**/messages", "/hub/messages/x", NULL},
	{"/v1/hubs/{}", "/v1/hubs/h", "h"},
	{"/v1/hubs/{}", "/v1/hubs/a%2fb", "a%2fb"},
	{"/v1/hubs/{}", "/v1/hubs/", NULL},
	{"/v1/hubs/{}", "/v1/hubs/a/b", NULL},
	{"/v1/hubs/{}/groups/{}", "/v1/hubs/h/groups/g", "h|g"},
	{"/v1/hubs/{}/groups/{}", "/v1/hubs//groups/g", NULL},
	{"/v1/hubs/{}/groups/{}", "/v1/hubs/h/groups", NULL},
};

START_TEST(pattern_is_matched)
{
	struct http_params p;
	bool ok = http_path_match(matches[_i].pattern, span_str(matches[_i].path), &p);
	ck_assert_int_eq(ok, matches[_i].params != NULL);
	struct str joined = {0};
	for (size_t i = 0; ok && i < p.n; i++) {
		str_add(&joined, i > 0 ? "|" : "");
		str_addn(&joined, p.v[i].p, p.v[i].n);
	}
	if (ok) {
		ck_assert_str_eq(joined.p != NULL ? joined.p : "", matches[_i].params);
	}
	str_fini(&joined);
}
END_TEST

static const struct {
	const char *in;
	const char *out;	/* NULL: ERR_INVALID */
} escapes[] = {
	{"", ""}, {"hub", "hub"}, {"a%2Fb", "a/b"}, {"a%2fb", "a/b"}, {"a+b", "a+b"}, {"%24D", "$D"},
	{"%", NULL}, {"%4", NULL}, {"%zz", NULL}, {"a%00b", NULL},
};

START_TEST(escapes_are_undone)
{
	char out[16];
	enum err e = http_path_decode(span_str(escapes[_i].in), out, sizeof out);
	ck_assert_int_eq(e, escapes[_i].out != NULL ? ERR_OK : ERR_INVALID);
	if (e == ERR_OK) {
		ck_assert_str_eq(out, escapes[_i].out);
	}
}
END_TEST

START_TEST(decoding_is_bounded)
{
	char out[4];
	ck_assert_int_eq(http_path_decode(span_str("abc"), out, sizeof out), ERR_OK);
	ck_assert_int_eq(http_path_decode(span_str("abcd"), out, sizeof out), ERR_TOO_LARGE);
}
END_TEST

static const struct {
	const char *text;
	enum err err;
	uint32_t seconds;
} timeouts[] = {
	{NULL, ERR_OK, HTTP_TIMEOUT_DEFAULT_S}, {"1", ERR_OK, 1}, {"60", ERR_OK, 60},
	{"240", ERR_OK, 240}, {"241", ERR_OK, 240}, {"99999999999", ERR_OK, 240},
	{"0", ERR_INVALID, 0}, {"", ERR_INVALID, 0}, {"-1", ERR_INVALID, 0}, {"1s", ERR_INVALID, 0},
	{"99999999999999999999999", ERR_INVALID, 0},
};

START_TEST(timeout_is_bounded)
{
	uint32_t s;
	ck_assert_int_eq(http_timeout_parse(timeouts[_i].text, &s), timeouts[_i].err);
	if (timeouts[_i].err == ERR_OK) {
		ck_assert_uint_eq(s, timeouts[_i].seconds);
	}
}
END_TEST

START_TEST(length_is_read)
{
	uint64_t v = 0;
	ck_assert(http_length_parse("0", &v) && v == 0);
	ck_assert(http_length_parse("9223372036854775807", &v) && v == INT64_MAX);
	ck_assert(!http_length_parse("9223372036854775808", &v));
	ck_assert(!http_length_parse("", &v));
	ck_assert(!http_length_parse("1 ", &v));
}
END_TEST

Suite *path_suite(void)
{
	Suite *s = suite_create("path");
	TCase *t = tcase_create("path");
	tcase_add_loop_test(t, pattern_is_matched, 0, sizeof matches / sizeof *matches);
	tcase_add_loop_test(t, escapes_are_undone, 0, sizeof escapes / sizeof *escapes);
	tcase_add_test(t, decoding_is_bounded);
	tcase_add_loop_test(t, timeout_is_bounded, 0, sizeof timeouts / sizeof *timeouts);
	tcase_add_test(t, length_is_read);
	suite_add_tcase(s, t);
	return s;
}
