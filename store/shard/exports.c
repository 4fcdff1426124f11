/* Exports of the state: when one is made, who waits for it, and what the volumes may
 * forget afterwards. A pass that takes every index goes before it, so it has all that
 * was applied when the pass began; the saver's thread writes it, between two jobs. */

#include "base/clock.h"
#include "base/log.h"
#include "store/shard/shard_priv.h"

static bool are_made(const struct shard_core *core)
{
	return core->exports != NULL && core->state != NULL;
}

/* ---- what the newest one has ---------------------------------------------------- */

/* The volumes may clean the log that the state needs in no case any more. */
static void tell_floors_core(struct shard_core *core)
{
	for (uint32_t i = 0; i < core->n_shards; i++) {
		struct shard *s = &core->shards[i];
		if (s->volume != NULL) {
			volume_set_floor(s->volume, i, exports_floor(core->exports, i));
		}
	}
}

static void take_indexes_core(struct shard_core *core)
{
	const struct export_info *newest = &core->exports->v[0];
	for (uint32_t i = 0; i < core->n_shards; i++) {
		core->shards[i].exported_index =
			newest->is_sound ? newest->shards[i].applied_index : 0;
	}
}

static bool has_moved_core(const struct shard_core *core)
{
	for (uint32_t i = 0; i < core->n_shards; i++) {
		const struct shard *s = &core->shards[i];
		if (s->volume != NULL && s->applied_index != s->exported_index) {
			return true;
		}
	}
	return false;
}

/* ---- who waits for it ------------------------------------------------------------ */

static void answer_all(struct shard_export **list, enum err e)
{
	while (*list != NULL) {
		struct shard_export *op = *list;
		*list = op->next;
		op->next = NULL;
		op->err = e;
		op->msg.run = op->done;
		mailbox_post(op->reply_to, &op->msg);
	}
}

static void end_core(struct shard_core *core, enum err e, int64_t pause_ns)
{
	struct shard_exporter *x = &core->saver.exporter;
	x->is_in_pass = false;
	answer_all(&x->taken, e);
	x->next_ns = clock_mono_ns() + pause_ns;
}

void shard_exports_fail_core(struct shard_core *core, enum err e)
{
	struct shard_exporter *x = &core->saver.exporter;
	if (x->is_in_pass) {
		end_core(core, e, x->interval_ns);
	}
}

/* ---- when ------------------------------------------------------------------------ */

void shard_exports_plan_core(struct shard_core *core, int64_t now_ns)
{
	struct shard_exporter *x = &core->saver.exporter;
	x->next_ns = INT64_MAX;
	if (are_made(core)) {
		x->next_ns = now_ns + x->interval_ns;
		take_indexes_core(core);
		tell_floors_core(core);
	}
}

int64_t shard_exports_time_core(const struct shard_core *core, int64_t now_ns)
{
	const struct shard_exporter *x = &core->saver.exporter;
	return x->waiting != NULL ? now_ns : x->next_ns;
}

bool shard_exports_begin_core(struct shard_core *core, int64_t now_ns)
{
	struct shard_exporter *x = &core->saver.exporter;
	assert(!x->is_in_pass);
	if (!are_made(core) || (x->waiting == NULL && now_ns < x->next_ns)) {
		return false;
	}
	if (x->waiting == NULL && !has_moved_core(core)) {
		x->next_ns = now_ns + x->interval_ns;
		return false;
	}
	x->is_in_pass = true;
	x->taken = x->waiting;
	x->waiting = NULL;
	return true;
}

bool shard_exports_post_core(struct shard_core *core)
{
	struct shard_exporter *x = &core->saver.exporter;
	if (!x->is_in_pass) {
		return false;
	}
	x->is_out = true;
	shard_saver_post_export_core(core);
	return true;
}

/* ---- its end --------------------------------------------------------------------- */

static void tell(const struct shard_core *core)
{
	const struct shard_exporter *x = &core->saver.exporter;
	const struct export_info *newest = &core->exports->v[0];
	if (x->err == ERR_OK) {
		log_debug("STORE-EXPORT", "number=%llu bytes=%llu ms=%lld",
			  (unsigned long long)newest->number, (unsigned long long)newest->size,
			  (long long)(x->took_ns / 1000000));
	} else if (x->err == ERR_CORRUPT) {
		log_error("STORE-EXPORT-DAMAGED",
			  "error=%s the next start makes the state anew from an earlier export",
			  log_quote(x->detail.text));
	} else {
		log_warn("STORE-EXPORT-LATER", "error=%s the state is exported later",
			 log_quote(x->detail.text));
	}
}

void shard_on_exported(struct msg *m)
{
	enum { SHARE = 10 };	/* exports take at most one part of so many of the time */
	size_t at = offsetof(struct shard_core, saver.exporter);
	struct shard_core *core = (struct shard_core *)(void *)((char *)m - at);
	struct shard_exporter *x = &core->saver.exporter;
	ASSERT_THREAD(ROLE_SHARD_CORE);
	assert(x->is_out && core->saver.is_out);
	x->is_out = false;
	core->saver.is_out = false;
	tell(core);
	if (x->err == ERR_OK) {
		take_indexes_core(core);
		tell_floors_core(core);
	}
	int64_t least_ns = SHARE * x->took_ns;
	end_core(core, x->err, least_ns > x->interval_ns ? least_ns : x->interval_ns);
	shard_save_go_on_core(core);
}

void shard_exports_stop_core(struct shard_core *core)
{
	struct shard_exporter *x = &core->saver.exporter;
	answer_all(&x->waiting, ERR_STOPPING);
	if (!x->is_out) {
		shard_exports_fail_core(core, ERR_STOPPING);
	}
}

/* ---- asked for ------------------------------------------------------------------- */

void shard_on_export(struct msg *m)
{
	struct shard_export *op = (struct shard_export *)m;
	struct shard_core *core = op->inner;
	op->inner = NULL;
	op->next = NULL;
	if (core->is_stopping || !are_made(core)) {
		answer_all(&op, core->is_stopping ? ERR_STOPPING : ERR_INVALID);
		return;
	}
	struct shard_exporter *x = &core->saver.exporter;
	op->next = x->waiting;
	x->waiting = op;
	if (!core->saver.is_out) {
		shard_save_core(core, clock_mono_ns());
	}
}

void shard_core_export(struct shard_core *core, struct shard_export *op)
{
	op->inner = core;
	op->msg.run = shard_on_export;
	mailbox_post(&core->mailbox, &op->msg);
}
