/* Bytes in, bytes out, over a real socket pair and loop: frames of every cut,
 * authentication, order, and what ends a connection. */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "test/unit/kafka_front/fix.h"

enum { READ_MS = 5000 };

static struct kafka_fix fix;
static struct net *net;
static char bound[64];

static void start(void)
{
	struct err_detail d = {""};
	struct net_options o = {.loops = 1};
	ck_assert_int_eq(net_new(&o, &net, &d), ERR_OK);
	struct net_listen_options l = {
		.address = "127.0.0.1:0",
		.protocol = &kafka_protocol,
		.ctx = fix.listener,
	};
	ck_assert_int_eq(net_listen(net, &l, bound, &d), ERR_OK);
	ck_assert_int_eq(net_start(net, &d), ERR_OK);
}

static void setup(void)
{
	fix_open(&fix);
	start();
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

static int dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	a.sin_port = htons((uint16_t)atoi(strrchr(bound, ':') + 1));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval t = {.tv_sec = READ_MS / 1000};
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
	int one = 1;
	ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

/* Appends a framed request. */
static void add(struct str *out, int16_t key, int16_t version, int32_t correlation,
		const void *body)
{
	const struct kafka_api *api = kafka_api_find(key);
	struct str bytes = {0};
	struct kafka_request_header h = {
		.key = key,
		.version = version,
		.correlation = correlation,
		.client_id = {.s = span_str("t")},
	};
	kafka_header_write(&bytes, api, &h);
	struct kafka_out o = {0};
	kafka_encode(&o, api->request, version, kafka_is_flexible(api, version), body);
	kafka_out_flatten(&o, &bytes);
	kafka_out_fini(&o);
	uint8_t size[4];
	put_u32(size, (uint32_t)bytes.len);
	str_addn(out, size, sizeof size);
	str_addn(out, bytes.p, bytes.len);
	str_fini(&bytes);
}

static void write_all(int fd, const void *p, size_t n)
{
	ck_assert_int_eq(write(fd, p, n), (ssize_t)n);
}

static bool read_all(int fd, void *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, (uint8_t *)p + got, n - got);
		if (r <= 0) {
			return false;
		}
		got += (size_t)r;
	}
	return true;
}

/* The next frame's length; its bytes in `out`. 0: the connection ended. */
static uint32_t read_frame(int fd, uint8_t *out, size_t size)
{
	uint8_t head[4];
	if (!read_all(fd, head, sizeof head)) {
		return 0;
	}
	uint32_t n = get_u32(head);
	ck_assert_uint_le(n, size);
	ck_assert(read_all(fd, out, n));
	return n;
}

static void add_login(struct str *out, const char *user, const char *password)
{
	struct kafka_sasl_handshake_request hs = {.mechanism = {.s = span_str("PLAIN")}};
	add(out, 17, 1, 1, &hs);
	char token[128];
	int n = snprintf(token, sizeof token, "%c%s%c%s", 0, user, 0, password);
	struct kafka_sasl_authenticate_request q = {
		.auth_bytes = {.s = span_of(token, (size_t)n)}};
	add(out, 36, 1, 2, &q);
}

static int login(const char *user, const char *password, int16_t *code)
{
	int fd = dial();
	struct str out = {0};
	add_login(&out, user, password);
	write_all(fd, out.p, out.len);
	str_fini(&out);
	uint8_t b[1024];
	ck_assert_uint_gt(read_frame(fd, b, sizeof b), 0);
	ck_assert_uint_gt(read_frame(fd, b, sizeof b), 0);
	*code = (int16_t)get_u16(b + 4);
	return fd;
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
	close(login("RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code));
	ck_assert_int_eq(code, 0);
	close(login("events/sender", "sender-key-2", &code));
	ck_assert_int_eq(code, 0);
	int fd = login("RootManageSharedAccessKey", "wrong", &code);
	ck_assert_int_eq(code, KAFKA_SASL_AUTHENTICATION_FAILED);
	expect_end(fd);
	fd = login("nobody", "x", &code);
	ck_assert_int_eq(code, KAFKA_SASL_AUTHENTICATION_FAILED);
	expect_end(fd);
}
END_TEST

static bool metadata_is_answered(int fd)
{
	struct str out = {0};
	struct kafka_metadata_request q = {.n_topics = 0};
	add(&out, 3, 5, 9, &q);
	write_all(fd, out.p, out.len);
	str_fini(&out);
	uint8_t b[1024];
	return read_frame(fd, b, sizeof b) > 0;
}

/* A policy's connections end with it, those of others go on. */
START_TEST(a_deleted_policy_ends_its_connections)
{
	int16_t code;
	int of_hub = login("events/sender", "sender-key-1", &code);
	ck_assert_int_eq(code, 0);
	int root = login("RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code);
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
		int fd = dial();
		struct str out = {0};
		struct kafka_sasl_handshake_request hs = {.mechanism = {.s = span_str("PLAIN")}};
		add(&out, 17, 0, 1, &hs);
		uint8_t size[4];
		uint32_t n = sizeof good - (is_good ? 1 : 2);
		put_u32(size, n);
		str_addn(&out, size, sizeof size);
		str_addn(&out, good, n);
		write_all(fd, out.p, out.len);
		str_fini(&out);
		uint8_t b[256];
		ck_assert_uint_gt(read_frame(fd, b, sizeof b), 0);
		if (is_good) {
			uint8_t empty[4];
			ck_assert(read_all(fd, empty, sizeof empty));
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
	int fd = dial();
	struct str out = {0};
	struct kafka_metadata_request q = {.n_topics = -1};
	add(&out, 3, 5, 1, &q);
	write_all(fd, out.p, out.len);
	str_fini(&out);
	expect_end(fd);
}
END_TEST

START_TEST(another_mechanism_is_refused)
{
	int fd = dial();
	struct str out = {0};
	struct kafka_sasl_handshake_request hs = {.mechanism = {.s = span_str("SCRAM-SHA-256")}};
	add(&out, 17, 1, 1, &hs);
	write_all(fd, out.p, out.len);
	str_fini(&out);
	uint8_t b[64];
	ck_assert_uint_gt(read_frame(fd, b, sizeof b), 0);
	ck_assert_int_eq((int16_t)get_u16(b + 4), KAFKA_UNSUPPORTED_SASL_MECHANISM);
	expect_end(fd);
}
END_TEST

/* A future client's ApiVersions gets the oldest form and goes on. */
START_TEST(unknown_api_versions_version)
{
	int fd = dial();
	static const uint8_t q[] = {0, 0, 0, 14, 0, 18, 0, 99, 0, 0, 0, 5, 0, 1, 't', 0, 1, 2};
	write_all(fd, q, sizeof q);
	uint8_t b[64];
	ck_assert_uint_eq(read_frame(fd, b, sizeof b), 4 + 2 + 4 + 6);
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
	add(&out, 18, 0, 0, &v);
	add_login(&out, "RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1");
	for (size_t piece = 1; piece < out.len; piece = piece < 8 ? piece + 1 : piece * 2) {
		int fd = dial();
		for (size_t at = 0; at < out.len; at += piece) {
			size_t n = out.len - at < piece ? out.len - at : piece;
			write_all(fd, out.p + at, n);
		}
		uint8_t b[1024];
		for (uint32_t i = 0; i < 3; i++) {
			ck_assert_uint_gt(read_frame(fd, b, sizeof b), 0);
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
		int fd = dial();
		write_all(fd, bad[i].bytes, bad[i].n);
		expect_end(fd);
	}
}
END_TEST

/* Reads frames until one with this correlation; all before it come in order. */
static void expect_answers(int fd, int32_t first, int32_t last)
{
	static uint8_t b[4 << 20];
	for (int32_t i = first; i <= last; i++) {
		ck_assert_uint_gt(read_frame(fd, b, sizeof b), 0);
		ck_assert_int_eq((int32_t)get_u32(b), i);
	}
}

/* A request that would never get its memory is refused when it is announced. */
START_TEST(more_than_there_is_memory_for)
{
	int16_t code;
	int fd = login("RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code);
	uint8_t size[4];
	put_u32(size, (1 << 20) + 1);
	write_all(fd, size, sizeof size);
	expect_end(fd);
}
END_TEST

/* Where slow frames hold all their memory, one that comes whole goes on. */
START_TEST(whole_requests_beside_slow_ones)
{
	struct budget *partials = &fix.front->partials;
	ck_assert(budget_take(partials, partials->max));
	int16_t code;
	int fd = login("RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code);
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
	int fd = login("RootManageSharedAccessKey", "RootManageSharedAccessKey-key-1", &code);
	struct kafka_fetch_request_partition p = {.partition_max_bytes = 1};
	struct kafka_fetch_request_topic t = {
		.topic = kafka_text("events"), .partitions = &p, .n_partitions = 1};
	struct kafka_fetch_request f = {
		.max_wait_ms = 300, .min_bytes = 1, .topics = &t, .n_topics = 1};
	struct str out = {0};
	add(&out, 1, 4, 3, &f);
	struct kafka_metadata_request_topic *topics = calloc(TOPICS, sizeof *topics);
	ck_assert_ptr_nonnull(topics);
	for (int i = 0; i < TOPICS; i++) {
		topics[i].name = kafka_text("events");
	}
	struct kafka_metadata_request m = {.topics = topics, .n_topics = TOPICS};
	for (int32_t i = 0; i < N; i++) {
		add(&out, 3, 5, 4 + i, &m);
	}
	write_all(fd, out.p, out.len);
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
	return s;
}
