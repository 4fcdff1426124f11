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

/* Throughput units of the namespace. */
struct catalog_units {
	uint32_t units;		/* at present; 0: not limited */
	uint32_t base;		/* what somebody set: shrinking ends here */
	uint32_t inflate_max;	/* units grow up to it while throttled; 0: they do not */
	int64_t deflate_after_ms;	/* quiet time after which they shrink again; 0: they do not */
	/* The settings of `serve` that were applied last: only ones that differ from
	 * them are applied at the next start, so that the later change wins. */
	bool has_settings;
	uint32_t settings_units;
	uint32_t settings_inflate_max;
	int64_t settings_deflate_after_ms;
};

enum catalog_limit_kind {
	CATALOG_LIMIT_HUB = 1,
	CATALOG_LIMIT_PARTITION,	/* each partition of that hub */
	CATALOG_LIMIT_PUBLISHER,	/* each publisher of that hub */
	CATALOG_LIMIT_POLICY,		/* "policy" of the namespace, or "hub/policy" */
	CATALOG_LIMIT_CLIENT,		/* a Kafka client id */
};
enum {
	CATALOG_LIMIT_NAME = LIMIT_HUB_NAME + 1 + LIMIT_POLICY_NAME,
	CATALOG_CLIENT_NAME = 255,	/* of a client id, in bytes */
	CATALOG_LIMITS_MAX = 256,
};
/* 1 PiB a second: far from where sums of them end. */
#define CATALOG_LIMIT_RATE_MAX (UINT64_C(1) << 50)

/* A limit beside the units. Bytes and events a second; 0: none. It goes by the name,
 * which need not exist yet, and it goes with what has it: deleting a hub removes the
 * limits that name it or one of its policies, deleting a policy that of the policy. */
struct catalog_limit {
	enum catalog_limit_kind kind;
	char name[CATALOG_LIMIT_NAME + 1];	/* "*": each that has none of its own */
	uint64_t in_bytes;
	uint64_t in_events;
	uint64_t out_bytes;
	uint64_t out_events;
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
	struct catalog_units units;
	/* Sorted by kind and name without case (client ids with). */
	const struct catalog_limit *limits;
	uint32_t n_limits;
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
	CATALOG_UNITS_SET,	/* `units`, only the fields with their has_ flag */
	CATALOG_LIMIT_PUT,	/* create or replace `limit`; one of nothing: ERR_INVALID */
	CATALOG_LIMIT_DELETE,	/* kind and name of `limit` */
};

/* Who changes the units. */
enum catalog_units_by {
	CATALOG_UNITS_BY_USER = 1,	/* units becomes the base, too */
	CATALOG_UNITS_BY_SETTINGS,	/* the same, and the settings_ fields are replaced */
	/* units only, and only while they are still units_was, towards inflate_max or
	 * back towards base, but not past them (else ERR_NOT_ALLOWED) */
	CATALOG_UNITS_BY_LOAD,
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
	enum catalog_units_by units_by;	/* UNITS_SET */
	bool has_units;
	bool has_inflate_max;
	bool has_deflate_after;
	uint32_t units_was;
	struct catalog_units units;
	struct catalog_limit limit;
	/* HUB_CREATE, GROUP_CREATE: how many there may be afterwards, of hubs or of groups of
	 * the hub; 0: only the fixed bound. Not kept with the command. */
	uint32_t most;
};

/* Exact kind, name without case (client ids with). NULL when missing. */
const struct catalog_limit *catalog_limit_find(const struct catalog *c, enum catalog_limit_kind kind,
					       struct span name);
/* May a limit have this name? "*" always; hubs and policies as below; a client id is
 * 1 to CATALOG_CLIENT_NAME bytes of UTF-8 without control characters. ERR_INVALID. */
enum err catalog_limit_name_check(enum catalog_limit_kind kind, const char *name,
				  struct err_detail *d) MUST_CHECK;
/* Bytes of the UTF-8 character at `p`, of `n` (at least 1) that are left; 0: it is none,
 * or a control character. */
size_t catalog_text_char(const uint8_t *p, size_t n);

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
