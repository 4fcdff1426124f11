#ifndef STORE_VOLUME_RECORD_H
#define STORE_VOLUME_RECORD_H

/* Records of the log as bytes; their layout stands in volume.h. What follows
 * the 48 bytes common to all kinds, inside the head and so under its CRC:
 *
 *   entry         descriptors and keys; the payloads follow the head
 *   hard state    u64 vote, u64 log start (shard and term stand in the head)
 *                 and u64 start term, which older records lack (0)
 *   truncation    nothing; the head's raft index is the first one dropped
 *   segment head  u64 segment number, 16 bytes store UUID, 16 bytes segment
 *                 UUID, u32 number of shards, u32 kind (0 log, 1 cleaned)
 *   batches       as an entry, batches of one shard only; term and index 0
 *   covers        u32 number, then of each cover (struct record_cover) u32 hub,
 *                 partition, shard, flags, i64 first seq, end seq, last append
 *                 time, max timestamp; sorted by hub, partition
 *
 * To change the format: raise RECORD_VERSION, keep reading the older ones.
 * Pure functions, any thread. */

#include "base/limits.h"
#include "store/volume/volume.h"

enum record_kind {
	RECORD_ENTRY = 1,
	RECORD_HARD_STATE = 2,
	RECORD_TRUNCATION = 3,
	RECORD_SEGMENT_HEAD = 4,
	RECORD_BATCHES = 5,
	RECORD_COVERS = 6,
};

enum {
	RECORD_VERSION = 1,
	RECORD_HEAD = 48,
	RECORD_DESCRIPTOR = 60,
	RECORD_HARD_STATE_SIZE = RECORD_HEAD + 8 + 8 + 8,
	RECORD_HARD_STATE_OLD = RECORD_HEAD + 8 + 8,	/* format 2 of the directory */
	RECORD_COVER = 4 * 4 + 4 * 8,
	RECORD_COVERS_MAX = (LIMIT_ENTRY - RECORD_HEAD - 4) / RECORD_COVER,
	RECORD_SEGMENT_HEAD_SIZE = RECORD_HEAD + 8 + 16 + 16 + 4 + 4,
	/* A record without any command, and more commands than this, cannot be. */
	RECORD_COMMANDS_MAX = (LIMIT_ENTRY - RECORD_HEAD) / RECORD_DESCRIPTOR,
};

/* A decoded head. `bytes` borrows the whole record. */
struct record {
	struct span bytes;
	enum record_kind kind;
	uint32_t head_len;
	uint32_t shard;
	uint64_t term;
	uint64_t index;
	uint64_t log_no;
	uint32_t n_commands;
};

/* Checks the head and its CRC. ERR_CORRUPT; ERR_VERSION when the head is right
 * but of a later format. */
enum err record_read(struct span bytes, struct record *out) MUST_CHECK;

/* The commands of an entry or of batches; key and payload borrow from the record. */
struct record_command {
	struct volume_command command;
	uint32_t crc;
};
struct record_iter {
	struct span bytes;
	struct rd rd;
	uint32_t left;
	uint32_t payload_at;	/* where the next payload must begin */
	bool batches_only;
};
void record_commands(const struct record *r, struct record_iter *it);
/* ERR_OK, ERR_EOF after the last (everything is then accounted for), ERR_CORRUPT. */
enum err record_next(struct record_iter *it, struct record_command *out) MUST_CHECK;
/* The payload's checksum, and a batch's head against its descriptor. */
enum err record_payload_check(const struct record_command *c) MUST_CHECK;
/* Every command's head and payload. */
enum err record_check(const struct record *r) MUST_CHECK;

enum err record_hard_state_read(const struct record *r, struct volume_hard_state *out) MUST_CHECK;
struct record_segment {
	uint64_t number;
	uint8_t store_uuid[16];
	uint8_t segment_uuid[16];
	uint32_t shards;
	bool is_cleaned;
};

/* A cleaned segment stands for all events of a partition in [first_seq, end_seq):
 * those it does not hold are gone. Log segments have none. */
enum {
	COVER_COMPACTED = 1,	/* of each key in it nothing older is left, here or before it */
	COVER_TOMBSTONES = 2,	/* tombstones are among it, which end some day */
	COVER_FLAGS = 3,
};
struct record_cover {
	struct store_part part;
	uint32_t shard;
	uint32_t flags;
	int64_t first_seq;
	int64_t end_seq;
	int64_t last_append_ms;		/* of what was there */
	int64_t max_timestamp_ms;	/* of what is left; INT64_MIN: nothing */
};
enum err record_segment_read(const struct record *r, struct record_segment *out) MUST_CHECK;
/* Checks all covers, sorted and each partition once, and tells their number. ERR_CORRUPT. */
enum err record_covers_read(const struct record *r, uint32_t *n) MUST_CHECK;
/* Number i of those that record_covers_read found sound. */
void record_cover_at(const struct record *r, uint32_t i, struct record_cover *out);
static inline size_t record_covers_size(uint32_t n)
{
	return RECORD_HEAD + 4 + (size_t)n * RECORD_COVER;
}

/* Write a record into `out`, which has exactly its size: volume_entry_size (entry and
 * batches), RECORD_HARD_STATE_SIZE, RECORD_SEGMENT_HEAD_SIZE, record_covers_size,
 * RECORD_HEAD. */
void record_write_entry(const struct volume_entry *e, uint64_t log_no, uint8_t *out, size_t size);
void record_write_batches(uint32_t shard, const struct volume_command *commands, uint32_t n,
			  uint64_t log_no, uint8_t *out, size_t size);
void record_write_covers(const struct record_cover *covers, uint32_t n, uint64_t log_no,
			 uint8_t *out);
void record_write_hard_state(const struct volume_hard_state *h, uint64_t log_no, uint8_t *out);
void record_write_segment(const struct record_segment *s, uint64_t log_no, uint8_t *out);
void record_write_truncation(uint32_t shard, uint64_t from_index, uint64_t log_no, uint8_t *out);

#endif
