#ifndef STORE_VOLUME_TABLE_H
#define STORE_VOLUME_TABLE_H

/* What the volume knows of all segments together: for each partition and each
 * shard, which segments hold a part of it. Small and in memory for good: one
 * extent for each (segment, partition) and (segment, shard). Segments are named
 * by their place in the volume's table of segments.
 *
 * No locking of its own: guarded by the volume's lock. */

#include "store/volume/idx.h"

struct table_extent {
	int64_t first_seq;
	int64_t last_append_ms;
	int64_t max_timestamp_ms;
	uint32_t segment;
};

struct table_part {
	struct volume_range range;	/* totals over all segments */
	int64_t planned_seq;		/* the writer's own: as range, with what it is writing */
	int64_t planned_ms;
	struct table_extent *extents;	/* oldest first */
	size_t n;
	size_t cap;
};

struct table_shard_extent {
	uint64_t first_index;
	uint64_t last_index;
	uint32_t segment;
};

struct table_shard {
	struct volume_shard_info info;
	struct table_shard_extent *extents;
	size_t n;
	size_t cap;
};

struct table {
	struct table_part **parts;
	size_t n_parts;
	size_t cap_parts;
	uint32_t *slots;	/* as in struct index */
	size_t n_slots;
	struct table_shard *shards;
	uint32_t n_shards;
};

enum err table_init(struct table *t, uint32_t n_shards) MUST_CHECK;
void table_fini(struct table *t);

/* Adds to the end of a partition: part of one segment, next in order. ERR_NOMEM,
 * ERR_CORRUPT: it lies before the partition's end. */
enum err table_add_part(struct table *t, uint32_t segment, const struct volume_range *r) MUST_CHECK;
/* Adds raft indexes first..last. ERR_CORRUPT: not the successor of the last. */
enum err table_add_raft(struct table *t, uint32_t segment, uint32_t shard, uint64_t first,
			uint64_t last, uint64_t last_term) MUST_CHECK;
/* All of a segment's index. */
enum err table_add_index(struct table *t, uint32_t segment, const struct index *ix) MUST_CHECK;

struct table_part *table_find(const struct table *t, struct store_part part);	/* or NULL */
/* The first extent from number `from` on where a search may find something; p->n
 * when there can be nothing. */
size_t table_extent_of(const struct table_part *p, const struct index_query *q, size_t from);
/* Whether the extent lies below the sequence number as a whole. */
static inline bool table_extent_is_below(const struct table_part *p, size_t extent, int64_t seq)
{
	return extent + 1 < p->n ? p->extents[extent + 1].first_seq <= seq
				 : p->range.next_seq <= seq;
}

#endif
