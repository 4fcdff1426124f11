/* How the first requests of lanes get through their gauges. Scheduler's thread.
 *
 * In each gauge that has a limit a request waits for its turn (the least tag) and for
 * the tokens. Then it passes: it is promised the tokens and goes on to the next gauge.
 * Promises are kept within what the gauge has, so no more requests come through than
 * can be paid. When promises to requests that are stuck further on take up more than
 * half of a burst, whoever would be stuck as well is parked and those whose way is free
 * are let through on the very same tokens: a slow gauge holds up only its own. For each
 * one that leaves the gauge that was in the way, one of those parked because of it is
 * called and may follow. A promise that cannot be kept in the end puts the request back
 * into that gauge, in its old place. */
#include <assert.h>
#include <stddef.h>

#include "throttle/throttle_priv.h"

static struct throttle_hop *hop_of(struct throttle_node *node)
{
	return (struct throttle_hop *)(void *)((char *)node - offsetof(struct throttle_hop, node));
}

void throttle_serve_publish(struct throttle_gauge *g)
{
	size_t n = g->queue.n + g->parked.n + g->behind.n + (g->debt.lane != NULL ? 1 : 0);
	atomic_store_explicit(&g->queued, n < UINT32_MAX ? (uint32_t)n : UINT32_MAX,
			      memory_order_relaxed);
}

static void publish_parked(struct throttle_gauge *g)
{
	size_t n = g->parked.n;
	atomic_store_explicit(&g->n_parked, n < UINT32_MAX ? (uint32_t)n : UINT32_MAX,
			      memory_order_relaxed);
}

void throttle_serve_dirty(struct throttle *t, struct throttle_gauge *g)
{
	if (g->is_dirty) {
		return;
	}
	g->is_dirty = true;
	g->dirty_next = NULL;
	*(t->dirty_last != NULL ? &t->dirty_last->dirty_next : &t->dirty_first) = g;
	t->dirty_last = g;
	atomic_fetch_add_explicit(&g->scope->pins, 1, memory_order_relaxed);
}

/* ---- standing ----------------------------------------------------------------------- */

static void put(struct throttle_hop *hop, struct throttle_heap *h)
{
	if (hop->heap != NULL) {
		throttle_heap_remove(hop->heap, &hop->node);
	}
	if (hop->blocker != NULL) {
		throttle_heap_remove(&hop->blocker->callers, &hop->call);
		hop->blocker = NULL;
		publish_parked(hop->gauge);
	}
	hop->heap = h;
	if (h != NULL) {
		throttle_heap_add(h, &hop->node, hop->tag);
	}
}

static void park(struct throttle_hop *hop, struct throttle_gauge *blocker)
{
	put(hop, &hop->gauge->parked);
	hop->blocker = blocker;
	throttle_heap_add(&blocker->callers, &hop->call, hop->tag);
	publish_parked(hop->gauge);
}

/* There is room in `g`: the first that is parked because of it may follow. */
static void call_one(struct throttle_gauge *g)
{
	if (g->callers.top == NULL) {
		return;
	}
	struct throttle_hop *hop = (struct throttle_hop *)(void *)((char *)g->callers.top -
								   offsetof(struct throttle_hop, call));
	put(hop, &hop->gauge->queue);
	hop->is_called = true;
	throttle_serve_dirty(hop->lane->throttle, hop->gauge);
}

/* What stands in a gauge and, the same, of the flow's. */
static void count_dims(_Atomic uint64_t *n, const struct throttle_cost *cost, bool is_more)
{
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		uint64_t old = atomic_load_explicit(&n[d], memory_order_relaxed);
		uint64_t by = throttle_cost_dim(cost, d);
		atomic_store_explicit(&n[d], is_more ? old + by : old - by, memory_order_relaxed);
	}
}

static uint32_t count_one(_Atomic uint32_t *n, bool is_more)
{
	uint32_t now = atomic_load_explicit(n, memory_order_relaxed) + (is_more ? 1 : UINT32_MAX);
	atomic_store_explicit(n, now, memory_order_relaxed);
	return now;
}

void throttle_serve_count(struct throttle_lane *l, const struct throttle_cost *cost, bool is_more)
{
	l->waiting.bytes += is_more ? cost->bytes : 0 - cost->bytes;
	l->waiting.events += is_more ? cost->events : 0 - cost->events;
	if (l->stand != NULL) {
		count_dims(l->stand->gauge->waiting, cost, is_more);
		count_dims(l->stand->seat->waiting, cost, is_more);
	}
}

void throttle_serve_stand(struct throttle_lane *l, struct throttle_hop *hop)
{
	assert(l->stand == NULL);
	assert(hop->is_tagged);
	struct throttle_gauge *g = hop->gauge;
	l->stand = hop;
	put(hop, &g->queue);
	count_dims(g->waiting, &l->waiting, true);
	count_dims(hop->seat->waiting, &l->waiting, true);
	if (count_one(&hop->seat->standing, true) == 1) {
		(void)count_one(&g->waiting_flows, true);
	}
	throttle_serve_publish(g);
	if (g->queue.top == &hop->node) {
		throttle_serve_dirty(l->throttle, g);
	}
}

static void unstand(struct throttle_lane *l)
{
	struct throttle_hop *hop = l->stand;
	struct throttle_gauge *g = hop->gauge;
	/* Others' turn; and no timer stays behind in an empty gauge. */
	if (hop->heap->top == &hop->node) {
		throttle_serve_dirty(l->throttle, g);
	}
	put(hop, NULL);
	count_dims(g->waiting, &l->waiting, false);
	count_dims(hop->seat->waiting, &l->waiting, false);
	if (count_one(&hop->seat->standing, false) == 0) {
		(void)count_one(&g->waiting_flows, false);
	}
	l->stand = NULL;
	hop->is_called = false;
	throttle_serve_publish(g);
	call_one(g);
	if (g->callers.top != NULL && !throttle_gauge_is_queued(g)) {
		throttle_serve_dirty(l->throttle, g);	/* for the others */
	}
}

void throttle_serve_ready(struct throttle_lane *l)
{
	struct throttle *t = l->throttle;
	assert(!l->is_ready);
	l->is_ready = true;
	l->ready_next = NULL;
	l->ready_prev = t->ready_last;
	*(t->ready_last != NULL ? &t->ready_last->ready_next : &t->ready_first) = l;
	t->ready_last = l;
}

static void unready(struct throttle_lane *l)
{
	struct throttle *t = l->throttle;
	*(l->ready_prev != NULL ? &l->ready_prev->ready_next : &t->ready_first) = l->ready_next;
	*(l->ready_next != NULL ? &l->ready_next->ready_prev : &t->ready_last) = l->ready_prev;
	l->ready_prev = l->ready_next = NULL;
	l->is_ready = false;
}

/* ---- promises -------------------------------------------------------------------------- */

static void pass(struct throttle_hop *hop)
{
	struct throttle_gauge *g = hop->gauge;
	const struct throttle_cost *cost = &hop->lane->first->cost;
	hop->is_passed = true;
	g->promised[THROTTLE_BYTES] += cost->bytes;
	g->promised[THROTTLE_EVENTS] += cost->events;
	throttle_seat_pass(g, hop->tag);
	g->passed = hop->tag - hop->start < THROTTLE_VIRTUAL_LAG ? hop->tag - hop->start : THROTTLE_VIRTUAL_LAG;
}

static void unpass(struct throttle_hop *hop)
{
	if (!hop->is_passed) {
		return;
	}
	struct throttle_gauge *g = hop->gauge;
	const struct throttle_cost *cost = &hop->lane->first->cost;
	hop->is_passed = false;
	g->promised[THROTTLE_BYTES] -= cost->bytes;
	g->promised[THROTTLE_EVENTS] -= cost->events;
	if (g->parked.n > 0) {
		g->unpark = true;
		throttle_serve_dirty(hop->lane->throttle, g);
	}
}

/* Does nobody stand in the gauge, and has it what is asked beside `others`? */
static bool is_open(struct throttle_gauge *g, const struct throttle_cost *cost,
		    const uint64_t *others, int64_t now_ns)
{
	return !throttle_gauge_is_queued(g) && throttle_gauge_has(g, cost, others, now_ns);
}

static bool must_pass(const struct throttle_hop *hop)
{
	return !hop->is_passed && throttle_gauge_is_limited(hop->gauge);
}

void throttle_serve_advance(struct throttle_lane *l, int64_t now_ns)
{
	assert(l->stand == NULL);
	assert(!l->is_ready);
	const struct throttle_cost *cost = &l->first->cost;
	throttle_seat_tag(l);
	for (unsigned i = 0; i < l->n_hops; i++) {
		struct throttle_hop *hop = &l->hops[i];
		if (!hop->is_tagged || !must_pass(hop)) {
			continue;
		}
		if (!is_open(hop->gauge, cost, hop->gauge->promised, now_ns)) {
			throttle_serve_stand(l, hop);
			return;
		}
		pass(hop);
	}
	throttle_serve_ready(l);
}

void throttle_serve_withdraw(struct throttle_lane *l, bool keep)
{
	if (l->stand != NULL) {
		unstand(l);
	}
	if (l->is_ready) {
		unready(l);
	}
	for (unsigned i = 0; i < l->n_hops; i++) {
		unpass(&l->hops[i]);
	}
	throttle_seat_untag(l, keep);
}

/* ---- paying ------------------------------------------------------------------------------ */

/* What was taken of one hop. */
struct taken {
	struct throttle_cost need;
	unsigned dims;
	bool is_large;
};

static bool take_hop(struct throttle_hop *hop, const struct throttle_cost *cost, int64_t now_ns,
		     struct taken *taken)
{
	struct throttle_gauge *g = hop->gauge;
	*taken = (struct taken){0};
	if (!throttle_gauge_is_limited(g)) {
		return true;
	}
	struct throttle_view v;
	throttle_bucket_view(&g->bucket, now_ns, &v);
	taken->need = throttle_gauge_need(&v, cost, &taken->is_large);
	if (taken->is_large && g->debt.lane != NULL) {
		return false;
	}
	return throttle_bucket_take(&g->bucket, &v, &taken->need, &taken->dims);
}

/* All or nothing; NULL: paid, else the hop that lacks something. */
static struct throttle_hop *take_all(struct throttle_lane *l, const struct throttle_cost *cost,
				     int64_t now_ns)
{
	struct taken taken[THROTTLE_KINDS];
	for (unsigned i = 0; i < l->n_hops; i++) {
		if (take_hop(&l->hops[i], cost, now_ns, &taken[i])) {
			continue;
		}
		for (unsigned k = 0; k < i; k++) {
			throttle_bucket_give(&l->hops[k].gauge->bucket, &taken[k].need, taken[k].dims);
		}
		return &l->hops[i];
	}
	for (unsigned i = 0; i < l->n_hops; i++) {
		if (taken[i].is_large) {
			throttle_debt_begin(&l->hops[i], cost, &taken[i].need);
		}
	}
	return NULL;
}

bool throttle_serve_take(struct throttle_lane *l, const struct throttle_cost *cost, int64_t now_ns)
{
	for (unsigned i = 0; i < l->n_hops; i++) {
		struct throttle_gauge *g = l->hops[i].gauge;
		if (throttle_gauge_is_limited(g) && throttle_gauge_is_queued(g)) {
			return false;
		}
	}
	return take_all(l, cost, now_ns) == NULL;
}

bool throttle_serve_pay(struct throttle_lane *l, int64_t now_ns)
{
	assert(l->is_ready);
	unready(l);
	for (unsigned i = 0; i < l->n_hops; i++) {
		if (must_pass(&l->hops[i])) {
			/* Its limit is new. */
			throttle_serve_advance(l, now_ns);
			return false;
		}
	}
	struct throttle_hop *lacking = take_all(l, &l->first->cost, now_ns);
	if (lacking != NULL) {
		throttle_seat_tag(l);
		if (!lacking->is_tagged) {
			/* A limit came and went in between. */
			throttle_serve_advance(l, now_ns);
			return false;
		}
		unpass(lacking);
		throttle_serve_stand(l, lacking);
		return false;
	}
	for (unsigned i = 0; i < l->n_hops; i++) {
		unpass(&l->hops[i]);
		l->hops[i].is_tagged = false;
	}
	return true;
}

/* ---- a gauge's turn ------------------------------------------------------------------------ */

static void set_timer(struct throttle *t, struct throttle_gauge *g, int64_t at_ns)
{
	if (g->timer.is_in) {
		throttle_heap_remove(&t->timers, &g->timer);
	}
	if (at_ns != INT64_MAX) {
		throttle_heap_add(&t->timers, &g->timer, (uint64_t)at_ns);
	}
}

/* When `cost` beside `others` is there; INT64_MAX: never by waiting alone. Never a time
 * that has come, which would spin. */
static int64_t ready_ns(struct throttle_gauge *g, const struct throttle_cost *cost,
			const uint64_t *others, int64_t now_ns)
{
	struct throttle_view v;
	throttle_bucket_view(&g->bucket, now_ns, &v);
	bool is_large;
	struct throttle_cost need = throttle_gauge_need(&v, cost, &is_large);
	if (others != NULL) {
		need.bytes += need.bytes > 0 ? others[THROTTLE_BYTES] : 0;
		need.events += need.events > 0 ? others[THROTTLE_EVENTS] : 0;
	}
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		if (v.rate[d] != 0 && throttle_cost_dim(&need, d) > v.rate[d]) {
			return INT64_MAX;
		}
	}
	int64_t at_ns = throttle_bucket_ready(&g->bucket, &need, now_ns);
	return at_ns > now_ns ? at_ns : now_ns + 1;
}

/* The first of a heap, if its turn is before that of `other`. */
static struct throttle_hop *first_before(const struct throttle_heap *h, const struct throttle_hop *other)
{
	struct throttle_hop *hop = h->top != NULL ? hop_of(h->top) : NULL;
	return hop != NULL && (other == NULL || (int64_t)(hop->tag - other->tag) <= 0) ? hop : NULL;
}

/* The first in the queue of those that may go: others are put behind a debt, and come
 * back one by one, in their old places, when it is paid. */
static struct throttle_hop *first_of_queue(struct throttle_gauge *g)
{
	for (;;) {
		struct throttle_hop *top = first_before(&g->queue, NULL);
		if (g->debt.lane == NULL) {
			struct throttle_hop *back = first_before(&g->behind, top);
			if (back != NULL) {
				put(back, &g->queue);
				return back;
			}
			return top;
		}
		if (top == NULL || !throttle_debt_blocks(g, top)) {
			return top;
		}
		put(top, &g->behind);
	}
}

/* Where others stand that it would have to wait behind, were it let through here; NULL:
 * its way is free. */
static struct throttle_gauge *blocker_beyond(const struct throttle_hop *hop)
{
	struct throttle_lane *l = hop->lane;
	for (unsigned i = 0; i < l->n_hops; i++) {
		struct throttle_hop *other = &l->hops[i];
		if (other != hop && must_pass(other) && throttle_gauge_is_queued(other->gauge)) {
			return other->gauge;
		}
	}
	return NULL;
}

static void let_through(struct throttle_hop *hop, int64_t now_ns)
{
	struct throttle_lane *l = hop->lane;
	unstand(l);
	pass(hop);
	throttle_serve_advance(l, now_ns);
}

/* The limit is gone. */
static void let_all_through(struct throttle *t, struct throttle_gauge *g, int64_t now_ns)
{
	struct throttle_heap *const heaps[] = {&g->queue, &g->behind, &g->parked};
	for (size_t i = 0; i < sizeof heaps / sizeof *heaps; i++) {
		while (heaps[i]->top != NULL && !throttle_gauge_is_limited(g)) {
			struct throttle_lane *l = hop_of(heaps[i]->top)->lane;
			unstand(l);
			throttle_serve_advance(l, now_ns);
		}
	}
	if (throttle_gauge_is_limited(g)) {
		throttle_serve_dirty(t, g);	/* it has come back meanwhile */
		return;
	}
	throttle_debt_end(g);
	while (g->callers.top != NULL) {
		call_one(g);
	}
	set_timer(t, g, INT64_MAX);
}

/* What of the promises others may not use even where their way is free: all of them up
 * to half of the burst, as far as that leaves room for the request. */
static void reserve(const struct throttle_gauge *g, const struct throttle_cost *cost, uint64_t *beside)
{
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		uint64_t rate = g->tuned[d];
		uint64_t n = throttle_cost_dim(cost, d);
		uint64_t room = n < rate ? rate - n : 0;
		room = room < rate / 2 ? room : rate / 2;
		beside[d] = g->promised[d] < room ? g->promised[d] : room;
	}
}

/* Looks again when `top` can go, or before it one that is parked. */
static void wait_for_time(struct throttle *t, struct throttle_gauge *g, const struct throttle_hop *top,
			  const struct throttle_hop *parked, int64_t now_ns)
{
	int64_t at_ns = INT64_MAX;
	if (top != NULL) {
		uint64_t beside[THROTTLE_DIMS];
		reserve(g, &top->lane->first->cost, beside);
		at_ns = ready_ns(g, &top->lane->first->cost, beside, now_ns);
	}
	if (parked != NULL) {
		int64_t parked_ns = ready_ns(g, &parked->lane->first->cost, g->promised, now_ns);
		at_ns = parked_ns < at_ns ? parked_ns : at_ns;
	}
	set_timer(t, g, at_ns);
}

/* One step of throttle_serve_gauge; false: nothing more can go now. */
static bool serve_one(struct throttle *t, struct throttle_gauge *g, int64_t now_ns)
{
	if (g->unpark && g->parked.top != NULL) {
		/* Its way may have become free. */
		put(hop_of(g->parked.top), &g->queue);
	}
	g->unpark = false;
	struct throttle_hop *top = first_of_queue(g);
	if (g->debt.lane != NULL && (top == NULL || (int64_t)(top->tag - g->debt.tag) >= 0)) {
		if (throttle_debt_pay(g, now_ns)) {
			return true;
		}
		struct throttle_cost piece = throttle_debt_piece(g);
		set_timer(t, g, ready_ns(g, &piece, NULL, now_ns));
		return false;
	}
	struct throttle_hop *parked = first_before(&g->parked, top);
	if (parked != NULL && throttle_gauge_has(g, &parked->lane->first->cost, g->promised, now_ns)) {
		let_through(parked, now_ns);
		return true;
	}
	if (top == NULL) {
		wait_for_time(t, g, top, parked, now_ns);
		return false;
	}
	const struct throttle_cost *cost = &top->lane->first->cost;
	uint64_t beside[THROTTLE_DIMS];
	reserve(g, cost, beside);
	if (!throttle_gauge_has(g, cost, beside, now_ns)) {
		wait_for_time(t, g, top, parked, now_ns);
		return false;
	}
	struct throttle_gauge *blocker = top->is_called ? NULL : blocker_beyond(top);
	if (blocker == NULL || throttle_gauge_has(g, cost, g->promised, now_ns)) {
		let_through(top, now_ns);
	} else {
		park(top, blocker);
	}
	return true;
}

void throttle_serve_gauge(struct throttle *t, struct throttle_gauge *g, int64_t now_ns)
{
	throttle_seat_tune(t, g);
	if (!throttle_gauge_is_limited(g)) {
		let_all_through(t, g, now_ns);
		return;
	}
	while (t->ready_first == NULL) {
		if (serve_one(t, g, now_ns)) {
			continue;
		}
		if (g->callers.top != NULL && !throttle_gauge_is_queued(g)) {
			/* Whoever was called last cannot come yet. */
			call_one(g);
			throttle_serve_dirty(t, g);
		}
		return;
	}
	/* What is ready is paid for before others look at the same tokens. */
	throttle_serve_dirty(t, g);
}
