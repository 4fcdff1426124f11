/* Lists of scopes with their figures, under the registry's lock. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "throttle/throttle_priv.h"

static uint64_t load(_Atomic uint64_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static bool is_listed(const struct throttle *t, struct throttle_scope *s)
{
	return s == t->space || throttle_gauge_is_limited(&s->gauges[THROTTLE_IN]) ||
	       throttle_gauge_is_limited(&s->gauges[THROTTLE_OUT]);
}

/* Counters of lists never go down, although some of what was admitted is given back. */
static void show(uint64_t *shown, uint64_t n)
{
	*shown = n > *shown ? n : *shown;
}

static void fill_gauge(struct throttle_gauge *g, struct throttle_scope_info *info)
{
	struct throttle_figures *f = &info->figures[g->direction];
	*f = (struct throttle_figures){
		.admitted_requests = g->shown.requests,
		.admitted_bytes = g->shown.bytes,
		.admitted_events = g->shown.events,
		.held_requests = load(&g->held_requests),
		.refused_requests = load(&g->refused_requests),
		.throttled_bytes = load(&g->throttled_bytes),
		.throttled_events = load(&g->throttled_events),
		.waited_ns = load(&g->waited_ns),
	};
	info->limit.rate[g->direction] = (struct throttle_rate){
		load(&g->bucket.rate[THROTTLE_BYTES]), load(&g->bucket.rate[THROTTLE_EVENTS])};
	info->waiting_flows[g->direction] =
		atomic_load_explicit(&g->waiting_flows, memory_order_relaxed);
	info->waiting_bytes[g->direction] = load(&g->waiting[THROTTLE_BYTES]);
}

static void find_worst(struct throttle_scope *s, bool begin_anew, struct throttle_scope_info *info)
{
	uint64_t all = 0;
	uint64_t most = 0;
	const char *label = "";
	for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
		struct throttle_gauge *g = &s->gauges[d];
		all += begin_anew ? atomic_exchange_explicit(&g->throttled, 0, memory_order_relaxed) :
				    load(&g->throttled);
		if (g->gone_throttled > most) {
			most = g->gone_throttled;
			label = g->gone_label;
		}
		g->gone_throttled = begin_anew ? 0 : g->gone_throttled;
	}
	for (struct throttle_seat *seat = s->seats; seat != NULL; seat = seat->next) {
		uint64_t n = begin_anew ?
				     atomic_exchange_explicit(&seat->throttled, 0, memory_order_relaxed) :
				     load(&seat->throttled);
		if (n > most) {
			most = n;
			label = seat->flow->label;
		}
	}
	(void)snprintf(info->worst, sizeof info->worst, "%s", label);
	all = all > most ? all : most;
	info->worst_percent = all > 0 ? (uint32_t)(most * 100 / all) : 0;
}

/* Lanes know what was admitted; scopes are their sums. */
static void sum_lanes(struct throttle *t)
{
	for (struct throttle_scope *s = t->all_scopes; s != NULL; s = s->next) {
		for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
			s->gauges[d].summed = s->gauges[d].folded;
		}
	}
	for (struct throttle_lane *l = t->lanes; l != NULL; l = l->next) {
		struct throttle_sum sum = {0};
		throttle_lane_sum(l, &sum);
		for (unsigned i = 0; i < l->n_hops; i++) {
			struct throttle_sum *to = &l->hops[i].gauge->summed;
			to->requests += sum.requests;
			to->bytes += sum.bytes;
			to->events += sum.events;
		}
	}
	for (struct throttle_scope *s = t->all_scopes; s != NULL; s = s->next) {
		for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
			struct throttle_gauge *g = &s->gauges[d];
			show(&g->shown.requests, g->summed.requests);
			show(&g->shown.bytes, g->summed.bytes);
			show(&g->shown.events, g->summed.events);
		}
	}
}

static void fill_scope(struct throttle_scope *s, bool begin_anew, struct throttle_scope_info *info)
{
	*info = (struct throttle_scope_info){.kind = s->kind};
	(void)snprintf(info->name, sizeof info->name, "%s", s->name);
	for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
		fill_gauge(&s->gauges[d], info);
	}
	find_worst(s, begin_anew, info);
}

enum err throttle_list(struct throttle *t, bool begin_anew, struct throttle_scope_info **out, size_t *n)
{
	lock_take(&t->lock);
	throttle_lane_reap(t);
	throttle_scope_sweep(t, false);
	size_t count = 0;
	for (struct throttle_scope *s = t->all_scopes; s != NULL; s = s->next) {
		count += is_listed(t, s) ? 1 : 0;
	}
	struct throttle_scope_info *list = mem_calloc(count, sizeof *list);
	if (list == NULL) {
		lock_give(&t->lock);
		return ERR_NOMEM;
	}
	sum_lanes(t);
	fill_scope(t->space, begin_anew, &list[0]);
	size_t at = 1;
	for (struct throttle_scope *s = t->all_scopes; s != NULL; s = s->next) {
		if (s != t->space && is_listed(t, s)) {
			fill_scope(s, begin_anew, &list[at++]);
		}
	}
	lock_give(&t->lock);
	*out = list;
	*n = count;
	return ERR_OK;
}
