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
	int64_t from;		/* batches below it do not count */
	int64_t seq;
};

static bool is_first(void *arg, const struct volume_command *c)
{
	struct first *f = arg;
	if (!batch_matches(c, f->q) || c->base_seq + c->count <= f->from) {
		return false;
	}
	f->seq = c->base_seq > f->from ? c->base_seq : f->from;
	return true;
}

static enum err seek_first(struct reader *rd, struct volume_seek *op, const struct index_query *q)
{
	struct reader_rows rows = {0};
	struct first f = {.q = q, .seq = op->limit};
	enum err e;
	for (;;) {
		e = reader_rows_find(rd, op->part, q, &f.from, &rows);
		if (e != ERR_OK || rows.v[0].base_seq >= op->limit) {
			break;
		}
		const struct index_row *row = &rows.v[0];
		e = each_batch(rd, rows.segment, row->log_no, op->part, is_first, &f);
		if (e != ERR_EOF) {
			break;
		}
		if (row->base_seq >= f.from) {
			segment_tell_damage(rows.segment, row->log_no, "batches");
			e = ERR_CORRUPT;	/* the row promised one */
			break;
		}
		/* What it promised lies below the start. */
		f.from = row->next_seq;
	}
	reader_rows_done(&rows);
	op->seq = f.seq < op->limit ? f.seq : op->limit;
	return e == ERR_EOF ? ERR_OK : e;
}

/* ---- the greatest timestamp ------------------------------------------------- */

struct greatest {
	int64_t from;	/* batches below it do not count */
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
	if (c->base_seq + c->count > g->from) {
		greatest_take(g, c->max_timestamp_ms);
	}
	return false;
}

/* Takes the extents from g->from on that lie between the start and the limit as a whole.
 * False: all is done; else g->from is in one that does not, *end_seq its end. */
static bool take_extents(struct volume *v, struct store_part part, struct greatest *g,
			 int64_t *end_seq)
{
	bool is_more = false;
	const struct index_query any = {.by = INDEX_BY_SEQ};
	lock_take(&v->lock);
	const struct table_part *p = table_find(&v->table, part);
	if (p != NULL && g->from < p->start_seq) {
		g->from = p->start_seq;
	}
	size_t i = p != NULL ? table_extent_of(p, &any, g->from) : 0;
	for (; p != NULL && !is_more && i < p->n && p->extents[i].first_seq < g->limit; i++) {
		const struct table_extent *x = &p->extents[i];
		if (x->first_seq < g->from || x->end_seq > g->limit) {
			*end_seq = x->end_seq;
			is_more = true;
		} else if (x->bytes > 0) {
			greatest_take(g, x->max_timestamp_ms);
			g->from = x->end_seq;
		}
	}
	lock_give(&v->lock);
	return is_more;
}

/* What an extent at the start or at the limit has between them. What is being appended
 * just now follows the limit, so there is such a one often, but it is in memory. */
static enum err take_rows(struct reader *rd, struct store_part part, struct greatest *g,
			  int64_t end_seq)
{
	struct reader_rows rows = {0};
	const struct index_query any = {.by = INDEX_BY_SEQ};
	enum err e = ERR_OK;
	int64_t stop = end_seq < g->limit ? end_seq : g->limit;
	while (e == ERR_OK && g->from < stop) {
		e = reader_rows_find(rd, part, &any, &g->from, &rows);
		for (size_t i = 0; e == ERR_OK && i < rows.n && g->from < stop; i++) {
			const struct index_row *row = &rows.v[i];
			if (row->base_seq >= g->from && row->next_seq <= g->limit) {
				greatest_take(g, row->max_timestamp_ms);
			} else if (row->base_seq < g->limit) {
				e = each_batch(rd, rows.segment, row->log_no, part, take_batch, g);
				e = e == ERR_EOF ? ERR_OK : e;
			}
			g->from = row->next_seq;
		}
	}
	reader_rows_done(&rows);
	return e;
}

static enum err seek_greatest(struct reader *rd, struct volume_seek *op)
{
	struct greatest g = {.limit = op->limit};
	int64_t end_seq;
	enum err e = ERR_OK;
	while (e == ERR_OK && take_extents(rd->volume, op->part, &g, &end_seq)) {
		e = take_rows(rd, op->part, &g, end_seq);
		g.from = g.from > end_seq ? g.from : end_seq;
	}
	if ((e != ERR_OK && e != ERR_EOF) || !g.is_any) {
		return e == ERR_EOF ? ERR_OK : e;
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
