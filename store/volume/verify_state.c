#include "store/volume/verify_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/volume/export_priv.h"
#include "store/volume/file.h"
#include "store/volume/state_pages.h"

/* State and exports. The state is an LMDB file that is written in place, so a child
 * reads it, twice: first to see whether all of it is sound, then to send its rows. */

enum {
	STATE_KEY_HEAD = 5,	/* u32 shard, u8 kind */
	STATE_VALUE_HEAD = 5,	/* u32 CRC, u8 version */
	STATE_VERSION = 1,
	STATE_APPLIED = 0,	/* kind */
	ROW_HEAD = 4 + 4,	/* as sent: length of key, of content */
	ROW_MAX = 64 << 20,	/* more in one row there cannot be */
};
static const char state_file[] = "state/data.mdb";

struct state_child {
	const char *path;
	uint32_t shards;
	int out;	/* -1: only look */
	FILE *to;
};

/* ---- the child ------------------------------------------------------------------- */

static bool row_is_sound(const struct state_child *c, struct span key, struct span value)
{
	if (key.n < STATE_KEY_HEAD || value.n < STATE_VALUE_HEAD || value.n > ROW_MAX ||
	    get_u32(value.p) != crc32c(crc32c(0, key.p, key.n), value.p + 4, value.n - 4) ||
	    value.p[4] != STATE_VERSION || get_u32(key.p) >= c->shards) {
		return false;
	}
	return key.p[4] != STATE_APPLIED ||
	       (key.n == STATE_KEY_HEAD && value.n == STATE_VALUE_HEAD + 16);
}

static bool send_row(const struct state_child *c, struct span key, struct span value)
{
	uint8_t head[ROW_HEAD];
	put_u32(head, (uint32_t)key.n);
	put_u32(head + 4, (uint32_t)value.n);
	return c->to == NULL || (fwrite(head, 1, sizeof head, c->to) == sizeof head &&
				 fwrite(key.p, 1, key.n, c->to) == key.n &&
				 fwrite(value.p, 1, value.n, c->to) == value.n);
}

static bool read_rows(const struct state_child *c, struct env *env, MDB_txn *txn)
{
	MDB_cursor *cur;
	if (mdb_cursor_open(txn, env->dbi, &cur) != MDB_SUCCESS) {
		return false;
	}
	uint8_t last[STATE_KEY_MAX + STATE_KEY_HEAD];
	MDB_val before = {0, last};
	MDB_val k;
	MDB_val v;
	size_t rows = 0;
	int rc;
	while ((rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT)) == MDB_SUCCESS) {
		struct span key = span_of(k.mv_data, k.mv_size);
		struct span value = span_of(v.mv_data, v.mv_size);
		/* Rising keys: a damaged tree must not be walked in a circle. */
		if (key.n > sizeof last || !row_is_sound(c, key, value) ||
		    (rows > 0 && mdb_cmp(txn, env->dbi, &before, &k) >= 0) ||
		    !send_row(c, key, value)) {
			return false;
		}
		memcpy(last, key.p, key.n);
		before.mv_size = key.n;
		rows++;
	}
	mdb_cursor_close(cur);
	return rc == MDB_NOTFOUND && env_check_count(txn, env->dbi, rows) == ERR_OK;
}

static bool state_child(void *arg)
{
	struct state_child *c = arg;
	struct env *env;
	MDB_txn *txn;
	if (c->out >= 0) {
		c->to = fdopen(c->out, "w");
	}
	if ((c->out >= 0 && c->to == NULL) || !state_pages_are_sound(c->path) ||
	    env_open(c->path, ENV_READ, 0, 0, &env, NULL) != ERR_OK ||
	    env_read_begin(env, ENV_OPENER, &txn) != ERR_OK ||
	    env_check_free(env, txn) != ERR_OK || !read_rows(c, env, txn)) {
		return false;
	}
	return c->to == NULL || fflush(c->to) == 0;
}

/* ---- what it sends ---------------------------------------------------------------- */

static void tell_shard(struct verify *v, uint32_t shard, uint64_t applied)
{
	v->shards[shard].applied = applied;
	if (v->o->shard != NULL) {
		v->o->shard(v->o->arg, shard, applied);
	}
}

static void take_row(struct verify *v, struct span key, struct span value)
{
	uint32_t shard = get_u32(key.p);
	struct span content = span_of(value.p + STATE_VALUE_HEAD, value.n - STATE_VALUE_HEAD);
	if (key.p[4] == STATE_APPLIED) {
		tell_shard(v, shard, get_u64(content.p));
	} else if (v->o->row != NULL) {
		v->o->row(v->o->arg, shard, key.p[4],
			  span_of(key.p + STATE_KEY_HEAD, key.n - STATE_KEY_HEAD), content);
	}
}

/* ERR_EOF: no more; the child tells by its end whether that was right. */
static enum err receive_row(struct verify *v, FILE *from, uint8_t **mem, size_t *cap)
{
	uint8_t head[ROW_HEAD];
	if (fread(head, 1, sizeof head, from) != sizeof head) {
		return ERR_EOF;
	}
	size_t key = get_u32(head);
	size_t value = get_u32(head + 4);
	if (!mem_grow((void **)mem, cap, key + value, 1)) {
		return verify_nomem(v);
	}
	if (fread(*mem, 1, key + value, from) != key + value) {
		return ERR_EOF;
	}
	take_row(v, span_of(*mem, key), span_of(*mem + key, value));
	return ERR_OK;
}

static enum err receive_rows(struct verify *v, int fd)
{
	FILE *from = fdopen(fd, "r");
	if (from == NULL) {
		close(fd);
		return verify_nomem(v);
	}
	uint8_t *mem = NULL;
	size_t cap = 0;
	enum err e;
	do {
		e = receive_row(v, from, &mem, &cap);
	} while (e == ERR_OK);
	mem_free(mem);
	(void)fclose(from);
	return e == ERR_EOF ? ERR_OK : e;
}

static enum err send_and_receive(struct verify *v, const char *path)
{
	int ends[2];
	struct state_child c = {.path = path, .shards = v->o->shards};
	if (pipe2(ends, O_CLOEXEC) != 0) {
		return err_set(v->d, ERR_NOMEM, "cannot make a pipe: %s", strerror(errno));
	}
	c.out = ends[1];
	struct verify_running child;
	enum err e = verify_child_begin(v, state_child, &c, &child);
	close(ends[1]);
	if (e != ERR_OK) {
		close(ends[0]);
		return e;
	}
	e = receive_rows(v, ends[0]);
	bool lived;
	bool is_sound;
	enum err ended = verify_child_end(v, &child, &lived, &is_sound);
	v->has_state = is_sound;
	return e != ERR_OK ? e : ended;
}

/* *is_there also when it is damaged. */
static enum err check_state(struct verify *v, bool *is_there)
{
	char path[SEGMENT_PATH];
	struct stat st;
	enum err e = verify_path(v, state_file, path);
	*is_there = e == ERR_OK && stat(path, &st) == 0;
	if (e != ERR_OK || !*is_there) {
		return e;
	}
	v->out->files++;
	struct state_child c = {.path = path, .shards = v->o->shards, .out = -1};
	bool lived;
	bool is_sound;
	/* Made but never written: it holds nothing yet. */
	bool never = true;
	e = st.st_size > 0 ? env_never_committed(path, &never, v->d) : ERR_OK;
	if (e == ERR_OK && !never) {
		e = verify_child(v, state_child, &c, &lived, &is_sound);
		if (e == ERR_OK && !is_sound) {
			verify_tell(v, state_file, VERIFY_REPAIRABLE, "is damaged%s",
				    lived ? "" : ": reading it ended a child process");
		} else if (e == ERR_OK) {
			e = send_and_receive(v, path);
		}
	}
	verify_progress(v, (uint64_t)st.st_size);
	return e;
}

/* ---- exports ------------------------------------------------------------------------ */

struct exports_found {
	struct verify *v;
	uint64_t newest;	/* sound */
	uint32_t n;
	uint32_t sound;
};

static enum err on_shard(void *arg, uint32_t shard, uint64_t index, uint64_t term)
{
	(void)term;
	tell_shard(arg, shard, index);
	struct verify *v = arg;
	v->export_shard = shard;
	return ERR_OK;
}

static enum err on_row(void *arg, uint8_t kind, struct span key, struct span content)
{
	struct verify *v = arg;
	if (v->o->row != NULL) {
		v->o->row(v->o->arg, v->export_shard, kind, key, content);
	}
	return ERR_OK;
}

static enum err check_export(struct exports_found *x, const char *name)
{
	struct verify *v = x->v;
	char file[VERIFY_NAME];
	char path[SEGMENT_PATH];
	struct stat st;
	struct err_detail why = {{0}};
	if (snprintf(file, sizeof file, "export/%s", name) >= (int)sizeof file ||
	    export_number(name) == 0) {
		if (strstr(name, ".tmp") == NULL) {
			verify_tell(v, "export", VERIFY_DAMAGE, "%.64s is no file of ours", name);
		}
		return ERR_OK;
	}
	enum err e = verify_path(v, file, path);
	if (e != ERR_OK || stat(path, &st) != 0) {
		return e;
	}
	v->out->files++;
	x->n++;
	struct export_reading r = {
		.store_uuid = v->o->store_uuid,
		.n_shards = v->o->shards,
		.number = export_number(name),
	};
	e = export_read(path, &r, &why);
	verify_progress(v, (uint64_t)st.st_size);
	if (e == ERR_NOMEM) {
		return verify_nomem(v);
	}
	if (e != ERR_OK) {
		verify_tell(v, file, VERIFY_REPAIRABLE, "%.200s",
			    strncmp(why.text, path, strlen(path)) == 0 ? why.text + strlen(path) + 1
								       : why.text);
		return ERR_OK;
	}
	x->sound++;
	x->newest = r.number > x->newest ? r.number : x->newest;
	return ERR_OK;
}

static enum err check_exports(struct exports_found *x)
{
	struct verify *v = x->v;
	char path[SEGMENT_PATH];
	enum err e = verify_path(v, "export", path);
	DIR *dir = e == ERR_OK ? opendir(path) : NULL;
	struct dirent *entry;
	while (dir != NULL && e == ERR_OK && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] != '.') {
			e = check_export(x, entry->d_name);
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return e;
}

/* The state is of no use: what it said last is in the newest export. */
static enum err take_export(struct verify *v, uint64_t number)
{
	char file[VERIFY_NAME];
	char path[SEGMENT_PATH];
	snprintf(file, sizeof file, "export/%010llu.exp", (unsigned long long)number);
	enum err e = verify_path(v, file, path);
	if (e != ERR_OK) {
		return e;
	}
	struct export_reading r = {
		.store_uuid = v->o->store_uuid,
		.n_shards = v->o->shards,
		.shard = on_shard,
		.row = on_row,
		.arg = v,
	};
	e = export_read(path, &r, v->d);
	v->has_state = e == ERR_OK;
	return e == ERR_NOMEM ? e : ERR_OK;
}

enum err verify_state(struct verify *v)
{
	struct exports_found x = {.v = v};
	bool is_there;
	enum err e = check_state(v, &is_there);
	if (e == ERR_OK) {
		e = check_exports(&x);
	}
	if (e == ERR_OK && !is_there && x.n > 0 && !v->manifest.is_complete) {
		verify_tell(v, state_file, VERIFY_REPAIRABLE, "is missing");
	}
	if (e == ERR_OK && !v->has_state && x.newest > 0) {
		e = take_export(v, x.newest);
	}
	v->exports = x.sound;
	return e;
}
