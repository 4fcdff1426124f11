/* Links on which the client sends: deliveries are read as they arrive, turned
 * into batches, appended, and settled when the append has come back. Credit
 * returns with the acknowledgement, not with receipt: it bounds what is under
 * way. Where a limit is near, appends wait for capacity before they come back,
 * and of the credit only as much is returned as keeps the sender just busy. A
 * delivery of several frames is collected in a buffer of exactly reserved size;
 * one that finds no memory, or is too large, is read to its end and rejected. */

#include <string.h>

#include <proton/condition.h>
#include <proton/delivery.h>
#include <proton/disposition.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/wire/event.h"
#include "gateway/amqp/link.h"

enum {
	TEXT_MAX = ERR_DETAIL_MAX + 256,
	/* Such a part of its window a sender may have that never used it: cheap sends then
	 * need no flow frame for each. */
	WINDOW_UNSEEN = 16,
};

/* Microsoft's SDKs wait as long as the text says. */
static const char busy_text[] =
	"The server is busy: the memory for messages under way is spent. Please retry the operation "
	"after 4 seconds.";

struct amqp_sender {
	struct amqp_link link;
	struct core_sender *to;
	char *publisher;		/* forces the key; NULL: no publisher address */
	struct amqp_send *first, *last;	/* under way, oldest first */
	uint32_t n_sends;		/* of them */
	uint32_t peak;			/* the most of them since credit was returned last */
	uint32_t credit;		/* in all */
	uint32_t owed;			/* of it: neither granted nor under way */
	/* the delivery being received */
	bool is_receiving;
	uint32_t delivery_id;
	uint32_t format;
	enum err drop;			/* ERR_OK, or why its rest is thrown away */
	uint64_t received;		/* bytes so far */
	uint8_t *buffer;
	size_t len;
	size_t cap;			/* = what is reserved */
	int64_t begun_ms;
	int64_t moved_ms;
};

/* One delivery on its way into the log. */
struct amqp_send {
	struct core_append append;
	struct amqp_conn *conn;
	struct amqp_sender *sender;	/* NULL: the link has ended */
	pn_delivery_t *delivery;	/* NULL: settled, or gone with its link */
	struct amqp_send *next, *prev;
	size_t reserved;
};

static struct amqp_sender *sender_of(struct amqp_link *link)
{
	return (struct amqp_sender *)(void *)link;
}

static struct budget *inflight(const struct amqp_conn *conn)
{
	return core_inflight(conn->front->core);
}

/* ---- operations ----------------------------------------------------------- */

static struct amqp_send *send_take(struct amqp_loop *loop)
{
	struct amqp_send *op = loop->pool;
	if (op != NULL) {
		loop->pool = op->next;
		loop->n_pool--;
		memset(op, 0, sizeof *op);
		return op;
	}
	return MEM_NEW(struct amqp_send);
}

static void send_give(struct amqp_loop *loop, struct amqp_send *op)
{
	if (loop->n_pool >= AMQP_SEND_POOL) {
		mem_free(op);
		return;
	}
	op->next = loop->pool;
	loop->pool = op;
	loop->n_pool++;
}

void amqp_send_pool_free(struct amqp_loop *loop)
{
	while (loop->pool != NULL) {
		struct amqp_send *op = loop->pool;
		loop->pool = op->next;
		mem_free(op);
	}
	loop->n_pool = 0;
}

static void list_add(struct amqp_sender *s, struct amqp_send *op)
{
	op->prev = s->last;
	op->next = NULL;
	if (s->last != NULL) {
		s->last->next = op;
	} else {
		s->first = op;
	}
	s->last = op;
	s->n_sends++;
	s->peak = s->n_sends > s->peak ? s->n_sends : s->peak;
}

static void list_remove(struct amqp_sender *s, struct amqp_send *op)
{
	if (op->next != NULL) {
		op->next->prev = op->prev;
	} else {
		s->last = op->prev;
	}
	if (op->prev != NULL) {
		op->prev->next = op->next;
	} else {
		s->first = op->next;
	}
	s->n_sends--;
}

/* ---- answers ---------------------------------------------------------------- */

/* How many deliveries may be granted or under way together. Under a limit: what the
 * link's share of the capacity keeps busy, and not much more than the sender was seen to
 * use, since what is granted may be used at once, by all links that have it. Never 0, so
 * that a link with nothing granted and nothing under way has credit. */
static uint32_t window_of(const struct amqp_sender *s)
{
	uint32_t window = core_sender_window(s->to);
	if (window == UINT32_MAX) {
		return s->credit;
	}
	uint32_t seen = s->peak + s->peak / 4 + 1 + window / WINDOW_UNSEEN;
	window = window < seen ? window : seen;
	window = window < s->credit ? window : s->credit;
	return window > 0 ? window : 1;
}

/* Returns what is owed, as far as the window goes; the rest is kept until less is under
 * way or the window is wider. The peer is told when half of a window has gathered, or
 * else `now`. */
static void return_credit(struct amqp_sender *s, bool now)
{
	if (s->owed == 0 || (!now && s->owed * 2 < s->credit)) {
		return;
	}
	uint32_t window = window_of(s);
	uint32_t used = s->credit - s->owed;
	uint32_t room = window > used ? window - used : 0;
	if (room > 0 && (now || room * 2 >= window)) {
		pn_link_flow(s->link.pn, (int)room);
		s->owed -= room;
		s->peak = s->n_sends;
	}
	if (window < s->credit) {
		amqp_conn_tick_by(s->link.conn, clock_mono_ms() + AMQP_FAST_TICK_MS);
	}
}

/* One delivery is decided. */
static void give_credit(struct amqp_sender *s)
{
	s->owed++;
	return_credit(s, false);
}

/* Why it was refused: the limit, or else memory. */
static void busy_detail(const struct throttle_decision *why, struct err_detail *d)
{
	if (why->verdict == THROTTLE_REFUSE) {
		core_busy_text(why, d->text, sizeof d->text);
	} else {
		err_set(d, ERR_BUSY, "%s", busy_text);
	}
}

/* A NULL delivery was settled by the peer: only the log hears of it. */
static void reject(struct amqp_sender *s, pn_delivery_t *d, enum err e, const char *detail)
{
	char tracking[33];
	char text[TEXT_MAX];
	const struct amqp_link *link = &s->link;
	const char *condition = err_info(e)->amqp;
	core_error_text(link->conn->front->core, e, detail, link->path, tracking, text, sizeof text);
	log_limited(LOG_INFO, "AMQP-SEND-REJECTED", "conn=%llu link=%llu entity=%s condition=%s tracking=%s reason=%s",
		 (unsigned long long)link->conn->id, (unsigned long long)link->id,
		 log_quote(link->path), condition, tracking,
		 log_quote(detail[0] != '\0' ? detail : err_text(e)));
	if (d != NULL) {
		pn_condition_t *c = pn_disposition_condition(pn_delivery_local(d));
		pn_condition_set_name(c, condition);
		pn_condition_set_description(c, text);
		/* Empty, but there: the Python SDK waits for ever without it. */
		(void)pn_data_put_map(pn_condition_info(c));
		pn_delivery_update(d, PN_REJECTED);
		pn_delivery_settle(d);
	}
	give_credit(s);
}

static void on_done(struct msg *m)
{
	struct amqp_send *op = AMQP_OWNER(struct amqp_send, m, append.op.msg);
	struct amqp_conn *conn = op->conn;
	struct amqp_sender *s = op->sender;
	enum err e = core_append_done(&op->append);
	budget_give(inflight(conn), op->reserved);
	metric_add(METRIC_BUDGET_BYTES, -(int64_t)op->reserved);
	if (s != NULL) {
		list_remove(s, op);
		if (e != ERR_OK) {
			struct err_detail text = {""};
			if (e == ERR_BUSY) {
				busy_detail(&op->append.decision, &text);
			}
			reject(s, op->delivery, e, text.text);
		} else {
			if (op->delivery != NULL) {
				pn_delivery_update(op->delivery, PN_ACCEPTED);
				pn_delivery_settle(op->delivery);
			}
			give_credit(s);
		}
		amqp_conn_wake(conn);	/* after the round, so that neighbours share a frame */
	}
	conn->sends--;
	if (conn->is_stopping && conn->sends == 0) {
		amqp_conn_wake(conn);
	}
	send_give(conn->loop, op);
	amqp_conn_release(conn);
}

/* ---- a complete delivery --------------------------------------------------- */

static enum err append(struct amqp_sender *s, pn_delivery_t *d, struct amqp_inbound *in, size_t bytes,
		       struct err_detail *text)
{
	struct amqp_conn *conn = s->link.conn;
	size_t reserved = (size_t)in->batch_len + in->key_len;
	struct amqp_send *op = send_take(conn->loop);
	if (op == NULL) {
		return ERR_NOMEM;
	}
	if (!budget_take(inflight(conn), reserved)) {
		metric_inc(METRIC_BUDGET_REFUSED);
		send_give(conn->loop, op);
		return err_set(text, ERR_BUSY, "%s", busy_text);
	}
	op->conn = conn;
	op->sender = s;
	op->delivery = d;
	op->reserved = reserved;
	struct store_append *a = &op->append.op;
	a->reply_to = conn->mailbox;
	a->done = on_done;
	a->batch = in->batch;
	a->batch_len = in->batch_len;
	a->key_len = in->key_len;
	a->events = in->events;
	a->encoding = BATCH_AMQP;
	a->may_merge = !in->has_producer;
	op->append.bytes = (uint32_t)bytes;
	enum err e = core_append(s->to, &op->append);
	if (e != ERR_OK) {
		if (e == ERR_BUSY) {
			busy_detail(&op->append.decision, text);
		} else if (e == ERR_INVALID) {
			err_set(text, e, "%s", CORE_NO_KEY);
		}
		budget_give(inflight(conn), reserved);
		send_give(conn->loop, op);
		return e;
	}
	metric_add(METRIC_BUDGET_BYTES, (int64_t)reserved);
	list_add(s, op);
	conn->sends++;
	conn->outstanding++;
	return ERR_OK;
}

static void buffer_drop(struct amqp_sender *s)
{
	struct amqp_conn *conn = s->link.conn;
	if (s->cap != 0) {
		budget_give(inflight(conn), s->cap);
		budget_give(&conn->front->partials, s->cap);
		metric_add(METRIC_BUDGET_BYTES, -(int64_t)s->cap);
	}
	mem_free(s->buffer);
	s->buffer = NULL;
	s->len = 0;
	s->cap = 0;
}

static void reject_dropped(struct amqp_sender *s, pn_delivery_t *d)
{
	struct err_detail text = {""};
	if (s->drop == ERR_TOO_LARGE) {
		err_set(&text, ERR_TOO_LARGE,
			"The received message (delivery-id:%llu, size:%llu bytes) exceeds the limit (%llu "
			"bytes) currently allowed on the link.",
			(unsigned long long)s->delivery_id,
			(unsigned long long)s->received,
			(unsigned long long)s->link.conn->front->options.max_message_bytes);
	} else if (s->drop == ERR_BUSY) {
		err_set(&text, ERR_BUSY, "%s", busy_text);
	}
	reject(s, d, s->drop, text.text);
}

/* All bytes are in `bytes`, which lies in the link's buffer or in the frame. */
static void finish(struct amqp_sender *s, pn_delivery_t *d, struct span bytes)
{
	struct amqp_conn *conn = s->link.conn;
	bool settled = pn_delivery_settled(d);
	pn_delivery_t *answer = settled ? NULL : d;
	struct amqp_inbound in = {0};
	struct err_detail text = {""};
	s->is_receiving = false;
	pn_link_advance(s->link.pn);
	if (settled) {
		pn_delivery_settle(d);
	}
	if (conn->is_stopping) {
		buffer_drop(s);
		return;	/* undecided: the close that follows says so */
	}
	if (s->drop != ERR_OK) {
		buffer_drop(s);
		reject_dropped(s, answer);
		return;
	}
	enum err e = amqp_inbound_make(bytes, s->format, span_str(s->publisher), &in, &text);
	buffer_drop(s);
	if (e == ERR_OK) {
		e = append(s, answer, &in, bytes.n, &text);
	}
	if (e != ERR_OK) {
		buf_drop(&in.batch);
		reject(s, answer, e, text.text);
	}
}

/* ---- receiving --------------------------------------------------------------- */

/* Makes room for `n` more bytes: doubles, up to the largest message. */
static enum err buffer_grow(struct amqp_sender *s, size_t n)
{
	struct amqp_conn *conn = s->link.conn;
	size_t need = s->len + n;
	size_t max = (size_t)conn->front->options.max_message_bytes;
	if (need > max) {
		return ERR_TOO_LARGE;
	}
	if (need <= s->cap) {
		return ERR_OK;
	}
	size_t cap = 2 * s->cap > need ? 2 * s->cap : need;
	cap = cap < max ? cap : max;
	size_t more = cap - s->cap;
	if (!budget_take(&conn->front->partials, more)) {
		metric_inc(METRIC_BUDGET_REFUSED);
		return ERR_BUSY;
	}
	if (!budget_take(inflight(conn), more)) {
		budget_give(&conn->front->partials, more);
		metric_inc(METRIC_BUDGET_REFUSED);
		return ERR_BUSY;
	}
	uint8_t *p = mem_realloc(s->buffer, cap);
	if (p == NULL) {
		budget_give(&conn->front->partials, more);
		budget_give(inflight(conn), more);
		return ERR_NOMEM;
	}
	metric_add(METRIC_BUDGET_BYTES, (int64_t)more);
	s->buffer = p;
	s->cap = cap;
	return ERR_OK;
}

static void take_part(struct amqp_sender *s, struct span part)
{
	s->received += part.n;
	if (s->drop != ERR_OK || part.n == 0) {
		return;
	}
	s->drop = buffer_grow(s, part.n);
	if (s->drop != ERR_OK) {
		buffer_drop(s);
		return;
	}
	memcpy(s->buffer + s->len, part.p, part.n);
	s->len += part.n;
}

static void begin(struct amqp_sender *s)
{
	const struct amqp_tap_frame *frame = s->link.conn->frame;
	s->is_receiving = true;
	s->delivery_id = frame->delivery_id;
	s->format = frame->has_format ? frame->message_format : AMQP_FORMAT_PLAIN;
	s->drop = ERR_OK;
	s->received = 0;
}

static void on_delivery(struct amqp_link *link, pn_delivery_t *d)
{
	struct amqp_sender *s = sender_of(link);
	struct amqp_conn *conn = link->conn;
	if (!pn_delivery_readable(d) || conn->frame == NULL ||
	    conn->frame->performative != AMQP_TRANSFER) {
		return;	/* the peer speaks of a delivery that is under way */
	}
	if (pn_delivery_aborted(d)) {
		buffer_drop(s);
		s->is_receiving = false;
		pn_delivery_settle(d);
		give_credit(s);
		return;
	}
	bool is_first = !s->is_receiving;
	if (is_first) {
		if (pn_link_remote_credit(link->pn) < 0) {
			amqp_link_fail(link, ERR_LIMIT, "amqp:link:transfer-limit-exceeded",
				       "More messages were sent than the link had credit for.");
			return;
		}
		begin(s);
		if (!pn_delivery_partial(d)) {	/* the usual case: no buffer of our own */
			s->received = conn->payload.n;
			if (s->received > conn->front->options.max_message_bytes) {
				s->drop = ERR_TOO_LARGE;
			}
			finish(s, d, conn->payload);
			return;
		}
		s->begun_ms = clock_mono_ms();
		amqp_conn_tick_by(conn, s->begun_ms + AMQP_FAST_TICK_MS);
	}
	take_part(s, conn->payload);
	s->moved_ms = is_first ? s->begun_ms : clock_mono_ms();
	if (!pn_delivery_partial(d)) {
		finish(s, d, span_of(s->buffer, s->len));
	}
}

/* ---- time and end --------------------------------------------------------------- */

static void on_tick(struct amqp_link *link, int64_t now_ms)
{
	struct amqp_sender *s = sender_of(link);
	struct amqp_front *f = link->conn->front;
	return_credit(s, true);
	if (!s->is_receiving) {
		return;
	}
	if (now_ms - s->begun_ms >= AMQP_PARTIAL_MAX_MS) {
		amqp_link_fail(link, ERR_DETACH_FORCED, NULL,
			       "A message was begun and not finished within 60 seconds.");
		return;
	}
	bool is_tight = budget_used(&f->partials) > f->partials.max / 2 ||
			budget_used(core_inflight(f->core)) > core_inflight(f->core)->max / 2;
	if (is_tight && s->drop == ERR_OK && now_ms - s->moved_ms >= AMQP_PARTIAL_STALL_MS) {
		s->drop = ERR_BUSY;	/* others need the room; its sender may try again */
		buffer_drop(s);
	}
	amqp_conn_tick_by(link->conn, now_ms + AMQP_FAST_TICK_MS);
}

static void on_end(struct amqp_link *link)
{
	struct amqp_sender *s = sender_of(link);
	for (struct amqp_send *op = s->first; op != NULL; op = op->next) {
		op->sender = NULL;
		op->delivery = NULL;
	}
	s->first = NULL;
	s->last = NULL;
	s->is_receiving = false;
	buffer_drop(s);
	core_sender_close(&s->to);
	mem_free(s->publisher);
	s->publisher = NULL;
}

static const struct amqp_link_ops sender_ops = {
	.what = "sender",
	.size = sizeof(struct amqp_sender),
	.delivery = on_delivery,
	.tick = on_tick,
	.end = on_end,
};

/* Less of it the less memory there is: what is granted may be used at once. */
static uint32_t first_credit(const struct amqp_conn *conn)
{
	const struct budget *b = inflight(conn);
	size_t used = budget_used(b);
	uint32_t full = conn->front->options.link_credit;
	if (used <= b->max / 2) {
		return full;
	}
	size_t left = used < b->max ? b->max - used : 0;
	uint32_t credit = (uint32_t)((double)full * (double)left / ((double)b->max / 2));
	return credit > 1 ? credit : 1;
}

void amqp_sender_attach(struct amqp_conn *conn, pn_link_t *pn, const struct core_address *a)
{
	struct err_detail d = {""};
	int64_t expires = 0;
	struct amqp_sender *s = NULL;
	enum err e = core_grants_check(conn->front->core, &conn->grants, a->path, AUTH_SEND,
				       clock_wall_ms(), &expires, &d);
	if (e == ERR_OK) {
		struct amqp_link *link = amqp_link_new(conn, pn, &sender_ops, a->path);
		e = link != NULL ? ERR_OK : ERR_NOMEM;
		s = link != NULL ? sender_of(link) : NULL;
	}
	if (e == ERR_OK && a->kind == CORE_PUBLISHER) {
		s->publisher = mem_strdup(a->publisher);
		e = s->publisher != NULL ? ERR_OK : ERR_NOMEM;
	}
	struct core_client client;
	if (e == ERR_OK) {
		e = amqp_link_account(conn, a->path, AUTH_SEND, &client);
	}
	if (e == ERR_OK) {
		e = core_sender_open(conn->front->core, a, &client, &s->to);
	}
	if (e != ERR_OK) {
		if (s != NULL) {
			struct amqp_link *link = &s->link;
			mem_free(s->publisher);
			amqp_link_discard(&link);
		}
		amqp_link_refuse(conn, pn, e, NULL, d.text, a->path);
		return;
	}
	s->link.right = AUTH_SEND;
	s->link.expires_ms = expires;
	s->credit = first_credit(conn);
	s->owed = s->credit;
	pn_link_set_max_message_size(pn, conn->front->options.max_message_bytes);
	amqp_link_accept(&s->link);
	return_credit(s, true);
}
