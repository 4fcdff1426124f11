#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

#include "store/volume/idx.h"

enum { PARTS = 300, ROWS = 20, RAFT = 500 };

static char dir[64];
static char path[128];

static void setup(void)
{
	snprintf(dir, sizeof dir, "/tmp/volume-idx-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/0000000003.idx", dir);
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
}

static struct idx_head write_sample(void)
{
	struct index *ix = index_new(3);
	for (uint32_t r = 0; r < ROWS; r++) {
		for (uint32_t p = 0; p < PARTS; p++) {
			uint8_t payload[80];
			struct volume_command c = {
				.kind = VOLUME_BATCH,
				/* Not in sorted order. */
				.part = {1 + p * 7919 % PARTS, p % 2},
				.count = 5,
				.base_seq = r * 5,
				.append_ms = 1000 + r,
				.max_timestamp_ms = 7,
				.payload = span_of(payload, sizeof payload),
			};
			ck_assert_int_eq(index_add_batch(ix, 1, r + 1, &c), ERR_OK);
		}
	}
	for (uint64_t i = 0; i < RAFT; i++) {
		struct index_raft row = {.index = 40 + i, .term = 2, .log_no = i, .has_commands = i % 2};
		ck_assert_int_eq(index_add_raft(ix, 1, &row), ERR_OK);
	}
	struct volume_hard_state h = {
		.shard = 2,
		.term = 4,
		.vote = 5,
		.log_start = 6,
		.start_term = 3,
	};
	index_set_hard_state(ix, &h);
	struct idx_head head = {.number = 3, .mdb_bytes = 12345, .mdb_crc = 99, .shards = 3};
	memset(head.segment_uuid, 0x5c, IDX_UUID);
	struct err_detail d;
	ck_assert_int_eq(idx_write(path, &head, ix, NULL, &d), ERR_OK);
	index_free(&ix);
	return head;
}

START_TEST(file_reads_back_as_written)
{
	write_sample();
	struct idx_head head;
	struct err_detail d;
	int fd;
	ck_assert_int_eq(idx_open(path, &head, &fd, &d), ERR_OK);
	ck_assert_uint_eq(head.number, 3);
	ck_assert_uint_eq(head.mdb_bytes, 12345);
	ck_assert_uint_eq(head.section[IDX_PARTS].n, PARTS);
	ck_assert_uint_eq(head.section[IDX_ROWS].n, PARTS * ROWS);
	struct idx_reader r;
	idx_reader_init(&r, fd, &head);
	uint64_t last_key = 0;
	for (uint64_t i = 0; i < PARTS; i++) {
		struct idx_part p;
		ck_assert_int_eq(idx_part_at(&r, i, &p), ERR_OK);
		ck_assert_uint_gt(store_part_key(p.part), last_key);
		last_key = store_part_key(p.part);
		ck_assert_int_eq(p.next_seq, ROWS * 5);
		ck_assert_uint_eq(p.bytes, ROWS * 80);
		struct index_query q = {.key = 52};
		struct index_row rows[4];
		size_t n;
		ck_assert_int_eq(idx_rows(&r, p.part, &q, rows, 4, &n), ERR_OK);
		ck_assert_uint_eq(n, 4);
		ck_assert_int_eq(rows[0].base_seq, 50);
		ck_assert_uint_eq(rows[0].log_no, 11);
		q = (struct index_query){.by = INDEX_BY_APPEND_TIME, .key = 1000 + ROWS - 1};
		ck_assert_int_eq(idx_rows(&r, p.part, &q, rows, 4, &n), ERR_OK);
		ck_assert_uint_eq(n, 1);
		ck_assert_int_eq(rows[0].base_seq, (ROWS - 1) * 5);
	}
	struct idx_shard sh;
	ck_assert_int_eq(idx_shard_at(&r, 2, &sh), ERR_OK);
	ck_assert(sh.has_hard);
	ck_assert_uint_eq(sh.hard.vote, 5);
	ck_assert_uint_eq(sh.hard.start_term, 3);
	ck_assert_int_eq(idx_shard_at(&r, 1, &sh), ERR_OK);
	ck_assert_uint_eq(sh.n_rows, RAFT);
	ck_assert_uint_eq(sh.first_index, 40);
	struct index_raft row;
	ck_assert_int_eq(idx_raft_at(&r, sh.first_row + 333, &row), ERR_OK);
	ck_assert_uint_eq(row.index, 40 + 333);
	ck_assert(row.has_commands);
	close(fd);
}
END_TEST

/* A row for each cover: with the cover's range, flags and times, with or without rows. */
START_TEST(covers_of_a_cleaned_segment_stand_in_its_index)
{
	struct index *ix = index_new(3);
	uint8_t payload[80];
	struct volume_command c = {
		.kind = VOLUME_BATCH,
		.part = {4, 1},
		.count = 5,
		.base_seq = 20,
		.append_ms = 1000,
		.max_timestamp_ms = 7,
		.payload = span_of(payload, sizeof payload),
	};
	ck_assert_int_eq(index_add_batch(ix, 1, 3, &c), ERR_OK);
	static const struct record_cover v[] = {
		{.part = {4, 0}, .shard = 2, .first_seq = 3, .end_seq = 9, .last_append_ms = 44,
		 .max_timestamp_ms = INT64_MIN, .flags = COVER_COMPACTED},
		{.part = {4, 1}, .shard = 1, .first_seq = 10, .end_seq = 99, .last_append_ms = 1234,
		 .max_timestamp_ms = 7},
	};
	struct idx_covers covers = {.v = v, .n = 2};
	struct idx_head head = {.number = 3, .mdb_bytes = 12345, .mdb_crc = 99, .shards = 3};
	memset(head.segment_uuid, 0x5c, IDX_UUID);
	struct err_detail d;
	ck_assert_int_eq(idx_write(path, &head, ix, &covers, &d), ERR_OK);
	index_free(&ix);
	int fd;
	ck_assert_int_eq(idx_open(path, &head, &fd, &d), ERR_OK);
	ck_assert_uint_eq(head.section[IDX_PARTS].n, 2);
	struct idx_reader r;
	idx_reader_init(&r, fd, &head);
	for (uint64_t i = 0; i < 2; i++) {
		struct idx_part p;
		ck_assert_int_eq(idx_part_at(&r, i, &p), ERR_OK);
		ck_assert_uint_eq(store_part_key(p.part), store_part_key(v[i].part));
		ck_assert_uint_eq(p.shard, v[i].shard);
		ck_assert_uint_eq(p.flags, v[i].flags);
		ck_assert_int_eq(p.first_seq, v[i].first_seq);
		ck_assert_int_eq(p.next_seq, v[i].end_seq);
		ck_assert_int_eq(p.last_append_ms, v[i].last_append_ms);
		ck_assert_int_eq(p.max_timestamp_ms, v[i].max_timestamp_ms);
		ck_assert_uint_eq(p.n_rows, i);
		ck_assert_uint_eq(p.bytes, i * sizeof payload);
		struct index_query q = {.key = 0};
		struct index_row row;
		size_t n;
		ck_assert_int_eq(idx_rows(&r, p.part, &q, &row, 1, &n), ERR_OK);
		ck_assert_uint_eq(n, i);
		ck_assert(n == 0 || row.base_seq == 20);
	}
	struct idx_shard sh;
	ck_assert_int_eq(idx_shard_at(&r, 1, &sh), ERR_OK);
	ck_assert(!sh.has_hard);
	ck_assert_uint_eq(sh.n_rows, 0);
	close(fd);
}
END_TEST

/* Reads everything there is. */
static enum err read_all(void)
{
	struct idx_head head;
	int fd;
	enum err e = idx_open(path, &head, &fd, NULL);
	if (e != ERR_OK) {
		return e;
	}
	struct idx_reader r;
	idx_reader_init(&r, fd, &head);
	for (uint64_t i = 0; e == ERR_OK && i < head.section[IDX_PARTS].n; i++) {
		struct idx_part p;
		e = idx_part_at(&r, i, &p);
		struct index_row rows[ROWS];
		struct index_query q = {.key = -1};
		size_t n;
		if (e == ERR_OK) {
			e = idx_rows(&r, p.part, &q, rows, ROWS, &n);
		}
	}
	for (uint32_t i = 0; e == ERR_OK && i < head.shards; i++) {
		struct idx_shard sh;
		e = idx_shard_at(&r, i, &sh);
	}
	for (uint64_t i = 0; e == ERR_OK && i < head.section[IDX_RAFT].n; i++) {
		struct index_raft row;
		e = idx_raft_at(&r, i, &row);
	}
	close(fd);
	return e;
}

START_TEST(flipped_bits_are_found)
{
	write_sample();
	ck_assert_int_eq(read_all(), ERR_OK);
	int64_t size = bed_size(path);
	for (int64_t at = 0; at < size; at += 2003) {
		bed_flip(path, at);
		enum err e = read_all();
		ck_assert_msg(e == ERR_CORRUPT, "byte %lld: %s", (long long)at, err_text(e));
		bed_flip(path, at);
	}
	ck_assert_int_eq(read_all(), ERR_OK);
}
END_TEST

START_TEST(cut_and_swapped_blocks_are_found)
{
	write_sample();
	int64_t size = bed_size(path);
	uint8_t a[IDX_BLOCK];
	uint8_t b[IDX_BLOCK];
	int fd = open(path, O_RDWR);
	ck_assert_int_eq(pread(fd, a, IDX_BLOCK, 2 * IDX_BLOCK), IDX_BLOCK);
	ck_assert_int_eq(pread(fd, b, IDX_BLOCK, 3 * IDX_BLOCK), IDX_BLOCK);
	ck_assert_int_eq(pwrite(fd, b, IDX_BLOCK, 2 * IDX_BLOCK), IDX_BLOCK);
	ck_assert_int_eq(read_all(), ERR_CORRUPT);
	ck_assert_int_eq(pwrite(fd, a, IDX_BLOCK, 2 * IDX_BLOCK), IDX_BLOCK);
	ck_assert_int_eq(read_all(), ERR_OK);
	for (int64_t n = 0; n < size; n += IDX_BLOCK / 2) {
		ck_assert_int_eq(ftruncate(fd, size - 1 - n), 0);
		ck_assert_int_eq(read_all(), ERR_CORRUPT);
	}
	close(fd);
}
END_TEST

Suite *idx_suite(void)
{
	Suite *s = suite_create("idx");
	TCase *t = tcase_create("idx");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, file_reads_back_as_written);
	tcase_add_test(t, covers_of_a_cleaned_segment_stand_in_its_index);
	tcase_add_test(t, flipped_bits_are_found);
	tcase_add_test(t, cut_and_swapped_blocks_are_found);
	suite_add_tcase(s, t);
	return s;
}
