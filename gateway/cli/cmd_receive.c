/* sluice receive: prints events of one or all partitions. Without --follow it
 * ends at what was the last event when it began. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/cli/client.h"
#include "gateway/cli/event_json.h"
#include "gateway/cli/target.h"
#include "gateway/units.h"

enum {
	CREDIT = 1000,		/* events on their way per partition */
	IDLE_MS = 3000,		/* after that long without events: is the end still there? */
	FILTER = 128,
};

enum from_kind { FROM_EARLIEST, FROM_LATEST, FROM_SEQUENCE, FROM_OFFSET, FROM_TIME };

struct from {
	enum from_kind kind;
	int64_t value;
	char filter[FILTER];
};

struct receive;

struct partition {
	struct receive *receive;
	uint32_t number;
	int64_t end;		/* sequence number to stop at; INT64_MAX: never */
	bool done;
	struct cli_link *link;
};

struct receive {
	const struct cli_args *a;
	struct cli_client *client;
	char hub[LIMIT_HUB_NAME + 1];
	const char *group;
	struct from from;
	struct partition *partitions;
	uint32_t n;
	uint32_t open;		/* partitions that are not done */
	uint64_t limit;
	uint64_t printed;
	bool json;
	bool broken;		/* standard output takes nothing any more */
	struct cli_event event;
	enum err err;		/* of a message */
};

/* ---- where to begin -------------------------------------------------------------------- */

/* "2026-01-31[T12:00:00[.123]][Z]", ms since 1970, or "-1h". */
static enum err parse_time(const char *text, int64_t *ms, struct err_detail *d)
{
	struct tm tm = {0};
	uint64_t v;
	char *end;
	if (text[0] == '-' && units_parse_ms(text + 1, &v, d) == ERR_OK && v <= INT64_MAX) {
		*ms = clock_wall_ms() - (int64_t)v;
		return ERR_OK;
	}
	if (units_parse_count(text, &v, d) == ERR_OK && v <= INT64_MAX) {
		*ms = (int64_t)v;
		return ERR_OK;
	}
	int part = 0;
	end = strptime(text, "%Y-%m-%d", &tm);
	if (end != NULL && (*end == 'T' || *end == ' ')) {
		end = strptime(end + 1, "%H:%M:%S", &tm);
		if (end != NULL && *end == '.') {
			int unit = 100;
			for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10) {
				part += (*end - '0') * unit;
			}
		}
	}
	if (end != NULL && *end == 'Z') {
		end++;
	}
	if (end == NULL || *end != '\0') {
		return err_set(d, ERR_INVALID,
			       "--from: \"%.64s\" is not a time like 2026-01-31T12:00:00Z", text);
	}
	*ms = (int64_t)timegm(&tm) * 1000 + part;
	return ERR_OK;
}

/* The value after "name=", or NULL. */
static const char *after(const char *text, const char *name)
{
	size_t n = strlen(name);
	return strncmp(text, name, n) == 0 && text[n] == '=' ? text + n + 1 : NULL;
}

static enum err parse_from(const char *text, struct from *out, struct err_detail *d)
{
	static const char field[] = "amqp.annotation.x-opt-";
	const char *value;
	uint64_t v = 0;
	enum err e = ERR_OK;
	if (text == NULL || strcmp(text, "earliest") == 0) {
		(void)snprintf(out->filter, FILTER, "%soffset > '-1'", field);
	} else if (strcmp(text, "latest") == 0) {
		out->kind = FROM_LATEST;
		(void)snprintf(out->filter, FILTER, "%soffset > '@latest'", field);
	} else if ((value = after(text, "sequence")) != NULL) {
		e = units_parse_count(value, &v, d);
		out->kind = FROM_SEQUENCE;
		out->value = (int64_t)v;
		(void)snprintf(out->filter, FILTER, "%ssequence-number >= '%" PRIu64 "'", field, v);
	} else if ((value = after(text, "offset")) != NULL) {
		out->kind = FROM_OFFSET;
		if (strlen(value) > 64 || strchr(value, '\'') != NULL || *value == '\0') {
			return err_set(d, ERR_INVALID, "--from: \"%.64s\" is not an offset", value);
		}
		(void)snprintf(out->filter, FILTER, "%soffset >= '%s'", field, value);
	} else if ((value = after(text, "time")) != NULL) {
		e = parse_time(value, &out->value, d);
		out->kind = FROM_TIME;
		/* The service compares with ">" only; ours includes the instant itself. */
		(void)snprintf(out->filter, FILTER, "%senqueued-time > '%" PRId64 "'", field,
			       out->value - 1);
	} else {
		e = err_set(d, ERR_INVALID,
			    "--from: \"%.64s\" is not earliest, latest, sequence=N, offset=N or time=T",
			    text);
	}
	return e;
}

/* ---- printing ---------------------------------------------------------------------------- */

static void print_event(struct receive *r, uint32_t partition)
{
	if (r->json) {
		json_t *o = cli_event_json(&r->event, partition);
		(void)json_dumpf(o, stdout, JSON_COMPACT);
		json_decref(o);
	} else {
		(void)fwrite(r->event.body.p, 1, r->event.body.len, stdout);
	}
	(void)fputc('\n', stdout);
	r->printed++;
}

static void finish(struct partition *p)
{
	if (!p->done) {
		p->done = true;
		p->receive->open--;
	}
}

static void on_message(void *arg, struct span message)
{
	struct partition *p = arg;
	struct receive *r = p->receive;
	if (p->done || r->printed == r->limit || r->err != ERR_OK) {
		return;
	}
	r->err = cli_event_read(message, &r->event);
	if (r->err != ERR_OK) {
		return;
	}
	if (r->event.sequence <= p->end) {
		print_event(r, p->number);
	}
	if (r->event.sequence >= p->end) {
		finish(p);
	}
}

/* ---- partitions ---------------------------------------------------------------------------- */

/* Where the partition ends for us; done at once when there is nothing to read. */
static enum err find_end(struct receive *r, struct partition *p, struct err_detail *d)
{
	struct cli_partition_facts facts;
	p->end = INT64_MAX;
	if (cli_has(r->a, CLI_FOLLOW)) {
		return ERR_OK;
	}
	enum err e = cli_client_read_partition(r->client, r->hub, p->number, &facts, d);
	if (e != ERR_OK) {
		return e;
	}
	p->end = facts.last_sequence;
	if (facts.is_empty || facts.begin_sequence > facts.last_sequence ||
	    r->from.kind == FROM_LATEST ||
	    (r->from.kind == FROM_SEQUENCE && r->from.value > facts.last_sequence) ||
	    (r->from.kind == FROM_TIME && r->from.value > facts.last_enqueued_ms)) {
		finish(p);
	}
	return ERR_OK;
}

static enum err open_partition(struct receive *r, struct partition *p, struct err_detail *d)
{
	char address[2 * LIMIT_HUB_NAME + 64];
	struct cli_link_events events = {.message = on_message, .arg = p};
	enum err e = find_end(r, p, d);
	if (e != ERR_OK || p->done) {
		return e;
	}
	(void)snprintf(address, sizeof address, "%s/ConsumerGroups/%.*s/Partitions/%u", r->hub,
		       LIMIT_GROUP_NAME, r->group, p->number);
	e = cli_client_receiver(r->client, address, r->from.filter, CREDIT, &events, &p->link, d);
	if (e != ERR_OK) {
		err_wrap(d, "partition %u", p->number);
	}
	return e;
}

static enum err open_all(struct receive *r, struct err_detail *d)
{
	struct cli_hub_facts facts = {.partitions = 1};
	uint64_t only = 0;
	enum err e = cli_number(r->a, CLI_PARTITION, CLI_COUNT_KIND, 0, LIMIT_PARTITIONS - 1, 0,
				&only, d);
	if (e == ERR_OK && !cli_has(r->a, CLI_PARTITION)) {
		e = cli_client_read_hub(r->client, r->hub, &facts, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	r->n = facts.partitions;
	r->open = r->n;
	r->partitions = mem_calloc(r->n > 0 ? r->n : 1, sizeof *r->partitions);
	if (r->partitions == NULL) {
		return err_set(d, ERR_NOMEM, "out of memory");
	}
	for (uint32_t i = 0; i < r->n; i++) {
		r->partitions[i].receive = r;
		r->partitions[i].number = cli_has(r->a, CLI_PARTITION) ? (uint32_t)only : i;
	}
	for (uint32_t i = 0; i < r->n && e == ERR_OK; i++) {
		e = open_partition(r, &r->partitions[i], d);
	}
	return e;
}

/* The event we wait for may be gone, if the hub was deleted and made anew. */
static enum err check_ends(struct receive *r, struct err_detail *d)
{
	for (uint32_t i = 0; i < r->n; i++) {
		struct partition *p = &r->partitions[i];
		struct cli_partition_facts facts;
		if (p->done || p->end == INT64_MAX) {
			continue;
		}
		enum err e = cli_client_read_partition(r->client, r->hub, p->number, &facts, d);
		if (e != ERR_OK) {
			return e;
		}
		if (facts.is_empty || facts.begin_sequence > p->end) {
			finish(p);
		}
	}
	return ERR_OK;
}

static enum err check_links(const struct receive *r, struct err_detail *d)
{
	for (uint32_t i = 0; i < r->n; i++) {
		const struct partition *p = &r->partitions[i];
		enum err e = p->link != NULL && !p->done ? cli_link_state(p->link, d) : ERR_OK;
		if (e != ERR_OK) {
			err_wrap(d, "partition %u", p->number);
			return e;
		}
	}
	return ERR_OK;
}

static enum err receive_all(struct receive *r, struct err_detail *d)
{
	int64_t last_ms = clock_mono_ms();
	enum err e = open_all(r, d);
	while (e == ERR_OK && r->open > 0 && r->printed < r->limit && !r->broken) {
		uint64_t before = r->printed;
		r->broken = ferror(stdout) != 0 || fflush(stdout) != 0;
		e = cli_client_pump(r->client, IDLE_MS, d);
		if (e == ERR_OK && r->err != ERR_OK) {
			e = err_set(d, r->err, "a received message is malformed");
		}
		if (e == ERR_OK) {
			e = check_links(r, d);
		}
		if (r->printed != before) {
			last_ms = clock_mono_ms();
		} else if (e == ERR_OK && clock_mono_ms() - last_ms >= IDLE_MS) {
			e = check_ends(r, d);
			last_ms = clock_mono_ms();
		}
	}
	return e;
}

static enum err connect_to(struct receive *r, struct err_detail *d)
{
	struct cli_target target;
	const char *hub = r->a->at[0];
	enum err e = cli_target_find(r->a, NULL, &target, d);
	if (e != ERR_OK) {
		return e;
	}
	e = cli_target_hub(&target, hub, &hub, d);
	if (e == ERR_OK && strlen(hub) > LIMIT_HUB_NAME) {
		e = err_set(d, ERR_INVALID, "the hub's name is too long");
	}
	if (e == ERR_OK) {
		(void)snprintf(r->hub, sizeof r->hub, "%s", hub);
		e = cli_target_amqp(&target, hub, &r->client, d);
	}
	cli_target_fini(&target);
	return e;
}

static int run(const struct cli_args *a)
{
	struct receive r = {.a = a, .json = cli_has(a, CLI_JSON)};
	struct err_detail d = {{0}};
	uint64_t partition;
	r.group = cli_has(a, CLI_GROUP) ? a->v[CLI_GROUP] : "$Default";
	if (parse_from(a->v[CLI_FROM], &r.from, &d) != ERR_OK ||
	    cli_number(a, CLI_COUNT, CLI_COUNT_KIND, 1, UINT64_MAX, UINT64_MAX, &r.limit, &d) !=
		    ERR_OK ||
	    cli_number(a, CLI_PARTITION, CLI_COUNT_KIND, 0, LIMIT_PARTITIONS - 1, 0, &partition,
		       &d) != ERR_OK) {
		return cli_wrong(a, "%s", d.text);
	}
	enum err e = connect_to(&r, &d);
	if (e == ERR_OK) {
		e = receive_all(&r, &d);
	}
	(void)fflush(stdout);	/* before any message */
	int status = e != ERR_OK ? cli_failed_err(a, e, &d) : CLI_DONE;
	cli_client_close(&r.client);
	cli_event_fini(&r.event);
	mem_free(r.partitions);
	return status;
}

const struct cli_command cli_receive = {
	.name = "receive",
	.operands = "H",
	.least = 1,
	.most = 1,
	.summary = "Print events of a hub",
	.more = "Bodies are printed one a line, or with --json whole events. It ends at what was the\n"
		"last event when it began; --follow waits for more.",
	.options = CLI_CONNECT_AMQP | CLI_BIT(GROUP) | CLI_BIT(FROM) | CLI_BIT(PARTITION) |
		   CLI_BIT(COUNT) | CLI_BIT(FOLLOW) | CLI_BIT(JSON),
	.run = run,
};
