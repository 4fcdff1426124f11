#include <check.h>
#include <stdlib.h>

#include "base/lock.h"
#include "test/unit/store/store_bed.h"

Suite *concurrent_suite(void);

enum { PRODUCERS = 3, PARTITIONS = 5, PER_PRODUCER = 4000, WINDOW = 200 };

/* An event's value is producer * 1e6 + its number, so that a reader sees each
 * producer's order. */
enum { PRODUCER_STEP = 1000000 };

struct shared {
	struct bed bed;
	struct store_partition *p[PARTITIONS];
};

struct producer {
	struct shared *s;
	int id;
	struct mailbox mb;
	struct ops_append a[WINDOW];
	int64_t last_seq[PARTITIONS];
	uint32_t answered;
};

static void check_answer(struct producer *me, struct ops_append *a, uint32_t k, uint32_t order)
{
	ck_assert_int_eq(a->op.err, ERR_OK);
	ck_assert_int_gt(a->op.base_seq, me->last_seq[k]);
	me->last_seq[k] = a->op.base_seq;
	(void)order;
}

static void *producer_main(void *arg)
{
	struct producer *me = arg;
	for (uint32_t k = 0; k < PARTITIONS; k++) {
		me->last_seq[k] = -1;
	}
	for (int i = 0; i < PER_PRODUCER + WINDOW; i++) {
		struct ops_append *a = &me->a[i % WINDOW];
		if (i >= WINDOW) {
			ops_until(&me->mb, &a->is_done);
			check_answer(me, a, (uint32_t)(i - WINDOW) % PARTITIONS, a->order);
		}
		if (i < PER_PRODUCER) {
			ops_append_init(a, me->s->p[i % PARTITIONS], &me->mb,
					(int64_t)me->id * PRODUCER_STEP + i, 1,
					i % 50 == 0 ? 9000 : 30, i % 10 < 3 ? "key" : NULL);
			store_append(me->s->bed.store, &a->op);
		}
	}
	return NULL;
}

struct reader {
	struct shared *s;
	uint32_t k;
	struct mailbox mb;
	int64_t want;
	int64_t last[PRODUCERS];
};

static void check_events(struct reader *me, const struct store_batches *b, int64_t *next)
{
	for (uint32_t i = 0; i < b->n; i++) {
		ck_assert_int_eq(b->v[i].base_seq, *next);
		ck_assert_int_eq(batch_check(b->v[i].batch), ERR_OK);
		struct batch_iter it;
		struct batch_record r;
		ck_assert_int_eq(batch_iter_init(&it, b->v[i].batch), ERR_OK);
		while (batch_iter_next(&it, &r) == ERR_OK) {
			int64_t value = atoll((const char *)r.value.p);
			int64_t *last = &me->last[value / PRODUCER_STEP];
			ck_assert_int_gt(value, *last);
			ck_assert_uint_eq((uint64_t)(value % PRODUCER_STEP) % PARTITIONS, me->k);
			ck_assert_int_eq(b->v[i].key.n != 0, value % PRODUCER_STEP % 10 < 3);
			*last = value;
		}
		*next = b->v[i].base_seq + b->v[i].count;
	}
}

/* Follows one partition: cache, disk, watch. */
static void *reader_main(void *arg)
{
	struct reader *me = arg;
	struct store_partition *p = me->s->p[me->k];
	int64_t next = 0;
	while (next < me->want) {
		struct store_batches got;
		enum err e = store_read_recent(p, next, 100000, &got);
		if (e == ERR_AGAIN) {
			struct ops_read r = {.op = {.reply_to = &me->mb,
						    .done = ops_read_done,
						    .partition = p,
						    .from = next,
						    .max_bytes = 100000}};
			store_read(me->s->bed.store, &r.op);
			ops_until(&me->mb, &r.is_done);
			ck_assert_int_eq(r.op.err, ERR_OK);
			check_events(me, &r.op.out, &next);
			store_batches_drop(&r.op.out);
			continue;
		}
		ck_assert_int_eq(e, ERR_OK);
		if (got.n == 0) {
			struct ops_watch w;
			ops_watch_init(&w, p, &me->mb, next);
			store_watch(me->s->bed.store, &w.op);
			ops_until(&me->mb, &w.is_done);
			ck_assert_int_eq(w.op.err, ERR_OK);
		}
		check_events(me, &got, &next);
		store_batches_drop(&got);
	}
	return NULL;
}

START_TEST(producers_and_readers_keep_every_order)
{
	static struct shared s;
	static struct producer producers[PRODUCERS];
	static struct reader readers[PARTITIONS];
	bed_init(&s.bed);
	s.bed.options.cache_bytes = 256 << 10;	/* small: some reads go to disk */
	bed_open(&s.bed);
	s.p[0] = bed_create(&s.bed, "h", PARTITIONS);
	for (uint32_t k = 1; k < PARTITIONS; k++) {
		s.p[k] = bed_find(&s.bed, "h", k);
	}
	pthread_t t[PRODUCERS + PARTITIONS];
	for (uint32_t k = 0; k < PARTITIONS; k++) {
		readers[k] = (struct reader){
			.s = &s, .k = k, .want = PRODUCERS * PER_PRODUCER / PARTITIONS};
		for (int i = 0; i < PRODUCERS; i++) {
			readers[k].last[i] = -1;
		}
		mailbox_init(&readers[k].mb, NULL, NULL);
		ck_assert_int_eq(
			thread_start(&t[k], ROLE_NET_LOOP, "reader", reader_main, &readers[k]), ERR_OK);
	}
	for (int i = 0; i < PRODUCERS; i++) {
		producers[i].s = &s;
		producers[i].id = i;
		mailbox_init(&producers[i].mb, NULL, NULL);
		ck_assert_int_eq(thread_start(&t[PARTITIONS + i], ROLE_NET_LOOP, "producer",
					      producer_main, &producers[i]),
				 ERR_OK);
	}
	for (int i = 0; i < PRODUCERS + PARTITIONS; i++) {
		thread_join(t[i]);
	}
	for (uint32_t k = 0; k < PARTITIONS; k++) {
		struct store_position at;
		store_partition_position(s.p[k], &at);
		ck_assert_int_eq(at.next_seq, PRODUCERS * PER_PRODUCER / PARTITIONS);
		store_partition_drop(&s.p[k]);
	}
	bed_fini(&s.bed);
}
END_TEST

struct churn {
	struct bed *bed;
	struct mailbox mb;
	atomic_bool stop;
};

/* Appends to whatever partition is there, while hubs come and go. */
static void *churn_main(void *arg)
{
	struct churn *me = arg;
	while (!atomic_load(&me->stop)) {
		struct store_partition *p = bed_find(me->bed, "churn", 0);
		if (p == NULL) {
			continue;
		}
		struct ops_append a;
		ops_append_init(&a, p, &me->mb, 0, 1, 30, NULL);
		store_append(me->bed->store, &a.op);
		struct ops_watch w;
		ops_watch_init(&w, p, &me->mb, 1 << 30);
		store_watch(me->bed->store, &w.op);
		ops_until(&me->mb, &a.is_done);
		ck_assert(a.op.err == ERR_OK || a.op.err == ERR_NOT_FOUND);
		if (!store_unwatch(&w.op)) {
			ops_until(&me->mb, &w.is_done);
			ck_assert_int_eq(w.op.err, ERR_NOT_FOUND);
		}
		store_partition_drop(&p);
	}
	return NULL;
}

START_TEST(hubs_come_and_go_under_appends)
{
	static struct bed b;
	static struct churn c[2];
	bed_init(&b);
	bed_open(&b);
	pthread_t t[2];
	for (int i = 0; i < 2; i++) {
		c[i].bed = &b;
		mailbox_init(&c[i].mb, NULL, NULL);
		ck_assert_int_eq(thread_start(&t[i], ROLE_NET_LOOP, "churn", churn_main, &c[i]), ERR_OK);
	}
	for (int i = 0; i < 30; i++) {
		struct store_partition *p = bed_create(&b, "churn", 3);
		store_partition_drop(&p);
		struct catalog_command cmd = ops_create("churn", 0);
		cmd.op = CATALOG_HUB_DELETE;
		ck_assert_int_eq(bed_command(&b, &cmd), ERR_OK);
	}
	for (int i = 0; i < 2; i++) {
		atomic_store(&c[i].stop, true);
		thread_join(t[i]);
	}
	bed_fini(&b);
}
END_TEST

Suite *concurrent_suite(void)
{
	Suite *s = suite_create("concurrent");
	TCase *t = tcase_create("concurrent");
	tcase_set_timeout(t, 240);
	tcase_add_test(t, producers_and_readers_keep_every_order);
	tcase_add_test(t, hubs_come_and_go_under_appends);
	suite_add_tcase(s, t);
	return s;
}
