#include "throttle/bucket.h"

#include <assert.h>

static uint64_t bounded(unsigned d, uint64_t rate)
{
	uint64_t most = THROTTLE_RATE_MAX >> (d == THROTTLE_EVENTS ? THROTTLE_EVENT_SHIFT : 0);
	return rate < most ? rate : most;
}

void throttle_bucket_set(struct throttle_bucket *b, const struct throttle_rate *rate, int64_t now_ns)
{
	const uint64_t to[THROTTLE_DIMS] = {bounded(THROTTLE_BYTES, rate->bytes),
					    bounded(THROTTLE_EVENTS, rate->events)};
	struct throttle_view v;
	throttle_bucket_view(b, now_ns, &v);
	uint64_t base[THROTTLE_DIMS];
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		uint64_t used = atomic_load_explicit(&b->used[d], memory_order_relaxed);
		uint64_t burst = throttle_parts(d, to[d]);
		base[d] = v.allowed[d];
		if (v.rate[d] == 0) {
			base[d] = used;
		} else if ((int64_t)(used - base[d]) > (int64_t)burst) {
			/* A smaller burst is spent at most, not owed for. */
			base[d] = used - burst;
		}
	}
	/* Each store releases, so that a reader that sees one of them sees the odd
	 * version as well. */
	uint32_t version = atomic_load_explicit(&b->version, memory_order_relaxed);
	assert((version & 1) == 0);
	atomic_store_explicit(&b->version, version + 1, memory_order_relaxed);
	int64_t since_ns = atomic_load_explicit(&b->since_ns, memory_order_relaxed);
	atomic_store_explicit(&b->since_ns, now_ns > since_ns ? now_ns : since_ns,
			      memory_order_release);
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		atomic_store_explicit(&b->rate[d], to[d], memory_order_release);
		atomic_store_explicit(&b->base[d], base[d], memory_order_release);
	}
	atomic_store_explicit(&b->version, version + 2, memory_order_release);
}

int64_t throttle_bucket_ns(uint64_t n, uint64_t rate)
{
	assert(rate > 0);
	throttle_wide ns = ((throttle_wide)n * (uint64_t)THROTTLE_SECOND_NS + rate - 1) / rate;
	return ns < INT64_MAX ? (int64_t)ns : INT64_MAX;
}

/* When the total allowed of dimension `d` reaches `target`. */
static int64_t reached(const struct throttle_terms *t, unsigned d, uint64_t target, int64_t now_ns)
{
	int64_t more = (int64_t)(target - t->base[d]);
	if (more <= 0) {
		return now_ns;
	}
	int64_t ns = throttle_bucket_ns((uint64_t)more, throttle_parts(d, t->rate[d]));
	if (t->since_ns > 0 && ns > INT64_MAX - t->since_ns) {
		return INT64_MAX;
	}
	return t->since_ns + ns > now_ns ? t->since_ns + ns : now_ns;
}

int64_t throttle_bucket_ready(struct throttle_bucket *b, const struct throttle_cost *cost,
			      int64_t now_ns)
{
	struct throttle_terms t;
	throttle_bucket_read(b, &t);
	int64_t ready_ns = now_ns;
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		uint64_t n = throttle_cost_dim(cost, d);
		if (t.rate[d] == 0 || n == 0) {
			continue;
		}
		/* Missing may be at most the burst less n. */
		uint64_t used = atomic_load_explicit(&b->used[d], memory_order_relaxed);
		uint64_t target = used + throttle_parts(d, n) - throttle_parts(d, t.rate[d]);
		int64_t at_ns = reached(&t, d, target, now_ns);
		ready_ns = at_ns > ready_ns ? at_ns : ready_ns;
	}
	return ready_ns;
}
