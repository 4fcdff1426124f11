#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "gateway/kafka/codec.h"
#include "gateway/kafka/codec_priv.h"

/* Decoding over the descriptor tables. Numbers and strings are read where the
 * fields are walked, only structs within structs call themselves again, as deep
 * as the tables go. */

struct decoder {
	const uint8_t *p;
	const uint8_t *end;
	struct kafka_arena *arena;
	struct err_detail *d;
	const struct kafka_struct *top;
	int16_t version;
	bool is_flexible;
	/* Where we are, for messages: a field of each struct that is open. */
	uint32_t depth;
	struct {
		const struct kafka_field *field;
		int32_t item;	/* -1: the field itself */
	} path[KAFKA_DEPTH_MAX];
};

static size_t left(const struct decoder *dec)
{
	return (size_t)(dec->end - dec->p);
}

/* ---- errors -------------------------------------------------------------- */

static void name_message(const struct decoder *dec, struct str *out)
{
	uint32_t n;
	const struct kafka_api *apis = kafka_apis(&n);
	for (uint32_t i = 0; i < n; i++) {
		if (apis[i].request == dec->top || apis[i].response == dec->top) {
			str_printf(out, "%s v%d %s", apis[i].name, dec->version,
				   apis[i].request == dec->top ? "request" : "response");
			return;
		}
	}
	str_printf(out, "%s v%d", dec->top->name, dec->version);
}

static enum err fail(const struct decoder *dec, enum err e, const char *fmt, ...) PRINTF(3, 4);

static enum err fail(const struct decoder *dec, enum err e, const char *fmt, ...)
{
	if (dec->d == NULL) {
		return e;
	}
	struct str text = {.max = ERR_DETAIL_MAX};
	name_message(dec, &text);
	for (uint32_t i = 0; i <= dec->depth && i < KAFKA_DEPTH_MAX; i++) {
		if (dec->path[i].field == NULL) {
			break;
		}
		str_printf(&text, "%s%s", i == 0 ? ": " : ".", dec->path[i].field->name);
		if (dec->path[i].item >= 0) {
			str_printf(&text, "[%d]", dec->path[i].item);
		}
	}
	char what[128];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	(void)err_set(dec->d, e, "%s: %s", text.len != 0 ? text.p : dec->top->name, what);
	str_fini(&text);
	return e;
}

static enum err fail_short(const struct decoder *dec, uint64_t need)
{
	return fail(dec, ERR_DECODE, "needs %llu bytes, %zu are left", (unsigned long long)need,
		    left(dec));
}

/* ---- lengths ------------------------------------------------------------- */

enum { IS_NULL = -1 };

/* The length in front of a string (two bytes) or of bytes and arrays (four), or
 * the compact form. Null is IS_NULL and only given where it is allowed. */
static enum err read_length(struct decoder *dec, const struct kafka_field *f, bool is_string,
			    int64_t *n)
{
	if (dec->is_flexible) {
		uint32_t u;
		if (!kafka_uvarint(&dec->p, dec->end, &u)) {
			return fail(dec, ERR_DECODE, "malformed length");
		}
		*n = (int64_t)u - 1;
	} else {
		size_t size = is_string ? 2 : 4;
		if (left(dec) < size) {
			return fail_short(dec, size);
		}
		*n = is_string ? (int16_t)get_u16(dec->p) : (int32_t)get_u32(dec->p);
		dec->p += size;
	}
	int64_t max = is_string ? KAFKA_STRING_MAX : INT32_MAX;
	if (*n < IS_NULL || *n > max) {
		return fail(dec, ERR_DECODE, "length %lld", (long long)*n);
	}
	if (*n == IS_NULL && dec->version < f->null_from) {
		return fail(dec, ERR_DECODE, "is null");
	}
	return ERR_OK;
}

static enum err read_run(struct decoder *dec, const struct kafka_field *f, bool is_string,
			 struct span *out, bool *is_null)
{
	int64_t n;
	enum err e = read_length(dec, f, is_string, &n);
	if (e != ERR_OK) {
		return e;
	}
	*is_null = n == IS_NULL;
	if (*is_null) {
		return ERR_OK;
	}
	if ((uint64_t)n > left(dec)) {
		return fail_short(dec, (uint64_t)n);
	}
	*out = span_of(dec->p, (size_t)n);
	dec->p += n;
	return ERR_OK;
}

/* ---- arrays -------------------------------------------------------------- */

/* Bytes that a field takes at least. */
static size_t smallest_field(const struct kafka_field *f, bool is_flexible)
{
	switch (f->kind) {
	case KAFKA_BOOL:
	case KAFKA_I8:
		return 1;
	case KAFKA_I16:
		return 2;
	case KAFKA_I32:
		return 4;
	case KAFKA_I64:
		return 8;
	case KAFKA_UUID:
		return sizeof(struct kafka_uuid);
	case KAFKA_STRING:
		return is_flexible ? 1 : 2;
	default:
		return is_flexible ? 1 : 4;
	}
}

static size_t smallest_item(const struct decoder *dec, const struct kafka_field *f)
{
	if (f->kind == KAFKA_ARRAY_I32) {
		return sizeof(int32_t);
	}
	if (f->kind == KAFKA_ARRAY_STRING) {
		return dec->is_flexible ? 1 : 2;
	}
	size_t n = dec->is_flexible ? 1 : 0;
	for (uint32_t i = 0; i < f->of->n_fields; i++) {
		const struct kafka_field *of = &f->of->fields[i];
		if (of->tag == KAFKA_NO_TAG && kafka_field_is_in(of, dec->version)) {
			n += smallest_field(of, dec->is_flexible);
		}
	}
	return n != 0 ? n : 1;
}

static enum err decode_struct(struct decoder *dec, const struct kafka_struct *s, void *out);

static enum err decode_items(struct decoder *dec, const struct kafka_field *f, void *items,
			     int32_t n)
{
	enum err e = ERR_OK;
	if (f->kind == KAFKA_ARRAY_I32) {
		int32_t *v = items;
		for (int32_t i = 0; i < n; i++) {
			v[i] = (int32_t)get_u32(dec->p);
			dec->p += sizeof(int32_t);
		}
		return ERR_OK;
	}
	uint8_t *item = items;
	size_t size = kafka_item_size(f);
	uint32_t at = dec->depth;
	for (int32_t i = 0; i < n && e == ERR_OK; i++, item += size) {
		dec->path[at].item = i;
		if (f->kind == KAFKA_ARRAY_STRING) {
			static const struct kafka_field plain = {.null_from = KAFKA_NEVER};
			struct kafka_string *v = (void *)item;
			e = read_run(dec, &plain, true, &v->s, &v->is_null);
		} else {
			dec->depth = at + 1;
			e = decode_struct(dec, f->of, item);
			dec->depth = at;
		}
	}
	if (e == ERR_OK) {
		dec->path[at].item = -1;
	}
	return e;
}

static enum err decode_array(struct decoder *dec, const struct kafka_field *f, void *out)
{
	int64_t n;
	enum err e = read_length(dec, f, false, &n);
	if (e != ERR_OK) {
		return e;
	}
	if (n <= 0) {
		kafka_set_array(out, f, NULL, (int32_t)n);
		return ERR_OK;
	}
	if ((uint64_t)n > left(dec) / smallest_item(dec, f)) {
		return fail(dec, ERR_DECODE, "%lld elements do not fit into the %zu bytes left",
			    (long long)n, left(dec));
	}
	struct kafka_arena *arena = dec->arena;
	size_t size = (size_t)n * kafka_item_size(f);
	void *items = kafka_arena_alloc(arena, size);
	if (items == NULL) {
		size_t max = arena->max != 0 ? arena->max : KAFKA_ARENA_MAX;
		return size > max - arena->used
			       ? fail(dec, ERR_TOO_LARGE, "needs more than %zu bytes of memory", max)
			       : fail(dec, ERR_NOMEM, "out of memory");
	}
	kafka_set_array(out, f, items, (int32_t)n);
	return decode_items(dec, f, items, (int32_t)n);
}

/* ---- fields --------------------------------------------------------------- */

static enum err decode_number(struct decoder *dec, const struct kafka_field *f, void *at)
{
	size_t size = smallest_field(f, false);
	if (left(dec) < size) {
		return fail_short(dec, size);
	}
	const uint8_t *p = dec->p;
	dec->p += size;
	switch (size) {
	case sizeof(struct kafka_uuid):
		memcpy(at, p, size);
		break;
	case 8:
		kafka_set_number(f, at, (int64_t)get_u64(p));
		break;
	case 4:
		kafka_set_number(f, at, (int64_t)get_u32(p));
		break;
	case 2:
		kafka_set_number(f, at, get_u16(p));
		break;
	default:
		kafka_set_number(f, at, *p);
	}
	return ERR_OK;
}

static enum err decode_field(struct decoder *dec, const struct kafka_field *f, void *out)
{
	void *at = kafka_member(out, f->at);
	switch (f->kind) {
	case KAFKA_STRING: {
		struct kafka_string *v = at;
		return read_run(dec, f, true, &v->s, &v->is_null);
	}
	case KAFKA_BYTES: {
		struct kafka_bytes *v = at;
		return read_run(dec, f, false, &v->s, &v->is_null);
	}
	case KAFKA_RECORDS: {
		struct kafka_records *v = at;
		return read_run(dec, f, false, &v->s, &v->is_null);
	}
	case KAFKA_STRUCT: {
		dec->depth++;
		enum err e = decode_struct(dec, f->of, at);
		dec->depth--;
		return e;
	}
	case KAFKA_ARRAY:
	case KAFKA_ARRAY_I32:
	case KAFKA_ARRAY_STRING:
		return decode_array(dec, f, out);
	default:
		return decode_number(dec, f, at);
	}
}

static const struct kafka_field *find_tag(const struct decoder *dec, const struct kafka_struct *s,
					  uint32_t tag)
{
	for (uint32_t i = s->n_fields; i-- > 0 && s->fields[i].tag != KAFKA_NO_TAG;) {
		const struct kafka_field *f = &s->fields[i];
		if ((uint32_t)f->tag == tag) {
			return kafka_field_is_in(f, dec->version) ? f : NULL;
		}
	}
	return NULL;
}

/* One tagged field of exactly `size` bytes. One that comes twice counts as it
 * came last. */
static enum err decode_tagged(struct decoder *dec, const struct kafka_field *f, uint32_t size,
			      void *out)
{
	const uint8_t *end = dec->end;
	dec->end = dec->p + size;
	if (f->kind == KAFKA_STRUCT) {
		memset(kafka_member(out, f->at), 0, f->of->size);
	} else if (f->kind == KAFKA_STRING) {
		memset(kafka_member(out, f->at), 0, sizeof(struct kafka_string));
	}
	dec->path[dec->depth].field = f;
	enum err e = decode_field(dec, f, out);
	if (e == ERR_OK && dec->p != dec->end) {
		e = fail(dec, ERR_DECODE, "%zu bytes left over in its tag", left(dec));
	}
	dec->end = end;
	bool *has = kafka_member(out, f->has_at);
	*has = true;
	return e;
}

/* KIP-482. As Kafka does, tags are taken in any order. */
static enum err decode_tags(struct decoder *dec, const struct kafka_struct *s, void *out)
{
	uint32_t n;
	dec->path[dec->depth].field = NULL;
	if (!kafka_uvarint(&dec->p, dec->end, &n) || n > left(dec) / KAFKA_TAG_SMALLEST) {
		return fail(dec, ERR_DECODE, "malformed tag section");
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t tag;
		uint32_t size;
		dec->path[dec->depth].field = NULL;
		if (!kafka_uvarint(&dec->p, dec->end, &tag) ||
		    !kafka_uvarint(&dec->p, dec->end, &size)) {
			return fail(dec, ERR_DECODE, "malformed tag section");
		}
		if (size > left(dec)) {
			return fail(dec, ERR_DECODE, "tag %u: %u bytes, %zu are left", tag, size,
				    left(dec));
		}
		const struct kafka_field *f = find_tag(dec, s, tag);
		if (f == NULL) {
			dec->p += size;
			continue;
		}
		enum err e = decode_tagged(dec, f, size, out);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

/* `out` is zeroed. */
static enum err decode_struct(struct decoder *dec, const struct kafka_struct *s, void *out)
{
	assert(dec->depth < KAFKA_DEPTH_MAX);
	dec->path[dec->depth].item = -1;
	for (uint32_t i = 0; i < s->n_fields; i++) {
		const struct kafka_field *f = &s->fields[i];
		if (f->tag != KAFKA_NO_TAG || !kafka_field_is_in(f, dec->version)) {
			kafka_field_default(f, out);
			continue;
		}
		dec->path[dec->depth].field = f;
		enum err e = decode_field(dec, f, out);
		if (e != ERR_OK) {
			return e;
		}
	}
	return dec->is_flexible ? decode_tags(dec, s, out) : ERR_OK;
}

enum err kafka_decode(const struct kafka_struct *s, int16_t version, bool is_flexible,
		      struct span in, struct kafka_arena *arena, void *out, struct err_detail *d)
{
	static const uint8_t nothing[1];
	const uint8_t *p = in.n != 0 ? in.p : nothing;
	struct decoder dec = {
		.p = p,
		.end = p + in.n,
		.arena = arena,
		.d = d,
		.top = s,
		.version = version,
		.is_flexible = is_flexible,
	};
	memset(out, 0, s->size);
	enum err e = decode_struct(&dec, s, out);
	if (e == ERR_OK && dec.p != dec.end) {
		dec.path[0].field = NULL;
		e = fail(&dec, ERR_DECODE, "%zu bytes left over", left(&dec));
	}
	return e;
}
