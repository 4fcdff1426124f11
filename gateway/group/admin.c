/* Listing, describing and deleting groups. */

#include <assert.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/group/groups_priv.h"
#include "gateway/group/op_memory.h"
#include "gateway/group/rows.h"

/* ---- list and describe --------------------------------------------------------------- */

static bool show_head(struct groups_op *op, const struct groups_entry *e,
		      struct groups_description *d)
{
	const struct group *m = &e->machine;
	struct span type = m->protocol_type.p != NULL ? m->protocol_type : span_str("");
	d->code = GROUP_OK;
	d->state = group_state_name(m->state);
	d->generation = m->generation;
	d->n_members = (uint32_t)m->n_members;
	d->members = NULL;
	d->protocol = span_str("");
	if (m->state == GROUP_STABLE && !op_copy(op, m->protocol, &d->protocol)) {
		return false;
	}
	return op_copy(op, type, &d->protocol_type);
}

static bool list_all(struct groups *g, struct groups_op *op)
{
	struct groups_description *v =
		(struct groups_description *)op_alloc(op, g->n * sizeof *v);
	uint32_t n = 0;
	if (v == NULL) {
		return false;
	}
	for (size_t i = 0; i < g->slots; i++) {
		for (const struct groups_entry *e = g->slot[i]; e != NULL; e = e->next) {
			if (!op_copy(op, e->machine.name, &v[n].group) ||
			    !show_head(op, e, &v[n])) {
				return false;
			}
			n++;
		}
	}
	op->u.describe.groups = v;
	op->u.describe.n_groups = n;
	return true;
}

void groups_list(struct groups *g, struct groups_op *op)
{
	if (!list_all(g, op)) {
		groups_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	op->code = GROUP_OK;
	groups_answer(g, op);
}

static bool show_members(struct groups_op *op, const struct groups_entry *e,
			 struct groups_description *d)
{
	const struct group *m = &e->machine;
	struct groups_member *v =
		(struct groups_member *)op_alloc(op, m->n_members * sizeof *v);
	if (v == NULL) {
		return false;
	}
	for (size_t i = 0; i < m->n_members; i++) {
		const struct group_member *from = m->members[i];
		bool is_stable = m->state == GROUP_STABLE;
		struct span metadata =
			is_stable ? group_member_metadata(from, m->protocol) : span_str("");
		struct span assignment =
			is_stable && from->assignment.p != NULL ? from->assignment : span_str("");
		if (!op_copy(op, from->id, &v[i].member_id) ||
		    !op_copy(op, from->instance_id, &v[i].instance_id) ||
		    !op_copy(op, from->client_id, &v[i].client_id) ||
		    !op_copy(op, from->client_host, &v[i].client_host) ||
		    !op_copy(op, metadata, &v[i].metadata) ||
		    !op_copy(op, assignment, &v[i].assignment)) {
			return false;
		}
	}
	d->members = v;
	return true;
}

void groups_describe(struct groups *g, struct groups_op *op)
{
	for (uint32_t i = 0; i < op->u.describe.n_groups; i++) {
		struct groups_description *d = &op->u.describe.groups[i];
		struct span name = d->group;
		*d = (struct groups_description){
			.group = name,
			.code = groups_name_check(g, name),
			.state = group_state_name(GROUP_DEAD),
			.protocol_type = span_str(""),
			.protocol = span_str(""),
		};
		const struct groups_entry *e = groups_find(g, name);
		if (e != NULL && (!show_head(op, e, d) || !show_members(op, e, d))) {
			groups_refuse(g, op, GROUP_NOT_COORDINATOR);
			return;
		}
	}
	op->code = GROUP_OK;
	groups_answer(g, op);
}

/* ---- delete --------------------------------------------------------------------------- */

/* Takes the entry out of the table; gives what waited for it. */
static struct groups_op *forget(struct groups_entry *e)
{
	struct groups_op *waiting = e->waiting_first;
	e->waiting_first = NULL;
	groups_remove(e);
	return waiting;
}

/* What waited for a group that is gone. */
static void serve_again(struct groups *g, struct groups_op *waiting)
{
	while (waiting != NULL) {
		struct groups_op *next = (struct groups_op *)waiting->msg.next;
		waiting->msg.next = NULL;
		if (waiting->kind == GROUPS_DELETE) {
			groups_delete(g, waiting);
		} else {
			groups_serve(g, waiting);
		}
		waiting = next;
	}
}

/* Groups are deleted one after the other; op->at is the one whose turn it is. */
void groups_delete(struct groups *g, struct groups_op *op)
{
	for (; op->at < op->u.describe.n_groups; op->at++) {
		struct groups_description *d = &op->u.describe.groups[op->at];
		struct groups_entry *e = groups_find(g, d->group);
		d->code = groups_name_check(g, d->group);
		if (g->is_stopping) {
			d->code = GROUP_NOT_COORDINATOR;
		} else if (d->code != GROUP_OK) {
			continue;
		} else if (e == NULL) {
			d->code = GROUP_NOT_FOUND;
		} else if (groups_is_busy(e)) {
			groups_wait(e, op);
			return;
		} else if (e->machine.state != GROUP_EMPTY) {
			d->code = GROUP_NOT_EMPTY;
		} else if (!e->has_row && e->offsets.n == 0 && e->writes == 0) {
			serve_again(g, forget(e));	/* nothing of it is stored */
		} else {
			e->drop_wanted = true;
			e->drop_op = op;
			groups_schedule(e);
			if (e->writes == 0) {
				groups_drop(e);
			}
			return;
		}
	}
	op->code = GROUP_OK;
	groups_answer(g, op);
}

/* The entry is gone from the store, or could not be deleted. */
static void drop_over(struct groups_entry *e, enum err err)
{
	struct groups *g = e->groups;
	struct groups_op *op = e->drop_op;
	e->drop_op = NULL;
	e->drop_wanted = false;
	struct groups_op *waiting = NULL;
	if (err == ERR_OK) {
		waiting = forget(e);
	} else {
		groups_settle(e);
	}
	if (op != NULL) {
		op->u.describe.groups[op->at++].code = op_code_of(err);
		groups_delete(g, op);
	}
	serve_again(g, waiting);
}

void groups_drop(struct groups_entry *e)
{
	size_t rows = e->offsets.n;
	if (rows == 0 && !e->has_row) {
		drop_over(e, ERR_OK);
		return;
	}
	bool is_last = rows < GROUPS_DELETE_ROWS;
	rows = is_last ? rows + 1 : GROUPS_DELETE_ROWS;
	size_t bytes = rows * (GROUP_OFFSET_KEY_FIXED + e->machine.name.n);
	struct groups_write *w =
		groups_write_new(e, GROUPS_WRITE_DROP, (uint32_t)rows, bytes);
	if (w == NULL) {
		drop_over(e, ERR_NOMEM);
		return;
	}
	struct committed_walk walk = {0};
	const struct groups_committed *c;
	while (w->n_rows + (is_last ? 1 : 0) < rows &&
	       (c = committed_next(&e->offsets, &walk)) != NULL) {
		groups_write_delete(w, c->part);
	}
	if (is_last) {
		w->has_group_row = true;
		w->rows[w->n_rows++] = (struct store_row){
			.kind = STORE_ROW_GROUP,
			.is_deleted = true,
			.key = e->machine.name,
		};
	}
	groups_write_post(w);
}

void groups_drop_written(struct groups_write *w)
{
	struct groups_entry *e = w->entry;
	enum err err = w->w.err;
	for (uint32_t i = 0; i < w->n_parts && err == ERR_OK; i++) {
		committed_remove(&e->offsets, w->parts[i]);
	}
	if (w->has_group_row && err == ERR_OK) {
		e->has_row = false;
	}
	groups_write_free(&w);
	if (err != ERR_OK || e->groups->is_stopping) {
		drop_over(e, err != ERR_OK ? err : ERR_STOPPING);
	} else {
		groups_drop(e);
	}
}
