/* The pacer: the thread on which everything waits for capacity. Sends and readers
 * come as messages, the throttle's scheduler decides, and what it admits goes on from
 * here: sends to the store, readers' turns back to them. Also the clock of what is
 * done about once a second. */

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/core/core_priv.h"
#include "gateway/core/lanes.h"

_Static_assert(offsetof(struct core_append, op) == 0, "found from its operation");
_Static_assert(offsetof(struct store_append, msg) == 0, "found from its message");
_Static_assert(offsetof(struct core_turn, msg) == 0, "found from its message");

enum {
	/* Two runs lie at least so far apart, unless somebody asks: the scheduler loses
	 * nothing by being late, and what is admitted together shares a commit. */
	RUN_GAP_NS = 1000 * 1000,
	/* Use is the mean of three seconds: one alone jumps. */
	USE_SAMPLES = 4,
};

const struct core_pace core_usual_pace = {
	.poll_ns = 250 * 1000 * 1000,
	.second_ns = 1000 * 1000 * 1000,
	.minute_ns = INT64_C(60) * 1000 * 1000 * 1000,
};

enum { USE_IN_BYTES, USE_IN_EVENTS, USE_OUT_BYTES, USE_OUT_EVENTS, USES };

struct use_sample {
	int64_t at_ns;
	int64_t count[USES];
};

struct core_pacer {
	struct core *core;
	struct core_pace pace;
	struct mailbox mailbox;
	struct msg end;
	pthread_t thread;
	/* The thread's own. */
	bool is_stopped;	/* nothing waits from now on */
	bool is_ending;
	int64_t next_poll_ns;
	int64_t next_second_ns;
	int64_t next_minute_ns;
	struct core_units *units;
	struct core_minute *minute;
	struct use_sample sample[USE_SAMPLES];	/* oldest first */
	uint32_t n_samples;
	/* For everyone. */
	_Atomic uint64_t use[USES];
};

/* ---- what was decided ---------------------------------------------------------------- */

static void ask_append(struct core_pacer *p, struct core_append *a);

/* Its decision was acted on: the next ones of the lane may pass. */
static void settle(struct core_pacer *p, struct core_lane *lane)
{
	if (core_lane_settle(lane)) {
		struct core_append *a = lane->first;
		lane->first = NULL;
		lane->last = NULL;
		while (a != NULL) {
			struct core_append *next = (struct core_append *)(void *)a->op.msg.next;
			ask_append(p, a);
			a = next;
		}
	}
	core_lane_drop(&lane);
}

/* The error `e`; or ERR_OK: the store has it now. Afterwards `a` is somebody else's. */
static void finish_append(struct core_pacer *p, struct core_append *a, enum err e)
{
	int64_t now_ns = clock_mono_ns();
	struct core_lane *lane = a->lane;
	struct core_lane *after = a->after;
	a->lane = NULL;
	a->after = NULL;
	a->waited_ns = now_ns - a->started_ns;
	if (e == ERR_OK) {
		a->started_ns = now_ns;	/* what the store takes counts from here */
		store_append(p->core->store, &a->op);
	} else {
		buf_drop(&a->op.batch);
		a->op.err = e;
		a->op.msg.run = a->op.done;
		mailbox_post(a->op.reply_to, &a->op.msg);
	}
	settle(p, lane);
	core_lane_drop(&after);
}

static void finish_turn(struct core_pacer *p, struct core_turn *t, enum err e)
{
	struct core_lane *lane = t->lane;
	t->lane = NULL;
	t->err = e;
	t->msg.run = t->done;
	mailbox_post(t->reply_to, &t->msg);
	if (lane != NULL) {
		settle(p, lane);
	}
}

static void decided(void *arg, struct throttle_request *r, const struct throttle_decision *d)
{
	struct core_pacer *p = arg;
	bool is_admitted = d->verdict == THROTTLE_ADMIT;
	if (r->patience == THROTTLE_ENDLESS) {
		struct core_turn *t = (struct core_turn *)(void *)((char *)r -
								   offsetof(struct core_turn, request));
		finish_turn(p, t, is_admitted ? ERR_OK : ERR_STOPPING);
		return;
	}
	struct core_append *a = (struct core_append *)(void *)((char *)r -
							       offsetof(struct core_append, request));
	a->decision = *d;
	finish_append(p, a, is_admitted ? ERR_OK : p->is_stopped ? ERR_STOPPING : ERR_BUSY);
}

/* ---- who asks ------------------------------------------------------------------------- */

static void ask_append(struct core_pacer *p, struct core_append *a)
{
	if (p->is_stopped) {
		finish_append(p, a, ERR_STOPPING);
		return;
	}
	struct throttle_decision d = throttle_ask(a->lane->way, &a->request, clock_mono_ns());
	if (d.verdict != THROTTLE_ADMIT) {
		metric_inc(METRIC_REQUESTS_THROTTLED);
	}
	if (d.verdict != THROTTLE_WAIT) {
		decided(p, &a->request, &d);
	}
}

static void on_append(struct msg *m)
{
	struct core_append *a = (struct core_append *)(void *)m;
	struct core_lane *after = a->after;
	if (after == NULL || core_lane_is_quiet(after)) {
		ask_append(a->core->pacer, a);
		return;
	}
	a->op.msg.next = NULL;
	if (after->first == NULL) {
		after->first = a;
	} else {
		after->last->op.msg.next = &a->op.msg;
	}
	after->last = a;
}

static void on_turn(struct msg *m)
{
	struct core_turn *t = (struct core_turn *)(void *)m;
	struct core_pacer *p = t->core->pacer;
	if (p->is_stopped) {
		finish_turn(p, t, ERR_STOPPING);
		return;
	}
	struct throttle_decision d = throttle_ask(t->lane->way, &t->request, clock_mono_ns());
	if (d.verdict != THROTTLE_WAIT) {
		decided(p, &t->request, &d);
	}
}

void core_pacer_append(struct core_pacer *p, struct core_lane *lane, struct core_lane *after,
		       struct core_append *a)
{
	core_lane_defer(lane);
	a->lane = lane;
	a->after = after != NULL ? core_lane_hold(after) : NULL;
	a->core = p->core;
	a->request = (struct throttle_request){
		.cost = {.bytes = a->bytes, .events = a->op.events},
		.patience = a->is_patient ? THROTTLE_PATIENT : THROTTLE_IMPATIENT,
	};
	a->op.msg.run = on_append;
	mailbox_post(&p->mailbox, &a->op.msg);
}

void core_pacer_turn(struct core_pacer *p, struct core_lane *lane, struct core_turn *t)
{
	t->core = p->core;
	t->lane = lane;
	t->err = ERR_OK;
	if (lane == NULL) {
		t->msg.run = t->done;
		mailbox_post(t->reply_to, &t->msg);
		return;
	}
	core_lane_defer(lane);
	t->request.patience = THROTTLE_ENDLESS;
	t->msg.run = on_turn;
	mailbox_post(&p->mailbox, &t->msg);
}

/* ---- what is done by the clock ---------------------------------------------------------- */

static void measure_use(struct core_pacer *p, int64_t now_ns)
{
	if (p->n_samples == USE_SAMPLES) {
		for (uint32_t i = 1; i < USE_SAMPLES; i++) {
			p->sample[i - 1] = p->sample[i];
		}
		p->n_samples--;
	}
	p->sample[p->n_samples++] = (struct use_sample){
		.at_ns = now_ns,
		.count = {metric_get(METRIC_BYTES_IN), metric_get(METRIC_EVENTS_IN),
			  metric_get(METRIC_BYTES_OUT), metric_get(METRIC_EVENTS_OUT)},
	};
	const struct use_sample *from = &p->sample[0];
	const struct use_sample *to = &p->sample[p->n_samples - 1];
	for (uint32_t i = 0; i < USES && to->at_ns > from->at_ns; i++) {
		double rate = (double)(to->count[i] - from->count[i]) * 1e9 /
			      (double)(to->at_ns - from->at_ns);
		/* Relaxed: a figure for people. */
		atomic_store_explicit(&p->use[i], rate > 0 ? (uint64_t)(rate + 0.5) : 0,
				      memory_order_relaxed);
	}
}

void core_pacer_use(struct core_pacer *p, struct core_use *out)
{
	uint64_t use[USES];
	for (uint32_t i = 0; i < USES; i++) {
		use[i] = atomic_load_explicit(&p->use[i], memory_order_relaxed);
	}
	out->rate[THROTTLE_IN] = (struct throttle_rate){use[USE_IN_BYTES], use[USE_IN_EVENTS]};
	out->rate[THROTTLE_OUT] = (struct throttle_rate){use[USE_OUT_BYTES], use[USE_OUT_EVENTS]};
}

/* After throttle_run at that time: rules that change do so at the time it was told. */
static bool tick(struct core_pacer *p, int64_t now_ns)
{
	if (now_ns < p->next_poll_ns) {
		return false;
	}
	p->next_poll_ns = now_ns + p->pace.poll_ns;
	core_units_poll(p->units);
	if (now_ns >= p->next_second_ns) {
		p->next_second_ns = now_ns + p->pace.second_ns;
		measure_use(p, now_ns);
		core_units_adapt(p->units, now_ns, &p->mailbox);
	}
	if (now_ns >= p->next_minute_ns) {
		p->next_minute_ns = now_ns + p->pace.minute_ns;
		core_minute_log(p->minute, p->core->throttle);
	}
	return true;
}

/* ---- the thread ---------------------------------------------------------------------------- */

static void *pacer_main(void *arg)
{
	struct core_pacer *p = arg;
	int64_t next_ns = INT64_MAX;
	while (!p->is_ending || core_units_is_busy(p->units)) {
		int64_t until_ns = next_ns;
		if (!p->is_stopped && p->next_poll_ns < until_ns) {
			until_ns = p->next_poll_ns;
		}
		msg_run_all(mailbox_wait(&p->mailbox, until_ns));
		if (p->is_stopped) {
			next_ns = INT64_MAX;
			continue;
		}
		int64_t now_ns = clock_mono_ns();
		next_ns = throttle_run(p->core->throttle, now_ns, decided, p);
		if (tick(p, now_ns)) {
			next_ns = throttle_run(p->core->throttle, now_ns, decided, p);
		}
		if (next_ns < now_ns + RUN_GAP_NS) {
			next_ns = now_ns + RUN_GAP_NS;
		}
	}
	return NULL;
}

struct stop {
	struct msg msg;
	struct core_pacer *pacer;
	struct mailbox reply;
};

static void nothing(struct msg *m)
{
	(void)m;
}

static void on_stop(struct msg *m)
{
	struct stop *s = (struct stop *)(void *)m;
	struct core_pacer *p = s->pacer;
	p->is_stopped = true;
	throttle_flush(p->core->throttle, decided, p);
	s->msg.run = nothing;
	mailbox_post(&s->reply, &s->msg);
}

void core_pacer_stop(struct core_pacer *p)
{
	struct stop s = {.msg.run = on_stop, .pacer = p};
	mailbox_init(&s.reply, NULL, NULL);
	mailbox_post(&p->mailbox, &s.msg);
	msg_run_all(mailbox_wait(&s.reply, INT64_MAX));
	mailbox_fini(&s.reply);
}

static void on_end(struct msg *m)
{
	struct core_pacer *p = (struct core_pacer *)(void *)((char *)m - offsetof(struct core_pacer, end));
	p->is_ending = true;
}

static void pacer_free(struct core_pacer *p)
{
	core_units_free(&p->units);
	core_minute_free(&p->minute);
	mailbox_fini(&p->mailbox);
	mem_free(p);
}

enum err core_pacer_new(struct core *c, const struct core_pace *pace, struct core_pacer **out)
{
	struct core_pacer *p = MEM_NEW(struct core_pacer);
	if (p == NULL) {
		return ERR_NOMEM;
	}
	p->core = c;
	p->pace = *pace;
	mailbox_init(&p->mailbox, NULL, NULL);
	p->units = core_units_new(c);
	p->minute = core_minute_new();
	if (p->units == NULL || p->minute == NULL) {
		pacer_free(p);
		return ERR_NOMEM;
	}
	int64_t now_ns = clock_mono_ns();
	core_units_poll(p->units);
	measure_use(p, now_ns);
	p->next_poll_ns = now_ns + pace->poll_ns;
	p->next_second_ns = now_ns + pace->second_ns;
	p->next_minute_ns = now_ns + pace->minute_ns;
	*out = p;	/* the thread finds it there */
	enum err e = thread_start(&p->thread, ROLE_PACER, "pacer", pacer_main, p);
	if (e != ERR_OK) {
		*out = NULL;
		pacer_free(p);
	}
	return e;
}

void core_pacer_free(struct core_pacer **pp)
{
	struct core_pacer *p = *pp;
	if (p == NULL) {
		return;
	}
	core_pacer_stop(p);
	p->end.run = on_end;
	mailbox_post(&p->mailbox, &p->end);
	thread_join(p->thread);
	pacer_free(p);
	*pp = NULL;
}
