#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bed.h"
#include "cleaned.h"
#include "suites.h"

#include "base/mem.h"
#include "test/lib/fake_write.h"

/* Cleaned segments in the place of others: what is served, what the manifest says, what
 * an interruption, damage or an old manifest leaves. */

enum { SEGMENTS = 5 };

static struct bed bed;

static void setup(void)
{
	bed_init(&bed);
	bed.options.clean_pause_ms = 3600000;
	bed_log_catch();
}
static void teardown(void)
{
	bed_fini(&bed);
}

/* Partitions 0 and 1 in every segment, one event for each batch; 1..4 sealed. Open. */
static void fill(void)
{
	bed_open(&bed, false);
	while (!bed_has_file(&bed, SEGMENTS, ".mdb")) {
		bed_append(&bed, 0, 1, 40000);
		bed_append(&bed, 1, 1, 40000);
	}
	for (uint64_t i = 1; i < SEGMENTS; i++) {
		bed_wait_sealed(&bed, i);
	}
}

static void reopen_without_making_manifest(bool was_unclean)
{
	bed_close(&bed);
	bed.options.may_lack_manifest = false;
	bed_open(&bed, was_unclean);
}

/* Segments a and a + 1 as one cleaned one that keeps every step-th batch. */
static int64_t replace_two(uint64_t a, uint32_t step, struct cleaned_want w[CLEANED_COVERS])
{
	struct segment *gone[] = {cleaned_find(&bed, a, false), cleaned_find(&bed, a + 1, false)};
	struct cleaned_want more[CLEANED_COVERS];
	size_t n = cleaned_wants_of(&bed, gone[0], w);
	ck_assert_uint_eq(cleaned_wants_of(&bed, gone[1], more), n);
	int64_t batches = 0;
	for (size_t i = 0; i < n; i++) {
		w[i].end_seq = more[i].end_seq;
		w[i].step = step;
		batches += w[i].end_seq - w[i].first_seq;
	}
	struct cleaned c;
	cleaned_make(&bed, w, n, &c);
	cleaned_replace(&bed, &c, gone, 2);
	return batches;
}

/* What is left of a partition of which every step-th batch of a range was kept. */
static void check_left(uint32_t p, const struct cleaned_want *w)
{
	int64_t range = w->end_seq - w->first_seq;
	int64_t kept = w->step > 0 ? (range + w->step - 1) / w->step : 0;
	int64_t all = bed.next_seq[p];
	ck_assert_int_eq((int64_t)cleaned_count(&bed, p, 0, all), all - range + kept);
	ck_assert_int_eq((int64_t)cleaned_count(&bed, p, w->first_seq, w->end_seq), kept);
	bed_check_read(&bed, p, w->end_seq, all);
	if (w->first_seq > 0) {
		bed_check_read(&bed, p, 0, w->first_seq);
	}
	/* In a gap the next later one is given. */
	struct volume_read r = {.part = bed_part(p), .from = w->first_seq + 1, .limit = all,
				.max_bytes = 1};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_OK);
	int64_t next = w->step > 0 && w->first_seq + w->step < w->end_seq ? w->first_seq + w->step
									  : w->end_seq;
	ck_assert_int_eq(r.out.v[0].base_seq, next);
	struct volume_seek s = {.part = bed_part(p), .inclusive = true, .limit = all,
				.after_ms = r.out.v[0].append_ms};
	for (int by = VOLUME_SEEK_APPEND_TIME; by <= VOLUME_SEEK_TIMESTAMP; by++) {
		s.by = (enum volume_seek_by)by;
		ck_assert_int_eq(bed_seek(&bed, &s), ERR_OK);
		ck_assert_int_eq(s.seq, next);
		/* A little earlier nothing is left. */
		s.after_ms--;
		ck_assert_int_eq(bed_seek(&bed, &s), ERR_OK);
		ck_assert_int_eq(s.seq, next);
		s.after_ms++;
	}
	store_batches_drop(&r.out);
}

START_TEST(cleaned_segment_takes_the_place_of_others)
{
	static const uint32_t steps[] = {2, 1, 3};
	struct cleaned_want w[CLEANED_COVERS];
	fill();
	uint64_t disk = volume_disk_bytes(bed.v);
	(void)replace_two(2, steps[_i], w);
	ck_assert(cleaned_has(&bed, "segments/c0000000001.mdb"));
	ck_assert(cleaned_has(&bed, "segments/c0000000001.idx"));
	ck_assert(!bed_has_file(&bed, 2, ".mdb"));
	ck_assert(!bed_has_file(&bed, 2, ".idx"));
	ck_assert(!bed_has_file(&bed, 3, ".mdb"));
	ck_assert(volume_disk_bytes(bed.v) < disk || steps[_i] == 1);
	for (int round = 0; round < 3; round++) {
		check_left(0, &w[0]);
		check_left(1, &w[1]);
		bed_append(&bed, 0, 1, 40000);
		reopen_without_making_manifest(round == 1);
		ck_assert_uint_eq(bed.v->manifest.base, 4);
		ck_assert_uint_eq(bed.v->manifest.next_cleaned, 2);
	}
}
END_TEST

START_TEST(cover_of_which_nothing_is_left_hides_what_was)
{
	struct cleaned_want w[CLEANED_COVERS];
	struct cleaned_want again[CLEANED_COVERS];
	fill();
	/* Segment 2 stays: only its partition 0 is painted over. */
	struct segment *s = cleaned_find(&bed, 2, false);
	ck_assert_uint_eq(cleaned_wants_of(&bed, s, w), 2);
	w[0].step = 0;
	struct cleaned c;
	cleaned_make(&bed, w, 1, &c);
	cleaned_replace(&bed, &c, NULL, 0);
	for (int round = 0; round < 3; round++) {
		check_left(0, &w[0]);
		bed_check_read(&bed, 1, 0, bed.next_seq[1]);
		struct segment *cleaned = cleaned_find(&bed, 1, true);
		ck_assert_uint_eq(cleaned->live_bytes, 0);
		ck_assert_uint_eq(cleaned->n_extents, 1);
		reopen_without_making_manifest(round == 1);
	}
	/* A later one over the earlier one. */
	s = cleaned_find(&bed, 1, true);
	ck_assert_uint_eq(cleaned_wants_of(&bed, s, again), 1);
	ck_assert_int_eq(again[0].first_seq, w[0].first_seq);
	cleaned_make(&bed, w, 1, &c);
	cleaned_replace(&bed, &c, &s, 1);
	ck_assert(!cleaned_has(&bed, "segments/c0000000001.mdb"));
	reopen_without_making_manifest(true);
	check_left(0, &w[0]);
	ck_assert_ptr_null(cleaned_find(&bed, 1, true));
	ck_assert_uint_eq(bed.v->manifest.next_cleaned, 3);
}
END_TEST

static void on_roll(struct msg *m)
{
	(void)m;
}

static void roll(void)
{
	struct volume_roll r = {.reply_to = &bed.box, .done = on_roll};
	volume_roll(bed.v, &r);
	msg_run_all(mailbox_wait(&bed.box, INT64_MAX));
	ck_assert_int_eq(r.err, ERR_OK);
}

static void check_indexes(void)
{
	for (uint32_t i = 0; i < bed.options.shards; i++) {
		struct volume_shard_info info;
		volume_shard_info(bed.v, i, &info);
		ck_assert_uint_eq(info.last_index, bed.next_index[i] - 1);
		ck_assert_uint_eq(info.last_term, 1);
	}
}

START_TEST(log_may_go_as_a_whole)
{
	fill();
	roll();
	struct segment *gone[SEGMENTS];
	for (uint64_t i = 0; i < SEGMENTS; i++) {
		gone[i] = cleaned_find(&bed, i + 1, false);
		ck_assert_int_eq(gone[i]->state, SEGMENT_SEALED);
	}
	for (uint32_t p = 0; p < 2; p++) {
		volume_set_start(bed.v, bed_part(p), bed.next_seq[p]);
	}
	struct err_detail d;
	ck_assert_int_eq(volume_raise_log_start(bed.v, gone, SEGMENTS, &d), ERR_BUSY);
	cleaned_replace(&bed, NULL, gone, SEGMENTS);
	for (int round = 0; round < 4; round++) {
		struct volume_shard_info info;
		check_indexes();
		volume_shard_info(bed.v, 0, &info);
		ck_assert_uint_eq(info.first_index, round < 2 ? 0 : info.hard.log_start);
		ck_assert_uint_eq(info.hard.start_term, 1);
		if (round == 1) {
			uint64_t log_start = info.hard.log_start;
			ck_assert_uint_eq(log_start, bed.next_index[0]);
			bed_append(&bed, 0, 1, 100);
			bed_append(&bed, 1, 1, 100);
		}
		reopen_without_making_manifest(round % 2 == 0);
	}
	for (uint64_t i = 1; i <= SEGMENTS; i++) {
		ck_assert(!bed_has_file(&bed, i, ".mdb"));
	}
	/* The roll makes one with the hard states, for none is left. */
	roll();
	ck_assert(bed_has_file(&bed, SEGMENTS + 1, ".idx"));
}
END_TEST

static enum err no_command(void *arg, uint64_t index, uint64_t term, const struct volume_command *c)
{
	(void)arg;
	(void)index;
	(void)term;
	(void)c;
	return ERR_OK;
}

START_TEST(replay_tells_what_is_gone)
{
	struct cleaned_want w[CLEANED_COVERS];
	struct err_detail d;
	fill();
	(void)replace_two(2, 1, w);
	bed_close(&bed);
	ck_assert_int_eq(bed_try_open(&bed, false, &d), ERR_OK);
	struct volume_shard_info info;
	volume_shard_info(bed.v, 0, &info);
	ck_assert_uint_eq(info.first_index, info.hard.log_start);
	ck_assert_uint_gt(info.first_index, 1);
	ck_assert_int_eq(volume_replay(bed.v, 0, info.first_index - 1, no_command, NULL, &d), ERR_OK);
	ck_assert_int_eq(volume_replay(bed.v, 0, info.first_index - 2, no_command, NULL, &d),
			 ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(d.text, "are missing"));
	ck_assert_int_eq(volume_replay(bed.v, 0, 0, no_command, NULL, &d), ERR_CORRUPT);
}
END_TEST

START_TEST(leftovers_are_removed)
{
	struct cleaned_want w[CLEANED_COVERS];
	fill();
	cleaned_copy(&bed, "segments/0000000002.mdb", "kept.mdb");
	cleaned_copy(&bed, "segments/0000000002.idx", "kept.idx");
	(void)replace_two(2, 2, w);
	bed_close(&bed);
	/* What a crash after the manifest leaves, and one before the next manifest. */
	cleaned_copy(&bed, "kept.mdb", "segments/0000000002.mdb");
	cleaned_copy(&bed, "kept.idx", "segments/0000000002.idx");
	cleaned_copy(&bed, "kept.mdb", "segments/c0000000002.mdb");
	cleaned_copy(&bed, "kept.mdb", "segments/c0000000003.mdb");
	cleaned_copy(&bed, "kept.idx", "segments/c0000000003.idx");
	cleaned_copy(&bed, "kept.idx", "segments/c0000000003.idx.tmp7");
	cleaned_copy(&bed, "kept.idx", "MANIFEST.tmp");
	cleaned_copy(&bed, "kept.idx", "MANIFEST.copy.tmp");
	bed.options.may_lack_manifest = false;
	bed_open(&bed, true);
	static const char *const gone[] = {
		"segments/0000000002.mdb", "segments/0000000002.idx", "segments/c0000000002.mdb",
		"segments/c0000000003.mdb", "segments/c0000000003.idx",
		"segments/c0000000003.idx.tmp7", "MANIFEST.tmp", "MANIFEST.copy.tmp",
	};
	for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
		ck_assert_msg(!cleaned_has(&bed, gone[i]), "%s", gone[i]);
	}
	check_left(0, &w[0]);
	check_left(1, &w[1]);
}
END_TEST

/* Beside a lost segment an unfinished one is no reason not to start, and nothing that may
 * be all that is left is removed. */
START_TEST(leftovers_beside_a_lost_segment_stay)
{
	struct cleaned_want w[CLEANED_COVERS];
	fill();
	cleaned_copy(&bed, "segments/0000000002.mdb", "kept.mdb");
	cleaned_copy(&bed, "segments/0000000002.idx", "kept.idx");
	(void)replace_two(2, 2, w);
	bed_close(&bed);
	bed_unlink(&bed, "segments/c0000000001.mdb");
	bed_unlink(&bed, "segments/c0000000001.idx");
	cleaned_copy(&bed, "kept.mdb", "segments/0000000002.mdb");
	cleaned_copy(&bed, "kept.idx", "segments/0000000002.idx");
	cleaned_copy(&bed, "kept.mdb", "segments/c0000000002.mdb");
	bed.options.may_lack_manifest = false;
	bed_open(&bed, true);
	ck_assert(bed_log_had("segment=c0000000001"));
	ck_assert(cleaned_has(&bed, "segments/0000000002.mdb"));
	ck_assert(cleaned_has(&bed, "segments/0000000002.idx"));
}
END_TEST

static void expect_error(enum err want, const char *text)
{
	struct err_detail d;
	ck_assert_int_eq(bed_try_open(&bed, true, &d), want);
	ck_assert_msg(strstr(d.text, text) != NULL, "\"%s\" lacks \"%s\"", d.text, text);
}

START_TEST(old_manifest_is_refused)
{
	struct cleaned_want w[CLEANED_COVERS];
	fill();
	cleaned_copy(&bed, "MANIFEST", "old");
	(void)replace_two(1, 2, w);
	cleaned_copy(&bed, "MANIFEST", "new");
	struct segment *gone[] = {cleaned_find(&bed, 1, true)};
	struct cleaned c;
	cleaned_make(&bed, w, 2, &c);
	cleaned_replace(&bed, &c, gone, 1);
	cleaned_copy(&bed, "MANIFEST", "newest");
	bed_close(&bed);
	bed.options.may_lack_manifest = false;
	static const char *const stale[] = {"old", "new"};
	for (size_t i = 0; i < 2; i++) {
		cleaned_copy(&bed, stale[i], "MANIFEST");
		cleaned_copy(&bed, stale[i], "MANIFEST.copy");
		expect_error(ERR_CORRUPT, "MANIFEST is an old copy");
		ck_assert(cleaned_has(&bed, "segments/c0000000002.mdb"));
		/* One of the two is enough to know better. */
		cleaned_copy(&bed, "newest", i == 0 ? "MANIFEST" : "MANIFEST.copy");
		bed_open(&bed, true);
		ck_assert(bed_log_had("MANIFEST-REPAIRED"));
		ck_assert_int_ge((int)cleaned_count(&bed, 0, 0, bed.next_seq[0]), 1);
		bed_close(&bed);
		cleaned_copy(&bed, "MANIFEST", "newest");
	}
	bed_unlink(&bed, "MANIFEST");
	bed_unlink(&bed, "MANIFEST.copy");
	expect_error(ERR_CORRUPT, "MANIFEST: is missing");
	/* What was never without one may not lack it whatever the caller says. */
	bed.options.may_lack_manifest = true;
	expect_error(ERR_CORRUPT, "MANIFEST: is missing");
	cleaned_copy(&bed, "segments/c0000000002.idx", "MANIFEST");
	expect_error(ERR_CORRUPT, "MANIFEST: damaged");
	cleaned_copy(&bed, "newest", "MANIFEST");
	bed.options.store_uuid[1] ^= 1;
	expect_error(ERR_INVALID, "another store");
	bed.options.store_uuid[1] ^= 1;
	bed_open(&bed, true);
	bed_check_read(&bed, 0, w[0].end_seq, bed.next_seq[0]);
}
END_TEST

START_TEST(lost_segments_are_named_and_the_rest_serves)
{
	struct cleaned_want w[CLEANED_COVERS];
	fill();
	struct segment *first = cleaned_find(&bed, 1, false);
	ck_assert_uint_eq(cleaned_wants_of(&bed, first, w), 2);
	struct cleaned_want one = w[0];
	(void)replace_two(2, 1, w);
	bed_close(&bed);
	bed.options.may_lack_manifest = false;
	cleaned_copy(&bed, "segments/0000000001.idx", "kept.idx");
	/* Without the .mdb its events answer so. */
	bed_unlink(&bed, "segments/0000000001.mdb");
	bed_open(&bed, false);
	ck_assert(bed_log_had("SEGMENT-DAMAGED"));
	struct volume_read r = {.part = bed_part(0), .limit = one.end_seq, .max_bytes = 1};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_CORRUPT);
	bed_check_read(&bed, 0, one.end_seq, bed.next_seq[0]);
	bed_close(&bed);
	/* Without either only its name is known; at every start. */
	bed_unlink(&bed, "segments/0000000001.idx");
	for (int round = 0; round < 2; round++) {
		bed_open(&bed, round == 1);
		ck_assert(bed_log_had("segment=0000000001"));
		check_indexes();
		bed_check_read(&bed, 0, one.end_seq, bed.next_seq[0]);
		bed_append(&bed, 0, 1, 100);
		bed_close(&bed);
	}
	/* A cleaned one, first its .mdb. */
	bed_unlink(&bed, "segments/c0000000001.mdb");
	bed_open(&bed, false);
	ck_assert(bed_log_had("segment=c0000000001"));
	r = (struct volume_read){.part = bed_part(0), .from = w[0].first_seq, .limit = w[0].end_seq,
				 .max_bytes = 1};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_CORRUPT);
	bed_check_read(&bed, 0, w[0].end_seq, bed.next_seq[0]);
	bed_close(&bed);
	bed_unlink(&bed, "segments/c0000000001.idx");
	bed_open(&bed, false);
	ck_assert(bed_log_had("segment=c0000000001"));
	bed_check_read(&bed, 0, w[0].end_seq, bed.next_seq[0]);
	ck_assert(manifest_has(&bed.v->manifest.cleaned, 1));
	ck_assert(manifest_has(&bed.v->manifest.log, 1));
	/* One that is not below the base must be there. */
	bed_close(&bed);
	bed_unlink(&bed, "segments/0000000004.mdb");
	bed_unlink(&bed, "segments/0000000004.idx");
	expect_error(ERR_CORRUPT, "0000000004.mdb: is missing");
}
END_TEST

/* A log segment in the middle is lost: its entries are needed above the log start. */
START_TEST(lost_log_is_named_where_it_is_needed)
{
	struct err_detail d;
	struct cleaned_want w[CLEANED_COVERS];
	fill();
	(void)replace_two(3, 1, w);
	bed_close(&bed);
	ck_assert_uint_eq(bed_has_file(&bed, 2, ".mdb"), 1);
	bed_unlink(&bed, "segments/0000000002.mdb");
	bed_unlink(&bed, "segments/0000000002.idx");
	bed_open(&bed, true);
	ck_assert(bed_log_had("segment=0000000002"));
	check_indexes();
	bed_close(&bed);
	ck_assert_int_eq(bed_try_open(&bed, false, &d), ERR_OK);
	ck_assert_int_eq(volume_replay(bed.v, 0, 0, no_command, NULL, &d), ERR_CORRUPT);
}
END_TEST

START_TEST(damaged_cleaned_segment)
{
	struct cleaned_want w[CLEANED_COVERS];
	char path[256];
	fill();
	(void)replace_two(1, 2, w);
	bed_close(&bed);
	bed.options.may_lack_manifest = false;
	snprintf(path, sizeof path, "%s/segments/c0000000001.idx", bed.dir);
	int64_t size = bed_size(path);
	for (int64_t at = 100; at < size; at += 4096) {
		bed_flip(path, at);
		bed_open(&bed, true);
		check_left(0, &w[0]);
		check_left(1, &w[1]);
		bed_reopen(&bed, false);
		check_left(0, &w[0]);
		bed_close(&bed);
		ck_assert_int_eq(bed_size(path), size);
	}
	bed_unlink(&bed, "segments/c0000000001.idx");
	bed_open(&bed, true);
	ck_assert(bed_log_had("INDEX-REBUILT"));
	check_left(0, &w[0]);
	bed_close(&bed);
	/* Its records, then with the index lost too. */
	snprintf(path, sizeof path, "%s/segments/c0000000001.mdb", bed.dir);
	bed_flip(path, bed_size(path) / 2);
	bed_open(&bed, true);
	struct volume_read r = {.part = bed_part(0), .limit = w[0].end_seq, .max_bytes = 1};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_CORRUPT);
	bed_check_read(&bed, 0, w[0].end_seq, bed.next_seq[0]);
	bed_close(&bed);
	bed_flip(path, bed_size(path) / 2);
	bed_flip(path, 8192 + 100);
	bed_unlink(&bed, "segments/c0000000001.idx");
	bed_open(&bed, true);
	bed_check_read(&bed, 0, w[0].end_seq, bed.next_seq[0]);
	bed_append(&bed, 0, 1, 100);
}
END_TEST

static void write_complete(uint64_t n)
{
	struct manifest m = {.generation = 50, .next_cleaned = bed.v->manifest.next_cleaned,
			     .base = n + 1, .is_complete = true};
	memcpy(m.store_uuid, bed.options.store_uuid, sizeof m.store_uuid);
	for (uint64_t i = 1; i <= n; i++) {
		if (cleaned_find(&bed, i, false) != NULL) {
			ck_assert_int_eq(manifest_add(&m.log, i), ERR_OK);
		}
	}
	for (uint64_t i = 1; i < m.next_cleaned; i++) {
		ck_assert_int_eq(manifest_add(&m.cleaned, i), ERR_OK);
	}
	ck_assert_int_eq(manifest_write(bed.dir, &m, NULL), ERR_OK);
	manifest_fini(&m);
}

START_TEST(restored_directory_goes_on)
{
	struct cleaned_want w[CLEANED_COVERS];
	fill();
	(void)replace_two(2, 2, w);
	roll();
	bed.options.may_lack_manifest = false;
	write_complete(SEGMENTS);
	bed_close(&bed);
	cleaned_copy(&bed, "MANIFEST", "kept");
	static const size_t cut[] = {SIZE_MAX, 0, 100};
	for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
		cleaned_copy(&bed, "kept", "MANIFEST");
		cleaned_copy(&bed, "kept", "MANIFEST.copy");
		char path[256];
		bed_file(&bed, SEGMENTS + 1, ".mdb", path, sizeof path);
		if (i == 0) {
			ck_assert_int_eq(unlink(path), 0);
		} else {
			/* The first start was cut short. */
			ck_assert_int_eq(truncate(path, (off_t)cut[i]), 0);
		}
		bed_open(&bed, true);
		ck_assert(!bed.v->manifest.is_complete);
		ck_assert_uint_gt(bed.v->manifest.generation, 50);
		check_left(0, &w[0]);
		check_indexes();
		bed_close(&bed);
	}
	/* Or after its segment was made, before the manifest. */
	cleaned_copy(&bed, "kept", "MANIFEST");
	cleaned_copy(&bed, "kept", "MANIFEST.copy");
	bed_open(&bed, true);
	bed_append(&bed, 0, 1, 100);
	reopen_without_making_manifest(true);
	check_left(0, &w[0]);
	/* What is listed must be there. */
	bed_close(&bed);
	cleaned_copy(&bed, "kept", "MANIFEST");
	cleaned_copy(&bed, "kept", "MANIFEST.copy");
	bed_unlink(&bed, "segments/0000000006.mdb");
	bed_unlink(&bed, "segments/0000000005.mdb");
	bed_unlink(&bed, "segments/0000000005.idx");
	expect_error(ERR_CORRUPT, "0000000005");
}
END_TEST

START_TEST(pinned_volume_is_not_replaced)
{
	struct cleaned_want w[CLEANED_COVERS];
	struct err_detail d;
	fill();
	struct segment *gone[] = {cleaned_find(&bed, 1, false)};
	size_t n = cleaned_wants_of(&bed, gone[0], w);
	struct cleaned c;
	cleaned_make(&bed, w, n, &c);
	volume_pin(bed.v);
	volume_pin(bed.v);
	volume_unpin(bed.v);
	ck_assert_int_eq(segment_replace(bed.v, c.segment, c.covers, c.bytes, c.n, gone, 1, &d),
			 ERR_BUSY);
	bed_check_all(&bed);
	ck_assert_ptr_null(cleaned_find(&bed, 1, true));
	volume_unpin(bed.v);
	cleaned_replace(&bed, &c, gone, 1);
	bed_check_read(&bed, 0, 0, bed.next_seq[0]);
	reopen_without_making_manifest(false);
	bed_check_read(&bed, 0, 0, bed.next_seq[0]);
}
END_TEST

START_TEST(held_segment_stays_until_it_is_dropped)
{
	struct cleaned_want w[CLEANED_COVERS];
	fill();
	struct segment *s = cleaned_find(&bed, 1, false);
	ck_assert_int_eq(segment_hold(s, NULL), ERR_OK);
	struct segment *closed = cleaned_find(&bed, 2, false);
	lock_take(&bed.v->lock);
	segment_claim_locked(closed);
	lock_give(&bed.v->lock);
	(void)replace_two(1, 2, w);
	ck_assert(bed_has_file(&bed, 1, ".mdb"));
	ck_assert(bed_has_file(&bed, 2, ".idx"));
	/* Claimed before it went, it can still be opened. */
	ck_assert_int_eq(segment_open(closed, NULL), ERR_OK);
	check_left(0, &w[0]);
	segment_drop(s);
	ck_assert(!bed_has_file(&bed, 1, ".mdb"));
	ck_assert(bed_has_file(&bed, 2, ".mdb"));
	segment_drop(closed);
	ck_assert(!bed_has_file(&bed, 2, ".mdb"));
	check_left(0, &w[0]);
	/* Places are used again. */
	size_t n = bed.v->n_segments;
	for (int i = 0; i < 40; i++) {
		bed_append(&bed, 0, 1, 40000);
	}
	ck_assert_uint_le(bed.v->n_segments, n);
	bed_check_read(&bed, 0, w[0].end_seq, bed.next_seq[0]);
}
END_TEST

START_TEST(trims_during_a_replacement_are_kept)
{
	struct cleaned_want w[CLEANED_COVERS];
	fill();
	struct segment *gone[] = {cleaned_find(&bed, 1, false), cleaned_find(&bed, 2, false)};
	struct cleaned_want more[CLEANED_COVERS];
	size_t n = cleaned_wants_of(&bed, gone[0], w);
	(void)cleaned_wants_of(&bed, gone[1], more);
	for (size_t i = 0; i < n; i++) {
		w[i].end_seq = more[i].end_seq;
	}
	struct cleaned c;
	cleaned_make(&bed, w, n, &c);
	/* Partition 0 up to the middle, partition 1 as a whole. */
	volume_set_start(bed.v, bed_part(0), more[0].first_seq + 1);
	volume_set_gone(bed.v, bed_part(1));
	cleaned_replace(&bed, &c, gone, 2);
	bed_check_read(&bed, 0, more[0].first_seq + 1, bed.next_seq[0]);
	ck_assert_uint_eq(cleaned_count(&bed, 1, 0, bed.next_seq[1]), 0);
	struct segment *s = cleaned_find(&bed, 1, true);
	ck_assert_uint_eq(s->n_extents, 1);
	ck_assert_uint_eq(s->live_bytes, c.bytes[0]);
	volume_set_start(bed.v, bed_part(0), w[0].end_seq);
	ck_assert_uint_eq(s->live_bytes, 0);
	ck_assert_uint_eq(s->n_extents, 0);
}
END_TEST

START_TEST(replacing_survives_lack_of_memory)
{
	struct cleaned_want w[CLEANED_COVERS];
	struct err_detail d;
	fill();
	struct segment *gone[] = {cleaned_find(&bed, 1, false), cleaned_find(&bed, 2, false)};
	struct cleaned_want more[CLEANED_COVERS];
	size_t n = cleaned_wants_of(&bed, gone[0], w);
	(void)cleaned_wants_of(&bed, gone[1], more);
	for (size_t i = 0; i < n; i++) {
		w[i].end_seq = more[i].end_seq;
	}
	struct cleaned c;
	cleaned_make(&bed, w, n, &c);
	for (uint32_t i = 0; i < bed.options.shards; i++) {
		volume_set_floor(bed.v, i, UINT64_MAX);
	}
	for (long at = 1;; at++) {
		mem_fault_at(at);
		enum err e = volume_raise_log_start(bed.v, gone, 2, &d);
		if (e == ERR_OK) {
			e = segment_replace(bed.v, c.segment, c.covers, c.bytes, c.n, gone, 2, &d);
		}
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			ck_assert_int_gt(at, 4);
			break;
		}
		ck_assert_int_eq(e, ERR_NOMEM);
		bed_check_read(&bed, 0, 0, bed.next_seq[0]);
		ck_assert_uint_eq(bed.v->manifest.base, 1);
	}
	bed_check_read(&bed, 0, 0, bed.next_seq[0]);
	bed_close(&bed);
	/* And so does opening what it left, with and without the index. */
	for (int round = 0; round < 2; round++) {
		for (long at = 1;; at++) {
			mem_fault_at(at);
			enum err e = bed_try_open(&bed, round == 1, &d);
			bool fired = mem_fault_fired();
			mem_fault_at(0);
			if (!fired) {
				ck_assert_int_eq(e, ERR_OK);
				break;
			}
			ck_assert_msg(e == ERR_NOMEM, "allocation %ld: %s: %s", at, err_text(e),
				      d.text);
			ck_assert_ptr_null(bed.v);
		}
		bed_start(&bed);
		bed_check_read(&bed, 0, 0, bed.next_seq[0]);
		bed_close(&bed);
		if (round == 0) {
			bed_unlink(&bed, "segments/c0000000001.idx");
			bed_unlink(&bed, "MANIFEST.copy");
		}
	}
}
END_TEST

/* One segment, all of it kept. */
static void make_one(struct cleaned *c, struct segment **gone)
{
	struct cleaned_want w[CLEANED_COVERS];
	uint64_t number = 1;
	while ((gone[0] = cleaned_find(&bed, number, false)) == NULL) {
		number++;
	}
	size_t n = cleaned_wants_of(&bed, gone[0], w);
	cleaned_make(&bed, w, n, c);
	for (uint32_t i = 0; i < bed.options.shards; i++) {
		volume_set_floor(bed.v, i, UINT64_MAX);
	}
	ck_assert_int_eq(volume_raise_log_start(bed.v, gone, 1, NULL), ERR_OK);
}

static void check_events(void)
{
	bed_check_read(&bed, 0, 0, bed.next_seq[0]);
	bed_check_read(&bed, 1, 0, bed.next_seq[1]);
}

START_TEST(replacing_survives_a_full_disk)
{
	struct cleaned c;
	struct segment *gone[1];
	struct err_detail d;
	fill();
	make_one(&c, gone);
	for (long at = 1;; at++) {
		fake_write_fail_at(at, ENOSPC);
		enum err e = segment_replace(bed.v, c.segment, c.covers, c.bytes, c.n, gone, 1, &d);
		bool fired = fake_write_fired();
		fake_write_fail_at(0, 0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			ck_assert_int_gt(at, 2);
			break;
		}
		ck_assert_int_eq(e, ERR_FULL);
		ck_assert_uint_eq(bed.v->manifest.generation, 1);
		ck_assert(!cleaned_has(&bed, "MANIFEST.tmp"));
		ck_assert(!cleaned_has(&bed, "MANIFEST.copy.tmp"));
		check_events();
	}
	check_events();
	reopen_without_making_manifest(true);
	check_events();
}
END_TEST

START_TEST(replacing_survives_its_process)
{
	fill();
	bed_close(&bed);
	bool fired = true;
	for (long at = 1; fired; at++) {
		pid_t pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			struct cleaned c;
			struct segment *gone[1];
			bed_open(&bed, true);
			make_one(&c, gone);
			fake_write_exit_at(at);
			(void)!segment_replace(bed.v, c.segment, c.covers, c.bytes, c.n, gone, 1,
					       NULL);
			_exit(7);
		}
		int status;
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status));
		fired = WEXITSTATUS(status) != 7;
		bed_open(&bed, true);
		check_events();
		check_indexes();
		ck_assert_int_eq(bed_has_file(&bed, 1, ".mdb"), fired);
		ck_assert_int_eq(cleaned_has(&bed, "segments/c0000000001.mdb"), !fired);
		bed_close(&bed);
	}
	bed.options.may_lack_manifest = false;
	bed_open(&bed, true);
	check_events();
}
END_TEST

Suite *replace_suite(void)
{
	Suite *s = suite_create("replace");
	TCase *t = tcase_create("replace");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, cleaned_segment_takes_the_place_of_others, 0, 3);
	tcase_add_test(t, cover_of_which_nothing_is_left_hides_what_was);
	tcase_add_test(t, log_may_go_as_a_whole);
	tcase_add_test(t, replay_tells_what_is_gone);
	tcase_add_test(t, leftovers_are_removed);
	tcase_add_test(t, leftovers_beside_a_lost_segment_stay);
	tcase_add_test(t, old_manifest_is_refused);
	tcase_add_test(t, lost_segments_are_named_and_the_rest_serves);
	tcase_add_test(t, lost_log_is_named_where_it_is_needed);
	tcase_add_test(t, damaged_cleaned_segment);
	tcase_add_test(t, restored_directory_goes_on);
	tcase_add_test(t, pinned_volume_is_not_replaced);
	tcase_add_test(t, held_segment_stays_until_it_is_dropped);
	tcase_add_test(t, trims_during_a_replacement_are_kept);
	tcase_add_test(t, replacing_survives_lack_of_memory);
	tcase_add_test(t, replacing_survives_a_full_disk);
	tcase_add_test(t, replacing_survives_its_process);
	suite_add_tcase(s, t);
	return s;
}
