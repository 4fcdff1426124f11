#ifndef GATEWAY_CLI_EVENT_JSON_H
#define GATEWAY_CLI_EVENT_JSON_H

/* Received messages taken apart, and their values as JSON. */

#include <jansson.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "gateway/cli/frame_priv.h"

/* What `sluice receive` shows of an event; spans borrow from the message. */
struct cli_event {
	int64_t sequence;	/* -1: the message does not say */
	int64_t enqueued_ms;
	struct span offset;
	struct span partition_key;
	struct amqp_value properties;	/* application properties; a map or null */
	struct str body;	/* data sections joined, or text of a value; owned */
	bool has_value;		/* the body is an AMQP value or sequence: */
	struct amqp_value value;
};

/* Zero-initialise once; each call replaces the event. ERR_DECODE, ERR_NOMEM. */
enum err cli_event_read(struct span message, struct cli_event *out) MUST_CHECK;
void cli_event_fini(struct cli_event *e);

/* Any AMQP value: numbers, texts and booleans as such, timestamps in ISO 8601,
 * binaries as text when they are UTF-8, else in base64. NULL: no memory. */
json_t *cli_value_json(const struct amqp_value *v);
/* One JSON object: partition, sequenceNumber, offset, enqueuedTime, partitionKey,
 * properties, body or bodyBase64. */
json_t *cli_event_json(const struct cli_event *e, uint32_t partition);

#endif
