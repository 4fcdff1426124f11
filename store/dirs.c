/* The data directories of a store together: who is who, founding, the stop. */

#include "store/dir_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"

static bool is_same(const uint8_t a[16], const uint8_t b[16])
{
	return memcmp(a, b, 16) == 0;
}

/* The locks are per open file, so the second of two would wait for the first. */
static enum err check_twice(const struct store_dirs *dirs, uint32_t at, struct err_detail *d)
{
	struct stat mine;
	if (fstat(dirs->v[at].fd, &mine) != 0) {
		return ERR_OK;
	}
	for (uint32_t i = 0; i < at; i++) {
		struct stat st;
		if (!dirs->v[i].is_out && fstat(dirs->v[i].fd, &st) == 0 &&
		    st.st_dev == mine.st_dev && st.st_ino == mine.st_ino) {
			return err_set(d, ERR_INVALID,
				       "data directory %s is given twice, as %s and as %s",
				       dirs->v[at].path, dirs->v[i].path, dirs->v[at].path);
		}
	}
	return ERR_OK;
}

static enum err enter(struct store_dirs *dirs, uint32_t at, bool may_make, struct err_detail *d)
{
	struct store_dir *dir = &dirs->v[at];
	enum err e = may_make ? store_dir_make(dir, d) : ERR_OK;
	if (e == ERR_OK) {
		e = store_dir_enter(dir, d);
	}
	if (e == ERR_OK) {
		e = check_twice(dirs, at, d);
	}
	return e == ERR_OK ? store_dir_lock(dir, d) : e;
}

/* ---- those of a founded store ---------------------------------------------- */

/* Every volume has all of these from its founding on; one that is damaged, some. */
static bool has_volume(const struct store_dir *dir)
{
	int fd = openat(dir->fd, "volume/segments", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	bool has = store_dir_has(dir, "volume/MANIFEST") || store_dir_has(dir, "volume/MANIFEST.copy");
	for (struct dirent *at = NULL; list != NULL && !has && (at = readdir(list)) != NULL;) {
		has = at->d_name[0] != '.';
	}
	if (list != NULL) {
		closedir(list);
	} else if (fd >= 0) {
		close(fd);
	}
	return has;
}

static enum err check_first(const struct store_dirs *dirs, uint64_t node_id, struct err_detail *d)
{
	const struct store_dir *dir = &dirs->v[0];
	if (node_id != 0 && node_id != dir->node_id) {
		return err_set(d, ERR_INVALID, "data directory %s belongs to node %llu, not %llu",
			       dir->path, (unsigned long long)dir->node_id,
			       (unsigned long long)node_id);
	}
	if (dir->ordinal != 0) {
		return err_set(d, ERR_INVALID,
			       "data directory %s is volume %u of its store and is given as the "
			       "first: give them in the order of their founding",
			       dir->path, dir->ordinal);
	}
	if (dirs->n < dir->volumes) {
		return err_set(d, ERR_INVALID,
			       "the store in %s has %u volumes, %u %s given: the data directory of "
			       "volume %u is missing",
			       dir->path, dir->volumes, dirs->n,
			       dirs->n == 1 ? "data directory is" : "data directories are", dirs->n);
	}
	if (dirs->n > dir->volumes) {
		return err_set(d, ERR_INVALID,
			       "the store in %s has %u %s, as it was founded, and %u data "
			       "directories are given: %s is not of it",
			       dir->path, dir->volumes, dir->volumes == 1 ? "volume" : "volumes",
			       dirs->n, dirs->v[dir->volumes].path);
	}
	if (!has_volume(dir)) {
		return err_set(d, ERR_CORRUPT,
			       "data directory %s was founded, but its volume holds nothing: is its disk "
			       "mounted?",
			       dir->path);
	}
	return ERR_OK;
}

static enum err check_further(const struct store_dirs *dirs, uint32_t at, struct err_detail *d)
{
	const struct store_dir *first = &dirs->v[0];
	const struct store_dir *dir = &dirs->v[at];
	if (!is_same(first->store_uuid, dir->store_uuid)) {
		char theirs[CRYPTO_UUID_TEXT];
		crypto_uuid_text(dir->store_uuid, theirs);
		return err_set(d, ERR_INVALID,
			       "data directory %s belongs to another store (%s), not to that in %s",
			       dir->path, theirs, first->path);
	}
	if (dir->ordinal != at) {
		return err_set(d, ERR_INVALID,
			       "data directory %s is volume %u of its store and is given as volume "
			       "%u: give them in the order of their founding",
			       dir->path, dir->ordinal, at);
	}
	if (dir->shards != first->shards || dir->volumes != first->volumes ||
	    dir->node_id != first->node_id ||
	    !is_same(first->cluster_uuid, dir->cluster_uuid)) {
		return err_set(d, ERR_INVALID,
			       "data directory %s does not say the same of its store as %s: one of "
			       "them is from another time",
			       dir->path, first->path);
	}
	return ERR_OK;
}

/* One whose VERSION is still to be named: the first one had its own already. */
static enum err finish(struct store_dirs *dirs, uint32_t at, struct err_detail *d)
{
	struct store_dir *dir = &dirs->v[at];
	enum err e = store_dir_has(dir, store_dir_version_new)
			     ? store_dir_read_label(dir, store_dir_version_new, d)
			     : ERR_NOT_FOUND;
	if (e == ERR_OK) {
		e = check_further(dirs, at, d);
		return e == ERR_OK ? store_dir_end(dir, d) : e;
	}
	if (dir->is_failing) {
		return e;
	}
	return err_set(d, ERR_INVALID,
		       "data directory %s holds no volume of the store in %s: is its disk mounted?",
		       dir->path, dirs->v[0].path);
}

static enum err open_further(struct store_dirs *dirs, uint32_t at, bool may_change,
			     struct err_detail *d)
{
	struct store_dir *dir = &dirs->v[at];
	enum err e = enter(dirs, at, false, d);
	if (e == ERR_NOT_FOUND) {
		return err_set(d, may_change ? ERR_INVALID : e,
			       "data directory %s, volume %u of the store in %s, is not there: is its "
			       "disk mounted?",
			       dir->path, at, dirs->v[0].path);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (!store_dir_has(dir, store_dir_version) && may_change) {
		return finish(dirs, at, d);
	}
	e = store_dir_read_label(dir, store_dir_version, d);
	if (e == ERR_CORRUPT && store_dir_has(dir, store_dir_volume)) {
		dir->is_failing = true;	/* its label is damaged, its place is right */
	}
	if (e != ERR_OK) {
		return e;
	}
	e = check_further(dirs, at, d);
	if (e == ERR_OK && !has_volume(dir)) {
		e = err_set(d, ERR_INVALID, "data directory %s has lost its volume: is its disk mounted?",
			    dir->path);
	}
	return e;
}

/* One whose disk errs is left out, whatever else holds of it: ERR_OK. */
static enum err leave_out(struct store_dir *dir, uint32_t at, enum err e, struct err_detail *d)
{
	if (e == ERR_OK || !dir->is_failing || at == 0) {
		return e;
	}
	log_error("STORE-VOLUME-OUT", "dir=%s volume=%u error=%s", log_quote(dir->path), at,
		  log_quote(d->text));
	dir->is_out = true;
	dir->was_unclean = true;
	d->text[0] = '\0';
	return ERR_OK;
}

static enum err open_others(struct store_dirs *dirs, bool may_change, struct err_detail *d)
{
	enum err e = ERR_OK;
	for (uint32_t i = 1; i < dirs->n && e == ERR_OK; i++) {
		e = leave_out(&dirs->v[i], i, open_further(dirs, i, may_change, d), d);
	}
	return e;
}

/* Whether the last stop was orderly; from now on it is not, until the next. */
static enum err take_clean(struct store_dirs *dirs, bool may_change, struct err_detail *d)
{
	char first[STORE_CLEAN_MAX];
	size_t n_first = 0;
	enum err e = ERR_OK;
	for (uint32_t i = 0; i < dirs->n && e == ERR_OK; i++) {
		struct store_dir *dir = &dirs->v[i];
		char text[STORE_CLEAN_MAX];
		size_t n = 0;
		if (dir->is_out) {
			continue;
		}
		bool is_there = store_dir_has(dir, store_dir_clean);
		e = store_dir_read_clean(dir, i == 0 ? first : text, i == 0 ? &n_first : &n, d);
		dir->was_unclean = !is_there || (i > 0 && (n == 0 || n != n_first ||
							   memcmp(text, first, n) != 0));
		e = leave_out(dir, i, e, d);
	}
	for (uint32_t i = 0; may_change && i < dirs->n && e == ERR_OK; i++) {
		if (!dirs->v[i].is_out) {
			e = leave_out(&dirs->v[i], i, store_dir_remove_clean(&dirs->v[i], d), d);
		}
	}
	return e;
}

/* ---- founding ---------------------------------------------------------------- */

/* What a further directory may hold when its store is founded: nothing, or what an
 * interrupted founding left. */
static enum err check_unfounded(struct store_dirs *dirs, uint32_t at, struct err_detail *d)
{
	struct store_dir *dir = &dirs->v[at];
	enum err e = enter(dirs, at, true, d);
	if (e != ERR_OK) {
		return e;
	}
	if (store_dir_has(dir, store_dir_version)) {
		return err_set(d, ERR_INVALID,
			       "data directory %s belongs to another store, and that in %s is to be "
			       "founded: is the disk of the first one mounted?",
			       dir->path, dirs->v[0].path);
	}
	bool is_empty = true;
	if (!store_dir_has(dir, store_dir_version_new)) {
		e = store_dir_is_empty(dir, &is_empty, d);
	}
	return e == ERR_OK && !is_empty
		       ? err_set(d, ERR_INVALID,
				 "data directory %s is not empty and not a store's: a further one "
				 "holds nothing else",
				 dir->path)
		       : e;
}

static enum err begin(struct store_dirs *dirs, uint64_t node_id, uint32_t shards,
		      struct err_detail *d)
{
	if (shards < dirs->n) {
		return err_set(d, ERR_INVALID,
			       "%u data directories for %u shards: some would hold nothing", dirs->n,
			       shards);
	}
	for (uint32_t i = 1; i < dirs->n; i++) {
		enum err e = check_unfounded(dirs, i, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	uint8_t cluster[16];
	uint8_t store[16];
	crypto_uuid(cluster);
	crypto_uuid(store);
	for (uint32_t i = 0; i < dirs->n; i++) {
		struct store_dir *dir = &dirs->v[i];
		memcpy(dir->cluster_uuid, cluster, sizeof cluster);
		memcpy(dir->store_uuid, store, sizeof store);
		dir->node_id = node_id != 0 ? node_id : 1;
		dir->shards = shards;
		dir->volumes = dirs->n;
		dir->ordinal = i;
		dir->version = STORE_DIR_VERSION;
		enum err e = store_dir_begin(dir, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

enum err store_dirs_founded(struct store_dirs *dirs, struct err_detail *d)
{
	enum err e = ERR_OK;
	for (uint32_t i = 0; i < dirs->n && e == ERR_OK; i++) {
		if (dirs->v[i].is_founding) {
			e = store_dir_end(&dirs->v[i], d);
			dirs->v[i].is_founding = e != ERR_OK;
		}
	}
	return e;
}

/* ---- opening and closing ------------------------------------------------------ */

static enum err init(const char *const *paths, uint32_t n, struct store_dirs *out,
		     struct err_detail *d)
{
	*out = (struct store_dirs){.n = 0};
	if (n == 0 || n > LIMIT_VOLUMES) {
		return err_set(d, ERR_INVALID, "a store has 1 to %d data directories, not %u",
			       LIMIT_VOLUMES, n);
	}
	enum err e = ERR_OK;
	for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
		out->n = i + 1;
		e = store_dir_init(&out->v[i], paths[i], d);
	}
	return e;
}

static enum err open_all(struct store_dirs *dirs, uint64_t node_id, uint32_t shards,
			 struct err_detail *d)
{
	enum err e = enter(dirs, 0, true, d);
	if (e != ERR_OK) {
		return e;
	}
	if (!store_dir_has(&dirs->v[0], store_dir_version)) {
		return begin(dirs, node_id, shards, d);
	}
	e = store_dir_read_label(&dirs->v[0], store_dir_version, d);
	if (e == ERR_OK) {
		e = check_first(dirs, node_id, d);
	}
	if (e == ERR_OK) {
		e = open_others(dirs, true, d);
	}
	return e == ERR_OK ? take_clean(dirs, true, d) : e;
}

enum err store_dirs_open(const char *const *paths, uint32_t n, uint64_t node_id, uint32_t shards,
			 struct store_dirs *out, struct err_detail *d)
{
	enum err e = init(paths, n, out, d);
	if (e == ERR_OK) {
		e = open_all(out, node_id, shards, d);
	}
	if (e != ERR_OK) {
		store_dirs_close(out);
	}
	return e;
}

enum err store_dirs_look(const char *const *paths, uint32_t n, struct store_dirs *out,
			 struct err_detail *d)
{
	enum err e = init(paths, n, out, d);
	if (e == ERR_OK) {
		e = store_dir_enter(&out->v[0], d);
	}
	if (e == ERR_OK && !store_dir_has(&out->v[0], store_dir_version)) {
		e = err_set(d, ERR_NOT_FOUND, "data directory %s holds no store", paths[0]);
	}
	if (e == ERR_OK) {
		e = store_dir_lock(&out->v[0], d);
	}
	if (e == ERR_OK) {
		e = store_dir_read_label(&out->v[0], store_dir_version, d);
	}
	if (e == ERR_OK) {
		e = check_first(out, 0, d);
	}
	if (e == ERR_OK) {
		e = open_others(out, false, d);
	}
	if (e == ERR_OK) {
		e = take_clean(out, false, d);
	}
	if (e != ERR_OK) {
		store_dirs_close(out);
	}
	return e;
}

enum err store_dirs_upgrade(struct store_dirs *dirs, struct err_detail *d)
{
	for (uint32_t i = 0; i < dirs->n; i++) {
		struct store_dir *dir = &dirs->v[i];
		if (dir->is_out || dir->is_founding || dir->version >= STORE_DIR_VERSION) {
			continue;
		}
		enum err e = store_dir_label(dir, d);
		if (e == ERR_OK) {
			log_info("STORE-UPGRADED", "dir=%s from=%u to=%d", log_quote(dir->path),
				 dir->version, STORE_DIR_VERSION);
			dir->version = STORE_DIR_VERSION;
		} else if (i == 0) {
			return e;
		} else {
			log_warn("STORE-UPGRADE-LATER", "dir=%s from=%u error=%s",
				 log_quote(dir->path), dir->version, log_quote(d->text));
			d->text[0] = '\0';
		}
	}
	return ERR_OK;
}

enum err store_dirs_mark_clean(struct store_dirs *dirs, bool only_clean, struct err_detail *d)
{
	uint8_t stop[16];
	char uuid[CRYPTO_UUID_TEXT];
	char text[STORE_CLEAN_MAX];
	crypto_uuid(stop);
	crypto_uuid_text(stop, uuid);
	snprintf(text, sizeof text, "stop=%s\n", uuid);
	enum err first = ERR_OK;
	for (uint32_t i = 0; i < dirs->n; i++) {
		struct store_dir *dir = &dirs->v[i];
		if (dir->is_out || (only_clean && (dir->was_unclean || dir->is_founding))) {
			continue;
		}
		enum err e = store_dir_write_clean(dir, text, first == ERR_OK ? d : NULL);
		first = first == ERR_OK ? e : first;
	}
	return first;
}

void store_dirs_close(struct store_dirs *dirs)
{
	for (uint32_t i = 0; i < dirs->n; i++) {
		store_dir_close(&dirs->v[i]);
	}
	dirs->n = 0;
}
