#include <check.h>
#include <stdio.h>

#include "test/unit/store_shard/shard_bed.h"

Suite *command_suite(void);

static struct catalog_command hub_command(enum catalog_op op, const char *hub)
{
	struct catalog_command cmd = ops_create(hub, 0);
	cmd.op = op;
	return cmd;
}

START_TEST(commands_are_checked_one_after_another)
{
	struct bed b;
	bed_init(&b, 4);
	enum { N = 40 };
	static struct ops_command c[N];
	for (int i = 0; i < N; i++) {
		char name[16];
		snprintf(name, sizeof name, "hub%d", i / 2);
		c[i] = (struct ops_command){.op = {.reply_to = &b.mb,
						   .done = ops_command_done,
						   .command = ops_create(name, 3)}};
		shard_core_command(b.core, &c[i].op);
	}
	for (int i = 0; i < N; i++) {
		ops_until(&b.mb, &c[i].is_done);
		ck_assert_int_eq(c[i].op.err, i % 2 == 0 ? ERR_OK : ERR_EXISTS);
		ck_assert_int_eq(c[i].op.detail.text[0] != '\0', i % 2 != 0);
		ck_assert_int_gt(c[i].op.command.now_ms, 0);
	}
	const struct catalog *cat = shard_core_catalog(b.core);
	ck_assert_uint_eq(cat->n_hubs, N / 2);
	catalog_drop(&cat);
	struct store_partition *p = bed_find(&b, "HUB7", 2);
	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_null(bed_find(&b, "hub7", 3));
	ck_assert_ptr_null(bed_find(&b, "hub99", 0));
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(deleted_hub_is_gone_and_comes_back_empty)
{
	struct bed b;
	bed_init(&b, 2);
	struct store_partition *old = bed_create(&b, "h", 2);
	ck_assert_int_eq(bed_append(&b, old, 0, 5), ERR_OK);
	struct catalog_command cmd = hub_command(CATALOG_HUB_DELETE, "h");
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	ck_assert_ptr_null(bed_find(&b, "h", 0));
	struct store_position at;
	store_partition_position(old, &at);
	ck_assert(at.deleted);
	ck_assert_int_eq(bed_append(&b, old, 5, 1), ERR_NOT_FOUND);
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(old, 0, 100, &got), ERR_NOT_FOUND);
	struct ops_read r = {.op = {.reply_to = &b.mb, .done = ops_read_done, .partition = old}};
	shard_core_read(b.core, &r.op);
	ops_until(&b.mb, &r.is_done);
	ck_assert_int_eq(r.op.err, ERR_NOT_FOUND);
	struct store_partition *p = bed_create(&b, "h", 2);
	ck_assert_ptr_ne(p, old);
	ck_assert_int_eq(bed_append(&b, p, 0, 1), ERR_OK);
	store_partition_position(p, &at);
	ck_assert_int_eq(at.next_seq, 1);
	store_partition_drop(&old);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(appends_around_a_delete_are_all_answered)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	fake_volume_hold(b.volume);
	enum { N = 200 };
	static struct ops_append a[N];
	uint32_t answered = 0;
	struct ops_command del = {.op = {.reply_to = &b.mb,
					 .done = ops_command_done,
					 .command = hub_command(CATALOG_HUB_DELETE, "h")}};
	for (uint32_t i = 0; i < N; i++) {
		ops_append_init(&a[i], p, &b.mb, i, 1, 20, NULL);
		a[i].answered = &answered;
		shard_core_append(b.core, &a[i].op);
		if (i == N / 2) {
			shard_core_command(b.core, &del.op);
		}
	}
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, N);
	ops_until(&b.mb, &del.is_done);
	ck_assert_int_eq(del.op.err, ERR_OK);
	bool refused = false;
	for (uint32_t i = 0; i < N; i++) {
		ck_assert(a[i].op.err == ERR_OK || a[i].op.err == ERR_NOT_FOUND);
		ck_assert(!refused || a[i].op.err == ERR_NOT_FOUND);
		refused = a[i].op.err == ERR_NOT_FOUND;
	}
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(grown_hub_keeps_its_partitions)
{
	struct bed b;
	bed_init(&b, 3);
	struct store_partition *p = bed_create(&b, "h", 2);
	ck_assert_int_eq(bed_append(&b, p, 0, 5), ERR_OK);
	struct catalog_command cmd = hub_command(CATALOG_HUB_UPDATE, "h");
	cmd.partitions = 7;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	struct store_partition *same = bed_find(&b, "h", 0);
	ck_assert_ptr_eq(same, p);
	store_partition_drop(&same);
	struct store_partition *last = bed_find(&b, "h", 6);
	ck_assert_ptr_nonnull(last);
	ck_assert_int_eq(bed_append(&b, last, 0, 1), ERR_OK);
	cmd.partitions = 3;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_NOT_ALLOWED);
	store_partition_drop(&last);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

Suite *command_suite(void)
{
	Suite *s = suite_create("command");
	TCase *t = tcase_create("command");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, commands_are_checked_one_after_another);
	tcase_add_test(t, deleted_hub_is_gone_and_comes_back_empty);
	tcase_add_test(t, appends_around_a_delete_are_all_answered);
	tcase_add_test(t, grown_hub_keeps_its_partitions);
	suite_add_tcase(s, t);
	return s;
}
