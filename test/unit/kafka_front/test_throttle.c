/* Produce and Fetch beyond the limits: what waits, what is refused, what clients are
 * told of it. Connections have no stream here: nothing keeps a test from beginning
 * requests while the connection is muted. */

#include <string.h>

#include "base/clock.h"
#include "test/unit/kafka_front/data_help.h"

enum { PRODUCE_FIRST = 3, PRODUCE_LAST = 11, FETCH_FIRST = 4, FETCH_LAST = 12 };

static struct span batch_of(int32_t n)
{
	return fix_batch(&bed.arena, "v", n, 1000, -1, -1, -1);
}

/* Events a second into the hub "events", to which something was sent before. */
static void limit_in(uint64_t events)
{
	struct catalog_limit l = {.kind = CATALOG_LIMIT_HUB, .name = "events", .in_events = events};
	(void)bed_put("events", 3, "before", 1, 1);
	fix_limit(&bed.fix, &l);
}

static void limit_out(uint64_t events)
{
	struct catalog_limit l = {.kind = CATALOG_LIMIT_HUB, .name = "events", .out_events = events};
	fix_limit(&bed.fix, &l);
}

static struct kafka_produce_response *produced(struct kafka_request *r)
{
	fix_wait(&bed.fix, r);
	return fix_answer(r, &bed.arena);
}

static struct kafka_request *begin_produce(int32_t partition, int32_t events)
{
	return bed_produce_begin(9, -1, "events", partition, batch_of(events));
}

static const struct kafka_produce_response_partition *row(const struct kafka_produce_response *a)
{
	return &a->responses[0].partition_responses[0];
}

static int64_t end_of(int32_t partition)
{
	return bed_list(5, partition, -1)->offset;
}

/* For what was told, if it is a tick or more. */
static void check_muted(int32_t told_ms)
{
	ck_assert_int_eq(told_ms >= NET_TICK_MS, kafka_is_blocked(bed.conn));
	if (told_ms >= NET_TICK_MS) {
		ck_assert_int_le(bed.conn->muted_until_ms - clock_mono_ms(), told_ms);
	}
}

/* ---- Produce ---------------------------------------------------------------- */

START_TEST(without_limits_nothing_is_told)
{
	struct kafka_produce_response *a = produced(begin_produce(0, 1000));
	ck_assert_int_eq(row(a)->error_code, 0);
	ck_assert_int_eq(a->throttle_time_ms, 0);
	ck_assert(!kafka_is_blocked(bed.conn));
}
END_TEST

START_TEST(every_version_is_told_and_muted)
{
	limit_in(10);
	int64_t end = end_of(0);
	for (int16_t v = PRODUCE_FIRST; v <= PRODUCE_LAST; v++) {
		bed.conn->muted_until_ms = 0;
		struct kafka_request *r =
			bed_produce_begin(v, 1, "events", 0, batch_of(v == PRODUCE_FIRST ? 10 : 2));
		struct kafka_produce_response *a = produced(r);
		ck_assert_int_eq(row(a)->error_code, 0);
		ck_assert_int_eq(row(a)->base_offset, end);
		end += v == PRODUCE_FIRST ? 10 : 2;
		ck_assert_int_ge(a->throttle_time_ms, 1);
		ck_assert_int_le(a->throttle_time_ms, 1000);
		check_muted(a->throttle_time_ms);
	}
}
END_TEST

/* A tick would make it longer than it is: small requests would get a part of their
 * share. */
START_TEST(less_than_a_tick_is_told_only)
{
	limit_in(10);
	struct kafka_account a = {.hub_id = fix_hub_id(&bed.fix, "events"), .cost = {1, 1}};
	ck_assert_int_eq(kafka_mute_before(bed.conn, &a, false, 1000), 0);
	ck_assert_int_eq(kafka_mute_before(bed.conn, &a, true, 1000), 1);
	ck_assert_int_eq(kafka_mute(bed.conn, (NET_TICK_MS - 1) * KAFKA_NS_PER_MS),
			 NET_TICK_MS - 1);
	ck_assert(!kafka_is_blocked(bed.conn));
	ck_assert_int_eq(kafka_mute(bed.conn, NET_TICK_MS * KAFKA_NS_PER_MS), NET_TICK_MS);
	ck_assert(kafka_is_blocked(bed.conn));
}
END_TEST

/* Without limits there is nothing that a mute would be for. */
START_TEST(a_mute_ends_with_its_limit)
{
	limit_in(10);
	(void)produced(begin_produce(0, 10));
	ck_assert(kafka_is_blocked(bed.conn));
	struct catalog_limit plenty = {
		.kind = CATALOG_LIMIT_HUB, .name = "events", .in_events = 1000000};
	fix_limit(&bed.fix, &plenty);
	bed.conn->mute_looked_ms = clock_mono_ms();
	bed.conn->muted_until_ms = bed.conn->mute_looked_ms + 10000;
	ck_assert(kafka_is_blocked(bed.conn));
	fix_run_ms(&bed.fix, NET_TICK_MS + 10);
	ck_assert(!kafka_is_blocked(bed.conn));
}
END_TEST

/* Names that hold what texts cannot hold are one client's as well. */
START_TEST(odd_client_ids_are_kept)
{
	struct kafka_request r = {.conn = bed.conn, .client_id = span_of("a\0b", 3)};
	const struct kafka_topic topic = {.hub_id = fix_hub_id(&bed.fix, "events"), .partitions = 1};
	struct core_sender *first;
	struct core_sender *second;
	ck_assert_int_eq(kafka_sender_of(&r, &topic, &first), ERR_OK);
	ck_assert_str_eq(bed.conn->client_id, "a?b");
	const struct throttle_cost cost = {1, 1};
	ck_assert_int_eq(kafka_reading_pay(&r, topic.hub_id, 0, &cost, false), ERR_OK);
	ck_assert_int_eq(kafka_sender_of(&r, &topic, &second), ERR_OK);
	ck_assert_ptr_eq(first, second);
	ck_assert_uint_eq(bed.conn->n_readings, 1);
}
END_TEST

START_TEST(beyond_the_burst_it_is_held_and_stored)
{
	limit_in(10);
	(void)produced(begin_produce(0, 10));
	int64_t began_ms = clock_mono_ms();
	struct kafka_request *r = begin_produce(0, 5);
	ck_assert(!r->is_answered);
	ck_assert_uint_eq(bed.conn->n_waiting, 1);
	ck_assert(kafka_is_blocked(bed.conn));
	struct kafka_produce_response *a = produced(r);
	ck_assert_int_ge(clock_mono_ms() - began_ms, 300);
	ck_assert_uint_eq(bed.conn->n_waiting, 0);
	ck_assert_int_eq(row(a)->error_code, 0);
	ck_assert_int_eq(row(a)->base_offset, 10);
	ck_assert_int_ge(a->throttle_time_ms, 1);
}
END_TEST

static bool has(struct kafka_string text, const char *what)
{
	return memmem(text.s.p, text.s.n, what, strlen(what)) != NULL;
}

static void check_refused(const struct kafka_produce_response *a)
{
	ck_assert_int_eq(row(a)->error_code, KAFKA_NOT_ENOUGH_REPLICAS);
	ck_assert_int_eq(row(a)->base_offset, -1);
	ck_assert(!row(a)->error_message.is_null);
	ck_assert(has(row(a)->error_message, "50002"));
	ck_assert(has(row(a)->error_message, "10 events per second"));
	ck_assert(has(row(a)->error_message, "Please wait"));
	ck_assert_int_ge(a->throttle_time_ms, 1);
	ck_assert_int_le(a->throttle_time_ms, FIX_DELAY_MS);
}

/* More than the delay's worth: the rest is refused, told why, and not stored. */
START_TEST(beyond_the_delay_it_is_refused)
{
	enum { N = 8 };
	limit_in(10);
	struct kafka_request *r[N];
	for (int i = 0; i < N; i++) {
		r[i] = begin_produce(1, 10);
	}
	int64_t stored = 0;
	int n_refused = 0;
	for (int i = 0; i < N; i++) {
		struct kafka_produce_response *a = produced(r[i]);
		if (row(a)->error_code == 0) {
			ck_assert_int_eq(row(a)->base_offset, stored);
			stored += 10;
		} else {
			check_refused(a);
			n_refused++;
		}
	}
	ck_assert_int_ge(stored, 20);
	ck_assert_int_ge(n_refused, 3);
	ck_assert_int_eq(end_of(1), stored);
	ck_assert_uint_eq(bed.conn->n_waiting, 0);
}
END_TEST

/* Nobody is told, but the connection is muted and goes on. */
START_TEST(without_acks_it_is_muted_and_goes_on)
{
	enum { N = 8 };
	limit_in(10);
	for (int i = 0; i < N; i++) {
		(void)bed_produce_begin(9, 0, "events", 1, batch_of(10));
	}
	for (int i = 0; i < N; i++) {
		struct kafka_request *r = bed.conn->first;
		fix_wait(&bed.fix, r);
		ck_assert(r->has_no_answer);
		ck_assert(!r->close_after);
		kafka_request_pop(bed.conn);
	}
	ck_assert(kafka_is_blocked(bed.conn));
	ck_assert_int_ge(end_of(1), 20);
	ck_assert_int_lt(end_of(1), 10 * N);
}
END_TEST

START_TEST(many_partitions_in_one_request)
{
	enum { N = 5, EVENTS = 5 };
	limit_in(10);
	/* The last once more, as the producer counts them; its base is kept. */
	struct kafka_produce_request_partition p[N];
	for (int32_t i = 0; i < N; i++) {
		p[i] = (struct kafka_produce_request_partition){
			.index = i < 3 ? i : 2,
			.records = {.s = fix_batch(&bed.arena, "i", EVENTS, 1000, 7, 0,
						   i < 3 ? 0 : (i - 2) * EVENTS)}};
	}
	struct kafka_produce_request_topic t = {
		.name = kafka_text("events"), .partition_data = p, .n_partition_data = N};
	struct kafka_produce_request q = {
		.transactional_id = kafka_string_null(), .acks = -1, .topic_data = &t, .n_topic_data = 1};
	int64_t began_ms = clock_mono_ms();
	struct kafka_request *r = fix_begin(bed.conn, KAFKA_API_Produce, 9, &q);
	ck_assert_uint_ge(bed.conn->n_waiting, 2);
	struct kafka_produce_response *a = produced(r);
	ck_assert_int_ge(clock_mono_ms() - began_ms, 1000);
	for (int i = 0; i < N; i++) {
		const struct kafka_produce_response_partition *got =
			&a->responses[0].partition_responses[i];
		ck_assert_int_eq(got->error_code, 0);
		ck_assert_int_eq(got->base_offset, i < 3 ? 0 : (i - 2) * EVENTS);
	}
	ck_assert_int_ge(a->throttle_time_ms, 1);
	/* Not for as long as the whole would take. */
	ck_assert_int_le(a->throttle_time_ms, 1000);
}
END_TEST

START_TEST(the_connection_goes_while_one_is_held)
{
	limit_in(10);
	(void)produced(begin_produce(0, 10));
	(void)begin_produce(0, 10);
	(void)bed_produce_begin(9, 0, "events", 0, batch_of(5));
	ck_assert_uint_eq(bed.conn->n_waiting, 2);
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "", AUTH_SEND | AUTH_LISTEN);
	ck_assert_int_eq(end_of(0), 25);
}
END_TEST

START_TEST(the_server_stops_while_one_is_held)
{
	limit_in(10);
	(void)produced(begin_produce(0, 10));
	struct kafka_request *r = begin_produce(0, 10);
	ck_assert_uint_eq(bed.conn->n_waiting, 1);
	core_stop_waiting(bed.fix.core);
	struct kafka_produce_response *a = produced(r);
	ck_assert_int_eq(row(a)->error_code, KAFKA_NOT_LEADER);
	ck_assert_uint_eq(bed.conn->n_waiting, 0);
	ck_assert_int_eq(end_of(0), 10);
}
END_TEST

/* Two ids on one connection: each has its own limit. */
START_TEST(by_client_id)
{
	struct catalog_limit l = {.kind = CATALOG_LIMIT_CLIENT, .name = "tester", .in_events = 10};
	(void)bed_put("events", 0, "x", 1, 1);
	fix_limit(&bed.fix, &l);
	ck_assert_str_eq(bed.conn->client_id, "tester");
	struct kafka_produce_response *a = produced(begin_produce(0, 10));
	ck_assert_int_ge(a->throttle_time_ms, 1);
}
END_TEST

/* ---- Fetch -------------------------------------------------------------------- */

/* One partition of "events" from there on. */
static struct bed_fetch from(int64_t offset)
{
	return (struct bed_fetch){.partitions = {0}, .offsets = {offset}, .n = 1};
}

static void put_batches(int32_t partition, int n, int32_t events)
{
	for (int i = 0; i < n; i++) {
		(void)bed_put("events", partition, "f", events, 1000);
	}
	struct bed_fetch q = from(end_of(0));
	(void)bed_fetch(&q);	/* opens its account */
	struct bed_fetch one = from(0);
	one.max_bytes = 1;
	if (n > 0 && partition == 0) {
		(void)bed_fetch(&one);
	}
}

START_TEST(answers_are_shares_and_paid_for)
{
	put_batches(0, 12, 5);
	limit_out(20);
	int64_t began_ms = clock_mono_ms();
	int64_t at = 0;
	int16_t version = FETCH_FIRST;
	bool was_told = false;
	while (at < 60) {
		bed.conn->muted_until_ms = 0;
		struct bed_fetch q = from(at);
		q.version = version;
		version = version < FETCH_LAST ? (int16_t)(version + 1) : FETCH_FIRST;
		struct kafka_fetch_response *a = bed_fetch(&q);
		uint32_t n = bed_batches(&bed_part(a, 0)->records);
		ck_assert_uint_ge(n, 1);
		ck_assert_uint_le(n, 2);
		at += n * 5;
		ck_assert_int_le(a->throttle_time_ms, 1000);
		check_muted(a->throttle_time_ms);
		was_told |= a->throttle_time_ms > 0;
	}
	ck_assert(was_told);
	/* 60 events, of which a burst of 20 came at once. */
	ck_assert_int_ge(clock_mono_ms() - began_ms, 1900);
}
END_TEST

START_TEST(what_finds_nothing_costs_nothing)
{
	put_batches(0, 2, 10);
	limit_out(10);
	for (int i = 0; i < 2; i++) {
		struct bed_fetch q = from(i * 10);
		(void)bed_fetch(&q);
	}
	int64_t began_ms = clock_mono_ms();
	struct bed_fetch q = from(20);
	struct kafka_fetch_response *a = bed_fetch(&q);
	ck_assert_int_eq(a->throttle_time_ms, 0);
	ck_assert_int_lt(clock_mono_ms() - began_ms, 500);
}
END_TEST

/* Longer than the longest delay: empty answers, until it is paid for. */
START_TEST(one_that_takes_long_is_answered_empty)
{
	put_batches(0, 3, 5);
	bed.fix.front->options.throttle_max_ms = 200;
	limit_out(5);
	int64_t began_ms = clock_mono_ms();
	int64_t at = 0;
	int n_empty = 0;
	while (at < 15) {
		struct bed_fetch q = from(at);
		struct kafka_fetch_response *a = bed_fetch(&q);
		const struct kafka_fetch_response_partition *p = bed_part(a, 0);
		ck_assert_int_eq(p->error_code, 0);
		ck_assert_int_eq(p->high_watermark, 15);
		uint32_t n = bed_batches(&p->records);
		at += n * 5;
		n_empty += n == 0;
		ck_assert_int_le(a->throttle_time_ms, 200);
		ck_assert(n > 0 || a->throttle_time_ms > 0);
	}
	ck_assert_int_ge(n_empty, 4);
	/* What was paid for by those that went out empty is not paid for again. */
	ck_assert_int_ge(clock_mono_ms() - began_ms, 1900);
	ck_assert_int_le(clock_mono_ms() - began_ms, 4500);
}
END_TEST

/* One whose answer waits: everything of the burst was sent. */
static struct kafka_request *begin_waiting(void)
{
	put_batches(0, 2, 10);
	limit_out(10);
	struct bed_fetch q = from(0);
	(void)bed_fetch(&q);
	q = from(10);
	struct kafka_request *r = bed_fetch_begin(&q);
	fix_run_ms(&bed.fix, 20);
	ck_assert(!r->is_answered);
	return r;
}

START_TEST(a_waiting_answer_is_cancelled)
{
	struct kafka_request *r = begin_waiting();
	kafka_requests_cancel(bed.conn);
	ck_assert(r->is_answered);
	struct kafka_fetch_response *a = fix_answer(r, &bed.arena);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 0);
}
END_TEST

START_TEST(the_connection_goes_while_an_answer_waits)
{
	(void)begin_waiting();
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "", AUTH_SEND | AUTH_LISTEN);
}
END_TEST

START_TEST(the_server_stops_while_an_answer_waits)
{
	struct kafka_request *r = begin_waiting();
	core_stop_waiting(bed.fix.core);
	fix_wait(&bed.fix, r);
	struct kafka_fetch_response *a = fix_answer(r, &bed.arena);
	ck_assert_int_eq(bed_part(a, 0)->error_code, 0);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 0);
}
END_TEST

/* Several requests of a connection wait for the same hub: in turn. */
START_TEST(several_wait_at_once)
{
	enum { N = 4 };
	put_batches(0, N + 1, 5);
	limit_out(10);
	struct kafka_request *r[N];
	for (int i = 0; i < N; i++) {
		struct bed_fetch q = from(i * 5);
		r[i] = bed_fetch_begin(&q);
	}
	for (int i = 0; i < N; i++) {
		fix_wait(&bed.fix, r[i]);
		struct kafka_fetch_response *a = fix_answer(r[i], &bed.arena);
		ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 1);
	}
}
END_TEST

Suite *throttle_suite(void)
{
	Suite *s = suite_create("throttle");
	TCase *t = tcase_create("throttle");
	tcase_add_checked_fixture(t, bed_open, bed_close);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, without_limits_nothing_is_told);
	tcase_add_test(t, every_version_is_told_and_muted);
	tcase_add_test(t, less_than_a_tick_is_told_only);
	tcase_add_test(t, a_mute_ends_with_its_limit);
	tcase_add_test(t, odd_client_ids_are_kept);
	tcase_add_test(t, beyond_the_burst_it_is_held_and_stored);
	tcase_add_test(t, beyond_the_delay_it_is_refused);
	tcase_add_test(t, without_acks_it_is_muted_and_goes_on);
	tcase_add_test(t, many_partitions_in_one_request);
	tcase_add_test(t, the_connection_goes_while_one_is_held);
	tcase_add_test(t, the_server_stops_while_one_is_held);
	tcase_add_test(t, by_client_id);
	tcase_add_test(t, answers_are_shares_and_paid_for);
	tcase_add_test(t, what_finds_nothing_costs_nothing);
	tcase_add_test(t, one_that_takes_long_is_answered_empty);
	tcase_add_test(t, a_waiting_answer_is_cancelled);
	tcase_add_test(t, the_connection_goes_while_an_answer_waits);
	tcase_add_test(t, the_server_stops_while_an_answer_waits);
	tcase_add_test(t, several_wait_at_once);
	suite_add_tcase(s, t);
	return s;
}
