#include "gateway/group/machine.h"

#include <assert.h>

#include "base/mem.h"
#include "gateway/group/machine_priv.h"
#include "gateway/group/op_memory.h"

/* ---- states ---------------------------------------------------------------------- */

static const struct {
	const char *name;
	unsigned next;		/* states it may change to, as bits */
} states[] = {
	[GROUP_EMPTY] = {"Empty", 1U << GROUP_PREPARING},
	[GROUP_PREPARING] = {"PreparingRebalance", 1U << GROUP_COMPLETING | 1U << GROUP_EMPTY},
	[GROUP_COMPLETING] = {"CompletingRebalance", 1U << GROUP_STABLE | 1U << GROUP_PREPARING},
	[GROUP_STABLE] = {"Stable", 1U << GROUP_PREPARING},
	[GROUP_DEAD] = {"Dead", 0},
};

const char *group_state_name(enum group_state s)
{
	assert((size_t)s < sizeof states / sizeof states[0]);
	return states[s].name;
}

static void move(struct group *g, enum group_state to)
{
	assert((states[g->state].next & 1U << to) != 0);
	g->state = to;
}

/* ---- life ------------------------------------------------------------------------- */

enum err group_init(struct group *g, struct span name, const struct group_config *config,
		    const struct group_hooks *hooks, void *arg)
{
	*g = (struct group){
		.config = config,
		.hooks = hooks,
		.arg = arg,
		.state = GROUP_EMPTY,
		.join_deadline_ms = INT64_MAX,
		.sync_deadline_ms = INT64_MAX,
		.deadline_ms = INT64_MAX,
		.reason = "",
	};
	return group_text_set(&g->name, name);
}

void group_fini(struct group *g)
{
	assert(g->static_op == NULL);
	for (size_t i = 0; i < g->n_members; i++) {
		group_member_free(&g->members[i]);
	}
	mem_free(g->members);
	while (g->pending != NULL) {
		struct group_pending *p = g->pending;
		g->pending = p->next;
		mem_free(p);
	}
	group_text_clear(&g->name);
	group_text_clear(&g->protocol_type);
	group_text_clear(&g->protocol);
	group_text_clear(&g->static_leader);
	*g = (struct group){.state = GROUP_DEAD};
}

void group_resume(struct group *g, int64_t now_ms)
{
	group_bytes_count(g);
	for (size_t i = 0; i < g->n_members; i++) {
		g->members[i]->has_synced = true;
		group_session_renew(g, g->members[i], now_ms);
	}
	if (g->state == GROUP_COMPLETING) {
		group_rebalance(g, "restart", now_ms);
	}
}

void group_release(struct group *g, int16_t code)
{
	for (size_t i = 0; i < g->n_members; i++) {
		struct group_member *m = g->members[i];
		struct groups_op *join = m->join_op;
		struct groups_op *sync = m->sync_op;
		m->join_op = NULL;
		m->sync_op = NULL;
		if (join != NULL) {
			group_refuse(g, join, code);
		}
		if (sync != NULL) {
			group_refuse(g, sync, code);
		}
	}
	if (g->static_op != NULL) {
		struct groups_op *op = g->static_op;
		g->static_op = NULL;
		group_refuse(g, op, code);
	}
}

/* ---- answers ------------------------------------------------------------------------ */

void group_answer(struct group *g, struct groups_op *op, int16_t code)
{
	op->code = code;
	op->parked = NULL;
	g->hooks->answer(g->arg, op);
}

void group_refuse(struct group *g, struct groups_op *op, int16_t code)
{
	op_refuse(op, code);
	group_answer(g, op, code);
}

static bool copy_members(struct group *g, struct groups_op *op)
{
	struct groups_member *v =
		(struct groups_member *)op_alloc(op, g->n_members * sizeof *v);
	if (v == NULL) {
		return false;
	}
	for (size_t i = 0; i < g->n_members; i++) {
		const struct group_member *m = g->members[i];
		if (!op_copy(op, m->id, &v[i].member_id) ||
		    !op_copy(op, m->instance_id, &v[i].instance_id) ||
		    !op_copy(op, group_member_metadata(m, g->protocol), &v[i].metadata)) {
			return false;
		}
	}
	op->u.join.members = v;
	op->u.join.n_members = (uint32_t)g->n_members;
	return true;
}

void group_answer_join(struct group *g, struct groups_op *op, const struct group_member *m,
		       struct span leader_id, bool with_members, bool skip_assignment)
{
	op->u.join.generation = g->generation;
	op->u.join.members = NULL;
	op->u.join.n_members = 0;
	op->u.join.skip_assignment = skip_assignment;
	if (!op_copy(op, g->protocol, &op->u.join.protocol) ||
	    !op_copy(op, leader_id, &op->u.join.leader) ||
	    !op_copy(op, m->id, &op->u.join.member_id) || (with_members && !copy_members(g, op))) {
		group_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	group_answer(g, op, GROUP_OK);
}

void group_answer_sync(struct group *g, struct groups_op *op, const struct group_member *m)
{
	struct span a = m->assignment.p != NULL ? m->assignment : span_str("");
	if (!op_copy(op, g->protocol_type, &op->u.sync.result_type) ||
	    !op_copy(op, g->protocol, &op->u.sync.result_protocol) ||
	    !op_copy(op, a, &op->u.sync.assignment)) {
		group_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	group_answer(g, op, GROUP_OK);
}

void group_park_join(struct group *g, struct group_member *m, struct groups_op *op)
{
	assert(g->state == GROUP_PREPARING);
	struct groups_op *old = m->join_op;
	m->join_op = NULL;
	if (!m->is_joined) {
		m->is_joined = true;
		g->n_joined++;
	}
	if (old != NULL) {
		group_refuse(g, old, GROUP_REBALANCE);
	}
	if (op->is_cancelled) {
		group_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	m->join_op = op;
	op->parked = m;
}

void group_park_sync(struct group *g, struct group_member *m, struct groups_op *op)
{
	struct groups_op *old = m->sync_op;
	m->sync_op = NULL;
	m->has_synced = true;
	if (old != NULL) {
		group_refuse(g, old, GROUP_REBALANCE);
	}
	if (op->is_cancelled) {
		group_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	m->sync_op = op;
	op->parked = m;
}

void group_cancel(struct group *g, struct groups_op *op)
{
	struct group_member *m = (struct group_member *)op->parked;
	if (m == NULL) {
		return;
	}
	if (m->join_op == op) {
		m->join_op = NULL;
	} else {
		assert(m->sync_op == op);
		m->sync_op = NULL;
	}
	group_refuse(g, op, GROUP_NOT_COORDINATOR);
}

/* Takes the parked syncs away and gives each its answer. */
static void answer_syncs(struct group *g, int16_t code, int64_t now_ms)
{
	for (size_t i = 0; i < g->n_members; i++) {
		struct group_member *m = g->members[i];
		struct groups_op *op = m->sync_op;
		m->sync_op = NULL;
		if (m->has_synced) {
			group_session_renew(g, m, now_ms);
		}
		if (op != NULL && code == GROUP_OK) {
			group_answer_sync(g, op, m);
		} else if (op != NULL) {
			group_refuse(g, op, code);
		}
	}
}

void group_expel(struct group *g, struct group_member *m, int16_t code)
{
	struct groups_op *join = m->join_op;
	struct groups_op *sync = m->sync_op;
	m->join_op = NULL;
	m->sync_op = NULL;
	group_member_remove(g, m);
	if (join != NULL) {
		group_refuse(g, join, code);
	}
	if (sync != NULL) {
		group_refuse(g, sync, code);
	}
}

/* ---- time -------------------------------------------------------------------------- */

void group_note_deadline(struct group *g, int64_t at_ms)
{
	if (at_ms < g->deadline_ms) {
		g->deadline_ms = at_ms;
	}
}

void group_session_renew(struct group *g, struct group_member *m, int64_t now_ms)
{
	m->session_deadline_ms = now_ms + m->session_timeout_ms;
	group_note_deadline(g, m->session_deadline_ms);
}

/* While its join or sync is parked a member is alive. A new one is given a limit,
 * for it was never told its id and cannot come back under it. */
static bool session_runs(const struct group *g, const struct group_member *m)
{
	if (g->state == GROUP_PREPARING && m->is_joined) {
		return m->is_new;
	}
	return g->state != GROUP_COMPLETING || !m->has_synced;
}

static void find_deadline(struct group *g)
{
	g->deadline_ms = INT64_MAX;
	for (const struct group_pending *p = g->pending; p != NULL; p = p->next) {
		group_note_deadline(g, p->deadline_ms);
	}
	for (size_t i = 0; i < g->n_members; i++) {
		if (session_runs(g, g->members[i])) {
			group_note_deadline(g, g->members[i]->session_deadline_ms);
		}
	}
	if (g->state == GROUP_PREPARING) {
		group_note_deadline(g, g->join_deadline_ms);
	} else {
		group_note_deadline(g, g->sync_deadline_ms);
	}
}

static void expire_pending(struct group *g, int64_t now_ms)
{
	struct group_pending **at = &g->pending;
	while (*at != NULL) {
		struct group_pending *p = *at;
		if (p->deadline_ms > now_ms) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		g->n_pending--;
		mem_free(p);
	}
}

static bool expire_sessions(struct group *g, int64_t now_ms)
{
	bool any = false;
	for (size_t i = g->n_members; i-- > 0;) {
		struct group_member *m = g->members[i];
		if (session_runs(g, m) && m->session_deadline_ms <= now_ms) {
			g->hooks->event(g->arg, g, GROUP_EVENT_LOST, m);
			group_expel(g, m, GROUP_UNKNOWN_MEMBER);
			any = true;
		}
	}
	return any;
}

static bool expire_syncs(struct group *g, int64_t now_ms)
{
	if ((g->state != GROUP_COMPLETING && g->state != GROUP_STABLE) ||
	    now_ms < g->sync_deadline_ms) {
		return false;
	}
	g->sync_deadline_ms = INT64_MAX;
	bool any = false;
	for (size_t i = g->n_members; i-- > 0;) {
		struct group_member *m = g->members[i];
		if (!m->has_synced) {
			g->hooks->event(g->arg, g, GROUP_EVENT_LOST, m);
			group_expel(g, m, GROUP_UNKNOWN_MEMBER);
			any = true;
		}
	}
	return any;
}

void group_tick(struct group *g, int64_t now_ms)
{
	assert(g->saving == GROUP_SAVE_NONE);
	if (now_ms < g->deadline_ms) {
		return;
	}
	expire_pending(g, now_ms);
	if (expire_sessions(g, now_ms)) {
		group_rebalance(g, "a session ended", now_ms);
	}
	if (expire_syncs(g, now_ms)) {
		group_rebalance(g, "a member did not sync", now_ms);
	}
	group_settle(g, now_ms);
	find_deadline(g);
}

/* ---- forming a generation ----------------------------------------------------------- */

void group_save(struct group *g, enum group_save what)
{
	assert(g->saving == GROUP_SAVE_NONE);
	g->saving = what;
	g->wants_save = true;
}

void group_rebalance(struct group *g, const char *reason, int64_t now_ms)
{
	if (g->state == GROUP_PREPARING || g->state == GROUP_DEAD) {
		return;
	}
	if (g->state == GROUP_COMPLETING) {
		answer_syncs(g, GROUP_REBALANCE, now_ms);
	}
	int64_t timeout = group_rebalance_timeout(g);
	g->reason = reason;
	g->sync_deadline_ms = INT64_MAX;
	g->has_newcomer = false;
	g->is_initial = g->state == GROUP_EMPTY;
	if (g->is_initial) {
		int64_t delay = g->config->initial_delay_ms;
		g->join_deadline_ms = now_ms + delay;
		g->initial_left_ms = timeout > delay ? timeout - delay : 0;
	} else {
		g->join_deadline_ms = now_ms + timeout;
	}
	move(g, GROUP_PREPARING);
	group_note_deadline(g, g->join_deadline_ms);
}

/* Who did not come back is left out; a static member may take until its session
 * ends. */
static void drop_absent(struct group *g)
{
	for (size_t i = g->n_members; i-- > 0;) {
		struct group_member *m = g->members[i];
		if (!m->is_joined && m->instance_id.p == NULL) {
			g->hooks->event(g->arg, g, GROUP_EVENT_LOST, m);
			group_expel(g, m, GROUP_UNKNOWN_MEMBER);
		}
	}
}

/* The leader stays when it has joined; else the first who has. */
static bool elect_leader(struct group *g)
{
	if (g->leader != NULL && g->leader->is_joined) {
		return true;
	}
	for (size_t i = 0; i < g->n_members; i++) {
		if (g->members[i]->is_joined) {
			g->leader = g->members[i];
			return true;
		}
	}
	return false;
}

/* The joins are answered, well or badly; the join phase is over. */
static void answer_joins(struct group *g, int16_t code, int64_t now_ms)
{
	struct span leader = g->leader != NULL ? g->leader->id : span_str("");
	for (size_t i = 0; i < g->n_members; i++) {
		struct group_member *m = g->members[i];
		struct groups_op *op = m->join_op;
		if (!m->is_joined) {
			continue;
		}
		m->join_op = NULL;
		m->is_joined = false;
		m->is_new = m->is_new && code != GROUP_OK;
		group_session_renew(g, m, now_ms);
		if (op != NULL && code == GROUP_OK) {
			group_answer_join(g, op, m, leader, m == g->leader, false);
		} else if (op != NULL) {
			group_refuse(g, op, code);
		}
	}
	g->n_joined = 0;
}

static void complete_join(struct group *g, int64_t now_ms)
{
	drop_absent(g);
	if (!elect_leader(g) && g->n_members > 0) {
		/* Only static members are left, and none is here. */
		g->join_deadline_ms = now_ms + group_rebalance_timeout(g);
		g->is_initial = false;
		group_note_deadline(g, g->join_deadline_ms);
		return;
	}
	if (g->n_members > 0 && group_text_set(&g->protocol, group_protocol_elect(g)) != ERR_OK) {
		answer_joins(g, GROUP_NOT_COORDINATOR, now_ms);
		g->is_initial = false;
		g->join_deadline_ms = now_ms + group_rebalance_timeout(g);
		group_note_deadline(g, g->join_deadline_ms);
		return;
	}
	g->is_initial = false;
	g->join_deadline_ms = INT64_MAX;
	g->generation = g->generation == INT32_MAX ? 1 : g->generation + 1;
	if (g->n_members == 0) {
		group_text_clear(&g->protocol);
		move(g, GROUP_EMPTY);
		group_save(g, GROUP_SAVE_EMPTIED);
		return;
	}
	for (size_t i = 0; i < g->n_members; i++) {
		g->members[i]->has_synced = false;
		group_member_clear_assignment(g->members[i]);
	}
	group_bytes_count(g);
	move(g, GROUP_COMPLETING);
	group_save(g, GROUP_SAVE_JOINED);
}

void group_settle(struct group *g, int64_t now_ms)
{
	if (g->state != GROUP_PREPARING || g->saving != GROUP_SAVE_NONE) {
		return;
	}
	if (g->is_initial) {
		if (now_ms < g->join_deadline_ms) {
			return;
		}
		if (g->has_newcomer && g->initial_left_ms > 0) {
			int64_t delay = g->config->initial_delay_ms;
			delay = delay < g->initial_left_ms ? delay : g->initial_left_ms;
			g->initial_left_ms -= delay;
			g->has_newcomer = false;
			g->join_deadline_ms = now_ms + delay;
			group_note_deadline(g, g->join_deadline_ms);
			if (delay > 0) {
				return;
			}
		}
		complete_join(g, now_ms);
		return;
	}
	if ((g->n_joined == g->n_members && g->n_pending == 0) || now_ms >= g->join_deadline_ms) {
		complete_join(g, now_ms);
	}
}

/* ---- the write came to its end -------------------------------------------------------- */

static void joined_saved(struct group *g, enum err e, int64_t now_ms)
{
	answer_joins(g, op_code_of(e), now_ms);
	if (e != ERR_OK) {
		group_rebalance(g, "the group could not be stored", now_ms);
		return;
	}
	g->sync_deadline_ms = now_ms + group_rebalance_timeout(g);
	group_note_deadline(g, g->sync_deadline_ms);
	g->hooks->event(g->arg, g, GROUP_EVENT_REBALANCED, NULL);
}

static void synced_saved(struct group *g, enum err e, int64_t now_ms)
{
	if (e == ERR_OK) {
		move(g, GROUP_STABLE);
		answer_syncs(g, GROUP_OK, now_ms);
		return;
	}
	for (size_t i = 0; i < g->n_members; i++) {
		group_member_clear_assignment(g->members[i]);
	}
	group_bytes_count(g);
	answer_syncs(g, op_code_of(e), now_ms);
	group_rebalance(g, "the group could not be stored", now_ms);
}

/* Before JoinGroup 9 the leader is told its old id, so that it does not take itself
 * for the leader and assigns nothing: nobody would get those assignments. */
static void static_saved(struct group *g, enum err e, int64_t now_ms)
{
	struct groups_op *op = g->static_op;
	struct group_member *m = g->static_member;
	g->static_op = NULL;
	g->static_member = NULL;
	group_session_renew(g, m, now_ms);
	if (op != NULL && e != ERR_OK) {
		group_refuse(g, op, op_code_of(e));
	} else if (op != NULL && op->u.join.version >= 9) {
		bool leads = m == g->leader;
		group_answer_join(g, op, m, g->leader->id, leads, leads);
	} else if (op != NULL) {
		group_answer_join(g, op, m, g->static_leader, false, false);
	}
	group_text_clear(&g->static_leader);
	if (e != ERR_OK) {
		group_rebalance(g, "the group could not be stored", now_ms);
	}
}

void group_saved(struct group *g, enum err e, int64_t now_ms)
{
	enum group_save what = g->saving;
	assert(what != GROUP_SAVE_NONE);
	g->saving = GROUP_SAVE_NONE;
	g->wants_save = false;
	g->row_is_stale = g->row_is_stale && e != ERR_OK;
	switch (what) {
	case GROUP_SAVE_NONE:
		break;
	case GROUP_SAVE_JOINED:
		joined_saved(g, e, now_ms);
		break;
	case GROUP_SAVE_SYNCED:
		synced_saved(g, e, now_ms);
		break;
	case GROUP_SAVE_STATIC:
		static_saved(g, e, now_ms);
		break;
	case GROUP_SAVE_EMPTIED:
		g->row_is_stale = e != ERR_OK;
		break;
	}
	group_settle(g, now_ms);
	find_deadline(g);
}
