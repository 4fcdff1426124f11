#include "test/unit/core/core_fix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

static void nothing(struct msg *m)
{
	(void)m;
}

void core_fix_wait(struct core_fix *f)
{
	msg_run_all(mailbox_wait(&f->reply, INT64_MAX));
}

struct command {
	struct store_command op;
	bool is_done;
};

static void on_command(struct msg *m)
{
	((struct command *)(void *)m)->is_done = true;
}

enum err core_fix_command(struct core_fix *f, const struct catalog_command *cmd)
{
	struct command *x = MEM_NEW(struct command);
	x->op.command = *cmd;
	x->op.reply_to = &f->reply;
	x->op.done = on_command;
	if (f->core != NULL) {
		core_command(f->core, &x->op);
	} else {
		store_command(f->store, &x->op);
	}
	while (!x->is_done) {
		core_fix_wait(f);
	}
	enum err e = x->op.err;
	mem_free(x);
	return e;
}

static void make_hub(struct core_fix *f, const char *name, uint32_t partitions)
{
	struct catalog_command cmd = {.op = CATALOG_HUB_CREATE, .partitions = partitions};
	snprintf(cmd.hub, sizeof cmd.hub, "%s", name);
	ck_assert_int_eq(core_fix_command(f, &cmd), ERR_OK);
}

static void make_policy(struct core_fix *f, const char *hub, const char *name, unsigned rights)
{
	struct catalog_command cmd = {.op = CATALOG_POLICY_PUT};
	snprintf(cmd.hub, sizeof cmd.hub, "%s", hub);
	snprintf(cmd.policy.name, sizeof cmd.policy.name, "%s", name);
	snprintf(cmd.policy.primary, sizeof cmd.policy.primary, "%s-key-1", name);
	snprintf(cmd.policy.secondary, sizeof cmd.policy.secondary, "%s-key-2", name);
	cmd.policy.rights = rights;
	ck_assert_int_eq(core_fix_command(f, &cmd), ERR_OK);
}

const struct core_pace core_fix_quick = {
	.poll_ns = 50 * 1000 * 1000,
	.second_ns = 100 * 1000 * 1000,
	.minute_ns = 100 * 1000 * 1000,
};

void core_fix_open_as(struct core_fix *f, const struct core_options *options,
		      const struct core_pace *pace)
{
	memset(f, 0, sizeof *f);
	log_setup(LOG_ERROR, false);
	snprintf(f->dir, sizeof f->dir, "/tmp/sluice-core.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->dir));
	mailbox_init(&f->reply, NULL, NULL);
	struct store_options o = {.dir = f->dir, .shards = 4, .node_id = 1};
	struct err_detail d = {""};
	ck_assert_msg(store_open(&o, &f->store, &d) == ERR_OK, "%s", d.text);
	make_policy(f, "", CORE_ROOT_POLICY, AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE);
	make_hub(f, "events", 4);
	make_hub(f, "a/b", 2);
	make_policy(f, "events", "sender", AUTH_SEND);
	struct catalog_command group = {.op = CATALOG_GROUP_CREATE, .hub = "events", .group = "audit"};
	ck_assert_int_eq(core_fix_command(f, &group), ERR_OK);
	struct core_options c = *options;
	c.store = f->store;
	c.host = "ns.example";
	if (pace == NULL) {
		pace = &core_usual_pace;
	}
	ck_assert_int_eq(core_new_paced(&c, pace, &f->core), ERR_OK);
}

void core_fix_open(struct core_fix *f)
{
	const struct core_options o = {
		.inflight_max_bytes = 256 << 20,
		.throttle_hold_ms = 2000,
		.throttle_delay_ms = 10000,
		.throttle_hold_bytes = 64 << 20,
	};
	core_fix_open_as(f, &o, NULL);
}

void core_fix_close(struct core_fix *f)
{
	store_close(f->store);
	core_free(&f->core);
	store_free(&f->store);
	mailbox_fini(&f->reply);
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
	ck_assert_int_eq(system(command), 0);
}

void core_fix_units(struct core_fix *f, const struct catalog_units *u)
{
	struct catalog_command cmd = {
		.op = CATALOG_UNITS_SET,
		.units_by = CATALOG_UNITS_BY_USER,
		.has_units = true,
		.has_inflate_max = true,
		.has_deflate_after = true,
		.units = *u,
	};
	ck_assert_int_eq(core_fix_command(f, &cmd), ERR_OK);
}

void core_fix_limit(struct core_fix *f, enum catalog_limit_kind kind, const char *name,
		    uint64_t in_bytes, uint64_t out_bytes)
{
	bool is_gone = in_bytes == 0 && out_bytes == 0;
	struct catalog_command cmd = {
		.op = is_gone ? CATALOG_LIMIT_DELETE : CATALOG_LIMIT_PUT,
		.limit = {.kind = kind, .in_bytes = in_bytes, .out_bytes = out_bytes},
	};
	snprintf(cmd.limit.name, sizeof cmd.limit.name, "%s", name);
	ck_assert_int_eq(core_fix_command(f, &cmd), ERR_OK);
}

static uint64_t limit_of(struct core_fix *f, enum throttle_kind kind, const char *name,
			 enum throttle_direction d)
{
	struct throttle_scope_info *v = NULL;
	size_t n = 0;
	uint64_t found = 0;
	ck_assert_int_eq(core_scopes(f->core, &v, &n), ERR_OK);
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(name);
		if (v[i].kind == kind && strncmp(v[i].name, name, len) == 0 &&
		    (v[i].name[len] == '\0' || v[i].name[len] == '/')) {
			found = v[i].limit.rate[d].bytes;
		}
	}
	mem_free(v);
	return found;
}

void core_fix_await_limit(struct core_fix *f, enum throttle_kind kind, const char *name,
			  enum throttle_direction d, uint64_t bytes)
{
	int64_t until_ns = clock_mono_ns() + INT64_C(5000000000);
	while (limit_of(f, kind, name, d) != bytes) {
		ck_assert_int_lt(clock_mono_ns(), until_ns);
		struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
		nanosleep(&pause, NULL);
	}
}

/* ---- sends that may wait ------------------------------------------------------------ */

static uint32_t came_back;

static void on_send(struct msg *m)
{
	struct core_fix_send *x = (struct core_fix_send *)(void *)m;
	x->err = core_append_done(&x->a);
	x->done_ns = clock_mono_ns();
	x->nth = ++came_back;
	x->is_done = true;
}

void core_fix_post(struct core_fix *f, struct core_sender *s, struct core_fix_send *x,
		   int64_t partition, uint32_t bytes, bool is_patient)
{
	struct batch_builder b;
	struct span value = span_str("event");
	*x = (struct core_fix_send){.a = {.bytes = bytes, .is_patient = is_patient}};
	batch_builder_init(&b, 100, LIMIT_BATCH);
	batch_builder_add(&b, &value, 1);
	ck_assert_int_eq(batch_builder_finish(&b, &x->a.op.batch), ERR_OK);
	x->a.op.batch_len = x->a.op.batch->len;
	x->a.op.events = 1;
	x->a.op.encoding = BATCH_AMQP;
	x->a.op.may_merge = true;
	x->a.op.reply_to = &f->reply;
	x->a.op.done = on_send;
	enum err e = partition < 0 ? core_append(s, &x->a)
				   : core_append_at(s, (uint32_t)partition, &x->a);
	ck_assert_int_eq(e, ERR_OK);
}

enum err core_fix_done(struct core_fix *f, struct core_fix_send *x)
{
	while (!x->is_done) {
		core_fix_wait(f);
	}
	return x->err;
}

struct core_sender *core_fix_sender(struct core_fix *f, const char *address,
				    const struct core_client *client)
{
	struct core_address a;
	struct err_detail d = {""};
	struct core_sender *s = NULL;
	ck_assert_int_eq(core_resolve(f->core, span_str(address), &a, &d), ERR_OK);
	ck_assert_int_eq(core_sender_open(f->core, &a, client, &s), ERR_OK);
	return s;
}

int64_t core_fix_append(struct core_fix *f, struct core_sender *s, const char *text, const char *key)
{
	struct batch_builder b;
	batch_builder_init(&b, 100, LIMIT_BATCH);
	struct span value = span_str(text);
	batch_builder_add(&b, &value, 1);
	struct core_append a = {0};
	struct buf *batch = NULL;
	ck_assert_int_eq(batch_builder_finish(&b, &batch), ERR_OK);
	a.op.batch_len = batch->len;
	if (key != NULL) {
		struct buf *with_key = buf_new(batch->len + strlen(key));
		memcpy(with_key->data, batch->data, batch->len);
		memcpy(with_key->data + batch->len, key, strlen(key));
		with_key->len = batch->len + (uint32_t)strlen(key);
		buf_drop(&batch);
		batch = with_key;
		a.op.key_len = (uint32_t)strlen(key);
	}
	a.op.batch = batch;
	a.op.events = 1;
	a.op.encoding = BATCH_AMQP;
	a.op.may_merge = true;
	a.op.reply_to = &f->reply;
	a.op.done = nothing;
	a.bytes = (uint32_t)strlen(text);
	ck_assert_int_eq(core_append(s, &a), ERR_OK);
	core_fix_wait(f);
	ck_assert_int_eq(core_append_done(&a), ERR_OK);
	return a.op.base_seq;
}
