#include "gateway/http/batch_json.h"

#include <stdio.h>

#include "base/batch.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gateway/http/wire.h"
#include "test/unit/http/suites.h"

static const struct span none = {NULL, 0};

static enum err parse(const char *text, struct http_events *out, struct err_detail *d)
{
	return http_events_batch(span_str(text), none, out, d);
}

/* The data section's content of event number `at`. */
static struct span body_at(const struct http_events *e, int at)
{
	struct batch_iter it;
	struct batch_record rec;
	struct amqp_message m;
	ck_assert_int_eq(batch_iter_init(&it, span_of(e->batch->data, e->batch_len)), ERR_OK);
	for (int i = 0; i <= at; i++) {
		ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
	}
	ck_assert_int_eq(amqp_message_read(rec.value, &m, NULL), ERR_OK);
	ck_assert_int_eq(m.body_kind, AMQP_DATA);
	struct rd r = rd_of(m.body);
	struct amqp_value v = amqp_read(&r);
	r = rd_of(v.described);
	return amqp_read(&r).data;
}

static struct span key_of(const struct http_events *e)
{
	return span_of(e->batch->data + e->batch_len, e->key_len);
}

START_TEST(bodies_become_events)
{
	struct http_events e;
	static const char *const bodies[] = {"text", "\xc3\xa4\"", "{\"a\":[1,\"b c\"]}", "1.50", "null",
					     "true", "", "bytes", "[]"};
	enum { N = sizeof bodies / sizeof *bodies };
	ck_assert_int_eq(parse("[{\"Body\":\"text\"},"
			       "{\"Body\":\"\\u00e4\\\"\"},"
			       "{\"Body\": { \"a\" : [1, \"b c\"] } },"
			       "{\"Body\":1.50},{\"Body\":null},{\"Body\":true},{\"Body\":\"\"},"
			       "{\"IsBodyBase64\":true,\"Body\":\"Ynl0ZXM=\"},"
			       "{\"Body\":[ ],\"Extra\":{\"x\":[1]},\"IsBodyBase64\":false}]",
			       &e, NULL),
			 ERR_OK);
	ck_assert_uint_eq(e.events, N);
	ck_assert_uint_eq(e.key_len, 0);
	for (int i = 0; i < N; i++) {
		ck_assert_msg(span_eq_str(body_at(&e, i), bodies[i]), "event %d", i);
	}
	buf_drop(&e.batch);
}
END_TEST

START_TEST(common_key_is_kept_behind_the_batch)
{
	struct http_events e;
	ck_assert_int_eq(parse("[{\"Body\":\"a\",\"BrokerProperties\":{\"PartitionKey\":\"k1\"}},"
			       "{\"BrokerProperties\":{\"PartitionKey\":\"k1\"},\"Body\":\"b\"}]",
			       &e, NULL),
			 ERR_OK);
	ck_assert(span_eq_str(key_of(&e), "k1"));
	ck_assert_uint_eq(e.batch->len, e.batch_len + 2);
	buf_drop(&e.batch);
}
END_TEST

START_TEST(forced_key_wins)
{
	struct http_events e;
	ck_assert_int_eq(
		http_events_batch(span_str("[{\"Body\":1,\"BrokerProperties\":{\"PartitionKey\":\"a\"}},"
					   "{\"Body\":2,\"BrokerProperties\":{\"PartitionKey\":\"b\"}}]"),
				  span_str("device-7"), &e, NULL),
		ERR_OK);
	ck_assert(span_eq_str(key_of(&e), "device-7"));
	buf_drop(&e.batch);
}
END_TEST

static const struct {
	const char *text;
	const char *says;	/* somewhere in the detail */
} refused[] = {
	{"[]", "the batch is empty"},
	{"", "JSON line 1 column 1"},
	{"{\"Body\":1}", "a batch is an array"},
	{"[1]", "item 0 is not an object"},
	{"[{\"Body\":1},{\"body\":1}]", "item 1 has no Body"},
	{"[{\"Body\":1},\n{\"Body\":}]", "JSON line 2 column 9"},
	{"[{\"Body\":1}", "',' or ']'"},
	{"[{\"Body\":1}] x", "something follows"},
	{"[{\"Body\":1,\"IsBodyBase64\":true}]", "item 0: IsBodyBase64 needs"},
	{"[{\"Body\":\"!\",\"IsBodyBase64\":true}]", "item 0: the Body is not base64"},
	{"[{\"Body\":1,\"IsBodyBase64\":1}]", "true or false"},
	{"[{\"Body\":1,\"UserProperties\":{\"a\":[1]}}]", "a property is a string"},
	{"[{\"Body\":1,\"UserProperties\":{\"a\":1,\"a\":2}}]", "property 'a' is given twice"},
	{"[{\"Body\":1,\"UserProperties\":[]}]", "UserProperties is an object"},
	{"[{\"Body\":1,\"BrokerProperties\":[]}]", "BrokerProperties is an object"},
	{"[{\"Body\":1,\"BrokerProperties\":{\"PartitionKey\":\"a\"}},"
	 "{\"Body\":1,\"BrokerProperties\":{\"PartitionKey\":\"b\"}}]",
	 "item 1 has another partition key"},
	{"[{\"Body\":1,\"BrokerProperties\":{\"PartitionKey\":\"a\"}},{\"Body\":1}]",
	 "item 1 has another partition key"},
	{"[{\"Body\":1},{\"Body\":1,\"BrokerProperties\":{\"PartitionKey\":\"a\"}}]",
	 "item 1 has another partition key"},
};

START_TEST(bad_batch_is_refused_with_a_reason)
{
	struct http_events e;
	struct err_detail d = {""};
	ck_assert_int_eq(parse(refused[_i].text, &e, &d), ERR_INVALID);
	ck_assert_msg(strstr(d.text, refused[_i].says) != NULL, "%s", d.text);
	ck_assert_ptr_null(e.batch);
}
END_TEST

START_TEST(batch_that_encodes_too_large_is_refused)
{
	/* 14 bytes of JSON are a record of some 20. */
	enum { ITEMS = 150000 };
	struct str text = {0};
	struct http_events e;
	struct err_detail d;
	str_add(&text, "[{\"Body\":null}");
	for (int i = 1; i < ITEMS; i++) {
		str_add(&text, ",{\"Body\":null}");
	}
	str_add(&text, "]");
	ck_assert_int_eq(http_events_batch(span_of(text.p, text.len), none, &e, &d), ERR_TOO_LARGE);
	str_fini(&text);
}
END_TEST

START_TEST(single_event_keeps_its_bytes)
{
	struct http_events e;
	static const uint8_t bytes[] = {0, 1, 0xff, '{'};
	ck_assert_int_eq(http_events_single(span_of(bytes, sizeof bytes), none, span_str("key"), &e, NULL),
			 ERR_OK);
	ck_assert_uint_eq(e.events, 1);
	ck_assert(span_eq(body_at(&e, 0), span_of(bytes, sizeof bytes)));
	ck_assert(span_eq_str(key_of(&e), "key"));
	buf_drop(&e.batch);
	ck_assert_int_eq(http_events_single(none, none, none, &e, NULL), ERR_OK);
	ck_assert_uint_eq(body_at(&e, 0).n, 0);
	buf_drop(&e.batch);
}
END_TEST

START_TEST(largest_body_fits)
{
	struct http_events e;
	uint8_t *bytes = mem_calloc(1, LIMIT_MESSAGE);
	ck_assert_int_eq(http_events_single(span_of(bytes, LIMIT_MESSAGE), none, none, &e, NULL), ERR_OK);
	ck_assert_uint_eq(body_at(&e, 0).n, LIMIT_MESSAGE);
	buf_drop(&e.batch);
	mem_free(bytes);
}
END_TEST

START_TEST(each_failed_allocation_is_reported)
{
	static const char text[] =
		"[{\"Body\":\"a\",\"BrokerProperties\":{\"PartitionKey\":\"k\"},"
		"\"UserProperties\":{\"p\":\"v\",\"q\":1}},"
		"{\"Body\":\"YQ==\",\"IsBodyBase64\":true,\"BrokerProperties\":{\"PartitionKey\":\"k\"}},"
		"{\"Body\":{\"a\":1},\"BrokerProperties\":{\"PartitionKey\":\"k\"}}]";
	enum err e = ERR_NOMEM;
	long n = 1;
	for (; e != ERR_OK; n++) {
		struct http_events out;
		mem_fault_at(n);
		e = parse(text, &out, NULL);
		mem_fault_at(0);
		ck_assert_msg(e == ERR_OK || e == ERR_NOMEM, "allocation %ld: %s", n, err_text(e));
		if (e == ERR_OK) {
			ck_assert_uint_eq(out.events, 3);
			buf_drop(&out.batch);
		}
	}
	ck_assert_int_gt(n, 6);
}
END_TEST

Suite *batch_json_suite(void)
{
	Suite *s = suite_create("batch_json");
	TCase *t = tcase_create("batch_json");
	tcase_add_test(t, bodies_become_events);
	tcase_add_test(t, common_key_is_kept_behind_the_batch);
	tcase_add_test(t, forced_key_wins);
	tcase_add_loop_test(t, bad_batch_is_refused_with_a_reason, 0, sizeof refused / sizeof *refused);
	tcase_add_test(t, batch_that_encodes_too_large_is_refused);
	tcase_add_test(t, single_event_keeps_its_bytes);
	tcase_add_test(t, largest_body_fits);
	tcase_add_test(t, each_failed_allocation_is_reported);
	suite_add_tcase(s, t);
	return s;
}
