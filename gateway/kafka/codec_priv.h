#ifndef GATEWAY_KAFKA_CODEC_PRIV_H
#define GATEWAY_KAFKA_CODEC_PRIV_H

/* The descriptor tables that messages.c makes out of messages.def, and what the
 * files of the codec share. */

#include "gateway/kafka/codec.h"

enum {
	KAFKA_UP = INT16_MAX,		/* a field's last version: none */
	KAFKA_NEVER = INT16_MAX,	/* null_from: never null */
	KAFKA_NO_TAG = -1,
	/* Structs within each other; the deepest message has 4 (a test counts). */
	KAFKA_DEPTH_MAX = 8,
	KAFKA_UVARINT_MAX = 5,		/* bytes of a 32 bit number */
	KAFKA_TAG_SMALLEST = 2,		/* bytes of a tagged field without content */
};

enum kafka_kind {
	KAFKA_BOOL,
	KAFKA_I8,
	KAFKA_I16,
	KAFKA_I32,
	KAFKA_I64,
	KAFKA_UUID,
	KAFKA_STRING,
	KAFKA_BYTES,
	KAFKA_RECORDS,
	KAFKA_STRUCT,		/* tagged fields only */
	KAFKA_ARRAY,
	KAFKA_ARRAY_I32,
	KAFKA_ARRAY_STRING,
};

struct kafka_field {
	const char *name;
	const struct kafka_struct *of;	/* KAFKA_STRUCT, KAFKA_ARRAY */
	int64_t def;			/* numbers: value where the field is absent */
	uint16_t at;			/* place in the struct */
	uint16_t n_at;			/* arrays: place of n_<name> */
	uint16_t has_at;		/* tagged fields: place of has_<name> */
	uint8_t kind;
	int8_t tag;
	int16_t first;
	int16_t last;
	int16_t null_from;
};

struct kafka_struct {
	const char *name;
	const struct kafka_field *fields;	/* in the order of the wire; tagged ones last, by tag */
	uint32_t n_fields;
	uint32_t size;
};

static inline bool kafka_field_is_in(const struct kafka_field *f, int16_t version)
{
	return version >= f->first && version <= f->last;
}

/* Members of a struct that is known by its descriptor. */
static inline void *kafka_member(void *s, size_t at)
{
	return (uint8_t *)s + at;
}
static inline const void *kafka_member_const(const void *s, size_t at)
{
	return (const uint8_t *)s + at;
}
static inline bool kafka_has(const void *s, const struct kafka_field *f)
{
	const bool *has = kafka_member_const(s, f->has_at);
	return *has;
}
static inline int32_t kafka_count(const void *s, const struct kafka_field *f)
{
	const int32_t *n = kafka_member_const(s, f->n_at);
	return *n;
}
/* The pointer of an array field; copied, since its type is not known here. */
static inline const void *kafka_items(const void *s, const struct kafka_field *f)
{
	const void *p;
	memcpy(&p, kafka_member_const(s, f->at), sizeof p);
	return p;
}
static inline void kafka_set_array(void *s, const struct kafka_field *f, const void *items,
				   int32_t n)
{
	int32_t *count = kafka_member(s, f->n_at);
	*count = n;
	memcpy(kafka_member(s, f->at), &items, sizeof items);
}

/* Bytes of one element of an array field in memory. */
static inline size_t kafka_item_size(const struct kafka_field *f)
{
	return f->kind == KAFKA_ARRAY	     ? f->of->size
	       : f->kind == KAFKA_ARRAY_I32 ? sizeof(int32_t)
					    : sizeof(struct kafka_string);
}

/* Gives the field its default; the struct is zeroed. */
void kafka_field_default(const struct kafka_field *f, void *s);
/* `number` as the field's kind holds it; not for other kinds than numbers and bool. */
void kafka_set_number(const struct kafka_field *f, void *at, int64_t number);

/* Reads an unsigned varint of up to 32 bits at *p; false when it is cut off or
 * longer. */
static inline bool kafka_uvarint(const uint8_t **p, const uint8_t *end, uint32_t *out)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < KAFKA_UVARINT_MAX && *p < end; i++) {
		uint8_t b = *(*p)++;
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (b < 0x80) {
			*out = (uint32_t)v;
			return v <= UINT32_MAX;
		}
	}
	return false;
}

#endif
