#include "store/volume/volume_priv.h"

#include <assert.h>

/* Seeks: which batch of a partition is the first of a time. Append times rise,
 * so they are searched by halves; record timestamps come as the clients made
 * them, so each extent and each row tells its greatest, and those that are too
 * small are passed over. */

static bool batch_matches(const struct volume_command *c, const struct index_query *q)
{
	return (q->by == INDEX_BY_TIMESTAMP ? c->max_timestamp_ms : c->append_ms) >= q->key;
}

/* Calls fn for the partition's batches in one record until it gives true. */
typedef bool batch_fn(void *arg, const struct volume_command *c);
static enum err each_batch(struct reader *rd, struct segment *s, uint64_t log_no,
			   struct store_part part, batch_fn *fn, void *arg)
{
	MDB_txn *txn;
	enum err e = env_read_begin(s->env, rd->slot, &txn);
	if (e != ERR_OK) {
		return e;
	}
	struct record r;
	e = reader_record(s, txn, log_no, &r);
	if (e == ERR_OK) {
		struct record_iter it;
		struct record_command c;
		bool is_done = false;
		record_commands(&r, &it);
		while (!is_done && (e = record_next(&it, &c)) == ERR_OK) {
			is_done = c.command.kind == VOLUME_BATCH &&
				  store_part_key(c.command.part) == store_part_key(part) &&
				  fn(arg, &c.command);
		}
	}
	env_read_end(s->env, rd->slot);
	return e;
}

/* ---- the first that matches ------------------------------------------------ */

struct first {
	const struct index_query *q;
	int64_t seq;
};

static bool is_first(void *arg, const struct volume_command *c)
{
	struct first *f = arg;
	if (!batch_matches(c, f->q)) {
		return false;
	}
	f->seq = c->base_seq;
	return true;
}

static enum err seek_first(struct reader *rd, struct volume_seek *op, const struct index_query *q)
{
	struct reader_rows rows = {0};
	struct first f = {.q = q, .seq = op->limit};
	size_t extent = SIZE_MAX;
	enum err e = reader_rows_find(rd, op->part, q, &extent, &rows);
	if (e == ERR_OK && rows.v[0].base_seq < op->limit) {
		e = each_batch(rd, rows.segment, rows.v[0].log_no, op->part, is_first, &f);
		if (e == ERR_EOF) {
			segment_tell_damage(rows.segment, rows.v[0].log_no, "batches");
			e = ERR_CORRUPT;	/* the row promised one */
		}
	}
	reader_rows_done(&rows);
	op->seq = f.seq < op->limit ? f.seq : op->limit;
	return e == ERR_EOF ? ERR_OK : e;
}

/* ---- the greatest timestamp ------------------------------------------------- */

struct greatest {
	int64_t limit;
	int64_t ms;
	bool is_any;	/* a batch below the limit was seen */
};

static void greatest_take(struct greatest *g, int64_t ms)
{
	if (!g->is_any || ms > g->ms) {
		g->ms = ms;
	}
	g->is_any = true;
}

static bool take_batch(void *arg, const struct volume_command *c)
{
	struct greatest *g = arg;
	if (c->base_seq + c->count > g->limit) {
		return true;
	}
	greatest_take(g, c->max_timestamp_ms);
	return false;
}

/* Takes the extents that lie below the limit as a whole. The first one that does
 * not begins at *from; false: there is none. */
static bool take_extents(struct volume *v, struct store_part part, struct greatest *g,
			 int64_t *from)
{
	bool is_more = false;
	lock_take(&v->lock);
	const struct table_part *p = table_find(&v->table, part);
	for (size_t i = 0; p != NULL && !is_more && i < p->n; i++) {
		if (table_extent_is_below(p, i, g->limit)) {
			greatest_take(g, p->extents[i].max_timestamp_ms);
		} else {
			*from = p->extents[i].first_seq;
			is_more = true;
		}
	}
	lock_give(&v->lock);
	return is_more;
}

/* What the extent at the limit has below it: what is being appended just now
 * follows, so there is such a one often, but it is the one in memory. */
static enum err take_rows(struct reader *rd, struct store_part part, struct greatest *g,
			  int64_t from)
{
	struct reader_rows rows = {0};
	size_t extent = SIZE_MAX;
	enum err e = ERR_OK;
	while (e == ERR_OK && from < g->limit) {
		struct index_query q = {.by = INDEX_BY_SEQ, .key = from};
		e = reader_rows_find(rd, part, &q, &extent, &rows);
		for (size_t i = 0; e == ERR_OK && i < rows.n && from < g->limit; i++) {
			const struct index_row *row = &rows.v[i];
			from = row->next_seq;
			if (row->next_seq <= g->limit) {
				greatest_take(g, row->max_timestamp_ms);
			} else if (row->base_seq < g->limit) {
				e = each_batch(rd, rows.segment, row->log_no, part, take_batch, g);
			}
		}
	}
	reader_rows_done(&rows);
	return e == ERR_EOF ? ERR_OK : e;
}

static enum err seek_greatest(struct reader *rd, struct volume_seek *op)
{
	struct greatest g = {.limit = op->limit};
	int64_t from;
	if (take_extents(rd->volume, op->part, &g, &from)) {
		enum err e = take_rows(rd, op->part, &g, from);
		if (e != ERR_OK) {
			return e;
		}
	}
	if (!g.is_any) {
		return ERR_OK;
	}
	struct index_query q = {.by = INDEX_BY_TIMESTAMP, .key = g.ms};
	return seek_first(rd, op, &q);
}

/* ---- either ------------------------------------------------------------------ */

enum err reader_seek(struct reader *rd, struct volume_seek *op)
{
	op->seq = op->limit;
	struct index_query q = {.by = INDEX_BY_TIMESTAMP, .key = op->after_ms};
	switch (op->by) {
	case VOLUME_SEEK_APPEND_TIME:
		if (!op->inclusive && op->after_ms == INT64_MAX) {
			return ERR_OK;
		}
		q.by = INDEX_BY_APPEND_TIME;
		q.key += op->inclusive ? 0 : 1;
		break;
	case VOLUME_SEEK_TIMESTAMP:
		break;
	case VOLUME_SEEK_MAX_TIMESTAMP:
		return seek_greatest(rd, op);
	}
	return seek_first(rd, op, &q);
}
