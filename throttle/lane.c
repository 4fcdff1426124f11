/* Lanes: opening and closing, and what their own threads ask of them. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "throttle/throttle_priv.h"

/* ---- references ------------------------------------------------------------------- */

void throttle_lane_hold(struct throttle_lane *l)
{
	atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
}

void throttle_lane_drop(struct throttle_lane *l)
{
	/* Release what this thread did, acquire what the others did before the end. */
	if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1) {
		return;
	}
	struct throttle *t = l->throttle;
	struct throttle_lane *head = atomic_load_explicit(&t->reap, memory_order_relaxed);
	do {
		l->reap_next = head;
	} while (!atomic_compare_exchange_weak_explicit(&t->reap, &head, l, memory_order_acq_rel,
							memory_order_relaxed));
}

static void tell_time(struct throttle *t, int64_t now_ns)
{
	int64_t old_ns = atomic_load_explicit(&t->clock_ns, memory_order_relaxed);
	while (now_ns > old_ns &&
	       !atomic_compare_exchange_weak_explicit(&t->clock_ns, &old_ns, now_ns,
						      memory_order_relaxed, memory_order_relaxed)) {
	}
}

static void leave_hops(struct throttle *t, struct throttle_lane *l)
{
	for (unsigned i = 0; i < l->n_hops; i++) {
		throttle_seat_leave(t, l->hops[i].seat);
		throttle_scope_leave(t, l->hops[i].gauge->scope);
	}
}

static void destroy(struct throttle *t, struct throttle_lane *l)
{
	assert(l->magic == THROTTLE_LANE_MAGIC);
	assert(l->first == NULL);
	struct throttle_sum sum = {0};
	throttle_lane_sum(l, &sum);
	for (unsigned i = 0; i < l->n_hops; i++) {
		struct throttle_sum *f = &l->hops[i].gauge->folded;
		f->requests += sum.requests;
		f->bytes += sum.bytes;
		f->events += sum.events;
	}
	tell_time(t, atomic_load_explicit(&l->last_ns, memory_order_relaxed));
	leave_hops(t, l);
	*(l->prev != NULL ? &l->prev->next : &t->lanes) = l->next;
	if (l->next != NULL) {
		l->next->prev = l->prev;
	}
	l->magic = 0;
	mem_free(l);
}

void throttle_lane_reap(struct throttle *t)
{
	struct throttle_lane *next;
	struct throttle_lane *l = atomic_exchange_explicit(&t->reap, NULL, memory_order_acq_rel);
	for (; l != NULL; l = next) {
		next = l->reap_next;
		destroy(t, l);
	}
}

/* ---- opening and closing ------------------------------------------------------------ */

static bool is_text(const char *s)
{
	return s != NULL && s[0] != '\0';
}

static bool has_scope(enum throttle_kind kind, const struct throttle_place *p)
{
	switch (kind) {
	case THROTTLE_PUBLISHER:
		return is_text(p->publisher);
	case THROTTLE_CLIENT:
		return is_text(p->client);
	case THROTTLE_POLICY:
		return is_text(p->policy);
	case THROTTLE_PARTITION:
		return is_text(p->hub) && p->partition >= 0;
	case THROTTLE_HUB:
		return is_text(p->hub);
	case THROTTLE_NAMESPACE:
	case THROTTLE_KINDS:
	default:
		return kind == THROTTLE_NAMESPACE;
	}
}

static enum err join_hops(struct throttle *t, struct throttle_flow *f, struct throttle_lane *l,
			  const struct throttle_place *p)
{
	for (unsigned k = THROTTLE_KINDS; k-- > 0;) {
		enum throttle_kind kind = (enum throttle_kind)k;
		if (!has_scope(kind, p)) {
			continue;
		}
		struct throttle_scope *s;
		enum err e = throttle_scope_join(t, kind, p, &s);
		if (e != ERR_OK) {
			return e;
		}
		struct throttle_hop *hop = &l->hops[l->n_hops];
		hop->lane = l;
		hop->gauge = &s->gauges[l->direction];
		e = throttle_seat_join(t, f, hop->gauge, &hop->seat);
		if (e != ERR_OK) {
			throttle_scope_leave(t, s);
			return e;
		}
		l->n_hops++;
	}
	return ERR_OK;
}

enum err throttle_lane_open(struct throttle_flow *f, enum throttle_direction d,
			    const struct throttle_place *p, struct throttle_lane **out)
{
	assert(d < THROTTLE_DIRECTIONS);
	struct throttle *t = f->throttle;
	struct throttle_lane *l = MEM_NEW(struct throttle_lane);
	if (l == NULL) {
		return ERR_NOMEM;
	}
	l->magic = THROTTLE_LANE_MAGIC;
	l->throttle = t;
	l->direction = d;
	atomic_store_explicit(&l->refs, 1, memory_order_relaxed);
	lock_take(&t->lock);
	throttle_lane_reap(t);
	throttle_scope_sweep(t, false);
	enum err e = join_hops(t, f, l, p);
	if (e != ERR_OK) {
		leave_hops(t, l);
		lock_give(&t->lock);
		mem_free(l);
		return e;
	}
	l->next = t->lanes;
	if (l->next != NULL) {
		l->next->prev = l;
	}
	t->lanes = l;
	lock_give(&t->lock);
	*out = l;
	return ERR_OK;
}

void throttle_lane_close(struct throttle_lane **lp)
{
	struct throttle_lane *l = *lp;
	*lp = NULL;
	assert(l->magic == THROTTLE_LANE_MAGIC);
	struct throttle *t = l->throttle;
	lock_take(&t->lock);
	throttle_lane_drop(l);
	throttle_lane_reap(t);
	throttle_scope_sweep(t, false);
	lock_give(&t->lock);
}

/* ---- figures ---------------------------------------------------------------------------- */

static void add(_Atomic uint64_t *n, uint64_t more)
{
	/* One thread writes, so that no locked addition is needed. */
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + more,
			      memory_order_relaxed);
}

void throttle_lane_tally(struct throttle_tally *t, const struct throttle_cost *cost)
{
	add(&t->requests, 1);
	add(&t->bytes, cost->bytes);
	add(&t->events, cost->events);
}

static void sum_tally(struct throttle_tally *t, struct throttle_sum *sum)
{
	sum->requests += atomic_load_explicit(&t->requests, memory_order_relaxed);
	sum->bytes += atomic_load_explicit(&t->bytes, memory_order_relaxed);
	sum->events += atomic_load_explicit(&t->events, memory_order_relaxed);
}

void throttle_lane_sum(struct throttle_lane *l, struct throttle_sum *sum)
{
	/* Given back first: what is counted there was counted as admitted before. */
	uint64_t bytes = atomic_load_explicit(&l->given[THROTTLE_BYTES], memory_order_acquire);
	uint64_t events = atomic_load_explicit(&l->given[THROTTLE_EVENTS], memory_order_acquire);
	sum_tally(&l->tried, sum);
	sum_tally(&l->served, sum);
	sum->bytes -= bytes;
	sum->events -= events;
}

/* ---- the hot path ------------------------------------------------------------------------ */

/* Bits of throttle_bucket_take's dims, per hop. */
static void undo(struct throttle_lane *l, const struct throttle_cost *cost, unsigned taken)
{
	for (unsigned i = 0; i < l->n_hops; i++) {
		unsigned dims = taken >> i * THROTTLE_DIMS & ((1u << THROTTLE_DIMS) - 1);
		if (dims != 0) {
			throttle_bucket_give(&l->hops[i].gauge->bucket, cost, dims);
		}
	}
}

bool throttle_try(struct throttle_lane *l, const struct throttle_cost *cost, int64_t now_ns)
{
	assert(l->magic == THROTTLE_LANE_MAGIC);
	/* Acquire: what the scheduler did for this lane is done. */
	if (atomic_load_explicit(&l->deferred, memory_order_acquire) != 0) {
		return false;
	}
	unsigned taken = 0;
	for (unsigned i = 0; i < l->n_hops; i++) {
		struct throttle_gauge *g = l->hops[i].gauge;
		if (!throttle_gauge_is_limited(g)) {
			continue;
		}
		struct throttle_view v;
		unsigned dims;
		if (throttle_gauge_is_queued(g)) {
			undo(l, cost, taken);
			return false;
		}
		throttle_bucket_view(&g->bucket, now_ns, &v);
		if (!throttle_bucket_take(&g->bucket, &v, cost, &dims)) {
			undo(l, cost, taken);
			return false;
		}
		taken |= dims << i * THROTTLE_DIMS;
	}
	atomic_store_explicit(&l->last_ns, now_ns, memory_order_relaxed);
	throttle_lane_tally(&l->tried, cost);
	return true;
}

void throttle_defer(struct throttle_lane *l)
{
	throttle_lane_hold(l);
	atomic_fetch_add_explicit(&l->deferred, 1, memory_order_relaxed);
}

void throttle_settle(struct throttle_lane *l)
{
	/* Release: see throttle_try. */
	uint32_t before = atomic_fetch_sub_explicit(&l->deferred, 1, memory_order_release);
	assert(before > 0);
	throttle_lane_drop(l);
}

void throttle_give(struct throttle_lane *l, const struct throttle_cost *cost, int64_t now_ns)
{
	for (unsigned i = 0; i < l->n_hops; i++) {
		struct throttle_gauge *g = l->hops[i].gauge;
		if (!throttle_gauge_is_limited(g)) {
			continue;
		}
		struct throttle_view v;
		throttle_bucket_view(&g->bucket, now_ns, &v);
		unsigned dims = 0;
		for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
			dims |= v.rate[d] != 0 ? 1u << d : 0;
		}
		throttle_bucket_give(&g->bucket, cost, dims);
	}
	atomic_fetch_add_explicit(&l->given[THROTTLE_BYTES], cost->bytes, memory_order_release);
	atomic_fetch_add_explicit(&l->given[THROTTLE_EVENTS], cost->events, memory_order_release);
}

/* ---- estimates ------------------------------------------------------------------------------ */

int64_t throttle_estimate(const struct throttle_lane *l, const struct throttle_cost *cost, int64_t now_ns)
{
	int64_t worst_ns = 0;
	for (unsigned i = 0; i < l->n_hops; i++) {
		const struct throttle_hop *hop = &l->hops[i];
		if (!throttle_gauge_is_limited(hop->gauge)) {
			continue;
		}
		struct throttle_reason why;
		int64_t ns = throttle_gauge_estimate(hop, cost, 0, now_ns, &why);
		worst_ns = ns > worst_ns ? ns : worst_ns;
	}
	return worst_ns;
}

struct throttle_rate throttle_share(const struct throttle_lane *l)
{
	struct throttle_rate share = {UINT64_MAX, UINT64_MAX};
	for (unsigned i = 0; i < l->n_hops; i++) {
		const struct throttle_hop *hop = &l->hops[i];
		struct throttle_gauge *g = hop->gauge;
		if (!throttle_gauge_is_limited(g)) {
			continue;
		}
		/* Of the flow, divided among its lanes that wait; this one is one of them. */
		uint64_t flows = throttle_gauge_flows(g);
		uint64_t lanes = atomic_load_explicit(&hop->seat->standing, memory_order_relaxed);
		if (lanes == 0) {
			flows++;
			lanes = 1;
		}
		uint64_t parts = (flows > 0 ? flows : 1) * lanes;
		uint64_t bytes = atomic_load_explicit(&g->bucket.rate[THROTTLE_BYTES],
						      memory_order_relaxed);
		uint64_t events = atomic_load_explicit(&g->bucket.rate[THROTTLE_EVENTS],
						       memory_order_relaxed);
		if (bytes != 0 && bytes / parts < share.bytes) {
			share.bytes = bytes > parts ? bytes / parts : 1;
		}
		if (events != 0 && events / parts < share.events) {
			share.events = events > parts ? events / parts : 1;
		}
	}
	return share;
}
