/* What the throttle did, for people: lists, metrics, the log, texts of errors. */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/core/core_priv.h"

enum {
	SCOPES_METRICS_MAX = 1000,	/* of them in metrics: a scrape stays below some MB */
	SCOPES_LOG_MAX = 100,		/* lines a minute */
};

static const char *const kind_names[THROTTLE_KINDS] = {
	[THROTTLE_NAMESPACE] = "namespace", [THROTTLE_HUB] = "hub",
	[THROTTLE_PARTITION] = "partition", [THROTTLE_POLICY] = "policy",
	[THROTTLE_CLIENT] = "client",	    [THROTTLE_PUBLISHER] = "publisher",
};
static const char *const direction_names[THROTTLE_DIRECTIONS] = {
	[THROTTLE_IN] = "in",
	[THROTTLE_OUT] = "out",
};

/* ---- texts --------------------------------------------------------------------------- */

void core_busy_text(const struct throttle_decision *d, char *out, size_t size)
{
	if (d == NULL || d->verdict != THROTTLE_REFUSE) {
		snprintf(out, size,
			 "The request was terminated because the entity is being throttled. Error code "
			 ": 50002. The memory for sends that are not answered yet is used up. Please "
			 "wait 4 seconds and try again. ");
		return;
	}
	char reason[256];
	throttle_reason_text(&d->reason, reason, sizeof reason);
	reason[0] = (char)toupper((unsigned char)reason[0]);
	uint32_t seconds = d->wait_ms / 1000 + (d->wait_ms % 1000 != 0);
	snprintf(out, size,
		 "The request was terminated because the entity is being throttled. Error code : 50002. "
		 "%s is reached. Please wait %u seconds and try again. ",
		 reason, seconds != 0 ? seconds : 1);
}

/* ---- lists and metrics ----------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	const struct throttle_scope_info *x = a;
	const struct throttle_scope_info *y = b;
	return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

static void add_figures(struct throttle_figures *to, const struct throttle_figures *from)
{
	to->admitted_requests += from->admitted_requests;
	to->admitted_bytes += from->admitted_bytes;
	to->admitted_events += from->admitted_events;
	to->held_requests += from->held_requests;
	to->refused_requests += from->refused_requests;
	to->throttled_bytes += from->throttled_bytes;
	to->throttled_events += from->throttled_events;
	to->waited_ns += from->waited_ns;
}

static void merge(struct throttle_scope_info *to, const struct throttle_scope_info *from)
{
	for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
		add_figures(&to->figures[d], &from->figures[d]);
		to->waiting_flows[d] += from->waiting_flows[d];
		to->waiting_bytes[d] += from->waiting_bytes[d];
	}
	if (from->worst_percent > to->worst_percent) {
		memcpy(to->worst, from->worst, sizeof to->worst);
		to->worst_percent = from->worst_percent;
	}
}

/* As throttle_list, sorted, each name once: for a while there are two of a hub that was
 * deleted and made again. */
static enum err list(struct throttle *t, bool begin_anew, struct throttle_scope_info **out,
		     size_t *n)
{
	struct throttle_scope_info *v = NULL;
	size_t all = 0;
	enum err e = throttle_list(t, begin_anew, &v, &all);
	if (e != ERR_OK) {
		return e;
	}
	if (all > 1) {
		qsort(v, all, sizeof *v, compare);
	}
	size_t kept = 0;
	for (size_t i = 0; i < all; i++) {
		if (kept > 0 && compare(&v[kept - 1], &v[i]) == 0) {
			merge(&v[kept - 1], &v[i]);
		} else if (kept++ != i) {
			v[kept - 1] = v[i];
		}
	}
	*out = v;
	*n = kept;
	return ERR_OK;
}

enum err core_scopes(struct core *c, struct throttle_scope_info **out, size_t *n)
{
	return list(c->throttle, false, out, n);
}

void core_use(struct core *c, struct core_use *out)
{
	core_pacer_use(c->pacer, out);
}

static bool is_limited(const struct throttle_scope_info *s, int direction)
{
	return s->limit.rate[direction].bytes != 0 || s->limit.rate[direction].events != 0;
}

enum figure {
	LIMIT_BYTES,
	LIMIT_EVENTS,
	ADMITTED_REQUESTS,
	ADMITTED_BYTES,
	ADMITTED_EVENTS,
	HELD_REQUESTS,
	REFUSED_REQUESTS,
	THROTTLED_BYTES,
	THROTTLED_EVENTS,
	WAIT_SECONDS,
	WAITING_CONNECTIONS,
	WAITING_BYTES,
	FIGURES
};

static const struct {
	const char *name;
	const char *kind;
	const char *help;
} figures[FIGURES] = {
	[LIMIT_BYTES] = {"limit_bytes", "gauge", "Bytes a second the scope admits; 0: not limited"},
	[LIMIT_EVENTS] = {"limit_events", "gauge", "Events a second the scope admits; 0: not limited"},
	[ADMITTED_REQUESTS] = {"admitted_requests_total", "counter", "Sends and deliveries admitted"},
	[ADMITTED_BYTES] = {"admitted_bytes_total", "counter", "Bytes of them"},
	[ADMITTED_EVENTS] = {"admitted_events_total", "counter", "Events of them"},
	[HELD_REQUESTS] = {"held_requests_total", "counter", "Sends and deliveries that had to wait"},
	[REFUSED_REQUESTS] = {"refused_requests_total", "counter", "Sends refused"},
	[THROTTLED_BYTES] = {"throttled_bytes_total", "counter", "Bytes that had to wait or were refused"},
	[THROTTLED_EVENTS] = {"throttled_events_total", "counter",
			      "Events that had to wait or were refused"},
	[WAIT_SECONDS] = {"wait_seconds_total", "counter",
			  "Time that admitted sends and deliveries had waited"},
	[WAITING_CONNECTIONS] = {"waiting_connections", "gauge", "Connections that wait"},
	[WAITING_BYTES] = {"waiting_bytes", "gauge", "Bytes that wait"},
};

static double figure_of(const struct throttle_scope_info *s, int d, enum figure f)
{
	const struct throttle_figures *v = &s->figures[d];
	const uint64_t of[FIGURES] = {
		[LIMIT_BYTES] = s->limit.rate[d].bytes,
		[LIMIT_EVENTS] = s->limit.rate[d].events,
		[ADMITTED_REQUESTS] = v->admitted_requests,
		[ADMITTED_BYTES] = v->admitted_bytes,
		[ADMITTED_EVENTS] = v->admitted_events,
		[HELD_REQUESTS] = v->held_requests,
		[REFUSED_REQUESTS] = v->refused_requests,
		[THROTTLED_BYTES] = v->throttled_bytes,
		[THROTTLED_EVENTS] = v->throttled_events,
		[WAITING_CONNECTIONS] = s->waiting_flows[d],
		[WAITING_BYTES] = s->waiting_bytes[d],
	};
	return f == WAIT_SECONDS ? (double)v->waited_ns / 1e9 : (double)of[f];
}

/* As the text format wants it: '\', '"' and new lines escaped. Clients choose some
 * names: what is not printable UTF-8, which would spoil all metrics, reads \xNN. */
static void add_label(struct str *out, const char *text)
{
	for (size_t left = strlen(text), n; left > 0; text += n, left -= n) {
		n = catalog_text_char((const uint8_t *)text, left);
		if (*text == '\n') {
			str_add(out, "\\n");
			n = 1;
		} else if (n == 0) {
			str_printf(out, "\\\\x%02x", (unsigned char)*text);
			n = 1;
		} else {
			str_add(out, *text == '\\' || *text == '"' ? "\\" : "");
			str_addn(out, text, n);
		}
	}
}

static void render_figure(struct str *out, const struct throttle_scope_info *v, size_t n,
			  enum figure f)
{
	str_printf(out, "# HELP sluice_throttle_%s %s\n# TYPE sluice_throttle_%s %s\n",
		   figures[f].name, figures[f].help, figures[f].name, figures[f].kind);
	for (size_t i = 0; i < n; i++) {
		for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
			if (v[i].kind != THROTTLE_NAMESPACE && !is_limited(&v[i], d)) {
				continue;
			}
			str_printf(out, "sluice_throttle_%s{scope=\"%s\",name=\"", figures[f].name,
				   kind_names[v[i].kind]);
			add_label(out, v[i].name);
			str_printf(out, "\",direction=\"%s\"} ", direction_names[d]);
			str_printf(out, f == WAIT_SECONDS ? "%.6f\n" : "%.0f\n",
				   figure_of(&v[i], d, f));
		}
	}
}

void core_metrics_render(struct core *c, struct str *out)
{
	const struct catalog *cat = core_catalog(c);
	uint32_t units = cat->units.units;
	uint32_t most = cat->units.inflate_max > units ? cat->units.inflate_max : units;
	catalog_drop(&cat);
	str_printf(out,
		   "# HELP sluice_throughput_units Throughput units of the namespace; 0: not limited\n"
		   "# TYPE sluice_throughput_units gauge\nsluice_throughput_units %u\n"
		   "# HELP sluice_throughput_units_max Units up to which the namespace grows\n"
		   "# TYPE sluice_throughput_units_max gauge\nsluice_throughput_units_max %u\n",
		   units, most);
	struct throttle_scope_info *v = NULL;
	size_t n = 0;
	if (core_scopes(c, &v, &n) != ERR_OK) {
		return;
	}
	n = n < SCOPES_METRICS_MAX ? n : SCOPES_METRICS_MAX;
	for (int f = 0; f < FIGURES; f++) {
		render_figure(out, v, n, (enum figure)f);
	}
	mem_free(v);
}

/* ---- the log ----------------------------------------------------------------------------- */

/* Only scopes that were ever throttled, sorted. */
struct core_minute {
	struct throttle_scope_info *v;
	size_t n;
};

struct core_minute *core_minute_new(void)
{
	return MEM_NEW(struct core_minute);
}

void core_minute_free(struct core_minute **mp)
{
	struct core_minute *m = *mp;
	*mp = NULL;
	if (m != NULL) {
		mem_free(m->v);
		mem_free(m);
	}
}

/* Figures that went back belong to a scope that began anew. */
static uint64_t since(uint64_t now, uint64_t before)
{
	return now >= before ? now - before : now;
}

/* True: there was something to tell. */
static bool log_scope(const struct throttle_scope_info *s, const struct throttle_figures *before,
		      int d, bool is_shown)
{
	const struct throttle_figures *now = &s->figures[d];
	uint64_t held = since(now->held_requests, before->held_requests);
	uint64_t refused = since(now->refused_requests, before->refused_requests);
	if (held + refused == 0) {
		return false;
	}
	if (!is_shown) {
		return true;
	}
	log_info("THROTTLED",
		 "scope=%s name=%s direction=%s held=%llu refused=%llu events=%llu bytes=%llu "
		 "waited_ms=%llu worst=%s worst_percent=%u limit=%lluB/s,%lluev/s",
		 kind_names[s->kind], log_quote(s->name), direction_names[d],
		 (unsigned long long)held, (unsigned long long)refused,
		 (unsigned long long)since(now->throttled_events, before->throttled_events),
		 (unsigned long long)since(now->throttled_bytes, before->throttled_bytes),
		 (unsigned long long)(since(now->waited_ns, before->waited_ns) / 1000000),
		 log_quote(s->worst), s->worst_percent, (unsigned long long)s->limit.rate[d].bytes,
		 (unsigned long long)s->limit.rate[d].events);
	return true;
}

static bool was_ever_throttled(const struct throttle_scope_info *s)
{
	uint64_t any = 0;
	for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
		any |= s->figures[d].held_requests | s->figures[d].refused_requests;
	}
	return any != 0;
}

void core_minute_log(struct core_minute *m, struct throttle *t)
{
	static const struct throttle_figures none;
	struct throttle_scope_info *v = NULL;
	size_t all = 0;
	if (list(t, true, &v, &all) != ERR_OK) {
		return;
	}
	size_t n = 0;
	for (size_t i = 0; i < all; i++) {
		if (was_ever_throttled(&v[i])) {
			v[n++] = v[i];
		}
	}
	size_t told = 0;
	for (size_t i = 0, at = 0; i < n; i++) {
		while (at < m->n && compare(&m->v[at], &v[i]) < 0) {
			at++;
		}
		bool is_known = at < m->n && compare(&m->v[at], &v[i]) == 0;
		for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
			told += log_scope(&v[i], is_known ? &m->v[at].figures[d] : &none, d,
					  told < SCOPES_LOG_MAX);
		}
	}
	if (told > SCOPES_LOG_MAX) {
		log_info("THROTTLED-MORE", "scopes=%zu", told - SCOPES_LOG_MAX);
	}
	mem_free(m->v);
	m->v = v;
	m->n = n;
}
