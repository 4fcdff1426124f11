/* Catalogue changes: a command goes to the store, its request waits. */

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/http/http_priv.h"

struct command {
	struct store_command op;
	struct http_wait wait;
};

static void command_free(struct command *c)
{
	crypto_wipe(&c->op.command.policy, sizeof c->op.command.policy);
	mem_free(c);
}

static void on_done(struct msg *m)
{
	struct command *c =
		(struct command *)(void *)((char *)m - offsetof(struct command, op.msg));
	http_wait_end(&c->wait, c->op.err, c->op.detail.text);
	command_free(c);
}

bool http_command(struct http_request *r, const struct catalog_command *cmd)
{
	struct command *c = MEM_NEW(struct command);
	if (c == NULL) {
		http_fail(r, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
		return true;
	}
	c->op.reply_to = &r->front->mailbox;
	c->op.done = on_done;
	c->op.command = *cmd;
	struct core *core = r->front->core;
	int64_t deadline_ns = clock_mono_ns() + HTTP_TIMEOUT_DEFAULT_S * INT64_C(1000000000);
	http_request_drop_body(r);
	if (http_wait_begin(&c->wait, r, deadline_ns)) {
		core_command(core, &c->op);
	} else {
		command_free(c);
	}
	return false;
}
