#include "gateway/kafka/codec.h"

#include <assert.h>
#include <stdalign.h>

#include "base/mem.h"
#include "gateway/kafka/codec_priv.h"

/* Arenas, request headers, defaults. */

/* ---- arenas ------------------------------------------------------------ */

struct kafka_arena_block {
	struct kafka_arena_block *next;
	size_t cap;
	size_t used;
	alignas(max_align_t) uint8_t data[];
};

static struct kafka_arena_block *add_block(struct kafka_arena *a, size_t n)
{
	size_t cap = a->used < KAFKA_ARENA_BLOCK       ? KAFKA_ARENA_BLOCK
		     : a->used > KAFKA_ARENA_BLOCK_MAX ? KAFKA_ARENA_BLOCK_MAX
						       : a->used;
	bool is_own = n > cap / 2;
	cap = is_own ? n : cap;
	struct kafka_arena_block *b = mem_calloc(1, sizeof *b + cap);
	if (b == NULL) {
		return NULL;
	}
	b->cap = cap;
	/* A block of its own goes behind the one that still has room. */
	struct kafka_arena_block **at = is_own && a->blocks != NULL ? &a->blocks->next : &a->blocks;
	b->next = *at;
	*at = b;
	return b;
}

void *kafka_arena_alloc(struct kafka_arena *a, size_t n)
{
	size_t max = a->max != 0 ? a->max : KAFKA_ARENA_MAX;
	assert(a->used <= max);
	if (n > max - a->used) {
		return NULL;
	}
	const size_t unit = alignof(max_align_t);
	size_t room = n != 0 ? (n + unit - 1) / unit * unit : unit;
	struct kafka_arena_block *b = a->blocks;
	if (b == NULL || room > b->cap - b->used) {
		b = add_block(a, room);
		if (b == NULL) {
			return NULL;
		}
	}
	void *p = b->data + b->used;
	b->used += room;
	a->used += room < max - a->used ? room : max - a->used;
	return p;
}

struct span kafka_arena_copy(struct kafka_arena *a, struct span s)
{
	void *p = kafka_arena_alloc(a, s.n);
	if (p == NULL) {
		return span_of(NULL, 0);
	}
	if (s.n != 0) {
		memcpy(p, s.p, s.n);
	}
	return span_of(p, s.n);
}

void kafka_arena_fini(struct kafka_arena *a)
{
	for (struct kafka_arena_block *b = a->blocks; b != NULL;) {
		struct kafka_arena_block *next = b->next;
		mem_free(b);
		b = next;
	}
	*a = (struct kafka_arena){.max = a->max};
}

/* ---- request headers ---------------------------------------------------- */

/* Passes over a tag section. */
static bool pass_tags(const uint8_t **p, const uint8_t *end)
{
	uint32_t n;
	if (!kafka_uvarint(p, end, &n)) {
		return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t tag;
		uint32_t size;
		if (!kafka_uvarint(p, end, &tag) || !kafka_uvarint(p, end, &size) ||
		    size > (size_t)(end - *p)) {
			return false;
		}
		*p += size;
	}
	return true;
}

enum err kafka_header_read(struct span frame, struct kafka_request_header *out, size_t *body_at,
			   struct err_detail *d)
{
	struct rd r = rd_of(frame);
	*out = (struct kafka_request_header){.key = (int16_t)rd_u16(&r)};
	out->version = (int16_t)rd_u16(&r);
	out->correlation = (int32_t)rd_u32(&r);
	int16_t n = (int16_t)rd_u16(&r);
	if (r.bad) {
		return err_set(d, ERR_DECODE, "request header: %zu bytes are too few", frame.n);
	}
	if (n < -1) {
		return err_set(d, ERR_DECODE, "request header: client_id: length %d", n);
	}
	out->client_id.is_null = n == -1;
	out->client_id.s = rd_span(&r, n > 0 ? (size_t)n : 0);
	if (r.bad) {
		return err_set(d, ERR_DECODE, "request header: client_id: length %d, only %zu bytes left",
			       n, frame.n - 10);
	}
	const struct kafka_api *api = kafka_api_find(out->key);
	if (api != NULL && kafka_is_flexible(api, out->version) && out->version <= api->last &&
	    !pass_tags(&r.p, r.end)) {
		return err_set(d, ERR_DECODE, "request header: malformed tag section");
	}
	*body_at = (size_t)(r.p - frame.p);
	return ERR_OK;
}

void kafka_header_write(struct str *out, const struct kafka_api *api,
			const struct kafka_request_header *h)
{
	uint8_t fixed[10];
	size_t n = h->client_id.is_null ? 0 : h->client_id.s.n;
	if (n > KAFKA_STRING_MAX) {
		out->bad = true;
		return;
	}
	put_u16(fixed, (uint16_t)h->key);
	put_u16(fixed + 2, (uint16_t)h->version);
	put_u32(fixed + 4, (uint32_t)h->correlation);
	put_u16(fixed + 8, h->client_id.is_null ? UINT16_MAX : (uint16_t)n);
	str_addn(out, fixed, sizeof fixed);
	str_addn(out, h->client_id.s.p, n);
	if (kafka_is_flexible(api, h->version)) {
		str_addn(out, "", 1);
	}
}

/* ---- defaults ----------------------------------------------------------- */

void kafka_set_number(const struct kafka_field *f, void *at, int64_t number)
{
	switch (f->kind) {
	case KAFKA_BOOL: {
		bool *v = at;
		*v = number != 0;
		break;
	}
	case KAFKA_I8: {
		int8_t *v = at;
		*v = (int8_t)number;
		break;
	}
	case KAFKA_I16: {
		int16_t *v = at;
		*v = (int16_t)number;
		break;
	}
	case KAFKA_I32: {
		int32_t *v = at;
		*v = (int32_t)number;
		break;
	}
	case KAFKA_I64: {
		int64_t *v = at;
		*v = number;
		break;
	}
	default:
		assert(false);
	}
}

void kafka_field_default(const struct kafka_field *f, void *s)
{
	void *at = kafka_member(s, f->at);
	if (f->def != 0) {
		kafka_set_number(f, at, f->def);
	} else if (f->kind == KAFKA_STRING && f->null_from != KAFKA_NEVER) {
		struct kafka_string *v = at;
		v->is_null = true;
	} else if (f->kind == KAFKA_STRUCT) {
		kafka_defaults(f->of, at);
	}
}

void kafka_defaults(const struct kafka_struct *s, void *out)
{
	memset(out, 0, s->size);
	for (uint32_t i = 0; i < s->n_fields; i++) {
		kafka_field_default(&s->fields[i], out);
	}
}
