#include "store/volume/compact.h"

#include <assert.h>

#include "base/log.h"
#include "base/mem.h"

enum {
	/* Records of one batch that are looked at; one with more is kept as it is. */
	BATCH_RECORDS_MAX = 1 << 20,
	SLICES_MAX = 1 << 20,
};

void compact_window_fini(struct compact_window *w)
{
	mem_free(w->extents);
	mem_free(w->drop);
	*w = (struct compact_window){0};
}

/* ---- walking -------------------------------------------------------------------- */

struct walk {
	struct cleaner *cleaner;
	struct clean_extent *extent;
	compact_batch_fn *fn;
	void *arg;
	uint64_t at;
	struct err_detail *d;
};

static bool is_wanted(void *arg, struct store_part part)
{
	const struct walk *w = arg;
	return store_part_key(w->extent->part) == store_part_key(part);
}

static enum err walk_batch(void *arg, uint32_t shard, const struct volume_command *c)
{
	struct walk *w = arg;
	struct clean_extent *x = w->extent;
	struct batch_head h;
	if (shard != x->shard || c->base_seq < x->first_seq ||
	    c->base_seq + c->count > x->end_seq || batch_head_read(c->payload, &h) != ERR_OK) {
		return err_set(w->d, ERR_CORRUPT, "segment %s: a batch is not where it belongs",
			       segment_name(x->source).text);
	}
	struct compact_batch b = {.extent = x, .command = c, .at = w->at, .n = (uint32_t)h.count};
	x->seen += c->payload.n;
	w->at += b.n;
	return w->fn(w->arg, &b);
}

static enum err walk_row(void *arg, const struct index_row *row)
{
	struct walk *w = arg;
	uint64_t bytes;
	enum err e = clean_batches(w->extent->source, row->log_no, is_wanted, walk_batch, w, &bytes);
	return e == ERR_OK ? cleaner_pace(w->cleaner, bytes) : e;
}

static enum err walk_extent(struct walk *w)
{
	struct clean_extent *x = w->extent;
	x->seen = 0;
	if (x->bytes == 0) {
		return ERR_OK;
	}
	enum err e = segment_hold(x->source, w->d);
	if (e == ERR_OK) {
		e = clean_rows(x, walk_row, w, w->d);
		segment_drop(x->source);
	}
	if (e == ERR_OK && x->seen != x->bytes) {
		e = err_set(w->d, ERR_CORRUPT, "segment %s: holds %llu bytes, not %llu, of a partition",
			    segment_name(x->source).text, (unsigned long long)x->seen,
			    (unsigned long long)x->bytes);
	}
	e = cleaner_read_failed(w->cleaner, x->source, e);
	if (e == ERR_CORRUPT) {
		log_error("COMPACTION-FAILED", "segment=%s hub=%u partition=%u reason=%s",
			  segment_name(x->source).text, x->part.hub_id, x->part.partition,
			  log_quote(w->d->text));
	}
	return e;
}

enum err compact_walk(struct cleaner *c, struct clean_extent *extents, size_t n,
		      compact_batch_fn *fn, void *arg, struct err_detail *d)
{
	struct walk w = {.cleaner = c, .fn = fn, .arg = arg, .d = d};
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		w.extent = &extents[i];
		e = walk_extent(&w);
	}
	return e;
}

/* ---- the keys of a batch ------------------------------------------------------------ */

static enum err take_key(void *arg, const struct store_compact_record *r)
{
	struct compact_pass *p = arg;
	if (p->n_keys == BATCH_RECORDS_MAX) {
		return ERR_LIMIT;
	}
	if (!mem_grow((void **)&p->keys, &p->cap_keys, p->n_keys + 1, sizeof *p->keys)) {
		return ERR_NOMEM;
	}
	struct compact_key *k = &p->keys[p->n_keys++];
	*k = (struct compact_key){
		.delta = r->offset_delta,
		.has_key = r->has_key,
		.is_tombstone = r->has_key && r->is_tombstone,
	};
	if (r->has_key) {
		keymap_hash(p->cleaner->secret, r->key, &k->hash);
	}
	return ERR_OK;
}

static bool keys_are_sound(const struct compact_pass *p, const struct compact_batch *b)
{
	int64_t last = -1;
	for (size_t i = 0; i < p->n_keys; i++) {
		if (p->keys[i].delta <= last || p->keys[i].delta >= (int64_t)b->command->count) {
			return false;
		}
		last = p->keys[i].delta;
	}
	return p->n_keys == b->n;
}

/* The keys of all records, or none: what is in the batch cannot be told, it stays as it
 * is and supersedes nothing. */
static enum err read_keys(struct compact_pass *p, const struct compact_batch *b)
{
	const struct volume_command *c = b->command;
	p->n_keys = 0;
	enum err e = p->cleaner->volume->options.compactor->walk(c->payload, c->key, c->encoding,
								 take_key, p);
	if (e == ERR_NOMEM) {
		return e;
	}
	if (e != ERR_OK || !keys_are_sound(p, b)) {
		p->n_keys = 0;
		log_limited(LOG_WARN, "COMPACTION-OPAQUE", "hub=%u partition=%u seq=%lld",
			    c->part.hub_id, c->part.partition, (long long)c->base_seq);
	}
	return ERR_OK;
}

static bool in_slice(const struct compact_pass *p, const struct compact_key *k)
{
	return k->has_key && (k->hash.b & (p->slices - 1)) == p->slice;
}

/* ---- the map -------------------------------------------------------------------------- */

static enum err map_batch(void *arg, const struct compact_batch *b)
{
	struct compact_pass *p = arg;
	enum err e = read_keys(p, b);
	for (size_t i = 0; e == ERR_OK && i < p->n_keys; i++) {
		if (in_slice(p, &p->keys[i])) {
			e = keymap_put(&p->map, &p->keys[i].hash,
				       b->command->base_seq + p->keys[i].delta);
		}
	}
	return e;
}

/* ERR_LIMIT: did not fit, more slices are needed. */
static enum err map_slice(struct compact_pass *p, struct err_detail *d)
{
	enum err e = ERR_OK;
	keymap_clear(&p->map);
	for (size_t i = p->n_clean; e == ERR_OK && i < p->n; i++) {
		e = compact_walk(p->cleaner, &p->extents[i], 1, map_batch, p, d);
		if (e == ERR_LIMIT && i > p->n_clean) {
			/* As far as they fit. What the map has of this extent already
			 * supersedes as well as the rest. */
			p->n = i;
			e = ERR_OK;
		} else if (e == ERR_LIMIT) {
			p->n = p->n_clean + 1;
		}
	}
	return e;
}

static enum err more_slices(struct compact_pass *p, struct err_detail *d)
{
	p->slices *= 2;
	p->slice = 0;
	if (p->slices > SLICES_MAX) {
		return err_set(d, ERR_NOMEM, "hub %u partition %u: memory for compaction is too small",
			       p->part.hub_id, p->part.partition);
	}
	return ERR_OK;
}

enum err compact_map(struct compact_pass *p, struct err_detail *d)
{
	p->slices = 1;
	p->slice = 0;
	enum err e = map_slice(p, d);
	while (e == ERR_LIMIT) {
		e = more_slices(p, d);
		if (e == ERR_OK) {
			e = map_slice(p, d);
		}
	}
	p->is_mapped = e == ERR_OK;
	return e == ERR_NOMEM && d->text[0] == '\0' ? err_set(d, e, "compaction: out of memory") : e;
}

/* ---- deciding ---------------------------------------------------------------------------- */

struct mark {
	struct compact_pass *pass;
	struct compact_window *window;
	size_t n_clean;		/* of the window's extents */
	bool is_last;		/* the last slice: what is marked now is final */
};

static void drop(struct compact_window *w, uint64_t at)
{
	if (!compact_is_dropped(w, at)) {
		w->drop[at / 8] |= (uint8_t)(1 << at % 8);
		w->n_dropped++;
	}
}

/* Room for the bits of records at..at + n - 1, all 0 at first. */
static bool make_room(struct compact_window *w, uint64_t end)
{
	size_t had = w->cap_drop;
	if (!mem_grow((void **)&w->drop, &w->cap_drop, (size_t)(end / 8 + 1), 1)) {
		return false;
	}
	memset(w->drop + had, 0, w->cap_drop - had);
	w->n_records = end > w->n_records ? end : w->n_records;
	return true;
}

static bool is_superseded(const struct mark *m, const struct compact_batch *b,
			  const struct compact_key *k)
{
	const struct compact_pass *p = m->pass;
	int64_t seq = b->command->base_seq + k->delta;
	if (seq == p->last_seq) {
		return false;
	}
	if (keymap_get(&p->map, &k->hash) > seq) {
		return true;
	}
	bool is_clean = b->extent < m->window->extents + m->n_clean;
	return k->is_tombstone && is_clean && b->command->append_ms <= p->due_ms;
}

/* Of what is left of the batch. */
static void note_left(struct mark *m, const struct compact_batch *b)
{
	struct compact_window *w = m->window;
	bool is_any = false;
	for (uint32_t i = 0; i < b->n; i++) {
		if (compact_is_dropped(w, b->at + i)) {
			continue;
		}
		is_any = true;
		if (i < m->pass->n_keys && m->pass->keys[i].is_tombstone &&
		    b->command->base_seq + m->pass->keys[i].delta != m->pass->last_seq) {
			w->cover.flags |= COVER_TOMBSTONES;
		}
	}
	if (is_any && b->command->max_timestamp_ms > w->cover.max_timestamp_ms) {
		w->cover.max_timestamp_ms = b->command->max_timestamp_ms;
	}
}

static enum err mark_batch(void *arg, const struct compact_batch *b)
{
	struct mark *m = arg;
	struct compact_window *w = m->window;
	if (!make_room(w, b->at + b->n)) {
		return ERR_NOMEM;
	}
	enum err e = read_keys(m->pass, b);
	if (e != ERR_OK) {
		return e;
	}
	bool is_dead = b->command->base_seq + b->command->count <= b->extent->start_seq;
	for (uint32_t i = 0; is_dead && i < b->n; i++) {
		drop(w, b->at + i);
	}
	for (size_t i = 0; i < m->pass->n_keys; i++) {
		if (in_slice(m->pass, &m->pass->keys[i]) && is_superseded(m, b, &m->pass->keys[i])) {
			drop(w, b->at + i);
		}
	}
	if (m->is_last) {
		note_left(m, b);
	}
	return ERR_OK;
}

static void begin_window(struct compact_window *w)
{
	const struct clean_extent *first = &w->extents[0];
	const struct clean_extent *last = &w->extents[w->n - 1];
	w->n_records = 0;
	w->n_dropped = 0;
	if (w->drop != NULL) {
		memset(w->drop, 0, w->cap_drop);
	}
	w->cover = (struct record_cover){
		.part = first->part,
		.shard = first->shard,
		.flags = COVER_COMPACTED,
		.first_seq = first->first_seq,
		.end_seq = last->end_seq,
		.last_append_ms = last->last_append_ms,
		.max_timestamp_ms = INT64_MIN,
	};
}

static enum err mark_slices(struct compact_pass *p, struct mark *m, struct err_detail *d)
{
	enum err e = ERR_OK;
	begin_window(m->window);
	for (p->slice = 0; e == ERR_OK && p->slice < p->slices; p->slice++) {
		if (p->slices > 1 || !p->is_mapped) {
			e = map_slice(p, d);
		}
		m->is_last = p->slice + 1 == p->slices;
		if (e == ERR_OK) {
			e = compact_walk(p->cleaner, m->window->extents, m->window->n, mark_batch, m,
					 d);
		}
	}
	return e;
}

enum err compact_mark(struct compact_pass *p, struct compact_window *w, struct err_detail *d)
{
	struct mark m = {.pass = p, .window = w};
	int64_t clean_end = p->n_clean > 0 ? p->extents[p->n_clean - 1].end_seq : 0;
	while (m.n_clean < w->n && w->extents[m.n_clean].end_seq <= clean_end) {
		m.n_clean++;
	}
	enum err e = mark_slices(p, &m, d);
	while (e == ERR_LIMIT) {
		e = more_slices(p, d);
		if (e == ERR_OK) {
			e = mark_slices(p, &m, d);
		}
	}
	w->is_changed = w->n_dropped > 0;
	for (size_t i = 0; i < w->n; i++) {
		w->is_changed = w->is_changed || w->extents[i].flags != w->cover.flags;
	}
	return e == ERR_NOMEM && d->text[0] == '\0' ? err_set(d, e, "compaction: out of memory") : e;
}
