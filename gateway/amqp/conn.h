#ifndef GATEWAY_AMQP_CONN_H
#define GATEWAY_AMQP_CONN_H

/* One AMQP connection: a stream below, Proton's connection driver inside, links
 * above. Private to gateway/amqp.
 *
 *   stream -> input tap -> guard -> driver -> events -> links
 *   links -> driver -> output tap -> stream
 *
 * Everything here belongs to the stream's loop thread. Operations that are out
 * (appends, reads, watches, the connection's own wake message) are counted in
 * `outstanding`; the object is freed when the stream has closed and none is
 * left. */

#include <proton/connection_driver.h>
#include <stdatomic.h>

#include "gateway/amqp/amqp.h"
#include "gateway/amqp/guard.h"
#include "gateway/amqp/tap.h"

struct amqp_link;
struct amqp_send;

/* The struct that embeds *p as its member. */
#define AMQP_OWNER(type, p, member) ((type *)(void *)((char *)(p) - offsetof(type, member)))

enum {
	AMQP_SESSION_OUT_MAX = 256 << 10,	/* bytes Proton holds for one session before pushing stops */
	AMQP_ROUND_BYTES = 256 << 10,		/* of one receiver before the next has its turn */
	/* The same in events: Proton keeps about 1 KiB for each delivery that was
	 * ever waiting to be written at the same time. */
	AMQP_ROUND_EVENTS = 256,
	AMQP_ROUNDS = 16,			/* of all receivers before the loop's other streams */
	AMQP_FAST_TICK_MS = 1000,		/* while something may stall */
	AMQP_SLOW_TICK_MS = 60000,		/* otherwise at the latest, so that clock changes are seen */
	AMQP_CLOSE_WAIT_MS = 2000,		/* for the peer's close after ours */
	/* A delivery that is not complete after this time is dropped. */
	AMQP_PARTIAL_MAX_MS = 60000,
	/* Under memory pressure one that has not moved for this long is. */
	AMQP_PARTIAL_STALL_MS = 2000,
	AMQP_SEND_POOL = 1024,			/* free operations kept by a loop */
};

struct amqp_front {
	unsigned magic;
	unsigned serial;		/* tells fronts of one process apart */
	struct core *core;
	struct amqp_options options;
	char container[40];		/* "<32 hex>_G1" */
	struct budget partials;		/* deliveries not complete yet: half of the in-flight budget */
	_Atomic(struct amqp_loop *) loops;	/* freed with the front */
};

/* What the connections of one loop share. */
struct amqp_loop {
	struct amqp_loop *next;
	struct net_loop *loop;
	struct amqp_conn *conns;	/* whose streams are open */
	struct amqp_send *pool;
	uint32_t n_pool;
	struct str event;		/* the message being written for a receiver */
};
/* The calling thread's; made at its first connection. NULL: no memory. */
struct amqp_loop *amqp_loop_enter(struct amqp_front *f, struct net_loop *loop);
/* The one entered last by the calling thread, NULL on others. */
struct amqp_loop *amqp_loop_here(void);

struct amqp_conn {
	unsigned magic;
	uint64_t id;
	struct amqp_front *front;
	struct amqp_loop *loop;
	struct amqp_conn *next, *prev;	/* of the loop */
	struct net_stream *stream;	/* NULL: closed */
	struct mailbox *mailbox;
	pn_connection_driver_t driver;
	struct amqp_tap_in in;
	struct amqp_tap_out out;
	struct amqp_guard guard;
	struct str wire;		/* output of the tap on its way to the stream */
	const struct amqp_tap_frame *frame;	/* being fed; valid while its events are handled */
	/* The message bytes of a transfer being fed. Proton sees only its
	 * performative: it would copy them twice and keep the largest buffer. */
	struct span payload;
	struct core_grants grants;
	struct throttle_flow *flow;	/* NULL: no link has needed it yet */
	struct msg wake;		/* posted to ourselves: run once more */
	bool wake_posted;
	bool is_open;			/* the peer's open has come */
	bool is_authorised;
	bool is_failing;		/* we have said goodbye */
	bool is_stopping;		/* the server stops: end when nothing is under way */
	bool is_paused;			/* the peer does not read: we do not either */
	int64_t opened_ms;		/* monotonic */
	int64_t close_by_ms;		/* when is_failing */
	int64_t tick_ms;		/* asked for; INT64_MAX: none */
	uint64_t unauth_bytes;
	uint32_t unauth_links;
	uint32_t n_sessions;
	uint32_t n_links;		/* attached by the peer, refused ones included */
	uint64_t next_link;		/* ids */
	uint32_t outstanding;
	uint32_t sends;			/* appends under way */
	struct amqp_link *links;
	struct amqp_link *ready, *ready_last;	/* receivers with something to do */
	struct amqp_link *blocked;	/* receivers that wait for room */
};

/* One of the calling loop's by its id; NULL when it is gone. For rare events. */
struct amqp_conn *amqp_conn_find(uint64_t id);
/* Runs the connection again after the present round of messages. */
void amqp_conn_wake(struct amqp_conn *conn);
/* One operation has come back; frees the connection when it was the last of a
 * closed one, so the caller does not touch it afterwards. */
void amqp_conn_release(struct amqp_conn *conn);
/* Asks for a tick at or before that time (monotonic ms). */
void amqp_conn_tick_by(struct amqp_conn *conn, int64_t at_ms);
/* Closes the connection with an error and its text, and logs both. A NULL
 * condition: that of `e`. */
void amqp_conn_fail(struct amqp_conn *conn, enum err e, const char *condition,
		    const char *detail);
/* The peer has shown who it is. ERR_LIMIT, ERR_NOMEM. */
enum err amqp_conn_grant(struct amqp_conn *conn, const struct auth_grant *grant) MUST_CHECK;
/* False when the stream is too full, or gone. */
bool amqp_conn_has_room(const struct amqp_conn *conn);

/* sasl.c: makes the transport a server that asks us. */
void amqp_sasl_setup(struct amqp_conn *conn);

#endif
