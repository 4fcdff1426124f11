/* One data directory; dirs.c has those of a store together. */

#include "store/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/dir_priv.h"
#include "store/dir_version.h"

const char store_dir_version[] = "VERSION";
const char store_dir_version_new[] = "VERSION.new";
const char store_dir_clean[] = "CLEAN";
const char store_dir_volume[] = "volume";
static const char name_lock[] = "LOCK";
static const char name_next[] = "VERSION.next";	/* a label under way in one that is founded */
static const char name_lost[] = "lost+found";	/* a fresh file system has it */

enum {
	PID_TEXT = 24,
	WALK_FDS = 8,	/* directories nftw keeps open */
};

/* What a disk says that does not work any more. */
static bool is_disk_error(int error)
{
	return error == EIO || error == EROFS || error == EUCLEAN || error == EBADMSG;
}

/* The one translation of errno in this file. */
static enum err fail(struct store_dir *dir, const char *what, struct err_detail *d)
{
	dir->is_failing = dir->is_failing || is_disk_error(errno);
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

bool store_dir_has(const struct store_dir *dir, const char *name)
{
	struct stat st;
	return fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static enum err sync_dir(struct store_dir *dir, struct err_detail *d)
{
	return fsync(dir->fd) == 0 ? ERR_OK : fail(dir, "sync it", d);
}

/* Writes a whole file and syncs it, not its name. */
static enum err write_file(struct store_dir *dir, const char *name, const char *text,
			   struct err_detail *d)
{
	int fd = openat(dir->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, STORE_FILE_MODE);
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

static enum err remove_tree(struct store_dir *dir, const char *path, struct err_detail *d)
{
	if (nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
		return fail(dir, "remove what an interrupted founding left", d);
	}
	return ERR_OK;
}

/* ---- opening ------------------------------------------------------------- */

enum err store_dir_init(struct store_dir *dir, const char *path, struct err_detail *d)
{
	*dir = (struct store_dir){.fd = -1, .lock_fd = -1};
	struct str volume = {0};
	str_printf(&volume, "%s/%s", path, store_dir_volume);
	dir->path = mem_strdup(path);
	dir->volume = volume.bad ? NULL : mem_strdup(volume.p);
	str_fini(&volume);
	return dir->path == NULL || dir->volume == NULL
		       ? err_set(d, ERR_NOMEM, "data directory %s: no memory", path)
		       : ERR_OK;
}

enum err store_dir_make(struct store_dir *dir, struct err_detail *d)
{
	if (mkdir(dir->path, STORE_DIR_MODE) != 0 && errno != EEXIST) {
		return fail(dir, "make it", d);
	}
	/* Also when it is there: who made it may not have come this far. */
	char *parent = NULL;
	if (asprintf(&parent, "%s/..", dir->path) < 0) {
		return err_set(d, ERR_NOMEM, "data directory %s: no memory", dir->path);
	}
	int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(parent);
	if (fd < 0) {
		/* A parent that may not be read is made durable by its owner. */
		return errno == EACCES ? ERR_OK : fail(dir, "open the directory above", d);
	}
	enum err e = fsync(fd) == 0 ? ERR_OK : fail(dir, "sync the directory above", d);
	close(fd);
	return e;
}

enum err store_dir_enter(struct store_dir *dir, struct err_detail *d)
{
	dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd >= 0) {
		return ERR_OK;
	}
	return errno == ENOENT ? err_set(d, ERR_NOT_FOUND, "data directory %s is not there",
					 dir->path)
			       : fail(dir, "open it", d);
}

/* A process that is killed while a child of it walks a file leaves that child the
 * lock until it has ended too: a moment. */
static bool take_lock(int fd)
{
	enum { TRIES = 15, PAUSE_US = 20000 };
	for (int i = 0; i < TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			return true;
		}
		if (errno != EWOULDBLOCK) {
			return false;
		}
		usleep(PAUSE_US);
	}
	errno = EWOULDBLOCK;
	return false;
}

enum err store_dir_lock(struct store_dir *dir, struct err_detail *d)
{
	int fd = openat(dir->fd, name_lock, O_RDWR | O_CREAT | O_CLOEXEC, STORE_FILE_MODE);
	/* Looked at on a disk that is mounted read-only: the lock does without the pid. */
	bool is_read_only = fd < 0 && errno == EROFS;
	if (is_read_only) {
		fd = openat(dir->fd, name_lock, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0) {
		return fail(dir, "open its LOCK file", d);
	}
	char pid[PID_TEXT] = "";
	if (!take_lock(fd)) {
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
	if (is_read_only) {
		return ERR_OK;
	}
	int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n) {
		return fail(dir, "write its LOCK file", d);
	}
	return ERR_OK;
}

enum err store_dir_is_empty(struct store_dir *dir, bool *is_empty, struct err_detail *d)
{
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	if (list == NULL) {
		enum err e = fail(dir, "list it", d);
		if (fd >= 0) {
			close(fd);
		}
		return e;
	}
	*is_empty = true;
	errno = 0;
	for (struct dirent *at = readdir(list); at != NULL; at = readdir(list)) {
		const char *name = at->d_name;
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
		    strcmp(name, name_lock) != 0 && strcmp(name, name_lost) != 0) {
			*is_empty = false;
		}
	}
	enum err e = errno != 0 ? fail(dir, "list it", d) : ERR_OK;
	closedir(list);
	return e;
}

/* Reads at most `max` bytes. ERR_NOT_FOUND: there is no such file. */
static enum err read_file(struct store_dir *dir, const char *name, char *text, size_t max,
			  size_t *n, struct err_detail *d)
{
	int fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return errno == ENOENT ? err_set(d, ERR_NOT_FOUND, "data directory %s has no %s",
						 dir->path, name)
				       : fail(dir, "read its labels", d);
	}
	ssize_t got = read(fd, text, max);
	enum err e = got < 0 ? fail(dir, "read its labels", d) : ERR_OK;
	close(fd);
	*n = got < 0 ? 0 : (size_t)got;
	return e;
}

enum err store_dir_read_label(struct store_dir *dir, const char *name, struct err_detail *d)
{
	char text[STORE_VERSION_TEXT_MAX];
	size_t n;
	enum err e = read_file(dir, name, text, sizeof text, &n, d);
	if (e != ERR_OK) {
		return e;
	}
	e = store_version_parse(span_of(text, n), dir, d);
	if (e != ERR_OK) {
		err_wrap(d, "data directory %s, file %s", dir->path, name);
	}
	return e;
}

/* ---- founding and labels -------------------------------------------------- */

enum err store_dir_begin(struct store_dir *dir, struct err_detail *d)
{
	dir->is_founding = true;
	if (store_dir_has(dir, store_dir_volume)) {
		if (!store_dir_has(dir, store_dir_version_new)) {
			return err_set(d, ERR_CORRUPT,
				       "data directory %s has a volume but no VERSION file",
				       dir->path);
		}
		enum err e = remove_tree(dir, dir->volume, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	char text[STORE_VERSION_TEXT_MAX];
	store_version_print(dir, text);
	enum err e = write_file(dir, store_dir_version_new, text, d);
	if (e == ERR_OK) {
		e = sync_dir(dir, d);
	}
	if (e == ERR_OK && mkdirat(dir->fd, store_dir_volume, STORE_DIR_MODE) != 0) {
		e = fail(dir, "make its volume", d);
	}
	return e == ERR_OK ? sync_dir(dir, d) : e;
}

enum err store_dir_end(struct store_dir *dir, struct err_detail *d)
{
	if (renameat(dir->fd, store_dir_version_new, dir->fd, store_dir_version) != 0) {
		return fail(dir, "name its VERSION file", d);
	}
	return sync_dir(dir, d);
}

/* What an interrupted one leaves must not be taken for a founding, whose volume is
 * removed. */
enum err store_dir_label(struct store_dir *dir, struct err_detail *d)
{
	char text[STORE_VERSION_TEXT_MAX];
	store_version_print(dir, text);
	enum err e = write_file(dir, name_next, text, d);
	if (e != ERR_OK) {
		return e;
	}
	if (renameat(dir->fd, name_next, dir->fd, store_dir_version) != 0) {
		return fail(dir, "name its VERSION file", d);
	}
	return sync_dir(dir, d);
}

enum err store_dir_make_empty(const char *path, struct store_dir *out, struct err_detail *d)
{
	bool is_empty = false;
	enum err e = store_dir_init(out, path, d);
	if (e == ERR_OK) {
		e = store_dir_make(out, d);
	}
	if (e == ERR_OK) {
		e = store_dir_enter(out, d);
	}
	if (e == ERR_OK) {
		e = store_dir_is_empty(out, &is_empty, d);
	}
	if (e == ERR_OK && !is_empty) {
		e = err_set(d, ERR_EXISTS, "data directory %s is not empty", path);
	}
	if (e == ERR_OK) {
		e = store_dir_lock(out, d);
	}
	if (e == ERR_OK && mkdirat(out->fd, store_dir_volume, STORE_DIR_MODE) != 0) {
		e = fail(out, "make its volume", d);
	}
	if (e != ERR_OK) {
		store_dir_close(out);
	}
	return e;
}

/* ---- stopping -------------------------------------------------------------- */

enum err store_dir_read_clean(struct store_dir *dir, char text[STORE_CLEAN_MAX], size_t *n,
			      struct err_detail *d)
{
	*n = 0;
	enum err e = read_file(dir, store_dir_clean, text, STORE_CLEAN_MAX, n, d);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err store_dir_remove_clean(struct store_dir *dir, struct err_detail *d)
{
	if (unlinkat(dir->fd, store_dir_clean, 0) != 0 && errno != ENOENT) {
		return fail(dir, "remove its CLEAN file", d);
	}
	return sync_dir(dir, d);
}

enum err store_dir_write_clean(struct store_dir *dir, const char *text, struct err_detail *d)
{
	enum err e = write_file(dir, store_dir_clean, text, d);
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
	int fd = e == ERR_OK ? open(dir->volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (e == ERR_OK && (fd < 0 || fsync(fd) != 0)) {
		e = fail(dir, "sync its volume", d);
	}
	if (fd >= 0) {
		close(fd);
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
