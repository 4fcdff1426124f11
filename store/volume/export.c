#include "store/volume/export.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/volume/export_priv.h"
#include "store/volume/file.h"

/* ---- names ----------------------------------------------------------------------- */

static enum err export_dir(const char *volume_dir, char out[EXPORT_PATH], struct err_detail *d)
{
	enum { NAME_MAX_BYTES = 32 };	/* of the longest file name in it */
	int n = snprintf(out, EXPORT_PATH, "%s/export", volume_dir);
	if (n < 0 || n + NAME_MAX_BYTES >= EXPORT_PATH) {
		return err_set(d, ERR_TOO_LARGE, "%s: path too long", volume_dir);
	}
	return ERR_OK;
}

static void export_path(const char *dir, uint64_t number, const char *suffix,
			char out[EXPORT_PATH])
{
	int n = snprintf(out, EXPORT_PATH, "%s/%010llu.%s", dir, (unsigned long long)number,
			 suffix);
	assert(n < EXPORT_PATH);
	(void)n;
}

static bool is_temporary(const char *name)
{
	size_t digits = strspn(name, "0123456789");
	return digits >= 10 && strcmp(name + digits, ".tmp") == 0;
}

struct numbers {
	uint64_t *v;	/* falling */
	size_t n;
	size_t cap;
};

static enum err numbers_add(struct numbers *x, uint64_t number)
{
	if (!mem_grow((void **)&x->v, &x->cap, x->n + 1, sizeof *x->v)) {
		return ERR_NOMEM;
	}
	size_t at = x->n++;
	for (; at > 0 && x->v[at - 1] < number; at--) {
		x->v[at] = x->v[at - 1];
	}
	x->v[at] = number;
	return ERR_OK;
}

/* What is there; temporary files go. */
static enum err list(const char *dir, struct numbers *out, struct err_detail *d)
{
	*out = (struct numbers){0};
	DIR *dp = opendir(dir);
	if (dp == NULL) {
		enum err e = errno == ENOMEM ? ERR_NOMEM : ERR_IO;
		return err_set(d, e, "%s: %s", dir, strerror(errno));
	}
	enum err e = ERR_OK;
	struct dirent *entry;
	errno = 0;
	while (e == ERR_OK && (entry = readdir(dp)) != NULL) {
		uint64_t number = export_number(entry->d_name);
		if (number != 0) {
			e = numbers_add(out, number);
		} else if (is_temporary(entry->d_name)) {
			unlinkat(dirfd(dp), entry->d_name, 0);
		}
		errno = 0;
	}
	int failed = errno;
	closedir(dp);
	if (e == ERR_OK && failed != 0) {
		e = err_set(d, ERR_IO, "%s: %s", dir, strerror(failed));
	} else if (e != ERR_OK) {
		err_set(d, e, "%s: out of memory", dir);
	}
	if (e != ERR_OK) {
		mem_free(out->v);
		*out = (struct numbers){0};
	}
	return e;
}

static bool is_kept(const struct exports *x, uint64_t number)
{
	for (size_t i = 0; i < EXPORTS_KEPT; i++) {
		if (x->v[i].number == number) {
			return true;
		}
	}
	return false;
}

/* Nothing depends on whether it succeeds: what stays is removed later. */
static void remove_others(const struct exports *x, const char *dir, const struct numbers *there)
{
	for (size_t i = 0; i < there->n; i++) {
		char path[EXPORT_PATH];
		export_path(dir, there->v[i], "exp", path);
		if (!is_kept(x, there->v[i]) && unlink(path) != 0 && errno != ENOENT) {
			log_warn("EXPORT-REMOVE", "file=%s error=%s", path,
				 log_quote(strerror(errno)));
		}
	}
}

/* ---- open ------------------------------------------------------------------------ */

static void info_fini(struct export_info *x)
{
	mem_free(x->shards);
	*x = (struct export_info){0};
}

static enum err info_check(struct exports *x, const char *dir, const uint8_t store_uuid[16],
			   uint64_t number, struct export_info *out, struct err_detail *d)
{
	char path[EXPORT_PATH];
	struct err_detail why = {""};
	export_path(dir, number, "exp", path);
	*out = (struct export_info){.number = number};
	out->shards = mem_calloc(x->n_shards, sizeof *out->shards);
	if (out->shards == NULL) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", path);
	}
	enum err e = export_check(path, store_uuid, x->n_shards, out->shards, &out->size,
				  &out->crc, &why);
	if (e == ERR_NOMEM) {
		info_fini(out);
		return err_set(d, e, "%s", why.text);
	}
	out->is_sound = e == ERR_OK;
	if (!out->is_sound) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("EXPORT-DAMAGED", "file=%s error=%s it is not used", path,
			  log_quote(why.text));
		memset(out->shards, 0, x->n_shards * sizeof *out->shards);
	}
	return ERR_OK;
}

/* A sound one takes a damaged one's place when both are taken; newest first. */
static void info_keep(struct exports *x, struct export_info *info)
{
	_Static_assert(EXPORTS_KEPT == 2, "the two places are told apart here");
	struct export_info *a = &x->v[0];
	struct export_info *b = &x->v[1];
	if (a->number == 0) {
		*a = *info;
	} else if (b->number == 0) {
		*b = *info;
	} else if (info->is_sound && !b->is_sound) {
		info_fini(b);
		*b = *info;
	} else if (info->is_sound && !a->is_sound) {
		info_fini(a);
		*a = *b;
		*b = *info;
	} else {
		info_fini(info);
	}
}

static bool has_all(const struct exports *x)
{
	return x->v[0].is_sound && x->v[1].is_sound;
}

enum err exports_open(const char *volume_dir, const uint8_t store_uuid[16], uint32_t n_shards,
		      struct exports *out, struct err_detail *d)
{
	assert(n_shards > 0);
	*out = (struct exports){.n_shards = n_shards};
	char dir[EXPORT_PATH];
	enum err e = export_dir(volume_dir, dir, d);
	if (e == ERR_OK) {
		e = file_make_dir(volume_dir, "export", d);
	}
	struct numbers there = {0};
	if (e == ERR_OK) {
		e = list(dir, &there, d);
	}
	for (size_t i = 0; e == ERR_OK && i < there.n && !has_all(out); i++) {
		struct export_info info;
		e = info_check(out, dir, store_uuid, there.v[i], &info, d);
		if (e == ERR_OK) {
			info_keep(out, &info);
		}
	}
	if (e == ERR_OK) {
		out->last_number = there.n > 0 ? there.v[0] : 0;
		remove_others(out, dir, &there);
	} else {
		exports_fini(out);
	}
	mem_free(there.v);
	return e;
}

void exports_fini(struct exports *x)
{
	for (size_t i = 0; i < EXPORTS_KEPT; i++) {
		info_fini(&x->v[i]);
	}
}

uint64_t exports_floor(const struct exports *x, uint32_t shard)
{
	assert(shard < x->n_shards);
	if (!has_all(x)) {
		return 0;
	}
	uint64_t newer = x->v[0].shards[shard].applied_index;
	uint64_t older = x->v[1].shards[shard].applied_index;
	return older < newer ? older : newer;
}

/* ---- write ----------------------------------------------------------------------- */

/* Two passes over the state, which nobody changes meanwhile: the first measures,
 * the second writes and must meet the same. */
struct output {
	struct export_section *sections;	/* one per shard */
	uint32_t n_shards;
	uint32_t shard;		/* whose rows come */
	const char *path;
	/* The second pass only. */
	int fd;
	uint32_t next;		/* the first shard that is not begun yet */
	uint32_t rows_crc;	/* of the present shard's rows so far */
	uint64_t size;
	uint32_t crc;
	uint8_t *block;
	size_t n;
	struct err_detail *d;
};

static void row_head(uint8_t kind, struct span key, struct span content, uint8_t out[EXPORT_ROW])
{
	assert(key.n <= STATE_KEY_MAX);
	assert(content.n <= UINT32_MAX);
	out[0] = kind;
	put_u16(out + 1, (uint16_t)key.n);
	put_u32(out + 3, (uint32_t)content.n);
}

static uint32_t row_crc(uint32_t crc, const uint8_t head[EXPORT_ROW], struct span key,
			struct span content)
{
	crc = crc32c(crc, head, EXPORT_ROW);
	crc = crc32c(crc, key.p, key.n);
	return crc32c(crc, content.p, content.n);
}

static enum err measure_shard(void *arg, uint32_t shard, uint64_t index, uint64_t term)
{
	struct output *o = arg;
	assert(shard < o->n_shards);
	if (index == 0) {
		return err_set(o->d, ERR_CORRUPT, "%s: the state has shard %u at index 0", o->path,
			       shard);
	}
	o->shard = shard;
	o->sections[shard].at = (struct export_shard){index, term};
	return ERR_OK;
}

static enum err measure_row(void *arg, uint8_t kind, struct span key, struct span content)
{
	struct output *o = arg;
	struct export_section *s = &o->sections[o->shard];
	uint8_t head[EXPORT_ROW];
	row_head(kind, key, content, head);
	s->rows++;
	s->bytes += EXPORT_ROW + key.n + content.n;
	s->crc = row_crc(s->crc, head, key, content);
	return ERR_OK;
}

static enum err flush(struct output *o)
{
	enum err e = file_write_all(o->fd, o->block, o->n);
	o->n = 0;
	return e == ERR_OK ? e : err_set(o->d, e, "%s: %s", o->path, err_text(e));
}

static enum err add(struct output *o, struct span s)
{
	o->crc = crc32c(o->crc, s.p, s.n);
	o->size += s.n;
	while (s.n > 0) {
		size_t n = EXPORT_CHUNK - o->n < s.n ? EXPORT_CHUNK - o->n : s.n;
		memcpy(o->block + o->n, s.p, n);
		o->n += n;
		s = span_of(s.p + n, s.n - n);
		enum err e = o->n == EXPORT_CHUNK ? flush(o) : ERR_OK;
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

void export_section_write(const struct export_section *s, uint32_t shard,
			  uint8_t out[EXPORT_SHARD])
{
	struct wr w = wr_of(out, EXPORT_SHARD);
	wr_u32(&w, shard);
	wr_u64(&w, s->at.applied_index);
	wr_u64(&w, s->at.applied_term);
	wr_u64(&w, s->rows);
	wr_u64(&w, s->bytes);
	assert(!w.bad && w.p == w.end);
}

static enum err changed(const struct output *o)
{
	return err_set(o->d, ERR_CORRUPT, "%s: the state gives other rows when it is read again",
		       o->path);
}

/* Ends the present shard and begins all up to `shard`; n_shards: there is none
 * after the last. */
static enum err begin_shard(struct output *o, uint32_t shard)
{
	enum err e = ERR_OK;
	if (o->next > 0 && o->rows_crc != o->sections[o->next - 1].crc) {
		return changed(o);
	}
	while (e == ERR_OK && o->next < o->n_shards && o->next <= shard) {
		const struct export_section *s = &o->sections[o->next];
		uint8_t head[EXPORT_SHARD + 4];
		export_section_write(s, o->next, head);
		put_u32(head + EXPORT_SHARD, crc32c(s->crc, head, EXPORT_SHARD));
		/* One that has rows must be met by itself. */
		if (s->rows > 0 && o->next != shard) {
			return changed(o);
		}
		o->rows_crc = 0;
		o->next++;
		e = add(o, span_of(head, sizeof head));
	}
	return e;
}

static enum err write_shard(void *arg, uint32_t shard, uint64_t index, uint64_t term)
{
	struct output *o = arg;
	const struct export_section *s = &o->sections[shard];
	if (index != s->at.applied_index || term != s->at.applied_term) {
		return changed(o);
	}
	return begin_shard(o, shard);
}

static enum err write_row(void *arg, uint8_t kind, struct span key, struct span content)
{
	struct output *o = arg;
	uint8_t head[EXPORT_ROW];
	row_head(kind, key, content, head);
	o->rows_crc = row_crc(o->rows_crc, head, key, content);
	enum err e = add(o, span_of(head, sizeof head));
	if (e == ERR_OK) {
		e = add(o, key);
	}
	return e == ERR_OK ? add(o, content) : e;
}

static enum err write_head(struct output *o, uint64_t number, const uint8_t store_uuid[16],
			   int64_t now_ms)
{
	uint8_t head[EXPORT_HEAD];
	struct wr w = wr_of(head, sizeof head);
	wr_u32(&w, EXPORT_MAGIC);
	wr_u16(&w, EXPORT_VERSION);
	wr_u16(&w, 0);
	wr_u64(&w, number);
	wr_bytes(&w, store_uuid, 16);
	wr_u32(&w, o->n_shards);
	wr_u64(&w, (uint64_t)now_ms);
	wr_u32(&w, crc32c(0, head, EXPORT_HEAD - 4));
	assert(!w.bad && w.p == w.end);
	return add(o, span_of(head, sizeof head));
}

static enum err write_end(struct output *o)
{
	uint8_t end[EXPORT_END];
	put_u32(end, EXPORT_END_MAGIC);
	enum err e = add(o, span_of(end, 4));
	if (e == ERR_OK) {
		put_u32(end + 4, o->crc);
		e = add(o, span_of(end + 4, 4));
	}
	return e == ERR_OK ? flush(o) : e;
}

static enum err write_file(struct output *o, struct state *s, uint64_t number,
			   const uint8_t store_uuid[16], int64_t now_ms)
{
	o->fd = open(o->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (o->fd < 0) {
		enum err failed = file_errno(errno);
		return err_set(o->d, failed == ERR_NOT_FOUND ? ERR_IO : failed, "%s: %s", o->path,
			       strerror(errno));
	}
	enum err e = write_head(o, number, store_uuid, now_ms);
	if (e == ERR_OK) {
		e = state_dump(s, o->n_shards, write_shard, write_row, o, o->d);
	}
	if (e == ERR_OK) {
		e = begin_shard(o, o->n_shards);
	}
	if (e == ERR_OK) {
		e = write_end(o);
	}
	if (close(o->fd) != 0 && e == ERR_OK) {
		e = err_set(o->d, file_errno(errno), "%s: %s", o->path, strerror(errno));
	}
	return e == ERR_OK ? file_sync(o->path, o->d) : e;
}

/* The finished file gets its name. Once it has it, no failure is harmless. */
static enum err publish(const char *dir, const char *temporary, uint64_t number,
			struct err_detail *d)
{
	char path[EXPORT_PATH];
	export_path(dir, number, "exp", path);
	if (rename(temporary, path) != 0) {
		enum err e = file_errno(errno) == ERR_FULL ? ERR_FULL : ERR_IO;
		return err_set(d, e, "%s: %s", path, strerror(errno));
	}
	return file_sync_dir(dir, d) == ERR_OK ? ERR_OK : ERR_IO;
}

/* The new one is first, then the newest sound one. */
static void push(struct exports *x, const struct export_info *info)
{
	if (x->v[0].is_sound) {
		info_fini(&x->v[1]);
		x->v[1] = x->v[0];
	} else {
		info_fini(&x->v[0]);
		if (!x->v[1].is_sound) {
			info_fini(&x->v[1]);
		}
	}
	x->v[0] = *info;
	x->last_number = info->number;
}

static void tidy(const struct exports *x, const char *dir)
{
	struct numbers there;
	if (list(dir, &there, NULL) == ERR_OK) {
		remove_others(x, dir, &there);
		mem_free(there.v);
	}
}

enum err export_write(struct exports *x, const char *volume_dir, const uint8_t store_uuid[16],
		      struct state *s, int64_t now_ms, struct err_detail *d)
{
	char dir[EXPORT_PATH];
	char path[EXPORT_PATH];
	uint64_t number = x->last_number + 1;
	enum err e = export_dir(volume_dir, dir, d);
	if (e != ERR_OK) {
		return e;
	}
	export_path(dir, number, "tmp", path);
	struct export_info info = {.number = number, .is_sound = true};
	struct output o = {.n_shards = x->n_shards, .path = path, .d = d};
	o.sections = mem_calloc(x->n_shards, sizeof *o.sections);
	o.block = mem_alloc(EXPORT_CHUNK);
	info.shards = mem_calloc(x->n_shards, sizeof *info.shards);
	if (o.sections == NULL || o.block == NULL || info.shards == NULL) {
		e = err_set(d, ERR_NOMEM, "%s: out of memory", path);
	}
	if (e == ERR_OK) {
		e = state_dump(s, x->n_shards, measure_shard, measure_row, &o, d);
	}
	if (e == ERR_OK) {
		e = write_file(&o, s, number, store_uuid, now_ms);
		e = e == ERR_OK ? publish(dir, path, number, d) : e;
		if (e != ERR_OK) {
			unlink(path);
		}
	}
	if (e == ERR_OK) {
		for (uint32_t i = 0; i < x->n_shards; i++) {
			info.shards[i] = o.sections[i].at;
		}
		info.size = o.size;
		info.crc = o.crc;
		push(x, &info);
		metric_inc(METRIC_STORE_EXPORTS);
		tidy(x, dir);
	} else {
		mem_free(info.shards);
	}
	if (o.block != NULL) {
		explicit_bzero(o.block, EXPORT_CHUNK);	/* keys of policies were in it */
	}
	mem_free(o.block);
	mem_free(o.sections);
	return e;
}

/* ---- restore --------------------------------------------------------------------- */

struct restore {
	struct state *state;
	bool has_shard;
	uint64_t index;
	uint64_t term;
};

static void restore_end_shard(struct restore *r)
{
	if (r->has_shard) {
		state_applied(r->state, r->index, r->term);
	}
	r->has_shard = false;
}

static enum err restore_shard(void *arg, uint32_t shard, uint64_t index, uint64_t term)
{
	struct restore *r = arg;
	restore_end_shard(r);
	state_shard(r->state, shard);
	r->has_shard = true;
	r->index = index;
	r->term = term;
	return ERR_OK;
}

static enum err restore_row(void *arg, uint8_t kind, struct span key, struct span content)
{
	struct restore *r = arg;
	assert(r->has_shard);
	state_put(r->state, kind, key, content);
	return ERR_OK;
}

enum err export_restore(const char *volume_dir, const struct export_info *x, struct state *s,
			struct err_detail *d)
{
	assert(x->is_sound);
	char dir[EXPORT_PATH];
	char path[EXPORT_PATH];
	enum err e = export_dir(volume_dir, dir, d);
	if (e != ERR_OK) {
		return e;
	}
	export_path(dir, x->number, "exp", path);
	struct restore r = {.state = s};
	struct export_reading reading = {
		.number = x->number,
		.shard = restore_shard,
		.row = restore_row,
		.arg = &r,
	};
	state_begin(s);
	state_clear_all(s);
	e = export_read(path, &reading, d);
	if (e == ERR_OK && (reading.crc != x->crc || reading.size != x->size)) {
		e = err_set(d, ERR_CORRUPT, "%s is no longer what was checked before", path);
	}
	if (e != ERR_OK) {
		state_abort(s);
		return e;
	}
	restore_end_shard(&r);
	return state_commit(s, d);
}
