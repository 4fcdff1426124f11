#include <stdio.h>

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

START_TEST(session_timeout_bounds_are_kept)
{
	static const struct {
		int32_t ms;
		int16_t code;
	} t[] = {{5999, GROUP_INVALID_SESSION_TIMEOUT},
		 {6000, GROUP_MEMBER_ID_REQUIRED},
		 {1800000, GROUP_MEMBER_ID_REQUIRED},
		 {1800001, GROUP_INVALID_SESSION_TIMEOUT},
		 {-1, GROUP_INVALID_SESSION_TIMEOUT}};
	for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
		struct req *r = mb_join(&bed, (struct join_how){.session_ms = t[i].ms});
		ck_code(r, t[i].code);
	}
}
END_TEST

START_TEST(unknown_member_id_is_refused)
{
	ck_code(mb_join(&bed, (struct join_how){.id = "stranger"}), GROUP_UNKNOWN_MEMBER);
	struct req *v[2];
	mb_stable(&bed, 2, v);
	struct req *r = mb_join(&bed, (struct join_how){.id = "stranger"});
	ck_code(r, GROUP_UNKNOWN_MEMBER);
	ck_assert_str_eq(mb_id(r), "stranger");
	ck_assert_int_eq(r->op.u.join.generation, -1);
	ck_assert_int_eq(bed.g.state, GROUP_STABLE);
}
END_TEST

START_TEST(protocols_must_fit)
{
	ck_code(mb_join(&bed, (struct join_how){.type = ""}), GROUP_INCONSISTENT_PROTOCOL);
	ck_code(mb_join(&bed, (struct join_how){.protocols = ""}), GROUP_INCONSISTENT_PROTOCOL);
	struct req *v[2];
	mb_stable(&bed, 2, v);
	ck_code(mb_join(&bed, (struct join_how){.type = "connect"}), GROUP_INCONSISTENT_PROTOCOL);
	ck_code(mb_join(&bed, (struct join_how){.protocols = "sticky"}),
		GROUP_INCONSISTENT_PROTOCOL);
	ck_code(mb_join(&bed, (struct join_how){.protocols = ""}), GROUP_INCONSISTENT_PROTOCOL);
	ck_code(mb_join(&bed, (struct join_how){.protocols = "sticky,range"}),
		GROUP_MEMBER_ID_REQUIRED);
}
END_TEST

START_TEST(version_4_gets_its_id_first_and_must_use_it_in_time)
{
	struct req *r = mb_join(&bed, (struct join_how){.client = "app"});
	ck_code(r, GROUP_MEMBER_ID_REQUIRED);
	ck_assert_str_eq(mb_id(r), "app-00000000-0000-4000-8000-000000000001");
	ck_assert_int_eq(bed.g.state, GROUP_EMPTY);
	ck_assert_uint_eq(bed.g.n_pending, 1);
	mb_pass(&bed, BED_SESSION - 1);
	ck_assert_uint_eq(bed.g.n_pending, 1);
	mb_pass(&bed, 1);
	ck_assert_uint_eq(bed.g.n_pending, 0);
	ck_code(mb_join(&bed, (struct join_how){.id = mb_id(r)}), GROUP_UNKNOWN_MEMBER);
	struct req *j = mb_join_new(&bed, (struct join_how){.client = "app"});
	ck_code(j, GROUP_OK);
	ck_assert_int_eq(j->op.u.join.generation, 1);
	ck_assert_str_eq(txt(j->op.u.join.leader), mb_id(j));
	ck_assert_str_eq(txt(j->op.u.join.protocol), "range");
	ck_assert_uint_eq(j->op.u.join.n_members, 1);
	ck_assert_str_eq(txt(j->op.u.join.members[0].metadata), "m0");
	ck_assert_int_eq(bed.g.state, GROUP_COMPLETING);
}
END_TEST

START_TEST(versions_0_to_3_are_admitted_at_once)
{
	struct req *r = mb_join(&bed, (struct join_how){.version = 3});
	ck_code(r, GROUP_OK);
	ck_assert_str_eq(mb_id(r), "c-00000000-0000-4000-8000-000000000001");
}
END_TEST

START_TEST(a_new_member_without_an_answer_is_dropped_after_five_minutes)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	struct req *late = mb_join(
		&bed, (struct join_how){.version = 3, .rebalance_ms = 10 * GROUPS_NEW_MEMBER_MS});
	ck_parked(late);
	for (int i = 0; i < GROUPS_NEW_MEMBER_MS / 5000 - 1; i++) {
		mb_pass(&bed, 5000);
		ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, 2), GROUP_REBALANCE);
		ck_code(mb_heartbeat(&bed, mb_id(v[1]), NULL, 2), GROUP_REBALANCE);
	}
	ck_parked(late);
	mb_pass(&bed, 5000);
	ck_code(late, GROUP_UNKNOWN_MEMBER);
	ck_assert_uint_eq(bed.g.n_members, 2);
}
END_TEST

START_TEST(the_leader_hears_of_all_and_the_others_of_none)
{
	struct req *v[3];
	mb_stable(&bed, 3, v);
	ck_assert_uint_eq(v[0]->op.u.join.n_members, 3);
	ck_assert_uint_eq(v[1]->op.u.join.n_members, 0);
	ck_assert_uint_eq(v[2]->op.u.join.n_members, 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_str_eq(txt(v[i]->op.u.join.leader), mb_id(v[0]));
		ck_assert_int_eq(v[i]->op.u.join.generation, bed.g.generation);
		ck_assert_str_eq(txt(v[0]->op.u.join.members[i].member_id), mb_id(v[i]));
	}
}
END_TEST

START_TEST(an_unchanged_follower_gets_the_present_generation)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	struct req *r = mb_join(&bed, (struct join_how){.id = mb_id(v[1])});
	ck_code(r, GROUP_OK);
	ck_assert_int_eq(r->op.u.join.generation, bed.g.generation);
	ck_assert_uint_eq(r->op.u.join.n_members, 0);
	ck_assert_int_eq(bed.g.state, GROUP_STABLE);
}
END_TEST

START_TEST(other_metadata_begins_a_rebalance)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	int32_t generation = bed.g.generation;
	struct req *r = mb_join(&bed, (struct join_how){.id = mb_id(v[1]), .metadata = "x"});
	ck_parked(r);
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
	struct req *l = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_code(l, GROUP_OK);
	ck_code(r, GROUP_OK);
	ck_assert_int_eq(r->op.u.join.generation, generation + 1);
	ck_assert_str_eq(txt(l->op.u.join.members[1].metadata), "x0");
}
END_TEST

START_TEST(the_leader_joining_again_begins_a_rebalance)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	ck_parked(mb_join(&bed, (struct join_how){.id = mb_id(v[0])}));
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
}
END_TEST

START_TEST(joining_again_while_assignments_are_awaited)
{
	struct req *a = mb_join_new(&bed, (struct join_how){0});
	ck_code(a, GROUP_OK);
	struct req *again = mb_join(&bed, (struct join_how){.id = mb_id(a)});
	ck_code(again, GROUP_OK);
	ck_assert_int_eq(again->op.u.join.generation, 1);
	ck_assert_uint_eq(again->op.u.join.n_members, 1);
	again = mb_join(&bed, (struct join_how){.id = mb_id(a), .metadata = "x"});
	ck_code(again, GROUP_OK);
	ck_assert_int_eq(again->op.u.join.generation, 2);
}
END_TEST

START_TEST(a_repeated_join_takes_the_place_of_the_parked_one)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	struct req *one = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_parked(one);
	struct req *two = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_code(one, GROUP_REBALANCE);
	ck_parked(two);
	ck_assert_uint_eq(bed.g.n_joined, 1);
}
END_TEST

START_TEST(who_does_not_rejoin_in_time_is_dropped_and_another_leads)
{
	struct req *v[3];
	mb_stable(&bed, 3, v);
	struct req *r1 = mb_join(&bed, (struct join_how){.id = mb_id(v[1]), .metadata = "x"});
	struct req *r2 = mb_join(&bed, (struct join_how){.id = mb_id(v[2])});
	for (int i = 0; i < BED_REBALANCE / 5000; i++) {
		ck_parked(r1);
		ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, v[0]->op.u.join.generation),
			GROUP_REBALANCE);
		mb_pass(&bed, 5000);
	}
	ck_code(r1, GROUP_OK);
	ck_code(r2, GROUP_OK);
	ck_assert_str_eq(bed.last_lost, mb_id(v[0]));
	ck_assert_str_eq(txt(r1->op.u.join.leader), mb_id(v[1]));
	ck_assert_uint_eq(r1->op.u.join.n_members, 2);
	ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, bed.g.generation), GROUP_UNKNOWN_MEMBER);
}
END_TEST

START_TEST(the_longest_rebalance_timeout_counts)
{
	struct req *a = mb_join_new(&bed, (struct join_how){.rebalance_ms = 20000});
	struct req *b = mb_join_new(&bed, (struct join_how){.rebalance_ms = 40000});
	ck_parked(b);
	int64_t began = bed.now;
	while (b->answers == 0) {
		mb_heartbeat(&bed, mb_id(a), NULL, 1);
		mb_pass(&bed, 1000);
	}
	ck_assert_int_eq(b->answered_ms - began, 40000);
}
END_TEST

START_TEST(a_pending_id_delays_the_generation)
{
	struct req *v[1];
	mb_stable(&bed, 1, v);
	struct req *p = mb_join(&bed, (struct join_how){0});
	struct req *l = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_parked(l);
	struct req *j = mb_join(&bed, (struct join_how){.id = mb_id(p)});
	ck_code(l, GROUP_OK);
	ck_code(j, GROUP_OK);
	ck_assert_uint_eq(l->op.u.join.n_members, 2);
	/* And no longer than its session. */
	struct req *again = mb_join(&bed, (struct join_how){0});
	ck_code(again, GROUP_MEMBER_ID_REQUIRED);
	struct req *l2 = mb_join(&bed, (struct join_how){.id = mb_id(l), .metadata = "y"});
	struct req *j2 = mb_join(&bed, (struct join_how){.id = mb_id(j)});
	ck_parked(l2);
	mb_pass(&bed, BED_SESSION);
	ck_code(l2, GROUP_OK);
	ck_code(j2, GROUP_OK);
}
END_TEST

START_TEST(the_size_limit_is_kept)
{
	bed.config.max_members = 2;
	struct req *v[2];
	mb_stable(&bed, 2, v);
	ck_code(mb_join(&bed, (struct join_how){0}), GROUP_MAX_SIZE);
	ck_code(mb_join(&bed, (struct join_how){.version = 3}), GROUP_MAX_SIZE);
	struct req *a = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_parked(a);
	/* A place is free until its owner comes back for it. */
	struct req *b = mb_join(&bed, (struct join_how){.version = 3});
	ck_parked(b);
	struct req *c = mb_join(&bed, (struct join_how){.id = mb_id(v[1])});
	ck_code(c, GROUP_MAX_SIZE);
	ck_code(a, GROUP_OK);
	ck_code(b, GROUP_OK);
	ck_assert_uint_eq(bed.g.n_members, 2);
}
END_TEST

START_TEST(pending_ids_are_limited)
{
	bed.config.max_members = 3;
	for (int i = 0; i < 3; i++) {
		ck_code(mb_join(&bed, (struct join_how){0}), GROUP_MEMBER_ID_REQUIRED);
	}
	ck_code(mb_join(&bed, (struct join_how){0}), GROUP_MAX_SIZE);
}
END_TEST

START_TEST(the_protocol_most_members_prefer_is_chosen)
{
	mb_fini(&bed);
	mb_init(&bed, 3000, 100);
	struct req *a = mb_join_new(&bed, (struct join_how){.protocols = "range,rr,sticky"});
	struct req *b = mb_join_new(&bed, (struct join_how){.protocols = "sticky,rr"});
	struct req *c = mb_join_new(&bed, (struct join_how){.protocols = "coop,sticky,rr"});
	mb_pass(&bed, 6000);
	ck_code(a, GROUP_OK);
	ck_code(c, GROUP_OK);
	ck_assert_str_eq(txt(b->op.u.join.protocol), "sticky");
	ck_assert_str_eq(txt(a->op.u.join.members[0].metadata), "m2");
	ck_assert_str_eq(txt(a->op.u.join.members[1].metadata), "m0");
	ck_assert_str_eq(txt(a->op.u.join.members[2].metadata), "m1");
}
END_TEST

START_TEST(the_first_rebalance_waits_and_is_prolonged_by_newcomers)
{
	mb_fini(&bed);
	mb_init(&bed, 3000, 100);
	struct req *a = mb_join(&bed, (struct join_how){.version = 3, .rebalance_ms = 10000});
	mb_pass(&bed, 2999);
	ck_parked(a);
	struct req *b = mb_join(&bed, (struct join_how){.version = 3, .rebalance_ms = 10000});
	mb_pass(&bed, 1);
	ck_parked(a);
	mb_pass(&bed, 2999);
	ck_parked(a);
	mb_pass(&bed, 1);
	ck_code(a, GROUP_OK);
	ck_code(b, GROUP_OK);
	ck_assert_int_eq(a->answered_ms - a->asked_ms, 6000);
	ck_assert_uint_eq(bed.rebalanced, 1);
}
END_TEST

START_TEST(prolonging_is_capped_by_the_rebalance_timeout)
{
	mb_fini(&bed);
	mb_init(&bed, 3000, 100);
	struct req *a = mb_join(&bed, (struct join_how){.version = 3, .rebalance_ms = 10000});
	while (a->answers == 0) {
		mb_pass(&bed, 1000);
		if (a->answers == 0) {
			mb_join(&bed, (struct join_how){.version = 3, .rebalance_ms = 10000});
		}
	}
	ck_assert_int_eq(a->answered_ms - a->asked_ms, 10000);
	ck_assert_uint_eq(a->op.u.join.n_members, 10);
}
END_TEST

START_TEST(too_much_is_refused)
{
	static uint8_t big[GROUPS_MEMBER_BYTES + 1];
	struct groups_protocol p = {span_str("range"), span_of(big, sizeof big)};
	struct req *r = mb_req(&bed, GROUPS_JOIN);
	r->op.u.join.session_timeout_ms = BED_SESSION;
	r->op.u.join.protocol_type = span_str("consumer");
	r->op.u.join.protocols = &p;
	r->op.u.join.n_protocols = 1;
	group_join(&bed.g, &r->op, bed.now);
	ck_code(r, GROUP_INVALID_REQUEST);
	/* The fourth of half a megabyte does not fit the group. */
	p.metadata.n = GROUPS_MEMBER_BYTES - 100;
	for (int i = 0; i < 5; i++) {
		r = mb_req(&bed, GROUPS_JOIN);
		r->op.u.join.session_timeout_ms = BED_SESSION;
		r->op.u.join.protocol_type = span_str("consumer");
		r->op.u.join.protocols = &p;
		r->op.u.join.n_protocols = 1;
		group_join(&bed.g, &r->op, bed.now);
		while (bed.g.wants_save) {
			mb_saved(&bed, ERR_OK);
		}
	}
	ck_code(r, GROUP_INVALID_REQUEST);
	ck_assert_uint_le(bed.g.bytes, GROUPS_GROUP_BYTES);
}
END_TEST

Suite *join_suite(void)
{
	Suite *s = suite_create("join");
	TCase *t = tcase_create("join");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, session_timeout_bounds_are_kept);
	tcase_add_test(t, unknown_member_id_is_refused);
	tcase_add_test(t, protocols_must_fit);
	tcase_add_test(t, version_4_gets_its_id_first_and_must_use_it_in_time);
	tcase_add_test(t, versions_0_to_3_are_admitted_at_once);
	tcase_add_test(t, a_new_member_without_an_answer_is_dropped_after_five_minutes);
	tcase_add_test(t, the_leader_hears_of_all_and_the_others_of_none);
	tcase_add_test(t, an_unchanged_follower_gets_the_present_generation);
	tcase_add_test(t, other_metadata_begins_a_rebalance);
	tcase_add_test(t, the_leader_joining_again_begins_a_rebalance);
	tcase_add_test(t, joining_again_while_assignments_are_awaited);
	tcase_add_test(t, a_repeated_join_takes_the_place_of_the_parked_one);
	tcase_add_test(t, who_does_not_rejoin_in_time_is_dropped_and_another_leads);
	tcase_add_test(t, the_longest_rebalance_timeout_counts);
	tcase_add_test(t, a_pending_id_delays_the_generation);
	tcase_add_test(t, the_size_limit_is_kept);
	tcase_add_test(t, pending_ids_are_limited);
	tcase_add_test(t, the_protocol_most_members_prefer_is_chosen);
	tcase_add_test(t, the_first_rebalance_waits_and_is_prolonged_by_newcomers);
	tcase_add_test(t, prolonging_is_capped_by_the_rebalance_timeout);
	tcase_add_test(t, too_much_is_refused);
	suite_add_tcase(s, t);
	return s;
}
