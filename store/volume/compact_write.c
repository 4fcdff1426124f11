#include "store/volume/compact.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

/* Copies what a window keeps: batches of which everything stays as they are, the rest
 * rewritten. */
struct copy {
	struct cleaner *cleaner;
	struct clean_out *out;
	struct compact_window *window;
	uint8_t *keep;			/* bits of one batch */
	size_t cap_keep;
	struct str batch;		/* rewritten */
	uint64_t n_dropped;
	struct err_detail *d;
};

static bool choose_kept(struct copy *cp, const struct compact_batch *b, uint32_t *n)
{
	*n = 0;
	if (!mem_grow((void **)&cp->keep, &cp->cap_keep, (size_t)b->n / 8 + 1, 1)) {
		return false;
	}
	memset(cp->keep, 0, (size_t)b->n / 8 + 1);
	for (uint32_t i = 0; i < b->n; i++) {
		if (!compact_is_dropped(cp->window, b->at + i)) {
			cp->keep[i / 8] |= (uint8_t)(1 << i % 8);
			++*n;
		}
	}
	return true;
}

/* What came back is stored under checksums that will never be questioned again. */
static bool is_sound(const struct volume_command *c, struct span batch, uint32_t n)
{
	struct batch_head was;
	struct batch_head h;
	return batch_check(batch) == ERR_OK && batch_head_read(batch, &h) == ERR_OK &&
	       batch_head_read(c->payload, &was) == ERR_OK && h.count == (int32_t)n &&
	       h.base_offset == was.base_offset && h.last_offset_delta == was.last_offset_delta &&
	       get_u32(batch.p + 12) == 0 &&
	       RECORD_HEAD + RECORD_DESCRIPTOR + c->key.n + batch.n <= LIMIT_ENTRY;
}

static enum err copy_batch(void *arg, const struct compact_batch *b)
{
	struct copy *cp = arg;
	struct volume_command c = *b->command;
	uint32_t n;
	if (!choose_kept(cp, b, &n)) {
		return err_set(cp->d, ERR_NOMEM, "compaction: out of memory");
	}
	cp->n_dropped += b->n - n;
	if (n == 0) {
		return ERR_OK;
	}
	if (n < b->n) {
		cp->batch.len = 0;
		cp->batch.bad = false;
		enum err e = cp->cleaner->volume->options.compactor->rewrite(
			c.payload, c.encoding, cp->keep, &cp->batch);
		if (e == ERR_NOMEM || cp->batch.bad) {
			return err_set(cp->d, ERR_NOMEM, "compaction: out of memory");
		}
		struct span batch = span_of(cp->batch.p, cp->batch.len);
		if (e == ERR_OK && is_sound(&c, batch, n)) {
			c.payload = batch;
		} else {
			/* More stays than need be. */
			cp->n_dropped -= b->n - n;
			log_limited(LOG_WARN, "COMPACTION-OPAQUE", "hub=%u partition=%u seq=%lld",
				    c.part.hub_id, c.part.partition, (long long)c.base_seq);
		}
	}
	return clean_out_add(cp->out, b->extent->shard, &c, cp->d);
}

static enum err copy_windows(struct copy *cp, struct compact_window *windows, size_t n)
{
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		cp->window = &windows[i];
		e = compact_walk(cp->cleaner, windows[i].extents, windows[i].n, copy_batch, cp,
				 cp->d);
	}
	mem_free(cp->keep);
	str_fini(&cp->batch);
	return e;
}

static int by_part(const void *a, const void *b)
{
	uint64_t ka = store_part_key(((const struct compact_window *)a)->cover.part);
	uint64_t kb = store_part_key(((const struct compact_window *)b)->cover.part);
	return ka < kb ? -1 : ka > kb;
}

static enum err write_windows(struct cleaner *c, struct compact_window *windows,
			      const struct idx_covers *covers, uint64_t *bytes, uint64_t likely,
			      uint64_t most, struct err_detail *d)
{
	struct clean_out out = {0};
	struct copy cp = {.cleaner = c, .out = &out, .batch = {.max = LIMIT_ENTRY}, .d = d};
	enum err e = clean_out_begin(&out, c, covers, likely, most, d);
	if (e == ERR_OK) {
		e = copy_windows(&cp, windows, covers->n);
	}
	if (e == ERR_OK) {
		e = clean_out_finish(&out, covers, bytes, d);
	}
	if (e == ERR_OK) {
		e = cleaner_install(c, &out, covers, bytes, NULL, 0, d);
	}
	if (e == ERR_OK) {
		metric_add(METRIC_STORE_COMPACTED, (int64_t)cp.n_dropped);
	} else {
		clean_out_abandon(&out);
	}
	return e;
}

enum err compact_write(struct cleaner *c, struct compact_window *windows, size_t n,
		       struct err_detail *d)
{
	uint64_t likely = 0;
	uint64_t most = 0;
	struct record_cover *covers = mem_calloc(n, sizeof *covers);
	uint64_t *bytes = mem_calloc(n, sizeof *bytes);
	enum err e = covers != NULL && bytes != NULL
			     ? ERR_OK
			     : err_set(d, ERR_NOMEM, "compaction: out of memory");
	if (e == ERR_OK) {
		assert(n > 0);
		qsort(windows, n, sizeof *windows, by_part);
		for (size_t i = 0; i < n; i++) {
			covers[i] = windows[i].cover;
			for (size_t k = 0; k < windows[i].n; k++) {
				likely += windows[i].extents[k].bytes;
			}
			most += windows[i].n_records * (RECORD_DESCRIPTOR + LIMIT_PARTITION_KEY);
		}
		struct idx_covers all = {.v = covers, .n = n};
		most += likely;
		e = write_windows(c, windows, &all, bytes, likely + likely / 2, most + most / 4, d);
	}
	mem_free(covers);
	mem_free(bytes);
	return e;
}
