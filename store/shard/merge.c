/* Single events that wait for the same commit become one batch. Each comes as a
 * batch of one record (base/batch.h); merged, the records follow one another
 * with new offset deltas under one head. Only what that changes is written
 * anew: the record's length and its offset delta. */

#include "base/limits.h"
#include "store/shard/shard_priv.h"

enum {
	AT_LENGTH = 8,
	AT_ATTRIBUTES = 21,
	AT_LAST_DELTA = 23,
	AT_COUNT = 57,
	LENGTH_EXCLUDES = 12,
	/* Merging may lengthen a record: its offset delta from one byte to three
	 * (below 2^20 records), its length by one more. */
	RECORD_GROWTH = 4,
	LENGTH_BYTES_MAX = 3,	/* of a record of at most SHARD_MERGE_EVENT_MAX */
};

static bool may_merge(const struct store_append *op)
{
	return op->may_merge && op->encoding == BATCH_AMQP && op->events == 1 && op->batch_len <= SHARD_MERGE_EVENT_MAX &&
	       op->batch_len > BATCH_HEAD && op->batch != NULL &&
	       op->batch_len + op->key_len <= op->batch->cap;
}

static bool has_key_of(const struct store_append *a, const struct store_append *b)
{
	return a->key_len == b->key_len &&
	       (a->key_len == 0 || memcmp(a->batch->data + a->batch_len,
					  b->batch->data + b->batch_len, a->key_len) == 0);
}

static size_t grown(const struct store_append *op)
{
	return op->batch_len - BATCH_HEAD + RECORD_GROWTH;
}

uint32_t shard_merge_count(const struct store_append *first, size_t *size)
{
	*size = BATCH_HEAD + first->key_len;
	if (!may_merge(first)) {
		return 1;
	}
	*size += grown(first);
	uint32_t n = 1;
	const struct store_append *op = (const struct store_append *)first->msg.next;
	while (op != NULL && may_merge(op) && op->encoding == first->encoding &&
	       *size + grown(op) <= SHARD_MERGE_MAX && has_key_of(first, op)) {
		*size += grown(op);
		n++;
		op = (const struct store_append *)op->msg.next;
	}
	return n;
}

/* The record of a batch with exactly one, whose length and deltas are in their
 * shortest form: what follows its length, or n = 0. */
static struct span record_of(const struct store_append *op)
{
	const uint8_t *p = op->batch->data;
	const uint8_t *end = p + op->batch_len;
	if (get_u16(p + AT_ATTRIBUTES) != 0 || get_u32(p + AT_COUNT) != 1 ||
	    get_u32(p + AT_LENGTH) + LENGTH_EXCLUDES != op->batch_len) {
		return span_of(NULL, 0);
	}
	p += BATCH_HEAD;
	uint32_t zigzag = 0;
	for (unsigned i = 0; i < LENGTH_BYTES_MAX && p < end; i++) {
		uint8_t b = *p++;
		zigzag |= (uint32_t)(b & 0x7f) << (7 * i);
		if ((b & 0x80) == 0) {
			size_t left = (size_t)(end - p);
			bool is_plain = (zigzag & 1) == 0 && zigzag >> 1 == left && left > 3 &&
					p[1] == 0 && p[2] == 0;
			return span_of(p, is_plain ? left : 0);
		}
	}
	return span_of(NULL, 0);
}

/* Zigzag varint of a small positive number. */
static uint8_t *put_varint(uint8_t *p, uint32_t v)
{
	v <<= 1;
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

static uint32_t varint_size(uint32_t v)
{
	return v < 1U << 6 ? 1 : v < 1U << 13 ? 2 : 3;
}

static uint8_t *put_record(uint8_t *p, struct span record, uint32_t delta)
{
	p = put_varint(p, (uint32_t)record.n - 1 + varint_size(delta));
	*p++ = record.p[0];
	*p++ = 0;
	p = put_varint(p, delta);
	memcpy(p, record.p + 3, record.n - 3);
	return p + record.n - 3;
}

uint32_t shard_merge(const struct store_append *first, uint32_t n, size_t size, struct buf **out,
		     uint32_t *len)
{
	*out = NULL;
	struct buf *b = buf_new(size);
	if (b == NULL) {
		return 0;
	}
	uint8_t *p = b->data + BATCH_HEAD;
	uint32_t done = 0;
	const struct store_append *op = first;
	while (done < n) {
		const struct store_append *next = (const struct store_append *)op->msg.next;
		if (next != NULL) {
			__builtin_prefetch(next->batch->data);
			__builtin_prefetch(next->batch->data + 64);
		}
		struct span record = record_of(op);
		if (record.n == 0) {
			break;
		}
		p = put_record(p, record, done);
		done++;
		op = next;
	}
	if (done < 2) {
		buf_drop(&b);
		return 0;
	}
	*len = (uint32_t)(p - b->data);
	memcpy(b->data, first->batch->data, BATCH_HEAD);
	put_u32(b->data + AT_LENGTH, *len - LENGTH_EXCLUDES);
	put_u32(b->data + AT_LAST_DELTA, done - 1);
	put_u32(b->data + AT_COUNT, done);
	memcpy(p, first->batch->data + first->batch_len, first->key_len);
	b->len = *len + first->key_len;
	assert(b->len <= b->cap);
	*out = b;
	return done;
}
