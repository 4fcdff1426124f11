#ifndef GATEWAY_CORE_LANES_H
#define GATEWAY_CORE_LANES_H

/* The ways of one sender or reader through the scopes.
 *
 * Whoever uses many partitions of a hub has one lane for all of them as long as no
 * limit of partitions covers the hub, and a lane for each partition it uses while
 * one does. Which of the two it is may change while sends wait. So that a partition's
 * sends keep their order, a send on the new lane then follows everything that was
 * deferred on the old one, and the kind changes again only when nothing follows any
 * more: so no two lanes ever wait for each other. */

#include <stdatomic.h>

#include "gateway/core/core.h"

struct core_lane {
	struct throttle_lane *way;
	atomic_uint refs;	/* the owner, what is deferred on it, what follows it */
	atomic_uint deferred;	/* not settled yet */
	/* The pacer's: sends that go on when nothing is deferred here, by op.msg.next. */
	struct core_append *first;
	struct core_append *last;
};

struct core_lane *core_lane_hold(struct core_lane *l);
void core_lane_drop(struct core_lane **l);
/* The owner's thread, before a request is posted to the pacer; holds it for that. */
void core_lane_defer(struct core_lane *l);
/* The pacer's thread, after the decision was acted on; the caller then drops what
 * core_lane_defer held. True: nothing is deferred any more. */
bool core_lane_settle(struct core_lane *l);
static inline bool core_lane_is_quiet(const struct core_lane *l)
{
	return atomic_load_explicit(&l->deferred, memory_order_acquire) == 0;
}

/* As throttle_share and throttle_estimate; NULL: no limit. */
struct throttle_rate core_lane_share(const struct core_lane *l);
int64_t core_lane_estimate_ns(const struct core_lane *l, const struct throttle_cost *cost);

/* Lanes of partitions that one sender or reader keeps open. With more of them in use, those
 * of which nothing waits are closed and opened anew: there may be thousands of senders, and
 * each lane is about a kilobyte. */
enum { CORE_LANES_PARTS = 64 };

/* Owned by the sender's or reader's thread. */
struct core_lanes {
	struct throttle_flow *flow;	/* NULL: on nobody's account, there are no lanes */
	enum throttle_direction direction;
	uint32_t hub_id;
	char *hub;
	char *policy;		/* these three: NULL: none */
	char *client;
	char *publisher;
	struct core_lane *whole;	/* of the hub, or of the only partition */
	struct core_lane **part;	/* NULL where none was needed yet */
	uint32_t n_parts;
	uint32_t n_open;	/* of `part`, that are not NULL */
	bool is_split;		/* by partition */
	bool is_fixed;		/* `whole` is of the only partition */
};

/* Zero-initialise *l. `client` is borrowed, its flow kept while lanes may be opened;
 * `partition` -1: any of the hub. ERR_NOMEM. */
enum err core_lanes_open(struct core_lanes *l, const struct core_client *client,
			 enum throttle_direction d, const struct catalog_hub *hub,
			 int64_t partition, const char *publisher) MUST_CHECK;
void core_lanes_close(struct core_lanes *l);
/* Looks whether limits of partitions cover the hub. */
void core_lanes_refresh(struct core_lanes *l, const struct catalog *cat);
/* The lane to use for a partition (-1: any); NULL without an account. *after (may be
 * NULL): what has to be settled before; borrowed. ERR_NOMEM. */
enum err core_lanes_pick(struct core_lanes *l, int64_t partition, struct core_lane **lane,
			 struct core_lane **after) MUST_CHECK;

#endif
