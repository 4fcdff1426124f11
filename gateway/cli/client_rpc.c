/* Requests to nodes that answer: put-token on $cbs, READ on $management. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "auth/sas.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "gateway/cli/client_priv.h"

enum { RPC_CREDIT = 16, STATUS_OK_FIRST = 200, STATUS_OK_LAST = 299, STATUS_BUSY = 503 };

/* Sections of a message that a reply can have. */
struct reply {
	struct amqp_value properties[6];
	struct amqp_value application;	/* map */
	struct span body;
};

static void read_reply(struct span message, struct reply *out)
{
	struct rd r = rd_of(message);
	*out = (struct reply){0};
	while (rd_left(&r) > 0) {
		struct amqp_value section = amqp_read(&r);
		if (r.bad) {
			return;
		}
		switch (amqp_descriptor_code(&section)) {
		case AMQP_PROPERTIES:
			(void)cli_list_read(&section, out->properties, 6);
			break;
		case AMQP_APPLICATION_PROPERTIES: {
			struct rd inner = rd_of(section.described);
			out->application = amqp_read(&inner);
			break;
		}
		case AMQP_AMQP_VALUE:
			out->body = section.described;
			break;
		default:
			break;
		}
	}
}

static void on_reply(void *arg, struct span message)
{
	struct cli_rpc *rpc = arg;
	struct reply reply;
	struct amqp_value v;
	int64_t id;
	read_reply(message, &reply);
	if (!rpc->waiting || !amqp_to_i64(&reply.properties[5], &id) ||
	    (uint64_t)id != rpc->waiting_id) {
		return;
	}
	rpc->status = 0;
	if (reply.application.type == AMQP_MAP) {
		if (amqp_map_find(&reply.application, "status-code", &v)) {
			(void)amqp_to_i64(&v, &rpc->status);
		}
		rpc->text[0] = '\0';
		if (amqp_map_find(&reply.application, "status-description", &v) &&
		    amqp_is_text(&v)) {
			size_t n = v.data.n < sizeof rpc->text - 1 ? v.data.n : sizeof rpc->text - 1;
			memcpy(rpc->text, v.data.p, n);
			rpc->text[n] = '\0';
		}
	}
	rpc->body.len = 0;
	str_addn(&rpc->body, reply.body.p, reply.body.n);
	rpc->waiting = false;
	rpc->replied = true;
}

static enum err open_rpc(struct cli_client *c, struct cli_rpc *rpc, const char *node,
			 struct err_detail *d)
{
	struct cli_attach sender = {.name = "request", .source = "sluice", .target = node};
	struct cli_attach receiver = {
		.name = "reply", .receiver = true, .source = node, .target = "sluice-reply"};
	struct cli_link_events events = {.message = on_reply, .arg = rpc};
	if (rpc->sender != NULL) {
		return ERR_OK;
	}
	enum err e = cli_link_new(c, &sender, 0, NULL, &rpc->sender);
	if (e == ERR_OK) {
		e = cli_link_new(c, &receiver, RPC_CREDIT, &events, &rpc->receiver);
	}
	if (e != ERR_OK) {
		return err_set(d, e, "%s", err_text(e));
	}
	e = cli_link_wait(rpc->sender, d);
	return e == ERR_OK ? cli_link_wait(rpc->receiver, d) : e;
}

static void put_pair(struct str *s, const char *key, const char *value)
{
	amqp_put_string(s, span_str(key));
	amqp_put_string(s, span_str(value));
}

/* Queues a request; on_reply answers it. ERR_AGAIN: no credit. */
static enum err send_request(struct cli_rpc *rpc, const char *node, const char *const *pairs,
			     uint32_t n_pairs, const char *body, struct err_detail *d)
{
	struct str s = {0};
	uint32_t id;
	amqp_put_descriptor(&s, AMQP_PROPERTIES);
	size_t list = amqp_begin_list(&s);
	amqp_put_ulong(&s, rpc->next_id);
	amqp_put_null(&s);
	amqp_put_string(&s, span_str(node));
	amqp_put_null(&s);
	amqp_put_string(&s, span_str("sluice-reply"));
	amqp_end(&s, list, 5);
	amqp_put_descriptor(&s, AMQP_APPLICATION_PROPERTIES);
	size_t map = amqp_begin_map(&s);
	for (uint32_t i = 0; i < n_pairs; i++) {
		put_pair(&s, pairs[2 * i], pairs[2 * i + 1]);
	}
	amqp_end(&s, map, 2 * n_pairs);
	amqp_put_descriptor(&s, AMQP_AMQP_VALUE);
	amqp_put_string(&s, span_str(body));
	enum err e = s.bad ? err_set(d, ERR_NOMEM, "out of memory")
			   : cli_link_send(rpc->sender, CLI_FORMAT_PLAIN, span_of(s.p, s.len), &id, d);
	if (e == ERR_OK) {
		rpc->waiting_id = rpc->next_id++;
		rpc->waiting = true;
		rpc->replied = false;
	}
	if (s.p != NULL) {
		crypto_wipe(s.p, s.len);	/* it may hold a token */
	}
	str_fini(&s);
	return e;
}

/* A status outside 2xx as an error with its text. */
static enum err reply_error(const struct cli_rpc *rpc, struct err_detail *d)
{
	enum err e = rpc->status == 401	  ? ERR_UNAUTHORIZED
		     : rpc->status == 404 ? ERR_NOT_FOUND
		     : rpc->status == STATUS_BUSY ? ERR_BUSY
					  : ERR_INVALID;
	if (rpc->status >= STATUS_OK_FIRST && rpc->status <= STATUS_OK_LAST) {
		return ERR_OK;
	}
	return err_set(d, e, "%s (status %" PRId64 ")",
		       rpc->text[0] != '\0' ? rpc->text : "refused", rpc->status);
}

static enum err call_once(struct cli_client *c, struct cli_rpc *rpc, const char *node,
			  const char *const *pairs, uint32_t n_pairs, struct err_detail *d)
{
	enum err e = open_rpc(c, rpc, node, d);
	if (e == ERR_OK) {
		e = send_request(rpc, node, pairs, n_pairs, "", d);
	}
	if (e == ERR_AGAIN) {
		e = err_set(d, ERR_BUSY, "the server grants no credit for %s", node);
	}
	if (e == ERR_OK) {
		e = cli_client_wait(c, &rpc->replied, node, d);
	}
	return e == ERR_OK ? reply_error(rpc, d) : e;
}

static enum err sleep_pumping(struct cli_client *c, int64_t until_ms, struct err_detail *d)
{
	enum err e = ERR_OK;
	for (int64_t left; e == ERR_OK && (left = until_ms - clock_mono_ms()) > 0;) {
		e = cli_client_pump(c, (int)left, d);
	}
	return e;
}

/* Comes again while the server has no room for the call for a moment, within the
 * client's time-out. */
static enum err call(struct cli_client *c, struct cli_rpc *rpc, const char *node,
		     const char *const *pairs, uint32_t n_pairs, struct err_detail *d)
{
	int64_t end_ms = clock_mono_ms() + c->timeout_ms;
	for (;;) {
		rpc->status = 0;
		enum err e = call_once(c, rpc, node, pairs, n_pairs, d);
		int64_t again_ms = clock_mono_ms() + cli_busy_wait_ms(rpc->text);
		if (e != ERR_BUSY || rpc->status != STATUS_BUSY || again_ms > end_ms) {
			return e;
		}
		e = sleep_pumping(c, again_ms, d);
		if (e != ERR_OK) {
			return e;
		}
	}
}

/* ---- $cbs ------------------------------------------------------------------------- */

static enum err make_token(struct cli_client *c, struct str *out, struct err_detail *d)
{
	if (c->token != NULL) {
		str_add(out, c->token);
		return out->bad ? ERR_NOMEM : ERR_OK;
	}
	if (c->key_name == NULL || c->key == NULL) {
		return err_set(d, ERR_INVALID, "the connection string has no key");
	}
	int64_t expires = (clock_wall_ms() + CLI_TOKEN_MS) / 1000;
	enum err e = auth_sas_make(c->resource, c->key_name, c->key, expires, out);
	return e == ERR_OK ? ERR_OK : err_set(d, e, "the token cannot be made: %s", err_text(e));
}

static enum err put_token(struct cli_client *c, struct err_detail *d)
{
	struct str token = {0};
	enum err e = make_token(c, &token, d);
	if (e == ERR_OK) {
		const char *pairs[] = {"operation", "put-token",
				       "type",	    "servicebus.windows.net:sastoken",
				       "name",	    c->resource};
		e = send_request(&c->cbs, "$cbs", pairs, 3, token.p, d);
	}
	if (token.p != NULL) {
		crypto_wipe(token.p, token.len);
	}
	str_fini(&token);
	if (c->token == NULL) {
		c->renew_at_ms = clock_mono_ms() + CLI_TOKEN_MS / 4 * 3;
	}
	return e;
}

enum err cli_client_authorise(struct cli_client *c, struct err_detail *d)
{
	enum err e = open_rpc(c, &c->cbs, "$cbs", d);
	if (e == ERR_OK) {
		e = put_token(c, d);
	}
	if (e == ERR_OK) {
		e = cli_client_wait(c, &c->cbs.replied, "the token", d);
	}
	return e == ERR_OK ? reply_error(&c->cbs, d) : e;
}

void cli_client_renew(struct cli_client *c)
{
	struct err_detail d = {{0}};
	if (c->err == ERR_OK && clock_mono_ms() >= c->renew_at_ms) {
		enum err e = put_token(c, &d);
		if (e != ERR_OK && e != ERR_AGAIN) {
			cli_client_fail(c, e, "renewing the token: %s", d.text);
		}
	}
}

/* ---- $management ------------------------------------------------------------------- */

/* Reads the reply's map. */
static enum err reply_map(struct cli_client *c, struct amqp_value *out, struct err_detail *d)
{
	struct rd r = rd_of(span_of(c->management.body.p, c->management.body.len));
	if (c->management.body.len > 0) {
		*out = amqp_read(&r);
	}
	if (c->management.body.len == 0 || r.bad || out->type != AMQP_MAP) {
		return err_set(d, ERR_PROTOCOL, "the server's answer on $management is malformed");
	}
	return ERR_OK;
}

static bool find_number(const struct amqp_value *map, const char *key, int64_t *out)
{
	struct amqp_value v;
	return amqp_map_find(map, key, &v) && amqp_to_i64(&v, out);
}

enum err cli_client_read_hub(struct cli_client *c, const char *hub, struct cli_hub_facts *out,
			     struct err_detail *d)
{
	const char *pairs[] = {"operation", "READ", "name", hub, "type", "com.microsoft:eventhub"};
	struct amqp_value map;
	struct amqp_value ids;
	enum err e = call(c, &c->management, "$management", pairs, 3, d);
	if (e == ERR_OK) {
		e = reply_map(c, &map, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (!amqp_map_find(&map, "partition_ids", &ids) ||
	    (ids.type != AMQP_ARRAY && ids.type != AMQP_LIST)) {
		return err_set(d, ERR_PROTOCOL, "the server did not name the hub's partitions");
	}
	out->partitions = ids.count;
	return ERR_OK;
}

enum err cli_client_read_partition(struct cli_client *c, const char *hub, uint32_t partition,
				   struct cli_partition_facts *out, struct err_detail *d)
{
	char id[16];
	(void)snprintf(id, sizeof id, "%u", partition);
	const char *pairs[] = {"operation", "READ", "name", hub, "type",
			       "com.microsoft:partition", "partition", id};
	struct amqp_value map;
	struct amqp_value v;
	enum err e = call(c, &c->management, "$management", pairs, 4, d);
	if (e == ERR_OK) {
		e = reply_map(c, &map, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (!find_number(&map, "begin_sequence_number", &out->begin_sequence) ||
	    !find_number(&map, "last_enqueued_sequence_number", &out->last_sequence) ||
	    !find_number(&map, "last_enqueued_time_utc", &out->last_enqueued_ms) ||
	    !amqp_map_find(&map, "is_partition_empty", &v)) {
		return err_set(d, ERR_PROTOCOL, "the server's facts of partition %u lack a field",
			       partition);
	}
	out->is_empty = cli_value_true(&v);
	return ERR_OK;
}
