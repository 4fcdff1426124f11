#include "store/volume/volume_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

/* Segments come and go: how a cleaned one takes the place of others, and how the log of
 * the shards is told to begin later. Either what the manifest names is whole or nobody
 * ever sees it. */

/* ---- the log start -------------------------------------------------------------- */

/* The shard's extent in a log segment; NULL: none. Extents lie in order of number. */
static const struct table_shard_extent *extent_in(const struct segment *s, uint32_t shard)
{
	const struct volume *v = s->volume;
	const struct table_shard *sh = &v->table.shards[shard];
	size_t lo = 0;
	size_t hi = sh->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (v->segments[sh->extents[mid].segment]->number < s->number) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo < sh->n && sh->extents[lo].segment == s->at ? &sh->extents[lo] : NULL;
}

bool segment_is_below_floor_locked(const struct segment *s)
{
	const struct volume *v = s->volume;
	for (uint32_t i = 0; !s->is_cleaned && i < v->options.shards; i++) {
		const struct table_shard_extent *x = extent_in(s, i);
		if (x != NULL && x->last_index > v->floors[i]) {
			return false;
		}
	}
	return true;
}

/* The last index of each shard in these segments; 0: none, or the log begins later
 * already. */
static enum err last_indexes_locked(struct volume *v, struct segment *const *gone, size_t n_gone,
				    struct log_start *starts, struct segment **in)
{
	for (size_t k = 0; k < n_gone; k++) {
		if (!segment_is_below_floor_locked(gone[k])) {
			return ERR_BUSY;
		}
		for (uint32_t i = 0; !gone[k]->is_cleaned && i < v->options.shards; i++) {
			const struct table_shard_extent *x = extent_in(gone[k], i);
			if (x != NULL && x->last_index >= v->table.shards[i].info.hard.log_start &&
			    x->last_index + 1 > starts[i].index) {
				starts[i].index = x->last_index + 1;
				in[i] = gone[k];
			}
		}
	}
	return ERR_OK;
}

enum err segment_last_term(const struct segment *s, uint32_t shard, uint64_t index,
			   uint64_t *term, struct err_detail *d)
{
	char path[SEGMENT_PATH];
	struct idx_head head;
	int fd;
	segment_file(s, ".idx", path);
	enum err e = idx_open(path, &head, &fd, d);
	if (e != ERR_OK) {
		return e;
	}
	struct idx_reader r;
	struct idx_shard sh;
	struct index_raft row;
	idx_reader_init(&r, fd, &head);
	e = shard < head.shards ? idx_shard_at(&r, shard, &sh) : ERR_CORRUPT;
	if (e == ERR_OK && sh.n_rows == 0) {
		e = ERR_CORRUPT;
	}
	if (e == ERR_OK) {
		e = idx_raft_at(&r, sh.first_row + sh.n_rows - 1, &row);
	}
	if (e == ERR_OK && row.index != index) {
		e = ERR_CORRUPT;
	}
	close(fd);
	if (e != ERR_OK) {
		return err_set(d, e, "%s: %s", path, err_text(e));
	}
	*term = row.term;
	return ERR_OK;
}

enum err volume_raise_log_start(struct volume *v, struct segment *const *gone, size_t n_gone,
				struct err_detail *d)
{
	uint32_t n = v->options.shards;
	struct log_start *starts = mem_calloc(n, sizeof *starts);
	struct segment **in = mem_calloc(n, sizeof(void *));
	enum err e = ERR_OK;
	if (starts == NULL || in == NULL) {
		e = err_set(d, ERR_NOMEM, "%s: out of memory", v->dir);
	}
	if (e == ERR_OK) {
		lock_take(&v->lock);
		e = last_indexes_locked(v, gone, n_gone, starts, in);
		lock_give(&v->lock);
	}
	bool is_needed = false;
	for (uint32_t i = 0; e == ERR_OK && i < n; i++) {
		if (in[i] != NULL) {
			is_needed = true;
			e = segment_last_term(in[i], i, starts[i].index - 1, &starts[i].term, d);
		}
	}
	if (e == ERR_OK && is_needed) {
		writer_raise(v, starts);
	}
	mem_free(in);
	mem_free(starts);
	return e;
}

/* ---- the manifest afterwards ------------------------------------------------------- */

struct numbers {
	uint64_t *v;
	size_t n;
};

static int by_number(const void *a, const void *b)
{
	uint64_t na = *(const uint64_t *)a;
	uint64_t nb = *(const uint64_t *)b;
	return na < nb ? -1 : na > nb;
}

/* Those that stay: the cleaned ones, or the log segments below a number. */
static enum err numbers_of(struct volume *v, bool is_cleaned, uint64_t below, struct numbers *out)
{
	lock_take(&v->lock);
	size_t cap = v->n_segments;
	lock_give(&v->lock);
	out->n = 0;
	out->v = mem_alloc(cap * sizeof *out->v);
	if (out->v == NULL) {
		return ERR_NOMEM;
	}
	/* What was added meanwhile is the writer's, and not below. */
	lock_take(&v->lock);
	for (size_t i = 0; i < cap; i++) {
		const struct segment *s = v->segments[i];
		if (s != NULL && !s->is_going && s->is_cleaned == is_cleaned && s->number < below) {
			out->v[out->n++] = s->number;
		}
	}
	lock_give(&v->lock);
	qsort(out->v, out->n, sizeof *out->v, by_number);
	return ERR_OK;
}

static enum err list_numbers(struct volume *v, bool is_cleaned, uint64_t below,
			     struct manifest_ranges *out)
{
	struct numbers all;
	enum err e = numbers_of(v, is_cleaned, below, &all);
	for (size_t i = 0; e == ERR_OK && i < all.n; i++) {
		e = manifest_add(out, all.v[i]);
	}
	mem_free(all.v);
	return e;
}

enum err manifest_of(struct volume *v, uint64_t base, uint64_t next_cleaned, struct manifest *out)
{
	*out = (struct manifest){
		.generation = v->manifest.generation + 1,
		.base = base,
		.next_cleaned = next_cleaned,
	};
	memcpy(out->store_uuid, v->options.store_uuid, sizeof out->store_uuid);
	enum err e = list_numbers(v, false, base, &out->log);
	if (e == ERR_OK) {
		e = list_numbers(v, true, UINT64_MAX, &out->cleaned);
	}
	if (e != ERR_OK) {
		manifest_fini(out);
	}
	return e;
}

/* ---- replacing ---------------------------------------------------------------------- */

struct replacing {
	struct volume *v;
	struct segment *s;
	const struct record_cover *covers;
	const uint64_t *bytes;
	size_t n_covers;
	struct segment *const *gone;
	size_t n_gone;
};

/* Everything that may fail for lack of memory. */
static enum err begin_locked(const struct replacing *rp)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < rp->n_covers; i++) {
		e = table_reserve(&rp->v->table, rp->covers[i].part);
	}
	if (e == ERR_OK && rp->s != NULL) {
		e = segment_add_locked(rp->v, rp->s);
	}
	if (e != ERR_OK) {
		for (size_t i = 0; i < rp->n_covers; i++) {
			table_unreserve(&rp->v->table, rp->covers[i].part);
		}
		return e;
	}
	for (size_t i = 0; i < rp->n_gone; i++) {
		assert(rp->gone[i]->state == SEGMENT_SEALED);
		rp->gone[i]->is_going = true;
	}
	rp->v->is_replacing = true;
	return ERR_OK;
}

static void end_locked(struct volume *v)
{
	v->is_replacing = false;
	cond_broadcast(&v->replaced);
}

static void undo(const struct replacing *rp)
{
	lock_take(&rp->v->lock);
	for (size_t i = 0; i < rp->n_covers; i++) {
		table_unreserve(&rp->v->table, rp->covers[i].part);
	}
	for (size_t i = 0; i < rp->n_gone; i++) {
		rp->gone[i]->is_going = false;
	}
	if (rp->s != NULL) {
		segment_take_out_locked(rp->s);
	}
	end_locked(rp->v);
	lock_give(&rp->v->lock);
}

static enum err write_manifest(const struct replacing *rp, struct err_detail *d)
{
	struct volume *v = rp->v;
	uint64_t base = v->manifest.base;
	uint64_t next_cleaned = v->manifest.next_cleaned;
	for (size_t i = 0; i < rp->n_gone; i++) {
		if (!rp->gone[i]->is_cleaned && rp->gone[i]->number >= base) {
			base = rp->gone[i]->number + 1;
		}
	}
	if (rp->s != NULL && rp->s->number >= next_cleaned) {
		next_cleaned = rp->s->number + 1;
	}
	struct manifest next;
	enum err e = manifest_of(v, base, next_cleaned, &next);
	if (e != ERR_OK) {
		return err_set(d, e, "%s: out of memory", v->dir);
	}
	e = manifest_write(v->root, &next, d);
	if (e == ERR_OK) {
		struct manifest before = v->manifest;
		v->manifest = next;
		next = before;
	}
	manifest_fini(&next);
	return e;
}

static void paint_locked(const struct replacing *rp)
{
	struct segment *s = rp->s;
	s->is_new = false;
	s->state = SEGMENT_SEALED;
	s->first_log_no = s->idx.first_log_no;
	s->next_log_no = s->idx.next_log_no;
	segment_set_bytes_locked(s, s->idx.mdb_bytes + segment_idx_bytes(&s->idx));
	for (size_t i = 0; i < rp->n_covers; i++) {
		enum err e = table_paint(&rp->v->table, s->at, &rp->covers[i], rp->bytes[i]);
		assert(e == ERR_OK);
		(void)e;
	}
}

/* Those that nobody holds are given back to be discarded. */
static void remove_locked(struct volume *v, struct segment *s, struct segment **free_now)
{
	assert(s->n_extents == 0);
	if (!s->is_cleaned) {
		table_remove_raft(&v->table, s->at);
	}
	segment_take_out_locked(s);
	metric_add(METRIC_STORE_DISK_BYTES, -(int64_t)s->file_bytes);
	v->disk_bytes -= s->file_bytes;
	s->is_removed = true;
	if (s->holds == 0) {
		segment_unlist_locked(s);
		s->newer = *free_now;
		*free_now = s;
	}
}

enum err segment_replace(struct volume *v, struct segment *s, const struct record_cover *covers,
			 const uint64_t *bytes, size_t n_covers, struct segment *const *gone,
			 size_t n_gone, struct err_detail *d)
{
	assert(v->magic == VOLUME_MAGIC);
	assert(s == NULL || s->is_cleaned);
	assert(s != NULL || n_covers == 0);
	struct replacing rp = {v, s, covers, bytes, n_covers, gone, n_gone};
	lock_take(&v->lock);
	assert(!v->is_replacing);
	enum err e = v->pins > 0 ? ERR_BUSY : begin_locked(&rp);
	lock_give(&v->lock);
	if (e != ERR_OK) {
		return err_set(d, e, "%s: %s", v->dir, err_text(e));
	}
	e = write_manifest(&rp, d);
	if (e != ERR_OK) {
		undo(&rp);
		return e;
	}
	struct segment *free_now = NULL;
	lock_take(&v->lock);
	if (s != NULL) {
		paint_locked(&rp);
	}
	for (size_t i = 0; i < n_gone; i++) {
		remove_locked(v, gone[i], &free_now);
	}
	end_locked(v);
	lock_give(&v->lock);
	while (free_now != NULL) {
		struct segment *next = free_now->newer;
		free_now->newer = NULL;
		segment_discard(&free_now);
		free_now = next;
	}
	return ERR_OK;
}
