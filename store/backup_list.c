#include "store/backup_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/dir_priv.h"
#include "store/volume/export.h"
#include "store/volume/manifest.h"
#include "store/volume/volume.h"

static const char name_pinned[] = "pinned";
static const char name_exports[] = "volume/export";
static const char name_keys[] = "keys";
static const char name_tls[] = "tls";
static const char export_suffix[] = ".exp";

enum {
	PATH_MAX_HERE = 512,		/* below a data directory */
	SMALL_FILE_MAX = 1 << 20,	/* of those copied through memory */
	WALK_FDS = 8,
	COPY_BYTES = 256 << 10,
	EXPORT_TRIES = 5,		/* the newest may have gone when it is to be linked */
};

/* The one translation of errno in this file. */
static enum err fail(const char *path, const char *what, struct err_detail *d)
{
	enum err e = errno == ENOENT				? ERR_NOT_FOUND
		     : errno == ENOSPC || errno == EDQUOT	? ERR_FULL
		     : errno == ENOMEM				? ERR_NOMEM
								: ERR_IO;
	return err_set(d, e, "%s: cannot %s: %s", path, what, strerrordesc_np(errno));
}

/* ---- files ------------------------------------------------------------------------ */

enum err backup_file_crc(int dir_fd, const char *path, uint64_t *size, uint32_t *crc,
			 struct err_detail *d)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return fail(path, "open it", d);
	}
	uint8_t *bytes = mem_alloc(COPY_BYTES);
	if (bytes == NULL) {
		close(fd);
		return err_set(d, ERR_NOMEM, "%s: no memory to read it", path);
	}
	*size = 0;
	*crc = 0;
	ssize_t n;
	while ((n = read(fd, bytes, COPY_BYTES)) > 0) {
		*crc = crc32c(*crc, bytes, (size_t)n);
		*size += (uint64_t)n;
	}
	enum err e = n < 0 ? fail(path, "read it", d) : ERR_OK;
	mem_free(bytes);
	close(fd);
	return e;
}

enum err backup_file_write(int dir_fd, const char *path, struct span content, struct err_detail *d)
{
	int fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		return fail(path, "make it", d);
	}
	enum err e = ERR_OK;
	for (size_t at = 0; at < content.n && e == ERR_OK;) {
		ssize_t n = write(fd, content.p + at, content.n - at);
		if (n <= 0) {
			e = n == 0 ? ERR_FULL : fail(path, "write it", d);
		} else {
			at += (size_t)n;
		}
	}
	if (e == ERR_OK && fsync(fd) != 0) {
		e = fail(path, "sync it", d);
	}
	if (close(fd) != 0 && e == ERR_OK) {
		e = fail(path, "write it", d);
	}
	return e;
}

/* All of a small file. */
static enum err read_small(int dir_fd, const char *path, struct str *out, struct err_detail *d)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return fail(path, "open it", d);
	}
	char bytes[4096];
	ssize_t n;
	while ((n = read(fd, bytes, sizeof bytes)) > 0 && !out->bad) {
		str_addn(out, bytes, (size_t)n);
	}
	enum err e = n < 0 ? fail(path, "read it", d) : ERR_OK;
	close(fd);
	explicit_bzero(bytes, sizeof bytes);
	return e == ERR_OK && out->bad ? err_set(d, ERR_TOO_LARGE, "%s: larger than it should be", path)
				       : e;
}

static void add_line(struct str *out, const struct store_dir *dir, const char *path, uint64_t size,
		     uint32_t crc, const char *source)
{
	str_printf(out, "%u %s %" PRIu64 " %08" PRIx32 " %s\n", dir->ordinal, path, size, crc,
		   source);
}

/* ---- pinned/ ------------------------------------------------------------------------ */

static enum err make_pinned(const struct store_dir *dir, struct err_detail *d)
{
	if (mkdirat(dir->fd, name_pinned, STORE_DIR_MODE) != 0 && errno != EEXIST) {
		return fail(dir->path, "make a directory in it", d);
	}
	return ERR_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

void backup_list_clear(const struct store_dir *dir)
{
	struct str path = {0};
	str_printf(&path, "%s/%s", dir->path, name_pinned);
	if (!path.bad && nftw(path.p, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS) != 0 &&
	    errno != ENOENT) {
		log_warn("BACKUP-LEFT", "dir=%s error=%s", log_quote(path.p),
			 strerrordesc_np(errno));
	}
	str_fini(&path);
}

/* A file of ours in pinned/, listed as `path`. */
static enum err add_made(const struct store_dir *dir, const char *path, const char *name,
			 struct span content, struct str *out, struct err_detail *d)
{
	char source[PATH_MAX_HERE];
	snprintf(source, sizeof source, "%s/%s", name_pinned, name);
	enum err e = backup_file_write(dir->fd, source, content, d);
	if (e == ERR_OK) {
		add_line(out, dir, path, content.n, crc32c(0, content.p, content.n), source);
	} else {
		err_wrap(d, "data directory %s", dir->path);
	}
	return e;
}

/* ---- the first directory's own -------------------------------------------------------- */

/* The newest file in volume/export; 0: there is none. */
static enum err newest_export(const struct store_dir *dir, uint64_t *out, struct err_detail *d)
{
	*out = 0;
	int fd = openat(dir->fd, name_exports, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	if (list == NULL) {
		enum err e = fail(name_exports, "list it", d);
		if (fd >= 0) {
			close(fd);
		}
		return e;
	}
	for (struct dirent *at = readdir(list); at != NULL; at = readdir(list)) {
		char *end;
		uint64_t number = strtoull(at->d_name, &end, 10);
		if (end != at->d_name && strcmp(end, export_suffix) == 0 && number > *out) {
			*out = number;
		}
	}
	closedir(list);
	return ERR_OK;
}

/* Where the file system has no links, a copy. */
static enum err link_or_copy(const struct store_dir *dir, const char *from, const char *to,
			     struct err_detail *d)
{
	if (linkat(dir->fd, from, dir->fd, to, 0) == 0) {
		return ERR_OK;
	}
	if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK && errno != EXDEV) {
		return fail(from, "link it", d);
	}
	int in = openat(dir->fd, from, O_RDONLY | O_CLOEXEC);
	if (in < 0) {
		return fail(from, "open it", d);
	}
	int fd = openat(dir->fd, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, STORE_FILE_MODE);
	enum err e = fd < 0 ? fail(to, "make it", d) : ERR_OK;
	ssize_t n = 1;
	while (e == ERR_OK && n > 0) {
		char bytes[16 << 10];
		n = read(in, bytes, sizeof bytes);
		if (n < 0 || (n > 0 && write(fd, bytes, (size_t)n) != n)) {
			e = fail(to, "copy it", d);
		}
	}
	if (fd >= 0) {
		close(fd);
	}
	close(in);
	return e;
}

static enum err add_export(const struct store_dir *dir, struct str *out, struct err_detail *d)
{
	char from[PATH_MAX_HERE];
	char to[PATH_MAX_HERE];
	enum err e = ERR_NOT_FOUND;
	for (int i = 0; i < EXPORT_TRIES && e == ERR_NOT_FOUND; i++) {
		uint64_t number;
		e = newest_export(dir, &number, d);
		if (e == ERR_OK && number == 0) {
			return err_set(d, ERR_INTERNAL, "data directory %s holds no export", dir->path);
		}
		if (e == ERR_OK) {
			snprintf(from, sizeof from, "%s/%010" PRIu64 "%s", name_exports, number,
				 export_suffix);
			snprintf(to, sizeof to, "%s/%010" PRIu64 "%s", name_pinned, number,
				 export_suffix);
			e = link_or_copy(dir, from, to, d);
		}
	}
	struct str path = {0};
	str_printf(&path, "%s/%s", dir->path, to);
	uint64_t size = 0;
	uint32_t crc = 0;
	if (e == ERR_OK) {
		e = path.bad ? ERR_NOMEM
			     : export_check(path.p, dir->store_uuid, dir->shards, NULL, &size, &crc, d);
	}
	if (e == ERR_OK) {
		add_line(out, dir, from, size, crc, to);
	}
	str_fini(&path);
	return e;
}

/* A copy of one of the program's own files; nothing when it is not there. */
static enum err add_small(const struct store_dir *dir, const char *path, const char *name,
			  struct str *out, struct err_detail *d)
{
	struct str text = {.max = SMALL_FILE_MAX};
	enum err e = read_small(dir->fd, path, &text, d);
	if (e == ERR_OK) {
		e = add_made(dir, path, name, span_of(text.p, text.len), out, d);
	} else if (e == ERR_NOT_FOUND) {
		e = ERR_OK;
	}
	if (text.len > 0) {
		explicit_bzero(text.p, text.len);
	}
	str_fini(&text);
	return e;
}

static bool is_plain_name(const char *name)
{
	for (const char *c = name; *c != '\0'; c++) {
		bool is_letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
		if (!is_letter && !(*c >= '0' && *c <= '9') && strchr("-_.", *c) == NULL) {
			return false;
		}
	}
	return name[0] != '.' && name[0] != '\0';
}

/* The certificate that was made for development, and its authority's. */
static enum err add_tls(const struct store_dir *dir, struct str *out, struct err_detail *d)
{
	int fd = openat(dir->fd, name_tls, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return ERR_OK;
	}
	DIR *list = fdopendir(fd);
	if (list == NULL) {
		close(fd);
		return fail(name_tls, "list it", d);
	}
	enum err e = ERR_OK;
	for (struct dirent *at = readdir(list); at != NULL && e == ERR_OK; at = readdir(list)) {
		struct stat st;
		if (fstatat(fd, at->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    is_plain_name(at->d_name)) {
			char path[PATH_MAX_HERE];
			char name[PATH_MAX_HERE];
			snprintf(path, sizeof path, "%s/%.255s", name_tls, at->d_name);
			snprintf(name, sizeof name, "%s-%.255s", name_tls, at->d_name);
			e = add_small(dir, path, name, out, d);
		}
	}
	closedir(list);
	return e;
}

enum err backup_list_first(const struct store_dir *dir, struct str *out, struct err_detail *d)
{
	enum err e = make_pinned(dir, d);
	if (e == ERR_OK) {
		e = add_export(dir, out, d);
	}
	if (e == ERR_OK) {
		e = add_small(dir, name_keys, name_keys, out, d);
	}
	return e == ERR_OK ? add_tls(dir, out, d) : e;
}

/* ---- a volume ---------------------------------------------------------------------------- */

struct numbers {
	uint64_t *v;
	size_t n;
	size_t cap;
};

struct listing {
	const struct store_dir *dir;
	struct str *out;
	uint64_t end;		/* of the log */
	struct numbers log;
	struct numbers cleaned;
};

static bool add_number(struct numbers *all, const char *text)
{
	if (!mem_grow((void **)&all->v, &all->cap, all->n + 1, sizeof *all->v)) {
		return false;
	}
	all->v[all->n++] = strtoull(text, NULL, 10);
	return true;
}

/* A segment's files; the MANIFEST is written anew. */
static enum err on_file(void *arg, const char *path, uint64_t size, uint32_t crc)
{
	static const char segments[] = "segments/";
	static const char suffix[] = ".mdb";
	struct listing *l = arg;
	size_t n = strlen(path);
	if (strncmp(path, segments, sizeof segments - 1) != 0) {
		return ERR_OK;
	}
	const char *name = path + sizeof segments - 1;
	if (name[0] != 'c' && strtoull(name, NULL, 10) >= l->end) {
		return ERR_OK;	/* sealed since then */
	}
	if (n > sizeof suffix && strcmp(path + n - (sizeof suffix - 1), suffix) == 0 &&
	    !(name[0] == 'c' ? add_number(&l->cleaned, name + 1) : add_number(&l->log, name))) {
		return ERR_NOMEM;
	}
	char full[PATH_MAX_HERE];
	snprintf(full, sizeof full, "%s/%s", store_dir_volume, path);
	add_line(l->out, l->dir, full, size, crc, full);
	return l->out->bad ? ERR_NOMEM : ERR_OK;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static enum err fill(struct manifest_ranges *ranges, const struct numbers *from)
{
	if (from->n > 0) {
		qsort(from->v, from->n, sizeof *from->v, compare_numbers);
	}
	enum err e = ERR_OK;
	for (size_t i = 0; i < from->n && e == ERR_OK; i++) {
		e = manifest_add(ranges, from->v[i]);
	}
	return e;
}

/* What is listed is all there is. */
static enum err add_manifest(struct listing *l, struct err_detail *d)
{
	struct manifest now = {.generation = 0};
	bool is_whole;
	enum err e = manifest_read(l->dir->volume, &now, &is_whole, d);
	if (e != ERR_OK) {
		return e;
	}
	struct manifest m = {.generation = now.generation + 1,
			     .next_cleaned = now.next_cleaned,
			     .is_complete = true};
	memcpy(m.store_uuid, now.store_uuid, sizeof m.store_uuid);
	uint64_t base = now.base;
	manifest_fini(&now);
	e = fill(&m.log, &l->log);
	if (e == ERR_OK) {
		e = fill(&m.cleaned, &l->cleaned);
	}
	m.base = l->log.n > 0 ? l->log.v[l->log.n - 1] + 1 : base;
	if (l->cleaned.n > 0 && m.next_cleaned <= l->cleaned.v[l->cleaned.n - 1]) {
		m.next_cleaned = l->cleaned.v[l->cleaned.n - 1] + 1;
	}
	struct str text = {0};
	if (e == ERR_OK) {
		e = manifest_print(&m, &text);
	}
	if (e == ERR_OK) {
		e = add_made(l->dir, "volume/MANIFEST", "MANIFEST", span_of(text.p, text.len), l->out,
			     d);
	}
	str_fini(&text);
	manifest_fini(&m);
	return e;
}

enum err backup_list_volume(const struct store_dir *dir, struct volume *v, uint64_t end,
			    struct str *out, struct err_detail *d)
{
	struct listing l = {.dir = dir, .out = out, .end = end};
	uint64_t size;
	uint32_t crc;
	enum err e = make_pinned(dir, d);
	if (e == ERR_OK) {
		e = backup_file_crc(dir->fd, store_dir_version, &size, &crc, d);
	}
	if (e == ERR_OK) {
		add_line(out, dir, store_dir_version, size, crc, store_dir_version);
		e = volume_files(v, on_file, &l, d);
	}
	if (e == ERR_OK) {
		e = add_manifest(&l, d);
	}
	mem_free(l.log.v);
	mem_free(l.cleaned.v);
	return e;
}
