#include "ruin.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/volume/export.h"
#include "store/volume/manifest.h"

enum { STATE_ROWS = 40, RUIN_SEGMENT = 160 << 10, VALUE = 1500, PATH_ROOM = 4096 };

/* ---- files --------------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(in, 0);
	ck_assert_int_ge(out, 0);
	char room[1 << 16];
	ssize_t n;
	while ((n = read(in, room, sizeof room)) > 0) {
		ck_assert_int_eq(write(out, room, (size_t)n), n);
	}
	close(in);
	close(out);
}

static void copy_tree(const char *from, const char *to)
{
	(void)mkdir(to, 0700);
	DIR *dir = opendir(from);
	ck_assert_ptr_nonnull(dir);
	struct dirent *e;
	while ((e = readdir(dir)) != NULL) {
		char a[PATH_ROOM];
		char b[PATH_ROOM];
		struct stat st;
		snprintf(a, sizeof a, "%s/%s", from, e->d_name);
		snprintf(b, sizeof b, "%s/%s", to, e->d_name);
		if (e->d_name[0] == '.' || stat(a, &st) != 0) {
			continue;
		}
		S_ISDIR(st.st_mode) ? copy_tree(a, b) : copy_file(a, b);
	}
	closedir(dir);
}

static void remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		char sub[PATH_ROOM];
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
			continue;
		}
		snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
		if (unlink(sub) != 0) {
			remove_tree(sub);
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
	rmdir(path);
}

static void list_tree(struct ruin *r, const char *below)
{
	char path[PATH_ROOM];
	snprintf(path, sizeof path, "%s/%s", r->whole, below);
	DIR *dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	struct dirent *e;
	while ((e = readdir(dir)) != NULL) {
		char name[2 * RUIN_NAME];
		struct stat st;
		ck_assert_uint_lt(strlen(below) + strlen(e->d_name), RUIN_NAME - 1);
		snprintf(name, sizeof name, "%.60s%s%.60s", below, *below != '\0' ? "/" : "", e->d_name);
		snprintf(path, sizeof path, "%s/%s", r->whole, name);
		if (e->d_name[0] == '.' || stat(path, &st) != 0) {
			continue;
		}
		if (S_ISDIR(st.st_mode)) {
			list_tree(r, name);
			continue;
		}
		ck_assert_uint_lt(r->n_files, RUIN_FILES);
		snprintf(r->file[r->n_files++], RUIN_NAME, "%.63s", name);
	}
	closedir(dir);
}

void ruin_path(const struct ruin *r, const char *file, char *out, size_t n)
{
	snprintf(out, n, "%s/%s", r->bed.dir, file);
}

void ruin_copy(struct ruin *r)
{
	remove_tree(r->bed.dir);
	copy_tree(r->whole, r->bed.dir);
}

void ruin_take_older(struct ruin *r, const char *file)
{
	char from[PATH_ROOM];
	char to[PATH_ROOM];
	snprintf(from, sizeof from, "%s/%s", r->older, file);
	ruin_path(r, file, to, sizeof to);
	copy_file(from, to);
}

void ruin_swap(struct ruin *r, const char *a, const char *b)
{
	char pa[PATH_ROOM];
	char pb[PATH_ROOM];
	char aside[PATH_ROOM];
	ruin_path(r, a, pa, sizeof pa);
	ruin_path(r, b, pb, sizeof pb);
	ruin_path(r, "aside", aside, sizeof aside);
	ck_assert_int_eq(rename(pa, aside), 0);
	ck_assert_int_eq(rename(pb, pa), 0);
	ck_assert_int_eq(rename(aside, pb), 0);
}

/* ---- making it -------------------------------------------------------------------------- */

/* As after a few more changes of the list: a copy that is only one behind is what an
 * interrupted write leaves. */
static void age_manifest(struct bed *b)
{
	struct manifest m;
	bool is_whole;
	struct err_detail d;
	ck_assert_int_eq(manifest_read(b->dir, &m, &is_whole, &d), ERR_OK);
	m.generation += 5;
	ck_assert_int_eq(manifest_write(b->dir, &m, &d), ERR_OK);
	manifest_fini(&m);
}

static void save_state(struct ruin *r, bool exports)
{
	struct err_detail d = {{0}};
	struct bed *b = &r->bed;
	struct state *s;
	ck_assert_int_eq(state_open(b->dir, false, &s, &d), ERR_OK);
	state_begin(s);
	for (uint32_t i = 0; i < b->options.shards; i++) {
		state_shard(s, i);
		for (uint32_t k = 0; k < STATE_ROWS; k++) {
			uint8_t key[8];
			uint8_t content[100];
			put_u64(key, k);
			memset(content, (int)k, sizeof content);
			state_put(s, 17, span_of(key, sizeof key), span_of(content, sizeof content));
		}
		r->applied[i] = b->next_index[i] - 1;
		state_applied(s, r->applied[i], 1);
	}
	ck_assert_int_eq(state_commit(s, &d), ERR_OK);
	if (exports) {
		struct exports x = {0};
		ck_assert_int_eq(exports_open(b->dir, b->options.store_uuid, b->options.shards, &x, &d),
				 ERR_OK);
		ck_assert_int_eq(export_write(&x, b->dir, b->options.store_uuid, s, b->now_ms, &d),
				 ERR_OK);
		exports_fini(&x);
	}
	state_close(&s);
}

/* Partitions 0 to 3 in each segment up to `number`, which stays the active one. */
static void fill(struct bed *b, uint64_t number)
{
	for (uint32_t i = 0; !bed_has_file(b, number, ".mdb"); i++) {
		bed_append(b, i % RUIN_PARTS, 1 + (int32_t)(i % RUIN_PARTS), VALUE);
		struct bed_entry *e = bed_entry_begin(b, 0);
		bed_entry_command(e, VOLUME_ROWS, "rows of something");
		bed_submit(b, e);
		bed_wait(b);
	}
	for (uint32_t p = 0; p < RUIN_PARTS; p++) {
		bed_append(b, p, 2, VALUE);
	}
	ck_assert(!bed_has_file(b, number + 1, ".mdb"));
	for (uint64_t i = 1; i < number; i++) {
		if (!bed_has_file(b, i, ".mdb")) {
			continue;	/* the cleaner took it */
		}
		bed_wait_sealed(b, i);
	}
}

/* Most of what is there ends being of use, so that the cleaner makes a cleaned segment
 * of what is left. */
static void clean(struct ruin *r)
{
	struct bed *b = &r->bed;
	char path[PATH_ROOM];
	b->options.clean_pause_ms = 5;
	bed_open(b, false);
	for (uint32_t p = 0; p + 1 < RUIN_PARTS; p++) {
		r->start[p] = b->next_seq[p] - 2;
		volume_set_start(b->v, bed_part(p), r->start[p]);
	}
	for (uint32_t i = 0; i < b->options.shards; i++) {
		volume_set_floor(b->v, i, b->next_index[i] - 1);
	}
	ruin_path(r, r->cleaned, path, sizeof path);
	for (int i = 0; i < 20000 && (access(path, F_OK) != 0 || bed_has_file(b, 1, ".mdb")); i++) {
		usleep(1000);
	}
	ck_assert(access(path, F_OK) == 0 && !bed_has_file(b, 1, ".mdb"));
	bed_close(b);
	b->options.clean_pause_ms = 3600 * 1000;
}

void ruin_init(struct ruin *r)
{
	memset(r, 0, sizeof *r);
	struct bed *b = &r->bed;
	bed_init(b);
	bed_log_catch();
	b->options.segment_max_bytes = RUIN_SEGMENT;
	b->options.commit_max_bytes = 16 << 10;
	b->options.may_lack_manifest = true;
	bed_open(b, false);
	b->options.may_lack_manifest = false;
	fill(b, 3);
	bed_close(b);
	save_state(r, true);
	snprintf(r->older, sizeof r->older, "%s.older", b->dir);
	copy_tree(b->dir, r->older);
	snprintf(r->sealed, sizeof r->sealed, "segments/0000000004.mdb");
	snprintf(r->cleaned, sizeof r->cleaned, "segments/c0000000001.mdb");
	snprintf(r->active, sizeof r->active, "segments/0000000005.mdb");
	clean(r);
	age_manifest(b);
	bed_open(b, false);
	fill(b, 5);
	bed_close(b);
	save_state(r, true);
	snprintf(r->whole, sizeof r->whole, "%s.whole", b->dir);
	copy_tree(b->dir, r->whole);
	list_tree(r, "");
	r->knows_starts = true;
}

void ruin_fini(struct ruin *r)
{
	remove_tree(r->whole);
	remove_tree(r->older);
	bed_fini(&r->bed);
}

/* ---- verify ------------------------------------------------------------------------------- */

static void on_finding(void *arg, const struct verify_finding *f)
{
	struct ruin *r = arg;
	if (r->n_found < RUIN_FINDINGS) {
		struct ruin_finding *to = &r->found[r->n_found++];
		to->f = *f;
		snprintf(to->file, sizeof to->file, "%s", f->file);
		to->f.file = to->file;
	}
}

static bool on_start(void *arg, struct store_part part, int64_t *first_seq)
{
	const struct ruin *r = arg;
	*first_seq = r->start[(part.hub_id - 1) * 4 + part.partition];
	return true;
}

enum err ruin_verify(struct ruin *r, struct err_detail *d)
{
	struct verify_options o = {
		.dir = r->bed.dir,
		.shards = r->bed.options.shards,
		.has_state = true,
		.volumes = 1,
		.arg = r,
		.start = r->knows_starts ? on_start : NULL,
		.finding = on_finding,
	};
	memcpy(o.store_uuid, r->bed.options.store_uuid, sizeof o.store_uuid);
	r->n_found = 0;
	r->result = (struct verify_result){0};
	return volume_verify(&o, &r->result, d);
}

bool ruin_found(const struct ruin *r, const char *file)
{
	for (uint32_t i = 0; i < r->n_found; i++) {
		if (strcmp(r->found[i].file, file) == 0) {
			return true;
		}
	}
	return false;
}

bool ruin_found_any(const struct ruin *r, const char *file)
{
	size_t n = strcspn(file, ".");
	for (uint32_t i = 0; i < r->n_found; i++) {
		if (strncmp(r->found[i].file, file, n) == 0) {
			return true;
		}
	}
	return false;
}

bool ruin_is_lost(const struct ruin *r, uint32_t p, int64_t seq)
{
	struct store_part part = bed_part(p);
	for (uint32_t i = 0; i < r->n_found; i++) {
		const struct verify_finding *f = &r->found[i].f;
		if (f->has_part && store_part_key(f->part) == store_part_key(part) &&
		    f->first_seq <= seq && seq < f->end_seq) {
			return true;
		}
	}
	return false;
}

void ruin_print(const struct ruin *r)
{
	for (uint32_t i = 0; i < r->n_found; i++) {
		const struct verify_finding *f = &r->found[i].f;
		fprintf(stderr, "  %s: %s%s", r->found[i].file, f->what,
			f->is_repairable ? " (repairable)" : "");
		if (f->has_part) {
			fprintf(stderr, " [%u/%u %lld..%lld]", f->part.hub_id, f->part.partition,
				(long long)f->first_seq, (long long)f->end_seq - 1);
		}
		fprintf(stderr, "\n");
	}
}

/* ---- start-up ------------------------------------------------------------------------------ */

static void on_range(void *arg, const struct volume_range *range)
{
	struct ruin *r = arg;
	uint32_t p = (range->part.hub_id - 1) * 4 + range->part.partition;
	ck_assert_uint_lt(p, RUIN_PARTS);
	/* Else sequence numbers would be given out twice. */
	ck_assert(r->is_lenient || range->next_seq == r->bed.next_seq[p]);
}

/* Nothing is left out in silence. */
static int64_t read_part(struct ruin *r, uint32_t p)
{
	struct bed *b = &r->bed;
	int64_t bad = 0;
	for (int64_t at = r->start[p]; at < b->next_seq[p];) {
		struct volume_read rd = {
			.part = bed_part(p), .from = at, .limit = b->next_seq[p], .max_bytes = 1};
		enum err e = bed_read(b, &rd);
		if (e == ERR_CORRUPT) {
			ck_assert_uint_eq(rd.out.n, 0);
			at++;
			bad++;
			continue;
		}
		ck_assert_int_eq(e, ERR_OK);
		if (rd.out.n == 0 && r->is_lenient) {
			return bad + b->next_seq[p] - at;
		}
		ck_assert_uint_eq(rd.out.n, 1);
		ck_assert(r->is_lenient || rd.out.v[0].base_seq <= at);
		bed_check_batches(p, &rd.out);
		at = rd.out.v[0].base_seq + rd.out.v[0].count;
		store_batches_drop(&rd.out);
	}
	return bad;
}

bool ruin_open(struct ruin *r, int64_t *bad, struct err_detail *d)
{
	struct bed *b = &r->bed;
	*bad = 0;
	d->text[0] = '\0';
	if (bed_try_open(b, !r->was_clean, d) != ERR_OK) {
		return false;
	}
	for (uint32_t p = 0; p < RUIN_PARTS; p++) {
		volume_set_start(b->v, bed_part(p), r->start[p]);
	}
	volume_ranges(b->v, on_range, r);
	bed_start(b);
	for (uint32_t p = 0; p < RUIN_PARTS; p++) {
		*bad += read_part(r, p);
	}
	bed_close(b);
	return true;
}
