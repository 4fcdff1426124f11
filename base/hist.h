#ifndef BASE_HIST_H
#define BASE_HIST_H

/* Latency histogram: 64 octaves of 16 linear steps (error under 6.3 %), values
 * in nanoseconds. Adding is one relaxed atomic increment, so any thread may
 * add; reading while others add gives a slightly torn, still useful, picture. */

#include <stdatomic.h>
#include <stdint.h>

enum { HIST_STEPS = 16, HIST_SLOTS = 64 * HIST_STEPS };

struct hist {
	atomic_ullong slot[HIST_SLOTS];
	atomic_ullong count;
	atomic_ullong sum;
};

void hist_add(struct hist *h, uint64_t value);
uint64_t hist_count(const struct hist *h);
uint64_t hist_sum(const struct hist *h);
/* The value below which a share `q` (0..1) of the samples lies; 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double q);
/* Samples with a value <= limit. */
uint64_t hist_count_below(const struct hist *h, uint64_t limit);
void hist_merge(struct hist *into, const struct hist *from);

#endif
