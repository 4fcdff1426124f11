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

enum { STORE_READ_BATCHES = 64 };	/* of one read, at most */

/* Batches of one partition, oldest first, without gaps but those that
 * compaction or retention made. */
struct store_batches {
	struct store_batch v[STORE_READ_BATCHES];
	uint32_t n;
};

void store_batches_drop(struct store_batches *b);	/* gives up the references; n = 0 */

#endif
