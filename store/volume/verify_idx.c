#include "store/volume/verify_priv.h"

#include <string.h>

#include "base/mem.h"
#include "store/volume/file.h"

/* An .idx row by row: against itself, against the records, and which events lie in
 * records that are lost. */

enum { ROWS_AT_ONCE = 256 };

struct idx_check {
	struct verify *v;
	const struct verify_segment *s;
	char file[VERIFY_NAME];		/* the .idx */
	char mdb[VERIFY_NAME];
	struct idx_reader r;
	const struct index *ix;			/* NULL: the records are not whole */
	const struct verify_salvage *fates;	/* NULL: they are */
	struct index_row rows[ROWS_AT_ONCE];
};

enum err verify_idx_blocks(struct verify *v, int fd, const struct idx_head *head, uint64_t size,
			   uint32_t *bad_block)
{
	*bad_block = 0;
	for (uint64_t at = 0; at < size; at += IDX_BLOCK) {
		uint8_t block[IDX_BLOCK];
		enum err e = file_read_at(fd, block, IDX_BLOCK, at);
		if (e != ERR_OK && e != ERR_CORRUPT) {
			return e;
		}
		uint32_t no = (uint32_t)(at / IDX_BLOCK);
		if (*bad_block == 0 &&
		    (e != ERR_OK || get_u32(block) != idx_block_crc(head->segment_uuid, no, block))) {
			*bad_block = no;
		}
		verify_progress(v, IDX_BLOCK);
	}
	return ERR_OK;
}

static enum err tell(struct idx_check *c, const char *what)
{
	verify_tell(c->v, c->file, VERIFY_DAMAGE, "%s", what);
	return ERR_EOF;
}

static bool same_row(const struct index_row *a, const struct index_row *b)
{
	return a->base_seq == b->base_seq && a->next_seq == b->next_seq && a->log_no == b->log_no &&
	       a->append_first_ms == b->append_first_ms && a->append_last_ms == b->append_last_ms &&
	       a->max_timestamp_ms == b->max_timestamp_ms && a->bytes == b->bytes;
}

/* ---- partitions -------------------------------------------------------------------- */

/* What one row has to be, after `last` of its partition (NULL: it is the first). */
static bool row_follows(const struct idx_check *c, const struct idx_part *p,
			const struct index_row *last, const struct index_row *row)
{
	int64_t from = last != NULL ? last->next_seq : p->first_seq;
	return row->base_seq >= from && row->base_seq < row->next_seq &&
	       row->next_seq <= p->next_seq && row->log_no >= c->r.head->first_log_no &&
	       row->log_no < c->r.head->next_log_no &&
	       row->append_first_ms <= row->append_last_ms &&
	       (last == NULL || (row->log_no > last->log_no &&
				 row->append_first_ms >= last->append_last_ms));
}

/* A damaged segment's events, lost or not. */
static enum err take_row(struct idx_check *c, const struct idx_part *p,
			 const struct index_row *row)
{
	struct verify_span x = {row->base_seq, row->next_seq};
	enum err e = ERR_OK;
	if (!c->s->is_cleaned) {
		e = verify_part_logged(c->v, c->file, p->part, p->shard, x, row->append_first_ms,
				       row->append_last_ms);
	}
	if (e == ERR_OK && verify_is_lost(c->fates, row->log_no)) {
		e = verify_part_lost(c->v, c->mdb, p->part, p->shard, x);
	}
	return e;
}

static enum err check_rows(struct idx_check *c, const struct idx_part *p)
{
	const struct index_part *want = c->ix != NULL ? index_part_find(c->ix, p->part) : NULL;
	struct index_row last;
	uint64_t n = 0;
	uint64_t bytes = 0;
	if (c->ix != NULL && p->n_rows != (want != NULL ? want->n : 0)) {
		return tell(c, "has other rows than there are records");
	}
	while (n < p->n_rows) {
		struct index_query q = {.by = INDEX_BY_SEQ, .key = n > 0 ? last.next_seq : INT64_MIN};
		size_t got;
		enum err e = idx_rows(&c->r, p->part, &q, c->rows, ROWS_AT_ONCE, &got);
		if (e != ERR_OK || got == 0) {
			return e != ERR_OK ? e : tell(c, "rows of a partition are missing");
		}
		for (size_t i = 0; e == ERR_OK && i < got; i++) {
			const struct index_row *row = &c->rows[i];
			if (n == p->n_rows || !row_follows(c, p, n > 0 ? &last : NULL, row)) {
				return tell(c, "rows of a partition do not follow each other");
			}
			if (want != NULL && !same_row(row, &want->rows[n])) {
				return tell(c, "a row differs from the record it is of");
			}
			if (c->fates != NULL) {
				e = take_row(c, p, row);
			}
			last = *row;
			bytes += row->bytes;
			n++;
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	bool fits = bytes == p->bytes &&
		    (c->s->is_cleaned || (n > 0 && last.next_seq == p->next_seq &&
					  last.append_last_ms == p->last_append_ms));
	return fits ? ERR_OK : tell(c, "a partition's sums do not fit its rows");
}

static enum err check_cover(struct idx_check *c, const struct idx_part *p)
{
	struct record_cover cover = {
		.part = p->part,
		.shard = p->shard,
		.flags = p->flags,
		.first_seq = p->first_seq,
		.end_seq = p->next_seq,
		.last_append_ms = p->last_append_ms,
		.max_timestamp_ms = p->max_timestamp_ms,
	};
	return verify_part_cover(c->v, c->file, &cover);
}

static enum err check_parts(struct idx_check *c)
{
	uint64_t next_row = 0;
	uint64_t last_key = 0;
	for (uint64_t i = 0; i < c->r.head->section[IDX_PARTS].n; i++) {
		struct idx_part p;
		enum err e = idx_part_at(&c->r, i, &p);
		if (e != ERR_OK) {
			return e;
		}
		if (i > 0 && store_part_key(p.part) <= last_key) {
			return tell(c, "its partitions are not in order");
		}
		if (p.first_row != next_row || (p.n_rows == 0 && !c->s->is_cleaned)) {
			return tell(c, "a partition's rows are not where they should be");
		}
		last_key = store_part_key(p.part);
		next_row += p.n_rows;
		e = check_rows(c, &p);
		if (e == ERR_OK && c->fates != NULL && c->s->is_cleaned) {
			/* After what is lost of it. */
			e = check_cover(c, &p);
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	return next_row == c->r.head->section[IDX_ROWS].n
		       ? ERR_OK
		       : tell(c, "has rows of no partition");
}

/* ---- shards -------------------------------------------------------------------------- */

static enum err check_raft(struct idx_check *c, uint32_t shard, const struct idx_shard *sh)
{
	const struct index_shard *want = c->ix != NULL ? &c->ix->shards[shard] : NULL;
	struct index_raft first = {0};
	struct index_raft last = {0};
	for (uint64_t i = 0; i < sh->n_rows; i++) {
		struct index_raft row;
		enum err e = idx_raft_at(&c->r, sh->first_row + i, &row);
		if (e != ERR_OK) {
			return e;
		}
		if (i == 0) {
			first = row;
		}
		if (row.index != sh->first_index + i || row.log_no <= last.log_no ||
		    row.term < last.term || row.log_no < c->r.head->first_log_no ||
		    row.log_no >= c->r.head->next_log_no) {
			return tell(c, "raft indexes of a shard do not follow each other");
		}
		if (want != NULL &&
		    (row.index != want->rows[i].index || row.term != want->rows[i].term ||
		     row.log_no != want->rows[i].log_no ||
		     row.has_commands != want->rows[i].has_commands)) {
			return tell(c, "a raft index differs from the record it is of");
		}
		last = row;
	}
	if (c->fates == NULL) {
		return ERR_OK;
	}
	if (sh->has_hard) {
		verify_hard_state(c->v, c->file, &sh->hard);
	}
	return sh->n_rows == 0 ? ERR_OK
			       : verify_raft(c->v, c->file, shard, first.index, last.index,
					     first.term, last.term);
}

static enum err check_shards(struct idx_check *c)
{
	uint64_t next_row = 0;
	for (uint32_t i = 0; i < c->r.head->shards; i++) {
		struct idx_shard sh;
		enum err e = idx_shard_at(&c->r, i, &sh);
		if (e != ERR_OK) {
			return e;
		}
		const struct index_shard *want = c->ix != NULL ? &c->ix->shards[i] : NULL;
		if (sh.first_row != next_row || (c->s->is_cleaned && sh.n_rows > 0)) {
			return tell(c, "a shard's rows are not where they should be");
		}
		if (want != NULL &&
		    (sh.n_rows != want->n || sh.has_hard != want->has_hard ||
		     (want->has_hard && (sh.hard.term != want->hard.term ||
					 sh.hard.vote != want->hard.vote ||
					 sh.hard.log_start != want->hard.log_start ||
					 sh.hard.start_term != want->hard.start_term)))) {
			return tell(c, "a shard differs from its records");
		}
		next_row += sh.n_rows;
		e = check_raft(c, i, &sh);
		if (e != ERR_OK) {
			return e;
		}
	}
	return next_row == c->r.head->section[IDX_RAFT].n ? ERR_OK
							   : tell(c, "has rows of no shard");
}

enum err verify_idx_rows(struct verify *v, const struct verify_segment *s, int fd,
			 const struct idx_head *head, const struct index *ix,
			 const struct verify_salvage *fates)
{
	struct idx_check *c = MEM_NEW(struct idx_check);
	if (c == NULL) {
		return verify_nomem(v);
	}
	c->v = v;
	c->s = s;
	c->ix = ix;
	c->fates = fates;
	verify_name(s, ".idx", c->file);
	verify_name(s, ".mdb", c->mdb);
	idx_reader_init(&c->r, fd, head);
	enum err e = check_parts(c);
	if (e == ERR_OK) {
		e = check_shards(c);
	}
	if (e == ERR_CORRUPT) {
		verify_tell(v, c->file, VERIFY_DAMAGE, "a row makes no sense");
	}
	mem_free(c);
	return e == ERR_NOMEM || e == ERR_IO ? e : ERR_OK;
}
