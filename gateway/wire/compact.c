/* Batches as compaction sees them: compact.h. */

#include "gateway/wire/compact.h"

#include "base/crc32c.h"
#include "base/limits.h"
#include "gateway/wire/event_priv.h"
#include "gateway/wire/records.h"

enum {
	/* Places in a batch's head, base/batch.h. */
	AT_LENGTH = 8,
	AT_CRC = 17,
	AT_ATTRIBUTES = 21,
	AT_MAX_TIME = 35,
	AT_COUNT = 57,
	LENGTH_EXCLUDES = 12,
	/* Octets of a record's numbers: two of 10 and five of 5 at most, attributes. */
	NUMBERS_MAX = 64,
};

/* What an error of the walk means for bytes that were checked when they came. */
static enum err walk_error(enum err e)
{
	return e == ERR_EOF ? ERR_OK : e == ERR_NOMEM || e == ERR_BUSY ? ERR_NOMEM : ERR_CORRUPT;
}

/* ---- walking ---------------------------------------------------------------- */

/* The records of one batch, in order of their offset deltas. */
struct walk {
	struct batch_head head;
	struct records_iter *it;
	int32_t last_delta;
};

static enum err walk_begin(struct walk *w, struct span batch)
{
	*w = (struct walk){.last_delta = -1};
	if (batch_head_read(batch, &w->head) != ERR_OK || w->head.total != batch.n) {
		return ERR_CORRUPT;
	}
	enum err e = records_iter_new(batch, RECORDS_INFLATED_MAX, NULL, &w->it);
	return e != ERR_OK ? walk_error(e) : ERR_OK;
}

/* ERR_OK with a record, ERR_EOF, ERR_CORRUPT, ERR_NOMEM. */
static enum err walk_next(struct walk *w, struct batch_record *out)
{
	enum err e = records_iter_next(w->it, out);
	if (e != ERR_OK) {
		return e == ERR_EOF ? e : walk_error(e);
	}
	if (out->offset_delta <= w->last_delta || out->offset_delta > w->head.last_offset_delta) {
		return ERR_CORRUPT;
	}
	w->last_delta = out->offset_delta;
	return ERR_OK;
}

static void walk_end(struct walk *w)
{
	records_iter_free(&w->it);
}

enum err amqp_event_is_empty(struct span value, bool *is_empty)
{
	struct amqp_message m;
	if (amqp_sections_read(value, AMQP_CHECK_OUTER, &m, NULL) != ERR_OK) {
		return ERR_CORRUPT;
	}
	*is_empty = m.body_kind != AMQP_SEQUENCE;
	struct rd r = rd_of(m.body);
	while (*is_empty && rd_left(&r) > 0) {
		(void)amqp_section_code_read(&r);
		struct amqp_value v = amqp_read_shallow(&r);
		bool is_nothing = v.type == AMQP_NULL ||
				  (m.body_kind == AMQP_DATA && v.type == AMQP_BINARY && v.data.n == 0);
		*is_empty = is_nothing;
	}
	return r.bad ? ERR_CORRUPT : ERR_OK;
}

/* What the record is to compaction. */
static enum err tell(const struct walk *w, enum batch_encoding encoding, struct span key,
		     const struct batch_record *rec, struct store_compact_record *out)
{
	*out = (struct store_compact_record){.offset_delta = rec->offset_delta};
	if (encoding == BATCH_KAFKA) {
		out->has_key = rec->has_key && (w->head.attributes & RECORDS_CONTROL) == 0;
		out->key = out->has_key ? rec->key : (struct span){NULL, 0};
		out->is_tombstone = out->has_key && !rec->has_value;
		return ERR_OK;
	}
	bool is_empty = false;
	enum err e = rec->has_value ? amqp_event_is_empty(rec->value, &is_empty) : ERR_CORRUPT;
	out->has_key = key.n > 0;
	out->key = key;
	out->is_tombstone = out->has_key && is_empty;
	return e;
}

static enum err compact_walk(struct span batch, struct span key, enum batch_encoding encoding,
			     store_compact_fn *fn, void *arg)
{
	struct walk w;
	struct batch_record rec;
	enum err e = walk_begin(&w, batch);
	if (e != ERR_OK) {
		return e;
	}
	while ((e = walk_next(&w, &rec)) == ERR_OK) {
		struct store_compact_record r;
		e = tell(&w, encoding, key, &rec, &r);
		if (e == ERR_OK) {
			e = fn(arg, &r);
		}
		if (e != ERR_OK) {
			break;
		}
	}
	walk_end(&w);
	return e == ERR_EOF ? ERR_OK : e;
}

/* ---- rewriting -------------------------------------------------------------- */

/* Length, or -1 and nothing, then the octets. */
static size_t run_size(bool has, struct span s)
{
	return has ? varlong_size((int64_t)s.n) + s.n : varlong_size(-1);
}

static void put_run(struct str *out, bool has, struct span s)
{
	uint8_t n[NUMBERS_MAX];
	struct wr w = wr_of(n, sizeof n);
	wr_varlong(&w, has ? (int64_t)s.n : -1);
	str_addn(out, n, wr_len(&w));
	str_addn(out, s.p, has ? s.n : 0);
}

/* The record as it was: numbers in their shortest form, which is what clients
 * write; attributes were checked to be 0. */
static void put_record(struct str *out, const struct batch_head *head,
		       const struct batch_record *rec)
{
	int64_t ms = (int64_t)((uint64_t)rec->timestamp - (uint64_t)head->base_timestamp);
	size_t body = 1 + varlong_size(ms) + varlong_size(rec->offset_delta) +
		      run_size(rec->has_key, rec->key) + run_size(rec->has_value, rec->value) +
		      varlong_size(rec->header_count) + rec->headers.n;
	uint8_t numbers[NUMBERS_MAX];
	struct wr w = wr_of(numbers, sizeof numbers);
	wr_varlong(&w, (int64_t)body);
	wr_u8(&w, 0);
	wr_varlong(&w, ms);
	wr_varlong(&w, rec->offset_delta);
	str_addn(out, numbers, wr_len(&w));
	put_run(out, rec->has_key, rec->key);
	put_run(out, rec->has_value, rec->value);
	w = wr_of(numbers, sizeof numbers);
	wr_varlong(&w, rec->header_count);
	str_addn(out, numbers, wr_len(&w));
	str_addn(out, rec->headers.p, rec->headers.n);
}

/* What is kept of a batch. */
struct kept {
	struct str records;	/* not packed */
	int32_t count;
	int64_t max_ms;
};

static enum err collect(struct walk *w, const uint8_t *keep, struct kept *k)
{
	struct batch_record rec;
	enum err e;
	for (int32_t i = 0; (e = walk_next(w, &rec)) == ERR_OK; i++) {
		if ((keep[i / 8] >> (i % 8) & 1) == 0) {
			continue;
		}
		k->max_ms = k->count == 0 || rec.timestamp > k->max_ms ? rec.timestamp : k->max_ms;
		k->count++;
		put_record(&k->records, &w->head, &rec);
		if (k->records.bad) {
			return ERR_NOMEM;
		}
	}
	if (e != ERR_EOF) {
		return e;
	}
	return k->count > 0 ? ERR_OK : ERR_INVALID;
}

/* Appends head and packed records; the head is the old one but for what changed. */
static enum err put_batch(struct span batch, const struct batch_head *head, const struct kept *k,
			  struct str *out)
{
	size_t start = out->len;
	str_addn(out, batch.p, BATCH_HEAD);
	enum err e = out->bad ? ERR_NOMEM
			      : deflate_all(head->attributes & RECORDS_CODEC_MASK,
					    span_of(k->records.p, k->records.len), out);
	size_t total = out->len - start;
	if (e == ERR_OK && out->bad) {
		e = ERR_NOMEM;
	}
	if (e == ERR_OK && total > LIMIT_BATCH && total > batch.n) {
		e = ERR_TOO_LARGE;
	}
	if (e != ERR_OK) {
		out->len = start;
		return e == ERR_TOO_LARGE ? e : ERR_NOMEM;
	}
	uint8_t *p = (uint8_t *)out->p + start;
	put_u32(p + AT_LENGTH, (uint32_t)(total - LENGTH_EXCLUDES));
	put_u32(p + AT_COUNT, (uint32_t)k->count);
	put_u64(p + AT_MAX_TIME, (uint64_t)k->max_ms);
	put_u32(p + AT_CRC, crc32c(0, p + AT_ATTRIBUTES, total - AT_ATTRIBUTES));
	return ERR_OK;
}

static enum err compact_rewrite(struct span batch, enum batch_encoding encoding,
				const uint8_t *keep, struct str *out)
{
	(void)encoding;	/* events of both kinds are records */
	/* Damage is not to be given a right CRC. */
	if (batch_check(batch) != ERR_OK) {
		return ERR_CORRUPT;
	}
	struct walk w;
	struct kept k = {.records = {.max = (size_t)RECORDS_INFLATED_MAX + 1}};
	enum err e = walk_begin(&w, batch);
	if (e != ERR_OK) {
		return e;
	}
	e = collect(&w, keep, &k);
	if (e == ERR_OK) {
		e = put_batch(batch, &w.head, &k, out);
	}
	walk_end(&w);
	str_fini(&k.records);
	return e;
}

const struct store_compactor wire_compactor = {
	.walk = compact_walk,
	.rewrite = compact_rewrite,
};
