#include "base/metrics.h"

#include <stdatomic.h>

static atomic_llong values[METRIC__COUNT];
static struct hist ack_latency;
static struct hist commit_latency;
static struct hist commit_bytes;

static const struct {
	const char *kind;
	const char *name;
	const char *help;
} rows[] = {
#define METRIC(id, kind, name, help) [METRIC_##id] = {#kind, name, help},
#include "base/metrics.def"
#undef METRIC
};
_Static_assert(sizeof rows / sizeof *rows == METRIC__COUNT, "one row per metric");

void metric_add(enum metric m, int64_t delta)
{
	/* Relaxed: counters guard no other data. */
	atomic_fetch_add_explicit(&values[m], delta, memory_order_relaxed);
}

int64_t metric_get(enum metric m)
{
	return atomic_load_explicit(&values[m], memory_order_relaxed);
}

struct hist *metric_ack_latency(void)
{
	return &ack_latency;
}

struct hist *metric_commit_latency(void)
{
	return &commit_latency;
}

struct hist *metric_commit_bytes(void)
{
	return &commit_bytes;
}

/* `limits` are in the stored unit; `scale` turns it into the printed one. */
static void render_hist(struct str *out, const char *name, const char *help, const struct hist *h,
			const uint64_t *limits, size_t n, double scale)
{
	str_printf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
	for (size_t i = 0; i < n; i++) {
		str_printf(out, "%s_bucket{le=\"%g\"} %llu\n", name, (double)limits[i] * scale,
			   (unsigned long long)hist_count_below(h, limits[i]));
	}
	unsigned long long count = hist_count(h);
	str_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %g\n%s_count %llu\n", name, count, name,
		   (double)hist_sum(h) * scale, name, count);
}

void metrics_render(struct str *out)
{
	static const uint64_t times_ns[] = {100000,    250000,    500000,    1000000,	2500000,
					    5000000,   10000000,  25000000,  50000000,	100000000,
					    250000000, 500000000, 1000000000, 5000000000};
	static const uint64_t sizes[] = {4096, 16384, 65536, 262144, 1048576, 4194304, 16777216};
	for (size_t i = 0; i < METRIC__COUNT; i++) {
		str_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", rows[i].name, rows[i].help,
			   rows[i].name, rows[i].kind, rows[i].name,
			   (long long)metric_get((enum metric)i));
	}
	render_hist(out, "sluice_send_latency_seconds", "Send: from complete receipt to acknowledgement",
		    &ack_latency, times_ns, sizeof times_ns / sizeof *times_ns, 1e-9);
	render_hist(out, "sluice_store_commit_seconds", "Duration of group commits", &commit_latency,
		    times_ns, sizeof times_ns / sizeof *times_ns, 1e-9);
	render_hist(out, "sluice_store_commit_bytes", "Size of group commits", &commit_bytes, sizes,
		    sizeof sizes / sizeof *sizes, 1);
}
