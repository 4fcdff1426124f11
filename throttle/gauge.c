/* What can be said of a gauge without changing it. Any thread. */
#include "throttle/throttle_priv.h"

struct throttle_cost throttle_gauge_need(const struct throttle_view *v,
					 const struct throttle_cost *cost, bool *is_large)
{
	struct throttle_cost need = *cost;
	*is_large = false;
	if (v->rate[THROTTLE_BYTES] != 0 && cost->bytes > v->rate[THROTTLE_BYTES]) {
		need.bytes = v->rate[THROTTLE_BYTES];
		*is_large = true;
	}
	if (v->rate[THROTTLE_EVENTS] != 0 && cost->events > v->rate[THROTTLE_EVENTS]) {
		need.events = v->rate[THROTTLE_EVENTS];
		*is_large = true;
	}
	return need;
}

bool throttle_gauge_has(struct throttle_gauge *g, const struct throttle_cost *cost,
			const uint64_t *beside, int64_t now_ns)
{
	struct throttle_view v;
	throttle_bucket_view(&g->bucket, now_ns, &v);
	bool is_large;
	struct throttle_cost need = throttle_gauge_need(&v, cost, &is_large);
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		uint64_t n = throttle_cost_dim(&need, d);
		if (v.rate[d] == 0 || n == 0) {
			continue;
		}
		uint64_t level = throttle_bucket_level(&g->bucket, &v, d);
		uint64_t others = beside != NULL ? beside[d] : 0;
		/* Each compared by itself: their sum might wrap. */
		if (throttle_parts(d, n) > level || others > v.rate[d] ||
		    throttle_parts(d, others) > level - throttle_parts(d, n)) {
			return false;
		}
	}
	return true;
}

/* How long until dimension d has room for n when others wait. */
static int64_t queued_ns(const struct throttle_hop *hop, const struct throttle_view *v, unsigned d,
			 uint64_t n, bool is_large, uint64_t credit)
{
	struct throttle_gauge *g = hop->gauge;
	struct throttle_seat *s = hop->seat;
	uint64_t owed = atomic_load_explicit(&g->owed[d], memory_order_relaxed);
	uint64_t own_debt = atomic_load_explicit(&s->owed[d], memory_order_relaxed);
	uint64_t all = atomic_load_explicit(&g->waiting[d], memory_order_relaxed) + owed;
	uint64_t own = atomic_load_explicit(&s->waiting[d], memory_order_relaxed) + own_debt;
	/* Those that stand, the debtor, and this one. */
	uint64_t flows = throttle_gauge_flows(g);
	flows += owed > 0 && own_debt == 0 ? 1 : 0;
	flows += atomic_load_explicit(&s->standing, memory_order_relaxed) == 0 ? 1 : 0;
	/* Those ahead are no more than all that wait, and no more than as much of each
	 * flow as this one will have asked for. */
	throttle_wide saved = ((throttle_wide)credit * v->rate[d] / (uint64_t)THROTTLE_SECOND_NS) >>
			      THROTTLE_VIRTUAL_SHIFT;
	throttle_wide mine = (throttle_wide)own + n;
	mine = (mine > saved ? mine - saved : 0) * flows;
	throttle_wide ahead = (throttle_wide)all + n;
	ahead = mine < ahead ? mine : ahead;
	/* There is one debtor at a time, and it comes back when it has paid. */
	throttle_wide debt = is_large ? (throttle_wide)owed * flows : own_debt;
	throttle_wide least = (debt < all ? debt : all) + (throttle_wide)n;
	ahead = (ahead > least ? ahead : least) * throttle_parts(d, 1);
	uint64_t level = throttle_bucket_level(&g->bucket, v, d);
	if (ahead <= level) {
		return 0;
	}
	uint64_t rate = throttle_parts(d, v->rate[d]);
	throttle_wide ns = ((ahead - level) * (uint64_t)THROTTLE_SECOND_NS + rate - 1) / rate;
	return ns < INT64_MAX ? (int64_t)ns : INT64_MAX;
}

int64_t throttle_gauge_estimate(const struct throttle_hop *hop, const struct throttle_cost *cost,
				uint64_t credit, int64_t now_ns, struct throttle_reason *why)
{
	struct throttle_gauge *g = hop->gauge;
	struct throttle_view v;
	throttle_bucket_view(&g->bucket, now_ns, &v);
	bool is_large;
	struct throttle_cost need = throttle_gauge_need(&v, cost, &is_large);
	bool is_queued = throttle_gauge_is_queued(g);
	*why = (struct throttle_reason){.kind = g->scope->kind, .direction = g->direction};
	int64_t worst_ns = -1;
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		if (v.rate[d] == 0) {
			continue;
		}
		uint64_t n = throttle_cost_dim(&need, d);
		int64_t ns = 0;
		if (is_queued) {
			ns = queued_ns(hop, &v, d, n, is_large, credit);
		} else {
			const struct throttle_cost one = {d == THROTTLE_BYTES ? n : 0,
							  d == THROTTLE_EVENTS ? n : 0};
			ns = throttle_bucket_ready(&g->bucket, &one, now_ns) - now_ns;
		}
		if (ns > worst_ns) {
			worst_ns = ns;
			why->by_events = d == THROTTLE_EVENTS;
			why->rate = v.rate[d];
		}
	}
	return worst_ns > 0 ? worst_ns : 0;
}
