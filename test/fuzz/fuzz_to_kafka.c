/* A stored batch of AMQP events, and a value of one, for Kafka readers. */

#include <stdlib.h>

#include "gateway/wire/to_kafka.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void convert(struct span batch)
{
	struct str out = {.max = 64 << 20};
	struct batch_iter it;
	struct batch_record rec;
	if (to_kafka_batch(batch, span_str("key"), 5, &out) == ERR_OK) {
		enum err e = batch_check(span_of(out.p, out.len));
		e = e == ERR_OK ? batch_iter_init(&it, span_of(out.p, out.len)) : e;
		while (e == ERR_OK) {
			e = batch_iter_next(&it, &rec);
		}
		if (e != ERR_EOF) {
			abort();
		}
	}
	str_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	convert(in);
	struct batch_builder b;
	struct buf *batch = NULL;
	batch_builder_init(&b, size, 64 << 20);
	batch_builder_add(&b, &in, 1);
	if (batch_builder_finish(&b, &batch) == ERR_OK) {
		convert(span_of(batch->data, batch->len));
	}
	buf_drop(&batch);
	batch_builder_fini(&b);
	return 0;
}
