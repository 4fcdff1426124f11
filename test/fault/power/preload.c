/* A library for LD_PRELOAD. It records what a process does to the files below one
 * directory (oplog.h), and makes chosen calls fail.
 *
 *   POWER_ROOT     the directory, absolute, without symbolic links
 *   POWER_LOG      the operation log, appended to; none: nothing is recorded
 *   POWER_CONTROL  four bytes, enum oplog_control
 *   POWER_SYNC_US  a sync takes so long and does nothing else; none: it is a real one
 *   POWER_FAULT    "calls:pattern:error:first[:count]", see fault_read
 *
 * A sync that does nothing is enough for recording, and the time it takes makes an
 * answer that did not wait for it show. CONTROL_DIE ends the process between two
 * operations: what kill -9 leaves, but the log knows all of it.
 *
 * A child that the process forks is not recorded; it only reads. */

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "test/fault/power/oplog.h"

enum {
	FDS_MAX = 1 << 16,
	DIED_STATUS = 137,	/* as of a process that was killed */
	IOV_MAX_HERE = 1024,
};

/* What is known of a descriptor; handle 0: it is none of ours. */
struct known_fd {
	_Atomic uint64_t handle;
	bool is_synced;		/* O_DSYNC or O_SYNC */
	bool is_append;
	char *path;		/* relative to the root */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct known_fd fds[FDS_MAX];
static bool is_on;
static char root[PATH_MAX];
static size_t root_len;
static int log_fd = -1;
static uint64_t log_len;
static uint64_t last_sync;
static long sync_us = -1;
static _Atomic uint32_t *control;

/* ---- faults ---------------------------------------------------------------------- */

enum call { CALL_WRITE = 1, CALL_SYNC = 2, CALL_OPEN = 4, CALL_NAME = 8, CALL_SIZE = 16 };

static struct {
	unsigned calls;
	char pattern[256];
	int error;
	long first;	/* counted from 1 while CONTROL_FAIL is set */
	long count;	/* so many fail; 0: all from then on */
	long seen;
} fault;

/* calls: letters of w(rite) s(ync) o(pen to write) n(ames) t(runcate); pattern as a
 * shell's, over the path below the root; error EIO or ENOSPC. */
static void fault_read(const char *text)
{
	char calls[16];
	char error[16];
	int n = sscanf(text, "%15[wsont]:%255[^:]:%15[A-Z]:%ld:%ld", calls, fault.pattern, error,
		       &fault.first, &fault.count);
	if (n < 4) {
		fprintf(stderr, "POWER_FAULT: %s\n", text);
		abort();
	}
	fault.calls |= strchr(calls, 'w') != NULL ? CALL_WRITE : 0;
	fault.calls |= strchr(calls, 's') != NULL ? CALL_SYNC : 0;
	fault.calls |= strchr(calls, 'o') != NULL ? CALL_OPEN : 0;
	fault.calls |= strchr(calls, 'n') != NULL ? CALL_NAME : 0;
	fault.calls |= strchr(calls, 't') != NULL ? CALL_SIZE : 0;
	fault.error = strcmp(error, "ENOSPC") == 0 ? ENOSPC : EIO;
}

/* Under the lock. Sets errno when the call is to fail. */
static bool fails(enum call call, const char *path)
{
	bool is_armed = control != NULL && atomic_load(control) == CONTROL_FAIL;
	if (!is_armed || (fault.calls & call) == 0 || fnmatch(fault.pattern, path, 0) != 0) {
		return false;
	}
	long at = ++fault.seen;
	if (at < fault.first || (fault.count > 0 && at >= fault.first + fault.count)) {
		return false;
	}
	errno = fault.error;
	return true;
}

/* ---- the log --------------------------------------------------------------------- */

static void take(void)
{
	pthread_mutex_lock(&mutex);
	if (control != NULL && atomic_load(control) == CONTROL_DIE) {
		syscall(SYS_exit_group, DIED_STATUS);
	}
}

static void give(void)
{
	int keep = errno;
	pthread_mutex_unlock(&mutex);
	errno = keep;
}

static void record_iov(struct oplog_head h, const char *path, const char *path2,
		       const struct iovec *data, int n_data, size_t data_len)
{
	static const char zeros[8];
	static struct iovec v[IOV_MAX_HERE + 4];
	if (log_fd < 0) {
		return;
	}
	int keep = errno;
	int n = 1;
	h.magic = OPLOG_MAGIC;
	h.data_len = (uint32_t)data_len;
	size_t len = sizeof h + data_len;
	const char *paths[2] = {path, path2};
	uint32_t *lens[2] = {&h.path_len, &h.path2_len};
	for (int i = 0; i < 2; i++) {
		if (paths[i] != NULL) {
			*lens[i] = (uint32_t)strlen(paths[i]);
			v[n++] = (struct iovec){(void *)(uintptr_t)paths[i], *lens[i]};
			len += *lens[i];
		}
	}
	size_t left = data_len;
	for (int i = 0; i < n_data && left > 0; i++) {
		size_t part = data[i].iov_len < left ? data[i].iov_len : left;
		v[n++] = (struct iovec){data[i].iov_base, part};
		left -= part;
	}
	size_t padding = (8 - len % 8) % 8;
	v[n++] = (struct iovec){(void *)(uintptr_t)zeros, padding};
	h.total = (uint32_t)(len + padding);
	v[0] = (struct iovec){&h, sizeof h};
	if (syscall(SYS_writev, log_fd, v, n) != (long)h.total) {
		fprintf(stderr, "POWER_LOG cannot be written\n");
		abort();
	}
	log_len += h.total;
	errno = keep;
}

static void record(struct oplog_head h, const char *path, const char *path2)
{
	record_iov(h, path, path2, NULL, 0, 0);
}

/* ---- paths ----------------------------------------------------------------------- */

/* The path below the root, without ".", ".." and doubled slashes; false: it lies
 * elsewhere. "" is the root itself. */
static bool below_root(int dirfd, const char *path, char out[PATH_MAX])
{
	char whole[PATH_MAX * 2];
	char base[PATH_MAX] = "";
	if (path[0] != '/') {
		char link[64] = "/proc/self/cwd";
		if (dirfd != AT_FDCWD) {
			snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
		}
		long n = syscall(SYS_readlink, link, base, sizeof base - 1);
		base[n > 0 ? n : 0] = '\0';
	}
	snprintf(whole, sizeof whole, "%s/%s", base, path);
	char clean[PATH_MAX * 2] = "";
	size_t len = 0;
	char *rest = NULL;
	for (char *part = strtok_r(whole, "/", &rest); part != NULL;
	     part = strtok_r(NULL, "/", &rest)) {
		if (strcmp(part, ".") == 0) {
			continue;
		}
		if (strcmp(part, "..") == 0) {
			while (len > 0 && clean[--len] != '/') {
			}
			clean[len] = '\0';
			continue;
		}
		len += (size_t)snprintf(clean + len, sizeof clean - len, "/%s", part);
	}
	if (strncmp(clean, root, root_len) != 0 ||
	    (clean[root_len] != '\0' && clean[root_len] != '/') || len - root_len >= PATH_MAX) {
		return false;
	}
	memcpy(out, clean + root_len + (clean[root_len] == '/' ? 1 : 0),
	       len - root_len + (clean[root_len] == '/' ? 0 : 1));
	return true;
}

static struct known_fd *known(int fd)
{
	if (!is_on || fd < 0 || fd >= FDS_MAX || atomic_load(&fds[fd].handle) == 0) {
		return NULL;
	}
	return &fds[fd];
}

static void forget(struct known_fd *k)
{
	atomic_store(&k->handle, 0);
	free(k->path);
	k->path = NULL;
}

/* ---- opening and closing ------------------------------------------------------------ */

static int open_any(int dirfd, const char *path, int flags, mode_t mode)
{
	char rel[PATH_MAX];
	if (!is_on || !below_root(dirfd, path, rel)) {
		return (int)syscall(SYS_openat, dirfd, path, flags, mode);
	}
	bool is_write = (flags & O_ACCMODE) != O_RDONLY;
	/* The files of locks are no data: LMDB makes them anew at each start. */
	size_t n = strlen(rel);
	bool is_lock = n > 5 && strcmp(rel + n - 5, "-lock") == 0;
	take();
	int fd = -1;
	if (!is_write || !fails(CALL_OPEN, rel)) {
		/* O_SYNC is left out: a sync takes the time that it is told to. */
		int real = sync_us >= 0 ? flags & ~(O_SYNC | O_DSYNC) : flags;
		fd = (int)syscall(SYS_openat, dirfd, path, real, mode);
	}
	if (fd >= 0 && fd < FDS_MAX && !is_lock) {
		struct known_fd *k = &fds[fd];
		free(k->path);
		k->path = strdup(rel);
		k->is_synced = (flags & (O_DSYNC | O_SYNC)) != 0;
		k->is_append = (flags & O_APPEND) != 0;
		/* 0 is no handle, and the log begins with a START. */
		uint64_t handle = log_fd >= 0 ? log_len : 1;
		atomic_store(&k->handle, handle);
		record((struct oplog_head){.kind = OPLOG_OPEN, .handle = handle, .a = (uint64_t)flags},
		       rel, NULL);
	}
	give();
	return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
	return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? (mode_t)va_arg(ap, unsigned) : 0;
}

#define OPEN_LIKE(name)                                                        \
	int name(const char *path, int flags, ...);                            \
	int name(const char *path, int flags, ...)                             \
	{                                                                      \
		va_list ap;                                                    \
		va_start(ap, flags);                                           \
		mode_t mode = mode_of(flags, ap);                              \
		va_end(ap);                                                    \
		return open_any(AT_FDCWD, path, flags, mode);                  \
	}
#define OPENAT_LIKE(name)                                                      \
	int name(int dirfd, const char *path, int flags, ...);                 \
	int name(int dirfd, const char *path, int flags, ...)                  \
	{                                                                      \
		va_list ap;                                                    \
		va_start(ap, flags);                                           \
		mode_t mode = mode_of(flags, ap);                              \
		va_end(ap);                                                    \
		return open_any(dirfd, path, flags, mode);                     \
	}
OPEN_LIKE(open)
OPEN_LIKE(open64)
OPEN_LIKE(__open_2)
OPEN_LIKE(__open64_2)
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)
OPENAT_LIKE(__openat_2)
OPENAT_LIKE(__openat64_2)

int creat(const char *path, mode_t mode)
{
	return open_any(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int close(int fd)
{
	struct known_fd *k = known(fd);
	if (k != NULL) {
		take();
		forget(k);
		give();
	}
	return (int)syscall(SYS_close, fd);
}

static int share(int from, int to)
{
	struct known_fd *k = known(from);
	if (k != NULL && to >= 0 && to < FDS_MAX) {
		take();
		fds[to].path = strdup(k->path);
		fds[to].is_synced = k->is_synced;
		fds[to].is_append = k->is_append;
		atomic_store(&fds[to].handle, atomic_load(&k->handle));
		give();
	}
	return to;
}

int dup(int fd)
{
	return share(fd, (int)syscall(SYS_dup, fd));
}

/* ---- writing ------------------------------------------------------------------------- */

static void sync_wait(int fd, bool data_only)
{
	if (sync_us < 0) {
		syscall(data_only ? SYS_fdatasync : SYS_fsync, fd);
		return;
	}
	struct timespec t = {sync_us / 1000000, sync_us % 1000000 * 1000};
	nanosleep(&t, NULL);
}

static uint64_t offset_now(const struct known_fd *k, int fd)
{
	if (k->is_append) {
		struct stat st;
		return fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	}
	return (uint64_t)syscall(SYS_lseek, fd, 0L, SEEK_CUR);
}

/* offset -1: where the file stands. */
static ssize_t write_any(int fd, struct known_fd *k, const struct iovec *v, int n, off_t offset)
{
	take();
	uint64_t at = offset >= 0 ? (uint64_t)offset : offset_now(k, fd);
	long done = -1;
	if (!fails(CALL_WRITE, k->path)) {
		done = offset >= 0 ? syscall(SYS_pwritev, fd, v, n, (long)offset, 0L)
				   : syscall(SYS_writev, fd, v, n);
	}
	uint64_t sync = 0;
	if (done > 0) {
		sync = k->is_synced ? ++last_sync : 0;
		record_iov((struct oplog_head){.kind = OPLOG_WRITE,
					       .handle = atomic_load(&k->handle),
					       .a = at,
					       .b = sync},
			   NULL, NULL, v, n, (size_t)done);
	}
	give();
	if (sync != 0) {
		int keep = errno;
		sync_wait(fd, true);
		take();
		record((struct oplog_head){.kind = OPLOG_SYNC_END, .b = sync}, NULL, NULL);
		give();
		errno = keep;
	}
	return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
	struct known_fd *k = known(fd);
	struct iovec v = {(void *)(uintptr_t)p, n};
	return k != NULL ? write_any(fd, k, &v, 1, -1) : syscall(SYS_write, fd, p, n);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	struct known_fd *k = known(fd);
	return k != NULL ? write_any(fd, k, v, n, -1) : syscall(SYS_writev, fd, v, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
	struct known_fd *k = known(fd);
	struct iovec v = {(void *)(uintptr_t)p, n};
	return k != NULL ? write_any(fd, k, &v, 1, offset)
			 : syscall(SYS_pwrite64, fd, p, n, offset);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t offset)
{
	return pwrite(fd, p, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t offset)
{
	struct known_fd *k = known(fd);
	return k != NULL ? write_any(fd, k, v, n, offset)
			 : syscall(SYS_pwritev, fd, v, n, offset, 0L);
}

ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t offset)
{
	return pwritev(fd, v, n, offset);
}

static int sync_any(int fd, bool data_only)
{
	struct known_fd *k = known(fd);
	if (k == NULL) {
		return (int)syscall(data_only ? SYS_fdatasync : SYS_fsync, fd);
	}
	take();
	bool is_bad = fails(CALL_SYNC, k->path);
	uint64_t sync = ++last_sync;
	if (!is_bad) {
		record((struct oplog_head){.kind = OPLOG_SYNC_BEGIN,
					   .handle = atomic_load(&k->handle),
					   .b = sync},
		       NULL, NULL);
	}
	give();
	if (is_bad) {
		return -1;
	}
	sync_wait(fd, data_only);
	take();
	record((struct oplog_head){.kind = OPLOG_SYNC_END, .b = sync}, NULL, NULL);
	give();
	return 0;
}

int fsync(int fd)
{
	return sync_any(fd, false);
}

int fdatasync(int fd)
{
	return sync_any(fd, true);
}

static int resize(int fd, struct known_fd *k, uint64_t size, bool is_truncate, int mode,
		  off_t offset, off_t len)
{
	take();
	int rc = -1;
	if (!fails(CALL_SIZE, k->path)) {
		rc = (int)(is_truncate ? syscall(SYS_ftruncate, fd, (long)size)
				       : syscall(SYS_fallocate, fd, mode, offset, len));
	}
	/* What keeps the size changes nothing that can be read. */
	if (rc == 0 && (is_truncate || mode == 0)) {
		record((struct oplog_head){.kind = is_truncate ? OPLOG_TRUNCATE : OPLOG_ALLOCATE,
					   .handle = atomic_load(&k->handle),
					   .a = size},
		       NULL, NULL);
	}
	give();
	return rc;
}

int ftruncate(int fd, off_t size)
{
	struct known_fd *k = known(fd);
	return k != NULL ? resize(fd, k, (uint64_t)size, true, 0, 0, 0)
			 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off_t size)
{
	return ftruncate(fd, size);
}

int truncate(const char *path, off_t size)
{
	int fd = open_any(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	if (fd < 0) {
		return -1;
	}
	int rc = ftruncate(fd, size);
	int keep = errno;
	close(fd);
	errno = keep;
	return rc;
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	struct known_fd *k = known(fd);
	return k != NULL ? resize(fd, k, (uint64_t)(offset + len), false, mode, offset, len)
			 : (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
	return fallocate(fd, 0, offset, len) == 0 ? 0 : errno;
}

/* Ways to fill a file that the log has no word for: not on this file system. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	va_start(ap, request);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	if (known(fd) != NULL && request == FICLONE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned flags)
{
	if (known(out) != NULL) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return syscall(SYS_copy_file_range, in, in_at, out, out_at, n, flags);
}

/* ---- names --------------------------------------------------------------------------- */

/* One call that changes names, recorded when it was done. */
static int name_any(enum oplog_kind kind, int dir1, const char *path1, int dir2, const char *path2,
		    long flags)
{
	char rel[2][PATH_MAX];
	bool is_ours = is_on && below_root(dir1, path1, rel[0]) &&
		       (path2 == NULL || below_root(dir2, path2, rel[1]));
	size_t n = is_ours ? strlen(rel[0]) : 0;
	bool is_lock = n > 5 && strcmp(rel[0] + n - 5, "-lock") == 0;
	if (is_ours) {
		take();
	}
	long rc = -1;
	if (!is_ours || is_lock || !fails(CALL_NAME, rel[0])) {
		switch (kind) {
		case OPLOG_RENAME:
			rc = syscall(SYS_renameat2, dir1, path1, dir2, path2, flags);
			break;
		case OPLOG_LINK:
			rc = syscall(SYS_linkat, dir1, path1, dir2, path2, flags);
			break;
		case OPLOG_MKDIR:
			rc = syscall(SYS_mkdirat, dir1, path1, flags);
			break;
		case OPLOG_UNLINK:
			rc = syscall(SYS_unlinkat, dir1, path1, 0L);
			break;
		default:
			rc = syscall(SYS_unlinkat, dir1, path1, (long)AT_REMOVEDIR);
			break;
		}
	}
	if (is_ours) {
		if (rc == 0 && !is_lock) {
			record((struct oplog_head){.kind = kind}, rel[0], path2 != NULL ? rel[1] : NULL);
		}
		give();
	}
	return (int)rc;
}

int rename(const char *from, const char *to)
{
	return name_any(OPLOG_RENAME, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return name_any(OPLOG_RENAME, from_dir, from, to_dir, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return name_any(OPLOG_RENAME, from_dir, from, to_dir, to, (long)flags);
}

int link(const char *from, const char *to)
{
	return name_any(OPLOG_LINK, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	return name_any(OPLOG_LINK, from_dir, from, to_dir, to, flags);
}

int unlink(const char *path)
{
	return name_any(OPLOG_UNLINK, AT_FDCWD, path, 0, NULL, 0);
}

int unlinkat(int dirfd, const char *path, int flags)
{
	return name_any((flags & AT_REMOVEDIR) != 0 ? OPLOG_RMDIR : OPLOG_UNLINK, dirfd, path, 0, NULL,
			0);
}

int rmdir(const char *path)
{
	return name_any(OPLOG_RMDIR, AT_FDCWD, path, 0, NULL, 0);
}

int remove(const char *path)
{
	int rc = unlink(path);
	return rc != 0 && (errno == EISDIR || errno == EPERM) ? rmdir(path) : rc;
}

int mkdir(const char *path, mode_t mode)
{
	return name_any(OPLOG_MKDIR, AT_FDCWD, path, 0, NULL, (long)mode);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
	return name_any(OPLOG_MKDIR, dirfd, path, 0, NULL, (long)mode);
}

/* ---- life ---------------------------------------------------------------------------- */

static void in_child(void)
{
	is_on = false;
}

__attribute__((constructor)) static void begin(void)
{
	const char *dir = getenv("POWER_ROOT");
	const char *log = getenv("POWER_LOG");
	const char *word = getenv("POWER_CONTROL");
	const char *delay = getenv("POWER_SYNC_US");
	const char *rule = getenv("POWER_FAULT");
	if (dir == NULL) {
		return;
	}
	snprintf(root, sizeof root, "%s", dir);
	root_len = strlen(root);
	sync_us = delay != NULL ? atol(delay) : -1;
	if (rule != NULL) {
		fault_read(rule);
	}
	if (word != NULL) {
		int fd = (int)syscall(SYS_openat, AT_FDCWD, word, O_RDWR | O_CLOEXEC);
		void *p = fd < 0 ? MAP_FAILED
				 : mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED) {
			perror(word);
			abort();
		}
		control = p;
		syscall(SYS_close, fd);
	}
	if (log != NULL) {
		log_fd = (int)syscall(SYS_openat, AT_FDCWD, log,
				      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (log_fd < 0) {
			perror(log);
			abort();
		}
		log_len = (uint64_t)syscall(SYS_lseek, log_fd, 0L, SEEK_END);
		/* Sync numbers do not repeat either. */
		last_sync = log_len;
		record((struct oplog_head){.kind = OPLOG_START}, NULL, NULL);
	}
	pthread_atfork(NULL, NULL, in_child);
	is_on = true;
}
