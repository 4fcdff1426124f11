#include "auth/grant.h"

#include "source.h"

static struct auth_grant grant(const char *scope, unsigned rights)
{
	struct auth_grant g = {.rights = rights, .expires_ms = TEST_NOW_MS + 1};
	ck_assert_uint_lt(strlen(scope), sizeof g.scope);
	memcpy(g.scope, scope, strlen(scope) + 1);
	return g;
}

START_TEST(right_and_scope_are_both_needed)
{
	struct auth_grant g = grant("hub", AUTH_LISTEN);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_LISTEN, TEST_NOW_MS), ERR_OK);
	ck_assert_int_eq(auth_grant_check(&g, "hub/consumergroups/g/partitions/0", AUTH_LISTEN,
					  TEST_NOW_MS), ERR_OK);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, TEST_NOW_MS), ERR_FORBIDDEN);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_MANAGE, TEST_NOW_MS), ERR_FORBIDDEN);
	ck_assert_int_eq(auth_grant_check(&g, "other", AUTH_LISTEN, TEST_NOW_MS),
			 ERR_UNAUTHORIZED);
	ck_assert_int_eq(auth_grant_check(&g, "", AUTH_LISTEN, TEST_NOW_MS), ERR_UNAUTHORIZED);
}
END_TEST

START_TEST(manage_implies_the_other_rights)
{
	struct auth_grant g = grant("", AUTH_MANAGE);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, TEST_NOW_MS), ERR_OK);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_LISTEN, TEST_NOW_MS), ERR_OK);
	ck_assert_int_eq(auth_grant_check(&g, "", AUTH_MANAGE, TEST_NOW_MS), ERR_OK);
}
END_TEST

START_TEST(grant_ends_at_its_expiry)
{
	struct auth_grant g = grant("", AUTH_MANAGE);
	int64_t end = g.expires_ms;
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, end - 1), ERR_OK);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, end), ERR_UNAUTHORIZED);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, end + 1), ERR_UNAUTHORIZED);
	g.expires_ms = INT64_MAX;
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, INT64_MAX), ERR_OK);
}
END_TEST

START_TEST(publisher_may_only_send_as_itself)
{
	struct auth_grant g = grant("hub/publishers/p", AUTH_MANAGE);
	memcpy(g.publisher, "p", 2);
	ck_assert_int_eq(auth_grant_check(&g, "hub/publishers/p", AUTH_SEND, TEST_NOW_MS), ERR_OK);
	ck_assert_int_eq(auth_grant_check(&g, "hub/publishers/p2", AUTH_SEND, TEST_NOW_MS),
			 ERR_UNAUTHORIZED);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, TEST_NOW_MS), ERR_UNAUTHORIZED);
	ck_assert_int_eq(auth_grant_check(&g, "hub/publishers/p", AUTH_LISTEN, TEST_NOW_MS),
			 ERR_FORBIDDEN);
}
END_TEST

START_TEST(post_address_allows_sending_only)
{
	struct auth_grant g = grant("hub/messages", AUTH_MANAGE);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, TEST_NOW_MS), ERR_OK);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_LISTEN, TEST_NOW_MS), ERR_UNAUTHORIZED);
	ck_assert_int_eq(auth_grant_check(&g, "hub/partitions/0", AUTH_SEND, TEST_NOW_MS),
			 ERR_UNAUTHORIZED);
	ck_assert_int_eq(auth_grant_check(&g, "", AUTH_SEND, TEST_NOW_MS), ERR_UNAUTHORIZED);
	g = grant("hub/publishers/p/messages", AUTH_SEND);
	ck_assert_int_eq(auth_grant_check(&g, "hub/publishers/p", AUTH_SEND, TEST_NOW_MS), ERR_OK);
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, TEST_NOW_MS), ERR_UNAUTHORIZED);
}
END_TEST

Suite *grant_suite(void)
{
	Suite *s = suite_create("grant");
	TCase *t = tcase_create("grant");
	tcase_add_test(t, right_and_scope_are_both_needed);
	tcase_add_test(t, manage_implies_the_other_rights);
	tcase_add_test(t, grant_ends_at_its_expiry);
	tcase_add_test(t, publisher_may_only_send_as_itself);
	tcase_add_test(t, post_address_allows_sending_only);
	suite_add_tcase(s, t);
	return s;
}
