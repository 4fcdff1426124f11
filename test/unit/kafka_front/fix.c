#include "test/unit/kafka_front/fix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { WAIT_MS = 10000 };

uint32_t fix_management_rate;

static void run_until(struct kafka_fix *f, int64_t deadline_ms)
{
	msg_run_all(mailbox_wait(&f->loop, deadline_ms * 1000000));
}

struct waited {
	struct store_command op;
	bool is_done;
};

static void on_command(struct msg *m)
{
	((struct waited *)(void *)m)->is_done = true;
}

enum err fix_command(struct kafka_fix *f, const struct catalog_command *cmd)
{
	struct waited *w = MEM_NEW(struct waited);
	w->op.command = *cmd;
	w->op.reply_to = &f->loop;
	w->op.done = on_command;
	store_command(f->store, &w->op);
	while (!w->is_done) {
		run_until(f, INT64_MAX / 1000000);
	}
	enum err e = w->op.err;
	mem_free(w);
	return e;
}

void fix_make_hub(struct kafka_fix *f, const char *name, uint32_t partitions)
{
	struct catalog_command cmd = {.op = CATALOG_HUB_CREATE, .partitions = partitions};
	snprintf(cmd.hub, sizeof cmd.hub, "%s", name);
	ck_assert_int_eq(fix_command(f, &cmd), ERR_OK);
}

static void make_policy(struct kafka_fix *f, const char *hub, const char *name, unsigned rights)
{
	struct catalog_command cmd = {.op = CATALOG_POLICY_PUT};
	snprintf(cmd.hub, sizeof cmd.hub, "%s", hub);
	snprintf(cmd.policy.name, sizeof cmd.policy.name, "%s", name);
	snprintf(cmd.policy.primary, sizeof cmd.policy.primary, "%s-key-1", name);
	snprintf(cmd.policy.secondary, sizeof cmd.policy.secondary, "%s-key-2", name);
	cmd.policy.rights = rights;
	ck_assert_int_eq(fix_command(f, &cmd), ERR_OK);
}

/* Whether the limits that hold now include this one. */
static bool is_limited(struct kafka_fix *f, const struct throttle_limit *want)
{
	struct throttle_scope_info *v;
	size_t n;
	ck_assert_int_eq(core_scopes(f->core, &v, &n), ERR_OK);
	bool found = false;
	for (size_t i = 0; i < n; i++) {
		found |= memcmp(&v[i].limit, want, sizeof *want) == 0;
	}
	mem_free(v);
	return found;
}

void fix_limit(struct kafka_fix *f, const struct catalog_limit *limit)
{
	struct catalog_command cmd = {.op = CATALOG_LIMIT_PUT, .limit = *limit};
	ck_assert_int_eq(fix_command(f, &cmd), ERR_OK);
	struct throttle_limit want = {.rate = {{limit->in_bytes, limit->in_events},
					       {limit->out_bytes, limit->out_events}}};
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (!is_limited(f, &want)) {
		ck_assert_msg(clock_mono_ms() < until, "the limit does not hold");
		fix_run_ms(f, 10);
	}
}

uint32_t fix_hub_id(struct kafka_fix *f, const char *name)
{
	const struct catalog *cat = core_catalog(f->core);
	const struct catalog_hub *hub = catalog_hub_find(cat, span_str(name));
	ck_assert_ptr_nonnull(hub);
	uint32_t id = hub->id;
	catalog_drop(&cat);
	return id;
}

static void open_fronts(struct kafka_fix *f)
{
	struct err_detail d = {""};
	struct core_options c = {
		.store = f->store,
		.host = "ns.example",
		.inflight_max_bytes = 64 << 20,
		.throttle_hold_ms = 2000,
		.throttle_delay_ms = FIX_DELAY_MS,
		.throttle_hold_bytes = 64 << 20,
		.management_rate = fix_management_rate,
	};
	ck_assert_int_eq(core_new(&c, &f->core), ERR_OK);
	struct groups_options g = {
		.store = f->store,
		.offsets_retention_ms = INT64_C(7) * 24 * 3600 * 1000,
		.max_groups = 1000,
		.max_members = 100,
		.max_offsets = 10000,
	};
	ck_assert_msg(groups_new(&g, &f->groups, &d) == ERR_OK, "%s", d.text);
	struct kafka_options k = {
		.core = f->core,
		.groups = f->groups,
		.node_id = 1,
		.max_request_bytes = 16 << 20,
		.max_batch_bytes = 1048588,
		.max_inflated_bytes = 64 << 20,
		.max_fetch_bytes = 8 << 20,
		.segment_bytes = 256 << 20,
		.tombstone_retention_ms = 86400000,
		.idle_timeout_ms = 600000,
		.throttle_max_ms = FIX_DELAY_MS,
	};
	ck_assert_int_eq(kafka_front_new(&k, &f->front), ERR_OK);
	ck_assert_int_eq(kafka_listener_new(f->front, &f->listener), ERR_OK);
	ck_assert_int_eq(kafka_listener_advertise(f->listener, "broker.example", 9093), ERR_OK);
}

void fix_open(struct kafka_fix *f)
{
	fix_open_cache(f, 0);
}

void fix_open_cache(struct kafka_fix *f, size_t cache_bytes)
{
	memset(f, 0, sizeof *f);
	log_setup(LOG_ERROR, false);
	snprintf(f->dir, sizeof f->dir, "/tmp/sluice-kafka.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->dir));
	mailbox_init(&f->loop, NULL, NULL);
	struct store_options o = {
		.dir = f->dir,
		.shards = 4,
		.node_id = 1,
		.cache_bytes = cache_bytes,
	};
	struct err_detail d = {""};
	ck_assert_msg(store_open(&o, &f->store, &d) == ERR_OK, "%s", d.text);
	make_policy(f, "", CORE_ROOT_POLICY, AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE);
	fix_make_hub(f, "events", 4);
	fix_make_hub(f, "other", 2);
	fix_make_hub(f, "a/b", 2);
	make_policy(f, "events", "sender", AUTH_SEND);
	make_policy(f, "events", "listener", AUTH_LISTEN);
	open_fronts(f);
}

void fix_stop(struct kafka_fix *f)
{
	if (!f->is_stopped) {
		f->is_stopped = true;
		core_stop_waiting(f->core);
		core_sender_close(&f->amqp);
		groups_close(f->groups);
		store_close(f->store);
	}
}

void fix_close(struct kafka_fix *f)
{
	fix_stop(f);
	fix_run_ms(f, 0);
	kafka_front_free(&f->front);
	groups_free(&f->groups);
	core_free(&f->core);
	store_free(&f->store);
	mailbox_fini(&f->loop);
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
	ck_assert_int_eq(system(command), 0);
}

/* ---- events by AMQP -------------------------------------------------------- */

struct appended {
	struct core_append a;
	bool is_done;
};

static void on_append(struct msg *m)
{
	((struct appended *)(void *)m)->is_done = true;
}

int64_t fix_append_amqp(struct kafka_fix *f, uint32_t partition, const char *text)
{
	if (f->amqp == NULL) {
		struct core_address a;
		struct err_detail d;
		ck_assert_int_eq(core_resolve(f->core, span_str("events"), &a, &d), ERR_OK);
		ck_assert_int_eq(core_sender_open(f->core, &a, NULL, &f->amqp), ERR_OK);
	}
	uint8_t head[5] = {0x00, 0x53, 0x75, 0xa0, (uint8_t)strlen(text)};
	struct span value[2] = {span_of(head, sizeof head), span_str(text)};
	struct batch_builder b;
	batch_builder_init(&b, 100, LIMIT_BATCH);
	batch_builder_add(&b, value, 2);
	struct appended w = {.a = {.op = {.events = 1,
					  .encoding = BATCH_AMQP,
					  .may_merge = true,
					  .reply_to = &f->loop,
					  .done = on_append}}};
	ck_assert_int_eq(batch_builder_finish(&b, &w.a.op.batch), ERR_OK);
	w.a.op.batch_len = w.a.op.batch->len;
	w.a.bytes = (uint32_t)strlen(text);
	ck_assert_int_eq(core_append_at(f->amqp, partition, &w.a), ERR_OK);
	while (!w.is_done) {
		run_until(f, INT64_MAX / 1000000);
	}
	ck_assert_int_eq(core_append_done(&w.a), ERR_OK);
	return w.a.op.base_seq;
}

/* ---- connections and requests ------------------------------------------------- */

struct kafka_conn *fix_conn(struct kafka_fix *f, const char *scope, unsigned rights)
{
	struct kafka_conn *c = MEM_NEW(struct kafka_conn);
	c->magic = KAFKA_CONN_MAGIC;
	c->front = f->front;
	c->listener = f->listener;
	c->mailbox = &f->loop;
	c->outstanding = 1;	/* the test's */
	c->sasl = KAFKA_SASL_DONE;
	c->expires_ms = INT64_MAX;
	c->unauthorised_by_ms = INT64_MAX;
	snprintf(c->peer, sizeof c->peer, "127.0.0.1:5");
	snprintf(c->client_host, sizeof c->client_host, "/127.0.0.1");
	struct auth_grant g = {.rights = rights, .expires_ms = INT64_MAX};
	snprintf(g.scope, sizeof g.scope, "%s", scope);
	ck_assert_int_eq(core_grants_add(&c->grants, &g), ERR_OK);
	return c;
}

void fix_conn_close(struct kafka_fix *f, struct kafka_conn **cp)
{
	struct kafka_conn *c = *cp;
	*cp = NULL;
	while (c->first != NULL) {
		kafka_request_pop(c);
	}
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (c->outstanding > 1) {
		ck_assert_msg(clock_mono_ms() < until, "operations did not come back");
		run_until(f, clock_mono_ms() + 10);
	}
	kafka_conn_release(c);
}

struct kafka_request *fix_begin(struct kafka_conn *c, int16_t key, int16_t version,
				const void *body)
{
	return fix_begin_fault(c, key, version, body, 0);
}

struct kafka_request *fix_begin_fault(struct kafka_conn *c, int16_t key, int16_t version,
				      const void *body, long fault)
{
	const struct kafka_api *api = kafka_api_find(key);
	ck_assert_ptr_nonnull(api);
	struct str bytes = {.max = SIZE_MAX};
	struct kafka_request_header h = {
		.key = key,
		.version = version,
		.correlation = 7,
		.client_id = {.s = span_str("tester")},
	};
	kafka_header_write(&bytes, api, &h);
	struct kafka_out out = {.bytes = {.max = SIZE_MAX}};
	kafka_encode(&out, api->request, version, kafka_is_flexible(api, version), body);
	ck_assert(!out.bad);
	kafka_out_flatten(&out, &bytes);
	kafka_out_fini(&out);
	struct buf *frame = buf_new(bytes.len);
	memcpy(frame->data, bytes.p, bytes.len);
	frame->len = (uint32_t)bytes.len;
	str_fini(&bytes);
	if (fault != 0) {
		mem_fault_at(fault);
	}
	kafka_request_begin(c, frame, 0);
	return c->last;
}

void fix_wait(struct kafka_fix *f, const struct kafka_request *r)
{
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (!r->is_answered) {
		int64_t now = clock_mono_ms();
		ck_assert_msg(now < until, "%s was not answered", r->api->name);
		run_until(f, now + 10);
		/* What a tick of the stream would do. */
		struct kafka_request *due = r->conn->first;
		while (due != NULL && (due->is_answered || due->tick == NULL ||
				       due->deadline_ms > clock_mono_ms())) {
			due = due->next;
		}
		if (due != NULL) {
			due->deadline_ms = INT64_MAX;
			due->tick(due, clock_mono_ms());
		}
	}
}

void fix_run_ms(struct kafka_fix *f, int ms)
{
	int64_t until = clock_mono_ms() + ms;
	do {
		run_until(f, clock_mono_ms() + (ms > 10 ? 10 : ms));
	} while (clock_mono_ms() < until);
}

void *fix_answer(struct kafka_request *r, struct kafka_arena *arena)
{
	ck_assert(r->is_answered);
	ck_assert(!r->has_no_answer);
	ck_assert_ptr_eq(r->conn->first, r);
	struct str flat = {.max = SIZE_MAX};
	kafka_out_flatten(&r->out, &flat);
	bool is_flexible = kafka_is_flexible(r->api, r->version);
	size_t head = 8 + (is_flexible && r->api->key != 18 ? 1U : 0U);
	ck_assert_uint_eq(get_u32((const uint8_t *)flat.p), flat.len - 4);
	ck_assert_uint_eq(get_u32((const uint8_t *)flat.p + 4), 7);
	arena->max = SIZE_MAX;
	struct span body = kafka_arena_copy(arena, span_of(flat.p + head, flat.len - head));
	void *out = kafka_arena_alloc(arena, kafka_struct_size(r->api->response));
	struct err_detail d = {""};
	enum err e = kafka_decode(r->api->response, r->version, is_flexible, body, arena, out, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	str_fini(&flat);
	kafka_request_pop(r->conn);
	return out;
}

void *fix_call(struct kafka_fix *f, struct kafka_conn *c, int16_t key, int16_t version,
	       const void *body, struct kafka_arena *arena)
{
	struct kafka_request *r = fix_begin(c, key, version, body);
	fix_wait(f, r);
	return fix_answer(r, arena);
}

/* ---- batches ------------------------------------------------------------------- */

struct span fix_batch(struct kafka_arena *arena, const char *text, int32_t n, int64_t timestamp,
		      int64_t pid, int16_t epoch, int32_t first_sequence)
{
	struct batch_builder b;
	batch_builder_init(&b, 1024, 8 << 20);
	for (int32_t i = 0; i < n; i++) {
		char value[64];
		snprintf(value, sizeof value, "%s%d", text, i);
		struct span v = span_str(value);
		batch_builder_add(&b, &v, 1);
	}
	struct buf *buf = NULL;
	ck_assert_int_eq(batch_builder_finish(&b, &buf), ERR_OK);
	batch_place(buf->data, 0);
	put_u64(buf->data + 43, (uint64_t)pid);
	put_u16(buf->data + 51, (uint16_t)epoch);
	put_u32(buf->data + 53, (uint32_t)first_sequence);
	batch_seal(buf->data, buf->len, timestamp);
	struct span out = kafka_arena_copy(arena, span_of(buf->data, buf->len));
	buf_drop(&buf);
	return out;
}
