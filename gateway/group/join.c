/* JoinGroup: who may come in, and what it does to the group. */

#include <assert.h>

#include "base/mem.h"
#include "gateway/group/machine_priv.h"
#include "gateway/group/op_memory.h"

enum { UUID_TEXT = 37 };

static size_t protocols_bytes(const struct groups_op *op)
{
	size_t n = 0;
	for (uint32_t i = 0; i < op->u.join.n_protocols; i++) {
		n += 8 + op->u.join.protocols[i].name.n + op->u.join.protocols[i].metadata.n;
	}
	return n;
}

/* What no group takes, whatever its state. */
static int16_t request_check(const struct groups_op *op)
{
	int32_t session = op->u.join.session_timeout_ms;
	if (session < GROUPS_SESSION_MIN_MS || session > GROUPS_SESSION_MAX_MS) {
		return GROUP_INVALID_SESSION_TIMEOUT;
	}
	if (op->client_id.n > GROUPS_TEXT_MAX || op->instance_id.n > GROUPS_TEXT_MAX ||
	    op->client_host.n > GROUPS_TEXT_MAX || op->u.join.protocol_type.n > GROUPS_TEXT_MAX ||
	    op->u.join.n_protocols > GROUPS_PROTOCOLS_MAX) {
		return GROUP_INVALID_REQUEST;
	}
	for (uint32_t i = 0; i < op->u.join.n_protocols; i++) {
		const struct groups_protocol *p = &op->u.join.protocols[i];
		if (p->name.n > GROUPS_TEXT_MAX || p->metadata.n > GROUPS_MEMBER_BYTES) {
			return GROUP_INVALID_REQUEST;
		}
	}
	return protocols_bytes(op) > GROUPS_MEMBER_BYTES ? GROUP_INVALID_REQUEST : GROUP_OK;
}

static bool row_has_room(const struct group *g, const struct group_member *instead_of, size_t bytes)
{
	size_t others = g->bytes - (instead_of != NULL ? group_member_bytes(instead_of) : 0);
	return others + bytes <= GROUPS_GROUP_BYTES - GROUP_HEAD_BYTES;
}

static bool has_place(const struct group *g, const struct group_member *m)
{
	switch (g->state) {
	case GROUP_PREPARING:
		return (m != NULL && m->is_joined) || g->n_joined < g->config->max_members;
	case GROUP_COMPLETING:
	case GROUP_STABLE:
		return m != NULL || g->n_members < g->config->max_members;
	default:
		return true;
	}
}

static void set_timeouts(struct group_member *m, const struct groups_op *op)
{
	m->session_timeout_ms = op->u.join.session_timeout_ms;
	m->rebalance_timeout_ms = op->u.join.rebalance_timeout_ms > 0
					  ? op->u.join.rebalance_timeout_ms
					  : op->u.join.session_timeout_ms;
}

/* "<client or instance id>-<uuid>" in the operation's memory. */
static bool make_id(struct group *g, struct groups_op *op, struct span *out)
{
	struct span head = op->instance_id.p != NULL ? op->instance_id : op->client_id;
	char uuid[UUID_TEXT];
	g->hooks->uuid(g->arg, uuid);
	uint8_t *p = (uint8_t *)op_alloc(op, head.n + UUID_TEXT);
	if (p == NULL) {
		return false;
	}
	if (head.n != 0) {
		memcpy(p, head.p, head.n);
	}
	p[head.n] = '-';
	memcpy(p + head.n + 1, uuid, UUID_TEXT - 1);
	*out = span_of(p, head.n + UUID_TEXT);
	return true;
}

static void admit(struct group *g, struct groups_op *op, struct span id, int64_t now_ms)
{
	struct group_identity who = {id, op->instance_id, op->client_id, op->client_host};
	struct group_member *m =
		group_member_new(&who, op->u.join.protocols, op->u.join.n_protocols);
	if (m == NULL) {
		group_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	int16_t code = GROUP_OK;
	if (!row_has_room(g, NULL, group_member_bytes(m))) {
		code = GROUP_INVALID_REQUEST;
	} else if ((g->n_members == 0 &&
		    group_text_set(&g->protocol_type, op->u.join.protocol_type) != ERR_OK) ||
		   group_member_add(g, m) != ERR_OK) {
		code = GROUP_NOT_COORDINATOR;
	}
	if (code != GROUP_OK) {
		group_member_free(&m);
		group_refuse(g, op, code);
		return;
	}
	group_pending_remove(g, id);
	set_timeouts(m, op);
	m->is_new = true;
	m->session_deadline_ms = now_ms + GROUPS_NEW_MEMBER_MS;
	group_note_deadline(g, m->session_deadline_ms);
	if (g->state == GROUP_PREPARING) {
		g->has_newcomer = true;
	}
	group_rebalance(g, "a new member", now_ms);
	group_park_join(g, m, op);
}

/* A known member joins the coming generation, with what it offers now. */
static void rejoin(struct group *g, struct group_member *m, struct groups_op *op,
		   const char *reason, int64_t now_ms)
{
	size_t before = group_member_bytes(m);
	size_t own = before;
	for (uint32_t i = 0; i < m->n_protocols; i++) {
		own -= 8 + m->protocols[i].name.n + m->protocols[i].metadata.n;
	}
	if (!row_has_room(g, m, own + protocols_bytes(op))) {
		group_refuse(g, op, GROUP_INVALID_REQUEST);
		return;
	}
	if (group_member_set_protocols(m, op->u.join.protocols, op->u.join.n_protocols) != ERR_OK) {
		group_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	g->bytes += group_member_bytes(m) - before;
	set_timeouts(m, op);
	m->is_new = false;	/* it knows its id */
	group_session_renew(g, m, now_ms);
	group_rebalance(g, reason, now_ms);
	group_park_join(g, m, op);
}

/* ---- static members ------------------------------------------------------------------ */

/* An instance came back without its member id: it gets a new one, and whoever uses
 * the old one is fenced. */
static bool replace_id(struct group *g, struct group_member *m, struct groups_op *op, struct span id)
{
	struct span old_leader = {NULL, 0};
	if (g->leader != NULL && group_text_set(&old_leader, g->leader->id) != ERR_OK) {
		return false;
	}
	size_t before = group_member_bytes(m);
	struct group_identity who = {id, m->instance_id, op->client_id, op->client_host};
	struct group_member *now =
		group_member_new(&who, op->u.join.protocols, op->u.join.n_protocols);
	if (now == NULL) {
		group_text_clear(&old_leader);
		return false;
	}
	struct groups_op *join = m->join_op;
	struct groups_op *sync = m->sync_op;
	m->join_op = NULL;
	m->sync_op = NULL;
	uint8_t *text = m->text;
	struct groups_protocol *protocols = m->protocols;
	m->text = now->text;
	m->id = now->id;
	m->instance_id = now->instance_id;
	m->client_id = now->client_id;
	m->client_host = now->client_host;
	m->protocols = now->protocols;
	m->n_protocols = now->n_protocols;
	now->text = text;
	now->protocols = protocols;
	group_member_free(&now);
	set_timeouts(m, op);
	g->bytes += group_member_bytes(m) - before;
	group_text_clear(&g->static_leader);
	g->static_leader = old_leader;
	if (join != NULL) {
		group_refuse(g, join, GROUP_FENCED_INSTANCE);
	}
	if (sync != NULL) {
		group_refuse(g, sync, GROUP_FENCED_INSTANCE);
	}
	return true;
}

static void return_static(struct group *g, struct group_member *m, struct groups_op *op,
			  struct span id, int64_t now_ms)
{
	size_t bytes = GROUP_MEMBER_FIXED_BYTES + id.n + op->instance_id.n + op->client_id.n +
		       op->client_host.n + m->assignment.n + protocols_bytes(op);
	if (!row_has_room(g, m, bytes)) {
		group_refuse(g, op, GROUP_INVALID_REQUEST);
		return;
	}
	if (!replace_id(g, m, op, id)) {
		group_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	m->is_new = false;
	group_session_renew(g, m, now_ms);
	if (g->state == GROUP_STABLE && span_eq(g->protocol, group_protocol_elect(g))) {
		g->static_op = op;
		g->static_member = m;
		group_save(g, GROUP_SAVE_STATIC);
		return;
	}
	group_text_clear(&g->static_leader);
	group_rebalance(g, "a static member came back", now_ms);
	group_park_join(g, m, op);
}

/* ---- the two ways in --------------------------------------------------------------------- */

static void join_unknown(struct group *g, struct groups_op *op, int64_t now_ms)
{
	struct span id;
	if (!make_id(g, op, &id)) {
		group_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	if (op->instance_id.p != NULL) {
		struct group_member *m = group_member_by_instance(g, op->instance_id);
		if (m != NULL) {
			return_static(g, m, op, id, now_ms);
		} else {
			admit(g, op, id, now_ms);
		}
		return;
	}
	if (!op->u.join.require_known_member) {
		admit(g, op, id, now_ms);
		return;
	}
	if (g->n_pending >= g->config->max_members) {
		group_refuse(g, op, GROUP_MAX_SIZE);
		return;
	}
	int64_t deadline = now_ms + op->u.join.session_timeout_ms;
	if (group_pending_add(g, id, deadline) != ERR_OK) {
		group_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	group_note_deadline(g, deadline);
	op_refuse(op, GROUP_MEMBER_ID_REQUIRED);
	op->u.join.member_id = id;
	group_answer(g, op, GROUP_MEMBER_ID_REQUIRED);
}

static void join_known(struct group *g, struct group_member *m, struct groups_op *op, int64_t now_ms)
{
	bool is_same = group_member_offers_same(m, op->u.join.protocols, op->u.join.n_protocols);
	switch (g->state) {
	case GROUP_PREPARING:
		rejoin(g, m, op, g->reason, now_ms);
		return;
	case GROUP_COMPLETING:
		if (!is_same) {
			rejoin(g, m, op, "a member offers other protocols", now_ms);
			return;
		}
		break;
	case GROUP_STABLE:
		if (!is_same || m == g->leader) {
			rejoin(g, m, op,
			       is_same ? "the leader joined again"
				       : "a member offers other protocols",
			       now_ms);
			return;
		}
		break;
	default:
		group_refuse(g, op, GROUP_UNKNOWN_MEMBER);
		return;
	}
	group_session_renew(g, m, now_ms);
	group_answer_join(g, op, m, g->leader->id, m == g->leader, false);
}

void group_join(struct group *g, struct groups_op *op, int64_t now_ms)
{
	assert(g->saving == GROUP_SAVE_NONE);
	int16_t code = request_check(op);
	bool is_unknown = op->member_id.n == 0;
	struct group_member *m = is_unknown ? NULL : group_member_find(g, op->member_id);
	bool is_return = is_unknown && op->instance_id.p != NULL &&
			 group_member_by_instance(g, op->instance_id) != NULL;
	/* Given out to a dynamic member: an instance does not come in with it. */
	bool is_pending = !is_unknown && m == NULL && op->instance_id.p == NULL &&
			  group_pending_has(g, op->member_id);
	if (code != GROUP_OK) {
		/* refused below */
	} else if (!is_return && !has_place(g, m)) {
		code = GROUP_MAX_SIZE;
		group_pending_remove(g, op->member_id);
		if (m != NULL) {
			group_expel(g, m, GROUP_MAX_SIZE);
		}
	} else if (!group_supports(g, op->u.join.protocol_type, op->u.join.protocols,
				   op->u.join.n_protocols)) {
		code = GROUP_INCONSISTENT_PROTOCOL;
	} else if (!is_unknown && !is_pending) {
		code = group_member_check(g, op->member_id, op->instance_id);
	}
	if (code != GROUP_OK) {
		group_refuse(g, op, code);
	} else if (is_unknown) {
		join_unknown(g, op, now_ms);
	} else if (is_pending) {
		admit(g, op, op->member_id, now_ms);
	} else {
		join_known(g, m, op, now_ms);
	}
	group_settle(g, now_ms);
}
