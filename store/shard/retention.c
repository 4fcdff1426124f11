/* Retention: what is older or more than its hub keeps is trimmed.
 *
 * A partition with something to come waits in a heap by the time its oldest event
 * is due; what nobody knows yet counts as due. A look takes those that are due off
 * the heap, a few at a time, and asks the volume's readers where to cut; the answer
 * becomes a row (start.c). Whoever had its turn rests until the next look, so that
 * busy partitions share the readers. A partition of which nothing is due costs
 * nothing: a look ends at the first one that is not. */

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"

/* ---- the clock ----------------------------------------------------------------- */

static void believe_core(struct shard_core *core, int64_t offset_ms, const char *what)
{
	struct shard_retention *h = &core->retention;
	if (h->doubt_until_ms != 0) {
		log_warn("STORE-CLOCK", "ahead_ms=%lld %s",
			 (long long)(offset_ms - h->offset_ms), what);
	}
	h->doubt_until_ms = 0;
	h->offset_ms = offset_ms;
	h->has_offset = true;
}

/* What has gone is gone for good. So a wall clock that is suddenly ahead of the time that
 * has passed is not believed at once: somebody may set it back. */
void shard_retention_clock_core(struct shard_core *core)
{
	struct shard_retention *h = &core->retention;
	if (h->doubt_ms <= 0) {
		h->now_ms = core->now_ms;
		return;
	}
	int64_t mono_ms = clock_mono_ms();
	int64_t offset_ms = core->now_ms - mono_ms;
	if (!h->has_offset || offset_ms <= h->offset_ms + SHARD_CLOCK_STEP_MS) {
		believe_core(core, offset_ms, "the clock is as it was before");
	} else if (h->doubt_until_ms == 0) {
		h->doubt_until_ms = mono_ms + h->doubt_ms;
		log_warn("STORE-CLOCK", "ahead_ms=%lld doubt_ms=%lld the clock was set ahead: so long "
			 "nothing more is deleted for its age",
			 (long long)(offset_ms - h->offset_ms), (long long)h->doubt_ms);
	} else if (mono_ms >= h->doubt_until_ms) {
		believe_core(core, offset_ms, "the clock is believed");
	}
	h->now_ms = mono_ms + h->offset_ms;
}

/* ---- when a partition is due -------------------------------------------------- */

static bool is_empty(const struct store_partition *p)
{
	return p->position.first_seq == p->position.next_seq;
}

static bool has_too_much(const struct store_partition *p)
{
	const struct shard_retained *r = &p->retained;
	return r->keep_bytes > 0 && p->position.bytes > r->keep_bytes &&
	       p->position.next_seq != r->stuck_seq;
}

/* The wall clock after which the partition is to be cut; INT64_MAX: never. */
static int64_t due_ms(const struct store_partition *p)
{
	const struct shard_retained *r = &p->retained;
	if (p->is_gone || is_empty(p) || p->shard->volume == NULL) {
		return INT64_MAX;
	}
	if (r->is_rough || has_too_much(p)) {
		return INT64_MIN;
	}
	if (r->keep_ms == 0) {
		return INT64_MAX;
	}
	if (r->oldest_ms == SHARD_OLDEST_UNKNOWN) {
		return INT64_MIN;
	}
	int64_t due;
	return __builtin_add_overflow(r->oldest_ms, r->keep_ms, &due) ? INT64_MAX : due;
}

/* ---- the heap: places count from 1 ------------------------------------------- */

static void heap_set(struct shard_retention *h, size_t place, struct store_partition *p)
{
	h->heap[place - 1] = p;
	p->retained.place = place;
}

static void heap_up(struct shard_retention *h, struct store_partition *p)
{
	size_t place = p->retained.place;
	while (place > 1 && h->heap[place / 2 - 1]->retained.due_ms > p->retained.due_ms) {
		heap_set(h, place, h->heap[place / 2 - 1]);
		place /= 2;
	}
	heap_set(h, place, p);
}

static void heap_down(struct shard_retention *h, struct store_partition *p)
{
	size_t place = p->retained.place;
	while (place * 2 <= h->n) {
		size_t below = place * 2;
		if (below < h->n &&
		    h->heap[below]->retained.due_ms < h->heap[below - 1]->retained.due_ms) {
			below++;
		}
		if (h->heap[below - 1]->retained.due_ms >= p->retained.due_ms) {
			break;
		}
		heap_set(h, place, h->heap[below - 1]);
		place = below;
	}
	heap_set(h, place, p);
}

static void heap_remove(struct shard_retention *h, struct store_partition *p)
{
	size_t place = p->retained.place;
	struct store_partition *last = h->heap[--h->n];
	p->retained.place = 0;
	p->retained.due_ms = INT64_MAX;
	if (last != p) {
		heap_set(h, place, last);
		heap_up(h, last);
		heap_down(h, last);
	}
}

bool shard_retention_room(struct shard_core *core, size_t more)
{
	struct shard_retention *h = &core->retention;
	void *heap = h->heap;
	bool ok = mem_grow(&heap, &h->cap, h->n_partitions + more, sizeof(void *));
	h->heap = heap;
	return ok;
}

/* ---- changes of a partition ----------------------------------------------------- */

/* Something that decides when it is due is not as it was. */
static void look_core(struct store_partition *p)
{
	struct shard_core *core = p->shard->core;
	struct shard_retention *h = &core->retention;
	struct shard_retained *r = &p->retained;
	if (r->is_busy) {
		return;	/* looked at when that ends */
	}
	int64_t due = due_ms(p);
	if (due == INT64_MAX) {
		if (r->place > 0) {
			heap_remove(h, p);
		}
		return;
	}
	if (r->place == 0) {
		assert(h->n < h->cap);
		heap_set(h, ++h->n, p);
	} else if (r->due_ms == due) {
		return;
	}
	r->due_ms = due;
	heap_up(h, p);
	heap_down(h, p);
	if (h->check_ns == INT64_MAX) {
		h->check_ns = clock_mono_ns() + h->period_ns;
	}
}

void shard_retention_keep_core(struct store_partition *p, int64_t keep_ms, uint64_t keep_bytes)
{
	struct shard_retained *r = &p->retained;
	if (r->keep_ms != keep_ms || r->keep_bytes != keep_bytes) {
		r->keep_ms = keep_ms;
		r->keep_bytes = keep_bytes;
		r->stuck_seq = -1;
		r->rest_ns = 0;
		look_core(p);
		p->shard->core->retention.check_ns = 0;	/* at once */
		p->shard->core->retention.look_ns = 0;
	}
}

void shard_retention_published_core(struct store_partition *p, int64_t append_ms, size_t bytes)
{
	struct shard_retained *r = &p->retained;
	r->appended += bytes;
	bool is_first = r->oldest_ms == SHARD_OLDEST_NONE;
	if (is_first) {
		r->oldest_ms = append_ms;
	}
	if (is_first || (r->due_ms != INT64_MIN && has_too_much(p))) {
		look_core(p);
	}
}

void shard_retention_started_core(struct store_partition *p, bool is_rough)
{
	struct shard_retained *r = &p->retained;
	r->is_rough = is_rough && !is_empty(p);
	r->oldest_ms = !is_empty(p) ? SHARD_OLDEST_UNKNOWN : SHARD_OLDEST_NONE;
	look_core(p);
}

void shard_retention_forget_core(struct store_partition *p)
{
	if (p->retained.place > 0) {
		heap_remove(&p->shard->core->retention, p);
	}
}

/* ---- rest ------------------------------------------------------------------ */

static void rest_core(struct store_partition *p, int64_t until_ns)
{
	struct shard_retention *h = &p->shard->core->retention;
	struct shard_retained *r = &p->retained;
	assert(r->is_busy);
	r->rest_ns = until_ns;
	r->next_resting = h->resting;
	h->resting = store_partition_hold(p);
	if (h->check_ns == INT64_MAX) {
		h->check_ns = clock_mono_ns() + h->period_ns;
	}
}

/* A portion of those whose rest began before this look. */
static void wake_core(struct shard_retention *h, int64_t now_ns)
{
	for (uint32_t i = 0; i < SHARD_RETENTION_WAKE && h->waking != NULL; i++) {
		struct store_partition *p = h->waking;
		h->waking = p->retained.next_resting;
		if (p->retained.rest_ns > now_ns) {
			p->retained.next_resting = h->resting;
			h->resting = p;
			continue;
		}
		p->retained.is_busy = false;
		look_core(p);
		store_partition_drop(&p);
	}
}

static int64_t retry_ns(void)
{
	return clock_mono_ns() + (int64_t)SHARD_RETENTION_RETRY_MS * 1000000;
}

/* ---- cuts -------------------------------------------------------------------- */

/* The volume counted, up to the cut's limit. */
static void learn_core(struct store_partition *p, const struct shard_cut_result *cut)
{
	struct shard_retained *r = &p->retained;
	if (p->is_gone || p->position.first_seq != cut->seq || !cut->is_counted) {
		return;	/* or trimmed further since then: the next one counts */
	}
	shard_partition_bytes_core(p, cut->bytes + (r->appended - cut->appended));
	r->is_rough = false;
	r->oldest_ms = cut->first_ms != INT64_MAX ? cut->first_ms
		       : is_empty(p)		  ? SHARD_OLDEST_NONE
						  : SHARD_OLDEST_UNKNOWN;
	r->stuck_seq = r->keep_bytes > 0 && cut->bytes > r->keep_bytes ? cut->limit : -1;
}

/* An entry of events of very different age, as the cleaner makes them, tells the
 * oldest one's, which may be below the start: the next one's is not known. The volume
 * is asked again after a part of the time by which that one is overdue. */
static int64_t rest_ns(const struct shard_cut_result *cut)
{
	if (cut->first_ms >= cut->before_ms || !cut->is_counted) {
		return 0;
	}
	int64_t ms = (cut->before_ms - cut->first_ms) / SHARD_RETENTION_OVERDUE;
	ms = ms < SHARD_RETENTION_RETRY_MS ? ms : SHARD_RETENTION_RETRY_MS;
	return clock_mono_ns() + ms * 1000000;
}

void shard_retention_trimmed_core(struct store_partition *p, const struct shard_cut_result *cut,
				  enum err e)
{
	if (e == ERR_OK) {
		learn_core(p, cut);
	}
	rest_core(p, e == ERR_OK ? rest_ns(cut) : retry_ns());
}

static void cut_core(struct shard_core *core);

static struct shard_cut_result result_of(const struct shard_cut *cut)
{
	return (struct shard_cut_result){
		.seq = cut->in.seq,
		.limit = cut->in.limit,
		.first_ms = cut->in.first_ms,
		.before_ms = cut->in.before_ms,
		.bytes = cut->in.bytes,
		.appended = cut->appended,
		.is_counted = true,
	};
}

static bool is_out_of_date(const struct shard_cut *cut, const struct store_partition *p)
{
	return cut->keep_ms != p->retained.keep_ms || cut->keep_bytes != p->retained.keep_bytes;
}

static void end_core(struct store_partition *p, const struct shard_cut_result *result)
{
	if (result->seq <= p->position.first_seq) {
		learn_core(p, result);
		rest_core(p, rest_ns(result));
	} else if (!shard_trim_core(p, result)) {
		rest_core(p, retry_ns());
	}
}

/* The answer is none. */
static void fail_core(struct store_partition *p, enum err e)
{
	if (e == ERR_OK || e == ERR_BUSY) {
		rest_core(p, 0);	/* asked again, with what is kept now */
		return;
	}
	log_limited(LOG_WARN, "STORE-RETENTION", "hub=%u partition=%u error=%s tried again later",
		    p->part.hub_id, p->part.partition, log_quote(err_text(e)));
	rest_core(p, retry_ns());
}

/* The place is free again. False: nobody is interested any more. */
static bool take_back_core(struct shard_cut *cut, struct store_partition **p)
{
	struct shard_core *core = cut->partition->shard->core;
	ASSERT_THREAD(ROLE_SHARD_CORE);
	*p = cut->partition;
	cut->partition = NULL;
	core->retention.n_out--;
	return !(*p)->is_gone && !core->is_stopping;
}

/* Where in an entry of old and new events the new ones begin. */
static void on_sought(struct msg *m)
{
	size_t at = offsetof(struct shard_cut, within);
	struct shard_cut *cut = (struct shard_cut *)(void *)((char *)m - at);
	struct shard_cut_result result = result_of(cut);
	struct store_partition *p;
	if (take_back_core(cut, &p)) {
		if (cut->within.err != ERR_OK || is_out_of_date(cut, p)) {
			fail_core(p, cut->within.err);
		} else {
			result.is_counted = cut->within.seq <= result.seq;
			result.seq = result.is_counted ? result.seq : cut->within.seq;
			end_core(p, &result);
		}
		cut_core(p->shard->core);
	}
	store_partition_drop(&p);
}

static void seek_core(struct shard_cut *cut, struct store_partition *p)
{
	cut->partition = p;
	p->shard->core->retention.n_out++;
	cut->within = (struct volume_seek){
		.reply_to = &p->shard->core->mailbox,
		.done = on_sought,
		.part = p->part,
		.by = VOLUME_SEEK_APPEND_TIME,
		.after_ms = cut->in.before_ms,
		.inclusive = true,
		.limit = cut->in.limit,
	};
	volume_seek(p->shard->volume, &cut->within);
}

static void on_cut(struct msg *m)
{
	struct shard_cut *cut = (struct shard_cut *)m;
	struct store_partition *p;
	if (take_back_core(cut, &p)) {
		const struct shard_cut_result result = result_of(cut);
		if (cut->in.err != ERR_OK || is_out_of_date(cut, p)) {
			fail_core(p, cut->in.err);
		} else if (result.first_ms < result.before_ms) {
			seek_core(cut, p);
			return;
		} else {
			end_core(p, &result);
		}
		cut_core(p->shard->core);
	}
	store_partition_drop(&p);
}

static void ask_core(struct shard_cut *cut, struct store_partition *p)
{
	struct shard_core *core = p->shard->core;
	struct shard_retained *r = &p->retained;
	heap_remove(&core->retention, p);
	r->is_busy = true;
	cut->partition = store_partition_hold(p);
	cut->appended = r->appended;
	cut->keep_ms = r->keep_ms;
	cut->keep_bytes = r->keep_bytes;
	cut->in = (struct volume_cut){
		.reply_to = &core->mailbox,
		.done = on_cut,
		.part = p->part,
		.limit = p->position.next_seq,
		.before_ms = r->keep_ms > 0 ? core->retention.now_ms - r->keep_ms : INT64_MIN,
		.keep_bytes = r->keep_bytes > 0 ? r->keep_bytes : UINT64_MAX,
	};
	core->retention.n_out++;
	volume_cut(p->shard->volume, &cut->in);
}

/* Asks for those that are due, as far as there are places. */
static void cut_core(struct shard_core *core)
{
	struct shard_retention *h = &core->retention;
	for (uint32_t i = 0; i < SHARD_RETENTION_CUTS && h->n > 0; i++) {
		struct store_partition *p = h->heap[0];
		if (p->retained.due_ms >= h->now_ms) {
			return;
		}
		if (h->cuts[i].partition == NULL) {
			ask_core(&h->cuts[i], p);
		}
	}
}

/* ---- looks ------------------------------------------------------------------- */

void shard_retention_init(struct shard_core *core, int64_t check_ms, int64_t doubt_ms)
{
	struct shard_retention *h = &core->retention;
	check_ms = check_ms > 0 ? check_ms : SHARD_RETENTION_CHECK_MS;
	/* A quarter is left for the cut itself. */
	h->period_ns = check_ms * 750000;
	h->check_ns = INT64_MAX;
	h->doubt_ms = doubt_ms;
}

void shard_retention_check_core(struct shard_core *core, int64_t now_ns)
{
	struct shard_retention *h = &core->retention;
	if (h->waking == NULL && now_ns >= h->look_ns) {
		h->waking = h->resting;
		h->resting = NULL;
		h->look_ns = now_ns + h->period_ns;
	}
	h->check_ns = h->look_ns;
	wake_core(h, now_ns);
	cut_core(core);
	if (h->waking != NULL) {
		h->check_ns = now_ns + (int64_t)SHARD_RETENTION_PAUSE_MS * 1000000;
	} else if (h->n == 0 && h->resting == NULL) {
		h->check_ns = INT64_MAX;
	}
}

static void drop_all(struct store_partition *p)
{
	while (p != NULL) {
		struct store_partition *next = p->retained.next_resting;
		store_partition_drop(&p);
		p = next;
	}
}

void shard_retention_fini(struct shard_core *core)
{
	struct shard_retention *h = &core->retention;
	assert(h->n_out == 0);
	drop_all(h->resting);
	drop_all(h->waking);
	mem_free(h->heap);
	*h = (struct shard_retention){0};
}
