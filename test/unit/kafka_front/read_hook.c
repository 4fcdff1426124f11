/* In the place of gateway/core/fetch.c: the same, but a test may change what is read
 * from the cache before the front end sees it. */

#include "gateway/core/core_priv.h"
#include "test/unit/kafka_front/data_help.h"

void (*bed_read_hook)(struct store_batches *b);

struct store_partition *core_partition(struct core *c, struct store_part part)
{
	return store_partition_find(c->store, part);
}

enum err core_fetch_recent(struct core *c, struct store_partition *p, int64_t from,
			   uint32_t max_bytes, struct store_batches *out)
{
	(void)c;
	enum err e = store_read_recent(p, from, max_bytes, out);
	if (e == ERR_OK && bed_read_hook != NULL) {
		bed_read_hook(out);
	}
	return e;
}

void core_fetch(struct core *c, struct store_read *op)
{
	store_read(c->store, op);
}

void core_fetch_seek(struct core *c, struct store_seek *op)
{
	store_seek(c->store, op);
}

void core_fetch_watch(struct core *c, struct store_watch *w)
{
	store_watch(c->store, w);
}

void core_trim(struct core *c, struct store_trim *op)
{
	store_trim(c->store, op);
}
