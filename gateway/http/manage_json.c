#include "gateway/http/manage_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "auth/policy.h"
#include "base/clock.h"
#include "gateway/core/cleanup.h"
#include "gateway/http/json.h"

/* Reads one member of an object into `target`. False: its name is not known. */
typedef bool member_fn(struct http_json *j, struct span name, struct str *text, void *target);

static enum err read_object(struct span body, member_fn *fn, void *target, struct err_detail *d)
{
	struct http_json j;
	struct str name = {0};
	struct str text = {0};
	if (body.n == 0) {
		return ERR_OK;
	}
	http_json_init(&j, body, d);
	if (http_json_peek(&j) != HTTP_JSON_OBJECT) {
		http_json_fail(&j, "the body is an object");
	} else {
		http_json_enter(&j);
	}
	while (j.err == ERR_OK && http_json_member(&j, &name)) {
		if (!fn(&j, span_of(name.p, name.len), &text, target)) {
			http_json_fail(&j, "unknown member '%.*s'",
				       (int)(name.len > 64 ? 64 : name.len), name.p);
		}
	}
	enum err e = http_json_end(&j);
	str_fini(&name);
	str_fini(&text);
	return e;
}

/* A whole number from `least` to `most`. */
static int64_t read_whole(struct http_json *j, int64_t least, int64_t most)
{
	struct http_json_number n = http_json_number(j);
	if (j->err == ERR_OK && (!n.is_int || n.i < least || n.i > most)) {
		http_json_fail(j, "a whole number from %" PRId64 " to %" PRId64 " is expected here",
			       least, most);
	}
	return n.i;
}

/* ---- hubs -------------------------------------------------------------------- */

/* A bound from 1 up; 0 stands for null, no bound. */
static int64_t read_bound(struct http_json *j)
{
	if (http_json_peek(j) == HTTP_JSON_NULL) {
		(void)http_json_skip(j);
		return 0;
	}
	struct http_json_number n = http_json_number(j);
	if (j->err == ERR_OK && (!n.is_int || n.i < 1)) {
		http_json_fail(j, "a whole number from 1 up is expected here, or null for no bound");
	}
	return n.i;
}

static void read_cleanup(struct http_json *j, struct str *text, struct catalog_command *cmd)
{
	http_json_string(j, text);
	if (j->err != ERR_OK) {
		return;
	}
	enum err e = core_cleanup_parse(span_of(text->p, text->len), &cmd->cleanup);
	if (e != ERR_OK) {
		http_json_fail(j, "cleanup is \"delete\", \"compact\" or \"compact,delete\"");
	}
	cmd->has_cleanup = true;
}

static bool hub_member(struct http_json *j, struct span name, struct str *text, void *target)
{
	struct catalog_command *cmd = target;
	if (span_eq_str(name, "partitions")) {
		cmd->partitions = (uint32_t)read_whole(j, 1, LIMIT_PARTITIONS);
	} else if (span_eq_str(name, "retentionMs")) {
		cmd->has_retention = true;
		cmd->retention_ms = read_bound(j);
	} else if (span_eq_str(name, "retentionBytes")) {
		cmd->has_retention_bytes = true;
		cmd->retention_bytes = (uint64_t)read_bound(j);
	} else if (span_eq_str(name, "cleanup")) {
		read_cleanup(j, text, cmd);
	} else {
		return false;
	}
	return true;
}

enum err http_hub_body(struct span body, struct catalog_command *cmd, struct err_detail *d)
{
	return read_object(body, hub_member, cmd, d);
}

void http_time_put(int64_t ms, struct str *out)
{
	char text[CLOCK_ISO_MAX];
	if (ms == 0) {
		str_add(out, "null");
		return;
	}
	clock_iso(ms, text);
	str_printf(out, "\"%s\"", text);
}

/* A bound, or null for none. */
static void bound_put(const char *name, uint64_t v, struct str *out)
{
	if (v == 0) {
		str_printf(out, ",\"%s\":null", name);
	} else {
		str_printf(out, ",\"%s\":%" PRIu64, name, v);
	}
}

void http_hub_put(const struct catalog_hub *hub, struct str *out)
{
	str_add(out, "{\"name\":");
	http_json_put(out, span_str(hub->name));
	str_printf(out, ",\"partitions\":%" PRIu32, hub->partitions);
	bound_put("retentionMs", hub->retention_ms > 0 ? (uint64_t)hub->retention_ms : 0, out);
	bound_put("retentionBytes", hub->retention_bytes, out);
	str_printf(out, ",\"cleanup\":\"%s\",\"createdAt\":", core_cleanup_text(hub->cleanup));
	http_time_put(hub->created_ms, out);
	str_add(out, ",\"updatedAt\":");
	http_time_put(hub->updated_ms, out);
	str_add(out, ",\"groups\":[\"$Default\"");
	for (uint32_t i = 0; i < hub->n_groups; i++) {
		str_add(out, ",");
		http_json_put(out, span_str(hub->groups[i].name));
	}
	str_add(out, "]");
}

/* ---- policies ------------------------------------------------------------------ */

static void add_right(struct http_json *j, struct str *text, unsigned *rights)
{
	unsigned more = 0;
	http_json_string(j, text);
	if (j->err != ERR_OK) {
		return;
	}
	if (text->len == 0 || strlen(text->p) != text->len ||
	    auth_rights_parse(text->p, &more) != ERR_OK) {
		http_json_fail(j, "rights are \"send\", \"listen\" and \"manage\"");
	}
	*rights |= more;
}

static bool policy_member(struct http_json *j, struct span name, struct str *text, void *target)
{
	unsigned *rights = target;
	if (!span_eq_str(name, "rights")) {
		return false;
	}
	if (http_json_peek(j) != HTTP_JSON_ARRAY) {
		add_right(j, text, rights);
		return true;
	}
	http_json_enter(j);
	while (http_json_item(j)) {
		add_right(j, text, rights);
	}
	return true;
}

enum err http_policy_body(struct span body, unsigned *rights, struct err_detail *d)
{
	*rights = 0;
	enum err e = read_object(body, policy_member, rights, d);
	if (e == ERR_OK && *rights == 0) {
		return err_set(d, ERR_INVALID,
			       "rights are missing, such as {\"rights\":[\"send\",\"listen\"]}");
	}
	return e;
}

static bool rotate_member(struct http_json *j, struct span name, struct str *text, void *target)
{
	bool *secondary = target;
	if (!span_eq_str(name, "key")) {
		return false;
	}
	http_json_string(j, text);
	struct span key = span_of(text->p, text->len);
	*secondary = span_ieq_str(key, "secondary");
	if (j->err == ERR_OK && !*secondary && !span_ieq_str(key, "primary")) {
		http_json_fail(j, "key is \"primary\" or \"secondary\"");
	}
	return true;
}

enum err http_rotate_body(struct span body, bool *secondary, struct err_detail *d)
{
	*secondary = false;
	return read_object(body, rotate_member, secondary, d);
}

void http_policy_put(const struct catalog_policy *p, bool with_keys, struct str *out)
{
	static const struct {
		enum auth_right right;
		const char *name;
	} names[] = {{AUTH_SEND, "send"}, {AUTH_LISTEN, "listen"}, {AUTH_MANAGE, "manage"}};
	const char *comma = "";
	str_add(out, "{\"name\":");
	http_json_put(out, span_str(p->name));
	str_add(out, ",\"rights\":[");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if ((p->rights & names[i].right) != 0) {
			str_printf(out, "%s\"%s\"", comma, names[i].name);
			comma = ",";
		}
	}
	str_add(out, "]");
	if (with_keys) {
		str_add(out, ",\"primaryKey\":");
		http_json_put(out, span_str(p->primary));
		str_add(out, ",\"secondaryKey\":");
		http_json_put(out, span_str(p->secondary));
	}
	str_add(out, "}");
}

/* ---- units and limits ------------------------------------------------------------ */

/* A number from 0 up; null is 0. */
static uint64_t read_or_null(struct http_json *j, uint64_t most)
{
	if (http_json_peek(j) == HTTP_JSON_NULL) {
		(void)http_json_skip(j);
		return 0;
	}
	return (uint64_t)read_whole(j, 0, (int64_t)most);
}

static bool units_member(struct http_json *j, struct span name, struct str *text, void *target)
{
	struct catalog_command *cmd = target;
	(void)text;
	if (span_eq_str(name, "units")) {
		cmd->has_units = true;
		cmd->units.units = (uint32_t)read_whole(j, 0, LIMIT_UNITS);
	} else if (span_eq_str(name, "autoInflateMax")) {
		cmd->has_inflate_max = true;
		cmd->units.inflate_max = (uint32_t)read_or_null(j, LIMIT_UNITS);
	} else if (span_eq_str(name, "autoDeflateAfterMs")) {
		cmd->has_deflate_after = true;
		cmd->units.deflate_after_ms = (int64_t)read_or_null(j, HTTP_DEFLATE_AFTER_MAX_MS);
	} else {
		return false;
	}
	return true;
}

enum err http_units_body(struct span body, struct catalog_command *cmd, struct err_detail *d)
{
	enum err e = read_object(body, units_member, cmd, d);
	if (e == ERR_OK && !cmd->has_units && !cmd->has_inflate_max && !cmd->has_deflate_after) {
		return err_set(d, ERR_INVALID,
			       "there is nothing to change: units, autoInflateMax or "
			       "autoDeflateAfterMs are missing, such as {\"units\":4}");
	}
	return e;
}

struct limit_body {
	struct catalog_limit *limit;
	bool has[4];	/* inBytes, inEvents, outBytes, outEvents */
	uint32_t units;
};

static bool limit_member(struct http_json *j, struct span name, struct str *text, void *target)
{
	static const char *const names[] = {"inBytes", "inEvents", "outBytes", "outEvents"};
	struct limit_body *b = target;
	uint64_t *const values[] = {&b->limit->in_bytes, &b->limit->in_events,
				    &b->limit->out_bytes, &b->limit->out_events};
	(void)text;
	if (span_eq_str(name, "units")) {
		b->units = (uint32_t)read_whole(j, 1, LIMIT_UNITS);
		return true;
	}
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (span_eq_str(name, names[i])) {
			b->has[i] = true;
			*values[i] = read_or_null(j, HTTP_LIMIT_RATE_MAX);
			return true;
		}
	}
	return false;
}

enum err http_limit_body(struct span body, struct catalog_limit *limit, struct err_detail *d)
{
	struct limit_body b = {.limit = limit};
	enum err e = read_object(body, limit_member, &b, d);
	if (e != ERR_OK) {
		return e;
	}
	uint64_t units = b.units;
	limit->in_bytes = b.has[0] ? limit->in_bytes : units * THROTTLE_UNIT_IN_BYTES;
	limit->in_events = b.has[1] ? limit->in_events : units * THROTTLE_UNIT_IN_EVENTS;
	limit->out_bytes = b.has[2] ? limit->out_bytes : units * THROTTLE_UNIT_OUT_BYTES;
	limit->out_events = b.has[3] ? limit->out_events : units * THROTTLE_UNIT_OUT_EVENTS;
	if (limit->in_bytes == 0 && limit->in_events == 0 && limit->out_bytes == 0 &&
	    limit->out_events == 0) {
		return err_set(d, ERR_INVALID,
			       "nothing is limited: units, inBytes, inEvents, outBytes or outEvents "
			       "are missing, such as {\"units\":1}; DELETE takes a limit away");
	}
	return ERR_OK;
}

static const char *const limit_kinds[] = {
	[CATALOG_LIMIT_HUB] = "hub",
	[CATALOG_LIMIT_PARTITION] = "partition",
	[CATALOG_LIMIT_PUBLISHER] = "publisher",
	[CATALOG_LIMIT_POLICY] = "policy",
	[CATALOG_LIMIT_CLIENT] = "client",
};
enum { LIMIT_KINDS = sizeof limit_kinds / sizeof *limit_kinds };

bool http_limit_kind(struct span text, enum catalog_limit_kind *out)
{
	for (int i = CATALOG_LIMIT_HUB; i < LIMIT_KINDS; i++) {
		if (span_ieq_str(text, limit_kinds[i])) {
			*out = (enum catalog_limit_kind)i;
			return true;
		}
	}
	return false;
}

void http_limit_put(const struct catalog_limit *limit, struct str *out)
{
	str_printf(out, "{\"kind\":\"%s\",\"name\":", limit_kinds[limit->kind]);
	http_json_put(out, span_str(limit->name));
	bound_put("inBytes", limit->in_bytes, out);
	bound_put("inEvents", limit->in_events, out);
	bound_put("outBytes", limit->out_bytes, out);
	bound_put("outEvents", limit->out_events, out);
	str_add(out, "}");
}

static void put_direction(const struct throttle_scope_info *scope, enum throttle_direction d,
			  struct str *out)
{
	const struct throttle_figures *f = &scope->figures[d];
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"admittedRequests", f->admitted_requests},
		{"admittedBytes", f->admitted_bytes},
		{"admittedEvents", f->admitted_events},
		{"heldRequests", f->held_requests},
		{"refusedRequests", f->refused_requests},
		{"throttledBytes", f->throttled_bytes},
		{"throttledEvents", f->throttled_events},
		{"waitingConnections", scope->waiting_flows[d]},
		{"waitingBytes", scope->waiting_bytes[d]},
	};
	str_printf(out, ",\"%s\":{\"waitedMs\":%" PRIu64, d == THROTTLE_IN ? "in" : "out",
		   f->waited_ns / 1000000);
	bound_put("limitBytes", scope->limit.rate[d].bytes, out);
	bound_put("limitEvents", scope->limit.rate[d].events, out);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		str_printf(out, ",\"%s\":%" PRIu64, rows[i].name, rows[i].value);
	}
	str_add(out, "}");
}

void http_scope_put(const struct throttle_scope_info *scope, struct str *out)
{
	static const char *const kinds[] = {
		[THROTTLE_NAMESPACE] = "namespace", [THROTTLE_HUB] = "hub",
		[THROTTLE_PARTITION] = "partition", [THROTTLE_POLICY] = "policy",
		[THROTTLE_CLIENT] = "client",	    [THROTTLE_PUBLISHER] = "publisher",
	};
	_Static_assert(sizeof kinds / sizeof *kinds == THROTTLE_KINDS, "every kind has its name");
	str_printf(out, "{\"kind\":\"%s\",\"name\":", kinds[scope->kind]);
	http_json_put(out, span_str(scope->name));
	put_direction(scope, THROTTLE_IN, out);
	put_direction(scope, THROTTLE_OUT, out);
	str_add(out, ",\"worst\":");
	http_json_put(out, span_str(scope->worst));
	str_printf(out, ",\"worstPercent\":%" PRIu32 "}", scope->worst_percent);
}
