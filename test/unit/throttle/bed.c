#include "test/unit/throttle/bed.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void bed_init_with(struct bed *b, const struct throttle_options *o)
{
	*b = (struct bed){.now_ns = 7 * BED_S, .next_ns = INT64_MAX};
	ck_assert_int_eq(throttle_new(o, &b->t), ERR_OK);
}

void bed_init(struct bed *b)
{
	bed_init_with(b, &(struct throttle_options){
		.hold_ns = 2 * BED_S, .delay_ns = 25 * BED_S, .hold_bytes = 64 << 20});
}

void bed_fini(struct bed *b)
{
	throttle_free(&b->t);
	ck_assert_ptr_null(b->t);
}

struct throttle_rule bed_rule(enum throttle_kind kind, const char *name, uint64_t bytes, uint64_t events)
{
	struct throttle_rule r = {.kind = kind, .limit.rate[THROTTLE_IN] = {bytes, events}};
	snprintf(r.name, sizeof r.name, "%s", name);
	return r;
}

void bed_rules(struct bed *b, const struct throttle_rule *rules, size_t n)
{
	ck_assert_int_eq(throttle_set_rules(b->t, rules, n), ERR_OK);
}

void bed_limit(struct bed *b, uint64_t bytes, uint64_t events)
{
	struct throttle_rule r = bed_rule(THROTTLE_NAMESPACE, "", bytes, events);
	bed_rules(b, &r, 1);
}

struct throttle_flow *bed_flow(struct bed *b, const char *label)
{
	struct throttle_flow *f;
	ck_assert_int_eq(throttle_flow_open(b->t, label, &f), ERR_OK);
	return f;
}

struct throttle_lane *bed_lane(struct throttle_flow *f, const char *hub, int64_t partition)
{
	struct throttle_lane *l;
	struct throttle_place p = {.hub_id = (uint32_t)hub[0], .hub = hub, .partition = partition};
	ck_assert_int_eq(throttle_lane_open(f, THROTTLE_IN, &p, &l), ERR_OK);
	return l;
}

bool bed_try(struct bed *b, struct throttle_lane *l, uint64_t bytes, uint64_t events)
{
	return throttle_try(l, &(struct throttle_cost){bytes, events}, b->now_ns);
}

struct throttle_decision bed_ask(struct bed *b, struct throttle_lane *l, struct throttle_request *r,
				 uint64_t bytes, uint64_t events, enum throttle_patience patience)
{
	*r = (struct throttle_request){.cost = {bytes, events}, .patience = patience};
	throttle_defer(l);
	struct throttle_decision d = throttle_ask(l, r, b->now_ns);
	if (d.verdict != THROTTLE_WAIT) {
		throttle_settle(l);
	}
	return d;
}

static void on_decided(void *arg, struct throttle_request *r, const struct throttle_decision *d)
{
	struct bed *b = arg;
	ck_assert_uint_lt(b->n, BED_DECIDED_MAX);
	ck_assert(!r->is_waiting);
	b->decided[b->n].r = r;
	b->decided[b->n].d = *d;
	b->decided[b->n].at_ns = b->now_ns;
	b->n++;
	throttle_settle(r->lane);
}

void bed_run(struct bed *b)
{
	b->next_ns = throttle_run(b->t, b->now_ns, on_decided, b);
	ck_assert_int_gt(b->next_ns, b->now_ns);
}

void bed_run_until(struct bed *b, int64_t until_ns)
{
	bed_run(b);
	while (b->next_ns <= until_ns) {
		b->now_ns = b->next_ns;
		bed_run(b);
	}
	b->now_ns = until_ns;
}

void bed_flush(struct bed *b)
{
	throttle_flush(b->t, on_decided, b);
}

void bed_check(const struct bed *b, size_t at, const struct throttle_request *r,
	       enum throttle_verdict verdict)
{
	ck_assert_uint_lt(at, b->n);
	ck_assert_ptr_eq(b->decided[at].r, r);
	ck_assert_int_eq(b->decided[at].d.verdict, verdict);
}

uint64_t bed_drain(struct bed *b, struct throttle_lane *l)
{
	uint64_t n = 0;
	while (bed_try(b, l, 0, 1)) {
		n++;
	}
	return n;
}

struct throttle_scope_info bed_info(struct bed *b, enum throttle_kind kind, const char *name)
{
	struct throttle_scope_info *list;
	struct throttle_scope_info found = {0};
	bool is_found = false;
	size_t n;
	ck_assert_int_eq(throttle_list(b->t, false, &list, &n), ERR_OK);
	ck_assert_int_eq(list[0].kind, THROTTLE_NAMESPACE);
	for (size_t i = 0; i < n; i++) {
		if (list[i].kind == kind && strcmp(list[i].name, name) == 0) {
			ck_assert(!is_found);
			found = list[i];
			is_found = true;
		}
	}
	mem_free(list);
	ck_assert_msg(is_found, "scope %s is not listed", name);
	return found;
}
