/* sluice connection-string */

#include <string.h>

#include "gateway/cli/manage.h"

enum { PORT_AMQP = 5672 };

/* Asks the running server for a policy: of the hub if one is given, else of the
 * namespace. */
static enum err ask_policy(struct cli_target *t, const char *hub, const char *policy,
			   struct err_detail *d)
{
	struct str path = {0};
	json_t *answer = NULL;
	if (hub != NULL) {
		cli_manage_path(&path, "hubs", hub, "policies", policy, NULL);
	} else {
		cli_manage_path(&path, "policies", policy, NULL);
	}
	enum err e = path.bad ? ERR_NOMEM : cli_manage_call(t, "GET", path.p, NULL, &answer, d);
	str_fini(&path);
	if (e != ERR_OK) {
		return e;
	}
	const char *name = cli_json_text(answer, "name");
	const char *key = cli_json_text(answer, "primaryKey");
	key = *key != '\0' ? key : cli_json_text(answer, "primary");
	if (*name == '\0' || *key == '\0' || strlen(name) >= sizeof t->cs.key_name ||
	    strlen(key) >= sizeof t->cs.key) {
		e = err_set(d, ERR_PROTOCOL, "the server's answer lacks the policy's key");
	} else {
		(void)strcpy(t->cs.key_name, name);
		(void)strcpy(t->cs.key, key);
	}
	json_decref(answer);
	return e;
}

/* The target whose key is that of --policy, wherever the policy lives. */
static enum err find(const struct cli_args *a, struct cli_target *t, struct err_detail *d)
{
	const char *hub = a->v[CLI_HUB];
	const char *policy = a->v[CLI_POLICY];
	enum err e = cli_target_find(a, policy, t, d);
	if (e == ERR_OK && (t->from_data || policy == NULL)) {
		return e;
	}
	if (e == ERR_NOT_FOUND && policy != NULL && hub == NULL) {
		/* Made a moment ago, and not yet in the exported keys? */
		struct err_detail unused = {{0}};
		if (cli_target_find(a, NULL, t, &unused) != ERR_OK) {
			return e;
		}
		if (ask_policy(t, NULL, policy, &unused) == ERR_OK) {
			return ERR_OK;
		}
		cli_target_fini(t);
		return e;
	}
	if (e == ERR_NOT_FOUND && policy != NULL) {
		e = cli_target_find(a, NULL, t, d);	/* not a namespace's policy: the hub's */
	} else if (e == ERR_OK && strcasecmp(policy, t->cs.key_name) == 0) {
		return e;
	}
	if (e == ERR_OK) {
		e = ask_policy(t, hub, policy, d);
		if (e != ERR_OK) {
			cli_target_fini(t);
		}
	}
	return e;
}

static enum err set_emulator(struct cli_target *t, struct err_detail *d)
{
	char host[256];
	t->cs.emulator = true;
	if (!t->from_data) {
		return ERR_OK;	/* the port, if any, is the caller's */
	}
	if (!t->is_running) {
		return err_set(d, ERR_IO, "no server runs on %s, so its plain AMQP port is not known",
			       t->data);
	}
	if (*t->plain == '\0') {
		return err_set(d, ERR_INVALID,
			       "plain AMQP is off; start the server with --amqp 127.0.0.1:5672");
	}
	enum err e = cli_split_address(t->plain, host, sizeof host, &t->cs.port, d);
	t->cs.port = t->cs.port == PORT_AMQP ? 0 : t->cs.port;
	return e;
}

static int run(const struct cli_args *a)
{
	struct cli_target target;
	struct err_detail d = {{0}};
	struct str text = {0};
	enum err e = find(a, &target, &d);
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	const char *hub = NULL;
	if (cli_has(a, CLI_HUB)) {
		e = cli_target_hub(&target, a->v[CLI_HUB], &hub, &d);
		if (e == ERR_OK && strlen(hub) >= sizeof target.cs.hub) {
			e = err_set(&d, ERR_INVALID, "the hub's name is too long");
		} else if (e == ERR_OK) {
			(void)strcpy(target.cs.hub, hub);
		}
	}
	if (e == ERR_OK && cli_has(a, CLI_EMULATOR)) {
		e = set_emulator(&target, &d);
	}
	if (e == ERR_OK) {
		e = auth_connstr_print(&target.cs, &text);
	}
	cli_target_fini(&target);
	if (e != ERR_OK) {
		str_fini(&text);
		return cli_failed_err(a, e, &d);
	}
	if (cli_has(a, CLI_JSON)) {
		json_t *o = json_pack("{s:s}", "connectionString", text.p);
		(void)json_dumpf(o, stdout, JSON_COMPACT);
		(void)fputc('\n', stdout);
		json_decref(o);
	} else {
		(void)printf("%s\n", text.p);
	}
	str_fini(&text);
	return CLI_DONE;
}

const struct cli_command cli_connection_string = {
	.name = "connection-string",
	.operands = "",
	.summary = "Print a connection string",
	.more = "The key is that of --policy, looked for in the data directory, then, with --hub, among\n"
		"the hub's own policies on the running server.",
	.options = CLI_CONNECT | CLI_BIT(HUB) | CLI_BIT(POLICY) | CLI_BIT(EMULATOR) | CLI_BIT(JSON),
	.run = run,
};
