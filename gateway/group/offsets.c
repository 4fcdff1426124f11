/* Committed offsets: commit, fetch, delete. A commit is one write of rows, answered
 * when that is durable; only then its offsets are seen. */

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/group/groups_priv.h"
#include "gateway/group/op_memory.h"
#include "gateway/group/rows.h"
#include "gateway/group/subscription.h"

/* ---- commit ------------------------------------------------------------------------ */

struct hub_cache {
	const struct catalog *catalog;
	const struct catalog_hub *hub;
	uint32_t id;
};

static bool part_exists(struct hub_cache *c, struct store_part part)
{
	if (c->hub == NULL || c->id != part.hub_id) {
		c->hub = catalog_hub_by_id(c->catalog, part.hub_id);
		c->id = part.hub_id;
	}
	return c->hub != NULL && part.partition < c->hub->partitions;
}

/* Sets the codes of what cannot be committed; counts the rest. */
static uint32_t sort_out(struct groups_entry *e, struct groups_op *op, uint32_t *n_new,
			 size_t *bytes)
{
	struct groups *g = e->groups;
	struct hub_cache cache = {.catalog = store_catalog(g->options.store)};
	size_t room = g->options.max_offsets;
	size_t held = e->offsets.n + e->coming;
	uint32_t n = 0;
	*n_new = 0;
	*bytes = 0;
	for (uint32_t i = 0; i < op->u.commit.n_offsets; i++) {
		struct groups_offset *o = &op->u.commit.offsets[i];
		if (o->code != GROUP_OK) {
			continue;
		}
		bool is_new = committed_find(&e->offsets, o->part) == NULL;
		if (o->metadata.n > GROUPS_METADATA_MAX) {
			o->code = GROUP_METADATA_TOO_LARGE;
		} else if (!part_exists(&cache, o->part)) {
			o->code = GROUP_UNKNOWN_TOPIC;
		} else if (is_new && held + *n_new >= room) {
			o->code = GROUP_INVALID_REQUEST;
			log_limited(LOG_WARN, "GROUP-FAILED",
				    "group=%s reason=\"it has %zu offsets already\"",
				    log_quote_span(e->machine.name).text, held + *n_new);
		} else {
			*n_new += is_new ? 1 : 0;
			*bytes += GROUP_OFFSET_KEY_FIXED + e->machine.name.n +
				  GROUP_OFFSET_CONTENT_FIXED + o->metadata.n;
			n++;
		}
	}
	catalog_drop(&cache.catalog);
	return n;
}

static void commit_row(struct groups_write *w, const struct groups_committed *c)
{
	struct group_offset_row row = {
		.offset = c->offset,
		.leader_epoch = c->leader_epoch,
		.commit_ms = c->commit_ms,
		.metadata = committed_metadata(c),
	};
	uint8_t *key = w->out.p;
	group_offset_key_encode(&w->out, w->entry->machine.name, c->part);
	uint8_t *content = w->out.p;
	group_offset_content_encode(&w->out, &row);
	assert(!w->out.bad);
	w->rows[w->n_rows++] = (struct store_row){
		.kind = STORE_ROW_OFFSET,
		.key = span_of(key, (size_t)(content - key)),
		.content = span_of(content, (size_t)(w->out.p - content)),
	};
}

static struct groups_write *commit_write(struct groups_entry *e, const struct groups_op *op,
					 uint32_t n, size_t bytes)
{
	struct groups_write *w = groups_write_new(e, GROUPS_WRITE_COMMIT, n, bytes);
	if (w == NULL) {
		return NULL;
	}
	int64_t now_ms = clock_wall_ms();
	for (uint32_t i = 0; i < op->u.commit.n_offsets; i++) {
		const struct groups_offset *o = &op->u.commit.offsets[i];
		if (o->code != GROUP_OK) {
			continue;
		}
		struct groups_committed *c = committed_new(o, now_ms);
		if (c == NULL) {
			groups_write_free(&w);
			return NULL;
		}
		w->nodes[w->n_nodes++] = c;
		commit_row(w, c);
	}
	return w;
}

void groups_commit(struct groups_entry *e, struct groups_op *op)
{
	struct groups *g = e->groups;
	int16_t code = group_commit_check(&e->machine, op, clock_mono_ms());
	if (code != GROUP_OK) {
		groups_refuse(g, op, code);
		return;
	}
	uint32_t n_new;
	size_t bytes;
	uint32_t n = sort_out(e, op, &n_new, &bytes);
	if (n == 0) {
		op->code = GROUP_OK;
		groups_answer(g, op);
		return;
	}
	if (bytes > STORE_ROWS_MAX) {
		groups_refuse(g, op, GROUP_INVALID_REQUEST);
		return;
	}
	struct groups_write *w = NULL;
	if (committed_reserve(&e->offsets, e->coming + n_new) == ERR_OK) {
		w = commit_write(e, op, n, bytes);
	}
	if (w == NULL) {
		groups_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	w->op = op;
	w->n_new = n_new;
	e->coming += n_new;
	e->writes++;
	groups_write_post(w);
}

/* A write of the entry's offsets is over. */
static void write_over(struct groups_entry *e)
{
	assert(e->writes > 0);
	e->writes--;
	if (e->writes == 0 && e->drop_wanted) {
		groups_drop(e);
	} else {
		groups_settle(e);
	}
}

void groups_commit_written(struct groups_write *w)
{
	struct groups_entry *e = w->entry;
	struct groups_op *op = w->op;
	assert(e->coming >= w->n_new);
	e->coming -= w->n_new;
	if (w->w.err == ERR_OK) {
		for (uint32_t i = 0; i < w->n_nodes; i++) {
			committed_put(&e->offsets, w->nodes[i]);
		}
		w->n_nodes = 0;
		op->code = GROUP_OK;
		groups_answer(e->groups, op);
	} else {
		groups_refuse(e->groups, op, op_code_of(w->w.err));
	}
	groups_write_free(&w);
	write_over(e);
}

/* ---- fetch ---------------------------------------------------------------------------- */

static bool show(struct groups_op *op, const struct groups_committed *c, struct groups_offset *o)
{
	o->part = c->part;
	o->offset = c->offset;
	o->leader_epoch = c->leader_epoch;
	o->commit_ms = c->commit_ms;
	o->code = GROUP_OK;
	return op_copy(op, committed_metadata(c), &o->metadata);
}

static bool fetch_all(struct groups_entry *e, struct groups_op *op)
{
	size_t n = e != NULL ? e->offsets.n : 0;
	struct groups_offset *v = (struct groups_offset *)op_alloc(op, n * sizeof *v);
	if (v == NULL) {
		return false;
	}
	struct committed_walk walk = {0};
	for (size_t i = 0; i < n; i++) {
		if (!show(op, committed_next(&e->offsets, &walk), &v[i])) {
			return false;
		}
	}
	op->u.fetch.offsets = v;
	op->u.fetch.n_offsets = (uint32_t)n;
	return true;
}

static bool fetch_named(struct groups_entry *e, struct groups_op *op)
{
	for (uint32_t i = 0; i < op->u.fetch.n_offsets; i++) {
		struct groups_offset *o = &op->u.fetch.offsets[i];
		const struct groups_committed *c =
			e != NULL && o->code == GROUP_OK ? committed_find(&e->offsets, o->part)
							 : NULL;
		if (c != NULL) {
			if (!show(op, c, o)) {
				return false;
			}
			continue;
		}
		o->offset = -1;
		o->leader_epoch = -1;
		o->commit_ms = 0;
		o->metadata = span_str("");
	}
	return true;
}

void groups_fetch(struct groups *g, struct groups_entry *e, struct groups_op *op)
{
	bool all = op->u.fetch.offsets == NULL && op->u.fetch.n_offsets == 0;
	if (all ? fetch_all(e, op) : fetch_named(e, op)) {
		op->code = GROUP_OK;
		groups_answer(g, op);
	} else {
		groups_refuse(g, op, GROUP_NOT_COORDINATOR);
	}
}

/* ---- delete ------------------------------------------------------------------------------ */

bool groups_is_subscribed(const struct groups_entry *e, const struct catalog_hub *hub)
{
	const struct group *m = &e->machine;
	for (size_t i = 0; i < m->n_members; i++) {
		/* Every protocol of one client carries the same topics. */
		struct span metadata = m->protocol.p != NULL
					       ? group_member_metadata(m->members[i], m->protocol)
					       : m->members[i]->protocols[0].metadata;
		if (subscription_has(metadata, span_str(hub->name)) != SUBSCRIPTION_NO) {
			return true;
		}
	}
	return false;
}

/* Which of the offsets may go: their codes; how many. */
static uint32_t choose(struct groups_entry *e, struct groups_op *op)
{
	const struct catalog *catalog = store_catalog(e->groups->options.store);
	uint32_t n = 0;
	for (uint32_t i = 0; i < op->u.commit.n_offsets; i++) {
		struct groups_offset *o = &op->u.commit.offsets[i];
		if (o->code != GROUP_OK) {
			continue;
		}
		const struct catalog_hub *hub = catalog_hub_by_id(catalog, o->part.hub_id);
		if (e->machine.state != GROUP_EMPTY && hub != NULL &&
		    groups_is_subscribed(e, hub)) {
			o->code = GROUP_SUBSCRIBED;
		} else {
			n++;
		}
	}
	catalog_drop(&catalog);
	return n;
}

void groups_delete_offsets(struct groups_entry *e, struct groups_op *op)
{
	struct groups *g = e->groups;
	if (e->machine.state != GROUP_EMPTY &&
	    !span_eq_str(e->machine.protocol_type, "consumer")) {
		groups_refuse(g, op, GROUP_NOT_EMPTY);
		return;
	}
	/* Rows are deleted for those not committed too: a commit may be under way. */
	uint32_t n = choose(e, op);
	size_t bytes = n * (GROUP_OFFSET_KEY_FIXED + e->machine.name.n);
	if (n == 0) {
		op->code = GROUP_OK;
		groups_answer(g, op);
		return;
	}
	if (bytes > STORE_ROWS_MAX) {
		groups_refuse(g, op, GROUP_INVALID_REQUEST);
		return;
	}
	struct groups_write *w = groups_write_new(e, GROUPS_WRITE_TRIM, n, bytes);
	if (w == NULL) {
		groups_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	for (uint32_t i = 0; i < op->u.commit.n_offsets; i++) {
		if (op->u.commit.offsets[i].code == GROUP_OK) {
			groups_write_delete(w, op->u.commit.offsets[i].part);
		}
	}
	w->op = op;
	e->writes++;
	groups_write_post(w);
}

void groups_trim_written(struct groups_write *w)
{
	struct groups_entry *e = w->entry;
	struct groups_op *op = w->op;
	for (uint32_t i = 0; i < w->n_parts && w->w.err == ERR_OK; i++) {
		committed_remove(&e->offsets, w->parts[i]);
	}
	if (op != NULL && w->w.err == ERR_OK) {
		op->code = GROUP_OK;
		groups_answer(e->groups, op);
	} else if (op != NULL) {
		groups_refuse(e->groups, op, op_code_of(w->w.err));
	}
	groups_write_free(&w);
	write_over(e);
}
