#include "auth/grant.h"

#include <stdio.h>

#include "source.h"

static enum err check(const char *user, const char *password, const char *hub,
		      struct auth_grant *g, struct err_detail *d)
{
	*d = (struct err_detail){0};
	return auth_password_check(&test_source, span_str(user), span_str(password), hub,
				   TEST_NOW_MS, g, d);
}

static const struct {
	const char *user;
	const char *password;
	const char *hub;
	const char *scope;	/* NULL: refused */
	const char *policy_hub;
	unsigned rights;
} rows[] = {
	/* Name and key; the namespace is looked at first. */
	{TEST_ROOT, TEST_KEY, "", "", "", 7},
	{TEST_ROOT, TEST_KEY2, NULL, "", "", 7},
	{TEST_ROOT, TEST_KEY, "hub", "", "", 7},
	{"hubrule", TEST_KEY, "HUB", "hub", "Hub", AUTH_SEND},
	{"hubrule", TEST_KEY, "", NULL, NULL, 0},
	{"hubrule", TEST_KEY, "other", NULL, NULL, 0},
	{"shared", TEST_KEY, "hub", "", "", AUTH_LISTEN},
	{"shared", TEST_KEY2, "hub", "hub", "Hub", AUTH_SEND},
	/* Wrong or absent. */
	{TEST_ROOT, "wrong", "", NULL, NULL, 0},
	{TEST_ROOT, "", "", NULL, NULL, 0},
	{"shared", "", "hub", NULL, NULL, 0},
	{"", TEST_KEY, "", NULL, NULL, 0},
	{"nobody", TEST_KEY, "", NULL, NULL, 0},
	/* Connection strings. */
	{"$ConnectionString",
	 "Endpoint=sb://h/;SharedAccessKeyName=" TEST_ROOT ";SharedAccessKey=" TEST_KEY, "", "", "",
	 7},
	{"$connectionstring",
	 "Endpoint=sb://h/;SharedAccessKeyName=" TEST_ROOT ";SharedAccessKey=" TEST_KEY
	 ";EntityPath=Other;",
	 "", "other", "", 7},
	{"$ConnectionString",
	 "Endpoint=sb://h/;SharedAccessKeyName=hubrule;SharedAccessKey=" TEST_KEY2
	 ";EntityPath=hub",
	 "", "hub", "Hub", AUTH_SEND},
	{"$ConnectionString",
	 "Endpoint=sb://h/;SharedAccessKeyName=hubrule;SharedAccessKey=" TEST_KEY2, "", NULL, NULL,
	 0},
	{"$ConnectionString",
	 "Endpoint=sb://h/;SharedAccessKeyName=hubrule;SharedAccessKey=" TEST_KEY2, "hub", "hub",
	 "Hub", AUTH_SEND},
	{"$ConnectionString",
	 "Endpoint=sb://h/;SharedAccessKeyName=hubrule;SharedAccessKey=" TEST_KEY
	 ";EntityPath=other",
	 "", NULL, NULL, 0},
	{"$ConnectionString", "Endpoint=sb://h/;SharedAccessKeyName=" TEST_ROOT, "", NULL, NULL, 0},
	{"$ConnectionString", TEST_KEY, "", NULL, NULL, 0},
	{"$ConnectionString", "", "", NULL, NULL, 0},
};

START_TEST(password_is_checked)
{
	struct auth_grant g;
	struct err_detail d;
	enum err e = check(rows[_i].user, rows[_i].password, rows[_i].hub, &g, &d);
	ck_assert_ptr_null(strstr(d.text, TEST_KEY));
	if (rows[_i].scope == NULL) {
		ck_assert_int_eq(e, ERR_UNAUTHORIZED);
		ck_assert_str_ne(d.text, "");
		return;
	}
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	ck_assert_str_eq(g.scope, rows[_i].scope);
	ck_assert_str_eq(g.policy_hub, rows[_i].policy_hub);
	ck_assert_uint_eq(g.rights, rows[_i].rights);
	ck_assert_int_eq(g.expires_ms, INT64_MAX);
	ck_assert_str_eq(g.publisher, "");
}
END_TEST

/* A source with one name and key in both places, in either order. */
static void find_twins(void *ctx, struct span path, struct span name, auth_policy_fn *fn, void *arg)
{
	static const struct auth_policy on_ns = {"twin", AUTH_LISTEN, TEST_KEY, ""};
	static const struct auth_policy on_hub = {"twin", AUTH_SEND, TEST_KEY, ""};
	const bool *hub_first = ctx;
	(void)path;
	(void)name;
	(void)fn(arg, *hub_first ? "hub" : "", *hub_first ? &on_hub : &on_ns);
	(void)fn(arg, *hub_first ? "" : "hub", *hub_first ? &on_ns : &on_hub);
}

START_TEST(place_of_the_policy_decides_between_twins)
{
	bool hub_first = _i != 0;
	const struct auth_source src = {find_twins, &hub_first};
	struct auth_grant g;
	ck_assert_int_eq(auth_password_check(&src, span_str("twin"), span_str(TEST_KEY), "hub",
					     TEST_NOW_MS, &g, NULL), ERR_OK);
	ck_assert_str_eq(g.policy_hub, "");
	ck_assert_str_eq(g.scope, "");
	ck_assert_uint_eq(g.rights, AUTH_LISTEN);
	struct span cs = span_str("Endpoint=sb://h/;SharedAccessKeyName=twin;SharedAccessKey=" TEST_KEY
				  ";EntityPath=hub");
	ck_assert_int_eq(auth_password_check(&src, span_str("$ConnectionString"), cs, "",
					     TEST_NOW_MS, &g, NULL), ERR_OK);
	ck_assert_str_eq(g.policy_hub, "hub");
	ck_assert_str_eq(g.scope, "hub");
	ck_assert_uint_eq(g.rights, AUTH_SEND);
}
END_TEST

START_TEST(entity_path_narrows_a_namespace_policy)
{
	struct auth_grant g;
	struct err_detail d;
	ck_assert_int_eq(check("$ConnectionString",
			       "Endpoint=sb://h/;SharedAccessKeyName=shared;SharedAccessKey=" TEST_KEY
			       ";EntityPath=hub", "", &g, &d), ERR_OK);
	ck_assert_str_eq(g.policy_hub, "");
	ck_assert_str_eq(g.scope, "hub");
	ck_assert_uint_eq(g.rights, AUTH_LISTEN);
}
END_TEST

START_TEST(token_works_as_password)
{
	struct auth_grant g;
	struct err_detail d;
	struct test_token t = test_token_make("sb%3a%2f%2fh", NULL, "1700003600", TEST_ROOT,
					      TEST_KEY);
	ck_assert_int_eq(check("anybody", t.text, "hub", &g, &d), ERR_OK);
	ck_assert_str_eq(g.scope, "");
	ck_assert_int_eq(g.expires_ms, (int64_t)TEST_SE * 1000);
	char cs[1024];
	snprintf(cs, sizeof cs, "Endpoint=sb://h/;SharedAccessSignature=%.600s;EntityPath=Hub",
		 t.text);
	ck_assert_int_eq(check("$ConnectionString", cs, "", &g, &d), ERR_OK);
	ck_assert_str_eq(g.scope, "hub");
	/* EntityPath never widens. */
	t = test_token_make("sb%3a%2f%2fh%2fother", NULL, "1700003600", TEST_ROOT, TEST_KEY);
	snprintf(cs, sizeof cs, "Endpoint=sb://h/;SharedAccessSignature=%.600s;EntityPath=Hub",
		 t.text);
	ck_assert_int_eq(check("$ConnectionString", cs, "", &g, &d), ERR_OK);
	ck_assert_str_eq(g.scope, "other");
	ck_assert_int_eq(auth_grant_check(&g, "hub", AUTH_SEND, TEST_NOW_MS), ERR_UNAUTHORIZED);
	t = test_token_make("hub", NULL, "1", TEST_ROOT, TEST_KEY);
	ck_assert_int_eq(check("anybody", t.text, "hub", &g, &d), ERR_UNAUTHORIZED);
	ck_assert_int_eq(strncmp(d.text, "ExpiredToken: ", 14), 0);
}
END_TEST

START_TEST(password_lengths_are_bounded)
{
	static char text[LIMIT_TOKEN + 1];
	struct auth_grant g;
	struct err_detail d = {0};
	memset(text, 'k', sizeof text);
	for (size_t n = LIMIT_TOKEN - 1; n <= LIMIT_TOKEN + 1; n++) {
		ck_assert_int_eq(auth_password_check(&test_source, span_str(TEST_ROOT),
						     span_of(text, n), "", TEST_NOW_MS, &g, &d),
				 ERR_UNAUTHORIZED);
		ck_assert_int_eq(strstr(d.text, "too long") != NULL, n > LIMIT_TOKEN);
	}
	ck_assert_int_eq(auth_password_check(&test_source, span_of(text, LIMIT_POLICY_NAME + 1),
					     span_str(TEST_KEY), "", TEST_NOW_MS, &g, &d),
			 ERR_UNAUTHORIZED);
	ck_assert_ptr_nonnull(strstr(d.text, "too long"));
}
END_TEST

Suite *password_suite(void)
{
	Suite *s = suite_create("password");
	TCase *t = tcase_create("password");
	tcase_add_loop_test(t, password_is_checked, 0, (int)(sizeof rows / sizeof *rows));
	tcase_add_loop_test(t, place_of_the_policy_decides_between_twins, 0, 2);
	tcase_add_test(t, entity_path_narrows_a_namespace_policy);
	tcase_add_test(t, token_works_as_password);
	tcase_add_test(t, password_lengths_are_bounded);
	suite_add_tcase(s, t);
	return s;
}
