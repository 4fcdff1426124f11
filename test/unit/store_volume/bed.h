#ifndef TEST_UNIT_STORE_VOLUME_BED_H
#define TEST_UNIT_STORE_VOLUME_BED_H

/* A volume in a directory of its own, with events whose content tells where they
 * belong, so that every read can be checked without a second copy. Partition
 * number p of the bed is partition p % 4 of hub 1 + p / 4, in shard p % shards. */

#include <check.h>

#include "store/volume/volume.h"

enum { BED_PARTS = 64, BED_SHARDS = 8, BED_DIR = 64 };

struct bed {
	char dir[BED_DIR];
	struct volume_options options;
	struct volume *v;
	struct mailbox box;
	uint32_t outstanding;
	int64_t next_seq[BED_PARTS];
	uint64_t next_index[BED_SHARDS];
	int64_t now_ms;			/* append time of the next entry */
	int64_t timestamp_ms;		/* of the next batches' records; 0: now_ms */
	int64_t first_ms;		/* append time of an event = first_ms + what bed_ms_of tells */
};

void bed_init(struct bed *b);	/* makes the directory; 2 shards, segments of 1 MiB */
void bed_fini(struct bed *b);	/* closes, removes the directory */
enum err bed_try_open(struct bed *b, bool was_unclean, struct err_detail *d) MUST_CHECK;
void bed_start(struct bed *b);
void bed_open(struct bed *b, bool was_unclean);	/* must succeed; and starts */
void bed_close(struct bed *b);
void bed_reopen(struct bed *b, bool was_unclean);

struct store_part bed_part(uint32_t p);
uint32_t bed_shard(const struct bed *b, uint32_t p);

/* One entry: begin, add batches, submit; the bed owns it until it is done. */
struct bed_entry;
struct bed_entry *bed_entry_begin(struct bed *b, uint32_t shard);
void bed_entry_batch(struct bed *b, struct bed_entry *e, uint32_t p, int32_t events, size_t value);
void bed_entry_command(struct bed_entry *e, enum volume_kind kind, const char *payload);
void bed_submit(struct bed *b, struct bed_entry *e);
void bed_wait(struct bed *b);	/* until everything submitted is done */
/* All four steps with one batch. */
void bed_append(struct bed *b, uint32_t p, int32_t events, size_t value);

enum err bed_read(struct bed *b, struct volume_read *r);	/* and waits */
enum err bed_seek(struct bed *b, struct volume_seek *s);
enum err bed_cut(struct bed *b, struct volume_cut *c);
/* Checks the content of what was read. */
void bed_check_batches(uint32_t p, const struct store_batches *batches);
/* Reads from..limit; every event must be there once, in order, as it was sent. */
void bed_check_read(struct bed *b, uint32_t p, int64_t from, int64_t limit);
/* bed_check_read over all partitions, and ranges and shards as the bed knows. */
void bed_check_all(struct bed *b);
void bed_check_info(struct bed *b);

/* Files. */
void bed_file(const struct bed *b, uint64_t number, const char *suffix, char *out, size_t n);
bool bed_has_file(const struct bed *b, uint64_t number, const char *suffix);
void bed_wait_sealed(const struct bed *b, uint64_t number);
void bed_unlink(const struct bed *b, const char *name);	/* below the directory; must be there */
void bed_flip(const char *path, int64_t at);	/* one bit; negative: from the end */
void bed_flip_bit(const char *path, int64_t at, int bit);
int64_t bed_size(const char *path);
/* Where a pattern stands in a file; -1: nowhere. */
int64_t bed_find(const char *path, const void *pattern, size_t n);
/* Lines of the log since the last call that hold `id`. */
void bed_log_catch(void);
bool bed_log_had(const char *id);

#endif
