#include <stdio.h>
#include <stdlib.h>

#include "test/unit/throttle/test_properties.h"

/* Never more than burst + rate * time (asserted by the simulation for every span),
 * and 98-100 % of the units while there is enough to do. */

struct exact_case {
	const char *what;
	uint32_t events, bytes;	/* of a request; of an event */
};
static const struct exact_case shapes[] = {
	{"100 B", 1, 100},
	{"1 MiB", 1, 1 << 20},
	{"1 MiB and its head", 1, (1 << 20) + 60},
	{"batch of 5,000", 5000, 100},
	{"batch of 100", 100, 300},
};
static const unsigned sender_counts[] = {1, 10, 1000};
static const uint32_t unit_counts[] = {1, 4, 100};
enum {
	SHAPES = sizeof shapes / sizeof shapes[0],
	CASES = SHAPES * 3 * 3,
	REQUESTS_MAX = 150000,	/* of a run; bounds its length */
};

static bool verbose(void)
{
	return getenv("SIM_VERBOSE") != NULL;
}

/* Asserts 98 % from the beginning, and from `lead` on but for one request. */
static void check_full(struct sim *sim, struct sim_scope *s, enum throttle_direction d,
		       double seconds, double cost, const char *what)
{
	struct sim_sum zero = {0};
	struct sim_sum before = {0};
	const struct throttle_rate *rate = &s->limit.rate[d];
	double lead = seconds / 10;
	sim_run(sim, (int64_t)(lead * 1e9));
	before = s->sum[d];
	sim_run(sim, (int64_t)((seconds - lead) * 1e9));
	double whole = sim_part(&s->sum[d], &zero, rate) / seconds;
	double rest = sim_part(&s->sum[d], &before, rate) / (seconds - lead);
	if (verbose()) {
		printf("%-60s %.1f s: %.2f %%, later %.2f %%, %llu requests, %llu refused, %llu runs\n", what,
		       seconds, whole * 100, rest * 100, (unsigned long long)s->sum[d].requests,
		       (unsigned long long)sim->parties[0]->sum.refused, (unsigned long long)sim->runs);
	}
	sim_assert(sim, whole >= 0.98, "%s: %.2f %% of the units", what, whole * 100);
	sim_assert(sim, rest + cost / (seconds - lead) >= 0.98, "%s: %.2f %% of the units later", what,
		   rest * 100);
}

static void saturate(int i, enum sim_manner manner)
{
	const struct exact_case *c = &shapes[i / 9];
	unsigned senders = sender_counts[i / 3 % 3];
	uint32_t units = unit_counts[i % 3];
	struct throttle_rate rate = throttle_units(units).rate[THROTTLE_IN];
	double cost_bytes = (double)c->events * c->bytes / (double)rate.bytes;
	double cost_events = (double)c->events / (double)rate.events;
	double cost = cost_bytes > cost_events ? cost_bytes : cost_events;
	if (SIM_SLOW > 1 && units == 100 && senders != 10) {
		return;
	}
	double seconds = REQUESTS_MAX / SIM_SLOW * cost;
	seconds = seconds > 60 ? 60 : seconds < 2 ? 2 : seconds;
	char what[96];
	struct sim *sim = sim_new(&(struct sim_options){
		.seed = sim_seed(1000 + (uint64_t)i), .late_ns = SIM_MS, .post_ns = 50 * SIM_US,
	});
	snprintf(what, sizeof what, "%u %s, %s, %u units", senders,
		 manner == SIM_KAFKA ? "patient" : "senders", c->what, units);
	sim_units(sim, units);
	for (unsigned k = 0; k < senders; k++) {
		struct throttle_place p = place_in(k % 2 ? "even" : "odd", k % 4);
		struct sim_spec spec = {
			.manner = manner, .events_min = c->events, .bytes_min = c->bytes,
			.window = senders == 1 ? 300 : senders == 10 ? 30 : 2,
		};
		if (manner == SIM_KAFKA) {
			/* Enough requests under way that pauses of a millisecond can be filled. */
			spec.window = senders == 1 ? 500 : senders == 10 ? 50 : 1;
		}
		sim_add(sim, &spec, &p, 1);
	}
	check_full(sim, sim_scope(sim, THROTTLE_NAMESPACE, ""), THROTTLE_IN, seconds, cost, what);
	sim_free(&sim);
}

START_TEST(senders_that_keep_trying_get_all_of_the_units)
{
	saturate(_i, SIM_SENDER);
}
END_TEST

/* They pause after each request for as long as they are told. */
START_TEST(patient_senders_get_all_of_the_units)
{
	saturate(_i, SIM_KAFKA);
}
END_TEST

START_TEST(readers_get_all_of_the_units_and_give_back_what_they_do_not_use)
{
	static const unsigned readers[] = {1, 10, 200};
	struct sim *sim = sim_new(&(struct sim_options){
		.seed = sim_seed(1100 + (uint64_t)_i), .late_ns = SIM_MS, .post_ns = 50 * SIM_US,
	});
	sim_units(sim, 2);
	struct throttle_place p = place_in("h", 0);
	for (unsigned k = 0; k < readers[_i]; k++) {
		sim_add(sim, &(struct sim_spec){
			.manner = SIM_READER, .direction = THROTTLE_OUT, .events_min = 1,
			.events_max = 256, .bytes_min = 100, .bytes_max = 2000, .window = 2,
			.give_percent = 50,
		}, &p, 1);
	}
	check_full(sim, sim_scope(sim, THROTTLE_NAMESPACE, ""), THROTTLE_OUT, 60.0 / SIM_SLOW, 0.1,
		   "readers");
	sim_free(&sim);
}
END_TEST

/* Sizes of all kinds, in both dimensions, and requests beyond the burst. */
START_TEST(random_requests_stay_within_the_units_and_use_them)
{
	struct sim *sim = sim_new(&(struct sim_options){
		.seed = sim_seed(1200 + (uint64_t)_i), .late_ns = 3 * SIM_MS, .post_ns = SIM_MS,
		.throttle = {.hold_ns = (_i % 3 + 1) * SIM_S},
	});
	uint64_t bytes = 10000 + sim_random(sim, 3000000);
	uint64_t events = 50 + sim_random(sim, 5000);
	struct throttle_rule r = sim_rule(THROTTLE_NAMESPACE, "", bytes, events);
	double most = 0;
	sim_rules(sim, &r, 1);
	unsigned n = 1 + (unsigned)sim_random(sim, 60);
	for (unsigned k = 0; k < n; k++) {
		struct throttle_place p = place_in("h", k % 5);
		struct sim_spec spec = {
			.manner = sim_random(sim, 4) ? SIM_SENDER : SIM_KAFKA,
			.events_min = 1, .events_max = 1 + (uint32_t)sim_random(sim, events / 4),
			.bytes_min = 1, .bytes_max = 1 + (uint32_t)sim_random(sim, bytes / events * 4),
			.window = 1 + (unsigned)sim_random(sim, 20),
			.pause_ns = 1 + (int64_t)sim_random(sim, 10 * SIM_MS),
		};
		if (sim_random(sim, 10) == 0) {
			spec.events_max = (uint32_t)(events * 2);
		}
		double cost = (double)spec.events_max * spec.bytes_max / (double)bytes;
		double by_events = (double)spec.events_max / (double)events;
		cost = cost > by_events ? cost : by_events;
		most = cost > most ? cost : most;
		sim_add(sim, &spec, &p, 1);
	}
	struct sim_spec steady = {
		.events_min = 1, .bytes_min = (uint32_t)(bytes / events) + 1, .window = 200,
	};
	struct throttle_place p = place_in("h", 0);
	sim_add(sim, &steady, &p, 1);
	check_full(sim, sim_scope(sim, THROTTLE_NAMESPACE, ""), THROTTLE_IN, 60.0, most, "random");
	sim_free(&sim);
}
END_TEST

Suite *properties_exact_suite(void)
{
	Suite *s = suite_create("properties exact");
	TCase *tc = tcase_create("exact");
	tcase_set_timeout(tc, CASE_TIMEOUT_S);
	tcase_add_loop_test(tc, senders_that_keep_trying_get_all_of_the_units, 0, CASES);
	tcase_add_loop_test(tc, patient_senders_get_all_of_the_units, 0, CASES);
	tcase_add_loop_test(tc, readers_get_all_of_the_units_and_give_back_what_they_do_not_use, 0, 3);
	tcase_add_loop_test(tc, random_requests_stay_within_the_units_and_use_them, 0, 10);
	suite_add_tcase(s, tc);
	return s;
}
