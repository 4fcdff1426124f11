#include "test/lib/fake_write.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Thread_local long left;
static _Thread_local int failure;
static _Thread_local bool has_fired;

/* The C library's name, and so not static. */
ssize_t write(int fd, const void *p, size_t n)
{
	if (left > 0 && --left == 0) {
		has_fired = true;
		if (failure == 0) {
			syscall(SYS_write, fd, p, n / 2);
			_exit(0);
		}
		errno = failure;
		return -1;
	}
	return (ssize_t)syscall(SYS_write, fd, p, n);
}

void fake_write_fail_at(long n, int with_errno)
{
	left = n;
	failure = with_errno;
	has_fired = false;
}

void fake_write_exit_at(long n)
{
	fake_write_fail_at(n, 0);
}

bool fake_write_fired(void)
{
	return has_fired;
}
