#include "bed.h"
#include "suites.h"

/* Seeks by record timestamp, against a list of what was appended. Timestamps go
 * up and down as clients' clocks do. */

enum { PARTS = 3, BATCHES = 400, EVENTS = 5, FIRST_MS = 100000 };

struct appended {
	int64_t base_seq;
	int64_t timestamp_ms;
};

static struct bed bed;
static struct appended all[PARTS + 1][BATCHES];
static int n_all[PARTS + 1];
static uint32_t seed;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static void setup(void)
{
	bed_init(&bed);
	memset(n_all, 0, sizeof n_all);
	seed = 12345;
	bed_open(&bed, false);
}

static void teardown(void)
{
	bed_fini(&bed);
}

static void add(struct bed_entry *e, uint32_t p, int64_t timestamp_ms, size_t value)
{
	ck_assert_int_lt(n_all[p], BATCHES);
	all[p][n_all[p]++] = (struct appended){bed.next_seq[p], timestamp_ms};
	bed.timestamp_ms = timestamp_ms;
	bed_entry_batch(&bed, e, p, EVENTS, value);
	bed.timestamp_ms = 0;
}

static int64_t wanted(uint32_t p, enum volume_seek_by by, int64_t key, int64_t limit)
{
	int64_t greatest = INT64_MIN;
	for (int i = 0; i < n_all[p] && all[p][i].base_seq + EVENTS <= limit; i++) {
		greatest = all[p][i].timestamp_ms > greatest ? all[p][i].timestamp_ms : greatest;
	}
	key = by == VOLUME_SEEK_MAX_TIMESTAMP ? greatest : key;
	for (int i = 0; i < n_all[p] && all[p][i].base_seq < limit; i++) {
		if (all[p][i].timestamp_ms >= key) {
			return all[p][i].base_seq;
		}
	}
	return limit;
}

static void expect(uint32_t p, enum volume_seek_by by, int64_t key, int64_t limit)
{
	struct volume_seek s = {.part = bed_part(p), .by = by, .after_ms = key, .limit = limit};
	ck_assert_int_eq(bed_seek(&bed, &s), ERR_OK);
	int64_t want = wanted(p, by, key, limit);
	ck_assert_msg(s.seq == want, "partition %u by %d key %lld limit %lld: %lld, not %lld", p,
		      (int)by, (long long)key, (long long)limit, (long long)s.seq,
		      (long long)want);
}

static void check_part(uint32_t p)
{
	int64_t end = bed.next_seq[p];
	for (int64_t limit = 0; limit <= end; limit += EVENTS * (1 + next_random(40))) {
		expect(p, VOLUME_SEEK_MAX_TIMESTAMP, 0, limit);
		for (int i = 0; i < 4; i++) {
			expect(p, VOLUME_SEEK_TIMESTAMP, FIRST_MS - 10 + next_random(20000), limit);
		}
	}
	expect(p, VOLUME_SEEK_MAX_TIMESTAMP, 0, end);
	expect(p, VOLUME_SEEK_TIMESTAMP, INT64_MIN, end);
	expect(p, VOLUME_SEEK_TIMESTAMP, INT64_MAX, end);
	for (int i = 0; i < n_all[p]; i += 7) {
		expect(p, VOLUME_SEEK_TIMESTAMP, all[p][i].timestamp_ms, end);
		expect(p, VOLUME_SEEK_TIMESTAMP, all[p][i].timestamp_ms + 1, end);
	}
}

static void check_all(void)
{
	for (uint32_t p = 0; p < PARTS; p++) {
		check_part(p);
	}
	expect(PARTS, VOLUME_SEEK_MAX_TIMESTAMP, 0, 100);	/* has nothing */
	expect(PARTS, VOLUME_SEEK_TIMESTAMP, 0, 100);
}

START_TEST(seek_by_timestamp_in_memory_sealed_and_after_a_restart)
{
	/* A clock that goes forth and back, entries of one to four batches. */
	for (int i = 0; i < 120; i++) {
		uint32_t p = next_random(PARTS);
		struct bed_entry *e = bed_entry_begin(&bed, bed_shard(&bed, p));
		for (uint32_t k = 0, n = 1 + next_random(4); k < n; k++) {
			int64_t ms = FIRST_MS + 100 * i - 3000 + (int64_t)next_random(6000);
			add(e, p, ms, 100 + next_random(10000));
		}
		bed_submit(&bed, e);
		if (i == 10 || i == 60) {
			bed_wait(&bed);
			check_all();
		}
	}
	bed_wait(&bed);
	ck_assert(bed_has_file(&bed, 3, ".mdb"));
	check_all();
	bed_wait_sealed(&bed, 2);
	check_all();
	bed_reopen(&bed, false);
	check_all();
	bed_reopen(&bed, true);
	check_all();
}
END_TEST

START_TEST(first_of_equal_greatest_timestamps_is_found)
{
	for (int i = 0; i < 4; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		add(e, 0, 500, 20);
		add(e, 0, i == 0 ? 600 : 900, 20);
		add(e, 0, i == 3 ? 900 : -1, 20);
		bed_submit(&bed, e);
	}
	bed_wait(&bed);
	ck_assert_int_eq(wanted(0, VOLUME_SEEK_MAX_TIMESTAMP, 0, bed.next_seq[0]), 4 * EVENTS);
	check_part(0);
	/* Within the first entry: what follows in it does not count. */
	ck_assert_int_eq(wanted(0, VOLUME_SEEK_MAX_TIMESTAMP, 0, EVENTS), 0);
	expect(0, VOLUME_SEEK_MAX_TIMESTAMP, 0, EVENTS);
	expect(0, VOLUME_SEEK_TIMESTAMP, 600, EVENTS);
}
END_TEST

static void on_range(void *arg, const struct volume_range *r)
{
	(void)arg;
	ck_assert_int_eq(r->max_timestamp_ms, r->part.partition == 0 ? 77777 : -5);
}

START_TEST(greatest_timestamp_is_known_after_a_restart)
{
	struct bed_entry *e = bed_entry_begin(&bed, 0);
	add(e, 0, 77777, 20);
	add(e, 0, 3, 20);
	add(e, 2, -5, 20);
	bed_submit(&bed, e);
	bed_wait(&bed);
	for (int i = 0; i < 2; i++) {
		bed_close(&bed);
		struct err_detail d;
		ck_assert_int_eq(bed_try_open(&bed, i == 1, &d), ERR_OK);
		volume_ranges(bed.v, on_range, NULL);
		bed_start(&bed);
	}
}
END_TEST

START_TEST(damaged_record_ends_a_seek)
{
	for (int i = 0; i < 6; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		add(e, 0, 1000 + i, 200000);
		bed_submit(&bed, e);
		bed_wait(&bed);
	}
	bed_wait_sealed(&bed, 1);
	bed_close(&bed);
	char path[128];
	bed_file(&bed, 1, ".mdb", path, sizeof path);
	bed_flip(path, bed_size(path) / 2);
	bed_open(&bed, false);
	bed_log_catch();
	struct volume_seek s = {.part = bed_part(0),
				.by = VOLUME_SEEK_TIMESTAMP,
				.after_ms = 0,
				.limit = bed.next_seq[0]};
	ck_assert_int_eq(bed_seek(&bed, &s), ERR_CORRUPT);
	/* What is greatest stands elsewhere. */
	s.by = VOLUME_SEEK_MAX_TIMESTAMP;
	ck_assert_int_eq(bed_seek(&bed, &s), ERR_OK);
	ck_assert_int_eq(s.seq, bed.next_seq[0] - EVENTS);
}
END_TEST

Suite *seek_suite(void)
{
	Suite *s = suite_create("seek");
	TCase *t = tcase_create("seek");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, seek_by_timestamp_in_memory_sealed_and_after_a_restart);
	tcase_add_test(t, first_of_equal_greatest_timestamps_is_found);
	tcase_add_test(t, greatest_timestamp_is_known_after_a_restart);
	tcase_add_test(t, damaged_record_ends_a_seek);
	suite_add_tcase(s, t);
	return s;
}
