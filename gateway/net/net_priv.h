#ifndef GATEWAY_NET_NET_PRIV_H
#define GATEWAY_NET_NET_PRIV_H

/* What the files of this folder share.
 *
 * Life of a stream:
 *   NEW ──► HANDSHAKE ──► OPEN ──► CLOSING ──► LINGER ──► DEAD
 *    └─ plain ─────────────┘  any state may go to DEAD
 * NEW: accepted or adopted, `opened` still to be called. CLOSING: the protocol
 * asked for the end, the queue drains. LINGER: our side is shut, the protocol is
 * gone, what the peer still sends is thrown away so that it reads our last bytes
 * instead of a reset. DEAD: to be destroyed at the end of this event.
 *
 * Every libuv callback ends with net_loop_settle, the only place where
 * protocols are told `opened` (plain), `writable` and `closed`. */

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <uv.h>

#include "base/lock.h"
#include "gateway/net/queue.h"
#include "gateway/net/stream.h"
#include "gateway/net/wheel.h"

enum {
	NET_MAGIC = 0x4e455401,
	NET_LOOP_MAGIC = 0x4e455402,
	NET_STREAM_MAGIC = 0x4e455403,
	NET_LOOPS_MAX = 64,
	NET_LISTENERS_MAX = 32,
	NET_PEER_MAX = 56,		/* "[" + IPv6 text + "]:65535" */
	NET_ACCEPT_BUDGET = 64,		/* accepted per wake-up */
	NET_MESSAGE_ROUNDS = 8,		/* rounds of messages before sockets are looked at again */
	NET_MESSAGE_NS = 20 * 1000 * 1000,	/* ... and no new round after so long */
	NET_RECORD_MAX = (16 << 10) + 512,	/* a TLS record with its overhead */
	NET_PLAIN_BUFFER = NET_READ_BUFFER + NET_RECORD_MAX,
	NET_GATHER = 128 << 10,		/* ciphertext per send(2) */
	NET_HASH_MIN = 64,
	NET_ADDRESS_BUCKETS = 1024,
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* ---- intrusive lists -------------------------------------------------- */

struct net_link {
	struct net_link *prev;
	struct net_link *next;	/* NULL: in no list */
};

static inline void net_list_init(struct net_link *head)
{
	head->prev = head;
	head->next = head;
}
static inline bool net_list_empty(const struct net_link *head)
{
	return head->next == head;
}
static inline void net_list_remove(struct net_link *l)
{
	if (l->next != NULL) {
		l->prev->next = l->next;
		l->next->prev = l->prev;
		l->next = NULL;
		l->prev = NULL;
	}
}
/* Appends unless it is in a list already. */
static inline void net_list_add(struct net_link *head, struct net_link *l)
{
	if (l->next == NULL) {
		l->prev = head->prev;
		l->next = head;
		head->prev->next = l;
		head->prev = l;
	}
}
/* Moves everything to the empty list `to`. */
static inline void net_list_move(struct net_link *from, struct net_link *to)
{
	net_list_init(to);
	if (!net_list_empty(from)) {
		*to = *from;
		to->next->prev = to;
		to->prev->next = to;
		net_list_init(from);
	}
}

/* ---- addresses -------------------------------------------------------- */

/* How many unauthorised connections each peer address has. Any thread; its
 * lock is a leaf. */
struct net_address;
struct net_addresses {
	struct lock lock;
	int max;	/* 0: no limit, nothing is counted */
	struct net_address *bucket[NET_ADDRESS_BUCKETS];
};

struct sockaddr_storage;
void net_addresses_init(struct net_addresses *t, int max);
void net_addresses_fini(struct net_addresses *t);
/* ERR_LIMIT, ERR_NOMEM; *out is given back by net_addresses_give and may be
 * NULL where nothing is counted. */
enum err net_addresses_take(struct net_addresses *t, const struct sockaddr_storage *from,
			    struct net_address **out) MUST_CHECK;
void net_addresses_give(struct net_addresses *t, struct net_address **a);

/* ---- the whole -------------------------------------------------------- */

struct net_listener {
	struct net *net;
	const struct net_protocol *protocol;
	void *ctx;
	struct net_tls *tls;
	uv_poll_t poll;
	int fd;			/* -1: closed */
	bool watched;		/* poll is initialised */
	bool polling;
	char bound[64];
};

/* A line that would repeat is written once a second, with what it stands for. */
struct net_rate {
	int64_t last_ms;
	long dropped;
};

struct net {
	uint32_t magic;
	struct net_options options;
	struct net_loop *loops[NET_LOOPS_MAX];
	int loop_count;
	bool started;
	bool drained;
	BIO_METHOD *bio;
	struct net_addresses addresses;
	atomic_ullong next_id;

	struct lock lock;	/* a leaf */
	struct cond quiet;	/* live or killed moved */
	int live;		/* under lock: streams not yet freed */
	int killed;		/* under lock: loops that take no more streams */
	int connections;	/* under lock: of them, those that count for max_connections */
	int surplus;		/* under lock: and those beyond it */

	/* Loop 0 only, once started. */
	struct net_listener listeners[NET_LISTENERS_MAX];
	int listener_count;
	int spare_fd;		/* given up to accept and close one when descriptors run out */
	struct net_rate full_rate;
	struct net_rate emfile_rate;
	struct net_rate address_rate;
};

struct net_loop_msg {
	struct msg msg;
	struct net_loop *loop;
};

/* Belongs to its thread, except mailbox, load and ended. */
struct net_loop {
	uint32_t magic;
	struct net *net;
	int index;
	pthread_t thread;
	uv_loop_t uv;
	uv_async_t async;
	uv_timer_t timer;
	struct mailbox mailbox;
	atomic_int load;	/* connections; the acceptor reads it */
	atomic_bool ended;	/* nothing may be sent to `async` any more */
	struct net_loop_msg stop_msg;
	struct net_loop_msg kill_msg;
	struct net_loop_msg end_msg;
	bool stopping;		/* grace period */
	bool killing;		/* no stream may begin */

	struct net_link all;	/* streams by .all */
	struct net_link fresh;	/* by .state_link: `opened` is due */
	struct net_link dead;	/* by .state_link: `closed` and destruction are due */
	struct net_link dirty;	/* by .dirty: has something to send */
	struct net_link ready;	/* by .ready: `writable` is due */
	struct net_stream **hash;
	size_t hash_size;	/* power of two */
	size_t hash_count;
	struct wheel wheel;
	struct net_pool pool;

	uint8_t *in;		/* NET_READ_BUFFER: what recv gave */
	uint8_t *plain;		/* NET_PLAIN_BUFFER: decrypted */
	uint8_t *gather;	/* NET_GATHER: encrypted, of the stream in hand */
	size_t gather_len;
	const uint8_t *cipher;	/* what the BIO of the stream in hand reads */
	size_t cipher_len;
};

enum net_state {
	NET_NEW,
	NET_HANDSHAKE,
	NET_OPEN,
	NET_CLOSING,
	NET_LINGER,
	NET_DEAD,
	NET_STATE_COUNT
};

enum net_count {
	NET_COUNT_NONE,		/* adopted */
	NET_COUNT_CLIENT,	/* against max_connections and in metrics */
	NET_COUNT_SURPLUS,	/* beyond it: to be told so and closed */
};

struct net_stream {
	uint32_t magic;
	uint8_t state;		/* enum net_state; changed by net_stream_move only */
	uint8_t watching;	/* UV_READABLE | UV_WRITABLE */
	bool paused;
	bool ended;		/* the peer's sending side is over */
	bool blocked;		/* the kernel took not everything: wait until writable */
	bool was_high;
	bool announced;		/* `opened` succeeded: `closed` is due */
	bool uv_ready;		/* poll is initialised */
	uint8_t count;		/* enum net_count */
	bool tls_done;
	bool tls_broken;	/* no close_notify may be sent */
	bool shut;		/* close_notify is out */
	uint8_t first_byte;	/* of the handshake */
	int fd;
	enum err reason;
	uint64_t id;
	struct net_loop *loop;
	const struct net_protocol *protocol;
	void *ctx;
	void *conn;
	struct net_tls *tls;
	SSL *ssl;
	char *peer_name;
	struct net_address *address;
	struct net_stream *hash_next;
	struct msg msg;		/* hand-over from the acceptor */
	struct net_link all;
	struct net_link state_link;
	struct net_link dirty;
	struct net_link ready;
	struct wheel_node deadline;
	int64_t tick_at;
	int64_t guard_at;	/* our own deadline: handshake, stall, drain, linger */
	int64_t closing_at;	/* since when CLOSING */
	uint64_t bytes_in;
	uint64_t bytes_out;
	struct net_queue out;	/* what the protocol wrote */
	struct net_queue wire;	/* encrypted, not yet taken by the kernel; TLS only */
	uv_poll_t poll;
	char peer[NET_PEER_MAX];
};

/* ---- loop.c ------------------------------------------------------------ */

enum err net_loop_new(struct net *net, int index, struct net_loop **out) MUST_CHECK;
/* Runs until net_loop_end was handled. */
void *net_loop_thread(void *arg);
/* Closes what keeps the loop running. On its thread, or before there is one. */
void net_loop_end(struct net_loop *loop);
/* After its thread has ended, in its place: runs what was still posted. True
 * when there was something, which may have posted to other loops. */
bool net_loop_finish(struct net_loop *loop);
/* After net_loop_finish gave false for every loop. */
void net_loop_free(struct net_loop **loop);
/* The loop whose thread this is; NULL on others. */
struct net_loop *net_loop_here(void);
/* Tells protocols what is due, sends what is queued, destroys what is dead. */
void net_loop_settle(struct net_loop *loop);
void net_loop_add(struct net_loop *loop, struct net_stream *s);
/* Does nothing when it is gone already. */
void net_loop_remove_id(struct net_loop *loop, struct net_stream *s);

/* ---- net.c -------------------------------------------------------------- */

/* Counts a stream in: ERR_LIMIT past max_connections, or past NET_SURPLUS_MAX. */
enum err net_stream_count(struct net *net, enum net_count count) MUST_CHECK;
void net_stream_uncount(struct net *net, enum net_count count);
/* This loop begins no more streams. */
void net_loop_killed(struct net *net);

/* ---- listen.c: loop 0 ----------------------------------------------------- */

enum err net_listeners_watch(struct net *net) MUST_CHECK;
/* Tries again the listeners that ran out of descriptors. */
void net_listeners_retry(struct net *net);
void net_listeners_close(struct net *net);
/* True when the line may be written now; *dropped were not since the last. */
bool net_rate_ok(struct net_rate *r, int64_t now_ms, long *dropped);

/* ---- stream.c ------------------------------------------------------------- */

/* Any thread. NULL: no memory, `fd` is still the caller's. */
struct net_stream *net_stream_create(struct net_loop *loop, int fd,
				     const struct net_protocol *protocol, void *ctx);
/* On the loop: begins to watch, or destroys. */
void net_stream_start(struct net_stream *s);
/* Frees one that was never started. */
void net_stream_discard(struct net_stream *s);
void net_stream_move(struct net_stream *s, enum net_state to);
/* To DEAD; `closed` follows with `reason`. */
void net_stream_fail(struct net_stream *s, enum err reason);
/* Our sending side is done: tells the protocol, lingers unless the peer ended. */
void net_stream_finish(struct net_stream *s);
/* Calls `opened`. */
void net_stream_open(struct net_stream *s);
/* Calls `closed`, once. */
void net_stream_announce_end(struct net_stream *s);
void net_stream_destroy(struct net_stream *s);
void net_stream_guard(struct net_stream *s, int64_t at_ms);
void net_stream_watch(struct net_stream *s);
wheel_fn net_stream_deadline;
const char *net_protocol_name(const struct net_protocol *p);

/* ---- stream_io.c ------------------------------------------------------------ */

void net_stream_on_poll(uv_poll_t *poll, int status, int events);
/* Sends what is queued as far as the kernel takes it. */
void net_stream_push(struct net_stream *s);
/* Gives n bytes to the kernel; 0 when it takes none now; fails the stream on
 * errors (then the state is DEAD). */
size_t net_stream_send(struct net_stream *s, const struct iovec *iov, int count);
void net_stream_received(struct net_stream *s, const uint8_t *p, size_t n);
void net_stream_peer_ended(struct net_stream *s);

/* ---- tls_stream.c -------------------------------------------------------------- */

BIO_METHOD *net_bio_method(void);
/* A server session over the stream's BIO: s->ssl. */
enum err net_tls_attach(struct net_stream *s) MUST_CHECK;
void net_tls_feed(struct net_stream *s, const uint8_t *p, size_t n);
/* Encrypts from s->out and sends. */
void net_tls_push(struct net_stream *s);
/* Queues close_notify where that is possible. */
void net_tls_shut(struct net_stream *s);
void net_tls_log_failure(struct net_stream *s, const char *reason);

/* ---- tls.c ------------------------------------------------------------------------ */

/* The present context with one more reference. */
SSL_CTX *net_tls_hold_ctx(struct net_tls *tls);

#endif
