/* DescribeGroups, ListGroups, DeleteGroups. Groups are of the whole namespace, so
 * only rights on all of it show or delete them. */

#include "gateway/kafka/handlers.h"

enum {
	RIGHTS_TO_SEE = AUTH_LISTEN | AUTH_MANAGE,
	FILTERS_MAX = 64, /* of one kind that are looked at; there are fewer states */
};

/* ---- DescribeGroups ------------------------------------------------------------- */

/* Groups are asked one after another, which bounds the memory; group comes first. */
struct describe {
	struct kafka_group_op group;
	struct groups_description one;
	struct kafka_describe_groups_response_group *told;
	int32_t at;
};

static void describe_step(struct describe *d);

static int32_t group_operations(const struct kafka_conn *c)
{
	int32_t bits = KAFKA_OP_DESCRIBE;
	if (kafka_namespace_allowed(c, AUTH_LISTEN)) {
		bits |= KAFKA_OP_READ;
	}
	if (kafka_namespace_allowed(c, AUTH_MANAGE)) {
		bits |= KAFKA_OP_READ | KAFKA_OP_DELETE;
	}
	return bits;
}

/* False: the request has failed. */
static bool tell_members(struct kafka_request *r, const struct groups_description *from,
			 struct kafka_describe_groups_response_group *to)
{
	to->members = kafka_alloc(r, from->n_members * sizeof *to->members);
	if (to->members == NULL) {
		return false;
	}
	to->n_members = (int32_t)from->n_members;
	for (uint32_t i = 0; i < from->n_members; i++) {
		const struct groups_member *m = &from->members[i];
		struct kafka_describe_groups_response_member *p = &to->members[i];
		if (!kafka_span_copy(r, m->member_id, &p->member_id.s) ||
		    !kafka_span_copy(r, m->instance_id, &p->group_instance_id.s) ||
		    !kafka_span_copy(r, m->client_id, &p->client_id.s) ||
		    !kafka_span_copy(r, m->client_host, &p->client_host.s) ||
		    !kafka_span_copy(r, m->metadata, &p->member_metadata.s) ||
		    !kafka_span_copy(r, m->assignment, &p->member_assignment.s)) {
			return false;
		}
		p->group_instance_id.is_null = m->instance_id.p == NULL;
	}
	return true;
}

static void describe_done(struct kafka_group_op *g)
{
	struct describe *d = (struct describe *)(void *)g;
	const struct groups_description *from = &d->one;
	struct kafka_describe_groups_response_group *to = &d->told[d->at];
	int16_t code = g->op.code != GROUP_OK ? g->op.code : from->code;
	if (code == GROUP_NOT_FOUND) {
		/* Before version 6 that is no error. */
		to->group_state = kafka_text("Dead");
	} else if (code != GROUP_OK) {
		to->error_code = code;
	} else {
		to->group_state = kafka_text(from->state != NULL ? from->state : "Dead");
		if (!kafka_span_copy(g->r, from->protocol_type, &to->protocol_type.s) ||
		    !kafka_span_copy(g->r, from->protocol, &to->protocol_data.s) ||
		    !tell_members(g->r, from, to)) {
			return;
		}
	}
	d->at++;
	describe_step(d);
}

static void describe_step(struct describe *d)
{
	struct kafka_request *r = d->group.r;
	const struct kafka_describe_groups_request *q = r->body;
	bool may_see = kafka_namespace_allowed(r->conn, RIGHTS_TO_SEE);
	int32_t operations = may_see && q->include_authorized_operations ? group_operations(r->conn)
									 : KAFKA_NO_OPERATIONS;
	for (; d->at < q->n_groups; d->at++) {
		struct kafka_describe_groups_response_group *to = &d->told[d->at];
		to->group_id = q->groups[d->at];
		to->authorized_operations = operations;
		if (d->group.is_cancelled) {
			to->error_code = KAFKA_NOT_COORDINATOR;
		} else if (!may_see) {
			to->error_code = KAFKA_GROUP_AUTHORIZATION_FAILED;
			kafka_refused(r, KAFKA_GROUP_AUTHORIZATION_FAILED, "group", to->group_id.s);
		} else {
			kafka_group_op_reset(&d->group, GROUPS_DESCRIBE, q->groups[d->at].s);
			d->one = (struct groups_description){.group = q->groups[d->at].s};
			d->group.op.u.describe.groups = &d->one;
			d->group.op.u.describe.n_groups = 1;
			kafka_group_op_submit(&d->group, describe_done);
			return;
		}
	}
	struct kafka_describe_groups_response p = {.groups = d->told, .n_groups = q->n_groups};
	kafka_answer(r, &p);
}

void kafka_on_describe_groups(struct kafka_request *r)
{
	const struct kafka_describe_groups_request *q = r->body;
	kafka_answer_is_long(r);
	struct describe *d = kafka_group_op_new(r, sizeof *d);
	if (d == NULL) {
		return;
	}
	d->told = kafka_alloc(r, (size_t)q->n_groups * sizeof *d->told);
	if (d->told != NULL) {
		describe_step(d);
	}
}

/* ---- ListGroups ------------------------------------------------------------------ */

/* An empty filter lets everything pass. */
static bool passes(const struct kafka_string *filter, int32_t n, const char *value)
{
	for (int32_t i = 0; i < n && i < FILTERS_MAX; i++) {
		if (span_ieq_str(filter[i].s, value)) {
			return true;
		}
	}
	return n <= 0;
}

static void list_done(struct kafka_group_op *g)
{
	struct kafka_request *r = g->r;
	const struct kafka_list_groups_request *q = r->body;
	struct kafka_list_groups_response p = {.error_code = g->op.code};
	uint32_t n = g->op.code == GROUP_OK ? g->op.u.describe.n_groups : 0;
	p.groups = kafka_alloc(r, n * sizeof *p.groups);
	if (p.groups == NULL) {
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct groups_description *from = &g->op.u.describe.groups[i];
		const char *state = from->state != NULL ? from->state : "Dead";
		if (!passes(q->states_filter, q->n_states_filter, state)) {
			continue;
		}
		p.groups[p.n_groups++] = (struct kafka_list_groups_response_group){
			.group_id = kafka_str(from->group),
			.protocol_type = kafka_str(from->protocol_type),
			.group_state = kafka_text(state),
			.group_type = kafka_text("classic"),
		};
	}
	kafka_answer(r, &p);
}

void kafka_on_list_groups(struct kafka_request *r)
{
	const struct kafka_list_groups_request *q = r->body;
	if (!kafka_namespace_allowed(r->conn, RIGHTS_TO_SEE) ||
	    !passes(q->types_filter, q->n_types_filter, "classic")) {
		struct kafka_list_groups_response none = {0};
		kafka_answer(r, &none);
		return;
	}
	kafka_answer_is_long(r);
	struct kafka_group_op *g = kafka_group_op_new(r, sizeof *g);
	if (g != NULL) {
		kafka_group_op_reset(g, GROUPS_LIST, span_str(""));
		kafka_group_op_submit(g, list_done);
	}
}

/* ---- DeleteGroups ------------------------------------------------------------------- */

/* `op` NULL: every group gets `code`. */
static void delete_answer(struct kafka_request *r, const struct groups_op *op, int16_t code)
{
	const struct kafka_delete_groups_request *q = r->body;
	struct kafka_delete_groups_response p = {.n_results = q->n_groups_names};
	p.results = kafka_alloc(r, (size_t)q->n_groups_names * sizeof *p.results);
	if (p.results == NULL) {
		return;
	}
	for (int32_t i = 0; i < q->n_groups_names; i++) {
		int16_t each =
			op != NULL && op->code == GROUP_OK ? op->u.describe.groups[i].code : code;
		p.results[i] = (struct kafka_delete_groups_response_result){
			.group_id = q->groups_names[i], .error_code = each};
	}
	kafka_answer(r, &p);
}

static void delete_done(struct kafka_group_op *g)
{
	delete_answer(g->r, &g->op, g->op.code);
}

void kafka_on_delete_groups(struct kafka_request *r)
{
	const struct kafka_delete_groups_request *q = r->body;
	kafka_answer_is_long(r);
	if (!kafka_namespace_allowed(r->conn, AUTH_MANAGE)) {
		kafka_refused(r, KAFKA_GROUP_AUTHORIZATION_FAILED, "groups_names",
			      q->n_groups_names > 0 ? q->groups_names[0].s : span_str(""));
		delete_answer(r, NULL, KAFKA_GROUP_AUTHORIZATION_FAILED);
		return;
	}
	struct kafka_group_op *g = kafka_group_op_new(r, sizeof *g);
	struct groups_description *v =
		g != NULL ? kafka_alloc(r, (size_t)q->n_groups_names * sizeof *v) : NULL;
	if (v == NULL) {
		return;
	}
	for (int32_t i = 0; i < q->n_groups_names; i++) {
		v[i].group = q->groups_names[i].s;
	}
	kafka_group_op_reset(g, GROUPS_DELETE, span_str(""));
	g->op.u.describe.groups = v;
	g->op.u.describe.n_groups = (uint32_t)q->n_groups_names;
	kafka_group_op_submit(g, delete_done);
}
