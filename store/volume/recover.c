#include "store/volume/volume_priv.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/volume/file.h"

/* What the directory holds under one number. */
struct found {
	uint64_t number;
	bool has_mdb;
	bool has_idx;
	uint64_t mdb_bytes;
};

struct listing {
	struct found *v;
	size_t n;
	size_t cap;
};

/* ---- the directory ------------------------------------------------------- */

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name);
	size_t m = strlen(suffix);
	return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* "0000000001.mdb" and "0000000001.idx" only. */
static bool parse_name(const char *name, struct found *out)
{
	enum { DIGITS = 10 };
	*out = (struct found){0};
	for (int i = 0; i < DIGITS; i++) {
		if (name[i] < '0' || name[i] > '9') {
			return false;
		}
		out->number = out->number * 10 + (uint64_t)(name[i] - '0');
	}
	out->has_mdb = strcmp(name + DIGITS, ".mdb") == 0;
	out->has_idx = strcmp(name + DIGITS, ".idx") == 0;
	return out->number > 0 && (out->has_mdb || out->has_idx);
}

static enum err list_one(struct volume *v, struct listing *l, const char *name)
{
	char path[SEGMENT_PATH];
	if (snprintf(path, sizeof path, "%s/%s", v->dir, name) >= (int)sizeof path) {
		return ERR_OK;
	}
	struct found f;
	if (parse_name(name, &f)) {
		struct stat st;
		if (f.has_mdb && stat(path, &st) == 0) {
			f.mdb_bytes = (uint64_t)st.st_size;
		}
		if (!mem_grow((void **)&l->v, &l->cap, l->n + 1, sizeof *l->v)) {
			return ERR_NOMEM;
		}
		l->v[l->n++] = f;
		return ERR_OK;
	}
	if (strstr(name, ".idx.tmp") != NULL || ends_with(name, ".mdb-lock")) {
		unlink(path);
	} else if (name[0] != '.') {
		log_warn("FOREIGN-FILE", "dir=%s name=%s", v->dir, log_quote(name));
	}
	return ERR_OK;
}

static int by_number(const void *a, const void *b)
{
	uint64_t na = ((const struct found *)a)->number;
	uint64_t nb = ((const struct found *)b)->number;
	return na < nb ? -1 : na > nb;
}

static enum err list_dir(struct volume *v, struct listing *l, struct err_detail *d)
{
	DIR *dir = opendir(v->dir);
	if (dir == NULL) {
		return err_set(d, ERR_IO, "%s: %s", v->dir, strerror(errno));
	}
	enum err e = ERR_OK;
	struct dirent *entry;
	while (e == ERR_OK && (entry = readdir(dir)) != NULL) {
		e = list_one(v, l, entry->d_name);
	}
	closedir(dir);
	if (e != ERR_OK) {
		return err_set(d, e, "%s: out of memory", v->dir);
	}
	if (l->n == 0) {
		return ERR_OK;
	}
	qsort(l->v, l->n, sizeof *l->v, by_number);
	size_t n = 1;
	for (size_t i = 1; i < l->n; i++) {
		struct found *last = &l->v[n - 1];
		if (l->v[i].number != last->number) {
			l->v[n++] = l->v[i];
			continue;
		}
		last->has_mdb |= l->v[i].has_mdb;
		last->has_idx |= l->v[i].has_idx;
		last->mdb_bytes += l->v[i].mdb_bytes;
	}
	l->n = n;
	return ERR_OK;
}

/* A crash while a segment was being made leaves a last file without its head:
 * nothing in it was ever acknowledged, so it goes. */
static enum err drop_headless_last(struct volume *v, struct listing *l, struct err_detail *d)
{
	const struct found *last = l->n > 0 ? &l->v[l->n - 1] : NULL;
	if (last == NULL || !last->has_mdb || last->has_idx) {
		return ERR_OK;
	}
	char path[SEGMENT_PATH];
	segment_path(v, last->number, ".mdb", path);
	bool never;
	enum err e = env_never_committed(path, &never, d);
	if (e != ERR_OK || !never) {
		return e;
	}
	/* A predecessor is sealed only when this file's head is durable. */
	bool had_head = l->n > 1 && l->v[l->n - 2].has_idx;
	if (!v->options.was_unclean || had_head) {
		return err_set(d, ERR_CORRUPT, "%s: is empty, its content is lost", path);
	}
	log_warn("SEGMENT-UNFINISHED", "file=%s", path);
	if (unlink(path) != 0) {
		return err_set(d, ERR_IO, "%s: %s", path, strerror(errno));
	}
	l->n--;
	return file_sync_dir(v->dir, d);
}

/* Every number between the first and the last must be there. */
static enum err check_listing(const struct volume *v, const struct listing *l, struct err_detail *d)
{
	char path[SEGMENT_PATH];
	for (size_t i = 0; i < l->n; i++) {
		if (i > 0 && l->v[i].number != l->v[i - 1].number + 1) {
			segment_path(v, l->v[i - 1].number + 1, ".mdb", path);
			return err_set(d, ERR_CORRUPT, "%s: is missing", path);
		}
	}
	if (l->n > 0 && l->v[l->n - 1].has_idx) {
		/* Sealed, so there was a next one. */
		segment_path(v, l->v[l->n - 1].number + 1, ".mdb", path);
		return err_set(d, ERR_CORRUPT, "%s: is missing", path);
	}
	return ERR_OK;
}

/* ---- sealed segments ----------------------------------------------------- */

struct tables {
	struct idx_part *parts;
	struct idx_shard *shards;
	uint64_t *last_terms;
};

/* Reads what the volume keeps in memory; a damaged block shows here. */
static enum err read_tables(struct idx_reader *r, struct tables *t)
{
	uint64_t n_parts = r->head->section[IDX_PARTS].n;
	uint32_t n_shards = r->head->shards;
	t->parts = mem_calloc(n_parts, sizeof *t->parts);
	t->shards = mem_calloc(n_shards, sizeof *t->shards);
	t->last_terms = mem_calloc(n_shards, sizeof *t->last_terms);
	if (t->parts == NULL || t->shards == NULL || t->last_terms == NULL) {
		return ERR_NOMEM;
	}
	enum err e = ERR_OK;
	for (uint64_t i = 0; e == ERR_OK && i < n_parts; i++) {
		e = idx_part_at(r, i, &t->parts[i]);
	}
	for (uint32_t i = 0; e == ERR_OK && i < n_shards; i++) {
		e = idx_shard_at(r, i, &t->shards[i]);
		if (e == ERR_OK && t->shards[i].n_rows > 0) {
			struct index_raft last;
			e = idx_raft_at(r, t->shards[i].first_row + t->shards[i].n_rows - 1, &last);
			t->last_terms[i] = last.term;
		}
	}
	return e;
}

static enum err add_tables(struct volume *v, const struct segment *s, const struct tables *t)
{
	enum err e = ERR_OK;
	for (uint64_t i = 0; e == ERR_OK && i < s->idx.section[IDX_PARTS].n; i++) {
		const struct idx_part *p = &t->parts[i];
		struct volume_range r = {
			.part = p->part,
			.first_seq = p->first_seq,
			.next_seq = p->next_seq,
			.last_append_ms = p->last_append_ms,
			.max_timestamp_ms = p->max_timestamp_ms,
			.bytes = p->bytes,
		};
		e = table_add_part(&v->table, s->at, &r);
	}
	for (uint32_t i = 0; e == ERR_OK && i < v->options.shards; i++) {
		const struct idx_shard *sh = &t->shards[i];
		if (sh->has_hard) {
			v->table.shards[i].info.hard = sh->hard;
		}
		if (sh->n_rows > 0) {
			e = table_add_raft(&v->table, s->at, i, sh->first_index,
					   sh->first_index + sh->n_rows - 1, t->last_terms[i]);
		}
	}
	return e;
}

static enum err check_identity(const struct volume *v, const struct segment *s,
			       const struct idx_head *h, struct err_detail *d)
{
	char path[SEGMENT_PATH];
	segment_path(v, s->number, ".idx", path);
	if (h->number != s->number) {
		return err_set(d, ERR_CORRUPT, "%s: is of another segment", path);
	}
	if (memcmp(h->store_uuid, v->options.store_uuid, IDX_UUID) != 0) {
		return err_set(d, ERR_INVALID, "%s: belongs to another store", path);
	}
	if (h->shards != v->options.shards) {
		return err_set(d, ERR_INVALID, "%s: was made with %u shards, not %u", path, h->shards,
			       v->options.shards);
	}
	return ERR_OK;
}

/* ERR_CORRUPT: the .idx is no good; nothing of it has been used. */
static enum err load_sealed(struct volume *v, struct segment *s, const struct found *f,
			    bool *is_added, struct err_detail *d)
{
	char path[SEGMENT_PATH];
	segment_path(v, s->number, ".idx", path);
	struct tables t = {0};
	int fd;
	*is_added = false;
	enum err e = idx_open(path, &s->idx, &fd, d);
	if (e != ERR_OK) {
		return e;
	}
	e = check_identity(v, s, &s->idx, d);
	struct idx_reader r;
	idx_reader_init(&r, fd, &s->idx);
	if (e == ERR_OK) {
		e = read_tables(&r, &t);
		if (e != ERR_OK) {
			err_set(d, e, "%s: %s", path, err_text(e));
		}
	}
	if (e == ERR_OK) {
		*is_added = true;
		e = add_tables(v, s, &t);
		if (e != ERR_OK) {
			err_set(d, e, "%s: does not follow the segments before it", path);
		}
	}
	mem_free(t.parts);
	mem_free(t.shards);
	mem_free(t.last_terms);
	close(fd);
	if (e != ERR_OK) {
		return e;
	}
	memcpy(s->uuid, s->idx.segment_uuid, IDX_UUID);
	s->first_log_no = s->idx.first_log_no;
	s->next_log_no = s->idx.next_log_no;
	s->state = SEGMENT_SEALED;
	if (!f->has_mdb || f->mdb_bytes != s->idx.mdb_bytes) {
		s->is_damaged = true;
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("SEGMENT-DAMAGED", "segment=%010llu reason=\"%s\"",
			  (unsigned long long)s->number,
			  f->has_mdb ? "the .mdb has another size" : "the .mdb is missing");
	}
	return ERR_OK;
}

/* ---- segments without an index ------------------------------------------- */

static enum err load_unsealed(struct volume *v, struct segment *s, bool is_last, bool in_child,
			      struct err_detail *d)
{
	char path[SEGMENT_PATH];
	segment_path(v, s->number, ".mdb", path);
	bool is_sound = true;
	/* A process that was killed while it wrote leaves pages that only the
	 * kernel has. What is served and checksummed from here on must not be taken
	 * back by a power cut. */
	enum err e = file_sync(path, d);
	if (e == ERR_OK && in_child) {
		e = walk_in_child(path, walk_segment_is_sound, &is_sound, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	s->index = index_new(v->options.shards);
	if (s->index == NULL) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", path);
	}
	e = env_open(path, is_last ? ENV_WRITE : ENV_READ, v->map_bytes, ENV_LOG, &s->env, d);
	if (e != ERR_OK) {
		return e;
	}
	struct walk_index w = {
		.volume = v,
		.n_earlier = s->at,
		.number = s->number,
		.index = s->index,
	};
	e = walk_records(s->env, ENV_OPENER, is_sound ? 0 : WALK_PAYLOADS, walk_index_record, &w, d);
	if (e == ERR_INVALID) {
		err_set(d, e, "%s: belongs to another store or was made with %u shards, not %u", path,
			w.head.shards, v->options.shards);
	}
	if (e == ERR_OK && !w.has_head) {
		e = err_set(d, ERR_CORRUPT, "%s: has no records", path);
	}
	MDB_txn *txn;
	if (e == ERR_OK && is_last && (e = env_read_begin(s->env, ENV_OPENER, &txn)) == ERR_OK) {
		e = env_check_free(s->env, txn);
		env_read_end(s->env, ENV_OPENER);
		if (e != ERR_OK) {
			err_set(d, e, "%s: list of free pages is damaged", path);
		}
	}
	memcpy(s->uuid, w.head.segment_uuid, IDX_UUID);
	s->first_log_no = w.first_log_no;
	s->next_log_no = w.next_log_no;
	s->state = is_last ? SEGMENT_ACTIVE : SEGMENT_CLOSED;
	return e;
}

/* Adds the indexes of the segments from..end - 1 to the tables. */
static enum err publish(struct volume *v, size_t from, size_t end, struct err_detail *d)
{
	for (size_t i = from; i < end; i++) {
		struct segment *s = v->segments[i];
		enum err e = table_add_index(&v->table, s->at, s->index);
		if (e != ERR_OK) {
			return err_set(d, e, "segment %010llu: %s", (unsigned long long)s->number,
				       e == ERR_CORRUPT ? "does not follow the segments before it"
							: err_text(e));
		}
	}
	return ERR_OK;
}

static enum err load_one(struct volume *v, const struct found *f, bool is_last, size_t *published,
			 struct err_detail *d)
{
	struct segment *s = segment_new(v, f->number);
	if (s == NULL || segment_add(v, s) != ERR_OK) {
		segment_free(&s);
		return err_set(d, ERR_NOMEM, "%s: out of memory", v->dir);
	}
	if (!f->has_idx) {
		/* Published when a sealed one follows or all are there: until then a
		 * truncation may reach into it. */
		return load_unsealed(v, s, is_last, v->options.was_unclean, d);
	}
	enum err e = publish(v, *published, s->at, d);
	*published = s->at;
	if (e != ERR_OK) {
		return e;
	}
	bool is_added;
	e = load_sealed(v, s, f, &is_added, d);
	if ((e == ERR_CORRUPT || e == ERR_VERSION) && !is_added && f->has_mdb) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("INDEX-DAMAGED", "segment=%010llu reason=%s",
			  (unsigned long long)s->number, log_quote(d->text));
		d->text[0] = '\0';
		return load_unsealed(v, s, false, true, d);
	}
	if (e == ERR_OK) {
		*published = (size_t)s->at + 1;
	}
	return e;
}

static enum err check_chain(struct volume *v, struct err_detail *d)
{
	for (size_t i = 1; i < v->n_segments; i++) {
		const struct segment *s = v->segments[i];
		uint64_t expected = v->segments[i - 1]->next_log_no;
		if (s->first_log_no != expected) {
			return err_set(d, ERR_CORRUPT,
				       "segment %010llu: begins with record %llu, not %llu",
				       (unsigned long long)s->number,
				       (unsigned long long)s->first_log_no,
				       (unsigned long long)expected);
		}
	}
	const struct index *ix = v->active->index;
	for (uint32_t i = 0; i < ix->n_shards; i++) {
		if (!ix->shards[i].has_hard) {
			return err_set(d, ERR_CORRUPT, "segment %010llu: no hard state of shard %u",
				       (unsigned long long)v->active->number, i);
		}
	}
	return ERR_OK;
}

static enum err found_volume(struct volume *v, struct err_detail *d)
{
	for (uint32_t i = 0; i < v->options.shards; i++) {
		v->table.shards[i].info.hard = (struct volume_hard_state){
			.shard = i,
			.term = 1,
			.vote = v->options.node_id,
			.log_start = 1,
		};
	}
	v->next_log_no = 1;
	return segment_create(v, d);
}

static enum err load_all(struct volume *v, const struct listing *l, struct err_detail *d)
{
	/* The newest file's name may not be durable when its making was cut short. */
	enum err e = file_sync_dir(v->dir, d);
	size_t published = 0;
	for (size_t i = 0; e == ERR_OK && i < l->n; i++) {
		e = load_one(v, &l->v[i], i + 1 == l->n, &published, d);
	}
	if (e == ERR_OK) {
		e = publish(v, published, v->n_segments, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	v->active = v->segments[v->n_segments - 1];
	v->next_log_no = v->active->next_log_no;
	v->used_bytes = env_used_bytes(v->active->env);
	v->active_is_fresh =
		v->active->next_log_no - v->active->first_log_no <= 1 + (uint64_t)v->options.shards;
	return check_chain(v, d);
}

enum err volume_recover(struct volume *v, struct err_detail *d)
{
	struct listing l = {0};
	enum err e = list_dir(v, &l, d);
	if (e == ERR_OK) {
		e = drop_headless_last(v, &l, d);
	}
	if (e == ERR_OK) {
		e = check_listing(v, &l, d);
	}
	if (e == ERR_OK) {
		e = l.n == 0 ? found_volume(v, d) : load_all(v, &l, d);
	}
	mem_free(l.v);
	return e;
}
