/* How fast the store appends and reads, without a network.
 *
 *   bench_store [--NAME VALUE]...
 *
 *   --dir D           its data directory, kept; else one under TMPDIR, removed
 *   --size BYTES      of one event's value (1024); --events N of one batch (1)
 *   --producers N     (16), each with --window N batches that wait for their answer (5),
 *                     run by --threads N (2); --rate KIB per second in all (0: as fast
 *                     as it goes), latency then from when a batch was due
 *   --partitions N    (16) of one hub; --shards N (16); --segment MIB, and then exports
 *                     and the cleaner as much more often as segments are smaller
 *   --seconds S       (5); --fill MIB: until so much is written, instead
 *   --cold N --slow N --recent N   readers beside the producers: bench_store_read.c
 *   --retention KIB   each partition keeps so much
 *   --old 1           produces nothing: reads what is there
 *
 * Prints one line of JSON. 1 MB = 1,048,576 bytes of batches. */

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "test/bench/bench_store.h"

enum { SCALED_EXPORT_MS = 1000, SCALED_CLEAN_MS = 300 };

struct settings settings = {
	.size = 1024,
	.events = 1,
	.threads = 2,
	.producers = 16,
	.window = 5,
	.partitions = 16,
	.shards = 16,
	.seconds = 5,
};

void bench_fail(const char *what, const char *why)
{
	fprintf(stderr, "bench_store: %s: %s\n", what, why);
	exit(1);
}

/* ---- set-up -------------------------------------------------------------- */

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
			    .partitions = (uint32_t)settings.partitions,
			    .has_retention_bytes = settings.retention > 0,
			    .retention_bytes = (uint64_t)settings.retention << 10},
	};
	store_command(s, &made.op);
	while (!made.is_done) {
		msg_run_all(mailbox_wait(&mb, INT64_MAX));
	}
	mailbox_fini(&mb);
	if (made.op.err != ERR_OK && made.op.err != ERR_EXISTS) {
		bench_fail("hub", made.op.detail.text);
	}
	struct store_partition **v = mem_calloc((size_t)settings.partitions, sizeof *v);
	const struct catalog *c = store_catalog(s);
	const struct catalog_hub *h = catalog_hub_find(c, span_str("bench"));
	for (long i = 0; i < settings.partitions; i++) {
		v[i] = store_partition_find(s, (struct store_part){h->id, (uint32_t)i});
		if (v[i] == NULL) {
			bench_fail("hub", "has fewer partitions");
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
		{"--size", &settings.size},	      {"--events", &settings.events},
		{"--threads", &settings.threads},     {"--producers", &settings.producers},
		{"--window", &settings.window},	      {"--partitions", &settings.partitions},
		{"--shards", &settings.shards},	      {"--seconds", &settings.seconds},
		{"--rate", &settings.rate},	      {"--fill", &settings.fill},
		{"--cold", &settings.cold},	      {"--slow", &settings.slow},
		{"--recent", &settings.recent},	      {"--retention", &settings.retention},
		{"--segment", &settings.segment},     {"--old", &settings.old},
	};
	for (int i = 1; i < argc; i += 2) {
		bool known = i + 1 < argc && strcmp(argv[i], "--dir") == 0;
		if (known) {
			settings.dir = argv[i + 1];
		}
		for (size_t k = 0; i + 1 < argc && k < sizeof numbers / sizeof *numbers; k++) {
			if (strcmp(argv[i], numbers[k].name) == 0) {
				*numbers[k].value = strtol(argv[i + 1], NULL, 10);
				known = *numbers[k].value >= 0;
			}
		}
		if (!known) {
			bench_fail("unknown or bad argument", argv[i]);
		}
	}
}

/* ---- what the process did -------------------------------------------------- */

/* A line "name: number" of a file of /proc/self. */
static long proc_number(const char *file, const char *name)
{
	FILE *f = fopen(file, "r");
	char line[256];
	long value = 0;
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		size_t n = strlen(name);
		if (strncmp(line, name, n) == 0 && line[n] == ':') {
			value = strtol(line + n + 1, NULL, 10);
		}
	}
	if (f != NULL) {
		fclose(f);
	}
	return value;
}

struct usage {
	int64_t wall_ns;
	int64_t cpu_ns;
	int64_t commits;
	int64_t record_bytes;
	long disk_bytes;
};

static struct usage usage_now(void)
{
	return (struct usage){
		.wall_ns = clock_mono_ns(),
		.cpu_ns = clock_cpu_ns(),
		.commits = metric_get(METRIC_STORE_COMMITS),
		.record_bytes = metric_get(METRIC_STORE_BYTES),
		.disk_bytes = proc_number("/proc/self/io", "write_bytes"),
	};
}

static void print_reads(const char *name, const struct bench_read_result *r)
{
	if (r->reads > 0) {
		printf(",\"%s\":{\"reads\":%llu,\"mb\":%.1f,\"mbPerSecond\":%.1f,\"seconds\":%.3f,"
		       "\"cpuSeconds\":%.3f,\"p50Ms\":%.3f,\"p99Ms\":%.3f}",
		       name, (unsigned long long)r->reads, (double)r->bytes / 1048576,
		       (double)r->bytes / 1048576 / r->seconds, r->seconds, r->cpu_seconds,
		       (double)hist_quantile(&r->latency, 0.5) / 1e6,
		       (double)hist_quantile(&r->latency, 0.99) / 1e6);
	}
}

static void print_load(struct bench_load *l, uint64_t answered, const struct usage *from,
		       const struct usage *to)
{
	double s = (double)(to->wall_ns - from->wall_ns) / 1e9;
	double bytes = (double)answered * bench_load_batch_bytes(l);
	int64_t commits = to->commits - from->commits;
	struct hist *h = bench_load_latency(l);
	printf("\"batches\":%llu,\"seconds\":%.3f,\"mb\":%.1f,\"mbPerSecond\":%.2f,"
	       "\"batchesPerSecond\":%.0f,\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"maxMs\":%.3f,"
	       "\"cpuSeconds\":%.3f,\"commits\":%lld,\"group\":%.0f,\"recordMb\":%.1f,"
	       "\"diskMb\":%.1f,",
	       (unsigned long long)answered, s, bytes / 1048576, bytes / 1048576 / s,
	       (double)answered / s, (double)hist_quantile(h, 0.5) / 1e6,
	       (double)hist_quantile(h, 0.99) / 1e6, (double)hist_quantile(h, 1) / 1e6,
	       (double)(to->cpu_ns - from->cpu_ns) / 1e9, (long long)commits,
	       commits > 0 ? (double)(to->record_bytes - from->record_bytes) / (double)commits : 0,
	       (double)(to->record_bytes - from->record_bytes) / 1048576,
	       (double)(to->disk_bytes - from->disk_bytes) / 1048576);
}

static void sleep_ms(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&ts, NULL);
}

static void run(struct store *store, double open_ms, long rss_before)
{
	struct store_partition **partitions = open_hub(store);
	long rss_hub = proc_number("/proc/self/status", "VmRSS");
	struct usage from = usage_now();
	struct bench_load *l = settings.old == 0 ? bench_load_start(store, partitions) : NULL;
	struct bench_reads *cold = bench_reads_start(store, partitions, BENCH_COLD, settings.cold);
	struct bench_reads *slow = bench_reads_start(store, partitions, BENCH_SLOW, settings.slow);
	struct bench_reads *recent =
		bench_reads_start(store, partitions, BENCH_RECENT, settings.recent);
	while (l != NULL ? !bench_load_is_done(l) : !bench_reads_are_done(cold)) {
		sleep_ms(10);
	}
	struct usage to = usage_now();
	struct bench_read_result cold_result;
	struct bench_read_result slow_result;
	struct bench_read_result recent_result;
	bench_reads_join(cold, &cold_result);
	bench_reads_join(slow, &slow_result);
	bench_reads_join(recent, &recent_result);
	printf("{");
	if (l != NULL) {
		uint64_t answered = bench_load_join(l);
		print_load(l, answered, &from, &to);
	}
	printf("\"openMs\":%.1f,\"rssOpenKb\":%ld,\"rssHubKb\":%ld,\"rssEndKb\":%ld", open_ms,
	       rss_before, rss_hub, proc_number("/proc/self/status", "VmRSS"));
	print_reads("cold", &cold_result);
	print_reads("slow", &slow_result);
	print_reads("recent", &recent_result);
	printf(",\"storeMb\":%.1f}\n", (double)metric_get(METRIC_STORE_DISK_BYTES) / 1048576);
	fflush(stdout);
	store_close(store);
	bench_load_free(&l);
	bench_reads_free(&cold);
	bench_reads_free(&slow);
	bench_reads_free(&recent);
	for (long i = 0; i < settings.partitions; i++) {
		store_partition_drop(&partitions[i]);
	}
	mem_free(partitions);
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
			bench_fail(made, "cannot make the directory");
		}
	}
	struct store_options o = {.dir = settings.dir,
				  .shards = (uint32_t)settings.shards,
				  .node_id = 1,
				  .segment_max_bytes = (uint64_t)settings.segment << 20};
	if (settings.segment > 0) {
		/* A scaled run: what happens once a minute or so does so once a second. */
		o.export_interval_ms = SCALED_EXPORT_MS;
		o.clean_pause_ms = SCALED_CLEAN_MS;
	}
	struct store *store = NULL;
	struct err_detail d = {""};
	int64_t start_ns = clock_mono_ns();
	if (store_open(&o, &store, &d) != ERR_OK) {
		bench_fail("open", d.text);
	}
	double open_ms = (double)(clock_mono_ns() - start_ns) / 1e6;
	run(store, open_ms, proc_number("/proc/self/status", "VmRSS"));
	store_free(&store);
	if (made[0] != '\0') {
		nftw(made, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	}
	return 0;
}
