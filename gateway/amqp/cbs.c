/* $cbs: a client puts a token for an audience; a good one is a grant of its
 * connection until it expires. The token's text decides what it is, not the
 * request's type, which one SDK gets wrong. */

#include <string.h>

#include "auth/sas.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "gateway/amqp/request.h"

#define NODE "$cbs"

static void bad_request(struct amqp_conn *conn, struct amqp_reply *a, const char *why)
{
	/* No error-condition: the Python SDK would show that instead of the text. */
	amqp_reply_error(conn, a, NODE, 400, NULL, ERR_INVALID, why, "");
}

static void refuse(struct amqp_conn *conn, struct amqp_reply *a, const char *why, const char *entity)
{
	metric_inc(METRIC_AUTH_FAILED);
	amqp_reply_error(conn, a, NODE, 401, NULL, ERR_UNAUTHORIZED, why, entity);
}

/* Three parts joined by dots, none of them a key=value pair. */
static bool is_jwt(struct span token)
{
	int dots = 0;
	for (size_t i = 0; i < token.n; i++) {
		uint8_t c = token.p[i];
		if (c == ' ' || c == '&') {
			return false;
		}
		dots += c == '.';
	}
	return dots == 2;
}

/* May the audience be known to the holder of this grant, and does it exist? */
static enum err check_audience(struct amqp_conn *conn, struct span name,
			       const struct auth_grant *grant, struct core_address *to,
			       struct err_detail *d)
{
	enum err e = core_resolve(conn->front->core, name, to, d);
	if (!auth_scope_covers(grant->scope, to->path)) {
		return err_set(d, ERR_UNAUTHORIZED,
			       "InvalidAudience: The token's resource does not cover the audience "
			       "'%.300s'.",
			       to->path);
	}
	if (e == ERR_NOT_FOUND && to->path[0] != '\0') {
		return e;
	}
	return ERR_OK;	/* whether a link may attach there is told at the attach */
}

void amqp_cbs_handle(struct amqp_conn *conn, const struct amqp_request *q, struct amqp_reply *a)
{
	struct span operation, name;
	struct auth_grant grant;
	struct core_address to;
	struct err_detail d = {""};
	const struct amqp_value *token = &q->body;
	if (!amqp_request_text(q, "operation", &operation) || !span_eq_str(operation, "put-token")) {
		bad_request(conn, a, "The operation is not put-token.");
		return;
	}
	if (!amqp_request_text(q, "name", &name)) {
		bad_request(conn, a, "The request names no audience (application property 'name').");
		return;
	}
	if (!amqp_is_text(token) && token->type != AMQP_BINARY) {
		bad_request(conn, a, "The body is not a token: a string in an amqp-value section.");
		return;
	}
	if (token->data.n > LIMIT_TOKEN) {
		refuse(conn, a, "MalformedToken: The token is too long.", "");
		return;
	}
	if (is_jwt(token->data)) {
		refuse(conn, a, "InvalidToken: JSON web tokens are not accepted here; use a shared access "
				"signature.", "");
		return;
	}
	enum err e = auth_sas_check(core_auth(conn->front->core), token->data, clock_wall_ms(), &grant,
				    &d);
	if (e == ERR_OK) {
		e = check_audience(conn, name, &grant, &to, &d);
	}
	if (e == ERR_NOT_FOUND) {
		amqp_reply_error(conn, a, NODE, 404, NULL, e, d.text, to.path);
		return;
	}
	if (e != ERR_OK) {
		refuse(conn, a, d.text, "");
		return;
	}
	e = amqp_conn_grant(conn, &grant);
	if (e != ERR_OK) {
		amqp_reply_error(conn, a, NODE, err_info(e)->http_status, NULL, e,
				 e == ERR_LIMIT ? "Too many tokens on one connection." : "", to.path);
		return;
	}
	log_debug("AMQP-TOKEN-ACCEPTED", "conn=%llu policy=%s scope=%s rights=%u",
		  (unsigned long long)conn->id, log_quote(grant.policy), log_quote(grant.scope),
		  grant.rights);
	a->status = 202;
	memcpy(a->text, "Accepted", sizeof "Accepted");
}
