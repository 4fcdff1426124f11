#include "test/unit/group/machine_bed.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

static void on_answer(void *arg, struct groups_op *op)
{
	struct req *r = (struct req *)op;
	(void)arg;
	r->answers++;
	r->answered_ms = r->bed->now;
	ck_assert_uint_eq(r->answers, 1);
	ck_assert_ptr_null(op->parked);
}

static void on_uuid(void *arg, char out[37])
{
	struct mbed *b = (struct mbed *)arg;
	snprintf(out, 37, "00000000-0000-4000-8000-%012u", ++b->uuids);
}

static void on_event(void *arg, const struct group *g, enum group_event event,
		     const struct group_member *m)
{
	struct mbed *b = (struct mbed *)arg;
	ck_assert_ptr_eq(g, &b->g);
	if (event == GROUP_EVENT_LOST) {
		b->lost++;
		ck_assert_int_eq(span_to_cstr(m->id, b->last_lost, sizeof b->last_lost), ERR_OK);
	} else {
		ck_assert_ptr_null(m);
		b->rebalanced++;
	}
}

static const struct group_hooks hooks = {on_answer, on_uuid, on_event};

void mb_init(struct mbed *b, int64_t initial_delay_ms, uint32_t max_members)
{
	*b = (struct mbed){.config = {initial_delay_ms, max_members}, .now = 1000000};
	ck_assert_int_eq(group_init(&b->g, span_str("g"), &b->config, &hooks, b), ERR_OK);
}

void mb_fini(struct mbed *b)
{
	group_release(&b->g, GROUP_NOT_COORDINATOR);
	group_fini(&b->g);
	buf_drop(&b->row);
	while (b->all != NULL) {
		struct req *r = b->all;
		b->all = r->next;
		ck_assert_uint_eq(r->answers, 1);
		groups_op_fini(&r->op);
		free(r);
	}
}

/* The machine's books must be right after every input. */
static void check(const struct group *g)
{
	size_t joined = 0, bytes = 0, pending = 0;
	bool has_leader = g->leader == NULL;
	for (size_t i = 0; i < g->n_members; i++) {
		const struct group_member *m = g->members[i];
		joined += m->is_joined ? 1 : 0;
		has_leader = has_leader || m == g->leader;
		ck_assert(m->join_op == NULL || (g->state == GROUP_PREPARING && m->is_joined) ||
			  g->saving == GROUP_SAVE_JOINED);
		ck_assert(m->sync_op == NULL || g->state == GROUP_COMPLETING);
		struct group_member *found = group_member_find(g, m->id);
		ck_assert_ptr_eq(found, m);
		bytes += 48 + m->id.n + m->instance_id.n + m->client_id.n + m->client_host.n +
			 m->assignment.n;
		for (uint32_t k = 0; k < m->n_protocols; k++) {
			bytes += 8 + m->protocols[k].name.n + m->protocols[k].metadata.n;
		}
	}
	for (const struct group_pending *p = g->pending; p != NULL; p = p->next) {
		pending++;
	}
	ck_assert_uint_eq(joined, g->n_joined);
	ck_assert_uint_eq(pending, g->n_pending);
	ck_assert_uint_eq(bytes, g->bytes);
	ck_assert(has_leader);
	ck_assert(g->state != GROUP_EMPTY || g->n_members == 0);
	ck_assert((g->leader == NULL) == (g->n_members == 0));
}

void mb_saved(struct mbed *b, enum err e)
{
	ck_assert(b->g.wants_save);
	b->g.wants_save = false;
	b->saves++;
	if (e == ERR_OK) {
		struct buf *row = NULL;
		struct group copy;
		e = group_row_encode(&b->g, &row);
		if (e == ERR_OK) {
			e = group_row_decode(b->g.name, span_of(row->data, row->len), &b->config,
					     &hooks, b, &copy);
		}
		/* Memory may run out here too, when a test wants that. */
		ck_assert(e == ERR_OK || (e == ERR_NOMEM && mem_fault_fired()));
		if (e == ERR_OK) {
			ck_assert_int_eq(copy.generation, b->g.generation);
			ck_assert_uint_eq(copy.n_members, b->g.n_members);
			group_fini(&copy);
			buf_drop(&b->row);
			b->row = row;
		} else {
			buf_drop(&row);
		}
	}
	group_saved(&b->g, e, b->now);
	check(&b->g);
}

static void settle(struct mbed *b)
{
	check(&b->g);
	while (b->g.wants_save && !b->holds_saves) {
		mb_saved(b, b->save_err);
	}
}

void mb_pass(struct mbed *b, int64_t ms)
{
	int64_t end = b->now + ms;
	while (group_deadline(&b->g) <= end && b->g.saving == GROUP_SAVE_NONE) {
		int64_t due = group_deadline(&b->g);
		b->now = due > b->now ? due : b->now;
		group_tick(&b->g, b->now);
		settle(b);
		ck_assert(group_deadline(&b->g) > b->now || b->g.saving != GROUP_SAVE_NONE);
	}
	b->now = end;
}

struct req *mb_req(struct mbed *b, enum groups_kind kind)
{
	struct req *r = (struct req *)calloc(1, sizeof *r);
	ck_assert_ptr_nonnull(r);
	r->next = b->all;
	b->all = r;
	r->bed = b;
	r->asked_ms = b->now;
	r->op.kind = kind;
	r->op.group = span_str("g");
	r->op.client_host = span_str("/127.0.0.1");
	return r;
}

static void identify(struct req *r, const char *id, const char *instance)
{
	snprintf(r->id, sizeof r->id, "%s", id != NULL ? id : "");
	r->op.member_id = span_str(r->id);
	if (instance != NULL) {
		snprintf(r->instance, sizeof r->instance, "%s", instance);
		r->op.instance_id = span_str(r->instance);
	}
}

struct req *mb_join(struct mbed *b, struct join_how how)
{
	struct req *r = mb_req(b, GROUPS_JOIN);
	identify(r, how.id, how.instance);
	snprintf(r->client, sizeof r->client, "%s", how.client != NULL ? how.client : "c");
	r->op.client_id = span_str(r->client);
	r->op.u.join.version = (int16_t)(how.version != 0 ? how.version : 9);
	r->op.u.join.require_known_member = r->op.u.join.version >= 4;
	r->op.u.join.session_timeout_ms = how.session_ms != 0 ? how.session_ms : BED_SESSION;
	r->op.u.join.rebalance_timeout_ms = how.rebalance_ms != 0 ? how.rebalance_ms : BED_REBALANCE;
	r->op.u.join.protocol_type = span_str(how.type != NULL ? how.type : "consumer");
	const char *names = how.protocols != NULL ? how.protocols : "range";
	uint32_t n = 0;
	while (*names != '\0') {
		size_t len = strcspn(names, ",");
		snprintf(r->metadata[n], sizeof r->metadata[n], "%s%u",
			 how.metadata != NULL ? how.metadata : "m", n);
		r->protocols[n].name = span_of(names, len);
		r->protocols[n].metadata = span_str(r->metadata[n]);
		n++;
		names += len + (names[len] == ',' ? 1 : 0);
	}
	r->op.u.join.protocols = r->protocols;
	r->op.u.join.n_protocols = n;
	group_join(&b->g, &r->op, b->now);
	settle(b);
	return r;
}

struct req *mb_join_new(struct mbed *b, struct join_how how)
{
	struct req *first = mb_join(b, how);
	ck_code(first, GROUP_MEMBER_ID_REQUIRED);
	char id[128];
	snprintf(id, sizeof id, "%s", mb_id(first));
	how.id = id;
	return mb_join(b, how);
}

struct req *mb_sync_as(struct mbed *b, const char *id, const char *instance, int32_t generation)
{
	struct req *r = mb_req(b, GROUPS_SYNC);
	identify(r, id, instance);
	r->op.generation = generation;
	group_sync(&b->g, &r->op, b->now);
	settle(b);
	return r;
}

struct req *mb_sync(struct mbed *b, const struct req *joined, const char *const *assignments)
{
	struct req *r = mb_req(b, GROUPS_SYNC);
	identify(r, mb_id(joined), joined->instance[0] != '\0' ? joined->instance : NULL);
	r->op.generation = joined->op.u.join.generation;
	uint32_t n = 0;
	for (; assignments != NULL && assignments[2 * n] != NULL; n++) {
		r->assignments[n].member_id = span_str(assignments[2 * n]);
		r->assignments[n].assignment = span_str(assignments[2 * n + 1]);
	}
	r->op.u.sync.assignments = r->assignments;
	r->op.u.sync.n_assignments = n;
	group_sync(&b->g, &r->op, b->now);
	settle(b);
	return r;
}

struct req *mb_heartbeat(struct mbed *b, const char *id, const char *instance, int32_t generation)
{
	struct req *r = mb_req(b, GROUPS_HEARTBEAT);
	identify(r, id, instance);
	r->op.generation = generation;
	group_heartbeat(&b->g, &r->op, b->now);
	settle(b);
	return r;
}

struct req *mb_leave(struct mbed *b, const char *id, const char *instance)
{
	struct req *r = mb_req(b, GROUPS_LEAVE);
	identify(r, id, instance);
	r->leaving[0] = (struct groups_member){.member_id = r->op.member_id,
					       .instance_id = r->op.instance_id};
	r->op.u.leave.members = r->leaving;
	r->op.u.leave.n_members = 1;
	group_leave(&b->g, &r->op, b->now);
	settle(b);
	return r;
}

int16_t mb_commit(struct mbed *b, const char *id, const char *instance, int32_t generation)
{
	struct req *r = mb_req(b, GROUPS_COMMIT);
	identify(r, id, instance);
	r->op.generation = generation;
	r->answers = 1;
	return group_commit_check(&b->g, &r->op, b->now);
}

const char *txt(struct span s)
{
	static char room[16][256];
	static unsigned at;
	char *out = room[at++ % 16];
	ck_assert_int_eq(span_to_cstr(s, out, sizeof room[0]), ERR_OK);
	return out;
}

const char *mb_id(const struct req *joined)
{
	return txt(joined->op.u.join.member_id);
}

void mb_stable(struct mbed *b, uint32_t n, struct req **v)
{
	char ids[8][128];
	ck_assert_uint_le(n, 8);
	for (uint32_t i = 0; i < n; i++) {
		struct req *first = mb_join(b, (struct join_how){0});
		ck_code(first, GROUP_MEMBER_ID_REQUIRED);
		snprintf(ids[i], sizeof ids[i], "%s", mb_id(first));
	}
	for (uint32_t i = 0; i < n; i++) {
		v[i] = mb_join(b, (struct join_how){.id = ids[i]});
	}
	mb_pass(b, b->config.initial_delay_ms);
	if (v[0]->answers == 1 && v[0]->op.u.join.n_members < n) {
		/* Without a delay the first formed a generation alone. */
		v[0] = mb_join(b, (struct join_how){.id = ids[0]});
	}
	const char *assigned[17] = {NULL};
	for (uint32_t i = 0; i < n; i++) {
		ck_code(v[i], GROUP_OK);
		assigned[2 * i] = ids[i];
		assigned[2 * i + 1] = ids[i];
	}
	for (uint32_t i = n; i-- > 0;) {
		struct req *s = mb_sync(b, v[i], i == 0 ? assigned : NULL);
		ck_assert_int_eq(s->answers, i == 0 ? 1 : 0);
	}
	ck_assert_int_eq(b->g.state, GROUP_STABLE);
}
