#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

#include "store/volume/env.h"
#include "store/volume/record.h"
#include "test/lib/fake_sync.h"

static struct bed bed;

static void setup(void)
{
	bed_init(&bed);
	bed_log_catch();
}
static void teardown(void)
{
	bed_fini(&bed);
}

static void write_file(const char *name, size_t n)
{
	char path[256];
	snprintf(path, sizeof path, "%s/segments/%s", bed.dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)n), 0);
	close(fd);
}

/* Segments 1..n-1 sealed, n active. */
static void fill(uint64_t n)
{
	bed_open(&bed, false);
	while (!bed_has_file(&bed, n, ".mdb")) {
		bed_append(&bed, 0, 1, 50000);
		bed_append(&bed, 1, 2, 50000);
	}
	for (uint64_t i = 1; i < n; i++) {
		bed_wait_sealed(&bed, i);
	}
	bed_close(&bed);
}

static void expect_error(bool was_unclean, enum err want, const char *text)
{
	struct err_detail d;
	ck_assert_int_eq(bed_try_open(&bed, was_unclean, &d), want);
	ck_assert_msg(strstr(d.text, text) != NULL, "\"%s\" lacks \"%s\"", d.text, text);
	ck_assert_ptr_null(bed.v);
}

START_TEST(foreign_files_are_left_alone)
{
	fill(2);
	write_file("notes.txt", 3);
	write_file("0000000001.mdb.old", 3);
	write_file("1.mdb", 3);
	write_file("0000000001.idx.tmp123", 3);
	write_file("0000000001.mdb-lock", 3);
	bed_open(&bed, true);
	bed_check_all(&bed);
	ck_assert(bed_log_had("FOREIGN-FILE"));
	ck_assert(bed_has_file(&bed, 1, ".mdb.old"));
	ck_assert(!bed_has_file(&bed, 1, ".idx.tmp123"));
	ck_assert(!bed_has_file(&bed, 1, ".mdb-lock"));
}
END_TEST

START_TEST(last_file_without_head_is_made_anew)
{
	static const size_t sizes[] = {0, 100, 8192, 300000};
	fill(2);
	/* The crash came before the second roll, so segment 2 is not sealed. */
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		write_file("0000000003.mdb", sizes[i]);
		bed_open(&bed, true);
		ck_assert(bed_log_had("SEGMENT-UNFINISHED"));
		bed_check_all(&bed);
		bed_append(&bed, 0, 1, 50000);
		bed_close(&bed);
		ck_assert(!bed_has_file(&bed, 3, ".mdb"));
	}
	/* One that LMDB made but nothing was committed to. */
	char path[256];
	bed_file(&bed, 3, ".mdb", path, sizeof path);
	struct env *env;
	ck_assert_int_eq(env_open(path, ENV_WRITE, 1 << 20, ENV_LOG, &env, NULL), ERR_OK);
	env_close(&env);
	bed_open(&bed, true);
	bed_check_all(&bed);
	bed_close(&bed);
	write_file("0000000003.mdb", 0);
	expect_error(false, ERR_CORRUPT, "0000000003.mdb: is empty");
}
END_TEST

START_TEST(founding_is_repeated_after_a_crash)
{
	bed_open(&bed, false);
	bed_close(&bed);
	write_file("0000000001.mdb", 0);
	/* The manifest is written when the first segment is whole. */
	expect_error(true, ERR_CORRUPT, "0000000001.mdb: is empty");
	bed_unlink(&bed, "MANIFEST");
	bed_unlink(&bed, "MANIFEST.copy");
	bed_open(&bed, true);
	bed_append(&bed, 0, 3, 100);
	bed_check_all(&bed);
}
END_TEST

START_TEST(missing_segments_are_named)
{
	char path[256];
	char kept[256];
	fill(4);
	bed_file(&bed, 4, ".mdb", path, sizeof path);
	snprintf(kept, sizeof kept, "%s/kept", bed.dir);
	ck_assert_int_eq(rename(path, kept), 0);
	expect_error(true, ERR_CORRUPT, "0000000004.mdb: is missing");
	ck_assert_int_eq(rename(kept, path), 0);
	bed_file(&bed, 2, ".mdb", path, sizeof path);
	char idx[256];
	bed_file(&bed, 2, ".idx", idx, sizeof idx);
	ck_assert_int_eq(unlink(idx), 0);
	ck_assert_int_eq(rename(path, kept), 0);
	expect_error(false, ERR_CORRUPT, "0000000002.mdb: is missing");
	ck_assert_int_eq(rename(kept, path), 0);
	bed_open(&bed, false);
	bed_check_all(&bed);
}
END_TEST

START_TEST(other_store_is_refused)
{
	fill(2);
	bed.options.store_uuid[3] ^= 1;
	expect_error(false, ERR_INVALID, "another store");
	bed.options.store_uuid[3] ^= 1;
	bed.options.shards = 3;
	expect_error(false, ERR_INVALID, "2 shards, not 3");
	bed.options.shards = 0;
	expect_error(false, ERR_INVALID, "0 shards");
	bed.options.shards = 2;
	/* The same for a volume that has an active segment only. */
	struct bed other;
	bed_init(&other);
	bed_open(&other, false);
	bed_close(&other);
	other.options.shards = 3;
	struct err_detail d;
	ck_assert_int_eq(bed_try_open(&other, true, &d), ERR_INVALID);
	bed_fini(&other);
	bed_open(&bed, true);
	bed_check_all(&bed);
}
END_TEST

/* Puts records behind the end of a closed volume's active segment. */
static void put_records(uint64_t number, const uint8_t *const *bytes, const size_t *sizes, size_t n)
{
	char path[256];
	struct env *env;
	MDB_txn *txn;
	bed_file(&bed, number, ".mdb", path, sizeof path);
	ck_assert_int_eq(env_open(path, ENV_WRITE, 8 << 20, ENV_LOG, &env, NULL), ERR_OK);
	ck_assert_int_eq(env_write_begin(env, &txn, NULL), ERR_OK);
	for (size_t i = 0; i < n; i++) {
		uint8_t *p;
		uint64_t log_no = get_u64(bytes[i] + 32);
		ck_assert_int_eq(env_reserve(env, txn, log_no, sizes[i], &p, NULL), ERR_OK);
		memcpy(p, bytes[i], sizes[i]);
	}
	ck_assert_int_eq(env_commit(env, txn, NULL), ERR_OK);
	env_close(&env);
}

START_TEST(truncation_drops_entries_at_replay)
{
	/* Log: 1 head, 2-3 hard states, then entries 4..13 of shard 0. */
	bed_open(&bed, false);
	for (int i = 0; i < 10; i++) {
		bed_append(&bed, 0, 2, 20);
	}
	bed_close(&bed);
	uint8_t cut[RECORD_HEAD];
	record_write_truncation(0, 6, 14, cut);
	const uint8_t *bytes[] = {cut};
	size_t size = sizeof cut;
	put_records(1, bytes, &size, 1);
	bed.next_seq[0] = 10;
	bed.next_index[0] = 6;
	bed_open(&bed, true);
	bed_check_all(&bed);
	bed_append(&bed, 0, 3, 20);
	bed_check_all(&bed);
	bed_reopen(&bed, false);
	bed_check_all(&bed);
}
END_TEST

START_TEST(newest_record_of_an_index_wins)
{
	bed_open(&bed, false);
	for (int i = 0; i < 10; i++) {
		bed_append(&bed, 0, 2, 20);
	}
	bed_close(&bed);
	/* Index 8 once more, in term 2, with nothing for the partition. */
	struct volume_command c = {.kind = VOLUME_BARRIER};
	struct volume_entry e = {.shard = 0, .term = 2, .index = 8, .commands = &c, .n_commands = 1};
	uint8_t again[RECORD_HEAD + RECORD_DESCRIPTOR];
	record_write_entry(&e, 14, again, sizeof again);
	const uint8_t *bytes[] = {again};
	size_t size = sizeof again;
	put_records(1, bytes, &size, 1);
	struct err_detail d;
	ck_assert_int_eq(bed_try_open(&bed, true, &d), ERR_OK);
	struct volume_shard_info info;
	volume_shard_info(bed.v, 0, &info);
	ck_assert_uint_eq(info.last_index, 8);
	ck_assert_uint_eq(info.last_term, 2);
	bed.next_seq[0] = 14;
	bed_start(&bed);
	bed_check_read(&bed, 0, 0, 14);
}
END_TEST

START_TEST(contradicting_records_are_refused)
{
	bed_open(&bed, false);
	bed_append(&bed, 0, 2, 20);
	bed_close(&bed);
	/* A hole in the log numbers: 4 was the entry. */
	uint8_t rec[RECORD_HARD_STATE_SIZE];
	struct volume_hard_state h = {.shard = 0, .term = 2, .log_start = 1};
	record_write_hard_state(&h, 6, rec);
	const uint8_t *bytes[] = {rec};
	size_t size = sizeof rec;
	put_records(1, bytes, &size, 1);
	expect_error(true, ERR_CORRUPT, "record 5 is missing");
	expect_error(false, ERR_CORRUPT, "record 5 is missing");
}
END_TEST

START_TEST(raft_index_gap_is_refused)
{
	bed_open(&bed, false);
	bed_append(&bed, 0, 2, 20);
	bed_close(&bed);
	struct volume_command c = {.kind = VOLUME_BARRIER};
	struct volume_entry e = {.shard = 0, .term = 2, .index = 3, .commands = &c, .n_commands = 1};
	uint8_t rec[RECORD_HEAD + RECORD_DESCRIPTOR];
	record_write_entry(&e, 5, rec, sizeof rec);
	const uint8_t *bytes[] = {rec};
	size_t size = sizeof rec;
	put_records(1, bytes, &size, 1);
	expect_error(false, ERR_CORRUPT, "record 5");
}
END_TEST

/* A killed process may leave pages, and the name of a file, that only the kernel
 * has; nothing of them may be served before they are on the disk. */
START_TEST(what_a_killed_process_wrote_is_synced_before_it_is_served)
{
	fill(3);
	char path[256];
	bed_file(&bed, 2, ".idx", path, sizeof path);
	ck_assert_int_eq(unlink(path), 0);
	struct err_detail d;
	fake_sync_start();
	ck_assert_int_eq(bed_try_open(&bed, true, &d), ERR_OK);
	for (uint64_t i = 1; i <= 3; i++) {
		bed_file(&bed, i, ".mdb", path, sizeof path);
		/* The first is sealed: its checksum is the proof. */
		ck_assert(fake_sync_had(path) == (i > 1));
	}
	snprintf(path, sizeof path, "%s/segments", bed.dir);
	ck_assert(fake_sync_had(path));
	bed_start(&bed);
	bed_check_all(&bed);
}
END_TEST

Suite *recover_suite(void)
{
	Suite *s = suite_create("recover");
	TCase *t = tcase_create("recover");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, foreign_files_are_left_alone);
	tcase_add_test(t, last_file_without_head_is_made_anew);
	tcase_add_test(t, founding_is_repeated_after_a_crash);
	tcase_add_test(t, missing_segments_are_named);
	tcase_add_test(t, other_store_is_refused);
	tcase_add_test(t, truncation_drops_entries_at_replay);
	tcase_add_test(t, newest_record_of_an_index_wins);
	tcase_add_test(t, contradicting_records_are_refused);
	tcase_add_test(t, raft_index_gap_is_refused);
	tcase_add_test(t, what_a_killed_process_wrote_is_synced_before_it_is_served);
	suite_add_tcase(s, t);
	return s;
}
