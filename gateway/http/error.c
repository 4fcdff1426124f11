/* Error answers: one JSON form for every failure, with a tracking id that also
 * stands in the log. */

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/http/http_priv.h"
#include "gateway/http/json.h"

/* A detail, the entity, a host name of 253 and some 100 characters fit. */
enum { ERROR_TEXT_MAX = 1280, ENTITY_TEXT_MAX = 256 };

/* Names in the order of the bits of enum http_method. */
static const char *const method_names[] = {"GET, HEAD", "POST", "PUT", "PATCH", "DELETE"};

static void set_failure(struct http_request *r, int status, const char *code, enum err e,
			const char *fmt, va_list args) PRINTF(5, 0);
static void set_failure(struct http_request *r, int status, const char *code, enum err e,
			const char *fmt, va_list args)
{
	if (http_has_failed(r)) {
		return;
	}
	r->failure.err = e;
	r->failure.status = status;
	r->failure.code = code;
	vsnprintf(r->failure.d.text, sizeof r->failure.d.text, fmt, args);
}

void http_fail(struct http_request *r, enum err e, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	set_failure(r, 0, NULL, e, fmt, args);
	va_end(args);
}

void http_fail_as(struct http_request *r, int status, const char *code, enum err e,
		  const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	set_failure(r, status, code, e, fmt, args);
	va_end(args);
}

bool http_outcome_ok(struct http_request *r)
{
	if (r->outcome == ERR_OK) {
		return true;
	}
	char text[ERR_DETAIL_MAX];
	snprintf(text, sizeof text, "%s", r->failure.d.text);
	http_fail(r, r->outcome, "%s", text);
	return false;
}

void http_error_body(struct core *c, enum err e, const char *code, const char *detail,
		     const char *entity, char tracking[33], struct str *out)
{
	char text[ERROR_TEXT_MAX];
	char cut[ENTITY_TEXT_MAX];
	snprintf(cut, sizeof cut, "%s", entity);
	core_error_text(c, e, detail, cut, tracking, text, sizeof text);
	str_add(out, "{\"error\":{\"code\":");
	http_json_put(out, span_str(code != NULL ? code : err_info(e)->http_code));
	str_add(out, ",\"message\":");
	http_json_put(out, span_str(text));
	str_printf(out, ",\"trackingId\":\"%s\"}}\n", tracking);
}

/* ---- the answer ----------------------------------------------------------------- */

static void count(const struct http_request *r, int status)
{
	if (!r->in_counted) {
		metric_inc(METRIC_REQUESTS_IN);
	}
	if (r->out_counted) {
		return;
	}
	if (r->failure.err == ERR_QUOTA || r->failure.err == ERR_LIMIT) {
		metric_inc(METRIC_ERRORS_QUOTA);
	} else if (status < 500) {
		metric_inc(METRIC_ERRORS_USER);
	} else {
		metric_inc(METRIC_ERRORS_SERVER);
	}
}

static void log_it(const struct http_request *r, int status, const char *code,
		   const char *tracking)
{
	struct log_quoted method = log_quote_span(span_str(r->method));
	struct log_quoted path = log_quote_span(span_str(r->path));
	struct log_quoted reason = log_quote_span(span_str(r->failure.d.text));
	if (r->failure.retry_after_s != 0) {
		log_limited(LOG_INFO, "HTTP-THROTTLED", "peer=%s method=%s path=%s status=%d code=%s tracking=%s wait_s=%u reason=%s",
			 r->peer->origin.peer, method.text, path.text, status, code, tracking,
			 r->failure.retry_after_s, reason.text);
	} else if (status < 500) {
		log_limited(LOG_INFO, "HTTP-REFUSED", "peer=%s method=%s path=%s status=%d code=%s tracking=%s reason=%s",
			 r->peer->origin.peer, method.text, path.text, status, code, tracking,
			 reason.text);
	} else {
		log_limited(LOG_WARN, "HTTP-FAILED", "peer=%s method=%s path=%s status=%d code=%s tracking=%s reason=%s",
			 r->peer->origin.peer, method.text, path.text, status, code, tracking,
			 reason.text);
	}
}

static bool add_challenge(const struct http_request *r, struct MHD_Response *answer)
{
	char basic[512];
	char sas[512];
	const char *host = core_host(r->front->core);
	snprintf(basic, sizeof basic, "Basic realm=\"%.256s\", charset=\"UTF-8\"", host);
	snprintf(sas, sizeof sas, "SharedAccessSignature realm=\"%.256s\"", host);
	return MHD_add_response_header(answer, "WWW-Authenticate", sas) == MHD_YES &&
	       MHD_add_response_header(answer, "WWW-Authenticate", basic) == MHD_YES;
}

static bool add_allow(unsigned allow, struct MHD_Response *answer)
{
	char text[64] = "";
	for (unsigned i = 0; i < sizeof method_names / sizeof *method_names; i++) {
		if ((allow & 1u << i) != 0) {
			size_t n = strlen(text);
			snprintf(text + n, sizeof text - n, "%s%s", n != 0 ? ", " : "",
				 method_names[i]);
		}
	}
	return MHD_add_response_header(answer, "Allow", text) == MHD_YES;
}

static bool add_headers(const struct http_request *r, int status, struct MHD_Response *answer)
{
	bool ok = MHD_add_response_header(answer, "Content-Type",
					  "application/json; charset=utf-8") == MHD_YES;
	if (status == MHD_HTTP_UNAUTHORIZED) {
		ok = ok && add_challenge(r, answer);
	}
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
		ok = ok && add_allow(r->failure.allow, answer);
	}
	if (status == MHD_HTTP_SERVICE_UNAVAILABLE) {
		char text[16];
		uint32_t told_s = r->failure.retry_after_s;
		snprintf(text, sizeof text, "%u", told_s != 0 ? told_s : HTTP_RETRY_AFTER_S);
		ok = ok && MHD_add_response_header(answer, "Retry-After", text) == MHD_YES;
	}
	if (atomic_load(&r->front->closing)) {
		ok = ok && MHD_add_response_header(answer, "Connection", "close") == MHD_YES;
	}
	return ok;
}

bool http_answer_failure(struct http_request *r)
{
	const struct http_failure *f = &r->failure;
	int status = f->status != 0 ? f->status : err_info(f->err)->http_status;
	const char *code = f->code != NULL ? f->code : err_info(f->err)->http_code;
	char tracking[33];
	struct str out = {0};
	http_error_body(r->front->core, f->err, code, f->d.text, r->path, tracking, &out);
	if (r->route == NULL || r->route->account != HTTP_UNCOUNTED) {
		count(r, status);
	}
	if (status == MHD_HTTP_UNAUTHORIZED) {
		metric_inc(METRIC_AUTH_FAILED);
	}
	log_it(r, status, code, tracking);
	if (out.bad) {
		str_fini(&out);
		return false;
	}
	struct MHD_Response *answer =
		MHD_create_response_from_buffer_with_free_callback(out.len, out.p, mem_free);
	if (answer == NULL) {
		str_fini(&out);
		return false;
	}
	bool ok = add_headers(r, status, answer) &&
		  MHD_queue_response(r->conn, (unsigned)status, answer) == MHD_YES;
	MHD_destroy_response(answer);
	return ok;
}
