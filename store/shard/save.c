/* What goes into the state file and when. It is a copy of what the log says, made
 * so that a start need not read the whole log; so it is written late, and at most
 * about once a second. A job is made between two rounds of the core thread, so a
 * shard's rows in it are as of exactly the applied index beside them. */

#include "base/clock.h"
#include "base/log.h"
#include "store/shard/shard_priv.h"

static int64_t after_ms(int64_t now_ns, int64_t ms)
{
	return now_ns + ms * 1000000;
}

/* ---- the catalogue -------------------------------------------------------- */

/* `e` says whether the content is whole. */
static void put_content(struct shard_job *j, enum err e, uint8_t kind, struct span key,
			struct str *content)
{
	if (e == ERR_OK) {
		shard_job_put(j, kind, key, span_of(content->p, content->len));
	} else {
		j->bad = true;
	}
	if (content->p != NULL) {
		explicit_bzero(content->p, content->len);
	}
	str_fini(content);
}

static void delete_gone(struct shard_core *core, struct shard_job *j)
{
	const struct catalog *saved = core->saver.saved;
	for (uint32_t i = 0; i < saved->n_hubs; i++) {
		uint32_t id = saved->hubs[i]->id;
		if (catalog_hub_by_id(core->catalog, id) == NULL) {
			uint8_t key[4];
			put_u32(key, id);
			shard_job_delete(j, CATALOG_ROW_HUB, span_of(key, sizeof key));
		}
	}
}

/* The rows that differ from what the state holds. */
static void add_catalog(struct shard_core *core, struct shard_job *j)
{
	const struct catalog *c = core->catalog;
	const struct catalog *saved = core->saver.saved;
	if (saved != NULL) {
		delete_gone(core, j);
	}
	struct str content = {0};
	enum err e = catalog_namespace_encode(c, &content);
	put_content(j, e, CATALOG_ROW_NAMESPACE, span_of(NULL, 0), &content);
	for (uint32_t i = 0; i < c->n_hubs && !j->bad; i++) {
		const struct catalog_hub *h = c->hubs[i];
		if (saved != NULL && catalog_hub_by_id(saved, h->id) == h) {
			continue;
		}
		uint8_t key[4];
		put_u32(key, h->id);
		e = catalog_row_encode(c, i, &content);
		put_content(j, e, CATALOG_ROW_HUB, span_of(key, sizeof key), &content);
	}
}

static bool is_catalog_changed(const struct shard *s)
{
	return s->number == 0 && s->core->saver.saved != s->core->catalog;
}

/* ---- a job ----------------------------------------------------------------- */

static void add_rows(const struct shard *s, struct shard_job *j)
{
	for (const struct shard_row *r = s->rows.dirty; r != NULL && !j->bad; r = r->next_dirty) {
		struct span key = span_of(r->key, r->key_len);
		if (r->is_deleted) {
			shard_job_delete(j, r->kind, key);
		} else {
			shard_job_put(j, r->kind, key, span_of(r->content, r->content_len));
		}
	}
}

/* Copies what changed of the shard; from then on it counts as saved, since what
 * changes later is written later. False: no memory, and the job is as before. */
static bool add_shard(struct shard *s, struct shard_job *j)
{
	struct shard_saver *saver = &s->core->saver;
	size_t before = j->len;
	shard_job_shard(j, s->number);
	if (s->is_unsaved) {
		shard_job_clear(j);
	}
	if (is_catalog_changed(s)) {
		add_catalog(s->core, j);
	}
	add_rows(s, j);
	shard_job_applied(j, s->applied_index, s->applied_term);
	if (j->bad) {
		j->len = before;
		j->bad = false;
		return false;
	}
	if (is_catalog_changed(s)) {
		catalog_drop(&saver->saved);
		saver->saved = catalog_hold(s->core->catalog);
	}
	shard_rows_saved_core(s);
	s->saved_index = s->applied_index;
	s->is_unsaved = false;
	s->is_in_job = true;
	return true;
}

static bool is_to_save(const struct shard *s)
{
	if (s->volume == NULL) {
		return false;	/* what the file has of it stays */
	}
	return s->is_unsaved || s->rows.dirty != NULL || is_catalog_changed(s) ||
	       (s->core->saver.has_indexes && s->saved_index != s->applied_index);
}

static void tell_later(const char *why)
{
	log_warn("STORE-STATE-LATER", "error=%s the state is written later", log_quote(why));
}

/* Goes on with the pass: makes the next job and hands it over. False: nothing was
 * left to do, or memory is short. */
static bool post_next_core(struct shard_core *core)
{
	struct shard_saver *saver = &core->saver;
	struct shard_job *j = &saver->job;
	assert(!saver->is_out);
	while (saver->next_shard < core->n_shards && j->len < SHARD_JOB_TARGET) {
		struct shard *s = &core->shards[saver->next_shard++];
		if (is_to_save(s) && !add_shard(s, j)) {
			tell_later(err_text(ERR_NOMEM));
			saver->next_shard = core->n_shards;
			saver->is_due = true;
			saver->is_short = true;
		}
	}
	if (j->len == 0) {
		shard_job_fini(j);
		return false;
	}
	saver->is_out = true;
	saver->is_last = core->is_drained;
	shard_saver_post_core(core);
	return true;
}

/* ---- passes ------------------------------------------------------------------ */

static void begin_pass_core(struct shard_core *core, int64_t now_ns, bool has_indexes)
{
	struct shard_saver *saver = &core->saver;
	saver->next_shard = 0;
	saver->is_due = false;
	saver->is_short = false;
	saver->has_indexes = has_indexes;
	if (has_indexes) {
		saver->index_ns = after_ms(now_ns, SHARD_STATE_IDLE_MS);
	}
	saver->save_ns = saver->index_ns;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When what changed is written: late, and later when writing failed. */
static int64_t changed_ms(const struct shard_saver *saver)
{
	uint32_t n = saver->n_failures > 0 ? saver->n_failures - 1 : 0;
	n = n < SHARD_STATE_RETRY_DOUBLINGS ? n : SHARD_STATE_RETRY_DOUBLINGS;
	return (int64_t)SHARD_STATE_CHANGED_MS << n;
}

/* When the next pass begins. */
static void plan_core(struct shard_core *core, int64_t now_ns)
{
	struct shard_saver *saver = &core->saver;
	int64_t at_ns = saver->is_due ? after_ms(now_ns, changed_ms(saver)) : saver->index_ns;
	saver->save_ns = earlier(saver->save_ns, at_ns);
	saver->save_ns = earlier(saver->save_ns, shard_exports_time_core(core, now_ns));
}

void shard_save_later_core(struct shard_core *core)
{
	struct shard_saver *saver = &core->saver;
	if (!saver->is_due) {
		saver->is_due = true;
		plan_core(core, clock_mono_ns());
	}
}

void shard_save_plan_core(struct shard_core *core, int64_t now_ns)
{
	struct shard_saver *saver = &core->saver;
	saver->next_shard = core->n_shards;
	saver->index_ns = after_ms(now_ns, SHARD_STATE_IDLE_MS);
	saver->save_ns = saver->index_ns;
	shard_exports_plan_core(core, now_ns);
	for (uint32_t i = 0; i < core->n_shards; i++) {
		saver->is_due = saver->is_due || is_to_save(&core->shards[i]);
	}
	plan_core(core, now_ns);
}

/* Without a state file: nothing is ever behind. */
static void forget_dirty_core(struct shard_core *core)
{
	for (uint32_t i = 0; i < core->n_shards; i++) {
		shard_rows_saved_core(&core->shards[i]);
	}
}

void shard_save_core(struct shard_core *core, int64_t now_ns)
{
	struct shard_saver *saver = &core->saver;
	if (saver->is_out) {
		/* A slow disk: its answer plans the next pass. */
		saver->is_due = true;
		saver->save_ns = INT64_MAX;
		return;
	}
	bool is_for_export = shard_exports_begin_core(core, now_ns);
	begin_pass_core(core, now_ns, is_for_export || now_ns >= saver->index_ns);
	if (core->state == NULL) {
		forget_dirty_core(core);
		return;
	}
	shard_save_go_on_core(core);
}

void shard_save_go_on_core(struct shard_core *core)
{
	struct shard_saver *saver = &core->saver;
	/* Closing goes its own way on. */
	if (core->is_drained || post_next_core(core)) {
		return;
	}
	if (saver->is_short) {
		shard_exports_fail_core(core, ERR_NOMEM);
	}
	if (!shard_exports_post_core(core)) {
		plan_core(core, clock_mono_ns());
	}
}

/* Nothing of the job is in the file, and its shards no longer know what differs. */
static void undo_job_core(struct shard_core *core)
{
	struct shard_saver *saver = &core->saver;
	for (uint32_t i = 0; i < core->n_shards; i++) {
		struct shard *s = &core->shards[i];
		if (s->is_in_job) {
			s->is_unsaved = true;
			s->saved_index = 0;
			shard_rows_all_dirty_core(s);
		}
	}
	if (core->shards[0].is_in_job) {
		catalog_drop(&saver->saved);
	}
}

void shard_on_saved(struct msg *m)
{
	size_t at = offsetof(struct shard_core, saver) + offsetof(struct shard_saver, job);
	struct shard_core *core = (struct shard_core *)(void *)((char *)m - at);
	struct shard_saver *saver = &core->saver;
	ASSERT_THREAD(ROLE_SHARD_CORE);
	assert(saver->is_out);
	saver->is_out = false;
	bool is_written = saver->job.err == ERR_OK;
	saver->n_failures = is_written ? 0 : saver->n_failures + 1;
	if (!is_written) {
		shard_exports_fail_core(core, saver->job.err);
		tell_later(saver->job.detail.text);
		undo_job_core(core);
		saver->has_given_up = saver->is_last;
		saver->next_shard = core->n_shards;
		saver->is_due = true;
	}
	for (uint32_t i = 0; i < core->n_shards; i++) {
		core->shards[i].is_in_job = false;
	}
	shard_job_fini(&saver->job);
	shard_save_go_on_core(core);
}

bool shard_save_finish_core(struct shard_core *core)
{
	struct shard_saver *saver = &core->saver;
	assert(core->is_drained);
	shard_exports_stop_core(core);
	if (core->state == NULL || saver->has_given_up) {
		return true;
	}
	if (saver->is_out) {
		return false;
	}
	if (saver->next_shard < core->n_shards && post_next_core(core)) {
		return false;
	}
	begin_pass_core(core, clock_mono_ns(), true);
	return !post_next_core(core);
}
