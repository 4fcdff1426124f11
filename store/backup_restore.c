/* Data directories out of a backup. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "store/backup_copy.h"
#include "store/dir.h"
#include "store/dir_version.h"

static const char name_version[] = "VERSION";
static const char name_manifest[] = "volume/MANIFEST";
static const char name_manifest_copy[] = "volume/MANIFEST.copy";

struct restore {
	const struct backup_dir *from;
	struct store_dirs to;
	const struct backup_progress *progress;
};

static enum err copy_to(const struct restore *r, const struct backup_file *f, const char *path,
			struct err_detail *d)
{
	char name[BACKUP_NAME];
	backup_name(f, name);
	const struct store_dir *dir = &r->to.v[f->volume];
	const struct backup_copy c = {
		.from_fd = r->from->fd,
		.from_dir = r->from->path,
		.from = name,
		.to_fd = dir->fd,
		.to_dir = dir->path,
		.to = path,
		.size = f->size,
		.crc = f->crc,
	};
	enum err e = backup_copy_file(&c, r->progress, d);
	return e == ERR_NOT_FOUND ? err_set(d, ERR_CORRUPT, "%s lacks %s", r->from->path, name) : e;
}

/* The identity it was backed up with; VERSION itself is written last. */
static enum err read_identity(struct restore *r, const struct backup_file *f, struct err_detail *d)
{
	char name[BACKUP_NAME];
	char text[STORE_VERSION_TEXT_MAX];
	char uuid[CRYPTO_UUID_TEXT];
	struct store_dir *dir = &r->to.v[f->volume];
	backup_name(f, name);
	const struct backup_copy c = {.from_fd = r->from->fd,
				      .from_dir = r->from->path,
				      .from = name,
				      .to_fd = r->from->fd,
				      .to_dir = r->from->path,
				      .to = name,
				      .size = f->size,
				      .crc = f->crc};
	enum err e = backup_copy_check(&c, r->progress, d);
	if (e != ERR_OK) {
		return e;
	}
	int fd = openat(r->from->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
	if (fd >= 0) {
		close(fd);
	}
	e = n < 0 ? err_set(d, ERR_IO, "it cannot be read")
		  : store_version_parse(span_of(text, (size_t)n), dir, d);
	if (e == ERR_OK) {
		crypto_uuid_text(dir->store_uuid, uuid);
		if (dir->ordinal != f->volume || dir->volumes != r->to.n ||
		    strcmp(uuid, r->from->set.store_uuid) != 0) {
			e = err_set(d, ERR_CORRUPT, "it is of another store or volume");
		}
	}
	if (e != ERR_OK) {
		err_wrap(d, "%s: %s", r->from->path, name);
	}
	return e;
}

static enum err copy_all(struct restore *r, struct err_detail *d)
{
	enum err e = ERR_OK;
	for (size_t i = 0; i < r->from->set.n && e == ERR_OK; i++) {
		const struct backup_file *f = &r->from->set.v[i];
		if (strcmp(f->path, name_version) == 0) {
			e = read_identity(r, f, d);
			continue;
		}
		e = copy_to(r, f, f->path, d);
		if (e == ERR_OK && strcmp(f->path, name_manifest) == 0) {
			e = copy_to(r, f, name_manifest_copy, d);
		}
	}
	return e;
}

/* ---- directories ----------------------------------------------------------------- */

typedef bool parent_fn(int fd, const char *path);

static bool sync_parent(int fd, const char *path)
{
	int at = openat(fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	bool ok = at >= 0 && fsync(at) == 0;
	if (at >= 0) {
		close(at);
	}
	return ok;
}

static bool remove_parent(int fd, const char *path)
{
	(void)unlinkat(fd, path, AT_REMOVEDIR);
	return true;
}

/* Calls fn for each directory of every file, the deepest first. */
static bool each_parent(const struct restore *r, parent_fn *fn)
{
	char last[BACKUP_PATH] = "";
	bool ok = true;
	for (size_t i = 0; i < r->from->set.n; i++) {
		const struct backup_file *f = &r->from->set.v[i];
		char path[BACKUP_PATH];
		snprintf(path, sizeof path, "%s", f->path);
		char *slash = strrchr(path, '/');
		if (slash == NULL) {
			continue;
		}
		*slash = '\0';
		bool is_same = i > 0 && r->from->set.v[i - 1].volume == f->volume &&
			       strcmp(path, last) == 0;
		snprintf(last, sizeof last, "%s", path);
		for (; !is_same && slash != NULL; slash = strrchr(path, '/')) {
			*slash = '\0';
			ok = fn(r->to.v[f->volume].fd, path) && ok;
		}
	}
	return ok;
}

static bool sync_all(const struct restore *r)
{
	bool ok = each_parent(r, sync_parent);
	for (uint32_t i = 0; i < r->to.n; i++) {
		ok = fsync(r->to.v[i].fd) == 0 && ok;
	}
	return ok;
}

static void remove_made(const struct restore *r)
{
	for (size_t i = 0; i < r->from->set.n; i++) {
		const struct backup_file *f = &r->from->set.v[i];
		(void)unlinkat(r->to.v[f->volume].fd, f->path, 0);
	}
	for (uint32_t i = 0; i < r->to.n; i++) {
		(void)unlinkat(r->to.v[i].fd, name_manifest_copy, 0);
	}
	(void)each_parent(r, remove_parent);
	for (uint32_t i = 0; i < r->to.n; i++) {
		(void)unlinkat(r->to.v[i].fd, "volume", AT_REMOVEDIR);
	}
}

/* The first one's comes last: then it is a store. */
static enum err label_all(struct restore *r, struct err_detail *d)
{
	uint8_t cluster[16];
	crypto_uuid(cluster);
	enum err e = ERR_OK;
	for (uint32_t i = r->to.n; i > 0 && e == ERR_OK; i--) {
		memcpy(r->to.v[i - 1].cluster_uuid, cluster, sizeof cluster);
		e = store_dir_label(&r->to.v[i - 1], d);
	}
	return e;
}

enum err backup_dir_restore(struct backup_dir *b, const char *const *dirs, uint32_t n,
			    const struct backup_progress *p, struct err_detail *d)
{
	struct restore r = {.from = b, .progress = p};
	if (n != b->set.volumes) {
		return err_set(d, ERR_INVALID,
			       "%s is of a store with %u %s: it needs as many data directories, not %u",
			       b->path, b->set.volumes, b->set.volumes == 1 ? "volume" : "volumes", n);
	}
	enum err e = ERR_OK;
	for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
		e = store_dir_make_empty(dirs[i], &r.to.v[i], d);
		r.to.n += e == ERR_OK;
	}
	if (r.to.n < n) {
		for (uint32_t i = 0; i < r.to.n; i++) {
			(void)unlinkat(r.to.v[i].fd, "volume", AT_REMOVEDIR);
		}
		store_dirs_close(&r.to);
		return e;
	}
	e = copy_all(&r, d);
	if (e == ERR_OK && !sync_all(&r)) {
		e = err_set(d, ERR_IO, "%s: the data directory cannot be synced", dirs[0]);
	}
	if (e == ERR_OK) {
		e = label_all(&r, d);
	} else {
		remove_made(&r);
	}
	store_dirs_close(&r.to);
	return e;
}
