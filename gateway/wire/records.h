#ifndef GATEWAY_WIRE_RECORDS_H
#define GATEWAY_WIRE_RECORDS_H

/* Records of Kafka batches, compressed or not: checked once when they are
 * produced, walked when a reader of another protocol or a search by time needs
 * them. Pure; any thread. The only place that knows gzip, snappy, lz4, zstd. */

#include "base/batch.h"
#include "base/budget.h"

enum records_codec {
	RECORDS_NONE = 0,
	RECORDS_GZIP = 1,
	RECORDS_SNAPPY = 2,	/* raw, or with xerial's framing */
	RECORDS_LZ4 = 3,	/* frame format */
	RECORDS_ZSTD = 4,
};
enum {
	RECORDS_CODEC_MASK = 7,
	RECORDS_LOG_APPEND_TIME = 1 << 3,
	RECORDS_TRANSACTIONAL = 1 << 4,
	RECORDS_CONTROL = 1 << 5,
	RECORDS_DELETE_HORIZON = 1 << 6,
	/* A batch unpacks at most to this where it is read again: the greatest value
	 * of --max-inflated-bytes. */
	RECORDS_INFLATED_MAX = 1 << 30,
	/* One record, unpacked: what a reader of any protocol can be given as one
	 * message. */
	RECORDS_RECORD_MAX = 15 << 20,
	/* Unpacking works in pieces of this size (snappy: in a whole block, which
	 * is why its memory comes from the budget). */
	RECORDS_PIECE = 64 << 10,
};

/* A byte stream that unpacks as it is read. Owned by one thread. */
struct inflate;
/* `in` is borrowed until the end. `max`: unpacked bytes, beyond it ERR_TOO_LARGE.
 * `memory`: working memory beyond about 256 KiB (snappy blocks, zstd windows) is
 * reserved there first, else ERR_BUSY, or ERR_TOO_LARGE when that budget could
 * never give it; NULL: not counted. ERR_DECODE: unknown
 * codec or damaged stream; ERR_NOMEM. */
enum err inflate_new(enum records_codec codec, struct span in, size_t max, struct budget *memory,
		     struct inflate **out) MUST_CHECK;
/* Up to `n` bytes; *got 0: the end, of which nothing is left over in `in`. Errors
 * as above, and final. */
enum err inflate_read(struct inflate *i, uint8_t *p, size_t n, size_t *got) MUST_CHECK;
void inflate_free(struct inflate **i);
/* For tests and clients: packs. ERR_INVALID: unknown codec. */
enum err deflate_all(enum records_codec codec, struct span in, struct str *out) MUST_CHECK;

/* ---- checking what a producer sent ----------------------------------------- */

struct records_check {
	size_t max_batch_bytes;		/* larger: ERR_TOO_LARGE */
	size_t max_inflated_bytes;	/* --max-inflated-bytes */
	struct budget *memory;		/* see inflate_new */
	bool allow_zstd;		/* Produce 7 and later */
	bool needs_keys;		/* a record without key: RECORDS_INVALID */
	int32_t *keyless;		/* then set to that record's ordinal; NULL: not told */
};
/* Why a batch is refused, in Kafka's terms. */
enum records_verdict {
	RECORDS_OK = 0,
	RECORDS_CORRUPT = 2,		/* CRC, length, shorter than a head */
	RECORDS_TOO_LARGE = 10,		/* the batch, what it unpacks to, or one record of it */
	RECORDS_BAD_TIME = 32,		/* log append time claimed by a producer */
	RECORDS_IN_TRANSACTION = 48,	/* transactional bit */
	RECORDS_BUSY = 19,		/* no memory at present: try again */
	RECORDS_NO_ZSTD = 76,
	RECORDS_INVALID = 87,
};
/* `records` is the whole records field of one partition: exactly one batch of
 * magic 2. Checks in Kafka's order (kafka.md 3.3): one batch, base offset 0,
 * size, CRC, attributes (unknown codec, control, transactional, delete horizon
 * and reserved bits), count > 0 and = last offset delta + 1, producer id with
 * sequence; then walks the records once in bounded memory: lengths, deltas 0..n-1,
 * record attributes 0, header counts and lengths, count, nothing left over, the
 * real maximum timestamp. *head gets the head as claimed; *max_timestamp the
 * real maximum; *inflated the unpacked bytes. The detail names the field and
 * the record. */
enum records_verdict records_check(struct span records, const struct records_check *rules,
				   struct batch_head *head, int64_t *max_timestamp,
				   size_t *inflated, struct err_detail *d) MUST_CHECK;

/* ---- walking what is stored -------------------------------------------------- */

/* As struct batch_iter, for any codec: a record's spans stay valid until the next
 * call. Owned by one thread. */
struct records_iter;
/* `batch` is one stored batch, borrowed until records_iter_free. Timestamps are
 * the batch's maximum where it says log append time. ERR_DECODE, ERR_NOMEM,
 * ERR_BUSY (budget). */
enum err records_iter_new(struct span batch, size_t max_inflated, struct budget *memory,
			  struct records_iter **out) MUST_CHECK;
/* ERR_OK with a record, ERR_EOF after the last, ERR_DECODE, ERR_TOO_LARGE,
 * ERR_NOMEM, ERR_BUSY. Errors are final: to try again, begin anew. */
enum err records_iter_next(struct records_iter *it, struct batch_record *out) MUST_CHECK;
void records_iter_free(struct records_iter **it);

#endif
