/* What a decision about capacity costs.
 *
 *   bench_throttle [SECONDS]
 *
 * One line of JSON for each case: `try` is the way of a request while its limits are
 * not reached, through so many scopes that have one, by one thread and by one on each
 * core through the same scopes; `cycle` is a request that waits, from throttle_ask to
 * its admission by throttle_run, in virtual time, beside so many that wait. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "throttle/throttle.h"

enum { THREADS_MAX = 64, ROUND = 1000 };

static double seconds = 0.5;

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "bench_throttle: %s failed\n", what);
		exit(1);
	}
}

static struct throttle *make(int scopes, uint64_t bytes, uint64_t events)
{
	static const char *const names[] = {"", "hub", "hub", "policy", "client", "hub"};
	struct throttle_rule rules[THROTTLE_KINDS] = {0};
	struct throttle_options o = {
		.hold_ns = 2000000000, .delay_ns = 25000000000, .hold_bytes = 1 << 30,
	};
	struct throttle *t;
	must(throttle_new(&o, &t) == ERR_OK, "throttle_new");
	for (int i = 0; i < scopes; i++) {
		rules[i].kind = (enum throttle_kind)i;
		snprintf(rules[i].name, sizeof rules[i].name, "%s", names[i]);
		for (int d = 0; d < THROTTLE_DIRECTIONS; d++) {
			rules[i].limit.rate[d] = (struct throttle_rate){bytes, events};
		}
	}
	must(throttle_set_rules(t, rules, (size_t)scopes) == ERR_OK, "throttle_set_rules");
	return t;
}

static void open_lane(struct throttle *t, struct throttle_flow **f, struct throttle_lane **l)
{
	struct throttle_place p = {
		.hub_id = 1, .hub = "hub", .partition = 0, .policy = "policy", .client = "client",
		.publisher = "publisher",
	};
	must(throttle_flow_open(t, "bench", f) == ERR_OK, "throttle_flow_open");
	must(throttle_lane_open(*f, THROTTLE_IN, &p, l) == ERR_OK, "throttle_lane_open");
}

/* ---- try ------------------------------------------------------------------------ */

struct trier {
	pthread_t thread;
	struct throttle_flow *flow;
	struct throttle_lane *lane;
	double tries;
	double ns;
};

static void *try_on(void *arg)
{
	struct trier *me = arg;
	const struct throttle_cost cost = {.bytes = 100, .events = 1};
	int64_t start = clock_mono_ns();
	int64_t now = start;
	bool ok = true;
	while (now - start < (int64_t)(seconds * 1e9)) {
		for (int i = 0; i < ROUND; i++) {
			ok &= throttle_try(me->lane, &cost, now + i);
		}
		me->tries += ROUND;
		now = clock_mono_ns();
	}
	me->ns = (double)(now - start);
	must(ok, "throttle_try");
	return NULL;
}

static void bench_try(int scopes, int threads)
{
	struct throttle *t = make(scopes, UINT64_C(100) << 30, 1000000000);
	struct trier triers[THREADS_MAX] = {0};
	double ns = 0;
	double per_second = 0;
	for (int i = 0; i < threads; i++) {
		open_lane(t, &triers[i].flow, &triers[i].lane);
	}
	for (int i = 0; i < threads; i++) {
		must(thread_start(&triers[i].thread, ROLE_NET_LOOP, "try", try_on, &triers[i]) == ERR_OK,
		     "thread_start");
	}
	for (int i = 0; i < threads; i++) {
		thread_join(triers[i].thread);
		ns += triers[i].ns / triers[i].tries / threads;
		per_second += triers[i].tries / triers[i].ns * 1e3;
		throttle_lane_close(&triers[i].lane);
		throttle_flow_close(&triers[i].flow);
	}
	throttle_free(&t);
	printf("{\"what\": \"try\", \"scopes\": %d, \"threads\": %d, \"ns_per_try\": %.1f, "
	       "\"m_per_s\": %.2f}\n", scopes, threads, ns, per_second);
	fflush(stdout);
}

/* ---- ask and run ------------------------------------------------------------------- */

struct waiter {
	struct throttle_request r;
	struct throttle_flow *flow;
	struct throttle_lane *lane;
	struct waiter *next;
};
struct cycle {
	struct waiter *admitted;
	double count;
};

static void on_decided(void *arg, struct throttle_request *r, const struct throttle_decision *d)
{
	struct cycle *c = arg;
	struct waiter *w = (struct waiter *)(void *)r;
	must(d->verdict == THROTTLE_ADMIT, "admission");
	throttle_settle(w->lane);
	w->next = c->admitted;
	c->admitted = w;
	c->count++;
}

static void ask(struct waiter *w, int64_t now)
{
	w->r = (struct throttle_request){.cost = {100, 1}, .patience = THROTTLE_ENDLESS};
	throttle_defer(w->lane);
	if (throttle_ask(w->lane, &w->r, now).verdict == THROTTLE_ADMIT) {
		throttle_settle(w->lane);
	}
}

/* A million a second are admitted, `each` by a run; as many ask anew. */
static void bench_cycle(int lanes, int scopes, int each)
{
	struct throttle *t = make(scopes, 0, 1000000);
	struct waiter *waiters = mem_calloc((size_t)lanes, sizeof *waiters);
	struct cycle c = {0};
	int64_t now = 1000000000;
	must(waiters != NULL, "memory");
	for (int i = 0; i < lanes; i++) {
		open_lane(t, &waiters[i].flow, &waiters[i].lane);
	}
	struct throttle_cost all = {1, 1000000};
	must(throttle_try(waiters[0].lane, &all, now), "throttle_try");
	for (int i = 0; i < lanes; i++) {
		ask(&waiters[i], now);
	}
	int64_t start = clock_mono_ns();
	int64_t end = start;
	while (end - start < (int64_t)(seconds * 1e9)) {
		for (int i = 0; i < ROUND / each; i++) {
			now += each * 1000;
			throttle_run(t, now, on_decided, &c);
			while (c.admitted != NULL) {
				struct waiter *w = c.admitted;
				c.admitted = w->next;
				ask(w, now);
			}
		}
		end = clock_mono_ns();
	}
	printf("{\"what\": \"cycle\", \"waiting\": %d, \"scopes\": %d, \"per_run\": %d, \"ns_per_cycle\": %.0f}\n",
	       lanes, scopes, each, (double)(end - start) / c.count);
	fflush(stdout);
	for (int i = 0; i < lanes; i++) {
		if (waiters[i].r.is_waiting) {
			throttle_cancel(&waiters[i].r);
			throttle_settle(waiters[i].lane);
		}
		throttle_lane_close(&waiters[i].lane);
		throttle_flow_close(&waiters[i].flow);
	}
	throttle_free(&t);
	mem_free(waiters);
}

int main(int argc, char **argv)
{
	static const int waiting[] = {10, 1000, 10000};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	seconds = argc > 1 ? atof(argv[1]) : seconds;
	cores = cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : cores;
	for (int scopes = 0; scopes <= THROTTLE_KINDS; scopes += scopes == 0 ? 1 : THROTTLE_KINDS - 1) {
		bench_try(scopes, 1);
		if (cores > 1) {
			bench_try(scopes, (int)cores);
		}
	}
	for (size_t i = 0; i < sizeof waiting / sizeof waiting[0]; i++) {
		bench_cycle(waiting[i], 1, 1);
		if (waiting[i] > 100) {
			bench_cycle(waiting[i], 1, 100);
		}
		bench_cycle(waiting[i], THROTTLE_KINDS, 1);
	}
	return 0;
}
