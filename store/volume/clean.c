#include "store/volume/clean.h"

#include <assert.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/metrics.h"

enum {
	DEAD_AT_ONCE = 64,	/* segments removed by one write of the MANIFEST */
	LOOK_AT_ONCE = 1024,	/* segments looked at under one hold of the lock */
	PACE_SLACK_NS = 20000000,	/* shorter waits are put together */
};
static const int64_t ns_per_s = 1000000000;
static const int64_t ns_per_ms = 1000000;

/* ---- waiting ------------------------------------------------------------------- */

static bool is_stopping(const struct cleaner *c)
{
	return atomic_load(&c->volume->is_stopping);
}

/* Until then, or a stop; work that is asked for meanwhile does not end it. */
static void wait_until(struct cleaner *c, int64_t deadline_ns)
{
	struct volume *v = c->volume;
	lock_take(&v->lock);
	while (!v->has_stopped && cond_wait_until(&v->wake, &v->lock, deadline_ns)) {
	}
	lock_give(&v->lock);
}

enum err cleaner_pace(struct cleaner *c, uint64_t bytes)
{
	int64_t now_ns = clock_mono_ns();
	double seconds = (double)bytes / (double)c->volume->options.clean_rate;
	c->due_ns = (c->due_ns > now_ns ? c->due_ns : now_ns) + (int64_t)(seconds * 1e9);
	if (c->due_ns - now_ns > PACE_SLACK_NS) {
		wait_until(c, c->due_ns);
	}
	return is_stopping(c) ? ERR_STOPPING : ERR_OK;
}

enum err cleaner_wait_pins(struct cleaner *c)
{
	struct volume *v = c->volume;
	lock_take(&v->lock);
	while (v->pins > 0 && !v->has_stopped) {
		/* The last volume_unpin wakes; looked at now and then besides. */
		(void)cond_wait_until(&v->wake, &v->lock, clock_mono_ns() + ns_per_s);
	}
	lock_give(&v->lock);
	return is_stopping(c) ? ERR_STOPPING : ERR_OK;
}

/* Until there may be something to do; false: the end. */
static bool wait_for_work(struct cleaner *c)
{
	struct volume *v = c->volume;
	int64_t deadline_ns = clock_mono_ns() + v->options.clean_pause_ms * ns_per_ms;
	lock_take(&v->lock);
	while (!v->has_stopped && !v->has_work &&
	       cond_wait_until(&v->wake, &v->lock, deadline_ns)) {
	}
	v->has_work = false;
	lock_give(&v->lock);
	return !is_stopping(c);
}

void cleaner_wake(struct volume *v)
{
	assert(v->magic == VOLUME_MAGIC);
	lock_take(&v->lock);
	v->has_work = true;
	cond_broadcast(&v->wake);
	lock_give(&v->lock);
}

/* ---- segments ---------------------------------------------------------------------- */

bool cleaner_may_read_locked(const struct segment *s)
{
	return s->state == SEGMENT_SEALED && !s->is_damaged && !s->is_kept && !s->is_removed &&
	       !s->is_new && !s->is_posted;
}

/* Of a damaged one too, when it is known what it had and that none of it is needed. One
 * that is lost stays, so that it is told of. */
static bool may_go_locked(const struct segment *s)
{
	return s->state == SEGMENT_SEALED && !s->is_kept && !s->is_removed && !s->is_new &&
	       !s->is_posted && s->next_log_no > 0;
}

static void keep(struct segment *s)
{
	struct volume *v = s->volume;
	lock_take(&v->lock);
	bool is_news = !s->is_kept;
	s->is_kept = true;
	lock_give(&v->lock);
	if (is_news) {
		log_error("SEGMENT-KEPT", "segment=%s reason=\"what is in it cannot be copied\"",
			  segment_name(s).text);
	}
}

enum err cleaner_read_failed(struct cleaner *c, struct segment *s, enum err e)
{
	bool is_unreadable = e == ERR_CORRUPT || e == ERR_IO || e == ERR_NOT_FOUND ||
			     e == ERR_VERSION;
	if (!is_unreadable || c->must_end) {
		return e;
	}
	keep(s);
	return ERR_CORRUPT;
}

/* What the log start is taken from: the last row of each shard. */
static enum err read_raft(const struct segment *s)
{
	char path[SEGMENT_PATH];
	struct idx_head head;
	int fd;
	segment_file(s, ".idx", path);
	enum err e = idx_open(path, &head, &fd, NULL);
	if (e != ERR_OK) {
		return e;
	}
	struct idx_reader r;
	idx_reader_init(&r, fd, &head);
	for (uint32_t i = 0; e == ERR_OK && i < head.shards; i++) {
		struct idx_shard sh;
		struct index_raft row;
		e = idx_shard_at(&r, i, &sh);
		if (e == ERR_OK && sh.n_rows > 0) {
			e = idx_raft_at(&r, sh.first_row + sh.n_rows - 1, &row);
		}
	}
	close(fd);
	return e;
}

/* Makes a damaged index anew, or keeps the segment. Whether it did either. */
static bool mend(struct segment *s)
{
	struct err_detail d = {0};
	if (read_raft(s) == ERR_OK) {
		return false;
	}
	enum err e = segment_hold(s, &d);
	if (e == ERR_OK) {
		/* Opening it may have made the index anew already. */
		e = read_raft(s) != ERR_OK ? segment_repair_idx(s, ENV_BACKGROUND, &d) : ERR_OK;
		segment_drop(s);
	}
	if (e != ERR_OK) {
		keep(s);
	}
	return true;
}

enum err cleaner_raise(struct cleaner *c, struct segment *const *gone, size_t n_gone,
		       struct err_detail *d)
{
	enum err e = volume_raise_log_start(c->volume, gone, n_gone, d);
	if (e != ERR_CORRUPT && e != ERR_IO && e != ERR_NOT_FOUND && e != ERR_VERSION) {
		return e;
	}
	bool is_any = false;
	for (size_t i = 0; i < n_gone; i++) {
		is_any = mend(gone[i]) || is_any;
	}
	return is_any ? ERR_CORRUPT : ERR_INTERNAL;
}

/* Nothing but the cleaner takes segments away, so the lock is given up now and then. */
static size_t find_dead(struct volume *v, struct segment *dead[DEAD_AT_ONCE], uint64_t *bytes)
{
	size_t n = 0;
	size_t i = 0;
	bool is_more = true;
	*bytes = 0;
	while (is_more && n < DEAD_AT_ONCE) {
		lock_take(&v->lock);
		size_t end = i + LOOK_AT_ONCE < v->n_segments ? i + LOOK_AT_ONCE : v->n_segments;
		for (; i < end && n < DEAD_AT_ONCE; i++) {
			struct segment *s = v->segments[i];
			if (s != NULL && s->n_extents == 0 && may_go_locked(s) &&
			    segment_is_below_floor_locked(s)) {
				dead[n++] = s;
				*bytes += s->file_bytes;
			}
		}
		is_more = i < v->n_segments;
		lock_give(&v->lock);
	}
	return n;
}

enum err cleaner_remove_dead(struct cleaner *c, struct err_detail *d)
{
	struct volume *v = c->volume;
	struct segment *dead[DEAD_AT_ONCE];
	uint64_t bytes;
	size_t n;
	enum err e = ERR_OK;
	while (e == ERR_OK && (n = find_dead(v, dead, &bytes)) > 0) {
		e = is_stopping(c) ? ERR_STOPPING : cleaner_raise(c, dead, n, d);
		while (e == ERR_OK) {
			e = segment_replace(v, NULL, NULL, NULL, 0, dead, n, d);
			c->must_end = e == ERR_IO;
			if (e != ERR_BUSY) {
				break;
			}
			e = cleaner_wait_pins(c);
		}
		if (e == ERR_CORRUPT) {
			e = ERR_OK;
			continue;
		}
		if (e == ERR_OK) {
			metric_add(METRIC_STORE_REMOVED_BYTES, (int64_t)bytes);
			log_debug("SEGMENTS-REMOVED", "dir=%s segments=%zu bytes=%llu", v->dir, n,
				  (unsigned long long)bytes);
		}
	}
	return e;
}

/* ---- rounds -------------------------------------------------------------------------- */

static enum err clean(struct cleaner *c, struct err_detail *d)
{
	for (;;) {
		struct clean_plan plan;
		enum err e = clean_plan_make(c, &plan, d);
		bool is_nothing = e == ERR_OK && plan.n_sources == 0;
		uint64_t gone = plan.file_bytes;
		if (e == ERR_OK && !is_nothing) {
			e = clean_plan_run(c, &plan, d);
			if (e == ERR_OK) {
				metric_add(METRIC_STORE_REMOVED_BYTES, (int64_t)gone);
			}
		}
		clean_plan_fini(&plan);
		if (e == ERR_OK && !is_nothing) {
			/* What costs nothing to remove does not wait for all that is copied. */
			e = cleaner_remove_dead(c, d);
		}
		/* Damaged: the segment is kept, and not planned with again. */
		if (is_nothing || (e != ERR_OK && e != ERR_CORRUPT)) {
			return e;
		}
	}
}

enum err cleaner_round(struct cleaner *c, struct err_detail *d)
{
	enum err e = cleaner_wait_pins(c);
	if (e == ERR_OK) {
		e = cleaner_remove_dead(c, d);
	}
	if (e == ERR_OK) {
		e = clean(c, d);
	}
	if (e == ERR_OK && c->volume->options.compactor != NULL &&
	    clock_mono_ns() >= c->compact_ns) {
		e = compact_round(c, d);
		c->compact_ns = clock_mono_ns() + c->volume->options.clean_pause_ms * ns_per_ms;
	}
	if (e == ERR_OK || (e == ERR_FULL && !c->must_end)) {
		/* What was compacted before the disk was full makes room. */
		struct err_detail own = {0};
		enum err removed = cleaner_remove_dead(c, e == ERR_OK ? d : &own);
		e = e == ERR_OK || c->must_end ? removed : e;
	}
	return e;
}

void cleaner_begin(struct cleaner *c, struct volume *v)
{
	*c = (struct cleaner){.volume = v};
	crypto_random(c->secret, sizeof c->secret);
}

void *cleaner_main(void *arg)
{
	struct volume *v = arg;
	struct cleaner c;
	assert(v->magic == VOLUME_MAGIC);
	ASSERT_THREAD(ROLE_BACKGROUND);
	cleaner_begin(&c, v);
	while (wait_for_work(&c)) {
		struct err_detail d = {0};
		enum err e = cleaner_round(&c, &d);
		if (c.must_end) {
			/* As for the log: a failed write or sync is never retried. */
			log_fatal("VOLUME-WRITE-FAILED", "dir=%s reason=%s", v->dir,
				  log_quote(d.text));
		}
		if (e != ERR_OK && e != ERR_STOPPING) {
			log_limited(LOG_WARN, "CLEANING-DEFERRED", "dir=%s reason=%s", v->dir,
				    log_quote(d.text[0] != '\0' ? d.text : err_text(e)));
		}
		lock_take(&v->lock);
		v->clean_rounds++;
		lock_give(&v->lock);
	}
	return NULL;
}
