#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/cli/kafka_client.h"

enum { ANSWERS_MAX = 8, NO_KEY = -1 };

/* A server that gives prepared answers, in pieces of `piece` bytes. */
struct answer {
	int16_t key;		/* NO_KEY: raw bytes */
	int16_t version;
	const void *body;
	int32_t correlation_error;
	size_t raw;
};
static struct fake {
	int listener;
	int port;
	pthread_t thread;
	size_t piece;
	struct answer answers[ANSWERS_MAX];
	size_t n;
	uint8_t last[4096];	/* the last request after its length */
	size_t last_n;
} fake;

static bool read_all(int fd, void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t r = recv(fd, (char *)p + at, n - at, 0);
		if (r <= 0) {
			return false;
		}
		at += (size_t)r;
	}
	return true;
}

static void write_pieces(int fd, const char *p, size_t n)
{
	while (n > 0) {
		size_t part = n < fake.piece ? n : fake.piece;
		ssize_t r = send(fd, p, part, MSG_NOSIGNAL);
		if (r <= 0) {
			return;
		}
		p += r;
		n -= (size_t)r;
	}
}

static void answer_one(int fd, const struct answer *a)
{
	struct str out = {0};
	uint8_t head[8];
	if (a->key == NO_KEY) {
		write_pieces(fd, a->body, a->raw);
		return;
	}
	const struct kafka_api *api = kafka_api_find(a->key);
	bool flexible = kafka_is_flexible(api, a->version);
	struct kafka_out body = {0};
	kafka_encode(&body, api->response, a->version, flexible, a->body);
	bool has_tags = flexible && a->key != KAFKA_API_ApiVersions;
	put_u32(head, (uint32_t)(4 + has_tags + kafka_out_size(&body)));
	put_u32(head + 4, get_u32(fake.last + 4) + (uint32_t)a->correlation_error);
	str_addn(&out, head, sizeof head);
	str_addn(&out, "", has_tags);
	kafka_out_flatten(&body, &out);
	kafka_out_fini(&body);
	write_pieces(fd, out.p, out.len);
	str_fini(&out);
}

static void *serve(void *arg)
{
	(void)arg;
	int fd = accept(fake.listener, NULL, NULL);
	for (size_t i = 0; i < fake.n; i++) {
		uint8_t length[4];
		if (!read_all(fd, length, sizeof length)) {
			break;
		}
		fake.last_n = get_u32(length);
		if (fake.last_n > sizeof fake.last || !read_all(fd, fake.last, fake.last_n)) {
			break;
		}
		answer_one(fd, &fake.answers[i]);
	}
	close(fd);
	return NULL;
}

static const struct kafka_api_versions_response_api served[] = {
	{.api_key = KAFKA_API_Produce, .min_version = 3, .max_version = 11},
	{.api_key = KAFKA_API_Metadata, .min_version = 0, .max_version = 12},
	{.api_key = KAFKA_API_InitProducerId, .min_version = 0, .max_version = 2},
};
static struct kafka_api_versions_response versions;

static void add(int16_t key, int16_t version, const void *body)
{
	fake.answers[fake.n++] = (struct answer){.key = key, .version = version, .body = body};
}

static void setup(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	fake = (struct fake){.piece = 1 << 20};
	fake.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(fake.listener, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(fake.listener, 1), 0);
	ck_assert_int_eq(getsockname(fake.listener, (struct sockaddr *)&at, &len), 0);
	fake.port = ntohs(at.sin_port);
	versions = (struct kafka_api_versions_response){0};
	versions.api_keys = calloc(3, sizeof *versions.api_keys);
	ck_assert_ptr_nonnull(versions.api_keys);
	memcpy(versions.api_keys, served, sizeof served);
	versions.n_api_keys = 3;
	add(KAFKA_API_ApiVersions, 3, &versions);
}

static void teardown(void)
{
	close(fake.listener);
	free(versions.api_keys);
}

static enum err open_client(bool sasl, struct kafka_client **c, struct err_detail *d)
{
	struct cli_target t = {.kafka_host = "127.0.0.1", .kafka_port = fake.port, .kafka_sasl = sasl};
	(void)snprintf(t.cs.host, sizeof t.cs.host, "ns");
	(void)snprintf(t.cs.key_name, sizeof t.cs.key_name, "n");
	(void)snprintf(t.cs.key, sizeof t.cs.key, "k=");
	t.cs.port = 5671;
	*c = NULL;
	ck_assert_int_eq(pthread_create(&fake.thread, NULL, serve, NULL), 0);
	return kafka_client_open(&t, c, d);
}

static void close_client(struct kafka_client **c)
{
	kafka_client_close(c);
	ck_assert_ptr_null(*c);
	ck_assert_int_eq(pthread_join(fake.thread, NULL), 0);
}

static const size_t pieces[] = {1, 2, 3, 7, 1 << 20};

START_TEST(versions_are_asked_in_any_fragments)
{
	struct kafka_client *c;
	struct err_detail d = {{0}};
	fake.piece = pieces[_i];
	ck_assert_int_eq(open_client(false, &c, &d), ERR_OK);
	ck_assert_int_eq(kafka_client_serves(c, KAFKA_API_Produce, 9, &d), ERR_OK);
	ck_assert_int_eq(kafka_client_serves(c, KAFKA_API_Produce, 12, &d), ERR_VERSION);
	ck_assert_int_eq(kafka_client_serves(c, KAFKA_API_Fetch, 0, &d), ERR_VERSION);
	ck_assert_str_eq(d.text, "the server does not serve Fetch version 0");
	close_client(&c);
}
END_TEST

START_TEST(plain_gives_the_connection_string_without_a_port)
{
	static const char password[] = "\0$ConnectionString\0"
				       "Endpoint=sb://ns/;SharedAccessKeyName=n;SharedAccessKey=k=";
	struct kafka_client *c;
	struct err_detail d = {{0}};
	struct kafka_sasl_handshake_response offered = {0};
	struct kafka_sasl_authenticate_response done = {0};
	add(KAFKA_API_SaslHandshake, 1, &offered);
	add(KAFKA_API_SaslAuthenticate, 2, &done);
	ck_assert_int_eq(open_client(true, &c, &d), ERR_OK);
	close_client(&c);
	ck_assert_ptr_nonnull(memmem(fake.last, fake.last_n, password, sizeof password - 1));
}
END_TEST

START_TEST(refused_key_is_unauthorized)
{
	struct kafka_client *c;
	struct err_detail d = {{0}};
	struct kafka_sasl_handshake_response offered = {0};
	struct kafka_sasl_authenticate_response done = {
		.error_code = 58, .error_message = kafka_string_of(span_str("wrong key"))};
	add(KAFKA_API_SaslHandshake, 1, &offered);
	add(KAFKA_API_SaslAuthenticate, 2, &done);
	ck_assert_int_eq(open_client(true, &c, &d), ERR_UNAUTHORIZED);
	ck_assert_ptr_null(c);
	ck_assert_ptr_nonnull(
		strstr(d.text, "SaslAuthenticate: Kafka error 58 SASL_AUTHENTICATION_FAILED: wrong key"));
	close_client(&c);
}
END_TEST

START_TEST(partitions_are_counted_once_the_leader_is_known)
{
	struct kafka_client *c;
	struct err_detail d = {{0}};
	struct kafka_metadata_response_partition parts[3] = {{0}};
	struct kafka_metadata_response_topic later = {.error_code = 5};
	struct kafka_metadata_response_topic topic = {.partitions = parts, .n_partitions = 3};
	struct kafka_metadata_response first = {.topics = &later, .n_topics = 1};
	struct kafka_metadata_response second = {.topics = &topic, .n_topics = 1};
	struct kafka_metadata_response_topic none = {.error_code = 3};
	struct kafka_metadata_response third = {.topics = &none, .n_topics = 1};
	int32_t n = 0;
	add(KAFKA_API_Metadata, 9, &first);
	add(KAFKA_API_Metadata, 9, &second);
	add(KAFKA_API_Metadata, 9, &third);
	ck_assert_int_eq(open_client(false, &c, &d), ERR_OK);
	ck_assert_int_eq(kafka_client_partitions(c, "h", &n, &d), ERR_OK);
	ck_assert_int_eq(n, 3);
	ck_assert_int_eq(kafka_client_partitions(c, "h", &n, &d), ERR_NOT_FOUND);
	ck_assert_str_eq(d.text, "the event hub \"h\" does not exist");
	close_client(&c);
}
END_TEST

START_TEST(producer_needs_a_served_version)
{
	struct kafka_client *c;
	struct err_detail d = {{0}};
	int64_t id;
	int16_t epoch;
	ck_assert_int_eq(open_client(false, &c, &d), ERR_OK);
	ck_assert_int_eq(kafka_client_producer(c, &id, &epoch, &d), ERR_VERSION);
	close_client(&c);
}
END_TEST

/* Two requests under way, answered in order and read one by one. */
START_TEST(answers_come_in_the_order_of_requests)
{
	struct kafka_client *c;
	struct err_detail d = {{0}};
	struct kafka_produce_request request = {.transactional_id = kafka_string_null(), .acks = -1};
	struct kafka_produce_response answers[2] = {{.throttle_time_ms = 1}, {.throttle_time_ms = 2}};
	struct kafka_produce_response got;
	struct str frame = {0};
	fake.piece = pieces[_i];
	add(KAFKA_API_Produce, 9, &answers[0]);
	add(KAFKA_API_Produce, 9, &answers[1]);
	ck_assert_int_eq(open_client(false, &c, &d), ERR_OK);
	ck_assert_int_eq(kafka_client_read(c, 0, KAFKA_API_Produce, 9, &got, &d), ERR_AGAIN);
	ck_assert_int_eq(kafka_client_frame(KAFKA_API_Produce, 9, &request, &frame, &d), ERR_OK);
	ck_assert_uint_eq(get_u32((uint8_t *)frame.p) + 4, frame.len);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(kafka_client_write(c, (uint8_t *)frame.p, frame.len, &d), ERR_OK);
	}
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(kafka_client_read(c, 5000, KAFKA_API_Produce, 9, &got, &d), ERR_OK);
		ck_assert_int_eq(got.throttle_time_ms, i + 1);
	}
	str_fini(&frame);
	close_client(&c);
}
END_TEST

START_TEST(answer_to_another_request_is_refused)
{
	struct kafka_client *c;
	struct err_detail d = {{0}};
	fake.answers[0].correlation_error = 7;
	ck_assert_int_eq(open_client(false, &c, &d), ERR_PROTOCOL);
	ck_assert_ptr_nonnull(strstr(d.text, "ApiVersions: answer 8 came instead of 1"));
	close_client(&c);
}
END_TEST

static const struct {
	const char *bytes;
	size_t n;
	enum err want;
} bad_answers[] = {
	{"HTTP/1.1 400 Bad Request\r\n", 26, ERR_PROTOCOL},	/* a length of 1.2 GB */
	{"\0\0\0\3abc", 7, ERR_PROTOCOL},			/* no room for a head */
	{"\0\0\0\5\0\0\0\1\0", 9, ERR_DECODE},			/* cut short in the body */
	{"\0\0\0\30\0\0\0\1\0", 9, ERR_EOF},			/* the connection ends in it */
};

START_TEST(malformed_answer_is_an_error)
{
	struct kafka_client *c;
	struct err_detail d = {{0}};
	fake.answers[0] = (struct answer){
		.key = NO_KEY, .body = bad_answers[_i].bytes, .raw = bad_answers[_i].n};
	ck_assert_int_eq(open_client(false, &c, &d), bad_answers[_i].want);
	ck_assert_str_ne(d.text, "");
	close_client(&c);
}
END_TEST

START_TEST(code_without_a_name_is_told_by_number)
{
	struct err_detail d = {{0}};
	ck_assert_int_eq(kafka_client_check(0, kafka_string_null(), "X", &d), ERR_OK);
	ck_assert_int_eq(kafka_client_check(99, kafka_string_null(), "X", &d), ERR_PROTOCOL);
	ck_assert_str_eq(d.text, "X: Kafka error 99");
}
END_TEST

Suite *kafka_client_suite(void);
Suite *kafka_client_suite(void)
{
	int n_pieces = (int)(sizeof pieces / sizeof *pieces);
	Suite *s = suite_create("kafka_client");
	TCase *t = tcase_create("all");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, versions_are_asked_in_any_fragments, 0, n_pieces);
	tcase_add_test(t, plain_gives_the_connection_string_without_a_port);
	tcase_add_test(t, refused_key_is_unauthorized);
	tcase_add_test(t, partitions_are_counted_once_the_leader_is_known);
	tcase_add_test(t, producer_needs_a_served_version);
	tcase_add_loop_test(t, answers_come_in_the_order_of_requests, 0, n_pieces);
	tcase_add_test(t, answer_to_another_request_is_refused);
	tcase_add_loop_test(t, malformed_answer_is_an_error, 0,
			    (int)(sizeof bad_answers / sizeof *bad_answers));
	tcase_add_test(t, code_without_a_name_is_told_by_number);
	suite_add_tcase(s, t);
	return s;
}
