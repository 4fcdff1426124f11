#include "throttle/throttle.h"

#include <check.h>
#include <stddef.h>

Suite *throttle_suite(void);

static const struct throttle_request requests[] = {
	{THROTTLE_IN, 0, 0},
	{THROTTLE_IN, 1 << 20, 1000},
	{THROTTLE_IN, UINT64_MAX, UINT32_MAX},
	{THROTTLE_OUT, 0, 0},
	{THROTTLE_OUT, 2 << 20, 1},
	{THROTTLE_OUT, UINT64_MAX, UINT32_MAX},
};

START_TEST(every_request_is_admitted)
{
	static const int64_t times_ns[] = {INT64_MIN, 0, 1, 1000000000, INT64_MAX};
	for (size_t i = 0; i < sizeof times_ns / sizeof *times_ns; i++) {
		struct throttle_decision d = throttle_admit(&requests[_i], times_ns[i]);
		ck_assert_int_eq(d.verdict, THROTTLE_ADMIT);
		ck_assert_uint_eq(d.wait_ms, 0);
	}
}
END_TEST

START_TEST(many_requests_at_one_moment_are_admitted)
{
	for (int i = 0; i < 100000; i++) {
		ck_assert_int_eq(throttle_admit(&requests[2], 5).verdict, THROTTLE_ADMIT);
	}
}
END_TEST

Suite *throttle_suite(void)
{
	Suite *s = suite_create("throttle");
	TCase *t = tcase_create("throttle");
	tcase_add_loop_test(t, every_request_is_admitted, 0,
			    (int)(sizeof requests / sizeof *requests));
	tcase_add_test(t, many_requests_at_one_moment_are_admitted);
	suite_add_tcase(s, t);
	return s;
}
