#ifndef TEST_LIB_FAKE_VOLUME_H
#define TEST_LIB_FAKE_VOLUME_H

/* A volume in memory behind store/volume/volume.h: one writer thread that keeps
 * what it is given and answers in order. It can be held, so that a test decides
 * when entries become durable. What it keeps survives volume_stop until
 * fake_volume_free, so that a core can be opened on it again. */

#include <stdbool.h>
#include <stdint.h>

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

#endif
