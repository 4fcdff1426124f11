#include "store/catalog/catalog.h"

#include <assert.h>

#include "base/mem.h"
#include "store/catalog/catalog_priv.h"

/* ---- hubs ---------------------------------------------------------------- */

static void hub_free(struct catalog_hub_box *b)
{
	if (b->policies != NULL) {
		explicit_bzero(b->policies, b->hub.n_policies * sizeof *b->policies);
	}
	mem_free(b->shards);
	mem_free(b->groups);
	mem_free(b->policies);
	mem_free(b);
}

struct catalog_hub_box *catalog_hub_new(uint32_t partitions, uint32_t groups, uint32_t policies)
{
	struct catalog_hub_box *b = MEM_NEW(struct catalog_hub_box);
	if (b == NULL) {
		return NULL;
	}
	atomic_init(&b->refs, 1);
	b->shards = mem_calloc(partitions, sizeof *b->shards);
	b->groups = mem_calloc(groups, sizeof *b->groups);
	b->policies = mem_calloc(policies, sizeof *b->policies);
	if (b->shards == NULL || b->groups == NULL || b->policies == NULL) {
		hub_free(b);
		return NULL;
	}
	b->hub.shards = b->shards;
	b->hub.groups = b->groups;
	b->hub.policies = b->policies;
	return b;
}

struct catalog_hub_box *catalog_hub_copy(const struct catalog_hub *h, uint32_t partitions)
{
	uint32_t room = partitions > h->partitions ? partitions : h->partitions;
	struct catalog_hub_box *b = catalog_hub_new(room, h->n_groups + 1, h->n_policies + 1);
	if (b == NULL) {
		return NULL;
	}
	b->hub = *h;
	b->hub.shards = b->shards;
	b->hub.groups = b->groups;
	b->hub.policies = b->policies;
	memcpy(b->shards, h->shards, h->partitions * sizeof *b->shards);
	memcpy(b->groups, h->groups, h->n_groups * sizeof *b->groups);
	memcpy(b->policies, h->policies, h->n_policies * sizeof *b->policies);
	return b;
}

static struct catalog_hub_box *hub_box_of(const struct catalog_hub *h)
{
	/* The count is the only member that changes once a hub is shared. */
	return (struct catalog_hub_box *)(uintptr_t)h;
}

void catalog_hub_drop(const struct catalog_hub *h)
{
	struct catalog_hub_box *b = hub_box_of(h);
	unsigned old = atomic_fetch_sub(&b->refs, 1);
	assert(old > 0);
	if (old == 1) {
		hub_free(b);
	}
}

/* ---- snapshots ----------------------------------------------------------- */

static void box_free(struct catalog_box *b)
{
	for (uint32_t i = 0; i < b->c.n_hubs; i++) {
		catalog_hub_drop(b->hubs[i]);
	}
	if (b->policies != NULL) {
		explicit_bzero(b->policies, b->c.n_policies * sizeof *b->policies);
	}
	mem_free(b->hubs);
	mem_free(b->by_id);
	mem_free(b->policies);
	mem_free(b->limits);
	mem_free(b);
}

struct catalog_box *catalog_box_new(uint32_t shards, uint32_t hubs, uint32_t policies,
				    uint32_t limits)
{
	struct catalog_box *b = MEM_NEW(struct catalog_box);
	if (b == NULL) {
		return NULL;
	}
	atomic_init(&b->refs, 1);
	b->hubs = mem_calloc(hubs, sizeof(void *));
	b->by_id = mem_calloc(hubs, sizeof(void *));
	b->policies = mem_calloc(policies, sizeof *b->policies);
	b->limits = mem_calloc(limits, sizeof *b->limits);
	if (b->hubs == NULL || b->by_id == NULL || b->policies == NULL || b->limits == NULL) {
		box_free(b);
		return NULL;
	}
	b->c.shards = shards;
	b->c.hubs = b->hubs;
	b->c.policies = b->policies;
	b->c.limits = b->limits;
	b->c.next_hub_id = 1;
	return b;
}

struct catalog_box *catalog_box_copy(const struct catalog *c)
{
	struct catalog_box *b = catalog_box_new(c->shards, c->n_hubs + 1, c->n_policies + 1,
						c->n_limits + 1);
	if (b == NULL) {
		return NULL;
	}
	b->c = *c;
	b->c.hubs = b->hubs;
	b->c.policies = b->policies;
	b->c.limits = b->limits;
	memcpy(b->policies, c->policies, c->n_policies * sizeof *b->policies);
	memcpy(b->limits, c->limits, c->n_limits * sizeof *b->limits);
	for (uint32_t i = 0; i < c->n_hubs; i++) {
		/* Relaxed: the snapshot copied from holds a reference. */
		atomic_fetch_add_explicit(&hub_box_of(c->hubs[i])->refs, 1, memory_order_relaxed);
		b->hubs[i] = c->hubs[i];
		b->by_id[i] = catalog_box_of(c)->by_id[i];
	}
	return b;
}

/* First place whose id is not below `id`. */
static uint32_t id_at(const struct catalog_box *b, uint32_t id)
{
	uint32_t lo = 0;
	uint32_t hi = b->c.n_hubs;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (b->by_id[mid]->id < id) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

/* First place whose name is not below `name`. */
static uint32_t hub_at(const struct catalog *c, struct span name, bool *found)
{
	uint32_t lo = 0;
	uint32_t hi = c->n_hubs;
	*found = false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int order = catalog_name_compare(span_str(c->hubs[mid]->name), name);
		if (order < 0) {
			lo = mid + 1;
		} else {
			*found = *found || order == 0;
			hi = mid;
		}
	}
	return lo;
}

static void pointer_insert(const struct catalog_hub **v, uint32_t n, uint32_t at,
			   const struct catalog_hub *h)
{
	memmove(v + at + 1, v + at, (n - at) * sizeof *v);
	v[at] = h;
}

static void pointer_remove(const struct catalog_hub **v, uint32_t n, uint32_t at)
{
	memmove(v + at, v + at + 1, (n - at - 1) * sizeof *v);
}

void catalog_box_add(struct catalog_box *b, struct catalog_hub_box *h)
{
	bool found;
	uint32_t at = hub_at(&b->c, span_str(h->hub.name), &found);
	assert(!found);
	pointer_insert(b->hubs, b->c.n_hubs, at, &h->hub);
	pointer_insert(b->by_id, b->c.n_hubs, id_at(b, h->hub.id), &h->hub);
	b->c.n_hubs++;
}

void catalog_box_replace(struct catalog_box *b, uint32_t id, struct catalog_hub_box *h)
{
	uint32_t by_id = id_at(b, id);
	assert(by_id < b->c.n_hubs);
	const struct catalog_hub *old = b->by_id[by_id];
	assert(old->id == id);
	bool found;
	uint32_t by_name = hub_at(&b->c, span_str(old->name), &found);
	assert(found);
	if (h != NULL) {
		b->hubs[by_name] = &h->hub;
		b->by_id[by_id] = &h->hub;
	} else {
		pointer_remove(b->hubs, b->c.n_hubs, by_name);
		pointer_remove(b->by_id, b->c.n_hubs, by_id);
		b->c.n_hubs--;
	}
	catalog_hub_drop(old);
}

/* ---- for everyone -------------------------------------------------------- */

const struct catalog *catalog_hold(const struct catalog *c)
{
	struct catalog_box *b = (struct catalog_box *)(uintptr_t)c;
	/* Relaxed: whoever holds a reference already sees the content. */
	unsigned old = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	assert(old > 0);
	return c;
}

void catalog_drop(const struct catalog **cp)
{
	struct catalog_box *b = (struct catalog_box *)(uintptr_t)*cp;
	*cp = NULL;
	if (b == NULL) {
		return;
	}
	unsigned old = atomic_fetch_sub(&b->refs, 1);
	assert(old > 0);
	if (old == 1) {
		box_free(b);
	}
}

const struct catalog *catalog_empty(uint32_t shards)
{
	assert(shards > 0);
	struct catalog_box *b = catalog_box_new(shards, 0, 0, 0);
	return b != NULL ? &b->c : NULL;
}

const struct catalog_hub *catalog_hub_find(const struct catalog *c, struct span name)
{
	bool found;
	uint32_t at = hub_at(c, name, &found);
	return found ? c->hubs[at] : NULL;
}

const struct catalog_hub *catalog_hub_by_id(const struct catalog *c, uint32_t id)
{
	const struct catalog_box *b = catalog_box_of(c);
	uint32_t at = id_at(b, id);
	return at < c->n_hubs && b->by_id[at]->id == id ? b->by_id[at] : NULL;
}

const struct catalog_hub *catalog_hub_of_path(const struct catalog *c, struct span path,
					      struct span *rest)
{
	/* No hub name is longer, so no longer prefix needs a look. */
	size_t end = path.n;
	for (;;) {
		if (end <= LIMIT_HUB_NAME) {
			const struct catalog_hub *h = catalog_hub_find(c, span_of(path.p, end));
			if (h != NULL) {
				size_t past = end < path.n ? end + 1 : end;
				*rest = span_of(path.p + past, path.n - past);
				return h;
			}
		}
		while (end > 0 && path.p[end - 1] != '/') {
			end--;
		}
		if (end == 0) {
			*rest = path;
			return NULL;
		}
		end--;
	}
}

bool catalog_group_exists(const struct catalog_hub *h, struct span name)
{
	bool found;
	(void)catalog_group_at(h, name, &found);
	return found || catalog_group_is_default(name);
}

const struct catalog_policy *catalog_policy_find(const struct catalog_policy *v, uint32_t n,
						 struct span name)
{
	bool found;
	uint32_t at = catalog_policy_at(v, n, name, &found);
	return found ? &v[at] : NULL;
}
