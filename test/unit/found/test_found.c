#include "gateway/found.h"

#include <check.h>

#include "base/mem.h"
#include "test/unit/store/store_bed.h"

Suite *found_suite(void);

/* A start with these settings, after which the units are as wanted. */
static void start(struct bed *b, uint32_t units, uint32_t max, uint32_t deflate_ms)
{
	const struct config c = {.throughput_units = units,
				 .auto_inflate_max = max,
				 .auto_deflate_after_ms = deflate_ms};
	struct err_detail d = {""};
	if (b->store != NULL) {
		bed_close(b);
	}
	bed_open(b);
	enum err e = found_units(b->store, &c, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

static struct catalog_units units_of(const struct bed *b)
{
	const struct catalog *c = store_catalog(b->store);
	struct catalog_units u = c->units;
	catalog_drop(&c);
	return u;
}

static void assert_units(const struct bed *b, uint32_t units, uint32_t max, int64_t deflate_ms)
{
	struct catalog_units u = units_of(b);
	ck_assert_uint_eq(u.units, units);
	ck_assert_uint_eq(u.base, units);
	ck_assert_uint_eq(u.inflate_max, max);
	ck_assert_int_eq(u.deflate_after_ms, deflate_ms);
}

static void user_sets(struct bed *b, uint32_t units)
{
	struct catalog_command cmd = {.op = CATALOG_UNITS_SET,
				      .units_by = CATALOG_UNITS_BY_USER,
				      .has_units = true,
				      .units.units = units};
	ck_assert_int_eq(bed_command(b, &cmd), ERR_OK);
}

static uint64_t version_of(const struct bed *b)
{
	const struct catalog *c = store_catalog(b->store);
	uint64_t version = c->version;
	catalog_drop(&c);
	return version;
}

START_TEST(defaults_set_nothing)
{
	struct bed b;
	bed_init(&b);
	start(&b, 0, 0, 0);
	ck_assert(!units_of(&b).has_settings);
	ck_assert_uint_eq(version_of(&b), 0);
	user_sets(&b, 5);
	start(&b, 0, 0, 0);
	assert_units(&b, 5, 0, 0);
	ck_assert(!units_of(&b).has_settings);
	bed_fini(&b);
}
END_TEST

START_TEST(later_change_counts)
{
	struct bed b;
	bed_init(&b);
	start(&b, 3, 10, 60000);
	assert_units(&b, 3, 10, 60000);
	ck_assert(units_of(&b).has_settings);
	user_sets(&b, 7);
	uint64_t before = version_of(&b);
	start(&b, 3, 10, 60000);
	assert_units(&b, 7, 10, 60000);
	ck_assert_uint_eq(version_of(&b), before);
	/* One that changed takes no other along. */
	start(&b, 3, 10, 50000);
	assert_units(&b, 7, 10, 50000);
	start(&b, 3, 20, 50000);
	assert_units(&b, 7, 20, 50000);
	start(&b, 4, 20, 50000);
	assert_units(&b, 4, 20, 50000);
	/* Back to what they were before is a change, too. */
	user_sets(&b, 9);
	start(&b, 3, 20, 50000);
	assert_units(&b, 3, 20, 50000);
	start(&b, 0, 0, 0);
	assert_units(&b, 0, 0, 0);
	ck_assert(units_of(&b).has_settings);
	bed_fini(&b);
}
END_TEST

START_TEST(setting_is_applied_over_a_users_units)
{
	struct bed b;
	bed_init(&b);
	start(&b, 0, 0, 0);
	user_sets(&b, 5);
	start(&b, 2, 0, 0);
	assert_units(&b, 2, 0, 0);
	bed_fini(&b);
}
END_TEST

START_TEST(grown_units_stay_grown)
{
	struct bed b;
	bed_init(&b);
	start(&b, 2, 10, 0);
	struct catalog_command load = {.op = CATALOG_UNITS_SET,
				       .units_by = CATALOG_UNITS_BY_LOAD,
				       .has_units = true,
				       .units_was = 2,
				       .units.units = 6};
	ck_assert_int_eq(bed_command(&b, &load), ERR_OK);
	start(&b, 2, 10, 0);
	ck_assert_uint_eq(units_of(&b).units, 6);
	ck_assert_uint_eq(units_of(&b).base, 2);
	start(&b, 2, 8, 0);
	ck_assert_uint_eq(units_of(&b).units, 6);
	ck_assert_uint_eq(units_of(&b).inflate_max, 8);
	bed_fini(&b);
}
END_TEST

START_TEST(units_that_cannot_be_are_told)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	const struct config c = {.throughput_units = LIMIT_UNITS + 1};
	struct err_detail d = {""};
	ck_assert_int_eq(found_units(b.store, &c, &d), ERR_LIMIT);
	ck_assert_ptr_nonnull(strstr(d.text, "throughput units"));
	assert_units(&b, 0, 0, 0);
	bed_fini(&b);
}
END_TEST

Suite *found_suite(void)
{
	Suite *s = suite_create("found");
	TCase *t = tcase_create("units");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, defaults_set_nothing);
	tcase_add_test(t, later_change_counts);
	tcase_add_test(t, setting_is_applied_over_a_users_units);
	tcase_add_test(t, grown_units_stay_grown);
	tcase_add_test(t, units_that_cannot_be_are_told);
	suite_add_tcase(s, t);
	return s;
}
