#include "test/unit/core/core_fix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

enum err core_fix_command(struct core_fix *f, const struct catalog_command *cmd)
{
	struct store_command *op = MEM_NEW(struct store_command);
	op->command = *cmd;
	op->reply_to = &f->reply;
	op->done = nothing;
	store_command(f->store, op);
	core_fix_wait(f);
	enum err e = op->err;
	mem_free(op);
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

void core_fix_open(struct core_fix *f)
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
	struct core_options c = {.store = f->store, .host = "ns.example", .inflight_max_bytes = 1 << 20};
	ck_assert_int_eq(core_new(&c, &f->core), ERR_OK);
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
