#include "test/unit/amqp_front/fix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/amqp/conn.h"

enum { CREDIT = 300, WAIT_MS = 5000 };

struct fix_quotas fix_quotas;

static void nothing(struct msg *m)
{
	(void)m;
}

static enum err command(struct amqp_fix *f, const struct catalog_command *cmd)
{
	struct store_command *op = MEM_NEW(struct store_command);
	op->command = *cmd;
	op->reply_to = &f->reply;
	op->done = nothing;
	store_command(f->store, op);
	msg_run_all(mailbox_wait(&f->reply, INT64_MAX));
	enum err e = op->err;
	mem_free(op);
	return e;
}

/* ---- the server --------------------------------------------------------------- */

/* amqp_protocol, but that everybody may do everything. */
static enum err on_opened(void *ctx, struct net_stream *s, void **out)
{
	struct auth_grant grant = {
		.rights = AUTH_SEND | AUTH_LISTEN,
		.expires_ms = INT64_MAX,
		.policy = "tester",
	};
	enum err e = amqp_protocol.opened(ctx, s, out);
	return e == ERR_OK ? amqp_conn_grant(*out, &grant) : e;
}

static struct net_protocol protocol;

static void open_net(struct amqp_fix *f)
{
	struct err_detail d = {""};
	protocol = amqp_protocol;
	protocol.opened = on_opened;
	struct net_options n = {.loops = 1, .max_connections = fix_quotas.max_connections};
	ck_assert_msg(net_new(&n, &f->net, &d) == ERR_OK, "%s", d.text);
	struct net_listen_options l = {
		.address = "127.0.0.1:0",
		.protocol = &protocol,
		.ctx = f->front,
	};
	ck_assert_msg(net_listen(f->net, &l, f->bound, &d) == ERR_OK, "%s", d.text);
	ck_assert_msg(net_start(f->net, &d) == ERR_OK, "%s", d.text);
}

void fix_open(struct amqp_fix *f, int64_t hold_ms)
{
	memset(f, 0, sizeof *f);
	log_setup(LOG_ERROR, false);
	snprintf(f->dir, sizeof f->dir, "/tmp/sluice-amqp.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->dir));
	mailbox_init(&f->reply, NULL, NULL);
	struct store_options o = {.dir = f->dir, .shards = 1, .node_id = 1};
	struct err_detail d = {""};
	ck_assert_msg(store_open(&o, &f->store, &d) == ERR_OK, "%s", d.text);
	struct catalog_command hub = {.op = CATALOG_HUB_CREATE, .hub = "events", .partitions = 1};
	ck_assert_int_eq(command(f, &hub), ERR_OK);
	struct core_options c = {
		.store = f->store,
		.host = "ns.example",
		.inflight_max_bytes = 64 << 20,
		.throttle_hold_ms = hold_ms,
		.throttle_delay_ms = 30000,
		.throttle_hold_bytes = 16 << 20,
		.management_rate = fix_quotas.management_rate,
	};
	ck_assert_int_eq(core_new(&c, &f->core), ERR_OK);
	struct amqp_options a = {
		.core = f->core,
		.link_credit = CREDIT,
		.idle_timeout_ms = 60000,
		.max_message_bytes = 1 << 20,
		.max_links = fix_quotas.max_links,
	};
	ck_assert_int_eq(amqp_front_new(&a, &f->front), ERR_OK);
	open_net(f);
}

void fix_close(struct amqp_fix *f, int grace_ms)
{
	net_drain(f->net, grace_ms);
	core_stop_waiting(f->core);
	store_close(f->store);
	net_stop(&f->net, 0);
	amqp_front_free(&f->front);
	ck_assert_uint_eq(budget_used(core_inflight(f->core)), 0);
	core_free(&f->core);
	store_free(&f->store);
	mailbox_fini(&f->reply);
	char remove[128];
	snprintf(remove, sizeof remove, "rm -rf '%s'", f->dir);
	ck_assert_int_eq(system(remove), 0);
}

static uint64_t limit_now(struct amqp_fix *f)
{
	struct throttle_scope_info *info = NULL;
	size_t n = 0;
	ck_assert_int_eq(core_scopes(f->core, &info, &n), ERR_OK);
	ck_assert_uint_ge(n, 1);
	uint64_t limit = info[0].limit.rate[THROTTLE_IN].bytes;
	mem_free(info);
	return limit;
}

void fix_units(struct amqp_fix *f, uint32_t units)
{
	struct catalog_command cmd = {
		.op = CATALOG_UNITS_SET,
		.units_by = CATALOG_UNITS_BY_USER,
		.has_units = true,
		.units = {.units = units},
	};
	ck_assert_int_eq(command(f, &cmd), ERR_OK);
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (limit_now(f) != (uint64_t)units * THROTTLE_UNIT_IN_BYTES) {
		ck_assert_msg(clock_mono_ms() < until, "the units are not in force");
		(void)mailbox_wait(&f->reply, clock_mono_ns() + 10000000);
	}
}

uint64_t fix_stored(struct amqp_fix *f)
{
	const struct catalog *cat = core_catalog(f->core);
	const struct catalog_hub *hub = catalog_hub_find(cat, span_str("events"));
	struct store_position at;
	ck_assert_int_eq(core_position(f->core, hub->id, 0, &at), ERR_OK);
	catalog_drop(&cat);
	return (uint64_t)at.next_seq;
}
