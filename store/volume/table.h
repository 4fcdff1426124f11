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
	int64_t end_seq;		/* one past the last */
	int64_t last_append_ms;
	int64_t max_timestamp_ms;
	uint64_t bytes;			/* payload; of a cleaned one what it holds */
	uint32_t segment;
	bool is_compacted;		/* COVER_COMPACTED */
	bool has_tombstones;		/* COVER_TOMBSTONES */
};

struct table_part {
	struct volume_range range;	/* totals over all segments; from the start on */
	int64_t start_seq;		/* volume_set_start: what lies below is dead */
	bool is_gone;			/* volume_set_gone: has no extents any more */
	bool is_compacted;		/* volume_set_compact */
	uint32_t shard;
	bool is_promised;		/* room for one more extent is kept: table_reserve */
	uint32_t changes;		/* how often extents were removed or painted */
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

/* Told of each change of what the extents of a segment hold. */
typedef void table_live_fn(void *arg, uint32_t segment, int64_t bytes, int extents);

struct table {
	table_live_fn *live;	/* NULL: nobody is told */
	void *arg;
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

/* Adds to the end of a partition: part of one segment, next in order; what is below the
 * start or gone counts without being added. ERR_NOMEM, ERR_CORRUPT: it lies before the
 * partition's end. */
enum err table_add_part(struct table *t, uint32_t segment, uint32_t shard,
			const struct volume_range *r) MUST_CHECK;
/* Adds raft indexes first..last. ERR_CORRUPT: not after the last. Gaps are looked at by
 * table_raft_gap. */
enum err table_add_raft(struct table *t, uint32_t segment, uint32_t shard, uint64_t first,
			uint64_t last, uint64_t last_term) MUST_CHECK;
/* The segment is sealed: what its .idx tells from now on is what the table has of it, also
 * of a partition of which a part was dead and gone before more came. */
void table_seal(struct table *t, uint32_t segment, const struct index *ix);
/* All of a segment's index. */
enum err table_add_index(struct table *t, uint32_t segment, const struct index *ix) MUST_CHECK;
/* When all is added: whether indexes from the log start on are missing; *before is the
 * extent in front of which they are (its number may be the number of extents). Brings
 * first index, last index and last term up to date. */
bool table_raft_gap(struct table *t, uint32_t shard, size_t *before);
/* The segment's log goes. */
void table_remove_raft(struct table *t, uint32_t segment);

/* A cover of a cleaned segment: the extents of the partition within [first_seq,
 * end_seq), all of which lie in it as a whole, give way to one in `segment`. What is
 * below the start or gone is not added. ERR_NOMEM (then nothing changed; never after
 * table_reserve), ERR_CORRUPT (an extent lies across its border). */
struct record_cover;
enum err table_paint(struct table *t, uint32_t segment, const struct record_cover *c,
		     uint64_t bytes) MUST_CHECK;
/* Keeps room for one table_paint of the partition, whatever is appended before it, or
 * gives it up. ERR_NOMEM. */
enum err table_reserve(struct table *t, struct store_part part) MUST_CHECK;
void table_unreserve(struct table *t, struct store_part part);
/* What lies below first_seq is dead; extents that do as a whole go, *dead: their payload.
 * Makes the partition's entry when there is none. ERR_NOMEM. */
enum err table_set_start(struct table *t, struct store_part part, int64_t first_seq,
			 uint64_t *dead) MUST_CHECK;
/* All extents go and none comes any more. As table_set_start. */
enum err table_set_gone(struct table *t, struct store_part part, uint64_t *dead) MUST_CHECK;
enum err table_set_compact(struct table *t, struct store_part part, bool is_compacted) MUST_CHECK;

struct table_part *table_find(const struct table *t, struct store_part part);	/* or NULL */
/* The first extent that reaches past `from` and in which a search may find something;
 * p->n when there is none. */
size_t table_extent_of(const struct table_part *p, const struct index_query *q, int64_t from);

#endif
