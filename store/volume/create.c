#include "store/volume/volume_priv.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "store/volume/file.h"

enum {
	/* LMDB keeps larger values on pages of their own. */
	INLINE_MAX = 2000,
	PAGE_HEAD = 16,
	/* Key, node head, page slot, rounding. */
	NODE_OVERHEAD = 8 + 8 + 2 + 2,
	PAGE = 4096,
};

uint64_t segment_cost(uint64_t record_bytes)
{
	uint64_t node = NODE_OVERHEAD + 8;
	if (record_bytes <= INLINE_MAX) {
		/* A page may stay half empty when the next record does not fit. */
		return 2 * (record_bytes + NODE_OVERHEAD);
	}
	return (record_bytes + PAGE_HEAD + PAGE - 1) / PAGE * PAGE + node;
}

static enum err write_heads(struct segment *s, uint64_t log_no, struct err_detail *d)
{
	struct volume *v = s->volume;
	struct record_segment head = {.number = s->number, .shards = v->options.shards};
	memcpy(head.store_uuid, v->options.store_uuid, sizeof head.store_uuid);
	memcpy(head.segment_uuid, s->uuid, sizeof head.segment_uuid);
	MDB_txn *txn;
	enum err e = env_write_begin(s->env, &txn, d);
	if (e != ERR_OK) {
		return e;
	}
	uint8_t *p;
	e = env_reserve(s->env, txn, log_no, RECORD_SEGMENT_HEAD_SIZE, &p, d);
	if (e == ERR_OK) {
		record_write_segment(&head, log_no, p);
	}
	for (uint32_t i = 0; e == ERR_OK && i < v->options.shards; i++) {
		const struct volume_hard_state *h = &v->table.shards[i].info.hard;
		e = env_reserve(s->env, txn, log_no + 1 + i, RECORD_HARD_STATE_SIZE, &p, d);
		if (e == ERR_OK) {
			record_write_hard_state(h, log_no + 1 + i, p);
			index_set_hard_state(s->index, h);
		}
	}
	if (e != ERR_OK) {
		mdb_txn_abort(txn);
		return e;
	}
	return env_commit(s->env, txn, d);
}

static enum err make_file(struct segment *s, const char *path, struct err_detail *d)
{
	struct volume *v = s->volume;
	s->index = index_new(v->options.shards);
	if (s->index == NULL) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", path);
	}
	crypto_uuid(s->uuid);
	enum err e = env_open(path, ENV_WRITE, v->map_bytes, ENV_LOG, &s->env, d);
	if (e == ERR_OK) {
		e = write_heads(s, v->next_log_no, d);
	}
	if (e == ERR_OK) {
		e = file_sync_dir(v->dir, d);
	}
	return e;
}

enum err segment_create(struct volume *v, struct err_detail *d)
{
	uint64_t number = v->next_number;
	char path[SEGMENT_PATH];
	segment_path(v, number, ".mdb", path);
	struct segment *s = segment_new(v, number);
	if (s == NULL) {
		return err_set(d, ERR_NOMEM, "%s: out of memory", path);
	}
	enum err e = make_file(s, path, d);
	if (e == ERR_OK) {
		s->state = SEGMENT_ACTIVE;
		s->first_log_no = v->next_log_no;
		s->next_log_no = v->next_log_no + 1 + v->options.shards;
		lock_take(&v->lock);
		e = segment_add_locked(v, s);
		if (e == ERR_OK) {
			segment_set_bytes_locked(s, env_used_bytes(s->env));
		}
		lock_give(&v->lock);
	}
	if (e != ERR_OK) {
		/* The number is new, so whatever has this name came from here. */
		segment_free(&s);
		unlink(path);
		return e;
	}
	v->next_log_no = s->next_log_no;
	v->next_number = number + 1;
	v->active = s;
	v->active_is_fresh = true;
	v->used_bytes = env_used_bytes(s->env);
	return ERR_OK;
}
