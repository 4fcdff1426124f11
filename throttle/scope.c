/* The registry: scopes, seats and flows, and which limit each scope has. All of it
 * under the registry's lock. */
#include "throttle/throttle_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

int64_t throttle_scope_now(struct throttle *t)
{
	int64_t now_ns = atomic_load_explicit(&t->clock_ns, memory_order_relaxed);
	for (struct throttle_lane *l = t->lanes; l != NULL; l = l->next) {
		int64_t last_ns = atomic_load_explicit(&l->last_ns, memory_order_relaxed);
		now_ns = last_ns > now_ns ? last_ns : now_ns;
	}
	return now_ns;
}

static void apply(struct throttle *t, struct throttle_scope *s, int64_t now_ns)
{
	const struct throttle_limit *limit = throttle_rules_find(t->rules, s->kind, s->rule);
	for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
		struct throttle_gauge *g = &s->gauges[d];
		const struct throttle_rate *rate = &limit->rate[d];
		uint64_t bytes = atomic_load_explicit(&g->bucket.rate[THROTTLE_BYTES], memory_order_relaxed);
		uint64_t events = atomic_load_explicit(&g->bucket.rate[THROTTLE_EVENTS], memory_order_relaxed);
		if (bytes != rate->bytes || events != rate->events) {
			throttle_bucket_set(&g->bucket, rate, now_ns);
		}
		atomic_store_explicit(&g->is_limited, rate->bytes != 0 || rate->events != 0,
				      memory_order_release);
	}
}

enum err throttle_set_rules(struct throttle *t, const struct throttle_rule *rules, size_t n)
{
	struct throttle_rules *made;
	enum err e = throttle_rules_new(rules, n, &made);
	if (e != ERR_OK) {
		return e;
	}
	lock_take(&t->lock);
	struct throttle_rules *old = t->rules;
	t->rules = made;
	int64_t now_ns = throttle_scope_now(t);
	for (struct throttle_scope *s = t->all_scopes; s != NULL; s = s->next) {
		apply(t, s, now_ns);
	}
	/* Release: the scheduler that sees it sees the rates. */
	atomic_fetch_add_explicit(&t->rules_version, 1, memory_order_release);
	lock_give(&t->lock);
	throttle_rules_free(&old);
	return ERR_OK;
}

/* ---- scopes -------------------------------------------------------------------- */

/* Identity, name in rules and name for lists of the scope of that kind at a place. */
struct names {
	char key[2 * THROTTLE_NAME_MAX + 64];	/* two names and two numbers */
	char rule[THROTTLE_NAME_MAX];
	char name[THROTTLE_NAME_MAX];
};

static void name_scope(enum throttle_kind kind, const struct throttle_place *p, struct names *n)
{
	*n = (struct names){0};
	const char *hub = p->hub != NULL ? p->hub : "";
	/* A hub by its number, which a deleted one's successor does not share, and its name. */
	throttle_rules_fold(THROTTLE_HUB, hub, n->rule, sizeof n->rule);
	switch (kind) {
	case THROTTLE_HUB:
		(void)snprintf(n->key, sizeof n->key, "%" PRIu32 "/%s", p->hub_id, n->rule);
		(void)snprintf(n->name, sizeof n->name, "%s", hub);
		break;
	case THROTTLE_PARTITION:
		(void)snprintf(n->key, sizeof n->key, "%" PRIu32 "/%s/%" PRId64, p->hub_id, n->rule,
			       p->partition);
		(void)snprintf(n->name, sizeof n->name, "%s/%" PRId64, hub, p->partition);
		break;
	case THROTTLE_PUBLISHER:
		(void)snprintf(n->key, sizeof n->key, "%" PRIu32 "/%s/%s", p->hub_id, n->rule, p->publisher);
		(void)snprintf(n->name, sizeof n->name, "%s/%s", hub, p->publisher);
		break;
	case THROTTLE_POLICY:
		throttle_rules_fold(kind, p->policy, n->key, sizeof n->key);
		throttle_rules_fold(kind, p->policy, n->rule, sizeof n->rule);
		(void)snprintf(n->name, sizeof n->name, "%s", p->policy);
		break;
	case THROTTLE_CLIENT:
		(void)snprintf(n->key, sizeof n->key, "%s", p->client);
		(void)snprintf(n->rule, sizeof n->rule, "%s", p->client);
		(void)snprintf(n->name, sizeof n->name, "%s", p->client);
		break;
	case THROTTLE_NAMESPACE:
	case THROTTLE_KINDS:
	default:
		n->rule[0] = '\0';
		break;
	}
}

static void scope_free(struct throttle_scope *s)
{
	mem_free(s->key);
	mem_free(s->rule);
	mem_free(s->name);
	mem_free(s);
}

static enum err scope_new(struct throttle *t, enum throttle_kind kind, const struct names *n,
			  uint64_t hash, struct throttle_scope **out)
{
	struct throttle_scope *s = MEM_NEW(struct throttle_scope);
	if (s == NULL) {
		return ERR_NOMEM;
	}
	s->kind = kind;
	s->key = mem_strdup(n->key);
	s->rule = mem_strdup(n->rule);
	s->name = mem_strdup(n->name);
	if (s->key == NULL || s->rule == NULL || s->name == NULL ||
	    throttle_map_add(&t->scopes, &s->link, hash) != ERR_OK) {
		scope_free(s);
		return ERR_NOMEM;
	}
	for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
		s->gauges[d].scope = s;
		s->gauges[d].direction = (enum throttle_direction)d;
	}
	/* Full, at whatever time the first taker comes. */
	apply(t, s, atomic_load_explicit(&t->clock_ns, memory_order_relaxed));
	s->next = t->all_scopes;
	if (s->next != NULL) {
		s->next->prev = s;
	}
	t->all_scopes = s;
	*out = s;
	return ERR_OK;
}

static void idle_remove(struct throttle *t, struct throttle_scope *s)
{
	*(s->idle_prev != NULL ? &s->idle_prev->idle_next : &t->idle_first) = s->idle_next;
	*(s->idle_next != NULL ? &s->idle_next->idle_prev : &t->idle_last) = s->idle_prev;
	s->idle_prev = s->idle_next = NULL;
	s->is_idle = false;
	t->n_idle--;
}

static void idle_add(struct throttle *t, struct throttle_scope *s, int64_t now_ns)
{
	s->idle_prev = t->idle_last;
	*(t->idle_last != NULL ? &t->idle_last->idle_next : &t->idle_first) = s;
	t->idle_last = s;
	s->is_idle = true;
	s->idle_since_ns = now_ns;
	t->n_idle++;
}

enum err throttle_scope_join(struct throttle *t, enum throttle_kind kind, const struct throttle_place *p,
			     struct throttle_scope **out)
{
	struct names n;
	name_scope(kind, p, &n);
	uint64_t hash = throttle_hash((uint64_t)kind, n.key, strlen(n.key));
	struct throttle_scope *s = NULL;
	for (struct throttle_link *k = throttle_map_find(&t->scopes, hash); k != NULL; k = k->next) {
		struct throttle_scope *at = (struct throttle_scope *)k;
		if (k->hash == hash && at->kind == kind && strcmp(at->key, n.key) == 0) {
			s = at;
			break;
		}
	}
	if (s == NULL) {
		enum err e = scope_new(t, kind, &n, hash, &s);
		if (e != ERR_OK) {
			return e;
		}
	} else if (s->is_idle) {
		idle_remove(t, s);
	}
	s->n_lanes++;
	*out = s;
	return ERR_OK;
}

void throttle_scope_leave(struct throttle *t, struct throttle_scope *s)
{
	assert(s->n_lanes > 0);
	if (--s->n_lanes == 0) {
		/* The lane that leaves told its time when it was unlinked. */
		idle_add(t, s, atomic_load_explicit(&t->clock_ns, memory_order_relaxed));
	}
}

void throttle_scope_sweep(struct throttle *t, bool all)
{
	int64_t now_ns = atomic_load_explicit(&t->clock_ns, memory_order_relaxed);
	int64_t until_ns = now_ns - (int64_t)THROTTLE_IDLE_S * THROTTLE_SECOND_NS;
	struct throttle_scope *next;
	for (struct throttle_scope *s = t->idle_first; s != NULL; s = next) {
		next = s->idle_next;
		if (!all && t->n_idle <= THROTTLE_IDLE_MAX && s->idle_since_ns > until_ns) {
			return;
		}
		/* Acquire: what the scheduler did before it let go. Without lanes it cannot
		 * come back. */
		if (!all && atomic_load_explicit(&s->pins, memory_order_acquire) != 0) {
			continue;
		}
		idle_remove(t, s);
		throttle_map_remove(&t->scopes, &s->link);
		*(s->prev != NULL ? &s->prev->next : &t->all_scopes) = s->next;
		if (s->next != NULL) {
			s->next->prev = s->prev;
		}
		scope_free(s);
	}
}

/* ---- seats ---------------------------------------------------------------------- */

static uint64_t seat_hash(const struct throttle_flow *f, const struct throttle_gauge *g)
{
	uintptr_t key[2] = {(uintptr_t)f, (uintptr_t)g};
	return throttle_hash(0, key, sizeof key);
}

enum err throttle_seat_join(struct throttle *t, struct throttle_flow *f, struct throttle_gauge *g,
			    struct throttle_seat **out)
{
	uint64_t hash = seat_hash(f, g);
	for (struct throttle_link *k = throttle_map_find(&t->seats, hash); k != NULL; k = k->next) {
		struct throttle_seat *at = (struct throttle_seat *)k;
		if (at->flow == f && at->gauge == g) {
			at->n_lanes++;
			*out = at;
			return ERR_OK;
		}
	}
	struct throttle_seat *s = MEM_NEW(struct throttle_seat);
	if (s == NULL || throttle_map_add(&t->seats, &s->link, hash) != ERR_OK) {
		mem_free(s);
		return ERR_NOMEM;
	}
	s->flow = f;
	s->gauge = g;
	s->n_lanes = 1;
	f->refs++;
	s->next = g->scope->seats;
	if (s->next != NULL) {
		s->next->prev = s;
	}
	g->scope->seats = s;
	*out = s;
	return ERR_OK;
}

void throttle_seat_leave(struct throttle *t, struct throttle_seat *s)
{
	assert(s->n_lanes > 0);
	if (--s->n_lanes > 0) {
		return;
	}
	struct throttle_gauge *g = s->gauge;
	uint64_t throttled = atomic_load_explicit(&s->throttled, memory_order_relaxed);
	if (throttled > g->gone_throttled) {
		g->gone_throttled = throttled;
		memcpy(g->gone_label, s->flow->label, sizeof g->gone_label);
	}
	throttle_map_remove(&t->seats, &s->link);
	*(s->prev != NULL ? &s->prev->next : &g->scope->seats) = s->next;
	if (s->next != NULL) {
		s->next->prev = s->prev;
	}
	throttle_flow_drop(s->flow);
	mem_free(s);
}

/* ---- flows ------------------------------------------------------------------------ */

void throttle_flow_drop(struct throttle_flow *f)
{
	assert(f->refs > 0);
	if (--f->refs == 0) {
		f->throttle->n_flows--;
		mem_free(f);
	}
}

enum err throttle_flow_open(struct throttle *t, const char *label, struct throttle_flow **out)
{
	struct throttle_flow *f = MEM_NEW(struct throttle_flow);
	if (f == NULL) {
		return ERR_NOMEM;
	}
	f->throttle = t;
	f->refs = 1;
	(void)snprintf(f->label, sizeof f->label, "%s", label);
	lock_take(&t->lock);
	t->n_flows++;
	lock_give(&t->lock);
	*out = f;
	return ERR_OK;
}

void throttle_flow_close(struct throttle_flow **f)
{
	struct throttle *t = (*f)->throttle;
	lock_take(&t->lock);
	throttle_flow_drop(*f);
	lock_give(&t->lock);
	*f = NULL;
}

/* ---- the whole --------------------------------------------------------------------- */

enum err throttle_new(const struct throttle_options *o, struct throttle **out)
{
	struct throttle *t = MEM_NEW(struct throttle);
	if (t == NULL) {
		return ERR_NOMEM;
	}
	t->options = *o;
	lock_init(&t->lock);
	const struct throttle_place nowhere = {.partition = -1};
	lock_take(&t->lock);
	enum err e = throttle_scope_join(t, THROTTLE_NAMESPACE, &nowhere, &t->space);
	lock_give(&t->lock);
	if (e != ERR_OK) {
		throttle_map_fini(&t->scopes);
		lock_fini(&t->lock);
		mem_free(t);
		return e;
	}
	*out = t;
	return ERR_OK;
}

void throttle_free(struct throttle **tp)
{
	struct throttle *t = *tp;
	*tp = NULL;
	lock_take(&t->lock);
	for (struct throttle_scope *s = t->all_scopes; s != NULL; s = s->next) {
		throttle_debt_end(&s->gauges[THROTTLE_IN]);
		throttle_debt_end(&s->gauges[THROTTLE_OUT]);
	}
	throttle_lane_reap(t);
	assert(t->lanes == NULL);
	assert(t->n_flows == 0);
	throttle_scope_leave(t, t->space);
	throttle_scope_sweep(t, true);
	assert(t->all_scopes == NULL);
	lock_give(&t->lock);
	throttle_map_fini(&t->scopes);
	throttle_map_fini(&t->seats);
	throttle_rules_free(&t->rules);
	lock_fini(&t->lock);
	mem_free(t);
}
