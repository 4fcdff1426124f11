#include "cleaned.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "store/volume/file.h"

struct making {
	struct bed *bed;
	struct segment *s;
	MDB_txn *txn;
	uint64_t log_no;
};

static uint8_t *reserve(struct making *m, size_t n)
{
	uint8_t *p;
	ck_assert_int_eq(env_reserve(m->s->env, m->txn, m->log_no, n, &p, NULL), ERR_OK);
	m->log_no++;
	return p;
}

static void keep(struct making *m, uint32_t p, const struct store_batch *b)
{
	struct volume_command c = {
		.kind = VOLUME_BATCH,
		.encoding = b->encoding,
		.part = bed_part(p),
		.count = (uint32_t)b->count,
		.base_seq = b->base_seq,
		.append_ms = b->append_ms,
		.max_timestamp_ms = b->append_ms,
		.payload = b->batch,
		.key = b->key,
	};
	size_t n = (size_t)volume_entry_size(&c, 1);
	uint64_t log_no = m->log_no;
	record_write_batches(bed_shard(m->bed, p), &c, 1, log_no, reserve(m, n), n);
	ck_assert_int_eq(index_add_batch(m->s->index, bed_shard(m->bed, p), log_no, &c), ERR_OK);
}

/* Reads the range; with `m` writes every step-th batch of it, else fills the cover. */
static void walk(struct bed *b, const struct cleaned_want *w, struct record_cover *cover,
		 uint64_t *bytes, struct making *m)
{
	int64_t at = w->first_seq;
	uint32_t i = 0;
	for (;;) {
		struct volume_read r = {
			.part = bed_part(w->p),
			.from = at,
			.limit = w->end_seq,
			.max_bytes = 1 << 20,
		};
		ck_assert_int_eq(bed_read(b, &r), ERR_OK);
		if (r.out.n == 0) {
			return;
		}
		for (uint32_t k = 0; k < r.out.n; k++, i++) {
			const struct store_batch *sb = &r.out.v[k];
			bool is_kept = w->step > 0 && i % w->step == 0;
			at = sb->base_seq + sb->count;
			cover->last_append_ms = sb->append_ms;
			if (is_kept && m != NULL) {
				keep(m, w->p, sb);
			} else if (is_kept) {
				cover->max_timestamp_ms = sb->append_ms;
				*bytes += sb->batch.n;
			}
		}
		store_batches_drop(&r.out);
	}
}

void cleaned_make(struct bed *b, const struct cleaned_want *wants, size_t n, struct cleaned *out)
{
	struct volume *v = b->v;
	struct segment *s = segment_new(v, v->manifest.next_cleaned);
	struct making m = {.bed = b, .s = s, .log_no = 1};
	char path[SEGMENT_PATH];
	ck_assert_uint_le(n, CLEANED_COVERS);
	*out = (struct cleaned){.segment = s, .n = n};
	s->is_cleaned = true;
	s->is_new = true;
	crypto_uuid(s->uuid);
	s->index = index_new(b->options.shards);
	for (size_t i = 0; i < n; i++) {
		out->covers[i] = (struct record_cover){
			.part = bed_part(wants[i].p),
			.shard = bed_shard(b, wants[i].p),
			.first_seq = wants[i].first_seq,
			.end_seq = wants[i].end_seq,
			.max_timestamp_ms = INT64_MIN,
		};
		walk(b, &wants[i], &out->covers[i], &out->bytes[i], NULL);
	}
	segment_file(s, ".mdb", path);
	ck_assert_int_eq(env_open(path, ENV_WRITE, 64 << 20, ENV_LOG, &s->env, NULL), ERR_OK);
	ck_assert_int_eq(env_write_begin(s->env, &m.txn, NULL), ERR_OK);
	struct record_segment head = {.number = s->number, .shards = b->options.shards,
				      .is_cleaned = true};
	memcpy(head.store_uuid, b->options.store_uuid, IDX_UUID);
	memcpy(head.segment_uuid, s->uuid, IDX_UUID);
	record_write_segment(&head, 1, reserve(&m, RECORD_SEGMENT_HEAD_SIZE));
	record_write_covers(out->covers, (uint32_t)n, 2,
			    reserve(&m, record_covers_size((uint32_t)n)));
	for (size_t i = 0; i < n; i++) {
		walk(b, &wants[i], &out->covers[i], &out->bytes[i], &m);
	}
	ck_assert_int_eq(env_commit(s->env, m.txn, NULL), ERR_OK);
	env_close(&s->env);
	struct idx_head idx = {.number = s->number, .shards = b->options.shards, .first_log_no = 1,
			       .next_log_no = m.log_no};
	memcpy(idx.store_uuid, b->options.store_uuid, IDX_UUID);
	memcpy(idx.segment_uuid, s->uuid, IDX_UUID);
	ck_assert_int_eq(file_checksum(path, NULL, &idx.mdb_bytes, &idx.mdb_crc, NULL), ERR_OK);
	struct idx_covers covers = {out->covers, n};
	int fd;
	ck_assert_int_eq(segment_write_idx(s, s->index, &covers, &idx, &fd, NULL), ERR_OK);
	close(fd);
	index_free(&s->index);
	s->idx = idx;
}

void cleaned_drop(struct cleaned *c)
{
	segment_free(&c->segment);
}

struct segment *cleaned_find(struct bed *b, uint64_t number, bool is_cleaned)
{
	struct segment *found = NULL;
	lock_take(&b->v->lock);
	for (size_t i = 0; i < b->v->n_segments; i++) {
		struct segment *s = b->v->segments[i];
		if (s != NULL && s->number == number && s->is_cleaned == is_cleaned) {
			found = s;
		}
	}
	lock_give(&b->v->lock);
	return found;
}

size_t cleaned_wants_of(struct bed *b, const struct segment *s, struct cleaned_want *out)
{
	size_t n = 0;
	for (uint32_t p = 0; p < BED_PARTS; p++) {
		const struct table_part *t = table_find(&b->v->table, bed_part(p));
		for (size_t i = 0; t != NULL && i < t->n; i++) {
			if (t->extents[i].segment == s->at) {
				out[n++] = (struct cleaned_want){p, t->extents[i].first_seq,
								 t->extents[i].end_seq, 1};
			}
		}
	}
	return n;
}

void cleaned_replace(struct bed *b, struct cleaned *c, struct segment *const *gone, size_t n_gone)
{
	struct err_detail d = {0};
	for (uint32_t i = 0; i < b->options.shards; i++) {
		volume_set_floor(b->v, i, UINT64_MAX);
	}
	enum err e = volume_raise_log_start(b->v, gone, n_gone, &d);
	ck_assert_msg(e == ERR_OK, "%s: %s", err_text(e), d.text);
	e = segment_replace(b->v, c != NULL ? c->segment : NULL, c != NULL ? c->covers : NULL,
			    c != NULL ? c->bytes : NULL, c != NULL ? c->n : 0, gone, n_gone, &d);
	ck_assert_msg(e == ERR_OK, "%s: %s", err_text(e), d.text);
}

size_t cleaned_count(struct bed *b, uint32_t p, int64_t from, int64_t limit)
{
	size_t n = 0;
	for (;;) {
		struct volume_read r = {.part = bed_part(p), .from = from, .limit = limit,
					.max_bytes = 100000};
		ck_assert_int_eq(bed_read(b, &r), ERR_OK);
		if (r.out.n == 0) {
			return n;
		}
		bed_check_batches(p, &r.out);
		const struct store_batch *last = &r.out.v[r.out.n - 1];
		ck_assert_int_gt(last->base_seq + last->count, from);
		from = last->base_seq + last->count;
		n += r.out.n;
		store_batches_drop(&r.out);
	}
}

static void path_of(const struct bed *b, const char *name, char out[512])
{
	snprintf(out, 512, "%s/%s", b->dir, name);
}

void cleaned_copy(const struct bed *b, const char *from, const char *to)
{
	char path[512];
	path_of(b, from, path);
	size_t n = (size_t)bed_size(path);
	uint8_t *all = mem_alloc(n + 1);
	int fd = open(path, O_RDONLY);
	ck_assert_int_eq(read(fd, all, n), (ssize_t)n);
	close(fd);
	path_of(b, to, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_eq(write(fd, all, n), (ssize_t)n);
	close(fd);
	mem_free(all);
}

bool cleaned_has(const struct bed *b, const char *name)
{
	char path[512];
	path_of(b, name, path);
	return access(path, F_OK) == 0;
}
