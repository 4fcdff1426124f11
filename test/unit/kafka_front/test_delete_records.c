/* DeleteRecords, and what the start of a log means to everybody else. */

#include "gateway/kafka/handlers.h"
#include "test/unit/kafka_front/data_help.h"
#include "test/unit/kafka_front/faults.h"

/* Ten batches of ten. */
static void fill(int32_t partition)
{
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(bed_put("events", partition, "v", 10, 1000 + i), i * 10);
	}
}

static struct kafka_delete_records_response_partition *
delete_of(struct kafka_conn *c, int16_t version, const char *topic, int32_t partition, int64_t offset)
{
	struct kafka_delete_records_request_partition p = {.partition_index = partition,
							   .offset = offset};
	struct kafka_delete_records_request_topic t = {
		.name = TEXT(topic), .partitions = &p, .n_partitions = 1};
	struct kafka_delete_records_request q = {.topics = &t, .n_topics = 1, .timeout_ms = 1000};
	struct kafka_delete_records_response *a =
		fix_call(&bed.fix, c, KAFKA_API_DeleteRecords, version, &q, &bed.arena);
	ck_assert_int_eq(a->n_topics, 1);
	ck_assert_int_eq(a->topics[0].n_partitions, 1);
	ck_assert_int_eq(a->topics[0].partitions[0].partition_index, partition);
	return &a->topics[0].partitions[0];
}

START_TEST(the_start_moves)
{
	fill(1);
	for (int16_t version = 0; version <= 2; version++) {
		int64_t to = 20 + version * 10;
		struct kafka_delete_records_response_partition *a =
			delete_of(bed.conn, version, "events", 1, to);
		ck_assert_int_eq(a->error_code, 0);
		ck_assert_int_eq(a->low_watermark, to);
		/* Again, or to what is gone: nothing changes. */
		ck_assert_int_eq(delete_of(bed.conn, version, "events", 1, 5)->low_watermark, to);
	}
	ck_assert_int_eq(bed_list(7, 1, -2)->offset, 40);
	ck_assert_int_eq(bed_list(7, 1, -1)->offset, 100);
	/* Other partitions keep theirs. */
	ck_assert_int_eq(bed_list(7, 0, -2)->offset, 0);
}
END_TEST

START_TEST(everything_may_go)
{
	fill(1);
	ck_assert_int_eq(delete_of(bed.conn, 2, "events", 1, -1)->low_watermark, 100);
	ck_assert_int_eq(bed_list(7, 1, -2)->offset, 100);
	ck_assert_int_eq(bed_put("events", 1, "next", 1, 5000), 100);
}
END_TEST

START_TEST(what_cannot_be_deleted)
{
	fill(1);
	struct kafka_delete_records_response_partition *a =
		delete_of(bed.conn, 2, "events", 1, 101);
	ck_assert_int_eq(a->error_code, KAFKA_OFFSET_OUT_OF_RANGE);
	ck_assert_int_eq(a->low_watermark, -1);
	ck_assert_int_eq(delete_of(bed.conn, 2, "events", 1, -2)->error_code, KAFKA_OFFSET_OUT_OF_RANGE);
	ck_assert_int_eq(delete_of(bed.conn, 2, "events", 4, 0)->error_code, 3);
	ck_assert_int_eq(delete_of(bed.conn, 2, "nowhere", 0, 0)->error_code, 3);
	struct kafka_conn *c = fix_conn(&bed.fix, "events", AUTH_SEND | AUTH_LISTEN);
	ck_assert_int_eq(delete_of(c, 2, "events", 1, 10)->error_code, KAFKA_TOPIC_AUTHORIZATION_FAILED);
	fix_conn_close(&bed.fix, &c);
	struct catalog_command compact = {.op = CATALOG_HUB_UPDATE,
					  .hub = "events",
					  .has_cleanup = true,
					  .cleanup = CATALOG_COMPACT};
	ck_assert_int_eq(fix_command(&bed.fix, &compact), ERR_OK);
	ck_assert_int_eq(delete_of(bed.conn, 2, "events", 1, 10)->error_code, KAFKA_POLICY_VIOLATION);
	ck_assert_int_eq(bed_list(7, 1, -2)->offset, 0);
}
END_TEST

START_TEST(many_partitions_at_once)
{
	enum { TIMES = 50 };
	fill(0);
	fill(3);
	struct kafka_delete_records_request_partition p[TIMES];
	for (int i = 0; i < TIMES; i++) {
		p[i] = (struct kafka_delete_records_request_partition){
			.partition_index = i % 5, .offset = i % 5 == 0 || i % 5 == 3 ? i : 0};
	}
	struct kafka_delete_records_request_topic t = {
		.name = TEXT("events"), .partitions = p, .n_partitions = TIMES};
	struct kafka_delete_records_request q = {.topics = &t, .n_topics = 1, .timeout_ms = 1000};
	struct kafka_delete_records_response *a =
		fix_call(&bed.fix, bed.conn, KAFKA_API_DeleteRecords, 2, &q, &bed.arena);
	ck_assert_int_eq(a->topics[0].n_partitions, TIMES);
	for (int i = 0; i < TIMES; i++) {
		ck_assert_int_eq(a->topics[0].partitions[i].error_code, i % 5 == 4 ? 3 : 0);
	}
	ck_assert_int_eq(bed_list(7, 0, -2)->offset, 45);
	ck_assert_int_eq(bed_list(7, 3, -2)->offset, 48);
	faults_each_allocation(&bed.fix, KAFKA_API_DeleteRecords, 2, &q);
	faults_gone(&bed.fix, KAFKA_API_DeleteRecords, 2, &q);
}
END_TEST

/* ---- what readers see ------------------------------------------------------------------- */

START_TEST(fetch_below_the_start_is_out_of_range)
{
	fill(1);
	delete_of(bed.conn, 2, "events", 1, 35);
	struct bed_fetch q = {.partitions = {1}, .offsets = {34}, .n = 1};
	struct kafka_fetch_response_partition *a = bed_part(bed_fetch(&q), 0);
	ck_assert_int_eq(a->error_code, KAFKA_OFFSET_OUT_OF_RANGE);
	ck_assert_int_eq(a->log_start_offset, 35);
	ck_assert_int_eq(a->high_watermark, 100);
	q.offsets[0] = 35;
	a = bed_part(bed_fetch(&q), 0);
	ck_assert_int_eq(a->error_code, 0);
	ck_assert_int_eq(a->log_start_offset, 35);
	ck_assert_uint_gt(bed_batches(&a->records), 0);
}
END_TEST

START_TEST(produce_tells_the_start)
{
	fill(1);
	delete_of(bed.conn, 2, "events", 1, 35);
	struct span batch = fix_batch(&bed.arena, "x", 1, 1000, -1, -1, -1);
	struct kafka_produce_response_partition *a = bed_produce("events", 1, batch);
	ck_assert_int_eq(a->error_code, 0);
	ck_assert_int_eq(a->base_offset, 100);
	ck_assert_int_eq(a->log_start_offset, 35);
}
END_TEST

/* A time whose batch lies partly before the start gives an offset that can be read. */
START_TEST(offsets_by_time_are_not_below_the_start)
{
	fill(1);
	delete_of(bed.conn, 2, "events", 1, 35);
	ck_assert_int_eq(bed_list(7, 1, 0)->offset, 35);
	ck_assert_int_eq(bed_list(7, 1, 1003)->offset, 35);
	ck_assert_int_eq(bed_list(7, 1, 1004)->offset, 40);
	ck_assert_int_eq(bed_list(7, 1, 1009)->offset, 90);
	ck_assert_int_eq(bed_list(7, 1, 1010)->offset, -1);
	ck_assert_int_eq(bed_list(7, 1, -3)->offset, 90);
	delete_of(bed.conn, 2, "events", 1, -1);
	ck_assert_int_eq(bed_list(7, 1, 0)->offset, -1);
}
END_TEST

START_TEST(events_by_time_are_not_below_the_start)
{
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(fix_append_amqp(&bed.fix, 2, "event"), i);
	}
	delete_of(bed.conn, 2, "events", 2, 3);
	ck_assert_int_eq(bed_list(7, 2, 0)->offset, 3);
	ck_assert_int_ge(bed_list(7, 2, -3)->offset, 3);
}
END_TEST

Suite *delete_records_suite(void)
{
	Suite *s = suite_create("delete_records");
	TCase *t = tcase_create("delete_records");
	tcase_add_checked_fixture(t, bed_open, bed_close);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_start_moves);
	tcase_add_test(t, everything_may_go);
	tcase_add_test(t, what_cannot_be_deleted);
	tcase_add_test(t, many_partitions_at_once);
	tcase_add_test(t, fetch_below_the_start_is_out_of_range);
	tcase_add_test(t, produce_tells_the_start);
	tcase_add_test(t, offsets_by_time_are_not_below_the_start);
	tcase_add_test(t, events_by_time_are_not_below_the_start);
	suite_add_tcase(s, t);
	t = tcase_create("from disk");
	tcase_add_checked_fixture(t, bed_open_uncached, bed_close);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, fetch_below_the_start_is_out_of_range);
	tcase_add_test(t, offsets_by_time_are_not_below_the_start);
	tcase_add_test(t, events_by_time_are_not_below_the_start);
	suite_add_tcase(s, t);
	return s;
}
