#include "gateway/core/lanes.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

/* ---- one lane --------------------------------------------------------------------- */

struct core_lane *core_lane_hold(struct core_lane *l)
{
	/* Relaxed: whoever holds has a reference already. */
	atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

void core_lane_drop(struct core_lane **lp)
{
	struct core_lane *l = *lp;
	*lp = NULL;
	if (l == NULL || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1) {
		return;
	}
	assert(l->first == NULL);
	throttle_lane_close(&l->way);
	mem_free(l);
}

void core_lane_defer(struct core_lane *l)
{
	throttle_defer(l->way);
	(void)core_lane_hold(l);
	atomic_fetch_add_explicit(&l->deferred, 1, memory_order_relaxed);
}

bool core_lane_settle(struct core_lane *l)
{
	throttle_settle(l->way);
	/* Release: who sees none deferred sees what became of them. */
	return atomic_fetch_sub_explicit(&l->deferred, 1, memory_order_acq_rel) == 1;
}

struct throttle_rate core_lane_share(const struct core_lane *l)
{
	return l != NULL ? throttle_share(l->way) : (struct throttle_rate){UINT64_MAX, UINT64_MAX};
}

int64_t core_lane_estimate_ns(const struct core_lane *l, const struct throttle_cost *cost)
{
	return l != NULL ? throttle_estimate(l->way, cost, clock_mono_ns()) : 0;
}

static enum err lane_open(const struct core_lanes *l, int64_t partition, struct core_lane **out)
{
	struct core_lane *lane = MEM_NEW(struct core_lane);
	if (lane == NULL) {
		return ERR_NOMEM;
	}
	const struct throttle_place place = {
		.hub_id = l->hub_id,
		.hub = l->hub,
		.partition = partition,
		.policy = l->policy,
		.client = l->client,
		.publisher = l->publisher,
	};
	enum err e = throttle_lane_open(l->flow, l->direction, &place, &lane->way);
	if (e != ERR_OK) {
		mem_free(lane);
		return e;
	}
	atomic_init(&lane->refs, 1);
	atomic_init(&lane->deferred, 0);
	*out = lane;
	return ERR_OK;
}

/* ---- the lanes of one sender or reader --------------------------------------------- */

/* *out stays NULL for no text; ids longer than any rule's name are cut. */
static bool keep(char **out, const char *prefix, const char *text)
{
	if (text == NULL || text[0] == '\0') {
		return true;
	}
	struct str all = {0};
	if (prefix[0] != '\0') {
		str_printf(&all, "%s/", prefix);
	}
	str_addn(&all, text, strnlen(text, THROTTLE_NAME_MAX - 1));
	if (all.bad) {
		str_fini(&all);
		return false;
	}
	if (all.len >= THROTTLE_NAME_MAX) {
		all.p[THROTTLE_NAME_MAX - 1] = '\0';
	}
	*out = all.p;
	return true;
}

enum err core_lanes_open(struct core_lanes *l, const struct core_client *client,
			 enum throttle_direction d, const struct catalog_hub *hub,
			 int64_t partition, const char *publisher)
{
	if (client == NULL || client->flow == NULL) {
		return ERR_OK;
	}
	l->direction = d;
	l->hub_id = hub->id;
	l->is_fixed = partition >= 0;
	const char *policy_hub = client->policy_hub != NULL ? client->policy_hub : "";
	enum err e = keep(&l->hub, "", hub->name) && keep(&l->policy, policy_hub, client->policy) &&
				     keep(&l->client, "", client->client_id) &&
				     keep(&l->publisher, "", publisher)
			     ? ERR_OK
			     : ERR_NOMEM;
	if (e == ERR_OK) {
		l->flow = client->flow;
		e = lane_open(l, partition, &l->whole);
	}
	if (e != ERR_OK) {
		core_lanes_close(l);
	}
	return e;
}

void core_lanes_close(struct core_lanes *l)
{
	core_lane_drop(&l->whole);
	for (uint32_t i = 0; i < l->n_parts; i++) {
		core_lane_drop(&l->part[i]);
	}
	mem_free(l->part);
	mem_free(l->hub);
	mem_free(l->policy);
	mem_free(l->client);
	mem_free(l->publisher);
	*l = (struct core_lanes){0};
}

/* Gives up lanes of partitions of which nothing waits. */
static void drop_quiet(struct core_lanes *l)
{
	for (uint32_t i = 0; i < l->n_parts; i++) {
		if (l->part[i] != NULL && core_lane_is_quiet(l->part[i])) {
			core_lane_drop(&l->part[i]);
			l->n_open--;
		}
	}
}

/* The same; true: all are gone. */
static bool drop_parts(struct core_lanes *l)
{
	drop_quiet(l);
	if (l->n_open == 0) {
		mem_free(l->part);
		l->part = NULL;
		l->n_parts = 0;
	}
	return l->n_open == 0;
}

void core_lanes_refresh(struct core_lanes *l, const struct catalog *cat)
{
	if (l->flow == NULL || l->is_fixed) {
		return;
	}
	const enum catalog_limit_kind kind = CATALOG_LIMIT_PARTITION;
	bool is_covered = cat->n_limits != 0 &&
			  (catalog_limit_find(cat, kind, span_str(l->hub)) != NULL ||
			   catalog_limit_find(cat, kind, span_str("*")) != NULL);
	if (!l->is_split) {
		l->is_split = drop_parts(l) && is_covered;
	} else if (!is_covered && core_lane_is_quiet(l->whole)) {
		l->is_split = false;
	}
}

static enum err part_lane(struct core_lanes *l, uint32_t partition, struct core_lane **out)
{
	if (partition >= l->n_parts) {
		uint32_t n = partition + 1;
		struct core_lane **part = mem_realloc(l->part, n * sizeof *part);
		if (part == NULL) {
			return ERR_NOMEM;
		}
		memset(part + l->n_parts, 0, (n - l->n_parts) * sizeof *part);
		l->part = part;
		l->n_parts = n;
	}
	if (l->part[partition] == NULL) {
		if (l->n_open >= CORE_LANES_PARTS) {
			drop_quiet(l);
		}
		enum err e = lane_open(l, partition, &l->part[partition]);
		if (e != ERR_OK) {
			return e;
		}
		l->n_open++;
	}
	*out = l->part[partition];
	return ERR_OK;
}

enum err core_lanes_pick(struct core_lanes *l, int64_t partition, struct core_lane **lane,
			 struct core_lane **after)
{
	struct core_lane *other = NULL;
	*lane = l->whole;
	if (l->is_split && partition >= 0) {
		enum err e = part_lane(l, (uint32_t)partition, lane);
		if (e != ERR_OK) {
			return e;
		}
		other = l->whole;
	} else if (partition >= 0 && partition < l->n_parts) {
		other = l->part[partition];
	}
	if (after != NULL) {
		*after = other != NULL && !core_lane_is_quiet(other) ? other : NULL;
	}
	return ERR_OK;
}
