/* Rows and idempotent producers over a real volume and state: stopped, killed,
 * with a state that is gone. */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/unit/store/store_bed.h"

Suite *producer_suite(void);

/* ---- operations ---------------------------------------------------------- */

struct rows_op {
	struct store_rows_write op;
	struct store_row row;
	bool is_done;
};

static void on_rows_done(struct msg *m)
{
	((struct rows_op *)m)->is_done = true;
}

/* A row of the shard that belongs to its name; content NULL: deleted. */
static void row_post(struct bed *b, struct rows_op *o, const char *name, const char *content)
{
	*o = (struct rows_op){.row = {.kind = STORE_ROW_OFFSET,
				      .is_deleted = content == NULL,
				      .key = span_str(name),
				      .content = span_str(content)}};
	o->op = (struct store_rows_write){.reply_to = &b->mb,
					  .done = on_rows_done,
					  .shard = store_shard_of(b->store, span_str(name)),
					  .rows = &o->row,
					  .n = 1,
					  .err = ERR_INTERNAL};
	store_rows_write(b->store, &o->op);
}

static void row_write(struct bed *b, const char *name, const char *content)
{
	struct rows_op o;
	row_post(b, &o, name, content);
	ops_until(&b->mb, &o.is_done);
	ck_assert_int_eq(o.op.err, ERR_OK);
}

struct scan_op {
	struct store_rows_scan op;
	struct store *store;
	bool is_done;
	uint32_t n;
	uint64_t values;	/* the contents' numbers, added up */
};

static void on_scan_done(struct msg *m)
{
	((struct scan_op *)m)->is_done = true;
}

static enum err on_row(void *arg, uint32_t shard, struct span key, struct span content)
{
	struct scan_op *o = arg;
	char text[32];
	ck_assert_int_eq(span_to_cstr(content, text, sizeof text), ERR_OK);
	ck_assert_uint_eq(shard, store_shard_of(o->store, key));
	o->n++;
	o->values += strtoull(text, NULL, 10);
	return ERR_OK;
}

static struct scan_op scan(struct bed *b)
{
	struct scan_op o = {.store = b->store};
	o.op = (struct store_rows_scan){.reply_to = &b->mb,
					.done = on_scan_done,
					.kind = STORE_ROW_OFFSET,
					.row = on_row,
					.arg = &o,
					.err = ERR_INTERNAL};
	store_rows_scan(b->store, &o.op);
	ops_until(&b->mb, &o.is_done);
	ck_assert_int_eq(o.op.err, ERR_OK);
	return o;
}

static void expect(struct bed *b, int64_t id, int32_t seq, bool is_repeated, int64_t base_seq)
{
	struct store_partition *p = bed_find(b, "h", 0);
	struct ops_append a;
	ops_append_init(&a, p, &b->mb, 0, 2, 20, NULL);
	ops_append_kafka(&a, id, 0, seq);
	store_append(b->store, &a.op);
	ops_until(&b->mb, &a.is_done);
	ck_assert_int_eq(a.op.err, ERR_OK);
	ck_assert_int_eq(a.op.is_repeated, is_repeated);
	ck_assert_int_eq(a.op.base_seq, base_seq);
	store_partition_drop(&p);
}

/* ---- stops --------------------------------------------------------------- */

START_TEST(restarts_keep_rows_and_producers)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 2);
	store_partition_drop(&p);
	enum { ROUNDS = 4, ROWS = 20 };
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < ROWS; i++) {
			char name[32];
			snprintf(name, sizeof name, "group-%d", i);
			row_write(&b, name, "7");
			snprintf(name, sizeof name, "gone-%d", i);
			row_write(&b, name, "9");
			row_write(&b, name, NULL);
		}
		/* One that goes on, one that only this round knows. */
		expect(&b, 1, round * 2, false, round * 4);
		expect(&b, 100 + round, 50, false, round * 4 + 2);
		bed_close(&b);
		if (round == 1) {
			unlink(bed_path(&b, "volume/state/data.mdb"));
		}
		bed_open(&b);
		struct scan_op found = scan(&b);
		ck_assert_uint_eq(found.n, ROWS);
		ck_assert_uint_eq(found.values, ROWS * 7);
		for (int i = 0; i <= round; i++) {
			expect(&b, 1, i * 2, true, i * 4);
			expect(&b, 100 + i, 50, true, i * 4 + 2);
		}
	}
	bed_fini(&b);
}
END_TEST

START_TEST(a_name_keeps_its_shard)
{
	struct bed b;
	bed_init(&b);
	uint32_t used = 0;
	uint32_t shards[100];
	for (int round = 0; round < 2; round++) {
		bed_open(&b);
		for (uint32_t i = 0; i < 100; i++) {
			char name[32];
			snprintf(name, sizeof name, "group-%u", i);
			uint32_t shard = store_shard_of(b.store, span_str(name));
			ck_assert_uint_lt(shard, 4);
			ck_assert(round == 0 || shard == shards[i]);
			shards[i] = shard;
			used |= 1U << shard;
		}
		bed_close(&b);
	}
	ck_assert_uint_eq(used, 0xf);
	bed_fini(&b);
}
END_TEST

/* ---- kill ---------------------------------------------------------------- */

/* A child sends batches of a few producers, several in flight, and counts rows
 * up. It tells of every answer through a pipe and is killed in the middle. The
 * next one begins, as a client would, with what was not answered. */

enum { PRODUCERS = 4, PARTITIONS = 2, COUNTERS = 3, BATCHES_MAX = 40000, LIVES = 6 };

struct told {
	uint32_t what;	/* producer, or PRODUCERS + counter */
	int32_t number;	/* of the batch, or the count */
	int32_t is_repeated;
	int64_t base_seq;
};

static int32_t answered[PRODUCERS];	/* batches told of */
static int64_t bases[PRODUCERS][BATCHES_MAX];
static int32_t counted[COUNTERS];
static int32_t repeated;

static uint32_t events_of(uint32_t producer)
{
	return 1 + producer % 3;
}

static void tell(int fd, struct told t)
{
	if (write(fd, &t, sizeof t) != (ssize_t)sizeof t) {
		_exit(2);
	}
}

static void send_batch(struct bed *b, struct ops_append *a, struct store_partition *p,
		       uint32_t producer, int32_t number)
{
	uint32_t n = events_of(producer);
	ops_append_init(a, p, &b->mb, number, n, number % 50 == 0 ? 20000 : 30, NULL);
	ops_append_kafka(a, producer, 0, number * (int32_t)n);
	store_append(b->store, &a->op);
}

static void child_main(struct bed *b, int fd)
{
	static struct ops_append a[PRODUCERS][STORE_PRODUCER_BATCHES];
	static struct rows_op rows[COUNTERS];
	static char texts[COUNTERS][2][16];
	struct store_partition *p[PARTITIONS];
	bed_open(b);
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		p[i] = bed_find(b, "h", i);
	}
	for (uint32_t i = 0; i < PRODUCERS; i++) {
		for (int32_t k = 0; k < STORE_PRODUCER_BATCHES; k++) {
			send_batch(b, &a[i][k], p[i % PARTITIONS], i, answered[i] + k);
		}
	}
	for (uint32_t i = 0; i < COUNTERS; i++) {
		snprintf(texts[i][0], sizeof texts[i][0], "counter-%u", i);
		snprintf(texts[i][1], sizeof texts[i][1], "%d", ++counted[i]);
		row_post(b, &rows[i], texts[i][0], texts[i][1]);
	}
	for (;;) {
		for (uint32_t i = 0; i < PRODUCERS; i++) {
			int32_t number = answered[i]++;
			int32_t last = number + STORE_PRODUCER_BATCHES;
			if (last >= BATCHES_MAX) {
				_exit(3);
			}
			/* The places go around; each life begins at the first. */
			static int32_t first[PRODUCERS];
			struct ops_append *x = &a[i][first[i]++ % STORE_PRODUCER_BATCHES];
			ops_until(&b->mb, &x->is_done);
			if (x->op.err != ERR_OK) {
				_exit(4);
			}
			tell(fd, (struct told){i, number, x->op.is_repeated, x->op.base_seq});
			send_batch(b, x, p[i % PARTITIONS], i, last);
		}
		for (uint32_t i = 0; i < COUNTERS; i++) {
			ops_until(&b->mb, &rows[i].is_done);
			if (rows[i].op.err != ERR_OK) {
				_exit(5);
			}
			tell(fd, (struct told){PRODUCERS + i, counted[i], 0, 0});
			snprintf(texts[i][1], sizeof texts[i][1], "%d", ++counted[i]);
			row_post(b, &rows[i], texts[i][0], texts[i][1]);
		}
	}
}

static void take_told(const struct told *t)
{
	if (t->what >= PRODUCERS) {
		counted[t->what - PRODUCERS] = t->number;
		return;
	}
	ck_assert_int_eq(t->number, answered[t->what]);
	repeated += t->is_repeated;
	bases[t->what][answered[t->what]++] = t->base_seq;
}

/* Lives for so long after the first answer. */
static void live_and_die(struct bed *b, int64_t life_ms)
{
	int fd[2];
	ck_assert_int_eq(pipe(fd), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		close(fd[0]);
		child_main(b, fd[1]);
	}
	close(fd[1]);
	struct told t;
	int64_t end = INT64_MAX;
	while (read(fd[0], &t, sizeof t) == (ssize_t)sizeof t) {
		take_told(&t);
		int64_t now = clock_mono_ms();
		end = end == INT64_MAX ? now + life_ms : end;
		if (now >= end) {
			kill(child, SIGKILL);
		}
	}
	close(fd[0]);
	int status;
	waitpid(child, &status, 0);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);
}

/* Every batch stands in the log once, in order, and where the answer said. */
static void check_log(struct bed *b)
{
	int32_t next[PRODUCERS] = {0};
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		struct store_partition *p = bed_find(b, "h", i);
		int64_t end = bed_next_seq(p);
		for (int64_t seq = 0; seq < end;) {
			struct ops_read r = {.op = {.reply_to = &b->mb,
						    .done = ops_read_done,
						    .partition = p,
						    .from = seq,
						    .max_bytes = 1 << 20}};
			store_read(b->store, &r.op);
			ops_until(&b->mb, &r.is_done);
			ck_assert_int_eq(r.op.err, ERR_OK);
			ck_assert_uint_gt(r.op.out.n, 0);
			for (uint32_t k = 0; k < r.op.out.n; k++) {
				struct batch_head h;
				ck_assert_int_eq(batch_head_read(r.op.out.v[k].batch, &h), ERR_OK);
				ck_assert_int_eq(h.base_offset, seq);
				uint32_t id = (uint32_t)h.producer_id;
				ck_assert_uint_lt(id, PRODUCERS);
				ck_assert_uint_eq(id % PARTITIONS, i);
				int32_t number = next[id]++;
				ck_assert_int_eq(h.base_sequence, number * (int32_t)events_of(id));
				if (number < answered[id]) {
					ck_assert_int_eq(bases[id][number], seq);
				}
				seq += h.count;
			}
			store_batches_drop(&r.op.out);
		}
		store_partition_drop(&p);
	}
	for (uint32_t i = 0; i < PRODUCERS; i++) {
		ck_assert_int_ge(next[i], answered[i]);
		ck_assert_int_le(next[i], answered[i] + STORE_PRODUCER_BATCHES);
	}
}

START_TEST(killed_stores_hold_each_batch_once)
{
	struct bed b;
	bed_init(&b);
	b.options.segment_max_bytes = 2 << 20;
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", PARTITIONS);
	store_partition_drop(&p);
	bed_close(&b);
	for (int life = 0; life < LIVES; life++) {
		/* One long enough for the state to be written. */
		live_and_die(&b, life == 2 ? 1400 : 30 + life * 40);
	}
	bed_open(&b);
	check_log(&b);
	/* Of what was durable and not answered, some at least was sent again. */
	ck_assert_int_gt(repeated, 0);
	uint64_t least = 0;
	for (uint32_t i = 0; i < COUNTERS; i++) {
		least += (uint64_t)counted[i];
	}
	struct scan_op found = scan(&b);
	ck_assert_uint_eq(found.n, COUNTERS);
	ck_assert_uint_ge(found.values, least);
	ck_assert_uint_le(found.values, least + COUNTERS);
	bed_fini(&b);
}
END_TEST

Suite *producer_suite(void)
{
	Suite *s = suite_create("producer");
	TCase *t = tcase_create("producer");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, restarts_keep_rows_and_producers);
	tcase_add_test(t, a_name_keeps_its_shard);
	tcase_add_test(t, killed_stores_hold_each_batch_once);
	suite_add_tcase(s, t);
	return s;
}
