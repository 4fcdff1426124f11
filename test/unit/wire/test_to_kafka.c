#include "gateway/wire/to_kafka.h"

#include "base/mem.h"
#include "gateway/wire/codec.h"
#include "gateway/wire/event.h"
#include "gateway/wire/records.h"
#include "test/unit/wire/help.h"
#include "test/unit/wire/suites.h"

enum { APPEND_MS = 1700000000 };

#define RUN(text) span_of(text, sizeof(text) - 1)

static const struct span no_key = {NULL, 0};

/* A batch of these values, as it is stored; base offset 70. */
static struct buf *stored(const struct span *values, size_t n)
{
	struct batch_builder b;
	struct buf *out = NULL;
	batch_builder_init(&b, 100, 4 << 20);
	for (size_t i = 0; i < n; i++) {
		batch_builder_add(&b, &values[i], 1);
	}
	ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_OK);
	batch_builder_fini(&b);
	batch_seal(out->data, out->len, 1);
	batch_place(out->data, 70);
	return out;
}

static enum err convert(const struct span *values, size_t n, struct span key, struct str *out)
{
	struct buf *b = stored(values, n);
	*out = (struct str){.max = 0};
	enum err e = to_kafka_batch(span_of(b->data, b->len), key, APPEND_MS, out);
	buf_drop(&b);
	return e;
}

/* One event's record; `out` holds it. */
static struct batch_record record_of(struct span value, struct span key, struct str *out)
{
	struct batch_iter it;
	struct batch_record rec;
	ck_assert_int_eq(convert(&value, 1, key, out), ERR_OK);
	ck_assert_int_eq(batch_check(span_in(out)), ERR_OK);
	ck_assert_int_eq(batch_iter_init(&it, span_in(out)), ERR_OK);
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
	ck_assert(!rec.has_key);
	return rec;
}

static void check_value(struct span event, struct span want)
{
	struct str out;
	struct batch_record rec = record_of(event, no_key, &out);
	ck_assert(rec.has_value);
	ck_assert(span_eq(rec.value, want));
	ck_assert_int_eq(rec.header_count, 0);
	str_fini(&out);
}

static void check_headers(struct span event, struct span key, int32_t count, struct span want)
{
	struct str out;
	struct batch_record rec = record_of(event, key, &out);
	ck_assert_int_eq(rec.header_count, count);
	ck_assert(span_eq(rec.headers, want));
	str_fini(&out);
}

START_TEST(data_sections_become_the_value)
{
	check_value(RUN("\0Su\xa0\5hello"), RUN("hello"));
	check_value(RUN("\0Su\xb0\0\0\0\5hello"), RUN("hello"));
	check_value(RUN("\0Su\xa0\0"), RUN(""));
	check_value(RUN("\0Su\xa0\2he\0Su\xa0\0\0Su\xb0\0\0\0\3llo"), RUN("hello"));
	check_value(RUN("\0Su\x40"), RUN(""));	/* null, as one client sends it */
	/* Header, annotations, properties and a footer are not for Kafka. */
	check_value(RUN("\0Sp\x45\0Sr\xc1\5\2\xa3\1k\x41\0Ss\x45\0Su\xa0\1x\0Sx\xc1\1\0"), RUN("x"));
}
END_TEST

START_TEST(other_bodies_keep_their_encoding)
{
	check_value(RUN("\0Sw\xa1\2hi"), RUN("\0Sw\xa1\2hi"));
	check_value(RUN("\0Sw\x40"), RUN("\0Sw\x40"));
	check_value(RUN("\0Sp\x45\0Sv\xc0\3\1\x54\7\0Sv\x45"), RUN("\0Sv\xc0\3\1\x54\7\0Sv\x45"));
}
END_TEST

START_TEST(no_body_is_a_null_value)
{
	struct str out;
	struct batch_record rec = record_of(RUN("\0Sp\x45"), no_key, &out);
	ck_assert(!rec.has_value);
	str_fini(&out);
	rec = record_of(RUN(""), RUN("key"), &out);
	ck_assert(!rec.has_value);
	ck_assert_int_eq(rec.header_count, 1);
	str_fini(&out);
}
END_TEST

/* name length, name, value length, constructor and value */
START_TEST(properties_become_headers_with_their_encoding)
{
	check_headers(RUN("\0St\xc1\x0b\2\xa1\1s\xa1\5hello\0Su\xa0\1x"), no_key, 1,
		      RUN("\2s\x0e\xa1\5hello"));
	check_headers(RUN("\0St\xc1\x0e\6\xa1\1i\x54\x2a\xa3\1t\x41\xa1\1n\x40\0Su\xa0\1x"), no_key, 3,
		      RUN("\2i\4\x54\x2a\2t\2\x41\2n\2\x40"));
	check_headers(RUN("\0St\xd1\0\0\0\x0c\0\0\0\2\xa1\1l\xc0\3\1\x54\1\0Su\xa0\1x"), no_key, 1,
		      RUN("\2l\x0a\xc0\3\1\x54\1"));
	/* A described value. */
	check_headers(RUN("\0St\xc1\x09\2\xa1\1d\0\x53\5\x54\1\0Su\xa0\1x"), no_key, 1,
		      RUN("\2d\x0a\0\x53\5\x54\1"));
	check_headers(RUN("\0St\xc1\1\0\0Su\xa0\1x"), no_key, 0, RUN(""));
	check_headers(RUN("\0St\x40\0Su\xa0\1x"), no_key, 0, RUN(""));
}
END_TEST

START_TEST(names_that_are_no_text_are_left_out)
{
	check_headers(RUN("\0St\xc1\x0c\6\xa1\1a\x41\x54\1\x42\xa1\1b\x42\0Su\xa0\1x"), RUN("k"), 3,
		      RUN("\2a\2\x41\2b\2\x42\x26x-opt-partition-key\2k"));
}
END_TEST

START_TEST(partition_key_is_the_last_header)
{
	check_headers(RUN("\0Su\xa0\1x"), RUN("some key"), 1, RUN("\x26x-opt-partition-key\x10some key"));
	check_headers(RUN("\0St\xc1\5\2\xa1\1t\x41\0Su\xa0\1x"), RUN("k"), 2,
		      RUN("\2t\2\x41\x26x-opt-partition-key\2k"));
}
END_TEST

START_TEST(head_is_that_of_the_stored_batch)
{
	struct span values[300];
	struct str out;
	struct batch_head head;
	struct batch_iter it;
	struct batch_record rec;
	for (size_t i = 0; i < 300; i++) {
		values[i] = i % 3 == 0 ? RUN("\0Sw\x41") : RUN("\0Su\xa0\5event");
	}
	ck_assert_int_eq(convert(values, 300, RUN("pk"), &out), ERR_OK);
	ck_assert_int_eq(batch_check(span_in(&out)), ERR_OK);
	ck_assert_int_eq(batch_head_read(span_in(&out), &head), ERR_OK);
	ck_assert_int_eq(head.base_offset, 70);
	ck_assert_int_eq(head.count, 300);
	ck_assert_int_eq(head.last_offset_delta, 299);
	ck_assert_uint_eq(head.attributes, RECORDS_LOG_APPEND_TIME);
	ck_assert_int_eq(head.max_timestamp, APPEND_MS);
	ck_assert_int_eq(head.base_timestamp, APPEND_MS);
	ck_assert_int_eq(head.producer_id, -1);
	ck_assert_int_eq(head.producer_epoch, -1);
	ck_assert_int_eq(head.base_sequence, -1);
	ck_assert_int_eq(batch_iter_init(&it, span_in(&out)), ERR_OK);
	for (int32_t i = 0; i < 300; i++) {
		ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
		ck_assert_int_eq(rec.offset_delta, i);
		ck_assert_int_eq(rec.timestamp, APPEND_MS);
	}
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_EOF);

	/* But for the time's kind and the base offset it is what a producer may send. */
	struct records_check rules = {.max_batch_bytes = 1 << 20, .max_inflated_bytes = 1 << 20};
	struct err_detail d = {""};
	int64_t ms;
	size_t inflated;
	bytes_of(span_in(&out))[22] = 0;
	batch_place(bytes_of(span_in(&out)), 0);
	reseal(span_in(&out));
	ck_assert_msg(records_check(span_in(&out), &rules, &head, &ms, &inflated, &d) == RECORDS_OK,
		      "%s", d.text);
	str_fini(&out);
}
END_TEST

START_TEST(deliveries_of_both_doors_are_converted)
{
	struct amqp_inbound in;
	struct err_detail d = {""};
	struct str out = {.max = 0};
	struct batch_iter it;
	struct batch_record rec;
	ck_assert_int_eq(amqp_inbound_make(RUN("\0St\xc1\5\2\xa1\1t\x41\0Su\xa0\2hi"), 0, no_key, &in, &d),
			 ERR_OK);
	ck_assert_int_eq(to_kafka_batch(span_of(in.batch->data, in.batch_len), no_key, 5, &out), ERR_OK);
	ck_assert_int_eq(batch_iter_init(&it, span_in(&out)), ERR_OK);
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
	ck_assert(span_eq_str(rec.value, "hi"));
	ck_assert(span_eq_str(rec.headers, "\2t\2\x41"));
	buf_drop(&in.batch);

	/* Appended behind what is there. */
	size_t before = out.len;
	struct batch_builder b;
	struct buf *http = NULL;
	batch_builder_init(&b, 100, 1000);
	amqp_event_add_http(&b, RUN("body"), no_key);
	ck_assert_int_eq(batch_builder_finish(&b, &http), ERR_OK);
	batch_builder_fini(&b);
	ck_assert_int_eq(to_kafka_batch(span_of(http->data, http->len), no_key, 5, &out), ERR_OK);
	struct span second = span_of(out.p + before, out.len - before);
	ck_assert_int_eq(batch_check(second), ERR_OK);
	ck_assert_int_eq(batch_iter_init(&it, second), ERR_OK);
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
	ck_assert(span_eq_str(rec.value, "body"));
	buf_drop(&http);
	str_fini(&out);
}
END_TEST

static const struct span damaged[] = {
	{(const uint8_t *)"x", 1},
	{(const uint8_t *)"\0Su\xa0\5hell", 9},
	{(const uint8_t *)"\0Su\xa1\1x", 6},
	{(const uint8_t *)"\0Sq\xc1\1\0\0Su\xa0\1x", 12},		/* delivery annotations */
	{(const uint8_t *)"\0St\xc1\4\1\xa1\1t\0Su\xa0\1x", 15},	/* a name without value */
	{(const uint8_t *)"\0St\xc1\4\2\xa1\1t\0Su\xa0\1x", 15},
	{(const uint8_t *)"\0St\xc1\5\4\xa1\1t\x41\0Su\xa0\1x", 16},
	{(const uint8_t *)"\0St\xc1\6\2\xa1\1t\x41\x41\0Su\xa0\1x", 17},
	{(const uint8_t *)"\0St\xc1\6\2\xa1\1t\xa1\5\0Su\xa0\1x", 17},
	{(const uint8_t *)"\0St\xa1\1x\0Su\xa0\1x", 12},
	{(const uint8_t *)"\0Su\xa0\1x\0Sw\x41", 10},
};

START_TEST(damaged_events_are_told)
{
	struct str out;
	struct span values[] = {RUN("\0Su\xa0\1x"), damaged[_i]};
	ck_assert_int_eq(convert(values, 2, no_key, &out), ERR_CORRUPT);
	ck_assert_uint_eq(out.len, 0);
	str_fini(&out);
}
END_TEST

START_TEST(damaged_batches_are_told)
{
	struct span value = RUN("\0Su\xa0\1x");
	struct buf *b = stored(&value, 1);
	struct str out = {.max = 0};
	for (uint32_t n = 0; n < b->len; n++) {
		ck_assert_int_eq(to_kafka_batch(span_of(b->data, n), no_key, 5, &out), ERR_CORRUPT);
	}
	put_u32(b->data + 57, INT32_MAX);
	ck_assert_int_eq(to_kafka_batch(span_of(b->data, b->len), RUN("k"), 5, &out), ERR_CORRUPT);
	b->data[22] = RECORDS_GZIP;
	ck_assert_int_eq(to_kafka_batch(span_of(b->data, b->len), no_key, 5, &out), ERR_CORRUPT);
	buf_drop(&b);
	str_fini(&out);
}
END_TEST

START_TEST(memory_that_is_short_is_told)
{
	struct span values[500];
	for (size_t i = 0; i < 500; i++) {
		values[i] = RUN("\0Su\xa0\1x");
	}
	struct buf *b = stored(values, 500);
	bool fired = true;
	for (long n = 1; fired; n++) {
		struct str out = {.max = 0};
		mem_fault_at(n);
		enum err e = to_kafka_batch(span_of(b->data, b->len), RUN("key"), 5, &out);
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		str_fini(&out);
	}
	/* The result is larger than the batch; exactly its size is enough. */
	struct str out = {.max = 0};
	ck_assert_int_eq(to_kafka_batch(span_of(b->data, b->len), RUN("key"), 5, &out), ERR_OK);
	struct str tight = {.max = out.len};
	ck_assert_int_eq(to_kafka_batch(span_of(b->data, b->len), RUN("key"), 5, &tight), ERR_NOMEM);
	str_fini(&tight);
	tight = (struct str){.max = out.len + 1};
	ck_assert_int_eq(to_kafka_batch(span_of(b->data, b->len), RUN("key"), 5, &tight), ERR_OK);
	str_fini(&tight);
	str_fini(&out);
	buf_drop(&b);
}
END_TEST

Suite *to_kafka_suite(void)
{
	Suite *s = suite_create("to_kafka");
	TCase *t = tcase_create("convert");
	tcase_add_test(t, data_sections_become_the_value);
	tcase_add_test(t, other_bodies_keep_their_encoding);
	tcase_add_test(t, no_body_is_a_null_value);
	tcase_add_test(t, properties_become_headers_with_their_encoding);
	tcase_add_test(t, names_that_are_no_text_are_left_out);
	tcase_add_test(t, partition_key_is_the_last_header);
	tcase_add_test(t, head_is_that_of_the_stored_batch);
	tcase_add_test(t, deliveries_of_both_doors_are_converted);
	tcase_add_loop_test(t, damaged_events_are_told, 0, sizeof damaged / sizeof damaged[0]);
	tcase_add_test(t, damaged_batches_are_told);
	tcase_add_test(t, memory_that_is_short_is_told);
	suite_add_tcase(s, t);
	return s;
}
