/* Units and limits of the catalogue in force, growing and shrinking. */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "test/unit/core/core_fix.h"

enum { MB = 1 << 20 };

static struct core_fix fix;
static struct throttle_flow *flow;
static struct core_client client;

static void setup_at(const struct core_pace *pace)
{
	const struct core_options o = {
		.inflight_max_bytes = 256 << 20,
		.throttle_hold_ms = 20000,
		.throttle_delay_ms = 20000,
		.throttle_hold_bytes = 64 * MB,
	};
	core_fix_open_as(&fix, &o, pace);
	ck_assert_int_eq(core_flow_open(fix.core, "127.0.0.1:7", &flow), ERR_OK);
	client = (struct core_client){.flow = flow};
}

static void setup(void)
{
	setup_at(&core_fix_quick);
}

static void teardown(void)
{
	core_flow_close(&flow);
	core_fix_close(&fix);
}

static uint32_t units(void)
{
	const struct catalog *cat = core_catalog(fix.core);
	uint32_t n = cat->units.units;
	catalog_drop(&cat);
	return n;
}

static void await_units(uint32_t n)
{
	int64_t until_ns = clock_mono_ns() + INT64_C(5000000000);
	while (units() != n) {
		ck_assert_msg(clock_mono_ns() < until_ns, "%u units, not %u", units(), n);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
}

START_TEST(a_change_is_in_force_within_half_a_second)
{
	teardown();
	setup_at(&core_usual_pace);
	static const uint32_t each[] = {3, 1, 0, 2};
	for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
		core_fix_units(&fix, &(struct catalog_units){.units = each[i]});
		int64_t start_ns = clock_mono_ns();
		core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_IN, each[i] * (uint64_t)MB);
		ck_assert_int_lt(clock_mono_ns() - start_ns, 500000000);
	}
}
END_TEST

START_TEST(limits_are_in_force_from_the_first_moment)
{
	core_fix_units(&fix, &(struct catalog_units){.units = 2});
	core_flow_close(&flow);
	core_free(&fix.core);
	const struct core_options o = {.store = fix.store, .host = "h", .inflight_max_bytes = 1};
	ck_assert_int_eq(core_new(&o, &fix.core), ERR_OK);
	struct throttle_scope_info *v = NULL;
	size_t n = 0;
	ck_assert_int_eq(core_scopes(fix.core, &v, &n), ERR_OK);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(v[0].limit.rate[THROTTLE_OUT].events, 2 * 4096);
	mem_free(v);
}
END_TEST

START_TEST(units_grow_to_what_is_wanted_while_throttled)
{
	static struct core_fix_send x[12];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	core_fix_units(&fix, &(struct catalog_units){.units = 1, .inflate_max = 5});
	core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_IN, MB);
	for (int i = 0; i < 12; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, true);
	}
	await_units(5);
	const struct catalog *cat = core_catalog(fix.core);
	ck_assert_uint_eq(cat->units.base, 1);
	catalog_drop(&cat);
	for (int i = 0; i < 12; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	core_sender_close(&s);
}
END_TEST

START_TEST(units_stay_while_nobody_is_throttled)
{
	struct core_fix_send x;
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	core_fix_units(&fix, &(struct catalog_units){.units = 1, .inflate_max = 5});
	core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_IN, MB);
	core_fix_post(&fix, s, &x, -1, MB, true);
	ck_assert_int_eq(core_fix_done(&fix, &x), ERR_OK);
	nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL);
	ck_assert_uint_eq(units(), 1);
	core_sender_close(&s);
}
END_TEST

/* Limits below the namespace are no reason for more units. */
START_TEST(units_stay_while_only_a_hub_is_throttled)
{
	struct core_fix_send x[2];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	core_fix_units(&fix, &(struct catalog_units){.units = 4, .inflate_max = 5});
	core_fix_limit(&fix, CATALOG_LIMIT_HUB, "events", MB, 0);
	core_fix_await_limit(&fix, THROTTLE_HUB, "events", THROTTLE_IN, MB);
	for (int i = 0; i < 2; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, true);
	}
	ck_assert(x[1].a.is_held);
	ck_assert_int_eq(core_fix_done(&fix, &x[1]), ERR_OK);
	ck_assert_uint_eq(units(), 4);
	core_sender_close(&s);
}
END_TEST

START_TEST(grown_units_shrink_after_a_quiet_time)
{
	static struct core_fix_send x[6];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	core_fix_units(&fix, &(struct catalog_units){
				     .units = 2, .inflate_max = 4, .deflate_after_ms = 500});
	core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_IN, 2 * MB);
	for (int i = 0; i < 6; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, true);
	}
	await_units(4);
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	int64_t start_ns = clock_mono_ns();
	await_units(2);
	ck_assert_int_ge(clock_mono_ns() - start_ns, 300000000);
	core_sender_close(&s);
}
END_TEST

/* It begins when somebody asks for it, not when units grew. */
START_TEST(the_quiet_time_is_waited_for_from_when_it_is_set)
{
	static struct core_fix_send x[6];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	core_fix_units(&fix, &(struct catalog_units){.units = 2, .inflate_max = 4});
	core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_IN, 2 * MB);
	for (int i = 0; i < 6; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, true);
	}
	await_units(4);
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	nanosleep(&(struct timespec){.tv_nsec = 900000000}, NULL);
	const struct catalog_command cmd = {
		.op = CATALOG_UNITS_SET,
		.units_by = CATALOG_UNITS_BY_USER,
		.has_deflate_after = true,
		.units = {.deflate_after_ms = 800},
	};
	ck_assert_int_eq(core_fix_command(&fix, &cmd), ERR_OK);
	int64_t start_ns = clock_mono_ns();
	await_units(2);
	ck_assert_int_ge(clock_mono_ns() - start_ns, 600000000);
	core_sender_close(&s);
}
END_TEST

START_TEST(what_somebody_set_does_not_shrink)
{
	core_fix_units(&fix, &(struct catalog_units){
				     .units = 3, .inflate_max = 4, .deflate_after_ms = 100});
	nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
	ck_assert_uint_eq(units(), 3);
}
END_TEST

/* The core ends while its command may be at the store. */
START_TEST(the_core_may_end_while_units_change)
{
	static struct core_fix_send x[4];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	core_fix_units(&fix, &(struct catalog_units){.units = 1, .inflate_max = 5});
	core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_IN, MB);
	for (int i = 0; i < 4; i++) {
		core_fix_post(&fix, s, &x[i], -1, MB, true);
	}
	nanosleep(&(struct timespec){.tv_nsec = 20000000L * _i}, NULL);
	core_stop_waiting(fix.core);
	store_close(fix.store);
	for (int i = 0; i < 4; i++) {
		core_fix_done(&fix, &x[i]);
	}
	core_sender_close(&s);
}
END_TEST

Suite *units_suite(void)
{
	Suite *s = suite_create("units");
	TCase *t = tcase_create("units");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_change_is_in_force_within_half_a_second);
	tcase_add_test(t, limits_are_in_force_from_the_first_moment);
	tcase_add_test(t, units_grow_to_what_is_wanted_while_throttled);
	tcase_add_test(t, units_stay_while_nobody_is_throttled);
	tcase_add_test(t, units_stay_while_only_a_hub_is_throttled);
	tcase_add_test(t, grown_units_shrink_after_a_quiet_time);
	tcase_add_test(t, the_quiet_time_is_waited_for_from_when_it_is_set);
	tcase_add_test(t, what_somebody_set_does_not_shrink);
	tcase_add_loop_test(t, the_core_may_end_while_units_change, 0, 6);
	suite_add_tcase(s, t);
	return s;
}
