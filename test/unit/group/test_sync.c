#include "test/unit/group/machine_bed.h"

static struct mbed bed;

static void setup(void)
{
	mb_init(&bed, 0, 100);
}

static void teardown(void)
{
	mb_fini(&bed);
}

/* Two members whose joins are answered; nobody has synced. */
static void completing(struct req **v)
{
	struct req *w[2];
	mb_stable(&bed, 2, w);
	v[1] = mb_join(&bed, (struct join_how){.id = mb_id(w[1]), .metadata = "n"});
	v[0] = mb_join(&bed, (struct join_how){.id = mb_id(w[0])});
	ck_code(v[0], GROUP_OK);
	ck_code(v[1], GROUP_OK);
	ck_assert_int_eq(bed.g.state, GROUP_COMPLETING);
}

START_TEST(assignments_reach_their_members_after_they_are_stored)
{
	struct req *v[2];
	completing(v);
	struct req *f = mb_sync(&bed, v[1], NULL);
	ck_parked(f);
	bed.holds_saves = true;
	const char *a[] = {mb_id(v[0]), "zero", mb_id(v[1]), "one", "nobody", "x", NULL};
	struct req *l = mb_sync(&bed, v[0], a);
	ck_parked(l);
	ck_parked(f);
	ck_assert_int_eq(bed.g.state, GROUP_COMPLETING);
	mb_saved(&bed, ERR_OK);
	ck_assert_int_eq(bed.g.state, GROUP_STABLE);
	ck_assert_str_eq(txt(l->op.u.sync.assignment), "zero");
	ck_assert_str_eq(txt(f->op.u.sync.assignment), "one");
	ck_assert_str_eq(txt(f->op.u.sync.result_type), "consumer");
	ck_assert_str_eq(txt(f->op.u.sync.result_protocol), "range");
}
END_TEST

START_TEST(a_missing_assignment_is_empty_and_the_last_of_repeated_counts)
{
	struct req *v[2];
	completing(v);
	const char *a[] = {mb_id(v[0]), "first", mb_id(v[0]), "last", NULL};
	struct req *l = mb_sync(&bed, v[0], a);
	ck_code(l, GROUP_OK);
	ck_assert_str_eq(txt(l->op.u.sync.assignment), "last");
	/* Stable: who comes later gets what it was given. */
	struct req *f = mb_sync(&bed, v[1], NULL);
	ck_code(f, GROUP_OK);
	ck_assert_uint_eq(f->op.u.sync.assignment.n, 0);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
	ck_code(mb_sync_as(&bed, "x", NULL, 0), GROUP_UNKNOWN_MEMBER);
	struct req *v[2];
	completing(v);
	ck_code(mb_sync_as(&bed, "x", NULL, bed.g.generation), GROUP_UNKNOWN_MEMBER);
	ck_code(mb_sync_as(&bed, mb_id(v[0]), NULL, bed.g.generation - 1),
		GROUP_ILLEGAL_GENERATION);
	ck_parked(mb_join(&bed, (struct join_how){.id = mb_id(v[0]), .metadata = "q"}));
	ck_code(mb_sync_as(&bed, mb_id(v[1]), NULL, bed.g.generation), GROUP_REBALANCE);
}
END_TEST

START_TEST(type_and_name_of_version_5_must_match)
{
	struct req *v[2];
	completing(v);
	struct req *r = mb_req(&bed, GROUPS_SYNC);
	r->op.member_id = v[1]->op.u.join.member_id;
	r->op.generation = bed.g.generation;
	r->op.u.sync.protocol_type = span_str("connect");
	r->op.u.sync.protocol = span_str("range");
	group_sync(&bed.g, &r->op, bed.now);
	ck_code(r, GROUP_INCONSISTENT_PROTOCOL);
	r->answers = 0;
	r->op.u.sync.protocol_type = span_str("consumer");
	r->op.u.sync.protocol = span_str("sticky");
	group_sync(&bed.g, &r->op, bed.now);
	ck_code(r, GROUP_INCONSISTENT_PROTOCOL);
	r->answers = 0;
	r->op.u.sync.protocol = span_str("range");
	group_sync(&bed.g, &r->op, bed.now);
	ck_parked(r);
}
END_TEST

START_TEST(a_rebalance_sends_the_parked_syncs_away)
{
	struct req *v[2];
	completing(v);
	struct req *f = mb_sync(&bed, v[1], NULL);
	struct req *j = mb_join(&bed, (struct join_how){.version = 3});
	ck_parked(j);
	ck_code(f, GROUP_REBALANCE);
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
}
END_TEST

START_TEST(who_does_not_sync_within_the_rebalance_timeout_is_removed)
{
	struct req *v[2];
	completing(v);
	int32_t generation = bed.g.generation;
	const char *a[] = {mb_id(v[0]), "zero", NULL};
	ck_code(mb_sync(&bed, v[0], a), GROUP_OK);
	ck_assert_int_eq(bed.g.state, GROUP_STABLE);
	for (int i = 0; i < BED_REBALANCE / 5000; i++) {
		ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, generation), GROUP_OK);
		ck_code(mb_heartbeat(&bed, mb_id(v[1]), NULL, generation), GROUP_OK);
		mb_pass(&bed, 5000);
	}
	ck_assert_str_eq(bed.last_lost, mb_id(v[1]));
	ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, generation), GROUP_REBALANCE);
	ck_code(mb_heartbeat(&bed, mb_id(v[1]), NULL, generation), GROUP_UNKNOWN_MEMBER);
}
END_TEST

START_TEST(a_leader_that_never_syncs_is_removed)
{
	struct req *v[2];
	completing(v);
	struct req *f = mb_sync(&bed, v[1], NULL);
	int32_t generation = bed.g.generation;
	for (int i = 0; i < BED_REBALANCE / 5000; i++) {
		ck_parked(f);
		mb_heartbeat(&bed, mb_id(v[0]), NULL, generation);
		mb_pass(&bed, 5000);
	}
	ck_code(f, GROUP_REBALANCE);
	ck_assert_uint_eq(bed.g.n_members, 1);
	struct req *j = mb_join(&bed, (struct join_how){.id = mb_id(v[1])});
	ck_code(j, GROUP_OK);
	ck_assert_str_eq(txt(j->op.u.join.leader), mb_id(v[1]));
}
END_TEST

START_TEST(a_parked_sync_keeps_its_member_alive)
{
	struct req *v[2];
	completing(v);
	struct req *f = mb_sync(&bed, v[1], NULL);
	for (int i = 0; i < 6; i++) {
		mb_pass(&bed, 5000);
		ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, bed.g.generation), GROUP_OK);
	}
	ck_parked(f);
	ck_code(mb_sync(&bed, v[0], NULL), GROUP_OK);
	ck_code(f, GROUP_OK);
	ck_assert_uint_eq(bed.lost, 0);
}
END_TEST

START_TEST(a_repeated_sync_takes_the_place_of_the_parked_one)
{
	struct req *v[2];
	completing(v);
	struct req *one = mb_sync(&bed, v[1], NULL);
	struct req *two = mb_sync(&bed, v[1], NULL);
	ck_code(one, GROUP_REBALANCE);
	ck_parked(two);
}
END_TEST

START_TEST(a_failed_write_is_answered_and_rebalances)
{
	struct req *v[2];
	completing(v);
	int32_t generation = bed.g.generation;
	struct req *f = mb_sync(&bed, v[1], NULL);
	bed.save_err = ERR_QUOTA;
	struct req *l = mb_sync(&bed, v[0], NULL);
	ck_code(l, GROUP_NOT_COORDINATOR);
	ck_code(f, GROUP_NOT_COORDINATOR);
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
	/* The next one fails as well, then it goes on with a later generation. */
	struct req *j0 = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	struct req *j1 = mb_join(&bed, (struct join_how){.id = mb_id(v[1])});
	ck_code(j0, GROUP_NOT_COORDINATOR);
	ck_code(j1, GROUP_NOT_COORDINATOR);
	bed.save_err = ERR_OK;
	j0 = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	j1 = mb_join(&bed, (struct join_how){.id = mb_id(v[1])});
	ck_code(j0, GROUP_OK);
	ck_code(j1, GROUP_OK);
	ck_assert_int_gt(j0->op.u.join.generation, generation + 1);
}
END_TEST

START_TEST(assignments_too_large_are_refused)
{
	static uint8_t big[GROUPS_MEMBER_BYTES + 1];
	struct req *v[2];
	completing(v);
	struct groups_assignment a = {v[0]->op.u.join.member_id, span_of(big, sizeof big)};
	struct req *r = mb_req(&bed, GROUPS_SYNC);
	r->op.member_id = v[0]->op.u.join.member_id;
	r->op.generation = bed.g.generation;
	r->op.u.sync.assignments = &a;
	r->op.u.sync.n_assignments = 1;
	group_sync(&bed.g, &r->op, bed.now);
	ck_code(r, GROUP_INVALID_REQUEST);
	ck_assert_int_eq(bed.g.state, GROUP_COMPLETING);
	ck_assert(!bed.g.wants_save);
}
END_TEST

START_TEST(lists_longer_than_any_group_are_refused)
{
	static struct groups_assignment a[200];
	static struct groups_member m[200];
	struct req *v[2];
	completing(v);
	for (size_t i = 0; i < 200; i++) {
		a[i].member_id = v[i % 2]->op.u.join.member_id;
		a[i].assignment = span_str("x");
		m[i].member_id = span_str("nobody");
	}
	for (uint32_t more = 2; more-- > 0;) {
		struct req *l = mb_req(&bed, GROUPS_LEAVE);
		l->op.u.leave.members = m;
		l->op.u.leave.n_members = 102 + more;
		group_leave(&bed.g, &l->op, bed.now);
		ck_code(l, more != 0 ? GROUP_INVALID_REQUEST : GROUP_OK);
		ck_assert_int_eq(m[0].code, more != 0 ? GROUP_INVALID_REQUEST : GROUP_UNKNOWN_MEMBER);
	}
	struct req *r = mb_req(&bed, GROUPS_SYNC);
	r->op.member_id = v[0]->op.u.join.member_id;
	r->op.generation = bed.g.generation;
	r->op.u.sync.assignments = a;
	r->op.u.sync.n_assignments = 103;
	group_sync(&bed.g, &r->op, bed.now);
	ck_code(r, GROUP_INVALID_REQUEST);
	ck_assert_int_eq(bed.g.state, GROUP_COMPLETING);
	ck_assert(!bed.g.wants_save);
}
END_TEST

Suite *sync_suite(void)
{
	Suite *s = suite_create("sync");
	TCase *t = tcase_create("sync");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, assignments_reach_their_members_after_they_are_stored);
	tcase_add_test(t, a_missing_assignment_is_empty_and_the_last_of_repeated_counts);
	tcase_add_test(t, what_does_not_fit_is_refused);
	tcase_add_test(t, type_and_name_of_version_5_must_match);
	tcase_add_test(t, a_rebalance_sends_the_parked_syncs_away);
	tcase_add_test(t, who_does_not_sync_within_the_rebalance_timeout_is_removed);
	tcase_add_test(t, a_leader_that_never_syncs_is_removed);
	tcase_add_test(t, a_parked_sync_keeps_its_member_alive);
	tcase_add_test(t, a_repeated_sync_takes_the_place_of_the_parked_one);
	tcase_add_test(t, a_failed_write_is_answered_and_rebalances);
	tcase_add_test(t, assignments_too_large_are_refused);
	tcase_add_test(t, lists_longer_than_any_group_are_refused);
	suite_add_tcase(s, t);
	return s;
}
