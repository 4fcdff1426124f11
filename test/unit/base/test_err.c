#include "base/err.h"

#include <stdint.h>
#include <string.h>

#include "suites.h"

START_TEST(every_error_has_a_whole_row)
{
	for (int i = 0; i < ERR__COUNT; i++) {
		const struct err_info *info = err_info((enum err)i);
		ck_assert_ptr_nonnull(info->name);
		ck_assert_str_ne(info->text, "");
		ck_assert_str_ne(info->http_code, "");
		ck_assert_int_ge(info->http_status, i == ERR_OK ? 200 : 400);
		ck_assert_int_lt(info->http_status, 600);
		if (i != ERR_OK) {
			ck_assert_ptr_nonnull(strchr(info->amqp, ':'));
			ck_assert_int_ne(info->kafka_code, 0);
		}
		for (int k = 0; k < i; k++) {
			ck_assert_str_ne(info->name, err_info((enum err)k)->name);
		}
	}
}
END_TEST

START_TEST(known_errors_keep_their_meaning)
{
	ck_assert_int_eq(ERR_OK, 0);
	ck_assert_str_eq(err_info(ERR_NOT_FOUND)->amqp, "amqp:not-found");
	ck_assert_int_eq(err_info(ERR_NOT_FOUND)->http_status, 404);
	ck_assert_int_eq(err_info(ERR_NOT_FOUND)->kafka_code, 3);
	ck_assert_str_eq(err_info(ERR_BUSY)->amqp, "com.microsoft:server-busy");
	ck_assert(err_info(ERR_BUSY)->retry);
	ck_assert_int_eq(err_info(ERR_UNAUTHORIZED)->http_status, 401);
	ck_assert_str_eq(err_text(ERR_NOMEM), "out of memory");
}
END_TEST

START_TEST(unknown_error_is_internal)
{
	ck_assert_ptr_eq(err_info((enum err)ERR__COUNT), err_info(ERR_INTERNAL));
	ck_assert_ptr_eq(err_info((enum err)1000000), err_info(ERR_INTERNAL));
}
END_TEST

START_TEST(detail_is_set_wrapped_and_cut)
{
	struct err_detail d = {0};
	ck_assert_int_eq(err_set(&d, ERR_INVALID, "value %d", 7), ERR_INVALID);
	ck_assert_str_eq(d.text, "value 7");
	err_wrap(&d, "file %s", "x");
	ck_assert_str_eq(d.text, "file x: value 7");
	char longer[2 * ERR_DETAIL_MAX];
	memset(longer, 'a', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	ck_assert_int_eq(err_set(&d, ERR_IO, "%s", longer), ERR_IO);
	ck_assert_uint_eq(strlen(d.text), ERR_DETAIL_MAX - 1);
	err_wrap(&d, "prefix");
	ck_assert_uint_eq(strlen(d.text), ERR_DETAIL_MAX - 1);
	ck_assert_int_eq(strncmp(d.text, "prefix: aaa", 11), 0);
	err_wrap(&d, "%s", longer);
	ck_assert_uint_eq(strlen(d.text), ERR_DETAIL_MAX - 1);
}
END_TEST

START_TEST(wrapping_nothing_gives_the_prefix)
{
	struct err_detail d = {0};
	err_wrap(&d, "prefix");
	ck_assert_str_eq(d.text, "prefix");
	err_wrap(NULL, "prefix");
	ck_assert_int_eq(err_set(NULL, ERR_EOF, "x"), ERR_EOF);
}
END_TEST

START_TEST(every_length_of_prefix_fits)
{
	char prefix[ERR_DETAIL_MAX + 8];
	for (int n = ERR_DETAIL_MAX - 8; n < ERR_DETAIL_MAX + 4; n++) {
		struct err_detail d;
		memset(prefix, 'p', (size_t)n);
		prefix[n] = '\0';
		(void)err_set(&d, ERR_IO, "text");
		err_wrap(&d, "%s", prefix);
		ck_assert_uint_lt(strlen(d.text), ERR_DETAIL_MAX);
	}
}
END_TEST

Suite *err_suite(void)
{
	Suite *s = suite_create("err");
	TCase *t = tcase_create("err");
	tcase_add_test(t, every_error_has_a_whole_row);
	tcase_add_test(t, known_errors_keep_their_meaning);
	tcase_add_test(t, unknown_error_is_internal);
	tcase_add_test(t, detail_is_set_wrapped_and_cut);
	tcase_add_test(t, wrapping_nothing_gives_the_prefix);
	tcase_add_test(t, every_length_of_prefix_fits);
	suite_add_tcase(s, t);
	return s;
}
