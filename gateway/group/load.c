/* Reading the rows at start. The store calls on its own thread; nothing else runs
 * here until it is done. */

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/group/groups_priv.h"
#include "gateway/group/rows.h"

struct load {
	struct store_rows_scan scan;	/* first */
	struct groups *g;
	bool is_done;
	int64_t now_ms;
	size_t damaged;
};

static void left_out(struct load *l, const char *kind, struct span key, enum err e)
{
	l->damaged++;
	log_limited(LOG_ERROR, "GROUP-FAILED", "row=%s key=%s reason=\"%s; it is left out\"", kind,
		    log_quote_span(key).text, err_text(e));
}

static enum err load_group(void *arg, uint32_t shard, struct span key, struct span content)
{
	struct load *l = (struct load *)arg;
	struct groups *g = l->g;
	(void)shard;
	struct groups_entry *e = groups_entry_new(g);
	if (e == NULL) {
		return ERR_NOMEM;
	}
	enum err err = group_row_decode(key, content, &g->config, &groups_hooks, e, &e->machine);
	if (err != ERR_OK) {
		mem_free(e);
		if (err == ERR_NOMEM) {
			return err;
		}
		left_out(l, "group", key, err);
		return ERR_OK;
	}
	err = groups_insert(g, e);
	if (err != ERR_OK) {
		groups_entry_free(&e);
		return err;
	}
	e->has_row = true;
	group_resume(&e->machine, l->now_ms);
	groups_schedule(e);
	return ERR_OK;
}

static enum err load_offset(void *arg, uint32_t shard, struct span key, struct span content)
{
	struct load *l = (struct load *)arg;
	struct groups *g = l->g;
	(void)shard;
	struct group_offset_row row;
	enum err err = group_offset_row_decode(key, content, &row);
	if (err != ERR_OK) {
		left_out(l, "offset", key, err);
		return ERR_OK;
	}
	struct groups_entry *e = groups_find(g, row.group);
	if (e == NULL) {
		err = groups_add(g, row.group, true, &e);
		if (err != ERR_OK) {
			return err;
		}
	}
	struct groups_offset o = {
		.part = row.part,
		.offset = row.offset,
		.leader_epoch = row.leader_epoch,
		.metadata = row.metadata,
	};
	struct groups_committed *c = committed_new(&o, row.commit_ms);
	if (c == NULL || committed_reserve(&e->offsets, 1) != ERR_OK) {
		mem_free(c);
		return ERR_NOMEM;
	}
	committed_put(&e->offsets, c);
	return ERR_OK;
}

static void scanned(struct msg *m)
{
	((struct load *)m)->is_done = true;
}

static enum err scan(struct load *l, uint8_t kind, store_row_fn *row)
{
	struct groups *g = l->g;
	l->is_done = false;
	l->scan = (struct store_rows_scan){
		.reply_to = &g->mailbox,
		.done = scanned,
		.kind = kind,
		.row = row,
		.arg = l,
	};
	store_rows_scan(g->options.store, &l->scan);
	while (!l->is_done) {
		msg_run_all(mailbox_wait(&g->mailbox, INT64_MAX));
	}
	return l->scan.err;
}

enum err groups_load(struct groups *g, struct err_detail *d)
{
	struct load l = {.g = g, .now_ms = clock_mono_ms()};
	enum err e = scan(&l, STORE_ROW_GROUP, load_group);
	if (e == ERR_OK) {
		e = scan(&l, STORE_ROW_OFFSET, load_offset);
	}
	if (e != ERR_OK) {
		return err_set(d, e, "cannot read the consumer groups: %s", err_text(e));
	}
	log_info("GROUPS-LOADED", "groups=%zu damaged_rows=%zu", g->n, l.damaged);
	return ERR_OK;
}
