#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "test/unit/group/fake_store.h"
#include "test/unit/group/groups_bed.h"
#include "test/unit/group/machine_bed.h"

static struct store *store;
static struct gbed bed;

static void setup(void)
{
	store = fake_store_new();
	gb_init(&bed, store);
	gb_open(&bed);
}

static void teardown(void)
{
	gb_close(&bed);
	gb_fini(&bed);
	fake_store_free(&store);
}

START_TEST(commits_are_fetched_now_and_after_a_restart)
{
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 3, 42), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 3, 43), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 2, 3, 7), GROUP_OK);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(gb_fetch(&bed, "s", 1, 3), 43);
		ck_assert_int_eq(gb_fetch(&bed, "s", 2, 3), 7);
		ck_assert_int_eq(gb_fetch(&bed, "s", 2, 4), -1);
		ck_assert_int_eq(gb_fetch(&bed, "t", 1, 3), -1);
		gb_close(&bed);
		gb_open(&bed);
	}
	struct gop *all = gb_op(&bed, GROUPS_FETCH, "s", NULL);
	gb_submit(&bed, all);
	ck_op(&bed, all, GROUP_OK);
	ck_assert_uint_eq(all->op.u.fetch.n_offsets, 2);
	for (int i = 0; i < 2; i++) {
		const struct groups_offset *o = &all->op.u.fetch.offsets[i];
		ck_assert_int_eq(o->offset, o->part.hub_id == 1 ? 43 : 7);
		ck_assert(span_eq_str(o->metadata, "note"));
		ck_assert_int_gt(o->commit_ms, 0);
	}
	struct gop *none = gb_op(&bed, GROUPS_FETCH, "nobody", NULL);
	gb_submit(&bed, none);
	ck_op(&bed, none, GROUP_OK);
	ck_assert_uint_eq(none->op.u.fetch.n_offsets, 0);
}
END_TEST

/* Its rows cannot be read. Were it told that nothing is committed, its members would
 * begin at one end of their partitions. */
START_TEST(a_group_whose_volume_is_out_is_not_taken_for_a_new_one)
{
	enum { OUT = 3 };	/* of names with three letters */
	static const enum groups_kind kinds[] = {GROUPS_JOIN, GROUPS_FETCH, GROUPS_LEAVE,
						 GROUPS_HEARTBEAT};
	gb_close(&bed);
	fake_store_out(store, OUT);
	gb_open(&bed);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct gop *o = gb_op(&bed, kinds[i], "out", NULL);
		o->offsets[0].part = (struct store_part){1, 0};
		if (kinds[i] == GROUPS_FETCH) {
			o->op.u.fetch.offsets = o->offsets;
			o->op.u.fetch.n_offsets = 1;
		}
		gb_submit(&bed, o);
		ck_op(&bed, o, GROUP_NOT_COORDINATOR);
	}
	ck_op(&bed, gb_commit(&bed, "out", NULL, -1, 1, 0, 5), GROUP_NOT_COORDINATOR);
	ck_assert_int_eq(gb_delete(&bed, "out"), GROUP_NOT_COORDINATOR);
	ck_assert_str_eq(gb_state(&bed, "out"), "Dead");
	ck_op(&bed, gb_commit(&bed, "well", NULL, -1, 1, 0, 5), GROUP_OK);
	ck_assert_int_eq(gb_fetch(&bed, "well", 1, 0), 5);
}
END_TEST

START_TEST(a_commit_is_seen_when_it_is_durable)
{
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 1), GROUP_OK);
	fake_store_hold(store);
	struct gop *a = gb_commit(&bed, "s", NULL, -1, 1, 0, 2);
	struct gop *b = gb_commit(&bed, "s", NULL, -1, 1, 0, 3);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 0), 1);
	ck_assert_uint_eq(fake_store_held(store), 2);
	ck_assert_uint_eq(a->runs + b->runs, 0);
	fake_store_release(store);
	ck_op(&bed, a, GROUP_OK);
	ck_op(&bed, b, GROUP_OK);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 0), 3);
}
END_TEST

START_TEST(each_offset_has_its_own_code)
{
	static char text[GROUPS_METADATA_MAX + 1];
	memset(text, 'x', sizeof text);
	uint32_t before = fake_store_writes(store);
	struct gop *o = gb_op(&bed, GROUPS_COMMIT, "s", NULL);
	o->op.generation = -1;
	for (uint32_t i = 0; i < 6; i++) {
		o->offsets[i] = (struct groups_offset){
			.part = {1, i}, .offset = i, .leader_epoch = 3, .metadata = span_str("note")};
	}
	o->offsets[1].metadata = span_of(text, GROUPS_METADATA_MAX);
	o->offsets[2].metadata = span_of(text, GROUPS_METADATA_MAX + 1);
	o->offsets[3].part.hub_id = 99;
	o->offsets[4].part.partition = 8;
	o->offsets[5].code = 29;
	o->op.u.commit.offsets = o->offsets;
	o->op.u.commit.n_offsets = 6;
	gb_submit(&bed, o);
	ck_op(&bed, o, GROUP_OK);
	static const int16_t want[] = {GROUP_OK, GROUP_OK, GROUP_METADATA_TOO_LARGE,
				       GROUP_UNKNOWN_TOPIC, GROUP_UNKNOWN_TOPIC, 29};
	for (size_t i = 0; i < 6; i++) {
		ck_assert_int_eq(o->offsets[i].code, want[i]);
	}
	ck_assert_uint_eq(fake_store_writes(store), before + 1);
	ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_OFFSET), 2);
}
END_TEST

START_TEST(members_commit_with_their_generation)
{
	struct gop *j = gb_stable(&bed, "g");
	ck_op(&bed, gb_commit(&bed, "g", gb_id(j), 1, 1, 0, 5), GROUP_OK);
	struct gop *bad = gb_commit(&bed, "g", gb_id(j), 2, 1, 0, 6);
	ck_op(&bed, bad, GROUP_ILLEGAL_GENERATION);
	ck_assert_int_eq(bad->offsets[0].code, GROUP_ILLEGAL_GENERATION);
	ck_op(&bed, gb_commit(&bed, "g", "x", 1, 1, 0, 6), GROUP_UNKNOWN_MEMBER);
	ck_op(&bed, gb_commit(&bed, "g", NULL, -1, 1, 0, 6), GROUP_UNKNOWN_MEMBER);
	ck_assert_int_eq(gb_fetch(&bed, "g", 1, 0), 5);
	ck_op(&bed, gb_leave(&bed, "g", gb_id(j)), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "g", NULL, -1, 1, 0, 6), GROUP_OK);
	ck_assert_int_eq(gb_fetch(&bed, "g", 1, 0), 6);
}
END_TEST

START_TEST(the_number_of_offsets_is_limited)
{
	gb_close(&bed);
	bed.options.max_offsets = 2;
	gb_open(&bed);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 1, 5), GROUP_OK);
	struct gop *o = gb_commit(&bed, "s", NULL, -1, 1, 2, 5);
	ck_op(&bed, o, GROUP_OK);
	ck_assert_int_eq(o->offsets[0].code, GROUP_INVALID_REQUEST);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 1, 6), GROUP_OK);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 1), 6);
}
END_TEST

static struct gop *delete_offsets(const char *group, uint32_t hub, uint32_t partition)
{
	struct gop *o = gb_op(&bed, GROUPS_DELETE_OFFSETS, group, NULL);
	o->offsets[0].part = (struct store_part){hub, partition};
	o->op.u.commit.offsets = o->offsets;
	o->op.u.commit.n_offsets = 1;
	gb_submit(&bed, o);
	gb_wait(&bed, o);
	return o;
}

START_TEST(offsets_are_deleted_when_nobody_reads_them)
{
	ck_assert_int_eq(delete_offsets("none", 1, 0)->op.code, GROUP_NOT_FOUND);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 1, 6), GROUP_OK);
	ck_assert_int_eq(delete_offsets("s", 1, 0)->op.code, GROUP_OK);
	ck_assert_int_eq(delete_offsets("s", 1, 5)->op.code, GROUP_OK);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 0), -1);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 1), 6);
	ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_OFFSET), 1);
	/* The member reads "events" (1), not "other" (2). */
	struct gop *j = gb_stable(&bed, "g");
	ck_op(&bed, gb_commit(&bed, "g", gb_id(j), 1, 1, 0, 5), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "g", gb_id(j), 1, 2, 0, 5), GROUP_OK);
	struct gop *o = delete_offsets("g", 1, 0);
	ck_assert_int_eq(o->op.code, GROUP_OK);
	ck_assert_int_eq(o->offsets[0].code, GROUP_SUBSCRIBED);
	ck_assert_int_eq(gb_fetch(&bed, "g", 1, 0), 5);
	o = delete_offsets("g", 2, 0);
	ck_assert_int_eq(o->offsets[0].code, GROUP_OK);
	ck_assert_int_eq(gb_fetch(&bed, "g", 2, 0), -1);
}
END_TEST

static void until_rows(uint8_t kind, uint32_t n)
{
	for (int i = 0; i < 20000 && fake_store_rows(store, kind) != n; i++) {
		gb_quiet(&bed);
	}
	ck_assert_uint_eq(fake_store_rows(store, kind), n);
}

static void reopen_sweeping(void)
{
	gb_close(&bed);
	bed.options.sweep_ms = 1;
	gb_open(&bed);
}

START_TEST(offsets_of_deleted_hubs_go)
{
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 2, 0, 5), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "t", NULL, -1, 2, 0, 5), GROUP_OK);
	reopen_sweeping();
	fake_store_delete_hub(store, "other");
	until_rows(STORE_ROW_OFFSET, 1);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 0), 5);
	ck_assert_int_eq(gb_fetch(&bed, "s", 2, 0), -1);
	ck_assert_str_eq(gb_state(&bed, "t"), "Dead");
}
END_TEST

START_TEST(unused_offsets_expire_and_used_ones_do_not)
{
	struct gop *j = gb_stable(&bed, "live");
	ck_op(&bed, gb_commit(&bed, "live", gb_id(j), 1, 1, 0, 5), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "live", gb_id(j), 1, 2, 0, 5), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "simple", NULL, -1, 1, 0, 5), GROUP_OK);
	struct gop *k = gb_stable(&bed, "left");
	ck_op(&bed, gb_commit(&bed, "left", gb_id(k), 1, 1, 0, 5), GROUP_OK);
	clock_wall_shift_ms(50000);
	ck_op(&bed, gb_leave(&bed, "left", gb_id(k)), GROUP_OK);
	gb_quiet(&bed);
	/* "simple" and what "live" does not read are 60 s old, "left" has been empty
	 * for 10 s only. */
	clock_wall_shift_ms(10000);
	reopen_sweeping();
	until_rows(STORE_ROW_OFFSET, 2);
	ck_assert_str_eq(gb_state(&bed, "simple"), "Dead");
	ck_assert_int_eq(gb_fetch(&bed, "live", 1, 0), 5);
	ck_assert_int_eq(gb_fetch(&bed, "live", 2, 0), -1);
	ck_assert_int_eq(gb_fetch(&bed, "left", 1, 0), 5);
	clock_wall_shift_ms(50000);
	until_rows(STORE_ROW_OFFSET, 1);
	until_rows(STORE_ROW_GROUP, 1);
	ck_assert_str_eq(gb_state(&bed, "left"), "Dead");
	ck_assert_str_eq(gb_state(&bed, "live"), "Stable");
	clock_wall_shift_ms(-110000);
}
END_TEST

START_TEST(many_offsets_are_deleted_in_portions)
{
	enum { HUB_PARTITIONS = 8 };
	gb_close(&bed);
	bed.options.max_offsets = 10000;
	/* Rows of hubs that are gone, as an earlier run left them. */
	for (uint32_t hub = 100; hub < 700; hub++) {
		for (uint32_t p = 0; p < HUB_PARTITIONS; p++) {
			uint8_t key[] = {0, 1, 'm', 0, 0, (uint8_t)(hub >> 8), (uint8_t)hub, 0, 0, 0, (uint8_t)p};
			uint8_t content[21] = {1};
			fake_store_put(store, STORE_ROW_OFFSET, span_of(key, sizeof key),
				       span_of(content, sizeof content));
		}
	}
	gb_open(&bed);
	ck_assert_int_eq(gb_delete(&bed, "m"), GROUP_OK);
	ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_OFFSET), 0);
	ck_assert_uint_eq(fake_store_writes(store), 3);
	ck_assert_str_eq(gb_state(&bed, "m"), "Dead");
}
END_TEST

Suite *offsets_suite(void)
{
	Suite *s = suite_create("offsets");
	TCase *t = tcase_create("offsets");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, commits_are_fetched_now_and_after_a_restart);
	tcase_add_test(t, a_group_whose_volume_is_out_is_not_taken_for_a_new_one);
	tcase_add_test(t, a_commit_is_seen_when_it_is_durable);
	tcase_add_test(t, each_offset_has_its_own_code);
	tcase_add_test(t, members_commit_with_their_generation);
	tcase_add_test(t, the_number_of_offsets_is_limited);
	tcase_add_test(t, offsets_are_deleted_when_nobody_reads_them);
	tcase_add_test(t, offsets_of_deleted_hubs_go);
	tcase_add_test(t, unused_offsets_expire_and_used_ones_do_not);
	tcase_add_test(t, many_offsets_are_deleted_in_portions);
	suite_add_tcase(s, t);
	return s;
}
