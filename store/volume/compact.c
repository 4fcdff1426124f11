#include "store/volume/compact.h"

#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"

/* Which partitions are due, and their passes. What several small partitions keep goes
 * into one segment; the windows of one partition are put in place one after another. */

enum {
	PARTS_AT_ONCE = 256,	/* looked at under one hold of the lock */
	EXTENTS_AT_ONCE = 8192,
	DUE_AT_ONCE = 256,	/* partitions found before they are handled */
	DUE_SEGMENTS = 8,	/* or what so many full segments hold */
};

struct due {
	struct compact_pass *v;
	size_t n;
	size_t cap;
	uint64_t bytes;		/* in their extents */
};

/* Marked windows, each of another partition. */
struct batch {
	struct cleaner *cleaner;
	struct compact_window *v;
	size_t n;
	size_t cap;
	uint64_t bytes;		/* of the extents in them */
};

static void pass_fini(struct compact_pass *p)
{
	mem_free(p->extents);
	mem_free(p->keys);
	keymap_fini(&p->map);
	*p = (struct compact_pass){0};
}

/* ---- what is due -------------------------------------------------------------------- */

/* The extents that a pass may handle: from the first on, up to one that is not sealed or
 * cannot be read or does not follow at once. 0 when something is missing in front. */
static size_t usable_locked(const struct volume *v, const struct table_part *p)
{
	size_t n = 0;
	if (p->n == 0 || p->extents[0].first_seq > p->start_seq) {
		return 0;
	}
	while (n < p->n && cleaner_may_read_locked(v->segments[p->extents[n].segment]) &&
	       (n == 0 || p->extents[n - 1].end_seq == p->extents[n].first_seq)) {
		n++;
	}
	return n;
}

/* Half of it or more has not been compacted yet, or tombstones have grown old. */
static bool is_due_locked(const struct table_part *p, size_t n, size_t n_clean, int64_t due_ms)
{
	uint64_t clean = 0;
	uint64_t dirty = 0;
	bool is_old = false;
	for (size_t i = 0; i < n; i++) {
		const struct table_extent *x = &p->extents[i];
		*(i < n_clean ? &clean : &dirty) += x->bytes;
		is_old = is_old ||
			 (i < n_clean && x->has_tombstones && x->last_append_ms <= due_ms);
	}
	return is_old || (n_clean < n && dirty >= clean);
}

static enum err take_locked(struct cleaner *c, const struct table_part *p, int64_t due_ms,
			    struct due *due)
{
	struct volume *v = c->volume;
	size_t n = p->is_compacted && !p->is_gone ? usable_locked(v, p) : 0;
	size_t n_clean = 0;
	while (n_clean < n && p->extents[n_clean].is_compacted) {
		n_clean++;
	}
	if (n == 0 || !is_due_locked(p, n, n_clean, due_ms)) {
		return ERR_OK;
	}
	if (!mem_grow((void **)&due->v, &due->cap, due->n + 1, sizeof *due->v)) {
		return ERR_NOMEM;
	}
	struct clean_extent *extents = mem_calloc(n, sizeof *extents);
	if (extents == NULL) {
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		clean_extent_of(v, p, &p->extents[i], &extents[i]);
		due->bytes += extents[i].bytes;
	}
	due->v[due->n++] = (struct compact_pass){
		.cleaner = c,
		.part = p->range.part,
		.extents = extents,
		.n = n,
		.n_clean = n_clean,
		.last_seq = p->range.next_seq - 1,
		.due_ms = due_ms,
	};
	return ERR_OK;
}

/* From partition number *at of the table on. */
static enum err find_due(struct cleaner *c, size_t *at, struct due *due, bool *is_more)
{
	struct volume *v = c->volume;
	int64_t due_ms = clock_wall_ms() - v->options.tombstone_ms;
	enum err e = ERR_OK;
	uint64_t most = DUE_SEGMENTS * v->options.segment_max_bytes;
	*is_more = true;
	due->bytes = 0;
	while (e == ERR_OK && *is_more && due->n < DUE_AT_ONCE && due->bytes < most) {
		lock_take(&v->lock);
		size_t n = v->table.n_parts;
		size_t seen = 0;
		for (size_t k = 0; e == ERR_OK && k < PARTS_AT_ONCE && *at < n &&
				   seen < EXTENTS_AT_ONCE && due->bytes < most; k++) {
			const struct table_part *p = v->table.parts[(*at)++];
			seen += p->n;
			e = take_locked(c, p, due_ms, due);
		}
		*is_more = *at < n;
		lock_give(&v->lock);
		if (e == ERR_OK && atomic_load(&v->is_stopping)) {
			e = ERR_STOPPING;
		}
	}
	return e;
}

/* ---- passes ------------------------------------------------------------------------------ */

static void batch_clear(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		compact_window_fini(&b->v[i]);
	}
	b->n = 0;
	b->bytes = 0;
}

static enum err batch_write(struct batch *b, struct err_detail *d)
{
	enum err e = b->n > 0 ? compact_write(b->cleaner, b->v, b->n, d) : ERR_OK;
	batch_clear(b);
	return e;
}

static bool batch_has(const struct batch *b, struct store_part part)
{
	for (size_t i = 0; i < b->n; i++) {
		if (store_part_key(b->v[i].cover.part) == store_part_key(part)) {
			return true;
		}
	}
	return false;
}

/* The extents from..end - 1 of the pass, as many as one segment takes. */
static size_t window_end(const struct compact_pass *p, size_t from, uint64_t *bytes)
{
	uint64_t most = p->cleaner->volume->options.segment_max_bytes;
	size_t end = from;
	*bytes = 0;
	while (end < p->n && (end == from || *bytes + p->extents[end].bytes <= most)) {
		*bytes += p->extents[end++].bytes;
	}
	return end;
}

static enum err mark_window(struct compact_pass *p, size_t from, size_t end,
			    struct compact_window *w, struct err_detail *d)
{
	*w = (struct compact_window){.n = end - from};
	w->extents = mem_dup(p->extents + from, w->n * sizeof *w->extents);
	if (w->extents == NULL) {
		return err_set(d, ERR_NOMEM, "compaction: out of memory");
	}
	return compact_mark(p, w, d);
}

static enum err run_pass(struct compact_pass *p, struct batch *b, struct err_detail *d)
{
	struct volume *v = p->cleaner->volume;
	keymap_init(&p->map, v->options.compaction_memory);
	enum err e = compact_map(p, d);
	size_t end;
	for (size_t from = 0; e == ERR_OK && from < p->n; from = end) {
		struct compact_window w;
		uint64_t bytes;
		end = window_end(p, from, &bytes);
		e = mark_window(p, from, end, &w, d);
		if (e == ERR_OK && w.is_changed &&
		    (b->bytes + bytes > v->options.segment_max_bytes || b->n == RECORD_COVERS_MAX ||
		     batch_has(b, p->part))) {
			e = batch_write(b, d);
		}
		if (e == ERR_OK && w.is_changed &&
		    !mem_grow((void **)&b->v, &b->cap, b->n + 1, sizeof *b->v)) {
			e = err_set(d, ERR_NOMEM, "compaction: out of memory");
		}
		if (e != ERR_OK || !w.is_changed) {
			compact_window_fini(&w);
			continue;
		}
		b->v[b->n++] = w;
		b->bytes += bytes;
	}
	return e;
}

/* What was to be given up for the partition's sake stays. */
static void batch_drop(struct batch *b, struct store_part part)
{
	size_t n = 0;
	for (size_t i = 0; i < b->n; i++) {
		if (store_part_key(b->v[i].cover.part) == store_part_key(part)) {
			compact_window_fini(&b->v[i]);
		} else {
			b->v[n++] = b->v[i];
		}
	}
	b->n = n;
}

/* A damaged segment ends the passes that need it, the others go on. */
static enum err run_due(struct cleaner *c, struct due *due, struct err_detail *d)
{
	struct batch b = {.cleaner = c};
	enum err e = ERR_OK;
	for (size_t i = 0; i < due->n; i++) {
		if (e == ERR_OK) {
			e = cleaner_wait_pins(c);
		}
		if (e == ERR_OK) {
			e = run_pass(&due->v[i], &b, d);
		}
		if (e == ERR_CORRUPT) {
			batch_drop(&b, due->v[i].part);
			e = ERR_OK;
		}
		pass_fini(&due->v[i]);
	}
	due->n = 0;
	if (e == ERR_OK) {
		e = batch_write(&b, d);
	}
	batch_clear(&b);
	mem_free(b.v);
	return e;
}

enum err compact_round(struct cleaner *c, struct err_detail *d)
{
	struct due due = {0};
	size_t at = 0;
	bool is_more = true;
	enum err e = ERR_OK;
	while (e == ERR_OK && is_more) {
		e = find_due(c, &at, &due, &is_more);
		if (e == ERR_OK) {
			e = run_due(c, &due, d);
		}
		if (e == ERR_OK && is_more) {
			e = cleaner_remove_dead(c, d);
		}
	}
	for (size_t i = 0; i < due.n; i++) {
		pass_fini(&due.v[i]);
	}
	mem_free(due.v);
	if (e == ERR_NOMEM && d->text[0] == '\0') {
		err_set(d, e, "compaction: out of memory");
	}
	return e == ERR_CORRUPT ? ERR_OK : e;
}
