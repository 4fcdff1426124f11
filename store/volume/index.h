#ifndef STORE_VOLUME_INDEX_H
#define STORE_VOLUME_INDEX_H

/* The index of one segment in memory: for each partition one row per entry that
 * holds batches of it, for each shard one row per raft index. Every segment has
 * one until it is sealed; then its .idx file takes over (idx.h).
 *
 * No locking of its own: the volume's lock guards it while the segment is being
 * written; once closed to appends it does not change. */

#include "store/volume/record.h"

struct index_row {
	int64_t base_seq;
	int64_t next_seq;
	uint64_t log_no;
	int64_t append_first_ms;
	int64_t append_last_ms;
	int64_t max_timestamp_ms;
	/* The greatest of this row and those before it in the segment; only in
	 * memory, a row of an .idx repeats its own. */
	int64_t greatest_ms;
	uint32_t bytes;		/* payloads of the partition in the entry */
};

struct index_part {
	struct store_part part;
	uint32_t shard;
	struct index_row *rows;
	size_t n;
	size_t cap;
};

struct index_raft {
	uint64_t index;
	uint64_t term;
	uint64_t log_no;
	bool has_commands;	/* other than batches: replay must read it */
};

struct index_shard {
	struct volume_hard_state hard;
	bool has_hard;
	struct index_raft *rows;
	size_t n;
	size_t cap;
};

struct index {
	struct index_part **parts;	/* in order of appearance */
	size_t n_parts;
	size_t cap_parts;
	uint32_t *slots;		/* hash table: position in parts + 1, 0 = empty */
	size_t n_slots;			/* a power of two, 0 at first */
	struct index_shard *shards;
	uint32_t n_shards;
};

/* What a search looks for: the first row that reaches past a sequence number
 * (next_seq > key), with an append time of `key` or later, or with a record
 * timestamp of `key` or later. Rows rise by the first two, not by the third. */
enum index_by { INDEX_BY_SEQ, INDEX_BY_APPEND_TIME, INDEX_BY_TIMESTAMP };
struct index_query {
	enum index_by by;
	int64_t key;
};
/* In memory; true from the first match on for each row that follows. */
static inline bool index_row_matches(const struct index_query *q, const struct index_row *row)
{
	switch (q->by) {
	case INDEX_BY_SEQ:
		return row->next_seq > q->key;
	case INDEX_BY_APPEND_TIME:
		return row->append_last_ms >= q->key;
	case INDEX_BY_TIMESTAMP:
		return row->greatest_ms >= q->key;
	}
	return false;
}

struct index *index_new(uint32_t n_shards);	/* NULL: no memory */
void index_free(struct index **ix);

/* Adds a command of kind VOLUME_BATCH. ERR_NOMEM, ERR_CORRUPT: it lies before
 * the partition's end. */
enum err index_add_batch(struct index *ix, uint32_t shard, uint64_t log_no,
			 const struct volume_command *c) MUST_CHECK;
/* ERR_CORRUPT: not the successor of the shard's last index in this segment. */
enum err index_add_raft(struct index *ix, uint32_t shard, const struct index_raft *row) MUST_CHECK;
void index_set_hard_state(struct index *ix, const struct volume_hard_state *h);
/* Drops the shard's entries with raft index >= from, and their batches. */
void index_truncate(struct index *ix, uint32_t shard, uint64_t from);

/* NULL: none here, or all its rows were dropped. */
struct index_part *index_part_find(const struct index *ix, struct store_part part);
/* Up to `max` rows from the first that matches; the number copied. */
size_t index_rows(const struct index *ix, struct store_part part, const struct index_query *q,
		  struct index_row *out, size_t max);

uint32_t index_hash(struct store_part part);

#endif
