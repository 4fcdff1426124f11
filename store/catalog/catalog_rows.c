/* The state rows of a snapshot (contents; the state file adds checksum and
 * format version):
 *
 *   namespace: u64 version, u32 shards, u32 next hub id, u32 next shard,
 *              u32 policies, then each policy, u8 row version 3, i64 next producer
 *              id, units, u32 limits, then each limit; a row of version 1 ends with
 *              the policies, one of version 2 with the producer id
 *   hub:       u32 id, text name, i64 created, i64 updated, i64 retention,
 *              u64 retention bytes, u8 clean-up, u32 partitions, u32 shard of
 *              each, u32 groups, each text name and i64 created, u32 policies,
 *              then each policy
 *
 * A policy is text name, u32 rights, text primary, text secondary. Units are u32
 * units, u32 base, u32 inflate max, i64 deflate after, u8 has settings, u32 units,
 * u32 inflate max, i64 deflate after of the settings. A limit is u8 kind, text name,
 * u64 bytes in, u64 events in, u64 bytes out, u64 events out. */

#include <assert.h>

#include "base/mem.h"
#include "store/catalog/catalog_priv.h"

enum { NAMESPACE_VERSION = 3, VERSION_PRODUCER_IDS = 2, VERSION_UNITS = 3 };

static void put_policies(struct str *s, const struct catalog_policy *v, uint32_t n)
{
	catalog_put_u32(s, n);
	for (uint32_t i = 0; i < n; i++) {
		catalog_put_policy(s, &v[i]);
	}
}

enum err catalog_namespace_encode(const struct catalog *c, struct str *out)
{
	catalog_put_u64(out, c->version);
	catalog_put_u32(out, c->shards);
	catalog_put_u32(out, c->next_hub_id);
	catalog_put_u32(out, c->next_shard);
	put_policies(out, c->policies, c->n_policies);
	catalog_put_u8(out, NAMESPACE_VERSION);
	catalog_put_u64(out, (uint64_t)c->next_producer_id);
	catalog_put_units(out, &c->units);
	catalog_put_u32(out, c->n_limits);
	for (uint32_t i = 0; i < c->n_limits; i++) {
		catalog_put_limit(out, &c->limits[i]);
	}
	return out->bad ? ERR_NOMEM : ERR_OK;
}

enum err catalog_row_encode(const struct catalog *c, uint32_t hub_at, struct str *out)
{
	assert(hub_at < c->n_hubs);
	const struct catalog_hub *h = c->hubs[hub_at];
	catalog_put_u32(out, h->id);
	catalog_put_text(out, h->name);
	catalog_put_u64(out, (uint64_t)h->created_ms);
	catalog_put_u64(out, (uint64_t)h->updated_ms);
	catalog_put_u64(out, (uint64_t)h->retention_ms);
	catalog_put_u64(out, h->retention_bytes);
	catalog_put_u8(out, (uint8_t)h->cleanup);
	catalog_put_u32(out, h->partitions);
	for (uint32_t i = 0; i < h->partitions; i++) {
		catalog_put_u32(out, h->shards[i]);
	}
	catalog_put_u32(out, h->n_groups);
	for (uint32_t i = 0; i < h->n_groups; i++) {
		catalog_put_text(out, h->groups[i].name);
		catalog_put_u64(out, (uint64_t)h->groups[i].created_ms);
	}
	put_policies(out, h->policies, h->n_policies);
	return out->bad ? ERR_NOMEM : ERR_OK;
}

/* ---- loading ------------------------------------------------------------- */

struct catalog_loader {
	struct catalog_box *box;	/* its hubs arrays have LIMIT_HUBS places */
	bool has_namespace;
};

struct catalog_loader *catalog_loader_new(uint32_t shards)
{
	struct catalog_loader *l = MEM_NEW(struct catalog_loader);
	if (l == NULL) {
		return NULL;
	}
	l->box = catalog_box_new(shards, LIMIT_HUBS, LIMIT_POLICIES, 0);
	if (l->box == NULL) {
		mem_free(l);
		return NULL;
	}
	return l;
}

/* Reads policies into room for LIMIT_POLICIES; their names must ascend. */
static void get_policies(struct rd *r, struct catalog_policy *v, uint32_t *n)
{
	uint32_t count = rd_u32(r);
	if (count > LIMIT_POLICIES) {
		r->bad = true;
		return;
	}
	for (uint32_t i = 0; i < count && !r->bad; i++) {
		catalog_get_policy(r, &v[i]);
		*n = i + 1;
		if (i > 0 && catalog_name_compare(span_str(v[i - 1].name), span_str(v[i].name)) >= 0) {
			r->bad = true;
		}
	}
}

static void get_groups(struct rd *r, struct catalog_hub_box *h, uint32_t count)
{
	struct catalog_group *v = h->groups;
	for (uint32_t i = 0; i < count && !r->bad; i++) {
		catalog_get_text(r, v[i].name, sizeof v[i].name);
		v[i].created_ms = (int64_t)rd_u64(r);
		if (i > 0 && catalog_name_compare(span_str(v[i - 1].name), span_str(v[i].name)) >= 0) {
			r->bad = true;
		}
	}
	h->hub.n_groups = count;
}

static void get_shards(struct rd *r, struct catalog_hub_box *h, uint32_t count, uint32_t shards)
{
	for (uint32_t i = 0; i < count; i++) {
		h->shards[i] = rd_u32(r);
		if (h->shards[i] >= shards) {
			r->bad = true;
		}
	}
	h->hub.partitions = count;
}

/* What came to the row after its first version. */
static enum err load_added(struct rd *r, struct catalog_box *b)
{
	uint8_t version = rd_u8(r);
	if (version < VERSION_PRODUCER_IDS || version > NAMESPACE_VERSION) {
		return ERR_CORRUPT;
	}
	b->c.next_producer_id = (int64_t)rd_u64(r);
	if (version < VERSION_UNITS) {
		return ERR_OK;
	}
	catalog_get_units(r, &b->c.units);
	return catalog_get_limits(r, b);
}

static enum err load_namespace(struct catalog_loader *l, struct span content)
{
	struct rd rd = rd_of(content);
	struct rd *r = &rd;
	struct catalog *c = &l->box->c;
	if (l->has_namespace) {
		return ERR_CORRUPT;
	}
	c->version = rd_u64(r);
	uint32_t shards = rd_u32(r);
	c->next_hub_id = rd_u32(r);
	c->next_shard = rd_u32(r);
	get_policies(r, l->box->policies, &c->n_policies);
	if (!rd.bad && rd_left(r) > 0) {
		enum err e = load_added(r, l->box);
		if (e != ERR_OK) {
			return e;
		}
	}
	if (rd.bad || rd_left(r) != 0 || shards != c->shards || c->next_hub_id == 0 ||
	    c->next_shard >= shards || c->next_producer_id < 0) {
		return ERR_CORRUPT;
	}
	l->has_namespace = true;
	return ERR_OK;
}

/* Counts are known before anything is allocated: how many bytes a list takes
 * at least bounds it, and so do the limits. */
static enum err load_hub(struct catalog_loader *l, struct span content)
{
	struct rd rd = rd_of(content);
	struct rd *r = &rd;
	struct catalog_hub h = {.id = rd_u32(r)};
	catalog_get_text(r, h.name, sizeof h.name);
	h.created_ms = (int64_t)rd_u64(r);
	h.updated_ms = (int64_t)rd_u64(r);
	h.retention_ms = (int64_t)rd_u64(r);
	h.retention_bytes = rd_u64(r);
	uint8_t cleanup = rd_u8(r);
	uint32_t partitions = rd_u32(r);
	if (rd.bad || partitions == 0 || partitions > LIMIT_PARTITIONS || cleanup < CATALOG_DELETE ||
	    cleanup > CATALOG_COMPACT_DELETE || h.retention_ms < 0 || h.id == 0 ||
	    catalog_name_check("hub", h.name, LIMIT_HUB_NAME, NULL) != ERR_OK ||
	    l->box->c.n_hubs >= LIMIT_HUBS || catalog_hub_by_id(&l->box->c, h.id) != NULL ||
	    catalog_hub_find(&l->box->c, span_str(h.name)) != NULL) {
		return ERR_CORRUPT;
	}
	struct rd ahead = rd;
	rd_skip(&ahead, partitions * sizeof(uint32_t));
	uint32_t groups = rd_u32(&ahead);
	if (ahead.bad || groups > LIMIT_GROUPS) {
		return ERR_CORRUPT;
	}
	struct catalog_hub_box *b = catalog_hub_new(partitions, groups, LIMIT_POLICIES);
	if (b == NULL) {
		return ERR_NOMEM;
	}
	h.cleanup = cleanup;
	h.shards = b->shards;
	h.groups = b->groups;
	h.policies = b->policies;
	b->hub = h;
	get_shards(r, b, partitions, l->box->c.shards);
	get_groups(r, b, rd_u32(r));
	get_policies(r, b->policies, &b->hub.n_policies);
	if (rd.bad || rd_left(r) != 0) {
		catalog_hub_drop(&b->hub);
		return ERR_CORRUPT;
	}
	catalog_box_add(l->box, b);
	return ERR_OK;
}

enum err catalog_loader_row(struct catalog_loader *l, uint8_t kind, struct span content)
{
	switch (kind) {
	case CATALOG_ROW_NAMESPACE:
		return load_namespace(l, content);
	case CATALOG_ROW_HUB:
		return load_hub(l, content);
	default:
		return ERR_CORRUPT;
	}
}

enum err catalog_loader_finish(struct catalog_loader **lp, const struct catalog **out)
{
	struct catalog_loader *l = *lp;
	const struct catalog_box *b = l->box;
	bool is_whole = l->has_namespace;
	/* Ids ascend in by_id, so the last one is the highest. */
	if (is_whole && b->c.n_hubs > 0 && b->by_id[b->c.n_hubs - 1]->id >= b->c.next_hub_id) {
		is_whole = false;
	}
	if (!is_whole) {
		catalog_loader_free(lp);
		return ERR_CORRUPT;
	}
	*out = &l->box->c;
	mem_free(l);
	*lp = NULL;
	return ERR_OK;
}

void catalog_loader_free(struct catalog_loader **lp)
{
	struct catalog_loader *l = *lp;
	*lp = NULL;
	if (l == NULL) {
		return;
	}
	const struct catalog *c = &l->box->c;
	catalog_drop(&c);
	mem_free(l);
}
