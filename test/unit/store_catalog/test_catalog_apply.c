#include <check.h>

#include "base/mem.h"
#include "test/unit/store_catalog/catalog_build.h"

Suite *catalog_apply_suite(void);

START_TEST(created_hub_has_defaults_and_spread_shards)
{
	const struct catalog *c = build_sample();
	const struct catalog_hub *a = catalog_hub_find(c, span_str("orders"));
	const struct catalog_hub *b = catalog_hub_find(c, span_str("alpha/beta"));
	ck_assert_uint_eq(a->id, 1);
	ck_assert_uint_eq(b->id, 2);
	ck_assert_int_eq(a->retention_ms, 0);
	ck_assert_int_eq(a->cleanup, CATALOG_DELETE);
	ck_assert_int_eq(a->created_ms, 1000);
	uint32_t want = 0;
	for (uint32_t i = 0; i < a->partitions; i++) {
		ck_assert_uint_eq(a->shards[i], want++ % 4);
	}
	for (uint32_t i = 0; i < b->partitions; i++) {
		ck_assert_uint_eq(b->shards[i], want++ % 4);
	}
	ck_assert_uint_eq(c->next_shard, want % 4);
	catalog_drop(&c);
}
END_TEST

START_TEST(create_takes_given_settings)
{
	const struct catalog *c = catalog_empty(2);
	struct catalog_command cmd = build_create("h", 2);
	cmd.has_retention = true;
	cmd.retention_ms = 3000;
	cmd.has_retention_bytes = true;
	cmd.retention_bytes = 77;
	cmd.has_cleanup = true;
	cmd.cleanup = CATALOG_COMPACT;
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_int_eq(c->hubs[0]->retention_ms, 3000);
	ck_assert_uint_eq(c->hubs[0]->retention_bytes, 77);
	ck_assert_int_eq(c->hubs[0]->cleanup, CATALOG_COMPACT);
	catalog_drop(&c);
}
END_TEST

START_TEST(update_changes_only_what_it_names)
{
	const struct catalog *c = build_sample();
	struct catalog_command cmd = build_hub(CATALOG_HUB_UPDATE, "ORDERS");
	cmd.now_ms = 5000;
	cmd.partitions = 5;
	build_apply(&c, &cmd, ERR_OK);
	const struct catalog_hub *h = catalog_hub_find(c, span_str("orders"));
	ck_assert_uint_eq(h->partitions, 5);
	/* 3 + 6 partitions went before, so the round goes on at shard 1. */
	ck_assert_uint_eq(h->shards[2], 2);
	ck_assert_uint_eq(h->shards[3], 1);
	ck_assert_uint_eq(h->shards[4], 2);
	ck_assert_int_eq(h->created_ms, 1000);
	ck_assert_int_eq(h->updated_ms, 5000);
	ck_assert_int_eq(h->retention_ms, 0);
	ck_assert_uint_eq(h->n_groups, 2);
	ck_assert_uint_eq(h->n_policies, 2);
	cmd = build_hub(CATALOG_HUB_UPDATE, "orders");
	cmd.has_retention = true;
	cmd.retention_ms = 9;
	build_apply(&c, &cmd, ERR_OK);
	h = catalog_hub_find(c, span_str("orders"));
	ck_assert_uint_eq(h->partitions, 5);
	ck_assert_int_eq(h->retention_ms, 9);
	catalog_drop(&c);
}
END_TEST

START_TEST(recreated_hub_gets_a_new_id)
{
	const struct catalog *c = build_sample();
	struct catalog_command cmd = build_hub(CATALOG_HUB_DELETE, "orders");
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_ptr_null(catalog_hub_find(c, span_str("orders")));
	ck_assert_ptr_null(catalog_hub_by_id(c, 1));
	ck_assert_uint_eq(c->n_hubs, 1);
	cmd = build_create("orders", 1);
	build_apply(&c, &cmd, ERR_OK);
	const struct catalog_hub *h = catalog_hub_find(c, span_str("orders"));
	ck_assert_uint_eq(h->id, 3);
	ck_assert_uint_eq(h->n_groups, 0);
	ck_assert_uint_eq(h->n_policies, 0);
	ck_assert_ptr_eq(catalog_hub_by_id(c, 3), h);
	ck_assert_ptr_nonnull(catalog_hub_by_id(c, 2));
	catalog_drop(&c);
}
END_TEST

START_TEST(groups_and_policies_come_and_go)
{
	const struct catalog *c = build_sample();
	struct catalog_command cmd = build_group(CATALOG_GROUP_DELETE, "orders", "AUDIT");
	build_apply(&c, &cmd, ERR_OK);
	const struct catalog_hub *h = catalog_hub_find(c, span_str("orders"));
	ck_assert_uint_eq(h->n_groups, 1);
	ck_assert_str_eq(h->groups[0].name, "billing");
	cmd = build_policy("orders", "sender", 4);
	build_apply(&c, &cmd, ERR_OK);
	h = catalog_hub_find(c, span_str("orders"));
	ck_assert_uint_eq(h->n_policies, 2);
	ck_assert_uint_eq(catalog_policy_find(h->policies, 2, span_str("sender"))->rights, 7);
	cmd.op = CATALOG_POLICY_DELETE;
	build_apply(&c, &cmd, ERR_OK);
	h = catalog_hub_find(c, span_str("orders"));
	ck_assert_uint_eq(h->n_policies, 1);
	ck_assert_str_eq(h->policies[0].name, "listener");
	build_apply(&c, &cmd, ERR_NOT_FOUND);
	catalog_drop(&c);
}
END_TEST

static struct catalog_command producer_ids(uint32_t n)
{
	return (struct catalog_command){.op = CATALOG_PRODUCER_IDS, .producer_ids = n};
}

START_TEST(producer_ids_are_given_out_once)
{
	const struct catalog *c = catalog_empty(1);
	ck_assert_int_eq(c->next_producer_id, 0);
	struct catalog_command cmd = producer_ids(1);
	build_apply(&c, &cmd, ERR_OK);
	cmd = producer_ids(CATALOG_PRODUCER_IDS_MAX);
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_int_eq(c->next_producer_id, 1 + CATALOG_PRODUCER_IDS_MAX);
	cmd = producer_ids(0);
	build_apply(&c, &cmd, ERR_INVALID);
	cmd = producer_ids(CATALOG_PRODUCER_IDS_MAX + 1);
	build_apply(&c, &cmd, ERR_INVALID);
	/* Other commands leave them alone. */
	cmd = build_create("h", 1);
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_int_eq(c->next_producer_id, 1 + CATALOG_PRODUCER_IDS_MAX);
	catalog_drop(&c);
}
END_TEST

START_TEST(producer_ids_end_with_the_numbers)
{
	const struct catalog *c = catalog_empty(1);
	struct str row = {0};
	ck_assert_int_eq(catalog_namespace_encode(c, &row), ERR_OK);
	catalog_drop(&c);
	/* Before the units, 37 bytes, and the number of limits. */
	put_u64((uint8_t *)row.p + row.len - 4 - 37 - 8, INT64_MAX - 10);
	struct catalog_loader *l = catalog_loader_new(1);
	ck_assert_int_eq(catalog_loader_row(l, CATALOG_ROW_NAMESPACE, span_of(row.p, row.len)), ERR_OK);
	ck_assert_int_eq(catalog_loader_finish(&l, &c), ERR_OK);
	str_fini(&row);
	struct catalog_command cmd = producer_ids(11);
	build_apply(&c, &cmd, ERR_LIMIT);
	cmd = producer_ids(10);
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_int_eq(c->next_producer_id, INT64_MAX);
	cmd = producer_ids(1);
	build_apply(&c, &cmd, ERR_LIMIT);
	catalog_drop(&c);
}
END_TEST

START_TEST(old_snapshot_is_unchanged)
{
	const struct catalog *c = build_sample();
	const struct catalog *old = catalog_hold(c);
	struct catalog_command cmd = build_hub(CATALOG_HUB_DELETE, "orders");
	build_apply(&c, &cmd, ERR_OK);
	ck_assert_uint_eq(old->n_hubs, 2);
	ck_assert_ptr_nonnull(catalog_hub_find(old, span_str("orders")));
	/* Untouched hubs are shared, not copied. */
	ck_assert_ptr_eq(catalog_hub_by_id(old, 2), catalog_hub_by_id(c, 2));
	catalog_drop(&c);
	catalog_drop(&old);
}
END_TEST

START_TEST(failed_allocation_leaves_the_snapshot)
{
	const struct catalog *c = build_sample();
	const struct catalog_command commands[] = {
		build_create("new", 4),
		build_group(CATALOG_GROUP_CREATE, "orders", "new"),
		build_policy("orders", "new", 1),
		build_policy("", "new", 1),
		build_hub(CATALOG_HUB_DELETE, "orders"),
		build_hub(CATALOG_HUB_UPDATE, "orders"),
	};
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		enum err e = ERR_NOMEM;
		for (long n = 1; e == ERR_NOMEM; n++) {
			const struct catalog *next = NULL;
			mem_fault_at(n);
			e = catalog_apply(c, &commands[i], 99, &next);
			bool fired = mem_fault_fired();
			mem_fault_at(0);
			ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
			ck_assert_uint_eq(c->n_hubs, 2);
			if (next != NULL) {
				catalog_drop(&next);
			}
		}
	}
	mem_fault_at(1);
	ck_assert_ptr_null(catalog_empty(1));
	mem_fault_at(0);
	catalog_drop(&c);
}
END_TEST

Suite *catalog_apply_suite(void)
{
	Suite *s = suite_create("catalog_apply");
	TCase *t = tcase_create("apply");
	tcase_add_test(t, created_hub_has_defaults_and_spread_shards);
	tcase_add_test(t, create_takes_given_settings);
	tcase_add_test(t, update_changes_only_what_it_names);
	tcase_add_test(t, recreated_hub_gets_a_new_id);
	tcase_add_test(t, groups_and_policies_come_and_go);
	tcase_add_test(t, producer_ids_are_given_out_once);
	tcase_add_test(t, producer_ids_end_with_the_numbers);
	tcase_add_test(t, old_snapshot_is_unchanged);
	tcase_add_test(t, failed_allocation_leaves_the_snapshot);
	suite_add_tcase(s, t);
	return s;
}
