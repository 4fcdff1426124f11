#include "gateway/wire/kafka_value.h"

#include <stdio.h>

#include "base/mem.h"
#include "gateway/wire/codec.h"
#include "gateway/wire/event.h"
#include "test/unit/wire/help.h"
#include "test/unit/wire/suites.h"

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

/* The properties that records with these headers have: the map's items. */
static void check_properties(struct span headers, int32_t count, struct span want, uint32_t items)
{
	struct batch_record rec = {.header_count = count, .headers = headers};
	struct str out = {.max = 0};
	struct amqp_message m;
	struct err_detail d = {""};
	ck_assert_int_eq(amqp_kafka_value(&rec, &out), ERR_OK);
	ck_assert_int_eq(amqp_message_read(span_in(&out), &m, &d), ERR_OK);
	struct amqp_value v = inside(m.application_properties);
	ck_assert_uint_eq(v.count, items);
	ck_assert(span_eq(v.data, want));
	str_fini(&out);
}

#define RUN(text) span_of(text, sizeof(text) - 1)

START_TEST(of_headers_with_the_same_name_the_last_stays)
{
	check_properties(RUN("\2a\2x\2b\2y\2a\1"), 3, RUN("\xa1\1b\xa0\1y\xa1\1a\x40"), 4);
	check_properties(RUN("\0\2x\0\2y"), 2, RUN("\xa1\0\xa0\1y"), 2);
}
END_TEST

START_TEST(of_many_headers_the_last_of_each_name_stays_in_order)
{
	struct str headers = {.max = 0};
	struct str want = {.max = 0};
	for (int i = 0; i < 3000; i++) {
		char name[16];
		int n = snprintf(name, sizeof name, "n%d", i % 1000);
		put_varlong(&headers, n);
		str_addn(&headers, name, (size_t)n);
		put_varlong(&headers, 2);
		str_addn(&headers, i < 2000 ? "ol" : "nw", 2);
		if (i >= 2000) {
			amqp_put_string(&want, span_str(name));
			amqp_put_binary(&want, RUN("nw"));
		}
	}
	check_properties(span_in(&headers), 3000, span_in(&want), 2000);
	struct batch_record rec = {.header_count = 3000, .headers = span_in(&headers)};
	struct str out = {.max = 0};
	mem_fault_at(1);
	ck_assert_int_eq(amqp_kafka_value(&rec, &out), ERR_NOMEM);
	mem_fault_at(0);
	str_fini(&out);
	str_fini(&headers);
	str_fini(&want);
}
END_TEST

START_TEST(number_of_headers_is_bounded)
{
	static const int32_t counts[] = {
		AMQP_KAFKA_HEADERS - 1, AMQP_KAFKA_HEADERS, AMQP_KAFKA_HEADERS + 1,
	};
	for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
		struct str headers = {.max = 0};
		struct str want = {.max = 0};
		for (int32_t i = 0; i < counts[k]; i++) {
			char name[16];
			int n = snprintf(name, sizeof name, "%d", (int)i);
			put_varlong(&headers, n);
			str_addn(&headers, name, (size_t)n);
			put_varlong(&headers, -1);
			if (i < AMQP_KAFKA_HEADERS) {
				amqp_put_string(&want, span_str(name));
				amqp_put_null(&want);
			}
		}
		uint32_t kept = counts[k] < AMQP_KAFKA_HEADERS ? (uint32_t)counts[k] : AMQP_KAFKA_HEADERS;
		check_properties(span_in(&headers), counts[k], span_in(&want), 2 * kept);
		str_fini(&headers);
		str_fini(&want);
	}
}
END_TEST

START_TEST(names_that_are_not_utf8_are_left_out)
{
	check_properties(RUN("\2\xff\2x\2b\2y"), 2, RUN("\xa1\1b\xa0\1y"), 2);
	check_properties(RUN("\4\xc3\xa9\2x"), 1, RUN("\xa1\2\xc3\xa9\xa0\1x"), 2);
	check_properties(RUN("\2\xc3\2x"), 1, RUN(""), 0);
}
END_TEST

START_TEST(damaged_headers_are_refused)
{
	static const struct {
		int32_t count;
		struct span headers;
	} bad[] = {
		{1, {NULL, 0}},
		{-1, {NULL, 0}},
		{0, {(const uint8_t *)"\2a\1", 3}},
		{1, {(const uint8_t *)"\1\1", 2}},
		{1, {(const uint8_t *)"\2a\3", 3}},
		{1, {(const uint8_t *)"\2a\1z", 4}},
		{2, {(const uint8_t *)"\2a\1\2", 4}},
		{INT32_MAX, {(const uint8_t *)"\2a\1", 3}},
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct batch_record rec = {.header_count = bad[i].count, .headers = bad[i].headers};
		struct str out = {.max = 0};
		ck_assert_int_eq(amqp_kafka_value(&rec, &out), ERR_DECODE);
		str_fini(&out);
	}
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
	tcase_add_test(t, of_headers_with_the_same_name_the_last_stays);
	tcase_add_test(t, of_many_headers_the_last_of_each_name_stays_in_order);
	tcase_add_test(t, number_of_headers_is_bounded);
	tcase_add_test(t, names_that_are_not_utf8_are_left_out);
	tcase_add_test(t, damaged_headers_are_refused);
	tcase_add_test(t, marker_batches_are_known);
	suite_add_tcase(s, t);
	return s;
}
