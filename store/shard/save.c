/* The catalogue's rows in the state. It is a copy of what the log says, made so
 * that a start need not read the whole log; so it is written late and seldom. */

#include "base/clock.h"
#include "base/log.h"
#include "store/shard/shard_priv.h"

static void put_row(struct state *state, uint8_t kind, struct span key, enum err e, struct str *row,
		    enum err *sticky)
{
	if (e == ERR_OK) {
		state_put(state, kind, key, span_of(row->p, row->len));
	} else if (*sticky == ERR_OK) {
		*sticky = e;
	}
	if (row->p != NULL) {
		explicit_bzero(row->p, row->len);
	}
	str_fini(row);
}

static void delete_gone(struct shard_core *core)
{
	for (uint32_t i = 0; i < core->saved->n_hubs; i++) {
		uint32_t id = core->saved->hubs[i]->id;
		if (catalog_hub_by_id(core->catalog, id) == NULL) {
			uint8_t key[4];
			put_u32(key, id);
			state_delete(core->state, CATALOG_ROW_HUB, span_of(key, sizeof key));
		}
	}
}

/* Puts the rows that differ from what the state holds. */
static enum err put_rows(struct shard_core *core)
{
	const struct catalog *c = core->catalog;
	enum err sticky = ERR_OK;
	if (core->saved == NULL) {
		state_clear(core->state);
	} else {
		delete_gone(core);
	}
	struct str row = {0};
	enum err e = catalog_namespace_encode(c, &row);
	put_row(core->state, CATALOG_ROW_NAMESPACE, span_of(NULL, 0), e, &row, &sticky);
	for (uint32_t i = 0; i < c->n_hubs; i++) {
		const struct catalog_hub *h = c->hubs[i];
		if (core->saved != NULL && catalog_hub_by_id(core->saved, h->id) == h) {
			continue;
		}
		uint8_t key[4];
		put_u32(key, h->id);
		e = catalog_row_encode(c, i, &row);
		put_row(core->state, CATALOG_ROW_HUB, span_of(key, sizeof key), e, &row, &sticky);
	}
	return sticky;
}

static void save_core(struct shard_core *core)
{
	struct shard *s = &core->shards[0];
	struct err_detail d = {""};
	state_begin(core->state, s->number);
	enum err rows = core->saved != core->catalog ? put_rows(core) : ERR_OK;
	if (rows != ERR_OK) {
		/* A row is missing: an index of 0 makes the next start read the log. */
		state_clear(core->state);
	}
	uint64_t index = rows == ERR_OK ? s->applied_index : 0;
	enum err e = state_commit(core->state, index, index != 0 ? s->applied_term : 0, &d);
	if (e == ERR_IO) {
		log_fatal("STORE-STATE-WRITE", "dir=%s error=%s", log_quote(core->dir),
			  log_quote(d.text));
	}
	if (rows != ERR_OK || e != ERR_OK) {
		log_warn("STORE-STATE-LATER", "error=%s the state is written later",
			 log_quote(d.text[0] != '\0' ? d.text : err_text(rows)));
		catalog_drop(&core->saved);
		return;
	}
	catalog_drop(&core->saved);
	core->saved = catalog_hold(core->catalog);
	core->saved_index = index;
}

static void due_at(struct shard_core *core, int64_t at_ns)
{
	core->save_ns = at_ns < core->save_ns ? at_ns : core->save_ns;
}

void shard_save_later_core(struct shard_core *core)
{
	if (!core->is_save_due) {
		core->is_save_due = true;
		due_at(core, clock_mono_ns() + (int64_t)SHARD_STATE_CHANGED_MS * 1000000);
	}
}

void shard_save_core(struct shard_core *core, int64_t now_ns, bool is_last)
{
	core->save_ns = now_ns + (int64_t)SHARD_STATE_IDLE_MS * 1000000;
	if (core->state != NULL &&
	    (core->saved != core->catalog || core->saved_index != core->shards[0].applied_index)) {
		save_core(core);
	}
	core->is_save_due = false;
	if (!is_last && core->saved != core->catalog && core->state != NULL) {
		shard_save_later_core(core);
	}
}
