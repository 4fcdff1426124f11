#ifndef TEST_UNIT_GROUP_FAKE_STORE_H
#define TEST_UNIT_GROUP_FAKE_STORE_H

/* What the coordinator needs of a store, in memory: rows that survive a restart of
 * the coordinator, writes that are held back or fail on demand, a catalogue. */

#include "store/store.h"

struct store *fake_store_new(void);	/* with hubs "events" (id 1, 8 partitions) and "other" (2) */
void fake_store_free(struct store **s);
/* Writes are kept back until fake_store_release. */
void fake_store_hold(struct store *s);
void fake_store_release(struct store *s);
uint32_t fake_store_held(struct store *s);
/* Every write fails with this; ERR_OK ends it. */
void fake_store_fail(struct store *s, enum err e);
/* The shard's volume cannot be used; before the coordinator is made. */
void fake_store_out(struct store *s, uint32_t shard);
uint32_t fake_store_rows(struct store *s, uint8_t kind);
uint32_t fake_store_writes(struct store *s);
void fake_store_put(struct store *s, uint8_t kind, struct span key, struct span content);
void fake_store_delete_hub(struct store *s, const char *name);

#endif
