/* ListOffsets and OffsetForLeaderEpoch. */

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/wire/records.h"
#include "test/unit/kafka_front/data_help.h"

enum { LATEST = -1, EARLIEST = -2, GREATEST = -3 };

static void expect(const struct kafka_list_offsets_response_partition *a, int64_t offset,
		   int64_t timestamp)
{
	ck_assert_int_eq(a->error_code, 0);
	ck_assert_int_eq(a->offset, offset);
	ck_assert_int_eq(a->timestamp, timestamp);
}

/* Records at base, base + step, ... */
static struct span batch_at(int32_t n, int64_t base, int64_t step)
{
	struct str records = {.max = SIZE_MAX};
	for (int32_t i = 0; i < n; i++) {
		uint8_t body[64];
		struct wr w = wr_of(body, sizeof body);
		wr_u8(&w, 0);
		wr_varlong(&w, i * step);
		wr_varlong(&w, i);
		wr_varlong(&w, -1);
		wr_varlong(&w, 1);
		wr_u8(&w, 'v');
		wr_varlong(&w, 0);
		uint8_t length[8];
		struct wr l = wr_of(length, sizeof length);
		wr_varlong(&l, (int64_t)wr_len(&w));
		str_addn(&records, length, wr_len(&l));
		str_addn(&records, body, wr_len(&w));
	}
	struct span seed = fix_batch(&bed.arena, "", n, base, -1, -1, -1);
	size_t total = BATCH_HEAD + records.len;
	uint8_t *p = kafka_arena_alloc(&bed.arena, total);
	ck_assert_ptr_nonnull(p);
	memcpy(p, seed.p, BATCH_HEAD);
	memcpy(p + BATCH_HEAD, records.p, records.len);
	str_fini(&records);
	put_u32(p + 8, (uint32_t)(total - 12));
	/* The greatest timestamp and the CRC; packing sets the latter anew. */
	put_u64(p + 35, (uint64_t)(step > 0 ? base + (n - 1) * step : base));
	return bed_pack(span_of(p, total), RECORDS_NONE);
}

static void put(struct span batch)
{
	ck_assert_int_eq(bed_produce("events", 0, batch)->error_code, 0);
}

START_TEST(the_ends)
{
	expect(bed_list(1, 0, LATEST), 0, -1);
	expect(bed_list(7, 0, EARLIEST), 0, -1);
	(void)bed_put("events", 0, "x", 5, 1);
	for (int16_t v = 1; v <= 7; v++) {
		expect(bed_list(v, 0, LATEST), 5, -1);
		expect(bed_list(v, 0, EARLIEST), 0, -1);
		ck_assert_int_eq(bed_list(v, 0, LATEST)->leader_epoch, v >= 4 ? 0 : -1);
	}
}
END_TEST

START_TEST(an_empty_partition_has_no_times)
{
	expect(bed_list(7, 0, 0), -1, -1);
	expect(bed_list(7, 0, GREATEST), -1, -1);
	ck_assert_int_eq(bed_list(7, 0, GREATEST)->leader_epoch, -1);
}
END_TEST

static void search(void)
{
	put(batch_at(5, 1000, 10));			      /* 0..4: 1000..1040 */
	put(bed_pack(batch_at(5, 3000, -100), RECORDS_GZIP)); /* 5..9: 3000..2600 */
	put(bed_pack(batch_at(5, 2000, 100), RECORDS_LZ4));   /* 10..14: 2000..2400 */
	put(bed_pack(batch_at(3, 5000, 1), RECORDS_SNAPPY));  /* 15..17 */
	expect(bed_list(1, 0, 0), 0, 1000);
	expect(bed_list(2, 0, 1000), 0, 1000);
	expect(bed_list(3, 0, 1001), 1, 1010);
	expect(bed_list(4, 0, 1040), 4, 1040);
	expect(bed_list(5, 0, 1041), 5, 3000);
	expect(bed_list(6, 0, 2300), 5, 3000);
	expect(bed_list(7, 0, 3001), 15, 5000);
	expect(bed_list(7, 0, 5002), 17, 5002);
	expect(bed_list(7, 0, 5003), -1, -1);
	ck_assert_int_eq(bed_list(7, 0, 5003)->leader_epoch, -1);
	ck_assert_int_eq(bed_list(7, 0, 5002)->leader_epoch, 0);
	expect(bed_list(7, 0, GREATEST), 17, 5002);
	/* Events of other protocols bear their append time. */
	int64_t before = clock_wall_ms();
	ck_assert_int_eq(fix_append_amqp(&bed.fix, 0, "amqp"), 18);
	struct kafka_list_offsets_response_partition *a = bed_list(7, 0, 6000);
	ck_assert_int_eq(a->error_code, 0);
	ck_assert_int_eq(a->offset, 18);
	ck_assert_int_ge(a->timestamp, before);
	ck_assert_int_eq(bed_list(7, 0, GREATEST)->offset, 18);
	/* The first of those with the greatest. */
	put(batch_at(4, a->timestamp + 1000, 0));
	expect(bed_list(7, 0, GREATEST), 19, a->timestamp + 1000);
}

START_TEST(searches_by_time)
{
	search();
}
END_TEST

START_TEST(searches_by_time_on_disk)
{
	bed_close();
	bed_open_uncached();
	search();
}
END_TEST

START_TEST(what_is_refused)
{
	(void)bed_put("events", 0, "x", 5, 1);
	ck_assert_int_eq(bed_list(6, 0, GREATEST)->error_code, 35);
	ck_assert_int_eq(bed_list(7, 0, -4)->error_code, 35);
	ck_assert_int_eq(bed_list(7, 0, INT64_MIN)->error_code, 35);
	ck_assert_int_eq(bed_list(7, 4, LATEST)->error_code, 3);
	ck_assert_int_eq(bed_list(7, -1, LATEST)->error_code, 3);
	ck_assert_int_eq(bed_list(7, 4, LATEST)->offset, -1);
	static const unsigned rights[] = {AUTH_SEND, AUTH_LISTEN, AUTH_MANAGE};
	for (int i = 0; i < 3; i++) {
		fix_conn_close(&bed.fix, &bed.conn);
		bed.conn = fix_conn(&bed.fix, "events", rights[i]);
		expect(bed_list(7, 0, LATEST), 5, -1);
	}
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "other", AUTH_LISTEN);
	ck_assert_int_eq(bed_list(7, 0, LATEST)->error_code, 29);
}
END_TEST

/* Many at once, more than are looked up at a time, some twice. */
START_TEST(many_in_one_request)
{
	enum { N = 40 };
	fix_make_hub(&bed.fix, "big", N);
	static struct kafka_list_offsets_request_partition p[N + 3];
	for (int32_t i = 0; i < N; i++) {
		(void)bed_put("big", i, "x", 1, 100 + i);
		p[i].partition_index = i;
		p[i].current_leader_epoch = -1;
		p[i].timestamp = 50;
	}
	p[7].timestamp = LATEST;
	p[8].current_leader_epoch = 1;
	p[N] = p[3];
	p[N + 1] = p[3];
	p[N + 2] = p[0];
	p[N + 2].partition_index = N;
	struct kafka_list_offsets_request_topic t[] = {
		{.name = kafka_text("big"), .partitions = p, .n_partitions = N},
		{.name = kafka_text("nothing"), .partitions = p, .n_partitions = 1},
		{.name = kafka_text("BIG"), .partitions = &p[N], .n_partitions = 3},
	};
	struct kafka_list_offsets_request q = {.topics = t, .n_topics = 3};
	struct kafka_list_offsets_response *a =
		fix_call(&bed.fix, bed.conn, KAFKA_API_ListOffsets, 5, &q, &bed.arena);
	ck_assert_int_eq(a->n_topics, 3);
	for (int32_t i = 0; i < N; i++) {
		struct kafka_list_offsets_response_partition *got = &a->topics[0].partitions[i];
		if (i == 3 || i == 8) {
			ck_assert_int_eq(got->error_code, i == 3 ? 42 : 75);
			ck_assert_int_eq(got->offset, -1);
		} else {
			expect(got, i == 7 ? 1 : 0, i == 7 ? -1 : 100 + i);
		}
	}
	ck_assert_int_eq(a->topics[1].partitions[0].error_code, 3);
	ck_assert_int_eq(a->topics[2].partitions[0].error_code, 42);
	ck_assert_int_eq(a->topics[2].partitions[1].error_code, 42);
	ck_assert_int_eq(a->topics[2].partitions[2].error_code, 3);
}
END_TEST

static struct kafka_list_offsets_request_partition all_by_time[4];
static struct kafka_list_offsets_request_topic all_topic;

static struct kafka_list_offsets_request all_request(void)
{
	for (int32_t i = 0; i < 4; i++) {
		all_by_time[i] = (struct kafka_list_offsets_request_partition){
			.partition_index = i, .timestamp = 1, .current_leader_epoch = -1};
	}
	all_topic = (struct kafka_list_offsets_request_topic){
		.name = kafka_text("events"), .partitions = all_by_time, .n_partitions = 4};
	return (struct kafka_list_offsets_request){.topics = &all_topic, .n_topics = 1};
}

START_TEST(the_connection_goes_while_it_looks)
{
	bed_close();
	bed_open_uncached();
	for (int32_t i = 0; i < 8; i++) {
		(void)bed_put("events", i % 4, "x", 50, 10);
	}
	struct kafka_list_offsets_request q = all_request();
	for (int i = 0; i < 6; i++) {
		for (int k = 0; k <= i; k++) {
			(void)fix_begin(bed.conn, KAFKA_API_ListOffsets, 7, &q);
		}
		if (i % 2 == 1) {
			fix_run_ms(&bed.fix, 0);
		}
		fix_conn_close(&bed.fix, &bed.conn);
		bed.conn = fix_conn(&bed.fix, "", AUTH_LISTEN);
	}
	/* Cancelled by a stop, what was not looked up is not told as "none". */
	struct kafka_request *r = fix_begin(bed.conn, KAFKA_API_ListOffsets, 7, &q);
	kafka_requests_cancel(bed.conn);
	fix_wait(&bed.fix, r);
	struct kafka_list_offsets_response *a = fix_answer(r, &bed.arena);
	for (int32_t i = 0; i < 4; i++) {
		ck_assert_int_eq(a->topics[0].partitions[i].error_code, KAFKA_NOT_LEADER);
	}
}
END_TEST

START_TEST(memory_is_short)
{
	put(bed_pack(batch_at(50, 1000, 10), RECORDS_GZIP));
	struct kafka_list_offsets_request q = all_request();
	bool fired = true;
	for (long n = 1; fired; n++) {
		fix_conn_close(&bed.fix, &bed.conn);
		bed.conn = fix_conn(&bed.fix, "", AUTH_LISTEN);
		struct kafka_request *r =
			fix_begin_fault(bed.conn, KAFKA_API_ListOffsets, 7, &q, n);
		if (r != NULL) {
			fix_wait(&bed.fix, r);
		}
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_lt(n, 200);
	}
	kafka_request_pop(bed.conn);
	expect(bed_list(7, 0, 1005), 1, 1010);
}
END_TEST

/* ---- OffsetForLeaderEpoch ---------------------------------------------------------- */

static struct kafka_offset_for_leader_epoch_response_partition *
epoch_end(int16_t version, int32_t partition, int32_t epoch, int32_t current)
{
	struct kafka_offset_for_leader_epoch_request_partition p = {
		.partition = partition, .current_leader_epoch = current, .leader_epoch = epoch};
	struct kafka_offset_for_leader_epoch_request_topic t = {
		.topic = kafka_text("events"), .partitions = &p, .n_partitions = 1};
	struct kafka_offset_for_leader_epoch_request q = {
		.replica_id = -1, .topics = &t, .n_topics = 1};
	struct kafka_offset_for_leader_epoch_response *a = fix_call(
		&bed.fix, bed.conn, KAFKA_API_OffsetForLeaderEpoch, version, &q, &bed.arena);
	ck_assert_int_eq(a->n_topics, 1);
	ck_assert_int_eq(a->topics[0].n_partitions, 1);
	ck_assert_int_eq(a->topics[0].partitions[0].partition, partition);
	return &a->topics[0].partitions[0];
}

START_TEST(there_is_one_epoch)
{
	(void)bed_put("events", 0, "x", 5, 1);
	struct kafka_offset_for_leader_epoch_response_partition *a;
	for (int16_t v = 2; v <= 4; v++) {
		a = epoch_end(v, 0, 0, v == 3 ? 0 : -1);
		ck_assert_int_eq(a->error_code, 0);
		ck_assert_int_eq(a->leader_epoch, 0);
		ck_assert_int_eq(a->end_offset, 5);
		for (int32_t e = -1; e <= 1; e += 2) {
			a = epoch_end(v, 0, e, -1);
			ck_assert_int_eq(a->error_code, 0);
			ck_assert_int_eq(a->leader_epoch, -1);
			ck_assert_int_eq(a->end_offset, -1);
		}
		a = epoch_end(v, 0, 0, 1);
		ck_assert_int_eq(a->error_code, 75);
		ck_assert_int_eq(a->end_offset, -1);
		ck_assert_int_eq(epoch_end(v, 9, 0, -1)->error_code, 3);
	}
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "other", AUTH_LISTEN);
	ck_assert_int_eq(epoch_end(3, 0, 0, -1)->error_code, 29);
}
END_TEST

Suite *list_offsets_suite(void)
{
	Suite *s = suite_create("list_offsets");
	TCase *t = tcase_create("list_offsets");
	tcase_add_checked_fixture(t, bed_open, bed_close);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, the_ends);
	tcase_add_test(t, an_empty_partition_has_no_times);
	tcase_add_test(t, searches_by_time);
	tcase_add_test(t, searches_by_time_on_disk);
	tcase_add_test(t, what_is_refused);
	tcase_add_test(t, many_in_one_request);
	tcase_add_test(t, the_connection_goes_while_it_looks);
	tcase_add_test(t, memory_is_short);
	tcase_add_test(t, there_is_one_epoch);
	suite_add_tcase(s, t);
	return s;
}
