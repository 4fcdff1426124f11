#include "store/volume/verify_priv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* Every record of a segment that can be read without danger: its whole-file checksum
 * was right, or a child has read it before. */

static void tell_record(struct verify_walk *w, uint64_t log_no, const char *what)
{
	w->is_damaged = true;
	verify_tell(w->v, w->file, VERIFY_DAMAGE, "record %llu %s", (unsigned long long)log_no,
		    what);
}

/* ---- events ------------------------------------------------------------------------ */

/* Events of a cleaned segment lie in its covers and rise. */
static enum err take_cleaned(struct verify_walk *w, const struct record *r,
			     const struct volume_command *c)
{
	struct verify_part *p = verify_part_get(w->v, c->part, r->shard);
	if (p == NULL) {
		return verify_nomem(w->v);
	}
	int64_t end = c->base_seq + c->count;
	if (c->base_seq < p->cleaned_seq || c->base_seq < p->cover.first || end > p->cover.end) {
		tell_record(w, r->log_no, "has events outside of what its segment stands for");
	} else if (c->append_ms < p->cleaned_ms) {
		tell_record(w, r->log_no, "has events older than the ones before them");
	}
	p->cleaned_seq = end > p->cleaned_seq ? end : p->cleaned_seq;
	p->cleaned_ms = c->append_ms > p->cleaned_ms ? c->append_ms : p->cleaned_ms;
	return ERR_OK;
}

/* The batch's own head says how many events it has; the descriptor, for how many
 * sequence numbers it stands. */
static uint64_t events_of(const struct volume_command *c)
{
	struct batch_head h;
	bool is_sound = batch_head_read(c->payload, &h) == ERR_OK && h.count > 0 &&
			(uint32_t)h.count <= c->count;
	return is_sound ? (uint64_t)h.count : c->count;
}

static enum err take_batch(struct verify_walk *w, const struct record *r,
			   const struct record_command *rc)
{
	const struct volume_command *c = &rc->command;
	struct verify_span span = {c->base_seq, c->base_seq + c->count};
	enum err e = w->segment->is_cleaned
			     ? take_cleaned(w, r, c)
			     : verify_part_logged(w->v, w->file, c->part, r->shard, span,
						  c->append_ms, c->append_ms);
	if (e != ERR_OK) {
		return e;
	}
	if (record_payload_check(rc) != ERR_OK) {
		w->is_damaged = true;
		return verify_part_lost(w->v, w->file, c->part, r->shard, span);
	}
	w->v->out->batches++;
	w->v->out->events += events_of(c);
	if (index_add_batch(w->index, r->shard, r->log_no, c) == ERR_NOMEM) {
		return verify_nomem(w->v);
	}
	return ERR_OK;
}

static enum err take_commands(struct verify_walk *w, const struct record *r, bool *has_commands)
{
	struct record_iter it;
	struct record_command c;
	record_commands(r, &it);
	enum err e;
	while ((e = record_next(&it, &c)) == ERR_OK) {
		if (c.command.kind == VOLUME_BATCH) {
			e = take_batch(w, r, &c);
			if (e != ERR_OK) {
				return e;
			}
			continue;
		}
		*has_commands = true;
		if (record_payload_check(&c) != ERR_OK) {
			tell_record(w, r->log_no, "is damaged in a change of the state");
		} else if (w->v->o->command != NULL) {
			w->v->o->command(w->v->o->arg, r->shard, r->index, &c.command);
		}
	}
	if (e != ERR_EOF) {
		tell_record(w, r->log_no, "is damaged");
	}
	return ERR_OK;
}

static void take_raft(struct verify_walk *w, const struct record *r)
{
	struct verify_raft_run *run = &w->raft[r->shard];
	if (run->first == 0 || r->index <= run->first) {
		run->first = r->index;
		run->first_term = r->term;
	} else if ((r->index > run->last + 1 && !w->is_damaged) || r->term < run->last_term) {
		tell_record(w, r->log_no, "does not follow its shard's last one");
	}
	run->last = r->index;
	run->last_term = r->term;
}

static enum err take_entry(struct verify_walk *w, const struct record *r)
{
	struct index_raft row = {.index = r->index, .term = r->term, .log_no = r->log_no};
	if (r->index == 0) {
		tell_record(w, r->log_no, "has no raft index");
		return ERR_OK;
	}
	if (w->raft[r->shard].first != 0 && r->index <= w->raft[r->shard].last) {
		/* An entry at an index that is there already replaces it and what follows. */
		index_truncate(w->index, r->shard, r->index);
	}
	take_raft(w, r);
	enum err e = take_commands(w, r, &row.has_commands);
	if (e != ERR_OK || w->is_damaged) {
		return e;
	}
	e = index_add_raft(w->index, r->shard, &row);
	return e == ERR_NOMEM ? verify_nomem(w->v) : ERR_OK;
}

/* ---- other records -------------------------------------------------------------------- */

static void take_head(struct verify_walk *w, const struct record *r)
{
	const struct verify_options *o = w->v->o;
	if (record_segment_read(r, &w->head) != ERR_OK) {
		tell_record(w, r->log_no, "is damaged");
		return;
	}
	if (w->has_head) {
		tell_record(w, r->log_no, "is a second head");
		return;
	}
	w->has_head = true;
	if (memcmp(w->head.store_uuid, o->store_uuid, IDX_UUID) != 0) {
		w->is_damaged = true;
		verify_tell(w->v, w->file, VERIFY_DAMAGE, "belongs to another store");
	} else if (w->head.shards != o->shards) {
		w->is_damaged = true;
		verify_tell(w->v, w->file, VERIFY_DAMAGE, "was made with %u shards, not %u",
			    w->head.shards, o->shards);
	}
	if (w->head.number != w->segment->number ||
	    w->head.is_cleaned != w->segment->is_cleaned) {
		w->is_damaged = true;
		verify_tell(w->v, w->file, VERIFY_DAMAGE, "is segment %s%llu under another name",
			    w->head.is_cleaned ? "c" : "", (unsigned long long)w->head.number);
	}
}

static enum err take_covers(struct verify_walk *w, const struct record *r)
{
	uint32_t n;
	if (w->has_covers || record_covers_read(r, &n) != ERR_OK) {
		tell_record(w, r->log_no, "is damaged");
		return ERR_OK;
	}
	w->has_covers = true;
	w->covers = mem_calloc(n, sizeof *w->covers);
	if (w->covers == NULL) {
		return verify_nomem(w->v);
	}
	w->n_covers = n;
	for (uint32_t i = 0; i < n; i++) {
		struct record_cover *c = &w->covers[i];
		record_cover_at(r, i, c);
		struct verify_part *p = verify_part_get(w->v, c->part, c->shard);
		if (p == NULL) {
			return verify_nomem(w->v);
		}
		p->cover = (struct verify_span){c->first_seq, c->end_seq};
		p->cleaned_seq = c->first_seq;
		p->cleaned_ms = INT64_MIN;
	}
	return ERR_OK;
}

static enum err take_record(struct verify_walk *w, const struct record *r)
{
	bool is_cleaned = w->segment->is_cleaned;
	bool has_commands = false;
	if (!w->has_head && r->kind != RECORD_SEGMENT_HEAD) {
		tell_record(w, r->log_no, "stands where the segment's head should");
		return ERR_OK;
	}
	if (r->shard >= w->index->n_shards) {
		tell_record(w, r->log_no, "is of a shard that does not exist");
		return ERR_OK;
	}
	switch (r->kind) {
	case RECORD_SEGMENT_HEAD:
		take_head(w, r);
		return ERR_OK;
	case RECORD_HARD_STATE: {
		struct volume_hard_state h;
		if (is_cleaned || record_hard_state_read(r, &h) != ERR_OK) {
			break;
		}
		index_set_hard_state(w->index, &h);
		return ERR_OK;
	}
	case RECORD_TRUNCATION:
		if (is_cleaned) {
			break;
		}
		index_truncate(w->index, r->shard, r->index);
		return ERR_OK;
	case RECORD_ENTRY:
		if (is_cleaned) {
			break;
		}
		return take_entry(w, r);
	case RECORD_BATCHES:
		if (!is_cleaned || !w->has_covers) {
			break;
		}
		return take_commands(w, r, &has_commands);
	case RECORD_COVERS:
		if (!is_cleaned) {
			break;
		}
		return take_covers(w, r);
	}
	tell_record(w, r->log_no, "is damaged, or does not belong here");
	return ERR_OK;
}

/* ---- the file -------------------------------------------------------------------------- */

static enum err take_value(struct verify_walk *w, const MDB_val *key, const MDB_val *val)
{
	uint64_t log_no = get_u64(key->mv_data);
	struct record r;
	enum err e = record_read(span_of(val->mv_data, val->mv_size), &r);
	w->v->out->records++;
	if (w->first_log_no == 0) {
		w->first_log_no = log_no;
	} else if (log_no != w->next_log_no) {
		w->is_damaged = true;
		verify_tell(w->v, w->file, VERIFY_DAMAGE, "records %llu to %llu are missing",
			    (unsigned long long)w->next_log_no, (unsigned long long)log_no - 1);
	}
	w->next_log_no = log_no + 1;
	if (e == ERR_VERSION) {
		tell_record(w, log_no, "is of a later format");
		return ERR_OK;
	}
	if (e != ERR_OK || r.log_no != log_no) {
		tell_record(w, log_no, "is damaged");
		return ERR_OK;
	}
	return take_record(w, &r);
}

static enum err walk_all(struct verify_walk *w, struct env *env, MDB_txn *txn)
{
	MDB_cursor *cur;
	int rc = mdb_cursor_open(txn, env->dbi, &cur);
	if (rc != MDB_SUCCESS) {
		return env_err(rc);
	}
	enum err e = ERR_OK;
	size_t rows = 0;
	MDB_val key;
	MDB_val val;
	while (e == ERR_OK && (rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) == MDB_SUCCESS) {
		rows++;
		/* Rising keys: a damaged tree must not be walked in a circle. */
		if (key.mv_size != 8 || get_u64(key.mv_data) == 0 ||
		    get_u64(key.mv_data) < w->next_log_no) {
			e = ERR_CORRUPT;
			break;
		}
		e = take_value(w, &key, &val);
	}
	mdb_cursor_close(cur);
	if (e == ERR_OK) {
		e = rc == MDB_NOTFOUND ? env_check_count(txn, env->dbi, rows) : env_err(rc);
	}
	return e == ERR_OK ? env_check_free(env, txn) : e;
}

void verify_walk_fini(struct verify_walk *w)
{
	index_free(&w->index);
	mem_free(w->raft);
	mem_free(w->covers);
}

enum err verify_records(struct verify_walk *w, const char *path)
{
	w->raft = mem_calloc(w->v->o->shards, sizeof *w->raft);
	w->index = index_new(w->v->o->shards);
	if (w->raft == NULL || w->index == NULL) {
		return verify_nomem(w->v);
	}
	struct env *env;
	MDB_txn *txn;
	struct err_detail why = {{0}};
	enum err e = env_open(path, ENV_READ, 0, ENV_LOG, &env, &why);
	if (e == ERR_OK) {
		e = env_read_begin(env, ENV_OPENER, &txn);
		e = e == ERR_OK ? walk_all(w, env, txn) : e;
		env_close(&env);
	}
	if (e == ERR_NOMEM) {
		return e;
	}
	if (e != ERR_OK) {
		w->is_damaged = true;
		verify_tell(w->v, w->file, VERIFY_DAMAGE, "its pages are damaged after record %llu",
			    (unsigned long long)(w->next_log_no > 0 ? w->next_log_no - 1 : 0));
	} else if (!w->has_head) {
		w->is_damaged = true;
		verify_tell(w->v, w->file, VERIFY_DAMAGE, "has no head");
	} else if (w->segment->is_cleaned && !w->has_covers) {
		w->is_damaged = true;
		verify_tell(w->v, w->file, VERIFY_DAMAGE, "does not tell what it stands for");
	}
	return ERR_OK;
}
