#include <stdio.h>
#include <unistd.h>

#include "bed.h"
#include "cleaned.h"
#include "suites.h"

#include "base/mem.h"
#include "store/volume/file.h"

/* Starts, ends, cuts, rolls, pins, and the list of files. */

enum { BATCHES = 60, EVENTS = 5 };

static struct bed bed;

static void setup(void)
{
	bed_init(&bed);
	bed.options.clean_pause_ms = 3600000;
}
static void teardown(void)
{
	bed_fini(&bed);
}

/* Entry i: two batches of EVENTS each, at 1000 + 100 i, so that an entry is kept or cut
 * with 2 EVENTS; about 10 entries for each segment of 1 MiB. */
static void fill(void)
{
	bed_open(&bed, false);
	for (int i = 0; i < BATCHES; i++) {
		bed.now_ms = 1000 + 100 * i;
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_batch(&bed, e, 0, EVENTS, 10000);
		bed_entry_batch(&bed, e, 0, EVENTS, 10000);
		bed_entry_batch(&bed, e, 2, 1, 100);
		bed_submit(&bed, e);
		bed_wait(&bed);
	}
	bed.now_ms = 100000;
	bed_wait_sealed(&bed, 3);
}

enum { ENTRY = 2 * EVENTS, END = BATCHES * ENTRY };

static int64_t first_read(int64_t from, int64_t limit)
{
	struct volume_read r = {.part = bed_part(0), .from = from, .limit = limit, .max_bytes = 1};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_OK);
	int64_t seq = r.out.n > 0 ? r.out.v[0].base_seq : -1;
	store_batches_drop(&r.out);
	return seq;
}

static int64_t seek(enum volume_seek_by by, int64_t ms, int64_t limit)
{
	struct volume_seek s = {.part = bed_part(0), .by = by, .after_ms = ms, .inclusive = true,
				.limit = limit};
	ck_assert_int_eq(bed_seek(&bed, &s), ERR_OK);
	return s.seq;
}

START_TEST(nothing_below_the_start_is_read)
{
	fill();
	for (int round = 0; round < 2; round++) {
		for (int64_t start = 0; start <= END; start += 35) {
			volume_set_start(bed.v, bed_part(0), start);
			/* The batch that holds the start is given, not those before it. */
			int64_t want = start < END ? start / EVENTS * EVENTS : -1;
			ck_assert_int_eq(first_read(0, END), want);
			ck_assert_int_eq(first_read(start, END), want);
			int64_t at = start < END ? start : END;
			ck_assert_int_eq(seek(VOLUME_SEEK_APPEND_TIME, 0, END), at);
			ck_assert_int_eq(seek(VOLUME_SEEK_TIMESTAMP, 0, END), at);
			/* Entry 20 has 3000. */
			at = start > 20 * ENTRY ? at : 20 * ENTRY;
			ck_assert_int_eq(seek(VOLUME_SEEK_APPEND_TIME, 3000, END), at);
			ck_assert_int_eq(seek(VOLUME_SEEK_TIMESTAMP, 3000, END), at);
			at = start > END - ENTRY ? start : END - ENTRY;
			ck_assert_int_eq(seek(VOLUME_SEEK_MAX_TIMESTAMP, 0, END), at);
			ck_assert_int_eq(seek(VOLUME_SEEK_MAX_TIMESTAMP, 0, start), start);
		}
		/* It never goes back. */
		volume_set_start(bed.v, bed_part(0), END);
		volume_set_start(bed.v, bed_part(0), 10);
		ck_assert_int_eq(first_read(0, END), -1);
		ck_assert_uint_eq(cleaned_count(&bed, 2, 0, BATCHES), BATCHES);
		/* It is in memory only. */
		bed_reopen(&bed, round == 0);
		bed_check_all(&bed);
	}
}
END_TEST

/* The greatest timestamp lies where it is dead. */
START_TEST(greatest_timestamp_below_the_start_is_forgotten)
{
	bed_open(&bed, false);
	static const int64_t ms[] = {900, 100, 300, 800, 200, 500, 400};
	for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed.timestamp_ms = ms[i];
		bed_entry_batch(&bed, e, 0, 1, 100);
		bed.timestamp_ms = ms[i] - 50;
		bed_entry_batch(&bed, e, 0, 1, 100);
		bed_submit(&bed, e);
	}
	bed_wait(&bed);
	static const int64_t want[] = {0, 1, 6, 6, 6, 6, 6, 7, 10, 10, 10, 11, 12, 13};
	for (int64_t start = 0; start < 14; start++) {
		volume_set_start(bed.v, bed_part(0), start);
		ck_assert_int_eq(seek(VOLUME_SEEK_MAX_TIMESTAMP, 0, 14), want[start]);
	}
	ck_assert_int_eq(seek(VOLUME_SEEK_TIMESTAMP, 350, 14), 13);
	ck_assert_int_eq(seek(VOLUME_SEEK_TIMESTAMP, 351, 14), 14);
}
END_TEST

static uint64_t live_of(uint64_t number)
{
	struct segment *s = cleaned_find(&bed, number, false);
	lock_take(&bed.v->lock);
	uint64_t live = s->live_bytes;
	ck_assert_uint_eq(live == 0, s->n_extents == 0);
	lock_give(&bed.v->lock);
	return live;
}

START_TEST(live_bytes_follow)
{
	fill();
	for (int round = 0; round < 2; round++) {
		uint64_t live = live_of(1);
		ck_assert_uint_gt(live, 500000);
		ck_assert_uint_le(live, bed.options.segment_max_bytes);
		uint64_t disk = volume_disk_bytes(bed.v);
		ck_assert_uint_gt(disk, 3 * live);
		volume_set_start(bed.v, bed_part(0), 5);
		ck_assert_uint_eq(live_of(1), live);
		volume_set_start(bed.v, bed_part(0), END);
		/* What partition 2 has. */
		ck_assert_uint_gt(live_of(1), 0);
		ck_assert_uint_lt(live_of(1), 10000);
		volume_set_gone(bed.v, bed_part(2));
		ck_assert_uint_eq(live_of(1), 0);
		ck_assert_uint_eq(cleaned_count(&bed, 2, 0, BATCHES), 0);
		volume_set_gone(bed.v, bed_part(60));	/* never seen */
		/* Appended after its end it is not kept either. */
		bed_append(&bed, 2, 1, 100);
		ck_assert_uint_eq(cleaned_count(&bed, 2, 0, 1000), 0);
		bed_append(&bed, 0, 1, 100);
		bed_check_read(&bed, 0, END + round, END + round + 1);
		bed_reopen(&bed, false);
	}
}
END_TEST

static void expect_cut(int64_t limit, int64_t before_ms, uint64_t keep, int64_t seq, int64_t first_ms)
{
	struct volume_cut c = {.part = bed_part(0), .limit = limit, .before_ms = before_ms,
			       .keep_bytes = keep};
	ck_assert_int_eq(bed_cut(&bed, &c), ERR_OK);
	ck_assert_msg(c.seq == seq && c.first_ms == first_ms,
		      "limit %lld before %lld keep %llu: %lld at %lld, not %lld at %lld",
		      (long long)limit, (long long)before_ms, (unsigned long long)keep,
		      (long long)c.seq, (long long)c.first_ms, (long long)seq,
		      (long long)first_ms);
	ck_assert_uint_le(c.bytes, keep);
	ck_assert_int_eq(c.bytes > 0, seq < limit);
}

START_TEST(cut_keeps_what_is_young_and_fits)
{
	fill();
	struct volume_cut all = {.part = bed_part(0), .limit = END, .before_ms = INT64_MIN,
				 .keep_bytes = UINT64_MAX};
	ck_assert_int_eq(bed_cut(&bed, &all), ERR_OK);
	uint64_t entry = all.bytes / BATCHES;
	ck_assert_uint_eq(entry * BATCHES, all.bytes);
	int64_t start = 0;
	for (int round = 0; round < 3; round++) {
		int64_t s = start > 0 ? start : 0;
		int64_t s_ms = 1000 + 100 * (s / ENTRY);
		expect_cut(END, INT64_MIN, UINT64_MAX, s, s_ms);
		expect_cut(END, INT64_MAX, UINT64_MAX, END, INT64_MAX);
		expect_cut(END, INT64_MIN, 0, END, INT64_MAX);
		for (int i = (int)(s / ENTRY) + 1; i < BATCHES; i++) {
			int64_t ms = 1000 + 100 * i;
			int64_t seq = (int64_t)i * ENTRY;
			expect_cut(END, ms, UINT64_MAX, seq, ms);
			expect_cut(END, ms - 99, UINT64_MAX, seq, ms);
			uint64_t rest = entry * (uint64_t)(BATCHES - i);
			expect_cut(END, INT64_MIN, rest, seq, ms);
			expect_cut(END, INT64_MIN, rest + entry - 1, seq, ms);
			expect_cut(END, ms - 500, rest, seq, ms);
			expect_cut(END, ms, rest + 3 * entry, seq, ms);
			/* What follows the limit is not counted, and not cut. */
			expect_cut(seq, ms - 100, UINT64_MAX, seq - ENTRY > s ? seq - ENTRY : s,
				   ms - 100);
			expect_cut(seq, INT64_MIN, entry, seq - ENTRY > s ? seq - ENTRY : s, ms - 100);
			expect_cut(seq, INT64_MAX, UINT64_MAX, seq, INT64_MAX);
		}
		start = round == 0 ? 7 * ENTRY : 25 * ENTRY;
		bed_reopen(&bed, false);
		volume_set_start(bed.v, bed_part(0), start);
	}
	struct volume_cut none = {.part = bed_part(50), .before_ms = INT64_MAX};
	ck_assert_int_eq(bed_cut(&bed, &none), ERR_OK);
	ck_assert_int_eq(none.seq, 0);
	ck_assert_uint_eq(none.bytes, 0);
}
END_TEST

/* A segment that cannot be read stays until all of it is too old. */
START_TEST(cut_steps_over_damage)
{
	fill();
	struct segment *s = cleaned_find(&bed, 2, false);
	struct cleaned_want w[CLEANED_COVERS];
	ck_assert_uint_eq(cleaned_wants_of(&bed, s, w), 2);
	bed_close(&bed);
	char path[256];
	bed_file(&bed, 2, ".mdb", path, sizeof path);
	bed_flip(path, bed_size(path) / 2);
	bed_log_catch();
	bed_open(&bed, false);
	int64_t inside_ms = 1000 + 100 * (w[0].first_seq / ENTRY + 1);
	int64_t last_ms = 1000 + 100 * (w[0].end_seq / ENTRY - 1);
	expect_cut(END, inside_ms, UINT64_MAX, w[0].first_seq, last_ms);
	expect_cut(END, last_ms + 1, UINT64_MAX, w[0].end_seq, last_ms + 100);
	volume_set_start(bed.v, bed_part(0), w[0].first_seq + ENTRY);
	expect_cut(END, last_ms, UINT64_MAX, w[0].first_seq + ENTRY, last_ms);
	expect_cut(END, last_ms + 1, UINT64_MAX, w[0].end_seq, last_ms + 100);
}
END_TEST

static void on_roll(struct msg *m)
{
	(void)m;
}

static enum err roll(void)
{
	struct volume_roll r = {.reply_to = &bed.box, .done = on_roll};
	volume_roll(bed.v, &r);
	msg_run_all(mailbox_wait(&bed.box, INT64_MAX));
	return r.err;
}

struct files {
	uint32_t n;
	uint32_t manifests;
	uint64_t bytes;
};

static enum err on_file(void *arg, const char *path, uint64_t size, uint32_t crc)
{
	struct files *f = arg;
	char full[256];
	uint64_t have;
	uint32_t have_crc;
	snprintf(full, sizeof full, "%s/%s", bed.dir, path);
	ck_assert_int_eq(file_checksum(full, NULL, &have, &have_crc, NULL), ERR_OK);
	ck_assert_uint_eq(have, size);
	ck_assert_uint_eq(have_crc, crc);
	f->manifests += strcmp(path, "MANIFEST") == 0;
	f->n++;
	f->bytes += size;
	return ERR_OK;
}

static enum err on_file_refuse(void *arg, const char *path, uint64_t size, uint32_t crc)
{
	(void)path;
	(void)size;
	(void)crc;
	return ++*(uint32_t *)arg == 2 ? ERR_LIMIT : ERR_OK;
}

START_TEST(roll_seals_all_there_is)
{
	struct err_detail d;
	bed_open(&bed, false);
	ck_assert_int_eq(roll(), ERR_OK);
	ck_assert(!bed_has_file(&bed, 2, ".mdb"));
	struct files f = {0};
	ck_assert_int_eq(volume_files(bed.v, on_file, &f, &d), ERR_OK);
	ck_assert_uint_eq(f.n, 1);
	for (uint64_t i = 1; i <= 3; i++) {
		bed_append(&bed, 0, 1, 1000);
		bed_append(&bed, 1, 1, 1000);
		ck_assert_int_eq(roll(), ERR_OK);
		ck_assert(bed_has_file(&bed, i, ".idx"));
		ck_assert(bed_has_file(&bed, i + 1, ".mdb"));
		ck_assert_int_eq(roll(), ERR_OK);
		ck_assert(!bed_has_file(&bed, i + 2, ".mdb"));
		f = (struct files){0};
		volume_pin(bed.v);
		ck_assert_int_eq(volume_files(bed.v, on_file, &f, &d), ERR_OK);
		volume_unpin(bed.v);
		ck_assert_uint_eq(f.n, 2 * i + 1);
		ck_assert_uint_eq(f.manifests, 1);
		ck_assert_uint_lt(f.bytes, volume_disk_bytes(bed.v) + 1000);
		bed_check_all(&bed);
	}
	uint32_t n = 0;
	ck_assert_int_eq(volume_files(bed.v, on_file_refuse, &n, &d), ERR_LIMIT);
	ck_assert_uint_eq(n, 2);
	bed_reopen(&bed, true);
	bed_check_all(&bed);
	ck_assert_int_eq(roll(), ERR_OK);
	ck_assert(!bed_has_file(&bed, 5, ".mdb"));
}
END_TEST

START_TEST(roll_is_answered_when_the_volume_stops)
{
	bed_open(&bed, false);
	struct volume_roll r = {.reply_to = &bed.box, .done = on_roll};
	for (int i = 0; i < 20; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_batch(&bed, e, 0, 1, 100000);
		bed_submit(&bed, e);
	}
	volume_roll(bed.v, &r);
	volume_stop(&bed.v);
	bool is_answered = false;
	for (struct msg *m = mailbox_take(&bed.box), *next; m != NULL; m = next) {
		next = m->next;
		m->next = NULL;
		is_answered = is_answered || m == &r.msg;
		m->run(m);
	}
	ck_assert(is_answered);
	ck_assert(r.err == ERR_OK || r.err == ERR_STOPPING);
	bed_open(&bed, false);
	bed_check_all(&bed);
}
END_TEST

/* Partition 0 reads and cuts on this thread, as a reader would, while the n-th allocation
 * fails. */
START_TEST(cut_survives_lack_of_memory)
{
	struct err_detail d;
	fill();
	bed_close(&bed);
	for (long n = 1;; n++) {
		ck_assert_int_eq(bed_try_open(&bed, false, &d), ERR_OK);
		struct reader rd = {.volume = bed.v, .slot = ENV_READER_0};
		struct volume_cut c = {.part = bed_part(0), .limit = END, .before_ms = 3000,
				       .keep_bytes = UINT64_MAX};
		mem_fault_at(n);
		enum err e = reader_cut(&rd, &c);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		bed_close(&bed);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			ck_assert_int_eq(c.seq, 20 * ENTRY);
			break;
		}
		ck_assert_int_eq(e, ERR_NOMEM);
	}
}
END_TEST

/* Nothing but space is lost when there is no memory to remember a start. */
START_TEST(starts_survive_lack_of_memory)
{
	bed_open(&bed, false);
	bed_append(&bed, 0, 3, 100);
	bed_log_catch();
	for (long n = 1; n <= 4; n++) {
		mem_fault_at(n);
		volume_set_start(bed.v, bed_part(10 + (uint32_t)n), 5);
		volume_set_gone(bed.v, bed_part(20 + (uint32_t)n));
		volume_set_compact(bed.v, bed_part(30 + (uint32_t)n), true);
		mem_fault_at(0);
	}
	ck_assert(bed_log_had("VOLUME-SPACE-UNKNOWN"));
	bed_check_all(&bed);
}
END_TEST

Suite *space_suite(void)
{
	Suite *s = suite_create("space");
	TCase *t = tcase_create("space");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, nothing_below_the_start_is_read);
	tcase_add_test(t, greatest_timestamp_below_the_start_is_forgotten);
	tcase_add_test(t, live_bytes_follow);
	tcase_add_test(t, cut_keeps_what_is_young_and_fits);
	tcase_add_test(t, cut_steps_over_damage);
	tcase_add_test(t, roll_seals_all_there_is);
	tcase_add_test(t, roll_is_answered_when_the_volume_stops);
	tcase_add_test(t, cut_survives_lack_of_memory);
	tcase_add_test(t, starts_survive_lack_of_memory);
	suite_add_tcase(s, t);
	return s;
}
