#include "store/volume/clean.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

/* Which segments are cleaned next, and with which others. One cover stands for each
 * partition in the new segment, so of each partition the sources must hold neighbours. */

enum {
	/* Looked at under one hold of the lock. */
	SEGMENTS_AT_ONCE = 1024,
	PARTS_AT_ONCE = 256,
	EXTENTS_AT_ONCE = 8192,
	/* Of all candidates of one plan: bounds its memory to some 100 MB. */
	EXTENTS_MAX = 1 << 20,
	/* A segment of less than a quarter of the bound is small. So many of about the same
	 * size (within a factor of eight) are joined: each byte is copied a few times over
	 * the life of a volume, whatever its size. */
	SMALL_PART = 4,
	JOIN_AT = 8,
	TIER_BITS = 3,
	TIERS = 64 / TIER_BITS + 1,
};

/* A segment that may become a source. */
struct candidate {
	struct segment *segment;
	uint32_t at;
	uint64_t file_bytes;
	uint64_t live_bytes;
	int64_t last_ms;	/* greatest append time of what lives in it */
	size_t lo;		/* its extents in the scan: lo..hi - 1 */
	size_t hi;
};

struct scan {
	struct volume *volume;
	struct candidate *v;
	size_t n;
	size_t cap;
	uint32_t *rank;		/* by place of a segment: candidate + 1, or 0 */
	size_t n_rank;
	struct clean_extent *extents;	/* cover: the candidate */
	size_t n_extents;
	size_t cap_extents;
};

static void scan_fini(struct scan *sc)
{
	mem_free(sc->v);
	mem_free(sc->rank);
	mem_free(sc->extents);
}

/* ---- candidates ------------------------------------------------------------------ */

/* The payload of a cleaned segment when it was written. */
static void learn_payload(struct segment *s)
{
	char path[SEGMENT_PATH];
	struct idx_head head;
	int fd;
	segment_file(s, ".idx", path);
	/* Unknown: cleaned once more at most, which tells of the damage. */
	s->payload_1 = s->file_bytes + 1;
	if (idx_open(path, &head, &fd, NULL) != ERR_OK) {
		return;
	}
	struct idx_reader r;
	uint64_t bytes = 0;
	enum err e = ERR_OK;
	idx_reader_init(&r, fd, &head);
	for (uint64_t i = 0; e == ERR_OK && i < head.section[IDX_PARTS].n; i++) {
		struct idx_part p;
		e = idx_part_at(&r, i, &p);
		bytes += e == ERR_OK ? p.bytes : 0;
	}
	close(fd);
	if (e == ERR_OK) {
		s->payload_1 = bytes + 1;
	}
}

/* Of small batches even a new segment may have less payload than half of its bytes: a
 * quarter of what it held must be dead too. */
static bool wants_cleaning(const struct candidate *c)
{
	const struct segment *s = c->segment;
	if (c->live_bytes * 2 >= c->file_bytes) {
		return false;
	}
	if (!s->is_cleaned) {
		return true;
	}
	assert(s->payload_1 > 0);
	uint64_t payload = s->payload_1 - 1;
	return c->live_bytes < payload && c->live_bytes <= payload - payload / 4;
}

/* TIERS: not small. */
static unsigned tier_of(const struct candidate *c)
{
	uint64_t most = c->segment->volume->options.segment_max_bytes;
	unsigned tier = 0;
	if (c->file_bytes * SMALL_PART >= most) {
		return TIERS;
	}
	while (tier < TIERS - 1 && c->file_bytes << (TIER_BITS * (tier + 1)) < most) {
		tier++;
	}
	return tier;
}

/* Before the floors are asked, which takes longer. */
static bool may_matter_locked(const struct segment *s)
{
	return s->live_bytes * 2 < s->file_bytes ||
	       s->file_bytes * SMALL_PART < s->volume->options.segment_max_bytes;
}

static enum err add_candidate_locked(struct scan *sc, struct segment *s)
{
	if (!mem_grow((void **)&sc->v, &sc->cap, sc->n + 1, sizeof *sc->v)) {
		return ERR_NOMEM;
	}
	sc->v[sc->n++] = (struct candidate){
		.segment = s,
		.at = s->at,
		.file_bytes = s->file_bytes,
		.live_bytes = s->live_bytes,
		.last_ms = INT64_MIN,
	};
	return ERR_OK;
}

/* Nothing but the cleaner takes segments away, so the lock is given up now and then. */
static enum err add_candidates(struct scan *sc)
{
	struct volume *v = sc->volume;
	size_t i = 0;
	bool is_more = true;
	enum err e = ERR_OK;
	while (e == ERR_OK && is_more) {
		lock_take(&v->lock);
		size_t end = i + SEGMENTS_AT_ONCE < v->n_segments ? i + SEGMENTS_AT_ONCE
								  : v->n_segments;
		for (; e == ERR_OK && i < end; i++) {
			struct segment *s = v->segments[i];
			if (s != NULL && cleaner_may_read_locked(s) && s->n_extents > 0 &&
			    may_matter_locked(s) && segment_is_below_floor_locked(s)) {
				e = add_candidate_locked(sc, s);
			}
		}
		is_more = i < v->n_segments;
		lock_give(&v->lock);
	}
	return e;
}

static int by_number(const void *a, const void *b)
{
	const struct segment *sa = ((const struct candidate *)a)->segment;
	const struct segment *sb = ((const struct candidate *)b)->segment;
	if (sa->is_cleaned != sb->is_cleaned) {
		return sa->is_cleaned ? -1 : 1;
	}
	return sa->number < sb->number ? -1 : sa->number > sb->number;
}

/* The rest has its turn when these are gone. Neighbours in number are most likely those
 * in time. */
static void bound_candidates(struct scan *sc)
{
	struct volume *v = sc->volume;
	uint64_t extents = 0;
	size_t n = 0;
	if (sc->n == 0) {
		return;
	}
	qsort(sc->v, sc->n, sizeof *sc->v, by_number);
	lock_take(&v->lock);
	while (n < sc->n && (n < JOIN_AT || extents + sc->v[n].segment->n_extents <= EXTENTS_MAX)) {
		extents += sc->v[n++].segment->n_extents;
	}
	lock_give(&v->lock);
	sc->n = n;
}

/* Keeps those that want to be cleaned, or when there are none, those of a tier that has
 * enough of them. *least: so many sources make it worthwhile. */
static void choose_candidates(struct scan *sc, unsigned tiers_tried, unsigned *tier, size_t *least)
{
	size_t n_tier[TIERS + 1] = {0};
	size_t n = 0;
	*least = 1;
	*tier = tiers_tried;
	for (size_t i = 0; i < sc->n; i++) {
		if (atomic_load(&sc->volume->is_stopping)) {
			sc->n = 0;
			return;
		}
		if (sc->v[i].segment->is_cleaned && sc->v[i].segment->payload_1 == 0) {
			learn_payload(sc->v[i].segment);
		}
		n += wants_cleaning(&sc->v[i]);
		n_tier[tier_of(&sc->v[i])]++;
	}
	*least = n > 0 && tiers_tried == 0 ? 1 : JOIN_AT / 2;
	while (*least > 1 && *tier < TIERS && n_tier[*tier] < JOIN_AT) {
		++*tier;
	}
	size_t kept = 0;
	for (size_t i = 0; i < sc->n; i++) {
		bool is_kept = *least == 1 ? wants_cleaning(&sc->v[i])
					   : *tier < TIERS && tier_of(&sc->v[i]) == *tier;
		if (is_kept) {
			sc->v[kept++] = sc->v[i];
		}
	}
	sc->n = kept;
}

/* ---- their extents ------------------------------------------------------------------ */

static enum err take_extents_locked(struct scan *sc, const struct table_part *p)
{
	for (size_t i = 0; i < p->n; i++) {
		uint32_t at = p->extents[i].segment;
		uint32_t rank = at < sc->n_rank ? sc->rank[at] : 0;
		if (rank == 0) {
			continue;
		}
		if (!mem_grow((void **)&sc->extents, &sc->cap_extents, sc->n_extents + 1,
			      sizeof *sc->extents)) {
			return ERR_NOMEM;
		}
		struct clean_extent *x = &sc->extents[sc->n_extents++];
		clean_extent_of(sc->volume, p, &p->extents[i], x);
		x->cover = rank - 1;
		struct candidate *c = &sc->v[rank - 1];
		c->last_ms = x->last_append_ms > c->last_ms ? x->last_append_ms : c->last_ms;
	}
	return ERR_OK;
}

static enum err scan_table(struct scan *sc)
{
	struct volume *v = sc->volume;
	size_t i = 0;
	bool is_more = true;
	enum err e = ERR_OK;
	for (size_t k = 0; k < sc->n; k++) {
		sc->n_rank = sc->v[k].at >= sc->n_rank ? (size_t)sc->v[k].at + 1 : sc->n_rank;
	}
	sc->rank = mem_calloc(sc->n_rank, sizeof *sc->rank);
	if (sc->rank == NULL) {
		return ERR_NOMEM;
	}
	for (size_t k = 0; k < sc->n; k++) {
		sc->rank[sc->v[k].at] = (uint32_t)k + 1;
	}
	while (e == ERR_OK && is_more && !atomic_load(&v->is_stopping)) {
		lock_take(&v->lock);
		size_t end = i + PARTS_AT_ONCE < v->table.n_parts ? i + PARTS_AT_ONCE
								 : v->table.n_parts;
		for (size_t seen = 0; e == ERR_OK && i < end && seen < EXTENTS_AT_ONCE; i++) {
			e = take_extents_locked(sc, v->table.parts[i]);
			seen += v->table.parts[i]->n;
		}
		is_more = i < v->table.n_parts;
		lock_give(&v->lock);
	}
	return e == ERR_OK && is_more ? ERR_STOPPING : e;
}

static int by_candidate(const void *a, const void *b)
{
	const struct clean_extent *xa = a;
	const struct clean_extent *xb = b;
	uint64_t ka = store_part_key(xa->part);
	uint64_t kb = store_part_key(xb->part);
	if (xa->cover != xb->cover) {
		return xa->cover < xb->cover ? -1 : 1;
	}
	return ka < kb ? -1 : ka > kb;
}

static int by_age(const void *a, const void *b)
{
	const struct candidate *ca = a;
	const struct candidate *cb = b;
	if (ca->last_ms != cb->last_ms) {
		return ca->last_ms < cb->last_ms ? -1 : 1;
	}
	/* What was cleaned is older than what was not. */
	if (ca->segment->is_cleaned != cb->segment->is_cleaned) {
		return ca->segment->is_cleaned ? -1 : 1;
	}
	return ca->segment->number < cb->segment->number ? -1 : 1;
}

static void sort_scan(struct scan *sc)
{
	if (sc->n_extents > 0) {
		qsort(sc->extents, sc->n_extents, sizeof *sc->extents, by_candidate);
	}
	for (size_t i = 0; i < sc->n_extents; i++) {
		struct candidate *c = &sc->v[sc->extents[i].cover];
		c->lo = c->hi == 0 ? i : c->lo;
		c->hi = i + 1;
	}
	qsort(sc->v, sc->n, sizeof *sc->v, by_age);
}

/* ---- the plan --------------------------------------------------------------------------- */

static struct record_cover cover_of(const struct clean_extent *x)
{
	return (struct record_cover){
		.part = x->part,
		.shard = x->shard,
		.flags = x->flags,
		.first_seq = x->first_seq,
		.end_seq = x->end_seq,
		.last_append_ms = x->last_append_ms,
		.max_timestamp_ms = x->max_timestamp_ms,
	};
}

static void cover_extend(struct record_cover *c, const struct clean_extent *x)
{
	c->end_seq = x->end_seq;
	c->last_append_ms = x->last_append_ms;
	if (x->max_timestamp_ms > c->max_timestamp_ms) {
		c->max_timestamp_ms = x->max_timestamp_ms;
	}
	c->flags = (c->flags & x->flags & COVER_COMPACTED) |
		   ((c->flags | x->flags) & COVER_TOMBSTONES);
}

/* Whether each extent of the candidate follows at once what the covers have of its
 * partition. *n: covers when it is added. */
static bool follows(const struct clean_plan *plan, const struct scan *sc, const struct candidate *c,
		    size_t *n)
{
	size_t k = 0;
	*n = plan->n_covers;
	for (size_t i = c->lo; i < c->hi; i++) {
		const struct clean_extent *x = &sc->extents[i];
		uint64_t key = store_part_key(x->part);
		while (k < plan->n_covers && store_part_key(plan->covers[k].part) < key) {
			k++;
		}
		if (k == plan->n_covers || store_part_key(plan->covers[k].part) != key) {
			++*n;
		} else if (plan->covers[k].end_seq != x->first_seq) {
			return false;
		}
	}
	return *n <= RECORD_COVERS_MAX;
}

/* Merges the candidate's extents, sorted by partition as the covers are. */
static enum err add_source(struct clean_plan *plan, const struct scan *sc, const struct candidate *c,
			   size_t n_covers)
{
	struct record_cover *covers = mem_alloc(n_covers * sizeof *covers);
	if (covers == NULL) {
		return ERR_NOMEM;
	}
	size_t k = 0;
	size_t n = 0;
	for (size_t i = c->lo; i < c->hi; i++) {
		const struct clean_extent *x = &sc->extents[i];
		uint64_t key = store_part_key(x->part);
		while (k < plan->n_covers && store_part_key(plan->covers[k].part) < key) {
			covers[n++] = plan->covers[k++];
		}
		if (k < plan->n_covers && store_part_key(plan->covers[k].part) == key) {
			covers[n] = plan->covers[k++];
			cover_extend(&covers[n++], x);
		} else {
			covers[n++] = cover_of(x);
		}
		plan->extents[plan->n_extents++] = *x;
	}
	while (k < plan->n_covers) {
		covers[n++] = plan->covers[k++];
	}
	assert(n == n_covers);
	mem_free(plan->covers);
	plan->covers = covers;
	plan->n_covers = n;
	plan->sources[plan->n_sources++] = c->segment;
	plan->file_bytes += c->file_bytes;
	return ERR_OK;
}

/* About what of the candidate is copied. */
static uint64_t copied_bytes(const struct candidate *c)
{
	uint64_t bytes = c->live_bytes + c->live_bytes / 2;
	return bytes < c->file_bytes ? bytes : c->file_bytes;
}

static enum err choose_sources(struct clean_plan *plan, const struct scan *sc)
{
	uint64_t most = sc->volume->options.segment_max_bytes;
	uint64_t bytes = 0;
	plan->sources = mem_calloc(sc->n, sizeof *plan->sources);
	plan->extents = mem_calloc(sc->n_extents, sizeof *plan->extents);
	if (plan->sources == NULL || plan->extents == NULL) {
		return ERR_NOMEM;
	}
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < sc->n; i++) {
		const struct candidate *c = &sc->v[i];
		size_t n;
		if (c->lo == c->hi ||
		    (plan->n_sources > 0 && bytes + copied_bytes(c) > most) ||
		    !follows(plan, sc, c, &n)) {
			continue;
		}
		bytes += copied_bytes(c);
		e = add_source(plan, sc, c, n);
	}
	return e;
}

void clean_plan_fini(struct clean_plan *plan)
{
	mem_free(plan->sources);
	mem_free(plan->extents);
	mem_free(plan->covers);
	*plan = (struct clean_plan){0};
}

/* *tier: where to go on when nothing came of it; TIERS: that was all. */
static enum err plan_one(struct cleaner *c, unsigned *tier, struct clean_plan *plan)
{
	struct scan sc = {.volume = c->volume};
	size_t least = 0;
	enum err e = add_candidates(&sc);
	if (e == ERR_OK) {
		choose_candidates(&sc, *tier, tier, &least);
		bound_candidates(&sc);
		*tier = sc.n > 0 ? *tier + 1 : TIERS;
	}
	if (e == ERR_OK && sc.n > 0) {
		e = scan_table(&sc);
	}
	if (e == ERR_OK && sc.n > 0) {
		sort_scan(&sc);
		e = choose_sources(plan, &sc);
	}
	if (e == ERR_OK && plan->n_sources < least) {
		clean_plan_fini(plan);
	}
	scan_fini(&sc);
	return e;
}

enum err clean_plan_make(struct cleaner *c, struct clean_plan *plan, struct err_detail *d)
{
	unsigned tier = 0;
	enum err e = ERR_OK;
	*plan = (struct clean_plan){0};
	while (e == ERR_OK && plan->n_sources == 0 && tier < TIERS) {
		e = plan_one(c, &tier, plan);
	}
	return e == ERR_NOMEM ? err_set(d, e, "%s: out of memory", c->volume->dir) : e;
}
