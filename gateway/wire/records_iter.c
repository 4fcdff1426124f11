/* Stored batches of any codec, record by record: records_iter of records.h.
 *
 * Unpacked bytes gather in one buffer, of a piece's size until a record is
 * larger. What was given is dropped when more must be unpacked, so most records
 * are given where they were unpacked. */

#include "base/mem.h"
#include "gateway/wire/records.h"

enum {
	/* What a compressed batch that is being walked costs the budget before its
	 * codec asks for more (see inflate_new): the first buffer and the codec's
	 * uncounted memory. */
	ITER_MEMORY = (256 << 10) + RECORDS_PIECE,
	VARINT_MAX = 5,		/* octets, of a record's length */
};

struct records_iter {
	struct batch_iter plain;	/* of the batch, or of the record at hand */
	struct batch_head head;
	int32_t left;
	enum err err;			/* sticky */
	struct inflate *from;		/* NULL: not compressed */
	struct budget *memory;
	size_t charged;
	size_t max;			/* unpacked octets */
	uint8_t *buf;
	size_t cap;
	size_t at;			/* what was not given yet is at..len */
	size_t len;
	bool is_at_end;			/* `from` has nothing more */
};

/* More from the budget. */
static enum err charge(struct records_iter *it, size_t n)
{
	if (it->memory != NULL && !budget_take(it->memory, n)) {
		/* More than the budget will ever have is no reason to wait. */
		return it->charged + n > it->memory->max ? ERR_TOO_LARGE : ERR_BUSY;
	}
	it->charged += n;
	return ERR_OK;
}

static enum err open_compressed(struct records_iter *it, struct span packed)
{
	enum err e = charge(it, ITER_MEMORY);
	if (e != ERR_OK) {
		return e;
	}
	it->buf = mem_alloc(RECORDS_PIECE);
	it->cap = RECORDS_PIECE;
	if (it->buf == NULL) {
		return ERR_NOMEM;
	}
	return inflate_new(it->head.attributes & RECORDS_CODEC_MASK, packed, it->max, it->memory,
			   &it->from);
}

enum err records_iter_new(struct span batch, size_t max_inflated, struct budget *memory,
			  struct records_iter **out)
{
	*out = NULL;
	struct records_iter *it = MEM_NEW(struct records_iter);
	if (it == NULL) {
		return ERR_NOMEM;
	}
	it->memory = memory;
	it->max = max_inflated;
	enum err e = batch_head_read(batch, &it->head);
	if (e == ERR_OK) {
		it->left = it->head.count;
		struct span body = span_of(batch.p + BATCH_HEAD, it->head.total - BATCH_HEAD);
		e = (it->head.attributes & RECORDS_CODEC_MASK) == RECORDS_NONE
			    ? batch_iter_init(&it->plain, batch) : open_compressed(it, body);
	}
	if (e != ERR_OK) {
		records_iter_free(&it);
		return e;
	}
	*out = it;
	return ERR_OK;
}

/* A larger buffer: twice the present one, but not above `need`. It grows with
 * what is really there, not with what a length says. */
static enum err grow(struct records_iter *it, size_t need)
{
	size_t cap = it->cap > need / 2 ? need : it->cap * 2;
	enum err e = charge(it, cap - it->cap);
	if (e != ERR_OK) {
		return e;
	}
	uint8_t *bigger = mem_realloc(it->buf, cap);
	if (bigger == NULL) {
		return ERR_NOMEM;
	}
	it->buf = bigger;
	it->cap = cap;
	return ERR_OK;
}

/* Unpacks until `need` octets from `at` on are at hand, or the end. */
static enum err gather(struct records_iter *it, size_t need)
{
	enum err e = ERR_OK;
	if (it->len - it->at < need && it->at > 0) {
		memmove(it->buf, it->buf + it->at, it->len - it->at);
		it->len -= it->at;
		it->at = 0;
	}
	while (e == ERR_OK && it->len - it->at < need && !it->is_at_end) {
		if (it->len == it->cap) {
			e = grow(it, need);
		} else {
			size_t got = 0;
			e = inflate_read(it->from, it->buf + it->len, it->cap - it->len, &got);
			it->len += got;
			it->is_at_end = got == 0;
		}
	}
	return e;
}

/* Sets `plain` to the next record alone. */
static enum err next_packed(struct records_iter *it)
{
	enum err e = gather(it, VARINT_MAX);
	if (e != ERR_OK) {
		return e;
	}
	struct rd r = rd_of(span_of(it->buf + it->at, it->len - it->at));
	int32_t length = rd_varint(&r);
	if (r.bad || length < 0 || (size_t)length > it->max) {
		return ERR_DECODE;
	}
	size_t total = (size_t)(r.p - (it->buf + it->at)) + (size_t)length;
	e = gather(it, total);
	if (e != ERR_OK) {
		return e;
	}
	if (it->len - it->at < total) {
		return ERR_DECODE;
	}
	it->plain = (struct batch_iter){
		.rd = rd_of(span_of(it->buf + it->at, total)),
		.base_timestamp = it->head.base_timestamp,
		.left = 1,
	};
	it->at += total;
	return ERR_OK;
}

/* After the last record nothing may be left. */
static enum err finish_packed(struct records_iter *it)
{
	enum err e = gather(it, 1);
	if (e != ERR_OK) {
		return e;
	}
	return it->len > it->at ? ERR_DECODE : ERR_EOF;
}

enum err records_iter_next(struct records_iter *it, struct batch_record *out)
{
	if (it->err == ERR_OK && it->from != NULL) {
		it->err = it->left > 0 ? next_packed(it) : finish_packed(it);
	}
	if (it->err == ERR_OK) {
		it->err = batch_iter_next(&it->plain, out);
	}
	if (it->err != ERR_OK) {
		return it->err;
	}
	it->left--;
	if ((it->head.attributes & RECORDS_LOG_APPEND_TIME) != 0) {
		out->timestamp = it->head.max_timestamp;
	}
	return ERR_OK;
}

void records_iter_free(struct records_iter **itp)
{
	struct records_iter *it = *itp;
	*itp = NULL;
	if (it == NULL) {
		return;
	}
	inflate_free(&it->from);
	mem_free(it->buf);
	if (it->memory != NULL) {
		budget_give(it->memory, it->charged);
	}
	mem_free(it);
}
