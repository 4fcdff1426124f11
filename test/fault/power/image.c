#include "test/fault/power/image.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Every file made here has this time of change; one that was written since has not. */
static const struct timespec made_at[2] = {{1, 0}, {1, 0}};

struct making {
	struct image *image;
	const struct sim_choice *choice;
	struct image_file *files;
	size_t n;
	size_t cap;
};

static void die(const char *what, const char *path)
{
	fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
	exit(2);
}

static const struct image_file *find(const struct image_file *v, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(v[i].path, path) == 0) {
			return &v[i];
		}
	}
	return NULL;
}

static void note(void *arg, const char *path, const struct sim_inode *inode, bool is_dir,
		 uint64_t stamp)
{
	struct making *m = arg;
	(void)inode;
	if (m->n == m->cap) {
		m->cap = m->cap * 2 + 64;
		m->files = realloc(m->files, m->cap * sizeof *m->files);
	}
	char *copy = strdup(path);
	if (m->files == NULL || copy == NULL) {
		abort();
	}
	m->files[m->n++] = (struct image_file){copy, stamp, is_dir};
}

/* nftw has no argument to hand on. */
static struct making *removing;

static int remove_other(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)type;
	if (at->level == 0) {
		return 0;
	}
	const char *below = path + strlen(removing->image->dir) + 1;
	const struct image_file *want = find(removing->files, removing->n, below);
	const struct image_file *was = find(removing->image->files, removing->image->n, below);
	bool is_dir = S_ISDIR(st->st_mode);
	bool stays = want != NULL && want->is_dir == is_dir &&
		     (is_dir || (was != NULL && was->stamp == want->stamp &&
				 st->st_mtim.tv_sec == made_at[1].tv_sec));
	if (!stays && remove(path) != 0) {
		die("cannot remove", path);
	}
	return 0;
}

static void make_file(void *arg, const char *below, const struct sim_inode *inode, bool is_dir,
		      uint64_t stamp)
{
	struct making *m = arg;
	char path[PATH_MAX];
	(void)stamp;
	snprintf(path, sizeof path, "%s/%s", m->image->dir, below);
	if (is_dir) {
		if (mkdir(path, 0700) != 0 && errno != EEXIST) {
			die("cannot make", path);
		}
		return;
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST) {
		return;	/* as it should be, or it would have been removed */
	}
	size_t n;
	const uint8_t *p = sim_content(inode, m->choice, &n);
	if (fd < 0 || (n > 0 && pwrite(fd, p, n, 0) != (ssize_t)n) || futimens(fd, made_at) != 0) {
		die("cannot write", path);
	}
	close(fd);
}

static void drop(struct image_file *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i].path);
	}
	free(v);
}

void image_make(struct image *im, const struct sim *s, const struct sim_choice *c)
{
	struct making m = {.image = im, .choice = c};
	if (mkdir(im->dir, 0700) != 0 && errno != EEXIST) {
		die("cannot make", im->dir);
	}
	sim_files(s, c, note, &m);
	removing = &m;
	nftw(im->dir, remove_other, 16, FTW_DEPTH | FTW_PHYS);
	sim_files(s, c, make_file, &m);
	drop(im->files, im->n);
	im->files = m.files;
	im->n = m.n;
	im->cap = m.cap;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

void image_fini(struct image *im)
{
	nftw(im->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	drop(im->files, im->n);
	im->files = NULL;
	im->n = 0;
}
