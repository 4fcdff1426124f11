#ifndef GATEWAY_GROUP_COMMITTED_H
#define GATEWAY_GROUP_COMMITTED_H

/* The committed offsets of one group: a hash from partition to offset. Nodes are
 * made before a commit is written, so that putting them in cannot fail after. */

#include "gateway/group/groups.h"

struct groups_committed {
	struct groups_committed *next;
	struct store_part part;
	int64_t offset;
	int64_t commit_ms;
	int32_t leader_epoch;
	uint32_t metadata_len;
	uint8_t metadata[];
};

/* Zero-initialise. */
struct committed_table {
	struct groups_committed **slot;
	size_t slots;		/* a power of two, or 0 */
	size_t n;
};

/* NULL: no memory. */
struct groups_committed *committed_new(const struct groups_offset *o, int64_t commit_ms);
static inline struct span committed_metadata(const struct groups_committed *c)
{
	return span_of(c->metadata, c->metadata_len);
}

/* To be called before committed_put: makes room for `more`. ERR_NOMEM only when
 * nothing could ever be put in. */
enum err committed_reserve(struct committed_table *t, size_t more) MUST_CHECK;
/* Takes the node; one of the same partition is replaced. */
void committed_put(struct committed_table *t, struct groups_committed *c);
struct groups_committed *committed_find(const struct committed_table *t, struct store_part part);
void committed_remove(struct committed_table *t, struct store_part part);
void committed_fini(struct committed_table *t);

/* All nodes, in no order: start with {0}. NULL at the end; changing the table
 * ends a walk. */
struct committed_walk {
	size_t slot;
	struct groups_committed *next;
};
struct groups_committed *committed_next(const struct committed_table *t, struct committed_walk *w);

#endif
