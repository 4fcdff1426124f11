/* A slow gauge far along the way of some holds up none of the others, however many wait
 * for it; and bounds that must not keep anybody out for ever. */
#include "test/unit/throttle/suites.h"

#include <string.h>

#include "test/unit/throttle/bed.h"

enum { PARTIES = 620, STEP_NS = 1000000, SECONDS = 20 };

/* A client that always has one request under way. */
struct party {
	struct throttle_request r;
	struct throttle_flow *flow;
	struct throttle_lane *lane;
	bool is_slow;
	bool is_out;
	uint64_t admitted, refused;
	int64_t again_ns;
};

struct crowd {
	struct throttle *t;
	int64_t now_ns;
	size_t n;
	struct party party[PARTIES];
};

static void on_decided(void *arg, struct throttle_request *r, const struct throttle_decision *d)
{
	struct crowd *c = arg;
	struct party *p = (struct party *)(void *)r;
	p->is_out = false;
	p->admitted += d->verdict == THROTTLE_ADMIT;
	p->refused += d->verdict == THROTTLE_REFUSE;
	p->again_ns = c->now_ns + (int64_t)d->wait_ms * BED_MS;
	throttle_settle(p->lane);
}

static void send(struct crowd *c, struct party *p, enum throttle_patience patience)
{
	const struct throttle_cost one = {10, 1};
	while (!p->is_out && p->again_ns <= c->now_ns) {
		if (throttle_try(p->lane, &one, c->now_ns)) {
			p->admitted++;
			continue;
		}
		p->r = (struct throttle_request){.cost = one, .patience = patience};
		p->is_out = true;
		throttle_defer(p->lane);
		struct throttle_decision d = throttle_ask(p->lane, &p->r, c->now_ns);
		if (d.verdict != THROTTLE_WAIT) {
			on_decided(c, &p->r, &d);
		}
	}
}

static void enter(struct crowd *c, bool is_slow)
{
	struct party *p = &c->party[c->n++];
	const struct throttle_place place = {
		.hub_id = is_slow ? 1 : 2, .hub = is_slow ? "slow" : "h", .partition = -1, .policy = "p",
	};
	p->is_slow = is_slow;
	ck_assert_int_eq(throttle_flow_open(c->t, "one", &p->flow), ERR_OK);
	ck_assert_int_eq(throttle_lane_open(p->flow, THROTTLE_IN, &place, &p->lane), ERR_OK);
}

static void run(struct crowd *c, int64_t until_ns)
{
	for (; c->now_ns < until_ns; c->now_ns += STEP_NS) {
		for (size_t i = 0; i < c->n; i++) {
			send(c, &c->party[i], c->party[i].is_slow ? THROTTLE_ENDLESS : THROTTLE_IMPATIENT);
		}
		(void)throttle_run(c->t, c->now_ns, on_decided, c);
	}
}

static void leave(struct crowd *c)
{
	throttle_flush(c->t, on_decided, c);
	for (size_t i = 0; i < c->n; i++) {
		ck_assert(!c->party[i].is_out);
		throttle_lane_close(&c->party[i].lane);
		throttle_flow_close(&c->party[i].flow);
	}
	throttle_free(&c->t);
}

/* One policy, of 100 events a second; many of its clients use a hub of 1 a second, a few
 * one of 50. */
START_TEST(many_that_wait_for_a_slow_gauge_hold_up_nobody_else)
{
	static struct crowd c;
	memset(&c, 0, sizeof c);
	c.now_ns = 7 * BED_S;
	const struct throttle_options o = {
		.hold_ns = 2 * BED_S, .delay_ns = 25 * BED_S, .hold_bytes = 64 << 20,
	};
	ck_assert_int_eq(throttle_new(&o, &c.t), ERR_OK);
	struct throttle_rule rules[] = {
		bed_rule(THROTTLE_POLICY, "p", 0, 100),
		bed_rule(THROTTLE_HUB, "slow", 0, 1),
		bed_rule(THROTTLE_HUB, "h", 0, 50),
	};
	ck_assert_int_eq(throttle_set_rules(c.t, rules, 3), ERR_OK);
	size_t n_slow = _i == 0 ? 100 : 600;
	for (size_t i = 0; i < n_slow; i++) {
		enter(&c, true);
	}
	for (int i = 0; i < 5; i++) {
		enter(&c, false);
	}
	run(&c, c.now_ns + 3 * BED_S);
	uint64_t before = 0;
	uint64_t after = 0;
	uint64_t refused = 0;
	for (size_t i = n_slow; i < c.n; i++) {
		before += c.party[i].admitted;
	}
	run(&c, c.now_ns + SECONDS * BED_S);
	for (size_t i = n_slow; i < c.n; i++) {
		after += c.party[i].admitted;
		refused += c.party[i].refused;
	}
	ck_assert_uint_ge(after - before, 50 * SECONDS * 9 / 10);
	ck_assert_uint_le(after - before, 50 * (SECONDS + 1));
	/* Of those that came together with all others. */
	ck_assert_uint_le(refused, 5);
	leave(&c);
}
END_TEST

START_TEST(one_larger_than_what_may_wait_waits)
{
	struct bed b;
	bed_init_with(&b, &(struct throttle_options){
		.hold_ns = 2 * BED_S, .delay_ns = 25 * BED_S, .hold_bytes = 1000});
	bed_limit(&b, 2000, 0);
	struct throttle_flow *f = bed_flow(&b, "one");
	struct throttle_lane *l = bed_lane(f, "h", -1);
	struct throttle_request large;
	struct throttle_request small;
	ck_assert(bed_try(&b, l, 2000, 1));
	ck_assert_int_eq(bed_ask(&b, l, &large, 1500, 1, THROTTLE_IMPATIENT).verdict, THROTTLE_WAIT);
	/* But no more beside it. */
	struct throttle_decision d = bed_ask(&b, l, &small, 10, 1, THROTTLE_IMPATIENT);
	ck_assert_int_eq(d.verdict, THROTTLE_REFUSE);
	ck_assert(d.reason.by_memory);
	bed_run_until(&b, b.now_ns + BED_S);
	bed_check(&b, 0, &large, THROTTLE_ADMIT);
	throttle_lane_close(&l);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

Suite *parked_suite(void)
{
	Suite *s = suite_create("parked");
	TCase *t = tcase_create("parked");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, many_that_wait_for_a_slow_gauge_hold_up_nobody_else, 0, 2);
	tcase_add_test(t, one_larger_than_what_may_wait_waits);
	suite_add_tcase(s, t);
	return s;
}
