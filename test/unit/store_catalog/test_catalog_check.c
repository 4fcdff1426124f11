#include <check.h>
#include <stdio.h>

#include "test/unit/store_catalog/catalog_build.h"

Suite *catalog_check_suite(void);

static void assert_name(const char *what, const char *name, size_t max, enum err want)
{
	struct err_detail d = {""};
	enum err e = catalog_name_check(what, name, max, &d);
	ck_assert_msg(e == want, "%s '%s'", what, name);
	ck_assert_int_eq(d.text[0] != '\0', want != ERR_OK);
}

START_TEST(names_follow_the_rules_of_their_kind)
{
	static const char *const good_hubs[] = {"a", "Z9", "a.b-c_d/e", "0", "a..b", "a/b/c",
						"-a", "a-", "_a", "a_", "__x__", ".a"};
	static const char *const bad_hubs[] = {"", ".", "..", "a/", "/a", "a b", "a$b",
					       "a//b", "a/../b", "a/./b", "\xc3\xa9", "a\n", "a?b"};
	static const char *const good_groups[] = {"$Default", "a_", "__x", "g-1.2", "a$b", "x/y"};
	static const char *const bad_groups[] = {"", "a b", "-a", "a.", "a;b", "a\tb"};
	static const char *const good_policies[] = {"Root", "a b", "x-y_z", "(p)"};
	static const char *const bad_policies[] = {"", "a;b", "a=b", "a&b", "a/b", " a", "a ", "\x7f"};
#define EACH(v, what, max, want)                                   \
	for (size_t i = 0; i < sizeof(v) / sizeof *(v); i++) {     \
		assert_name(what, (v)[i], max, want);              \
	}
	EACH(good_hubs, "hub", LIMIT_HUB_NAME, ERR_OK)
	EACH(bad_hubs, "hub", LIMIT_HUB_NAME, ERR_INVALID)
	EACH(good_groups, "group", LIMIT_GROUP_NAME, ERR_OK)
	EACH(bad_groups, "group", LIMIT_GROUP_NAME, ERR_INVALID)
	EACH(good_policies, "policy", LIMIT_POLICY_NAME, ERR_OK)
	EACH(bad_policies, "policy", LIMIT_POLICY_NAME, ERR_INVALID)
#undef EACH
}
END_TEST

START_TEST(names_end_at_their_limit)
{
	char name[LIMIT_HUB_NAME + 2];
	build_text(name, LIMIT_HUB_NAME - 1, 'x');
	assert_name("hub", name, LIMIT_HUB_NAME, ERR_OK);
	build_text(name, LIMIT_HUB_NAME, 'x');
	assert_name("hub", name, LIMIT_HUB_NAME, ERR_OK);
	build_text(name, LIMIT_HUB_NAME + 1, 'x');
	assert_name("hub", name, LIMIT_HUB_NAME, ERR_INVALID);
}
END_TEST

static void assert_check(const struct catalog *c, struct catalog_command cmd, enum err want)
{
	struct err_detail d = {""};
	enum err e = catalog_check(c, &cmd, &d);
	ck_assert_msg(e == want, "got %s: %s", err_info(e)->name, d.text);
	ck_assert_int_eq(d.text[0] != '\0', want != ERR_OK);
}

START_TEST(create_is_checked)
{
	const struct catalog *c = build_sample();
	assert_check(c, build_create("new", 1), ERR_OK);
	assert_check(c, build_create("ORDERS", 1), ERR_EXISTS);
	assert_check(c, build_create("bad name", 1), ERR_INVALID);
	assert_check(c, build_create("new", 0), ERR_INVALID);
	assert_check(c, build_create("new", LIMIT_PARTITIONS - 1), ERR_OK);
	assert_check(c, build_create("new", LIMIT_PARTITIONS), ERR_OK);
	assert_check(c, build_create("new", LIMIT_PARTITIONS + 1), ERR_LIMIT);
	struct catalog_command cmd = build_create("new", 1);
	cmd.has_retention = true;
	cmd.retention_ms = -1;
	assert_check(c, cmd, ERR_INVALID);
	cmd.retention_ms = 0;
	assert_check(c, cmd, ERR_OK);
	cmd.has_cleanup = true;
	assert_check(c, cmd, ERR_INVALID);
	cmd.cleanup = CATALOG_COMPACT;
	assert_check(c, cmd, ERR_OK);
	catalog_drop(&c);
}
END_TEST

START_TEST(update_and_delete_are_checked)
{
	const struct catalog *c = build_sample();
	struct catalog_command cmd = build_hub(CATALOG_HUB_UPDATE, "orders");
	assert_check(c, cmd, ERR_OK);
	cmd.partitions = 3;
	assert_check(c, cmd, ERR_OK);
	cmd.partitions = 2;
	assert_check(c, cmd, ERR_NOT_ALLOWED);
	cmd.partitions = LIMIT_PARTITIONS + 1;
	assert_check(c, cmd, ERR_LIMIT);
	assert_check(c, build_hub(CATALOG_HUB_UPDATE, "gone"), ERR_NOT_FOUND);
	assert_check(c, build_hub(CATALOG_HUB_DELETE, "gone"), ERR_NOT_FOUND);
	assert_check(c, build_hub(CATALOG_HUB_DELETE, "Orders"), ERR_OK);
	assert_check(c, build_hub((enum catalog_op)99, "Orders"), ERR_INVALID);
	catalog_drop(&c);
}
END_TEST

START_TEST(groups_are_checked)
{
	const struct catalog *c = build_sample();
	assert_check(c, build_group(CATALOG_GROUP_CREATE, "orders", "g"), ERR_OK);
	assert_check(c, build_group(CATALOG_GROUP_CREATE, "gone", "g"), ERR_NOT_FOUND);
	assert_check(c, build_group(CATALOG_GROUP_CREATE, "orders", "AUDIT"), ERR_EXISTS);
	assert_check(c, build_group(CATALOG_GROUP_CREATE, "orders", "$default"), ERR_EXISTS);
	assert_check(c, build_group(CATALOG_GROUP_CREATE, "orders", "a b"), ERR_INVALID);
	assert_check(c, build_group(CATALOG_GROUP_DELETE, "orders", "audit"), ERR_OK);
	assert_check(c, build_group(CATALOG_GROUP_DELETE, "orders", "gone"), ERR_NOT_FOUND);
	assert_check(c, build_group(CATALOG_GROUP_DELETE, "orders", "$DEFAULT"), ERR_NOT_ALLOWED);
	assert_check(c, build_group(CATALOG_GROUP_DELETE, "gone", "g"), ERR_NOT_FOUND);
	catalog_drop(&c);
}
END_TEST

START_TEST(policies_are_checked)
{
	const struct catalog *c = build_sample();
	const char *root = "RootManageSharedAccessKey";
	assert_check(c, build_policy("", "p", 1), ERR_OK);
	assert_check(c, build_policy("gone", "p", 1), ERR_NOT_FOUND);
	assert_check(c, build_policy("orders", "p;q", 1), ERR_INVALID);
	assert_check(c, build_policy("orders", "p", 0), ERR_INVALID);
	assert_check(c, build_policy("orders", "p", 8), ERR_INVALID);
	struct catalog_command cmd = build_policy("orders", "SENDER", 1);
	assert_check(c, cmd, ERR_OK);
	cmd.must_be_new = true;
	assert_check(c, cmd, ERR_EXISTS);
	cmd = build_policy("orders", "p", 1);
	cmd.policy.primary[0] = '\0';
	assert_check(c, cmd, ERR_INVALID);
	cmd = build_policy("orders", "p", 1);
	cmd.policy.secondary[2] = '\x01';
	assert_check(c, cmd, ERR_INVALID);
	/* The namespace's last Manage policy stays, with Manage. */
	assert_check(c, build_policy("", root, 7), ERR_OK);
	assert_check(c, build_policy("", root, 3), ERR_NOT_ALLOWED);
	cmd = build_policy("", root, 0);
	cmd.op = CATALOG_POLICY_DELETE;
	assert_check(c, cmd, ERR_NOT_ALLOWED);
	struct catalog_command other = build_policy("", "other", 4);
	build_apply(&c, &other, ERR_OK);
	assert_check(c, cmd, ERR_OK);
	cmd = build_policy("orders", "gone", 0);
	cmd.op = CATALOG_POLICY_DELETE;
	assert_check(c, cmd, ERR_NOT_FOUND);
	catalog_drop(&c);
}
END_TEST

START_TEST(texts_without_end_are_refused)
{
	const struct catalog *c = build_sample();
	struct catalog_command cmd = build_create("x", 1);
	memset(cmd.hub, 'x', sizeof cmd.hub);
	assert_check(c, cmd, ERR_INVALID);
	cmd.op = CATALOG_HUB_DELETE;
	assert_check(c, cmd, ERR_NOT_FOUND);
	cmd = build_group(CATALOG_GROUP_CREATE, "orders", "");
	memset(cmd.group, 'x', sizeof cmd.group);
	assert_check(c, cmd, ERR_INVALID);
	cmd = build_policy("orders", "p", 1);
	memset(cmd.policy.primary, 'x', sizeof cmd.policy.primary);
	assert_check(c, cmd, ERR_INVALID);
	memset(cmd.policy.name, 'x', sizeof cmd.policy.name);
	assert_check(c, cmd, ERR_INVALID);
	catalog_drop(&c);
}
END_TEST

START_TEST(counts_end_at_their_limits)
{
	const struct catalog *c = build_sample();
	char name[32];
	for (int i = 1; i < LIMIT_POLICIES; i++) {
		snprintf(name, sizeof name, "p%d", i);
		struct catalog_command cmd = build_policy("", name, 1);
		build_apply(&c, &cmd, ERR_OK);
	}
	assert_check(c, build_policy("", "one-more", 1), ERR_LIMIT);
	assert_check(c, build_policy("", "p1", 2), ERR_OK);
	for (int i = 2; i < LIMIT_GROUPS; i++) {
		snprintf(name, sizeof name, "g%d", i);
		struct catalog_command cmd = build_group(CATALOG_GROUP_CREATE, "orders", name);
		build_apply(&c, &cmd, ERR_OK);
	}
	assert_check(c, build_group(CATALOG_GROUP_CREATE, "orders", "one-more"), ERR_LIMIT);
	for (int i = 2; i < LIMIT_HUBS; i++) {
		snprintf(name, sizeof name, "h%d", i);
		struct catalog_command cmd = build_create(name, 1);
		build_apply(&c, &cmd, ERR_OK);
	}
	assert_check(c, build_create("one-more", 1), ERR_LIMIT);
	catalog_drop(&c);
}
END_TEST

Suite *catalog_check_suite(void)
{
	Suite *s = suite_create("catalog_check");
	TCase *t = tcase_create("check");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, names_follow_the_rules_of_their_kind);
	tcase_add_test(t, names_end_at_their_limit);
	tcase_add_test(t, create_is_checked);
	tcase_add_test(t, update_and_delete_are_checked);
	tcase_add_test(t, groups_are_checked);
	tcase_add_test(t, policies_are_checked);
	tcase_add_test(t, texts_without_end_are_refused);
	tcase_add_test(t, counts_end_at_their_limits);
	suite_add_tcase(s, t);
	return s;
}
