/* The cache of recent batches: per partition a ring without gaps that ends at
 * the high watermark, over all partitions a byte cap that evicts the oldest.
 * Only the core changes it, so it prepares memory without the lock and holds
 * the lock just to swap. */

#include "base/mem.h"
#include "base/metrics.h"
#include "store/shard/shard_priv.h"

enum { RING_FIRST = 16, FIFO_FIRST = 1024 };

static size_t cost_of(const struct shard_recent *r)
{
	return r->buf->cap + (size_t)SHARD_RECENT_COST;
}

static void used_core(struct shard_core *core, size_t plus, size_t minus)
{
	core->cache.used += plus;
	core->cache.used -= minus;
	metric_add(METRIC_STORE_CACHE_BYTES, (int64_t)plus - (int64_t)minus);
}

static bool ring_resize_core(struct store_partition *p, uint32_t cap)
{
	struct shard_recent *ring = mem_alloc(cap * sizeof *ring);
	if (ring == NULL) {
		return false;
	}
	for (uint32_t i = 0; i < p->ring_n; i++) {
		ring[i] = *shard_recent_at(p, i);
	}
	struct shard_recent *old = p->ring;
	lock_take(&p->lock);
	p->ring = ring;
	p->ring_cap = cap;
	p->ring_at = 0;
	lock_give(&p->lock);
	mem_free(old);
	return true;
}

static bool ring_room_core(struct store_partition *p)
{
	return p->ring_n < p->ring_cap ||
	       ring_resize_core(p, p->ring_cap != 0 ? p->ring_cap * 2 : RING_FIRST);
}

static bool fifo_room_core(struct shard_cache *c)
{
	if (c->n < c->cap) {
		return true;
	}
	size_t cap = c->cap != 0 ? c->cap * 2 : FIFO_FIRST;
	struct store_partition **fifo = mem_alloc(cap * sizeof(void *));
	if (fifo == NULL) {
		return false;
	}
	for (size_t i = 0; i < c->n; i++) {
		fifo[i] = c->fifo[(c->at + i) & (c->cap - 1)];
	}
	mem_free(c->fifo);
	c->fifo = fifo;
	c->cap = cap;
	c->at = 0;
	return true;
}

bool shard_cache_room_core(struct shard_core *core, struct store_partition *p)
{
	return fifo_room_core(&core->cache) && ring_room_core(p);
}

/* One place fewer in the queue. */
static void leave_core(struct store_partition *p)
{
	if (--p->n_fifo == 0) {
		store_partition_drop(&p);
	}
}

static void evict_core(struct shard_core *core)
{
	struct shard_cache *c = &core->cache;
	struct store_partition *p = c->fifo[c->at];
	c->at = (c->at + 1) & (c->cap - 1);
	c->n--;
	if (p->n_stale > 0) {
		p->n_stale--;
		c->n_stale--;
	} else {
		lock_take(&p->lock);
		assert(p->ring_n > 0);
		struct shard_recent r = *shard_recent_at(p, 0);
		p->ring_at = (p->ring_at + 1) & (p->ring_cap - 1);
		p->ring_n--;
		lock_give(&p->lock);
		used_core(core, 0, cost_of(&r));
		buf_drop(&r.buf);
		if (p->ring_cap > RING_FIRST && p->ring_n <= p->ring_cap / 4) {
			/* Without memory it stays as long as it is. */
			(void)ring_resize_core(p, p->ring_cap / 2);
		}
	}
	leave_core(p);
}

void shard_cache_added_core(struct shard_core *core, struct store_partition *p)
{
	struct shard_cache *c = &core->cache;
	assert(c->n < c->cap);
	c->fifo[(c->at + c->n) & (c->cap - 1)] = p;
	c->n++;
	if (p->n_fifo++ == 0) {
		store_partition_hold(p);
	}
	used_core(core, cost_of(shard_recent_at(p, p->ring_n - 1)), 0);
	while (c->used > c->max && c->n > 0) {
		evict_core(core);
	}
}

/* Takes the stale places out of the queue. Eviction alone would not: what is
 * forgotten does not count, so a cache below its cap may never evict. */
static void compact_core(struct shard_cache *c)
{
	size_t n = c->n;
	c->n = 0;
	for (size_t i = 0; i < n; i++) {
		struct store_partition *p = c->fifo[(c->at + i) & (c->cap - 1)];
		if (p->n_stale > 0) {
			p->n_stale--;
			leave_core(p);
		} else {
			c->fifo[(c->at + c->n++) & (c->cap - 1)] = p;
		}
	}
	c->n_stale = 0;
}

void shard_cache_forget_core(struct shard_core *core, struct store_partition *p)
{
	lock_take(&p->lock);
	struct shard_recent *ring = p->ring;
	uint32_t cap = p->ring_cap;
	uint32_t at = p->ring_at;
	uint32_t n = p->ring_n;
	p->ring = NULL;
	p->ring_cap = 0;
	p->ring_at = 0;
	p->ring_n = 0;
	lock_give(&p->lock);
	for (uint32_t i = 0; i < n; i++) {
		struct shard_recent *r = &ring[(at + i) & (cap - 1)];
		used_core(core, 0, cost_of(r));
		buf_drop(&r->buf);
	}
	mem_free(ring);
	p->n_stale += n;
	core->cache.n_stale += n;
	if (core->cache.n_stale > core->cache.n / 2) {
		compact_core(&core->cache);
	}
}

void shard_cache_trim_core(struct shard_core *core, struct store_partition *p, int64_t seq)
{
	uint32_t n = 0;
	while (p->ring_n > 0) {
		struct shard_recent r = *shard_recent_at(p, 0);
		if (r.base_seq + r.count > seq) {
			break;
		}
		lock_take(&p->lock);
		p->ring_at = (p->ring_at + 1) & (p->ring_cap - 1);
		p->ring_n--;
		lock_give(&p->lock);
		used_core(core, 0, cost_of(&r));
		buf_drop(&r.buf);
		n++;
	}
	p->n_stale += n;
	core->cache.n_stale += n;
	if (core->cache.n_stale > core->cache.n / 2) {
		compact_core(&core->cache);
	}
}

void shard_cache_fini(struct shard_core *core)
{
	struct shard_cache *c = &core->cache;
	while (c->n > 0) {
		evict_core(core);
	}
	assert(c->used == 0);
	mem_free(c->fifo);
	*c = (struct shard_cache){0};
}
