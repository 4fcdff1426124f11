#include "test/fault/power/probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/batch.h"
#include "base/clock.h"
#include "gateway/group/rows.h"
#include "gateway/wire/compact.h"
#include "store/backup_copy.h"
#include "store/verify.h"

enum {
	PATIENCE_S = 30,
	READ_BYTES = 4 << 20,
	REPEATS_MAX = 6,
	BUSY_MS = 300,		/* for cleaning, compaction and exports */
	WHY_SIZE = 600,
};

static const char own_text[] = "CK after the cut";

/* The last batch of a producer in a partition. */
struct last_batch {
	struct store_part part;
	struct buf *batch;
	uint32_t len;
	int64_t base_seq;
	uint32_t events;
};

struct probe {
	struct store *store;
	struct mailbox mb;
	struct look *look;
	bool is_done;
	struct last_batch last[REPEATS_MAX];
	size_t n_last;
	struct store_part own;		/* where the own event went */
	int64_t own_seq;		/* -1: nowhere */
};

static char why_text[WHY_SIZE];

static const char *say(const char *what, const char *more)
{
	snprintf(why_text, sizeof why_text, "%s: %s", what, more);
	return why_text;
}

/* ---- operations ------------------------------------------------------------------------ */

/* One operation at a time: what is answered is the one that waits. */
static struct probe *waiting;

static void on_done(struct msg *m)
{
	(void)m;
	waiting->is_done = true;
}

static void await(struct probe *p)
{
	while (!p->is_done) {
		struct msg *m = mailbox_wait(&p->mb, clock_mono_ns() + (int64_t)PATIENCE_S * 1000000000);
		if (m == NULL) {
			fprintf(stderr, "nothing was answered\n");
			abort();
		}
		msg_run_all(m);
	}
	p->is_done = false;
}

/* With work in the background as often as can be, or with as little of it. */
static const char *open_store(struct probe *p, const char *const *dirs, uint32_t n_dirs,
			      bool is_busy)
{
	struct err_detail d = {""};
	struct store_options o = {
		.dir = dirs[0],
		.more_dirs = n_dirs > 1 ? dirs + 1 : NULL,
		.n_more_dirs = n_dirs - 1,
		.shards = 4,
		.node_id = 1,
		.segment_max_bytes = PROBE_SEGMENT_BYTES,
		.cache_bytes = 1 << 20,
		.retention_check_ms = is_busy ? 50 : 3600000,
		.export_interval_ms = is_busy ? 100 : 3600000,
		.clean_pause_ms = is_busy ? 20 : 3600000,
		.compactor = is_busy ? &wire_compactor : NULL,
		.tombstone_ms = 1000,
	};
	waiting = p;
	mailbox_init(&p->mb, NULL, NULL);
	enum err e = store_open(&o, &p->store, &d);
	if (e != ERR_OK) {
		mailbox_fini(&p->mb);
		return say("it does not open", d.text);
	}
	return NULL;
}

static void close_store(struct probe *p)
{
	store_close(p->store);
	store_free(&p->store);
	mailbox_fini(&p->mb);
}

static enum err append(struct probe *p, struct store_append *op, struct store_part part)
{
	op->reply_to = &p->mb;
	op->done = on_done;
	op->partition = store_partition_find(p->store, part);
	if (op->partition == NULL) {
		buf_drop(&op->batch);
		return ERR_NOT_FOUND;
	}
	store_append(p->store, op);
	await(p);
	store_partition_drop(&op->partition);
	return op->err;
}

/* ---- reading all ------------------------------------------------------------------------ */

static void keep_last(struct probe *p, struct store_part part, const struct store_batch *b)
{
	struct batch_head h;
	if (batch_head_read(b->batch, &h) != ERR_OK || h.producer_id < 0 || h.base_sequence < 0) {
		return;
	}
	struct last_batch *l = p->n_last > 0 ? &p->last[p->n_last - 1] : NULL;
	bool is_next = l == NULL || store_part_key(l->part) != store_part_key(part);
	if (h.count != h.last_offset_delta + 1) {
		/* Compaction took records from it: it is not what was sent. */
		if (!is_next) {
			buf_drop(&l->batch);
			p->n_last--;
		}
		return;
	}
	if (is_next) {
		if (p->n_last == REPEATS_MAX) {
			return;
		}
		l = &p->last[p->n_last++];
	}
	buf_drop(&l->batch);
	*l = (struct last_batch){part, buf_new(b->batch.n), (uint32_t)b->batch.n, b->base_seq,
				 (uint32_t)h.count};
	if (l->batch == NULL) {
		abort();
	}
	memcpy(l->batch->data, b->batch.p, b->batch.n);
	l->batch->len = (uint32_t)b->batch.n;
}

static const char *read_partition(struct probe *p, const struct catalog_hub *hub, uint32_t number)
{
	struct store_part part = {hub->id, number};
	struct store_partition *sp = store_partition_find(p->store, part);
	if (sp == NULL) {
		return say(hub->name, "a partition is missing");
	}
	struct store_position at;
	store_partition_position(sp, &at);
	look_partition(p->look, hub->id, number, at.first_seq, at.next_seq);
	int64_t next = at.first_seq;
	const char *why = NULL;
	while (why == NULL && next < at.next_seq) {
		struct store_read r = {.reply_to = &p->mb,
				       .done = on_done,
				       .partition = sp,
				       .from = next,
				       .max_bytes = READ_BYTES};
		store_read(p->store, &r);
		await(p);
		if (r.err != ERR_OK || r.out.n == 0) {
			char text[WHY_SIZE / 2 + 128];
			snprintf(text, sizeof text, "%s/%u from %" PRId64 " of %" PRId64 "..%" PRId64
				 ": %s", hub->name, number, next, at.first_seq, at.next_seq,
				 r.err != ERR_OK ? err_text(r.err) : "nothing");
			why = say("reading", text);
		}
		for (uint32_t i = 0; i < r.out.n; i++) {
			look_batch(p->look, &r.out.v[i]);
			keep_last(p, part, &r.out.v[i]);
			next = r.out.v[i].base_seq + r.out.v[i].count;
		}
		store_batches_drop(&r.out);
	}
	store_partition_position(sp, &at);
	if (why == NULL) {
		look_partition_end(p->look, at.first_seq);
	}
	store_partition_drop(&sp);
	return why;
}

static enum err on_offset(void *arg, uint32_t shard, struct span key, struct span content)
{
	struct look *l = arg;
	struct group_offset_row row;
	(void)shard;
	enum err e = group_offset_row_decode(key, content, &row);
	if (e == ERR_OK) {
		look_offset(l, row.group, row.part, row.offset);
	}
	return e;
}

static const char *read_all(struct probe *p, const struct oracle *o, struct moment at)
{
	p->look = look_new(o, at);
	p->n_last = 0;
	const struct catalog *c = store_catalog(p->store);
	const char *why = NULL;
	for (uint32_t i = 0; i < c->n_hubs; i++) {
		look_hub(p->look, c->hubs[i]->name, c->hubs[i]->id, c->hubs[i]->partitions);
	}
	for (uint32_t i = 0; why == NULL && i < c->n_hubs; i++) {
		for (uint32_t k = 0; why == NULL && k < c->hubs[i]->partitions; k++) {
			why = read_partition(p, c->hubs[i], k);
		}
	}
	catalog_drop(&c);
	struct store_rows_scan scan = {.reply_to = &p->mb,
				       .done = on_done,
				       .kind = STORE_ROW_OFFSET,
				       .row = on_offset,
				       .arg = p->look};
	store_rows_scan(p->store, &scan);
	await(p);
	if (why == NULL && scan.err != ERR_OK) {
		why = say("rows", err_text(scan.err));
	}
	const char *seen = look_end(p->look);
	if (why == NULL && seen != NULL) {
		why = say("what is there", seen);
	}
	look_free(&p->look);
	return why;
}

/* ---- going on ----------------------------------------------------------------------------- */

static const char *repeat_batches(struct probe *p)
{
	const char *why = NULL;
	for (size_t i = 0; i < p->n_last; i++) {
		struct last_batch *l = &p->last[i];
		struct store_append op = {.encoding = BATCH_KAFKA,
					  .batch = l->batch,
					  .batch_len = l->len,
					  .events = l->events};
		l->batch = NULL;
		enum err e = append(p, &op, l->part);
		if (why == NULL && (e != ERR_OK || !op.is_repeated || op.base_seq != l->base_seq)) {
			char text[WHY_SIZE / 2 + 128];
			snprintf(text, sizeof text, "hub %u/%u batch %" PRId64 ": %s, %s at %" PRId64,
				 l->part.hub_id, l->part.partition, l->base_seq, err_text(e),
				 op.is_repeated ? "known" : "new", op.base_seq);
			why = say("a producer's batch that is sent again", text);
		}
	}
	p->n_last = 0;
	return why;
}

static const char *append_own(struct probe *p)
{
	const struct catalog *c = store_catalog(p->store);
	bool has_hub = c->n_hubs > 0;
	p->own = (struct store_part){has_hub ? c->hubs[0]->id : 0, 0};
	catalog_drop(&c);
	p->own_seq = -1;
	if (!has_hub) {
		return NULL;
	}
	struct batch_builder b;
	/* An AMQP Data section. */
	uint8_t head[] = {0x00, 0x53, 0x75, 0xa0, sizeof own_text - 1};
	struct span parts[2] = {span_of(head, sizeof head), span_str(own_text)};
	batch_builder_init(&b, 64, 4096);
	batch_builder_add(&b, parts, 2);
	struct store_append op = {.encoding = BATCH_AMQP, .events = 1, .may_merge = true};
	if (batch_builder_finish(&b, &op.batch) != ERR_OK) {
		abort();
	}
	batch_builder_fini(&b);
	op.batch_len = op.batch->len;
	enum err e = append(p, &op, p->own);
	p->own_seq = op.base_seq;
	return e == ERR_OK ? NULL : say("appending", err_text(e));
}

static const char *find_own(struct probe *p)
{
	if (p->own_seq < 0) {
		return NULL;
	}
	struct store_partition *sp = store_partition_find(p->store, p->own);
	struct store_position at = {0};
	if (sp != NULL) {
		store_partition_position(sp, &at);
		store_partition_drop(&sp);
	}
	return at.next_seq == p->own_seq + 1 ? NULL
					     : say("after another start", "the new event is lost");
}

static void on_finding(void *arg, const struct store_verify_finding *f)
{
	char text[WHY_SIZE / 2];
	(void)arg;
	snprintf(text, sizeof text, "%s/%s: %s", f->dir, f->file, f->what);
	say("verify finds", text);
}

/* The store is closed. */
static const char *verify(const char *const *dirs, uint32_t n_dirs)
{
	struct err_detail d = {""};
	struct store_verify_result r = {0};
	struct store_verify_options o = {.dirs = dirs, .n_dirs = n_dirs, .finding = on_finding};
	enum err e = store_verify(&o, &r, &d);
	if (e != ERR_OK) {
		return say("verify", d.text);
	}
	return r.findings > 0 ? why_text : NULL;
}

const char *probe_all(const char *const *dirs, uint32_t n_dirs, const struct oracle *o,
		      struct moment at, bool is_twice)
{
	struct probe p = {.own_seq = -1};
	const char *why = open_store(&p, dirs, n_dirs, false);
	if (why != NULL) {
		return why;
	}
	why = read_all(&p, o, at);
	if (why == NULL) {
		why = repeat_batches(&p);
	}
	if (why == NULL) {
		why = append_own(&p);
	}
	close_store(&p);
	if (why != NULL) {
		return why;
	}
	why = open_store(&p, dirs, n_dirs, false);
	if (why != NULL) {
		return why;
	}
	if (is_twice) {
		why = read_all(&p, o, at);
	}
	if (why == NULL) {
		why = find_own(&p);
	}
	close_store(&p);
	if (why == NULL && is_twice) {
		why = verify(dirs, n_dirs);
	}
	return why;
}

const char *probe_restore(const char *backup, const char *const *dirs, uint32_t n_dirs)
{
	struct err_detail d = {""};
	struct backup_dir b;
	struct backup_progress silent = {0};
	enum err e = backup_dir_open(backup, false, &b, &d);
	if (e != ERR_OK) {
		return say("the backup is none", d.text);
	}
	e = backup_dir_restore(&b, dirs, n_dirs, &silent, &d);
	backup_dir_close(&b);
	return e == ERR_OK ? NULL : say("the backup cannot be restored", d.text);
}

const char *probe_once(const char *const *dirs, uint32_t n_dirs)
{
	struct probe p = {.own_seq = -1};
	const char *why = open_store(&p, dirs, n_dirs, true);
	if (why != NULL) {
		return why;
	}
	why = append_own(&p);
	struct timespec busy = {0, BUSY_MS * 1000000};
	nanosleep(&busy, NULL);
	close_store(&p);
	return why;
}
