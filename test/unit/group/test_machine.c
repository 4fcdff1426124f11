/* Heartbeats, leaving, sessions, commits, restart. */

#include <stdio.h>

#include "base/mem.h"
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

START_TEST(heartbeats_tell_the_state)
{
	ck_code(mb_heartbeat(&bed, "x", NULL, 0), GROUP_UNKNOWN_MEMBER);
	struct req *v[2];
	mb_stable(&bed, 2, v);
	int32_t generation = bed.g.generation;
	ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, generation), GROUP_OK);
	ck_code(mb_heartbeat(&bed, "x", NULL, generation), GROUP_UNKNOWN_MEMBER);
	ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, generation + 1), GROUP_ILLEGAL_GENERATION);
	mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_code(mb_heartbeat(&bed, mb_id(v[1]), NULL, generation), GROUP_REBALANCE);
	mb_join(&bed, (struct join_how){.id = mb_id(v[1])});
	ck_assert_int_eq(bed.g.state, GROUP_COMPLETING);
	ck_code(mb_heartbeat(&bed, mb_id(v[1]), NULL, generation), GROUP_ILLEGAL_GENERATION);
	ck_code(mb_heartbeat(&bed, mb_id(v[1]), NULL, generation + 1), GROUP_OK);
}
END_TEST

START_TEST(a_session_ends_without_a_sign_of_life)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	int32_t generation = bed.g.generation;
	mb_pass(&bed, BED_SESSION - 1);
	ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, generation), GROUP_OK);
	ck_assert_uint_eq(bed.lost, 0);
	mb_pass(&bed, 1);
	ck_assert_uint_eq(bed.lost, 1);
	ck_assert_str_eq(bed.last_lost, mb_id(v[1]));
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
	ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, generation), GROUP_REBALANCE);
	struct req *j = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_code(j, GROUP_OK);
	ck_assert_int_eq(j->op.u.join.generation, generation + 1);
}
END_TEST

START_TEST(a_commit_renews_the_session)
{
	struct req *v[1];
	mb_stable(&bed, 1, v);
	for (int i = 0; i < 10; i++) {
		mb_pass(&bed, BED_SESSION - 1);
		ck_assert_int_eq(mb_commit(&bed, mb_id(v[0]), NULL, bed.g.generation), GROUP_OK);
	}
	ck_assert_uint_eq(bed.lost, 0);
}
END_TEST

START_TEST(when_the_last_member_is_gone_the_group_is_empty_and_stored_so)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	int32_t generation = bed.g.generation;
	unsigned saves = bed.saves;
	mb_pass(&bed, BED_SESSION);
	ck_assert_int_eq(bed.g.state, GROUP_EMPTY);
	ck_assert_int_eq(bed.g.generation, generation + 1);
	ck_assert_uint_eq(bed.saves, saves + 1);
	ck_assert_uint_eq(bed.row->data[1], GROUP_EMPTY);
	ck_code(mb_heartbeat(&bed, mb_id(v[0]), NULL, generation), GROUP_UNKNOWN_MEMBER);
	ck_assert(group_deadline(&bed.g) == INT64_MAX);
	struct req *w[1];
	mb_stable(&bed, 1, w);
	ck_assert_int_gt(bed.g.generation, generation + 1);
}
END_TEST

START_TEST(an_emptied_group_that_cannot_be_stored_is_remembered_as_stale)
{
	struct req *v[1];
	mb_stable(&bed, 1, v);
	bed.save_err = ERR_QUOTA;
	mb_leave(&bed, mb_id(v[0]), NULL);
	ck_assert_int_eq(bed.g.state, GROUP_EMPTY);
	ck_assert(bed.g.row_is_stale);
	bed.save_err = ERR_OK;
	mb_stable(&bed, 1, v);
	ck_assert(!bed.g.row_is_stale);
}
END_TEST

START_TEST(members_leave_alone_or_together)
{
	struct req *v[3];
	mb_stable(&bed, 3, v);
	struct req *l = mb_leave(&bed, mb_id(v[2]), NULL);
	ck_code(l, GROUP_OK);
	ck_assert_int_eq(l->leaving[0].code, GROUP_OK);
	ck_assert_int_eq(bed.g.state, GROUP_PREPARING);
	struct req *j = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_parked(j);
	struct req *r = mb_req(&bed, GROUPS_LEAVE);
	r->leaving[0].member_id = v[1]->op.u.join.member_id;
	r->leaving[1].member_id = span_str("nobody");
	r->leaving[2].member_id = v[0]->op.u.join.member_id;
	r->op.u.leave.members = r->leaving;
	r->op.u.leave.n_members = 3;
	group_leave(&bed.g, &r->op, bed.now);
	ck_code(r, GROUP_OK);
	ck_assert_int_eq(r->leaving[0].code, GROUP_OK);
	ck_assert_int_eq(r->leaving[1].code, GROUP_UNKNOWN_MEMBER);
	ck_assert_int_eq(r->leaving[2].code, GROUP_OK);
	ck_code(j, GROUP_UNKNOWN_MEMBER);
	ck_assert_int_eq(bed.g.state, GROUP_EMPTY);
	mb_saved(&bed, ERR_OK);
}
END_TEST

START_TEST(a_pending_id_can_leave)
{
	struct req *p = mb_join(&bed, (struct join_how){0});
	struct req *l = mb_leave(&bed, mb_id(p), NULL);
	ck_assert_int_eq(l->leaving[0].code, GROUP_OK);
	ck_assert_uint_eq(bed.g.n_pending, 0);
}
END_TEST

START_TEST(commits_are_checked)
{
	ck_assert_int_eq(mb_commit(&bed, "", NULL, -1), GROUP_OK);
	ck_assert_int_eq(mb_commit(&bed, "x", NULL, 3), GROUP_UNKNOWN_MEMBER);
	struct req *v[2];
	mb_stable(&bed, 2, v);
	int32_t generation = bed.g.generation;
	ck_assert_int_eq(mb_commit(&bed, "", NULL, -1), GROUP_UNKNOWN_MEMBER);
	ck_assert_int_eq(mb_commit(&bed, "x", NULL, generation), GROUP_UNKNOWN_MEMBER);
	ck_assert_int_eq(mb_commit(&bed, mb_id(v[0]), NULL, generation - 1),
			 GROUP_ILLEGAL_GENERATION);
	ck_assert_int_eq(mb_commit(&bed, mb_id(v[0]), NULL, generation), GROUP_OK);
	mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_assert_int_eq(mb_commit(&bed, mb_id(v[1]), NULL, generation), GROUP_OK);
	mb_join(&bed, (struct join_how){.id = mb_id(v[1])});
	ck_assert_int_eq(bed.g.state, GROUP_COMPLETING);
	ck_assert_int_eq(mb_commit(&bed, mb_id(v[1]), NULL, generation + 1), GROUP_REBALANCE);
	ck_assert_int_eq(mb_commit(&bed, mb_id(v[1]), NULL, generation), GROUP_ILLEGAL_GENERATION);
}
END_TEST

START_TEST(a_cancelled_join_leaves_its_member_in_the_group)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	struct req *j = mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	ck_parked(j);
	group_cancel(&bed.g, &j->op);
	ck_code(j, GROUP_NOT_COORDINATOR);
	struct req *f = mb_join(&bed, (struct join_how){.id = mb_id(v[1])});
	ck_code(f, GROUP_OK);
	ck_assert_uint_eq(bed.g.n_members, 2);
	/* It was away when the generation began, and is lost when its session ends. */
	struct req *s = mb_sync(&bed, f, NULL);
	ck_parked(s);
	group_cancel(&bed.g, &s->op);
	ck_code(s, GROUP_NOT_COORDINATOR);
	mb_pass(&bed, BED_SESSION);
	ck_assert_uint_eq(bed.lost, 1);
	ck_assert_str_eq(bed.last_lost, mb_id(v[0]));
}
END_TEST

START_TEST(a_cancelled_operation_does_not_park)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	struct req *r = mb_req(&bed, GROUPS_JOIN);
	struct groups_protocol p = {span_str("range"), span_str("q")};
	r->op.is_cancelled = true;
	r->op.member_id = v[0]->op.u.join.member_id;
	r->op.u.join.session_timeout_ms = BED_SESSION;
	r->op.u.join.protocol_type = span_str("consumer");
	r->op.u.join.protocols = &p;
	r->op.u.join.n_protocols = 1;
	group_join(&bed.g, &r->op, bed.now);
	ck_code(r, GROUP_NOT_COORDINATOR);
	ck_assert_uint_eq(bed.g.n_joined, 1);
}
END_TEST

/* The group as another process finds it. */
static void restart(struct mbed *after)
{
	struct buf *row = buf_hold(bed.row);
	mb_init(after, 0, 100);
	const struct group_hooks *hooks = after->g.hooks;
	group_fini(&after->g);
	ck_assert_int_eq(group_row_decode(span_str("g"), span_of(row->data, row->len),
					  &after->config, hooks, after, &after->g),
			 ERR_OK);
	group_resume(&after->g, after->now);
	buf_drop(&row);
}

START_TEST(members_of_a_stable_group_go_on_after_a_restart)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	struct mbed after;
	restart(&after);
	ck_assert_int_eq(after.g.state, GROUP_STABLE);
	ck_assert_int_eq(after.g.generation, bed.g.generation);
	mb_pass(&after, BED_SESSION - 1);
	ck_code(mb_heartbeat(&after, mb_id(v[0]), NULL, bed.g.generation), GROUP_OK);
	ck_assert_int_eq(mb_commit(&after, mb_id(v[1]), NULL, bed.g.generation), GROUP_OK);
	struct req *s = mb_sync(&after, v[1], NULL);
	ck_code(s, GROUP_OK);
	ck_assert_str_eq(txt(s->op.u.sync.assignment), mb_id(v[1]));
	ck_code(mb_join(&after, (struct join_how){.id = mb_id(v[1])}), GROUP_OK);
	ck_assert_int_eq(after.g.state, GROUP_STABLE);
	mb_pass(&after, BED_SESSION);
	ck_assert_int_eq(after.g.state, GROUP_EMPTY);
	mb_fini(&after);
}
END_TEST

START_TEST(an_unfinished_generation_is_joined_again_after_a_restart)
{
	struct req *v[2];
	mb_stable(&bed, 2, v);
	mb_join(&bed, (struct join_how){.id = mb_id(v[0])});
	mb_join(&bed, (struct join_how){.id = mb_id(v[1])});
	int32_t generation = bed.g.generation;
	struct mbed after;
	restart(&after);
	ck_assert_int_eq(after.g.state, GROUP_PREPARING);
	ck_code(mb_heartbeat(&after, mb_id(v[0]), NULL, generation), GROUP_REBALANCE);
	ck_code(mb_sync_as(&after, mb_id(v[0]), NULL, generation), GROUP_REBALANCE);
	ck_code(mb_heartbeat(&after, mb_id(v[0]), NULL, generation - 1), GROUP_ILLEGAL_GENERATION);
	struct req *a = mb_join(&after, (struct join_how){.id = mb_id(v[0])});
	struct req *b = mb_join(&after, (struct join_how){.id = mb_id(v[1])});
	ck_code(a, GROUP_OK);
	ck_code(b, GROUP_OK);
	ck_assert_int_eq(a->op.u.join.generation, generation + 1);
	mb_fini(&after);
}
END_TEST

/* Whoever is refused for want of memory tries again. */
static void live(void)
{
	char id[128] = "";
	for (int tries = 0; tries < 8 && bed.g.state != GROUP_STABLE; tries++) {
		struct req *j = mb_req(&bed, GROUPS_JOIN);
		snprintf(j->id, sizeof j->id, "%s", id);
		j->op.member_id = span_str(j->id);
		j->op.client_id = span_str("c");
		j->protocols[0] = (struct groups_protocol){span_str("range"), span_str("m")};
		j->op.u.join.version = 9;
		j->op.u.join.require_known_member = true;
		j->op.u.join.session_timeout_ms = BED_SESSION;
		j->op.u.join.rebalance_timeout_ms = 30000;
		j->op.u.join.protocol_type = span_str("consumer");
		j->op.u.join.protocols = j->protocols;
		j->op.u.join.n_protocols = 1;
		group_join(&bed.g, &j->op, bed.now);
		while (bed.g.wants_save) {
			mb_saved(&bed, ERR_OK);
		}
		ck_assert_uint_eq(j->answers, 1);
		if (j->op.code == GROUP_MEMBER_ID_REQUIRED || j->op.code == GROUP_OK) {
			snprintf(id, sizeof id, "%s", mb_id(j));
		}
		if (j->op.code == GROUP_OK) {
			mb_sync_as(&bed, id, NULL, j->op.u.join.generation);
		}
	}
}

/* Each allocation of a whole life fails once. */
START_TEST(memory_may_run_out_anywhere)
{
	bool fired = true;
	long n = 1;
	for (; fired; n++) {
		mem_fault_at(n);
		live();
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(bed.g.state, GROUP_STABLE);
		teardown();
		setup();
	}
	ck_assert_int_gt(n, 20);
}
END_TEST

Suite *machine_suite(void)
{
	Suite *s = suite_create("machine");
	TCase *t = tcase_create("machine");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, heartbeats_tell_the_state);
	tcase_add_test(t, a_session_ends_without_a_sign_of_life);
	tcase_add_test(t, a_commit_renews_the_session);
	tcase_add_test(t, when_the_last_member_is_gone_the_group_is_empty_and_stored_so);
	tcase_add_test(t, an_emptied_group_that_cannot_be_stored_is_remembered_as_stale);
	tcase_add_test(t, members_leave_alone_or_together);
	tcase_add_test(t, a_pending_id_can_leave);
	tcase_add_test(t, commits_are_checked);
	tcase_add_test(t, a_cancelled_join_leaves_its_member_in_the_group);
	tcase_add_test(t, a_cancelled_operation_does_not_park);
	tcase_add_test(t, members_of_a_stable_group_go_on_after_a_restart);
	tcase_add_test(t, an_unfinished_generation_is_joined_again_after_a_restart);
	tcase_add_test(t, memory_may_run_out_anywhere);
	suite_add_tcase(s, t);
	return s;
}
