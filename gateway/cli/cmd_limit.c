/* sluice limit list, set, delete: limits of hubs, partitions, publishers, policies and
 * client ids. */

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "gateway/cli/manage.h"
#include "gateway/units.h"

/* A second: as the server bounds it. */
#define RATE_MOST (UINT64_C(1) << 50)

static const struct {
	enum cli_option at;
	enum cli_kind kind;
	const char *member;
	const char *head;
} rates[] = {
	{CLI_IN_BYTES, CLI_SIZE_KIND, "inBytes", "IN BYTES/S"},
	{CLI_IN_EVENTS, CLI_COUNT_KIND, "inEvents", "IN EVENTS/S"},
	{CLI_OUT_BYTES, CLI_SIZE_KIND, "outBytes", "OUT BYTES/S"},
	{CLI_OUT_EVENTS, CLI_COUNT_KIND, "outEvents", "OUT EVENTS/S"},
};
enum { RATES = sizeof rates / sizeof *rates };

static void add_rate(struct cli_table *t, const json_t *limit, size_t i)
{
	int64_t v = cli_json_number(limit, rates[i].member);
	char text[UNITS_TEXT];
	if (v <= 0) {
		cli_table_add(t, "-");
	} else if (rates[i].kind == CLI_SIZE_KIND) {
		units_size_text((uint64_t)v, text);
		cli_table_add(t, "%s", text);
	} else {
		cli_table_add(t, "%" PRId64, v);
	}
}

static void add_limit(struct cli_table *t, const json_t *limit)
{
	cli_table_add(t, "%s", cli_json_text(limit, "kind"));
	cli_table_add(t, "%s", cli_json_text(limit, "name"));
	for (size_t i = 0; i < RATES; i++) {
		add_rate(t, limit, i);
	}
}

static struct cli_table begin_table(void)
{
	struct cli_table t = {.columns = 2 + RATES};
	cli_table_add(&t, "KIND");
	cli_table_add(&t, "NAME");
	for (size_t i = 0; i < RATES; i++) {
		cli_table_add(&t, "%s", rates[i].head);
	}
	return t;
}

static void show_list(const json_t *answer)
{
	struct cli_table t = begin_table();
	size_t i;
	const json_t *limit;
	json_array_foreach(cli_json_list(answer, "limits"), i, limit) {
		add_limit(&t, limit);
	}
	cli_table_print(&t);
}

static void show_one(const json_t *limit)
{
	struct cli_table t = begin_table();
	add_limit(&t, limit);
	cli_table_print(&t);
}

/* ---- requests ---------------------------------------------------------------------- */

static bool kind_is_known(const char *kind)
{
	static const char *const kinds[] = {"hub", "partition", "publisher", "policy", "client"};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcasecmp(kind, kinds[i]) == 0) {
			return true;
		}
	}
	return false;
}

static int call(const struct cli_args *a, const char *method, const json_t *body,
		cli_show_fn *show)
{
	struct str path = {0};
	if (a->n > 0) {
		cli_manage_path(&path, "limits", a->at[0], a->at[1], NULL);
	} else {
		cli_manage_path(&path, "limits", NULL);
	}
	int status = path.bad ? cli_failed(a, "out of memory")
			      : cli_manage_run(a, method, path.p, body, show);
	str_fini(&path);
	return status;
}

static enum err make_body(const struct cli_args *a, json_t *body, struct err_detail *d)
{
	uint64_t v;
	bool any = cli_has(a, CLI_UNITS);
	enum err e = cli_number(a, CLI_UNITS, CLI_COUNT_KIND, 1, LIMIT_UNITS, 0, &v, d);
	if (e == ERR_OK && any) {
		(void)json_object_set_new(body, "units", json_integer((json_int_t)v));
	}
	for (size_t i = 0; i < RATES && e == ERR_OK; i++) {
		if (!cli_has(a, rates[i].at)) {
			continue;
		}
		if (strcasecmp(a->v[rates[i].at], "off") == 0) {
			(void)json_object_set_new(body, rates[i].member, json_null());
			continue;
		}
		any = true;
		e = cli_number(a, rates[i].at, rates[i].kind, 1, RATE_MOST, 0, &v, d);
		if (e == ERR_OK) {
			(void)json_object_set_new(body, rates[i].member, json_integer((json_int_t)v));
		}
	}
	if (e == ERR_OK && !any) {
		e = err_set(d, ERR_INVALID, "nothing is limited: give --units, --in-bytes, "
			    "--in-events, --out-bytes or --out-events; sluice limit delete takes a "
			    "limit away");
	}
	return e;
}

static int wrong_kind(const struct cli_args *a)
{
	return cli_wrong(a, "\"%.64s\" is no kind of limit: hub, partition, publisher, policy or "
			 "client (units set limits the namespace)", a->at[0]);
}

static int run_set(const struct cli_args *a)
{
	struct err_detail d = {{0}};
	if (!kind_is_known(a->at[0])) {
		return wrong_kind(a);
	}
	json_t *body = json_object();
	int status = make_body(a, body, &d) == ERR_OK ? call(a, "PUT", body, show_one)
						       : cli_wrong(a, "%s", d.text);
	json_decref(body);
	return status;
}

static int run_delete(const struct cli_args *a)
{
	return kind_is_known(a->at[0]) ? call(a, "DELETE", NULL, NULL) : wrong_kind(a);
}

static int run_list(const struct cli_args *a)
{
	return call(a, "GET", NULL, show_list);
}

#define KINDS_MORE                                                                                 \
	"KIND and NAME: hub H; partition H: each partition of the hub; publisher H: each publisher\n" \
	"of the hub; policy P or H/P: all that use that policy; client ID: a Kafka client id. The\n"  \
	"name \"*\" stands for each that has no limit of its own.\n"

const struct cli_command cli_limit_list = {
	.name = "limit list", .operands = "", .summary = "List the limits beside the throughput units",
	.options = CLI_CONNECT | CLI_BIT(JSON), .run = run_list,
};
const struct cli_command cli_limit_set = {
	.name = "limit set", .operands = "KIND NAME", .least = 2, .most = 2,
	.summary = "Limit what a part of the namespace sends and receives",
	.more = KINDS_MORE
		"It replaces the limit that is there, and is in force within a moment. The tightest of\n"
		"all limits counts, that of the namespace (units set) among them.\n",
	.options = CLI_CONNECT | CLI_BIT(JSON) | CLI_BIT(UNITS) | CLI_BIT(IN_BYTES) |
		   CLI_BIT(IN_EVENTS) | CLI_BIT(OUT_BYTES) | CLI_BIT(OUT_EVENTS),
	.run = run_set,
};
const struct cli_command cli_limit_delete = {
	.name = "limit delete", .operands = "KIND NAME", .least = 2, .most = 2,
	.summary = "Take a limit away", .more = KINDS_MORE,
	.options = CLI_CONNECT | CLI_BIT(JSON), .run = run_delete,
};
