#ifndef TEST_FAULT_POWER_SIM_H
#define TEST_FAULT_POWER_SIM_H

/* A file system in memory, fed with an operation log: what of it is on the disk for
 * sure, and what is pending, so that a power cut may keep or lose it.
 *
 * Files: a pending write is kept, lost, or torn at sectors; each on its own. What a
 * later write that is on the disk covers, an earlier pending one does not change.
 * Directories: a pending change is kept or lost, each on its own; a rename as a whole.
 * A file whose name is lost is lost, whether it was synced or not. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECTOR = 512 };

struct sim;
struct sim_inode;

/* From now on contents are hidden from children, so that forking is cheap. Before the
 * first sim of a process that is to have it. */
void sim_hide(void);
struct sim *sim_new(void);
void sim_free(struct sim **s);
/* Takes over what the directory holds, all of it on the disk. */
void sim_load(struct sim *s, const char *dir);
/* Of one that was only loaded. */
struct sim *sim_copy(const struct sim *s);
/* Applies the record at `record`, whose place in the log is `at`; the log stays in
 * memory. Ends the process when the log contradicts itself. */
void sim_apply(struct sim *s, const uint8_t *record, uint64_t at);
size_t sim_pending(const struct sim *s);

/* Which of the pending operations a power cut keeps: a pure function of these. */
enum sim_mode {
	SIM_NONE,
	SIM_ALL,
	SIM_PREFIX,	/* in the order of the log, the first so many */
	SIM_SOME,	/* each by chance */
	SIM_TORN,	/* files only: each sector by chance */
};
struct sim_choice {
	enum sim_mode files;
	enum sim_mode names;
	uint64_t seed;
	uint64_t prefix_end;	/* SIM_PREFIX: operations before this place in the log */
};
/* One of all choices, by the seed. */
struct sim_choice sim_choose(const struct sim *s, uint64_t seed);
void sim_choice_text(const struct sim_choice *c, char *out, size_t n);

/* Calls fn for each directory (before what is in it) and file that the cut leaves.
 * `stamp` is the same only for the same content. */
typedef void sim_file_fn(void *arg, const char *path, const struct sim_inode *inode, bool is_dir,
			 uint64_t stamp);
void sim_files(const struct sim *s, const struct sim_choice *c, sim_file_fn *fn, void *arg);
/* The content, in a buffer that the next call uses again. */
const uint8_t *sim_content(const struct sim_inode *inode, const struct sim_choice *c, size_t *n);

uint64_t sim_mix(uint64_t a, uint64_t b);

#endif
