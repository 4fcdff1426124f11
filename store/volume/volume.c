#include "store/volume/volume.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "store/volume/file.h"
#include "store/volume/volume_priv.h"

enum {
	SEGMENT_MAX_DEFAULT = 256 << 20,
	COMMIT_MAX_DEFAULT = 16 << 20,
	OPEN_SEGMENTS_DEFAULT = 64,
	/* LMDB's own pages and the heads of a segment: 256 shards take 64 KiB. */
	MAP_SPARE = 64 << 20,
};

static void set_defaults(struct volume_options *o)
{
	if (o->segment_max_bytes == 0) {
		o->segment_max_bytes = SEGMENT_MAX_DEFAULT;
	}
	if (o->commit_max_bytes == 0) {
		o->commit_max_bytes = COMMIT_MAX_DEFAULT;
	}
	if (o->open_segments_max == 0) {
		o->open_segments_max = OPEN_SEGMENTS_DEFAULT;
	}
}

/* The bound of the map must never be met: a segment that is full by our count
 * takes no more, an empty one takes any one commit. Records of just over half a
 * page may double on disk. */
static uint64_t map_bytes_of(const struct volume_options *o)
{
	uint64_t commit = o->commit_max_bytes > LIMIT_ENTRY ? o->commit_max_bytes : LIMIT_ENTRY;
	return o->segment_max_bytes + 2 * commit + MAP_SPARE;
}

/* Frees what volume_open made; no threads run. */
static void volume_free(struct volume **vp)
{
	struct volume *v = *vp;
	*vp = NULL;
	for (size_t i = 0; i < v->n_segments; i++) {
		segment_free(&v->segments[i]);
	}
	metric_add(METRIC_STORE_SEGMENTS, -(int64_t)v->n_segments);
	mem_free(v->segments);
	table_fini(&v->table);
	mailbox_fini(&v->writer_box);
	mailbox_fini(&v->sealer_box);
	read_queue_fini(&v->queue);
	cond_fini(&v->opened);
	lock_fini(&v->lock);
	mem_free(v->next_index);
	mem_free(v->dir);
	v->magic = 0;
	mem_free(v);
}

static char *segments_dir(const char *dir)
{
	struct str s = {.max = SEGMENT_PATH - 32};	/* room for the file's own name */
	str_printf(&s, "%s/segments", dir);
	if (s.bad) {
		str_fini(&s);
	}
	return s.p;
}

static enum err open_inner(struct volume *v, const char *dir, struct err_detail *d)
{
	uint32_t shards = v->options.shards;
	v->dir = segments_dir(dir);
	v->next_index = mem_calloc(shards, sizeof *v->next_index);
	if (v->dir == NULL || v->next_index == NULL || table_init(&v->table, shards) != ERR_OK) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", dir);
	}
	enum err e = file_make_dir(dir, "segments", d);
	if (e == ERR_OK) {
		e = volume_recover(v, d);
	}
	for (uint32_t i = 0; e == ERR_OK && i < shards; i++) {
		uint64_t last = v->table.shards[i].info.last_index;
		v->next_index[i] = last != 0 ? last + 1 : 0;
	}
	return e;
}

enum err volume_open(const struct volume_options *o, struct volume **out, struct err_detail *d)
{
	struct err_detail own;
	d = d != NULL ? d : &own;
	d->text[0] = '\0';
	*out = NULL;
	if (o->shards == 0 || o->shards > LIMIT_SHARDS) {
		return err_set(d, ERR_INVALID, "%s: %u shards", o->dir, o->shards);
	}
	struct volume *v = MEM_NEW(struct volume);
	if (v == NULL) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", o->dir);
	}
	v->magic = VOLUME_MAGIC;
	v->options = *o;
	set_defaults(&v->options);
	v->options.dir = NULL;	/* only borrowed from the caller */
	v->map_bytes = map_bytes_of(&v->options);
	lock_init(&v->lock);
	cond_init(&v->opened);
	mailbox_init(&v->writer_box, NULL, NULL);
	mailbox_init(&v->sealer_box, NULL, NULL);
	read_queue_init(&v->queue);
	enum err e = open_inner(v, o->dir, d);
	if (e != ERR_OK) {
		volume_free(&v);
		return e;
	}
	*out = v;
	return ERR_OK;
}

/* ---- what the disk holds --------------------------------------------------- */

void volume_ranges(struct volume *v, volume_range_fn *fn, void *arg)
{
	assert(v->magic == VOLUME_MAGIC);
	for (size_t i = 0; i < v->table.n_parts; i++) {
		fn(arg, &v->table.parts[i]->range);
	}
}

void volume_shard_info(struct volume *v, uint32_t shard, struct volume_shard_info *out)
{
	assert(v->magic == VOLUME_MAGIC);
	assert(shard < v->options.shards);
	lock_take(&v->lock);
	*out = v->table.shards[shard].info;
	lock_give(&v->lock);
}

/* ---- threads --------------------------------------------------------------- */

/* In the order they are needed to end: the writer may post to the sealer. */
enum { STARTED_WRITER = 1, STARTED_SEALER = 2, STARTED_READER = 4 };

static void stop_threads(struct volume *v)
{
	if ((v->threads & STARTED_WRITER) != 0) {
		writer_post_stop(v);
		thread_join(v->writer_thread);
	}
	read_queue_stop(&v->queue);
	for (int i = 0; i < VOLUME_READERS; i++) {
		if ((v->threads & (STARTED_READER << i)) != 0) {
			thread_join(v->readers[i].thread);
		}
	}
	atomic_store(&v->is_stopping, true);
	if ((v->threads & STARTED_SEALER) != 0) {
		sealer_post_stop(v);
		thread_join(v->sealer_thread);
	}
	v->threads = 0;
}

static enum err start_threads(struct volume *v)
{
	enum err e = thread_start(&v->sealer_thread, ROLE_BACKGROUND, "sealer", sealer_main, v);
	if (e != ERR_OK) {
		return e;
	}
	v->threads |= STARTED_SEALER;
	static const enum env_slot slots[VOLUME_READERS] = {ENV_READER_0, ENV_READER_1};
	for (uint32_t i = 0; i < VOLUME_READERS; i++) {
		v->readers[i].volume = v;
		v->readers[i].slot = slots[i];
		e = thread_start(&v->readers[i].thread, ROLE_READER, "volume-reader", reader_main,
				 &v->readers[i]);
		if (e != ERR_OK) {
			return e;
		}
		v->threads |= (uint32_t)STARTED_READER << i;
	}
	e = thread_start(&v->writer_thread, ROLE_VOLUME_WRITER, "volume-writer", writer_main, v);
	if (e == ERR_OK) {
		v->threads |= STARTED_WRITER;
	}
	return e;
}

enum err volume_start(struct volume *v, struct err_detail *d)
{
	assert(v->magic == VOLUME_MAGIC);
	assert(v->threads == 0);
	/* Before the writer runs: it may add to the table. */
	for (size_t i = 0; i < v->n_segments; i++) {
		if (v->segments[i]->state == SEGMENT_CLOSED) {
			sealer_post(v->segments[i]);
		}
	}
	enum err e = start_threads(v);
	if (e != ERR_OK) {
		return err_set(d, e, "%s: cannot start a thread", v->dir);
	}
	return ERR_OK;
}

void volume_stop(struct volume **vp)
{
	struct volume *v = *vp;
	*vp = NULL;
	if (v == NULL) {
		return;
	}
	assert(v->magic == VOLUME_MAGIC);
	stop_threads(v);
	/* What was never started has posted to nobody who would take it. */
	(void)mailbox_take(&v->sealer_box);
	volume_free(&v);
}
