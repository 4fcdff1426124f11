#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

static struct bed bed;

static void setup(void)
{
	bed_init(&bed);
	bed_log_catch();
}
static void teardown(void)
{
	bed_fini(&bed);
}

enum { SEGMENTS = 3 };

/* Partition 0 and 1 in every segment; 1 and 2 sealed, 3 active; closed. */
static void fill(void)
{
	bed_open(&bed, false);
	while (!bed_has_file(&bed, SEGMENTS, ".mdb")) {
		bed_append(&bed, 0, 1, 20000);
		bed_append(&bed, 1, 2, 20000);
	}
	bed_append(&bed, 0, 1, 20000);
	bed_append(&bed, 0, 1, 20000);
	for (uint64_t i = 1; i < SEGMENTS; i++) {
		bed_wait_sealed(&bed, i);
	}
	bed_close(&bed);
}

START_TEST(lost_idx_is_made_anew)
{
	char path[256];
	fill();
	bed_file(&bed, 1, ".idx", path, sizeof path);
	unlink(path);
	bed_open(&bed, false);
	bed_check_all(&bed);
	bed_wait_sealed(&bed, 1);
	bed_reopen(&bed, false);
	bed_check_all(&bed);
}
END_TEST

START_TEST(cut_idx_is_made_anew)
{
	char path[256];
	fill();
	bed_file(&bed, 2, ".idx", path, sizeof path);
	int64_t size = bed_size(path);
	for (int64_t cut = 0; cut < size; cut += 3000) {
		ck_assert_int_eq(truncate(path, cut), 0);
		bed_open(&bed, false);
		ck_assert(bed_log_had("INDEX-DAMAGED"));
		bed_check_all(&bed);
		for (int i = 0; i < 20000 && bed_size(path) != size; i++) {
			usleep(1000);
		}
		bed_close(&bed);
		ck_assert_int_eq(bed_size(path), size);
	}
}
END_TEST

/* One block after another: some are found at open, some when they are read. */
START_TEST(flipped_idx_is_made_anew)
{
	char path[256];
	fill();
	bed_file(&bed, 1, ".idx", path, sizeof path);
	int64_t size = bed_size(path);
	for (int64_t at = 50; at < size; at += 4096) {
		bed_flip(path, at);
		bed_open(&bed, false);
		bed_check_all(&bed);
		bed_close(&bed);
		bed_open(&bed, false);
		bed_check_all(&bed);
		bed_close(&bed);
	}
}
END_TEST

/* What of partition p can be read; damage must end a read, never change it. */
static void count_readable(uint32_t p, int64_t *good, int64_t *bad)
{
	*good = 0;
	*bad = 0;
	for (int64_t at = 0; at < bed.next_seq[p];) {
		struct volume_read r = {
			.part = bed_part(p),
			.from = at,
			.limit = bed.next_seq[p],
			.max_bytes = 1,
		};
		enum err e = bed_read(&bed, &r);
		if (e == ERR_CORRUPT) {
			ck_assert_uint_eq(r.out.n, 0);
			at++;
			++*bad;
			continue;
		}
		ck_assert_int_eq(e, ERR_OK);
		ck_assert_uint_eq(r.out.n, 1);
		bed_check_batches(p, &r.out);
		*good += r.out.v[0].base_seq + r.out.v[0].count - at;
		at = r.out.v[0].base_seq + r.out.v[0].count;
		store_batches_drop(&r.out);
	}
}

START_TEST(flipped_sealed_segment_is_never_served)
{
	char path[256];
	fill();
	bed_file(&bed, 2, ".mdb", path, sizeof path);
	int64_t size = bed_size(path);
	static const int64_t part_of_16[] = {0, 3, 9, 15};
	for (size_t i = 0; i < sizeof part_of_16 / sizeof *part_of_16; i++) {
		int64_t at = size * part_of_16[i] / 16 + 21;
		bed_flip(path, at);
		bed_open(&bed, false);
		int64_t good;
		int64_t bad;
		count_readable(0, &good, &bad);
		ck_assert_int_gt(good, 0);
		ck_assert_int_gt(bad, 0);
		ck_assert_int_eq(good + bad, bed.next_seq[0]);
		ck_assert(bed_log_had("SEGMENT-DAMAGED"));
		/* What comes after it is served, and the volume takes appends. */
		bed_check_read(&bed, 0, bed.next_seq[0] - 1, bed.next_seq[0]);
		bed_append(&bed, 0, 1, 100);
		bed_close(&bed);
		bed_flip(path, at);
	}
	bed_open(&bed, false);
	bed_check_all(&bed);
}
END_TEST

START_TEST(cut_or_lost_sealed_segment_is_named)
{
	char path[256];
	fill();
	bed_file(&bed, 1, ".mdb", path, sizeof path);
	int64_t good;
	int64_t bad;
	ck_assert_int_eq(truncate(path, bed_size(path) / 2), 0);
	bed_open(&bed, true);
	ck_assert(bed_log_had("SEGMENT-DAMAGED"));
	count_readable(1, &good, &bad);
	ck_assert_int_gt(good, 0);
	ck_assert_int_gt(bad, 0);
	bed_close(&bed);
	unlink(path);
	bed_open(&bed, false);
	ck_assert(bed_log_had("SEGMENT-DAMAGED"));
	int64_t good_again;
	count_readable(1, &good_again, &bad);
	ck_assert_int_eq(good_again, good);
	bed_append(&bed, 1, 1, 100);
	bed_check_info(&bed);
}
END_TEST

START_TEST(flipped_payload_in_active_segment_is_not_served)
{
	char path[256];
	bed_open(&bed, false);
	for (int i = 0; i < 5; i++) {
		bed_append(&bed, 0, 1, 5000);
	}
	bed_close(&bed);
	/* In the filler of event 3, which is the byte 3 over and over. */
	uint8_t pattern[64];
	memset(pattern, 3, sizeof pattern);
	bed_file(&bed, 1, ".mdb", path, sizeof path);
	int64_t at = bed_find(path, pattern, sizeof pattern);
	ck_assert_int_gt(at, 0);
	bed_flip(path, at + 1000);
	for (int unclean = 0; unclean < 2; unclean++) {
		bed_open(&bed, unclean == 1);
		ck_assert_int_eq(bed_log_had("RECORD-DAMAGED"), unclean == 1);
		int64_t good;
		int64_t bad;
		count_readable(0, &good, &bad);
		ck_assert_int_eq(good, 4);
		ck_assert_int_eq(bad, 1);
		ck_assert(bed_log_had("RECORD-DAMAGED"));
		/* A longer read ends before it. */
		struct volume_read r = {.part = bed_part(0), .limit = 5, .max_bytes = 1 << 20};
		ck_assert_int_eq(bed_read(&bed, &r), ERR_OK);
		ck_assert_uint_eq(r.out.n, 3);
		store_batches_drop(&r.out);
		bed_close(&bed);
	}
}
END_TEST

START_TEST(flipped_head_in_active_segment_is_refused)
{
	char path[256];
	struct err_detail d;
	bed_open(&bed, false);
	bed_append(&bed, 0, 1, 5000);
	bed_append(&bed, 0, 1, 5000);
	bed_close(&bed);
	/* The partition's key stands in the descriptors. */
	bed_file(&bed, 1, ".mdb", path, sizeof path);
	int64_t at = bed_find(path, "key", 3);
	ck_assert_int_gt(at, 0);
	bed_flip(path, at);
	for (int unclean = 0; unclean < 2; unclean++) {
		ck_assert_int_eq(bed_try_open(&bed, unclean == 1, &d), ERR_CORRUPT);
		ck_assert(strstr(d.text, "0000000001.mdb: record 4 is damaged") != NULL);
	}
	bed_flip(path, at);
	bed_open(&bed, true);
	bed_check_all(&bed);
}
END_TEST

/* Pages that are not there end the child that walks the file, not us. */
START_TEST(cut_active_segment_is_named)
{
	char path[256];
	struct err_detail d;
	bed_open(&bed, false);
	for (int i = 0; i < 20; i++) {
		bed_append(&bed, 0, 1, 20000);
	}
	bed_close(&bed);
	bed_file(&bed, 1, ".mdb", path, sizeof path);
	ck_assert_int_eq(truncate(path, bed_size(path) / 8), 0);
	ck_assert_int_eq(bed_try_open(&bed, true, &d), ERR_CORRUPT);
	ck_assert_msg(strstr(d.text, "0000000001.mdb is damaged") != NULL, "%s", d.text);
}
END_TEST

/* Whatever bit flips in an active segment after an unclean stop: the process
 * lives, and what is served is right. */
START_TEST(no_flip_in_active_segment_crashes)
{
	char path[256];
	struct err_detail d;
	bed_open(&bed, false);
	for (int i = 0; i < 6; i++) {
		bed_append(&bed, 0, 1, 3000);
		bed_append(&bed, 1, 1, 30);
	}
	bed_close(&bed);
	bed_file(&bed, 1, ".mdb", path, sizeof path);
	int64_t size = bed_size(path);
	/* Prime steps; the first pages, where LMDB keeps its own, more densely. */
	for (int64_t at = 8192 + _i; at < size; at += at < 24000 ? 131 : 2003) {
		bed_flip(path, at);
		if (bed_try_open(&bed, true, &d) == ERR_OK) {
			bed_start(&bed);
			int64_t good;
			int64_t bad;
			count_readable(0, &good, &bad);
			ck_assert_int_ge(good, 1);
		} else {
			ck_assert(strstr(d.text, "0000000001") != NULL);
		}
		bed_close(&bed);
		bed_flip(path, at);
	}
	bed_open(&bed, true);
	bed_check_all(&bed);
}
END_TEST

/* Prime to 8, so that every place in a byte has its turn. */
enum { META_STRIDE = 9 };

/* LMDB's first pages have no checksum. No flip in them may lose a commit. */
START_TEST(no_flip_in_meta_pages_loses_a_commit)
{
	char path[256];
	struct err_detail d;
	bed_open(&bed, false);
	for (int i = 0; i < 10; i++) {
		bed_append(&bed, 0, 1, 3000);
	}
	bed_close(&bed);
	bed_file(&bed, 1, ".mdb", path, sizeof path);
	for (int64_t bit = _i; bit < 2 * 168 * 8; bit += META_STRIDE) {
		int64_t at = bit / 8 % 168 + (bit / 8 < 168 ? 0 : 4096);
		bed_flip_bit(path, at, (int)(bit % 8));
		enum err e = bed_try_open(&bed, true, &d);
		if (e == ERR_OK) {
			bed_check_info(&bed);
			bed_start(&bed);
			bed_check_read(&bed, 0, 0, bed.next_seq[0]);
			bed_close(&bed);
		} else {
			ck_assert(strstr(d.text, "0000000001") != NULL);
		}
		bed_flip_bit(path, at, (int)(bit % 8));
	}
	bed_open(&bed, true);
	bed_check_all(&bed);
}
END_TEST

Suite *damage_suite(void)
{
	Suite *s = suite_create("damage");
	TCase *t = tcase_create("damage");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, lost_idx_is_made_anew);
	tcase_add_test(t, cut_idx_is_made_anew);
	tcase_add_test(t, flipped_idx_is_made_anew);
	tcase_add_test(t, flipped_sealed_segment_is_never_served);
	tcase_add_test(t, cut_or_lost_sealed_segment_is_named);
	tcase_add_test(t, flipped_payload_in_active_segment_is_not_served);
	tcase_add_test(t, flipped_head_in_active_segment_is_refused);
	tcase_add_test(t, cut_active_segment_is_named);
	tcase_add_loop_test(t, no_flip_in_active_segment_crashes, 0, 4);
	tcase_add_loop_test(t, no_flip_in_meta_pages_loses_a_commit, 0, 4);
	suite_add_tcase(s, t);
	return s;
}
