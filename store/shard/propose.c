/* From waiting operations to an entry: the leader's decisions. */

#include "base/limits.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"

enum {
	RECORD_HEAD = 48,	/* store/volume/volume.h */
	DESCRIPTOR = 60,
	AT_LENGTH = 8,
	AT_MAGIC = 16,
	AT_LAST_DELTA = 23,
	AT_MAX_TIME = 35,
	AT_COUNT = 57,
	LENGTH_EXCLUDES = 12,
	MAGIC_V2 = 2,
};

_Static_assert(offsetof(struct store_append, msg) == 0, "found from its message");
_Static_assert(RECORD_HEAD + DESCRIPTOR + UINT16_MAX + LIMIT_BATCH + DESCRIPTOR +
			       (SHARD_FORGET_MAX + 2) * (SHARD_ROW_HEAD + STORE_ROW_KEY_MAX) <=
		       LIMIT_ENTRY,
	       "any single batch fits an entry, with the rows of its producer and of those forgotten");

void shard_append_fail_core(struct shard *s, struct store_append *op, enum err e)
{
	s->disk->waiting_bytes -= op->batch_len;
	buf_drop(&op->batch);
	op->err = e;
	shard_reply_core(s->core, op->reply_to, &op->msg, op->done);
}

/* ---- arrival ------------------------------------------------------------- */

static void dirty_push(struct shard *s, struct store_partition *p)
{
	p->next_dirty = NULL;
	if (s->dirty_first == NULL) {
		s->dirty_first = p;
	} else {
		s->dirty_last->next_dirty = p;
	}
	s->dirty_last = p;
}

void shard_on_append(struct msg *m)
{
	struct store_append *op = (struct store_append *)m;
	struct store_partition *p = op->partition;
	assert(p->magic == PARTITION_MAGIC);
	struct shard *s = p->shard;
	s->disk->waiting_bytes += op->batch_len;
	enum err e = s->core->is_stopping ? ERR_STOPPING
		     : p->is_gone	  ? ERR_NOT_FOUND
		     : s->volume == NULL  ? ERR_OFFLINE
		     : shard_disk_is_without(s->disk, op->batch_len) ? ERR_QUOTA
								     : ERR_OK;
	if (e != ERR_OK) {
		shard_append_fail_core(s, op, e);
		return;
	}
	s->disk->taken_bytes += op->batch_len;
	/* Needed when the round is over, and likely still in another core's cache. */
	__builtin_prefetch(op->batch);
	if (p->pending_first == NULL) {
		p->pending_first = op;
		dirty_push(s, p);
		shard_ready_core(s);
	} else {
		p->pending_last->msg.next = m;
	}
	p->pending_last = op;
}

bool shard_has_pending_core(const struct shard *s)
{
	const struct shard_core *core = s->core;
	return s->dirty_first != NULL || s->rows_first != NULL || s->is_sweep_due ||
	       (s->number == 0 && core->commands_first != NULL && core->change.op == NULL);
}

/* ---- entries ------------------------------------------------------------- */

struct shard_entry *shard_entry_free_core(struct shard *s)
{
	for (uint32_t i = 0; i < SHARD_IN_FLIGHT; i++) {
		if (!s->entries[i].is_used) {
			s->entries[i].shard = s;
			s->entries[i].n = 0;
			s->entries[i].size = RECORD_HEAD;
			return &s->entries[i];
		}
	}
	return NULL;
}

bool shard_entry_room(struct shard_entry *e)
{
	void *commands = e->commands;
	size_t n = e->n + 2;	/* that one, and the producers' */
	bool ok = mem_grow(&commands, &e->commands_cap, n, sizeof *e->commands);
	e->commands = commands;
	void *items = e->items;
	ok = ok && mem_grow(&items, &e->items_cap, n, sizeof *e->items);
	e->items = items;
	return ok;
}

void shard_entry_send_core(struct shard_entry *e)
{
	struct shard *s = e->shard;
	assert(!e->is_used);
	assert(e->n > 0);
	assert(s->volume != NULL);
	e->is_used = true;
	s->n_in_flight++;
	s->core->n_in_flight++;
	e->out = (struct volume_entry){
		.reply_to = &s->core->mailbox,
		.done = shard_on_written,
		.shard = s->number,
		.term = s->term,
		.index = ++s->proposed_index,
		.commands = e->commands,
		.n_commands = e->n,
	};
	volume_append(s->volume, &e->out);
}

/* ---- decisions ----------------------------------------------------------- */

/* What the front end promised of its batch, as far as the head tells. */
static enum err check(const struct store_append *op)
{
	if (op->batch_len > LIMIT_BATCH) {
		return ERR_TOO_LARGE;
	}
	if (op->batch == NULL || op->batch_len < BATCH_HEAD || op->key_len > UINT16_MAX ||
	    op->batch_len + op->key_len > op->batch->cap || op->events == 0 ||
	    op->events > INT32_MAX ||
	    (op->encoding != BATCH_AMQP && op->encoding != BATCH_KAFKA)) {
		return ERR_INVALID;
	}
	const uint8_t *b = op->batch->data;
	if (b[AT_MAGIC] != MAGIC_V2 || get_u32(b + AT_LENGTH) + LENGTH_EXCLUDES != op->batch_len ||
	    get_u32(b + AT_COUNT) != op->events || get_u32(b + AT_LAST_DELTA) != op->events - 1) {
		return ERR_INVALID;
	}
	return ERR_OK;
}

static struct store_append *pending_pop(struct store_partition *p)
{
	struct store_append *op = p->pending_first;
	p->pending_first = (struct store_append *)op->msg.next;
	op->msg.next = NULL;
	return op;
}

/* Gives sequence numbers and the append time to the first `n` operations and
 * moves them from the partition into the item. */
static void assign(struct store_partition *p, struct shard_item *item, uint32_t n, bool is_merged)
{
	int64_t seq = p->proposed_seq;
	struct store_append *op = p->pending_first;
	struct store_append *last = op;
	item->first = op;
	for (uint32_t i = 0; i < n; i++) {
		op->err = ERR_OK;
		op->base_seq = seq;
		op->append_ms = p->proposed_ms;
		op->is_repeated = false;
		seq += op->events;
		if (is_merged) {
			buf_drop(&op->batch);
		}
		op->batch = NULL;
		last = op;
		op = (struct store_append *)op->msg.next;
	}
	last->msg.next = NULL;
	p->pending_first = op;
	item->events = (uint32_t)(seq - p->proposed_seq);
	p->proposed_seq = seq;
}

/* Puts the partition's first operation, merged with what may follow it, into
 * the entry as one command. */
static void add_command_core(struct shard_entry *e, struct store_partition *p, uint32_t n,
			     size_t size)
{
	const struct store_append *first = p->pending_first;
	struct shard_item *item = &e->items[e->n];
	struct volume_command *c = &e->commands[e->n];
	struct buf *buf = NULL;
	uint32_t len = 0;
	uint32_t merged = n > 1 ? shard_merge(first, n, size, &buf, &len) : 0;
	if (merged == 0) {
		buf = first->batch;
		len = first->batch_len;
	}
	int64_t now_ms = p->shard->core->now_ms;
	p->proposed_ms = now_ms > p->proposed_ms ? now_ms : p->proposed_ms;
	*c = (struct volume_command){
		.kind = VOLUME_BATCH,
		.encoding = first->encoding,
		.part = p->part,
		.base_seq = p->proposed_seq,
		.append_ms = p->proposed_ms,
		.max_timestamp_ms = p->proposed_ms,
		.payload = span_of(buf->data, len),
		.key = span_of(buf->data + len, first->key_len),
	};
	*item = (struct shard_item){.partition = p, .buf = buf, .key_len = first->key_len};
	batch_place(buf->data, c->base_seq);
	if (c->encoding == BATCH_AMQP) {
		batch_seal(buf->data, len, c->append_ms);
	} else {
		c->max_timestamp_ms = (int64_t)get_u64(buf->data + AT_MAX_TIME);
	}
	assign(p, item, merged > 0 ? merged : 1, merged > 0);
	c->count = item->events;
	e->size += DESCRIPTOR + c->key.n + c->payload.n;
	e->n++;
}

/* The item of the entries in flight, or of the one being made, that holds the
 * partition's batch at `base_seq`; NULL: none. */
static struct shard_item *item_find_core(const struct shard_entry *making,
					 const struct store_partition *p, int64_t base_seq)
{
	for (uint32_t i = 0; i < SHARD_IN_FLIGHT; i++) {
		const struct shard_entry *e = &p->shard->entries[i];
		for (uint32_t k = 0; (e->is_used || e == making) && k < e->n; k++) {
			if (e->items[k].partition == p && e->commands[k].base_seq == base_seq) {
				return &e->items[k];
			}
		}
	}
	return NULL;
}

/* The batch stands in the log already or is on its way there: the operation is
 * answered as the first one was, or together with it. */
static void repeat_core(const struct shard_entry *making, struct store_partition *p,
			const struct shard_producer_step *step)
{
	struct store_append *op = pending_pop(p);
	buf_drop(&op->batch);
	op->err = ERR_OK;
	op->base_seq = step->base_seq;
	op->append_ms = step->append_ms;
	op->is_repeated = true;
	struct shard_item *item = NULL;
	if (step->base_seq >= p->position.next_seq) {	/* changed by the core only */
		item = item_find_core(making, p, step->base_seq);
	}
	if (item == NULL) {
		p->shard->disk->waiting_bytes -= op->batch_len;
		shard_reply_core(p->shard->core, op->reply_to, &op->msg, op->done);
		return;
	}
	struct store_append *last = item->first;
	while (last->msg.next != NULL) {
		last = (struct store_append *)last->msg.next;
	}
	last->msg.next = &op->msg;
}

/* Puts one command's worth of the partition's operations into the entry. ERR_AGAIN:
 * it has no room for them. */
static enum err add_core(struct shard_entry *e, struct store_partition *p,
			 struct shard_producer_step *step)
{
	size_t size;
	uint32_t n = shard_merge_count(p->pending_first, &size);
	if (n == 1) {
		size = p->pending_first->batch_len + p->pending_first->key_len;
	}
	size_t more = step != NULL ? shard_producer_size_core(e, p, step) : 0;
	if (e->size + DESCRIPTOR + size + more > LIMIT_ENTRY && e->n > 0) {
		return ERR_AGAIN;
	}
	if (!shard_entry_room(e) || (step != NULL && !shard_producer_room_core(e, p, step))) {
		return e->n > 0 ? ERR_AGAIN : ERR_NOMEM;
	}
	add_command_core(e, p, n, size);
	if (step != NULL) {
		const struct volume_command *c = &e->commands[e->n - 1];
		shard_producer_advance_core(e, p, step, c->base_seq, c->append_ms);
	}
	return ERR_OK;
}

/* Takes one command's worth of the partition's operations, or answers its first
 * one. False: the entry has no room for it. */
static bool take_core(struct shard_entry *e, struct store_partition *p)
{
	struct shard_producer_step step;
	enum err err = p->is_gone ? ERR_NOT_FOUND : check(p->pending_first);
	bool has_producer = err == ERR_OK && shard_has_producer(p->pending_first);
	if (has_producer) {
		err = shard_producer_judge_core(p, p->pending_first, &step);
	}
	if (err == ERR_EXISTS) {
		repeat_core(e, p, &step);
		return true;
	}
	if (err == ERR_OK) {
		err = add_core(e, p, has_producer ? &step : NULL);
	}
	if (err != ERR_OK && err != ERR_AGAIN) {
		shard_append_fail_core(p->shard, pending_pop(p), err);
	}
	return err != ERR_AGAIN;
}

/* The batches' turn: partitions take turns of one command, so that one with much
 * to say does not keep the others out of the entry. */
static bool take_batch_core(struct shard_entry *e)
{
	struct shard *s = e->shard;
	struct store_partition *p = s->dirty_first;
	if (!take_core(e, p)) {
		return false;
	}
	s->dirty_first = p->next_dirty;
	if (p->pending_first != NULL) {
		dirty_push(s, p);
	}
	return true;
}

/* Batches and writes of rows take turns too; whose turn it is when the entry has
 * no more room begins the next one. */
static void fill_core(struct shard_entry *e)
{
	struct shard *s = e->shard;
	if (s->is_sweep_due) {
		shard_producers_sweep_core(e);
	}
	bool has_room = true;
	while (has_room && (s->dirty_first != NULL || s->rows_first != NULL) &&
	       e->size < LIMIT_ENTRY_TARGET && e->n < SHARD_ENTRY_COMMANDS - 1) {
		if (s->rows_first != NULL && (s->is_rows_turn || s->dirty_first == NULL)) {
			has_room = shard_rows_take_core(e);
			s->is_rows_turn = !has_room;
		} else {
			has_room = take_batch_core(e);
			s->is_rows_turn = has_room;
		}
	}
	shard_producers_seal_core(e);
}

void shard_propose_core(struct shard *s)
{
	ASSERT_THREAD(ROLE_SHARD_CORE);
	while (s->n_in_flight < SHARD_IN_FLIGHT && shard_has_pending_core(s)) {
		if (s->number == 0) {
			shard_command_propose_core(s->core);
		}
		struct shard_entry *e = shard_entry_free_core(s);
		if (e == NULL) {
			break;
		}
		fill_core(e);
		if (e->n > 0) {
			shard_entry_send_core(e);
		}
	}
}
