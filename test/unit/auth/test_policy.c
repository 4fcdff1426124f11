#include "auth/policy.h"

#include "base/crypto.h"
#include "source.h"

START_TEST(rights_lists_are_read)
{
	static const struct {
		const char *text;
		unsigned rights;
	} rows[] = {
		{"send", AUTH_SEND},
		{"Listen", AUTH_LISTEN},
		{"SEND,listen", AUTH_SEND | AUTH_LISTEN},
		{" send , listen ", AUTH_SEND | AUTH_LISTEN},
		{"send,send", AUTH_SEND},
		{"manage", AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned rights = 0;
		ck_assert_int_eq(auth_rights_parse(rows[i].text, &rights), ERR_OK);
		ck_assert_uint_eq(rights, rows[i].rights);
	}
}
END_TEST

START_TEST(unknown_or_empty_rights_are_rejected)
{
	static const char *const rows[] = {"", " ", ",", "send,", ",send", "send,,listen", "write",
					   "sendlisten", "send;listen"};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned rights = 77;
		ck_assert_int_eq(auth_rights_parse(rows[i], &rights), ERR_INVALID);
		ck_assert_uint_eq(rights, 77);
	}
}
END_TEST

START_TEST(every_set_of_rights_survives_its_text)
{
	for (unsigned rights = 1; rights < 8; rights++) {
		char text[AUTH_RIGHTS_TEXT];
		auth_rights_text(rights, text);
		unsigned back = 0;
		ck_assert_int_eq(auth_rights_parse(text, &back), ERR_OK);
		ck_assert_uint_eq(back, (rights & AUTH_MANAGE) != 0 ? 7 : rights);
	}
	char text[AUTH_RIGHTS_TEXT];
	auth_rights_text(0, text);
	ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(made_keys_are_32_bytes_of_base64_and_differ)
{
	char a[LIMIT_POLICY_KEY + 1];
	char b[LIMIT_POLICY_KEY + 1];
	auth_key_make(a);
	auth_key_make(b);
	uint8_t raw[64];
	size_t n = 0;
	ck_assert_uint_eq(strlen(a), 44);
	ck_assert_int_eq(crypto_base64_decode(span_str(a), raw, sizeof raw, &n), ERR_OK);
	ck_assert_uint_eq(n, 32);
	ck_assert_str_ne(a, b);
}
END_TEST

START_TEST(a_wiped_policy_is_all_zeros)
{
	struct auth_policy p = {"name", AUTH_SEND, TEST_KEY, TEST_KEY2};
	static const struct auth_policy zero;
	auth_policy_wipe(&p);
	ck_assert_mem_eq(&p, &zero, sizeof p);
}
END_TEST

Suite *policy_suite(void)
{
	Suite *s = suite_create("policy");
	TCase *t = tcase_create("policy");
	tcase_add_test(t, rights_lists_are_read);
	tcase_add_test(t, unknown_or_empty_rights_are_rejected);
	tcase_add_test(t, every_set_of_rights_survives_its_text);
	tcase_add_test(t, made_keys_are_32_bytes_of_base64_and_differ);
	tcase_add_test(t, a_wiped_policy_is_all_zeros);
	suite_add_tcase(s, t);
	return s;
}
