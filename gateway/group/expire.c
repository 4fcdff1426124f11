/* The sweep: offsets of hubs that are no more, offsets and groups that nobody has
 * used for the retention time. It goes over the table in portions. */

#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/group/groups_priv.h"
#include "gateway/group/machine_priv.h"
#include "gateway/group/rows.h"

struct sweep {
	const struct catalog *catalog;
	int64_t now_ms;		/* wall time */
	int64_t retention_ms;
};

/* From when on its retention runs; INT64_MAX: it is in use. */
static int64_t unused_since(const struct groups_entry *e, const struct groups_committed *c,
			    const struct catalog_hub *hub)
{
	const struct group *m = &e->machine;
	if (m->state == GROUP_EMPTY) {
		bool had_members = m->protocol_type.n != 0;
		return had_members && m->empty_ms > c->commit_ms ? m->empty_ms : c->commit_ms;
	}
	if (m->state == GROUP_STABLE && span_eq_str(m->protocol_type, "consumer") &&
	    !groups_is_subscribed(e, hub)) {
		return c->commit_ms;
	}
	return INT64_MAX;
}

static bool has_expired(const struct sweep *s, const struct groups_entry *e,
			const struct groups_committed *c)
{
	const struct catalog_hub *hub = catalog_hub_by_id(s->catalog, c->part.hub_id);
	if (hub == NULL) {
		return true;
	}
	/* Whether a group reads a hub is looked up only for what is old enough. */
	if (s->retention_ms <= 0 || c->commit_ms > s->now_ms - s->retention_ms) {
		return false;
	}
	int64_t since = unused_since(e, c, hub);
	return since != INT64_MAX && since <= s->now_ms - s->retention_ms;
}

static void trim(struct sweep *s, struct groups_entry *e)
{
	struct committed_walk walk = {0};
	const struct groups_committed *c;
	uint32_t n = 0;
	while (n < GROUPS_DELETE_ROWS && (c = committed_next(&e->offsets, &walk)) != NULL) {
		n += has_expired(s, e, c) ? 1 : 0;
	}
	if (n == 0) {
		return;
	}
	size_t bytes = n * (GROUP_OFFSET_KEY_FIXED + e->machine.name.n);
	struct groups_write *w = groups_write_new(e, GROUPS_WRITE_TRIM, n, bytes);
	if (w == NULL) {
		return;		/* the next sweep will */
	}
	walk = (struct committed_walk){0};
	while (w->n_rows < n && (c = committed_next(&e->offsets, &walk)) != NULL) {
		if (has_expired(s, e, c)) {
			groups_write_delete(w, c->part);
		}
	}
	e->writes++;
	groups_write_post(w);
}

static void look_at(struct sweep *s, struct groups_entry *e)
{
	if (groups_is_busy(e)) {
		return;
	}
	if (e->machine.row_is_stale && e->machine.state == GROUP_EMPTY) {
		group_save(&e->machine, GROUP_SAVE_EMPTIED);
		groups_settle(e);
		return;
	}
	if (e->writes == 0) {
		/* Were a commit under way, the deletion would come after it. */
		trim(s, e);
	}
	if (e->writes == 0 && e->offsets.n == 0 && group_is_idle(&e->machine)) {
		e->drop_wanted = true;
		groups_schedule(e);
		groups_drop(e);
	}
}

/* True when the table was gone through. */
static bool portion(struct groups *g)
{
	struct sweep s = {
		.catalog = store_catalog(g->options.store),
		.now_ms = clock_wall_ms(),
		.retention_ms = g->options.offsets_retention_ms,
	};
	size_t looked = 0;
	while (g->sweep_slot < g->slots && looked < GROUPS_SWEEP_PORTION) {
		struct groups_entry *e = g->slot[g->sweep_slot++];
		looked++;
		while (e != NULL) {
			/* Nothing waits at an entry that is not busy, so that looking
			 * removes at most this one and makes none. */
			struct groups_entry *next = e->next;
			looked += 1 + e->offsets.n;
			look_at(&s, e);
			e = next;
		}
	}
	catalog_drop(&s.catalog);
	return g->sweep_slot >= g->slots;
}

void groups_sweep(struct groups *g, int64_t now_ms)
{
	if (now_ms < g->sweep_due_ms) {
		return;
	}
	if (!g->is_sweeping) {
		g->is_sweeping = true;
		g->sweep_slot = 0;
	}
	if (portion(g)) {
		g->is_sweeping = false;
		g->sweep_due_ms =
			now_ms + (g->options.sweep_ms > 0 ? g->options.sweep_ms : GROUPS_SWEEP_MS);
	}
}
