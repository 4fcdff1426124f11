/* Readers: one thread for all of a kind.
 *
 *   cold    each walks partitions from their oldest event to where they ended when
 *           it began, by store_read, never from the cache
 *   slow    each has a place of its own and once a second reads there, and keeps what
 *           it got until the next time
 *   recent  reads the newest events from the cache, over and over */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "test/bench/bench_store.h"

enum {
	COLD_BYTES = 1 << 20,
	SLOW_BYTES = 64 << 10,
	SLOW_PERIOD_MS = 1000,
	RECENT_BYTES = 1 << 20,
	RECENT_BACK = 64,	/* batches back from the end, at first */
};

struct reader {
	struct store_read op;	/* first */
	struct bench_reads *all;
	long partition;		/* cold: the next one is this plus the number of readers */
	int64_t from;
	int64_t end;
	int64_t start_ns;
	int64_t due_ns;
	bool is_out;
	bool is_done;
	struct store_batches held;
};

struct bench_reads {
	struct store *store;
	struct store_partition **partitions;
	enum bench_reader kind;
	struct reader *readers;
	long n;
	struct mailbox mb;
	pthread_t thread;
	atomic_bool is_stopping;
	atomic_bool is_done;
	long outstanding;
	volatile uint64_t sum;
	struct bench_read_result result;
};

static int64_t thread_cpu_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void count(struct bench_reads *r, const struct store_batches *b)
{
	r->result.reads++;
	for (uint32_t i = 0; i < b->n; i++) {
		r->result.bytes += b->v[i].batch.n;
	}
}

static msg_fn on_read;

static void post(struct reader *rd, uint32_t max_bytes)
{
	struct bench_reads *r = rd->all;
	rd->op.reply_to = &r->mb;
	rd->op.done = on_read;
	rd->op.partition = r->partitions[rd->partition];
	rd->op.from = rd->from;
	rd->op.max_bytes = max_bytes;
	rd->start_ns = clock_mono_ns();
	rd->is_out = true;
	r->outstanding++;
	store_read(r->store, &rd->op);
}

/* ---- cold ------------------------------------------------------------------ */

static void cold_next(struct reader *rd)
{
	struct bench_reads *r = rd->all;
	while (rd->from >= rd->end && rd->partition < settings.partitions) {
		rd->partition += r->n;
		if (rd->partition < settings.partitions) {
			struct store_position pos;
			store_partition_position(r->partitions[rd->partition], &pos);
			rd->from = pos.first_seq;
			rd->end = pos.next_seq;
		}
	}
	rd->is_done = rd->partition >= settings.partitions;
	if (!rd->is_done && !atomic_load(&r->is_stopping)) {
		post(rd, COLD_BYTES);
	}
}

static void on_read(struct msg *m)
{
	struct reader *rd = (struct reader *)(void *)m;
	struct bench_reads *r = rd->all;
	rd->is_out = false;
	r->outstanding--;
	if (rd->op.err != ERR_OK) {
		bench_fail("read", err_text(rd->op.err));
	}
	hist_add(&r->result.latency, (uint64_t)(clock_mono_ns() - rd->start_ns));
	count(r, &rd->op.out);
	if (r->kind == BENCH_SLOW) {
		rd->held = rd->op.out;
		return;
	}
	if (rd->op.out.n == 0) {
		rd->from = rd->end;
	} else {
		const struct store_batch *last = &rd->op.out.v[rd->op.out.n - 1];
		rd->from = last->base_seq + last->count;
	}
	store_batches_drop(&rd->op.out);
	cold_next(rd);
}

static bool run_cold(struct bench_reads *r)
{
	if (r->outstanding > 0) {
		msg_run_all(mailbox_wait(&r->mb, INT64_MAX));
	}
	return r->outstanding > 0;
}

/* ---- slow ------------------------------------------------------------------ */

static void slow_due(struct reader *rd, int64_t now_ns)
{
	if (rd->is_out || rd->due_ns > now_ns) {
		return;
	}
	store_batches_drop(&rd->held);
	struct store_position pos;
	store_partition_position(rd->all->partitions[rd->partition], &pos);
	int64_t span = pos.next_seq - pos.first_seq;
	rd->due_ns += (int64_t)SLOW_PERIOD_MS * 1000000;
	if (span > 0) {
		if (rd->from == 0) {
			rd->from = pos.first_seq + (int64_t)((double)span * (double)random() /
							     ((double)RAND_MAX + 1));
		}
		post(rd, SLOW_BYTES);
		rd->from++;
	}
}

static bool run_slow(struct bench_reads *r)
{
	int64_t now_ns = clock_mono_ns();
	for (long i = 0; i < r->n && !atomic_load(&r->is_stopping); i++) {
		slow_due(&r->readers[i], now_ns);
	}
	msg_run_all(mailbox_wait(&r->mb, now_ns + 5000000));
	return !atomic_load(&r->is_stopping) || r->outstanding > 0;
}

/* ---- recent ---------------------------------------------------------------- */

/* What a client's connection does at least: it looks at every cache line. */
static void touch(struct bench_reads *r, const struct store_batches *b)
{
	enum { LINE = 64 };
	for (uint32_t k = 0; k < b->n; k++) {
		for (size_t at = 0; at < b->v[k].batch.n; at += LINE) {
			r->sum += b->v[k].batch.p[at];
		}
	}
}

static bool run_recent(struct bench_reads *r)
{
	for (long i = 0; i < r->n; i++) {
		struct reader *rd = &r->readers[i];
		struct store_partition *p = r->partitions[rd->partition];
		struct store_batches b;
		struct store_position pos;
		b.n = 0;
		enum err e = store_read_recent(p, rd->from, RECENT_BYTES, &b);
		if (e == ERR_OK && b.n > 0) {
			count(r, &b);
			rd->from = b.v[b.n - 1].base_seq + b.v[b.n - 1].count;
			touch(r, &b);
			store_batches_drop(&b);
			continue;
		}
		store_partition_position(p, &pos);
		rd->from = pos.next_seq - RECENT_BACK * settings.events;
		rd->from = rd->from < pos.first_seq ? pos.first_seq : rd->from;
	}
	return !atomic_load(&r->is_stopping);
}

/* ---- all ------------------------------------------------------------------- */

static void *thread_main(void *arg)
{
	struct bench_reads *r = arg;
	int64_t start_ns = clock_mono_ns();
	int64_t cpu_ns = thread_cpu_ns();
	for (long i = 0; i < r->n; i++) {
		struct reader *rd = &r->readers[i];
		rd->all = r;
		rd->partition = i % settings.partitions;
		rd->due_ns = start_ns + i * 1000000 * SLOW_PERIOD_MS / r->n;
		if (r->kind == BENCH_COLD) {
			rd->partition = i - r->n;
			cold_next(rd);
		}
	}
	bool goes_on = true;
	while (goes_on) {
		goes_on = r->kind == BENCH_COLD	  ? run_cold(r)
			  : r->kind == BENCH_SLOW ? run_slow(r)
						  : run_recent(r);
	}
	for (long i = 0; i < r->n; i++) {
		store_batches_drop(&r->readers[i].held);
		r->result.is_done = r->readers[i].is_done && (i == 0 || r->result.is_done);
	}
	r->result.seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
	r->result.cpu_seconds = (double)(thread_cpu_ns() - cpu_ns) / 1e9;
	atomic_store(&r->is_done, true);
	return NULL;
}

struct bench_reads *bench_reads_start(struct store *s, struct store_partition **partitions,
				      enum bench_reader kind, long n)
{
	if (n <= 0) {
		return NULL;
	}
	struct bench_reads *r = mem_calloc(1, sizeof *r);
	r->store = s;
	r->partitions = partitions;
	r->kind = kind;
	r->n = n;
	r->readers = mem_calloc((size_t)n, sizeof *r->readers);
	mailbox_init(&r->mb, NULL, NULL);
	if (thread_start(&r->thread, ROLE_NET_LOOP, "reader", thread_main, r) != ERR_OK) {
		bench_fail("thread", "cannot start");
	}
	return r;
}

bool bench_reads_are_done(struct bench_reads *r)
{
	return r == NULL || atomic_load(&r->is_done);
}

void bench_reads_join(struct bench_reads *r, struct bench_read_result *out)
{
	*out = (struct bench_read_result){0};
	if (r != NULL) {
		atomic_store(&r->is_stopping, true);
		thread_join(r->thread);
		*out = r->result;
	}
}

void bench_reads_free(struct bench_reads **rp)
{
	struct bench_reads *r = *rp;
	*rp = NULL;
	if (r != NULL) {
		mailbox_fini(&r->mb);
		mem_free(r->readers);
		mem_free(r);
	}
}
