#include "store/volume/volume_priv.h"

#include <assert.h>
#include <stdio.h>

#include "base/log.h"
#include "base/metrics.h"
#include "store/volume/file.h"

/* What the owners of partitions tell the volume about what is needed no more, and what
 * a backup asks of it. Memory only; the cleaner sees it when it looks next, for it may be
 * told often. */

/* Only space is lost by it, until the next start. */
static void tell_lost(struct store_part part, enum err e)
{
	if (e != ERR_OK) {
		log_limited(LOG_WARN, "VOLUME-SPACE-UNKNOWN", "hub=%u partition=%u reason=\"%s\"",
			    part.hub_id, part.partition, err_text(e));
	}
}

void volume_set_start(struct volume *v, struct store_part part, int64_t first_seq)
{
	assert(v->magic == VOLUME_MAGIC);
	uint64_t dead;
	lock_take(&v->lock);
	enum err e = table_set_start(&v->table, part, first_seq, &dead);
	lock_give(&v->lock);
	metric_add(METRIC_STORE_TRIMMED_BYTES, (int64_t)dead);
	tell_lost(part, e);
}

void volume_set_gone(struct volume *v, struct store_part part)
{
	assert(v->magic == VOLUME_MAGIC);
	uint64_t dead;
	lock_take(&v->lock);
	enum err e = table_set_gone(&v->table, part, &dead);
	lock_give(&v->lock);
	metric_add(METRIC_STORE_TRIMMED_BYTES, (int64_t)dead);
	tell_lost(part, e);
}

void volume_set_compact(struct volume *v, struct store_part part, bool is_compacted)
{
	assert(v->magic == VOLUME_MAGIC);
	lock_take(&v->lock);
	enum err e = table_set_compact(&v->table, part, is_compacted);
	lock_give(&v->lock);
	tell_lost(part, e);
}

void volume_set_floor(struct volume *v, uint32_t shard, uint64_t index)
{
	assert(v->magic == VOLUME_MAGIC);
	assert(shard < v->options.shards);
	lock_take(&v->lock);
	v->floors[shard] = index;
	lock_give(&v->lock);
}

uint64_t volume_disk_bytes(struct volume *v)
{
	assert(v->magic == VOLUME_MAGIC);
	lock_take(&v->lock);
	uint64_t bytes = v->disk_bytes;
	lock_give(&v->lock);
	return bytes;
}

/* ---- pins --------------------------------------------------------------------- */

void volume_pin(struct volume *v)
{
	assert(v->magic == VOLUME_MAGIC);
	lock_take(&v->lock);
	v->pins++;
	/* What has begun is brought to its end; no other begins. */
	while (v->is_replacing) {
		cond_wait(&v->replaced, &v->lock);
	}
	lock_give(&v->lock);
}

void volume_unpin(struct volume *v)
{
	assert(v->magic == VOLUME_MAGIC);
	lock_take(&v->lock);
	assert(v->pins > 0);
	bool is_last = --v->pins == 0;
	lock_give(&v->lock);
	if (is_last) {
		cleaner_wake(v);
	}
}

/* ---- files -------------------------------------------------------------------- */

/* What is told of one segment, copied under the lock. */
struct listed {
	struct segment_name name;
	struct idx_head idx;
	bool is_damaged;
};

/* The sealed segment at or after a place; false: none. */
static bool sealed_from(struct volume *v, size_t *at, struct listed *out)
{
	bool found = false;
	lock_take(&v->lock);
	for (; !found && *at < v->n_segments; ++*at) {
		const struct segment *s = v->segments[*at];
		if (s != NULL && !s->is_new && s->state == SEGMENT_SEALED) {
			out->name = segment_name(s);
			out->idx = s->idx;
			out->is_damaged = s->is_damaged;
			found = true;
		}
	}
	lock_give(&v->lock);
	return found;
}

static enum err give_whole(struct volume *v, const char *name, volume_file_fn *fn, void *arg,
			   struct err_detail *d)
{
	char path[SEGMENT_PATH];
	uint64_t size;
	uint32_t crc;
	if (snprintf(path, sizeof path, "%s/%s", v->root, name) >= (int)sizeof path) {
		return err_set(d, ERR_TOO_LARGE, "%s: path too long", name);
	}
	enum err e = file_checksum(path, NULL, &size, &crc, d);
	return e == ERR_OK ? fn(arg, name, size, crc) : e;
}

static enum err give_segment(struct volume *v, const struct listed *s, volume_file_fn *fn,
			     void *arg, struct err_detail *d)
{
	char name[64];
	snprintf(name, sizeof name, "segments/%s.mdb", s->name.text);
	enum err e = fn(arg, name, s->idx.mdb_bytes, s->idx.mdb_crc);
	if (e != ERR_OK) {
		return e;
	}
	snprintf(name, sizeof name, "segments/%s.idx", s->name.text);
	e = give_whole(v, name, fn, arg, d);
	/* Of one that is lost there is nothing at all. */
	return e == ERR_NOT_FOUND && s->is_damaged ? ERR_OK : e;
}

enum err volume_files(struct volume *v, volume_file_fn *fn, void *arg, struct err_detail *d)
{
	assert(v->magic == VOLUME_MAGIC);
	struct listed s;
	size_t at = 0;
	enum err e = ERR_OK;
	while (e == ERR_OK && sealed_from(v, &at, &s)) {
		e = give_segment(v, &s, fn, arg, d);
	}
	return e == ERR_OK ? give_whole(v, "MANIFEST", fn, arg, d) : e;
}
