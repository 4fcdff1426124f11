/* sluice hub create, list, show, update, delete */

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "gateway/cli/manage.h"
#include "gateway/cli/units_view.h"
#include "gateway/units.h"

static const char *created(const json_t *object, char out[CLOCK_ISO_MAX])
{
	const json_t *v = json_object_get(object, "createdAt");
	if (json_is_integer(v)) {
		clock_iso((int64_t)json_integer_value(v), out);
	} else {
		(void)snprintf(out, CLOCK_ISO_MAX, "%s", cli_json_text(object, "createdAt"));
	}
	return out;
}

/* "7d", "for ever". */
static const char *retention(const json_t *hub, char out[UNITS_TEXT])
{
	int64_t ms = cli_json_number(hub, "retentionMs");
	if (ms <= 0) {
		return "for ever";
	}
	units_ms_text((uint64_t)ms, out);
	return out;
}

static const char *retention_bytes(const json_t *hub, char out[UNITS_TEXT])
{
	int64_t bytes = cli_json_number(hub, "retentionBytes");
	if (bytes <= 0) {
		return "no bound";
	}
	units_size_text((uint64_t)bytes, out);
	return out;
}

static void show_list(const json_t *answer)
{
	struct cli_table t = {.columns = 7};
	char iso[CLOCK_ISO_MAX];
	char text[UNITS_TEXT];
	size_t i;
	json_t *hub;
	cli_table_add(&t, "NAME");
	cli_table_add(&t, "PARTITIONS");
	cli_table_add(&t, "CLEANUP");
	cli_table_add(&t, "RETENTION");
	cli_table_add(&t, "RETENTION BYTES");
	cli_table_add(&t, "GROUPS");
	cli_table_add(&t, "CREATED");
	json_array_foreach(cli_json_list(answer, "hubs"), i, hub) {
		cli_table_add(&t, "%s", cli_json_text(hub, "name"));
		cli_table_add(&t, "%" PRId64, cli_json_number(hub, "partitions"));
		cli_table_add(&t, "%s", cli_json_text(hub, "cleanup"));
		cli_table_add(&t, "%s", retention(hub, text));
		cli_table_add(&t, "%s", retention_bytes(hub, text));
		cli_table_add(&t, "%zu", json_array_size(json_object_get(hub, "groups")));
		cli_table_add(&t, "%s", created(hub, iso));
	}
	cli_table_print(&t);
}

static void show_partitions(const json_t *hub)
{
	struct cli_table t = {.columns = 5};
	size_t i;
	json_t *p;
	const json_t *list = json_object_get(hub, "partitionsInfo");
	if (json_array_size(list) == 0) {
		return;
	}
	cli_table_add(&t, "PARTITION");
	cli_table_add(&t, "FIRST");
	cli_table_add(&t, "NEXT");
	cli_table_add(&t, "SIZE");
	cli_table_add(&t, "LAST ENQUEUED");
	json_array_foreach(list, i, p) {
		char size[UNITS_TEXT];
		units_size_text((uint64_t)cli_json_number(p, "bytes"), size);
		cli_table_add(&t, "%" PRId64, cli_json_number(p, "partition"));
		if (json_is_true(json_object_get(p, "offline"))) {
			cli_table_add(&t, "offline");
			cli_table_add(&t, "-");
			cli_table_add(&t, "-");
			cli_table_add(&t, "-");
			continue;
		}
		cli_table_add(&t, "%" PRId64, cli_json_number(p, "beginSequenceNumber"));
		cli_table_add(&t, "%" PRId64, cli_json_number(p, "nextSequenceNumber"));
		cli_table_add(&t, "%s", size);
		cli_table_add(&t, "%s", cli_json_text(p, "lastEnqueuedTime"));
	}
	(void)printf("\n");
	cli_table_print(&t);
}

static void show_one(const json_t *hub)
{
	struct cli_table t = {.columns = 2};
	char iso[CLOCK_ISO_MAX];
	char text[UNITS_TEXT];
	size_t i;
	json_t *group;
	json_t *limit;
	cli_table_add(&t, "name");
	cli_table_add(&t, "%s", cli_json_text(hub, "name"));
	cli_table_add(&t, "partitions");
	cli_table_add(&t, "%" PRId64, cli_json_number(hub, "partitions"));
	cli_table_add(&t, "cleanup");
	cli_table_add(&t, "%s", cli_json_text(hub, "cleanup"));
	cli_table_add(&t, "retention");
	cli_table_add(&t, "%s", retention(hub, text));
	cli_table_add(&t, "retention bytes");
	cli_table_add(&t, "%s", retention_bytes(hub, text));
	cli_table_add(&t, "created");
	cli_table_add(&t, "%s", created(hub, iso));
	json_array_foreach(json_object_get(hub, "groups"), i, group) {
		const char *name = json_string_value(group);
		cli_table_add(&t, "%s", i == 0 ? "groups" : "");
		cli_table_add(&t, "%s", name != NULL ? name : cli_json_text(group, "name"));
	}
	json_array_foreach(json_object_get(hub, "limits"), i, limit) {
		char rates[CLI_LIMIT_TEXT];
		const char *kind = cli_json_text(limit, "kind");
		cli_limit_text(limit, rates);
		cli_table_add(&t, "%s", i == 0 ? "limits" : "");
		cli_table_add(&t, "%s%s: %.80s", strcmp(kind, "hub") == 0 ? "" : "each ", kind, rates);
	}
	cli_table_print(&t);
	show_partitions(hub);
}

/* ---- requests ---------------------------------------------------------------------- */

static int call(const struct cli_args *a, const char *method, const json_t *body,
		cli_show_fn *show)
{
	struct str path = {0};
	cli_manage_path(&path, "hubs", a->n > 0 ? a->at[0] : NULL, NULL);
	int status = path.bad ? cli_failed(a, "out of memory")
			      : cli_manage_run(a, method, path.p, body, show);
	str_fini(&path);
	return status;
}

/* A bound; "off" is null, no bound. */
static enum err add_bound(const struct cli_args *a, enum cli_option at, enum cli_kind kind,
			  const char *member, json_t *body, struct err_detail *d)
{
	if (!cli_has(a, at)) {
		return ERR_OK;
	}
	if (strcasecmp(a->v[at], "off") == 0) {
		(void)json_object_set_new(body, member, json_null());
		return ERR_OK;
	}
	uint64_t v;
	enum err e = cli_number(a, at, kind, 1, INT64_MAX, 0, &v, d);
	if (e == ERR_OK) {
		(void)json_object_set_new(body, member, json_integer((json_int_t)v));
	}
	return e;
}

/* The members for the options that are given. */
static enum err make_body(const struct cli_args *a, json_t *body, struct err_detail *d)
{
	uint64_t v;
	enum err e = cli_number(a, CLI_PARTITIONS, CLI_COUNT_KIND, 1, LIMIT_PARTITIONS, 0, &v, d);
	if (e == ERR_OK && cli_has(a, CLI_PARTITIONS)) {
		(void)json_object_set_new(body, "partitions", json_integer((json_int_t)v));
	}
	if (e == ERR_OK) {
		e = add_bound(a, CLI_RETENTION, CLI_MS_KIND, "retentionMs", body, d);
	}
	if (e == ERR_OK) {
		e = add_bound(a, CLI_RETENTION_BYTES, CLI_SIZE_KIND, "retentionBytes", body, d);
	}
	if (e == ERR_OK && cli_has(a, CLI_CLEANUP)) {
		const char *cleanup;
		e = cli_choice(a, CLI_CLEANUP, NULL, &cleanup, d);
		if (e == ERR_OK) {
			(void)json_object_set_new(body, "cleanup", json_string(cleanup));
		}
	}
	return e;
}

static int change(const struct cli_args *a, const char *method)
{
	struct err_detail d = {{0}};
	json_t *body = json_object();
	int status;
	if (make_body(a, body, &d) != ERR_OK) {
		status = cli_wrong(a, "%s", d.text);
	} else {
		status = call(a, method, body, NULL);
	}
	json_decref(body);
	return status;
}

static int run_create(const struct cli_args *a)
{
	return change(a, "PUT");
}

static int run_update(const struct cli_args *a)
{
	if (!cli_has(a, CLI_PARTITIONS) && !cli_has(a, CLI_RETENTION) &&
	    !cli_has(a, CLI_RETENTION_BYTES) && !cli_has(a, CLI_CLEANUP)) {
		return cli_wrong(a, "nothing to change: give --partitions, --retention, "
				 "--retention-bytes or --cleanup");
	}
	return change(a, "PATCH");
}

static int run_list(const struct cli_args *a)
{
	return call(a, "GET", NULL, show_list);
}

static int run_show(const struct cli_args *a)
{
	return call(a, "GET", NULL, show_one);
}

static int run_delete(const struct cli_args *a)
{
	return call(a, "DELETE", NULL, NULL);
}

#define HUB_OPTIONS                                                                                \
	(CLI_CONNECT | CLI_BIT(JSON) | CLI_BIT(PARTITIONS) | CLI_BIT(RETENTION) |                  \
	 CLI_BIT(RETENTION_BYTES) | CLI_BIT(CLEANUP))
#define HUB_MORE                                                                                   \
	"Without --retention events are kept for ever, or as serve --default-retention says.\n"     \
	"--retention and --retention-bytes count where old events are deleted; --cleanup compact\n"  \
	"keeps the newest event of each key: a Kafka record's key, or an event's partition key,\n"   \
	"without which sends are then refused."

const struct cli_command cli_hub_create = {
	.name = "hub create", .operands = "H", .least = 1, .most = 1,
	.summary = "Make an event hub", .more = HUB_MORE, .options = HUB_OPTIONS, .run = run_create,
};
const struct cli_command cli_hub_list = {
	.name = "hub list", .operands = "", .summary = "List the event hubs",
	.options = CLI_CONNECT | CLI_BIT(JSON), .run = run_list,
};
const struct cli_command cli_hub_show = {
	.name = "hub show", .operands = "H", .least = 1, .most = 1,
	.summary = "Show an event hub and its partitions",
	.options = CLI_CONNECT | CLI_BIT(JSON), .run = run_show,
};
const struct cli_command cli_hub_update = {
	.name = "hub update", .operands = "H", .least = 1, .most = 1,
	.summary = "Change an event hub", .more = HUB_MORE, .options = HUB_OPTIONS, .run = run_update,
};
const struct cli_command cli_hub_delete = {
	.name = "hub delete", .operands = "H", .least = 1, .most = 1,
	.summary = "Delete an event hub with all its events",
	.options = CLI_CONNECT | CLI_BIT(JSON), .run = run_delete,
};
