#ifndef STORE_TYPES_H
#define STORE_TYPES_H

/* Words shared by the folders of the store and by its callers. */

#include <stdint.h>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/mailbox.h"

/* A hub id is never reused, so (hub id, partition) names one log for ever. */
struct store_part {
	uint32_t hub_id;
	uint32_t partition;
};

static inline uint64_t store_part_key(struct store_part p)
{
	return (uint64_t)p.hub_id << 32 | p.partition;
}

/* One stored batch, given to a reader. Spans borrow from `buf`, on which this
 * holds a reference. */
struct store_batch {
	struct buf *buf;
	struct span batch;	/* RecordBatch v2, base offset in place */
	struct span key;	/* partition key common to the batch, n = 0: none */
	int64_t base_seq;
	int32_t count;
	enum batch_encoding encoding;
	int64_t append_ms;	/* enqueued time of all its events */
};

/* How the records of a batch are told apart, given by who knows what is in them:
 * the store itself does not. Pure functions, any thread. `key` is the partition
 * key common to the batch (n = 0: none). */
struct store_compact_record {
	bool has_key;		/* false: never superseded */
	bool is_tombstone;	/* has a key and no content */
	int32_t offset_delta;
	struct span key;	/* borrowed until the function returns */
};
typedef enum err store_compact_fn(void *arg, const struct store_compact_record *r);
struct store_compactor {
	/* Calls fn for each record in order; an error of fn ends it and is returned.
	 * ERR_CORRUPT, ERR_NOMEM. */
	enum err (*walk)(struct span batch, struct span key, enum batch_encoding encoding,
			 store_compact_fn *fn, void *arg);
	/* Appends to `out` the batch with only those of its records whose bit (ordinal i:
	 * keep[i / 8] >> (i % 8) & 1) is set, at least one: offset deltas, timestamps,
	 * base offset, last offset delta, producer fields, codec as before; count is what
	 * remains, the CRC is right. */
	enum err (*rewrite)(struct span batch, enum batch_encoding encoding, const uint8_t *keep,
			    struct str *out);
};

enum { STORE_READ_BATCHES = 64 };	/* of one read, at most */

/* Batches of one partition, oldest first, without gaps but those that
 * compaction or retention made. */
struct store_batches {
	struct store_batch v[STORE_READ_BATCHES];
	uint32_t n;
};

void store_batches_drop(struct store_batches *b);	/* gives up the references; n = 0 */

#endif
