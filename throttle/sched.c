/* Requests that wait: asking, running, refusing. Scheduler's thread. */
#include <assert.h>

#include "throttle/throttle_priv.h"

/* ---- what waits --------------------------------------------------------------------- */

static void ages_add(struct throttle_ages *a, struct throttle_request *r)
{
	r->newer = NULL;
	r->older = a->newest;
	*(a->newest != NULL ? &a->newest->newer : &a->oldest) = r;
	a->newest = r;
}

static void ages_remove(struct throttle_ages *a, struct throttle_request *r)
{
	*(r->older != NULL ? &r->older->newer : &a->oldest) = r->newer;
	*(r->newer != NULL ? &r->newer->older : &a->newest) = r->older;
	r->older = r->newer = NULL;
}

static void request_add(struct throttle_lane *l, struct throttle_request *r, int64_t now_ns)
{
	struct throttle *t = l->throttle;
	r->lane = l;
	r->next = NULL;
	r->prev = l->last;
	*(l->last != NULL ? &l->last->next : &l->first) = r;
	l->last = r;
	r->arrived_ns = now_ns;
	r->is_waiting = true;
	ages_add(&t->ages[r->patience], r);
	t->held_bytes += r->patience != THROTTLE_ENDLESS ? r->cost.bytes : 0;
	throttle_serve_count(l, &r->cost, true);
	if (r->prev == NULL) {
		throttle_lane_hold(l);
		throttle_serve_advance(l, now_ns);
	}
}

/* Takes it out of its lane; it stands in no gauge. What is first then moves on. The
 * caller holds the lane. */
static void request_unlink(struct throttle_request *r, int64_t now_ns)
{
	struct throttle_lane *l = r->lane;
	struct throttle *t = l->throttle;
	bool was_first = r->prev == NULL;
	*(r->prev != NULL ? &r->prev->next : &l->first) = r->next;
	*(r->next != NULL ? &r->next->prev : &l->last) = r->prev;
	r->next = r->prev = NULL;
	r->is_waiting = false;
	ages_remove(&t->ages[r->patience], r);
	t->held_bytes -= r->patience != THROTTLE_ENDLESS ? r->cost.bytes : 0;
	throttle_serve_count(l, &r->cost, false);
	if (l->first == NULL) {
		throttle_lane_drop(l);
	} else if (was_first) {
		throttle_serve_advance(l, now_ns);
	}
}

/* Takes back a request that was not admitted; the caller holds the lane. */
static void request_take_back(struct throttle_request *r, bool keep, int64_t now_ns)
{
	struct throttle_lane *l = r->lane;
	if (l->first == r) {
		throttle_serve_withdraw(l, keep);
	} else if (keep) {
		for (unsigned i = 0; i < l->n_hops; i++) {
			if (throttle_gauge_is_limited(l->hops[i].gauge)) {
				throttle_seat_keep(&l->hops[i], &r->cost);
			}
		}
	}
	request_unlink(r, now_ns);
}

/* ---- figures ---------------------------------------------------------------------------- */

static void more(_Atomic uint64_t *n, uint64_t by)
{
	atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

/* Because of `hop` it has to wait, or comes to be refused at once. */
static void count_throttled(struct throttle_hop *hop, const struct throttle_cost *cost)
{
	struct throttle_gauge *g = hop->gauge;
	more(&g->throttled_bytes, cost->bytes);
	more(&g->throttled_events, cost->events);
	more(&g->throttled, 1);
	more(&hop->seat->throttled, 1);
}

/* ---- deciding ------------------------------------------------------------------------------ */

static uint32_t to_ms(int64_t ns)
{
	int64_t ms = ns / 1000000 + (ns % 1000000 != 0 ? 1 : 0);
	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

/* The hop that would hold it up longest, and how long; the last one when none would. */
static struct throttle_hop *worst_hop(struct throttle_lane *l, const struct throttle_cost *cost,
				      int64_t now_ns, int64_t *wait_ns, struct throttle_reason *why)
{
	struct throttle_hop *worst = &l->hops[l->n_hops - 1];
	*why = (struct throttle_reason){.kind = worst->gauge->scope->kind, .direction = l->direction};
	*wait_ns = -1;
	for (unsigned i = 0; i < l->n_hops; i++) {
		struct throttle_hop *hop = &l->hops[i];
		if (!throttle_gauge_is_limited(hop->gauge)) {
			continue;
		}
		struct throttle_reason reason;
		uint64_t credit = throttle_seat_credit(hop);
		int64_t ns = throttle_gauge_estimate(hop, cost, credit, now_ns, &reason);
		if (ns > *wait_ns) {
			*wait_ns = ns;
			*why = reason;
			worst = hop;
		}
	}
	*wait_ns = *wait_ns > 0 ? *wait_ns : 0;
	return worst;
}

/* How long until all that stands there now has gone, and its memory with it. */
static int64_t drain_ns(const struct throttle_hop *hop)
{
	struct throttle_gauge *g = hop->gauge;
	int64_t worst_ns = 0;
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		uint64_t rate = atomic_load_explicit(&g->bucket.rate[d], memory_order_relaxed);
		uint64_t all = atomic_load_explicit(&g->waiting[d], memory_order_relaxed);
		int64_t ns = rate != 0 ? throttle_bucket_ns(all, rate) : 0;
		worst_ns = ns > worst_ns ? ns : worst_ns;
	}
	return worst_ns;
}

static int64_t patience_ns(const struct throttle *t, enum throttle_patience p)
{
	switch (p) {
	case THROTTLE_IMPATIENT:
		return t->options.hold_ns;
	case THROTTLE_PATIENT:
		return t->options.delay_ns;
	case THROTTLE_ENDLESS:
	default:
		return INT64_MAX;
	}
}

static void tell_time(struct throttle *t, int64_t now_ns)
{
	/* Other writers only raise it when lanes are freed; a raise that is lost comes
	 * again with the next call. */
	if (now_ns > atomic_load_explicit(&t->clock_ns, memory_order_relaxed)) {
		atomic_store_explicit(&t->clock_ns, now_ns, memory_order_relaxed);
	}
}

/* After rules changed: what waits is put in order by the new rates. Those whose limit
 * is gone or larger are let go when their gauges are looked at. */
static void retune(struct throttle *t)
{
	uint32_t version = atomic_load_explicit(&t->rules_version, memory_order_acquire);
	if (version == t->tuned_version) {
		return;
	}
	t->tuned_version = version;
	for (unsigned p = 0; p <= THROTTLE_ENDLESS; p++) {
		for (struct throttle_request *r = t->ages[p].oldest; r != NULL; r = r->newer) {
			struct throttle_lane *l = r->lane;
			for (unsigned i = 0; l->first == r && i < l->n_hops; i++) {
				struct throttle_hop *hop = &l->hops[i];
				struct throttle_gauge *g = hop->gauge;
				throttle_seat_tune(t, g);
				throttle_serve_dirty(t, g);
				if (!hop->is_tagged || (g->tuned[0] == g->was_tuned[0] &&
							g->tuned[1] == g->was_tuned[1])) {
					continue;
				}
				if (hop->heap != NULL) {
					throttle_heap_remove(hop->heap, &hop->node);
				}
				throttle_seat_rescale(hop, &r->cost);
				if (hop->heap != NULL) {
					throttle_heap_add(hop->heap, &hop->node, hop->tag);
				}
			}
		}
	}
}

static struct throttle_decision refuse_at_once(struct throttle_lane *l, struct throttle_hop *hop,
					       const struct throttle_request *r,
					       struct throttle_decision d)
{
	count_throttled(hop, &r->cost);
	more(&hop->gauge->refused_requests, 1);
	for (unsigned i = 0; i < l->n_hops; i++) {
		if (throttle_gauge_is_limited(l->hops[i].gauge)) {
			throttle_seat_keep(&l->hops[i], &r->cost);
		}
	}
	d.verdict = THROTTLE_REFUSE;
	d.wait_ms = d.wait_ms > 0 ? d.wait_ms : 1;
	return d;
}

struct throttle_decision throttle_ask(struct throttle_lane *l, struct throttle_request *r, int64_t now_ns)
{
	assert(l->magic == THROTTLE_LANE_MAGIC);
	assert(r->patience <= THROTTLE_ENDLESS);
	struct throttle *t = l->throttle;
	tell_time(t, now_ns);
	retune(t);
	r->lane = l;
	r->is_waiting = false;
	struct throttle_decision d = {.verdict = THROTTLE_ADMIT};
	if (l->first == NULL && throttle_serve_take(l, &r->cost, now_ns)) {
		throttle_lane_tally(&l->served, &r->cost);
		return d;
	}
	int64_t wait_ns;
	struct throttle_hop *hop = worst_hop(l, &r->cost, now_ns, &wait_ns, &d.reason);
	d.wait_ms = to_ms(wait_ns);
	if (r->patience != THROTTLE_ENDLESS) {
		size_t room = t->held_bytes < t->options.hold_bytes ?
				      t->options.hold_bytes - (size_t)t->held_bytes : 0;
		/* One may always wait, or else the largest never would. */
		if (r->cost.bytes > room && t->held_bytes > 0) {
			int64_t room_ns = drain_ns(hop);
			d.reason.by_memory = true;
			d.wait_ms = to_ms(room_ns > wait_ns ? room_ns : wait_ns);
			return refuse_at_once(l, hop, r, d);
		}
		if (wait_ns > patience_ns(t, r->patience)) {
			return refuse_at_once(l, hop, r, d);
		}
	}
	request_add(l, r, now_ns);
	r->hop = l->stand != NULL ? l->stand : hop;
	count_throttled(r->hop, &r->cost);
	more(&r->hop->gauge->held_requests, 1);
	d.verdict = THROTTLE_WAIT;
	return d;
}

/* A lane is ready: pays and tells. */
static void settle_ready(struct throttle *t, int64_t now_ns, throttle_decided_fn *decided, void *arg)
{
	struct throttle_lane *l = t->ready_first;
	struct throttle_request *r = l->first;
	if (!throttle_serve_pay(l, now_ns)) {
		return;
	}
	throttle_lane_hold(l);
	throttle_lane_tally(&l->served, &r->cost);
	int64_t waited_ns = now_ns - r->arrived_ns;
	more(&r->hop->gauge->waited_ns, waited_ns > 0 ? (uint64_t)waited_ns : 0);
	request_unlink(r, now_ns);
	const struct throttle_decision d = {.verdict = THROTTLE_ADMIT};
	decided(arg, r, &d);
	throttle_lane_drop(l);
}

static void refuse_waiting(struct throttle_request *r, int64_t now_ns, throttle_decided_fn *decided,
			   void *arg)
{
	struct throttle_lane *l = r->lane;
	throttle_lane_hold(l);
	request_take_back(r, true, now_ns);
	struct throttle_decision d = {.verdict = THROTTLE_REFUSE};
	int64_t wait_ns;
	(void)worst_hop(l, &r->cost, now_ns, &wait_ns, &d.reason);
	d.wait_ms = to_ms(wait_ns);
	d.wait_ms = d.wait_ms > 0 ? d.wait_ms : 1;
	more(&r->hop->gauge->refused_requests, 1);
	decided(arg, r, &d);
	throttle_lane_drop(l);
}

/* When the oldest of a patience has waited as long as it would. */
static int64_t expires_ns(const struct throttle *t, enum throttle_patience p)
{
	const struct throttle_request *r = t->ages[p].oldest;
	int64_t most_ns = patience_ns(t, p);
	if (r == NULL || most_ns > INT64_MAX - (r->arrived_ns > 0 ? r->arrived_ns : 0)) {
		return INT64_MAX;
	}
	return r->arrived_ns + most_ns;
}

static bool expire(struct throttle *t, int64_t now_ns, throttle_decided_fn *decided, void *arg)
{
	for (unsigned p = 0; p < THROTTLE_ENDLESS; p++) {
		if (expires_ns(t, (enum throttle_patience)p) <= now_ns) {
			refuse_waiting(t->ages[p].oldest, now_ns, decided, arg);
			return true;
		}
	}
	return false;
}

static struct throttle_gauge *gauge_of(struct throttle_node *timer)
{
	return (struct throttle_gauge *)(void *)((char *)timer - offsetof(struct throttle_gauge, timer));
}

int64_t throttle_run(struct throttle *t, int64_t now_ns, throttle_decided_fn *decided, void *arg)
{
	tell_time(t, now_ns);
	while (t->timers.top != NULL && (int64_t)t->timers.top->key <= now_ns) {
		struct throttle_gauge *g = gauge_of(t->timers.top);
		throttle_heap_remove(&t->timers, &g->timer);
		throttle_serve_dirty(t, g);
	}
	for (;;) {
		/* Also when they change meanwhile: a gauge is served by one set of rates. */
		retune(t);
		if (t->ready_first != NULL) {
			settle_ready(t, now_ns, decided, arg);
		} else if (t->dirty_first != NULL) {
			struct throttle_gauge *g = t->dirty_first;
			t->dirty_first = g->dirty_next;
			if (t->dirty_first == NULL) {
				t->dirty_last = NULL;
			}
			g->is_dirty = false;
			throttle_serve_gauge(t, g, now_ns);
			/* Release: see throttle_scope_sweep. */
			atomic_fetch_sub_explicit(&g->scope->pins, 1, memory_order_release);
		} else if (!expire(t, now_ns, decided, arg)) {
			break;
		}
	}
	int64_t next_ns = t->timers.top != NULL ? (int64_t)t->timers.top->key : INT64_MAX;
	for (unsigned p = 0; p < THROTTLE_ENDLESS; p++) {
		int64_t at_ns = expires_ns(t, (enum throttle_patience)p);
		next_ns = at_ns < next_ns ? at_ns : next_ns;
	}
	return next_ns;
}

void throttle_cancel(struct throttle_request *r)
{
	if (!r->is_waiting) {
		return;
	}
	struct throttle_lane *l = r->lane;
	struct throttle *t = l->throttle;
	throttle_lane_hold(l);
	request_take_back(r, false, atomic_load_explicit(&t->clock_ns, memory_order_relaxed));
	throttle_lane_drop(l);
}

void throttle_flush(struct throttle *t, throttle_decided_fn *decided, void *arg)
{
	int64_t now_ns = atomic_load_explicit(&t->clock_ns, memory_order_relaxed);
	for (unsigned p = 0; p <= THROTTLE_ENDLESS; p++) {
		/* Who asks again meanwhile is behind the last of now. */
		struct throttle_request *last = t->ages[p].newest;
		bool is_last = last == NULL;
		while (!is_last && t->ages[p].oldest != NULL) {
			struct throttle_request *r = t->ages[p].oldest;
			is_last = r == last;
			refuse_waiting(r, now_ns, decided, arg);
		}
	}
}
