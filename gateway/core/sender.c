/* Sending: route a batch to a partition and hand it to the store. */

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/keyhash.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/core/cleanup.h"
#include "gateway/core/core.h"
#include "gateway/core/core_priv.h"
#include "gateway/core/lanes.h"

enum {
	COST_WEIGHT = 8,	/* the mean cost follows the last dozen sends or so */
	/* Where sends are hardly held, a window still covers the time of a commit. */
	WINDOW_MIN_NS = 100 * 1000 * 1000,
};

struct core_sender {
	struct core *core;
	uint32_t hub_id;
	bool fixed;		/* always partition `partition` */
	uint32_t partition;
	uint32_t next;		/* round robin */
	uint32_t n_parts;
	struct store_partition **parts;
	bool needs_keys;	/* the hub is compacted */
	int64_t refreshed_ns;
	struct core_lanes lanes;
	/* Of the last sends, COST_WEIGHT-fold; 0: none yet. */
	uint64_t mean_bytes;
	uint64_t mean_events;
};

/* Takes the references of partitions that have come since. */
static enum err refresh(struct core_sender *s, int64_t now_ns)
{
	const struct catalog *cat = core_catalog(s->core);
	const struct catalog_hub *hub = catalog_hub_by_id(cat, s->hub_id);
	uint32_t n = hub != NULL ? hub->partitions : 0;
	s->needs_keys = hub != NULL && core_cleanup_compacts(hub->cleanup);
	core_lanes_refresh(&s->lanes, cat);
	catalog_drop(&cat);
	if (n == 0) {
		return ERR_NOT_FOUND;
	}
	s->refreshed_ns = now_ns;
	if (n <= s->n_parts) {
		return ERR_OK;
	}
	struct store_partition **parts = mem_realloc(s->parts, n * sizeof *parts);
	if (parts == NULL) {
		return ERR_NOMEM;
	}
	s->parts = parts;
	while (s->n_parts < n) {
		struct store_part part = {s->hub_id, s->n_parts};
		struct store_partition *p = store_partition_find(s->core->store, part);
		if (p == NULL) {
			/* The catalogue is ahead of the shard by a moment. */
			return s->n_parts > 0 ? ERR_OK : ERR_NOT_FOUND;
		}
		s->parts[s->n_parts++] = p;
	}
	return ERR_OK;
}

/* The publisher as tokens name it: in lower case, up to a '/'. Otherwise whoever may send
 * as one had the limit of it anew for each way to write its name. */
static void account_of(const struct core_address *a, char out[LIMIT_PUBLISHER_NAME + 1])
{
	size_t hub = strlen(a->hub);
	bool is_below = strlen(a->path) > hub && a->path[hub] == '/';
	const char *word = is_below ? strchr(a->path + hub + 1, '/') : NULL;
	const char *name = word != NULL ? word + 1 : a->publisher;
	size_t n = strcspn(name, "/");
	snprintf(out, LIMIT_PUBLISHER_NAME + 1, "%.*s", n != 0 ? (int)n : LIMIT_PUBLISHER_NAME,
		 n != 0 ? name : a->publisher);
}

static enum err open_lanes(struct core_sender *s, const struct core_address *a,
			   const struct core_client *client)
{
	const struct catalog *cat = core_catalog(s->core);
	const struct catalog_hub *hub = catalog_hub_by_id(cat, s->hub_id);
	enum err e = ERR_NOT_FOUND;
	char publisher[LIMIT_PUBLISHER_NAME + 1] = "";
	if (a->kind == CORE_PUBLISHER) {
		account_of(a, publisher);
	}
	if (hub != NULL) {
		e = core_lanes_open(&s->lanes, client, THROTTLE_IN, hub,
				    s->fixed ? (int64_t)s->partition : -1, publisher);
	}
	catalog_drop(&cat);
	return e;
}

enum err core_sender_open(struct core *c, const struct core_address *a,
			  const struct core_client *client, struct core_sender **out)
{
	static atomic_uint spread;
	struct core_sender *s = MEM_NEW(struct core_sender);
	if (s == NULL) {
		return ERR_NOMEM;
	}
	s->core = c;
	s->hub_id = a->hub_id;
	s->fixed = a->kind == CORE_PARTITION;
	s->partition = a->partition;
	s->next = atomic_fetch_add(&spread, 1);
	enum err e = open_lanes(s, a, client);
	if (e == ERR_OK) {
		e = refresh(s, clock_mono_ns());
	}
	if (e == ERR_OK && s->fixed && s->partition >= s->n_parts) {
		e = ERR_NOT_FOUND;
	}
	if (e != ERR_OK) {
		core_sender_close(&s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void core_sender_close(struct core_sender **sp)
{
	struct core_sender *s = *sp;
	*sp = NULL;
	if (s == NULL) {
		return;
	}
	for (uint32_t i = 0; i < s->n_parts; i++) {
		store_partition_drop(&s->parts[i]);
	}
	core_lanes_close(&s->lanes);
	mem_free(s->parts);
	mem_free(s);
}

static uint32_t route(struct core_sender *s, const struct core_append *a)
{
	if (s->fixed) {
		return s->partition;
	}
	if (a->op.key_len != 0) {
		struct span key = span_of(a->op.batch->data + a->op.batch_len, a->op.key_len);
		return keyhash_partition(key, s->n_parts);
	}
	return s->next++ % s->n_parts;
}

static uint64_t mean(uint64_t before, uint64_t last)
{
	return before != 0 ? before - before / COST_WEIGHT + last : last * COST_WEIGHT;
}

/* At once if it may, else it waits at the pacer. Its partition is held. */
static void pass(struct core_sender *s, struct core_append *a, struct core_lane *lane,
		 struct core_lane *after)
{
	const struct throttle_cost cost = {.bytes = a->bytes, .events = a->op.events};
	s->mean_bytes = mean(s->mean_bytes, cost.bytes);
	s->mean_events = mean(s->mean_events, cost.events);
	if (lane == NULL || (after == NULL && throttle_try(lane->way, &cost, a->started_ns))) {
		store_append(s->core->store, &a->op);
		return;
	}
	a->is_held = true;
	core_pacer_append(s->core->pacer, lane, after, a);
}

/* `partition` < 0: the sender's own way. */
static enum err append(struct core_sender *s, int64_t partition, struct core_append *a)
{
	metric_inc(METRIC_REQUESTS_IN);
	a->started_ns = clock_mono_ns();
	a->waited_ns = 0;
	a->is_held = false;
	a->decision = (struct throttle_decision){.verdict = THROTTLE_ADMIT};
	if (a->started_ns - s->refreshed_ns > CORE_REFRESH_NS) {
		enum err e = refresh(s, a->started_ns);
		if (e != ERR_OK) {
			return e;
		}
	}
	if (partition >= s->n_parts) {
		return ERR_NOT_FOUND;
	}
	/* Records of Kafka's batches have keys of their own, which were checked. */
	if (s->needs_keys && a->op.key_len == 0 && a->op.encoding == BATCH_AMQP) {
		return ERR_INVALID;
	}
	uint32_t at = partition >= 0 ? (uint32_t)partition : route(s, a);
	struct core_lane *lane = NULL;
	struct core_lane *after = NULL;
	enum err e = core_lanes_pick(&s->lanes, at, &lane, &after);
	if (e != ERR_OK) {
		return e;
	}
	a->op.partition = store_partition_hold(s->parts[at]);
	pass(s, a, lane, after);
	return ERR_OK;
}

enum err core_append(struct core_sender *s, struct core_append *a)
{
	return append(s, -1, a);
}

enum err core_append_at(struct core_sender *s, uint32_t partition, struct core_append *a)
{
	return append(s, partition, a);
}

enum err core_append_done(struct core_append *a)
{
	store_partition_drop(&a->op.partition);
	enum err e = a->op.err;
	if (e == ERR_OK) {
		metric_inc(METRIC_REQUESTS_OK);
		/* What is there already does not come in again. */
		metric_add(METRIC_EVENTS_IN, a->op.is_repeated ? 0 : a->op.events);
		metric_add(METRIC_BYTES_IN, a->op.is_repeated ? 0 : a->bytes);
		hist_add(metric_ack_latency(), (uint64_t)(clock_mono_ns() - a->started_ns));
	} else if (e == ERR_QUOTA || e == ERR_LIMIT) {
		metric_inc(METRIC_ERRORS_QUOTA);
	} else if (a->decision.verdict == THROTTLE_REFUSE) {
		/* Counted as throttled when it was refused. */
		assert(e == ERR_BUSY || e == ERR_STOPPING);
	} else if (e == ERR_NOT_FOUND || e == ERR_SEQUENCE || e == ERR_FENCED) {
		metric_inc(METRIC_ERRORS_USER);
	} else {
		metric_inc(METRIC_ERRORS_SERVER);
	}
	return e;
}

/* The lane of that partition, opened if it has to be; the hub's when memory is short. */
static struct core_lane *lane_of(struct core_sender *s, int64_t partition)
{
	struct core_lane *lane = NULL;
	return core_lanes_pick(&s->lanes, partition, &lane, NULL) == ERR_OK ? lane : s->lanes.whole;
}

int64_t core_sender_estimate_ns(struct core_sender *s, int64_t partition,
				const struct throttle_cost *cost)
{
	return core_lane_estimate_ns(lane_of(s, partition), cost);
}

/* Sends of that cost (COST_WEIGHT-fold) that `rate` a second serves within the time. */
static uint64_t sends_in(uint64_t rate, int64_t ns, uint64_t cost)
{
	if (rate == UINT64_MAX || cost == 0) {
		return UINT64_MAX;
	}
	double n = (double)rate * (double)ns / 1e9 * COST_WEIGHT / (double)cost;
	return n < 1 ? 1 : n >= UINT32_MAX ? UINT32_MAX : (uint64_t)n;
}

uint32_t core_sender_window(struct core_sender *s)
{
	struct core_lane *lane = lane_of(s, s->fixed ? (int64_t)s->partition : -1);
	if (lane == NULL) {
		return UINT32_MAX;
	}
	/* Also while nobody waits: what is granted may be used at once, by all who have it.
	 * Before the first send tells what sends cost, the largest is expected. */
	struct throttle_rate share = core_lane_share(lane);
	int64_t ns = s->core->hold_ns / 2 > WINDOW_MIN_NS ? s->core->hold_ns / 2 : WINDOW_MIN_NS;
	uint64_t cost = s->mean_bytes != 0 ? s->mean_bytes : (uint64_t)LIMIT_MESSAGE * COST_WEIGHT;
	uint64_t bytes = sends_in(share.bytes, ns, cost);
	uint64_t events = sends_in(share.events, ns, s->mean_events);
	uint64_t least = bytes < events ? bytes : events;
	return least < UINT32_MAX ? (uint32_t)least : UINT32_MAX;
}
