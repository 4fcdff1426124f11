/* Rows: the shard's small state as applied, in a hash table. A write is turned
 * into rows and a payload when it arrives, so all it needs is there before it is
 * proposed and applying it cannot fail. */

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"

enum {
	RECORD_HEAD = 48,	/* store/volume/volume.h */
	DESCRIPTOR = 60,
	FLAG_DELETED = 1,
	SLOTS_FIRST = 64,
};

_Static_assert(offsetof(struct store_rows_write, msg) == 0, "found from its message");
_Static_assert(offsetof(struct store_rows_scan, msg) == 0, "found from its message");
_Static_assert(RECORD_HEAD + 2 * DESCRIPTOR + STORE_ROWS_MAX + STORE_ROWS_COUNT * SHARD_ROW_HEAD +
			       SHARD_FORGET_MAX * (SHARD_ROW_HEAD + STORE_ROW_KEY_MAX) <=
		       LIMIT_ENTRY,
	       "any single write fits an entry beside what the sweep adds");

/* ---- the table ----------------------------------------------------------- */

static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdU;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53U;
	return h ^ h >> 33;
}

uint64_t shard_hash(uint64_t seed, const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t h = mix(seed ^ n);
	for (; n >= 8; n -= 8, b += 8) {
		h = mix(h ^ get_u64(b));
	}
	for (; n > 0; n--) {
		h = mix(h ^ *b++);
	}
	return h;
}

uint64_t shard_hash_seed(const void *own)
{
	return mix((uint64_t)clock_mono_ns() ^ mix((uint64_t)(uintptr_t)own));
}

/* The greatest power of two that is not more than n > 0. */
static size_t half_of(size_t n)
{
	return (size_t)1 << (63 - __builtin_clzll(n));
}

/* The table grows by a slot at a time (linear hashing), so that no row makes the
 * shard wait for all others: slots from half_of(n_slots) on are split off already, a
 * row that belongs to one that is not yet is where it would be in half as many. */
static struct shard_row **slot_of(const struct shard_rows *r, uint8_t kind, struct span key)
{
	size_t half = half_of(r->n_slots);
	size_t at = shard_hash(r->seed ^ kind, key.p, key.n) & (2 * half - 1);
	return &r->slots[at < r->n_slots ? at : at - half];
}

/* The place that points to the row, or the one at the end of its slot. */
static struct shard_row **find(const struct shard_rows *r, uint8_t kind, struct span key)
{
	struct shard_row **at = slot_of(r, kind, key);
	while (*at != NULL) {
		const struct shard_row *row = *at;
		if (row->kind == kind && row->key_len == key.n &&
		    memcmp(row->key, key.p, key.n) == 0) {
			break;
		}
		at = &(*at)->next;
	}
	return at;
}

static struct span key_of(const struct shard_row *row)
{
	return span_of(row->key, row->key_len);
}

/* One slot more: the rows of the one it is split off that belong there move. */
static void split(struct shard_rows *r)
{
	size_t to = r->n_slots++;
	size_t from = to - half_of(to);
	r->slots[to] = NULL;
	struct shard_row *row = r->slots[from];
	r->slots[from] = NULL;
	while (row != NULL) {
		struct shard_row *next = row->next;
		struct shard_row **slot = slot_of(r, row->kind, key_of(row));
		assert(slot == &r->slots[from] || slot == &r->slots[to]);
		row->next = *slot;
		*slot = row;
		row = next;
	}
}

bool shard_rows_room(struct shard_rows *r, size_t more)
{
	size_t need = r->n + more > SLOTS_FIRST ? r->n + more : SLOTS_FIRST;
	if (need <= r->n_slots) {
		return true;
	}
	void *slots = r->slots;
	bool ok = mem_grow(&slots, &r->cap, need, sizeof(void *));
	r->slots = slots;
	if (!ok) {
		return r->n_slots > 0;	/* slots only get longer */
	}
	if (r->n_slots == 0) {
		r->seed = shard_hash_seed(slots);
		r->n_slots = SLOTS_FIRST;
		memset(r->slots, 0, SLOTS_FIRST * sizeof(void *));
	}
	while (r->n_slots < need) {
		split(r);
	}
	return true;
}

struct shard_row *shard_row_new(uint8_t kind, struct span key, size_t content_cap)
{
	assert(key.n > 0);
	assert(key.n <= STORE_ROW_KEY_MAX);
	struct shard_row *row = mem_alloc(sizeof *row + key.n);
	if (row == NULL) {
		return NULL;
	}
	*row = (struct shard_row){.kind = kind, .key_len = (uint16_t)key.n};
	memcpy(row->key, key.p, key.n);
	if (content_cap > 0) {
		row->content = mem_alloc(content_cap);
		if (row->content == NULL) {
			mem_free(row);
			return NULL;
		}
	}
	return row;
}

void shard_row_free(struct shard_row **row)
{
	if (*row != NULL) {
		mem_free((*row)->content);
		mem_free(*row);
		*row = NULL;
	}
}

static void set_dirty(struct shard_rows *r, struct shard_row *row)
{
	if (!row->is_dirty) {
		row->is_dirty = true;
		row->next_dirty = r->dirty;
		r->dirty = row;
	}
}

/* Puts the row (takes) in the place of the one with its key. */
static void put(struct shard_rows *r, struct shard_row *row, bool is_dirty)
{
	assert(r->n_slots > 0);
	struct shard_row **at = find(r, row->kind, key_of(row));
	struct shard_row *old = *at;
	if (old != NULL && row->kind == STORE_ROW_START && shard_start_is_behind(row, old)) {
		shard_row_free(&row);
		return;
	}
	if (old != NULL) {
		mem_free(old->content);
		old->content = row->content;
		old->content_len = row->content_len;
		old->is_deleted = row->is_deleted;
		mem_free(row);
		row = old;
	} else if (row->is_deleted) {
		shard_row_free(&row);	/* deleting what is not there */
		return;
	} else {
		row->next = NULL;
		*at = row;
		r->n++;
	}
	if (is_dirty) {
		set_dirty(r, row);
	}
}

void shard_rows_saved_core(struct shard *s)
{
	struct shard_rows *r = &s->rows;
	struct shard_row *row = r->dirty;
	r->dirty = NULL;
	while (row != NULL) {
		struct shard_row *next = row->next_dirty;
		row->next_dirty = NULL;
		row->is_dirty = false;
		if (row->is_deleted) {
			struct shard_row **at = find(r, row->kind, key_of(row));
			assert(*at == row);
			*at = row->next;
			r->n--;
			shard_row_free(&row);
		}
		row = next;
	}
}

void shard_rows_all_dirty_core(struct shard *s)
{
	struct shard_rows *r = &s->rows;
	for (size_t i = 0; i < r->n_slots; i++) {
		for (struct shard_row *row = r->slots[i]; row != NULL; row = row->next) {
			set_dirty(r, row);
		}
	}
}

void shard_rows_fini(struct shard_rows *r)
{
	for (size_t i = 0; i < r->n_slots; i++) {
		while (r->slots[i] != NULL) {
			struct shard_row *row = r->slots[i];
			r->slots[i] = row->next;
			shard_row_free(&row);
		}
	}
	mem_free(r->slots);
	*r = (struct shard_rows){0};
}

/* ---- start --------------------------------------------------------------- */

static enum err put_copy(struct shard *s, const struct store_row *in, bool is_dirty)
{
	struct shard_row *row = NULL;
	if (shard_rows_room(&s->rows, 1)) {
		row = shard_row_new(in->kind, in->key, in->content.n);
	}
	if (row == NULL) {
		return ERR_NOMEM;
	}
	row->is_deleted = in->is_deleted;
	row->content_len = (uint32_t)in->content.n;
	if (in->content.n > 0) {
		memcpy(row->content, in->content.p, in->content.n);
	}
	put(&s->rows, row, is_dirty);
	return ERR_OK;
}

static bool is_sound(const struct store_row *row)
{
	return row->kind >= STORE_ROW_PRODUCER && row->key.n > 0 &&
	       row->key.n <= STORE_ROW_KEY_MAX && !(row->is_deleted && row->content.n > 0) &&
	       (row->kind != STORE_ROW_START || shard_start_is_sound(row));
}

enum err shard_rows_load(struct shard *s, uint8_t kind, struct span key, struct span content)
{
	const struct store_row row = {.kind = kind, .key = key, .content = content};
	return is_sound(&row) && content.n <= STORE_ROWS_MAX ? put_copy(s, &row, false)
							     : ERR_CORRUPT;
}

enum err shard_rows_replay(struct shard *s, struct span payload)
{
	struct rd rd = rd_of(payload);
	while (rd_left(&rd) > 0) {
		struct store_row row = {.kind = rd_u8(&rd)};
		uint8_t flags = rd_u8(&rd);
		uint16_t key_len = rd_u16(&rd);
		uint32_t content_len = rd_u32(&rd);
		row.is_deleted = flags == FLAG_DELETED;
		row.key = rd_span(&rd, key_len);
		row.content = rd_span(&rd, content_len);
		if (rd.bad || flags > FLAG_DELETED || !is_sound(&row)) {
			return ERR_CORRUPT;
		}
		enum err e = put_copy(s, &row, true);
		if (e != ERR_OK) {
			return e;
		}
	}
	return rd.bad ? ERR_CORRUPT : ERR_OK;
}

/* ---- changes ------------------------------------------------------------- */

void shard_rows_change_fini(struct shard_rows_change *c)
{
	while (c->first != NULL) {
		struct shard_row *row = c->first;
		c->first = row->next;
		shard_row_free(&row);
	}
	mem_free(c->payload);
	*c = (struct shard_rows_change){0};
}

void shard_rows_change_add(struct shard_rows_change *c, struct shard_row *row)
{
	row->next = NULL;
	if (c->first == NULL) {
		c->first = row;
	} else {
		c->last->next = row;
	}
	c->last = row;
}

void shard_rows_change_seal(struct shard_rows_change *c)
{
	struct wr w = wr_of(c->payload, c->payload_cap);
	for (const struct shard_row *row = c->first; row != NULL; row = row->next) {
		wr_u8(&w, row->kind);
		wr_u8(&w, row->is_deleted ? FLAG_DELETED : 0);
		wr_u16(&w, row->key_len);
		wr_u32(&w, row->content_len);
		wr_bytes(&w, row->key, row->key_len);
		wr_bytes(&w, row->content, row->content_len);
	}
	assert(!w.bad);
	assert(wr_len(&w) <= c->size);
	c->size = wr_len(&w);
}

/* What the write's payload takes. */
static enum err measure(const struct store_rows_write *op, size_t *size, bool *has_put)
{
	*size = 0;
	*has_put = false;
	if (op->n > STORE_ROWS_COUNT) {
		return ERR_TOO_LARGE;
	}
	for (uint32_t i = 0; i < op->n; i++) {
		const struct store_row *row = &op->rows[i];
		if (!is_sound(row) || row->kind == STORE_ROW_PRODUCER ||
		    row->kind == STORE_ROW_START) {
			return ERR_INVALID;
		}
		if (row->content.n > STORE_ROWS_MAX) {
			return ERR_TOO_LARGE;
		}
		*size += row->key.n + row->content.n;
		if (*size > STORE_ROWS_MAX) {
			return ERR_TOO_LARGE;
		}
		*has_put = *has_put || !row->is_deleted;
	}
	*size += (size_t)op->n * SHARD_ROW_HEAD;
	return ERR_OK;
}

static void answer_core(struct shard_core *core, struct store_rows_write *op, enum err e)
{
	op->inner = NULL;
	op->err = e;
	shard_reply_core(core, op->reply_to, &op->msg, op->done);
}

/* Of a write. */
static void end_core(struct shard *s, struct shard_rows_change *c, enum err e)
{
	struct store_rows_write *op = c->op;
	s->disk->waiting_bytes -= c->size;
	shard_rows_change_fini(c);
	mem_free(c);
	answer_core(s->core, op, e);
}

/* Rows and payload of a write; NULL: no memory. */
static struct shard_rows_change *change_new(struct store_rows_write *op, size_t size)
{
	struct shard_rows_change *c = MEM_NEW(struct shard_rows_change);
	if (c == NULL) {
		return NULL;
	}
	c->op = op;
	c->end = end_core;
	c->size = size;
	c->payload_cap = size;
	c->payload = mem_alloc(size);
	for (uint32_t i = 0; c->payload != NULL && i < op->n; i++) {
		const struct store_row *in = &op->rows[i];
		struct shard_row *row = shard_row_new(in->kind, in->key, in->content.n);
		if (row == NULL) {
			break;
		}
		row->is_deleted = in->is_deleted;
		row->content_len = (uint32_t)in->content.n;
		if (in->content.n > 0) {
			memcpy(row->content, in->content.p, in->content.n);
		}
		shard_rows_change_add(c, row);
		if (i + 1 == op->n) {
			shard_rows_change_seal(c);
			return c;
		}
	}
	shard_rows_change_fini(c);
	mem_free(c);
	return NULL;
}

/* ---- writes -------------------------------------------------------------- */

void shard_rows_push_core(struct shard *s, struct shard_rows_change *c)
{
	if (s->rows_first == NULL) {
		s->rows_first = c;
	} else {
		s->rows_last->next = c;
	}
	s->rows_last = c;
	shard_ready_core(s);
}

static enum err accept_core(struct shard_core *core, struct store_rows_write *op)
{
	size_t size;
	bool has_put;
	if (core->is_stopping) {
		return ERR_STOPPING;
	}
	enum err e = op->shard < core->n_shards ? measure(op, &size, &has_put) : ERR_INVALID;
	if (e != ERR_OK) {
		return e;
	}
	struct shard *s = &core->shards[op->shard];
	if (s->volume == NULL) {
		return ERR_OFFLINE;
	}
	if (has_put && shard_disk_is_without(s->disk, size)) {
		return ERR_QUOTA;
	}
	struct shard_rows_change *c = NULL;
	if (shard_rows_room(&s->rows, op->n)) {
		c = change_new(op, size);
	}
	if (c == NULL) {
		return ERR_NOMEM;
	}
	s->disk->taken_bytes += size;
	s->disk->waiting_bytes += size;
	shard_rows_push_core(s, c);
	return ERR_OK;
}

void shard_on_rows_write(struct msg *m)
{
	struct store_rows_write *op = (struct store_rows_write *)m;
	struct shard_core *core = op->inner;
	enum err e = op->n > 0 || core->is_stopping ? accept_core(core, op) : ERR_OK;
	if (e != ERR_OK || op->n == 0) {
		answer_core(core, op, e);
	}
}

void shard_rows_command_core(struct shard_entry *e, struct shard_rows_change *c)
{
	assert(e->n < e->commands_cap);
	assert(e->n < e->items_cap);
	e->commands[e->n] = (struct volume_command){
		.kind = VOLUME_ROWS,
		.count = 1,
		.append_ms = e->shard->core->now_ms,
		.payload = span_of(c->payload, c->size),
	};
	e->items[e->n] = (struct shard_item){.rows = c};
	e->n++;
}

static struct shard_rows_change *pop(struct shard *s)
{
	struct shard_rows_change *c = s->rows_first;
	s->rows_first = c->next;
	c->next = NULL;
	return c;
}

bool shard_rows_take_core(struct shard_entry *e)
{
	struct shard *s = e->shard;
	if (e->size + DESCRIPTOR + s->rows_first->size > LIMIT_ENTRY && e->n > 0) {
		return false;
	}
	if (!shard_entry_room(e)) {
		if (e->n == 0) {
			struct shard_rows_change *c = pop(s);
			c->end(s, c, ERR_NOMEM);
		}
		return e->n == 0;
	}
	struct shard_rows_change *c = pop(s);
	e->size += DESCRIPTOR + c->size;
	shard_rows_command_core(e, c);
	return true;
}

void shard_rows_apply_core(struct shard *s, struct shard_rows_change *c)
{
	while (c->first != NULL) {
		struct shard_row *row = c->first;
		c->first = row->next;
		if (row->kind == STORE_ROW_START) {
			shard_start_apply_core(s, row);
		}
		put(&s->rows, row, true);
	}
	shard_save_later_core(s->core);
	if (c->end != NULL) {
		c->end(s, c, ERR_OK);
	} else {
		shard_rows_change_fini(c);
	}
}

/* ---- scans --------------------------------------------------------------- */

static enum err scan_core(const struct shard *s, const struct store_rows_scan *op)
{
	for (size_t i = 0; i < s->rows.n_slots; i++) {
		for (const struct shard_row *row = s->rows.slots[i]; row != NULL; row = row->next) {
			if (row->kind != op->kind || row->is_deleted) {
				continue;
			}
			struct span content = span_of(row->content, row->content_len);
			enum err e = op->row(op->arg, s->number, key_of(row), content);
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	return ERR_OK;
}

void shard_on_rows_scan(struct msg *m)
{
	struct store_rows_scan *op = (struct store_rows_scan *)m;
	struct shard_core *core = op->inner;
	op->inner = NULL;
	op->err = core->is_stopping ? ERR_STOPPING : ERR_OK;
	for (uint32_t i = 0; op->err == ERR_OK && i < core->n_shards; i++) {
		op->err = scan_core(&core->shards[i], op);
	}
	shard_reply_core(core, op->reply_to, &op->msg, op->done);
}

/* ---- any thread ---------------------------------------------------------- */

void shard_core_rows_write(struct shard_core *core, struct store_rows_write *op)
{
	op->inner = core;
	op->msg.run = shard_on_rows_write;
	mailbox_post(&core->mailbox, &op->msg);
}

void shard_core_rows_scan(struct shard_core *core, struct store_rows_scan *op)
{
	op->inner = core;
	op->msg.run = shard_on_rows_scan;
	mailbox_post(&core->mailbox, &op->msg);
}
