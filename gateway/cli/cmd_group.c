/* sluice group list, show, create, delete: groups of both worlds. Kafka groups
 * belong to the namespace, AMQP groups to a hub. */

#include "base/clock.h"
#include "gateway/cli/manage.h"

enum { HUB_NAMES = CLI_TABLE_CELL };

static void add_number(struct cli_table *t, const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);
	if (json_is_integer(v)) {
		cli_table_add(t, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	} else {
		cli_table_add(t, "-");
	}
}

static void hub_names(const json_t *group, char out[HUB_NAMES])
{
	size_t i;
	const json_t *hub;
	size_t n = 0;
	out[0] = '\0';
	json_array_foreach(json_object_get(group, "hubs"), i, hub) {
		int more = snprintf(out + n, HUB_NAMES - n, "%s%s", i > 0 ? "," : "",
				    json_string_value(hub));
		n += more > 0 ? (size_t)more : 0;
		n = n < HUB_NAMES ? n : HUB_NAMES - 1;
	}
}

static void show_list(const json_t *answer)
{
	static const char *const heads[] = {"NAME", "PROTOCOL", "HUBS", "STATE", "MEMBERS", "LAG"};
	struct cli_table t = {.columns = sizeof heads / sizeof *heads};
	size_t i;
	const json_t *group;
	for (size_t k = 0; k < sizeof heads / sizeof *heads; k++) {
		cli_table_add(&t, "%s", heads[k]);
	}
	json_array_foreach(cli_json_list(answer, "groups"), i, group) {
		char hubs[HUB_NAMES];
		hub_names(group, hubs);
		cli_table_add(&t, "%s", cli_json_text(group, "name"));
		cli_table_add(&t, "%s", cli_json_text(group, "protocol"));
		cli_table_add(&t, "%s", hubs);
		cli_table_add(&t, "%s", cli_json_text(group, "state"));
		add_number(&t, group, "members");
		add_number(&t, group, "lag");
	}
	cli_table_print(&t);
}

static void show_members(const json_t *answer)
{
	struct cli_table t = {.columns = 4};
	size_t i;
	const json_t *m;
	cli_table_add(&t, "MEMBER");
	cli_table_add(&t, "CLIENT");
	cli_table_add(&t, "HOST");
	cli_table_add(&t, "PARTITIONS");
	json_array_foreach(json_object_get(answer, "members"), i, m) {
		cli_table_add(&t, "%s", cli_json_text(m, "memberId"));
		cli_table_add(&t, "%s", cli_json_text(m, "clientId"));
		cli_table_add(&t, "%s", cli_json_text(m, "host"));
		cli_table_add(&t, "%zu", json_array_size(json_object_get(m, "assigned")));
	}
	cli_table_print(&t);
	(void)putchar('\n');
}

static void show_one(const json_t *answer)
{
	bool is_kafka = json_object_get(answer, "state") != NULL;
	struct cli_table t = {.columns = 6};
	size_t i;
	const json_t *p;
	if (is_kafka) {
		(void)printf("%s: %s, generation %lld, assignor %s\n\n",
			     cli_json_text(answer, "name"), cli_json_text(answer, "state"),
			     (long long)cli_json_number(answer, "generation"),
			     cli_json_text(answer, "assignor"));
		show_members(answer);
	}
	cli_table_add(&t, "HUB");
	cli_table_add(&t, "PARTITION");
	cli_table_add(&t, "POSITION");
	cli_table_add(&t, "END");
	cli_table_add(&t, "LAG");
	cli_table_add(&t, "%s", is_kafka ? "COMMITTED" : "READER");
	json_array_foreach(cli_json_list(answer, "partitions"), i, p) {
		cli_table_add(&t, "%s", cli_json_text(p, "hub"));
		add_number(&t, p, "partition");
		add_number(&t, p, "position");
		add_number(&t, p, "end");
		add_number(&t, p, "lag");
		cli_table_add(&t, "%s", cli_json_text(p, is_kafka ? "committedAt" : "reader"));
	}
	cli_table_print(&t);
}

/* NULL: no hub is given, so a Kafka group is meant. `names` says how many
 * operands are names of groups. */
static const char *hub_of(const struct cli_args *a, int names)
{
	return cli_has(a, CLI_HUB) ? a->v[CLI_HUB] : a->n > names ? a->at[0] : NULL;
}

static int call(const struct cli_args *a, const char *method, int names, cli_show_fn *show)
{
	struct str path = {0};
	const char *hub = hub_of(a, names);
	const char *group = names > 0 ? a->at[a->n - 1] : NULL;
	json_t *body = method[0] == 'P' ? json_object() : NULL;
	if (hub != NULL) {
		cli_manage_path(&path, "hubs", hub, "groups", group, NULL);
	} else {
		cli_manage_path(&path, "groups", group, NULL);
	}
	int status = path.bad ? cli_failed(a, "out of memory")
			      : cli_manage_run(a, method, path.p, body, show);
	str_fini(&path);
	json_decref(body);
	return status;
}

/* How many operands there may be: the group, and the hub unless --hub names it. */
static bool operands_are_right(const struct cli_args *a)
{
	return a->n >= 1 && a->n <= (cli_has(a, CLI_HUB) ? 1 : 2);
}

static int run_create(const struct cli_args *a)
{
	if (!operands_are_right(a) || hub_of(a, 1) == NULL) {
		return cli_wrong(a, "it needs %s", a->command->operands);
	}
	return call(a, "PUT", 1, NULL);
}

static int run_list(const struct cli_args *a)
{
	return call(a, "GET", 0, show_list);
}

static int run_show(const struct cli_args *a)
{
	return operands_are_right(a) ? call(a, "GET", 1, show_one)
				     : cli_wrong(a, "it needs %s", a->command->operands);
}

static int run_delete(const struct cli_args *a)
{
	return operands_are_right(a) ? call(a, "DELETE", 1, NULL)
				     : cli_wrong(a, "it needs %s", a->command->operands);
}

#define GROUP_OPTIONS (CLI_CONNECT | CLI_BIT(HUB) | CLI_BIT(JSON))

const struct cli_command cli_group_create = {
	.name = "group create", .operands = "H G", .most = 2,
	.summary = "Make an AMQP consumer group of a hub", .options = GROUP_OPTIONS,
	.more = "Kafka groups come into being when a client joins them.\n",
	.run = run_create,
};
const struct cli_command cli_group_list = {
	.name = "group list", .operands = "[H]", .most = 1,
	.summary = "List the consumer groups with their lag",
	.more = "All of the namespace, by Kafka and by AMQP; or only those of the hub H by AMQP.\n"
		"The lag of a Kafka group counts from what it has committed, that of an AMQP group\n"
		"from what its present readers have been given.\n",
	.options = GROUP_OPTIONS, .run = run_list,
};
const struct cli_command cli_group_show = {
	.name = "group show", .operands = "[H] G", .most = 2,
	.summary = "Show a group's members, positions and lag",
	.more = "With a hub: the AMQP consumer group G of it; without: the Kafka group G.\n",
	.options = GROUP_OPTIONS, .run = run_show,
};
const struct cli_command cli_group_delete = {
	.name = "group delete", .operands = "[H] G", .most = 2,
	.summary = "Delete a consumer group",
	.more = "With a hub: the AMQP consumer group G of it; without: the Kafka group G, which\n"
		"must have no members, and its committed offsets.\n",
	.options = GROUP_OPTIONS, .run = run_delete,
};
