/* Everything comes and goes at random: flows, lanes with requests that wait, rules,
 * cancelling, lists. What is asserted is that each request is decided once, that each
 * lane keeps its order and that nothing is left in the end. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "test/unit/throttle/suites.h"
#include "throttle/throttle.h"

enum { FLOWS = 6, LANES = 24, REQUESTS = 300, STEPS = 20000 };

struct item {
	struct throttle_request r;
	struct throttle_lane *lane;	/* NULL: free */
	int slot;
	uint64_t number;
};

struct churn {
	struct throttle *t;
	uint64_t random;
	int64_t now_ns;
	struct throttle_flow *flows[FLOWS];
	struct throttle_lane *lanes[LANES];
	uint64_t last[LANES];		/* number decided last */
	uint64_t numbers;
	struct item items[REQUESTS];
	uint64_t decided;
	bool may_ask;			/* also from within decisions */
};

static uint64_t below(struct churn *c, uint64_t n)
{
	c->random = c->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (c->random >> 33) % n;
}

static void ask(struct churn *c);

static void end(struct churn *c, struct item *i)
{
	if (i->slot >= 0) {
		ck_assert_uint_gt(i->number, c->last[i->slot]);
		c->last[i->slot] = i->number;
	}
	struct throttle_lane *l = i->lane;
	i->lane = NULL;
	c->decided++;
	throttle_settle(l);
}

static void on_decided(void *arg, struct throttle_request *r, const struct throttle_decision *d)
{
	struct churn *c = arg;
	struct item *i = (struct item *)(void *)r;
	ck_assert_ptr_nonnull(i->lane);
	ck_assert(d->verdict == THROTTLE_ADMIT || (d->verdict == THROTTLE_REFUSE && d->wait_ms > 0));
	if (d->verdict == THROTTLE_ADMIT && below(c, 4) == 0) {
		throttle_give(i->lane, &r->cost, c->now_ns);
	}
	/* Refused ones may be behind others of their lane that go on. */
	if (d->verdict == THROTTLE_REFUSE) {
		i->slot = -1;
	}
	end(c, i);
	if (c->may_ask && below(c, 2) == 0) {
		ask(c);
	}
}

static void ask(struct churn *c)
{
	int slot = (int)below(c, LANES);
	struct item *i = &c->items[below(c, REQUESTS)];
	if (c->lanes[slot] == NULL || i->lane != NULL) {
		return;
	}
	const struct throttle_cost cost = {below(c, 3000), below(c, 40)};
	if (throttle_try(c->lanes[slot], &cost, c->now_ns)) {
		return;
	}
	*i = (struct item){.lane = c->lanes[slot], .slot = slot, .number = ++c->numbers};
	i->r.cost = cost;
	i->r.patience = (enum throttle_patience)below(c, 3);
	throttle_defer(i->lane);
	struct throttle_decision d = throttle_ask(i->lane, &i->r, c->now_ns);
	if (d.verdict != THROTTLE_WAIT) {
		if (d.verdict == THROTTLE_REFUSE) {
			i->slot = -1;
		}
		end(c, i);
	}
}

static void toggle_lane(struct churn *c)
{
	static const char *const hubs[] = {"a", "b", "c"};
	static const char *const names[] = {NULL, "x", "y"};
	int slot = (int)below(c, LANES);
	if (c->lanes[slot] != NULL) {
		throttle_lane_close(&c->lanes[slot]);
		for (int i = 0; i < REQUESTS; i++) {
			c->items[i].slot = c->items[i].slot == slot ? -1 : c->items[i].slot;
		}
		return;
	}
	struct throttle_flow **f = &c->flows[below(c, FLOWS)];
	if (*f == NULL) {
		ck_assert_int_eq(throttle_flow_open(c->t, "somebody", f), ERR_OK);
	}
	uint32_t hub = (uint32_t)below(c, 3);
	const struct throttle_place p = {
		hub, hubs[hub], (int64_t)below(c, 3) - 1, names[below(c, 3)], names[below(c, 3)],
		names[below(c, 3)],
	};
	enum throttle_direction d = (enum throttle_direction)below(c, 2);
	ck_assert_int_eq(throttle_lane_open(*f, d, &p, &c->lanes[slot]), ERR_OK);
}

static void change_rules(struct churn *c)
{
	static const char *const names[] = {"*", "a", "b", "x"};
	struct throttle_rule rules[12] = {0};
	size_t n = below(c, 12);
	for (size_t i = 0; i < n; i++) {
		rules[i].kind = (enum throttle_kind)(i % THROTTLE_KINDS);
		snprintf(rules[i].name, sizeof rules[i].name, "%s",
			 rules[i].kind == THROTTLE_NAMESPACE ? "" : names[(i / THROTTLE_KINDS + below(c, 3)) % 4]);
		for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
			rules[i].limit.rate[d].bytes = below(c, 3) * below(c, 20000);
			rules[i].limit.rate[d].events = below(c, 3) * below(c, 300);
		}
	}
	ck_assert_int_eq(throttle_set_rules(c->t, rules, n), ERR_OK);
}

static void step(struct churn *c)
{
	uint64_t what = below(c, 100);
	struct item *i = &c->items[below(c, REQUESTS)];
	if (what < 60) {
		ask(c);
	} else if (what < 85) {
		c->now_ns += (int64_t)below(c, 100000000);
		int64_t next_ns = throttle_run(c->t, c->now_ns, on_decided, c);
		ck_assert_int_gt(next_ns, c->now_ns);
		if (next_ns != INT64_MAX && below(c, 2) == 0) {
			c->now_ns = next_ns;
			(void)throttle_run(c->t, c->now_ns, on_decided, c);
		}
	} else if (what < 90) {
		toggle_lane(c);
	} else if (what < 93) {
		struct throttle_flow **f = &c->flows[below(c, FLOWS)];
		if (*f != NULL) {
			throttle_flow_close(f);
		}
	} else if (what < 96 && i->lane != NULL) {
		throttle_cancel(&i->r);
		ck_assert(!i->r.is_waiting);
		i->slot = -1;
		end(c, i);
	} else if (what < 98) {
		change_rules(c);
	} else {
		struct throttle_scope_info *list;
		size_t n;
		ck_assert_int_eq(throttle_list(c->t, what == 99, &list, &n), ERR_OK);
		mem_free(list);
	}
}

START_TEST(churn_of_everything_leaves_nothing_behind)
{
	static struct churn c;
	c = (struct churn){.random = (uint64_t)_i + 1, .now_ns = INT64_C(5000000000), .may_ask = true};
	const struct throttle_options o = {
		.hold_ns = INT64_C(2000000000), .delay_ns = INT64_C(8000000000), .hold_bytes = 100000,
	};
	ck_assert_int_eq(throttle_new(&o, &c.t), ERR_OK);
	for (int i = 0; i < STEPS; i++) {
		step(&c);
	}
	c.may_ask = false;
	if (_i % 2 == 0) {
		for (int64_t next_ns = c.now_ns; next_ns != INT64_MAX;) {
			c.now_ns = next_ns;
			next_ns = throttle_run(c.t, c.now_ns, on_decided, &c);
		}
	} else {
		throttle_flush(c.t, on_decided, &c);
	}
	for (int i = 0; i < REQUESTS; i++) {
		ck_assert_ptr_null(c.items[i].lane);
	}
	struct throttle_scope_info *list;
	size_t n;
	ck_assert_int_eq(throttle_list(c.t, false, &list, &n), ERR_OK);
	for (size_t i = 0; i < n * THROTTLE_DIRECTIONS; i++) {
		ck_assert_uint_eq(list[i / 2].waiting_flows[i % 2], 0);
		ck_assert_uint_eq(list[i / 2].waiting_bytes[i % 2], 0);
	}
	mem_free(list);
	ck_assert_uint_gt(c.decided, STEPS / 20);
	for (int i = 0; i < LANES; i++) {
		if (c.lanes[i] != NULL) {
			throttle_lane_close(&c.lanes[i]);
		}
	}
	for (int i = 0; i < FLOWS; i++) {
		if (c.flows[i] != NULL) {
			throttle_flow_close(&c.flows[i]);
		}
	}
	throttle_free(&c.t);
}
END_TEST

Suite *churn_suite(void)
{
	Suite *s = suite_create("churn");
	TCase *t = tcase_create("churn");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, churn_of_everything_leaves_nothing_behind, 0, 12);
	suite_add_tcase(s, t);
	return s;
}
