/* Capacity of whoever reads many partitions of a hub. */

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/core/core_priv.h"
#include "gateway/core/lanes.h"

struct core_reading {
	struct core *core;
	struct core_lanes lanes;
	int64_t refreshed_ns;
};

enum err core_reading_open(struct core *c, const struct core_client *client, uint32_t hub_id,
			   struct core_reading **out)
{
	struct core_reading *r = MEM_NEW(struct core_reading);
	if (r == NULL) {
		return ERR_NOMEM;
	}
	r->core = c;
	r->refreshed_ns = clock_mono_ns();
	const struct catalog *cat = core_catalog(c);
	const struct catalog_hub *hub = catalog_hub_by_id(cat, hub_id);
	enum err e = ERR_NOT_FOUND;
	if (hub != NULL) {
		e = core_lanes_open(&r->lanes, client, THROTTLE_OUT, hub, -1, NULL);
		core_lanes_refresh(&r->lanes, cat);
	}
	catalog_drop(&cat);
	if (e != ERR_OK) {
		mem_free(r);
		return e;
	}
	*out = r;
	return ERR_OK;
}

void core_reading_close(struct core_reading **rp)
{
	struct core_reading *r = *rp;
	*rp = NULL;
	if (r != NULL) {
		core_lanes_close(&r->lanes);
		mem_free(r);
	}
}

/* Deliveries need no order among lanes, so what was deferred on another is no matter. */
static struct core_lane *lane_of(struct core_reading *r, uint32_t partition, int64_t now_ns)
{
	if (now_ns - r->refreshed_ns > CORE_REFRESH_NS) {
		const struct catalog *cat = core_catalog(r->core);
		core_lanes_refresh(&r->lanes, cat);
		catalog_drop(&cat);
		r->refreshed_ns = now_ns;
	}
	struct core_lane *lane = NULL;
	if (core_lanes_pick(&r->lanes, partition, &lane, NULL) != ERR_OK) {
		lane = r->lanes.whole;	/* memory is short: without the partition's limit */
	}
	return lane;
}

bool core_reading_take(struct core_reading *r, uint32_t partition, const struct throttle_cost *cost)
{
	int64_t now_ns = clock_mono_ns();
	struct core_lane *lane = lane_of(r, partition, now_ns);
	return lane == NULL || throttle_try(lane->way, cost, now_ns);
}

void core_reading_wait(struct core_reading *r, uint32_t partition, const struct throttle_cost *cost,
		       struct core_turn *t)
{
	t->request = (struct throttle_request){.cost = *cost};
	core_pacer_turn(r->core->pacer, lane_of(r, partition, clock_mono_ns()), t);
}

struct throttle_rate core_reading_share(struct core_reading *r, uint32_t partition)
{
	return core_lane_share(lane_of(r, partition, clock_mono_ns()));
}

int64_t core_reading_estimate_ns(struct core_reading *r, uint32_t partition,
				 const struct throttle_cost *cost)
{
	return core_lane_estimate_ns(lane_of(r, partition, clock_mono_ns()), cost);
}
