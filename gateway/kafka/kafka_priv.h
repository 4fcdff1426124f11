#ifndef GATEWAY_KAFKA_KAFKA_PRIV_H
#define GATEWAY_KAFKA_KAFKA_PRIV_H

/* Inside gateway/kafka only.
 *
 * A kafka_conn is one client connection; it, its requests and everything they
 * point to belong to its loop's thread. A kafka_request lives from its frame to
 * its answer: requests of a connection are begun in order of arrival, up to
 * KAFKA_IN_FLIGHT at a time, go on concurrently, and are answered in order. What
 * a request waits for (appends, reads, watches, group operations, commands)
 * embeds its message in memory of the request and comes back to the loop's
 * mailbox; until all came back (`outstanding`) the request is kept, even when
 * its connection is gone. */

#include "gateway/kafka/codec.h"
#include "gateway/kafka/kafka.h"
#include "gateway/kafka/messages.h"

/* Error numbers of the protocol (kafka.md 2.1). */
enum kafka_code {
	KAFKA_UNKNOWN_SERVER_ERROR = -1,
	KAFKA_NONE = 0,
	KAFKA_OFFSET_OUT_OF_RANGE = 1,
	KAFKA_CORRUPT_MESSAGE = 2,
	KAFKA_UNKNOWN_TOPIC_OR_PARTITION = 3,
	KAFKA_LEADER_NOT_AVAILABLE = 5,
	KAFKA_NOT_LEADER = 6,
	KAFKA_REQUEST_TIMED_OUT = 7,
	KAFKA_MESSAGE_TOO_LARGE = 10,
	KAFKA_OFFSET_METADATA_TOO_LARGE = 12,
	KAFKA_COORDINATOR_LOADING = 14,
	KAFKA_COORDINATOR_NOT_AVAILABLE = 15,
	KAFKA_NOT_COORDINATOR = 16,
	KAFKA_INVALID_TOPIC = 17,
	KAFKA_NOT_ENOUGH_REPLICAS = 19,
	KAFKA_INVALID_REQUIRED_ACKS = 21,
	KAFKA_INVALID_GROUP_ID = 24,
	KAFKA_TOPIC_AUTHORIZATION_FAILED = 29,
	KAFKA_GROUP_AUTHORIZATION_FAILED = 30,
	KAFKA_CLUSTER_AUTHORIZATION_FAILED = 31,
	KAFKA_UNSUPPORTED_SASL_MECHANISM = 33,
	KAFKA_ILLEGAL_SASL_STATE = 34,
	KAFKA_UNSUPPORTED_VERSION = 35,
	KAFKA_TOPIC_ALREADY_EXISTS = 36,
	KAFKA_INVALID_PARTITIONS = 37,
	KAFKA_INVALID_REPLICATION_FACTOR = 38,
	KAFKA_INVALID_REPLICA_ASSIGNMENT = 39,
	KAFKA_INVALID_CONFIG = 40,
	KAFKA_INVALID_REQUEST = 42,
	KAFKA_POLICY_VIOLATION = 44,
	KAFKA_INVALID_TXN_STATE = 48,
	KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
	KAFKA_STORAGE_ERROR = 56,
	KAFKA_SASL_AUTHENTICATION_FAILED = 58,
	KAFKA_FETCH_SESSION_ID_NOT_FOUND = 70,
	KAFKA_FENCED_LEADER_EPOCH = 74,
	KAFKA_UNKNOWN_LEADER_EPOCH = 75,
	KAFKA_INVALID_RECORD = 87,
	KAFKA_THROTTLING_QUOTA_EXCEEDED = 89,
	KAFKA_UNKNOWN_TOPIC_ID = 100,
	KAFKA_UNSUPPORTED_ENDPOINT_TYPE = 115,
};

enum {
	KAFKA_FRONT_MAGIC = 0x4b414601,
	KAFKA_CONN_MAGIC = 0x4b414602,
	KAFKA_REQUEST_MAGIC = 0x4b414603,

	KAFKA_IN_FLIGHT = 64,		/* requests of one connection begun and not answered */
	/* Memory of begun requests and made answers, records apart, with which a
	 * connection begins no more. */
	KAFKA_HELD_MAX = 4 << 20,
	KAFKA_LONG = 8,			/* requests under way whose answers list much */
	KAFKA_ANSWER_LARGE = 1 << 20,	/* from here an answer without records is charged */
	KAFKA_FRAME_FIRST = 16 << 10,	/* memory of a frame before its bytes come */
	KAFKA_FRAME_MS = 60000,		/* a frame begun has arrived by then */
	KAFKA_SENDERS = 64,		/* hubs whose senders a connection keeps */
	KAFKA_READINGS = 64,		/* and whose capacity to read from */
	KAFKA_CLIENT_ID = 255,		/* of a client id, what limits are looked up by */
	/* From its sending to its answer a Produce takes no longer, as far as we can tell:
	 * Java's clients wait for 30 s. */
	KAFKA_ANSWER_MS = 25000,
	KAFKA_LAG_LEAST_MS = 5000,	/* of it, before it is read, at least */
	KAFKA_LAG_MARKS = 16,
	KAFKA_HOST_MAX = 255,
	KAFKA_TOPIC_MAX = 249,		/* Kafka's own bound for topic names */
	KAFKA_LEADER_EPOCH = 0,		/* constant, see docs/architecture.md */
	KAFKA_NO_OPERATIONS = INT32_MIN,	/* authorized_operations not given */
	KAFKA_NS_PER_MS = 1000 * 1000,
};

struct kafka_front {
	unsigned magic;
	struct kafka_options options;
	struct core *core;
	struct groups *groups;
	char cluster_id[24];		/* from the store's UUID, as Kafka prints its own: base64 */
	uint8_t store_uuid[16];
	struct budget partials;		/* frames that have not arrived whole; part of core_inflight */
	struct budget answers;		/* large answers, until the client took them */
	int64_t lag_max_ms;		/* KAFKA_ANSWER_MS without what an append may wait */
	struct kafka_listener *listeners;
};

struct kafka_listener {
	struct kafka_front *front;
	struct kafka_listener *next;
	char host[KAFKA_HOST_MAX + 1];
	uint16_t port;
};

enum kafka_sasl {
	KAFKA_SASL_NEW,		/* nothing but ApiVersions and SaslHandshake */
	KAFKA_SASL_TOKENS,	/* SaslAuthenticate comes next */
	KAFKA_SASL_RAW,		/* after SaslHandshake 0: a bare token comes next */
	KAFKA_SASL_DONE,
};

struct kafka_sender {
	uint32_t hub_id;
	struct core_sender *sender;
};
struct kafka_reading;	/* capacity.c */

/* lag.c: since when requests may wait unread. */
struct kafka_lag {
	bool is_ahead;			/* the client did not wait for an answer */
	int64_t since_ms;		/* 0: none does; without the time in which none did */
	int64_t free_ms;		/* counted as such up to then, since when none waits; 0: some may */
	int64_t read_ms;		/* when something came, or reading went on */
	int64_t flush_until_ms;		/* until then every Produce is refused; 0: none is */
	uint64_t flushed;		/* bytes, since then */
	/* Times at which so many more bytes were taken; 0: it never waits. */
	uint64_t step;
	uint64_t taken;			/* since the last mark */
	uint64_t marks;
	int64_t mark_ms[KAFKA_LAG_MARKS];	/* of mark i at i % KAFKA_LAG_MARKS */
};

/* What a connection was muted for: one more of that kind, which would have to wait. */
struct kafka_account {
	bool is_reading;
	uint32_t hub_id;
	int32_t partition;
	struct throttle_cost cost;	/* no bytes: it is not known */
};

struct kafka_conn {
	unsigned magic;
	struct kafka_front *front;
	struct kafka_listener *listener;
	struct net_stream *stream;	/* NULL: gone */
	struct mailbox *mailbox;	/* the loop's */
	uint64_t id;
	char peer[64];
	char client_host[64];		/* "/127.0.0.1" */

	/* sasl.c */
	enum kafka_sasl sasl;
	struct core_grants grants;
	char user[LIMIT_POLICY_NAME + 1];	/* whom the connection authenticated as; for logs */
	uint64_t checked_version;	/* of the catalogue in which it was still there */
	int64_t expires_ms;		/* wall clock; INT64_MAX: never */
	char software[64];		/* ApiVersions: client software name and version */

	/* conn.c: the frame being read */
	uint8_t length[4];
	uint32_t n_length;
	struct buf *frame;
	uint32_t frame_size;		/* announced */
	uint32_t frame_reserved;
	uint32_t frame_partial;		/* of it, what counts in `partials` */
	int64_t frame_by_ms;
	bool is_paused;			/* reading is, for want of memory or places */
	bool is_resuming;
	bool was_blocked;		/* bytes waited because of kafka_is_blocked */
	struct str stash;		/* read, not yet taken, while paused */

	struct kafka_request *first;	/* by next; begun, in order */
	struct kafka_request *last;
	uint32_t n_requests;
	uint32_t outstanding;		/* requests not freed; the conn is kept as long */
	bool is_closing;		/* nothing more is read */
	bool is_working;		/* produce.c: a request is being begun, piece by piece */
	bool is_stopping;		/* the server is: ends when all is answered */
	int64_t unauthorised_by_ms;	/* INT64_MAX once authorised */
	int64_t last_request_ms;

	/* capacity.c */
	struct throttle_flow *flow;	/* opened with the first sender or reading */
	char client_id[KAFKA_CLIENT_ID + 1];	/* for which senders and readings are open */
	struct kafka_sender senders[KAFKA_SENDERS];	/* last used first */
	uint32_t n_senders;
	struct kafka_reading *readings[KAFKA_READINGS];	/* last used first */
	uint32_t n_readings;
	uint32_t n_waiting;		/* appends that wait for capacity */
	int64_t muted_until_ms;		/* nothing is begun before that; 0: not muted */
	int64_t mute_looked_ms;		/* when it was last seen to be needed still */
	struct kafka_account muted_for;
	struct kafka_lag lag;

	size_t fetch_held;	/* fetch.c: bytes of records that its answers hold */
	size_t queue_charged;	/* of `answers`: what was sent and is still in the queue */
};

struct kafka_request {
	unsigned magic;
	struct kafka_request *next;
	struct kafka_conn *conn;	/* never NULL; conn->stream may be */
	const struct kafka_api *api;
	int16_t version;
	int32_t correlation;
	struct span client_id;
	struct buf *frame;		/* what decoded spans point into */
	size_t reserved;		/* of core_inflight, for the frame and copies of its batches */
	size_t charged;			/* of the front's `answers` */
	struct kafka_arena arena;
	void *body;			/* the decoded request struct */
	int64_t started_ns;

	/* The handler's own, in the arena. */
	void *state;
	/* Connection gone or server stopping: end what waits soon. Called at most
	 * once, only before the answer. NULL: everything out ends by itself. */
	void (*cancel)(struct kafka_request *r);
	/* deadline_ms (CLOCK_MONOTONIC) has come. */
	void (*tick)(struct kafka_request *r, int64_t now_ms);
	/* Just before the request is freed: give back what `state` holds. */
	void (*fini)(struct kafka_request *r);
	int64_t deadline_ms;		/* set by kafka_deadline; INT64_MAX: none */
	uint32_t outstanding;		/* operations out; see kafka_hold */

	struct kafka_out out;
	bool is_answered;
	bool has_no_answer;		/* Produce with acks 0 */
	bool close_after;		/* the connection ends once this was sent */
	bool was_cancelled;
	bool is_gone;			/* no longer among the connection's; freed when outstanding is 0 */
};

/* ---- conn.c: what handlers use -------------------------------------------------- */

/* A handler decoded nothing itself: r->body is there. It answers at once or
 * later, exactly once. */
typedef void kafka_handler(struct kafka_request *r);

/* Encodes `response` (the API's response struct; it may live in the arena or on
 * the stack, but parts of records must live until `fini`) and sends it when its
 * turn comes. */
void kafka_answer(struct kafka_request *r, const void *response);
/* Nothing goes out (acks 0); `close`: but the connection ends. */
void kafka_answer_nothing(struct kafka_request *r, bool close);
/* No memory to answer with: the connection ends, with a log line. */
void kafka_fail(struct kafka_request *r, enum err e);
/* An operation goes out, comes back. kafka_release may free the request, so it
 * is the last thing a completion does with it. */
void kafka_hold(struct kafka_request *r);
void kafka_release(struct kafka_request *r);
void kafka_deadline(struct kafka_request *r, int64_t at_ms);
/* Zeroed memory of the request; NULL: kafka_fail was called. */
void *kafka_alloc(struct kafka_request *r, size_t n);
/* Of the connection as a protocol error: logged with the reason, closed. */
void kafka_conn_fail(struct kafka_conn *c, enum err e, const char *what, const char *detail);

/* ---- topic.c ---------------------------------------------------------------------- */

struct kafka_topic {
	uint32_t hub_id;
	uint32_t partitions;
	enum catalog_cleanup cleanup;
	char name[LIMIT_HUB_NAME + 1];	/* as created */
};
/* Any of the rights in `rights` (AUTH_SEND | ...) on that hub will do. Gives
 * KAFKA_NONE, KAFKA_UNKNOWN_TOPIC_OR_PARTITION, KAFKA_TOPIC_AUTHORIZATION_FAILED
 * (also for hubs that do not exist where the grants would not cover them). */
enum kafka_code kafka_topic_find(const struct kafka_conn *c, struct span name, unsigned rights,
				 struct kafka_topic *out);
/* The same for what a name would be: for hubs yet to be made; path is the hub. */
enum kafka_code kafka_topic_allowed(const struct kafka_conn *c, struct span name,
				    unsigned rights);
/* Over the whole namespace. */
bool kafka_namespace_allowed(const struct kafka_conn *c, unsigned rights);
/* Some live grant has one of the rights, wherever (group operations). */
bool kafka_any_allowed(const struct kafka_conn *c, unsigned rights);
/* [a-zA-Z0-9._-]{1,249}, not "." or "..": hubs with other names are not shown. */
bool kafka_topic_name_is_valid(struct span name);
struct kafka_uuid kafka_topic_id(const struct kafka_front *f, uint32_t hub_id);
/* 0: not one of ours. */
uint32_t kafka_topic_of_id(const struct kafka_front *f, const struct kafka_uuid *id);
/* Borrows. */
static inline struct kafka_string kafka_text(const char *s)
{
	return kafka_string_of(span_str(s));
}
static inline enum kafka_code kafka_code_of(enum err e)
{
	/* -1 would make idempotent producers write twice (KAFKA-14034). */
	int code = err_info(e)->kafka_code;
	return code < 0 ? KAFKA_STORAGE_ERROR : (enum kafka_code)code;
}

/* ---- capacity.c ------------------------------------------------------------------- */

/* The sender to a hub on the account of the request's client; good until the next
 * call, but an append needs it only until core_append_at has returned. */
enum err kafka_sender_of(struct kafka_request *r, const struct kafka_topic *topic,
			 struct core_sender **out) MUST_CHECK;

/* Pays for what is to be sent of a partition. ERR_AGAIN: not at once; with `may_wait`
 * its turn was asked for, unless one of the hub's is out already, and
 * kafka_fetch_go_on runs when one has come back. ERR_STOPPING, ERR_NOMEM, ERR_NOT_FOUND. */
enum err kafka_reading_pay(struct kafka_request *r, uint32_t hub_id, uint32_t partition,
			   const struct throttle_cost *cost, bool may_wait) MUST_CHECK;
/* The connection's fair share a second; UINT64_MAX: no limit. */
struct throttle_rate kafka_reading_share(struct kafka_request *r, uint32_t hub_id,
					 uint32_t partition);
/* How long one more of that cost would wait, in ns. */
int64_t kafka_estimate_ns(struct kafka_conn *c, const struct kafka_account *a);
/* fetch_pay.c: requests that wait to have paid try again. */
void kafka_fetch_go_on(struct kafka_conn *c);

/* The connection is not read for so long from now on, if it is a tick or more, but at
 * most throttle_max_ms; gives what the answer says of it (throttle_time_ms). */
int32_t kafka_mute(struct kafka_conn *c, int64_t wait_ns);
/* The same, but not longer than `most_ms`, for a client whose next request of that kind
 * would wait, or whose last one waited: less than it would, because one that comes a
 * little early only waits, and one that comes when the limit has been unused for its
 * burst of a second is late for good. Ends early when none would wait any more. */
int32_t kafka_mute_before(struct kafka_conn *c, const struct kafka_account *a, bool has_waited,
			  uint32_t most_ms);
/* Nothing more may be begun at present: muted, or an append waits. */
bool kafka_is_blocked(struct kafka_conn *c);
/* Before the connection is freed. */
void kafka_capacity_close(struct kafka_conn *c);

/* ---- lag.c ------------------------------------------------------------------------ */

/* Bytes are there and are not taken, because the connection is blocked. */
void kafka_lag_blocked(struct kafka_conn *c);
/* It is read again. */
void kafka_lag_resumed(struct kafka_conn *c);
/* Nobody waits for answers to what it sends. */
void kafka_lag_none(struct kafka_conn *c);
/* Bytes came; so many were taken; a request of theirs is about to begin. */
void kafka_lag_received(struct kafka_conn *c);
void kafka_lag_begun(struct kafka_conn *c);
void kafka_lag_took(struct kafka_conn *c, size_t n);
/* Nothing may wait unread for longer; INT64_MAX: nothing does. */
int64_t kafka_lag_until_ms(const struct kafka_conn *c);
/* The Produce that begins is to be refused, as everything that is there. */
bool kafka_lag_is_late(struct kafka_conn *c);
bool kafka_lag_is_flushing(struct kafka_conn *c);

/* ---- handlers ----------------------------------------------------------------------- */

kafka_handler kafka_on_api_versions;		/* api_versions.c */
kafka_handler kafka_on_sasl_handshake;		/* sasl.c */
kafka_handler kafka_on_sasl_authenticate;
/* The policy that the connection authenticated with is no more, or may less. */
bool kafka_sasl_is_revoked(struct kafka_conn *c);
/* A bare token after SaslHandshake 0. False: refused, the connection ends. */
bool kafka_sasl_raw(struct kafka_conn *c, struct span token);
kafka_handler kafka_on_metadata;		/* metadata.c */
kafka_handler kafka_on_describe_cluster;
kafka_handler kafka_on_find_coordinator;
kafka_handler kafka_on_produce;			/* produce.c */
kafka_handler kafka_on_init_producer_id;	/* producer_id.c */
kafka_handler kafka_on_fetch;			/* fetch.c */
kafka_handler kafka_on_list_offsets;		/* list_offsets.c */
kafka_handler kafka_on_offset_for_leader_epoch;
kafka_handler kafka_on_join_group;		/* membership.c */
kafka_handler kafka_on_sync_group;
kafka_handler kafka_on_heartbeat;
kafka_handler kafka_on_leave_group;
kafka_handler kafka_on_offset_commit;		/* offsets.c */
kafka_handler kafka_on_offset_fetch;
kafka_handler kafka_on_offset_delete;
kafka_handler kafka_on_describe_groups;		/* group_admin.c */
kafka_handler kafka_on_list_groups;
kafka_handler kafka_on_delete_groups;
kafka_handler kafka_on_create_topics;		/* topic_admin.c */
kafka_handler kafka_on_delete_topics;
kafka_handler kafka_on_create_partitions;
kafka_handler kafka_on_delete_records;		/* delete_records.c */
kafka_handler kafka_on_describe_configs;	/* configs.c */
kafka_handler kafka_on_alter_configs;		/* alter_configs.c */
kafka_handler kafka_on_incremental_alter_configs;

#endif
