/* Several data directories of one store: who may stand where. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "store/dir.h"
#include "store/dir_version.h"
#include "test/lib/fake_sync.h"
#include "test/unit/store/store_bed.h"

Suite *dirs_suite(void);

enum { VOLUMES = 3, SHARDS = 8 };

struct place {
	struct bed bed;			/* its root is where all of them are */
	char path[6][96];
	const char *v[6];
};

static void place_init(struct place *p)
{
	bed_init(&p->bed);
	char root[sizeof p->bed.root];
	memcpy(root, p->bed.root, sizeof root);
	for (int i = 0; i < 6; i++) {
		snprintf(p->path[i], sizeof p->path[i], "%.63s/d%d", root, i);
		p->v[i] = p->path[i];
	}
}

static const char *below(const struct place *p, int at, const char *name)
{
	static char path[160];
	snprintf(path, sizeof path, "%s/%s", p->path[at], name);
	return path;
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static bool is_there(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0;
}

static void open_dirs(const struct place *p, uint32_t n, struct store_dirs *out)
{
	struct err_detail d = {""};
	enum err e = store_dirs_open(p->v, n, 1, SHARDS, out, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

static void stop(struct store_dirs *dirs)
{
	struct err_detail d = {""};
	ck_assert_int_eq(store_dirs_mark_clean(dirs, false, &d), ERR_OK);
	store_dirs_close(dirs);
}

/* What a volume leaves in its directory. */
static void make_volumes(const struct place *p)
{
	for (int i = 0; i < VOLUMES; i++) {
		write_text(below(p, i, "volume/MANIFEST"), "");
	}
}

/* Founds the first three, with something in each volume as the volume would have. */
static void found(struct place *p)
{
	struct store_dirs dirs;
	struct err_detail d = {""};
	open_dirs(p, VOLUMES, &dirs);
	ck_assert_int_eq(store_dirs_founded(&dirs, &d), ERR_OK);
	make_volumes(p);
	stop(&dirs);
}

static void refused(const char *const *paths, uint32_t n, enum err want, const char *text,
		    const char *more)
{
	struct store_dirs dirs;
	struct err_detail d = {""};
	enum err e = store_dirs_open(paths, n, 1, SHARDS, &dirs, &d);
	ck_assert_msg(e == want, "%s: %s", err_info(e)->name, d.text);
	ck_assert_msg(strstr(d.text, text) != NULL, "%s", d.text);
	ck_assert_msg(strstr(d.text, more) != NULL, "%s", d.text);
	ck_assert_ptr_null(strchr(d.text, '\n'));
	ck_assert_uint_eq(dirs.n, 0);
}

START_TEST(each_directory_is_labelled_with_its_place)
{
	struct place p;
	place_init(&p);
	found(&p);
	struct store_dirs dirs;
	open_dirs(&p, VOLUMES, &dirs);
	for (uint32_t i = 0; i < VOLUMES; i++) {
		struct stat st;
		ck_assert_uint_eq(dirs.v[i].ordinal, i);
		ck_assert_uint_eq(dirs.v[i].volumes, VOLUMES);
		ck_assert_uint_eq(dirs.v[i].version, STORE_DIR_VERSION);
		ck_assert_mem_eq(dirs.v[i].store_uuid, dirs.v[0].store_uuid, 16);
		ck_assert(!dirs.v[i].is_founding);
		ck_assert(!dirs.v[i].was_unclean);
		ck_assert_int_eq(stat(p.path[i], &st), 0);
		ck_assert_int_eq(st.st_mode & 0777, 0700);
		ck_assert_int_eq(stat(below(&p, (int)i, "VERSION"), &st), 0);
		ck_assert_int_eq(st.st_mode & 0777, 0600);
		ck_assert(!is_there(below(&p, (int)i, "VERSION.new")));
	}
	/* Each is locked for itself. */
	for (uint32_t i = 0; i < VOLUMES; i++) {
		const char *one[VOLUMES] = {p.v[3], p.v[4], p.v[i]};
		struct err_detail d = {""};
		struct store_dirs more;
		ck_assert_int_eq(store_dirs_open(one, VOLUMES, 1, SHARDS, &more, &d), ERR_IN_USE);
	}
	stop(&dirs);
	bed_fini(&p.bed);
}
END_TEST

START_TEST(wrong_places_are_refused_by_name)
{
	struct place p;
	place_init(&p);
	found(&p);
	const char *swapped[] = {p.v[0], p.v[2], p.v[1]};
	refused(swapped, 3, ERR_INVALID, "is volume 2", p.v[2]);
	const char *first[] = {p.v[1], p.v[0], p.v[2]};
	refused(first, 3, ERR_INVALID, "is volume 1", p.v[1]);
	refused(p.v, 2, ERR_INVALID, "volume 2 is missing", p.v[0]);
	refused(p.v, 1, ERR_INVALID, "3 volumes", p.v[0]);
	refused(p.v, 4, ERR_INVALID, "3 volumes", p.v[3]);
	ck_assert(!is_there(p.v[3]));
	const char *twice[] = {p.v[0], p.v[1], p.v[1]};
	refused(twice, 3, ERR_INVALID, "given twice", p.v[1]);
	char other[120];
	snprintf(other, sizeof other, "%s/../d1", p.path[0]);
	const char *hidden[] = {p.v[0], p.v[1], other};
	refused(hidden, 3, ERR_INVALID, "given twice", p.v[1]);
	const char *nowhere[] = {p.v[0], p.v[1], p.v[5]};
	refused(nowhere, 3, ERR_INVALID, "is not there", p.v[5]);
	ck_assert(!is_there(p.v[5]));
	/* Empty, as the place where a disk should be mounted. */
	ck_assert_int_eq(mkdir(p.v[5], 0700), 0);
	refused(nowhere, 3, ERR_INVALID, "mounted", p.v[5]);
	/* Nothing of all this made the stop unclean. */
	struct store_dirs dirs;
	open_dirs(&p, VOLUMES, &dirs);
	for (uint32_t i = 0; i < VOLUMES; i++) {
		ck_assert(!dirs.v[i].was_unclean);
	}
	stop(&dirs);
	bed_fini(&p.bed);
}
END_TEST

START_TEST(other_stores_directory_is_refused)
{
	struct place p;
	place_init(&p);
	found(&p);
	struct store_dirs dirs;
	struct err_detail d = {""};
	const char *theirs[] = {p.v[3], p.v[4], p.v[5]};
	ck_assert_int_eq(store_dirs_open(theirs, 3, 1, SHARDS, &dirs, &d), ERR_OK);
	ck_assert_int_eq(store_dirs_founded(&dirs, &d), ERR_OK);
	stop(&dirs);
	const char *mixed[] = {p.v[0], p.v[4], p.v[2]};
	refused(mixed, 3, ERR_INVALID, "another store", p.v[4]);
	/* The first one's disk is gone: it must not be founded beside the others. */
	char gone[120];
	snprintf(gone, sizeof gone, "%s/gone", p.bed.root);
	const char *lost[] = {gone, p.v[1], p.v[2]};
	refused(lost, 3, ERR_INVALID, "another store", p.v[1]);
	bed_fini(&p.bed);
}
END_TEST

START_TEST(directory_with_anything_in_it_is_not_founded)
{
	struct place p;
	place_init(&p);
	ck_assert_int_eq(mkdir(p.v[1], 0700), 0);
	write_text(below(&p, 1, "letter.txt"), "dear");
	refused(p.v, 3, ERR_INVALID, "not empty", p.v[1]);
	ck_assert(is_there(below(&p, 1, "letter.txt")));
	ck_assert_int_eq(unlink(below(&p, 1, "letter.txt")), 0);
	/* A fresh file system has this. */
	ck_assert_int_eq(mkdir(below(&p, 1, "lost+found"), 0700), 0);
	found(&p);
	bed_fini(&p.bed);
}
END_TEST

START_TEST(stop_is_orderly_only_for_those_that_were_there)
{
	struct place p;
	place_init(&p);
	found(&p);
	/* A copy of an earlier stop. */
	struct store_dirs dirs;
	char old[64] = "";
	FILE *f = fopen(below(&p, 2, "CLEAN"), "re");
	ck_assert_uint_gt(fread(old, 1, sizeof old - 1, f), 0);
	fclose(f);
	open_dirs(&p, VOLUMES, &dirs);
	ck_assert(!is_there(below(&p, 0, "CLEAN")));
	dirs.v[2].is_out = true;
	stop(&dirs);
	ck_assert(is_there(below(&p, 1, "CLEAN")));
	ck_assert(!is_there(below(&p, 2, "CLEAN")));
	write_text(below(&p, 2, "CLEAN"), old);
	open_dirs(&p, VOLUMES, &dirs);
	ck_assert(!dirs.v[0].was_unclean);
	ck_assert(!dirs.v[1].was_unclean);
	ck_assert(dirs.v[2].was_unclean);
	stop(&dirs);
	open_dirs(&p, VOLUMES, &dirs);
	ck_assert(!dirs.v[2].was_unclean);
	stop(&dirs);
	/* Without the first one's there is nothing to compare with. */
	ck_assert_int_eq(unlink(below(&p, 0, "CLEAN")), 0);
	open_dirs(&p, VOLUMES, &dirs);
	ck_assert(dirs.v[0].was_unclean);
	ck_assert(dirs.v[1].was_unclean);
	stop(&dirs);
	bed_fini(&p.bed);
}
END_TEST

static unsigned told;

static void on_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	told += level == LOG_ERROR && strstr(line, "STORE-VOLUME-OUT") != NULL;
}

START_TEST(damaged_label_leaves_a_further_one_out)
{
	struct place p;
	place_init(&p);
	found(&p);
	write_text(below(&p, 1, "VERSION"), "slui");
	struct store_dirs dirs;
	log_sink(on_line, NULL);
	open_dirs(&p, VOLUMES, &dirs);
	log_sink(NULL, NULL);
	ck_assert_uint_eq(told, 1);
	ck_assert(dirs.v[1].is_out);
	ck_assert(!dirs.v[2].is_out);
	stop(&dirs);
	ck_assert(is_there(below(&p, 1, "CLEAN")));	/* it was not touched */
	write_text(below(&p, 0, "VERSION"), "slui");
	refused(p.v, 3, ERR_CORRUPT, "VERSION", p.v[0]);
	bed_fini(&p.bed);
}
END_TEST

/* Each sync of a founding, labels and all, is the last thing the process did. */
START_TEST(founding_that_ends_at_any_sync_is_begun_again_or_ended)
{
	unsigned ended = 0;
	for (unsigned at = 1; ended < 2; at++) {
		struct place p;
		struct err_detail d = {""};
		place_init(&p);
		pid_t child = fork();
		if (child == 0) {
			struct store_dirs dirs;
			fake_sync_exit_at(at);
			open_dirs(&p, VOLUMES, &dirs);
			ck_assert_int_eq(store_dirs_founded(&dirs, &d), ERR_OK);
			_exit(7);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFEXITED(status));
		ended += WEXITSTATUS(status) == 7;
		bool was_founded = is_there(below(&p, 0, "VERSION"));
		struct store_dirs dirs;
		if (was_founded) {
			make_volumes(&p);
		}
		open_dirs(&p, VOLUMES, &dirs);
		ck_assert_int_eq(dirs.v[0].is_founding, !was_founded);
		ck_assert_int_eq(store_dirs_founded(&dirs, &d), ERR_OK);
		for (int i = 0; i < VOLUMES; i++) {
			ck_assert(is_there(below(&p, i, "VERSION")));
			ck_assert(!is_there(below(&p, i, "VERSION.new")));
		}
		make_volumes(&p);
		stop(&dirs);
		open_dirs(&p, VOLUMES, &dirs);
		stop(&dirs);
		bed_fini(&p.bed);
		ck_assert_uint_lt(at, 60);
	}
}
END_TEST

START_TEST(looking_changes_nothing)
{
	struct place p;
	place_init(&p);
	struct store_dirs dirs;
	struct err_detail d = {""};
	ck_assert_int_eq(store_dirs_look(p.v, VOLUMES, &dirs, &d), ERR_NOT_FOUND);
	ck_assert(!is_there(p.v[0]));
	found(&p);
	ck_assert_int_eq(store_dirs_look(p.v, VOLUMES, &dirs, &d), ERR_OK);
	ck_assert(!dirs.v[1].was_unclean);
	struct store_dirs more;
	ck_assert_int_eq(store_dirs_open(p.v, VOLUMES, 1, SHARDS, &more, &d), ERR_IN_USE);
	store_dirs_close(&dirs);
	ck_assert(is_there(below(&p, 1, "CLEAN")));
	const char *lost[] = {p.v[0], p.v[1], p.v[5]};
	ck_assert_int_eq(store_dirs_look(lost, VOLUMES, &dirs, &d), ERR_NOT_FOUND);
	bed_fini(&p.bed);
}
END_TEST

/* As a program that knew format 3 left it. */
static void age(const struct place *p, int at)
{
	char text[STORE_VERSION_TEXT_MAX] = "";
	FILE *f = fopen(below(p, at, "VERSION"), "r+e");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_gt(fread(text, 1, sizeof text - 1, f), 0);
	rewind(f);
	ck_assert_int_eq(strchr(text, '\n')[-1], '0' + STORE_DIR_VERSION);
	strchr(text, '\n')[-1] = '3';
	fputs(text, f);
	fclose(f);
}

static void assert_formats(const struct place *p, const uint32_t want[VOLUMES])
{
	struct store_dirs dirs;
	struct err_detail d = {""};
	ck_assert_int_eq(store_dirs_look(p->v, VOLUMES, &dirs, &d), ERR_OK);
	for (int i = 0; i < VOLUMES; i++) {
		ck_assert_uint_eq(dirs.v[i].version, want[i]);
	}
	store_dirs_close(&dirs);
}

START_TEST(all_older_directories_are_relabelled_the_first_one_first)
{
	struct place p;
	place_init(&p);
	found(&p);
	for (int i = 0; i < VOLUMES; i++) {
		age(&p, i);
	}
	const uint32_t older[VOLUMES] = {3, 3, 3};
	const uint32_t partly[VOLUMES] = {STORE_DIR_VERSION, 3, STORE_DIR_VERSION};
	const uint32_t all[VOLUMES] = {STORE_DIR_VERSION, STORE_DIR_VERSION, STORE_DIR_VERSION};
	assert_formats(&p, older);
	struct store_dirs dirs;
	struct err_detail d = {""};
	/* Without the first one nothing is changed. */
	ck_assert_int_eq(mkdir(below(&p, 0, "VERSION.next"), 0700), 0);
	open_dirs(&p, VOLUMES, &dirs);
	ck_assert_int_eq(store_dirs_upgrade(&dirs, &d), ERR_IO);
	stop(&dirs);
	ck_assert_int_eq(rmdir(below(&p, 0, "VERSION.next")), 0);
	assert_formats(&p, older);
	/* A further one is left for the next time. */
	ck_assert_int_eq(mkdir(below(&p, 1, "VERSION.next"), 0700), 0);
	open_dirs(&p, VOLUMES, &dirs);
	ck_assert_int_eq(store_dirs_upgrade(&dirs, &d), ERR_OK);
	ck_assert_str_eq(d.text, "");
	stop(&dirs);
	ck_assert_int_eq(rmdir(below(&p, 1, "VERSION.next")), 0);
	assert_formats(&p, partly);
	open_dirs(&p, VOLUMES, &dirs);
	ck_assert_int_eq(store_dirs_upgrade(&dirs, &d), ERR_OK);
	stop(&dirs);
	assert_formats(&p, all);
	bed_fini(&p.bed);
}
END_TEST

START_TEST(number_of_directories_is_bounded)
{
	struct place p;
	place_init(&p);
	const char *many[LIMIT_VOLUMES + 1];
	for (int i = 0; i <= LIMIT_VOLUMES; i++) {
		many[i] = p.v[0];
	}
	refused(many, LIMIT_VOLUMES + 1, ERR_INVALID, "data directories", "17");
	refused(many, 0, ERR_INVALID, "data directories", "0");
	/* One for each shard at most. */
	struct store_dirs dirs;
	struct err_detail d = {""};
	ck_assert_int_eq(store_dirs_open(p.v, 3, 1, 2, &dirs, &d), ERR_INVALID);
	ck_assert_int_eq(store_dirs_open(p.v, 3, 1, 3, &dirs, &d), ERR_OK);
	store_dirs_close(&dirs);
	bed_fini(&p.bed);
}
END_TEST

Suite *dirs_suite(void)
{
	Suite *s = suite_create("dirs");
	TCase *t = tcase_create("dirs");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, each_directory_is_labelled_with_its_place);
	tcase_add_test(t, wrong_places_are_refused_by_name);
	tcase_add_test(t, other_stores_directory_is_refused);
	tcase_add_test(t, directory_with_anything_in_it_is_not_founded);
	tcase_add_test(t, stop_is_orderly_only_for_those_that_were_there);
	tcase_add_test(t, damaged_label_leaves_a_further_one_out);
	tcase_add_test(t, founding_that_ends_at_any_sync_is_begun_again_or_ended);
	tcase_add_test(t, looking_changes_nothing);
	tcase_add_test(t, all_older_directories_are_relabelled_the_first_one_first);
	tcase_add_test(t, number_of_directories_is_bounded);
	suite_add_tcase(s, t);
	return s;
}
