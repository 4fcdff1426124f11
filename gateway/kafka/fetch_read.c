/* Reading for Fetch: from the recent-entry cache at once, else by a reader
 * thread, one read of a request at a time. Batches of Kafka producers go out as
 * they are stored; others are made into Kafka's form here. */

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/kafka/fetch.h"
#include "gateway/wire/to_kafka.h"

enum { AT_COUNT = 57 };	/* in a batch's head, base/batch.h */

void fetch_unread_add(struct fetch *f, struct fetch_part *part)
{
	part->state = FETCH_UNREAD;
	part->next = NULL;
	if (f->unread == NULL) {
		f->unread = part;
	} else {
		f->unread_last->next = part;
	}
	f->unread_last = part;
}

static void unread_pop(struct fetch *f)
{
	struct fetch_part *part = f->unread;
	f->unread = part->next;
	part->next = NULL;
	if (part->state == FETCH_ENDED) {
		part->next = f->ended;
		f->ended = part;
	}
}

void fetch_part_fail(struct fetch *f, struct fetch_part *part, enum kafka_code code)
{
	part->state = FETCH_DONE;
	part->answer->error_code = (int16_t)code;
	f->is_ready = true;
}

/* What was read before an error goes out first: the next request will meet it. */
static void part_trouble(struct fetch *f, struct fetch_part *part, enum err e)
{
	if (e == ERR_CORRUPT) {
		log_limited(LOG_ERROR, "KAFKA-STORED-BATCH-DAMAGED",
			    "conn=%llu hub=%s partition=%d sequence=%lld",
			    (unsigned long long)part->r->conn->id, log_quote_span(part->topic).text,
			    part->ask->partition, (long long)part->at);
	}
	if (part->n_held > 0 && e != ERR_NOT_FOUND) {
		part->state = FETCH_DONE;
		f->is_ready = true;
		return;
	}
	fetch_part_fail(f, part, kafka_data_code(e));
}

/* ---- taking batches into the answer ------------------------------------------- */

static bool fits(const struct throttle_rate *quantum, size_t bytes, uint64_t events, size_t n,
		 uint64_t n_events)
{
	return n <= quantum->bytes && bytes <= quantum->bytes - n &&
	       n_events <= quantum->events && events <= quantum->events - n_events;
}

/* May `n` more bytes of the partition go in? The first batch of an answer always
 * does, so that nobody is stuck before a large one. */
static bool has_room(struct fetch *f, struct fetch_part *part, size_t n, uint64_t n_events)
{
	const struct kafka_conn *c = part->r->conn;
	const struct budget *answers = &c->front->answers;
	size_t all = answers->max / 4 * 3; /* the rest is for other answers */
	size_t most = (size_t)c->front->options.max_fetch_bytes;
	if (c->fetch_held > 0 && (n > most || c->fetch_held > most - n)) {
		f->is_full = true; /* other answers of the connection count, too */
	} else if (f->bytes > 0 && (n > f->limit || f->bytes > f->limit - n)) {
		f->is_full = true;
	} else if (f->bytes > 0 && !fits(&f->quantum, f->bytes, f->events, n, n_events)) {
		f->is_full = true; /* it would have to wait too long */
	} else if (f->bytes > 0 && f->bytes + n > FETCH_LEAST &&
		   (n > all || budget_used(answers) > all - n)) {
		f->is_full = true; /* clients are slow to take what they asked for */
	} else if (f->n_held == FETCH_BATCHES) {
		f->is_full = true;
	}
	if (f->is_full) {
		return false;
	}
	size_t part_most =
		part->ask->partition_max_bytes > 0 ? (size_t)part->ask->partition_max_bytes : 0;
	if (f->bytes > 0 && (n > part_most || part->bytes > part_most - n ||
			     !fits(&part->quantum, part->bytes, part->events, n, n_events))) {
		part->state = FETCH_DONE;
		f->is_ready = true;
		return false;
	}
	return true;
}

/* Makes Kafka's form of a batch, counted as memory of the request. */
static enum err make(struct fetch *f, struct fetch_part *part, const struct store_batch *b,
		     struct fetch_held *h)
{
	struct kafka_request *r = part->r;
	h->made.max = TO_KAFKA_MAX;
	enum err e = to_kafka_batch(b->batch, b->key, b->append_ms, &h->made);
	if (e != ERR_OK) {
		str_fini(&h->made);
		return e;
	}
	if (!budget_take(core_inflight(r->conn->front->core), h->made.cap)) {
		metric_inc(METRIC_BUDGET_REFUSED);
		str_fini(&h->made);
		return ERR_BUSY;
	}
	r->reserved += h->made.cap;
	f->made_bytes += h->made.cap;
	h->bytes = span_of(h->made.p, h->made.len);
	return ERR_OK;
}

static void unmake(struct fetch *f, struct fetch_part *part, struct fetch_held *h)
{
	struct kafka_request *r = part->r;
	budget_give(core_inflight(r->conn->front->core), h->made.cap);
	r->reserved -= h->made.cap;
	f->made_bytes -= h->made.cap;
	str_fini(&h->made);
}

static void keep(struct fetch *f, struct fetch_part *part, const struct store_batch *b,
		 const struct fetch_held *h)
{
	f->held[f->n_held++] = *h;
	f->bytes += h->bytes.n;
	struct kafka_request *r = part->r;
	r->conn->fetch_held += h->bytes.n;
	/* A first batch may go beyond it. */
	r->charged += budget_take(&r->conn->front->answers, h->bytes.n) ? h->bytes.n : 0;
	part->n_held++;
	part->bytes += h->bytes.n;
	int64_t after = b->base_seq + b->count;
	int64_t first = b->base_seq > part->at ? b->base_seq : part->at;
	/* After compaction there are fewer than the span of offsets. */
	uint64_t records = (uint64_t)(int32_t)get_u32(h->bytes.p + AT_COUNT);
	records = records < (uint64_t)(after - first) ? records : (uint64_t)(after - first);
	f->events += records;
	part->events += records;
	part->at = after;
	if (part->answer->high_watermark < after) {
		part->answer->high_watermark = after;
		part->answer->last_stable_offset = after;
	}
}

/* One batch. False: the partition has no more at present, or the answer is full. */
static bool take(struct fetch *f, struct fetch_part *part, const struct store_batch *b)
{
	struct fetch_held h = {.bytes = b->batch, .part = (uint32_t)(part - f->parts)};
	if (b->base_seq + b->count <= part->at) {
		part_trouble(f, part, ERR_CORRUPT); /* a read that leads nowhere */
		return false;
	}
	if (!has_room(f, part, h.bytes.n, (uint64_t)b->count)) {
		return false;
	}
	void *block = f->held;
	bool ok = mem_grow(&block, &f->cap_held, f->n_held + 1, sizeof *f->held);
	f->held = block;
	enum err e = ok ? ERR_OK : ERR_NOMEM;
	if (e == ERR_OK && b->encoding == BATCH_AMQP) {
		if (f->made_bytes >= FETCH_MADE_MAX) {
			f->is_full = true;
			return false;
		}
		e = make(f, part, b, &h);
	} else if (e == ERR_OK) {
		h.buf = buf_hold(b->buf);
	}
	if (e != ERR_OK) {
		part_trouble(f, part, e);
		return false;
	}
	if (!has_room(f, part, h.bytes.n, (uint64_t)b->count)) { /* it may have grown */
		unmake(f, part, &h);
		buf_drop(&h.buf);
		return false;
	}
	keep(f, part, b, &h);
	return true;
}

/* What a read gave; its references are given up. */
static bool take_all(struct fetch *f, struct fetch_part *part, enum err e, struct store_batches *b)
{
	if (e != ERR_OK) {
		part_trouble(f, part, e);
	}
	bool more = e == ERR_OK;
	for (uint32_t i = 0; i < b->n && more; i++) {
		more = take(f, part, &b->v[i]);
	}
	store_batches_drop(b);
	return more;
}

/* ---- reading --------------------------------------------------------------------- */

static uint32_t room_of(const struct fetch *f, const struct fetch_part *part)
{
	size_t room = f->limit > f->bytes ? f->limit - f->bytes : 1;
	size_t most =
		part->ask->partition_max_bytes > 0 ? (size_t)part->ask->partition_max_bytes : 1;
	most = most > part->bytes ? most - part->bytes : 1;
	room = room < most ? room : most;
	/* Less is said of a limit of events: batches tell only when they are there. */
	if (part->quantum.bytes < room) {
		room = part->quantum.bytes > 0 ? (size_t)part->quantum.bytes : 1;
	}
	return room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
}

static void on_read(struct msg *m);

/* False: kafka_fail was called. */
static bool start_read(struct kafka_request *r, struct fetch_part *part)
{
	struct fetch *f = r->state;
	if (f->read == NULL) {
		f->read = kafka_alloc(r, sizeof *f->read);
		if (f->read == NULL) {
			return false;
		}
		if (f->waits) {
			kafka_deadline(r, f->deadline_ms);
		}
	}
	/* Not the whole struct: its batches are many bytes, and empty. */
	struct store_read *op = &f->read->op;
	op->reply_to = r->conn->mailbox;
	op->done = on_read;
	op->partition = part->partition;
	op->from = part->at;
	op->max_bytes = room_of(f, part);
	op->err = ERR_OK;
	op->out.n = 0;
	struct store_position at;
	store_partition_position(part->partition, &at);
	f->read->end_seq = at.next_seq;
	f->read->r = r;
	f->read->part = part;
	f->is_reading = true;
	kafka_hold(r);
	core_fetch(r->conn->front->core, op);
	return true;
}

/* How much of it may go out at a time: a part of what the connection may be sent in a
 * second, at present. */
static void set_quantum(struct kafka_request *r, struct fetch_part *part)
{
	struct fetch *f = r->state;
	struct throttle_rate q = kafka_reading_share(r, part->hub_id, (uint32_t)part->ask->partition);
	q.bytes = q.bytes != UINT64_MAX ? q.bytes / FETCH_SHARES : q.bytes;
	q.events = q.events != UINT64_MAX ? q.events / FETCH_SHARES : q.events;
	part->quantum = q;
	f->quantum.bytes = f->quantum.bytes > q.bytes ? f->quantum.bytes : q.bytes;
	f->quantum.events = f->quantum.events > q.events ? f->quantum.events : q.events;
}

/* All there is of a partition. False: a reader thread is at it, or the request
 * failed. */
static bool read_part(struct kafka_request *r, struct fetch_part *part)
{
	struct fetch *f = r->state;
	struct core *core = r->conn->front->core;
	struct store_batches b;
	if (part->n_held == 0) {
		set_quantum(r, part);
	}
	while (part->state == FETCH_UNREAD && !f->is_full) {
		b.n = 0;
		enum err e =
			core_fetch_recent(core, part->partition, part->at, room_of(f, part), &b);
		if (e == ERR_AGAIN) {
			if (!start_read(r, part)) {
				f->is_done = true;
			}
			return false;
		}
		if (e == ERR_OK && b.n == 0) {
			part->state = FETCH_ENDED;
		} else if (!take_all(f, part, e, &b)) {
			break;
		}
	}
	return true;
}

void fetch_run(struct kafka_request *r)
{
	struct fetch *f = r->state;
	assert(!f->is_done);
	assert(!f->is_reading);
	assert(!f->is_paying);
	while (f->unread != NULL && !f->is_full && !r->was_cancelled &&
	       !(f->is_due && f->bytes > 0)) {
		if (!read_part(r, f->unread)) {
			return;
		}
		unread_pop(f);
	}
	if (f->unread != NULL) {
		f->is_ready = true;
	}
	fetch_settle(r);
}

/* What is below the high watermark is there, unless its time was over, or what
 * compaction left lies beyond where the read ended: then the client asks again. */
static enum err why_empty(struct fetch *f, const struct fetch_read *read)
{
	struct fetch_part *part = read->part;
	struct store_position at;
	store_partition_position(part->partition, &at);
	part->answer->log_start_offset = at.first_seq;
	if (at.deleted) {
		return ERR_NOT_FOUND;
	}
	if (part->at < at.first_seq) {
		return ERR_RANGE;
	}
	if (at.next_seq > read->end_seq) {
		part->state = FETCH_DONE;
		f->is_ready = true;
		return ERR_OK;
	}
	return ERR_CORRUPT;
}

static void on_read(struct msg *m)
{
	struct fetch_read *read = KAFKA_OWNER(struct fetch_read, m, op.msg);
	struct kafka_request *r = read->r;
	struct fetch *f = r->state;
	struct fetch_part *part = read->part;
	f->is_reading = false;
	if (f->is_done || r->was_cancelled) {
		store_batches_drop(&read->op.out);
	} else {
		enum err e = read->op.err;
		if (e == ERR_OK && read->op.out.n == 0) {
			e = why_empty(f, read);
		}
		(void)take_all(f, part, e, &read->op.out);
	}
	if (!f->is_done) {
		fetch_run(r);
	}
	kafka_release(r);
}
