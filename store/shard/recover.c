/* What the disk says when the store opens: the catalogue and the rows from the
 * state and the log after it, each partition's end from the volume; and the first
 * entry of a shard that has none. */

#include "base/log.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"

/* ---- the state --------------------------------------------------------------- */

struct loading {
	struct shard *shard;
	struct catalog_loader *catalog;	/* shard 0 only */
	bool has_rows;
};

static enum err on_row(void *arg, uint8_t kind, struct span key, struct span content)
{
	struct loading *l = arg;
	l->has_rows = true;
	if (kind >= STORE_ROW_PRODUCER) {
		return shard_rows_load(l->shard, kind, key, content);
	}
	return l->catalog != NULL ? catalog_loader_row(l->catalog, kind, content) : ERR_CORRUPT;
}

/* *out: the catalogue, of shard 0. Without an index there must be nothing. */
static enum err load_shard(struct shard *s, const struct catalog **out, struct err_detail *d)
{
	struct shard_core *core = s->core;
	struct loading l = {.shard = s};
	if (s->number == 0) {
		l.catalog = catalog_loader_new(core->n_shards);
		if (l.catalog == NULL) {
			return err_set(d, ERR_NOMEM, "no memory for the catalogue");
		}
	}
	uint64_t term;
	enum err e = state_load(core->state, s->number, &s->saved_index, &term, on_row, &l, d);
	if (e == ERR_OK && s->saved_index == 0 && l.has_rows) {
		e = ERR_CORRUPT;
	}
	if (e == ERR_OK && s->number == 0 && s->saved_index > 0) {
		e = catalog_loader_finish(&l.catalog, out);
	}
	catalog_loader_free(&l.catalog);
	if (e != ERR_OK && d->text[0] == '\0') {
		err_set(d, e, "state of shard %u: %s", s->number, err_text(e));
	}
	s->is_unsaved = e != ERR_OK || s->saved_index == 0;
	return e;
}

/* Rows of all shards; damaged ones leave nothing of any. */
static enum err load_state(struct shard_core *core, struct err_detail *d)
{
	struct err_detail why = {""};
	enum err e = ERR_OK;
	for (uint32_t i = 0; core->state != NULL && e == ERR_OK && i < core->n_shards; i++) {
		e = load_shard(&core->shards[i], &core->saver.saved, &why);
	}
	if (e != ERR_CORRUPT) {
		return e == ERR_OK ? e : err_set(d, e, "%s", why.text);
	}
	log_warn("STORE-STATE-REBUILD", "error=%s all of it is rebuilt from the log",
		 log_quote(why.text));
	catalog_drop(&core->saver.saved);
	for (uint32_t i = 0; i < core->n_shards; i++) {
		struct shard *s = &core->shards[i];
		shard_rows_fini(&s->rows);
		s->saved_index = 0;
		s->is_unsaved = true;
	}
	return ERR_OK;
}

/* ---- the log after it ---------------------------------------------------------- */

struct replay {
	struct shard *shard;
	struct err_detail *d;
};

static enum err replay_catalog(struct replay *r, uint64_t index, struct span payload)
{
	struct shard_core *core = r->shard->core;
	struct catalog_command *cmd = MEM_NEW(struct catalog_command);
	if (cmd == NULL) {
		return err_set(r->d, ERR_NOMEM, "no memory for the catalogue");
	}
	const struct catalog *next = NULL;
	enum err e = catalog_decode(payload, cmd);
	if (e == ERR_OK) {
		e = catalog_apply(core->catalog, cmd, index, &next);
	}
	explicit_bzero(cmd, sizeof *cmd);
	mem_free(cmd);
	if (e == ERR_NOMEM) {
		return err_set(r->d, e, "no memory for the catalogue");
	}
	if (e != ERR_OK) {
		return err_set(r->d, ERR_CORRUPT, "catalogue command at index %llu: %s",
			       (unsigned long long)index, err_text(e));
	}
	catalog_drop(&core->catalog);
	core->catalog = next;
	return ERR_OK;
}

static enum err on_replay(void *arg, uint64_t index, uint64_t term, const struct volume_command *c)
{
	struct replay *r = arg;
	(void)term;
	if (c->kind == VOLUME_CATALOG && r->shard->number == 0) {
		return replay_catalog(r, index, c->payload);
	}
	if (c->kind != VOLUME_ROWS) {
		return ERR_OK;
	}
	enum err e = shard_rows_replay(r->shard, c->payload);
	return e == ERR_OK ? e
			   : err_set(r->d, e, "rows of shard %u at index %llu: %s", r->shard->number,
				     (unsigned long long)index, err_text(e));
}

static enum err replay_shard(struct shard *s, struct err_detail *d)
{
	struct shard_core *core = s->core;
	struct volume_shard_info info;
	volume_shard_info(core->volume, s->number, &info);
	if (s->saved_index > info.last_index) {
		return err_set(d, ERR_CORRUPT,
			       "the state is at index %llu of shard %u, its log ends at %llu",
			       (unsigned long long)s->saved_index, s->number,
			       (unsigned long long)info.last_index);
	}
	if (s->saved_index == 0 && info.first_index > 1) {
		return err_set(d, ERR_CORRUPT,
			       "no usable state, and shard %u's log begins only at index %llu",
			       s->number, (unsigned long long)info.first_index);
	}
	struct replay r = {.shard = s, .d = d};
	return volume_replay(core->volume, s->number, s->saved_index, on_replay, &r, d);
}

static enum err recover_shards(struct shard_core *core, struct err_detail *d)
{
	enum err e = load_state(core, d);
	if (e != ERR_OK) {
		return e;
	}
	core->catalog = core->saver.saved != NULL ? catalog_hold(core->saver.saved)
						  : catalog_empty(core->n_shards);
	if (core->catalog == NULL) {
		return err_set(d, ERR_NOMEM, "no memory for the catalogue");
	}
	for (uint32_t i = 0; e == ERR_OK && i < core->n_shards; i++) {
		e = replay_shard(&core->shards[i], d);
	}
	return e;
}

/* ---- partitions ---------------------------------------------------------- */

static enum err register_hub(struct shard_core *core, const struct catalog_hub *h)
{
	struct shard_registry_hub hub = {.id = h->id};
	hub.parts = mem_calloc(h->partitions, sizeof(void *));
	if (hub.parts == NULL || !shard_registry_room(&core->registry)) {
		mem_free(hub.parts);
		return ERR_NOMEM;
	}
	shard_registry_add(&core->registry, hub);
	struct shard_registry_hub *in = shard_registry_hub(&core->registry, h->id);
	while (in->n < h->partitions) {
		struct store_part part = {.hub_id = h->id, .partition = in->n};
		in->parts[in->n] = shard_partition_new(&core->shards[h->shards[in->n]], part);
		if (in->parts[in->n] == NULL) {
			return ERR_NOMEM;
		}
		in->n++;
	}
	return ERR_OK;
}

/* Hub ids must go in ascending order. */
static enum err register_hubs(struct shard_core *core, struct err_detail *d)
{
	const struct catalog *c = core->catalog;
	uint32_t last = 0;
	for (uint32_t left = c->n_hubs; left > 0; left--) {
		const struct catalog_hub *next = NULL;
		for (uint32_t i = 0; i < c->n_hubs; i++) {
			const struct catalog_hub *h = c->hubs[i];
			if (h->id > last && (next == NULL || h->id < next->id)) {
				next = h;
			}
		}
		if (register_hub(core, next) != ERR_OK) {
			return err_set(d, ERR_NOMEM, "no memory for the partitions");
		}
		last = next->id;
	}
	return ERR_OK;
}

static void on_range(void *arg, const struct volume_range *r)
{
	struct shard_core *core = arg;
	struct store_partition *p = shard_registry_find(&core->registry, r->part);
	if (p == NULL) {
		return;	/* of a deleted hub */
	}
	p->proposed_seq = r->next_seq;
	p->proposed_ms = r->last_append_ms;
	p->position = (struct store_position){
		.first_seq = r->first_seq,
		.next_seq = r->next_seq,
		.last_enqueued_ms = r->last_append_ms,
		.max_timestamp_ms = r->max_timestamp_ms,
		.bytes = r->bytes,
	};
}

enum err shard_recover(struct shard_core *core, struct err_detail *d)
{
	for (uint32_t i = 0; i < core->n_shards; i++) {
		struct volume_shard_info info;
		volume_shard_info(core->volume, i, &info);
		/* Its only voter's log: all of it is committed. */
		core->shards[i].term = info.hard.term;
		core->shards[i].proposed_index = info.last_index;
		core->shards[i].applied_index = info.last_index;
		core->shards[i].applied_term = info.last_term;
	}
	enum err e = recover_shards(core, d);
	if (e != ERR_OK) {
		return e;
	}
	e = register_hubs(core, d);
	if (e != ERR_OK) {
		return e;
	}
	volume_ranges(core->volume, on_range, core);
	e = shard_producers_load(core);
	return e == ERR_OK ? e : err_set(d, e, "producers of the partitions: %s", err_text(e));
}

/* ---- founding ------------------------------------------------------------ */

enum { CONFIGURATION_VERSION = 1, ROLE_VOTER = 1, CONFIGURATION_SIZE = 1 + 4 + 8 + 1 };

/* u8 version, u32 members, then of each u64 node id, u8 role. */
static void configuration(uint64_t node_id, uint8_t out[CONFIGURATION_SIZE])
{
	struct wr w = wr_of(out, CONFIGURATION_SIZE);
	wr_u8(&w, CONFIGURATION_VERSION);
	wr_u32(&w, 1);
	wr_u64(&w, node_id);
	wr_u8(&w, ROLE_VOTER);
	assert(!w.bad && wr_len(&w) == CONFIGURATION_SIZE);
}

static void on_founded(struct msg *m)
{
	struct volume_entry *e = (struct volume_entry *)m;
	e->log_no = UINT64_MAX;	/* seen: the number itself is not needed */
}

enum err shard_found(struct shard_core *core, struct err_detail *d)
{
	struct volume_entry *entries = mem_calloc(core->n_shards, sizeof *entries);
	if (entries == NULL) {
		return err_set(d, ERR_NOMEM, "no memory to found %u shards", core->n_shards);
	}
	uint8_t payload[CONFIGURATION_SIZE];
	configuration(core->node_id, payload);
	const struct volume_command command = {
		.kind = VOLUME_CONFIGURATION,
		.count = 1,
		.payload = span_of(payload, sizeof payload),
	};
	uint32_t waiting = 0;
	for (uint32_t i = 0; i < core->n_shards; i++) {
		struct shard *s = &core->shards[i];
		if (s->applied_index > 0) {
			continue;
		}
		entries[i] = (struct volume_entry){
			.reply_to = &core->starter,
			.done = on_founded,
			.shard = i,
			.term = s->term,
			.index = 1,
			.commands = &command,
			.n_commands = 1,
		};
		s->proposed_index = 1;
		s->applied_index = 1;
		s->applied_term = s->term;
		waiting++;
		volume_append(core->volume, &entries[i]);
	}
	while (waiting > 0) {
		struct msg *m = mailbox_wait(&core->starter, INT64_MAX);
		while (m != NULL) {
			struct msg *next = m->next;
			m->run(m);
			m = next;
			waiting--;
		}
	}
	mem_free(entries);
	return ERR_OK;
}
