#include "store/volume/export_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/volume/file.h"

/* A file read from its begin to its end through a block of memory that grows to
 * the largest piece asked for. */
struct input {
	const char *path;
	int fd;
	uint64_t size;
	uint64_t taken;		/* bytes given out */
	uint64_t read;		/* bytes read from the file */
	uint32_t crc;		/* of the bytes given out */
	uint8_t *block;
	size_t cap;
	size_t at;
	size_t n;
	struct err_detail *d;
};

static enum err damaged(const struct input *in, const char *what)
{
	return err_set(in->d, ERR_CORRUPT, "%s is damaged: %s near byte %llu", in->path, what,
		       (unsigned long long)in->taken);
}

/* At least n bytes in the block, which the file has. */
static enum err fill(struct input *in, size_t n)
{
	memmove(in->block, in->block + in->at, in->n);
	in->at = 0;
	if (!mem_grow((void **)&in->block, &in->cap, n, 1)) {
		return err_set(in->d, ERR_NOMEM, "%s: out of memory", in->path);
	}
	uint64_t left = in->size - in->read;
	size_t more = in->cap - in->n < left ? in->cap - in->n : (size_t)left;
	enum err e = file_read_at(in->fd, in->block + in->n, more, in->read);
	if (e != ERR_OK) {
		return err_set(in->d, e, "%s: cannot be read near byte %llu: %s", in->path,
			       (unsigned long long)in->read, err_text(e));
	}
	in->read += more;
	in->n += more;
	return ERR_OK;
}

/* The next n bytes; good until the next call. */
static enum err take(struct input *in, uint64_t n, struct span *out)
{
	if (n > in->size - in->taken) {
		return damaged(in, "it ends too early");
	}
	if (n > in->n) {
		enum err e = fill(in, (size_t)n);
		if (e != ERR_OK) {
			return e;
		}
	}
	assert(n <= in->n);
	*out = span_of(in->block + in->at, (size_t)n);
	in->crc = crc32c(in->crc, out->p, out->n);
	in->at += (size_t)n;
	in->n -= (size_t)n;
	in->taken += n;
	return ERR_OK;
}

/* ---- the parts ----------------------------------------------------------------- */

static enum err read_head(struct input *in, struct export_reading *x, uint32_t *n_shards)
{
	struct span s;
	enum err e = take(in, EXPORT_HEAD, &s);
	if (e != ERR_OK) {
		return e;
	}
	struct rd r = rd_of(s);
	uint32_t magic = rd_u32(&r);
	uint16_t version = rd_u16(&r);
	uint16_t zero = rd_u16(&r);
	uint64_t number = rd_u64(&r);
	struct span uuid = rd_span(&r, 16);
	*n_shards = rd_u32(&r);
	rd_skip(&r, 8);	/* when it was made */
	uint32_t crc = rd_u32(&r);
	assert(!r.bad);
	if (magic != EXPORT_MAGIC || crc != crc32c(0, s.p, EXPORT_HEAD - 4)) {
		return damaged(in, "its head");
	}
	if (version != EXPORT_VERSION) {
		return err_set(in->d, ERR_VERSION, "%s is of a later format", in->path);
	}
	if (zero != 0 || (x->number != 0 && number != x->number)) {
		return damaged(in, "its number");
	}
	if (x->store_uuid != NULL && memcmp(uuid.p, x->store_uuid, 16) != 0) {
		return damaged(in, "it is of another store,");
	}
	if (*n_shards > LIMIT_SHARDS || (x->n_shards != 0 && *n_shards != x->n_shards)) {
		return damaged(in, "its number of shards");
	}
	return ERR_OK;
}

static enum err read_row(struct input *in, struct export_reading *x, struct export_section *left,
			 uint32_t *crc)
{
	struct span s;
	if (left->bytes < EXPORT_ROW) {
		return damaged(in, "a row's length");
	}
	enum err e = take(in, EXPORT_ROW, &s);
	if (e != ERR_OK) {
		return e;
	}
	uint8_t kind = s.p[0];
	uint16_t key_len = get_u16(s.p + 1);
	uint64_t n = (uint64_t)key_len + get_u32(s.p + 3);
	*crc = crc32c(*crc, s.p, s.n);
	left->bytes -= EXPORT_ROW;
	if (kind == 0 || key_len > STATE_KEY_MAX || n > left->bytes) {
		return damaged(in, "a row");
	}
	e = take(in, n, &s);
	if (e != ERR_OK) {
		return e;
	}
	*crc = crc32c(*crc, s.p, s.n);
	left->bytes -= n;
	left->rows--;
	return x->row == NULL ? ERR_OK
			      : x->row(x->arg, kind, span_of(s.p, key_len),
				       span_of(s.p + key_len, s.n - key_len));
}

static enum err read_shard(struct input *in, struct export_reading *x, uint32_t shard)
{
	struct span s;
	enum err e = take(in, EXPORT_SHARD + 4, &s);
	if (e != ERR_OK) {
		return e;
	}
	uint8_t head[EXPORT_SHARD];
	memcpy(head, s.p, sizeof head);
	struct rd r = rd_of(s);
	uint32_t number = rd_u32(&r);
	struct export_section left = {.at = {.applied_index = rd_u64(&r)}};
	left.at.applied_term = rd_u64(&r);
	left.rows = rd_u64(&r);
	left.bytes = rd_u64(&r);
	left.crc = rd_u32(&r);
	if (number != shard || (left.at.applied_index == 0 && left.rows > 0)) {
		return damaged(in, "a shard's head");
	}
	if (x->shard != NULL && left.at.applied_index > 0) {
		e = x->shard(x->arg, shard, left.at.applied_index, left.at.applied_term);
	}
	uint32_t crc = 0;
	while (e == ERR_OK && left.rows > 0) {
		e = read_row(in, x, &left, &crc);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (left.bytes != 0 || left.crc != crc32c(crc, head, sizeof head)) {
		return damaged(in, "a shard's rows");
	}
	if (x->shards != NULL) {
		x->shards[shard] = left.at;
	}
	return ERR_OK;
}

static enum err read_end(struct input *in, struct export_reading *x)
{
	struct span s;
	enum err e = take(in, 4, &s);
	if (e != ERR_OK) {
		return e;
	}
	uint32_t magic = get_u32(s.p);
	uint32_t crc = in->crc;
	e = take(in, 4, &s);
	if (e != ERR_OK) {
		return e;
	}
	if (magic != EXPORT_END_MAGIC || get_u32(s.p) != crc || in->taken != in->size) {
		return damaged(in, "its end");
	}
	x->size = in->size;
	x->crc = in->crc;
	return ERR_OK;
}

static enum err read_all(struct input *in, struct export_reading *x)
{
	uint32_t n_shards;
	enum err e = read_head(in, x, &n_shards);
	assert(x->shards == NULL || x->n_shards > 0);
	for (uint32_t i = 0; e == ERR_OK && i < n_shards; i++) {
		e = read_shard(in, x, i);
	}
	return e == ERR_OK ? read_end(in, x) : e;
}

/* ---- a whole file -------------------------------------------------------------- */

enum err export_read(const char *path, struct export_reading *x, struct err_detail *d)
{
	struct input in = {.path = path, .d = d, .cap = EXPORT_CHUNK};
	in.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (in.fd < 0) {
		return err_set(d, file_errno(errno), "%s: %s", path, strerror(errno));
	}
	struct stat st;
	enum err e = ERR_OK;
	if (fstat(in.fd, &st) != 0) {
		e = err_set(d, file_errno(errno), "%s: %s", path, strerror(errno));
	} else if ((in.block = mem_alloc(in.cap)) == NULL) {
		e = err_set(d, ERR_NOMEM, "%s: out of memory", path);
	} else {
		in.size = (uint64_t)st.st_size;
		e = read_all(&in, x);
	}
	if (in.block != NULL) {
		explicit_bzero(in.block, in.cap);	/* keys of policies were in it */
	}
	mem_free(in.block);
	close(in.fd);
	return e;
}

uint64_t export_number(const char *name)
{
	uint64_t n = 0;
	size_t digits = strspn(name, "0123456789");
	if (digits < 10 || digits > 19 || strcmp(name + digits, ".exp") != 0 ||
	    (digits > 10 && name[0] == '0')) {
		return 0;
	}
	for (size_t i = 0; i < digits; i++) {
		n = n * 10 + (uint64_t)(name[i] - '0');
	}
	return n;
}

enum err export_check(const char *path, const uint8_t store_uuid[16], uint32_t n_shards,
		      struct export_shard *shards, uint64_t *size, uint32_t *crc,
		      struct err_detail *d)
{
	const char *slash = strrchr(path, '/');
	struct export_reading x = {
		.store_uuid = store_uuid,
		.n_shards = n_shards,
		.number = export_number(slash != NULL ? slash + 1 : path),
		.shards = shards,
	};
	enum err e = export_read(path, &x, d);
	*size = x.size;
	*crc = x.crc;
	return e;
}
