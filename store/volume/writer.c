#include "store/volume/volume_priv.h"

#include <assert.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

/* The writer: takes what is queued, writes it in one transaction, syncs, makes
 * it visible to readers, answers. Only this thread changes the active segment. */

enum {
	/* Pages that LMDB copies and frees in one commit, beside the records. */
	COMMIT_OVERHEAD = 64 << 10,
	/* Less room than this on the disk after a failed write means: it is full. */
	DISK_IS_FULL = 1 << 20,
};

/* What one transaction holds: the messages first..last. */
struct group {
	struct msg *first;
	struct msg *last;
	uint32_t entries;
	uint32_t batches;
	uint64_t bytes;		/* of records */
	uint64_t cost;		/* of the file, at most */
};

/* Kinds of messages, told apart by their run function; never run. */
static void is_entry(struct msg *m)
{
	(void)m;
}
static void is_hard_state(struct msg *m)
{
	(void)m;
}
static void is_stop(struct msg *m)
{
	(void)m;
}
static void is_roll(struct msg *m)
{
	(void)m;
}
static void is_raise(struct msg *m)
{
	(void)m;
}

/* writer_raise on its caller's stack, who waits for is_done. */
struct raise {
	struct msg msg;
	const struct log_start *starts;
	struct lock lock;
	struct cond cond;
	bool is_done;
};

static struct volume_entry *entry_of(struct msg *m)
{
	return m->run == is_entry ? (struct volume_entry *)(void *)m : NULL;
}
static struct volume_hard_state_op *hard_state_of(struct msg *m)
{
	return m->run == is_hard_state ? (struct volume_hard_state_op *)(void *)m : NULL;
}
_Static_assert(offsetof(struct volume_entry, msg) == 0, "entry_of relies on it");
_Static_assert(offsetof(struct volume_hard_state_op, msg) == 0, "hard_state_of relies on it");
_Static_assert(offsetof(struct volume_roll, msg) == 0, "run_alone relies on it");
_Static_assert(offsetof(struct raise, msg) == 0, "run_alone relies on it");

/* Those that are no part of a group. */
static bool is_alone(const struct msg *m)
{
	return m->run == is_stop || m->run == is_roll || m->run == is_raise;
}

void volume_append(struct volume *v, struct volume_entry *e)
{
	assert(v->magic == VOLUME_MAGIC);
	assert(e->shard < v->options.shards);
	e->msg.run = is_entry;
	mailbox_post(&v->writer_box, &e->msg);
}

void volume_set_hard_state(struct volume *v, struct volume_hard_state_op *op)
{
	assert(v->magic == VOLUME_MAGIC);
	assert(op->state.shard < v->options.shards);
	op->msg.run = is_hard_state;
	mailbox_post(&v->writer_box, &op->msg);
}

void volume_roll(struct volume *v, struct volume_roll *r)
{
	assert(v->magic == VOLUME_MAGIC);
	r->err = ERR_OK;
	r->msg.run = is_roll;
	mailbox_post(&v->writer_box, &r->msg);
}

void writer_raise(struct volume *v, const struct log_start *starts)
{
	struct raise op = {.msg = {.run = is_raise}, .starts = starts};
	assert(v->magic == VOLUME_MAGIC);
	lock_init(&op.lock);
	cond_init(&op.cond);
	mailbox_post(&v->writer_box, &op.msg);
	lock_take(&op.lock);
	while (!op.is_done) {
		cond_wait(&op.cond, &op.lock);
	}
	lock_give(&op.lock);
	cond_fini(&op.cond);
	lock_fini(&op.lock);
}

void writer_post_stop(struct volume *v)
{
	v->writer_stop.run = is_stop;
	mailbox_post(&v->writer_box, &v->writer_stop);
}

/* A failed write or sync is never retried: the kernel may have dropped the pages
 * and report success the second time. */
static void die(const struct volume *v, const struct err_detail *d)
{
	struct statvfs fs;
	uint64_t left = UINT64_MAX;
	if (statvfs(v->dir, &fs) == 0) {
		left = (uint64_t)fs.f_bavail * fs.f_frsize;
	}
	log_fatal("VOLUME-WRITE-FAILED", "dir=%s reason=%s disk=%s", v->dir, log_quote(d->text),
		  left < DISK_IS_FULL ? "full" : "not-full");
}

/* ---- making a group ------------------------------------------------------ */

/* What only a bug of the caller can break, before anything is written: a record
 * that contradicts the log would make the volume unreadable for good. */
static void check_entry(struct volume *v, const struct volume_entry *e)
{
	uint64_t *next = &v->next_index[e->shard];
	assert(e->index > 0);
	assert(*next == 0 || e->index == *next);
	*next = e->index + 1;
	/* Others may make entries of the table too. */
	lock_take(&v->lock);
	for (uint32_t i = 0; i < e->n_commands; i++) {
		const struct volume_command *c = &e->commands[i];
		struct table_part *p = c->kind == VOLUME_BATCH ? table_find(&v->table, c->part)
								: NULL;
		if (p == NULL) {
			continue;
		}
		assert(c->base_seq >= p->planned_seq);
		assert(c->append_ms >= p->planned_ms);
		p->planned_seq = c->base_seq + c->count;
		p->planned_ms = c->append_ms;
	}
	lock_give(&v->lock);
}

static uint64_t message_size(struct msg *m)
{
	const struct volume_entry *e = entry_of(m);
	if (e == NULL) {
		return RECORD_HARD_STATE_SIZE;
	}
	uint64_t size = volume_entry_size(e->commands, e->n_commands);
	assert(size != UINT64_MAX);
	return size;
}

/* Cuts the next group off the pending list: at least one message, then as many
 * as stay within a transaction's bound. */
static bool cut_group(struct volume *v, struct group *g)
{
	*g = (struct group){.first = v->pending};
	while (v->pending != NULL && !is_alone(v->pending)) {
		struct msg *m = v->pending;
		uint64_t size = message_size(m);
		if (g->last != NULL && g->bytes + size > v->options.commit_max_bytes) {
			break;
		}
		const struct volume_entry *e = entry_of(m);
		if (e != NULL) {
			check_entry(v, e);
			g->entries++;
		}
		g->bytes += size;
		g->cost += segment_cost(size);
		g->last = m;
		v->pending = m->next;
	}
	if (g->last == NULL) {
		return false;
	}
	g->last->next = NULL;
	return true;
}

static void take_posted(struct volume *v)
{
	struct msg *m = v->pending == NULL ? mailbox_wait(&v->writer_box, INT64_MAX)
					   : mailbox_take(&v->writer_box);
	if (m == NULL) {
		return;
	}
	if (v->pending == NULL) {
		v->pending = m;
	} else {
		v->pending_last->next = m;
	}
	while (m->next != NULL) {
		m = m->next;
	}
	v->pending_last = m;
}

/* ---- writing it ---------------------------------------------------------- */

static enum err write_message(struct volume *v, MDB_txn *txn, struct msg *m, uint64_t log_no,
			      struct err_detail *d)
{
	uint8_t *p;
	struct volume_entry *e = entry_of(m);
	size_t size = (size_t)message_size(m);
	enum err err = env_reserve(v->active->env, txn, log_no, size, &p, d);
	if (err != ERR_OK) {
		return err;
	}
	if (e != NULL) {
		e->log_no = log_no;
		record_write_entry(e, log_no, p, size);
	} else {
		record_write_hard_state(&hard_state_of(m)->state, log_no, p);
	}
	return ERR_OK;
}

static void write_group(struct volume *v, struct group *g)
{
	int64_t start_ns = clock_mono_ns();
	struct err_detail d = {0};
	MDB_txn *txn;
	enum err e = env_write_begin(v->active->env, &txn, &d);
	for (struct msg *m = g->first; e == ERR_OK && m != NULL; m = m->next) {
		e = write_message(v, txn, m, v->next_log_no++, &d);
	}
	if (e == ERR_OK) {
		e = env_commit(v->active->env, txn, &d);
	}
	if (e != ERR_OK) {
		die(v, &d);
	}
	v->used_bytes = env_used_bytes(v->active->env);
	v->active_is_fresh = false;
	hist_add(metric_commit_latency(), (uint64_t)(clock_mono_ns() - start_ns));
	hist_add(metric_commit_bytes(), g->bytes);
}

static void roll(struct volume *v)
{
	struct segment *full = v->active;
	struct err_detail d = {0};
	if (segment_create(v, &d) != ERR_OK) {
		die(v, &d);
	}
	lock_take(&v->lock);
	full->next_log_no = v->active->first_log_no;
	full->state = SEGMENT_CLOSED;
	lock_give(&v->lock);
	sealer_post(full);
}

/* ---- making it visible, answering ---------------------------------------- */

static enum err publish_entry_locked(struct volume *v, const struct volume_entry *e, uint32_t *batches)
{
	struct segment *s = v->active;
	struct index_raft row = {.index = e->index, .term = e->term, .log_no = e->log_no};
	for (uint32_t i = 0; i < e->n_commands; i++) {
		const struct volume_command *c = &e->commands[i];
		if (c->kind != VOLUME_BATCH) {
			row.has_commands = true;
			continue;
		}
		(*batches)++;
		struct volume_range r = {
			.part = c->part,
			.first_seq = c->base_seq,
			.next_seq = c->base_seq + c->count,
			.last_append_ms = c->append_ms,
			.max_timestamp_ms = c->max_timestamp_ms,
			.bytes = c->payload.n,
		};
		enum err err = index_add_batch(s->index, e->shard, e->log_no, c);
		if (err == ERR_OK) {
			err = table_add_part(&v->table, s->at, e->shard, &r);
		}
		if (err != ERR_OK) {
			return err;
		}
	}
	enum err err = index_add_raft(s->index, e->shard, &row);
	if (err == ERR_OK) {
		err = table_add_raft(&v->table, s->at, e->shard, e->index, e->index, e->term);
	}
	return err;
}

static void publish_group(struct volume *v, struct group *g)
{
	for (struct msg *m = g->first; m != NULL; m = m->next) {
		const struct volume_entry *e = entry_of(m);
		enum err err = ERR_OK;
		/* Taken for each entry anew, so that readers get their turn. */
		lock_take(&v->lock);
		if (e != NULL) {
			err = publish_entry_locked(v, e, &g->batches);
		} else {
			const struct volume_hard_state *h = &hard_state_of(m)->state;
			index_set_hard_state(v->active->index, h);
			v->table.shards[h->shard].info.hard = *h;
		}
		segment_set_bytes_locked(v->active, v->used_bytes);
		lock_give(&v->lock);
		assert(err != ERR_CORRUPT);
		if (err != ERR_OK) {
			/* Durable, but this process could not serve it. */
			log_fatal("VOLUME-INDEX-FAILED", "dir=%s reason=\"%s\"", v->dir,
				  err_text(err));
		}
	}
	metric_inc(METRIC_STORE_COMMITS);
	metric_add(METRIC_STORE_ENTRIES, g->entries);
	metric_add(METRIC_STORE_BATCHES, g->batches);
	metric_add(METRIC_STORE_BYTES, (int64_t)g->bytes);
}

/* From here the operations are their owners' again. One post for each run of the
 * same mailbox, so that it is woken once. */
static void answer_group(struct group *g)
{
	struct msg *m = g->first;
	while (m != NULL) {
		struct msg *first = m;
		struct msg *last = NULL;
		struct mailbox *to = NULL;
		while (m != NULL) {
			struct volume_entry *e = entry_of(m);
			struct mailbox *box = e != NULL ? e->reply_to : hard_state_of(m)->reply_to;
			if (last != NULL && box != to) {
				break;
			}
			m->run = e != NULL ? e->done
					   : ((struct volume_hard_state_op *)(void *)m)->done;
			to = box;
			last = m;
			m = m->next;
		}
		mailbox_post_list(to, first, last);
	}
}

/* ---- messages of their own ------------------------------------------------ */

/* The hard states with a later log start, as one transaction. Written to the active
 * segment whatever its size: the map has room for it. */
static void raise_log_starts(struct volume *v, const struct log_start *starts)
{
	struct err_detail d = {0};
	MDB_txn *txn;
	enum err e = env_write_begin(v->active->env, &txn, &d);
	for (uint32_t i = 0; e == ERR_OK && i < v->options.shards; i++) {
		struct volume_hard_state h = v->table.shards[i].info.hard;
		uint8_t *p;
		if (starts[i].index <= h.log_start) {
			continue;
		}
		h.log_start = starts[i].index;
		h.start_term = starts[i].term;
		uint64_t log_no = v->next_log_no++;
		e = env_reserve(v->active->env, txn, log_no, RECORD_HARD_STATE_SIZE, &p, &d);
		if (e == ERR_OK) {
			record_write_hard_state(&h, log_no, p);
		}
	}
	if (e == ERR_OK) {
		e = env_commit(v->active->env, txn, &d);
	}
	if (e != ERR_OK) {
		die(v, &d);
	}
	v->used_bytes = env_used_bytes(v->active->env);
	v->active_is_fresh = false;
	lock_take(&v->lock);
	for (uint32_t i = 0; i < v->options.shards; i++) {
		struct volume_hard_state *h = &v->table.shards[i].info.hard;
		if (starts[i].index > h->log_start) {
			h->log_start = starts[i].index;
			h->start_term = starts[i].term;
			index_set_hard_state(v->active->index, h);
		}
	}
	segment_set_bytes_locked(v->active, v->used_bytes);
	lock_give(&v->lock);
}

static void answer_raise(struct volume *v, struct raise *op)
{
	bool is_needed = false;
	for (uint32_t i = 0; i < v->options.shards; i++) {
		is_needed = is_needed ||
			    op->starts[i].index > v->table.shards[i].info.hard.log_start;
	}
	if (is_needed) {
		raise_log_starts(v, op->starts);
	}
	lock_take(&op->lock);
	op->is_done = true;
	cond_signal(&op->cond);
	lock_give(&op->lock);	/* op is gone from here on */
}

/* A roll may leave out an active segment that holds its head only: the one before it
 * tells the same hard states, unless the cleaner removed it. */
static bool is_needless(struct volume *v)
{
	bool has_previous = false;
	lock_take(&v->lock);
	for (size_t i = 0; i < v->n_segments; i++) {
		const struct segment *s = v->segments[i];
		has_previous = has_previous || (s != NULL && !s->is_cleaned &&
						s->number + 1 == v->active->number);
	}
	lock_give(&v->lock);
	return v->active_is_fresh && (has_previous || v->active->number == 1);
}

/* Runs the first pending message when it is one that is no part of a group. */
static bool run_alone(struct volume *v)
{
	struct msg *m = v->pending;
	if (m == NULL || m->run == is_stop || !is_alone(m)) {
		return false;
	}
	v->pending = m->next;
	m->next = NULL;
	if (m->run == is_raise) {
		/* When nothing is appended for long, it would grow by these alone. */
		if (!v->active_is_fresh && v->used_bytes > v->options.segment_max_bytes) {
			roll(v);
		}
		answer_raise(v, (struct raise *)(void *)m);
		return true;
	}
	if (!is_needless(v)) {
		roll(v);
	}
	struct volume_roll *r = (struct volume_roll *)(void *)m;
	r->end = v->active->number;
	sealer_post_roll(v, r);
	return true;
}

void *writer_main(void *arg)
{
	struct volume *v = arg;
	assert(v->magic == VOLUME_MAGIC);
	ASSERT_THREAD(ROLE_VOLUME_WRITER);
	struct group g;
	do {
		take_posted(v);
		if (run_alone(v) || !cut_group(v, &g)) {
			continue;
		}
		if (!v->active_is_fresh && v->used_bytes + g.cost + COMMIT_OVERHEAD >
						   v->options.segment_max_bytes) {
			roll(v);
		}
		write_group(v, &g);
		publish_group(v, &g);
		answer_group(&g);
	} while (v->pending == NULL || v->pending->run != is_stop);
	return NULL;
}
