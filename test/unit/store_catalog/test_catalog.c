#include "store/catalog/catalog.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>

#include "base/lock.h"
#include "test/unit/store_catalog/catalog_build.h"

Suite *catalog_suite(void);

START_TEST(hub_is_found_without_case_and_by_id)
{
	const struct catalog *c = build_sample();
	const struct catalog_hub *h = catalog_hub_find(c, span_str("oRDERS"));
	ck_assert_ptr_nonnull(h);
	ck_assert_str_eq(h->name, "Orders");
	ck_assert_ptr_eq(catalog_hub_by_id(c, h->id), h);
	ck_assert_ptr_null(catalog_hub_find(c, span_str("order")));
	ck_assert_ptr_null(catalog_hub_find(c, span_str("orders2")));
	ck_assert_ptr_null(catalog_hub_find(c, span_str("")));
	ck_assert_ptr_null(catalog_hub_by_id(c, 0));
	ck_assert_ptr_null(catalog_hub_by_id(c, 3));
	catalog_drop(&c);
}
END_TEST

START_TEST(hub_of_path_is_the_longest_prefix)
{
	const struct catalog *c = build_sample();
	struct catalog_command cmd = build_create("alpha", 1);
	build_apply(&c, &cmd, ERR_OK);
	static const struct {
		const char *path;
		const char *hub;
		const char *rest;
	} cases[] = {
		{"alpha/beta", "alpha/beta", ""},
		{"ALPHA/Beta/Partitions/0", "alpha/beta", "Partitions/0"},
		{"alpha/betamax", "alpha", "betamax"},
		{"alpha/", "alpha", ""},
		{"alpha//x", "alpha", "/x"},
		{"orders/consumergroups/g", "Orders", "consumergroups/g"},
		{"order", NULL, "order"},
		{"/orders", NULL, "/orders"},
		{"", NULL, ""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct span rest;
		const struct catalog_hub *h =
			catalog_hub_of_path(c, span_str(cases[i].path), &rest);
		ck_assert_msg((h != NULL) == (cases[i].hub != NULL), "%s", cases[i].path);
		if (h != NULL) {
			ck_assert_str_eq(h->name, cases[i].hub);
		}
		ck_assert_msg(span_eq_str(rest, cases[i].rest), "%s", cases[i].path);
	}
	catalog_drop(&c);
}
END_TEST

START_TEST(hub_of_long_path_is_found)
{
	const struct catalog *c = build_sample();
	char path[LIMIT_PATH + 1];
	build_text(path, LIMIT_PATH, '/');
	memcpy(path, "orders", 6);
	struct span rest;
	ck_assert_ptr_nonnull(catalog_hub_of_path(c, span_str(path), &rest));
	ck_assert_uint_eq(rest.n, LIMIT_PATH - 7);
	catalog_drop(&c);
}
END_TEST

START_TEST(group_exists_without_case_and_default_always)
{
	const struct catalog *c = build_sample();
	const struct catalog_hub *h = catalog_hub_find(c, span_str("orders"));
	ck_assert(catalog_group_exists(h, span_str("$DEFAULT")));
	ck_assert(catalog_group_exists(h, span_str("audit")));
	ck_assert(catalog_group_exists(h, span_str("BILLING")));
	ck_assert(!catalog_group_exists(h, span_str("bill")));
	ck_assert_ptr_nonnull(catalog_policy_find(h->policies, h->n_policies, span_str("SENDER")));
	ck_assert_ptr_null(catalog_policy_find(h->policies, h->n_policies, span_str("send")));
	catalog_drop(&c);
}
END_TEST

struct shared {
	struct lock lock;
	const struct catalog *c;
	bool stop;
};

static void *hold_and_drop(void *arg)
{
	struct shared *s = arg;
	for (;;) {
		lock_take(&s->lock);
		bool stop = s->stop;
		const struct catalog *c = catalog_hold(s->c);
		lock_give(&s->lock);
		ck_assert_ptr_nonnull(catalog_hub_find(c, span_str("orders")));
		ck_assert_uint_eq(c->n_hubs, catalog_hub_find(c, span_str("alpha/beta"))->partitions - 4);
		catalog_drop(&c);
		if (stop) {
			return NULL;
		}
	}
}

START_TEST(snapshots_are_held_and_dropped_by_many_threads)
{
	struct shared s = {.c = build_sample()};
	lock_init(&s.lock);
	pthread_t t[3];
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(thread_start(&t[i], ROLE_READER, "holder", hold_and_drop, &s), ERR_OK);
	}
	/* Each snapshot a holder sees is whole, however old it is. */
	for (int i = 0; i < 200; i++) {
		const struct catalog *next = NULL;
		struct catalog_command cmd = build_group(
			i % 2 == 0 ? CATALOG_GROUP_CREATE : CATALOG_GROUP_DELETE, "orders", "churn");
		ck_assert_int_eq(catalog_apply(s.c, &cmd, s.c->version + 1, &next), ERR_OK);
		lock_take(&s.lock);
		const struct catalog *old = s.c;
		s.c = next;
		s.stop = i == 199;
		lock_give(&s.lock);
		catalog_drop(&old);
	}
	for (int i = 0; i < 3; i++) {
		thread_join(t[i]);
	}
	catalog_drop(&s.c);
	lock_fini(&s.lock);
}
END_TEST

START_TEST(dropped_null_is_ignored)
{
	const struct catalog *c = NULL;
	catalog_drop(&c);
	ck_assert_ptr_null(c);
}
END_TEST

Suite *catalog_suite(void)
{
	Suite *s = suite_create("catalog");
	TCase *t = tcase_create("snapshot");
	tcase_add_test(t, hub_is_found_without_case_and_by_id);
	tcase_add_test(t, hub_of_path_is_the_longest_prefix);
	tcase_add_test(t, hub_of_long_path_is_found);
	tcase_add_test(t, group_exists_without_case_and_default_always);
	tcase_add_test(t, snapshots_are_held_and_dropped_by_many_threads);
	tcase_add_test(t, dropped_null_is_ignored);
	suite_add_tcase(s, t);
	return s;
}
