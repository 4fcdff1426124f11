/* The partitions of all hubs: an array of hubs by id, which grows at its end. */

#include "base/mem.h"
#include "store/shard/shard_priv.h"

static size_t hub_at(const struct shard_registry *r, uint32_t id)
{
	size_t lo = 0;
	size_t hi = r->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (r->v[mid].id < id) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

struct shard_registry_hub *shard_registry_hub(const struct shard_registry *r, uint32_t id)
{
	size_t at = hub_at(r, id);
	return at < r->n && r->v[at].id == id ? &r->v[at] : NULL;
}

struct store_partition *shard_registry_find(const struct shard_registry *r, struct store_part part)
{
	const struct shard_registry_hub *h = shard_registry_hub(r, part.hub_id);
	return h != NULL && part.partition < h->n ? h->parts[part.partition] : NULL;
}

bool shard_registry_room(struct shard_registry *r)
{
	void *v = r->v;
	bool ok = mem_grow(&v, &r->cap, r->n + 1, sizeof *r->v);
	r->v = v;
	return ok;
}

void shard_registry_add(struct shard_registry *r, struct shard_registry_hub hub)
{
	assert(r->n < r->cap);
	assert(r->n == 0 || r->v[r->n - 1].id < hub.id);
	r->v[r->n++] = hub;
}

void shard_registry_remove(struct shard_registry *r, uint32_t id)
{
	size_t at = hub_at(r, id);
	assert(at < r->n && r->v[at].id == id);
	memmove(r->v + at, r->v + at + 1, (r->n - at - 1) * sizeof *r->v);
	r->n--;
}

void shard_registry_fini(struct shard_registry *r)
{
	for (size_t i = 0; i < r->n; i++) {
		for (uint32_t k = 0; k < r->v[i].n; k++) {
			store_partition_drop(&r->v[i].parts[k]);
		}
		mem_free(r->v[i].parts);
	}
	mem_free(r->v);
	*r = (struct shard_registry){0};
}
