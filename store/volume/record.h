#ifndef STORE_VOLUME_RECORD_H
#define STORE_VOLUME_RECORD_H

/* Records of the log as bytes; their layout stands in volume.h. What follows
 * the 48 bytes common to all kinds, inside the head and so under its CRC:
 *
 *   entry         descriptors and keys; the payloads follow the head
 *   hard state    u64 vote, u64 log start (shard and term stand in the head)
 *   truncation    nothing; the head's raft index is the first one dropped
 *   segment head  u64 segment number, 16 bytes store UUID, 16 bytes segment
 *                 UUID, u32 number of shards, u32 reserved 0
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
};

enum {
	RECORD_VERSION = 1,
	RECORD_HEAD = 48,
	RECORD_DESCRIPTOR = 60,
	RECORD_HARD_STATE_SIZE = RECORD_HEAD + 8 + 8,
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

/* The commands of an entry; key and payload borrow from the record. */
struct record_command {
	struct volume_command command;
	uint32_t crc;
};
struct record_iter {
	struct span bytes;
	struct rd rd;
	uint32_t left;
	uint32_t payload_at;	/* where the next payload must begin */
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
};
enum err record_segment_read(const struct record *r, struct record_segment *out) MUST_CHECK;

/* Write a record into `out`, which has exactly its size: volume_entry_size,
 * RECORD_HARD_STATE_SIZE, RECORD_SEGMENT_HEAD_SIZE, RECORD_HEAD. */
void record_write_entry(const struct volume_entry *e, uint64_t log_no, uint8_t *out, size_t size);
void record_write_hard_state(const struct volume_hard_state *h, uint64_t log_no, uint8_t *out);
void record_write_segment(const struct record_segment *s, uint64_t log_no, uint8_t *out);
void record_write_truncation(uint32_t shard, uint64_t from_index, uint64_t log_no, uint8_t *out);

#endif
