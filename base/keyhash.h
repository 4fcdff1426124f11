#ifndef BASE_KEYHASH_H
#define BASE_KEYHASH_H

/* Partition key -> partition, as the Event Hubs service and its SDKs do it:
 * Bob Jenkins lookup3 hashlittle2 over the key's UTF-8 bytes, both seeds 0,
 * folded to 16 bits. */

#include <stdint.h>

#include "base/bytes.h"

int16_t keyhash(struct span key);
/* abs(hash % partitions) with truncating remainder; partitions > 0. */
uint32_t keyhash_partition(struct span key, uint32_t partitions);

#endif
