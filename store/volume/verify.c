#include "store/volume/verify.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "store/volume/file.h"
#include "store/volume/recover_priv.h"
#include "store/volume/verify_priv.h"

enum { MANIFEST_BYTES_MAX = 64 << 20 };
static const char *const manifest_names[] = {"MANIFEST", "MANIFEST.copy"};

/* ---- telling ---------------------------------------------------------------------- */

static void give(struct verify *v, struct verify_finding *f)
{
	v->out->findings++;
	if (strcmp(v->told_file, f->file) != 0) {
		snprintf(v->told_file, sizeof v->told_file, "%s", f->file);
		v->told = 0;
	}
	v->told++;
	if (v->told == VERIFY_FINDINGS_MAX) {
		snprintf(f->what, sizeof f->what, "has more of the like");
		f->has_part = false;
	}
	if (v->told <= VERIFY_FINDINGS_MAX && v->o->finding != NULL) {
		v->o->finding(v->o->arg, f);
	}
}

void verify_tell(struct verify *v, const char *file, enum verify_kind kind, const char *fmt, ...)
{
	struct verify_finding f = {.file = file, .is_repairable = kind == VERIFY_REPAIRABLE};
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(f.what, sizeof f.what, fmt, ap);
	va_end(ap);
	give(v, &f);
}

void verify_tell_lost(struct verify *v, const char *file, struct store_part part,
		      struct verify_span span, const char *what)
{
	struct verify_finding f = {
		.file = file,
		.part = part,
		.has_part = true,
		.first_seq = span.first,
		.end_seq = span.end,
	};
	snprintf(f.what, sizeof f.what, "%lld events %s", (long long)(span.end - span.first), what);
	give(v, &f);
}

void verify_progress(struct verify *v, uint64_t bytes)
{
	v->done_bytes += bytes;
	v->out->bytes += bytes;
	if (v->o->progress != NULL) {
		v->o->progress(v->o->arg, v->done_bytes, v->all_bytes);
	}
}

enum err verify_nomem(struct verify *v)
{
	return err_set(v->d, ERR_NOMEM, "%s: out of memory", v->o->dir);
}

void verify_name(const struct verify_segment *s, const char *suffix, char out[VERIFY_NAME])
{
	snprintf(out, VERIFY_NAME, "segments/%s%010llu%s", s->is_cleaned ? "c" : "",
		 (unsigned long long)s->number, suffix);
}

enum err verify_path(const struct verify *v, const char *name, char out[SEGMENT_PATH])
{
	int n = snprintf(out, SEGMENT_PATH, "%s/%s", v->o->dir, name);
	return n < SEGMENT_PATH ? ERR_OK
				: err_set(v->d, ERR_TOO_LARGE, "%s: path too long", v->o->dir);
}

/* ---- MANIFEST ------------------------------------------------------------------------ */

/* ERR_NOT_FOUND, ERR_CORRUPT, ERR_VERSION, ERR_NOMEM. */
static enum err read_manifest(struct verify *v, const char *name, struct manifest *out,
			      struct err_detail *why)
{
	char path[SEGMENT_PATH];
	struct stat st;
	enum err e = verify_path(v, name, path);
	if (e != ERR_OK) {
		return e;
	}
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return errno == ENOENT ? ERR_NOT_FOUND : err_set(why, ERR_CORRUPT, "cannot be read");
	}
	v->out->files++;
	uint8_t *text = NULL;
	e = ERR_CORRUPT;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= MANIFEST_BYTES_MAX) {
		text = mem_alloc((size_t)st.st_size + 1);
		e = text != NULL ? file_read_at(fd, text, (size_t)st.st_size, 0) : ERR_NOMEM;
		verify_progress(v, (uint64_t)st.st_size);
	}
	close(fd);
	if (e == ERR_OK) {
		e = manifest_parse(span_of(text, (size_t)st.st_size), out, why);
	}
	mem_free(text);
	return e == ERR_IO ? ERR_CORRUPT : e;
}

static bool same_manifest(const struct manifest *a, const struct manifest *b)
{
	struct str x = {.max = MANIFEST_BYTES_MAX};
	struct str y = {.max = MANIFEST_BYTES_MAX};
	bool same = manifest_print(a, &x) == ERR_OK && manifest_print(b, &y) == ERR_OK &&
		    x.len == y.len && memcmp(x.p, y.p, x.len) == 0;
	str_fini(&x);
	str_fini(&y);
	return same;
}

/* Each write goes to MANIFEST first, so it may be ahead by one and never behind. */
static void compare_copies(struct verify *v, const struct manifest both[2])
{
	uint64_t first = both[0].generation;
	uint64_t copy = both[1].generation;
	if (first < copy) {
		verify_tell(v, manifest_names[0], VERIFY_REPAIRABLE, "is older than its copy");
	} else if (first > copy + 1) {
		verify_tell(v, manifest_names[1], VERIFY_REPAIRABLE, "is an old copy");
	} else if (first == copy && !same_manifest(&both[0], &both[1])) {
		verify_tell(v, manifest_names[1], VERIFY_REPAIRABLE, "differs from MANIFEST");
	}
}

static void tell_manifest(struct verify *v, int i, enum err e, const struct err_detail *why,
			  enum verify_kind kind)
{
	const char *what = why->text[0] != '\0' ? why->text : "is damaged";
	verify_tell(v, manifest_names[i], kind, "%.200s",
		    e == ERR_NOT_FOUND ? "is missing" : what);
}

static void judge_manifests(struct verify *v, struct manifest both[2], const enum err e[2],
			    const struct err_detail why[2])
{
	bool first_is_best = e[0] == ERR_OK &&
			     (e[1] != ERR_OK || both[0].generation >= both[1].generation);
	if (e[0] == ERR_OK && e[1] == ERR_OK) {
		compare_copies(v, both);
	} else if (e[0] == ERR_OK || e[1] == ERR_OK) {
		int bad = e[0] == ERR_OK ? 1 : 0;
		/* The first write of all, cut short before the copy. */
		bool is_new = bad == 1 && e[1] == ERR_NOT_FOUND && both[0].generation == 1;
		if (!is_new) {
			tell_manifest(v, bad, e[bad], &why[bad], VERIFY_REPAIRABLE);
		}
	} else if (!v->o->may_lack_manifest || e[0] != ERR_NOT_FOUND || e[1] != ERR_NOT_FOUND) {
		for (int i = 0; i < 2; i++) {
			tell_manifest(v, i, e[i], &why[i], VERIFY_DAMAGE);
		}
	}
	if (e[0] != ERR_OK && e[1] != ERR_OK) {
		return;
	}
	struct manifest *best = &both[first_is_best ? 0 : 1];
	if (memcmp(best->store_uuid, v->o->store_uuid, IDX_UUID) != 0) {
		verify_tell(v, manifest_names[first_is_best ? 0 : 1], VERIFY_DAMAGE,
			    "belongs to another store");
		return;
	}
	v->manifest = *best;
	v->has_manifest = true;
	*best = (struct manifest){0};
}

static enum err check_manifests(struct verify *v)
{
	struct manifest both[2] = {0};
	struct err_detail why[2] = {0};
	enum err e[2];
	for (int i = 0; i < 2; i++) {
		e[i] = read_manifest(v, manifest_names[i], &both[i], &why[i]);
	}
	bool no_memory = e[0] == ERR_NOMEM || e[1] == ERR_NOMEM;
	if (!no_memory) {
		judge_manifests(v, both, e, why);
	}
	manifest_fini(&both[0]);
	manifest_fini(&both[1]);
	return no_memory ? verify_nomem(v) : ERR_OK;
}

/* ---- what is there ---------------------------------------------------------------------- */

static uint64_t size_of(const struct verify *v, const char *name)
{
	char path[SEGMENT_PATH];
	struct stat st;
	return verify_path(v, name, path) == ERR_OK && stat(path, &st) == 0 ? (uint64_t)st.st_size
									      : 0;
}

static bool is_temporary(const char *name)
{
	const char *lock = strstr(name, "-lock");
	return strstr(name, ".tmp") != NULL || (lock != NULL && lock[5] == '\0');
}

static enum err list_one(struct verify *v, const char *name)
{
	struct found f;
	if (!listing_name(name, &f)) {
		if (name[0] != '.' && !is_temporary(name)) {
			verify_tell(v, "segments", VERIFY_DAMAGE, "%.64s is no file of ours", name);
		}
		return ERR_OK;
	}
	struct verify_segment s = {.number = f.number,
				   .is_cleaned = f.is_cleaned,
				   .has_mdb = f.has_mdb,
				   .has_idx = f.has_idx};
	char file[VERIFY_NAME];
	snprintf(file, sizeof file, "segments/%.16s", name);
	*(s.has_mdb ? &s.mdb_bytes : &s.idx_bytes) = size_of(v, file);
	if (!mem_grow((void **)&v->v, &v->cap, v->n + 1, sizeof *v->v)) {
		return verify_nomem(v);
	}
	v->v[v->n++] = s;
	return ERR_OK;
}

static int by_number(const void *a, const void *b)
{
	const struct verify_segment *x = a;
	const struct verify_segment *y = b;
	if (x->is_cleaned != y->is_cleaned) {
		return x->is_cleaned ? 1 : -1;
	}
	return x->number < y->number ? -1 : x->number > y->number;
}

/* One of each segment's two files. */
static void join(struct verify *v)
{
	size_t n = 0;
	for (size_t i = 0; i < v->n; i++) {
		struct verify_segment *last = n > 0 ? &v->v[n - 1] : NULL;
		if (last == NULL || by_number(last, &v->v[i]) != 0) {
			v->v[n++] = v->v[i];
			continue;
		}
		last->has_mdb |= v->v[i].has_mdb;
		last->has_idx |= v->v[i].has_idx;
		last->mdb_bytes += v->v[i].mdb_bytes;
		last->idx_bytes += v->v[i].idx_bytes;
	}
	v->n = n;
}

static uint64_t dir_bytes(const struct verify *v, const char *name)
{
	char path[SEGMENT_PATH];
	uint64_t bytes = 0;
	DIR *dir = verify_path(v, name, path) == ERR_OK ? opendir(path) : NULL;
	struct dirent *entry;
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		char file[SEGMENT_PATH];
		if (entry->d_name[0] != '.' &&
		    snprintf(file, sizeof file, "%s/%s", name, entry->d_name) < (int)sizeof file) {
			bytes += size_of(v, file);
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return bytes;
}

static enum err list_all(struct verify *v)
{
	char path[SEGMENT_PATH];
	enum err e = verify_path(v, "segments", path);
	if (e != ERR_OK) {
		return e;
	}
	DIR *dir = opendir(path);
	if (dir == NULL) {
		verify_tell(v, "segments", VERIFY_DAMAGE, "%s", strerror(errno));
		return ERR_OK;
	}
	struct dirent *entry;
	while (e == ERR_OK && (entry = readdir(dir)) != NULL) {
		e = list_one(v, entry->d_name);
	}
	closedir(dir);
	if (v->n > 0) {
		qsort(v->v, v->n, sizeof *v->v, by_number);
	}
	join(v);
	for (size_t i = 0; i < v->n; i++) {
		v->all_bytes += v->v[i].mdb_bytes + v->v[i].idx_bytes;
	}
	v->all_bytes += size_of(v, manifest_names[0]) + size_of(v, manifest_names[1]);
	if (v->o->has_state) {
		v->all_bytes += size_of(v, "state/data.mdb") + dir_bytes(v, "export");
	}
	return e;
}

/* ---- against the MANIFEST ---------------------------------------------------------------- */

static void tell_missing(struct verify *v, bool is_cleaned, uint64_t first, uint64_t last)
{
	struct verify_segment s = {.number = first, .is_cleaned = is_cleaned};
	char name[VERIFY_NAME];
	verify_name(&s, ".mdb", name);
	if (first == last) {
		verify_tell(v, name, VERIFY_DAMAGE, "is missing with its .idx");
	} else {
		verify_tell(v, name, VERIFY_DAMAGE,
			    "is missing with its .idx, and so are all segments up to %llu",
			    (unsigned long long)last);
	}
	if (v->unknown[0] == '\0') {
		snprintf(v->unknown, sizeof v->unknown, "%s", name);
	}
	v->is_missing_listed = true;
}

/* Every number of [first, last] must be among the segments from *at on. */
static void check_range(struct verify *v, bool is_cleaned, uint64_t first, uint64_t last,
			size_t *at)
{
	uint64_t next = first;
	for (; *at < v->n && v->v[*at].is_cleaned == is_cleaned && v->v[*at].number <= last; ++*at) {
		struct verify_segment *s = &v->v[*at];
		if (s->number < first) {
			s->is_leftover = true;
			continue;
		}
		if (s->number > next) {
			tell_missing(v, is_cleaned, next, s->number - 1);
		}
		next = s->number + 1;
	}
	if (next <= last) {
		tell_missing(v, is_cleaned, next, last);
	}
}

static void tell_without_idx(struct verify *v)
{
	for (size_t i = 0; i < v->n; i++) {
		const struct verify_segment *s = &v->v[i];
		bool is_sealed = s->is_cleaned || s->number < v->manifest.base;
		if (is_sealed && !s->is_leftover && s->has_mdb && !s->has_idx) {
			char name[VERIFY_NAME];
			verify_name(s, ".idx", name);
			verify_tell(v, name, VERIFY_REPAIRABLE, "is missing");
		}
	}
}

static void check_cleaned(struct verify *v, size_t at)
{
	const struct manifest *m = &v->manifest;
	for (size_t i = 0; i < m->cleaned.n; i++) {
		check_range(v, true, m->cleaned.v[i].first, m->cleaned.v[i].last, &at);
	}
	for (; at < v->n; at++) {
		v->v[at].is_leftover = true;
	}
	bool has_leftover = false;
	for (size_t i = 0; i < v->n; i++) {
		has_leftover = has_leftover || (v->v[i].is_cleaned && v->v[i].is_leftover);
	}
	if (has_leftover && v->is_missing_listed) {
		verify_tell(v, manifest_names[0], VERIFY_DAMAGE,
			    "is an old copy: there are cleaned segments it does not know, and others "
			    "it knows are missing");
	}
}

static size_t count_log(const struct verify *v)
{
	size_t n = 0;
	while (n < v->n && !v->v[n].is_cleaned) {
		n++;
	}
	return n;
}

static void check_listing(struct verify *v)
{
	struct manifest *m = &v->manifest;
	size_t n_log = count_log(v);
	size_t at = 0;
	if (!v->has_manifest) {
		/* All there is counts, from the first on. */
		m->base = n_log > 0 ? v->v[0].number : 1;
	}
	for (size_t i = 0; i < m->log.n; i++) {
		check_range(v, false, m->log.v[i].first, m->log.v[i].last, &at);
	}
	uint64_t newest = n_log > 0 ? v->v[n_log - 1].number : 0;
	/* Those below base that are not listed are passed as leftovers. */
	uint64_t last = newest >= m->base ? newest : m->base - (m->is_complete ? 1 : 0);
	check_range(v, false, m->base, last, &at);
	while (at < n_log) {
		v->v[at++].is_leftover = true;
	}
	if (n_log > 0 && newest >= m->base && v->v[n_log - 1].has_idx && !m->is_complete) {
		/* Sealed, so there was a next one. */
		tell_missing(v, false, newest + 1, newest + 1);
	}
	if (v->has_manifest) {
		check_cleaned(v, n_log);
		tell_without_idx(v);
	}
}

/* The making of the newest may have been cut short before it held anything. */
static enum err check_newest(struct verify *v)
{
	size_t n_log = count_log(v);
	struct verify_segment *s = n_log > 0 ? &v->v[n_log - 1] : NULL;
	if (s == NULL || !s->has_mdb || s->has_idx || s->is_leftover) {
		return ERR_OK;
	}
	char name[VERIFY_NAME];
	char path[SEGMENT_PATH];
	bool never;
	verify_name(s, ".mdb", name);
	enum err e = verify_path(v, name, path);
	if (e == ERR_OK) {
		e = env_never_committed(path, &never, v->d);
	}
	if (e != ERR_OK || !never) {
		return e;
	}
	s->is_headless = true;
	if (n_log > 1 && v->v[n_log - 2].has_idx) {
		/* The one before is sealed only when this one's head is durable. */
		verify_tell(v, name, VERIFY_DAMAGE, "is empty, what it held is lost");
		snprintf(v->unknown, sizeof v->unknown, "%s", name);
	}
	return ERR_OK;
}

/* ---- segments ------------------------------------------------------------------------------- */

static void check_chain(struct verify *v)
{
	for (size_t i = 1; i < count_log(v); i++) {
		const struct verify_segment *a = &v->v[i - 1];
		const struct verify_segment *b = &v->v[i];
		if (a->is_known && b->is_known && b->number == a->number + 1 &&
		    b->first_log_no != a->next_log_no) {
			char name[VERIFY_NAME];
			verify_name(b, ".mdb", name);
			verify_tell(v, name, VERIFY_DAMAGE, "begins with record %llu, not %llu",
				    (unsigned long long)b->first_log_no,
				    (unsigned long long)a->next_log_no);
		}
	}
}

static enum err check_segments(struct verify *v)
{
	size_t n_log = count_log(v);
	enum err e = ERR_OK;
	for (size_t i = v->n; e == ERR_OK && i > n_log; i--) {
		e = verify_segment(v, &v->v[i - 1]);
	}
	for (size_t i = 0; e == ERR_OK && i < n_log; i++) {
		e = verify_segment(v, &v->v[i]);
	}
	if (e == ERR_OK) {
		check_chain(v);
		e = verify_together(v);
	}
	if (e == ERR_OK && v->o->has_state && !v->has_state && !v->is_log_whole) {
		verify_tell(v, "state/data.mdb", VERIFY_DAMAGE,
			    "neither it nor an export can be used, and the log does not begin with "
			    "its first entry");
	}
	return e;
}

enum err volume_verify(const struct verify_options *o, struct verify_result *out,
		       struct err_detail *d)
{
	struct err_detail own;
	struct verify v = {.o = o, .out = out, .d = d != NULL ? d : &own};
	assert(o->volumes > 0 && o->ordinal < o->volumes);
	v.d->text[0] = '\0';
	v.shards = mem_calloc(o->shards, sizeof *v.shards);
	enum err e = v.shards != NULL ? list_all(&v) : verify_nomem(&v);
	if (e == ERR_OK) {
		e = check_manifests(&v);
	}
	if (e == ERR_OK) {
		check_listing(&v);
		e = check_newest(&v);
	}
	if (e == ERR_OK && o->has_state) {
		e = verify_state(&v);
	}
	if (e == ERR_OK) {
		e = check_segments(&v);
	}
	verify_parts_fini(&v);
	manifest_fini(&v.manifest);
	mem_free(v.v);
	mem_free(v.chunk);
	return e;
}
