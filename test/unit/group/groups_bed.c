#include "test/unit/group/groups_bed.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/group/groups_priv.h"

enum { PATIENCE_S = 60 };

/* ConsumerProtocolSubscription, version 1, topics "events". */
static const uint8_t subscription[] = {0,   1,   0,   0,   0,	1,   0, 6, 'e', 'v',
				       'e', 'n', 't', 's', 0, 0, 0, 0};

void gb_init(struct gbed *b, struct store *store)
{
	*b = (struct gbed){.options = {.store = store,
				       .offsets_retention_ms = 60000,
				       .initial_delay_ms = 0,
				       .max_groups = 1000,
				       .max_members = 10,
				       .max_offsets = 1000}};
	mailbox_init(&b->mb, NULL, NULL);
}

void gb_open(struct gbed *b)
{
	struct err_detail d = {""};
	enum err e = groups_new(&b->options, &b->groups, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

void gb_close(struct gbed *b)
{
	groups_close(b->groups);
	groups_free(&b->groups);
}

void gb_fini(struct gbed *b)
{
	msg_run_all(mailbox_take(&b->mb));
	while (b->all != NULL) {
		struct gop *o = b->all;
		b->all = o->next;
		ck_assert_uint_le(o->runs, 1);
		groups_op_fini(&o->op);
		free(o);
	}
	mailbox_fini(&b->mb);
}

static void done(struct msg *m)
{
	struct gop *o = (struct gop *)m;
	o->runs++;
	ck_assert_uint_eq(o->runs, 1);
}

struct gop *gb_op(struct gbed *b, enum groups_kind kind, const char *group, const char *id)
{
	struct gop *o = (struct gop *)calloc(1, sizeof *o);
	ck_assert_ptr_nonnull(o);
	o->next = b->all;
	b->all = o;
	o->op.kind = kind;
	o->op.reply_to = &b->mb;
	o->op.done = done;
	snprintf(o->group, sizeof o->group, "%s", group);
	snprintf(o->id, sizeof o->id, "%s", id != NULL ? id : "");
	o->op.group = span_str(o->group);
	o->op.member_id = span_str(o->id);
	o->op.client_id = span_str("client");
	o->op.client_host = span_str("/127.0.0.1");
	return o;
}

void gb_submit(struct gbed *b, struct gop *o)
{
	groups_submit(b->groups, &o->op);
}

void gb_wait(struct gbed *b, struct gop *o)
{
	int64_t end = clock_mono_ns() + (int64_t)PATIENCE_S * 1000000000;
	while (o->runs == 0) {
		struct msg *m = mailbox_wait(&b->mb, end);
		ck_assert_msg(m != NULL, "nothing was answered");
		msg_run_all(m);
	}
}

void gb_quiet(struct gbed *b)
{
	struct gop *o = gb_op(b, GROUPS_LIST, "", NULL);
	gb_submit(b, o);
	ck_op(b, o, GROUP_OK);
}

struct fault {
	struct msg msg;	/* first */
	long n;
};

static void set_fault(struct msg *m)
{
	mem_fault_at(((struct fault *)m)->n);
	free(m);
}

void gb_fault(struct gbed *b, long n)
{
	struct fault *f = (struct fault *)calloc(1, sizeof *f);
	f->msg.run = set_fault;
	f->n = n;
	mailbox_post(&b->groups->mailbox, &f->msg);
}

struct gop *gb_join(struct gbed *b, const char *group, const char *id)
{
	struct gop *o = gb_op(b, GROUPS_JOIN, group, id);
	o->protocol = (struct groups_protocol){span_str("range"),
					       span_of(subscription, sizeof subscription)};
	o->op.u.join.version = 3;
	o->op.u.join.session_timeout_ms = 30000;
	o->op.u.join.rebalance_timeout_ms = 30000;
	o->op.u.join.protocol_type = span_str("consumer");
	o->op.u.join.protocols = &o->protocol;
	o->op.u.join.n_protocols = 1;
	gb_submit(b, o);
	return o;
}

struct gop *gb_sync(struct gbed *b, const char *group, const struct gop *joined,
		    const char *assignment)
{
	struct gop *o = gb_op(b, GROUPS_SYNC, group, gb_id(joined));
	o->op.generation = joined->op.u.join.generation;
	if (assignment != NULL) {
		o->assignments[0] = (struct groups_assignment){joined->op.u.join.member_id,
							       span_str(assignment)};
		o->op.u.sync.assignments = o->assignments;
		o->op.u.sync.n_assignments = 1;
	}
	gb_submit(b, o);
	return o;
}

struct gop *gb_heartbeat(struct gbed *b, const char *group, const char *id, int32_t generation)
{
	struct gop *o = gb_op(b, GROUPS_HEARTBEAT, group, id);
	o->op.generation = generation;
	gb_submit(b, o);
	return o;
}

struct gop *gb_stable(struct gbed *b, const char *group)
{
	struct gop *j = gb_join(b, group, NULL);
	ck_op(b, j, GROUP_OK);
	struct gop *s = gb_sync(b, group, j, "assigned");
	ck_op(b, s, GROUP_OK);
	ck_assert(span_eq_str(s->op.u.sync.assignment, "assigned"));
	return j;
}

struct gop *gb_leave(struct gbed *b, const char *group, const char *id)
{
	struct gop *o = gb_op(b, GROUPS_LEAVE, group, id);
	o->leaving[0].member_id = o->op.member_id;
	o->op.u.leave.members = o->leaving;
	o->op.u.leave.n_members = 1;
	gb_submit(b, o);
	return o;
}

struct gop *gb_commit(struct gbed *b, const char *group, const char *id, int32_t generation,
		      uint32_t hub, uint32_t partition, int64_t offset)
{
	struct gop *o = gb_op(b, GROUPS_COMMIT, group, id);
	o->op.generation = generation;
	o->offsets[0] = (struct groups_offset){
		.part = {hub, partition}, .offset = offset, .leader_epoch = 3, .metadata = span_str("note")};
	o->op.u.commit.offsets = o->offsets;
	o->op.u.commit.n_offsets = 1;
	gb_submit(b, o);
	return o;
}

int64_t gb_fetch(struct gbed *b, const char *group, uint32_t hub, uint32_t partition)
{
	struct gop *o = gb_op(b, GROUPS_FETCH, group, NULL);
	o->offsets[0].part = (struct store_part){hub, partition};
	o->op.u.fetch.offsets = o->offsets;
	o->op.u.fetch.n_offsets = 1;
	gb_submit(b, o);
	ck_op(b, o, GROUP_OK);
	ck_assert_int_eq(o->offsets[0].code, GROUP_OK);
	if (o->offsets[0].offset < 0) {
		ck_assert_int_eq(o->offsets[0].leader_epoch, -1);
		ck_assert_uint_eq(o->offsets[0].metadata.n, 0);
	} else {
		ck_assert_int_eq(o->offsets[0].leader_epoch, 3);
		ck_assert(span_eq_str(o->offsets[0].metadata, "note"));
	}
	return o->offsets[0].offset;
}

int16_t gb_delete(struct gbed *b, const char *group)
{
	struct gop *o = gb_op(b, GROUPS_DELETE, group, NULL);
	o->groups[0].group = o->op.group;
	o->op.u.describe.groups = o->groups;
	o->op.u.describe.n_groups = 1;
	gb_submit(b, o);
	ck_op(b, o, GROUP_OK);
	return o->groups[0].code;
}

const char *gb_state(struct gbed *b, const char *group)
{
	struct gop *o = gb_op(b, GROUPS_DESCRIBE, group, NULL);
	o->groups[0].group = o->op.group;
	o->op.u.describe.groups = o->groups;
	o->op.u.describe.n_groups = 1;
	gb_submit(b, o);
	ck_op(b, o, GROUP_OK);
	return o->groups[0].state;
}

const char *gb_id(const struct gop *joined)
{
	static char room[8][128];
	static unsigned at;
	char *out = room[at++ % 8];
	ck_assert_int_eq(span_to_cstr(joined->op.u.join.member_id, out, sizeof room[0]), ERR_OK);
	return out;
}
