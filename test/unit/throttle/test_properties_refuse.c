#include <stdio.h>
#include <stdlib.h>

#include "test/unit/throttle/test_properties.h"

/* Who is refused, when and for how long; a refused one took nothing and keeps its
 * place. That each refusal was deserved is asserted by the simulation. */

static struct sim *bed(uint64_t seed, uint32_t units, int64_t hold_ns)
{
	struct sim *sim = sim_new(&(struct sim_options){
		.seed = sim_seed(seed), .late_ns = SIM_MS, .post_ns = 50 * SIM_US,
		.throttle = {.hold_ns = hold_ns, .delay_ns = 25 * SIM_S},
	});
	sim_units(sim, units);
	return sim;
}

static struct sim_party *add(struct sim *sim, uint32_t events, unsigned window)
{
	struct throttle_place p = place_in("h", 0);
	return sim_add(sim, &(struct sim_spec){.events_min = events, .window = window}, &p, 1);
}

static uint64_t refused(const struct sim *sim)
{
	uint64_t n = 0;
	for (size_t i = 0; i < sim->party_count; i++) {
		n += sim->parties[i]->sum.refused;
	}
	return n;
}

START_TEST(nobody_is_refused_while_waits_stay_below_the_hold)
{
	/* Windows of 1,800 events in all at 1,000 a second. */
	static const unsigned counts[] = {1, 20, 300};
	struct sim *sim = bed(3000, 1, 2 * SIM_S);
	for (unsigned i = 0; i < counts[_i]; i++) {
		add(sim, 1, 1800 / counts[_i]);
	}
	sim_run(sim, 30 * SIM_S);
	sim_assert(sim, refused(sim) == 0, "%llu were refused", (unsigned long long)refused(sim));
	sim_assert(sim, sim_scope(sim, THROTTLE_NAMESPACE, "")->sum[THROTTLE_IN].requests >= 30700,
		   "not all units");
	sim_free(&sim);
}
END_TEST

START_TEST(those_beyond_the_hold_are_refused_and_the_units_stay_used)
{
	static const unsigned counts[] = {1, 20, 1000};
	struct sim *sim = bed(3001, 1, 2 * SIM_S);
	for (unsigned i = 0; i < counts[_i]; i++) {
		add(sim, 1, 6000 / counts[_i]);
	}
	sim_run(sim, 30 * SIM_S);
	int64_t longest = 0;
	uint32_t told = 0;
	for (size_t i = 0; i < sim->party_count; i++) {
		const struct sim_party *p = sim->parties[i];
		longest = p->wait_max_ns > longest ? p->wait_max_ns : longest;
		told = p->told_max_ms > told ? p->told_max_ms : told;
	}
	sim_assert(sim, refused(sim) > 0, "nobody was refused");
	sim_assert(sim, longest >= 1800 * SIM_MS, "none waited longer than %.3f s",
		   (double)longest / 1e9);
	sim_assert(sim, told <= 30000, "told to come again in %u ms", told);
	sim_assert(sim, sim_scope(sim, THROTTLE_NAMESPACE, "")->sum[THROTTLE_IN].requests >= 30400,
		   "only %llu admitted",
		   (unsigned long long)sim_scope(sim, THROTTLE_NAMESPACE, "")->sum[THROTTLE_IN].requests);
	sim_free(&sim);
}
END_TEST

/* A burst of ten times the units, from senders that come again as told. */
START_TEST(burst_of_ten_seconds_is_done_in_ten_seconds)
{
	struct sim *sim = bed(3002, 2, 2 * SIM_S);
	for (int i = 0; i < 40; i++) {
		add(sim, 1, 500);
	}
	const struct sim_scope *s = sim_scope(sim, THROTTLE_NAMESPACE, "");
	sim_run(sim, 10 * SIM_S);
	sim_assert(sim, s->sum[THROTTLE_IN].requests >= 21500, "%llu of 22000",
		   (unsigned long long)s->sum[THROTTLE_IN].requests);
	for (size_t i = 0; i < sim->party_count; i++) {
		uint64_t n = sim->parties[i]->sum.requests;
		sim_assert(sim, n >= 440 && n <= 660, "party %zu: %llu", i, (unsigned long long)n);
	}
	sim_free(&sim);
}
END_TEST

struct large_case {
	uint32_t events;
	int small, large;
	double seconds;
};
static const struct large_case large_cases[] = {
	{400, 20, 1, 200}, {900, 10, 1, 200}, {5000, 8, 1, 900}, {400, 10, 5, 200}, {2000, 50, 1, 2000},
};

START_TEST(large_requests_are_not_starved_by_small_ones)
{
	const struct large_case *c = &large_cases[_i];
	struct sim *sim = bed(3010 + (uint64_t)_i, 1, 2 * SIM_S);
	for (int i = 0; i < c->small; i++) {
		add(sim, 1, (unsigned)(400 / c->small));
	}
	struct sim_party *large = NULL;
	for (int i = 0; i < c->large; i++) {
		large = add(sim, c->events, 1);
	}
	sim_run(sim, (int64_t)(c->seconds * 1e9));
	double fair = c->seconds * 1000 / (c->small + c->large) / c->events;
	if (getenv("SIM_VERBOSE") != NULL) {
		printf("%u events among %d x 1: %llu of %.1f, refused %llu, told at most %u ms, longest %.1f s, small refused %llu\n",
		       c->events, c->small, (unsigned long long)large->sum.requests, fair,
		       (unsigned long long)large->sum.refused, large->told_max_ms,
		       (double)large->whole_max_ns / 1e9, (unsigned long long)sim->parties[0]->sum.refused);
	}
	sim_assert(sim, (double)large->sum.requests >= 0.75 * fair - 1 && large->sum.requests >= 2,
		   "%llu requests of %u events, fair are %.1f", (unsigned long long)large->sum.requests,
		   c->events, fair);
	sim_assert(sim, (double)large->sum.requests <= 1.15 * fair + 2, "%llu requests of %u events, fair are %.1f",
		   (unsigned long long)large->sum.requests, c->events, fair);
	sim_free(&sim);
}
END_TEST

START_TEST(refused_and_failed_requests_take_nothing)
{
	struct throttle *t;
	struct throttle_flow *flow;
	struct throttle_lane *tight;
	struct throttle_lane *wide;
	struct throttle_place p0 = {.hub_id = 1, .hub = "tight", .partition = -1};
	struct throttle_place p1 = {.hub_id = 2, .hub = "wide", .partition = -1};
	struct throttle_rule rules[] = {
		sim_rule(THROTTLE_NAMESPACE, "", 1000000, 1000),
		sim_rule(THROTTLE_HUB, "tight", 0, 100),
	};
	struct throttle_options o = {.hold_ns = SIM_S, .delay_ns = 10 * SIM_S, .hold_bytes = 1 << 20};
	int64_t now = 77 * SIM_S;
	ck_assert_int_eq(throttle_new(&o, &t), ERR_OK);
	ck_assert_int_eq(throttle_set_rules(t, rules, 2), ERR_OK);
	ck_assert_int_eq(throttle_flow_open(t, "x", &flow), ERR_OK);
	ck_assert_int_eq(throttle_lane_open(flow, THROTTLE_IN, &p0, &tight), ERR_OK);
	ck_assert_int_eq(throttle_lane_open(flow, THROTTLE_IN, &p1, &wide), ERR_OK);
	ck_assert(throttle_try(tight, &(struct throttle_cost){100, 100}, now));
	for (int i = 0; i < 20; i++) {
		struct throttle_request r = {.cost = {1000, 90}, .patience = THROTTLE_IMPATIENT};
		struct throttle_request big = {.cost = {2 << 20, 1}, .patience = THROTTLE_PATIENT};
		ck_assert(!throttle_try(tight, &r.cost, now));
		throttle_defer(tight);
		struct throttle_decision d = throttle_ask(tight, &r, now);
		if (d.verdict == THROTTLE_WAIT) {
			throttle_cancel(&r);
		}
		ck_assert_int_ne(d.verdict, THROTTLE_ADMIT);
		throttle_settle(tight);
		throttle_defer(tight);
		d = throttle_ask(tight, &big, now);
		if (d.verdict == THROTTLE_WAIT) {
			throttle_cancel(&big);
		}
		ck_assert_int_ne(d.verdict, THROTTLE_ADMIT);
		ck_assert_uint_ge(d.wait_ms, 1);
		throttle_settle(tight);
	}
	ck_assert(throttle_try(wide, &(struct throttle_cost){999900, 900}, now));
	ck_assert(!throttle_try(wide, &(struct throttle_cost){1, 1}, now));
	throttle_lane_close(&tight);
	throttle_lane_close(&wide);
	throttle_flow_close(&flow);
	throttle_free(&t);
}
END_TEST

START_TEST(what_waits_is_bounded_in_bytes)
{
	struct sim *sim = sim_new(&(struct sim_options){
		.seed = sim_seed(3030), .late_ns = SIM_MS, .post_ns = 50 * SIM_US,
		.throttle = {.hold_ns = 10 * SIM_S, .delay_ns = 10 * SIM_S, .hold_bytes = 1 << 20},
	});
	struct throttle_place p = place_in("h", 0);
	sim_units(sim, 1);
	for (int i = 0; i < 50; i++) {
		sim_add(sim, &(struct sim_spec){
			.bytes_min = 10000, .bytes_max = 60000, .window = 4,
			.manner = i % 2 ? SIM_SENDER : SIM_KAFKA,
		}, &p, 1);
	}
	/* Readers do not count. */
	sim_add(sim, &(struct sim_spec){
		.manner = SIM_READER, .direction = THROTTLE_OUT, .bytes_min = 200000, .window = 20,
	}, &p, 1);
	sim_run(sim, 40 * SIM_S);
	const struct sim_scope *s = sim_scope(sim, THROTTLE_NAMESPACE, "");
	sim_assert(sim, sim->refused_by_memory > 0, "nobody was refused for memory");
	sim_assert(sim, sim->held_max >= 900000, "at most %llu bytes were held",
		   (unsigned long long)sim->held_max);
	sim_assert(sim, (double)s->sum[THROTTLE_IN].amount[SIM_BYTES] >= 0.98 * 40 * (1 << 20),
		   "%.3f MiB/s in", (double)s->sum[THROTTLE_IN].amount[SIM_BYTES] / 40 / (1 << 20));
	sim_assert(sim, (double)s->sum[THROTTLE_OUT].amount[SIM_BYTES] >= 0.98 * 40 * (2 << 20),
		   "%.3f MiB/s out", (double)s->sum[THROTTLE_OUT].amount[SIM_BYTES] / 40 / (1 << 20));
	sim_free(&sim);
}
END_TEST

/* Who finds no room is told a time after which there may be some. */
START_TEST(who_is_refused_for_memory_comes_back_seldom)
{
	struct sim *sim = bed(3031, 100, 2 * SIM_S);
	struct throttle_place p = place_in("h", 0);
	for (int i = 0; i < 1000; i++) {
		sim_add(sim, &(struct sim_spec){.bytes_min = 1 << 20, .window = 2}, &p, 1);
	}
	sim_run(sim, 10 * SIM_S);
	uint64_t admitted = sim_scope(sim, THROTTLE_NAMESPACE, "")->sum[THROTTLE_IN].requests;
	sim_assert(sim, sim->refused_by_memory > 0, "nobody was refused for memory");
	sim_assert(sim, refused(sim) <= 60 * admitted, "%llu refusals for %llu admissions",
		   (unsigned long long)refused(sim), (unsigned long long)admitted);
	sim_free(&sim);
}
END_TEST

START_TEST(all_may_end_while_a_large_request_is_paid_for)
{
	struct throttle *t;
	struct throttle_flow *flow;
	struct throttle_lane *lane;
	struct throttle_place p = place_in("h", 0);
	struct throttle_options o = {.hold_ns = SIM_S, .delay_ns = SIM_S, .hold_bytes = 1 << 20};
	struct throttle_rule rule = sim_rule_units(THROTTLE_NAMESPACE, "", 1);
	struct throttle_request r = {.cost = {5000, 5000}, .patience = THROTTLE_IMPATIENT};
	ck_assert_int_eq(throttle_new(&o, &t), ERR_OK);
	ck_assert_int_eq(throttle_set_rules(t, &rule, 1), ERR_OK);
	ck_assert_int_eq(throttle_flow_open(t, "x", &flow), ERR_OK);
	ck_assert_int_eq(throttle_lane_open(flow, THROTTLE_IN, &p, &lane), ERR_OK);
	ck_assert(!throttle_try(lane, &r.cost, SIM_S));
	throttle_defer(lane);
	ck_assert_int_eq(throttle_ask(lane, &r, SIM_S).verdict, THROTTLE_ADMIT);
	throttle_settle(lane);
	ck_assert(!throttle_try(lane, &(struct throttle_cost){1, 1}, SIM_S));
	throttle_lane_close(&lane);
	throttle_flow_close(&flow);
	throttle_free(&t);
}
END_TEST

/* A single flow's waits are known: what stands before it and itself, at the rate. */
START_TEST(estimate_is_about_what_a_request_of_one_flow_waits)
{
	struct throttle *t;
	struct throttle_flow *flow;
	struct throttle_lane *lane;
	struct throttle_place p = place_in("h", 0);
	struct throttle_options o = {.hold_ns = SIM_S, .delay_ns = 100 * SIM_S, .hold_bytes = 1 << 30};
	struct throttle_rule rule = sim_rule_units(THROTTLE_NAMESPACE, "", 1);
	struct throttle_request r[50];
	int64_t now = 5 * SIM_S;
	ck_assert_int_eq(throttle_new(&o, &t), ERR_OK);
	ck_assert_int_eq(throttle_set_rules(t, &rule, 1), ERR_OK);
	ck_assert_int_eq(throttle_flow_open(t, "x", &flow), ERR_OK);
	ck_assert_int_eq(throttle_lane_open(flow, THROTTLE_IN, &p, &lane), ERR_OK);
	struct throttle_cost cost = {1000, 100};
	ck_assert_int_eq(throttle_estimate(lane, &cost, now), 0);
	for (int i = 0; i < 10; i++) {
		ck_assert(throttle_try(lane, &cost, now));
	}
	for (int i = 0; i < 50; i++) {
		int64_t est = throttle_estimate(lane, &cost, now);
		int64_t real = (i + 1) * 100 * SIM_MS;
		ck_assert_msg(est >= real * 9 / 10 - SIM_MS && est <= real * 11 / 10 + SIM_MS,
			      "estimate %.3f s, it is %.3f s", (double)est / 1e9, (double)real / 1e9);
		ck_assert(!throttle_try(lane, &cost, now));
		throttle_defer(lane);
		r[i] = (struct throttle_request){.cost = cost, .patience = THROTTLE_PATIENT};
		ck_assert_int_eq(throttle_ask(lane, &r[i], now).verdict, THROTTLE_WAIT);
	}
	for (int i = 0; i < 50; i++) {
		throttle_cancel(&r[i]);
		throttle_settle(lane);
	}
	throttle_lane_close(&lane);
	throttle_flow_close(&flow);
	throttle_free(&t);
}
END_TEST

Suite *properties_refuse_suite(void)
{
	Suite *s = suite_create("properties refuse");
	TCase *tc = tcase_create("refuse");
	tcase_set_timeout(tc, CASE_TIMEOUT_S);
	tcase_add_loop_test(tc, nobody_is_refused_while_waits_stay_below_the_hold, 0, 3);
	tcase_add_loop_test(tc, those_beyond_the_hold_are_refused_and_the_units_stay_used, 0, 3);
	tcase_add_test(tc, burst_of_ten_seconds_is_done_in_ten_seconds);
	tcase_add_loop_test(tc, large_requests_are_not_starved_by_small_ones, 0,
			    sizeof large_cases / sizeof large_cases[0]);
	tcase_add_test(tc, refused_and_failed_requests_take_nothing);
	tcase_add_test(tc, what_waits_is_bounded_in_bytes);
	tcase_add_test(tc, who_is_refused_for_memory_comes_back_seldom);
	tcase_add_test(tc, all_may_end_while_a_large_request_is_paid_for);
	tcase_add_test(tc, estimate_is_about_what_a_request_of_one_flow_waits);
	suite_add_tcase(s, tc);
	return s;
}
