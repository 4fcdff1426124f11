#include "store/volume/verify_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/volume/file.h"

/* One segment: its .idx, its .mdb as a whole, its records. */

enum { VERIFY_CHUNK = 1 << 20 };

struct check {
	struct verify *v;
	struct verify_segment *s;
	char mdb[VERIFY_NAME];
	char idx[VERIFY_NAME];
	char mdb_path[SEGMENT_PATH];
	int fd;			/* of the .idx, -1: its head is of no use */
	bool blocks_are_sound;
	struct idx_head head;
};

/* What it held is known from nowhere. */
static void is_unknown(struct verify *v, const char *file)
{
	if (v->unknown[0] == '\0') {
		snprintf(v->unknown, sizeof v->unknown, "%s", file);
	}
}

/* ---- .idx ------------------------------------------------------------------------ */

static enum verify_kind kind_of_idx(const struct check *c)
{
	return c->s->has_mdb ? VERIFY_REPAIRABLE : VERIFY_DAMAGE;
}

static const char *idx_trouble(const struct check *c)
{
	const struct verify_options *o = c->v->o;
	if (c->head.number != c->s->number) {
		return "is of another segment";
	}
	if (memcmp(c->head.store_uuid, o->store_uuid, IDX_UUID) != 0) {
		return "belongs to another store";
	}
	return c->head.shards != o->shards ? "was made with another number of shards" : NULL;
}

static enum err open_idx(struct check *c)
{
	char path[SEGMENT_PATH];
	enum err e = verify_path(c->v, c->idx, path);
	if (e != ERR_OK || !c->s->has_idx) {
		return e;
	}
	c->v->out->files++;
	e = idx_open(path, &c->head, &c->fd, NULL);
	if (e != ERR_OK) {
		verify_tell(c->v, c->idx, kind_of_idx(c), "its first block: %s", err_text(e));
		verify_progress(c->v, c->s->idx_bytes);
		return ERR_OK;
	}
	uint32_t bad_block;
	e = verify_idx_blocks(c->v, c->fd, &c->head, c->s->idx_bytes, &bad_block);
	const char *trouble = e == ERR_OK ? idx_trouble(c) : "cannot be read";
	if (trouble != NULL) {
		verify_tell(c->v, c->idx, kind_of_idx(c), "%s", trouble);
		close(c->fd);
		c->fd = -1;
		return ERR_OK;
	}
	c->blocks_are_sound = bad_block == 0;
	if (bad_block != 0) {
		verify_tell(c->v, c->idx, kind_of_idx(c), "block %u is damaged", bad_block);
	}
	return ERR_OK;
}

/* ---- the .mdb as a whole ------------------------------------------------------------ */

/* *reason NULL: it is what was sealed. */
static enum err check_whole(struct check *c, const char **reason)
{
	*reason = NULL;
	uint64_t left = c->s->mdb_bytes;
	int fd = open(c->mdb_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		*reason = strerror(errno);
		verify_progress(c->v, left);
		return ERR_OK;
	}
	uint32_t crc = 0;
	for (uint64_t at = 0; at < c->s->mdb_bytes && *reason == NULL;) {
		ssize_t got = pread(fd, c->v->chunk, VERIFY_CHUNK, (off_t)at);
		if (got < 0 && errno == EINTR) {
			continue;
		}
		if (got <= 0) {
			*reason = got < 0 ? strerror(errno) : "ends early";
			break;
		}
		crc = crc32c(crc, c->v->chunk, (size_t)got);
		at += (uint64_t)got;
		left -= (uint64_t)got < left ? (uint64_t)got : left;
		verify_progress(c->v, (uint64_t)got);
	}
	verify_progress(c->v, left);
	close(fd);
	if (*reason == NULL && c->s->mdb_bytes != c->head.mdb_bytes) {
		*reason = "has another size than when it was sealed";
	} else if (*reason == NULL && crc != c->head.mdb_crc) {
		*reason = "checksum of the whole file is wrong";
	}
	return ERR_OK;
}

/* ---- records ------------------------------------------------------------------------- */

static enum err take_shards(struct check *c, const struct verify_walk *w)
{
	enum err e = ERR_OK;
	for (uint32_t i = 0; e == ERR_OK && i < c->v->o->shards; i++) {
		const struct verify_raft_run *run = &w->raft[i];
		if (w->index->shards[i].has_hard) {
			verify_hard_state(c->v, c->mdb, &w->index->shards[i].hard);
		}
		if (run->first != 0) {
			e = verify_raft(c->v, c->mdb, i, run->first, run->last, run->first_term,
					run->last_term);
		}
	}
	return e;
}

static enum err take_covers(struct check *c, const struct verify_walk *w)
{
	enum err e = ERR_OK;
	for (uint32_t i = 0; e == ERR_OK && i < w->n_covers; i++) {
		e = verify_part_cover(c->v, c->mdb, &w->covers[i]);
	}
	return e;
}

/* The .idx of a sealed one against what the records say; they may be wrong only
 * when they were so at sealing. */
static enum err compare_idx(struct check *c, const struct verify_walk *w)
{
	const struct idx_head *h = &c->head;
	if (c->fd < 0) {
		return ERR_OK;
	}
	if (memcmp(h->segment_uuid, w->head.segment_uuid, IDX_UUID) != 0 ||
	    h->first_log_no != w->first_log_no || h->next_log_no != w->next_log_no) {
		verify_tell(c->v, c->idx, VERIFY_DAMAGE, "is of another segment than the .mdb");
		return ERR_OK;
	}
	if (!c->blocks_are_sound || w->is_damaged) {
		return ERR_OK;
	}
	return verify_idx_rows(c->v, c->s, c->fd, h, w->index, NULL);
}

static enum err check_records(struct check *c)
{
	struct verify_walk w = {.v = c->v, .segment = c->s};
	snprintf(w.file, sizeof w.file, "%s", c->mdb);
	enum err e = verify_records(&w, c->mdb_path);
	if (e == ERR_OK && w.has_head) {
		c->s->is_known = !w.is_damaged;
		c->s->first_log_no = w.first_log_no;
		c->s->next_log_no = w.next_log_no;
		e = c->s->is_cleaned ? take_covers(c, &w) : take_shards(c, &w);
	}
	if (e == ERR_OK && w.is_damaged) {
		is_unknown(c->v, c->mdb);
	}
	if (e == ERR_OK && w.has_head) {
		e = compare_idx(c, &w);
	}
	verify_walk_fini(&w);
	return e;
}

/* Not sealed, or nothing tells its checksum. */
static enum err check_unsealed(struct check *c)
{
	bool can_be_read;
	uint64_t last;
	enum err e = verify_try_walk(c->v, c->mdb_path, &can_be_read, &last);
	verify_progress(c->v, c->s->mdb_bytes);
	if (e == ERR_OK && !can_be_read) {
		verify_tell(c->v, c->mdb, VERIFY_DAMAGE,
			    "reading it after record %llu ended a child process: its pages are "
			    "damaged",
			    (unsigned long long)last);
		is_unknown(c->v, c->mdb);
		return ERR_OK;
	}
	return e == ERR_OK ? check_records(c) : e;
}

/* ---- a sealed one that is damaged --------------------------------------------------- */

static uint64_t count_sound(const struct verify_salvage *f)
{
	uint64_t n = 0;
	for (uint64_t i = 0; i < f->n; i++) {
		n += f->fate[i] == FATE_SOUND;
	}
	return n;
}

static void tell_swapped(struct check *c, const struct verify_salvage *f)
{
	if (f->has_head &&
	    (memcmp(f->head.segment_uuid, c->head.segment_uuid, IDX_UUID) != 0 ||
	     f->head.number != c->s->number || f->head.is_cleaned != c->s->is_cleaned)) {
		verify_tell(c->v, c->mdb, VERIFY_DAMAGE, "is segment %s%010llu under another name",
			    f->head.is_cleaned ? "c" : "", (unsigned long long)f->head.number);
	}
}

static enum err check_damaged(struct check *c, const char *reason)
{
	struct verify_salvage fates = {.first_log_no = c->head.first_log_no};
	uint64_t all = c->head.next_log_no - c->head.first_log_no;
	enum err e = ERR_OK;
	if (c->s->has_mdb) {
		/* No record is smaller: more there cannot have been. */
		fates.n = all <= c->head.mdb_bytes / RECORD_HEAD ? all : 0;
		e = verify_salvage(c->v, c->mdb_path, &fates);
	}
	uint64_t sound = e == ERR_OK ? count_sound(&fates) : 0;
	c->v->out->records += sound;
	if (e == ERR_OK) {
		if (c->s->has_mdb) {
			verify_tell(c->v, c->mdb, VERIFY_DAMAGE,
				    "%s: nothing of it is served; %llu of its %llu records can be "
				    "read",
				    reason, (unsigned long long)sound, (unsigned long long)all);
		} else {
			verify_tell(c->v, c->mdb, VERIFY_DAMAGE, "%s", reason);
		}
		tell_swapped(c, &fates);
		if (!c->blocks_are_sound) {
			is_unknown(c->v, c->mdb);
		}
		c->s->is_known = true;
		c->s->first_log_no = c->head.first_log_no;
		c->s->next_log_no = c->head.next_log_no;
		e = verify_idx_rows(c->v, c->s, c->fd, &c->head, NULL, &fates);
	}
	verify_salvage_fini(&fates);
	return e;
}

static enum err check_mdb(struct check *c)
{
	if (!c->s->has_mdb && c->fd < 0) {
		verify_tell(c->v, c->mdb, VERIFY_DAMAGE, "is missing, and nothing tells what it held");
		is_unknown(c->v, c->mdb);
		return ERR_OK;
	}
	if (!c->s->has_mdb) {
		return check_damaged(c, "is missing");
	}
	c->v->out->files++;
	if (c->fd < 0) {
		return check_unsealed(c);
	}
	const char *reason;
	enum err e = check_whole(c, &reason);
	if (e == ERR_OK) {
		e = reason == NULL ? check_records(c) : check_damaged(c, reason);
	}
	return e;
}

enum err verify_segment(struct verify *v, struct verify_segment *s)
{
	struct check c = {.v = v, .s = s, .fd = -1};
	verify_name(s, ".mdb", c.mdb);
	verify_name(s, ".idx", c.idx);
	if (s->is_leftover || s->is_headless) {
		verify_progress(v, s->mdb_bytes + s->idx_bytes);
		return ERR_OK;
	}
	if (v->chunk == NULL && (v->chunk = mem_alloc(VERIFY_CHUNK)) == NULL) {
		return verify_nomem(v);
	}
	enum err e = verify_path(v, c.mdb, c.mdb_path);
	if (e == ERR_OK) {
		e = open_idx(&c);
	}
	if (e == ERR_OK) {
		e = check_mdb(&c);
	}
	if (c.fd >= 0) {
		close(c.fd);
	}
	return e;
}
