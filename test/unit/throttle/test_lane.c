#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "test/unit/throttle/bed.h"
#include "test/unit/throttle/suites.h"

static struct throttle_lane *open_at(struct throttle_flow *f, const struct throttle_place *p)
{
	struct throttle_lane *l;
	ck_assert_int_eq(throttle_lane_open(f, THROTTLE_IN, p, &l), ERR_OK);
	return l;
}

START_TEST(lane_without_limit_is_never_stopped)
{
	struct bed b;
	bed_init(&b);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *l = bed_lane(f, "h", 0);
	for (int i = 0; i < 1000; i++) {
		ck_assert(bed_try(&b, l, 1 << 30, 1 << 20));
	}
	ck_assert_int_eq(throttle_estimate(l, &(struct throttle_cost){1, 1}, b.now_ns), 0);
	ck_assert_uint_eq(throttle_share(l).bytes, UINT64_MAX);
	ck_assert_uint_eq(throttle_share(l).events, UINT64_MAX);
	throttle_lane_close(&l);
	ck_assert_ptr_null(l);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

/* Which kinds of scope a rule reaches, and whom it leaves alone. */
static const struct {
	enum throttle_kind kind;
	const char *name;
	struct throttle_place in, out;
} reaches[] = {
	{THROTTLE_NAMESPACE, "", {1, "h", -1, NULL, NULL, NULL}, {0}},
	{THROTTLE_HUB, "Hub", {1, "hUB", 3, "p", "c", "x"}, {1, "hub2", 3, "p", "c", "x"}},
	{THROTTLE_HUB, "*", {1, "a", -1, NULL, NULL, NULL}, {0}},
	{THROTTLE_PARTITION, "hub", {1, "hub", 0, NULL, NULL, NULL}, {1, "hub", -1, NULL, NULL, NULL}},
	{THROTTLE_PARTITION, "*", {1, "hub", 7, NULL, NULL, NULL}, {1, "hub", -1, NULL, NULL, NULL}},
	{THROTTLE_POLICY, "Send", {1, "h", -1, "send", NULL, NULL}, {1, "h", -1, "h/send", NULL, NULL}},
	{THROTTLE_POLICY, "h/send", {1, "h", -1, "H/send", NULL, NULL}, {1, "h", -1, "send", NULL, NULL}},
	{THROTTLE_CLIENT, "App", {1, "h", -1, NULL, "App", NULL}, {1, "h", -1, NULL, "app", NULL}},
	{THROTTLE_CLIENT, "*", {1, "h", -1, NULL, "x", NULL}, {1, "h", -1, NULL, NULL, NULL}},
	{THROTTLE_PUBLISHER, "h", {1, "h", -1, NULL, NULL, "x"}, {1, "g", -1, NULL, NULL, "x"}},
};

START_TEST(rule_limits_the_lanes_of_its_scope_only)
{
	struct bed b;
	bed_init(&b);
	struct throttle_rule r = bed_rule(reaches[_i].kind, reaches[_i].name, 0, 10);
	bed_rules(&b, &r, 1);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *in = open_at(f, &reaches[_i].in);
	ck_assert_uint_eq(bed_drain(&b, in), 10);
	if (reaches[_i].out.hub != NULL) {
		struct throttle_lane *out = open_at(f, &reaches[_i].out);
		ck_assert(bed_try(&b, out, 1, 1000));
		throttle_lane_close(&out);
	}
	throttle_lane_close(&in);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

START_TEST(rule_of_its_own_goes_before_the_rule_of_each)
{
	struct bed b;
	bed_init(&b);
	const struct throttle_rule rules[] = {
		bed_rule(THROTTLE_HUB, "*", 0, 10), bed_rule(THROTTLE_HUB, "b", 0, 20),
		bed_rule(THROTTLE_HUB, "c", 0, 0),
	};
	bed_rules(&b, rules, 3);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *l[3] = {bed_lane(f, "a", 0), bed_lane(f, "b", 0), bed_lane(f, "c", 0)};
	ck_assert_uint_eq(bed_drain(&b, l[0]), 10);
	ck_assert_uint_eq(bed_drain(&b, l[1]), 20);
	ck_assert(bed_try(&b, l[2], 0, 1 << 20));
	for (int i = 0; i < 3; i++) {
		throttle_lane_close(&l[i]);
	}
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

START_TEST(tightest_scope_decides_and_nothing_is_taken_elsewhere)
{
	struct bed b;
	bed_init(&b);
	const struct throttle_rule rules[] = {
		bed_rule(THROTTLE_NAMESPACE, "", 1000, 100), bed_rule(THROTTLE_HUB, "a", 0, 30),
		bed_rule(THROTTLE_PARTITION, "a", 50, 0),
	};
	bed_rules(&b, rules, 3);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *a0 = bed_lane(f, "a", 0);
	struct throttle_lane *a1 = bed_lane(f, "a", 1);
	struct throttle_lane *other = bed_lane(f, "b", 0);
	ck_assert(!bed_try(&b, a0, 51, 1));
	ck_assert(bed_try(&b, a0, 50, 1));
	ck_assert(!bed_try(&b, a0, 1, 1));
	ck_assert_uint_eq(bed_drain(&b, a1), 29);
	ck_assert(!bed_try(&b, a0, 0, 1));
	ck_assert_uint_eq(bed_drain(&b, other), 70);
	throttle_lane_close(&a0);
	throttle_lane_close(&a1);
	throttle_lane_close(&other);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

START_TEST(lane_gives_back_to_all_its_scopes)
{
	struct bed b;
	bed_init(&b);
	const struct throttle_rule rules[] = {
		bed_rule(THROTTLE_NAMESPACE, "", 0, 100), bed_rule(THROTTLE_HUB, "a", 0, 50),
	};
	bed_rules(&b, rules, 2);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *a = bed_lane(f, "a", 0);
	struct throttle_lane *other = bed_lane(f, "b", 0);
	ck_assert(bed_try(&b, a, 7, 50));
	throttle_give(a, &(struct throttle_cost){5, 20}, b.now_ns);
	ck_assert_uint_eq(bed_drain(&b, a), 20);
	ck_assert_uint_eq(bed_drain(&b, other), 50);
	struct throttle_scope_info info = bed_info(&b, THROTTLE_HUB, "a");
	ck_assert_uint_eq(info.figures[THROTTLE_IN].admitted_events, 50);
	ck_assert_uint_eq(info.figures[THROTTLE_IN].admitted_bytes, 2);
	throttle_lane_close(&a);
	throttle_lane_close(&other);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

START_TEST(directions_are_limited_apart)
{
	struct bed b;
	bed_init(&b);
	struct throttle_rule r = {.kind = THROTTLE_NAMESPACE, .limit = throttle_units(1)};
	bed_rules(&b, &r, 1);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *out;
	const struct throttle_place p = {.hub_id = 1, .hub = "h", .partition = -1};
	ck_assert_int_eq(throttle_lane_open(f, THROTTLE_OUT, &p, &out), ERR_OK);
	struct throttle_lane *in = open_at(f, &p);
	ck_assert_uint_eq(bed_drain(&b, in), 1000);
	ck_assert_uint_eq(bed_drain(&b, out), 4096);
	throttle_lane_close(&in);
	throttle_lane_close(&out);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

START_TEST(scope_keeps_what_it_used_when_its_lanes_are_closed)
{
	struct bed b;
	bed_init(&b);
	struct throttle_rule r = bed_rule(THROTTLE_PUBLISHER, "h", 0, 10);
	bed_rules(&b, &r, 1);
	const struct throttle_place p = {.hub_id = 1, .hub = "h", .partition = -1, .publisher = "x"};
	for (int i = 0; i < 3; i++) {
		struct throttle_flow *f = bed_flow(&b, "f");
		struct throttle_lane *l = open_at(f, &p);
		ck_assert_uint_eq(bed_drain(&b, l), i == 0 ? 10 : 1);
		throttle_flow_close(&f);
		throttle_lane_close(&l);
		b.now_ns += BED_S / 10;
	}
	ck_assert_uint_eq(bed_info(&b, THROTTLE_PUBLISHER, "h/x").figures[THROTTLE_IN].admitted_events, 12);
	bed_fini(&b);
}
END_TEST

START_TEST(idle_scopes_go_after_minutes_and_beyond_a_number)
{
	struct bed b;
	bed_init(&b);
	struct throttle_rule r = bed_rule(THROTTLE_PUBLISHER, "*", 0, 10);
	bed_rules(&b, &r, 1);
	struct throttle_flow *f = bed_flow(&b, "f");
	char name[16];
	for (int i = 0; i < 6000; i++) {
		snprintf(name, sizeof name, "p%d", i);
		struct throttle_lane *l = open_at(f, &(struct throttle_place){
			.hub_id = 1, .hub = "h", .partition = -1, .publisher = name});
		ck_assert(bed_try(&b, l, 1, 1));
		throttle_lane_close(&l);
	}
	struct throttle_scope_info *list;
	size_t n;
	ck_assert_int_eq(throttle_list(b.t, false, &list, &n), ERR_OK);
	mem_free(list);
	ck_assert_uint_ge(n, 4000);
	ck_assert_uint_le(n, 4200);
	b.now_ns += 400 * BED_S;
	bed_run(&b);
	ck_assert_int_eq(throttle_list(b.t, false, &list, &n), ERR_OK);
	mem_free(list);
	ck_assert_uint_eq(n, 1);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

START_TEST(share_is_divided_among_those_that_wait)
{
	struct bed b;
	bed_init(&b);
	bed_limit(&b, 12000, 600);
	struct throttle_flow *f[3];
	struct throttle_lane *l[3];
	struct throttle_request r[3];
	for (int i = 0; i < 3; i++) {
		f[i] = bed_flow(&b, "f");
		l[i] = bed_lane(f[i], "h", 0);
	}
	ck_assert_uint_eq(throttle_share(l[0]).events, 600);
	ck_assert_uint_eq(bed_drain(&b, l[0]), 600);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(bed_ask(&b, l[i], &r[i], 1, 1, THROTTLE_ENDLESS).verdict, THROTTLE_WAIT);
	}
	ck_assert_uint_eq(throttle_share(l[0]).events, 300);
	ck_assert_uint_eq(throttle_share(l[0]).bytes, 6000);
	ck_assert_uint_eq(throttle_share(l[2]).events, 200);
	bed_run_until(&b, b.now_ns + BED_S);
	ck_assert_uint_eq(b.n, 2);
	ck_assert_uint_eq(throttle_share(l[0]).events, 600);
	for (int i = 0; i < 3; i++) {
		throttle_lane_close(&l[i]);
		throttle_flow_close(&f[i]);
	}
	bed_fini(&b);
}
END_TEST

START_TEST(short_memory_leaves_everything_as_it_was)
{
	struct bed b;
	bed_init(&b);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_rule r = bed_rule(THROTTLE_HUB, "h", 0, 10);
	const struct throttle_place p = {1, "h", 3, "p", "c", "x"};
	bool is_done = false;
	for (long n = 1; !is_done; n++) {
		struct throttle_lane *l = NULL;
		mem_fault_at(n);
		enum err e = throttle_lane_open(f, THROTTLE_IN, &p, &l);
		is_done = !mem_fault_fired();
		mem_fault_at(0);
		ck_assert(e == ERR_OK || e == ERR_NOMEM);
		if (e == ERR_OK) {
			throttle_lane_close(&l);
		}
	}
	mem_fault_at(1);
	ck_assert_int_eq(throttle_set_rules(b.t, &r, 1), ERR_NOMEM);
	mem_fault_at(1);
	struct throttle_flow *g;
	ck_assert_int_eq(throttle_flow_open(b.t, "g", &g), ERR_NOMEM);
	mem_fault_at(1);
	struct throttle_scope_info *list;
	size_t n;
	ck_assert_int_eq(throttle_list(b.t, false, &list, &n), ERR_NOMEM);
	for (long at = 1; at < 8; at++) {
		struct throttle *t = NULL;
		mem_fault_at(at);
		if (throttle_new(&(struct throttle_options){0}, &t) == ERR_OK) {
			throttle_free(&t);
		}
		mem_fault_at(0);
	}
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

Suite *lane_suite(void)
{
	Suite *s = suite_create("lane");
	TCase *t = tcase_create("lane");
	tcase_add_test(t, lane_without_limit_is_never_stopped);
	tcase_add_loop_test(t, rule_limits_the_lanes_of_its_scope_only, 0,
			    (int)(sizeof reaches / sizeof *reaches));
	tcase_add_test(t, rule_of_its_own_goes_before_the_rule_of_each);
	tcase_add_test(t, tightest_scope_decides_and_nothing_is_taken_elsewhere);
	tcase_add_test(t, lane_gives_back_to_all_its_scopes);
	tcase_add_test(t, directions_are_limited_apart);
	tcase_add_test(t, scope_keeps_what_it_used_when_its_lanes_are_closed);
	tcase_add_test(t, idle_scopes_go_after_minutes_and_beyond_a_number);
	tcase_add_test(t, share_is_divided_among_those_that_wait);
	tcase_add_test(t, short_memory_leaves_everything_as_it_was);
	suite_add_tcase(s, t);
	return s;
}
