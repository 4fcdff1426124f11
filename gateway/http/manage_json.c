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
