#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

/* Every fixed bound of the product, with where it comes from. Bounds an
 * operator may change are settings (gateway/config.h) whose defaults stand
 * there. */

enum {
	/* Names: the Event Hubs quotas page. */
	LIMIT_HUB_NAME = 256,
	LIMIT_GROUP_NAME = 256,		/* 50 for AMQP groups in the cloud, 256 for Kafka's */
	LIMIT_POLICY_NAME = 256,
	LIMIT_POLICY_KEY = 256,
	LIMIT_PUBLISHER_NAME = 256,
	LIMIT_PARTITION_KEY = 128,
	LIMIT_POLICIES = 12,		/* per namespace and per hub */
	LIMIT_GROUPS = 1000,		/* per hub */
	LIMIT_HUBS = 1000,
	LIMIT_PARTITIONS = 1024,	/* per hub */
	LIMIT_UNITS = 10000,		/* throughput units: 10 GB/s */
	LIMIT_EPOCHLESS_READERS = 5,	/* per group and partition */

	/* Sizes that fit each other: a message fits a stored batch, a batch an
	 * entry, an entry a peer frame. */
	LIMIT_MESSAGE = 1 << 20,	/* one AMQP delivery or HTTPS body */
	LIMIT_BATCH = 2 << 20,		/* one stored RecordBatch after encoding */
	LIMIT_ENTRY_TARGET = 1 << 20,	/* a shard closes an entry at this size */
	LIMIT_ENTRY = 3 << 20,		/* hard cap of one entry record */

	LIMIT_SHARDS = 256,
	LIMIT_VOLUMES = 16,

	/* What a connection may do before it authorised itself (contract.md). */
	LIMIT_UNAUTH_MS = 20000,
	LIMIT_UNAUTH_LINKS = 16,
	LIMIT_UNAUTH_BYTES = 64 << 10,
	LIMIT_TOKEN = 8 << 10,		/* a SAS token or connection string */

	LIMIT_AMQP_FRAME = 64 << 10,
	LIMIT_AMQP_SESSIONS = 256,	/* per connection; the JS SDK opens one per link */
	LIMIT_AMQP_LINKS = 1024,	/* per connection */
	LIMIT_AMQP_NESTING = 32,	/* depth of described, list, map and array values */
	LIMIT_HTTP_HEAD = 16 << 10,
	LIMIT_PATH = 4096,
};

#endif
