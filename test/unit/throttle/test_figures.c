#include <string.h>

#include "base/mem.h"
#include "test/unit/throttle/bed.h"
#include "test/unit/throttle/suites.h"

START_TEST(namespace_is_listed_first_and_without_a_limit)
{
	struct bed b;
	bed_init(&b);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *l = bed_lane(f, "h", 2);
	ck_assert(bed_try(&b, l, 100, 3));
	struct throttle_scope_info *list;
	size_t n;
	ck_assert_int_eq(throttle_list(b.t, false, &list, &n), ERR_OK);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(list[0].kind, THROTTLE_NAMESPACE);
	ck_assert_str_eq(list[0].name, "");
	ck_assert_uint_eq(list[0].limit.rate[THROTTLE_IN].bytes, 0);
	ck_assert_uint_eq(list[0].figures[THROTTLE_IN].admitted_requests, 1);
	ck_assert_uint_eq(list[0].figures[THROTTLE_IN].admitted_bytes, 100);
	ck_assert_uint_eq(list[0].figures[THROTTLE_IN].admitted_events, 3);
	ck_assert_str_eq(list[0].worst, "");
	mem_free(list);
	/* What was admitted before there was a limit counts. */
	const struct throttle_rule rules[] = {
		bed_rule(THROTTLE_HUB, "*", 5000, 0), bed_rule(THROTTLE_PARTITION, "h", 1, 7),
	};
	bed_rules(&b, rules, 2);
	ck_assert_uint_eq(bed_info(&b, THROTTLE_HUB, "h").figures[THROTTLE_IN].admitted_bytes, 100);
	struct throttle_scope_info part = bed_info(&b, THROTTLE_PARTITION, "h/2");
	ck_assert_uint_eq(part.limit.rate[THROTTLE_IN].events, 7);
	ck_assert_uint_eq(part.limit.rate[THROTTLE_OUT].events, 0);
	throttle_lane_close(&l);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

START_TEST(throttled_requests_count_where_they_were_held_up)
{
	struct bed b;
	bed_init(&b);
	const struct throttle_rule rules[] = {
		bed_rule(THROTTLE_NAMESPACE, "", 0, 1000), bed_rule(THROTTLE_HUB, "h", 0, 10),
	};
	bed_rules(&b, rules, 2);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *l = bed_lane(f, "h", 0);
	struct throttle_request r[3];
	ck_assert_uint_eq(bed_drain(&b, l), 10);
	ck_assert_int_eq(bed_ask(&b, l, &r[0], 70, 5, THROTTLE_IMPATIENT).verdict, THROTTLE_WAIT);
	ck_assert_int_eq(bed_ask(&b, l, &r[1], 30, 5, THROTTLE_IMPATIENT).verdict, THROTTLE_WAIT);
	ck_assert_int_eq(bed_ask(&b, l, &r[2], 9, 10, THROTTLE_IMPATIENT).verdict, THROTTLE_WAIT);
	ck_assert_int_eq(bed_ask(&b, l, &(struct throttle_request){0}, 3, 2, THROTTLE_IMPATIENT).verdict,
			 THROTTLE_REFUSE);
	struct throttle_scope_info info = bed_info(&b, THROTTLE_HUB, "h");
	const struct throttle_figures *fig = &info.figures[THROTTLE_IN];
	ck_assert_uint_eq(info.waiting_flows[THROTTLE_IN], 1);
	ck_assert_uint_eq(info.waiting_bytes[THROTTLE_IN], 109);
	ck_assert_uint_eq(fig->held_requests, 3);
	ck_assert_uint_eq(fig->refused_requests, 1);
	ck_assert_uint_eq(fig->throttled_bytes, 112);
	ck_assert_uint_eq(fig->throttled_events, 22);
	bed_run_until(&b, b.now_ns + 3 * BED_S);
	ck_assert_uint_eq(b.n, 3);
	info = bed_info(&b, THROTTLE_HUB, "h");
	ck_assert_uint_eq(info.waiting_flows[THROTTLE_IN], 0);
	ck_assert_uint_eq(info.waiting_bytes[THROTTLE_IN], 0);
	ck_assert_uint_eq(fig->admitted_requests, 13);
	ck_assert_uint_eq(fig->admitted_events, 30);
	ck_assert_uint_eq(fig->waited_ns, 3500 * BED_MS);
	ck_assert_uint_eq(bed_info(&b, THROTTLE_NAMESPACE, "").figures[THROTTLE_IN].held_requests, 0);
	ck_assert_uint_eq(bed_info(&b, THROTTLE_NAMESPACE, "").figures[THROTTLE_IN].admitted_events, 30);
	throttle_lane_close(&l);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

START_TEST(worst_is_who_was_throttled_most_since_the_last_time)
{
	struct bed b;
	bed_init(&b);
	bed_limit(&b, 0, 10);
	struct throttle_flow *good = bed_flow(&b, "10.0.0.1:1");
	struct throttle_flow *bad = bed_flow(&b, "10.0.0.2:2");
	struct throttle_lane *l = bed_lane(good, "h", 0);
	struct throttle_lane *k = bed_lane(bad, "h", 0);
	struct throttle_request r[4];
	ck_assert_uint_eq(bed_drain(&b, l), 10);
	ck_assert_int_eq(bed_ask(&b, l, &r[0], 1, 1, THROTTLE_ENDLESS).verdict, THROTTLE_WAIT);
	for (int i = 1; i < 4; i++) {
		ck_assert_int_eq(bed_ask(&b, k, &r[i], 1, 1, THROTTLE_ENDLESS).verdict, THROTTLE_WAIT);
	}
	bed_run_until(&b, b.now_ns + BED_S);
	struct throttle_scope_info info = bed_info(&b, THROTTLE_NAMESPACE, "");
	ck_assert_str_eq(info.worst, "10.0.0.2:2");
	ck_assert_uint_eq(info.worst_percent, 75);
	/* Also when it has gone. */
	throttle_lane_close(&k);
	throttle_flow_close(&bad);
	info = bed_info(&b, THROTTLE_NAMESPACE, "");
	ck_assert_str_eq(info.worst, "10.0.0.2:2");
	ck_assert_uint_eq(info.worst_percent, 75);
	struct throttle_scope_info *list;
	size_t n;
	ck_assert_int_eq(throttle_list(b.t, true, &list, &n), ERR_OK);
	ck_assert_str_eq(list[0].worst, "10.0.0.2:2");
	mem_free(list);
	info = bed_info(&b, THROTTLE_NAMESPACE, "");
	ck_assert_str_eq(info.worst, "");
	ck_assert_uint_eq(info.worst_percent, 0);
	throttle_lane_close(&l);
	throttle_flow_close(&good);
	bed_fini(&b);
}
END_TEST

START_TEST(counters_of_lists_never_go_down)
{
	struct bed b;
	bed_init(&b);
	struct throttle_flow *f = bed_flow(&b, "f");
	struct throttle_lane *l = bed_lane(f, "h", 0);
	const struct throttle_cost some = {80, 8};
	ck_assert(bed_try(&b, l, 100, 10));
	ck_assert_uint_eq(bed_info(&b, THROTTLE_NAMESPACE, "").figures[THROTTLE_IN].admitted_bytes, 100);
	throttle_give(l, &some, b.now_ns);
	ck_assert_uint_eq(bed_info(&b, THROTTLE_NAMESPACE, "").figures[THROTTLE_IN].admitted_bytes, 100);
	ck_assert(bed_try(&b, l, 90, 9));
	throttle_lane_close(&l);
	ck_assert_uint_eq(bed_info(&b, THROTTLE_NAMESPACE, "").figures[THROTTLE_IN].admitted_bytes, 110);
	ck_assert_uint_eq(bed_info(&b, THROTTLE_NAMESPACE, "").figures[THROTTLE_IN].admitted_events, 11);
	throttle_flow_close(&f);
	bed_fini(&b);
}
END_TEST

Suite *figures_suite(void)
{
	Suite *s = suite_create("figures");
	TCase *t = tcase_create("figures");
	tcase_add_test(t, namespace_is_listed_first_and_without_a_limit);
	tcase_add_test(t, throttled_requests_count_where_they_were_held_up);
	tcase_add_test(t, worst_is_who_was_throttled_most_since_the_last_time);
	tcase_add_test(t, counters_of_lists_never_go_down);
	suite_add_tcase(s, t);
	return s;
}
