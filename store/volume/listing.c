#include "store/volume/recover_priv.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/volume/file.h"

enum {
	/* More lost segments than this are no accident of a disk; each would take memory. */
	LOST_MAX = 100000,
};

void listing_fini(struct listing *l)
{
	mem_free(l->log.v);
	mem_free(l->cleaned.v);
	mem_free(l->leftovers.v);
	*l = (struct listing){0};
}

static enum err add(struct found_list *l, const struct found *f)
{
	if (!mem_grow((void **)&l->v, &l->cap, l->n + 1, sizeof *l->v)) {
		return ERR_NOMEM;
	}
	l->v[l->n++] = *f;
	return ERR_OK;
}

static void path_of(const struct volume *v, const struct found *f, const char *suffix,
		    char out[SEGMENT_PATH])
{
	snprintf(out, SEGMENT_PATH, "%s/%s%010llu%s", v->dir, f->is_cleaned ? "c" : "",
		 (unsigned long long)f->number, suffix);
}

/* ---- the directory ------------------------------------------------------- */

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name);
	size_t m = strlen(suffix);
	return n >= m && strcmp(name + n - m, suffix) == 0;
}

bool listing_name(const char *name, struct found *out)
{
	enum { DIGITS = 10 };
	*out = (struct found){.is_cleaned = name[0] == 'c'};
	name += out->is_cleaned ? 1 : 0;
	for (int i = 0; i < DIGITS; i++) {
		if (name[i] < '0' || name[i] > '9') {
			return false;
		}
		out->number = out->number * 10 + (uint64_t)(name[i] - '0');
	}
	out->has_mdb = strcmp(name + DIGITS, ".mdb") == 0;
	out->has_idx = strcmp(name + DIGITS, ".idx") == 0;
	return out->number > 0 && (out->has_mdb || out->has_idx);
}

static enum err list_one(struct volume *v, struct listing *l, const char *name)
{
	char path[SEGMENT_PATH];
	if (snprintf(path, sizeof path, "%s/%s", v->dir, name) >= (int)sizeof path) {
		return ERR_OK;
	}
	struct found f;
	if (listing_name(name, &f)) {
		struct stat st;
		if (f.has_mdb && stat(path, &st) == 0) {
			f.mdb_bytes = (uint64_t)st.st_size;
		}
		return add(f.is_cleaned ? &l->cleaned : &l->log, &f);
	}
	if (strstr(name, ".idx.tmp") != NULL || ends_with(name, ".tmp") ||
	    ends_with(name, ".mdb-lock")) {
		unlink(path);
	} else if (name[0] != '.') {
		log_warn("FOREIGN-FILE", "dir=%s name=%s", v->dir, log_quote(name));
	}
	return ERR_OK;
}

static int by_number(const void *a, const void *b)
{
	uint64_t na = ((const struct found *)a)->number;
	uint64_t nb = ((const struct found *)b)->number;
	return na < nb ? -1 : na > nb;
}

/* In order of number, the two files of each as one. */
static void put_together(struct found_list *l)
{
	if (l->n == 0) {
		return;
	}
	qsort(l->v, l->n, sizeof *l->v, by_number);
	size_t n = 1;
	for (size_t i = 1; i < l->n; i++) {
		struct found *last = &l->v[n - 1];
		if (l->v[i].number != last->number) {
			l->v[n++] = l->v[i];
			continue;
		}
		last->has_mdb |= l->v[i].has_mdb;
		last->has_idx |= l->v[i].has_idx;
		last->mdb_bytes += l->v[i].mdb_bytes;
	}
	l->n = n;
}

enum err listing_read(struct volume *v, struct listing *l, struct err_detail *d)
{
	DIR *dir = opendir(v->dir);
	if (dir == NULL) {
		return err_set(d, ERR_IO, "%s: %s", v->dir, strerror(errno));
	}
	enum err e = ERR_OK;
	struct dirent *entry;
	while (e == ERR_OK && (entry = readdir(dir)) != NULL) {
		e = list_one(v, l, entry->d_name);
	}
	closedir(dir);
	if (e != ERR_OK) {
		return err_set(d, e, "%s: out of memory", v->dir);
	}
	put_together(&l->log);
	put_together(&l->cleaned);
	return ERR_OK;
}

/* ---- against the manifest ---------------------------------------------------- */

/* Parts what is there into what is listed, with what is listed and lost, and leftovers.
 * What is at or above `from` is not listed and stays. *lost: how many; the first of them
 * in *first. */
static enum err part_list(struct found_list *l, bool is_cleaned, const struct manifest_ranges *listed,
			  uint64_t from, struct found_list *leftovers, size_t *lost,
			  struct found *first)
{
	struct found_list out = {0};
	size_t i = 0;
	enum err e = ERR_OK;
	*lost = 0;
	for (size_t k = 0; e == ERR_OK && k < listed->n; k++) {
		for (uint64_t no = listed->v[k].first; e == ERR_OK && no <= listed->v[k].last; no++) {
			for (; e == ERR_OK && i < l->n && l->v[i].number < no; i++) {
				e = add(leftovers, &l->v[i]);
			}
			bool is_there = i < l->n && l->v[i].number == no;
			struct found f = is_there ? l->v[i++]
						  : (struct found){.number = no,
								   .is_cleaned = is_cleaned};
			if (!is_there && (*lost)++ == 0) {
				*first = f;
			}
			if (*lost > LOST_MAX) {
				break;
			}
			if (e == ERR_OK) {
				e = add(&out, &f);
			}
		}
	}
	for (; e == ERR_OK && i < l->n; i++) {
		e = add(l->v[i].number < from ? leftovers : &out, &l->v[i]);
	}
	mem_free(l->v);
	*l = out;
	return e;
}

/* From the manifest's base on every number must be there. */
static enum err check_chain(const struct volume *v, const struct listing *l, bool is_old_copy,
			    struct err_detail *d)
{
	struct found missing = {.number = v->manifest.base};
	bool is_sealed = false;
	bool is_there = true;
	for (size_t i = 0; i < l->log.n && is_there; i++) {
		if (l->log.v[i].number >= v->manifest.base) {
			is_there = l->log.v[i].number == missing.number;
			missing.number += is_there ? 1 : 0;
			is_sealed = l->log.v[i].has_idx;
		}
	}
	/* A sealed last one had a next one, but in a restored directory. */
	bool has_any = missing.number > v->manifest.base;
	is_there = is_there && (v->manifest.is_complete || (has_any && !is_sealed));
	if (is_there) {
		return ERR_OK;
	}
	char path[SEGMENT_PATH];
	path_of(v, &missing, ".mdb", path);
	return err_set(d, ERR_CORRUPT, "%s: is missing%s", path,
		       is_old_copy ? ", or MANIFEST is an old copy" : "");
}

/* A crash while a segment was being made leaves a last file without its head:
 * nothing in it was ever acknowledged, so it goes. */
static enum err drop_headless_last(struct volume *v, struct listing *l, struct err_detail *d)
{
	const struct found *last = l->log.n > 0 ? &l->log.v[l->log.n - 1] : NULL;
	if (last == NULL || !last->has_mdb || last->has_idx || last->number < v->manifest.base) {
		return ERR_OK;
	}
	char path[SEGMENT_PATH];
	path_of(v, last, ".mdb", path);
	bool never;
	enum err e = env_never_committed(path, &never, d);
	if (e != ERR_OK || !never) {
		return e;
	}
	/* A predecessor is sealed, and the first manifest written, only when this file's
	 * head is durable. A restored directory has them before its first segment. */
	bool had_head = v->manifest.generation > 0 && last->number == v->manifest.base;
	had_head = had_head || (l->log.n > 1 && l->log.v[l->log.n - 2].has_idx);
	had_head = had_head && !v->manifest.is_complete;
	if (!v->options.was_unclean || had_head) {
		return err_set(d, ERR_CORRUPT, "%s: is empty, its content is lost", path);
	}
	log_warn("SEGMENT-UNFINISHED", "file=%s", path);
	if (unlink(path) != 0) {
		return err_set(d, ERR_IO, "%s: %s", path, strerror(errno));
	}
	l->log.n--;
	return file_sync_dir(v->dir, d);
}

enum err listing_check(struct volume *v, struct listing *l, struct err_detail *d)
{
	const struct manifest *m = &v->manifest;
	size_t lost_log;
	size_t lost_cleaned;
	struct found first_log;
	struct found first_cleaned;
	enum err e = part_list(&l->log, false, &m->log, m->base, &l->leftovers, &lost_log,
			       &first_log);
	size_t n_log = l->leftovers.n;
	if (e == ERR_OK) {
		e = part_list(&l->cleaned, true, &m->cleaned, UINT64_MAX, &l->leftovers,
			      &lost_cleaned, &first_cleaned);
	}
	if (e != ERR_OK) {
		return err_set(d, e, "%s: out of memory", v->dir);
	}
	/* Cleaned segments that it does not know beside lost ones that it does: it is older
	 * than what it names, and what it does not name may be all there is. */
	bool is_old_copy = false;
	for (size_t i = n_log; i < l->leftovers.n; i++) {
		/* Without an .idx it was never finished, and nothing was given up for it. */
		is_old_copy = is_old_copy || l->leftovers.v[i].has_idx;
	}
	if (lost_log + lost_cleaned > 0 &&
	    (is_old_copy || lost_log > LOST_MAX || lost_cleaned > LOST_MAX)) {
		char path[SEGMENT_PATH];
		path_of(v, lost_log > 0 ? &first_log : &first_cleaned, ".mdb", path);
		return err_set(d, ERR_CORRUPT, "%s: is missing%s", path,
			       is_old_copy ? ", and the MANIFEST is an old copy: it does not "
					     "list segments that are there"
					   : ", as are many others");
	}
	if (lost_log + lost_cleaned > 0) {
		/* What is not listed may be all that is left of what is lost. */
		l->leftovers.n = 0;
	}
	bool is_founded = v->manifest.generation == 0 && l->log.n == 0;
	if (is_founded) {
		return ERR_OK;
	}
	e = drop_headless_last(v, l, d);
	if (e != ERR_OK || (v->manifest.generation == 0 && l->log.n == 0)) {
		return e;
	}
	return check_chain(v, l, is_old_copy, d);
}

void listing_clear(struct volume *v, const struct listing *l)
{
	for (size_t i = 0; i < l->leftovers.n; i++) {
		char path[SEGMENT_PATH];
		path_of(v, &l->leftovers.v[i], ".mdb", path);
		unlink(path);
		log_info("SEGMENT-LEFTOVER", "file=%s", path);
		path_of(v, &l->leftovers.v[i], ".idx", path);
		unlink(path);
	}
}
