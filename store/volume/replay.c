#include "store/volume/volume_priv.h"

#include <assert.h>
#include <unistd.h>

/* What the state is brought up to date from: the commands of a shard that are no
 * batches, in raft order. */

struct replay {
	uint32_t shard;
	uint64_t after;		/* raft index done */
	volume_replay_fn *fn;
	void *arg;
	bool index_is_bad;	/* the .idx, not the log */
	struct err_detail *d;
};

/* *is_callers: the error is fn's. */
static enum err give_commands(const struct replay *rp, const struct record *r, bool *is_callers)
{
	struct record_iter it;
	struct record_command c;
	record_commands(r, &it);
	enum err e;
	while ((e = record_next(&it, &c)) == ERR_OK) {
		if (c.command.kind == VOLUME_BATCH) {
			continue;
		}
		e = record_payload_check(&c);
		if (e != ERR_OK) {
			return e;
		}
		e = rp->fn(rp->arg, r->index, r->term, &c.command);
		if (e != ERR_OK) {
			*is_callers = true;
			return e;
		}
	}
	return e == ERR_EOF ? ERR_OK : e;
}

static enum err replay_entry(const struct replay *rp, struct segment *s,
			     const struct index_raft *row)
{
	MDB_txn *txn;
	enum err e = env_read_begin(s->env, ENV_OPENER, &txn);
	if (e != ERR_OK) {
		return err_set(rp->d, e, "%s: %s", s->env->path, err_text(e));
	}
	struct span bytes;
	struct record r;
	bool is_callers = false;
	e = env_get(s->env, txn, row->log_no, &bytes);
	if (e == ERR_OK) {
		e = record_read(bytes, &r);
	}
	if (e == ERR_OK &&
	    (r.kind != RECORD_ENTRY || r.shard != rp->shard || r.index != row->index)) {
		e = ERR_CORRUPT;
	}
	if (e == ERR_OK) {
		e = give_commands(rp, &r, &is_callers);
	}
	env_read_end(s->env, ENV_OPENER);
	if (e == ERR_CORRUPT && !is_callers) {
		segment_tell_damage(s, row->log_no, "command");
	}
	if (e != ERR_OK && !is_callers) {
		err_set(rp->d, e, "%s: record %llu: %s", s->env->path,
			(unsigned long long)row->log_no, err_text(e));
	}
	return e;
}

/* Where the rows of the shard are: in memory, or in the .idx from row `first`. */
struct rows {
	const struct index_shard *in_memory;
	struct idx_reader reader;
	uint64_t first;
};

static enum err rows_open(struct rows *rows, const struct segment *s, uint32_t shard, uint64_t n)
{
	struct idx_shard sh;
	if (s->index != NULL) {
		rows->in_memory = &s->index->shards[shard];
		assert(rows->in_memory->n == n);
		return ERR_OK;
	}
	rows->in_memory = NULL;
	idx_reader_init(&rows->reader, s->idx_fd, &s->idx);
	enum err e = idx_shard_at(&rows->reader, shard, &sh);
	if (e != ERR_OK || sh.n_rows != n) {
		return e != ERR_OK ? e : ERR_CORRUPT;
	}
	rows->first = sh.first_row;
	return ERR_OK;
}

static enum err row_at(struct rows *rows, uint64_t i, struct index_raft *out)
{
	if (rows->in_memory != NULL) {
		*out = rows->in_memory->rows[i];
		return ERR_OK;
	}
	return idx_raft_at(&rows->reader, rows->first + i, out);
}

static enum err replay_extent(struct replay *rp, struct segment *s,
			      const struct table_shard_extent *x)
{
	struct rows rows;
	uint64_t n = x->last_index - x->first_index + 1;
	/* Dense: the row's place follows from the index. */
	uint64_t i = rp->after >= x->first_index ? rp->after - x->first_index + 1 : 0;
	enum err e = rows_open(&rows, s, rp->shard, n);
	rp->index_is_bad = e != ERR_OK;
	for (; e == ERR_OK && i < n; i++) {
		struct index_raft row;
		e = row_at(&rows, i, &row);
		if (e == ERR_OK && row.index != x->first_index + i) {
			e = ERR_CORRUPT;
		}
		if (e != ERR_OK) {
			rp->index_is_bad = true;
			break;
		}
		if (row.has_commands) {
			e = replay_entry(rp, s, &row);
		}
		if (e == ERR_OK) {
			rp->after = row.index;
		}
	}
	return e;
}

/* Whether the .idx of a sealed segment tells that it has no command for us: then
 * its .mdb stays closed, for opening it means to read all of it. */
static bool is_without_commands(const struct replay *rp, const struct segment *s,
				const struct table_shard_extent *x)
{
	char path[SEGMENT_PATH];
	struct idx_head head;
	int fd;
	if (s->state != SEGMENT_SEALED) {
		return false;
	}
	segment_file(s, ".idx", path);
	if (idx_open(path, &head, &fd, NULL) != ERR_OK) {
		return false;
	}
	struct idx_reader r;
	struct idx_shard sh;
	uint64_t n = x->last_index - x->first_index + 1;
	uint64_t i = rp->after >= x->first_index ? rp->after - x->first_index + 1 : 0;
	idx_reader_init(&r, fd, &s->idx);
	bool is_without = idx_shard_at(&r, rp->shard, &sh) == ERR_OK && sh.n_rows == n;
	for (; is_without && i < n; i++) {
		struct index_raft row;
		is_without = idx_raft_at(&r, sh.first_row + i, &row) == ERR_OK &&
			     row.index == x->first_index + i && !row.has_commands;
	}
	close(fd);
	return is_without;
}

static enum err replay_segment(struct replay *rp, struct segment *s,
			       const struct table_shard_extent *x)
{
	enum err e = replay_extent(rp, s, x);
	if (e != ERR_CORRUPT || !rp->index_is_bad || s->state != SEGMENT_SEALED) {
		return e;
	}
	e = segment_repair_idx(s, ENV_OPENER, rp->d);
	if (e != ERR_OK) {
		return e;
	}
	e = replay_extent(rp, s, x);
	if (e != ERR_OK && rp->index_is_bad) {
		err_set(rp->d, e, "segment %010llu: its index is damaged",
			(unsigned long long)s->number);
	}
	return e;
}

/* The cleaner removes no log that two exports do not have; a state older than both, or
 * a lost segment, ends here. */
static enum err is_missing(const struct replay *rp, uint64_t next)
{
	return err_set(rp->d, ERR_CORRUPT, "log of shard %u: entries %llu to %llu are missing",
		       rp->shard, (unsigned long long)rp->after + 1, (unsigned long long)next - 1);
}

enum err volume_replay(struct volume *v, uint32_t shard, uint64_t after, volume_replay_fn *fn,
		       void *arg, struct err_detail *d)
{
	assert(v->magic == VOLUME_MAGIC);
	assert(v->threads == 0);
	assert(shard < v->options.shards);
	struct replay rp = {.shard = shard, .after = after, .fn = fn, .arg = arg, .d = d};
	const struct table_shard *sh = &v->table.shards[shard];
	size_t i = sh->n;
	while (i > 0 && sh->extents[i - 1].last_index > after) {
		i--;
	}
	enum err e = ERR_OK;
	for (; e == ERR_OK && i < sh->n; i++) {
		if (sh->extents[i].first_index > rp.after + 1) {
			return is_missing(&rp, sh->extents[i].first_index);
		}
		struct segment *s = v->segments[sh->extents[i].segment];
		if (is_without_commands(&rp, s, &sh->extents[i])) {
			rp.after = sh->extents[i].last_index;
			continue;
		}
		e = segment_hold(s, d);
		if (e == ERR_OK) {
			e = replay_segment(&rp, s, &sh->extents[i]);
			segment_drop(s);
		}
	}
	return e == ERR_OK && rp.after < sh->info.last_index
		       ? is_missing(&rp, sh->info.last_index + 1)
		       : e;
}
