#include <stdio.h>
#include <string.h>

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

static enum err resolve(const char *text, struct core_address *a, struct err_detail *d)
{
	d->text[0] = '\0';
	return core_resolve(fix.core, span_str(text), a, d);
}

START_TEST(every_form_of_a_hub_is_the_hub)
{
	static const char *const forms[] = {"events", "/events", "EVENTS", "amqps://host/events",
					    "sb://host:5671/events/", "amqp://h:1/%65vents"};
	struct core_address a;
	struct err_detail d;
	ck_assert_int_eq(resolve(forms[_i], &a, &d), ERR_OK);
	ck_assert_int_eq(a.kind, CORE_HUB);
	ck_assert_str_eq(a.hub, "events");
	ck_assert_str_eq(a.path, "events");
	ck_assert_uint_eq(a.partitions, 4);
}
END_TEST

START_TEST(a_name_with_a_slash_is_found_by_its_longest_prefix)
{
	struct core_address a;
	struct err_detail d;
	ck_assert_int_eq(resolve("a/b/Partitions/1", &a, &d), ERR_OK);
	ck_assert_str_eq(a.hub, "a/b");
	ck_assert_int_eq(a.kind, CORE_PARTITION);
	ck_assert_uint_eq(a.partition, 1);
	ck_assert_int_eq(resolve("a", &a, &d), ERR_NOT_FOUND);
}
END_TEST

START_TEST(readers_publishers_and_nodes)
{
	struct core_address a;
	struct err_detail d;
	ck_assert_int_eq(resolve("amqps://h/events/ConsumerGroups/$default/Partitions/3", &a, &d), ERR_OK);
	ck_assert_int_eq(a.kind, CORE_READER);
	ck_assert_uint_eq(a.partition, 3);
	ck_assert_int_eq(resolve("events/consumergroups/audit/partitions/0", &a, &d), ERR_OK);
	ck_assert_str_eq(a.group, "audit");
	ck_assert_int_eq(resolve("events/Publishers/dev-1", &a, &d), ERR_OK);
	ck_assert_int_eq(a.kind, CORE_PUBLISHER);
	ck_assert_str_eq(a.publisher, "dev-1");
	ck_assert_int_eq(resolve("$cbs", &a, &d), ERR_OK);
	ck_assert_int_eq(a.kind, CORE_CBS);
	ck_assert_int_eq(resolve("$management", &a, &d), ERR_OK);
	ck_assert_int_eq(a.kind, CORE_MANAGEMENT);
	ck_assert_int_eq(resolve("events/$management", &a, &d), ERR_OK);
	ck_assert_int_eq(a.kind, CORE_MANAGEMENT);
	ck_assert_uint_ne(a.hub_id, 0);
}
END_TEST

START_TEST(what_is_not_there_is_named)
{
	struct core_address a;
	struct err_detail d;
	ck_assert_int_eq(resolve("nowhere", &a, &d), ERR_NOT_FOUND);
	ck_assert_str_eq(d.text, "The messaging entity 'sb://ns.example/nowhere' could not be found.");
	ck_assert_str_eq(a.path, "nowhere");
	ck_assert_int_eq(resolve("events/Partitions/4", &a, &d), ERR_RANGE);
	ck_assert_ptr_nonnull(strstr(d.text, "between 0 and 3"));
	ck_assert_int_eq(resolve("events/Partitions/", &a, &d), ERR_RANGE);
	ck_assert_int_eq(resolve("events/Partitions/-1", &a, &d), ERR_RANGE);
	ck_assert_int_eq(resolve("events/ConsumerGroups/nobody/Partitions/0", &a, &d), ERR_NOT_FOUND);
	ck_assert_int_eq(resolve("events/other", &a, &d), ERR_NOT_FOUND);
	ck_assert_int_eq(resolve("events/ConsumerGroups/audit", &a, &d), ERR_INVALID);
	ck_assert_int_eq(resolve("events%zz", &a, &d), ERR_INVALID);
	ck_assert_int_eq(resolve("", &a, &d), ERR_NOT_FOUND);
	ck_assert_int_eq(resolve("sb://", &a, &d), ERR_NOT_FOUND);
}
END_TEST

Suite *address_suite(void)
{
	Suite *s = suite_create("address");
	TCase *t = tcase_create("resolve");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, every_form_of_a_hub_is_the_hub, 0, 6);
	tcase_add_test(t, a_name_with_a_slash_is_found_by_its_longest_prefix);
	tcase_add_test(t, readers_publishers_and_nodes);
	tcase_add_test(t, what_is_not_there_is_named);
	suite_add_tcase(s, t);
	return s;
}
