#include "base/hist.h"

#include <string.h>

#include "base/lock.h"
#include "suites.h"

static struct hist hist;
static struct hist other;

static void begin(void)
{
	memset(&hist, 0, sizeof hist);
	memset(&other, 0, sizeof other);
}

START_TEST(empty_histogram_has_no_quantiles)
{
	ck_assert_uint_eq(hist_quantile(&hist, 0.5), 0);
	ck_assert_uint_eq(hist_quantile(&hist, 1.0), 0);
	ck_assert_uint_eq(hist_count(&hist), 0);
	ck_assert_uint_eq(hist_count_below(&hist, UINT64_MAX), 0);
}
END_TEST

START_TEST(small_values_are_exact)
{
	for (uint64_t v = 0; v < 16; v++) {
		hist_add(&hist, v);
	}
	ck_assert_uint_eq(hist_count(&hist), 16);
	ck_assert_uint_eq(hist_sum(&hist), 120);
	ck_assert_uint_eq(hist_quantile(&hist, 0.0), 0);
	ck_assert_uint_eq(hist_quantile(&hist, 0.5), 7);
	ck_assert_uint_eq(hist_quantile(&hist, 1.0), 15);
	ck_assert_uint_eq(hist_count_below(&hist, 7), 8);
}
END_TEST

START_TEST(single_value_is_met_within_the_error)
{
	static const uint64_t values[] = {16,	    17,	     31,	 32,	      33,
					  1000,	    4095,    4096,	 1000000,     123456789,
					  1ULL << 40, 1ULL << 62, 1ULL << 63, UINT64_MAX - 1,
					  UINT64_MAX};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		begin();
		hist_add(&hist, values[i]);
		uint64_t q = hist_quantile(&hist, 0.99);
		ck_assert_uint_ge(q, values[i]);
		ck_assert_uint_le(q - values[i], values[i] / 16);
	}
}
END_TEST

START_TEST(quantiles_of_many_values_are_near)
{
	for (uint64_t v = 1; v <= 100000; v++) {
		hist_add(&hist, v);
	}
	static const double shares[] = {0.01, 0.1, 0.5, 0.9, 0.99, 0.999};
	for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
		double want = shares[i] * 100000;
		double got = (double)hist_quantile(&hist, shares[i]);
		ck_assert_double_ge(got, want * 0.99);
		ck_assert_double_le(got, want * 1.07);
	}
	uint64_t below = hist_count_below(&hist, 50000);
	ck_assert_uint_le(below, 50000);
	ck_assert_uint_ge(below, 46000);
}
END_TEST

START_TEST(merge_adds_everything)
{
	hist_add(&hist, 5);
	hist_add(&other, 7);
	hist_add(&other, 9);
	hist_merge(&hist, &other);
	ck_assert_uint_eq(hist_count(&hist), 3);
	ck_assert_uint_eq(hist_sum(&hist), 21);
	ck_assert_uint_eq(hist_quantile(&hist, 0.5), 7);
	ck_assert_uint_eq(hist_quantile(&hist, 1.0), 9);
}
END_TEST

static void *add_many(void *arg)
{
	struct hist *h = arg;
	for (uint64_t i = 0; i < 20000; i++) {
		hist_add(h, i);
	}
	return NULL;
}

START_TEST(threads_add_without_loss)
{
	pthread_t t[3];
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(thread_start(&t[i], ROLE_BACKGROUND, "hist", add_many, &hist),
				 ERR_OK);
	}
	(void)hist_quantile(&hist, 0.5);
	for (int i = 0; i < 3; i++) {
		thread_join(t[i]);
	}
	ck_assert_uint_eq(hist_count(&hist), 60000);
	ck_assert_uint_eq(hist_count_below(&hist, UINT64_MAX), 60000);
}
END_TEST

Suite *hist_suite(void)
{
	Suite *s = suite_create("hist");
	TCase *t = tcase_create("hist");
	tcase_add_checked_fixture(t, begin, NULL);
	tcase_add_test(t, empty_histogram_has_no_quantiles);
	tcase_add_test(t, small_values_are_exact);
	tcase_add_test(t, single_value_is_met_within_the_error);
	tcase_add_test(t, quantiles_of_many_values_are_near);
	tcase_add_test(t, merge_adds_everything);
	tcase_add_test(t, threads_add_without_loss);
	suite_add_tcase(s, t);
	return s;
}
