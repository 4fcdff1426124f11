/* Where a partition's log begins: rows that say so, and what moves it.
 *
 *   kind     STORE_ROW_START, in the partition's shard
 *   key      u32 hub id, u32 partition
 *   content  i64 sequence number of the oldest retained event
 *
 * The row is durable before anybody loses sight of an event, and the start only
 * grows: a row that says less than the one before it changes nothing, in whatever
 * order they came. So trims of one partition need not wait for each other. */

#include "base/mem.h"
#include "store/shard/shard_priv.h"

enum { KEY_SIZE = 4 + 4, CONTENT_SIZE = 8 };

_Static_assert(offsetof(struct store_trim, msg) == 0, "found from its message");

/* ---- rows ------------------------------------------------------------------ */

static struct store_part part_of(const struct shard_row *row)
{
	return (struct store_part){get_u32(row->key), get_u32(row->key + 4)};
}

static int64_t first_of(const struct shard_row *row)
{
	return (int64_t)get_u64(row->content);
}

bool shard_start_is_sound(const struct store_row *row)
{
	return row->key.n == KEY_SIZE &&
	       (row->is_deleted ||
		(row->content.n == CONTENT_SIZE && (int64_t)get_u64(row->content.p) >= 0));
}

bool shard_start_is_behind(const struct shard_row *row, const struct shard_row *old)
{
	return !row->is_deleted && !old->is_deleted && first_of(row) < first_of(old);
}

/* Its partition, when it has one and is in its shard. */
static struct store_partition *find(const struct shard *s, const struct shard_row *row)
{
	struct store_partition *p = shard_registry_find(&s->core->registry, part_of(row));
	return p != NULL && p->shard == s ? p : NULL;
}

void shard_start_apply_core(struct shard *s, const struct shard_row *row)
{
	struct store_partition *p = row->is_deleted ? NULL : find(s, row);
	if (p != NULL && first_of(row) > p->position.first_seq) {
		shard_partition_start_core(p, first_of(row));
		volume_set_start(s->volume, p->part, first_of(row));
	}
}

/* ---- start of the core ------------------------------------------------------- */

static void load(const struct shard *s, const struct shard_row *row)
{
	struct store_partition *p = row->kind == STORE_ROW_START && !row->is_deleted
					    ? find(s, row)
					    : NULL;
	if (p == NULL) {
		return;	/* of a deleted hub: the volume is told by its ranges */
	}
	/* The volume may hold nothing of it any more, and then this is its end too. */
	p->position.first_seq = first_of(row);
	p->position.next_seq = first_of(row);
	p->proposed_seq = first_of(row);
	volume_set_start(s->volume, p->part, first_of(row));
}

void shard_starts_load(struct shard_core *core)
{
	for (uint32_t i = 0; i < core->n_shards; i++) {
		const struct shard *s = &core->shards[i];
		for (size_t k = 0; s->volume != NULL && k < s->rows.n_slots; k++) {
			for (const struct shard_row *row = s->rows.slots[k]; row != NULL;
			     row = row->next) {
				load(s, row);
			}
		}
	}
}

/* ---- trims ----------------------------------------------------------------- */

struct shard_trim {
	struct shard_rows_change change;	/* first: found from it */
	struct store_partition *partition;	/* one reference */
	struct store_trim *op;			/* NULL: retention's */
	struct shard_cut_result cut;		/* retention's */
};

static void answer_core(struct shard_core *core, struct store_trim *op, enum err e)
{
	op->inner = NULL;
	op->err = e;
	op->first_seq = op->partition->position.first_seq;	/* changed by the core only */
	shard_reply_core(core, op->reply_to, &op->msg, op->done);
}

static void on_trimmed_core(struct shard *s, struct shard_rows_change *c, enum err e)
{
	struct shard_trim *t = (struct shard_trim *)(void *)c;
	struct store_partition *p = t->partition;
	s->disk->waiting_bytes -= c->size;
	shard_rows_change_fini(c);
	if (t->op != NULL) {
		answer_core(s->core, t->op, p->is_gone ? ERR_NOT_FOUND : e);
	} else {
		shard_retention_trimmed_core(p, &t->cut, e);
	}
	store_partition_drop(&t->partition);
	mem_free(t);
}

static struct shard_row *row_new(const struct store_partition *p, int64_t first_seq)
{
	uint8_t key[KEY_SIZE];
	put_u32(key, p->part.hub_id);
	put_u32(key + 4, p->part.partition);
	struct shard_row *row = shard_row_new(STORE_ROW_START, span_of(key, sizeof key), CONTENT_SIZE);
	if (row != NULL) {
		put_u64(row->content, (uint64_t)first_seq);
		row->content_len = CONTENT_SIZE;
	}
	return row;
}

static struct shard_trim *trim_new(struct store_partition *p, int64_t first_seq)
{
	struct shard_trim *t = MEM_NEW(struct shard_trim);
	if (t == NULL) {
		return NULL;
	}
	t->change.end = on_trimmed_core;
	t->change.size = SHARD_ROW_HEAD + KEY_SIZE + CONTENT_SIZE;
	t->change.payload_cap = t->change.size;
	t->change.payload = mem_alloc(t->change.size);
	struct shard_row *row = NULL;
	if (t->change.payload != NULL && shard_rows_room(&p->shard->rows, 1)) {
		row = row_new(p, first_seq);
	}
	if (row == NULL) {
		shard_rows_change_fini(&t->change);
		mem_free(t);
		return NULL;
	}
	shard_rows_change_add(&t->change, row);
	shard_rows_change_seal(&t->change);
	t->partition = store_partition_hold(p);
	return t;
}

/* Small and, by retention, bounded: they pass when the disk is full, for only they
 * make it less so. */
static void post_core(struct shard_trim *t)
{
	struct shard *s = t->partition->shard;
	s->disk->waiting_bytes += t->change.size;
	shard_rows_push_core(s, &t->change);
}

bool shard_trim_core(struct store_partition *p, const struct shard_cut_result *cut)
{
	assert(cut->seq > p->position.first_seq);
	assert(cut->seq <= p->position.next_seq);
	struct shard_trim *t = trim_new(p, cut->seq);
	if (t == NULL) {
		return false;
	}
	t->cut = *cut;
	post_core(t);
	return true;
}

static enum err check_core(const struct store_partition *p, const struct store_trim *op)
{
	return p->shard->core->is_stopping		 ? ERR_STOPPING
	       : p->is_gone				 ? ERR_NOT_FOUND
	       : p->shard->volume == NULL		 ? ERR_OFFLINE
	       : op->before_seq > p->position.next_seq ? ERR_RANGE
							 : ERR_OK;
}

static void on_trim(struct msg *m)
{
	struct store_trim *op = (struct store_trim *)m;
	struct store_partition *p = op->partition;
	assert(p->magic == PARTITION_MAGIC);
	enum err e = check_core(p, op);
	struct shard_trim *t = NULL;
	if (e == ERR_OK && op->before_seq > p->position.first_seq) {
		t = trim_new(p, op->before_seq);
		e = t == NULL ? ERR_NOMEM : ERR_OK;
	}
	if (t == NULL) {
		answer_core(p->shard->core, op, e);
		return;
	}
	t->op = op;
	post_core(t);
}

/* Any thread. */
void shard_core_trim(struct shard_core *core, struct store_trim *op)
{
	op->inner = core;
	op->msg.run = on_trim;
	mailbox_post(&core->mailbox, &op->msg);
}
