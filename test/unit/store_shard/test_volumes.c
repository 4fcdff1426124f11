#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/shard/shard_priv.h"
#include "store/volume/volume.h"
#include "test/lib/fake_state.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *volumes_suite(void);

/* Partition i of the only hub is in shard i, on volume i % VOLUMES. */
enum { SHARDS = 4, VOLUMES = 2, OFF = 1 };

static struct bed bed;
static struct state *state;
static struct store_partition *parts[SHARDS];

static void find_parts(void)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		parts[i] = bed_find(&bed, "h", i);
		ck_assert_uint_eq(parts[i]->shard->number, i);
	}
}

static void drop_parts(void)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		store_partition_drop(&parts[i]);
	}
}

static void setup(void)
{
	bed_make(&bed, SHARDS, VOLUMES);
	state = fake_state_new();
	bed.options.state = state;
	bed_open(&bed);
	struct store_partition *p = bed_create(&bed, "h", SHARDS);
	store_partition_drop(&p);
	find_parts();
}

static void teardown(void)
{
	drop_parts();
	bed_fini(&bed);
	fake_state_free(&state);
}

static void reopen(bool is_online)
{
	drop_parts();
	bed_close(&bed);
	bed.online[OFF] = is_online ? bed.volumes[OFF] : NULL;
	bed_open(&bed);
	find_parts();
}

static bool is_off(uint32_t shard)
{
	return shard % VOLUMES == OFF;
}

static enum err write_row(uint32_t shard, const char *content)
{
	struct store_row row = {.kind = STORE_ROW_GROUP,
				.key = span_str("k"),
				.content = span_str(content)};
	return bed_rows_write(&bed, shard, &row, 1);
}

START_TEST(shards_live_on_their_volumes)
{
	fake_volume_hold(bed.volumes[1]);
	struct ops_append a;
	ops_append_init(&a, parts[1], &bed.mb, 0, 1, 20, NULL);
	shard_core_append(bed.core, &a.op);
	ck_assert_int_eq(bed_append(&bed, parts[0], 0, 3), ERR_OK);
	ck_assert_int_eq(bed_append(&bed, parts[2], 0, 3), ERR_OK);
	ck_assert(!a.is_done);
	fake_volume_release(bed.volumes[1]);
	ops_until(&bed.mb, &a.is_done);
	ck_assert_int_eq(a.op.err, ERR_OK);
	ck_assert_int_eq(bed_trim(&bed, parts[1], 1), ERR_OK);
	ck_assert_int_eq(fake_volume_told(bed.volumes[1], parts[1]->part).start, 1);
	ck_assert_int_eq(fake_volume_told(bed.volumes[0], parts[1]->part).start, 0);
	reopen(true);
	static const int64_t next[SHARDS] = {3, 1, 3, 0};
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct store_position at;
		store_partition_position(parts[i], &at);
		ck_assert_int_eq(at.next_seq, next[i]);
		ck_assert(!at.is_offline);
	}
}
END_TEST

static enum err read_err(struct store_partition *p, int64_t from)
{
	struct ops_read r = {.op = {.reply_to = &bed.mb,
				    .done = ops_read_done,
				    .partition = p,
				    .from = from,
				    .max_bytes = UINT32_MAX}};
	shard_core_read(bed.core, &r.op);
	ops_until(&bed.mb, &r.is_done);
	ck_assert(r.op.err == ERR_OK || r.op.out.n == 0);
	store_batches_drop(&r.op.out);
	return r.op.err;
}

static enum err seek_err(struct store_partition *p)
{
	struct ops_seek s = {.op = {.reply_to = &bed.mb,
				    .done = ops_seek_done,
				    .partition = p,
				    .by = STORE_SEEK_APPEND_TIME,
				    .err = ERR_INTERNAL}};
	shard_core_seek(bed.core, &s.op);
	ops_until(&bed.mb, &s.is_done);
	return s.op.err;
}

static enum err watch_err(struct store_partition *p)
{
	struct ops_watch w;
	ops_watch_init(&w, p, &bed.mb, -1);
	shard_core_watch(&w.op);
	ops_until(&bed.mb, &w.is_done);
	return w.op.err;
}

static void check_all(uint32_t i, enum err e)
{
	struct store_batches got;
	ck_assert_int_eq(bed_append(&bed, parts[i], 10, 1), e);
	ck_assert_int_eq(store_read_recent(parts[i], 10, UINT32_MAX, &got), e);
	store_batches_drop(&got);
	ck_assert_int_eq(read_err(parts[i], 2), e);
	ck_assert_int_eq(seek_err(parts[i]), e);
	ck_assert_int_eq(watch_err(parts[i]), e);
	ck_assert_int_eq(bed_trim(&bed, parts[i], 4), e);
	ck_assert_int_eq(write_row(i, "while one is away"), e);
}

START_TEST(what_is_on_a_volume_that_is_away_is_offline)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		ck_assert_int_eq(bed_append(&bed, parts[i], 0, 10), ERR_OK);
		ck_assert_int_eq(write_row(i, "before"), ERR_OK);
		ck_assert_int_eq(bed_trim(&bed, parts[i], 3), ERR_OK);
	}
	bed.options.producer_expiry_ms = 400;	/* sweeps every 50 ms */
	bed.options.retention_check_ms = 20;
	reopen(true);
	reopen(false);
	uint64_t index = fake_state_index(state, OFF);
	for (uint32_t i = 0; i < SHARDS; i++) {
		struct store_position at;
		store_partition_position(parts[i], &at);
		ck_assert_int_eq(at.is_offline, is_off(i));
		ck_assert_int_eq(at.next_seq, is_off(i) ? 0 : 10);
		ck_assert_int_eq(at.first_seq, is_off(i) ? 0 : 3);
		check_all(i, is_off(i) ? ERR_OFFLINE : ERR_OK);
	}
	/* Hubs come and go meanwhile. */
	struct store_partition *p = bed_create(&bed, "new", SHARDS);
	store_partition_drop(&p);
	struct catalog_command cmd = ops_create("h", 0);
	cmd.op = CATALOG_HUB_UPDATE;
	cmd.has_retention = true;
	cmd.retention_ms = 1;
	cmd.has_cleanup = true;
	cmd.cleanup = CATALOG_COMPACT_DELETE;
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	bed_await_start(parts[0], 11);
	usleep(200000);
	ck_assert_uint_eq(bed_entries(&bed) > 0, true);
	cmd = ops_create("new", 0);
	cmd.op = CATALOG_HUB_DELETE;
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	cmd = ops_create("h", 0);
	cmd.op = CATALOG_HUB_UPDATE;
	cmd.has_retention = true;
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	/* Its rows in the state are as they were. */
	reopen(true);
	ck_assert_uint_eq(fake_state_index(state, OFF), index);
	for (uint32_t i = 0; i < SHARDS; i++) {
		char text[32];
		ck_assert(fake_state_get(state, i, STORE_ROW_GROUP, span_str("k"), text,
					 sizeof text));
		ck_assert_str_eq(text, is_off(i) ? "before" : "while one is away");
		struct store_position at;
		store_partition_position(parts[i], &at);
		ck_assert(!at.is_offline);
		ck_assert_int_eq(at.first_seq, is_off(i) ? 3 : 11);
		ck_assert_int_eq(at.next_seq, is_off(i) ? 10 : 11);
		ck_assert_int_eq(bed_append(&bed, parts[i], 10, 1), ERR_OK);
	}
}
END_TEST

START_TEST(hub_deleted_while_its_volume_was_away_is_gone)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		ck_assert_int_eq(bed_append(&bed, parts[i], 0, 10), ERR_OK);
	}
	struct store_part part = parts[OFF]->part;
	drop_parts();
	bed_close(&bed);
	bed.online[OFF] = NULL;
	bed_open(&bed);
	struct catalog_command cmd = ops_create("h", 0);
	cmd.op = CATALOG_HUB_DELETE;
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	bed_close(&bed);
	ck_assert(!fake_volume_told(bed.volumes[OFF], part).is_gone);
	bed.online[OFF] = bed.volumes[OFF];
	bed_open(&bed);
	ck_assert(fake_volume_told(bed.volumes[OFF], part).is_gone);
}
END_TEST

static void await_append(uint32_t i, enum err wanted)
{
	int64_t end_ns = clock_mono_ns() + (int64_t)60 * 1000000000;
	while (bed_append(&bed, parts[i], 0, 1) != wanted) {
		ck_assert(clock_mono_ns() < end_ns);
		usleep(20000);
	}
}

START_TEST(full_volume_refuses_its_own_appends_only)
{
	bed.options.max_disk_bytes = 1 << 20;
	reopen(true);
	ck_assert_int_eq(bed_append(&bed, parts[1], 0, 10), ERR_OK);
	ck_assert_int_eq(write_row(1, "there"), ERR_OK);
	fake_volume_set_disk_bytes(bed.volumes[1], 1 << 20);
	await_append(1, ERR_QUOTA);
	ck_assert_int_eq(bed_append(&bed, parts[3], 0, 1), ERR_QUOTA);
	ck_assert_int_eq(write_row(3, "more"), ERR_QUOTA);
	ck_assert_int_eq(bed_append(&bed, parts[0], 0, 1), ERR_OK);
	ck_assert_int_eq(write_row(2, "more"), ERR_OK);
	/* What makes room passes. */
	ck_assert_int_eq(bed_trim(&bed, parts[1], 5), ERR_OK);
	struct store_row row = {
		.kind = STORE_ROW_GROUP, .is_deleted = true, .key = span_str("k")};
	ck_assert_int_eq(bed_rows_write(&bed, 1, &row, 1), ERR_OK);
	fake_volume_set_disk_bytes(bed.volumes[1], 1 << 19);
	await_append(1, ERR_OK);
	ck_assert_int_eq(bed_append(&bed, parts[3], 0, 1), ERR_OK);
}
END_TEST

START_TEST(no_more_is_taken_between_two_looks_than_there_was_room)
{
	bed.options.max_disk_bytes = 1 << 20;
	fake_volume_set_disk_bytes(bed.volumes[1], (1 << 20) - 20000);
	reopen(true);
	uint32_t taken = 0;
	/* 1,000 bytes each, within one look. */
	while (taken < 100) {
		struct ops_append a;
		ops_append_init(&a, parts[1], &bed.mb, 0, 1, 1000, NULL);
		shard_core_append(bed.core, &a.op);
		ops_until(&bed.mb, &a.is_done);
		if (a.op.err != ERR_OK) {
			ck_assert_int_eq(a.op.err, ERR_QUOTA);
			break;
		}
		taken++;
	}
	ck_assert_uint_lt(taken, 100);
	ck_assert_uint_gt(taken, 10);
}
END_TEST

Suite *volumes_suite(void)
{
	Suite *s = suite_create("volumes");
	TCase *t = tcase_create("volumes");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, shards_live_on_their_volumes);
	tcase_add_test(t, what_is_on_a_volume_that_is_away_is_offline);
	tcase_add_test(t, full_volume_refuses_its_own_appends_only);
	tcase_add_test(t, no_more_is_taken_between_two_looks_than_there_was_room);
	suite_add_tcase(s, t);
	TCase *u = tcase_create("gone");
	tcase_set_timeout(u, 120);
	tcase_add_checked_fixture(u, setup, teardown);
	tcase_add_test(u, hub_deleted_while_its_volume_was_away_is_gone);
	suite_add_tcase(s, u);
	return s;
}
