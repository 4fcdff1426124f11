/* The writing half of codec.h. */

#include <assert.h>
#include <string.h>

#include "gateway/wire/codec.h"

static void put1(struct str *s, uint8_t a)
{
	str_addn(s, &a, 1);
}

static void put2(struct str *s, uint8_t a, uint8_t b)
{
	uint8_t bytes[2] = {a, b};
	str_addn(s, bytes, sizeof bytes);
}

static void put_code_u32(struct str *s, uint8_t code, uint32_t v)
{
	uint8_t bytes[5] = {code};
	put_u32(bytes + 1, v);
	str_addn(s, bytes, sizeof bytes);
}

static void put_code_u64(struct str *s, uint8_t code, uint64_t v)
{
	uint8_t bytes[9] = {code};
	put_u64(bytes + 1, v);
	str_addn(s, bytes, sizeof bytes);
}

void amqp_put_null(struct str *s)
{
	put1(s, 0x40);
}

void amqp_put_bool(struct str *s, bool v)
{
	put1(s, v ? 0x41 : 0x42);
}

void amqp_put_ubyte(struct str *s, uint8_t v)
{
	put2(s, 0x50, v);
}

void amqp_put_ushort(struct str *s, uint16_t v)
{
	uint8_t bytes[3] = {0x60};
	put_u16(bytes + 1, v);
	str_addn(s, bytes, sizeof bytes);
}

void amqp_put_uint(struct str *s, uint32_t v)
{
	if (v == 0) {
		put1(s, 0x43);
	} else if (v <= UINT8_MAX) {
		put2(s, 0x52, (uint8_t)v);
	} else {
		put_code_u32(s, 0x70, v);
	}
}

void amqp_put_ulong(struct str *s, uint64_t v)
{
	if (v == 0) {
		put1(s, 0x44);
	} else if (v <= UINT8_MAX) {
		put2(s, 0x53, (uint8_t)v);
	} else {
		put_code_u64(s, 0x80, v);
	}
}

void amqp_put_int(struct str *s, int32_t v)
{
	if (v >= INT8_MIN && v <= INT8_MAX) {
		put2(s, 0x54, (uint8_t)v);
	} else {
		put_code_u32(s, 0x71, (uint32_t)v);
	}
}

void amqp_put_long(struct str *s, int64_t v)
{
	if (v >= INT8_MIN && v <= INT8_MAX) {
		put2(s, 0x55, (uint8_t)v);
	} else {
		put_code_u64(s, 0x81, (uint64_t)v);
	}
}

void amqp_put_double(struct str *s, double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof bits);
	put_code_u64(s, 0x82, bits);
}

void amqp_put_timestamp(struct str *s, int64_t ms)
{
	put_code_u64(s, 0x83, (uint64_t)ms);
}

/* `code8` is the short form; the long one stands 0x10 above it. */
static void put_var(struct str *s, uint8_t code8, struct span v)
{
	if (v.n > UINT32_MAX) {
		s->bad = true;
		return;
	}
	if (v.n <= UINT8_MAX) {
		put2(s, code8, (uint8_t)v.n);
	} else {
		put_code_u32(s, (uint8_t)(code8 + 0x10), (uint32_t)v.n);
	}
	str_addn(s, v.p, v.n);
}

void amqp_put_binary(struct str *s, struct span v)
{
	put_var(s, 0xa0, v);
}

void amqp_put_string(struct str *s, struct span v)
{
	put_var(s, 0xa1, v);
}

void amqp_put_symbol(struct str *s, struct span v)
{
	put_var(s, 0xa3, v);
}

void amqp_put_raw(struct str *s, struct span encoded)
{
	str_addn(s, encoded.p, encoded.n);
}

void amqp_put_descriptor(struct str *s, uint8_t code)
{
	uint8_t bytes[3] = {0x00, 0x53, code};
	str_addn(s, bytes, sizeof bytes);
}

static size_t begin(struct str *s, uint8_t code)
{
	uint8_t bytes[9] = {code};
	str_addn(s, bytes, sizeof bytes);
	return s->bad ? 0 : s->len - 8;
}

size_t amqp_begin_list(struct str *s)
{
	return begin(s, 0xd0);
}

size_t amqp_begin_map(struct str *s)
{
	return begin(s, 0xd1);
}

void amqp_end(struct str *s, size_t mark, uint32_t count)
{
	if (s->bad) {
		return;
	}
	assert(mark + 8 <= s->len);
	uint8_t *head = (uint8_t *)s->p + mark;
	put_u32(head, (uint32_t)(s->len - mark - 4));
	put_u32(head + 4, count);
}

void amqp_put_string_array(struct str *s, const struct span *items, size_t n)
{
	bool wide = false;
	for (size_t i = 0; i < n; i++) {
		wide = wide || items[i].n > UINT8_MAX;
	}
	size_t mark = begin(s, 0xf0);
	put1(s, wide ? 0xb1 : 0xa1);
	for (size_t i = 0; i < n; i++) {
		uint8_t head[4];
		put_u32(head, (uint32_t)items[i].n);
		str_addn(s, wide ? head : head + 3, wide ? 4 : 1);
		str_addn(s, items[i].p, items[i].n);
	}
	amqp_end(s, mark, (uint32_t)n);
}
