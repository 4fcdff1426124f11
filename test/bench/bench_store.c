/* How fast the store takes appends: producer threads with a window of
 * outstanding operations each.
 *
 *   bench_store [--dir D] [--size BYTES] [--events N] [--threads N] [--window N]
 *               [--partitions N] [--shards N] [--seconds S]
 *
 * --size is that of one event's value, --events how many make one batch. Prints
 * one line: operations, events and bytes per second, latency from store_append
 * to its answer, CPU. Without --dir a directory under TMPDIR, removed at the
 * end. */

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/hist.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/store.h"

struct settings {
	const char *dir;
	long size;
	long events;
	long threads;
	long window;
	long partitions;
	long shards;
	long seconds;
};

static struct settings settings = {
	.size = 100,
	.events = 1,
	.threads = 2,
	.window = 2000,
	.partitions = 32,
	.shards = 16,
	.seconds = 5,
};

struct append {
	struct store_append op;	/* first */
	struct producer *producer;
	int64_t start_ns;
};

struct producer {
	struct store *store;
	struct store_partition **partitions;
	struct buf *sample;
	uint32_t sample_len;
	struct mailbox mb;
	struct append *appends;
	uint64_t turn;
	uint64_t answered;
	uint64_t outstanding;
	int64_t end_ns;
	int64_t now_ns;
};

static struct hist latency;

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "bench_store: %s: %s\n", what, why);
	exit(1);
}

static msg_fn on_done;

static void send_one(struct append *a)
{
	struct producer *p = a->producer;
	struct buf *b = buf_new(p->sample_len);
	if (b == NULL) {
		fail("append", "no memory");
	}
	memcpy(b->data, p->sample->data, p->sample_len);
	b->len = p->sample_len;
	a->op = (struct store_append){
		.reply_to = &p->mb,
		.done = on_done,
		.partition = p->partitions[p->turn++ % (uint64_t)settings.partitions],
		.encoding = BATCH_AMQP,
		.batch = b,
		.batch_len = p->sample_len,
		.events = (uint32_t)settings.events,
		.may_merge = true,
	};
	a->start_ns = p->now_ns;
	p->outstanding++;
	store_append(p->store, &a->op);
}

static void on_done(struct msg *m)
{
	struct append *a = (struct append *)m;
	struct producer *p = a->producer;
	if (a->op.err != ERR_OK) {
		fail("append", err_text(a->op.err));
	}
	p->outstanding--;
	p->answered++;
	hist_add(&latency, (uint64_t)(p->now_ns - a->start_ns));
	if (p->now_ns < p->end_ns) {
		send_one(a);
	}
}

static void *producer_main(void *arg)
{
	struct producer *p = arg;
	p->now_ns = clock_mono_ns();
	for (long i = 0; i < settings.window; i++) {
		p->appends[i].producer = p;
		send_one(&p->appends[i]);
	}
	while (p->outstanding > 0) {
		struct msg *m = mailbox_wait(&p->mb, INT64_MAX);
		p->now_ns = clock_mono_ns();
		msg_run_all(m);
	}
	return NULL;
}

/* ---- set-up -------------------------------------------------------------- */

static void make_sample(struct producer *p)
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
	if (batch_builder_finish(&b, &p->sample) != ERR_OK) {
		fail("batch", "too large");
	}
	p->sample_len = p->sample->len;
	batch_builder_fini(&b);
	mem_free(value);
}

struct made {
	struct store_command op;	/* first */
	bool is_done;
};

static void on_made(struct msg *m)
{
	((struct made *)m)->is_done = true;
}

/* Creates the hub when it is missing and finds its partitions. */
static struct store_partition **open_hub(struct store *s)
{
	static struct mailbox mb;
	static struct made made;
	mailbox_init(&mb, NULL, NULL);
	made.op = (struct store_command){
		.reply_to = &mb,
		.done = on_made,
		.command = {.op = CATALOG_HUB_CREATE,
			    .hub = "bench",
			    .partitions = (uint32_t)settings.partitions},
	};
	store_command(s, &made.op);
	while (!made.is_done) {
		msg_run_all(mailbox_wait(&mb, INT64_MAX));
	}
	if (made.op.err != ERR_OK && made.op.err != ERR_EXISTS) {
		fail("hub", made.op.detail.text);
	}
	struct store_partition **v = mem_calloc((size_t)settings.partitions, sizeof *v);
	const struct catalog *c = store_catalog(s);
	const struct catalog_hub *h = catalog_hub_find(c, span_str("bench"));
	for (long i = 0; i < settings.partitions; i++) {
		v[i] = store_partition_find(s, (struct store_part){h->id, (uint32_t)i});
		if (v[i] == NULL) {
			fail("hub", "has fewer partitions");
		}
	}
	catalog_drop(&c);
	return v;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void parse(int argc, char **argv)
{
	const struct {
		const char *name;
		long *value;
	} numbers[] = {
		{"--size", &settings.size},	    {"--events", &settings.events},
		{"--threads", &settings.threads},   {"--window", &settings.window},
		{"--partitions", &settings.partitions}, {"--shards", &settings.shards},
		{"--seconds", &settings.seconds},
	};
	for (int i = 1; i + 1 < argc; i += 2) {
		bool known = strcmp(argv[i], "--dir") == 0;
		if (known) {
			settings.dir = argv[i + 1];
		}
		for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
			if (strcmp(argv[i], numbers[k].name) == 0) {
				*numbers[k].value = strtol(argv[i + 1], NULL, 10);
				known = *numbers[k].value > 0;
			}
		}
		if (!known) {
			fail("unknown or bad argument", argv[i]);
		}
	}
}

static void print_result(uint64_t answered, uint32_t batch_len, int64_t wall_ns, int64_t cpu_ns)
{
	double s = (double)wall_ns / 1e9;
	double ops = (double)answered / s;
	printf("ops/s=%.0f events/s=%.0f MB/s=%.1f p50_us=%.0f p99_us=%.0f cpu=%.2f "
	       "commits/s=%.0f entries/s=%.0f batches/s=%.0f\n",
	       ops, ops * (double)settings.events, ops * batch_len / 1e6,
	       (double)hist_quantile(&latency, 0.5) / 1e3,
	       (double)hist_quantile(&latency, 0.99) / 1e3, (double)cpu_ns / (double)wall_ns,
	       (double)metric_get(METRIC_STORE_COMMITS) / s,
	       (double)metric_get(METRIC_STORE_ENTRIES) / s,
	       (double)metric_get(METRIC_STORE_BATCHES) / s);
}

static void run(struct store *store)
{
	struct store_partition **partitions = open_hub(store);
	struct producer *p = mem_calloc((size_t)settings.threads, sizeof *p);
	pthread_t *t = mem_calloc((size_t)settings.threads, sizeof *t);
	int64_t start_ns = clock_mono_ns();
	int64_t cpu_ns = clock_cpu_ns();
	for (long i = 0; i < settings.threads; i++) {
		p[i].store = store;
		p[i].partitions = partitions;
		p[i].turn = (uint64_t)(i * settings.partitions / settings.threads);
		p[i].appends = mem_calloc((size_t)settings.window, sizeof *p[i].appends);
		p[i].end_ns = start_ns + (int64_t)settings.seconds * 1000000000;
		make_sample(&p[i]);
		mailbox_init(&p[i].mb, NULL, NULL);
		if (thread_start(&t[i], ROLE_NET_LOOP, "producer", producer_main, &p[i]) != ERR_OK) {
			fail("thread", "cannot start");
		}
	}
	uint64_t answered = 0;
	for (long i = 0; i < settings.threads; i++) {
		thread_join(t[i]);
		answered += p[i].answered;
	}
	print_result(answered, p[0].sample_len, clock_mono_ns() - start_ns, clock_cpu_ns() - cpu_ns);
	store_close(store);
	for (long i = 0; i < settings.threads; i++) {
		buf_drop(&p[i].sample);
		mem_free(p[i].appends);
		mailbox_fini(&p[i].mb);
	}
	for (long i = 0; i < settings.partitions; i++) {
		store_partition_drop(&partitions[i]);
	}
	mem_free(partitions);
	mem_free(p);
	mem_free(t);
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	log_setup(LOG_WARN, false);
	char made[64] = "";
	if (settings.dir == NULL) {
		const char *tmp = getenv("TMPDIR");
		snprintf(made, sizeof made, "%.40s/bench-XXXXXX", tmp != NULL ? tmp : "/tmp");
		settings.dir = mkdtemp(made);
		if (settings.dir == NULL) {
			fail(made, "cannot make the directory");
		}
	}
	struct store_options o = {
		.dir = settings.dir, .shards = (uint32_t)settings.shards, .node_id = 1};
	struct store *store = NULL;
	struct err_detail d = {""};
	if (store_open(&o, &store, &d) != ERR_OK) {
		fail("open", d.text);
	}
	run(store);
	store_free(&store);
	if (made[0] != '\0') {
		nftw(made, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	}
	return 0;
}
