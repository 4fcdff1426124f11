#include "gateway/group/groups.h"

#include <assert.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/group/groups_priv.h"
#include "gateway/group/op_memory.h"

enum { NS_PER_MS = 1000000 };

/* ---- operations: any thread ----------------------------------------------------------- */

/* The mailbox has no argument for its messages; the operation knows the coordinator. */
static void on_submit(struct msg *m)
{
	struct groups_op *op = (struct groups_op *)m;
	struct groups *g = (struct groups *)op->parked;
	op->parked = NULL;
	groups_serve(g, op);
}

void groups_submit(struct groups *g, struct groups_op *op)
{
	op->parked = g;
	op->is_cancelled = false;
	op->is_answered = false;
	op->cancel_next = NULL;
	op->cancel_link = NULL;
	op->msg.run = on_submit;
	lock_take(&g->lock);
	bool is_closed = g->is_closed;
	if (!is_closed) {
		mailbox_post(&g->mailbox, &op->msg);
	}
	lock_give(&g->lock);
	if (is_closed) {
		op->parked = NULL;
		groups_refuse(g, op, GROUP_NOT_COORDINATOR);
	}
}

void groups_cancel(struct groups *g, struct groups_op *op)
{
	lock_take(&g->lock);
	if (!op->is_answered && op->cancel_link == NULL) {
		op->cancel_next = g->cancelled;
		if (op->cancel_next != NULL) {
			op->cancel_next->cancel_link = &op->cancel_next;
		}
		op->cancel_link = &g->cancelled;
		g->cancelled = op;
		if (!g->cancel_posted) {
			g->cancel_posted = true;
			mailbox_post(&g->mailbox, &g->cancel_msg);
		}
	}
	lock_give(&g->lock);
}

/* ---- the coordinator thread ---------------------------------------------------------------- */

static struct groups_op *take_cancelled(struct groups *g)
{
	lock_take(&g->lock);
	struct groups_op *op = g->cancelled;
	if (op != NULL) {
		g->cancelled = op->cancel_next;
		if (g->cancelled != NULL) {
			g->cancelled->cancel_link = &g->cancelled;
		}
		op->cancel_link = NULL;
	} else {
		g->cancel_posted = false;
	}
	lock_give(&g->lock);
	return op;
}

static struct groups *of_cancel(struct msg *m)
{
	return (struct groups *)(void *)((char *)m - offsetof(struct groups, cancel_msg));
}

/* An operation taken from the list is not answered yet: only this thread does. */
static void on_cancel(struct msg *m)
{
	struct groups *g = of_cancel(m);
	struct groups_op *op;
	while ((op = take_cancelled(g)) != NULL) {
		op->is_cancelled = true;
		bool may_park = op->kind == GROUPS_JOIN || op->kind == GROUPS_SYNC;
		struct groups_entry *e = may_park ? groups_find(g, op->group) : NULL;
		/* One still in the mailbox points to the coordinator, not a member. */
		if (e != NULL && op->parked != NULL && op->parked != g) {
			group_cancel(&e->machine, op);
		}
	}
}

static struct groups *of_stop(struct msg *m)
{
	return (struct groups *)(void *)((char *)m - offsetof(struct groups, stop_msg));
}

static void release(struct groups_entry *e)
{
	group_release(&e->machine, GROUP_NOT_COORDINATOR);
	while (e->waiting_first != NULL) {
		struct groups_op *op = e->waiting_first;
		e->waiting_first = (struct groups_op *)op->msg.next;
		op->msg.next = NULL;
		if (op->kind == GROUPS_DELETE) {
			groups_delete(e->groups, op);
		} else {
			groups_refuse(e->groups, op, GROUP_NOT_COORDINATOR);
		}
	}
}

static void on_stop(struct msg *m)
{
	struct groups *g = of_stop(m);
	g->is_stopping = true;
	lock_take(&g->lock);
	g->is_closed = true;
	lock_give(&g->lock);
	for (size_t i = 0; i < g->slots; i++) {
		for (struct groups_entry *e = g->slot[i]; e != NULL; e = e->next) {
			release(e);
		}
	}
}

static void run_due(struct groups *g, int64_t now_ms)
{
	while (g->heap_n > 0 && g->heap[0]->due_ms <= now_ms) {
		struct groups_entry *e = g->heap[0];
		group_tick(&e->machine, now_ms);
		groups_settle(e);
	}
}

static int64_t next_due(const struct groups *g)
{
	int64_t due = g->sweep_due_ms;
	if (g->heap_n > 0 && g->heap[0]->due_ms < due) {
		due = g->heap[0]->due_ms;
	}
	return due;
}

static void *run(void *arg)
{
	struct groups *g = (struct groups *)arg;
	while (!g->is_stopping) {
		/* What has come is looked at before time: a heartbeat that waits here saves
		 * its member. */
		msg_run_all(mailbox_wait(&g->mailbox, next_due(g) * NS_PER_MS));
		if (!g->is_stopping) {
			int64_t now_ms = clock_mono_ms();
			run_due(g, now_ms);
			groups_sweep(g, now_ms);
		}
	}
	while (g->writes > 0) {
		msg_run_all(mailbox_wait(&g->mailbox, INT64_MAX));
	}
	/* Operations posted before the door was closed, and cancellations of them. */
	struct msg *m;
	while ((m = mailbox_take(&g->mailbox)) != NULL) {
		msg_run_all(m);
	}
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void destroy(struct groups *g)
{
	for (size_t i = 0; i < g->slots; i++) {
		while (g->slot[i] != NULL) {
			groups_remove(g->slot[i]);
		}
	}
	mem_free(g->slot);
	mem_free(g->heap);
	mailbox_fini(&g->mailbox);
	lock_fini(&g->lock);
	mem_free(g);
}

enum err groups_new(const struct groups_options *o, struct groups **out, struct err_detail *d)
{
	struct groups *g = MEM_NEW(struct groups);
	if (g == NULL) {
		return err_set(d, ERR_NOMEM, "no memory for the consumer groups");
	}
	g->options = *o;
	g->config = (struct group_config){o->initial_delay_ms, o->max_members};
	g->stop_msg.run = on_stop;
	g->cancel_msg.run = on_cancel;
	g->sweep_due_ms = clock_mono_ms() + (o->sweep_ms > 0 ? o->sweep_ms : GROUPS_SWEEP_MS);
	crypto_random(&g->seed, sizeof g->seed);
	lock_init(&g->lock);
	mailbox_init(&g->mailbox, NULL, NULL);
	g->slot = (struct groups_entry **)mem_calloc(GROUPS_SLOTS_FIRST, sizeof *g->slot);
	g->slots = g->slot != NULL ? GROUPS_SLOTS_FIRST : 0;
	enum err e = g->slot != NULL ? groups_load(g, d)
				     : err_set(d, ERR_NOMEM, "no memory for the consumer groups");
	if (e == ERR_OK) {
		e = thread_start(&g->thread, ROLE_COORDINATOR, "groups", run, g);
		if (e != ERR_OK) {
			err_set(d, e, "cannot start the thread of the consumer groups");
		}
	}
	if (e != ERR_OK) {
		destroy(g);
		return e;
	}
	*out = g;
	return ERR_OK;
}

void groups_close(struct groups *g)
{
	lock_take(&g->lock);
	bool is_closed = g->is_closed;
	lock_give(&g->lock);
	if (!is_closed) {
		mailbox_post(&g->mailbox, &g->stop_msg);
		thread_join(g->thread);
	}
}

void groups_free(struct groups **gp)
{
	struct groups *g = *gp;
	*gp = NULL;
	if (g != NULL) {
		assert(g->is_closed);
		destroy(g);
	}
}
