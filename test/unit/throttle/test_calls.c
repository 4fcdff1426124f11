#include <string.h>

#include "test/unit/throttle/suites.h"
#include "throttle/throttle.h"

static const int64_t second_ns = INT64_C(1000000000);

START_TEST(calls_without_limit_are_always_taken)
{
	struct throttle_calls c;
	uint32_t wait_ms;
	throttle_calls_init(&c, 0);
	for (int i = 0; i < 10000; i++) {
		ck_assert(throttle_calls_take(&c, 0, &wait_ms));
	}
}
END_TEST

START_TEST(calls_of_a_second_are_taken_at_once_and_then_the_rate)
{
	struct throttle_calls c;
	uint32_t wait_ms;
	throttle_calls_init(&c, 10);
	int64_t now_ns = 5 * second_ns;
	for (int i = 0; i < 10; i++) {
		ck_assert(throttle_calls_take(&c, now_ns, &wait_ms));
	}
	ck_assert(!throttle_calls_take(&c, now_ns, &wait_ms));
	ck_assert_uint_eq(wait_ms, 100);
	ck_assert(!throttle_calls_take(&c, now_ns + 99 * 1000000, &wait_ms));
	ck_assert_uint_eq(wait_ms, 1);
	ck_assert(throttle_calls_take(&c, now_ns + 100 * 1000000, &wait_ms));
	unsigned taken = 0;
	for (int64_t ms = 101; ms <= 10100; ms++) {
		taken += throttle_calls_take(&c, now_ns + ms * 1000000, &wait_ms) ? 1 : 0;
	}
	ck_assert_uint_eq(taken, 100);
}
END_TEST

START_TEST(calls_of_a_quiet_hour_are_not_saved_up)
{
	struct throttle_calls c;
	uint32_t wait_ms;
	throttle_calls_init(&c, 3);
	unsigned taken = 0;
	for (int i = 0; i < 10; i++) {
		taken += throttle_calls_take(&c, 0, &wait_ms) ? 1 : 0;
	}
	ck_assert_uint_eq(taken, 3);
	taken = 0;
	for (int i = 0; i < 10; i++) {
		taken += throttle_calls_take(&c, 3600 * second_ns, &wait_ms) ? 1 : 0;
	}
	ck_assert_uint_eq(taken, 3);
}
END_TEST

START_TEST(calls_limit_beyond_one_a_ns_does_not_fail)
{
	struct throttle_calls c;
	uint32_t wait_ms;
	throttle_calls_init(&c, UINT32_MAX);
	for (int i = 0; i < 1000; i++) {
		ck_assert(throttle_calls_take(&c, 7, &wait_ms));
	}
}
END_TEST

START_TEST(units_are_megabytes_and_events_each_way)
{
	struct throttle_limit l = throttle_units(3);
	ck_assert_uint_eq(l.rate[THROTTLE_IN].bytes, 3u << 20);
	ck_assert_uint_eq(l.rate[THROTTLE_IN].events, 3000);
	ck_assert_uint_eq(l.rate[THROTTLE_OUT].bytes, 6u << 20);
	ck_assert_uint_eq(l.rate[THROTTLE_OUT].events, 12288);
	l = throttle_units(0);
	ck_assert_uint_eq(l.rate[THROTTLE_IN].bytes, 0);
	ck_assert_uint_eq(l.rate[THROTTLE_OUT].events, 0);
	l = throttle_units(10000);
	ck_assert_uint_eq(l.rate[THROTTLE_OUT].bytes, UINT64_C(20000) << 20);
}
END_TEST

static const struct {
	struct throttle_reason reason;
	const char *text;
} reasons[] = {
	{{THROTTLE_NAMESPACE, THROTTLE_IN, true, false, 1000},
	 "the namespace's limit of 1000 events per second in (1 throughput unit)"},
	{{THROTTLE_HUB, THROTTLE_OUT, false, false, 4 << 20},
	 "the hub's limit of 4194304 bytes per second out (2 throughput units)"},
	{{THROTTLE_PARTITION, THROTTLE_IN, false, false, 1000},
	 "the partition's limit of 1000 bytes per second in"},
	{{THROTTLE_POLICY, THROTTLE_IN, true, false, 7}, "the policy's limit of 7 events per second in"},
	{{THROTTLE_CLIENT, THROTTLE_OUT, true, false, 7}, "the client id's limit of 7 events per second out"},
	{{THROTTLE_PUBLISHER, THROTTLE_IN, true, true, 7},
	 "the bound of what may wait for the publisher's limit"},
};

START_TEST(reason_names_scope_rate_and_units)
{
	char text[200];
	throttle_reason_text(&reasons[_i].reason, text, sizeof text);
	ck_assert_str_eq(text, reasons[_i].text);
	char small[10];
	throttle_reason_text(&reasons[_i].reason, small, sizeof small);
	ck_assert_uint_eq(strlen(small), sizeof small - 1);
}
END_TEST

Suite *calls_suite(void)
{
	Suite *s = suite_create("calls");
	TCase *t = tcase_create("calls");
	tcase_add_test(t, calls_without_limit_are_always_taken);
	tcase_add_test(t, calls_of_a_second_are_taken_at_once_and_then_the_rate);
	tcase_add_test(t, calls_of_a_quiet_hour_are_not_saved_up);
	tcase_add_test(t, calls_limit_beyond_one_a_ns_does_not_fail);
	tcase_add_test(t, units_are_megabytes_and_events_each_way);
	tcase_add_loop_test(t, reason_names_scope_rate_and_units, 0,
			    (int)(sizeof reasons / sizeof *reasons));
	suite_add_tcase(s, t);
	return s;
}
