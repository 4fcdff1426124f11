#include "base/budget.h"

#include "base/lock.h"
#include "suites.h"

START_TEST(budget_is_taken_up_to_its_limit)
{
	struct budget b;
	budget_init(&b, 10);
	ck_assert(budget_take(&b, 9));
	ck_assert(!budget_take(&b, 2));
	ck_assert_uint_eq(budget_used(&b), 9);
	ck_assert(budget_take(&b, 1));
	ck_assert(budget_take(&b, 0));
	ck_assert(!budget_take(&b, 1));
	budget_give(&b, 10);
	ck_assert_uint_eq(budget_used(&b), 0);
	ck_assert(!budget_take(&b, 11));
	ck_assert_uint_eq(budget_used(&b), 0);
}
END_TEST

static void *take_and_give(void *arg)
{
	struct budget *b = arg;
	for (int i = 0; i < 20000; i++) {
		if (budget_take(b, 3)) {
			budget_give(b, 3);
		}
	}
	return NULL;
}

START_TEST(nothing_is_lost_between_threads)
{
	struct budget b;
	pthread_t t[3];
	budget_init(&b, 7);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(thread_start(&t[i], ROLE_BACKGROUND, "budget", take_and_give, &b),
				 ERR_OK);
	}
	for (int i = 0; i < 3; i++) {
		thread_join(t[i]);
	}
	ck_assert_uint_eq(budget_used(&b), 0);
}
END_TEST

Suite *budget_suite(void)
{
	Suite *s = suite_create("budget");
	TCase *t = tcase_create("budget");
	tcase_add_test(t, budget_is_taken_up_to_its_limit);
	tcase_add_test(t, nothing_is_lost_between_threads);
	suite_add_tcase(s, t);
	return s;
}
