/* What a Kafka producer sent, checked: records_check of records.h. */

#include "gateway/wire/records.h"

#include "base/crc32c.h"
#include "base/mem.h"

enum {
	/* Places in a batch's head, base/batch.h. */
	AT_LENGTH = 8,
	AT_MAGIC = 16,
	AT_CRC = 17,
	AT_ATTRIBUTES = 21,
	AT_LAST_DELTA = 23,
	AT_COUNT = 57,
	LENGTH_EXCLUDES = 12,
	MAGIC_V2 = 2,
	ATTRIBUTES_RESERVED = 0xff80,
	HEADER_LEAST = 2,	/* octets: two lengths */
	VARLONG_MAX = 10,	/* octets */
};

/* ---- bytes of records, as they come -------------------------------------------- */

/* Stands somewhere in the records, of which p..stop is at hand: all of them, or
 * one unpacked piece. Within a record `end` is its end if that is at hand, else
 * `stop`, with `more` octets of the record to come. A step that fails gives false
 * and says why in `what`, or in `err` where it is not the records' fault. */
struct walk {
	const uint8_t *p;
	const uint8_t *end;
	const uint8_t *stop;
	size_t more;
	struct inflate *from;	/* NULL: everything is at hand */
	uint8_t *piece;
	size_t inflated;
	int64_t base_ms;
	int64_t max_ms;
	int64_t least_key;	/* -1: null is allowed */
	bool is_null;		/* the last run, which was refused for that */
	bool is_keyless;	/* the record has no key, but is to have one */
	const char *what;
	enum err err;
};

static bool wrong(struct walk *w, const char *what)
{
	w->what = what;
	return false;
}

/* The next piece; `p` stands at `stop`. False at the end, too. */
static bool refill(struct walk *w)
{
	size_t got = 0;
	if (w->from == NULL) {
		return false;
	}
	w->err = inflate_read(w->from, w->piece, RECORDS_PIECE, &got);
	w->p = w->piece;
	w->stop = w->piece + got;
	w->end = w->p;
	w->inflated += got;
	return w->err == ERR_OK && got > 0;
}

/* The same within a record or its length. */
static bool refill_record(struct walk *w, const char *what)
{
	if (w->more == 0 || !refill(w)) {
		return wrong(w, what);
	}
	size_t got = (size_t)(w->stop - w->p);
	w->end = w->p + (got < w->more ? got : w->more);
	w->more -= (size_t)(w->end - w->p);
	return true;
}

static bool read_byte(struct walk *w, uint8_t *out, const char *what)
{
	if (w->p == w->end && !refill_record(w, what)) {
		return false;
	}
	*out = *w->p++;
	return true;
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static bool read_varlong_long(struct walk *w, int64_t *out, const char *what)
{
	uint64_t v = 0;
	for (unsigned n = 0; n < VARLONG_MAX; n++) {
		uint8_t b;
		if (!read_byte(w, &b, what)) {
			return false;
		}
		if (n == VARLONG_MAX - 1 && b > 1) {
			break;
		}
		v |= (uint64_t)(b & 0x7f) << (7 * n);
		if (b < 0x80) {
			*out = unzigzag(v);
			return true;
		}
	}
	return wrong(w, what);
}

/* Most numbers have one octet or two. */
static inline bool read_varlong(struct walk *w, int64_t *out, const char *what)
{
	const uint8_t *p = w->p;
	if (w->end - p < 2) {
		return read_varlong_long(w, out, what);
	}
	if (p[0] < 0x80) {
		*out = unzigzag(p[0]);
		w->p = p + 1;
		return true;
	}
	if (p[1] < 0x80) {
		*out = unzigzag((p[0] & 0x7fu) | (uint64_t)p[1] << 7);
		w->p = p + 2;
		return true;
	}
	return read_varlong_long(w, out, what);
}

static inline bool read_varint(struct walk *w, int64_t *out, const char *what)
{
	return read_varlong(w, out, what) &&
	       ((*out >= INT32_MIN && *out <= INT32_MAX) || wrong(w, what));
}

static bool pass_long(struct walk *w, size_t n, const char *what)
{
	size_t at_hand = (size_t)(w->end - w->p);
	if (n - at_hand > w->more) {
		return wrong(w, what);
	}
	while (n > at_hand) {
		n -= at_hand;
		w->p = w->end;
		if (!refill_record(w, what)) {
			return false;
		}
		at_hand = (size_t)(w->end - w->p);
	}
	w->p += n;
	return true;
}

/* Moves past a run of octets with its length before it, `least` or more: -1
 * where null is allowed. */
static inline bool pass_run(struct walk *w, int64_t least, const char *what)
{
	int64_t n;
	if (!read_varint(w, &n, what)) {
		return false;
	}
	if (n < least) {
		w->is_null = n == -1;
		return wrong(w, what);
	}
	if (n > w->end - w->p) {
		return pass_long(w, (size_t)n, what);
	}
	w->p += n > 0 ? n : 0;
	return true;
}

/* ---- one record ------------------------------------------------------------------ */

static bool pass_headers(struct walk *w)
{
	int64_t count;
	if (!read_varint(w, &count, "header count")) {
		return false;
	}
	size_t left = (size_t)(w->end - w->p) + w->more;
	if (count < 0 || (uint64_t)count > left / HEADER_LEAST) {
		return wrong(w, "header count");
	}
	for (int64_t i = 0; i < count; i++) {
		if (!pass_run(w, 0, "header name length") ||
		    !pass_run(w, -1, "header value length")) {
			return false;
		}
	}
	return true;
}

static bool pass_key(struct walk *w)
{
	if (pass_run(w, w->least_key, "key length")) {
		return true;
	}
	/* Its length was read, and is null's: nothing else of the record is looked at. */
	w->is_keyless = w->least_key == 0 && w->err == ERR_OK && w->is_null;
	return false;
}

static bool pass_body(struct walk *w, int32_t index)
{
	uint8_t attributes;
	int64_t ms;
	int64_t delta;
	if (!read_byte(w, &attributes, "length") || !read_varlong(w, &ms, "timestamp delta") ||
	    !read_varint(w, &delta, "offset delta")) {
		return false;
	}
	if (attributes != 0) {
		return wrong(w, "attributes");
	}
	if (delta != index) {
		return wrong(w, "offset delta");
	}
	if (__builtin_add_overflow(w->base_ms, ms, &ms)) {
		return wrong(w, "timestamp delta");
	}
	w->max_ms = index == 0 || ms > w->max_ms ? ms : w->max_ms;
	return pass_key(w) && pass_run(w, -1, "value length") &&
	       pass_headers(w) && ((w->p == w->end && w->more == 0) || wrong(w, "length"));
}

static bool pass_record(struct walk *w, int32_t index)
{
	int64_t length;
	/* The length may itself lie in two pieces. */
	w->end = w->stop;
	w->more = w->from != NULL ? VARLONG_MAX : 0;
	if (!read_varint(w, &length, "length")) {
		return false;
	}
	size_t at_hand = (size_t)(w->stop - w->p);
	if (length < 0) {
		return wrong(w, "length");
	}
	if (length > RECORDS_RECORD_MAX && w->from != NULL) {
		w->err = ERR_TOO_LARGE;
		return false;
	}
	if ((size_t)length <= at_hand) {
		w->end = w->p + length;
		w->more = 0;
	} else if (w->from != NULL) {
		w->end = w->stop;
		w->more = (size_t)length - at_hand;
	} else {
		return wrong(w, "length");
	}
	return pass_body(w, index);
}

/* ---- the records of a batch -------------------------------------------------------- */

static enum records_verdict refuse(struct err_detail *d, enum records_verdict v, const char *what)
{
	(void)err_set(d, ERR_DECODE, "%s", what);
	return v;
}

static enum records_verdict verdict_of(enum err e, const struct records_check *rules,
				       struct err_detail *d)
{
	switch (e) {
	case ERR_OK:
		return RECORDS_OK;
	case ERR_TOO_LARGE:
		(void)err_set(d, e, "The records unpack to more than %zu bytes, or one to more than %d.",
			      rules->max_inflated_bytes, RECORDS_RECORD_MAX);
		return RECORDS_TOO_LARGE;
	case ERR_DECODE:
		return refuse(d, RECORDS_INVALID, "The compressed records are damaged.");
	default:
		return refuse(d, RECORDS_BUSY, "There is no memory to check the batch at present.");
	}
}

static enum records_verdict walk_all(struct walk *w, int32_t count, const struct records_check *rules,
				     struct err_detail *d)
{
	int32_t i = 0;
	while (i < count && pass_record(w, i)) {
		i++;
	}
	/* A length that is cut short at the pieces' end shows as nothing at hand. */
	if (w->err != ERR_OK) {
		return verdict_of(w->err, rules, d);
	}
	if (w->is_keyless) {
		(void)err_set(d, ERR_INVALID,
			      "Record %d of %d has no key, which compaction of the hub needs.", (int)i,
			      (int)count);
		if (rules->keyless != NULL) {
			*rules->keyless = i;
		}
		return RECORDS_INVALID;
	}
	if (i < count) {
		(void)err_set(d, ERR_DECODE, "Record %d of %d: its %s is wrong.", (int)i, (int)count,
			      w->what);
		return RECORDS_INVALID;
	}
	if (w->p != w->stop || refill(w)) {
		(void)err_set(d, ERR_DECODE, "There are bytes behind the last of %d records.",
			      (int)count);
		return RECORDS_INVALID;
	}
	return verdict_of(w->err, rules, d);
}

static enum records_verdict walk_compressed(struct walk *w, struct span packed,
					    const struct batch_head *head,
					    const struct records_check *rules,
					    struct err_detail *d)
{
	w->piece = mem_alloc(RECORDS_PIECE);
	w->p = w->end = w->stop = w->piece;
	enum err e = w->piece != NULL ? ERR_OK : ERR_NOMEM;
	if (e == ERR_OK) {
		e = inflate_new(head->attributes & RECORDS_CODEC_MASK, packed,
				rules->max_inflated_bytes, rules->memory, &w->from);
	}
	enum records_verdict v = e == ERR_OK ? walk_all(w, head->count, rules, d)
					     : verdict_of(e, rules, d);
	inflate_free(&w->from);
	mem_free(w->piece);
	return v;
}

/* ---- the head ------------------------------------------------------------------------ */

/* One batch, base offset, size, CRC. */
static enum records_verdict check_frame(struct span s, const struct records_check *rules,
					struct err_detail *d)
{
	if (s.n == 0) {
		return refuse(d, RECORDS_INVALID, "There are no records.");
	}
	if (s.n <= AT_MAGIC) {
		return refuse(d, RECORDS_CORRUPT, "The batch is shorter than its head.");
	}
	if (s.p[AT_MAGIC] != MAGIC_V2) {
		(void)err_set(d, ERR_DECODE, "The batch has magic %u; only 2 is known.",
			      (unsigned)s.p[AT_MAGIC]);
		return RECORDS_INVALID;
	}
	uint32_t length = get_u32(s.p + AT_LENGTH);
	if (s.n < BATCH_HEAD || length < BATCH_HEAD - LENGTH_EXCLUDES || length > INT32_MAX ||
	    length + LENGTH_EXCLUDES > s.n) {
		return refuse(d, RECORDS_CORRUPT, "The batch's length is wrong.");
	}
	if (length + LENGTH_EXCLUDES < s.n) {
		return refuse(d, RECORDS_INVALID, "There is more than one batch for the partition.");
	}
	if ((get_u16(s.p + AT_ATTRIBUTES) & RECORDS_CODEC_MASK) == RECORDS_ZSTD && !rules->allow_zstd) {
		return refuse(d, RECORDS_NO_ZSTD, "zstd needs Produce of version 7 or later.");
	}
	if (get_u64(s.p) != 0) {
		return refuse(d, RECORDS_INVALID, "The base offset is not 0.");
	}
	if (s.n > rules->max_batch_bytes) {
		(void)err_set(d, ERR_TOO_LARGE, "The batch has %zu bytes, at most %zu are allowed.", s.n,
			      rules->max_batch_bytes);
		return RECORDS_TOO_LARGE;
	}
	if (crc32c(0, s.p + AT_ATTRIBUTES, s.n - AT_ATTRIBUTES) != get_u32(s.p + AT_CRC)) {
		return refuse(d, RECORDS_CORRUPT, "The batch's CRC is wrong.");
	}
	return RECORDS_OK;
}

static enum records_verdict check_attributes(unsigned attributes, struct err_detail *d)
{
	if ((attributes & RECORDS_CODEC_MASK) > RECORDS_ZSTD) {
		return refuse(d, RECORDS_INVALID, "The batch's codec is not known.");
	}
	if ((attributes & RECORDS_CONTROL) != 0) {
		return refuse(d, RECORDS_INVALID, "Clients do not send control batches.");
	}
	if ((attributes & RECORDS_TRANSACTIONAL) != 0) {
		return refuse(d, RECORDS_IN_TRANSACTION, "The batch claims to be in a transaction.");
	}
	if ((attributes & RECORDS_LOG_APPEND_TIME) != 0) {
		return refuse(d, RECORDS_BAD_TIME, "The batch claims log append time.");
	}
	if ((attributes & (RECORDS_DELETE_HORIZON | ATTRIBUTES_RESERVED)) != 0) {
		return refuse(d, RECORDS_INVALID, "The batch has attributes that are not known.");
	}
	return RECORDS_OK;
}

static enum records_verdict check_head(struct span s, struct batch_head *head,
				       struct err_detail *d)
{
	enum records_verdict v = check_attributes(get_u16(s.p + AT_ATTRIBUTES), d);
	if (v != RECORDS_OK) {
		return v;
	}
	int64_t count = (int32_t)get_u32(s.p + AT_COUNT);
	int64_t last = (int32_t)get_u32(s.p + AT_LAST_DELTA);
	if (count <= 0 || last + 1 != count || batch_head_read(s, head) != ERR_OK) {
		(void)err_set(d, ERR_DECODE, "The batch has %lld records and the last offset delta %lld.",
			      (long long)count, (long long)last);
		return RECORDS_INVALID;
	}
	if (head->producer_id >= 0 && (head->base_sequence < 0 || head->producer_epoch < 0)) {
		return refuse(d, RECORDS_INVALID,
			      "The batch has a producer id without sequence or epoch.");
	}
	return RECORDS_OK;
}

enum records_verdict records_check(struct span records, const struct records_check *rules,
				   struct batch_head *head, int64_t *max_timestamp,
				   size_t *inflated, struct err_detail *d)
{
	*head = (struct batch_head){.total = 0};
	*max_timestamp = 0;
	*inflated = 0;
	enum records_verdict v = check_frame(records, rules, d);
	if (v == RECORDS_OK) {
		v = check_head(records, head, d);
	}
	if (v != RECORDS_OK) {
		return v;
	}
	struct span body = span_of(records.p + BATCH_HEAD, records.n - BATCH_HEAD);
	struct walk w = {
		.base_ms = head->base_timestamp,
		.least_key = rules->needs_keys ? 0 : -1,
		.what = "",
	};
	if ((head->attributes & RECORDS_CODEC_MASK) == RECORDS_NONE) {
		w.p = body.p;
		w.end = w.stop = body.p + body.n;
		w.inflated = body.n;
		v = walk_all(&w, head->count, rules, d);
	} else {
		v = walk_compressed(&w, body, head, rules, d);
	}
	*max_timestamp = w.max_ms;
	*inflated = w.inflated;
	return v;
}
