/* What happens to a request: where it goes, when it waits, and how rows are written. */

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/group/groups_priv.h"
#include "gateway/group/machine_priv.h"
#include "gateway/group/op_memory.h"
#include "gateway/group/rows.h"

/* ---- answers --------------------------------------------------------------------- */

void groups_answer(struct groups *g, struct groups_op *op)
{
	lock_take(&g->lock);
	op->is_answered = true;
	if (op->cancel_link != NULL) {
		*op->cancel_link = op->cancel_next;
		if (op->cancel_next != NULL) {
			op->cancel_next->cancel_link = op->cancel_link;
		}
		op->cancel_link = NULL;
	}
	lock_give(&g->lock);
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

void groups_refuse(struct groups *g, struct groups_op *op, int16_t code)
{
	op_refuse(op, code);
	groups_answer(g, op);
}

/* Of a group whose volume cannot be used nothing is known. Were it taken for a new one,
 * its members would be told that nothing is committed and begin anew. */
int16_t groups_name_check(const struct groups *g, struct span name)
{
	const struct store *s = g->options.store;
	return name.n == 0 || name.n > GROUPS_NAME_MAX		? GROUP_INVALID_ID
	       : store_shard_is_out(s, store_shard_of(s, name)) ? GROUP_NOT_COORDINATOR
								: GROUP_OK;
}

/* ---- waiting ----------------------------------------------------------------------- */

bool groups_is_busy(const struct groups_entry *e)
{
	return e->machine.saving != GROUP_SAVE_NONE || e->drop_wanted;
}

void groups_wait(struct groups_entry *e, struct groups_op *op)
{
	op->msg.next = NULL;
	if (e->waiting_first == NULL) {
		e->waiting_first = op;
	} else {
		e->waiting_last->msg.next = &op->msg;
	}
	e->waiting_last = op;
}

static struct groups_op *stop_waiting(struct groups_entry *e)
{
	struct groups_op *op = e->waiting_first;
	if (op != NULL) {
		e->waiting_first = (struct groups_op *)op->msg.next;
		op->msg.next = NULL;
	}
	return op;
}

bool groups_is_nothing(const struct groups_entry *e)
{
	return group_is_idle(&e->machine) && !e->has_row && e->offsets.n == 0 && e->writes == 0 &&
	       !e->drop_wanted && e->waiting_first == NULL;
}

/* ---- writes --------------------------------------------------------------------------- */

struct groups_write *groups_write_new(struct groups_entry *e, enum groups_write_kind kind,
				      uint32_t rows, size_t bytes)
{
	struct groups_write *w = MEM_NEW(struct groups_write);
	if (w == NULL) {
		return NULL;
	}
	w->entry = e;
	w->kind = kind;
	w->rows = (struct store_row *)mem_calloc(rows, sizeof *w->rows);
	w->bytes = buf_new(bytes);
	if (kind == GROUPS_WRITE_COMMIT) {
		w->nodes = (struct groups_committed **)mem_calloc(rows, sizeof(void *));
	} else {
		w->parts = (struct store_part *)mem_calloc(rows, sizeof *w->parts);
	}
	if (w->rows == NULL || w->bytes == NULL || (w->nodes == NULL && w->parts == NULL)) {
		groups_write_free(&w);
		return NULL;
	}
	w->out = wr_of(w->bytes->data, bytes);
	return w;
}

void groups_write_free(struct groups_write **wp)
{
	struct groups_write *w = *wp;
	*wp = NULL;
	for (uint32_t i = 0; i < w->n_nodes; i++) {
		mem_free(w->nodes[i]);
	}
	mem_free(w->nodes);
	mem_free(w->parts);
	mem_free(w->rows);
	buf_drop(&w->bytes);
	mem_free(w);
}

void groups_write_delete(struct groups_write *w, struct store_part part)
{
	uint8_t *key = w->out.p;
	group_offset_key_encode(&w->out, w->entry->machine.name, part);
	assert(!w->out.bad);
	w->parts[w->n_parts++] = part;
	w->rows[w->n_rows++] = (struct store_row){
		.kind = STORE_ROW_OFFSET,
		.is_deleted = true,
		.key = span_of(key, (size_t)(w->out.p - key)),
	};
}

static void written(struct msg *m)
{
	struct groups_write *w = (struct groups_write *)m;
	struct groups_entry *e = w->entry;
	struct groups *g = e->groups;
	ASSERT_THREAD(ROLE_COORDINATOR);
	assert(g->writes > 0);
	g->writes--;
	if (w->w.err != ERR_OK) {
		log_limited(LOG_WARN, "GROUP-FAILED", "group=%s reason=\"%s when storing it\"",
			    log_quote_span(e->machine.name).text, err_text(w->w.err));
	}
	switch (w->kind) {
	case GROUPS_WRITE_GROUP:
		e->has_row = e->has_row || w->w.err == ERR_OK;
		group_saved(&e->machine, w->w.err, clock_mono_ms());
		groups_write_free(&w);
		groups_settle(e);
		break;
	case GROUPS_WRITE_COMMIT:
		groups_commit_written(w);
		break;
	case GROUPS_WRITE_TRIM:
		groups_trim_written(w);
		break;
	case GROUPS_WRITE_DROP:
		groups_drop_written(w);
		break;
	}
}

void groups_write_post(struct groups_write *w)
{
	struct groups *g = w->entry->groups;
	w->w.reply_to = &g->mailbox;
	w->w.done = written;
	w->w.shard = w->entry->shard;
	w->w.rows = w->rows;
	w->w.n = w->n_rows;
	g->writes++;
	store_rows_write(g->options.store, &w->w);
}

static enum err save(struct groups_entry *e)
{
	struct group *m = &e->machine;
	struct buf *row = NULL;
	if (m->saving == GROUP_SAVE_EMPTIED && !m->row_is_stale) {
		m->empty_ms = clock_wall_ms();
	}
	enum err err = group_row_encode(m, &row);
	if (err != ERR_OK) {
		return err;
	}
	struct groups_write *w = groups_write_new(e, GROUPS_WRITE_GROUP, 1, 1);
	if (w == NULL) {
		buf_drop(&row);
		return ERR_NOMEM;
	}
	buf_drop(&w->bytes);
	w->bytes = row;
	w->rows[w->n_rows++] = (struct store_row){
		.kind = STORE_ROW_GROUP,
		.key = m->name,
		.content = span_of(row->data, row->len),
	};
	groups_write_post(w);
	return ERR_OK;
}

static void save_if_wanted(struct groups_entry *e)
{
	struct group *m = &e->machine;
	while (m->wants_save) {
		m->wants_save = false;
		enum err err = e->groups->is_stopping ? ERR_STOPPING : save(e);
		if (err != ERR_OK) {
			group_saved(m, err, clock_mono_ms());
		}
	}
}

/* ---- requests ---------------------------------------------------------------------------- */

/* One for a group that does not exist. True: it was answered. */
static bool serve_absent(struct groups *g, struct groups_op *op)
{
	switch (op->kind) {
	case GROUPS_JOIN:
		if (op->member_id.n == 0) {
			return false;
		}
		groups_refuse(g, op, GROUP_UNKNOWN_MEMBER);
		return true;
	case GROUPS_COMMIT:
		if (op->generation < 0) {
			return false;
		}
		groups_refuse(g, op, GROUP_ILLEGAL_GENERATION);
		return true;
	case GROUPS_LEAVE:
		op_refuse(op, GROUP_UNKNOWN_MEMBER);
		op->code = GROUP_OK;
		groups_answer(g, op);
		return true;
	case GROUPS_FETCH:
		groups_fetch(g, NULL, op);
		return true;
	case GROUPS_DELETE_OFFSETS:
		groups_refuse(g, op, GROUP_NOT_FOUND);
		return true;
	default:
		groups_refuse(g, op, GROUP_UNKNOWN_MEMBER);
		return true;
	}
}

/* Who is a member already may go on. */
static bool is_over(const struct groups *g)
{
	if (g->options.max_bytes == 0 || g->bytes < g->options.max_bytes) {
		return false;
	}
	log_limited(LOG_WARN, "GROUP-FAILED", "reason=\"members of all groups take %zu bytes\"",
		    g->bytes);
	return true;
}

static void serve_present(struct groups_entry *e, struct groups_op *op)
{
	int64_t now_ms = clock_mono_ms();
	assert(!groups_is_busy(e));
	switch (op->kind) {
	case GROUPS_JOIN:
		if (op->member_id.n == 0 && is_over(e->groups)) {
			groups_refuse(e->groups, op, GROUP_NOT_AVAILABLE);
			break;
		}
		group_join(&e->machine, op, now_ms);
		break;
	case GROUPS_SYNC:
		group_sync(&e->machine, op, now_ms);
		break;
	case GROUPS_HEARTBEAT:
		group_heartbeat(&e->machine, op, now_ms);
		break;
	case GROUPS_LEAVE:
		group_leave(&e->machine, op, now_ms);
		break;
	case GROUPS_COMMIT:
		groups_commit(e, op);
		break;
	case GROUPS_FETCH:
		groups_fetch(e->groups, e, op);
		break;
	case GROUPS_DELETE_OFFSETS:
		groups_delete_offsets(e, op);
		break;
	default:
		assert(false);
	}
}

/* A deletion that waited for this entry. It may remove it, and then has what still
 * waited served; NULL: there is no such entry any more. */
static struct groups_entry *serve_delete(struct groups_entry *e, struct groups_op *op)
{
	struct groups *g = e->groups;
	uint8_t name[GROUPS_NAME_MAX];
	size_t n = e->machine.name.n;
	assert(n <= sizeof name);
	memcpy(name, e->machine.name.p, n);
	groups_delete(g, op);
	return groups_find(g, span_of(name, n));
}

void groups_settle(struct groups_entry *e)
{
	save_if_wanted(e);
	while (!groups_is_busy(e)) {
		struct groups_op *op = stop_waiting(e);
		if (op == NULL) {
			break;
		}
		if (op->kind == GROUPS_DELETE) {
			e = serve_delete(e, op);
			if (e == NULL) {
				return;
			}
			continue;
		}
		serve_present(e, op);
		save_if_wanted(e);
	}
	if (groups_is_nothing(e)) {
		groups_remove(e);
		return;
	}
	groups_schedule(e);
}

static void serve_one_group(struct groups *g, struct groups_op *op)
{
	int16_t code = groups_name_check(g, op->group);
	if (code != GROUP_OK) {
		groups_refuse(g, op, code);
		return;
	}
	struct groups_entry *e = groups_find(g, op->group);
	if (e == NULL) {
		if (serve_absent(g, op)) {
			return;
		}
		enum err err = groups_add(g, op->group, false, &e);
		if (err != ERR_OK) {
			groups_refuse(g, op,
				      err == ERR_LIMIT ? GROUP_NOT_AVAILABLE : op_code_of(err));
			return;
		}
	}
	if (groups_is_busy(e)) {
		groups_wait(e, op);
		return;
	}
	serve_present(e, op);
	groups_settle(e);
}

void groups_serve(struct groups *g, struct groups_op *op)
{
	if (g->is_stopping) {
		groups_refuse(g, op, GROUP_NOT_COORDINATOR);
		return;
	}
	switch (op->kind) {
	case GROUPS_LIST:
		groups_list(g, op);
		break;
	case GROUPS_DESCRIBE:
		groups_describe(g, op);
		break;
	case GROUPS_DELETE:
		op->at = 0;
		groups_delete(g, op);
		break;
	default:
		serve_one_group(g, op);
		break;
	}
}
