#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/dir.h"
#include "store/dir_version.h"
#include "test/lib/fake_sync.h"
#include "test/unit/store/store_bed.h"

Suite *dir_suite(void);

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

START_TEST(version_text_round_trips)
{
	struct store_dir dir = {.node_id = UINT64_MAX,
				.shards = LIMIT_SHARDS,
				.volumes = LIMIT_VOLUMES,
				.ordinal = LIMIT_VOLUMES - 1};
	for (int i = 0; i < 16; i++) {
		dir.cluster_uuid[i] = (uint8_t)(i * 17);
		dir.store_uuid[i] = (uint8_t)(255 - i);
	}
	char text[STORE_VERSION_TEXT_MAX];
	store_version_print(&dir, text);
	struct store_dir back = {0};
	struct err_detail d = {""};
	ck_assert_int_eq(store_version_parse(span_str(text), &back, &d), ERR_OK);
	ck_assert_mem_eq(back.cluster_uuid, dir.cluster_uuid, 16);
	ck_assert_mem_eq(back.store_uuid, dir.store_uuid, 16);
	ck_assert_uint_eq(back.node_id, dir.node_id);
	ck_assert_uint_eq(back.shards, dir.shards);
	ck_assert_uint_eq(back.volumes, dir.volumes);
	ck_assert_uint_eq(back.ordinal, dir.ordinal);
	size_t n = strlen(text);
	for (size_t i = 0; i < n; i++) {
		ck_assert_int_eq(store_version_parse(span_of(text, i), &back, &d), ERR_CORRUPT);
	}
	for (size_t i = 0; i < n; i++) {
		char old = text[i];
		text[i] = '\x01';
		ck_assert_int_ne(store_version_parse(span_of(text, n), &back, &d), ERR_OK);
		text[i] = old;
	}
	char newer[64];
	snprintf(newer, sizeof newer, "sluice-data %d\nanything", STORE_DIR_VERSION + 1);
	ck_assert_int_eq(store_version_parse(span_str(newer), &back, &d), ERR_VERSION);
	dir.ordinal = dir.volumes;
	store_version_print(&dir, text);
	ck_assert_int_eq(store_version_parse(span_str(text), &back, &d), ERR_CORRUPT);
}
END_TEST

START_TEST(founded_directory_is_its_owners_and_labelled)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct stat st;
	ck_assert_int_eq(stat(b.dir, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0700);
	ck_assert_int_eq(stat(bed_path(&b, "VERSION"), &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_ne(stat(bed_path(&b, "VERSION.new"), &st), 0);
	ck_assert_int_ne(stat(bed_path(&b, "CLEAN"), &st), 0);
	ck_assert_str_eq(store_dir(b.store), b.dir);
	char uuid[37];
	store_uuid_text(b.store, uuid);
	bed_close(&b);
	ck_assert_int_eq(stat(bed_path(&b, "CLEAN"), &st), 0);
	b.options.shards = 9;	/* that of the directory counts */
	bed_open(&b);
	char again[37];
	store_uuid_text(b.store, again);
	ck_assert_str_eq(uuid, again);
	ck_assert_int_ne(stat(bed_path(&b, "CLEAN"), &st), 0);
	const struct catalog *c = store_catalog(b.store);
	ck_assert_uint_eq(c->shards, 4);
	catalog_drop(&c);
	bed_fini(&b);
}
END_TEST

START_TEST(second_open_is_refused_with_the_holder)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct bed other = b;
	other.store = NULL;
	struct err_detail d;
	ck_assert_int_eq(bed_try(&other, &d), ERR_IN_USE);
	char want[32];
	snprintf(want, sizeof want, "process %ld", (long)getpid());
	ck_assert_ptr_nonnull(strstr(d.text, want));
	ck_assert_ptr_nonnull(strstr(d.text, b.dir));
	bed_close(&b);
	bed_open(&b);
	bed_fini(&b);
}
END_TEST

START_TEST(unreadable_labels_are_refused)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	bed_close(&b);
	struct err_detail d;
	char newer[64];
	snprintf(newer, sizeof newer, "sluice-data %d\n", STORE_DIR_VERSION + 1);
	write_text(bed_path(&b, "VERSION"), newer);
	ck_assert_int_eq(bed_try(&b, &d), ERR_VERSION);
	ck_assert_ptr_nonnull(strstr(d.text, "newer"));
	write_text(bed_path(&b, "VERSION"), "something\n");
	ck_assert_int_eq(bed_try(&b, &d), ERR_CORRUPT);
	unlink(bed_path(&b, "VERSION"));
	ck_assert_int_eq(bed_try(&b, &d), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(d.text, "no VERSION"));
	bed_fini(&b);
}
END_TEST

START_TEST(older_format_is_relabelled)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	bed_close(&b);
	char text[STORE_VERSION_TEXT_MAX] = "";
	FILE *f = fopen(bed_path(&b, "VERSION"), "re");
	ck_assert_uint_gt(fread(text, 1, sizeof text - 1, f), 0);
	fclose(f);
	char *digit = strchr(text, '\n') - 1;
	ck_assert_int_eq(*digit, '0' + STORE_DIR_VERSION);
	char *more = strstr(text, "volumes=");
	ck_assert_ptr_nonnull(more);
	*digit = '1';
	*more = '\0';
	write_text(bed_path(&b, "VERSION"), text);
	ck_assert_int_eq(unlink(bed_path(&b, "volume/MANIFEST")), 0);
	ck_assert_int_eq(unlink(bed_path(&b, "volume/MANIFEST.copy")), 0);
	/* One that fails looks like no interrupted founding, which would be wiped. */
	ck_assert_int_eq(mkdir(bed_path(&b, "VERSION.next"), 0700), 0);
	struct err_detail d;
	struct stat st;
	ck_assert_int_eq(bed_try(&b, &d), ERR_IO);
	ck_assert_int_ne(stat(bed_path(&b, "VERSION.new"), &st), 0);
	ck_assert_int_eq(rmdir(bed_path(&b, "VERSION.next")), 0);
	bed_open(&b);
	bed_close(&b);
	char again[STORE_VERSION_TEXT_MAX] = "";
	f = fopen(bed_path(&b, "VERSION"), "re");
	ck_assert_uint_gt(fread(again, 1, sizeof again - 1, f), 0);
	fclose(f);
	*digit = '0' + STORE_DIR_VERSION;
	ck_assert_ptr_eq(strstr(again, text), again);
	ck_assert_str_eq(again + strlen(text), "volumes=1\nvolume=0\n");
	ck_assert_int_eq(stat(bed_path(&b, "volume/MANIFEST"), &st), 0);
	bed_fini(&b);
}
END_TEST

START_TEST(other_nodes_directory_is_refused)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	bed_close(&b);
	b.options.node_id = 2;
	struct err_detail d;
	ck_assert_int_eq(bed_try(&b, &d), ERR_INVALID);
	b.options.node_id = 0;
	bed_open(&b);
	bed_fini(&b);
}
END_TEST

START_TEST(interrupted_founding_begins_anew)
{
	struct bed b;
	bed_init(&b);
	/* Nothing but the directory and its lock; then a torn label; then also a
	 * volume with something in it. */
	ck_assert_int_eq(mkdir(b.dir, 0700), 0);
	write_text(bed_path(&b, "LOCK"), "");
	write_text(bed_path(&b, "VERSION.new"), "sluice-da");
	ck_assert_int_eq(mkdir(bed_path(&b, "volume"), 0700), 0);
	ck_assert_int_eq(mkdir(bed_path(&b, "volume/segments"), 0700), 0);
	write_text(bed_path(&b, "volume/segments/0000000001.mdb"), "half a file");
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 1);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(founding_killed_at_any_moment_can_be_repeated)
{
	struct bed b;
	bed_init(&b);
	for (useconds_t us = 0; us < 30000; us += 1500) {
		pid_t child = fork();
		if (child == 0) {
			struct err_detail d;
			(void)!store_open(&b.options, &b.store, &d);
			_exit(0);
		}
		usleep(us);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	bed_open(&b);
	bed_fini(&b);
}
END_TEST

START_TEST(racing_opens_leave_one_winner)
{
	struct bed b;
	bed_init(&b);
	enum { N = 6 };
	pid_t child[N];
	int go[2];
	int won[2];
	ck_assert_int_eq(pipe(go), 0);
	ck_assert_int_eq(pipe(won), 0);
	for (int i = 0; i < N; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			struct err_detail d = {""};
			enum err e = store_open(&b.options, &b.store, &d);
			(void)!write(won[1], e == ERR_OK ? "1" : "0", 1);
			/* The winner stays until all have tried. */
			char c;
			close(go[1]);
			(void)!read(go[0], &c, 1);
			if (e == ERR_OK) {
				store_free(&b.store);
			}
			_exit(e == ERR_OK ? 0 : e == ERR_IN_USE ? 1 : 2);
		}
	}
	int winners = 0;
	for (int i = 0; i < N; i++) {
		char c;
		ck_assert_int_eq(read(won[0], &c, 1), 1);
		winners += c == '1';
	}
	close(go[1]);
	int in_use = 0;
	for (int i = 0; i < N; i++) {
		int status;
		waitpid(child[i], &status, 0);
		ck_assert(WIFEXITED(status));
		in_use += WEXITSTATUS(status) == 1;
	}
	ck_assert_int_eq(winners, 1);
	ck_assert_int_eq(in_use, N - 1);
	close(go[0]);
	close(won[0]);
	close(won[1]);
	bed_open(&b);
	bed_fini(&b);
}
END_TEST

START_TEST(places_that_do_not_do_are_named)
{
	struct bed b;
	bed_init(&b);
	struct err_detail d;
	char file[100];
	snprintf(file, sizeof file, "%s/file", b.root);
	write_text(file, "x");
	b.options.dir = file;
	ck_assert_int_eq(bed_try(&b, &d), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(d.text, "not a directory"));
	char missing[100];
	snprintf(missing, sizeof missing, "%s/no/such", b.root);
	b.options.dir = missing;
	ck_assert_int_eq(bed_try(&b, &d), ERR_IO);
	b.options.dir = b.dir;
	b.options.shards = 0;
	ck_assert_int_eq(bed_try(&b, &d), ERR_INVALID);
	b.options.shards = LIMIT_SHARDS + 1;
	ck_assert_int_eq(bed_try(&b, &d), ERR_INVALID);
	bed_fini(&b);
}
END_TEST

START_TEST(unwritable_directory_is_refused)
{
	struct bed b;
	bed_init(&b);
	ck_assert_int_eq(mkdir(b.dir, 0755), 0);
	ck_assert_int_eq(chmod(b.root, 0755), 0);
	pid_t child = fork();
	if (child == 0) {
		if (geteuid() == 0 && seteuid(65534) != 0) {
			_exit(9);
		}
		if (geteuid() != 65534) {
			chmod(b.dir, 0500);
		}
		struct err_detail d = {""};
		enum err e = store_open(&b.options, &b.store, &d);
		_exit(e == ERR_IO && strstr(d.text, "not writable") != NULL ? 0 : 1);
	}
	int status;
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	chmod(b.dir, 0700);
	bed_fini(&b);
}
END_TEST

static int remove_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	return type == FTW_F ? unlink(path) : 0;
}

/* As when the volume's disk is not mounted. */
START_TEST(founded_store_without_its_volume_is_refused)
{
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	bed_close(&b);
	ck_assert_int_eq(nftw(bed_path(&b, "volume"), remove_file, 8, FTW_DEPTH | FTW_PHYS), 0);
	for (int i = 0; i < 2; i++) {
		struct err_detail d;
		ck_assert_int_eq(bed_try(&b, &d), ERR_CORRUPT);
		ck_assert_ptr_nonnull(strstr(d.text, "mounted"));
	}
	bed_fini(&b);
}
END_TEST

START_TEST(name_of_a_directory_that_is_there_is_made_durable)
{
	struct bed b;
	bed_init(&b);
	(void)mkdir(b.dir, 0700);
	char parent[sizeof b.dir + 4];
	snprintf(parent, sizeof parent, "%s/..", b.dir);
	fake_sync_start();
	bed_open(&b);
	ck_assert(fake_sync_had(parent));
	bed_fini(&b);
}
END_TEST

Suite *dir_suite(void)
{
	Suite *s = suite_create("dir");
	TCase *t = tcase_create("dir");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, version_text_round_trips);
	tcase_add_test(t, founded_directory_is_its_owners_and_labelled);
	tcase_add_test(t, second_open_is_refused_with_the_holder);
	tcase_add_test(t, unreadable_labels_are_refused);
	tcase_add_test(t, older_format_is_relabelled);
	tcase_add_test(t, other_nodes_directory_is_refused);
	tcase_add_test(t, interrupted_founding_begins_anew);
	tcase_add_test(t, founding_killed_at_any_moment_can_be_repeated);
	tcase_add_test(t, racing_opens_leave_one_winner);
	tcase_add_test(t, places_that_do_not_do_are_named);
	tcase_add_test(t, unwritable_directory_is_refused);
	tcase_add_test(t, founded_store_without_its_volume_is_refused);
	tcase_add_test(t, name_of_a_directory_that_is_there_is_made_durable);
	suite_add_tcase(s, t);
	return s;
}
