/* The directory that holds a backup: opening, filling, cleaning up. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/backup_copy.h"
#include "store/backup_list.h"

static const char name_backup[] = "BACKUP";
static const char name_backup_new[] = "BACKUP.new";
static const char name_unfinished[] = "UNFINISHED";
static const char name_lock[] = "LOCK";

enum { MODE_DIR = 0700, MODE_FILE = 0600, WALK_DEPTH = 8 };

/* The one translation of errno in this file. */
static enum err fail(const char *path, const char *what, struct err_detail *d)
{
	enum err e = errno == ENOENT			   ? ERR_NOT_FOUND
		     : errno == ENOSPC || errno == EDQUOT ? ERR_FULL
		     : errno == EACCES || errno == EPERM  ? ERR_FORBIDDEN
		     : errno == ENOTDIR			   ? ERR_INVALID
		     : errno == ENOMEM			   ? ERR_NOMEM
							   : ERR_IO;
	return err_set(d, e, "%s: cannot %s: %s", path, what, strerrordesc_np(errno));
}

static bool has(const struct backup_dir *b, const char *name)
{
	struct stat st;
	return fstatat(b->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- opening ------------------------------------------------------------------------ */

static enum err check_empty(const struct backup_dir *b, struct err_detail *d)
{
	int fd = openat(b->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	if (list == NULL) {
		enum err e = fail(b->path, "list it", d);
		if (fd >= 0) {
			close(fd);
		}
		return e;
	}
	enum err e = ERR_OK;
	for (struct dirent *at = readdir(list); at != NULL && e == ERR_OK; at = readdir(list)) {
		const char *name = at->d_name;
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
		    strcmp(name, name_lock) != 0 && strcmp(name, "lost+found") != 0) {
			e = err_set(d, ERR_EXISTS, "%s is not empty and holds no backup", b->path);
		}
	}
	closedir(list);
	return e;
}

static enum err lock(struct backup_dir *b, struct err_detail *d)
{
	b->lock_fd = openat(b->fd, name_lock, O_RDWR | O_CREAT | O_CLOEXEC, MODE_FILE);
	if (b->lock_fd < 0 && (errno == EROFS || errno == EACCES)) {
		/* Restored from where nothing may be written: nobody else does. */
		b->lock_fd = openat(b->fd, name_lock, O_RDONLY | O_CLOEXEC);
		if (b->lock_fd < 0) {
			return ERR_OK;
		}
	}
	if (b->lock_fd < 0) {
		return fail(b->path, "make its LOCK", d);
	}
	if (flock(b->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		return errno == EWOULDBLOCK
			       ? err_set(d, ERR_IN_USE, "%s: another backup or restore is using it",
					 b->path)
			       : fail(b->path, "lock it", d);
	}
	return ERR_OK;
}

static enum err read_set(struct backup_dir *b, struct err_detail *d)
{
	struct str text = {.max = BACKUP_TEXT_MAX};
	int fd = openat(b->fd, name_backup, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return fail(b->path, "read its BACKUP", d);
	}
	char bytes[16 << 10];
	ssize_t n;
	while ((n = read(fd, bytes, sizeof bytes)) > 0 && !text.bad) {
		str_addn(&text, bytes, (size_t)n);
	}
	enum err e = n < 0 ? fail(b->path, "read its BACKUP", d) : ERR_OK;
	close(fd);
	if (e == ERR_OK && text.bad) {
		e = err_set(d, ERR_NOMEM, "%s: no memory to read its BACKUP", b->path);
	}
	if (e == ERR_OK) {
		e = backup_set_parse(span_of(text.p, text.len), &b->set, d);
		b->has_set = e == ERR_OK;
		if (e != ERR_OK) {
			err_wrap(d, "%s: BACKUP is damaged", b->path);
		}
	}
	str_fini(&text);
	return e;
}

/* Its own name is to outlive a power cut too, whoever made it. A parent that this user
 * may not read is somebody else's to keep. */
static enum err sync_parent(const struct backup_dir *b, struct err_detail *d)
{
	int up = openat(b->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (up < 0) {
		return errno == EACCES ? ERR_OK : fail(b->path, "open the directory above", d);
	}
	enum err e = fsync(up) == 0 ? ERR_OK : fail(b->path, "sync the directory above", d);
	close(up);
	return e;
}

enum err backup_dir_open(const char *path, bool may_make, struct backup_dir *out,
			 struct err_detail *d)
{
	*out = (struct backup_dir){.fd = -1, .lock_fd = -1};
	out->path = mem_strdup(path);
	enum err e = out->path == NULL ? err_set(d, ERR_NOMEM, "%s: no memory", path) : ERR_OK;
	if (e == ERR_OK && may_make && mkdir(path, MODE_DIR) != 0 && errno != EEXIST) {
		e = fail(path, "make it", d);
	}
	if (e == ERR_OK) {
		out->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		e = out->fd < 0 ? fail(path, "open it", d) : ERR_OK;
	}
	if (e == ERR_OK && may_make) {
		e = sync_parent(out, d);
	}
	bool is_there = e == ERR_OK && has(out, name_backup);
	if (e == ERR_OK && !is_there && !may_make) {
		e = err_set(d, ERR_NOT_FOUND, "%s holds no backup%s", path,
			    has(out, name_unfinished) ? ": one was begun and not finished" : "");
	}
	if (e == ERR_OK && !is_there && !has(out, name_unfinished)) {
		e = check_empty(out, d);
	}
	if (e == ERR_OK) {
		e = lock(out, d);
	}
	if (e == ERR_OK && is_there) {
		e = read_set(out, d);
	}
	if (e != ERR_OK) {
		backup_dir_close(out);
	}
	return e;
}

void backup_dir_close(struct backup_dir *b)
{
	backup_set_fini(&b->set);
	if (b->lock_fd >= 0) {
		close(b->lock_fd);
	}
	if (b->fd >= 0) {
		close(b->fd);
	}
	mem_free(b->path);
	*b = (struct backup_dir){.fd = -1, .lock_fd = -1};
}

/* ---- filling -------------------------------------------------------------------------- */

/* In the backup that it holds, and still there with that size. */
static bool is_held(const struct backup_dir *b, const struct backup_file *f)
{
	char name[BACKUP_NAME];
	struct stat st;
	backup_name(f, name);
	return b->has_set && backup_set_find(&b->set, f) != NULL &&
	       fstatat(b->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == f->size;
}

uint64_t backup_dir_missing(const struct backup_dir *b, const struct backup_set *set)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < set->n; i++) {
		bytes += is_held(b, &set->v[i]) ? 0 : set->v[i].size;
	}
	return bytes;
}

static enum err copy_one(const struct backup_dir *b, const struct backup_file *f, int from_fd,
			 const char *from_dir, const struct backup_progress *p, struct err_detail *d)
{
	char name[BACKUP_NAME];
	backup_name(f, name);
	const struct backup_copy c = {
		.from_fd = from_fd,
		.from_dir = from_dir,
		.from = f->source != NULL ? f->source : f->path,
		.to_fd = b->fd,
		.to_dir = b->path,
		.to = name,
		.size = f->size,
		.crc = f->crc,
	};
	if (is_held(b, f)) {
		return ERR_OK;
	}
	/* An unfinished backup may have come so far. */
	enum err e = backup_copy_check(&c, p, d);
	if (e == ERR_CORRUPT) {
		d->text[0] = '\0';
		e = backup_copy_file(&c, p, d);
	}
	return e;
}

static enum err copy_all(const struct backup_dir *b, const struct backup_set *set,
			 const char *const *dirs, const struct backup_progress *p,
			 struct err_detail *d)
{
	enum err e = ERR_OK;
	int fd = -1;
	for (size_t i = 0; i < set->n && e == ERR_OK; i++) {
		const struct backup_file *f = &set->v[i];
		if (i == 0 || f->volume != set->v[i - 1].volume) {
			if (fd >= 0) {
				close(fd);
			}
			fd = open(dirs[f->volume], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (fd < 0) {
				e = fail(dirs[f->volume], "open it (is the server on this machine, and "
							  "this user allowed to read it?)", d);
			}
		}
		if (e == ERR_OK) {
			e = copy_one(b, f, fd, dirs[f->volume], p, d);
		}
	}
	if (fd >= 0) {
		close(fd);
	}
	return e;
}

/* Measures one; *is_gone: it cannot be read. */
static enum err measure(struct backup_file *f, int from_fd, const char *from_dir,
			const struct backup_progress *p, bool *is_damaged, bool *is_gone,
			struct err_detail *d)
{
	struct backup_copy c = {.from_fd = from_fd, .from_dir = from_dir, .from = f->source};
	enum err e = backup_copy_measure(&c, p, d);
	*is_gone = e == ERR_NOT_FOUND || e == ERR_IO;
	*is_damaged = *is_gone || (e == ERR_OK && (c.size != f->size || c.crc != f->crc));
	if (e != ERR_OK && !*is_gone) {
		return e;
	}
	if (*is_damaged && strncmp(f->path, "volume/segments/", 16) != 0) {
		return err_set(d, ERR_CORRUPT, "%s: %s is damaged, and no segment", from_dir, f->source);
	}
	d->text[0] = '\0';
	f->size = c.size;
	f->crc = c.crc;
	return ERR_OK;
}

enum err backup_dir_accept_damage(const struct backup_dir *b, struct backup_set *set,
				  const char *const *dirs, const struct backup_progress *p,
				  backup_damage_fn *tell, void *arg, struct err_detail *d)
{
	enum err e = ERR_OK;
	size_t kept = 0;
	for (size_t i = 0; i < set->n; i++) {
		struct backup_file *f = &set->v[i];
		bool is_damaged = false;
		bool is_gone = false;
		if (e == ERR_OK && !is_held(b, f)) {
			const char *dir = dirs[f->volume];
			int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			e = fd < 0 ? fail(dir, "open it", d)
				   : measure(f, fd, dir, p, &is_damaged, &is_gone, d);
			if (fd >= 0) {
				close(fd);
			}
		}
		if (e == ERR_OK && is_damaged) {
			tell(arg, dirs[f->volume], f->path);
		}
		if (is_gone && e == ERR_OK) {
			mem_free(f->path);
			mem_free(f->source);
		} else {
			set->v[kept++] = *f;
		}
	}
	set->n = kept;
	return e;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What walk and sync_tree know of the tree they go through. */
struct tree {
	const struct backup_dir *b;
	char **keep;		/* sorted; NULL: only directories are synced */
	size_t n_keep;
	struct err_detail *d;
};

/* Below `path`: removes files that are not kept and directories that become empty, or
 * syncs every directory. */
static enum err walk(const struct tree *t, const char *path, int depth)
{
	int fd = openat(t->b->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	if (list == NULL || depth == 0) {
		enum err e = depth == 0 ? ERR_OK : fail(path, "list it", t->d);
		if (list != NULL) {
			closedir(list);
		} else if (fd >= 0) {
			close(fd);
		}
		return e;
	}
	enum err e = ERR_OK;
	for (struct dirent *at = readdir(list); at != NULL && e == ERR_OK; at = readdir(list)) {
		char below[BACKUP_NAME * 2];
		struct stat st;
		if (strcmp(at->d_name, ".") == 0 || strcmp(at->d_name, "..") == 0 ||
		    fstatat(fd, at->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
			continue;
		}
		int n = snprintf(below, sizeof below, "%s/%s", path, at->d_name);
		char *key = below;
		if (n < 0 || (size_t)n >= sizeof below) {
			continue;
		}
		if (S_ISDIR(st.st_mode)) {
			e = walk(t, below, depth - 1);
			if (t->keep != NULL) {
				(void)unlinkat(fd, at->d_name, AT_REMOVEDIR);
			}
		} else if (t->keep != NULL &&
			   bsearch(&key, t->keep, t->n_keep, sizeof *t->keep, compare_names) == NULL) {
			if (unlinkat(fd, at->d_name, 0) != 0) {
				e = fail(below, "remove it", t->d);
			}
		}
	}
	if (e == ERR_OK && t->keep == NULL && fsync(fd) != 0) {
		e = fail(path, "sync it", t->d);
	}
	closedir(list);
	return e;
}

static enum err walk_volumes(const struct tree *t)
{
	enum err e = ERR_OK;
	for (unsigned i = 0; i < LIMIT_VOLUMES && e == ERR_OK; i++) {
		char path[16];
		snprintf(path, sizeof path, "%u", i);
		if (has(t->b, path)) {
			e = walk(t, path, WALK_DEPTH);
			if (t->keep != NULL) {
				(void)unlinkat(t->b->fd, path, AT_REMOVEDIR);
			}
		}
	}
	return e;
}

/* Removes what `set` does not name. */
static enum err remove_others(const struct backup_dir *b, const struct backup_set *set,
			      struct err_detail *d)
{
	struct tree t = {.b = b, .d = d};
	t.keep = mem_calloc(set->n > 0 ? set->n : 1, sizeof *t.keep);
	enum err e = t.keep == NULL ? err_set(d, ERR_NOMEM, "no memory for the list of files") : ERR_OK;
	for (size_t i = 0; i < set->n && e == ERR_OK; i++) {
		char name[BACKUP_NAME];
		backup_name(&set->v[i], name);
		t.keep[i] = mem_strdup(name);
		if (t.keep[i] == NULL) {
			e = err_set(d, ERR_NOMEM, "no memory for the list of files");
		}
		t.n_keep += t.keep[i] != NULL;
	}
	if (e == ERR_OK) {
		qsort(t.keep, t.n_keep, sizeof *t.keep, compare_names);
		e = walk_volumes(&t);
	}
	for (size_t i = 0; i < t.n_keep; i++) {
		mem_free(t.keep[i]);
	}
	mem_free(t.keep);
	return e;
}

/* From here on this is the backup. */
static enum err write_set(const struct backup_dir *b, const struct backup_set *set,
			  struct err_detail *d)
{
	struct tree t = {.b = b, .d = d};
	struct str text = {.max = BACKUP_TEXT_MAX};
	backup_set_print(set, &text);
	enum err e = text.bad ? err_set(d, ERR_NOMEM, "no memory for the list of files")
			      : walk_volumes(&t);
	if (e == ERR_OK) {
		e = backup_file_write(b->fd, name_backup_new, span_of(text.p, text.len), d);
	}
	/* What it names is durable before it is. */
	if (e == ERR_OK && (fsync(b->fd) != 0 ||
			    renameat(b->fd, name_backup_new, b->fd, name_backup) != 0 ||
			    fsync(b->fd) != 0)) {
		e = fail(b->path, "name its BACKUP", d);
	}
	str_fini(&text);
	return e;
}

enum err backup_dir_fill(struct backup_dir *b, const struct backup_set *set,
			 const char *const *dirs, const struct backup_progress *p,
			 struct err_detail *d)
{
	if (b->has_set && strcmp(b->set.store_uuid, set->store_uuid) != 0) {
		return err_set(d, ERR_INVALID, "%s holds a backup of another store (%s, not %s)", b->path,
			       b->set.store_uuid, set->store_uuid);
	}
	enum err e = backup_file_write(b->fd, name_unfinished, span_of(NULL, 0), d);
	if (e == ERR_OK && fsync(b->fd) != 0) {
		e = fail(b->path, "sync it", d);
	}
	if (e == ERR_OK) {
		e = copy_all(b, set, dirs, p, d);
	}
	if (e == ERR_OK) {
		e = write_set(b, set, d);
	}
	if (e == ERR_OK) {
		e = remove_others(b, set, d);
	}
	if (e == ERR_OK && unlinkat(b->fd, name_unfinished, 0) != 0) {
		e = fail(b->path, "remove a file of it", d);
	}
	return e;
}
