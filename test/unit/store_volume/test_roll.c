#include <stdio.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

static struct bed bed;

static void setup(void)
{
	bed_init(&bed);
}
static void teardown(void)
{
	bed_fini(&bed);
}

static uint64_t n_segments(void)
{
	uint64_t n = 1;
	while (bed_has_file(&bed, n, ".mdb")) {
		n++;
	}
	return n - 1;
}

/* Fills about `n` segments of 1 MiB. */
static void fill(uint64_t n)
{
	for (uint32_t i = 0; n_segments() <= n; i++) {
		for (uint32_t shard = 0; shard < 2; shard++) {
			struct bed_entry *e = bed_entry_begin(&bed, shard);
			for (uint32_t p = shard; p < 10; p += 2) {
				bed_entry_batch(&bed, e, p, 1 + (int32_t)(i % 4), 3000);
			}
			bed_submit(&bed, e);
		}
		bed_wait(&bed);
	}
}

START_TEST(full_segments_are_sealed_and_served)
{
	bed_open(&bed, false);
	fill(4);
	bed_check_all(&bed);
	for (uint64_t i = 1; i <= 4; i++) {
		char path[256];
		bed_wait_sealed(&bed, i);
		bed_file(&bed, i, ".mdb", path, sizeof path);
		ck_assert_int_le(bed_size(path), (1 << 20) + 4096);
	}
	bed_check_all(&bed);
	bed_reopen(&bed, false);
	bed_check_all(&bed);
	fill(6);
	bed_check_all(&bed);
	bed_reopen(&bed, true);
	bed_check_all(&bed);
}
END_TEST

START_TEST(few_open_segments_serve_many)
{
	bed.options.open_segments_max = 1;
	bed_open(&bed, false);
	fill(6);
	bed_wait_sealed(&bed, 6);
	for (int round = 0; round < 2; round++) {
		bed_check_all(&bed);
		bed_reopen(&bed, false);
	}
	/* Lock files of segments that are not open are gone. */
	int locks = 0;
	for (uint64_t i = 1; i <= 7; i++) {
		locks += bed_has_file(&bed, i, ".mdb-lock");
	}
	ck_assert_int_eq(locks, 1);
}
END_TEST

START_TEST(group_larger_than_a_segment_fits)
{
	bed_open(&bed, false);
	for (int i = 0; i < 3; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_batch(&bed, e, 0, 1, 1900000);
		bed_submit(&bed, e);
		e = bed_entry_begin(&bed, 1);
		bed_entry_batch(&bed, e, 1, 1, 10);
		bed_submit(&bed, e);
		bed_wait(&bed);
	}
	bed_check_all(&bed);
	bed_reopen(&bed, true);
	bed_check_all(&bed);
	ck_assert_uint_ge(n_segments(), 3);
}
END_TEST

START_TEST(group_is_split_at_its_bound)
{
	bed.options.commit_max_bytes = 100000;
	bed.options.segment_max_bytes = 16 << 20;
	bed_open(&bed, false);
	for (int i = 0; i < 50; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_batch(&bed, e, 0, 1, i % 5 == 0 ? 150000 : 40000);
		bed_submit(&bed, e);
	}
	bed_wait(&bed);
	bed_check_all(&bed);
}
END_TEST

START_TEST(worst_packing_stays_within_the_map)
{
	/* Records of just over half a page, and the smallest ones. */
	bed.options.commit_max_bytes = 4 << 20;
	bed_open(&bed, false);
	for (int i = 0; i < 2000; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_batch(&bed, e, 0, 1, i % 2 == 0 ? 1900 : 12);
		bed_submit(&bed, e);
	}
	bed_wait(&bed);
	bed_check_all(&bed);
	bed_reopen(&bed, true);
	bed_check_all(&bed);
}
END_TEST

START_TEST(stop_leaves_sealing_to_the_next_start)
{
	bed_open(&bed, false);
	fill(3);
	for (int i = 0; i < 4; i++) {
		bed_reopen(&bed, i % 2 == 0);
		bed_check_all(&bed);
	}
	for (uint64_t i = 1; i <= 3; i++) {
		bed_wait_sealed(&bed, i);
	}
}
END_TEST

START_TEST(other_segment_size_at_reopen_is_fine)
{
	bed.options.segment_max_bytes = 8 << 20;
	bed_open(&bed, false);
	for (int i = 0; i < 80; i++) {
		bed_append(&bed, 0, 1, 60000);
	}
	bed.options.segment_max_bytes = 1 << 20;
	bed_reopen(&bed, true);
	fill(2);
	bed_check_all(&bed);
}
END_TEST

Suite *roll_suite(void)
{
	Suite *s = suite_create("roll");
	TCase *t = tcase_create("roll");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, full_segments_are_sealed_and_served);
	tcase_add_test(t, few_open_segments_serve_many);
	tcase_add_test(t, group_larger_than_a_segment_fits);
	tcase_add_test(t, group_is_split_at_its_bound);
	tcase_add_test(t, worst_packing_stays_within_the_map);
	tcase_add_test(t, stop_leaves_sealing_to_the_next_start);
	tcase_add_test(t, other_segment_size_at_reopen_is_fine);
	suite_add_tcase(s, t);
	return s;
}
