#include "store/verify.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/catalog/catalog.h"
#include "store/dir.h"
#include "store/store.h"
#include "store/volume/verify.h"

enum { START_KEY = 8, START_CONTENT = 8, ROW_HEAD = 8, ROW_DELETED = 1, STARTS_FIRST = 256 };

/* Where a partition begins, from the rows. */
struct start {
	struct store_part part;
	bool is_used;
	int64_t first_seq;
};

struct checking {
	const struct store_verify_options *o;
	struct store_verify_result *out;
	struct store_dirs dirs;
	uint32_t at;			/* the volume that is being checked */
	uint64_t bytes_before;		/* of the volumes before it */
	uint64_t all_bytes;
	uint64_t *applied;		/* per shard: what the state knows */
	struct catalog_loader *loader;
	const struct catalog *catalog;
	bool has_catalog;		/* the loader has ended; NULL: it is not known */
	bool no_memory;
	struct start *starts;
	size_t n_starts;
	size_t n_slots;			/* a power of two, 0 at first */
};

/* ---- where partitions begin ------------------------------------------------------- */

static struct start *slot_of(const struct start *v, size_t n, struct store_part part)
{
	uint64_t key = store_part_key(part);
	size_t i = (size_t)((key ^ key >> 29) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (n - 1);
	while (v[i].is_used && store_part_key(v[i].part) != key) {
		i = (i + 1) & (n - 1);
	}
	return (struct start *)(uintptr_t)&v[i];
}

static bool starts_grow(struct checking *c)
{
	if (c->n_slots > 2 * c->n_starts) {
		return true;
	}
	size_t n = c->n_slots == 0 ? STARTS_FIRST : 2 * c->n_slots;
	struct start *v = mem_calloc(n, sizeof *v);
	if (v == NULL) {
		return false;
	}
	for (size_t i = 0; i < c->n_slots; i++) {
		if (c->starts[i].is_used) {
			*slot_of(v, n, c->starts[i].part) = c->starts[i];
		}
	}
	mem_free(c->starts);
	c->starts = v;
	c->n_slots = n;
	return true;
}

static void take_start(struct checking *c, struct span key, struct span content, bool is_deleted)
{
	if (key.n != START_KEY || (!is_deleted && content.n != START_CONTENT)) {
		return;
	}
	if (!starts_grow(c)) {
		c->no_memory = true;
		return;
	}
	struct store_part part = {get_u32(key.p), get_u32(key.p + 4)};
	struct start *s = slot_of(c->starts, c->n_slots, part);
	c->n_starts += !s->is_used;
	int64_t before = s->is_used ? s->first_seq : 0;
	int64_t first_seq = is_deleted ? 0 : (int64_t)get_u64(content.p);
	s->is_used = true;
	s->part = part;
	/* Starts only grow: a row that says less than the one before it changes nothing. */
	s->first_seq = is_deleted || first_seq > before ? first_seq : before;
}

/* ---- what the volume tells ----------------------------------------------------------- */

static void on_shard(void *arg, uint32_t shard, uint64_t applied_index)
{
	struct checking *c = arg;
	c->applied[shard] = applied_index;
}

static void on_row(void *arg, uint32_t shard, uint8_t kind, struct span key, struct span content)
{
	struct checking *c = arg;
	if (kind == STORE_ROW_START) {
		take_start(c, key, content, false);
	}
	if (shard == 0 && kind < STORE_ROW_PRODUCER && c->loader != NULL &&
	    catalog_loader_row(c->loader, kind, content) != ERR_OK) {
		catalog_loader_free(&c->loader);
	}
}

/* All rows are there: they come before the commands. */
static void end_catalog(struct checking *c)
{
	if (c->has_catalog) {
		return;
	}
	c->has_catalog = true;
	if (c->applied[0] == 0) {
		c->catalog = catalog_empty(c->dirs.v[0].shards);
	} else if (c->loader != NULL && catalog_loader_finish(&c->loader, &c->catalog) != ERR_OK) {
		c->catalog = NULL;
	}
	catalog_loader_free(&c->loader);
}

static void take_catalog(struct checking *c, uint64_t index, struct span payload)
{
	struct catalog_command *cmd = MEM_NEW(struct catalog_command);
	const struct catalog *next = NULL;
	bool is_taken = cmd != NULL && c->catalog != NULL && catalog_decode(payload, cmd) == ERR_OK &&
			catalog_apply(c->catalog, cmd, index, &next) == ERR_OK;
	/* One that cannot be followed leaves us without: nothing counts as deleted. */
	catalog_drop(&c->catalog);
	c->catalog = is_taken ? next : NULL;
	if (cmd != NULL) {
		explicit_bzero(cmd, sizeof *cmd);
	}
	mem_free(cmd);
}

static void take_rows(struct checking *c, struct span payload)
{
	struct rd rd = rd_of(payload);
	while (rd_left(&rd) >= ROW_HEAD) {
		uint8_t kind = rd_u8(&rd);
		uint8_t flags = rd_u8(&rd);
		uint16_t key_len = rd_u16(&rd);
		uint32_t content_len = rd_u32(&rd);
		struct span key = rd_span(&rd, key_len);
		struct span content = rd_span(&rd, content_len);
		if (!rd.bad && kind == STORE_ROW_START) {
			take_start(c, key, content, (flags & ROW_DELETED) != 0);
		}
	}
}

static void on_command(void *arg, uint32_t shard, uint64_t index, const struct volume_command *cmd)
{
	struct checking *c = arg;
	end_catalog(c);
	if (index <= c->applied[shard]) {
		return;
	}
	if (cmd->kind == VOLUME_CATALOG && shard == 0) {
		take_catalog(c, index, cmd->payload);
	} else if (cmd->kind == VOLUME_ROWS) {
		take_rows(c, cmd->payload);
	}
}

static bool on_start(void *arg, struct store_part part, int64_t *first_seq)
{
	struct checking *c = arg;
	end_catalog(c);
	const struct catalog_hub *h =
		c->catalog != NULL ? catalog_hub_by_id(c->catalog, part.hub_id) : NULL;
	if (c->catalog != NULL && (h == NULL || part.partition >= h->partitions)) {
		return false;
	}
	*first_seq = 0;
	if (c->n_slots > 0) {
		const struct start *s = slot_of(c->starts, c->n_slots, part);
		*first_seq = s->is_used ? s->first_seq : 0;
	}
	return true;
}

static void on_progress(void *arg, uint64_t done_bytes, uint64_t all_bytes)
{
	struct checking *c = arg;
	(void)all_bytes;
	uint64_t done = c->bytes_before + done_bytes;
	if (c->o->progress != NULL) {
		c->o->progress(c->o->arg, done < c->all_bytes ? done : c->all_bytes, c->all_bytes);
	}
}

static void on_finding(void *arg, const struct verify_finding *f)
{
	struct checking *c = arg;
	char file[LIMIT_PATH];
	snprintf(file, sizeof file, "volume/%s", f->file);
	struct store_verify_finding out = {
		.dir = c->dirs.v[c->at].path,
		.file = file,
		.what = f->what,
		.is_repairable = f->is_repairable,
		.has_part = f->has_part,
		.hub_id = f->part.hub_id,
		.partition = f->part.partition,
		.first_seq = f->first_seq,
		.end_seq = f->end_seq,
	};
	if (f->has_part && c->catalog != NULL) {
		const struct catalog_hub *h = catalog_hub_by_id(c->catalog, f->part.hub_id);
		out.hub = h != NULL ? h->name : NULL;
	}
	c->o->finding(c->o->arg, &out);
}

/* ---- volumes --------------------------------------------------------------------------- */

static uint64_t bytes_below(const char *dir, const char *name)
{
	char path[LIMIT_PATH];
	uint64_t bytes = 0;
	int n = snprintf(path, sizeof path, "%s/%s", dir, name);
	DIR *d = n < (int)sizeof path ? opendir(path) : NULL;
	struct dirent *entry;
	while (d != NULL && (entry = readdir(d)) != NULL) {
		struct stat st;
		char file[LIMIT_PATH];
		if (snprintf(file, sizeof file, "%s/%s", path, entry->d_name) < (int)sizeof file &&
		    stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
			bytes += (uint64_t)st.st_size;
		}
	}
	if (d != NULL) {
		closedir(d);
	}
	return bytes;
}

static void add_result(struct store_verify_result *out, const struct verify_result *r)
{
	out->bytes += r->bytes;
	out->files += r->files;
	out->records += r->records;
	out->batches += r->batches;
	out->events += r->events;
	out->partitions += r->partitions;
	out->findings += r->findings;
}

static enum err check_volume(struct checking *c, struct err_detail *d)
{
	const struct store_dir *dir = &c->dirs.v[c->at];
	bool is_first = c->at == 0;
	struct verify_options o = {
		.dir = dir->volume,
		.shards = dir->shards,
		.volumes = c->dirs.n,
		.ordinal = c->at,
		.may_lack_manifest = dir->version < STORE_DIR_MANIFEST,
		.has_state = is_first,
		.applied = is_first ? NULL : c->applied,
		.arg = c,
		.shard = on_shard,
		.row = on_row,
		.command = on_command,
		.start = on_start,
		.progress = on_progress,
		.finding = on_finding,
	};
	memcpy(o.store_uuid, dir->store_uuid, sizeof o.store_uuid);
	struct verify_result r = {0};
	enum err e = volume_verify(&o, &r, d);
	add_result(c->out, &r);
	c->bytes_before += r.bytes;
	return e;
}

/* Its disk did not even give its label. */
static void tell_out(struct checking *c)
{
	struct store_verify_finding f = {
		.dir = c->dirs.v[c->at].path,
		.file = "VERSION",
		.what = "the directory cannot be read: nothing of its volume was checked",
	};
	c->out->findings++;
	c->o->finding(c->o->arg, &f);
}

static enum err check_all(struct checking *c, struct err_detail *d)
{
	static const char *const parts[] = {"segments", "export", "state"};
	for (uint32_t i = 0; i < c->dirs.n; i++) {
		for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
			c->all_bytes += c->dirs.v[i].is_out
						? 0
						: bytes_below(c->dirs.v[i].volume, parts[k]);
		}
	}
	enum err e = ERR_OK;
	for (c->at = 0; e == ERR_OK && c->at < c->dirs.n; c->at++) {
		if (c->dirs.v[c->at].is_out) {
			tell_out(c);
		} else {
			e = check_volume(c, d);
		}
	}
	if (e == ERR_OK && c->no_memory) {
		e = err_set(d, ERR_NOMEM, "out of memory");
	}
	return e;
}

enum err store_verify(const struct store_verify_options *o, struct store_verify_result *out,
		      struct err_detail *d)
{
	*out = (struct store_verify_result){0};
	d->text[0] = '\0';
	struct checking *c = MEM_NEW(struct checking);
	if (c == NULL) {
		return err_set(d, ERR_NOMEM, "out of memory");
	}
	c->o = o;
	c->out = out;
	enum err e = store_dirs_look(o->dirs, o->n_dirs, &c->dirs, d);
	if (e == ERR_OK) {
		out->format = c->dirs.v[0].version;
		out->volumes = c->dirs.n;
		c->applied = mem_calloc(c->dirs.v[0].shards, sizeof *c->applied);
		c->loader = catalog_loader_new(c->dirs.v[0].shards);
		e = c->applied != NULL && c->loader != NULL ? check_all(c, d)
							    : err_set(d, ERR_NOMEM, "out of memory");
		store_dirs_close(&c->dirs);
	}
	catalog_loader_free(&c->loader);
	catalog_drop(&c->catalog);
	mem_free(c->applied);
	mem_free(c->starts);
	mem_free(c);
	return e;
}
