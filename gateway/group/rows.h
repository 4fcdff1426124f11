#ifndef GATEWAY_GROUP_ROWS_H
#define GATEWAY_GROUP_ROWS_H

/* The rows of groups and committed offsets. Numbers are big-endian; str is u32
 * length and bytes. A row begins with its version; one this code does not know is
 * ERR_VERSION, anything else that is wrong ERR_CORRUPT. To change a format: a new
 * version, decoded beside the old one.
 *
 * STORE_ROW_GROUP, key: the group's name. Content:
 *   u8 version (1), u8 state (0 Empty, 2 CompletingRebalance, 3 Stable),
 *   u32 generation, u64 wall time of becoming empty (ms),
 *   u8 has_protocol, str protocol type, str protocol, str leader's member id,
 *   u32 members, each:
 *     str member id, u8 has_instance, str instance id (when it has one),
 *     str client id, str client host,
 *     u32 session timeout ms, u32 rebalance timeout ms,
 *     u32 protocols, each: str name, str metadata
 *     u8 has_assignment, str assignment (when it has one)
 *
 * STORE_ROW_OFFSET, key: u16 name length, group's name, u32 hub id, u32 partition.
 * Content: u8 version (1), u64 offset, u32 leader epoch, u64 commit time (ms),
 *   metadata to the end. */

#include "gateway/group/machine.h"

/* A new buffer, cap == len, for the caller to drop. ERR_TOO_LARGE, ERR_NOMEM. */
enum err group_row_encode(const struct group *g, struct buf **out) MUST_CHECK;
/* Makes *g (uninitialised before) from a row; the caller then group_resume's it. On
 * failure nothing is left. ERR_CORRUPT, ERR_VERSION, ERR_NOMEM. */
enum err group_row_decode(struct span name, struct span content, const struct group_config *config,
			  const struct group_hooks *hooks, void *arg, struct group *g) MUST_CHECK;

struct group_offset_row {
	struct span group;
	struct store_part part;
	int64_t offset;
	int32_t leader_epoch;
	int64_t commit_ms;
	struct span metadata;
};
enum { GROUP_OFFSET_KEY_FIXED = 10, GROUP_OFFSET_CONTENT_FIXED = 21 };
void group_offset_key_encode(struct wr *w, struct span group, struct store_part part);
void group_offset_content_encode(struct wr *w, const struct group_offset_row *row);
/* Spans borrow from key and content. */
enum err group_offset_row_decode(struct span key, struct span content,
				 struct group_offset_row *out) MUST_CHECK;

#endif
