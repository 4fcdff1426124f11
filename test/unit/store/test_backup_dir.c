/* The directory that holds a backup, filled from files that stand for a store's. */

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/backup_copy.h"
#include "store/dir.h"
#include "store/dir_version.h"
#include "test/lib/fake_sync.h"
#include "test/unit/store/store_bed.h"

Suite *backup_dir_suite(void);

static const char uuid[] = "00010203-0405-4607-8809-0a0b0c0d0e0f";

struct copy_bed {
	struct bed bed;
	char data[2][96];	/* the store's data directories */
	const char *dirs[2];
	char backup[96];
	char to[2][96];		/* restored */
	const char *restored[2];
	struct backup_set set;
	uint64_t stepped;
	uint64_t stop_after;	/* the step fails after so many bytes; 0: never */
};

static void write_text(const char *dir, const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static bool has_text(const char *dir, const char *name, const char *text)
{
	char path[256];
	char got[256] = "";
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "re");
	if (f == NULL) {
		return false;
	}
	size_t n = fread(got, 1, sizeof got - 1, f);
	fclose(f);
	got[n] = '\0';
	return strcmp(got, text) == 0;
}

static bool is_there(const char *dir, const char *name)
{
	char path[256];
	struct stat st;
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return stat(path, &st) == 0;
}

/* A file of the store, listed. */
static void add(struct copy_bed *b, uint32_t volume, const char *path, const char *text)
{
	struct err_detail d = {""};
	char own[BACKUP_PATH];
	snprintf(own, sizeof own, "%s", path);
	write_text(b->data[volume], path, text);
	const struct backup_file f = {.path = own,
				      .source = own,
				      .volume = volume,
				      .size = strlen(text),
				      .crc = crc32c(0, text, strlen(text))};
	ck_assert_int_eq(backup_set_add(&b->set, &f, &d), ERR_OK);
}

/* What a backup at some time would list; `round` is in what changes. */
static void list(struct copy_bed *b, int round)
{
	char text[STORE_VERSION_TEXT_MAX];
	char more[64];
	struct err_detail d = {""};
	backup_set_fini(&b->set);
	snprintf(b->set.made, sizeof b->set.made, "2026-01-0%dT00:00:00.000Z", round);
	snprintf(b->set.store_uuid, sizeof b->set.store_uuid, "%s", uuid);
	b->set.volumes = 2;
	for (uint32_t i = 0; i < 2; i++) {
		struct store_dir dir = {.node_id = 1, .shards = 4, .volumes = 2, .ordinal = i};
		for (int k = 0; k < 16; k++) {
			dir.store_uuid[k] = (uint8_t)(k == 6 ? 0x46 : k == 8 ? 0x88 : k);
		}
		dir.store_uuid[7] = 7;
		store_version_print(&dir, text);
		add(b, i, "VERSION", text);
		add(b, i, "volume/segments/0000000001.mdb", "first segment");
		snprintf(more, sizeof more, "manifest %d", round);
		add(b, i, "volume/MANIFEST", more);
		if (round > 1) {
			add(b, i, "volume/segments/0000000002.mdb", "second segment");
		}
	}
	snprintf(more, sizeof more, "volume/export/000000000%d.exp", round);
	add(b, 0, more, "export");
	ck_assert_int_eq(backup_set_complete(&b->set, &d), ERR_OK);
}

static void copy_bed_init(struct copy_bed *b)
{
	static const char *const below[] = {"", "/volume", "/volume/segments", "/volume/export"};
	*b = (struct copy_bed){.stepped = 0};
	bed_init(&b->bed);
	char root[sizeof b->bed.root];
	memcpy(root, b->bed.root, sizeof root);
	for (int i = 0; i < 2; i++) {
		snprintf(b->data[i], sizeof b->data[i], "%.63s/data%d", root, i);
		snprintf(b->to[i], sizeof b->to[i], "%.63s/new%d", root, i);
		b->dirs[i] = b->data[i];
		b->restored[i] = b->to[i];
		for (int k = 0; k < 4; k++) {
			char path[160];
			snprintf(path, sizeof path, "%s%s", b->data[i], below[k]);
			ck_assert_int_eq(mkdir(path, 0700), 0);
		}
	}
	snprintf(b->backup, sizeof b->backup, "%.63s/backup", root);
	list(b, 1);
}

static void copy_bed_fini(struct copy_bed *b)
{
	backup_set_fini(&b->set);
	bed_fini(&b->bed);
}

static enum err on_step(void *arg, uint64_t bytes, struct err_detail *d)
{
	struct copy_bed *b = arg;
	b->stepped += bytes;
	return b->stop_after > 0 && b->stepped >= b->stop_after
		       ? err_set(d, ERR_STOPPING, "interrupted")
		       : ERR_OK;
}

static enum err fill(struct copy_bed *b, struct err_detail *d)
{
	struct backup_dir to;
	const struct backup_progress p = {.step = on_step, .arg = b};
	b->stepped = 0;
	enum err e = backup_dir_open(b->backup, true, &to, d);
	if (e == ERR_OK) {
		e = backup_dir_fill(&to, &b->set, b->dirs, &p, d);
		backup_dir_close(&to);
	}
	return e;
}

static enum err restore(struct copy_bed *b, uint32_t n, struct err_detail *d)
{
	struct backup_dir from;
	const struct backup_progress p = {.step = on_step, .arg = b};
	b->stepped = 0;
	enum err e = backup_dir_open(b->backup, false, &from, d);
	if (e == ERR_OK) {
		e = backup_dir_restore(&from, b->restored, n, &p, d);
		backup_dir_close(&from);
	}
	return e;
}

static void fill_ok(struct copy_bed *b)
{
	struct err_detail d = {""};
	enum err e = fill(b, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

static void restore_ok(struct copy_bed *b)
{
	struct err_detail d = {""};
	enum err e = restore(b, 2, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

static unsigned files;

static int count_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)path;
	(void)st;
	(void)at;
	files += type == FTW_F;
	return 0;
}

static unsigned count_files(const char *dir)
{
	files = 0;
	(void)nftw(dir, count_file, 8, FTW_PHYS);
	return files;
}

/* ---- the list ------------------------------------------------------------------------- */

START_TEST(list_text_round_trips_and_any_change_shows)
{
	struct copy_bed b;
	copy_bed_init(&b);
	struct str text = {0};
	struct err_detail d = {""};
	struct backup_set back;
	backup_set_print(&b.set, &text);
	ck_assert(!text.bad);
	ck_assert_int_eq(backup_set_parse(span_of(text.p, text.len), &back, &d), ERR_OK);
	ck_assert_uint_eq(back.n, b.set.n);
	ck_assert_uint_eq(back.volumes, 2);
	ck_assert_str_eq(back.made, b.set.made);
	for (size_t i = 0; i < back.n; i++) {
		ck_assert_ptr_nonnull(backup_set_find(&b.set, &back.v[i]));
	}
	backup_set_fini(&back);
	for (size_t i = 0; i < text.len; i++) {
		ck_assert_int_ne(backup_set_parse(span_of(text.p, i), &back, &d), ERR_OK);
		text.p[i] = (char)(text.p[i] ^ 1);
		ck_assert_int_ne(backup_set_parse(span_of(text.p, text.len), &back, &d), ERR_OK);
		text.p[i] = (char)(text.p[i] ^ 1);
	}
	str_fini(&text);
	const char *newer = "sluice-backup 2\n";
	ck_assert_int_eq(backup_set_parse(span_str(newer), &back, &d), ERR_VERSION);
	copy_bed_fini(&b);
}
END_TEST

START_TEST(paths_that_lead_elsewhere_are_refused)
{
	static const char *const bad[] = {"",	   "/etc/passwd", "../x",      "a/../b", "a//b",
					  "a/",	   ".hidden",	  "a/.b",      "a b",	 "a\nb",
					  "a/./b", "volume/..",	  "\xc3\xa4/b"};
	struct backup_set set = {.n = 0};
	struct err_detail d = {""};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char path[BACKUP_PATH];
		snprintf(path, sizeof path, "%s", bad[i]);
		const struct backup_file f = {.path = path};
		ck_assert_int_eq(backup_set_add(&set, &f, &d), ERR_INVALID);
	}
	char ok[] = "volume/a.b-c_D/0.x";
	struct backup_file f = {.path = ok};
	ck_assert_int_eq(backup_set_add(&set, &f, &d), ERR_OK);
	f.volume = LIMIT_VOLUMES;
	ck_assert_int_eq(backup_set_add(&set, &f, &d), ERR_INVALID);
	backup_set_fini(&set);
	const char *lines = "0 VERSION 3 01234567 VERSION\n0 a 3 01234567 pinned/a\n";
	ck_assert_int_eq(backup_set_add_lines(&set, span_str(lines), &d), ERR_OK);
	ck_assert_uint_eq(set.n, 2);
	ck_assert_str_eq(set.v[1].source, "pinned/a");
	ck_assert_int_eq(backup_set_add_lines(&set, span_str("0 a 3 0123456 a\n"), &d), ERR_INVALID);
	ck_assert_int_eq(backup_set_add_lines(&set, span_str("0 a -3 01234567 a\n"), &d),
			 ERR_INVALID);
	backup_set_fini(&set);
}
END_TEST

/* ---- filling -------------------------------------------------------------------------- */

START_TEST(backup_restores_and_keeps_the_latest_only)
{
	struct copy_bed b;
	copy_bed_init(&b);
	fill_ok(&b);
	list(&b, 2);
	struct backup_dir to;
	struct err_detail d = {""};
	ck_assert_int_eq(backup_dir_open(b.backup, true, &to, &d), ERR_OK);
	ck_assert_uint_eq(backup_dir_missing(&to, &b.set),
			  2 * (strlen("second segment") + strlen("manifest 2")) + strlen("export"));
	backup_dir_close(&to);
	fill_ok(&b);
	/* What is listed, the list and the lock. */
	ck_assert_uint_eq(count_files(b.backup), b.set.n + 2);
	restore_ok(&b);
	ck_assert(has_text(b.to[1], "volume/segments/0000000002.mdb", "second segment"));
	ck_assert(has_text(b.to[0], "volume/MANIFEST", "manifest 2"));
	ck_assert(has_text(b.to[0], "volume/MANIFEST.copy", "manifest 2"));
	ck_assert(is_there(b.to[0], "volume/export/0000000002.exp"));
	ck_assert(!is_there(b.to[0], "volume/export/0000000001.exp"));
	struct store_dirs dirs;
	ck_assert_int_eq(store_dirs_look(b.restored, 2, &dirs, &d), ERR_OK);
	ck_assert(dirs.v[0].was_unclean);
	ck_assert_uint_eq(dirs.v[1].ordinal, 1);
	uint8_t zero[16] = {0};
	ck_assert_mem_ne(dirs.v[0].cluster_uuid, zero, 16);	/* another one */
	ck_assert_mem_eq(dirs.v[0].cluster_uuid, dirs.v[1].cluster_uuid, 16);
	store_dirs_close(&dirs);
	copy_bed_fini(&b);
}
END_TEST

START_TEST(damaged_source_is_named_and_the_former_backup_stays)
{
	struct copy_bed b;
	struct err_detail d = {""};
	copy_bed_init(&b);
	fill_ok(&b);
	list(&b, 2);
	write_text(b.data[1], "volume/segments/0000000002.mdb", "seconD segment");
	ck_assert_int_eq(fill(&b, &d), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(d.text, "volume/segments/0000000002.mdb"));
	restore_ok(&b);
	ck_assert(has_text(b.to[0], "volume/MANIFEST", "manifest 1"));
	copy_bed_fini(&b);
}
END_TEST

START_TEST(interrupted_backup_leaves_the_former_one_and_goes_on)
{
	struct copy_bed b;
	struct err_detail d = {""};
	copy_bed_init(&b);
	b.stop_after = 100;
	ck_assert_int_eq(fill(&b, &d), ERR_STOPPING);
	ck_assert(is_there(b.backup, "UNFINISHED"));
	ck_assert_int_eq(restore(&b, 2, &d), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(d.text, "not finished"));
	b.stop_after = 0;
	fill_ok(&b);
	ck_assert(!is_there(b.backup, "UNFINISHED"));
	list(&b, 2);
	b.stop_after = 1;
	ck_assert_int_eq(fill(&b, &d), ERR_STOPPING);
	b.stop_after = 0;
	restore_ok(&b);
	ck_assert(has_text(b.to[0], "volume/MANIFEST", "manifest 1"));
	fill_ok(&b);
	ck_assert_uint_eq(count_files(b.backup), b.set.n + 2);
	copy_bed_fini(&b);
}
END_TEST

/* The process ends at each sync of the second backup: one of the two is whole. */
START_TEST(backup_that_ends_at_any_sync_leaves_one_whole)
{
	bool ended = false;
	for (unsigned at = 1; !ended; at++) {
		struct copy_bed b;
		copy_bed_init(&b);
		fill_ok(&b);
		list(&b, 2);
		pid_t child = fork();
		if (child == 0) {
			fake_sync_exit_at(at);
			fill_ok(&b);
			_exit(7);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFEXITED(status));
		ended = WEXITSTATUS(status) == 7;
		restore_ok(&b);
		bool is_second = has_text(b.to[0], "volume/MANIFEST", "manifest 2");
		ck_assert(is_second || has_text(b.to[0], "volume/MANIFEST", "manifest 1"));
		ck_assert_int_eq(is_second, is_there(b.to[1], "volume/segments/0000000002.mdb"));
		ck_assert(is_second || !ended);
		fill_ok(&b);
		ck_assert_uint_eq(count_files(b.backup), b.set.n + 2);
		copy_bed_fini(&b);
		ck_assert_uint_lt(at, 100);
	}
}
END_TEST

START_TEST(only_directories_of_backups_are_filled)
{
	struct copy_bed b;
	struct err_detail d = {""};
	copy_bed_init(&b);
	ck_assert_int_eq(mkdir(b.backup, 0700), 0);
	write_text(b.backup, "letter.txt", "dear");
	ck_assert_int_eq(fill(&b, &d), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(d.text, b.backup));
	char path[160];
	snprintf(path, sizeof path, "%s/letter.txt", b.backup);
	ck_assert_int_eq(unlink(path), 0);
	fill_ok(&b);
	/* Two at a time. */
	struct backup_dir to;
	ck_assert_int_eq(backup_dir_open(b.backup, true, &to, &d), ERR_OK);
	ck_assert_int_eq(fill(&b, &d), ERR_IN_USE);
	backup_dir_close(&to);
	/* Another store's. */
	list(&b, 2);
	b.set.store_uuid[0] = '1';
	ck_assert_int_eq(fill(&b, &d), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(d.text, "another store"));
	write_text(b.backup, "BACKUP", "sluice-backup 1\n");
	ck_assert_int_eq(fill(&b, &d), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(d.text, "BACKUP"));
	copy_bed_fini(&b);
}
END_TEST

static unsigned told;

static void on_damage(void *arg, const char *dir, const char *path)
{
	(void)arg;
	ck_assert_ptr_nonnull(strstr(dir, "/data1"));
	ck_assert_ptr_nonnull(strstr(path, "volume/segments/000000000"));
	told++;
}

START_TEST(damage_that_is_accepted_is_copied_as_it_is)
{
	struct copy_bed b;
	struct backup_dir to;
	struct err_detail d = {""};
	char path[200];
	const struct backup_progress none = {.step = NULL};
	copy_bed_init(&b);
	list(&b, 2);
	write_text(b.data[1], "volume/segments/0000000001.mdb", "fiRst segment, longer");
	snprintf(path, sizeof path, "%s/volume/segments/0000000002.mdb", b.data[1]);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(backup_dir_open(b.backup, true, &to, &d), ERR_OK);
	size_t n = b.set.n;
	ck_assert_int_eq(backup_dir_accept_damage(&to, &b.set, b.dirs, &none, on_damage, NULL, &d),
			 ERR_OK);
	ck_assert_uint_eq(told, 2);
	ck_assert_uint_eq(b.set.n, n - 1);
	ck_assert_int_eq(backup_dir_fill(&to, &b.set, b.dirs, &none, &d), ERR_OK);
	backup_dir_close(&to);
	restore_ok(&b);
	ck_assert(has_text(b.to[1], "volume/segments/0000000001.mdb", "fiRst segment, longer"));
	ck_assert(!is_there(b.to[1], "volume/segments/0000000002.mdb"));
	ck_assert(has_text(b.to[0], "volume/segments/0000000002.mdb", "second segment"));
	/* Only of segments. */
	list(&b, 3);
	write_text(b.data[1], "volume/MANIFEST", "manifest x");
	ck_assert_int_eq(backup_dir_open(b.backup, true, &to, &d), ERR_OK);
	ck_assert_int_eq(backup_dir_accept_damage(&to, &b.set, b.dirs, &none, on_damage, NULL, &d),
			 ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(d.text, "MANIFEST"));
	backup_dir_close(&to);
	copy_bed_fini(&b);
}
END_TEST

/* ---- restoring -------------------------------------------------------------------------- */

static void assert_untouched(const struct copy_bed *b)
{
	for (int i = 0; i < 2; i++) {
		ck_assert(!is_there(b->to[i], "VERSION"));
		ck_assert(!is_there(b->to[i], "volume"));
		ck_assert_uint_le(count_files(b->to[i]), 1);	/* LOCK */
	}
}

START_TEST(damaged_backup_is_refused_naming_the_file)
{
	struct copy_bed b;
	struct err_detail d = {""};
	copy_bed_init(&b);
	fill_ok(&b);
	for (size_t i = 0; i < b.set.n; i++) {
		const struct backup_file *f = &b.set.v[i];
		char name[BACKUP_NAME];
		char path[512];
		backup_name(f, name);
		snprintf(path, sizeof path, "%s/%s", b.backup, name);
		FILE *file = fopen(path, "r+");
		ck_assert_ptr_nonnull(file);
		int c = fgetc(file);
		rewind(file);
		fputc(c ^ 1, file);
		fclose(file);
		ck_assert_int_eq(restore(&b, 2, &d), ERR_CORRUPT);
		ck_assert_msg(strstr(d.text, f->path) != NULL, "%s", d.text);
		assert_untouched(&b);
		char aside[520];
		snprintf(aside, sizeof aside, "%s.x", path);
		ck_assert_int_eq(rename(path, aside), 0);
		ck_assert_int_eq(restore(&b, 2, &d), ERR_CORRUPT);
		ck_assert_msg(strstr(d.text, f->path) != NULL, "%s", d.text);
		assert_untouched(&b);
		ck_assert_int_eq(rename(aside, path), 0);
		file = fopen(path, "r+");
		fputc(c, file);
		fclose(file);
	}
	restore_ok(&b);
	copy_bed_fini(&b);
}
END_TEST

START_TEST(restore_takes_as_many_empty_directories_as_volumes)
{
	struct copy_bed b;
	struct err_detail d = {""};
	copy_bed_init(&b);
	fill_ok(&b);
	ck_assert_int_eq(restore(&b, 1, &d), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(d.text, "2 volumes"));
	ck_assert(!is_there(b.to[0], ""));
	ck_assert_int_eq(mkdir(b.to[1], 0700), 0);
	write_text(b.to[1], "letter.txt", "dear");
	ck_assert_int_eq(restore(&b, 2, &d), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(d.text, b.to[1]));
	ck_assert(!is_there(b.to[0], "volume"));
	char path[160];
	snprintf(path, sizeof path, "%s/letter.txt", b.to[1]);
	ck_assert_int_eq(unlink(path), 0);
	b.restored[1] = b.to[0];
	ck_assert_int_eq(restore(&b, 2, &d), ERR_EXISTS);
	b.restored[1] = b.to[1];
	b.stop_after = 60;
	ck_assert_int_eq(restore(&b, 2, &d), ERR_STOPPING);
	assert_untouched(&b);
	b.stop_after = 0;
	restore_ok(&b);
	ck_assert_int_eq(restore(&b, 2, &d), ERR_EXISTS);
	copy_bed_fini(&b);
}
END_TEST

/* One that the process left unfinished is no store. */
START_TEST(restore_that_ends_at_any_sync_is_not_taken_for_a_store)
{
	bool ended = false;
	for (unsigned at = 1; !ended; at++) {
		struct copy_bed b;
		struct err_detail d = {""};
		struct store_dirs dirs;
		copy_bed_init(&b);
		fill_ok(&b);
		pid_t child = fork();
		if (child == 0) {
			fake_sync_exit_at(at);
			restore_ok(&b);
			_exit(7);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFEXITED(status));
		ended = WEXITSTATUS(status) == 7;
		bool is_store = is_there(b.to[0], "VERSION");
		bool has_volume = is_there(b.to[0], "volume");
		ck_assert(is_store || !ended);
		enum err e = store_dirs_open(b.restored, 2, 0, 4, &dirs, &d);
		if (is_store) {
			ck_assert_msg(e == ERR_OK, "%s", d.text);
			ck_assert(!dirs.v[0].is_founding);
		} else if (has_volume) {
			ck_assert_int_ne(e, ERR_OK);
		}
		if (e == ERR_OK) {
			store_dirs_close(&dirs);
		}
		copy_bed_fini(&b);
		ck_assert_uint_lt(at, 100);
	}
}
END_TEST

/* Each allocation fails once. */
START_TEST(short_memory_is_one_error_and_does_no_harm)
{
	struct copy_bed b;
	copy_bed_init(&b);
	fill_ok(&b);
	list(&b, 2);
	for (int restoring = 0; restoring < 2; restoring++) {
		bool fired = true;
		for (long n = 1; fired; n++) {
			struct err_detail d = {""};
			mem_fault_at(n);
			enum err e = restoring ? restore(&b, 2, &d) : fill(&b, &d);
			fired = mem_fault_fired();
			mem_fault_at(0);
			ck_assert_msg(e == (fired ? ERR_NOMEM : ERR_OK), "%s: %s", err_info(e)->name,
				      d.text);
			ck_assert(!fired || d.text[0] != '\0');
			ck_assert_int_lt(n, 500);
		}
	}
	ck_assert(has_text(b.to[0], "volume/MANIFEST", "manifest 2"));
	copy_bed_fini(&b);
}
END_TEST

Suite *backup_dir_suite(void)
{
	Suite *s = suite_create("backup_dir");
	TCase *t = tcase_create("backup_dir");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, list_text_round_trips_and_any_change_shows);
	tcase_add_test(t, paths_that_lead_elsewhere_are_refused);
	tcase_add_test(t, backup_restores_and_keeps_the_latest_only);
	tcase_add_test(t, damaged_source_is_named_and_the_former_backup_stays);
	tcase_add_test(t, damage_that_is_accepted_is_copied_as_it_is);
	tcase_add_test(t, interrupted_backup_leaves_the_former_one_and_goes_on);
	tcase_add_test(t, backup_that_ends_at_any_sync_leaves_one_whole);
	tcase_add_test(t, only_directories_of_backups_are_filled);
	tcase_add_test(t, damaged_backup_is_refused_naming_the_file);
	tcase_add_test(t, restore_takes_as_many_empty_directories_as_volumes);
	tcase_add_test(t, restore_that_ends_at_any_sync_is_not_taken_for_a_store);
	tcase_add_test(t, short_memory_is_one_error_and_does_no_harm);
	suite_add_tcase(s, t);
	return s;
}
