/* sluice policy create, list, show, rotate, delete */

#include <string.h>

#include "auth/policy.h"
#include "gateway/cli/manage.h"

/* "send,listen" from the list of rights. */
static const char *rights_text(const json_t *policy, struct str *out)
{
	const json_t *rights = json_object_get(policy, "rights");
	size_t i;
	json_t *right;
	if (json_is_string(rights)) {
		return json_string_value(rights);
	}
	json_array_foreach(rights, i, right) {
		const char *name = json_string_value(right);
		str_printf(out, "%s%s", i > 0 ? "," : "", name != NULL ? name : "");
	}
	return out->len > 0 ? out->p : "";
}

static void show_list(const json_t *answer)
{
	struct cli_table t = {.columns = 2};
	size_t i;
	json_t *policy;
	cli_table_add(&t, "NAME");
	cli_table_add(&t, "RIGHTS");
	json_array_foreach(cli_json_list(answer, "policies"), i, policy) {
		struct str rights = {0};
		cli_table_add(&t, "%s", cli_json_text(policy, "name"));
		cli_table_add(&t, "%s", rights_text(policy, &rights));
		str_fini(&rights);
	}
	cli_table_print(&t);
}

static const char *key_text(const json_t *policy, const char *name, const char *other)
{
	const char *text = cli_json_text(policy, name);
	return *text != '\0' ? text : cli_json_text(policy, other);
}

static void show_one(const json_t *policy)
{
	struct cli_table t = {.columns = 2};
	struct str rights = {0};
	cli_table_add(&t, "name");
	cli_table_add(&t, "%s", cli_json_text(policy, "name"));
	cli_table_add(&t, "rights");
	cli_table_add(&t, "%s", rights_text(policy, &rights));
	cli_table_add(&t, "primary");
	cli_table_add(&t, "%s", key_text(policy, "primaryKey", "primary"));
	cli_table_add(&t, "secondary");
	cli_table_add(&t, "%s", key_text(policy, "secondaryKey", "secondary"));
	cli_table_print(&t);
	str_fini(&rights);
}

/* With --hub the hub's policies, else the namespace's. */
static int call(const struct cli_args *a, const char *method, const char *verb,
		const json_t *body, cli_show_fn *show)
{
	struct str path = {0};
	const char *name = a->n > 0 ? a->at[0] : NULL;
	if (cli_has(a, CLI_HUB)) {
		cli_manage_path(&path, "hubs", a->v[CLI_HUB], "policies", name, verb, NULL);
	} else {
		cli_manage_path(&path, "policies", name, verb, NULL);
	}
	int status = path.bad ? cli_failed(a, "out of memory")
			      : cli_manage_run(a, method, path.p, body, show);
	str_fini(&path);
	return status;
}

static int run_create(const struct cli_args *a)
{
	static const struct {
		enum auth_right right;
		const char *name;
	} names[] = {{AUTH_SEND, "send"}, {AUTH_LISTEN, "listen"}, {AUTH_MANAGE, "manage"}};
	unsigned rights;
	if (!cli_has(a, CLI_RIGHTS) || auth_rights_parse(a->v[CLI_RIGHTS], &rights) != ERR_OK) {
		return cli_wrong(a, "--rights needs any of send,listen,manage");
	}
	json_t *list = json_array();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if ((rights & names[i].right) != 0) {
			(void)json_array_append_new(list, json_string(names[i].name));
		}
	}
	json_t *body = json_pack("{s:o}", "rights", list);
	int status = call(a, "PUT", NULL, body, show_one);
	json_decref(body);
	return status;
}

static int run_list(const struct cli_args *a)
{
	return call(a, "GET", NULL, NULL, show_list);
}

static int run_show(const struct cli_args *a)
{
	return call(a, "GET", NULL, NULL, show_one);
}

static int run_rotate(const struct cli_args *a)
{
	const char *which;
	struct err_detail d = {{0}};
	if (cli_choice(a, CLI_WHICH_KEY, "primary", &which, &d) != ERR_OK) {
		return cli_wrong(a, "%s", d.text);
	}
	json_t *body = json_pack("{s:s}", "key", which);
	int status = call(a, "POST", "rotate", body, show_one);
	json_decref(body);
	return status;
}

static int run_delete(const struct cli_args *a)
{
	return call(a, "DELETE", NULL, NULL, NULL);
}

#define POLICY_OPTIONS (CLI_CONNECT | CLI_BIT(HUB) | CLI_BIT(JSON))

const struct cli_command cli_policy_create = {
	.name = "policy create", .operands = "P", .least = 1, .most = 1,
	.summary = "Make a shared access policy of the namespace or of --hub",
	.options = POLICY_OPTIONS | CLI_BIT(RIGHTS), .run = run_create,
};
const struct cli_command cli_policy_list = {
	.name = "policy list", .operands = "", .summary = "List the policies",
	.options = POLICY_OPTIONS, .run = run_list,
};
const struct cli_command cli_policy_show = {
	.name = "policy show", .operands = "P", .least = 1, .most = 1,
	.summary = "Show a policy and its keys", .options = POLICY_OPTIONS, .run = run_show,
};
const struct cli_command cli_policy_rotate = {
	.name = "policy rotate", .operands = "P", .least = 1, .most = 1,
	.summary = "Make one of a policy's keys anew",
	.options = POLICY_OPTIONS | CLI_BIT(WHICH_KEY), .run = run_rotate,
};
const struct cli_command cli_policy_delete = {
	.name = "policy delete", .operands = "P", .least = 1, .most = 1,
	.summary = "Delete a policy", .options = POLICY_OPTIONS, .run = run_delete,
};
