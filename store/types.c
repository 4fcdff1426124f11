#include "store/types.h"

void store_batches_drop(struct store_batches *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		buf_drop(&b->v[i].buf);
	}
	b->n = 0;
}
