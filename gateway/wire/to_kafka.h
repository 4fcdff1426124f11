#ifndef GATEWAY_WIRE_TO_KAFKA_H
#define GATEWAY_WIRE_TO_KAFKA_H

/* Events that came by AMQP or HTTPS, as Kafka readers get them (event-hubs 9.5).
 * Pure; any thread. */

#include "base/batch.h"

/* No stored batch of LIMIT_BATCH becomes larger than this: 13 octets are the
 * least that an event takes there, 44 + LIMIT_PARTITION_KEY * 4 the most that the
 * partition key adds. For out->max. */
enum { TO_KAFKA_MAX = 128 << 20 };

/* Makes from a stored batch of encoding BATCH_AMQP an uncompressed RecordBatch
 * with the same base offset, count and offset deltas: one record for each event,
 * value = the bytes of its data sections one after another (an AMQP value or
 * sequence body: its whole encoding; no body: null value), headers = its
 * application properties, each value with its AMQP encoding (constructor and
 * value), and `x-opt-partition-key` (UTF-8) when it has a partition key; record
 * key null. Timestamp: append time, marked as log append time. CRC set.
 * Appends to `out`, unless it fails. ERR_CORRUPT (the value is not what
 * amqp_inbound_make wrote), ERR_NOMEM (out->max reached, too). */
enum err to_kafka_batch(struct span batch, struct span key, int64_t append_ms,
			struct str *out) MUST_CHECK;

#endif
