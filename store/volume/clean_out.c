#include "store/volume/clean.h"

#include <assert.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/volume/file.h"

enum {
	/* Less than this after a failed write means that the disk is full. */
	DISK_IS_FULL = 1 << 20,
	/* LMDB's own pages, the .idx, the heads. */
	MAP_SPARE = 64 << 20,
};

/* Batches of one shard. Spans of `commands` are offsets into `bytes` until it is written. */
struct clean_pack {
	struct volume_command *commands;
	size_t n;
	size_t cap;
	uint8_t *bytes;
	size_t used;
	size_t bytes_cap;
	uint64_t size;		/* of the record it makes */
};

static uint64_t disk_left(const struct volume *v)
{
	struct statvfs fs;
	return statvfs(v->dir, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

/* LMDB tells a short write as an input/output error. The file is given up as a whole, so
 * that it was the disk's end that cut it is no reason to end the process; anything else
 * is, as for the log. */
static enum err write_error(struct cleaner *c, enum err e)
{
	if (e == ERR_IO && disk_left(c->volume) < DISK_IS_FULL) {
		return ERR_FULL;
	}
	c->must_end = c->must_end || e == ERR_IO;
	return e;
}

/* ---- records ------------------------------------------------------------------ */

static enum err end_txn(struct clean_out *out, struct err_detail *d)
{
	if (out->txn == NULL) {
		return ERR_OK;
	}
	enum err e = env_commit(out->segment->env, out->txn, d);
	out->txn = NULL;
	out->txn_bytes = 0;
	return write_error(out->cleaner, e);
}

/* Room for one record of `size` bytes, to be filled at once. */
static enum err reserve(struct clean_out *out, size_t size, uint64_t *log_no, uint8_t **p,
			struct err_detail *d)
{
	enum err e = ERR_OK;
	if (out->txn_bytes + size > out->cleaner->volume->options.commit_max_bytes) {
		e = end_txn(out, d);
	}
	if (e == ERR_OK && out->txn == NULL) {
		e = env_write_begin(out->segment->env, &out->txn, d);
		out->txn = e == ERR_OK ? out->txn : NULL;
	}
	if (e == ERR_OK) {
		*log_no = out->next_log_no++;
		out->txn_bytes += size;
		e = env_reserve(out->segment->env, out->txn, *log_no, size, p, d);
	}
	return write_error(out->cleaner, e);
}

static void pack_clear(struct clean_out *out, struct clean_pack *p)
{
	out->packed -= p->used;
	p->n = 0;
	p->used = 0;
	p->size = RECORD_HEAD;
}

static enum err pack_write(struct clean_out *out, uint32_t shard, struct err_detail *d)
{
	struct clean_pack *p = &out->packs[shard];
	struct segment *s = out->segment;
	if (p->n == 0) {
		return ERR_OK;
	}
	size_t at = 0;
	for (size_t i = 0; i < p->n; i++) {
		struct volume_command *c = &p->commands[i];
		c->payload.p = p->bytes + at;
		c->key.p = p->bytes + at + c->payload.n;
		at += c->payload.n + c->key.n;
	}
	assert(at == p->used);
	uint64_t log_no;
	uint8_t *to;
	enum err e = reserve(out, (size_t)p->size, &log_no, &to, d);
	if (e != ERR_OK) {
		return e;
	}
	record_write_batches(shard, p->commands, (uint32_t)p->n, log_no, to, (size_t)p->size);
	for (size_t i = 0; e == ERR_OK && i < p->n; i++) {
		e = index_add_batch(s->index, shard, log_no, &p->commands[i]);
	}
	if (e != ERR_OK) {
		err_set(d, e, "segment %s: %s", segment_name(s).text,
			e == ERR_CORRUPT ? "batches out of order" : err_text(e));
	}
	pack_clear(out, p);
	return e;
}

/* Writes the pack that holds most. */
static enum err pack_write_largest(struct clean_out *out, struct err_detail *d)
{
	uint32_t largest = 0;
	for (uint32_t i = 1; i < out->cleaner->volume->options.shards; i++) {
		largest = out->packs[i].used > out->packs[largest].used ? i : largest;
	}
	return pack_write(out, largest, d);
}

enum err clean_out_add(struct clean_out *out, uint32_t shard, const struct volume_command *batch,
		       struct err_detail *d)
{
	struct clean_pack *p = &out->packs[shard];
	uint64_t size = RECORD_DESCRIPTOR + batch->key.n + batch->payload.n;
	enum err e = ERR_OK;
	if (p->n > 0 && p->size + size > LIMIT_ENTRY_TARGET) {
		e = pack_write(out, shard, d);
	}
	/* Bounds what is held in memory for all shards together. */
	if (e == ERR_OK && out->packed > out->cleaner->volume->options.commit_max_bytes) {
		e = pack_write_largest(out, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	size_t n = batch->payload.n + batch->key.n;
	if (!mem_grow((void **)&p->commands, &p->cap, p->n + 1, sizeof *p->commands) ||
	    !mem_grow((void **)&p->bytes, &p->bytes_cap, p->used + n, 1)) {
		return err_set(d, ERR_NOMEM, "segment %s: out of memory",
			       segment_name(out->segment).text);
	}
	memcpy(p->bytes + p->used, batch->payload.p, batch->payload.n);
	if (batch->key.n > 0) {
		memcpy(p->bytes + p->used + batch->payload.n, batch->key.p, batch->key.n);
	}
	p->commands[p->n++] = *batch;
	p->used += n;
	p->size += size;
	out->packed += n;
	out->bytes += batch->payload.n;
	return ERR_OK;
}

/* ---- begin ----------------------------------------------------------------------- */

static enum err write_heads(struct clean_out *out, const struct idx_covers *covers,
			    struct err_detail *d)
{
	struct segment *s = out->segment;
	const struct volume_options *o = &s->volume->options;
	struct record_segment head = {
		.number = s->number,
		.shards = o->shards,
		.is_cleaned = true,
	};
	memcpy(head.store_uuid, o->store_uuid, IDX_UUID);
	memcpy(head.segment_uuid, s->uuid, IDX_UUID);
	uint64_t log_no;
	uint8_t *p;
	enum err e = reserve(out, RECORD_SEGMENT_HEAD_SIZE, &log_no, &p, d);
	if (e == ERR_OK) {
		record_write_segment(&head, log_no, p);
		e = reserve(out, record_covers_size((uint32_t)covers->n), &log_no, &p, d);
	}
	if (e == ERR_OK) {
		record_write_covers(covers->v, (uint32_t)covers->n, log_no, p);
	}
	return e;
}

static enum err make_file(struct clean_out *out, uint64_t most, struct err_detail *d)
{
	struct segment *s = out->segment;
	char path[SEGMENT_PATH];
	segment_file(s, ".mdb", path);
	/* The number is new: what has its name was given up before. */
	(void)unlink(path);
	/* Records of just over half a page may double on disk. */
	return write_error(out->cleaner,
			   env_open(path, ENV_WRITE, 2 * most + MAP_SPARE, ENV_LOG, &s->env, d));
}

enum err clean_out_begin(struct clean_out *out, struct cleaner *c, const struct idx_covers *covers,
			 uint64_t likely, uint64_t most, struct err_detail *d)
{
	struct volume *v = c->volume;
	*out = (struct clean_out){.cleaner = c, .next_log_no = 1};
	assert(covers->n <= RECORD_COVERS_MAX);
	/* A commit must still fit for those who acknowledge what they write. */
	if (disk_left(v) < likely + v->options.commit_max_bytes) {
		return err_set(d, ERR_FULL, "%s: no space to clean", v->dir);
	}
	out->segment = segment_new(v, v->manifest.next_cleaned);
	out->packs = mem_calloc(v->options.shards, sizeof *out->packs);
	struct segment *s = out->segment;
	if (s == NULL || out->packs == NULL ||
	    (s->index = index_new(v->options.shards)) == NULL) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", v->dir);
	}
	for (uint32_t i = 0; i < v->options.shards; i++) {
		out->packs[i].size = RECORD_HEAD;
	}
	s->is_cleaned = true;
	s->is_new = true;
	crypto_uuid(s->uuid);
	enum err e = make_file(out, most, d);
	return e == ERR_OK ? write_heads(out, covers, d) : e;
}

/* ---- finish ------------------------------------------------------------------------ */

static enum err write_idx(struct clean_out *out, const struct idx_covers *covers,
			  struct err_detail *d)
{
	struct segment *s = out->segment;
	struct volume *v = s->volume;
	char path[SEGMENT_PATH];
	struct idx_head head = {
		.number = s->number,
		.shards = v->options.shards,
		.first_log_no = 1,
		.next_log_no = out->next_log_no,
	};
	memcpy(head.store_uuid, v->options.store_uuid, IDX_UUID);
	memcpy(head.segment_uuid, s->uuid, IDX_UUID);
	segment_file(s, ".mdb", path);
	enum err e = file_checksum(path, &v->is_stopping, &head.mdb_bytes, &head.mdb_crc, d);
	int fd = -1;
	if (e == ERR_OK) {
		e = write_error(out->cleaner,
				segment_write_idx(s, s->index, covers, &head, &fd, d));
	}
	if (e != ERR_OK) {
		return e;
	}
	close(fd);
	s->idx = head;
	s->first_log_no = 1;
	s->next_log_no = out->next_log_no;
	s->state = SEGMENT_SEALED;
	s->is_verified = true;
	s->payload_1 = out->bytes + 1;
	return ERR_OK;
}

static void sum_covers(const struct index *ix, const struct idx_covers *covers, uint64_t *bytes)
{
	for (size_t i = 0; i < covers->n; i++) {
		const struct index_part *p = index_part_find(ix, covers->v[i].part);
		bytes[i] = 0;
		for (size_t k = 0; p != NULL && k < p->n; k++) {
			bytes[i] += p->rows[k].bytes;
		}
	}
}

enum err clean_out_finish(struct clean_out *out, const struct idx_covers *covers, uint64_t *bytes,
			  struct err_detail *d)
{
	struct segment *s = out->segment;
	enum err e = ERR_OK;
	for (uint32_t i = 0; e == ERR_OK && i < s->volume->options.shards; i++) {
		e = pack_write(out, i, d);
	}
	if (e == ERR_OK) {
		e = end_txn(out, d);
	}
	if (e != ERR_OK) {
		return e == ERR_CORRUPT ? ERR_INTERNAL : e;
	}
	env_close(&s->env);
	sum_covers(s->index, covers, bytes);
	e = write_idx(out, covers, d);
	index_free(&s->index);
	return e == ERR_CORRUPT ? ERR_INTERNAL : e;
}

static void free_packs(struct clean_out *out)
{
	for (uint32_t i = 0; out->packs != NULL && i < out->cleaner->volume->options.shards; i++) {
		mem_free(out->packs[i].commands);
		mem_free(out->packs[i].bytes);
	}
	mem_free(out->packs);
	*out = (struct clean_out){0};
}

void clean_out_done(struct clean_out *out)
{
	free_packs(out);
}

void clean_out_abandon(struct clean_out *out)
{
	struct segment *s = out->segment;
	if (out->txn != NULL) {
		mdb_txn_abort(out->txn);
	}
	/* After a failed write the MANIFEST may name it already. */
	if (s != NULL && s->is_new && !out->cleaner->must_end) {
		char path[SEGMENT_PATH];
		env_close(&s->env);
		segment_file(s, ".mdb", path);
		(void)unlink(path);
		segment_file(s, ".idx", path);
		(void)unlink(path);
	}
	segment_free(&out->segment);
	free_packs(out);
}

/* ---- in its place ---------------------------------------------------------------------- */

enum err cleaner_install(struct cleaner *c, struct clean_out *out, const struct idx_covers *covers,
			 const uint64_t *bytes, struct segment *const *gone, size_t n_gone,
			 struct err_detail *d)
{
	struct volume *v = c->volume;
	uint64_t copied = out->bytes;
	enum err e = ERR_OK;
	if (n_gone > 0) {
		e = cleaner_raise(c, gone, n_gone, d);
	}
	while (e == ERR_OK) {
		e = segment_replace(v, out->segment, covers->v, bytes, covers->n, gone, n_gone, d);
		c->must_end = e == ERR_IO;
		if (e != ERR_BUSY) {
			break;
		}
		e = cleaner_wait_pins(c);
	}
	if (e == ERR_OK) {
		clean_out_done(out);
		metric_add(METRIC_STORE_CLEANED_BYTES, (int64_t)copied);
	}
	return e;
}
