/* From a frame to its handler, and what handlers answer with. */

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/kafka/conn.h"

enum { PRODUCE = 0, API_VERSIONS = 18, SASL_HANDSHAKE = 17, SASL_AUTHENTICATE = 36, SIZE_FIELD = 4 };

static kafka_handler *const handlers[KAFKA_API_MAX] = {
	[0] = kafka_on_produce,
	[1] = kafka_on_fetch,
	[2] = kafka_on_list_offsets,
	[3] = kafka_on_metadata,
	[8] = kafka_on_offset_commit,
	[9] = kafka_on_offset_fetch,
	[10] = kafka_on_find_coordinator,
	[11] = kafka_on_join_group,
	[12] = kafka_on_heartbeat,
	[13] = kafka_on_leave_group,
	[14] = kafka_on_sync_group,
	[15] = kafka_on_describe_groups,
	[16] = kafka_on_list_groups,
	[17] = kafka_on_sasl_handshake,
	[18] = kafka_on_api_versions,
	[19] = kafka_on_create_topics,
	[20] = kafka_on_delete_topics,
	[21] = kafka_on_delete_records,
	[22] = kafka_on_init_producer_id,
	[23] = kafka_on_offset_for_leader_epoch,
	[32] = kafka_on_describe_configs,
	[33] = kafka_on_alter_configs,
	[36] = kafka_on_sasl_authenticate,
	[37] = kafka_on_create_partitions,
	[42] = kafka_on_delete_groups,
	[44] = kafka_on_incremental_alter_configs,
	[47] = kafka_on_offset_delete,
	[60] = kafka_on_describe_cluster,
};

/* ---- life ------------------------------------------------------------------ */

static void request_free(struct kafka_request *r)
{
	struct kafka_conn *c = r->conn;
	if (r->fini != NULL) {
		r->fini(r);
	}
	kafka_out_fini(&r->out);
	kafka_arena_fini(&r->arena);
	budget_give(core_inflight(c->front->core), r->reserved);
	kafka_conn_settle(c, r->charged);
	buf_drop(&r->frame);
	r->magic = 0;
	mem_free(r);
	kafka_conn_release(c);
}

void kafka_hold(struct kafka_request *r)
{
	r->outstanding++;
}

void kafka_release(struct kafka_request *r)
{
	assert(r->magic == KAFKA_REQUEST_MAGIC);
	assert(r->outstanding > 0);
	r->outstanding--;
	if (r->outstanding == 0 && r->is_gone) {
		request_free(r);
	}
}

static void cancel(struct kafka_request *r)
{
	if (!r->is_answered && !r->was_cancelled) {
		r->was_cancelled = true;
		if (r->cancel != NULL) {
			r->cancel(r);
		}
	}
}

void kafka_request_pop(struct kafka_conn *c)
{
	struct kafka_request *r = c->first;
	c->first = r->next;
	if (c->first == NULL) {
		c->last = NULL;
	}
	c->n_requests--;
	r->next = NULL;
	r->is_gone = true;
	/* Held, so that a cancel that ends everything at once does not free it here. */
	kafka_hold(r);
	cancel(r);
	kafka_release(r);
}

void kafka_requests_cancel(struct kafka_conn *c)
{
	/* A cancel may answer, which takes requests from the front; begin anew then. */
	for (struct kafka_request *r = c->first; r != NULL;) {
		struct kafka_request *next = r->next;
		if (!r->is_answered && !r->was_cancelled) {
			cancel(r);
			next = c->first;
		}
		r = next;
	}
}

/* ---- answers ------------------------------------------------------------------ */

/* No answer may go out twice; a request without its connection has none. */
static bool may_answer(const struct kafka_request *r)
{
	assert(r->magic == KAFKA_REQUEST_MAGIC);
	assert(!r->is_answered);
	return !r->is_gone;
}

static void begin_out(struct kafka_request *r, bool has_tags)
{
	static const uint8_t no_tags[1];
	uint8_t head[SIZE_FIELD + 4] = {0};
	put_u32(head + SIZE_FIELD, (uint32_t)r->correlation);
	r->out.bytes.max = SIZE_MAX;
	str_addn(&r->out.bytes, head, sizeof head);
	if (has_tags) {
		str_addn(&r->out.bytes, no_tags, sizeof no_tags);
	}
}

static void finish_out(struct kafka_request *r)
{
	if (r->out.bad || r->out.bytes.bad ||
	    kafka_out_size(&r->out) - SIZE_FIELD > INT32_MAX) {
		kafka_fail(r, ERR_NOMEM);
		return;
	}
	size_t n = r->out.bytes.len;
	if (n >= KAFKA_ANSWER_LARGE) {
		if (!budget_take(&r->conn->front->answers, n)) {
			metric_inc(METRIC_BUDGET_REFUSED);
			kafka_fail(r, ERR_BUSY);
			return;
		}
		r->charged += n;
	}
	put_u32((uint8_t *)r->out.bytes.p, (uint32_t)(kafka_out_size(&r->out) - SIZE_FIELD));
	r->is_answered = true;
	kafka_conn_send(r->conn);
}

void kafka_answer(struct kafka_request *r, const void *response)
{
	if (!may_answer(r)) {
		return;
	}
	bool is_flexible = kafka_is_flexible(r->api, r->version);
	/* Clients read ApiVersions before they know what is flexible. */
	begin_out(r, is_flexible && r->api->key != API_VERSIONS);
	kafka_encode(&r->out, r->api->response, r->version, is_flexible, response);
	finish_out(r);
}

void kafka_answer_nothing(struct kafka_request *r, bool close)
{
	if (may_answer(r)) {
		r->has_no_answer = true;
		r->close_after = close;
		r->is_answered = true;
		kafka_conn_send(r->conn);
	}
}

void kafka_fail(struct kafka_request *r, enum err e)
{
	if (may_answer(r)) {
		kafka_conn_fail(r->conn, e, r->api != NULL ? r->api->name : "request", NULL);
		r->has_no_answer = true;
		r->is_answered = true;
		kafka_conn_send(r->conn);
	}
}

void kafka_deadline(struct kafka_request *r, int64_t at_ms)
{
	r->deadline_ms = at_ms;
	kafka_conn_arm(r->conn);
}

void *kafka_alloc(struct kafka_request *r, size_t n)
{
	void *p = kafka_arena_alloc(&r->arena, n > 0 ? n : 1);
	if (p == NULL) {
		kafka_fail(r, ERR_NOMEM);
	}
	return p;
}

/* ---- beginning ---------------------------------------------------------------- */

/* ApiVersions of a version that is not known: the oldest form of the answer says
 * which are, and the client asks again. */
static void answer_unknown_api_versions(struct kafka_request *r)
{
	struct kafka_api_versions_response_api key = {
		.api_key = r->api->key,
		.min_version = r->api->first,
		.max_version = r->api->last,
	};
	struct kafka_api_versions_response p = {
		.error_code = KAFKA_UNSUPPORTED_VERSION,
		.api_keys = &key,
		.n_api_keys = 1,
	};
	begin_out(r, false);
	kafka_encode(&r->out, r->api->response, 0, false, &p);
	finish_out(r);
}

/* Before a connection authenticated, only what leads there. */
static const char *refusal(struct kafka_conn *c, int16_t key)
{
	bool is_sasl = key == API_VERSIONS || key == SASL_HANDSHAKE || key == SASL_AUTHENTICATE;
	if (c->sasl == KAFKA_SASL_NEW && !is_sasl) {
		return "the first request is neither ApiVersions nor SaslHandshake";
	}
	if (c->sasl == KAFKA_SASL_TOKENS && !is_sasl) {
		return "a request came before SaslAuthenticate";
	}
	if (c->sasl == KAFKA_SASL_DONE && !is_sasl && c->expires_ms <= clock_wall_ms()) {
		return "the token expired and the client did not authenticate again";
	}
	if (c->sasl == KAFKA_SASL_DONE && !is_sasl && kafka_sasl_is_revoked(c)) {
		return "its policy is gone or may less than it did";
	}
	return NULL;
}

static void run(struct kafka_request *r, struct span frame, size_t body_at)
{
	struct kafka_conn *c = r->conn;
	struct err_detail d = {""};
	r->body = kafka_alloc(r, kafka_struct_size(r->api->request));
	if (r->body == NULL) {
		return;
	}
	enum err e = kafka_decode(r->api->request, r->version,
				  kafka_is_flexible(r->api, r->version),
				  span_of(frame.p + body_at, frame.n - body_at), &r->arena,
				  r->body, &d);
	if (e != ERR_OK) {
		kafka_conn_fail(c, e, r->api->name, d.text);
		kafka_fail(r, e);
		return;
	}
	if (r->api->key != PRODUCE) {
		/* Only batches are copied out of a frame. */
		budget_give(core_inflight(c->front->core), r->reserved / 2);
		r->reserved -= r->reserved / 2;
	}
	handlers[r->api->key](r);
}

static void begin(struct kafka_request *r)
{
	struct kafka_conn *c = r->conn;
	struct span frame = span_of(r->frame->data, r->frame->len);
	struct kafka_request_header h;
	struct err_detail d = {""};
	size_t body_at;
	enum err e = kafka_header_read(frame, &h, &body_at, &d);
	if (e != ERR_OK) {
		kafka_conn_fail(c, e, "header", d.text);
		kafka_fail(r, e);
		return;
	}
	r->api = kafka_api_find(h.key);
	r->version = h.version;
	r->correlation = h.correlation;
	r->client_id = h.client_id.s;
	const char *why = refusal(c, h.key);
	if (r->api == NULL || why != NULL) {
		char text[160];
		snprintf(text, sizeof text, "API %d version %d: %s", h.key, h.version,
			 why != NULL ? why : "it is not served");
		kafka_conn_fail(c, ERR_VERSION, "request", text);
		kafka_fail(r, ERR_VERSION);
	} else if (h.version < r->api->first || h.version > r->api->last) {
		if (h.key == API_VERSIONS) {
			answer_unknown_api_versions(r);
			return;
		}
		char text[160];
		snprintf(text, sizeof text, "%s version %d is not served; %d to %d are",
			 r->api->name, h.version, r->api->first, r->api->last);
		kafka_conn_fail(c, ERR_VERSION, "request", text);
		kafka_fail(r, ERR_VERSION);
	} else {
		run(r, frame, body_at);
	}
}

void kafka_request_begin(struct kafka_conn *c, struct buf *frame, size_t reserved)
{
	struct kafka_request *r = MEM_NEW(struct kafka_request);
	if (r == NULL) {
		budget_give(core_inflight(c->front->core), reserved);
		buf_drop(&frame);
		kafka_conn_fail(c, ERR_NOMEM, "request", NULL);
		return;
	}
	r->magic = KAFKA_REQUEST_MAGIC;
	r->conn = c;
	r->frame = frame;
	r->reserved = reserved;
	r->started_ns = clock_mono_ns();
	r->deadline_ms = INT64_MAX;
	c->outstanding++;
	c->n_requests++;
	if (c->first == NULL) {
		c->first = r;
	} else {
		c->last->next = r;
	}
	c->last = r;
	kafka_hold(r);
	begin(r);
	kafka_release(r);
}
