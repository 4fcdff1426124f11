/* snappy, raw or in xerial's framing: unpacked a whole block at a time. */

#include <snappy-c.h>

#include "gateway/wire/inflate_priv.h"

enum {
	/* Three octets copy at most 64: no block unpacks to more than 22 times its
	 * size, so a longer length is a lie and costs no memory. */
	EXPANSION_MAX = 22,
};

struct snappy {
	bool is_framed;
	bool has_begun;		/* the raw block has been taken */
	uint8_t *block;		/* unpacked; NULL: none */
	size_t at;
	size_t len;
};

static bool is_framed(struct span in)
{
	return in.n >= XERIAL_MAGIC_LEN && memcmp(in.p, XERIAL_MAGIC, XERIAL_MAGIC_LEN) == 0;
}

static enum err snappy_open(struct inflate *i)
{
	struct snappy *s = inflate_alloc(i, sizeof *s);
	if (s == NULL) {
		return inflate_why(i);
	}
	*s = (struct snappy){.is_framed = is_framed(i->in)};
	i->state = s;
	return ERR_OK;
}

/* The next packed block; an empty one at the end. Streams that were written one
 * after another each begin with a head. */
static enum err next_block(struct inflate *i, struct span *out)
{
	struct snappy *s = i->state;
	*out = (struct span){NULL, 0};
	if (!s->is_framed) {
		if (!s->has_begun && i->in.n == 0) {
			return ERR_DECODE;
		}
		s->has_begun = true;
		*out = i->in;
		inflate_pass(i, i->in.n);
		return ERR_OK;
	}
	while (is_framed(i->in)) {
		if (i->in.n < XERIAL_HEAD) {
			return ERR_DECODE;
		}
		inflate_pass(i, XERIAL_HEAD);
	}
	if (i->in.n == 0) {
		return ERR_OK;
	}
	if (i->in.n < 4) {
		return ERR_DECODE;
	}
	uint32_t n = get_u32(i->in.p);
	if (n == 0 || n > i->in.n - 4) {
		return ERR_DECODE;
	}
	*out = span_of(i->in.p + 4, n);
	inflate_pass(i, 4 + (size_t)n);
	return ERR_OK;
}

static enum err unpack(struct span packed, uint8_t *to, size_t n)
{
	size_t len = n;
	const char *from = (const char *)packed.p;
	return snappy_uncompress(from, packed.n, (char *)to, &len) == SNAPPY_OK && len == n
		       ? ERR_OK : ERR_DECODE;
}

/* Unpacks a block, straight into p[0..n) if it fits there, which is then *got
 * octets, else into s->block. */
static enum err take_block(struct inflate *i, struct span packed, uint8_t *p, size_t n,
			   size_t *got)
{
	struct snappy *s = i->state;
	size_t len;
	if (snappy_uncompressed_length((const char *)packed.p, packed.n, &len) != SNAPPY_OK ||
	    len / EXPANSION_MAX > packed.n) {
		return ERR_DECODE;
	}
	if (len > i->max - i->given) {
		return ERR_TOO_LARGE;
	}
	if (len <= n) {
		*got = len;
		return unpack(packed, p, len);
	}
	s->block = inflate_alloc(i, len);
	if (s->block == NULL) {
		return inflate_why(i);
	}
	s->at = 0;
	s->len = len;
	return unpack(packed, s->block, len);
}

static enum err snappy_read(struct inflate *i, uint8_t *p, size_t n, size_t *got)
{
	struct snappy *s = i->state;
	*got = 0;
	while (s->block == NULL) {
		struct span packed;
		enum err e = next_block(i, &packed);
		if (e != ERR_OK || packed.n == 0) {
			return e;
		}
		e = take_block(i, packed, p, n, got);
		if (e != ERR_OK || *got > 0) {
			return e;
		}
	}
	*got = s->len - s->at < n ? s->len - s->at : n;
	memcpy(p, s->block + s->at, *got);
	s->at += *got;
	if (s->at == s->len) {
		inflate_dealloc(i, s->block);
		s->block = NULL;
	}
	return ERR_OK;
}

static void snappy_close(struct inflate *i)
{
	struct snappy *s = i->state;
	if (s != NULL) {
		inflate_dealloc(i, s->block);
		inflate_dealloc(i, s);
	}
}

const struct inflate_ops inflate_snappy = {
	.open = snappy_open, .read = snappy_read, .close = snappy_close,
};
