#ifndef THROTTLE_BUCKET_H
#define THROTTLE_BUCKET_H

/* Exact buckets of one scope in one direction: one of bytes, one of events.
 *
 * Counted are two totals that only grow: what was allowed until now (`base` plus the
 * rate since `since_ns`) and what was `used`; their difference is what of the burst
 * (one second of the rate) is missing. Someone who used less than was allowed is
 * moved up to it, so that never more than the burst is saved. No time is stored per
 * byte, so nothing is lost by rounding at any rate. Events are counted in small parts,
 * as some limits are one of them a second. A new rate changes base and since_ns only:
 * what was used stays used. Totals may wrap around.
 *
 * Threads: any. Takers race for `used` by compare and swap; `version` is odd while a
 * rate is being changed (one writer at a time, under the registry's lock). */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "throttle/throttle.h"

enum { THROTTLE_BYTES, THROTTLE_EVENTS, THROTTLE_DIMS };

/* Of an event a 1024th is counted: a limit of one a second is exact to a millisecond. */
enum { THROTTLE_EVENT_SHIFT = 10 };
/* Bounds of rates, beyond those of LIMIT_UNITS: 64 GiB and 67 million events a second.
 * The totals then grow for four years before a bucket that nobody used in the meantime
 * would see their difference wrap. */
#define THROTTLE_RATE_MAX ((uint64_t)1 << 36)
#define THROTTLE_SECOND_NS INT64_C(1000000000)

__extension__ typedef unsigned __int128 throttle_wide;

struct throttle_bucket {
	/* Read by each taker, changed with the rules. */
	_Atomic uint32_t version;
	_Atomic uint64_t rate[THROTTLE_DIMS];	/* a second; 0: no limit */
	_Atomic uint64_t base[THROTTLE_DIMS];	/* in parts, as `used` */
	_Atomic int64_t since_ns;
	char pad[64];			/* changed by each taker: a line of its own */
	_Atomic uint64_t used[THROTTLE_DIMS];
	char pad_end[48];
};

/* A bucket as it is at one time. */
struct throttle_view {
	uint64_t rate[THROTTLE_DIMS];		/* also the burst */
	uint64_t allowed[THROTTLE_DIMS];	/* in parts */
};

/* Bytes or events in the parts that are counted; n is no more than a burst. */
static inline uint64_t throttle_parts(unsigned d, uint64_t n)
{
	return d == THROTTLE_EVENTS ? n << THROTTLE_EVENT_SHIFT : n;
}

static inline uint64_t throttle_cost_dim(const struct throttle_cost *cost, unsigned d)
{
	return d == THROTTLE_BYTES ? cost->bytes : cost->events;
}

/* rate * ns / a second, rounded down, without overflow of the product. */
static inline uint64_t throttle_bucket_grown(uint64_t rate, uint64_t seconds, uint64_t rest_ns)
{
	const uint64_t second = (uint64_t)THROTTLE_SECOND_NS;
	if (rate < second) {
		return rate * seconds + rate * rest_ns / second;
	}
	return rate * seconds + rate / second * rest_ns + rate % second * rest_ns / second;
}

/* What a bucket goes by, all of one rate. */
struct throttle_terms {
	uint64_t rate[THROTTLE_DIMS];
	uint64_t base[THROTTLE_DIMS];
	int64_t since_ns;
};

static inline void throttle_bucket_read(struct throttle_bucket *b, struct throttle_terms *t)
{
	uint32_t version;
	/* Loads that acquire keep the order without a fence; see throttle_bucket_set. */
	do {
		version = atomic_load_explicit(&b->version, memory_order_acquire);
		for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
			t->rate[d] = atomic_load_explicit(&b->rate[d], memory_order_acquire);
			t->base[d] = atomic_load_explicit(&b->base[d], memory_order_acquire);
		}
		t->since_ns = atomic_load_explicit(&b->since_ns, memory_order_acquire);
	} while ((version & 1) != 0 ||
		 version != atomic_load_explicit(&b->version, memory_order_relaxed));
}

static inline void throttle_bucket_view(struct throttle_bucket *b, int64_t now_ns,
					struct throttle_view *v)
{
	struct throttle_terms t;
	throttle_bucket_read(b, &t);
	/* Threads' times differ a little: none is before the change of the rate. */
	uint64_t ns = now_ns > t.since_ns ? (uint64_t)now_ns - (uint64_t)t.since_ns : 0;
	uint64_t seconds = ns / (uint64_t)THROTTLE_SECOND_NS;
	uint64_t rest_ns = ns % (uint64_t)THROTTLE_SECOND_NS;
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		v->rate[d] = t.rate[d];
		v->allowed[d] = t.base[d] +
				throttle_bucket_grown(throttle_parts(d, t.rate[d]), seconds, rest_ns);
	}
}

/* What of the burst is there, in parts. */
static inline uint64_t throttle_bucket_level(struct throttle_bucket *b,
					     const struct throttle_view *v, unsigned d)
{
	uint64_t burst = throttle_parts(d, v->rate[d]);
	uint64_t used = atomic_load_explicit(&b->used[d], memory_order_relaxed);
	int64_t missing = (int64_t)(used - v->allowed[d]);
	if (missing <= 0) {
		return burst;
	}
	return (uint64_t)missing < burst ? burst - (uint64_t)missing : 0;
}

/* Takes n of one dimension or nothing. */
static inline bool throttle_bucket_take_dim(struct throttle_bucket *b,
					    const struct throttle_view *v, unsigned d, uint64_t n)
{
	if (n > v->rate[d]) {
		return false;
	}
	uint64_t parts = throttle_parts(d, n);
	uint64_t room = throttle_parts(d, v->rate[d]) - parts;
	/* Relaxed: the count itself is all that is shared. */
	uint64_t used = atomic_load_explicit(&b->used[d], memory_order_relaxed);
	for (;;) {
		uint64_t from = (int64_t)(used - v->allowed[d]) > 0 ? used : v->allowed[d];
		if (from - v->allowed[d] > room) {
			return false;
		}
		if (atomic_compare_exchange_weak_explicit(&b->used[d], &used, from + parts,
							  memory_order_relaxed,
							  memory_order_relaxed)) {
			return true;
		}
	}
}

/* Gives back in the dimensions of `dims`. */
static inline void throttle_bucket_give(struct throttle_bucket *b, const struct throttle_cost *cost,
					unsigned dims)
{
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		if ((dims & 1u << d) != 0) {
			atomic_fetch_sub_explicit(&b->used[d],
						  throttle_parts(d, throttle_cost_dim(cost, d)),
						  memory_order_relaxed);
		}
	}
}

/* Takes the whole cost or nothing; *dims tells in which dimensions something was. */
static inline bool throttle_bucket_take(struct throttle_bucket *b, const struct throttle_view *v,
					const struct throttle_cost *cost, unsigned *dims)
{
	*dims = 0;
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		uint64_t n = throttle_cost_dim(cost, d);
		if (v->rate[d] == 0 || n == 0) {
			continue;
		}
		if (!throttle_bucket_take_dim(b, v, d, n)) {
			throttle_bucket_give(b, cost, *dims);
			*dims = 0;
			return false;
		}
		*dims |= 1u << d;
	}
	return true;
}

/* Under the registry's lock. A bucket that had no rate starts full. */
void throttle_bucket_set(struct throttle_bucket *b, const struct throttle_rate *rate, int64_t now_ns);
/* When `cost` (no more than the burst) can be taken, if nobody else does; now_ns if
 * it can be at once. */
int64_t throttle_bucket_ready(struct throttle_bucket *b, const struct throttle_cost *cost,
			      int64_t now_ns);
/* n / rate in ns, rounded up; INT64_MAX at most. */
int64_t throttle_bucket_ns(uint64_t n, uint64_t rate);

#endif
