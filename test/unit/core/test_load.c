/* Many connections on many threads against one limit, and memory that is short. */

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "test/unit/core/core_fix.h"

enum { MB = 1 << 20, THREADS = 4, AHEAD = 8, UNITS = 4 };

static struct core_fix fix;

static void setup(void)
{
	const struct core_options o = {
		.inflight_max_bytes = 256 << 20,
		.throttle_hold_ms = 20000,
		.throttle_delay_ms = 20000,
		.throttle_hold_bytes = 256 * MB,
		.management_rate = 10,
	};
	core_fix_open_as(&fix, &o, &core_fix_quick);
}

static void teardown(void)
{
	core_fix_close(&fix);
}

/* ---- load ------------------------------------------------------------------------------ */

static atomic_bool is_over;

struct client {
	pthread_t thread;
	uint32_t bytes;		/* of each send */
	const char *address;
	_Atomic uint64_t sent;	/* bytes stored */
	struct mailbox reply;
	uint32_t outstanding;
	struct slot {
		struct core_append a;
		struct client *client;
		struct core_sender *sender;
	} slot[AHEAD];
};

static void post(struct slot *x);

static void on_sent(struct msg *m)
{
	struct slot *x = (struct slot *)(void *)m;
	struct client *c = x->client;
	c->outstanding--;
	if (core_append_done(&x->a) == ERR_OK) {
		c->sent += c->bytes;
	}
	if (!atomic_load(&is_over)) {
		post(x);
	}
}

static void post(struct slot *x)
{
	struct client *c = x->client;
	struct batch_builder b;
	struct span value = span_str("event");
	x->a = (struct core_append){
		.bytes = c->bytes,
		.op = {.events = 1, .encoding = BATCH_AMQP, .reply_to = &c->reply, .done = on_sent},
	};
	batch_builder_init(&b, 100, LIMIT_BATCH);
	batch_builder_add(&b, &value, 1);
	ck_assert_int_eq(batch_builder_finish(&b, &x->a.op.batch), ERR_OK);
	x->a.op.batch_len = x->a.op.batch->len;
	ck_assert_int_eq(core_append(x->sender, &x->a), ERR_OK);
	c->outstanding++;
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	struct throttle_flow *flow = NULL;
	mailbox_init(&c->reply, NULL, NULL);
	ck_assert_int_eq(core_flow_open(fix.core, c->address, &flow), ERR_OK);
	const struct core_client who = {.flow = flow, .policy = "p"};
	struct core_sender *s = core_fix_sender(&fix, c->address, &who);
	for (int i = 0; i < AHEAD; i++) {
		c->slot[i].client = c;
		c->slot[i].sender = s;
		post(&c->slot[i]);
	}
	while (c->outstanding > 0) {
		msg_run_all(mailbox_wait(&c->reply, INT64_MAX));
	}
	core_sender_close(&s);
	core_flow_close(&flow);
	mailbox_fini(&c->reply);
	return NULL;
}

/* Meanwhile others look, and rules come and go. */
static void look_around(int i)
{
	struct throttle_scope_info *v = NULL;
	size_t n = 0;
	struct str s = {0};
	ck_assert_int_eq(core_scopes(fix.core, &v, &n), ERR_OK);
	core_metrics_render(fix.core, &s);
	mem_free(v);
	str_fini(&s);
	if (i % 4 == 1) {
		core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "events", i % 8 == 1 ? 64 * MB : 0, 0);
	}
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

static void look_around_until(int64_t until_ns)
{
	for (int i = 0; clock_mono_ns() < until_ns; i++) {
		look_around(i);
	}
}

static void snapshot(const struct client *c, uint64_t sent[THREADS])
{
	for (int i = 0; i < THREADS; i++) {
		sent[i] = atomic_load(&c[i].sent);
	}
}

START_TEST(the_limit_is_kept_and_shared_among_threads)
{
	static struct client c[THREADS];
	uint64_t before[THREADS];
	uint64_t later[THREADS];
	static const uint32_t sizes[THREADS] = {MB / 2, MB / 16, MB / 16, MB / 128};
	core_fix_units(&fix, &(struct catalog_units){.units = UNITS});
	core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_IN, (uint64_t)UNITS * MB);
	atomic_store(&is_over, false);
	int64_t start_ns = clock_mono_ns();
	for (int i = 0; i < THREADS; i++) {
		c[i].bytes = sizes[i];
		c[i].address = i == 1 ? "events/Partitions/1" : "events";
		ck_assert_int_eq(thread_start(&c[i].thread, ROLE_MAIN, "client", client_main, &c[i]), ERR_OK);
	}
	look_around_until(start_ns + INT64_C(1500000000));
	snapshot(c, before);	/* the burst was for who came first */
	look_around_until(start_ns + INT64_C(4500000000));
	snapshot(c, later);
	atomic_store(&is_over, true);
	uint64_t all = 0;
	for (int i = 0; i < THREADS; i++) {
		thread_join(c[i].thread);
		all += c[i].sent;
	}
	double seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
	double most = UNITS * (double)MB * (seconds + 1);
	ck_assert_msg((double)all <= most, "%.0f of %.0f", (double)all, most);
	ck_assert_msg((double)all >= 0.9 * UNITS * MB * seconds, "%.0f in %.2f s", (double)all, seconds);
	for (int i = 0; i < THREADS; i++) {
		double part = (double)(later[i] - before[i]) / (3.0 * UNITS * MB / THREADS);
		ck_assert_msg(part > 0.7 && part < 1.3, "client %d has %.2f of its share", i, part);
	}
}
END_TEST

/* ---- memory ---------------------------------------------------------------------------- */

START_TEST(every_allocation_may_fail)
{
	core_fix_limit(&fix, CATALOG_LIMIT_PARTITION, "*", MB, MB);
	struct core_address a;
	struct err_detail d = {""};
	ck_assert_int_eq(core_resolve(fix.core, span_str("events"), &a, &d), ERR_OK);
	bool is_through = false;
	for (long n = 1; !is_through; n++) {
		struct throttle_flow *flow = NULL;
		struct core_sender *s = NULL;
		struct core_reading *r = NULL;
		mem_fault_at(n);
		enum err e = core_flow_open(fix.core, "x", &flow);
		const struct core_client who = {
			.flow = flow, .policy = "p", .policy_hub = "events", .client_id = "c"};
		if (e == ERR_OK) {
			e = core_sender_open(fix.core, &a, &who, &s);
		}
		if (e == ERR_OK) {
			e = core_reading_open(fix.core, &who, a.hub_id, &r);
		}
		if (e == ERR_OK) {
			const struct throttle_cost cost = {1, 1};
			(void)core_reading_take(r, 3, &cost);
			(void)core_sender_estimate_ns(s, 2, &cost);
		}
		is_through = !mem_fault_fired();
		mem_fault_at(0);
		ck_assert(e == ERR_OK || e == ERR_NOMEM);
		core_reading_close(&r);
		core_sender_close(&s);
		core_flow_close(&flow);
	}
}
END_TEST

START_TEST(every_allocation_of_the_core_may_fail)
{
	const struct core_options o = {
		.store = fix.store, .host = "h", .inflight_max_bytes = 1, .extra_key = "k"};
	core_fix_units(&fix, &(struct catalog_units){.units = 1});
	bool is_through = false;
	for (long n = 1; !is_through; n++) {
		struct core *core = NULL;
		mem_fault_at(n);
		enum err e = core_new_paced(&o, &core_fix_quick, &core);
		is_through = !mem_fault_fired();
		mem_fault_at(0);
		/* Without memory for the rules the next poll puts them in force. */
		ck_assert(e == ERR_OK || e == ERR_NOMEM);
		ck_assert(e == ERR_OK || core == NULL);
		core_free(&core);
	}
}
END_TEST

Suite *load_suite(void)
{
	Suite *s = suite_create("load");
	TCase *t = tcase_create("load");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_limit_is_kept_and_shared_among_threads);
	tcase_add_test(t, every_allocation_may_fail);
	tcase_add_test(t, every_allocation_of_the_core_may_fail);
	suite_add_tcase(s, t);
	return s;
}
