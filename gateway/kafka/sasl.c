/* SASL/PLAIN: `$ConnectionString` with a connection string, or a policy's name
 * with its key or a token; a policy of one hub as hub/policy. Re-authentication
 * on the same connection (KIP-368). */

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "gateway/kafka/kafka_priv.h"

#define MECHANISM "PLAIN"

void kafka_on_sasl_handshake(struct kafka_request *r)
{
	const struct kafka_sasl_handshake_request *q = r->body;
	struct kafka_conn *c = r->conn;
	struct kafka_string mechanism = kafka_text(MECHANISM);
	struct kafka_sasl_handshake_response p = {.mechanisms = &mechanism, .n_mechanisms = 1};
	if (c->sasl != KAFKA_SASL_NEW && (c->sasl != KAFKA_SASL_DONE || r->version == 0)) {
		p.error_code = KAFKA_ILLEGAL_SASL_STATE;
	} else if (!span_eq_str(q->mechanism.s, MECHANISM)) {
		p.error_code = KAFKA_UNSUPPORTED_SASL_MECHANISM;
	}
	if (p.error_code == KAFKA_NONE) {
		c->sasl = r->version == 0 ? KAFKA_SASL_RAW : KAFKA_SASL_TOKENS;
	} else {
		log_limited(LOG_WARN, "KAFKA-SASL-REFUSED", "conn=%llu peer=%s mechanism=%s code=%d",
			    (unsigned long long)c->id, c->peer,
			    log_quote_span(q->mechanism.s).text, p.error_code);
		r->close_after = true;
	}
	kafka_answer(r, &p);
}

/* [authzid] NUL user NUL password; an authzid must be the user. */
static bool split_token(struct span token, struct span *user, struct span *password)
{
	const uint8_t *end = token.p + token.n;
	const uint8_t *a = token.n > 0 ? memchr(token.p, 0, token.n) : NULL;
	const uint8_t *b = a != NULL ? memchr(a + 1, 0, (size_t)(end - a - 1)) : NULL;
	if (b == NULL || memchr(b + 1, 0, (size_t)(end - b - 1)) != NULL) {
		return false;
	}
	struct span authzid = span_of(token.p, (size_t)(a - token.p));
	*user = span_of(a + 1, (size_t)(b - a - 1));
	*password = span_of(b + 1, (size_t)(end - b - 1));
	return authzid.n == 0 || span_eq(authzid, *user);
}

/* "hub/policy": policy names hold no '/'. */
static void split_user(struct span user, char hub[LIMIT_HUB_NAME + 1], struct span *name)
{
	hub[0] = '\0';
	*name = user;
	const uint8_t *slash = user.n > 0 ? memrchr(user.p, '/', user.n) : NULL;
	if (slash != NULL &&
	    span_to_cstr(span_of(user.p, (size_t)(slash - user.p)), hub, LIMIT_HUB_NAME + 1) == ERR_OK) {
		size_t used = (size_t)(slash - user.p) + 1;
		*name = span_of(user.p + used, user.n - used);
	}
}

static enum err authenticate(struct kafka_conn *c, struct span token, struct err_detail *d)
{
	struct span user;
	struct span password;
	struct span name;
	char hub[LIMIT_HUB_NAME + 1];
	struct auth_grant grant;
	if (!split_token(token, &user, &password)) {
		return err_set(d, ERR_UNAUTHORIZED, "the SASL/PLAIN token is malformed");
	}
	split_user(user, hub, &name);
	enum err e = auth_password_check(core_auth(c->front->core), name, password, hub,
					 clock_wall_ms(), &grant, d);
	if (e != ERR_OK) {
		return e;
	}
	if (c->grants.n > 0 && (strcmp(c->user, grant.policy) != 0 ||
				strcmp(c->grants.v[0]->policy_hub, grant.policy_hub) != 0)) {
		return err_set(d, ERR_UNAUTHORIZED,
			       "re-authentication may not change who the connection is");
	}
	core_grants_fini(&c->grants);
	c->grants = (struct core_grants){0};
	e = core_grants_add(&c->grants, &grant);
	if (e == ERR_OK) {
		snprintf(c->user, sizeof c->user, "%s", grant.policy);
		c->expires_ms = grant.expires_ms;
	}
	return e;
}

/* Either way of carrying a token ends here. */
static enum err on_token(struct kafka_conn *c, struct span token, struct err_detail *d)
{
	enum err e = authenticate(c, token, d);
	if (e != ERR_OK) {
		metric_inc(METRIC_AUTH_FAILED);
		log_limited(LOG_WARN, "KAFKA-AUTH-FAILED", "conn=%llu peer=%s software=%s reason=%s",
			    (unsigned long long)c->id, c->peer, log_quote(c->software),
			    log_quote(d->text[0] != '\0' ? d->text : err_text(e)));
		return e;
	}
	if (c->unauthorised_by_ms != INT64_MAX) {
		c->unauthorised_by_ms = INT64_MAX;
		if (c->stream != NULL) {
			net_stream_authorised(c->stream);
		}
	}
	c->sasl = KAFKA_SASL_DONE;
	return ERR_OK;
}

bool kafka_sasl_is_revoked(struct kafka_conn *c)
{
	const struct catalog *cat = core_catalog(c->front->core);
	bool is_there = cat->version == c->checked_version || c->grants.n == 0 || c->user[0] == '\0';
	if (!is_there) {
		const struct auth_grant *g = c->grants.v[0];
		const struct catalog_hub *hub = catalog_hub_find(cat, span_str(g->policy_hub));
		const struct catalog_policy *p =
			g->policy_hub[0] == '\0'
				? catalog_policy_find(cat->policies, cat->n_policies, span_str(c->user))
			: hub != NULL ? catalog_policy_find(hub->policies, hub->n_policies,
							    span_str(c->user))
				      : NULL;
		/* New keys do not end connections; fewer rights do. */
		is_there = p != NULL && (g->rights & ~p->rights) == 0;
		c->checked_version = is_there ? cat->version : c->checked_version;
	}
	catalog_drop(&cat);
	return !is_there;
}

void kafka_on_sasl_authenticate(struct kafka_request *r)
{
	const struct kafka_sasl_authenticate_request *q = r->body;
	struct kafka_conn *c = r->conn;
	struct kafka_sasl_authenticate_response p = {.error_message = kafka_string_null()};
	struct err_detail d = {""};
	if (c->sasl != KAFKA_SASL_TOKENS) {
		p.error_code = KAFKA_ILLEGAL_SASL_STATE;
		p.error_message = kafka_text("SaslHandshake comes first");
		r->close_after = true;
	} else if (on_token(c, q->auth_bytes.s, &d) != ERR_OK) {
		p.error_code = KAFKA_SASL_AUTHENTICATION_FAILED;
		p.error_message =
			kafka_text(d.text[0] != '\0' ? d.text : "Authentication failed");
		r->close_after = true;
	} else if (c->expires_ms != INT64_MAX) {
		int64_t left_ms = c->expires_ms - clock_wall_ms();
		p.session_lifetime_ms = left_ms > 1 ? left_ms : 1;
	}
	kafka_answer(r, &p);
}

bool kafka_sasl_raw(struct kafka_conn *c, struct span token)
{
	struct err_detail d = {""};
	return on_token(c, token, &d) == ERR_OK;
}
