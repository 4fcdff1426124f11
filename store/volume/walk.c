#include "store/volume/volume_priv.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

/* The child's exit codes; anything else means that reading ended it. */
enum { CHILD_SOUND = 0, CHILD_FOUND_DAMAGE = 3 };

static enum err walk_one(const struct env *env, const MDB_val *key, const MDB_val *val,
			 unsigned flags, struct record *r, struct err_detail *d)
{
	enum err e = ERR_CORRUPT;
	if (key->mv_size == 8) {
		e = record_read(span_of(val->mv_data, val->mv_size), r);
	}
	uint64_t log_no = key->mv_size == 8 ? get_u64(key->mv_data) : 0;
	if (e == ERR_VERSION) {
		return err_set(d, e, "%s: record %llu is of a later format", env->path,
			       (unsigned long long)log_no);
	}
	if (e != ERR_OK || r->log_no != log_no) {
		return err_set(d, ERR_CORRUPT, "%s: record %llu is damaged", env->path,
			       (unsigned long long)log_no);
	}
	if ((flags & WALK_PAYLOADS) != 0 && record_check(r) != ERR_OK) {
		metric_inc(METRIC_STORE_CORRUPT);
		log_error("RECORD-DAMAGED", "file=%s record=%llu what=\"payload\"", env->path,
			  (unsigned long long)log_no);
	}
	return ERR_OK;
}

enum err walk_records(struct env *env, enum env_slot slot, unsigned flags, walk_fn *fn, void *arg,
		      struct err_detail *d)
{
	MDB_txn *txn;
	MDB_cursor *cur = NULL;
	enum err e = env_read_begin(env, slot, &txn);
	if (e != ERR_OK) {
		return err_set(d, e, "%s: %s", env->path, err_text(e));
	}
	int rc = mdb_cursor_open(txn, env->dbi, &cur);
	uint64_t expected = 0;
	size_t rows = 0;
	MDB_val key;
	MDB_val val;
	while (rc == MDB_SUCCESS && e == ERR_OK) {
		rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT);
		if (rc != MDB_SUCCESS) {
			break;
		}
		struct record r;
		e = walk_one(env, &key, &val, flags, &r, d);
		if (e == ERR_OK && expected != 0 && r.log_no != expected) {
			e = err_set(d, ERR_CORRUPT, "%s: record %llu is missing", env->path,
				    (unsigned long long)expected);
		}
		if (e == ERR_OK) {
			expected = r.log_no + 1;
			rows++;
			e = fn(arg, &r);
			if (e != ERR_OK && d != NULL && d->text[0] == '\0') {
				err_set(d, e, "%s: record %llu: %s", env->path,
					(unsigned long long)r.log_no, err_text(e));
			}
		}
	}
	if (cur != NULL) {
		mdb_cursor_close(cur);
	}
	if (e == ERR_OK && rc == MDB_NOTFOUND &&
	    env_check_count(txn, env->dbi, rows) != ERR_OK) {
		e = err_set(d, ERR_CORRUPT, "%s: has %zu records, not as many as it tells", env->path,
			    rows);
	}
	env_read_end(env, slot);
	if (e == ERR_OK && rc != MDB_NOTFOUND && rc != MDB_SUCCESS) {
		e = env_err(rc);
		err_set(d, e, "%s: %s", env->path, mdb_strerror(rc));
	}
	return e;
}

/* Goes on past a damaged payload: what follows must be read here too. */
static enum err check_fn(void *arg, const struct record *r)
{
	bool *all_sound = arg;
	*all_sound = record_check(r) == ERR_OK && *all_sound;
	return ERR_OK;
}

bool walk_segment_is_sound(const char *path)
{
	struct env *env;
	if (env_open(path, ENV_READ, 0, ENV_LOG, &env, NULL) != ERR_OK) {
		return false;
	}
	MDB_txn *txn;
	bool all_sound = true;
	bool readable = walk_records(env, ENV_OPENER, 0, check_fn, &all_sound, NULL) == ERR_OK &&
			env_read_begin(env, ENV_OPENER, &txn) == ERR_OK &&
			env_check_free(env, txn) == ERR_OK;
	env_close(&env);
	return readable && all_sound;
}

enum err walk_in_child(const char *path, walk_child_fn *fn, bool *sound, struct err_detail *d)
{
	*sound = false;
	pid_t pid = fork();
	if (pid < 0) {
		return err_set(d, ERR_NOMEM, "%s: cannot fork: %s", path, strerror(errno));
	}
	if (pid == 0) {
		/* Reads only; no handlers of the process, no core file. It ends with its
		 * parent, and does not keep the directory's lock for it. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		mem_fault_at(0);	/* what a test planned is the parent's */
		close_range(STDERR_FILENO + 1, ~0U, 0);
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		_exit(fn(path) ? CHILD_SOUND : CHILD_FOUND_DAMAGE);
	}
	int status = 0;
	pid_t got;
	do {
		got = waitpid(pid, &status, 0);
	} while (got < 0 && errno == EINTR);
	if (got != pid) {
		return err_set(d, ERR_IO, "%s: lost the child that read it: %s", path,
			       strerror(errno));
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SOUND) {
		*sound = true;
		return ERR_OK;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_FOUND_DAMAGE) {
		return ERR_OK;
	}
	metric_inc(METRIC_STORE_CORRUPT);
	return err_set(d, ERR_CORRUPT, "%s is damaged: reading it ended a child process (%s %d)", path,
		       WIFSIGNALED(status) ? "signal" : "exit",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* An entry at an index that exists already replaces it and all that followed. */
static void truncate_from(struct walk_index *w, uint32_t shard, uint64_t from)
{
	for (uint32_t i = 0; i < w->n_earlier; i++) {
		struct segment *s = w->volume->segments[i];
		if (s != NULL && s->index != NULL) {
			index_truncate(s->index, shard, from);
		}
	}
	index_truncate(w->index, shard, from);
}

static enum err add_commands(struct walk_index *w, const struct record *r, struct index_raft *row)
{
	struct record_iter it;
	struct record_command c;
	record_commands(r, &it);
	enum err e;
	while ((e = record_next(&it, &c)) == ERR_OK) {
		if (c.command.kind != VOLUME_BATCH) {
			row->has_commands = true;
			continue;
		}
		e = index_add_batch(w->index, r->shard, r->log_no, &c.command);
		if (e != ERR_OK) {
			return e;
		}
	}
	return e == ERR_EOF ? ERR_OK : e;
}

static enum err add_entry(struct walk_index *w, const struct record *r)
{
	const struct index_shard *s = &w->index->shards[r->shard];
	if (s->n == 0 || s->rows[s->n - 1].index >= r->index) {
		truncate_from(w, r->shard, r->index);
	}
	struct index_raft row = {.index = r->index, .term = r->term, .log_no = r->log_no};
	enum err e = add_commands(w, r, &row);
	return e == ERR_OK ? index_add_raft(w->index, r->shard, &row) : e;
}

/* The covers follow the head, once. */
static enum err add_covers(struct walk_index *w, const struct record *r)
{
	uint32_t n;
	if (w->has_covers || r->log_no != w->first_log_no + 1 ||
	    record_covers_read(r, &n) != ERR_OK) {
		return ERR_CORRUPT;
	}
	w->covers = mem_calloc(n, sizeof *w->covers);
	if (w->covers == NULL) {
		return ERR_NOMEM;
	}
	for (uint32_t i = 0; i < n; i++) {
		record_cover_at(r, i, &w->covers[i]);
		if (w->covers[i].shard >= w->index->n_shards) {
			return ERR_CORRUPT;
		}
	}
	w->n_covers = n;
	w->has_covers = true;
	return ERR_OK;
}

static enum err add_batches(struct walk_index *w, const struct record *r)
{
	struct index_raft none = {0};
	return w->has_covers ? add_commands(w, r, &none) : ERR_CORRUPT;
}

static enum err add_cleaned(struct walk_index *w, const struct record *r)
{
	switch (r->kind) {
	case RECORD_COVERS:
		return add_covers(w, r);
	case RECORD_BATCHES:
		return add_batches(w, r);
	case RECORD_ENTRY:
	case RECORD_HARD_STATE:
	case RECORD_TRUNCATION:
	case RECORD_SEGMENT_HEAD:
		break;
	}
	return ERR_CORRUPT;
}

static enum err add_head(struct walk_index *w, const struct record *r)
{
	const struct volume_options *o = &w->volume->options;
	enum err e = record_segment_read(r, &w->head);
	if (e != ERR_OK || w->has_head || w->head.number != w->number ||
	    w->head.is_cleaned != w->is_cleaned) {
		return ERR_CORRUPT;
	}
	if (memcmp(w->head.store_uuid, o->store_uuid, IDX_UUID) != 0 ||
	    w->head.shards != o->shards) {
		return ERR_INVALID;
	}
	w->first_log_no = r->log_no;
	w->has_head = true;
	return ERR_OK;
}

enum err walk_index_record(void *arg, const struct record *r)
{
	struct walk_index *w = arg;
	w->next_log_no = r->log_no + 1;
	if (r->kind == RECORD_SEGMENT_HEAD) {
		return add_head(w, r);
	}
	if (!w->has_head || r->shard >= w->index->n_shards) {
		return ERR_CORRUPT;
	}
	if (w->is_cleaned) {
		return add_cleaned(w, r);
	}
	switch (r->kind) {
	case RECORD_ENTRY:
		return add_entry(w, r);
	case RECORD_TRUNCATION:
		truncate_from(w, r->shard, r->index);
		return ERR_OK;
	case RECORD_HARD_STATE: {
		struct volume_hard_state h;
		enum err e = record_hard_state_read(r, &h);
		if (e == ERR_OK) {
			index_set_hard_state(w->index, &h);
		}
		return e;
	}
	case RECORD_SEGMENT_HEAD:
	case RECORD_BATCHES:
	case RECORD_COVERS:
		break;
	}
	return ERR_CORRUPT;
}

void walk_index_fini(struct walk_index *w)
{
	mem_free(w->covers);
	w->covers = NULL;
	w->n_covers = 0;
}
