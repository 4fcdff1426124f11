#ifndef STORE_CATALOG_CATALOG_H
#define STORE_CATALOG_CATALOG_H

/* The catalogue: hubs, their partitions' shards, consumer groups and policies.
 * A `struct catalog` is an immutable snapshot with a reference count; a change
 * is a command in shard 0's log whose application makes the next snapshot.
 * Pure: time and randomness stand in the command. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"

enum catalog_cleanup { CATALOG_DELETE = 1, CATALOG_COMPACT = 2, CATALOG_COMPACT_DELETE = 3 };

struct catalog_policy {
	char name[LIMIT_POLICY_NAME + 1];
	unsigned rights;	/* bits as auth/policy.h */
	char primary[LIMIT_POLICY_KEY + 1];
	char secondary[LIMIT_POLICY_KEY + 1];
};

struct catalog_group {
	char name[LIMIT_GROUP_NAME + 1];
	int64_t created_ms;
};

struct catalog_hub {
	char name[LIMIT_HUB_NAME + 1];	/* as created; compared without case */
	uint32_t id;			/* from 1, never reused */
	uint32_t partitions;
	const uint32_t *shards;		/* of each partition */
	int64_t created_ms;
	int64_t updated_ms;
	int64_t retention_ms;		/* 0: for ever */
	uint64_t retention_bytes;	/* per partition; 0: no limit */
	enum catalog_cleanup cleanup;
	const struct catalog_group *groups;	/* sorted; $Default is not among them */
	uint32_t n_groups;
	const struct catalog_policy *policies;
	uint32_t n_policies;
};

struct catalog {
	uint64_t version;		/* raft index of the last change */
	uint32_t shards;
	const struct catalog_hub *const *hubs;	/* sorted by name without case */
	uint32_t n_hubs;
	const struct catalog_policy *policies;	/* of the namespace */
	uint32_t n_policies;
	uint32_t next_hub_id;
	uint32_t next_shard;		/* where the next partition goes, round robin */
	int64_t next_producer_id;	/* none from here on was given out */
};

/* Snapshots (any thread). hold returns its argument. */
const struct catalog *catalog_hold(const struct catalog *c);
void catalog_drop(const struct catalog **c);
const struct catalog *catalog_empty(uint32_t shards);	/* NULL: no memory */

/* Name compare ignores ASCII case. NULL when missing. */
const struct catalog_hub *catalog_hub_find(const struct catalog *c, struct span name);
const struct catalog_hub *catalog_hub_by_id(const struct catalog *c, uint32_t id);
/* The hub whose name is the longest prefix of `path` ending at '/' or the end;
 * *rest gets what follows the '/'. */
const struct catalog_hub *catalog_hub_of_path(const struct catalog *c, struct span path,
					      struct span *rest);
/* "$Default" (any case) is always there. */
bool catalog_group_exists(const struct catalog_hub *h, struct span name);
const struct catalog_policy *catalog_policy_find(const struct catalog_policy *v, uint32_t n,
						 struct span name);

enum catalog_op {
	CATALOG_HUB_CREATE = 1,
	CATALOG_HUB_UPDATE,	/* only the fields with their has_ flag */
	CATALOG_HUB_DELETE,
	CATALOG_GROUP_CREATE,
	CATALOG_GROUP_DELETE,
	CATALOG_POLICY_PUT,	/* create or replace rights and keys */
	CATALOG_POLICY_DELETE,
	CATALOG_PRODUCER_IDS,	/* takes a block of producer ids */
};

/* What one command takes at most: enough for years of new producers, and never
 * near the end of the numbers. */
enum { CATALOG_PRODUCER_IDS_MAX = 1000000 };

struct catalog_command {
	enum catalog_op op;
	int64_t now_ms;
	char hub[LIMIT_HUB_NAME + 1];	/* policies: "" = namespace */
	uint32_t partitions;		/* create: > 0; update: 0 = unchanged */
	bool has_retention;
	int64_t retention_ms;
	bool has_retention_bytes;
	uint64_t retention_bytes;
	bool has_cleanup;
	enum catalog_cleanup cleanup;
	char group[LIMIT_GROUP_NAME + 1];
	struct catalog_policy policy;
	bool must_be_new;	/* POLICY_PUT: ERR_EXISTS when there */
	uint32_t producer_ids;	/* PRODUCER_IDS: how many, 1 .. CATALOG_PRODUCER_IDS_MAX */
	int64_t first_producer_id;	/* PRODUCER_IDS, result of store_command: the block's first */
};

/* Names: hubs [A-Za-z0-9._-] with '/' inside; groups [A-Za-z0-9._/-] with
 * alphanumeric ends, plus '$' and '_' and spaces refused; policies printable ASCII
 * without ';' '=' '&' '/', spaces inside only. `what` is "hub", "group" or "policy": it
 * chooses the rule and begins the detail. No "", "." or ".." between slashes.
 * ERR_INVALID with a detail. */
enum err catalog_name_check(const char *what, const char *name, size_t max,
			    struct err_detail *d) MUST_CHECK;

/* Would the command succeed on `c`? ERR_EXISTS, ERR_NOT_FOUND, ERR_INVALID,
 * ERR_LIMIT, ERR_NOT_ALLOWED (fewer partitions, deleting $Default or the last
 * Manage policy of the namespace) with a detail for the user. */
enum err catalog_check(const struct catalog *c, const struct catalog_command *cmd,
		       struct err_detail *d) MUST_CHECK;
enum err catalog_encode(const struct catalog_command *cmd, struct str *out) MUST_CHECK;
enum err catalog_decode(struct span in, struct catalog_command *out) MUST_CHECK;
/* The next snapshot. Fails only as catalog_check would, or ERR_NOMEM. */
enum err catalog_apply(const struct catalog *c, const struct catalog_command *cmd,
		       uint64_t index, const struct catalog **out) MUST_CHECK;

/* The state rows of a snapshot and back: one for the namespace (counters,
 * policies), one per hub (key u32 id). */
enum catalog_row { CATALOG_ROW_NAMESPACE = 1, CATALOG_ROW_HUB = 2 };
enum err catalog_row_encode(const struct catalog *c, uint32_t hub_at, struct str *out) MUST_CHECK;
enum err catalog_namespace_encode(const struct catalog *c, struct str *out) MUST_CHECK;
/* Builds a snapshot from rows given one at a time, then finished. */
struct catalog_loader;
struct catalog_loader *catalog_loader_new(uint32_t shards);
enum err catalog_loader_row(struct catalog_loader *l, uint8_t kind, struct span content) MUST_CHECK;
enum err catalog_loader_finish(struct catalog_loader **l, const struct catalog **out) MUST_CHECK;
void catalog_loader_free(struct catalog_loader **l);

#endif
