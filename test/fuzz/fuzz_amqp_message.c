/* A delivery, plain and as a batch; what is stored must be fit to send on. */

#include <stdlib.h>
#include "gateway/wire/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amqp_outbound o = {.sequence = 1, .runtime_metric = size % 2 == 0};
	for (uint32_t i = 0; i < 2; i++) {
		struct amqp_inbound in;
		struct batch_iter it;
		struct batch_record rec;
		enum err e = amqp_inbound_make(span_of(data, size), i * AMQP_FORMAT_BATCH,
					       span_of("", 0), &in, NULL);
		e = e == ERR_OK ? batch_iter_init(&it, span_of(in.batch->data, in.batch_len)) : e;
		while (e == ERR_OK && batch_iter_next(&it, &rec) == ERR_OK) {
			struct amqp_message m;
			struct str out = {.max = 0};
			if (amqp_outbound_write(rec.value, &o, &out) != ERR_OK ||
			    amqp_message_read(span_of(out.p, out.len), &m, NULL) != ERR_OK) {
				abort();
			}
			str_fini(&out);
		}
		buf_drop(&in.batch);
	}
	return 0;
}
