#include "base/log.h"

#include <stdio.h>
#include <string.h>

#include "suites.h"

struct caught {
	int lines;
	enum log_level level;
	char line[4096];
};

static void catch_line(void *arg, enum log_level level, const char *line)
{
	struct caught *c = arg;
	c->lines++;
	c->level = level;
	snprintf(c->line, sizeof c->line, "%s", line);
}

static struct caught caught;

static void begin(void)
{
	caught = (struct caught){0};
	log_sink(catch_line, &caught);
}

static void end(void)
{
	log_sink(NULL, NULL);
	log_setup(LOG_INFO, false);
}

START_TEST(line_has_time_level_id_and_text)
{
	log_warn("TEST-ID", "key=%d other=%s", 5, log_quote("a\"b\n"));
	ck_assert_int_eq(caught.lines, 1);
	ck_assert_int_eq(caught.level, LOG_WARN);
	ck_assert_int_eq(caught.line[10], 'T');
	ck_assert_str_eq(caught.line + 25, "warn  TEST-ID key=5 other=\"a\\x22b\\x0a\"\n");
}
END_TEST

static int evaluated(int *n)
{
	return ++*n;
}

START_TEST(level_that_is_off_evaluates_nothing)
{
	int n = 0;
	log_setup(LOG_WARN, false);
	ck_assert(!log_on(LOG_INFO));
	ck_assert(log_on(LOG_ERROR));
	log_info("TEST-ID", "n=%d", evaluated(&n));
	log_debug("TEST-ID", "n=%d", evaluated(&n));
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(caught.lines, 0);
	log_setup(LOG_DEBUG, false);
	log_debug("TEST-ID", "n=%d", evaluated(&n));
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(caught.lines, 1);
}
END_TEST

START_TEST(json_line_is_escaped)
{
	log_setup(LOG_INFO, true);
	log_error("TEST-ID", "a=\"%s\" b=\\ \t", "x");
	ck_assert_ptr_nonnull(strstr(caught.line, "\"level\":\"error\",\"id\":\"TEST-ID\","
						  "\"text\":\"a=\\\"x\\\" b=\\\\ \\u0009\"}\n"));
}
END_TEST

START_TEST(repeated_line_is_limited_and_counted)
{
	struct log_limit limit = {0};
	int passed = 0;
	for (int i = 0; i < 3 * LOG_LIMIT_PER_SECOND; i++) {
		passed += log_limit_pass(&limit, LOG_INFO, "TEST-ID") ? 1 : 0;
	}
	/* At most one second ends in between. */
	ck_assert_int_ge(passed, LOG_LIMIT_PER_SECOND);
	ck_assert_int_le(passed, 2 * LOG_LIMIT_PER_SECOND);
	atomic_store(&limit.second, 0);
	atomic_store(&limit.left_out, 30);
	caught.lines = 0;
	ck_assert(log_limit_pass(&limit, LOG_INFO, "TEST-ID"));
	ck_assert_int_eq(caught.lines, 1);
	ck_assert_ptr_nonnull(strstr(caught.line, "left_out=30"));
}
END_TEST

START_TEST(long_line_is_cut_and_ends_with_a_line_end)
{
	char big[5000];
	memset(big, '"', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	for (int json = 0; json < 2; json++) {
		log_setup(LOG_INFO, json != 0);
		log_info("TEST-ID", "%s", big);
		size_t n = strlen(caught.line);
		ck_assert_uint_gt(n, 2000);
		ck_assert_uint_lt(n, 3072);
		ck_assert_int_eq(caught.line[n - 1], '\n');
	}
}
END_TEST

START_TEST(quoted_text_is_bounded)
{
	uint8_t bytes[1000];
	memset(bytes, 0xff, sizeof bytes);
	for (size_t n = 0; n <= sizeof bytes; n++) {
		struct log_quoted q = log_quote_span(span_of(bytes, n));
		size_t len = strlen(q.text);
		ck_assert_uint_lt(len, sizeof q.text);
		ck_assert_int_eq(q.text[0], '"');
		ck_assert_int_eq(q.text[len - 1], '"');
	}
	memset(bytes, 'a', sizeof bytes);
	struct log_quoted q = log_quote_span(span_of(bytes, sizeof bytes));
	ck_assert_ptr_nonnull(strstr(q.text, "a...\""));
	ck_assert_str_eq(log_quote(""), "\"\"");
	ck_assert_str_eq(log_quote(NULL), "\"\"");
}
END_TEST

Suite *log_suite(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");
	tcase_add_checked_fixture(t, begin, end);
	tcase_add_test(t, line_has_time_level_id_and_text);
	tcase_add_test(t, level_that_is_off_evaluates_nothing);
	tcase_add_test(t, json_line_is_escaped);
	tcase_add_test(t, repeated_line_is_limited_and_counted);
	tcase_add_test(t, long_line_is_cut_and_ends_with_a_line_end);
	tcase_add_test(t, quoted_text_is_bounded);
	suite_add_tcase(s, t);
	return s;
}
