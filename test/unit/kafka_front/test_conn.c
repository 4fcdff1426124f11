/* Bytes in, bytes out, over a real socket pair and loop: frames of every cut,
 * authentication, order, and what ends a connection. */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "test/unit/kafka_front/fix.h"
#include "test/unit/kafka_front/sock_help.h"

static struct kafka_fix fix;
static struct net *net;
static char bound[64];

static void start_limited(int max_connections)
{
	struct err_detail d = {""};
	struct net_options o = {.loops = 1, .max_connections = max_connections};
	ck_assert_int_eq(net_new(&o, &net, &d), ERR_OK);
	struct net_listen_options l = {
		.address = "127.0.0.1:0",
		.protocol = &kafka_protocol,
		.ctx = fix.listener,
	};
	ck_assert_int_eq(net_listen(net, &l, bound, &d), ERR_OK);
	ck_assert_int_eq(net_start(net, &d), ERR_OK);
}

static void start(void)
{
	start_limited(0);
}

static void setup(void)
{
	fix_open(&fix);
	start();
}

static void setup_one_connection(void)
{
	fix_open(&fix);
	start_limited(1);
}

/* With memory for parts of frames of 2 MiB. */
static void setup_small(void)
{
	fix_open(&fix);
	fix.front->partials.max = 2 << 20;
	start();
}

static void teardown(void)
{
	net_drain(net, 1000);
	fix_stop(&fix);
	net_stop(&net, 0);
	fix_close(&fix);
}

static void expect_end(int fd)
{
	uint8_t b[16];
	ck_assert_int_le(read(fd, b, sizeof b), 0);
	close(fd);
}

START_TEST(right_and_wrong_passwords)
{
	int16_t code;
	close(sock_login(bound, "RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code));
	ck_assert_int_eq(code, 0);
	close(sock_login(bound, "events/sender", "sender-key-2", &code));
	ck_assert_int_eq(code, 0);
	int fd = sock_login(bound, "RootManageSharedAccessKey", "wrong", &code);
	ck_assert_int_eq(code, KAFKA_SASL_AUTHENTICATION_FAILED);
	expect_end(fd);
	fd = sock_login(bound, "nobody", "x", &code);
	ck_assert_int_eq(code, KAFKA_SASL_AUTHENTICATION_FAILED);
	expect_end(fd);
}
END_TEST

static bool metadata_is_answered(int fd)
{
	struct str out = {0};
	struct kafka_metadata_request q = {.n_topics = 0};
	sock_add(&out, 3, 5, 9, &q);
	sock_write_all(fd, out.p, out.len);
	str_fini(&out);
	uint8_t b[1024];
	return sock_read_frame(fd, b, sizeof b) > 0;
}

/* A policy's connections end with it, those of others go on. */
START_TEST(a_deleted_policy_ends_its_connections)
{
	int16_t code;
	int of_hub = sock_login(bound, "events/sender", "sender-key-1", &code);
	ck_assert_int_eq(code, 0);
	int root = sock_login(bound, "RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code);
	ck_assert_int_eq(code, 0);
	ck_assert(metadata_is_answered(of_hub));
	struct catalog_command del = {
		.op = CATALOG_POLICY_DELETE, .hub = "events", .policy = {.name = "sender"}};
	ck_assert_int_eq(fix_command(&fix, &del), ERR_OK);
	ck_assert(!metadata_is_answered(of_hub));
	ck_assert(metadata_is_answered(root));
	close(of_hub);
	close(root);
}
END_TEST

/* The old way: a bare token after SaslHandshake 0. */
START_TEST(raw_tokens)
{
	static const char good[] = "\0RootManageSharedAccessKey\0RootManageSharedAccessKey-key-1";
	for (int is_good = 0; is_good < 2; is_good++) {
		int fd = sock_dial(bound);
		struct str out = {0};
		struct kafka_sasl_handshake_request hs = {.mechanism = {.s = span_str("PLAIN")}};
		sock_add(&out, 17, 0, 1, &hs);
		uint8_t size[4];
		uint32_t n = sizeof good - (is_good ? 1 : 2);
		put_u32(size, n);
		str_addn(&out, size, sizeof size);
		str_addn(&out, good, n);
		sock_write_all(fd, out.p, out.len);
		str_fini(&out);
		uint8_t b[256];
		ck_assert_uint_gt(sock_read_frame(fd, b, sizeof b), 0);
		if (is_good) {
			uint8_t empty[4];
			ck_assert(sock_read_all(fd, empty, sizeof empty));
			ck_assert_uint_eq(get_u32(empty), 0);
			close(fd);
		} else {
			expect_end(fd);
		}
	}
}
END_TEST

START_TEST(nothing_before_authentication)
{
	int fd = sock_dial(bound);
	struct str out = {0};
	struct kafka_metadata_request q = {.n_topics = -1};
	sock_add(&out, 3, 5, 1, &q);
	sock_write_all(fd, out.p, out.len);
	str_fini(&out);
	expect_end(fd);
}
END_TEST

static atomic_int quota_lines;

static void count_quota_lines(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	if (strstr(line, "KAFKA-CONNECTION-QUOTA") != NULL && strstr(line, "limit=1") != NULL) {
		atomic_fetch_add(&quota_lines, 1);
	}
}

START_TEST(a_connection_beyond_the_quota_is_closed)
{
	log_setup(LOG_INFO, false);
	log_sink(count_quota_lines, NULL);
	int fd = sock_dial(bound);
	struct str out = {0};
	struct kafka_api_versions_request q = {0};
	sock_add(&out, KAFKA_API_ApiVersions, 0, 1, &q);
	ck_assert_int_eq(send(fd, out.p, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
	str_fini(&out);
	uint8_t byte;
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
	int other = sock_dial(bound);
	ck_assert_int_le(recv(other, &byte, 1, 0), 0);
	ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);	/* the first goes on */
	close(other);
	close(fd);
	log_sink(NULL, NULL);
	log_setup(LOG_ERROR, false);
	ck_assert_int_eq(atomic_load(&quota_lines), 1);
}
END_TEST

START_TEST(another_mechanism_is_refused)
{
	int fd = sock_dial(bound);
	struct str out = {0};
	struct kafka_sasl_handshake_request hs = {.mechanism = {.s = span_str("SCRAM-SHA-256")}};
	sock_add(&out, 17, 1, 1, &hs);
	sock_write_all(fd, out.p, out.len);
	str_fini(&out);
	uint8_t b[64];
	ck_assert_uint_gt(sock_read_frame(fd, b, sizeof b), 0);
	ck_assert_int_eq((int16_t)get_u16(b + 4), KAFKA_UNSUPPORTED_SASL_MECHANISM);
	expect_end(fd);
}
END_TEST

/* A future client's ApiVersions gets the oldest form and goes on. */
START_TEST(unknown_api_versions_version)
{
	int fd = sock_dial(bound);
	static const uint8_t q[] = {0, 0, 0, 14, 0, 18, 0, 99, 0, 0, 0, 5, 0, 1, 't', 0, 1, 2};
	sock_write_all(fd, q, sizeof q);
	uint8_t b[64];
	ck_assert_uint_eq(sock_read_frame(fd, b, sizeof b), 4 + 2 + 4 + 6);
	ck_assert_uint_eq(get_u32(b), 5);
	ck_assert_uint_eq(get_u16(b + 4), KAFKA_UNSUPPORTED_VERSION);
	ck_assert_uint_eq(get_u16(b + 10), 18);
	ck_assert_uint_eq(get_u16(b + 14), 4);
	close(fd);
}
END_TEST

START_TEST(every_cut_of_the_bytes)
{
	struct str out = {0};
	struct kafka_api_versions_request v = {0};
	sock_add(&out, 18, 0, 0, &v);
	sock_add_login(&out, "RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1");
	for (size_t piece = 1; piece < out.len; piece = piece < 8 ? piece + 1 : piece * 2) {
		int fd = sock_dial(bound);
		for (size_t at = 0; at < out.len; at += piece) {
			size_t n = out.len - at < piece ? out.len - at : piece;
			sock_write_all(fd, out.p + at, n);
		}
		uint8_t b[1024];
		for (uint32_t i = 0; i < 3; i++) {
			ck_assert_uint_gt(sock_read_frame(fd, b, sizeof b), 0);
			ck_assert_uint_eq(get_u32(b), i);	/* in order */
		}
		close(fd);
	}
	str_fini(&out);
}
END_TEST

START_TEST(bad_frames_end_the_connection)
{
	static const struct {
		const char *bytes;
		size_t n;
	} bad[] = {
		{"\0\0\0\0", 4},			/* nothing */
		{"\xff\xff\xff\xff", 4},		/* negative */
		{"\0\x02\0\0", 4},			/* too much for a stranger */
		{"GET / HTTP/1.1\r\n\r\n", 18},
		{"\x16\x03\x01\x02\x00\x01", 6},	/* TLS */
		{"\0\0\0\3\0\x12\0", 7},		/* half a header */
		{"\0\0\0\x0a\0\x12\0\0\0\0\0\1\x40\0", 14},	/* lying client id */
		{"\0\0\0\x0a\3\xe7\0\0\0\0\0\1\xff\xff", 14},	/* API 999 */
		{"\0\0\0\x0b\0\x12\0\0\0\0\0\1\xff\xff\7", 15},	/* left over */
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		int fd = sock_dial(bound);
		sock_write_all(fd, bad[i].bytes, bad[i].n);
		expect_end(fd);
	}
}
END_TEST

/* Reads frames until one with this correlation; all before it come in order. */
static void expect_answers(int fd, int32_t first, int32_t last)
{
	static uint8_t b[4 << 20];
	for (int32_t i = first; i <= last; i++) {
		ck_assert_uint_gt(sock_read_frame(fd, b, sizeof b), 0);
		ck_assert_int_eq((int32_t)get_u32(b), i);
	}
}

/* A request that would never get its memory is refused when it is announced. */
START_TEST(more_than_there_is_memory_for)
{
	int16_t code;
	int fd = sock_login(bound, "RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code);
	uint8_t size[4];
	put_u32(size, (1 << 20) + 1);
	sock_write_all(fd, size, sizeof size);
	expect_end(fd);
}
END_TEST

/* Where slow frames hold all their memory, one that comes whole goes on. */
START_TEST(whole_requests_beside_slow_ones)
{
	struct budget *partials = &fix.front->partials;
	ck_assert(budget_take(partials, partials->max));
	int16_t code;
	int fd = sock_login(bound, "RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code);
	ck_assert_int_eq(code, 0);
	ck_assert_uint_eq(budget_used(partials), partials->max);
	budget_give(partials, partials->max);
	close(fd);
}
END_TEST

/* Large answers behind one that waits: they come all, in order, though they are
 * not made all at once. */
START_TEST(large_answers_behind_one_that_waits)
{
	enum { N = 40, TOPICS = 4000 };
	int16_t code;
	int fd = sock_login(bound, "RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code);
	struct kafka_fetch_request_partition p = {.partition_max_bytes = 1};
	struct kafka_fetch_request_topic t = {
		.topic = kafka_text("events"), .partitions = &p, .n_partitions = 1};
	struct kafka_fetch_request f = {
		.max_wait_ms = 300, .min_bytes = 1, .topics = &t, .n_topics = 1};
	struct str out = {0};
	sock_add(&out, 1, 4, 3, &f);
	struct kafka_metadata_request_topic *topics = calloc(TOPICS, sizeof *topics);
	ck_assert_ptr_nonnull(topics);
	for (int i = 0; i < TOPICS; i++) {
		topics[i].name = kafka_text("events");
	}
	struct kafka_metadata_request m = {.topics = topics, .n_topics = TOPICS};
	for (int32_t i = 0; i < N; i++) {
		sock_add(&out, 3, 5, 4 + i, &m);
	}
	sock_write_all(fd, out.p, out.len);
	expect_answers(fd, 3, 3 + N);
	free(topics);
	str_fini(&out);
	close(fd);
	for (int i = 0; i < 100 && budget_used(&fix.front->answers) != 0; i++) {
		usleep(20000);
	}
	ck_assert_uint_eq(budget_used(&fix.front->answers), 0);
	ck_assert_uint_eq(budget_used(core_inflight(fix.core)), 0);
}
END_TEST

Suite *conn_suite(void)
{
	Suite *s = suite_create("conn");
	TCase *t = tcase_create("conn");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, right_and_wrong_passwords);
	tcase_add_test(t, a_deleted_policy_ends_its_connections);
	tcase_add_test(t, raw_tokens);
	tcase_add_test(t, nothing_before_authentication);
	tcase_add_test(t, another_mechanism_is_refused);
	tcase_add_test(t, unknown_api_versions_version);
	tcase_add_test(t, every_cut_of_the_bytes);
	tcase_add_test(t, bad_frames_end_the_connection);
	tcase_add_test(t, whole_requests_beside_slow_ones);
	tcase_add_test(t, large_answers_behind_one_that_waits);
	suite_add_tcase(s, t);
	t = tcase_create("small");
	tcase_add_checked_fixture(t, setup_small, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, more_than_there_is_memory_for);
	suite_add_tcase(s, t);
	t = tcase_create("one connection");
	tcase_add_checked_fixture(t, setup_one_connection, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_connection_beyond_the_quota_is_closed);
	suite_add_tcase(s, t);
	return s;
}
