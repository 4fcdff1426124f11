#include "store/backup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/backup_list.h"
#include "store/shard/shard.h"
#include "store/volume/volume.h"

enum backup_state {
	BACKUP_NONE,
	BACKUP_PREPARING,
	BACKUP_HELD,
	BACKUP_RELEASED,	/* the thread gives back what it holds and ends */
};

struct backup {
	struct backup_options options;
	struct lock lock;	/* nothing else is locked under it */
	struct cond cond;	/* no longer held, or held for longer */
	enum backup_state state;
	bool is_closing;
	bool is_joining;	/* somebody waits for the last thread, without the lock */
	bool has_thread;
	pthread_t thread;
	uint64_t id;
	int64_t ttl_ms;
	int64_t deadline_ns;
	struct store_pin *op;	/* the thread's, until it is answered */
	struct mailbox box;	/* the thread's */
};

static void answer(struct store_pin *op, enum err e)
{
	op->err = e;
	if (e != ERR_OK && op->detail.text[0] == '\0') {
		err_set(&op->detail, e, "%s", err_text(e));
	}
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

/* ---- the thread: what it waits for --------------------------------------------- */

struct export_wait {
	struct shard_export op;
	bool is_done;
};

static void on_export(struct msg *m)
{
	((struct export_wait *)m)->is_done = true;
}

struct roll_wait {
	struct volume_roll op;
	bool is_done;
};

static void on_roll(struct msg *m)
{
	((struct roll_wait *)m)->is_done = true;
}

static void wait_for(struct backup *b, const bool *is_done)
{
	while (!*is_done) {
		msg_run_all(mailbox_wait(&b->box, INT64_MAX));
	}
}

static enum err write_export(struct backup *b, struct err_detail *d)
{
	struct export_wait w = {.op = {.reply_to = &b->box, .done = on_export}};
	shard_core_export(b->options.core, &w.op);
	wait_for(b, &w.is_done);
	return w.op.err == ERR_OK ? ERR_OK
				  : err_set(d, w.op.err, "cannot write an export of the state: %s",
					    err_text(w.op.err));
}

/* Closes the logs of all volumes at one moment: a group whose offset is in one is not to
 * be ahead of the events, which are in another. The first volume comes last: it has the
 * catalogue, which must know every hub of which another volume has events. */
static enum err roll_all(struct backup *b, uint64_t ends[LIMIT_VOLUMES], struct err_detail *d)
{
	const struct store_dirs *dirs = b->options.dirs;
	struct roll_wait w[LIMIT_VOLUMES];
	enum err e = ERR_OK;
	for (uint32_t i = dirs->n; i > 0; i--) {
		w[i - 1] = (struct roll_wait){.op = {.reply_to = &b->box, .done = on_roll}};
		volume_roll(b->options.volumes[i - 1], &w[i - 1].op);
	}
	for (uint32_t i = 0; i < dirs->n; i++) {
		wait_for(b, &w[i].is_done);
		ends[i] = w[i].op.end;
		if (w[i].op.err != ERR_OK && e == ERR_OK) {
			e = err_set(d, w[i].op.err, "cannot close the log in %s: %s",
				    dirs->v[i].path, err_text(w[i].op.err));
		}
	}
	return e;
}

/* The export comes before, as a state must not be ahead of its log. */
static enum err prepare(struct backup *b, struct str *files, struct err_detail *d)
{
	const struct store_dirs *dirs = b->options.dirs;
	enum err e = write_export(b, d);
	if (e == ERR_OK) {
		e = backup_list_first(&dirs->v[0], files, d);
	}
	uint64_t ends[LIMIT_VOLUMES] = {0};
	if (e == ERR_OK) {
		e = roll_all(b, ends, d);
	}
	for (uint32_t i = 0; i < dirs->n && e == ERR_OK; i++) {
		e = backup_list_volume(&dirs->v[i], b->options.volumes[i], ends[i], files, d);
	}
	return e;
}

/* ---- the thread ------------------------------------------------------------------ */

static void give_back(struct backup *b)
{
	for (uint32_t i = 0; i < b->options.dirs->n; i++) {
		if (b->options.volumes[i] != NULL) {
			volume_unpin(b->options.volumes[i]);
		}
		backup_list_clear(&b->options.dirs->v[i]);
	}
}

/* Until it is given back, runs out, or the store closes. */
static void hold(struct backup *b)
{
	lock_take(&b->lock);
	while (b->state == BACKUP_HELD && !b->is_closing) {
		if (!cond_wait_until(&b->cond, &b->lock, b->deadline_ns) &&
		    clock_mono_ns() >= b->deadline_ns && b->state == BACKUP_HELD) {
			log_warn("BACKUP-ABANDONED", "id=%" PRIu64
				 " it was not renewed: its files are no longer held", b->id);
			b->state = BACKUP_RELEASED;
		}
	}
	/* The next one may have been asked for already; it waits for this thread's end. */
	b->state = b->state == BACKUP_HELD ? BACKUP_RELEASED : b->state;
	lock_give(&b->lock);
}

static void *backup_main(void *arg)
{
	struct backup *b = arg;
	struct store_pin *op = b->op;
	for (uint32_t i = 0; i < b->options.dirs->n; i++) {
		volume_pin(b->options.volumes[i]);
	}
	struct str files = {.max = BACKUP_LIST_MAX};
	enum err e = prepare(b, &files, &op->detail);
	if (e == ERR_OK && files.bad) {
		e = err_set(&op->detail, ERR_NOMEM, "no memory for the list of files");
	}
	lock_take(&b->lock);
	b->op = NULL;
	b->state = e == ERR_OK ? BACKUP_HELD : BACKUP_RELEASED;
	b->deadline_ns = clock_mono_ns() + b->ttl_ms * 1000000;
	op->id = b->id;
	lock_give(&b->lock);
	if (e == ERR_OK) {
		log_info("BACKUP-BEGUN", "id=%" PRIu64, op->id);
		op->files = files;
		answer(op, ERR_OK);
		hold(b);
		give_back(b);
		log_info("BACKUP-ENDED", "id=%" PRIu64, b->id);
	} else {
		str_fini(&files);
		give_back(b);
		answer(op, e);
	}
	return NULL;
}

/* ---- any thread -------------------------------------------------------------------- */

static enum err check_locked(const struct backup *b, struct store_pin *op)
{
	if (b->is_closing) {
		return ERR_STOPPING;
	}
	if (b->state == BACKUP_PREPARING || b->state == BACKUP_HELD) {
		return err_set(&op->detail, ERR_EXISTS, "another backup is under way");
	}
	if (op->ttl_ms <= 0 || op->ttl_ms > STORE_PIN_TTL_MAX_MS) {
		return err_set(&op->detail, ERR_INVALID, "a backup holds files for 1 to %d ms at a time",
			       STORE_PIN_TTL_MAX_MS);
	}
	for (uint32_t i = 0; i < b->options.dirs->n; i++) {
		if (b->options.volumes[i] == NULL) {
			return err_set(&op->detail, ERR_OFFLINE,
				       "volume %u (%s) cannot be used: a backup would lack what it holds",
				       i, b->options.dirs->v[i].path);
		}
	}
	return ERR_OK;
}

/* Waits for the last thread, which ends soon. Gives the lock up meanwhile. */
static void join_locked(struct backup *b)
{
	if (!b->has_thread) {
		return;
	}
	b->has_thread = false;
	b->is_joining = true;
	lock_give(&b->lock);
	thread_join(b->thread);
	lock_take(&b->lock);
	b->is_joining = false;
	cond_broadcast(&b->cond);
}

void backup_pin(struct backup *b, struct store_pin *op)
{
	op->detail.text[0] = '\0';
	op->files = (struct str){.max = 0};
	op->id = 0;
	lock_take(&b->lock);
	enum err e = check_locked(b, op);
	if (e == ERR_OK) {
		b->state = BACKUP_PREPARING;
		join_locked(b);
		e = b->is_closing ? ERR_STOPPING : ERR_OK;
		b->state = e == ERR_OK ? BACKUP_PREPARING : BACKUP_NONE;
	}
	if (e == ERR_OK) {
		b->op = op;
		b->ttl_ms = op->ttl_ms;
		crypto_random(&b->id, sizeof b->id);
		b->id = (b->id >> 1) + 1;
		e = thread_start(&b->thread, ROLE_BACKGROUND, "backup", backup_main, b);
		b->has_thread = e == ERR_OK;
		b->state = e == ERR_OK ? BACKUP_PREPARING : BACKUP_NONE;
	}
	lock_give(&b->lock);
	if (e != ERR_OK) {
		answer(op, e);
	}
}

enum err backup_renew(struct backup *b, uint64_t id)
{
	lock_take(&b->lock);
	bool is_held = b->state == BACKUP_HELD && b->id == id && !b->is_closing;
	if (is_held) {
		b->deadline_ns = clock_mono_ns() + b->ttl_ms * 1000000;
	}
	lock_give(&b->lock);
	return is_held ? ERR_OK : ERR_NOT_FOUND;
}

void backup_unpin(struct backup *b, uint64_t id)
{
	lock_take(&b->lock);
	if (b->state == BACKUP_HELD && b->id == id) {
		b->state = BACKUP_RELEASED;
		cond_broadcast(&b->cond);
	}
	lock_give(&b->lock);
}

enum err backup_new(const struct backup_options *o, struct backup **out, struct err_detail *d)
{
	struct backup *b = MEM_NEW(struct backup);
	if (b == NULL) {
		return err_set(d, ERR_NOMEM, "no memory for backups");
	}
	b->options = *o;
	lock_init(&b->lock);
	cond_init(&b->cond);
	mailbox_init(&b->box, NULL, NULL);
	for (uint32_t i = 0; i < o->dirs->n; i++) {
		if (!o->dirs->v[i].is_out) {
			backup_list_clear(&o->dirs->v[i]);
		}
	}
	*out = b;
	return ERR_OK;
}

void backup_close(struct backup *b)
{
	if (b == NULL) {
		return;
	}
	lock_take(&b->lock);
	b->is_closing = true;
	cond_broadcast(&b->cond);
	while (b->is_joining) {
		cond_wait(&b->cond, &b->lock);
	}
	join_locked(b);
	lock_give(&b->lock);
}

void backup_free(struct backup **bp)
{
	struct backup *b = *bp;
	*bp = NULL;
	if (b == NULL) {
		return;
	}
	backup_close(b);
	mailbox_fini(&b->box);
	cond_fini(&b->cond);
	lock_fini(&b->lock);
	mem_free(b);
}
