/* Groups and offsets over a real store: what was answered is there after a restart. */

#include <stdio.h>
#include <stdlib.h>

#include "store/store.h"
#include "test/unit/group/groups_bed.h"

Suite *durable_suite(void);

static char dir[64];
static struct store *store;
static struct gbed bed;

static void open_all(void)
{
	struct store_options o = {.dir = dir, .shards = 4, .node_id = 1};
	struct err_detail d = {""};
	ck_assert_msg(store_open(&o, &store, &d) == ERR_OK, "%s", d.text);
	bed.options.store = store;
	gb_open(&bed);
}

static void close_all(void)
{
	groups_close(bed.groups);
	store_close(store);
	groups_free(&bed.groups);
	store_free(&store);
}

static void nothing(struct msg *m)
{
	(void)m;
}

static void command(enum catalog_op what, const char *hub)
{
	struct store_command op = {.reply_to = &bed.mb, .done = nothing};
	op.command.op = what;
	op.command.partitions = what == CATALOG_HUB_CREATE ? 8 : 0;
	snprintf(op.command.hub, sizeof op.command.hub, "%s", hub);
	store_command(store, &op);
	msg_run_all(mailbox_wait(&bed.mb, INT64_MAX));
	ck_assert_int_eq(op.err, ERR_OK);
}

static void setup(void)
{
	snprintf(dir, sizeof dir, "/tmp/sluice-group.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	gb_init(&bed, NULL);
	open_all();
	command(CATALOG_HUB_CREATE, "events");
}

static void teardown(void)
{
	close_all();
	gb_fini(&bed);
	char text[128];
	snprintf(text, sizeof text, "rm -rf '%s'", dir);
	ck_assert_int_eq(system(text), 0);
}

static void restart(void)
{
	close_all();
	open_all();
}

START_TEST(offsets_are_there_after_a_restart)
{
	char name[32];
	struct gop *commits[200];
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "group-%d", i % 20);
		commits[i] = gb_commit(&bed, name, NULL, -1, 1, (uint32_t)(i / 20 % 8), i);
	}
	for (int i = 0; i < 200; i++) {
		ck_op(&bed, commits[i], GROUP_OK);
	}
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 20; i++) {
			snprintf(name, sizeof name, "group-%d", i);
			/* Partitions 0 and 1 were committed twice. */
			ck_assert_int_eq(gb_fetch(&bed, name, 1, 0), 160 + i);
			ck_assert_int_eq(gb_fetch(&bed, name, 1, 1), 180 + i);
			ck_assert_int_eq(gb_fetch(&bed, name, 1, 7), 140 + i);
		}
		restart();
	}
}
END_TEST

START_TEST(members_go_on_after_a_restart)
{
	struct gop *j = gb_stable(&bed, "g");
	char id[128];
	snprintf(id, sizeof id, "%s", gb_id(j));
	for (int i = 0; i < 3; i++) {
		restart();
		ck_assert_str_eq(gb_state(&bed, "g"), "Stable");
		ck_op(&bed, gb_heartbeat(&bed, "g", id, 1), GROUP_OK);
		struct gop *s = gb_sync(&bed, "g", j, NULL);
		ck_op(&bed, s, GROUP_OK);
		ck_assert(span_eq_str(s->op.u.sync.assignment, "assigned"));
		ck_op(&bed, gb_commit(&bed, "g", id, 1, 1, 0, i), GROUP_OK);
	}
	ck_op(&bed, gb_leave(&bed, "g", id), GROUP_OK);
	/* The state Empty is stored after the answer; asking again waits for it. */
	ck_op(&bed, gb_heartbeat(&bed, "g", id, 1), GROUP_UNKNOWN_MEMBER);
	restart();
	ck_assert_str_eq(gb_state(&bed, "g"), "Empty");
	ck_assert_int_eq(gb_fetch(&bed, "g", 1, 0), 2);
	struct gop *again = gb_stable(&bed, "g");
	ck_assert_int_eq(again->op.u.join.generation, 3);
}
END_TEST

START_TEST(an_unfinished_rebalance_is_begun_again)
{
	struct gop *j = gb_join(&bed, "g", NULL);
	ck_op(&bed, j, GROUP_OK);
	char id[128];
	snprintf(id, sizeof id, "%s", gb_id(j));
	restart();
	ck_assert_str_eq(gb_state(&bed, "g"), "PreparingRebalance");
	ck_op(&bed, gb_heartbeat(&bed, "g", id, 1), GROUP_REBALANCE);
	struct gop *again = gb_join(&bed, "g", id);
	ck_op(&bed, again, GROUP_OK);
	ck_assert_int_eq(again->op.u.join.generation, 2);
}
END_TEST

START_TEST(what_was_deleted_stays_deleted)
{
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "t", NULL, -1, 1, 0, 5), GROUP_OK);
	ck_assert_int_eq(gb_delete(&bed, "s"), GROUP_OK);
	restart();
	ck_assert_str_eq(gb_state(&bed, "s"), "Dead");
	ck_assert_int_eq(gb_fetch(&bed, "t", 1, 0), 5);
	command(CATALOG_HUB_DELETE, "events");
	bed.options.sweep_ms = 1;
	restart();
	for (int i = 0; i < 20000 && gb_state(&bed, "t")[0] != 'D'; i++) {
		gb_quiet(&bed);
	}
	ck_assert_str_eq(gb_state(&bed, "t"), "Dead");
}
END_TEST

START_TEST(closing_with_parked_joins_is_orderly)
{
	gb_stable(&bed, "g");
	struct gop *parked = gb_join(&bed, "g", NULL);
	gb_quiet(&bed);
	close_all();
	ck_op(&bed, parked, GROUP_NOT_COORDINATOR);
	open_all();
	ck_assert_str_eq(gb_state(&bed, "g"), "Stable");
}
END_TEST

Suite *durable_suite(void)
{
	Suite *s = suite_create("durable");
	TCase *t = tcase_create("durable");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, offsets_are_there_after_a_restart);
	tcase_add_test(t, members_go_on_after_a_restart);
	tcase_add_test(t, an_unfinished_rebalance_is_begun_again);
	tcase_add_test(t, what_was_deleted_stays_deleted);
	tcase_add_test(t, closing_with_parked_joins_is_orderly);
	suite_add_tcase(s, t);
	return s;
}
