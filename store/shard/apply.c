/* What became durable takes effect, in index order. */

#include "store/shard/shard_priv.h"

_Static_assert(offsetof(struct shard_entry, out.msg) == 0, "found from its message");

static void answer_core(struct shard *s, struct store_append *op)
{
	while (op != NULL) {
		struct store_append *next = (struct store_append *)op->msg.next;
		__builtin_prefetch(next, 1);
		s->disk->waiting_bytes -= op->batch_len;
		shard_reply_core(s->core, op->reply_to, &op->msg, op->done);
		op = next;
	}
}

void shard_on_written(struct msg *m)
{
	struct shard_entry *e = (struct shard_entry *)m;
	struct shard *s = e->shard;
	struct shard_core *core = s->core;
	ASSERT_THREAD(ROLE_SHARD_CORE);
	assert(e->out.index == s->applied_index + 1);
	s->applied_index = e->out.index;
	s->applied_term = e->out.term;
	for (uint32_t i = 0; i < e->n; i++) {
		const struct volume_command *c = &e->commands[i];
		if (c->kind == VOLUME_CATALOG) {
			shard_command_apply_core(core, e->out.index);
			continue;
		}
		if (c->kind == VOLUME_ROWS) {
			shard_rows_apply_core(s, e->items[i].rows);
			continue;
		}
		/* The operations keep the partition until they are answered. */
		shard_partition_publish_core(e->items[i].partition, &e->items[i], c);
		answer_core(s, e->items[i].first);
	}
	e->is_used = false;
	s->n_in_flight--;
	core->n_in_flight--;
	if (shard_has_pending_core(s)) {
		shard_ready_core(s);
	}
}
