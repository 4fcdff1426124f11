#include "base/bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "base/mem.h"

bool span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool span_eq_str(struct span a, const char *s)
{
	return span_eq(a, span_str(s));
}

bool span_ieq_str(struct span a, const char *s)
{
	size_t n = strlen(s);
	return a.n == n && (n == 0 || strncasecmp((const char *)a.p, s, n) == 0);
}

enum err span_to_cstr(struct span s, char *out, size_t out_size)
{
	if (s.n >= out_size) {
		return ERR_TOO_LARGE;
	}
	if (s.n != 0 && memchr(s.p, 0, s.n) != NULL) {
		return ERR_INVALID;
	}
	if (s.n != 0) {
		memcpy(out, s.p, s.n);
	}
	out[s.n] = '\0';
	return ERR_OK;
}

struct buf *buf_new(size_t cap)
{
	if (cap > UINT32_MAX) {
		return NULL;
	}
	struct buf *b = mem_alloc(sizeof *b + cap);
	if (b != NULL) {
		atomic_init(&b->refs, 1);
		b->cap = (uint32_t)cap;
		b->len = 0;
	}
	return b;
}

struct buf *buf_hold(struct buf *b)
{
	/* Relaxed: whoever holds a reference already sees the content. */
	unsigned old = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	assert(old > 0);
	return b;
}

void buf_drop(struct buf **bp)
{
	struct buf *b = *bp;
	*bp = NULL;
	if (b == NULL) {
		return;
	}
	unsigned old = atomic_fetch_sub(&b->refs, 1);
	assert(old > 0);
	if (old == 1) {
		mem_free(b);
	}
}

uint8_t rd_u8(struct rd *r)
{
	return rd_short(r, 1) ? 0 : *r->p++;
}

uint16_t rd_u16(struct rd *r)
{
	if (rd_short(r, 2)) {
		return 0;
	}
	uint16_t v = get_u16(r->p);
	r->p += 2;
	return v;
}

uint32_t rd_u32(struct rd *r)
{
	if (rd_short(r, 4)) {
		return 0;
	}
	uint32_t v = get_u32(r->p);
	r->p += 4;
	return v;
}

uint64_t rd_u64(struct rd *r)
{
	if (rd_short(r, 8)) {
		return 0;
	}
	uint64_t v = get_u64(r->p);
	r->p += 8;
	return v;
}

int64_t rd_varlong(struct rd *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t b = rd_u8(r);
		if (r->bad) {
			return 0;
		}
		if (shift == 63 && b > 1) {
			break;
		}
		v |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0) {
			return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
		}
	}
	r->bad = true;
	return 0;
}

int32_t rd_varint(struct rd *r)
{
	int64_t v = rd_varlong(r);
	if (v < INT32_MIN || v > INT32_MAX) {
		r->bad = true;
		return 0;
	}
	return (int32_t)v;
}

struct span rd_span(struct rd *r, size_t n)
{
	if (rd_short(r, n)) {
		return (struct span){NULL, 0};
	}
	struct span s = {r->p, n};
	r->p += n;
	return s;
}

void rd_skip(struct rd *r, size_t n)
{
	if (!rd_short(r, n)) {
		r->p += n;
	}
}

uint8_t *wr_reserve(struct wr *w, size_t n)
{
	if (w->bad || n > (size_t)(w->end - w->p)) {
		w->bad = true;
		return NULL;
	}
	uint8_t *p = w->p;
	w->p += n;
	return p;
}

void wr_u8(struct wr *w, uint8_t v)
{
	uint8_t *p = wr_reserve(w, 1);
	if (p != NULL) {
		*p = v;
	}
}

void wr_u16(struct wr *w, uint16_t v)
{
	uint8_t *p = wr_reserve(w, 2);
	if (p != NULL) {
		put_u16(p, v);
	}
}

void wr_u32(struct wr *w, uint32_t v)
{
	uint8_t *p = wr_reserve(w, 4);
	if (p != NULL) {
		put_u32(p, v);
	}
}

void wr_u64(struct wr *w, uint64_t v)
{
	uint8_t *p = wr_reserve(w, 8);
	if (p != NULL) {
		put_u64(p, v);
	}
}

static uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

size_t varlong_size(int64_t v)
{
	uint64_t z = zigzag(v);
	size_t n = 1;
	while (z >= 0x80) {
		z >>= 7;
		n++;
	}
	return n;
}

void wr_varlong(struct wr *w, int64_t v)
{
	uint64_t z = zigzag(v);
	while (z >= 0x80) {
		wr_u8(w, (uint8_t)(z | 0x80));
		z >>= 7;
	}
	wr_u8(w, (uint8_t)z);
}

void wr_bytes(struct wr *w, const void *p, size_t n)
{
	uint8_t *to = wr_reserve(w, n);
	if (to != NULL && n != 0) {
		memcpy(to, p, n);
	}
}

void wr_span(struct wr *w, struct span s)
{
	wr_bytes(w, s.p, s.n);
}

enum { STR_MAX_DEFAULT = 16 << 20 };

void str_addn(struct str *s, const void *p, size_t n)
{
	size_t max = s->max != 0 ? s->max : STR_MAX_DEFAULT;
	if (s->bad || n >= max || s->len > max - 1 - n) {
		s->bad = true;
		return;
	}
	void *block = s->p;
	if (!mem_grow(&block, &s->cap, s->len + n + 1, 1)) {
		s->bad = true;
		return;
	}
	s->p = block;
	if (n != 0) {
		memcpy(s->p + s->len, p, n);
	}
	s->len += n;
	s->p[s->len] = '\0';
}

void str_add(struct str *s, const char *text)
{
	str_addn(s, text, strlen(text));
}

void str_printf(struct str *s, const char *fmt, ...)
{
	char small[256];
	va_list ap;
	va_start(ap, fmt);
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof small, fmt, ap);
	va_end(ap);
	if (n < 0) {
		s->bad = true;
	} else if ((size_t)n < sizeof small) {
		str_addn(s, small, (size_t)n);
	} else {
		char *big = mem_alloc((size_t)n + 1);
		if (big == NULL) {
			s->bad = true;
		} else {
			vsnprintf(big, (size_t)n + 1, fmt, again);
			str_addn(s, big, (size_t)n);
			mem_free(big);
		}
	}
	va_end(again);
}

void str_fini(struct str *s)
{
	mem_free(s->p);
	*s = (struct str){.max = s->max};
}
