#include "test/lib/fake_pwrite.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static _Thread_local long left;
static _Thread_local int failure;
static _Thread_local bool has_fired;

static bool fails(void)
{
	if (left > 0 && --left == 0) {
		has_fired = true;
		if (failure == 0) {
			_exit(0);
		}
		errno = failure;
		return true;
	}
	return false;
}

/* The C library's names, and so not static. */
ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	return fails() ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	return fails() ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	return fails() ? -1 : (ssize_t)syscall(SYS_pwritev, fd, v, n, at, 0);
}

ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at)
{
	return fails() ? -1 : (ssize_t)syscall(SYS_pwritev, fd, v, n, at, 0);
}

void fake_pwrite_fail_at(long n, int with_errno)
{
	left = n;
	failure = with_errno;
	has_fired = false;
}

void fake_pwrite_exit_at(long n)
{
	fake_pwrite_fail_at(n, 0);
}

bool fake_pwrite_fired(void)
{
	return has_fired;
}
