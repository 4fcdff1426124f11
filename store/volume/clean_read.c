#include "store/volume/clean.h"

#include <assert.h>

void clean_extent_of(const struct volume *v, const struct table_part *p,
		     const struct table_extent *x, struct clean_extent *out)
{
	*out = (struct clean_extent){
		.part = p->range.part,
		.shard = p->shard,
		.source = v->segments[x->segment],
		.first_seq = x->first_seq,
		.end_seq = x->end_seq,
		.start_seq = p->start_seq,
		.last_append_ms = x->last_append_ms,
		.max_timestamp_ms = x->max_timestamp_ms,
		.bytes = x->bytes,
	};
	out->flags |= x->is_compacted ? COVER_COMPACTED : 0U;
	out->flags |= x->has_tombstones ? COVER_TOMBSTONES : 0U;
}

/* ---- rows ------------------------------------------------------------------- */

/* The rows must be the extent's, all of them: what they leave out would be lost. */
static enum err check_part(const struct clean_extent *x, const struct idx_part *p, bool found)
{
	if (!found) {
		return ERR_CORRUPT;
	}
	bool same = p->first_seq == x->first_seq && p->next_seq == x->end_seq &&
		    p->bytes == x->bytes && p->shard == x->shard;
	return same ? ERR_OK : ERR_CORRUPT;
}

/* *is_callers: the error is fn's. */
static enum err each_row(const struct clean_extent *x, clean_row_fn *fn, void *arg,
			 bool *is_callers)
{
	const struct segment *s = x->source;
	struct idx_reader r;
	struct idx_part p;
	bool found;
	idx_reader_init(&r, s->idx_fd, &s->idx);
	enum err e = idx_part_find(&r, x->part, &p, &found);
	if (e == ERR_OK) {
		e = check_part(x, &p, found);
	}
	int64_t end = x->first_seq;
	uint64_t bytes = 0;
	for (uint64_t i = 0; e == ERR_OK && i < p.n_rows; i++) {
		struct index_row row;
		e = idx_row_at(&r, &p, i, &row);
		if (e == ERR_OK && (row.base_seq < end || row.next_seq <= row.base_seq ||
				    row.next_seq > x->end_seq)) {
			e = ERR_CORRUPT;
		}
		if (e == ERR_OK) {
			end = row.next_seq;
			bytes += row.bytes;
			e = fn(arg, &row);
			*is_callers = e != ERR_OK;
		}
	}
	return e == ERR_OK && bytes != x->bytes ? ERR_CORRUPT : e;
}

static enum err no_row(void *arg, const struct index_row *row)
{
	(void)arg;
	(void)row;
	return ERR_OK;
}

/* Looked through as a whole first: a damaged .idx is made anew before fn is told. */
enum err clean_rows(const struct clean_extent *x, clean_row_fn *fn, void *arg,
		    struct err_detail *d)
{
	struct segment *s = x->source;
	bool is_callers = false;
	assert(s->env != NULL);
	enum err e = each_row(x, no_row, NULL, &is_callers);
	if (e == ERR_CORRUPT) {
		e = segment_repair_idx(s, ENV_BACKGROUND, d);
		if (e == ERR_OK) {
			e = each_row(x, no_row, NULL, &is_callers);
		}
	}
	if (e == ERR_OK) {
		e = each_row(x, fn, arg, &is_callers);
	}
	if (e != ERR_OK && !is_callers) {
		err_set(d, e, "segment %s: its index: %s", segment_name(s).text, err_text(e));
	}
	return e;
}

/* ---- records ---------------------------------------------------------------- */

static enum err get_record(struct segment *s, MDB_txn *txn, uint64_t log_no, struct record *r)
{
	struct span bytes;
	enum record_kind kind = s->is_cleaned ? RECORD_BATCHES : RECORD_ENTRY;
	enum err e = env_get(s->env, txn, log_no, &bytes);
	if (e == ERR_OK) {
		e = record_read(bytes, r);
	}
	if (e == ERR_OK && (r->kind != kind || r->log_no != log_no ||
			    r->shard >= s->volume->options.shards)) {
		e = ERR_CORRUPT;
	}
	return e == ERR_VERSION ? ERR_CORRUPT : e;
}

/* *is_callers: the error is fn's. */
static enum err each_batch(const struct record *r, clean_wants_fn *wants, clean_batch_fn *fn,
			   void *arg, bool *is_callers)
{
	struct record_iter it;
	struct record_command c;
	record_commands(r, &it);
	enum err e;
	while ((e = record_next(&it, &c)) == ERR_OK) {
		if (c.command.kind != VOLUME_BATCH || !wants(arg, c.command.part)) {
			continue;
		}
		e = record_payload_check(&c);
		if (e != ERR_OK) {
			return e;
		}
		e = fn(arg, r->shard, &c.command);
		if (e != ERR_OK) {
			*is_callers = true;
			return e;
		}
	}
	return e == ERR_EOF ? ERR_OK : e;
}

enum err clean_batches(struct segment *s, uint64_t log_no, clean_wants_fn *wants,
		       clean_batch_fn *fn, void *arg, uint64_t *bytes)
{
	MDB_txn *txn;
	bool is_callers = false;
	struct record r;
	*bytes = 0;
	enum err e = env_read_begin(s->env, ENV_BACKGROUND, &txn);
	if (e != ERR_OK) {
		return e;
	}
	e = get_record(s, txn, log_no, &r);
	if (e == ERR_OK) {
		*bytes = r.bytes.n;
		e = each_batch(&r, wants, fn, arg, &is_callers);
	}
	env_read_end(s->env, ENV_BACKGROUND);
	if (e == ERR_CORRUPT && !is_callers) {
		segment_tell_damage(s, log_no, "batches");
	}
	return e;
}
