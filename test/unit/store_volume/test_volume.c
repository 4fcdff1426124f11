#include "bed.h"
#include "suites.h"

#include "base/metrics.h"

static struct bed bed;

static void setup(void)
{
	bed_init(&bed);
}
static void teardown(void)
{
	bed_fini(&bed);
}

START_TEST(founded_volume_has_hard_states_only)
{
	bed_open(&bed, false);
	struct volume_shard_info info;
	for (uint32_t i = 0; i < 2; i++) {
		volume_shard_info(bed.v, i, &info);
		ck_assert_uint_eq(info.hard.term, 1);
		ck_assert_uint_eq(info.hard.vote, 7);
		ck_assert_uint_eq(info.hard.log_start, 1);
		ck_assert_uint_eq(info.first_index, 0);
		ck_assert_uint_eq(info.last_index, 0);
	}
	bed_check_all(&bed);
	bed_reopen(&bed, false);
	volume_shard_info(bed.v, 1, &info);
	ck_assert_uint_eq(info.hard.vote, 7);
}
END_TEST

START_TEST(many_partitions_and_entries_round_trip)
{
	bed.options.shards = 8;
	bed.options.segment_max_bytes = 64 << 20;
	bed_open(&bed, false);
	int64_t commits = metric_get(METRIC_STORE_COMMITS);
	for (int round = 0; round < 20; round++) {
		for (uint32_t shard = 0; shard < 8; shard++) {
			struct bed_entry *e = bed_entry_begin(&bed, shard);
			for (uint32_t p = shard; p < BED_PARTS; p += 8) {
				bed_entry_batch(&bed, e, p, 1 + round % 3, 50 * (size_t)round);
				bed_entry_batch(&bed, e, p, 2, 20);
			}
			bed_submit(&bed, e);
		}
	}
	bed_wait(&bed);
	ck_assert_int_gt(metric_get(METRIC_STORE_COMMITS), commits);
	bed_check_all(&bed);
	bed_reopen(&bed, false);
	bed_check_all(&bed);
	bed_reopen(&bed, true);
	bed_check_all(&bed);
}
END_TEST

START_TEST(hard_state_is_kept)
{
	bed_open(&bed, false);
	bed_append(&bed, 0, 1, 10);
	struct volume_hard_state_op op = {
		.state = {.shard = 1, .term = 9, .vote = 3, .log_start = 1},
		.reply_to = &bed.box,
	};
	struct bed_entry *e = bed_entry_begin(&bed, 0);
	bed_entry_batch(&bed, e, 0, 1, 10);
	/* A message of another kind in the same group. */
	struct volume_read r = {.part = bed_part(0), .limit = 1, .max_bytes = 1};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_OK);
	store_batches_drop(&r.out);
	op.done = r.done;
	volume_set_hard_state(bed.v, &op);
	bed_submit(&bed, e);
	bed_wait(&bed);
	struct volume_shard_info info;
	volume_shard_info(bed.v, 1, &info);
	ck_assert_uint_eq(info.hard.term, 9);
	bed_reopen(&bed, false);
	volume_shard_info(bed.v, 1, &info);
	ck_assert_uint_eq(info.hard.term, 9);
	ck_assert_uint_eq(info.hard.vote, 3);
	bed_check_all(&bed);
}
END_TEST

static void expect(uint32_t p, int64_t from, int64_t limit, uint32_t max, uint32_t n, int64_t first)
{
	struct volume_read r = {.part = bed_part(p), .from = from, .limit = limit, .max_bytes = max};
	ck_assert_int_eq(bed_read(&bed, &r), ERR_OK);
	ck_assert_msg(r.out.n == n, "from %lld limit %lld max %u: %u batches, not %u",
		      (long long)from, (long long)limit, max, r.out.n, n);
	if (n > 0) {
		ck_assert_int_eq(r.out.v[0].base_seq, first);
		bed_check_batches(p, &r.out);
	}
	store_batches_drop(&r.out);
	ck_assert_uint_eq(r.out.n, 0);
}

START_TEST(read_keeps_its_limits)
{
	bed_open(&bed, false);
	for (int i = 0; i < 10; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		for (int k = 0; k < 3; k++) {
			bed_entry_batch(&bed, e, 0, 5, 100);
		}
		bed_entry_batch(&bed, e, 2, 1, 100);
		bed_submit(&bed, e);
	}
	bed_wait(&bed);
	/* 30 batches of 5 events, 600-odd bytes each. */
	expect(0, 0, 150, 1 << 20, 30, 0);
	expect(0, 0, 150, 1, 1, 0);
	expect(0, 0, 150, 0, 1, 0);
	expect(0, 0, 150, 1400, 2, 0);
	expect(0, 7, 150, 1, 1, 5);	/* in the middle of a batch */
	expect(0, 17, 150, 1 << 20, 27, 15);
	expect(0, 0, 5, 1 << 20, 1, 0);
	expect(0, 0, 4, 1 << 20, 0, 0);	/* the first batch is not below the limit */
	expect(0, 140, 150, 1 << 20, 2, 140);
	expect(0, 150, 150, 1 << 20, 0, 0);
	expect(0, 150, 1000, 1 << 20, 0, 0);	/* beyond what there is */
	expect(0, 10, 5, 1 << 20, 0, 0);
	expect(0, -3, 150, 1, 1, 0);	/* before the first */
	expect(40, 0, 100, 1 << 20, 0, 0);	/* no such partition */
}
END_TEST

START_TEST(read_gives_at_most_so_many_batches)
{
	bed_open(&bed, false);
	for (int i = 0; i < 100; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_batch(&bed, e, 0, 1, 20);
		bed_submit(&bed, e);
	}
	bed_wait(&bed);
	expect(0, 0, 100, 1 << 20, STORE_READ_BATCHES, 0);
	expect(0, 50, 100, 1 << 20, 50, 50);
}
END_TEST

START_TEST(reading_goes_on_behind_a_gap)
{
	bed_open(&bed, false);
	bed_append(&bed, 0, 10, 20);
	bed.next_seq[0] = 40;
	bed_append(&bed, 0, 10, 20);
	expect(0, 0, 50, 1 << 20, 2, 0);
	expect(0, 10, 50, 1 << 20, 1, 40);
	expect(0, 25, 50, 1 << 20, 1, 40);
	expect(0, 10, 40, 1 << 20, 0, 0);
}
END_TEST

static int64_t seek(uint32_t p, int64_t ms, bool inclusive, int64_t limit)
{
	struct volume_seek s = {
		.part = bed_part(p),
		.after_ms = ms,
		.inclusive = inclusive,
		.limit = limit,
	};
	ck_assert_int_eq(bed_seek(&bed, &s), ERR_OK);
	return s.seq;
}

START_TEST(seek_finds_by_append_time)
{
	bed_open(&bed, false);
	/* Events 10 i .. 10 i + 9 at 1000 + 100 i; each entry twice of 5. */
	for (int i = 0; i < 40; i++) {
		bed.now_ms = 1000 + 100 * i;
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_batch(&bed, e, 0, 5, 10000);
		bed_entry_batch(&bed, e, 0, 5, 2000);
		bed_submit(&bed, e);
	}
	bed_wait(&bed);
	bed.now_ms = 100000;
	for (int round = 0; round < 2; round++) {
		ck_assert(bed_has_file(&bed, 2, ".mdb"));
		ck_assert_int_eq(seek(0, 0, false, 400), 0);
		ck_assert_int_eq(seek(0, 1000, true, 400), 0);
		ck_assert_int_eq(seek(0, 1000, false, 400), 10);
		ck_assert_int_eq(seek(0, 1001, true, 400), 10);
		ck_assert_int_eq(seek(0, 3700, true, 400), 270);
		ck_assert_int_eq(seek(0, 3650, false, 400), 270);
		ck_assert_int_eq(seek(0, 4900, true, 400), 390);
		ck_assert_int_eq(seek(0, 4900, false, 400), 400);
		ck_assert_int_eq(seek(0, 3700, true, 100), 100);
		ck_assert_int_eq(seek(0, INT64_MAX, false, 400), 400);
		ck_assert_int_eq(seek(0, INT64_MAX, true, 400), 400);
		ck_assert_int_eq(seek(0, INT64_MIN, false, 400), 0);
		ck_assert_int_eq(seek(9, 0, false, 0), 0);
		bed_wait_sealed(&bed, 1);
		bed_reopen(&bed, false);
	}
}
END_TEST

static enum err count_command(void *arg, uint64_t index, uint64_t term,
			      const struct volume_command *c)
{
	uint64_t *sum = arg;
	ck_assert_uint_eq(term, 1);
	ck_assert_int_eq(c->kind, VOLUME_CATALOG);
	ck_assert(span_eq_str(c->payload, "create hub"));
	*sum = *sum * 31 + index;
	return ERR_OK;
}

START_TEST(replay_gives_commands_in_order)
{
	struct err_detail d;
	bed_open(&bed, false);
	/* Many segments; a command in every 7th entry of shard 0. */
	uint64_t want = 0;
	uint64_t want_late = 0;
	for (uint64_t i = 1; i <= 100; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_batch(&bed, e, 0, 1, 40000);
		if (i % 7 == 0) {
			bed_entry_command(e, VOLUME_CATALOG, "create hub");
			want = want * 31 + i;
			want_late = i > 70 ? want_late * 31 + i : 0;
		}
		bed_submit(&bed, e);
	}
	bed_append(&bed, 1, 1, 10);
	for (int round = 0; round < 2; round++) {
		bed_close(&bed);
		ck_assert(bed_has_file(&bed, 3, ".mdb"));
		ck_assert_int_eq(bed_try_open(&bed, false, &d), ERR_OK);
		uint64_t sum = 0;
		ck_assert_int_eq(volume_replay(bed.v, 0, 0, count_command, &sum, &d), ERR_OK);
		ck_assert_uint_eq(sum, want);
		sum = 0;
		ck_assert_int_eq(volume_replay(bed.v, 0, 70, count_command, &sum, &d), ERR_OK);
		ck_assert_uint_eq(sum, want_late);
		sum = 0;
		ck_assert_int_eq(volume_replay(bed.v, 0, 98, count_command, &sum, &d), ERR_OK);
		ck_assert_int_eq(volume_replay(bed.v, 0, 1000, count_command, &sum, &d), ERR_OK);
		ck_assert_int_eq(volume_replay(bed.v, 1, 0, count_command, &sum, &d), ERR_OK);
		ck_assert_uint_eq(sum, 0);
		bed_start(&bed);
		bed_wait_sealed(&bed, 1);
		bed_wait_sealed(&bed, 2);
	}
}
END_TEST

static enum err refuse_command(void *arg, uint64_t index, uint64_t term,
			       const struct volume_command *c)
{
	(void)term;
	(void)c;
	*(uint64_t *)arg = index;
	return index == 2 ? ERR_LIMIT : ERR_OK;
}

START_TEST(replay_ends_with_the_callers_error)
{
	struct err_detail d;
	bed_open(&bed, false);
	for (int i = 0; i < 4; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_command(e, VOLUME_CONFIGURATION, "one");
		bed_submit(&bed, e);
	}
	bed_wait(&bed);
	bed_close(&bed);
	ck_assert_int_eq(bed_try_open(&bed, false, &d), ERR_OK);
	uint64_t last = 0;
	ck_assert_int_eq(volume_replay(bed.v, 0, 0, refuse_command, &last, &d), ERR_LIMIT);
	ck_assert_uint_eq(last, 2);
}
END_TEST

/* What a segment without commands has in its .mdb is of no interest. */
START_TEST(replay_opens_only_segments_with_commands)
{
	struct err_detail d;
	bed_open(&bed, false);
	for (int i = 0; i < 100; i++) {
		struct bed_entry *e = bed_entry_begin(&bed, 0);
		bed_entry_batch(&bed, e, 0, 1, 40000);
		if (i == 0 || i == 98) {
			bed_entry_command(e, VOLUME_CATALOG, "create hub");
		}
		bed_submit(&bed, e);
	}
	bed_wait(&bed);
	bed_wait_sealed(&bed, 2);
	bed_close(&bed);
	char path[128];
	bed_file(&bed, 2, ".mdb", path, sizeof path);
	bed_flip(path, bed_size(path) / 2);
	bed_log_catch();
	ck_assert_int_eq(bed_try_open(&bed, false, &d), ERR_OK);
	uint64_t sum = 0;
	ck_assert_int_eq(volume_replay(bed.v, 0, 0, count_command, &sum, &d), ERR_OK);
	ck_assert_uint_eq(sum, 31 + 99);
	ck_assert(!bed_log_had("SEGMENT-DAMAGED"));
}
END_TEST

Suite *volume_suite(void)
{
	Suite *s = suite_create("volume");
	TCase *t = tcase_create("volume");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, founded_volume_has_hard_states_only);
	tcase_add_test(t, many_partitions_and_entries_round_trip);
	tcase_add_test(t, hard_state_is_kept);
	tcase_add_test(t, read_keeps_its_limits);
	tcase_add_test(t, read_gives_at_most_so_many_batches);
	tcase_add_test(t, reading_goes_on_behind_a_gap);
	tcase_add_test(t, seek_finds_by_append_time);
	tcase_add_test(t, replay_gives_commands_in_order);
	tcase_add_test(t, replay_opens_only_segments_with_commands);
	tcase_add_test(t, replay_ends_with_the_callers_error);
	suite_add_tcase(s, t);
	return s;
}
