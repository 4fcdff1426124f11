#ifndef TEST_LIB_FAKE_VOLUME_H
#define TEST_LIB_FAKE_VOLUME_H

/* A volume in memory behind store/volume/volume.h: one writer thread that keeps
 * what it is given and answers in order. It can be held, so that a test decides
 * when entries become durable. What it keeps survives volume_stop until
 * fake_volume_free, so that a core can be opened on it again. */

#include <stdbool.h>
#include <stdint.h>

#include "store/types.h"

struct volume;

struct volume *fake_volume_new(uint32_t shards);
void fake_volume_free(struct volume **v);

/* While held, entries are taken but not answered. */
void fake_volume_hold(struct volume *v);
void fake_volume_release(struct volume *v);
/* Blocks until `n` entries were submitted in all. */
void fake_volume_wait(struct volume *v, uint64_t n);
/* Entries are answered, not kept: for measurements. */
void fake_volume_discard(struct volume *v, bool discard);

struct fake_counts {
	uint64_t entries;	/* submitted */
	uint64_t commands;	/* of answered entries */
	uint64_t events;
	uint32_t commands_max;	/* of one entry */
	uint64_t size_max;	/* of one entry */
};
void fake_volume_counts(struct volume *v, struct fake_counts *out);

/* What was said of a partition by volume_set_*; it outlives volume_stop too. */
struct fake_part {
	struct store_part part;
	int64_t start;
	bool is_gone;
	bool is_compacted;
};
struct fake_part fake_volume_told(struct volume *v, struct store_part part);
uint64_t fake_volume_floor(struct volume *v, uint32_t shard);
/* Forgets what volume_set_* said, as an open does. */
void fake_volume_forget_told(struct volume *v);
/* The shard's log begins here from now on; what is below is not replayed. */
void fake_volume_cut_log(struct volume *v, uint32_t shard, uint64_t log_start);
/* Removes the batches that nobody reads any more. */
void fake_volume_clean(struct volume *v);
/* What volume_disk_bytes says; 0 at first. */
void fake_volume_set_disk_bytes(struct volume *v, uint64_t bytes);
/* What a shard has written so far counts as one entry, as when it is cleaned. */
void fake_volume_join(struct volume *v);
/* Cuts asked for, and what they are answered with. */
uint64_t fake_volume_cuts(struct volume *v);
void fake_volume_fail_cuts(struct volume *v, enum err e);
/* While held, cuts are taken but not answered. */
void fake_volume_hold_cuts(struct volume *v, bool is_held);

#endif
