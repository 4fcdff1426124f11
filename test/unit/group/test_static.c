#include <stdio.h>

#include "test/unit/group/machine_bed.h"

static struct mbed bed;

static void setup(void)
{
	mb_init(&bed, 3000, 100);
}

static void teardown(void)
{
	mb_fini(&bed);
}

/* Static members "i0" (leads) and "i1", stable. */
static void stable(struct req **v)
{
	v[0] = mb_join(&bed, (struct join_how){.instance = "i0"});
	v[1] = mb_join(&bed, (struct join_how){.instance = "i1"});
	mb_pass(&bed, 6000);
	ck_code(v[0], GROUP_OK);
	ck_code(v[1], GROUP_OK);
	const char *a[] = {mb_id(v[0]), "zero", mb_id(v[1]), "one", NULL};
	struct req *f = mb_sync(&bed, v[1], NULL);
	ck_code(mb_sync(&bed, v[0], a), GROUP_OK);
	ck_code(f, GROUP_OK);
}

START_TEST(ids_of_static_members_begin_with_the_instance)
{
	struct req *v[2];
	stable(v);
	ck_assert_str_eq(mb_id(v[0]), "i0-00000000-0000-4000-8000-000000000001");
	ck_assert_str_eq(txt(v[0]->op.u.join.members[1].instance_id), "i1");
	ck_assert_int_eq(bed.g.generation, 1);
}
END_TEST

START_TEST(an_unchanged_instance_returns_without_a_rebalance)
{
	struct req *v[2];
	stable(v);
	unsigned saves = bed.saves;
	struct req *r = mb_join(&bed, (struct join_how){.instance = "i1"});
	ck_code(r, GROUP_OK);
	ck_assert_int_eq(r->op.u.join.generation, 1);
	ck_assert_str_ne(mb_id(r), mb_id(v[1]));
	ck_assert_str_eq(txt(r->op.u.join.leader), mb_id(v[0]));
	ck_assert(!r->op.u.join.skip_assignment);
	ck_assert_uint_eq(r->op.u.join.n_members, 0);
	ck_assert_int_eq(bed.g.state, GROUP_STABLE);
	ck_assert_uint_eq(bed.saves, saves + 1);
	struct req *s = mb_sync(&bed, r, NULL);
	ck_assert_str_eq(txt(s->op.u.sync.assignment), "one");
	/* The old id is fenced everywhere. */
	ck_code(mb_heartbeat(&bed, mb_id(v[1]), "i1", 1), GROUP_FENCED_INSTANCE);
	ck_code(mb_sync_as(&bed, mb_id(v[1]), "i1", 1), GROUP_FENCED_INSTANCE);
	ck_code(mb_join(&bed, (struct join_how){.id = mb_id(v[1]), .instance = "i1"}),
		GROUP_FENCED_INSTANCE);
	ck_assert_int_eq(mb_commit(&bed, mb_id(v[1]), "i1", 1), GROUP_FENCED_INSTANCE);
	struct req *l = mb_leave(&bed, mb_id(v[1]), "i1");
	ck_assert_int_eq(l->leaving[0].code, GROUP_FENCED_INSTANCE);
	ck_code(mb_heartbeat(&bed, mb_id(r), "i1", 1), GROUP_OK);
	ck_code(mb_heartbeat(&bed, mb_id(r), "unknown", 1), GROUP_UNKNOWN_MEMBER);
}
END_TEST

START_TEST(a_returning_leader_assigns_nothing_anew)
{
	struct req *v[2];
	stable(v);
	/* Before version 9 it hears its old id as the leader's. */
	struct req *old = mb_join(&bed, (struct join_how){.instance = "i0", .version = 8});
	ck_code(old, GROUP_OK);
	ck_assert_str_eq(txt(old->op.u.join.leader), mb_id(v[0]));
	ck_assert_str_ne(mb_id(old), mb_id(v[0]));
	ck_assert_uint_eq(old->op.u.join.n_members, 0);
	/* From then on it is told to leave the assignment alone. */
	struct req *r = mb_join(&bed, (struct join_how){.instance = "i0", .version = 9});
	ck_code(r, GROUP_OK);
	ck_assert_str_eq(txt(r->op.u.join.leader), mb_id(r));
	ck_assert(r->op.u.join.skip_assignment);
	ck_assert_uint_eq(r->op.u.join.n_members, 2);
	ck_assert_int_eq(bed.g.state, GROUP_STABLE);
	ck_assert_int_eq(bed.g.generation, 1);
}
END_TEST

START_TEST(another_selected_protocol_rebalances)
{
	mb_fini(&bed);
	mb_init(&bed, 0, 100);
	struct req *a = mb_join(&bed, (struct join_how){.instance = "i0", .protocols = "range,rr"});
	ck_code(mb_sync(&bed, a, NULL), GROUP_OK);
	struct req *r = mb_join(&bed, (struct join_how){.instance = "i0", .protocols = "rr,range"});
	ck_code(r, GROUP_OK);
	ck_assert_int_eq(r->op.u.join.generation, 2);
	ck_assert_str_eq(txt(r->op.u.join.protocol), "rr");
}
END_TEST

START_TEST(a_replacement_fences_what_is_parked)
{
	struct req *v[2];
	stable(v);
	struct req *j = mb_join(
		&bed, (struct join_how){.id = mb_id(v[1]), .instance = "i1", .metadata = "x"});
	ck_parked(j);
	struct req *n = mb_join(&bed, (struct join_how){.instance = "i1"});
	ck_code(j, GROUP_FENCED_INSTANCE);
	ck_parked(n);
	ck_assert_uint_eq(bed.g.n_joined, 1);
	struct req *l = mb_join(&bed, (struct join_how){.id = mb_id(v[0]), .instance = "i0"});
	ck_code(l, GROUP_OK);
	ck_code(n, GROUP_OK);
	/* And a replacement while assignments are awaited begins anew. */
	struct req *f = mb_sync(&bed, n, NULL);
	struct req *again = mb_join(&bed, (struct join_how){.instance = "i1"});
	ck_code(f, GROUP_FENCED_INSTANCE);
	ck_parked(again);
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
}
END_TEST

START_TEST(absent_static_members_stay_until_their_session_ends)
{
	struct req *v[2];
	v[0] = mb_join(&bed, (struct join_how){.instance = "i0", .rebalance_ms = 10000});
	v[1] = mb_join(
		&bed, (struct join_how){.instance = "i1", .rebalance_ms = 10000, .session_ms = 60000});
	mb_pass(&bed, 6000);
	struct req *f = mb_sync(&bed, v[1], NULL);
	ck_code(mb_sync(&bed, v[0], NULL), GROUP_OK);
	ck_code(f, GROUP_OK);
	struct req *j = mb_join(&bed, (struct join_how){.id = mb_id(v[0]),
							.instance = "i0",
							.metadata = "x",
							.rebalance_ms = 10000});
	mb_pass(&bed, 10000);
	ck_code(j, GROUP_OK);
	ck_assert_uint_eq(j->op.u.join.n_members, 2);
	ck_assert_uint_eq(bed.g.n_members, 2);
}
END_TEST

START_TEST(with_only_absent_static_members_the_phase_is_prolonged)
{
	struct req *v[2];
	v[0] = mb_join(
		&bed, (struct join_how){.instance = "i0", .rebalance_ms = 7000, .session_ms = 60000});
	mb_pass(&bed, 6000);
	ck_code(mb_sync(&bed, v[0], NULL), GROUP_OK);
	v[1] = mb_join(&bed, (struct join_how){.instance = "i1", .rebalance_ms = 7000});
	ck_parked(v[1]);
	mb_leave(&bed, "", "i1");
	ck_code(v[1], GROUP_UNKNOWN_MEMBER);
	mb_pass(&bed, 20000);
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
	ck_assert_uint_eq(bed.g.n_members, 1);
	mb_pass(&bed, 60000);
	ck_assert_int_eq(bed.g.state, GROUP_EMPTY);
}
END_TEST

START_TEST(an_administrator_removes_by_instance)
{
	struct req *v[2];
	stable(v);
	struct req *l = mb_leave(&bed, "", "nobody");
	ck_assert_int_eq(l->leaving[0].code, GROUP_UNKNOWN_MEMBER);
	ck_assert_int_eq(bed.g.state, GROUP_STABLE);
	l = mb_leave(&bed, "", "i1");
	ck_assert_int_eq(l->leaving[0].code, GROUP_OK);
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
	ck_assert_uint_eq(bed.g.n_members, 1);
}
END_TEST

START_TEST(a_replacement_that_cannot_be_stored_rebalances)
{
	struct req *v[2];
	stable(v);
	bed.save_err = ERR_QUOTA;
	struct req *r = mb_join(&bed, (struct join_how){.instance = "i1"});
	ck_code(r, GROUP_NOT_COORDINATOR);
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
	bed.save_err = ERR_OK;
	struct req *n = mb_join(&bed, (struct join_how){.instance = "i1"});
	struct req *l = mb_join(&bed, (struct join_how){.id = mb_id(v[0]), .instance = "i0"});
	ck_code(l, GROUP_OK);
	ck_code(n, GROUP_OK);
	ck_assert_uint_eq(bed.g.n_members, 2);
}
END_TEST

START_TEST(an_id_given_out_is_no_way_around_the_instance)
{
	struct req *v[2];
	stable(v);
	/* An id for a dynamic member does not make a second one of an instance. */
	struct req *r = mb_join(&bed, (struct join_how){.client = "c"});
	ck_code(r, GROUP_MEMBER_ID_REQUIRED);
	ck_code(mb_join(&bed, (struct join_how){.id = mb_id(r), .instance = "i1"}),
		GROUP_FENCED_INSTANCE);
	ck_code(mb_join(&bed, (struct join_how){.id = mb_id(r), .instance = "i2"}),
		GROUP_UNKNOWN_MEMBER);
	ck_assert_uint_eq(bed.g.n_members, 2);
	ck_assert_int_eq(bed.g.state, GROUP_STABLE);
	ck_parked(mb_join(&bed, (struct join_how){.id = mb_id(r)}));
	ck_assert_uint_eq(bed.g.n_members, 3);
}
END_TEST

Suite *static_suite(void)
{
	Suite *s = suite_create("static");
	TCase *t = tcase_create("static");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, ids_of_static_members_begin_with_the_instance);
	tcase_add_test(t, an_unchanged_instance_returns_without_a_rebalance);
	tcase_add_test(t, a_returning_leader_assigns_nothing_anew);
	tcase_add_test(t, another_selected_protocol_rebalances);
	tcase_add_test(t, a_replacement_fences_what_is_parked);
	tcase_add_test(t, absent_static_members_stay_until_their_session_ends);
	tcase_add_test(t, with_only_absent_static_members_the_phase_is_prolonged);
	tcase_add_test(t, an_administrator_removes_by_instance);
	tcase_add_test(t, a_replacement_that_cannot_be_stored_rebalances);
	tcase_add_test(t, an_id_given_out_is_no_way_around_the_instance);
	suite_add_tcase(s, t);
	return s;
}
