/* Catalogue changes: one at a time, checked against the applied snapshot,
 * durable in shard 0, then visible. */

#include "base/mem.h"
#include "store/shard/shard_priv.h"

_Static_assert(offsetof(struct store_command, msg) == 0, "found from its message");

static void answer_core(struct shard_core *core, struct store_command *op, enum err e)
{
	op->err = e;
	shard_reply_core(core, op->reply_to, &op->msg, op->done);
}

void shard_on_command(struct msg *m)
{
	struct store_command *op = (struct store_command *)m;
	struct shard_core *core = op->inner;
	op->detail.text[0] = '\0';
	if (core->is_stopping) {
		answer_core(core, op, ERR_STOPPING);
		return;
	}
	if (core->commands_first == NULL) {
		core->commands_first = op;
	} else {
		core->commands_last->msg.next = m;
	}
	core->commands_last = op;
	shard_ready_core(&core->shards[0]);
}

void shard_change_fini(struct shard_change *c)
{
	for (uint32_t i = c->hub.n - c->n_new; i < c->hub.n; i++) {
		store_partition_drop(&c->hub.parts[i]);
	}
	mem_free(c->hub.parts);
	if (c->next != NULL) {
		catalog_drop(&c->next);
	}
	if (c->payload.p != NULL) {
		explicit_bzero(c->payload.p, c->payload.len);
	}
	str_fini(&c->payload);
	*c = (struct shard_change){0};
}

/* ---- before the proposal ------------------------------------------------- */

/* Makes the partitions the hub has more in the next catalogue. */
static enum err prepare_hub(struct shard_core *core, const struct catalog_hub *now,
			    const struct catalog_hub *next)
{
	struct shard_change *change = &core->change;
	uint32_t before = now != NULL ? now->partitions : 0;
	change->hub.id = next->id;
	change->hub.parts = mem_calloc(next->partitions, sizeof(void *));
	if (change->hub.parts == NULL) {
		return ERR_NOMEM;
	}
	if (now != NULL) {
		const struct shard_registry_hub *old = shard_registry_hub(&core->registry, now->id);
		assert(old != NULL && old->n == before);
		memcpy(change->hub.parts, old->parts, before * sizeof(void *));
	}
	change->hub.n = before;
	while (change->hub.n < next->partitions) {
		uint32_t i = change->hub.n;
		struct store_part part = {.hub_id = next->id, .partition = i};
		change->hub.parts[i] = shard_partition_new(&core->shards[next->shards[i]], part);
		if (change->hub.parts[i] == NULL) {
			return ERR_NOMEM;
		}
		change->hub.n++;
		change->n_new++;
	}
	lock_take(&core->lock);
	bool has_room = shard_registry_room(&core->registry);
	lock_give(&core->lock);
	return has_room && shard_retention_room(core, change->n_new) ? ERR_OK : ERR_NOMEM;
}

static enum err prepare(struct shard_core *core, const struct catalog_command *cmd)
{
	struct shard_change *change = &core->change;
	struct span name = span_str(cmd->hub);
	const struct catalog_hub *now = catalog_hub_find(core->catalog, name);
	const struct catalog_hub *next = catalog_hub_find(change->next, name);
	if (cmd->op == CATALOG_HUB_DELETE) {
		change->deleted_id = now->id;
	}
	if (next != NULL && (now == NULL || next->partitions > now->partitions)) {
		enum err e = prepare_hub(core, now, next);
		if (e != ERR_OK) {
			return e;
		}
	}
	return catalog_encode(cmd, &change->payload);
}

static enum err propose(struct shard_core *core, struct store_command *op)
{
	struct shard *s = &core->shards[0];
	struct shard_change *change = &core->change;
	op->command.now_ms = core->now_ms;
	enum err e = catalog_check(core->catalog, &op->command, &op->detail);
	if (e != ERR_OK) {
		return e;
	}
	struct shard_entry *entry = shard_entry_free_core(s);
	assert(entry != NULL);
	e = catalog_apply(core->catalog, &op->command, s->proposed_index + 1, &change->next);
	if (e == ERR_OK) {
		e = prepare(core, &op->command);
	}
	if (e == ERR_OK && !shard_entry_room(entry)) {
		e = ERR_NOMEM;
	}
	if (e != ERR_OK) {
		shard_change_fini(change);
		return e;
	}
	change->op = op;
	entry->commands[0] = (struct volume_command){
		.kind = VOLUME_CATALOG,
		.count = 1,
		.append_ms = core->now_ms,
		.payload = span_of(change->payload.p, change->payload.len),
	};
	entry->items[0] = (struct shard_item){0};
	entry->n = 1;
	shard_entry_send_core(entry);
	return ERR_OK;
}

void shard_command_propose_core(struct shard_core *core)
{
	struct shard *s = &core->shards[0];
	while (core->change.op == NULL && core->commands_first != NULL &&
	       s->n_in_flight < SHARD_IN_FLIGHT) {
		struct store_command *op = core->commands_first;
		core->commands_first = (struct store_command *)op->msg.next;
		op->msg.next = NULL;
		enum err e = propose(core, op);
		if (e != ERR_OK) {
			answer_core(core, op, e);
		}
	}
}

/* ---- once it is durable -------------------------------------------------- */

/* Puts new partitions in; the array that went out of use comes back in `hub`. */
static void register_hub_locked(struct shard_registry *r, struct shard_registry_hub *hub)
{
	struct shard_registry_hub *old = shard_registry_hub(r, hub->id);
	if (old == NULL) {
		shard_registry_add(r, *hub);
		*hub = (struct shard_registry_hub){0};
	} else {
		struct shard_registry_hub was = *old;
		*old = *hub;
		*hub = (struct shard_registry_hub){.parts = was.parts};
	}
}

static void forget_hub_core(struct shard_core *core, struct shard_registry_hub *hub)
{
	for (uint32_t i = 0; i < hub->n; i++) {
		struct store_partition *p = hub->parts[i];
		shard_partition_close_core(p, ERR_NOT_FOUND);
		if (p->shard->volume != NULL) {
			volume_set_gone(p->shard->volume, p->part);
		}
		store_partition_drop(&hub->parts[i]);
	}
	core->retention.n_partitions -= hub->n;
	mem_free(hub->parts);
	*hub = (struct shard_registry_hub){0};
}

void shard_hub_settings_core(struct shard_core *core, const struct catalog_hub *h)
{
	const struct shard_registry_hub *in = shard_registry_hub(&core->registry, h->id);
	bool is_compacted = h->cleanup != CATALOG_DELETE;
	bool is_bounded = h->cleanup != CATALOG_COMPACT;
	for (uint32_t i = 0; i < in->n; i++) {
		struct store_partition *p = in->parts[i];
		shard_retention_keep_core(p, is_bounded ? h->retention_ms : 0,
					  is_bounded ? h->retention_bytes : 0);
		if (p->is_compacted != is_compacted && p->shard->volume != NULL) {
			p->is_compacted = is_compacted;
			volume_set_compact(p->shard->volume, p->part, is_compacted);
		}
	}
}

void shard_command_apply_core(struct shard_core *core, uint64_t index)
{
	struct shard_change *change = &core->change;
	assert(change->op != NULL);
	assert(change->next->version == index);
	struct shard_registry_hub deleted = {0};
	lock_take(&core->lock);
	const struct catalog *old = core->catalog;
	core->catalog = change->next;
	change->next = NULL;
	if (change->hub.n > 0) {
		register_hub_locked(&core->registry, &change->hub);
		core->retention.n_partitions += change->n_new;
		change->n_new = 0;
	}
	if (change->deleted_id != 0) {
		deleted = *shard_registry_hub(&core->registry, change->deleted_id);
		shard_registry_remove(&core->registry, change->deleted_id);
	}
	lock_give(&core->lock);
	int64_t first_producer_id = old->next_producer_id;
	catalog_drop(&old);
	forget_hub_core(core, &deleted);
	struct store_command *op = change->op;
	if (op->command.op == CATALOG_HUB_CREATE || op->command.op == CATALOG_HUB_UPDATE) {
		const char *name = op->command.hub;
		shard_hub_settings_core(core, catalog_hub_find(core->catalog, span_str(name)));
	}
	op->command.first_producer_id = first_producer_id;
	shard_change_fini(change);
	shard_save_later_core(core);
	answer_core(core, op, ERR_OK);
}
