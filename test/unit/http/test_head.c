#include "gateway/http/head.h"

#include "base/limits.h"
#include "base/mem.h"
#include "test/unit/http/suites.h"

/* Feeds `text` in pieces of n bytes; each call sees all so far, in exact memory. */
static enum http_head_verdict feed(struct span text, size_t n, struct http_head *h)
{
	enum http_head_verdict v = HTTP_HEAD_MORE;
	*h = (struct http_head){0};
	for (size_t have = 0; have < text.n && v == HTTP_HEAD_MORE;) {
		have = text.n - have < n ? text.n : have + n;
		uint8_t *copy = mem_dup(text.p, have);
		v = http_head_scan(h, span_of(copy, have));
		mem_free(copy);
	}
	return v;
}

static const size_t pieces[] = {1, 2, 3, 7, 1 << 20};

static const struct {
	const char *text;
	enum http_head_verdict verdict;
	bool is_websocket;
} heads[] = {
	{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_DONE, false},
	{"POST /hub/messages?timeout=60 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
	 HTTP_HEAD_DONE, false},
	{"GET /x HTTP/1.0\n\n", HTTP_HEAD_DONE, false},
	{"\r\nGET / HTTP/1.1\r\n\r\n", HTTP_HEAD_DONE, false},
	{"GET /$servicebus/websocket HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", HTTP_HEAD_DONE, true},
	{"GET /$SERVICEBUS/WebSocket?x=y HTTP/1.1\r\nConnection: Upgrade\r\nupgrade: h2c, WebSocket\r\n\r\n",
	 HTTP_HEAD_DONE, true},
	{"GET /$servicebus/websocket HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_DONE, false},
	{"GET /other HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", HTTP_HEAD_DONE, false},
	{"GET / HTTP/1.1\r\nHost: a\r\n", HTTP_HEAD_MORE, false},
	{"GE", HTTP_HEAD_MORE, false},
	{"AMQP\x03\x01", HTTP_HEAD_BAD, false},
	{"\x16\x03\x01\x02", HTTP_HEAD_BAD, false},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_HEAD_BAD, false},
	{"GET /\r\n", HTTP_HEAD_BAD, false},
	{"GET  / HTTP/1.1\r\n\r\n", HTTP_HEAD_BAD, false},
	{"GET / FTTP/1.1\r\n\r\n", HTTP_HEAD_BAD, false},
	{"GET / HTTP/1.1x\r\n\r\n", HTTP_HEAD_BAD, false},
	{"\r\n\r\n\r\n\r\n", HTTP_HEAD_BAD, false},
	{"AVERYLONGMETHODNAMEWITHMORETHAN32LETTERS / HTTP/1.1\r\n\r\n", HTTP_HEAD_BAD, false},
};
enum { HEADS = sizeof heads / sizeof *heads, PIECES = sizeof pieces / sizeof *pieces };

START_TEST(head_is_judged_in_any_pieces)
{
	size_t at = (size_t)_i / PIECES;
	struct http_head h;
	enum http_head_verdict v = feed(span_str(heads[at].text), pieces[(size_t)_i % PIECES], &h);
	ck_assert_msg(v == heads[at].verdict, "%s: %d", heads[at].text, (int)v);
	ck_assert_int_eq(v == HTTP_HEAD_DONE && h.is_websocket, heads[at].is_websocket);
}
END_TEST

START_TEST(parts_of_the_request_line_are_found)
{
	struct http_head h;
	const char *text = "POST /hub/messages HTTP/1.1\r\nA: b\r\n\r\nbody";
	ck_assert_int_eq(feed(span_str(text), 3, &h), HTTP_HEAD_DONE);
	ck_assert_uint_eq(h.method_at, 0);
	ck_assert_uint_eq(h.method_len, 4);
	ck_assert_uint_eq(h.target_at, 5);
	ck_assert_uint_eq(h.target_len, 13);
	ck_assert_uint_eq(h.length, strlen(text) - 4);
}
END_TEST

START_TEST(head_length_is_bounded)
{
	static const char front[] = "GET / HTTP/1.1\r\nX: ";
	static const char tail[] = "\r\n\r\n";
	uint8_t *text = mem_alloc(LIMIT_HTTP_HEAD + 2);
	for (size_t n = LIMIT_HTTP_HEAD - 1; n <= LIMIT_HTTP_HEAD + 1; n++) {
		struct http_head h = {0};
		memset(text, 'x', n);
		memcpy(text, front, sizeof front - 1);
		ck_assert_int_eq(http_head_scan(&h, span_of(text, n)),
				 n > LIMIT_HTTP_HEAD ? HTTP_HEAD_LONG : HTTP_HEAD_MORE);
		memcpy(text + n - 4, tail, 4);
		ck_assert_int_eq(feed(span_of(text, n), 1 << 20, &h),
				 n > LIMIT_HTTP_HEAD ? HTTP_HEAD_LONG : HTTP_HEAD_DONE);
	}
	mem_free(text);
}
END_TEST

Suite *head_suite(void)
{
	Suite *s = suite_create("head");
	TCase *t = tcase_create("head");
	tcase_add_loop_test(t, head_is_judged_in_any_pieces, 0, HEADS * PIECES);
	tcase_add_test(t, parts_of_the_request_line_are_found);
	tcase_add_test(t, head_length_is_bounded);
	suite_add_tcase(s, t);
	return s;
}
