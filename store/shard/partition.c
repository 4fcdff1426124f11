/* A partition: its positions, its watches, and reading what is cached. */

#include "base/mem.h"
#include "base/metrics.h"
#include "store/shard/shard_priv.h"

struct store_partition *shard_partition_new(struct shard *s, struct store_part part)
{
	struct store_partition *p = MEM_NEW(struct store_partition);
	if (p == NULL) {
		return NULL;
	}
	p->magic = PARTITION_MAGIC;
	atomic_init(&p->refs, 1);
	p->part = part;
	p->shard = s;
	p->position.max_timestamp_ms = INT64_MIN;
	p->position.is_offline = s->volume == NULL;
	p->retained.oldest_ms = SHARD_OLDEST_NONE;
	p->retained.stuck_seq = -1;
	lock_init(&p->lock);
	return p;
}

struct store_partition *store_partition_hold(struct store_partition *p)
{
	assert(p->magic == PARTITION_MAGIC);
	/* Relaxed: whoever holds a reference already sees the content. */
	unsigned old = atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	assert(old > 0);
	return p;
}

void store_partition_drop(struct store_partition **pp)
{
	struct store_partition *p = *pp;
	*pp = NULL;
	if (p == NULL) {
		return;
	}
	assert(p->magic == PARTITION_MAGIC);
	unsigned old = atomic_fetch_sub(&p->refs, 1);
	assert(old > 0);
	if (old > 1) {
		return;
	}
	assert(p->watches == NULL);
	assert(p->pending_first == NULL);
	assert(p->ring_n == 0);
	p->magic = 0;
	lock_fini(&p->lock);
	shard_producers_fini(&p->producers);
	mem_free(p->ring);
	mem_free(p);
}

void store_partition_position(struct store_partition *p, struct store_position *out)
{
	lock_take(&p->lock);
	*out = p->position;
	lock_give(&p->lock);
}

/* ---- cached batches ------------------------------------------------------ */

/* The last cached batch that begins at or before `from`, which is not before
 * the first one. */
static uint32_t find_locked(const struct store_partition *p, int64_t from)
{
	uint32_t lo = 0;
	uint32_t hi = p->ring_n;
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (shard_recent_at(p, mid)->base_seq <= from) {
			lo = mid;
		} else {
			hi = mid;
		}
	}
	return lo;
}

static enum err read_locked(const struct store_partition *p, int64_t from, uint32_t max_bytes,
			    struct store_batches *out)
{
	if (p->position.deleted) {
		return ERR_NOT_FOUND;
	}
	if (p->position.is_offline) {
		return ERR_OFFLINE;
	}
	from = from > p->position.first_seq ? from : p->position.first_seq;
	if (from >= p->position.next_seq) {
		return from == p->position.next_seq ? ERR_OK : ERR_RANGE;
	}
	if (p->ring_n == 0 || from < shard_recent_at(p, 0)->base_seq) {
		return ERR_AGAIN;
	}
	uint64_t bytes = 0;
	for (uint32_t i = find_locked(p, from); i < p->ring_n && out->n < STORE_READ_BATCHES; i++) {
		const struct shard_recent *r = shard_recent_at(p, i);
		bytes += r->len;
		if (out->n > 0 && bytes > max_bytes) {
			break;
		}
		out->v[out->n++] = (struct store_batch){
			.buf = buf_hold(r->buf),
			.batch = span_of(r->buf->data, r->len),
			.key = span_of(r->buf->data + r->len, r->key_len),
			.base_seq = r->base_seq,
			.count = (int32_t)r->count,
			.encoding = r->encoding,
			.append_ms = r->append_ms,
		};
	}
	return ERR_OK;
}

enum err store_read_recent(struct store_partition *p, int64_t from, uint32_t max_bytes,
			   struct store_batches *out)
{
	out->n = 0;
	lock_take(&p->lock);
	enum err e = read_locked(p, from, max_bytes, out);
	lock_give(&p->lock);
	if (out->n > 0) {
		metric_inc(METRIC_STORE_READS_CACHE);
	}
	return e;
}

/* ---- watches ------------------------------------------------------------- */

static void unlink_locked(struct store_watch *w)
{
	*w->link = w->next;
	if (w->next != NULL) {
		w->next->link = w->link;
	}
	w->next = NULL;
	w->link = NULL;
}

/* Does the watch end at once? */
static bool is_due_locked(const struct store_partition *p, struct store_watch *w)
{
	w->err = p->position.deleted	  ? ERR_NOT_FOUND
		 : p->is_stopping	  ? ERR_STOPPING
		 : p->position.is_offline ? ERR_OFFLINE
					  : ERR_OK;
	return w->err != ERR_OK || p->position.next_seq > w->seq;
}

void shard_core_watch(struct store_watch *w)
{
	struct store_partition *p = w->partition;
	w->next = NULL;
	w->link = NULL;
	w->msg.run = w->done;
	lock_take(&p->lock);
	bool is_due = is_due_locked(p, w);
	w->posted = is_due;
	if (!is_due) {
		w->next = p->watches;
		w->link = &p->watches;
		if (w->next != NULL) {
			w->next->link = &w->next;
		}
		p->watches = w;
	}
	lock_give(&p->lock);
	if (is_due) {
		mailbox_post(w->reply_to, &w->msg);
	}
}

bool store_unwatch(struct store_watch *w)
{
	struct store_partition *p = w->partition;
	lock_take(&p->lock);
	bool is_waiting = w->link != NULL;
	assert(is_waiting != w->posted);
	if (is_waiting) {
		unlink_locked(w);
	}
	lock_give(&p->lock);
	return is_waiting;
}

/* Takes the due watches out, chained by msg.next. */
static struct msg *due_locked(struct store_partition *p)
{
	struct msg *due = NULL;
	struct store_watch *next;
	for (struct store_watch *w = p->watches; w != NULL; w = next) {
		next = w->next;
		if (is_due_locked(p, w)) {
			unlink_locked(w);
			w->posted = true;
			w->msg.next = due;
			due = &w->msg;
		}
	}
	return due;
}

static void answer_core(struct shard_core *core, struct msg *due)
{
	while (due != NULL) {
		struct msg *next = due->next;
		struct store_watch *w = (struct store_watch *)due;
		shard_reply_core(core, w->reply_to, &w->msg, w->done);
		due = next;
	}
}

_Static_assert(offsetof(struct store_watch, msg) == 0, "found from its message");

/* ---- changes by the core ------------------------------------------------- */

void shard_partition_close_core(struct store_partition *p, enum err e)
{
	lock_take(&p->lock);
	if (e == ERR_NOT_FOUND) {
		p->position.deleted = true;
		p->is_gone = true;
	} else {
		p->is_stopping = true;
	}
	struct msg *due = due_locked(p);
	lock_give(&p->lock);
	answer_core(p->shard->core, due);
	if (p->is_gone) {
		shard_cache_forget_core(p->shard->core, p);
		/* Their rows go with the next sweep. */
		shard_producers_fini(&p->producers);
		shard_retention_forget_core(p);
	}
}

void shard_partition_publish_core(struct store_partition *p, struct shard_item *item,
				  const struct volume_command *c)
{
	struct shard_core *core = p->shard->core;
	if (p->position.next_seq != c->base_seq) {
		shard_cache_forget_core(core, p);	/* it has no gaps */
	}
	bool is_cached = !p->is_gone && shard_cache_room_core(core, p);
	if (!is_cached) {
		shard_cache_forget_core(core, p);
	}
	lock_take(&p->lock);
	assert(p->position.next_seq <= c->base_seq);
	if (is_cached) {
		p->ring_n++;
		*shard_recent_at(p, p->ring_n - 1) = (struct shard_recent){
			.buf = item->buf,
			.base_seq = c->base_seq,
			.append_ms = c->append_ms,
			.len = (uint32_t)c->payload.n,
			.key_len = item->key_len,
			.count = c->count,
			.encoding = c->encoding,
		};
	}
	p->position.next_seq = c->base_seq + c->count;
	p->position.last_enqueued_ms = c->append_ms;
	if (c->max_timestamp_ms > p->position.max_timestamp_ms) {
		p->position.max_timestamp_ms = c->max_timestamp_ms;
	}
	p->position.bytes += c->payload.n;
	struct msg *due = p->watches != NULL ? due_locked(p) : NULL;
	lock_give(&p->lock);
	if (is_cached) {
		item->buf = NULL;
		shard_cache_added_core(core, p);
	} else {
		buf_drop(&item->buf);
	}
	answer_core(core, due);
	shard_retention_published_core(p, c->append_ms, c->payload.n);
}

void shard_partition_bytes_core(struct store_partition *p, uint64_t bytes)
{
	lock_take(&p->lock);
	p->position.bytes = bytes;
	lock_give(&p->lock);
}

void shard_partition_start_core(struct store_partition *p, int64_t first_seq)
{
	assert(first_seq > p->position.first_seq);
	assert(first_seq <= p->position.next_seq);
	bool is_empty = first_seq == p->position.next_seq;
	lock_take(&p->lock);
	p->position.first_seq = first_seq;
	if (is_empty) {
		p->position.max_timestamp_ms = INT64_MIN;
	}
	lock_give(&p->lock);
	if (is_empty) {
		shard_partition_bytes_core(p, 0);
	}
	shard_cache_trim_core(p->shard->core, p, first_seq);
	shard_retention_started_core(p, true);
}
