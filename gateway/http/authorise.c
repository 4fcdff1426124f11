/* Credentials of a request: the Authorization header becomes a grant, which is
 * held against what the path names. */

#include <assert.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "auth/sas.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/http/http_priv.h"

/* ---- sessions ----------------------------------------------------------------- */

void http_session_free(struct http_session **at)
{
	struct http_session *s = *at;
	*at = NULL;
	if (s == NULL) {
		return;
	}
	core_sender_close(&s->sender);
	if (s->authorization.p != NULL) {
		crypto_wipe(s->authorization.p, s->authorization.cap);
	}
	str_fini(&s->authorization);
	str_fini(&s->target);
	mem_free(s);
}

static uint64_t catalog_version(struct core *c)
{
	const struct catalog *cat = core_catalog(c);
	uint64_t version = cat->version;
	catalog_drop(&cat);
	return version;
}

static bool holds(const struct str *s, struct span text)
{
	return span_eq(span_of(s->p, s->len), text);
}

/* The same words as last time, to the same place, and nothing has changed. */
static bool session_is_good(const struct http_session *s, struct span authorization,
			    struct span target, uint64_t version, int64_t now_ms)
{
	return s != NULL && s->sender != NULL && s->version == version && now_ms < s->expires_ms &&
	       holds(&s->target, target) && holds(&s->authorization, authorization);
}

static void keep(struct str *s, struct span text)
{
	s->len = 0;
	s->bad = false;
	str_addn(s, text.p, text.n);
}

static enum err open_sender(struct http_request *r, const struct auth_grant *grant,
			    struct http_session *s)
{
	struct core *c = r->front->core;
	struct http_peer *peer = r->peer;
	enum err e = peer->flow != NULL ? ERR_OK : core_flow_open(c, peer->origin.peer, &peer->flow);
	if (e != ERR_OK) {
		return e;
	}
	struct core_client client = {
		.flow = peer->flow,
		.policy = grant->policy,
		.policy_hub = grant->policy_hub,
	};
	return core_sender_open(c, &s->address, &client, &s->sender);
}

/* Remembers what was found good and opens the sender, on account of the grant's
 * policy. */
static void session_set(struct http_request *r, struct span authorization, struct span target,
			uint64_t version, const struct auth_grant *grant, int64_t expires_ms,
			const struct core_address *address)
{
	struct http_session *s = r->peer->session;
	if (s == NULL) {
		s = r->peer->session = MEM_NEW(struct http_session);
	}
	if (s == NULL) {
		http_fail(r, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
		return;
	}
	/* Closed after the new one is there, so that the connection keeps its place among
	 * those that wait. */
	struct core_sender *before = s->sender;
	s->sender = NULL;
	keep(&s->authorization, authorization);
	keep(&s->target, target);
	s->address = *address;
	s->expires_ms = expires_ms;
	s->version = version;
	enum err e = s->authorization.bad || s->target.bad
			     ? ERR_NOMEM
			     : open_sender(r, grant, s);
	core_sender_close(&before);
	if (e != ERR_OK) {
		http_fail(r, e, "%s", err_text(e));
	}
}

/* ---- the header ------------------------------------------------------------------ */

static bool has_scheme(const char *text, const char *scheme, const char **rest)
{
	size_t n = strlen(scheme);
	if (strncasecmp(text, scheme, n) != 0 || (text[n] != ' ' && text[n] != '\0')) {
		return false;
	}
	*rest = text + n + strspn(text + n, " ");
	return true;
}

static enum err check_basic(struct core *c, const char *base64, const char *hub, int64_t now_ms,
			    struct auth_grant *out, struct err_detail *d)
{
	uint8_t plain[LIMIT_TOKEN];
	size_t n = 0;
	enum err e = ERR_UNAUTHORIZED;
	const uint8_t *colon = NULL;
	if (crypto_base64_decode(span_str(base64), plain, sizeof plain, &n) == ERR_OK) {
		colon = memchr(plain, ':', n);
	}
	if (colon == NULL) {
		e = err_set(d, e, "MalformedToken: Basic needs the base64 of 'policy:key'.");
	} else {
		size_t user = (size_t)(colon - plain);
		e = auth_password_check(core_auth(c), span_of(plain, user),
					span_of(colon + 1, n - user - 1), hub, now_ms, out, d);
	}
	crypto_wipe(plain, sizeof plain);
	return e;
}

/* Makes the grant that an Authorization header stands for. */
static enum err check_header(struct core *c, const char *text, const char *hub, int64_t now_ms,
			     struct auth_grant *out, struct err_detail *d)
{
	const char *rest;
	if (text == NULL || text[0] == '\0') {
		return err_set(d, ERR_UNAUTHORIZED,
			       "MissingToken: The authorization header was not found.");
	}
	if (has_scheme(text, "SharedAccessSignature", &rest)) {
		return auth_sas_check(core_auth(c), span_str(text), now_ms, out, d);
	}
	if (has_scheme(text, "Basic", &rest)) {
		return check_basic(c, rest, hub, now_ms, out, d);
	}
	if (has_scheme(text, "Bearer", &rest)) {
		return err_set(d, ERR_UNAUTHORIZED,
			       "MalformedToken: Bearer tokens are not accepted here. Send a "
			       "SharedAccessSignature token, or Basic with a policy's name and key.");
	}
	return err_set(d, ERR_UNAUTHORIZED,
		       "MalformedToken: The authorization header is neither SharedAccessSignature "
		       "nor Basic.");
}

/* ---- against the path ----------------------------------------------------------------- */

static enum err check_right(struct core *c, struct auth_grant *grant, const char *path,
			    unsigned rights, int64_t now_ms, int64_t *expires_ms,
			    struct err_detail *d)
{
	struct auth_grant *one[1] = {grant};
	struct core_grants grants = {.v = one, .n = 1, .cap = 1};
	enum err first = ERR_UNAUTHORIZED;
	bool is_first = true;
	for (unsigned bit = AUTH_SEND; bit <= AUTH_MANAGE; bit <<= 1) {
		if ((rights & bit) == 0) {
			continue;
		}
		struct err_detail why = {""};
		enum err e = core_grants_check(c, &grants, path, (enum auth_right)bit, now_ms,
					       expires_ms, &why);
		if (e == ERR_OK) {
			return e;
		}
		if (is_first) {
			first = err_set(d, e, "%s", why.text);
			is_first = false;
		}
	}
	return first;
}

static void fail_with(struct http_request *r, enum err e, const struct err_detail *d)
{
	http_fail(r, e, "%s", d->text[0] != '\0' ? d->text : err_text(e));
}

static void succeed(struct http_request *r)
{
	if (!r->peer->authorised) {
		r->peer->authorised = true;
		http_conn_authorised(&r->peer->origin);
	}
}

static bool is_send_address(const struct core_address *a)
{
	return a->kind == CORE_HUB || a->kind == CORE_PARTITION || a->kind == CORE_PUBLISHER;
}

static void authorise_sender(struct http_request *r)
{
	struct core *c = r->front->core;
	const char *header = http_request_header(r, "Authorization");
	struct span target = r->params.v[0];
	uint64_t version = catalog_version(c);
	int64_t now_ms = clock_wall_ms();
	if (session_is_good(r->peer->session, span_str(header), target, version, now_ms)) {
		return;
	}
	struct core_address address;
	struct auth_grant grant;
	struct err_detail d = {""};
	struct err_detail why_not = {""};
	int64_t expires_ms = 0;
	enum err resolved = core_resolve(c, target, &address, &why_not);
	enum err e = check_header(c, header, address.hub, now_ms, &grant, &d);
	if (e == ERR_OK) {
		e = check_right(c, &grant, address.path, r->route->rights, now_ms, &expires_ms, &d);
	}
	if (e != ERR_OK) {
		fail_with(r, e, &d);
		return;
	}
	succeed(r);
	if (resolved != ERR_OK) {
		fail_with(r, resolved, &why_not);
	} else if (!is_send_address(&address)) {
		http_fail(r, ERR_NOT_FOUND, "Events are sent to a hub, a partition or a publisher.");
	} else {
		session_set(r, span_str(header), target, version, &grant, expires_ms, &address);
	}
}

/* Namespace and hub resources of the management API, and /metrics. */
static void authorise_resource(struct http_request *r)
{
	struct core *c = r->front->core;
	char path[AUTH_SCOPE_MAX] = "";
	struct auth_grant grant;
	struct err_detail d = {""};
	int64_t now_ms = clock_wall_ms();
	int64_t expires_ms;
	if (r->route->scope == HTTP_HUB &&
	    (http_path_decode(r->params.v[0], r->hub, sizeof r->hub) != ERR_OK ||
	     auth_path_normalise(r->params.v[0], path) != ERR_OK || path[0] == '\0')) {
		http_fail(r, ERR_INVALID, "The hub's name is malformed or too long.");
		return;
	}
	enum err e = check_header(c, http_request_header(r, "Authorization"), r->hub, now_ms, &grant,
				  &d);
	if (e == ERR_OK) {
		e = check_right(c, &grant, path, r->route->rights, now_ms, &expires_ms, &d);
	}
	if (e != ERR_OK) {
		fail_with(r, e, &d);
		return;
	}
	struct err_detail unused;
	r->can_manage = check_right(c, &grant, path, AUTH_MANAGE, now_ms, &expires_ms, &unused) ==
			ERR_OK;
	succeed(r);
}

void http_authorise(struct http_request *r)
{
	switch (r->route->scope) {
	case HTTP_OPEN:
		break;
	case HTTP_SENDER:
		authorise_sender(r);
		break;
	case HTTP_NAMESPACE:
	case HTTP_HUB:
		authorise_resource(r);
		break;
	}
}
