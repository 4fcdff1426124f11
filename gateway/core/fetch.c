/* Reading, and ending what is read, for front ends whose groups do not own partitions by level. */

#include "gateway/core/core_priv.h"

struct store_partition *core_partition(struct core *c, struct store_part part)
{
	return store_partition_find(c->store, part);
}

enum err core_fetch_recent(struct core *c, struct store_partition *p, int64_t from,
			   uint32_t max_bytes, struct store_batches *out)
{
	(void)c;
	return store_read_recent(p, from, max_bytes, out);
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
