#include "store/volume/volume_priv.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/volume/export.h"
#include "store/volume/file.h"
#include "store/volume/manifest.h"

/* The scrubber: reads everything that does not change any more once in each period,
 * so that damage is found while there is still a copy elsewhere. Files are read
 * plainly, around the kernel's cache where the file system allows it: what counts is
 * what the disk holds, and the cache belongs to the readers. No segment is held while
 * it is read; one that the cleaner removes meanwhile is read to its end in peace. */

enum {
	SCRUB_CHUNK = 256 << 10,
	SCRUB_ALIGN = 4096,		/* of memory and places for reads around the cache */
	NS_PER_MS = 1000000,
	MANIFEST_TRIES = 50,		/* it may be written just now */
	MANIFEST_WAIT_MS = 100,
	/* ioprio_set(2), which has no header of its own. */
	IOPRIO_OF_THREAD = 1,
	IOPRIO_IDLE = 3 << 13,
};
_Static_assert(SCRUB_CHUNK % IDX_BLOCK == 0, "whole blocks of an .idx");

struct scrub {
	struct volume *volume;
	const char *root;		/* the volume's directory */
	uint8_t *memory;
	uint8_t *chunk;			/* in it, aligned */
	int64_t started_ms;
	uint64_t planned;		/* bytes of this pass */
	uint64_t done;
};

/* A sealed segment as it was when its turn came. */
struct target {
	uint32_t at;
	uint8_t uuid[IDX_UUID];
	struct segment_name name;
	struct idx_head idx;
	char mdb[SEGMENT_PATH];
	char index[SEGMENT_PATH];
};

static bool is_stopping(const struct scrub *sc)
{
	lock_take(&sc->volume->lock);
	bool has_stopped = sc->volume->has_stopped;
	lock_give(&sc->volume->lock);
	return has_stopped;
}

/* ---- pace -------------------------------------------------------------------- */

static void wait_until(const struct scrub *sc, int64_t at_ms)
{
	struct volume *v = sc->volume;
	bool is_time = clock_mono_ms() >= at_ms;
	lock_take(&v->lock);
	while (!is_time && !v->has_stopped) {
		is_time = !cond_wait_until(&v->wake, &v->lock, at_ms * NS_PER_MS);
	}
	lock_give(&v->lock);
}

/* Bytes were read: waits until it is time for the next. */
static void pace(struct scrub *sc, uint64_t bytes)
{
	metric_add(METRIC_STORE_SCRUBBED, (int64_t)bytes);
	sc->done += bytes;
	double part = sc->done < sc->planned ? (double)sc->done / (double)sc->planned : 1.0;
	wait_until(sc, sc->started_ms +
			       (int64_t)(part * (double)sc->volume->options.scrub_period_ms));
}

/* ---- reading a file -------------------------------------------------------------- */

struct scan {
	const uint8_t *blocks_of;	/* UUID of the segment: the file is its .idx */
	uint64_t size;
	uint32_t crc;
	bool has_bad_block;
};

static void scan_chunk(struct scan *s, const uint8_t *p, size_t n)
{
	if (s->blocks_of == NULL) {
		s->crc = crc32c(s->crc, p, n);
	}
	for (size_t i = 0; s->blocks_of != NULL && i + IDX_BLOCK <= n; i += IDX_BLOCK) {
		uint32_t no = (uint32_t)((s->size + i) / IDX_BLOCK);
		if (get_u32(p + i) != idx_block_crc(s->blocks_of, no, p + i)) {
			s->has_bad_block = true;
		}
	}
	s->size += n;
}

/* A chunk, or what is left of the file. Reads that go around the cache must be asked
 * for in whole blocks; where that fails in any way the cache is used. */
static enum err read_chunk(struct scrub *sc, int fd, uint64_t at, size_t want, size_t *got)
{
	*got = 0;
	while (*got < want) {
		ssize_t n = pread(fd, sc->chunk + *got, SCRUB_CHUNK - *got, (off_t)(at + *got));
		if (n < 0 && errno == EINTR) {
			continue;
		}
		int flags = fcntl(fd, F_GETFL);
		bool is_direct = (flags & O_DIRECT) != 0;
		if (is_direct && (n < 0 || (*got + (size_t)n < want && n % SCRUB_ALIGN != 0))) {
			if (fcntl(fd, F_SETFL, flags & ~O_DIRECT) != 0) {
				return file_errno(errno);
			}
			continue;
		}
		if (n < 0) {
			return file_errno(errno);
		}
		if (n == 0) {
			break;
		}
		*got += (size_t)n;
	}
	*got = *got < want ? *got : want;
	return ERR_OK;
}

static enum err scan_open(struct scrub *sc, int fd, struct scan *s)
{
	struct stat st;
	if (fstat(fd, &st) != 0) {
		return file_errno(errno);
	}
	uint64_t size = (uint64_t)st.st_size;
	while (s->size < size) {
		uint64_t left = size - s->size;
		size_t want = left < SCRUB_CHUNK ? (size_t)left : SCRUB_CHUNK;
		size_t got;
		enum err e = read_chunk(sc, fd, s->size, want, &got);
		if (e != ERR_OK || got == 0) {
			return e;
		}
		scan_chunk(s, sc->chunk, got);
		pace(sc, got);
		if (is_stopping(sc)) {
			return ERR_STOPPING;
		}
	}
	return ERR_OK;
}

/* ERR_NOT_FOUND, ERR_STOPPING, ERR_IO (the disk gives no answer), ERR_NOMEM. */
static enum err scan_file(struct scrub *sc, const char *path, bool is_direct, struct scan *s)
{
	s->size = 0;
	s->crc = 0;
	s->has_bad_block = false;
	int fd = is_direct ? open(path, O_RDONLY | O_CLOEXEC | O_DIRECT) : -1;
	if (fd < 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0) {
		/* Too many open files and the like are not the disk's. */
		return errno == ENOENT || errno == EIO ? file_errno(errno) : ERR_NOMEM;
	}
	enum err e = scan_open(sc, fd, s);
	close(fd);
	return e;
}

/* ---- segments ---------------------------------------------------------------------- */

/* Under the lock: the segment in this place, when it is one to be checked. */
static struct segment *sealed_at_locked(struct volume *v, size_t at)
{
	struct segment *s = at < v->n_segments ? v->segments[at] : NULL;
	bool is_one = s != NULL && s->state == SEGMENT_SEALED && !s->is_damaged && !s->is_removed &&
		      !s->is_going && !s->is_new;
	return is_one ? s : NULL;
}

static bool take_target(struct volume *v, size_t at, struct target *t)
{
	lock_take(&v->lock);
	struct segment *s = sealed_at_locked(v, at);
	if (s != NULL) {
		t->at = (uint32_t)at;
		memcpy(t->uuid, s->idx.segment_uuid, IDX_UUID);
		t->name = segment_name(s);
		t->idx = s->idx;
		segment_file(s, ".mdb", t->mdb);
		segment_file(s, ".idx", t->index);
	}
	lock_give(&v->lock);
	return s != NULL;
}

/* Under the lock: the target's segment, when it is there still. */
static struct segment *find_again_locked(struct volume *v, const struct target *t)
{
	struct segment *s = sealed_at_locked(v, t->at);
	bool is_same = s != NULL && memcmp(s->idx.segment_uuid, t->uuid, IDX_UUID) == 0;
	return is_same ? s : NULL;
}

static void tell_damaged(struct scrub *sc, const struct target *t, const char *reason)
{
	struct volume *v = sc->volume;
	lock_take(&v->lock);
	struct segment *s = find_again_locked(v, t);
	if (s != NULL) {
		s->is_damaged = true;
	}
	lock_give(&v->lock);
	if (s != NULL) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("SEGMENT-DAMAGED", "segment=%s reason=\"%s: %s\"", t->name.text, t->mdb,
			  reason);
	}
}

/* Twice before it is believed: the way from the disk may have been at fault. */
static void check_mdb(struct scrub *sc, const struct target *t)
{
	enum err e = ERR_OK;
	struct scan s;
	for (int i = 0; i < 2; i++) {
		s = (struct scan){0};
		e = scan_file(sc, t->mdb, true, &s);
		if (e == ERR_STOPPING || e == ERR_NOMEM ||
		    (e == ERR_OK && s.size == t->idx.mdb_bytes && s.crc == t->idx.mdb_crc)) {
			return;
		}
	}
	if (e == ERR_OK) {
		tell_damaged(sc, t, "checksum of the whole file is wrong");
	} else {
		tell_damaged(sc, t, e == ERR_NOT_FOUND ? "is missing" : "cannot be read");
	}
}

/* Also when it could not be read for other reasons than damage. */
static bool idx_is_sound(struct scrub *sc, const struct target *t)
{
	struct scan s = {.blocks_of = t->uuid};
	enum err e = scan_file(sc, t->index, true, &s);
	return e == ERR_STOPPING || e == ERR_NOMEM ||
	       (e == ERR_OK && !s.has_bad_block && s.size == segment_idx_bytes(&t->idx));
}

static void repair_idx(struct scrub *sc, const struct target *t)
{
	struct volume *v = sc->volume;
	struct err_detail d = {0};
	lock_take(&v->lock);
	struct segment *s = find_again_locked(v, t);
	if (s != NULL) {
		segment_claim_locked(s);
	}
	lock_give(&v->lock);
	if (s == NULL) {
		return;
	}
	log_error("INDEX-DAMAGED", "segment=%s reason=\"found by the scrubber\"", t->name.text);
	enum err e = segment_open(s, &d);
	if (e == ERR_OK) {
		/* To open it may have repaired it. */
		e = idx_is_sound(sc, t) ? ERR_OK : segment_repair_idx(s, ENV_SCRUBBER, &d);
		segment_drop(s);
		if (e == ERR_IO) {
			/* As for the log: a failed write or sync is never retried. */
			log_fatal("VOLUME-WRITE-FAILED", "dir=%s reason=%s", v->dir,
				  log_quote(d.text));
		}
	}
	if (e != ERR_OK) {
		log_error("INDEX-REPAIR-FAILED", "segment=%s reason=%s", t->name.text,
			  log_quote(d.text));
	}
}

/* Twice before it is believed, as a segment. */
static void check_idx(struct scrub *sc, const struct target *t)
{
	if (!idx_is_sound(sc, t) && !idx_is_sound(sc, t)) {
		repair_idx(sc, t);
	}
}

/* ---- the rest ------------------------------------------------------------------------ */

/* One MANIFEST alone would do, but not when it is the next to be damaged. */
static void check_manifest(struct scrub *sc)
{
	struct err_detail d = {0};
	for (int i = 0; i < MANIFEST_TRIES && !is_stopping(sc); i++) {
		struct manifest m = {0};
		bool is_whole = false;
		enum err e = manifest_read(sc->root, &m, &is_whole, &d);
		manifest_fini(&m);
		if ((e == ERR_OK && is_whole) || e == ERR_NOMEM) {
			return;
		}
		wait_until(sc, clock_mono_ms() + MANIFEST_WAIT_MS);
	}
	if (!is_stopping(sc)) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("MANIFEST-DAMAGED", "dir=%s reason=%s", sc->root,
			  log_quote(d.text[0] != '\0' ? d.text : "one of its two copies"));
	}
}

static void check_export(struct scrub *sc, const char *path)
{
	const struct volume_options *o = &sc->volume->options;
	struct err_detail d = {0};
	uint64_t size = 0;
	uint32_t crc;
	enum err e = export_check(path, o->store_uuid, o->shards, NULL, &size, &crc, &d);
	/* It may have been removed while it was read, or before. */
	if (e != ERR_OK && e != ERR_NOMEM && access(path, F_OK) == 0) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("EXPORT-DAMAGED", "file=%s reason=%s", path, log_quote(d.text));
	}
	pace(sc, size);
}

static void check_exports(struct scrub *sc)
{
	char path[SEGMENT_PATH];
	if (snprintf(path, sizeof path, "%s/export", sc->root) >= (int)sizeof path) {
		return;
	}
	DIR *dir = opendir(path);
	struct dirent *entry;
	while (dir != NULL && !is_stopping(sc) && (entry = readdir(dir)) != NULL) {
		const char *dot = strrchr(entry->d_name, '.');
		if (dot != NULL && strcmp(dot, ".exp") == 0 &&
		    snprintf(path, sizeof path, "%s/export/%s", sc->root, entry->d_name) <
			    (int)sizeof path) {
			check_export(sc, path);
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
}

/* ---- a pass -------------------------------------------------------------------------- */

static size_t plan(struct scrub *sc)
{
	struct volume *v = sc->volume;
	sc->started_ms = clock_mono_ms();
	sc->planned = 0;
	sc->done = 0;
	lock_take(&v->lock);
	size_t n = v->n_segments;
	for (size_t i = 0; i < n; i++) {
		const struct segment *s = sealed_at_locked(v, i);
		if (s != NULL) {
			sc->planned += s->idx.mdb_bytes + segment_idx_bytes(&s->idx);
		}
	}
	lock_give(&v->lock);
	return n;
}

static void pass(struct scrub *sc, struct target *t)
{
	check_manifest(sc);
	check_exports(sc);
	size_t n = plan(sc);
	/* From another segment each time, or a process that is often started anew would
	 * never come to the last ones. */
	size_t first = n > 0 ? (size_t)clock_wall_ms() % n : 0;
	for (size_t i = 0; i < n && !is_stopping(sc); i++) {
		if (take_target(sc->volume, (first + i) % n, t)) {
			check_mdb(sc, t);
			check_idx(sc, t);
		}
	}
	if (!is_stopping(sc)) {
		int64_t now_s = clock_wall_ms() / 1000;
		metric_add(METRIC_STORE_SCRUB_DONE, now_s - metric_get(METRIC_STORE_SCRUB_DONE));
		log_debug("SCRUB-DONE", "dir=%s bytes=%llu", sc->root, (unsigned long long)sc->done);
		wait_until(sc, sc->started_ms + sc->volume->options.scrub_period_ms);
	}
}

void *scrubber_main(void *arg)
{
	struct volume *v = arg;
	assert(v->magic == VOLUME_MAGIC);
	ASSERT_THREAD(ROLE_BACKGROUND);
	assert(v->options.scrub_period_ms > 0);
	/* The least of the disk's time, where its scheduler knows of that. */
	(void)syscall(SYS_ioprio_set, IOPRIO_OF_THREAD, 0, IOPRIO_IDLE);
	struct scrub sc = {.volume = v, .root = v->root};
	struct target *t = MEM_NEW(struct target);
	sc.memory = mem_alloc(SCRUB_CHUNK + SCRUB_ALIGN);
	if (t == NULL || sc.memory == NULL) {
		log_error("SCRUB-FAILED", "dir=%s reason=\"out of memory\"", sc.root);
	} else {
		uintptr_t p = (uintptr_t)sc.memory;
		sc.chunk = sc.memory + (SCRUB_ALIGN - p % SCRUB_ALIGN) % SCRUB_ALIGN;
		while (!is_stopping(&sc)) {
			pass(&sc, t);
		}
	}
	mem_free(sc.memory);
	mem_free(t);
	return NULL;
}
