#include <stdio.h>
#include <stdlib.h>

#include "test/unit/throttle/test_properties.h"

/* Limits that change while requests wait, and waiting requests that are taken back. */

static struct sim *bed(uint64_t seed, unsigned senders, unsigned window)
{
	struct sim *sim = sim_new(&(struct sim_options){
		.seed = sim_seed(seed), .late_ns = SIM_MS, .post_ns = 50 * SIM_US,
		.throttle = {.hold_ns = 1000 * SIM_S, .delay_ns = 1000 * SIM_S, .hold_bytes = 1 << 30},
	});
	sim_units(sim, 1);
	for (unsigned i = 0; i < senders; i++) {
		struct throttle_place p = place_in(i % 2 ? "a" : "b", i % 3);
		sim_add(sim, &(struct sim_spec){.window = window}, &p, 1);
	}
	return sim;
}

static uint64_t events_in(struct sim *sim)
{
	return sim_scope(sim, THROTTLE_NAMESPACE, "")->sum[THROTTLE_IN].amount[SIM_EVENTS];
}

START_TEST(units_change_and_are_followed_at_once)
{
	static const uint32_t units[] = {4, 2, 8, 1, 3, 16, 1};
	struct sim *sim = bed(5000, 10, 50);
	sim_run(sim, 5 * SIM_S);
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		uint64_t start = events_in(sim);
		uint64_t before = i == 0 ? 1 : units[i - 1];
		sim_units(sim, units[i]);
		sim_run(sim, SIM_S);
		uint64_t first = events_in(sim) - start;
		/* At most the new burst and rate; at least the rate, but for what fewer units
		 * may have to wait for. */
		sim_assert(sim, first <= units[i] * 2000 + 2, "%llu in the first second of %u units",
			   (unsigned long long)first, units[i]);
		sim_assert(sim, units[i] < before || (double)first >= units[i] * 980.0,
			   "%llu in the first second of %u units", (unsigned long long)first, units[i]);
		start = events_in(sim);
		sim_run(sim, 4 * SIM_S);
		double rate = (double)(events_in(sim) - start) / 4;
		sim_assert(sim, rate >= units[i] * 980.0 && rate <= units[i] * 1250.0 + 1,
			   "%.0f events a second of %u units", rate, units[i]);
	}
	sim_free(&sim);
}
END_TEST

START_TEST(limit_that_ends_lets_go_at_once_and_a_new_one_holds_at_once)
{
	struct sim *sim = bed(5001, 20, 30);
	for (int round = 0; round < 4; round++) {
		sim_run(sim, 5 * SIM_S);
		sim_assert(sim, sim->waiting > 100, "only %llu wait", (unsigned long long)sim->waiting);
		for (size_t i = 0; i < sim->party_count; i++) {
			sim_park(sim->parties[i]);
		}
		if (round % 2 == 0) {
			sim_rules(sim, sim->rules, 0);
		} else {
			sim_units(sim, 50);
		}
		sim_run(sim, 2 * SIM_MS);
		sim_assert(sim, sim->waiting == 0, "%llu still wait", (unsigned long long)sim->waiting);
		for (size_t i = 0; i < sim->party_count; i++) {
			sim_resume(sim->parties[i]);
		}
		sim_run(sim, 20 * SIM_MS);
		uint64_t start = events_in(sim);
		sim_units(sim, 1);
		sim_run(sim, SIM_S);
		uint64_t first = events_in(sim) - start;
		sim_assert(sim, first <= 2002, "%llu in the first second of 1 unit", (unsigned long long)first);
	}
	sim_free(&sim);
}
END_TEST

START_TEST(rules_that_come_and_go_at_random_are_kept)
{
	static const char *const hubs[] = {"a", "b", "*"};
	struct throttle_rule rules[8];
	struct sim *sim = bed(5100 + (uint64_t)_i, 12, 20);
	for (int step = 0; step < 300 / (SIM_SLOW > 1 ? 3 : 1); step++) {
		size_t n = 0;
		if (sim_random(sim, 20) > 0) {
			rules[n++] = sim_rule(THROTTLE_NAMESPACE, "", sim_random(sim, 2) * 400000,
					      500 + sim_random(sim, 3000));
		}
		for (size_t i = 0; i < 3; i++) {
			if (sim_random(sim, 3) == 0) {
				rules[n++] = sim_rule(THROTTLE_HUB, hubs[i], 0, 100 + sim_random(sim, 2000));
			}
			if (sim_random(sim, 4) == 0) {
				rules[n++] = sim_rule(THROTTLE_PARTITION, hubs[i], 10000 + sim_random(sim, 100000), 0);
			}
		}
		sim_rules(sim, rules, n);
		/* Without limits they go round as fast as they can: a short time is enough. */
		sim_run(sim, n == 0 ? 2 * SIM_MS : 20 * SIM_MS + (int64_t)sim_random(sim, 100 * SIM_MS));
		if (sim_random(sim, 10) == 0) {
			sim_cancel(sim, 50);
		}
		sim_check_figures(sim);
	}
	/* And in the end all is as if nothing had been. */
	sim_units(sim, 2);
	sim_run(sim, 3 * SIM_S);
	uint64_t start = events_in(sim);
	sim_run(sim, 5 * SIM_S);
	double rate = (double)(events_in(sim) - start) / 5;
	sim_assert(sim, rate >= 1960 && rate <= 2002, "%.1f events a second of 2 units", rate);
	sim_free(&sim);
}
END_TEST

/* A flow that a slow scope held up has saved up nothing elsewhere. */
START_TEST(flow_that_was_held_up_gets_no_more_for_it)
{
	struct sim *sim = bed(5005, 5, 100);
	struct throttle_rule rules[] = {
		sim_rule(THROTTLE_NAMESPACE, "", 0, 1000), sim_rule(THROTTLE_HUB, "slow", 0, 5),
	};
	struct throttle_place p = place_in("slow", 0);
	struct sim_party *held = sim_add(sim, &(struct sim_spec){.window = 400}, &p, 1);
	sim_rules(sim, rules, 2);
	sim_run(sim, 30 * SIM_S);
	sim_rules(sim, rules, 1);
	uint64_t before = held->sum.requests;
	sim_run(sim, SIM_S);
	uint64_t first = held->sum.requests - before;
	sim_assert(sim, first >= 140 && first <= 185, "%llu in the first second, fair are 167",
		   (unsigned long long)first);
	sim_free(&sim);
}
END_TEST

START_TEST(cancelled_requests_leave_no_trace)
{
	struct sim *sim = bed(5002, 15, 20);
	/* Large ones, too: cancelled while they owe or are next. */
	struct throttle_place p = place_in("a", 0);
	sim_add(sim, &(struct sim_spec){.events_min = 700, .window = 3}, &p, 1);
	sim_add(sim, &(struct sim_spec){.events_min = 2500, .window = 2, .manner = SIM_KAFKA}, &p, 1);
	for (int i = 0; i < 600; i++) {
		sim_run(sim, 50 * SIM_MS);
		sim_cancel(sim, i % 7 == 0 ? 100 : 20);
	}
	sim_assert(sim, (double)events_in(sim) >= 0.97 * 30 * 1000, "%llu events in 30 s",
		   (unsigned long long)events_in(sim));
	sim_free(&sim);
}
END_TEST

START_TEST(flushed_ones_may_come_again)
{
	struct sim *sim = bed(5003, 15, 20);
	for (int i = 0; i < 10; i++) {
		sim_run(sim, SIM_S);
		sim_flush(sim);
	}
	sim_assert(sim, events_in(sim) >= 10700, "%llu events in 10 s", (unsigned long long)events_in(sim));
	sim_free(&sim);
}
END_TEST

/* Flows that come and go while others wait: lanes outlive their flow. */
START_TEST(flows_that_end_leave_the_rest_undisturbed)
{
	struct sim *sim = bed(5004, 10, 20);
	struct throttle_place p = place_in("a", 1);
	sim_run(sim, 2 * SIM_S);
	for (int i = 0; i < 200; i++) {
		struct throttle_flow *flow;
		struct throttle_lane *lane;
		ck_assert_int_eq(throttle_flow_open(sim->throttle, "short", &flow), ERR_OK);
		ck_assert_int_eq(throttle_lane_open(flow, THROTTLE_IN, &p, &lane), ERR_OK);
		throttle_flow_close(&flow);
		ck_assert(!throttle_try(lane, &(struct throttle_cost){100, 1}, sim->now_ns));
		struct throttle_request r = {.cost = {100, 1}, .patience = THROTTLE_PATIENT};
		throttle_defer(lane);
		struct throttle_decision d = throttle_ask(lane, &r, sim->now_ns);
		ck_assert_int_eq(d.verdict, THROTTLE_WAIT);
		throttle_cancel(&r);
		throttle_settle(lane);
		throttle_lane_close(&lane);
		sim_run(sim, 100 * SIM_MS);
	}
	sim_assert(sim, events_in(sim) >= 22500, "%llu events in 22 s", (unsigned long long)events_in(sim));
	sim_free(&sim);
}
END_TEST

Suite *properties_change_suite(void)
{
	Suite *s = suite_create("properties change");
	TCase *tc = tcase_create("change");
	tcase_set_timeout(tc, CASE_TIMEOUT_S);
	tcase_add_test(tc, units_change_and_are_followed_at_once);
	tcase_add_test(tc, limit_that_ends_lets_go_at_once_and_a_new_one_holds_at_once);
	tcase_add_loop_test(tc, rules_that_come_and_go_at_random_are_kept, 0, 6);
	tcase_add_test(tc, flow_that_was_held_up_gets_no_more_for_it);
	tcase_add_test(tc, cancelled_requests_leave_no_trace);
	tcase_add_test(tc, flushed_ones_may_come_again);
	tcase_add_test(tc, flows_that_end_leave_the_rest_undisturbed);
	suite_add_tcase(s, tc);
	return s;
}
