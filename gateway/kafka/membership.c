/* JoinGroup, SyncGroup, Heartbeat, LeaveGroup: requests of members, turned into
 * operations of the groups and back. */

#include "gateway/kafka/handlers.h"

enum {
	FIRST_WITH_REBALANCE_TIMEOUT = 1,  /* JoinGroup */
	FIRST_WITH_MEMBER_ID_REQUIRED = 4, /* JoinGroup (KIP-394) */
	FIRST_WITH_MEMBERS = 3,		   /* LeaveGroup of several */
	NO_GENERATION = -1,
};

/* Membership needs the right to listen, on whatever hub. */
static bool may_join(const struct kafka_request *r, struct span group)
{
	if (kafka_any_allowed(r->conn, AUTH_LISTEN)) {
		return true;
	}
	kafka_refused(r, KAFKA_GROUP_AUTHORIZATION_FAILED, "group_id", group);
	return false;
}

/* What all requests of a member say. NULL: kafka_fail was called. */
static struct kafka_group_op *member_op(struct kafka_request *r, enum groups_kind kind,
					struct span group, struct span member_id,
					const struct kafka_string *instance_id)
{
	struct kafka_group_op *g = kafka_group_op_new(r, sizeof *g);
	if (g != NULL) {
		kafka_group_op_reset(g, kind, group);
		g->op.member_id = member_id;
		g->op.instance_id =
			instance_id != NULL ? kafka_span_or_none(instance_id) : span_of(NULL, 0);
	}
	return g;
}

/* ---- JoinGroup ----------------------------------------------------------------- */

static void join_refuse(struct kafka_request *r, int16_t code, struct span member_id)
{
	struct kafka_join_group_response p = {
		.error_code = code,
		.generation_id = NO_GENERATION,
		.protocol_type = kafka_string_null(),
		.protocol_name = kafka_string_null(),
		.member_id = kafka_str(member_id),
	};
	kafka_answer(r, &p);
}

static void join_done(struct kafka_group_op *g)
{
	struct kafka_request *r = g->r;
	const struct groups_op *op = &g->op;
	if (op->code != GROUP_OK) {
		/* With MEMBER_ID_REQUIRED comes the id to join with. */
		struct span id =
			op->u.join.member_id.p != NULL ? op->u.join.member_id : op->member_id;
		join_refuse(r, op->code, id);
		return;
	}
	uint32_t n = op->u.join.n_members;
	struct kafka_join_group_response_member *members = kafka_alloc(r, n * sizeof *members);
	if (members == NULL) {
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct groups_member *m = &op->u.join.members[i];
		members[i] = (struct kafka_join_group_response_member){
			.member_id = kafka_str(m->member_id),
			.group_instance_id = kafka_str_or_null(m->instance_id),
			.metadata = {.s = m->metadata},
		};
	}
	struct kafka_join_group_response p = {
		.generation_id = op->u.join.generation,
		.protocol_type = kafka_str(op->u.join.protocol_type),
		.protocol_name = kafka_str_or_null(op->u.join.protocol),
		.leader = kafka_str(op->u.join.leader),
		.skip_assignment = op->u.join.skip_assignment,
		.member_id = kafka_str(op->u.join.member_id),
		.members = members,
		.n_members = (int32_t)n,
	};
	kafka_answer(r, &p);
}

static struct groups_protocol *protocols_of(struct kafka_request *r)
{
	const struct kafka_join_group_request *q = r->body;
	struct groups_protocol *v = kafka_alloc(r, (size_t)q->n_protocols * sizeof *v);
	for (int32_t i = 0; v != NULL && i < q->n_protocols; i++) {
		v[i] = (struct groups_protocol){q->protocols[i].name.s, q->protocols[i].metadata.s};
	}
	return v;
}

void kafka_on_join_group(struct kafka_request *r)
{
	const struct kafka_join_group_request *q = r->body;
	if (!may_join(r, q->group_id.s)) {
		join_refuse(r, KAFKA_GROUP_AUTHORIZATION_FAILED, q->member_id.s);
		return;
	}
	struct kafka_group_op *g =
		member_op(r, GROUPS_JOIN, q->group_id.s, q->member_id.s, &q->group_instance_id);
	struct groups_protocol *protocols = g != NULL ? protocols_of(r) : NULL;
	if (protocols == NULL) {
		return;
	}
	g->op.u.join.version = r->version;
	g->op.u.join.session_timeout_ms = q->session_timeout_ms;
	g->op.u.join.rebalance_timeout_ms = r->version >= FIRST_WITH_REBALANCE_TIMEOUT
						    ? q->rebalance_timeout_ms
						    : q->session_timeout_ms;
	g->op.u.join.protocol_type = q->protocol_type.s;
	g->op.u.join.protocols = protocols;
	g->op.u.join.n_protocols = (uint32_t)q->n_protocols;
	g->op.u.join.require_known_member = r->version >= FIRST_WITH_MEMBER_ID_REQUIRED;
	kafka_group_op_submit(g, join_done);
}

/* ---- SyncGroup ------------------------------------------------------------------ */

static void sync_refuse(struct kafka_request *r, int16_t code)
{
	struct kafka_sync_group_response p = {
		.error_code = code,
		.protocol_type = kafka_string_null(),
		.protocol_name = kafka_string_null(),
	};
	kafka_answer(r, &p);
}

static void sync_done(struct kafka_group_op *g)
{
	const struct groups_op *op = &g->op;
	if (op->code != GROUP_OK) {
		sync_refuse(g->r, op->code);
		return;
	}
	struct kafka_sync_group_response p = {
		.protocol_type = kafka_str_or_null(op->u.sync.result_type),
		.protocol_name = kafka_str_or_null(op->u.sync.result_protocol),
		.assignment = {.s = op->u.sync.assignment},
	};
	kafka_answer(g->r, &p);
}

void kafka_on_sync_group(struct kafka_request *r)
{
	const struct kafka_sync_group_request *q = r->body;
	if (!may_join(r, q->group_id.s)) {
		sync_refuse(r, KAFKA_GROUP_AUTHORIZATION_FAILED);
		return;
	}
	struct kafka_group_op *g =
		member_op(r, GROUPS_SYNC, q->group_id.s, q->member_id.s, &q->group_instance_id);
	struct groups_assignment *v =
		g != NULL ? kafka_alloc(r, (size_t)q->n_assignments * sizeof *v) : NULL;
	if (v == NULL) {
		return;
	}
	for (int32_t i = 0; i < q->n_assignments; i++) {
		v[i] = (struct groups_assignment){q->assignments[i].member_id.s,
						  q->assignments[i].assignment.s};
	}
	g->op.generation = q->generation_id;
	g->op.u.sync.protocol_type = kafka_span_or_none(&q->protocol_type);
	g->op.u.sync.protocol = kafka_span_or_none(&q->protocol_name);
	g->op.u.sync.assignments = v;
	g->op.u.sync.n_assignments = (uint32_t)q->n_assignments;
	kafka_group_op_submit(g, sync_done);
}

/* ---- Heartbeat ------------------------------------------------------------------- */

static void heartbeat_answer(struct kafka_request *r, int16_t code)
{
	struct kafka_heartbeat_response p = {.error_code = code};
	kafka_answer(r, &p);
}

static void heartbeat_done(struct kafka_group_op *g)
{
	heartbeat_answer(g->r, g->op.code);
}

void kafka_on_heartbeat(struct kafka_request *r)
{
	const struct kafka_heartbeat_request *q = r->body;
	if (!may_join(r, q->group_id.s)) {
		heartbeat_answer(r, KAFKA_GROUP_AUTHORIZATION_FAILED);
		return;
	}
	struct kafka_group_op *g = member_op(r, GROUPS_HEARTBEAT, q->group_id.s, q->member_id.s,
					     &q->group_instance_id);
	if (g != NULL) {
		g->op.generation = q->generation_id;
		kafka_group_op_submit(g, heartbeat_done);
	}
}

/* ---- LeaveGroup ------------------------------------------------------------------- */

static void leave_refuse(struct kafka_request *r, int16_t code)
{
	struct kafka_leave_group_response p = {.error_code = code};
	kafka_answer(r, &p);
}

static void leave_done(struct kafka_group_op *g)
{
	struct kafka_request *r = g->r;
	const struct groups_op *op = &g->op;
	uint32_t n = op->u.leave.n_members;
	if (op->code != GROUP_OK || r->version < FIRST_WITH_MEMBERS) {
		leave_refuse(r, op->code != GROUP_OK ? op->code : op->u.leave.members[0].code);
		return;
	}
	struct kafka_leave_group_response p = {.n_members = (int32_t)n};
	p.members = kafka_alloc(r, n * sizeof *p.members);
	if (p.members == NULL) {
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct groups_member *m = &op->u.leave.members[i];
		p.members[i] = (struct kafka_leave_group_response_member){
			.member_id = kafka_str(m->member_id),
			.group_instance_id = kafka_str_or_null(m->instance_id),
			.error_code = m->code,
		};
	}
	kafka_answer(r, &p);
}

void kafka_on_leave_group(struct kafka_request *r)
{
	const struct kafka_leave_group_request *q = r->body;
	if (!may_join(r, q->group_id.s)) {
		leave_refuse(r, KAFKA_GROUP_AUTHORIZATION_FAILED);
		return;
	}
	bool is_list = r->version >= FIRST_WITH_MEMBERS;
	uint32_t n = is_list ? (uint32_t)q->n_members : 1;
	kafka_answer_is_long(r);
	struct kafka_group_op *g = member_op(r, GROUPS_LEAVE, q->group_id.s, span_str(""), NULL);
	struct groups_member *members = g != NULL ? kafka_alloc(r, n * sizeof *members) : NULL;
	if (members == NULL) {
		return;
	}
	if (!is_list) {
		members[0].member_id = q->member_id.s;
	}
	for (uint32_t i = 0; is_list && i < n; i++) {
		members[i].member_id = q->members[i].member_id.s;
		members[i].instance_id = kafka_span_or_none(&q->members[i].group_instance_id);
	}
	g->op.u.leave.members = members;
	g->op.u.leave.n_members = n;
	kafka_group_op_submit(g, leave_done);
}
