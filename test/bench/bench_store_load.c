/* Producers: each thread runs its share of them over one mailbox. */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "test/bench/bench_store.h"

struct producer;
struct append {
	struct store_append op;	/* first */
	struct producer *producer;
	struct append *next_free;
	int64_t start_ns;
};

struct producer_thread {
	struct bench_load *load;
	struct mailbox mb;
	struct producer *producers;
	long n;
	struct append *free;	/* paced: slots that wait for their time */
	int64_t due_ns;
	int64_t step_ns;	/* 0: not paced */
	uint64_t answered;
	uint64_t outstanding;
	struct hist latency;
	int64_t now_ns;
	pthread_t thread;
};

struct producer {
	struct producer_thread *thread;
	uint64_t turn;
	struct append *appends;
};

struct bench_load {
	struct store *store;
	struct store_partition **partitions;
	struct producer_thread *threads;
	long n_threads;
	struct buf *sample;
	atomic_bool is_stopping;
	atomic_long n_running;
	atomic_ullong sent;
	uint64_t most;		/* batches, of settings.fill */
	int64_t end_ns;
	struct hist latency;
};

static msg_fn on_done;

static void send_one(struct append *a, int64_t start_ns)
{
	struct producer *p = a->producer;
	struct bench_load *l = p->thread->load;
	uint32_t len = l->sample->len;
	struct buf *b = buf_new(len);
	if (b == NULL) {
		bench_fail("append", "no memory");
	}
	memcpy(b->data, l->sample->data, len);
	b->len = len;
	a->op = (struct store_append){
		.reply_to = &p->thread->mb,
		.done = on_done,
		.partition = l->partitions[p->turn++ % (uint64_t)settings.partitions],
		.encoding = BATCH_AMQP,
		.batch = b,
		.batch_len = len,
		.events = (uint32_t)settings.events,
		.may_merge = settings.events == 1,
	};
	a->start_ns = start_ns;
	p->thread->outstanding++;
	atomic_fetch_add_explicit(&l->sent, 1, memory_order_relaxed);
	store_append(l->store, &a->op);
}

static bool is_over(const struct producer_thread *t)
{
	struct bench_load *l = t->load;
	return atomic_load_explicit(&l->is_stopping, memory_order_relaxed) ||
	       t->now_ns >= l->end_ns ||
	       (l->most != 0 && atomic_load_explicit(&l->sent, memory_order_relaxed) >= l->most);
}

static void on_done(struct msg *m)
{
	struct append *a = (struct append *)m;
	struct producer_thread *t = a->producer->thread;
	t->outstanding--;
	if (a->op.err != ERR_OK) {
		bench_fail("append", err_text(a->op.err));
	}
	t->answered++;
	hist_add(&t->latency, (uint64_t)(t->now_ns - a->start_ns));
	if (t->step_ns != 0) {
		a->next_free = t->free;
		t->free = a;
	} else if (!is_over(t)) {
		send_one(a, t->now_ns);
	}
}

/* Latency of a paced batch counts from when it was due. */
static void send_due(struct producer_thread *t)
{
	while (t->free != NULL && t->due_ns <= t->now_ns && !is_over(t)) {
		struct append *a = t->free;
		t->free = a->next_free;
		send_one(a, t->due_ns);
		t->due_ns += t->step_ns;
	}
}

static void *thread_main(void *arg)
{
	struct producer_thread *t = arg;
	t->now_ns = clock_mono_ns();
	t->due_ns = t->now_ns;
	for (long i = 0; i < t->n * settings.window; i++) {
		struct append *a = &t->producers[i / settings.window]
					    .appends[i % settings.window];
		if (t->step_ns != 0) {
			a->next_free = t->free;
			t->free = a;
		} else {
			send_one(a, t->now_ns);
		}
	}
	while (t->outstanding > 0 || (t->step_ns != 0 && !is_over(t))) {
		send_due(t);
		int64_t wait = t->step_ns != 0 && t->free != NULL ? t->due_ns : INT64_MAX;
		if (t->step_ns != 0 && is_over(t)) {
			wait = INT64_MAX;
		}
		struct msg *m = t->outstanding > 0 || wait != INT64_MAX
					? mailbox_wait(&t->mb, wait)
					: NULL;
		t->now_ns = clock_mono_ns();
		msg_run_all(m);
	}
	atomic_fetch_sub(&t->load->n_running, 1);
	return NULL;
}

static void make_sample(struct bench_load *l)
{
	uint8_t *value = mem_alloc((size_t)settings.size);
	for (long i = 0; i < settings.size; i++) {
		value[i] = (uint8_t)random();
	}
	struct batch_builder b;
	batch_builder_init(&b, (size_t)((settings.size + BATCH_RECORD_MAX) * settings.events),
			   LIMIT_BATCH);
	struct span part = span_of(value, (size_t)settings.size);
	for (long i = 0; i < settings.events; i++) {
		batch_builder_add(&b, &part, 1);
	}
	if (batch_builder_finish(&b, &l->sample) != ERR_OK) {
		bench_fail("batch", "too large");
	}
	batch_builder_fini(&b);
	mem_free(value);
}

struct bench_load *bench_load_start(struct store *s, struct store_partition **partitions)
{
	struct bench_load *l = mem_calloc(1, sizeof *l);
	l->store = s;
	l->partitions = partitions;
	make_sample(l);
	l->n_threads = settings.threads < settings.producers ? settings.threads
							     : settings.producers;
	l->threads = mem_calloc((size_t)l->n_threads, sizeof *l->threads);
	l->end_ns = clock_mono_ns() + (int64_t)settings.seconds * 1000000000;
	if (settings.fill > 0) {
		l->most = ((uint64_t)settings.fill << 20) / l->sample->len + 1;
		l->end_ns = INT64_MAX;
	}
	atomic_store(&l->n_running, l->n_threads);
	long given = 0;
	for (long i = 0; i < l->n_threads; i++) {
		struct producer_thread *t = &l->threads[i];
		t->load = l;
		t->n = (settings.producers - given) / (l->n_threads - i);
		t->producers = mem_calloc((size_t)t->n, sizeof *t->producers);
		if (settings.rate > 0) {
			t->step_ns = (int64_t)((double)l->sample->len * 1e9 * (double)l->n_threads /
					       ((double)settings.rate * 1024));
		}
		for (long k = 0; k < t->n; k++) {
			struct producer *p = &t->producers[k];
			p->thread = t;
			p->turn = (uint64_t)((given + k) * settings.partitions / settings.producers);
			p->appends = mem_calloc((size_t)settings.window, sizeof *p->appends);
			for (long w = 0; w < settings.window; w++) {
				p->appends[w].producer = p;
			}
		}
		given += t->n;
		mailbox_init(&t->mb, NULL, NULL);
		if (thread_start(&t->thread, ROLE_NET_LOOP, "producer", thread_main, t) != ERR_OK) {
			bench_fail("thread", "cannot start");
		}
	}
	return l;
}

bool bench_load_is_done(struct bench_load *l)
{
	return atomic_load(&l->n_running) == 0;
}

void bench_load_stop(struct bench_load *l)
{
	atomic_store(&l->is_stopping, true);
}

uint64_t bench_load_join(struct bench_load *l)
{
	uint64_t answered = 0;
	for (long i = 0; i < l->n_threads; i++) {
		thread_join(l->threads[i].thread);
		answered += l->threads[i].answered;
		hist_merge(&l->latency, &l->threads[i].latency);
	}
	return answered;
}

uint32_t bench_load_batch_bytes(const struct bench_load *l)
{
	return l->sample->len;
}

struct hist *bench_load_latency(struct bench_load *l)
{
	return &l->latency;
}

void bench_load_free(struct bench_load **lp)
{
	struct bench_load *l = *lp;
	*lp = NULL;
	if (l == NULL) {
		return;
	}
	for (long i = 0; i < l->n_threads; i++) {
		for (long k = 0; k < l->threads[i].n; k++) {
			mem_free(l->threads[i].producers[k].appends);
		}
		mem_free(l->threads[i].producers);
		mailbox_fini(&l->threads[i].mb);
	}
	mem_free(l->threads);
	buf_drop(&l->sample);
	mem_free(l);
}
