#include <check.h>
#include <stdio.h>

#include "base/mem.h"
#include "test/unit/store_catalog/catalog_build.h"

Suite *catalog_limit_suite(void);

static const struct catalog_limit *find(const struct catalog *c, enum catalog_limit_kind kind,
					const char *name)
{
	return catalog_limit_find(c, kind, span_str(name));
}

static void put(const struct catalog **c, enum catalog_limit_kind kind, const char *name,
		uint64_t in_bytes, enum err want)
{
	struct catalog_command cmd = build_limit(kind, name, in_bytes);
	build_apply(c, &cmd, want);
}

static void drop(const struct catalog **c, enum catalog_limit_kind kind, const char *name,
		 enum err want)
{
	struct catalog_command cmd = build_limit(kind, name, 0);
	cmd.op = CATALOG_LIMIT_DELETE;
	build_apply(c, &cmd, want);
}

START_TEST(limits_come_go_and_are_replaced)
{
	const struct catalog *c = catalog_empty(1);
	put(&c, CATALOG_LIMIT_POLICY, "sender", 1, ERR_OK);
	put(&c, CATALOG_LIMIT_HUB, "Orders", 2, ERR_OK);
	put(&c, CATALOG_LIMIT_HUB, "*", 3, ERR_OK);
	put(&c, CATALOG_LIMIT_PARTITION, "orders", 4, ERR_OK);
	ck_assert_uint_eq(c->n_limits, 4);
	ck_assert_uint_eq(find(c, CATALOG_LIMIT_HUB, "oRDERS")->in_bytes, 2);
	ck_assert_uint_eq(find(c, CATALOG_LIMIT_HUB, "*")->in_bytes, 3);
	ck_assert_uint_eq(find(c, CATALOG_LIMIT_PARTITION, "orders")->in_bytes, 4);
	ck_assert_uint_eq(find(c, CATALOG_LIMIT_PARTITION, "orders")->out_events, 7);
	ck_assert_ptr_null(find(c, CATALOG_LIMIT_PUBLISHER, "orders"));
	ck_assert_ptr_null(find(c, CATALOG_LIMIT_HUB, "order"));
	put(&c, CATALOG_LIMIT_HUB, "ORDERS", 9, ERR_OK);
	ck_assert_uint_eq(c->n_limits, 4);
	ck_assert_uint_eq(find(c, CATALOG_LIMIT_HUB, "orders")->in_bytes, 9);
	ck_assert_str_eq(find(c, CATALOG_LIMIT_HUB, "orders")->name, "ORDERS");
	for (uint32_t i = 1; i < c->n_limits; i++) {
		ck_assert_int_le(c->limits[i - 1].kind, c->limits[i].kind);
	}
	drop(&c, CATALOG_LIMIT_HUB, "orders", ERR_OK);
	drop(&c, CATALOG_LIMIT_HUB, "orders", ERR_NOT_FOUND);
	ck_assert_uint_eq(c->n_limits, 3);
	ck_assert_ptr_nonnull(find(c, CATALOG_LIMIT_HUB, "*"));
	drop(&c, CATALOG_LIMIT_HUB, "*", ERR_OK);
	drop(&c, CATALOG_LIMIT_POLICY, "SENDER", ERR_OK);
	drop(&c, CATALOG_LIMIT_PARTITION, "orders", ERR_OK);
	ck_assert_uint_eq(c->n_limits, 0);
	catalog_drop(&c);
}
END_TEST

START_TEST(client_ids_are_told_apart_by_case)
{
	const struct catalog *c = catalog_empty(1);
	put(&c, CATALOG_LIMIT_CLIENT, "app", 1, ERR_OK);
	put(&c, CATALOG_LIMIT_CLIENT, "App", 2, ERR_OK);
	put(&c, CATALOG_LIMIT_CLIENT, "APP", 3, ERR_OK);
	ck_assert_uint_eq(c->n_limits, 3);
	ck_assert_uint_eq(find(c, CATALOG_LIMIT_CLIENT, "app")->in_bytes, 1);
	ck_assert_uint_eq(find(c, CATALOG_LIMIT_CLIENT, "App")->in_bytes, 2);
	ck_assert_uint_eq(find(c, CATALOG_LIMIT_CLIENT, "APP")->in_bytes, 3);
	ck_assert_ptr_null(find(c, CATALOG_LIMIT_CLIENT, "aPP"));
	catalog_drop(&c);
}
END_TEST

static void assert_names(enum catalog_limit_kind kind, const char *const *names, enum err want)
{
	for (; *names != NULL; names++) {
		struct err_detail d = {""};
		ck_assert_msg(catalog_limit_name_check(kind, *names, &d) == want, "%d '%s': %s",
			      (int)kind, *names, d.text);
		ck_assert_int_eq(d.text[0] != '\0', want != ERR_OK);
	}
}

START_TEST(names_follow_the_rules_of_their_kind)
{
	static const char *const hubs[] = {"*", "a", "a/b", "_x", NULL};
	static const char *const no_hubs[] = {"", "a b", "**", "a/", "a/*", NULL};
	static const char *const policies[] = {"*", "p", "a b", "hub/p", "a/b/p", NULL};
	static const char *const no_policies[] = {"", "/p", "hub/", "a//p", "a b/p", "p;", "a/p=",
						  NULL};
	static const char *const clients[] = {"*", "a", " a b ", "x/y;=*", "\xc3\xa9t\xc3\xa9",
					      "\xf0\x9f\x98\x80", NULL};
	static const char *const no_clients[] = {"", "a\n", "\x7f", "\xc3", "\xc3\x28", "\xc2\x85",
						 "\xc1\x81", "\xed\xa0\x80", "\xf5\x80\x80\x80",
						 "\xff", NULL};
	for (int kind = CATALOG_LIMIT_HUB; kind <= CATALOG_LIMIT_PUBLISHER; kind++) {
		assert_names((enum catalog_limit_kind)kind, hubs, ERR_OK);
		assert_names((enum catalog_limit_kind)kind, no_hubs, ERR_INVALID);
	}
	assert_names(CATALOG_LIMIT_POLICY, policies, ERR_OK);
	assert_names(CATALOG_LIMIT_POLICY, no_policies, ERR_INVALID);
	assert_names(CATALOG_LIMIT_CLIENT, clients, ERR_OK);
	assert_names(CATALOG_LIMIT_CLIENT, no_clients, ERR_INVALID);
	assert_names((enum catalog_limit_kind)0, hubs, ERR_INVALID);
	assert_names((enum catalog_limit_kind)6, hubs, ERR_INVALID);
}
END_TEST

START_TEST(names_end_at_their_limit)
{
	char name[CATALOG_LIMIT_NAME + 2];
	struct err_detail d;
	build_text(name, LIMIT_HUB_NAME, 'h');
	ck_assert_int_eq(catalog_limit_name_check(CATALOG_LIMIT_HUB, name, &d), ERR_OK);
	build_text(name, LIMIT_HUB_NAME + 1, 'h');
	ck_assert_int_eq(catalog_limit_name_check(CATALOG_LIMIT_HUB, name, &d), ERR_INVALID);
	build_text(name, CATALOG_CLIENT_NAME, 'c');
	ck_assert_int_eq(catalog_limit_name_check(CATALOG_LIMIT_CLIENT, name, &d), ERR_OK);
	build_text(name, CATALOG_CLIENT_NAME + 1, 'c');
	ck_assert_int_eq(catalog_limit_name_check(CATALOG_LIMIT_CLIENT, name, &d), ERR_INVALID);
	build_text(name, CATALOG_LIMIT_NAME, 'p');
	name[LIMIT_HUB_NAME] = '/';
	ck_assert_int_eq(catalog_limit_name_check(CATALOG_LIMIT_POLICY, name, &d), ERR_OK);
	name[LIMIT_HUB_NAME] = 'p';
	name[LIMIT_HUB_NAME + 1] = '/';
	ck_assert_int_eq(catalog_limit_name_check(CATALOG_LIMIT_POLICY, name, &d), ERR_INVALID);
	name[LIMIT_HUB_NAME - 1] = '/';
	name[LIMIT_HUB_NAME + 1] = 'p';
	ck_assert_int_eq(catalog_limit_name_check(CATALOG_LIMIT_POLICY, name, &d), ERR_INVALID);
	struct catalog_command cmd = build_limit(CATALOG_LIMIT_POLICY, "", 1);
	memset(cmd.limit.name, 'x', sizeof cmd.limit.name);	/* without an end */
	const struct catalog *c = catalog_empty(1);
	build_apply(&c, &cmd, ERR_INVALID);
	catalog_drop(&c);
}
END_TEST

START_TEST(rates_are_bounded)
{
	const struct catalog *c = catalog_empty(1);
	struct catalog_command cmd = build_limit(CATALOG_LIMIT_HUB, "h", 0);
	build_apply(&c, &cmd, ERR_OK);
	cmd.limit.out_events = 0;
	build_apply(&c, &cmd, ERR_INVALID);
	uint64_t *const values[] = {&cmd.limit.in_bytes, &cmd.limit.in_events, &cmd.limit.out_bytes,
				    &cmd.limit.out_events};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		*values[i] = CATALOG_LIMIT_RATE_MAX - 1;
		build_apply(&c, &cmd, ERR_OK);
		*values[i] = CATALOG_LIMIT_RATE_MAX;
		build_apply(&c, &cmd, ERR_OK);
		*values[i] = CATALOG_LIMIT_RATE_MAX + 1;
		build_apply(&c, &cmd, ERR_INVALID);
		*values[i] = 0;
	}
	build_apply(&c, &cmd, ERR_INVALID);	/* of nothing */
	cmd.limit.out_bytes = 1;
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_uint_eq(c->n_limits, 1);
	catalog_drop(&c);
}
END_TEST

START_TEST(number_ends_at_its_limit)
{
	const struct catalog *c = catalog_empty(1);
	char name[32];
	for (int i = 0; i < CATALOG_LIMITS_MAX; i++) {
		snprintf(name, sizeof name, "h%d", i);
		put(&c, CATALOG_LIMIT_HUB, name, 1, ERR_OK);
	}
	put(&c, CATALOG_LIMIT_CLIENT, "more", 1, ERR_LIMIT);
	put(&c, CATALOG_LIMIT_HUB, "H7", 2, ERR_OK);
	drop(&c, CATALOG_LIMIT_HUB, "h7", ERR_OK);
	put(&c, CATALOG_LIMIT_CLIENT, "more", 1, ERR_OK);
	catalog_drop(&c);
}
END_TEST

START_TEST(limits_of_a_deleted_hub_go_with_it)
{
	const struct catalog *c = build_sample();	/* client app, hub Orders, policy orders/sender */
	put(&c, CATALOG_LIMIT_PARTITION, "ORDERS", 1, ERR_OK);
	put(&c, CATALOG_LIMIT_PUBLISHER, "orders", 1, ERR_OK);
	put(&c, CATALOG_LIMIT_PUBLISHER, "*", 1, ERR_OK);
	put(&c, CATALOG_LIMIT_POLICY, "Orders/gone", 1, ERR_OK);
	put(&c, CATALOG_LIMIT_POLICY, "orders/more/p", 1, ERR_OK);
	put(&c, CATALOG_LIMIT_POLICY, "orders", 1, ERR_OK);
	put(&c, CATALOG_LIMIT_CLIENT, "orders", 1, ERR_OK);
	put(&c, CATALOG_LIMIT_HUB, "alpha/beta", 1, ERR_OK);
	struct catalog_command cmd = build_hub(CATALOG_HUB_DELETE, "oRders");
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_uint_eq(c->n_limits, 6);
	ck_assert_ptr_nonnull(find(c, CATALOG_LIMIT_HUB, "alpha/beta"));
	ck_assert_ptr_nonnull(find(c, CATALOG_LIMIT_PUBLISHER, "*"));
	ck_assert_ptr_nonnull(find(c, CATALOG_LIMIT_POLICY, "orders/more/p"));
	ck_assert_ptr_nonnull(find(c, CATALOG_LIMIT_POLICY, "orders"));
	ck_assert_ptr_nonnull(find(c, CATALOG_LIMIT_CLIENT, "app"));
	ck_assert_ptr_nonnull(find(c, CATALOG_LIMIT_CLIENT, "orders"));
	catalog_drop(&c);
}
END_TEST

START_TEST(limit_of_a_deleted_policy_goes_with_it)
{
	const struct catalog *c = build_sample();
	put(&c, CATALOG_LIMIT_POLICY, "sender", 1, ERR_OK);
	struct catalog_command cmd = build_policy("ORDERS", "Sender", 1);
	cmd.op = CATALOG_POLICY_DELETE;
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_ptr_null(find(c, CATALOG_LIMIT_POLICY, "orders/sender"));
	ck_assert_ptr_nonnull(find(c, CATALOG_LIMIT_POLICY, "sender"));
	cmd = build_policy("", "sender", 1);
	build_apply(&c, &cmd, ERR_OK);
	cmd.op = CATALOG_POLICY_DELETE;
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_ptr_null(find(c, CATALOG_LIMIT_POLICY, "sender"));
	cmd = build_policy("orders", "listener", 1);
	cmd.op = CATALOG_POLICY_DELETE;
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_uint_eq(c->n_limits, 2);
	catalog_drop(&c);
}
END_TEST

START_TEST(changes_leave_older_snapshots_alone)
{
	const struct catalog *c = build_sample();
	const struct catalog *old = catalog_hold(c);
	put(&c, CATALOG_LIMIT_HUB, "orders", 77, ERR_OK);
	drop(&c, CATALOG_LIMIT_CLIENT, "app", ERR_OK);
	ck_assert_uint_eq(old->n_limits, 3);
	ck_assert_uint_eq(find(old, CATALOG_LIMIT_HUB, "orders")->in_bytes, 2);
	ck_assert_uint_eq(find(c, CATALOG_LIMIT_HUB, "orders")->in_bytes, 77);
	catalog_drop(&c);
	ck_assert_ptr_nonnull(find(old, CATALOG_LIMIT_CLIENT, "app"));
	catalog_drop(&old);
}
END_TEST

START_TEST(failed_allocation_changes_nothing)
{
	const struct catalog *c = build_sample();
	struct catalog_command cmd = build_limit(CATALOG_LIMIT_HUB, "*", 1);
	for (long n = 1;; n++) {
		const struct catalog *next = NULL;
		mem_fault_at(n);
		enum err e = catalog_apply(c, &cmd, 99, &next);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		if (!fired) {
			ck_assert_uint_eq(next->n_limits, 4);
			catalog_drop(&next);
			break;
		}
	}
	ck_assert_uint_eq(c->n_limits, 3);
	catalog_drop(&c);
}
END_TEST

Suite *catalog_limit_suite(void)
{
	Suite *s = suite_create("catalog_limit");
	TCase *t = tcase_create("limit");
	tcase_add_test(t, limits_come_go_and_are_replaced);
	tcase_add_test(t, client_ids_are_told_apart_by_case);
	tcase_add_test(t, names_follow_the_rules_of_their_kind);
	tcase_add_test(t, names_end_at_their_limit);
	tcase_add_test(t, rates_are_bounded);
	tcase_add_test(t, number_ends_at_its_limit);
	tcase_add_test(t, limits_of_a_deleted_hub_go_with_it);
	tcase_add_test(t, limit_of_a_deleted_policy_goes_with_it);
	tcase_add_test(t, changes_leave_older_snapshots_alone);
	tcase_add_test(t, failed_allocation_changes_nothing);
	suite_add_tcase(s, t);
	return s;
}
