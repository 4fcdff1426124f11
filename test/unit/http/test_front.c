/* The front end over real sockets, without TLS and without a store. */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "gateway/http/http.h"
#include "gateway/net/stream.h"
#include "test/unit/http/fake_core.h"
#include "test/unit/http/front_suite.h"

enum { DRAIN_MS = 2000, BODY_MAX = 256 << 10, INFLIGHT_MAX = 1 << 20, ANSWER_MAX = 64 << 10 };

static struct core *core;
static struct http_front *front;
static struct net *net;
static int port;
static int metrics_port;

#define AUTH "Authorization: Basic cDpr\r\n"	/* p:k */
#define POST_HUB "POST /hub/messages HTTP/1.1\r\nHost: a\r\n" AUTH

static void quiet(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static int listen_on(const struct net_protocol *protocol)
{
	char bound[64];
	struct net_listen_options o = {"127.0.0.1:0", protocol, front, NULL};
	ck_assert_int_eq(net_listen(net, &o, bound, NULL), ERR_OK);
	return atoi(strrchr(bound, ':') + 1);
}

static void setup_limited(int max_connections)
{
	log_sink(quiet, NULL);
	core = fake_core_new(INFLIGHT_MAX);
	struct http_options ho = {.core = core, .threads = 2, .max_body_bytes = BODY_MAX,
				  .idle_timeout_ms = 30000};
	ck_assert_int_eq(http_front_new(&ho, &front, NULL), ERR_OK);
	struct net_options no = {.loops = 2, .max_connections = max_connections};
	ck_assert_int_eq(net_new(&no, &net, NULL), ERR_OK);
	port = listen_on(&http_protocol);
	metrics_port = listen_on(&http_metrics_protocol);
	ck_assert_int_eq(net_start(net, NULL), ERR_OK);
	http_front_set_ready(front, true);
}

static void setup(void)
{
	setup_limited(0);
}

static void setup_one_connection(void)
{
	setup_limited(1);
}

static void stop(void)
{
	if (net != NULL) {
		http_front_set_ready(front, false);
		net_drain(net, DRAIN_MS);
		http_front_free(&front);
		net_stop(&net, 0);
	}
}

static void teardown(void)
{
	fake_core_release(core, ERR_OK);
	stop();
	ck_assert_uint_eq(budget_used(core_inflight(core)), 0);
	fake_core_free(&core);
	log_sink(NULL, NULL);
}

/* ---- a client ------------------------------------------------------------------- */

static int dial(int to)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)to),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void put(int fd, const char *text)
{
	size_t n = strlen(text);
	ck_assert_int_eq(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Reads one answer (head and announced body); its status, or 0 at the end. */
static int get(int fd, char answer[ANSWER_MAX])
{
	size_t n = 0;
	for (;;) {
		answer[n] = '\0';
		const char *end = strstr(answer, "\r\n\r\n");
		if (end != NULL) {
			const char *length = strstr(answer, "Content-Length: ");
			size_t body = length != NULL ? (size_t)atoi(length + 16) : 0;
			if (n >= (size_t)(end + 4 - answer) + body) {
				return atoi(answer + 9);
			}
		}
		/* One byte at a time where a second answer may follow. */
		ssize_t got = recv(fd, answer + n, 1, 0);
		if (got <= 0) {
			return 0;
		}
		n++;
	}
}

static int ask(const char *request, char answer[ANSWER_MAX])
{
	int fd = dial(port);
	put(fd, request);
	int status = get(fd, answer);
	close(fd);
	return status;
}

/* ---- requests ---------------------------------------------------------------------- */

START_TEST(send_is_answered_when_durable)
{
	char answer[ANSWER_MAX];
	fake_core_hold(core, true);
	int fd = dial(port);
	put(fd, POST_HUB "Content-Length: 3\r\n\r\nabc");
	ck_assert(fake_core_wait_held(core, 1));
	ck_assert_int_eq(recv(fd, answer, 1, MSG_DONTWAIT), -1);
	fake_core_release(core, ERR_OK);
	ck_assert_int_eq(get(fd, answer), 201);
	close(fd);
}
END_TEST

static const size_t pieces[] = {1, 2, 3, 7, 1000};

START_TEST(request_in_pieces_is_read)
{
	static const char text[] = POST_HUB "Content-Length: 3\r\n\r\nabc";
	char answer[ANSWER_MAX];
	size_t step = pieces[_i];
	int fd = dial(port);
	for (size_t at = 0; at < sizeof text - 1; at += step) {
		size_t n = sizeof text - 1 - at < step ? sizeof text - 1 - at : step;
		ck_assert_int_eq(send(fd, text + at, n, MSG_NOSIGNAL), (ssize_t)n);
	}
	ck_assert_int_eq(get(fd, answer), 201);
	close(fd);
}
END_TEST

START_TEST(pipelined_requests_keep_their_order)
{
	char answer[ANSWER_MAX];
	int fd = dial(port);
	put(fd, POST_HUB "Content-Length: 1\r\n\r\nx"
		"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
		"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n" POST_HUB "Content-Length: 1\r\n\r\ny");
	ck_assert_int_eq(get(fd, answer), 201);
	ck_assert_int_eq(get(fd, answer), 200);
	ck_assert_int_eq(get(fd, answer), 404);
	ck_assert_int_eq(get(fd, answer), 201);
	ck_assert_uint_eq(fake_core_appended(core), 2);
	close(fd);
}
END_TEST

START_TEST(half_closed_client_gets_its_answer)
{
	char answer[ANSWER_MAX];
	fake_core_hold(core, true);
	int fd = dial(port);
	put(fd, POST_HUB "Content-Length: 1\r\n\r\nx");
	shutdown(fd, SHUT_WR);
	ck_assert(fake_core_wait_held(core, 1));
	fake_core_release(core, ERR_OK);
	ck_assert_int_eq(get(fd, answer), 201);
	ck_assert_int_eq(recv(fd, answer, 1, 0), 0);
	close(fd);
}
END_TEST

static const struct {
	const char *request;
	int status;
	const char *has;
} refusals[] = {
	{"POST /hub/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 401,
	 "WWW-Authenticate: Basic"},
	{"POST /other/messages HTTP/1.1\r\nHost: a\r\n" AUTH "Content-Length: 1\r\n\r\nx", 404,
	 "no such hub"},
	{POST_HUB "Content-Length: 262145\r\n\r\n", 413, "Connection: close"},
	{POST_HUB "\r\n", 411, "length-required"},
	{POST_HUB "Content-Length: 1\r\nBrokerProperties: x\r\n\r\nx", 400, "BrokerProperties"},
	{POST_HUB "Content-Type: application/vnd.microsoft.servicebus.x\r\nContent-Length: 1\r\n\r\nx",
	 415, "unsupported-media-type"},
	{"DELETE /hub/messages HTTP/1.1\r\nHost: a\r\n\r\n", 405, "Allow: POST"},
	{"\x01\x02\x03garbage", 400, "not an HTTP/1.1 request"},
	{"GET /$servicebus/websocket HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 501, "not-implemented"},
	{"PUT /$management/v1/hubs/h HTTP/1.1\r\nHost: a\r\n" AUTH "Content-Length: 2\r\n\r\n{}", 409,
	 "it exists"},
	{"GET /$management/v1/hubs/h HTTP/1.1\r\nHost: a\r\n" AUTH "\r\n", 404, "no event hub 'h'"},
};

START_TEST(refusal_has_status_and_reason)
{
	char answer[ANSWER_MAX];
	ck_assert_int_eq(ask(refusals[_i].request, answer), refusals[_i].status);
	ck_assert_msg(strstr(answer, refusals[_i].has) != NULL, "%s", answer);
	ck_assert_ptr_nonnull(strstr(answer, "\"trackingId\":\""));
	ck_assert_uint_eq(fake_core_appended(core), 0);
}
END_TEST

START_TEST(metrics_port_serves_only_metrics_and_health)
{
	char answer[ANSWER_MAX];
	static const struct {
		const char *request;
		int status;
	} rows[] = {
		{"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200},
		{"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", 200},
		{"GET /health/ready HTTP/1.1\r\nHost: a\r\n\r\n", 200},
		{POST_HUB "Content-Length: 1\r\n\r\nx", 404},
		{"GET /$servicebus/websocket HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 404},
	};
	int fd = dial(metrics_port);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		put(fd, rows[i].request);
		ck_assert_int_eq(get(fd, answer), rows[i].status);
	}
	close(fd);
}
END_TEST

/* ---- outcomes ------------------------------------------------------------------------ */

static const struct {
	enum err err;
	int status;
} outcomes[] = {
	{ERR_QUOTA, 403}, {ERR_NOT_FOUND, 404}, {ERR_STOPPING, 503}, {ERR_NOMEM, 503}, {ERR_IO, 500},
};

START_TEST(outcome_of_the_append_becomes_the_status)
{
	char answer[ANSWER_MAX];
	fake_core_hold(core, true);
	int fd = dial(port);
	put(fd, POST_HUB "Content-Length: 1\r\n\r\nx");
	ck_assert(fake_core_wait_held(core, 1));
	fake_core_release(core, outcomes[_i].err);
	ck_assert_int_eq(get(fd, answer), outcomes[_i].status);
	close(fd);
}
END_TEST

START_TEST(refused_append_is_answered)
{
	char answer[ANSWER_MAX];
	fake_core_refuse(core, ERR_BUSY);
	ck_assert_int_eq(ask(POST_HUB "Content-Length: 1\r\n\r\nx", answer), 503);
	ck_assert_ptr_nonnull(strstr(answer, "Retry-After: "));
	fake_core_refuse(core, ERR_OK);
	ck_assert_int_eq(ask(POST_HUB "Content-Length: 1\r\n\r\nx", answer), 201);
}
END_TEST

static const struct {
	uint32_t wait_ms;
	const char *header;
	const char *text;
} waits[] = {
	{0, "Retry-After: 4\r\n", "memory"},
	{1, "Retry-After: 1\r\n", "50002"},
	{1000, "Retry-After: 1\r\n", "50002"},
	{1001, "Retry-After: 2\r\n", "50002"},
	{29999, "Retry-After: 30\r\n", "50002"},
};

/* At once, and after it was held. */
START_TEST(throttled_send_is_told_when_to_come_again)
{
	char answer[ANSWER_MAX];
	fake_core_busy_for(core, waits[_i].wait_ms);
	fake_core_refuse(core, ERR_BUSY);
	ck_assert_int_eq(ask(POST_HUB "Content-Length: 1\r\n\r\nx", answer), 503);
	ck_assert_msg(strstr(answer, waits[_i].header) != NULL, "%s", answer);
	ck_assert_ptr_nonnull(strstr(answer, waits[_i].text));
	ck_assert_ptr_nonnull(strstr(answer, "\"code\":\"server-busy\""));
	ck_assert_ptr_nonnull(strstr(answer, "\"trackingId\":\""));
	fake_core_refuse(core, ERR_OK);
	fake_core_hold(core, true);
	int fd = dial(port);
	put(fd, POST_HUB "Content-Length: 1\r\n\r\nx");
	ck_assert(fake_core_wait_held(core, 1));
	fake_core_release(core, ERR_BUSY);
	ck_assert_int_eq(get(fd, answer), 503);
	ck_assert_msg(strstr(answer, waits[_i].header) != NULL, "%s", answer);
	ck_assert_ptr_nonnull(strstr(answer, waits[_i].text));
	/* The connection is good for the next try. */
	fake_core_hold(core, false);
	put(fd, POST_HUB "Content-Length: 1\r\n\r\nx");
	ck_assert_int_eq(get(fd, answer), 201);
	close(fd);
}
END_TEST

START_TEST(connection_is_one_flow_on_its_policy)
{
	char answer[ANSWER_MAX];
	char policy[64];
	int a = dial(port);
	int b = dial(port);
	put(a, "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n");
	ck_assert_int_eq(get(a, answer), 200);
	ck_assert_int_eq(fake_core_flows(core), 0);
	for (int i = 0; i < 2; i++) {
		put(a, POST_HUB "Content-Length: 1\r\n\r\nx");
		ck_assert_int_eq(get(a, answer), 201);
	}
	ck_assert_int_eq(fake_core_flows(core), 1);
	fake_core_policy(core, policy);
	ck_assert_str_eq(policy, "/p");
	put(b, POST_HUB "Content-Length: 1\r\n\r\nx");
	ck_assert_int_eq(get(b, answer), 201);
	ck_assert_int_eq(fake_core_flows(core), 2);
	close(a);
	close(b);
	/* All are closed at the latest when the core is freed, which looks. */
}
END_TEST

#define MANAGE(method, path, more) \
	method " /$management/v1" path " HTTP/1.1\r\nHost: a\r\n" AUTH more "\r\n"

START_TEST(management_calls_beyond_their_rate_are_refused)
{
	char answer[ANSWER_MAX];
	fake_core_manage_busy(core, 1500);
	static const char *const refused[] = {
		MANAGE("GET", "/hubs", ""), MANAGE("GET", "/units", ""), MANAGE("GET", "/limits", ""),
		MANAGE("PUT", "/hubs/h", "Content-Length: 2\r\n") "{}",
	};
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		ck_assert_int_eq(ask(refused[i], answer), 503);
		ck_assert_ptr_nonnull(strstr(answer, "Retry-After: 2\r\n"));
		ck_assert_ptr_nonnull(strstr(answer, "50008"));
		ck_assert_ptr_nonnull(strstr(answer, "\"code\":\"server-busy\""));
	}
	static const char *const served[] = {
		MANAGE("GET", "/info", ""), MANAGE("GET", "/openapi.json", ""),
		"GET /metrics HTTP/1.1\r\nHost: a\r\n" AUTH "\r\n",
		"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
	};
	for (size_t i = 0; i < sizeof served / sizeof *served; i++) {
		ck_assert_int_eq(ask(served[i], answer), 200);
	}
	/* Strangers learn nothing of it, and take nothing from it. */
	ck_assert_int_eq(ask("GET /$management/v1/hubs HTTP/1.1\r\nHost: a\r\n\r\n", answer), 401);
	fake_core_manage_busy(core, 0);
	ck_assert_int_eq(ask(refused[0], answer), 200);
}
END_TEST

START_TEST(units_tell_settings_use_and_scopes)
{
	char answer[ANSWER_MAX];
	ck_assert_int_eq(ask(MANAGE("GET", "/units", ""), answer), 200);
	ck_assert_ptr_nonnull(strstr(answer, "{\"units\":0,\"base\":0,\"autoInflateMax\":0,"
					     "\"autoDeflateAfterMs\":0,\"use\":{\"inBytes\":7,"
					     "\"inEvents\":8,\"outBytes\":0,\"outEvents\":0},"
					     "\"scopes\":[{\"kind\":\"namespace\",\"name\":\"\","));
	ck_assert_int_eq(ask(MANAGE("GET", "/limits", ""), answer), 200);
	ck_assert_ptr_nonnull(strstr(answer, "{\"limits\":[]}"));
	int fd = dial(metrics_port);
	put(fd, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
	ck_assert_int_eq(get(fd, answer), 200);
	ck_assert_ptr_nonnull(strstr(answer, "\nsluice_throughput_units 1\n"));
	close(fd);
}
END_TEST

static const struct {
	const char *request;
	int status;
	const char *has;
} limit_calls[] = {
	{MANAGE("PATCH", "/units", "Content-Length: 2\r\n") "{}", 400, "nothing to change"},
	{MANAGE("PATCH", "/units", "Content-Length: 12\r\n") "{\"units\":-1}", 400, "whole number"},
	{MANAGE("PATCH", "/units", "Content-Length: 11\r\n") "{\"units\":1}", 409, "it exists"},
	{MANAGE("PUT", "/limits/hub/a%2Fb", "Content-Length: 2\r\n") "{}", 400, "nothing is limited"},
	{MANAGE("PUT", "/limits/hub/a%2Fb", "Content-Length: 11\r\n") "{\"units\":1}", 409, "it exists"},
	{MANAGE("PUT", "/limits/link/a", "Content-Length: 11\r\n") "{\"units\":1}", 400,
	 "'link' is no kind of limit"},
	{MANAGE("PUT", "/limits/hub/a%2", "Content-Length: 11\r\n") "{\"units\":1}", 400, "malformed"},
	{MANAGE("DELETE", "/limits/Client/*", ""), 409, "it exists"},
};

START_TEST(units_and_limits_are_checked)
{
	char answer[ANSWER_MAX];
	ck_assert_int_eq(ask(limit_calls[_i].request, answer), limit_calls[_i].status);
	ck_assert_msg(strstr(answer, limit_calls[_i].has) != NULL, "%s", answer);
}
END_TEST

START_TEST(append_that_takes_too_long_times_out)
{
	char answer[ANSWER_MAX];
	fake_core_hold(core, true);
	int64_t from_ms = clock_mono_ms();
	ck_assert_int_eq(ask("POST /hub/messages?timeout=1 HTTP/1.1\r\nHost: a\r\n" AUTH
			     "Content-Length: 1\r\n\r\nx",
			     answer),
			 500);
	ck_assert_ptr_nonnull(strstr(answer, "\"code\":\"timeout\""));
	ck_assert_int_ge(clock_mono_ms() - from_ms, 1000);
	/* The append comes back after its request is gone. */
	fake_core_release(core, ERR_OK);
}
END_TEST

START_TEST(client_that_went_away_leaves_nothing)
{
	char answer[ANSWER_MAX];
	fake_core_hold(core, true);
	for (size_t i = 1; i <= 8; i++) {
		int fd = dial(port);
		put(fd, POST_HUB "Content-Length: 1\r\n\r\nx");
		ck_assert(fake_core_wait_held(core, i));
		close(fd);
	}
	fake_core_release(core, ERR_OK);
	fake_core_hold(core, false);
	ck_assert_int_eq(ask(POST_HUB "Content-Length: 1\r\n\r\nx", answer), 201);
}
END_TEST

START_TEST(spent_budget_answers_busy)
{
	static char body[BODY_MAX];
	char answer[ANSWER_MAX];
	char head[256];
	int fds[INFLIGHT_MAX / BODY_MAX];
	/* The last one's body fits beside the others' batches, but not its batch too. */
	enum { FIT = sizeof fds / sizeof *fds - 2 };
	fake_core_hold(core, true);
	snprintf(head, sizeof head, POST_HUB "Content-Length: %d\r\n\r\n", BODY_MAX);
	memset(body, 'x', sizeof body);
	for (size_t i = 0; i <= FIT; i++) {
		fds[i] = dial(port);
		put(fds[i], head);
		(void)send(fds[i], body, sizeof body, MSG_NOSIGNAL);
		if (i < FIT) {
			ck_assert(fake_core_wait_held(core, i + 1));
		}
	}
	ck_assert_int_eq(get(fds[FIT], answer), 503);
	fake_core_release(core, ERR_OK);
	for (size_t i = 0; i < FIT; i++) {
		ck_assert_int_eq(get(fds[i], answer), 201);
	}
	for (size_t i = 0; i <= FIT; i++) {
		close(fds[i]);
	}
}
END_TEST

/* ---- stopping --------------------------------------------------------------------------- */

START_TEST(request_under_way_is_answered_before_the_stop)
{
	char answer[ANSWER_MAX];
	fake_core_hold(core, true);
	int fd = dial(port);
	put(fd, POST_HUB "Content-Length: 1\r\n\r\nx");
	ck_assert(fake_core_wait_held(core, 1));
	http_front_set_ready(front, false);
	fake_core_release(core, ERR_OK);
	ck_assert_int_eq(get(fd, answer), 201);
	ck_assert_ptr_nonnull(strstr(answer, "Connection: close"));
	ck_assert_int_eq(recv(fd, answer, 1, 0), 0);
	close(fd);
}
END_TEST

static void *release_late(void *arg)
{
	/* Longer than the front end waits for requests to end by themselves. */
	struct lock lock;
	struct cond cond;
	(void)arg;
	lock_init(&lock);
	cond_init(&cond);
	lock_take(&lock);
	(void)cond_wait_until(&cond, &lock, clock_mono_ns() + INT64_C(5000000000));
	lock_give(&lock);
	cond_fini(&cond);
	lock_fini(&lock);
	fake_core_release(core, ERR_OK);
	return NULL;
}

START_TEST(stop_waits_for_appends_still_out)
{
	pthread_t t;
	fake_core_hold(core, true);
	int fd = dial(port);
	put(fd, POST_HUB "Content-Length: 1\r\n\r\nx");
	ck_assert(fake_core_wait_held(core, 1));
	ck_assert_int_eq(thread_start(&t, ROLE_BACKGROUND, "late", release_late, NULL), ERR_OK);
	stop();
	thread_join(t);
	close(fd);
}
END_TEST

static void *run_stop(void *arg)
{
	(void)arg;
	stop();
	return NULL;
}

START_TEST(idle_connections_end_with_the_stop)
{
	char answer[ANSWER_MAX];
	pthread_t t;
	int used = dial(port);
	int unused = dial(port);
	put(used, POST_HUB "Content-Length: 1\r\n\r\nx");
	ck_assert_int_eq(get(used, answer), 201);
	int64_t from_ms = clock_mono_ms();
	ck_assert_int_eq(thread_start(&t, ROLE_MAIN, "stop", run_stop, NULL), ERR_OK);
	ck_assert_int_eq(recv(used, answer, 1, 0), 0);
	ck_assert_int_eq(recv(unused, answer, 1, 0), 0);
	ck_assert_int_lt(clock_mono_ms() - from_ms, DRAIN_MS);
	close(used);
	close(unused);
	thread_join(t);
}
END_TEST

START_TEST(connection_past_the_quota_is_told)
{
	char answer[ANSWER_MAX];
	char health[ANSWER_MAX];
	int fd = dial(port);
	put(fd, POST_HUB "Content-Length: 3\r\n\r\nabc");
	ck_assert_int_eq(get(fd, answer), 201);
	int other = dial(port);
	put(other, POST_HUB "Content-Length: 3\r\n\r\nabc");
	ck_assert_int_eq(get(other, answer), 403);
	ck_assert_ptr_nonnull(strstr(answer, "Connection: close"));
	ck_assert_ptr_nonnull(strstr(answer, "\"code\":\"quota-exceeded\""));
	ck_assert_ptr_nonnull(strstr(answer, "quota of 1 connections"));
	ck_assert_int_eq(recv(other, health, 1, 0), 0);
	close(other);
	/* Whoever watches is served, and the first goes on. */
	int watch = dial(metrics_port);
	put(watch, "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n");
	ck_assert_int_eq(get(watch, health), 200);
	close(watch);
	put(fd, POST_HUB "Content-Length: 3\r\n\r\nabc");
	ck_assert_int_eq(get(fd, answer), 201);
	close(fd);
	ck_assert_uint_eq(fake_core_appended(core), 2);
}
END_TEST

Suite *front_suite(void)
{
	Suite *s = suite_create("front");
	TCase *t = tcase_create("front");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, send_is_answered_when_durable);
	tcase_add_loop_test(t, request_in_pieces_is_read, 0, sizeof pieces / sizeof *pieces);
	tcase_add_test(t, pipelined_requests_keep_their_order);
	tcase_add_test(t, half_closed_client_gets_its_answer);
	tcase_add_loop_test(t, refusal_has_status_and_reason, 0, sizeof refusals / sizeof *refusals);
	tcase_add_test(t, metrics_port_serves_only_metrics_and_health);
	tcase_add_loop_test(t, outcome_of_the_append_becomes_the_status, 0,
			    sizeof outcomes / sizeof *outcomes);
	tcase_add_test(t, refused_append_is_answered);
	tcase_add_loop_test(t, throttled_send_is_told_when_to_come_again, 0,
			    sizeof waits / sizeof *waits);
	tcase_add_test(t, connection_is_one_flow_on_its_policy);
	tcase_add_test(t, management_calls_beyond_their_rate_are_refused);
	tcase_add_test(t, units_tell_settings_use_and_scopes);
	tcase_add_loop_test(t, units_and_limits_are_checked, 0,
			    sizeof limit_calls / sizeof *limit_calls);
	tcase_add_test(t, append_that_takes_too_long_times_out);
	tcase_add_test(t, client_that_went_away_leaves_nothing);
	tcase_add_test(t, spent_budget_answers_busy);
	tcase_add_test(t, request_under_way_is_answered_before_the_stop);
	tcase_add_test(t, stop_waits_for_appends_still_out);
	tcase_add_test(t, idle_connections_end_with_the_stop);
	suite_add_tcase(s, t);
	t = tcase_create("one connection");
	tcase_add_checked_fixture(t, setup_one_connection, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, connection_past_the_quota_is_told);
	suite_add_tcase(s, t);
	return s;
}
