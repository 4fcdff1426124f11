#include "gateway/cli/units_view.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "gateway/cli/manage.h"
#include "gateway/units.h"

enum { RATE_TEXT = 48 };

static const char *const directions[] = {"in", "out"};
#define MB 1048576.0

/* ---- numbers --------------------------------------------------------------------- */

/* "1 MB/s", "0.98 MB/s", "12.50 KB/s", "200 B/s". */
static void bytes_text(double bytes, const char *per, char out[RATE_TEXT])
{
	/* From a tenth on, as limits are told in MB. */
	const char *unit = bytes >= MB / 10 ? "MB" : bytes >= 1024 ? "KB" : "B";
	double v = bytes >= MB / 10 ? bytes / MB : bytes >= 1024 ? bytes / 1024 : bytes;
	int decimals = v == (double)(int64_t)v || bytes < 1024 ? 0 : v < 100 ? 2 : 1;
	(void)snprintf(out, RATE_TEXT, "%.*f %s%s", decimals, v, unit, per);
}

/* Both of a pair that are limits, "1 MB/s, 1000 events/s"; "" where neither is. */
static void pair_text(int64_t bytes, int64_t events, char out[CLI_LIMIT_TEXT])
{
	char rate[RATE_TEXT] = "";
	size_t n = 0;
	out[0] = '\0';
	if (bytes > 0) {
		bytes_text((double)bytes, "/s", rate);
		n = (size_t)snprintf(out, CLI_LIMIT_TEXT, "%s", rate);
	}
	if (events > 0) {
		(void)snprintf(out + n, CLI_LIMIT_TEXT - n, "%s%" PRId64 " events/s",
			       n > 0 ? ", " : "", events);
	}
}

void cli_limit_text(const json_t *limit, char out[CLI_LIMIT_TEXT])
{
	char in[CLI_LIMIT_TEXT];
	char outward[CLI_LIMIT_TEXT];
	pair_text(cli_json_number(limit, "inBytes"), cli_json_number(limit, "inEvents"), in);
	pair_text(cli_json_number(limit, "outBytes"), cli_json_number(limit, "outEvents"), outward);
	bool both = in[0] != '\0' && outward[0] != '\0';
	(void)snprintf(out, CLI_LIMIT_TEXT, "%s%.70s%s%s%.70s", in[0] != '\0' ? "in " : "", in,
		       both ? "; " : "", outward[0] != '\0' ? "out " : "", outward);
	if (in[0] == '\0' && outward[0] == '\0') {
		(void)snprintf(out, CLI_LIMIT_TEXT, "none");
	}
}

void cli_units_text(const json_t *units, char out[CLI_UNITS_TEXT])
{
	int64_t now = cli_json_number(units, "units");
	int64_t base = cli_json_number(units, "base");
	int64_t max = cli_json_number(units, "autoInflateMax");
	int64_t after = cli_json_number(units, "autoDeflateAfterMs");
	size_t n = 0;
	if (now == 0) {
		n = (size_t)snprintf(out, CLI_UNITS_TEXT, "0 (not limited");
	} else {
		n = (size_t)snprintf(out, CLI_UNITS_TEXT, "%" PRId64 " (set: %" PRId64, now, base);
	}
	if (now != 0 && max > base) {
		n += (size_t)snprintf(out + n, CLI_UNITS_TEXT - n, "; grow to %" PRId64
				      " while throttled", max);
	}
	if (after > 0) {
		char text[UNITS_TEXT];
		units_ms_text((uint64_t)after, text);
		n += (size_t)snprintf(out + n, CLI_UNITS_TEXT - n, "; shrink after %s", text);
	}
	(void)snprintf(out + n, CLI_UNITS_TEXT - n, ")");
}

/* ---- scopes ------------------------------------------------------------------------ */

/* One direction of a scope, now and before. */
struct side {
	const json_t *scope;
	const char *direction;
	const json_t *now;
	const json_t *before;	/* NULL: none */
	double seconds;
};

static const json_t *find_scope(const json_t *answer, const json_t *like)
{
	size_t i;
	const json_t *scope;
	json_array_foreach(json_object_get(answer, "scopes"), i, scope) {
		if (strcmp(cli_json_text(scope, "kind"), cli_json_text(like, "kind")) == 0 &&
		    strcmp(cli_json_text(scope, "name"), cli_json_text(like, "name")) == 0) {
			return scope;
		}
	}
	return NULL;
}

/* False: that direction has no limit. */
static bool side_of(const struct cli_units_reading *r, const json_t *scope, size_t direction,
		    struct side *out)
{
	const char *name = directions[direction];
	*out = (struct side){
		.scope = scope,
		.direction = name,
		.now = json_object_get(scope, name),
		.before = json_object_get(r->before != NULL ? find_scope(r->before, scope) : NULL, name),
		.seconds = r->seconds,
	};
	return cli_json_number(out->now, "limitBytes") > 0 ||
	       cli_json_number(out->now, "limitEvents") > 0;
}

/* How much a count grew a second; -1: not known. */
static double per_second(const struct side *s, const char *key)
{
	if (s->before == NULL || s->seconds <= 0) {
		return -1;
	}
	int64_t grown = cli_json_number(s->now, key) - cli_json_number(s->before, key);
	return grown > 0 ? (double)grown / s->seconds : 0;
}

static double not_negative(double v)
{
	return v > 0 ? v : 0;
}

bool cli_units_limited(const json_t *answer)
{
	const struct cli_units_reading r = {.now = answer};
	size_t i;
	const json_t *scope;
	struct side side;
	json_array_foreach(json_object_get(answer, "scopes"), i, scope) {
		if (side_of(&r, scope, 0, &side) || side_of(&r, scope, 1, &side)) {
			return true;
		}
	}
	return false;
}

/* ---- as a table ---------------------------------------------------------------------- */

static void add_row(struct cli_table *t, const struct side *s)
{
	char text[CLI_LIMIT_TEXT];
	const char *name = cli_json_text(s->scope, "name");
	double admitted = per_second(s, "admittedBytes");
	cli_table_add(t, "%s", cli_json_text(s->scope, "kind"));
	cli_table_add(t, "%s", *name != '\0' ? name : "-");
	cli_table_add(t, "%s", s->direction);
	pair_text(cli_json_number(s->now, "limitBytes"), cli_json_number(s->now, "limitEvents"), text);
	cli_table_add(t, "%s", text);
	if (admitted < 0) {
		cli_table_add(t, "-");
		cli_table_add(t, "-");
	} else {
		bytes_text(admitted, "/s", text);
		cli_table_add(t, "%.40s, %.0f events/s", text, per_second(s, "admittedEvents"));
		cli_table_add(t, "%.0f held, %.0f refused", per_second(s, "heldRequests"),
			      per_second(s, "refusedRequests"));
	}
	bytes_text((double)cli_json_number(s->now, "waitingBytes"), "", text);
	cli_table_add(t, "%" PRId64 " (%.40s)", cli_json_number(s->now, "waitingConnections"), text);
	bool any = cli_json_number(s->now, "heldRequests") > 0 ||
		   cli_json_number(s->now, "refusedRequests") > 0;
	if (any && *cli_json_text(s->scope, "worst") != '\0') {
		cli_table_add(t, "%.70s (%" PRId64 " %%)", cli_json_text(s->scope, "worst"),
			      cli_json_number(s->scope, "worstPercent"));
	} else {
		cli_table_add(t, "-");
	}
}

static void print_scopes(FILE *to, const struct cli_units_reading *r, size_t rows)
{
	static const char *const heads[] = {"SCOPE",	      "NAME",	 "WAY",	    "LIMIT",
					    "ADMITTED",	     "THROTTLED/S", "WAITING", "MOST THROTTLED"};
	struct cli_table t = {.columns = sizeof heads / sizeof *heads};
	size_t i;
	size_t left_out = 0;
	const json_t *scope;
	_Static_assert(sizeof heads / sizeof *heads <= CLI_TABLE_COLUMNS, "they fit a table");
	for (size_t k = 0; k < sizeof heads / sizeof *heads; k++) {
		cli_table_add(&t, "%s", heads[k]);
	}
	json_array_foreach(json_object_get(r->now, "scopes"), i, scope) {
		for (size_t way = 0; way < 2; way++) {
			struct side side;
			if (side_of(r, scope, way, &side) && rows > 0) {
				add_row(&t, &side);
				rows--;
			} else {
				left_out += side_of(r, scope, way, &side);
			}
		}
	}
	cli_table_write(&t, to);
	if (left_out > 0) {
		(void)fprintf(to, "... and %zu more\n", left_out);
	}
}

/* "3.2 MB/s (80 %)  2100 events/s (52 %)", the share of the namespace's limit. */
static void print_use(FILE *to, const json_t *answer, size_t way)
{
	static const char *const keys[][2] = {{"inBytes", "inEvents"}, {"outBytes", "outEvents"}};
	const json_t *use = json_object_get(answer, "use");
	const json_t *namespace_scope = json_array_get(json_object_get(answer, "scopes"), 0);
	const json_t *side = json_object_get(namespace_scope, directions[way]);
	int64_t limit[2] = {cli_json_number(side, "limitBytes"), cli_json_number(side, "limitEvents")};
	char text[RATE_TEXT];
	(void)fprintf(to, "%-6s", directions[way]);
	for (size_t i = 0; i < 2; i++) {
		int64_t v = cli_json_number(use, keys[way][i]);
		if (i == 0) {
			bytes_text((double)v, "/s", text);
		} else {
			(void)snprintf(text, sizeof text, "%" PRId64 " events/s", v);
		}
		if (limit[i] > 0) {
			size_t n = strlen(text);
			(void)snprintf(text + n, sizeof text - n, " (%.0f %%)",
				       100.0 * (double)v / (double)limit[i]);
		}
		(void)fprintf(to, i == 0 ? "%-22s  " : "%s\n", text);
	}
}

void cli_units_print(FILE *to, const struct cli_units_reading *r, size_t rows)
{
	char text[CLI_UNITS_TEXT];
	cli_units_text(r->now, text);
	(void)fprintf(to, "%-6s%s\n", "units", text);
	print_use(to, r->now, 0);
	print_use(to, r->now, 1);
	if (cli_units_limited(r->now)) {
		(void)fputc('\n', to);
		print_scopes(to, r, rows);
	}
}

/* ---- as lines ------------------------------------------------------------------------- */

static void line_of(FILE *to, const struct side *s, const char *time)
{
	(void)fprintf(to, "%s scope=%s", time, cli_json_text(s->scope, "kind"));
	(void)fprintf(to, " name=%s direction=%s", log_quote(cli_json_text(s->scope, "name")),
		      s->direction);
	(void)fprintf(to, " limit_bytes=%" PRId64 " limit_events=%" PRId64
		      " bytes=%.0f events=%.0f held=%.1f refused=%.1f",
		      cli_json_number(s->now, "limitBytes"), cli_json_number(s->now, "limitEvents"),
		      not_negative(per_second(s, "admittedBytes")),
		      not_negative(per_second(s, "admittedEvents")),
		      not_negative(per_second(s, "heldRequests")),
		      not_negative(per_second(s, "refusedRequests")));
	(void)fprintf(to, " waiting=%" PRId64 " waiting_bytes=%" PRId64 " most=%s most_percent=%" PRId64
		      "\n",
		      cli_json_number(s->now, "waitingConnections"),
		      cli_json_number(s->now, "waitingBytes"),
		      log_quote(cli_json_text(s->scope, "worst")),
		      cli_json_number(s->scope, "worstPercent"));
}

void cli_units_lines(FILE *to, const struct cli_units_reading *r, const char *time)
{
	const json_t *use = json_object_get(r->now, "use");
	size_t i;
	const json_t *scope;
	(void)fprintf(to, "%s units=%" PRId64 " in_bytes=%" PRId64 " in_events=%" PRId64
		      " out_bytes=%" PRId64 " out_events=%" PRId64 "\n",
		      time, cli_json_number(r->now, "units"), cli_json_number(use, "inBytes"),
		      cli_json_number(use, "inEvents"), cli_json_number(use, "outBytes"),
		      cli_json_number(use, "outEvents"));
	json_array_foreach(json_object_get(r->now, "scopes"), i, scope) {
		for (size_t way = 0; way < 2; way++) {
			struct side side;
			if (side_of(r, scope, way, &side)) {
				line_of(to, &side, time);
			}
		}
	}
}
