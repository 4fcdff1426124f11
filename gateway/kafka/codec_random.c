#include "gateway/kafka/codec.h"
#include "gateway/kafka/codec_priv.h"

/* Random messages, and whether two are the same: for tests and fuzz seeds. */

enum {
	RANDOM_ITEMS = 3,	/* elements of an array */
	RANDOM_STRING = 12,	/* bytes */
	RANDOM_RUN = 40,
	RANDOM_PARTS = 3,
};

/* splitmix64 */
static uint64_t next(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint32_t below(uint64_t *seed, uint32_t n)
{
	return (uint32_t)(next(seed) % n);
}

/* The edges come often. */
static int64_t random_number(uint64_t *seed)
{
	switch (below(seed, 4)) {
	case 0:
		return (int64_t)below(seed, 4) - 1;
	case 1:
		return (int64_t)(next(seed) >> below(seed, 64));
	default:
		return (int64_t)next(seed);
	}
}

static enum err random_run(uint64_t *seed, struct kafka_arena *arena, uint32_t max, bool is_text,
			   struct span *out)
{
	size_t n = below(seed, max + 1);
	uint8_t *p = kafka_arena_alloc(arena, n);
	if (p == NULL) {
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		p[i] = is_text ? (uint8_t)('a' + below(seed, 26)) : (uint8_t)next(seed);
	}
	*out = span_of(p, n);
	return ERR_OK;
}

static enum err random_records(uint64_t *seed, struct kafka_arena *arena, struct kafka_records *v)
{
	v->is_null = below(seed, 4) == 0;
	if (v->is_null) {
		return ERR_OK;
	}
	if (below(seed, 2) == 0) {
		return random_run(seed, arena, RANDOM_RUN, false, &v->s);
	}
	uint32_t n = 1 + below(seed, RANDOM_PARTS);
	struct span *parts = kafka_arena_alloc(arena, n * sizeof *parts);
	if (parts == NULL) {
		return ERR_NOMEM;
	}
	enum err e = ERR_OK;
	for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
		e = random_run(seed, arena, RANDOM_RUN, false, &parts[i]);
	}
	v->parts = parts;
	v->n_parts = n;
	return e;
}

static enum err random_array(const struct kafka_field *f, int16_t version, uint64_t *seed,
			     struct kafka_arena *arena, void *out)
{
	int32_t n = (int32_t)below(seed, RANDOM_ITEMS + 1);
	if (version >= f->null_from && below(seed, 4) == 0) {
		n = -1;
	}
	size_t size = kafka_item_size(f);
	uint8_t *items = n > 0 ? kafka_arena_alloc(arena, (size_t)n * size) : NULL;
	if (n > 0 && items == NULL) {
		return ERR_NOMEM;
	}
	kafka_set_array(out, f, items, n);
	enum err e = ERR_OK;
	for (int32_t i = 0; i < n && e == ERR_OK; i++, items += size) {
		void *item = items;
		if (f->kind == KAFKA_ARRAY) {
			e = kafka_random(f->of, version, seed, arena, item);
		} else if (f->kind == KAFKA_ARRAY_STRING) {
			struct kafka_string *v = item;
			e = random_run(seed, arena, RANDOM_STRING, true, &v->s);
		} else {
			int32_t *v = item;
			*v = (int32_t)random_number(seed);
		}
	}
	return e;
}

static enum err random_field(const struct kafka_field *f, int16_t version, uint64_t *seed,
			     struct kafka_arena *arena, void *out)
{
	void *at = kafka_member(out, f->at);
	switch (f->kind) {
	case KAFKA_BOOL:
		*(bool *)at = below(seed, 2) == 0;
		return ERR_OK;
	case KAFKA_I8:
		*(int8_t *)at = (int8_t)random_number(seed);
		return ERR_OK;
	case KAFKA_I16:
		*(int16_t *)at = (int16_t)random_number(seed);
		return ERR_OK;
	case KAFKA_I32:
		*(int32_t *)at = (int32_t)random_number(seed);
		return ERR_OK;
	case KAFKA_I64:
		*(int64_t *)at = random_number(seed);
		return ERR_OK;
	case KAFKA_UUID:
		for (size_t i = 0; i < sizeof(struct kafka_uuid); i++) {
			((struct kafka_uuid *)at)->b[i] = (uint8_t)next(seed);
		}
		return ERR_OK;
	case KAFKA_STRING: {
		struct kafka_string *v = at;
		v->is_null = version >= f->null_from && below(seed, 3) == 0;
		return v->is_null ? ERR_OK : random_run(seed, arena, RANDOM_STRING, true, &v->s);
	}
	case KAFKA_BYTES: {
		struct kafka_bytes *v = at;
		return random_run(seed, arena, RANDOM_RUN, false, &v->s);
	}
	case KAFKA_RECORDS:
		return random_records(seed, arena, at);
	case KAFKA_STRUCT:
		return kafka_random(f->of, version, seed, arena, at);
	default:
		return random_array(f, version, seed, arena, out);
	}
}

enum err kafka_random(const struct kafka_struct *s, int16_t version, uint64_t *seed,
		      struct kafka_arena *arena, void *out)
{
	kafka_defaults(s, out);
	for (uint32_t i = 0; i < s->n_fields; i++) {
		const struct kafka_field *f = &s->fields[i];
		if (!kafka_field_is_in(f, version)) {
			continue;
		}
		if (f->tag != KAFKA_NO_TAG) {
			bool *has = kafka_member(out, f->has_at);
			*has = below(seed, 2) == 0;
			if (!*has) {
				continue;
			}
		}
		/* What a nullable string's default left behind. */
		if (f->kind == KAFKA_STRING) {
			*(struct kafka_string *)kafka_member(out, f->at) = (struct kafka_string){0};
		}
		enum err e = random_field(f, version, seed, arena, out);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

/* ---- equality ------------------------------------------------------------ */

/* The next byte of records, or -1 at their end. */
struct walk {
	const struct span *parts;
	uint32_t n;
	size_t at;
};

static int walk_next(struct walk *w)
{
	while (w->n != 0 && w->at == w->parts->n) {
		w->parts++;
		w->n--;
		w->at = 0;
	}
	return w->n != 0 ? w->parts->p[w->at++] : -1;
}

static bool equal_records(const struct kafka_records *a, const struct kafka_records *b)
{
	if (a->is_null || b->is_null) {
		return a->is_null == b->is_null;
	}
	struct walk x = {a->n_parts != 0 ? a->parts : &a->s, a->n_parts != 0 ? a->n_parts : 1, 0};
	struct walk y = {b->n_parts != 0 ? b->parts : &b->s, b->n_parts != 0 ? b->n_parts : 1, 0};
	for (;;) {
		int c = walk_next(&x);
		if (c != walk_next(&y)) {
			return false;
		}
		if (c < 0) {
			return true;
		}
	}
}

static bool equal_strings(const struct kafka_string *a, const struct kafka_string *b)
{
	return a->is_null == b->is_null && (a->is_null || span_eq(a->s, b->s));
}

static bool equal_arrays(const struct kafka_field *f, const void *a, const void *b)
{
	int32_t n = kafka_count(a, f);
	if (n != kafka_count(b, f)) {
		return false;
	}
	const uint8_t *x = kafka_items(a, f);
	const uint8_t *y = kafka_items(b, f);
	size_t size = kafka_item_size(f);
	for (int32_t i = 0; i < n; i++, x += size, y += size) {
		const void *p = x;
		const void *q = y;
		bool same = f->kind == KAFKA_ARRAY	    ? kafka_equal(f->of, p, q)
			    : f->kind == KAFKA_ARRAY_STRING ? equal_strings(p, q)
							    : memcmp(p, q, size) == 0;
		if (!same) {
			return false;
		}
	}
	return true;
}

static bool equal_fields(const struct kafka_field *f, const void *a, const void *b)
{
	const void *x = kafka_member_const(a, f->at);
	const void *y = kafka_member_const(b, f->at);
	switch (f->kind) {
	case KAFKA_BOOL:
		return *(const bool *)x == *(const bool *)y;
	case KAFKA_I8:
		return memcmp(x, y, sizeof(int8_t)) == 0;
	case KAFKA_I16:
		return memcmp(x, y, sizeof(int16_t)) == 0;
	case KAFKA_I32:
		return memcmp(x, y, sizeof(int32_t)) == 0;
	case KAFKA_I64:
		return memcmp(x, y, sizeof(int64_t)) == 0;
	case KAFKA_UUID:
		return memcmp(x, y, sizeof(struct kafka_uuid)) == 0;
	case KAFKA_STRING:
		return equal_strings(x, y);
	case KAFKA_BYTES: {
		const struct kafka_bytes *v = x;
		const struct kafka_bytes *w = y;
		return v->is_null == w->is_null && (v->is_null || span_eq(v->s, w->s));
	}
	case KAFKA_RECORDS:
		return equal_records(x, y);
	case KAFKA_STRUCT:
		return kafka_equal(f->of, x, y);
	default:
		return equal_arrays(f, a, b);
	}
}

bool kafka_equal(const struct kafka_struct *s, const void *a, const void *b)
{
	for (uint32_t i = 0; i < s->n_fields; i++) {
		const struct kafka_field *f = &s->fields[i];
		bool is_tagged = f->tag != KAFKA_NO_TAG;
		if (is_tagged && kafka_has(a, f) != kafka_has(b, f)) {
			return false;
		}
		if ((!is_tagged || kafka_has(a, f)) && !equal_fields(f, a, b)) {
			return false;
		}
	}
	return true;
}
