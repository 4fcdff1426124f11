/* A RecordBatch from a producer or from disk: walked, and built anew. */

#include <stdlib.h>

#include "base/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct batch_iter it;
	struct batch_record rec;
	int32_t n = 0;
	enum err e = batch_check(in);
	for (e = batch_iter_init(&it, in); e == ERR_OK && (e = batch_iter_next(&it, &rec)) == ERR_OK;) {
		n++;
	}
	struct batch_builder b;
	struct buf *out = NULL;
	batch_builder_init(&b, size, 4 << 20);
	batch_builder_merge(&b, in);
	if (batch_builder_finish(&b, &out) == ERR_OK && (e != ERR_EOF || b.count != n)) {
		abort();
	}
	buf_drop(&out);
	batch_builder_fini(&b);
	return 0;
}
