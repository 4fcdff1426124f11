#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "test/unit/throttle/sim_priv.h"

enum slot_state { SLOT_PARKED, SLOT_DUE, SLOT_POSTED, SLOT_WAITS };

/* One request of a party's window, again and again. */
struct sim_slot {
	struct throttle_request r;
	struct sim_party *party;
	struct sim_lane *lane;
	enum slot_state state;
	bool has_cost;		/* was refused: comes again with the same */
	struct throttle_cost cost;
	struct throttle_cost unused;	/* given back before the next one */
	struct sim_lane *unused_lane;
	int64_t first_ns, asked_ns;
	uint64_t number;	/* within the lane */
};

uint64_t sim_seed(uint64_t usual)
{
	const char *text = getenv("SIM_SEED");
	const char *shift = getenv("SIM_SHIFT");
	if (text != NULL) {
		return strtoull(text, NULL, 10);
	}
	return usual + (shift != NULL ? 10000 * strtoull(shift, NULL, 10) : 0);
}

/* splitmix64 */
uint64_t sim_random(struct sim *sim, uint64_t below)
{
	uint64_t z = sim->random += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	z ^= z >> 31;
	return below == 0 ? 0 : z % below;
}

/* ---- events: a heap by time, then by number ---------------------------------- */

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

static void event_push(struct sim *sim, int64_t at_ns, struct sim_slot *slot)
{
	/* Check marks each ck_assert in a file: too slow for what happens often. */
	sim_assert(sim, mem_grow((void **)&sim->events, &sim->event_cap, sim->event_count + 1,
				 sizeof *sim->events), "no memory");
	struct sim_event e = {.at_ns = at_ns, .number = sim->event_number++, .slot = slot};
	size_t i = sim->event_count++;
	for (; i > 0 && event_before(&e, &sim->events[(i - 1) / 2]); i = (i - 1) / 2) {
		sim->events[i] = sim->events[(i - 1) / 2];
	}
	sim->events[i] = e;
}

static struct sim_event event_pop(struct sim *sim)
{
	struct sim_event first = sim->events[0];
	struct sim_event e = sim->events[--sim->event_count];
	size_t i = 0;
	for (;;) {
		size_t k = 2 * i + 1;
		if (k >= sim->event_count) {
			break;
		}
		if (k + 1 < sim->event_count && event_before(&sim->events[k + 1], &sim->events[k])) {
			k++;
		}
		if (event_before(&e, &sim->events[k])) {
			break;
		}
		sim->events[i] = sim->events[k];
		i = k;
	}
	if (sim->event_count > 0) {
		sim->events[i] = e;
	}
	return first;
}

static void run_at(struct sim *sim, int64_t at_ns)
{
	if (at_ns < sim->run_ns) {
		sim->run_ns = at_ns;
		event_push(sim, at_ns, NULL);
	}
}

void sim_run_soon(struct sim *sim)
{
	run_at(sim, sim->now_ns);
}

/* ---- requests ------------------------------------------------------------------ */

static void slot_later(struct sim_slot *slot, int64_t span_ns)
{
	slot->state = SLOT_DUE;
	event_push(slot->party->sim, slot->party->sim->now_ns + span_ns, slot);
}

static void draw(struct sim_slot *slot)
{
	struct sim *sim = slot->party->sim;
	const struct sim_spec *s = &slot->party->spec;
	slot->cost.events = s->events_min + sim_random(sim, s->events_max - s->events_min + 1);
	slot->cost.bytes = slot->cost.events *
			   (s->bytes_min + sim_random(sim, s->bytes_max - s->bytes_min + 1));
	slot->lane = &slot->party->lanes[slot->party->next_lane++ % slot->party->lane_count];
	slot->first_ns = sim->now_ns;
	slot->has_cost = true;
}

static int64_t pause_of(struct sim_slot *slot, bool waited)
{
	const struct sim_spec *s = &slot->party->spec;
	int64_t pause = s->pause_ns;
	if (s->manner == SIM_KAFKA) {
		int64_t est = throttle_estimate(slot->lane->lane, &slot->cost, slot->party->sim->now_ns);
		est = waited && est < SIM_MS ? SIM_MS : est;
		est = est > 20 * SIM_S ? 20 * SIM_S : est;
		pause = est > pause ? est : pause;
	}
	return pause;
}

static void slot_admitted(struct sim_slot *slot, bool waited)
{
	struct sim_party *p = slot->party;
	struct sim *sim = p->sim;
	sim_admit(sim, slot->lane, p->spec.direction, &slot->cost);
	p->sum.requests++;
	p->sum.amount[SIM_BYTES] += slot->cost.bytes;
	p->sum.amount[SIM_EVENTS] += slot->cost.events;
	int64_t whole = sim->now_ns - slot->first_ns;
	p->whole_max_ns = whole > p->whole_max_ns ? whole : p->whole_max_ns;
	p->wait_sum_ns += whole;
	if (p->spec.give_percent > 0) {
		slot->unused.events = slot->cost.events * sim_random(sim, p->spec.give_percent + 1) / 100;
		slot->unused.bytes = slot->cost.bytes * sim_random(sim, p->spec.give_percent + 1) / 100;
		slot->unused_lane = slot->lane;
	}
	slot->has_cost = false;
	slot_later(slot, pause_of(slot, waited));
}

static void slot_settle(struct sim_slot *slot)
{
	throttle_settle(slot->lane->lane);
	slot->lane->deferred--;
}

static void slot_passed(struct sim_slot *slot)
{
	struct sim_party *p = slot->party;
	sim_assert(p->sim, slot->number > slot->lane->admitted, "order of a lane is lost: %llu after %llu",
		   (unsigned long long)slot->number, (unsigned long long)slot->lane->admitted);
	slot->lane->admitted = slot->number;
	int64_t wait = p->sim->now_ns - slot->asked_ns;
	p->wait_max_ns = wait > p->wait_max_ns ? wait : p->wait_max_ns;
	slot_admitted(slot, true);
}

static int64_t limit_of(const struct sim_slot *slot)
{
	const struct throttle_options *o = &slot->party->sim->options.throttle;
	return slot->party->spec.manner == SIM_SENDER ? o->hold_ns : o->delay_ns;
}

static void slot_refused(struct sim_slot *slot, const struct throttle_decision *d, bool waited)
{
	struct sim_party *p = slot->party;
	struct sim *sim = p->sim;
	sim_assert(sim, slot->r.patience != THROTTLE_ENDLESS, "a reader was refused");
	sim_assert(sim, d->wait_ms >= 1, "refused without a wait");
	if (d->reason.by_memory) {
		sim->refused_by_memory++;
	} else {
		sim_assert(sim, sim_is_limit(slot->lane, &d->reason),
			   "reason kind %d, rate %llu, is no limit on the way", d->reason.kind,
			   (unsigned long long)d->reason.rate);
		sim_assert(sim, !waited || sim->now_ns - slot->asked_ns >= limit_of(slot) - SIM_MS,
			   "refused after %.3f s", (double)(sim->now_ns - slot->asked_ns) / 1e9);
	}
	p->sum.refused++;
	p->told_max_ms = d->wait_ms > p->told_max_ms ? d->wait_ms : p->told_max_ms;
	slot_later(slot, d->wait_ms * SIM_MS + (int64_t)sim_random(sim, SIM_MS));
}

static void slot_leaves(struct sim_slot *slot)
{
	struct sim *sim = slot->party->sim;
	sim_assert(sim, slot->state == SLOT_WAITS, "decided twice");
	sim_wait(slot->lane, slot->party->spec.direction, &slot->cost, false);
	sim->waiting--;
	if (slot->r.patience != THROTTLE_ENDLESS) {
		sim->held_bytes -= slot->cost.bytes;
	}
}

static void slot_waits(struct sim_slot *slot)
{
	struct sim *sim = slot->party->sim;
	slot->state = SLOT_WAITS;
	sim_wait(slot->lane, slot->party->spec.direction, &slot->cost, true);
	sim->waiting++;
	if (slot->r.patience != THROTTLE_ENDLESS) {
		sim->held_bytes += slot->cost.bytes;
		sim_assert(sim, sim->held_bytes <= sim->options.throttle.hold_bytes,
			   "%llu bytes are held", (unsigned long long)sim->held_bytes);
		sim->held_max = sim->held_bytes > sim->held_max ? sim->held_bytes : sim->held_max;
	}
}

static void decided(void *arg, struct throttle_request *r, const struct throttle_decision *d)
{
	struct sim *sim = arg;
	struct sim_slot *slot = (struct sim_slot *)(void *)((char *)r - offsetof(struct sim_slot, r));
	slot_leaves(slot);
	if (d->verdict == THROTTLE_ADMIT) {
		sim_assert(sim, slot->r.patience == THROTTLE_ENDLESS ||
			   sim->now_ns - slot->asked_ns <= limit_of(slot) + sim->options.late_ns + SIM_MS,
			   "admitted after %.3f s", (double)(sim->now_ns - slot->asked_ns) / 1e9);
		slot_passed(slot);
	} else {
		sim_assert(sim, d->verdict == THROTTLE_REFUSE, "decided to %d", d->verdict);
		slot_refused(slot, d, true);
	}
	slot_settle(slot);
}

static void slot_ask(struct sim_slot *slot)
{
	static const enum throttle_patience patience[] = {
		[SIM_SENDER] = THROTTLE_IMPATIENT, [SIM_KAFKA] = THROTTLE_PATIENT,
		[SIM_READER] = THROTTLE_ENDLESS,
	};
	struct sim_party *p = slot->party;
	struct sim *sim = p->sim;
	slot->asked_ns = sim->now_ns;
	slot->number = ++slot->lane->asked;
	slot->r = (struct throttle_request){.cost = slot->cost, .patience = patience[p->spec.manner]};
	int64_t longest = sim_longest(sim, slot->lane, p->spec.direction, &slot->cost);
	struct throttle_decision d = throttle_ask(slot->lane->lane, &slot->r, sim->now_ns);
	if (d.verdict == THROTTLE_WAIT) {
		slot_waits(slot);
	} else if (d.verdict == THROTTLE_ADMIT) {
		slot_passed(slot);
		slot_settle(slot);
	} else {
		sim_assert(sim, d.reason.by_memory || sim->may_refuse_early ||
			   longest >= limit_of(slot) / 100 * 98,
			   "refused at once though all that waits is served in %.3f s (told %u ms)",
			   (double)longest / 1e9, d.wait_ms);
		slot_refused(slot, &d, false);
		slot_settle(slot);
	}
	sim_run_soon(sim);
}

static void slot_try(struct sim_slot *slot)
{
	struct sim_party *p = slot->party;
	struct sim *sim = p->sim;
	if (slot->unused_lane != NULL) {
		sim_give(sim, slot->unused_lane, p->spec.direction, &slot->unused);
		throttle_give(slot->unused_lane->lane, &slot->unused, sim->now_ns);
		slot->unused_lane = NULL;
	}
	if (!p->is_active) {
		slot->state = SLOT_PARKED;
		return;
	}
	if (!slot->has_cost) {
		draw(slot);
	}
	if (throttle_try(slot->lane->lane, &slot->cost, sim->now_ns)) {
		sim_assert(sim, slot->lane->deferred == 0, "admitted past %u deferred requests of its lane",
			   slot->lane->deferred);
		slot_admitted(slot, false);
		return;
	}
	throttle_defer(slot->lane->lane);
	slot->lane->deferred++;
	slot->state = SLOT_POSTED;
	/* First in, first out for all. */
	int64_t at = sim->now_ns + (int64_t)sim_random(sim, (uint64_t)sim->options.post_ns + 1);
	sim->posted_ns = at > sim->posted_ns ? at : sim->posted_ns;
	event_push(sim, sim->posted_ns, slot);
}

/* ---- time ------------------------------------------------------------------------ */

void sim_run_now(struct sim *sim)
{
	sim->run_ns = INT64_MAX;
	sim->runs++;
	int64_t next = throttle_run(sim->throttle, sim->now_ns, decided, sim);
	sim_assert(sim, sim->waiting == 0 || next != INT64_MAX, "%llu wait and no run is due",
		   (unsigned long long)sim->waiting);
	if (next == INT64_MAX) {
		return;
	}
	next = next < sim->now_ns + SIM_US ? sim->now_ns + SIM_US : next;
	run_at(sim, next + (int64_t)sim_random(sim, (uint64_t)sim->options.late_ns + 1));
}

void sim_run(struct sim *sim, int64_t span_ns)
{
	int64_t end = sim->now_ns + span_ns;
	while (sim->event_count > 0 && sim->events[0].at_ns <= end) {
		struct sim_event e = event_pop(sim);
		sim->now_ns = e.at_ns;
		if (e.slot == NULL) {
			if (e.at_ns == sim->run_ns) {
				sim_run_now(sim);
			}
		} else if (e.slot->state == SLOT_DUE) {
			slot_try(e.slot);
		} else {
			sim_assert(sim, e.slot->state == SLOT_POSTED, "state %d", e.slot->state);
			slot_ask(e.slot);
		}
	}
	sim->now_ns = end;
}

void sim_cancel(struct sim *sim, unsigned percent)
{
	for (size_t i = 0; i < sim->party_count; i++) {
		struct sim_party *p = sim->parties[i];
		for (unsigned k = 0; k < p->spec.window; k++) {
			struct sim_slot *slot = &p->slots[k];
			if (slot->state == SLOT_WAITS && sim_random(sim, 100) < percent) {
				throttle_cancel(&slot->r);
				slot_leaves(slot);
				slot_settle(slot);
				slot->has_cost = false;
				slot_later(slot, p->spec.pause_ns);
			}
		}
	}
	sim_run_soon(sim);
}

static void flushed(void *arg, struct throttle_request *r, const struct throttle_decision *d)
{
	struct sim *sim = arg;
	struct sim_slot *slot = (struct sim_slot *)(void *)((char *)r - offsetof(struct sim_slot, r));
	slot_leaves(slot);
	sim_assert(sim, d->verdict == THROTTLE_REFUSE, "flushed with %d", d->verdict);
	slot_settle(slot);
	slot_later(slot, slot->party->spec.pause_ns);
}

void sim_flush(struct sim *sim)
{
	throttle_flush(sim->throttle, flushed, sim);
	sim_assert(sim, sim->waiting == 0, "%llu wait after a flush", (unsigned long long)sim->waiting);
}

/* ---- parties ------------------------------------------------------------------------ */

static void spec_complete(struct sim_spec *s)
{
	s->window = s->window == 0 ? 1 : s->window;
	s->events_min = s->events_min == 0 ? 1 : s->events_min;
	s->events_max = s->events_max < s->events_min ? s->events_min : s->events_max;
	s->bytes_min = s->bytes_min == 0 ? 100 : s->bytes_min;
	s->bytes_max = s->bytes_max < s->bytes_min ? s->bytes_min : s->bytes_max;
	s->pause_ns = s->pause_ns == 0 ? 200 * SIM_US : s->pause_ns;
}

struct sim_party *sim_add(struct sim *sim, const struct sim_spec *spec,
			  const struct throttle_place *places, unsigned n)
{
	char label[32];
	struct sim_party *p = MEM_NEW(struct sim_party);
	ck_assert_ptr_nonnull(p);
	p->sim = sim;
	p->spec = *spec;
	spec_complete(&p->spec);
	p->lanes = mem_calloc(n, sizeof *p->lanes);
	p->slots = mem_calloc(p->spec.window, sizeof *p->slots);
	ck_assert(p->lanes != NULL && p->slots != NULL);
	p->lane_count = n;
	snprintf(label, sizeof label, "party %zu", sim->party_count);
	ck_assert_int_eq(throttle_flow_open(sim->throttle, label, &p->flow), ERR_OK);
	for (unsigned i = 0; i < n; i++) {
		ck_assert_int_eq(throttle_lane_open(p->flow, spec->direction, &places[i],
						    &p->lanes[i].lane), ERR_OK);
		sim_place(sim, &p->lanes[i], &places[i]);
	}
	for (unsigned i = 0; i < p->spec.window; i++) {
		p->slots[i].party = p;
	}
	ck_assert(mem_grow((void **)&sim->parties, &sim->party_cap, sim->party_count + 1, sizeof p));
	sim->parties[sim->party_count++] = p;
	if (!spec->is_parked) {
		sim_resume(p);
	}
	return p;
}

void sim_park(struct sim_party *p)
{
	p->is_active = false;
}

void sim_resume(struct sim_party *p)
{
	p->is_active = true;
	for (unsigned i = 0; i < p->spec.window; i++) {
		if (p->slots[i].state == SLOT_PARKED) {
			slot_later(&p->slots[i], (int64_t)sim_random(p->sim, (uint64_t)p->spec.pause_ns));
		}
	}
}

struct sim *sim_new(const struct sim_options *o)
{
	struct sim *sim = MEM_NEW(struct sim);
	ck_assert_ptr_nonnull(sim);
	sim->options = *o;
	struct throttle_options *t = &sim->options.throttle;
	t->hold_ns = t->hold_ns == 0 ? 2 * SIM_S : t->hold_ns;
	t->delay_ns = t->delay_ns == 0 ? 25 * SIM_S : t->delay_ns;
	t->hold_bytes = t->hold_bytes == 0 ? 64 << 20 : t->hold_bytes;
	sim->random = o->seed;
	sim->now_ns = sim->begun_ns = 1000 * SIM_S + (int64_t)sim_random(sim, SIM_S);
	sim->run_ns = INT64_MAX;
	sim->slack = 1;
	ck_assert_int_eq(throttle_new(t, &sim->throttle), ERR_OK);
	return sim;
}

static void sim_end_party(struct sim_party **at)
{
	struct sim_party *p = *at;
	for (unsigned i = 0; i < p->spec.window; i++) {
		ck_assert_int_eq(p->slots[i].state, SLOT_PARKED);
	}
	for (unsigned i = 0; i < p->lane_count; i++) {
		throttle_lane_close(&p->lanes[i].lane);
	}
	throttle_flow_close(&p->flow);
	mem_free(p->lanes);
	mem_free(p->slots);
	mem_free(p);
	*at = NULL;
}

void sim_free(struct sim **at)
{
	struct sim *sim = *at;
	for (size_t i = 0; i < sim->party_count; i++) {
		sim_park(sim->parties[i]);
	}
	/* Refused ones come back only to be parked. */
	while (sim->event_count > 0) {
		if (sim->waiting > 0) {
			sim_cancel(sim, 100);
		}
		sim_run(sim, 50 * SIM_MS);
	}
	sim_assert(sim, sim->waiting == 0, "requests are left");
	sim_check_figures(sim);
	for (size_t i = 0; i < sim->party_count; i++) {
		sim_end_party(&sim->parties[i]);
	}
	throttle_free(&sim->throttle);
	for (size_t i = 0; i < sim->scope_count; i++) {
		mem_free(sim->scopes[i]);
	}
	mem_free(sim->scopes);
	mem_free(sim->parties);
	mem_free(sim->events);
	mem_free(sim->rules);
	mem_free(sim);
	*at = NULL;
}
