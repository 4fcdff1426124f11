/* $management: what the SDKs ask about hubs and partitions. */

#include <stdio.h>
#include <string.h>

#include "auth/sas.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/amqp/request.h"

#define NODE "$management"
#define TYPE_HUB "com.microsoft:eventhub"
#define TYPE_PARTITION "com.microsoft:partition"

enum { NUMBER_TEXT = 11 };

/* May one more be answered? If not, it says so. */
static bool is_in_time(struct amqp_conn *conn, struct amqp_reply *a, const char *entity)
{
	uint32_t wait_ms;
	struct err_detail d = {""};
	enum err e = core_manage_take(conn->front->core, &wait_ms, &d);
	if (e != ERR_OK) {
		amqp_reply_error(conn, a, NODE, err_info(e)->http_status, err_info(e)->amqp, e,
				 d.text, entity);
	}
	return e == ERR_OK;
}

static void refuse(struct amqp_conn *conn, struct amqp_reply *a, enum err e, const char *why,
		   const char *entity)
{
	metric_inc(METRIC_ERRORS_USER);
	amqp_reply_error(conn, a, NODE, err_info(e)->http_status, err_info(e)->amqp, e, why, entity);
}

/* ---- who may ask ------------------------------------------------------------- */

static bool allows(const struct auth_grant *g, const char *path, int64_t now_ms)
{
	return auth_grant_check(g, path, AUTH_LISTEN, now_ms) == ERR_OK ||
	       auth_grant_check(g, path, AUTH_SEND, now_ms) == ERR_OK ||
	       auth_grant_check(g, path, AUTH_MANAGE, now_ms) == ERR_OK;
}

/* A token inside the request: a string, or a described value holding it. */
static bool message_token(const struct amqp_request *q, struct span *out)
{
	struct amqp_value v;
	if (q->properties.type != AMQP_MAP || !amqp_map_find(&q->properties, "security_token", &v)) {
		return false;
	}
	if (v.type == AMQP_DESCRIBED) {
		/* The Python SDK: the token as descriptor, its expiry as value. */
		struct rd r = rd_of(v.descriptor);
		v = amqp_read(&r);
	}
	*out = v.data;
	return amqp_is_text(&v) || v.type == AMQP_BINARY;
}

/* Any right on the hub, by a grant of the connection or by the request's own
 * token; `management` is the path some SDKs put tokens for. */
static enum err check_access(struct amqp_conn *conn, const struct amqp_request *q, const char *hub,
			     const char *management, struct err_detail *d)
{
	int64_t now = clock_wall_ms();
	for (size_t i = 0; i < conn->grants.n; i++) {
		if (allows(conn->grants.v[i], hub, now) ||
		    allows(conn->grants.v[i], management, now)) {
			return ERR_OK;
		}
	}
	struct span token;
	if (message_token(q, &token) && token.n <= LIMIT_TOKEN) {
		struct auth_grant grant;
		enum err e = auth_sas_check(core_auth(conn->front->core), token, now, &grant, d);
		if (e != ERR_OK) {
			metric_inc(METRIC_AUTH_FAILED);
			return e;
		}
		if (allows(&grant, hub, now) || allows(&grant, management, now)) {
			return ERR_OK;
		}
	}
	int64_t expires;
	enum err e = core_grants_check(conn->front->core, &conn->grants, hub, AUTH_LISTEN, now, &expires,
				       d);
	return e != ERR_OK ? e : ERR_UNAUTHORIZED;
}

/* ---- replies ------------------------------------------------------------------- */

static void put_key(struct str *out, const char *key)
{
	amqp_put_string(out, span_str(key));
}

static void put_text(struct str *out, const char *key, const char *value)
{
	put_key(out, key);
	amqp_put_string(out, span_str(value));
}

static bool put_partition_ids(struct str *out, uint32_t n)
{
	char(*text)[NUMBER_TEXT] = mem_alloc(n * sizeof *text);
	struct span *items = mem_alloc(n * sizeof *items);
	bool ok = text != NULL && items != NULL;
	for (uint32_t i = 0; ok && i < n; i++) {
		snprintf(text[i], NUMBER_TEXT, "%u", i);
		items[i] = span_str(text[i]);
	}
	if (ok) {
		put_key(out, "partition_ids");
		amqp_put_string_array(out, items, n);
	}
	mem_free(text);
	mem_free(items);
	return ok;
}

static enum err write_hub(struct amqp_conn *conn, const struct core_address *at, struct str *out)
{
	const struct catalog *cat = core_catalog(conn->front->core);
	const struct catalog_hub *hub = catalog_hub_by_id(cat, at->hub_id);
	enum err e = hub != NULL ? ERR_OK : ERR_NOT_FOUND;
	if (e == ERR_OK) {
		size_t mark = amqp_begin_map(out);
		put_text(out, "name", hub->name);
		put_text(out, "type", TYPE_HUB);
		put_key(out, "created_at");
		amqp_put_timestamp(out, hub->created_ms);
		put_key(out, "partition_count");
		amqp_put_int(out, (int32_t)hub->partitions);
		put_key(out, "georeplication_factor");
		amqp_put_int(out, 1);	/* off */
		e = put_partition_ids(out, hub->partitions) ? ERR_OK : ERR_NOMEM;
		amqp_end(out, mark, 12);
	}
	catalog_drop(&cat);
	return e == ERR_OK && out->bad ? ERR_NOMEM : e;
}

static enum err write_partition(struct amqp_conn *conn, const struct core_address *at,
				uint32_t partition, struct str *out)
{
	struct store_position p;
	enum err e = core_position(conn->front->core, at->hub_id, partition, &p);
	if (e != ERR_OK) {
		return e;
	}
	char number[NUMBER_TEXT];
	char offset[32] = "-1";
	snprintf(number, sizeof number, "%u", partition);
	if (p.next_seq > 0) {
		core_offset_text(p.next_seq - 1, offset);
	}
	size_t mark = amqp_begin_map(out);
	put_text(out, "name", at->hub);
	put_text(out, "type", TYPE_PARTITION);
	put_text(out, "partition", number);
	put_key(out, "begin_sequence_number");
	amqp_put_long(out, p.first_seq);
	put_key(out, "last_enqueued_sequence_number");
	amqp_put_long(out, p.next_seq - 1);
	put_text(out, "last_enqueued_offset", offset);
	put_key(out, "last_enqueued_time_utc");
	amqp_put_timestamp(out, p.last_enqueued_ms);
	put_key(out, "is_partition_empty");
	amqp_put_bool(out, p.first_seq == p.next_seq);
	put_key(out, "begin_sequence_number_epoch");
	amqp_put_int(out, -1);
	put_key(out, "last_enqueued_sequence_number_epoch");
	amqp_put_int(out, -1);
	put_key(out, "runtime_info_retrieval_time_utc");
	amqp_put_timestamp(out, clock_wall_ms());
	amqp_end(out, mark, 22);
	return out->bad ? ERR_NOMEM : ERR_OK;
}

/* The partition asked for: digits, as string or number. */
static enum err read_partition(const struct amqp_request *q, uint32_t partitions, uint32_t *out,
			       struct err_detail *d)
{
	struct amqp_value v;
	int64_t n = -1;
	if (!amqp_map_find(&q->properties, "partition", &v)) {
		return err_set(d, ERR_INVALID, "The request names no partition.");
	}
	if (amqp_is_text(&v) && v.data.n > 0 && v.data.n < NUMBER_TEXT - 1) {
		n = 0;
		for (size_t i = 0; i < v.data.n && n >= 0; i++) {
			uint8_t c = v.data.p[i];
			n = c >= '0' && c <= '9' ? n * 10 + (c - '0') : -1;
		}
	} else if (!amqp_to_i64(&v, &n)) {
		n = -1;
	}
	if (n < 0 || n >= partitions) {
		return err_set(d, ERR_RANGE,
			       "The specified partition is invalid for an EventHub partition sender or "
			       "receiver. It should be between 0 and %u.",
			       partitions - 1);
	}
	*out = (uint32_t)n;
	return ERR_OK;
}

/* ---- requests -------------------------------------------------------------------- */

static enum err read_entity(struct amqp_conn *conn, const struct amqp_request *q,
			    const struct core_address *at, struct amqp_reply *a,
			    struct err_detail *d)
{
	struct span type;
	uint32_t partition = 0;
	if (!amqp_request_text(q, "type", &type)) {
		return err_set(d, ERR_INVALID, "The request names no type.");
	}
	if (span_eq_str(type, TYPE_HUB)) {
		return write_hub(conn, at, &a->body);
	}
	if (!span_eq_str(type, TYPE_PARTITION)) {
		return err_set(d, ERR_NOT_IMPLEMENTED, "The type is neither " TYPE_HUB " nor "
				TYPE_PARTITION ".");
	}
	enum err e = read_partition(q, at->partitions, &partition, d);
	return e == ERR_OK ? write_partition(conn, at, partition, &a->body) : e;
}

void amqp_management_handle(struct amqp_conn *conn, const struct amqp_request *q,
			    struct amqp_reply *a)
{
	struct span operation, name;
	struct core_address at = {.path = ""};
	struct err_detail d = {""};
	struct err_detail denied = {""};
	metric_inc(METRIC_REQUESTS_IN);
	if (!amqp_request_text(q, "name", &name)) {
		refuse(conn, a, ERR_INVALID, "The request names no event hub (application property 'name').",
		       "");
		return;
	}
	enum err e = core_resolve(conn->front->core, name, &at, &d);
	if (e == ERR_OK && at.kind != CORE_HUB) {
		e = err_set(&d, ERR_INVALID, "The name is not that of an event hub.");
	}
	char management[sizeof at.path + sizeof NODE + 1];
	snprintf(management, sizeof management, "%s/" NODE, at.path);
	enum err access = check_access(conn, q, at.path, management, &denied);
	if (access != ERR_OK) {
		refuse(conn, a, access, denied.text, at.path);
		return;
	}
	if (e == ERR_OK &&
	    (!amqp_request_text(q, "operation", &operation) || !span_eq_str(operation, "READ"))) {
		e = err_set(&d, ERR_NOT_ALLOWED, "The operation is not READ.");
	}
	if (!is_in_time(conn, a, at.path)) {
		return;
	}
	if (e == ERR_OK) {
		e = read_entity(conn, q, &at, a, &d);
	}
	if (e != ERR_OK) {
		str_fini(&a->body);
		refuse(conn, a, e, d.text, at.path);
		return;
	}
	metric_inc(METRIC_REQUESTS_OK);
	a->status = 200;
	memcpy(a->text, "OK", sizeof "OK");
}
