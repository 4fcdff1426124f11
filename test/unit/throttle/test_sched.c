#include <stdio.h>
#include <string.h>

#include "test/unit/throttle/bed.h"
#include "test/unit/throttle/suites.h"

enum { FLOWS = 4, REQUESTS = 64 };

/* Some flows, each with one lane, in a namespace of 100 events a second that is spent. */
struct yard {
	struct bed b;
	struct throttle_flow *f[FLOWS];
	struct throttle_lane *l[FLOWS];
	struct throttle_request r[REQUESTS];
	int64_t begun_ns;
};

static void yard_init(struct yard *y)
{
	bed_init(&y->b);
	bed_limit(&y->b, 0, 100);
	for (int i = 0; i < FLOWS; i++) {
		char label[16];
		snprintf(label, sizeof label, "f%d", i);
		y->f[i] = bed_flow(&y->b, label);
		y->l[i] = bed_lane(y->f[i], "h", 0);
	}
	ck_assert(bed_try(&y->b, y->l[0], 0, 100));
	y->begun_ns = y->b.now_ns;
}

static void yard_fini(struct yard *y)
{
	for (int i = 0; i < FLOWS; i++) {
		if (y->l[i] != NULL) {
			throttle_lane_close(&y->l[i]);
		}
		if (y->f[i] != NULL) {
			throttle_flow_close(&y->f[i]);
		}
	}
	bed_fini(&y->b);
}

static enum throttle_verdict ask(struct yard *y, int lane, int r, uint64_t events,
				 enum throttle_patience p)
{
	return bed_ask(&y->b, y->l[lane], &y->r[r], 0, events, p).verdict;
}

START_TEST(waiting_request_goes_at_the_very_ns)
{
	struct yard y;
	yard_init(&y);
	ck_assert(!bed_try(&y.b, y.l[1], 0, 1));
	struct throttle_decision d = bed_ask(&y.b, y.l[1], &y.r[0], 0, 50, THROTTLE_IMPATIENT);
	ck_assert_int_eq(d.verdict, THROTTLE_WAIT);
	ck_assert_uint_eq(d.wait_ms, 500);
	ck_assert_int_eq(d.reason.kind, THROTTLE_NAMESPACE);
	ck_assert(d.reason.by_events);
	ck_assert_uint_eq(d.reason.rate, 100);
	bed_run(&y.b);
	ck_assert_uint_eq(y.b.n, 0);
	ck_assert_int_eq(y.b.next_ns, y.begun_ns + BED_S / 2);
	y.b.now_ns = y.b.next_ns - 1;
	bed_run(&y.b);
	ck_assert_uint_eq(y.b.n, 0);
	y.b.now_ns++;
	bed_run(&y.b);
	bed_check(&y.b, 0, &y.r[0], THROTTLE_ADMIT);
	ck_assert_int_eq(y.b.next_ns, INT64_MAX);
	yard_fini(&y);
}
END_TEST

START_TEST(request_is_admitted_when_asked_if_nobody_waits)
{
	struct yard y;
	yard_init(&y);
	y.b.now_ns += BED_S / 10;
	ck_assert_int_eq(ask(&y, 0, 0, 10, THROTTLE_IMPATIENT), THROTTLE_ADMIT);
	ck_assert_int_eq(ask(&y, 0, 1, 1, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	bed_run_until(&y.b, y.b.now_ns + BED_S);
	bed_check(&y.b, 0, &y.r[1], THROTTLE_ADMIT);
	yard_fini(&y);
}
END_TEST

START_TEST(lane_keeps_its_order_until_all_is_settled)
{
	struct yard y;
	yard_init(&y);
	throttle_defer(y.l[1]);
	y.b.now_ns += BED_S;
	ck_assert(!bed_try(&y.b, y.l[1], 0, 1));
	ck_assert(bed_try(&y.b, y.l[2], 0, 100));
	throttle_settle(y.l[1]);
	/* Behind a large one a small one waits, though it could go. */
	ck_assert_int_eq(ask(&y, 1, 0, 90, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	ck_assert_int_eq(ask(&y, 1, 1, 0, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	ck_assert_int_eq(ask(&y, 1, 2, 1, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	bed_run_until(&y.b, y.b.now_ns + BED_S);
	for (size_t i = 0; i < 3; i++) {
		bed_check(&y.b, i, &y.r[i], THROTTLE_ADMIT);
	}
	ck_assert(bed_try(&y.b, y.l[1], 0, 1));
	yard_fini(&y);
}
END_TEST

START_TEST(nobody_overtakes_those_that_wait)
{
	struct yard y;
	yard_init(&y);
	ck_assert_int_eq(ask(&y, 1, 0, 50, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	y.b.now_ns += BED_S / 4;
	ck_assert(!bed_try(&y.b, y.l[2], 0, 1));
	/* It asks for less, so its turn is before. */
	ck_assert_int_eq(ask(&y, 2, 1, 1, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	bed_run(&y.b);
	bed_check(&y.b, 0, &y.r[1], THROTTLE_ADMIT);
	bed_run_until(&y.b, y.b.now_ns + BED_S);
	bed_check(&y.b, 1, &y.r[0], THROTTLE_ADMIT);
	ck_assert_int_eq(y.b.decided[1].at_ns, y.begun_ns + 510 * BED_MS);
	yard_fini(&y);
}
END_TEST

START_TEST(flows_take_turns_however_many_lanes_they_have)
{
	struct yard y;
	yard_init(&y);
	struct throttle_lane *more[6];
	int r = 0;
	for (int i = 0; i < 6; i++) {
		more[i] = bed_lane(y.f[0], "h", i + 1);
		for (int k = 0; k < 4; k++) {
			ck_assert_int_eq(bed_ask(&y.b, more[i], &y.r[r++], 0, 1, THROTTLE_ENDLESS).verdict,
					 THROTTLE_WAIT);
		}
	}
	for (int k = 0; k < 20; k++) {
		ck_assert_int_eq(ask(&y, 1, r++, 1, THROTTLE_ENDLESS), THROTTLE_WAIT);
	}
	bed_run_until(&y.b, y.b.now_ns + 200 * BED_MS);
	ck_assert_uint_eq(y.b.n, 20);
	unsigned of_second = 0;
	for (size_t i = 0; i < y.b.n; i++) {
		of_second += y.b.decided[i].r >= &y.r[24] ? 1 : 0;
	}
	ck_assert_uint_ge(of_second, 9);
	ck_assert_uint_le(of_second, 11);
	bed_run_until(&y.b, y.b.now_ns + BED_S);
	ck_assert_uint_eq(y.b.n, (size_t)r);
	for (int i = 0; i < 6; i++) {
		throttle_lane_close(&more[i]);
	}
	yard_fini(&y);
}
END_TEST

START_TEST(request_that_would_wait_too_long_is_refused_at_once)
{
	struct yard y;
	yard_init(&y);
	ck_assert_int_eq(ask(&y, 1, 0, 100, THROTTLE_ENDLESS), THROTTLE_WAIT);
	ck_assert_int_eq(ask(&y, 1, 1, 100, THROTTLE_ENDLESS), THROTTLE_WAIT);
	struct throttle_decision d = bed_ask(&y.b, y.l[1], &y.r[2], 0, 1, THROTTLE_IMPATIENT);
	ck_assert_int_eq(d.verdict, THROTTLE_REFUSE);
	ck_assert_uint_ge(d.wait_ms, 2010);
	ck_assert_uint_le(d.wait_ms, 2011);
	/* A patient one waits, one of another flow does not have to wait so long. */
	ck_assert_int_eq(ask(&y, 1, 3, 1, THROTTLE_PATIENT), THROTTLE_WAIT);
	ck_assert_int_eq(ask(&y, 2, 4, 1, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	bed_run_until(&y.b, y.b.now_ns + 3 * BED_S);
	ck_assert_uint_eq(y.b.n, 4);
	yard_fini(&y);
}
END_TEST

START_TEST(request_that_waited_too_long_is_refused)
{
	struct yard y;
	yard_init(&y);
	ck_assert_int_eq(ask(&y, 1, 0, 90, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	/* Two flows of small requests come: it could go after three shares, 2.7 s. */
	for (int i = 1; i < 61; i++) {
		ck_assert_int_eq(ask(&y, 2 + i % 2, i, 5, THROTTLE_ENDLESS), THROTTLE_WAIT);
	}
	bed_run_until(&y.b, y.begun_ns + 2 * BED_S - 1);
	for (size_t i = 0; i < y.b.n; i++) {
		ck_assert_ptr_ne(y.b.decided[i].r, &y.r[0]);
	}
	size_t n = y.b.n;
	bed_run_until(&y.b, y.begun_ns + 2 * BED_S);
	/* What it had come to be promised goes to others. */
	ck_assert_uint_gt(y.b.n, n + 1);
	bed_check(&y.b, n, &y.r[0], THROTTLE_REFUSE);
	ck_assert_uint_ge(y.b.decided[n].d.wait_ms, 1);
	ck_assert_uint_eq(y.b.decided[n].d.reason.rate, 100);
	bed_run_until(&y.b, y.begun_ns + 4 * BED_S);
	yard_fini(&y);
}
END_TEST

START_TEST(what_waits_is_bounded_in_bytes)
{
	struct bed b;
	bed_init_with(&b, &(struct throttle_options){.hold_ns = 100 * BED_S, .hold_bytes = 1000});
	bed_limit(&b, 1000, 0);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *l = bed_lane(f, "h", 0);
	struct throttle_request r[4];
	ck_assert(bed_try(&b, l, 1000, 1));
	ck_assert_int_eq(bed_ask(&b, l, &r[0], 600, 1, THROTTLE_IMPATIENT).verdict, THROTTLE_WAIT);
	struct throttle_decision d = bed_ask(&b, l, &r[1], 401, 1, THROTTLE_IMPATIENT);
	ck_assert_int_eq(d.verdict, THROTTLE_REFUSE);
	ck_assert(d.reason.by_memory);
	ck_assert_uint_ge(d.wait_ms, 1);
	ck_assert_int_eq(bed_ask(&b, l, &r[1], 400, 1, THROTTLE_IMPATIENT).verdict, THROTTLE_WAIT);
	ck_assert_int_eq(bed_ask(&b, l, &r[2], 9000, 1, THROTTLE_ENDLESS).verdict, THROTTLE_WAIT);
	bed_run_until(&b, b.now_ns + 700 * BED_MS);
	ck_assert_uint_eq(b.n, 1);
	ck_assert_int_eq(bed_ask(&b, l, &r[3], 600, 1, THROTTLE_IMPATIENT).verdict, THROTTLE_WAIT);
	bed_run_until(&b, b.now_ns + 100 * BED_S);
	ck_assert_uint_eq(b.n, 4);
	throttle_lane_close(&l);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

START_TEST(refused_flow_keeps_its_place)
{
	struct yard y;
	yard_init(&y);
	/* Three flows of small requests that never end, and a large one that comes back. */
	for (int i = 0; i < 30; i++) {
		ck_assert_int_eq(ask(&y, 1 + i % 3, i, 10, THROTTLE_ENDLESS), THROTTLE_WAIT);
	}
	struct throttle_decision d = bed_ask(&y.b, y.l[0], &y.r[40], 0, 90, THROTTLE_IMPATIENT);
	ck_assert_int_eq(d.verdict, THROTTLE_REFUSE);
	ck_assert_uint_ge(d.wait_ms, 2700);
	int again = 0;
	while (d.verdict == THROTTLE_REFUSE) {
		ck_assert_int_lt(again++, 3);
		for (int64_t until = y.b.now_ns + d.wait_ms * BED_MS; y.b.now_ns < until;) {
			size_t before = y.b.n;
			bed_run_until(&y.b, y.b.now_ns + 100 * BED_MS);
			for (size_t i = before; i < y.b.n; i++) {
				int r = (int)(y.b.decided[i].r - y.r);
				ck_assert_int_eq(ask(&y, 1 + r % 3, r, 10, THROTTLE_ENDLESS), THROTTLE_WAIT);
			}
		}
		d = bed_ask(&y.b, y.l[0], &y.r[40], 0, 90, THROTTLE_IMPATIENT);
	}
	ck_assert_int_eq(d.verdict, THROTTLE_WAIT);
	bed_run_until(&y.b, y.b.now_ns + 1100 * BED_MS);
	bool is_found = false;
	for (size_t i = 0; i < y.b.n; i++) {
		is_found = is_found || (y.b.decided[i].r == &y.r[40] && y.b.decided[i].d.verdict == THROTTLE_ADMIT);
	}
	ck_assert(is_found);
	bed_run_until(&y.b, y.b.now_ns + 100 * BED_S);
	yard_fini(&y);
}
END_TEST

START_TEST(cancelled_request_is_gone_and_the_next_goes_on)
{
	struct yard y;
	yard_init(&y);
	ck_assert_int_eq(ask(&y, 1, 0, 90, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	ck_assert_int_eq(ask(&y, 1, 1, 10, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	ck_assert_int_eq(ask(&y, 1, 2, 10, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	bed_run(&y.b);
	throttle_cancel(&y.r[0]);
	throttle_settle(y.l[1]);
	throttle_cancel(&y.r[2]);
	throttle_settle(y.l[1]);
	throttle_cancel(&y.r[2]);
	bed_run(&y.b);
	ck_assert_int_eq(y.b.next_ns, y.begun_ns + 100 * BED_MS);
	bed_run_until(&y.b, y.begun_ns + BED_S);
	ck_assert_uint_eq(y.b.n, 1);
	bed_check(&y.b, 0, &y.r[1], THROTTLE_ADMIT);
	ck_assert(bed_try(&y.b, y.l[1], 0, 90));
	yard_fini(&y);
}
END_TEST

/* It has passed the hub and stands in the namespace. */
START_TEST(cancelled_promise_is_free_again)
{
	struct yard y;
	yard_init(&y);
	const struct throttle_rule rules[] = {
		bed_rule(THROTTLE_NAMESPACE, "", 0, 100), bed_rule(THROTTLE_HUB, "h", 0, 60),
	};
	bed_rules(&y.b, rules, 2);
	ck_assert_int_eq(ask(&y, 1, 0, 60, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	ck_assert_int_eq(ask(&y, 2, 1, 60, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	bed_run(&y.b);
	throttle_cancel(&y.r[0]);
	throttle_settle(y.l[1]);
	bed_run_until(&y.b, y.begun_ns + 600 * BED_MS);
	ck_assert_uint_eq(y.b.n, 1);
	bed_check(&y.b, 0, &y.r[1], THROTTLE_ADMIT);
	yard_fini(&y);
}
END_TEST

START_TEST(flush_refuses_all_that_wait)
{
	struct yard y;
	yard_init(&y);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(ask(&y, i % 4, i, 20, i < 4 ? THROTTLE_ENDLESS : THROTTLE_PATIENT), THROTTLE_WAIT);
	}
	bed_flush(&y.b);
	ck_assert_uint_eq(y.b.n, 8);
	for (size_t i = 0; i < 8; i++) {
		ck_assert_int_eq(y.b.decided[i].d.verdict, THROTTLE_REFUSE);
		ck_assert_uint_ge(y.b.decided[i].d.wait_ms, 1);
	}
	bed_run(&y.b);
	ck_assert_int_eq(y.b.next_ns, INT64_MAX);
	yard_fini(&y);
}
END_TEST

START_TEST(lane_closed_with_waiting_requests_lives_until_the_last)
{
	struct yard y;
	yard_init(&y);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(ask(&y, 1, i, 10, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	}
	throttle_flow_close(&y.f[1]);
	throttle_lane_close(&y.l[1]);
	bed_run_until(&y.b, y.begun_ns + BED_S);
	ck_assert_uint_eq(y.b.n, 4);
	ck_assert_uint_eq(bed_info(&y.b, THROTTLE_NAMESPACE, "").figures[THROTTLE_IN].admitted_events, 140);
	yard_fini(&y);
}
END_TEST

START_TEST(rules_that_end_or_loosen_let_go_at_the_next_run)
{
	struct yard y;
	yard_init(&y);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(ask(&y, i % 4, i, 50, THROTTLE_PATIENT), THROTTLE_WAIT);
	}
	bed_run(&y.b);
	ck_assert_uint_eq(y.b.n, 0);
	/* 200 more are there at once: what was used stays used. */
	bed_limit(&y.b, 0, 300);
	bed_run(&y.b);
	ck_assert_uint_eq(y.b.n, 4);
	bed_rules(&y.b, NULL, 0);
	bed_run(&y.b);
	ck_assert_uint_eq(y.b.n, 8);
	ck_assert_int_eq(y.b.next_ns, INT64_MAX);
	ck_assert(bed_try(&y.b, y.l[0], 0, 10000));
	yard_fini(&y);
}
END_TEST

START_TEST(rule_that_comes_holds_those_that_wait_elsewhere)
{
	struct yard y;
	yard_init(&y);
	ck_assert_int_eq(ask(&y, 1, 0, 50, THROTTLE_PATIENT), THROTTLE_WAIT);
	bed_run(&y.b);
	const struct throttle_rule rules[] = {
		bed_rule(THROTTLE_NAMESPACE, "", 0, 100), bed_rule(THROTTLE_HUB, "h", 0, 10),
	};
	bed_rules(&y.b, rules, 2);
	/* Larger than the hub's burst: the bucket is full, and 40 are owed. */
	bed_run_until(&y.b, y.begun_ns + 500 * BED_MS);
	bed_check(&y.b, 0, &y.r[0], THROTTLE_ADMIT);
	ck_assert_int_eq(ask(&y, 2, 1, 1, THROTTLE_PATIENT), THROTTLE_WAIT);
	bed_run_until(&y.b, y.begun_ns + 10 * BED_S);
	ck_assert_uint_eq(y.b.n, 2);
	yard_fini(&y);
}
END_TEST

START_TEST(large_request_goes_with_a_full_bucket_and_is_paid_for_by_its_flow)
{
	struct yard y;
	yard_init(&y);
	ck_assert_int_eq(ask(&y, 1, 0, 300, THROTTLE_PATIENT), THROTTLE_WAIT);
	bed_run_until(&y.b, y.begun_ns + BED_S - 1);
	ck_assert_uint_eq(y.b.n, 0);
	bed_run_until(&y.b, y.begun_ns + BED_S);
	bed_check(&y.b, 0, &y.r[0], THROTTLE_ADMIT);
	/* Two seconds are owed: others get their half of them, its own next one waits. */
	ck_assert_int_eq(ask(&y, 1, 1, 1, THROTTLE_PATIENT), THROTTLE_WAIT);
	for (int i = 2; i < 32; i++) {
		ck_assert_int_eq(ask(&y, 2, i, 5, THROTTLE_ENDLESS), THROTTLE_WAIT);
	}
	bed_run_until(&y.b, y.begun_ns + 2 * BED_S);
	ck_assert_uint_ge(y.b.n, 1 + 5);
	ck_assert_uint_le(y.b.n, 1 + 15);
	bed_run_until(&y.b, y.begun_ns + 4 * BED_S + 400 * BED_MS);
	for (size_t i = 1; i < y.b.n; i++) {
		ck_assert_ptr_ne(y.b.decided[i].r, &y.r[1]);
	}
	bed_run_until(&y.b, y.begun_ns + 4 * BED_S + 520 * BED_MS);
	ck_assert_uint_eq(y.b.n, 32);
	bed_check(&y.b, 31, &y.r[1], THROTTLE_ADMIT);
	yard_fini(&y);
}
END_TEST

START_TEST(debt_of_one_that_is_gone_is_paid_and_then_forgotten)
{
	struct yard y;
	yard_init(&y);
	y.b.now_ns += BED_S;
	ck_assert_int_eq(ask(&y, 1, 0, 400, THROTTLE_PATIENT), THROTTLE_ADMIT);
	ck_assert(!bed_try(&y.b, y.l[2], 0, 1));
	int64_t wait_ns = throttle_estimate(y.l[1], &(struct throttle_cost){0, 1}, y.b.now_ns);
	ck_assert_int_ge(wait_ns, 3 * BED_S);
	throttle_lane_close(&y.l[1]);
	throttle_flow_close(&y.f[1]);
	bed_run_until(&y.b, y.b.now_ns + 3 * BED_S - 1);
	ck_assert(!bed_try(&y.b, y.l[2], 0, 1));
	bed_run_until(&y.b, y.b.now_ns + 10 * BED_MS + 1);
	ck_assert(bed_try(&y.b, y.l[2], 0, 1));
	/* Another one that nobody will pay any more. */
	bed_run_until(&y.b, y.b.now_ns + BED_S);
	ck_assert_int_eq(ask(&y, 2, 1, 400, THROTTLE_PATIENT), THROTTLE_ADMIT);
	yard_fini(&y);
}
END_TEST

START_TEST(request_of_nothing_waits_its_turn_only)
{
	struct yard y;
	yard_init(&y);
	ck_assert(bed_try(&y.b, y.l[0], 1 << 30, 0));
	ck_assert_int_eq(ask(&y, 1, 0, 50, THROTTLE_PATIENT), THROTTLE_WAIT);
	ck_assert(!bed_try(&y.b, y.l[0], 0, 0));
	ck_assert_int_eq(ask(&y, 2, 1, 0, THROTTLE_IMPATIENT), THROTTLE_WAIT);
	bed_run(&y.b);
	bed_check(&y.b, 0, &y.r[1], THROTTLE_ADMIT);
	bed_run_until(&y.b, y.b.now_ns + BED_S);
	yard_fini(&y);
}
END_TEST

START_TEST(late_run_loses_nothing_within_a_burst)
{
	struct yard y;
	yard_init(&y);
	for (int i = 0; i < 40; i++) {
		ck_assert_int_eq(ask(&y, i % 4, i, 5, THROTTLE_ENDLESS), THROTTLE_WAIT);
	}
	bed_run(&y.b);
	y.b.now_ns += 900 * BED_MS;
	bed_run(&y.b);
	ck_assert_uint_eq(y.b.n, 18);
	y.b.now_ns += 990 * BED_MS;
	bed_run(&y.b);
	ck_assert_uint_eq(y.b.n, 37);
	bed_run_until(&y.b, y.b.now_ns + BED_S);
	yard_fini(&y);
}
END_TEST

static struct throttle_lane *lane_of_policy(struct throttle_flow *f, const char *hub)
{
	struct throttle_lane *l;
	const struct throttle_place p = {
		.hub_id = (uint32_t)hub[0], .hub = hub, .partition = -1, .policy = "app"};
	ck_assert_int_eq(throttle_lane_open(f, THROTTLE_IN, &p, &l), ERR_OK);
	return l;
}

/* A policy whose requests mostly go to a hub that is slower than it: what it promised to
 * them must not keep its other requests from a hub that is free. */
START_TEST(requests_stuck_further_on_leave_their_scope_to_others)
{
	enum { STUCK = 200, FAST = 2, SECONDS = 10 };
	static struct throttle_request r[STUCK + FAST];
	struct throttle_flow *f[STUCK + FAST];
	struct throttle_lane *l[STUCK + FAST];
	static struct bed b;
	bed_init(&b);
	const struct throttle_rule rules[] = {
		bed_rule(THROTTLE_NAMESPACE, "", 0, 1000), bed_rule(THROTTLE_POLICY, "app", 0, 100),
		bed_rule(THROTTLE_HUB, "slow", 0, 10),
	};
	bed_rules(&b, rules, 3);
	for (int i = 0; i < STUCK + FAST; i++) {
		f[i] = bed_flow(&b, "f");
		l[i] = lane_of_policy(f[i], i < STUCK ? "slow" : "fast");
		(void)bed_drain(&b, l[i]);
		ck_assert_int_eq(bed_ask(&b, l[i], &r[i], 0, i < STUCK ? 5 : 1, THROTTLE_ENDLESS).verdict,
				 THROTTLE_WAIT);
	}
	unsigned slow = 0;
	unsigned fast = 0;
	size_t seen = 0;
	for (int64_t end = b.now_ns + SECONDS * BED_S; b.now_ns < end;) {
		bed_run_until(&b, b.now_ns + BED_MS);
		for (; seen < b.n; seen++) {
			int i = (int)(b.decided[seen].r - r);
			*(i < STUCK ? &slow : &fast) += i < STUCK ? 5 : 1;
			ck_assert_int_eq(bed_ask(&b, l[i], &r[i], 0, i < STUCK ? 5 : 1, THROTTLE_ENDLESS).verdict,
					 THROTTLE_WAIT);
		}
	}
	ck_assert_uint_le(slow, 10 * SECONDS + 10);
	ck_assert_uint_ge(slow, 10 * SECONDS - 10);
	ck_assert_uint_ge(slow + fast, 98 * SECONDS);
	for (int i = 0; i < STUCK + FAST; i++) {
		throttle_cancel(&r[i]);
		throttle_settle(l[i]);
		throttle_lane_close(&l[i]);
		throttle_flow_close(&f[i]);
	}
	bed_run(&b);
	ck_assert_int_eq(b.next_ns, INT64_MAX);
	bed_fini(&b);
}
END_TEST

START_TEST(thousands_of_lanes_wait_and_all_are_served_in_turn)
{
	enum { MANY = 3000 };
	static struct throttle_request r[MANY];
	static struct throttle_lane *l[MANY];
	struct bed b;
	bed_init(&b);
	bed_limit(&b, 0, 1000);
	struct throttle_flow *f = bed_flow(&b, "f");
	for (int i = 0; i < MANY; i++) {
		l[i] = bed_lane(f, "h", i);
	}
	ck_assert(bed_try(&b, l[0], 0, 1000));
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_eq(bed_ask(&b, l[i], &r[i], 0, 1, THROTTLE_ENDLESS).verdict, THROTTLE_WAIT);
	}
	bed_run_until(&b, b.now_ns + 3 * BED_S);
	ck_assert_uint_eq(b.n, MANY);
	for (size_t i = 0; i < MANY; i++) {
		bed_check(&b, i, &r[i], THROTTLE_ADMIT);
		throttle_lane_close(&l[i]);
	}
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

Suite *sched_suite(void)
{
	Suite *s = suite_create("sched");
	TCase *t = tcase_create("sched");
	tcase_add_test(t, waiting_request_goes_at_the_very_ns);
	tcase_add_test(t, request_is_admitted_when_asked_if_nobody_waits);
	tcase_add_test(t, lane_keeps_its_order_until_all_is_settled);
	tcase_add_test(t, nobody_overtakes_those_that_wait);
	tcase_add_test(t, flows_take_turns_however_many_lanes_they_have);
	tcase_add_test(t, request_that_would_wait_too_long_is_refused_at_once);
	tcase_add_test(t, request_that_waited_too_long_is_refused);
	tcase_add_test(t, what_waits_is_bounded_in_bytes);
	tcase_add_test(t, refused_flow_keeps_its_place);
	tcase_add_test(t, cancelled_request_is_gone_and_the_next_goes_on);
	tcase_add_test(t, cancelled_promise_is_free_again);
	tcase_add_test(t, flush_refuses_all_that_wait);
	tcase_add_test(t, lane_closed_with_waiting_requests_lives_until_the_last);
	tcase_add_test(t, rules_that_end_or_loosen_let_go_at_the_next_run);
	tcase_add_test(t, rule_that_comes_holds_those_that_wait_elsewhere);
	tcase_add_test(t, large_request_goes_with_a_full_bucket_and_is_paid_for_by_its_flow);
	tcase_add_test(t, debt_of_one_that_is_gone_is_paid_and_then_forgotten);
	tcase_add_test(t, request_of_nothing_waits_its_turn_only);
	tcase_add_test(t, late_run_loses_nothing_within_a_burst);
	tcase_add_test(t, requests_stuck_further_on_leave_their_scope_to_others);
	tcase_add_test(t, thousands_of_lanes_wait_and_all_are_served_in_turn);
	suite_add_tcase(s, t);
	return s;
}
