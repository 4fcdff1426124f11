#ifndef GATEWAY_KAFKA_KAFKA_H
#define GATEWAY_KAFKA_KAFKA_H

/* The Kafka front end: connections, SASL, and the requests of producers,
 * consumers, consumer groups and administration, over the same hubs as the other
 * front ends. Transactions are refused. */

#include "gateway/core/core.h"
#include "gateway/group/groups.h"
#include "gateway/net/stream.h"

struct kafka_options {
	struct core *core;
	struct groups *groups;
	uint32_t node_id;
	uint64_t max_request_bytes;	/* one frame; a longer one ends the connection */
	uint64_t max_batch_bytes;	/* one record batch as sent (max.message.bytes) */
	uint64_t max_inflated_bytes;	/* what one batch may unpack to */
	uint64_t max_fetch_bytes;	/* one answer to Fetch, at most */
	uint32_t auto_create;		/* partitions of hubs that Metadata makes; 0: makes none */
	uint64_t segment_bytes;		/* for DescribeConfigs */
	uint32_t tombstone_retention_ms;
	uint32_t idle_timeout_ms;	/* a connection without any request for so long ends */
	uint32_t throttle_max_ms;	/* the longest throttle_time_ms, and silence of ours */
};

struct kafka_front;
enum err kafka_front_new(const struct kafka_options *o, struct kafka_front **out) MUST_CHECK;
void kafka_front_free(struct kafka_front **f);	/* after net_stop */

/* One per listener: what clients are told to connect to. */
struct kafka_listener;
enum err kafka_listener_new(struct kafka_front *f, struct kafka_listener **out) MUST_CHECK;
/* Before net_start. ERR_INVALID: host too long. */
enum err kafka_listener_advertise(struct kafka_listener *l, const char *host,
				  uint16_t port) MUST_CHECK;

/* For net_listen: ctx is the struct kafka_listener. */
extern const struct net_protocol kafka_protocol;

#endif
