#ifndef GATEWAY_WIRE_KAFKA_VALUE_H
#define GATEWAY_WIRE_KAFKA_VALUE_H

/* A Kafka record for an AMQP reader: the value becomes the data section (null an
 * empty one), the headers application properties of type binary (null: null),
 * the key the annotation x-opt-kafka-key (it is not the partition key). An AMQP
 * map may hold a key once: of headers with the same name the last is taken, as
 * Kafka's own lastHeader does. Headers whose names are not UTF-8 are left out,
 * since AMQP readers could not decode the whole event. Pure; any thread. */

#include "base/batch.h"

/* Appends what amqp_outbound_write takes. ERR_DECODE: the headers are
 * malformed; ERR_NOMEM. */
enum err amqp_kafka_value(const struct batch_record *rec, struct str *out) MUST_CHECK;
/* Transaction markers are no events. */
bool amqp_kafka_is_control(const struct batch_head *head);

#endif
