#include "base/mem.h"

#include <string.h>

#include "base/lock.h"
#include "suites.h"

START_TEST(nth_allocation_fails_once)
{
	mem_fault_at(3);
	void *a = mem_alloc(1);
	void *b = mem_calloc(1, 1);
	ck_assert(!mem_fault_fired());
	void *c = mem_realloc(a, 10);
	ck_assert(mem_fault_fired());
	void *d = mem_alloc(1);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert_ptr_null(c);
	ck_assert_ptr_nonnull(d);
	mem_fault_at(1);
	ck_assert_ptr_null(mem_strdup("x"));
	mem_fault_at(1);
	ck_assert_ptr_null(mem_dup("x", 1));
	mem_fault_at(0);
	ck_assert(!mem_fault_fired());
	mem_free(a);
	mem_free(b);
	mem_free(d);
	mem_free(NULL);
}
END_TEST

static void *allocate_here(void *arg)
{
	void **out = arg;
	*out = mem_alloc(1);
	return NULL;
}

START_TEST(fault_is_of_the_calling_thread)
{
	pthread_t t;
	void *p = NULL;
	ck_assert_int_eq(thread_start(&t, ROLE_BACKGROUND, "mem", allocate_here, &p), ERR_OK);
	thread_join(t);
	ck_assert_ptr_nonnull(p);
	mem_free(p);
	mem_fault_at(2);
	ck_assert_int_eq(thread_start(&t, ROLE_BACKGROUND, "mem", allocate_here, &p), ERR_OK);
	thread_join(t);
	ck_assert_ptr_nonnull(p);
	ck_assert(!mem_fault_fired());
	mem_fault_at(0);
	mem_free(p);
}
END_TEST

START_TEST(sizes_of_zero_and_overflow_are_handled)
{
	void *a = mem_alloc(0);
	void *b = mem_calloc(0, 0);
	void *c = mem_dup(NULL, 0);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_nonnull(b);
	ck_assert_ptr_nonnull(c);
	mem_free(a);
	mem_free(b);
	mem_free(c);
	char *text = mem_strdup("text");
	ck_assert_str_eq(text, "text");
	mem_free(text);
}
END_TEST

START_TEST(grow_doubles_and_keeps_content)
{
	void *array = NULL;
	size_t cap = 0;
	ck_assert(mem_grow(&array, &cap, 1, sizeof(int)));
	ck_assert_uint_eq(cap, 8);
	for (int i = 0; i < 8; i++) {
		((int *)array)[i] = i;
	}
	ck_assert(mem_grow(&array, &cap, 8, sizeof(int)));
	ck_assert_uint_eq(cap, 8);
	ck_assert(mem_grow(&array, &cap, 9, sizeof(int)));
	ck_assert_uint_eq(cap, 16);
	ck_assert_int_eq(((int *)array)[7], 7);
	void *before = array;
	mem_fault_at(1);
	ck_assert(!mem_grow(&array, &cap, 17, sizeof(int)));
	mem_fault_at(0);
	ck_assert_ptr_eq(array, before);
	ck_assert_uint_eq(cap, 16);
	ck_assert(!mem_grow(&array, &cap, SIZE_MAX, sizeof(int)));
	ck_assert(!mem_grow(&array, &cap, SIZE_MAX / 2, sizeof(int)));
	ck_assert_ptr_eq(array, before);
	mem_free(array);
}
END_TEST

Suite *mem_suite(void)
{
	Suite *s = suite_create("mem");
	TCase *t = tcase_create("mem");
	tcase_add_test(t, nth_allocation_fails_once);
	tcase_add_test(t, fault_is_of_the_calling_thread);
	tcase_add_test(t, sizes_of_zero_and_overflow_are_handled);
	tcase_add_test(t, grow_doubles_and_keeps_content);
	suite_add_tcase(s, t);
	return s;
}
