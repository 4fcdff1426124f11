/* The store as a whole: what is opened in which order, and closed.
 *
 * Open:  directories (LOCK, VERSION) - volumes - an older directory is labelled
 *        as of this format - exports and state - shard core recovers - volumes'
 *        threads - founding entries - core's thread - VERSION.
 * Close: 0. a backup under way ends: its files are no longer held
 *        1. the core refuses what comes from now on, proposes and completes
 *           what waits, answers it, returns every watch; the saver writes
 *           the state a last time and its thread ends
 *        2. the volumes complete the reads they have, seal nothing, their threads
 *           end; a read that comes now is refused before it reaches a volume
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
#include "base/metrics.h"
#include "store/backup.h"
#include "store/dir.h"
#include "store/shard/shard.h"
#include "store/volume/export.h"
#include "store/volume/state.h"
#include "store/volume/volume.h"

enum { STORE_MAGIC = 0x5702e001 };

struct store {
	unsigned magic;
	struct store_dirs dirs;
	struct volume *volumes[LIMIT_VOLUMES];	/* NULL: out */
	const char *volume_dirs[LIMIT_VOLUMES];
	struct exports exports;
	struct state *state;
	struct shard_core *core;
	struct backup *backup;
	uint32_t n_out;
	bool is_closed;
};

/* After the core was closed or never started. */
static void stop_disk(struct store *s)
{
	for (uint32_t i = 0; i < s->dirs.n; i++) {
		if (s->volumes[i] != NULL) {
			volume_stop(&s->volumes[i]);
		}
	}
	if (s->state != NULL) {
		state_close(&s->state);
	}
	exports_fini(&s->exports);
	metric_add(METRIC_STORE_OFFLINE, -(int64_t)s->n_out);
	s->n_out = 0;
}

/* ---- volumes ------------------------------------------------------------------- */

static enum err open_volume(struct store *s, uint32_t at, const struct store_options *o,
			    struct err_detail *d)
{
	const struct store_dir *dir = &s->dirs.v[at];
	struct volume_options vo = {
		.dir = dir->volume,
		.shards = dir->shards,
		.node_id = dir->node_id,
		.segment_max_bytes = o->segment_max_bytes,
		.was_unclean = dir->was_unclean,
		.may_lack_manifest = dir->is_founding || dir->version < STORE_DIR_MANIFEST,
		.compactor = o->compactor,
		.tombstone_ms = o->tombstone_ms,
		.compaction_memory = o->compaction_memory,
		.clean_rate = o->clean_rate,
		.clean_pause_ms = o->clean_pause_ms,
		.scrub_period_ms = o->scrub_period_ms,
	};
	memcpy(vo.store_uuid, dir->store_uuid, sizeof vo.store_uuid);
	return volume_open(&vo, &s->volumes[at], d);
}

/* VERSION is named when every shard's first entry is durable, so a founded store
 * without them has lost its volume: a disk that is not mounted, most likely. It
 * must not begin anew and give out sequence numbers twice. */
static enum err check_founded(const struct store *s, uint32_t at, struct err_detail *d)
{
	const struct store_dir *dir = &s->dirs.v[at];
	for (uint32_t i = at; !dir->is_founding && i < dir->shards; i += s->dirs.n) {
		struct volume_shard_info info;
		volume_shard_info(s->volumes[at], i, &info);
		if (info.last_index == 0) {
			return err_set(d, ERR_CORRUPT,
				       "data directory %s was founded, but its volume holds nothing of "
				       "shard %u: is its disk mounted?",
				       dir->path, i);
		}
	}
	return ERR_OK;
}

/* A further volume that is damaged, or whose disk errs, is no reason to refuse what
 * the others hold. */
static bool may_leave_out(const struct store *s, uint32_t at, enum err e)
{
	return at > 0 && !s->dirs.v[at].is_founding && (e == ERR_CORRUPT || e == ERR_IO);
}

static enum err open_volumes(struct store *s, const struct store_options *o, struct err_detail *d)
{
	for (uint32_t i = 0; i < s->dirs.n; i++) {
		struct store_dir *dir = &s->dirs.v[i];
		s->volume_dirs[i] = dir->volume;
		if (dir->is_out) {
			continue;
		}
		enum err e = open_volume(s, i, o, d);
		if (e == ERR_OK) {
			e = check_founded(s, i, d);
			if (e != ERR_OK) {
				return e;
			}
		} else if (may_leave_out(s, i, e)) {
			log_error("STORE-VOLUME-OUT", "dir=%s volume=%u error=%s",
				  log_quote(dir->path), i, log_quote(d->text));
			dir->is_out = true;
			d->text[0] = '\0';
		} else {
			return e;
		}
	}
	for (uint32_t i = 0; i < s->dirs.n; i++) {
		s->n_out += s->dirs.v[i].is_out;
	}
	metric_add(METRIC_STORE_OFFLINE, s->n_out);
	return ERR_OK;
}

/* ---- the rest -------------------------------------------------------------------- */

/* A damaged state is put aside: an export and the log have all of it. It is small, so
 * it is walked at every start: what cannot be read could not be written to either. */
static enum err open_state(struct store *s, struct err_detail *d)
{
	struct store_dir *dir = &s->dirs.v[0];
	enum err e = state_open(dir->volume, true, &s->state, d);
	if (e != ERR_CORRUPT) {
		return e;
	}
	log_warn("STORE-STATE-DAMAGED", "error=%s it is put aside and made anew",
		 log_quote(d->text));
	e = store_dir_move_state(dir, d);
	return e == ERR_OK ? state_open(dir->volume, false, &s->state, d) : e;
}

static enum err open_core(struct store *s, const struct store_options *o, struct err_detail *d)
{
	const struct store_dir *dir = &s->dirs.v[0];
	struct shard_options so = {
		.volumes = s->volumes,
		.dirs = s->volume_dirs,
		.n_volumes = s->dirs.n,
		.state = s->state,
		.exports = &s->exports,
		.export_interval_ms = o->export_interval_ms,
		.shards = dir->shards,
		.node_id = dir->node_id,
		.cache_bytes = o->cache_bytes,
		.disk_reserve_bytes = o->disk_reserve_bytes,
		.max_disk_bytes = o->max_disk_bytes,
		.retention_check_ms = o->retention_check_ms,
		.clock_doubt_ms = o->clock_doubt_ms,
		.producer_expiry_ms = o->producer_expiry_ms,
	};
	memcpy(so.store_uuid, dir->store_uuid, sizeof so.store_uuid);
	return shard_core_new(&so, &s->core, d);
}

static enum err open_parts(struct store *s, const struct store_options *o, struct err_detail *d)
{
	struct store_dir *dir = &s->dirs.v[0];
	enum err e = open_volumes(s, o, d);
	if (e == ERR_OK) {
		e = store_dirs_upgrade(&s->dirs, d);
	}
	if (e == ERR_OK) {
		e = exports_open(dir->volume, dir->store_uuid, dir->shards, &s->exports, d);
	}
	if (e == ERR_OK) {
		e = open_state(s, d);
	}
	if (e == ERR_OK) {
		e = open_core(s, o, d);
	}
	if (e == ERR_OK) {
		const struct backup_options bo = {
			.dirs = &s->dirs, .volumes = s->volumes, .core = s->core};
		e = backup_new(&bo, &s->backup, d);
	}
	return e;
}

static enum err start_parts(struct store *s, struct err_detail *d)
{
	for (uint32_t i = 0; i < s->dirs.n; i++) {
		enum err e = s->volumes[i] != NULL ? volume_start(s->volumes[i], d) : ERR_OK;
		if (e != ERR_OK) {
			return e;
		}
	}
	enum err e = shard_core_start(s->core, d);
	if (e != ERR_OK) {
		return e;
	}
	return store_dirs_founded(&s->dirs, d);
}

static void mark_clean(struct store *s, bool only_clean)
{
	struct err_detail d = {""};
	if (store_dirs_mark_clean(&s->dirs, only_clean, &d) != ERR_OK) {
		log_warn("STORE-CLEAN-MARK", "error=%s the next start checks more",
			 log_quote(d.text));
	}
}

static enum err open_dirs(struct store *s, const struct store_options *o, struct err_detail *d)
{
	const char *paths[LIMIT_VOLUMES];
	if (o->shards == 0 || o->shards > LIMIT_SHARDS) {
		return err_set(d, ERR_INVALID, "a store has 1 to %d shards, not %u", LIMIT_SHARDS,
			       o->shards);
	}
	if (o->n_more_dirs >= LIMIT_VOLUMES) {
		return err_set(d, ERR_INVALID, "a store has at most %d data directories",
			       LIMIT_VOLUMES);
	}
	paths[0] = o->dir;
	for (uint32_t i = 0; i < o->n_more_dirs; i++) {
		paths[i + 1] = o->more_dirs[i];
	}
	return store_dirs_open(paths, o->n_more_dirs + 1, o->node_id, o->shards, &s->dirs, d);
}

enum err store_open(const struct store_options *o, struct store **out, struct err_detail *d)
{
	struct err_detail own = {""};
	d = d != NULL ? d : &own;
	struct store *s = MEM_NEW(struct store);
	if (s == NULL) {
		return err_set(d, ERR_NOMEM, "no memory for the store");
	}
	s->magic = STORE_MAGIC;
	enum err e = open_dirs(s, o, d);
	if (e != ERR_OK) {
		mem_free(s);
		return e;
	}
	e = open_parts(s, o, d);
	if (e == ERR_OK) {
		e = start_parts(s, d);
	} else {
		/* Nothing was written: the last stop is as orderly as before. */
		mark_clean(s, true);
	}
	if (e != ERR_OK) {
		if (d->text[0] == '\0') {
			err_set(d, e, "data directory %s: %s", o->dir, err_text(e));
		}
		if (s->core != NULL) {
			shard_core_close(s->core);
		}
		stop_disk(s);
		s->is_closed = true;
		store_free(&s);
		return e;
	}
	d->text[0] = '\0';	/* what was wrong with a state that could be made anew */
	log_info("STORE-OPEN", "dir=%s volumes=%u shards=%u clean=%s", log_quote(s->dirs.v[0].path),
		 s->dirs.n, s->dirs.v[0].shards, s->dirs.v[0].was_unclean ? "no" : "yes");
	*out = s;
	return ERR_OK;
}

void store_close(struct store *s)
{
	assert(s->magic == STORE_MAGIC);
	if (s->is_closed) {
		return;
	}
	s->is_closed = true;
	backup_close(s->backup);
	shard_core_close(s->core);
	stop_disk(s);
	mark_clean(s, false);
	log_info("STORE-CLOSE", "dir=%s", log_quote(s->dirs.v[0].path));
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
	backup_free(&s->backup);
	store_dirs_close(&s->dirs);
	s->magic = 0;
	mem_free(s);
}

const char *store_dir(const struct store *s)
{
	return s->dirs.v[0].path;
}

uint32_t store_volumes(const struct store *s)
{
	return s->dirs.n;
}

const char *store_volume_dir(const struct store *s, uint32_t volume)
{
	assert(volume < s->dirs.n);
	return s->dirs.v[volume].path;
}

void store_uuid_text(const struct store *s, char out[37])
{
	crypto_uuid_text(s->dirs.v[0].store_uuid, out);
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

void store_trim(struct store *s, struct store_trim *op)
{
	shard_core_trim(s->core, op);
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

void store_pin(struct store *s, struct store_pin *op)
{
	backup_pin(s->backup, op);
}

enum err store_pin_renew(struct store *s, uint64_t id)
{
	return backup_renew(s->backup, id);
}

void store_unpin(struct store *s, uint64_t id)
{
	backup_unpin(s->backup, id);
}

uint32_t store_shard_of(const struct store *s, struct span name)
{
	return keyhash_partition(name, s->dirs.v[0].shards);
}

bool store_shard_is_out(const struct store *s, uint32_t shard)
{
	return s->dirs.v[shard % s->dirs.n].is_out;
}
