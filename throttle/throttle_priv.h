#ifndef THROTTLE_THROTTLE_PRIV_H
#define THROTTLE_THROTTLE_PRIV_H

/* What the files of this folder share.
 *
 * A `scope` has a `gauge` in each direction. A `seat` is a flow's standing in a gauge:
 * how far it was served, in the gauge's own virtual time. A lane's way is its `hops`,
 * each a gauge and the seat in it, leaf first. The first request of a lane is what is
 * scheduled: it passes the gauges that have a limit one after the other; in one of
 * them it may `stand`. Passing takes nothing, it is a promise; when all are passed,
 * all are paid at once.
 *
 * Fields are marked by who touches them: L under `lock`, S the scheduler's thread,
 * A any thread (atomic), O written by open under `lock`, then constant. */

#include "base/lock.h"
#include "throttle/bucket.h"
#include "throttle/heap.h"
#include "throttle/throttle.h"

enum {
	/* Virtual time: 2^12 steps a ns, so that a byte at 10 GB/s is still 400 of them. */
	THROTTLE_VIRTUAL_SHIFT = 12,
	/* Of a request's part that counts at once, what is beyond the burst is paid in
	 * pieces of this part of the burst, between others' requests. */
	THROTTLE_PIECES = 4,
	/* Scopes without lanes that are kept for their figures and what they have used. */
	THROTTLE_IDLE_MAX = 4096,
	THROTTLE_IDLE_S = 300,
};
/* A request's part of virtual time is at most a second, as what is beyond the burst
 * counts as a debt; so all times of a gauge lie within what can be compared. */
#define THROTTLE_VIRTUAL_SECOND ((uint64_t)1000000000 << THROTTLE_VIRTUAL_SHIFT)
/* Farther ahead than this, some six days, a flow never asks: what says so is from
 * before a wrap. */
#define THROTTLE_VIRTUAL_AHEAD ((uint64_t)1 << 61)
/* How far behind a busy lane may be at most: a quarter of a second. */
#define THROTTLE_VIRTUAL_LAG ((uint64_t)250000000 << THROTTLE_VIRTUAL_SHIFT)

/* ---- a chained hash of embedded links (map.c) --------------------------------- */

struct throttle_link {
	struct throttle_link *next;
	uint64_t hash;
};
struct throttle_map {
	struct throttle_link **heads;
	size_t n_heads;			/* a power of two, or 0 */
	size_t n;
};
enum err throttle_map_add(struct throttle_map *m, struct throttle_link *k, uint64_t hash) MUST_CHECK;
void throttle_map_remove(struct throttle_map *m, struct throttle_link *k);
/* The first link of the chain of `hash`; others follow by next. */
struct throttle_link *throttle_map_find(const struct throttle_map *m, uint64_t hash);
void throttle_map_fini(struct throttle_map *m);
uint64_t throttle_hash(uint64_t seed, const void *p, size_t len);

/* ---- figures ------------------------------------------------------------------- */

/* What was admitted on a lane: one thread writes, any reads. */
struct throttle_tally {
	_Atomic uint64_t requests, bytes, events;
};
/* Sums of them, and what was given back. */
struct throttle_sum {
	uint64_t requests, bytes, events;
};

/* ---- objects --------------------------------------------------------------------- */

struct throttle_scope;
struct throttle_seat;

/* What is beyond the burst of a large request, paid afterwards. */
struct throttle_debt {
	struct throttle_lane *lane;	/* NULL: none; holds a reference */
	struct throttle_seat *seat;
	struct throttle_cost left;
	uint64_t tag;			/* of the next piece */
};

struct throttle_gauge {
	struct throttle_bucket bucket;
	/* A: read by each taker; written under the lock and by S */
	_Atomic bool is_limited;
	_Atomic uint32_t queued;	/* in the heaps, and a debt: none may overtake */
	char pad[64];

	/* A: published by S for estimates and lists: what stands here with all that is
	 * behind it in its lane */
	_Atomic uint32_t waiting_flows;
	_Atomic uint32_t n_parked;	/* lanes; they are in nobody's way */
	_Atomic uint64_t waiting[THROTTLE_DIMS];
	_Atomic uint64_t owed[THROTTLE_DIMS];
	_Atomic uint64_t held_requests, refused_requests, throttled_bytes, throttled_events;
	_Atomic uint64_t waited_ns;
	_Atomic uint64_t throttled;	/* requests since the worst began anew */

	/* S */
	struct throttle_heap queue;	/* hops by tag */
	struct throttle_heap parked;	/* hops that may not be promised more: see serve.c */
	struct throttle_heap behind;	/* hops that have to wait for a debt */
	struct throttle_heap callers;	/* hops parked elsewhere until somebody leaves here */
	struct throttle_node timer;	/* in throttle.timers: when the first can go */
	struct throttle_gauge *dirty_next;
	bool is_dirty;
	bool unpark;			/* a promise was kept since somebody was parked */
	uint64_t virtual;		/* what was passed last */
	uint64_t passed;		/* ... and its size */
	uint64_t promised[THROTTLE_DIMS];
	struct throttle_debt debt;
	uint64_t tuned[THROTTLE_DIMS];	/* the rate that tags were made with */
	uint64_t was_tuned[THROTTLE_DIMS];
	uint32_t tuned_version;
	uint32_t epoch;			/* of seats' times: a change of the rate ends it */
	uint64_t largest;		/* part of requests lately: see seat_of */

	/* L */
	struct throttle_sum folded;	/* of lanes that were closed */
	struct throttle_sum summed;	/* of all, while a list is made */
	struct throttle_sum shown;	/* never goes down */
	uint64_t gone_throttled;	/* the worst of seats that are gone */
	char gone_label[THROTTLE_LABEL_MAX];

	struct throttle_scope *scope;	/* O */
	enum throttle_direction direction;
};

struct throttle_scope {
	struct throttle_link link;	/* L: in throttle.scopes */
	enum throttle_kind kind;	/* O */
	char *key;			/* O: identity within its kind */
	char *rule;			/* O: name in rules, folded */
	char *name;			/* O: for lists */
	uint32_t n_lanes;		/* L */
	_Atomic uint32_t pins;		/* A: the scheduler will look at it */
	struct throttle_scope *prev, *next;		/* L: of all */
	struct throttle_scope *idle_prev, *idle_next;	/* L: without lanes, by time */
	bool is_idle;			/* L */
	int64_t idle_since_ns;		/* L */
	struct throttle_seat *seats;	/* L */
	struct throttle_gauge gauges[THROTTLE_DIRECTIONS];
};

struct throttle_seat {
	struct throttle_link link;	/* L: in throttle.seats */
	struct throttle_flow *flow;	/* O: holds a reference */
	struct throttle_gauge *gauge;	/* O */
	struct throttle_seat *prev, *next;	/* L: in the scope */
	uint32_t n_lanes;		/* L */
	/* A: written by S */
	_Atomic uint32_t standing;	/* lanes that stand in the gauge */
	_Atomic uint64_t waiting[THROTTLE_DIMS];
	_Atomic uint64_t owed[THROTTLE_DIMS];
	_Atomic uint64_t throttled;	/* requests since the worst began anew */
	/* S */
	uint64_t finish;		/* virtual time up to which it has asked */
	uint64_t last_part;		/* of its last request that waited: see seat_of */
	uint64_t place;			/* where a refused request would have begun */
	uint64_t place_size;		/* and its part; 0: none */
	uint32_t epoch;			/* of the four */
};

struct throttle_flow {
	struct throttle *throttle;	/* O */
	uint32_t refs;			/* L: its owner and its seats */
	char label[THROTTLE_LABEL_MAX];	/* O */
};

struct throttle_hop {
	struct throttle_gauge *gauge;	/* O */
	struct throttle_seat *seat;	/* O */
	struct throttle_lane *lane;	/* O */
	/* S: of the lane's first request */
	struct throttle_node node;	/* in one of the gauge's heaps */
	uint64_t start, tag;		/* virtual begin and end */
	struct throttle_heap *heap;	/* where it stands; NULL: nowhere */
	struct throttle_gauge *blocker;	/* parked because of it */
	struct throttle_node call;	/* in its `callers` */
	bool is_called;			/* somebody left the blocker: it may follow */
	bool is_tagged;
	bool is_passed;
};

struct throttle_lane {
	uint32_t magic;
	/* A: the lane's owner, each request on its way to the scheduler, the scheduler
	 * while something waits, a debt */
	_Atomic uint32_t refs;
	_Atomic uint32_t deferred;
	_Atomic int64_t last_ns;	/* when something was last admitted at once */
	struct throttle_tally tried;	/* written by the lane's thread */
	struct throttle_tally served;	/* written by S */
	_Atomic uint64_t given[THROTTLE_DIMS];
	struct throttle *throttle;	/* O */
	enum throttle_direction direction;	/* O */
	unsigned n_hops;		/* O */
	struct throttle_hop hops[THROTTLE_KINDS];	/* O: leaf first, namespace last */
	struct throttle_lane *prev, *next;	/* L: of all */
	struct throttle_lane *reap_next;	/* A: after the last reference */
	/* S */
	struct throttle_request *first, *last;	/* that wait, in order */
	struct throttle_cost waiting;		/* of all these */
	struct throttle_hop *stand;		/* where the first stands; NULL: ready */
	struct throttle_lane *ready_prev, *ready_next;
	bool is_ready;
};
#define THROTTLE_LANE_MAGIC 0x74684c6eu

struct throttle_rules;

/* Requests that wait, of one patience, by arrival. */
struct throttle_ages {
	struct throttle_request *oldest, *newest;
};

struct throttle {
	struct throttle_options options;
	struct lock lock;
	/* L */
	struct throttle_map scopes, seats;
	struct throttle_scope *all_scopes;	/* the namespace's is the last of them */
	struct throttle_scope *idle_first, *idle_last;
	size_t n_idle;
	struct throttle_lane *lanes;
	uint32_t n_flows;
	struct throttle_rules *rules;
	struct throttle_scope *space;	/* O: the namespace's */
	/* A */
	_Atomic uint32_t rules_version;
	_Atomic int64_t clock_ns;	/* the latest time that the scheduler was told */
	_Atomic(struct throttle_lane *) reap;	/* to be freed under the lock */
	/* S */
	uint32_t tuned_version;
	struct throttle_heap timers;
	struct throttle_gauge *dirty_first, *dirty_last;
	struct throttle_lane *ready_first, *ready_last;
	struct throttle_ages ages[THROTTLE_ENDLESS + 1];
	uint64_t held_bytes;		/* of those that may be refused */
};

/* ---- rules.c (under the lock) ---------------------------------------------------- */

enum err throttle_rules_new(const struct throttle_rule *rules, size_t n,
			    struct throttle_rules **out) MUST_CHECK;
void throttle_rules_free(struct throttle_rules **r);
/* No rule: no limit. */
const struct throttle_limit *throttle_rules_find(const struct throttle_rules *r,
						 enum throttle_kind kind, const char *name);
/* Copies `name`, in lower case where that kind's names are compared without case. */
void throttle_rules_fold(enum throttle_kind kind, const char *name, char *out, size_t size);

/* ---- scope.c (under the lock) ------------------------------------------------------ */

/* Finds or makes it and counts the lane. */
enum err throttle_scope_join(struct throttle *t, enum throttle_kind kind, const struct throttle_place *p,
			     struct throttle_scope **out) MUST_CHECK;
void throttle_scope_leave(struct throttle *t, struct throttle_scope *s);
enum err throttle_seat_join(struct throttle *t, struct throttle_flow *f, struct throttle_gauge *g,
			    struct throttle_seat **out) MUST_CHECK;
void throttle_seat_leave(struct throttle *t, struct throttle_seat *s);
void throttle_flow_drop(struct throttle_flow *f);
/* Frees scopes that were idle for long, and all of them when `all`. */
void throttle_scope_sweep(struct throttle *t, bool all);
/* The latest time that anybody told. */
int64_t throttle_scope_now(struct throttle *t);

/* ---- lane.c ------------------------------------------------------------------------- */

void throttle_lane_hold(struct throttle_lane *l);
/* Any thread; the last reference leaves it to be reaped. */
void throttle_lane_drop(struct throttle_lane *l);
/* Under the lock: frees lanes whose last reference is gone. */
void throttle_lane_reap(struct throttle *t);
void throttle_lane_tally(struct throttle_tally *t, const struct throttle_cost *cost);
/* Adds what was admitted on `l`. */
void throttle_lane_sum(struct throttle_lane *l, struct throttle_sum *sum);

/* ---- gauge.c -------------------------------------------------------------------------- */

static inline bool throttle_gauge_is_limited(const struct throttle_gauge *g)
{
	/* Relaxed: the rate itself is read in order by throttle_bucket_view. */
	return atomic_load_explicit(&g->is_limited, memory_order_relaxed);
}
static inline bool throttle_gauge_is_queued(const struct throttle_gauge *g)
{
	/* Relaxed: whoever just misses it was there first. */
	return atomic_load_explicit(&g->queued, memory_order_relaxed) != 0;
}
/* The part of a cost that must be there at once: no more than the burst. True in
 * *is_large when there is more. */
struct throttle_cost throttle_gauge_need(const struct throttle_view *v,
					 const struct throttle_cost *cost, bool *is_large);
/* Flows that wait for the gauge itself. */
static inline uint64_t throttle_gauge_flows(const struct throttle_gauge *g)
{
	uint64_t flows = atomic_load_explicit(&g->waiting_flows, memory_order_relaxed);
	uint64_t parked = atomic_load_explicit(&g->n_parked, memory_order_relaxed);
	return flows > parked ? flows - parked : flows > 0;
}
/* Could it be taken now, with `beside` left for others? */
bool throttle_gauge_has(struct throttle_gauge *g, const struct throttle_cost *cost,
			const uint64_t *beside, int64_t now_ns);
/* Estimate of a request through `hop`, whose place is worth so much virtual time. */
int64_t throttle_gauge_estimate(const struct throttle_hop *hop, const struct throttle_cost *cost,
				uint64_t credit, int64_t now_ns, struct throttle_reason *why);

/* ---- seat.c (scheduler) ------------------------------------------------------------------ */

/* A cost's part of the gauge's virtual time. */
uint64_t throttle_seat_part(const uint64_t *rate, const struct throttle_cost *cost);
/* Brings the gauge's times to its present rate. */
void throttle_seat_tune(struct throttle *t, struct throttle_gauge *g);
/* The gauge's time: what ended at `tag` went. */
void throttle_seat_pass(struct throttle_gauge *g, uint64_t tag);
/* Gives the lane's first request its tags where there are limits and it has none. */
void throttle_seat_tag(struct throttle_lane *l);
/* Takes the tags away; `keep`: it was refused and keeps its place. */
void throttle_seat_untag(struct throttle_lane *l, bool keep);
/* A request that never was the first of its lane was refused. */
void throttle_seat_keep(struct throttle_hop *hop, const struct throttle_cost *cost);
/* What a kept place is worth to a request of that flow. */
uint64_t throttle_seat_credit(const struct throttle_hop *hop);
/* What the flow has asked for ends later by `left`, which it owes. */
void throttle_seat_owe(struct throttle_hop *hop, const struct throttle_cost *left);
/* After rules changed: all tags of a lane's first request, see sched.c. */
void throttle_seat_rescale(struct throttle_hop *hop, const struct throttle_cost *cost);

/* ---- debt.c (scheduler) --------------------------------------------------------------------- */

/* `need` of `cost` was paid through `hop`. */
void throttle_debt_begin(struct throttle_hop *hop, const struct throttle_cost *cost,
			 const struct throttle_cost *need);
/* Paid, or forgiven because the limit is gone or everything ends; may be called without
 * a debt. */
void throttle_debt_end(struct throttle_gauge *g);
/* The next piece to be paid. */
struct throttle_cost throttle_debt_piece(const struct throttle_gauge *g);
/* Pays it; false: it is not there yet. */
bool throttle_debt_pay(struct throttle_gauge *g, int64_t now_ns);
/* Does the request have to wait until the debt is paid? A debtor's own ones do, and who
 * would owe as well. */
bool throttle_debt_blocks(const struct throttle_gauge *g, const struct throttle_hop *hop);

/* ---- serve.c (scheduler) ------------------------------------------------------------------ */

void throttle_serve_dirty(struct throttle *t, struct throttle_gauge *g);
void throttle_serve_publish(struct throttle_gauge *g);
/* Lets go of what can go in a gauge. */
void throttle_serve_gauge(struct throttle *t, struct throttle_gauge *g, int64_t now_ns);
/* Moves the first request of a lane on, into the first gauge that stops it or to
 * those that are ready. */
void throttle_serve_advance(struct throttle_lane *l, int64_t now_ns);
/* Pays for the first request of a ready lane; false: it stands again. */
bool throttle_serve_pay(struct throttle_lane *l, int64_t now_ns);
/* Takes the first request out of all gauges; `keep` as in throttle_seat_untag. */
void throttle_serve_withdraw(struct throttle_lane *l, bool keep);
/* Pays at once if nobody waits on the way and all limits allow it. */
bool throttle_serve_take(struct throttle_lane *l, const struct throttle_cost *cost, int64_t now_ns);
void throttle_serve_stand(struct throttle_lane *l, struct throttle_hop *hop);
void throttle_serve_ready(struct throttle_lane *l);
/* The request joins or leaves what waits in its lane. */
void throttle_serve_count(struct throttle_lane *l, const struct throttle_cost *cost, bool is_more);

#endif
