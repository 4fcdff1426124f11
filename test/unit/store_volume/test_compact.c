#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "store/volume/clean.h"
#include "test/lib/fake_pwrite.h"

/* Compaction against a model: an event's value tells its key, whether it is a tombstone,
 * and its sequence number; the model knows all that were ever sent. */
enum {
	NEVER_MS = 3600 * 1000,
	EVENTS_MAX = 60000,
	NO_KEY = 0xffff,
	VALUE_HEAD = 4 + 8 + 1,
	AT_COUNT = 57,
	AT_CRC = 17,
	AT_COVERED = 21,
	AT_LENGTH = 8,
};

static struct bed bed;

struct model {
	uint32_t keys[EVENTS_MAX];
	bool tombstones[EVENTS_MAX];
	bool found[EVENTS_MAX];		/* at the last read */
	int64_t n;
};
static struct model models[2];		/* of partitions 0 and 2, both in shard 0 */
static uint32_t dice;
static bool is_opaque;			/* the compactor cannot read any batch */
static bool rewrites_badly;
static bool all_have_keys;

static uint32_t roll(uint32_t sides)
{
	dice = dice * 1664525U + 1013904223U;
	return (dice >> 8) % sides;
}

/* ---- the compactor ------------------------------------------------------------------ */

static enum err test_walk(struct span batch, struct span key, enum batch_encoding encoding,
			  store_compact_fn *fn, void *arg)
{
	struct batch_iter it;
	struct batch_record rec;
	ck_assert(span_eq_str(key, "shared"));
	ck_assert_int_eq(encoding, BATCH_AMQP);
	enum err e = is_opaque ? ERR_CORRUPT : batch_iter_init(&it, batch);
	while (e == ERR_OK && (e = batch_iter_next(&it, &rec)) == ERR_OK) {
		uint32_t id = get_u32(rec.value.p);
		struct store_compact_record r = {
			.has_key = id != NO_KEY,
			.is_tombstone = rec.value.p[VALUE_HEAD - 1] != 0,
			.offset_delta = rec.offset_delta,
			.key = span_of(rec.value.p, 4),
		};
		e = fn(arg, &r);
	}
	return e == ERR_EOF ? ERR_OK : e;
}

static enum err test_rewrite(struct span batch, enum batch_encoding encoding, const uint8_t *keep,
			     struct str *out)
{
	struct rd rd = rd_of(span_of(batch.p + BATCH_HEAD, batch.n - BATCH_HEAD));
	uint32_t kept = 0;
	(void)encoding;
	str_addn(out, batch.p, BATCH_HEAD);
	for (size_t i = 0; rd_left(&rd) > 0; i++) {
		const uint8_t *from = rd.p;
		int32_t n = rd_varint(&rd);
		rd_skip(&rd, (size_t)n);
		ck_assert(!rd.bad);
		if ((keep[i / 8] >> i % 8 & 1) != 0) {
			str_addn(out, from, (size_t)(rd.p - from));
			kept++;
		}
	}
	ck_assert_uint_gt(kept, 0);
	if (out->bad) {
		return ERR_NOMEM;
	}
	uint8_t *p = (uint8_t *)out->p;
	put_u32(p + AT_LENGTH, (uint32_t)out->len - 12);
	put_u32(p + AT_COUNT, kept + (rewrites_badly ? 1 : 0));
	put_u32(p + AT_CRC, crc32c(0, p + AT_COVERED, out->len - AT_COVERED));
	return ERR_OK;
}

static const struct store_compactor compactor = {.walk = test_walk, .rewrite = test_rewrite};

static void setup(void)
{
	bed_init(&bed);
	bed.options.clean_pause_ms = NEVER_MS;
	bed.options.segment_max_bytes = 512 << 10;
	bed.options.compactor = &compactor;
	/* Older than the clock: what the bed appends is never old. */
	bed.options.tombstone_ms = clock_wall_ms() + NEVER_MS;
	bed_log_catch();
	memset(models, 0, sizeof models);
	dice = 1;
	is_opaque = false;
	rewrites_badly = false;
	all_have_keys = false;
}
static void teardown(void)
{
	bed_fini(&bed);
}

static uint32_t part_of(const struct model *m)
{
	return m == models ? 0 : 2;
}

static void open_quietly(bool was_unclean)
{
	struct err_detail d;
	enum err e = bed_try_open(&bed, was_unclean, &d);
	ck_assert_msg(e == ERR_OK, "volume_open: %s: %s", err_text(e), d.text);
	volume_set_compact(bed.v, bed_part(0), true);
	volume_set_compact(bed.v, bed_part(2), true);
	for (uint32_t i = 0; i < bed.options.shards; i++) {
		volume_set_floor(bed.v, i, bed.next_index[i] - 1);
	}
	bed.v->has_work = false;
	bed_start(&bed);
}

/* ---- writing -------------------------------------------------------------------------- */

struct sent {
	struct volume_entry e;
	struct volume_command c;
	struct buf *buf;
};

static void on_done(struct msg *m)
{
	struct sent *s = (struct sent *)(void *)m;
	bed.outstanding--;
	buf_drop(&s->buf);
	mem_free(s);
}

/* One batch of n events with keys below `keys`, one in eight a tombstone, one in sixteen
 * without a key. */
static void send(struct model *m, int32_t n, uint32_t keys, size_t value)
{
	struct sent *s = MEM_NEW(struct sent);
	struct batch_builder build;
	uint8_t *v = mem_calloc(1, value);
	ck_assert_int_lt(m->n + n, EVENTS_MAX);
	batch_builder_init(&build, (size_t)n * (value + BATCH_RECORD_MAX), 2 << 20);
	for (int32_t i = 0; i < n; i++) {
		uint32_t key = roll(16) == 0 && !all_have_keys ? NO_KEY : roll(keys);
		m->keys[m->n + i] = key;
		m->tombstones[m->n + i] = key != NO_KEY && roll(8) == 0;
		put_u32(v, key);
		put_u64(v + 4, (uint64_t)(m->n + i));
		v[VALUE_HEAD - 1] = m->tombstones[m->n + i];
		struct span part = span_of(v, value);
		batch_builder_add(&build, &part, 1);
	}
	mem_free(v);
	ck_assert_int_eq(batch_builder_finish(&build, &s->buf), ERR_OK);
	batch_seal(s->buf->data, s->buf->len, bed.now_ms);
	batch_place(s->buf->data, m->n);
	s->c = (struct volume_command){
		.kind = VOLUME_BATCH,
		.encoding = BATCH_AMQP,
		.part = bed_part(part_of(m)),
		.count = (uint32_t)n,
		.base_seq = m->n,
		.append_ms = bed.now_ms,
		.max_timestamp_ms = bed.now_ms,
		.payload = span_of(s->buf->data, s->buf->len),
		.key = span_str("shared"),
	};
	s->e = (struct volume_entry){
		.reply_to = &bed.box,
		.done = on_done,
		.term = 1,
		.index = bed.next_index[0]++,
		.commands = &s->c,
		.n_commands = 1,
	};
	m->n += n;
	bed.now_ms++;
	bed.outstanding++;
	volume_append(bed.v, &s->e);
	bed_wait(&bed);
}

static void roll_segment(void)
{
	uint64_t until = bed.v->active->number + 1;
	while (bed.v->active->number < until) {
		bed_append(&bed, 1, 10, 10000);
	}
	for (int i = 0; i < 20000; i++) {
		bool is_left = false;
		lock_take(&bed.v->lock);
		for (size_t k = 0; k < bed.v->n_segments; k++) {
			const struct segment *s = bed.v->segments[k];
			is_left = is_left || (s != NULL && s->state == SEGMENT_CLOSED);
		}
		lock_give(&bed.v->lock);
		if (!is_left) {
			return;
		}
		usleep(1000);
	}
	ck_abort_msg("not sealed");
}

/* ---- the cleaner ------------------------------------------------------------------------ */

static uint64_t rounds(void)
{
	lock_take(&bed.v->lock);
	uint64_t n = bed.v->clean_rounds;
	lock_give(&bed.v->lock);
	return n;
}

/* The cleaner's thread was woken by what it was told: until it sleeps again. */
static void settle(void)
{
	for (int i = 0; i < 2; i++) {
		uint64_t before = rounds();
		cleaner_wake(bed.v);
		for (int ms = 0; rounds() == before && ms < 60000; ms++) {
			usleep(1000);
		}
		ck_assert_uint_gt(rounds(), before);
	}
}

/* A round on the test's own thread, while the cleaner's sleeps. */
static void compact(void)
{
	struct cleaner c;
	struct err_detail d = {0};
	cleaner_begin(&c, bed.v);
	enum err e = cleaner_round(&c, &d);
	ck_assert_msg(e == ERR_OK, "round: %s: %s", err_text(e), d.text);
}

/* ---- checking ------------------------------------------------------------------------------ */

static void read_model(struct model *m)
{
	memset(m->found, 0, sizeof m->found);
	int64_t at = 0;
	int64_t last = -1;
	while (at < m->n) {
		struct volume_read r = {
			.part = bed_part(part_of(m)),
			.from = at,
			.limit = m->n,
			.max_bytes = 200000,
		};
		enum err e = bed_read(&bed, &r);
		ck_assert_msg(e == ERR_OK, "at %lld: %s", (long long)at, err_text(e));
		/* The newest event is always there. */
		ck_assert_msg(r.out.n > 0, "nothing from %lld on", (long long)at);
		for (uint32_t i = 0; i < r.out.n; i++) {
			const struct store_batch *b = &r.out.v[i];
			struct batch_iter it;
			struct batch_record rec;
			ck_assert_int_eq(batch_check(b->batch), ERR_OK);
			ck_assert_int_gt(b->base_seq, last);
			ck_assert_int_eq(batch_iter_init(&it, b->batch), ERR_OK);
			while (batch_iter_next(&it, &rec) == ERR_OK) {
				int64_t seq = b->base_seq + rec.offset_delta;
				ck_assert_int_gt(seq, last);
				ck_assert_int_lt(seq, b->base_seq + b->count);
				ck_assert_uint_eq(get_u64(rec.value.p + 4), (uint64_t)seq);
				ck_assert_uint_eq(get_u32(rec.value.p), m->keys[seq]);
				m->found[seq] = true;
				last = seq;
			}
			at = b->base_seq + b->count;
		}
		store_batches_drop(&r.out);
	}
	ck_assert(m->n == 0 || m->found[m->n - 1]);
}

/* How far the partition is compacted, and sealed. */
static int64_t compacted_to(const struct model *m, int64_t *sealed)
{
	int64_t end = 0;
	bool is_clean = true;
	*sealed = 0;
	lock_take(&bed.v->lock);
	const struct table_part *p = table_find(&bed.v->table, bed_part(part_of(m)));
	for (size_t i = 0; p != NULL && i < p->n; i++) {
		const struct table_extent *x = &p->extents[i];
		is_clean = is_clean && x->is_compacted;
		end = is_clean ? x->end_seq : end;
		if (bed.v->segments[x->segment]->state == SEGMENT_SEALED) {
			*sealed = x->end_seq;
		}
	}
	lock_give(&bed.v->lock);
	return end;
}

/* The next newer event of the same key; INT64_MAX: none. */
static int64_t superseded_by(const struct model *m, int64_t seq)
{
	for (int64_t i = seq + 1; m->keys[seq] != NO_KEY && i < m->n; i++) {
		if (m->keys[i] == m->keys[seq]) {
			return i;
		}
	}
	return INT64_MAX;
}

/* Exactly what must be there is there. Tombstones that ended may be missing. */
static void check_model(struct model *m, bool tombstones_end)
{
	int64_t sealed;
	int64_t end = compacted_to(m, &sealed);
	read_model(m);
	for (int64_t i = 0; i < m->n; i++) {
		int64_t by = superseded_by(m, i);
		if (i < end && by < end) {
			ck_assert_msg(!m->found[i], "event %lld is still there", (long long)i);
		} else if (by >= sealed && !(tombstones_end && m->tombstones[i])) {
			ck_assert_msg(m->found[i], "event %lld is gone", (long long)i);
		}
	}
}

static size_t count_tombstones(const struct model *m, int64_t end)
{
	size_t n = 0;
	for (int64_t i = 0; i < end; i++) {
		n += m->found[i] && m->tombstones[i];
	}
	return n;
}

static size_t count_found(const struct model *m)
{
	size_t n = 0;
	for (int64_t i = 0; i < m->n; i++) {
		n += m->found[i];
	}
	return n;
}

static uint64_t next_cleaned(void)
{
	return bed.v->manifest.next_cleaned;
}

/* ---- */

START_TEST(newest_of_each_key_survives)
{
	struct model *m = models;
	int64_t sealed;
	open_quietly(false);
	for (int r = 0; r < 6; r++) {
		for (int i = 0; i < 12; i++) {
			send(m, 1 + (int32_t)roll(60), 100, 200);
		}
		roll_segment();
		compact();
		check_model(m, false);
	}
	ck_assert_int_gt(compacted_to(m, &sealed), m->n / 3);
	ck_assert_int_lt((int64_t)count_found(m), m->n * 2 / 3);
	for (int unclean = 0; unclean < 2; unclean++) {
		bed_close(&bed);
		open_quietly(unclean == 1);
		check_model(m, false);
		uint64_t before = next_cleaned();
		compact();
		compact();
		/* Nothing is due: nothing is written. */
		ck_assert_uint_le(next_cleaned(), before + 1);
		check_model(m, false);
	}
}
END_TEST

START_TEST(partitions_share_a_segment)
{
	open_quietly(false);
	for (int i = 0; i < 10; i++) {
		send(&models[0], 20, 30, 100);
		send(&models[1], 20, 30, 100);
	}
	roll_segment();
	uint64_t before = next_cleaned();
	compact();
	ck_assert_uint_eq(next_cleaned(), before + 1);
	check_model(&models[0], false);
	check_model(&models[1], false);
}
END_TEST

START_TEST(tombstones_end_when_old_and_nothing_returns)
{
	struct model *m = models;
	int64_t sealed;
	open_quietly(false);
	for (int r = 0; r < 3; r++) {
		for (int i = 0; i < 10; i++) {
			send(m, 30, 150, 100);
		}
		roll_segment();
		compact();
	}
	check_model(m, false);
	ck_assert_uint_gt(count_tombstones(m, compacted_to(m, &sealed)), 0);
	bed_close(&bed);
	/* Now they are all old. */
	bed.options.tombstone_ms = 1;
	open_quietly(false);
	compact();
	check_model(m, true);
	int64_t end = compacted_to(m, &sealed);
	ck_assert_int_gt(end, 0);
	ck_assert_uint_le(count_tombstones(m, end), 1);
	for (int64_t i = 0; i < end; i++) {
		ck_assert(!m->found[i] || !m->tombstones[i] || i == m->n - 1);
	}
	uint64_t before = next_cleaned();
	compact();
	ck_assert_uint_eq(next_cleaned(), before);
	bed_close(&bed);
	open_quietly(true);
	check_model(m, true);
}
END_TEST

/* Room for about twenty keys where there are a thousand. */
START_TEST(keys_need_not_fit_in_memory)
{
	struct model *m = models;
	int64_t sealed;
	bed.options.compaction_memory = 1000;
	open_quietly(false);
	for (int r = 0; r < 3; r++) {
		for (int i = 0; i < 20; i++) {
			send(m, 50, 1000, 30);
		}
		roll_segment();
		compact();
		check_model(m, false);
		ck_assert_int_gt(compacted_to(m, &sealed), 0);
	}
}
END_TEST

/* Some segments' keys fit together, not all. */
START_TEST(pass_ends_where_keys_no_longer_fit)
{
	struct model *m = models;
	int64_t sealed;
	bed.options.compaction_memory = 20000;
	open_quietly(false);
	for (int r = 0; r < 6; r++) {
		for (int i = 0; i < 4; i++) {
			send(m, 50, 3000, 30);
		}
		roll_segment();
	}
	for (int i = 0; i < 6; i++) {
		compact();
		check_model(m, false);
	}
	ck_assert_int_ge(compacted_to(m, &sealed) * 2, m->n);
}
END_TEST

/* More survives than one segment takes. */
START_TEST(survivors_of_many_segments_stay_bounded)
{
	struct model *m = models;
	int64_t sealed;
	bed.options.segment_max_bytes = 256 << 10;
	open_quietly(false);
	for (int i = 0; i < 100; i++) {
		send(m, 20, 10000, 1000);
	}
	roll_segment();
	compact();
	check_model(m, false);
	ck_assert_int_gt(compacted_to(m, &sealed), m->n / 2);
	lock_take(&bed.v->lock);
	size_t n = 0;
	for (size_t i = 0; i < bed.v->n_segments; i++) {
		const struct segment *s = bed.v->segments[i];
		if (s != NULL && s->is_cleaned) {
			ck_assert_uint_lt(s->file_bytes, bed.options.segment_max_bytes * 3 / 2);
			n++;
		}
	}
	lock_give(&bed.v->lock);
	ck_assert_uint_gt(n, 4);
	bed_close(&bed);
	open_quietly(true);
	check_model(m, false);
}
END_TEST

/* The same key ever again: everything but the newest goes, covers are empty. */
START_TEST(covers_may_be_empty)
{
	struct model *m = models;
	bed.options.segment_max_bytes = 128 << 10;
	all_have_keys = true;
	open_quietly(false);
	for (int r = 0; r < 4; r++) {
		send(m, 10, 1, 10000);
		roll_segment();
	}
	for (int i = 0; i < 3; i++) {
		compact();
		check_model(m, false);
		ck_assert_uint_eq(count_found(m), 1);
		struct volume_read r = {.part = bed_part(0), .limit = 5, .max_bytes = 100};
		ck_assert_int_eq(bed_read(&bed, &r), ERR_OK);
		ck_assert_uint_eq(r.out.n, 0);
		bed_close(&bed);
		open_quietly(i % 2 == 0);
		check_model(m, false);
		send(m, 10, 1, 10000);
		roll_segment();
	}
}
END_TEST

START_TEST(what_cannot_be_read_stays)
{
	struct model *m = models;
	open_quietly(false);
	send(m, 50, 5, 100);
	is_opaque = true;
	roll_segment();
	compact();
	read_model(m);
	for (int64_t i = 0; i < m->n; i++) {
		ck_assert(m->found[i]);
	}
	is_opaque = false;
	rewrites_badly = true;
	for (int i = 0; i < 4; i++) {
		send(m, 50, 5, 100);
	}
	roll_segment();
	compact();
	read_model(m);
	for (int64_t i = 0; i < m->n; i++) {
		int64_t by = superseded_by(m, i);
		ck_assert(by < INT64_MAX || m->found[i]);
	}
	ck_assert(bed_log_had("COMPACTION-OPAQUE"));
}
END_TEST

/* A damaged segment: what is before it is compacted, it and what follows stay. */
START_TEST(damage_ends_the_pass_before_it)
{
	struct model *m = models;
	int64_t ends[4];
	int64_t sealed;
	bed.options.compactor = NULL;
	open_quietly(false);
	for (int r = 0; r < 4; r++) {
		for (int i = 0; i < 10; i++) {
			send(m, 30, 40, 100);
		}
		roll_segment();
		ends[r] = m->n;
	}
	bed_close(&bed);
	char path[256];
	bed_file(&bed, 3, ".mdb", path, sizeof path);
	bed_flip(path, bed_size(path) / 2);
	bed.options.compactor = &compactor;
	open_quietly(false);
	compact();
	compact();
	/* At first it is not known to be damaged; then nothing beyond it is used. */
	ck_assert_int_le(compacted_to(m, &sealed), ends[1]);
	bed_close(&bed);
	bed_flip(path, bed_size(path) / 2);
	open_quietly(true);
	check_model(m, false);
	compact();
	check_model(m, false);
	ck_assert_int_eq(compacted_to(m, &sealed), ends[3]);
}
END_TEST

/* Whoever reads meanwhile finds the newest of each key in every pass over all. */
START_TEST(readers_see_a_whole_history)
{
	struct model *m = models;
	bed.options.segment_max_bytes = 128 << 10;
	bed.options.clean_rate = 4 << 20;
	open_quietly(false);
	for (int i = 0; i < 60; i++) {
		send(m, 20, 300, 500);
	}
	roll_segment();
	int64_t newest[400];
	memset(newest, 0xff, sizeof newest);
	for (int64_t i = 0; i < m->n; i++) {
		if (m->keys[i] != NO_KEY) {
			newest[m->keys[i]] = i;
		}
	}
	uint64_t before = rounds();
	cleaner_wake(bed.v);
	int passes = 0;
	for (; rounds() == before; passes++) {
		read_model(m);
		for (int k = 0; k < 300; k++) {
			ck_assert(newest[k] < 0 || m->found[newest[k]]);
		}
	}
	ck_assert_int_gt(passes, 2);
	check_model(m, false);
}
END_TEST

/* Switched off again nothing is dropped any more; a retention start cuts as ever. */
START_TEST(retention_and_compaction_go_together)
{
	struct model *m = models;
	open_quietly(false);
	for (int r = 0; r < 3; r++) {
		for (int i = 0; i < 10; i++) {
			send(m, 30, 40, 100);
		}
		roll_segment();
	}
	compact();
	int64_t start = m->n / 2;
	volume_set_start(bed.v, bed_part(0), start);
	settle();
	for (int i = 0; i < 10; i++) {
		send(m, 30, 40, 100);
	}
	roll_segment();
	compact();
	compact();
	read_model(m);
	for (int64_t i = start; i < m->n; i++) {
		ck_assert(m->found[i] || superseded_by(m, i) < m->n);
	}
	volume_set_gone(bed.v, bed_part(0));
	settle();
	lock_take(&bed.v->lock);
	ck_assert_uint_eq(table_find(&bed.v->table, bed_part(0))->n, 0);
	lock_give(&bed.v->lock);
}
END_TEST

/* ---- faults ---------------------------------------------------------------------------- */

static void prepare_faults(void)
{
	open_quietly(false);
	for (int i = 0; i < 8; i++) {
		send(&models[0], 20, 30, 100);
		send(&models[1], 20, 30, 100);
	}
	roll_segment();
	bed_close(&bed);
	open_quietly(false);
}

static enum err try_compact(struct err_detail *d)
{
	struct cleaner c;
	cleaner_begin(&c, bed.v);
	d->text[0] = '\0';
	return cleaner_round(&c, d);
}

START_TEST(pass_survives_lack_of_memory)
{
	int64_t sealed;
	prepare_faults();
	for (long n = 1;; n++) {
		struct err_detail d;
		mem_fault_at(n);
		enum err e = try_compact(&d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_msg(e == ERR_OK || (fired && e == ERR_NOMEM), "allocation %ld: %s: %s", n,
			      err_text(e), d.text);
		check_model(&models[0], false);
		check_model(&models[1], false);
		if (!fired) {
			ck_assert_int_gt(n, 20);
			break;
		}
	}
	ck_assert_int_gt(compacted_to(&models[0], &sealed), 0);
	bed_close(&bed);
	open_quietly(true);
	check_model(&models[0], false);
}
END_TEST

START_TEST(full_disk_defers_the_pass)
{
	int64_t sealed;
	bool fired = true;
	prepare_faults();
	for (long n = 1; fired; n++) {
		struct err_detail d;
		fake_pwrite_fail_at(n, ENOSPC);
		enum err e = try_compact(&d);
		fired = fake_pwrite_fired();
		fake_pwrite_fail_at(0, 0);
		ck_assert_msg(e == (fired ? ERR_FULL : ERR_OK), "write %ld: %s: %s", n, err_text(e),
			      d.text);
		check_model(&models[0], false);
	}
	ck_assert_int_gt(compacted_to(&models[0], &sealed), 0);
	bed_close(&bed);
	open_quietly(true);
	check_model(&models[0], false);
	check_model(&models[1], false);
}
END_TEST

/* The process is killed before each of LMDB's writes in turn. */
START_TEST(kill_at_any_write_loses_nothing)
{
	enum { DONE = 7 };
	int64_t sealed;
	int status = 0;
	bed.options.segment_max_bytes = 128 << 10;
	prepare_faults();
	bed_close(&bed);
	for (long n = 1; status == 0; n++) {
		pid_t pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			struct err_detail d;
			open_quietly(true);
			fake_pwrite_exit_at(n);
			_exit(try_compact(&d) == ERR_OK ? DONE : 1);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status));
		status = WEXITSTATUS(status);
		ck_assert_msg(status == 0 || status == DONE, "write %ld: %d", n, status);
		open_quietly(true);
		check_model(&models[0], false);
		check_model(&models[1], false);
		bed_close(&bed);
		ck_assert(status == 0 || n > 2);
	}
	open_quietly(false);
	ck_assert_int_gt(compacted_to(&models[0], &sealed), 0);
}
END_TEST

Suite *compact_suite(void)
{
	Suite *s = suite_create("compact");
	TCase *t = tcase_create("compact");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, newest_of_each_key_survives);
	tcase_add_test(t, partitions_share_a_segment);
	tcase_add_test(t, tombstones_end_when_old_and_nothing_returns);
	tcase_add_test(t, keys_need_not_fit_in_memory);
	tcase_add_test(t, pass_ends_where_keys_no_longer_fit);
	tcase_add_test(t, survivors_of_many_segments_stay_bounded);
	tcase_add_test(t, covers_may_be_empty);
	tcase_add_test(t, what_cannot_be_read_stays);
	tcase_add_test(t, damage_ends_the_pass_before_it);
	tcase_add_test(t, readers_see_a_whole_history);
	tcase_add_test(t, retention_and_compaction_go_together);
	tcase_add_test(t, pass_survives_lack_of_memory);
	tcase_add_test(t, full_disk_defers_the_pass);
	tcase_add_test(t, kill_at_any_write_loses_nothing);
	suite_add_tcase(s, t);
	return s;
}
