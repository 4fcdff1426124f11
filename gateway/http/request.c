/* One request, from its head to the end of its answer.
 *
 *   head ──► READING ──► handle ──► answer
 *     │        │            └─► WAITING ─► RESUMED ─► finish ─► answer
 *     └────────┴─► REFUSED (the body is thrown away) ─► answer
 *
 * Route and credentials are decided on the head alone; a body is read only for a
 * request that may have one. */

#include "gateway/http/request.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/http/http_priv.h"

static const char json_type[] = "application/json; charset=utf-8";

const char *http_request_header(const struct http_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

const char *http_request_query(const struct http_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, name);
}

void http_request_reply(struct http_request *r, int status)
{
	r->status = status;
	r->content_type = json_type;
}

/* ---- the body ------------------------------------------------------------------ */

bool http_reserve(struct core *c, size_t n)
{
	if (!budget_take(core_inflight(c), n)) {
		metric_inc(METRIC_BUDGET_REFUSED);
		return false;
	}
	metric_add(METRIC_BUDGET_BYTES, (int64_t)n);
	return true;
}

void http_give_back(struct core *c, size_t n)
{
	budget_give(core_inflight(c), n);
	metric_add(METRIC_BUDGET_BYTES, -(int64_t)n);
}

void http_request_drop_body(struct http_request *r)
{
	if (r->body == NULL) {
		return;
	}
	mem_free(r->body);
	r->body = NULL;
	http_give_back(r->front->core, r->body_cap);
	r->body_cap = 0;
	r->body_len = 0;
}

static size_t body_max(const struct http_request *r)
{
	size_t max = r->route->body_max;
	return max < r->front->max_body_bytes ? max : (size_t)r->front->max_body_bytes;
}

/* How much to hold so that `need` bytes fit: a little at first, whatever the
 * head announces; then all of it. */
static size_t body_want(const struct http_request *r, size_t need)
{
	size_t want = r->body_length;
	if (r->is_chunked) {
		want = r->body_cap != 0 ? r->body_cap * 2 : need;
	} else if (r->body_cap == 0 && want > HTTP_BODY_FIRST) {
		want = HTTP_BODY_FIRST;
	}
	want = want < need ? need : want;
	return want > body_max(r) ? body_max(r) : want;
}

static bool body_grow(struct http_request *r, size_t need)
{
	if (need <= r->body_cap) {
		return true;
	}
	size_t want = body_want(r, need);
	if (!http_reserve(r->front->core, want - r->body_cap)) {
		http_fail(r, ERR_BUSY, "The server is busy: too many bytes wait to be stored.");
		return false;
	}
	uint8_t *body = mem_realloc(r->body, want);
	if (body == NULL) {
		http_give_back(r->front->core, want - r->body_cap);
		http_fail(r, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
		return false;
	}
	r->body = body;
	r->body_cap = want;
	return true;
}

static void too_large(struct http_request *r)
{
	http_fail(r, ERR_TOO_LARGE, "The request's body is larger than %zu bytes.", body_max(r));
}

static void refuse(struct http_request *r)
{
	http_request_drop_body(r);
	r->state = HTTP_REFUSED;
}

/* A client that is to come again later must hear of it: one that still writes when
 * its connection ends sees only that. */
static size_t discard_max(const struct http_request *r)
{
	if (r->is_chunked) {
		return HTTP_DISCARD_CHUNKED_MAX;
	}
	return r->failure.err == ERR_BUSY ? body_max(r) : HTTP_DISCARD_MAX;
}

/* False: the connection must end. */
static bool body_add(struct http_request *r, const char *data, size_t n)
{
	if (clock_mono_ms() > r->deadline_ms) {
		return false;
	}
	if (r->state == HTTP_READING) {
		if (n > body_max(r) - r->body_len) {
			too_large(r);
		} else if (body_grow(r, r->body_len + n)) {
			memcpy(r->body + r->body_len, data, n);
			r->body_len += n;
			return true;
		}
		refuse(r);
	}
	r->discarded += n;
	return r->discarded <= discard_max(r);
}

/* ---- the head -------------------------------------------------------------------- */

static void find_route(struct http_request *r)
{
	enum err e = http_route_find(span_str(r->path), r->method, r->peer->origin.door, &r->route,
				     &r->params, &r->failure.allow);
	if (e == ERR_NOT_ALLOWED) {
		http_fail_as(r, MHD_HTTP_METHOD_NOT_ALLOWED, "method-not-allowed", e,
			     "This path does not know the method %.32s.", r->method);
	} else if (e != ERR_OK) {
		http_fail(r, e, "There is nothing at this path.");
	}
}

/* Reads how long the body is; fails the request over its bound. */
static void look_at_length(struct http_request *r)
{
	const char *length = http_request_header(r, "Content-Length");
	uint64_t announced = 0;
	r->is_chunked = http_request_header(r, "Transfer-Encoding") != NULL;
	if (length != NULL && !http_length_parse(length, &announced)) {
		http_fail(r, ERR_PROTOCOL, "Content-Length is not a number.");
		return;
	}
	r->body_length = r->is_chunked ? 0 : announced > SIZE_MAX ? SIZE_MAX : (size_t)announced;
	if (http_has_failed(r) || r->route->body_max == 0) {
		return;
	}
	if (length == NULL && !r->is_chunked && r->route->scope == HTTP_SENDER) {
		http_fail_as(r, MHD_HTTP_LENGTH_REQUIRED, "length-required", ERR_PROTOCOL,
			     "A Content-Length or chunked transfer encoding is required.");
	} else if (r->body_length > body_max(r)) {
		too_large(r);
	}
}

/* Can the rest of the request be read and thrown away for the connection's
 * sake? */
static bool is_worth_reading(const struct http_request *r)
{
	return !r->is_chunked && r->body_length <= HTTP_DISCARD_MAX &&
	       (r->body_length == 0 || http_request_header(r, "Expect") == NULL);
}

static struct http_request *request_new(struct http_front *f, struct MHD_Connection *conn,
					const char *url, const char *method)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct http_peer *peer = info != NULL ? info->socket_context : NULL;
	struct http_request *r = peer != NULL ? MEM_NEW(struct http_request) : NULL;
	if (r == NULL) {
		return NULL;
	}
	assert(peer->magic == HTTP_PEER_MAGIC);
	r->magic = HTTP_REQUEST_MAGIC;
	r->front = f;
	r->peer = peer;
	r->conn = conn;
	r->path = url;
	r->method = method;
	r->deadline_ms = clock_mono_ms() + HTTP_BODY_TIME_MS;
	return r;
}

/* ---- the answer -------------------------------------------------------------------- */

static struct MHD_Response *make_response(struct http_request *r)
{
	struct MHD_Response *answer =
		MHD_create_response_from_buffer_with_free_callback(r->reply.len, r->reply.p, mem_free);
	if (answer == NULL) {
		return NULL;
	}
	r->reply = (struct str){0};
	bool ok = r->status == MHD_HTTP_NO_CONTENT ||
		  MHD_add_response_header(answer, "Content-Type", r->content_type) == MHD_YES;
	if (ok && atomic_load(&r->front->closing)) {
		ok = MHD_add_response_header(answer, "Connection", "close") == MHD_YES;
	}
	if (!ok) {
		MHD_destroy_response(answer);
		return NULL;
	}
	return answer;
}

static void count_ok(const struct http_request *r)
{
	if (r->route->account != HTTP_UNCOUNTED) {
		metric_add(METRIC_REQUESTS_IN, r->in_counted ? 0 : 1);
		metric_add(METRIC_REQUESTS_OK, r->out_counted ? 0 : 1);
	}
}

static enum MHD_Result answer(struct http_request *r)
{
	if (!http_has_failed(r) && r->reply.bad) {
		http_fail(r, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	}
	if (http_has_failed(r)) {
		return http_answer_failure(r) ? MHD_YES : MHD_NO;
	}
	count_ok(r);
	if (r->status == MHD_HTTP_CREATED && r->reply.len == 0 && !atomic_load(&r->front->closing)) {
		return MHD_queue_response(r->conn, MHD_HTTP_CREATED, r->front->created);
	}
	struct MHD_Response *made = make_response(r);
	if (made == NULL) {
		return MHD_NO;
	}
	enum MHD_Result ok = MHD_queue_response(r->conn, (unsigned)r->status, made);
	MHD_destroy_response(made);
	return ok;
}

/* ---- libmicrohttpd's callbacks ---------------------------------------------------------- */

/* One management call more than are served in a second is refused. Strangers have
 * been refused before. */
static void take_call(struct http_request *r)
{
	struct err_detail d = {""};
	uint32_t wait_ms = 0;
	enum err e = core_manage_take(r->front->core, &wait_ms, &d);
	if (e != ERR_OK) {
		http_fail(r, e, "%s", d.text[0] != '\0' ? d.text : err_text(e));
		r->failure.retry_after_s = http_retry_after_s(wait_ms);
		r->out_counted = true;
	}
}

/* The head is there. */
static enum MHD_Result begin(struct http_request *r)
{
	find_route(r);
	if (!http_has_failed(r)) {
		http_authorise(r);
	}
	if (!http_has_failed(r) && r->route->account == HTTP_MANAGED) {
		take_call(r);
	}
	look_at_length(r);
	if (http_has_failed(r) || r->route->body_max == 0) {
		r->state = HTTP_REFUSED;
		if (!is_worth_reading(r)) {
			if (!http_has_failed(r)) {
				http_fail(r, ERR_TOO_LARGE, "This request takes no body.");
			}
			return answer(r);
		}
	}
	return MHD_YES;
}

/* The whole request is there, or an operation has come back. */
static enum MHD_Result complete(struct http_request *r)
{
	if (r->state == HTTP_RESUMED) {
		r->route->finish(r);
	} else if (!http_has_failed(r) && !r->route->handle(r)) {
		return MHD_YES;	/* suspended: it is not ours any more */
	}
	return answer(r);
}

enum MHD_Result http_request_on(void *cls, struct MHD_Connection *conn, const char *url,
				const char *method, const char *version, const char *data,
				size_t *size, void **context)
{
	struct http_front *f = cls;
	struct http_request *r = *context;
	(void)version;
	assert(f->magic == HTTP_FRONT_MAGIC);
	if (r == NULL) {
		thread_role_set(ROLE_HTTP);
		r = request_new(f, conn, url, method);
		*context = r;
		return r != NULL ? begin(r) : MHD_NO;
	}
	assert(r->magic == HTTP_REQUEST_MAGIC);
	if (*size > 0) {
		bool ok = body_add(r, data, *size);
		*size = 0;
		return ok ? MHD_YES : MHD_NO;
	}
	return complete(r);
}

void http_request_on_end(void *cls, struct MHD_Connection *conn, void **context,
			 enum MHD_RequestTerminationCode code)
{
	(void)cls;
	(void)conn;
	(void)code;
	struct http_request *r = *context;
	*context = NULL;
	if (r == NULL) {
		return;
	}
	assert(r->magic == HTTP_REQUEST_MAGIC);
	assert(r->state != HTTP_WAITING);
	http_request_drop_body(r);
	str_fini(&r->reply);
	r->magic = 0;
	mem_free(r);
}
