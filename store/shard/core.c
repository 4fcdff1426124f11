/* The shard core's thread: rounds of a mailbox, then proposals, then timers. */

#include <sched.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"

/* ---- answers ------------------------------------------------------------- */

void shard_replies_flush_core(struct shard_core *core)
{
	struct shard_replies *r = &core->replies;
	for (uint32_t i = 0; i < r->n; i++) {
		mailbox_post_list(r->v[i].to, r->v[i].first, r->v[i].last);
	}
	r->n = 0;
}

void shard_reply_core(struct shard_core *core, struct mailbox *to, struct msg *m, msg_fn *run)
{
	struct shard_replies *r = &core->replies;
	m->run = run;
	m->next = NULL;
	for (uint32_t i = 0; i < r->n; i++) {
		if (r->v[i].to == to) {
			r->v[i].last->next = m;
			r->v[i].last = m;
			return;
		}
	}
	if (r->n == SHARD_REPLY_CHAINS) {
		shard_replies_flush_core(core);
	}
	r->v[r->n].to = to;
	r->v[r->n].first = m;
	r->v[r->n].last = m;
	r->n++;
}

/* ---- rounds -------------------------------------------------------------- */

void shard_ready_core(struct shard *s)
{
	if (!s->is_ready) {
		s->is_ready = true;
		s->next_ready = s->core->ready;
		s->core->ready = s;
	}
}

static void run_round_core(struct msg *m)
{
	while (m != NULL) {
		struct msg *next = m->next;
		__builtin_prefetch(next);
		m->next = NULL;
		m->run(m);
		m = next;
	}
}

static void propose_core(struct shard_core *core)
{
	struct shard *s = core->ready;
	core->ready = NULL;
	while (s != NULL) {
		struct shard *next = s->next_ready;
		s->is_ready = false;
		shard_propose_core(s);
		s = next;
	}
}

/* ---- the thread ---------------------------------------------------------- */

static void on_close(struct msg *m)
{
	struct shard_core *core =
		(struct shard_core *)(void *)((char *)m - offsetof(struct shard_core, close_msg));
	core->is_stopping = true;
}

static void on_end(struct msg *m)
{
	struct shard_core *core =
		(struct shard_core *)(void *)((char *)m - offsetof(struct shard_core, end_msg));
	core->is_ended = true;
}

static bool is_quiet_core(const struct shard_core *core)
{
	for (uint32_t i = 0; core->n_in_flight == 0 && i < core->n_shards; i++) {
		if (shard_has_pending_core(&core->shards[i])) {
			return false;
		}
	}
	return core->n_in_flight == 0 && core->retention.n_out == 0;
}

static void close_partitions_core(struct shard_core *core)
{
	for (size_t i = 0; i < core->registry.n; i++) {
		const struct shard_registry_hub *h = &core->registry.v[i];
		for (uint32_t k = 0; k < h->n; k++) {
			shard_partition_close_core(h->parts[k], ERR_STOPPING);
		}
	}
}

/* Nothing waits any more: the last things that need the volume or the state. The
 * saver's answers bring it here again until the state is written. */
static void close_core(struct shard_core *core)
{
	if (!core->is_drained) {
		close_partitions_core(core);
		shard_replies_flush_core(core);
		core->is_drained = true;
	}
	if (shard_save_finish_core(core)) {
		atomic_store(&core->is_closed, true);
		mailbox_post(&core->starter, &core->close_msg);
	}
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When a timer is due. */
static int64_t deadline_core(const struct shard_core *core)
{
	if (core->is_stopping) {
		return INT64_MAX;
	}
	return earlier(earlier(core->saver.save_ns, core->retention.check_ns),
		       earlier(core->disk_check_ns, core->expire_ns));
}

static void timers_core(struct shard_core *core)
{
	int64_t now_ns = clock_mono_ns();
	if (core->is_stopping) {
		return;
	}
	if (now_ns >= core->disk_check_ns) {
		core->disk_check_ns = shard_disks_check_core(core, now_ns);
	}
	if (now_ns >= core->retention.check_ns) {
		shard_retention_check_core(core, now_ns);
	}
	if (now_ns >= core->expire_ns) {
		core->expire_ns = shard_producers_expire_core(core, now_ns);
	}
	if (now_ns >= core->saver.save_ns) {
		shard_save_core(core, now_ns);
	}
}

static void *core_main(void *arg)
{
	struct shard_core *core = arg;
	while (!core->is_ended) {
		struct msg *m = mailbox_wait(&core->mailbox, deadline_core(core));
		core->now_ms = clock_wall_ms();
		shard_retention_clock_core(core);
		run_round_core(m);
		shard_replies_flush_core(core);
		propose_core(core);
		shard_replies_flush_core(core);
		timers_core(core);
		if (core->is_stopping && !atomic_load(&core->is_closed) && is_quiet_core(core)) {
			close_core(core);
		}
	}
	return NULL;
}

/* ---- life ---------------------------------------------------------------- */

enum err shard_core_new(const struct shard_options *o, struct shard_core **out,
			struct err_detail *d)
{
	struct shard_core *core = MEM_NEW(struct shard_core);
	if (core == NULL) {
		return err_set(d, ERR_NOMEM, "no memory for the shard core");
	}
	mailbox_init(&core->mailbox, NULL, NULL);
	mailbox_init(&core->starter, NULL, NULL);
	mailbox_init(&core->saver.box, NULL, NULL);
	lock_init(&core->lock);
	assert(o->n_volumes > 0 && o->n_volumes <= LIMIT_VOLUMES);
	assert(o->volumes[0] != NULL);
	for (uint32_t i = 0; i < o->n_volumes; i++) {
		core->volumes[i] = o->volumes[i];
		core->dirs[i] = o->dirs[i];
	}
	core->n_volumes = o->n_volumes;
	core->state = o->state;
	core->exports = o->exports;
	core->saver.exporter.interval_ns =
		(o->export_interval_ms > 0 ? o->export_interval_ms : SHARD_EXPORT_INTERVAL_MS) *
		1000000;
	memcpy(core->store_uuid, o->store_uuid, sizeof core->store_uuid);
	core->n_shards = o->shards;
	core->node_id = o->node_id;
	core->cache.max = o->cache_bytes != 0 ? o->cache_bytes : SHARD_CACHE_DEFAULT;
	shard_disks_init(core, o);
	shard_retention_init(core, o->retention_check_ms, o->clock_doubt_ms);
	core->producer_expiry_ms =
		o->producer_expiry_ms > 0 ? o->producer_expiry_ms : SHARD_PRODUCER_EXPIRY_MS;
	core->shards = mem_calloc(o->shards, sizeof *core->shards);
	enum err e = ERR_NOMEM;
	if (core->shards == NULL) {
		err_set(d, e, "no memory for %u shards", o->shards);
		goto fail;
	}
	for (uint32_t i = 0; i < o->shards; i++) {
		core->shards[i].core = core;
		core->shards[i].disk = &core->disks[i % core->n_volumes];
		core->shards[i].volume = core->shards[i].disk->volume;
		core->shards[i].number = i;
		core->shards[i].is_unsaved = true;
	}
	e = shard_recover(core, d);
	if (e != ERR_OK) {
		goto fail;
	}
	*out = core;
	return ERR_OK;
fail:
	shard_core_free(&core);
	return e;
}

enum err shard_core_start(struct shard_core *core, struct err_detail *d)
{
	enum err e = shard_found(core, d);
	if (e != ERR_OK) {
		return e;
	}
	int64_t now_ns = clock_mono_ns();
	shard_save_plan_core(core, now_ns);
	core->disk_check_ns = shard_disks_check_core(core, now_ns);
	e = shard_saver_start(core);
	if (e != ERR_OK) {
		return err_set(d, e, "cannot start the saver thread");
	}
	e = thread_start(&core->thread, ROLE_SHARD_CORE, "shard-core", core_main, core);
	if (e != ERR_OK) {
		shard_saver_stop(core);
		return err_set(d, e, "cannot start the shard core thread");
	}
	core->is_started = true;
	return ERR_OK;
}

void shard_core_close(struct shard_core *core)
{
	if (!core->is_started || core->was_closed) {
		return;
	}
	core->was_closed = true;
	core->close_msg.run = on_close;
	mailbox_post(&core->mailbox, &core->close_msg);
	struct msg *m = mailbox_wait(&core->starter, INT64_MAX);
	assert(m == &core->close_msg);
	(void)m;
	shard_saver_stop(core);
	while (atomic_load(&core->n_entering) > 0) {
		sched_yield();
	}
}

void shard_core_free(struct shard_core **cp)
{
	struct shard_core *core = *cp;
	*cp = NULL;
	if (core == NULL) {
		return;
	}
	if (core->is_started) {
		assert(core->was_closed);
		core->end_msg.run = on_end;
		mailbox_post(&core->mailbox, &core->end_msg);
		thread_join(core->thread);
	}
	shard_cache_fini(core);
	shard_retention_fini(core);
	shard_change_fini(&core->change);
	shard_registry_fini(&core->registry);
	for (uint32_t i = 0; core->shards != NULL && i < core->n_shards; i++) {
		for (uint32_t k = 0; k < SHARD_IN_FLIGHT; k++) {
			mem_free(core->shards[i].entries[k].commands);
			mem_free(core->shards[i].entries[k].items);
		}
		shard_rows_fini(&core->shards[i].rows);
	}
	mem_free(core->shards);
	catalog_drop(&core->catalog);
	catalog_drop(&core->saver.saved);
	lock_fini(&core->lock);
	mailbox_fini(&core->mailbox);
	mailbox_fini(&core->starter);
	mailbox_fini(&core->saver.box);
	mem_free(core);
}

/* ---- any thread ---------------------------------------------------------- */

const struct catalog *shard_core_catalog(struct shard_core *core)
{
	lock_take(&core->lock);
	const struct catalog *c = catalog_hold(core->catalog);
	lock_give(&core->lock);
	return c;
}

struct store_partition *shard_core_partition(struct shard_core *core, struct store_part part)
{
	lock_take(&core->lock);
	struct store_partition *p = shard_registry_find(&core->registry, part);
	if (p != NULL) {
		store_partition_hold(p);
	}
	lock_give(&core->lock);
	return p;
}

void shard_core_append(struct shard_core *core, struct store_append *op)
{
	op->msg.run = shard_on_append;
	mailbox_post(&core->mailbox, &op->msg);
}

void shard_core_command(struct shard_core *core, struct store_command *op)
{
	op->inner = core;
	op->msg.run = shard_on_command;
	mailbox_post(&core->mailbox, &op->msg);
}
