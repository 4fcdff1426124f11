#ifndef TEST_FAULT_POWER_ORACLE_H
#define TEST_FAULT_POWER_ORACLE_H

/* What the client knows, and what a store must show for it at a cut. The journal, a
 * line each; `begun` and `acked` are lengths of the operation log: before the request
 * was sent, and after its answer was read, 0: never answered.
 *
 *   hub NAME PARTITIONS KIND begun acked         KIND: plain, trim, retain, compact
 *   gone NAME begun acked                        the hub's deletion
 *   event ID HUB PARTITION SEQUENCE LENGTH KEY begun acked
 *                                                SEQUENCE -1: not told; KEY "-": none;
 *                                                LENGTH -1: a tombstone
 *   commit GROUP HUB PARTITION OFFSET begun acked   rising offsets
 *   trim HUB PARTITION BEFORE begun acked        rising
 *
 * An event's body is "EV<8 digits of ID> x<ID>x<ID>x<ID>...", cut anywhere; a tombstone
 * has "EV<8 digits> " in its headers. ID / 1000000 is its writer; a writer's events of
 * one partition are written in the order of their numbers.
 *
 * Kinds. plain: all of it is there. trim: the log begins no later than the greatest
 * trim that was sent, no earlier than the greatest that was answered. retain: as trim,
 * without the bound above. compact: of each key the newest
 * acknowledged event, or one that is newer. */

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

struct oracle;

struct oracle *oracle_new(const char *journal);

/* One look at a store: what was acknowledged before `must` is there, what was begun
 * after `may` is not; of a power cut both are the place of the cut. The checker's own
 * events ("CK ...") may be at the end of partitions. */
struct moment {
	uint64_t must;
	uint64_t may;
};
struct look;
struct look *look_new(const struct oracle *o, struct moment at);
void look_free(struct look **l);
void look_hub(struct look *l, const char *name, uint32_t id, uint32_t partitions);
/* Before its events: where the partition begins and ends. */
void look_partition(struct look *l, uint32_t hub_id, uint32_t partition, int64_t first_seq,
		    int64_t next_seq);
void look_batch(struct look *l, const struct store_batch *b);
/* After them: where it begins now, since retention goes on meanwhile. */
void look_partition_end(struct look *l, int64_t first_seq);
void look_offset(struct look *l, struct span group, struct store_part part, int64_t offset);
/* NULL: all is well. Borrowed from the look. */
const char *look_end(struct look *l);

#endif
