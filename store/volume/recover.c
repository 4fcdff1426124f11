#include "store/volume/recover_priv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/volume/file.h"

/* Opening: the log segments in order of number make the tables, cleaned ones in order of
 * theirs are painted over them, and the manifest is brought up to date. */

/* ---- sealed segments ----------------------------------------------------- */

struct tables {
	struct idx_part *parts;
	struct idx_shard *shards;
};

/* Reads what the volume keeps in memory; a damaged block shows here. */
static enum err read_tables(struct idx_reader *r, struct tables *t)
{
	uint64_t n_parts = r->head->section[IDX_PARTS].n;
	uint32_t n_shards = r->head->shards;
	t->parts = mem_calloc(n_parts, sizeof *t->parts);
	t->shards = mem_calloc(n_shards, sizeof *t->shards);
	if (t->parts == NULL || t->shards == NULL) {
		return ERR_NOMEM;
	}
	enum err e = ERR_OK;
	for (uint64_t i = 0; e == ERR_OK && i < n_parts; i++) {
		e = idx_part_at(r, i, &t->parts[i]);
	}
	for (uint32_t i = 0; e == ERR_OK && i < n_shards; i++) {
		e = idx_shard_at(r, i, &t->shards[i]);
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
		bool is_sound = p->n_rows > 0 && p->first_seq < p->next_seq;
		e = is_sound ? table_add_part(&v->table, s->at, p->shard, &r) : ERR_CORRUPT;
	}
	for (uint32_t i = 0; e == ERR_OK && i < v->options.shards; i++) {
		const struct idx_shard *sh = &t->shards[i];
		if (sh->has_hard) {
			v->table.shards[i].info.hard = sh->hard;
		}
		if (sh->n_rows > 0) {
			/* The last term of all is read when all are there. */
			e = table_add_raft(&v->table, s->at, i, sh->first_index,
					   sh->first_index + sh->n_rows - 1, 0);
		}
	}
	return e;
}

static enum err paint_tables(struct volume *v, const struct segment *s, const struct tables *t)
{
	enum err e = ERR_OK;
	for (uint64_t i = 0; e == ERR_OK && i < s->idx.section[IDX_PARTS].n; i++) {
		const struct idx_part *p = &t->parts[i];
		struct record_cover c = {
			.part = p->part,
			.shard = p->shard,
			.flags = p->flags,
			.first_seq = p->first_seq,
			.end_seq = p->next_seq,
			.last_append_ms = p->last_append_ms,
			.max_timestamp_ms = p->max_timestamp_ms,
		};
		e = c.first_seq < c.end_seq ? table_paint(&v->table, s->at, &c, p->bytes)
					    : ERR_CORRUPT;
	}
	return e;
}

static enum err check_identity(const struct volume *v, const struct segment *s,
			       const struct idx_head *h, struct err_detail *d)
{
	char path[SEGMENT_PATH];
	segment_file(s, ".idx", path);
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

/* Its ranges, when they are known, answer ERR_CORRUPT; the rest serves. */
static void tell_damaged(struct segment *s, const char *reason)
{
	s->state = SEGMENT_SEALED;
	s->is_damaged = true;
	metric_inc(METRIC_STORE_CORRUPT);
	log_error("SEGMENT-DAMAGED", "segment=%s reason=%s", segment_name(s).text,
		  log_quote(reason));
}

/* ERR_CORRUPT: the .idx is no good; nothing of it has been used. */
static enum err load_sealed(struct volume *v, struct segment *s, const struct found *f,
			    bool *is_added, struct err_detail *d)
{
	char path[SEGMENT_PATH];
	segment_file(s, ".idx", path);
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
		e = s->is_cleaned ? paint_tables(v, s, &t) : add_tables(v, s, &t);
		if (e != ERR_OK) {
			err_set(d, e, "%s: %s", path,
				e == ERR_CORRUPT ? "does not follow the segments before it"
						 : err_text(e));
		}
	}
	mem_free(t.parts);
	mem_free(t.shards);
	close(fd);
	if (e != ERR_OK) {
		return e;
	}
	memcpy(s->uuid, s->idx.segment_uuid, IDX_UUID);
	s->first_log_no = s->idx.first_log_no;
	s->next_log_no = s->idx.next_log_no;
	s->state = SEGMENT_SEALED;
	segment_set_bytes_locked(s, s->idx.mdb_bytes + segment_idx_bytes(&s->idx));
	if (!f->has_mdb || f->mdb_bytes != s->idx.mdb_bytes) {
		tell_damaged(s, f->has_mdb ? "the .mdb has another size" : "the .mdb is missing");
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
	if (e == ERR_OK && (in_child || env_is_short(path))) {
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
	segment_set_bytes_locked(s, env_used_bytes(s->env));
	return e;
}

/* Adds the indexes of the segments from..end - 1 to the tables. */
static enum err publish(struct volume *v, size_t from, size_t end, struct err_detail *d)
{
	for (size_t i = from; i < end; i++) {
		struct segment *s = v->segments[i];
		if (s->index == NULL) {
			continue;	/* lost */
		}
		enum err e = table_add_index(&v->table, s->at, s->index);
		if (e != ERR_OK) {
			return err_set(d, e, "segment %010llu: %s", (unsigned long long)s->number,
				       e == ERR_CORRUPT ? "does not follow the segments before it"
							: err_text(e));
		}
	}
	return ERR_OK;
}

static enum err segment_of(struct volume *v, const struct found *f, struct segment **out,
			   struct err_detail *d)
{
	struct segment *s = segment_new(v, f->number);
	if (s != NULL) {
		s->is_cleaned = f->is_cleaned;
	}
	if (s == NULL || segment_add(v, s) != ERR_OK) {
		segment_free(&s);
		return err_set(d, ERR_NOMEM, "%s: out of memory", v->dir);
	}
	*out = s;
	return ERR_OK;
}

static enum err load_log(struct volume *v, const struct found *f, bool is_last, size_t *published,
			 struct err_detail *d)
{
	struct segment *s;
	enum err e = segment_of(v, f, &s, d);
	if (e != ERR_OK) {
		return e;
	}
	if (!f->has_idx && f->has_mdb) {
		/* Published when a sealed one follows or all are there: until then a
		 * truncation may reach into it. */
		return load_unsealed(v, s, is_last, v->options.was_unclean, d);
	}
	if (!f->has_idx) {
		tell_damaged(s, "it is missing");
		return ERR_OK;
	}
	e = publish(v, *published, s->at, d);
	*published = s->at;
	if (e != ERR_OK) {
		return e;
	}
	bool is_added;
	e = load_sealed(v, s, f, &is_added, d);
	if ((e == ERR_CORRUPT || e == ERR_VERSION) && !is_added && f->has_mdb) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("INDEX-DAMAGED", "segment=%s reason=%s", segment_name(s).text,
			  log_quote(d->text));
		d->text[0] = '\0';
		return load_unsealed(v, s, false, true, d);
	}
	if (e == ERR_OK) {
		*published = (size_t)s->at + 1;
	}
	return e;
}

/* ---- cleaned segments ------------------------------------------------------ */

static enum err index_cleaned(struct volume *v, struct segment *s, const char *path,
			      struct idx_head *head, struct err_detail *d)
{
	struct index *ix = index_new(v->options.shards);
	struct walk_index w = {
		.volume = v,
		.number = s->number,
		.is_cleaned = true,
		.index = ix,
	};
	if (ix == NULL) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", path);
	}
	int fd = -1;
	struct env *env = NULL;
	enum err e = env_open(path, ENV_READ, 0, ENV_LOG, &env, d);
	if (e == ERR_OK) {
		e = walk_records(env, ENV_OPENER, WALK_PAYLOADS, walk_index_record, &w, d);
	}
	env_close(&env);
	if (e == ERR_OK && !w.has_covers) {
		e = err_set(d, ERR_CORRUPT, "%s: has no covers", path);
	}
	if (e == ERR_OK) {
		struct idx_covers covers = {w.covers, w.n_covers};
		memcpy(head->segment_uuid, w.head.segment_uuid, IDX_UUID);
		head->first_log_no = w.first_log_no;
		head->next_log_no = w.next_log_no;
		e = segment_write_idx(s, ix, &covers, head, &fd, d);
	}
	if (fd >= 0) {
		close(fd);
	}
	walk_index_fini(&w);
	index_free(&ix);
	return e;
}

/* Makes a cleaned segment's .idx anew; the .mdb is read in a child process first. */
static enum err rebuild_cleaned(struct volume *v, struct segment *s, struct err_detail *d)
{
	char path[SEGMENT_PATH];
	segment_file(s, ".mdb", path);
	bool is_sound;
	enum err e = walk_in_child(path, walk_segment_is_sound, &is_sound, d);
	struct idx_head head = {.number = s->number, .shards = v->options.shards};
	memcpy(head.store_uuid, v->options.store_uuid, IDX_UUID);
	if (e == ERR_OK) {
		e = file_checksum(path, NULL, &head.mdb_bytes, &head.mdb_crc, d);
	}
	if (e == ERR_OK) {
		e = index_cleaned(v, s, path, &head, d);
	}
	if (e == ERR_OK) {
		log_warn("INDEX-REBUILT", "segment=%s", segment_name(s).text);
	}
	return e;
}

static enum err load_cleaned(struct volume *v, const struct found *f, struct err_detail *d)
{
	struct segment *s;
	bool is_added = false;
	enum err e = segment_of(v, f, &s, d);
	if (e != ERR_OK) {
		return e;
	}
	if (f->has_idx) {
		e = load_sealed(v, s, f, &is_added, d);
	} else {
		e = err_set(d, ERR_CORRUPT, "it is missing");
	}
	if ((e == ERR_CORRUPT || e == ERR_VERSION) && !is_added && f->has_mdb) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("INDEX-DAMAGED", "segment=%s reason=%s", segment_name(s).text,
			  log_quote(d->text));
		d->text[0] = '\0';
		e = rebuild_cleaned(v, s, d);
		if (e == ERR_OK) {
			e = load_sealed(v, s, f, &is_added, d);
		}
	}
	if (e == ERR_CORRUPT && !is_added) {
		tell_damaged(s, d->text);
		d->text[0] = '\0';
		e = ERR_OK;
	}
	return e;
}

/* ---- all of them ------------------------------------------------------------ */

/* Log numbers go on from one segment to the next; what was removed or lost between two
 * is not known. The log segments are the first ones of the table. */
static enum err check_chain(struct volume *v, size_t n_log, struct err_detail *d)
{
	const struct segment *last = v->segments[n_log - 1];
	if (last->next_log_no == 0) {
		/* What follows would begin with log numbers and votes that were given out. */
		return err_set(d, ERR_CORRUPT, "segment %010llu: is missing, and it was the last",
			       (unsigned long long)last->number);
	}
	for (size_t i = 1; i < n_log; i++) {
		const struct segment *s = v->segments[i];
		const struct segment *before = v->segments[i - 1];
		if (s->number == before->number + 1 && before->next_log_no != 0 &&
		    s->next_log_no != 0 && s->first_log_no != before->next_log_no) {
			return err_set(d, ERR_CORRUPT,
				       "segment %010llu: begins with record %llu, not %llu",
				       (unsigned long long)s->number,
				       (unsigned long long)s->first_log_no,
				       (unsigned long long)before->next_log_no);
		}
	}
	for (uint32_t i = 0; i < v->options.shards; i++) {
		bool has_hard = last->index != NULL ? last->index->shards[i].has_hard
						    : v->table.shards[i].info.hard.term > 0;
		if (!has_hard) {
			return err_set(d, ERR_CORRUPT, "segment %010llu: no hard state of shard %u",
				       (unsigned long long)last->number, i);
		}
	}
	return ERR_OK;
}

/* Whether a lost log segment stood between two of the shard's extents: it was named, and
 * what needs its entries will say so. */
static bool is_gap_of_lost(const struct volume *v, const struct table_shard *sh, size_t before)
{
	uint64_t low = before > 0 ? v->segments[sh->extents[before - 1].segment]->number : 0;
	uint64_t high = v->segments[sh->extents[before].segment]->number;
	for (size_t i = 0; i < v->n_segments; i++) {
		const struct segment *s = v->segments[i];
		if (!s->is_cleaned && s->next_log_no == 0 && s->number > low && s->number < high) {
			return true;
		}
	}
	return false;
}

/* The term of the newest entry, which only its segment's .idx tells. */
static enum err read_last_term(struct volume *v, uint32_t shard, struct err_detail *d)
{
	struct table_shard *sh = &v->table.shards[shard];
	const struct table_shard_extent *x = &sh->extents[sh->n - 1];
	struct segment *s = v->segments[x->segment];
	if (s->index != NULL) {
		return ERR_OK;
	}
	enum err e = segment_last_term(s, shard, x->last_index, &sh->info.last_term, d);
	if (e != ERR_CORRUPT) {
		return e;
	}
	e = segment_hold(s, d);
	if (e == ERR_OK) {
		e = segment_repair_idx(s, ENV_OPENER, d);
		segment_drop(s);
	}
	return e == ERR_OK ? segment_last_term(s, shard, x->last_index, &sh->info.last_term, d) : e;
}

static enum err finish_shards(struct volume *v, struct err_detail *d)
{
	enum err e = ERR_OK;
	for (uint32_t i = 0; e == ERR_OK && i < v->options.shards; i++) {
		struct table_shard *sh = &v->table.shards[i];
		size_t before;
		if (table_raft_gap(&v->table, i, &before) && !is_gap_of_lost(v, sh, before)) {
			return err_set(d, ERR_CORRUPT,
				       "log of shard %u: entries before %llu are missing", i,
				       (unsigned long long)sh->extents[before].first_index);
		}
		if (sh->info.first_index != 0) {
			e = read_last_term(v, i, d);
		}
	}
	return e;
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
	v->next_number = v->manifest.base;
	return segment_create(v, d);
}

/* The newest log segment goes on to be written, or a new one follows it. */
static enum err make_active(struct volume *v, size_t n_log, struct err_detail *d)
{
	struct segment *last = v->segments[n_log - 1];
	v->next_log_no = last->next_log_no;
	v->next_number = last->number + 1;
	if (v->next_number < v->manifest.base) {
		v->next_number = v->manifest.base;
	}
	if (last->state != SEGMENT_ACTIVE) {
		return segment_create(v, d);
	}
	v->active = last;
	v->used_bytes = env_used_bytes(last->env);
	v->active_is_fresh =
		last->next_log_no - last->first_log_no <= 1 + (uint64_t)v->options.shards;
	return ERR_OK;
}

static enum err load_all(struct volume *v, const struct listing *l, struct err_detail *d)
{
	/* The newest file's name may not be durable when its making was cut short. */
	enum err e = file_sync_dir(v->dir, d);
	size_t published = 0;
	for (size_t i = 0; e == ERR_OK && i < l->log.n; i++) {
		bool is_last = i + 1 == l->log.n && l->log.v[i].number >= v->manifest.base;
		e = load_log(v, &l->log.v[i], is_last, &published, d);
	}
	if (e == ERR_OK) {
		e = publish(v, published, v->n_segments, d);
	}
	if (e == ERR_OK) {
		e = check_chain(v, l->log.n, d);
	}
	for (size_t i = 0; e == ERR_OK && i < l->cleaned.n; i++) {
		e = load_cleaned(v, &l->cleaned.v[i], d);
	}
	if (e == ERR_OK) {
		e = finish_shards(v, d);
	}
	return e == ERR_OK ? make_active(v, l->log.n, d) : e;
}

/* ---- the manifest -------------------------------------------------------------- */

/* v->manifest: what there is, or of generation 0 when there is none and need not be. */
static enum err read_manifest(struct volume *v, bool *is_whole, struct err_detail *d)
{
	manifest_clear_tmp(v->root);
	/* It may have been renamed by a process that was killed before it was durable. */
	enum err e = file_sync_dir(v->root, d);
	if (e != ERR_OK) {
		return e;
	}
	e = manifest_read(v->root, &v->manifest, is_whole, d);
	if (e == ERR_NOT_FOUND && v->options.may_lack_manifest) {
		v->manifest = (struct manifest){.next_cleaned = 1, .base = 1};
		d->text[0] = '\0';
		return ERR_OK;
	}
	if (e == ERR_NOT_FOUND) {
		return err_set(d, ERR_CORRUPT, "%s/MANIFEST: is missing, and so is its copy",
			       v->root);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (memcmp(v->manifest.store_uuid, v->options.store_uuid, sizeof v->manifest.store_uuid) !=
	    0) {
		return err_set(d, ERR_INVALID, "%s/MANIFEST: belongs to another store", v->root);
	}
	if (!*is_whole) {
		log_warn("MANIFEST-REPAIRED", "dir=%s generation=%llu", v->root,
			 (unsigned long long)v->manifest.generation);
	}
	return ERR_OK;
}

static enum err write_manifest(struct volume *v, struct err_detail *d)
{
	struct manifest next;
	enum err e = manifest_of(v, v->manifest.base, v->manifest.next_cleaned, &next);
	if (e != ERR_OK) {
		return err_set(d, e, "%s: out of memory", v->root);
	}
	e = manifest_write(v->root, &next, d);
	if (e != ERR_OK) {
		manifest_fini(&next);
		return e;
	}
	manifest_fini(&v->manifest);
	v->manifest = next;
	return ERR_OK;
}

static enum err load(struct volume *v, struct listing *l, struct err_detail *d)
{
	if (v->manifest.generation == 0 && l->cleaned.n > 0) {
		return err_set(d, ERR_CORRUPT, "%s/MANIFEST: is missing, and so is its copy",
			       v->root);
	}
	enum err e = listing_check(v, l, d);
	if (e != ERR_OK) {
		return e;
	}
	if (l->log.n > 0) {
		return load_all(v, l, d);
	}
	if (l->cleaned.n > 0) {
		return err_set(d, ERR_CORRUPT, "%s: has no log segment", v->dir);
	}
	return found_volume(v, d);
}

enum err volume_recover(struct volume *v, struct err_detail *d)
{
	struct listing l = {0};
	bool is_whole = false;
	enum err e = read_manifest(v, &is_whole, d);
	if (e == ERR_OK) {
		e = listing_read(v, &l, d);
	}
	if (e == ERR_OK) {
		e = load(v, &l, d);
	}
	if (e == ERR_OK && (!is_whole || v->manifest.is_complete)) {
		e = write_manifest(v, d);
	}
	if (e == ERR_OK) {
		listing_clear(v, &l);
	}
	listing_fini(&l);
	return e;
}
