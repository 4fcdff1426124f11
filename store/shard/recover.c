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

/* A shard that cannot be used: its rows stay where they are, if they are sound. */
static enum err on_offline_row(void *arg, uint8_t kind, struct span key, struct span content)
{
	struct loading *l = arg;
	(void)kind;
	(void)key;
	(void)content;
	l->has_rows = true;
	return ERR_OK;
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
	state_row_fn *fn = s->volume != NULL ? on_row : on_offline_row;
	enum err e = state_load(core->state, s->number, &s->saved_index, &term, fn, &l, d);
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

static void forget_state(struct shard_core *core)
{
	catalog_drop(&core->saver.saved);
	for (uint32_t i = 0; i < core->n_shards; i++) {
		struct shard *s = &core->shards[i];
		shard_rows_fini(&s->rows);
		s->saved_index = 0;
		s->is_unsaved = true;
	}
}

/* Does the log follow upon an index of the shard without a gap? *start: where it
 * begins. */
static bool log_follows(const struct shard *s, uint64_t index, uint64_t *start)
{
	struct volume_shard_info info;
	*start = 0;
	if (s->volume == NULL) {
		return true;
	}
	volume_shard_info(s->volume, s->number, &info);
	*start = info.hard.log_start;
	if (index == 0 && info.first_index > *start) {
		*start = info.first_index;
	}
	return index + 1 >= *start;
}

/* Rows of all shards as the state has them. ERR_CORRUPT: they are not to be used. */
static enum err load_all(struct shard_core *core, struct err_detail *d)
{
	enum err e = ERR_OK;
	bool is_empty = true;
	forget_state(core);
	for (uint32_t i = 0; e == ERR_OK && i < core->n_shards; i++) {
		struct shard *s = &core->shards[i];
		uint64_t start;
		e = load_shard(s, &core->saver.saved, d);
		is_empty = is_empty && s->saved_index == 0;
		if (e == ERR_OK && !log_follows(s, s->saved_index, &start)) {
			e = err_set(d, ERR_CORRUPT,
				    "the state is at index %llu of shard %u, its log begins at %llu",
				    (unsigned long long)s->saved_index, i, (unsigned long long)start);
		}
	}
	/* A new one, in the place of one that was damaged. */
	bool has_exports = core->exports != NULL && core->exports->last_number > 0;
	if (e == ERR_OK && is_empty && has_exports) {
		e = err_set(d, ERR_CORRUPT, "the state is empty");
	}
	return e;
}

/* ---- a state made anew --------------------------------------------------------- */

/* ERR_OK: the log follows upon all of it. ERR_NOT_FOUND: not any more. ERR_CORRUPT:
 * the log has lost its end. */
static enum err export_fits(struct shard_core *core, const struct export_info *x,
			    struct err_detail *d)
{
	for (uint32_t i = 0; i < core->n_shards; i++) {
		const struct shard *s = &core->shards[i];
		uint64_t index = x->shards[i].applied_index;
		uint64_t start;
		struct volume_shard_info info;
		if (s->volume == NULL) {
			continue;
		}
		volume_shard_info(s->volume, i, &info);
		if (index > info.last_index) {
			return err_set(d, ERR_CORRUPT,
				       "export %llu is at index %llu of shard %u, its log ends at %llu",
				       (unsigned long long)x->number, (unsigned long long)index, i,
				       (unsigned long long)info.last_index);
		}
		if (!log_follows(s, index, &start)) {
			return ERR_NOT_FOUND;
		}
	}
	return ERR_OK;
}

/* Fills the state from the newest export that can be used. ERR_NOT_FOUND: none. */
static enum err load_export(struct shard_core *core, struct err_detail *d)
{
	for (size_t i = 0; core->exports != NULL && i < EXPORTS_KEPT; i++) {
		const struct export_info *x = &core->exports->v[i];
		struct err_detail why = {""};
		enum err e = x->is_sound ? export_fits(core, x, d) : ERR_NOT_FOUND;
		if (e == ERR_NOT_FOUND) {
			continue;
		}
		if (e != ERR_OK) {
			return e;
		}
		e = export_restore(core->dirs[0], x, core->state, &why);
		if (e == ERR_OK) {
			e = load_all(core, &why);
		}
		if (e == ERR_OK) {
			log_warn("STORE-STATE-RESTORED",
				 "export=%llu the state is made of this export and the log after it",
				 (unsigned long long)x->number);
			return e;
		}
		if (e != ERR_CORRUPT) {
			return err_set(d, e, "%s", why.text);
		}
		log_error("STORE-EXPORT-UNUSABLE", "export=%llu error=%s",
			  (unsigned long long)x->number, log_quote(why.text));
	}
	return ERR_NOT_FOUND;
}

/* Nothing usable is left but the log, which then must be whole. */
static enum err begin_anew(struct shard_core *core, const char *why, struct err_detail *d)
{
	forget_state(core);
	for (uint32_t i = 0; i < core->n_shards; i++) {
		uint64_t start;
		if (!log_follows(&core->shards[i], 0, &start)) {
			return err_set(d, ERR_CORRUPT,
				       "no usable state (%s) and no export that reaches shard %u's "
				       "log, which begins at index %llu",
				       why, i, (unsigned long long)start);
		}
	}
	state_begin(core->state);
	state_clear_all(core->state);
	return state_commit(core->state, d);
}

/* What the state says of all shards; when it is damaged, or too old for the log, what
 * an export says, or nothing. */
static enum err load_state(struct shard_core *core, struct err_detail *d)
{
	struct err_detail why = {""};
	if (core->state == NULL) {
		return ERR_OK;
	}
	enum err e = load_all(core, &why);
	if (e != ERR_CORRUPT) {
		return e == ERR_OK ? e : err_set(d, e, "%s", why.text);
	}
	log_warn("STORE-STATE-REBUILD", "error=%s all of it is made anew", log_quote(why.text));
	e = load_export(core, d);
	return e == ERR_NOT_FOUND ? begin_anew(core, why.text, d) : e;
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
	if (s->volume == NULL) {
		s->applied_index = s->saved_index;
		s->proposed_index = s->saved_index;
		return ERR_OK;
	}
	struct volume_shard_info info;
	volume_shard_info(s->volume, s->number, &info);
	if (s->saved_index > info.last_index) {
		return err_set(d, ERR_CORRUPT,
			       "the state is at index %llu of shard %u, its log ends at %llu",
			       (unsigned long long)s->saved_index, s->number,
			       (unsigned long long)info.last_index);
	}
	uint64_t start;
	if (!log_follows(s, s->saved_index, &start)) {
		return err_set(d, ERR_CORRUPT,
			       "the state is at index %llu of shard %u, its log begins at %llu",
			       (unsigned long long)s->saved_index, s->number,
			       (unsigned long long)start);
	}
	struct replay r = {.shard = s, .d = d};
	return volume_replay(s->volume, s->number, s->saved_index, on_replay, &r, d);
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
	if (hub.parts == NULL || !shard_registry_room(&core->registry) ||
	    !shard_retention_room(core, h->partitions)) {
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
		core->retention.n_partitions++;
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

struct ranges {
	struct shard_core *core;
	struct volume *volume;
	struct store_part *gone;	/* of deleted hubs */
	size_t cap;
	size_t n;
	bool bad;			/* memory was short */
};

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void add_gone(struct ranges *in, struct store_part part)
{
	void *gone = in->gone;
	in->bad = in->bad || !mem_grow(&gone, &in->cap, in->n + 1, sizeof *in->gone);
	in->gone = gone;
	if (!in->bad) {
		in->gone[in->n++] = part;
	}
}

/* The partition's row, when it has one, was there before: it may tell of a start
 * that the volume has not come to, and of an end whose events are all gone. */
static void on_range(void *arg, const struct volume_range *r)
{
	struct ranges *in = arg;
	struct store_partition *p = shard_registry_find(&in->core->registry, r->part);
	if (p == NULL) {
		add_gone(in, r->part);
		return;
	}
	if (p->shard->volume != in->volume) {
		return;
	}
	int64_t first = later(r->first_seq, p->position.first_seq);
	int64_t next = later(r->next_seq, first);
	p->proposed_seq = next;
	p->proposed_ms = r->last_append_ms;
	p->position = (struct store_position){
		.first_seq = first,
		.next_seq = next,
		.last_enqueued_ms = r->last_append_ms,
		.max_timestamp_ms = first < next ? r->max_timestamp_ms : INT64_MIN,
		.bytes = first < next ? r->bytes : 0,
	};
}

/* Where a segment is lost without a trace, what is appended next begins far beyond
 * anything that it can have held: no number is given to two events. */
static void leap_unknown_ends(struct shard_core *core)
{
	uint32_t n = 0;
	for (size_t i = 0; i < core->registry.n; i++) {
		const struct shard_registry_hub *h = &core->registry.v[i];
		for (uint32_t k = 0; k < h->n; k++) {
			struct store_partition *p = h->parts[k];
			if (p->shard->volume != NULL &&
			    !volume_end_is_known(p->shard->volume, p->part)) {
				p->proposed_seq += SHARD_LOST_LEAP;
				n++;
			}
		}
	}
	if (n > 0) {
		log_error("STORE-ENDS-UNKNOWN",
			  "partitions=%u a segment is lost: their next events get sequence numbers "
			  "%lld higher",
			  n, (long long)SHARD_LOST_LEAP);
	}
}

static enum err load_ranges(struct shard_core *core, struct err_detail *d)
{
	shard_starts_load(core);
	bool bad = false;
	for (uint32_t i = 0; !bad && i < core->n_volumes; i++) {
		struct ranges in = {.core = core, .volume = core->volumes[i]};
		if (in.volume == NULL) {
			continue;
		}
		volume_ranges(in.volume, on_range, &in);
		for (size_t k = 0; k < in.n; k++) {
			volume_set_gone(in.volume, in.gone[k]);
		}
		mem_free(in.gone);
		bad = in.bad;
	}
	leap_unknown_ends(core);
	return bad ? err_set(d, ERR_NOMEM, "no memory for the partitions' ranges") : ERR_OK;
}

/* What hubs keep, now that it is known what there is. */
static void load_settings(struct shard_core *core)
{
	for (uint32_t i = 0; i < core->catalog->n_hubs; i++) {
		const struct catalog_hub *h = core->catalog->hubs[i];
		const struct shard_registry_hub *in = shard_registry_hub(&core->registry, h->id);
		for (uint32_t k = 0; k < in->n; k++) {
			struct store_partition *p = in->parts[k];
			shard_retention_started_core(p, p->position.first_seq > 0);
		}
		shard_hub_settings_core(core, h);
	}
}

enum err shard_recover(struct shard_core *core, struct err_detail *d)
{
	for (uint32_t i = 0; i < core->n_shards; i++) {
		struct shard *s = &core->shards[i];
		if (s->volume == NULL) {
			continue;
		}
		struct volume_shard_info info;
		volume_shard_info(s->volume, i, &info);
		/* Its only voter's log: all of it is committed. */
		s->term = info.hard.term;
		s->proposed_index = info.last_index;
		s->applied_index = info.last_index;
		s->applied_term = info.last_term;
	}
	enum err e = recover_shards(core, d);
	if (e != ERR_OK) {
		return e;
	}
	e = register_hubs(core, d);
	if (e != ERR_OK) {
		return e;
	}
	e = load_ranges(core, d);
	if (e != ERR_OK) {
		return e;
	}
	load_settings(core);
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
		if (s->applied_index > 0 || s->volume == NULL) {
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
		volume_append(s->volume, &entries[i]);
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
