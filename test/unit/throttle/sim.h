#ifndef TEST_UNIT_THROTTLE_SIM_H
#define TEST_UNIT_THROTTLE_SIM_H

/* Senders and readers against throttle/ in virtual time.
 *
 * One thread plays all: each party is a flow with lanes and a window of requests
 * that it keeps under way. A request is tried; if that fails it is deferred, reaches
 * the scheduler a little later and waits there until a run decides it. Refused ones
 * come again after the wait they were told, with the cost they had.
 *
 * At each admission a checker asserts for every scope on the lane's way that no span
 * of the run, of whatever length, admitted more than burst + rate * time (and one
 * request larger than the burst), that a lane's order holds, that nobody waited
 * longer than it was willing to, that a refusal was deserved, and that what waits
 * stays within hold_bytes. Failures name the seed: SIM_SEED sets it
 * for all tests, SIM_SHIFT=n gives each another one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "throttle/throttle.h"

#define SIM_US INT64_C(1000)
#define SIM_MS INT64_C(1000000)
#define SIM_S INT64_C(1000000000)

enum { SIM_BYTES, SIM_EVENTS, SIM_DIMENSIONS };

/* Exact products of a rate and a span. */
__extension__ typedef __int128 sim_wide;

/* Sanitizers are some ten times slower: long runs are cut by this. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SIM_SLOW = 10 };
#else
enum { SIM_SLOW = 1 };
#endif

enum sim_manner {
	SIM_SENDER,	/* impatient: AMQP, HTTPS */
	SIM_KAFKA,	/* patient; pauses for the estimate after each request */
	SIM_READER,	/* endless; gives back a part of what it paid for */
};

struct sim_options {
	uint64_t seed;
	struct throttle_options throttle;	/* zero: 2 s, 25 s, 64 MiB */
	int64_t late_ns;	/* runs come up to so much late */
	int64_t post_ns;	/* up to so long on the way to the scheduler */
};

struct sim_spec {
	enum sim_manner manner;
	enum throttle_direction direction;
	unsigned window;	/* requests under way; 0: 1 */
	uint32_t events_min, events_max;	/* of a request; 0: 1 */
	uint32_t bytes_min, bytes_max;	/* of an event; 0: 100 */
	int64_t pause_ns;	/* between an answer and the next request; 0: 200 us */
	unsigned give_percent;	/* readers: what is given back of it at most */
	bool is_parked;		/* begins only with sim_resume */
};

/* What was admitted, less what was given back. */
struct sim_sum {
	uint64_t requests, refused, given;
	uint64_t amount[SIM_DIMENSIONS];
};

struct sim_level {
	sim_wide filled;	/* 1e-9 of a byte or event */
	uint64_t over;		/* largest request beyond the burst */
	uint64_t waiting;	/* of requests at the scheduler */
};

enum { SIM_NAME_MAX = 64 };
/* The checker's idea of a scope. */
struct sim_scope {
	enum throttle_kind kind;
	char name[SIM_NAME_MAX];	/* as throttle_list names it */
	char rule[SIM_NAME_MAX];	/* the name of the rule for it */
	struct throttle_limit limit;
	struct sim_level level[THROTTLE_DIRECTIONS][SIM_DIMENSIONS];
	struct sim_sum sum[THROTTLE_DIRECTIONS];
	int64_t at_ns[THROTTLE_DIRECTIONS];
};

struct sim;
struct sim_slot;
struct sim_lane {
	struct throttle_lane *lane;
	struct sim_scope *scopes[THROTTLE_KINDS];	/* NULL: none of that kind */
	uint64_t asked, admitted;	/* numbers of the last one */
	unsigned deferred;
};

struct sim_party {
	struct sim *sim;
	struct sim_spec spec;
	struct throttle_flow *flow;
	struct sim_lane *lanes;
	unsigned lane_count, next_lane;
	struct sim_slot *slots;
	bool is_active;
	struct sim_sum sum;
	int64_t wait_max_ns;	/* of one try; reset by the test */
	int64_t whole_max_ns;	/* from the first try to the admission */
	int64_t wait_sum_ns;
	uint32_t told_max_ms;
};

struct sim_event {
	int64_t at_ns;
	uint64_t number;
	struct sim_slot *slot;	/* NULL: a run */
};

struct sim {
	struct sim_options options;
	struct throttle *throttle;
	uint64_t random;
	int64_t now_ns, begun_ns;
	int64_t posted_ns;	/* when the last one posted arrives */
	int64_t run_ns;		/* the next run; INT64_MAX: none */
	struct sim_event *events;
	size_t event_count, event_cap;
	uint64_t event_number;
	struct sim_party **parties;
	size_t party_count, party_cap;
	struct sim_scope **scopes;
	size_t scope_count, scope_cap;
	struct throttle_rule *rules;
	size_t rule_count;
	uint64_t held_bytes, held_max;	/* of those that are not endless */
	uint64_t waiting;	/* requests at the scheduler */
	uint64_t runs, refused_by_memory;
	unsigned slack;		/* rounding: one byte or event, and one for each change */
	bool may_refuse_early;	/* the test knows that estimates do not hold */
};

uint64_t sim_seed(uint64_t usual);
uint64_t sim_random(struct sim *sim, uint64_t below);
struct sim *sim_new(const struct sim_options *o);
/* Ends the parties, checks that nothing waits and that throttle_list counted the
 * same, frees all. */
void sim_free(struct sim **sim);

/* Rules. `name` "" for the namespace. */
struct throttle_rule sim_rule(enum throttle_kind kind, const char *name, uint64_t bytes,
			      uint64_t events);
struct throttle_rule sim_rule_units(enum throttle_kind kind, const char *name, uint32_t units);
void sim_rules(struct sim *sim, const struct throttle_rule *rules, size_t n);
void sim_units(struct sim *sim, uint32_t units);	/* the namespace's only */

/* A flow with a lane through each of `places`; lives as long as the simulation. */
struct sim_party *sim_add(struct sim *sim, const struct sim_spec *spec,
			  const struct throttle_place *places, unsigned n);
void sim_park(struct sim_party *p);	/* begins nothing new */
void sim_resume(struct sim_party *p);
/* Takes waiting requests back, so many of a hundred; their slots go on later. */
void sim_cancel(struct sim *sim, unsigned percent);
/* Refuses all that waits. */
void sim_flush(struct sim *sim);

void sim_run(struct sim *sim, int64_t span_ns);

/* Asserts that throttle_list counts what the checker counted. */
void sim_check_figures(struct sim *sim);
struct sim_scope *sim_scope(struct sim *sim, enum throttle_kind kind, const char *name);
/* The part of a second of `limit` that was admitted since `before`: the larger of
 * both dimensions. */
double sim_part(const struct sim_sum *now, const struct sim_sum *before,
		const struct throttle_rate *rate);

#define sim_fail(sim, ...) \
	do { \
		char sim_text_[1024]; \
		snprintf(sim_text_, sizeof sim_text_, __VA_ARGS__); \
		ck_abort_msg("seed %llu, at %.6f s: %s", (unsigned long long)(sim)->options.seed, \
			     (double)((sim)->now_ns - (sim)->begun_ns) / 1e9, sim_text_); \
	} while (0)
#define sim_assert(sim, what, ...) \
	do { \
		if (!(what)) { \
			sim_fail(sim, __VA_ARGS__); \
		} \
	} while (0)

#endif
