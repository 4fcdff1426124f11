#include <check.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *producer_suite(void);

enum { MANY = SHARD_PRODUCERS + 2 };

static struct ops_append ops[MANY];

/* A producer's batch of `n` events from sequence `seq` on. */
static void kafka_init(struct ops_append *a, struct store_partition *p, struct mailbox *mb,
		       int64_t id, int16_t epoch, int32_t seq, uint32_t n)
{
	ops_append_init(a, p, mb, 0, n, 20, NULL);
	ops_append_kafka(a, id, epoch, seq);
}

struct result {
	enum err err;
	int64_t base_seq;
	int64_t append_ms;
	bool is_repeated;
};

static struct result send(struct bed *b, struct store_partition *p, int64_t id, int16_t epoch,
			  int32_t seq, uint32_t n)
{
	struct ops_append a;
	kafka_init(&a, p, &b->mb, id, epoch, seq, n);
	shard_core_append(b->core, &a.op);
	ops_until(&b->mb, &a.is_done);
	return (struct result){a.op.err, a.op.base_seq, a.op.append_ms, a.op.is_repeated};
}

static void expect_new(struct bed *b, struct store_partition *p, int64_t id, int16_t epoch,
		       int32_t seq, uint32_t n)
{
	struct store_position before;
	struct store_position after;
	store_partition_position(p, &before);
	struct result r = send(b, p, id, epoch, seq, n);
	ck_assert_int_eq(r.err, ERR_OK);
	ck_assert(!r.is_repeated);
	ck_assert_int_eq(r.base_seq, before.next_seq);
	store_partition_position(p, &after);
	ck_assert_int_eq(after.next_seq, before.next_seq + n);
}

static void expect_err(struct bed *b, struct store_partition *p, int64_t id, int16_t epoch,
		       int32_t seq, uint32_t n, enum err want)
{
	struct store_position before;
	struct store_position after;
	store_partition_position(p, &before);
	ck_assert_int_eq(send(b, p, id, epoch, seq, n).err, want);
	store_partition_position(p, &after);
	ck_assert_int_eq(after.next_seq, before.next_seq);
}

static void expect_repeated(struct bed *b, struct store_partition *p, int64_t id, int16_t epoch,
			    int32_t seq, uint32_t n, int64_t base_seq)
{
	struct store_position before;
	struct store_position after;
	store_partition_position(p, &before);
	struct result r = send(b, p, id, epoch, seq, n);
	ck_assert_int_eq(r.err, ERR_OK);
	ck_assert(r.is_repeated);
	ck_assert_int_eq(r.base_seq, base_seq);
	ck_assert_int_gt(r.append_ms, 0);
	store_partition_position(p, &after);
	ck_assert_int_eq(after.next_seq, before.next_seq);
	ck_assert_uint_eq(after.bytes, before.bytes);
}

START_TEST(sequences_follow_one_another)
{
	struct bed b;
	bed_init(&b, 2);
	struct store_partition *p = bed_create(&b, "h", 2);
	struct store_partition *q = bed_find(&b, "h", 1);
	expect_new(&b, p, 7, 3, 100, 5);	/* any, of one that is not known */
	expect_err(&b, p, 7, 3, 104, 1, ERR_SEQUENCE);
	expect_err(&b, p, 7, 3, 106, 1, ERR_SEQUENCE);
	expect_err(&b, p, 7, 3, 0, 1, ERR_SEQUENCE);
	expect_new(&b, p, 7, 3, 105, 1);
	expect_err(&b, p, 7, 2, 106, 1, ERR_FENCED);
	expect_err(&b, p, 7, 2, 105, 1, ERR_FENCED);
	expect_err(&b, p, 7, 4, 106, 1, ERR_SEQUENCE);
	expect_new(&b, p, 7, 3, 106, 1);
	expect_new(&b, p, 7, 4, 0, 2);
	expect_err(&b, p, 7, 3, 107, 1, ERR_FENCED);
	expect_err(&b, p, 7, 3, 106, 1, ERR_FENCED);
	expect_new(&b, p, 7, 4, 2, 2);
	/* Other producers and other partitions are of no concern. */
	expect_new(&b, p, 8, 0, 2, 2);
	expect_new(&b, q, 7, 0, 50, 2);
	expect_new(&b, p, 0, 0, 0, 1);
	expect_new(&b, p, INT64_MAX, INT16_MAX, 0, 1);
	expect_err(&b, p, 9, -1, 0, 1, ERR_INVALID);
	expect_err(&b, p, 9, 0, -1, 1, ERR_INVALID);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_PRODUCER), 5);
	store_partition_drop(&p);
	store_partition_drop(&q);
	bed_fini(&b);
}
END_TEST

START_TEST(sequences_go_around)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	expect_new(&b, p, 1, 0, INT32_MAX - 1, 2);
	expect_err(&b, p, 1, 0, 1, 1, ERR_SEQUENCE);
	expect_new(&b, p, 1, 0, 0, 1);
	expect_repeated(&b, p, 1, 0, INT32_MAX - 1, 2, 0);
	expect_new(&b, p, 2, 0, INT32_MAX - 1, 5);	/* to 2 */
	expect_repeated(&b, p, 2, 0, INT32_MAX - 1, 5, 3);
	expect_new(&b, p, 2, 0, 3, 1);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(the_last_batches_are_recognised)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	ck_assert_int_eq(bed_append(&b, p, 0, 3), ERR_OK);
	for (int32_t i = 0; i < 8; i++) {
		expect_new(&b, p, 1, 0, i * 2, 2);
	}
	for (int32_t i = 3; i < 8; i++) {
		expect_repeated(&b, p, 1, 0, i * 2, 2, 3 + i * 2);
		/* Half of a batch is no repetition. */
		expect_err(&b, p, 1, 0, i * 2, 1, ERR_SEQUENCE);
	}
	expect_err(&b, p, 1, 0, 2 * 2, 2, ERR_SEQUENCE);
	expect_new(&b, p, 1, 0, 16, 2);
	expect_err(&b, p, 1, 0, 3 * 2, 2, ERR_SEQUENCE);
	/* A new epoch forgets them. */
	expect_new(&b, p, 1, 1, 0, 2);
	expect_err(&b, p, 1, 1, 16, 2, ERR_SEQUENCE);
	expect_repeated(&b, p, 1, 1, 0, 2, 21);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(without_a_producer_nothing_is_checked)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	expect_new(&b, p, -1, -1, 0, 2);
	expect_new(&b, p, -1, -1, 0, 2);
	expect_new(&b, p, -1, 0, -1, 2);
	for (int i = 0; i < 2; i++) {
		struct ops_append a;
		kafka_init(&a, p, &b.mb, 5, 0, 9, 1);
		a.op.encoding = BATCH_AMQP;
		shard_core_append(b.core, &a.op);
		ops_until(&b.mb, &a.is_done);
		ck_assert_int_eq(a.op.err, ERR_OK);
		ck_assert(!a.op.is_repeated);
	}
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_PRODUCER), 0);
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_eq(at.next_seq, 8);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(what_is_under_way_is_recognised)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	uint64_t entries = bed_entries(&b);
	fake_volume_hold(b.volume);
	uint32_t answered = 0;
	/* Batch i / 2 and its repetition; the first two entries hold one batch each,
	 * the third the rest. */
	enum { BATCHES = 5, N = BATCHES * 3 };
	for (uint32_t i = 0; i < N; i++) {
		int32_t seq = i < 2 * BATCHES ? (int32_t)i / 2 : (int32_t)i - 2 * BATCHES;
		kafka_init(&ops[i], p, &b.mb, 1, 0, seq, 1);
		ops[i].answered = &answered;
		shard_core_append(b.core, &ops[i].op);
		if (i == 0 || i == 2) {
			fake_volume_wait(b.volume, ++entries);
		}
	}
	bed_on_core(&b, NULL, NULL);
	ck_assert_uint_eq(answered, 0);
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, N);
	for (uint32_t i = 0; i < N; i++) {
		int64_t want = i < 2 * BATCHES ? i / 2 : i - 2 * BATCHES;
		ck_assert_int_eq(ops[i].op.err, ERR_OK);
		ck_assert_int_eq(ops[i].op.base_seq, want);
		ck_assert_int_eq(ops[i].op.is_repeated, i >= 2 * BATCHES || i % 2 == 1);
		ck_assert_int_eq(ops[i].op.append_ms, ops[want * 2].op.append_ms);
	}
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_eq(at.next_seq, BATCHES);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(one_refused_batch_stops_those_behind_it)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	fake_volume_hold(b.volume);
	uint32_t answered = 0;
	enum { N = 10 };
	for (uint32_t i = 0; i < N; i++) {
		kafka_init(&ops[i], p, &b.mb, 1, 0, (int32_t)i, 1);
		ops[i].answered = &answered;
	}
	ops[4].op.events = 2;	/* its head belies it */
	for (uint32_t i = 0; i < N; i++) {
		shard_core_append(b.core, &ops[i].op);
	}
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, N);
	for (uint32_t i = 0; i < N; i++) {
		enum err want = i < 4 ? ERR_OK : i == 4 ? ERR_INVALID : ERR_SEQUENCE;
		ck_assert_int_eq(ops[i].op.err, want);
	}
	expect_new(&b, p, 1, 0, 4, 1);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(an_entry_holds_one_row_per_producer)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	uint64_t entries = bed_entries(&b);
	fake_volume_hold(b.volume);
	uint32_t answered = 0;
	enum { N = 300 };
	for (uint32_t i = 0; i < N; i++) {
		kafka_init(&ops[i], p, &b.mb, i % 3, 0, (int32_t)i / 3, 1);
		ops[i].answered = &answered;
		shard_core_append(b.core, &ops[i].op);
		if (i < SHARD_IN_FLIGHT) {
			fake_volume_wait(b.volume, entries + i + 1);
		}
	}
	struct fake_counts before;
	fake_volume_counts(b.volume, &before);
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, N);
	struct fake_counts after;
	fake_volume_counts(b.volume, &after);
	/* Each batch is a command, and each entry has one of rows. */
	ck_assert_uint_eq(after.entries, entries + SHARD_IN_FLIGHT + 1);
	ck_assert_uint_eq(after.commands - before.commands, N + SHARD_IN_FLIGHT + 1);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_PRODUCER), 3);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(many_producers_keep_within_an_entry)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 2);
	struct store_partition *q = bed_find(&b, "h", 1);
	fake_volume_hold(b.volume);
	uint32_t answered = 0;
	enum { N = 9000 };
	for (uint32_t i = 0; i < N; i++) {
		kafka_init(&ops[i], i % 2 == 0 ? p : q, &b.mb, i, 0, 0, 1);
		ops[i].answered = &answered;
		shard_core_append(b.core, &ops[i].op);
	}
	bed_on_core(&b, NULL, NULL);
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, N);
	for (uint32_t i = 0; i < N; i++) {
		ck_assert_int_eq(ops[i].op.err, ERR_OK);
	}
	struct fake_counts c;
	fake_volume_counts(b.volume, &c);
	ck_assert_uint_le(c.commands_max, SHARD_ENTRY_COMMANDS);
	ck_assert_uint_gt(c.commands_max, SHARD_ENTRY_COMMANDS / 2);
	ck_assert_uint_le(c.size_max, LIMIT_ENTRY);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_PRODUCER), N);
	/* Large ones. */
	answered = 0;
	fake_volume_hold(b.volume);
	enum { LARGE = 12 };
	for (uint32_t i = 0; i < LARGE; i++) {
		uint32_t n = i % 3 == 0 ? 2 : 1;
		ops_append_init(&ops[i], p, &b.mb, 0, n, 1048000, NULL);
		ops_append_kafka(&ops[i], 100000 + i, 0, 0);
		ops[i].answered = &answered;
		shard_core_append(b.core, &ops[i].op);
	}
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, LARGE);
	fake_volume_counts(b.volume, &c);
	ck_assert_uint_le(c.size_max, LIMIT_ENTRY);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_PRODUCER), N + LARGE);
	store_partition_drop(&p);
	store_partition_drop(&q);
	bed_fini(&b);
}
END_TEST

START_TEST(the_one_silent_the_longest_makes_room)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	uint32_t answered = 0;
	for (uint32_t i = 0; i < SHARD_PRODUCERS; i++) {
		kafka_init(&ops[i], p, &b.mb, i, 0, 5, 1);
		ops[i].answered = &answered;
		shard_core_append(b.core, &ops[i].op);
	}
	ops_until_count(&b.mb, &answered, SHARD_PRODUCERS);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_PRODUCER), SHARD_PRODUCERS);
	expect_new(&b, p, 0, 0, 6, 1);	/* no longer the oldest */
	expect_new(&b, p, SHARD_PRODUCERS, 0, 0, 1);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_PRODUCER), SHARD_PRODUCERS);
	expect_repeated(&b, p, 0, 0, 5, 1, 0);
	expect_repeated(&b, p, 2, 0, 5, 1, 2);
	expect_repeated(&b, p, SHARD_PRODUCERS, 0, 0, 1, SHARD_PRODUCERS + 1);
	/* So it is after a start: 2 is now the oldest, 1 is not there. */
	store_partition_drop(&p);
	bed_close(&b);
	bed_open(&b);
	p = bed_find(&b, "h", 0);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_PRODUCER), SHARD_PRODUCERS);
	expect_new(&b, p, 1, 0, 5, 1);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_PRODUCER), SHARD_PRODUCERS);
	expect_repeated(&b, p, 0, 0, 5, 1, 0);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(a_start_knows_what_was_known)
{
	struct bed b;
	bed_init(&b, 2);
	struct store_partition *p = bed_create(&b, "h", 2);
	struct store_partition *q = bed_find(&b, "h", 1);
	struct store_partition *gone = bed_create(&b, "gone", 1);
	for (int32_t i = 0; i < 7; i++) {
		expect_new(&b, p, 1, 2, i, 1);
		expect_new(&b, q, 1, 0, 10 + i * 3, 3);
		expect_new(&b, gone, 1, 0, i, 1);
	}
	struct result was = send(&b, q, 1, 0, 10 + 6 * 3, 3);
	struct catalog_command cmd = ops_create("gone", 0);
	cmd.op = CATALOG_HUB_DELETE;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	store_partition_drop(&gone);
	store_partition_drop(&p);
	store_partition_drop(&q);
	for (int round = 0; round < 2; round++) {
		bed_close(&b);
		bed_open(&b);
		p = bed_find(&b, "h", 0);
		q = bed_find(&b, "h", 1);
		for (int32_t i = 2; i < 7; i++) {
			expect_repeated(&b, p, 1, 2, i, 1, i);
			expect_repeated(&b, q, 1, 0, 10 + i * 3, 3, i * 3);
		}
		struct result is = send(&b, q, 1, 0, 10 + 6 * 3, 3);
		ck_assert_int_eq(is.append_ms, was.append_ms);
		expect_err(&b, p, 1, 2, 1, 1, ERR_SEQUENCE);
		expect_err(&b, p, 1, 1, 7, 1, ERR_FENCED);
		expect_err(&b, q, 1, 0, 10 + 8 * 3, 3, ERR_SEQUENCE);
		store_partition_drop(&p);
		store_partition_drop(&q);
	}
	p = bed_find(&b, "h", 0);
	expect_new(&b, p, 1, 2, 7, 1);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

static void until_rows(struct bed *b, uint32_t want)
{
	int64_t end = clock_mono_ms() + 20000;
	while (bed_rows(b, STORE_ROW_PRODUCER) != want && clock_mono_ms() < end) {
	}
	ck_assert_uint_eq(bed_rows(b, STORE_ROW_PRODUCER), want);
}

START_TEST(the_silent_are_forgotten)
{
	struct bed b;
	bed_init(&b, 2);
	bed_close(&b);
	b.options.producer_expiry_ms = 3600 * 1000;
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 1);
	uint32_t answered = 0;
	enum { N = 1000 };
	for (uint32_t i = 0; i < N; i++) {
		kafka_init(&ops[i], p, &b.mb, i, 0, 5, 1);
		ops[i].answered = &answered;
		shard_core_append(b.core, &ops[i].op);
	}
	ops_until_count(&b.mb, &answered, N);
	clock_wall_shift_ms(3600 * 1000);
	expect_new(&b, p, 3, 0, 6, 1);
	store_partition_drop(&p);
	bed_close(&b);
	bed_open(&b);
	until_rows(&b, 1);
	p = bed_find(&b, "h", 0);
	expect_repeated(&b, p, 3, 0, 6, 1, N);
	expect_repeated(&b, p, 3, 0, 5, 1, 3);
	/* Of the forgotten any sequence is the first. */
	expect_new(&b, p, 4, 0, 77, 1);
	store_partition_drop(&p);
	bed_close(&b);
	bed_open(&b);
	until_rows(&b, 2);
	clock_wall_shift_ms(-3600 * 1000);
	bed_fini(&b);
}
END_TEST

START_TEST(producers_of_deleted_hubs_are_forgotten)
{
	struct bed b;
	bed_init(&b, 3);
	bed_close(&b);
	b.options.producer_expiry_ms = 3600 * 1000;
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "stays", 3);
	struct store_partition *gone = bed_create(&b, "gone", 3);
	expect_new(&b, p, 1, 0, 0, 1);
	uint32_t answered = 0;
	enum { N = 700 };
	for (uint32_t i = 0; i < N; i++) {
		kafka_init(&ops[i], gone, &b.mb, i, 0, 0, 1);
		ops[i].answered = &answered;
		shard_core_append(b.core, &ops[i].op);
	}
	ops_until_count(&b.mb, &answered, N);
	/* One is under way while the hub goes. */
	struct catalog_command cmd = ops_create("gone", 0);
	cmd.op = CATALOG_HUB_DELETE;
	struct ops_append late;
	kafka_init(&late, gone, &b.mb, N, 0, 0, 1);
	struct ops_command c = {
		.op = {.reply_to = &b.mb, .done = ops_command_done, .command = cmd}};
	fake_volume_hold(b.volume);
	shard_core_command(b.core, &c.op);
	shard_core_append(b.core, &late.op);
	fake_volume_release(b.volume);
	ops_until(&b.mb, &c.is_done);
	ops_until(&b.mb, &late.is_done);
	ck_assert_int_eq(c.op.err, ERR_OK);
	store_partition_drop(&gone);
	store_partition_drop(&p);
	/* A round begins with the start. */
	bed_close(&b);
	bed_open(&b);
	until_rows(&b, 1);
	p = bed_find(&b, "stays", 0);
	expect_repeated(&b, p, 1, 0, 0, 1, 0);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(rounds_come_again)
{
	struct bed b;
	bed_init(&b, 1);
	bed_close(&b);
	b.options.producer_expiry_ms = 100;
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 1);
	for (int32_t i = 0; i < 3; i++) {
		expect_new(&b, p, 1, 0, 50 + i * 10, 1);
		until_rows(&b, 0);
	}
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(the_greatest_timestamp_is_kept)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_eq(at.max_timestamp_ms, INT64_MIN);
	expect_new(&b, p, 1, 0, 500, 1);
	store_partition_position(p, &at);
	ck_assert_int_eq(at.max_timestamp_ms, 1500);
	expect_new(&b, p, 2, 0, 7, 1);
	store_partition_position(p, &at);
	ck_assert_int_eq(at.max_timestamp_ms, 1500);
	ck_assert_int_eq(bed_append(&b, p, 0, 1), ERR_OK);
	store_partition_position(p, &at);
	ck_assert_int_eq(at.max_timestamp_ms, at.last_enqueued_ms);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

static void fault_at(struct shard_core *core, void *arg)
{
	(void)core;
	mem_fault_at(*(long *)arg);
}

START_TEST(short_memory_costs_only_the_batch_it_meets)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	int64_t next = 0;
	uint32_t failed = 0;
	for (long n = 1; n < 200; n++) {
		int64_t id = 1000 + n / 2;	/* new and known ones */
		int32_t seq = (int32_t)n % 2;
		long at = 1 + n % 12;
		bed_on_core(&b, fault_at, &at);
		struct result r = send(&b, p, id, 0, seq, 1);
		ck_assert(r.err == ERR_OK || r.err == ERR_NOMEM);
		at = 0;
		bed_on_core(&b, fault_at, &at);
		if (r.err == ERR_NOMEM) {
			failed++;
			r = send(&b, p, id, 0, seq, 1);
			ck_assert_int_eq(r.err, ERR_OK);
		}
		ck_assert_int_eq(r.base_seq, next);
		next++;
		expect_repeated(&b, p, id, 0, seq, 1, next - 1);
	}
	ck_assert_uint_gt(failed, 20);
	store_partition_drop(&p);
	bed_close(&b);
	bed_open(&b);
	p = bed_find(&b, "h", 0);
	for (int64_t id = 1000; id < 1099; id++) {
		expect_new(&b, p, id, 0, 2, 1);
	}
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(short_memory_fails_the_start)
{
	struct bed b;
	bed_init(&b, 2);
	struct store_partition *p = bed_create(&b, "h", 2);
	for (int64_t id = 0; id < 20; id++) {
		expect_new(&b, p, id, 0, 0, 1);
	}
	store_partition_drop(&p);
	bed_close(&b);
	for (long n = 1;; n++) {
		struct err_detail d = {""};
		struct shard_core *core = NULL;
		mem_fault_at(n);
		enum err e = shard_core_new(&b.options, &core, &d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		/* Slots of a table that cannot grow only get longer. */
		ck_assert(e == ERR_OK || (fired && e == ERR_NOMEM));
		shard_core_free(&core);
		if (!fired) {
			ck_assert_int_gt(n, 40);
			break;
		}
	}
	bed_fini(&b);
}
END_TEST

/* ---- against a model ----------------------------------------------------- */

enum { PARTS = 2, IDS = 3, STEPS = 6000 };

struct model {
	bool is_known;
	int16_t epoch;
	uint32_t n;
	struct {
		int32_t first;
		int32_t last;
		int64_t base;
	} v[STORE_PRODUCER_BATCHES];
};

struct want {
	enum err err;
	bool is_repeated;
	int64_t base;
};

static struct want step(struct model *m, int64_t *next_seq, int16_t epoch, int32_t first,
			uint32_t n)
{
	int32_t last = first + (int32_t)n - 1;
	if (m->is_known && epoch < m->epoch) {
		return (struct want){.err = ERR_FENCED};
	}
	if (m->is_known && epoch > m->epoch) {
		if (first != 0) {
			return (struct want){.err = ERR_SEQUENCE};
		}
		m->n = 0;
	} else if (m->is_known) {
		for (uint32_t i = 0; i < m->n; i++) {
			if (m->v[i].first == first && m->v[i].last == last) {
				return (struct want){ERR_OK, true, m->v[i].base};
			}
		}
		if (first != m->v[m->n - 1].last + 1) {
			return (struct want){.err = ERR_SEQUENCE};
		}
	}
	m->is_known = true;
	m->epoch = epoch;
	if (m->n == STORE_PRODUCER_BATCHES) {
		m->n--;
		memmove(m->v, m->v + 1, m->n * sizeof m->v[0]);
	}
	m->v[m->n].first = first;
	m->v[m->n].last = last;
	m->v[m->n++].base = *next_seq;
	*next_seq += n;
	return (struct want){ERR_OK, false, *next_seq - n};
}

START_TEST(decisions_are_those_of_the_model)
{
	struct bed b;
	bed_init(&b, 2);
	struct store_partition *p = bed_create(&b, "h", PARTS);
	store_partition_drop(&p);
	static struct model models[PARTS][IDS];
	static struct want wants[STEPS];
	int64_t next[PARTS] = {0};
	srand(20);
	uint32_t done = 0;
	while (done < STEPS) {
		struct store_partition *parts[PARTS];
		for (uint32_t i = 0; i < PARTS; i++) {
			parts[i] = bed_find(&b, "h", i);
		}
		uint32_t n = 1 + (uint32_t)rand() % 300;
		n = n < STEPS - done ? n : STEPS - done;
		uint32_t answered = 0;
		fake_volume_hold(b.volume);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t part = (uint32_t)rand() % PARTS;
			uint32_t id = (uint32_t)rand() % IDS;
			struct model *m = &models[part][id];
			int16_t epoch = m->epoch;
			uint32_t events = 1 + (uint32_t)rand() % 3;
			int32_t first = m->n > 0 ? m->v[m->n - 1].last + 1 : rand() % 3;
			int dice = rand() % 20;
			if (dice < 5 && m->n > 0) {
				uint32_t k = (uint32_t)rand() % m->n;
				first = m->v[k].first;
				events = (uint32_t)(m->v[k].last - first + 1);
			} else if (dice == 5) {
				first += 1 + rand() % 3;
			} else if (dice == 6) {
				epoch++;
				first = rand() % 2;
			} else if (dice == 7 && epoch > 0) {
				epoch--;
			}
			wants[i] = step(m, &next[part], epoch, first, events);
			kafka_init(&ops[i], parts[part], &b.mb, id, epoch, first, events);
			ops[i].answered = &answered;
			shard_core_append(b.core, &ops[i].op);
			if (rand() % 100 == 0) {
				fake_volume_release(b.volume);
				bed_settle(&b);
				fake_volume_hold(b.volume);
			}
		}
		fake_volume_release(b.volume);
		ops_until_count(&b.mb, &answered, n);
		for (uint32_t i = 0; i < n; i++) {
			ck_assert_int_eq(ops[i].op.err, wants[i].err);
			if (wants[i].err == ERR_OK) {
				ck_assert_int_eq(ops[i].op.base_seq, wants[i].base);
				ck_assert_int_eq(ops[i].op.is_repeated, wants[i].is_repeated);
			}
		}
		for (uint32_t i = 0; i < PARTS; i++) {
			store_partition_drop(&parts[i]);
		}
		if (rand() % 4 == 0) {
			bed_close(&b);
			bed_open(&b);
		}
		done += n;
	}
	bed_fini(&b);
}
END_TEST

Suite *producer_suite(void)
{
	Suite *s = suite_create("producer");
	TCase *t = tcase_create("producer");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, sequences_follow_one_another);
	tcase_add_test(t, sequences_go_around);
	tcase_add_test(t, the_last_batches_are_recognised);
	tcase_add_test(t, without_a_producer_nothing_is_checked);
	tcase_add_test(t, what_is_under_way_is_recognised);
	tcase_add_test(t, one_refused_batch_stops_those_behind_it);
	tcase_add_test(t, an_entry_holds_one_row_per_producer);
	tcase_add_test(t, many_producers_keep_within_an_entry);
	tcase_add_test(t, the_one_silent_the_longest_makes_room);
	tcase_add_test(t, a_start_knows_what_was_known);
	tcase_add_test(t, the_silent_are_forgotten);
	tcase_add_test(t, producers_of_deleted_hubs_are_forgotten);
	tcase_add_test(t, rounds_come_again);
	tcase_add_test(t, the_greatest_timestamp_is_kept);
	tcase_add_test(t, short_memory_costs_only_the_batch_it_meets);
	tcase_add_test(t, short_memory_fails_the_start);
	tcase_add_test(t, decisions_are_those_of_the_model);
	suite_add_tcase(s, t);
	return s;
}
