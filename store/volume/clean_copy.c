#include "store/volume/clean.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

/* Carries out a plan: what of the sources' extents is at or above the start goes into one
 * new segment, source after source, in the order of each one's records. */

/* What is being read of one source. */
struct source {
	struct cleaner *cleaner;
	struct segment *segment;
	struct clean_extent *extents;	/* of it, by partition */
	size_t n_extents;
	uint64_t *log_nos;		/* records that hold something of them */
	size_t n_log_nos;
	size_t cap_log_nos;
	struct clean_out *out;
	struct err_detail *d;
};

static struct clean_extent *extent_of(const struct source *src, struct store_part part)
{
	uint64_t key = store_part_key(part);
	size_t lo = 0;
	size_t hi = src->n_extents;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		uint64_t at = store_part_key(src->extents[mid].part);
		if (at == key) {
			return &src->extents[mid];
		}
		if (at < key) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return NULL;
}

static bool is_wanted(void *arg, struct store_part part)
{
	return extent_of(arg, part) != NULL;
}

/* ---- what is left of an extent that the start cuts --------------------------------- */

struct cut {
	struct clean_extent *x;
	int64_t max_timestamp_ms;	/* of batches that live */
};

static bool is_of_cut(void *arg, struct store_part part)
{
	const struct cut *cut = arg;
	return store_part_key(cut->x->part) == store_part_key(part);
}

static enum err cut_batch(void *arg, uint32_t shard, const struct volume_command *c)
{
	struct cut *cut = arg;
	(void)shard;
	if (c->base_seq + c->count > cut->x->start_seq &&
	    c->max_timestamp_ms > cut->max_timestamp_ms) {
		cut->max_timestamp_ms = c->max_timestamp_ms;
	}
	return ERR_OK;
}

static enum err cut_row(void *arg, const struct index_row *row)
{
	struct cut *cut = arg;
	if (row->next_seq <= cut->x->start_seq) {
		return ERR_OK;
	}
	if (row->base_seq < cut->x->start_seq) {
		uint64_t bytes;
		return clean_batches(cut->x->source, row->log_no, is_of_cut, cut_batch, cut, &bytes);
	}
	if (row->max_timestamp_ms > cut->max_timestamp_ms) {
		cut->max_timestamp_ms = row->max_timestamp_ms;
	}
	return ERR_OK;
}

/* A cover tells the greatest timestamp of what is left under it. */
static enum err measure_cut(struct cleaner *c, struct clean_extent *x, struct err_detail *d)
{
	struct cut cut = {.x = x, .max_timestamp_ms = INT64_MIN};
	enum err e = segment_hold(x->source, d);
	if (e == ERR_OK) {
		e = clean_rows(x, cut_row, &cut, d);
		segment_drop(x->source);
	}
	x->max_timestamp_ms = cut.max_timestamp_ms;
	return cleaner_read_failed(c, x->source, e);
}

static struct record_cover *cover_find(const struct clean_plan *plan, struct store_part part)
{
	size_t lo = 0;
	size_t hi = plan->n_covers;
	while (lo + 1 < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (store_part_key(plan->covers[mid].part) <= store_part_key(part)) {
			lo = mid;
		} else {
			hi = mid;
		}
	}
	assert(store_part_key(plan->covers[lo].part) == store_part_key(part));
	return &plan->covers[lo];
}

static enum err measure_covers(struct cleaner *c, struct clean_plan *plan, struct err_detail *d)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < plan->n_covers; i++) {
		plan->covers[i].max_timestamp_ms = INT64_MIN;
	}
	for (size_t i = 0; e == ERR_OK && i < plan->n_extents; i++) {
		struct clean_extent *x = &plan->extents[i];
		struct record_cover *cover = cover_find(plan, x->part);
		if (x->first_seq < x->start_seq) {
			e = measure_cut(c, x, d);
		}
		if (x->max_timestamp_ms > cover->max_timestamp_ms) {
			cover->max_timestamp_ms = x->max_timestamp_ms;
		}
	}
	return e == ERR_OK ? cleaner_pace(c, 0) : e;
}

/* ---- copying ------------------------------------------------------------------------ */

static enum err take_row(void *arg, const struct index_row *row)
{
	struct source *src = arg;
	if (!mem_grow((void **)&src->log_nos, &src->cap_log_nos, src->n_log_nos + 1,
		      sizeof *src->log_nos)) {
		return err_set(src->d, ERR_NOMEM, "segment %s: out of memory",
			       segment_name(src->segment).text);
	}
	src->log_nos[src->n_log_nos++] = row->log_no;
	return ERR_OK;
}

static enum err copy_batch(void *arg, uint32_t shard, const struct volume_command *c)
{
	struct source *src = arg;
	struct clean_extent *x = extent_of(src, c->part);
	x->seen += c->payload.n;
	if (shard != x->shard || c->base_seq < x->first_seq ||
	    c->base_seq + c->count > x->end_seq) {
		return err_set(src->d, ERR_CORRUPT, "segment %s: a batch is not where it belongs",
			       segment_name(src->segment).text);
	}
	if (c->base_seq + c->count <= x->start_seq) {
		return ERR_OK;
	}
	return clean_out_add(src->out, shard, c, src->d);
}

static int by_number(const void *a, const void *b)
{
	uint64_t na = *(const uint64_t *)a;
	uint64_t nb = *(const uint64_t *)b;
	return na < nb ? -1 : na > nb;
}

static enum err copy_records(struct source *src)
{
	enum err e = ERR_OK;
	if (src->n_log_nos > 0) {
		qsort(src->log_nos, src->n_log_nos, sizeof *src->log_nos, by_number);
	}
	for (size_t i = 0; e == ERR_OK && i < src->n_log_nos; i++) {
		uint64_t bytes;
		if (i > 0 && src->log_nos[i] == src->log_nos[i - 1]) {
			continue;
		}
		e = clean_batches(src->segment, src->log_nos[i], is_wanted, copy_batch, src, &bytes);
		if (e == ERR_OK) {
			e = cleaner_pace(src->cleaner, bytes);
		}
	}
	/* Everything that the table counts must have been met. */
	for (size_t i = 0; e == ERR_OK && i < src->n_extents; i++) {
		const struct clean_extent *x = &src->extents[i];
		if (x->seen != x->bytes) {
			e = err_set(src->d, ERR_CORRUPT, "segment %s: holds %llu bytes, not %llu, of a partition",
				    segment_name(src->segment).text, (unsigned long long)x->seen,
				    (unsigned long long)x->bytes);
		}
	}
	return e;
}

static enum err copy_held(struct source *src)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < src->n_extents; i++) {
		e = clean_rows(&src->extents[i], take_row, src, src->d);
	}
	return e == ERR_OK ? copy_records(src) : e;
}

static enum err copy_source(struct source *src)
{
	enum err e = segment_hold(src->segment, src->d);
	if (e == ERR_OK) {
		e = copy_held(src);
		segment_drop(src->segment);
	}
	mem_free(src->log_nos);
	e = cleaner_read_failed(src->cleaner, src->segment, e);
	if (e == ERR_CORRUPT) {
		log_error("CLEANING-FAILED", "segment=%s reason=%s", segment_name(src->segment).text,
			  log_quote(src->d->text));
	}
	return e;
}

static enum err copy_sources(struct cleaner *c, struct clean_plan *plan, struct clean_out *out,
			     struct err_detail *d)
{
	enum err e = ERR_OK;
	size_t at = 0;
	for (size_t i = 0; e == ERR_OK && i < plan->n_sources; i++) {
		struct source src = {
			.cleaner = c,
			.segment = plan->sources[i],
			.extents = plan->extents + at,
			.out = out,
			.d = d,
		};
		while (at < plan->n_extents && plan->extents[at].source == src.segment) {
			at++;
			src.n_extents++;
		}
		e = copy_source(&src);
	}
	assert(e != ERR_OK || at == plan->n_extents);
	return e;
}

static uint64_t likely_bytes(const struct clean_plan *plan)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < plan->n_extents; i++) {
		bytes += plan->extents[i].bytes;
	}
	return bytes + bytes / 2;
}

enum err clean_plan_run(struct cleaner *c, struct clean_plan *plan, struct err_detail *d)
{
	struct clean_out out = {0};
	uint64_t *bytes = mem_calloc(plan->n_covers, sizeof *bytes);
	enum err e = bytes != NULL ? measure_covers(c, plan, d)
				   : err_set(d, ERR_NOMEM, "%s: out of memory", c->volume->dir);
	struct idx_covers covers = {.v = plan->covers, .n = plan->n_covers};
	if (e == ERR_OK) {
		e = clean_out_begin(&out, c, &covers, likely_bytes(plan), plan->file_bytes, d);
	}
	if (e == ERR_OK) {
		e = copy_sources(c, plan, &out, d);
	}
	if (e == ERR_OK) {
		e = clean_out_finish(&out, &covers, bytes, d);
	}
	if (e == ERR_OK) {
		e = cleaner_install(c, &out, &covers, bytes, plan->sources, plan->n_sources, d);
	}
	if (e != ERR_OK) {
		clean_out_abandon(&out);
	}
	mem_free(bytes);
	return e;
}
