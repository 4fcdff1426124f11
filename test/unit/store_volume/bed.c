#include "bed.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

enum { ENTRY_COMMANDS = 32, VALUE_HEAD = 12 };

struct bed_entry {
	struct volume_entry e;
	struct bed *bed;
	struct volume_command commands[ENTRY_COMMANDS];
	struct buf *bufs[ENTRY_COMMANDS];
	uint32_t n;
};

void bed_init(struct bed *b)
{
	*b = (struct bed){.now_ms = 1000, .first_ms = 1000};
	snprintf(b->dir, sizeof b->dir, "/tmp/volume-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(b->dir));
	mailbox_init(&b->box, NULL, NULL);
	b->options = (struct volume_options){
		.dir = b->dir,
		.shards = 2,
		.node_id = 7,
		.segment_max_bytes = 1 << 20,
		.commit_max_bytes = 256 << 10,
		.may_lack_manifest = true,
	};
	memset(b->options.store_uuid, 0xab, sizeof b->options.store_uuid);
	for (uint32_t i = 0; i < BED_SHARDS; i++) {
		b->next_index[i] = 1;
	}
}

static void remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		char sub[512];
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
			continue;
		}
		snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
		if (unlink(sub) != 0) {
			remove_tree(sub);
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
	rmdir(path);
}

void bed_fini(struct bed *b)
{
	bed_close(b);
	mailbox_fini(&b->box);
	remove_tree(b->dir);
	log_sink(NULL, NULL);
}

enum err bed_try_open(struct bed *b, bool was_unclean, struct err_detail *d)
{
	b->options.was_unclean = was_unclean;
	return volume_open(&b->options, &b->v, d);
}

void bed_start(struct bed *b)
{
	struct err_detail d;
	ck_assert_int_eq(volume_start(b->v, &d), ERR_OK);
}

void bed_open(struct bed *b, bool was_unclean)
{
	struct err_detail d;
	enum err e = bed_try_open(b, was_unclean, &d);
	ck_assert_msg(e == ERR_OK, "volume_open: %s: %s", err_text(e), d.text);
	bed_start(b);
}

void bed_close(struct bed *b)
{
	volume_stop(&b->v);
}

void bed_reopen(struct bed *b, bool was_unclean)
{
	bed_close(b);
	bed_open(b, was_unclean);
}

struct store_part bed_part(uint32_t p)
{
	return (struct store_part){.hub_id = 1 + p / 4, .partition = p % 4};
}

uint32_t bed_shard(const struct bed *b, uint32_t p)
{
	return p % b->options.shards;
}

/* ---- writing ---------------------------------------------------------------- */

static void fill_value(uint8_t *v, size_t n, uint32_t p, int64_t seq)
{
	put_u32(v, p);
	put_u64(v + 4, (uint64_t)seq);
	memset(v + VALUE_HEAD, (int)((p + (uint64_t)seq) & 0xff), n - VALUE_HEAD);
}

struct bed_entry *bed_entry_begin(struct bed *b, uint32_t shard)
{
	struct bed_entry *e = MEM_NEW(struct bed_entry);
	ck_assert_ptr_nonnull(e);
	e->bed = b;
	e->e.shard = shard;
	return e;
}

void bed_entry_batch(struct bed *b, struct bed_entry *e, uint32_t p, int32_t events, size_t value)
{
	ck_assert_uint_lt(e->n, ENTRY_COMMANDS);
	ck_assert_uint_eq(e->e.shard, bed_shard(b, p));
	if (value < VALUE_HEAD) {
		value = VALUE_HEAD;
	}
	int64_t base = b->next_seq[p];
	struct batch_builder build;
	batch_builder_init(&build, (size_t)events * (value + BATCH_RECORD_MAX), LIMIT_BATCH);
	uint8_t *v = mem_alloc(value);
	for (int32_t i = 0; i < events; i++) {
		fill_value(v, value, p, base + i);
		struct span part = span_of(v, value);
		batch_builder_add(&build, &part, 1);
	}
	mem_free(v);
	struct buf *buf;
	ck_assert_int_eq(batch_builder_finish(&build, &buf), ERR_OK);
	int64_t timestamp_ms = b->timestamp_ms != 0 ? b->timestamp_ms : b->now_ms;
	batch_seal(buf->data, buf->len, timestamp_ms);
	batch_place(buf->data, base);
	e->bufs[e->n] = buf;
	e->commands[e->n++] = (struct volume_command){
		.kind = VOLUME_BATCH,
		.encoding = BATCH_AMQP,
		.part = bed_part(p),
		.count = (uint32_t)events,
		.base_seq = base,
		.append_ms = b->now_ms,
		.max_timestamp_ms = timestamp_ms,
		.payload = span_of(buf->data, buf->len),
		.key = p % 2 == 0 ? span_str("key") : span_of(NULL, 0),
	};
	b->next_seq[p] += events;
}

void bed_entry_command(struct bed_entry *e, enum volume_kind kind, const char *payload)
{
	ck_assert_uint_lt(e->n, ENTRY_COMMANDS);
	e->commands[e->n++] =
		(struct volume_command){.kind = kind, .payload = span_str(payload)};
}

static void on_done(struct msg *m)
{
	struct bed_entry *e = (struct bed_entry *)(void *)m;
	ck_assert_uint_gt(e->e.log_no, 0);
	e->bed->outstanding--;
	for (uint32_t i = 0; i < e->n; i++) {
		buf_drop(&e->bufs[i]);
	}
	mem_free(e);
}

void bed_submit(struct bed *b, struct bed_entry *e)
{
	e->e.reply_to = &b->box;
	e->e.done = on_done;
	e->e.term = 1;
	e->e.index = b->next_index[e->e.shard]++;
	e->e.commands = e->commands;
	e->e.n_commands = e->n;
	b->outstanding++;
	b->now_ms++;
	volume_append(b->v, &e->e);
}

void bed_wait(struct bed *b)
{
	while (b->outstanding > 0) {
		msg_run_all(mailbox_wait(&b->box, INT64_MAX));
	}
}

void bed_append(struct bed *b, uint32_t p, int32_t events, size_t value)
{
	struct bed_entry *e = bed_entry_begin(b, bed_shard(b, p));
	bed_entry_batch(b, e, p, events, value);
	bed_submit(b, e);
	bed_wait(b);
}

/* ---- reading ---------------------------------------------------------------- */

static void on_answer(struct msg *m)
{
	(void)m;
}

enum err bed_read(struct bed *b, struct volume_read *r)
{
	r->reply_to = &b->box;
	r->done = on_answer;
	volume_read(b->v, r);
	msg_run_all(mailbox_wait(&b->box, INT64_MAX));
	return r->err;
}

enum err bed_seek(struct bed *b, struct volume_seek *s)
{
	s->reply_to = &b->box;
	s->done = on_answer;
	volume_seek(b->v, s);
	msg_run_all(mailbox_wait(&b->box, INT64_MAX));
	return s->err;
}

enum err bed_cut(struct bed *b, struct volume_cut *c)
{
	c->reply_to = &b->box;
	c->done = on_answer;
	volume_cut(b->v, c);
	msg_run_all(mailbox_wait(&b->box, INT64_MAX));
	return c->err;
}

void bed_check_batches(uint32_t p, const struct store_batches *batches)
{
	for (uint32_t i = 0; i < batches->n; i++) {
		const struct store_batch *s = &batches->v[i];
		ck_assert_int_eq(batch_check(s->batch), ERR_OK);
		ck_assert(span_eq_str(s->key, p % 2 == 0 ? "key" : ""));
		ck_assert_int_eq(s->encoding, BATCH_AMQP);
		if (i > 0) {
			const struct store_batch *prev = &batches->v[i - 1];
			ck_assert_int_ge(s->base_seq, prev->base_seq + prev->count);
			ck_assert_int_ge(s->append_ms, prev->append_ms);
		}
		struct batch_iter it;
		struct batch_record rec;
		ck_assert_int_eq(batch_iter_init(&it, s->batch), ERR_OK);
		int32_t n = 0;
		while (batch_iter_next(&it, &rec) == ERR_OK) {
			uint8_t *want = mem_alloc(rec.value.n);
			ck_assert_uint_ge(rec.value.n, VALUE_HEAD);
			fill_value(want, rec.value.n, p, s->base_seq + n);
			ck_assert_int_eq(memcmp(want, rec.value.p, rec.value.n), 0);
			mem_free(want);
			n++;
		}
		ck_assert_int_eq(n, s->count);
	}
}

void bed_check_read(struct bed *b, uint32_t p, int64_t from, int64_t limit)
{
	int64_t at = from;
	while (at < limit) {
		struct volume_read r = {
			.part = bed_part(p),
			.from = at,
			.limit = limit,
			.max_bytes = 300000,
		};
		enum err e = bed_read(b, &r);
		ck_assert_msg(e == ERR_OK, "partition %u at %lld: %s", p, (long long)at,
			      err_text(e));
		ck_assert_msg(r.out.n > 0, "partition %u: nothing at %lld of %lld", p,
			      (long long)at, (long long)limit);
		const struct store_batch *first = &r.out.v[0];
		const struct store_batch *last = &r.out.v[r.out.n - 1];
		ck_assert_int_le(first->base_seq, at);
		ck_assert_int_gt(first->base_seq + first->count, at);
		bed_check_batches(p, &r.out);
		int64_t events = 0;
		for (uint32_t i = 0; i < r.out.n; i++) {
			events += r.out.v[i].count;
		}
		ck_assert_int_eq(events, last->base_seq + last->count - first->base_seq);
		at = last->base_seq + last->count;
		store_batches_drop(&r.out);
	}
	ck_assert_int_eq(at, limit);
}

struct ranges {
	struct bed *bed;
	uint32_t n;
};

static void on_range(void *arg, const struct volume_range *r)
{
	struct ranges *all = arg;
	uint32_t p = (r->part.hub_id - 1) * 4 + r->part.partition;
	ck_assert_uint_lt(p, BED_PARTS);
	ck_assert_int_eq(r->first_seq, 0);
	ck_assert_int_eq(r->next_seq, all->bed->next_seq[p]);
	ck_assert_int_lt(r->last_append_ms, all->bed->now_ms);
	ck_assert_int_eq(r->max_timestamp_ms, r->last_append_ms);
	ck_assert_uint_gt(r->bytes, 0);
	all->n++;
}

void bed_check_info(struct bed *b)
{
	struct ranges all = {.bed = b};
	volume_ranges(b->v, on_range, &all);
	uint32_t used = 0;
	for (uint32_t p = 0; p < BED_PARTS; p++) {
		used += b->next_seq[p] > 0;
	}
	ck_assert_uint_eq(all.n, used);
	for (uint32_t i = 0; i < b->options.shards; i++) {
		struct volume_shard_info info;
		volume_shard_info(b->v, i, &info);
		ck_assert_uint_eq(info.last_index, b->next_index[i] - 1);
		ck_assert_uint_eq(info.first_index, info.last_index > 0 ? 1 : 0);
		ck_assert_uint_eq(info.last_term, info.last_index > 0 ? 1 : 0);
	}
}

void bed_check_all(struct bed *b)
{
	bed_check_info(b);
	for (uint32_t p = 0; p < BED_PARTS; p++) {
		bed_check_read(b, p, 0, b->next_seq[p]);
	}
}

/* ---- files ------------------------------------------------------------------ */

void bed_file(const struct bed *b, uint64_t number, const char *suffix, char *out, size_t n)
{
	snprintf(out, n, "%s/segments/%010llu%s", b->dir, (unsigned long long)number, suffix);
}

bool bed_has_file(const struct bed *b, uint64_t number, const char *suffix)
{
	char path[256];
	bed_file(b, number, suffix, path, sizeof path);
	return access(path, F_OK) == 0;
}

void bed_wait_sealed(const struct bed *b, uint64_t number)
{
	/* The sealer tells nobody; its file appears by a rename. */
	for (int i = 0; i < 20000 && !bed_has_file(b, number, ".idx"); i++) {
		usleep(1000);
	}
	ck_assert(bed_has_file(b, number, ".idx"));
}

int64_t bed_size(const char *path)
{
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

void bed_unlink(const struct bed *b, const char *name)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", b->dir, name);
	ck_assert_msg(unlink(path) == 0, "%s", path);
}

void bed_flip(const char *path, int64_t at)
{
	bed_flip_bit(path, at, 4);
}

void bed_flip_bit(const char *path, int64_t at, int bit)
{
	at = at < 0 ? bed_size(path) + at : at;
	int fd = open(path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	uint8_t c;
	ck_assert_int_eq(pread(fd, &c, 1, at), 1);
	c ^= (uint8_t)(1 << bit);
	ck_assert_int_eq(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

int64_t bed_find(const char *path, const void *pattern, size_t n)
{
	int64_t size = bed_size(path);
	uint8_t *all = mem_alloc((size_t)size);
	int fd = open(path, O_RDONLY);
	ck_assert_int_eq(read(fd, all, (size_t)size), size);
	close(fd);
	const uint8_t *at = memmem(all, (size_t)size, pattern, n);
	int64_t found = at != NULL ? at - all : -1;
	mem_free(all);
	return found;
}

/* ---- the log ---------------------------------------------------------------- */

static struct lock log_lock;
static char log_text[1 << 16];
static size_t log_used;

static void on_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	lock_take(&log_lock);
	size_t n = strlen(line);
	if (log_used + n < sizeof log_text) {
		memcpy(log_text + log_used, line, n + 1);
		log_used += n;
	}
	lock_give(&log_lock);
}

void bed_log_catch(void)
{
	lock_init(&log_lock);
	log_sink(on_line, NULL);
}

bool bed_log_had(const char *id)
{
	lock_take(&log_lock);
	bool had = strstr(log_text, id) != NULL;
	log_text[0] = '\0';
	log_used = 0;
	lock_give(&log_lock);
	return had;
}
