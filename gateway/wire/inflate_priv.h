#ifndef GATEWAY_WIRE_INFLATE_PRIV_H
#define GATEWAY_WIRE_INFLATE_PRIV_H

/* What the codecs behind struct inflate share: the input that is left, and
 * working memory that is counted. */

#include "gateway/wire/records.h"

enum {
	/* Working memory that is not counted: zlib's 40 KiB, zstd's tables and
	 * small windows, lz4 blocks of 64 KiB fit. */
	INFLATE_FREE = 256 << 10,
};

struct inflate;

/* One codec. Called by the thread that owns the stream; none blocks. */
struct inflate_ops {
	/* Makes i->state. On failure close is called all the same. */
	enum err (*open)(struct inflate *i);
	/* Gives at least one byte into p[0..n), n > 0, or *got 0 at the end, of
	 * which nothing is left over in i->in. */
	enum err (*read)(struct inflate *i, uint8_t *p, size_t n, size_t *got);
	void (*close)(struct inflate *i);
};

struct inflate {
	const struct inflate_ops *ops;
	struct span in;		/* not read yet */
	size_t max;
	size_t given;		/* at most max */
	struct budget *memory;	/* or NULL */
	size_t held;		/* working memory */
	size_t charged;		/* of it, to `memory` */
	enum err refused;	/* why memory was refused last; ERR_OK: never */
	enum err err;		/* sticky */
	void *state;
};

/* Working memory, for the libraries' own hooks: `i` is a struct inflate. NULL
 * when memory is short or the budget is; then i->refused says which. */
void *inflate_alloc(void *i, size_t n);
void inflate_dealloc(void *i, void *p);	/* p may be NULL */
/* Why a library failed: memory that was refused, or else bad data. */
enum err inflate_why(const struct inflate *i);
/* Moves past n octets of the input. */
void inflate_pass(struct inflate *i, size_t n);

extern const struct inflate_ops inflate_gzip, inflate_snappy, inflate_lz4, inflate_zstd;

/* Framing of snappy-java ("xerial"): this, i32 version, i32 least version; then
 * blocks of i32 length and a raw snappy block. */
#define XERIAL_MAGIC "\x82SNAPPY"	/* with its NUL: 8 octets */
enum {
	XERIAL_MAGIC_LEN = sizeof XERIAL_MAGIC,
	XERIAL_HEAD = XERIAL_MAGIC_LEN + 4 + 4,
	XERIAL_BLOCK = 32 << 10,	/* what packers put into one block */
};
_Static_assert(XERIAL_HEAD == 16, "xerial's framing");

#endif
