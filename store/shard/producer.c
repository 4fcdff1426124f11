/* Idempotent producers: what a partition knows of each, so that a batch sent
 * again is answered, not stored again, and none is stored before its
 * predecessor.
 *
 * Decided at propose, in order of arrival, against what the entries in flight
 * will make of the producer. The entry that holds a batch also holds its
 * producer's row, so they become durable together:
 *
 *   kind     STORE_ROW_PRODUCER
 *   key      u32 hub id, u32 partition, u64 producer id
 *   content  u8 version 1, u16 epoch, u8 n (1 .. 5), then n times, oldest first:
 *            u32 first sequence, u32 last sequence, u64 base offset, u64 append
 *            time (ms) */

#include <stdlib.h>

#include "base/mem.h"
#include "store/shard/shard_priv.h"

enum {
	DESCRIPTOR = 60,	/* store/volume/volume.h */
	AT_PRODUCER_ID = 43,
	AT_PRODUCER_EPOCH = 51,
	AT_BASE_SEQUENCE = 53,
	ROW_VERSION = 1,
	KEY_SIZE = 4 + 4 + 8,
	CONTENT_HEAD = 1 + 2 + 1,
	BATCH_SIZE = 4 + 4 + 8 + 8,
	CONTENT_MAX = CONTENT_HEAD + STORE_PRODUCER_BATCHES * BATCH_SIZE,
	ROW_MAX = SHARD_ROW_HEAD + KEY_SIZE + CONTENT_MAX,
	FORGOTTEN_ROW = SHARD_ROW_HEAD + KEY_SIZE,
	SLOTS_FIRST = 8,
};

struct producer_batch {
	int32_t first_seq;
	int32_t last_seq;
	int64_t base_seq;
	int64_t append_ms;
};

struct shard_producer {
	struct shard_producer *next;	/* in its slot */
	struct shard_producer *older;
	struct shard_producer *newer;
	int64_t id;
	struct shard_row *row;		/* in the entry that becomes row_index */
	uint64_t row_index;
	int16_t epoch;
	uint8_t n;
	struct producer_batch batches[STORE_PRODUCER_BATCHES];	/* oldest first */
};

static int64_t last_ms(const struct shard_producer *pr)
{
	return pr->n > 0 ? pr->batches[pr->n - 1].append_ms : 0;
}

/* Does the batch last appended end after `next_seq`? */
static bool is_beyond(const struct shard_producer *pr, int64_t next_seq)
{
	const struct producer_batch *b = &pr->batches[pr->n - 1];
	uint32_t more = ((uint32_t)b->last_seq - (uint32_t)b->first_seq) & INT32_MAX;
	return b->base_seq >= next_seq - more;
}

/* ---- a partition's table ------------------------------------------------- */

static struct shard_producer **slot_of(const struct shard_producers *t, int64_t id)
{
	uint8_t key[8];
	put_u64(key, (uint64_t)id);
	return &t->slots[shard_hash(t->seed, key, sizeof key) & (t->n_slots - 1)];
}

static struct shard_producer *find(const struct shard_producers *t, int64_t id)
{
	struct shard_producer *pr = t->n_slots > 0 ? *slot_of(t, id) : NULL;
	while (pr != NULL && pr->id != id) {
		pr = pr->next;
	}
	return pr;
}

/* Room for one more; false: no memory for the first slots. */
static bool table_room(struct shard_producers *t)
{
	if (t->n < t->n_slots) {
		return true;
	}
	size_t n_slots = t->n_slots != 0 ? t->n_slots * 2 : SLOTS_FIRST;
	struct shard_producer **slots = mem_calloc(n_slots, sizeof(void *));
	if (slots == NULL) {
		return t->n_slots > 0;
	}
	if (t->n_slots == 0) {
		t->seed = shard_hash_seed(slots);
	}
	mem_free(t->slots);
	t->slots = slots;
	t->n_slots = n_slots;
	for (struct shard_producer *pr = t->oldest; pr != NULL; pr = pr->newer) {
		struct shard_producer **slot = slot_of(t, pr->id);
		pr->next = *slot;
		*slot = pr;
	}
	return true;
}

static void age_unlink(struct shard_producers *t, struct shard_producer *pr)
{
	*(pr->older != NULL ? &pr->older->newer : &t->oldest) = pr->newer;
	*(pr->newer != NULL ? &pr->newer->older : &t->newest) = pr->older;
}

static void age_newest(struct shard_producers *t, struct shard_producer *pr)
{
	pr->older = t->newest;
	pr->newer = NULL;
	*(t->newest != NULL ? &t->newest->newer : &t->oldest) = pr;
	t->newest = pr;
}

/* Room must be there. */
static void insert(struct shard_producers *t, struct shard_producer *pr)
{
	struct shard_producer **slot = slot_of(t, pr->id);
	pr->next = *slot;
	*slot = pr;
	age_newest(t, pr);
	t->n++;
}

static void forget(struct shard_producers *t, struct shard_producer *pr)
{
	struct shard_producer **at = slot_of(t, pr->id);
	while (*at != pr) {
		assert(*at != NULL);
		at = &(*at)->next;
	}
	*at = pr->next;
	age_unlink(t, pr);
	t->n--;
	mem_free(pr);
}

void shard_producers_fini(struct shard_producers *t)
{
	while (t->oldest != NULL) {
		struct shard_producer *pr = t->oldest;
		t->oldest = pr->newer;
		mem_free(pr);
	}
	mem_free(t->slots);
	*t = (struct shard_producers){0};
}

/* ---- rows ---------------------------------------------------------------- */

static void put_key(uint8_t key[KEY_SIZE], struct store_part part, int64_t id)
{
	put_u32(key, part.hub_id);
	put_u32(key + 4, part.partition);
	put_u64(key + 8, (uint64_t)id);
}

static struct shard_row *row_new(const struct store_partition *p, int64_t id, size_t content_cap)
{
	uint8_t key[KEY_SIZE];
	put_key(key, p->part, id);
	return shard_row_new(STORE_ROW_PRODUCER, span_of(key, sizeof key), content_cap);
}

static void encode(const struct shard_producer *pr, struct shard_row *row)
{
	struct wr w = wr_of(row->content, CONTENT_MAX);
	wr_u8(&w, ROW_VERSION);
	wr_u16(&w, (uint16_t)pr->epoch);
	wr_u8(&w, pr->n);
	for (uint8_t i = 0; i < pr->n; i++) {
		wr_u32(&w, (uint32_t)pr->batches[i].first_seq);
		wr_u32(&w, (uint32_t)pr->batches[i].last_seq);
		wr_u64(&w, (uint64_t)pr->batches[i].base_seq);
		wr_u64(&w, (uint64_t)pr->batches[i].append_ms);
	}
	assert(!w.bad);
	row->content_len = (uint32_t)wr_len(&w);
}

static enum err decode(struct span content, struct shard_producer *pr)
{
	struct rd rd = rd_of(content);
	uint8_t version = rd_u8(&rd);
	pr->epoch = (int16_t)rd_u16(&rd);
	pr->n = rd_u8(&rd);
	if (rd.bad || version != ROW_VERSION || pr->epoch < 0 || pr->n == 0 ||
	    pr->n > STORE_PRODUCER_BATCHES || rd_left(&rd) != (size_t)pr->n * BATCH_SIZE) {
		return ERR_CORRUPT;
	}
	for (uint8_t i = 0; i < pr->n; i++) {
		struct producer_batch *b = &pr->batches[i];
		b->first_seq = (int32_t)rd_u32(&rd);
		b->last_seq = (int32_t)rd_u32(&rd);
		b->base_seq = (int64_t)rd_u64(&rd);
		b->append_ms = (int64_t)rd_u64(&rd);
		if (b->first_seq < 0 || b->last_seq < 0 || b->base_seq < 0) {
			return ERR_CORRUPT;
		}
	}
	return rd.bad ? ERR_CORRUPT : ERR_OK;
}

/* ---- decisions ----------------------------------------------------------- */

bool shard_has_producer(const struct store_append *op)
{
	return op->encoding == BATCH_KAFKA &&
	       (int64_t)get_u64(op->batch->data + AT_PRODUCER_ID) >= 0;
}

/* Sequence numbers go from 0 to INT32_MAX and around. */
static int32_t seq_after(int32_t seq, uint32_t n)
{
	return (int32_t)(((uint32_t)seq + n) & INT32_MAX);
}

enum err shard_producer_judge_core(const struct store_partition *p, const struct store_append *op,
				   struct shard_producer_step *step)
{
	const uint8_t *b = op->batch->data;
	*step = (struct shard_producer_step){
		.id = (int64_t)get_u64(b + AT_PRODUCER_ID),
		.epoch = (int16_t)get_u16(b + AT_PRODUCER_EPOCH),
		.first_seq = (int32_t)get_u32(b + AT_BASE_SEQUENCE),
	};
	if (step->epoch < 0 || step->first_seq < 0) {
		return ERR_INVALID;
	}
	step->last_seq = seq_after(step->first_seq, op->events - 1);
	step->producer = find(&p->producers, step->id);
	const struct shard_producer *pr = step->producer;
	if (pr == NULL) {
		return ERR_OK;
	}
	if (step->epoch < pr->epoch) {
		return ERR_FENCED;
	}
	if (step->epoch > pr->epoch) {
		return step->first_seq == 0 ? ERR_OK : ERR_SEQUENCE;
	}
	for (uint8_t i = 0; i < pr->n; i++) {
		if (pr->batches[i].first_seq == step->first_seq &&
		    pr->batches[i].last_seq == step->last_seq) {
			step->base_seq = pr->batches[i].base_seq;
			step->append_ms = pr->batches[i].append_ms;
			return ERR_EXISTS;
		}
	}
	assert(pr->n > 0);
	return step->first_seq == seq_after(pr->batches[pr->n - 1].last_seq, 1) ? ERR_OK
										: ERR_SEQUENCE;
}

static bool has_row(const struct shard_entry *e, const struct shard_producer *pr)
{
	return pr != NULL && pr->row_index == e->shard->proposed_index + 1;
}

static bool is_full(const struct store_partition *p, const struct shard_producer_step *step)
{
	return step->producer == NULL && p->producers.n >= SHARD_PRODUCERS;
}

size_t shard_producer_size_core(const struct shard_entry *e, const struct store_partition *p,
				const struct shard_producer_step *step)
{
	if (has_row(e, step->producer)) {
		return 0;
	}
	return (e->producers.first == NULL ? DESCRIPTOR : 0) + (size_t)ROW_MAX +
	       (is_full(p, step) ? FORGOTTEN_ROW : 0);
}

/* Room for `size` more bytes of rows of producers. */
static bool payload_room(struct shard_rows_change *c, size_t size)
{
	void *payload = c->payload;
	bool ok = mem_grow(&payload, &c->payload_cap, c->size + size, 1);
	c->payload = payload;
	return ok;
}

static void add_row(struct shard_entry *e, struct shard_row *row, size_t size)
{
	e->size += size + (e->producers.first == NULL ? DESCRIPTOR : 0);
	e->producers.size += size;
	e->shard->disk->taken_bytes += row->is_deleted ? 0 : size;
	shard_rows_change_add(&e->producers, row);
}

bool shard_producer_room_core(struct shard_entry *e, struct store_partition *p,
			      struct shard_producer_step *step)
{
	if (has_row(e, step->producer)) {
		return true;
	}
	bool must_forget = is_full(p, step);
	bool ok = payload_room(&e->producers, ROW_MAX + FORGOTTEN_ROW) &&
		  shard_rows_room(&e->shard->rows, 1);
	ok = ok && (step->row = row_new(p, step->id, CONTENT_MAX)) != NULL;
	if (ok && step->producer == NULL) {
		ok = table_room(&p->producers) &&
		     (step->fresh = MEM_NEW(struct shard_producer)) != NULL;
	}
	if (ok && must_forget) {
		step->forgotten = row_new(p, p->producers.oldest->id, 0);
		ok = step->forgotten != NULL;
	}
	if (!ok) {
		shard_row_free(&step->row);
		mem_free(step->fresh);
		step->fresh = NULL;
	}
	return ok;
}

static void add_batch(struct shard_producer *pr, struct producer_batch b)
{
	if (pr->n == STORE_PRODUCER_BATCHES) {
		pr->n--;
		memmove(pr->batches, pr->batches + 1, pr->n * sizeof pr->batches[0]);
	}
	pr->batches[pr->n++] = b;
}

void shard_producer_advance_core(struct shard_entry *e, struct store_partition *p,
				 struct shard_producer_step *step, int64_t base_seq,
				 int64_t append_ms)
{
	struct shard_producers *t = &p->producers;
	struct shard_producer *pr = step->producer;
	if (step->forgotten != NULL) {
		step->forgotten->is_deleted = true;
		add_row(e, step->forgotten, FORGOTTEN_ROW);
		forget(t, t->oldest);
	}
	if (pr == NULL) {
		pr = step->fresh;
		pr->id = step->id;
		pr->epoch = step->epoch;
		insert(t, pr);
	} else {
		age_unlink(t, pr);
		age_newest(t, pr);
	}
	if (step->epoch > pr->epoch) {
		pr->epoch = step->epoch;
		pr->n = 0;
	}
	add_batch(pr,
		  (struct producer_batch){step->first_seq, step->last_seq, base_seq, append_ms});
	if (step->row != NULL) {
		add_row(e, step->row, ROW_MAX);
		pr->row = step->row;
		pr->row_index = e->shard->proposed_index + 1;
	}
	encode(pr, pr->row);
}

void shard_producers_seal_core(struct shard_entry *e)
{
	if (e->producers.first == NULL) {
		mem_free(e->producers.payload);	/* of one that was refused after all */
		e->producers = (struct shard_rows_change){0};
		return;
	}
	shard_rows_change_seal(&e->producers);
	shard_rows_command_core(e, &e->producers);
}

/* ---- start --------------------------------------------------------------- */

struct known {
	struct store_partition *partition;
	struct shard_producer *producer;
};

static int by_age(const void *a, const void *b)
{
	int64_t x = last_ms(((const struct known *)a)->producer);
	int64_t y = last_ms(((const struct known *)b)->producer);
	return (x > y) - (x < y);
}

static enum err load_row(const struct shard *s, const struct shard_row *row, struct known *out)
{
	out->partition = NULL;
	if (row->kind != STORE_ROW_PRODUCER || row->is_deleted) {
		return ERR_OK;
	}
	if (row->key_len != KEY_SIZE) {
		return ERR_CORRUPT;
	}
	struct store_part part = {get_u32(row->key), get_u32(row->key + 4)};
	struct store_partition *p = shard_registry_find(&s->core->registry, part);
	if (p == NULL || p->shard != s) {
		return ERR_OK;
	}
	struct shard_producer *pr = MEM_NEW(struct shard_producer);
	if (pr == NULL || !table_room(&p->producers)) {
		mem_free(pr);
		return ERR_NOMEM;
	}
	pr->id = (int64_t)get_u64(row->key + 8);
	enum err e = decode(span_of(row->content, row->content_len), pr);
	if (e != ERR_OK || pr->id < 0 || is_beyond(pr, p->position.next_seq)) {
		mem_free(pr);
		return ERR_CORRUPT;
	}
	*out = (struct known){p, pr};
	return ERR_OK;
}

/* Puts the shard's producers in, those silent the longest first. */
static enum err load_shard(const struct shard *s)
{
	if (s->volume == NULL || s->rows.n == 0) {
		return ERR_OK;
	}
	struct known *v = mem_alloc(s->rows.n * sizeof *v);
	if (v == NULL) {
		return ERR_NOMEM;
	}
	enum err e = ERR_OK;
	size_t n = 0;
	for (size_t i = 0; e == ERR_OK && i < s->rows.n_slots; i++) {
		const struct shard_row *row = s->rows.slots[i];
		for (; e == ERR_OK && row != NULL; row = row->next) {
			e = load_row(s, row, &v[n]);
			n += e == ERR_OK && v[n].partition != NULL;
		}
	}
	qsort(v, n, sizeof *v, by_age);
	for (size_t i = 0; i < n; i++) {
		struct shard_producers *t = &v[i].partition->producers;
		/* Without room only the slots are longer: there is one. */
		if (e == ERR_OK && table_room(t)) {
			insert(t, v[i].producer);
		} else {
			mem_free(v[i].producer);
		}
	}
	mem_free(v);
	return e;
}

enum err shard_producers_load(struct shard_core *core)
{
	for (uint32_t i = 0; i < core->n_shards; i++) {
		enum err e = load_shard(&core->shards[i]);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

/* ---- forgetting ---------------------------------------------------------- */

/* Is the row of a producer that is to be forgotten, or of the start of a partition
 * that is no more? Then *p is its partition, NULL when that is no more, and *pr what
 * the partition knows. */
static bool is_forgettable_core(const struct shard_core *core, const struct shard_row *row,
				struct store_partition **p, struct shard_producer **pr)
{
	bool is_producer = row->kind == STORE_ROW_PRODUCER;
	if ((!is_producer && row->kind != STORE_ROW_START) || row->is_deleted) {
		return false;
	}
	struct store_part part = {get_u32(row->key), get_u32(row->key + 4)};
	*pr = NULL;
	*p = shard_registry_find(&core->registry, part);
	if (*p == NULL) {
		return true;
	}
	if (!is_producer) {
		return false;
	}
	*pr = find(&(*p)->producers, (int64_t)get_u64(row->key + 8));
	/* Not known: its deletion is on its way. */
	return *pr != NULL && last_ms(*pr) <= core->now_ms - core->producer_expiry_ms;
}

/* False: no memory. */
static bool forget_row_core(struct shard_entry *e, const struct shard_row *row,
			    struct store_partition *p, struct shard_producer *pr)
{
	struct shard_row *deleted = NULL;
	if (payload_room(&e->producers, FORGOTTEN_ROW)) {
		deleted = shard_row_new(row->kind, span_of(row->key, row->key_len), 0);
	}
	if (deleted == NULL) {
		return false;
	}
	deleted->is_deleted = true;
	add_row(e, deleted, FORGOTTEN_ROW);
	if (pr != NULL) {
		forget(&p->producers, pr);
	}
	return true;
}

void shard_producers_sweep_core(struct shard_entry *e)
{
	struct shard *s = e->shard;
	struct shard_core *core = s->core;
	s->is_sweep_due = false;
	if (!shard_entry_room(e)) {
		return;	/* the same slots again, next time */
	}
	size_t end = s->sweep_at + SHARD_FORGET_SLOTS;
	end = end < s->rows.n_slots ? end : s->rows.n_slots;
	uint32_t n = 0;
	while (s->sweep_at < end && n < SHARD_FORGET_MAX) {
		const struct shard_row *row = s->rows.slots[s->sweep_at];
		for (; row != NULL && n < SHARD_FORGET_MAX; row = row->next) {
			struct store_partition *p;
			struct shard_producer *pr;
			if (is_forgettable_core(core, row, &p, &pr)) {
				if (!forget_row_core(e, row, p, pr)) {
					return;
				}
				n++;
			}
		}
		/* A slot that held too many is gone through again. */
		s->sweep_at += row == NULL;
	}
}

static int64_t round_ns(const struct shard_core *core)
{
	int64_t ms = core->producer_expiry_ms / SHARD_EXPIRY_ROUNDS;
	ms = ms > SHARD_EXPIRY_ROUND_MIN_MS ? ms : SHARD_EXPIRY_ROUND_MIN_MS;
	ms = ms < SHARD_EXPIRY_ROUND_MAX_MS ? ms : SHARD_EXPIRY_ROUND_MAX_MS;
	return ms * 1000000;
}

int64_t shard_producers_expire_core(struct shard_core *core, int64_t now_ns)
{
	if (core->is_stopping) {
		return INT64_MAX;
	}
	int64_t pause_ns = (int64_t)SHARD_FORGET_PAUSE_MS * 1000000;
	for (; core->sweep_shard < core->n_shards; core->sweep_shard++) {
		struct shard *s = &core->shards[core->sweep_shard];
		if (s->volume == NULL) {
			continue;
		}
		if (s->is_sweep_due) {
			return now_ns + pause_ns;	/* no place in flight was free yet */
		}
		if (s->sweep_at < s->rows.n_slots) {
			s->is_sweep_due = true;
			shard_propose_core(s);
			shard_replies_flush_core(core);
			return now_ns + pause_ns;
		}
		s->sweep_at = 0;
	}
	core->sweep_shard = 0;
	return now_ns + round_ns(core);
}
