/* The management API's throughput units and limits. */

#include <inttypes.h>
#include <microhttpd.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/http/http_priv.h"
#include "gateway/http/manage_json.h"

static struct span body_of(const struct http_request *r)
{
	return span_of(r->body, r->body_len);
}

static void fail_detail(struct http_request *r, enum err e, const struct err_detail *d)
{
	http_fail(r, e, "%s", d->text[0] != '\0' ? d->text : err_text(e));
}

/* ---- units ------------------------------------------------------------------------ */

static void put_settings(struct http_request *r)
{
	const struct catalog *cat = core_catalog(r->front->core);
	const struct catalog_units *u = &cat->units;
	str_printf(&r->reply,
		   "{\"units\":%" PRIu32 ",\"base\":%" PRIu32 ",\"autoInflateMax\":%" PRIu32
		   ",\"autoDeflateAfterMs\":%" PRId64,
		   u->units, u->base, u->inflate_max, u->deflate_after_ms);
	catalog_drop(&cat);
}

static void put_use(struct http_request *r)
{
	struct core_use use;
	core_use(r->front->core, &use);
	str_printf(&r->reply,
		   ",\"use\":{\"inBytes\":%" PRIu64 ",\"inEvents\":%" PRIu64 ",\"outBytes\":%" PRIu64
		   ",\"outEvents\":%" PRIu64 "}",
		   use.rate[THROTTLE_IN].bytes, use.rate[THROTTLE_IN].events,
		   use.rate[THROTTLE_OUT].bytes, use.rate[THROTTLE_OUT].events);
}

bool http_units_show(struct http_request *r)
{
	struct throttle_scope_info *scopes = NULL;
	size_t n = 0;
	enum err e = core_scopes(r->front->core, &scopes, &n);
	if (e != ERR_OK) {
		http_fail(r, e, "%s", err_text(e));
		return true;
	}
	put_settings(r);
	put_use(r);
	str_add(&r->reply, ",\"scopes\":[");
	for (size_t i = 0; i < n; i++) {
		str_add(&r->reply, i > 0 ? "," : "");
		http_scope_put(&scopes[i], &r->reply);
	}
	str_add(&r->reply, "]}\n");
	mem_free(scopes);
	http_request_reply(r, MHD_HTTP_OK);
	return true;
}

bool http_units_set(struct http_request *r)
{
	struct err_detail d = {""};
	struct catalog_command cmd = {.op = CATALOG_UNITS_SET, .units_by = CATALOG_UNITS_BY_USER};
	enum err e = http_units_body(body_of(r), &cmd, &d);
	if (e != ERR_OK) {
		fail_detail(r, e, &d);
		return true;
	}
	return http_command(r, &cmd);
}

/* What holds now; the scopes follow within a moment. */
void http_units_done(struct http_request *r)
{
	if (http_outcome_ok(r)) {
		put_settings(r);
		str_add(&r->reply, "}\n");
		http_request_reply(r, MHD_HTTP_OK);
	}
}

/* ---- limits ------------------------------------------------------------------------ */

/* Kind and name as the path has them. False: the request has failed. */
static bool read_limit(struct http_request *r, struct catalog_limit *out)
{
	if (!http_limit_kind(r->params.v[0], &out->kind)) {
		http_fail(r, ERR_INVALID,
			  "'%.*s' is no kind of limit: hub, partition, publisher, policy or client.",
			  r->params.v[0].n > 64 ? 64 : (int)r->params.v[0].n,
			  (const char *)r->params.v[0].p);
		return false;
	}
	if (http_path_decode(r->params.v[1], out->name, sizeof out->name) != ERR_OK) {
		http_fail(r, ERR_INVALID, "The name of what is limited is malformed or too long.");
		return false;
	}
	return true;
}

bool http_limits_list(struct http_request *r)
{
	const struct catalog *cat = core_catalog(r->front->core);
	str_add(&r->reply, "{\"limits\":[");
	for (uint32_t i = 0; i < cat->n_limits; i++) {
		str_add(&r->reply, i > 0 ? "," : "");
		http_limit_put(&cat->limits[i], &r->reply);
	}
	str_add(&r->reply, "]}\n");
	catalog_drop(&cat);
	http_request_reply(r, MHD_HTTP_OK);
	return true;
}

bool http_limit_set(struct http_request *r)
{
	struct err_detail d = {""};
	struct catalog_command cmd = {.op = CATALOG_LIMIT_PUT};
	if (!read_limit(r, &cmd.limit)) {
		return true;
	}
	enum err e = http_limit_body(body_of(r), &cmd.limit, &d);
	if (e != ERR_OK) {
		fail_detail(r, e, &d);
		return true;
	}
	return http_command(r, &cmd);
}

void http_limit_done(struct http_request *r)
{
	struct catalog_limit want = {0};
	if (!http_outcome_ok(r) || !read_limit(r, &want)) {
		return;
	}
	const struct catalog *cat = core_catalog(r->front->core);
	const struct catalog_limit *now = catalog_limit_find(cat, want.kind, span_str(want.name));
	if (now != NULL) {
		http_limit_put(now, &r->reply);
		str_add(&r->reply, "\n");
		http_request_reply(r, MHD_HTTP_OK);
	} else {
		http_fail(r, ERR_NOT_FOUND, "The limit has been taken away meanwhile.");
	}
	catalog_drop(&cat);
}

bool http_limit_delete(struct http_request *r)
{
	struct catalog_command cmd = {.op = CATALOG_LIMIT_DELETE};
	return !read_limit(r, &cmd.limit) || http_command(r, &cmd);
}
