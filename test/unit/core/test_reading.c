/* Capacity of readers: delayed, never refused. */

#include <string.h>

#include "base/clock.h"
#include "test/unit/core/core_fix.h"

enum { MB = 1 << 20 };

static struct core_fix fix;
static struct throttle_flow *flow;
static struct core_client client;

static void setup(void)
{
	const struct core_options o = {
		.inflight_max_bytes = 256 << 20,
		.throttle_hold_ms = 100,
		.throttle_delay_ms = 100,
		.throttle_hold_bytes = MB,
	};
	core_fix_open_as(&fix, &o, &core_fix_quick);
	ck_assert_int_eq(core_flow_open(fix.core, "127.0.0.1:7", &flow), ERR_OK);
	client = (struct core_client){.flow = flow};
}

static void teardown(void)
{
	core_flow_close(&flow);
	core_fix_close(&fix);
}

struct turn {
	struct core_turn t;
	bool is_done;
	int64_t done_ns;
};

static void on_turn(struct msg *m)
{
	struct turn *t = (struct turn *)(void *)m;
	t->is_done = true;
	t->done_ns = clock_mono_ns();
}

static struct turn turn_of(void)
{
	return (struct turn){.t = {.reply_to = &fix.reply, .done = on_turn}};
}

static enum err await(struct turn *t)
{
	while (!t->is_done) {
		core_fix_wait(&fix);
	}
	return t->t.err;
}

static struct core_reader *open_reader(const struct core_client *who)
{
	struct core_address a;
	struct err_detail d = {""};
	struct core_reader *r = NULL;
	struct core_reader_options o = {.mailbox = &fix.reply, .client = *who};
	const char *address = "events/ConsumerGroups/$Default/Partitions/1";
	ck_assert_int_eq(core_resolve(fix.core, span_str(address), &a, &d), ERR_OK);
	ck_assert_int_eq(core_reader_open(fix.core, &a, &o, &r, &d), ERR_OK);
	return r;
}

static void limit_hub(uint64_t out_bytes)
{
	core_fix_limit(&fix, CATALOG_LIMIT_HUB, "events", 0, out_bytes);
	core_fix_await_limit(&fix, THROTTLE_HUB, "events", THROTTLE_OUT, out_bytes);
}

START_TEST(a_reader_is_delayed_however_long_it_takes)
{
	struct core_reader *r = open_reader(&client);
	ck_assert_uint_eq(core_reader_share(r).bytes, UINT64_MAX);
	limit_hub(MB);
	const struct throttle_cost cost = {MB, 10};
	ck_assert_uint_le(core_reader_share(r).bytes, MB);
	int64_t start_ns = clock_mono_ns();
	ck_assert(core_reader_take(r, &cost));
	ck_assert(!core_reader_take(r, &cost));
	struct turn t = turn_of();
	core_reader_wait(r, &cost, &t.t);
	ck_assert_int_eq(await(&t), ERR_OK);
	ck_assert_int_ge(t.done_ns - start_ns, 980000000);	/* hold and delay are 100 ms */
	core_reader_close(&r);
}
END_TEST

START_TEST(what_was_not_used_is_given_back)
{
	struct core_reader *r = open_reader(&client);
	limit_hub(MB);
	const struct throttle_cost cost = {MB, 10};
	int64_t start_ns = clock_mono_ns();
	for (int i = 0; i < 4; i++) {
		ck_assert(core_reader_take(r, &cost));
		core_reader_give(r, &cost);
	}
	ck_assert_int_lt(clock_mono_ns() - start_ns, 1000000000);
	core_reader_close(&r);
}
END_TEST

START_TEST(a_turn_outlives_its_reader)
{
	struct core_reader *r = open_reader(&client);
	limit_hub(4 * MB);
	const struct throttle_cost cost = {4 * MB, 10};
	const struct throttle_cost less = {MB, 10};
	ck_assert(core_reader_take(r, &cost));
	struct turn t = turn_of();
	core_reader_wait(r, &less, &t.t);
	core_reader_close(&r);
	core_flow_close(&flow);
	ck_assert_int_eq(await(&t), ERR_OK);
}
END_TEST

START_TEST(turns_come_back_when_waiting_ends)
{
	struct core_reader *r = open_reader(&client);
	limit_hub(MB);
	const struct throttle_cost cost = {MB, 10};
	ck_assert(core_reader_take(r, &cost));
	struct turn t = turn_of();
	struct turn late = turn_of();
	core_reader_wait(r, &cost, &t.t);
	core_stop_waiting(fix.core);
	core_reader_wait(r, &cost, &late.t);
	ck_assert_int_eq(await(&t), ERR_STOPPING);
	ck_assert_int_eq(await(&late), ERR_STOPPING);
	core_reader_close(&r);
}
END_TEST

START_TEST(nobody_s_account_costs_nothing)
{
	const struct core_client nobody = {0};
	struct core_reader *r = open_reader(&nobody);
	struct core_reading *all = NULL;
	struct core_address a;
	struct err_detail d;
	ck_assert_int_eq(core_resolve(fix.core, span_str("events"), &a, &d), ERR_OK);
	ck_assert_int_eq(core_reading_open(fix.core, &nobody, a.hub_id, &all), ERR_OK);
	core_fix_units(&fix, &(struct catalog_units){.units = 1});
	core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_OUT, 2 * MB);
	const struct throttle_cost cost = {100 * MB, 10};
	for (int i = 0; i < 3; i++) {
		ck_assert(core_reader_take(r, &cost));
		ck_assert(core_reading_take(all, 1, &cost));
	}
	core_reader_give(r, &cost);
	struct turn t = turn_of();
	core_reader_wait(r, &cost, &t.t);
	ck_assert_int_eq(await(&t), ERR_OK);
	t = turn_of();
	core_reading_wait(all, 2, &cost, &t.t);
	ck_assert_int_eq(await(&t), ERR_OK);
	ck_assert_int_eq(core_reading_estimate_ns(all, 1, &cost), 0);
	ck_assert_uint_eq(core_reading_share(all, 1).events, UINT64_MAX);
	core_reading_close(&all);
	core_reader_close(&r);
}
END_TEST

START_TEST(who_reads_many_partitions_is_limited_in_each)
{
	struct core_reading *r = NULL;
	struct core_address a;
	struct err_detail d;
	ck_assert_int_eq(core_reading_open(fix.core, &client, 999, &r), ERR_NOT_FOUND);
	ck_assert_int_eq(core_resolve(fix.core, span_str("events"), &a, &d), ERR_OK);
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "events", 0, MB);
	ck_assert_int_eq(core_reading_open(fix.core, &client, a.hub_id, &r), ERR_OK);
	ck_assert_uint_gt(core_reading_share(r, 1).bytes, 0);	/* its scope is there now */
	core_fix_await_limit(&fix, THROTTLE_PARTITION, "events", THROTTLE_OUT, MB);
	const struct throttle_cost cost = {MB, 10};
	ck_assert(core_reading_take(r, 1, &cost));
	ck_assert(!core_reading_take(r, 1, &cost));
	ck_assert(core_reading_take(r, 2, &cost));
	struct turn t = turn_of();
	core_reading_wait(r, 1, &cost, &t.t);
	ck_assert_int_eq(await(&t), ERR_OK);
	core_reading_close(&r);
}
END_TEST

Suite *reading_suite(void)
{
	Suite *s = suite_create("reading");
	TCase *t = tcase_create("reading");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_reader_is_delayed_however_long_it_takes);
	tcase_add_test(t, what_was_not_used_is_given_back);
	tcase_add_test(t, a_turn_outlives_its_reader);
	tcase_add_test(t, turns_come_back_when_waiting_ends);
	tcase_add_test(t, nobody_s_account_costs_nothing);
	tcase_add_test(t, who_reads_many_partitions_is_limited_in_each);
	suite_add_tcase(s, t);
	return s;
}
