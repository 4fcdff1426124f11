#ifndef BASE_METRICS_H
#define BASE_METRICS_H

/* Process-wide counters, gauges and histograms, declared in metrics.def with
 * their help text. Any thread; relaxed atomics, a reader sees each value whole. */

#include <stdint.h>

#include "base/bytes.h"
#include "base/hist.h"

enum metric {
#define METRIC(id, kind, name, help) METRIC_##id,
#include "base/metrics.def"
#undef METRIC
	METRIC__COUNT
};

void metric_add(enum metric m, int64_t delta);
static inline void metric_inc(enum metric m)
{
	metric_add(m, 1);
}
int64_t metric_get(enum metric m);

/* Latency of sends from complete receipt to acknowledgement, in ns. */
struct hist *metric_ack_latency(void);
/* Duration of group commits, in ns, and their sizes in bytes. */
struct hist *metric_commit_latency(void);
struct hist *metric_commit_bytes(void);

/* Prometheus text exposition format 0.0.4 of everything above. */
void metrics_render(struct str *out);

#endif
