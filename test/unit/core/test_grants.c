#include <stdio.h>
#include <string.h>

#include "auth/sas.h"
#include "test/unit/core/core_fix.h"

static struct core_fix fix;

static void setup(void)
{
	core_fix_open(&fix);
}

static void teardown(void)
{
	core_fix_close(&fix);
}

enum { NOW_MS = 1000 };

static struct auth_grant grant_of(const char *resource, const char *policy, const char *key)
{
	struct str token = {0};
	ck_assert_int_eq(auth_sas_make(resource, policy, key, 100, &token), ERR_OK);
	struct auth_grant g;
	struct err_detail d = {""};
	enum err e = auth_sas_check(core_auth(fix.core), span_of(token.p, token.len), NOW_MS, &g, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	str_fini(&token);
	return g;
}

START_TEST(policies_of_namespace_and_hub_are_found)
{
	struct auth_grant g = grant_of("sb://h/events", CORE_ROOT_POLICY, CORE_ROOT_POLICY "-key-2");
	ck_assert_str_eq(g.scope, "events");
	ck_assert_str_eq(g.policy_hub, "");
	g = grant_of("sb://h/events/Partitions/1", "sender", "sender-key-1");
	ck_assert_str_eq(g.policy_hub, "events");
	struct str token = {0};
	struct err_detail d;
	ck_assert_int_eq(auth_sas_make("sb://h/a/b", "sender", "sender-key-1", 100, &token), ERR_OK);
	ck_assert_int_eq(auth_sas_check(core_auth(fix.core), span_of(token.p, token.len), NOW_MS, &g, &d),
			 ERR_UNAUTHORIZED);
	str_fini(&token);
}
END_TEST

START_TEST(the_missing_claim_is_named)
{
	struct core_grants grants = {0};
	struct auth_grant g = grant_of("sb://h/events", "sender", "sender-key-1");
	ck_assert_int_eq(core_grants_add(&grants, &g), ERR_OK);
	int64_t until = 0;
	struct err_detail d;
	ck_assert_int_eq(core_grants_check(fix.core, &grants, "events", AUTH_SEND, NOW_MS, &until, &d),
			 ERR_OK);
	ck_assert_int_eq(until, 100000);
	ck_assert_int_eq(core_grants_check(fix.core, &grants, "events", AUTH_LISTEN, NOW_MS, &until, &d),
			 ERR_FORBIDDEN);
	ck_assert_str_eq(d.text, "Unauthorized access. 'Listen' claim(s) are required to perform this "
				 "operation. Resource: 'sb://ns.example/events'.");
	ck_assert_int_eq(core_grants_check(fix.core, &grants, "a/b", AUTH_SEND, NOW_MS, &until, &d),
			 ERR_UNAUTHORIZED);
	ck_assert_int_eq(core_grants_check(fix.core, &grants, "events", AUTH_SEND, 100000, &until, &d),
			 ERR_UNAUTHORIZED);
	ck_assert(core_grants_any(&grants, NOW_MS));
	ck_assert(!core_grants_any(&grants, 100001));
	core_grants_fini(&grants);
}
END_TEST

START_TEST(a_renewed_grant_replaces_the_old_and_their_number_is_bounded)
{
	struct core_grants grants = {0};
	struct auth_grant g = grant_of("sb://h/events", "sender", "sender-key-1");
	ck_assert_int_eq(core_grants_add(&grants, &g), ERR_OK);
	g.expires_ms += 5;
	ck_assert_int_eq(core_grants_add(&grants, &g), ERR_OK);
	ck_assert_uint_eq(grants.n, 1);
	ck_assert_int_eq(grants.v[0]->expires_ms, 100005);
	enum err e = ERR_OK;
	for (int i = 1; i <= CORE_GRANTS_MAX; i++) {
		ck_assert_int_eq(e, ERR_OK);
		snprintf(g.scope, sizeof g.scope, "events/%d", i);
		e = core_grants_add(&grants, &g);
	}
	ck_assert_int_eq(e, ERR_LIMIT);
	core_grants_fini(&grants);
}
END_TEST

START_TEST(the_grant_that_lasts_longest_is_found)
{
	struct core_grants grants = {0};
	struct auth_grant short_one = grant_of("sb://h/events", "sender", "sender-key-1");
	struct auth_grant long_one = grant_of("sb://h/", CORE_ROOT_POLICY, CORE_ROOT_POLICY "-key-1");
	long_one.expires_ms = short_one.expires_ms + 1;
	ck_assert_int_eq(core_grants_add(&grants, &short_one), ERR_OK);
	ck_assert_str_eq(core_grants_find(&grants, "events", AUTH_SEND, NOW_MS)->policy, "sender");
	ck_assert_ptr_null(core_grants_find(&grants, "events", AUTH_LISTEN, NOW_MS));
	ck_assert_int_eq(core_grants_add(&grants, &long_one), ERR_OK);
	const struct auth_grant *g = core_grants_find(&grants, "events", AUTH_SEND, NOW_MS);
	ck_assert_str_eq(g->policy, CORE_ROOT_POLICY);
	ck_assert_str_eq(g->policy_hub, "");
	core_grants_fini(&grants);
}
END_TEST

Suite *grants_suite(void)
{
	Suite *s = suite_create("grants");
	TCase *t = tcase_create("grants");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, policies_of_namespace_and_hub_are_found);
	tcase_add_test(t, the_missing_claim_is_named);
	tcase_add_test(t, the_grant_that_lasts_longest_is_found);
	tcase_add_test(t, a_renewed_grant_replaces_the_old_and_their_number_is_bounded);
	suite_add_tcase(s, t);
	return s;
}
