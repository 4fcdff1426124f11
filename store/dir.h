#ifndef STORE_DIR_H
#define STORE_DIR_H

/* The data directory:
 *
 *   LOCK      held with flock for the life of the process, its pid inside
 *   VERSION   "sluice-data 1", then cluster=<uuid>, node=<id>, store=<uuid>,
 *             shards=<n>, a line each; its presence means: founded
 *   CLEAN     there only between an orderly stop and the next open
 *   volume/   store/volume
 *
 * Founding writes VERSION.new first and renames it to VERSION last, when the
 * volume exists and holds every shard's first entry. So a directory with
 * VERSION.new and without VERSION never took an event, and founding begins
 * anew. A volume/ with neither is somebody's data without its label: refused. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Formats: 1 the first; 2 has rows of groups, committed offsets and producers
 * (volume command 5, state kinds from 16). An older directory is relabelled when
 * it is opened, before anything of the new format is written. */
enum { STORE_DIR_VERSION = 2 };

struct store_dir {
	char *path;
	char *volume;		/* path/volume */
	int fd;			/* of the directory, -1: none */
	int lock_fd;		/* -1: not held */
	bool is_founding;	/* VERSION is not there yet */
	bool was_unclean;
	uint8_t cluster_uuid[16];
	uint8_t store_uuid[16];
	uint64_t node_id;
	uint32_t shards;
	uint32_t version;	/* as found */
};

/* Locks the directory and reads or makes its identity (node_id and shards: for a
 * new one; node_id 0 = any). Errors, each with one line: ERR_IN_USE, ERR_VERSION,
 * ERR_CORRUPT, ERR_INVALID (not a directory, another node's), ERR_FULL, ERR_IO. */
enum err store_dir_open(const char *path, uint64_t node_id, uint32_t shards,
			struct store_dir *out, struct err_detail *d) MUST_CHECK;
/* The last step of founding; nothing when it was done before. */
enum err store_dir_founded(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
/* Says that this stop was orderly. */
enum err store_dir_mark_clean(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
/* Puts volume/state aside as volume/state.damaged. */
enum err store_dir_move_state(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
void store_dir_close(struct store_dir *dir);	/* gives the lock back */

#endif
