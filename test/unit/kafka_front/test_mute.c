/* A muted connection is not read: over a real socket, what comes while it is muted is
 * answered after that, however it was cut, and the connection lives on. */

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "test/unit/kafka_front/data_help.h"
#include "test/unit/kafka_front/sock_help.h"

enum { EVENTS = 10, SLACK_MS = 20 };

static struct kafka_fix fix;
static struct net *net;
static char bound[64];
static struct kafka_arena arena;
static int fd;

static void add_produce(struct str *out, int16_t acks, int32_t correlation, int32_t events)
{
	struct kafka_produce_request_partition p = {
		.index = 0, .records = {.s = fix_batch(&arena, "m", events, 1000, -1, -1, -1)}};
	struct kafka_produce_request_topic t = {
		.name = kafka_text("events"), .partition_data = &p, .n_partition_data = 1};
	struct kafka_produce_request q = {
		.transactional_id = kafka_string_null(),
		.acks = acks,
		.topic_data = &t,
		.n_topic_data = 1,
	};
	sock_add(out, KAFKA_API_Produce, 7, correlation, &q);
}

static void add_metadata(struct str *out, int32_t correlation)
{
	struct kafka_metadata_request q = {.n_topics = 0};
	sock_add(out, KAFKA_API_Metadata, 5, correlation, &q);
}

static void send_all(struct str *out)
{
	sock_write_all(fd, out->p, out->len);
	str_fini(out);
	*out = (struct str){0};
}

static void expect(int32_t correlation)
{
	uint8_t b[4096];
	ck_assert_uint_gt(sock_read_frame(fd, b, sizeof b), 0);
	ck_assert_int_eq((int32_t)get_u32(b), correlation);
}

/* A Produce's; gives throttle_time_ms, which stands last. */
static int64_t expect_produced(int32_t correlation)
{
	uint8_t b[4096];
	uint32_t n = sock_read_frame(fd, b, sizeof b);
	ck_assert_uint_gt(n, 8);
	ck_assert_int_eq((int32_t)get_u32(b), correlation);
	return (int32_t)get_u32(b + n - 4);
}

static void setup(void)
{
	memset(&arena, 0, sizeof arena);
	arena.max = SIZE_MAX;
	fix_open(&fix);
	struct err_detail d = {""};
	struct net_options o = {.loops = 1};
	ck_assert_int_eq(net_new(&o, &net, &d), ERR_OK);
	struct net_listen_options l = {
		.address = "127.0.0.1:0", .protocol = &kafka_protocol, .ctx = fix.listener};
	ck_assert_int_eq(net_listen(net, &l, bound, &d), ERR_OK);
	ck_assert_int_eq(net_start(net, &d), ERR_OK);
	int16_t code;
	fd = sock_login(bound, CORE_ROOT_POLICY, CORE_ROOT_POLICY "-key-1", &code);
	ck_assert_int_eq(code, 0);
	struct str out = {0};
	add_produce(&out, 1, 100, 1);
	send_all(&out);
	ck_assert_int_eq(expect_produced(100), 0);
	struct catalog_limit limit = {
		.kind = CATALOG_LIMIT_HUB, .name = "events", .in_events = EVENTS};
	fix_limit(&fix, &limit);
}

static void teardown(void)
{
	close(fd);
	net_drain(net, 1000);
	fix_stop(&fix);
	net_stop(&net, 0);
	ck_assert_uint_eq(budget_used(core_inflight(fix.core)), 0);
	fix_close(&fix);
	kafka_arena_fini(&arena);
}

START_TEST(what_comes_behind_waits)
{
	struct str out = {0};
	add_produce(&out, 1, 1, EVENTS);
	send_all(&out);
	int64_t told_ms = expect_produced(1);
	int64_t answered_ms = clock_mono_ms();
	ck_assert_int_ge(told_ms, 300);
	ck_assert_int_le(told_ms, 1000);
	add_metadata(&out, 2);
	add_metadata(&out, 3);
	send_all(&out);
	expect(2);
	ck_assert_int_ge(clock_mono_ms() - answered_ms, told_ms - SLACK_MS);
	expect(3);
}
END_TEST

/* One that was being read when the connection was muted. */
START_TEST(half_a_frame_waits)
{
	struct str out = {0};
	add_metadata(&out, 2);
	size_t whole = out.len;
	add_produce(&out, 1, 1, EVENTS);
	sock_write_all(fd, out.p + whole, out.len - whole);
	sock_write_all(fd, out.p, 9);
	int64_t told_ms = expect_produced(1);
	int64_t answered_ms = clock_mono_ms();
	sock_write_all(fd, out.p + 9, whole - 9);
	str_fini(&out);
	expect(2);
	ck_assert_int_ge(clock_mono_ms() - answered_ms, told_ms - SLACK_MS);
}
END_TEST

START_TEST(without_acks_it_is_muted)
{
	struct str out = {0};
	int64_t began_ms = clock_mono_ms();
	add_produce(&out, 0, 1, EVENTS);
	add_metadata(&out, 2);
	send_all(&out);
	/* The second may have begun before the first was stored. */
	expect(2);
	add_metadata(&out, 3);
	send_all(&out);
	expect(3);
	ck_assert_int_ge(clock_mono_ms() - began_ms, 300);
}
END_TEST

/* Nothing behind an append that waits is begun; then all goes on in order. */
START_TEST(what_comes_behind_one_that_is_held_waits)
{
	struct str out = {0};
	add_produce(&out, 1, 1, EVENTS);
	send_all(&out);
	(void)expect_produced(1);
	int64_t answered_ms = clock_mono_ms();
	add_produce(&out, 1, 2, EVENTS);
	add_produce(&out, 1, 3, EVENTS);
	add_metadata(&out, 4);
	send_all(&out);
	ck_assert_int_ge(expect_produced(2), 1);
	ck_assert_int_ge(clock_mono_ms() - answered_ms, 900);
	ck_assert_int_ge(expect_produced(3), 1);
	ck_assert_int_ge(clock_mono_ms() - answered_ms, 1900);
	expect(4);
}
END_TEST

/* The code of a Produce's only partition. */
static int16_t expect_code(int32_t correlation)
{
	uint8_t b[4096];
	ck_assert_uint_gt(sock_read_frame(fd, b, sizeof b), 0);
	ck_assert_int_eq((int32_t)get_u32(b), correlation);
	/* Topics, name, partitions, index. */
	return (int16_t)get_u16(b + 4 + 4 + 2 + strlen("events") + 4 + 4);
}

/* More was sent ahead than is served while clients wait for answers: the rest is
 * refused in one go, and what is sent afterwards is taken again. */
START_TEST(what_waited_unread_for_too_long_is_refused)
{
	enum { N = 12 };
	fix.front->lag_max_ms = 1500;
	struct str out = {0};
	for (int32_t i = 1; i <= N; i++) {
		add_produce(&out, 1, i, EVENTS / 2);
	}
	int64_t began_ms = clock_mono_ms();
	send_all(&out);
	int n_stored = 0;
	while (n_stored < N && expect_code(n_stored + 1) == 0) {
		n_stored++;
	}
	ck_assert_int_ge(n_stored, 3);
	ck_assert_int_lt(n_stored, N - 3);
	for (int i = n_stored + 2; i <= N; i++) {
		ck_assert_int_eq(expect_code(i), KAFKA_NOT_ENOUGH_REPLICAS);
	}
	ck_assert_int_ge(clock_mono_ms() - began_ms, 1400);
	ck_assert_int_le(clock_mono_ms() - began_ms, 2500);
	usleep(150 * 1000);
	add_produce(&out, 1, 99, EVENTS / 2);
	send_all(&out);
	ck_assert_int_eq(expect_code(99), 0);
}
END_TEST

/* One that takes each answer before it sends the next, without heeding what it is told,
 * has nothing wait unread that was sent before. */
START_TEST(who_waits_for_answers_is_never_late)
{
	fix.front->lag_max_ms = 300;
	int64_t began_ms = clock_mono_ms();
	struct str out = {0};
	for (int32_t i = 1; clock_mono_ms() - began_ms < 1500; i++) {
		add_produce(&out, 1, i, EVENTS / 5);
		send_all(&out);
		ck_assert_int_eq(expect_code(i), 0);
	}
}
END_TEST

/* One that was throttled for a moment and sends on without pauses: the time in which it
 * was not kept waiting does not count. */
START_TEST(who_was_throttled_once_is_never_late)
{
	enum { N = 40, GAP_MS = 50 };
	fix.front->lag_max_ms = 1500;
	struct str out = {0};
	add_produce(&out, 1, 1, EVENTS);
	add_produce(&out, 1, 2, EVENTS / 5);
	add_metadata(&out, 3);
	send_all(&out);
	ck_assert_int_eq(expect_code(1), 0);
	ck_assert_int_eq(expect_code(2), 0);
	expect(3);
	struct catalog_limit plenty = {
		.kind = CATALOG_LIMIT_HUB, .name = "events", .in_events = 1000000};
	fix_limit(&fix, &plenty);
	for (int32_t i = 0; i < N; i++) {
		add_produce(&out, 1, 10 + i, 1);
		send_all(&out);
		ck_assert_int_eq(expect_code(10 + i), 0);
		usleep(GAP_MS * 1000);
	}
}
END_TEST

/* Nobody waits for answers that are not wanted. */
START_TEST(without_acks_nothing_is_late)
{
	enum { N = 12 };
	fix.front->lag_max_ms = 500;
	struct str out = {0};
	for (int32_t i = 1; i <= N; i++) {
		add_produce(&out, 0, i, EVENTS / 5);
	}
	send_all(&out);
	usleep(800 * 1000);
	add_produce(&out, 1, 99, 1);
	send_all(&out);
	uint8_t b[4096];
	ck_assert_uint_gt(sock_read_frame(fd, b, sizeof b), 0);
	/* All before it are stored: 1 by the setup. */
	ck_assert_int_eq((int64_t)get_u64(b + 4 + 4 + 2 + strlen("events") + 4 + 4 + 2),
			 1 + N * (EVENTS / 5));
}
END_TEST

/* The client goes away, and the server stops, with one held. */
START_TEST(it_ends_while_one_is_held)
{
	struct str out = {0};
	add_produce(&out, 1, 1, EVENTS);
	add_produce(&out, 1, 2, EVENTS);
	add_produce(&out, 1, 3, EVENTS);
	send_all(&out);
	(void)expect_produced(1);
}
END_TEST

Suite *mute_suite(void)
{
	Suite *s = suite_create("mute");
	TCase *t = tcase_create("mute");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_comes_behind_waits);
	tcase_add_test(t, half_a_frame_waits);
	tcase_add_test(t, without_acks_it_is_muted);
	tcase_add_test(t, what_comes_behind_one_that_is_held_waits);
	tcase_add_test(t, what_waited_unread_for_too_long_is_refused);
	tcase_add_test(t, who_waits_for_answers_is_never_late);
	tcase_add_test(t, who_was_throttled_once_is_never_late);
	tcase_add_test(t, without_acks_nothing_is_late);
	tcase_add_test(t, it_ends_while_one_is_held);
	suite_add_tcase(s, t);
	return s;
}
