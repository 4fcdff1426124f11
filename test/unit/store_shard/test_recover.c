#include <check.h>

#include "base/mem.h"
#include "store/volume/volume.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *recover_suite(void);

START_TEST(core_continues_where_the_log_ends)
{
	struct bed b;
	bed_init(&b, 3);
	ck_assert_uint_eq(bed_entries(&b), 3);	/* one configuration per shard */
	struct store_partition *p = bed_create(&b, "h", 4);
	ck_assert_int_eq(bed_append(&b, p, 0, 5), ERR_OK);
	struct store_partition *gone = bed_create(&b, "gone", 1);
	ck_assert_int_eq(bed_append(&b, gone, 0, 5), ERR_OK);
	struct catalog_command cmd = ops_create("gone", 0);
	cmd.op = CATALOG_HUB_DELETE;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	store_partition_drop(&gone);
	store_partition_drop(&p);
	uint64_t entries = bed_entries(&b);
	bed_close(&b);
	bed_open(&b);
	ck_assert_uint_eq(bed_entries(&b), entries);
	ck_assert_ptr_null(bed_find(&b, "gone", 0));
	p = bed_find(&b, "h", 0);
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_eq(at.next_seq, 5);
	ck_assert_int_gt(at.last_enqueued_ms, 0);
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 0, 100, &got), ERR_AGAIN);
	ck_assert_int_eq(bed_append(&b, p, 5, 5), ERR_OK);
	struct ops_read r = {.op = {.reply_to = &b.mb,
				    .done = ops_read_done,
				    .partition = p,
				    .max_bytes = UINT32_MAX}};
	shard_core_read(b.core, &r.op);
	ops_until(&b.mb, &r.is_done);
	ck_assert_int_eq(ops_check_batches(&r.op.out, 0, 0), 10);
	store_batches_drop(&r.op.out);
	store_partition_drop(&p);
	/* Ids go on too. */
	p = bed_create(&b, "next", 1);
	const struct catalog *c = shard_core_catalog(b.core);
	ck_assert_uint_eq(catalog_hub_find(c, span_str("next"))->id, 3);
	catalog_drop(&c);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(short_memory_fails_the_open)
{
	struct bed b;
	bed_init(&b, 2);
	struct store_partition *p = bed_create(&b, "h", 3);
	store_partition_drop(&p);
	bed_close(&b);
	for (long n = 1;; n++) {
		struct err_detail d = {""};
		struct shard_core *core = NULL;
		mem_fault_at(n);
		enum err e = shard_core_new(&b.options, &core, &d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		ck_assert_int_eq(d.text[0] != '\0', fired);
		if (!fired) {
			shard_core_free(&core);
			break;
		}
	}
	bed_fini(&b);
}
END_TEST

Suite *recover_suite(void)
{
	Suite *s = suite_create("recover");
	TCase *t = tcase_create("recover");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, core_continues_where_the_log_ends);
	tcase_add_test(t, short_memory_fails_the_open);
	suite_add_tcase(s, t);
	return s;
}
