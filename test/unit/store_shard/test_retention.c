#include <check.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *retention_suite(void);

enum { CHECK_MS = 40, HOUR_MS = 60 * 60 * 1000 };

static struct bed bed;
static int64_t shifted_ms;

static void shift(int64_t ms)
{
	shifted_ms += ms;
	clock_wall_shift_ms(ms);
}

static void setup(void)
{
	shifted_ms = 0;
	bed_make(&bed, 2, 1);
	bed.options.retention_check_ms = CHECK_MS;
	bed_open(&bed);
}

static void teardown(void)
{
	bed_fini(&bed);
	clock_wall_shift_ms(-shifted_ms);
}

static struct catalog_command keep(const char *hub, uint32_t partitions, int64_t ms, uint64_t bytes)
{
	struct catalog_command cmd = ops_create(hub, partitions);
	cmd.has_retention = true;
	cmd.retention_ms = ms;
	cmd.has_retention_bytes = true;
	cmd.retention_bytes = bytes;
	return cmd;
}

static struct store_partition *create(const char *hub, uint32_t partitions, int64_t ms,
				      uint64_t bytes)
{
	struct catalog_command cmd = keep(hub, partitions, ms, bytes);
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	return bed_find(&bed, hub, 0);
}

static void update(const char *hub, int64_t ms, uint64_t bytes)
{
	struct catalog_command cmd = keep(hub, 0, ms, bytes);
	cmd.op = CATALOG_HUB_UPDATE;
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
}

static struct store_position position(struct store_partition *p)
{
	struct store_position at;
	store_partition_position(p, &at);
	return at;
}

static void append(struct store_partition *p, uint32_t n)
{
	ck_assert_int_eq(bed_append(&bed, p, position(p).next_seq, n), ERR_OK);
}

/* Long enough that what is due would have gone. */
static void rest(void)
{
	usleep(4 * CHECK_MS * 1000);
}

/* A year ahead and back: nothing goes. Ahead for good: later it does. */
START_TEST(a_clock_that_is_set_ahead_is_not_believed_at_once)
{
	enum { DOUBT_MS = 1500 };
	const int64_t year_ms = INT64_C(365) * 24 * HOUR_MS;
	bed_close(&bed);
	bed.options.clock_doubt_ms = DOUBT_MS;
	bed_open(&bed);
	struct store_partition *p = create("h", 1, HOUR_MS, 0);
	append(p, 10);
	rest();
	shift(year_ms);
	rest();
	ck_assert_int_eq(position(p).first_seq, 0);
	shift(-year_ms);
	usleep(DOUBT_MS * 1000);
	ck_assert_int_eq(position(p).first_seq, 0);
	shift(HOUR_MS + 1000);
	rest();
	ck_assert_int_eq(position(p).first_seq, 0);
	bed_await_start(p, 10);
	/* Back: what is new is not old. */
	shift(-HOUR_MS);
	append(p, 10);
	rest();
	ck_assert_int_eq(position(p).first_seq, 10);
	store_partition_drop(&p);
}
END_TEST

START_TEST(old_events_go_in_time)
{
	struct store_partition *p = create("h", 1, HOUR_MS, 0);
	append(p, 10);
	shift(HOUR_MS / 2);
	append(p, 10);
	rest();
	ck_assert_int_eq(position(p).first_seq, 0);
	shift(HOUR_MS / 2 + 1000);
	int64_t since_ns = clock_mono_ns();
	bed_await_start(p, 10);
	ck_assert_int_lt(clock_mono_ns() - since_ns, (int64_t)20 * CHECK_MS * 1000000);
	rest();
	ck_assert_int_eq(position(p).first_seq, 10);
	/* All of it, then what comes later stays. */
	shift(HOUR_MS);
	bed_await_start(p, 20);
	ck_assert_int_eq(position(p).next_seq, 20);
	ck_assert_uint_eq(position(p).bytes, 0);
	append(p, 5);
	rest();
	ck_assert_int_eq(position(p).first_seq, 20);
	shift(HOUR_MS + 1000);
	bed_await_start(p, 25);
	ck_assert_int_eq(fake_volume_told(bed.volume, p->part).start, 25);
	store_partition_drop(&p);
}
END_TEST

START_TEST(too_many_bytes_go)
{
	struct store_partition *p = create("h", 1, 0, 0);
	append(p, 10);
	uint64_t one = position(p).bytes;
	update("h", 0, 3 * one);
	for (uint32_t i = 1; i < 9; i++) {
		append(p, 10);
	}
	bed_await_start(p, 60);
	rest();
	ck_assert_int_eq(position(p).first_seq, 60);
	ck_assert_uint_eq(position(p).bytes, 3 * one);
	/* Less, at once; more changes nothing. */
	update("h", 0, one);
	bed_await_start(p, 80);
	update("h", 0, 100 * one);
	append(p, 10);
	rest();
	ck_assert_int_eq(position(p).first_seq, 80);
	ck_assert_uint_eq(position(p).bytes, 2 * one);
	store_partition_drop(&p);
}
END_TEST

START_TEST(changed_retention_takes_effect_at_once)
{
	struct store_partition *p = create("h", 1, 0, 0);
	append(p, 10);
	shift(HOUR_MS);
	append(p, 10);
	rest();
	ck_assert_int_eq(position(p).first_seq, 0);
	update("h", HOUR_MS / 2, 0);
	bed_await_start(p, 10);
	/* A cut that was asked for under the old rule is not made. */
	fake_volume_hold_cuts(bed.volume, true);
	uint64_t cuts = fake_volume_cuts(bed.volume);
	shift(HOUR_MS);
	while (fake_volume_cuts(bed.volume) == cuts) {
		usleep(1000);
	}
	update("h", 5 * (int64_t)HOUR_MS, 0);
	fake_volume_hold_cuts(bed.volume, false);
	rest();
	ck_assert_int_eq(position(p).first_seq, 10);
	/* Compaction without deletion keeps everything. */
	struct catalog_command cmd = keep("h", 0, 1, 1);
	cmd.op = CATALOG_HUB_UPDATE;
	cmd.has_cleanup = true;
	cmd.cleanup = CATALOG_COMPACT;
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	rest();
	ck_assert_int_eq(position(p).first_seq, 10);
	cmd.cleanup = CATALOG_COMPACT_DELETE;
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	bed_await_start(p, 20);
	store_partition_drop(&p);
}
END_TEST

START_TEST(clock_that_goes_back_deletes_nothing)
{
	struct store_partition *p = create("h", 1, HOUR_MS, 0);
	append(p, 10);
	shift(-24 * (int64_t)HOUR_MS);
	append(p, 10);
	rest();
	ck_assert_int_eq(position(p).first_seq, 0);
	shift(24 * (int64_t)HOUR_MS);
	append(p, 10);
	rest();
	ck_assert_int_eq(position(p).first_seq, 0);
	shift(HOUR_MS + 1000);
	bed_await_start(p, 30);
	store_partition_drop(&p);
}
END_TEST

START_TEST(idle_partitions_cost_nothing)
{
	enum { PARTITIONS = 500 };
	struct store_partition *p = create("h", PARTITIONS, HOUR_MS, 1 << 30);
	store_partition_drop(&p);
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		p = bed_find(&bed, "h", i);
		append(p, 1);
		store_partition_drop(&p);
	}
	rest();
	ck_assert_uint_eq(fake_volume_cuts(bed.volume), 0);
	/* After a start each is asked once what its oldest event is. */
	bed_close(&bed);
	bed_open(&bed);
	while (fake_volume_cuts(bed.volume) < PARTITIONS) {
		usleep(1000);
	}
	rest();
	ck_assert_uint_eq(fake_volume_cuts(bed.volume), PARTITIONS);
	/* A few at a time, when they are due. */
	fake_volume_hold_cuts(bed.volume, true);
	shift(HOUR_MS + 1000);
	rest();
	ck_assert_uint_eq(fake_volume_cuts(bed.volume), PARTITIONS + SHARD_RETENTION_CUTS);
	fake_volume_hold_cuts(bed.volume, false);
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		p = bed_find(&bed, "h", i);
		bed_await_start(p, 1);
		store_partition_drop(&p);
	}
	rest();
	ck_assert_uint_eq(fake_volume_cuts(bed.volume), 2 * PARTITIONS);
	ck_assert_uint_eq(bed_rows(&bed, STORE_ROW_START), PARTITIONS);
}
END_TEST

START_TEST(cleaned_entries_of_mixed_age_are_cut_within)
{
	struct store_partition *p = create("h", 1, 0, 0);
	for (uint32_t i = 0; i < 10; i++) {
		append(p, 10);
		shift(HOUR_MS);
	}
	fake_volume_join(bed.volume);
	uint64_t bytes = position(p).bytes;
	update("h", 5 * (int64_t)HOUR_MS - HOUR_MS / 2, 0);
	bed_await_start(p, 60);
	/* Not asked again and again: the rest is one entry and the oldest of it due. */
	rest();
	rest();
	ck_assert_int_eq(position(p).first_seq, 60);
	ck_assert_uint_eq(position(p).bytes, bytes / 10 * 4);
	ck_assert_uint_le(fake_volume_cuts(bed.volume), 3);
	update("h", HOUR_MS + HOUR_MS / 2, 0);
	int64_t since_ns = clock_mono_ns();
	bed_await_start(p, 90);
	ck_assert_int_lt(clock_mono_ns() - since_ns, (int64_t)20 * CHECK_MS * 1000000);
	store_partition_drop(&p);
}
END_TEST

START_TEST(failed_cut_deletes_nothing_and_is_tried_later)
{
	struct store_partition *p = create("h", 1, HOUR_MS, 0);
	append(p, 10);
	fake_volume_fail_cuts(bed.volume, ERR_CORRUPT);
	shift(HOUR_MS + 1000);
	rest();
	rest();
	ck_assert_int_eq(position(p).first_seq, 0);
	ck_assert_uint_eq(fake_volume_cuts(bed.volume), 1);
	store_partition_drop(&p);
}
END_TEST

static void *release_soon(void *arg)
{
	(void)arg;
	usleep(100000);
	fake_volume_release(bed.volume);
	fake_volume_hold_cuts(bed.volume, false);
	return NULL;
}

/* Deleted, or stopped, while the volume was asked or the row is on its way. */
START_TEST(end_while_a_cut_is_out_is_in_order)
{
	struct store_partition *p = create("h", 1, HOUR_MS, 0);
	append(p, 10);
	bool is_row = _i % 2 > 0;
	if (is_row) {
		fake_volume_hold(bed.volume);
	} else {
		fake_volume_hold_cuts(bed.volume, true);
	}
	shift(HOUR_MS + 1000);
	while (fake_volume_cuts(bed.volume) == 0) {
		usleep(1000);
	}
	rest();
	ck_assert_int_eq(position(p).first_seq, 0);
	pthread_t t;
	ck_assert_int_eq(pthread_create(&t, NULL, release_soon, NULL), 0);
	if (_i < 2) {
		struct catalog_command cmd = ops_create("h", 0);
		cmd.op = CATALOG_HUB_DELETE;
		ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
		rest();
	}
	store_partition_drop(&p);
	bed_close(&bed);
	pthread_join(t, NULL);
	bed_open(&bed);
}
END_TEST

START_TEST(full_disk_does_not_keep_retention_from_its_work)
{
	bed_close(&bed);
	bed.options.max_disk_bytes = 1000;
	bed_open(&bed);
	struct store_partition *p = create("h", 1, HOUR_MS, 0);
	append(p, 10);
	fake_volume_set_disk_bytes(bed.volume, 1000);
	usleep(SHARD_DISK_CHECK_MS * 1000 + 300000);
	ck_assert_int_eq(bed_append(&bed, p, 10, 1), ERR_QUOTA);
	shift(HOUR_MS + 1000);
	bed_await_start(p, 10);
	store_partition_drop(&p);
}
END_TEST

/* The next allocation of the core fails; 0: tells whether one did. */
static void fault(struct shard_core *core, void *arg)
{
	long *at = arg;
	(void)core;
	if (*at > 0) {
		mem_fault_at(*at);
	} else {
		*at = mem_fault_fired();
		mem_fault_at(0);
	}
}

START_TEST(short_memory_puts_a_trim_off)
{
	struct store_partition *p = create("h", 1, HOUR_MS, 0);
	append(p, 10);
	fake_volume_hold_cuts(bed.volume, true);
	shift(HOUR_MS + 1000);
	while (fake_volume_cuts(bed.volume) == 0) {
		usleep(1000);
	}
	long at = 1;
	bed_on_core(&bed, fault, &at);
	fake_volume_hold_cuts(bed.volume, false);
	rest();
	at = 0;
	bed_on_core(&bed, fault, &at);
	ck_assert_int_eq(at, 1);
	ck_assert_int_eq(position(p).first_seq, 0);
	ck_assert_uint_eq(fake_volume_cuts(bed.volume), 1);
	ck_assert_int_eq(bed_trim(&bed, p, 10), ERR_OK);
	store_partition_drop(&p);
}
END_TEST

Suite *retention_suite(void)
{
	Suite *s = suite_create("retention");
	TCase *t = tcase_create("retention");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_clock_that_is_set_ahead_is_not_believed_at_once);
	tcase_add_test(t, old_events_go_in_time);
	tcase_add_test(t, too_many_bytes_go);
	tcase_add_test(t, changed_retention_takes_effect_at_once);
	tcase_add_test(t, clock_that_goes_back_deletes_nothing);
	tcase_add_test(t, idle_partitions_cost_nothing);
	tcase_add_test(t, cleaned_entries_of_mixed_age_are_cut_within);
	tcase_add_test(t, failed_cut_deletes_nothing_and_is_tried_later);
	tcase_add_loop_test(t, end_while_a_cut_is_out_is_in_order, 0, 4);
	tcase_add_test(t, full_disk_does_not_keep_retention_from_its_work);
	tcase_add_test(t, short_memory_puts_a_trim_off);
	suite_add_tcase(s, t);
	return s;
}
