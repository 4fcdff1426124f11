/* Packing, for clients and tests: deflate_all of records.h. */

#include <limits.h>

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"
#include "gateway/wire/inflate_priv.h"

enum {
	GZIP_WINDOW_BITS = 15 + 16,
	GZIP_MEMORY = 8,	/* zlib's own default */
	ZSTD_LEVEL = 3,		/* Kafka's default */
};

static enum err added(const struct str *out)
{
	return out->bad ? ERR_NOMEM : ERR_OK;
}

static enum err pack_gzip(struct span in, struct str *out)
{
	z_stream z = {.avail_in = (uInt)in.n};
	memcpy(&z.next_in, &in.p, sizeof z.next_in);	/* declared without const */
	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEMORY,
			 Z_DEFAULT_STRATEGY) != Z_OK) {
		return ERR_NOMEM;
	}
	uint8_t piece[4096];
	int rc = Z_OK;
	while (rc == Z_OK && !out->bad) {
		z.next_out = piece;
		z.avail_out = sizeof piece;
		rc = deflate(&z, Z_FINISH);
		str_addn(out, piece, sizeof piece - z.avail_out);
	}
	(void)deflateEnd(&z);
	return rc == Z_STREAM_END ? added(out) : out->bad ? ERR_NOMEM : ERR_INTERNAL;
}

/* In xerial's framing, as Java's clients send it. */
static enum err pack_snappy(struct span in, struct str *out)
{
	uint8_t head[XERIAL_HEAD] = XERIAL_MAGIC;
	put_u32(head + XERIAL_MAGIC_LEN, 1);
	put_u32(head + XERIAL_MAGIC_LEN + 4, 1);
	str_addn(out, head, sizeof head);
	size_t room = snappy_max_compressed_length(XERIAL_BLOCK);
	char *block = mem_alloc(room);
	if (block == NULL) {
		return ERR_NOMEM;
	}
	enum err e = ERR_OK;
	for (size_t at = 0; at < in.n && e == ERR_OK; at += XERIAL_BLOCK) {
		size_t n = in.n - at < XERIAL_BLOCK ? in.n - at : XERIAL_BLOCK;
		size_t len = room;
		if (snappy_compress((const char *)in.p + at, n, block, &len) != SNAPPY_OK) {
			e = ERR_INTERNAL;
			break;
		}
		uint8_t length[4];
		put_u32(length, (uint32_t)len);
		str_addn(out, length, sizeof length);
		str_addn(out, block, len);
	}
	mem_free(block);
	return e != ERR_OK ? e : added(out);
}

/* Independent blocks of 64 KiB: Java reads no others. */
static enum err pack_lz4(struct span in, struct str *out)
{
	LZ4F_preferences_t prefs = {
		.frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
	};
	size_t room = LZ4F_compressFrameBound(in.n, &prefs);
	char *packed = mem_alloc(room);
	if (packed == NULL) {
		return ERR_NOMEM;
	}
	size_t n = LZ4F_compressFrame(packed, room, in.p, in.n, &prefs);
	bool failed = LZ4F_isError(n) != 0;
	if (!failed) {
		str_addn(out, packed, n);
	}
	mem_free(packed);
	return failed ? ERR_NOMEM : added(out);
}

static enum err pack_zstd(struct span in, struct str *out)
{
	size_t room = ZSTD_compressBound(in.n);
	char *packed = mem_alloc(room);
	if (packed == NULL) {
		return ERR_NOMEM;
	}
	size_t n = ZSTD_compress(packed, room, in.p, in.n, ZSTD_LEVEL);
	bool failed = ZSTD_isError(n) != 0;
	if (!failed) {
		str_addn(out, packed, n);
	}
	mem_free(packed);
	return failed ? ERR_NOMEM : added(out);
}

enum err deflate_all(enum records_codec codec, struct span in, struct str *out)
{
	if (in.n > RECORDS_INFLATED_MAX) {
		return ERR_TOO_LARGE;
	}
	switch (codec) {
	case RECORDS_NONE:
		str_addn(out, in.p, in.n);
		return added(out);
	case RECORDS_GZIP:
		return pack_gzip(in, out);
	case RECORDS_SNAPPY:
		return pack_snappy(in, out);
	case RECORDS_LZ4:
		return pack_lz4(in, out);
	case RECORDS_ZSTD:
		return pack_zstd(in, out);
	}
	return ERR_INVALID;
}
