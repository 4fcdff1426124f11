#include "store/volume/state.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/volume/env.h"
#include "store/volume/file.h"
#include "store/volume/state_pages.h"
#include "store/volume/volume_priv.h"

enum {
	STATE_MAGIC = 0x53544154,
	STATE_VERSION = 1,
	KEY_HEAD = 5,		/* u32 shard, u8 kind */
	KEY_MAX = 511,		/* LMDB's */
	VALUE_HEAD = 5,		/* u32 CRC, u8 version */
	KIND_APPLIED = 0,
};
static const uint32_t no_shard = UINT32_MAX;	/* before the first state_shard */
_Static_assert((int)STATE_KEY_MAX == (int)KEY_MAX - (int)KEY_HEAD, "a row's own key must fit");

/* Address space only; the file grows as rows do. */
static const uint64_t map_bytes = (uint64_t)16 << 30;

struct state {
	uint32_t magic;
	struct env *env;
	MDB_txn *txn;		/* between begin and commit */
	uint32_t shard;		/* whose rows are being written */
	enum err err;		/* sticky, of this transaction */
	struct err_detail detail;
	uint8_t *value;		/* scratch for a row */
	size_t value_cap;
};

/* ---- rows ------------------------------------------------------------------- */

struct row {
	uint32_t shard;
	uint8_t kind;
	struct span key;
	struct span content;
};

static uint32_t row_crc(struct span key, struct span value)
{
	/* Over the whole key, then all of the value but the CRC itself. */
	return crc32c(crc32c(0, key.p, key.n), value.p + 4, value.n - 4);
}

static enum err row_read(const MDB_val *k, const MDB_val *v, struct row *out)
{
	struct span key = span_of(k->mv_data, k->mv_size);
	struct span value = span_of(v->mv_data, v->mv_size);
	if (key.n < KEY_HEAD || value.n < VALUE_HEAD || get_u32(value.p) != row_crc(key, value)) {
		return ERR_CORRUPT;
	}
	if (value.p[4] != STATE_VERSION) {
		return ERR_VERSION;
	}
	out->shard = get_u32(key.p);
	out->kind = key.p[4];
	out->key = span_of(key.p + KEY_HEAD, key.n - KEY_HEAD);
	out->content = span_of(value.p + VALUE_HEAD, value.n - VALUE_HEAD);
	return ERR_OK;
}

static size_t key_write(uint8_t *out, uint32_t shard, uint8_t kind, struct span key)
{
	put_u32(out, shard);
	out[4] = kind;
	if (key.n > 0) {
		memcpy(out + KEY_HEAD, key.p, key.n);
	}
	return KEY_HEAD + key.n;
}

/* ---- open, close ------------------------------------------------------------ */

/* Every page, every row and the free list, in the child. */
static bool is_sound(const char *path)
{
	struct env *env;
	MDB_txn *txn;
	MDB_cursor *cur;
	if (!state_pages_are_sound(path) ||
	    env_open(path, ENV_READ, 0, 0, &env, NULL) != ERR_OK) {
		return false;
	}
	bool sound = env_read_begin(env, ENV_OPENER, &txn) == ERR_OK &&
		     env_check_free(env, txn) == ERR_OK &&
		     mdb_cursor_open(txn, env->dbi, &cur) == MDB_SUCCESS;
	if (sound) {
		uint8_t last[KEY_MAX];
		size_t last_n = 0;
		size_t rows = 0;
		MDB_val k;
		MDB_val v;
		int rc;
		while (sound && (rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT)) == MDB_SUCCESS) {
			struct row row;
			/* Rising keys: a damaged tree must not be walked in a circle. */
			MDB_val before = {last_n, last};
			sound = k.mv_size <= KEY_MAX && row_read(&k, &v, &row) == ERR_OK &&
				(last_n == 0 || mdb_cmp(txn, env->dbi, &before, &k) < 0);
			if (sound) {
				memcpy(last, k.mv_data, k.mv_size);
				last_n = k.mv_size;
				rows++;
			}
		}
		sound = sound && rc == MDB_NOTFOUND &&
			env_check_count(txn, env->dbi, rows) == ERR_OK;
		mdb_cursor_close(cur);
	}
	env_close(&env);
	return sound;
}

static enum err state_path(const char *dir, char out[LIMIT_PATH], struct err_detail *d)
{
	if (snprintf(out, LIMIT_PATH, "%s/state/data.mdb", dir) >= LIMIT_PATH) {
		return err_set(d, ERR_TOO_LARGE, "%s: path too long", dir);
	}
	return ERR_OK;
}

/* The pages always, for who follows damaged ones may end; the rows are read next. */
static enum err check_file(const char *path, bool was_unclean, struct err_detail *d)
{
	struct stat st;
	if (stat(path, &st) != 0 || st.st_size == 0) {
		return ERR_OK;
	}
	bool sound;
	enum err e = walk_in_child(path, was_unclean ? is_sound : state_pages_are_sound, &sound, d);
	if (e == ERR_OK && !sound) {
		metric_inc(METRIC_STORE_CORRUPT);
		e = err_set(d, ERR_CORRUPT, "%s: is damaged", path);
	}
	return e;
}

enum err state_open(const char *dir, bool was_unclean, struct state **out, struct err_detail *d)
{
	*out = NULL;
	char path[LIMIT_PATH];
	enum err e = state_path(dir, path, d);
	if (e == ERR_OK) {
		e = file_make_dir(dir, "state", d);
	}
	if (e == ERR_OK) {
		e = check_file(path, was_unclean, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	struct state *s = MEM_NEW(struct state);
	if (s == NULL) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", path);
	}
	s->magic = STATE_MAGIC;
	e = env_open(path, ENV_WRITE, map_bytes, ENV_RANDOM, &s->env, d);
	if (e == ERR_OK) {
		path[strlen(path) - strlen("/data.mdb")] = '\0';
		e = file_sync_dir(path, d);
	}
	if (e != ERR_OK) {
		state_close(&s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void state_close(struct state **sp)
{
	struct state *s = *sp;
	*sp = NULL;
	if (s == NULL) {
		return;
	}
	assert(s->magic == STATE_MAGIC);
	if (s->txn != NULL) {
		mdb_txn_abort(s->txn);
	}
	env_close(&s->env);
	mem_free(s->value);
	s->magic = 0;
	mem_free(s);
}

/* ---- load -------------------------------------------------------------------- */

static enum err applied_read(const struct row *row, uint64_t *index, uint64_t *term)
{
	if (row->key.n != 0 || row->content.n != 16) {
		return ERR_CORRUPT;
	}
	*index = get_u64(row->content.p);
	*term = get_u64(row->content.p + 8);
	return ERR_OK;
}

struct load {
	uint32_t shard;
	uint64_t *index;
	uint64_t *term;
	state_row_fn *fn;
	void *arg;
	bool is_callers;	/* the error is fn's */
};

static enum err load_row(struct load *l, const struct row *row)
{
	if (row->kind == KIND_APPLIED) {
		return applied_read(row, l->index, l->term);
	}
	enum err e = l->fn(l->arg, row->kind, row->key, row->content);
	l->is_callers = e != ERR_OK;
	return e;
}

static enum err load_rows(MDB_cursor *cur, struct load *l)
{
	uint8_t start[KEY_HEAD];
	MDB_val k = {key_write(start, l->shard, 0, span_of(NULL, 0)), start};
	MDB_val v;
	int rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
	enum err e = ERR_OK;
	while (rc == MDB_SUCCESS) {
		struct row row;
		e = row_read(&k, &v, &row);
		if (e != ERR_OK || row.shard != l->shard) {
			return e;
		}
		e = load_row(l, &row);
		if (e != ERR_OK) {
			return e;
		}
		rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT);
	}
	return rc == MDB_NOTFOUND ? ERR_OK : env_err(rc);
}

enum err state_load(struct state *s, uint32_t shard, uint64_t *applied_index,
		    uint64_t *applied_term, state_row_fn *fn, void *arg, struct err_detail *d)
{
	assert(s->magic == STATE_MAGIC);
	assert(s->txn == NULL);
	*applied_index = 0;
	*applied_term = 0;
	struct load l = {
		.shard = shard,
		.index = applied_index,
		.term = applied_term,
		.fn = fn,
		.arg = arg,
	};
	MDB_txn *txn;
	enum err e = env_read_begin(s->env, ENV_OPENER, &txn);
	if (e != ERR_OK) {
		return err_set(d, e, "%s: %s", s->env->path, err_text(e));
	}
	MDB_cursor *cur;
	int rc = mdb_cursor_open(txn, s->env->dbi, &cur);
	if (rc == MDB_SUCCESS) {
		e = load_rows(cur, &l);
		mdb_cursor_close(cur);
	} else {
		e = env_err(rc);
	}
	env_read_end(s->env, ENV_OPENER);
	if (e == ERR_CORRUPT && !l.is_callers) {
		metric_inc(METRIC_STORE_CORRUPT);
	}
	if (e != ERR_OK && !l.is_callers) {
		err_set(d, e, "%s: shard %u: %s", s->env->path, shard, err_text(e));
	}
	return e;
}

/* ---- dump -------------------------------------------------------------------- */

struct dump {
	uint32_t n_shards;
	state_shard_fn *shard;
	state_row_fn *row;
	void *arg;
	uint32_t at;		/* the shard whose rows come; no_shard: none yet */
	size_t rows;
	bool is_callers;	/* the error is a function's of the caller */
};

static enum err dump_row(struct dump *x, const struct row *row)
{
	enum err e;
	x->rows++;
	if (row->kind == KIND_APPLIED) {
		uint64_t index;
		uint64_t term;
		e = row->shard < x->n_shards ? applied_read(row, &index, &term) : ERR_CORRUPT;
		if (e != ERR_OK) {
			return e;
		}
		x->at = row->shard;
		e = x->shard(x->arg, row->shard, index, term);
	} else if (row->shard == x->at) {
		e = x->row(x->arg, row->kind, row->key, row->content);
	} else {
		return ERR_CORRUPT;	/* rows of a shard without an index */
	}
	x->is_callers = e != ERR_OK;
	return e;
}

static enum err dump_rows(struct state *s, MDB_txn *txn, struct dump *x)
{
	MDB_cursor *cur;
	int rc = mdb_cursor_open(txn, s->env->dbi, &cur);
	if (rc != MDB_SUCCESS) {
		return env_err(rc);
	}
	enum err e = ERR_OK;
	MDB_val k;
	MDB_val v;
	while (e == ERR_OK && (rc = mdb_cursor_get(cur, &k, &v, MDB_NEXT)) == MDB_SUCCESS) {
		struct row row;
		e = row_read(&k, &v, &row);
		if (e == ERR_OK) {
			e = dump_row(x, &row);
		}
	}
	mdb_cursor_close(cur);
	if (e == ERR_OK && rc != MDB_NOTFOUND) {
		e = env_err(rc);
	}
	return e == ERR_OK ? env_check_count(txn, s->env->dbi, x->rows) : e;
}

enum err state_dump(struct state *s, uint32_t n_shards, state_shard_fn *shard, state_row_fn *row,
		    void *arg, struct err_detail *d)
{
	assert(s->magic == STATE_MAGIC);
	assert(n_shards < no_shard);
	struct dump x = {
		.n_shards = n_shards,
		.shard = shard,
		.row = row,
		.arg = arg,
		.at = no_shard,
	};
	MDB_txn *txn;
	enum err e = env_read_begin(s->env, ENV_BACKGROUND, &txn);
	if (e == ERR_OK) {
		e = dump_rows(s, txn, &x);
		env_read_end(s->env, ENV_BACKGROUND);
	}
	if (e == ERR_CORRUPT && !x.is_callers) {
		metric_inc(METRIC_STORE_CORRUPT);
	}
	if (e != ERR_OK && !x.is_callers) {
		err_set(d, e, "%s: %s", s->env->path, err_text(e));
	}
	return e;
}

/* ---- one transaction ----------------------------------------------------------- */

static void fail(struct state *s, enum err e, const char *what)
{
	if (s->err == ERR_OK) {
		s->err = err_set(&s->detail, e, "%s: %s", s->env->path, what);
	}
}

static void fail_rc(struct state *s, int rc)
{
	fail(s, env_err(rc), mdb_strerror(rc));
}

void state_begin(struct state *s)
{
	assert(s->magic == STATE_MAGIC);
	assert(s->txn == NULL);
	s->shard = no_shard;
	s->err = ERR_OK;
	s->detail.text[0] = '\0';
	int rc = mdb_txn_begin(s->env->env, NULL, 0, &s->txn);
	if (rc != MDB_SUCCESS) {
		s->txn = NULL;
		fail_rc(s, rc);
	}
}

void state_shard(struct state *s, uint32_t shard)
{
	assert(s->magic == STATE_MAGIC);
	assert(shard != no_shard);
	s->shard = shard;
}

void state_put(struct state *s, uint8_t kind, struct span key, struct span content)
{
	assert(s->shard != no_shard);
	if (s->err != ERR_OK) {
		return;
	}
	if (key.n > STATE_KEY_MAX) {
		fail(s, ERR_TOO_LARGE, "a row's key is too long");
		return;
	}
	size_t n = VALUE_HEAD + content.n;
	if (!mem_grow((void **)&s->value, &s->value_cap, n, 1)) {
		fail(s, ERR_NOMEM, "out of memory");
		return;
	}
	uint8_t k[KEY_MAX];
	MDB_val mk = {key_write(k, s->shard, kind, key), k};
	s->value[4] = STATE_VERSION;
	if (content.n > 0) {
		memcpy(s->value + VALUE_HEAD, content.p, content.n);
	}
	put_u32(s->value, row_crc(span_of(k, mk.mv_size), span_of(s->value, n)));
	MDB_val mv = {n, s->value};
	int rc = mdb_put(s->txn, s->env->dbi, &mk, &mv, 0);
	if (rc != MDB_SUCCESS) {
		fail_rc(s, rc);
	}
}

void state_delete(struct state *s, uint8_t kind, struct span key)
{
	assert(s->shard != no_shard);
	if (s->err != ERR_OK || key.n > STATE_KEY_MAX) {
		return;	/* a key that long was never put */
	}
	uint8_t k[KEY_MAX];
	MDB_val mk = {key_write(k, s->shard, kind, key), k};
	int rc = mdb_del(s->txn, s->env->dbi, &mk, NULL);
	if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND) {
		fail_rc(s, rc);
	}
}

void state_clear(struct state *s)
{
	assert(s->shard != no_shard);
	if (s->err != ERR_OK) {
		return;
	}
	MDB_cursor *cur;
	int rc = mdb_cursor_open(s->txn, s->env->dbi, &cur);
	if (rc != MDB_SUCCESS) {
		fail_rc(s, rc);
		return;
	}
	uint8_t start[KEY_HEAD];
	for (;;) {
		MDB_val k = {key_write(start, s->shard, 0, span_of(NULL, 0)), start};
		MDB_val v;
		rc = mdb_cursor_get(cur, &k, &v, MDB_SET_RANGE);
		if (rc != MDB_SUCCESS || k.mv_size < KEY_HEAD ||
		    get_u32(k.mv_data) != s->shard) {
			break;
		}
		rc = mdb_cursor_del(cur, 0);
		if (rc != MDB_SUCCESS) {
			break;
		}
	}
	mdb_cursor_close(cur);
	if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND) {
		fail_rc(s, rc);
	}
}

void state_clear_all(struct state *s)
{
	enum { EMPTIED = 0 };
	if (s->err != ERR_OK) {
		return;
	}
	int rc = mdb_drop(s->txn, s->env->dbi, EMPTIED);
	if (rc != MDB_SUCCESS) {
		fail_rc(s, rc);
	}
}

void state_applied(struct state *s, uint64_t index, uint64_t term)
{
	uint8_t content[16];
	put_u64(content, index);
	put_u64(content + 8, term);
	state_put(s, KIND_APPLIED, span_of(NULL, 0), span_of(content, sizeof content));
}

void state_abort(struct state *s)
{
	assert(s->magic == STATE_MAGIC);
	if (s->txn != NULL) {
		mdb_txn_abort(s->txn);
	}
	s->txn = NULL;
}

enum err state_commit(struct state *s, struct err_detail *d)
{
	assert(s->magic == STATE_MAGIC);
	if (s->err != ERR_OK) {
		if (s->txn != NULL) {
			mdb_txn_abort(s->txn);
		}
	} else {
		int rc = mdb_txn_commit(s->txn);
		if (rc != MDB_SUCCESS) {
			fail_rc(s, rc);
		}
	}
	s->txn = NULL;
	return s->err == ERR_OK ? ERR_OK : err_set(d, s->err, "%s", s->detail.text);
}
