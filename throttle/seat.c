/* Virtual time: in which order the flows of a gauge are served. Scheduler's thread.
 *
 * Self-clocked fair queueing (Golestani 1994): a request begins where its flow's last
 * one ended, or now, and ends its part of the rate later; the least end goes first,
 * and the end of what went last is the gauge's time. A flow that was idle begins now,
 * so it saves nothing up; one that asks for much ends late, so it hurts nobody. */
#include "throttle/throttle_priv.h"

static bool is_after(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) > 0;
}

/* `most` at most. */
static uint64_t part_of(const uint64_t *rate, const struct throttle_cost *cost, uint64_t most)
{
	uint64_t part = 0;
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		if (rate[d] == 0) {
			continue;
		}
		throttle_wide p = ((throttle_wide)throttle_cost_dim(cost, d) *
				   (uint64_t)THROTTLE_SECOND_NS << THROTTLE_VIRTUAL_SHIFT) / rate[d];
		uint64_t bounded = p < most ? (uint64_t)p : most;
		part = bounded > part ? bounded : part;
	}
	return part;
}

uint64_t throttle_seat_part(const uint64_t *rate, const struct throttle_cost *cost)
{
	return part_of(rate, cost, THROTTLE_VIRTUAL_SECOND);
}

void throttle_seat_tune(struct throttle *t, struct throttle_gauge *g)
{
	if (g->tuned_version == t->tuned_version) {
		return;
	}
	g->tuned_version = t->tuned_version;
	bool is_changed = false;
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		uint64_t rate = atomic_load_explicit(&g->bucket.rate[d], memory_order_acquire);
		is_changed = is_changed || rate != g->tuned[d];
		g->was_tuned[d] = g->tuned[d];
		g->tuned[d] = rate;
	}
	g->epoch += is_changed ? 1 : 0;
	g->largest = is_changed ? 0 : g->largest;
}

/* The hop's seat, its times brought up to date. A flow that was away for no longer than
 * its last request took goes on where it was: clients that pause between an answer and
 * their next request would otherwise lose that time. One that was away for twice as
 * long was idle. A lane whose requests waited all the while, only elsewhere, is not
 * idle: others' largest requests, too, may have come before its own meanwhile. */
static struct throttle_seat *seat_of(struct throttle_hop *hop, bool is_busy)
{
	struct throttle_gauge *g = hop->gauge;
	struct throttle_seat *s = hop->seat;
	throttle_seat_tune(hop->lane->throttle, g);
	if (s->epoch != g->epoch) {
		s->epoch = g->epoch;
		s->finish = g->virtual;
		s->place_size = 0;
		s->last_part = 0;
	}
	uint64_t lag = is_busy && g->largest > s->last_part ? g->largest : s->last_part;
	int64_t ahead = (int64_t)(s->finish - g->virtual);
	uint64_t first = is_busy ? 0 : 1;	/* before those whose turn is due at the same time */
	if (!is_busy && ahead < -2 * (int64_t)lag) {
		if (ahead < -(int64_t)g->passed) {
			s->finish = g->virtual - g->passed - first;
		}
	} else if (ahead > (int64_t)THROTTLE_VIRTUAL_AHEAD) {
		s->finish = g->virtual;
	} else if (ahead < -(int64_t)lag) {
		s->finish = g->virtual - lag - first;
	}
	return s;
}

/* How far back a kept place reaches. */
static uint64_t credit_of(const struct throttle_gauge *g, const struct throttle_seat *s)
{
	if (s->place_size == 0 || !is_after(g->virtual, s->place)) {
		return 0;
	}
	uint64_t back = g->virtual - s->place;
	return back < s->place_size ? back : s->place_size;
}

uint64_t throttle_seat_credit(const struct throttle_hop *hop)
{
	const struct throttle_seat *s = hop->seat;
	return s->epoch == hop->gauge->epoch ? credit_of(hop->gauge, s) : 0;
}

/* Follows the largest part of a request, at once upwards, slowly downwards. */
static void note_part(struct throttle_gauge *g, uint64_t part)
{
	part = part < THROTTLE_VIRTUAL_LAG ? part : THROTTLE_VIRTUAL_LAG;
	g->largest = part > g->largest ? part : g->largest - (g->largest - part) / 256;
}

void throttle_seat_tag(struct throttle_lane *l)
{
	/* Whoever arrives just now was not waiting before. */
	bool is_busy = l->first->arrived_ns < atomic_load_explicit(&l->throttle->clock_ns,
								   memory_order_relaxed);
	for (unsigned i = 0; i < l->n_hops; i++) {
		struct throttle_hop *hop = &l->hops[i];
		if (hop->is_tagged || !throttle_gauge_is_limited(hop->gauge)) {
			continue;
		}
		struct throttle_gauge *g = hop->gauge;
		struct throttle_seat *s = seat_of(hop, is_busy);
		hop->start = s->finish;
		if (s->place_size != 0) {
			/* Only who has nothing else waiting begins where it was refused. */
			uint64_t place = g->virtual - credit_of(g, s);
			if (!is_after(s->finish, g->virtual) && is_after(hop->start, place)) {
				hop->start = place;
			}
			s->place_size = 0;
		}
		s->last_part = throttle_seat_part(g->tuned, &l->first->cost);
		note_part(g, s->last_part);
		hop->tag = hop->start + s->last_part;
		hop->is_tagged = true;
		s->finish = hop->tag;
	}
}

static void keep_place(struct throttle_seat *s, uint64_t start, uint64_t size)
{
	if (s->place_size == 0 || is_after(s->place, start)) {
		s->place = start;
	}
	s->place_size = size > s->place_size ? size : s->place_size;
}

void throttle_seat_untag(struct throttle_lane *l, bool keep)
{
	for (unsigned i = 0; i < l->n_hops; i++) {
		struct throttle_hop *hop = &l->hops[i];
		if (!hop->is_tagged) {
			continue;
		}
		hop->is_tagged = false;
		struct throttle_seat *s = hop->seat;
		uint64_t size = hop->tag - hop->start;
		if (s->epoch == hop->gauge->epoch) {
			s->finish = s->finish == hop->tag ? hop->start : s->finish - size;
		}
		if (keep) {
			s = seat_of(hop, false);
			keep_place(s, hop->start, size);
		}
	}
}

void throttle_seat_keep(struct throttle_hop *hop, const struct throttle_cost *cost)
{
	struct throttle_seat *s = seat_of(hop, false);
	keep_place(s, s->finish, throttle_seat_part(hop->gauge->tuned, cost));
}

void throttle_seat_pass(struct throttle_gauge *g, uint64_t tag)
{
	if (is_after(tag, g->virtual)) {
		g->virtual = tag;
	}
}

void throttle_seat_owe(struct throttle_hop *hop, const struct throttle_cost *left)
{
	struct throttle_seat *s = seat_of(hop, false);
	s->finish += part_of(hop->gauge->tuned, left, THROTTLE_VIRTUAL_AHEAD / 4);
}

void throttle_seat_rescale(struct throttle_hop *hop, const struct throttle_cost *cost)
{
	struct throttle_gauge *g = hop->gauge;
	struct throttle_seat *s = seat_of(hop, false);
	uint64_t was = throttle_seat_part(g->was_tuned, cost);
	uint64_t is = throttle_seat_part(g->tuned, cost);
	if (was > 0 && is > 0) {
		/* As much of it is still to come, in parts of the new rate. */
		double ahead = (double)(int64_t)(hop->tag - g->virtual);
		double scaled = ahead * ((double)is / (double)was);
		double bound = (double)THROTTLE_VIRTUAL_AHEAD;
		scaled = scaled > bound ? bound : scaled < -bound ? -bound : scaled;
		hop->tag = g->virtual + (uint64_t)(int64_t)scaled;
	}
	hop->start = hop->tag - is;
	if (is_after(hop->tag, s->finish)) {
		s->finish = hop->tag;
	}
}
