#include <string.h>

#include "gateway/amqp/filter.h"
#include "test/unit/amqp_front/suites.h"

static enum err parse(const char *text, struct core_start *out)
{
	struct err_detail d = {""};
	enum err e = amqp_filter_parse(span_str(text), out, &d);
	ck_assert(e == ERR_OK || d.text[0] != '\0');
	return e;
}

/* What the SDKs send. */
static const struct {
	const char *text;
	enum core_from from;
	bool inclusive;
	int64_t number;
	const char *offset;
} good[] = {
	{"amqp.annotation.x-opt-offset > '-1'", CORE_EARLIEST, false, 0, NULL},
	{"amqp.annotation.x-opt-offset > -1", CORE_EARLIEST, false, 0, NULL},
	{"amqp.annotation.x-opt-offset > '@latest'", CORE_LATEST, false, 0, NULL},
	{"amqp.annotation.x-opt-offset > @latest", CORE_LATEST, false, 0, NULL},
	{"amqp.annotation.x-opt-offset >= '123'", CORE_OFFSET, true, 0, "123"},
	{"amqp.annotation.x-opt-offset >= 4567", CORE_OFFSET, true, 0, "4567"},
	{"amqp.annotation.x-opt-offset > 'opaque:1:2'", CORE_OFFSET, false, 0, "opaque:1:2"},
	{"amqp.annotation.x-opt-sequence-number > '42'", CORE_SEQUENCE, false, 42, NULL},
	{"amqp.annotation.x-opt-sequence-number >'42'", CORE_SEQUENCE, false, 42, NULL},
	{"amqp.annotation.x-opt-sequence-number >='42'", CORE_SEQUENCE, true, 42, NULL},
	{"amqp.annotation.x-opt-sequence-number >= 0", CORE_SEQUENCE, true, 0, NULL},
	{"amqp.annotation.x-opt-sequence-number>-1", CORE_SEQUENCE, false, -1, NULL},
	{"amqp.annotation.x-opt-sequence-number > '9223372036854775807'", CORE_SEQUENCE, false,
	 INT64_MAX, NULL},
	{"amqp.annotation.x-opt-enqueued-time > '1700000000000'", CORE_TIME, false, 1700000000000, NULL},
	{"amqp.annotation.x-opt-enqueuedtimeutc > 1700000000000", CORE_TIME, false, 1700000000000, NULL},
	{"  amqp.annotation.x-opt-offset  >=  '7'  ", CORE_OFFSET, true, 0, "7"},
};

START_TEST(selector_of_every_sdk_is_read)
{
	struct core_start s;
	ck_assert_int_eq(parse(good[_i].text, &s), ERR_OK);
	ck_assert_int_eq(s.from, good[_i].from);
	if (s.from != CORE_EARLIEST && s.from != CORE_LATEST) {
		ck_assert_int_eq(s.inclusive, good[_i].inclusive);
	}
	if (s.from == CORE_SEQUENCE) {
		ck_assert_int_eq(s.sequence, good[_i].number);
	} else if (s.from == CORE_TIME) {
		ck_assert_int_eq(s.time_ms, good[_i].number);
	} else if (s.from == CORE_OFFSET) {
		ck_assert_str_eq(s.offset, good[_i].offset);
	}
}
END_TEST

static const char *const wrong[] = {
	"",
	" ",
	"x-opt-offset > '1'",
	"amqp.annotation.",
	"amqp.annotation.x-opt-offset",
	"amqp.annotation.x-opt-offset >",
	"amqp.annotation.x-opt-offset > ''",
	"amqp.annotation.x-opt-offset > '1",
	"amqp.annotation.x-opt-offset > 1'",
	"amqp.annotation.x-opt-offset > '",
	"amqp.annotation.x-opt-offset > 'a'b'",
	"amqp.annotation.x-opt-offset < '1'",
	"amqp.annotation.x-opt-offset = '1'",
	"amqp.annotation.x-opt-offset => '1'",
	"amqp.annotation.x-opt-other > '1'",
	"amqp.annotation.x-opt-sequence-number > 'abc'",
	"amqp.annotation.x-opt-sequence-number > '-'",
	"amqp.annotation.x-opt-sequence-number > '1.5'",
	"amqp.annotation.x-opt-sequence-number > '9223372036854775808'",
	"amqp.annotation.x-opt-sequence-number > '99999999999999999999'",
	"amqp.annotation.x-opt-enqueued-time > '@latest'",
	"amqp.annotation.x-opt-offset > '12345678901234567890123456789012'",	/* 32: one too many */
};

START_TEST(selector_that_is_malformed_is_refused)
{
	struct core_start s;
	ck_assert_int_eq(parse(wrong[_i], &s), ERR_INVALID);
}
END_TEST

START_TEST(offset_of_the_longest_length_is_read)
{
	struct core_start s;
	ck_assert_int_eq(parse("amqp.annotation.x-opt-offset > '1234567890123456789012345678901'", &s),
			 ERR_OK);
	ck_assert_uint_eq(strlen(s.offset), 31);
}
END_TEST

START_TEST(offset_with_a_nul_byte_is_refused)
{
	static const char text[] = "amqp.annotation.x-opt-offset > '1\0002'";
	struct core_start s;
	struct err_detail d = {""};
	ck_assert_int_eq(amqp_filter_parse(span_of(text, sizeof text - 1), &s, &d), ERR_INVALID);
}
END_TEST

Suite *filter_suite(void)
{
	Suite *s = suite_create("filter");
	TCase *t = tcase_create("parse");
	tcase_add_loop_test(t, selector_of_every_sdk_is_read, 0, sizeof good / sizeof *good);
	tcase_add_loop_test(t, selector_that_is_malformed_is_refused, 0, sizeof wrong / sizeof *wrong);
	tcase_add_test(t, offset_of_the_longest_length_is_read);
	tcase_add_test(t, offset_with_a_nul_byte_is_refused);
	suite_add_tcase(s, t);
	return s;
}
