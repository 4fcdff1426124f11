#include "store/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/dir_version.h"

static const char name_lock[] = "LOCK";
static const char name_version[] = "VERSION";
static const char name_version_new[] = "VERSION.new";	/* a founding under way */
static const char name_version_next[] = "VERSION.next";	/* a relabelling */
static const char name_clean[] = "CLEAN";
static const char name_volume[] = "volume";

enum {
	DIR_MODE = 0700,
	FILE_MODE = 0600,
	PID_TEXT = 24,
	WALK_FDS = 8,	/* directories nftw keeps open */
};

/* The one translation of errno in this file. */
static enum err fail(const struct store_dir *dir, const char *what, struct err_detail *d)
{
	switch (errno) {
	case ENOSPC:
	case EDQUOT:
		return err_set(d, ERR_FULL, "data directory %s: no space left to %s", dir->path,
			       what);
	case EACCES:
	case EPERM:
	case EROFS:
		return err_set(d, ERR_IO, "data directory %s is not writable: cannot %s: %s",
			       dir->path, what, strerrordesc_np(errno));
	case ENOTDIR:
		return err_set(d, ERR_INVALID, "data directory %s is not a directory", dir->path);
	case ENOMEM:
		return err_set(d, ERR_NOMEM, "data directory %s: no memory to %s", dir->path, what);
	default:
		return err_set(d, ERR_IO, "data directory %s: cannot %s: %s", dir->path, what,
			       strerrordesc_np(errno));
	}
}

static bool has(const struct store_dir *dir, const char *name)
{
	struct stat st;
	return fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static enum err sync_dir(const struct store_dir *dir, struct err_detail *d)
{
	return fsync(dir->fd) == 0 ? ERR_OK : fail(dir, "sync it", d);
}

/* Writes a whole file and syncs it, not its name. */
static enum err write_file(const struct store_dir *dir, const char *name, const char *text,
			   struct err_detail *d)
{
	int fd = openat(dir->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
	if (fd < 0) {
		return fail(dir, "write to it", d);
	}
	size_t n = strlen(text);
	errno = 0;
	ssize_t written = write(fd, text, n);
	enum err e = ERR_OK;
	if (written < 0 || (size_t)written != n || fsync(fd) != 0) {
		/* A short write without an error is a full disk. */
		errno = errno != 0 ? errno : ENOSPC;
		e = fail(dir, "write to it", d);
	}
	close(fd);
	return e;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static enum err remove_tree(const struct store_dir *dir, const char *path, struct err_detail *d)
{
	if (nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
		return fail(dir, "remove what an interrupted founding left", d);
	}
	return ERR_OK;
}

/* ---- opening ------------------------------------------------------------- */

/* Makes the directory when it is missing, its name durable. */
static enum err make(const struct store_dir *dir, struct err_detail *d)
{
	if (mkdir(dir->path, DIR_MODE) != 0 && errno != EEXIST) {
		return fail(dir, "make it", d);
	}
	/* Also when it is there: who made it may not have come this far. */
	char *parent = NULL;
	if (asprintf(&parent, "%s/..", dir->path) < 0) {
		return err_set(d, ERR_NOMEM, "data directory %s: no memory", dir->path);
	}
	int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(parent);
	if (fd >= 0) {
		/* A parent that may not be read is made durable by its owner. */
		(void)fsync(fd);
		close(fd);
	}
	return ERR_OK;
}

static enum err lock(struct store_dir *dir, struct err_detail *d)
{
	int fd = openat(dir->fd, name_lock, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
	if (fd < 0) {
		return fail(dir, "open its LOCK file", d);
	}
	char pid[PID_TEXT] = "";
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		bool is_held = errno == EWOULDBLOCK;
		enum err e = is_held ? ERR_IN_USE : fail(dir, "lock it", d);
		ssize_t n = is_held ? pread(fd, pid, sizeof pid - 1, 0) : 0;
		close(fd);
		long holder = n > 0 ? strtol(pid, NULL, 10) : 0;
		if (is_held && holder > 0) {
			return err_set(d, e, "data directory %s is in use by process %ld", dir->path,
				       holder);
		}
		return is_held ? err_set(d, e, "data directory %s is in use by another process",
					 dir->path)
			       : e;
	}
	dir->lock_fd = fd;
	int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n) {
		return fail(dir, "write its LOCK file", d);
	}
	return ERR_OK;
}

static enum err read_version(struct store_dir *dir, struct err_detail *d)
{
	int fd = openat(dir->fd, name_version, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return fail(dir, "read its VERSION file", d);
	}
	char text[STORE_VERSION_TEXT_MAX];
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	if (n < 0) {
		return fail(dir, "read its VERSION file", d);
	}
	enum err e = store_version_parse(span_of(text, (size_t)n), dir, d);
	if (e != ERR_OK) {
		err_wrap(d, "data directory %s, file VERSION", dir->path);
	}
	return e;
}

static enum err begin_founding(struct store_dir *dir, uint64_t node_id, uint32_t shards,
			       struct err_detail *d)
{
	dir->is_founding = true;
	if (has(dir, name_volume)) {
		if (!has(dir, name_version_new)) {
			return err_set(d, ERR_CORRUPT,
				       "data directory %s has a volume but no VERSION file",
				       dir->path);
		}
		enum err e = remove_tree(dir, dir->volume, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	dir->node_id = node_id != 0 ? node_id : 1;
	dir->shards = shards;
	crypto_uuid(dir->cluster_uuid);
	crypto_uuid(dir->store_uuid);
	char text[STORE_VERSION_TEXT_MAX];
	store_version_print(dir, text);
	enum err e = write_file(dir, name_version_new, text, d);
	if (e == ERR_OK) {
		e = sync_dir(dir, d);
	}
	if (e == ERR_OK && mkdirat(dir->fd, name_volume, DIR_MODE) != 0) {
		e = fail(dir, "make its volume", d);
	}
	return e == ERR_OK ? sync_dir(dir, d) : e;
}

/* What this program writes is in its own format from now on, which older
 * programs must refuse. What an interrupted one leaves must not be taken for a
 * founding, whose volume is removed. */
static enum err relabel(struct store_dir *dir, struct err_detail *d)
{
	char text[STORE_VERSION_TEXT_MAX];
	store_version_print(dir, text);
	enum err e = write_file(dir, name_version_next, text, d);
	if (e != ERR_OK) {
		return e;
	}
	if (renameat(dir->fd, name_version_next, dir->fd, name_version) != 0) {
		return fail(dir, "name its VERSION file", d);
	}
	log_info("STORE-UPGRADED", "dir=%s from=%u to=%d", log_quote(dir->path), dir->version,
		 STORE_DIR_VERSION);
	return sync_dir(dir, d);
}

/* Reads what VERSION says, and whether the last stop was orderly. */
static enum err open_founded(struct store_dir *dir, uint64_t node_id, struct err_detail *d)
{
	enum err e = read_version(dir, d);
	if (e != ERR_OK) {
		return e;
	}
	if (node_id != 0 && node_id != dir->node_id) {
		return err_set(d, ERR_INVALID, "data directory %s belongs to node %llu, not %llu",
			       dir->path, (unsigned long long)dir->node_id,
			       (unsigned long long)node_id);
	}
	dir->was_unclean = unlinkat(dir->fd, name_clean, 0) != 0;
	if (dir->was_unclean && errno != ENOENT) {
		return fail(dir, "remove its CLEAN file", d);
	}
	e = sync_dir(dir, d);
	return e == ERR_OK && dir->version < STORE_DIR_VERSION ? relabel(dir, d) : e;
}

enum err store_dir_open(const char *path, uint64_t node_id, uint32_t shards,
			struct store_dir *out, struct err_detail *d)
{
	*out = (struct store_dir){.fd = -1, .lock_fd = -1};
	struct str volume = {0};
	str_printf(&volume, "%s/%s", path, name_volume);
	out->path = mem_strdup(path);
	out->volume = volume.bad ? NULL : mem_strdup(volume.p);
	str_fini(&volume);
	enum err e;
	if (out->path == NULL || out->volume == NULL) {
		e = err_set(d, ERR_NOMEM, "data directory %s: no memory", path);
		goto fail;
	}
	e = make(out, d);
	if (e != ERR_OK) {
		goto fail;
	}
	out->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out->fd < 0) {
		e = fail(out, "open it", d);
		goto fail;
	}
	e = lock(out, d);
	if (e != ERR_OK) {
		goto fail;
	}
	e = has(out, name_version) ? open_founded(out, node_id, d)
				   : begin_founding(out, node_id, shards, d);
	if (e != ERR_OK) {
		goto fail;
	}
	return ERR_OK;
fail:
	store_dir_close(out);
	return e;
}

enum err store_dir_founded(struct store_dir *dir, struct err_detail *d)
{
	if (!dir->is_founding) {
		return ERR_OK;
	}
	if (renameat(dir->fd, name_version_new, dir->fd, name_version) != 0) {
		return fail(dir, "name its VERSION file", d);
	}
	enum err e = sync_dir(dir, d);
	dir->is_founding = e != ERR_OK;
	return e;
}

/* ---- closing ------------------------------------------------------------- */

enum err store_dir_mark_clean(struct store_dir *dir, struct err_detail *d)
{
	enum err e = write_file(dir, name_clean, "", d);
	return e == ERR_OK ? sync_dir(dir, d) : e;
}

enum err store_dir_move_state(struct store_dir *dir, struct err_detail *d)
{
	struct str from = {0};
	struct str to = {0};
	str_printf(&from, "%s/state", dir->volume);
	str_printf(&to, "%s/state.damaged", dir->volume);
	enum err e = from.bad || to.bad ? err_set(d, ERR_NOMEM, "no memory") : ERR_OK;
	if (e == ERR_OK) {
		e = remove_tree(dir, to.p, d);
	}
	if (e == ERR_OK && rename(from.p, to.p) != 0 && errno != ENOENT) {
		e = fail(dir, "put the damaged state aside", d);
	}
	str_fini(&from);
	str_fini(&to);
	return e;
}

void store_dir_close(struct store_dir *dir)
{
	if (dir->lock_fd >= 0) {
		close(dir->lock_fd);
	}
	if (dir->fd >= 0) {
		close(dir->fd);
	}
	mem_free(dir->path);
	mem_free(dir->volume);
	*dir = (struct store_dir){.fd = -1, .lock_fd = -1};
}
