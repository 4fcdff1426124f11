/* Ids of idempotent producers: blocks taken from the catalogue, given out from
 * memory. What a stopped process had left of its block is never used. */

#include <assert.h>
#include <stddef.h>

#include "gateway/core/core_priv.h"

_Static_assert(offsetof(struct core_producer_id, msg) == 0, "found from its message");

static void answer(struct core_producer_id *op, enum err e, int64_t id)
{
	op->err = e;
	op->id = id;
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

static void queue_locked(struct core_producer_ids *p, struct core_producer_id *op)
{
	op->msg.next = NULL;
	if (p->first == NULL) {
		p->first = op;
	} else {
		p->last->msg.next = &op->msg;
	}
	p->last = op;
}

static void on_block(struct msg *m);

/* `op` will be answered by the block it now asks for. The command's memory is
 * the core's, its completion runs where `op` wants its answer. */
static void ask(struct core *c, struct core_producer_id *op)
{
	struct core_producer_ids *p = &c->producer_ids;
	p->command = (struct store_command){
		.reply_to = op->reply_to,
		.done = on_block,
		.command = {.op = CATALOG_PRODUCER_IDS, .producer_ids = CORE_PRODUCER_IDS},
	};
	store_command(c->store, &p->command);
}

static void on_block(struct msg *m)
{
	struct store_command *cmd = (struct store_command *)m;
	struct core *c = (struct core *)(void *)((char *)cmd - offsetof(struct core, producer_ids) -
						 offsetof(struct core_producer_ids, command));
	struct core_producer_ids *p = &c->producer_ids;
	enum err e = cmd->err;
	lock_take(&p->lock);
	assert(p->is_asking);
	if (e == ERR_OK) {
		p->next = cmd->command.first_producer_id;
		p->end = p->next + CORE_PRODUCER_IDS;
	}
	struct core_producer_id *again = NULL;
	while (p->first != NULL) {
		struct core_producer_id *op = p->first;
		if (e == ERR_OK && p->next == p->end) {
			again = op;
			break;
		}
		p->first = (struct core_producer_id *)op->msg.next;
		answer(op, e, e == ERR_OK ? p->next++ : -1);
	}
	p->is_asking = again != NULL;
	lock_give(&p->lock);
	if (again != NULL) {
		ask(c, again);
	}
}

void core_producer_id(struct core *c, struct core_producer_id *op)
{
	struct core_producer_ids *p = &c->producer_ids;
	lock_take(&p->lock);
	bool is_there = p->next < p->end;
	int64_t id = is_there ? p->next++ : -1;
	bool must_ask = !is_there && !p->is_asking;
	if (!is_there) {
		queue_locked(p, op);
		p->is_asking = true;
	}
	lock_give(&p->lock);
	if (is_there) {
		answer(op, ERR_OK, id);
	} else if (must_ask) {
		ask(c, op);
	}
}
