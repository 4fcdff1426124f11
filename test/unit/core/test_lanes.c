/* Lanes by hub and by partition, and the order of sends while they change. */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "gateway/core/lanes.h"
#include "test/unit/core/core_fix.h"

enum { MB = 1 << 20 };

static struct core_fix fix;
static struct throttle_flow *flow;
static struct core_client client;

static void setup(void)
{
	const struct core_options o = {
		.inflight_max_bytes = 256 << 20,
		.throttle_hold_ms = 20000,
		.throttle_delay_ms = 20000,
		.throttle_hold_bytes = 64 * MB,
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

/* ---- which lane ---------------------------------------------------------------------- */

static void open_lanes(struct core_lanes *l, int64_t partition)
{
	const struct catalog *cat = core_catalog(fix.core);
	*l = (struct core_lanes){0};
	ck_assert_int_eq(core_lanes_open(l, &client, THROTTLE_IN,
					 catalog_hub_find(cat, span_str("events")), partition, NULL),
			 ERR_OK);
	catalog_drop(&cat);
}

static void look(struct core_lanes *l)
{
	const struct catalog *cat = core_catalog(fix.core);
	core_lanes_refresh(l, cat);
	catalog_drop(&cat);
}

static struct core_lane *pick(struct core_lanes *l, int64_t partition, struct core_lane **after)
{
	struct core_lane *lane = NULL;
	ck_assert_int_eq(core_lanes_pick(l, partition, &lane, after), ERR_OK);
	ck_assert_ptr_nonnull(lane);
	return lane;
}

START_TEST(partitions_have_lanes_while_limits_of_partitions_cover_the_hub)
{
	struct core_lanes l;
	open_lanes(&l, -1);
	ck_assert_ptr_eq(pick(&l, 0, NULL), pick(&l, 3, NULL));
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "a/b", MB, 0);
	look(&l);
	ck_assert_ptr_eq(pick(&l, 0, NULL), pick(&l, 3, NULL));
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, _i == 0 ? "EVENTS" : "*", MB, 0);
	look(&l);
	ck_assert_ptr_ne(pick(&l, 0, NULL), pick(&l, 3, NULL));
	ck_assert_ptr_ne(pick(&l, 0, NULL), pick(&l, -1, NULL));
	ck_assert_ptr_eq(pick(&l, 2, NULL), pick(&l, 2, NULL));
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, _i == 0 ? "EVENTS" : "*", 0, 0);
	look(&l);
	ck_assert_ptr_eq(pick(&l, 0, NULL), pick(&l, 3, NULL));
	look(&l);
	ck_assert_uint_eq(l.n_parts, 0);
	core_lanes_close(&l);
}
END_TEST

START_TEST(lanes_of_partitions_that_rest_do_not_pile_up)
{
	struct core_lanes l;
	struct core_lane *busy[2];
	open_lanes(&l, -1);
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "events", MB, 0);
	look(&l);
	for (int i = 0; i < 2; i++) {
		busy[i] = pick(&l, i * 100, NULL);
		core_lane_defer(busy[i]);
	}
	for (int64_t p = 0; p < 5 * CORE_LANES_PARTS; p++) {
		(void)pick(&l, p, NULL);
		ck_assert_uint_le(l.n_open, CORE_LANES_PARTS);
	}
	for (int i = 0; i < 2; i++) {
		ck_assert_ptr_eq(pick(&l, i * 100, NULL), busy[i]);
		ck_assert(core_lane_settle(busy[i]));
		core_lane_drop(&busy[i]);
	}
	core_lanes_close(&l);
}
END_TEST

START_TEST(a_fixed_partition_has_one_lane)
{
	struct core_lanes l;
	open_lanes(&l, 2);
	struct core_lane *before = pick(&l, 2, NULL);
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "events", MB, 0);
	look(&l);
	ck_assert_ptr_eq(pick(&l, 2, NULL), before);
	core_lanes_close(&l);
}
END_TEST

/* The thread of the pacer is not needed for this: deferred and settled by hand. */
START_TEST(a_new_lane_follows_the_old_one_and_never_both_ways)
{
	struct core_lanes l;
	struct core_lane *after = NULL;
	open_lanes(&l, -1);
	struct core_lane *hub = pick(&l, 1, &after);
	ck_assert_ptr_null(after);
	core_lane_defer(hub);
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "events", MB, 0);
	look(&l);
	struct core_lane *part = pick(&l, 1, &after);
	ck_assert_ptr_ne(part, hub);
	ck_assert_ptr_eq(after, hub);
	core_lane_defer(part);
	/* Back only when nothing follows the hub's lane any more. */
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "events", 0, 0);
	look(&l);
	ck_assert_ptr_eq(pick(&l, 1, &after), part);
	ck_assert(core_lane_settle(hub));
	struct core_lane *held = hub;
	core_lane_drop(&held);
	look(&l);
	ck_assert_ptr_eq(pick(&l, 1, &after), hub);
	ck_assert_ptr_eq(after, part);
	ck_assert_ptr_eq(pick(&l, 2, &after), hub);
	ck_assert_ptr_null(after);
	/* And not split again while something follows the partition's. */
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "events", MB, 0);
	look(&l);
	ck_assert_ptr_eq(pick(&l, 1, &after), hub);
	ck_assert(core_lane_settle(part));
	held = part;
	core_lane_drop(&held);
	look(&l);
	ck_assert_ptr_ne(pick(&l, 1, &after), hub);
	ck_assert_ptr_null(after);
	core_lanes_close(&l);
}
END_TEST

START_TEST(long_names_are_cut_and_none_are_left_out)
{
	char id[2 * THROTTLE_NAME_MAX];
	memset(id, 'x', sizeof id - 1);
	id[sizeof id - 1] = '\0';
	client.client_id = id;
	client.policy = "";
	client.policy_hub = "events";
	struct core_lanes l;
	open_lanes(&l, -1);
	ck_assert_uint_eq(strlen(l.client), THROTTLE_NAME_MAX - 1);
	ck_assert_ptr_null(l.policy);
	core_lanes_close(&l);
	client.policy = "p";
	open_lanes(&l, -1);
	ck_assert_str_eq(l.policy, "events/p");
	core_lanes_close(&l);
}
END_TEST

/* ---- order --------------------------------------------------------------------------- */

/* A sender that always has something waiting, while limits of partitions come and go:
 * what it sends to each partition is stored in its order, and the limit holds. */
START_TEST(order_holds_while_lanes_change_under_load)
{
	enum { N = 400, PARTS = 4, AHEAD = 40 };
	static struct core_fix_send x[N];
	core_fix_limit(&fix, CATALOG_LIMIT_HUB, "events", 4 * MB, 0);
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	core_fix_await_limit(&fix, THROTTLE_HUB, "events", THROTTLE_IN, 4 * MB);
	bool is_limited = false;
	for (int i = 0; i < N; i++) {
		core_fix_post(&fix, s, &x[i], i % PARTS, MB / 16, true);
		if (i >= AHEAD) {
			ck_assert_int_eq(core_fix_done(&fix, &x[i - AHEAD]), ERR_OK);
		}
		if (i % 60 == 59) {
			is_limited = !is_limited;
			core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "events",
				       is_limited ? 3 * MB : 0, 0);
		}
	}
	int64_t next[PARTS] = {0};
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
		ck_assert_int_eq(x[i].a.op.base_seq, next[i % PARTS]++);
	}
	core_sender_close(&s);
}
END_TEST

/* Saturated senders see a new limit of partitions, too. */
START_TEST(a_limit_of_partitions_reaches_a_sender_that_never_rests)
{
	enum { N = 160, AHEAD = 24 };
	static struct core_fix_send x[N];
	core_fix_limit(&fix, CATALOG_LIMIT_HUB, "events", 4 * MB, 0);
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	core_fix_await_limit(&fix, THROTTLE_HUB, "events", THROTTLE_IN, 4 * MB);
	for (int i = 0; i < N; i++) {
		core_fix_post(&fix, s, &x[i], 0, MB / 16, true);
		if (i >= AHEAD) {
			ck_assert_int_eq(core_fix_done(&fix, &x[i - AHEAD]), ERR_OK);
		}
		if (i == 70) {
			core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "events", MB, 0);
		}
	}
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
	}
	/* The last MB went at the partition's pace, not at the hub's. */
	ck_assert_int_ge(x[N - 1].done_ns - x[N - 17].done_ns, 800000000);
	core_sender_close(&s);
}
END_TEST

Suite *lanes_suite(void)
{
	Suite *s = suite_create("lanes");
	TCase *t = tcase_create("lanes");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, partitions_have_lanes_while_limits_of_partitions_cover_the_hub, 0, 2);
	tcase_add_test(t, lanes_of_partitions_that_rest_do_not_pile_up);
	tcase_add_test(t, a_fixed_partition_has_one_lane);
	tcase_add_test(t, a_new_lane_follows_the_old_one_and_never_both_ways);
	tcase_add_test(t, long_names_are_cut_and_none_are_left_out);
	tcase_add_test(t, order_holds_while_lanes_change_under_load);
	tcase_add_test(t, a_limit_of_partitions_reaches_a_sender_that_never_rests);
	suite_add_tcase(s, t);
	return s;
}
