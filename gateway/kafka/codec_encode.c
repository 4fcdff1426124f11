#include <assert.h>

#include "base/mem.h"
#include "gateway/kafka/codec.h"
#include "gateway/kafka/codec_priv.h"

/* Encoding over the descriptor tables. */

struct encoder {
	struct kafka_out *o;
	int16_t version;
	bool is_flexible;
};

/* ---- output --------------------------------------------------------------- */

/* Room for n more bytes, or NULL. */
static uint8_t *add(struct kafka_out *o, size_t n)
{
	struct str *s = &o->bytes;
	if (o->bad) {
		return NULL;
	}
	if (s->cap - s->len <= n) {
		/* Rare, and it applies the string's own bound and growth. */
		size_t len = s->len;
		static const uint8_t zeros[16];
		assert(n <= sizeof zeros);
		str_addn(s, zeros, n);
		if (s->bad) {
			o->bad = true;
			return NULL;
		}
		return (uint8_t *)s->p + len;
	}
	uint8_t *p = (uint8_t *)s->p + s->len;
	s->len += n;
	s->p[s->len] = '\0';
	return p;
}

static void add_run(struct kafka_out *o, struct span run)
{
	if (o->bad || run.n == 0) {
		return;
	}
	str_addn(&o->bytes, run.p, run.n);
	o->bad = o->bytes.bad;
}

static size_t uvarint_put(uint8_t *p, uint32_t v)
{
	size_t n = 0;
	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	return n;
}

static void add_uvarint(struct kafka_out *o, uint32_t v)
{
	uint8_t room[KAFKA_UVARINT_MAX];
	size_t n = uvarint_put(room, v);
	uint8_t *p = add(o, n);
	if (p != NULL) {
		memcpy(p, room, n);
	}
}

/* Length of a string (two bytes) or of bytes and arrays (four), or the compact
 * form; -1 is null. */
static void add_length(struct encoder *enc, int64_t n, bool is_string)
{
	if (n < -1 || n > (is_string ? KAFKA_STRING_MAX : INT32_MAX - 1)) {
		enc->o->bad = true;
		return;
	}
	if (enc->is_flexible) {
		add_uvarint(enc->o, (uint32_t)(n + 1));
		return;
	}
	uint8_t *p = add(enc->o, is_string ? 2 : 4);
	if (p == NULL) {
		return;
	}
	if (is_string) {
		put_u16(p, (uint16_t)n);
	} else {
		put_u32(p, (uint32_t)n);
	}
}

static void add_parts(struct kafka_out *o, const struct span *parts, struct buf *const *bufs,
		      uint32_t n_parts, size_t n)
{
	if (o->bad || n == 0) {
		return;
	}
	void *block = o->parts;
	if (!mem_grow(&block, &o->cap_parts, o->n_parts + 1, sizeof *o->parts)) {
		o->bad = true;
		return;
	}
	o->parts = block;
	o->parts[o->n_parts++] = (struct kafka_out_part){
		.at = o->bytes.len, .parts = parts, .bufs = bufs, .n_parts = n_parts, .n = n};
	o->parts_bytes += n;
}

/* ---- fields ---------------------------------------------------------------- */

static bool may_be_null(const struct encoder *enc, const struct kafka_field *f)
{
	return enc->version >= f->null_from;
}

static void encode_string(struct encoder *enc, const struct kafka_string *v, bool may_null)
{
	if (v->is_null) {
		add_length(enc, may_null ? -1 : 0, true);
		return;
	}
	add_length(enc, v->s.n > KAFKA_STRING_MAX ? INT64_MAX : (int64_t)v->s.n, true);
	add_run(enc->o, v->s);
}

static void encode_bytes(struct encoder *enc, const struct kafka_bytes *v, bool may_null)
{
	if (v->is_null) {
		add_length(enc, may_null ? -1 : 0, false);
		return;
	}
	add_length(enc, v->s.n > INT32_MAX ? INT64_MAX : (int64_t)v->s.n, false);
	add_run(enc->o, v->s);
}

static void encode_records(struct encoder *enc, const struct kafka_records *v)
{
	if (v->is_null) {
		add_length(enc, -1, false);
		return;
	}
	const struct span *parts = v->n_parts != 0 ? v->parts : &v->s;
	uint32_t n_parts = v->n_parts != 0 ? v->n_parts : 1;
	size_t n = 0;
	for (uint32_t i = 0; i < n_parts; i++) {
		if (parts[i].n > INT32_MAX - n) {
			enc->o->bad = true;
			return;
		}
		n += parts[i].n;
	}
	add_length(enc, (int64_t)n, false);
	add_parts(enc->o, parts, v->n_parts != 0 ? v->bufs : NULL, n_parts, n);
}

static void encode_struct(struct encoder *enc, const struct kafka_struct *s, const void *in);

static void encode_array(struct encoder *enc, const struct kafka_field *f, const void *in)
{
	int32_t n = kafka_count(in, f);
	const uint8_t *items = kafka_items(in, f);
	if (n < -1 || (n > 0 && items == NULL)) {
		enc->o->bad = true;
		return;
	}
	add_length(enc, n == -1 && !may_be_null(enc, f) ? 0 : n, false);
	size_t size = kafka_item_size(f);
	for (int32_t i = 0; i < n && !enc->o->bad; i++, items += size) {
		const void *item = items;
		if (f->kind == KAFKA_ARRAY) {
			encode_struct(enc, f->of, item);
		} else if (f->kind == KAFKA_ARRAY_STRING) {
			encode_string(enc, item, false);
		} else {
			const int32_t *v = item;
			uint8_t *p = add(enc->o, sizeof *v);
			if (p != NULL) {
				put_u32(p, (uint32_t)*v);
			}
		}
	}
}

static void encode_number(struct encoder *enc, const struct kafka_field *f, const void *at)
{
	struct kafka_out *o = enc->o;
	uint8_t *p;
	switch (f->kind) {
	case KAFKA_BOOL:
		if ((p = add(o, 1)) != NULL) {
			const bool *v = at;
			*p = *v ? 1 : 0;
		}
		break;
	case KAFKA_I8:
		if ((p = add(o, 1)) != NULL) {
			const int8_t *v = at;
			*p = (uint8_t)*v;
		}
		break;
	case KAFKA_I16:
		if ((p = add(o, 2)) != NULL) {
			const int16_t *v = at;
			put_u16(p, (uint16_t)*v);
		}
		break;
	case KAFKA_I32:
		if ((p = add(o, 4)) != NULL) {
			const int32_t *v = at;
			put_u32(p, (uint32_t)*v);
		}
		break;
	case KAFKA_I64:
		if ((p = add(o, 8)) != NULL) {
			const int64_t *v = at;
			put_u64(p, (uint64_t)*v);
		}
		break;
	default:
		assert(f->kind == KAFKA_UUID);
		if ((p = add(o, sizeof(struct kafka_uuid))) != NULL) {
			memcpy(p, at, sizeof(struct kafka_uuid));
		}
		break;
	}
}

static void encode_field(struct encoder *enc, const struct kafka_field *f, const void *in)
{
	const void *at = kafka_member_const(in, f->at);
	switch (f->kind) {
	case KAFKA_STRING:
		encode_string(enc, at, may_be_null(enc, f));
		break;
	case KAFKA_BYTES:
		encode_bytes(enc, at, may_be_null(enc, f));
		break;
	case KAFKA_RECORDS:
		encode_records(enc, at);
		break;
	case KAFKA_STRUCT:
		encode_struct(enc, f->of, at);
		break;
	case KAFKA_ARRAY:
	case KAFKA_ARRAY_I32:
	case KAFKA_ARRAY_STRING:
		encode_array(enc, f, in);
		break;
	default:
		encode_number(enc, f, at);
		break;
	}
}

/* The content first, then its size is put in front of it. */
static void encode_tagged(struct encoder *enc, const struct kafka_field *f, const void *in)
{
	struct kafka_out *o = enc->o;
	add_uvarint(o, (uint32_t)f->tag);
	size_t at = o->bytes.len;
	encode_field(enc, f, in);
	size_t n = o->bytes.len - at;
	uint8_t size[KAFKA_UVARINT_MAX];
	if (n > INT32_MAX) {
		o->bad = true;
		return;
	}
	size_t k = uvarint_put(size, (uint32_t)n);
	if (add(o, k) != NULL) {
		memmove(o->bytes.p + at + k, o->bytes.p + at, n);
		memcpy(o->bytes.p + at, size, k);
	}
}

static void encode_tags(struct encoder *enc, const struct kafka_struct *s, uint32_t first,
			const void *in)
{
	uint32_t n = 0;
	for (uint32_t i = first; i < s->n_fields; i++) {
		n += kafka_field_is_in(&s->fields[i], enc->version) && kafka_has(in, &s->fields[i]);
	}
	add_uvarint(enc->o, n);
	for (uint32_t i = first; i < s->n_fields && n != 0; i++) {
		if (kafka_field_is_in(&s->fields[i], enc->version) && kafka_has(in, &s->fields[i])) {
			encode_tagged(enc, &s->fields[i], in);
		}
	}
}

static void encode_struct(struct encoder *enc, const struct kafka_struct *s, const void *in)
{
	uint32_t i;
	for (i = 0; i < s->n_fields && s->fields[i].tag == KAFKA_NO_TAG; i++) {
		if (kafka_field_is_in(&s->fields[i], enc->version)) {
			encode_field(enc, &s->fields[i], in);
		}
	}
	if (enc->is_flexible) {
		encode_tags(enc, s, i, in);
	}
}

void kafka_encode(struct kafka_out *o, const struct kafka_struct *s, int16_t version,
		  bool is_flexible, const void *in)
{
	struct encoder enc = {.o = o, .version = version, .is_flexible = is_flexible};
	encode_struct(&enc, s, in);
}

/* ---- the whole --------------------------------------------------------------- */

size_t kafka_out_size(const struct kafka_out *o)
{
	return o->bytes.len + o->parts_bytes;
}

void kafka_out_fini(struct kafka_out *o)
{
	size_t max = o->bytes.max;
	str_fini(&o->bytes);
	mem_free(o->parts);
	*o = (struct kafka_out){.bytes.max = max};
}

void kafka_out_flatten(const struct kafka_out *o, struct str *out)
{
	size_t done = 0;
	for (size_t i = 0; i < o->n_parts; i++) {
		const struct kafka_out_part *part = &o->parts[i];
		str_addn(out, o->bytes.p + done, part->at - done);
		done = part->at;
		for (uint32_t j = 0; j < part->n_parts; j++) {
			str_addn(out, part->parts[j].p, part->parts[j].n);
		}
	}
	if (o->bytes.len > done) {
		str_addn(out, o->bytes.p + done, o->bytes.len - done);
	}
	out->bad = out->bad || o->bad;
}
