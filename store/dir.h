#ifndef STORE_DIR_H
#define STORE_DIR_H

/* The data directory:
 *
 *   LOCK      held with flock for the life of the process, its pid inside
 *   VERSION   "sluice-data 4", then cluster=<uuid>, node=<id>, store=<uuid>,
 *             shards=<n>, volumes=<n>, volume=<ordinal>, a line each; its
 *             presence means: founded
 *   CLEAN     there only between an orderly stop and the next open: stop=<uuid>
 *   volume/   store/volume
 *
 * A store has one of them for each of its volumes, on disks of their own. The first
 * (volume=0) also holds what the program keeps beside the store; further ones hold
 * these four names only. They are given in the same order at each start, and one that
 * is another's, of another store, in another's place or not there is refused.
 *
 * Founding writes VERSION.new everywhere first and renames it to VERSION last, when
 * the volumes exist and hold every shard's first entry: in the first directory, then
 * in the others. So a directory with VERSION.new and without VERSION never took an
 * event: founding begins anew, or, when the first one has its VERSION, is brought to
 * its end. A volume/ with neither is somebody's data without its label: refused.
 *
 * The stop is orderly for a further directory when its CLEAN says the same as that of
 * the first: one that was left behind, out of use or put back from a copy, is not. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

/* Formats: 1 the first; 2 has rows of groups, committed offsets and producers
 * (volume command 5, state kinds from 16); 3 has a MANIFEST in each volume, exports,
 * cleaned segments and several volumes; 4 has units and limits in the catalogue. An
 * older directory is relabelled when its volumes are open and have their MANIFEST,
 * before anything else is written. */
enum { STORE_DIR_VERSION = 4, STORE_DIR_MANIFEST = 3 /* since when there is one */ };

struct store_dir {
	char *path;
	char *volume;		/* path/volume */
	int fd;			/* of the directory, -1: none */
	int lock_fd;		/* -1: not held */
	bool is_founding;	/* VERSION is not there yet */
	bool was_unclean;
	bool is_out;		/* a further one that cannot be used; nothing in it is changed */
	bool is_failing;	/* its disk gave an error */
	uint8_t cluster_uuid[16];
	uint8_t store_uuid[16];
	uint64_t node_id;
	uint32_t shards;
	uint32_t volumes;	/* of the store */
	uint32_t ordinal;	/* which of them this is */
	uint32_t version;	/* as found */
};

/* All of a store, v[0] the first. */
struct store_dirs {
	struct store_dir v[LIMIT_VOLUMES];
	uint32_t n;
};

/* Locks the directories and reads or makes their identity (node_id and shards: for a
 * new one; node_id 0 = any). A further one whose disk errs is logged and is_out. Errors,
 * each with one line that names the directory: ERR_IN_USE, ERR_VERSION, ERR_CORRUPT,
 * ERR_INVALID (not a directory, another node's, in the wrong place), ERR_FULL, ERR_IO. */
enum err store_dirs_open(const char *const *paths, uint32_t n, uint64_t node_id, uint32_t shards,
			 struct store_dirs *out, struct err_detail *d) MUST_CHECK;
/* The same for founded ones, and nothing is changed: the stop stays orderly. A missing
 * or unfounded one is ERR_NOT_FOUND. */
enum err store_dirs_look(const char *const *paths, uint32_t n, struct store_dirs *out,
			 struct err_detail *d) MUST_CHECK;
/* The volumes are open and nothing runs yet: labels older directories as of the
 * present format, the first one first, so that an older program refuses them from
 * then on. A further one that cannot be labelled is left as it is until the next open. */
enum err store_dirs_upgrade(struct store_dirs *dirs, struct err_detail *d) MUST_CHECK;
/* The last step of founding; nothing when it was done before. */
enum err store_dirs_founded(struct store_dirs *dirs, struct err_detail *d) MUST_CHECK;
/* Says that this stop was orderly, in all that are not out. `only_clean`: only in those
 * that were so when they were opened, as they have not been changed. */
enum err store_dirs_mark_clean(struct store_dirs *dirs, bool only_clean,
			       struct err_detail *d) MUST_CHECK;
void store_dirs_close(struct store_dirs *dirs);	/* gives the locks back */

/* Puts volume/state aside as volume/state.damaged. */
enum err store_dir_move_state(struct store_dir *dir, struct err_detail *d) MUST_CHECK;

/* For a directory that is filled from a backup: makes it when it is missing, its lock
 * and its volume/. ERR_EXISTS: there is something in it. */
enum err store_dir_make_empty(const char *path, struct store_dir *out,
			      struct err_detail *d) MUST_CHECK;
/* Its last step: VERSION with the identity that stands in `dir`. */
enum err store_dir_label(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
void store_dir_close(struct store_dir *dir);

#endif
