#ifndef TEST_UNIT_THROTTLE_BED_H
#define TEST_UNIT_THROTTLE_BED_H

/* One thread, virtual time, and a list of what was decided, in that order. */

#include <check.h>
#include <stddef.h>
#include <stdint.h>

#include "throttle/throttle.h"

#define BED_MS INT64_C(1000000)
#define BED_S INT64_C(1000000000)

enum { BED_DECIDED_MAX = 4096 };

struct bed {
	struct throttle *t;
	int64_t now_ns;
	int64_t next_ns;	/* of the last run */
	size_t n;
	struct {
		struct throttle_request *r;
		struct throttle_decision d;
		int64_t at_ns;
	} decided[BED_DECIDED_MAX];
};

/* Hold 2 s, delay 25 s, 64 MiB; time begins at a whole second. */
void bed_init(struct bed *b);
void bed_init_with(struct bed *b, const struct throttle_options *o);
void bed_fini(struct bed *b);

/* The rule of one kind: a limit in, and none out. */
struct throttle_rule bed_rule(enum throttle_kind kind, const char *name, uint64_t bytes, uint64_t events);
void bed_rules(struct bed *b, const struct throttle_rule *rules, size_t n);
/* The namespace alone. */
void bed_limit(struct bed *b, uint64_t bytes, uint64_t events);

struct throttle_flow *bed_flow(struct bed *b, const char *label);
struct throttle_lane *bed_lane(struct throttle_flow *f, const char *hub, int64_t partition);

bool bed_try(struct bed *b, struct throttle_lane *l, uint64_t bytes, uint64_t events);
/* Defers and asks; settles what is decided at once. */
struct throttle_decision bed_ask(struct bed *b, struct throttle_lane *l, struct throttle_request *r,
				 uint64_t bytes, uint64_t events, enum throttle_patience patience);
/* Runs at this moment. */
void bed_run(struct bed *b);
/* Runs whenever it is due, until then. */
void bed_run_until(struct bed *b, int64_t until_ns);
void bed_flush(struct bed *b);
/* Asserts that `at`-th decision was that one. */
void bed_check(const struct bed *b, size_t at, const struct throttle_request *r,
	       enum throttle_verdict verdict);
/* Takes what is left at this moment, event by event. */
uint64_t bed_drain(struct bed *b, struct throttle_lane *l);
/* Of a scope in a direction; asserts that it is listed. */
struct throttle_scope_info bed_info(struct bed *b, enum throttle_kind kind, const char *name);

#endif
