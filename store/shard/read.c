/* Reads and seeks from disk: the volume's operation is allocated beside ours
 * and answered straight to the caller's thread. */

#include "base/mem.h"
#include "store/shard/shard_priv.h"

/* May the volume be used? When true, leave() must follow the hand-over. */
static bool enter(struct shard_core *core)
{
	atomic_fetch_add(&core->n_entering, 1);
	if (atomic_load(&core->is_closed)) {
		atomic_fetch_sub(&core->n_entering, 1);
		return false;
	}
	return true;
}

static void leave(struct shard_core *core)
{
	atomic_fetch_sub(&core->n_entering, 1);
}

/* Where a read or seek ends, or why it cannot begin. */
static enum err limits(struct store_partition *p, int64_t *first, int64_t *limit)
{
	struct store_position at;
	store_partition_position(p, &at);
	*first = at.first_seq;
	*limit = at.next_seq;
	return at.deleted ? ERR_NOT_FOUND : at.is_offline ? ERR_OFFLINE : ERR_OK;
}

/* What was trimmed since the volume was asked is not given out any more. */
static void drop_trimmed(struct store_batches *b, int64_t first)
{
	uint32_t n = 0;
	while (n < b->n && b->v[n].base_seq + b->v[n].count <= first) {
		buf_drop(&b->v[n].buf);
		n++;
	}
	b->n -= n;
	memmove(b->v, b->v + n, b->n * sizeof *b->v);
}

/* ---- read ---------------------------------------------------------------- */

struct read {
	struct volume_read in;	/* first: found from its message */
	struct store_read *op;
	struct store_partition *partition;	/* one reference */
};

static void on_read(struct msg *m)
{
	struct read *r = (struct read *)m;
	struct store_read *op = r->op;
	op->err = r->in.err;
	op->out.n = 0;
	struct store_position at;
	store_partition_position(r->partition, &at);
	if (at.deleted) {
		op->err = ERR_NOT_FOUND;
	}
	if (op->err == ERR_OK) {
		drop_trimmed(&r->in.out, at.first_seq);
		op->out.n = r->in.out.n;
		memcpy(op->out.v, r->in.out.v, r->in.out.n * sizeof *op->out.v);
	} else {
		store_batches_drop(&r->in.out);
	}
	store_partition_drop(&r->partition);
	mem_free(r);
	op->inner = NULL;
	op->msg.run = op->done;
	op->done(&op->msg);
}

static void read_end(struct store_read *op, enum err e)
{
	op->err = e;
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

void shard_core_read(struct shard_core *core, struct store_read *op)
{
	int64_t first;
	int64_t limit;
	op->out.n = 0;
	op->inner = NULL;
	enum err e = limits(op->partition, &first, &limit);
	int64_t from = op->from > first ? op->from : first;
	if (e != ERR_OK || from >= limit) {
		read_end(op, e);
		return;
	}
	struct read *r = mem_alloc(sizeof *r);
	if (r == NULL || !enter(core)) {
		read_end(op, r == NULL ? ERR_NOMEM : ERR_STOPPING);
		mem_free(r);
		return;
	}
	r->op = op;
	r->partition = store_partition_hold(op->partition);
	r->in.reply_to = op->reply_to;
	r->in.done = on_read;
	r->in.part = op->partition->part;
	r->in.from = from;
	r->in.limit = limit;
	r->in.max_bytes = op->max_bytes;
	r->in.err = ERR_OK;
	r->in.out.n = 0;
	op->inner = r;
	volume_read(op->partition->shard->volume, &r->in);
	leave(core);
}

/* ---- seek ---------------------------------------------------------------- */

struct seek {
	struct volume_seek in;	/* first: found from its message */
	struct store_seek *op;
	struct store_partition *partition;	/* one reference */
};

static void on_seek(struct msg *m)
{
	struct seek *s = (struct seek *)m;
	struct store_seek *op = s->op;
	struct store_position at;
	store_partition_position(s->partition, &at);
	op->err = at.deleted ? ERR_NOT_FOUND : s->in.err;
	op->seq = s->in.seq > at.first_seq ? s->in.seq : at.first_seq;
	store_partition_drop(&s->partition);
	mem_free(s);
	op->inner = NULL;
	op->msg.run = op->done;
	op->done(&op->msg);
}

static enum volume_seek_by seek_by(enum store_seek_by by)
{
	switch (by) {
	case STORE_SEEK_APPEND_TIME:
		return VOLUME_SEEK_APPEND_TIME;
	case STORE_SEEK_TIMESTAMP:
		return VOLUME_SEEK_TIMESTAMP;
	case STORE_SEEK_MAX_TIMESTAMP:
		break;
	}
	return VOLUME_SEEK_MAX_TIMESTAMP;
}

static void seek_end(struct store_seek *op, enum err e)
{
	op->err = e;
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

void shard_core_seek(struct shard_core *core, struct store_seek *op)
{
	int64_t first;
	enum err e = limits(op->partition, &first, &op->seq);
	op->inner = NULL;
	if (e != ERR_OK || op->seq == first) {
		seek_end(op, e);
		return;
	}
	struct seek *s = MEM_NEW(struct seek);
	if (s == NULL || !enter(core)) {
		seek_end(op, s == NULL ? ERR_NOMEM : ERR_STOPPING);
		mem_free(s);
		return;
	}
	s->op = op;
	s->partition = store_partition_hold(op->partition);
	s->in = (struct volume_seek){
		.reply_to = op->reply_to,
		.done = on_seek,
		.part = op->partition->part,
		.by = seek_by(op->by),
		.after_ms = op->after_ms,
		.inclusive = op->inclusive,
		.limit = op->seq,
		.seq = op->seq,
	};
	op->inner = s;
	volume_seek(op->partition->shard->volume, &s->in);
	leave(core);
}
