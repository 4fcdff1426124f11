/* SyncGroup, Heartbeat, LeaveGroup and the check of a commit. */

#include <assert.h>

#include "gateway/group/machine_priv.h"
#include "gateway/group/op_memory.h"

/* A list of more entries than there can be members is no list of members; going
 * through it would keep all other groups waiting. */
static bool is_list_too_long(const struct group *g, uint32_t n)
{
	return n > g->n_members + g->n_pending + g->config->max_members;
}

/* ---- sync -------------------------------------------------------------------------- */

static int16_t sync_check(const struct group *g, const struct groups_op *op)
{
	int16_t code = group_member_check(g, op->member_id, op->instance_id);
	if (code != GROUP_OK) {
		return code;
	}
	if (op->generation != g->generation) {
		return GROUP_ILLEGAL_GENERATION;
	}
	if ((op->u.sync.protocol_type.p != NULL &&
	     !span_eq(op->u.sync.protocol_type, g->protocol_type)) ||
	    (op->u.sync.protocol.p != NULL && g->protocol.p != NULL &&
	     !span_eq(op->u.sync.protocol, g->protocol))) {
		return GROUP_INCONSISTENT_PROTOCOL;
	}
	return GROUP_OK;
}

static const struct groups_assignment *assignment_of(const struct groups_op *op, struct span id)
{
	/* Of repeated ones the last counts. */
	for (uint32_t i = op->u.sync.n_assignments; i-- > 0;) {
		if (span_eq(op->u.sync.assignments[i].member_id, id)) {
			return &op->u.sync.assignments[i];
		}
	}
	return NULL;
}

/* Gives each member what the leader assigned; who is missing gets nothing. */
static int16_t take_assignments(struct group *g, const struct groups_op *op)
{
	int16_t code = GROUP_OK;
	if (is_list_too_long(g, op->u.sync.n_assignments)) {
		return GROUP_INVALID_REQUEST;
	}
	for (size_t i = 0; i < g->n_members && code == GROUP_OK; i++) {
		struct group_member *m = g->members[i];
		const struct groups_assignment *a = assignment_of(op, m->id);
		struct span bytes = a != NULL ? a->assignment : span_str("");
		if (bytes.n > GROUPS_MEMBER_BYTES) {
			code = GROUP_INVALID_REQUEST;
		} else if (group_member_set_assignment(m, bytes) != ERR_OK) {
			code = GROUP_NOT_COORDINATOR;
		}
	}
	group_bytes_count(g);
	if (g->bytes > GROUPS_GROUP_BYTES - GROUP_HEAD_BYTES) {
		code = GROUP_INVALID_REQUEST;
	}
	if (code != GROUP_OK) {
		for (size_t i = 0; i < g->n_members; i++) {
			group_member_clear_assignment(g->members[i]);
		}
		group_bytes_count(g);
	}
	return code;
}

static void sync_completing(struct group *g, struct group_member *m, struct groups_op *op,
			    int64_t now_ms)
{
	group_session_renew(g, m, now_ms);
	if (m == g->leader) {
		int16_t code = take_assignments(g, op);
		if (code != GROUP_OK) {
			group_refuse(g, op, code);
			return;
		}
		group_save(g, GROUP_SAVE_SYNCED);
	}
	group_park_sync(g, m, op);
}

void group_sync(struct group *g, struct groups_op *op, int64_t now_ms)
{
	assert(g->saving == GROUP_SAVE_NONE);
	int16_t code = sync_check(g, op);
	if (code != GROUP_OK) {
		group_refuse(g, op, code);
		return;
	}
	struct group_member *m = group_member_find(g, op->member_id);
	switch (g->state) {
	case GROUP_PREPARING:
		group_refuse(g, op, GROUP_REBALANCE);
		break;
	case GROUP_COMPLETING:
		sync_completing(g, m, op, now_ms);
		break;
	case GROUP_STABLE:
		m->has_synced = true;
		group_session_renew(g, m, now_ms);
		group_answer_sync(g, op, m);
		break;
	default:
		group_refuse(g, op, GROUP_UNKNOWN_MEMBER);
		break;
	}
}

/* ---- heartbeat ------------------------------------------------------------------------ */

void group_heartbeat(struct group *g, struct groups_op *op, int64_t now_ms)
{
	assert(g->saving == GROUP_SAVE_NONE);
	int16_t code = group_member_check(g, op->member_id, op->instance_id);
	if (code == GROUP_OK && op->generation != g->generation) {
		code = GROUP_ILLEGAL_GENERATION;
	}
	if (code == GROUP_OK) {
		struct group_member *m = group_member_find(g, op->member_id);
		if (!m->is_new) {
			group_session_renew(g, m, now_ms);
		}
		code = g->state == GROUP_PREPARING ? GROUP_REBALANCE : GROUP_OK;
	}
	group_answer(g, op, code);
}

/* ---- leave ------------------------------------------------------------------------------ */

static int16_t leave_one(struct group *g, const struct groups_member *who)
{
	struct group_member *m = NULL;
	if (who->member_id.n == 0) {
		/* An administrator removes a static member by its instance. */
		m = who->instance_id.p != NULL ? group_member_by_instance(g, who->instance_id)
					       : NULL;
		if (m == NULL) {
			return GROUP_UNKNOWN_MEMBER;
		}
	} else {
		if (group_pending_remove(g, who->member_id)) {
			return GROUP_OK;
		}
		int16_t code = group_member_check(g, who->member_id, who->instance_id);
		if (code != GROUP_OK) {
			return code;
		}
		m = group_member_find(g, who->member_id);
	}
	group_expel(g, m, GROUP_UNKNOWN_MEMBER);
	return GROUP_OK;
}

void group_leave(struct group *g, struct groups_op *op, int64_t now_ms)
{
	assert(g->saving == GROUP_SAVE_NONE);
	size_t before = g->n_members;
	if (is_list_too_long(g, op->u.leave.n_members)) {
		group_refuse(g, op, GROUP_INVALID_REQUEST);
		return;
	}
	for (uint32_t i = 0; i < op->u.leave.n_members; i++) {
		op->u.leave.members[i].code = leave_one(g, &op->u.leave.members[i]);
	}
	group_answer(g, op, GROUP_OK);
	if (g->n_members != before) {
		group_rebalance(g, "a member left", now_ms);
	}
	group_settle(g, now_ms);
}

/* ---- commit ------------------------------------------------------------------------------- */

int16_t group_commit_check(struct group *g, const struct groups_op *op, int64_t now_ms)
{
	assert(g->saving == GROUP_SAVE_NONE);
	bool is_member = op->generation >= 0 || op->member_id.n != 0 || op->instance_id.p != NULL;
	if (op->generation < 0 && g->state == GROUP_EMPTY) {
		return GROUP_OK;	/* the group only keeps offsets */
	}
	if (!is_member) {
		return GROUP_UNKNOWN_MEMBER;
	}
	int16_t code = group_member_check(g, op->member_id, op->instance_id);
	if (code != GROUP_OK) {
		return code;
	}
	if (op->generation != g->generation) {
		return GROUP_ILLEGAL_GENERATION;
	}
	if (g->state == GROUP_COMPLETING) {
		return GROUP_REBALANCE;
	}
	struct group_member *m = group_member_find(g, op->member_id);
	if (!m->is_new) {
		group_session_renew(g, m, now_ms);
	}
	return GROUP_OK;
}
