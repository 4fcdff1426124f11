#include "store/volume/volume_priv.h"

#include <assert.h>

/* Where a partition is cut for what its hub retains. From the start on extents that are
 * to go as a whole are stepped over in memory; the first that is not is looked at row by
 * row. What lies across the start or the limit is counted by its rows. */

enum {
	/* The cleaner may change what has been counted: then it is counted anew. */
	CUT_TRIES = 5,
};

struct cutting {
	struct reader *rd;
	struct volume_cut *op;
	uint32_t changes;	/* of the partition when it was counted */
	int64_t from;		/* where the walk is */
	uint64_t rest;		/* payload in [from, limit) */
	uint64_t at_start;	/* payload past the start in the extent that lies across it */
	bool has_cut;
};

/* Calls fn for each row between two sequence numbers until it gives true. */
typedef bool row_fn(void *arg, const struct index_row *row);
static enum err each_row(struct reader *rd, struct store_part part, int64_t from, int64_t end,
			 row_fn *fn, void *arg)
{
	struct reader_rows rows = {0};
	const struct index_query any = {.by = INDEX_BY_SEQ};
	enum err e = ERR_OK;
	bool is_done = false;
	while (e == ERR_OK && !is_done && from < end) {
		e = reader_rows_find(rd, part, &any, &from, &rows);
		for (size_t i = 0; e == ERR_OK && !is_done && i < rows.n; i++) {
			is_done = rows.v[i].base_seq >= end || fn(arg, &rows.v[i]);
			from = rows.v[i].next_seq;
		}
	}
	reader_rows_done(&rows);
	return e == ERR_EOF ? ERR_OK : e;
}

static bool add_row(void *arg, const struct index_row *row)
{
	*(uint64_t *)arg += row->bytes;
	return false;
}

/* ---- how much there is --------------------------------------------------------- */

enum { PIECES = 2 };	/* at the start and at the limit */
struct piece {
	int64_t from;
	int64_t end;
	uint64_t bytes;		/* of the extent as a whole */
	bool is_at_start;
};

/* Sums what lies between start and limit as a whole; the rest is told as pieces. */
static size_t sum_extents(struct cutting *c, struct piece pieces[PIECES])
{
	struct volume *v = c->rd->volume;
	const struct volume_cut *op = c->op;
	size_t n = 0;
	c->from = 0;
	c->rest = 0;
	c->changes = 0;
	lock_take(&v->lock);
	const struct table_part *p = table_find(&v->table, op->part);
	if (p != NULL) {
		c->changes = p->changes;
		c->from = p->start_seq;
	}
	for (size_t i = 0; p != NULL && i < p->n && p->extents[i].first_seq < op->limit; i++) {
		const struct table_extent *x = &p->extents[i];
		if (x->first_seq >= p->start_seq && x->end_seq <= op->limit) {
			c->rest += x->bytes;
			continue;
		}
		assert(n < PIECES);
		pieces[n++] = (struct piece){
			.from = x->first_seq > p->start_seq ? x->first_seq : p->start_seq,
			.end = x->end_seq < op->limit ? x->end_seq : op->limit,
			.bytes = x->bytes,
			.is_at_start = x->first_seq < p->start_seq,
		};
	}
	lock_give(&v->lock);
	return n;
}

static enum err count_all(struct cutting *c)
{
	struct piece pieces[PIECES];
	size_t n = sum_extents(c, pieces);
	enum err e = ERR_OK;
	c->at_start = 0;
	for (size_t i = 0; e == ERR_OK && i < n; i++) {
		uint64_t bytes = 0;
		e = each_row(c->rd, c->op->part, pieces[i].from, pieces[i].end, add_row, &bytes);
		if (e == ERR_CORRUPT) {
			/* Its segment is damaged; it takes space all the same. */
			bytes = pieces[i].bytes;
			e = ERR_OK;
		}
		c->rest += bytes;
		c->at_start = pieces[i].is_at_start ? bytes : c->at_start;
	}
	return e;
}

static bool is_unchanged(const struct cutting *c)
{
	struct volume *v = c->rd->volume;
	lock_take(&v->lock);
	const struct table_part *p = table_find(&v->table, c->op->part);
	bool is_same = (p != NULL ? p->changes : 0) == c->changes;
	lock_give(&v->lock);
	return is_same;
}

/* ---- what of it goes ------------------------------------------------------------ */

/* Without this much there is still enough: all of it is too old, or what follows it is
 * as much as is kept, or more. */
static bool must_go(const struct cutting *c, int64_t last_append_ms, uint64_t bytes)
{
	return last_append_ms < c->op->before_ms ||
	       (c->rest > c->op->keep_bytes && c->rest - bytes >= c->op->keep_bytes);
}

static void cut_off(struct cutting *c, int64_t end_seq, uint64_t bytes)
{
	c->rest -= bytes < c->rest ? bytes : c->rest;
	c->from = end_seq;
	c->has_cut = c->has_cut || bytes > 0;
}

/* Extents that go as a whole. */
static void cut_extents(struct cutting *c)
{
	struct volume *v = c->rd->volume;
	const struct index_query any = {.by = INDEX_BY_SEQ};
	lock_take(&v->lock);
	const struct table_part *p = table_find(&v->table, c->op->part);
	size_t i = p != NULL ? table_extent_of(p, &any, c->from) : 0;
	for (; p != NULL && i < p->n; i++) {
		const struct table_extent *x = &p->extents[i];
		uint64_t bytes = x->first_seq < p->start_seq ? c->at_start : x->bytes;
		if (x->end_seq > c->op->limit ||
		    (x->bytes > 0 && !must_go(c, x->last_append_ms, bytes))) {
			break;
		}
		cut_off(c, x->end_seq, bytes);
	}
	lock_give(&v->lock);
}

/* Ends at the first row that stays. */
static bool cut_row(void *arg, const struct index_row *row)
{
	struct cutting *c = arg;
	bool is_old = row->append_last_ms < c->op->before_ms;
	bool is_too_much = c->rest > c->op->keep_bytes;
	if (row->next_seq > c->op->limit || (!is_old && !is_too_much)) {
		c->op->seq = row->base_seq > c->from ? row->base_seq : c->from;
		c->op->first_ms = row->append_first_ms;
		return true;
	}
	cut_off(c, row->next_seq, row->bytes);
	return false;
}

/* The extent where the walk is cannot be read: it stays until it goes as a whole. */
static void stay_at_damage(struct cutting *c)
{
	struct volume *v = c->rd->volume;
	const struct index_query any = {.by = INDEX_BY_SEQ};
	lock_take(&v->lock);
	const struct table_part *p = table_find(&v->table, c->op->part);
	size_t i = p != NULL ? table_extent_of(p, &any, c->from) : 0;
	if (p != NULL && i < p->n) {
		c->op->seq = c->from;
		c->op->first_ms = p->extents[i].last_append_ms;
	}
	lock_give(&v->lock);
}

static enum err cut_once(struct cutting *c)
{
	struct volume_cut *op = c->op;
	c->has_cut = false;
	enum err e = count_all(c);
	int64_t start = c->from;
	op->seq = op->limit > start ? op->limit : start;
	op->first_ms = INT64_MAX;
	op->bytes = 0;
	if (e == ERR_OK) {
		cut_extents(c);
		e = each_row(c->rd, op->part, c->from, op->limit, cut_row, c);
	}
	if (e == ERR_CORRUPT) {
		stay_at_damage(c);
		e = ERR_OK;
	}
	if (!c->has_cut) {
		op->seq = start;
	}
	op->bytes = op->first_ms != INT64_MAX ? c->rest : 0;
	return e;
}

enum err reader_cut(struct reader *rd, struct volume_cut *op)
{
	struct cutting c = {.rd = rd, .op = op};
	for (int i = 0; i < CUT_TRIES; i++) {
		enum err e = cut_once(&c);
		if (e != ERR_OK || is_unchanged(&c)) {
			return e;
		}
	}
	return ERR_BUSY;
}
