#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cli/client.h"
#include "gateway/cli/event_json.h"

static struct str message;
static struct cli_event event;

static void teardown(void)
{
	str_fini(&message);
	cli_event_fini(&event);
}

static void put_annotations(void)
{
	amqp_put_descriptor(&message, AMQP_MESSAGE_ANNOTATIONS);
	size_t map = amqp_begin_map(&message);
	amqp_put_symbol(&message, span_str("x-opt-sequence-number"));
	amqp_put_long(&message, 7);
	amqp_put_symbol(&message, span_str("x-opt-offset"));
	amqp_put_string(&message, span_str("70"));
	amqp_put_symbol(&message, span_str("x-opt-enqueued-time"));
	amqp_put_timestamp(&message, 1700000000123);
	amqp_put_symbol(&message, span_str("x-opt-partition-key"));
	amqp_put_string(&message, span_str("pk"));
	amqp_end(&message, map, 8);
}

static void check_json(const char *golden)
{
	json_t *o = cli_event_json(&event, 3);
	char *text = json_dumps(o, JSON_COMPACT);
	ck_assert_str_eq(text, golden);
	free(text);
	json_decref(o);
}

START_TEST(whole_event_becomes_one_object)
{
	struct cli_property p[] = {{"a", "1"}, {"b", "x"}};
	put_annotations();
	cli_event_encode(&message, span_str("body"), NULL, p, 2);
	ck_assert_int_eq(cli_event_read(span_of(message.p, message.len), &event), ERR_OK);
	ck_assert_int_eq(event.sequence, 7);
	check_json("{\"partition\":3,\"sequenceNumber\":7,\"offset\":\"70\",\"enqueuedTime\":"
		   "\"2023-11-14T22:13:20.123Z\",\"partitionKey\":\"pk\",\"properties\":{\"a\":\"1\","
		   "\"b\":\"x\"},\"body\":\"body\"}");
}
END_TEST

START_TEST(bytes_that_are_not_text_become_base64)
{
	static const uint8_t bytes[] = {0xff, 0x00, 0x80};
	cli_event_encode(&message, span_of(bytes, sizeof bytes), NULL, NULL, 0);
	ck_assert_int_eq(cli_event_read(span_of(message.p, message.len), &event), ERR_OK);
	check_json("{\"partition\":3,\"sequenceNumber\":-1,\"offset\":\"\",\"enqueuedTime\":"
		   "\"1970-01-01T00:00:00.000Z\",\"partitionKey\":null,\"properties\":{},"
		   "\"bodyBase64\":\"/wCA\"}");
}
END_TEST

START_TEST(several_data_sections_are_joined)
{
	cli_event_encode(&message, span_str("ab"), NULL, NULL, 0);
	cli_event_encode(&message, span_str("cd"), NULL, NULL, 0);
	ck_assert_int_eq(cli_event_read(span_of(message.p, message.len), &event), ERR_OK);
	ck_assert_uint_eq(event.body.len, 4);
	ck_assert_mem_eq(event.body.p, "abcd", 4);
}
END_TEST

START_TEST(value_bodies_keep_their_type)
{
	amqp_put_descriptor(&message, AMQP_AMQP_VALUE);
	size_t map = amqp_begin_map(&message);
	amqp_put_string(&message, span_str("n"));
	amqp_put_int(&message, -5);
	amqp_put_string(&message, span_str("l"));
	size_t list = amqp_begin_list(&message);
	amqp_put_bool(&message, true);
	amqp_put_null(&message);
	amqp_put_double(&message, 1.5);
	amqp_end(&message, list, 3);
	amqp_end(&message, map, 4);
	ck_assert_int_eq(cli_event_read(span_of(message.p, message.len), &event), ERR_OK);
	ck_assert_uint_eq(event.body.len, strlen("{\"n\":-5,\"l\":[true,null,1.5]}"));
	ck_assert_mem_eq(event.body.p, "{\"n\":-5,\"l\":[true,null,1.5]}", event.body.len);
}
END_TEST

START_TEST(every_cut_is_survived)
{
	struct cli_property p[] = {{"a", "1"}};
	put_annotations();
	cli_event_encode(&message, span_str("body"), "k", p, 1);
	for (size_t n = 0; n < message.len; n++) {
		enum err e = cli_event_read(span_of(message.p, n), &event);
		ck_assert(e == ERR_OK || e == ERR_DECODE);
	}
}
END_TEST

Suite *event_json_suite(void);
Suite *event_json_suite(void)
{
	Suite *s = suite_create("event_json");
	TCase *t = tcase_create("all");
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, whole_event_becomes_one_object);
	tcase_add_test(t, bytes_that_are_not_text_become_base64);
	tcase_add_test(t, several_data_sections_are_joined);
	tcase_add_test(t, value_bodies_keep_their_type);
	tcase_add_test(t, every_cut_is_survived);
	suite_add_tcase(s, t);
	return s;
}
