/* Any value of AMQP 1.0: reading, skipping and walking must agree. */

#include <stdlib.h>

#include "gateway/wire/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd deep = rd_of(span_of(data, size));
	while (rd_left(&deep) > 0) {
		struct rd again = deep;
		struct amqp_value v = amqp_read(&deep);
		struct span shallow = amqp_skip_shallow(&again);
		struct rd items = rd_of(v.data);
		for (uint32_t i = 0; i < v.count; i++) {
			(void)(v.type == AMQP_ARRAY ? amqp_read_array_item(&items, v.item_code)
						    : amqp_read(&items));
		}
		if ((!deep.bad && !span_eq(v.raw, shallow)) || items.bad) {
			abort();
		}
		(void)amqp_descriptor_code(&v);
		struct amqp_value found;
		(void)amqp_map_find(&v, "x-opt-offset", &found);
	}
	return 0;
}
