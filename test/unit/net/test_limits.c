/* What a listener refuses. */

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fixture.h"

static struct stage stage;

/* What a surplus connection is told. */
static void expect_surplus(int fd)
{
	char text[32] = "";
	ssize_t n = recv(fd, text, sizeof text - 1, MSG_WAITALL);
	ck_assert_int_gt(n, 0);
	ck_assert_str_eq(text, "at most 2");
}

START_TEST(connection_past_the_limit_is_surplus)
{
	struct net_options o = {.loops = 2, .max_connections = 2};
	char line[512];
	log_catch();
	stage_init(&stage, PLAY_SINK);
	stage_start(&stage, &o, NULL);
	int a = raw_connect(stage.port);
	int b = raw_connect(stage.port);
	stage_wait(&stage, &stage.opened, 2);
	int c = raw_connect(stage.port);
	expect_surplus(c);
	log_wait("NET-CONNECTIONS-FULL", line);
	ck_assert_ptr_nonnull(strstr(line, "limit=2"));
	close(c);
	c = raw_connect(stage.port);	/* the second within a second: no line */
	expect_surplus(c);
	ck_assert_int_eq(log_seen("NET-CONNECTIONS-FULL", line), 1);
	close(c);
	stage_wait(&stage, &stage.closed, 2);
	close(a);
	stage_wait(&stage, &stage.closed, 3);
	/* The place is free once the stream is gone. */
	ssize_t n = 1;
	for (int64_t until = clock_mono_ms() + WAIT_MS; n > 0 && clock_mono_ms() < until;) {
		a = raw_connect(stage.port);
		struct timeval tv = {0, 100000};
		setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		char byte;
		n = recv(a, &byte, 1, 0);
		close(a);
	}
	ck_assert_int_lt(n, 0);
	close(b);
	stage_stop(&stage, 1000);
	log_release();
}
END_TEST

START_TEST(too_many_surplus_connections_are_closed_at_once)
{
	enum { MOST = 2 + NET_SURPLUS_MAX };
	struct net_options o = {.loops = 2, .max_connections = 2};
	int fd[MOST];
	log_catch();
	stage_init(&stage, PLAY_SINK);
	stage_start(&stage, &o, NULL);
	/* They linger, as their clients do not close. */
	for (int i = 0; i < MOST; i++) {
		fd[i] = raw_connect(stage.port);
	}
	stage_wait(&stage, &stage.opened, 2);
	stage_wait(&stage, &stage.surplus, NET_SURPLUS_MAX);
	int c = raw_connect(stage.port);
	ck_assert_uint_eq(raw_drain(c), 0);
	ck_assert_int_eq(stage_count(&stage, &stage.surplus), NET_SURPLUS_MAX);
	close(c);
	for (int i = 0; i < MOST; i++) {
		close(fd[i]);
	}
	stage_stop(&stage, 1000);
	log_release();
}
END_TEST

START_TEST(unauthorised_connections_of_one_address_are_limited)
{
	struct net_options o = {.loops = 2, .max_unauthorised_per_address = 2};
	char line[512];
	log_catch();
	stage_init(&stage, PLAY_SINK);
	stage_start(&stage, &o, NULL);
	int a = raw_connect(stage.port);
	int b = raw_connect(stage.port);
	stage_wait(&stage, &stage.opened, 2);
	int c = raw_connect(stage.port);
	ck_assert_uint_eq(raw_drain(c), 0);
	log_wait("NET-ADDRESS-FULL", line);
	ck_assert_ptr_nonnull(strstr(line, "peer=127.0.0.1"));
	close(a);
	close(b);
	close(c);
	stage_stop(&stage, 1000);
	log_release();
}
END_TEST

START_TEST(authorised_connections_do_not_count_for_their_address)
{
	struct net_options o = {.loops = 2, .max_unauthorised_per_address = 1};
	int fd[5];
	stage_init(&stage, PLAY_SINK);
	stage.authorise = true;
	stage_start(&stage, &o, NULL);
	for (int i = 0; i < 5; i++) {
		fd[i] = raw_connect(stage.port);
		stage_wait(&stage, &stage.opened, i + 1);
	}
	for (int i = 0; i < 5; i++) {
		close(fd[i]);
	}
	stage_stop(&stage, 1000);
}
END_TEST

/* Connections wait in the backlog while no descriptor is left to accept them. */
START_TEST(no_descriptors_closes_and_goes_on_serving)
{
	enum { WAITING = 5 };
	int fd[WAITING];
	char line[512];
	struct rlimit old;
	struct net_options o = {.loops = 1};
	log_catch();
	stage_init(&stage, PLAY_ECHO);
	stage_listen(&stage, &o, NULL);
	for (int i = 0; i < WAITING; i++) {
		fd[i] = raw_connect(stage.port);
	}
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	int lowest = dup(0);
	close(lowest);
	struct rlimit none = {(rlim_t)lowest, old.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	stage_run(&stage);
	for (int i = 0; i < WAITING; i++) {
		ck_assert_uint_eq(raw_drain(fd[i]), 0);
	}
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	log_wait("NET-NO-DESCRIPTORS", line);
	ck_assert_int_eq(log_seen("NET-NO-DESCRIPTORS", line), 1);
	struct net_dial *c = dial(&stage, NULL);
	echo_round(c, 1000);
	net_dial_close(&c);
	for (int i = 0; i < WAITING; i++) {
		close(fd[i]);
	}
	stage_stop(&stage, 1000);
	log_release();
}
END_TEST

static void fault_at(struct net_loop *loop, void *arg)
{
	(void)loop;
	mem_fault_at(*(long *)arg);
}

static void fault_off(struct net_loop *loop, void *arg)
{
	(void)loop;
	*(bool *)arg = mem_fault_fired();
	mem_fault_at(0);
}

/* Whatever the loop cannot get memory for costs that connection only. */
START_TEST(failed_allocation_on_the_loop_goes_on_serving)
{
	struct net_options o = {.loops = 1};
	struct dir dir;
	dir_certificates(&dir);
	log_catch();	/* and drops the lines */
	stage_init(&stage, PLAY_SOURCE);
	stage.source_bytes = 100000;
	stage.write_may_fail = true;
	stage_start(&stage, &o, dir_tls(&dir, NULL));
	struct net_loop *loop = net_loop_at(stage.net, 0);
	bool fired = true;
	for (long n = 1; fired; n++) {
		on_loop(loop, fault_at, &n);
		struct net_dial_options to = {.host = "127.0.0.1",
					      .port = stage.port,
					      .tls = true,
					      .ca_file = dir.ca,
					      .timeout_ms = WAIT_MS};
		struct net_dial *c = NULL;
		uint8_t byte;
		size_t got;
		if (net_dial_open(&to, &c, NULL) == ERR_OK) {
			enum err e = net_dial_read(c, &byte, 1, &got, NULL);
			ck_assert(e == ERR_OK || e == ERR_EOF || e == ERR_IO);
		}
		net_dial_close(&c);
		on_loop(loop, fault_off, &fired);
	}
	struct net_dial *c = dial(&stage, dir.ca);
	net_dial_close(&c);
	stage_stop(&stage, 1000);
	log_release();
	dir_remove(&dir);
}
END_TEST

static enum err try_listen(const char *address, struct err_detail *d)
{
	char bound[64];
	struct net_listen_options o = {
		.address = address, .protocol = &stage.protocol, .ctx = &stage};
	return net_listen(stage.net, &o, bound, d);
}

START_TEST(listen_says_what_is_wrong)
{
	struct err_detail d = {0};
	char bound[64];
	stage_init(&stage, PLAY_SINK);
	stage_listen(&stage, NULL, NULL);
	ck_assert_int_eq(try_listen(stage.bound, &d), ERR_IN_USE);
	ck_assert_ptr_nonnull(strstr(d.text, "another program uses this port"));
	static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x",
					  "127.0.0.1:70000", "::1:80", "203.0.113.1:0",
					  "no such host.invalid:1"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		ck_assert_msg(try_listen(bad[i], &d) == ERR_INVALID, "%s: %s", bad[i], d.text);
	}
	struct net_listen_options any = {
		.address = ":0", .protocol = &stage.protocol, .ctx = &stage};
	ck_assert_int_eq(net_listen(stage.net, &any, bound, &d), ERR_OK);
	ck_assert_int_eq(strncmp(bound, "0.0.0.0:", 8), 0);
	stage_stop(&stage, 0);
}
END_TEST

Suite *limits_suite(void)
{
	Suite *s = suite_create("limits");
	TCase *t = tcase_create("limits");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, connection_past_the_limit_is_surplus);
	tcase_add_test(t, too_many_surplus_connections_are_closed_at_once);
	tcase_add_test(t, unauthorised_connections_of_one_address_are_limited);
	tcase_add_test(t, authorised_connections_do_not_count_for_their_address);
	tcase_add_test(t, no_descriptors_closes_and_goes_on_serving);
	tcase_add_test(t, failed_allocation_on_the_loop_goes_on_serving);
	tcase_add_test(t, listen_says_what_is_wrong);
	suite_add_tcase(s, t);
	return s;
}
