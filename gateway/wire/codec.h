#ifndef GATEWAY_WIRE_CODEC_H
#define GATEWAY_WIRE_CODEC_H

/* AMQP 1.0 types (specification part 1), bounded: reading never allocates and
 * never follows a length past the end; nesting is limited to
 * LIMIT_AMQP_NESTING. Writing goes through struct str. Pure; any thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* What a value is, wire encodings folded together. */
enum amqp_type {
	AMQP_NULL, AMQP_BOOL, AMQP_UBYTE, AMQP_USHORT, AMQP_UINT, AMQP_ULONG, AMQP_BYTE,
	AMQP_SHORT, AMQP_INT, AMQP_LONG, AMQP_FLOAT, AMQP_DOUBLE, AMQP_DECIMAL32, AMQP_DECIMAL64,
	AMQP_DECIMAL128, AMQP_CHAR, AMQP_TIMESTAMP, AMQP_UUID, AMQP_BINARY, AMQP_STRING,
	AMQP_SYMBOL, AMQP_LIST, AMQP_MAP, AMQP_ARRAY, AMQP_DESCRIBED,
};

/* One decoded value; spans borrow from the input. */
struct amqp_value {
	enum amqp_type type;
	struct span raw;	/* the whole encoding, constructor included */
	uint64_t u;		/* bool, unsigned kinds, char */
	int64_t i;		/* signed kinds, timestamp (ms) */
	double d;		/* float, double */
	struct span data;	/* binary, string, symbol, uuid, decimals: content;
				 * list, map, array: encoded items */
	uint32_t count;		/* list, map (keys + values), array: items */
	uint8_t item_code;	/* array: constructor of the items */
	struct span descriptor;	/* described: encoding of the descriptor ... */
	struct span described;	/* ... and of the value. An array of described items
				 * has their common descriptor too. */
};

/* An array of items without content (null, true, list0, ...) costs its sender
 * nothing per item, so their number has a bound of its own. */
enum { AMQP_EMPTY_ITEMS_MAX = 65536 };

/* Reads one value and moves past it, checking everything inside it. Malformed
 * or too deep: r->bad; the result is then null. */
struct amqp_value amqp_read(struct rd *r);
/* Moves past one value, checking it as amqp_read does, and gives its encoding. */
struct span amqp_skip(struct rd *r);

/* The same by outer lengths alone, contents unchecked and in constant time: for
 * bytes that were checked before, or of which only a part matters. */
struct amqp_value amqp_read_shallow(struct rd *r);
struct span amqp_skip_shallow(struct rd *r);

/* Descriptor of a described value as a ulong code, symbols of the AMQP 1.0
 * sections and performatives translated; UINT64_MAX when unknown. */
uint64_t amqp_descriptor_code(const struct amqp_value *described);

/* Iterating a list or map: rd over v.data, `count` times amqp_read. An array's
 * items have no constructor: */
struct amqp_value amqp_read_array_item(struct rd *r, uint8_t item_code);

bool amqp_is_text(const struct amqp_value *v);	/* string or symbol */
/* Any integer kind or timestamp that fits; false otherwise. */
bool amqp_to_i64(const struct amqp_value *v, int64_t *out);
/* Value of the first entry of a map with that string or symbol key. */
bool amqp_map_find(const struct amqp_value *map, const char *key, struct amqp_value *out);

/* ---- writing: smallest encoding that the Python SDK can read ---------- */
void amqp_put_null(struct str *s);
void amqp_put_bool(struct str *s, bool v);
void amqp_put_ubyte(struct str *s, uint8_t v);
void amqp_put_ushort(struct str *s, uint16_t v);
void amqp_put_uint(struct str *s, uint32_t v);
void amqp_put_ulong(struct str *s, uint64_t v);
void amqp_put_int(struct str *s, int32_t v);
void amqp_put_long(struct str *s, int64_t v);
void amqp_put_double(struct str *s, double v);
void amqp_put_timestamp(struct str *s, int64_t ms);
void amqp_put_binary(struct str *s, struct span v);
void amqp_put_string(struct str *s, struct span v);
void amqp_put_symbol(struct str *s, struct span v);
void amqp_put_raw(struct str *s, struct span encoded);
/* Opens a described value: 0x00 and the code as smallulong. */
void amqp_put_descriptor(struct str *s, uint8_t code);
/* Compound values whose size is known only at the end: begin gives a mark,
 * end fills in size and count. Always the 32-bit forms (list32, map32). */
size_t amqp_begin_list(struct str *s);
size_t amqp_begin_map(struct str *s);
void amqp_end(struct str *s, size_t mark, uint32_t count);
/* array32 of strings. */
void amqp_put_string_array(struct str *s, const struct span *items, size_t n);

/* Section descriptors, AMQP 1.0 §3.2. */
enum amqp_section_code {
	AMQP_HEADER = 0x70,
	AMQP_DELIVERY_ANNOTATIONS = 0x71,
	AMQP_MESSAGE_ANNOTATIONS = 0x72,
	AMQP_PROPERTIES = 0x73,
	AMQP_APPLICATION_PROPERTIES = 0x74,
	AMQP_DATA = 0x75,
	AMQP_SEQUENCE = 0x76,
	AMQP_AMQP_VALUE = 0x77,
	AMQP_FOOTER = 0x78,
};

#endif
