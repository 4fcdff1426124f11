#include "gateway/group/groups.h"

#include <stdio.h>
#include <string.h>

#include "test/unit/group/fake_store.h"
#include "test/unit/group/groups_bed.h"
#include "test/unit/group/machine_bed.h"

static struct store *store;
static struct gbed bed;

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

static void reopen(void)
{
	gb_close(&bed);
	gb_open(&bed);
}

START_TEST(a_group_lives_and_is_stored)
{
	struct gop *j = gb_stable(&bed, "g");
	ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_GROUP), 1);
	ck_assert_str_eq(gb_state(&bed, "g"), "Stable");
	ck_op(&bed, gb_heartbeat(&bed, "g", gb_id(j), 1), GROUP_OK);
	struct gop *l = gb_leave(&bed, "g", gb_id(j));
	ck_op(&bed, l, GROUP_OK);
	ck_assert_int_eq(l->leaving[0].code, GROUP_OK);
	ck_assert_str_eq(gb_state(&bed, "g"), "Empty");
}
END_TEST

START_TEST(a_stable_group_goes_on_after_a_restart)
{
	struct gop *j = gb_stable(&bed, "g");
	reopen();
	ck_assert_str_eq(gb_state(&bed, "g"), "Stable");
	ck_op(&bed, gb_heartbeat(&bed, "g", gb_id(j), 1), GROUP_OK);
	struct gop *s = gb_sync(&bed, "g", j, NULL);
	ck_op(&bed, s, GROUP_OK);
	ck_assert(span_eq_str(s->op.u.sync.assignment, "assigned"));
	ck_op(&bed, gb_commit(&bed, "g", gb_id(j), 1, 1, 0, 5), GROUP_OK);
}
END_TEST

START_TEST(damaged_rows_are_left_out)
{
	gb_stable(&bed, "g");
	fake_store_put(store, STORE_ROW_GROUP, span_str("bad"), span_str("\1garbage"));
	fake_store_put(store, STORE_ROW_OFFSET, span_str("bad"), span_str("\1garbage"));
	reopen();
	ck_assert_str_eq(gb_state(&bed, "g"), "Stable");
	ck_assert_str_eq(gb_state(&bed, "bad"), "Dead");
}
END_TEST

START_TEST(absent_groups_and_bad_names_are_answered)
{
	static char longest[GROUPS_NAME_MAX + 2];
	memset(longest, 'n', GROUPS_NAME_MAX + 1);
	ck_op(&bed, gb_join(&bed, "", NULL), GROUP_INVALID_ID);
	ck_op(&bed, gb_join(&bed, longest, NULL), GROUP_INVALID_ID);
	ck_op(&bed, gb_heartbeat(&bed, "", "m", 0), GROUP_INVALID_ID);
	ck_op(&bed, gb_join(&bed, "g", "m"), GROUP_UNKNOWN_MEMBER);
	ck_op(&bed, gb_heartbeat(&bed, "g", "m", 0), GROUP_UNKNOWN_MEMBER);
	struct gop *s = gb_op(&bed, GROUPS_SYNC, "g", "m");
	gb_submit(&bed, s);
	ck_op(&bed, s, GROUP_UNKNOWN_MEMBER);
	struct gop *l = gb_leave(&bed, "g", "m");
	ck_op(&bed, l, GROUP_OK);
	ck_assert_int_eq(l->leaving[0].code, GROUP_UNKNOWN_MEMBER);
	ck_op(&bed, gb_commit(&bed, "g", "m", 1, 1, 0, 5), GROUP_ILLEGAL_GENERATION);
	ck_assert_int_eq(gb_fetch(&bed, "g", 1, 0), -1);
	ck_assert_str_eq(gb_state(&bed, "g"), "Dead");
	ck_assert_int_eq(gb_delete(&bed, "g"), GROUP_NOT_FOUND);
	ck_assert_int_eq(gb_delete(&bed, ""), GROUP_INVALID_ID);
	longest[GROUPS_NAME_MAX] = '\0';
	ck_op(&bed, gb_commit(&bed, longest, NULL, -1, 1, 0, 5), GROUP_OK);
	gb_stable(&bed, longest);
	/* A refused join leaves nothing behind. */
	struct gop *j = gb_op(&bed, GROUPS_JOIN, "h", NULL);
	gb_submit(&bed, j);
	ck_op(&bed, j, GROUP_INVALID_SESSION_TIMEOUT);
	ck_assert_str_eq(gb_state(&bed, "h"), "Dead");
}
END_TEST

START_TEST(requests_wait_in_order_while_the_group_is_written)
{
	fake_store_hold(store);
	struct gop *j = gb_join(&bed, "g", NULL);
	gb_quiet(&bed);
	ck_assert_uint_eq(j->runs, 0);
	ck_assert_uint_eq(fake_store_held(store), 1);
	struct gop *h = gb_heartbeat(&bed, "g", "nobody", 1);
	struct gop *k = gb_join(&bed, "g", NULL);
	struct gop *other = gb_heartbeat(&bed, "h", "nobody", 1);
	ck_op(&bed, other, GROUP_UNKNOWN_MEMBER);
	ck_assert_uint_eq(h->runs + k->runs, 0);
	fake_store_release(store);
	ck_op(&bed, j, GROUP_OK);
	ck_op(&bed, h, GROUP_UNKNOWN_MEMBER);
	gb_quiet(&bed);
	ck_assert_uint_eq(k->runs, 0);
	struct gop *again = gb_join(&bed, "g", gb_id(j));
	ck_op(&bed, again, GROUP_OK);
	ck_op(&bed, k, GROUP_OK);
	ck_assert_uint_eq(again->op.u.join.n_members, 2);
}
END_TEST

START_TEST(a_failed_write_is_answered_and_can_be_repeated)
{
	fake_store_fail(store, ERR_QUOTA);
	ck_op(&bed, gb_join(&bed, "g", NULL), GROUP_NOT_COORDINATOR);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_NOT_COORDINATOR);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 0), -1);
	ck_assert_str_eq(gb_state(&bed, "s"), "Dead");
	fake_store_fail(store, ERR_OK);
	ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_GROUP), 0);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
}
END_TEST

START_TEST(the_initial_delay_gathers_members)
{
	gb_close(&bed);
	bed.options.initial_delay_ms = 100;
	gb_open(&bed);
	struct gop *a = gb_join(&bed, "g", NULL);
	struct gop *b = gb_join(&bed, "g", NULL);
	ck_op(&bed, a, GROUP_OK);
	ck_op(&bed, b, GROUP_OK);
	ck_assert_int_eq(a->op.u.join.generation, 1);
	ck_assert_uint_eq(a->op.u.join.n_members, 2);
}
END_TEST

START_TEST(the_number_of_groups_is_limited)
{
	gb_close(&bed);
	bed.options.max_groups = 2;
	gb_open(&bed);
	gb_stable(&bed, "a");
	ck_op(&bed, gb_commit(&bed, "b", NULL, -1, 1, 0, 5), GROUP_OK);
	ck_op(&bed, gb_join(&bed, "c", NULL), GROUP_NOT_AVAILABLE);
	ck_op(&bed, gb_commit(&bed, "c", NULL, -1, 1, 0, 5), GROUP_NOT_AVAILABLE);
	ck_assert_int_eq(gb_delete(&bed, "b"), GROUP_OK);
	ck_op(&bed, gb_join(&bed, "c", NULL), GROUP_OK);
}
END_TEST

START_TEST(the_memory_of_members_is_limited)
{
	gb_close(&bed);
	bed.options.max_bytes = 1;
	gb_open(&bed);
	struct gop *a = gb_stable(&bed, "a");
	ck_op(&bed, gb_join(&bed, "b", NULL), GROUP_NOT_AVAILABLE);
	ck_op(&bed, gb_join(&bed, "a", gb_id(a)), GROUP_OK);	/* who is there goes on */
	ck_op(&bed, gb_leave(&bed, "a", gb_id(a)), GROUP_OK);
	gb_quiet(&bed);
	ck_op(&bed, gb_join(&bed, "b", NULL), GROUP_OK);
}
END_TEST

START_TEST(parked_operations_are_cancelled_and_answered_once)
{
	struct gop *a = gb_stable(&bed, "g");
	struct gop *b = gb_join(&bed, "g", NULL);
	gb_quiet(&bed);
	ck_assert_uint_eq(b->runs, 0);
	groups_cancel(bed.groups, &b->op);
	groups_cancel(bed.groups, &b->op);
	gb_wait(&bed, b);
	groups_cancel(bed.groups, &b->op);
	struct gop *again = gb_join(&bed, "g", gb_id(a));
	ck_op(&bed, again, GROUP_OK);
	ck_assert_uint_eq(again->op.u.join.n_members, 2);
	struct gop *h = gb_heartbeat(&bed, "g", gb_id(a), 2);
	groups_cancel(bed.groups, &h->op);
	ck_op(&bed, h, GROUP_OK);
}
END_TEST

START_TEST(cancelling_races_with_answers)
{
	for (int i = 0; i < 300; i++) {
		char name[16];
		snprintf(name, sizeof name, "g%d", i % 3);
		struct gop *v[6];
		for (int k = 0; k < 6; k++) {
			v[k] = gb_join(&bed, name, NULL);
			if (k % 2 == i % 2) {
				groups_cancel(bed.groups, &v[k]->op);
			}
		}
		for (int k = 0; k < 6; k++) {
			groups_cancel(bed.groups, &v[5 - k]->op);
		}
		for (int k = 0; k < 6; k++) {
			gb_wait(&bed, v[k]);
		}
	}
}
END_TEST

START_TEST(closing_answers_everything)
{
	struct gop *a = gb_stable(&bed, "g");
	struct gop *parked = gb_join(&bed, "g", NULL);
	gb_quiet(&bed);
	fake_store_hold(store);
	struct gop *saving = gb_join(&bed, "h", NULL);
	struct gop *waiting = gb_join(&bed, "h", NULL);
	struct gop *commit = gb_commit(&bed, "s", NULL, -1, 1, 0, 5);
	gb_quiet(&bed);
	ck_assert_uint_eq(parked->runs + saving->runs + waiting->runs + commit->runs, 0);
	fake_store_release(store);
	groups_close(bed.groups);
	struct gop *late = gb_heartbeat(&bed, "g", gb_id(a), 1);
	ck_op(&bed, late, GROUP_NOT_COORDINATOR);
	ck_op(&bed, parked, GROUP_NOT_COORDINATOR);
	gb_wait(&bed, saving);
	gb_wait(&bed, waiting);
	gb_wait(&bed, commit);
	groups_cancel(bed.groups, &late->op);
}
END_TEST

START_TEST(groups_are_listed_and_described)
{
	struct gop *j = gb_stable(&bed, "g");
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
	struct gop *l = gb_op(&bed, GROUPS_LIST, "", NULL);
	gb_submit(&bed, l);
	ck_op(&bed, l, GROUP_OK);
	ck_assert_uint_eq(l->op.u.describe.n_groups, 2);
	for (int i = 0; i < 2; i++) {
		const struct groups_description *d = &l->op.u.describe.groups[i];
		bool is_g = span_eq_str(d->group, "g");
		ck_assert(is_g || span_eq_str(d->group, "s"));
		ck_assert_str_eq(d->state, is_g ? "Stable" : "Empty");
		ck_assert(span_eq_str(d->protocol_type, is_g ? "consumer" : ""));
		ck_assert_uint_eq(d->n_members, is_g ? 1 : 0);
	}
	struct gop *d = gb_op(&bed, GROUPS_DESCRIBE, "", NULL);
	d->groups[0].group = span_str("g");
	d->groups[1].group = span_str("none");
	d->groups[2].group = span_str("");
	d->op.u.describe.groups = d->groups;
	d->op.u.describe.n_groups = 3;
	gb_submit(&bed, d);
	ck_op(&bed, d, GROUP_OK);
	ck_assert(span_eq_str(d->groups[0].protocol, "range"));
	ck_assert_int_eq(d->groups[0].generation, 1);
	const struct groups_member *m = &d->groups[0].members[0];
	ck_assert(span_eq_str(m->member_id, gb_id(j)));
	ck_assert(span_eq_str(m->client_id, "client"));
	ck_assert(span_eq_str(m->client_host, "/127.0.0.1"));
	ck_assert(span_eq_str(m->assignment, "assigned"));
	ck_assert_uint_gt(m->metadata.n, 0);
	ck_assert_str_eq(d->groups[1].state, "Dead");
	ck_assert_int_eq(d->groups[1].code, GROUP_OK);
	ck_assert_int_eq(d->groups[2].code, GROUP_INVALID_ID);
}
END_TEST

START_TEST(groups_are_deleted)
{
	struct gop *j = gb_stable(&bed, "g");
	ck_op(&bed, gb_commit(&bed, "g", gb_id(j), 1, 1, 0, 5), GROUP_OK);
	ck_assert_int_eq(gb_delete(&bed, "g"), GROUP_NOT_EMPTY);
	ck_op(&bed, gb_leave(&bed, "g", gb_id(j)), GROUP_OK);
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
	struct gop *d = gb_op(&bed, GROUPS_DELETE, "", NULL);
	d->groups[0].group = span_str("g");
	d->groups[1].group = span_str("none");
	d->groups[2].group = span_str("s");
	d->groups[3].group = span_str("g");
	d->op.u.describe.groups = d->groups;
	d->op.u.describe.n_groups = 4;
	gb_submit(&bed, d);
	ck_op(&bed, d, GROUP_OK);
	ck_assert_int_eq(d->groups[0].code, GROUP_OK);
	ck_assert_int_eq(d->groups[1].code, GROUP_NOT_FOUND);
	ck_assert_int_eq(d->groups[2].code, GROUP_OK);
	ck_assert_int_eq(d->groups[3].code, GROUP_NOT_FOUND);
	ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_GROUP), 0);
	ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_OFFSET), 0);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 0), -1);
}
END_TEST

START_TEST(a_deletion_waits_for_commits_and_others_wait_for_it)
{
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
	fake_store_hold(store);
	struct gop *c = gb_commit(&bed, "s", NULL, -1, 1, 1, 6);
	struct gop *d[2];
	for (int i = 0; i < 2; i++) {
		d[i] = gb_op(&bed, GROUPS_DELETE, "s", NULL);
		d[i]->groups[0].group = d[i]->op.group;
		d[i]->op.u.describe.groups = d[i]->groups;
		d[i]->op.u.describe.n_groups = 1;
		gb_submit(&bed, d[i]);
	}
	struct gop *after = gb_commit(&bed, "s", NULL, -1, 1, 2, 7);
	gb_quiet(&bed);
	ck_assert_uint_eq(fake_store_held(store), 1);
	fake_store_release(store);
	ck_op(&bed, c, GROUP_OK);
	ck_op(&bed, d[0], GROUP_OK);
	ck_op(&bed, d[1], GROUP_OK);
	ck_op(&bed, after, GROUP_OK);
	ck_assert_int_eq(d[0]->groups[0].code, GROUP_OK);
	ck_assert_int_eq(d[1]->groups[0].code, GROUP_NOT_FOUND);
	ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_OFFSET), 1);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 2), 7);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 1), -1);
}
END_TEST

START_TEST(a_deletion_that_fails_leaves_the_group)
{
	ck_op(&bed, gb_commit(&bed, "s", NULL, -1, 1, 0, 5), GROUP_OK);
	fake_store_fail(store, ERR_QUOTA);
	ck_assert_int_eq(gb_delete(&bed, "s"), GROUP_NOT_COORDINATOR);
	fake_store_fail(store, ERR_OK);
	ck_assert_int_eq(gb_fetch(&bed, "s", 1, 0), 5);
	ck_assert_int_eq(gb_delete(&bed, "s"), GROUP_OK);
}
END_TEST

/* Groups that are nothing but an id given out: there is no row to wait for. */
START_TEST(many_groups_are_deleted_at_once)
{
	enum { GROUPS = 20000 };
	static char names[GROUPS][16];
	static struct groups_description groups[GROUPS];
	struct gop *last = NULL;
	gb_close(&bed);
	bed.options.max_groups = GROUPS;
	gb_open(&bed);
	for (int i = 0; i < GROUPS; i++) {
		snprintf(names[i], sizeof names[i], "g%d", i);
		groups[i].group = span_str(names[i]);
		last = gb_op(&bed, GROUPS_JOIN, names[i], NULL);
		last->protocol = (struct groups_protocol){span_str("range"), span_str("")};
		last->op.u.join.version = 4;
		last->op.u.join.require_known_member = true;
		last->op.u.join.session_timeout_ms = 30000;
		last->op.u.join.protocol_type = span_str("consumer");
		last->op.u.join.protocols = &last->protocol;
		last->op.u.join.n_protocols = 1;
		gb_submit(&bed, last);
	}
	ck_op(&bed, last, GROUP_MEMBER_ID_REQUIRED);
	struct gop *d = gb_op(&bed, GROUPS_DELETE, "", NULL);
	d->op.u.describe.groups = groups;
	d->op.u.describe.n_groups = GROUPS;
	gb_submit(&bed, d);
	ck_op(&bed, d, GROUP_OK);
	for (int i = 0; i < GROUPS; i++) {
		ck_assert_int_eq(groups[i].code, GROUP_OK);
	}
	ck_assert_str_eq(gb_state(&bed, names[GROUPS - 1]), "Dead");
}
END_TEST

START_TEST(thousands_of_groups_are_kept)
{
	char name[16];
	struct gop *last = NULL;
	gb_close(&bed);
	bed.options.max_groups = 5000;
	gb_open(&bed);
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof name, "g%d", i);
		last = gb_join(&bed, name, NULL);
	}
	gb_wait(&bed, last);
	gb_quiet(&bed);
	for (int i = 0; i < 3000; i += 97) {
		snprintf(name, sizeof name, "g%d", i);
		ck_assert_str_eq(gb_state(&bed, name), "CompletingRebalance");
	}
	ck_assert_uint_eq(fake_store_rows(store, STORE_ROW_GROUP), 3000);
	reopen();
	ck_assert_str_eq(gb_state(&bed, "g2999"), "PreparingRebalance");
}
END_TEST

Suite *groups_suite(void)
{
	Suite *s = suite_create("groups");
	TCase *t = tcase_create("groups");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_group_lives_and_is_stored);
	tcase_add_test(t, a_stable_group_goes_on_after_a_restart);
	tcase_add_test(t, damaged_rows_are_left_out);
	tcase_add_test(t, absent_groups_and_bad_names_are_answered);
	tcase_add_test(t, requests_wait_in_order_while_the_group_is_written);
	tcase_add_test(t, a_failed_write_is_answered_and_can_be_repeated);
	tcase_add_test(t, the_initial_delay_gathers_members);
	tcase_add_test(t, the_number_of_groups_is_limited);
	tcase_add_test(t, the_memory_of_members_is_limited);
	tcase_add_test(t, parked_operations_are_cancelled_and_answered_once);
	tcase_add_test(t, cancelling_races_with_answers);
	tcase_add_test(t, closing_answers_everything);
	tcase_add_test(t, groups_are_listed_and_described);
	tcase_add_test(t, groups_are_deleted);
	tcase_add_test(t, a_deletion_waits_for_commits_and_others_wait_for_it);
	tcase_add_test(t, a_deletion_that_fails_leaves_the_group);
	tcase_add_test(t, many_groups_are_deleted_at_once);
	tcase_add_test(t, thousands_of_groups_are_kept);
	suite_add_tcase(s, t);
	return s;
}
