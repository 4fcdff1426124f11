/* What can be asked of values that were read: codec.h. */

#include "gateway/wire/codec.h"

/* Descriptors by symbol (AMQP 1.0 §2.7, §2.8.14, §3.2, §5.3.3). */
static const struct {
	const char *symbol;
	uint8_t code;
} descriptors[] = {
	{"amqp:header:list", AMQP_HEADER},
	{"amqp:delivery-annotations:map", AMQP_DELIVERY_ANNOTATIONS},
	{"amqp:message-annotations:map", AMQP_MESSAGE_ANNOTATIONS},
	{"amqp:properties:list", AMQP_PROPERTIES},
	{"amqp:application-properties:map", AMQP_APPLICATION_PROPERTIES},
	{"amqp:data:binary", AMQP_DATA},
	{"amqp:amqp-sequence:list", AMQP_SEQUENCE},
	{"amqp:amqp-value:*", AMQP_AMQP_VALUE},
	{"amqp:footer:map", AMQP_FOOTER},
	{"amqp:open:list", 0x10},
	{"amqp:begin:list", 0x11},
	{"amqp:attach:list", 0x12},
	{"amqp:flow:list", 0x13},
	{"amqp:transfer:list", 0x14},
	{"amqp:disposition:list", 0x15},
	{"amqp:detach:list", 0x16},
	{"amqp:end:list", 0x17},
	{"amqp:close:list", 0x18},
	{"amqp:error:list", 0x1d},
	{"amqp:sasl-mechanisms:list", 0x40},
	{"amqp:sasl-init:list", 0x41},
	{"amqp:sasl-challenge:list", 0x42},
	{"amqp:sasl-response:list", 0x43},
	{"amqp:sasl-outcome:list", 0x44},
};

uint64_t amqp_descriptor_code(const struct amqp_value *described)
{
	if (described->type != AMQP_DESCRIBED) {
		return UINT64_MAX;
	}
	struct rd r = rd_of(described->descriptor);
	struct amqp_value d = amqp_read(&r);
	if (!r.bad && d.type == AMQP_ULONG) {
		return d.u;
	}
	if (!r.bad && d.type == AMQP_SYMBOL) {
		for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++) {
			if (span_eq_str(d.data, descriptors[i].symbol)) {
				return descriptors[i].code;
			}
		}
	}
	return UINT64_MAX;
}

bool amqp_is_text(const struct amqp_value *v)
{
	return v->type == AMQP_STRING || v->type == AMQP_SYMBOL;
}

bool amqp_to_i64(const struct amqp_value *v, int64_t *out)
{
	switch (v->type) {
	case AMQP_UBYTE:
	case AMQP_USHORT:
	case AMQP_UINT:
	case AMQP_ULONG:
		if (v->u > INT64_MAX) {
			return false;
		}
		*out = (int64_t)v->u;
		return true;
	case AMQP_BYTE:
	case AMQP_SHORT:
	case AMQP_INT:
	case AMQP_LONG:
	case AMQP_TIMESTAMP:
		*out = v->i;
		return true;
	default:
		return false;
	}
}

bool amqp_map_find(const struct amqp_value *map, const char *key, struct amqp_value *out)
{
	if (map->type != AMQP_MAP) {
		return false;
	}
	struct rd r = rd_of(map->data);
	for (uint32_t i = 0; i + 1 < map->count && !r.bad; i += 2) {
		struct amqp_value k = amqp_read(&r);
		if (!r.bad && amqp_is_text(&k) && span_eq_str(k.data, key)) {
			*out = amqp_read(&r);
			return !r.bad;
		}
		(void)amqp_skip(&r);
	}
	return false;
}
