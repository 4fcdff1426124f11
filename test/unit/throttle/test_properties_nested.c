#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "test/unit/throttle/test_properties.h"

/* Several scopes on a way: the tightest wins, a slow one hurts nobody outside it, and
 * what lies above it stays fully used. */

enum { FLOWS_MAX = 64 };

static struct sim *bed(uint64_t seed)
{
	return sim_new(&(struct sim_options){
		.seed = sim_seed(seed), .late_ns = SIM_MS, .post_ns = 50 * SIM_US,
		.throttle = {.hold_ns = 1000 * SIM_S, .delay_ns = 1000 * SIM_S, .hold_bytes = 1 << 30},
	});
}

static struct sim_party *add(struct sim *sim, const struct throttle_place *p, unsigned window)
{
	return sim_add(sim, &(struct sim_spec){.window = window}, p, 1);
}

/* Events a second of each party over a span. */
static void rates(struct sim *sim, int64_t lead_ns, int64_t span_ns, double *out)
{
	uint64_t before[FLOWS_MAX];
	ck_assert_uint_le(sim->party_count, FLOWS_MAX);
	sim_run(sim, lead_ns);
	for (size_t i = 0; i < sim->party_count; i++) {
		before[i] = sim->parties[i]->sum.amount[SIM_EVENTS];
	}
	sim_run(sim, span_ns);
	for (size_t i = 0; i < sim->party_count; i++) {
		out[i] = (double)(sim->parties[i]->sum.amount[SIM_EVENTS] - before[i]) /
			 ((double)span_ns / 1e9);
	}
}

static void check_near(struct sim *sim, const char *what, double got, double want)
{
	sim_assert(sim, got >= 0.94 * want - 1 && got <= 1.06 * want + 1, "%s: %.1f a second, not %.1f",
		   what, got, want);
}

START_TEST(slow_hub_hurts_nobody_outside_it)
{
	double r[FLOWS_MAX];
	struct sim *sim = bed(4000);
	struct throttle_rule rules[] = {
		sim_rule(THROTTLE_NAMESPACE, "", 0, 2000), sim_rule(THROTTLE_HUB, "slow", 0, 100),
	};
	struct throttle_place slow = place_in("slow", 0);
	struct throttle_place fast = place_in("fast", 0);
	sim_rules(sim, rules, 2);
	for (int i = 0; i < 4; i++) {
		add(sim, &slow, 100);
		add(sim, &fast, 100);
	}
	rates(sim, 3 * SIM_S, 30 * SIM_S, r);
	for (size_t i = 0; i < 8; i++) {
		check_near(sim, i % 2 ? "fast" : "slow", r[i], i % 2 ? 475 : 25);
	}
	sim_free(&sim);
}
END_TEST

/* The flow's own lane in the slow hub does not hold up its other one. */
START_TEST(slow_lane_of_a_flow_leaves_its_others_alone)
{
	double r[FLOWS_MAX];
	struct sim *sim = bed(4001);
	struct throttle_rule rules[] = {
		sim_rule(THROTTLE_NAMESPACE, "", 0, 1000), sim_rule(THROTTLE_PARTITION, "slow", 0, 20),
	};
	struct throttle_place both[] = {place_in("slow", 0), place_in("fast", 0)};
	struct throttle_place fast = place_in("fast", 0);
	sim_rules(sim, rules, 2);
	for (int i = 0; i < 2; i++) {
		sim_add(sim, &(struct sim_spec){.window = 400}, both, 2);
		add(sim, &fast, 200);
	}
	rates(sim, SIM_S / 2, 5 * SIM_S, r);
	const struct sim_sum *all = &sim_scope(sim, THROTTLE_NAMESPACE, "")->sum[THROTTLE_IN];
	sim_assert(sim, all->requests >= 6300, "only %llu in all", (unsigned long long)all->requests);
	sim_free(&sim);
}
END_TEST

START_TEST(each_partition_is_limited_by_itself)
{
	double r[FLOWS_MAX];
	struct sim *sim = bed(4002);
	struct throttle_rule rules[] = {
		sim_rule(THROTTLE_NAMESPACE, "", 0, 1000), sim_rule(THROTTLE_PARTITION, "*", 0, 150),
	};
	sim_rules(sim, rules, 2);
	for (int i = 0; i < 3; i++) {
		struct throttle_place hot = place_in("h", 0);
		struct throttle_place own = place_in("h", i + 1);
		add(sim, &hot, 50);
		add(sim, &own, 50);
	}
	rates(sim, 3 * SIM_S, 30 * SIM_S, r);
	for (size_t i = 0; i < 6; i++) {
		check_near(sim, i % 2 ? "own" : "hot", r[i], i % 2 ? 150 : 50);
	}
	sim_free(&sim);
}
END_TEST

START_TEST(policy_spans_hubs_and_publishers_do_not)
{
	double r[FLOWS_MAX];
	struct sim *sim = bed(4003);
	struct throttle_rule rules[] = {
		sim_rule(THROTTLE_NAMESPACE, "", 0, 3000), sim_rule(THROTTLE_POLICY, "app", 0, 200),
		sim_rule(THROTTLE_PUBLISHER, "*", 0, 30), sim_rule(THROTTLE_CLIENT, "c", 0, 80),
	};
	struct throttle_place a = {.hub_id = 1, .hub = "a", .partition = -1, .policy = "app"};
	struct throttle_place b = {.hub_id = 2, .hub = "b", .partition = -1, .policy = "app"};
	struct throttle_place pa = {.hub_id = 1, .hub = "a", .partition = -1, .publisher = "p"};
	struct throttle_place pb = {.hub_id = 2, .hub = "b", .partition = 3, .publisher = "p"};
	struct throttle_place c = {.hub_id = 2, .hub = "b", .partition = 3, .client = "c", .policy = "other"};
	static const double want[] = {100, 100, 30, 30, 80};
	sim_rules(sim, rules, 4);
	add(sim, &a, 50);
	add(sim, &b, 50);
	add(sim, &pa, 50);
	add(sim, &pb, 50);
	add(sim, &c, 50);
	rates(sim, 3 * SIM_S, 30 * SIM_S, r);
	for (size_t i = 0; i < 5; i++) {
		check_near(sim, "flow", r[i], want[i]);
	}
	sim_free(&sim);
}
END_TEST

/* ---- random trees ------------------------------------------------------------------ */

/* What each flow gets when all rise alike until a scope on their way is full. */
static void fill_water(struct sim *sim, double *want)
{
	bool done[FLOWS_MAX] = {false};
	double used[256] = {0};
	size_t left = sim->party_count;
	double level = 0;
	ck_assert_uint_le(sim->scope_count, 256);
	while (left > 0) {
		double step = 1e18;
		unsigned rising[256] = {0};
		for (size_t i = 0; i < sim->party_count; i++) {
			for (size_t k = 0; !done[i] && k < sim->scope_count; k++) {
				rising[k] += sim->parties[i]->lanes[0].scopes[sim->scopes[k]->kind] == sim->scopes[k];
			}
		}
		for (size_t k = 0; k < sim->scope_count; k++) {
			double rate = (double)sim->scopes[k]->limit.rate[THROTTLE_IN].events;
			if (rate > 0 && rising[k] > 0 && (rate - used[k]) / rising[k] < step) {
				step = (rate - used[k]) / rising[k];
			}
		}
		level += step;
		for (size_t k = 0; k < sim->scope_count; k++) {
			used[k] += step * rising[k];
		}
		for (size_t i = 0; i < sim->party_count; i++) {
			for (size_t k = 0; !done[i] && k < sim->scope_count; k++) {
				double rate = (double)sim->scopes[k]->limit.rate[THROTTLE_IN].events;
				if (rate > 0 && used[k] >= rate - 1e-6 &&
				    sim->parties[i]->lanes[0].scopes[sim->scopes[k]->kind] == sim->scopes[k]) {
					want[i] = level;
					done[i] = true;
					left--;
				}
			}
		}
	}
}

static const char *const hubs[] = {"h0", "h1", "h2"};
static const char *const policies[] = {"p0", "p1", "h0/p2"};
static const char *const clients[] = {"c0", "c1"};
static const char *const publishers[] = {"b0", "b1", "b2"};

static struct throttle_place random_place(struct sim *sim)
{
	struct throttle_place p = {.partition = (int64_t)sim_random(sim, 4) - 1};
	p.hub_id = (uint32_t)sim_random(sim, 3);
	p.hub = hubs[p.hub_id];
	p.policy = sim_random(sim, 2) ? policies[sim_random(sim, 3)] : NULL;
	p.client = sim_random(sim, 3) ? NULL : clients[sim_random(sim, 2)];
	p.publisher = sim_random(sim, 3) ? NULL : publishers[sim_random(sim, 3)];
	return p;
}

/* The namespace and some of each kind. */
static size_t random_rules(struct sim *sim, struct throttle_rule *rules, uint64_t most)
{
	size_t n = 0;
	rules[n++] = sim_rule(THROTTLE_NAMESPACE, "", 0, most / 2 + sim_random(sim, most));
	for (size_t i = 0; i < 3; i++) {
		if (sim_random(sim, 2)) {
			rules[n++] = sim_rule(THROTTLE_HUB, hubs[i], 0, most / 10 + sim_random(sim, most));
		}
		if (sim_random(sim, 3) == 0) {
			rules[n++] = sim_rule(THROTTLE_PARTITION, hubs[i], 0, most / 20 + sim_random(sim, most / 4));
		}
		if (sim_random(sim, 2)) {
			rules[n++] = sim_rule(THROTTLE_POLICY, policies[i], 0, most / 20 + sim_random(sim, most / 2));
		}
		if (sim_random(sim, 4) == 0) {
			rules[n++] = sim_rule(THROTTLE_PUBLISHER, hubs[i], 0, most / 20 + sim_random(sim, most / 5));
		}
	}
	if (sim_random(sim, 3) == 0) {
		rules[n++] = sim_rule(THROTTLE_CLIENT, "*", 0, most / 20 + sim_random(sim, most / 3));
	}
	return n;
}

/* Events a second that each flow got, and what is fair. */
static void check_water(struct sim *sim, int64_t span_ns, double part)
{
	double got[FLOWS_MAX];
	double want[FLOWS_MAX];
	double sum_got = 0;
	double sum_want = 0;
	fill_water(sim, want);
	rates(sim, 4 * SIM_S, span_ns, got);
	for (size_t i = 0; i < sim->party_count; i++) {
		sum_got += got[i];
		sum_want += want[i];
		if (getenv("SIM_VERBOSE") == NULL) {
			continue;
		}
		printf("flow %zu of %zu: %.1f, fair %.1f, requests of %u", i, sim->party_count, got[i], want[i],
		       sim->parties[i]->spec.events_max);
		for (int k = 0; k < THROTTLE_KINDS; k++) {
			const struct sim_scope *s = sim->parties[i]->lanes[0].scopes[k];
			uint64_t rate = s == NULL ? 0 : s->limit.rate[THROTTLE_IN].events;
			if (rate > 0) {
				printf("  %d:%s %llu", k, s->name, (unsigned long long)rate);
			}
		}
		printf("\n");
	}
	fflush(stdout);
	sim_assert(sim, sum_got >= 0.98 * sum_want, "%.1f a second in all, not %.1f", sum_got, sum_want);
	for (size_t i = 0; i < sim->party_count; i++) {
		/* One request more or less within the span. */
		double step = sim->parties[i]->spec.events_max / ((double)span_ns / 1e9);
		sim_assert(sim, got[i] >= (1 - part) * want[i] - step && got[i] <= (1 + part) * want[i] + step,
			   "flow %zu: %.1f a second, fair is %.1f", i, got[i], want[i]);
	}
}

START_TEST(random_trees_share_what_the_tightest_scopes_leave)
{
	/* Two trees in which the same flows wait in several scopes one after the other. */
	static const uint64_t seeds[] = {74108, 114103};
	struct throttle_rule rules[16];
	struct sim *sim = bed(_i < 2 ? seeds[_i] : 4100 + (uint64_t)_i);
	sim_rules(sim, rules, random_rules(sim, rules, 2000));
	size_t n = 2 + (size_t)sim_random(sim, 22);
	for (size_t i = 0; i < n; i++) {
		struct throttle_place p = random_place(sim);
		add(sim, &p, 200);
	}
	check_water(sim, 30 * SIM_S, 0.1);
	sim_free(&sim);
}
END_TEST

START_TEST(random_trees_are_fair_to_requests_of_all_sizes)
{
	static const uint32_t sizes[] = {1, 4, 15, 60};
	struct throttle_rule rules[16];
	struct sim *sim = bed(4300 + (uint64_t)_i);
	sim_rules(sim, rules, random_rules(sim, rules, 2000));
	size_t n = 2 + (size_t)sim_random(sim, 22);
	for (size_t i = 0; i < n; i++) {
		struct throttle_place p = random_place(sim);
		uint32_t size = sizes[sim_random(sim, 4)];
		sim_add(sim, &(struct sim_spec){.events_min = size, .window = 200 / size + 3}, &p, 1);
	}
	check_water(sim, 60 * SIM_S, 0.2);
	sim_free(&sim);
}
END_TEST

/* Flows with lanes in many places, requests of many sizes, refusals and cancelling. */
START_TEST(random_trees_are_never_exceeded_and_stay_used)
{
	struct throttle_rule rules[16];
	struct throttle_place places[8];
	struct sim *sim = sim_new(&(struct sim_options){
		.seed = sim_seed(4200 + (uint64_t)_i), .late_ns = 3 * SIM_MS, .post_ns = SIM_MS,
	});
	sim_rules(sim, rules, random_rules(sim, rules, 3000));
	size_t n = 1 + (size_t)sim_random(sim, 40);
	for (size_t i = 0; i < n; i++) {
		unsigned lanes = 1 + (unsigned)sim_random(sim, 8);
		for (unsigned k = 0; k < lanes; k++) {
			places[k] = random_place(sim);
		}
		sim_add(sim, &(struct sim_spec){
			.manner = (enum sim_manner)sim_random(sim, 3), .events_min = 1,
			.events_max = 1 + (uint32_t)sim_random(sim, 50), .window = 1 + (unsigned)sim_random(sim, 40),
		}, places, lanes);
	}
	/* One that nothing but the namespace limits. */
	struct throttle_place free_place = {.hub_id = 9, .hub = "free", .partition = -1};
	sim_add(sim, &(struct sim_spec){.window = 300}, &free_place, 1);
	for (int i = 0; i < 20; i++) {
		sim_run(sim, SIM_S);
		if (i % 3 == 0) {
			sim_cancel(sim, 30);
		}
	}
	struct sim_scope *s = sim_scope(sim, THROTTLE_NAMESPACE, "");
	double part = (double)s->sum[THROTTLE_IN].amount[SIM_EVENTS] / 20.0 /
		      (double)s->limit.rate[THROTTLE_IN].events;
	sim_assert(sim, part >= 0.98, "%.2f %% of the namespace's rate", part * 100);
	sim_free(&sim);
}
END_TEST

Suite *properties_nested_suite(void)
{
	Suite *s = suite_create("properties nested");
	TCase *tc = tcase_create("nested");
	tcase_set_timeout(tc, CASE_TIMEOUT_S);
	tcase_add_test(tc, slow_hub_hurts_nobody_outside_it);
	tcase_add_test(tc, slow_lane_of_a_flow_leaves_its_others_alone);
	tcase_add_test(tc, each_partition_is_limited_by_itself);
	tcase_add_test(tc, policy_spans_hubs_and_publishers_do_not);
	tcase_add_loop_test(tc, random_trees_share_what_the_tightest_scopes_leave, 0, 16);
	tcase_add_loop_test(tc, random_trees_are_fair_to_requests_of_all_sizes, 0, 12);
	tcase_add_loop_test(tc, random_trees_are_never_exceeded_and_stay_used, 0, 12);
	suite_add_tcase(s, tc);
	return s;
}
