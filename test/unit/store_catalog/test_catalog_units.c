#include <check.h>

#include "test/unit/store_catalog/catalog_build.h"

Suite *catalog_units_suite(void);

static void assert_units(const struct catalog *c, uint32_t units, uint32_t base,
			 uint32_t inflate_max, int64_t deflate_after_ms)
{
	ck_assert_uint_eq(c->units.units, units);
	ck_assert_uint_eq(c->units.base, base);
	ck_assert_uint_eq(c->units.inflate_max, inflate_max);
	ck_assert_int_eq(c->units.deflate_after_ms, deflate_after_ms);
}

START_TEST(user_sets_only_what_is_named)
{
	const struct catalog *c = catalog_empty(1);
	assert_units(c, 0, 0, 0, 0);
	struct catalog_command cmd = build_units(CATALOG_UNITS_BY_USER, 4);
	cmd.units.inflate_max = 9;
	cmd.units.deflate_after_ms = 9;
	cmd.units.settings_units = 9;
	build_apply(&c, &cmd, ERR_OK);
	assert_units(c, 4, 4, 0, 0);
	ck_assert(!c->units.has_settings);
	cmd.has_units = false;
	cmd.has_inflate_max = true;
	cmd.units.units = 100;
	build_apply(&c, &cmd, ERR_OK);
	assert_units(c, 4, 4, 9, 0);
	/* Below the units: they do not grow. */
	cmd.units.inflate_max = 2;
	cmd.has_deflate_after = true;
	build_apply(&c, &cmd, ERR_OK);
	assert_units(c, 4, 4, 2, 9);
	cmd = build_units(CATALOG_UNITS_BY_USER, 0);
	build_apply(&c, &cmd, ERR_OK);
	assert_units(c, 0, 0, 2, 9);
	ck_assert(!c->units.has_settings);
	catalog_drop(&c);
}
END_TEST

START_TEST(settings_are_remembered_whole)
{
	const struct catalog *c = catalog_empty(1);
	struct catalog_command cmd = build_units(CATALOG_UNITS_BY_SETTINGS, 5);
	cmd.units.settings_units = 5;
	cmd.units.settings_inflate_max = 7;
	cmd.units.settings_deflate_after_ms = 8;
	build_apply(&c, &cmd, ERR_OK);
	assert_units(c, 5, 5, 0, 0);
	ck_assert(c->units.has_settings);
	ck_assert_uint_eq(c->units.settings_units, 5);
	ck_assert_uint_eq(c->units.settings_inflate_max, 7);
	ck_assert_int_eq(c->units.settings_deflate_after_ms, 8);
	/* A user's change leaves them. */
	cmd = build_units(CATALOG_UNITS_BY_USER, 6);
	build_apply(&c, &cmd, ERR_OK);
	assert_units(c, 6, 6, 0, 0);
	ck_assert(c->units.has_settings);
	ck_assert_uint_eq(c->units.settings_units, 5);
	catalog_drop(&c);
}
END_TEST

START_TEST(load_moves_units_between_base_and_maximum)
{
	const struct catalog *c = catalog_empty(1);
	struct catalog_command set = build_units(CATALOG_UNITS_BY_USER, 2);
	set.has_inflate_max = true;
	set.units.inflate_max = 5;
	build_apply(&c, &set, ERR_OK);
	struct catalog_command load = build_units(CATALOG_UNITS_BY_LOAD, 5);
	load.units_was = 1;
	build_apply(&c, &load, ERR_NOT_ALLOWED);
	load.units_was = 2;
	load.units.units = 6;
	build_apply(&c, &load, ERR_NOT_ALLOWED);
	load.units.units = 0;
	build_apply(&c, &load, ERR_INVALID);
	load.units.units = 5;
	load.has_inflate_max = true;	/* units only */
	load.units.inflate_max = 50;
	build_apply(&c, &load, ERR_OK);
	assert_units(c, 5, 2, 5, 0);
	build_apply(&c, &load, ERR_NOT_ALLOWED);	/* they are 5 now */
	load.units_was = 5;
	load.units.units = 1;
	build_apply(&c, &load, ERR_NOT_ALLOWED);
	/* A maximum that was lowered is no reason not to shrink. */
	set.has_units = false;
	set.units.inflate_max = 1;
	build_apply(&c, &set, ERR_OK);
	load.units.units = 3;
	build_apply(&c, &load, ERR_OK);
	load.units_was = 3;
	load.units.units = 2;
	build_apply(&c, &load, ERR_OK);
	assert_units(c, 2, 2, 1, 0);
	load.units_was = 2;
	load.has_units = false;
	build_apply(&c, &load, ERR_INVALID);
	catalog_drop(&c);
}
END_TEST

START_TEST(load_makes_no_limit_where_none_is)
{
	const struct catalog *c = catalog_empty(1);
	struct catalog_command set = {.op = CATALOG_UNITS_SET,
				      .units_by = CATALOG_UNITS_BY_USER,
				      .has_inflate_max = true,
				      .units.inflate_max = 5};
	build_apply(&c, &set, ERR_OK);
	struct catalog_command load = build_units(CATALOG_UNITS_BY_LOAD, 1);
	build_apply(&c, &load, ERR_NOT_ALLOWED);
	catalog_drop(&c);
}
END_TEST

START_TEST(values_end_at_their_limits)
{
	const struct catalog *c = catalog_empty(1);
	struct catalog_command cmd = build_units(CATALOG_UNITS_BY_USER, LIMIT_UNITS);
	cmd.has_inflate_max = true;
	cmd.units.inflate_max = LIMIT_UNITS;
	cmd.has_deflate_after = true;
	cmd.units.deflate_after_ms = INT64_C(4233600000);
	build_apply(&c, &cmd, ERR_OK);
	cmd.units.deflate_after_ms++;
	build_apply(&c, &cmd, ERR_INVALID);
	cmd.units.deflate_after_ms = -1;
	build_apply(&c, &cmd, ERR_INVALID);
	cmd.units.deflate_after_ms = 0;
	cmd.units.units = LIMIT_UNITS + 1;
	build_apply(&c, &cmd, ERR_LIMIT);
	cmd.units.units = LIMIT_UNITS - 1;
	cmd.units.inflate_max = LIMIT_UNITS + 1;
	build_apply(&c, &cmd, ERR_LIMIT);
	cmd.units.inflate_max = LIMIT_UNITS - 1;
	build_apply(&c, &cmd, ERR_OK);
	/* What is not named does not count. */
	cmd.has_inflate_max = false;
	cmd.units.inflate_max = LIMIT_UNITS + 1;
	build_apply(&c, &cmd, ERR_OK);
	cmd.units_by = CATALOG_UNITS_BY_SETTINGS;
	cmd.units.settings_units = LIMIT_UNITS + 1;
	build_apply(&c, &cmd, ERR_LIMIT);
	cmd.units.settings_units = LIMIT_UNITS;
	cmd.units.settings_inflate_max = LIMIT_UNITS + 1;
	build_apply(&c, &cmd, ERR_LIMIT);
	cmd.units.settings_inflate_max = LIMIT_UNITS;
	cmd.units.settings_deflate_after_ms = -1;
	build_apply(&c, &cmd, ERR_INVALID);
	cmd.units.settings_deflate_after_ms = 0;
	build_apply(&c, &cmd, ERR_OK);
	cmd.units_by = 0;
	build_apply(&c, &cmd, ERR_INVALID);
	cmd.units_by = CATALOG_UNITS_BY_LOAD + 1;
	build_apply(&c, &cmd, ERR_INVALID);
	catalog_drop(&c);
}
END_TEST

Suite *catalog_units_suite(void)
{
	Suite *s = suite_create("catalog_units");
	TCase *t = tcase_create("units");
	tcase_add_test(t, user_sets_only_what_is_named);
	tcase_add_test(t, settings_are_remembered_whole);
	tcase_add_test(t, load_moves_units_between_base_and_maximum);
	tcase_add_test(t, load_makes_no_limit_where_none_is);
	tcase_add_test(t, values_end_at_their_limits);
	suite_add_tcase(s, t);
	return s;
}
