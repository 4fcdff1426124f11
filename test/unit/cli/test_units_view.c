#include "gateway/cli/units_view.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static json_t *parse(const char *text)
{
	json_error_t at;
	json_t *v = json_loads(text, 0, &at);
	ck_assert_msg(v != NULL, "%s", at.text);
	return v;
}

#define SIDE(bytes, events, admitted, held)                                                        \
	"{\"limitBytes\":" bytes ",\"limitEvents\":" events ",\"admittedBytes\":" admitted         \
	",\"admittedEvents\":" admitted ",\"heldRequests\":" held ",\"refusedRequests\":0,"        \
	"\"waitingConnections\":3,\"waitingBytes\":2048}"
#define NO_SIDE SIDE("null", "null", "0", "0")

static const char limited[] =
	"{\"units\":1,\"base\":1,\"autoInflateMax\":4,\"autoDeflateAfterMs\":300000,"
	"\"use\":{\"inBytes\":524288,\"inEvents\":250,\"outBytes\":0,\"outEvents\":0},\"scopes\":["
	"{\"kind\":\"namespace\",\"name\":\"\",\"in\":" SIDE("1048576", "1000", "1000", "10")
	",\"out\":" SIDE("2097152", "4096", "0", "0") ",\"worst\":\"127.0.0.1:5\",\"worstPercent\":40},"
	"{\"kind\":\"hub\",\"name\":\"a b\",\"in\":" NO_SIDE ",\"out\":" SIDE("null", "7", "1", "0")
	",\"worst\":\"\",\"worstPercent\":0}]}";
static const char later[] =
	"{\"units\":1,\"base\":1,\"autoInflateMax\":4,\"autoDeflateAfterMs\":300000,"
	"\"use\":{\"inBytes\":524288,\"inEvents\":250,\"outBytes\":0,\"outEvents\":0},\"scopes\":["
	"{\"kind\":\"namespace\",\"name\":\"\",\"in\":" SIDE("1048576", "1000", "3000", "14")
	",\"out\":" SIDE("2097152", "4096", "0", "0") ",\"worst\":\"127.0.0.1:5\",\"worstPercent\":40},"
	"{\"kind\":\"hub\",\"name\":\"a b\",\"in\":" NO_SIDE ",\"out\":" SIDE("null", "7", "0", "0")
	",\"worst\":\"\",\"worstPercent\":0}]}";
static const char unlimited[] =
	"{\"units\":0,\"base\":0,\"autoInflateMax\":0,\"autoDeflateAfterMs\":0,"
	"\"use\":{\"inBytes\":200,\"inEvents\":2,\"outBytes\":1536,\"outEvents\":3},\"scopes\":["
	"{\"kind\":\"namespace\",\"name\":\"\",\"in\":" NO_SIDE ",\"out\":" NO_SIDE
	",\"worst\":\"\",\"worstPercent\":0}]}";

typedef void print_fn(FILE *to, const struct cli_units_reading *r);

static void print_all(FILE *to, const struct cli_units_reading *r)
{
	cli_units_print(to, r, SIZE_MAX);
}

static void print_one_row(FILE *to, const struct cli_units_reading *r)
{
	cli_units_print(to, r, 1);
}

static void print_lines(FILE *to, const struct cli_units_reading *r)
{
	cli_units_lines(to, r, "T");
}

/* What `fn` prints of two answers (the first may be NULL) two seconds apart. */
static char *printed(const char *before, const char *now, print_fn *fn)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	struct cli_units_reading r = {
		.now = parse(now),
		.before = before != NULL ? parse(before) : NULL,
		.seconds = before != NULL ? 2 : 0,
	};
	fn(f, &r);
	ck_assert_int_eq(fclose(f), 0);
	json_decref((json_t *)(uintptr_t)r.now);
	json_decref((json_t *)(uintptr_t)r.before);
	return text;
}

START_TEST(use_is_shown_with_its_part_of_the_limit)
{
	char *text = printed(limited, later, print_all);
	ck_assert_msg(strstr(text, "units 1 (set: 1; grow to 4 while throttled; shrink after 5m)\n"
				   "in    0.50 MB/s (50 %)        250 events/s (25 %)\n"
				   "out   0 B/s (0 %)             0 events/s (0 %)\n") == text,
		      "%s", text);
	free(text);
}
END_TEST

START_TEST(rates_come_from_two_readings)
{
	char *text = printed(limited, later, print_all);
	ck_assert_msg(strstr(text, "namespace  -     in   1 MB/s, 1000 events/s  "
				   "1000 B/s, 1000 events/s  2 held, 0 refused  3 (2 KB)  "
				   "127.0.0.1:5 (40 %)\n") != NULL,
		      "%s", text);
	/* A server that began anew counts from 0. */
	ck_assert_msg(strstr(text, "hub        a b   out  7 events/s             "
				   "0 B/s, 0 events/s ") != NULL,
		      "%s", text);
	ck_assert_ptr_null(strstr(text, "a b   in"));
	free(text);
}
END_TEST

START_TEST(one_reading_knows_no_rates)
{
	char *text = printed(NULL, limited, print_all);
	ck_assert_msg(strstr(text, "1 MB/s, 1000 events/s  -         -            3 (2 KB)") != NULL,
		      "%s", text);
	free(text);
}
END_TEST

START_TEST(rows_beyond_the_screen_are_counted)
{
	char *text = printed(limited, later, print_one_row);
	ck_assert_msg(strstr(text, "... and 2 more\n") != NULL, "%s", text);
	ck_assert_ptr_null(strstr(text, "hub  "));
	free(text);
}
END_TEST

START_TEST(nothing_limited_is_said)
{
	char *text = printed(NULL, unlimited, print_all);
	ck_assert_str_eq(text, "units 0 (not limited)\n"
			       "in    200 B/s                 2 events/s\n"
			       "out   1.50 KB/s               3 events/s\n");
	free(text);
	json_t *v = parse(unlimited);
	ck_assert(!cli_units_limited(v));
	json_decref(v);
	v = parse(limited);
	ck_assert(cli_units_limited(v));
	json_decref(v);
}
END_TEST

/* Clients name publishers and themselves. */
START_TEST(names_do_not_steer_the_terminal)
{
	static const char odd[] =
		"{\"units\":1,\"scopes\":[{\"kind\":\"publisher\",\"name\":\"h/\\u001b[2J\\u009b\\n\\u007f\\u00e9\","
		"\"in\":" SIDE("1", "1", "0", "0") ",\"worst\":\"\\r\",\"worstPercent\":1}]}";
	char *text = printed(NULL, odd, print_all);
	ck_assert_ptr_nonnull(strstr(text, "h/?[2J????\xc3\xa9"));
	ck_assert_ptr_null(strchr(text, '\r'));
	free(text);
}
END_TEST

START_TEST(lines_are_words)
{
	char *text = printed(limited, later, print_lines);
	ck_assert_msg(strstr(text, "T units=1 in_bytes=524288 in_events=250 out_bytes=0 out_events=0\n"
				   "T scope=namespace name=\"\" direction=in limit_bytes=1048576 "
				   "limit_events=1000 bytes=1000 events=1000 held=2.0 refused=0.0 "
				   "waiting=3 waiting_bytes=2048 most=") == text,
		      "%s", text);
	ck_assert_ptr_nonnull(strstr(text, "T scope=hub name=\"a b\" direction=out limit_bytes=0 "
					   "limit_events=7 bytes=0 "));
	free(text);
}
END_TEST

START_TEST(answer_of_another_kind_does_no_harm)
{
	static const char *const odd[] = {"{}", "[]", "{\"scopes\":[1,{}],\"use\":3}",
					  "{\"scopes\":[{\"in\":[],\"out\":7}]}"};
	char *text = printed(limited, odd[_i], print_all);
	ck_assert_str_ne(text, "");
	free(text);
	text = printed(odd[_i], limited, print_lines);
	ck_assert_str_ne(text, "");
	free(text);
}
END_TEST

static const struct {
	const char *limit;
	const char *text;
} limits[] = {
	{"{}", "none"},
	{"{\"inBytes\":null,\"inEvents\":null,\"outBytes\":null,\"outEvents\":null}", "none"},
	{"{\"inBytes\":1048576}", "in 1 MB/s"},
	{"{\"outEvents\":5}", "out 5 events/s"},
	{"{\"inBytes\":1572864,\"inEvents\":1000,\"outBytes\":100,\"outEvents\":5}",
	 "in 1.50 MB/s, 1000 events/s; out 100 B/s, 5 events/s"},
	{"{\"inBytes\":1125899906842624,\"inEvents\":1125899906842624,"
	 "\"outBytes\":1125899906842624,\"outEvents\":1125899906842624}",
	 "in 1073741824 MB/s, 1125899906842624 events/s; "
	 "out 1073741824 MB/s, 1125899906842624 events/s"},
};

START_TEST(limit_is_told_in_words)
{
	char text[CLI_LIMIT_TEXT];
	json_t *v = parse(limits[_i].limit);
	cli_limit_text(v, text);
	ck_assert_str_eq(text, limits[_i].text);
	json_decref(v);
}
END_TEST

Suite *units_view_suite(void);
Suite *units_view_suite(void)
{
	Suite *s = suite_create("units_view");
	TCase *t = tcase_create("all");
	tcase_add_test(t, use_is_shown_with_its_part_of_the_limit);
	tcase_add_test(t, rates_come_from_two_readings);
	tcase_add_test(t, one_reading_knows_no_rates);
	tcase_add_test(t, rows_beyond_the_screen_are_counted);
	tcase_add_test(t, nothing_limited_is_said);
	tcase_add_test(t, names_do_not_steer_the_terminal);
	tcase_add_test(t, lines_are_words);
	tcase_add_loop_test(t, answer_of_another_kind_does_no_harm, 0, 4);
	tcase_add_loop_test(t, limit_is_told_in_words, 0, (int)(sizeof limits / sizeof *limits));
	suite_add_tcase(s, t);
	return s;
}
