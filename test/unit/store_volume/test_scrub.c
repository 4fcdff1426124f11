#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "ruin.h"
#include "suites.h"

/* The scrubber beside a volume that is in use. */

static struct ruin ruin;

enum { WAIT_MS = 60000, HOUR_MS = 3600000 };

static void setup(void)
{
	ruin_init(&ruin);
	ruin.bed.options.scrub_period_ms = 20;
}
static void teardown(void)
{
	ruin_fini(&ruin);
}

static void wait_for_log(const char *id)
{
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (!bed_log_had(id) && clock_mono_ms() < until) {
		usleep(5000);
	}
	ck_assert_msg(clock_mono_ms() < until, "%s is not logged", id);
}

static void wait_for_pass(int64_t bytes)
{
	int64_t until = clock_mono_ms() + WAIT_MS;
	int64_t from = metric_get(METRIC_STORE_SCRUBBED);
	while (metric_get(METRIC_STORE_SCRUBBED) < from + bytes && clock_mono_ms() < until) {
		usleep(5000);
	}
	ck_assert_int_lt(clock_mono_ms(), until);
}

static enum err read_one(uint32_t p, int64_t seq)
{
	struct volume_read r = {.part = bed_part(p), .from = seq, .limit = seq + 100, .max_bytes = 1};
	enum err e = bed_read(&ruin.bed, &r);
	if (e == ERR_OK) {
		bed_check_batches(p, &r.out);
		store_batches_drop(&r.out);
	}
	return e;
}

START_TEST(sound_volume_is_scrubbed_over_and_over)
{
	int64_t damaged = metric_get(METRIC_STORE_CORRUPT);
	bed_open(&ruin.bed, false);
	wait_for_pass(3 * (100 << 10) * 3);
	ck_assert_int_gt(metric_get(METRIC_STORE_SCRUB_DONE), clock_wall_ms() / 1000 - 120);
	ck_assert_int_eq(metric_get(METRIC_STORE_CORRUPT), damaged);
	bed_close(&ruin.bed);
}
END_TEST

START_TEST(damage_is_named_while_the_segment_is_open)
{
	char path[256];
	struct bed *b = &ruin.bed;
	b->options.scrub_period_ms = 0;
	bed_open(b, false);
	ck_assert_int_eq(read_one(0, ruin.start[0]), ERR_OK);
	bed_close(b);
	b->options.scrub_period_ms = 200;
	bed_open(b, false);
	for (uint32_t p = 0; p < RUIN_PARTS; p++) {
		ck_assert_int_eq(read_one(p, ruin.start[p]), ERR_OK);
	}
	ruin_path(&ruin, ruin.sealed, path, sizeof path);
	int64_t at = bed_size(path) - 5;
	bed_flip(path, at);
	wait_for_log("SEGMENT-DAMAGED");
	/* What lies in it is no longer served, the rest is, and appends go on. */
	int64_t bad = 0;
	for (uint32_t p = 0; p < RUIN_PARTS; p++) {
		for (int64_t seq = ruin.start[p]; seq < b->next_seq[p]; seq++) {
			enum err e = read_one(p, seq);
			ck_assert(e == ERR_OK || e == ERR_CORRUPT);
			bad += e == ERR_CORRUPT;
		}
		ck_assert_int_eq(read_one(p, b->next_seq[p] - 1), ERR_OK);
	}
	ck_assert_int_gt(bad, 0);
	bed_append(b, 0, 1, 100);
	bed_close(b);
}
END_TEST

START_TEST(damaged_idx_is_repaired)
{
	char path[256];
	struct bed *b = &ruin.bed;
	ruin_path(&ruin, ruin.sealed, path, sizeof path);
	snprintf(strrchr(path, '.'), 5, ".idx");
	for (int64_t at = 100; at < bed_size(path); at += 4096) {
		bed_open(b, false);
		bed_flip(path, at);
		wait_for_log("INDEX-REBUILT");
		bed_close(b);
		struct err_detail d;
		ck_assert_int_eq(ruin_verify(&ruin, &d), ERR_OK);
		ruin_print(&ruin);
		ck_assert_uint_eq(ruin.result.findings, 0);
	}
}
END_TEST

START_TEST(damaged_manifest_and_export_are_named)
{
	char path[256];
	ruin_path(&ruin, "MANIFEST.copy", path, sizeof path);
	bed_open(&ruin.bed, false);
	bed_flip(path, 3);
	wait_for_log("MANIFEST-DAMAGED");
	ruin_path(&ruin, "export/0000000001.exp", path, sizeof path);
	bed_flip(path, 300);
	wait_for_log("EXPORT-DAMAGED");
	bed_close(&ruin.bed);
}
END_TEST

/* With hours to go until the next byte. */
START_TEST(stop_does_not_wait_for_a_pass)
{
	ruin.bed.options.scrub_period_ms = HOUR_MS;
	bed_open(&ruin.bed, false);
	wait_for_pass(1);
	int64_t from = clock_mono_ms();
	bed_close(&ruin.bed);
	ck_assert_int_lt(clock_mono_ms() - from, 5000);
}
END_TEST

Suite *scrub_suite(void)
{
	Suite *s = suite_create("scrub");
	TCase *t = tcase_create("scrub");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, sound_volume_is_scrubbed_over_and_over);
	tcase_add_test(t, damage_is_named_while_the_segment_is_open);
	tcase_add_test(t, damaged_idx_is_repaired);
	tcase_add_test(t, damaged_manifest_and_export_are_named);
	tcase_add_test(t, stop_does_not_wait_for_a_pass);
	suite_add_tcase(s, t);
	return s;
}
