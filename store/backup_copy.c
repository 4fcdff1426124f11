#include "store/backup_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"

enum { COPY_BYTES = 1 << 20, MODE_DIR = 0700, MODE_FILE = 0600 };

/* The one translation of errno in this file. */
static enum err fail(const char *dir, const char *path, const char *what, struct err_detail *d)
{
	switch (errno) {
	case ENOSPC:
	case EDQUOT:
		return err_set(d, ERR_FULL, "%s: no space left for %s", dir, path);
	case EACCES:
	case EPERM:
		return err_set(d, ERR_FORBIDDEN,
			       "%s: %s is not this user's to %s: run the command as the user of the server",
			       dir, path, what);
	case ENOENT:
		return err_set(d, ERR_NOT_FOUND, "%s: there is no %s", dir, path);
	case ENOMEM:
		return err_set(d, ERR_NOMEM, "%s: no memory to %s %s", dir, what, path);
	default:
		return err_set(d, ERR_IO, "%s: cannot %s %s: %s", dir, what, path,
			       strerrordesc_np(errno));
	}
}

static enum err step(const struct backup_progress *p, uint64_t bytes, struct err_detail *d)
{
	return p->step != NULL ? p->step(p->arg, bytes, d) : ERR_OK;
}

static enum err make_parents(const struct backup_copy *c, struct err_detail *d)
{
	char path[BACKUP_NAME];
	snprintf(path, sizeof path, "%s", c->to);
	for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(c->to_fd, path, MODE_DIR) != 0 && errno != EEXIST) {
			return fail(c->to_dir, path, "make", d);
		}
		*slash = '/';
	}
	return ERR_OK;
}

static enum err write_all(const struct backup_copy *c, int fd, const uint8_t *p, size_t n,
			  struct err_detail *d)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);
		if (done <= 0) {
			errno = done == 0 ? ENOSPC : errno;
			return fail(c->to_dir, c->to, "write", d);
		}
		p += done;
		n -= (size_t)done;
	}
	return ERR_OK;
}

/* Reads all of `in` and writes it to `out` unless that is -1. */
static enum err scan(const struct backup_copy *c, int in, int out, const struct backup_progress *p,
		     uint64_t *size, uint32_t *crc, struct err_detail *d)
{
	uint8_t *bytes = mem_alloc(COPY_BYTES);
	if (bytes == NULL) {
		return err_set(d, ERR_NOMEM, "no memory to copy %s", c->from);
	}
	(void)posix_fadvise(in, 0, 0, POSIX_FADV_SEQUENTIAL);
	enum err e = ERR_OK;
	*size = 0;
	*crc = 0;
	ssize_t n = 1;
	while (e == ERR_OK && n > 0) {
		n = read(in, bytes, COPY_BYTES);
		if (n < 0) {
			e = fail(c->from_dir, c->from, "read", d);
		} else if (n > 0) {
			*crc = crc32c(*crc, bytes, (size_t)n);
			*size += (uint64_t)n;
			e = out >= 0 ? write_all(c, out, bytes, (size_t)n, d) : ERR_OK;
			e = e == ERR_OK ? step(p, (uint64_t)n, d) : e;
		}
	}
	mem_free(bytes);
	return e;
}

/* The same, and compares. */
static enum err pump(const struct backup_copy *c, int in, int out, const struct backup_progress *p,
		     struct err_detail *d)
{
	uint64_t size;
	uint32_t crc;
	enum err e = scan(c, in, out, p, &size, &crc, d);
	if (e == ERR_OK && (size != c->size || crc != c->crc)) {
		e = err_set(d, ERR_CORRUPT,
			    "%s: %s is damaged: it has %" PRIu64 " bytes with checksum %08" PRIx32
			    ", not %" PRIu64 " with %08" PRIx32,
			    c->from_dir, c->from, size, crc, c->size, c->crc);
	}
	return e;
}

static enum err copy_into(const struct backup_copy *c, int in, int out,
			  const struct backup_progress *p, struct err_detail *d)
{
	bool is_shared = ioctl(out, FICLONE, in) == 0;
	enum err e = pump(c, is_shared ? out : in, is_shared ? -1 : out, p, d);
	if (e == ERR_OK && fsync(out) != 0) {
		e = fail(c->to_dir, c->to, "sync", d);
	}
	return e;
}

enum err backup_copy_file(const struct backup_copy *c, const struct backup_progress *p,
			  struct err_detail *d)
{
	char next[BACKUP_NAME + 8];
	snprintf(next, sizeof next, "%s.new", c->to);
	int in = openat(c->from_fd, c->from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0) {
		return fail(c->from_dir, c->from, "read", d);
	}
	enum err e = make_parents(c, d);
	int out = -1;
	if (e == ERR_OK) {
		out = openat(c->to_fd, next, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			     MODE_FILE);
		e = out < 0 ? fail(c->to_dir, c->to, "make", d) : ERR_OK;
	}
	if (e == ERR_OK) {
		e = copy_into(c, in, out, p, d);
	}
	if (out >= 0 && close(out) != 0 && e == ERR_OK) {
		e = fail(c->to_dir, c->to, "write", d);
	}
	close(in);
	if (e == ERR_OK && renameat(c->to_fd, next, c->to_fd, c->to) != 0) {
		e = fail(c->to_dir, c->to, "name", d);
	}
	if (e != ERR_OK && out >= 0) {
		(void)unlinkat(c->to_fd, next, 0);
	}
	return e;
}

enum err backup_copy_check(const struct backup_copy *c, const struct backup_progress *p,
			   struct err_detail *d)
{
	struct stat st;
	if (fstatat(c->to_fd, c->to, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != c->size) {
		return err_set(d, ERR_CORRUPT, "%s: %s is missing or damaged", c->to_dir, c->to);
	}
	int in = openat(c->to_fd, c->to, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0) {
		return err_set(d, ERR_CORRUPT, "%s: %s cannot be read", c->to_dir, c->to);
	}
	enum err e = pump(c, in, -1, p, d);
	close(in);
	return e == ERR_IO ? ERR_CORRUPT : e;
}

enum err backup_copy_measure(struct backup_copy *c, const struct backup_progress *p,
			     struct err_detail *d)
{
	int in = openat(c->from_fd, c->from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0) {
		return fail(c->from_dir, c->from, "read", d);
	}
	enum err e = scan(c, in, -1, p, &c->size, &c->crc, d);
	close(in);
	return e;
}
