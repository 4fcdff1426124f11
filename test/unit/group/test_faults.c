/* Each allocation of the coordinator fails once: whoever asked is told to ask again,
 * and then it works. */

#include "base/mem.h"
#include "test/unit/group/fake_store.h"
#include "test/unit/group/groups_bed.h"
#include "test/unit/group/machine_bed.h"

static struct store *store;
static struct gbed bed;

enum { TRIES = 6 };

static void setup(void)
{
	store = fake_store_new();
	gb_init(&bed, store);
	gb_open(&bed);
}

static void teardown(void)
{
	gb_close(&bed);
	gb_fini(&bed);
	fake_store_free(&store);
}

/* Until a group of one is stable; a member whose id was lost leaves by instance. */
static struct gop *persist(void)
{
	for (int i = 0; i < TRIES; i++) {
		struct gop *j = gb_op(&bed, GROUPS_JOIN, "g", NULL);
		j->op.instance_id = span_str("i");
		j->protocol = (struct groups_protocol){span_str("range"), span_str("")};
		j->op.u.join.version = 9;
		j->op.u.join.session_timeout_ms = 6000;
		j->op.u.join.rebalance_timeout_ms = 1;
		j->op.u.join.protocol_type = span_str("consumer");
		j->op.u.join.protocols = &j->protocol;
		j->op.u.join.n_protocols = 1;
		gb_submit(&bed, j);
		gb_wait(&bed, j);
		if (j->op.code != GROUP_OK) {
			ck_assert_int_eq(j->op.code, GROUP_NOT_COORDINATOR);
			continue;
		}
		struct gop *s = gb_op(&bed, GROUPS_SYNC, "g", gb_id(j));
		s->op.generation = j->op.u.join.generation;
		gb_submit(&bed, s);
		gb_wait(&bed, s);
		if (s->op.code == GROUP_OK) {
			return j;
		}
	}
	ck_abort_msg("the group did not become stable");
	return NULL;
}

static void ask_with_fault(long n)
{
	gb_fault(&bed, n);
	struct gop *j = persist();
	struct gop *c = NULL;
	for (int i = 0; i < TRIES && (c == NULL || c->op.code != GROUP_OK); i++) {
		c = gb_commit(&bed, "g", gb_id(j), j->op.u.join.generation, 1, 0, 5);
		gb_wait(&bed, c);
		c = c->op.code == GROUP_UNKNOWN_MEMBER || c->op.code == GROUP_REBALANCE ? NULL : c;
		if (c == NULL) {
			j = persist();
		}
	}
	struct gop *f = NULL;
	for (int i = 0; i < TRIES && (f == NULL || f->op.code != GROUP_OK); i++) {
		f = gb_op(&bed, GROUPS_FETCH, "g", NULL);
		gb_submit(&bed, f);
		gb_wait(&bed, f);
	}
	ck_assert_int_eq(f->op.code, GROUP_OK);
	ck_assert_uint_eq(f->op.u.fetch.n_offsets, 1);
	struct gop *l = gb_op(&bed, GROUPS_LIST, "", NULL);
	gb_submit(&bed, l);
	gb_wait(&bed, l);
	gb_fault(&bed, 0);
	ck_assert_int_eq(gb_fetch(&bed, "g", 1, 0), 5);
}

START_TEST(requests_are_repeated_after_failures)
{
	for (long n = 1; n <= 40; n++) {
		ask_with_fault(n);
		teardown();
		setup();
	}
}
END_TEST

START_TEST(deletions_are_repeated_after_failures)
{
	for (long n = 1; n <= 8; n++) {
		ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
		gb_fault(&bed, n);
		int16_t code = gb_delete(&bed, "s");
		gb_fault(&bed, 0);
		if (code != GROUP_OK) {
			ck_assert_int_eq(code, GROUP_NOT_COORDINATOR);
			ck_assert_int_eq(gb_delete(&bed, "s"), GROUP_OK);
		}
		ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_OFFSET), 0);
	}
}
END_TEST

START_TEST(loading_fails_cleanly)
{
	gb_stable(&bed, "g");
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
	gb_close(&bed);
	bool fired = true;
	for (long n = 1; fired; n++) {
		struct err_detail d = {""};
		mem_fault_at(n);
		enum err e = groups_new(&bed.options, &bed.groups, &d);
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		ck_assert_int_eq(e != ERR_OK, d.text[0] != '\0');
	}
	ck_assert_str_eq(gb_state(&bed, "g"), "Stable");
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 0), 5);
}
END_TEST

Suite *faults_suite(void)
{
	Suite *s = suite_create("faults");
	TCase *t = tcase_create("faults");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, requests_are_repeated_after_failures);
	tcase_add_test(t, deletions_are_repeated_after_failures);
	tcase_add_test(t, loading_fails_cleanly);
	suite_add_tcase(s, t);
	return s;
}
