#include "store/volume/table.h"

#include <assert.h>
#include <string.h>

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

static enum err part_make(struct table *t, struct store_part part, int64_t first_seq,
			  struct table_part **out)
{
	*out = table_find(t, part);
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
	p->range = (struct volume_range){
		.part = part,
		.first_seq = first_seq,
		.next_seq = first_seq,
		.last_append_ms = INT64_MIN,
		.max_timestamp_ms = INT64_MIN,
	};
	t->slots[slot_of(t, part)] = (uint32_t)t->n_parts + 1;
	t->parts[t->n_parts++] = p;
	*out = p;
	return ERR_OK;
}

/* ---- extents ---------------------------------------------------------------- */

static void tell(const struct table *t, uint32_t segment, int64_t bytes, int extents)
{
	if (t->live != NULL) {
		t->live(t->arg, segment, bytes, extents);
	}
}

static bool room_for_one(struct table_part *p)
{
	size_t need = p->n + 1 + (p->is_promised ? 1 : 0);
	return mem_grow((void **)&p->extents, &p->cap, need, sizeof *p->extents);
}

/* After extents came or went. */
static void set_first(struct table_part *p)
{
	int64_t first = p->n > 0 ? p->extents[0].first_seq : p->range.next_seq;
	p->range.first_seq = first > p->start_seq ? first : p->start_seq;
}

static void set_greatest(struct table_part *p)
{
	p->range.max_timestamp_ms = INT64_MIN;
	for (size_t i = 0; i < p->n; i++) {
		if (p->extents[i].max_timestamp_ms > p->range.max_timestamp_ms) {
			p->range.max_timestamp_ms = p->extents[i].max_timestamp_ms;
		}
	}
}

/* Takes away the extents lo..hi - 1. Their payload. */
static uint64_t drop_extents(struct table *t, struct table_part *p, size_t lo, size_t hi)
{
	int64_t greatest_ms = INT64_MIN;
	uint64_t bytes = 0;
	if (lo == hi) {
		return 0;
	}
	for (size_t i = lo; i < hi; i++) {
		const struct table_extent *x = &p->extents[i];
		tell(t, x->segment, -(int64_t)x->bytes, -1);
		bytes += x->bytes;
		if (x->max_timestamp_ms > greatest_ms) {
			greatest_ms = x->max_timestamp_ms;
		}
	}
	memmove(p->extents + lo, p->extents + hi, (p->n - hi) * sizeof *p->extents);
	p->n -= hi - lo;
	p->range.bytes -= bytes;
	p->changes++;
	if (greatest_ms >= p->range.max_timestamp_ms) {
		set_greatest(p);
	}
	set_first(p);
	return bytes;
}

static void extend(struct table *t, struct table_part *p, const struct volume_range *r)
{
	struct table_extent *last = &p->extents[p->n - 1];
	last->end_seq = r->next_seq;
	last->last_append_ms = r->last_append_ms;
	last->bytes += r->bytes;
	if (r->max_timestamp_ms > last->max_timestamp_ms) {
		last->max_timestamp_ms = r->max_timestamp_ms;
	}
	if (r->max_timestamp_ms > p->range.max_timestamp_ms) {
		p->range.max_timestamp_ms = r->max_timestamp_ms;
	}
	p->range.bytes += r->bytes;
	tell(t, last->segment, (int64_t)r->bytes, 0);
}

enum err table_add_part(struct table *t, uint32_t segment, uint32_t shard,
			const struct volume_range *r)
{
	struct table_part *p;
	enum err e = part_make(t, r->part, r->first_seq, &p);
	if (e != ERR_OK) {
		return e;
	}
	struct volume_range *all = &p->range;
	if (r->first_seq < all->next_seq ||
	    (p->n > 0 && r->last_append_ms < all->last_append_ms)) {
		return ERR_CORRUPT;
	}
	p->shard = shard;
	if (!p->is_gone && r->next_seq > p->start_seq) {
		if (p->n == 0 || p->extents[p->n - 1].segment != segment) {
			if (!room_for_one(p)) {
				return ERR_NOMEM;
			}
			p->extents[p->n++] = (struct table_extent){.first_seq = r->first_seq,
								   .max_timestamp_ms = INT64_MIN,
								   .segment = segment};
			tell(t, segment, 0, 1);
		}
		extend(t, p, r);
	}
	all->next_seq = r->next_seq;
	all->last_append_ms = r->last_append_ms;
	set_first(p);
	p->planned_seq = p->planned_seq > r->next_seq ? p->planned_seq : r->next_seq;
	p->planned_ms = p->planned_ms > r->last_append_ms ? p->planned_ms : r->last_append_ms;
	return ERR_OK;
}

/* ---- painting ---------------------------------------------------------------- */

/* The first extent that reaches past a sequence number. */
static size_t first_past(const struct table_part *p, int64_t seq)
{
	size_t lo = 0;
	size_t hi = p->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->extents[mid].end_seq > seq) {
			hi = mid;
		} else {
			lo = mid + 1;
		}
	}
	return lo;
}

/* What a partition has of a cover even when nothing else is left of it. */
static void know_cover(struct table_part *p, const struct record_cover *c)
{
	struct volume_range *all = &p->range;
	p->shard = c->shard;
	if (c->end_seq > all->next_seq) {
		all->next_seq = c->end_seq;
	}
	if (c->last_append_ms > all->last_append_ms) {
		all->last_append_ms = c->last_append_ms;
	}
	p->planned_seq = p->planned_seq > all->next_seq ? p->planned_seq : all->next_seq;
	p->planned_ms = p->planned_ms > all->last_append_ms ? p->planned_ms : all->last_append_ms;
}

enum err table_paint(struct table *t, uint32_t segment, const struct record_cover *c,
		     uint64_t bytes)
{
	struct table_part *p;
	enum err e = part_make(t, c->part, c->first_seq, &p);
	if (e != ERR_OK) {
		return e;
	}
	size_t lo = first_past(p, c->first_seq);
	size_t hi = lo;
	while (hi < p->n && p->extents[hi].first_seq < c->end_seq) {
		hi++;
	}
	if (lo < hi && (p->extents[lo].first_seq < c->first_seq ||
			p->extents[hi - 1].end_seq > c->end_seq)) {
		return ERR_CORRUPT;
	}
	bool is_added = !p->is_gone && c->end_seq > p->start_seq;
	if (is_added && lo == hi &&
	    !mem_grow((void **)&p->extents, &p->cap, p->n + 1, sizeof *p->extents)) {
		return ERR_NOMEM;
	}
	p->is_promised = false;
	know_cover(p, c);
	(void)drop_extents(t, p, lo, hi);
	if (is_added) {
		memmove(p->extents + lo + 1, p->extents + lo, (p->n - lo) * sizeof *p->extents);
		p->extents[lo] = (struct table_extent){
			.first_seq = c->first_seq,
			.end_seq = c->end_seq,
			.last_append_ms = c->last_append_ms,
			.max_timestamp_ms = c->max_timestamp_ms,
			.bytes = bytes,
			.segment = segment,
			.is_compacted = (c->flags & COVER_COMPACTED) != 0,
			.has_tombstones = (c->flags & COVER_TOMBSTONES) != 0,
		};
		p->n++;
		p->range.bytes += bytes;
		if (c->max_timestamp_ms > p->range.max_timestamp_ms) {
			p->range.max_timestamp_ms = c->max_timestamp_ms;
		}
		tell(t, segment, (int64_t)bytes, 1);
	}
	p->changes++;
	set_first(p);
	return ERR_OK;
}

enum err table_reserve(struct table *t, struct store_part part)
{
	struct table_part *p;
	enum err e = part_make(t, part, 0, &p);
	if (e == ERR_OK) {
		p->is_promised = false;
		p->is_promised = room_for_one(p);
		e = p->is_promised ? ERR_OK : ERR_NOMEM;
	}
	return e;
}

void table_unreserve(struct table *t, struct store_part part)
{
	struct table_part *p = table_find(t, part);
	if (p != NULL) {
		p->is_promised = false;
	}
}

/* ---- what ends --------------------------------------------------------------- */

enum err table_set_start(struct table *t, struct store_part part, int64_t first_seq,
			 uint64_t *dead)
{
	struct table_part *p;
	*dead = 0;
	enum err e = part_make(t, part, first_seq, &p);
	if (e != ERR_OK || first_seq <= p->start_seq) {
		return e;
	}
	p->start_seq = first_seq;
	*dead = drop_extents(t, p, 0, first_past(p, first_seq));
	p->changes++;
	set_first(p);
	return ERR_OK;
}

enum err table_set_gone(struct table *t, struct store_part part, uint64_t *dead)
{
	struct table_part *p;
	*dead = 0;
	enum err e = part_make(t, part, 0, &p);
	if (e == ERR_OK) {
		p->is_gone = true;
		*dead = drop_extents(t, p, 0, p->n);
		if (!p->is_promised) {
			mem_free(p->extents);
			p->extents = NULL;
			p->cap = 0;
		}
	}
	return e;
}

enum err table_set_compact(struct table *t, struct store_part part, bool is_compacted)
{
	struct table_part *p = table_find(t, part);
	if (p == NULL && !is_compacted) {
		return ERR_OK;
	}
	enum err e = part_make(t, part, 0, &p);
	if (e == ERR_OK) {
		p->is_compacted = is_compacted;
	}
	return e;
}

/* ---- the log of the shards ---------------------------------------------------- */

enum err table_add_raft(struct table *t, uint32_t segment, uint32_t shard, uint64_t first,
			uint64_t last, uint64_t last_term)
{
	assert(shard < t->n_shards);
	struct table_shard *s = &t->shards[shard];
	if (first == 0 || last < first || (s->n > 0 && first <= s->extents[s->n - 1].last_index)) {
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

bool table_raft_gap(struct table *t, uint32_t shard, size_t *before)
{
	assert(shard < t->n_shards);
	struct table_shard *s = &t->shards[shard];
	struct volume_shard_info *info = &s->info;
	uint64_t log_start = info->hard.log_start > 0 ? info->hard.log_start : 1;
	uint64_t last = s->n > 0 ? s->extents[s->n - 1].last_index : 0;
	if (last + 1 < log_start || s->n == 0) {
		/* All of it was removed, or there never was anything. */
		info->first_index = 0;
		info->last_index = log_start - 1;
		info->last_term = info->hard.start_term;
		return false;
	}
	size_t i = s->n - 1;
	while (i > 0 && s->extents[i - 1].last_index + 1 == s->extents[i].first_index) {
		i--;
	}
	info->first_index = s->extents[i].first_index;
	*before = i;
	return info->first_index > log_start;
}

void table_remove_raft(struct table *t, uint32_t segment)
{
	for (uint32_t i = 0; i < t->n_shards; i++) {
		struct table_shard *s = &t->shards[i];
		size_t n = 0;
		for (size_t k = 0; k < s->n; k++) {
			if (s->extents[k].segment != segment) {
				s->extents[n++] = s->extents[k];
			}
		}
		if (n < s->n) {
			size_t before;
			s->n = n;
			(void)table_raft_gap(t, i, &before);
		}
	}
}

/* ---- a whole segment, and searches -------------------------------------------- */

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
	return table_add_part(t, segment, p->shard, &r);
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

static void seal_part(struct table *t, uint32_t segment, const struct index_part *ip)
{
	struct table_part *p = ip->n > 0 ? table_find(t, ip->part) : NULL;
	struct table_extent *x = p != NULL && p->n > 0 ? &p->extents[0] : NULL;
	if (x == NULL || x->segment != segment || x->first_seq <= ip->rows[0].base_seq) {
		return;
	}
	int64_t more = -(int64_t)x->bytes;
	for (size_t i = 0; i < ip->n; i++) {
		more += ip->rows[i].bytes;
		if (ip->rows[i].max_timestamp_ms > x->max_timestamp_ms) {
			x->max_timestamp_ms = ip->rows[i].max_timestamp_ms;
		}
	}
	x->first_seq = ip->rows[0].base_seq;
	x->bytes = (uint64_t)((int64_t)x->bytes + more);
	p->range.bytes = (uint64_t)((int64_t)p->range.bytes + more);
	p->changes++;
	tell(t, segment, more, 0);
	set_greatest(p);
	set_first(p);
}

void table_seal(struct table *t, uint32_t segment, const struct index *ix)
{
	for (size_t i = 0; i < ix->n_parts; i++) {
		seal_part(t, segment, ix->parts[i]);
	}
}

size_t table_extent_of(const struct table_part *p, const struct index_query *q, int64_t from)
{
	size_t i = first_past(p, from);
	if (q->by == INDEX_BY_APPEND_TIME) {
		size_t hi = p->n;
		while (i < hi) {
			size_t mid = i + (hi - i) / 2;
			if (p->extents[mid].last_append_ms >= q->key) {
				hi = mid;
			} else {
				i = mid + 1;
			}
		}
	}
	while (i < p->n && (p->extents[i].bytes == 0 ||
			    (q->by == INDEX_BY_TIMESTAMP && p->extents[i].max_timestamp_ms < q->key))) {
		i++;
	}
	return i;
}
