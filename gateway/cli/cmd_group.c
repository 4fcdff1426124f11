/* sluice group create, list, delete */

#include "base/clock.h"
#include "gateway/cli/manage.h"

static void show_list(const json_t *answer)
{
	struct cli_table t = {.columns = 2};
	size_t i;
	json_t *group;
	cli_table_add(&t, "NAME");
	cli_table_add(&t, "CREATED");
	json_array_foreach(cli_json_list(answer, "groups"), i, group) {
		const json_t *at = json_object_get(group, "createdAt");
		const char *name = json_string_value(group);
		char iso[CLOCK_ISO_MAX];
		(void)snprintf(iso, sizeof iso, "%s", cli_json_text(group, "createdAt"));
		if (json_is_integer(at)) {
			clock_iso((int64_t)json_integer_value(at), iso);
		}
		cli_table_add(&t, "%s", name != NULL ? name : cli_json_text(group, "name"));
		cli_table_add(&t, "%s", iso);
	}
	cli_table_print(&t);
}

/* The hub is the first operand or --hub, the group the last operand. */
static int call(const struct cli_args *a, const char *method, bool has_group, cli_show_fn *show)
{
	struct str path = {0};
	int need = (has_group ? 1 : 0) + (cli_has(a, CLI_HUB) ? 0 : 1);
	if (a->n != need) {
		return cli_wrong(a, "it needs %s", a->command->operands);
	}
	const char *hub = cli_has(a, CLI_HUB) ? a->v[CLI_HUB] : a->at[0];
	json_t *body = has_group && method[0] == 'P' ? json_object() : NULL;
	cli_manage_path(&path, "hubs", hub, "groups", has_group ? a->at[a->n - 1] : NULL, NULL);
	int status = path.bad ? cli_failed(a, "out of memory")
			      : cli_manage_run(a, method, path.p, body, show);
	str_fini(&path);
	json_decref(body);
	return status;
}

static int run_create(const struct cli_args *a)
{
	return call(a, "PUT", true, NULL);
}

static int run_list(const struct cli_args *a)
{
	return call(a, "GET", false, show_list);
}

static int run_delete(const struct cli_args *a)
{
	return call(a, "DELETE", true, NULL);
}

#define GROUP_OPTIONS (CLI_CONNECT | CLI_BIT(HUB) | CLI_BIT(JSON))

const struct cli_command cli_group_create = {
	.name = "group create", .operands = "H G", .most = 2,
	.summary = "Make a consumer group of a hub", .options = GROUP_OPTIONS, .run = run_create,
};
const struct cli_command cli_group_list = {
	.name = "group list", .operands = "H", .most = 1,
	.summary = "List the consumer groups of a hub", .options = GROUP_OPTIONS, .run = run_list,
};
const struct cli_command cli_group_delete = {
	.name = "group delete", .operands = "H G", .most = 2,
	.summary = "Delete a consumer group", .options = GROUP_OPTIONS, .run = run_delete,
};
