#ifndef BASE_BATCH_H
#define BASE_BATCH_H

/* RecordBatch v2: the unit that is stored and read, by whatever protocol it
 * came (Kafka protocol, "RecordBatch"; 61-byte head, big-endian):
 *
 *   0 i64 base offset          patched when the leader proposes
 *   8 i32 length after here    total - 12
 *  12 i32 leader epoch         0
 *  16 i8  magic                2
 *  17 u32 CRC-32C of 21..end
 *  21 i16 attributes           bits 0-2 codec, 3 append time, 4 txn, 5 control
 *  23 i32 last offset delta
 *  27 i64 base timestamp
 *  35 i64 max timestamp
 *  43 i64 producer id          -1
 *  51 i16 producer epoch       -1
 *  53 i32 base sequence        -1
 *  57 i32 record count
 *  61     records
 *
 * A record: varint length, i8 attributes, varlong timestamp delta, varint
 * offset delta, varint key length (-1 null), key, varint value length, value,
 * varint header count, headers. Events that came by AMQP or HTTPS have a null
 * key, no headers, and as value their AMQP sections verbatim. */

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
	BATCH_HEAD = 61,
	/* A record around a value, at most: 5 length + 1 + 1 + 5 delta + 1 key + 5 value length + 1. */
	BATCH_RECORD_MAX = 19,
};

/* What a record's value is. Kept beside each stored batch. */
enum batch_encoding {
	BATCH_AMQP = 1,		/* AMQP sections */
	BATCH_KAFKA = 2,	/* a Kafka producer's own batch */
};

struct batch_head {
	int64_t base_offset;
	uint32_t total;		/* whole batch in bytes, head included */
	uint32_t crc;
	uint16_t attributes;
	int32_t last_offset_delta;
	int64_t base_timestamp;
	int64_t max_timestamp;
	int64_t producer_id;
	int16_t producer_epoch;
	int32_t base_sequence;
	int32_t count;
};

/* Reads the head of the batch at the start of `s`, which may be longer.
 * ERR_DECODE: too short, wrong magic, impossible length or count. The CRC is
 * not checked. */
enum err batch_head_read(struct span s, struct batch_head *out) MUST_CHECK;
/* ERR_CORRUPT unless `batch` is exactly one batch with a right CRC. */
enum err batch_check(struct span batch) MUST_CHECK;

/* Sets base and max timestamp and recomputes the CRC. `batch` is whole. */
void batch_seal(uint8_t *batch, size_t n, int64_t timestamp_ms);
/* Sets the base offset and leader epoch 0 (outside the CRC). */
void batch_place(uint8_t *batch, int64_t base_offset);

/* ---- building -------------------------------------------------------- */

/* Collects records into one growing buffer. Sticky: after a failure `err` is
 * set (ERR_NOMEM, or ERR_TOO_LARGE past `max` bytes) and adding does nothing. */
struct batch_builder {
	struct buf *buf;
	size_t max;
	int32_t count;
	enum err err;
};

/* `hint` is the expected size of all values in bytes. */
void batch_builder_init(struct batch_builder *b, size_t hint, size_t max);
/* One record: null key, no headers, value = the parts one after another. */
void batch_builder_add(struct batch_builder *b, const struct span *parts, size_t n_parts);
/* The values of another uncompressed batch whose records have neither keys nor
 * headers (BATCH_AMQP), with new offset deltas. */
void batch_builder_merge(struct batch_builder *b, struct span batch);
/* Gives the finished, unsealed batch (takes: the builder is empty afterwards).
 * ERR_INVALID when nothing was added. */
enum err batch_builder_finish(struct batch_builder *b, struct buf **out) MUST_CHECK;
void batch_builder_fini(struct batch_builder *b);	/* drops what was not finished */

/* ---- walking --------------------------------------------------------- */

struct batch_record {
	int64_t timestamp;
	int32_t offset_delta;
	bool has_key;
	struct span key;
	bool has_value;
	struct span value;
	int32_t header_count;
	struct span headers;	/* encoded as on the wire */
};

/* Walks an uncompressed batch; everything borrows from it. */
struct batch_iter {
	struct rd rd;
	int64_t base_timestamp;
	int32_t left;
};
enum err batch_iter_init(struct batch_iter *it, struct span batch) MUST_CHECK;
/* ERR_OK with a record, ERR_EOF after the last, ERR_DECODE. */
enum err batch_iter_next(struct batch_iter *it, struct batch_record *out) MUST_CHECK;

#endif
