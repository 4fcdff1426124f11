#include "gateway/group/rows.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/group/machine_priv.h"

enum {
	GROUP_ROW_VERSION = 1,
	OFFSET_ROW_VERSION = 1,
	/* The least a member takes: four empty strings and its numbers. */
	MEMBER_LEAST = 30,
};
_Static_assert((int)STORE_ROW_KEY_MAX >= (int)GROUPS_NAME_MAX + (int)GROUP_OFFSET_KEY_FIXED,
	       "an offset's key must fit");
_Static_assert((int)GROUP_HEAD_BYTES >= 64 + (int)GROUPS_NAME_MAX + 4 * (int)GROUPS_TEXT_MAX,
	       "the head keeps enough room");

/* ---- groups: writing --------------------------------------------------------------- */

static void put_str(struct wr *w, struct span s)
{
	wr_u32(w, (uint32_t)s.n);
	wr_span(w, s);
}

static void put_optional(struct wr *w, struct span s)
{
	wr_u8(w, s.p != NULL ? 1 : 0);
	if (s.p != NULL) {
		put_str(w, s);
	}
}

static void put_member(struct wr *w, const struct group_member *m)
{
	put_str(w, m->id);
	put_optional(w, m->instance_id);
	put_str(w, m->client_id);
	put_str(w, m->client_host);
	wr_u32(w, (uint32_t)m->session_timeout_ms);
	wr_u32(w, (uint32_t)m->rebalance_timeout_ms);
	wr_u32(w, m->n_protocols);
	for (uint32_t i = 0; i < m->n_protocols; i++) {
		put_str(w, m->protocols[i].name);
		put_str(w, m->protocols[i].metadata);
	}
	put_optional(w, m->assignment);
}

/* What is stored is the state that holds once the write is done. */
static uint8_t state_to_store(const struct group *g)
{
	if (g->saving == GROUP_SAVE_SYNCED) {
		return GROUP_STABLE;
	}
	return (uint8_t)(g->state == GROUP_PREPARING ? GROUP_COMPLETING : g->state);
}

enum err group_row_encode(const struct group *g, struct buf **out)
{
	size_t size = GROUP_HEAD_BYTES;
	for (size_t i = 0; i < g->n_members; i++) {
		size += group_member_bytes(g->members[i]);
	}
	if (size > GROUPS_GROUP_BYTES) {
		return ERR_TOO_LARGE;
	}
	struct buf *b = buf_new(size);
	if (b == NULL) {
		return ERR_NOMEM;
	}
	struct wr w = wr_of(b->data, size);
	wr_u8(&w, GROUP_ROW_VERSION);
	wr_u8(&w, state_to_store(g));
	wr_u32(&w, (uint32_t)g->generation);
	wr_u64(&w, (uint64_t)g->empty_ms);
	wr_u8(&w, g->protocol.p != NULL ? 1 : 0);
	put_str(&w, g->protocol_type);
	put_str(&w, g->protocol);
	put_str(&w, g->leader != NULL ? g->leader->id : span_str(""));
	wr_u32(&w, (uint32_t)g->n_members);
	for (size_t i = 0; i < g->n_members; i++) {
		put_member(&w, g->members[i]);
	}
	if (w.bad) {
		buf_drop(&b);
		return ERR_TOO_LARGE;
	}
	b->len = (uint32_t)wr_len(&w);
	*out = b;
	return ERR_OK;
}

/* ---- groups: reading ---------------------------------------------------------------- */

static struct span take_str(struct rd *r)
{
	uint32_t n = rd_u32(r);
	struct span s = rd_span(r, n);
	return s.p != NULL ? s : span_str("");
}

static struct span take_optional(struct rd *r)
{
	uint8_t has = rd_u8(r);
	if (has > 1) {
		r->bad = true;
	}
	return has == 1 ? take_str(r) : (struct span){NULL, 0};
}

static enum err take_member(struct group *g, struct rd *r)
{
	struct group_identity who;
	struct groups_protocol protocols[GROUPS_PROTOCOLS_MAX];
	who.id = take_str(r);
	who.instance_id = take_optional(r);
	who.client_id = take_str(r);
	who.client_host = take_str(r);
	uint32_t session = rd_u32(r);
	uint32_t rebalance = rd_u32(r);
	uint32_t n = rd_u32(r);
	if (n > GROUPS_PROTOCOLS_MAX || n == 0 || session > GROUPS_SESSION_MAX_MS ||
	    session < GROUPS_SESSION_MIN_MS || rebalance > INT32_MAX || who.id.n == 0) {
		return ERR_CORRUPT;
	}
	for (uint32_t i = 0; i < n; i++) {
		protocols[i].name = take_str(r);
		protocols[i].metadata = take_str(r);
	}
	struct span assignment = take_optional(r);
	if (r->bad) {
		return ERR_CORRUPT;
	}
	struct group_member *m = group_member_new(&who, protocols, n);
	if (m == NULL) {
		return ERR_NOMEM;
	}
	m->session_timeout_ms = (int32_t)session;
	m->rebalance_timeout_ms = (int32_t)rebalance;
	if ((assignment.p != NULL && group_member_set_assignment(m, assignment) != ERR_OK) ||
	    group_member_add(g, m) != ERR_OK) {
		group_member_free(&m);
		return ERR_NOMEM;
	}
	return ERR_OK;
}

static int compare(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n != 0 ? memcmp(a.p, b.p, n) : 0;
	return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static int by_id(const void *a, const void *b)
{
	return compare(*(const struct span *)a, *(const struct span *)b);
}

/* No two members have the same id, nor the same instance. */
static enum err check_unique(const struct group *g)
{
	struct span *ids = (struct span *)mem_calloc(2 * g->n_members, sizeof *ids);
	if (ids == NULL) {
		return ERR_NOMEM;
	}
	struct span *instances = ids + g->n_members;
	size_t n_instances = 0;
	for (size_t i = 0; i < g->n_members; i++) {
		ids[i] = g->members[i]->id;
		if (g->members[i]->instance_id.p != NULL) {
			instances[n_instances++] = g->members[i]->instance_id;
		}
	}
	enum err e = ERR_OK;
	qsort(ids, g->n_members, sizeof *ids, by_id);
	qsort(instances, n_instances, sizeof *instances, by_id);
	for (size_t i = 1; i < g->n_members; i++) {
		e = span_eq(ids[i - 1], ids[i]) ? ERR_CORRUPT : e;
	}
	for (size_t i = 1; i < n_instances; i++) {
		e = span_eq(instances[i - 1], instances[i]) ? ERR_CORRUPT : e;
	}
	mem_free(ids);
	return e;
}

static bool state_fits(uint8_t state, uint32_t members, bool has_protocol)
{
	switch (state) {
	case GROUP_EMPTY:
		return members == 0;
	case GROUP_COMPLETING:
	case GROUP_STABLE:
		return members > 0 && has_protocol;
	default:
		return false;
	}
}

static enum err take_group(struct group *g, struct rd *r)
{
	uint8_t state = rd_u8(r);
	uint32_t generation = rd_u32(r);
	uint64_t empty_ms = rd_u64(r);
	uint8_t has_protocol = rd_u8(r);
	struct span type = take_str(r);
	struct span protocol = take_str(r);
	struct span leader = take_str(r);
	uint32_t n = rd_u32(r);
	if (r->bad || generation > INT32_MAX || empty_ms > INT64_MAX || has_protocol > 1 ||
	    (has_protocol == 0 && protocol.n != 0) || n > rd_left(r) / MEMBER_LEAST ||
	    !state_fits(state, n, has_protocol == 1)) {
		return ERR_CORRUPT;
	}
	g->generation = (int32_t)generation;
	g->empty_ms = (int64_t)empty_ms;
	if (group_text_set(&g->protocol_type, type) != ERR_OK ||
	    (has_protocol == 1 && group_text_set(&g->protocol, protocol) != ERR_OK)) {
		return ERR_NOMEM;
	}
	for (uint32_t i = 0; i < n; i++) {
		enum err e = take_member(g, r);
		if (e != ERR_OK) {
			return e;
		}
	}
	g->leader = group_member_find(g, leader);
	if (r->bad || rd_left(r) != 0 || (n > 0 && g->leader == NULL) ||
	    (n == 0 && leader.n != 0)) {
		return ERR_CORRUPT;
	}
	g->state = (enum group_state)state;
	return check_unique(g);
}

enum err group_row_decode(struct span name, struct span content, const struct group_config *config,
			  const struct group_hooks *hooks, void *arg, struct group *g)
{
	struct rd r = rd_of(content);
	uint8_t version = rd_u8(&r);
	if (r.bad || name.n == 0 || name.n > GROUPS_NAME_MAX || content.n > STORE_ROWS_MAX) {
		return ERR_CORRUPT;
	}
	if (version != GROUP_ROW_VERSION) {
		return ERR_VERSION;
	}
	enum err e = group_init(g, name, config, hooks, arg);
	if (e != ERR_OK) {
		return e;
	}
	e = take_group(g, &r);
	if (e != ERR_OK) {
		group_fini(g);
		return e;
	}
	group_bytes_count(g);
	return ERR_OK;
}

/* ---- offsets ----------------------------------------------------------------------------- */

void group_offset_key_encode(struct wr *w, struct span group, struct store_part part)
{
	assert(group.n <= GROUPS_NAME_MAX);
	wr_u16(w, (uint16_t)group.n);
	wr_span(w, group);
	wr_u32(w, part.hub_id);
	wr_u32(w, part.partition);
}

void group_offset_content_encode(struct wr *w, const struct group_offset_row *row)
{
	wr_u8(w, OFFSET_ROW_VERSION);
	wr_u64(w, (uint64_t)row->offset);
	wr_u32(w, (uint32_t)row->leader_epoch);
	wr_u64(w, (uint64_t)row->commit_ms);
	wr_span(w, row->metadata);
}

enum err group_offset_row_decode(struct span key, struct span content, struct group_offset_row *out)
{
	struct rd k = rd_of(key);
	uint16_t n = rd_u16(&k);
	out->group = rd_span(&k, n);
	out->part.hub_id = rd_u32(&k);
	out->part.partition = rd_u32(&k);
	struct rd c = rd_of(content);
	uint8_t version = rd_u8(&c);
	if (k.bad || rd_left(&k) != 0 || n > GROUPS_NAME_MAX || n == 0 || c.bad) {
		return ERR_CORRUPT;
	}
	if (version != OFFSET_ROW_VERSION) {
		return ERR_VERSION;
	}
	out->offset = (int64_t)rd_u64(&c);
	out->leader_epoch = (int32_t)rd_u32(&c);
	out->commit_ms = (int64_t)rd_u64(&c);
	if (c.bad || rd_left(&c) > GROUPS_METADATA_MAX) {
		return ERR_CORRUPT;
	}
	out->metadata = rd_span(&c, rd_left(&c));
	return ERR_OK;
}
