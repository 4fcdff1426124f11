#include "gateway/wire/event.h"

#include "base/mem.h"
#include "test/unit/amqp/golden.h"
#include "test/unit/amqp/wire_help.h"

Suite *event_out_suite(void);

static const struct amqp_outbound plain = {
	.sequence = 300,
	.enqueued_ms = 1700000000000,
};

/* The broker's annotations of `plain`: sequence 300, offset "300", the time. */
#define BROKER "a315782d6f70742d73657175656e63652d6e756d626572 81000000000000012c" \
	"a30c782d6f70742d6f6666736574 a103333030" \
	"a313782d6f70742d656e7175657565642d74696d65 830000018bcfe56800"

static void check_written(const char *value, const struct amqp_outbound *o, const char *want)
{
	struct span in = hex(value);
	struct str out = {.max = 0};
	ck_assert_int_eq(amqp_outbound_write(in, o, &out), ERR_OK);
	check_hex(str_span(&out), want);
	struct amqp_message m;
	ck_assert_int_eq(amqp_message_read(str_span(&out), &m, NULL), ERR_OK);
	str_fini(&out);
	bytes_free(in);
}

START_TEST(annotations_stand_behind_the_header)
{
	check_written("00537045 00537345 005375a00161", &plain,
		      "00537045 005372d1 00000055 00000006" BROKER "00537345 005375a00161");
	check_written("005375a00161", &plain, "005372d1 00000055 00000006" BROKER "005375a00161");
	check_written("", &plain, "005372d1 00000055 00000006" BROKER);
}
END_TEST

START_TEST(own_annotations_follow)
{
	check_written("005372c10e04 a3046d696e655401 5305a3016f 00537540", &plain,
		      "005372d1 00000062 0000000a" BROKER "a3046d696e655401 5305a3016f 00537540");
	check_written("005372d10000000900000002 a1016b 5401 00537540", &plain,
		      "005372d1 0000005a 00000008" BROKER "a1016b 5401 00537540");
	check_written("00537240 00537540", &plain, "005372d1 00000055 00000006" BROKER "00537540");
	check_written("005372c10100 00537540", &plain,
		      "005372d1 00000055 00000006" BROKER "00537540");
}
END_TEST

START_TEST(key_and_publisher_are_given)
{
	struct amqp_outbound o = plain;
	o.partition_key = span_str("pk");
	o.publisher = span_str("dev");
	check_written("00537540", &o,
		      "005372d1 00000089 0000000a" BROKER
		      "a313782d6f70742d706172746974696f6e2d6b6579 a102706b"
		      "a314782d6f70742d7075626c69736865722d6e616d65 a103646576 00537540");
}
END_TEST

START_TEST(runtime_metric_is_four_delivery_annotations)
{
	struct amqp_outbound o = plain;
	o.runtime_metric = true;
	o.last_sequence = 301;
	o.last_enqueued_ms = 1700000000001;
	o.retrieved_ms = 1700000000002;
	check_written("00537045 00537540", &o,
		      "00537045 005371d1 00000092 00000008"
		      "a31d6c6173745f656e7175657565645f73657175656e63655f6e756d626572"
		      "81000000000000012d"
		      "a3146c6173745f656e7175657565645f6f6666736574 a103333031"
		      "a3166c6173745f656e7175657565645f74696d655f757463 830000018bcfe56801"
		      "a31f72756e74696d655f696e666f5f72657472696576616c5f74696d655f757463"
		      "830000018bcfe56802"
		      "005372d1 00000055 00000006" BROKER "00537540");
}
END_TEST

static struct amqp_value annotation(struct span message, const char *name)
{
	struct amqp_message m;
	struct amqp_value v = {.type = AMQP_NULL};
	ck_assert_int_eq(amqp_message_read(message, &m, NULL), ERR_OK);
	struct rd r = rd_of(span_of(m.message_annotations.p + 3, m.message_annotations.n - 3));
	struct amqp_value map = amqp_read(&r);
	ck_assert(!r.bad);
	ck_assert(amqp_map_find(&map, name, &v));
	return v;
}

START_TEST(numbers_of_every_size_are_given)
{
	static const struct {
		int64_t n;
		const char *text;
	} rows[] = {
		{0, "0"}, {-1, "-1"}, {127, "127"}, {128, "128"}, {9, "9"}, {10, "10"},
		{INT64_MAX, "9223372036854775807"}, {INT64_MIN, "-9223372036854775808"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct amqp_outbound o = plain;
		struct str out = {.max = 0};
		o.sequence = rows[i].n;
		o.last_sequence = rows[i].n;
		o.runtime_metric = true;
		ck_assert_int_eq(amqp_outbound_write((struct span){NULL, 0}, &o, &out), ERR_OK);
		struct amqp_value v = annotation(str_span(&out), "x-opt-sequence-number");
		ck_assert_int_eq(v.type, AMQP_LONG);
		ck_assert_int_eq(v.i, rows[i].n);
		v = annotation(str_span(&out), "x-opt-offset");
		ck_assert_int_eq(v.type, AMQP_STRING);
		ck_assert(span_eq_str(v.data, rows[i].text));
		v = annotation(str_span(&out), "x-opt-enqueued-time");
		ck_assert_int_eq(v.type, AMQP_TIMESTAMP);
		str_fini(&out);
	}
}
END_TEST

/* What came in goes out, less delivery annotations and reserved annotations. */
START_TEST(message_survives_the_round)
{
	struct span in = hex(_i == 0 ? golden_rhea_all : golden_proton_all);
	struct amqp_inbound made;
	ck_assert_int_eq(amqp_inbound_make(in, AMQP_FORMAT_PLAIN, (struct span){NULL, 0}, &made, NULL),
			 ERR_OK);
	struct batch_iter it;
	struct batch_record rec;
	ck_assert_int_eq(batch_iter_init(&it, span_of(made.batch->data, made.batch_len)), ERR_OK);
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
	struct str out = {.max = 0};
	ck_assert_int_eq(amqp_outbound_write(rec.value, &plain, &out), ERR_OK);
	struct amqp_message before, after;
	ck_assert_int_eq(amqp_message_read(in, &before, NULL), ERR_OK);
	ck_assert_int_eq(amqp_message_read(str_span(&out), &after, NULL), ERR_OK);
	check_bytes(after.header, before.header);
	check_bytes(after.properties, before.properties);
	check_bytes(after.application_properties, before.application_properties);
	check_bytes(after.body, before.body);
	check_bytes(after.footer, before.footer);
	ck_assert_uint_eq(after.delivery_annotations.n, 0);
	ck_assert_int_eq(annotation(str_span(&out), "x-opt-sequence-number").i, 300);
	str_fini(&out);
	buf_drop(&made.batch);
	bytes_free(in);
}
END_TEST

static const char *const corrupt[] = {
	"40", "00", "005375", "005375a0ff", "00537045 00537045",
	"005371c10100",				/* delivery annotations are never stored */
	"005372c1020240",			/* count too high */
	"005372c1030340 40", "005372c1040240 4040", "005372c100",
};

START_TEST(value_of_another_kind_is_corrupt)
{
	struct span in = hex(corrupt[_i]);
	struct str out = {.max = 0};
	ck_assert_int_eq(amqp_outbound_write(in, &plain, &out), ERR_CORRUPT);
	ck_assert_uint_eq(out.len, 0);
	str_fini(&out);
	bytes_free(in);
}
END_TEST

START_TEST(writing_without_memory_fails)
{
	struct span in = hex(golden_proton_value);
	struct amqp_outbound o = plain;
	o.runtime_metric = true;
	o.partition_key = span_str("pk");
	for (long n = 1;; n++) {
		struct str out = {.max = 0};
		mem_fault_at(n);
		enum err e = amqp_outbound_write(in, &o, &out);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		str_fini(&out);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		if (!fired) {
			break;
		}
	}
	bytes_free(in);
}
END_TEST

Suite *event_out_suite(void)
{
	Suite *s = suite_create("amqp event out");
	TCase *t = tcase_create("event out");
	tcase_add_test(t, annotations_stand_behind_the_header);
	tcase_add_test(t, own_annotations_follow);
	tcase_add_test(t, key_and_publisher_are_given);
	tcase_add_test(t, runtime_metric_is_four_delivery_annotations);
	tcase_add_test(t, numbers_of_every_size_are_given);
	tcase_add_loop_test(t, message_survives_the_round, 0, 2);
	tcase_add_loop_test(t, value_of_another_kind_is_corrupt, 0, sizeof corrupt / sizeof corrupt[0]);
	tcase_add_test(t, writing_without_memory_fails);
	suite_add_tcase(s, t);
	return s;
}
