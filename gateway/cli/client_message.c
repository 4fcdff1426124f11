/* Messages as the commands send them. */

#include "gateway/cli/client.h"
#include "gateway/cli/frame_priv.h"

_Static_assert(CLI_FORMAT_BATCH == WIRE_FORMAT_BATCH, "one value");

static void put_key(struct str *s, const char *key)
{
	amqp_put_descriptor(s, AMQP_MESSAGE_ANNOTATIONS);
	size_t map = amqp_begin_map(s);
	amqp_put_symbol(s, span_str("x-opt-partition-key"));
	amqp_put_string(s, span_str(key));
	amqp_end(s, map, 2);
}

void cli_batch_begin(struct str *s, const char *key)
{
	if (key != NULL) {
		put_key(s, key);
	}
}

void cli_batch_add(struct str *s, struct span event)
{
	amqp_put_descriptor(s, AMQP_DATA);
	amqp_put_binary(s, event);
}

void cli_event_encode(struct str *s, struct span body, const char *key,
		      const struct cli_property *properties, size_t n)
{
	if (key != NULL) {
		put_key(s, key);
	}
	if (n > 0) {
		amqp_put_descriptor(s, AMQP_APPLICATION_PROPERTIES);
		size_t map = amqp_begin_map(s);
		for (size_t i = 0; i < n; i++) {
			amqp_put_string(s, span_str(properties[i].name));
			amqp_put_string(s, span_str(properties[i].value));
		}
		amqp_end(s, map, (uint32_t)(2 * n));
	}
	amqp_put_descriptor(s, AMQP_DATA);
	amqp_put_binary(s, body);
}
