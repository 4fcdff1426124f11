#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"
#include "store/volume/volume.h"
#include "test/lib/fake_state.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *trim_suite(void);

enum { BATCH = 5 };

static void append(struct bed *b, struct store_partition *p, int64_t from, int64_t to)
{
	for (int64_t i = from; i < to; i += BATCH) {
		ck_assert_int_eq(bed_append(b, p, i, BATCH), ERR_OK);
	}
}

static struct store_position position(struct store_partition *p)
{
	struct store_position at;
	store_partition_position(p, &at);
	return at;
}

/* What is counted of the partition is what the batches have. */
static void await_bytes(struct store_partition *p, uint64_t bytes)
{
	int64_t end_ns = clock_mono_ns() + (int64_t)60 * 1000000000;
	while (position(p).bytes != bytes) {
		ck_assert_msg(clock_mono_ns() < end_ns, "%llu bytes, not %llu",
			      (unsigned long long)position(p).bytes, (unsigned long long)bytes);
		usleep(1000);
	}
}

static int64_t read_all(struct bed *b, struct store_partition *p, int64_t from, int64_t *first)
{
	struct ops_read r = {.op = {.reply_to = &b->mb,
				    .done = ops_read_done,
				    .partition = p,
				    .from = from,
				    .max_bytes = UINT32_MAX}};
	shard_core_read(b->core, &r.op);
	ops_until(&b->mb, &r.is_done);
	ck_assert_int_eq(r.op.err, ERR_OK);
	*first = r.op.out.n > 0 ? r.op.out.v[0].base_seq : -1;
	int64_t next = r.op.out.n > 0 ? ops_check_batches(&r.op.out, *first, 0) : from;
	store_batches_drop(&r.op.out);
	return next;
}

static int64_t seek(struct bed *b, struct store_partition *p, enum store_seek_by by)
{
	struct ops_seek s = {.op = {.reply_to = &b->mb,
				    .done = ops_seek_done,
				    .partition = p,
				    .by = by,
				    .err = ERR_INTERNAL}};
	shard_core_seek(b->core, &s.op);
	ops_until(&b->mb, &s.is_done);
	ck_assert_int_eq(s.op.err, ERR_OK);
	return s.op.seq;
}

START_TEST(trimmed_events_are_gone_for_readers)
{
	struct bed b;
	bed_make(&b, 1, 1);
	b.options.retention_check_ms = 20;
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 1);
	append(&b, p, 0, 100);
	uint64_t bytes = position(p).bytes;
	ck_assert_int_eq(bed_trim(&b, p, 101), ERR_RANGE);
	ck_assert_int_eq(bed_trim(&b, p, 0), ERR_OK);
	ck_assert_int_eq(bed_trim(&b, p, -7), ERR_OK);
	ck_assert_int_eq(position(p).first_seq, 0);
	/* In the middle of a batch, which readers still get whole. */
	ck_assert_int_eq(bed_trim(&b, p, 52), ERR_OK);
	ck_assert_int_eq(position(p).first_seq, 52);
	ck_assert_int_eq(position(p).next_seq, 100);
	ck_assert_int_eq(fake_volume_told(b.volume, p->part).start, 52);
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 0, UINT32_MAX, &got), ERR_OK);
	ck_assert_uint_eq(got.n, 10);
	ck_assert_int_eq(got.v[0].base_seq, 50);
	store_batches_drop(&got);
	int64_t first;
	ck_assert_int_eq(read_all(&b, p, 3, &first), 100);
	ck_assert_int_eq(first, 50);
	ck_assert_int_eq(seek(&b, p, STORE_SEEK_APPEND_TIME), 52);
	await_bytes(p, bytes / 2);
	ck_assert_int_eq(bed_trim(&b, p, 51), ERR_OK);
	ck_assert_int_eq(position(p).first_seq, 52);
	/* All of it; numbers go on. */
	ck_assert_int_eq(bed_trim(&b, p, 100), ERR_OK);
	ck_assert_int_eq(position(p).first_seq, 100);
	ck_assert_uint_eq(position(p).bytes, 0);
	ck_assert_int_eq(position(p).max_timestamp_ms, INT64_MIN);
	ck_assert_int_eq(store_read_recent(p, 7, UINT32_MAX, &got), ERR_OK);
	ck_assert_uint_eq(got.n, 0);
	ck_assert_int_eq(read_all(&b, p, 7, &first), 7);
	ck_assert_int_eq(first, -1);
	ck_assert_int_eq(seek(&b, p, STORE_SEEK_MAX_TIMESTAMP), 100);
	append(&b, p, 100, 110);
	ck_assert_int_eq(read_all(&b, p, 7, &first), 110);
	ck_assert_int_eq(first, 100);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_START), 1);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

struct trim {
	struct store_trim op;
	uint32_t *answered;
};

static void on_trimmed(struct msg *m)
{
	struct trim *t = (struct trim *)m;
	ck_assert_int_eq(t->op.err, ERR_OK);
	++*t->answered;
}

START_TEST(start_only_grows_in_whatever_order)
{
	static const int64_t order[] = {40, 10, 60, 55, 60, 0};
	enum { N = sizeof order / sizeof order[0] };
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	append(&b, p, 0, 100);
	fake_volume_hold(b.volume);
	struct trim v[N];
	uint32_t answered = 0;
	for (uint32_t i = 0; i < N; i++) {
		v[i] = (struct trim){.op = {.reply_to = &b.mb,
					    .done = on_trimmed,
					    .partition = p,
					    .before_seq = order[i],
					    .err = ERR_INTERNAL},
				     .answered = &answered};
		shard_core_trim(b.core, &v[i].op);
	}
	bed_on_core(&b, NULL, NULL);
	ck_assert_int_eq(position(p).first_seq, 0);	/* not durable yet */
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, N);
	ck_assert_int_eq(position(p).first_seq, 60);
	store_partition_drop(&p);
	bed_close(&b);
	fake_volume_forget_told(b.volume);
	bed_open(&b);
	p = bed_find(&b, "h", 0);
	ck_assert_int_eq(position(p).first_seq, 60);
	ck_assert_int_eq(fake_volume_told(b.volume, p->part).start, 60);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

/* With the state file and without, and when the volume removed what is dead. */
START_TEST(start_is_there_again_after_a_restart)
{
	struct state *state = _i > 0 ? fake_state_new() : NULL;
	struct bed b;
	bed_make(&b, 2, 1);
	b.options.state = state;
	b.options.retention_check_ms = 20;
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 2);
	struct store_partition *q = bed_find(&b, "h", 1);
	append(&b, p, 0, 50);
	append(&b, q, 0, 50);
	uint64_t bytes = position(p).bytes;
	ck_assert_int_eq(bed_trim(&b, p, 20), ERR_OK);
	ck_assert_int_eq(bed_trim(&b, q, 50), ERR_OK);
	store_partition_drop(&p);
	store_partition_drop(&q);
	for (int round = 0; round < 2; round++) {
		bed_close(&b);
		fake_volume_clean(b.volume);
		fake_volume_forget_told(b.volume);
		bed_open(&b);
		p = bed_find(&b, "h", 0);
		q = bed_find(&b, "h", 1);
		ck_assert_int_eq(fake_volume_told(b.volume, p->part).start, 20);
		ck_assert_int_eq(fake_volume_told(b.volume, q->part).start, 50);
		ck_assert_int_eq(position(p).first_seq, 20);
		ck_assert_int_eq(position(p).next_seq, 50);
		ck_assert_int_eq(position(q).first_seq, 50);
		ck_assert_int_eq(position(q).next_seq, 50);
		await_bytes(p, bytes / 5 * 3);
		int64_t first;
		ck_assert_int_eq(read_all(&b, p, 0, &first), 50);
		ck_assert_int_eq(first, 20);
		store_partition_drop(&p);
		store_partition_drop(&q);
	}
	q = bed_find(&b, "h", 1);
	append(&b, q, 50, 60);
	ck_assert_int_eq(position(q).next_seq, 60);
	store_partition_drop(&q);
	bed_fini(&b);
	if (state != NULL) {
		fake_state_free(&state);
	}
}
END_TEST

START_TEST(deleted_hub_leaves_nothing)
{
	struct bed b;
	bed_make(&b, 2, 1);
	b.options.producer_expiry_ms = 400;	/* rows are swept every 50 ms */
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 2);
	struct store_partition *q = bed_find(&b, "h", 1);
	append(&b, p, 0, 10);
	append(&b, q, 0, 10);
	ck_assert_int_eq(bed_trim(&b, p, 5), ERR_OK);
	ck_assert_int_eq(bed_trim(&b, q, 10), ERR_OK);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_START), 2);
	struct catalog_command cmd = ops_create("h", 0);
	cmd.op = CATALOG_HUB_DELETE;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	ck_assert(fake_volume_told(b.volume, p->part).is_gone);
	ck_assert(fake_volume_told(b.volume, q->part).is_gone);
	ck_assert_int_eq(bed_trim(&b, p, 7), ERR_NOT_FOUND);
	struct store_part part = p->part;
	store_partition_drop(&p);
	store_partition_drop(&q);
	int64_t end_ns = clock_mono_ns() + (int64_t)60 * 1000000000;
	while (bed_rows(&b, STORE_ROW_START) > 0) {
		ck_assert(clock_mono_ns() < end_ns);
		usleep(10000);
	}
	bed_close(&b);
	fake_volume_forget_told(b.volume);
	bed_open(&b);
	ck_assert(fake_volume_told(b.volume, part).is_gone);
	bed_fini(&b);
}
END_TEST

/* The n-th allocation of the core fails; 0: tells whether one did. */
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

START_TEST(short_memory_refuses_the_trim)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	append(&b, p, 0, 20);
	long refused = 0;
	for (long n = 1;; n++) {
		long at = n;
		bed_on_core(&b, fault, &at);
		enum err e = bed_trim(&b, p, 10);
		at = 0;
		bed_on_core(&b, fault, &at);
		ck_assert_int_eq(e, at > 0 ? ERR_NOMEM : ERR_OK);
		ck_assert_int_eq(position(p).first_seq, e == ERR_OK ? 10 : 0);
		if (e == ERR_OK) {
			break;
		}
		refused++;
	}
	ck_assert_int_ge(refused, 4);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(rows_of_starts_are_the_stores_own)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_row row = {.kind = STORE_ROW_START,
				.key = span_str("12345678"),
				.content = span_str("12345678")};
	ck_assert_int_eq(bed_rows_write(&b, 0, &row, 1), ERR_INVALID);
	bed_close(&b);
	struct store_partition *p = NULL;
	bed_open(&b);
	p = bed_create(&b, "h", 1);
	append(&b, p, 0, 10);
	shard_core_close(b.core);
	ck_assert_int_eq(bed_trim(&b, p, 5), ERR_STOPPING);
	ck_assert_int_eq(position(p).first_seq, 0);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

static void clean_up(struct bed *b, const char *hub, enum catalog_cleanup cleanup)
{
	struct catalog_command cmd = ops_create(hub, 0);
	cmd.op = CATALOG_HUB_UPDATE;
	cmd.has_cleanup = true;
	cmd.cleanup = cleanup;
	ck_assert_int_eq(bed_command(b, &cmd), ERR_OK);
}

START_TEST(volume_knows_what_is_compacted)
{
	struct bed b;
	bed_init(&b, 2);
	struct catalog_command cmd = ops_create("c", 2);
	cmd.has_cleanup = true;
	cmd.cleanup = CATALOG_COMPACT_DELETE;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	struct store_part c1 = {.hub_id = 1, .partition = 1};
	struct store_part d0 = {.hub_id = 2, .partition = 0};
	ck_assert(fake_volume_told(b.volume, c1).is_compacted);
	struct store_partition *p = bed_create(&b, "d", 1);
	store_partition_drop(&p);
	ck_assert(!fake_volume_told(b.volume, d0).is_compacted);
	clean_up(&b, "d", CATALOG_COMPACT);
	ck_assert(fake_volume_told(b.volume, d0).is_compacted);
	bed_close(&b);
	fake_volume_forget_told(b.volume);
	bed_open(&b);
	ck_assert(fake_volume_told(b.volume, c1).is_compacted);
	ck_assert(fake_volume_told(b.volume, d0).is_compacted);
	clean_up(&b, "c", CATALOG_DELETE);
	ck_assert(!fake_volume_told(b.volume, c1).is_compacted);
	bed_fini(&b);
}
END_TEST

Suite *trim_suite(void)
{
	Suite *s = suite_create("trim");
	TCase *t = tcase_create("trim");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, trimmed_events_are_gone_for_readers);
	tcase_add_test(t, start_only_grows_in_whatever_order);
	tcase_add_loop_test(t, start_is_there_again_after_a_restart, 0, 2);
	tcase_add_test(t, deleted_hub_leaves_nothing);
	tcase_add_test(t, short_memory_refuses_the_trim);
	tcase_add_test(t, rows_of_starts_are_the_stores_own);
	tcase_add_test(t, volume_knows_what_is_compacted);
	suite_add_tcase(s, t);
	return s;
}
