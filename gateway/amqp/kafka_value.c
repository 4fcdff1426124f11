#include "gateway/amqp/kafka_value.h"

#include "gateway/wire/codec.h"

enum { ATTRIBUTE_CONTROL = 1 << 5 };

bool amqp_kafka_is_control(const struct batch_head *head)
{
	return (head->attributes & ATTRIBUTE_CONTROL) != 0;
}

static void put_key(const struct batch_record *rec, struct str *out)
{
	amqp_put_descriptor(out, AMQP_MESSAGE_ANNOTATIONS);
	size_t mark = amqp_begin_map(out);
	amqp_put_symbol(out, span_str("x-opt-kafka-key"));
	amqp_put_binary(out, rec->key);
	amqp_end(out, mark, 2);
}

/* varint name length, name, varint value length (-1: null), value, repeated. */
static bool put_headers(const struct batch_record *rec, struct str *out)
{
	struct rd r = rd_of(rec->headers);
	amqp_put_descriptor(out, AMQP_APPLICATION_PROPERTIES);
	size_t mark = amqp_begin_map(out);
	for (int32_t i = 0; i < rec->header_count && !r.bad; i++) {
		int32_t n = rd_varint(&r);
		struct span name = rd_span(&r, n >= 0 ? (size_t)n : SIZE_MAX);
		n = rd_varint(&r);
		amqp_put_string(out, name);
		if (n == -1) {
			amqp_put_null(out);
		} else {
			amqp_put_binary(out, rd_span(&r, n >= 0 ? (size_t)n : SIZE_MAX));
		}
	}
	amqp_end(out, mark, (uint32_t)rec->header_count * 2);
	return !r.bad;
}

enum err amqp_kafka_value(const struct batch_record *rec, struct str *out)
{
	if (rec->has_key) {
		put_key(rec, out);
	}
	if (rec->header_count > 0 && !put_headers(rec, out)) {
		return ERR_DECODE;
	}
	amqp_put_descriptor(out, AMQP_DATA);
	amqp_put_binary(out, rec->has_value ? rec->value : span_of(NULL, 0));
	return out->bad ? ERR_NOMEM : ERR_OK;
}
