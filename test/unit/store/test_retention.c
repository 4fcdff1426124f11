#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/unit/store/store_bed.h"

Suite *retention_suite(void);

/* A store with small segments whose events grow old by the hour. */
enum {
	PARTITIONS = 5,
	CHECK_MS = 20,
	HOUR_MS = 60 * 60 * 1000,
	KEEP_HOURS = 4,
	STEPS = 400,
	AGES = 4096,
	EVENT = 500,
};

static struct bed bed;
static struct store_partition *parts[PARTITIONS];
static int64_t next_seq[PARTITIONS];
static int64_t trimmed[PARTITIONS];
static int64_t hour_of[PARTITIONS][AGES];	/* of each event */
static int64_t hour;
static uint32_t seed;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static struct store_position position(uint32_t i)
{
	struct store_position at;
	store_partition_position(parts[i], &at);
	return at;
}

static void find_parts(void)
{
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		parts[i] = bed_find(&bed, "h", i);
		ck_assert_ptr_nonnull(parts[i]);
	}
}

static void reopen(void)
{
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		store_partition_drop(&parts[i]);
	}
	bed_close(&bed);
	bed_open(&bed);
	find_parts();
}

static void setup(void)
{
	memset(next_seq, 0, sizeof next_seq);
	memset(trimmed, 0, sizeof trimmed);
	hour = 0;
	seed = 4711;
	bed_init(&bed);
	bed.options.segment_max_bytes = 256 << 10;
	bed.options.clean_pause_ms = CHECK_MS;
	bed.options.export_interval_ms = 4 * CHECK_MS;
	bed.options.retention_check_ms = CHECK_MS;
}

static void create(int64_t keep_ms, uint64_t keep_bytes)
{
	struct catalog_command cmd = ops_create("h", PARTITIONS);
	cmd.has_retention = true;
	cmd.retention_ms = keep_ms;
	cmd.has_retention_bytes = true;
	cmd.retention_bytes = keep_bytes;
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	find_parts();
}

static void teardown(void)
{
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		store_partition_drop(&parts[i]);
	}
	bed_fini(&bed);
	clock_wall_shift_ms(-hour * HOUR_MS);
}

static void append(uint32_t i, uint32_t n)
{
	struct ops_append a;
	if (next_seq[i] + n > AGES) {
		return;
	}
	ops_append_init(&a, parts[i], &bed.mb, next_seq[i], n, EVENT, NULL);
	store_append(bed.store, &a.op);
	ops_until(&bed.mb, &a.is_done);
	ck_assert_int_eq(a.op.err, ERR_OK);
	ck_assert_int_eq(a.op.base_seq, next_seq[i]);
	while (n-- > 0) {
		hour_of[i][next_seq[i]++] = hour;
	}
}

struct trim {
	struct store_trim op;
	bool is_done;
};

static void on_trimmed(struct msg *m)
{
	((struct trim *)m)->is_done = true;
}

static void trim(uint32_t i, int64_t before_seq)
{
	struct trim t = {.op = {.reply_to = &bed.mb,
				.done = on_trimmed,
				.partition = parts[i],
				.before_seq = before_seq,
				.err = ERR_INTERNAL}};
	store_trim(bed.store, &t.op);
	ops_until(&bed.mb, &t.is_done);
	ck_assert_int_eq(t.op.err, ERR_OK);
	trimmed[i] = before_seq > trimmed[i] ? before_seq : trimmed[i];
}

/* What should be left, once everything that is due is gone. */
static int64_t expected_start(uint32_t i)
{
	int64_t seq = trimmed[i];
	while (seq < next_seq[i] && hour_of[i][seq] < hour - KEEP_HOURS) {
		seq++;
	}
	return seq;
}

static void read_rest(uint32_t i, int64_t first)
{
	int64_t next = first;
	while (next < next_seq[i]) {
		struct ops_read r = {.op = {.reply_to = &bed.mb,
					    .done = ops_read_done,
					    .partition = parts[i],
					    .from = next == first ? 0 : next,
					    .max_bytes = 1 << 20}};
		store_read(bed.store, &r.op);
		ops_until(&bed.mb, &r.is_done);
		ck_assert_int_eq(r.op.err, ERR_OK);
		ck_assert_uint_gt(r.op.out.n, 0);
		next = ops_check_batches(&r.op.out, next, 0);
		store_batches_drop(&r.op.out);
	}
	ck_assert_int_eq(next, next_seq[i]);
}

static void check_all(void)
{
	int64_t end_ns = clock_mono_ns() + (int64_t)30 * 1000000000;
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		int64_t first = expected_start(i);
		while (position(i).first_seq < first) {
			ck_assert_msg(clock_mono_ns() < end_ns, "partition %u: %lld, not %lld", i,
				      (long long)position(i).first_seq, (long long)first);
			usleep(1000);
		}
		ck_assert_int_eq(position(i).first_seq, first);
		ck_assert_int_eq(position(i).next_seq, next_seq[i]);
		read_rest(i, first);
	}
}

START_TEST(events_go_when_they_are_due_and_no_others)
{
	bed_open(&bed);
	create(KEEP_HOURS * (int64_t)HOUR_MS + HOUR_MS / 2, 0);
	for (uint32_t step = 0; step < STEPS; step++) {
		uint32_t i = next_random(PARTITIONS);
		switch (next_random(12)) {
		case 0:
			hour++;
			clock_wall_shift_ms(HOUR_MS);
			break;
		case 1:
			trim(i, position(i).first_seq +
					next_random((uint32_t)(next_seq[i] - position(i).first_seq) + 1));
			break;
		case 2:
			if (next_random(4) == 0) {
				reopen();
			}
			check_all();
			break;
		default:
			append(i, 1 + next_random(20));
			break;
		}
	}
	/* All of it; and the numbers go on after a start. */
	hour += 2 * KEEP_HOURS;
	clock_wall_shift_ms(2 * KEEP_HOURS * (int64_t)HOUR_MS);
	check_all();
	reopen();
	check_all();
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		ck_assert_int_eq(position(i).first_seq, next_seq[i]);
		ck_assert_uint_eq(position(i).bytes, 0);
		append(i, 3);
	}
	check_all();
}
END_TEST

START_TEST(no_more_bytes_are_kept_than_said)
{
	enum { KEEP = 100 << 10 };
	bed_open(&bed);
	create(0, KEEP);
	for (uint32_t step = 0; step < STEPS; step++) {
		append(next_random(PARTITIONS), 1 + next_random(20));
		if (next_random(100) == 0) {
			reopen();
		}
	}
	int64_t end_ns = clock_mono_ns() + (int64_t)30 * 1000000000;
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		while (position(i).bytes > KEEP) {
			ck_assert(clock_mono_ns() < end_ns);
			usleep(1000);
		}
		usleep(4 * CHECK_MS * 1000);
		/* As much as is allowed, less an entry, which the cleaner may have made. */
		ck_assert_uint_gt(position(i).bytes, KEEP / 4);
		trimmed[i] = position(i).first_seq;
		read_rest(i, trimmed[i]);
	}
	reopen();
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		ck_assert_int_eq(position(i).first_seq, trimmed[i]);
		ck_assert_int_eq(position(i).next_seq, next_seq[i]);
	}
}
END_TEST

Suite *retention_suite(void)
{
	Suite *s = suite_create("retention");
	TCase *t = tcase_create("retention");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, events_go_when_they_are_due_and_no_others);
	tcase_add_test(t, no_more_bytes_are_kept_than_said);
	suite_add_tcase(s, t);
	return s;
}
