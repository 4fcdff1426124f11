/* Sends: the body becomes one batch, the batch an append; 201 once it is durable. */

#include <microhttpd.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/http/batch_json.h"
#include "gateway/http/fields.h"
#include "gateway/http/http_priv.h"

static const char batch_media[] = "application/vnd.microsoft.servicebus.json";
static const char service_media_prefix[] = "application/vnd.microsoft.servicebus.";

/* An append under way; it may outlive its request. */
struct send {
	struct core_append append;
	struct http_wait wait;
	struct core *core;
	size_t reserved;
};

static void send_free(struct send *s)
{
	buf_drop(&s->append.op.batch);
	http_give_back(s->core, s->reserved);
	mem_free(s);
}

/* The send is over: stored, or why not; `detail` may be NULL. */
static void end(struct send *s, enum err e, const char *detail)
{
	char text[ERR_DETAIL_MAX];
	const struct throttle_decision *why = &s->append.decision;
	if (e == ERR_BUSY) {
		bool is_refused = why->verdict == THROTTLE_REFUSE;
		core_busy_text(why, text, sizeof text);
		http_wait_end_refused(&s->wait, e, text,
				      is_refused ? http_retry_after_s(why->wait_ms) : 0);
	} else {
		http_wait_end(&s->wait, e, detail);
	}
	send_free(s);
}

static void on_done(struct msg *m)
{
	struct send *s = (struct send *)(void *)((char *)m - offsetof(struct send, append.op.msg));
	end(s, core_append_done(&s->append), NULL);
}

/* ---- the batch --------------------------------------------------------------------- */

/* Adds one header to the event's properties. */
struct collector {
	struct http_sections sections;
	struct err_detail *d;
	enum err err;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key,
				 size_t key_size, const char *value, size_t value_size)
{
	struct collector *c = cls;
	struct span name = span_of(key, key_size);
	(void)kind;
	if (http_field_is_property(name)) {
		struct span v = http_field_value(span_of(value, value != NULL ? value_size : 0));
		c->err = http_sections_add_string(&c->sections, name, v, c->d);
	}
	return c->err == ERR_OK ? MHD_YES : MHD_NO;
}

static enum err make_single(struct http_request *r, struct span forced_key,
			    struct http_events *out, struct err_detail *d)
{
	const char *broker = http_request_header(r, "BrokerProperties");
	struct str key = {0};
	struct span sections = {NULL, 0};
	struct collector *c = MEM_NEW(struct collector);
	enum err e = ERR_NOMEM;
	if (c == NULL) {
		return e;
	}
	c->d = d;
	http_sections_begin(&c->sections, http_request_header(r, "Content-Type"));
	(void)MHD_get_connection_values_n(r->conn, MHD_HEADER_KIND, on_header, c);
	e = c->err;
	if (e == ERR_OK && broker != NULL) {
		e = http_broker_header(broker, &key, d);
	}
	if (e == ERR_OK) {
		e = http_sections_end(&c->sections, &sections);
	}
	if (e == ERR_OK) {
		struct span given = span_of(key.p, key.len);
		e = http_events_single(span_of(r->body, r->body_len), sections,
				       forced_key.n > 0 ? forced_key : given, out, d);
	}
	http_sections_fini(&c->sections);
	mem_free(c);
	str_fini(&key);
	return e;
}

/* Fails the request, or gives the batch. */
static void make_events(struct http_request *r, struct http_events *out)
{
	const struct core_address *to = &r->peer->session->address;
	struct span forced_key = to->kind == CORE_PUBLISHER ? span_str(to->publisher)
							     : span_of(NULL, 0);
	const char *type = http_request_header(r, "Content-Type");
	struct err_detail d = {""};
	enum err e;
	*out = (struct http_events){0};
	if (http_media_is(type, batch_media)) {
		e = http_events_batch(span_of(r->body, r->body_len), forced_key, out, &d);
	} else if (type != NULL && strncasecmp(type, service_media_prefix,
					       sizeof service_media_prefix - 1) == 0) {
		http_fail_as(r, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", ERR_INVALID,
			     "A batch has the media type %s.", batch_media);
		return;
	} else {
		e = make_single(r, forced_key, out, &d);
	}
	if (e != ERR_OK) {
		http_fail(r, e, "%s", d.text[0] != '\0' ? d.text : err_text(e));
	}
}

/* ---- the append ----------------------------------------------------------------------- */

/* Takes the batch. NULL: the request has failed. */
static struct send *send_new(struct http_request *r, struct http_events *events)
{
	struct core *core = r->front->core;
	size_t reserved = events->batch->cap;
	struct send *s = NULL;
	if (!http_reserve(core, reserved)) {
		http_fail(r, ERR_BUSY, "The server is busy: too many bytes wait to be stored.");
	} else if ((s = MEM_NEW(struct send)) == NULL) {
		http_give_back(core, reserved);
		http_fail(r, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	}
	if (s == NULL) {
		buf_drop(&events->batch);
		return NULL;
	}
	s->core = core;
	s->reserved = reserved;
	s->append.bytes = (uint32_t)r->body_len;
	s->append.op = (struct store_append){
		.reply_to = &r->front->mailbox,
		.done = on_done,
		.encoding = BATCH_AMQP,
		.batch = events->batch,
		.batch_len = events->batch_len,
		.key_len = events->key_len,
		.events = events->events,
		.may_merge = events->events == 1,
	};
	return s;
}

bool http_send(struct http_request *r)
{
	uint32_t timeout_s;
	if (http_timeout_parse(http_request_query(r, "timeout"), &timeout_s) != ERR_OK) {
		http_fail(r, ERR_INVALID, "The query's 'timeout' is not a number of seconds.");
		return true;
	}
	struct http_events events;
	make_events(r, &events);
	if (http_has_failed(r)) {
		return true;
	}
	struct send *s = send_new(r, &events);
	http_request_drop_body(r);
	if (s == NULL) {
		return true;
	}
	struct core_sender *sender = r->peer->session->sender;
	/* What the core counts is settled before the request may be resumed. */
	r->in_counted = true;
	r->out_counted = true;
	int64_t deadline_ns = clock_mono_ns() + timeout_s * INT64_C(1000000000);
	if (!http_wait_begin(&s->wait, r, deadline_ns)) {
		send_free(s);
		return false;
	}
	enum err e = core_append(sender, &s->append);
	if (e != ERR_OK) {
		/* Of a refused one the core counts only that it came, or was throttled. */
		if (e != ERR_BUSY) {
			bool is_users = e == ERR_NOT_FOUND || e == ERR_INVALID;
			metric_inc(is_users ? METRIC_ERRORS_USER : METRIC_ERRORS_SERVER);
		}
		end(s, e, e == ERR_INVALID ? CORE_NO_KEY : NULL);
	}
	return false;
}

void http_send_finish(struct http_request *r)
{
	if (http_outcome_ok(r)) {
		r->status = MHD_HTTP_CREATED;
		r->content_type = "application/xml; charset=utf-8";
	}
}
