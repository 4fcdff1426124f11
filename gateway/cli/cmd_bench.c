/* sluice bench: settings, workers, report. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/cli/bench_priv.h"
#include "gateway/wire/records.h"

enum { DURATION_MS = 10000, DURATION_MOST_MS = 7 * 24 * 3600 * 1000, CONNECT_MS = 120000 };
#define RATE_MOST UINT64_C(1000000000)
#define BENCH_MB 1048576.0

/* ---- what workers call ------------------------------------------------------------- */

void bench_fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		p[i] = (uint8_t)('a' + i % 26);
	}
}

void bench_done(struct bench_worker *w, int64_t at_ns, int64_t now_ns, uint64_t events,
		uint64_t bytes)
{
	uint64_t ns = now_ns > at_ns ? (uint64_t)(now_ns - at_ns) : 0;
	hist_add(&w->latency, ns);
	w->max_ns = ns > w->max_ns ? ns : w->max_ns;
	if (now_ns <= w->bench->end_ns) {
		w->acked += events;
		w->bytes += bytes;
	} else {
		w->late += events;
	}
}

void bench_acked(struct bench_worker *w, int64_t at_ns, int64_t now_ns)
{
	const struct bench *b = w->bench;
	bench_done(w, at_ns, now_ns, b->batch, b->batch * b->size);
}

void bench_error(struct bench_worker *w, uint64_t events, const char *text)
{
	w->errors += events;
	if (w->why.text[0] == '\0') {
		(void)snprintf(w->why.text, sizeof w->why.text, "%s", text);
	}
}

void bench_throttled(struct bench_worker *w, int64_t wait_ms)
{
	int64_t at_ns = clock_mono_ns() + wait_ms * 1000000;
	w->throttled++;
	w->told_ms += (uint64_t)wait_ms;
	w->again_ns = at_ns > w->again_ns ? at_ns : w->again_ns;
}

int64_t bench_told_ns(const struct bench_worker *w, int64_t now_ns)
{
	int64_t end_ns = w->again_ns < w->bench->end_ns ? w->again_ns : w->bench->end_ns;
	return end_ns > now_ns ? end_ns - now_ns : 0;
}

void bench_nap(int64_t ns)
{
	struct timespec nap = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	if (ns > 0) {
		(void)nanosleep(&nap, NULL);
	}
}

bool bench_wait_start(struct bench_worker *w)
{
	struct bench *b = w->bench;
	lock_take(&b->lock);
	b->ready++;
	cond_broadcast(&b->changed);
	while (!b->go) {
		cond_wait(&b->changed, &b->lock);
	}
	bool starts = b->start_ns != 0;
	lock_give(&b->lock);
	return starts;
}

int64_t bench_planned_ns(const struct bench_worker *w, uint64_t n)
{
	const struct bench *b = w->bench;
	if (b->rate == 0) {
		return 0;
	}
	/* Sends of all workers are evenly spaced: worker i has number n * workers + i. */
	double number = (double)(n * b->connections + w->index);
	return b->start_ns + (int64_t)(number * (double)b->batch * 1e9 / (double)b->rate);
}

/* ---- names ------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	thread_fn *run;
} protocols[] = {
	[BENCH_AMQP] = {"amqp", bench_amqp_run},
	[BENCH_HTTPS] = {"https", bench_https_run},
	[BENCH_KAFKA] = {"kafka", bench_kafka_run},
};
static const char *const modes[] = {
	[BENCH_BATCH] = "batch", [BENCH_SINGLE] = "single", [BENCH_READ] = "read"};
static const char *const codecs[] = {
	[RECORDS_NONE] = "none", [RECORDS_GZIP] = "gzip", [RECORDS_SNAPPY] = "snappy",
	[RECORDS_LZ4] = "lz4",	 [RECORDS_ZSTD] = "zstd",
};

/* ---- the run -------------------------------------------------------------------------- */

static void start_all(struct bench *b, struct bench_worker *workers)
{
	uint64_t started = 0;
	for (uint64_t i = 0; i < b->connections; i++) {
		struct bench_worker *w = &workers[i];
		w->bench = b;
		w->index = i;
		w->started = thread_start(&w->thread, ROLE_MAIN, "bench",
					  protocols[b->protocol].run, w) == ERR_OK;
		started += w->started;
		if (!w->started) {
			w->failed = true;
			bench_error(w, 0, "a thread could not be started");
		}
	}
	int64_t until = clock_mono_ns() + CONNECT_MS * INT64_C(1000000);
	lock_take(&b->lock);
	while (b->ready < started && cond_wait_until(&b->changed, &b->lock, until)) {
	}
	/* Workers that are ready have written `failed` before they took the lock. */
	bool any_failed = b->ready < started;
	for (uint64_t i = 0; i < b->connections && !any_failed; i++) {
		any_failed = workers[i].failed;
	}
	if (!any_failed) {
		b->start_ns = clock_mono_ns();
		b->end_ns = b->start_ns + (int64_t)b->duration_ms * 1000000;
	}
	b->go = true;
	cond_broadcast(&b->changed);
	lock_give(&b->lock);
}

struct totals {
	struct hist latency;
	uint64_t max_ns;
	uint64_t acked;
	uint64_t late;
	uint64_t bytes;
	uint64_t errors;
	uint64_t throttled;
	uint64_t told_ms;
	const char *why;
	bool failed;
	double seconds;
	double cpu_seconds;
};

static void add_up(const struct bench *b, const struct bench_worker *workers, struct totals *t)
{
	for (uint64_t i = 0; i < b->connections; i++) {
		const struct bench_worker *w = &workers[i];
		hist_merge(&t->latency, &w->latency);
		t->max_ns = w->max_ns > t->max_ns ? w->max_ns : t->max_ns;
		t->acked += w->acked;
		t->late += w->late;
		t->bytes += w->bytes;
		t->errors += w->errors;
		t->throttled += w->throttled;
		t->told_ms += w->told_ms;
		t->failed = t->failed || w->failed;
		if (t->why == NULL && w->why.text[0] != '\0') {
			t->why = w->why.text;
		}
	}
	t->seconds = (double)b->duration_ms / 1000.0;
}

/* ---- the report -------------------------------------------------------------------------- */

static double ms_at(const struct totals *t, double q)
{
	uint64_t ns = hist_quantile(&t->latency, q);
	return (double)(ns < t->max_ns ? ns : t->max_ns) / 1e6;
}

static void print_json(const struct bench *b, const struct totals *t)
{
	double per_s = (double)t->acked / t->seconds;
	(void)printf("{\"protocol\":\"%s\",\"mode\":\"%s\",\"size\":%" PRIu64 ",\"batch\":%" PRIu64
		     ",\"connections\":%" PRIu64 ",\"inFlight\":%" PRIu64 ",\"rate\":%" PRIu64
		     ",\"seconds\":%.3f,",
		     protocols[b->protocol].name, modes[b->mode], b->size, b->batch, b->connections,
		     b->in_flight, b->rate, t->seconds);
	if (b->protocol == BENCH_KAFKA && b->mode != BENCH_READ) {
		(void)printf("\"compression\":\"%s\",\"idempotent\":%s,", codecs[b->codec],
			     b->idempotent ? "true" : "false");
	}
	(void)printf("\"events\":%" PRIu64 ",\"eventsLate\":%" PRIu64
		     ",\"eventsPerSecond\":%.1f,\"mbPerSecond\":%.3f,",
		     t->acked, t->late, per_s, (double)t->bytes / t->seconds / BENCH_MB);
	(void)printf("\"latencyMs\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f},",
		     ms_at(t, 0.5), ms_at(t, 0.9), ms_at(t, 0.99), ms_at(t, 0.999),
		     (double)t->max_ns / 1e6);
	(void)printf("\"throttled\":%" PRIu64 ",\"throttledSeconds\":%.3f,", t->throttled,
		     (double)t->told_ms / 1000.0);
	(void)printf("\"errors\":%" PRIu64 ",\"clientCpuSeconds\":%.3f,\"clientCpuPercent\":%.1f}\n",
		     t->errors, t->cpu_seconds, 100.0 * t->cpu_seconds / t->seconds);
}

static void print_text(const struct bench *b, const struct totals *t)
{
	double per_s = (double)t->acked / t->seconds;
	const char *verb = b->mode == BENCH_READ ? "read" : "acknowledged";
	(void)printf("%s %s, ", protocols[b->protocol].name, modes[b->mode]);
	if (b->mode != BENCH_READ) {
		(void)printf("%" PRIu64 " bytes, %" PRIu64 " event%s a send, ", b->size, b->batch,
			     b->batch == 1 ? "" : "s");
	}
	(void)printf("%" PRIu64 " connection%s, %.1f s\n", b->connections,
		     b->connections == 1 ? "" : "s", t->seconds);
	(void)printf("throughput  %.0f events/s  %.2f MB/s\n", per_s,
		     (double)t->bytes / t->seconds / BENCH_MB);
	(void)printf("latency     p50 %.2f ms  p99 %.2f ms  p99.9 %.2f ms  max %.2f ms%s\n",
		     ms_at(t, 0.5), ms_at(t, 0.99), ms_at(t, 0.999), (double)t->max_ns / 1e6,
		     b->rate > 0 ? "  (from the planned time)" : "");
	(void)printf("events      %" PRIu64 " %s, %" PRIu64 " of them after the end, %" PRIu64
		     " failed\n",
		     t->acked + t->late, verb, t->late, t->errors);
	if (t->throttled > 0) {
		(void)printf("throttled   %" PRIu64 " times, told to wait %.1f s in all\n", t->throttled,
			     (double)t->told_ms / 1000.0);
	}
	(void)printf("client CPU  %.2f s (%.0f %% of a core)\n", t->cpu_seconds,
		     100.0 * t->cpu_seconds / t->seconds);
}

static enum err write_histogram(const char *path, const struct totals *t, struct err_detail *d)
{
	static const double shares[] = {0,    0.1,   0.2,   0.3,   0.4,    0.5,	   0.6,	     0.7,
					0.75, 0.8,   0.85,  0.9,   0.925,  0.95,   0.975,    0.99,
					0.995, 0.999, 0.9995, 0.9999, 0.99995, 0.99999, 0.999999, 1};
	uint64_t count = hist_count(&t->latency);
	FILE *f = fopen(path, "we");
	if (f == NULL) {
		return err_set(d, ERR_IO, "%s: %s", path, strerror(errno));
	}
	(void)fprintf(f, "%14s %12s %12s %14s\n", "Value", "Percentile", "TotalCount",
		      "1/(1-Percentile)");
	for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
		double value = shares[i] < 1 ? ms_at(t, shares[i]) : (double)t->max_ns / 1e6;
		(void)fprintf(f, "%14.4f %12.7f %12" PRIu64, value, shares[i],
			      (uint64_t)(shares[i] * (double)count));
		if (shares[i] < 1) {
			(void)fprintf(f, " %14.2f", 1 / (1 - shares[i]));
		}
		(void)fputc('\n', f);
	}
	bool bad = ferror(f) != 0;
	if (fclose(f) != 0 || bad) {
		return err_set(d, ERR_IO, "%s: %s", path, strerror(errno));
	}
	return ERR_OK;
}

/* ---- the command -------------------------------------------------------------------------- */

static int index_of(const char *word, const char *const *names, int n)
{
	for (int i = 0; i < n; i++) {
		if (strcmp(word, names[i]) == 0) {
			return i;
		}
	}
	return 0;
}

static enum err read_words(struct bench *b, struct err_detail *d)
{
	const char *protocol;
	const char *mode;
	const char *codec;
	enum err e = cli_choice(b->a, CLI_PROTOCOL, "amqp", &protocol, d);
	if (e == ERR_OK) {
		e = cli_choice(b->a, CLI_MODE, "batch", &mode, d);
	}
	if (e == ERR_OK) {
		e = cli_choice(b->a, CLI_COMPRESSION, "none", &codec, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
		if (strcmp(protocol, protocols[i].name) == 0) {
			b->protocol = (enum bench_protocol)i;
		}
	}
	b->mode = (enum bench_mode)index_of(mode, modes, sizeof modes / sizeof *modes);
	b->codec = index_of(codec, codecs, sizeof codecs / sizeof *codecs);
	b->idempotent = cli_has(b->a, CLI_IDEMPOTENT);
	return ERR_OK;
}

/* Options that mean nothing together. */
static enum err check_words(const struct bench *b, struct err_detail *d)
{
	static const struct {
		enum cli_option at;
		const char *name;
	} produce_only[] = {
		{CLI_BATCH, "batch"},
		{CLI_SIZE, "size"},
		{CLI_RATE, "rate"},
		{CLI_IN_FLIGHT, "in-flight"},
		{CLI_COMPRESSION, "compression"},
		{CLI_IDEMPOTENT, "idempotent"},
	}, kafka_only[] = {
		{CLI_KAFKA, "kafka"},
		{CLI_PLAINTEXT, "plaintext"},
		{CLI_COMPRESSION, "compression"},
		{CLI_IDEMPOTENT, "idempotent"},
	};
	if (b->mode == BENCH_SINGLE && cli_has(b->a, CLI_BATCH)) {
		return err_set(d, ERR_INVALID, "--batch and --mode single exclude each other");
	}
	if (b->mode == BENCH_READ && b->protocol != BENCH_KAFKA) {
		return err_set(d, ERR_INVALID, "--mode read needs --protocol kafka");
	}
	for (size_t i = 0; i < sizeof produce_only / sizeof *produce_only; i++) {
		if (b->mode == BENCH_READ && cli_has(b->a, produce_only[i].at)) {
			return err_set(d, ERR_INVALID, "--%s and --mode read exclude each other",
				       produce_only[i].name);
		}
	}
	for (size_t i = 0; i < sizeof kafka_only / sizeof *kafka_only; i++) {
		if (b->protocol != BENCH_KAFKA && cli_has(b->a, kafka_only[i].at)) {
			return err_set(d, ERR_INVALID, "--%s needs --protocol kafka",
				       kafka_only[i].name);
		}
	}
	if (cli_has(b->a, CLI_PLAINTEXT) && !cli_has(b->a, CLI_KAFKA)) {
		return err_set(d, ERR_INVALID, "--plaintext needs --kafka HOST:PORT");
	}
	return ERR_OK;
}

static enum err read_numbers(struct bench *b, struct err_detail *d)
{
	const struct cli_args *a = b->a;
	bool single = b->mode == BENCH_SINGLE;
	enum err e = cli_number(a, CLI_SIZE, CLI_SIZE_KIND, 0, LIMIT_MESSAGE, 1024, &b->size, d);
	if (e == ERR_OK) {
		e = cli_number(a, CLI_CONNECTIONS, CLI_COUNT_KIND, 1, BENCH_CONNECTIONS_MAX, 1,
			       &b->connections, d);
	}
	if (e == ERR_OK) {
		e = cli_number(a, CLI_BATCH, CLI_COUNT_KIND, 1, 100000, single ? 1 : 100, &b->batch, d);
	}
	if (e == ERR_OK) {
		e = cli_number(a, CLI_IN_FLIGHT, CLI_COUNT_KIND, 1, BENCH_IN_FLIGHT_MAX,
			       single ? 256 : 16, &b->in_flight, d);
	}
	if (e == ERR_OK) {
		e = cli_number(a, CLI_DURATION, CLI_MS_KIND, 100, DURATION_MOST_MS, DURATION_MS,
			       &b->duration_ms, d);
	}
	if (e == ERR_OK) {
		e = cli_number(a, CLI_RATE, CLI_COUNT_KIND, 1, RATE_MOST, 0, &b->rate, d);
	}
	return e;
}

static enum err read_settings(struct bench *b, struct err_detail *d)
{
	enum err e = read_words(b, d);
	if (e == ERR_OK) {
		e = check_words(b, d);
	}
	if (e == ERR_OK) {
		e = read_numbers(b, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (b->protocol == BENCH_HTTPS || b->mode == BENCH_READ) {
		b->in_flight = 1;
	}
	if (b->mode == BENCH_READ) {
		b->size = 0;
		b->batch = 0;
	}
	uint64_t most = b->protocol == BENCH_KAFKA ? BENCH_KAFKA_BATCH_MAX : LIMIT_MESSAGE;
	if (b->batch * (b->size + 8) > most) {
		e = err_set(d, ERR_INVALID,
			    "%" PRIu64 " events of %" PRIu64 " bytes do not fit one send (%" PRIu64
			    " bytes)",
			    b->batch, b->size, most);
	}
	return e;
}

static int finish(struct bench *b, struct bench_worker *workers, struct totals *t)
{
	struct err_detail d = {{0}};
	add_up(b, workers, t);
	if (b->start_ns == 0) {
		return cli_failed(b->a, "%s", t->why != NULL ? t->why : "connecting took too long");
	}
	if (cli_has(b->a, CLI_JSON)) {
		print_json(b, t);
	} else {
		print_text(b, t);
	}
	if (cli_has(b->a, CLI_HISTOGRAM) &&
	    write_histogram(b->a->v[CLI_HISTOGRAM], t, &d) != ERR_OK) {
		return cli_failed(b->a, "%s", d.text);
	}
	if (t->why != NULL) {
		(void)fprintf(stderr, "sluice bench: first error: %s\n", t->why);
	}
	return t->failed || t->acked + t->late == 0 ? CLI_FAILED : CLI_DONE;
}

static int run_workers(struct bench *b)
{
	struct bench_worker *workers = mem_calloc(b->connections, sizeof *workers);
	struct totals *t = MEM_NEW(struct totals);
	int status = CLI_FAILED;
	if (workers == NULL || t == NULL) {
		(void)cli_failed(b->a, "out of memory");
	} else {
		lock_init(&b->lock);
		cond_init(&b->changed);
		start_all(b, workers);
		int64_t cpu_ns = clock_cpu_ns();
		for (uint64_t i = 0; i < b->connections; i++) {
			if (workers[i].started) {
				thread_join(workers[i].thread);
			}
		}
		t->cpu_seconds = (double)(clock_cpu_ns() - cpu_ns) / 1e9;
		status = finish(b, workers, t);
		cond_fini(&b->changed);
		lock_fini(&b->lock);
	}
	mem_free(workers);
	mem_free(t);
	return status;
}

static int run(const struct cli_args *a)
{
	struct bench b = {.a = a};
	struct err_detail d = {{0}};
	if (read_settings(&b, &d) != ERR_OK) {
		return cli_wrong(a, "%s", d.text);
	}
	enum err e = cli_has(a, CLI_PLAINTEXT) ? cli_target_plaintext(a, &b.target, &d)
					       : cli_target_find(a, NULL, &b.target, &d);
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	const char *hub = a->v[CLI_HUB];
	if (hub == NULL && b.target.cs.hub[0] == '\0') {
		hub = "bench";
	}
	e = cli_target_hub(&b.target, hub, &b.hub, &d);
	int status = e == ERR_OK ? run_workers(&b) : cli_failed_err(a, e, &d);
	cli_target_fini(&b.target);
	return status;
}

const struct cli_command cli_bench = {
	.name = "bench",
	.operands = "",
	.summary = "Generate load and measure acknowledged sends",
	.more = "The hub (--hub, else the connection string's, else \"bench\") must exist. Latency is from\n"
		"sending to the acknowledgement of a send; 1 MB is 1,048,576 bytes of event bodies. An\n"
		"HTTPS connection has one request under way. A Kafka send is one batch to one partition,\n"
		"the partitions in turn, acknowledged by all replicas; a reader fetches one partition from\n"
		"its start to its end and again, and its MB are those of the batches as they came. A\n"
		"send that a busy or throttling server refuses for a time is not an error: the connection\n"
		"waits as told and goes on. Sends that it only holds back show as latency.",
	.options = CLI_CONNECT | CLI_BIT(HUB) | CLI_BIT(PROTOCOL) | CLI_BIT(MODE) | CLI_BIT(SIZE) |
		   CLI_BIT(CONNECTIONS) | CLI_BIT(BATCH) | CLI_BIT(IN_FLIGHT) | CLI_BIT(DURATION) |
		   CLI_BIT(RATE) | CLI_BIT(HISTOGRAM) | CLI_BIT(JSON) | CLI_BIT(KAFKA) |
		   CLI_BIT(PLAINTEXT) | CLI_BIT(COMPRESSION) | CLI_BIT(IDEMPOTENT),
	.run = run,
};
