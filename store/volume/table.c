#include "store/volume/table.h"

#include <assert.h>

#include "base/mem.h"

enum { SLOTS_AT_FIRST = 256 };

enum err table_init(struct table *t, uint32_t n_shards)
{
	*t = (struct table){.n_shards = n_shards};
	t->shards = mem_calloc(n_shards, sizeof *t->shards);
	if (t->shards == NULL) {
		return ERR_NOMEM;
	}
	for (uint32_t i = 0; i < n_shards; i++) {
		t->shards[i].info.hard.shard = i;
	}
	return ERR_OK;
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->n_parts; i++) {
		mem_free(t->parts[i]->extents);
		mem_free(t->parts[i]);
	}
	for (uint32_t i = 0; t->shards != NULL && i < t->n_shards; i++) {
		mem_free(t->shards[i].extents);
	}
	mem_free(t->parts);
	mem_free(t->slots);
	mem_free(t->shards);
	*t = (struct table){0};
}

static size_t slot_of(const struct table *t, struct store_part part)
{
	size_t mask = t->n_slots - 1;
	size_t i = index_hash(part) & mask;
	while (t->slots[i] != 0) {
		const struct table_part *p = t->parts[t->slots[i] - 1];
		if (store_part_key(p->range.part) == store_part_key(part)) {
			break;
		}
		i = (i + 1) & mask;
	}
	return i;
}

static enum err slots_grow(struct table *t)
{
	if ((t->n_parts + 1) * 2 <= t->n_slots) {
		return ERR_OK;
	}
	size_t n = t->n_slots != 0 ? t->n_slots * 2 : SLOTS_AT_FIRST;
	uint32_t *slots = mem_calloc(n, sizeof *slots);
	if (slots == NULL) {
		return ERR_NOMEM;
	}
	mem_free(t->slots);
	t->slots = slots;
	t->n_slots = n;
	for (size_t i = 0; i < t->n_parts; i++) {
		slots[slot_of(t, t->parts[i]->range.part)] = (uint32_t)i + 1;
	}
	return ERR_OK;
}

struct table_part *table_find(const struct table *t, struct store_part part)
{
	if (t->n_slots == 0) {
		return NULL;
	}
	uint32_t at = t->slots[slot_of(t, part)];
	return at != 0 ? t->parts[at - 1] : NULL;
}

static enum err part_make(struct table *t, const struct volume_range *r, struct table_part **out)
{
	*out = table_find(t, r->part);
	if (*out != NULL) {
		return ERR_OK;
	}
	if (slots_grow(t) != ERR_OK ||
	    !mem_grow((void **)&t->parts, &t->cap_parts, t->n_parts + 1, sizeof(void *))) {
		return ERR_NOMEM;
	}
	struct table_part *p = MEM_NEW(struct table_part);
	if (p == NULL) {
		return ERR_NOMEM;
	}
	p->range = *r;
	p->range.next_seq = r->first_seq;
	p->range.bytes = 0;
	t->slots[slot_of(t, r->part)] = (uint32_t)t->n_parts + 1;
	t->parts[t->n_parts++] = p;
	*out = p;
	return ERR_OK;
}

enum err table_add_part(struct table *t, uint32_t segment, const struct volume_range *r)
{
	struct table_part *p;
	enum err e = part_make(t, r, &p);
	if (e != ERR_OK) {
		return e;
	}
	struct volume_range *all = &p->range;
	if (r->first_seq < all->next_seq ||
	    (p->n > 0 && r->last_append_ms < all->last_append_ms)) {
		return ERR_CORRUPT;
	}
	if (p->n == 0 || p->extents[p->n - 1].segment != segment) {
		if (!mem_grow((void **)&p->extents, &p->cap, p->n + 1, sizeof *p->extents)) {
			return ERR_NOMEM;
		}
		p->extents[p->n++] = (struct table_extent){.first_seq = r->first_seq,
							   .max_timestamp_ms = INT64_MIN,
							   .segment = segment};
	}
	struct table_extent *last = &p->extents[p->n - 1];
	last->last_append_ms = r->last_append_ms;
	if (r->max_timestamp_ms > last->max_timestamp_ms) {
		last->max_timestamp_ms = r->max_timestamp_ms;
	}
	all->next_seq = r->next_seq;
	all->last_append_ms = r->last_append_ms;
	all->bytes += r->bytes;
	p->planned_seq = p->planned_seq > r->next_seq ? p->planned_seq : r->next_seq;
	p->planned_ms = p->planned_ms > r->last_append_ms ? p->planned_ms : r->last_append_ms;
	if (r->max_timestamp_ms > all->max_timestamp_ms) {
		all->max_timestamp_ms = r->max_timestamp_ms;
	}
	return ERR_OK;
}

enum err table_add_raft(struct table *t, uint32_t segment, uint32_t shard, uint64_t first,
			uint64_t last, uint64_t last_term)
{
	assert(shard < t->n_shards);
	struct table_shard *s = &t->shards[shard];
	if (first == 0 || last < first || (s->n > 0 && first != s->info.last_index + 1)) {
		return ERR_CORRUPT;
	}
	if (s->n == 0 || s->extents[s->n - 1].segment != segment) {
		if (!mem_grow((void **)&s->extents, &s->cap, s->n + 1, sizeof *s->extents)) {
			return ERR_NOMEM;
		}
		s->extents[s->n++] = (struct table_shard_extent){.first_index = first,
								 .segment = segment};
	}
	s->extents[s->n - 1].last_index = last;
	if (s->info.first_index == 0) {
		s->info.first_index = first;
	}
	s->info.last_index = last;
	s->info.last_term = last_term;
	return ERR_OK;
}

static enum err add_index_part(struct table *t, uint32_t segment, const struct index_part *p)
{
	if (p->n == 0) {
		return ERR_OK;
	}
	struct volume_range r = {
		.part = p->part,
		.first_seq = p->rows[0].base_seq,
		.next_seq = p->rows[p->n - 1].next_seq,
		.last_append_ms = p->rows[p->n - 1].append_last_ms,
		.max_timestamp_ms = INT64_MIN,
	};
	for (size_t i = 0; i < p->n; i++) {
		r.bytes += p->rows[i].bytes;
		if (p->rows[i].max_timestamp_ms > r.max_timestamp_ms) {
			r.max_timestamp_ms = p->rows[i].max_timestamp_ms;
		}
	}
	return table_add_part(t, segment, &r);
}

enum err table_add_index(struct table *t, uint32_t segment, const struct index *ix)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < ix->n_parts; i++) {
		e = add_index_part(t, segment, ix->parts[i]);
	}
	for (uint32_t i = 0; e == ERR_OK && i < ix->n_shards; i++) {
		const struct index_shard *s = &ix->shards[i];
		if (s->has_hard) {
			t->shards[i].info.hard = s->hard;
		}
		if (s->n > 0) {
			const struct index_raft *last = &s->rows[s->n - 1];
			e = table_add_raft(t, segment, i, s->rows[0].index, last->index,
					   last->term);
		}
	}
	return e;
}

static bool begins_after(const struct table_extent *x, const struct index_query *q)
{
	return q->by == INDEX_BY_APPEND_TIME ? x->last_append_ms >= q->key
					     : x->first_seq > q->key;
}

size_t table_extent_of(const struct table_part *p, const struct index_query *q, size_t from)
{
	if (q->by == INDEX_BY_TIMESTAMP) {
		while (from < p->n && p->extents[from].max_timestamp_ms < q->key) {
			from++;
		}
		return from;
	}
	size_t lo = from;
	size_t hi = p->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (begins_after(&p->extents[mid], q)) {
			hi = mid;
		} else {
			lo = mid + 1;
		}
	}
	/* By sequence number the extent before the first that begins later may
	 * still hold it; by time the first one that ends late enough does. */
	return q->by == INDEX_BY_SEQ && lo > from ? lo - 1 : lo;
}
