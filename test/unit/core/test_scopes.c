/* What people see of throttling: texts, metrics, the log. */

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "test/unit/core/core_fix.h"

enum { MB = 1 << 20 };

static struct core_fix fix;
static struct throttle_flow *flow;
static struct core_client client;

static void setup(void)
{
	const struct core_options o = {
		.inflight_max_bytes = 256 << 20,
		.throttle_hold_ms = 300,
		.throttle_delay_ms = 10000,
		.throttle_hold_bytes = 64 * MB,
	};
	core_fix_open_as(&fix, &o, &core_fix_quick);
	ck_assert_int_eq(core_flow_open(fix.core, "127.0.0.1:7", &flow), ERR_OK);
	client = (struct core_client){.flow = flow, .client_id = "a \"b\\c\nd"};
}

static void teardown(void)
{
	core_flow_close(&flow);
	core_fix_close(&fix);
}

/* One admitted, one held, one refused. */
static void throttle_some(void)
{
	struct core_fix_send x[3];
	struct core_sender *s = core_fix_sender(&fix, "events", &client);
	core_fix_units(&fix, &(struct catalog_units){.units = 1, .inflate_max = 0});
	core_fix_limit(&fix, CATALOG_LIMIT_CLIENT, "*", 64 * MB, 0);
	core_fix_await_limit(&fix, THROTTLE_NAMESPACE, "", THROTTLE_IN, MB);
	core_fix_post(&fix, s, &x[0], -1, MB, false);
	core_fix_post(&fix, s, &x[1], -1, MB / 5, false);
	core_fix_post(&fix, s, &x[2], -1, MB / 2, false);
	ck_assert_int_eq(core_fix_done(&fix, &x[0]), ERR_OK);
	ck_assert_int_eq(core_fix_done(&fix, &x[1]), ERR_OK);
	ck_assert_int_eq(core_fix_done(&fix, &x[2]), ERR_BUSY);
	core_sender_close(&s);
}

static void has(const struct str *s, const char *line)
{
	ck_assert_msg(strstr(s->p, line) != NULL, "no %s in\n%s", line, s->p);
}

START_TEST(metrics_tell_each_scope)
{
	struct core_sender *keep = core_fix_sender(&fix, "events", &client);
	throttle_some();
	core_fix_await_limit(&fix, THROTTLE_CLIENT, client.client_id, THROTTLE_IN, 64 * MB);
	struct str s = {0};
	core_metrics_render(fix.core, &s);
	ck_assert(!s.bad);
	has(&s, "\nsluice_throughput_units 1\n");
	has(&s, "\nsluice_throughput_units_max 1\n");
	has(&s, "sluice_throttle_limit_bytes{scope=\"namespace\",name=\"\",direction=\"in\"} 1048576\n");
	has(&s, "sluice_throttle_limit_events{scope=\"namespace\",name=\"\",direction=\"out\"} 4096\n");
	has(&s, "sluice_throttle_held_requests_total{scope=\"namespace\",name=\"\",direction=\"in\"} 1\n");
	has(&s, "sluice_throttle_refused_requests_total{scope=\"namespace\",name=\"\",direction=\"in\"} 1\n");
	has(&s, "sluice_throttle_admitted_requests_total{scope=\"namespace\",name=\"\",direction=\"in\"} 2\n");
	has(&s, "sluice_throttle_throttled_events_total{scope=\"namespace\",name=\"\",direction=\"in\"} 2\n");
	has(&s, "sluice_throttle_wait_seconds_total{scope=\"namespace\",name=\"\",direction=\"in\"} 0.");
	has(&s, "sluice_throttle_waiting_bytes{scope=\"namespace\",name=\"\",direction=\"in\"} 0\n");
	has(&s, "# TYPE sluice_throttle_throttled_bytes_total counter\n");
	has(&s, "# TYPE sluice_throttle_waiting_connections gauge\n");
	has(&s, "{scope=\"client\",name=\"a \\\"b\\\\c\\nd\",direction=\"in\"} 67108864\n");
	str_fini(&s);
	core_sender_close(&keep);
}
END_TEST

/* Publishers and client ids are named by clients: any bytes. */
START_TEST(names_of_no_text_do_not_spoil_the_metrics)
{
	struct core_client odd = {.flow = flow, .client_id = "\xff\xc3\xa9\xe2\x82\x1b[2J\r"};
	struct core_sender *s = core_fix_sender(&fix, "events", &odd);
	core_fix_limit(&fix, CATALOG_LIMIT_CLIENT, "*", 64 * MB, 0);
	core_fix_await_limit(&fix, THROTTLE_CLIENT, odd.client_id, THROTTLE_IN, 64 * MB);
	struct str out = {0};
	core_metrics_render(fix.core, &out);
	has(&out, "{scope=\"client\",name=\"\\\\xff\xc3\xa9\\\\xe2\\\\x82\\\\x1b[2J\\\\x0d\",direction=\"in\"}");
	str_fini(&out);
	core_sender_close(&s);
}
END_TEST

/* A token for a publisher lets it send under each of these. */
START_TEST(a_publisher_has_one_account_however_it_is_written)
{
	static const char *const ways[] = {
		"a/b/publishers/dev1", "A/B/Publishers/DEV1", "a/b/publishers/dev%31%2f", "a/b/publishers/dev1?x=1",
		"a/b/publishers/dEv1/more", "sb://ns.example/a/b/publishers/dev1%2F%2F",
	};
	enum { WAYS = sizeof ways / sizeof *ways };
	struct core_sender *s[WAYS];
	for (int i = 0; i < WAYS; i++) {
		s[i] = core_fix_sender(&fix, ways[i], &client);
	}
	core_fix_limit(&fix, CATALOG_LIMIT_PUBLISHER, "a/b", 64 * MB, 0);
	core_fix_await_limit(&fix, THROTTLE_PUBLISHER, "a/b/dev1", THROTTLE_IN, 64 * MB);
	struct throttle_scope_info *v = NULL;
	size_t n = 0;
	ck_assert_int_eq(core_scopes(fix.core, &v, &n), ERR_OK);
	for (size_t i = 0; i < n; i++) {
		ck_assert(v[i].kind != THROTTLE_PUBLISHER || strcmp(v[i].name, "a/b/dev1") == 0);
	}
	mem_free(v);
	for (int i = 0; i < WAYS; i++) {
		core_sender_close(&s[i]);
	}
}
END_TEST

/* The scope of the deleted one is remembered for minutes. */
START_TEST(a_hub_that_was_made_again_is_told_once)
{
	struct catalog_command cmd = {.op = CATALOG_HUB_CREATE, .hub = "again", .partitions = 1};
	struct core_fix_send x[2];
	core_fix_limit(&fix, CATALOG_LIMIT_HUB, "*", 64 * MB, 0);
	for (int i = 0; i < 2; i++) {
		cmd.op = CATALOG_HUB_CREATE;
		ck_assert_int_eq(core_fix_command(&fix, &cmd), ERR_OK);
		struct core_sender *s = core_fix_sender(&fix, "again", &client);
		core_fix_await_limit(&fix, THROTTLE_HUB, "again", THROTTLE_IN, 64 * MB);
		core_fix_post(&fix, s, &x[i], -1, 100, false);
		ck_assert_int_eq(core_fix_done(&fix, &x[i]), ERR_OK);
		core_sender_close(&s);
		cmd.op = CATALOG_HUB_DELETE;
		ck_assert_int_eq(core_fix_command(&fix, &cmd), ERR_OK);
	}
	struct throttle_scope_info *v = NULL;
	size_t n = 0;
	uint64_t bytes[2] = {0};
	int found = 0;
	ck_assert_int_eq(core_scopes(fix.core, &v, &n), ERR_OK);
	ck_assert_int_eq(v[0].kind, THROTTLE_NAMESPACE);
	for (size_t i = 0; i < n; i++) {
		if (v[i].kind == THROTTLE_HUB && strcmp(v[i].name, "again") == 0) {
			bytes[found++ % 2] = v[i].figures[THROTTLE_IN].admitted_bytes;
		}
	}
	mem_free(v);
	ck_assert_int_eq(found, 1);
	ck_assert_uint_eq(bytes[0], 200);
}
END_TEST

START_TEST(metrics_without_memory_are_cut_not_wrong)
{
	for (long n = 1;; n++) {
		struct str s = {0};
		mem_fault_at(n);
		core_metrics_render(fix.core, &s);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		str_fini(&s);
		if (!fired) {
			break;
		}
	}
}
END_TEST

/* ---- the log ----------------------------------------------------------------------- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char throttled_line[1024];
static int throttled_lines;

static void on_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	pthread_mutex_lock(&log_lock);
	if (strstr(line, "THROTTLED ") != NULL) {
		snprintf(throttled_line, sizeof throttled_line, "%s", line);
		throttled_lines++;
	}
	pthread_mutex_unlock(&log_lock);
}

static int lines(char out[1024])
{
	pthread_mutex_lock(&log_lock);
	memcpy(out, throttled_line, 1024);
	int n = throttled_lines;
	pthread_mutex_unlock(&log_lock);
	return n;
}

START_TEST(a_throttled_scope_is_logged_until_it_is_no_more)
{
	char line[1024];
	throttled_lines = 0;
	log_setup(LOG_INFO, false);
	log_sink(on_line, NULL);
	struct core_sender *keep = core_fix_sender(&fix, "events", &client);
	throttle_some();
	int64_t until_ns = clock_mono_ns() + INT64_C(3000000000);
	while (lines(line) == 0 || strstr(line, "refused=0") == NULL) {
		if (lines(line) > 0 && strstr(line, "refused=1") != NULL) {
			break;
		}
		ck_assert_int_lt(clock_mono_ns(), until_ns);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	ck_assert_msg(strstr(line, "scope=namespace name=\"\" direction=in held=") != NULL, "%s", line);
	ck_assert_msg(strstr(line, "worst=\"127.0.0.1:7\" worst_percent=100 limit=1048576B/s,1000ev/s") !=
			      NULL,
		      "%s", line);
	nanosleep(&(struct timespec){.tv_nsec = 250000000}, NULL);
	int told = lines(line);
	nanosleep(&(struct timespec){.tv_nsec = 250000000}, NULL);
	ck_assert_int_eq(lines(line), told);	/* nothing new, no line */
	core_sender_close(&keep);
	log_sink(NULL, NULL);
	log_setup(LOG_ERROR, false);
}
END_TEST

/* ---- texts and use --------------------------------------------------------------------- */

START_TEST(a_refusal_tells_the_limit_and_the_wait)
{
	static const struct {
		uint32_t wait_ms;
		const char *wait;
	} rows[] = {{1, "wait 1 seconds"}, {1000, "wait 1 seconds"}, {1001, "wait 2 seconds"}, {0, "wait 1 seconds"}};
	char text[512];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct throttle_decision d = {
			.verdict = THROTTLE_REFUSE,
			.wait_ms = rows[i].wait_ms,
			.reason = {.kind = THROTTLE_NAMESPACE, .by_events = true, .rate = 1000},
		};
		core_busy_text(&d, text, sizeof text);
		ck_assert_msg(strstr(text, rows[i].wait) != NULL, "%s", text);
		ck_assert_ptr_nonnull(strstr(text, "The request was terminated because the entity is "
						   "being throttled. Error code : 50002. The namespace"));
		ck_assert_ptr_nonnull(strstr(text, "1000 events per second"));
	}
	struct throttle_decision memory = {.verdict = THROTTLE_ADMIT};
	core_busy_text(&memory, text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, "Error code : 50002."));
	ck_assert_ptr_nonnull(strstr(text, "wait 4 seconds"));
	core_busy_text(NULL, text, sizeof text);
	ck_assert_ptr_nonnull(strstr(text, "wait 4 seconds"));
	char small[8];
	core_busy_text(&memory, small, sizeof small);
	ck_assert_uint_eq(strlen(small), 7);
}
END_TEST

START_TEST(use_is_measured_in_all_directions)
{
	struct core_use use = {0};
	int64_t until_ns = clock_mono_ns() + INT64_C(5000000000);
	while (use.rate[THROTTLE_IN].bytes == 0 || use.rate[THROTTLE_OUT].events == 0) {
		ck_assert_int_lt(clock_mono_ns(), until_ns);
		metric_add(METRIC_BYTES_IN, 1000);
		metric_add(METRIC_EVENTS_OUT, 10);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
		core_use(fix.core, &use);
	}
	ck_assert_uint_eq(use.rate[THROTTLE_IN].events, 0);
	ck_assert_uint_eq(use.rate[THROTTLE_OUT].bytes, 0);
	while (use.rate[THROTTLE_IN].bytes != 0) {
		ck_assert_int_lt(clock_mono_ns(), until_ns);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
		core_use(fix.core, &use);
	}
}
END_TEST

Suite *scopes_suite(void)
{
	Suite *s = suite_create("scopes");
	TCase *t = tcase_create("seen");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, metrics_tell_each_scope);
	tcase_add_test(t, metrics_without_memory_are_cut_not_wrong);
	tcase_add_test(t, names_of_no_text_do_not_spoil_the_metrics);
	tcase_add_test(t, a_publisher_has_one_account_however_it_is_written);
	tcase_add_test(t, a_hub_that_was_made_again_is_told_once);
	tcase_add_test(t, a_throttled_scope_is_logged_until_it_is_no_more);
	tcase_add_test(t, a_refusal_tells_the_limit_and_the_wait);
	tcase_add_test(t, use_is_measured_in_all_directions);
	suite_add_tcase(s, t);
	return s;
}
