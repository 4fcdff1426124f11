#include <check.h>
#include <string.h>

#include "gateway/cli/http_client.h"
#include "gateway/cli/manage.h"

static struct cli_answer answer;

static void setup(void)
{
	memset(&answer, 0, sizeof answer);
	cli_answer_start(&answer);
}

static void teardown(void)
{
	cli_answer_fini(&answer);
}

/* Feeds `text` in pieces; *used counts what was taken until the answer ended. */
static enum err feed(const char *text, size_t piece, size_t *used)
{
	size_t n = strlen(text);
	*used = 0;
	for (size_t at = 0; at < n && answer.state != CLI_HTTP_DONE; at += piece) {
		size_t took;
		size_t give = n - at < piece ? n - at : piece;
		enum err e = cli_answer_feed(&answer, span_of(text + at, give), &took);
		*used += took;
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

static const size_t pieces[] = {1, 2, 3, 7, 100000};
enum { PIECES = sizeof pieces / sizeof *pieces };

START_TEST(length_answer_is_read_in_pieces)
{
	static const char text[] = "HTTP/1.1 201 Created\r\nServer: x\r\ncontent-length:  5 \r\n\r\nhello";
	char two[sizeof text + 16];
	size_t used;
	(void)snprintf(two, sizeof two, "%sHTTP/1.1", text);
	ck_assert_int_eq(feed(two, pieces[_i], &used), ERR_OK);
	ck_assert_int_eq(answer.state, CLI_HTTP_DONE);
	ck_assert_int_eq(answer.status, 201);
	ck_assert_uint_eq(answer.body.len, 5);
	ck_assert_mem_eq(answer.body.p, "hello", 5);
	ck_assert_uint_eq(used, strlen(text));
	ck_assert(!answer.close);
}
END_TEST

START_TEST(chunked_answer_is_read_in_pieces)
{
	size_t used;
	ck_assert_int_eq(feed("HTTP/1.1 100 Continue\r\n\r\n"
			      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
			      "5;x=y\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n",
			      pieces[_i], &used),
			 ERR_OK);
	ck_assert_int_eq(answer.state, CLI_HTTP_DONE);
	ck_assert_int_eq(answer.status, 200);
	ck_assert_uint_eq(answer.body.len, 16);
	ck_assert_mem_eq(answer.body.p, "hello 0123456789", 16);
	ck_assert(answer.close);
}
END_TEST

START_TEST(answer_to_the_end_is_complete_at_the_end)
{
	size_t used;
	ck_assert_int_eq(feed("HTTP/1.0 200 OK\r\n\r\nabc", pieces[_i], &used), ERR_OK);
	ck_assert_int_eq(answer.state, CLI_HTTP_TO_END);
	ck_assert_int_eq(cli_answer_end(&answer), ERR_OK);
	ck_assert_uint_eq(answer.body.len, 3);
	ck_assert(answer.close);
}
END_TEST

START_TEST(answer_without_body_is_complete)
{
	size_t used;
	ck_assert_int_eq(feed(_i == 0 ? "HTTP/1.1 204 No Content\r\n\r\n"
				      : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			      1, &used),
			 ERR_OK);
	ck_assert_int_eq(answer.state, CLI_HTTP_DONE);
	ck_assert_uint_eq(answer.body.len, 0);
}
END_TEST

static const struct {
	const char *head;
	uint32_t retry_after_s;
	bool throttled;
} busy[] = {
	{"503 x\r\nRetry-After: 7\r\nContent-Length: 11", 7, true},
	{"503 x\r\nretry-after:  0 \r\nContent-Length: 11", 0, false},
	{"503 x\r\nContent-Length: 11", 0, false},
	{"503 x\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 11", 0, false},
	{"503 x\r\nRetry-After: 99999999999999999999\r\nContent-Length: 11", 0, false},
	{"503 x\r\nRetry-After: 7\r\nContent-Length: 3", 7, false},
	{"500 x\r\nRetry-After: 7\r\nContent-Length: 11", 7, false},
};

START_TEST(throttled_answer_says_when_to_come_again)
{
	char text[256];
	size_t used;
	(void)snprintf(text, sizeof text, "HTTP/1.1 %s\r\n\r\nserver-busy", busy[_i].head);
	ck_assert_int_eq(feed(text, 1000, &used), ERR_OK);
	ck_assert_uint_eq(answer.retry_after_s, busy[_i].retry_after_s);
	ck_assert_int_eq(cli_answer_is_throttled(&answer), busy[_i].throttled);
	/* The next answer knows nothing of it. */
	cli_answer_start(&answer);
	ck_assert_uint_eq(answer.retry_after_s, 0);
}
END_TEST

START_TEST(cut_answer_is_an_end_of_data)
{
	size_t used;
	ck_assert_int_eq(feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", 100, &used), ERR_OK);
	ck_assert_int_eq(cli_answer_end(&answer), ERR_EOF);
}
END_TEST

static const struct {
	const char *text;
	enum err err;
} bad[] = {
	{"SSH-2.0-x\r\n", ERR_PROTOCOL},
	{"HTTP/2 200\r\n", ERR_PROTOCOL},
	{"HTTP/1.1 20\r\n", ERR_PROTOCOL},
	{"HTTP/1.1 2000 x\r\n", ERR_PROTOCOL},
	{"HTTP/1.1 200 OK\r\nnocolon\r\n", ERR_PROTOCOL},
	{"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n", ERR_PROTOCOL},
	{"HTTP/1.1 200 OK\r\nContent-Length: \r\n", ERR_PROTOCOL},
	{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n", ERR_PROTOCOL},
	{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n", ERR_TOO_LARGE},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", ERR_PROTOCOL},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", ERR_PROTOCOL},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n", ERR_TOO_LARGE},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", ERR_PROTOCOL},
};

START_TEST(bad_answer_is_refused)
{
	size_t used;
	ck_assert_int_eq(feed(bad[_i].text, 3, &used), bad[_i].err);
}
END_TEST

START_TEST(endless_header_is_refused)
{
	char line[64];
	size_t used;
	memset(line, 'a', sizeof line);
	line[sizeof line - 1] = '\0';
	enum err e = feed("HTTP/1.1 200 OK\r\n", 100, &used);
	for (int i = 0; i < CLI_HTTP_LINE && e == ERR_OK; i++) {
		e = feed(line, 100, &used);
	}
	ck_assert_int_eq(e, ERR_TOO_LARGE);
}
END_TEST

START_TEST(request_head_is_complete)
{
	struct str s = {0};
	cli_request_head(&s, "POST", "/h/messages", "::1", 8443, "SharedAccessSignature x",
			 "A: b\r\n", 12);
	ck_assert_str_eq(s.p, "POST /h/messages HTTP/1.1\r\nHost: [::1]:8443\r\n"
			      "User-Agent: sluice/" SLUICE_VERSION "\r\n"
			      "Authorization: SharedAccessSignature x\r\nA: b\r\n"
			      "Content-Length: 12\r\n\r\n");
	str_fini(&s);
	cli_request_head(&s, "GET", "/", "h", 443, NULL, NULL, 0);
	ck_assert_str_eq(s.p, "GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: sluice/" SLUICE_VERSION
			      "\r\n\r\n");
	str_fini(&s);
}
END_TEST

START_TEST(manage_path_encodes_each_word)
{
	struct str s = {0};
	cli_manage_path(&s, "hubs", "a/b c", "groups", "$Default", NULL);
	ck_assert_str_eq(s.p, "/$management/v1/hubs/a%2Fb%20c/groups/%24Default");
	str_fini(&s);
	cli_manage_path(&s, "hubs", NULL);
	ck_assert_str_eq(s.p, "/$management/v1/hubs");
	str_fini(&s);
}
END_TEST

Suite *http_suite(void);
Suite *http_suite(void)
{
	Suite *s = suite_create("http");
	TCase *t = tcase_create("all");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, length_answer_is_read_in_pieces, 0, PIECES);
	tcase_add_loop_test(t, chunked_answer_is_read_in_pieces, 0, PIECES);
	tcase_add_loop_test(t, answer_to_the_end_is_complete_at_the_end, 0, PIECES);
	tcase_add_loop_test(t, answer_without_body_is_complete, 0, 2);
	tcase_add_loop_test(t, throttled_answer_says_when_to_come_again, 0,
			    (int)(sizeof busy / sizeof *busy));
	tcase_add_test(t, cut_answer_is_an_end_of_data);
	tcase_add_loop_test(t, bad_answer_is_refused, 0, (int)(sizeof bad / sizeof *bad));
	tcase_add_test(t, endless_header_is_refused);
	tcase_add_test(t, request_head_is_complete);
	tcase_add_test(t, manage_path_encodes_each_word);
	suite_add_tcase(s, t);
	return s;
}
