/* Sending: route a batch to a partition and hand it to the store. */

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/keyhash.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/core/cleanup.h"
#include "gateway/core/core.h"
#include "gateway/core/core_priv.h"
#include "throttle/throttle.h"

/* How soon a sender sees that its hub has grown. */
enum { REFRESH_NS = 200 * 1000 * 1000 };

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
};

/* Takes the references of partitions that have come since. */
static enum err refresh(struct core_sender *s, int64_t now_ns)
{
	const struct catalog *cat = core_catalog(s->core);
	const struct catalog_hub *hub = catalog_hub_by_id(cat, s->hub_id);
	uint32_t n = hub != NULL ? hub->partitions : 0;
	s->needs_keys = hub != NULL && core_cleanup_compacts(hub->cleanup);
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

enum err core_sender_open(struct core *c, const struct core_address *a, struct core_sender **out)
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
	enum err e = refresh(s, clock_mono_ns());
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

/* `partition` < 0: the sender's own way. */
static enum err append(struct core_sender *s, int64_t partition, struct core_append *a)
{
	metric_inc(METRIC_REQUESTS_IN);
	a->started_ns = clock_mono_ns();
	struct throttle_request req = {THROTTLE_IN, a->bytes, a->op.events};
	struct throttle_decision verdict = throttle_admit(&req, a->started_ns);
	if (verdict.verdict != THROTTLE_ADMIT) {
		metric_inc(METRIC_REQUESTS_THROTTLED);
		return ERR_BUSY;
	}
	if (a->started_ns - s->refreshed_ns > REFRESH_NS) {
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
	a->op.partition = store_partition_hold(s->parts[at]);
	store_append(s->core->store, &a->op);
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
	} else if (e == ERR_NOT_FOUND || e == ERR_SEQUENCE || e == ERR_FENCED) {
		metric_inc(METRIC_ERRORS_USER);
	} else {
		metric_inc(METRIC_ERRORS_SERVER);
	}
	return e;
}
