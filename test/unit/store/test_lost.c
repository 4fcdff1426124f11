/* A segment that is gone with its index: nothing tells what it held, and still no
 * sequence number is given to a second event. */

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/unit/store/store_bed.h"

Suite *lost_suite(void);

enum { QUIET = 10, LOUD = 600, PATIENCE_S = 30 };

struct trim {
	struct store_trim op;	/* first */
	bool is_done;
};

static void on_trim(struct msg *m)
{
	((struct trim *)m)->is_done = true;
}

static void trim(struct bed *b, struct store_partition *p, int64_t before)
{
	struct trim t = {.op = {.reply_to = &b->mb,
				.done = on_trim,
				.partition = p,
				.before_seq = before}};
	store_trim(b->store, &t.op);
	ops_until(&b->mb, &t.is_done);
	ck_assert_int_eq(t.op.err, ERR_OK);
}

static int64_t append(struct bed *b, struct store_partition *p, int64_t first, uint32_t n,
		      size_t size)
{
	struct ops_append a;
	ops_append_init(&a, p, &b->mb, first, n, size, NULL);
	store_append(b->store, &a.op);
	ops_until(&b->mb, &a.is_done);
	ck_assert_int_eq(a.op.err, ERR_OK);
	return a.op.base_seq;
}

/* Cleaned segments; `and_remove`: their files go. */
static int cleaned_segments(const struct bed *b, bool and_remove)
{
	const char *at = bed_path(b, "volume/segments");
	DIR *dir = opendir(at);
	ck_assert_ptr_nonnull(dir);
	int n = 0;
	struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == 'c') {
			n += strstr(entry->d_name, ".idx") != NULL && strstr(entry->d_name, ".tmp") == NULL;
			if (and_remove) {
				ck_assert_int_eq(unlinkat(dirfd(dir), entry->d_name, 0), 0);
			}
		}
	}
	closedir(dir);
	return n;
}

START_TEST(numbers_of_lost_events_are_not_given_again)
{
	struct bed b;
	bed_init(&b);
	b.options.segment_max_bytes = 1 << 20;
	b.options.clean_pause_ms = 30;
	b.options.export_interval_ms = 60;
	bed_open(&b);
	struct store_partition *quiet = bed_create(&b, "quiet", 1);
	struct store_partition *loud = bed_create(&b, "loud", 1);
	append(&b, quiet, 0, QUIET, 100);
	int64_t next = 0;
	for (int i = 0; i < LOUD; i++) {
		append(&b, loud, next++, 1, 20000);
	}
	trim(&b, loud, next - 5);
	int64_t end_ns = clock_mono_ns() + (int64_t)PATIENCE_S * 1000000000;
	while (cleaned_segments(&b, false) == 0 && clock_mono_ns() < end_ns) {
		append(&b, loud, next++, 1, 100);
		usleep(20000);
	}
	ck_assert_int_gt(cleaned_segments(&b, false), 0);
	bed_check_all(&b, quiet, QUIET);
	store_partition_drop(&quiet);
	store_partition_drop(&loud);
	bed_close(&b);
	cleaned_segments(&b, true);
	bed_open(&b);
	loud = bed_find(&b, "loud", 0);
	ck_assert_int_eq(append(&b, loud, next, 1, 100), next);
	store_partition_drop(&loud);
	quiet = bed_find(&b, "quiet", 0);
	int64_t first = append(&b, quiet, 5000, 3, 100);
	ck_assert_int_gt(first, (int64_t)1 << 39);
	for (int round = 0; round < 2; round++) {
		ck_assert_int_eq(bed_next_seq(quiet), first + 3);
		struct ops_read r = {.op = {.reply_to = &b.mb,
					    .done = ops_read_done,
					    .partition = quiet,
					    .from = QUIET,
					    .max_bytes = 1000}};
		store_read(b.store, &r.op);
		ops_until(&b.mb, &r.is_done);
		ck_assert_int_eq(r.op.err, ERR_OK);
		ck_assert_int_eq(ops_check_batches(&r.op.out, first, 5000 - first), first + 3);
		store_batches_drop(&r.op.out);
		store_partition_drop(&quiet);
		bed_close(&b);
		bed_open(&b);
		quiet = bed_find(&b, "quiet", 0);
	}
	ck_assert_int_eq(append(&b, quiet, 5003, 1, 100), first + 3);
	store_partition_drop(&quiet);
	bed_fini(&b);
}
END_TEST

Suite *lost_suite(void)
{
	Suite *s = suite_create("lost");
	TCase *tc = tcase_create("lost");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, numbers_of_lost_events_are_not_given_again);
	suite_add_tcase(s, tc);
	return s;
}
