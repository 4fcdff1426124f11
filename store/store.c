/* The store as a whole: what is opened in which order, and closed.
 *
 * Open:  directory (LOCK, VERSION) - volume - state - shard core recovers -
 *        volume's threads - founding entries - core's thread - VERSION.
 * Close: 1. the core refuses what comes from now on, proposes and completes
 *           what waits, answers it, returns every watch; the saver writes
 *           the state a last time and its thread ends
 *        2. the volume completes the reads it has, seals nothing, its threads
 *           end; a read that comes now is refused before it reaches the volume
 *        3. the state is closed
 *        4. CLEAN is written: from here on everything is on disk
 *        5. the core's thread stays to refuse what still comes
 * Free:  6. the core's thread ends, the cache is dropped
 *        7. LOCK is given back
 * Answers are messages in the callers' mailboxes, so a caller may run them after
 * the close. */

#include "store/store.h"

#include <assert.h>

#include "base/crypto.h"
#include "base/keyhash.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/dir.h"
#include "store/shard/shard.h"
#include "store/volume/state.h"
#include "store/volume/volume.h"

enum { STORE_MAGIC = 0x5702e001 };

struct store {
	unsigned magic;
	struct store_dir dir;
	struct volume *volume;
	struct state *state;
	struct shard_core *core;
};

/* After the core was closed or never started. */
static void stop_disk(struct store *s)
{
	if (s->volume != NULL) {
		volume_stop(&s->volume);
	}
	if (s->state != NULL) {
		state_close(&s->state);
	}
}

static enum err open_volume(struct store *s, const struct store_options *o, struct err_detail *d)
{
	struct volume_options vo = {
		.dir = s->dir.volume,
		.shards = s->dir.shards,
		.node_id = s->dir.node_id,
		.segment_max_bytes = o->segment_max_bytes,
		.was_unclean = s->dir.was_unclean,
	};
	memcpy(vo.store_uuid, s->dir.store_uuid, sizeof vo.store_uuid);
	return volume_open(&vo, &s->volume, d);
}

/* VERSION is named when every shard's first entry is durable, so a founded store
 * without them has lost its volume: a disk that is not mounted, most likely. It
 * must not begin anew and give out sequence numbers twice. */
static enum err check_founded(const struct store *s, struct err_detail *d)
{
	for (uint32_t i = 0; !s->dir.is_founding && i < s->dir.shards; i++) {
		struct volume_shard_info info;
		volume_shard_info(s->volume, i, &info);
		if (info.last_index == 0) {
			return err_set(d, ERR_CORRUPT,
				       "data directory %s was founded, but its volume holds nothing of "
				       "shard %u: is its disk mounted?",
				       s->dir.path, i);
		}
	}
	return ERR_OK;
}

/* A damaged state is put aside: the log has all of it. It is small, so it is
 * walked at every start: what cannot be read could not be written to either. */
static enum err open_state(struct store *s, struct err_detail *d)
{
	enum err e = state_open(s->dir.volume, true, &s->state, d);
	if (e != ERR_CORRUPT) {
		return e;
	}
	log_warn("STORE-STATE-DAMAGED", "error=%s it is put aside and rebuilt from the log",
		 log_quote(d->text));
	e = store_dir_move_state(&s->dir, d);
	return e == ERR_OK ? state_open(s->dir.volume, false, &s->state, d) : e;
}

static enum err open_parts(struct store *s, const struct store_options *o, struct err_detail *d)
{
	enum err e = open_volume(s, o, d);
	if (e == ERR_OK) {
		e = check_founded(s, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	e = open_state(s, d);
	if (e != ERR_OK) {
		return e;
	}
	struct shard_options so = {
		.volume = s->volume,
		.state = s->state,
		.dir = s->dir.volume,
		.shards = s->dir.shards,
		.node_id = s->dir.node_id,
		.cache_bytes = o->cache_bytes,
		.disk_reserve_bytes = o->disk_reserve_bytes,
		.producer_expiry_ms = o->producer_expiry_ms,
	};
	return shard_core_new(&so, &s->core, d);
}

static enum err start_parts(struct store *s, struct err_detail *d)
{
	enum err e = volume_start(s->volume, d);
	if (e != ERR_OK) {
		return e;
	}
	e = shard_core_start(s->core, d);
	if (e != ERR_OK) {
		return e;
	}
	return store_dir_founded(&s->dir, d);
}

static void mark_clean(struct store *s)
{
	struct err_detail d = {""};
	if (store_dir_mark_clean(&s->dir, &d) != ERR_OK) {
		log_warn("STORE-CLEAN-MARK", "error=%s the next start checks more",
			 log_quote(d.text));
	}
}

enum err store_open(const struct store_options *o, struct store **out, struct err_detail *d)
{
	struct err_detail own = {""};
	d = d != NULL ? d : &own;
	if (o->shards == 0 || o->shards > LIMIT_SHARDS) {
		return err_set(d, ERR_INVALID, "a store has 1 to %d shards, not %u", LIMIT_SHARDS,
			       o->shards);
	}
	struct store *s = MEM_NEW(struct store);
	if (s == NULL) {
		return err_set(d, ERR_NOMEM, "no memory for the store");
	}
	s->magic = STORE_MAGIC;
	enum err e = store_dir_open(o->dir, o->node_id, o->shards, &s->dir, d);
	if (e != ERR_OK) {
		mem_free(s);
		return e;
	}
	e = open_parts(s, o, d);
	if (e == ERR_OK) {
		e = start_parts(s, d);
	} else if (!s->dir.was_unclean && !s->dir.is_founding) {
		/* Nothing was written: the last stop is as orderly as before. */
		mark_clean(s);
	}
	if (e != ERR_OK) {
		if (d->text[0] == '\0') {
			err_set(d, e, "data directory %s: %s", o->dir, err_text(e));
		}
		if (s->core != NULL) {
			shard_core_close(s->core);
		}
		stop_disk(s);
		store_free(&s);
		return e;
	}
	d->text[0] = '\0';	/* what was wrong with a state that could be made anew */
	log_info("STORE-OPEN", "dir=%s shards=%u clean=%s", log_quote(s->dir.path), s->dir.shards,
		 s->dir.was_unclean ? "no" : "yes");
	*out = s;
	return ERR_OK;
}

void store_close(struct store *s)
{
	assert(s->magic == STORE_MAGIC);
	if (s->volume == NULL) {
		return;	/* closed before */
	}
	shard_core_close(s->core);
	stop_disk(s);
	mark_clean(s);
	log_info("STORE-CLOSE", "dir=%s", log_quote(s->dir.path));
}

void store_free(struct store **sp)
{
	struct store *s = *sp;
	*sp = NULL;
	if (s == NULL) {
		return;
	}
	store_close(s);
	shard_core_free(&s->core);
	store_dir_close(&s->dir);
	s->magic = 0;
	mem_free(s);
}

const char *store_dir(const struct store *s)
{
	return s->dir.path;
}

void store_uuid_text(const struct store *s, char out[37])
{
	crypto_uuid_text(s->dir.store_uuid, out);
}

const struct catalog *store_catalog(struct store *s)
{
	return shard_core_catalog(s->core);
}

struct store_partition *store_partition_find(struct store *s, struct store_part part)
{
	return shard_core_partition(s->core, part);
}

void store_append(struct store *s, struct store_append *op)
{
	shard_core_append(s->core, op);
}

void store_read(struct store *s, struct store_read *op)
{
	shard_core_read(s->core, op);
}

void store_seek(struct store *s, struct store_seek *op)
{
	shard_core_seek(s->core, op);
}

void store_watch(struct store *s, struct store_watch *w)
{
	(void)s;
	shard_core_watch(w);
}

void store_command(struct store *s, struct store_command *op)
{
	shard_core_command(s->core, op);
}

void store_rows_write(struct store *s, struct store_rows_write *op)
{
	shard_core_rows_write(s->core, op);
}

void store_rows_scan(struct store *s, struct store_rows_scan *op)
{
	shard_core_rows_scan(s->core, op);
}

uint32_t store_shard_of(const struct store *s, struct span name)
{
	return keyhash_partition(name, s->dir.shards);
}
