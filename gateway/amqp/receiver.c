/* Links on which the client receives: one partition in one group, read from the
 * recent-entry cache, else by a reader thread, else watched. Everything is sent
 * settled: a log keeps no state of a delivery, and the Python SDK asks for
 * unsettled transfers but never settles one. Capacity is paid for in advance, an
 * allowance at a time; where it is not to be had at once, the link waits its turn. */

#include <string.h>

#include <proton/delivery.h>
#include <proton/session.h>
#include <proton/terminus.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/amqp/filter.h"
#include "gateway/amqp/link.h"
#include "gateway/wire/event.h"
#include "gateway/wire/kafka_value.h"
#include "gateway/wire/records.h"

enum {
	READ_BYTES = 256 << 10,		/* of one read */
	EVENT_KEEP = 256 << 10,		/* a larger encoding buffer is given back */
	/* Events passed over on the way to next_seq before others have their turn:
	 * unpacking them takes a few milliseconds. */
	PASS_MAX = 16384,
	/* What Proton may hold over all sessions of a connection whose peer has
	 * closed their windows, and the least that each may have. */
	CONN_OUT_MAX = 4 << 20,
	SESSION_OUT_MIN = 32 << 10,
	/* An allowance: so much of a second of the reader's share, within bounds. Small
	 * enough that the allowances of all readers together are a part of the burst,
	 * large enough that few turns are waited for. */
	ALLOWANCE_PER_S = 16,
	ALLOWANCE_EVENTS_MAX = 256,
	ALLOWANCE_BYTES_MIN = 16 << 10,
	ALLOWANCE_BYTES_MAX = 256 << 10,
};

#define FILTER_NAME "apache.org:selector-filter:string"
#define RUNTIME_METRIC "com.microsoft:enable-receiver-runtime-metric"

enum receiver_state {
	RECEIVER_IDLE,		/* next_seq may be read */
	RECEIVER_SEEKING,	/* the start is being looked up */
	RECEIVER_READING,	/* a reader thread is at it */
	RECEIVER_WATCHING,	/* at the end: woken by new events */
	RECEIVER_PAYING,	/* over a limit: its turn will come */
};

struct amqp_receiver {
	struct amqp_link link;
	struct core_reader *reader;
	struct store_partition *partition;	/* kept for operations that are out */
	uint32_t hub_id;
	uint32_t partition_id;
	bool wants_metric;
	enum receiver_state state;
	int64_t next_seq;		/* to be sent next */
	int64_t fetched_seq;		/* from where `batches` were asked for */
	int64_t end_seq;		/* the high watermark then */
	struct store_batches batches;
	uint32_t at;			/* of batches */
	bool is_walking;		/* in batches.v[at], with one of these: */
	struct batch_iter iter;		/* events of AMQP and HTTPS */
	struct records_iter *records;	/* a Kafka producer's batch; counted as in flight */
	bool is_starved;		/* there was no memory to unpack: tried again by a tick */
	uint64_t next_tag;
	bool was_served;		/* since the last tick */
	struct store_position position;	/* for the runtime metric */
	struct store_seek seek;
	struct store_read read;
	struct store_watch watch;
	/* The allowance: what may still be sent. Below 0: the last event was larger. */
	int64_t may_bytes;
	int64_t may_events;
	struct throttle_cost asked;	/* of the turn */
	struct core_turn turn;
};

static struct amqp_receiver *receiver_of(struct amqp_link *link)
{
	return (struct amqp_receiver *)(void *)link;
}

/* ---- operations that are out ------------------------------------------------ */

static void operation_out(struct amqp_receiver *r, enum receiver_state state)
{
	r->state = state;
	r->link.outstanding++;
	r->link.conn->outstanding++;
}

/* Frees what only operations needed; then perhaps the link and the connection. */
static void operation_back(struct amqp_receiver *r)
{
	struct amqp_conn *conn = r->link.conn;
	if (r->link.has_ended && r->link.outstanding == 1) {
		store_partition_drop(&r->partition);
	}
	(void)amqp_link_release(&r->link);
	amqp_conn_release(conn);
}

static void walk_end(struct amqp_receiver *r)
{
	records_iter_free(&r->records);
	r->is_walking = false;
}

static void batches_drop(struct amqp_receiver *r)
{
	walk_end(r);	/* it borrows from them */
	store_batches_drop(&r->batches);
	r->at = 0;
}

static void go_on(struct amqp_receiver *r)
{
	r->state = RECEIVER_IDLE;
	amqp_link_ready(&r->link);
	amqp_conn_wake(r->link.conn);
}

static void on_seek_done(struct msg *m)
{
	struct amqp_receiver *r = AMQP_OWNER(struct amqp_receiver, m, seek.msg);
	if (!r->link.has_ended) {
		if (r->seek.err != ERR_OK) {
			amqp_link_fail(&r->link, r->seek.err, NULL, "");
		} else {
			r->next_seq = r->seek.seq;
			core_reader_at(r->reader, r->next_seq);
			go_on(r);
		}
	}
	operation_back(r);
}

/* Nothing was read because nothing is left there: the partition now begins later, or
 * ends here, or compaction left something only beyond where the read ended. */
static bool is_overtaken(const struct amqp_receiver *r)
{
	struct store_position at;
	store_partition_position(r->partition, &at);
	return at.first_seq > r->next_seq || at.next_seq <= r->next_seq ||
	       at.next_seq > r->end_seq;
}

static void on_read_done(struct msg *m)
{
	struct amqp_receiver *r = AMQP_OWNER(struct amqp_receiver, m, read.msg);
	if (r->link.has_ended) {
		store_batches_drop(&r->read.out);
	} else if (r->read.err != ERR_OK) {
		store_batches_drop(&r->read.out);
		amqp_link_fail(&r->link, r->read.err, NULL, "");
	} else if (r->read.out.n == 0 && !is_overtaken(r)) {
		/* What is below the high watermark is there. */
		log_error("AMQP-READ-EMPTY", "conn=%llu entity=%s sequence=%lld",
			  (unsigned long long)r->link.conn->id, log_quote(r->link.path),
			  (long long)r->next_seq);
		amqp_link_fail(&r->link, ERR_CORRUPT, NULL, "");
	} else {
		r->batches = r->read.out;	/* with its references */
		r->read.out.n = 0;
		r->at = 0;
		go_on(r);
	}
	operation_back(r);
}

static void on_watch_done(struct msg *m)
{
	struct amqp_receiver *r = AMQP_OWNER(struct amqp_receiver, m, watch.msg);
	if (!r->link.has_ended) {
		if (r->watch.err != ERR_OK) {
			amqp_link_fail(&r->link, r->watch.err, NULL, "");
		} else {
			go_on(r);
		}
	}
	operation_back(r);
}

static void start_seek(struct amqp_receiver *r, const struct core_start *from)
{
	r->seek = (struct store_seek){
		.reply_to = r->link.conn->mailbox,
		.done = on_seek_done,
		.after_ms = from->time_ms,
		.inclusive = from->inclusive,
	};
	operation_out(r, RECEIVER_SEEKING);
	core_seek(r->reader, &r->seek);
}

static void start_read(struct amqp_receiver *r)
{
	memset(&r->read, 0, sizeof r->read);
	r->read.reply_to = r->link.conn->mailbox;
	r->read.done = on_read_done;
	r->read.from = r->next_seq;
	r->read.max_bytes = READ_BYTES;
	operation_out(r, RECEIVER_READING);
	core_read(r->reader, &r->read);
}

static void start_watch(struct amqp_receiver *r)
{
	r->watch = (struct store_watch){
		.reply_to = r->link.conn->mailbox,
		.done = on_watch_done,
		.seq = r->next_seq,
	};
	operation_out(r, RECEIVER_WATCHING);
	core_watch(r->reader, &r->watch);
}

/* ---- capacity ----------------------------------------------------------------- */

static void allow(struct amqp_receiver *r, const struct throttle_cost *cost)
{
	r->may_bytes += (int64_t)cost->bytes;
	r->may_events += (int64_t)cost->events;
}

static void on_turn(struct msg *m)
{
	struct amqp_receiver *r = AMQP_OWNER(struct amqp_receiver, m, turn.msg);
	if (!r->link.has_ended && r->turn.err == ERR_OK) {
		allow(r, &r->asked);
		go_on(r);
	}	/* otherwise the server stops: nothing more is sent */
	operation_back(r);
}

static void start_turn(struct amqp_receiver *r)
{
	memset(&r->turn, 0, sizeof r->turn);
	r->turn.reply_to = r->link.conn->mailbox;
	r->turn.done = on_turn;
	operation_out(r, RECEIVER_PAYING);
	core_reader_wait(r->reader, &r->asked, &r->turn);
}

static uint64_t part_of(uint64_t share, uint64_t min, uint64_t max)
{
	uint64_t part = share / ALLOWANCE_PER_S;
	return part < min ? min : part > max ? max : part;
}

/* True when an event may be sent now; otherwise the turn comes later. What the last
 * allowance was exceeded by is part of the price of the next one. */
static bool pay(struct amqp_receiver *r)
{
	if (r->may_bytes > 0 && r->may_events > 0) {
		return true;
	}
	if (r->state != RECEIVER_IDLE) {
		return false;
	}
	struct throttle_rate share = core_reader_share(r->reader);
	/* Never more than a limit's burst: the rest would be owed, and is not given back. */
	uint64_t least = share.bytes / 4 < ALLOWANCE_BYTES_MIN ? share.bytes / 4 : ALLOWANCE_BYTES_MIN;
	int64_t bytes = (int64_t)part_of(share.bytes, least > 0 ? least : 1, ALLOWANCE_BYTES_MAX);
	int64_t events = (int64_t)part_of(share.events, 1, ALLOWANCE_EVENTS_MAX);
	r->asked.bytes = bytes > r->may_bytes ? (uint64_t)(bytes - r->may_bytes) : 0;
	r->asked.events = events > r->may_events ? (uint64_t)(events - r->may_events) : 0;
	if (core_reader_take(r->reader, &r->asked)) {
		allow(r, &r->asked);
		return true;
	}
	start_turn(r);
	return false;
}

/* Others can use what is left of the allowance. */
static void give_back(struct amqp_receiver *r)
{
	struct throttle_cost left = {
		.bytes = r->may_bytes > 0 ? (uint64_t)r->may_bytes : 0,
		.events = r->may_events > 0 ? (uint64_t)r->may_events : 0,
	};
	r->may_bytes -= (int64_t)left.bytes;
	r->may_events -= (int64_t)left.events;
	if (left.bytes != 0 || left.events != 0) {
		core_reader_give(r->reader, &left);
	}
}

/* The last allowance was exceeded: a reader that comes and goes pays for it too. */
static void pay_debt(struct amqp_receiver *r)
{
	r->asked.bytes = r->may_bytes < 0 ? (uint64_t)-r->may_bytes : 0;
	r->asked.events = 0;
	if (r->state != RECEIVER_PAYING && r->asked.bytes != 0 &&
	    !core_reader_take(r->reader, &r->asked)) {
		start_turn(r);
	}
}

/* ---- what to send next -------------------------------------------------------- */

/* More batches, at once (ERR_OK) or later (ERR_AGAIN). What retention overtook is
 * passed over: reading goes on where the partition now begins. */
static enum err fetch(struct amqp_receiver *r)
{
	if (r->state != RECEIVER_IDLE) {
		return ERR_AGAIN;
	}
	struct store_position at;
	store_partition_position(r->partition, &at);
	if (r->next_seq < at.first_seq) {
		r->next_seq = at.first_seq;
	}
	r->end_seq = at.next_seq;
	enum err e = core_read_recent(r->reader, r->next_seq, READ_BYTES, &r->batches);
	r->at = 0;
	r->fetched_seq = r->next_seq;
	if (e == ERR_AGAIN) {
		start_read(r);
		return ERR_AGAIN;
	}
	if (e == ERR_RANGE || (e == ERR_OK && r->batches.n == 0)) {
		give_back(r);
		start_watch(r);
		return ERR_AGAIN;
	}
	return e;
}

static const struct store_batch *current(const struct amqp_receiver *r)
{
	return &r->batches.v[r->at];
}

static void leave_batch(struct amqp_receiver *r)
{
	int64_t after = current(r)->base_seq + current(r)->count;
	r->next_seq = after > r->next_seq ? after : r->next_seq;
	walk_end(r);
	r->at++;
}

static bool is_passed_over(const struct store_batch *b, int64_t next_seq)
{
	struct batch_head head;
	return b->base_seq + b->count <= next_seq ||
	       (b->encoding == BATCH_KAFKA && batch_head_read(b->batch, &head) == ERR_OK &&
		amqp_kafka_is_control(&head));
}

static enum err walk_begin(struct amqp_receiver *r)
{
	const struct store_batch *b = current(r);
	enum err e = b->encoding == BATCH_KAFKA
			     ? records_iter_new(b->batch, RECORDS_INFLATED_MAX,
						core_inflight(r->link.conn->front->core), &r->records)
			     : batch_iter_init(&r->iter, b->batch);
	r->is_walking = e == ERR_OK;
	return e;
}

static enum err walk_next(struct amqp_receiver *r, struct batch_record *out)
{
	return r->records != NULL ? records_iter_next(r->records, out)
				  : batch_iter_next(&r->iter, out);
}

/* What becomes of a batch that could not be walked. Where memory is short it is
 * begun again at next_seq after a while; until then nothing is held. */
static enum err walk_failed(struct amqp_receiver *r, enum err e)
{
	if (e == ERR_BUSY || e == ERR_NOMEM) {
		batches_drop(r);
		r->is_starved = true;
		return ERR_AGAIN;
	}
	return e == ERR_TOO_LARGE ? e : ERR_CORRUPT;
}

/* The next event at or past next_seq; it borrows from the current batch.
 * ERR_AGAIN: nothing at present; an operation is out, or the link comes again. */
static enum err next_event(struct amqp_receiver *r, struct batch_record *out)
{
	for (uint32_t passed = 0; passed < PASS_MAX;) {
		enum err e = ERR_OK;
		if (r->is_walking && !pay(r)) {
			return ERR_AGAIN;
		}
		if (r->is_walking) {
			e = walk_next(r, out);
			if (e == ERR_EOF) {
				leave_batch(r);
			} else if (e != ERR_OK) {
				return walk_failed(r, e);
			} else if (current(r)->base_seq + out->offset_delta >= r->next_seq) {
				return ERR_OK;
			}
			passed++;
		} else if (r->at < r->batches.n) {
			if (is_passed_over(current(r), r->next_seq)) {
				leave_batch(r);
			} else if ((e = walk_begin(r)) != ERR_OK) {
				return walk_failed(r, e);
			}
		} else {
			if (r->batches.n != 0 && r->fetched_seq == r->next_seq) {
				return ERR_CORRUPT;	/* a read that leads nowhere */
			}
			batches_drop(r);
			e = fetch(r);
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	r->was_served = true;	/* it moves on */
	amqp_link_ready(&r->link);
	return ERR_AGAIN;
}

/* ---- sending ---------------------------------------------------------------------- */

static enum err encode(struct amqp_receiver *r, const struct batch_record *rec, struct str *out)
{
	const struct store_batch *b = current(r);
	struct amqp_outbound o = {
		.sequence = b->base_seq + rec->offset_delta,
		.enqueued_ms = b->append_ms,
		.partition_key = b->key,
		.runtime_metric = r->wants_metric,
		.last_sequence = r->position.next_seq - 1,
		.last_enqueued_ms = r->position.last_enqueued_ms,
		.retrieved_ms = r->wants_metric ? clock_wall_ms() : 0,
	};
	if (b->encoding != BATCH_KAFKA) {
		return rec->has_value ? amqp_outbound_write(rec->value, &o, out) : ERR_CORRUPT;
	}
	if (rec->key.n + rec->value.n + rec->headers.n > RECORDS_RECORD_MAX) {
		return ERR_TOO_LARGE;
	}
	struct str value = {.max = 0};
	enum err e = amqp_kafka_value(rec, &value);
	if (e == ERR_OK) {
		e = amqp_outbound_write(span_of(value.p, value.len), &o, out);
	}
	str_fini(&value);
	return e == ERR_DECODE ? ERR_CORRUPT : e;	/* it was checked when it came */
}

static enum err send_event(struct amqp_receiver *r, const struct batch_record *rec, size_t *bytes)
{
	struct str *out = &r->link.conn->loop->event;
	pn_link_t *pn = r->link.pn;
	if (out->bad || out->cap > EVENT_KEEP) {
		str_fini(out);
		out->bad = false;
	}
	out->len = 0;
	enum err e = encode(r, rec, out);
	if (e == ERR_OK && out->bad) {
		e = ERR_NOMEM;
	}
	if (e != ERR_OK) {
		return e;
	}
	uint8_t tag[8];
	put_u64(tag, r->next_tag++);
	pn_delivery_t *d = pn_delivery(pn, pn_dtag((const char *)tag, sizeof tag));
	if (d == NULL) {
		return ERR_NOMEM;
	}
	pn_link_send(pn, out->p, out->len);
	pn_delivery_settle(d);	/* and advances */
	*bytes += out->len;
	r->may_bytes -= (int64_t)out->len;
	r->may_events--;
	r->next_seq = current(r)->base_seq + rec->offset_delta + 1;
	return ERR_OK;
}

static bool session_has_room(const struct amqp_receiver *r)
{
	size_t share = CONN_OUT_MAX / (r->link.conn->n_sessions + 1);
	share = share < SESSION_OUT_MIN ? SESSION_OUT_MIN : share;
	share = share > AMQP_SESSION_OUT_MAX ? AMQP_SESSION_OUT_MAX : share;
	return pn_session_outgoing_bytes(pn_link_session(r->link.pn)) < share;
}

static void fail(struct amqp_receiver *r, enum err e)
{
	struct err_detail d = {""};
	if (e == ERR_CORRUPT) {
		log_error("AMQP-STORED-EVENT-DAMAGED", "conn=%llu entity=%s sequence=%lld",
			  (unsigned long long)r->link.conn->id, log_quote(r->link.path),
			  (long long)r->next_seq);
	} else if (e == ERR_NOT_FOUND) {
		err_set(&d, e, "The messaging entity 'sb://%s/%.300s' could not be found.",
			core_host(r->link.conn->front->core), r->link.path);
	}
	amqp_link_fail(&r->link, e, NULL, d.text);
}

static void on_push(struct amqp_link *link)
{
	struct amqp_receiver *r = receiver_of(link);
	size_t bytes = 0;
	uint32_t events = 0;
	enum err e = ERR_OK;
	if (r->wants_metric) {
		e = core_position(link->conn->front->core, r->hub_id, r->partition_id, &r->position);
	}
	while (e == ERR_OK && pn_link_credit(link->pn) > 0) {
		struct batch_record rec;
		if (!session_has_room(r) || !amqp_conn_has_room(link->conn)) {
			amqp_link_block(link);
			break;
		}
		if (bytes >= AMQP_ROUND_BYTES || events >= AMQP_ROUND_EVENTS) {
			amqp_link_ready(link);
			break;
		}
		e = next_event(r, &rec);
		if (e == ERR_OK) {
			e = send_event(r, &rec, &bytes);
			events += e == ERR_OK;
		}
	}
	if (events > 0) {
		core_reader_at(r->reader, r->next_seq);
		r->was_served = true;
		metric_add(METRIC_EVENTS_OUT, events);
		metric_add(METRIC_BYTES_OUT, (int64_t)bytes);
	}
	if (e != ERR_OK && e != ERR_AGAIN) {
		fail(r, e);
	} else if ((r->state == RECEIVER_WATCHING || r->state == RECEIVER_PAYING) &&
		   pn_link_get_drain(link->pn)) {
		(void)pn_link_drained(link->pn);
	}
	if (!link->has_ended && (r->batches.n != 0 || r->is_starved)) {
		amqp_conn_tick_by(link->conn, clock_mono_ms() + AMQP_FAST_TICK_MS);
	}
}

static void on_flow(struct amqp_link *link)
{
	if (pn_link_credit(link->pn) > 0) {
		amqp_link_ready(link);
	}
}

static void on_delivery(struct amqp_link *link, pn_delivery_t *d)
{
	(void)link;
	if (pn_delivery_updated(d)) {
		pn_delivery_settle(d);
	}
}

/* A reader that takes nothing does not pin what was read for it. */
static void on_tick(struct amqp_link *link, int64_t now_ms)
{
	struct amqp_receiver *r = receiver_of(link);
	if (r->is_starved) {
		r->is_starved = false;
		amqp_link_ready(link);
	}
	if (r->batches.n == 0 || r->state == RECEIVER_READING) {
		return;
	}
	if (!r->was_served) {
		batches_drop(r);
		return;
	}
	r->was_served = false;
	amqp_conn_tick_by(link->conn, now_ms + AMQP_FAST_TICK_MS);
}

static void on_end(struct amqp_link *link)
{
	struct amqp_receiver *r = receiver_of(link);
	if (r->state == RECEIVER_WATCHING && store_unwatch(&r->watch)) {
		link->outstanding--;
		link->conn->outstanding--;	/* its stream is there still: nothing to free yet */
		r->state = RECEIVER_IDLE;
	}
	batches_drop(r);
	give_back(r);
	pay_debt(r);
	core_reader_close(&r->reader);
	if (link->outstanding == 0) {
		store_partition_drop(&r->partition);
	}
}

static const struct amqp_link_ops receiver_ops = {
	.what = "receiver",
	.size = sizeof(struct amqp_receiver),
	.delivery = on_delivery,
	.flow = on_flow,
	.push = on_push,
	.tick = on_tick,
	.end = on_end,
};

/* A reader with a higher level has come, on whatever thread. */
static void on_stolen(struct msg *m)
{
	struct core_stolen *stolen = AMQP_OWNER(struct core_stolen, m, msg);
	struct amqp_conn *conn = amqp_conn_find(stolen->conn_id);
	struct amqp_link *link = conn != NULL ? conn->links : NULL;
	while (link != NULL && link->id != stolen->link_id) {
		link = link->next;
	}
	if (link != NULL) {
		amqp_link_fail(link, ERR_STOLEN, NULL, stolen->text);
	}
	mem_free(stolen);
}

/* ---- attaching ------------------------------------------------------------------------ */

/* The selector among the source's filters, whatever describes it. */
static enum err read_filter(pn_link_t *pn, struct core_start *out, struct err_detail *d)
{
	*out = (struct core_start){.from = CORE_EARLIEST};
	struct str encoded = {.max = LIMIT_AMQP_FRAME};
	struct amqp_value map = amqp_data_read(pn_terminus_filter(pn_link_remote_source(pn)), &encoded);
	struct amqp_value v = {.type = AMQP_NULL};
	enum err e = ERR_OK;
	if (map.type == AMQP_MAP && amqp_map_find(&map, FILTER_NAME, &v)) {
		if (v.type == AMQP_DESCRIBED) {
			struct rd r = rd_of(v.described);
			v = amqp_read(&r);
		}
		if (amqp_is_text(&v)) {
			e = amqp_filter_parse(v.data, out, d);
		} else if (v.type != AMQP_NULL) {
			e = err_set(d, ERR_INVALID, "The filter " FILTER_NAME " is not a string.");
		}
	}
	str_fini(&encoded);
	return e;
}

static enum err read_properties(pn_link_t *pn, struct core_reader_options *o, struct err_detail *d)
{
	struct str encoded = {.max = LIMIT_AMQP_FRAME};
	struct amqp_value map = amqp_data_read(pn_link_remote_properties(pn), &encoded);
	struct amqp_value v;
	enum err e = ERR_OK;
	if (map.type == AMQP_MAP && amqp_map_find(&map, "com.microsoft:epoch", &v) &&
	    v.type != AMQP_NULL) {
		o->has_epoch = true;
		if (!amqp_to_i64(&v, &o->epoch) || o->epoch < 0) {
			e = err_set(d, ERR_INVALID, "com.microsoft:epoch is not a number from 0 up.");
		}
	}
	/* The second spelling is that of one SDK. */
	if (map.type == AMQP_MAP && (amqp_map_find(&map, "com.microsoft:receiver-name", &v) ||
				     amqp_map_find(&map, "com.microsoft.com:receiver-name", &v)) &&
	    amqp_is_text(&v)) {
		size_t n = v.data.n < sizeof o->name - 1 ? v.data.n : sizeof o->name - 1;
		for (size_t i = 0; i < n; i++) {
			uint8_t c = v.data.p[i];
			o->name[i] = c >= ' ' && c != 0x7f ? (char)c : '?';
		}
	}
	str_fini(&encoded);
	return e;
}

static bool is_desired(const struct amqp_conn *conn, const char *capability)
{
	const struct amqp_tap_frame *f = conn->frame;
	for (uint32_t i = 0; f != NULL && i < f->n_capabilities; i++) {
		if (span_eq_str(f->capabilities[i], capability)) {
			return true;
		}
	}
	return false;
}

/* Opens the reader and finds where to begin. */
static enum err open_reader(struct amqp_receiver *r, const struct core_address *a,
			    struct core_reader_options *o, const struct core_start *start,
			    struct err_detail *d)
{
	struct amqp_conn *conn = r->link.conn;
	o->mailbox = conn->mailbox;
	o->stolen = on_stolen;
	o->conn_id = conn->id;
	o->link_id = r->link.id;
	enum err e = core_reader_open(conn->front->core, a, o, &r->reader, d);
	if (e != ERR_OK) {
		return e;
	}
	e = core_start_at(r->reader, start, &r->next_seq, d);
	if (e == ERR_OK || e == ERR_AGAIN) {
		r->partition = store_partition_hold(core_reader_partition(r->reader));
	}
	if (e == ERR_AGAIN) {
		start_seek(r, start);
		e = ERR_OK;
	} else if (e == ERR_OK) {
		core_reader_at(r->reader, r->next_seq);
	}
	if (e != ERR_OK) {
		core_reader_close(&r->reader);
	}
	return e;
}

void amqp_receiver_attach(struct amqp_conn *conn, pn_link_t *pn, const struct core_address *a)
{
	struct err_detail d = {""};
	int64_t expires = 0;
	struct core_start start;
	struct core_reader_options o = {.has_epoch = false};
	struct amqp_link *link = NULL;
	enum err e = core_grants_check(conn->front->core, &conn->grants, a->path, AUTH_LISTEN,
				       clock_wall_ms(), &expires, &d);
	if (e == ERR_OK) {
		e = read_filter(pn, &start, &d);
	}
	if (e == ERR_OK) {
		e = read_properties(pn, &o, &d);
	}
	if (e == ERR_OK) {
		link = amqp_link_new(conn, pn, &receiver_ops, a->path);
		e = link != NULL ? ERR_OK : ERR_NOMEM;
	}
	if (e == ERR_OK) {
		e = amqp_link_account(conn, a->path, AUTH_LISTEN, &o.client);
	}
	if (e == ERR_OK) {
		e = open_reader(receiver_of(link), a, &o, &start, &d);
	}
	if (e != ERR_OK) {
		if (link != NULL) {
			amqp_link_discard(&link);
		}
		amqp_link_refuse(conn, pn, e, NULL, d.text, a->path);
		return;
	}
	struct amqp_receiver *r = receiver_of(link);
	r->hub_id = a->hub_id;
	r->partition_id = a->partition;
	r->wants_metric = is_desired(conn, RUNTIME_METRIC);
	link->right = AUTH_LISTEN;
	link->expires_ms = expires;
	pn_link_set_max_message_size(pn, conn->front->options.max_message_bytes);
	amqp_link_accept(link);
}
