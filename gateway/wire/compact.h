#ifndef GATEWAY_WIRE_COMPACT_H
#define GATEWAY_WIRE_COMPACT_H

/* What compaction has to know of batches (store/types.h): the key of each record,
 * which of them mark a key as deleted, and a batch without some of its records. The
 * key of a Kafka record is its own, its mark a null value. Events of AMQP and HTTPS
 * have their batch's partition key; their mark is no body, or one of empty data
 * sections, since the SDKs cannot send none. Pure; any thread. */

#include "store/types.h"

/* walk: ERR_CORRUPT also for offset deltas that do not ascend. Transaction markers
 * have no key. rewrite: ERR_INVALID when nothing is kept; ERR_TOO_LARGE when what is
 * kept packs worse than what the producer sent, beyond LIMIT_BATCH: the caller leaves
 * that batch as it is; ERR_CORRUPT, ERR_NOMEM. Nothing is appended when it fails. */
extern const struct store_compactor wire_compactor;

/* Whether the event's sections hold no content, see above. ERR_CORRUPT. */
enum err amqp_event_is_empty(struct span value, bool *is_empty) MUST_CHECK;

#endif
