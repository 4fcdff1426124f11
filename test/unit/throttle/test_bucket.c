#include "throttle/bucket.h"

#include "test/unit/throttle/suites.h"

#define S THROTTLE_SECOND_NS

static const struct throttle_rate unit = {1 << 20, 1000};

static bool take(struct throttle_bucket *b, uint64_t bytes, uint64_t events, int64_t now_ns)
{
	struct throttle_view v;
	unsigned dims;
	throttle_bucket_view(b, now_ns, &v);
	return throttle_bucket_take(b, &v, &(struct throttle_cost){bytes, events}, &dims);
}

static int64_t ready(struct throttle_bucket *b, uint64_t bytes, uint64_t events, int64_t now_ns)
{
	return throttle_bucket_ready(b, &(struct throttle_cost){bytes, events}, now_ns);
}

START_TEST(bucket_without_rate_takes_anything)
{
	struct throttle_bucket b = {0};
	ck_assert(take(&b, UINT64_MAX, UINT64_MAX, 0));
	ck_assert(take(&b, UINT64_MAX, UINT64_MAX, INT64_MAX));
}
END_TEST

START_TEST(bucket_begins_full_and_holds_exactly_one_second)
{
	struct throttle_bucket b = {0};
	throttle_bucket_set(&b, &unit, 5 * S);
	ck_assert(!take(&b, (1 << 20) + 1, 0, 5 * S));
	ck_assert(take(&b, 1 << 20, 0, 5 * S));
	ck_assert(!take(&b, 1, 0, 5 * S));
	ck_assert(take(&b, 0, 1000, 5 * S));
	ck_assert(!take(&b, 0, 1, 5 * S));
	ck_assert(take(&b, 0, 0, 5 * S));
	/* No more than that after a week. */
	ck_assert(take(&b, 1 << 20, 1000, 600000 * S));
	ck_assert(!take(&b, 1, 0, 600000 * S));
}
END_TEST

START_TEST(bucket_that_lacks_one_of_both_takes_neither)
{
	struct throttle_bucket b = {0};
	throttle_bucket_set(&b, &unit, 0);
	ck_assert(take(&b, 0, 1000, 0));
	ck_assert(!take(&b, 1 << 20, 1, 0));
	ck_assert(take(&b, 1 << 20, 0, 0));
}
END_TEST

START_TEST(bucket_is_ready_at_the_very_ns_that_it_says)
{
	static const struct throttle_rate rates[] = {
		{1 << 20, 1}, {3, 7}, {UINT64_C(10000) << 20, 10000000}, {THROTTLE_RATE_MAX, 1 << 26},
	};
	struct throttle_bucket b = {0};
	const struct throttle_rate *rate = &rates[_i];
	int64_t now_ns = 17;
	throttle_bucket_set(&b, rate, now_ns);
	ck_assert(take(&b, rate->bytes, rate->events, now_ns));
	for (uint64_t part = 1; part <= 64; part++) {
		uint64_t bytes = rate->bytes / part > 0 ? rate->bytes / part : 1;
		uint64_t events = rate->events / part > 0 ? rate->events / part : 1;
		int64_t at_ns = ready(&b, bytes, events, now_ns);
		ck_assert_int_gt(at_ns, now_ns);
		ck_assert(!take(&b, bytes, events, at_ns - 1));
		ck_assert_int_eq(ready(&b, bytes, events, at_ns), at_ns);
		ck_assert(take(&b, bytes, events, at_ns));
		now_ns = at_ns;
	}
}
END_TEST

START_TEST(bucket_admits_the_rate_exactly_at_tiny_costs)
{
	/* 100 bytes at 10 GB/s are 10 ns: nothing may be lost to rounding. */
	struct throttle_bucket b = {0};
	const struct throttle_rate fast = {UINT64_C(10000) << 20, 0};
	throttle_bucket_set(&b, &fast, 0);
	ck_assert(take(&b, fast.bytes, 0, 0));
	uint64_t taken = 0;
	const int64_t end_ns = 2000003;
	for (int64_t now_ns = 0; now_ns <= end_ns; now_ns += 7) {
		while (take(&b, 100, 0, now_ns)) {
			taken += 100;
		}
	}
	uint64_t allowed = (uint64_t)((throttle_wide)fast.bytes * (uint64_t)end_ns / 1000000000);
	ck_assert_uint_le(taken, allowed);
	ck_assert_uint_ge(taken + 200, allowed);
}
END_TEST

START_TEST(bucket_given_back_can_be_taken_again_but_not_saved)
{
	struct throttle_bucket b = {0};
	throttle_bucket_set(&b, &unit, 0);
	ck_assert(take(&b, 1 << 20, 1000, 0));
	throttle_bucket_give(&b, &(struct throttle_cost){500, 7}, 3);
	ck_assert(!take(&b, 501, 0, 0));
	ck_assert(take(&b, 500, 7, 0));
	throttle_bucket_give(&b, &(struct throttle_cost){1 << 20, 1000}, 3);
	ck_assert(take(&b, 1 << 20, 1000, 3 * S));
	ck_assert(!take(&b, 1, 0, 3 * S));
}
END_TEST

START_TEST(bucket_time_that_goes_back_takes_nothing_twice)
{
	struct throttle_bucket b = {0};
	throttle_bucket_set(&b, &unit, 10 * S);
	ck_assert(take(&b, 0, 1000, 10 * S));
	ck_assert(!take(&b, 0, 1, 9 * S));
	ck_assert(take(&b, 0, 500, 10 * S + S / 2));
	ck_assert(!take(&b, 0, 1, 10 * S + S / 4));
	ck_assert(!take(&b, 0, 1, 0));
	ck_assert(take(&b, 0, 500, 11 * S));
}
END_TEST

START_TEST(bucket_with_a_larger_rate_keeps_what_it_has_used)
{
	struct throttle_bucket b = {0};
	throttle_bucket_set(&b, &unit, 0);
	ck_assert(take(&b, 0, 1000, 0));
	const struct throttle_rate more = {4 << 20, 4000};
	throttle_bucket_set(&b, &more, 0);
	ck_assert(take(&b, 0, 3000, 0));
	ck_assert(!take(&b, 0, 1, 0));
	ck_assert(take(&b, 0, 2000, S / 2));
	/* A smaller one is spent, and owes nothing. */
	throttle_bucket_set(&b, &unit, S / 2);
	ck_assert(!take(&b, 0, 1, S / 2));
	ck_assert(take(&b, 0, 1, S / 2 + 1000000));
	ck_assert(!take(&b, 0, 1000, S / 2 + S));
	ck_assert(take(&b, 0, 999, S / 2 + S));
}
END_TEST

START_TEST(bucket_of_one_event_a_second_waits_a_second)
{
	struct throttle_bucket b = {0};
	const struct throttle_rate one = {0, 1};
	throttle_bucket_set(&b, &one, 3);
	ck_assert(take(&b, 1 << 30, 1, 3));
	ck_assert_int_eq(ready(&b, 0, 1, 4), S + 3);
	ck_assert(!take(&b, 0, 1, S + 2));
	ck_assert(take(&b, 0, 1, S + 3));
}
END_TEST

START_TEST(bucket_totals_may_wrap_around)
{
	struct throttle_bucket b = {0};
	atomic_store(&b.used[THROTTLE_EVENTS], UINT64_MAX - 1500);
	throttle_bucket_set(&b, &unit, 0);
	ck_assert(take(&b, 0, 1000, 0));
	for (int i = 1; i <= 5; i++) {
		ck_assert_int_eq(ready(&b, 0, 1000, (i - 1) * S), i * S);
		ck_assert(!take(&b, 0, 1000, i * S - 1));
		ck_assert(take(&b, 0, 1000, i * S));
	}
}
END_TEST

Suite *bucket_suite(void)
{
	Suite *s = suite_create("bucket");
	TCase *t = tcase_create("bucket");
	tcase_add_test(t, bucket_without_rate_takes_anything);
	tcase_add_test(t, bucket_begins_full_and_holds_exactly_one_second);
	tcase_add_test(t, bucket_that_lacks_one_of_both_takes_neither);
	tcase_add_loop_test(t, bucket_is_ready_at_the_very_ns_that_it_says, 0, 4);
	tcase_add_test(t, bucket_admits_the_rate_exactly_at_tiny_costs);
	tcase_add_test(t, bucket_given_back_can_be_taken_again_but_not_saved);
	tcase_add_test(t, bucket_time_that_goes_back_takes_nothing_twice);
	tcase_add_test(t, bucket_with_a_larger_rate_keeps_what_it_has_used);
	tcase_add_test(t, bucket_of_one_event_a_second_waits_a_second);
	tcase_add_test(t, bucket_totals_may_wrap_around);
	suite_add_tcase(s, t);
	return s;
}
