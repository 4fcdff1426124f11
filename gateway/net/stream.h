#ifndef GATEWAY_NET_STREAM_H
#define GATEWAY_NET_STREAM_H

/* Loops, listeners and streams: how bytes of clients come in and go out.
 *
 * One net loop (libuv) per core, each on its own thread; one acceptor hands
 * every new connection to the loop with the fewest. A stream is one connection
 * after TLS: plain bytes in, plain bytes out. Everything of a stream, and the
 * protocol object above it, belongs to its loop's thread; other threads reach
 * a connection only by posting a message to net_loop_mailbox, naming it by id
 * (net_stream_by_id). A protocol fills in one struct net_protocol. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/mailbox.h"

struct net;		/* all loops and listeners */
struct net_loop;
struct net_stream;
struct net_tls;		/* certificate, key, settings; reloadable */

/* The seam to a front end. All members run on the stream's loop thread. None
 * may block. `ctx` is the value given to net_listen. */
struct net_protocol {
	const char *name;	/* "amqp": for logs and metrics */
	/* The stream is usable (TLS is done). Gives the protocol's connection
	 * object in *conn (kept until `closed`). An error closes the stream,
	 * without a call of `closed`. */
	enum err (*opened)(void *ctx, struct net_stream *s, void **conn);
	/* Bytes arrived; they are borrowed. All are consumed. At most
	 * NET_READ_BUFFER and one TLS record in one call. */
	void (*received)(void *conn, const uint8_t *p, size_t n);
	/* The peer ended its sending side; NULL: the stream is closed at once. */
	void (*ended)(void *conn);
	/* The send queue fell below NET_QUEUE_LOW after having been above
	 * NET_QUEUE_HIGH. */
	void (*writable)(void *conn);
	/* Called once per tick_ms (see net_stream_tick_at); may be NULL. */
	void (*tick)(void *conn, int64_t now_ms);
	/* The stream is gone; the last call. `reason` ERR_OK: in order;
	 * ERR_EOF: the peer closed; else what failed. The protocol frees its
	 * object when its own outstanding operations have come back. */
	void (*closed)(void *conn, enum err reason);
	/* The server stops: end in order (finish what is under way, then
	 * net_stream_close) before the grace period is over. May be NULL. */
	void (*stopping)(void *conn);
};

enum {
	NET_QUEUE_LOW = 256 << 10,	/* bytes waiting for the socket */
	NET_QUEUE_HIGH = 512 << 10,
	NET_READ_BUFFER = 64 << 10,	/* shared by all streams of a loop */
	/* Beyond every honest use (Kafka answers reach 50 MiB); a stream that
	 * gets there is closed with ERR_LIMIT. */
	NET_QUEUE_MAX = 128 << 20,
	NET_READ_BUDGET = 4,		/* full buffers from one stream per wake-up */
	NET_STALL_MS = 60000,		/* a send queue that did not move for so long ends the stream */
	/* After net_stream_close the queue may not stand still for so long, nor
	 * take longer than the stall time in all. */
	NET_DRAIN_MS = 5000,
	NET_LINGER_MS = 2000,		/* after the last byte: time for the peer's own close */
	NET_HANDSHAKE_MS = 10000,
	NET_TICK_MS = 100,		/* resolution of deadlines */
	/* Connections beyond max_connections at a time that are still accepted, so
	 * that their protocol can tell them why they cannot stay. */
	NET_SURPLUS_MAX = 64,
};

struct net_options {
	int loops;			/* 0: one per core */
	/* Over all listeners; up to NET_SURPLUS_MAX more are accepted as surplus, others
	 * are closed at once; 0: no limit. */
	int max_connections;
	int max_unauthorised_per_address;	/* IPv6: per /64 network; 0: no limit */
	int handshake_timeout_ms;	/* TLS must be done by then; 0: NET_HANDSHAKE_MS */
	int stall_ms;			/* 0: NET_STALL_MS */
};

struct net_listen_options {
	const char *address;	/* "127.0.0.1:5671", "[::1]:0"; port 0 = any free */
	const struct net_protocol *protocol;
	void *ctx;
	struct net_tls *tls;	/* NULL: plain; kept until net_stop */
};

enum err net_new(const struct net_options *o, struct net **out, struct err_detail *d) MUST_CHECK;
/* Binds and listens; accepting starts with net_start, and this is called
 * before it. bound gets "ADDR:PORT". Errors: ERR_INVALID (address), ERR_IN_USE,
 * ERR_FORBIDDEN (privileged port), ERR_IO. */
enum err net_listen(struct net *net, const struct net_listen_options *o, char bound[64],
		    struct err_detail *d) MUST_CHECK;
enum err net_start(struct net *net, struct err_detail *d) MUST_CHECK;
/* Stops accepting and tells every protocol by `closed` (ERR_STOPPING) after at
 * most grace_ms in which connections may end by themselves; then joins the
 * threads. Called from the main thread. */
void net_stop(struct net **net, int grace_ms);
/* The first half of net_stop: afterwards no connection is left and none comes,
 * but the loops still run messages. For operations that are still out and will
 * be posted back to a loop: drain, wait for them, then net_stop. */
void net_drain(struct net *net, int grace_ms);

int net_loop_count(const struct net *net);
struct net_loop *net_loop_at(struct net *net, int i);
/* Any thread may post; messages run on the loop. After a round of messages and
 * after each read the loop flushes what protocols wrote. */
struct mailbox *net_loop_mailbox(struct net_loop *loop);

/* ---- streams: loop thread only --------------------------------------- */

/* A plain stream on this loop over a connected socket (AF_UNIX too). `opened`
 * is called later, never from within; never, when the stream is aborted first.
 * Takes `fd`. It counts against no limit. ERR_STOPPING, ERR_NOMEM, ERR_IO. */
enum err net_stream_adopt(struct net_loop *loop, int fd, const struct net_protocol *protocol,
			  void *ctx, struct net_stream **out) MUST_CHECK;

uint64_t net_stream_id(const struct net_stream *s);	/* unique for the process's life */
struct net_loop *net_stream_loop(const struct net_stream *s);
/* NULL when that stream is gone. */
struct net_stream *net_stream_by_id(struct net_loop *loop, uint64_t id);
/* The protocol's object given by `opened`; NULL before. */
void *net_stream_conn(const struct net_stream *s);
const char *net_stream_peer(const struct net_stream *s);	/* "127.0.0.1:53122" */
bool net_stream_is_tls(const struct net_stream *s);
/* Common name of a verified client certificate, or NULL. */
const char *net_stream_peer_name(const struct net_stream *s);

/* Queues bytes (copied). Never blocks; the caller watches net_stream_queued and
 * stops at NET_QUEUE_HIGH. Sent at the next flush. ERR_EOF when closing;
 * ERR_NOMEM: nothing was queued; ERR_LIMIT: NET_QUEUE_MAX, the stream closes. */
enum err net_stream_write(struct net_stream *s, const void *p, size_t n);
/* The same for bytes that lie in `b`: not copied when they are many; the queue
 * then has a reference of its own until they are sent. */
enum err net_stream_write_buf(struct net_stream *s, struct buf *b, const void *p, size_t n);
size_t net_stream_queued(const struct net_stream *s);
/* Sends now what is queued; the loop does it by itself after each event. */
void net_stream_flush(struct net_stream *s);
/* Stops and resumes reading (back pressure to the peer). */
void net_stream_pause(struct net_stream *s);
void net_stream_resume(struct net_stream *s);
/* Closes after what is queued was sent (bounded: NET_DRAIN_MS). `closed` is
 * called later, never from within. */
void net_stream_close(struct net_stream *s);
/* Closes at once; what is queued is lost. `closed` is called later with ERR_OK. */
void net_stream_abort(struct net_stream *s);
/* Asks for protocol->tick at now_ms >= at_ms (CLOCK_MONOTONIC ms; resolution
 * about 100 ms); INT64_MAX switches it off. One deadline per stream. */
void net_stream_tick_at(struct net_stream *s, int64_t at_ms);
/* It is beyond max_connections: the protocol is to say so in its words and to
 * close it. */
bool net_stream_is_surplus(const struct net_stream *s);
int net_stream_max_connections(const struct net_stream *s);
/* The connection has authorised itself: it no longer counts against the limit
 * of unauthorised connections of its address. */
void net_stream_authorised(struct net_stream *s);

#endif
