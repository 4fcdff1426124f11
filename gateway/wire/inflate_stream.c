/* gzip, lz4 and zstd: libraries that unpack as a stream. */

#include <limits.h>

#define LZ4F_STATIC_LINKING_ONLY	/* LZ4F_CustomMem: its memory is counted */
#define ZSTD_STATIC_LINKING_ONLY	/* ZSTD_customMem: the same */
#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

#include "gateway/wire/inflate_priv.h"

/* ---- gzip: RFC 1952, one member or several one after another ---------------- */

enum { GZIP_WINDOW_BITS = 15 + 16 };	/* the greatest window; a gzip head, no other */

struct gzip {
	z_stream z;
	bool is_between;	/* a member has ended */
};

static void *gzip_alloc(void *i, uInt count, uInt size)
{
	return inflate_alloc(i, (size_t)count * size);
}

static void gzip_dealloc(void *i, void *p)
{
	inflate_dealloc(i, p);
}

static enum err gzip_open(struct inflate *i)
{
	struct gzip *g = inflate_alloc(i, sizeof *g);
	if (g == NULL) {
		return inflate_why(i);
	}
	*g = (struct gzip){.z = {.zalloc = gzip_alloc, .zfree = gzip_dealloc, .opaque = i}};
	i->state = g;
	return inflateInit2(&g->z, GZIP_WINDOW_BITS) == Z_OK ? ERR_OK : inflate_why(i);
}

static enum err gzip_read(struct inflate *i, uint8_t *p, size_t n, size_t *got)
{
	struct gzip *g = i->state;
	for (;;) {
		if (g->is_between && i->in.n == 0) {
			*got = 0;
			return ERR_OK;
		}
		if (g->is_between && inflateReset(&g->z) != Z_OK) {
			return ERR_INTERNAL;
		}
		g->is_between = false;
		uInt in = i->in.n < UINT_MAX ? (uInt)i->in.n : UINT_MAX;
		uInt out = n < UINT_MAX ? (uInt)n : UINT_MAX;
		/* zlib declares its input without const, and does not write there. */
		memcpy(&g->z.next_in, &i->in.p, sizeof g->z.next_in);
		g->z.avail_in = in;
		g->z.next_out = p;
		g->z.avail_out = out;
		int rc = inflate(&g->z, Z_NO_FLUSH);
		inflate_pass(i, in - g->z.avail_in);
		*got = out - g->z.avail_out;
		g->is_between = rc == Z_STREAM_END;
		/* No step forward is Z_BUF_ERROR: the input ends early. */
		if (rc != Z_OK && rc != Z_STREAM_END) {
			return rc == Z_MEM_ERROR ? inflate_why(i) : ERR_DECODE;
		}
		if (*got > 0) {
			return ERR_OK;
		}
	}
}

static void gzip_close(struct inflate *i)
{
	struct gzip *g = i->state;
	if (g != NULL) {
		(void)inflateEnd(&g->z);
		inflate_dealloc(i, g);
	}
}

const struct inflate_ops inflate_gzip = {
	.open = gzip_open, .read = gzip_read, .close = gzip_close,
};

/* ---- lz4: one frame ----------------------------------------------------------- */

struct lz4 {
	LZ4F_dctx *ctx;
	bool has_ended;
};

static enum err lz4_open(struct inflate *i)
{
	struct lz4 *l = inflate_alloc(i, sizeof *l);
	if (l == NULL) {
		return inflate_why(i);
	}
	LZ4F_CustomMem mem = {
		.customAlloc = inflate_alloc, .customFree = inflate_dealloc, .opaqueState = i,
	};
	*l = (struct lz4){.ctx = LZ4F_createDecompressionContext_advanced(mem, LZ4F_VERSION)};
	i->state = l;
	return l->ctx != NULL ? ERR_OK : inflate_why(i);
}

static enum err lz4_read(struct inflate *i, uint8_t *p, size_t n, size_t *got)
{
	struct lz4 *l = i->state;
	*got = 0;
	while (!l->has_ended) {
		size_t in = i->in.n;
		size_t out = n;
		size_t rc = LZ4F_decompress(l->ctx, p, &out, i->in.p, &in, NULL);
		if (LZ4F_isError(rc)) {
			return inflate_why(i);
		}
		inflate_pass(i, in);
		l->has_ended = rc == 0;
		if (out > 0) {
			*got = out;
			return ERR_OK;
		}
		if (in == 0 && !l->has_ended) {
			return ERR_DECODE;	/* the input ends early */
		}
	}
	/* Java's readers stop at the first frame's end, so there is no second. */
	return i->in.n == 0 ? ERR_OK : ERR_DECODE;
}

static void lz4_close(struct inflate *i)
{
	struct lz4 *l = i->state;
	if (l != NULL) {
		(void)LZ4F_freeDecompressionContext(l->ctx);
		inflate_dealloc(i, l);
	}
}

const struct inflate_ops inflate_lz4 = {
	.open = lz4_open, .read = lz4_read, .close = lz4_close,
};

/* ---- zstd: RFC 8878, one frame or several one after another ------------------- */

enum {
	/* What every zstd reader accepts unasked, and the window of level 22, the
	 * highest that Kafka's clients offer. 128 MiB, from the budget; of these
	 * only as much is touched as was unpacked. */
	ZSTD_WINDOW_LOG = 27,
	ZSTD_FRAME_MAGIC_LEN = 4,
};

struct zstd {
	ZSTD_DCtx *ctx;
	bool is_inside;		/* a frame */
	bool has_frame;		/* one has ended */
};

static enum err zstd_open(struct inflate *i)
{
	struct zstd *z = inflate_alloc(i, sizeof *z);
	if (z == NULL) {
		return inflate_why(i);
	}
	ZSTD_customMem mem = {
		.customAlloc = inflate_alloc, .customFree = inflate_dealloc, .opaque = i,
	};
	*z = (struct zstd){.ctx = ZSTD_createDCtx_advanced(mem)};
	i->state = z;
	if (z->ctx == NULL) {
		return inflate_why(i);
	}
	size_t rc = ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	return ZSTD_isError(rc) ? ERR_INTERNAL : ERR_OK;
}

/* The library may also know formats older than the RFC; they stay unused. */
static bool zstd_begins(struct span in)
{
	if (in.n < ZSTD_FRAME_MAGIC_LEN) {
		return false;
	}
	uint32_t magic = (uint32_t)in.p[0] | (uint32_t)in.p[1] << 8 | (uint32_t)in.p[2] << 16 |
			 (uint32_t)in.p[3] << 24;
	return magic == ZSTD_MAGICNUMBER ||
	       (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

static enum err zstd_read(struct inflate *i, uint8_t *p, size_t n, size_t *got)
{
	struct zstd *z = i->state;
	*got = 0;
	for (;;) {
		if (!z->is_inside && i->in.n == 0 && z->has_frame) {
			return ERR_OK;
		}
		if (!z->is_inside && !zstd_begins(i->in)) {
			return ERR_DECODE;
		}
		z->is_inside = true;
		ZSTD_inBuffer in = {i->in.p, i->in.n, 0};
		ZSTD_outBuffer out = {p, n, 0};
		size_t rc = ZSTD_decompressStream(z->ctx, &out, &in);
		if (ZSTD_isError(rc)) {
			return inflate_why(i);
		}
		inflate_pass(i, in.pos);
		if (rc == 0) {
			z->is_inside = false;
			z->has_frame = true;
		}
		if (out.pos > 0) {
			*got = out.pos;
			return ERR_OK;
		}
		if (rc != 0 && in.pos == 0) {
			return ERR_DECODE;	/* the input ends early */
		}
	}
}

static void zstd_close(struct inflate *i)
{
	struct zstd *z = i->state;
	if (z != NULL) {
		(void)ZSTD_freeDCtx(z->ctx);
		inflate_dealloc(i, z);
	}
}

const struct inflate_ops inflate_zstd = {
	.open = zstd_open, .read = zstd_read, .close = zstd_close,
};
