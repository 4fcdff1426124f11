#include "test/unit/store_catalog/catalog_build.h"

#include <check.h>
#include <stdio.h>

struct catalog_command build_hub(enum catalog_op op, const char *hub)
{
	struct catalog_command cmd = {.op = op, .now_ms = 1000};
	snprintf(cmd.hub, sizeof cmd.hub, "%s", hub);
	return cmd;
}

struct catalog_command build_create(const char *hub, uint32_t partitions)
{
	struct catalog_command cmd = build_hub(CATALOG_HUB_CREATE, hub);
	cmd.partitions = partitions;
	return cmd;
}

struct catalog_command build_group(enum catalog_op op, const char *hub, const char *group)
{
	struct catalog_command cmd = build_hub(op, hub);
	snprintf(cmd.group, sizeof cmd.group, "%s", group);
	return cmd;
}

struct catalog_command build_policy(const char *hub, const char *name, unsigned rights)
{
	struct catalog_command cmd = build_hub(CATALOG_POLICY_PUT, hub);
	snprintf(cmd.policy.name, sizeof cmd.policy.name, "%s", name);
	snprintf(cmd.policy.primary, sizeof cmd.policy.primary, "primary-of-%.200s", name);
	snprintf(cmd.policy.secondary, sizeof cmd.policy.secondary, "secondary-of-%.200s", name);
	cmd.policy.rights = rights;
	return cmd;
}

struct catalog_command build_limit(enum catalog_limit_kind kind, const char *name,
				   uint64_t in_bytes)
{
	struct catalog_command cmd = {.op = CATALOG_LIMIT_PUT, .now_ms = 1000};
	cmd.limit.kind = kind;
	snprintf(cmd.limit.name, sizeof cmd.limit.name, "%s", name);
	cmd.limit.in_bytes = in_bytes;
	cmd.limit.out_events = 7;
	return cmd;
}

struct catalog_command build_units(enum catalog_units_by by, uint32_t units)
{
	return (struct catalog_command){
		.op = CATALOG_UNITS_SET, .units_by = by, .has_units = true, .units.units = units};
}

void build_apply(const struct catalog **c, const struct catalog_command *cmd, enum err want)
{
	const struct catalog *next = NULL;
	struct err_detail d = {""};
	enum err checked = catalog_check(*c, cmd, &d);
	enum err e = catalog_apply(*c, cmd, (*c)->version + 1, &next);
	ck_assert_msg(e == want, "got %s (%s)", err_info(e)->name, d.text);
	ck_assert_int_eq(checked, want);
	ck_assert(want == ERR_OK || d.text[0] != '\0');
	if (e == ERR_OK) {
		ck_assert_uint_eq(next->version, (*c)->version + 1);
		catalog_drop(c);
		*c = next;
	}
}

const struct catalog *build_sample(void)
{
	const struct catalog *c = catalog_empty(4);
	ck_assert_ptr_nonnull(c);
	struct catalog_command commands[] = {
		build_policy("", "RootManageSharedAccessKey", 7),
		build_create("Orders", 3),
		build_create("alpha/beta", 6),
		build_group(CATALOG_GROUP_CREATE, "orders", "billing"),
		build_group(CATALOG_GROUP_CREATE, "orders", "Audit"),
		build_policy("orders", "sender", 1),
		build_policy("orders", "listener", 2),
		{.op = CATALOG_PRODUCER_IDS, .producer_ids = 1000},
		{.op = CATALOG_UNITS_SET,
		 .units_by = CATALOG_UNITS_BY_SETTINGS,
		 .has_units = true,
		 .has_inflate_max = true,
		 .has_deflate_after = true,
		 .units = {.units = 3, .inflate_max = 9, .deflate_after_ms = 60000,
			   .settings_units = 3, .settings_inflate_max = 9,
			   .settings_deflate_after_ms = 60001}},
		build_limit(CATALOG_LIMIT_CLIENT, "app", 1),
		build_limit(CATALOG_LIMIT_HUB, "Orders", 2),
		build_limit(CATALOG_LIMIT_POLICY, "orders/sender", 3),
	};
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		build_apply(&c, &commands[i], ERR_OK);
	}
	return c;
}

static void assert_policies(const struct catalog_policy *a, uint32_t n_a,
			    const struct catalog_policy *b, uint32_t n_b)
{
	ck_assert_uint_eq(n_a, n_b);
	for (uint32_t i = 0; i < n_a; i++) {
		ck_assert_str_eq(a[i].name, b[i].name);
		ck_assert_uint_eq(a[i].rights, b[i].rights);
		ck_assert_str_eq(a[i].primary, b[i].primary);
		ck_assert_str_eq(a[i].secondary, b[i].secondary);
	}
}

static void assert_hub(const struct catalog_hub *a, const struct catalog_hub *b)
{
	ck_assert_str_eq(a->name, b->name);
	ck_assert_uint_eq(a->id, b->id);
	ck_assert_uint_eq(a->partitions, b->partitions);
	for (uint32_t i = 0; i < a->partitions; i++) {
		ck_assert_uint_eq(a->shards[i], b->shards[i]);
	}
	ck_assert_int_eq(a->created_ms, b->created_ms);
	ck_assert_int_eq(a->updated_ms, b->updated_ms);
	ck_assert_int_eq(a->retention_ms, b->retention_ms);
	ck_assert_uint_eq(a->retention_bytes, b->retention_bytes);
	ck_assert_int_eq(a->cleanup, b->cleanup);
	ck_assert_uint_eq(a->n_groups, b->n_groups);
	for (uint32_t i = 0; i < a->n_groups; i++) {
		ck_assert_str_eq(a->groups[i].name, b->groups[i].name);
		ck_assert_int_eq(a->groups[i].created_ms, b->groups[i].created_ms);
	}
	assert_policies(a->policies, a->n_policies, b->policies, b->n_policies);
}

static void assert_units(const struct catalog_units *a, const struct catalog_units *b)
{
	ck_assert_uint_eq(a->units, b->units);
	ck_assert_uint_eq(a->base, b->base);
	ck_assert_uint_eq(a->inflate_max, b->inflate_max);
	ck_assert_int_eq(a->deflate_after_ms, b->deflate_after_ms);
	ck_assert_int_eq(a->has_settings, b->has_settings);
	ck_assert_uint_eq(a->settings_units, b->settings_units);
	ck_assert_uint_eq(a->settings_inflate_max, b->settings_inflate_max);
	ck_assert_int_eq(a->settings_deflate_after_ms, b->settings_deflate_after_ms);
}

static void assert_limits(const struct catalog *a, const struct catalog *b)
{
	ck_assert_uint_eq(a->n_limits, b->n_limits);
	for (uint32_t i = 0; i < a->n_limits; i++) {
		ck_assert_int_eq(a->limits[i].kind, b->limits[i].kind);
		ck_assert_str_eq(a->limits[i].name, b->limits[i].name);
		ck_assert_uint_eq(a->limits[i].in_bytes, b->limits[i].in_bytes);
		ck_assert_uint_eq(a->limits[i].in_events, b->limits[i].in_events);
		ck_assert_uint_eq(a->limits[i].out_bytes, b->limits[i].out_bytes);
		ck_assert_uint_eq(a->limits[i].out_events, b->limits[i].out_events);
	}
}

void build_assert_equal(const struct catalog *a, const struct catalog *b)
{
	ck_assert_uint_eq(a->version, b->version);
	ck_assert_uint_eq(a->shards, b->shards);
	ck_assert_uint_eq(a->next_hub_id, b->next_hub_id);
	ck_assert_uint_eq(a->next_shard, b->next_shard);
	ck_assert_int_eq(a->next_producer_id, b->next_producer_id);
	ck_assert_uint_eq(a->n_hubs, b->n_hubs);
	for (uint32_t i = 0; i < a->n_hubs; i++) {
		assert_hub(a->hubs[i], b->hubs[i]);
	}
	assert_policies(a->policies, a->n_policies, b->policies, b->n_policies);
	assert_units(&a->units, &b->units);
	assert_limits(a, b);
}

void build_text(char *out, size_t n, char c)
{
	memset(out, c, n);
	out[n] = '\0';
}
