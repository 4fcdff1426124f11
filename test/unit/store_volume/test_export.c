#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/volume/export_priv.h"
#include "store/volume/file.h"
#include "test/lib/fake_sync.h"
#include "test/lib/fake_write.h"

enum { SHARDS = 4, NOW_MS = 1000 };

static const uint8_t uuid[16] = "0123456789abcde";
static char dir[64];
static struct state *state;
static struct exports exports;

static const char *export_at(uint64_t number, const char *suffix)
{
	static char path[160];
	snprintf(path, sizeof path, "%s/export/%010llu%s", dir, (unsigned long long)number, suffix);
	return path;
}

static bool is_there(uint64_t number, const char *suffix)
{
	return access(export_at(number, suffix), F_OK) == 0;
}

static void open_exports(void)
{
	struct err_detail d = {""};
	enum err e = exports_open(dir, uuid, SHARDS, &exports, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

static void open_state(void)
{
	struct err_detail d;
	enum err e = state_open(dir, true, &state, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

static void setup(void)
{
	snprintf(dir, sizeof dir, "/tmp/volume-export-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	bed_log_catch();
	open_state();
	open_exports();
}

static void teardown(void)
{
	char command[128];
	exports_fini(&exports);
	state_close(&state);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

/* ---- what the state holds -------------------------------------------------------- */

/* Shard 1 has nothing, shard 3 an index only; `round` tells the states apart. */
static void fill(uint64_t round, uint32_t rows)
{
	struct err_detail d;
	state_begin(state);
	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		if (shard == 1) {
			continue;
		}
		state_shard(state, shard);
		state_clear(state);
		for (uint32_t i = 0; i < rows && shard != 3; i++) {
			char key[32];
			char content[64];
			snprintf(key, sizeof key, "key-%u", i);
			snprintf(content, sizeof content, "%u of %llu", i * shard,
				 (unsigned long long)round);
			/* Empty ones too. */
			state_put(state, (uint8_t)(1 + i % 250), span_str(i == 0 ? "" : key),
				  span_str(i == 1 ? "" : content));
		}
		state_applied(state, 100 * round + shard, round);
	}
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
}

static enum err text_shard(void *arg, uint32_t shard, uint64_t index, uint64_t term)
{
	str_printf(arg, "[%u %llu %llu] ", shard, (unsigned long long)index,
		   (unsigned long long)term);
	return ERR_OK;
}

static enum err text_row(void *arg, uint8_t kind, struct span key, struct span content)
{
	str_printf(arg, "%u:%.*s=%.*s ", kind, (int)key.n, (const char *)key.p, (int)content.n,
		   (const char *)content.p);
	return ERR_OK;
}

/* All of it as text; the caller frees. */
static struct str text_of(struct state *s)
{
	struct str text = {0};
	struct err_detail d = {""};
	enum err e = state_dump(s, SHARDS, text_shard, text_row, &text, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	ck_assert(!text.bad);
	str_add(&text, ".");
	return text;
}

static enum err write_export(struct err_detail *d)
{
	return export_write(&exports, dir, uuid, state, NOW_MS, d);
}

static void must_write(void)
{
	struct err_detail d = {""};
	enum err e = write_export(&d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

/* The export gives this when it is read into a state that holds something else. */
static void check_restored(const struct export_info *x, const char *want)
{
	struct err_detail d = {""};
	fill(999, 3);
	enum err e = export_restore(dir, x, state, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	struct str got = text_of(state);
	ck_assert_str_eq(got.p, want);
	str_fini(&got);
}

/* ---- tests ----------------------------------------------------------------------- */

START_TEST(an_export_gives_the_state_back)
{
	static const uint32_t rows[] = {0, 1, 2, 7, 5000};
	for (uint32_t i = 0; i < 5; i++) {
		fill(i + 1, rows[i]);
		struct str want = text_of(state);
		must_write();
		ck_assert_uint_eq(exports.v[0].number, (uint64_t)i + 1);
		ck_assert(exports.v[0].is_sound);
		for (uint32_t shard = 0; shard < SHARDS; shard++) {
			uint64_t index = shard == 1 ? 0 : 100 * (i + 1) + shard;
			ck_assert_uint_eq(exports.v[0].shards[shard].applied_index, index);
			ck_assert_uint_eq(exports.v[0].shards[shard].applied_term,
					  shard == 1 ? 0 : i + 1);
		}
		check_restored(&exports.v[0], want.p);
		/* And after the next start. */
		struct export_info before = exports.v[0];
		before.shards = NULL;
		exports_fini(&exports);
		open_exports();
		ck_assert_uint_eq(exports.v[0].number, (uint64_t)i + 1);
		ck_assert_uint_eq(exports.v[0].size, before.size);
		ck_assert_uint_eq(exports.v[0].crc, before.crc);
		check_restored(&exports.v[0], want.p);
		str_fini(&want);
	}
}
END_TEST

START_TEST(an_empty_state_is_exported_too)
{
	must_write();
	check_restored(&exports.v[0], ".");
	ck_assert_uint_eq(exports_floor(&exports, 0), 0);
}
END_TEST

START_TEST(size_and_checksum_are_those_of_the_file)
{
	uint64_t size;
	uint32_t crc;
	struct err_detail d;
	fill(1, 100);
	must_write();
	ck_assert_int_eq(file_checksum(export_at(1, ".exp"), NULL, &size, &crc, &d), ERR_OK);
	ck_assert_uint_eq(size, exports.v[0].size);
	ck_assert_uint_eq(crc, exports.v[0].crc);
	struct export_shard shards[SHARDS];
	ck_assert_int_eq(export_check(export_at(1, ".exp"), uuid, SHARDS, shards, &size, &crc, &d),
			 ERR_OK);
	ck_assert_uint_eq(crc, exports.v[0].crc);
	ck_assert_uint_eq(shards[2].applied_index, 102);
	ck_assert_int_eq(export_check(export_at(1, ".exp"), uuid, SHARDS, NULL, &size, &crc, &d),
			 ERR_OK);
}
END_TEST

START_TEST(two_are_kept_and_the_floor_is_the_older_ones)
{
	ck_assert_uint_eq(exports_floor(&exports, 0), 0);
	for (uint64_t round = 1; round <= 5; round++) {
		fill(round, 5);
		must_write();
		ck_assert_uint_eq(exports_floor(&exports, 2),
				  round == 1 ? 0 : 100 * (round - 1) + 2);
		ck_assert_uint_eq(exports_floor(&exports, 1), 0);
		for (uint64_t n = 1; n <= round; n++) {
			ck_assert_int_eq(is_there(n, ".exp"), n + 2 > round);
		}
		exports_fini(&exports);
		open_exports();
		ck_assert_uint_eq(exports_floor(&exports, 2),
				  round == 1 ? 0 : 100 * (round - 1) + 2);
	}
}
END_TEST

START_TEST(a_written_export_is_synced_with_its_directory)
{
	char path[128];
	snprintf(path, sizeof path, "%s/export", dir);
	fill(1, 5);
	fake_sync_start();
	must_write();
	ck_assert(fake_sync_had(export_at(1, ".exp")));
	ck_assert(fake_sync_had(path));
	ck_assert(!is_there(1, ".tmp"));
}
END_TEST

static void check_damaged(const char *path)
{
	struct export_shard shards[SHARDS];
	uint64_t size;
	uint32_t crc;
	struct err_detail d = {""};
	enum err e = export_check(path, uuid, SHARDS, shards, &size, &crc, &d);
	ck_assert_msg(e == ERR_CORRUPT, "%s: %s", err_text(e), d.text);
	ck_assert_ptr_nonnull(strstr(d.text, path));
}

START_TEST(every_flipped_bit_is_found)
{
	fill(1, 12);
	must_write();
	const char *path = export_at(1, ".exp");
	int64_t size = bed_size(path);
	for (int64_t at = 0; at < size; at++) {
		for (int bit = 0; bit < 8; bit++) {
			bed_flip_bit(path, at, bit);
			check_damaged(path);
			bed_flip_bit(path, at, bit);
		}
	}
	exports_fini(&exports);
	open_exports();
	ck_assert(exports.v[0].is_sound);
}
END_TEST

START_TEST(every_truncation_and_every_addition_is_found)
{
	fill(1, 12);
	must_write();
	const char *path = export_at(1, ".exp");
	int64_t size = bed_size(path);
	FILE *f = fopen(path, "a");
	ck_assert_ptr_nonnull(f);
	fputc(0, f);
	fclose(f);
	check_damaged(path);
	for (int64_t n = size - 1; n >= 0; n--) {
		ck_assert_int_eq(truncate(path, n), 0);
		check_damaged(path);
	}
}
END_TEST

START_TEST(flips_in_a_large_one_are_found)
{
	fill(1, 20000);
	must_write();
	const char *path = export_at(1, ".exp");
	int64_t size = bed_size(path);
	ck_assert_int_gt(size, 2 * EXPORT_CHUNK);
	for (int64_t at = 5; at < size; at += size / 60) {
		bed_flip_bit(path, at, (int)(at % 8));
		check_damaged(path);
		bed_flip_bit(path, at, (int)(at % 8));
	}
}
END_TEST

START_TEST(foreign_ones_are_told)
{
	static const uint8_t other[16] = "other";
	struct err_detail d;
	uint64_t size;
	uint32_t crc;
	fill(1, 3);
	must_write();
	char path[160];
	snprintf(path, sizeof path, "%s", export_at(1, ".exp"));
	ck_assert_int_eq(export_check(path, other, SHARDS, NULL, &size, &crc, &d), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(d.text, "another store"));
	ck_assert_int_eq(export_check(path, uuid, SHARDS + 1, NULL, &size, &crc, &d), ERR_CORRUPT);
	/* Under another number. */
	ck_assert_int_eq(rename(path, export_at(7, ".exp")), 0);
	ck_assert_int_eq(export_check(export_at(7, ".exp"), uuid, SHARDS, NULL, &size, &crc, &d),
			 ERR_CORRUPT);
	ck_assert_int_eq(export_check(export_at(8, ".exp"), uuid, SHARDS, NULL, &size, &crc, &d),
			 ERR_NOT_FOUND);
}
END_TEST

static void touch(const char *path)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs("anything", f);
	fclose(f);
}

START_TEST(temporary_files_go_and_foreign_names_stay)
{
	char other[160];
	fill(1, 3);
	must_write();
	exports_fini(&exports);
	touch(export_at(2, ".tmp"));
	touch(export_at(1, ".tmp"));
	snprintf(other, sizeof other, "%s/export/notes", dir);
	touch(other);
	open_exports();
	ck_assert(!is_there(1, ".tmp"));
	ck_assert(!is_there(2, ".tmp"));
	ck_assert(is_there(1, ".exp"));
	ck_assert_int_eq(access(other, F_OK), 0);
	ck_assert_uint_eq(export_number("0000000001.exp"), 1);
	ck_assert_uint_eq(export_number("00000000012.exp"), 0);
	ck_assert_uint_eq(export_number("12345678901.exp"), 12345678901);
	ck_assert_uint_eq(export_number("000000001.exp"), 0);
	ck_assert_uint_eq(export_number("0000000001.exp2"), 0);
	ck_assert_uint_eq(export_number("99999999999999999999.exp"), 0);
}
END_TEST

/* What a damaged one leaves to use: the sound ones, and numbers go on. */
START_TEST(a_sound_one_is_never_given_up_for_a_damaged_one)
{
	for (uint64_t round = 1; round <= 2; round++) {
		fill(round, 5);
		must_write();
	}
	exports_fini(&exports);
	bed_flip(export_at(2, ".exp"), 30);
	open_exports();
	ck_assert(bed_log_had("EXPORT-DAMAGED"));
	ck_assert_uint_eq(exports.v[0].number, 2);
	ck_assert(!exports.v[0].is_sound);
	ck_assert(exports.v[1].is_sound);
	ck_assert_uint_eq(exports_floor(&exports, 2), 0);
	fill(3, 5);
	struct str want = text_of(state);
	must_write();
	ck_assert_uint_eq(exports.v[0].number, 3);
	ck_assert_uint_eq(exports.v[1].number, 1);
	ck_assert_uint_eq(exports_floor(&exports, 2), 102);
	ck_assert(!is_there(2, ".exp"));
	check_restored(&exports.v[0], want.p);
	str_fini(&want);
	/* All damaged: the next one is the only one. */
	exports_fini(&exports);
	bed_flip(export_at(3, ".exp"), 30);
	bed_flip(export_at(1, ".exp"), 30);
	open_exports();
	fill(4, 5);
	must_write();
	ck_assert_uint_eq(exports.v[0].number, 4);
	ck_assert_uint_eq(exports.v[1].number, 0);
	ck_assert(!is_there(3, ".exp") && !is_there(1, ".exp"));
}
END_TEST

/* Ended between the new name and the removal of the oldest: three are there. */
START_TEST(three_left_behind_become_the_two_newest_sound_ones)
{
	char kept[160];
	char command[400];
	for (int damaged = 0; damaged <= 3; damaged++) {
		fill(1, 5);
		must_write();
		uint64_t first = exports.v[0].number;
		snprintf(kept, sizeof kept, "%s", export_at(first, ".exp"));
		snprintf(command, sizeof command, "cp -p '%s' '%s/keep'", kept, dir);
		ck_assert_int_eq(system(command), 0);
		fill(2, 5);
		must_write();
		fill(3, 5);
		must_write();
		ck_assert(!is_there(first, ".exp"));
		snprintf(command, sizeof command, "mv '%s/keep' '%s'", dir, kept);
		ck_assert_int_eq(system(command), 0);
		exports_fini(&exports);
		if (damaged > 0) {
			bed_flip(export_at(first + (uint64_t)damaged - 1, ".exp"), 40);
		}
		open_exports();
		ck_assert(exports.v[0].is_sound && exports.v[1].is_sound);
		ck_assert_uint_eq(exports.v[0].number, damaged == 3 ? first + 1 : first + 2);
		ck_assert_uint_eq(exports.v[1].number, damaged >= 2 ? first : first + 1);
		uint64_t there = 0;
		for (uint64_t n = first; n < first + 3; n++) {
			there += is_there(n, ".exp");
		}
		ck_assert_uint_eq(there, 2);
		ck_assert_uint_eq(exports.last_number, first + 2);
	}
}
END_TEST

START_TEST(an_interrupted_write_leaves_the_others)
{
	fill(1, 5);
	must_write();
	fill(2, 8000);
	must_write();
	struct str want = text_of(state);
	bool has_ended = false;
	for (long n = 1; !has_ended; n++) {
		/* An open state must not go into a child. */
		state_close(&state);
		pid_t child = fork();
		ck_assert_int_ge(child, 0);
		if (child == 0) {
			struct err_detail d;
			open_state();
			fake_write_exit_at(n);
			_exit(write_export(&d) == ERR_OK ? 1 : 2);
		}
		int status;
		waitpid(child, &status, 0);
		open_state();
		ck_assert(WIFEXITED(status));
		ck_assert_int_ne(WEXITSTATUS(status), 2);
		has_ended = WEXITSTATUS(status) == 1;
		ck_assert(has_ended || is_there(3, ".tmp"));
		exports_fini(&exports);
		open_exports();
		ck_assert(!is_there(3, ".tmp"));
		ck_assert(exports.v[0].is_sound && exports.v[1].is_sound);
		ck_assert_uint_eq(exports.v[0].number, has_ended ? 3 : 2);
		ck_assert(!has_ended || n > 2);
	}
	check_restored(&exports.v[1], want.p);
	str_fini(&want);
}
END_TEST

START_TEST(a_full_disk_changes_nothing)
{
	static const int errors[] = {ENOSPC, EDQUOT, EIO};
	fill(1, 5);
	must_write();
	fill(2, 8000);
	for (int i = 0; i < 3; i++) {
		for (long n = 1;; n++) {
			struct err_detail d = {""};
			fake_write_fail_at(n, errors[i]);
			enum err e = write_export(&d);
			bool fired = fake_write_fired();
			fake_write_fail_at(0, 0);
			if (!fired) {
				ck_assert_int_eq(e, ERR_OK);
				ck_assert_int_gt(n, 2);
				break;
			}
			ck_assert_int_eq(e, errors[i] == EIO ? ERR_IO : ERR_FULL);
			ck_assert_ptr_nonnull(strstr(d.text, "/export/"));
			ck_assert(!is_there((uint64_t)i + 2, ".tmp"));
			ck_assert_uint_eq(exports.v[0].number, (uint64_t)i + 1);
		}
	}
}
END_TEST

START_TEST(short_memory_changes_nothing)
{
	struct err_detail d = {""};
	fill(1, 100);
	must_write();
	fill(2, 100);
	struct str want = text_of(state);
	enum err e = ERR_NOMEM;
	bool fired = true;
	for (long n = 1; fired; n++) {
		mem_fault_at(n);
		e = write_export(&d);
		fired = mem_fault_fired();
		mem_fault_at(0);
		/* What is removed at the end may stay for want of memory. */
		ck_assert(e == ERR_OK || (fired && e == ERR_NOMEM && d.text[0] != '\0'));
		ck_assert(exports.v[0].is_sound);
		ck_assert(e == ERR_OK || exports.v[0].number == 1);
	}
	fired = true;
	for (long n = 1; fired; n++) {
		exports_fini(&exports);
		d.text[0] = '\0';
		mem_fault_at(n);
		e = exports_open(dir, uuid, SHARDS, &exports, &d);
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		ck_assert(e == ERR_OK || d.text[0] != '\0');
	}
	ck_assert(exports.v[0].is_sound && exports.v[1].is_sound);
	fill(3, 3);
	fired = true;
	for (long n = 1; fired; n++) {
		struct str before = text_of(state);
		mem_fault_at(n);
		e = export_restore(dir, &exports.v[0], state, &d);
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		struct str after = text_of(state);
		ck_assert_str_eq(after.p, fired ? before.p : want.p);
		str_fini(&before);
		str_fini(&after);
	}
	str_fini(&want);
}
END_TEST

START_TEST(one_that_changed_since_is_not_restored)
{
	struct err_detail d = {""};
	fill(1, 20);
	must_write();
	fill(2, 5);
	struct str before = text_of(state);
	const char *path = export_at(1, ".exp");
	for (int64_t at = 60; at < bed_size(path); at += 7) {
		bed_flip(path, at);
		ck_assert_int_eq(export_restore(dir, &exports.v[0], state, &d), ERR_CORRUPT);
		struct str after = text_of(state);
		ck_assert_str_eq(after.p, before.p);
		str_fini(&after);
		bed_flip(path, at);
	}
	/* Another sound one under its name. */
	ck_assert_int_eq(unlink(path), 0);
	struct exports other = {.n_shards = SHARDS};
	ck_assert_int_eq(export_write(&other, dir, uuid, state, NOW_MS, &d), ERR_OK);
	exports_fini(&other);
	ck_assert_int_eq(export_restore(dir, &exports.v[0], state, &d), ERR_CORRUPT);
	str_fini(&before);
}
END_TEST

START_TEST(a_damaged_state_is_not_exported)
{
	struct err_detail d = {""};
	fill(1, 20);
	must_write();
	char path[128];
	snprintf(path, sizeof path, "%s/state/data.mdb", dir);
	int64_t at = bed_find(path, "22 of 1", 7);
	ck_assert_int_ge(at, 0);
	bed_flip(path, at);
	/* The file is mapped, so the state sees it. */
	ck_assert_int_eq(write_export(&d), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(d.text, "data.mdb"));
	ck_assert(!is_there(2, ".tmp") && !is_there(2, ".exp"));
	bed_flip(path, at);
	must_write();
}
END_TEST

Suite *export_suite(void)
{
	Suite *s = suite_create("export");
	TCase *t = tcase_create("export");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, an_export_gives_the_state_back);
	tcase_add_test(t, an_empty_state_is_exported_too);
	tcase_add_test(t, size_and_checksum_are_those_of_the_file);
	tcase_add_test(t, two_are_kept_and_the_floor_is_the_older_ones);
	tcase_add_test(t, a_written_export_is_synced_with_its_directory);
	tcase_add_test(t, every_flipped_bit_is_found);
	tcase_add_test(t, every_truncation_and_every_addition_is_found);
	tcase_add_test(t, flips_in_a_large_one_are_found);
	tcase_add_test(t, foreign_ones_are_told);
	tcase_add_test(t, temporary_files_go_and_foreign_names_stay);
	tcase_add_test(t, a_sound_one_is_never_given_up_for_a_damaged_one);
	tcase_add_test(t, three_left_behind_become_the_two_newest_sound_ones);
	tcase_add_test(t, an_interrupted_write_leaves_the_others);
	tcase_add_test(t, a_full_disk_changes_nothing);
	tcase_add_test(t, short_memory_changes_nothing);
	tcase_add_test(t, one_that_changed_since_is_not_restored);
	tcase_add_test(t, a_damaged_state_is_not_exported);
	suite_add_tcase(s, t);
	return s;
}
