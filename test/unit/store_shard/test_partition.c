#include <check.h>

#include "base/lock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/shard/shard_priv.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *partition_suite(void);

START_TEST(recent_read_knows_its_bounds)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 0, 100, &got), ERR_OK);
	ck_assert_uint_eq(got.n, 0);
	ck_assert_int_eq(store_read_recent(p, 1, 100, &got), ERR_RANGE);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(bed_append(&b, p, i * 3, 3), ERR_OK);
	}
	ck_assert_int_eq(store_read_recent(p, 300, 100, &got), ERR_OK);
	ck_assert_uint_eq(got.n, 0);
	ck_assert_int_eq(store_read_recent(p, 301, 100, &got), ERR_RANGE);
	/* At least one batch, and from the one that holds the place asked for. */
	ck_assert_int_eq(store_read_recent(p, 151, 1, &got), ERR_OK);
	ck_assert_uint_eq(got.n, 1);
	ck_assert_int_eq(got.v[0].base_seq, 150);
	uint32_t one = (uint32_t)got.v[0].batch.n;
	store_batches_drop(&got);
	ck_assert_int_eq(store_read_recent(p, 150, one * 3, &got), ERR_OK);
	ck_assert_uint_eq(got.n, 3);
	store_batches_drop(&got);
	ck_assert_int_eq(store_read_recent(p, 0, UINT32_MAX, &got), ERR_OK);
	ck_assert_uint_eq(got.n, STORE_READ_BATCHES);
	ck_assert_int_eq(ops_check_batches(&got, 0, 0), STORE_READ_BATCHES * 3);
	store_batches_drop(&got);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(cache_evicts_the_oldest_of_all_partitions)
{
	struct bed b;
	bed_init(&b, 1);
	bed_close(&b);
	b.options.cache_bytes = 64 << 10;
	bed_open(&b);
	int64_t before = metric_get(METRIC_STORE_CACHE_BYTES);
	struct store_partition *p = bed_create(&b, "h", 2);
	struct store_partition *q = bed_find(&b, "h", 1);
	for (int i = 0; i < 400; i++) {
		struct ops_append a;
		ops_append_init(&a, i % 4 == 0 ? q : p, &b.mb, i, 1, 1000, NULL);
		shard_core_append(b.core, &a.op);
		ops_until(&b.mb, &a.is_done);
		ck_assert_int_le(metric_get(METRIC_STORE_CACHE_BYTES) - before, 64 << 10);
	}
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 0, 100, &got), ERR_AGAIN);
	ck_assert_int_eq(store_read_recent(q, 0, 100, &got), ERR_AGAIN);
	ck_assert_int_eq(store_read_recent(p, 290, 100, &got), ERR_OK);
	store_batches_drop(&got);
	ck_assert_int_eq(store_read_recent(q, 95, 100, &got), ERR_OK);
	store_batches_drop(&got);
	/* A batch larger than the cache is read from disk. */
	struct ops_append a;
	ops_append_init(&a, q, &b.mb, 0, 1, 100000, NULL);
	shard_core_append(b.core, &a.op);
	ops_until(&b.mb, &a.is_done);
	ck_assert_int_eq(store_read_recent(q, 100, 100, &got), ERR_AGAIN);
	struct ops_read r = {.op = {.reply_to = &b.mb,
				    .done = ops_read_done,
				    .partition = q,
				    .from = 100,
				    .max_bytes = 100}};
	shard_core_read(b.core, &r.op);
	ops_until(&b.mb, &r.is_done);
	ck_assert_int_eq(r.op.err, ERR_OK);
	ck_assert_uint_eq(r.op.out.n, 1);
	store_batches_drop(&r.op.out);
	store_partition_drop(&p);
	store_partition_drop(&q);
	bed_fini(&b);
	ck_assert_int_eq(metric_get(METRIC_STORE_CACHE_BYTES), before);
}
END_TEST

/* Below its cap the cache never evicts, so what deleted hubs leave in its queue
 * must go by itself. */
START_TEST(deleted_hubs_leave_nothing_in_the_cache)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "stays", 1);
	ck_assert_int_eq(bed_append(&b, p, 0, 1), ERR_OK);
	for (int round = 0; round < 20; round++) {
		struct store_partition *q = bed_create(&b, "goes", 2);
		for (int i = 0; i < 10; i++) {
			ck_assert_int_eq(bed_append(&b, q, i, 1), ERR_OK);
		}
		struct catalog_command cmd = {.op = CATALOG_HUB_DELETE, .hub = "goes"};
		ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
		bed_settle(&b);
		ck_assert_uint_le(b.core->cache.n, 2);
		ck_assert_uint_eq(q->n_fifo, 0);
		store_partition_drop(&q);
	}
	ck_assert_int_eq(bed_append(&b, p, 1, 1), ERR_OK);
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, 0, 100000, &got), ERR_OK);
	ck_assert_int_eq(ops_check_batches(&got, 0, 0), 2);
	store_batches_drop(&got);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(ring_shrinks_while_it_is_in_use)
{
	struct bed b;
	bed_init(&b, 1);
	bed_close(&b);
	b.options.cache_bytes = 128 << 10;
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 2);
	struct store_partition *q = bed_find(&b, "h", 1);
	int64_t n = 0;
	while (n < 600) {
		ck_assert_int_eq(bed_append(&b, p, n, 1), ERR_OK);
		n++;
	}
	bed_settle(&b);
	ck_assert_uint_ge(p->ring_cap, 256);
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(bed_append(&b, q, i, 1), ERR_OK);
		if (i % 50 == 0) {
			ck_assert_int_eq(bed_append(&b, p, n, 1), ERR_OK);
			n++;
		}
	}
	bed_settle(&b);
	ck_assert_uint_gt(p->ring_n, 0);
	ck_assert_uint_le(p->ring_cap, 32);
	struct store_batches got;
	ck_assert_int_eq(store_read_recent(p, n - p->ring_n, UINT32_MAX, &got), ERR_OK);
	ck_assert_int_eq(ops_check_batches(&got, n - p->ring_n, 0), n);
	store_batches_drop(&got);
	store_partition_drop(&p);
	store_partition_drop(&q);
	bed_fini(&b);
}
END_TEST

START_TEST(watch_runs_once_when_due)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	struct ops_watch w[3];
	for (int i = 0; i < 3; i++) {
		ops_watch_init(&w[i], p, &b.mb, i);
		shard_core_watch(&w[i].op);
	}
	ck_assert(store_unwatch(&w[1].op));
	ck_assert_int_eq(bed_append(&b, p, 0, 2), ERR_OK);
	bed_settle(&b);
	ck_assert_uint_eq(w[0].runs, 1);
	ck_assert_int_eq(w[0].op.err, ERR_OK);
	ck_assert_uint_eq(w[1].runs, 0);
	ck_assert_uint_eq(w[2].runs, 0);
	ck_assert(!store_unwatch(&w[0].op));
	/* What holds already is answered at once. */
	ops_watch_init(&w[1], p, &b.mb, 1);
	shard_core_watch(&w[1].op);
	ck_assert(!store_unwatch(&w[1].op));
	ops_until(&b.mb, &w[1].is_done);
	/* What still waits comes back when the hub goes. */
	struct catalog_command cmd = ops_create("h", 1);
	cmd.op = CATALOG_HUB_DELETE;
	ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	ops_until(&b.mb, &w[2].is_done);
	ck_assert_int_eq(w[2].op.err, ERR_NOT_FOUND);
	ops_watch_init(&w[0], p, &b.mb, 1000);
	shard_core_watch(&w[0].op);
	ops_until(&b.mb, &w[0].is_done);
	ck_assert_int_eq(w[0].op.err, ERR_NOT_FOUND);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(watches_come_back_at_close)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	struct ops_watch w;
	ops_watch_init(&w, p, &b.mb, 0);
	shard_core_watch(&w.op);
	bed_close(&b);
	ops_until(&b.mb, &w.is_done);
	ck_assert_int_eq(w.op.err, ERR_STOPPING);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

struct watcher {
	struct bed *bed;
	struct store_partition *p;
	struct mailbox mb;
	int64_t last;
	uint32_t cancelled;
};

/* Follows the partition by watches, cancelling some on the way. */
static void *watcher_main(void *arg)
{
	struct watcher *me = arg;
	struct store_position at = {0};
	unsigned turn = 0;
	while (at.next_seq < me->last) {
		struct ops_watch w;
		ops_watch_init(&w, me->p, &me->mb, at.next_seq);
		shard_core_watch(&w.op);
		if (turn++ % 3 == 0 && store_unwatch(&w.op)) {
			me->cancelled++;
			ck_assert_uint_eq(w.runs, 0);
		} else {
			ops_until(&me->mb, &w.is_done);
			ck_assert_int_eq(w.op.err, ERR_OK);
			ck_assert_uint_eq(w.runs, 1);
		}
		int64_t seen = at.next_seq;
		store_partition_position(me->p, &at);
		ck_assert_int_ge(at.next_seq, seen);
		struct store_batches got;
		ck_assert_int_eq(store_read_recent(me->p, seen, UINT32_MAX, &got), ERR_OK);
		ck_assert_int_ge(ops_check_batches(&got, seen, 0), got.n > 0 ? seen + 1 : seen);
		store_batches_drop(&got);
	}
	return NULL;
}

START_TEST(watches_and_appends_race)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	enum { EVENTS = 3000, WATCHERS = 3 };
	struct watcher w[WATCHERS];
	pthread_t t[WATCHERS];
	for (int i = 0; i < WATCHERS; i++) {
		w[i] = (struct watcher){.bed = &b, .p = p, .last = EVENTS};
		mailbox_init(&w[i].mb, NULL, NULL);
		ck_assert_int_eq(thread_start(&t[i], ROLE_NET_LOOP, "watcher", watcher_main, &w[i]),
				 ERR_OK);
	}
	for (int i = 0; i < EVENTS; i++) {
		ck_assert_int_eq(bed_append(&b, p, i, 1), ERR_OK);
	}
	for (int i = 0; i < WATCHERS; i++) {
		thread_join(t[i]);
		mailbox_fini(&w[i].mb);
	}
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(read_and_seek_wrap_the_volumes)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	struct ops_seek s = {.op = {.reply_to = &b.mb, .done = ops_seek_done, .partition = p}};
	shard_core_seek(b.core, &s.op);
	ops_until(&b.mb, &s.is_done);
	ck_assert_int_eq(s.op.err, ERR_OK);
	ck_assert_int_eq(s.op.seq, 0);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(bed_append(&b, p, i, 1), ERR_OK);
	}
	struct ops_read r = {.op = {.reply_to = &b.mb,
				    .done = ops_read_done,
				    .partition = p,
				    .from = -5,
				    .max_bytes = UINT32_MAX}};
	shard_core_read(b.core, &r.op);
	ops_until(&b.mb, &r.is_done);
	ck_assert_int_eq(r.op.err, ERR_OK);
	ck_assert_int_eq(ops_check_batches(&r.op.out, 0, 0), 10);
	store_batches_drop(&r.op.out);
	r.is_done = false;
	r.op.from = 10;
	shard_core_read(b.core, &r.op);
	ops_until(&b.mb, &r.is_done);
	ck_assert_int_eq(r.op.err, ERR_OK);
	ck_assert_uint_eq(r.op.out.n, 0);
	s.is_done = false;
	s.op.after_ms = INT64_MAX;
	shard_core_seek(b.core, &s.op);
	ops_until(&b.mb, &s.is_done);
	ck_assert_int_eq(s.op.seq, 10);
	/* Memory that is short fails the one operation. */
	mem_fault_at(1);
	r.is_done = false;
	r.op.from = 0;
	shard_core_read(b.core, &r.op);
	mem_fault_at(1);
	s.is_done = false;
	shard_core_seek(b.core, &s.op);
	mem_fault_at(0);
	ops_until(&b.mb, &r.is_done);
	ops_until(&b.mb, &s.is_done);
	ck_assert_int_eq(r.op.err, ERR_NOMEM);
	ck_assert_int_eq(s.op.err, ERR_NOMEM);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

Suite *partition_suite(void)
{
	Suite *s = suite_create("partition");
	TCase *t = tcase_create("partition");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, recent_read_knows_its_bounds);
	tcase_add_test(t, cache_evicts_the_oldest_of_all_partitions);
	tcase_add_test(t, deleted_hubs_leave_nothing_in_the_cache);
	tcase_add_test(t, ring_shrinks_while_it_is_in_use);
	tcase_add_test(t, watch_runs_once_when_due);
	tcase_add_test(t, watches_come_back_at_close);
	tcase_add_test(t, watches_and_appends_race);
	tcase_add_test(t, read_and_seek_wrap_the_volumes);
	suite_add_tcase(s, t);
	return s;
}
