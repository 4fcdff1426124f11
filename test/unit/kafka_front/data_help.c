#include "test/unit/kafka_front/data_help.h"

#include <string.h>

#include "base/crc32c.h"
#include "gateway/wire/records.h"

struct data_bed bed;

static void open_bed(size_t cache_bytes)
{
	memset(&bed, 0, sizeof bed);
	bed.arena.max = SIZE_MAX;
	fix_open_cache(&bed.fix, cache_bytes);
	bed.conn = fix_conn(&bed.fix, "", AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE);
}

void bed_open(void)
{
	open_bed(0);
}

void bed_open_uncached(void)
{
	open_bed(1);
}

void bed_close(void)
{
	if (bed.conn != NULL) {
		fix_conn_close(&bed.fix, &bed.conn);
	}
	ck_assert_uint_eq(budget_used(core_inflight(bed.fix.core)), 0);
	fix_close(&bed.fix);
	kafka_arena_fini(&bed.arena);
}

struct kafka_request *bed_produce_begin(int16_t version, int16_t acks, const char *topic,
					int32_t partition, struct span batch)
{
	struct kafka_produce_request_partition p = {.index = partition, .records = {.s = batch}};
	struct kafka_produce_request_topic t = {
		.name = kafka_text(topic),
		.partition_data = &p,
		.n_partition_data = 1,
	};
	struct kafka_produce_request q = {
		.transactional_id = kafka_string_null(),
		.acks = acks,
		.timeout_ms = 1000,
		.topic_data = &t,
		.n_topic_data = 1,
	};
	return fix_begin(bed.conn, KAFKA_API_Produce, version, &q);
}

struct kafka_produce_response_partition *bed_produce(const char *topic, int32_t partition,
						     struct span batch)
{
	struct kafka_request *r = bed_produce_begin(9, -1, topic, partition, batch);
	fix_wait(&bed.fix, r);
	struct kafka_produce_response *a = fix_answer(r, &bed.arena);
	ck_assert_int_eq(a->n_responses, 1);
	ck_assert(span_eq_str(a->responses[0].name.s, topic));
	ck_assert_int_eq(a->responses[0].n_partition_responses, 1);
	ck_assert_int_eq(a->responses[0].partition_responses[0].index, partition);
	return &a->responses[0].partition_responses[0];
}

int64_t bed_put(const char *topic, int32_t partition, const char *text, int32_t n,
		int64_t timestamp)
{
	struct span batch = fix_batch(&bed.arena, text, n, timestamp, -1, -1, -1);
	struct kafka_produce_response_partition *a = bed_produce(topic, partition, batch);
	ck_assert_int_eq(a->error_code, 0);
	return a->base_offset;
}

struct span bed_pack(struct span batch, int codec)
{
	struct str packed = {.max = SIZE_MAX};
	struct span records = span_of(batch.p + BATCH_HEAD, batch.n - BATCH_HEAD);
	ck_assert_int_eq(deflate_all((enum records_codec)codec, records, &packed), ERR_OK);
	size_t n = BATCH_HEAD + packed.len;
	uint8_t *p = kafka_arena_alloc(&bed.arena, n);
	ck_assert_ptr_nonnull(p);
	memcpy(p, batch.p, BATCH_HEAD);
	memcpy(p + BATCH_HEAD, packed.p, packed.len);
	str_fini(&packed);
	put_u32(p + 8, (uint32_t)(n - 12));
	put_u16(p + 21, (uint16_t)codec);
	put_u32(p + 17, crc32c(0, p + 21, n - 21));
	return span_of(p, n);
}

struct kafka_request *bed_fetch_begin(const struct bed_fetch *q)
{
	struct kafka_fetch_request_partition parts[8] = {0};
	for (int32_t i = 0; i < q->n; i++) {
		parts[i].partition = q->partitions[i];
		parts[i].current_leader_epoch = q->epoch;
		parts[i].fetch_offset = q->offsets[i];
		parts[i].last_fetched_epoch = -1;
		parts[i].log_start_offset = -1;
		parts[i].partition_max_bytes =
			q->partition_max_bytes != 0 ? q->partition_max_bytes : 1 << 20;
	}
	struct kafka_fetch_request_topic t = {
		.topic = kafka_text(q->topic != NULL ? q->topic : "events"),
		.partitions = parts,
		.n_partitions = q->n,
	};
	struct kafka_fetch_request body = {
		.replica_id = -1,
		.max_wait_ms = q->max_wait_ms,
		.min_bytes = q->min_bytes,
		.max_bytes = q->max_bytes != 0 ? q->max_bytes : 50 << 20,
		.isolation_level = q->isolation,
		.session_id = q->session_id,
		.session_epoch = q->session_epoch,
		.topics = &t,
		.n_topics = q->n > 0,
	};
	return fix_begin(bed.conn, KAFKA_API_Fetch, q->version != 0 ? q->version : 12, &body);
}

struct kafka_fetch_response *bed_fetch(const struct bed_fetch *q)
{
	struct kafka_request *r = bed_fetch_begin(q);
	fix_wait(&bed.fix, r);
	return fix_answer(r, &bed.arena);
}

struct kafka_fetch_response_partition *bed_part(struct kafka_fetch_response *a, int32_t i)
{
	ck_assert_int_eq(a->error_code, 0);
	ck_assert_int_eq(a->session_id, 0);
	ck_assert_int_eq(a->n_responses, 1);
	ck_assert_int_gt(a->responses[0].n_partitions, i);
	struct kafka_fetch_response_partition *p = &a->responses[0].partitions[i];
	ck_assert(!p->records.is_null);
	ck_assert_int_eq(p->last_stable_offset, p->high_watermark);
	return p;
}

uint32_t bed_batches(const struct kafka_records *r)
{
	struct span left = r->s;
	uint32_t n = 0;
	while (left.n > 0) {
		struct batch_head head;
		ck_assert_int_eq(batch_head_read(left, &head), ERR_OK);
		ck_assert_uint_le(head.total, left.n);
		ck_assert_int_eq(batch_check(span_of(left.p, head.total)), ERR_OK);
		left = span_of(left.p + head.total, left.n - head.total);
		n++;
	}
	return n;
}

struct kafka_list_offsets_response_partition *bed_list(int16_t version, int32_t partition,
						       int64_t timestamp)
{
	struct kafka_list_offsets_request_partition p = {
		.partition_index = partition,
		.current_leader_epoch = -1,
		.timestamp = timestamp,
	};
	struct kafka_list_offsets_request_topic t = {
		.name = kafka_text("events"),
		.partitions = &p,
		.n_partitions = 1,
	};
	struct kafka_list_offsets_request q = {.replica_id = -1, .topics = &t, .n_topics = 1};
	struct kafka_list_offsets_response *a =
		fix_call(&bed.fix, bed.conn, KAFKA_API_ListOffsets, version, &q, &bed.arena);
	ck_assert_int_eq(a->n_topics, 1);
	ck_assert_int_eq(a->topics[0].n_partitions, 1);
	ck_assert_int_eq(a->topics[0].partitions[0].partition_index, partition);
	return &a->topics[0].partitions[0];
}
