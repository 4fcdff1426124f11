/* The outgoing half of event.h: a stored value becomes a message. */

#include <assert.h>
#include <string.h>

#include "gateway/wire/event.h"
#include "gateway/wire/event_priv.h"

enum {
	DECIMAL_MAX = 20,	/* "-9223372036854775808" */
	/* The fixed annotations with their largest values: names 21 + 12 + 19
	 * (each with 2 octets before it), 9 + 22 + 9 octets of values. */
	BROKER_MAX = 128,
	/* The same for delivery annotations: names 29 + 20 + 22 + 31. */
	RUNTIME_MAX = 192,
};

static void put_name(struct wr *w, const char *name, size_t n)
{
	wr_u8(w, 0xa3);
	wr_u8(w, (uint8_t)n);
	wr_bytes(w, name, n);
}
#define PUT_NAME(w, literal) put_name((w), "" literal "", sizeof(literal) - 1)

static void put_long(struct wr *w, int64_t v)
{
	if (v >= INT8_MIN && v <= INT8_MAX) {
		wr_u8(w, 0x55);
		wr_u8(w, (uint8_t)v);
	} else {
		wr_u8(w, 0x81);
		wr_u64(w, (uint64_t)v);
	}
}

static void put_timestamp(struct wr *w, int64_t ms)
{
	wr_u8(w, 0x83);
	wr_u64(w, (uint64_t)ms);
}

/* An offset is the sequence number in decimal digits, as a string. */
static void put_offset(struct wr *w, int64_t sequence)
{
	char digits[DECIMAL_MAX];
	size_t n = 0;
	uint64_t v = sequence < 0 ? 0 - (uint64_t)sequence : (uint64_t)sequence;
	do {
		digits[DECIMAL_MAX - ++n] = (char)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	if (sequence < 0) {
		digits[DECIMAL_MAX - ++n] = '-';
	}
	wr_u8(w, 0xa1);
	wr_u8(w, (uint8_t)n);
	wr_bytes(w, digits + DECIMAL_MAX - n, n);
}

/* Event Hubs' runtime metric: four delivery annotations and no others. */
static void write_runtime(const struct amqp_outbound *o, struct str *out)
{
	uint8_t bytes[RUNTIME_MAX];
	struct wr w = wr_of(bytes, sizeof bytes);
	PUT_NAME(&w, "last_enqueued_sequence_number");
	put_long(&w, o->last_sequence);
	PUT_NAME(&w, "last_enqueued_offset");
	put_offset(&w, o->last_sequence);
	PUT_NAME(&w, "last_enqueued_time_utc");
	put_timestamp(&w, o->last_enqueued_ms);
	PUT_NAME(&w, "runtime_info_retrieval_time_utc");
	put_timestamp(&w, o->retrieved_ms);
	assert(!w.bad);
	amqp_put_descriptor(out, AMQP_DELIVERY_ANNOTATIONS);
	size_t mark = amqp_begin_map(out);
	str_addn(out, bytes, wr_len(&w));
	amqp_end(out, mark, 8);
}

/* The broker's annotations and then the sender's own. */
static void write_annotations(const struct amqp_outbound *o, const struct amqp_value *own,
			      struct str *out)
{
	uint8_t bytes[BROKER_MAX];
	struct wr w = wr_of(bytes, sizeof bytes);
	uint32_t count = 6;
	PUT_NAME(&w, "x-opt-sequence-number");
	put_long(&w, o->sequence);
	PUT_NAME(&w, "x-opt-offset");
	put_offset(&w, o->sequence);
	PUT_NAME(&w, "x-opt-enqueued-time");
	put_timestamp(&w, o->enqueued_ms);
	assert(!w.bad);
	amqp_put_descriptor(out, AMQP_MESSAGE_ANNOTATIONS);
	size_t mark = amqp_begin_map(out);
	str_addn(out, bytes, wr_len(&w));
	if (o->partition_key.n > 0) {
		amqp_put_symbol(out, span_str("x-opt-partition-key"));
		amqp_put_string(out, o->partition_key);
		count += 2;
	}
	if (o->publisher.n > 0) {
		amqp_put_symbol(out, span_str("x-opt-publisher-name"));
		amqp_put_string(out, o->publisher);
		count += 2;
	}
	str_addn(out, own->data.p, own->data.n);
	amqp_end(out, mark, count + own->count);
}

/* Whether `own` may be copied behind the broker's entries: a map whose count is
 * right, or null. */
static bool annotations_fit(const struct amqp_value *own)
{
	if (own->type != AMQP_MAP) {
		return own->type == AMQP_NULL && own->raw.n > 0;
	}
	struct rd r = rd_of(own->data);
	for (uint32_t i = 0; i < own->count && !r.bad; i++) {
		(void)amqp_skip_shallow(&r);
	}
	return !r.bad && r.p == r.end && own->count % 2 == 0;
}

enum err amqp_outbound_write(struct span value, const struct amqp_outbound *o, struct str *out)
{
	struct amqp_message m;
	struct amqp_value own = {.type = AMQP_NULL};
	if (amqp_sections_read(value, AMQP_CHECK_OUTER, &m, NULL) != ERR_OK ||
	    m.delivery_annotations.n > 0) {
		return ERR_CORRUPT;
	}
	if (m.message_annotations.n > 0) {
		own = amqp_section_value(m.message_annotations);
		if (!annotations_fit(&own)) {
			return ERR_CORRUPT;
		}
	}
	amqp_put_raw(out, m.header);
	if (o->runtime_metric) {
		write_runtime(o, out);
	}
	write_annotations(o, &own, out);
	size_t head = m.header.n + m.message_annotations.n;
	str_addn(out, value.p + head, value.n - head);
	return out->bad ? ERR_NOMEM : ERR_OK;
}
