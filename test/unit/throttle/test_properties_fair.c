#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/unit/throttle/test_properties.h"

/* Flows that wait in a scope get equal shares of it, by the larger part of bytes and
 * events, whatever their requests look like. */

enum { FLOWS_MAX = 128 };

struct mark {
	struct sim_sum sums[FLOWS_MAX];
	int64_t at_ns;
};

static struct sim *bed(uint64_t seed, uint32_t units)
{
	struct sim *sim = sim_new(&(struct sim_options){
		.seed = sim_seed(seed), .late_ns = SIM_MS, .post_ns = 50 * SIM_US,
		.throttle = {.hold_ns = 1000 * SIM_S, .delay_ns = 1000 * SIM_S, .hold_bytes = 1 << 30},
	});
	sim_units(sim, units);
	return sim;
}

static const struct throttle_rate *rate_in(const struct sim *sim)
{
	return &sim->rules[0].limit.rate[THROTTLE_IN];
}

static struct sim_party *add(struct sim *sim, uint32_t events, uint32_t bytes, unsigned window)
{
	struct throttle_place p = place_in("h", 0);
	return sim_add(sim, &(struct sim_spec){
		.events_min = events, .bytes_min = bytes, .window = window,
	}, &p, 1);
}

static void take_mark(const struct sim *sim, struct mark *m)
{
	ck_assert_uint_le(sim->party_count, FLOWS_MAX);
	m->at_ns = sim->now_ns;
	for (size_t i = 0; i < sim->party_count; i++) {
		m->sums[i] = sim->parties[i]->sum;
	}
}

/* Dominant share a second since the mark. */
static double share(const struct sim *sim, const struct mark *m, size_t i)
{
	double seconds = (double)(sim->now_ns - m->at_ns) / 1e9;
	return sim_part(&sim->parties[i]->sum, &m->sums[i], rate_in(sim)) / seconds;
}

static double cost_of(const struct sim *sim, size_t i)
{
	const struct sim_spec *s = &sim->parties[i]->spec;
	double events = (double)s->events_max / (double)rate_in(sim)->events;
	double bytes = (double)s->events_max * s->bytes_max / (double)rate_in(sim)->bytes;
	return events > bytes ? events : bytes;
}

/* Equal but for one request of each and 5 %; Jain's index of all. */
static void check_equal(struct sim *sim, const struct mark *m)
{
	double seconds = (double)(sim->now_ns - m->at_ns) / 1e9;
	double sum = 0;
	double squares = 0;
	double low = 1e9;
	double high = 0;
	double cost = 0;
	for (size_t i = 0; i < sim->party_count; i++) {
		double x = share(sim, m, i);
		sum += x;
		squares += x * x;
		low = x < low ? x : low;
		high = x > high ? x : high;
		cost = cost_of(sim, i) > cost ? cost_of(sim, i) : cost;
	}
	double jain = sum * sum / ((double)sim->party_count * squares);
	if (getenv("SIM_VERBOSE") != NULL) {
		printf("%zu flows: shares %.4f to %.4f, max/min %.3f, Jain %.5f\n", sim->party_count, low,
		       high, high / low, jain);
	}
	sim_assert(sim, high <= 1.05 * low + 2 * cost / seconds,
		   "shares from %.4f to %.4f of the units, requests of %.4f", low, high, cost);
	sim_assert(sim, jain >= 0.99 || cost / seconds > 0.02 * sum, "Jain's index is %.4f", jain);
}

static void check_shares(struct sim *sim, int64_t span_ns)
{
	struct mark m;
	sim_run(sim, 3 * SIM_S);
	take_mark(sim, &m);
	sim_run(sim, span_ns);
	check_equal(sim, &m);
	sim_free(&sim);
}

START_TEST(equal_flows_get_equal_shares)
{
	static const unsigned counts[] = {2, 10, 100};
	struct sim *sim = bed(2000, 1);
	for (unsigned i = 0; i < counts[_i]; i++) {
		add(sim, 1, 100, 20 + i % 7 * 10);
	}
	check_shares(sim, 40 * SIM_S);
}
END_TEST

START_TEST(huge_batches_and_single_events_get_equal_shares)
{
	static const uint32_t batches[] = {100, 500, 1000, 5000};
	struct sim *sim = bed(2001, 1);
	for (int i = 0; i < 5; i++) {
		add(sim, 1, 100, 50);
	}
	add(sim, batches[_i], 100, 4);
	check_shares(sim, _i == 3 ? 300 * SIM_S : 60 * SIM_S);
}
END_TEST

START_TEST(many_huge_batches_leave_single_events_their_share)
{
	struct sim *sim = bed(2002, 4);
	for (int i = 0; i < 10; i++) {
		add(sim, 1, 200, 100);
		add(sim, 1000 + (uint32_t)i * 300, 150, 2);
	}
	check_shares(sim, 100 * SIM_S);
}
END_TEST

START_TEST(flows_of_bytes_and_flows_of_events_get_equal_shares)
{
	struct sim *sim = bed(2003, 2);
	for (int i = 0; i < 1 + 3 * _i; i++) {
		add(sim, 1, 60000, 30);
		add(sim, 10, 50, 200);
	}
	check_shares(sim, 60 * SIM_S);
}
END_TEST

START_TEST(flow_with_fifty_lanes_gets_no_more_than_one_with_one)
{
	struct throttle_place places[50];
	struct sim *sim = bed(2004, 1);
	for (int i = 0; i < 50; i++) {
		places[i] = place_in("h", i);
	}
	for (int i = 0; i < 4; i++) {
		add(sim, 1, 100, 50);
	}
	sim_add(sim, &(struct sim_spec){.window = 200}, places, 50);
	check_shares(sim, 60 * SIM_S);
}
END_TEST

START_TEST(random_requests_of_equal_flows_get_equal_shares)
{
	struct sim *sim = bed(2100 + (uint64_t)_i, 1 + (uint32_t)_i);
	unsigned n = 2 + (unsigned)sim_random(sim, 20);
	for (unsigned i = 0; i < n; i++) {
		struct throttle_place p = place_in("h", 0);
		sim_add(sim, &(struct sim_spec){
			.events_min = 1, .events_max = 1 + (uint32_t)sim_random(sim, 200),
			.bytes_min = 10, .bytes_max = 10 + (uint32_t)sim_random(sim, 5000),
			.window = 30, .pause_ns = 1 + (int64_t)sim_random(sim, 5 * SIM_MS),
			.manner = sim_random(sim, 2) ? SIM_SENDER : SIM_READER,
		}, &p, 1);
	}
	struct mark m;
	sim_run(sim, 3 * SIM_S);
	take_mark(sim, &m);
	sim_run(sim, 60 * SIM_S);
	double low = 1e9;
	double high = 0;
	double cost = 0;
	for (size_t i = 0; i < n; i++) {
		double x = share(sim, &m, i);
		low = x < low ? x : low;
		high = x > high ? x : high;
		cost = cost_of(sim, i) > cost ? cost_of(sim, i) : cost;
	}
	/* A request's own larger part counts, which the sums of a flow may hide. */
	sim_assert(sim, high <= 1.5 * low + 2 * cost / 60, "shares from %.4f to %.4f", low, high);
	sim_free(&sim);
}
END_TEST

START_TEST(newcomer_has_its_share_within_a_second)
{
	static const unsigned counts[] = {1, 9, 99};
	static const uint32_t batches[] = {1, 20};
	unsigned n = counts[_i % 3];
	struct sim *sim = bed(2005, 4);
	struct throttle_place p = place_in("h", 0);
	for (unsigned i = 0; i < n; i++) {
		add(sim, batches[_i / 3], 100, n == 99 ? 10 : 100);
	}
	struct sim_party *late = sim_add(sim, &(struct sim_spec){
		.window = 300, .is_parked = true,
	}, &p, 1);
	double fair = 1.0 / (n + 1);
	struct mark m;
	for (int round = 0; round < 5; round++) {
		sim_run(sim, (4 + round * 2) * SIM_S + (int64_t)sim_random(sim, SIM_S));
		sim_resume(late);
		for (int second = 0; second < 3; second++) {
			take_mark(sim, &m);
			sim_run(sim, SIM_S);
			double got = share(sim, &m, n);
			double floor = (second == 0 ? 0.85 : 0.93) * fair - 1.0 / (double)rate_in(sim)->events;
			sim_assert(sim, got >= floor, "second %d: the newcomer got %.4f, fair is %.4f",
				   second, got, fair);
			sim_assert(sim, got <= 1.1 * fair + 0.02, "second %d: the newcomer got %.4f, fair is %.4f",
				   second, got, fair);
		}
		sim_park(late);
	}
	sim_free(&sim);
}
END_TEST

START_TEST(after_an_idle_period_comes_no_convoy)
{
	struct sim *sim = bed(2006, 1);
	struct mark m;
	for (int i = 0; i < 10; i++) {
		add(sim, 1 + (uint32_t)i * 5, 100, 40);
	}
	sim_run(sim, 10 * SIM_S);
	for (int i = 0; i < 10; i++) {
		sim_park(sim->parties[i]);
	}
	sim_run(sim, 600 * SIM_S);
	sim_assert(sim, sim->waiting == 0, "somebody waits after ten minutes of silence");
	for (int i = 0; i < 10; i++) {
		sim->parties[i]->wait_max_ns = 0;
		sim_resume(sim->parties[i]);
	}
	/* No more than one burst is checked throughout. */
	sim_run(sim, 2 * SIM_S);
	take_mark(sim, &m);
	sim_run(sim, 20 * SIM_S);
	check_equal(sim, &m);
	/* One that asks for less than its share hardly waits beside those that want all. */
	struct sim_party *light = sim->parties[0];
	sim_park(light);
	sim_run(sim, 10 * SIM_S);
	struct throttle_place p = place_in("h", 0);
	struct sim_party *calm = sim_add(sim, &(struct sim_spec){.pause_ns = 50 * SIM_MS}, &p, 1);
	sim_run(sim, 5 * SIM_S);
	calm->wait_max_ns = 0;
	take_mark(sim, &m);
	sim_run(sim, 10 * SIM_S);
	uint64_t got = calm->sum.requests - m.sums[10].requests;
	sim_assert(sim, calm->wait_max_ns <= 300 * SIM_MS, "waited %.3f s below its share",
		   (double)calm->wait_max_ns / 1e9);
	sim_assert(sim, got >= 60, "%llu requests in 10 s", (unsigned long long)got);
	sim_free(&sim);
}
END_TEST

START_TEST(flow_that_was_idle_gets_no_more_than_others_for_it)
{
	struct sim *sim = bed(2007, 2);
	struct mark m;
	for (int i = 0; i < 6; i++) {
		add(sim, i % 2 ? 1 : 30, 100, 100);
	}
	sim_run(sim, 5 * SIM_S);
	sim_park(sim->parties[0]);
	sim_run(sim, 120 * SIM_S);
	sim_resume(sim->parties[0]);
	take_mark(sim, &m);
	sim_run(sim, SIM_S);
	double first = share(sim, &m, 0);
	sim_assert(sim, first <= 1.1 / 6 + 0.03, "the first second after: %.4f of the units", first);
	sim_run(sim, 30 * SIM_S);
	check_equal(sim, &m);
	sim_free(&sim);
}
END_TEST

START_TEST(who_asks_for_less_gets_it_and_the_rest_is_shared)
{
	struct sim *sim = bed(2008, 1);
	struct mark m;
	struct throttle_place p = place_in("h", 0);
	for (int i = 0; i < 4; i++) {
		add(sim, 1, 100, 100);
	}
	/* 50 events a second each, if nothing holds them up. */
	for (int i = 0; i < 4; i++) {
		sim_add(sim, &(struct sim_spec){.pause_ns = 100 * SIM_MS, .window = 5}, &p, 1);
	}
	sim_run(sim, 5 * SIM_S);
	take_mark(sim, &m);
	sim_run(sim, 30 * SIM_S);
	for (size_t i = 0; i < 8; i++) {
		double x = share(sim, &m, i);
		double low = i < 4 ? 0.19 : 0.043;
		double high = i < 4 ? 0.22 : 0.0505;
		sim_assert(sim, x >= low && x <= high, "flow %zu got %.4f", i, x);
	}
	sim_free(&sim);
}
END_TEST

/* Kafka's clients, told how long, are silent for as long. */
START_TEST(senders_that_pause_as_told_keep_their_share)
{
	static const uint32_t batches[] = {1, 10, 100};
	struct sim *sim = bed(2010, 1);
	struct mark m;
	struct throttle_place p = place_in("h", 0);
	for (int i = 0; i < 5; i++) {
		add(sim, 1, 100, 100);
		sim_add(sim, &(struct sim_spec){
			.manner = SIM_KAFKA, .events_min = batches[_i],
		}, &p, 1);
	}
	sim_run(sim, 3 * SIM_S);
	take_mark(sim, &m);
	sim_run(sim, 60 * SIM_S);
	for (size_t i = 0; i < 10; i++) {
		double x = share(sim, &m, i);
		sim_assert(sim, x >= 0.085 && x <= 0.115, "flow %zu got %.4f", i, x);
	}
	sim_free(&sim);
}
END_TEST

START_TEST(thousand_equal_flows_are_all_served)
{
	struct sim *sim = bed(2009, 4);
	struct throttle_place p = place_in("h", 0);
	for (int i = 0; i < 1000; i++) {
		sim_add(sim, &(struct sim_spec){.window = 3}, &p, 1);
	}
	sim_run(sim, 30 * SIM_S);
	uint64_t low = UINT64_MAX;
	uint64_t high = 0;
	for (size_t i = 0; i < 1000; i++) {
		uint64_t n = sim->parties[i]->sum.requests;
		low = n < low ? n : low;
		high = n > high ? n : high;
	}
	sim_assert(sim, high - low <= 8, "from %llu to %llu requests", (unsigned long long)low,
		   (unsigned long long)high);
	sim_free(&sim);
}
END_TEST

Suite *properties_fair_suite(void)
{
	Suite *s = suite_create("properties fair");
	TCase *tc = tcase_create("fair");
	tcase_set_timeout(tc, CASE_TIMEOUT_S);
	tcase_add_loop_test(tc, equal_flows_get_equal_shares, 0, 3);
	tcase_add_loop_test(tc, huge_batches_and_single_events_get_equal_shares, 0, 4);
	tcase_add_test(tc, many_huge_batches_leave_single_events_their_share);
	tcase_add_loop_test(tc, flows_of_bytes_and_flows_of_events_get_equal_shares, 0, 3);
	tcase_add_test(tc, flow_with_fifty_lanes_gets_no_more_than_one_with_one);
	tcase_add_loop_test(tc, random_requests_of_equal_flows_get_equal_shares, 0, 6);
	tcase_add_loop_test(tc, newcomer_has_its_share_within_a_second, 0, 6);
	tcase_add_test(tc, after_an_idle_period_comes_no_convoy);
	tcase_add_test(tc, flow_that_was_idle_gets_no_more_than_others_for_it);
	tcase_add_test(tc, who_asks_for_less_gets_it_and_the_rest_is_shared);
	tcase_add_loop_test(tc, senders_that_pause_as_told_keep_their_share, 0, 3);
	tcase_add_test(tc, thousand_equal_flows_are_all_served);
	suite_add_tcase(s, tc);
	return s;
}
