#ifndef THROTTLE_THROTTLE_H
#define THROTTLE_THROTTLE_H

/* Capacity: who may send or be sent how much, when.
 *
 * A `scope` is what has a limit of bytes and events a second in each direction:
 * the namespace, a hub, a partition, a policy, a Kafka client id, a publisher. A
 * `flow` is one client connection, the party between which a scope is shared
 * fairly. A `lane` is a flow's way through at most one scope of each kind; its
 * requests are served in order. Knows no protocols and no nodes: a limit is the
 * share that this node was given.
 *
 * Rules, of which the tests are made:
 * - In any span of time t a scope admits no more than burst + rate * t, where
 *   burst is one second of its rate; a request larger than the burst may exceed
 *   that, one of them at a time, and is paid for afterwards by its own flow.
 * - While anybody waits, a scope admits 98-100 % of its rate.
 * - The tightest scope on a lane's way decides.
 * - Flows that wait in a scope get equal shares of it, by whichever of bytes and
 *   events is the larger part of the scope's rate; a flow that asks for less gets
 *   what it asks for. A flow that comes anew has its share at once, one that was
 *   idle gets no more than others for it, one that was refused keeps its place.
 * - A slow scope holds up only the lanes that go through it.
 *
 * Threads: any thread opens and closes flows and lanes and sets limits (a lock,
 * seldom taken); throttle_try and the estimates belong to the thread that uses the
 * lane, take no lock and allocate nothing; throttle_ask, _run, _cancel, _flush
 * belong to one thread, the scheduler's. Time is CLOCK_MONOTONIC in ns, passed in. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum throttle_direction { THROTTLE_IN, THROTTLE_OUT, THROTTLE_DIRECTIONS };

/* In the order in which they are met on the way back: the namespace is last. */
enum throttle_kind {
	THROTTLE_NAMESPACE,
	THROTTLE_HUB,
	THROTTLE_PARTITION,
	THROTTLE_POLICY,
	THROTTLE_CLIENT,	/* Kafka's client id */
	THROTTLE_PUBLISHER,
	THROTTLE_KINDS
};

enum {
	/* One throughput unit (the Event Hubs quotas page). */
	THROTTLE_UNIT_IN_BYTES = 1 << 20,
	THROTTLE_UNIT_IN_EVENTS = 1000,
	THROTTLE_UNIT_OUT_BYTES = 2 << 20,
	THROTTLE_UNIT_OUT_EVENTS = 4096,
	THROTTLE_NAME_MAX = 520,	/* hub "/" policy or publisher, with its NUL */
	THROTTLE_LABEL_MAX = 128,
};

/* A second; 0: no limit. */
struct throttle_rate {
	uint64_t bytes;
	uint64_t events;
};

struct throttle_limit {
	struct throttle_rate rate[THROTTLE_DIRECTIONS];
};
/* The limit of so many units; 0: none. */
struct throttle_limit throttle_units(uint32_t units);

struct throttle_cost {
	uint64_t bytes;		/* delivery payload, HTTP body or RecordBatch as received */
	uint64_t events;	/* records */
};

struct throttle_options {
	int64_t hold_ns;	/* an impatient request that would wait longer is refused */
	int64_t delay_ns;	/* the same for a patient one */
	size_t hold_bytes;	/* of requests that wait: more are refused, but one may always
				 * wait; readers do not count */
};

struct throttle;
enum err throttle_new(const struct throttle_options *o, struct throttle **out) MUST_CHECK;
/* No flow is left and nothing waits. */
void throttle_free(struct throttle **t);

/* ---- limits --------------------------------------------------------------- */

/* What is limited. NAMESPACE: name "". HUB: a hub's name; PARTITION, PUBLISHER: each
 * one of that hub. POLICY: "policy" of the namespace or "hub/policy". CLIENT: a
 * client id. Name "*": each that has no rule of its own. Names of hubs and policies
 * are compared without case. */
struct throttle_rule {
	enum throttle_kind kind;
	char name[THROTTLE_NAME_MAX];
	struct throttle_limit limit;
};
/* Replaces all rules; they are copied. Takes effect at once, also for those that wait
 * (at the next throttle_run). A scope whose rate grows keeps what it has used. */
enum err throttle_set_rules(struct throttle *t, const struct throttle_rule *rules, size_t n) MUST_CHECK;

/* ---- flows and lanes ------------------------------------------------------- */

struct throttle_flow;
/* `label` says who it is, for logs and lists ("127.0.0.1:53122"); copied. */
enum err throttle_flow_open(struct throttle *t, const char *label, struct throttle_flow **out) MUST_CHECK;
/* Lanes may outlive it. */
void throttle_flow_close(struct throttle_flow **f);

struct throttle_lane;
struct throttle_place {
	uint32_t hub_id;
	const char *hub;	/* its name */
	int64_t partition;	/* -1: none */
	const char *policy;	/* as in rules; these NULL: none */
	const char *client;
	const char *publisher;
};
enum err throttle_lane_open(struct throttle_flow *f, enum throttle_direction d,
			    const struct throttle_place *p, struct throttle_lane **out) MUST_CHECK;
/* Requests of it that wait go on; it is freed with the last of them. */
void throttle_lane_close(struct throttle_lane **l);

/* ---- decisions --------------------------------------------------------------- */

enum throttle_verdict {
	THROTTLE_ADMIT,
	THROTTLE_WAIT,		/* it waits: throttle_run will tell */
	THROTTLE_REFUSE,	/* nothing was taken */
};

/* Which limit it was. */
struct throttle_reason {
	enum throttle_kind kind;
	enum throttle_direction direction;
	bool by_events;		/* else by bytes */
	bool by_memory;		/* hold_bytes are spent */
	uint64_t rate;		/* of that limit, a second */
};

struct throttle_decision {
	enum throttle_verdict verdict;
	uint32_t wait_ms;	/* REFUSE: when to come again; WAIT: about how long */
	struct throttle_reason reason;
};
/* "the namespace's limit of 1000 events per second in (1 throughput unit)". */
void throttle_reason_text(const struct throttle_reason *r, char *out, size_t size);

enum throttle_patience {
	THROTTLE_IMPATIENT,	/* refused beyond hold_ns */
	THROTTLE_PATIENT,	/* refused beyond delay_ns */
	THROTTLE_ENDLESS,	/* never refused: readers */
};

/* A request that waits; embedded by the caller, who fills in the first part. */
struct throttle_request {
	struct throttle_cost cost;
	enum throttle_patience patience;
	/* private until decided */
	struct throttle_lane *lane;
	struct throttle_request *next, *prev;	/* in the lane */
	struct throttle_request *older, *newer;	/* of all that wait, by arrival */
	struct throttle_hop *hop;		/* the limit that held it up */
	int64_t arrived_ns;
	bool is_waiting;
};

/* The hot path: true: it is admitted and paid for. False: it must be asked for,
 * because a limit is reached or somebody waits; nothing was taken. Until a request of
 * the lane that was passed on to throttle_ask is decided and throttle_settle was
 * called for it, this is false: so the order within a lane holds. */
bool throttle_try(struct throttle_lane *l, const struct throttle_cost *cost, int64_t now_ns);
/* The lane's thread, before it passes a request on to the scheduler's. */
void throttle_defer(struct throttle_lane *l);
/* The scheduler's thread, after what follows from the decision was done. */
void throttle_settle(struct throttle_lane *l);
/* Gives back what was paid for and not used. */
void throttle_give(struct throttle_lane *l, const struct throttle_cost *cost, int64_t now_ns);

/* Scheduler's thread. WAIT: `r` is kept until it is decided. */
struct throttle_decision throttle_ask(struct throttle_lane *l, struct throttle_request *r, int64_t now_ns);
/* Decides what can be decided: `decided` is called for each (ADMIT or REFUSE), in the
 * order of admission; it may free the request and may call throttle_ask. Returns when
 * to run again; INT64_MAX: nobody waits. Late runs lose nothing as long as they are
 * less than a burst late. */
typedef void throttle_decided_fn(void *arg, struct throttle_request *r,
				 const struct throttle_decision *d);
int64_t throttle_run(struct throttle *t, int64_t now_ns, throttle_decided_fn *decided, void *arg);
/* Takes a waiting request back, undecided. Others may go for it: run again. */
void throttle_cancel(struct throttle_request *r);
/* Refuses all that wait. */
void throttle_flush(struct throttle *t, throttle_decided_fn *decided, void *arg);

/* ---- estimates: any thread, from what the scheduler published last ------------- */

/* How long a request of that cost would wait if it came now, in ns. */
int64_t throttle_estimate(const struct throttle_lane *l, const struct throttle_cost *cost, int64_t now_ns);
/* The lane's fair share a second, among those that wait; UINT64_MAX: no limit. */
struct throttle_rate throttle_share(const struct throttle_lane *l);

/* ---- figures ------------------------------------------------------------------- */

struct throttle_figures {
	uint64_t admitted_requests, admitted_bytes, admitted_events;
	/* Had to wait or were refused because of this scope (the one that decided). */
	uint64_t held_requests, refused_requests, throttled_bytes, throttled_events;
	uint64_t waited_ns;	/* of those that were admitted after waiting */
};

struct throttle_scope_info {
	enum throttle_kind kind;
	char name[THROTTLE_NAME_MAX];	/* "hub", "hub/3" (partition), "hub/publisher", "policy" */
	struct throttle_limit limit;
	struct throttle_figures figures[THROTTLE_DIRECTIONS];
	uint32_t waiting_flows[THROTTLE_DIRECTIONS];
	uint64_t waiting_bytes[THROTTLE_DIRECTIONS];
	/* Whose requests were throttled most since the last list that asked for it, and
	 * their part of all of them in percent; "" where none were. */
	char worst[THROTTLE_LABEL_MAX];
	uint32_t worst_percent;
};
/* Scopes that have a limit now, the namespace always and first; *out is the caller's
 * (mem_free). `begin_anew`: the counts behind `worst` start again. Figures of a scope
 * last as long as lanes go through it, or it was used within the last minutes. */
enum err throttle_list(struct throttle *t, bool begin_anew, struct throttle_scope_info **out,
		       size_t *n) MUST_CHECK;

/* ---- a limit of calls ------------------------------------------------------------ */

/* So many a second, with a burst of one second. Any thread, no lock. */
struct throttle_calls {
	_Atomic int64_t next_ns;	/* theoretical arrival time */
	uint32_t rate;			/* 0: no limit */
};
void throttle_calls_init(struct throttle_calls *c, uint32_t rate);
/* True: go on. False: *wait_ms says when to come again. */
bool throttle_calls_take(struct throttle_calls *c, int64_t now_ns, uint32_t *wait_ms);

#endif
