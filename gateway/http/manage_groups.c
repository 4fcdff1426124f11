/* Consumer groups of both worlds with their lag: Kafka groups, whose positions are
 * committed here, and AMQP groups, whose readers keep theirs themselves: of them
 * the present readers are shown, with what they were last given.
 *
 * A call is a chain of operations of the groups' coordinator; each comes back on
 * the http thread, where the answer is written piece by piece. */

#include <inttypes.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/http/http_priv.h"
#include "gateway/http/json.h"
#include "gateway/http/manage_json.h"

struct found {
	char name[LIMIT_GROUP_NAME + 1];
	char type[64];
	const char *state;
	uint32_t n_members;
};

struct call {
	struct groups_op op;	/* first: found from its message */
	struct http_wait wait;
	struct core *core;
	struct groups *groups;
	struct str out;
	struct found *found;	/* LIST */
	size_t n;
	size_t at;
	char name[LIMIT_GROUP_NAME + 1];	/* SHOW, DELETE */
	struct groups_description one;
};
_Static_assert(offsetof(struct call, op.msg) == 0, "found from its message");

static void call_free(struct call *c)
{
	mem_free(c->found);
	str_fini(&c->out);
	mem_free(c);
}

static void end(struct call *c, enum err e, const char *detail)
{
	http_wait_end_reply(&c->wait, c->out.bad && e == ERR_OK ? ERR_NOMEM : e, detail, &c->out);
	call_free(c);
}

static void submit(struct call *c, enum groups_kind kind, const char *group, msg_fn *done)
{
	struct mailbox *reply_to = &c->wait.front->mailbox;
	memset(&c->op, 0, sizeof c->op);
	c->op.kind = kind;
	c->op.reply_to = reply_to;
	c->op.done = done;
	c->op.group = span_str(group);
	groups_submit(c->groups, &c->op);
}

static struct call *call_of(struct msg *m)
{
	return (struct call *)m;
}

/* Starts the chain; what `handle` of a route returns. */
static bool begin(struct http_request *r, enum groups_kind kind, msg_fn *done)
{
	struct http_front *f = r->front;
	struct call *c = MEM_NEW(struct call);
	if (c == NULL) {
		http_fail(r, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
		return true;
	}
	if (r->params.n > 0 &&
	    http_path_decode(r->params.v[0], c->name, sizeof c->name) != ERR_OK) {
		call_free(c);
		http_fail(r, ERR_INVALID, "The consumer group's name is malformed or too long.");
		return true;
	}
	c->core = f->core;
	c->groups = f->groups;
	int64_t deadline_ns = clock_mono_ns() + HTTP_TIMEOUT_DEFAULT_S * INT64_C(1000000000);
	http_request_drop_body(r);
	if (!http_wait_begin(&c->wait, r, deadline_ns)) {
		call_free(c);
		return false;
	}
	memset(&c->op, 0, sizeof c->op);
	c->op.kind = kind;
	c->op.reply_to = &f->mailbox;
	c->op.done = done;
	c->op.group = span_str(c->name);
	if (kind == GROUPS_DESCRIBE || kind == GROUPS_DELETE) {
		c->one.group = c->op.group;
		c->op.u.describe.groups = &c->one;
		c->op.u.describe.n_groups = 1;
	}
	groups_submit(c->groups, &c->op);
	return false;
}

static enum err err_of(int16_t code)
{
	return code == GROUP_OK		    ? ERR_OK
	       : code == GROUP_NOT_FOUND    ? ERR_NOT_FOUND
	       : code == GROUP_NOT_EMPTY    ? ERR_IN_USE
	       : code == GROUP_INVALID_ID   ? ERR_INVALID
	       : code == GROUP_NOT_COORDINATOR ? ERR_STOPPING
					    : ERR_BUSY;
}

/* ---- positions ------------------------------------------------------------- */

static const char *hub_name(const struct catalog *cat, uint32_t id)
{
	const struct catalog_hub *hub = catalog_hub_by_id(cat, id);
	return hub != NULL ? hub->name : NULL;
}

/* Events between a position and the end. -1: not known. */
static int64_t lag_of(struct core *core, struct store_part part, int64_t next, int64_t *end_seq)
{
	struct store_position at = {0};
	if (core_position(core, part.hub_id, part.partition, &at) != ERR_OK) {
		*end_seq = -1;
		return -1;
	}
	*end_seq = at.next_seq;
	if (next < 0) {
		return -1;
	}
	next = next < at.first_seq ? at.first_seq : next;
	return at.next_seq > next ? at.next_seq - next : 0;
}

static void put_number_or_null(struct str *out, const char *name, int64_t v)
{
	if (v < 0) {
		str_printf(out, ",\"%s\":null", name);
	} else {
		str_printf(out, ",\"%s\":%" PRId64, name, v);
	}
}

/* ---- list -------------------------------------------------------------------- */

static void put_amqp_group(struct str *out, struct core *core, const struct catalog_hub *hub,
			   const char *name, int64_t created_ms,
			   const struct core_reader_info *readers, size_t n)
{
	int64_t lag = -1;
	unsigned here = 0;
	for (size_t i = 0; i < n; i++) {
		int64_t end_seq;
		if (readers[i].part.hub_id != hub->id || strcasecmp(readers[i].group, name) != 0) {
			continue;
		}
		int64_t one = lag_of(core, readers[i].part, readers[i].next_seq, &end_seq);
		lag = one < 0 ? lag : (lag < 0 ? 0 : lag) + one;
		here++;
	}
	str_add(out, out->p[out->len - 1] == '[' ? "{\"name\":" : ",{\"name\":");
	http_json_put(out, span_str(name));
	str_add(out, ",\"protocol\":\"amqp\",\"hubs\":[");
	http_json_put(out, span_str(hub->name));
	str_printf(out, "],\"state\":\"%s\",\"members\":%u", here > 0 ? "Active" : "Empty", here);
	put_number_or_null(out, "lag", lag);
	str_add(out, ",\"createdAt\":");
	http_time_put(created_ms, out);
	str_add(out, "}");
}

static void put_amqp_groups(struct call *c)
{
	struct core_reader_info *readers = NULL;
	size_t n = 0;
	if (core_readers_list(c->core, 0, &readers, &n) != ERR_OK) {
		c->out.bad = true;
		return;
	}
	const struct catalog *cat = core_catalog(c->core);
	for (uint32_t i = 0; i < cat->n_hubs && !c->out.bad; i++) {
		const struct catalog_hub *hub = cat->hubs[i];
		put_amqp_group(&c->out, c->core, hub, "$Default", hub->created_ms, readers, n);
		for (uint32_t k = 0; k < hub->n_groups; k++) {
			put_amqp_group(&c->out, c->core, hub, hub->groups[k].name,
				       hub->groups[k].created_ms, readers, n);
		}
	}
	catalog_drop(&cat);
	mem_free(readers);
}

static int by_partition(const void *a, const void *b)
{
	uint64_t ka = store_part_key(((const struct groups_offset *)a)->part);
	uint64_t kb = store_part_key(((const struct groups_offset *)b)->part);
	return ka < kb ? -1 : ka > kb;
}

static void sort_offsets(struct call *c)
{
	if (c->op.u.fetch.n_offsets > 1) {
		qsort(c->op.u.fetch.offsets, c->op.u.fetch.n_offsets,
		      sizeof *c->op.u.fetch.offsets, by_partition);
	}
}

/* The hubs it has offsets of, each once, and its whole lag. */
static void put_offsets_sum(struct call *c)
{
	const struct catalog *cat = core_catalog(c->core);
	int64_t lag = -1;
	uint32_t last_hub = 0;
	const char *comma = "";
	sort_offsets(c);
	str_add(&c->out, ",\"hubs\":[");
	for (uint32_t i = 0; i < c->op.u.fetch.n_offsets; i++) {
		const struct groups_offset *o = &c->op.u.fetch.offsets[i];
		int64_t end_seq;
		int64_t one = lag_of(c->core, o->part, o->offset, &end_seq);
		lag = one < 0 ? lag : (lag < 0 ? 0 : lag) + one;
		const char *hub = hub_name(cat, o->part.hub_id);
		if (hub != NULL && o->part.hub_id != last_hub) {
			str_add(&c->out, comma);
			http_json_put(&c->out, span_str(hub));
			comma = ",";
			last_hub = o->part.hub_id;
		}
	}
	str_add(&c->out, "]");
	put_number_or_null(&c->out, "lag", lag);
	catalog_drop(&cat);
}

static void on_list_offsets(struct msg *m);

static void next_of_list(struct call *c)
{
	if (c->at < c->n && !c->out.bad) {
		submit(c, GROUPS_FETCH, c->found[c->at].name, on_list_offsets);
		return;
	}
	put_amqp_groups(c);
	str_add(&c->out, "]}\n");
	end(c, ERR_OK, NULL);
}

static void on_list_offsets(struct msg *m)
{
	struct call *c = call_of(m);
	const struct found *g = &c->found[c->at];
	enum err e = err_of(c->op.code);
	if (e != ERR_OK) {
		groups_op_fini(&c->op);
		end(c, e, err_text(e));
		return;
	}
	str_add(&c->out, c->at > 0 ? ",{\"name\":" : "{\"name\":");
	http_json_put(&c->out, span_str(g->name));
	str_add(&c->out, ",\"protocol\":\"kafka\",\"protocolType\":");
	http_json_put(&c->out, span_str(g->type));
	str_printf(&c->out, ",\"state\":\"%s\",\"members\":%" PRIu32, g->state, g->n_members);
	put_offsets_sum(c);
	str_add(&c->out, "}");
	groups_op_fini(&c->op);
	c->at++;
	next_of_list(c);
}

static void on_list(struct msg *m)
{
	struct call *c = call_of(m);
	enum err e = err_of(c->op.code);
	uint32_t n = c->op.u.describe.n_groups;
	c->found = mem_calloc(n > 0 ? n : 1, sizeof *c->found);
	if (e == ERR_OK && c->found == NULL) {
		e = ERR_NOMEM;
	}
	for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
		const struct groups_description *g = &c->op.u.describe.groups[i];
		struct found *to = &c->found[c->n];
		if (span_to_cstr(g->group, to->name, sizeof to->name) != ERR_OK) {
			continue;	/* a name with a NUL byte cannot be shown */
		}
		if (span_to_cstr(g->protocol_type, to->type, sizeof to->type) != ERR_OK) {
			to->type[0] = '\0';
		}
		to->state = g->state;
		to->n_members = g->n_members;
		c->n++;
	}
	groups_op_fini(&c->op);
	if (e != ERR_OK) {
		end(c, e, err_text(e));
		return;
	}
	str_add(&c->out, "{\"groups\":[");
	next_of_list(c);
}

bool http_groups_list(struct http_request *r)
{
	return begin(r, GROUPS_LIST, on_list);
}

/* ---- show ---------------------------------------------------------------------- */

/* ConsumerProtocolAssignment: i16 version, topics: i32 n of (string, i32 n of i32). */
static void put_assignment(struct str *out, struct span assignment)
{
	struct rd r = rd_of(assignment);
	(void)rd_u16(&r);
	uint32_t topics = assignment.n > 0 ? rd_u32(&r) : 0;
	const char *comma = "";
	str_add(out, ",\"assigned\":[");
	for (uint32_t i = 0; i < topics && !r.bad; i++) {
		struct span name = rd_span(&r, rd_u16(&r));
		uint32_t n = rd_u32(&r);
		/* A member may say anything, and the name is repeated for each partition. */
		r.bad = r.bad || name.n > LIMIT_HUB_NAME;
		for (uint32_t k = 0; k < n && !r.bad; k++) {
			uint32_t partition = rd_u32(&r);
			if (!r.bad) {
				str_printf(out, "%s{\"hub\":", comma);
				http_json_put(out, name);
				str_printf(out, ",\"partition\":%" PRIu32 "}", partition);
				comma = ",";
			}
		}
	}
	str_add(out, "]");
}

static void put_member(struct str *out, const struct groups_member *m, bool is_consumer)
{
	str_add(out, "{\"memberId\":");
	http_json_put(out, m->member_id);
	if (m->instance_id.p != NULL) {
		str_add(out, ",\"instanceId\":");
		http_json_put(out, m->instance_id);
	}
	str_add(out, ",\"clientId\":");
	http_json_put(out, m->client_id);
	str_add(out, ",\"host\":");
	http_json_put(out, m->client_host);
	put_assignment(out, is_consumer ? m->assignment : span_of(NULL, 0));
	str_add(out, "}");
}

static void on_show_offsets(struct msg *m)
{
	struct call *c = call_of(m);
	enum err e = err_of(c->op.code);
	sort_offsets(c);
	const struct catalog *cat = core_catalog(c->core);
	const char *comma = "";
	for (uint32_t i = 0; i < c->op.u.fetch.n_offsets && e == ERR_OK; i++) {
		const struct groups_offset *o = &c->op.u.fetch.offsets[i];
		const char *hub = hub_name(cat, o->part.hub_id);
		int64_t end_seq;
		int64_t lag = lag_of(c->core, o->part, o->offset, &end_seq);
		if (hub == NULL) {
			continue;
		}
		str_printf(&c->out, "%s{\"hub\":", comma);
		comma = ",";
		http_json_put(&c->out, span_str(hub));
		str_printf(&c->out, ",\"partition\":%" PRIu32, o->part.partition);
		put_number_or_null(&c->out, "position", o->offset);
		put_number_or_null(&c->out, "end", end_seq);
		put_number_or_null(&c->out, "lag", lag);
		str_add(&c->out, ",\"committedAt\":");
		http_time_put(o->commit_ms, &c->out);
		str_add(&c->out, "}");
	}
	catalog_drop(&cat);
	groups_op_fini(&c->op);
	str_add(&c->out, "]}\n");
	end(c, e, err_text(e));
}

static void on_describe(struct msg *m)
{
	struct call *c = call_of(m);
	const struct groups_description *g = &c->one;
	enum err e = err_of(c->op.code != GROUP_OK ? c->op.code : g->code);
	if (e == ERR_OK && strcmp(g->state, "Dead") == 0) {
		e = ERR_NOT_FOUND;
	}
	if (e != ERR_OK) {
		groups_op_fini(&c->op);
		end(c, e, e == ERR_NOT_FOUND ? "There is no Kafka group of this name." : err_text(e));
		return;
	}
	bool is_consumer = span_eq_str(g->protocol_type, "consumer");
	str_add(&c->out, "{\"name\":");
	http_json_put(&c->out, span_str(c->name));
	str_add(&c->out, ",\"protocol\":\"kafka\",\"protocolType\":");
	http_json_put(&c->out, g->protocol_type);
	str_add(&c->out, ",\"assignor\":");
	http_json_put(&c->out, g->protocol);
	str_printf(&c->out, ",\"state\":\"%s\",\"generation\":%" PRId32 ",\"members\":[", g->state,
		   g->generation);
	for (uint32_t i = 0; i < g->n_members; i++) {
		str_add(&c->out, i > 0 ? "," : "");
		put_member(&c->out, &g->members[i], is_consumer);
	}
	str_add(&c->out, "],\"partitions\":[");
	groups_op_fini(&c->op);
	submit(c, GROUPS_FETCH, c->name, on_show_offsets);
}

bool http_groups_show(struct http_request *r)
{
	return begin(r, GROUPS_DESCRIBE, on_describe);
}

void http_groups_found(struct http_request *r)
{
	if (http_outcome_ok(r)) {
		http_request_reply(r, MHD_HTTP_OK);
	}
}

/* ---- delete ----------------------------------------------------------------------- */

static void on_delete(struct msg *m)
{
	struct call *c = call_of(m);
	enum err e = err_of(c->op.code != GROUP_OK ? c->op.code : c->one.code);
	groups_op_fini(&c->op);
	end(c, e,
	    e == ERR_NOT_FOUND ? "There is no Kafka group of this name."
	    : e == ERR_IN_USE  ? "The group has members; stop them first."
			       : err_text(e));
}

bool http_groups_delete(struct http_request *r)
{
	return begin(r, GROUPS_DELETE, on_delete);
}

/* ---- groups of a hub, by AMQP ------------------------------------------------------- */

bool http_group_list(struct http_request *r)
{
	struct core_reader_info *readers = NULL;
	size_t n = 0;
	const struct catalog *cat = core_catalog(r->front->core);
	const struct catalog_hub *hub = catalog_hub_find(cat, span_str(r->hub));
	if (hub == NULL) {
		http_fail(r, ERR_NOT_FOUND, "There is no event hub '%.300s'.", r->hub);
	} else if (core_readers_list(r->front->core, hub->id, &readers, &n) != ERR_OK) {
		http_fail(r, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	} else {
		str_add(&r->reply, "{\"groups\":[");
		put_amqp_group(&r->reply, r->front->core, hub, "$Default", hub->created_ms,
			       readers, n);
		for (uint32_t i = 0; i < hub->n_groups; i++) {
			put_amqp_group(&r->reply, r->front->core, hub, hub->groups[i].name,
				       hub->groups[i].created_ms, readers, n);
		}
		str_add(&r->reply, "]}\n");
		http_request_reply(r, MHD_HTTP_OK);
	}
	mem_free(readers);
	catalog_drop(&cat);
	return true;
}

/* ---- one group of a hub, by AMQP ---------------------------------------------------- */

static const struct core_reader_info *reader_of(const struct core_reader_info *v, size_t n,
						const char *group, uint32_t partition)
{
	for (size_t i = 0; i < n; i++) {
		if (v[i].part.partition == partition && strcasecmp(v[i].group, group) == 0) {
			return &v[i];
		}
	}
	return NULL;
}

static void put_partition(struct http_request *r, const struct catalog_hub *hub, uint32_t partition,
			  const struct core_reader_info *reader)
{
	struct store_part part = {hub->id, partition};
	int64_t end_seq;
	int64_t position = reader != NULL ? reader->next_seq : -1;
	int64_t lag = lag_of(r->front->core, part, position, &end_seq);
	str_add(&r->reply, partition > 0 ? ",{\"hub\":" : "{\"hub\":");
	http_json_put(&r->reply, span_str(hub->name));
	str_printf(&r->reply, ",\"partition\":%" PRIu32, partition);
	put_number_or_null(&r->reply, "position", position);
	put_number_or_null(&r->reply, "end", end_seq);
	put_number_or_null(&r->reply, "lag", lag);
	if (reader != NULL) {
		str_add(&r->reply, ",\"reader\":");
		http_json_put(&r->reply, span_str(reader->name));
		put_number_or_null(&r->reply, "ownerLevel", reader->has_epoch ? reader->epoch : -1);
	}
	str_add(&r->reply, "}");
}

bool http_group_show(struct http_request *r)
{
	char name[LIMIT_GROUP_NAME + 1];
	if (http_path_decode(r->params.v[1], name, sizeof name) != ERR_OK) {
		http_fail(r, ERR_INVALID, "The consumer group's name is malformed or too long.");
		return true;
	}
	const struct catalog *cat = core_catalog(r->front->core);
	const struct catalog_hub *hub = catalog_hub_find(cat, span_str(r->hub));
	struct core_reader_info *readers = NULL;
	size_t n = 0;
	if (hub == NULL || !catalog_group_exists(hub, span_str(name))) {
		http_fail(r, ERR_NOT_FOUND, "There is no consumer group '%.300s' of hub '%.300s'.",
			  name, r->hub);
	} else if (core_readers_list(r->front->core, hub->id, &readers, &n) != ERR_OK) {
		http_fail(r, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	} else {
		str_add(&r->reply, "{\"name\":");
		http_json_put(&r->reply, span_str(name));
		str_add(&r->reply, ",\"protocol\":\"amqp\",\"partitions\":[");
		for (uint32_t i = 0; i < hub->partitions; i++) {
			put_partition(r, hub, i, reader_of(readers, n, name, i));
		}
		str_add(&r->reply, "]}\n");
		http_request_reply(r, MHD_HTTP_OK);
	}
	mem_free(readers);
	catalog_drop(&cat);
	return true;
}
