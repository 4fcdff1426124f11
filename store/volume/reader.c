#include "store/volume/volume_priv.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"

/* Readers: find the rows, hold the segment, copy out of a short transaction,
 * answer. */

/* ---- the queue ------------------------------------------------------------ */

void read_queue_init(struct read_queue *q)
{
	*q = (struct read_queue){0};
	lock_init(&q->lock);
	cond_init(&q->cond);
}

void read_queue_fini(struct read_queue *q)
{
	assert(q->head == NULL);
	cond_fini(&q->cond);
	lock_fini(&q->lock);
}

void read_queue_stop(struct read_queue *q)
{
	lock_take(&q->lock);
	q->is_stopping = true;
	cond_broadcast(&q->cond);
	lock_give(&q->lock);
}

static void queue_post(struct read_queue *q, struct msg *m)
{
	m->next = NULL;
	lock_take(&q->lock);
	if (q->head == NULL) {
		q->head = m;
	} else {
		q->tail->next = m;
	}
	q->tail = m;
	cond_signal(&q->cond);
	lock_give(&q->lock);
}

/* The oldest request, or NULL when the queue is stopped and empty. */
static struct msg *queue_pop(struct read_queue *q)
{
	lock_take(&q->lock);
	while (q->head == NULL && !q->is_stopping) {
		cond_wait(&q->cond, &q->lock);
	}
	struct msg *m = q->head;
	if (m != NULL) {
		q->head = m->next;
		m->next = NULL;
	}
	lock_give(&q->lock);
	return m;
}

/* ---- finding rows --------------------------------------------------------- */

void reader_rows_done(struct reader_rows *rows)
{
	if (rows->segment != NULL) {
		segment_drop(rows->segment);
		rows->segment = NULL;
	}
	rows->n = 0;
}

/* Where rows are to be looked for: an extent, and its segment with a claim on it. */
struct place {
	struct segment *segment;	/* NULL: nowhere */
	int64_t first_seq;
	int64_t end_seq;
};

/* The first extent past *from in which the query may find something. Found and claimed
 * under one lock: segments come and go. */
static struct place place_find(struct volume *v, struct store_part part,
			       const struct index_query *q, int64_t *from)
{
	struct place at = {0};
	lock_take(&v->lock);
	const struct table_part *p = table_find(&v->table, part);
	if (p != NULL) {
		*from = *from > p->start_seq ? *from : p->start_seq;
		size_t i = table_extent_of(p, q, *from);
		if (i < p->n) {
			const struct table_extent *x = &p->extents[i];
			at = (struct place){v->segments[x->segment], x->first_seq, x->end_seq};
			segment_claim_locked(at.segment);
		}
	}
	lock_give(&v->lock);
	return at;
}

/* Rows from the .idx; a damaged one is made anew once. */
static enum err rows_from_idx(struct reader *rd, struct store_part part,
			      const struct index_query *q, struct reader_rows *rows)
{
	struct segment *s = rows->segment;
	struct idx_reader r;
	idx_reader_init(&r, s->idx_fd, &s->idx);
	enum err e = idx_rows(&r, part, q, rows->v, READER_ROWS, &rows->n);
	if (e != ERR_CORRUPT) {
		return e;
	}
	struct err_detail d = {0};
	e = segment_repair_idx(s, rd->slot, &d);
	if (e != ERR_OK) {
		log_error("INDEX-DAMAGED", "segment=%s reason=%s", segment_name(s).text,
			  log_quote(d.text));
		return e;
	}
	idx_reader_init(&r, s->idx_fd, &s->idx);
	return idx_rows(&r, part, q, rows->v, READER_ROWS, &rows->n);
}

static enum err rows_of(struct reader *rd, struct store_part part, const struct index_query *q,
			struct reader_rows *rows)
{
	struct segment *s = rows->segment;
	rows->n = 0;
	lock_take(&rd->volume->lock);
	bool in_memory = s->index != NULL;
	if (in_memory) {
		rows->n = index_rows(s->index, part, q, rows->v, READER_ROWS);
	}
	lock_give(&rd->volume->lock);
	return in_memory ? ERR_OK : rows_from_idx(rd, part, q, rows);
}

static bool row_matches(const struct index_query *q, const struct index_row *row)
{
	switch (q->by) {
	case INDEX_BY_SEQ:
		return true;
	case INDEX_BY_APPEND_TIME:
		return row->append_last_ms >= q->key;
	case INDEX_BY_TIMESTAMP:
		return row->max_timestamp_ms >= q->key;
	}
	return false;
}

/* Leaves those from the first that matches on, past `from` and within the extent: it
 * speaks for its own range only. */
static void rows_keep(struct reader_rows *rows, const struct place *at,
		      const struct index_query *q, int64_t from)
{
	size_t n = 0;
	for (size_t i = 0; i < rows->n; i++) {
		const struct index_row *row = &rows->v[i];
		if (row->next_seq > from && row->base_seq >= at->first_seq &&
		    row->next_seq <= at->end_seq && (n > 0 || row_matches(q, row))) {
			rows->v[n++] = *row;
		}
	}
	rows->n = n;
}

/* By time a search in a segment gives what may lie below `from`: then, from there on,
 * each row is looked at. */
static enum err rows_scan(struct reader *rd, struct store_part part, const struct index_query *q,
			  const struct place *at, int64_t from, struct reader_rows *rows)
{
	for (;;) {
		struct index_query next = {.by = INDEX_BY_SEQ, .key = from};
		enum err e = rows_of(rd, part, &next, rows);
		if (e != ERR_OK || rows->n == 0) {
			return e;
		}
		int64_t end_seq = rows->v[rows->n - 1].next_seq;
		if (end_seq <= from) {
			return ERR_CORRUPT;
		}
		rows_keep(rows, at, q, from);
		if (rows->n > 0 || end_seq >= at->end_seq) {
			return ERR_OK;
		}
		from = end_seq;
	}
}

enum err reader_rows_find(struct reader *rd, struct store_part part, const struct index_query *q,
			  int64_t *from, struct reader_rows *rows)
{
	for (;;) {
		reader_rows_done(rows);
		struct place at = place_find(rd->volume, part, q, from);
		if (at.segment == NULL) {
			return ERR_EOF;
		}
		enum err e = segment_open(at.segment, NULL);
		if (e != ERR_OK) {
			return e;
		}
		rows->segment = at.segment;
		bool must_scan = q->by == INDEX_BY_SEQ;
		if (!must_scan) {
			e = rows_of(rd, part, q, rows);
			bool had_rows = e == ERR_OK && rows->n > 0;
			rows_keep(rows, &at, q, *from);
			must_scan = had_rows && rows->n == 0;
		}
		if (must_scan) {
			e = rows_scan(rd, part, q, &at, *from, rows);
		}
		if (e != ERR_OK || rows->n > 0) {
			return e;
		}
		*from = at.end_seq;
	}
}

/* ---- one record ----------------------------------------------------------- */

enum err reader_record(struct segment *s, MDB_txn *txn, uint64_t log_no, struct record *r)
{
	struct span bytes;
	enum err e = env_get(s->env, txn, log_no, &bytes);
	if (e == ERR_OK) {
		e = record_read(bytes, r);
	}
	enum record_kind kind = s->is_cleaned ? RECORD_BATCHES : RECORD_ENTRY;
	if (e == ERR_OK && (r->kind != kind || r->log_no != log_no)) {
		e = ERR_CORRUPT;
	}
	if (e == ERR_CORRUPT || e == ERR_VERSION) {
		segment_tell_damage(s, log_no, "head");
		e = ERR_CORRUPT;
	}
	return e;
}

/* What a read still wants, and what it chose from one record. */
struct choice {
	const struct volume_read *read;
	int64_t from;
	uint32_t slots;		/* batches that still fit */
	uint64_t budget;	/* payload bytes that still fit */
	bool must_take;		/* nothing yet: take one whatever its size */
	struct record_command v[STORE_READ_BATCHES];
	uint32_t n;
	bool is_full;		/* the read ends here */
};

/* Chooses and verifies. On damage what was chosen before it stays chosen. */
static enum err choose(struct choice *ch, const struct record *r)
{
	struct record_iter it;
	struct record_command c;
	record_commands(r, &it);
	enum err e;
	ch->n = 0;
	while ((e = record_next(&it, &c)) == ERR_OK) {
		const struct volume_command *b = &c.command;
		if (b->kind != VOLUME_BATCH ||
		    store_part_key(b->part) != store_part_key(ch->read->part) ||
		    b->base_seq + b->count <= ch->from) {
			continue;
		}
		bool fits = b->payload.n <= ch->budget || ch->must_take;
		if (b->base_seq + b->count > ch->read->limit || !fits || ch->slots == 0) {
			ch->is_full = true;
			return ERR_OK;
		}
		e = record_payload_check(&c);
		if (e != ERR_OK) {
			return e;
		}
		ch->v[ch->n++] = c;
		ch->slots--;
		ch->budget -= b->payload.n < ch->budget ? b->payload.n : ch->budget;
		ch->must_take = false;
		ch->from = b->base_seq + b->count;
	}
	return e == ERR_EOF ? ERR_OK : e;
}

/* Copies what was chosen into one buffer of exactly its size. */
static enum err copy_chosen(const struct choice *ch, struct store_batches *out)
{
	size_t size = 0;
	for (uint32_t i = 0; i < ch->n; i++) {
		size += ch->v[i].command.payload.n + ch->v[i].command.key.n;
	}
	if (ch->n == 0) {
		return ERR_OK;
	}
	struct buf *buf = buf_new(size);
	if (buf == NULL) {
		return ERR_NOMEM;
	}
	struct wr w = wr_of(buf->data, size);
	for (uint32_t i = 0; i < ch->n; i++) {
		const struct volume_command *c = &ch->v[i].command;
		struct store_batch *b = &out->v[out->n++];
		*b = (struct store_batch){
			.buf = i == 0 ? buf : buf_hold(buf),
			.batch = span_of(w.p, c->payload.n),
			.key = span_of(w.p + c->payload.n, c->key.n),
			.base_seq = c->base_seq,
			.count = (int32_t)c->count,
			.encoding = c->encoding,
			.append_ms = c->append_ms,
		};
		wr_span(&w, c->payload);
		wr_span(&w, c->key);
	}
	assert(!w.bad && w.p == w.end);
	buf->len = (uint32_t)size;
	return ERR_OK;
}

static enum err read_record(struct reader *rd, struct segment *s, uint64_t log_no,
			    struct choice *ch, struct store_batches *out)
{
	MDB_txn *txn;
	enum err e = env_read_begin(s->env, rd->slot, &txn);
	if (e != ERR_OK) {
		return e;
	}
	struct record r;
	e = reader_record(s, txn, log_no, &r);
	if (e == ERR_OK) {
		e = choose(ch, &r);
		enum err copied = copy_chosen(ch, out);
		if (e == ERR_CORRUPT) {
			segment_tell_damage(s, log_no, "payload");
		}
		e = copied != ERR_OK ? copied : e;
	}
	env_read_end(s->env, rd->slot);
	return e;
}

/* ---- reads ----------------------------------------------------------------- */

static enum err read_batches(struct reader *rd, struct volume_read *op)
{
	struct choice ch = {
		.read = op,
		.from = op->from,
		.slots = STORE_READ_BATCHES,
		.budget = op->max_bytes,
		.must_take = true,
	};
	struct reader_rows rows = {0};
	struct index_query q = {.by = INDEX_BY_SEQ};
	enum err e = ERR_OK;
	while (e == ERR_OK && !ch.is_full && ch.from < op->limit) {
		e = reader_rows_find(rd, op->part, &q, &ch.from, &rows);
		for (size_t i = 0; e == ERR_OK && i < rows.n && !ch.is_full; i++) {
			if (rows.v[i].base_seq >= op->limit) {
				ch.is_full = true;
				break;
			}
			int64_t before = ch.from;
			e = read_record(rd, rows.segment, rows.v[i].log_no, &ch, &op->out);
			/* The row promised batches up to its end; go on behind it. */
			if (e == ERR_OK && !ch.is_full && ch.from < rows.v[i].next_seq) {
				segment_tell_damage(rows.segment, rows.v[i].log_no, "batches");
				e = ERR_CORRUPT;
			}
			assert(ch.from >= before);
		}
	}
	reader_rows_done(&rows);
	if (e == ERR_EOF || op->out.n > 0) {
		return ERR_OK;
	}
	return e;
}

static void run_read(struct reader *rd, struct volume_read *op)
{
	op->out.n = 0;
	op->err = read_batches(rd, op);
	metric_inc(METRIC_STORE_READS_DISK);
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

/* ---- seeks and cuts --------------------------------------------------------- */

static void run_cut(struct reader *rd, struct volume_cut *op)
{
	op->err = reader_cut(rd, op);
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

static void run_seek(struct reader *rd, struct volume_seek *op)
{
	op->err = reader_seek(rd, op);
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

/* Kinds of requests, told apart by their run function; never run. */
static void is_read(struct msg *m)
{
	(void)m;
}
static void is_seek(struct msg *m)
{
	(void)m;
}
static void is_cut(struct msg *m)
{
	(void)m;
}

void volume_read(struct volume *v, struct volume_read *r)
{
	assert(v->magic == VOLUME_MAGIC);
	r->msg.run = is_read;
	queue_post(&v->queue, &r->msg);
}

void volume_seek(struct volume *v, struct volume_seek *s)
{
	assert(v->magic == VOLUME_MAGIC);
	s->msg.run = is_seek;
	queue_post(&v->queue, &s->msg);
}

void volume_cut(struct volume *v, struct volume_cut *c)
{
	assert(v->magic == VOLUME_MAGIC);
	c->msg.run = is_cut;
	queue_post(&v->queue, &c->msg);
}

_Static_assert(offsetof(struct volume_cut, msg) == 0, "the cast relies on it");
_Static_assert(offsetof(struct volume_read, msg) == 0, "the cast relies on it");
_Static_assert(offsetof(struct volume_seek, msg) == 0, "the cast relies on it");

void *reader_main(void *arg)
{
	struct reader *rd = arg;
	assert(rd->volume->magic == VOLUME_MAGIC);
	ASSERT_THREAD(ROLE_READER);
	struct msg *m;
	while ((m = queue_pop(&rd->volume->queue)) != NULL) {
		if (m->run == is_read) {
			run_read(rd, (struct volume_read *)(void *)m);
		} else if (m->run == is_cut) {
			run_cut(rd, (struct volume_cut *)(void *)m);
		} else {
			assert(m->run == is_seek);
			run_seek(rd, (struct volume_seek *)(void *)m);
		}
	}
	return NULL;
}
