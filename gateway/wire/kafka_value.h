#ifndef GATEWAY_WIRE_KAFKA_VALUE_H
#define GATEWAY_WIRE_KAFKA_VALUE_H

/* A Kafka record for an AMQP reader: the value becomes the data section (null an
 * empty one), the headers application properties of type binary (null: null),
 * the key the annotation x-opt-kafka-key (it is not the partition key). An AMQP
 * map may hold a key once: of headers with the same name the last is taken, as
 * Kafka's own lastHeader does. Headers whose names are not UTF-8 are left out,
 * since AMQP readers could not decode the whole event, and so is what follows
 * the first AMQP_KAFKA_HEADERS. Pure; any thread. */

#include "base/batch.h"

enum { AMQP_KAFKA_HEADERS = 65536 };	/* bounds the memory of telling names apart, 4 MiB */

/* Appends what amqp_outbound_write takes. ERR_DECODE: the headers are
 * malformed; ERR_NOMEM. */
enum err amqp_kafka_value(const struct batch_record *rec, struct str *out) MUST_CHECK;
/* Transaction markers are no events. */
bool amqp_kafka_is_control(const struct batch_head *head);

#endif
