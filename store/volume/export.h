#ifndef STORE_VOLUME_EXPORT_H
#define STORE_VOLUME_EXPORT_H

/* Exports: the whole state, all shards, in one file that is written once and never
 * changed, so that a damaged state is made anew from an export and the log after it.
 * Two are kept; no log after the older one is removed.
 *
 *   export/NNNNNNNNNN.exp, big-endian:
 *   "SLEX", u16 version 1, u16 0, u64 number, 16 bytes store UUID, u32 number of
 *   shards, i64 made at (ms), u32 CRC-32C of these bytes;
 *   for each shard: u32 shard, u64 applied index, u64 term, u64 number of rows, u64
 *   bytes of rows, u32 CRC-32C of the rows and then these 36 bytes; then the rows: u8
 *   kind, u16 key length, u32 content length, key, content (all shards are there, in
 *   order; index 0: the state has nothing of it, and there are no rows);
 *   "XLES", u32 CRC-32C of the whole file before this number.
 *
 * Written under a temporary name, synced, renamed, the directory synced. */

#include "store/volume/state.h"

enum { EXPORTS_KEPT = 2 };

struct export_shard {
	uint64_t applied_index;
	uint64_t applied_term;
};

/* What the directory holds, newest first, a sound one before a damaged one when there
 * are more than two; only those whose every byte was checked are `is_sound`. */
struct export_info {
	uint64_t number;	/* 0: none */
	bool is_sound;
	uint64_t size;
	uint32_t crc;		/* of the whole file */
	struct export_shard *shards;	/* own; n_shards of them */
};
struct exports {
	struct export_info v[EXPORTS_KEPT];
	uint32_t n_shards;
	uint64_t last_number;	/* given out; 0: none */
};
/* Checks all there is, removes temporary files and what is older than the two
 * newest sound ones. A damaged one, or one that cannot be read, is logged and
 * counted. ERR_IO, ERR_FULL, ERR_NOMEM. */
enum err exports_open(const char *volume_dir, const uint8_t store_uuid[16], uint32_t n_shards,
		      struct exports *out, struct err_detail *d) MUST_CHECK;
void exports_fini(struct exports *e);

/* Writes the next one from the state as it is committed now (state_dump; the caller
 * owns the state), then removes the oldest beyond two. *out is brought up to date. On
 * ERR_FULL and ERR_NOMEM nothing changed; ERR_IO is never retried. */
enum err export_write(struct exports *e, const char *volume_dir, const uint8_t store_uuid[16],
		      struct state *s, int64_t now_ms, struct err_detail *d) MUST_CHECK;
/* Fills a state from a sound export, in one transaction; what it held is gone. An
 * error leaves it as it was: ERR_CORRUPT (the export), or that of state_commit. */
enum err export_restore(const char *volume_dir, const struct export_info *x, struct state *s,
			struct err_detail *d) MUST_CHECK;
/* Checks one file. Pure reading; for verify. ERR_CORRUPT with a detail. `shards` may be
 * NULL. */
enum err export_check(const char *path, const uint8_t store_uuid[16], uint32_t n_shards,
		      struct export_shard *shards, uint64_t *size, uint32_t *crc,
		      struct err_detail *d) MUST_CHECK;
/* The raft index up to which the shard's log is not needed by either export: that of
 * the older one; 0 while there are fewer than two sound ones. */
uint64_t exports_floor(const struct exports *e, uint32_t shard);

#endif
