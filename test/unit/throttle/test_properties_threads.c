#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "test/unit/throttle/test_properties.h"

/* Real threads and the real clock: senders that try on threads of their own, one
 * scheduler, and rules, lists and flows that change meanwhile. */

enum { SENDERS = 3, LANES = 4, DEFERRED_MAX = 20, RATE = 20000 };

struct waiting {
	struct throttle_request r;
	struct throttle_lane *lane;
	atomic_int *deferred;
	struct waiting *next;
};

struct bed {
	struct throttle *t;
	struct lock lock;
	struct cond cond;
	struct waiting *first, **last;	/* posted, under the lock */
	bool is_stopping;		/* under the lock */
	atomic_bool is_ending;
	_Atomic uint64_t admitted, given;
	_Atomic uint64_t refused;
};

static void count(struct bed *b, struct throttle_lane *lane, int64_t now_ns)
{
	static const struct throttle_cost one = {10, 1};
	uint64_t n = atomic_fetch_add(&b->admitted, 1);
	if (n % 16 == 0) {
		throttle_give(lane, &one, now_ns);
		atomic_fetch_add(&b->given, 1);
	}
}

static void on_done(void *arg, struct throttle_request *r, const struct throttle_decision *d)
{
	struct bed *b = arg;
	struct waiting *w = (struct waiting *)(void *)r;
	if (d->verdict == THROTTLE_ADMIT) {
		count(b, w->lane, clock_mono_ns());
	} else {
		atomic_fetch_add(&b->refused, 1);
	}
	throttle_settle(w->lane);
	atomic_fetch_sub(w->deferred, 1);
	mem_free(w);
}

static void ask_all(struct bed *b, struct waiting *w)
{
	while (w != NULL) {
		struct waiting *next = w->next;
		struct throttle_decision d = throttle_ask(w->lane, &w->r, clock_mono_ns());
		if (d.verdict != THROTTLE_WAIT) {
			on_done(b, &w->r, &d);
		}
		w = next;
	}
}

static void *scheduler(void *arg)
{
	struct bed *b = arg;
	int64_t next = INT64_MAX;
	bool end = false;
	while (!end) {
		int64_t most = clock_mono_ns() + 5 * SIM_MS;
		lock_take(&b->lock);
		if (b->first == NULL && !b->is_stopping) {
			cond_wait_until(&b->cond, &b->lock, next < most ? next : most);
		}
		struct waiting *w = b->first;
		b->first = NULL;
		b->last = &b->first;
		end = b->is_stopping;
		lock_give(&b->lock);
		ask_all(b, w);
		next = throttle_run(b->t, clock_mono_ns(), on_done, b);
	}
	throttle_flush(b->t, on_done, b);
	return NULL;
}

static void post(struct bed *b, struct throttle_lane *lane, atomic_int *deferred)
{
	struct waiting *w = MEM_NEW(struct waiting);
	if (w == NULL) {
		abort();
	}
	w->r.cost = (struct throttle_cost){10, 1};
	w->r.patience = THROTTLE_PATIENT;
	w->lane = lane;
	w->deferred = deferred;
	atomic_fetch_add(deferred, 1);
	throttle_defer(lane);
	lock_take(&b->lock);
	*b->last = w;
	b->last = &w->next;
	cond_signal(&b->cond);
	lock_give(&b->lock);
}

static void *sender(void *arg)
{
	struct bed *b = arg;
	struct throttle_flow *flow;
	struct throttle_lane *lanes[LANES];
	atomic_int deferred[LANES] = {0};
	const struct throttle_cost one = {10, 1};
	bool ok = throttle_flow_open(b->t, "sender", &flow) == ERR_OK;
	for (int i = 0; ok && i < LANES; i++) {
		struct throttle_place p = place_in(i % 2 ? "a" : "b", i);
		ok = throttle_lane_open(flow, THROTTLE_IN, &p, &lanes[i]) == ERR_OK;
	}
	if (!ok) {
		abort();
	}
	int64_t sum = 0;
	for (unsigned i = 0; !atomic_load(&b->is_ending); i++) {
		struct throttle_lane *lane = lanes[i % LANES];
		int64_t now = clock_mono_ns();
		if (atomic_load(&deferred[i % LANES]) >= DEFERRED_MAX) {
			sum += throttle_estimate(lane, &one, now) + (int64_t)throttle_share(lane).events;
			sched_yield();
		} else if (throttle_try(lane, &one, now)) {
			count(b, lane, now);
		} else {
			post(b, lane, &deferred[i % LANES]);
		}
	}
	throttle_flow_close(&flow);
	for (int i = 0; i < LANES; i++) {
		while (atomic_load(&deferred[i]) > 0) {
			sched_yield();
		}
		throttle_lane_close(&lanes[i]);
	}
	return sum == 1 ? NULL : arg;
}

/* Rules, lists and flows, while the others run; the namespace's rate stays. */
static void disturb(struct bed *b, int64_t span_ns)
{
	struct throttle_rule rules[] = {
		sim_rule(THROTTLE_NAMESPACE, "", 0, RATE), sim_rule(THROTTLE_HUB, "a", 0, RATE / 10),
		sim_rule(THROTTLE_PARTITION, "b", 0, RATE * 2),
	};
	int64_t end = clock_mono_ns() + span_ns;
	for (unsigned i = 0; clock_mono_ns() < end; i++) {
		struct throttle_scope_info *list;
		struct throttle_flow *flow;
		struct throttle_lane *lane;
		struct throttle_place p = place_in("a", i % 7);
		size_t n;
		rules[1].limit.rate[THROTTLE_IN].events = RATE / 10 + i % 100;
		ck_assert_int_eq(throttle_set_rules(b->t, rules, 1 + i % 3), ERR_OK);
		ck_assert_int_eq(throttle_list(b->t, true, &list, &n), ERR_OK);
		mem_free(list);
		ck_assert_int_eq(throttle_flow_open(b->t, "other", &flow), ERR_OK);
		ck_assert_int_eq(throttle_lane_open(flow, THROTTLE_OUT, &p, &lane), ERR_OK);
		throttle_try(lane, &(struct throttle_cost){1, 1}, clock_mono_ns());
		throttle_lane_close(&lane);
		throttle_flow_close(&flow);
		sched_yield();
	}
}

START_TEST(threads_together_stay_within_the_rate_and_use_it)
{
	struct bed b = {0};
	pthread_t senders[SENDERS];
	pthread_t pacer;
	struct throttle_options o = {.hold_ns = SIM_S, .delay_ns = 20 * SIM_S, .hold_bytes = 1 << 20};
	struct throttle_rule rule = sim_rule(THROTTLE_NAMESPACE, "", 0, RATE);
	lock_init(&b.lock);
	cond_init(&b.cond);
	b.last = &b.first;
	ck_assert_int_eq(throttle_new(&o, &b.t), ERR_OK);
	ck_assert_int_eq(throttle_set_rules(b.t, &rule, 1), ERR_OK);
	int64_t start = clock_mono_ns();
	ck_assert_int_eq(thread_start(&pacer, ROLE_PACER, "pacer", scheduler, &b), ERR_OK);
	for (int i = 0; i < SENDERS; i++) {
		ck_assert_int_eq(thread_start(&senders[i], ROLE_NET_LOOP, "sender", sender, &b), ERR_OK);
	}
	disturb(&b, 1500 * SIM_MS);
	double lasted = (double)(clock_mono_ns() - start) / 1e9;
	uint64_t then = atomic_load(&b.admitted) - atomic_load(&b.given);
	atomic_store(&b.is_ending, true);
	for (int i = 0; i < SENDERS; i++) {
		thread_join(senders[i]);
	}
	double most = (double)(clock_mono_ns() - start) / 1e9;
	uint64_t all = atomic_load(&b.admitted) - atomic_load(&b.given);
	lock_take(&b.lock);
	b.is_stopping = true;
	cond_signal(&b.cond);
	lock_give(&b.lock);
	thread_join(pacer);
	throttle_free(&b.t);
	cond_fini(&b.cond);
	lock_fini(&b.lock);
	ck_assert_msg((double)all <= RATE + RATE * most + SENDERS + 1, "%llu admitted in %.3f s of %d a second",
		      (unsigned long long)all, most, RATE);
	ck_assert_msg((double)then >= 0.98 * RATE * lasted, "%llu admitted in %.3f s of %d a second",
		      (unsigned long long)then, lasted, RATE);
}
END_TEST

Suite *properties_threads_suite(void)
{
	Suite *s = suite_create("properties threads");
	TCase *tc = tcase_create("threads");
	tcase_set_timeout(tc, CASE_TIMEOUT_S);
	tcase_add_test(tc, threads_together_stay_within_the_rate_and_use_it);
	suite_add_tcase(s, tc);
	return s;
}
