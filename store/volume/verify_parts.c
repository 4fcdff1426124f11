#include "store/volume/verify_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* What the segments say of each partition and shard, and whether it fits together. */

/* ---- spans ---------------------------------------------------------------------- */

/* The first that ends at `at` or later. */
static size_t span_find(const struct verify_spans *s, int64_t at)
{
	size_t lo = 0;
	size_t hi = s->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->v[mid].end < at) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

enum err verify_span_add(struct verify_spans *s, struct verify_span x)
{
	if (x.first >= x.end) {
		return ERR_OK;
	}
	size_t from = span_find(s, x.first);
	size_t to = from;
	while (to < s->n && s->v[to].first <= x.end) {
		x.first = s->v[to].first < x.first ? s->v[to].first : x.first;
		x.end = s->v[to].end > x.end ? s->v[to].end : x.end;
		to++;
	}
	if (to == from) {
		if (!mem_grow((void **)&s->v, &s->cap, s->n + 1, sizeof *s->v)) {
			return ERR_NOMEM;
		}
		memmove(&s->v[from + 1], &s->v[from], (s->n - from) * sizeof *s->v);
		s->n++;
	} else {
		memmove(&s->v[from + 1], &s->v[to], (s->n - to) * sizeof *s->v);
		s->n -= to - from - 1;
	}
	s->v[from] = x;
	return ERR_OK;
}

/* Whether x has something of `s`; and whether all of it. */
static bool span_meets(const struct verify_spans *s, struct verify_span x)
{
	size_t i = span_find(s, x.first + 1);
	return i < s->n && s->v[i].first < x.end;
}

static bool span_has(const struct verify_spans *s, struct verify_span x)
{
	size_t i = span_find(s, x.first + 1);
	return i < s->n && s->v[i].first <= x.first && x.end <= s->v[i].end;
}

/* The first run of x that is not in `s`; false: there is none. *x becomes the rest. */
static bool span_take_outside(const struct verify_spans *s, struct verify_span *x,
			      struct verify_span *out)
{
	while (x->first < x->end) {
		size_t i = span_find(s, x->first + 1);
		if (i < s->n && s->v[i].first <= x->first) {
			x->first = s->v[i].end;
			continue;
		}
		int64_t end = i < s->n && s->v[i].first < x->end ? s->v[i].first : x->end;
		*out = (struct verify_span){x->first, end};
		x->first = end;
		return true;
	}
	return false;
}

/* ---- partitions ------------------------------------------------------------------ */

static struct verify_part **slot_of(const struct verify_parts *p, struct store_part part,
				    uint32_t **slot)
{
	size_t mask = p->n_slots - 1;
	for (size_t i = index_hash(part) & mask;; i = (i + 1) & mask) {
		*slot = &p->slots[i];
		if (p->slots[i] == 0) {
			return NULL;
		}
		struct verify_part **at = &p->v[p->slots[i] - 1];
		if (store_part_key((*at)->part) == store_part_key(part)) {
			return at;
		}
	}
}

static bool slots_grow(struct verify_parts *p)
{
	enum { SLOTS_FIRST = 64 };
	if (p->n_slots > 2 * p->n) {
		return true;
	}
	size_t n = p->n_slots == 0 ? SLOTS_FIRST : 2 * p->n_slots;
	uint32_t *slots = mem_calloc(n, sizeof *slots);
	if (slots == NULL) {
		return false;
	}
	mem_free(p->slots);
	p->slots = slots;
	p->n_slots = n;
	for (size_t i = 0; i < p->n; i++) {
		uint32_t *slot;
		(void)slot_of(p, p->v[i]->part, &slot);
		*slot = (uint32_t)i + 1;
	}
	return true;
}

struct verify_part *verify_part_get(struct verify *v, struct store_part part, uint32_t shard)
{
	struct verify_parts *p = &v->parts;
	if (!slots_grow(p)) {
		return NULL;
	}
	uint32_t *slot;
	struct verify_part **at = slot_of(p, part, &slot);
	if (at != NULL) {
		return *at;
	}
	if (!mem_grow((void **)&p->v, &p->cap, p->n + 1, sizeof *p->v)) {
		return NULL;
	}
	struct verify_part *vp = MEM_NEW(struct verify_part);
	if (vp == NULL) {
		return NULL;
	}
	vp->part = part;
	vp->shard = shard;
	vp->last_append_ms = INT64_MIN;
	p->v[p->n++] = vp;
	*slot = (uint32_t)p->n;
	return vp;
}

void verify_parts_fini(struct verify *v)
{
	struct verify_parts *p = &v->parts;
	for (size_t i = 0; i < p->n; i++) {
		mem_free(p->v[i]->logged.v);
		mem_free(p->v[i]->covered.v);
		mem_free(p->v[i]->lost.v);
		mem_free(p->v[i]);
	}
	mem_free(p->v);
	mem_free(p->slots);
	mem_free(v->gaps);
	mem_free(v->lost);
	mem_free(v->shards);
}

static void tell_part(struct verify *v, const char *file, struct store_part part,
		      struct verify_span x, const char *what)
{
	verify_tell(v, file, VERIFY_DAMAGE, "events %lld to %lld of partition %u of hub %u: %s",
		    (long long)x.first, (long long)x.end - 1, part.partition, part.hub_id, what);
}

enum err verify_part_logged(struct verify *v, const char *file, struct store_part part,
			    uint32_t shard, struct verify_span span, int64_t first_ms,
			    int64_t last_ms)
{
	struct verify_part *p = verify_part_get(v, part, shard);
	if (p == NULL) {
		return verify_nomem(v);
	}
	if (p->shard != shard) {
		tell_part(v, file, part, span, "are in another shard than others of it");
	}
	int64_t end = p->logged.n > 0 ? p->logged.v[p->logged.n - 1].end : 0;
	if (span.first < end) {
		tell_part(v, file, part, span, "have the sequence numbers of earlier ones");
		return ERR_OK;
	}
	if (first_ms < p->last_append_ms || last_ms < first_ms) {
		tell_part(v, file, part, span, "are older than the ones before them");
	}
	p->last_append_ms = last_ms > p->last_append_ms ? last_ms : p->last_append_ms;
	return verify_span_add(&p->logged, span) == ERR_OK ? ERR_OK : verify_nomem(v);
}

enum err verify_part_cover(struct verify *v, const char *file, const struct record_cover *c)
{
	struct verify_part *p = verify_part_get(v, c->part, c->shard);
	if (p == NULL) {
		return verify_nomem(v);
	}
	struct verify_span x = {c->first_seq, c->end_seq};
	if (p->shard != c->shard) {
		tell_part(v, file, c->part, x, "are in another shard than others of it");
	}
	/* What a later one covers, it covers as a whole. */
	if (span_meets(&p->covered, x) && !span_has(&p->covered, x)) {
		tell_part(v, file, c->part, x, "a later cleaned segment stands for a part of them");
	}
	return verify_span_add(&p->covered, x) == ERR_OK ? ERR_OK : verify_nomem(v);
}

enum err verify_part_lost(struct verify *v, const char *file, struct store_part part,
			  uint32_t shard, struct verify_span span)
{
	struct verify_part *p = verify_part_get(v, part, shard);
	if (p == NULL) {
		return verify_nomem(v);
	}
	struct verify_span x;
	while (span_take_outside(&p->covered, &span, &x)) {
		struct verify_lost *last = v->n_lost > 0 ? &v->lost[v->n_lost - 1] : NULL;
		if (last != NULL && store_part_key(last->part) == store_part_key(part) &&
		    last->span.end == x.first && strcmp(last->file, file) == 0) {
			last->span.end = x.end;
		} else {
			if (!mem_grow((void **)&v->lost, &v->cap_lost, v->n_lost + 1,
				      sizeof *v->lost)) {
				return verify_nomem(v);
			}
			last = &v->lost[v->n_lost++];
			*last = (struct verify_lost){.part = part, .span = x};
			snprintf(last->file, sizeof last->file, "%s", file);
		}
		if (verify_span_add(&p->lost, x) != ERR_OK) {
			return verify_nomem(v);
		}
	}
	return ERR_OK;
}

/* ---- shards ----------------------------------------------------------------------- */

static enum err add_gap(struct verify *v, uint32_t shard, uint64_t first, uint64_t last)
{
	if (!mem_grow((void **)&v->gaps, &v->cap_gaps, v->n_gaps + 1, sizeof *v->gaps)) {
		return verify_nomem(v);
	}
	v->gaps[v->n_gaps++] = (struct verify_gap){shard, first, last};
	return ERR_OK;
}

enum err verify_raft(struct verify *v, const char *file, uint32_t shard, uint64_t first,
		     uint64_t last, uint64_t first_term, uint64_t last_term)
{
	struct verify_shard *sh = &v->shards[shard];
	enum err e = ERR_OK;
	if (first <= sh->last_index) {
		verify_tell(v, file, VERIFY_DAMAGE,
			    "raft index %llu of shard %u follows %llu: it was given out twice",
			    (unsigned long long)first, shard, (unsigned long long)sh->last_index);
		return ERR_OK;
	}
	if (first != sh->last_index + 1) {
		e = add_gap(v, shard, sh->last_index + 1, first - 1);
	}
	if (first_term < sh->last_term || last_term < first_term) {
		verify_tell(v, file, VERIFY_DAMAGE, "terms of shard %u fall at raft index %llu",
			    shard, (unsigned long long)first);
	}
	sh->last_index = last;
	sh->last_term = last_term;
	return e;
}

void verify_hard_state(struct verify *v, const char *file, const struct volume_hard_state *h)
{
	struct verify_shard *sh = &v->shards[h->shard];
	if (sh->has_hard && (h->term < sh->hard.term || h->log_start < sh->hard.log_start)) {
		verify_tell(v, file, VERIFY_DAMAGE, "hard state of shard %u is older than that of a "
						    "segment before it",
			    h->shard);
		return;
	}
	sh->has_hard = true;
	sh->hard = *h;
}

static uint64_t end_of(const struct verify_shard *sh)
{
	uint64_t before = sh->has_hard && sh->hard.log_start > 0 ? sh->hard.log_start - 1 : 0;
	return sh->last_index > before ? sh->last_index : before;
}

static const char *where(const struct verify *v)
{
	return v->unknown[0] != '\0' ? v->unknown : "segments";
}

static void shards_together(struct verify *v)
{
	v->is_log_whole = true;
	for (size_t i = 0; i < v->n_gaps; i++) {
		const struct verify_gap *g = &v->gaps[i];
		const struct verify_shard *sh = &v->shards[g->shard];
		v->is_log_whole = v->is_log_whole && g->first > 1;
		if (!sh->has_hard || g->last >= sh->hard.log_start) {
			verify_tell(v, where(v), VERIFY_DAMAGE,
				    "raft indexes %llu to %llu of shard %u are missing",
				    (unsigned long long)g->first, (unsigned long long)g->last,
				    g->shard);
		}
	}
	for (uint32_t i = 0; i < v->o->shards; i++) {
		const struct verify_shard *sh = &v->shards[i];
		v->is_log_whole = v->is_log_whole && (!sh->has_hard || sh->hard.log_start <= 1);
		if (v->n > 0 && !sh->has_hard) {
			verify_tell(v, where(v), VERIFY_DAMAGE, "no hard state of shard %u", i);
		}
		if (sh->has_hard && sh->last_term > sh->hard.term) {
			verify_tell(v, where(v), VERIFY_DAMAGE,
				    "hard state of shard %u is of term %llu, its log of %llu", i,
				    (unsigned long long)sh->hard.term,
				    (unsigned long long)sh->last_term);
		}
		uint64_t applied = v->o->applied != NULL ? v->o->applied[i] : sh->applied;
		if (i % v->o->volumes == v->o->ordinal && applied > end_of(sh)) {
			verify_tell(v, where(v), VERIFY_DAMAGE,
				    "the log of shard %u ends at raft index %llu, the state knows "
				    "%llu: acknowledged entries are lost",
				    i, (unsigned long long)end_of(sh), (unsigned long long)applied);
		}
	}
}

/* ---- together --------------------------------------------------------------------- */

static void lost_together(struct verify *v)
{
	for (size_t i = 0; i < v->n_lost; i++) {
		const struct verify_lost *l = &v->lost[i];
		struct verify_span x = l->span;
		int64_t start = 0;
		if (v->o->start != NULL && !v->o->start(v->o->arg, l->part, &start)) {
			continue;
		}
		x.first = x.first < start ? start : x.first;
		if (x.first < x.end) {
			verify_tell_lost(v, l->file, l->part, x, "cannot be read");
		}
	}
}

static void gaps_of(struct verify *v, const struct verify_part *p, int64_t start, int64_t end)
{
	struct verify_span left = {start, end};
	struct verify_span a;
	struct verify_span b;
	while (span_take_outside(&p->logged, &left, &a)) {
		while (span_take_outside(&p->covered, &a, &b)) {
			struct verify_span c;
			while (span_take_outside(&p->lost, &b, &c)) {
				verify_tell_lost(v, where(v), p->part, c, "are in no file");
			}
		}
	}
}

static int by_part(const void *a, const void *b)
{
	uint64_t ka = store_part_key((*(struct verify_part *const *)a)->part);
	uint64_t kb = store_part_key((*(struct verify_part *const *)b)->part);
	return ka < kb ? -1 : ka > kb;
}

static int64_t end_of_spans(const struct verify_spans *s)
{
	return s->n > 0 ? s->v[s->n - 1].end : 0;
}

static void parts_together(struct verify *v)
{
	if (v->parts.n > 0) {
		qsort(v->parts.v, v->parts.n, sizeof *v->parts.v, by_part);
	}
	for (size_t i = 0; i < v->parts.n; i++) {
		const struct verify_part *p = v->parts.v[i];
		int64_t start = 0;
		if (v->o->start == NULL || !v->o->start(v->o->arg, p->part, &start)) {
			continue;
		}
		int64_t logged = end_of_spans(&p->logged);
		int64_t covered = end_of_spans(&p->covered);
		int64_t end = logged > covered ? logged : covered;
		gaps_of(v, p, start, end);
	}
}

enum err verify_together(struct verify *v)
{
	/* The table is put into order below: nothing is looked up any more. */
	shards_together(v);
	lost_together(v);
	parts_together(v);
	v->out->partitions += v->parts.n;
	return ERR_OK;
}
