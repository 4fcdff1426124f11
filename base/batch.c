#include "base/batch.h"

#include <assert.h>
#include <string.h>

#include "base/crc32c.h"

enum {
	AT_LENGTH = 8,
	AT_EPOCH = 12,
	AT_MAGIC = 16,
	AT_CRC = 17,
	AT_ATTRIBUTES = 21,
	AT_LAST_DELTA = 23,
	AT_BASE_TIME = 27,
	AT_MAX_TIME = 35,
	AT_PRODUCER = 43,
	AT_PRODUCER_EPOCH = 51,
	AT_SEQUENCE = 53,
	AT_COUNT = 57,
	LENGTH_EXCLUDES = 12,
	MAGIC_V2 = 2,
};

enum err batch_head_read(struct span s, struct batch_head *out)
{
	if (s.n < BATCH_HEAD || s.p[AT_MAGIC] != MAGIC_V2) {
		return ERR_DECODE;
	}
	uint32_t length = get_u32(s.p + AT_LENGTH);
	if (length > INT32_MAX || length + LENGTH_EXCLUDES < BATCH_HEAD ||
	    length + LENGTH_EXCLUDES > s.n) {
		return ERR_DECODE;
	}
	*out = (struct batch_head){
		.base_offset = (int64_t)get_u64(s.p),
		.total = length + LENGTH_EXCLUDES,
		.crc = get_u32(s.p + AT_CRC),
		.attributes = get_u16(s.p + AT_ATTRIBUTES),
		.last_offset_delta = (int32_t)get_u32(s.p + AT_LAST_DELTA),
		.base_timestamp = (int64_t)get_u64(s.p + AT_BASE_TIME),
		.max_timestamp = (int64_t)get_u64(s.p + AT_MAX_TIME),
		.producer_id = (int64_t)get_u64(s.p + AT_PRODUCER),
		.producer_epoch = (int16_t)get_u16(s.p + AT_PRODUCER_EPOCH),
		.base_sequence = (int32_t)get_u32(s.p + AT_SEQUENCE),
		.count = (int32_t)get_u32(s.p + AT_COUNT),
	};
	if (out->count <= 0 || out->last_offset_delta < 0) {
		return ERR_DECODE;
	}
	return ERR_OK;
}

enum err batch_check(struct span batch)
{
	struct batch_head h;
	if (batch_head_read(batch, &h) != ERR_OK || h.total != batch.n) {
		return ERR_CORRUPT;
	}
	if (crc32c(0, batch.p + AT_ATTRIBUTES, batch.n - AT_ATTRIBUTES) != h.crc) {
		return ERR_CORRUPT;
	}
	return ERR_OK;
}

void batch_seal(uint8_t *batch, size_t n, int64_t timestamp_ms)
{
	assert(n >= BATCH_HEAD);
	put_u64(batch + AT_BASE_TIME, (uint64_t)timestamp_ms);
	put_u64(batch + AT_MAX_TIME, (uint64_t)timestamp_ms);
	put_u32(batch + AT_CRC, crc32c(0, batch + AT_ATTRIBUTES, n - AT_ATTRIBUTES));
}

void batch_place(uint8_t *batch, int64_t base_offset)
{
	put_u64(batch, (uint64_t)base_offset);
	put_u32(batch + AT_EPOCH, 0);
}

void batch_builder_init(struct batch_builder *b, size_t hint, size_t max)
{
	*b = (struct batch_builder){.max = max, .err = ERR_OK};
	size_t cap = BATCH_HEAD + BATCH_RECORD_MAX + hint;
	if (cap > max + BATCH_RECORD_MAX) {
		cap = max + BATCH_RECORD_MAX;
	}
	if (cap < BATCH_HEAD) {
		cap = BATCH_HEAD;
	}
	b->buf = buf_new(cap);
	if (b->buf == NULL) {
		b->err = ERR_NOMEM;
		return;
	}
	b->buf->len = BATCH_HEAD;
}

/* Makes room for `need` more bytes and gives the place, or NULL. */
static uint8_t *room(struct batch_builder *b, size_t need)
{
	if (b->err != ERR_OK) {
		return NULL;
	}
	size_t total = b->buf->len + need;
	if (need > b->max || total > b->max) {
		b->err = ERR_TOO_LARGE;
		return NULL;
	}
	if (total > b->buf->cap) {
		size_t cap = (size_t)b->buf->cap * 2;
		if (cap < total) {
			cap = total;
		}
		struct buf *bigger = buf_new(cap);
		if (bigger == NULL) {
			b->err = ERR_NOMEM;
			return NULL;
		}
		memcpy(bigger->data, b->buf->data, b->buf->len);
		bigger->len = b->buf->len;
		buf_drop(&b->buf);
		b->buf = bigger;
	}
	uint8_t *p = b->buf->data + b->buf->len;
	b->buf->len = (uint32_t)total;
	return p;
}

void batch_builder_add(struct batch_builder *b, const struct span *parts, size_t n_parts)
{
	size_t value = 0;
	for (size_t i = 0; i < n_parts; i++) {
		if (parts[i].n > b->max - value) {
			b->err = b->err != ERR_OK ? b->err : ERR_TOO_LARGE;
			return;
		}
		value += parts[i].n;
	}
	size_t body = 1 + 1 + varlong_size(b->count) + 1 + varlong_size((int64_t)value) + value + 1;
	size_t total = varlong_size((int64_t)body) + body;
	uint8_t *p = room(b, total);
	if (p == NULL) {
		return;
	}
	struct wr w = wr_of(p, total);
	wr_varlong(&w, (int64_t)body);
	wr_u8(&w, 0);
	wr_varlong(&w, 0);
	wr_varlong(&w, b->count);
	wr_varlong(&w, -1);
	wr_varlong(&w, (int64_t)value);
	for (size_t i = 0; i < n_parts; i++) {
		wr_span(&w, parts[i]);
	}
	wr_varlong(&w, 0);
	assert(!w.bad && w.p == w.end);
	b->count++;
}

void batch_builder_merge(struct batch_builder *b, struct span batch)
{
	struct batch_iter it;
	enum err e = batch_iter_init(&it, batch);
	struct batch_record rec;
	while (e == ERR_OK && (e = batch_iter_next(&it, &rec)) == ERR_OK) {
		batch_builder_add(b, &rec.value, 1);
	}
	if (e != ERR_EOF && b->err == ERR_OK) {
		b->err = e;
	}
}

enum err batch_builder_finish(struct batch_builder *b, struct buf **out)
{
	if (b->err == ERR_OK && b->count == 0) {
		b->err = ERR_INVALID;
	}
	if (b->err != ERR_OK) {
		return b->err;
	}
	struct wr w = wr_of(b->buf->data, BATCH_HEAD);
	wr_u64(&w, 0);
	wr_u32(&w, b->buf->len - LENGTH_EXCLUDES);
	wr_u32(&w, 0);
	wr_u8(&w, MAGIC_V2);
	wr_u32(&w, 0);
	wr_u16(&w, 0);
	wr_u32(&w, (uint32_t)b->count - 1);
	wr_u64(&w, 0);
	wr_u64(&w, 0);
	wr_u64(&w, UINT64_MAX);
	wr_u16(&w, UINT16_MAX);
	wr_u32(&w, UINT32_MAX);
	wr_u32(&w, (uint32_t)b->count);
	assert(!w.bad && w.p == w.end);
	*out = b->buf;
	b->buf = NULL;
	b->err = ERR_INVALID;
	return ERR_OK;
}

void batch_builder_fini(struct batch_builder *b)
{
	buf_drop(&b->buf);
}

enum err batch_iter_init(struct batch_iter *it, struct span batch)
{
	struct batch_head h;
	enum err e = batch_head_read(batch, &h);
	if (e != ERR_OK) {
		return e;
	}
	if ((h.attributes & 7) != 0) {
		return ERR_NOT_IMPLEMENTED;
	}
	it->rd = rd_of(span_of(batch.p + BATCH_HEAD, h.total - BATCH_HEAD));
	it->base_timestamp = h.base_timestamp;
	it->left = h.count;
	return ERR_OK;
}

enum err batch_iter_next(struct batch_iter *it, struct batch_record *out)
{
	if (it->left == 0) {
		return rd_left(&it->rd) == 0 ? ERR_EOF : ERR_DECODE;
	}
	int32_t length = rd_varint(&it->rd);
	if (it->rd.bad || length < 0) {
		return ERR_DECODE;
	}
	struct span body = rd_span(&it->rd, (size_t)length);
	if (it->rd.bad) {
		return ERR_DECODE;
	}
	struct rd r = rd_of(body);
	*out = (struct batch_record){0};
	(void)rd_u8(&r);
	out->timestamp = (int64_t)((uint64_t)it->base_timestamp + (uint64_t)rd_varlong(&r));
	out->offset_delta = rd_varint(&r);
	int32_t key = rd_varint(&r);
	if (key >= 0) {
		out->has_key = true;
		out->key = rd_span(&r, (size_t)key);
	}
	int32_t value = rd_varint(&r);
	if (value >= 0) {
		out->has_value = true;
		out->value = rd_span(&r, (size_t)value);
	}
	out->header_count = rd_varint(&r);
	out->headers = rd_span(&r, rd_left(&r));
	if (r.bad || out->header_count < 0) {
		return ERR_DECODE;
	}
	it->left--;
	return ERR_OK;
}
