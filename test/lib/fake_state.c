#include "test/lib/fake_state.h"

#include <assert.h>

#include "base/lock.h"
#include "base/mem.h"
#include "store/volume/state.h"

enum { SHARDS = 8 };

struct row {
	uint32_t shard;
	uint8_t kind;
	struct buf *key;
	struct buf *content;
};

struct rows {
	struct row *v;
	size_t n;
	size_t cap;
	uint64_t index[SHARDS];
	uint64_t term[SHARDS];
	bool is_damaged[SHARDS];
};

struct state {
	struct lock lock;
	struct cond changed;
	bool is_held;
	bool is_dump_held;
	uint32_t dumps;
	uint32_t begun;
	uint32_t ended;
	uint32_t failures;
	enum err failure;
	struct rows committed;
	uint32_t last_shards;
	uint64_t last_bytes;
	/* The writer's. */
	struct rows open;
	uint32_t shard;
	uint32_t n_shards;
	uint64_t bytes;
};

/* ---- rows ------------------------------------------------------------------ */

static struct buf *buf_of(struct span s)
{
	struct buf *b = buf_new(s.n);
	assert(b != NULL);
	if (s.n > 0) {
		memcpy(b->data, s.p, s.n);
	}
	b->len = (uint32_t)s.n;
	return b;
}

static void rows_clear(struct rows *r)
{
	for (size_t i = 0; i < r->n; i++) {
		buf_drop(&r->v[i].key);
		buf_drop(&r->v[i].content);
	}
	mem_free(r->v);
	*r = (struct rows){0};
}

static void rows_copy(struct rows *to, const struct rows *from)
{
	rows_clear(to);
	*to = *from;
	to->v = from->n > 0 ? mem_dup(from->v, from->n * sizeof *from->v) : NULL;
	assert(to->v != NULL || from->n == 0);
	to->cap = from->n;
	for (size_t i = 0; i < to->n; i++) {
		buf_hold(to->v[i].key);
		buf_hold(to->v[i].content);
	}
}

static size_t row_find(const struct rows *r, uint32_t shard, uint8_t kind, struct span key)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->v[i].shard == shard && r->v[i].kind == kind &&
		    span_eq(span_of(r->v[i].key->data, r->v[i].key->len), key)) {
			return i;
		}
	}
	return r->n;
}

static void row_remove(struct rows *r, size_t i)
{
	buf_drop(&r->v[i].key);
	buf_drop(&r->v[i].content);
	r->v[i] = r->v[--r->n];
}

static void row_put(struct rows *r, uint32_t shard, uint8_t kind, struct span key,
		    struct span content)
{
	size_t i = row_find(r, shard, kind, key);
	if (i < r->n) {
		row_remove(r, i);
	}
	void *v = r->v;
	bool ok = mem_grow(&v, &r->cap, r->n + 1, sizeof *r->v);
	assert(ok);
	r->v = v;
	r->v[r->n++] = (struct row){shard, kind, buf_of(key), buf_of(content)};
}

/* ---- the test's side --------------------------------------------------------- */

struct state *fake_state_new(void)
{
	struct state *s = MEM_NEW(struct state);
	assert(s != NULL);
	lock_init(&s->lock);
	cond_init(&s->changed);
	return s;
}

struct state *fake_state_copy(struct state *s)
{
	struct state *copy = fake_state_new();
	lock_take(&s->lock);
	rows_copy(&copy->committed, &s->committed);
	lock_give(&s->lock);
	return copy;
}

void fake_state_free(struct state **sp)
{
	struct state *s = *sp;
	*sp = NULL;
	rows_clear(&s->committed);
	rows_clear(&s->open);
	cond_fini(&s->changed);
	lock_fini(&s->lock);
	mem_free(s);
}

static void set_held(struct state *s, bool held)
{
	lock_take(&s->lock);
	s->is_held = held;
	cond_broadcast(&s->changed);
	lock_give(&s->lock);
}

void fake_state_hold(struct state *s)
{
	set_held(s, true);
}

void fake_state_release(struct state *s)
{
	set_held(s, false);
}

void fake_state_hold_dump(struct state *s, bool is_held)
{
	lock_take(&s->lock);
	s->is_dump_held = is_held;
	cond_broadcast(&s->changed);
	lock_give(&s->lock);
}

static void wait_for(struct state *s, const uint32_t *count, uint32_t n)
{
	lock_take(&s->lock);
	while (*count < n) {
		cond_wait(&s->changed, &s->lock);
	}
	lock_give(&s->lock);
}

void fake_state_wait_begun(struct state *s, uint32_t n)
{
	wait_for(s, &s->begun, n);
}

void fake_state_wait_dump(struct state *s, uint32_t n)
{
	wait_for(s, &s->dumps, n);
}

void fake_state_wait(struct state *s, uint32_t n)
{
	wait_for(s, &s->ended, n);
}

void fake_state_fail(struct state *s, enum err e, uint32_t n)
{
	lock_take(&s->lock);
	s->failure = e;
	s->failures = n;
	lock_give(&s->lock);
}

void fake_state_damage(struct state *s, uint32_t shard)
{
	s->committed.is_damaged[shard] = true;
}

void fake_state_set(struct state *s, uint32_t shard, uint8_t kind, struct span key,
		    struct span content)
{
	row_put(&s->committed, shard, kind, key, content);
}

bool fake_state_get(struct state *s, uint32_t shard, uint8_t kind, struct span key, char *out,
		    size_t n)
{
	lock_take(&s->lock);
	const struct rows *r = &s->committed;
	size_t i = row_find(r, shard, kind, key);
	bool is_there = i < r->n;
	size_t len = 0;
	if (is_there) {
		len = r->v[i].content->len < n ? r->v[i].content->len : n - 1;
		memcpy(out, r->v[i].content->data, len);
	}
	out[len] = '\0';
	lock_give(&s->lock);
	return is_there;
}

uint64_t fake_state_index(struct state *s, uint32_t shard)
{
	lock_take(&s->lock);
	uint64_t index = s->committed.index[shard];
	lock_give(&s->lock);
	return index;
}

static uint64_t locked(struct state *s, const uint32_t *count)
{
	lock_take(&s->lock);
	uint32_t n = *count;
	lock_give(&s->lock);
	return n;
}

uint32_t fake_state_commits(struct state *s)
{
	return (uint32_t)locked(s, &s->ended);
}

uint32_t fake_state_dumps(struct state *s)
{
	return (uint32_t)locked(s, &s->dumps);
}

uint32_t fake_state_last_shards(struct state *s)
{
	return (uint32_t)locked(s, &s->last_shards);
}

uint64_t fake_state_last_bytes(struct state *s)
{
	lock_take(&s->lock);
	uint64_t n = s->last_bytes;
	lock_give(&s->lock);
	return n;
}

uint32_t fake_state_rows(struct state *s, uint8_t kind)
{
	uint32_t n = 0;
	lock_take(&s->lock);
	for (size_t i = 0; i < s->committed.n; i++) {
		n += s->committed.v[i].kind == kind;
	}
	lock_give(&s->lock);
	return n;
}

/* ---- state.h ------------------------------------------------------------------- */

enum err state_load(struct state *s, uint32_t shard, uint64_t *applied_index,
		    uint64_t *applied_term, state_row_fn *fn, void *arg, struct err_detail *d)
{
	const struct rows *r = &s->committed;
	*applied_index = r->index[shard];
	*applied_term = r->term[shard];
	if (r->is_damaged[shard]) {
		return err_set(d, ERR_CORRUPT, "shard %u is damaged", shard);
	}
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < r->n; i++) {
		const struct row *row = &r->v[i];
		if (row->shard == shard) {
			e = fn(arg, row->kind, span_of(row->key->data, row->key->len),
			       span_of(row->content->data, row->content->len));
		}
	}
	return e;
}

enum err state_dump(struct state *s, uint32_t n_shards, state_shard_fn *shard, state_row_fn *row,
		    void *arg, struct err_detail *d)
{
	struct rows copy = {0};
	enum err e = ERR_OK;
	lock_take(&s->lock);
	s->dumps++;
	cond_broadcast(&s->changed);
	while (s->is_dump_held) {
		cond_wait(&s->changed, &s->lock);
	}
	rows_copy(&copy, &s->committed);
	lock_give(&s->lock);
	for (uint32_t i = 0; e == ERR_OK && i < n_shards && i < SHARDS; i++) {
		if (copy.is_damaged[i]) {
			e = err_set(d, ERR_CORRUPT, "shard %u is damaged", i);
		} else if (copy.index[i] > 0) {
			e = shard(arg, i, copy.index[i], copy.term[i]);
		}
		for (size_t k = 0; e == ERR_OK && k < copy.n; k++) {
			const struct row *r = &copy.v[k];
			if (r->shard == i) {
				e = row(arg, r->kind, span_of(r->key->data, r->key->len),
					span_of(r->content->data, r->content->len));
			}
		}
	}
	rows_clear(&copy);
	return e;
}

void state_begin(struct state *s)
{
	lock_take(&s->lock);
	s->begun++;
	cond_broadcast(&s->changed);
	rows_copy(&s->open, &s->committed);
	lock_give(&s->lock);
	s->n_shards = 0;
	s->bytes = 0;
}

void state_shard(struct state *s, uint32_t shard)
{
	assert(shard < SHARDS);
	s->shard = shard;
}

void state_put(struct state *s, uint8_t kind, struct span key, struct span content)
{
	row_put(&s->open, s->shard, kind, key, content);
	s->bytes += key.n + content.n;
}

void state_delete(struct state *s, uint8_t kind, struct span key)
{
	size_t i = row_find(&s->open, s->shard, kind, key);
	if (i < s->open.n) {
		row_remove(&s->open, i);
	}
}

void state_clear(struct state *s)
{
	for (size_t i = s->open.n; i-- > 0;) {
		if (s->open.v[i].shard == s->shard) {
			row_remove(&s->open, i);
		}
	}
	s->open.index[s->shard] = 0;
	s->open.is_damaged[s->shard] = false;
}

void state_clear_all(struct state *s)
{
	rows_clear(&s->open);
}

void state_applied(struct state *s, uint64_t index, uint64_t term)
{
	s->open.index[s->shard] = index;
	s->open.term[s->shard] = term;
	s->n_shards++;
}

void state_abort(struct state *s)
{
	rows_clear(&s->open);
}

enum err state_commit(struct state *s, struct err_detail *d)
{
	enum err e = ERR_OK;
	lock_take(&s->lock);
	while (s->is_held) {
		cond_wait(&s->changed, &s->lock);
	}
	if (s->failures > 0) {
		s->failures--;
		e = err_set(d, s->failure, "made to fail");
	} else {
		rows_copy(&s->committed, &s->open);
		s->last_shards = s->n_shards;
		s->last_bytes = s->bytes;
	}
	rows_clear(&s->open);
	s->ended++;
	cond_broadcast(&s->changed);
	lock_give(&s->lock);
	return e;
}
