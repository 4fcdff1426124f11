#ifndef STORE_VOLUME_MANIFEST_H
#define STORE_VOLUME_MANIFEST_H

/* Which segments a volume has, so that one that is missing is told from one that
 * was removed. Text in the volume's directory, twice (MANIFEST, MANIFEST.copy):
 *
 *   sluice-manifest 1
 *   store=<uuid>
 *   generation=<n>     rises by one with each write
 *   next-cleaned=<n>   number of the next cleaned segment; never reused
 *   base=<n>           log segments from here on are a dense chain and not listed
 *   complete=<0|1>     1: what is listed is all there is, no active segment follows
 *                      (a restored directory before its first start)
 *   log=<a>-<b>        log segments below base that are there; rising, repeated
 *   cleaned=<a>-<b>    cleaned segments that are there; rising, repeated
 *   crc=<8 hex>        CRC-32C of everything before this line
 *
 * Each write goes to temporary names, which are synced; then each is renamed and the
 * directory synced, first MANIFEST, then the copy. Files that a write gave up are removed only when both
 * are durable, so either copy describes a state that is on the disk. Of two sound ones
 * the later generation counts; one that is damaged or missing is made anew. */

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct manifest_range {
	uint64_t first;
	uint64_t last;
};
struct manifest_ranges {
	struct manifest_range *v;	/* rising, not touching */
	size_t n;
	size_t cap;
};

struct manifest {
	uint8_t store_uuid[16];
	uint64_t generation;
	uint64_t next_cleaned;
	uint64_t base;
	bool is_complete;
	struct manifest_ranges log;
	struct manifest_ranges cleaned;
};

void manifest_fini(struct manifest *m);
/* ERR_NOMEM. `number` is greater than any there. */
enum err manifest_add(struct manifest_ranges *r, uint64_t number) MUST_CHECK;
bool manifest_has(const struct manifest_ranges *r, uint64_t number);

/* Pure: text and back. ERR_CORRUPT with a detail, ERR_VERSION, ERR_NOMEM. */
enum err manifest_print(const struct manifest *m, struct str *out) MUST_CHECK;
enum err manifest_parse(struct span text, struct manifest *out, struct err_detail *d) MUST_CHECK;

/* ERR_NOT_FOUND: there is neither. ERR_CORRUPT: none is sound. *is_whole: both are
 * sound and the same. The rest: ERR_IO, ERR_VERSION, ERR_NOMEM. */
enum err manifest_read(const char *volume_dir, struct manifest *out, bool *is_whole,
		       struct err_detail *d) MUST_CHECK;
/* Both files, durable when it returns ERR_OK. ERR_FULL, ERR_NOMEM: both are as before,
 * for both are written and synced before either is renamed. ERR_IO is never retried. */
enum err manifest_write(const char *volume_dir, const struct manifest *m,
			struct err_detail *d) MUST_CHECK;
/* Removes what an interrupted write left under a temporary name. */
void manifest_clear_tmp(const char *volume_dir);

#endif
