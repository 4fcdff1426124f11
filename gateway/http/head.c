#include "gateway/http/head.h"

#include <string.h>
#include <strings.h>

#include "base/limits.h"

enum {
	METHOD_MAX = 32,	/* the longest registered one has 17 letters */
	VERSION_LEN = 8,	/* "HTTP/1.1" */
};

enum state { EMPTY_LINES, METHOD, TARGET, VERSION, FIELDS, DONE, BAD };

static const char websocket_path[] = "/$servicebus/websocket";

static bool is_token(uint8_t c)
{
	/* RFC 9110 5.6.2 */
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static enum state step_empty(struct http_head *h, uint8_t c, size_t at)
{
	/* RFC 9112 2.2: empty lines before the request line are passed over. */
	if ((c == '\r' || c == '\n') && at < 4) {
		return EMPTY_LINES;
	}
	h->method_at = at;
	return is_token(c) ? METHOD : BAD;
}

static enum state step_method(struct http_head *h, uint8_t c, size_t at)
{
	if (c == ' ') {
		h->method_len = at - h->method_at;
		h->target_at = at + 1;
		return TARGET;
	}
	return is_token(c) && at - h->method_at < METHOD_MAX ? METHOD : BAD;
}

static enum state step_target(struct http_head *h, uint8_t c, size_t at)
{
	if (c == ' ') {
		h->target_len = at - h->target_at;
		h->line_start = at + 1;
		return h->target_len > 0 ? VERSION : BAD;
	}
	return c > ' ' && c != 0x7f ? TARGET : BAD;
}

static enum state step_version(struct http_head *h, uint8_t c, size_t at)
{
	static const char expected[] = "HTTP/1.";
	size_t i = at - h->line_start;
	if (i < sizeof expected - 1) {
		return c == (uint8_t)expected[i] ? VERSION : BAD;
	}
	if (i < VERSION_LEN) {
		return c >= '0' && c <= '9' ? VERSION : BAD;
	}
	if (c == '\n') {
		h->line_start = at + 1;
		return FIELDS;
	}
	return c == '\r' && i == VERSION_LEN ? VERSION : BAD;
}

/* Is `word` in the field's comma-separated value? */
static bool has_word(struct span value, const char *word)
{
	size_t n = strlen(word);
	for (size_t i = 0; i + n <= value.n; i++) {
		bool starts = i == 0 || value.p[i - 1] == ' ' || value.p[i - 1] == ',';
		if (starts && strncasecmp((const char *)value.p + i, word, n) == 0) {
			return true;
		}
	}
	return false;
}

static void look_at_field(struct http_head *h, struct span line)
{
	static const char name[] = "upgrade:";
	size_t n = sizeof name - 1;
	if (line.n > n && strncasecmp((const char *)line.p, name, n) == 0) {
		h->is_websocket = h->is_websocket ||
				  has_word(span_of(line.p + n, line.n - n), "websocket");
	}
}

/* A line of the head ends at `at`. True when it was the empty one. */
static bool end_line(struct http_head *h, struct span all, size_t at)
{
	size_t n = at - h->line_start;
	n -= n > 0 && all.p[at - 1] == '\r' ? 1 : 0;
	look_at_field(h, span_of(all.p + h->line_start, n));
	h->line_start = at + 1;
	return n == 0;
}

static bool asks_for_websocket_path(const struct http_head *h, struct span all)
{
	const uint8_t *target = all.p + h->target_at;
	const uint8_t *query = memchr(target, '?', h->target_len);
	size_t n = query != NULL ? (size_t)(query - target) : h->target_len;
	return span_ieq_str(span_of(target, n), websocket_path);
}

static enum http_head_verdict verdict(struct http_head *h)
{
	switch ((enum state)h->state) {
	case DONE:
		return h->length > LIMIT_HTTP_HEAD ? HTTP_HEAD_LONG : HTTP_HEAD_DONE;
	case BAD:
		return HTTP_HEAD_BAD;
	default:
		return h->scanned > LIMIT_HTTP_HEAD ? HTTP_HEAD_LONG : HTTP_HEAD_MORE;
	}
}

enum http_head_verdict http_head_scan(struct http_head *h, struct span all)
{
	for (size_t at = h->scanned; at < all.n && h->state < DONE; at++) {
		uint8_t c = all.p[at];
		switch ((enum state)h->state) {
		case EMPTY_LINES:
			h->state = (uint8_t)step_empty(h, c, at);
			break;
		case METHOD:
			h->state = (uint8_t)step_method(h, c, at);
			break;
		case TARGET:
			h->state = (uint8_t)step_target(h, c, at);
			break;
		case VERSION:
			h->state = (uint8_t)step_version(h, c, at);
			break;
		case FIELDS:
			if (c == '\n' && end_line(h, all, at)) {
				h->state = DONE;
				h->length = at + 1;
				h->is_websocket = h->is_websocket && asks_for_websocket_path(h, all);
			}
			break;
		case DONE:
		case BAD:
			break;
		}
		h->scanned = at + 1;
	}
	return verdict(h);
}
