#include <check.h>
#include <stddef.h>
#include <string.h>

#include "fixture.h"
#include "gateway/net/wheel.h"

enum { NODES = 3, LONG_MS = 200000 };

static struct wheel wheel;
static struct wheel_node node[NODES];
static int fired[NODES];
static int64_t fired_at[NODES];
static int64_t rearm_ms;

static void on_due(struct wheel_node *n, int64_t now_ms)
{
	ptrdiff_t i = n - node;
	ck_assert(n->due_ms <= now_ms);
	fired[i]++;
	fired_at[i] = now_ms;
	if (rearm_ms > 0) {
		wheel_set(&wheel, n, now_ms + rearm_ms);
	}
}

static void setup(void)
{
	memset(node, 0, sizeof node);
	memset(fired, 0, sizeof fired);
	rearm_ms = 0;
	wheel_init(&wheel, 1000);
}

static void run_to(int64_t from_ms, int64_t to_ms)
{
	for (int64_t t = from_ms; t <= to_ms; t += 50) {
		wheel_run(&wheel, t, on_due);
	}
}

START_TEST(deadline_fires_once_never_early_and_within_a_slot)
{
	static const int64_t due[] = {1001, 1099, 1100, 1350, 5000, 52000, LONG_MS};
	wheel_set(&wheel, &node[0], due[_i]);
	run_to(1000, due[_i] + 300);
	ck_assert_int_eq(fired[0], 1);
	ck_assert_int_ge(fired_at[0], due[_i]);
	ck_assert_int_le(fired_at[0], due[_i] + WHEEL_SLOT_MS);
}
END_TEST

START_TEST(deadline_in_the_past_fires_at_the_next_slot)
{
	wheel_set(&wheel, &node[0], 5);
	run_to(1000, 1100);
	ck_assert_int_eq(fired[0], 1);
}
END_TEST

START_TEST(deadline_moved_later_fires_at_the_later_time)
{
	wheel_set(&wheel, &node[0], 1200);
	wheel_set(&wheel, &node[0], 3000);
	run_to(1000, 2950);
	ck_assert_int_eq(fired[0], 0);
	run_to(3000, 3100);
	ck_assert_int_eq(fired[0], 1);
}
END_TEST

START_TEST(deadline_moved_earlier_fires_at_the_earlier_time)
{
	wheel_set(&wheel, &node[0], 30000);
	wheel_set(&wheel, &node[0], 1500);
	run_to(1000, 1600);
	ck_assert_int_eq(fired[0], 1);
}
END_TEST

START_TEST(deadline_switched_off_or_removed_does_not_fire)
{
	wheel_set(&wheel, &node[0], 1200);
	wheel_set(&wheel, &node[0], INT64_MAX);
	wheel_set(&wheel, &node[1], 1200);
	wheel_remove(&node[1]);
	wheel_set(&wheel, &node[2], 1200);
	run_to(1000, 2000);
	ck_assert_int_eq(fired[0], 0);
	ck_assert_int_eq(fired[1], 0);
	ck_assert_int_eq(fired[2], 1);
}
END_TEST

START_TEST(deadline_armed_again_while_firing_repeats)
{
	rearm_ms = 100;
	wheel_set(&wheel, &node[0], 1100);
	run_to(1000, 2000);
	ck_assert_int_eq(fired[0], 10);
}
END_TEST

START_TEST(long_pause_fires_everything_that_came_due)
{
	wheel_set(&wheel, &node[0], 1500);
	wheel_set(&wheel, &node[1], 40000);
	wheel_set(&wheel, &node[2], 2 * LONG_MS);
	wheel_run(&wheel, LONG_MS, on_due);
	ck_assert_int_eq(fired[0], 1);
	ck_assert_int_eq(fired[1], 1);
	ck_assert_int_eq(fired[2], 0);
	run_to(LONG_MS, 2 * LONG_MS + 100);
	ck_assert_int_eq(fired[2], 1);
}
END_TEST

Suite *wheel_suite(void)
{
	Suite *s = suite_create("wheel");
	TCase *t = tcase_create("wheel");
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, deadline_fires_once_never_early_and_within_a_slot, 0, 7);
	tcase_add_test(t, deadline_in_the_past_fires_at_the_next_slot);
	tcase_add_test(t, deadline_moved_later_fires_at_the_later_time);
	tcase_add_test(t, deadline_moved_earlier_fires_at_the_earlier_time);
	tcase_add_test(t, deadline_switched_off_or_removed_does_not_fire);
	tcase_add_test(t, deadline_armed_again_while_firing_repeats);
	tcase_add_test(t, long_pause_fires_everything_that_came_due);
	suite_add_tcase(s, t);
	return s;
}
