#ifndef GATEWAY_KAFKA_MESSAGES_H
#define GATEWAY_KAFKA_MESSAGES_H

/* The structs of Kafka's messages, generated from messages.def.
 *
 * The request of API JoinGroup is `struct kafka_join_group_request`, described
 * to the codec by `kafka_join_group_request_desc`; its response likewise. An
 * element of an array has its own struct, named after what one element is:
 *
 *   produce_request .topic_data     struct kafka_produce_request_topic
 *   ... .partition_data             struct kafka_produce_request_partition
 *   fetch_response .responses       struct kafka_fetch_response_topic
 *   metadata_response .brokers      struct kafka_metadata_response_broker
 *
 * (see the ARRAY lines of messages_{data,group,admin}.def). Fields bear Kafka's
 * names in snake case. One struct serves all versions; what a version lacks is
 * not sent and is decoded as its default. C types of the kinds:
 *
 *   BOOL I8 I16 I32 I64       bool, int8_t ... int64_t
 *   UUID                      struct kafka_uuid
 *   STRING NSTRING            struct kafka_string
 *   BYTES, RECORDS            struct kafka_bytes, struct kafka_records
 *   ARRAY NARRAY              struct kafka_<element> *x; int32_t n_x;
 *   ARRAY_I32, ARRAY_STRING   int32_t *x, struct kafka_string *x; int32_t n_x;
 *   TAG_*                     the same, and bool has_x: sent only if it is true
 *
 * A struct of zeros is a valid message: numbers 0, strings empty (not null),
 * arrays empty, tagged fields absent. kafka_defaults fills in Kafka's defaults
 * instead, in which nullable strings are null. */

#include "gateway/kafka/codec.h"

#define KAFKA_CAT_(a, b, c) a##b##c
#define KAFKA_CAT(a, b, c) KAFKA_CAT_(a, b, c)

#define STRUCT struct KAFKA_CAT(kafka_, SELF, ) {
#define END }; extern const struct kafka_struct KAFKA_CAT(kafka_, SELF, _desc);
#define BOOL(name, versions, def) bool name;
#define I8(name, versions, def) int8_t name;
#define I16(name, versions, def) int16_t name;
#define I32(name, versions, def) int32_t name;
#define I64(name, versions, def) int64_t name;
#define UUID(name, versions) struct kafka_uuid name;
#define STRING(name, versions) struct kafka_string name;
#define NSTRING(name, versions, null_from) struct kafka_string name;
#define BYTES(name, versions) struct kafka_bytes name;
#define RECORDS(name, versions) struct kafka_records name;
#define ARRAY(name, versions, of) struct kafka_##of *name; int32_t n_##name;
#define NARRAY(name, versions, of, null_from) ARRAY(name, versions, of)
#define ARRAY_I32(name, versions) int32_t *name; int32_t n_##name;
#define ARRAY_STRING(name, versions) struct kafka_string *name; int32_t n_##name;
#define NARRAY_STRING(name, versions, null_from) ARRAY_STRING(name, versions)
#define TAG_BOOL(name, versions, tag, def) bool name; bool has_##name;
#define TAG_I16(name, versions, tag, def) int16_t name; bool has_##name;
#define TAG_I64(name, versions, tag, def) int64_t name; bool has_##name;
#define TAG_NSTRING(name, versions, tag) struct kafka_string name; bool has_##name;
#define TAG_STRUCT(name, versions, tag, of) struct kafka_##of name; bool has_##name;
#define TAG_ARRAY(name, versions, tag, of) ARRAY(name, versions, of) bool has_##name;
#include "gateway/kafka/messages.def"
#include "gateway/kafka/messages_undef.def"

/* The keys: KAFKA_API_Produce and so on. */
enum kafka_api_key {
#define API(key, Name, name, first, last, advertised_first, first_flexible) KAFKA_API_##Name = key,
#include "gateway/kafka/messages.def"
#undef API
};

#endif
