#ifndef BASE_BYTES_H
#define BASE_BYTES_H

/* Spans, shared buffers and cursors: the only way bytes from outside are read
 * or written. Cursors have a sticky error: the first failure is remembered,
 * later steps do nothing and give zeros, one check at the end suffices. Every
 * primitive compares `need > left` before it moves. Multi-byte numbers are
 * big-endian unless the name says le. No thread safety beyond struct buf's
 * reference count. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

/* A borrowed run of bytes; `p` may be NULL only when `n` is 0. */
struct span {
	const uint8_t *p;
	size_t n;
};

static inline struct span span_of(const void *p, size_t n)
{
	return (struct span){(const uint8_t *)p, n};
}
static inline struct span span_str(const char *s)
{
	return span_of(s, s != NULL ? strlen(s) : 0);
}
bool span_eq(struct span a, struct span b);
bool span_eq_str(struct span a, const char *s);
bool span_ieq_str(struct span a, const char *s);	/* ASCII case ignored */
/* Copies into a C string buffer; ERR_TOO_LARGE when it does not fit with its
 * NUL, ERR_INVALID when the span holds a NUL byte. */
enum err span_to_cstr(struct span s, char *out, size_t out_size) MUST_CHECK;

/* ---- shared buffers -------------------------------------------------- */

/* A heap block with an atomic reference count; immutable once shared. */
struct buf {
	atomic_uint refs;
	uint32_t cap;
	uint32_t len;	/* bytes in use; set by the owner before sharing */
	uint8_t data[];
};

struct buf *buf_new(size_t cap);	/* NULL: no memory, or cap > UINT32_MAX; one reference */
struct buf *buf_hold(struct buf *b);	/* another reference; returns b */
void buf_drop(struct buf **b);		/* gives one up and sets *b to NULL; *b may be NULL */

/* ---- reading --------------------------------------------------------- */

struct rd {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct rd rd_of(struct span s)
{
	return (struct rd){s.p, s.n != 0 ? s.p + s.n : s.p, false};
}
static inline size_t rd_left(const struct rd *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->p);
}
/* True and sets `bad` when fewer than n bytes are left. */
static inline bool rd_short(struct rd *r, size_t n)
{
	if (r->bad || n > (size_t)(r->end - r->p)) {
		r->bad = true;
		return true;
	}
	return false;
}
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
int64_t rd_varlong(struct rd *r);	/* zigzag, as in Kafka records; over-long is bad */
int32_t rd_varint(struct rd *r);
struct span rd_span(struct rd *r, size_t n);	/* borrows from the input */
void rd_skip(struct rd *r, size_t n);

/* ---- writing into fixed space ---------------------------------------- */

struct wr {
	uint8_t *start;
	uint8_t *p;
	uint8_t *end;
	bool bad;
};

static inline struct wr wr_of(void *p, size_t n)
{
	return (struct wr){p, p, (uint8_t *)p + n, false};
}
static inline size_t wr_len(const struct wr *w)
{
	return (size_t)(w->p - w->start);
}
void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_u64(struct wr *w, uint64_t v);
void wr_varlong(struct wr *w, int64_t v);
void wr_bytes(struct wr *w, const void *p, size_t n);
void wr_span(struct wr *w, struct span s);
uint8_t *wr_reserve(struct wr *w, size_t n);	/* NULL when full; the space is the caller's to fill */

size_t varlong_size(int64_t v);	/* 1..10 */

/* Plain stores and loads at known-valid places. */
static inline void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static inline void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, (uint16_t)(v >> 16));
	put_u16(p + 2, (uint16_t)v);
}
static inline void put_u64(uint8_t *p, uint64_t v)
{
	put_u32(p, (uint32_t)(v >> 32));
	put_u32(p + 4, (uint32_t)v);
}
static inline uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)((unsigned)p[0] << 8 | p[1]);
}
static inline uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}
static inline uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

/* ---- growing text or bytes ------------------------------------------- */

/* A growing buffer with a sticky out-of-memory flag and a bound.
 * Zero-initialise with {.max = n}; max 0 means 16 MiB. str_fini frees. */
struct str {
	char *p;	/* NUL-terminated when len > 0 */
	size_t len;
	size_t cap;
	size_t max;
	bool bad;	/* memory short or bound reached; content is then a prefix */
};

void str_add(struct str *s, const char *text);
void str_addn(struct str *s, const void *p, size_t n);
void str_printf(struct str *s, const char *fmt, ...) PRINTF(2, 3);
void str_fini(struct str *s);	/* frees and zeroes, keeping max */

#endif
