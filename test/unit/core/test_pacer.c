/* Sends and readers that wait for capacity. */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "test/unit/core/core_fix.h"

enum { MB = 1 << 20 };

static struct core_fix fix;
static struct throttle_flow *flow;
static struct core_client client;

static void setup_hold(int64_t hold_ms, size_t hold_bytes)
{
	const struct core_options o = {
		.inflight_max_bytes = 256 << 20,
		.throttle_hold_ms = hold_ms,
		.throttle_delay_ms = 10000,
		.throttle_hold_bytes = hold_bytes,
	};
	core_fix_open_as(&fix, &o, &core_fix_quick);
	ck_assert_int_eq(core_flow_open(fix.core, "127.0.0.1:7", &flow), ERR_OK);
	client = (struct core_client){.flow = flow, .policy = "RootManageSharedAccessKey"};
}

static void setup(void)
{
	setup_hold(2000, 64 * MB);
}

static void teardown(void)
{
	core_flow_close(&flow);
	core_fix_close(&fix);
}

/* One unit: 1 MB a second, and as much at once after a pause. */
static void one_unit(void)
{
	core_fix_units(&fix, &(struct catalog_units){.units = 1});
	core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_IN, MB);
}

START_TEST(a_send_over_the_limit_is_held_just_long_enough)
{
	struct core_fix_send x[2];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	one_unit();
	int64_t held = metric_get(METRIC_REQUESTS_THROTTLED);
	uint64_t latencies = hist_sum(metric_ack_latency());
	int64_t start_ns = clock_mono_ns();
	core_fix_post(&fix, s, &x[0], -1, MB, false);
	ck_assert(!x[0].a.is_held);
	core_fix_post(&fix, s, &x[1], -1, MB / 2, false);
	ck_assert(x[1].a.is_held);
	ck_assert_int_eq(core_fix_done(&fix, &x[0]), ERR_OK);
	ck_assert_int_eq(core_fix_done(&fix, &x[1]), ERR_OK);
	/* What the throttle had used before the limit was set does not count. */
	ck_assert_int_ge(x[1].done_ns - start_ns, 490000000);
	ck_assert_int_lt(x[1].done_ns - start_ns, 1900000000);
	ck_assert_int_ge(x[1].a.waited_ns, 480000000);
	ck_assert_int_eq(x[1].a.decision.verdict, THROTTLE_ADMIT);
	ck_assert_int_eq(metric_get(METRIC_REQUESTS_THROTTLED) - held, 1);
	/* The wait is no latency of the store. */
	ck_assert_uint_lt(hist_sum(metric_ack_latency()) - latencies, 480000000);
	core_sender_close(&s);
}
END_TEST

START_TEST(a_send_that_would_wait_too_long_is_refused_with_the_reason)
{
	struct core_fix_send x[5];
	struct core_sender *s = core_fix_sender(&fix, "events/Partitions/0", &client);
	one_unit();
	for (int i = 0; i < 5; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB - MB / 16, false);
	}
	/* One at once, two within the hold time (the second after 1.8 s), the rest not. */
	ck_assert_int_eq(core_fix_done(&fix, &x[4]), ERR_BUSY);
	ck_assert(!x[2].is_done);
	ck_assert_int_eq(x[4].a.decision.verdict, THROTTLE_REFUSE);
	ck_assert_int_eq(x[4].a.decision.reason.kind, THROTTLE_NAMESPACE);
	ck_assert_uint_gt(x[4].a.decision.wait_ms, 1000);
	ck_assert_ptr_null(x[4].a.op.batch);
	char text[512];
	core_busy_text(&x[4].a.decision, text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, "Error code : 50002. The namespace's limit of"));
	ck_assert_ptr_nonnull(strstr(text, " is reached. Please wait "));
	ck_assert_int_eq(core_fix_done(&fix, &x[3]), ERR_BUSY);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	struct store_position pos;
	struct core_address a;
	struct err_detail d;
	ck_assert_int_eq(core_resolve(fix.core, span_str("events"), &a, &d), ERR_OK);
	ck_assert_int_eq(core_position(fix.core, a.hub_id, 0, &pos), ERR_OK);
	ck_assert_int_eq(pos.next_seq, 3);	/* what was refused is not there */
	core_sender_close(&s);
}
END_TEST

START_TEST(a_patient_send_waits_longer)
{
	struct core_fix_send x[4];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	one_unit();
	for (int i = 0; i < 4; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, true);
	}
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	ck_assert_int_ge(x[3].a.waited_ns, 2400000000);
	core_sender_close(&s);
}
END_TEST

START_TEST(sends_to_a_partition_keep_their_order)
{
	enum { N = 60 };
	static struct core_fix_send x[N];
	struct core_sender *s = core_fix_sender(&fix, "events/Partitions/1", &client);
	one_unit();
	for (int i = 0; i < N; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB / 30, false);
		if (i % 7 == 0) {
			core_fix_done(&fix, &x[i / 2]);
		}
	}
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
		ck_assert_int_eq(x[i].a.op.base_seq, i);
	}
	core_sender_close(&s);
}
END_TEST

START_TEST(memory_for_those_that_wait_is_bounded)
{
	teardown();
	setup_hold(60000, 2 * MB);
	struct core_fix_send x[4];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	one_unit();
	for (int i = 0; i < 4; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, false);
	}
	ck_assert_int_eq(core_fix_done(&fix, &x[3]), ERR_BUSY);
	ck_assert(x[3].a.decision.reason.by_memory);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	core_sender_close(&s);
}
END_TEST

START_TEST(a_sender_may_end_while_its_sends_wait)
{
	struct core_fix_send x[3];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	one_unit();
	for (int i = 0; i < 3; i++) {
		core_fix_post(&fix, s, &x[i], -1, i == 0 ? MB : MB / 8, false);
	}
	core_sender_close(&s);
	core_flow_close(&flow);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
}
END_TEST

START_TEST(a_hub_may_go_while_sends_to_it_wait)
{
	struct core_fix_send x[2];
	struct core_sender *s = core_fix_sender(&fix, "a/b", &client);
	one_unit();
	core_fix_post(&fix, s, &x[0], -1, MB, false);
	core_fix_post(&fix, s, &x[1], -1, MB / 4, false);
	ck_assert_int_eq(core_fix_done(&fix, &x[0]), ERR_OK);
	struct catalog_command del = {.op = CATALOG_HUB_DELETE, .hub = "a/b"};
	ck_assert_int_eq(core_fix_command(&fix, &del), ERR_OK);
	ck_assert_int_eq(core_fix_done(&fix, &x[1]), ERR_NOT_FOUND);
	core_sender_close(&s);
}
END_TEST

START_TEST(nobody_s_account_is_never_throttled)
{
	struct core_fix_send x[3];
	struct core_sender *s = core_fix_sender(&fix, "events", NULL);
	one_unit();
	for (int i = 0; i < 3; i++) {
		core_fix_post(&fix, s, &x[i], -1, 10 * MB, false);
		ck_assert(!x[i].a.is_held);
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	ck_assert_uint_eq(core_sender_window(s), UINT32_MAX);
	const struct throttle_cost cost = {MB, 1};
	ck_assert_int_eq(core_sender_estimate_ns(s, -1, &cost), 0);
	core_sender_close(&s);
}
END_TEST

START_TEST(a_raised_limit_lets_go_what_waits)
{
	struct core_fix_send x[3];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	one_unit();
	for (int i = 0; i < 3; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, true);
	}
	int64_t start_ns = clock_mono_ns();
	core_fix_units(&fix, &(struct catalog_units){.units = 0});
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	ck_assert_int_lt(clock_mono_ns() - start_ns, 1000000000);
	core_sender_close(&s);
}
END_TEST

START_TEST(what_waits_comes_back_when_waiting_ends)
{
	struct core_fix_send x[4];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	one_unit();
	for (int i = 0; i < 3; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, true);
	}
	ck_assert_int_eq(core_fix_done(&fix, &x[0]), ERR_OK);
	core_stop_waiting(fix.core);
	ck_assert_int_eq(core_fix_done(&fix, &x[1]), ERR_STOPPING);
	ck_assert_int_eq(core_fix_done(&fix, &x[2]), ERR_STOPPING);
	core_fix_post(&fix, s, &x[3], -1, 8 * MB, true);
	ck_assert_int_eq(core_fix_done(&fix, &x[3]), ERR_STOPPING);
	core_sender_close(&s);
}
END_TEST

/* A front end that is closed while sends wait: nothing of them is left anywhere. */
START_TEST(the_core_may_end_while_sends_wait)
{
	struct core_fix_send x[3];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	one_unit();
	for (int i = 0; i < 3; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, true);
	}
	core_stop_waiting(fix.core);
	store_close(fix.store);
	for (int i = 0; i < 3; i++) {
		core_fix_done(&fix, &x[i]);
	}
	core_sender_close(&s);
}
END_TEST

/* What is beyond the burst is paid afterwards; nobody has to wait for that. */
START_TEST(everything_may_end_while_a_large_send_is_paid_for)
{
	struct core_fix_send x[2];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	one_unit();
	core_fix_post(&fix, s, &x[0], -1, 8 * MB, true);
	ck_assert_int_eq(core_fix_done(&fix, &x[0]), ERR_OK);
	core_fix_post(&fix, s, &x[1], -1, MB, true);
	if (_i == 1) {
		core_stop_waiting(fix.core);
	}
	core_fix_done(&fix, &x[1]);
	ck_assert_int_eq(x[1].err, _i == 1 ? ERR_STOPPING : ERR_OK);
	core_sender_close(&s);
}
END_TEST

/* 64 sends of 16 KB are what a second, half of the hold time, serves at 1 MB a second. */
START_TEST(the_window_follows_the_share)
{
	static struct core_fix_send x[64];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	ck_assert_uint_eq(core_sender_window(s), UINT32_MAX);
	one_unit();
	core_fix_post(&fix, s, &x[0], -1, MB, true);
	for (int i = 1; i < 64; i++) {
		core_fix_post(&fix, s, &x[i], -1, 4096 * 4, true);
	}
	/* The scheduler tells its estimates when it has run. */
	uint32_t window = UINT32_MAX;
	for (int i = 1; i < 32 && window == UINT32_MAX; i++) {
		core_fix_done(&fix, &x[i]);
		window = core_sender_window(s);
	}
	ck_assert_uint_ge(window, 32);
	ck_assert_uint_le(window, 80);
	for (int i = 0; i < 64; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	core_sender_close(&s);
}
END_TEST

/* ---- who is limited -------------------------------------------------------------------- */

static const struct {
	const char *label;
	enum catalog_limit_kind kind;
	enum throttle_kind scope;
	const char *name;
	const char *address;
	const char *other;	/* an address that the limit does not cover */
	struct core_client client;
	struct core_client other_client;
} limits[] = {
	{"hub", CATALOG_LIMIT_HUB, THROTTLE_HUB, "events", "events", "a/b", {0}, {0}},
	{"partition", CATALOG_LIMIT_PARTITION, THROTTLE_PARTITION, "events", "events/Partitions/2",
	 "events/Partitions/1", {0}, {0}},
	{"policy", CATALOG_LIMIT_POLICY, THROTTLE_POLICY, "one", "events", "events",
	 {.policy = "one"}, {.policy = "two"}},
	{"hub's policy", CATALOG_LIMIT_POLICY, THROTTLE_POLICY, "events/one", "events", "events",
	 {.policy = "one", .policy_hub = "events"}, {.policy = "one"}},
	{"client", CATALOG_LIMIT_CLIENT, THROTTLE_CLIENT, "c1", "events", "events",
	 {.client_id = "c1"}, {.client_id = "c2"}},
	{"publisher", CATALOG_LIMIT_PUBLISHER, THROTTLE_PUBLISHER, "events", "events/Publishers/p",
	 "events/Publishers/q", {0}, {0}},
};

START_TEST(each_kind_of_limit_holds_for_whom_it_names)
{
	struct core_fix_send x[2];
	struct core_fix_send y;
	struct core_client who = limits[_i].client;
	struct core_client other = limits[_i].other_client;
	who.flow = flow;
	other.flow = flow;
	struct core_sender *s = core_fix_sender(&fix, limits[_i].address, &who);
	struct core_sender *o = core_fix_sender(&fix, limits[_i].other, &other);
	core_fix_limit(&fix, limits[_i].kind, limits[_i].name, MB, 0);
	core_fix_await_limit(&fix, limits[_i].scope, limits[_i].name, THROTTLE_IN, MB);
	core_fix_post(&fix, s, &x[0], -1, MB, true);
	core_fix_post(&fix, s, &x[1], -1, MB / 2, true);
	ck_assert_msg(x[1].a.is_held, "%s", limits[_i].label);
	core_fix_post(&fix, o, &y, -1, MB, true);
	ck_assert_msg(!y.a.is_held, "%s", limits[_i].label);
	ck_assert_int_eq(core_fix_done(&fix, &y), ERR_OK);
	ck_assert_int_eq(core_fix_done(&fix, &x[0]), ERR_OK);
	ck_assert_int_eq(core_fix_done(&fix, &x[1]), ERR_OK);
	ck_assert_int_ge(x[1].a.waited_ns, 450000000);
	core_fix_limit(&fix, limits[_i].kind, limits[_i].name, 0, 0);
	core_fix_await_limit(&fix, limits[_i].scope, limits[_i].name, THROTTLE_IN, 0);
	core_fix_post(&fix, s, &x[0], -1, 8 * MB, true);
	ck_assert(!x[0].a.is_held);
	ck_assert_int_eq(core_fix_done(&fix, &x[0]), ERR_OK);
	core_sender_close(&s);
	core_sender_close(&o);
}
END_TEST

Suite *pacer_suite(void)
{
	Suite *s = suite_create("pacer");
	TCase *t = tcase_create("waiting");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_send_over_the_limit_is_held_just_long_enough);
	tcase_add_test(t, a_send_that_would_wait_too_long_is_refused_with_the_reason);
	tcase_add_test(t, a_patient_send_waits_longer);
	tcase_add_test(t, sends_to_a_partition_keep_their_order);
	tcase_add_test(t, memory_for_those_that_wait_is_bounded);
	tcase_add_test(t, a_sender_may_end_while_its_sends_wait);
	tcase_add_test(t, a_hub_may_go_while_sends_to_it_wait);
	tcase_add_test(t, nobody_s_account_is_never_throttled);
	tcase_add_test(t, a_raised_limit_lets_go_what_waits);
	tcase_add_test(t, what_waits_comes_back_when_waiting_ends);
	tcase_add_test(t, the_core_may_end_while_sends_wait);
	tcase_add_loop_test(t, everything_may_end_while_a_large_send_is_paid_for, 0, 2);
	tcase_add_test(t, the_window_follows_the_share);
	tcase_add_loop_test(t, each_kind_of_limit_holds_for_whom_it_names, 0,
			    (int)(sizeof limits / sizeof *limits));
	suite_add_tcase(s, t);
	return s;
}
