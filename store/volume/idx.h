#ifndef STORE_VOLUME_IDX_H
#define STORE_VOLUME_IDX_H

/* The .idx file of a sealed segment, big-endian, in blocks of 4096 bytes:
 *
 *   block      u32 CRC-32C of the rest, begun with the segment's UUID and the
 *              block's number, so that a block in the wrong place is found out
 *   block 0    "SLIX", u16 version 1, u16 0, u64 segment number, 16 bytes store
 *              UUID, 16 bytes segment UUID, u64 size and u32 CRC-32C of the
 *              whole .mdb file, u32 number of shards, u64 first and next log
 *              number, then for each section u64 number of rows, u32 first block
 *
 * Sections, each of rows of one size, as many to a block as fit:
 *   partitions 72  u32 hub, partition, shard, cover flags (log segments: 0);
 *                  u64 first row, number of rows; i64 first seq, next seq, last
 *                  append, max timestamp; u64 bytes; sorted by hub, partition;
 *                  of a cleaned segment one per cover, with the cover's range,
 *                  even when it has no rows
 *   rows       64  u32 hub, partition; i64 base seq, next seq; u64 log number;
 *                  i64 first append, last append, max timestamp; u32 bytes, 0;
 *                  one per entry and partition, sorted by partition, seq
 *   shards     64  u32 shard, has hard state; u64 first row, number of rows,
 *                  first index; u64 term, vote, log start, start term; one per
 *                  shard
 *   raft       32  u64 index, term, log number; u32 has commands, 0;
 *                  sorted by shard, index
 *
 * Written under a temporary name, synced, renamed, the directory synced. */

#include "store/volume/index.h"

enum { IDX_BLOCK = 4096, IDX_UUID = 16 };

enum idx_section { IDX_PARTS, IDX_ROWS, IDX_SHARDS, IDX_RAFT, IDX_SECTIONS };

struct idx_head {
	uint64_t number;
	uint8_t store_uuid[IDX_UUID];
	uint8_t segment_uuid[IDX_UUID];
	uint64_t mdb_bytes;
	uint32_t mdb_crc;
	uint32_t shards;
	uint64_t first_log_no;
	uint64_t next_log_no;
	struct {
		uint64_t n;
		uint32_t block;
	} section[IDX_SECTIONS];
};

/* One row of the partitions section. */
struct idx_part {
	struct store_part part;
	uint32_t shard;
	uint32_t flags;		/* of its cover */
	uint64_t first_row;
	uint64_t n_rows;	/* of a cleaned segment maybe 0 */
	int64_t first_seq;
	int64_t next_seq;
	int64_t last_append_ms;
	int64_t max_timestamp_ms;
	uint64_t bytes;
};

/* One row of the shards section. */
struct idx_shard {
	uint64_t first_row;
	uint64_t n_rows;
	uint64_t first_index;
	bool has_hard;
	struct volume_hard_state hard;
};

/* What a cleaned segment stands for: its covers, sorted by partition. Each batch of
 * its index lies in one. */
struct idx_covers {
	const struct record_cover *v;
	size_t n;
};
/* Writes `path`; the sections in `h` are filled in here. `covers` is NULL for a log
 * segment. ERR_IO and ERR_FULL: `path` is as before. Blocks. */
enum err idx_write(const char *path, struct idx_head *h, const struct index *ix,
		   const struct idx_covers *covers, struct err_detail *d) MUST_CHECK;

/* Opens a file and checks its head and size. ERR_CORRUPT, ERR_NOT_FOUND, ERR_IO,
 * ERR_VERSION. */
enum err idx_open(const char *path, struct idx_head *out, int *fd, struct err_detail *d) MUST_CHECK;

/* Reads through one block at a time; lives on the stack of whoever reads. */
struct idx_reader {
	int fd;
	const struct idx_head *head;
	uint32_t block_no;	/* what `block` holds; 0 = nothing */
	uint8_t block[IDX_BLOCK];
};
void idx_reader_init(struct idx_reader *r, int fd, const struct idx_head *head);
/* Row `i` of the section. ERR_CORRUPT, ERR_IO. */
enum err idx_part_at(struct idx_reader *r, uint64_t i, struct idx_part *out) MUST_CHECK;
enum err idx_shard_at(struct idx_reader *r, uint32_t shard, struct idx_shard *out) MUST_CHECK;
enum err idx_raft_at(struct idx_reader *r, uint64_t i, struct index_raft *out) MUST_CHECK;
/* *found: whether the segment has the partition. ERR_CORRUPT, ERR_IO. */
enum err idx_part_find(struct idx_reader *r, struct store_part part, struct idx_part *out,
		       bool *found) MUST_CHECK;
/* Row number i of the partition's n_rows. */
enum err idx_row_at(struct idx_reader *r, const struct idx_part *p, uint64_t i,
		    struct index_row *out) MUST_CHECK;
/* As index_rows. By timestamp each row is looked at, from the first on. */
enum err idx_rows(struct idx_reader *r, struct store_part part, const struct index_query *q,
		  struct index_row *out, size_t max, size_t *n) MUST_CHECK;

/* In both idx_write.c and idx_read.c. */
extern const uint32_t idx_row_bytes[IDX_SECTIONS];
uint32_t idx_block_crc(const uint8_t *segment_uuid, uint32_t block_no, const uint8_t *block);
static inline uint64_t idx_rows_per_block(enum idx_section s)
{
	return (IDX_BLOCK - 4) / idx_row_bytes[s];
}
static inline uint64_t idx_blocks_of(enum idx_section s, uint64_t n)
{
	uint64_t per = idx_rows_per_block(s);
	return n / per + (n % per != 0);
}

#endif
