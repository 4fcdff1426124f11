#include "test/lib/fake_volume.h"

#include <assert.h>
#include <stdlib.h>

#include "base/batch.h"
#include "base/lock.h"
#include "base/mem.h"
#include "store/volume/volume.h"

struct kept {
	struct volume_command command;	/* payload and key point into buf */
	struct buf *buf;
	uint32_t shard;
	uint64_t term;
	uint64_t index;
	bool is_joined;
};

struct volume {
	struct mailbox box;
	pthread_t thread;
	bool is_started;
	bool is_stopping;	/* writer thread only */
	struct msg stop;
	uint32_t shards;

	struct lock lock;
	struct cond changed;
	bool is_held;
	bool discard;
	struct fake_counts counts;
	uint64_t *last_index;	/* per shard */
	struct kept *kept;
	size_t cap;
	size_t n;
	struct fake_part *told;	/* of each partition something was said about */
	size_t told_cap;
	size_t n_told;
	uint64_t *floors;	/* per shard */
	uint64_t *log_starts;	/* per shard; 0: from the beginning */
	uint64_t disk_bytes;
	uint64_t cuts;
	enum err cut_err;
	bool is_cut_held;
	struct msg *held_cuts;
};

static const struct fake_part *find_told_locked(const struct volume *v, struct store_part part)
{
	for (size_t i = 0; i < v->n_told; i++) {
		if (store_part_key(v->told[i].part) == store_part_key(part)) {
			return &v->told[i];
		}
	}
	return NULL;
}

static int64_t fake_start_locked(const struct volume *v, struct store_part part)
{
	const struct fake_part *p = find_told_locked(v, part);
	return p != NULL ? p->start : 0;
}

struct volume *fake_volume_new(uint32_t shards)
{
	struct volume *v = MEM_NEW(struct volume);
	assert(v != NULL);
	mailbox_init(&v->box, NULL, NULL);
	lock_init(&v->lock);
	cond_init(&v->changed);
	v->shards = shards;
	v->last_index = mem_calloc(shards, sizeof *v->last_index);
	v->floors = mem_calloc(shards, sizeof *v->floors);
	v->log_starts = mem_calloc(shards, sizeof *v->log_starts);
	assert(v->last_index != NULL && v->floors != NULL && v->log_starts != NULL);
	return v;
}

void fake_volume_free(struct volume **vp)
{
	struct volume *v = *vp;
	*vp = NULL;
	assert(!v->is_started);
	for (size_t i = 0; i < v->n; i++) {
		buf_drop(&v->kept[i].buf);
	}
	mem_free(v->kept);
	free(v->told);
	mem_free(v->floors);
	mem_free(v->log_starts);
	mem_free(v->last_index);
	cond_fini(&v->changed);
	lock_fini(&v->lock);
	mailbox_fini(&v->box);
	mem_free(v);
}

static void set_held(struct volume *v, bool held)
{
	lock_take(&v->lock);
	v->is_held = held;
	cond_broadcast(&v->changed);
	lock_give(&v->lock);
}

void fake_volume_hold(struct volume *v)
{
	set_held(v, true);
}

void fake_volume_release(struct volume *v)
{
	set_held(v, false);
}

void fake_volume_wait(struct volume *v, uint64_t n)
{
	lock_take(&v->lock);
	while (v->counts.entries < n) {
		cond_wait(&v->changed, &v->lock);
	}
	lock_give(&v->lock);
}

void fake_volume_discard(struct volume *v, bool discard)
{
	v->discard = discard;
}

void fake_volume_counts(struct volume *v, struct fake_counts *out)
{
	lock_take(&v->lock);
	*out = v->counts;
	lock_give(&v->lock);
}

/* ---- writing ------------------------------------------------------------- */

static void keep_locked(struct volume *v, const struct volume_entry *e)
{
	void *kept = v->kept;
	bool ok = mem_grow(&kept, &v->cap, v->n + e->n_commands, sizeof *v->kept);
	assert(ok);
	v->kept = kept;
	for (uint32_t i = 0; i < e->n_commands; i++) {
		struct kept *k = &v->kept[v->n++];
		const struct volume_command *c = &e->commands[i];
		*k = (struct kept){.command = *c,
				   .buf = buf_new(c->payload.n + c->key.n),
				   .shard = e->shard,
				   .term = e->term,
				   .index = e->index};
		assert(k->buf != NULL);
		memcpy(k->buf->data, c->payload.p, c->payload.n);
		if (c->key.n > 0) {
			memcpy(k->buf->data + c->payload.n, c->key.p, c->key.n);
		}
		k->command.payload.p = k->buf->data;
		k->command.key.p = k->buf->data + c->payload.n;
		assert(c->kind != VOLUME_BATCH || batch_check(c->payload) == ERR_OK);
	}
}

static void on_entry(struct msg *m)
{
	struct volume_entry *e = (struct volume_entry *)m;
	/* The queue's owner is found beside the entry by the submitter. */
	struct volume *v = (struct volume *)(uintptr_t)e->log_no;
	uint64_t size = volume_entry_size(e->commands, e->n_commands);
	lock_take(&v->lock);
	while (v->is_held) {
		cond_wait(&v->changed, &v->lock);
	}
	assert(e->index == v->last_index[e->shard] + 1);
	v->last_index[e->shard] = e->index;
	v->counts.commands += e->n_commands;
	for (uint32_t i = 0; i < e->n_commands; i++) {
		v->counts.events += e->commands[i].count;
	}
	if (e->n_commands > v->counts.commands_max) {
		v->counts.commands_max = e->n_commands;
	}
	if (size > v->counts.size_max) {
		v->counts.size_max = size;
	}
	if (!v->discard) {
		keep_locked(v, e);
	}
	lock_give(&v->lock);
	e->msg.run = e->done;
	mailbox_post(e->reply_to, &e->msg);
}

void volume_append(struct volume *v, struct volume_entry *e)
{
	lock_take(&v->lock);
	v->counts.entries++;
	cond_broadcast(&v->changed);
	lock_give(&v->lock);
	e->log_no = (uint64_t)(uintptr_t)v;
	e->msg.run = on_entry;
	mailbox_post(&v->box, &e->msg);
}

static void on_stop(struct msg *m)
{
	struct volume *v = (struct volume *)(void *)((char *)m - offsetof(struct volume, stop));
	v->is_stopping = true;
}

static void *writer_main(void *arg)
{
	struct volume *v = arg;
	while (!v->is_stopping) {
		msg_run_all(mailbox_wait(&v->box, INT64_MAX));
	}
	return NULL;
}

enum err volume_start(struct volume *v, struct err_detail *d)
{
	(void)d;
	v->is_stopping = false;
	v->is_started = true;
	return thread_start(&v->thread, ROLE_VOLUME_WRITER, "fake-volume", writer_main, v);
}

void volume_stop(struct volume **vp)
{
	struct volume *v = *vp;
	*vp = NULL;
	if (v->is_started) {
		v->stop.run = on_stop;
		mailbox_post(&v->box, &v->stop);
		thread_join(v->thread);
		v->is_started = false;
	}
}

/* ---- recovery ------------------------------------------------------------ */

void volume_shard_info(struct volume *v, uint32_t shard, struct volume_shard_info *out)
{
	uint64_t last = v->last_index[shard];
	uint64_t start = v->log_starts[shard];
	*out = (struct volume_shard_info){
		.hard = {.shard = shard, .term = 1, .vote = 1, .log_start = start > 0 ? start : 1},
		.first_index = last > 0,
		.last_index = last,
		.last_term = last > 0,
	};
}

static bool is_first_of_part(const struct volume *v, size_t at)
{
	uint64_t key = store_part_key(v->kept[at].command.part);
	for (size_t i = 0; i < at; i++) {
		const struct volume_command *c = &v->kept[i].command;
		if (c->kind == VOLUME_BATCH && store_part_key(c->part) == key) {
			return false;
		}
	}
	return true;
}

bool volume_end_is_known(struct volume *v, struct store_part part)
{
	(void)v;
	(void)part;
	return true;
}

void volume_ranges(struct volume *v, volume_range_fn *fn, void *arg)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct volume_command *c = &v->kept[i].command;
		if (c->kind != VOLUME_BATCH || !is_first_of_part(v, i)) {
			continue;
		}
		struct volume_range r = {
			.part = c->part, .first_seq = c->base_seq, .next_seq = c->base_seq};
		for (size_t k = i; k < v->n; k++) {
			const struct volume_command *x = &v->kept[k].command;
			if (x->kind == VOLUME_BATCH &&
			    store_part_key(x->part) == store_part_key(c->part)) {
				assert(x->base_seq == r.next_seq);
				r.next_seq += x->count;
				r.last_append_ms = x->append_ms;
				r.bytes += x->payload.n;
			}
		}
		fn(arg, &r);
	}
}

enum err volume_replay(struct volume *v, uint32_t shard, uint64_t after, volume_replay_fn *fn,
		       void *arg, struct err_detail *d)
{
	(void)d;
	for (size_t i = 0; i < v->n; i++) {
		const struct kept *k = &v->kept[i];
		if (k->shard == shard && k->index > after && k->index >= v->log_starts[shard] &&
		    k->command.kind != VOLUME_BATCH) {
			enum err e = fn(arg, k->index, k->term, &k->command);
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	return ERR_OK;
}

/* ---- reading ------------------------------------------------------------- */

void volume_read(struct volume *v, struct volume_read *r)
{
	uint64_t bytes = 0;
	r->err = ERR_OK;
	r->out.n = 0;
	lock_take(&v->lock);
	for (size_t i = 0; i < v->n && r->out.n < STORE_READ_BATCHES; i++) {
		const struct volume_command *c = &v->kept[i].command;
		if (c->kind != VOLUME_BATCH || store_part_key(c->part) != store_part_key(r->part) ||
		    c->base_seq + c->count <= r->from || c->base_seq >= r->limit) {
			continue;
		}
		bytes += c->payload.n;
		if (r->out.n > 0 && bytes > r->max_bytes) {
			break;
		}
		r->out.v[r->out.n++] = (struct store_batch){
			.buf = buf_hold(v->kept[i].buf),
			.batch = c->payload,
			.key = c->key,
			.base_seq = c->base_seq,
			.count = (int32_t)c->count,
			.encoding = c->encoding,
			.append_ms = c->append_ms,
		};
	}
	lock_give(&v->lock);
	r->msg.run = r->done;
	mailbox_post(r->reply_to, &r->msg);
}

static bool is_batch_below(const struct volume_command *c, const struct volume_seek *s)
{
	return c->kind == VOLUME_BATCH && store_part_key(c->part) == store_part_key(s->part) &&
	       c->base_seq < s->limit;
}

static bool is_sought(const struct volume_command *c, const struct volume_seek *s,
		      int64_t greatest_ms)
{
	switch (s->by) {
	case VOLUME_SEEK_APPEND_TIME:
		return c->append_ms > s->after_ms || (s->inclusive && c->append_ms == s->after_ms);
	case VOLUME_SEEK_TIMESTAMP:
		return c->max_timestamp_ms >= s->after_ms;
	case VOLUME_SEEK_MAX_TIMESTAMP:
		break;
	}
	return c->max_timestamp_ms == greatest_ms;
}

void volume_seek(struct volume *v, struct volume_seek *s)
{
	s->err = ERR_OK;
	s->seq = s->limit;
	lock_take(&v->lock);
	int64_t greatest_ms = INT64_MIN;
	for (size_t i = 0; i < v->n; i++) {
		const struct volume_command *c = &v->kept[i].command;
		if (is_batch_below(c, s) && c->max_timestamp_ms > greatest_ms) {
			greatest_ms = c->max_timestamp_ms;
		}
	}
	for (size_t i = 0; i < v->n && s->seq == s->limit; i++) {
		const struct volume_command *c = &v->kept[i].command;
		if (is_batch_below(c, s) && is_sought(c, s, greatest_ms)) {
			s->seq = c->base_seq;
		}
	}
	lock_give(&v->lock);
	s->msg.run = s->done;
	mailbox_post(s->reply_to, &s->msg);
}

/* ---- cuts ------------------------------------------------------------------ */

/* Batches of one partition that one entry holds are one step. */
static bool is_same_entry(const struct kept *a, const struct kept *b)
{
	return a->shard == b->shard && (a->index == b->index || (a->is_joined && b->is_joined));
}

static bool is_in_cut_locked(const struct volume *v, size_t i, const struct volume_cut *c)
{
	const struct volume_command *x = &v->kept[i].command;
	return x->kind == VOLUME_BATCH && store_part_key(x->part) == store_part_key(c->part) &&
	       x->base_seq + x->count > fake_start_locked(v, c->part) && x->base_seq < c->limit;
}

static void cut_locked(struct volume *v, struct volume_cut *c)
{
	c->seq = fake_start_locked(v, c->part);
	c->first_ms = INT64_MAX;
	c->bytes = 0;
	int64_t end = c->seq;
	const struct kept *entry = NULL;	/* the oldest kept so far */
	/* From the newest on, until an entry is too old or too much. */
	uint64_t of_entry = 0;
	size_t i = v->n;
	while (i-- > 0) {
		if (!is_in_cut_locked(v, i, c)) {
			continue;
		}
		const struct kept *k = &v->kept[i];
		if (entry == NULL || !is_same_entry(k, entry)) {
			of_entry = 0;
			for (size_t j = i + 1; j-- > 0;) {
				if (is_in_cut_locked(v, j, c) && is_same_entry(&v->kept[j], k)) {
					of_entry += v->kept[j].command.payload.n;
				}
			}
			if (k->command.append_ms < c->before_ms ||
			    c->bytes + of_entry > c->keep_bytes) {
				end = k->command.base_seq + k->command.count;
				break;
			}
			entry = k;
		}
		c->bytes += k->command.payload.n;
		c->first_ms = k->command.append_ms;
	}
	/* An entry tells what it told as a whole. */
	for (i = v->n; entry != NULL && i-- > 0;) {
		const struct volume_command *x = &v->kept[i].command;
		if (x->kind == VOLUME_BATCH && is_same_entry(&v->kept[i], entry) &&
		    store_part_key(x->part) == store_part_key(c->part)) {
			c->first_ms = x->append_ms;
		}
	}
	c->seq = end > c->seq ? end : c->seq;
}

static void answer_cut_locked(struct volume *v, struct volume_cut *c)
{
	c->err = v->cut_err;
	cut_locked(v, c);
	c->msg.run = c->done;
	mailbox_post(c->reply_to, &c->msg);
}

void volume_cut(struct volume *v, struct volume_cut *c)
{
	lock_take(&v->lock);
	v->cuts++;
	bool is_held = v->is_cut_held;
	if (is_held) {
		c->msg.next = v->held_cuts;
		v->held_cuts = &c->msg;
	} else {
		answer_cut_locked(v, c);
	}
	lock_give(&v->lock);
}

void fake_volume_hold_cuts(struct volume *v, bool is_held)
{
	lock_take(&v->lock);
	v->is_cut_held = is_held;
	while (!is_held && v->held_cuts != NULL) {
		struct volume_cut *c = (struct volume_cut *)v->held_cuts;
		v->held_cuts = c->msg.next;
		answer_cut_locked(v, c);
	}
	lock_give(&v->lock);
}

/* ---- space ----------------------------------------------------------------- */

static struct fake_part *told_locked(struct volume *v, struct store_part part)
{
	struct fake_part *p = (struct fake_part *)(uintptr_t)find_told_locked(v, part);
	if (p != NULL) {
		return p;
	}
	if (v->n_told == v->told_cap) {
		/* Not by base/mem.h: the caller's faults are meant for the caller. */
		v->told_cap = v->told_cap * 2 + 16;
		v->told = realloc(v->told, v->told_cap * sizeof *v->told);
		assert(v->told != NULL);
	}
	v->told[v->n_told] = (struct fake_part){.part = part};
	return &v->told[v->n_told++];
}

void volume_set_start(struct volume *v, struct store_part part, int64_t first_seq)
{
	lock_take(&v->lock);
	struct fake_part *p = told_locked(v, part);
	p->start = first_seq > p->start ? first_seq : p->start;
	lock_give(&v->lock);
}

void volume_set_gone(struct volume *v, struct store_part part)
{
	lock_take(&v->lock);
	told_locked(v, part)->is_gone = true;
	lock_give(&v->lock);
}

void volume_set_compact(struct volume *v, struct store_part part, bool is_compacted)
{
	lock_take(&v->lock);
	told_locked(v, part)->is_compacted = is_compacted;
	lock_give(&v->lock);
}

void volume_set_floor(struct volume *v, uint32_t shard, uint64_t index)
{
	lock_take(&v->lock);
	assert(shard < v->shards);
	v->floors[shard] = index;
	lock_give(&v->lock);
}

uint64_t volume_disk_bytes(struct volume *v)
{
	lock_take(&v->lock);
	uint64_t bytes = v->disk_bytes;
	lock_give(&v->lock);
	return bytes;
}

void fake_volume_set_disk_bytes(struct volume *v, uint64_t bytes)
{
	lock_take(&v->lock);
	v->disk_bytes = bytes;
	lock_give(&v->lock);
}

void fake_volume_cut_log(struct volume *v, uint32_t shard, uint64_t log_start)
{
	lock_take(&v->lock);
	assert(log_start <= v->last_index[shard] + 1);
	v->log_starts[shard] = log_start;
	lock_give(&v->lock);
}

void fake_volume_fail_cuts(struct volume *v, enum err e)
{
	lock_take(&v->lock);
	v->cut_err = e;
	lock_give(&v->lock);
}

void fake_volume_join(struct volume *v)
{
	lock_take(&v->lock);
	for (size_t i = 0; i < v->n; i++) {
		v->kept[i].is_joined = true;
	}
	lock_give(&v->lock);
}

uint64_t fake_volume_cuts(struct volume *v)
{
	lock_take(&v->lock);
	uint64_t cuts = v->cuts;
	lock_give(&v->lock);
	return cuts;
}

struct fake_part fake_volume_told(struct volume *v, struct store_part part)
{
	lock_take(&v->lock);
	const struct fake_part *p = find_told_locked(v, part);
	struct fake_part out = p != NULL ? *p : (struct fake_part){.part = part};
	lock_give(&v->lock);
	return out;
}

uint64_t fake_volume_floor(struct volume *v, uint32_t shard)
{
	lock_take(&v->lock);
	uint64_t floor = v->floors[shard];
	lock_give(&v->lock);
	return floor;
}

void fake_volume_forget_told(struct volume *v)
{
	lock_take(&v->lock);
	v->n_told = 0;
	memset(v->floors, 0, v->shards * sizeof *v->floors);
	lock_give(&v->lock);
}

void fake_volume_clean(struct volume *v)
{
	lock_take(&v->lock);
	size_t n = 0;
	for (size_t i = 0; i < v->n; i++) {
		const struct volume_command *c = &v->kept[i].command;
		const struct fake_part *p = find_told_locked(v, c->part);
		bool is_dead = c->kind == VOLUME_BATCH && p != NULL &&
			       (p->is_gone || c->base_seq + c->count <= p->start);
		if (is_dead) {
			buf_drop(&v->kept[i].buf);
		} else {
			v->kept[n++] = v->kept[i];
		}
	}
	v->n = n;
	lock_give(&v->lock);
}
