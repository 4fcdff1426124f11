#include "gateway/wire/codec.h"
#include "gateway/wire/event.h"
#include "gateway/amqp/kafka_value.h"
#include "test/unit/amqp_front/suites.h"

static struct amqp_value inside(struct span section)
{
	struct rd r = rd_of(section);
	struct amqp_value v = amqp_read(&r);
	ck_assert_int_eq(v.type, AMQP_DESCRIBED);
	r = rd_of(v.described);
	return amqp_read(&r);
}

START_TEST(record_becomes_a_message)
{
	/* "h" = "v", "n" = null, as varint lengths. */
	static const uint8_t headers[] = {2, 'h', 2, 'v', 2, 'n', 1};
	struct batch_record rec = {
		.has_key = true,
		.key = span_str("k1"),
		.has_value = true,
		.value = span_str("body"),
		.header_count = 2,
		.headers = span_of(headers, sizeof headers),
	};
	struct str out = {.max = 0};
	struct amqp_message m;
	struct err_detail d = {""};
	ck_assert_int_eq(amqp_kafka_value(&rec, &out), ERR_OK);
	ck_assert_int_eq(amqp_message_read(span_of(out.p, out.len), &m, &d), ERR_OK);
	struct amqp_value v = inside(m.message_annotations);
	struct amqp_value item;
	ck_assert(amqp_map_find(&v, "x-opt-kafka-key", &item));
	ck_assert_int_eq(item.type, AMQP_BINARY);
	ck_assert(span_eq_str(item.data, "k1"));
	v = inside(m.application_properties);
	ck_assert_uint_eq(v.count, 4);
	ck_assert(amqp_map_find(&v, "h", &item));
	ck_assert_int_eq(item.type, AMQP_BINARY);
	ck_assert(span_eq_str(item.data, "v"));
	ck_assert(amqp_map_find(&v, "n", &item));
	ck_assert_int_eq(item.type, AMQP_NULL);
	v = inside(m.body);
	ck_assert(span_eq_str(v.data, "body"));
	str_fini(&out);
}
END_TEST

START_TEST(record_without_anything_has_an_empty_body)
{
	struct batch_record rec = {.has_value = false};
	struct str out = {.max = 0};
	struct amqp_message m;
	struct err_detail d = {""};
	ck_assert_int_eq(amqp_kafka_value(&rec, &out), ERR_OK);
	ck_assert_int_eq(amqp_message_read(span_of(out.p, out.len), &m, &d), ERR_OK);
	ck_assert_uint_eq(m.message_annotations.n, 0);
	ck_assert_uint_eq(m.application_properties.n, 0);
	ck_assert_uint_eq(inside(m.body).data.n, 0);
	str_fini(&out);
}
END_TEST

START_TEST(headers_that_are_cut_short_are_refused)
{
	static const uint8_t headers[] = {2, 'h', 10, 'v'};
	struct batch_record rec = {.header_count = 1, .headers = span_of(headers, sizeof headers)};
	struct str out = {.max = 0};
	ck_assert_int_eq(amqp_kafka_value(&rec, &out), ERR_DECODE);
	str_fini(&out);
}
END_TEST

START_TEST(marker_batches_are_known)
{
	struct batch_head head = {.attributes = 1 << 5};
	ck_assert(amqp_kafka_is_control(&head));
	head.attributes = 1 << 4;
	ck_assert(!amqp_kafka_is_control(&head));
}
END_TEST

Suite *kafka_value_suite(void)
{
	Suite *s = suite_create("kafka_value");
	TCase *t = tcase_create("convert");
	tcase_add_test(t, record_becomes_a_message);
	tcase_add_test(t, record_without_anything_has_an_empty_body);
	tcase_add_test(t, headers_that_are_cut_short_are_refused);
	tcase_add_test(t, marker_batches_are_known);
	suite_add_tcase(s, t);
	return s;
}
