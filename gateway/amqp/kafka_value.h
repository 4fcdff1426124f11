#ifndef GATEWAY_AMQP_KAFKA_VALUE_H
#define GATEWAY_AMQP_KAFKA_VALUE_H

/* A Kafka record for an AMQP reader: the value becomes the data section, the
 * headers application properties of type binary, the key the annotation
 * x-opt-kafka-key (it is not the partition key). Pure; any thread. */

#include "base/batch.h"

/* Appends what amqp_outbound_write takes. ERR_DECODE: the headers are
 * malformed; ERR_NOMEM. */
enum err amqp_kafka_value(const struct batch_record *rec, struct str *out) MUST_CHECK;
/* Transaction markers are no events. */
bool amqp_kafka_is_control(const struct batch_head *head);

#endif
