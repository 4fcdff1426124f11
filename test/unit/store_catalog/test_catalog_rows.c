#include <check.h>

#include "base/mem.h"
#include "test/unit/store_catalog/catalog_build.h"

Suite *catalog_rows_suite(void);

/* Loads the rows of `c` (namespace row last when `reversed`). */
static enum err reload(const struct catalog *c, bool reversed, const struct catalog **out)
{
	struct catalog_loader *l = catalog_loader_new(c->shards);
	if (l == NULL) {
		return ERR_NOMEM;
	}
	enum err e = ERR_OK;
	for (uint32_t i = 0; i <= c->n_hubs && e == ERR_OK; i++) {
		bool is_namespace = i == (reversed ? c->n_hubs : 0);
		struct str s = {0};
		if (is_namespace) {
			e = catalog_namespace_encode(c, &s);
		} else {
			e = catalog_row_encode(c, reversed ? i : i - 1, &s);
		}
		if (e == ERR_OK) {
			e = catalog_loader_row(l, is_namespace ? CATALOG_ROW_NAMESPACE : CATALOG_ROW_HUB,
					       span_of(s.p, s.len));
		}
		str_fini(&s);
	}
	if (e == ERR_OK) {
		return catalog_loader_finish(&l, out);
	}
	catalog_loader_free(&l);
	return e;
}

START_TEST(rows_round_trip_in_any_order)
{
	const struct catalog *c = build_sample();
	for (int reversed = 0; reversed < 2; reversed++) {
		const struct catalog *back = NULL;
		ck_assert_int_eq(reload(c, reversed, &back), ERR_OK);
		build_assert_equal(c, back);
		/* The loaded snapshot takes further changes. */
		struct catalog_command cmd = build_policy("orders", "third", 1);
		build_apply(&back, &cmd, ERR_OK);
		cmd = build_hub(CATALOG_HUB_DELETE, "orders");
		build_apply(&back, &cmd, ERR_OK);
		catalog_drop(&back);
	}
	catalog_drop(&c);
}
END_TEST

START_TEST(empty_catalogue_round_trips)
{
	const struct catalog *c = catalog_empty(16);
	const struct catalog *back = NULL;
	ck_assert_int_eq(reload(c, false, &back), ERR_OK);
	build_assert_equal(c, back);
	catalog_drop(&back);
	catalog_drop(&c);
}
END_TEST

START_TEST(largest_hub_round_trips)
{
	const struct catalog *c = catalog_empty(LIMIT_SHARDS);
	struct catalog_command cmd = build_create("x", LIMIT_PARTITIONS);
	build_text(cmd.hub, LIMIT_HUB_NAME, 'x');
	build_apply(&c, &cmd, ERR_OK);
	cmd.op = CATALOG_GROUP_CREATE;
	build_text(cmd.group, LIMIT_GROUP_NAME, 'g');
	build_apply(&c, &cmd, ERR_OK);
	const struct catalog *back = NULL;
	ck_assert_int_eq(reload(c, false, &back), ERR_OK);
	build_assert_equal(c, back);
	catalog_drop(&back);
	catalog_drop(&c);
}
END_TEST

static enum err load_one(uint32_t shards, uint8_t kind, const void *p, size_t n)
{
	struct catalog_loader *l = catalog_loader_new(shards);
	ck_assert_ptr_nonnull(l);
	void *exact = mem_dup(p, n);
	enum err e = catalog_loader_row(l, kind, span_of(exact, n));
	mem_free(exact);
	catalog_loader_free(&l);
	return e;
}

/* What the versions of the namespace's row added: version 2 its number and the next
 * producer id, version 3 the units and limits. */
enum {
	ADDED_2 = 1 + 8,
	UNITS_BYTES = (3 * 4 + 8) + (1 + 2 * 4 + 8),
	/* those of build_sample: names of 6, 13 and 3 bytes */
	ADDED_3 = UNITS_BYTES + 4 + 3 * (1 + 2 + 4 * 8) + 6 + 13 + 3,
	ADDED = ADDED_2 + ADDED_3,
};

START_TEST(namespace_of_version_1_has_given_out_no_producer_id)
{
	const struct catalog *c = build_sample();
	ck_assert_int_eq(c->next_producer_id, 1000);
	struct str ns = {0};
	ck_assert_int_eq(catalog_namespace_encode(c, &ns), ERR_OK);
	struct catalog_loader *l = catalog_loader_new(c->shards);
	ck_assert_int_eq(catalog_loader_row(l, CATALOG_ROW_NAMESPACE, span_of(ns.p, ns.len - ADDED)),
			 ERR_OK);
	const struct catalog *back;
	ck_assert_int_eq(catalog_loader_finish(&l, &back), ERR_OK);
	ck_assert_int_eq(back->next_producer_id, 0);
	ck_assert_uint_eq(back->n_policies, c->n_policies);
	catalog_drop(&back);
	/* A later row version, and a number that cannot be. */
	ns.p[ns.len - ADDED] = 4;
	ck_assert_int_eq(load_one(4, CATALOG_ROW_NAMESPACE, ns.p, ns.len), ERR_CORRUPT);
	ns.p[ns.len - ADDED] = 3;
	ck_assert_int_eq(load_one(4, CATALOG_ROW_NAMESPACE, ns.p, ns.len), ERR_OK);
	ns.p[ns.len - ADDED + 1] = (char)0x80;
	ck_assert_int_eq(load_one(4, CATALOG_ROW_NAMESPACE, ns.p, ns.len), ERR_CORRUPT);
	str_fini(&ns);
	catalog_drop(&c);
}
END_TEST

START_TEST(namespace_of_version_2_has_no_units_and_limits)
{
	const struct catalog *c = build_sample();
	struct str ns = {0};
	ck_assert_int_eq(catalog_namespace_encode(c, &ns), ERR_OK);
	ns.p[ns.len - ADDED] = 2;
	ck_assert_int_eq(load_one(4, CATALOG_ROW_NAMESPACE, ns.p, ns.len), ERR_CORRUPT);
	struct catalog_loader *l = catalog_loader_new(c->shards);
	ck_assert_int_eq(catalog_loader_row(l, CATALOG_ROW_NAMESPACE,
					    span_of(ns.p, ns.len - ADDED_3)),
			 ERR_OK);
	const struct catalog *back;
	ck_assert_int_eq(catalog_loader_finish(&l, &back), ERR_OK);
	ck_assert_int_eq(back->next_producer_id, 1000);
	ck_assert_uint_eq(back->n_limits, 0);
	ck_assert_uint_eq(back->units.units, 0);
	ck_assert(!back->units.has_settings);
	/* It takes what it had no room for. */
	struct catalog_command cmd = build_limit(CATALOG_LIMIT_HUB, "*", 5);
	build_apply(&back, &cmd, ERR_OK);
	ck_assert_uint_eq(back->n_limits, 1);
	catalog_drop(&back);
	str_fini(&ns);
	catalog_drop(&c);
}
END_TEST

/* One byte of the row replaced by `value`. */
static void assert_byte(struct str *ns, size_t from_end, int value, enum err want)
{
	char *p = &ns->p[ns->len - from_end];
	char old = *p;
	*p = (char)value;
	ck_assert_int_eq(load_one(4, CATALOG_ROW_NAMESPACE, ns->p, ns->len), want);
	*p = old;
}

START_TEST(units_and_limits_that_cannot_be_are_refused)
{
	const struct catalog *c = build_sample();
	struct str ns = {0};
	ck_assert_int_eq(catalog_namespace_encode(c, &ns), ERR_OK);
	enum {
		LIMIT = 1 + 2 + 4 * 8,	/* without its name */
		CLIENT = LIMIT + 3,	/* from the end */
		POLICY = CLIENT + LIMIT + 13,
		HUB = POLICY + LIMIT + 6,
		COUNT = HUB + 4,
	};
	assert_byte(&ns, ADDED_3 - 3, 2, ERR_CORRUPT);	/* fewer units than the base of 3 */
	assert_byte(&ns, ADDED_3 - 3, 4, ERR_OK);
	assert_byte(&ns, ADDED_3, 1, ERR_CORRUPT);	/* too many */
	assert_byte(&ns, ADDED_3 - 8, 1, ERR_CORRUPT);
	assert_byte(&ns, ADDED_3 - 12, 0xff, ERR_CORRUPT);	/* a negative time */
	assert_byte(&ns, ADDED_3 - 20, 2, ERR_CORRUPT);	/* neither yes nor no */
	assert_byte(&ns, COUNT, 1, ERR_CORRUPT);
	assert_byte(&ns, COUNT - 3, 2, ERR_CORRUPT);
	assert_byte(&ns, HUB, 0, ERR_CORRUPT);
	assert_byte(&ns, CLIENT, 6, ERR_CORRUPT);
	assert_byte(&ns, HUB, CATALOG_LIMIT_CLIENT, ERR_CORRUPT);	/* out of order */
	assert_byte(&ns, HUB - 3, ' ', ERR_CORRUPT);
	assert_byte(&ns, CLIENT - 3, '\n', ERR_CORRUPT);
	assert_byte(&ns, CLIENT - 3, ' ', ERR_OK);
	/* The last number of the last limit, its bytes in the one before: it has both. */
	assert_byte(&ns, 1, 0, ERR_OK);
	ns.p[ns.len - 25] = 0;
	assert_byte(&ns, 1, 0, ERR_CORRUPT);
	str_fini(&ns);
	catalog_drop(&c);
}
END_TEST

START_TEST(most_limits_round_trip)
{
	const struct catalog *c = catalog_empty(1);
	char name[CATALOG_CLIENT_NAME + 1];
	build_text(name, CATALOG_CLIENT_NAME, 'c');
	struct catalog_command cmd = build_limit(CATALOG_LIMIT_HUB, "last", 1);
	build_apply(&c, &cmd, ERR_OK);
	for (int i = 0; i < CATALOG_LIMITS_MAX - 1; i++) {
		name[i] = 'd';
		cmd = build_limit(CATALOG_LIMIT_CLIENT, name, 1);
		build_apply(&c, &cmd, ERR_OK);
	}
	const struct catalog *back = NULL;
	ck_assert_int_eq(reload(c, false, &back), ERR_OK);
	build_assert_equal(c, back);
	cmd = build_limit(CATALOG_LIMIT_HUB, "other", 1);
	build_apply(&back, &cmd, ERR_LIMIT);
	cmd = build_limit(CATALOG_LIMIT_CLIENT, name, 2);
	build_apply(&back, &cmd, ERR_OK);
	catalog_drop(&back);
	catalog_drop(&c);
}
END_TEST

START_TEST(namespace_row_comes_once)
{
	const struct catalog *c = build_sample();
	struct str ns = {0};
	ck_assert_int_eq(catalog_namespace_encode(c, &ns), ERR_OK);
	struct catalog_loader *l = catalog_loader_new(4);
	struct span row = span_of(ns.p, ns.len);
	ck_assert_int_eq(catalog_loader_row(l, CATALOG_ROW_NAMESPACE, row), ERR_OK);
	ck_assert_int_eq(catalog_loader_row(l, CATALOG_ROW_NAMESPACE, row), ERR_CORRUPT);
	catalog_loader_free(&l);
	str_fini(&ns);
	catalog_drop(&c);
}
END_TEST

START_TEST(damaged_rows_are_refused)
{
	const struct catalog *c = build_sample();
	struct str ns = {0};
	struct str hub = {0};
	ck_assert_int_eq(catalog_namespace_encode(c, &ns), ERR_OK);
	ck_assert_int_eq(catalog_row_encode(c, 1, &hub), ERR_OK);
	for (size_t n = 0; n < ns.len; n++) {
		if (n == ns.len - ADDED) {
			continue;	/* a whole row of version 1 */
		}
		ck_assert_int_eq(load_one(4, CATALOG_ROW_NAMESPACE, ns.p, n), ERR_CORRUPT);
	}
	for (size_t n = 0; n < hub.len; n++) {
		ck_assert_int_eq(load_one(4, CATALOG_ROW_HUB, hub.p, n), ERR_CORRUPT);
	}
	ck_assert_int_eq(load_one(4, CATALOG_ROW_HUB, hub.p, hub.len), ERR_OK);
	ck_assert_int_eq(load_one(4, 9, hub.p, hub.len), ERR_CORRUPT);
	ck_assert_int_eq(load_one(3, CATALOG_ROW_NAMESPACE, ns.p, ns.len), ERR_CORRUPT);
	ck_assert_int_eq(load_one(1, CATALOG_ROW_HUB, hub.p, hub.len), ERR_CORRUPT);
	for (size_t i = 0; i < hub.len; i++) {
		char old = hub.p[i];
		for (int bit = 0; bit < 8; bit++) {
			hub.p[i] = (char)(old ^ (1 << bit));
			enum err e = load_one(4, CATALOG_ROW_HUB, hub.p, hub.len);
			ck_assert(e == ERR_OK || e == ERR_CORRUPT);
		}
		hub.p[i] = old;
	}
	for (size_t i = 0; i < ns.len; i++) {
		char old = ns.p[i];
		for (int bit = 0; bit < 8; bit++) {
			ns.p[i] = (char)(old ^ (1 << bit));
			enum err e = load_one(4, CATALOG_ROW_NAMESPACE, ns.p, ns.len);
			ck_assert(e == ERR_OK || e == ERR_CORRUPT);
		}
		ns.p[i] = old;
	}
	str_fini(&ns);
	str_fini(&hub);
	catalog_drop(&c);
}
END_TEST

START_TEST(rows_that_do_not_fit_together_are_refused)
{
	const struct catalog *c = build_sample();
	struct str hub = {0};
	struct str ns = {0};
	ck_assert_int_eq(catalog_row_encode(c, 0, &hub), ERR_OK);
	const struct catalog *none = catalog_empty(4);
	ck_assert_int_eq(catalog_namespace_encode(none, &ns), ERR_OK);
	/* The same hub twice. */
	struct catalog_loader *l = catalog_loader_new(4);
	ck_assert_int_eq(catalog_loader_row(l, CATALOG_ROW_HUB, span_of(hub.p, hub.len)), ERR_OK);
	ck_assert_int_eq(catalog_loader_row(l, CATALOG_ROW_HUB, span_of(hub.p, hub.len)),
			 ERR_CORRUPT);
	/* No namespace row. */
	const struct catalog *out = NULL;
	ck_assert_int_eq(catalog_loader_finish(&l, &out), ERR_CORRUPT);
	ck_assert_ptr_null(l);
	/* A hub id not yet given out. */
	l = catalog_loader_new(4);
	ck_assert_int_eq(catalog_loader_row(l, CATALOG_ROW_HUB, span_of(hub.p, hub.len)), ERR_OK);
	ck_assert_int_eq(catalog_loader_row(l, CATALOG_ROW_NAMESPACE, span_of(ns.p, ns.len)),
			 ERR_OK);
	ck_assert_int_eq(catalog_loader_finish(&l, &out), ERR_CORRUPT);
	str_fini(&ns);
	str_fini(&hub);
	catalog_drop(&none);
	catalog_drop(&c);
}
END_TEST

START_TEST(failed_allocation_is_reported)
{
	const struct catalog *c = build_sample();
	for (long n = 1;; n++) {
		const struct catalog *back = NULL;
		mem_fault_at(n);
		enum err e = reload(c, false, &back);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		if (!fired) {
			catalog_drop(&back);
			break;
		}
	}
	catalog_drop(&c);
}
END_TEST

Suite *catalog_rows_suite(void)
{
	Suite *s = suite_create("catalog_rows");
	TCase *t = tcase_create("rows");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, rows_round_trip_in_any_order);
	tcase_add_test(t, empty_catalogue_round_trips);
	tcase_add_test(t, largest_hub_round_trips);
	tcase_add_test(t, namespace_of_version_1_has_given_out_no_producer_id);
	tcase_add_test(t, namespace_of_version_2_has_no_units_and_limits);
	tcase_add_test(t, units_and_limits_that_cannot_be_are_refused);
	tcase_add_test(t, most_limits_round_trip);
	tcase_add_test(t, namespace_row_comes_once);
	tcase_add_test(t, damaged_rows_are_refused);
	tcase_add_test(t, rows_that_do_not_fit_together_are_refused);
	tcase_add_test(t, failed_allocation_is_reported);
	suite_add_tcase(s, t);
	return s;
}
