/* The management API's hubs and consumer groups. */

#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "gateway/http/http_priv.h"
#include "gateway/http/json.h"
#include "gateway/http/manage_json.h"

static struct span body_of(const struct http_request *r)
{
	return span_of(r->body, r->body_len);
}

static void fail_detail(struct http_request *r, enum err e, const struct err_detail *d)
{
	http_fail(r, e, "%s", d->text[0] != '\0' ? d->text : err_text(e));
}

/* The hub that the path names, in `cat`. NULL: the request has failed. */
static const struct catalog_hub *find_hub(struct http_request *r, const struct catalog *cat)
{
	const struct catalog_hub *hub = catalog_hub_find(cat, span_str(r->hub));
	if (hub == NULL) {
		http_fail(r, ERR_NOT_FOUND, "There is no event hub '%.300s'.", r->hub);
	}
	return hub;
}

static struct catalog_command command_of(const struct http_request *r, enum catalog_op op)
{
	struct catalog_command cmd;
	memset(&cmd, 0, sizeof cmd);
	cmd.op = op;
	_Static_assert(sizeof cmd.hub == sizeof r->hub, "same bound");
	memcpy(cmd.hub, r->hub, sizeof cmd.hub);
	return cmd;
}

void http_deleted(struct http_request *r)
{
	if (http_outcome_ok(r)) {
		r->status = MHD_HTTP_NO_CONTENT;
	}
}

/* ---- hubs ---------------------------------------------------------------------- */

bool http_hub_list(struct http_request *r)
{
	const struct catalog *cat = core_catalog(r->front->core);
	str_add(&r->reply, "{\"hubs\":[");
	for (uint32_t i = 0; i < cat->n_hubs; i++) {
		str_add(&r->reply, i > 0 ? "," : "");
		http_hub_put(cat->hubs[i], &r->reply);
		str_add(&r->reply, "}");
	}
	str_add(&r->reply, "]}\n");
	catalog_drop(&cat);
	http_request_reply(r, MHD_HTTP_OK);
	return true;
}

static void put_position(struct http_request *r, uint32_t partition, const struct store_position *at)
{
	str_printf(&r->reply,
		   "%s{\"partition\":%" PRIu32 ",\"beginSequenceNumber\":%" PRId64
		   ",\"nextSequenceNumber\":%" PRId64 ",\"lastEnqueuedTime\":",
		   partition > 0 ? "," : "", partition, at->first_seq, at->next_seq);
	http_time_put(at->last_enqueued_ms, &r->reply);
	str_printf(&r->reply, ",\"bytes\":%" PRIu64 ",\"offline\":%s}", at->bytes,
		   at->is_offline ? "true" : "false");
}

/* Limits of the hub, its partitions and its publishers, of its own or of all hubs. */
static void put_limits(struct http_request *r, const struct catalog *cat,
		       const struct catalog_hub *hub)
{
	static const enum catalog_limit_kind kinds[] = {CATALOG_LIMIT_HUB, CATALOG_LIMIT_PARTITION,
							CATALOG_LIMIT_PUBLISHER};
	const char *comma = "";
	str_add(&r->reply, ",\"limits\":[");
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct catalog_limit *limit =
			catalog_limit_find(cat, kinds[i], span_str(hub->name));
		limit = limit != NULL ? limit : catalog_limit_find(cat, kinds[i], span_str("*"));
		if (limit != NULL) {
			str_add(&r->reply, comma);
			http_limit_put(limit, &r->reply);
			comma = ",";
		}
	}
	str_add(&r->reply, "]");
}

static void put_hub(struct http_request *r, int status, bool with_positions)
{
	const struct catalog *cat = core_catalog(r->front->core);
	const struct catalog_hub *hub = find_hub(r, cat);
	if (hub == NULL) {
		catalog_drop(&cat);
		return;
	}
	http_hub_put(hub, &r->reply);
	if (with_positions) {
		put_limits(r, cat, hub);
		str_add(&r->reply, ",\"partitionsInfo\":[");
		for (uint32_t i = 0; i < hub->partitions; i++) {
			struct store_position at = {0};
			/* One that is still being made has no positions yet. */
			enum err e = core_position(r->front->core, hub->id, i, &at);
			if (e != ERR_OK) {
				at = (struct store_position){.is_offline = e == ERR_OFFLINE};
			}
			put_position(r, i, &at);
		}
		str_add(&r->reply, "]");
	}
	str_add(&r->reply, "}\n");
	catalog_drop(&cat);
	http_request_reply(r, status);
}

bool http_hub_show(struct http_request *r)
{
	put_hub(r, MHD_HTTP_OK, true);
	return true;
}

bool http_hub_create(struct http_request *r)
{
	struct err_detail d = {""};
	struct catalog_command cmd = command_of(r, CATALOG_HUB_CREATE);
	cmd.partitions = HTTP_PARTITIONS_DEFAULT;
	enum err e = http_hub_body(body_of(r), &cmd, &d);
	if (e != ERR_OK) {
		fail_detail(r, e, &d);
		return true;
	}
	return http_command(r, &cmd);
}

void http_hub_created(struct http_request *r)
{
	if (http_outcome_ok(r)) {
		put_hub(r, MHD_HTTP_CREATED, false);
	}
}

bool http_hub_update(struct http_request *r)
{
	struct err_detail d = {""};
	struct catalog_command cmd = command_of(r, CATALOG_HUB_UPDATE);
	enum err e = http_hub_body(body_of(r), &cmd, &d);
	if (e != ERR_OK) {
		fail_detail(r, e, &d);
		return true;
	}
	return http_command(r, &cmd);
}

void http_hub_updated(struct http_request *r)
{
	if (http_outcome_ok(r)) {
		put_hub(r, MHD_HTTP_OK, false);
	}
}

bool http_hub_delete(struct http_request *r)
{
	struct catalog_command cmd = command_of(r, CATALOG_HUB_DELETE);
	return http_command(r, &cmd);
}

/* ---- consumer groups ---------------------------------------------------------------- */

static bool group_command(struct http_request *r, enum catalog_op op)
{
	struct catalog_command cmd = command_of(r, op);
	if (http_path_decode(r->params.v[1], cmd.group, sizeof cmd.group) != ERR_OK) {
		http_fail(r, ERR_INVALID, "The consumer group's name is malformed or too long.");
		return true;
	}
	return http_command(r, &cmd);
}

bool http_group_create(struct http_request *r)
{
	return group_command(r, CATALOG_GROUP_CREATE);
}

void http_group_created(struct http_request *r)
{
	char name[LIMIT_GROUP_NAME + 1];
	if (!http_outcome_ok(r) ||
	    http_path_decode(r->params.v[1], name, sizeof name) != ERR_OK) {
		return;
	}
	str_add(&r->reply, "{\"name\":");
	http_json_put(&r->reply, span_str(name));
	str_add(&r->reply, "}\n");
	http_request_reply(r, MHD_HTTP_CREATED);
}

bool http_group_delete(struct http_request *r)
{
	return group_command(r, CATALOG_GROUP_DELETE);
}
