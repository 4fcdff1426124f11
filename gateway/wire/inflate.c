/* Streams that unpack: what all codecs have in common. */

#include <assert.h>

#include "base/mem.h"
#include "gateway/wire/inflate_priv.h"

enum { BLOCK_HEAD = 16 };	/* keeps a block's length, and its alignment */

/* The part of `held` that counts. */
static size_t counted(size_t held)
{
	return held > INFLATE_FREE ? held - INFLATE_FREE : 0;
}

void *inflate_alloc(void *arg, size_t n)
{
	struct inflate *i = arg;
	if (n > SIZE_MAX / 2 - i->held) {
		i->refused = ERR_TOO_LARGE;
		return NULL;
	}
	size_t more = counted(i->held + n) - i->charged;
	if (i->memory != NULL && more > 0 && !budget_take(i->memory, more)) {
		/* More than the budget will ever have is no reason to wait. */
		i->refused = i->charged + more > i->memory->max ? ERR_TOO_LARGE : ERR_BUSY;
		return NULL;
	}
	uint8_t *block = mem_alloc(BLOCK_HEAD + n);
	if (block == NULL) {
		if (i->memory != NULL) {
			budget_give(i->memory, more);
		}
		i->refused = ERR_NOMEM;
		return NULL;
	}
	memcpy(block, &n, sizeof n);
	i->held += n;
	i->charged += more;
	return block + BLOCK_HEAD;
}

void inflate_dealloc(void *arg, void *p)
{
	struct inflate *i = arg;
	if (p == NULL) {
		return;
	}
	uint8_t *block = (uint8_t *)p - BLOCK_HEAD;
	size_t n;
	memcpy(&n, block, sizeof n);
	assert(n <= i->held);
	i->held -= n;
	size_t less = i->charged - counted(i->held);
	if (i->memory != NULL) {
		budget_give(i->memory, less);
	}
	i->charged -= less;
	mem_free(block);
}

enum err inflate_why(const struct inflate *i)
{
	return i->refused != ERR_OK ? i->refused : ERR_DECODE;
}

void inflate_pass(struct inflate *i, size_t n)
{
	assert(n <= i->in.n);
	i->in = span_of(i->in.p + n, i->in.n - n);
}

/* ---- no codec ------------------------------------------------------------- */

static enum err plain_open(struct inflate *i)
{
	(void)i;
	return ERR_OK;
}

static enum err plain_read(struct inflate *i, uint8_t *p, size_t n, size_t *got)
{
	*got = n < i->in.n ? n : i->in.n;
	if (*got > 0) {
		memcpy(p, i->in.p, *got);
		inflate_pass(i, *got);
	}
	return ERR_OK;
}

static void plain_close(struct inflate *i)
{
	(void)i;
}

static const struct inflate_ops plain = {
	.open = plain_open, .read = plain_read, .close = plain_close,
};

/* ---- the stream ----------------------------------------------------------- */

enum err inflate_new(enum records_codec codec, struct span in, size_t max, struct budget *memory,
		     struct inflate **out)
{
	static const struct inflate_ops *const codecs[] = {
		[RECORDS_NONE] = &plain,
		[RECORDS_GZIP] = &inflate_gzip,
		[RECORDS_SNAPPY] = &inflate_snappy,
		[RECORDS_LZ4] = &inflate_lz4,
		[RECORDS_ZSTD] = &inflate_zstd,
	};
	*out = NULL;
	if ((size_t)codec >= sizeof codecs / sizeof codecs[0]) {
		return ERR_DECODE;
	}
	struct inflate *i = MEM_NEW(struct inflate);
	if (i == NULL) {
		return ERR_NOMEM;
	}
	i->ops = codecs[codec];
	i->in = in;
	i->max = max;
	i->memory = memory;
	enum err e = i->ops->open(i);
	if (e != ERR_OK) {
		inflate_free(&i);
		return e;
	}
	*out = i;
	return ERR_OK;
}

enum err inflate_read(struct inflate *i, uint8_t *p, size_t n, size_t *got)
{
	*got = 0;
	if (i->err != ERR_OK || n == 0) {
		return i->err;
	}
	size_t room = i->max - i->given;
	uint8_t beyond;
	if (room == 0) {	/* only the end may follow */
		i->err = i->ops->read(i, &beyond, 1, got);
		if (i->err == ERR_OK && *got > 0) {
			i->err = ERR_TOO_LARGE;
		}
		*got = 0;
		return i->err;
	}
	i->err = i->ops->read(i, p, n < room ? n : room, got);
	if (i->err != ERR_OK) {
		*got = 0;
	}
	i->given += *got;
	return i->err;
}

void inflate_free(struct inflate **ip)
{
	struct inflate *i = *ip;
	*ip = NULL;
	if (i == NULL) {
		return;
	}
	i->ops->close(i);
	assert(i->held == 0);
	assert(i->charged == 0);
	mem_free(i);
}
