#ifndef GATEWAY_GROUP_GROUPS_H
#define GATEWAY_GROUP_GROUPS_H

/* Consumer groups of the classic Kafka protocol (KIP-62, 134, 345, 394), and
 * committed offsets. One coordinator thread owns every group; operations come to
 * it as messages and go back by `done`. The group machine itself is pure
 * (machine.h). Generations, members with their assignments, and offsets are rows
 * of the store (STORE_ROW_GROUP, STORE_ROW_OFFSET) in the shard of the group's
 * name, written before anything is answered; members go on where they were
 * after a restart. */

#include "store/store.h"

/* Kafka's error numbers that groups answer with (kafka.md 2.1). */
enum group_code {
	GROUP_OK = 0,
	GROUP_UNKNOWN_TOPIC = 3,
	GROUP_METADATA_TOO_LARGE = 12,
	GROUP_LOADING = 14,
	GROUP_NOT_AVAILABLE = 15,
	GROUP_NOT_COORDINATOR = 16,	/* the server stops, or its volume is out */
	GROUP_ILLEGAL_GENERATION = 22,
	GROUP_INCONSISTENT_PROTOCOL = 23,
	GROUP_INVALID_ID = 24,
	GROUP_UNKNOWN_MEMBER = 25,
	GROUP_INVALID_SESSION_TIMEOUT = 26,
	GROUP_REBALANCE = 27,
	GROUP_INVALID_REQUEST = 42,
	GROUP_STORAGE = 56,
	GROUP_NOT_EMPTY = 68,
	GROUP_NOT_FOUND = 69,
	GROUP_MEMBER_ID_REQUIRED = 79,
	GROUP_MAX_SIZE = 81,
	GROUP_FENCED_INSTANCE = 82,
	GROUP_SUBSCRIBED = 86,
};

enum {
	GROUPS_METADATA_MAX = 4096,	/* of a committed offset */
	GROUPS_SESSION_MIN_MS = 6000,
	GROUPS_SESSION_MAX_MS = 1800000,
	GROUPS_PROTOCOLS_MAX = 16,	/* names a member may offer */
	GROUPS_MEMBER_BYTES = 512 << 10,	/* subscription metadata or assignment of one member */
	GROUPS_GROUP_BYTES = 2 << 20,	/* of all members of a group: its row must fit */
	GROUPS_NEW_MEMBER_MS = 300000,	/* a new member of JoinGroup 0-3 waits at most so long */
	GROUPS_NAME_MAX = LIMIT_GROUP_NAME,	/* of a group; longer: GROUP_INVALID_ID */
	/* Client, instance and host names, protocol types and names: four of them and a
	 * group's name fit what the row keeps for its head. */
	GROUPS_TEXT_MAX = 768,
};

struct groups_options {
	struct store *store;
	int64_t offsets_retention_ms;	/* after a group became empty */
	int64_t initial_delay_ms;	/* first rebalance of an empty group waits for more members */
	uint32_t max_groups;
	uint32_t max_members;		/* per group */
	uint32_t max_offsets;		/* per group */
	uint64_t max_bytes;		/* of all groups' members; beyond it no one new; 0: no limit */
	int64_t sweep_ms;		/* between looks for what has expired; 0: a minute */
};

struct groups;
/* Loads the rows; starts the thread. */
enum err groups_new(const struct groups_options *o, struct groups **out,
		    struct err_detail *d) MUST_CHECK;
/* Every operation outstanding is answered GROUP_NOT_COORDINATOR, later ones at
 * once; before store_close, while net loops still run. */
void groups_close(struct groups *g);
void groups_free(struct groups **g);	/* after store_close */

/* ---- operations --------------------------------------------------------------- */

enum groups_kind {
	GROUPS_JOIN,
	GROUPS_SYNC,
	GROUPS_HEARTBEAT,
	GROUPS_LEAVE,
	GROUPS_COMMIT,
	GROUPS_FETCH,		/* committed offsets */
	GROUPS_DESCRIBE,
	GROUPS_LIST,
	GROUPS_DELETE,
	GROUPS_DELETE_OFFSETS,
};

struct groups_protocol {
	struct span name;
	struct span metadata;
};
struct groups_assignment {
	struct span member_id;
	struct span assignment;
};
/* A member in an answer, or one to leave. */
struct groups_member {
	struct span member_id;
	struct span instance_id;	/* p NULL: none */
	struct span client_id;
	struct span client_host;
	struct span metadata;		/* of the chosen protocol */
	struct span assignment;
	int16_t code;			/* LEAVE: result */
};
/* An offset to be committed, fetched or deleted. Hubs are named by id; the
 * caller resolves names and rights. */
struct groups_offset {
	struct store_part part;
	int64_t offset;			/* -1: none committed */
	int32_t leader_epoch;
	struct span metadata;
	int64_t commit_ms;		/* FETCH: when */
	int16_t code;			/* result; COMMIT: an offset that comes with one is left alone */
};
struct groups_description {
	struct span group;
	int16_t code;
	const char *state;		/* "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead" */
	struct span protocol_type;
	struct span protocol;
	int32_t generation;
	uint32_t n_members;
	struct groups_member *members;	/* DESCRIBE only */
};

/* Embed it, zeroed; what it points to is kept by the caller until done. `done`
 * always runs, once. Results live until groups_op_fini. */
struct groups_op {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	enum groups_kind kind;
	/* Who asks (JOIN .. COMMIT). */
	struct span group;
	struct span member_id;
	struct span instance_id;	/* p NULL: none */
	struct span client_id;
	struct span client_host;	/* "/127.0.0.1", as Kafka shows it */
	int32_t generation;		/* SYNC, HEARTBEAT, COMMIT (-1: no member) */
	union {
		struct {
			int16_t version;	/* of the request: rules differ below 4, 5, 9 */
			int32_t session_timeout_ms;
			int32_t rebalance_timeout_ms;	/* version 0: give the session timeout */
			struct span protocol_type;
			const struct groups_protocol *protocols;
			uint32_t n_protocols;
			bool require_known_member;	/* version >= 4 */
			/* results */
			int32_t generation;
			struct span protocol;		/* p NULL: none */
			struct span leader;
			struct span member_id;
			bool skip_assignment;
			struct groups_member *members;	/* the leader's answer: all, with metadata */
			uint32_t n_members;
		} join;
		struct {
			struct span protocol_type;	/* p NULL: not given (before version 5) */
			struct span protocol;
			const struct groups_assignment *assignments;
			uint32_t n_assignments;
			/* results */
			struct span result_type;
			struct span result_protocol;
			struct span assignment;
		} sync;
		struct {
			struct groups_member *members;	/* member_id and instance_id; code is set */
			uint32_t n_members;
		} leave;
		struct {
			struct groups_offset *offsets;
			uint32_t n_offsets;
		} commit;	/* also DELETE_OFFSETS */
		struct {
			/* n_offsets 0 and offsets NULL: all; then the result is allocated. */
			struct groups_offset *offsets;
			uint32_t n_offsets;
		} fetch;
		struct {
			/* DESCRIBE: the caller's, `group` filled in. LIST: allocated. */
			struct groups_description *groups;
			uint32_t n_groups;
		} describe;	/* also LIST, DELETE (code is set) */
	} u;
	int16_t code;		/* of the whole operation */
	void *memory;		/* private: what the results live in */
	void *parked;		/* private: the member it waits at, on the coordinator thread */
	uint32_t at;		/* private: DELETE, the group whose turn it is */
	bool is_cancelled;	/* private, coordinator thread */
	bool is_answered;	/* private, groups' lock */
	struct groups_op *cancel_next, **cancel_link;	/* private, groups' lock */
};
void groups_submit(struct groups *g, struct groups_op *op);
/* The asker went away: a parked JOIN or SYNC is answered soon (its code does not
 * matter); the member itself stays until its session ends, as Kafka does. Any
 * other operation is answered anyway. */
void groups_cancel(struct groups *g, struct groups_op *op);
void groups_op_fini(struct groups_op *op);

#endif
