#include <check.h>

#include "base/clock.h"
#include "base/mem.h"
#include "test/unit/store/store_bed.h"

Suite *store_suite(void);

START_TEST(events_come_back_from_cache_and_disk)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "orders", 3);
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(bed_append(&b, p, i * 2, 2), ERR_OK);
	}
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 0, UINT32_MAX, &got), ERR_OK);
	ck_assert_int_eq(ops_check_batches(&got, 0, 0), 100);
	store_batches_drop(&got);
	bed_check_all(&b, p, 100);
	ck_assert_ptr_null(store_partition_find(b.store, (struct store_part){99, 0}));
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

static int64_t seek(struct bed *b, struct store_partition *p, int64_t ms, bool inclusive)
{
	struct ops_seek s = {.op = {.reply_to = &b->mb,
				    .done = ops_seek_done,
				    .partition = p,
				    .after_ms = ms,
				    .inclusive = inclusive}};
	store_seek(b->store, &s.op);
	ops_until(&b->mb, &s.is_done);
	ck_assert_int_eq(s.op.err, ERR_OK);
	return s.op.seq;
}

START_TEST(seek_finds_by_append_time)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 1);
	ck_assert_int_eq(seek(&b, p, 0, true), 0);
	int64_t times[5];
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(bed_append(&b, p, i * 3, 3), ERR_OK);
		struct store_position at;
		store_partition_position(p, &at);
		times[i] = at.last_enqueued_ms;
		clock_wall_shift_ms(1000);
	}
	ck_assert_int_eq(seek(&b, p, 0, false), 0);
	ck_assert_int_eq(seek(&b, p, times[2], true), 6);
	ck_assert_int_eq(seek(&b, p, times[2], false), 9);
	ck_assert_int_eq(seek(&b, p, times[2] - 1, false), 6);
	ck_assert_int_eq(seek(&b, p, times[4], false), 15);
	clock_wall_shift_ms(-5000);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(full_disk_is_the_quota_error)
{
	struct bed b;
	bed_init(&b);
	b.options.disk_reserve_bytes = UINT64_MAX;
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 1);
	ck_assert_int_eq(bed_append(&b, p, 0, 1), ERR_QUOTA);
	bed_close(&b);
	store_partition_drop(&p);
	b.options.disk_reserve_bytes = 1;
	bed_open(&b);
	p = bed_find(&b, "h", 0);
	ck_assert_int_eq(bed_append(&b, p, 0, 1), ERR_OK);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(closed_store_refuses_and_still_reads_its_cache)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 1);
	ck_assert_int_eq(bed_append(&b, p, 0, 3), ERR_OK);
	struct ops_watch w;
	ops_watch_init(&w, p, &b.mb, 3);
	store_watch(b.store, &w.op);
	store_close(b.store);
	ops_until(&b.mb, &w.is_done);
	ck_assert_int_eq(w.op.err, ERR_STOPPING);
	ck_assert_int_eq(bed_append(&b, p, 3, 1), ERR_STOPPING);
	struct ops_read r = {.op = {.reply_to = &b.mb, .done = ops_read_done, .partition = p}};
	store_read(b.store, &r.op);
	ops_until(&b.mb, &r.is_done);
	ck_assert_int_eq(r.op.err, ERR_STOPPING);
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 0, 100, &got), ERR_OK);
	ck_assert_int_eq(ops_check_batches(&got, 0, 0), 3);
	store_batches_drop(&got);
	store_close(b.store);	/* twice is once */
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(short_memory_at_open_is_one_error)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 2);
	store_partition_drop(&p);
	bed_close(&b);
	for (long n = 1;; n++) {
		struct err_detail d = {""};
		mem_fault_at(n);
		enum err e = store_open(&b.options, &b.store, &d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (e == ERR_OK) {
			bed_close(&b);
		} else {
			ck_assert_int_eq(e, ERR_NOMEM);
			ck_assert(fired);
			ck_assert(d.text[0] != '\0');
		}
		if (!fired) {
			break;
		}
	}
	bed_open(&b);
	p = bed_find(&b, "h", 1);
	ck_assert_ptr_nonnull(p);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

Suite *store_suite(void)
{
	Suite *s = suite_create("store");
	TCase *t = tcase_create("store");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, events_come_back_from_cache_and_disk);
	tcase_add_test(t, seek_finds_by_append_time);
	tcase_add_test(t, full_disk_is_the_quota_error);
	tcase_add_test(t, closed_store_refuses_and_still_reads_its_cache);
	tcase_add_test(t, short_memory_at_open_is_one_error);
	suite_add_tcase(s, t);
	return s;
}
