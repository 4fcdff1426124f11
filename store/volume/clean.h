#ifndef STORE_VOLUME_CLEAN_H
#define STORE_VOLUME_CLEAN_H

/* The cleaner's own view. Its thread alone takes sealed segments away and puts cleaned
 * ones in their place:
 *
 *   dead      segments without extents go (clean.c)
 *   cleaning  what lives in segments of less than half live bytes is copied into a new
 *             one, and small ones are joined (clean_plan.c chooses, clean_copy.c copies)
 *   compacting the newest event of each key is copied (compact.c chooses, compact_mark.c
 *             decides, compact_write.c copies)
 *
 * The new segment is written by clean_out.c and put in place by cleaner_install. What
 * cannot be read soundly is never given up: its segment is kept as it is. */

#include "store/volume/keymap.h"
#include "store/volume/volume_priv.h"

struct cleaner {
	struct volume *volume;
	int64_t due_ns;			/* nothing is to be copied before */
	int64_t compact_ns;		/* nor partitions looked through before */
	bool must_end;			/* a write or sync failed: the process ends */
	uint8_t secret[KEYMAP_SECRET];
};

/* ---- clean.c ---------------------------------------------------------------- */

void cleaner_begin(struct cleaner *c, struct volume *v);
/* Does what there is to do. ERR_STOPPING; ERR_FULL, ERR_NOMEM and the like: the rest is
 * for another time, unless must_end. */
enum err cleaner_round(struct cleaner *c, struct err_detail *d) MUST_CHECK;
/* Removes the segments without extents. Nothing the caller knows of segments counts after
 * it. As cleaner_round. */
enum err cleaner_remove_dead(struct cleaner *c, struct err_detail *d) MUST_CHECK;
/* Bytes were read or copied: waits until the rate allows more. ERR_STOPPING. */
enum err cleaner_pace(struct cleaner *c, uint64_t bytes) MUST_CHECK;
/* Waits while there are pins. ERR_STOPPING. */
enum err cleaner_wait_pins(struct cleaner *c) MUST_CHECK;
/* What was to be copied from the segment could not be read: it is left alone from now on
 * (ERR_CORRUPT). Other errors, and one of writing, are given back as they are. */
enum err cleaner_read_failed(struct cleaner *c, struct segment *s, enum err e) MUST_CHECK;
/* As volume_raise_log_start. ERR_CORRUPT: what of the segments cannot be read is kept, or
 * an index was made anew; to be planned again. */
enum err cleaner_raise(struct cleaner *c, struct segment *const *gone, size_t n_gone,
		       struct err_detail *d) MUST_CHECK;
/* Whether the cleaner may read the segment and take what is in it elsewhere. */
bool cleaner_may_read_locked(const struct segment *s);

/* ---- an extent and its batches (clean_read.c) ---------------------------------- */

/* A table_extent, and what is known of its partition. */
struct clean_extent {
	struct store_part part;
	uint32_t shard;
	struct segment *source;
	int64_t first_seq;
	int64_t end_seq;
	int64_t start_seq;		/* of the partition; a batch wholly below is dead */
	int64_t last_append_ms;
	int64_t max_timestamp_ms;
	uint64_t bytes;
	uint32_t flags;			/* COVER_ */
	uint32_t cover;			/* in which it goes */
	uint64_t seen;			/* payload met */
};
void clean_extent_of(const struct volume *v, const struct table_part *p,
		     const struct table_extent *x, struct clean_extent *out);

/* Calls fn for each row of the extent in its segment, which the caller holds. ERR_CORRUPT
 * when the rows are not those of the extent, all of them, and making the .idx anew did not
 * help. */
typedef enum err clean_row_fn(void *arg, const struct index_row *row);
enum err clean_rows(const struct clean_extent *x, clean_row_fn *fn, void *arg,
		    struct err_detail *d) MUST_CHECK;
/* Calls fn for each batch of a record of a held segment, checksums verified where
 * `wants(arg, part)`; the batch borrows. ERR_CORRUPT: damaged, which is logged. *bytes:
 * size of the record. */
typedef enum err clean_batch_fn(void *arg, uint32_t shard, const struct volume_command *c);
typedef bool clean_wants_fn(void *arg, struct store_part part);
enum err clean_batches(struct segment *s, uint64_t log_no, clean_wants_fn *wants,
		       clean_batch_fn *fn, void *arg, uint64_t *bytes) MUST_CHECK;

/* ---- the new segment (clean_out.c) ---------------------------------------------- */

struct clean_pack;
struct clean_out {
	struct cleaner *cleaner;
	struct segment *segment;
	MDB_txn *txn;			/* NULL: none is open */
	uint64_t txn_bytes;
	uint64_t next_log_no;
	struct clean_pack *packs;	/* one per shard: batches of the next record */
	uint64_t packed;		/* bytes in all of them */
	uint64_t bytes;			/* payload written or packed */
};

/* Begins the file with its covers. About `likely` bytes will go into it, for which the
 * disk must have space, never more than `most`. */
enum err clean_out_begin(struct clean_out *out, struct cleaner *c, const struct idx_covers *covers,
			 uint64_t likely, uint64_t most, struct err_detail *d) MUST_CHECK;
/* Copies the batch; those of a partition come in order. */
enum err clean_out_add(struct clean_out *out, uint32_t shard, const struct volume_command *batch,
		       struct err_detail *d) MUST_CHECK;
/* Completes and syncs both files. bytes[i]: payload under cover i. After an error (never
 * ERR_CORRUPT) only clean_out_abandon is left. */
enum err clean_out_finish(struct clean_out *out, const struct idx_covers *covers, uint64_t *bytes,
			  struct err_detail *d) MUST_CHECK;
/* The segment is the volume's now: frees the rest. */
void clean_out_done(struct clean_out *out);
/* Removes the files, unless the process ends (must_end), and frees. A clean_out that was
 * zeroed or done is left alone. */
void clean_out_abandon(struct clean_out *out);
/* Puts what clean_out_finish made in place. `gone` as in segment_replace. */
enum err cleaner_install(struct cleaner *c, struct clean_out *out, const struct idx_covers *covers,
			 const uint64_t *bytes, struct segment *const *gone, size_t n_gone,
			 struct err_detail *d) MUST_CHECK;

/* ---- clean_plan.c ----------------------------------------------------------------- */

/* Some segments whose extents go into one new segment. */
struct clean_plan {
	struct segment **sources;	/* in the order in which they are copied */
	size_t n_sources;
	struct clean_extent *extents;	/* by source, then by partition */
	size_t n_extents;
	struct record_cover *covers;	/* by partition */
	size_t n_covers;
	uint64_t file_bytes;		/* of the sources */
};
/* The next there is to do; n_sources 0: nothing. ERR_NOMEM. */
enum err clean_plan_make(struct cleaner *c, struct clean_plan *plan, struct err_detail *d) MUST_CHECK;
void clean_plan_fini(struct clean_plan *plan);

/* ---- clean_copy.c ------------------------------------------------------------------- */

/* ERR_CORRUPT: a source was kept, the rest can be planned anew. After any error nothing
 * has changed. */
enum err clean_plan_run(struct cleaner *c, struct clean_plan *plan, struct err_detail *d) MUST_CHECK;

/* ---- compact.c ------------------------------------------------------------------------ */

/* Compacts every partition that is due once. Errors as clean_plan_run. */
enum err compact_round(struct cleaner *c, struct err_detail *d) MUST_CHECK;

#endif
