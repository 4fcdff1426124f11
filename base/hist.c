#include "base/hist.h"

static unsigned slot_of(uint64_t v)
{
	if (v < HIST_STEPS) {
		return (unsigned)v;
	}
	unsigned octave = 63U - (unsigned)__builtin_clzll(v);
	return (octave - 3) * HIST_STEPS + (unsigned)(v >> (octave - 4) & (HIST_STEPS - 1));
}

static uint64_t slot_top(unsigned slot)
{
	if (slot < HIST_STEPS) {
		return slot;
	}
	unsigned octave = slot / HIST_STEPS + 3;
	uint64_t base = (uint64_t)(HIST_STEPS + slot % HIST_STEPS) << (octave - 4);
	return base + ((uint64_t)1 << (octave - 4)) - 1;
}

void hist_add(struct hist *h, uint64_t value)
{
	/* Relaxed: counters only, nothing is published through them. */
	atomic_fetch_add_explicit(&h->slot[slot_of(value)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
}

uint64_t hist_count(const struct hist *h)
{
	return atomic_load_explicit(&h->count, memory_order_relaxed);
}

uint64_t hist_sum(const struct hist *h)
{
	return atomic_load_explicit(&h->sum, memory_order_relaxed);
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t total = hist_count(h);
	uint64_t want = (uint64_t)((double)total * q + 0.5);
	if (want == 0) {
		want = 1;
	}
	uint64_t seen = 0;
	for (unsigned i = 0; i < HIST_SLOTS; i++) {
		seen += atomic_load_explicit(&h->slot[i], memory_order_relaxed);
		if (seen >= want && total != 0) {
			return slot_top(i);
		}
	}
	return 0;
}

uint64_t hist_count_below(const struct hist *h, uint64_t limit)
{
	uint64_t seen = 0;
	for (unsigned i = 0; i < HIST_SLOTS && slot_top(i) <= limit; i++) {
		seen += atomic_load_explicit(&h->slot[i], memory_order_relaxed);
	}
	return seen;
}

void hist_merge(struct hist *into, const struct hist *from)
{
	for (unsigned i = 0; i < HIST_SLOTS; i++) {
		atomic_fetch_add(&into->slot[i], atomic_load(&from->slot[i]));
	}
	atomic_fetch_add(&into->count, hist_count(from));
	atomic_fetch_add(&into->sum, hist_sum(from));
}
