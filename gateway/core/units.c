/* The limits of the catalogue put in force, and the throughput units that grow while
 * the namespace is throttled and shrink again when it is quiet. */

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/core/core_priv.h"

/* The namespace's figures when they were looked at last. */
struct look {
	int64_t at_ns;
	bool is_known;
	struct throttle_figures figures[THROTTLE_DIRECTIONS];
};

struct core_units {
	struct core *core;
	bool is_in_force;	/* the rules below, made of `version` */
	uint64_t version;
	struct throttle_rule *rules;
	size_t n_rules;
	struct catalog_units units;
	struct look last;
	/* Since when nobody was throttled and fewer units would have been enough, and
	 * how many were needed since. */
	int64_t quiet_since_ns;
	uint32_t quiet_need;
	/* While is_busy: the change that is at the store. */
	bool is_busy;
	struct store_command command;
	uint32_t from;
	uint32_t to;
	char reason[160];
};

struct core_units *core_units_new(struct core *c)
{
	struct core_units *u = MEM_NEW(struct core_units);
	if (u != NULL) {
		u->core = c;
	}
	return u;
}

void core_units_free(struct core_units **up)
{
	struct core_units *u = *up;
	*up = NULL;
	if (u == NULL) {
		return;
	}
	assert(!u->is_busy);
	mem_free(u->rules);
	mem_free(u);
}

bool core_units_is_busy(const struct core_units *u)
{
	return u->is_busy;
}

/* ---- rules ------------------------------------------------------------------------ */

static enum throttle_kind kind_of(enum catalog_limit_kind kind)
{
	switch (kind) {
	case CATALOG_LIMIT_HUB:
		return THROTTLE_HUB;
	case CATALOG_LIMIT_PARTITION:
		return THROTTLE_PARTITION;
	case CATALOG_LIMIT_PUBLISHER:
		return THROTTLE_PUBLISHER;
	case CATALOG_LIMIT_POLICY:
		return THROTTLE_POLICY;
	case CATALOG_LIMIT_CLIENT:
		return THROTTLE_CLIENT;
	}
	return THROTTLE_CLIENT;
}

/* NULL: no memory. */
static struct throttle_rule *make_rules(const struct catalog *cat, size_t *n)
{
	struct throttle_rule *v = mem_calloc((size_t)cat->n_limits + 1, sizeof *v);
	*n = 0;
	if (v == NULL) {
		return NULL;
	}
	if (cat->units.units != 0) {
		v[(*n)++] = (struct throttle_rule){.kind = THROTTLE_NAMESPACE,
						   .limit = throttle_units(cat->units.units)};
	}
	for (uint32_t i = 0; i < cat->n_limits; i++) {
		const struct catalog_limit *from = &cat->limits[i];
		struct throttle_rule *to = &v[(*n)++];
		to->kind = kind_of(from->kind);
		_Static_assert(sizeof to->name >= sizeof from->name, "names fit");
		memcpy(to->name, from->name, sizeof from->name);
		to->limit.rate[THROTTLE_IN] = (struct throttle_rate){from->in_bytes, from->in_events};
		to->limit.rate[THROTTLE_OUT] = (struct throttle_rate){from->out_bytes, from->out_events};
	}
	return v;
}

static bool same_rate(const struct throttle_rate *a, const struct throttle_rate *b)
{
	return a->bytes == b->bytes && a->events == b->events;
}

static bool same_rules(const struct throttle_rule *a, size_t n_a, const struct throttle_rule *b,
		       size_t n_b)
{
	bool same = n_a == n_b;
	for (size_t i = 0; i < n_a && same; i++) {
		same = a[i].kind == b[i].kind && strcmp(a[i].name, b[i].name) == 0 &&
		       same_rate(&a[i].limit.rate[THROTTLE_IN], &b[i].limit.rate[THROTTLE_IN]) &&
		       same_rate(&a[i].limit.rate[THROTTLE_OUT], &b[i].limit.rate[THROTTLE_OUT]);
	}
	return same;
}

/* What was quiet under other units says nothing of these. */
static void begin_quiet(struct core_units *u, int64_t now_ns)
{
	u->quiet_since_ns = now_ns;
	u->quiet_need = 1;
}

/* The rules of before stay, and the next poll tries again. */
static void not_in_force(const struct core_units *u, const struct catalog *cat, enum err e)
{
	log_limited(LOG_ERROR, "LIMITS-NOT-IN-FORCE", "units=%u limits=%u present=%zu error=%s",
		    cat->units.units, cat->n_limits, u->n_rules, log_quote(err_text(e)));
}

static void put_in_force(struct core_units *u, const struct catalog *cat)
{
	size_t n = 0;
	struct throttle_rule *rules = make_rules(cat, &n);
	if (rules == NULL) {
		not_in_force(u, cat, ERR_NOMEM);
		return;
	}
	bool is_new = !same_rules(u->rules, u->n_rules, rules, n);
	enum err e = is_new ? throttle_set_rules(u->core->throttle, rules, n) : ERR_OK;
	if (e != ERR_OK) {
		not_in_force(u, cat, e);
		mem_free(rules);
		return;
	}
	if (is_new) {
		log_info("LIMITS", "units=%u limits=%u", cat->units.units, cat->n_limits);
		mem_free(u->rules);
		u->rules = rules;
		u->n_rules = n;
	} else {
		mem_free(rules);
	}
	if (!u->is_in_force || u->units.units != cat->units.units) {
		begin_quiet(u, clock_mono_ns());
		u->last.is_known = false;	/* what was throttled before is no reason now */
	}
	u->units = cat->units;
	u->version = cat->version;
	u->is_in_force = true;
}

void core_units_poll(struct core_units *u)
{
	const struct catalog *cat = core_catalog(u->core);
	if (!u->is_in_force || cat->version != u->version) {
		put_in_force(u, cat);
	}
	catalog_drop(&cat);
}

/* ---- growing and shrinking ---------------------------------------------------------- */

/* What happened in the namespace, scaled to a second. */
struct demand {
	bool is_throttled;
	enum throttle_direction direction;	/* that was throttled */
	double admitted[THROTTLE_DIRECTIONS][2];	/* bytes, events */
	double wanted[THROTTLE_DIRECTIONS][2];
};

static double per_second(uint64_t now, uint64_t before, double seconds)
{
	return now > before ? (double)(now - before) / seconds : 0;
}

static void look_at(const struct throttle_scope_info *ns, const struct look *last, int64_t now_ns,
		    struct demand *out)
{
	*out = (struct demand){0};
	double seconds = (double)(now_ns - last->at_ns) / 1e9;
	for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
		const struct throttle_figures *a = &ns->figures[d];
		const struct throttle_figures *b = &last->figures[d];
		double bytes = per_second(a->admitted_bytes, b->admitted_bytes, seconds);
		double events = per_second(a->admitted_events, b->admitted_events, seconds);
		double held = per_second(a->held_requests, b->held_requests, seconds);
		double refused = per_second(a->refused_requests, b->refused_requests, seconds);
		double late_bytes = per_second(a->throttled_bytes, b->throttled_bytes, seconds);
		double late_events = per_second(a->throttled_events, b->throttled_events, seconds);
		/* Held ones are admitted later, so of what was throttled only the refused
		 * part comes on top, and what waits now. */
		double lost = held + refused > 0 ? refused / (held + refused) : 0;
		double waiting = (double)ns->waiting_bytes[d];
		double events_a_byte = late_bytes > 0 ? late_events / late_bytes : 0;
		out->admitted[d][0] = bytes;
		out->admitted[d][1] = events;
		out->wanted[d][0] = bytes + lost * late_bytes + waiting;
		out->wanted[d][1] = events + lost * late_events + waiting * events_a_byte;
		if (held + refused > 0 || ns->waiting_flows[d] != 0) {
			out->direction = out->is_throttled ? out->direction : (enum throttle_direction)d;
			out->is_throttled = true;
		}
	}
}

/* So many units, at least 1, hold so much a second. */
static uint32_t units_for(const double rate[THROTTLE_DIRECTIONS][2])
{
	const struct throttle_limit unit = throttle_units(1);
	double most = 1;
	for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
		double bytes = rate[d][0] / (double)unit.rate[d].bytes;
		double events = rate[d][1] / (double)unit.rate[d].events;
		most = bytes > most ? bytes : most;
		most = events > most ? events : most;
	}
	if (most >= LIMIT_UNITS) {
		return LIMIT_UNITS;
	}
	uint32_t whole = (uint32_t)most;
	return (double)whole < most ? whole + 1 : whole;
}

static void on_changed(struct msg *m)
{
	struct store_command *cmd = (struct store_command *)(void *)m;
	struct core_units *u = (struct core_units *)(void *)((char *)cmd -
							     offsetof(struct core_units, command));
	u->is_busy = false;
	if (cmd->err == ERR_OK) {
		log_info(u->to > u->from ? "UNITS-INFLATED" : "UNITS-DEFLATED",
			 "from=%u to=%u reason=\"%s\"", u->from, u->to, u->reason);
		core_units_poll(u);
	} else if (cmd->err != ERR_NOT_ALLOWED && cmd->err != ERR_STOPPING) {
		/* Somebody who changed them meanwhile is right, anything else is not. */
		log_warn("UNITS-UNCHANGED", "from=%u to=%u error=%s", u->from, u->to,
			 log_quote(cmd->detail.text[0] != '\0' ? cmd->detail.text
							       : err_text(cmd->err)));
	}
}

static void change(struct core_units *u, uint32_t to, struct mailbox *reply_to)
{
	u->is_busy = true;
	u->from = u->units.units;
	u->to = to;
	u->command = (struct store_command){
		.reply_to = reply_to,
		.done = on_changed,
		.command = {.op = CATALOG_UNITS_SET,
			    .units_by = CATALOG_UNITS_BY_LOAD,
			    .has_units = true,
			    .units_was = u->from,
			    .units = {.units = to}},
	};
	store_command(u->core->store, &u->command);
}

static void grow(struct core_units *u, const struct demand *d, struct mailbox *reply_to)
{
	uint32_t to = units_for(d->wanted);
	to = to > u->units.units ? to : u->units.units + 1;
	to = to < u->units.inflate_max ? to : u->units.inflate_max;
	snprintf(u->reason, sizeof u->reason,
		 "the namespace was throttled %s: %.0f bytes and %.0f events per second wanted",
		 d->direction == THROTTLE_IN ? "in" : "out", d->wanted[d->direction][0],
		 d->wanted[d->direction][1]);
	change(u, to, reply_to);
}

static void shrink(struct core_units *u, struct mailbox *reply_to)
{
	uint32_t to = u->quiet_need > u->units.base ? u->quiet_need : u->units.base;
	snprintf(u->reason, sizeof u->reason, "at most %u needed for %lld s", u->quiet_need,
		 (long long)(u->units.deflate_after_ms / 1000));
	change(u, to, reply_to);
}

/* Decides on the use since the last look. */
static void adapt(struct core_units *u, const struct demand *d, int64_t now_ns,
		  struct mailbox *reply_to)
{
	const struct catalog_units *units = &u->units;
	uint32_t need = units_for(d->admitted);
	if (d->is_throttled || need >= units->units) {
		begin_quiet(u, now_ns);
	} else if (need > u->quiet_need) {
		u->quiet_need = need;
	}
	if (d->is_throttled && units->units < units->inflate_max) {
		grow(u, d, reply_to);
	} else if (units->deflate_after_ms > 0 && units->units > units->base && units->base != 0 &&
		   now_ns - u->quiet_since_ns >= units->deflate_after_ms * 1000000) {
		shrink(u, reply_to);
	}
}

void core_units_adapt(struct core_units *u, int64_t now_ns, struct mailbox *reply_to)
{
	const struct catalog_units *units = &u->units;
	bool may_grow = units->units != 0 && units->units < units->inflate_max;
	bool may_shrink = units->units > units->base && units->deflate_after_ms > 0;
	if (u->is_busy || (!may_grow && !may_shrink)) {
		u->last.is_known = false;
		begin_quiet(u, now_ns);	/* nobody looks whether it is */
		return;
	}
	struct throttle_scope_info *v = NULL;
	size_t n = 0;
	if (throttle_list(u->core->throttle, false, &v, &n) != ERR_OK || n == 0) {
		mem_free(v);
		return;
	}
	if (u->last.is_known && now_ns > u->last.at_ns) {
		struct demand d;
		look_at(&v[0], &u->last, now_ns, &d);
		adapt(u, &d, now_ns, reply_to);
	}
	u->last = (struct look){.at_ns = now_ns, .is_known = true};
	memcpy(u->last.figures, v[0].figures, sizeof u->last.figures);
	mem_free(v);
}
