#ifndef GATEWAY_GROUP_MACHINE_H
#define GATEWAY_GROUP_MACHINE_H

/* One group of the classic protocol as a pure machine: requests and time go in;
 * answers come out by a hook, and the wish to have the group stored by a flag.
 *
 *     Empty --join--> PreparingRebalance --all joined--> CompletingRebalance
 *       ^                ^    |  ^                             |
 *       +--nobody left---+----+  +--join, leave, lost member---+--leader's sync--> Stable
 *                        +-------------------------------------------------------+
 *
 * What is answered was stored before: when `wants_save` is set, the caller writes
 * the group's row and says group_saved when that is done or failed. Until then no
 * request and no tick may be given to the machine (group_cancel may).
 *
 * Times are milliseconds of any steady clock. One thread; no clock, store or log
 * in here. Requests are given as operations, whose results are filled in. */

#include "gateway/group/groups.h"

enum group_state {
	GROUP_EMPTY,
	GROUP_PREPARING,	/* waits until its members have joined */
	GROUP_COMPLETING,	/* waits for the leader's assignments */
	GROUP_STABLE,
	GROUP_DEAD,		/* there is no such group (any more) */
};

struct group;

struct group_member {
	struct span id;
	struct span instance_id;	/* p NULL: a dynamic member */
	struct span client_id;
	struct span client_host;
	uint8_t *text;			/* holds the four above */
	int32_t session_timeout_ms;
	int32_t rebalance_timeout_ms;
	struct groups_protocol *protocols;	/* one block with their bytes */
	uint32_t n_protocols;
	struct span assignment;
	uint8_t *assignment_block;
	struct groups_op *join_op;	/* parked; NULL also when its asker went away */
	struct groups_op *sync_op;
	bool is_joined;			/* in the present PreparingRebalance */
	bool is_new;			/* was never told its id by a finished join */
	bool has_synced;		/* in the present generation */
	int64_t session_deadline_ms;
};

/* A member id that was given out with MEMBER_ID_REQUIRED and not yet used. */
struct group_pending {
	struct group_pending *next;
	int64_t deadline_ms;
	size_t n;
	uint8_t id[];
};

enum group_save {
	GROUP_SAVE_NONE,
	GROUP_SAVE_JOINED,	/* a new generation with its members */
	GROUP_SAVE_SYNCED,	/* the leader's assignments */
	GROUP_SAVE_STATIC,	/* a static member's new id */
	GROUP_SAVE_EMPTIED,	/* the last member left */
};

enum group_event {
	GROUP_EVENT_REBALANCED,	/* a generation was formed; g->reason says why */
	GROUP_EVENT_LOST,	/* a member's session ended, or it did not rejoin or sync in time */
};

struct group_config {
	int64_t initial_delay_ms;
	uint32_t max_members;
};

/* `answer` gets an operation whose results are set; it is the caller's again.
 * `uuid` writes the text of a random UUID. `event` is told what the log shows;
 * `member` is NULL or borrowed. None may call back into the machine. */
struct group_hooks {
	void (*answer)(void *arg, struct groups_op *op);
	void (*uuid)(void *arg, char out[37]);
	void (*event)(void *arg, const struct group *g, enum group_event event,
		      const struct group_member *member);
};

struct group {
	const struct group_config *config;
	const struct group_hooks *hooks;
	void *arg;
	struct span name;
	enum group_state state;
	int32_t generation;
	struct span protocol_type;	/* of the last members; empty for a simple group */
	struct span protocol;		/* p NULL: none */
	struct group_member *leader;
	struct group_member **members;	/* in the order they came */
	size_t n_members, members_cap;
	size_t n_joined;
	struct group_pending *pending;
	size_t n_pending;
	size_t bytes;			/* of all members in the row */
	int64_t empty_ms;		/* wall time of becoming empty; kept by the caller */

	bool is_initial;		/* PREPARING out of EMPTY: waits for the delay */
	bool has_newcomer;		/* since the delay began */
	int64_t initial_left_ms;	/* by which the delay may still be prolonged */
	int64_t join_deadline_ms;
	int64_t sync_deadline_ms;	/* INT64_MAX: everybody has synced */
	int64_t deadline_ms;		/* never later than anything that is due */
	const char *reason;		/* of the last rebalance */

	bool wants_save;
	bool row_is_stale;		/* an EMPTIED row could not be written */
	enum group_save saving;
	struct groups_op *static_op;	/* answered after GROUP_SAVE_STATIC */
	struct group_member *static_member;
	struct span static_leader;	/* as it was before the replacement */
};

/* ---- life ------------------------------------------------------------------ */

/* Keeps config and hooks; copies the name. ERR_NOMEM. */
enum err group_init(struct group *g, struct span name, const struct group_config *config,
		    const struct group_hooks *hooks, void *arg) MUST_CHECK;
void group_fini(struct group *g);	/* nothing may be parked */
/* After its row was read: members get a fresh session; a generation that was not
 * finished is joined again. */
void group_resume(struct group *g, int64_t now_ms);
/* Every parked operation is answered with `code`; members stay. */
void group_release(struct group *g, int16_t code);

/* ---- requests: each answered now or later through hooks->answer -------------- */

void group_join(struct group *g, struct groups_op *op, int64_t now_ms);
void group_sync(struct group *g, struct groups_op *op, int64_t now_ms);
void group_heartbeat(struct group *g, struct groups_op *op, int64_t now_ms);
void group_leave(struct group *g, struct groups_op *op, int64_t now_ms);
/* May this commit be made? GROUP_OK: its member's session is renewed. */
int16_t group_commit_check(struct group *g, const struct groups_op *op, int64_t now_ms);
/* The operation is parked here: answer it. */
void group_cancel(struct group *g, struct groups_op *op);

/* ---- time and storing ---------------------------------------------------------- */

void group_tick(struct group *g, int64_t now_ms);
/* When the next tick is due at the latest; INT64_MAX: nothing is waited for. May be
 * too early: then that tick does nothing but find the next time. */
static inline int64_t group_deadline(const struct group *g)
{
	return g->deadline_ms;
}
/* The write that wants_save asked for came to its end. */
void group_saved(struct group *g, enum err e, int64_t now_ms);

/* ---- looking ---------------------------------------------------------------------- */

const char *group_state_name(enum group_state s);
static inline bool group_is_idle(const struct group *g)
{
	return g->state == GROUP_EMPTY && g->n_pending == 0 && g->saving == GROUP_SAVE_NONE;
}
struct group_member *group_member_find(const struct group *g, struct span id);
struct group_member *group_member_by_instance(const struct group *g, struct span instance);
/* Its metadata for this protocol; empty when it offers none. */
struct span group_member_metadata(const struct group_member *m, struct span protocol);

#endif
