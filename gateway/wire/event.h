#ifndef GATEWAY_WIRE_EVENT_H
#define GATEWAY_WIRE_EVENT_H

/* Events between the wire and the log. Coming in, a delivery's bytes become one
 * unsealed RecordBatch, each event one record whose value is its sections
 * verbatim (less delivery annotations and reserved annotations). Going out, a
 * stored value becomes one plain message with the broker's annotations. Pure;
 * any thread. */

#include <stdint.h>

#include "base/batch.h"
#include "gateway/wire/codec.h"

/* Values of transfer.message-format. Macros, because the second does not fit an
 * int: both compare safely with uint32_t. */
#define AMQP_FORMAT_PLAIN UINT32_C(0)
#define AMQP_FORMAT_BATCH UINT32_C(0x80013700)	/* Event Hubs batch: one Data section per event */

/* The message of one section kind, as found. */
struct amqp_message {
	struct span header, delivery_annotations, message_annotations, properties,
		application_properties, footer;	/* whole encodings; n = 0 when absent */
	struct span body;	/* all body sections, encoded, in order */
	uint32_t body_sections;
	enum amqp_section_code body_kind;	/* DATA, SEQUENCE or AMQP_VALUE; 0: no body */
};

/* Splits a complete message. Sections must come in the order of §3.2 and each
 * at most once, except data or sequence sections, which may repeat, and the
 * footer, which may also stand before the body (the JavaScript SDK's way); it is
 * stored and sent on behind it. ERR_DECODE with a detail that
 * names the section and the byte. An absent body is accepted (some clients send
 * none). */
enum err amqp_message_read(struct span in, struct amqp_message *out,
			   struct err_detail *d) MUST_CHECK;

struct amqp_inbound {
	struct buf *batch;	/* one reference; unsealed RecordBatch, then the key bytes */
	uint32_t batch_len;
	uint32_t key_len;	/* partition key at batch->data + batch_len */
	uint32_t events;
	/* Idempotent publishing annotations of the first event, if any. */
	bool has_producer;
};

/* Turns a delivery into a batch. `format` is the transfer's message-format.
 * Reserved message annotations (x-opt-sequence-number, x-opt-offset,
 * x-opt-enqueued-time, x-opt-partition-key, x-opt-publisher-name,
 * x-opt-sequence-number-epoch, com.microsoft:producer-*) are removed from each
 * event; the partition key is x-opt-partition-key of the envelope (batch), of
 * the event (plain) or, where the envelope has none, that of all inner events if
 * they agree. `forced_key` (publishers) replaces it when n > 0.
 * ERR_DECODE, ERR_INVALID (keys of inner events differ, key longer than
 * LIMIT_PARTITION_KEY characters, empty batch), ERR_TOO_LARGE (> LIMIT_BATCH
 * encoded), ERR_NOMEM. */
enum err amqp_inbound_make(struct span delivery, uint32_t format, struct span forced_key,
			   struct amqp_inbound *out, struct err_detail *d) MUST_CHECK;

/* For HTTPS: one event from a body and properties. `properties` is an encoded
 * application-properties section or empty. */
void amqp_event_add_http(struct batch_builder *b, struct span body, struct span properties);

struct amqp_outbound {
	int64_t sequence;
	int64_t enqueued_ms;
	struct span partition_key;	/* n = 0: none */
	struct span publisher;		/* n = 0: none */
	bool runtime_metric;		/* add delivery annotations: */
	int64_t last_sequence;
	int64_t last_enqueued_ms;
	int64_t retrieved_ms;
};

/* Appends to `out` the message for one stored value of encoding BATCH_AMQP:
 * delivery annotations if asked, message annotations = the broker's
 * (x-opt-sequence-number long, x-opt-offset string, x-opt-enqueued-time
 * timestamp, x-opt-partition-key string) followed by the sender's own, all other
 * sections verbatim. ERR_CORRUPT when the value is not what amqp_inbound_make
 * wrote. */
enum err amqp_outbound_write(struct span value, const struct amqp_outbound *o,
			     struct str *out) MUST_CHECK;

#endif
