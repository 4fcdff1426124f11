#ifndef GATEWAY_KAFKA_DATA_H
#define GATEWAY_KAFKA_DATA_H

/* What the handlers of the data path (produce, fetch, list offsets) share. Loop
 * thread only. */

#include <stddef.h>

#include "base/log.h"
#include "gateway/kafka/kafka_priv.h"

/* The struct that embeds *p as its member. */
#define KAFKA_OWNER(type, p, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* An error of the store in an answer about one partition: never -1, which
 * producers take for the end of everything, and nothing that clients do not know
 * there. What may pass is told as 56, upon which clients ask for metadata and try
 * again. */
static inline enum kafka_code kafka_data_code(enum err e)
{
	enum kafka_code code = kafka_code_of(e);
	switch (code) {
	case KAFKA_UNKNOWN_SERVER_ERROR:
	case KAFKA_INVALID_REQUEST:
	case KAFKA_POLICY_VIOLATION:
	case KAFKA_INVALID_RECORD:
	case KAFKA_NOT_ENOUGH_REPLICAS:
		return KAFKA_STORAGE_ERROR;
	default:
		return code;
	}
}

/* What a client believes the leader epoch to be; negative: it does not say. None
 * is lower than ours. */
static inline enum kafka_code kafka_epoch_check(int32_t current)
{
	return current > KAFKA_LEADER_EPOCH ? KAFKA_UNKNOWN_LEADER_EPOCH : KAFKA_NONE;
}

/* One reference to a partition that a request names, KAFKA_NONE, or 3. */
static inline enum kafka_code kafka_partition_find(const struct kafka_conn *c,
						   const struct kafka_topic *topic, int32_t index,
						   struct store_partition **out)
{
	if (index < 0 || (uint32_t)index >= topic->partitions) {
		return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
	}
	struct store_part part = {topic->hub_id, (uint32_t)index};
	*out = core_partition(c->front->core, part);
	return *out != NULL ? KAFKA_NONE : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
}

/* Where a partition stands, KAFKA_NONE, 3, or 56: the numbers of one whose volume
 * cannot be used say nothing, and must not make clients begin anew. */
static inline enum kafka_code kafka_partition_position(struct store_partition *p,
						       struct store_position *out)
{
	store_partition_position(p, out);
	return out->deleted	 ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION
	       : out->is_offline ? KAFKA_STORAGE_ERROR
				 : KAFKA_NONE;
}

/* Zeroed; n may be 0. NULL: kafka_fail was called. */
static inline void *kafka_alloc_array(struct kafka_request *r, size_t n, size_t size)
{
	return kafka_alloc(r, (n != 0 ? n : 1) * size);
}

/* Array lengths of requests: null counts as empty. */
static inline uint32_t kafka_count(int32_t n)
{
	return n > 0 ? (uint32_t)n : 0;
}

#endif
