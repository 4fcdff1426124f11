#ifndef STORE_VOLUME_COMPACT_H
#define STORE_VOLUME_COMPACT_H

/* Compaction of one partition: a pass over its sealed extents from the first on.
 *
 * The map holds the newest sequence number of each key in the extents that no pass has
 * handled yet (dirty); a record anywhere in the pass with an older one is dropped. When
 * the keys do not fit, the pass ends before the extent whose keys were too many; when
 * already the first dirty one has too many, the keys are divided into slices by their
 * hash, and everything is walked once for each slice.
 *
 * A tombstone is dropped when it is old enough and an earlier pass has handled its
 * extent and all before it: then nothing older of its key is left. So a pass always
 * begins with the partition's first extent, and ends before one that cannot be read. */

#include "store/volume/clean.h"

struct compact_key {
	struct keymap_hash hash;
	int32_t delta;
	bool has_key;
	bool is_tombstone;
};

struct compact_pass {
	struct cleaner *cleaner;
	struct store_part part;
	struct clean_extent *extents;	/* own */
	size_t n;
	size_t n_clean;			/* so many of the first are not dirty */
	int64_t last_seq;		/* the partition's newest record: it stays */
	int64_t due_ms;			/* tombstones appended until then may go */
	struct keymap map;
	bool is_mapped;
	uint64_t slices;		/* a power of two */
	uint64_t slice;
	struct compact_key *keys;	/* of one batch */
	size_t n_keys;
	size_t cap_keys;
};

/* Some extents of a pass that go into one cover. */
struct compact_window {
	struct clean_extent *extents;	/* own */
	size_t n;
	uint8_t *drop;			/* a bit for each record, in order */
	size_t cap_drop;
	uint64_t n_records;
	uint64_t n_dropped;
	struct record_cover cover;
	bool is_changed;		/* else it is well as it is */
};
void compact_window_fini(struct compact_window *w);

/* ---- compact_mark.c ------------------------------------------------------------ */

/* Calls fn for each batch of the partition in the extents, in order, checksums verified
 * and nothing missing. `at` counts the records before it in this walk, `n` its own.
 * ERR_CORRUPT: damaged, the segment is kept. */
struct compact_batch {
	const struct clean_extent *extent;
	const struct volume_command *command;
	uint64_t at;
	uint32_t n;
};
typedef enum err compact_batch_fn(void *arg, const struct compact_batch *b);
enum err compact_walk(struct cleaner *c, struct clean_extent *extents, size_t n,
		      compact_batch_fn *fn, void *arg, struct err_detail *d) MUST_CHECK;
/* Fills the map from the dirty extents; the pass may become shorter. */
enum err compact_map(struct compact_pass *p, struct err_detail *d) MUST_CHECK;
/* Decides what is dropped of the window's extents, which the caller has set. */
enum err compact_mark(struct compact_pass *p, struct compact_window *w,
		      struct err_detail *d) MUST_CHECK;
static inline bool compact_is_dropped(const struct compact_window *w, uint64_t at)
{
	return (w->drop[at / 8] >> at % 8 & 1) != 0;
}

/* ---- compact_write.c ------------------------------------------------------------- */

/* Writes marked windows, each of another partition, into one segment and puts it in its
 * place. */
enum err compact_write(struct cleaner *c, struct compact_window *windows, size_t n,
		       struct err_detail *d) MUST_CHECK;

#endif
