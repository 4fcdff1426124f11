#include "store/volume/idx.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/volume/file.h"

enum { IDX_VERSION = 1 };

static enum err head_decode(const uint8_t *block, struct idx_head *h)
{
	struct rd rd = rd_of(span_of(block + 4, IDX_BLOCK - 4));
	struct span magic = rd_span(&rd, 4);
	uint16_t version = rd_u16(&rd);
	rd_u16(&rd);
	h->number = rd_u64(&rd);
	memcpy(h->store_uuid, rd_span(&rd, IDX_UUID).p, IDX_UUID);
	memcpy(h->segment_uuid, rd_span(&rd, IDX_UUID).p, IDX_UUID);
	if (!span_eq_str(magic, "SLIX") ||
	    get_u32(block) != idx_block_crc(h->segment_uuid, 0, block)) {
		return ERR_CORRUPT;
	}
	if (version != IDX_VERSION) {
		return ERR_VERSION;
	}
	h->mdb_bytes = rd_u64(&rd);
	h->mdb_crc = rd_u32(&rd);
	h->shards = rd_u32(&rd);
	h->first_log_no = rd_u64(&rd);
	h->next_log_no = rd_u64(&rd);
	for (int i = 0; i < IDX_SECTIONS; i++) {
		h->section[i].n = rd_u64(&rd);
		h->section[i].block = rd_u32(&rd);
	}
	assert(!rd.bad);
	return ERR_OK;
}

/* The sections must follow one another and fill the file. */
static bool layout_is_sound(const struct idx_head *h, uint64_t size)
{
	uint64_t block = 1;
	for (int i = 0; i < IDX_SECTIONS; i++) {
		if (h->section[i].block != block || h->section[i].n > size) {
			return false;
		}
		block += idx_blocks_of((enum idx_section)i, h->section[i].n);
	}
	return block * IDX_BLOCK == size && h->section[IDX_SHARDS].n == h->shards;
}

enum err idx_open(const char *path, struct idx_head *out, int *fd, struct err_detail *d)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0) {
		return err_set(d, file_errno(errno), "%s: %s", path, strerror(errno));
	}
	uint8_t block[IDX_BLOCK];
	struct stat st;
	enum err e = fstat(*fd, &st) == 0 ? file_read_at(*fd, block, IDX_BLOCK, 0)
					  : file_errno(errno);
	if (e == ERR_OK) {
		e = head_decode(block, out);
	}
	if (e == ERR_OK && !layout_is_sound(out, (uint64_t)st.st_size)) {
		e = ERR_CORRUPT;
	}
	if (e != ERR_OK) {
		close(*fd);
		*fd = -1;
		return err_set(d, e, "%s: %s", path, err_text(e));
	}
	return ERR_OK;
}

void idx_reader_init(struct idx_reader *r, int fd, const struct idx_head *head)
{
	r->fd = fd;
	r->head = head;
	r->block_no = 0;
}

/* A cursor at row i of the section. */
static enum err row_at(struct idx_reader *r, enum idx_section s, uint64_t i, struct rd *out)
{
	assert(i < r->head->section[s].n);
	uint64_t per = idx_rows_per_block(s);
	uint32_t no = r->head->section[s].block + (uint32_t)(i / per);
	if (no != r->block_no) {
		r->block_no = 0;
		enum err e = file_read_at(r->fd, r->block, IDX_BLOCK, (uint64_t)no * IDX_BLOCK);
		if (e != ERR_OK) {
			return e;
		}
		if (get_u32(r->block) != idx_block_crc(r->head->segment_uuid, no, r->block)) {
			return ERR_CORRUPT;
		}
		r->block_no = no;
	}
	const uint8_t *p = r->block + 4 + (i % per) * idx_row_bytes[s];
	*out = rd_of(span_of(p, idx_row_bytes[s]));
	return ERR_OK;
}

static bool range_is_sound(uint64_t first, uint64_t n, uint64_t total)
{
	return first <= total && n <= total - first;
}

enum err idx_part_at(struct idx_reader *r, uint64_t i, struct idx_part *out)
{
	struct rd rd;
	enum err e = row_at(r, IDX_PARTS, i, &rd);
	if (e != ERR_OK) {
		return e;
	}
	out->part.hub_id = rd_u32(&rd);
	out->part.partition = rd_u32(&rd);
	out->shard = rd_u32(&rd);
	out->flags = rd_u32(&rd);
	out->first_row = rd_u64(&rd);
	out->n_rows = rd_u64(&rd);
	out->first_seq = (int64_t)rd_u64(&rd);
	out->next_seq = (int64_t)rd_u64(&rd);
	out->last_append_ms = (int64_t)rd_u64(&rd);
	out->max_timestamp_ms = (int64_t)rd_u64(&rd);
	out->bytes = rd_u64(&rd);
	assert(!rd.bad);
	if (out->first_seq >= out->next_seq || out->shard >= r->head->shards ||
	    !range_is_sound(out->first_row, out->n_rows, r->head->section[IDX_ROWS].n)) {
		return ERR_CORRUPT;
	}
	return ERR_OK;
}

enum err idx_shard_at(struct idx_reader *r, uint32_t shard, struct idx_shard *out)
{
	struct rd rd;
	enum err e = row_at(r, IDX_SHARDS, shard, &rd);
	if (e != ERR_OK) {
		return e;
	}
	uint32_t number = rd_u32(&rd);
	out->has_hard = rd_u32(&rd) != 0;
	out->first_row = rd_u64(&rd);
	out->n_rows = rd_u64(&rd);
	out->first_index = rd_u64(&rd);
	out->hard.shard = shard;
	out->hard.term = rd_u64(&rd);
	out->hard.vote = rd_u64(&rd);
	out->hard.log_start = rd_u64(&rd);
	out->hard.start_term = rd_u64(&rd);
	assert(!rd.bad);
	if (number != shard ||
	    !range_is_sound(out->first_row, out->n_rows, r->head->section[IDX_RAFT].n)) {
		return ERR_CORRUPT;
	}
	return ERR_OK;
}

enum err idx_raft_at(struct idx_reader *r, uint64_t i, struct index_raft *out)
{
	struct rd rd;
	enum err e = row_at(r, IDX_RAFT, i, &rd);
	if (e != ERR_OK) {
		return e;
	}
	out->index = rd_u64(&rd);
	out->term = rd_u64(&rd);
	out->log_no = rd_u64(&rd);
	out->has_commands = rd_u32(&rd) != 0;
	assert(!rd.bad);
	return ERR_OK;
}

static enum err data_row_at(struct idx_reader *r, uint64_t i, struct store_part part,
			    struct index_row *out)
{
	struct rd rd;
	enum err e = row_at(r, IDX_ROWS, i, &rd);
	if (e != ERR_OK) {
		return e;
	}
	struct store_part of;
	of.hub_id = rd_u32(&rd);
	of.partition = rd_u32(&rd);
	out->base_seq = (int64_t)rd_u64(&rd);
	out->next_seq = (int64_t)rd_u64(&rd);
	out->log_no = rd_u64(&rd);
	out->append_first_ms = (int64_t)rd_u64(&rd);
	out->append_last_ms = (int64_t)rd_u64(&rd);
	out->max_timestamp_ms = (int64_t)rd_u64(&rd);
	out->greatest_ms = out->max_timestamp_ms;
	out->bytes = rd_u32(&rd);
	assert(!rd.bad);
	return store_part_key(of) == store_part_key(part) ? ERR_OK : ERR_CORRUPT;
}

enum err idx_part_find(struct idx_reader *r, struct store_part part, struct idx_part *out,
		       bool *found)
{
	uint64_t lo = 0;
	uint64_t hi = r->head->section[IDX_PARTS].n;
	*found = false;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		enum err e = idx_part_at(r, mid, out);
		if (e != ERR_OK) {
			return e;
		}
		if (store_part_key(out->part) == store_part_key(part)) {
			*found = true;
			return ERR_OK;
		}
		if (store_part_key(out->part) < store_part_key(part)) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return ERR_OK;
}

enum err idx_row_at(struct idx_reader *r, const struct idx_part *p, uint64_t i,
		    struct index_row *out)
{
	assert(i < p->n_rows);
	return data_row_at(r, p->first_row + i, p->part, out);
}

/* The first row of the partition that matches; its end when there is none. */
static enum err first_match(struct idx_reader *r, const struct idx_part *p,
			    const struct index_query *q, uint64_t *out)
{
	uint64_t lo = p->first_row;
	uint64_t hi = p->first_row + p->n_rows;
	bool is_sorted = q->by != INDEX_BY_TIMESTAMP;
	if (!is_sorted && p->max_timestamp_ms < q->key) {
		lo = hi;
	}
	while (lo < hi) {
		uint64_t mid = is_sorted ? lo + (hi - lo) / 2 : lo;
		struct index_row row;
		enum err e = data_row_at(r, mid, p->part, &row);
		if (e != ERR_OK) {
			return e;
		}
		if (index_row_matches(q, &row)) {
			hi = mid;
		} else {
			lo = mid + 1;
		}
	}
	*out = lo;
	return ERR_OK;
}

enum err idx_rows(struct idx_reader *r, struct store_part part, const struct index_query *q,
		  struct index_row *out, size_t max, size_t *n)
{
	*n = 0;
	struct idx_part p;
	bool found;
	enum err e = idx_part_find(r, part, &p, &found);
	if (e != ERR_OK || !found) {
		return e;
	}
	uint64_t i;
	e = first_match(r, &p, q, &i);
	if (e != ERR_OK) {
		return e;
	}
	while (i < p.first_row + p.n_rows && *n < max) {
		e = data_row_at(r, i++, part, &out[*n]);
		if (e != ERR_OK) {
			return e;
		}
		(*n)++;
	}
	return ERR_OK;
}
