#ifndef GATEWAY_KAFKA_SETTINGS_H
#define GATEWAY_KAFKA_SETTINGS_H

/* The settings of topics and of the broker, by the names that Kafka's tools know: one
 * table of each tells what they are and what may be asked of them. Three of a topic's
 * are the hub's own and can be changed; of the others some may be set to anything
 * sensible, because nothing that a client relies on depends on them, and the rest only
 * to what they are. Loop thread only. */

#include "gateway/core/cleanup.h"
#include "gateway/kafka/handlers.h"

/* What of a hub clients may set. */
struct kafka_settings {
	int64_t retention_ms;		/* 0: for ever */
	uint64_t retention_bytes;	/* 0: no bound */
	enum catalog_cleanup cleanup;
	bool has_retention;		/* changed */
	bool has_retention_bytes;
	bool has_cleanup;
};

/* What a hub has of which nothing is said; nothing counts as changed. */
struct kafka_settings kafka_settings_default(const struct kafka_front *f);
struct kafka_settings kafka_settings_of(const struct catalog_hub *hub);
/* What was changed, into a command. */
void kafka_settings_fill(const struct kafka_settings *s, struct catalog_command *cmd);

/* As the protocol numbers them. */
enum kafka_config_op {
	KAFKA_CONFIG_SET = 0,
	KAFKA_CONFIG_DELETE = 1,	/* back to the default */
	KAFKA_CONFIG_APPEND = 2,	/* of lists */
	KAFKA_CONFIG_SUBTRACT = 3,
};
/* One change that a client asks for; what may be ignored is. */
struct kafka_refusal kafka_settings_change(struct kafka_request *r, struct kafka_settings *s,
					   int8_t op, struct span name,
					   const struct kafka_string *value);

/* ConfigSource (kafka.md 8). */
enum kafka_config_source {
	KAFKA_SOURCE_TOPIC = 1,
	KAFKA_SOURCE_STATIC_BROKER = 4,
	KAFKA_SOURCE_DEFAULT = 5,
};
/* A setting as it is. Its texts are static or in the request's arena. */
struct kafka_config_value {
	const char *name;
	const char *value;
	const char *about;
	const char *broker_name;	/* NULL: none */
	const char *broker_value;	/* what the broker's setting of that name is */
	int8_t type;			/* 1 bool, 2 string, 3 int, 5 long, 6 double, 7 list */
	int8_t source;
	int8_t broker_source;
	bool is_read_only;
};
/* In the request's arena; NULL: kafka_fail was called. */
struct kafka_config_value *kafka_topic_configs(struct kafka_request *r,
					       const struct kafka_settings *s, uint32_t *n);
struct kafka_config_value *kafka_broker_configs(struct kafka_request *r, uint32_t *n);

#endif
