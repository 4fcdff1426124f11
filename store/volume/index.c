#include "store/volume/index.h"

#include <assert.h>

#include "base/mem.h"

enum { SLOTS_AT_FIRST = 64 };

uint32_t index_hash(struct store_part part)
{
	/* The finaliser of splitmix64: hub ids and partitions are small, dense numbers. */
	uint64_t h = store_part_key(part);
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9U;
	h = (h ^ h >> 27) * 0x94d049bb133111ebU;
	return (uint32_t)(h ^ h >> 31);
}

struct index *index_new(uint32_t n_shards)
{
	struct index *ix = MEM_NEW(struct index);
	if (ix == NULL) {
		return NULL;
	}
	ix->shards = mem_calloc(n_shards, sizeof *ix->shards);
	if (ix->shards == NULL) {
		mem_free(ix);
		return NULL;
	}
	ix->n_shards = n_shards;
	return ix;
}

void index_free(struct index **ip)
{
	struct index *ix = *ip;
	*ip = NULL;
	if (ix == NULL) {
		return;
	}
	for (size_t i = 0; i < ix->n_parts; i++) {
		mem_free(ix->parts[i]->rows);
		mem_free(ix->parts[i]);
	}
	for (uint32_t i = 0; i < ix->n_shards; i++) {
		mem_free(ix->shards[i].rows);
	}
	mem_free(ix->parts);
	mem_free(ix->slots);
	mem_free(ix->shards);
	mem_free(ix);
}

/* The slot of a partition, or the empty one where it belongs. */
static size_t slot_of(const struct index *ix, struct store_part part)
{
	size_t mask = ix->n_slots - 1;
	size_t i = index_hash(part) & mask;
	while (ix->slots[i] != 0) {
		const struct index_part *p = ix->parts[ix->slots[i] - 1];
		if (store_part_key(p->part) == store_part_key(part)) {
			break;
		}
		i = (i + 1) & mask;
	}
	return i;
}

/* Keeps the table at most half full. */
static enum err slots_grow(struct index *ix)
{
	if ((ix->n_parts + 1) * 2 <= ix->n_slots) {
		return ERR_OK;
	}
	size_t n = ix->n_slots != 0 ? ix->n_slots * 2 : SLOTS_AT_FIRST;
	uint32_t *slots = mem_calloc(n, sizeof *slots);
	if (slots == NULL) {
		return ERR_NOMEM;
	}
	mem_free(ix->slots);
	ix->slots = slots;
	ix->n_slots = n;
	for (size_t i = 0; i < ix->n_parts; i++) {
		slots[slot_of(ix, ix->parts[i]->part)] = (uint32_t)i + 1;
	}
	return ERR_OK;
}

static struct index_part *find(const struct index *ix, struct store_part part)
{
	if (ix->n_slots == 0) {
		return NULL;
	}
	uint32_t at = ix->slots[slot_of(ix, part)];
	return at != 0 ? ix->parts[at - 1] : NULL;
}

struct index_part *index_part_find(const struct index *ix, struct store_part part)
{
	struct index_part *p = find(ix, part);
	return p != NULL && p->n > 0 ? p : NULL;
}

static enum err part_make(struct index *ix, struct store_part part, struct index_part **out)
{
	*out = find(ix, part);
	if (*out != NULL) {
		return ERR_OK;
	}
	if (slots_grow(ix) != ERR_OK ||
	    !mem_grow((void **)&ix->parts, &ix->cap_parts, ix->n_parts + 1, sizeof(void *))) {
		return ERR_NOMEM;
	}
	struct index_part *p = MEM_NEW(struct index_part);
	if (p == NULL) {
		return ERR_NOMEM;
	}
	p->part = part;
	ix->slots[slot_of(ix, part)] = (uint32_t)ix->n_parts + 1;
	ix->parts[ix->n_parts++] = p;
	*out = p;
	return ERR_OK;
}

enum err index_add_batch(struct index *ix, uint32_t shard, uint64_t log_no,
			 const struct volume_command *c)
{
	struct index_part *p;
	enum err e = part_make(ix, c->part, &p);
	if (e != ERR_OK) {
		return e;
	}
	p->shard = shard;
	struct index_row *last = p->n > 0 ? &p->rows[p->n - 1] : NULL;
	if (last != NULL && (c->base_seq < last->next_seq || c->append_ms < last->append_last_ms)) {
		return ERR_CORRUPT;
	}
	if (last != NULL && last->log_no == log_no) {
		last->next_seq = c->base_seq + c->count;
		last->append_last_ms = c->append_ms;
		last->bytes += (uint32_t)c->payload.n;
		if (c->max_timestamp_ms > last->max_timestamp_ms) {
			last->max_timestamp_ms = c->max_timestamp_ms;
		}
		if (c->max_timestamp_ms > last->greatest_ms) {
			last->greatest_ms = c->max_timestamp_ms;
		}
		return ERR_OK;
	}
	int64_t greatest_ms = c->max_timestamp_ms;
	if (last != NULL && last->greatest_ms > greatest_ms) {
		greatest_ms = last->greatest_ms;
	}
	if (!mem_grow((void **)&p->rows, &p->cap, p->n + 1, sizeof *p->rows)) {
		return ERR_NOMEM;
	}
	p->rows[p->n++] = (struct index_row){
		.base_seq = c->base_seq,
		.next_seq = c->base_seq + c->count,
		.log_no = log_no,
		.append_first_ms = c->append_ms,
		.append_last_ms = c->append_ms,
		.max_timestamp_ms = c->max_timestamp_ms,
		.greatest_ms = greatest_ms,
		.bytes = (uint32_t)c->payload.n,
	};
	return ERR_OK;
}

enum err index_add_raft(struct index *ix, uint32_t shard, const struct index_raft *row)
{
	assert(shard < ix->n_shards);
	struct index_shard *s = &ix->shards[shard];
	if (row->index == 0 || (s->n > 0 && row->index != s->rows[s->n - 1].index + 1)) {
		return ERR_CORRUPT;
	}
	if (!mem_grow((void **)&s->rows, &s->cap, s->n + 1, sizeof *s->rows)) {
		return ERR_NOMEM;
	}
	s->rows[s->n++] = *row;
	return ERR_OK;
}

void index_set_hard_state(struct index *ix, const struct volume_hard_state *h)
{
	assert(h->shard < ix->n_shards);
	ix->shards[h->shard].hard = *h;
	ix->shards[h->shard].has_hard = true;
}

void index_truncate(struct index *ix, uint32_t shard, uint64_t from)
{
	assert(shard < ix->n_shards);
	struct index_shard *s = &ix->shards[shard];
	if (s->n == 0 || s->rows[s->n - 1].index < from) {
		return;
	}
	while (s->n > 0 && s->rows[s->n - 1].index >= from) {
		s->n--;
	}
	/* What stood at this place was the first record dropped; a shard's raft
	 * order is its log order. */
	uint64_t log_no = s->rows[s->n].log_no;
	for (size_t i = 0; i < ix->n_parts; i++) {
		struct index_part *p = ix->parts[i];
		while (p->shard == shard && p->n > 0 && p->rows[p->n - 1].log_no >= log_no) {
			p->n--;
		}
	}
}

size_t index_rows(const struct index *ix, struct store_part part, const struct index_query *q,
		  struct index_row *out, size_t max)
{
	const struct index_part *p = index_part_find(ix, part);
	if (p == NULL) {
		return 0;
	}
	size_t lo = 0;
	size_t hi = p->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (index_row_matches(q, &p->rows[mid])) {
			hi = mid;
		} else {
			lo = mid + 1;
		}
	}
	size_t n = p->n - lo < max ? p->n - lo : max;
	memcpy(out, p->rows + lo, n * sizeof *out);
	return n;
}
