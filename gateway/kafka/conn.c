/* A connection: frames in, requests begun in order, answers out in order. */

#include "gateway/kafka/conn.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

enum {
	STEP = 4 << 20,		/* of a frame's memory, once its first bytes came */
	RETRY_MS = 100,		/* how soon memory is asked for again */
	TOKEN_ANSWER = 4,
};

static unsigned long long id_of(const struct kafka_conn *c)
{
	return (unsigned long long)c->id;
}

/* ---- ends ----------------------------------------------------------------- */

void kafka_conn_fail(struct kafka_conn *c, enum err e, const char *what, const char *detail)
{
	if (c->is_closing || c->stream == NULL) {
		return;
	}
	log_limited(LOG_WARN, "KAFKA-CONNECTION-ENDED",
		    "conn=%llu peer=%s user=%s software=%s what=%s reason=%s", id_of(c), c->peer,
		    log_quote(c->user), log_quote(c->software), what,
		    log_quote(detail != NULL && detail[0] != '\0' ? detail : err_text(e)));
	metric_inc(METRIC_ERRORS_USER);
	c->is_closing = true;
	net_stream_close(c->stream);
}

static void drop_frame(struct kafka_conn *c)
{
	budget_give(&c->front->partials, c->frame_partial);
	budget_give(core_inflight(c->front->core), c->frame_reserved);
	c->frame_partial = 0;
	c->frame_reserved = 0;
	c->n_length = 0;
	buf_drop(&c->frame);
}

static void conn_free(struct kafka_conn *c)
{
	assert(c->first == NULL);
	kafka_capacity_close(c);
	core_grants_fini(&c->grants);
	str_fini(&c->stash);
	c->magic = 0;
	mem_free(c);
}

void kafka_conn_release(struct kafka_conn *c)
{
	assert(c->outstanding > 0);
	c->outstanding--;
	if (c->outstanding == 0 && c->stream == NULL) {
		conn_free(c);
	}
}

void kafka_conn_settle(struct kafka_conn *c, size_t charged)
{
	/* As high as that, the stream says when it is low again. */
	if (c->stream != NULL && net_stream_queued(c->stream) >= NET_QUEUE_HIGH) {
		c->queue_charged += charged;
	} else {
		budget_give(&c->front->answers, charged);
	}
}

static void queue_went_down(struct kafka_conn *c)
{
	budget_give(&c->front->answers, c->queue_charged);
	c->queue_charged = 0;
}

/* ---- time ----------------------------------------------------------------- */

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When more may be taken in, or memory for it asked for again; INT64_MAX: an append
 * that comes back will say. */
static int64_t resume_at(const struct kafka_conn *c)
{
	int64_t again = clock_mono_ms() + RETRY_MS;
	if (c->n_waiting > 0) {
		return INT64_MAX;
	}
	/* What it is muted for may end before its time. */
	return c->muted_until_ms == 0
		       ? again
		       : sooner(sooner(c->muted_until_ms, again), kafka_lag_until_ms(c));
}

/* Requests call for their own deadlines; the rest is few and seldom. */
void kafka_conn_arm(struct kafka_conn *c)
{
	if (c->stream == NULL) {
		return;
	}
	int64_t at = c->unauthorised_by_ms;
	if (c->n_length == sizeof c->length && !c->was_blocked) {
		at = sooner(at, c->frame_by_ms);
	}
	if (c->is_paused) {
		at = sooner(at, resume_at(c));
	}
	/* Answered and still there: the send queue is full. */
	if (c->first != NULL && c->first->is_answered) {
		at = sooner(at, clock_mono_ms() + RETRY_MS);
	}
	if (c->first == NULL) {
		at = sooner(at, c->last_request_ms + c->front->options.idle_timeout_ms);
	}
	for (const struct kafka_request *r = c->first; r != NULL; r = r->next) {
		if (!r->is_answered) {
			at = sooner(at, r->deadline_ms);
		}
	}
	net_stream_tick_at(c->stream, at);
}

static void tick_requests(struct kafka_conn *c, int64_t now_ms)
{
	/* A tick may answer, which takes requests from the front; begin anew then. */
	for (struct kafka_request *r = c->first; r != NULL;) {
		struct kafka_request *next = r->next;
		if (!r->is_answered && r->deadline_ms <= now_ms) {
			r->deadline_ms = INT64_MAX;
			if (r->tick != NULL) {
				r->tick(r, now_ms);
				next = c->first;
			}
		}
		r = next;
	}
}

/* ---- frames ---------------------------------------------------------------- */

static uint64_t frame_limit(const struct kafka_conn *c)
{
	if (c->unauthorised_by_ms != INT64_MAX) {
		return LIMIT_UNAUTH_BYTES;
	}
	/* Twice its memory is reserved: more than this would be waited for in vain. */
	uint64_t most = c->front->partials.max / 2;
	uint64_t set = c->front->options.max_request_bytes;
	return set < most ? set : most;
}

static void pause(struct kafka_conn *c)
{
	if (!c->is_paused) {
		c->is_paused = true;
		net_stream_pause(c->stream);
		kafka_conn_arm(c);
	}
}

/* Memory for more of the frame: first a little, then steps, doubling. One that
 * has arrived whole (`n` more bytes are here) does not have to wait for those that
 * come slowly. False: the budget is spent at present. */
static bool frame_grow(struct kafka_conn *c, size_t n)
{
	size_t have = c->frame != NULL ? c->frame->cap : 0;
	size_t want = have == 0 ? KAFKA_FRAME_FIRST : have < STEP ? STEP : have * 2;
	bool is_whole = have == 0 && n >= c->frame_size;
	want = want < c->frame_size && !is_whole ? want : c->frame_size;
	/* Twice: batches are copied out of the frame. */
	uint32_t more = (uint32_t)(2 * (want - have));
	uint32_t partial = is_whole ? 0 : more;
	struct budget *all = core_inflight(c->front->core);
	if (!budget_take(all, more)) {
		metric_inc(METRIC_BUDGET_REFUSED);
		return false;
	}
	if (!budget_take(&c->front->partials, partial)) {
		budget_give(all, more);
		metric_inc(METRIC_BUDGET_REFUSED);
		return false;
	}
	struct buf *b = buf_new(want);
	if (b == NULL) {
		budget_give(&c->front->partials, partial);
		budget_give(all, more);
		return false;
	}
	c->frame_reserved += more;
	c->frame_partial += partial;
	if (c->frame != NULL) {
		memcpy(b->data, c->frame->data, c->frame->len);
		b->len = c->frame->len;
		buf_drop(&c->frame);
	}
	c->frame = b;
	return true;
}

static bool begin_frame(struct kafka_conn *c)
{
	uint32_t size = get_u32(c->length);
	if (size == 0 || size > frame_limit(c)) {
		char text[160];
		snprintf(text, sizeof text,
			 "a request of %u bytes was announced, at most %llu are taken%s", size,
			 (unsigned long long)frame_limit(c),
			 size > INT32_MAX / 2 ? "; is this a Kafka client, and is TLS as it should be?"
					      : "");
		kafka_conn_fail(c, ERR_TOO_LARGE, "frame", text);
		return false;
	}
	c->frame_size = size;
	c->frame_by_ms = clock_mono_ms() + KAFKA_FRAME_MS;
	return true;
}

static void on_raw_token(struct kafka_conn *c)
{
	struct span token = span_of(c->frame->data, c->frame->len);
	bool ok = c->first == NULL && kafka_sasl_raw(c, token);
	crypto_wipe(c->frame->data, c->frame->len);
	drop_frame(c);
	if (!ok) {
		c->is_closing = true;
		net_stream_close(c->stream);
		return;
	}
	static const uint8_t answer[TOKEN_ANSWER];	/* an empty token */
	(void)net_stream_write(c->stream, answer, sizeof answer);
}

/* The frame is whole. */
static void on_frame(struct kafka_conn *c)
{
	c->last_request_ms = clock_mono_ms();
	if (c->sasl == KAFKA_SASL_RAW) {
		on_raw_token(c);
		return;
	}
	budget_give(&c->front->partials, c->frame_partial);
	struct buf *frame = c->frame;
	size_t reserved = c->frame_reserved;
	c->frame = NULL;
	c->frame_partial = 0;
	c->frame_reserved = 0;
	c->n_length = 0;
	kafka_lag_begun(c);
	kafka_request_begin(c, frame, reserved);
}

/* Whether another request may begin: those that are under way or wait for their
 * turn to be answered bound it, in number and memory. */
static bool has_place(const struct kafka_conn *c)
{
	size_t held = 0;
	for (const struct kafka_request *r = c->first; r != NULL; r = r->next) {
		held += r->arena.used + r->out.bytes.len;
		/* May grow large yet. */
		held += !r->is_answered && r->arena.max != 0 ? KAFKA_HELD_MAX / KAFKA_LONG : 0;
	}
	return !c->is_working && c->n_requests < KAFKA_IN_FLIGHT && held < KAFKA_HELD_MAX;
}

/* Takes what it can; the rest is the stash's. A server that stops begins nothing
 * more. */
static size_t take(struct kafka_conn *c, const uint8_t *p, size_t n)
{
	size_t used = 0;
	while (used < n && !c->is_closing && !c->is_stopping) {
		if (kafka_is_blocked(c)) {
			c->was_blocked = true;
			kafka_lag_blocked(c);
			break;
		}
		if (c->n_length < sizeof c->length) {
			if (c->n_length == 0 && !has_place(c)) {
				break;
			}
			c->length[c->n_length++] = p[used++];
			if (c->n_length == sizeof c->length && !begin_frame(c)) {
				return n;
			}
			continue;
		}
		if ((c->frame == NULL || c->frame->len == c->frame->cap) &&
		    !frame_grow(c, n - used)) {
			break;
		}
		size_t room = c->frame->cap - c->frame->len;
		size_t chunk = n - used < room ? n - used : room;
		memcpy(c->frame->data + c->frame->len, p + used, chunk);
		c->frame->len += (uint32_t)chunk;
		used += chunk;
		if (c->frame->len == c->frame_size) {
			on_frame(c);
		}
	}
	kafka_lag_took(c, used);
	return c->is_closing || c->is_stopping ? n : used;
}

static void on_received(void *arg, const uint8_t *p, size_t n)
{
	struct kafka_conn *c = arg;
	assert(c->magic == KAFKA_CONN_MAGIC);
	kafka_lag_received(c);
	size_t used = c->is_closing || c->stash.len > 0 ? 0 : take(c, p, n);
	if (c->is_closing) {
		return;
	}
	if (used < n) {
		str_addn(&c->stash, p + used, n - used);
		if (c->stash.bad) {
			kafka_conn_fail(c, ERR_NOMEM, "read", NULL);
			return;
		}
		pause(c);
	}
	kafka_conn_arm(c);
}

/* A frame that stood still because we did not read has its whole time again. */
static void end_block(struct kafka_conn *c)
{
	if (c->was_blocked && !kafka_is_blocked(c)) {
		c->was_blocked = false;
		c->frame_by_ms = clock_mono_ms() + KAFKA_FRAME_MS;
	}
}

/* There may be room again. */
void kafka_conn_resume(struct kafka_conn *c)
{
	if (!c->is_paused || c->is_closing || c->stream == NULL || c->is_resuming) {
		return;
	}
	end_block(c);
	c->is_resuming = true;
	size_t used = take(c, (const uint8_t *)c->stash.p, c->stash.len);
	c->is_resuming = false;
	if (c->is_closing || c->stream == NULL) {
		return;
	}
	memmove(c->stash.p, c->stash.p + used, c->stash.len - used);
	c->stash.len -= used;
	if (c->stash.len == 0) {
		str_fini(&c->stash);
		c->is_paused = false;
		kafka_lag_resumed(c);
		net_stream_resume(c->stream);
	}
	kafka_conn_arm(c);
}

/* ---- answers ---------------------------------------------------------------- */

static bool write_out(struct kafka_conn *c, const struct kafka_out *o)
{
	size_t at = 0;
	enum err e = ERR_OK;
	for (size_t i = 0; i < o->n_parts && e == ERR_OK; i++) {
		const struct kafka_out_part *part = &o->parts[i];
		e = net_stream_write(c->stream, o->bytes.p + at, part->at - at);
		at = part->at;
		for (uint32_t k = 0; k < part->n_parts && e == ERR_OK; k++) {
			struct buf *b = part->bufs != NULL ? part->bufs[k] : NULL;
			e = net_stream_write_buf(c->stream, b, part->parts[k].p, part->parts[k].n);
		}
	}
	if (e == ERR_OK) {
		e = net_stream_write(c->stream, o->bytes.p + at, o->bytes.len - at);
	}
	if (e == ERR_OK) {
		return true;
	}
	/* A part of an answer may be out: nothing sensible can follow. */
	if (!c->is_closing) {
		c->is_closing = true;
		log_limited(LOG_WARN, "KAFKA-ANSWER-LOST", "conn=%llu peer=%s reason=%s", id_of(c),
			    c->peer, err_text(e));
	}
	net_stream_abort(c->stream);
	return false;
}

void kafka_conn_send(struct kafka_conn *c)
{
	bool had = false;
	while (c->stream != NULL && !c->is_closing && c->first != NULL && c->first->is_answered) {
		struct kafka_request *r = c->first;
		if (net_stream_queued(c->stream) >= NET_QUEUE_HIGH) {
			break;	/* on_writable goes on */
		}
		if (!r->has_no_answer && !write_out(c, &r->out)) {
			return;
		}
		bool must_close = r->close_after;
		kafka_request_pop(c);
		had = true;
		if (must_close) {
			c->is_closing = true;
			net_stream_close(c->stream);
			return;
		}
	}
	if (c->is_stopping && c->first == NULL && !c->is_closing && c->stream != NULL) {
		c->is_closing = true;
		net_stream_close(c->stream);
		return;
	}
	if (had) {
		kafka_conn_resume(c);
		kafka_conn_arm(c);
	}
}

/* ---- the stream --------------------------------------------------------------- */

static void on_writable(void *arg)
{
	struct kafka_conn *c = arg;
	assert(c->magic == KAFKA_CONN_MAGIC);
	queue_went_down(c);
	kafka_conn_send(c);
}

static void on_tick(void *arg, int64_t now_ms)
{
	struct kafka_conn *c = arg;
	assert(c->magic == KAFKA_CONN_MAGIC);
	if (c->is_closing) {
		return;
	}
	end_block(c);
	/* Also when it was memory that it had to wait for: a frame that is kept
	 * waiting holds memory that others need. */
	if (c->n_length == sizeof c->length && !c->was_blocked && now_ms >= c->frame_by_ms) {
		kafka_conn_fail(c, ERR_TIMEOUT, "frame", "a request did not arrive in time");
		return;
	}
	if (now_ms >= c->unauthorised_by_ms) {
		kafka_conn_fail(c, ERR_TIMEOUT, "sasl", "the client did not authenticate in time");
		return;
	}
	if (c->first == NULL && now_ms >= c->last_request_ms + c->front->options.idle_timeout_ms) {
		c->is_closing = true;
		net_stream_close(c->stream);
		return;
	}
	tick_requests(c, now_ms);
	kafka_conn_send(c);
	kafka_conn_resume(c);
	kafka_conn_arm(c);
}

/* "127.0.0.1:53122" or "[::1]:53122" as Kafka's tools show a client's host. */
static void set_client_host(struct kafka_conn *c)
{
	size_t n = strlen(c->peer);
	while (n > 0 && c->peer[n - 1] != ':') {
		n--;
	}
	size_t len = n > 0 ? n - 1 : strlen(c->peer);
	snprintf(c->client_host, sizeof c->client_host, "/%.*s", (int)(len < 60 ? len : 60),
		 c->peer);
}

/* There are too many connections already. The protocol has no word for it that could
 * be said before the first request. */
static bool is_within_quota(const struct net_stream *s)
{
	if (!net_stream_is_surplus(s)) {
		return true;
	}
	log_limited(LOG_WARN, "KAFKA-CONNECTION-QUOTA", "conn=%llu peer=%s limit=%d",
		    (unsigned long long)net_stream_id(s), net_stream_peer(s),
		    net_stream_max_connections(s));
	metric_inc(METRIC_ERRORS_QUOTA);
	return false;
}

static enum err on_opened(void *ctx, struct net_stream *s, void **out)
{
	struct kafka_listener *l = ctx;
	if (!is_within_quota(s)) {
		return ERR_LIMIT;
	}
	struct kafka_conn *c = MEM_NEW(struct kafka_conn);
	if (c == NULL) {
		return ERR_NOMEM;
	}
	c->magic = KAFKA_CONN_MAGIC;
	c->front = l->front;
	c->listener = l;
	c->stream = s;
	c->mailbox = net_loop_mailbox(net_stream_loop(s));
	c->id = net_stream_id(s);
	snprintf(c->peer, sizeof c->peer, "%s", net_stream_peer(s));
	set_client_host(c);
	c->expires_ms = INT64_MAX;
	c->last_request_ms = clock_mono_ms();
	c->unauthorised_by_ms = c->last_request_ms + LIMIT_UNAUTH_MS;
	*out = c;
	kafka_conn_arm(c);
	return ERR_OK;
}

static void on_closed(void *arg, enum err reason)
{
	struct kafka_conn *c = arg;
	assert(c->magic == KAFKA_CONN_MAGIC);
	log_debug("KAFKA-CLOSED", "conn=%llu reason=%s", id_of(c), err_info(reason)->name);
	drop_frame(c);
	queue_went_down(c);
	c->stream = NULL;
	c->is_closing = true;
	c->outstanding++;
	while (c->first != NULL) {
		kafka_request_pop(c);
	}
	kafka_conn_release(c);
}

static void on_stopping(void *arg)
{
	struct kafka_conn *c = arg;
	assert(c->magic == KAFKA_CONN_MAGIC);
	c->is_stopping = true;
	kafka_requests_cancel(c);
	kafka_conn_send(c);
}

const struct net_protocol kafka_protocol = {
	.name = "kafka",
	.opened = on_opened,
	.received = on_received,
	.writable = on_writable,
	.tick = on_tick,
	.closed = on_closed,
	.stopping = on_stopping,
};
