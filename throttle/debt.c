/* Requests larger than a burst: what is beyond it is owed, and paid in pieces that take
 * turns with others' requests. One debtor at a time in a gauge; its own next requests
 * wait. Scheduler's thread. */
#include <assert.h>

#include "throttle/throttle_priv.h"

static void owe(struct throttle_gauge *g, const struct throttle_cost *left)
{
	g->debt.left = *left;
	for (unsigned d = 0; d < THROTTLE_DIMS; d++) {
		uint64_t n = throttle_cost_dim(left, d);
		atomic_store_explicit(&g->owed[d], n, memory_order_relaxed);
		atomic_store_explicit(&g->debt.seat->owed[d], n, memory_order_relaxed);
	}
}

struct throttle_cost throttle_debt_piece(const struct throttle_gauge *g)
{
	struct throttle_cost piece = g->debt.left;
	uint64_t bytes = g->tuned[THROTTLE_BYTES] / THROTTLE_PIECES;
	uint64_t events = g->tuned[THROTTLE_EVENTS] / THROTTLE_PIECES;
	bytes = bytes > 0 ? bytes : 1;
	events = events > 0 ? events : 1;
	if (g->tuned[THROTTLE_BYTES] != 0 && piece.bytes > bytes) {
		piece.bytes = bytes;
	}
	if (g->tuned[THROTTLE_EVENTS] != 0 && piece.events > events) {
		piece.events = events;
	}
	return piece;
}

/* The next piece ends one piece later than the last one, or than now. */
static void tag_piece(struct throttle_gauge *g)
{
	struct throttle_cost piece = throttle_debt_piece(g);
	uint64_t from = (int64_t)(g->debt.tag - g->virtual) > 0 ? g->debt.tag : g->virtual;
	g->debt.tag = from + throttle_seat_part(g->tuned, &piece);
}

void throttle_debt_begin(struct throttle_hop *hop, const struct throttle_cost *cost,
			 const struct throttle_cost *need)
{
	struct throttle_gauge *g = hop->gauge;
	struct throttle_cost left = {cost->bytes - need->bytes, cost->events - need->events};
	assert(g->debt.lane == NULL);
	throttle_seat_tune(hop->lane->throttle, g);
	g->debt.lane = hop->lane;
	g->debt.seat = hop->seat;
	throttle_lane_hold(hop->lane);
	owe(g, &left);
	g->debt.tag = g->virtual;
	tag_piece(g);
	throttle_seat_owe(hop, &left);
	throttle_serve_publish(g);
	throttle_serve_dirty(hop->lane->throttle, g);
}

void throttle_debt_end(struct throttle_gauge *g)
{
	struct throttle_lane *l = g->debt.lane;
	if (l == NULL) {
		return;
	}
	owe(g, &(struct throttle_cost){0});
	g->debt.lane = NULL;
	g->debt.seat = NULL;
	throttle_serve_publish(g);
	throttle_lane_drop(l);
}

bool throttle_debt_pay(struct throttle_gauge *g, int64_t now_ns)
{
	struct throttle_cost piece = throttle_debt_piece(g);
	struct throttle_view v;
	unsigned dims;
	throttle_bucket_view(&g->bucket, now_ns, &v);
	if (!throttle_bucket_take(&g->bucket, &v, &piece, &dims)) {
		return false;
	}
	throttle_seat_pass(g, g->debt.tag);
	struct throttle_cost left = {g->debt.left.bytes - piece.bytes,
				     g->debt.left.events - piece.events};
	if (left.bytes == 0 && left.events == 0) {
		throttle_debt_end(g);
	} else {
		owe(g, &left);
		tag_piece(g);
	}
	return true;
}

bool throttle_debt_blocks(const struct throttle_gauge *g, const struct throttle_hop *hop)
{
	if (g->debt.lane == NULL) {
		return false;
	}
	const struct throttle_cost *cost = &hop->lane->first->cost;
	return hop->seat == g->debt.seat ||
	       (g->tuned[THROTTLE_BYTES] != 0 && cost->bytes > g->tuned[THROTTLE_BYTES]) ||
	       (g->tuned[THROTTLE_EVENTS] != 0 && cost->events > g->tuned[THROTTLE_EVENTS]);
}
