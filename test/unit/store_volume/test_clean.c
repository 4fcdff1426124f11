#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

#include "base/clock.h"
#include "base/mem.h"
#include "store/volume/clean.h"
#include "store/volume/verify.h"
#include "test/lib/fake_pwrite.h"
#include "test/lib/fake_write.h"

/* The cleaner's thread does a round when it is woken only. */
enum { NEVER_MS = 3600 * 1000 };

static struct bed bed;
static int64_t starts[BED_PARTS];
static bool gone[BED_PARTS];

static void setup(void)
{
	bed_init(&bed);
	bed.options.clean_pause_ms = NEVER_MS;
	bed_log_catch();
	memset(starts, 0, sizeof starts);
	memset(gone, 0, sizeof gone);
}
static void teardown(void)
{
	bed_fini(&bed);
}

static void tell_one(uint32_t p)
{
	if (gone[p]) {
		volume_set_gone(bed.v, bed_part(p));
	} else if (starts[p] > 0) {
		volume_set_start(bed.v, bed_part(p), starts[p]);
	}
}

/* What is in the log so far may go. */
static void tell(void)
{
	for (uint32_t p = 0; p < BED_PARTS; p++) {
		tell_one(p);
	}
	for (uint32_t i = 0; i < bed.options.shards; i++) {
		volume_set_floor(bed.v, i, bed.next_index[i] - 1);
	}
}

/* The cleaner's thread is told nothing that wakes it. */
static void open_quietly(bool was_unclean)
{
	struct err_detail d;
	enum err e = bed_try_open(&bed, was_unclean, &d);
	ck_assert_msg(e == ERR_OK, "volume_open: %s: %s", err_text(e), d.text);
	tell();
	bed.v->has_work = false;
	bed_start(&bed);
}

/* Until the sealer has nothing left. */
static void wait_sealed(void)
{
	for (int i = 0; i < 20000; i++) {
		bool is_left = false;
		lock_take(&bed.v->lock);
		for (size_t k = 0; k < bed.v->n_segments; k++) {
			const struct segment *s = bed.v->segments[k];
			is_left = is_left || (s != NULL && s->state == SEGMENT_CLOSED);
		}
		lock_give(&bed.v->lock);
		if (!is_left) {
			return;
		}
		usleep(1000);
	}
	ck_abort_msg("not sealed");
}

/* A round on the test's own thread, while the cleaner's sleeps. */
static enum err try_clean(struct err_detail *d)
{
	struct cleaner c;
	cleaner_begin(&c, bed.v);
	d->text[0] = '\0';
	return cleaner_round(&c, d);
}

static uint64_t rounds(void)
{
	lock_take(&bed.v->lock);
	uint64_t n = bed.v->clean_rounds;
	lock_give(&bed.v->lock);
	return n;
}

/* Until the cleaner has done a round that was begun after this call. */
static void clean(void)
{
	for (int i = 0; i < 2; i++) {
		uint64_t before = rounds();
		cleaner_wake(bed.v);
		for (int ms = 0; rounds() == before && ms < 60000; ms++) {
			usleep(1000);
		}
		ck_assert_uint_gt(rounds(), before);
	}
}

static void check_retained(void)
{
	for (uint32_t p = 0; p < BED_PARTS; p++) {
		if (!gone[p]) {
			bed_check_read(&bed, p, starts[p], bed.next_seq[p]);
		}
	}
}

/* Of the segments in the table; also holds the table against the files. */
struct totals {
	uint64_t file_bytes;
	uint64_t live_bytes;
	size_t log;
	size_t cleaned;
};

static size_t count_files(const char *suffix)
{
	char path[256];
	size_t n = 0;
	snprintf(path, sizeof path, "%s/segments", bed.dir);
	DIR *dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	struct dirent *e;
	while ((e = readdir(dir)) != NULL) {
		const char *dot = strchr(e->d_name, '.');
		n += dot != NULL && strcmp(dot, suffix) == 0;
	}
	closedir(dir);
	return n;
}

static struct totals totals(void)
{
	struct totals t = {0};
	lock_take(&bed.v->lock);
	for (size_t i = 0; i < bed.v->n_segments; i++) {
		const struct segment *s = bed.v->segments[i];
		if (s != NULL) {
			t.file_bytes += s->file_bytes;
			t.live_bytes += s->live_bytes;
			*(s->is_cleaned ? &t.cleaned : &t.log) += 1;
		}
	}
	lock_give(&bed.v->lock);
	ck_assert_uint_eq(count_files(".mdb"), t.log + t.cleaned);
	ck_assert_uint_eq(t.file_bytes, volume_disk_bytes(bed.v));
	return t;
}

/* Until the log has so many segments more; partition 0 gets `small` events for each
 * entry of 100 KB of partition 1. */
static void fill(uint64_t segments, int32_t small)
{
	uint64_t until = bed.v->active->number + segments;
	while (bed.v->active->number < until) {
		for (int i = 0; i < 3; i++) {
			bed_append(&bed, 1, 10, 10000);
		}
		if (small > 0) {
			bed_append(&bed, 0, small, 500);
		}
	}
	wait_sealed();
}

/* ---- */

START_TEST(dead_segments_go_once_the_floor_allows)
{
	open_quietly(false);
	fill(4, 0);
	starts[1] = bed.next_seq[1];
	volume_set_start(bed.v, bed_part(1), starts[1]);
	clean();
	ck_assert_uint_ge(totals().log, 5);
	tell();
	clean();
	struct totals t = totals();
	ck_assert_uint_eq(t.log, 1);
	ck_assert_uint_eq(t.cleaned, 0);
	struct volume_shard_info info;
	volume_shard_info(bed.v, 1, &info);
	ck_assert_uint_eq(info.last_index, bed.next_index[1] - 1);
	for (int unclean = 0; unclean < 2; unclean++) {
		bed_close(&bed);
		open_quietly(unclean == 1);
		volume_shard_info(bed.v, 1, &info);
		ck_assert_uint_eq(info.last_index, bed.next_index[1] - 1);
		ck_assert_uint_eq(info.last_term, 1);
		bed_append(&bed, 1, 10, 1000);
		bed_append(&bed, 0, 10, 1000);
		check_retained();
	}
}
END_TEST

START_TEST(live_batches_are_copied_and_read_back_unchanged)
{
	open_quietly(false);
	fill(4, 3);
	starts[1] = bed.next_seq[1];
	tell();
	uint64_t before = totals().file_bytes;
	clean();
	struct totals t = totals();
	ck_assert_uint_eq(t.log, 1);
	ck_assert_uint_eq(t.cleaned, 1);
	ck_assert_uint_lt(t.file_bytes * 4, before);
	check_retained();
	/* The order and times of events are searched for as before. */
	struct volume_seek s = {
		.part = bed_part(0),
		.by = VOLUME_SEEK_MAX_TIMESTAMP,
		.limit = bed.next_seq[0],
	};
	ck_assert_int_eq(bed_seek(&bed, &s), ERR_OK);
	ck_assert_int_eq(s.seq, bed.next_seq[0] - 3);
	s = (struct volume_seek){.part = bed_part(0), .after_ms = 0, .limit = bed.next_seq[0]};
	ck_assert_int_eq(bed_seek(&bed, &s), ERR_OK);
	ck_assert_int_eq(s.seq, 0);
	for (int unclean = 0; unclean < 2; unclean++) {
		bed_close(&bed);
		open_quietly(unclean == 1);
		ck_assert_uint_eq(totals().cleaned, 1);
		check_retained();
		clean();
		ck_assert_uint_eq(totals().cleaned, 1);
	}
}
END_TEST

/* All that a segment holds of a partition ends before it is full, then more comes. */
START_TEST(start_in_the_active_segment)
{
	open_quietly(false);
	bed_append(&bed, 0, 10, 500);
	bed_append(&bed, 2, 10, 500);
	starts[0] = 10;
	tell();
	bed_append(&bed, 0, 10, 500);
	fill(2, 3);
	starts[1] = bed.next_seq[1];
	tell();
	clean();
	ck_assert(!bed_log_had("SEGMENT-KEPT"));
	ck_assert(!bed_log_had("INDEX-REBUILT"));
	ck_assert_uint_eq(totals().log, 1);
	check_retained();
	bed_close(&bed);
	open_quietly(true);
	check_retained();
}
END_TEST

/* What the start cuts away is not copied, and its timestamps are not told any more. */
START_TEST(cut_extent_keeps_what_is_above_the_start)
{
	open_quietly(false);
	bed.timestamp_ms = 900000;
	bed_append(&bed, 0, 10, 500);
	bed.timestamp_ms = 0;
	fill(3, 3);
	starts[0] = 12;
	starts[1] = bed.next_seq[1];
	tell();
	clean();
	ck_assert_uint_eq(totals().cleaned, 1);
	check_retained();
	struct volume_seek s = {
		.part = bed_part(0),
		.by = VOLUME_SEEK_MAX_TIMESTAMP,
		.limit = bed.next_seq[0],
	};
	ck_assert_int_eq(bed_seek(&bed, &s), ERR_OK);
	ck_assert_int_eq(s.seq, bed.next_seq[0] - 3);
	struct volume_read r = {.part = bed_part(0), .limit = bed.next_seq[0], .max_bytes = 1};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_OK);
	ck_assert_uint_eq(r.out.n, 1);
	ck_assert_int_eq(r.out.v[0].base_seq, 10);
	store_batches_drop(&r.out);
}
END_TEST

START_TEST(pin_keeps_every_file)
{
	open_quietly(false);
	fill(3, 0);
	starts[1] = bed.next_seq[1];
	tell();
	volume_pin(bed.v);
	struct totals t = totals();
	cleaner_wake(bed.v);
	usleep(50000);
	ck_assert_uint_eq(totals().log, t.log);
	volume_unpin(bed.v);
	for (int i = 0; i < 10000 && count_files(".mdb") > 1; i++) {
		usleep(1000);
	}
	ck_assert_uint_eq(count_files(".mdb"), 1);
}
END_TEST

/* A source that proves damaged while it is copied stays as it is, with all that it has. */
START_TEST(damaged_source_is_kept_whole)
{
	open_quietly(false);
	fill(3, 3);
	bed_close(&bed);
	char path[256];
	bed_file(&bed, 2, ".mdb", path, sizeof path);
	bed_flip(path, bed_size(path) / 2);
	int64_t size = bed_size(path);
	starts[1] = bed.next_seq[1];
	open_quietly(false);
	clean();
	clean();
	ck_assert(bed_log_had("SEGMENT-DAMAGED"));
	ck_assert_int_eq(bed_size(path), size);
	struct totals t = totals();
	ck_assert_uint_eq(t.log, 2);
	/* Its neighbours were cleaned, not across it. */
	ck_assert_uint_eq(t.cleaned, 2);
	bed_flip(path, bed_size(path) / 2);
	bed_close(&bed);
	open_quietly(true);
	check_retained();
	clean();
	check_retained();
	ck_assert_uint_eq(totals().log, 1);
}
END_TEST

/* Damage of what nobody needs any more takes no space either. */
START_TEST(damaged_and_dead_goes)
{
	open_quietly(false);
	fill(3, 0);
	bed_close(&bed);
	char path[256];
	bed_file(&bed, 1, ".mdb", path, sizeof path);
	bed_flip(path, bed_size(path) / 2);
	open_quietly(false);
	struct volume_read r = {.part = bed_part(1), .limit = 10, .max_bytes = 1};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_CORRUPT);
	ck_assert(bed_log_had("SEGMENT-DAMAGED"));
	starts[1] = bed.next_seq[1];
	tell();
	clean();
	ck_assert_uint_eq(totals().log, 1);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* Many small ones are joined, so that their number stays small. */
START_TEST(small_segments_are_joined)
{
	open_quietly(false);
	for (int i = 0; i < 30; i++) {
		fill(1, 1);
		starts[1] = bed.next_seq[1];
		tell();
		clean();
		ck_assert_uint_le(totals().cleaned, 16);
	}
	check_retained();
	bed_close(&bed);
	open_quietly(true);
	check_retained();
}
END_TEST

/* Stops at once although there is much to copy, and leaves nothing behind. */
START_TEST(stop_ends_a_round)
{
	bed.options.clean_rate = 1000;
	open_quietly(false);
	fill(4, 40);
	starts[1] = bed.next_seq[1];
	tell();
	cleaner_wake(bed.v);
	usleep(200000);
	int64_t start_ms = clock_mono_ms();
	bed_close(&bed);
	ck_assert_int_lt(clock_mono_ms() - start_ms, 5000);
	ck_assert_uint_ge(count_files(".mdb"), 5);
	bed.options.clean_rate = 0;
	open_quietly(false);
	check_retained();
	clean();
	ck_assert_uint_eq(totals().log, 1);
	check_retained();
}
END_TEST

/* The payload of one event is damaged after the whole file was found sound. */
START_TEST(damage_met_while_copying_keeps_the_source)
{
	open_quietly(false);
	fill(2, 6);
	char path[256];
	bed_file(&bed, 1, ".mdb", path, sizeof path);
	uint8_t value[24];
	put_u32(value, 0);
	put_u64(value + 4, 3);
	memset(value + 12, 3, 12);
	int64_t at = bed_find(path, value, sizeof value);
	ck_assert_int_gt(at, 0);
	bed_flip(path, at + 100);
	starts[1] = bed.next_seq[1];
	tell();
	clean();
	ck_assert(bed_log_had("SEGMENT-KEPT"));
	ck_assert_uint_eq(totals().log, 2);
	ck_assert_uint_eq(totals().cleaned, 1);
	struct volume_read r = {.part = bed_part(0), .limit = 6, .max_bytes = 100000};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_CORRUPT);
	bed_check_read(&bed, 0, 6, bed.next_seq[0]);
	bed_flip(path, at + 100);
	check_retained();
	bed_close(&bed);
	open_quietly(true);
	clean();
	ck_assert_uint_eq(totals().log, 1);
	check_retained();
}
END_TEST

/* An index that proves damaged is made anew for the cleaner too. */
START_TEST(damaged_index_is_made_anew)
{
	open_quietly(false);
	fill(2, 6);
	char path[256];
	bed_file(&bed, 1, ".idx", path, sizeof path);
	for (int64_t at = IDX_BLOCK; at < bed_size(path); at += IDX_BLOCK) {
		bed_flip(path, at + 20);
	}
	starts[1] = bed.next_seq[1];
	tell();
	clean();
	ck_assert(bed_log_had("INDEX-REBUILT"));
	ck_assert_uint_eq(totals().log, 1);
	check_retained();
}
END_TEST

/* The rows that tell up to where the log goes, of one dead and one that is copied. */
START_TEST(damaged_log_rows_do_not_stop_the_cleaner)
{
	for (int32_t small = 0; small < 2; small++) {
		if (small == 0) {
			open_quietly(false);
		}
		uint64_t number = bed.v->active->number + 1;
		fill(2, small);
		char path[256];
		bed_file(&bed, number, ".idx", path, sizeof path);
		bed_flip(path, -IDX_BLOCK + 20);
		starts[1] = bed.next_seq[1];
		tell();
		clean();
		ck_assert(bed_log_had("INDEX-REBUILT"));
		ck_assert_uint_eq(totals().log, 1);
		check_retained();
	}
}
END_TEST

static void on_finding(void *arg, const struct verify_finding *f)
{
	(void)arg;
	ck_abort_msg("%s: %s", f->file, f->what);
}

static void verify(void)
{
	struct err_detail d = {0};
	struct verify_result result = {0};
	struct verify_options o = {
		.dir = bed.dir,
		.shards = bed.options.shards,
		.volumes = 1,
		.finding = on_finding,
	};
	memcpy(o.store_uuid, bed.options.store_uuid, sizeof o.store_uuid);
	enum err e = volume_verify(&o, &result, &d);
	ck_assert_msg(e == ERR_OK, "verify: %s: %s", err_text(e), d.text);
	ck_assert_uint_eq(result.findings, 0);
	ck_assert_uint_gt(result.records, 0);
}

/* ---- faults --------------------------------------------------------------------- */

static void prepare_faults(void)
{
	open_quietly(false);
	fill(3, 6);
	starts[1] = bed.next_seq[1];
	bed_close(&bed);
}

static void check_after_fault(enum err e, enum err expected, long n, const struct err_detail *d)
{
	ck_assert_msg(e == expected, "fault %ld: %s: %s", n, err_text(e), d->text);
	ck_assert_str_ne(d->text, "");
	check_retained();
	struct totals t = totals();
	ck_assert_uint_eq(count_files(".idx"), t.log + t.cleaned - 1);
}

START_TEST(round_survives_lack_of_memory)
{
	prepare_faults();
	open_quietly(false);
	for (long n = 1;; n++) {
		struct err_detail d;
		mem_fault_at(n);
		enum err e = try_clean(&d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			ck_assert_int_gt(n, 20);
			break;
		}
		if (e != ERR_OK) {
			check_after_fault(e, ERR_NOMEM, n, &d);
		}
	}
	check_retained();
	ck_assert_uint_eq(totals().log, 1);
	bed_close(&bed);
	open_quietly(false);
	check_retained();
}
END_TEST

/* Each write fails once, first LMDB's own, then those of the .idx and the MANIFEST. */
START_TEST(full_disk_defers_the_round)
{
	static void (*const fail_at[2])(long, int) = {fake_pwrite_fail_at, fake_write_fail_at};
	static bool (*const has_fired[2])(void) = {fake_pwrite_fired, fake_write_fired};
	prepare_faults();
	for (int kind = 0; kind < 2; kind++) {
		open_quietly(false);
		bool fired = true;
		for (long n = 1; fired; n++) {
			struct err_detail d;
			fail_at[kind](n, ENOSPC);
			enum err e = try_clean(&d);
			fired = has_fired[kind]();
			fail_at[kind](0, 0);
			if (fired) {
				check_after_fault(e, ERR_FULL, n, &d);
			} else {
				ck_assert_int_eq(e, ERR_OK);
				ck_assert_int_gt(n, 2);
			}
		}
		check_retained();
		ck_assert_uint_eq(totals().log, 1);
		bed_close(&bed);
		if (kind == 0) {
			prepare_faults();
		}
	}
	open_quietly(false);
	check_retained();
}
END_TEST

/* The MANIFEST may name the new segment already when its writing fails. */
START_TEST(failed_manifest_takes_nothing_back)
{
	char path[256];
	prepare_faults();
	open_quietly(false);
	bed_unlink(&bed, "MANIFEST.copy");
	snprintf(path, sizeof path, "%s/MANIFEST.copy", bed.dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	struct err_detail d;
	ck_assert_int_eq(try_clean(&d), ERR_IO);
	bed_close(&bed);
	ck_assert_int_eq(rmdir(path), 0);
	for (int i = 0; i < 2; i++) {
		open_quietly(true);
		check_retained();
		ck_assert(!bed_log_had("SEGMENT-DAMAGED"));
		bed_close(&bed);
	}
	verify();
	open_quietly(true);
}
END_TEST

/* The process is killed before each write in turn, LMDB's own, then those of the .idx and
 * the MANIFEST (in the middle of it): what is retained is there at the next start. */
START_TEST(kill_at_any_write_loses_nothing)
{
	enum { DONE = 7 };
	static void (*const exit_at[2])(long) = {fake_pwrite_exit_at, fake_write_exit_at};
	for (int kind = 0; kind < 2; kind++) {
		prepare_faults();
		int status = 0;
		for (long n = 1; status == 0; n++) {
			pid_t pid = fork();
			ck_assert_int_ge(pid, 0);
			if (pid == 0) {
				struct err_detail d;
				open_quietly(true);
				exit_at[kind](n);
				_exit(try_clean(&d) == ERR_OK ? DONE : 1);
			}
			ck_assert_int_eq(waitpid(pid, &status, 0), pid);
			ck_assert(WIFEXITED(status));
			status = WEXITSTATUS(status);
			ck_assert_msg(status == 0 || status == DONE, "write %ld: %d", n, status);
			open_quietly(true);
			check_retained();
			struct totals t = totals();
			ck_assert_uint_eq(count_files(".idx"), t.log + t.cleaned - 1);
			bed_close(&bed);
			ck_assert(status == 0 || n > 2);
		}
		open_quietly(false);
		ck_assert_uint_eq(totals().log, 1);
		bed_close(&bed);
		verify();
	}
	open_quietly(true);
	check_retained();
}
END_TEST

/* ---- disk use --------------------------------------------------------------------- */

/* A hub kept for long that gets little beside one kept for an hour that gets much, a
 * third that is deleted in between. A day is ten segments here. */
START_TEST(disk_holds_at_most_twice_what_lives)
{
	enum { ROUNDS = 90, KEPT = 3, FEW = 8, MANY = 9, DELETED = 16 };
	int64_t many_at[ROUNDS];
	bed.options.segment_max_bytes = 512 << 10;
	open_quietly(false);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t until = bed.v->active->number + 1;
		many_at[i] = bed.next_seq[MANY];
		while (bed.v->active->number < until) {
			bed_append(&bed, MANY, 8, 12000);
			bed_append(&bed, FEW, 4, 500);
			bed_append(&bed, 2, 1, 50);
			if (i < ROUNDS / 2) {
				bed_append(&bed, DELETED, 2, 2000);
			}
		}
		wait_sealed();
		starts[MANY] = i >= KEPT ? many_at[i - KEPT] : 0;
		/* Of the long one the first tenth ends some day, too. */
		starts[FEW] = i > ROUNDS * 2 / 3 ? bed.next_seq[FEW] / 10 : 0;
		gone[DELETED] = i > ROUNDS / 2;
		tell();
		clean();
		struct totals t = totals();
		/* What is being written, and what the hour's edge lies in, come on top. */
		ck_assert_msg(t.file_bytes <= 2 * t.live_bytes + 4 * bed.options.segment_max_bytes,
			      "round %d: %llu bytes for %llu", i, (unsigned long long)t.file_bytes,
			      (unsigned long long)t.live_bytes);
		if (i % 10 == 0) {
			check_retained();
		}
		if (i % 30 == 29) {
			bed_close(&bed);
			open_quietly(i % 60 == 59);
			check_retained();
		}
	}
	struct totals t = totals();
	ck_assert_uint_lt(t.file_bytes, 2 * t.live_bytes + 4 * bed.options.segment_max_bytes);
	ck_assert_uint_lt(t.log + t.cleaned, 30);
	check_retained();
}
END_TEST

/* ---- at random ---------------------------------------------------------------------- */

static uint32_t dice;

static uint32_t roll(uint32_t sides)
{
	dice = dice * 1664525U + 1013904223U;
	return (dice >> 8) % sides;
}

enum { EXTENTS_MAX = 4000 };

/* Where everything is, by the names of the segments. */
struct place {
	struct store_part part;
	int64_t first_seq;
	int64_t end_seq;
	uint64_t bytes;
	uint64_t number;
	bool is_cleaned;
};

static size_t places(struct place *out)
{
	size_t n = 0;
	lock_take(&bed.v->lock);
	for (uint32_t p = 0; p < BED_PARTS; p++) {
		const struct table_part *t = table_find(&bed.v->table, bed_part(p));
		for (size_t i = 0; t != NULL && i < t->n; i++) {
			const struct table_extent *x = &t->extents[i];
			const struct segment *s = bed.v->segments[x->segment];
			ck_assert_uint_lt(n, EXTENTS_MAX);
			out[n] = (struct place){0};
			out[n].part = bed_part(p);
			out[n].first_seq = x->first_seq;
			out[n].end_seq = x->end_seq;
			out[n].bytes = x->bytes;
			out[n].number = s->number;
			out[n++].is_cleaned = s->is_cleaned;
		}
	}
	lock_give(&bed.v->lock);
	return n;
}

static void reopen_the_same(bool was_unclean)
{
	static struct place before[EXTENTS_MAX];
	static struct place after[EXTENTS_MAX];
	size_t n = places(before);
	bed_close(&bed);
	open_quietly(was_unclean);
	ck_assert_uint_eq(places(after), n);
	ck_assert_int_eq(memcmp(before, after, n * sizeof *before), 0);
}

START_TEST(any_history_keeps_what_is_retained)
{
	dice = (uint32_t)_i * 7919;
	bed.options.shards = 3;
	bed.options.segment_max_bytes = 128 << 10;
	open_quietly(false);
	for (int r = 0; r < 60; r++) {
		for (uint32_t i = roll(12); i > 0; i--) {
			/* Some partitions get much, some now and then only. */
			uint32_t p = roll(2) == 0 ? roll(3) : roll(20);
			if (!gone[p]) {
				bed_append(&bed, p, 1 + (int32_t)roll(6), 20 + roll(8000));
			}
		}
		for (uint32_t i = roll(6); i > 0; i--) {
			uint32_t p = roll(20);
			int64_t left = bed.next_seq[p] - starts[p];
			starts[p] += left > 0 ? (int64_t)roll((uint32_t)left + 1) : 0;
		}
		if (roll(20) == 0) {
			gone[roll(20)] = true;
		}
		wait_sealed();
		tell();
		clean();
		if (roll(4) == 0) {
			check_retained();
		}
		if (roll(10) == 0) {
			reopen_the_same(roll(2) == 0);
			check_retained();
		}
	}
	ck_assert_uint_gt(bed.v->manifest.next_cleaned, 5);
	check_retained();
	bed_close(&bed);
	verify();
	open_quietly(true);
	check_retained();
}
END_TEST

Suite *clean_suite(void)
{
	Suite *s = suite_create("clean");
	TCase *t = tcase_create("clean");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, dead_segments_go_once_the_floor_allows);
	tcase_add_test(t, live_batches_are_copied_and_read_back_unchanged);
	tcase_add_test(t, cut_extent_keeps_what_is_above_the_start);
	tcase_add_test(t, start_in_the_active_segment);
	tcase_add_test(t, pin_keeps_every_file);
	tcase_add_test(t, damaged_source_is_kept_whole);
	tcase_add_test(t, damaged_and_dead_goes);
	tcase_add_test(t, small_segments_are_joined);
	tcase_add_test(t, stop_ends_a_round);
	tcase_add_test(t, damage_met_while_copying_keeps_the_source);
	tcase_add_test(t, damaged_index_is_made_anew);
	tcase_add_test(t, damaged_log_rows_do_not_stop_the_cleaner);
	tcase_add_test(t, round_survives_lack_of_memory);
	tcase_add_test(t, full_disk_defers_the_round);
	tcase_add_test(t, failed_manifest_takes_nothing_back);
	tcase_add_test(t, kill_at_any_write_loses_nothing);
	tcase_add_test(t, disk_holds_at_most_twice_what_lives);
	tcase_add_loop_test(t, any_history_keeps_what_is_retained, 1, 5);
	suite_add_tcase(s, t);
	return s;
}
