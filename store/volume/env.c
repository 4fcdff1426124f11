#include "store/volume/env.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "store/volume/file.h"

enum { ENV_READERS_MAX = 16 };

enum err env_err(int rc)
{
	switch (rc) {
	case MDB_SUCCESS:
		return ERR_OK;
	case MDB_NOTFOUND:
		return ERR_NOT_FOUND;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_CURSOR_FULL:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_VALSIZE:
		return ERR_CORRUPT;
	case MDB_MAP_FULL:
	case ENOSPC:
	case EDQUOT:
		return ERR_FULL;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return ERR_NOMEM;
	default:
		return ERR_IO;
	}
}

static void lock_file_remove(const char *path)
{
	char name[LIMIT_PATH + ENV_LOCK_NAME_MAX];
	snprintf(name, sizeof name, "%s-lock", path);
	unlink(name);
}

/* ---- LMDB's two meta pages ---------------------------------------------------
 *
 * They carry no checksum in LMDB 0.9, so what can be checked is: a commit writes
 * the page that its number's lowest bit names, so the two numbers follow each
 * other (both 0 in a new file). A flipped bit that would silently bring back an
 * older commit shows here; one in a root or a count shows in the walk, which
 * compares counts. Host byte order (data version 1, 64-bit):
 *
 *   16 u32 magic, u32 version, u64 address, u64 map size
 *   40 48 bytes free list, 48 bytes main table: u32 page size or 0, u16 flags,
 *      u16 depth, u64 branch, leaf, overflow pages, u64 rows, u64 root
 *  136 u64 last page, u64 number of the commit */
enum {
	META_MAGIC_AT = 16,
	META_VERSION_AT = 20,
	META_PAGE_SIZE_AT = 40,
	META_FREE_FLAGS_AT = 44,
	META_MAIN_FLAGS_AT = 92,
	META_ROWS_AT = 120,
	META_LAST_PAGE_AT = 136,
	META_COMMIT_AT = 144,
	META_BYTES = 152,
	META_VERSION = 1,
	PAGE_MIN = 4096,
	PAGE_MAX = 64 << 10,
};
static const uint32_t meta_magic = 0xBEEFC0DE;

static bool meta_is_sound(const uint8_t *meta, uint32_t page_bytes)
{
	uint16_t free_flags;
	uint16_t main_flags;
	memcpy(&free_flags, meta + META_FREE_FLAGS_AT, sizeof free_flags);
	memcpy(&main_flags, meta + META_MAIN_FLAGS_AT, sizeof main_flags);
	return env_host_u32(meta + META_MAGIC_AT) == meta_magic &&
	       env_host_u32(meta + META_VERSION_AT) == META_VERSION &&
	       env_host_u32(meta + META_PAGE_SIZE_AT) == page_bytes && free_flags == (MDB_INTEGERKEY | MDB_NOSUBDIR) &&
	       main_flags == 0;
}

static enum err check_metas(int fd, unsigned flags)
{
	uint8_t meta[2][META_BYTES];
	enum err e = file_read_at(fd, meta[0], META_BYTES, 0);
	if (e != ERR_OK) {
		return e;
	}
	uint32_t page = env_host_u32(meta[0] + META_PAGE_SIZE_AT);
	if (page < PAGE_MIN || page > PAGE_MAX || (page & (page - 1)) != 0) {
		return ERR_CORRUPT;
	}
	e = file_read_at(fd, meta[1], META_BYTES, page);
	if (e != ERR_OK) {
		return e;
	}
	if (!meta_is_sound(meta[0], page) || !meta_is_sound(meta[1], page)) {
		return ERR_CORRUPT;
	}
	uint64_t even = env_host_u64(meta[0] + META_COMMIT_AT);
	uint64_t odd = env_host_u64(meta[1] + META_COMMIT_AT);
	if (even == 0 && odd == 0) {
		return ERR_OK;
	}
	if (even % 2 != 0 || (even != odd + 1 && odd != even + 1)) {
		return ERR_CORRUPT;
	}
	const uint8_t *newer = even > odd ? meta[0] : meta[1];
	const uint8_t *older = even > odd ? meta[1] : meta[0];
	bool grew = env_host_u64(newer + META_ROWS_AT) > env_host_u64(older + META_ROWS_AT);
	return (flags & ENV_LOG) == 0 || grew ? ERR_OK : ERR_CORRUPT;
}

enum err env_never_committed(const char *path, bool *never, struct err_detail *d)
{
	*never = true;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return err_set(d, file_errno(errno), "%s: %s", path, strerror(errno));
	}
	enum err e = ERR_OK;
	for (uint64_t i = 0; e == ERR_OK && i < 2; i++) {
		/* What the file does not have, or never reached the disk, is zero. */
		uint8_t meta[META_BYTES] = {0};
		e = file_read_at(fd, meta, META_BYTES, i * (uint64_t)sysconf(_SC_PAGESIZE));
		if (e == ERR_CORRUPT) {
			e = ERR_OK;
		}
		*never = *never && env_host_u64(meta + META_COMMIT_AT) == 0;
	}
	close(fd);
	return e == ERR_OK ? ERR_OK : err_set(d, e, "%s: %s", path, err_text(e));
}

bool env_is_short(const char *path)
{
	uint8_t meta[2][META_BYTES];
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return false;
	}
	enum err e = fstat(fd, &st) == 0 ? file_read_at(fd, meta[0], META_BYTES, 0) : ERR_IO;
	uint32_t page = e == ERR_OK ? env_host_u32(meta[0] + META_PAGE_SIZE_AT) : 0;
	if (e == ERR_OK) {
		e = file_read_at(fd, meta[1], META_BYTES, page);
	}
	close(fd);
	if (e != ERR_OK) {
		return e == ERR_CORRUPT;
	}
	bool first = env_host_u64(meta[0] + META_COMMIT_AT) > env_host_u64(meta[1] + META_COMMIT_AT);
	uint64_t last_page = env_host_u64(meta[first ? 0 : 1] + META_LAST_PAGE_AT);
	return page == 0 || last_page >= (uint64_t)st.st_size / page;
}

/* A file that is there already must have sound meta pages; an empty one is new. */
static enum err check_file(const char *path, enum env_mode mode, unsigned flags,
			   struct err_detail *d)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		bool is_new = errno == ENOENT && mode == ENV_WRITE;
		enum err e = errno == EMFILE || errno == ENFILE ? ERR_NOMEM : ERR_IO;
		return is_new ? ERR_OK : err_set(d, e, "%s: %s", path, strerror(errno));
	}
	struct stat st;
	enum err e = fstat(fd, &st) == 0 ? ERR_OK : file_errno(errno);
	if (e == ERR_OK && (st.st_size > 0 || mode == ENV_READ)) {
		e = check_metas(fd, flags);
	}
	close(fd);
	if (e != ERR_OK) {
		err_set(d, e, "%s: first pages: %s", path, err_text(e));
	}
	return e;
}

/* ---- open, close -------------------------------------------------------------- */

static int dbi_open(struct env *e)
{
	unsigned flags = e->mode == ENV_READ ? MDB_RDONLY : 0;
	MDB_txn *txn;
	int rc = mdb_txn_begin(e->env, NULL, flags, &txn);
	if (rc != MDB_SUCCESS) {
		return rc;
	}
	rc = mdb_dbi_open(txn, NULL, 0, &e->dbi);
	mdb_txn_abort(txn);
	return rc;
}

enum err env_open(const char *path, enum env_mode mode, uint64_t map_bytes, unsigned flags,
		  struct env **out, struct err_detail *d)
{
	*out = NULL;
	enum err checked = check_file(path, mode, flags, d);
	if (checked != ERR_OK) {
		return checked;
	}
	struct env *e = MEM_NEW(struct env);
	if (e == NULL || (e->path = mem_strdup(path)) == NULL) {
		mem_free(e);
		return err_set(d, ERR_NOMEM, "%s: out of memory", path);
	}
	e->mode = mode;
	unsigned lmdb_flags = MDB_NOSUBDIR | MDB_NOTLS;
	lmdb_flags |= (flags & ENV_RANDOM) != 0 ? MDB_NORDAHEAD : 0;
	if (mode == ENV_READ) {
		lmdb_flags |= MDB_RDONLY | MDB_NOLOCK;
	} else {
		lock_file_remove(path);
		struct stat st;
		if (stat(path, &st) == 0 && (uint64_t)st.st_size > map_bytes) {
			map_bytes = (uint64_t)st.st_size;
		}
	}
	int rc = mdb_env_create(&e->env);
	if (rc == MDB_SUCCESS && mode == ENV_WRITE) {
		rc = mdb_env_set_mapsize(e->env, (size_t)map_bytes);
	}
	if (rc == MDB_SUCCESS) {
		rc = mdb_env_set_maxreaders(e->env, ENV_READERS_MAX);
	}
	if (rc == MDB_SUCCESS) {
		rc = mdb_env_open(e->env, path, lmdb_flags, 0600);
	}
	if (rc == MDB_SUCCESS) {
		rc = dbi_open(e);
	}
	if (rc != MDB_SUCCESS) {
		enum err err = env_err(rc);
		err_set(d, err, "%s: %s", path, mdb_strerror(rc));
		env_close(&e);
		return err;
	}
	MDB_stat stat_of_env;
	rc = mdb_env_stat(e->env, &stat_of_env);
	assert(rc == MDB_SUCCESS);
	e->page_bytes = stat_of_env.ms_psize;
	*out = e;
	return ERR_OK;
}

void env_close(struct env **ep)
{
	struct env *e = *ep;
	*ep = NULL;
	if (e == NULL) {
		return;
	}
	for (int i = 0; i < ENV_SLOTS; i++) {
		if (e->txn[i] != NULL) {
			mdb_txn_abort(e->txn[i]);
		}
	}
	if (e->env != NULL) {
		mdb_env_close(e->env);
	}
	if (e->mode == ENV_WRITE) {
		lock_file_remove(e->path);
	}
	mem_free(e->path);
	mem_free(e);
}

enum err env_read_begin(struct env *e, enum env_slot slot, MDB_txn **out)
{
	int rc = e->txn[slot] == NULL ? mdb_txn_begin(e->env, NULL, MDB_RDONLY, &e->txn[slot])
				      : mdb_txn_renew(e->txn[slot]);
	*out = e->txn[slot];
	if (rc == MDB_SUCCESS) {
		return ERR_OK;
	}
	/* A transaction that could not be renewed is of no more use. */
	if (e->txn[slot] != NULL) {
		mdb_txn_abort(e->txn[slot]);
		e->txn[slot] = NULL;
	}
	*out = NULL;
	return env_err(rc);
}

void env_read_end(struct env *e, enum env_slot slot)
{
	assert(e->txn[slot] != NULL);
	mdb_txn_reset(e->txn[slot]);
}

enum err env_get(struct env *e, MDB_txn *txn, uint64_t log_no, struct span *out)
{
	uint8_t k[8];
	put_u64(k, log_no);
	MDB_val key = {sizeof k, k};
	MDB_val val;
	int rc = mdb_get(txn, e->dbi, &key, &val);
	if (rc != MDB_SUCCESS) {
		enum err err = env_err(rc);
		return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
	}
	*out = span_of(val.mv_data, val.mv_size);
	return ERR_OK;
}

static enum err write_failed(const struct env *e, int rc, struct err_detail *d)
{
	enum err err = env_err(rc);
	return err_set(d, err, "%s: %s", e->path, mdb_strerror(rc));
}

enum err env_write_begin(struct env *e, MDB_txn **out, struct err_detail *d)
{
	int rc = mdb_txn_begin(e->env, NULL, 0, out);
	return rc == MDB_SUCCESS ? ERR_OK : write_failed(e, rc, d);
}

enum err env_reserve(struct env *e, MDB_txn *txn, uint64_t log_no, size_t n, uint8_t **out,
		     struct err_detail *d)
{
	uint8_t k[8];
	put_u64(k, log_no);
	MDB_val key = {sizeof k, k};
	MDB_val val = {n, NULL};
	int rc = mdb_put(txn, e->dbi, &key, &val, MDB_APPEND | MDB_RESERVE);
	*out = val.mv_data;
	return rc == MDB_SUCCESS ? ERR_OK : write_failed(e, rc, d);
}

enum err env_commit(struct env *e, MDB_txn *txn, struct err_detail *d)
{
	int rc = mdb_txn_commit(txn);
	return rc == MDB_SUCCESS ? ERR_OK : write_failed(e, rc, d);
}

uint64_t env_used_bytes(struct env *e)
{
	MDB_envinfo info;
	int rc = mdb_env_info(e->env, &info);
	assert(rc == MDB_SUCCESS);
	(void)rc;
	return ((uint64_t)info.me_last_pgno + 1) * e->page_bytes;
}

enum err env_check_count(MDB_txn *txn, MDB_dbi dbi, size_t rows)
{
	MDB_stat st;
	int rc = mdb_stat(txn, dbi, &st);
	if (rc != MDB_SUCCESS) {
		return env_err(rc);
	}
	return st.ms_entries == rows ? ERR_OK : ERR_CORRUPT;
}

/* One row of LMDB's free list: a count, then that many page numbers, falling. */
static bool free_row_is_sound(const MDB_val *val, size_t last_page)
{
	size_t n;
	if (val->mv_size < sizeof n) {
		return false;
	}
	memcpy(&n, val->mv_data, sizeof n);
	if (n > val->mv_size / sizeof n - 1) {
		return false;
	}
	size_t above = last_page + 1;
	for (size_t i = 1; i <= n; i++) {
		size_t page;
		memcpy(&page, (const uint8_t *)val->mv_data + i * sizeof page, sizeof page);
		/* Pages 0 and 1 are the meta pages. */
		if (page < 2 || page >= above) {
			return false;
		}
		above = page;
	}
	return true;
}

enum err env_check_free(struct env *e, MDB_txn *txn)
{
	enum { FREE_DBI_OF_LMDB = 0 };
	MDB_envinfo info;
	int rc = mdb_env_info(e->env, &info);
	assert(rc == MDB_SUCCESS);
	MDB_cursor *cur;
	rc = mdb_cursor_open(txn, FREE_DBI_OF_LMDB, &cur);
	if (rc != MDB_SUCCESS) {
		return env_err(rc);
	}
	size_t last_txn = 0;
	size_t rows = 0;
	enum err err = ERR_OK;
	MDB_val key;
	MDB_val val;
	while (err == ERR_OK && (rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) == MDB_SUCCESS) {
		size_t id = 0;
		if (key.mv_size == sizeof id) {
			memcpy(&id, key.mv_data, sizeof id);
		}
		if (id <= last_txn || id > info.me_last_txnid ||
		    !free_row_is_sound(&val, info.me_last_pgno)) {
			err = ERR_CORRUPT;
		}
		last_txn = id;
		rows++;
	}
	mdb_cursor_close(cur);
	if (err == ERR_OK && rc != MDB_NOTFOUND) {
		err = env_err(rc);
	}
	return err == ERR_OK ? env_check_count(txn, FREE_DBI_OF_LMDB, rows) : err;
}
