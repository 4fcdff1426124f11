#include "test/lib/fake_sync.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SYNCS_MAX = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t inodes[SYNCS_MAX];
static unsigned n_inodes;
static unsigned exit_at;

/* The C library's name, and so not static. */
int fsync(int fd)
{
	struct stat st;
	pthread_mutex_lock(&lock);
	if (exit_at > 0 && --exit_at == 0) {
		_exit(0);
	}
	pthread_mutex_unlock(&lock);
	if (fstat(fd, &st) == 0) {
		pthread_mutex_lock(&lock);
		if (n_inodes < SYNCS_MAX) {
			inodes[n_inodes++] = (uint64_t)st.st_ino;
		}
		pthread_mutex_unlock(&lock);
	}
	return (int)syscall(SYS_fsync, fd);
}

void fake_sync_start(void)
{
	pthread_mutex_lock(&lock);
	n_inodes = 0;
	pthread_mutex_unlock(&lock);
}

void fake_sync_exit_at(unsigned n)
{
	pthread_mutex_lock(&lock);
	exit_at = n;
	pthread_mutex_unlock(&lock);
}

bool fake_sync_had(const char *path)
{
	struct stat st;
	bool had = false;
	if (stat(path, &st) != 0) {
		return false;
	}
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < n_inodes; i++) {
		had = had || inodes[i] == (uint64_t)st.st_ino;
	}
	pthread_mutex_unlock(&lock);
	return had;
}
