/* The stream side: a client's connection until its first request's head is there,
 * then a pipe to libmicrohttpd through a socket pair.
 *
 *   outer (client, TLS)  ──►  inner (our end of the pair)  ──►  libmicrohttpd
 *
 * Either side is paused while the other has more than NET_QUEUE_HIGH waiting. A
 * connection that has not authorised itself may send LIMIT_UNAUTH_BYTES and lives
 * for LIMIT_UNAUTH_MS. The end of a connection is told to libmicrohttpd as the
 * end of the client's sending side, so that what is under way is answered first. */

#include <assert.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/http/head.h"
#include "gateway/http/http_priv.h"

enum {
	EARLY_MAX = LIMIT_HTTP_HEAD + NET_READ_BUFFER + (32 << 10),	/* a head and one read more */
	RETRY_SHUT_MS = 100,
};

/* Why the client's stream is not read. */
enum { PAUSED_QUEUE = 1, PAUSED_UNAUTH = 2 };

/* Belongs to its loop. Freed when both streams are gone. */
struct http_conn {
	uint32_t magic;
	struct http_front *front;
	enum http_door door;
	struct net_stream *outer;	/* NULL: gone */
	struct net_stream *inner;	/* NULL: none yet, or gone */
	int inner_fd;			/* the stream's; only to end its sending side */
	bool inner_due;			/* `opened` of inner is still to come */
	bool is_proxying;
	bool is_answered;		/* refused by ourselves; the rest is not read */
	bool is_authorised;
	bool is_client_last;		/* the last bytes were the client's: it waits */
	bool wants_shut;		/* end the pair's sending side when all is sent */
	bool is_shut;
	unsigned paused;		/* of PAUSED_* */
	size_t unauth_bytes;
	int64_t deadline_ms;		/* to authorise itself */
	struct http_head head;
	struct str early;		/* bytes of an incomplete head */
};

static void conn_free_if_gone(struct http_conn *c)
{
	if (c->outer == NULL && c->inner == NULL && !c->inner_due) {
		str_fini(&c->early);
		c->magic = 0;
		mem_free(c);
	}
}

static struct http_conn *conn_of(void *conn)
{
	struct http_conn *c = conn;
	assert(c->magic == HTTP_CONN_MAGIC);
	return c;
}

/* ---- refusals --------------------------------------------------------------------- */

/* Answers by ourselves and closes. `reason` is the status line's. */
static void refuse(struct http_conn *c, enum err e, int status, const char *reason,
		   const char *detail)
{
	char tracking[33];
	char head[256];
	struct str body = {0};
	http_error_body(c->front->core, e, NULL, detail, "", tracking, &body);
	log_limited(LOG_INFO, "HTTP-REFUSED", "peer=%s status=%d code=%s tracking=%s reason=%s",
		 net_stream_peer(c->outer), status, err_info(e)->http_code, tracking,
		 log_quote(detail));
	snprintf(head, sizeof head,
		 "HTTP/1.1 %d %s\r\nContent-Type: application/json; charset=utf-8\r\n"
		 "Content-Length: %zu\r\nConnection: close\r\n\r\n",
		 status, reason, body.len);
	if (!body.bad && net_stream_write(c->outer, head, strlen(head)) == ERR_OK) {
		(void)net_stream_write(c->outer, body.p, body.len);
	}
	str_fini(&body);
	c->is_answered = true;
	net_stream_tick_at(c->outer, INT64_MAX);
	net_stream_close(c->outer);
}

/* ---- back pressure ------------------------------------------------------------------ */

static void pause_outer(struct http_conn *c, unsigned why)
{
	if (c->paused == 0) {
		net_stream_pause(c->outer);
	}
	c->paused |= why;
}

static void resume_outer(struct http_conn *c, unsigned why)
{
	bool was = c->paused != 0;
	c->paused &= ~why;
	if (was && c->paused == 0 && c->outer != NULL) {
		net_stream_resume(c->outer);
	}
}

/* ---- the pair -------------------------------------------------------------------------- */

static const struct net_protocol inner_protocol;

/* Ends the sending side towards libmicrohttpd as soon as it has everything. */
static void try_shut(struct http_conn *c)
{
	if (!c->wants_shut || c->is_shut || c->inner == NULL) {
		return;
	}
	net_stream_flush(c->inner);
	if (c->inner_due || net_stream_queued(c->inner) > 0) {
		net_stream_tick_at(c->outer, clock_mono_ms() + RETRY_SHUT_MS);
		return;
	}
	c->is_shut = true;
	(void)shutdown(c->inner_fd, SHUT_WR);
}

static void shut(struct http_conn *c)
{
	c->wants_shut = true;
	try_shut(c);
}

static void forward(struct http_conn *c, const uint8_t *p, size_t n)
{
	if (c->inner == NULL || c->wants_shut) {
		return;
	}
	c->is_client_last = true;
	if (net_stream_write(c->inner, p, n) != ERR_OK) {
		net_stream_abort(c->outer);
		return;
	}
	if (net_stream_queued(c->inner) >= NET_QUEUE_HIGH) {
		pause_outer(c, PAUSED_QUEUE);
	}
	if (!c->is_authorised) {
		c->unauth_bytes += n;
		if (c->unauth_bytes > LIMIT_UNAUTH_BYTES) {
			pause_outer(c, PAUSED_UNAUTH);
		}
	}
}

static enum err start_proxy(struct http_conn *c)
{
	int fd[2];
	struct net_loop *loop = net_stream_loop(c->outer);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) != 0) {
		return ERR_BUSY;
	}
	enum err e = net_stream_adopt(loop, fd[0], &inner_protocol, c, &c->inner);
	if (e != ERR_OK) {
		c->inner = NULL;
		close(fd[0]);
		close(fd[1]);
		return ERR_BUSY;
	}
	c->inner_due = true;
	c->inner_fd = fd[0];
	struct http_origin origin = {
		.family = AF_UNIX,
		.door = c->door,
		.stream_id = net_stream_id(c->outer),
		.loop = loop,
	};
	snprintf(origin.peer, sizeof origin.peer, "%s", net_stream_peer(c->outer));
	/* On failure the other end is closed, which ends the inner stream. */
	return http_daemon_add(c->front, fd[1], &origin);
}

/* Where a connection's first request sends it. */
enum destination { TO_LIBRARY, TO_WEBSOCKET };
static enum destination choose(const struct http_conn *c)
{
	return c->door == HTTP_DOOR_MAIN && c->head.is_websocket ? TO_WEBSOCKET : TO_LIBRARY;
}

/* There are too many connections already: this one was let in to be told so. */
static void refuse_surplus(struct http_conn *c)
{
	char text[128];
	snprintf(text, sizeof text, "The namespace's quota of %d connections is reached.",
		 net_stream_max_connections(c->outer));
	metric_inc(METRIC_ERRORS_QUOTA);
	refuse(c, ERR_LIMIT, 403, "Forbidden", text);
}

static void head_done(struct http_conn *c, struct span all)
{
	/* Whoever watches the server shall see it just then. */
	if (net_stream_is_surplus(c->outer) && c->door == HTTP_DOOR_MAIN) {
		refuse_surplus(c);
		return;
	}
	if (choose(c) == TO_WEBSOCKET) {
		refuse(c, ERR_NOT_IMPLEMENTED, 501, "Not Supported",
		       "AMQP over WebSocket is not served here. Use AMQP over TLS.");
		return;
	}
	if (start_proxy(c) != ERR_OK) {
		refuse(c, ERR_BUSY, 503, "Service Unavailable",
		       "The server is busy: it has no room for another connection.");
		return;
	}
	c->is_proxying = true;
	if (c->door == HTTP_DOOR_METRICS) {
		c->is_authorised = true;
		net_stream_authorised(c->outer);
		net_stream_tick_at(c->outer, INT64_MAX);
	}
	forward(c, all.p, all.n);
	str_fini(&c->early);
}

static void read_head(struct http_conn *c, const uint8_t *p, size_t n)
{
	struct span all = span_of(p, n);
	if (c->early.len > 0) {
		str_addn(&c->early, p, n);
		all = span_of(c->early.p, c->early.len);
	}
	if (c->early.bad) {
		net_stream_abort(c->outer);
		return;
	}
	switch (http_head_scan(&c->head, all)) {
	case HTTP_HEAD_MORE:
		if (c->early.len == 0) {
			str_addn(&c->early, p, n);
		}
		if (c->early.bad) {
			net_stream_abort(c->outer);
		}
		break;
	case HTTP_HEAD_DONE:
		head_done(c, all);
		break;
	case HTTP_HEAD_BAD:
		refuse(c, ERR_PROTOCOL, 400, "Bad Request",
		       "The first bytes are not an HTTP/1.1 request.");
		break;
	case HTTP_HEAD_LONG:
		refuse(c, ERR_PROTOCOL, 431, "Request Header Fields Too Large",
		       "The request's head is longer than 16384 bytes.");
		break;
	}
}

/* ---- the client's stream ------------------------------------------------------------------ */

static enum err outer_opened(struct http_front *f, enum http_door door, struct net_stream *s,
			     void **conn)
{
	assert(f->magic == HTTP_FRONT_MAGIC);
	struct http_conn *c = MEM_NEW(struct http_conn);
	if (c == NULL) {
		return ERR_NOMEM;
	}
	c->magic = HTTP_CONN_MAGIC;
	c->front = f;
	c->door = door;
	c->outer = s;
	c->early.max = EARLY_MAX;
	c->deadline_ms = clock_mono_ms() + LIMIT_UNAUTH_MS;
	net_stream_tick_at(s, c->deadline_ms);
	*conn = c;
	return ERR_OK;
}

static enum err main_opened(void *ctx, struct net_stream *s, void **conn)
{
	return outer_opened(ctx, HTTP_DOOR_MAIN, s, conn);
}

static enum err metrics_opened(void *ctx, struct net_stream *s, void **conn)
{
	return outer_opened(ctx, HTTP_DOOR_METRICS, s, conn);
}

static void outer_received(void *conn, const uint8_t *p, size_t n)
{
	struct http_conn *c = conn_of(conn);
	if (c->is_proxying) {
		forward(c, p, n);
	} else if (!c->is_answered) {
		read_head(c, p, n);
	}
}

static void outer_ended(void *conn)
{
	struct http_conn *c = conn_of(conn);
	if (c->is_proxying) {
		shut(c);
	} else if (!c->is_answered) {
		net_stream_close(c->outer);
	}
}

static void outer_writable(void *conn)
{
	struct http_conn *c = conn_of(conn);
	if (c->inner != NULL) {
		net_stream_resume(c->inner);
	}
}

static void outer_tick(void *conn, int64_t now_ms)
{
	struct http_conn *c = conn_of(conn);
	if (c->wants_shut) {
		try_shut(c);
	} else if (c->is_authorised || c->is_answered) {
		return;
	} else if (now_ms < c->deadline_ms) {
		net_stream_tick_at(c->outer, c->deadline_ms);
	} else if (c->is_proxying) {
		shut(c);
	} else if (c->early.len > 0) {
		refuse(c, ERR_TIMEOUT, 408, "Request Timeout",
		       "The request's head did not arrive within 20 seconds.");
	} else {
		net_stream_close(c->outer);	/* opened ahead of need, never used */
	}
}

static void outer_closed(void *conn, enum err reason)
{
	(void)reason;
	struct http_conn *c = conn_of(conn);
	c->outer = NULL;
	if (c->inner != NULL && !c->inner_due) {
		net_stream_abort(c->inner);
	}
	conn_free_if_gone(c);
}

static void outer_stopping(void *conn)
{
	struct http_conn *c = conn_of(conn);
	if (!c->is_proxying) {
		net_stream_close(c->outer);
	} else if (!c->is_client_last) {
		shut(c);
	}
	/* Else it is answered first, with "Connection: close". */
}

/* ---- our end of the pair --------------------------------------------------------------------- */

static enum err inner_opened(void *ctx, struct net_stream *s, void **conn)
{
	struct http_conn *c = conn_of(ctx);
	assert(c->inner == s);
	c->inner_due = false;
	if (c->outer == NULL) {
		c->inner = NULL;
		conn_free_if_gone(c);
		return ERR_EOF;
	}
	*conn = c;
	return ERR_OK;
}

static void inner_received(void *conn, const uint8_t *p, size_t n)
{
	struct http_conn *c = conn_of(conn);
	if (c->outer == NULL) {
		return;
	}
	c->is_client_last = false;
	if (net_stream_write(c->outer, p, n) != ERR_OK) {
		net_stream_abort(c->outer);
	} else if (net_stream_queued(c->outer) >= NET_QUEUE_HIGH) {
		net_stream_pause(c->inner);
	}
}

static void inner_writable(void *conn)
{
	resume_outer(conn_of(conn), PAUSED_QUEUE);
}

static void inner_closed(void *conn, enum err reason)
{
	(void)reason;
	struct http_conn *c = conn_of(conn);
	c->inner = NULL;
	c->inner_fd = -1;
	if (c->outer != NULL) {
		net_stream_close(c->outer);
	}
	conn_free_if_gone(c);
}

/* ---- news from libmicrohttpd's threads ---------------------------------------------------------- */

struct authorised {
	struct msg msg;
	struct net_loop *loop;
	uint64_t stream_id;
};

static void run_authorised(struct msg *m)
{
	struct authorised *a = (struct authorised *)(void *)m;
	struct net_stream *s = net_stream_by_id(a->loop, a->stream_id);
	struct http_conn *c = s != NULL ? net_stream_conn(s) : NULL;
	if (c != NULL && c->outer == s) {
		assert(c->magic == HTTP_CONN_MAGIC);
		c->is_authorised = true;
		net_stream_authorised(s);
		resume_outer(c, PAUSED_UNAUTH);
		if (!c->wants_shut) {
			net_stream_tick_at(s, INT64_MAX);
		}
	}
	mem_free(a);
}

void http_conn_authorised(const struct http_origin *origin)
{
	struct authorised *a = MEM_NEW(struct authorised);
	if (a == NULL) {
		return;	/* it ends at its deadline and comes again */
	}
	a->msg.run = run_authorised;
	a->loop = origin->loop;
	a->stream_id = origin->stream_id;
	mailbox_post(net_loop_mailbox(origin->loop), &a->msg);
}

/* ---- protocols -------------------------------------------------------------------------------------- */

static const struct net_protocol inner_protocol = {
	.name = "http-inner",
	.opened = inner_opened,
	.received = inner_received,
	.writable = inner_writable,
	.closed = inner_closed,
};

const struct net_protocol http_protocol = {
	.name = "https",
	.opened = main_opened,
	.received = outer_received,
	.ended = outer_ended,
	.writable = outer_writable,
	.tick = outer_tick,
	.closed = outer_closed,
	.stopping = outer_stopping,
};

const struct net_protocol http_metrics_protocol = {
	.name = "metrics",
	.opened = metrics_opened,
	.received = outer_received,
	.ended = outer_ended,
	.writable = outer_writable,
	.tick = outer_tick,
	.closed = outer_closed,
	.stopping = outer_stopping,
};
