/* The saver: a thread that writes jobs into the state file, so that its syncs
 * hold nobody up. A job is a list of steps:
 *
 *   u8 step, then  shard    u32 number
 *                  clear    nothing
 *                  put      u8 kind, u16 key length, u32 content length, both
 *                  delete   u8 kind, u16 key length, key
 *                  applied  u64 index, u64 term
 */

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"

enum step { STEP_SHARD, STEP_CLEAR, STEP_PUT, STEP_DELETE, STEP_APPLIED };
enum { STEPS_FIRST = 4096 };

/* ---- making a job: core thread ------------------------------------------- */

static void wipe(uint8_t *p, size_t n)
{
	if (p != NULL) {
		explicit_bzero(p, n);
	}
	mem_free(p);
}

/* Room for n more bytes. A block that is left is wiped. */
static bool reserve(struct shard_job *j, size_t n)
{
	if (j->bad || j->cap - j->len >= n) {
		return !j->bad;
	}
	size_t cap = j->cap != 0 ? j->cap : STEPS_FIRST;
	while (cap - j->len < n) {
		cap *= 2;
	}
	uint8_t *steps = mem_alloc(cap);
	if (steps == NULL) {
		j->bad = true;
		return false;
	}
	if (j->len > 0) {
		memcpy(steps, j->steps, j->len);
	}
	wipe(j->steps, j->len);
	j->steps = steps;
	j->cap = cap;
	return true;
}

/* A writer over the n bytes that the step takes; its end is the job's. */
static bool step_begin(struct shard_job *j, enum step step, size_t n, struct wr *w)
{
	if (!reserve(j, 1 + n)) {
		return false;
	}
	*w = wr_of(j->steps + j->len, 1 + n);
	wr_u8(w, (uint8_t)step);
	j->len += 1 + n;
	return true;
}

static void step_end(const struct wr *w)
{
	assert(!w->bad && w->p == w->end);
	(void)w;
}

void shard_job_shard(struct shard_job *j, uint32_t shard)
{
	struct wr w;
	if (step_begin(j, STEP_SHARD, sizeof shard, &w)) {
		wr_u32(&w, shard);
		step_end(&w);
	}
}

void shard_job_clear(struct shard_job *j)
{
	struct wr w;
	if (step_begin(j, STEP_CLEAR, 0, &w)) {
		step_end(&w);
	}
}

void shard_job_put(struct shard_job *j, uint8_t kind, struct span key, struct span content)
{
	struct wr w;
	assert(key.n <= STATE_KEY_MAX);
	assert(content.n <= UINT32_MAX);
	if (step_begin(j, STEP_PUT, 1 + 2 + 4 + key.n + content.n, &w)) {
		wr_u8(&w, kind);
		wr_u16(&w, (uint16_t)key.n);
		wr_u32(&w, (uint32_t)content.n);
		wr_span(&w, key);
		wr_span(&w, content);
		step_end(&w);
	}
}

void shard_job_delete(struct shard_job *j, uint8_t kind, struct span key)
{
	struct wr w;
	assert(key.n <= STATE_KEY_MAX);
	if (step_begin(j, STEP_DELETE, 1 + 2 + key.n, &w)) {
		wr_u8(&w, kind);
		wr_u16(&w, (uint16_t)key.n);
		wr_span(&w, key);
		step_end(&w);
	}
}

void shard_job_applied(struct shard_job *j, uint64_t index, uint64_t term)
{
	struct wr w;
	if (step_begin(j, STEP_APPLIED, sizeof index + sizeof term, &w)) {
		wr_u64(&w, index);
		wr_u64(&w, term);
		step_end(&w);
	}
}

void shard_job_fini(struct shard_job *j)
{
	wipe(j->steps, j->len);
	*j = (struct shard_job){0};
}

/* ---- writing it: saver thread -------------------------------------------- */

static void run_step(struct state *state, struct rd *r)
{
	uint8_t step = rd_u8(r);
	uint8_t kind;
	uint16_t key_len;
	switch ((enum step)step) {
	case STEP_SHARD:
		state_shard(state, rd_u32(r));
		return;
	case STEP_CLEAR:
		state_clear(state);
		return;
	case STEP_PUT: {
		kind = rd_u8(r);
		key_len = rd_u16(r);
		uint32_t content_len = rd_u32(r);
		struct span key = rd_span(r, key_len);
		state_put(state, kind, key, rd_span(r, content_len));
		return;
	}
	case STEP_DELETE:
		kind = rd_u8(r);
		key_len = rd_u16(r);
		state_delete(state, kind, rd_span(r, key_len));
		return;
	case STEP_APPLIED: {
		uint64_t index = rd_u64(r);
		state_applied(state, index, rd_u64(r));
		return;
	}
	}
	assert(false);
}

static struct shard_core *core_of_job(struct msg *m)
{
	size_t at = offsetof(struct shard_core, saver) + offsetof(struct shard_saver, job);
	return (struct shard_core *)(void *)((char *)m - at);
}

static void on_job(struct msg *m)
{
	ASSERT_THREAD(ROLE_BACKGROUND);
	struct shard_core *core = core_of_job(m);
	struct shard_job *j = &core->saver.job;
	struct rd r = rd_of(span_of(j->steps, j->len));
	state_begin(core->state);
	while (rd_left(&r) > 0) {
		run_step(core->state, &r);
	}
	assert(!r.bad);
	j->err = state_commit(core->state, &j->detail);
	if (j->err == ERR_IO) {
		log_fatal("STORE-STATE-WRITE", "dir=%s error=%s", log_quote(core->dirs[0]),
			  log_quote(j->detail.text));
	}
	j->msg.run = shard_on_saved;
	mailbox_post(&core->mailbox, &j->msg);
}

static void on_export(struct msg *m)
{
	ASSERT_THREAD(ROLE_BACKGROUND);
	size_t at = offsetof(struct shard_core, saver.exporter);
	struct shard_core *core = (struct shard_core *)(void *)((char *)m - at);
	struct shard_exporter *x = &core->saver.exporter;
	int64_t begin_ns = clock_mono_ns();
	x->detail.text[0] = '\0';
	x->err = export_write(core->exports, core->dirs[0], core->store_uuid, core->state,
			      clock_wall_ms(), &x->detail);
	if (x->err == ERR_IO) {
		log_fatal("STORE-EXPORT-WRITE", "dir=%s error=%s", log_quote(core->dirs[0]),
			  log_quote(x->detail.text));
	}
	x->took_ns = clock_mono_ns() - begin_ns;
	x->msg.run = shard_on_exported;
	mailbox_post(&core->mailbox, &x->msg);
}

static void on_stop(struct msg *m)
{
	struct shard_saver *s =
		(struct shard_saver *)(void *)((char *)m - offsetof(struct shard_saver, stop_msg));
	s->is_ended = true;
}

static void *saver_main(void *arg)
{
	struct shard_core *core = arg;
	while (!core->saver.is_ended) {
		msg_run_all(mailbox_wait(&core->saver.box, INT64_MAX));
	}
	return NULL;
}

/* ---- life ---------------------------------------------------------------- */

_Static_assert(offsetof(struct shard_job, msg) == 0, "found from its message");
_Static_assert(offsetof(struct shard_exporter, msg) == 0, "found from its message");

void shard_saver_post_core(struct shard_core *core)
{
	struct shard_saver *s = &core->saver;
	assert(s->is_started);
	assert(s->is_out);
	s->job.msg.run = on_job;
	mailbox_post(&s->box, &s->job.msg);
}

void shard_saver_post_export_core(struct shard_core *core)
{
	struct shard_saver *s = &core->saver;
	assert(s->is_started);
	assert(!s->is_out);
	s->is_out = true;
	s->exporter.msg.run = on_export;
	mailbox_post(&s->box, &s->exporter.msg);
}

enum err shard_saver_start(struct shard_core *core)
{
	struct shard_saver *s = &core->saver;
	if (core->state == NULL) {
		return ERR_OK;
	}
	enum err e = thread_start(&s->thread, ROLE_BACKGROUND, "saver", saver_main, core);
	s->is_started = e == ERR_OK;
	return e;
}

void shard_saver_stop(struct shard_core *core)
{
	struct shard_saver *s = &core->saver;
	if (!s->is_started) {
		return;
	}
	assert(!s->is_out);
	s->stop_msg.run = on_stop;
	mailbox_post(&s->box, &s->stop_msg);
	thread_join(s->thread);
	s->is_started = false;
}
