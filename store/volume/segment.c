#include "store/volume/volume_priv.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/volume/file.h"

_Static_assert((int)SEGMENT_PATH == (int)LIMIT_PATH, "one bound for paths");

void segment_path(const struct volume *v, uint64_t number, const char *suffix,
		  char out[SEGMENT_PATH])
{
	int n = snprintf(out, SEGMENT_PATH, "%s/%010llu%s", v->dir, (unsigned long long)number,
			 suffix);
	assert(n < SEGMENT_PATH);
	(void)n;
}

void segment_file(const struct segment *s, const char *suffix, char out[SEGMENT_PATH])
{
	int n = snprintf(out, SEGMENT_PATH, "%s/%s%010llu%s", s->volume->dir,
			 s->is_cleaned ? "c" : "", (unsigned long long)s->number, suffix);
	assert(n < SEGMENT_PATH);
	(void)n;
}

struct segment_name segment_name(const struct segment *s)
{
	struct segment_name name;
	snprintf(name.text, sizeof name.text, "%s%010llu", s->is_cleaned ? "c" : "",
		 (unsigned long long)s->number);
	return name;
}

struct segment *segment_new(struct volume *v, uint64_t number)
{
	struct segment *s = MEM_NEW(struct segment);
	if (s != NULL) {
		s->volume = v;
		s->number = number;
		s->idx_fd = -1;
		s->state = SEGMENT_CLOSED;
	}
	return s;
}

void segment_free(struct segment **sp)
{
	struct segment *s = *sp;
	*sp = NULL;
	if (s == NULL) {
		return;
	}
	assert(s->holds == 0);
	env_close(&s->env);
	if (s->idx_fd >= 0) {
		close(s->idx_fd);
	}
	index_free(&s->index);
	mem_free(s);
}

/* A place of the table that is free again, or a new one at its end. */
static bool place_of(struct volume *v, size_t *out)
{
	*out = v->n_segments;
	for (size_t i = 0; v->n_free > 0 && i < v->n_segments; i++) {
		if (v->segments[i] == NULL) {
			*out = i;
			v->n_free--;
			return true;
		}
	}
	if (!mem_grow((void **)&v->segments, &v->cap_segments, v->n_segments + 1,
		      sizeof(void *))) {
		return false;
	}
	v->n_segments++;
	return true;
}

enum err segment_add_locked(struct volume *v, struct segment *s)
{
	size_t at;
	if (!place_of(v, &at)) {
		return ERR_NOMEM;
	}
	s->at = (uint32_t)at;
	v->segments[at] = s;
	metric_add(METRIC_STORE_SEGMENTS, 1);
	return ERR_OK;
}

void segment_take_out_locked(struct segment *s)
{
	struct volume *v = s->volume;
	assert(v->segments[s->at] == s);
	v->segments[s->at] = NULL;
	v->n_free++;
	metric_add(METRIC_STORE_SEGMENTS, -1);
}

enum err segment_add(struct volume *v, struct segment *s)
{
	lock_take(&v->lock);
	enum err e = segment_add_locked(v, s);
	lock_give(&v->lock);
	return e;
}

void segment_set_bytes_locked(struct segment *s, uint64_t bytes)
{
	metric_add(METRIC_STORE_DISK_BYTES, (int64_t)bytes - (int64_t)s->file_bytes);
	s->volume->disk_bytes += bytes - s->file_bytes;
	s->file_bytes = bytes;
}

uint64_t segment_idx_bytes(const struct idx_head *h)
{
	enum idx_section last = IDX_SECTIONS - 1;
	return (h->section[last].block + idx_blocks_of(last, h->section[last].n)) * IDX_BLOCK;
}

/* ---- the list of open sealed segments ----------------------------------- */

void segment_unlist_locked(struct segment *s)
{
	struct volume *v = s->volume;
	if (!s->in_list) {
		return;
	}
	*(s->newer != NULL ? &s->newer->older : &v->newest) = s->older;
	*(s->older != NULL ? &s->older->newer : &v->oldest) = s->newer;
	s->newer = NULL;
	s->older = NULL;
	s->in_list = false;
	v->n_open--;
}

void segment_list_locked(struct segment *s)
{
	struct volume *v = s->volume;
	assert(s->state == SEGMENT_SEALED);
	segment_unlist_locked(s);
	s->older = v->newest;
	*(s->older != NULL ? &s->older->newer : &v->oldest) = s;
	v->newest = s;
	s->in_list = true;
	v->n_open++;
}

/* Takes the oldest that nobody holds out of the list; false: within the bound,
 * or all are in use. */
static bool evict_one(struct volume *v, struct env **env, int *fd)
{
	*env = NULL;
	*fd = -1;
	lock_take(&v->lock);
	struct segment *s = NULL;
	if (v->n_open > v->options.open_segments_max) {
		s = v->oldest;
		while (s != NULL && s->holds > 0) {
			s = s->newer;
		}
	}
	if (s != NULL) {
		segment_unlist_locked(s);
		*env = s->env;
		*fd = s->idx_fd;
		s->env = NULL;
		s->idx_fd = -1;
	}
	lock_give(&v->lock);
	return s != NULL;
}

void segment_evict(struct volume *v)
{
	struct env *env;
	int fd;
	while (evict_one(v, &env, &fd)) {
		env_close(&env);
		if (fd >= 0) {
			close(fd);
		}
	}
}

/* ---- .idx ---------------------------------------------------------------- */

static bool same_identity(const struct idx_head *a, const struct idx_head *b)
{
	for (int i = 0; i < IDX_SECTIONS; i++) {
		if (a->section[i].n != b->section[i].n ||
		    a->section[i].block != b->section[i].block) {
			return false;
		}
	}
	return a->number == b->number && a->mdb_bytes == b->mdb_bytes && a->mdb_crc == b->mdb_crc &&
	       a->first_log_no == b->first_log_no && a->next_log_no == b->next_log_no &&
	       a->shards == b->shards && memcmp(a->segment_uuid, b->segment_uuid, IDX_UUID) == 0 &&
	       memcmp(a->store_uuid, b->store_uuid, IDX_UUID) == 0;
}

enum err segment_write_idx(struct segment *s, const struct index *ix,
			   const struct idx_covers *covers, struct idx_head *head, int *fd,
			   struct err_detail *d)
{
	char path[SEGMENT_PATH];
	segment_file(s, ".idx", path);
	*fd = -1;
	enum err e = idx_write(path, head, ix, covers, d);
	if (e != ERR_OK) {
		return e;
	}
	struct idx_head back;
	e = idx_open(path, &back, fd, d);
	if (e == ERR_OK && !same_identity(&back, head)) {
		close(*fd);
		*fd = -1;
		e = err_set(d, ERR_CORRUPT, "%s: does not read back as written", path);
	}
	return e;
}

/* Makes the .idx of a sealed segment from its .mdb. The file that results is the
 * same, byte by byte, as long as the .mdb is. */
static enum err rebuild_idx(struct segment *s, struct env *env, enum env_slot slot, int *fd,
			    struct err_detail *d)
{
	struct volume *v = s->volume;
	struct index *ix = index_new(v->options.shards);
	if (ix == NULL) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", env->path);
	}
	struct walk_index w = {
		.volume = v,
		.number = s->number,
		.is_cleaned = s->is_cleaned,
		.index = ix,
	};
	enum err e = walk_records(env, slot, 0, walk_index_record, &w, d);
	if (e == ERR_OK) {
		struct idx_head head = s->idx;
		struct idx_covers covers = {w.covers, w.n_covers};
		e = segment_write_idx(s, ix, s->is_cleaned ? &covers : NULL, &head, fd, d);
		if (e == ERR_OK && !same_identity(&head, &s->idx)) {
			close(*fd);
			*fd = -1;
			e = err_set(d, ERR_CORRUPT, "%s: its index changed", env->path);
		}
	}
	walk_index_fini(&w);
	index_free(&ix);
	if (e == ERR_OK) {
		log_warn("INDEX-REBUILT", "segment=%s", segment_name(s).text);
	}
	return e;
}

enum err segment_repair_idx(struct segment *s, enum env_slot slot, struct err_detail *d)
{
	assert(s->holds > 0);
	metric_inc(METRIC_STORE_CORRUPT);
	int fd = -1;
	enum err e = rebuild_idx(s, s->env, slot, &fd, d);
	if (e == ERR_OK) {
		/* Atomic: who reads the old file meanwhile goes on with the new. */
		int r = dup3(fd, s->idx_fd, O_CLOEXEC);
		assert(r == s->idx_fd);
		(void)r;
		close(fd);
	}
	return e;
}

/* ---- hold and drop ------------------------------------------------------- */

static enum err verify_mdb(const struct segment *s, const char *path, struct err_detail *d)
{
	uint64_t size;
	uint32_t crc;
	enum err e = file_checksum(path, NULL, &size, &crc, d);
	if (e == ERR_NOT_FOUND) {
		return ERR_CORRUPT;
	}
	if (e == ERR_OK && (size != s->idx.mdb_bytes || crc != s->idx.mdb_crc)) {
		e = err_set(d, ERR_CORRUPT, "%s: checksum of the whole file is wrong", path);
	}
	return e;
}

/* Opens a sealed segment; nobody else touches it meanwhile (is_opening). */
static enum err open_sealed(struct segment *s, bool verify, struct env **env, int *fd,
			    struct err_detail *d)
{
	char path[SEGMENT_PATH];
	segment_file(s, ".mdb", path);
	enum err e = verify ? verify_mdb(s, path, d) : ERR_OK;
	if (e == ERR_OK) {
		e = env_open(path, ENV_READ, 0, ENV_LOG, env, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	segment_file(s, ".idx", path);
	struct idx_head head;
	e = idx_open(path, &head, fd, d);
	if (e == ERR_OK && !same_identity(&head, &s->idx)) {
		close(*fd);
		*fd = -1;
		e = ERR_CORRUPT;
	}
	if (e == ERR_CORRUPT || e == ERR_NOT_FOUND || e == ERR_VERSION) {
		metric_inc(METRIC_STORE_CORRUPT);
		e = rebuild_idx(s, *env, ENV_OPENER, fd, d);
	}
	if (e != ERR_OK) {
		env_close(env);
	}
	return e;
}

static enum err open_closed(struct segment *s, struct err_detail *d)
{
	struct volume *v = s->volume;
	struct env *env = NULL;
	int fd = -1;
	enum err e = open_sealed(s, !s->is_verified, &env, &fd, d);
	lock_take(&v->lock);
	s->is_opening = false;
	if (e == ERR_OK) {
		s->is_verified = true;
		s->env = env;
		s->idx_fd = fd;
		segment_list_locked(s);
	} else if (e == ERR_CORRUPT) {
		s->is_damaged = true;
	}
	cond_broadcast(&v->opened);
	lock_give(&v->lock);
	if (e == ERR_OK) {
		segment_evict(v);
		return ERR_OK;
	}
	if (e == ERR_CORRUPT) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("SEGMENT-DAMAGED", "segment=%s reason=%s", segment_name(s).text,
			  log_quote(d->text));
	}
	segment_drop(s);
	return e;
}

void segment_claim_locked(struct segment *s)
{
	assert(!s->is_removed);
	s->holds++;
}

enum err segment_open(struct segment *s, struct err_detail *d)
{
	struct volume *v = s->volume;
	struct err_detail own = {0};
	d = d != NULL ? d : &own;
	lock_take(&v->lock);
	assert(s->holds > 0);
	while (s->is_opening) {
		cond_wait(&v->opened, &v->lock);
	}
	/* The scrubber may have found it damaged while it was open. */
	bool is_damaged = s->is_damaged;
	bool is_open = s->env != NULL && !is_damaged;
	if (is_open && s->state == SEGMENT_SEALED) {
		segment_list_locked(s);
	}
	s->is_opening = !is_open && !is_damaged;
	lock_give(&v->lock);
	if (is_open) {
		return ERR_OK;
	}
	if (is_damaged) {
		err_set(d, ERR_CORRUPT, "segment %s is damaged", segment_name(s).text);
		segment_drop(s);
		return ERR_CORRUPT;
	}
	return open_closed(s, d);
}

enum err segment_hold(struct segment *s, struct err_detail *d)
{
	lock_take(&s->volume->lock);
	segment_claim_locked(s);
	lock_give(&s->volume->lock);
	return segment_open(s, d);
}

void segment_discard(struct segment **sp)
{
	struct segment *s = *sp;
	char path[SEGMENT_PATH];
	assert(s->is_removed);
	assert(s->holds == 0);
	assert(!s->in_list);
	segment_file(s, ".mdb", path);
	unlink(path);
	segment_file(s, ".idx", path);
	unlink(path);
	log_debug("SEGMENT-REMOVED", "segment=%s bytes=%llu", segment_name(s).text,
		 (unsigned long long)s->file_bytes);
	segment_free(sp);
}

void segment_drop(struct segment *s)
{
	struct volume *v = s->volume;
	lock_take(&v->lock);
	assert(s->holds > 0);
	s->holds--;
	bool is_over = v->n_open > v->options.open_segments_max;
	bool is_last = s->is_removed && s->holds == 0;
	if (is_last) {
		segment_unlist_locked(s);
	}
	lock_give(&v->lock);
	if (is_last) {
		segment_discard(&s);
	}
	if (is_over) {
		segment_evict(v);
	}
}

void segment_tell_damage(struct segment *s, uint64_t log_no, const char *what)
{
	struct volume *v = s->volume;
	lock_take(&v->lock);
	bool is_news = s->damage_told != log_no + 1;
	s->damage_told = log_no + 1;
	lock_give(&v->lock);
	if (is_news) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("RECORD-DAMAGED", "segment=%s record=%llu what=\"%s\"",
			  segment_name(s).text, (unsigned long long)log_no, what);
	}
}
