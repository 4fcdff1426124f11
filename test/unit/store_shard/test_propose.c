#include <check.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"
#include "store/volume/volume.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *propose_suite(void);

enum { MANY = 3000 };

static struct ops_append ops[MANY];

static void setup_ops(struct bed *b, struct store_partition *p, uint32_t n, uint32_t *answered)
{
	for (uint32_t i = 0; i < n; i++) {
		ops_append_init(&ops[i], p, &b->mb, i, 1, 20, NULL);
		ops[i].answered = answered;
	}
}

START_TEST(append_is_answered_with_its_place)
{
	struct bed b;
	bed_init(&b, 2);
	struct store_partition *p = bed_create(&b, "h", 1);
	int64_t before = clock_wall_ms();
	for (uint32_t i = 0; i < 3; i++) {
		struct ops_append a;
		ops_append_init(&a, p, &b.mb, i * 4, 4, 20, "key");
		shard_core_append(b.core, &a.op);
		ops_until(&b.mb, &a.is_done);
		ck_assert_int_eq(a.op.err, ERR_OK);
		ck_assert_int_eq(a.op.base_seq, i * 4);
		ck_assert_int_ge(a.op.append_ms, before);
	}
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_eq(at.first_seq, 0);
	ck_assert_int_eq(at.next_seq, 12);
	ck_assert_int_ge(at.last_enqueued_ms, before);
	ck_assert_uint_gt(at.bytes, 3 * BATCH_HEAD);
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 0, UINT32_MAX, &got), ERR_OK);
	ck_assert_uint_eq(got.n, 3);
	ck_assert(span_eq_str(got.v[1].key, "key"));
	ck_assert_int_eq(ops_check_batches(&got, 0, 0), 12);
	store_batches_drop(&got);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(what_waits_is_merged_into_one_entry)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	uint64_t entries = bed_entries(&b);
	fake_volume_hold(b.volume);
	uint32_t answered = 0;
	setup_ops(&b, p, MANY, &answered);
	/* The first two fill the places in flight. */
	for (uint32_t i = 0; i < SHARD_IN_FLIGHT; i++) {
		shard_core_append(b.core, &ops[i].op);
		fake_volume_wait(b.volume, entries + i + 1);
	}
	for (uint32_t i = SHARD_IN_FLIGHT; i < MANY; i++) {
		shard_core_append(b.core, &ops[i].op);
	}
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_eq(at.next_seq, 0);
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		ck_assert_int_eq(ops[i].op.err, ERR_OK);
		ck_assert_int_eq(ops[i].op.base_seq, i);
		ck_assert_uint_eq(ops[i].order, i);
	}
	struct store_batches got;
	int64_t next = 0;
	uint32_t batches = 0;
	while (next < MANY) {
		ck_assert_int_eq(store_read_recent(p, next, UINT32_MAX, &got), ERR_OK);
		batches += got.n;
		next = ops_check_batches(&got, next, 0);
		store_batches_drop(&got);
	}
	ck_assert_uint_le(batches, 6);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(keys_are_kept_apart)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	fake_volume_hold(b.volume);
	uint32_t answered = 0;
	for (uint32_t i = 0; i < 300; i++) {
		char key[8];
		snprintf(key, sizeof key, "k%u", i / 10 % 3);
		ops_append_init(&ops[i], p, &b.mb, i, 1, 20, i % 100 < 50 ? key : NULL);
		ops[i].answered = &answered;
		shard_core_append(b.core, &ops[i].op);
	}
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, 300);
	int64_t next = 0;
	while (next < 300) {
		struct store_batches got;
		ck_assert_int_eq(store_read_recent(p, next, UINT32_MAX, &got), ERR_OK);
		for (uint32_t i = 0; i < got.n; i++) {
			for (int64_t s = got.v[i].base_seq; s < got.v[i].base_seq + got.v[i].count; s++) {
				char key[8];
				snprintf(key, sizeof key, "k%u", (unsigned)(s / 10 % 3));
				ck_assert(span_eq_str(got.v[i].key, s % 100 < 50 ? key : ""));
			}
		}
		next = ops_check_batches(&got, next, 0);
		store_batches_drop(&got);
	}
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(kafka_batch_keeps_its_own_times)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	ck_assert_int_eq(bed_append(&b, p, 0, 7), ERR_OK);
	struct ops_append a;
	ops_append_init(&a, p, &b.mb, 0, 3, 20, NULL);
	a.op.encoding = BATCH_KAFKA;
	a.op.may_merge = false;
	batch_seal(a.op.batch->data, a.op.batch_len, 1234);
	shard_core_append(b.core, &a.op);
	ops_until(&b.mb, &a.is_done);
	ck_assert_int_eq(a.op.base_seq, 7);
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 8, UINT32_MAX, &got), ERR_OK);
	ck_assert_uint_eq(got.n, 1);
	struct batch_head h;
	ck_assert_int_eq(batch_check(got.v[0].batch), ERR_OK);
	ck_assert_int_eq(batch_head_read(got.v[0].batch, &h), ERR_OK);
	ck_assert_int_eq(h.base_offset, 7);
	ck_assert_int_eq(h.max_timestamp, 1234);
	ck_assert_int_eq(got.v[0].encoding, BATCH_KAFKA);
	ck_assert_int_gt(got.v[0].append_ms, 1234);
	store_batches_drop(&got);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(append_time_never_goes_back)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	ck_assert_int_eq(bed_append(&b, p, 0, 1), ERR_OK);
	struct store_position first;
	store_partition_position(p, &first);
	clock_wall_shift_ms(-3600000);
	ck_assert_int_eq(bed_append(&b, p, 1, 1), ERR_OK);
	struct store_position second;
	store_partition_position(p, &second);
	ck_assert_int_eq(second.last_enqueued_ms, first.last_enqueued_ms);
	clock_wall_shift_ms(7200000);
	ck_assert_int_eq(bed_append(&b, p, 2, 1), ERR_OK);
	store_partition_position(p, &second);
	ck_assert_int_ge(second.last_enqueued_ms, first.last_enqueued_ms + 3600000);
	clock_wall_shift_ms(-3600000);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(large_batches_share_entries_within_the_cap)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 2);
	struct store_partition *q = bed_find(&b, "h", 1);
	fake_volume_hold(b.volume);
	uint32_t answered = 0;
	enum { N = 12, EVENT = 1000 * 1000 };
	for (uint32_t i = 0; i < N; i++) {
		uint32_t n = i % 3 == 0 ? 2 : 1;
		ops_append_init(&ops[i], i % 2 == 0 ? p : q, &b.mb, i, n, EVENT, NULL);
		ops[i].answered = &answered;
		shard_core_append(b.core, &ops[i].op);
	}
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, N);
	struct fake_counts c;
	fake_volume_counts(b.volume, &c);
	ck_assert_uint_le(c.size_max, LIMIT_ENTRY);
	ck_assert_uint_gt(c.size_max, LIMIT_ENTRY_TARGET);
	for (uint32_t i = 0; i < N; i++) {
		ck_assert_int_eq(ops[i].op.err, ERR_OK);
	}
	store_partition_drop(&p);
	store_partition_drop(&q);
	bed_fini(&b);
}
END_TEST

START_TEST(what_the_head_belies_is_refused_alone)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	fake_volume_hold(b.volume);
	uint32_t answered = 0;
	enum { N = 8 };
	for (uint32_t i = 0; i < N; i++) {
		ops_append_init(&ops[i], p, &b.mb, i, 2, 20, NULL);
		ops[i].answered = &answered;
	}
	ops[1].op.events = 3;
	ops[2].op.batch_len--;
	ops[3].op.batch->data[16] = 1;
	ops[4].op.key_len = ops[4].op.batch->cap;
	ops[5].op.batch_len = LIMIT_BATCH + 1;
	ops[6].op.encoding = (enum batch_encoding)0;
	for (uint32_t i = 0; i < N; i++) {
		shard_core_append(b.core, &ops[i].op);
	}
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, N);
	for (uint32_t i = 0; i < N; i++) {
		enum err want = i == 0 || i == 7 ? ERR_OK : i == 5 ? ERR_TOO_LARGE : ERR_INVALID;
		ck_assert_int_eq(ops[i].op.err, want);
	}
	ck_assert_int_eq(ops[7].op.base_seq, 2);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

static uint64_t free_bytes;

static bool free_space(const char *dir, uint64_t *out)
{
	(void)dir;
	*out = __atomic_load_n(&free_bytes, __ATOMIC_SEQ_CST);
	return true;
}

START_TEST(reserve_refuses_appends_until_space_returns)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	store_partition_drop(&p);
	bed_close(&b);
	free_bytes = 99;
	b.options.disk_reserve_bytes = 100;
	b.options.free_space = free_space;
	bed_open(&b);
	p = bed_find(&b, "h", 0);
	ck_assert_int_eq(bed_append(&b, p, 0, 1), ERR_QUOTA);
	/* Deleting must stay possible. */
	struct catalog_command cmd = ops_create("other", 1);
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	__atomic_store_n(&free_bytes, 100 + (1 << 20), __ATOMIC_SEQ_CST);
	enum err e = ERR_QUOTA;
	int64_t end = clock_mono_ms() + 20000;
	while (e == ERR_QUOTA && clock_mono_ms() < end) {
		e = bed_append(&b, p, 0, 1);
	}
	ck_assert_int_eq(e, ERR_OK);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(a_fast_writer_does_not_outrun_the_look_at_the_disk)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	store_partition_drop(&p);
	bed_close(&b);
	free_bytes = 100 + 4096;
	b.options.disk_reserve_bytes = 100;
	b.options.free_space = free_space;
	bed_open(&b);
	p = bed_find(&b, "h", 0);
	int taken = 0;
	while (bed_append(&b, p, 0, 1) == ERR_OK && taken < 1000) {
		taken++;
	}
	ck_assert_int_gt(taken, 0);
	/* A batch is at least its head. */
	ck_assert_int_le(taken, 4096 / BATCH_HEAD);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(close_completes_what_waits_and_refuses_the_rest)
{
	struct bed b;
	bed_init(&b, 2);
	struct store_partition *p = bed_create(&b, "h", 2);
	struct store_partition *q = bed_find(&b, "h", 1);
	uint32_t answered = 0;
	setup_ops(&b, p, MANY, &answered);
	for (uint32_t i = 0; i < MANY - 1; i++) {
		ops[i].op.partition = i % 2 == 0 ? p : q;
		shard_core_append(b.core, &ops[i].op);
	}
	shard_core_close(b.core);
	struct volume *v = b.volume;
	volume_stop(&v);
	shard_core_append(b.core, &ops[MANY - 1].op);
	struct ops_read read = {.op = {.reply_to = &b.mb, .done = ops_read_done, .partition = p}};
	shard_core_read(b.core, &read.op);
	struct ops_watch w;
	ops_watch_init(&w, p, &b.mb, 1 << 20);
	shard_core_watch(&w.op);
	struct catalog_command cmd = ops_create("late", 1);
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_STOPPING);
	ops_until_count(&b.mb, &answered, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		ck_assert_int_eq(ops[i].op.err, i == MANY - 1 ? ERR_STOPPING : ERR_OK);
	}
	ops_until(&b.mb, &read.is_done);
	ck_assert_int_eq(read.op.err, ERR_STOPPING);
	ops_until(&b.mb, &w.is_done);
	ck_assert_int_eq(w.op.err, ERR_STOPPING);
	/* The cache still answers. */
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 0, UINT32_MAX, &got), ERR_OK);
	ck_assert_uint_gt(got.n, 0);
	store_batches_drop(&got);
	store_partition_drop(&p);
	shard_core_free(&b.core);
	/* A partition outlives the core. */
	store_partition_drop(&q);
	bed_fini(&b);
}
END_TEST

/* Runs on the core: its n-th allocation from now on fails. */
struct fault {
	struct msg msg;
	long n;
};

static void on_fault(struct msg *m)
{
	mem_fault_at(((struct fault *)m)->n);
}

START_TEST(short_memory_costs_only_the_operation_it_meets)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	enum { N = 200 };
	static struct fault faults[20];
	static struct ops_command commands[20];
	int64_t next = 0;
	for (long n = 1; n <= 12; n++) {
		fake_volume_hold(b.volume);
		faults[n] = (struct fault){.msg.run = on_fault, .n = n};
		mailbox_post(&b.core->mailbox, &faults[n].msg);
		char name[16];
		snprintf(name, sizeof name, "hub%ld", n % 100);
		commands[n] = (struct ops_command){.op = {.reply_to = &b.mb,
							  .done = ops_command_done,
							  .command = ops_create(name, 3)}};
		uint32_t answered = 0;
		for (uint32_t i = 0; i < N; i++) {
			ops_append_init(&ops[i], p, &b.mb, next + i, 1, 20, NULL);
			ops[i].answered = &answered;
			shard_core_append(b.core, &ops[i].op);
			if (i == (uint32_t)n % 3) {
				shard_core_command(b.core, &commands[n].op);
			}
		}
		fake_volume_release(b.volume);
		ops_until_count(&b.mb, &answered, N);
		ops_until(&b.mb, &commands[n].is_done);
		uint32_t failed = commands[n].op.err != ERR_OK;
		ck_assert(failed == 0 || commands[n].op.err == ERR_NOMEM);
		int64_t seq = bed_find(&b, "h", 0) == p ? next : -1;
		struct store_partition *same = p;
		store_partition_drop(&same);
		for (uint32_t i = 0; i < N; i++) {
			if (ops[i].op.err == ERR_OK) {
				ck_assert_int_eq(ops[i].op.base_seq, seq++);
			} else {
				ck_assert_int_eq(ops[i].op.err, ERR_NOMEM);
				failed++;
			}
		}
		ck_assert_uint_le(failed, 1);
		next = seq;
	}
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_eq(at.next_seq, next);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

Suite *propose_suite(void)
{
	Suite *s = suite_create("propose");
	TCase *t = tcase_create("propose");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, append_is_answered_with_its_place);
	tcase_add_test(t, what_waits_is_merged_into_one_entry);
	tcase_add_test(t, keys_are_kept_apart);
	tcase_add_test(t, kafka_batch_keeps_its_own_times);
	tcase_add_test(t, append_time_never_goes_back);
	tcase_add_test(t, large_batches_share_entries_within_the_cap);
	tcase_add_test(t, what_the_head_belies_is_refused_alone);
	tcase_add_test(t, reserve_refuses_appends_until_space_returns);
	tcase_add_test(t, a_fast_writer_does_not_outrun_the_look_at_the_disk);
	tcase_add_test(t, short_memory_costs_only_the_operation_it_meets);
	tcase_add_test(t, close_completes_what_waits_and_refuses_the_rest);
	suite_add_tcase(s, t);
	return s;
}
