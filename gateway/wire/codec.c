#include "gateway/wire/codec.h"

#include <string.h>

#include "base/limits.h"

/* The constructors of AMQP 1.0 §1.6 by which this file decides. */
enum {
	CODE_DESCRIBED = 0x00,
	CODE_TRUE = 0x41,
	CODE_LIST0 = 0x45,
	CODE_BOOL = 0x56,
};

/* How the bytes after a constructor are laid out (AMQP 1.0 §1.2). */
enum shape {
	SHAPE_NONE,	/* no such constructor */
	SHAPE_EMPTY,
	SHAPE_1,
	SHAPE_2,
	SHAPE_4,
	SHAPE_8,
	SHAPE_16,
	SHAPE_VAR8,
	SHAPE_VAR32,
	SHAPE_COMPOUND8,
	SHAPE_COMPOUND32,
	SHAPE_ARRAY8,
	SHAPE_ARRAY32,
};

struct code {
	uint8_t shape;
	uint8_t type;
};

static const struct code codes[256] = {
	[0x40] = {SHAPE_EMPTY, AMQP_NULL},
	[0x41] = {SHAPE_EMPTY, AMQP_BOOL},
	[0x42] = {SHAPE_EMPTY, AMQP_BOOL},
	[0x43] = {SHAPE_EMPTY, AMQP_UINT},
	[0x44] = {SHAPE_EMPTY, AMQP_ULONG},
	[0x45] = {SHAPE_EMPTY, AMQP_LIST},
	[0x50] = {SHAPE_1, AMQP_UBYTE},
	[0x51] = {SHAPE_1, AMQP_BYTE},
	[0x52] = {SHAPE_1, AMQP_UINT},
	[0x53] = {SHAPE_1, AMQP_ULONG},
	[0x54] = {SHAPE_1, AMQP_INT},
	[0x55] = {SHAPE_1, AMQP_LONG},
	[0x56] = {SHAPE_1, AMQP_BOOL},
	[0x60] = {SHAPE_2, AMQP_USHORT},
	[0x61] = {SHAPE_2, AMQP_SHORT},
	[0x70] = {SHAPE_4, AMQP_UINT},
	[0x71] = {SHAPE_4, AMQP_INT},
	[0x72] = {SHAPE_4, AMQP_FLOAT},
	[0x73] = {SHAPE_4, AMQP_CHAR},
	[0x74] = {SHAPE_4, AMQP_DECIMAL32},
	[0x80] = {SHAPE_8, AMQP_ULONG},
	[0x81] = {SHAPE_8, AMQP_LONG},
	[0x82] = {SHAPE_8, AMQP_DOUBLE},
	[0x83] = {SHAPE_8, AMQP_TIMESTAMP},
	[0x84] = {SHAPE_8, AMQP_DECIMAL64},
	[0x94] = {SHAPE_16, AMQP_DECIMAL128},
	[0x98] = {SHAPE_16, AMQP_UUID},
	[0xa0] = {SHAPE_VAR8, AMQP_BINARY},
	[0xa1] = {SHAPE_VAR8, AMQP_STRING},
	[0xa3] = {SHAPE_VAR8, AMQP_SYMBOL},
	[0xb0] = {SHAPE_VAR32, AMQP_BINARY},
	[0xb1] = {SHAPE_VAR32, AMQP_STRING},
	[0xb3] = {SHAPE_VAR32, AMQP_SYMBOL},
	[0xc0] = {SHAPE_COMPOUND8, AMQP_LIST},
	[0xc1] = {SHAPE_COMPOUND8, AMQP_MAP},
	[0xd0] = {SHAPE_COMPOUND32, AMQP_LIST},
	[0xd1] = {SHAPE_COMPOUND32, AMQP_MAP},
	[0xe0] = {SHAPE_ARRAY8, AMQP_ARRAY},
	[0xf0] = {SHAPE_ARRAY32, AMQP_ARRAY},
};

static const uint8_t fixed_width[] = {
	[SHAPE_EMPTY] = 0, [SHAPE_1] = 1, [SHAPE_2] = 2,
	[SHAPE_4] = 4, [SHAPE_8] = 8, [SHAPE_16] = 16,
};
_Static_assert(sizeof fixed_width == SHAPE_16 + 1, "one width per fixed shape");

/* Inlined forms of the cursor's steps: this file runs for every value. */
static inline uint8_t next_u8(struct rd *r)
{
	return rd_short(r, 1) ? 0 : *r->p++;
}

static inline uint32_t next_u32(struct rd *r)
{
	if (rd_short(r, 4)) {
		return 0;
	}
	r->p += 4;
	return get_u32(r->p - 4);
}

static inline void next_skip(struct rd *r, size_t n)
{
	if (!rd_short(r, n)) {
		r->p += n;
	}
}

/* A list, map or array after its constructor: the items' bytes and count. */
struct compound {
	struct span items;
	uint32_t count;
};

static void walk(struct rd *r, unsigned depth);
static void walk_content(struct rd *r, uint8_t code, unsigned depth);

/* Reads size and count; the size covers the count's own octets. */
static struct compound compound_head(struct rd *r, bool wide)
{
	struct compound c = {{NULL, 0}, 0};
	size_t size = wide ? next_u32(r) : next_u8(r);
	size_t count_width = wide ? 4 : 1;
	if (size < count_width || rd_short(r, size)) {
		r->bad = true;
		return c;
	}
	c.count = wide ? next_u32(r) : next_u8(r);
	c.items = rd_span(r, size - count_width);
	return c;
}

/* The constructor shared by an array's items; a described one has a descriptor
 * before it. Nested descriptors (a described item constructor inside another)
 * count as depth. */
static uint8_t array_constructor(struct rd *r, unsigned depth, struct span *descriptor)
{
	uint8_t code = next_u8(r);
	while (!r->bad && code == CODE_DESCRIBED) {
		const uint8_t *from = r->p;
		if (++depth > LIMIT_AMQP_NESTING) {
			r->bad = true;
			return 0;
		}
		walk(r, depth);
		if (!r->bad && descriptor->n == 0) {
			*descriptor = span_of(from, (size_t)(r->p - from));
		}
		code = next_u8(r);
	}
	if (!r->bad && codes[code].shape == SHAPE_NONE) {
		r->bad = true;
	}
	return r->bad ? 0 : code;
}

static void walk_array(const struct compound *c, unsigned depth, struct rd *outer)
{
	struct rd in = rd_of(c->items);
	struct span descriptor = {NULL, 0};
	if (c->count == 0 && c->items.n == 0) {
		return;	/* some encoders leave the constructor of an empty array out */
	}
	uint8_t code = array_constructor(&in, depth, &descriptor);
	if (in.bad) {
		outer->bad = true;
		return;
	}
	uint8_t shape = codes[code].shape;
	if (shape <= SHAPE_16 && code != CODE_BOOL) {
		uint64_t width = fixed_width[shape];
		if (width * c->count != rd_left(&in) ||
		    (width == 0 && c->count > AMQP_EMPTY_ITEMS_MAX)) {
			outer->bad = true;
		}
		return;
	}
	for (uint32_t i = 0; i < c->count && !in.bad; i++) {
		walk_content(&in, code, depth);
	}
	if (in.bad || in.p != in.end) {
		outer->bad = true;
	}
}

static void walk_items(const struct compound *c, unsigned depth, struct rd *outer)
{
	struct rd in = rd_of(c->items);
	for (uint32_t i = 0; i < c->count && !in.bad; i++) {
		walk(&in, depth);
	}
	if (in.bad || in.p != in.end) {
		outer->bad = true;
	}
}

/* Checks what follows a constructor and moves past it. `depth` is that of the
 * value itself. */
static void walk_content(struct rd *r, uint8_t code, unsigned depth)
{
	struct compound c;
	switch ((enum shape)codes[code].shape) {
	case SHAPE_NONE:
		r->bad = true;
		return;
	case SHAPE_EMPTY:
	case SHAPE_2:
	case SHAPE_4:
	case SHAPE_8:
	case SHAPE_16:
		next_skip(r, fixed_width[codes[code].shape]);
		return;
	case SHAPE_1: {
		uint8_t v = next_u8(r);
		if (code == CODE_BOOL && v > 1) {
			r->bad = true;
		}
		return;
	}
	case SHAPE_VAR8:
		next_skip(r, next_u8(r));
		return;
	case SHAPE_VAR32:
		next_skip(r, next_u32(r));
		return;
	case SHAPE_COMPOUND8:
	case SHAPE_COMPOUND32:
		c = compound_head(r, codes[code].shape == SHAPE_COMPOUND32);
		if (depth >= LIMIT_AMQP_NESTING ||
		    (codes[code].type == AMQP_MAP && c.count % 2 != 0)) {
			r->bad = true;
		}
		if (!r->bad) {
			walk_items(&c, depth + 1, r);
		}
		return;
	case SHAPE_ARRAY8:
	case SHAPE_ARRAY32:
		c = compound_head(r, codes[code].shape == SHAPE_ARRAY32);
		if (depth >= LIMIT_AMQP_NESTING) {
			r->bad = true;
		}
		if (!r->bad) {
			walk_array(&c, depth + 1, r);
		}
		return;
	}
}

/* Checks one value and moves past it. */
static void walk(struct rd *r, unsigned depth)
{
	uint8_t code = next_u8(r);
	if (r->bad) {
		return;
	}
	if (code != CODE_DESCRIBED) {
		walk_content(r, code, depth);
		return;
	}
	if (depth >= LIMIT_AMQP_NESTING) {
		r->bad = true;
		return;
	}
	walk(r, depth + 1);
	walk(r, depth + 1);
}

struct span amqp_skip(struct rd *r)
{
	const uint8_t *from = r->p;
	walk(r, 0);
	if (r->bad) {
		return (struct span){NULL, 0};
	}
	return span_of(from, (size_t)(r->p - from));
}

struct span amqp_skip_shallow(struct rd *r)
{
	const uint8_t *from = r->p;
	/* A described value is two values: its descriptor and what it describes. */
	for (size_t left = 1; left > 0 && !r->bad; left--) {
		uint8_t code = next_u8(r);
		switch ((enum shape)codes[code].shape) {
		case SHAPE_NONE:
			if (code == CODE_DESCRIBED) {
				left += 2;
			} else {
				r->bad = true;
			}
			break;
		case SHAPE_VAR8:
		case SHAPE_COMPOUND8:
		case SHAPE_ARRAY8:
			next_skip(r, next_u8(r));
			break;
		case SHAPE_VAR32:
		case SHAPE_COMPOUND32:
		case SHAPE_ARRAY32:
			next_skip(r, next_u32(r));
			break;
		default:
			next_skip(r, fixed_width[codes[code].shape]);
			break;
		}
	}
	if (r->bad) {
		return (struct span){NULL, 0};
	}
	return span_of(from, (size_t)(r->p - from));
}

static float float_of(uint32_t bits)
{
	float f;
	_Static_assert(sizeof f == sizeof bits, "float is IEEE 754 binary32");
	memcpy(&f, &bits, sizeof f);
	return f;
}

static double double_of(uint64_t bits)
{
	double d;
	_Static_assert(sizeof d == sizeof bits, "double is IEEE 754 binary64");
	memcpy(&d, &bits, sizeof d);
	return d;
}

/* Fills in a scalar from its content, which has been checked. */
static void take_scalar(struct amqp_value *v, uint8_t code, struct rd *r)
{
	size_t width = codes[code].shape <= SHAPE_16 ? fixed_width[codes[code].shape] : 0;
	uint64_t n = width == 1 ? next_u8(r) : width == 2 ? rd_u16(r)
		   : width == 4 ? next_u32(r) : width == 8 ? rd_u64(r) : 0;
	switch (v->type) {
	case AMQP_BOOL:
		v->u = code == CODE_BOOL ? n : code == CODE_TRUE;
		break;
	case AMQP_BYTE:
		v->i = (int8_t)n;
		break;
	case AMQP_SHORT:
		v->i = (int16_t)n;
		break;
	case AMQP_INT:
	case AMQP_LONG:
		v->i = width == 1 ? (int8_t)n : width == 4 ? (int32_t)n : (int64_t)n;
		break;
	case AMQP_TIMESTAMP:
		v->i = (int64_t)n;
		break;
	case AMQP_FLOAT:
		v->d = (double)float_of((uint32_t)n);
		break;
	case AMQP_DOUBLE:
		v->d = double_of(n);
		break;
	default:
		v->u = n;
		break;
	}
}

/* Fills in `v` from the content of a value. */
static void take_content(struct amqp_value *v, uint8_t code, struct rd *r)
{
	struct compound c;
	v->type = (enum amqp_type)codes[code].type;
	switch (v->type) {
	case AMQP_BINARY:
	case AMQP_STRING:
	case AMQP_SYMBOL:
		v->data = rd_span(r, codes[code].shape == SHAPE_VAR8 ? next_u8(r) : next_u32(r));
		break;
	case AMQP_UUID:
	case AMQP_DECIMAL128:
		v->data = rd_span(r, 16);
		break;
	case AMQP_DECIMAL32:
	case AMQP_DECIMAL64:
		v->data = rd_span(r, fixed_width[codes[code].shape]);
		break;
	case AMQP_LIST:
	case AMQP_MAP:
	case AMQP_ARRAY:
		if (code == CODE_LIST0) {
			break;
		}
		c = compound_head(r, codes[code].shape == SHAPE_COMPOUND32 ||
				      codes[code].shape == SHAPE_ARRAY32);
		v->count = c.count;
		v->data = c.items;
		if (v->type == AMQP_ARRAY && c.items.n != 0) {
			struct rd in = rd_of(c.items);
			v->item_code = array_constructor(&in, 0, &v->descriptor);
			v->data = rd_span(&in, rd_left(&in));
			r->bad = r->bad || in.bad;
		}
		break;
	default:
		take_scalar(v, code, r);
		break;
	}
}

/* Fills in a value whose extent is known to be right; one that contradicts
 * itself within (a list too short for its count) is bad. */
static struct amqp_value take(struct span raw, struct rd *r)
{
	struct amqp_value v = {.type = AMQP_NULL, .raw = raw};
	struct rd in = rd_of(raw);
	uint8_t code = r->bad ? 0 : next_u8(&in);
	if (r->bad) {
		return v;
	}
	if (code == CODE_DESCRIBED) {
		v.type = AMQP_DESCRIBED;
		v.descriptor = amqp_skip_shallow(&in);
		v.described = rd_span(&in, rd_left(&in));
	} else {
		take_content(&v, code, &in);
	}
	if (in.bad) {
		r->bad = true;
		return (struct amqp_value){.type = AMQP_NULL};
	}
	return v;
}

struct amqp_value amqp_read(struct rd *r)
{
	struct span raw = amqp_skip(r);
	return take(raw, r);
}

struct amqp_value amqp_read_shallow(struct rd *r)
{
	struct span raw = amqp_skip_shallow(r);
	return take(raw, r);
}

struct amqp_value amqp_read_array_item(struct rd *r, uint8_t item_code)
{
	struct amqp_value v = {.type = AMQP_NULL};
	const uint8_t *from = r->p;
	struct rd in = *r;
	walk_content(r, item_code, 0);
	if (r->bad) {
		return v;
	}
	in.end = r->p;
	take_content(&v, item_code, &in);
	v.raw = span_of(from, (size_t)(r->p - from));
	return v;
}
