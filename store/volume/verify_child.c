#include "store/volume/verify_priv.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reading a damaged LMDB file may end the process that does it, so a child does. */

enum {
	/* Its exit codes; anything else means that reading ended it. */
	CHILD_YES = 0,
	CHILD_NO = 3,
	/* A child for each record that cannot be read, up to here. */
	SALVAGE_CHILDREN = 256,
	/* Nothing that is read goes on for so long without an end. */
	CHILD_SECONDS = 3600,
};

enum err verify_child_begin(struct verify *v, verify_child_fn *fn, void *arg,
			    struct verify_running *out)
{
	pid_t pid = fork();
	if (pid < 0) {
		return err_set(v->d, ERR_NOMEM, "cannot fork: %s", strerror(errno));
	}
	if (pid == 0) {
		/* Reads only; no handlers of the process, no core file. It ends with its
		 * parent, whose lock of the directory it would keep. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct rlimit none = {0, 0};
		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(SIGSEGV, SIG_DFL);
		(void)signal(SIGBUS, SIG_DFL);
		(void)signal(SIGABRT, SIG_DFL);
		(void)signal(SIGFPE, SIG_DFL);
		(void)alarm(CHILD_SECONDS);
		_exit(fn(arg) ? CHILD_YES : CHILD_NO);
	}
	out->pid = pid;
	return ERR_OK;
}

enum err verify_child_end(struct verify *v, const struct verify_running *c, bool *lived,
			  bool *result)
{
	*lived = false;
	*result = false;
	int status = 0;
	pid_t got;
	do {
		got = waitpid(c->pid, &status, 0);
	} while (got < 0 && errno == EINTR);
	if (got != c->pid) {
		return err_set(v->d, ERR_IO, "lost a child process: %s", strerror(errno));
	}
	*lived = WIFEXITED(status) &&
		 (WEXITSTATUS(status) == CHILD_YES || WEXITSTATUS(status) == CHILD_NO);
	*result = *lived && WEXITSTATUS(status) == CHILD_YES;
	return ERR_OK;
}

enum err verify_child(struct verify *v, verify_child_fn *fn, void *arg, bool *lived, bool *result)
{
	struct verify_running c;
	enum err e = verify_child_begin(v, fn, arg, &c);
	if (e != ERR_OK) {
		*lived = false;
		*result = false;
		return e;
	}
	return verify_child_end(v, &c, lived, result);
}

void *verify_shared_new(size_t n)
{
	void *p = mmap(NULL, n > 0 ? n : 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		       0);
	return p != MAP_FAILED ? p : NULL;
}

void verify_shared_free(void *p, size_t n)
{
	if (p != NULL) {
		(void)munmap(p, n > 0 ? n : 1);
	}
}

/* ---- record by record ------------------------------------------------------------ */

/* What child and parent share beside the fates. */
struct salvage_shared {
	volatile uint64_t at;	/* the record that is being read */
	bool has_head;
	struct record_segment head;
};

struct salvage_child {
	const char *path;
	struct verify_salvage *s;
	uint64_t from;
	struct salvage_shared *shared;
};

static enum verify_fate fate_of(struct env *env, MDB_txn *txn, uint64_t log_no)
{
	struct span bytes;
	struct record r;
	if (env_get(env, txn, log_no, &bytes) != ERR_OK) {
		return FATE_MISSING;
	}
	if (record_read(bytes, &r) != ERR_OK || r.log_no != log_no) {
		return FATE_HEAD;
	}
	return record_check(&r) == ERR_OK ? FATE_SOUND : FATE_PAYLOAD;
}

/* The first record names the segment, whatever the file is called. */
static void read_head(struct salvage_shared *shared, struct env *env, MDB_txn *txn)
{
	MDB_cursor *cur;
	MDB_val key;
	MDB_val val;
	struct record r;
	if (mdb_cursor_open(txn, env->dbi, &cur) != MDB_SUCCESS) {
		return;
	}
	if (mdb_cursor_get(cur, &key, &val, MDB_FIRST) == MDB_SUCCESS &&
	    record_read(span_of(val.mv_data, val.mv_size), &r) == ERR_OK &&
	    r.kind == RECORD_SEGMENT_HEAD) {
		shared->has_head = record_segment_read(&r, &shared->head) == ERR_OK;
	}
	mdb_cursor_close(cur);
}

static bool salvage_child(void *arg)
{
	struct salvage_child *c = arg;
	struct env *env;
	MDB_txn *txn;
	if (env_open(c->path, ENV_READ, 0, ENV_LOG, &env, NULL) != ERR_OK) {
		return false;
	}
	bool is_open = env_read_begin(env, ENV_OPENER, &txn) == ERR_OK;
	if (is_open && c->from == 0) {
		read_head(c->shared, env, txn);
	}
	for (uint64_t i = c->from; is_open && i < c->s->n; i++) {
		c->shared->at = i;
		c->s->fate[i] = (uint8_t)fate_of(env, txn, c->s->first_log_no + i);
	}
	env_close(&env);
	return is_open;
}

enum err verify_salvage(struct verify *v, const char *path, struct verify_salvage *s)
{
	s->fate = verify_shared_new(s->n);
	struct salvage_shared *shared = verify_shared_new(sizeof *shared);
	if (s->fate == NULL || shared == NULL) {
		verify_shared_free(shared, sizeof *shared);
		return verify_nomem(v);
	}
	struct salvage_child c = {.path = path, .s = s, .shared = shared};
	enum err e = ERR_OK;
	bool lived = false;
	for (int i = 0; e == ERR_OK && !lived && c.from < s->n && i < SALVAGE_CHILDREN; i++) {
		bool is_open;
		/* Ended before its first record: it cannot be opened at all. */
		shared->at = s->n;
		e = verify_child(v, salvage_child, &c, &lived, &is_open);
		c.from = shared->at + 1;
	}
	s->has_head = shared->has_head;
	s->head = shared->head;
	verify_shared_free(shared, sizeof *shared);
	return e;
}

/* ---- one after another ---------------------------------------------------------------- */

struct walk_child {
	const char *path;
	volatile uint64_t *last;	/* shared: the last record that was read */
};

static bool walk_child(void *arg)
{
	struct walk_child *c = arg;
	struct env *env;
	MDB_txn *txn;
	MDB_cursor *cur;
	if (env_open(c->path, ENV_READ, 0, ENV_LOG, &env, NULL) != ERR_OK ||
	    env_read_begin(env, ENV_OPENER, &txn) != ERR_OK ||
	    mdb_cursor_open(txn, env->dbi, &cur) != MDB_SUCCESS) {
		return false;
	}
	MDB_val key;
	MDB_val val;
	int rc;
	bool is_sound = true;
	while ((rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) == MDB_SUCCESS) {
		struct record r;
		if (key.mv_size != 8 || get_u64(key.mv_data) <= *c->last) {
			return false;	/* the parent stops here too, and tells it */
		}
		/* The parent does the same: here it matters only whether it ends. */
		if (record_read(span_of(val.mv_data, val.mv_size), &r) == ERR_OK &&
		    record_check(&r) != ERR_OK) {
			is_sound = false;
		}
		*c->last = get_u64(key.mv_data);
	}
	return env_check_free(env, txn) == ERR_OK && is_sound;
}

enum err verify_try_walk(struct verify *v, const char *path, bool *can_be_read, uint64_t *last)
{
	struct walk_child c = {.path = path, .last = verify_shared_new(sizeof *c.last)};
	if (c.last == NULL) {
		return verify_nomem(v);
	}
	bool is_sound;
	enum err e = verify_child(v, walk_child, &c, can_be_read, &is_sound);
	*last = *c.last;
	verify_shared_free((void *)(uintptr_t)c.last, sizeof *c.last);
	return e;
}

void verify_salvage_fini(struct verify_salvage *s)
{
	verify_shared_free(s->fate, s->n);
	s->fate = NULL;
}
