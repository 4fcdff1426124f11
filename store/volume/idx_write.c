#include "store/volume/idx.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/volume/file.h"

const uint32_t idx_row_bytes[IDX_SECTIONS] = {
	[IDX_PARTS] = 72,
	[IDX_ROWS] = 64,
	[IDX_SHARDS] = 64,
	[IDX_RAFT] = 32,
};

enum { BLOCKS_AT_ONCE = 64 };	/* 256 KiB for each write */

uint32_t idx_block_crc(const uint8_t *segment_uuid, uint32_t block_no, const uint8_t *block)
{
	uint8_t place[IDX_UUID + 4];
	memcpy(place, segment_uuid, IDX_UUID);
	put_u32(place + IDX_UUID, block_no);
	return crc32c(crc32c(0, place, sizeof place), block + 4, IDX_BLOCK - 4);
}

/* Collects rows into blocks and writes them. Sticky. */
struct sink {
	int fd;
	const struct idx_head *head;
	uint8_t *blocks;	/* BLOCKS_AT_ONCE */
	uint32_t n_blocks;	/* finished ones in `blocks` */
	uint32_t block_no;	/* of the one being filled */
	size_t used;		/* bytes used in it; 0 = none yet */
	enum err err;
};

static uint8_t *sink_block(struct sink *s)
{
	return s->blocks + (size_t)s->n_blocks * IDX_BLOCK;
}

static void sink_flush(struct sink *s)
{
	if (s->err == ERR_OK) {
		s->err = file_write_all(s->fd, s->blocks, (size_t)s->n_blocks * IDX_BLOCK);
	}
	s->n_blocks = 0;
}

static void sink_end_block(struct sink *s)
{
	if (s->used == 0) {
		return;
	}
	uint8_t *b = sink_block(s);
	memset(b + s->used, 0, IDX_BLOCK - s->used);
	put_u32(b, idx_block_crc(s->head->segment_uuid, s->block_no, b));
	s->block_no++;
	s->used = 0;
	if (++s->n_blocks == BLOCKS_AT_ONCE) {
		sink_flush(s);
	}
}

/* Room for one row. */
static struct wr sink_row(struct sink *s, size_t n)
{
	if (s->used + n > IDX_BLOCK) {
		sink_end_block(s);
	}
	if (s->used == 0) {
		s->used = 4;
	}
	uint8_t *p = sink_block(s) + s->used;
	s->used += n;
	return wr_of(p, n);
}

static void write_head(struct sink *s)
{
	const struct idx_head *h = s->head;
	struct wr w = sink_row(s, IDX_BLOCK - 4);
	wr_bytes(&w, "SLIX", 4);
	wr_u16(&w, 1);
	wr_u16(&w, 0);
	wr_u64(&w, h->number);
	wr_bytes(&w, h->store_uuid, IDX_UUID);
	wr_bytes(&w, h->segment_uuid, IDX_UUID);
	wr_u64(&w, h->mdb_bytes);
	wr_u32(&w, h->mdb_crc);
	wr_u32(&w, h->shards);
	wr_u64(&w, h->first_log_no);
	wr_u64(&w, h->next_log_no);
	for (int i = 0; i < IDX_SECTIONS; i++) {
		wr_u64(&w, h->section[i].n);
		wr_u32(&w, h->section[i].block);
	}
	assert(!w.bad);
	memset(w.p, 0, (size_t)(w.end - w.p));
	sink_end_block(s);
}

/* A partition as it is written: rows, a cover, or both. */
struct listed {
	struct store_part part;
	const struct index_part *rows;		/* NULL: a cover without any */
	const struct record_cover *cover;	/* NULL: of a log segment */
};

static size_t rows_of(const struct listed *l)
{
	return l->rows != NULL ? l->rows->n : 0;
}

static struct record_cover range_of(const struct listed *l, uint64_t *bytes)
{
	const struct index_part *p = l->rows;
	struct record_cover c = {.max_timestamp_ms = INT64_MIN};
	*bytes = 0;
	for (size_t k = 0; k < rows_of(l); k++) {
		*bytes += p->rows[k].bytes;
		if (p->rows[k].max_timestamp_ms > c.max_timestamp_ms) {
			c.max_timestamp_ms = p->rows[k].max_timestamp_ms;
		}
	}
	if (l->cover != NULL) {
		return *l->cover;
	}
	c.shard = p->shard;
	c.first_seq = p->rows[0].base_seq;
	c.end_seq = p->rows[p->n - 1].next_seq;
	c.last_append_ms = p->rows[p->n - 1].append_last_ms;
	return c;
}

static void write_parts(struct sink *s, const struct listed *parts, size_t n)
{
	uint64_t first_row = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t bytes;
		struct record_cover c = range_of(&parts[i], &bytes);
		struct wr w = sink_row(s, idx_row_bytes[IDX_PARTS]);
		wr_u32(&w, parts[i].part.hub_id);
		wr_u32(&w, parts[i].part.partition);
		wr_u32(&w, c.shard);
		wr_u32(&w, c.flags);
		wr_u64(&w, first_row);
		wr_u64(&w, rows_of(&parts[i]));
		wr_u64(&w, (uint64_t)c.first_seq);
		wr_u64(&w, (uint64_t)c.end_seq);
		wr_u64(&w, (uint64_t)c.last_append_ms);
		wr_u64(&w, (uint64_t)c.max_timestamp_ms);
		wr_u64(&w, bytes);
		assert(!w.bad && w.p == w.end);
		first_row += rows_of(&parts[i]);
	}
	sink_end_block(s);
}

static void write_rows(struct sink *s, const struct listed *parts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < rows_of(&parts[i]); k++) {
			const struct index_row *row = &parts[i].rows->rows[k];
			struct wr w = sink_row(s, idx_row_bytes[IDX_ROWS]);
			wr_u32(&w, parts[i].part.hub_id);
			wr_u32(&w, parts[i].part.partition);
			wr_u64(&w, (uint64_t)row->base_seq);
			wr_u64(&w, (uint64_t)row->next_seq);
			wr_u64(&w, row->log_no);
			wr_u64(&w, (uint64_t)row->append_first_ms);
			wr_u64(&w, (uint64_t)row->append_last_ms);
			wr_u64(&w, (uint64_t)row->max_timestamp_ms);
			wr_u32(&w, row->bytes);
			wr_u32(&w, 0);
			assert(!w.bad && w.p == w.end);
		}
	}
	sink_end_block(s);
}

static void write_shards(struct sink *s, const struct index *ix)
{
	uint64_t first_row = 0;
	for (uint32_t i = 0; i < ix->n_shards; i++) {
		const struct index_shard *sh = &ix->shards[i];
		struct wr w = sink_row(s, idx_row_bytes[IDX_SHARDS]);
		wr_u32(&w, i);
		wr_u32(&w, sh->has_hard ? 1 : 0);
		wr_u64(&w, first_row);
		wr_u64(&w, sh->n);
		wr_u64(&w, sh->n > 0 ? sh->rows[0].index : 0);
		wr_u64(&w, sh->hard.term);
		wr_u64(&w, sh->hard.vote);
		wr_u64(&w, sh->hard.log_start);
		wr_u64(&w, sh->hard.start_term);
		assert(!w.bad && w.p == w.end);
		first_row += sh->n;
	}
	sink_end_block(s);
	for (uint32_t i = 0; i < ix->n_shards; i++) {
		for (size_t k = 0; k < ix->shards[i].n; k++) {
			const struct index_raft *row = &ix->shards[i].rows[k];
			struct wr w = sink_row(s, idx_row_bytes[IDX_RAFT]);
			wr_u64(&w, row->index);
			wr_u64(&w, row->term);
			wr_u64(&w, row->log_no);
			wr_u32(&w, row->has_commands ? 1 : 0);
			wr_u32(&w, 0);
			assert(!w.bad && w.p == w.end);
		}
	}
	sink_end_block(s);
}

static int by_part(const void *a, const void *b)
{
	uint64_t ka = store_part_key(((const struct listed *)a)->part);
	uint64_t kb = store_part_key(((const struct listed *)b)->part);
	return ka < kb ? -1 : ka > kb;
}

static void list_covers(const struct index *ix, const struct idx_covers *covers,
			struct listed *out)
{
	for (size_t i = 0; i < covers->n; i++) {
		const struct record_cover *c = &covers->v[i];
		assert(i == 0 || store_part_key(c->part) > store_part_key(c[-1].part));
		out[i] = (struct listed){
			.part = c->part,
			.rows = index_part_find(ix, c->part),
			.cover = c,
		};
	}
}

/* What is written, sorted. */
static enum err list_parts(const struct index *ix, const struct idx_covers *covers,
			   struct listed **out, size_t *n)
{
	*n = 0;
	*out = mem_alloc((covers != NULL ? covers->n : ix->n_parts) * sizeof **out);
	if (*out == NULL) {
		return ERR_NOMEM;
	}
	if (covers != NULL) {
		list_covers(ix, covers, *out);
		*n = covers->n;
		return ERR_OK;
	}
	for (size_t i = 0; i < ix->n_parts; i++) {
		if (ix->parts[i]->n > 0) {
			(*out)[(*n)++] = (struct listed){
				.part = ix->parts[i]->part,
				.rows = ix->parts[i],
			};
		}
	}
	qsort(*out, *n, sizeof **out, by_part);
	return ERR_OK;
}

static void plan_sections(struct idx_head *h, const struct index *ix, const struct listed *parts,
			  size_t n_parts)
{
	uint64_t n[IDX_SECTIONS] = {[IDX_PARTS] = n_parts, [IDX_SHARDS] = ix->n_shards};
	for (size_t i = 0; i < n_parts; i++) {
		n[IDX_ROWS] += rows_of(&parts[i]);
	}
	for (uint32_t i = 0; i < ix->n_shards; i++) {
		n[IDX_RAFT] += ix->shards[i].n;
	}
	uint64_t block = 1;
	for (int i = 0; i < IDX_SECTIONS; i++) {
		h->section[i].n = n[i];
		h->section[i].block = (uint32_t)block;
		block += idx_blocks_of((enum idx_section)i, n[i]);
	}
	assert(block <= UINT32_MAX);
}

static enum err write_file(const char *tmp, const struct idx_head *h, const struct index *ix,
			   const struct listed *parts, size_t n_parts)
{
	struct sink s = {.head = h};
	s.blocks = mem_alloc((size_t)BLOCKS_AT_ONCE * IDX_BLOCK);
	if (s.blocks == NULL) {
		return ERR_NOMEM;
	}
	s.fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (s.fd < 0) {
		int failed = errno;
		mem_free(s.blocks);
		return file_errno(failed);
	}
	write_head(&s);
	write_parts(&s, parts, n_parts);
	write_rows(&s, parts, n_parts);
	write_shards(&s, ix);
	sink_flush(&s);
	if (s.err == ERR_OK && fsync(s.fd) != 0) {
		s.err = file_errno(errno);
	}
	close(s.fd);
	mem_free(s.blocks);
	return s.err;
}

enum err idx_write(const char *path, struct idx_head *h, const struct index *ix,
		   const struct idx_covers *covers, struct err_detail *d)
{
	char tmp[LIMIT_PATH];
	/* Two threads may repair the same file: the thread id keeps them apart. */
	int len = snprintf(tmp, sizeof tmp, "%s.tmp%d", path, (int)gettid());
	char dir[LIMIT_PATH];
	const char *slash = strrchr(path, '/');
	if (len >= (int)sizeof tmp || slash == NULL) {
		return err_set(d, ERR_TOO_LARGE, "%s: path too long", path);
	}
	snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
	struct listed *parts;
	size_t n_parts;
	enum err e = list_parts(ix, covers, &parts, &n_parts);
	if (e == ERR_OK) {
		plan_sections(h, ix, parts, n_parts);
		e = write_file(tmp, h, ix, parts, n_parts);
	}
	mem_free(parts);
	if (e == ERR_OK && rename(tmp, path) != 0) {
		e = file_errno(errno);
	}
	if (e != ERR_OK) {
		unlink(tmp);
		return err_set(d, e, "%s: cannot be written: %s", path, err_text(e));
	}
	return file_sync_dir(dir, d);
}
