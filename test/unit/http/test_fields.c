#include "gateway/http/fields.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "gateway/http/wire.h"
#include "test/unit/http/suites.h"

static const struct {
	const char *name;
	bool is_property;
} names[] = {
	{"Priority-Level", true}, {"device", true}, {"traceparent", true}, {"X-Custom", true},
	{"x-msg", true}, {"ifx", true},
	{"Authorization", false}, {"HOST", false}, {"Content-Type", false}, {"content-foo", false},
	{"BrokerProperties", false}, {"x-ms-retrypolicy", false}, {"X-MS-", false},
	{"If-None-Match", false}, {"X-Forwarded-For", false}, {"User-Agent", false}, {"TE", false},
	{"", false},
};

START_TEST(standard_headers_are_no_properties)
{
	ck_assert_int_eq(http_field_is_property(span_str(names[_i].name)), names[_i].is_property);
}
END_TEST

static const char *const values[][2] = {
	{"plain", "plain"}, {"\"quoted\"", "quoted"}, {"\"\"", ""}, {"\"", "\""}, {"\"a", "\"a"},
	{"a\"", "a\""}, {"\"\"a\"\"", "\"a\""}, {"", ""},
};

START_TEST(one_pair_of_quotes_is_taken_off)
{
	struct span v = http_field_value(span_str(values[_i][0]));
	ck_assert(span_eq_str(v, values[_i][1]));
}
END_TEST

START_TEST(media_type_ignores_case_and_parameters)
{
	ck_assert(http_media_is("application/json", "application/json"));
	ck_assert(http_media_is(" Application/JSON; charset=utf-8", "application/json"));
	ck_assert(http_media_is("application/json;x", "application/json"));
	ck_assert(!http_media_is("application/jsonx", "application/json"));
	ck_assert(!http_media_is("application", "application/json"));
	ck_assert(!http_media_is(NULL, "application/json"));
}
END_TEST

/* Reads sections back by putting a body behind them. */
static struct amqp_message read_back(struct span sections, struct str *message)
{
	struct amqp_message m;
	message->len = 0;
	str_addn(message, sections.p, sections.n);
	amqp_put_descriptor(message, AMQP_DATA);
	amqp_put_binary(message, span_str("x"));
	ck_assert_int_eq(amqp_message_read(span_of(message->p, message->len), &m, NULL), ERR_OK);
	return m;
}

static struct amqp_value map_of(struct span section)
{
	struct rd r = rd_of(section);
	struct amqp_value v = amqp_read(&r);
	ck_assert_int_eq(v.type, AMQP_DESCRIBED);
	r = rd_of(v.described);
	return amqp_read(&r);
}

START_TEST(content_type_is_kept_but_for_atom)
{
	static const char *const types[] = {"text/plain", "application/atom+xml;type=entry", "", NULL};
	struct http_sections s = {0};
	struct str message = {0};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		struct span sections;
		http_sections_begin(&s, types[i]);
		ck_assert_int_eq(http_sections_end(&s, &sections), ERR_OK);
		struct amqp_message m = read_back(sections, &message);
		ck_assert_int_eq(m.properties.n > 0, i == 0);
		ck_assert_uint_eq(m.application_properties.n, 0);
		if (i == 0) {
			struct amqp_value list = map_of(m.properties);
			ck_assert_uint_eq(list.count, 7);
			struct rd r = rd_of(list.data);
			for (int before = 0; before < 6; before++) {
				ck_assert_int_eq(amqp_read(&r).type, AMQP_NULL);
			}
			struct amqp_value type = amqp_read(&r);
			ck_assert_int_eq(type.type, AMQP_SYMBOL);
			ck_assert(span_eq_str(type.data, "text/plain"));
		}
	}
	http_sections_fini(&s);
	str_fini(&message);
}
END_TEST

START_TEST(json_properties_are_typed)
{
	static const char *const json[] = {"\"t\"", "1", "-2147483648", "2147483648", "1.5",
					   "9223372036854775808", "true", "false", "null"};
	static const enum amqp_type types[] = {AMQP_STRING, AMQP_INT, AMQP_INT, AMQP_LONG,
					       AMQP_DOUBLE, AMQP_DOUBLE, AMQP_BOOL, AMQP_BOOL,
					       AMQP_NULL};
	enum { N = sizeof types / sizeof *types };
	struct http_sections s = {0};
	struct str message = {0};
	struct str scratch = {0};
	struct span sections;
	http_sections_begin(&s, NULL);
	for (size_t i = 0; i < N; i++) {
		struct http_json j;
		char name = (char)('a' + i);
		http_json_init(&j, span_str(json[i]), NULL);
		http_sections_add_json(&s, span_of(&name, 1), &j, &scratch);
		ck_assert_int_eq(http_json_end(&j), ERR_OK);
	}
	ck_assert_int_eq(http_sections_end(&s, &sections), ERR_OK);
	struct amqp_value map = map_of(read_back(sections, &message).application_properties);
	ck_assert_uint_eq(map.count, 2 * N);
	for (size_t i = 0; i < N; i++) {
		char name[2] = {(char)('a' + i), '\0'};
		struct amqp_value v;
		ck_assert(amqp_map_find(&map, name, &v));
		ck_assert_int_eq(v.type, types[i]);
	}
	http_sections_fini(&s);
	str_fini(&message);
	str_fini(&scratch);
}
END_TEST

START_TEST(bad_properties_are_refused)
{
	struct http_sections s = {0};
	struct err_detail d;
	http_sections_begin(&s, NULL);
	ck_assert_int_eq(http_sections_add_string(&s, span_str("a"), span_str("1"), &d), ERR_OK);
	ck_assert_int_eq(http_sections_add_string(&s, span_str("a"), span_str("2"), &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "property 'a' is given twice");
	ck_assert_int_eq(http_sections_add_string(&s, span_str("b"), span_str("\xff"), &d),
			 ERR_INVALID);
	ck_assert_int_eq(http_sections_add_string(&s, span_str("\xff"), span_str("b"), &d),
			 ERR_INVALID);
	http_sections_fini(&s);
}
END_TEST

START_TEST(number_of_properties_is_bounded)
{
	struct http_sections s = {0};
	http_sections_begin(&s, NULL);
	for (int i = 0; i <= HTTP_PROPERTIES_MAX; i++) {
		char name[16];
		snprintf(name, sizeof name, "p%d", i);
		ck_assert_int_eq(http_sections_add_string(&s, span_str(name), span_str("v"), NULL),
				 i < HTTP_PROPERTIES_MAX ? ERR_OK : ERR_INVALID);
	}
	http_sections_fini(&s);
}
END_TEST

static const struct {
	const char *text;
	enum err err;
	const char *key;
} broker[] = {
	{"{\"PartitionKey\":\"k\"}", ERR_OK, "k"},
	{"{\"PartitionKey\":null}", ERR_OK, ""},
	{"{\"Other\":[1,{\"PartitionKey\":\"no\"}],\"PartitionKey\":\"k\"}", ERR_OK, "k"},
	{"{}", ERR_OK, ""},
	{"null", ERR_OK, ""},
	{"{\"PartitionKey\":1}", ERR_INVALID, NULL},
	{"[]", ERR_INVALID, NULL},
	{"", ERR_INVALID, NULL},
	{"{\"PartitionKey\":\"k\"} x", ERR_INVALID, NULL},
	{"PartitionKey=k", ERR_INVALID, NULL},
};

START_TEST(broker_properties_give_the_key)
{
	struct str key = {0};
	struct err_detail d = {""};
	ck_assert_int_eq(http_broker_header(broker[_i].text, &key, &d), broker[_i].err);
	if (broker[_i].err == ERR_OK) {
		ck_assert(span_eq_str(span_of(key.p, key.len), broker[_i].key));
	} else {
		ck_assert_int_eq(strncmp(d.text, "BrokerProperties: ", 18), 0);
	}
	str_fini(&key);
}
END_TEST

START_TEST(partition_key_length_is_bounded)
{
	for (int n = LIMIT_PARTITION_KEY; n <= LIMIT_PARTITION_KEY + 1; n++) {
		struct str text = {0};
		struct str key = {0};
		str_add(&text, "{\"PartitionKey\":\"");
		for (int i = 0; i < n; i++) {
			str_add(&text, "\xc3\xa4");
		}
		str_add(&text, "\"}");
		ck_assert_int_eq(http_broker_header(text.p, &key, NULL),
				 n <= LIMIT_PARTITION_KEY ? ERR_OK : ERR_INVALID);
		str_fini(&text);
		str_fini(&key);
	}
}
END_TEST

Suite *fields_suite(void)
{
	Suite *s = suite_create("fields");
	TCase *t = tcase_create("fields");
	tcase_add_loop_test(t, standard_headers_are_no_properties, 0, sizeof names / sizeof *names);
	tcase_add_loop_test(t, one_pair_of_quotes_is_taken_off, 0, sizeof values / sizeof *values);
	tcase_add_test(t, media_type_ignores_case_and_parameters);
	tcase_add_test(t, content_type_is_kept_but_for_atom);
	tcase_add_test(t, json_properties_are_typed);
	tcase_add_test(t, bad_properties_are_refused);
	tcase_add_test(t, number_of_properties_is_bounded);
	tcase_add_loop_test(t, broker_properties_give_the_key, 0, sizeof broker / sizeof *broker);
	tcase_add_test(t, partition_key_length_is_bounded);
	suite_add_tcase(s, t);
	return s;
}
