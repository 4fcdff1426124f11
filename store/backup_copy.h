#ifndef STORE_BACKUP_COPY_H
#define STORE_BACKUP_COPY_H

/* A directory that holds a backup (backup_set.h): filled from data directories that
 * are pinned or locked, and turned back into data directories. One thread. */

#include "store/backup_set.h"

/* Called as bytes are read; an error ends what is done and is returned. */
typedef enum err backup_step_fn(void *arg, uint64_t bytes, struct err_detail *d);
struct backup_progress {
	backup_step_fn *step;	/* may be NULL */
	void *arg;
};

struct backup_dir {
	char *path;
	int fd;
	int lock_fd;
	bool has_set;
	struct backup_set set;	/* of the backup it holds */
};

/* Opens and locks it. may_make: makes it when it is missing; it must be empty or hold
 * a backup, perhaps an unfinished one (ERR_EXISTS). Without: it must hold one
 * (ERR_NOT_FOUND). ERR_IN_USE, ERR_CORRUPT and ERR_VERSION (its BACKUP), ERR_IO,
 * ERR_FULL, ERR_NOMEM. */
enum err backup_dir_open(const char *path, bool may_make, struct backup_dir *out,
			 struct err_detail *d) MUST_CHECK;
void backup_dir_close(struct backup_dir *b);

/* Bytes of `set` that it does not hold yet. */
uint64_t backup_dir_missing(const struct backup_dir *b, const struct backup_set *set);
/* Copies what is missing of `set` (completed, with sources) from the data directories
 * and writes BACKUP; then removes what that does not name. Until BACKUP is named the
 * former backup stays whole. ERR_INVALID (another store's), ERR_CORRUPT with the file,
 * ERR_IO, ERR_FULL, ERR_NOMEM, the step's. */
enum err backup_dir_fill(struct backup_dir *b, const struct backup_set *set,
			 const char *const *dirs, const struct backup_progress *p,
			 struct err_detail *d) MUST_CHECK;

/* For a store of which segments are damaged, before it is filled: files that it does not
 * hold are read, and those that are not what `set` says are then listed as they are, or,
 * when they cannot be read, not at all; `tell` is called for each. The store that is
 * restored misses what this one misses. Only segments are taken so: ERR_CORRUPT for any
 * other file; the rest as fill. */
typedef void backup_damage_fn(void *arg, const char *dir, const char *path);
enum err backup_dir_accept_damage(const struct backup_dir *b, struct backup_set *set,
				  const char *const *dirs, const struct backup_progress *p,
				  backup_damage_fn *tell, void *arg, struct err_detail *d) MUST_CHECK;

/* Turns it into data directories of one store, as many as it has volumes, all empty
 * or missing; VERSION comes last. The store is the same, its cluster a new one. Every
 * byte is checked; on an error what was made is removed again. ERR_INVALID (number
 * of directories), ERR_EXISTS (one is not empty), ERR_CORRUPT with the file, ERR_IO,
 * ERR_FULL, ERR_NOMEM, the step's. */
enum err backup_dir_restore(struct backup_dir *b, const char *const *dirs, uint32_t n,
			    const struct backup_progress *p, struct err_detail *d) MUST_CHECK;

/* One file, checked while it is copied, synced under a temporary name and renamed;
 * directories on the way are made. A file system that shares blocks between files
 * is asked to. */
struct backup_copy {
	int from_fd;
	const char *from_dir;	/* for messages */
	const char *from;
	int to_fd;
	const char *to_dir;
	const char *to;
	uint64_t size;
	uint32_t crc;
};
enum err backup_copy_file(const struct backup_copy *c, const struct backup_progress *p,
			  struct err_detail *d) MUST_CHECK;
/* Size and checksum of `from` as it is. ERR_NOT_FOUND, ERR_IO, ERR_FORBIDDEN, ERR_NOMEM, the
 * step's. */
enum err backup_copy_measure(struct backup_copy *c, const struct backup_progress *p,
			     struct err_detail *d) MUST_CHECK;
/* Whether `to` is there with that size and checksum: reads all of it. ERR_CORRUPT: it is
 * not; ERR_NOMEM, the step's. */
enum err backup_copy_check(const struct backup_copy *c, const struct backup_progress *p,
			   struct err_detail *d) MUST_CHECK;

#endif
