/* Fetches that wait: what wakes them, and connections that go meanwhile. */

#include <stdio.h>

#include "base/clock.h"
#include "test/unit/kafka_front/data_help.h"

/* Everything of "events", at its end. */
static struct bed_fetch all(int32_t max_wait_ms, int32_t min_bytes)
{
	return (struct bed_fetch){.n = 4,
				  .partitions = {0, 1, 2, 3},
				  .max_wait_ms = max_wait_ms,
				  .min_bytes = min_bytes};
}

START_TEST(new_events_wake_it)
{
	struct bed_fetch q = all(60000, 1);
	struct kafka_request *r = bed_fetch_begin(&q);
	fix_run_ms(&bed.fix, 20);
	ck_assert(!r->is_answered);
	(void)fix_append_amqp(&bed.fix, 2, "x");
	fix_wait(&bed.fix, r);
	struct kafka_fetch_response *a = fix_answer(r, &bed.arena);
	for (int32_t i = 0; i < 4; i++) {
		ck_assert_int_eq(bed_part(a, i)->error_code, 0);
		ck_assert_int_eq(bed_part(a, i)->high_watermark, i == 2);
		ck_assert_uint_eq(bed_batches(&bed_part(a, i)->records), i == 2);
	}
}
END_TEST

START_TEST(its_time_comes)
{
	int64_t begun = clock_mono_ms();
	struct bed_fetch q = all(100, 1);
	struct kafka_fetch_response *a = bed_fetch(&q);
	ck_assert_int_ge(clock_mono_ms() - begun, 100);
	ck_assert_uint_eq(bed_part(a, 3)->records.s.n, 0);
	/* Nothing to wait for, or not wanted. */
	q = all(60000, 0);
	(void)bed_fetch(&q);
	q = all(0, 1);
	(void)bed_fetch(&q);
	q = all(-1, 1);
	(void)bed_fetch(&q);
	q.n = 0;
	ck_assert_int_eq(bed_fetch(&q)->n_responses, 0);
	ck_assert_int_lt(clock_mono_ms() - begun, 30000);
}
END_TEST

START_TEST(the_token_expires)
{
	int64_t begun = clock_mono_ms();
	bed.conn->expires_ms = clock_wall_ms() + 100;
	struct bed_fetch q = all(60000, 1);
	struct kafka_request *r = bed_fetch_begin(&q);
	ck_assert(!r->is_answered);
	fix_wait(&bed.fix, r);
	(void)fix_answer(r, &bed.arena);
	ck_assert_int_lt(clock_mono_ms() - begun, 30000);
	bed.conn->expires_ms = INT64_MAX;
}
END_TEST

/* What comes is gathered, in whichever partition, until it is enough. */
static void gather(void)
{
	struct span b = fix_batch(&bed.arena, "v", 5, 1, -1, -1, -1);
	ck_assert_int_eq(bed_produce("events", 1, b)->error_code, 0);
	struct bed_fetch q = all(60000, (int32_t)(4 * b.n));
	struct kafka_request *r = bed_fetch_begin(&q);
	static const int32_t where[] = {3, 1, 3};
	for (int i = 0; i < 3; i++) {
		fix_run_ms(&bed.fix, 20);
		ck_assert(!r->is_answered);
		struct kafka_request *p = bed_produce_begin(9, -1, "events", where[i], b);
		fix_wait(&bed.fix, p);
	}
	fix_wait(&bed.fix, r);
	struct kafka_fetch_response *a = fix_answer(r, &bed.arena);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 0);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 1)->records), 2);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 3)->records), 2);
	ck_assert_int_eq(bed_part(a, 1)->high_watermark, 10);
	ck_assert_int_eq(bed_part(a, 3)->high_watermark, 10);
	ck_assert_uint_eq(get_u64(bed_part(a, 3)->records.s.p + b.n), 5);
	for (int i = 0; i < 3; i++) {
		kafka_request_pop(bed.conn);
	}
}

START_TEST(events_are_gathered)
{
	gather();
}
END_TEST

START_TEST(events_are_gathered_from_disk)
{
	bed_close();
	bed_open_uncached();
	gather();
}
END_TEST

START_TEST(what_was_gathered_comes_when_time_is_over)
{
	(void)bed_put("events", 0, "x", 1, 1);
	struct bed_fetch q = all(50, 1 << 20);
	struct kafka_fetch_response *a = bed_fetch(&q);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 1);
}
END_TEST

START_TEST(the_hub_is_deleted)
{
	struct bed_fetch q = {.topic = "other",
			      .n = 2,
			      .partitions = {0, 1},
			      .max_wait_ms = 60000,
			      .min_bytes = 1};
	struct kafka_request *r = bed_fetch_begin(&q);
	struct catalog_command cmd = {.op = CATALOG_HUB_DELETE, .hub = "other"};
	ck_assert_int_eq(fix_command(&bed.fix, &cmd), ERR_OK);
	fix_wait(&bed.fix, r);
	struct kafka_fetch_response *a = fix_answer(r, &bed.arena);
	ck_assert(bed_part(a, 0)->error_code == 3 || bed_part(a, 1)->error_code == 3);
	fix_run_ms(&bed.fix, 20);
}
END_TEST

START_TEST(the_store_stops)
{
	struct bed_fetch q = all(60000, 1);
	struct kafka_request *r = bed_fetch_begin(&q);
	fix_stop(&bed.fix);
	fix_wait(&bed.fix, r);
	struct kafka_fetch_response *a = fix_answer(r, &bed.arena);
	bool has_code = false;
	for (int32_t i = 0; i < 4; i++) {
		has_code |= bed_part(a, i)->error_code == KAFKA_NOT_LEADER;
	}
	ck_assert(has_code);
}
END_TEST

/* The server stops: what waits is answered with what it has. */
START_TEST(it_is_cancelled)
{
	(void)bed_put("events", 0, "x", 1, 1);
	struct bed_fetch q = all(60000, 1 << 20);
	struct kafka_request *r = bed_fetch_begin(&q);
	ck_assert(!r->is_answered);
	kafka_requests_cancel(bed.conn);
	ck_assert(r->is_answered);
	struct kafka_fetch_response *a = fix_answer(r, &bed.arena);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 1);
}
END_TEST

/* ---- connections that go --------------------------------------------------------- */

static void reconnect(void)
{
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "", AUTH_SEND | AUTH_LISTEN);
}

START_TEST(the_connection_goes_while_it_waits)
{
	struct bed_fetch q = all(60000, 1);
	for (int i = 0; i < 20; i++) {
		(void)bed_fetch_begin(&q);
	}
	reconnect();
	fix_run_ms(&bed.fix, 10);
}
END_TEST

/* The watches have fired, but nobody has heard of it. */
START_TEST(the_connection_goes_when_watches_have_fired)
{
	struct bed_fetch q = all(60000, 1);
	for (int i = 0; i < 4; i++) {
		(void)bed_fetch_begin(&q);
	}
	struct kafka_conn *old = bed.conn;
	bed.conn = fix_conn(&bed.fix, "", AUTH_SEND | AUTH_LISTEN);
	struct kafka_request *r =
		bed_produce_begin(9, 0, "events", 1, fix_batch(&bed.arena, "v", 5, 1, -1, -1, -1));
	/* The mailbox is not looked at, so the watches come to a connection that went. */
	struct store_position at;
	int64_t until = clock_mono_ms() + 5000;
	do {
		ck_assert_int_eq(
			core_position(bed.fix.core, fix_hub_id(&bed.fix, "events"), 1, &at),
			ERR_OK);
		ck_assert_int_lt(clock_mono_ms(), until);
	} while (at.next_seq == 0);
	fix_conn_close(&bed.fix, &old);
	fix_wait(&bed.fix, r);
	kafka_request_pop(bed.conn);
}
END_TEST

START_TEST(the_connection_goes_while_it_reads)
{
	bed_close();
	bed_open_uncached();
	for (int i = 0; i < 8; i++) {
		(void)bed_put("events", i % 4, "x", 100, 1);
	}
	struct bed_fetch q = all(60000, 1 << 20);
	for (int i = 0; i < 5; i++) {
		for (int k = 0; k <= i; k++) {
			struct kafka_request *r = bed_fetch_begin(&q);
			ck_assert(!r->is_answered);
			ck_assert_uint_gt(r->outstanding, 0);
		}
		fix_run_ms(&bed.fix, i);
		reconnect();
	}
	/* Cancelled by a stop, it is answered when its read came back. */
	struct kafka_request *r = bed_fetch_begin(&q);
	kafka_requests_cancel(bed.conn);
	fix_wait(&bed.fix, r);
	(void)fix_answer(r, &bed.arena);
}
END_TEST

/* A thousand partitions, most of them without anything. */
START_TEST(a_thousand_partitions)
{
	enum { N = 1000, ROUNDS = 20 };
	static struct kafka_fetch_request_partition p[N];
	fix_make_hub(&bed.fix, "big", N);
	for (int32_t i = 0; i < N; i++) {
		p[i] = (struct kafka_fetch_request_partition){
			.partition = i, .current_leader_epoch = -1, .partition_max_bytes = 1 << 20};
	}
	struct kafka_fetch_request_topic t = {
		.topic = kafka_text("big"), .partitions = p, .n_partitions = N};
	struct kafka_fetch_request q = {.max_bytes = 1 << 20,
					.topics = &t,
					.n_topics = 1,
					.min_bytes = 1,
					.max_wait_ms = 60000};
	for (int32_t i = 0; i < ROUNDS; i++) {
		struct kafka_request *r = fix_begin(bed.conn, KAFKA_API_Fetch, 12, &q);
		ck_assert(!r->is_answered);
		ck_assert_uint_eq(r->outstanding, N);
		int32_t where = i * 37 % N;
		struct kafka_request *w = bed_produce_begin(
			9, 1, "big", where, fix_batch(&bed.arena, "v", 1, 1, -1, -1, -1));
		fix_wait(&bed.fix, r);
		fix_wait(&bed.fix, w);
		struct kafka_arena arena = {.max = SIZE_MAX};
		struct kafka_fetch_response *a = fix_answer(r, &arena);
		ck_assert_int_eq(a->responses[0].n_partitions, N);
		ck_assert_uint_gt(a->responses[0].partitions[where].records.s.n, 0);
		kafka_arena_fini(&arena);
		kafka_request_pop(bed.conn);
		p[where].fetch_offset++;
	}
	(void)fix_begin(bed.conn, KAFKA_API_Fetch, 12, &q);
	reconnect();
}
END_TEST

Suite *fetch_wait_suite(void)
{
	Suite *s = suite_create("fetch_wait");
	TCase *t = tcase_create("fetch_wait");
	tcase_add_checked_fixture(t, bed_open, bed_close);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, new_events_wake_it);
	tcase_add_test(t, its_time_comes);
	tcase_add_test(t, the_token_expires);
	tcase_add_test(t, events_are_gathered);
	tcase_add_test(t, events_are_gathered_from_disk);
	tcase_add_test(t, what_was_gathered_comes_when_time_is_over);
	tcase_add_test(t, the_hub_is_deleted);
	tcase_add_test(t, the_store_stops);
	tcase_add_test(t, it_is_cancelled);
	tcase_add_test(t, the_connection_goes_while_it_waits);
	tcase_add_test(t, the_connection_goes_when_watches_have_fired);
	tcase_add_test(t, the_connection_goes_while_it_reads);
	tcase_add_test(t, a_thousand_partitions);
	suite_add_tcase(s, t);
	return s;
}
