#include "store/volume/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"

enum { CHECKSUM_CHUNK = 1 << 20 };

enum err file_errno(int e)
{
	switch (e) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case ENOMEM:
	case EMFILE:	/* too many open files are not the disk's fault */
	case ENFILE:
		return ERR_NOMEM;
	case ENOSPC:
	case EDQUOT:
		return ERR_FULL;
	default:
		return ERR_IO;
	}
}

enum err file_read_at(int fd, void *out, size_t n, uint64_t at)
{
	uint8_t *p = out;
	while (n > 0) {
		ssize_t got = pread(fd, p, n, (off_t)at);
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			return file_errno(errno);
		}
		if (got == 0) {
			return ERR_CORRUPT;
		}
		p += got;
		n -= (size_t)got;
		at += (uint64_t)got;
	}
	return ERR_OK;
}

enum err file_write_all(int fd, const void *data, size_t n)
{
	const uint8_t *p = data;
	while (n > 0) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR) {
			continue;
		}
		if (done < 0) {
			return file_errno(errno);
		}
		p += done;
		n -= (size_t)done;
	}
	return ERR_OK;
}

static enum err sync_path(const char *path, int flags, struct err_detail *d)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	int failed = fd < 0 ? errno : 0;
	if (fd >= 0) {
		failed = fsync(fd) != 0 ? errno : 0;
		close(fd);
	}
	if (failed != 0) {
		return err_set(d, file_errno(failed), "%s: cannot sync: %s", path, strerror(failed));
	}
	return ERR_OK;
}

enum err file_sync(const char *path, struct err_detail *d)
{
	return sync_path(path, 0, d);
}

enum err file_sync_dir(const char *dir, struct err_detail *d)
{
	return sync_path(dir, O_DIRECTORY, d);
}

enum err file_make_dir(const char *dir, const char *name, struct err_detail *d)
{
	char path[LIMIT_PATH];
	if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) {
		return err_set(d, ERR_TOO_LARGE, "%s/%s: path too long", dir, name);
	}
	if (mkdir(path, 0700) == 0) {
		return file_sync_dir(dir, d);
	}
	if (errno == EEXIST) {
		return ERR_OK;
	}
	int failed = errno;
	enum err e = file_errno(failed);
	return err_set(d, e == ERR_NOT_FOUND ? ERR_IO : e, "%s: %s", path, strerror(failed));
}

enum err file_checksum(const char *path, const atomic_bool *stop, uint64_t *size, uint32_t *crc,
		       struct err_detail *d)
{
	*size = 0;
	*crc = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return err_set(d, file_errno(errno), "%s: %s", path, strerror(errno));
	}
	enum err e = ERR_OK;
	uint8_t *chunk = mem_alloc(CHECKSUM_CHUNK);
	if (chunk == NULL) {
		e = err_set(d, ERR_NOMEM, "%s: out of memory", path);
	}
	while (e == ERR_OK) {
		ssize_t got = read(fd, chunk, CHECKSUM_CHUNK);
		if (got == 0) {
			break;
		}
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got < 0) {
			e = err_set(d, file_errno(errno), "%s: %s", path, strerror(errno));
			break;
		}
		*crc = crc32c(*crc, chunk, (size_t)got);
		*size += (uint64_t)got;
		if (stop != NULL && atomic_load(stop)) {
			e = ERR_STOPPING;
		}
	}
	mem_free(chunk);
	close(fd);
	return e;
}
