#ifndef GATEWAY_HTTP_HEAD_H
#define GATEWAY_HTTP_HEAD_H

/* The first request's head of a connection, looked at before anything else gets
 * to see it: is it HTTP/1.x at all, is it complete, and whom is it for? The
 * request itself is parsed by libmicrohttpd. Pure; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum http_head_verdict {
	HTTP_HEAD_MORE,	/* more bytes are needed */
	HTTP_HEAD_DONE,	/* complete */
	HTTP_HEAD_BAD,	/* not HTTP/1.x */
	HTTP_HEAD_LONG,	/* longer than LIMIT_HTTP_HEAD */
};

/* Zero-initialise. After HTTP_HEAD_DONE the offsets hold. */
struct http_head {
	uint8_t state;		/* private */
	size_t scanned;		/* private: bytes that need not be looked at again */
	size_t line_start;	/* private */
	size_t method_at, method_len;
	size_t target_at, target_len;
	size_t length;		/* up to and with the empty line */
	bool is_websocket;	/* AMQP over WebSocket is asked for */
};

/* `all` is everything received so far; the same bytes come again, with more,
 * while the answer is HTTP_HEAD_MORE. */
enum http_head_verdict http_head_scan(struct http_head *h, struct span all);

#endif
