/* Quotas of hubs, partitions and groups, and of management calls. */

#include <stdio.h>
#include <string.h>

#include "base/metrics.h"
#include "test/unit/core/core_fix.h"

static struct core_fix fix;

/* Of hubs one more than the fixture made. */
static void setup(void)
{
	const struct core_options o = {
		.inflight_max_bytes = 1 << 20,
		.management_rate = 5,
		.max_hubs = 3,
		.max_partitions = 4,
		.max_consumer_groups = 2,
	};
	core_fix_open_as(&fix, &o, NULL);
}

static void teardown(void)
{
	core_fix_close(&fix);
}

static enum err run(enum catalog_op op, const char *hub, uint32_t partitions, const char *group)
{
	struct catalog_command cmd = {.op = op, .partitions = partitions};
	snprintf(cmd.hub, sizeof cmd.hub, "%s", hub);
	snprintf(cmd.group, sizeof cmd.group, "%s", group);
	return core_fix_command(&fix, &cmd);
}

START_TEST(hubs_have_a_quota)
{
	int64_t before = metric_get(METRIC_ERRORS_QUOTA);
	ck_assert_int_eq(run(CATALOG_HUB_CREATE, "third", 1, ""), ERR_OK);
	ck_assert_int_eq(run(CATALOG_HUB_CREATE, "fourth", 1, ""), ERR_LIMIT);
	ck_assert_int_eq(metric_get(METRIC_ERRORS_QUOTA), before + 1);
	ck_assert_int_eq(run(CATALOG_HUB_CREATE, "third", 1, ""), ERR_EXISTS);
	ck_assert_int_eq(run(CATALOG_HUB_DELETE, "third", 0, ""), ERR_OK);
	ck_assert_int_eq(run(CATALOG_HUB_CREATE, "fourth", 1, ""), ERR_OK);
}
END_TEST

static int answers;

static void on_answer(struct msg *m)
{
	(void)m;
	answers++;
}

/* All of them find room when they are asked for. */
START_TEST(what_is_asked_for_at_once_stays_within_the_quotas)
{
	enum { N = 8 };
	static struct store_command op[N];
	for (int i = 0; i < N; i++) {
		bool is_hub = i % 2 == 0;
		op[i] = (struct store_command){
			.reply_to = &fix.reply,
			.done = on_answer,
			.command = {.op = is_hub ? CATALOG_HUB_CREATE : CATALOG_GROUP_CREATE,
				    .partitions = 1,
				    .hub = "events"},
		};
		if (is_hub) {
			snprintf(op[i].command.hub, sizeof op[i].command.hub, "hub%d", i);
		} else {
			snprintf(op[i].command.group, sizeof op[i].command.group, "group%d", i);
		}
		core_command(fix.core, &op[i]);
	}
	while (answers < N) {
		core_fix_wait(&fix);
	}
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(op[i].err, i < 2 ? ERR_OK : ERR_LIMIT);
	}
}
END_TEST

START_TEST(partitions_have_a_quota)
{
	ck_assert_int_eq(run(CATALOG_HUB_CREATE, "third", 5, ""), ERR_LIMIT);
	ck_assert_int_eq(run(CATALOG_HUB_CREATE, "third", 4, ""), ERR_OK);
	ck_assert_int_eq(run(CATALOG_HUB_UPDATE, "third", 5, ""), ERR_LIMIT);
	ck_assert_int_eq(run(CATALOG_HUB_UPDATE, "a/b", 3, ""), ERR_OK);
}
END_TEST

/* What there is already stays, and may be changed. */
START_TEST(a_hub_that_is_larger_than_the_quota_may_be_updated)
{
	struct catalog_command cmd = {.op = CATALOG_HUB_CREATE, .hub = "large", .partitions = 9};
	struct core *core = fix.core;
	fix.core = NULL;	/* past the quotas */
	ck_assert_int_eq(core_fix_command(&fix, &cmd), ERR_OK);
	fix.core = core;
	ck_assert_int_eq(run(CATALOG_HUB_UPDATE, "large", 9, ""), ERR_OK);
	ck_assert_int_eq(run(CATALOG_HUB_UPDATE, "large", 10, ""), ERR_LIMIT);
}
END_TEST

START_TEST(groups_have_a_quota_of_each_hub)
{
	ck_assert_int_eq(run(CATALOG_GROUP_CREATE, "events", 0, "two"), ERR_OK);
	ck_assert_int_eq(run(CATALOG_GROUP_CREATE, "events", 0, "three"), ERR_LIMIT);
	ck_assert_int_eq(run(CATALOG_GROUP_CREATE, "events", 0, "TWO"), ERR_EXISTS);
	ck_assert_int_eq(run(CATALOG_GROUP_CREATE, "a/b", 0, "three"), ERR_OK);
	ck_assert_int_eq(run(CATALOG_GROUP_CREATE, "none", 0, "three"), ERR_NOT_FOUND);
}
END_TEST

START_TEST(management_calls_have_a_rate)
{
	struct err_detail d = {""};
	uint32_t wait_ms = 7;
	int64_t before = metric_get(METRIC_REQUESTS_THROTTLED);
	ck_assert_int_eq(core_manage_take(fix.core, &wait_ms, &d), ERR_OK);
	ck_assert_uint_eq(wait_ms, 0);
	int passed = 1;
	while (core_manage_take(fix.core, &wait_ms, &d) == ERR_OK) {
		passed++;
		ck_assert_int_lt(passed, 1000);
	}
	ck_assert_int_ge(passed, 5);
	ck_assert_uint_gt(wait_ms, 0);
	ck_assert_uint_le(wait_ms, 1000);
	ck_assert_ptr_nonnull(strstr(d.text, "ns.example"));
	ck_assert_ptr_nonnull(strstr(d.text, "Error code : 50008."));
	ck_assert_ptr_nonnull(strstr(d.text, "5 management calls per second"));
	ck_assert_ptr_nonnull(strstr(d.text, "wait 1 seconds"));
	ck_assert_int_eq(metric_get(METRIC_REQUESTS_THROTTLED), before + 1);
}
END_TEST

Suite *quota_suite(void)
{
	Suite *s = suite_create("quota");
	TCase *t = tcase_create("quotas");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, hubs_have_a_quota);
	tcase_add_test(t, what_is_asked_for_at_once_stays_within_the_quotas);
	tcase_add_test(t, partitions_have_a_quota);
	tcase_add_test(t, a_hub_that_is_larger_than_the_quota_may_be_updated);
	tcase_add_test(t, groups_have_a_quota_of_each_hub);
	tcase_add_test(t, management_calls_have_a_rate);
	suite_add_tcase(s, t);
	return s;
}
