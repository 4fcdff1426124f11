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
	/* Larger ones are slower: the pages of a commit are given back to the system and
	 * taken anew each time (docs/architecture.md, decisions). */
	COMMIT_MAX_DEFAULT = 2 << 20,
	OPEN_SEGMENTS_DEFAULT = 64,
	TOMBSTONE_MS_DEFAULT = 24 * 3600 * 1000,
	COMPACTION_MEMORY_DEFAULT = 64 << 20,
	CLEAN_RATE_DEFAULT = 128 << 20,
	CLEAN_PAUSE_MS_DEFAULT = 5000,
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
	if (o->tombstone_ms == 0) {
		o->tombstone_ms = TOMBSTONE_MS_DEFAULT;
	}
	if (o->compaction_memory == 0) {
		o->compaction_memory = COMPACTION_MEMORY_DEFAULT;
	}
	if (o->clean_rate == 0) {
		o->clean_rate = CLEAN_RATE_DEFAULT;
	}
	if (o->clean_pause_ms == 0) {
		o->clean_pause_ms = CLEAN_PAUSE_MS_DEFAULT;
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
		struct segment *s = v->segments[i];
		if (s != NULL) {
			metric_add(METRIC_STORE_LIVE_BYTES, -(int64_t)s->live_bytes);
			segment_set_bytes_locked(s, 0);
			segment_free(&v->segments[i]);
			metric_add(METRIC_STORE_SEGMENTS, -1);
		}
	}
	mem_free(v->segments);
	mem_free(v->floors);
	manifest_fini(&v->manifest);
	table_fini(&v->table);
	mailbox_fini(&v->writer_box);
	mailbox_fini(&v->sealer_box);
	read_queue_fini(&v->queue);
	cond_fini(&v->opened);
	cond_fini(&v->replaced);
	cond_fini(&v->wake);
	lock_fini(&v->lock);
	mem_free(v->next_index);
	mem_free(v->dir);
	mem_free(v->root);
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

/* Of the table: what a segment's extents hold has changed. */
static void on_live(void *arg, uint32_t segment, int64_t bytes, int extents)
{
	struct volume *v = arg;
	struct segment *s = v->segments[segment];
	assert(s != NULL);
	s->live_bytes = (uint64_t)((int64_t)s->live_bytes + bytes);
	s->n_extents = (uint32_t)((int64_t)s->n_extents + extents);
	metric_add(METRIC_STORE_LIVE_BYTES, bytes);
}

/* Segments of which not even the .idx tells what they held. */
static void find_lost(struct volume *v)
{
	for (size_t i = 0; i < v->n_segments; i++) {
		const struct segment *s = v->segments[i];
		if (s == NULL || s->state != SEGMENT_SEALED || s->next_log_no != 0) {
			continue;
		}
		/* A cleaned one held events older than what the manifest does not list. */
		uint64_t before = s->is_cleaned ? v->manifest.base : s->number + 1;
		v->known_from = before > v->known_from ? before : v->known_from;
	}
}

static enum err open_inner(struct volume *v, const char *dir, struct err_detail *d)
{
	uint32_t shards = v->options.shards;
	v->dir = segments_dir(dir);
	v->root = mem_strdup(dir);
	v->next_index = mem_calloc(shards, sizeof *v->next_index);
	v->floors = mem_calloc(shards, sizeof *v->floors);
	if (v->dir == NULL || v->root == NULL || v->next_index == NULL || v->floors == NULL ||
	    table_init(&v->table, shards) != ERR_OK) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", dir);
	}
	v->table.live = on_live;
	v->table.arg = v;
	enum err e = file_make_dir(dir, "segments", d);
	if (e == ERR_OK) {
		e = volume_recover(v, d);
	}
	find_lost(v);
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
	cond_init(&v->replaced);
	cond_init(&v->wake);
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
		const struct volume_range *r = &v->table.parts[i]->range;
		/* Of some only the start is known. */
		if (r->last_append_ms != INT64_MIN) {
			fn(arg, r);
		}
	}
}

bool volume_end_is_known(struct volume *v, struct store_part part)
{
	assert(v->magic == VOLUME_MAGIC);
	if (v->known_from == 0) {
		return true;
	}
	const struct table_part *p = table_find(&v->table, part);
	const struct segment *last =
		p != NULL && p->n > 0 ? v->segments[p->extents[p->n - 1].segment] : NULL;
	return last != NULL && !last->is_cleaned && last->number >= v->known_from;
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

enum {
	STARTED_WRITER = 1,
	STARTED_SEALER = 2,
	STARTED_CLEANER = 4,
	STARTED_SCRUBBER = 8,
	STARTED_READER = 16,	/* and the bits above it, one for each */
};

/* In the order they are needed to end: the cleaner waits for the writer, the writer
 * posts to the sealer. */
static void stop_threads(struct volume *v)
{
	atomic_store(&v->is_stopping, true);
	lock_take(&v->lock);
	v->has_stopped = true;
	cond_broadcast(&v->wake);
	lock_give(&v->lock);
	if ((v->threads & STARTED_CLEANER) != 0) {
		thread_join(v->cleaner_thread);
	}
	if ((v->threads & STARTED_SCRUBBER) != 0) {
		thread_join(v->scrubber_thread);
	}
	if ((v->threads & STARTED_WRITER) != 0) {
		writer_post_stop(v);
		thread_join(v->writer_thread);
	}
	read_queue_stop(&v->queue);
	for (int i = 0; i < VOLUME_READERS; i++) {
		if ((v->threads & ((uint32_t)STARTED_READER << i)) != 0) {
			thread_join(v->readers[i].thread);
		}
	}
	if ((v->threads & STARTED_SEALER) != 0) {
		sealer_post_stop(v);
		thread_join(v->sealer_thread);
	}
	v->threads = 0;
}

static enum err start_thread(struct volume *v, uint32_t flag, pthread_t *t, enum thread_role role,
			     const char *name, thread_fn *fn, void *arg)
{
	enum err e = thread_start(t, role, name, fn, arg);
	if (e == ERR_OK) {
		v->threads |= flag;
	}
	return e;
}

static enum err start_threads(struct volume *v)
{
	static const enum env_slot slots[VOLUME_READERS] = {ENV_READER_0, ENV_READER_1};
	enum err e = start_thread(v, STARTED_SEALER, &v->sealer_thread, ROLE_BACKGROUND, "sealer",
				  sealer_main, v);
	for (uint32_t i = 0; e == ERR_OK && i < VOLUME_READERS; i++) {
		v->readers[i].volume = v;
		v->readers[i].slot = slots[i];
		e = start_thread(v, (uint32_t)STARTED_READER << i, &v->readers[i].thread, ROLE_READER,
				 "volume-reader", reader_main, &v->readers[i]);
	}
	if (e == ERR_OK) {
		e = start_thread(v, STARTED_WRITER, &v->writer_thread, ROLE_VOLUME_WRITER,
				 "volume-writer", writer_main, v);
	}
	if (e == ERR_OK) {
		e = start_thread(v, STARTED_CLEANER, &v->cleaner_thread, ROLE_BACKGROUND, "cleaner",
				 cleaner_main, v);
	}
	if (e == ERR_OK && v->options.scrub_period_ms > 0) {
		e = start_thread(v, STARTED_SCRUBBER, &v->scrubber_thread, ROLE_BACKGROUND,
				 "scrubber", scrubber_main, v);
	}
	return e;
}

enum err volume_start(struct volume *v, struct err_detail *d)
{
	assert(v->magic == VOLUME_MAGIC);
	assert(v->threads == 0);
	/* Before the writer runs: it may add to the table. */
	for (size_t i = 0; i < v->n_segments; i++) {
		if (v->segments[i] != NULL && v->segments[i]->state == SEGMENT_CLOSED) {
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
