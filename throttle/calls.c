/* A limit of calls, units, and what a limit is called. */
#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "throttle/throttle.h"

static const int64_t second_ns = INT64_C(1000000000);

void throttle_calls_init(struct throttle_calls *c, uint32_t rate)
{
	atomic_init(&c->next_ns, INT64_MIN);
	c->rate = rate;
}

bool throttle_calls_take(struct throttle_calls *c, int64_t now_ns, uint32_t *wait_ms)
{
	*wait_ms = 0;
	if (c->rate == 0) {
		return true;
	}
	/* The generic cell rate algorithm (ITU-T I.371), a burst of one second. */
	int64_t step_ns = second_ns / c->rate;
	step_ns = step_ns > 0 ? step_ns : 1;
	int64_t next_ns = atomic_load_explicit(&c->next_ns, memory_order_relaxed);
	for (;;) {
		int64_t then_ns = (next_ns > now_ns ? next_ns : now_ns) + step_ns;
		int64_t over_ns = then_ns - now_ns - second_ns;
		if (over_ns > 0) {
			int64_t ms = (over_ns + 999999) / 1000000;
			*wait_ms = ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
			return false;
		}
		/* Relaxed: the time itself is all that is shared. */
		if (atomic_compare_exchange_weak_explicit(&c->next_ns, &next_ns, then_ns,
							  memory_order_relaxed, memory_order_relaxed)) {
			return true;
		}
	}
}

struct throttle_limit throttle_units(uint32_t units)
{
	return (struct throttle_limit){.rate = {
		[THROTTLE_IN] = {(uint64_t)units * THROTTLE_UNIT_IN_BYTES,
				 (uint64_t)units * THROTTLE_UNIT_IN_EVENTS},
		[THROTTLE_OUT] = {(uint64_t)units * THROTTLE_UNIT_OUT_BYTES,
				  (uint64_t)units * THROTTLE_UNIT_OUT_EVENTS},
	}};
}

static const char *const owners[THROTTLE_KINDS] = {
	[THROTTLE_NAMESPACE] = "the namespace's",
	[THROTTLE_HUB] = "the hub's",
	[THROTTLE_PARTITION] = "the partition's",
	[THROTTLE_POLICY] = "the policy's",
	[THROTTLE_CLIENT] = "the client id's",
	[THROTTLE_PUBLISHER] = "the publisher's",
};

void throttle_reason_text(const struct throttle_reason *r, char *out, size_t size)
{
	assert(r->kind < THROTTLE_KINDS);
	bool is_in = r->direction == THROTTLE_IN;
	if (r->by_memory) {
		(void)snprintf(out, size, "the bound of what may wait for %s limit", owners[r->kind]);
		return;
	}
	uint64_t bytes = is_in ? THROTTLE_UNIT_IN_BYTES : THROTTLE_UNIT_OUT_BYTES;
	uint64_t events = is_in ? THROTTLE_UNIT_IN_EVENTS : THROTTLE_UNIT_OUT_EVENTS;
	uint64_t unit = r->by_events ? events : bytes;
	char units[64] = "";
	if (r->rate != 0 && r->rate % unit == 0) {
		uint64_t n = r->rate / unit;
		(void)snprintf(units, sizeof units, " (%" PRIu64 " throughput unit%s)", n, n == 1 ? "" : "s");
	}
	(void)snprintf(out, size, "%s limit of %" PRIu64 " %s per second %s%s", owners[r->kind], r->rate,
		       r->by_events ? "events" : "bytes", is_in ? "in" : "out", units);
}
