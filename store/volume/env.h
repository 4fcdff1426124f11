#ifndef STORE_VOLUME_ENV_H
#define STORE_VOLUME_ENV_H

/* One open LMDB file: the only place where LMDB's codes become ours.
 *
 * Read transactions are kept per slot, one slot per thread that reads, reset
 * between uses; memory got through one is valid until env_read_end. Write
 * transactions belong to one thread at a time. */

#include <lmdb.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

enum env_mode {
	ENV_WRITE,	/* LMDB's locks; made when missing */
	ENV_READ,	/* read-only, no locks: nobody writes the file */
};

enum {
	ENV_LOG = 1,	/* rows are only ever added */
	ENV_RANDOM = 2,	/* read here and there: no read-ahead */
};

/* Who reads. */
enum env_slot {
	ENV_READER_0,
	ENV_READER_1,
	ENV_BACKGROUND,
	ENV_SCRUBBER,
	ENV_OPENER,	/* volume_open, volume_replay, the owner of the state */
	ENV_SLOTS,
};

struct env {
	MDB_env *env;
	MDB_dbi dbi;
	enum env_mode mode;
	MDB_txn *txn[ENV_SLOTS];	/* NULL or reset, but while in use */
	char *path;
	uint64_t page_bytes;
};

enum { ENV_LOCK_NAME_MAX = 8 };	/* "-lock" */

/* `map_bytes` is the most the file may grow to (ENV_WRITE); it is raised when
 * the file is larger already. ENV_WRITE removes a lock file left behind: the
 * caller holds the directory's lock. ERR_CORRUPT: LMDB's first pages contradict
 * each other. */
enum err env_open(const char *path, enum env_mode mode, uint64_t map_bytes, unsigned flags,
		  struct env **out, struct err_detail *d) MUST_CHECK;
void env_close(struct env **e);	/* *e may be NULL; also removes the lock file */

/* Numbers in LMDB's pages are in the host's order. */
static inline uint32_t env_host_u32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}
static inline uint64_t env_host_u64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

enum err env_err(int rc) MUST_CHECK;
/* Whether the making of a file was cut short before its first commit. */
enum err env_never_committed(const char *path, bool *never, struct err_detail *d) MUST_CHECK;
/* Whether the file ends before the last page its last commit speaks of: reading it may
 * end the process. False when that cannot be told. */
bool env_is_short(const char *path);

/* Begins (renews) the slot's read transaction. */
enum err env_read_begin(struct env *e, enum env_slot slot, MDB_txn **out) MUST_CHECK;
void env_read_end(struct env *e, enum env_slot slot);
/* A record by log number. ERR_CORRUPT: it is not there, or LMDB is damaged. */
enum err env_get(struct env *e, MDB_txn *txn, uint64_t log_no, struct span *out) MUST_CHECK;

/* A write transaction: begin, reserve and fill record after record with rising
 * numbers, commit (durable when it returns ERR_OK) or abort. */
enum err env_write_begin(struct env *e, MDB_txn **out, struct err_detail *d) MUST_CHECK;
/* `out` is to be filled before the next call with this transaction. */
enum err env_reserve(struct env *e, MDB_txn *txn, uint64_t log_no, size_t n, uint8_t **out,
		     struct err_detail *d) MUST_CHECK;
enum err env_commit(struct env *e, MDB_txn *txn, struct err_detail *d) MUST_CHECK;

uint64_t env_used_bytes(struct env *e);
/* ERR_CORRUPT unless a walk met as many rows as the meta page promises. */
enum err env_check_count(MDB_txn *txn, MDB_dbi dbi, size_t rows) MUST_CHECK;
/* Pages that LMDB holds free must be sensible before it writes into them.
 * ERR_CORRUPT otherwise. */
enum err env_check_free(struct env *e, MDB_txn *txn) MUST_CHECK;

#endif
