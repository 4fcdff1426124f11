#include <check.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "test/unit/throttle/sim_priv.h"

/* The checker: scopes, the rules for them, and what each admitted. */

static uint64_t amount(const struct throttle_cost *c, int dimension)
{
	return dimension == SIM_BYTES ? c->bytes : c->events;
}

static uint64_t rate_of(const struct throttle_rate *r, int dimension)
{
	return dimension == SIM_BYTES ? r->bytes : r->events;
}

struct throttle_rule sim_rule(enum throttle_kind kind, const char *name, uint64_t bytes,
			      uint64_t events)
{
	struct throttle_rule r = {.kind = kind};
	snprintf(r.name, sizeof r.name, "%s", name);
	r.limit.rate[THROTTLE_IN] = (struct throttle_rate){bytes, events};
	r.limit.rate[THROTTLE_OUT] = (struct throttle_rate){bytes, events};
	return r;
}

struct throttle_rule sim_rule_units(enum throttle_kind kind, const char *name, uint32_t units)
{
	struct throttle_rule r = sim_rule(kind, name, 0, 0);
	r.limit = throttle_units(units);
	return r;
}

static struct throttle_limit limit_for(const struct sim *sim, const struct sim_scope *s)
{
	struct throttle_limit any = {0};
	for (size_t i = 0; i < sim->rule_count; i++) {
		const struct throttle_rule *r = &sim->rules[i];
		if (r->kind != s->kind) {
			continue;
		}
		if (strcmp(r->name, s->rule) == 0) {
			return r->limit;
		}
		if (strcmp(r->name, "*") == 0) {
			any = r->limit;
		}
	}
	return any;
}

/* A limit that is new begins full; one that grows keeps what was used, one that shrinks
 * is spent at most. */
static void apply(struct sim *sim, struct sim_scope *s)
{
	struct throttle_limit l = limit_for(sim, s);
	for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
		sim_drain(sim, s, (enum throttle_direction)d);
		for (int k = 0; k < SIM_DIMENSIONS; k++) {
			struct sim_level *v = &s->level[d][k];
			sim_wide most = (sim_wide)rate_of(&l.rate[d], k) * SIM_S;
			if (rate_of(&s->limit.rate[d], k) == 0) {
				v->filled = 0;
			}
			if (v->filled > most) {
				v->filled = most;
				v->over = 0;
			}
		}
	}
	s->limit = l;
}

void sim_rules(struct sim *sim, const struct throttle_rule *rules, size_t n)
{
	if (sim->rules != NULL && sim->party_count > 0) {
		sim->slack++;
	}
	/* The limits change at the time that the scheduler knows. */
	sim_run_now(sim);
	mem_free(sim->rules);
	sim->rules = mem_dup(rules, n * sizeof *rules);
	ck_assert_ptr_nonnull(sim->rules);
	sim->rule_count = n;
	for (size_t i = 0; i < sim->scope_count; i++) {
		apply(sim, sim->scopes[i]);
	}
	ck_assert_int_eq(throttle_set_rules(sim->throttle, rules, n), ERR_OK);
	sim_run_soon(sim);
}

void sim_units(struct sim *sim, uint32_t units)
{
	struct throttle_rule r = sim_rule_units(THROTTLE_NAMESPACE, "", units);
	sim_rules(sim, &r, 1);
}

struct sim_scope *sim_scope(struct sim *sim, enum throttle_kind kind, const char *name)
{
	for (size_t i = 0; i < sim->scope_count; i++) {
		if (sim->scopes[i]->kind == kind && strcmp(sim->scopes[i]->name, name) == 0) {
			return sim->scopes[i];
		}
	}
	return NULL;
}

static struct sim_scope *scope_get(struct sim *sim, enum throttle_kind kind, const char *name,
				   const char *rule)
{
	struct sim_scope *s = sim_scope(sim, kind, name);
	if (s != NULL) {
		return s;
	}
	s = MEM_NEW(struct sim_scope);
	ck_assert_ptr_nonnull(s);
	s->kind = kind;
	snprintf(s->name, sizeof s->name, "%s", name);
	snprintf(s->rule, sizeof s->rule, "%s", rule);
	s->limit = limit_for(sim, s);
	s->at_ns[THROTTLE_IN] = s->at_ns[THROTTLE_OUT] = sim->now_ns;
	ck_assert(mem_grow((void **)&sim->scopes, &sim->scope_cap, sim->scope_count + 1, sizeof s));
	sim->scopes[sim->scope_count++] = s;
	return s;
}

void sim_place(struct sim *sim, struct sim_lane *l, const struct throttle_place *p)
{
	char name[SIM_NAME_MAX];
	l->scopes[THROTTLE_NAMESPACE] = scope_get(sim, THROTTLE_NAMESPACE, "", "");
	l->scopes[THROTTLE_HUB] = scope_get(sim, THROTTLE_HUB, p->hub, p->hub);
	if (p->partition >= 0) {
		snprintf(name, sizeof name, "%s/%lld", p->hub, (long long)p->partition);
		l->scopes[THROTTLE_PARTITION] = scope_get(sim, THROTTLE_PARTITION, name, p->hub);
	}
	if (p->policy != NULL) {
		l->scopes[THROTTLE_POLICY] = scope_get(sim, THROTTLE_POLICY, p->policy, p->policy);
	}
	if (p->client != NULL) {
		l->scopes[THROTTLE_CLIENT] = scope_get(sim, THROTTLE_CLIENT, p->client, p->client);
	}
	if (p->publisher != NULL) {
		snprintf(name, sizeof name, "%s/%s", p->hub, p->publisher);
		l->scopes[THROTTLE_PUBLISHER] = scope_get(sim, THROTTLE_PUBLISHER, name, p->hub);
	}
}

/* Brings the levels to the present: they sink with the rate. */
void sim_drain(struct sim *sim, struct sim_scope *s, enum throttle_direction d)
{
	int64_t span = sim->now_ns - s->at_ns[d];
	s->at_ns[d] = sim->now_ns;
	for (int k = 0; k < SIM_DIMENSIONS; k++) {
		struct sim_level *v = &s->level[d][k];
		sim_wide out = (sim_wide)rate_of(&s->limit.rate[d], k) * span;
		v->filled = v->filled > out ? v->filled - out : 0;
	}
}

/* The most that any span ending now has admitted beyond its rate is `filled`. */
static void admit_scope(struct sim *sim, struct sim_scope *s, enum throttle_direction d,
			const struct throttle_cost *c)
{
	sim_drain(sim, s, d);
	s->sum[d].requests++;
	for (int k = 0; k < SIM_DIMENSIONS; k++) {
		uint64_t rate = rate_of(&s->limit.rate[d], k);
		uint64_t n = amount(c, k);
		struct sim_level *v = &s->level[d][k];
		s->sum[d].amount[k] += n;
		if (rate == 0 || n == 0) {
			continue;
		}
		if (v->filled == 0) {
			v->over = 0;
		}
		if (n > rate && n > v->over) {
			v->over = n;
		}
		v->filled += (sim_wide)n * SIM_S;
		uint64_t most = (v->over > rate ? v->over : rate) + sim->slack;
		sim_assert(sim, v->filled <= (sim_wide)most * SIM_S,
			   "kind %d %s, direction %d: %s beyond burst + rate * time by %.3f of rate %llu",
			   s->kind, s->name, d, k == SIM_BYTES ? "bytes" : "events",
			   (double)(v->filled - (sim_wide)most * SIM_S) / 1e9, (unsigned long long)rate);
	}
}

void sim_admit(struct sim *sim, struct sim_lane *l, enum throttle_direction d,
	       const struct throttle_cost *c)
{
	for (int k = 0; k < THROTTLE_KINDS; k++) {
		if (l->scopes[k] != NULL) {
			admit_scope(sim, l->scopes[k], d, c);
		}
	}
}

void sim_give(struct sim *sim, struct sim_lane *l, enum throttle_direction d,
	      const struct throttle_cost *c)
{
	for (int k = 0; k < THROTTLE_KINDS; k++) {
		struct sim_scope *s = l->scopes[k];
		if (s == NULL) {
			continue;
		}
		sim_drain(sim, s, d);
		for (int i = 0; i < SIM_DIMENSIONS; i++) {
			sim_wide n = (sim_wide)amount(c, i) * SIM_S;
			struct sim_level *v = &s->level[d][i];
			v->filled = v->filled > n ? v->filled - n : 0;
			s->sum[d].amount[i] -= amount(c, i);
			s->sum[d].given += amount(c, i);
		}
	}
}

/* Counts a request in (+1) or out (-1) of those that wait. */
void sim_wait(struct sim_lane *l, enum throttle_direction d, const struct throttle_cost *c, bool in)
{
	for (int k = 0; k < THROTTLE_KINDS; k++) {
		for (int i = 0; l->scopes[k] != NULL && i < SIM_DIMENSIONS; i++) {
			uint64_t *w = &l->scopes[k]->level[d][i].waiting;
			*w = in ? *w + amount(c, i) : *w - amount(c, i);
		}
	}
}

/* How long it would take to serve all that waits and then `c`, in the slowest scope:
 * nobody can have to wait longer than that by what is known now. */
int64_t sim_longest(struct sim *sim, struct sim_lane *l, enum throttle_direction d,
		    const struct throttle_cost *c)
{
	sim_wide worst = 0;
	for (int k = 0; k < THROTTLE_KINDS; k++) {
		struct sim_scope *s = l->scopes[k];
		if (s == NULL) {
			continue;
		}
		sim_drain(sim, s, d);
		for (int i = 0; i < SIM_DIMENSIONS; i++) {
			uint64_t rate = rate_of(&s->limit.rate[d], i);
			if (rate > 0) {
				const struct sim_level *v = &s->level[d][i];
				sim_wide all = v->filled + (sim_wide)(v->waiting + amount(c, i)) * SIM_S;
				sim_wide ns = all / rate - SIM_S;
				worst = ns > worst ? ns : worst;
			}
		}
	}
	return worst > INT64_MAX ? INT64_MAX : (int64_t)worst;
}

bool sim_is_limit(const struct sim_lane *l, const struct throttle_reason *r)
{
	const struct sim_scope *s = l->scopes[r->kind];
	if (s == NULL) {
		return false;
	}
	const struct throttle_rate *rate = &s->limit.rate[r->direction];
	return rate_of(rate, r->by_events ? SIM_EVENTS : SIM_BYTES) == r->rate && r->rate > 0;
}

void sim_check_figures(struct sim *sim)
{
	struct throttle_scope_info *list;
	size_t n;
	ck_assert_int_eq(throttle_list(sim->throttle, true, &list, &n), ERR_OK);
	sim_assert(sim, n > 0 && list[0].kind == THROTTLE_NAMESPACE, "the namespace is not first");
	for (size_t i = 0; i < n; i++) {
		const struct throttle_scope_info *info = &list[i];
		const struct sim_scope *s = sim_scope(sim, info->kind, info->name);
		if (s == NULL) {
			continue;	/* of a rule that nobody uses */
		}
		for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
			const struct throttle_figures *f = &info->figures[d];
			const struct sim_sum *sum = &s->sum[d];
			const struct sim_level *v = s->level[d];
			sim_assert(sim, f->admitted_requests == sum->requests,
				   "%s, direction %d: counts %llu requests, not %llu", info->name, d,
				   (unsigned long long)f->admitted_requests,
				   (unsigned long long)sum->requests);
			sim_assert(sim, sum->given > 0 || f->admitted_bytes == sum->amount[SIM_BYTES],
				   "%s, direction %d: bytes", info->name, d);
			sim_assert(sim, sum->given > 0 || f->admitted_events == sum->amount[SIM_EVENTS],
				   "%s, direction %d: events", info->name, d);
			sim_assert(sim, v[SIM_BYTES].waiting > 0 || info->waiting_bytes[d] == 0,
				   "%s, direction %d: %llu bytes wait, none do", info->name, d,
				   (unsigned long long)info->waiting_bytes[d]);
			sim_assert(sim, v[SIM_EVENTS].waiting > 0 || info->waiting_flows[d] == 0,
				   "%s, direction %d: %u flows wait, none do", info->name, d,
				   info->waiting_flows[d]);
		}
	}
	mem_free(list);
}

double sim_part(const struct sim_sum *now, const struct sim_sum *before,
		const struct throttle_rate *rate)
{
	double most = 0;
	for (int k = 0; k < SIM_DIMENSIONS; k++) {
		uint64_t r = rate_of(rate, k);
		double part = r == 0 ? 0 : (double)(now->amount[k] - before->amount[k]) / (double)r;
		most = part > most ? part : most;
	}
	return most;
}
