/* Produce and InitProducerId. */

#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "gateway/wire/records.h"
#include "test/unit/kafka_front/data_help.h"

static struct span batch_of(int32_t n)
{
	return fix_batch(&bed.arena, "v", n, 1000, -1, -1, -1);
}

START_TEST(batches_are_appended_in_order)
{
	struct kafka_produce_response_partition *a = bed_produce("events", 1, batch_of(3));
	ck_assert_int_eq(a->error_code, 0);
	ck_assert_int_eq(a->base_offset, 0);
	ck_assert_int_eq(a->log_append_time_ms, -1);
	ck_assert_int_eq(a->log_start_offset, 0);
	ck_assert_int_eq(a->n_record_errors, 0);
	ck_assert(a->error_message.is_null);
	ck_assert_int_eq(bed_produce("events", 1, batch_of(2))->base_offset, 3);
	ck_assert_int_eq(bed_produce("events", 2, batch_of(2))->base_offset, 0);
	ck_assert_int_eq(bed_produce("EVENTS", 1, batch_of(2))->base_offset, 5);
}
END_TEST

START_TEST(every_version_is_served)
{
	for (int16_t v = 3; v <= 11; v++) {
		struct kafka_request *r = bed_produce_begin(v, 1, "events", 0, batch_of(1));
		fix_wait(&bed.fix, r);
		struct kafka_produce_response *a = fix_answer(r, &bed.arena);
		ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, 0);
		ck_assert_int_eq(a->responses[0].partition_responses[0].base_offset, v - 3);
	}
}
END_TEST

/* Several topics, a partition that stands twice, and errors among them. */
START_TEST(one_request_for_many_partitions)
{
	struct kafka_produce_request_partition p[] = {
		{.index = 3, .records = {.s = batch_of(2)}},
		{.index = 3, .records = {.s = batch_of(5)}},
		{.index = 99, .records = {.s = batch_of(1)}},
		{.index = 0, .records = {.is_null = true}},
		{.index = -1, .records = {.s = batch_of(1)}},
		{.index = 2, .records = {.s = batch_of(1)}},
	};
	struct kafka_produce_request_topic t[] = {
		{.name = kafka_text("events"), .partition_data = p, .n_partition_data = 6},
		{.name = kafka_text("nothing"), .partition_data = p, .n_partition_data = 2},
		{.name = kafka_text("other"), .partition_data = &p[3], .n_partition_data = 0},
		{.name = kafka_text("events"), .partition_data = p, .n_partition_data = 1},
	};
	struct kafka_produce_request q = {
		.transactional_id = kafka_string_null(), .acks = -1, .topic_data = t, .n_topic_data = 4};
	struct kafka_produce_response *a =
		fix_call(&bed.fix, bed.conn, KAFKA_API_Produce, 8, &q, &bed.arena);
	static const int16_t codes[] = {0, 0, 3, 87, 3, 0};
	static const int64_t offsets[] = {0, 2, -1, -1, -1, 0};
	ck_assert_int_eq(a->n_responses, 4);
	for (int i = 0; i < 6; i++) {
		const struct kafka_produce_response_partition *got =
			&a->responses[0].partition_responses[i];
		ck_assert_int_eq(got->error_code, codes[i]);
		ck_assert_int_eq(got->base_offset, offsets[i]);
		ck_assert_int_eq(got->error_message.is_null, codes[i] == 0);
	}
	ck_assert_int_eq(a->responses[1].n_partition_responses, 2);
	ck_assert_int_eq(a->responses[1].partition_responses[1].error_code, 3);
	ck_assert_int_eq(a->responses[2].n_partition_responses, 0);
	ck_assert_int_eq(a->responses[3].partition_responses[0].base_offset, 7);
}
END_TEST

START_TEST(a_request_of_nothing)
{
	struct kafka_produce_request q = {.transactional_id = kafka_string_null(), .acks = 1};
	struct kafka_produce_response *a =
		fix_call(&bed.fix, bed.conn, KAFKA_API_Produce, 9, &q, &bed.arena);
	ck_assert_int_eq(a->n_responses, 0);
}
END_TEST

START_TEST(whole_requests_are_refused)
{
	struct kafka_request *r = bed_produce_begin(7, 2, "events", 0, batch_of(1));
	struct kafka_produce_response *a = fix_answer(r, &bed.arena);
	ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, 21);
	struct kafka_produce_request_partition p = {.records = {.s = batch_of(1)}};
	struct kafka_produce_request_topic t = {
		.name = kafka_text("events"), .partition_data = &p, .n_partition_data = 1};
	struct kafka_produce_request q = {.transactional_id = kafka_text("t"),
					  .acks = -1,
					  .topic_data = &t,
					  .n_topic_data = 1};
	a = fix_call(&bed.fix, bed.conn, KAFKA_API_Produce, 9, &q, &bed.arena);
	ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, 53);
	ck_assert_int_eq(a->responses[0].partition_responses[0].base_offset, -1);
}
END_TEST

static uint8_t *copy_of(struct span batch)
{
	uint8_t *p = kafka_arena_alloc(&bed.arena, batch.n);
	ck_assert_ptr_nonnull(p);
	memcpy(p, batch.p, batch.n);
	return p;
}

START_TEST(bad_batches_are_refused)
{
	struct span good = batch_of(2);
	uint8_t *p = copy_of(good);
	p[good.n - 1] ^= 1;
	ck_assert_int_eq(bed_produce("events", 0, span_of(p, good.n))->error_code, 2);
	ck_assert_int_eq(bed_produce("events", 0, span_of(good.p, good.n - 1))->error_code, 2);
	p = copy_of(good);
	put_u64(p, 5);
	ck_assert_int_eq(bed_produce("events", 0, span_of(p, good.n))->error_code, 87);
	p = copy_of(good);
	put_u16(p + 21, RECORDS_TRANSACTIONAL);
	put_u32(p + 17, crc32c(0, p + 21, good.n - 21));
	ck_assert_int_eq(bed_produce("events", 0, span_of(p, good.n))->error_code, 48);
	put_u16(p + 21, RECORDS_LOG_APPEND_TIME);
	put_u32(p + 17, crc32c(0, p + 21, good.n - 21));
	struct kafka_produce_response_partition *a = bed_produce("events", 0, span_of(p, good.n));
	ck_assert_int_eq(a->error_code, 32);
	ck_assert_uint_gt(a->error_message.s.n, 0);
	/* Nothing of it was appended. */
	ck_assert_int_eq(bed_produce("events", 0, good)->base_offset, 0);
}
END_TEST

START_TEST(batches_of_the_limit_and_one_more)
{
	struct kafka_options *o = &bed.fix.front->options;
	struct span batch = batch_of(100);
	o->max_batch_bytes = batch.n;
	ck_assert_int_eq(bed_produce("events", 0, batch)->error_code, 0);
	o->max_batch_bytes = batch.n - 1;
	ck_assert_int_eq(bed_produce("events", 0, batch)->error_code, 10);
	/* What it unpacks to counts, too. */
	struct span packed = bed_pack(batch, RECORDS_GZIP);
	o->max_batch_bytes = 1 << 20;
	o->max_inflated_bytes = batch.n - BATCH_HEAD;
	ck_assert_int_eq(bed_produce("events", 0, packed)->error_code, 0);
	o->max_inflated_bytes = batch.n - BATCH_HEAD - 1;
	ck_assert_int_eq(bed_produce("events", 0, packed)->error_code, 10);
}
END_TEST

START_TEST(zstd_needs_version_7)
{
	struct span packed = bed_pack(batch_of(10), RECORDS_ZSTD);
	struct kafka_request *r = bed_produce_begin(6, 1, "events", 0, packed);
	fix_wait(&bed.fix, r);
	struct kafka_produce_response *a = fix_answer(r, &bed.arena);
	ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, 76);
	r = bed_produce_begin(7, 1, "events", 0, packed);
	fix_wait(&bed.fix, r);
	a = fix_answer(r, &bed.arena);
	ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, 0);
}
END_TEST

/* A head that names another greatest timestamp than the records have is put
 * right, for searches by time believe it. */
START_TEST(the_greatest_timestamp_is_put_right)
{
	struct span good = batch_of(2);
	uint8_t *p = copy_of(good);
	put_u64(p + 35, 999999);
	put_u32(p + 17, crc32c(0, p + 21, good.n - 21));
	ck_assert_int_eq(bed_produce("events", 0, span_of(p, good.n))->error_code, 0);
	struct kafka_fetch_response *a = bed_fetch(&(struct bed_fetch){.n = 1});
	struct batch_head head;
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 1);
	ck_assert_int_eq(batch_head_read(bed_part(a, 0)->records.s, &head), ERR_OK);
	ck_assert_int_eq(head.max_timestamp, 1000);
}
END_TEST

START_TEST(rights_are_needed)
{
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "", AUTH_LISTEN);
	ck_assert_int_eq(bed_produce("events", 0, batch_of(1))->error_code, 29);
	ck_assert_int_eq(bed_produce("nothing", 0, batch_of(1))->error_code, 29);
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "events", AUTH_SEND);
	ck_assert_int_eq(bed_produce("events", 0, batch_of(1))->error_code, 0);
	ck_assert_int_eq(bed_produce("other", 0, batch_of(1))->error_code, 29);
}
END_TEST

START_TEST(without_acks_there_is_no_answer)
{
	struct kafka_request *r = bed_produce_begin(9, 0, "events", 0, batch_of(1));
	fix_wait(&bed.fix, r);
	ck_assert(r->has_no_answer);
	ck_assert(!r->close_after);
	kafka_request_pop(bed.conn);
	ck_assert_int_eq(bed_produce("events", 0, batch_of(1))->base_offset, 1);
	r = bed_produce_begin(9, 0, "nothing", 0, batch_of(1));
	fix_wait(&bed.fix, r);
	ck_assert(r->has_no_answer);
	ck_assert(r->close_after);
	kafka_request_pop(bed.conn);
}
END_TEST

/* Requests that do not wait for each other's answers keep their order. */
START_TEST(pipelined_requests_keep_their_order)
{
	enum { N = 40 };
	struct kafka_request *r[N];
	for (int i = 0; i < N; i++) {
		r[i] = bed_produce_begin(9, -1, "events", 0,
					 fix_batch(&bed.arena, "p", 2, 5, 77, 0, 2 * i));
	}
	for (int i = 0; i < N; i++) {
		fix_wait(&bed.fix, r[i]);
		struct kafka_produce_response *a = fix_answer(r[i], &bed.arena);
		ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, 0);
		ck_assert_int_eq(a->responses[0].partition_responses[0].base_offset, 2 * i);
	}
}
END_TEST

/* Batches that take long to check: others have their turn in between. */
static struct kafka_request *begin_long(struct span batch, bool has_acks)
{
	enum { N = 40 };
	struct kafka_produce_request_partition p[N];
	for (int i = 0; i < N; i++) {
		p[i] = (struct kafka_produce_request_partition){.records = {.s = batch}};
	}
	struct kafka_produce_request_topic t = {
		.name = kafka_text("events"), .partition_data = p, .n_partition_data = N};
	struct kafka_produce_request q = {.transactional_id = kafka_string_null(),
					  .acks = has_acks ? -1 : 0,
					  .topic_data = &t,
					  .n_topic_data = 1};
	return fix_begin(bed.conn, KAFKA_API_Produce, 8, &q);
}

START_TEST(a_long_request_is_begun_piece_by_piece)
{
	struct span b = bed_pack(batch_of(50000), RECORDS_GZIP);
	struct kafka_request *r = begin_long(b, true);
	ck_assert(bed.conn->is_working);
	ck_assert(!r->is_answered);
	fix_wait(&bed.fix, r);
	ck_assert(!bed.conn->is_working);
	struct kafka_produce_response *a = fix_answer(r, &bed.arena);
	for (int i = 0; i < 40; i++) {
		const struct kafka_produce_response_partition *got =
			&a->responses[0].partition_responses[i];
		ck_assert_int_eq(got->error_code, 0);
		ck_assert_int_eq(got->base_offset, i * INT64_C(50000));
	}
	/* Its connection goes: what has not begun never does. */
	r = begin_long(b, true);
	ck_assert(bed.conn->is_working);
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "", AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE);
	ck_assert_uint_eq(budget_used(core_inflight(bed.fix.core)), 0);
}
END_TEST

START_TEST(a_repeated_batch_gets_its_first_offset)
{
	struct span first = fix_batch(&bed.arena, "p", 2, 5, 77, 0, 0);
	ck_assert_int_eq(bed_produce("events", 0, first)->base_offset, 0);
	struct span second = fix_batch(&bed.arena, "p", 3, 5, 77, 0, 2);
	ck_assert_int_eq(bed_produce("events", 0, second)->base_offset, 2);
	struct kafka_produce_response_partition *a = bed_produce("events", 0, first);
	ck_assert_int_eq(a->error_code, 0);
	ck_assert_int_eq(a->base_offset, 0);
	struct span gap = fix_batch(&bed.arena, "p", 1, 5, 77, 0, 9);
	a = bed_produce("events", 0, gap);
	ck_assert_int_eq(a->error_code, 45);
	ck_assert_int_eq(a->base_offset, -1);
	ck_assert_int_eq(a->log_start_offset, 0);
}
END_TEST

/* More hubs than a connection keeps senders for, in turns. */
START_TEST(many_hubs)
{
	char name[16];
	for (int i = 0; i < KAFKA_SENDERS + 6; i++) {
		snprintf(name, sizeof name, "hub%d", i);
		fix_make_hub(&bed.fix, name, 1);
	}
	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < KAFKA_SENDERS + 6; i++) {
			snprintf(name, sizeof name, "hub%d", i);
			ck_assert_int_eq(bed_put(name, 0, "x", 1, 1), turn);
			ck_assert_int_eq(bed.conn->senders[0].hub_id, fix_hub_id(&bed.fix, name));
		}
	}
	ck_assert_uint_eq(bed.conn->n_senders, KAFKA_SENDERS);
}
END_TEST

START_TEST(a_deleted_hub)
{
	(void)bed_put("other", 0, "x", 1, 1);
	struct catalog_command cmd = {.op = CATALOG_HUB_DELETE, .hub = "other"};
	ck_assert_int_eq(fix_command(&bed.fix, &cmd), ERR_OK);
	ck_assert_int_eq(bed_produce("other", 0, batch_of(1))->error_code, 3);
	/* The same name anew is another hub. */
	fix_make_hub(&bed.fix, "other", 1);
	ck_assert_int_eq(bed_put("other", 0, "x", 1, 1), 0);
}
END_TEST

START_TEST(the_store_stops)
{
	struct kafka_request *r = bed_produce_begin(9, -1, "events", 0, batch_of(1));
	fix_stop(&bed.fix);
	fix_wait(&bed.fix, r);
	(void)fix_answer(r, &bed.arena);
	int16_t code = bed_produce("events", 0, batch_of(1))->error_code;
	ck_assert_int_eq(code, KAFKA_NOT_LEADER);
}
END_TEST

START_TEST(a_connection_goes_with_appends_out)
{
	for (int i = 0; i < 50; i++) {
		(void)bed_produce_begin(9, (int16_t)(i % 3 - 1), "events", i % 4, batch_of(3));
		if (i % 10 == 9) {
			fix_conn_close(&bed.fix, &bed.conn);
			bed.conn = fix_conn(&bed.fix, "", AUTH_SEND);
		}
	}
	ck_assert_int_eq(bed_produce("events", 0, batch_of(1))->base_offset, 39);
}
END_TEST

/* Each allocation fails once: an error or the end of the connection, and what
 * follows works. */
START_TEST(memory_is_short)
{
	struct span batch = bed_pack(batch_of(20), RECORDS_LZ4);
	struct kafka_produce_request_partition p = {.records = {.s = batch}};
	struct kafka_produce_request_topic t = {
		.name = kafka_text("events"), .partition_data = &p, .n_partition_data = 1};
	struct kafka_produce_request q = {
		.transactional_id = kafka_string_null(), .acks = -1, .topic_data = &t, .n_topic_data = 1};
	bool fired = true;
	for (long n = 1; fired; n++) {
		fix_conn_close(&bed.fix, &bed.conn);
		bed.conn = fix_conn(&bed.fix, "", AUTH_SEND);
		struct kafka_request *r = fix_begin_fault(bed.conn, KAFKA_API_Produce, 9, &q, n);
		if (r != NULL) {
			fix_wait(&bed.fix, r);
		}
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_lt(n, 200);
	}
	kafka_request_pop(bed.conn);
	ck_assert_int_eq(bed_produce("events", 0, batch)->error_code, 0);
}
END_TEST

/* ---- InitProducerId ------------------------------------------------------------- */

static struct kafka_init_producer_id_response *init_id(int16_t version, const char *txn)
{
	struct kafka_init_producer_id_request q = {
		.transactional_id = txn != NULL ? kafka_text(txn) : kafka_string_null(),
		.producer_id = 5,
		.producer_epoch = 3,
	};
	return fix_call(&bed.fix, bed.conn, KAFKA_API_InitProducerId, version, &q, &bed.arena);
}

START_TEST(every_producer_id_is_new)
{
	int64_t last = -1;
	for (int16_t v = 0; v <= 5; v++) {
		for (int i = 0; i < 300; i++) {
			struct kafka_init_producer_id_response *a = init_id(v, NULL);
			ck_assert_int_eq(a->error_code, 0);
			ck_assert_int_eq(a->producer_epoch, 0);
			ck_assert_int_gt(a->producer_id, last);
			last = a->producer_id;
		}
	}
}
END_TEST

START_TEST(producer_ids_are_refused)
{
	struct kafka_init_producer_id_response *a = init_id(4, "mine");
	ck_assert_int_eq(a->error_code, 53);
	ck_assert_int_eq(a->producer_id, -1);
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "", AUTH_LISTEN);
	ck_assert_int_eq(init_id(4, NULL)->error_code, 31);
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "events", AUTH_SEND);
	ck_assert_int_eq(init_id(4, NULL)->error_code, 0);
	struct kafka_init_producer_id_request q = {.transactional_id = kafka_string_null()};
	(void)fix_begin(bed.conn, KAFKA_API_InitProducerId, 4, &q);
}
END_TEST

Suite *produce_suite(void)
{
	Suite *s = suite_create("produce");
	TCase *t = tcase_create("produce");
	tcase_add_checked_fixture(t, bed_open, bed_close);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, batches_are_appended_in_order);
	tcase_add_test(t, every_version_is_served);
	tcase_add_test(t, one_request_for_many_partitions);
	tcase_add_test(t, a_request_of_nothing);
	tcase_add_test(t, whole_requests_are_refused);
	tcase_add_test(t, bad_batches_are_refused);
	tcase_add_test(t, batches_of_the_limit_and_one_more);
	tcase_add_test(t, zstd_needs_version_7);
	tcase_add_test(t, the_greatest_timestamp_is_put_right);
	tcase_add_test(t, rights_are_needed);
	tcase_add_test(t, without_acks_there_is_no_answer);
	tcase_add_test(t, pipelined_requests_keep_their_order);
	tcase_add_test(t, a_long_request_is_begun_piece_by_piece);
	tcase_add_test(t, a_repeated_batch_gets_its_first_offset);
	tcase_add_test(t, many_hubs);
	tcase_add_test(t, a_deleted_hub);
	tcase_add_test(t, the_store_stops);
	tcase_add_test(t, a_connection_goes_with_appends_out);
	tcase_add_test(t, memory_is_short);
	tcase_add_test(t, every_producer_id_is_new);
	tcase_add_test(t, producer_ids_are_refused);
	suite_add_tcase(s, t);
	return s;
}
