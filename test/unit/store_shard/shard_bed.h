#ifndef TEST_UNIT_STORE_SHARD_SHARD_BED_H
#define TEST_UNIT_STORE_SHARD_SHARD_BED_H

/* A shard core over a fake volume, and a mailbox of the test. */

#include "base/mailbox.h"
#include "store/shard/shard.h"
#include "test/lib/fake_volume.h"
#include "test/lib/store_ops.h"

enum { BED_VOLUMES = 3 };

struct bed {
	struct volume *volume;			/* the first */
	struct volume *volumes[BED_VOLUMES];
	struct volume *online[BED_VOLUMES];	/* those a core is opened on; NULL: not that one */
	const char *dirs[BED_VOLUMES];
	uint32_t n_volumes;
	struct shard_core *core;
	struct mailbox mb;
	struct shard_options options;
};

void bed_init(struct bed *b, uint32_t shards);
/* Makes the volumes only; options may be changed before bed_open. */
void bed_make(struct bed *b, uint32_t shards, uint32_t n_volumes);
void bed_open(struct bed *b);	/* starts a core on the volume */
void bed_close(struct bed *b);	/* closes and frees it, keeps the volume's content */
void bed_fini(struct bed *b);
/* Runs a command; the result, with the detail thrown away. */
enum err bed_command(struct bed *b, const struct catalog_command *cmd);
struct store_partition *bed_create(struct bed *b, const char *hub, uint32_t partitions);
struct store_partition *bed_find(struct bed *b, const char *hub, uint32_t partition);
/* Appends one batch and waits. */
enum err bed_append(struct bed *b, struct store_partition *p, int64_t first, uint32_t n);
/* Waits until the core ran everything posted before. */
void bed_settle(struct bed *b);
/* Writes rows and waits. */
enum err bed_rows_write(struct bed *b, uint32_t shard, const struct store_row *rows, uint32_t n);
/* Moves the partition's start and waits. */
enum err bed_trim(struct bed *b, struct store_partition *p, int64_t before_seq);
/* Waits until the partition's start is there; aborts after a minute. */
void bed_await_start(struct store_partition *p, int64_t first_seq);
/* Rows of a kind, over all shards. */
uint32_t bed_rows(struct bed *b, uint8_t kind);
/* Runs `fn` on the core's thread and waits; NULL: just waits for what was posted
 * before, also while the volume is held. */
void bed_on_core(struct bed *b, void (*fn)(struct shard_core *core, void *arg), void *arg);
/* Entries the volume was given. */
uint64_t bed_entries(struct bed *b);

#endif
