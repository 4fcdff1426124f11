#ifndef TEST_UNIT_STORE_CATALOG_CATALOG_BUILD_H
#define TEST_UNIT_STORE_CATALOG_CATALOG_BUILD_H

/* Short ways to make commands and snapshots in these tests. */

#include "store/catalog/catalog.h"

struct catalog_command build_create(const char *hub, uint32_t partitions);
struct catalog_command build_hub(enum catalog_op op, const char *hub);
struct catalog_command build_group(enum catalog_op op, const char *hub, const char *group);
struct catalog_command build_policy(const char *hub, const char *name, unsigned rights);
/* Limits bytes in to `in_bytes`, events out to 7. */
struct catalog_command build_limit(enum catalog_limit_kind kind, const char *name,
				   uint64_t in_bytes);
struct catalog_command build_units(enum catalog_units_by by, uint32_t units);

/* Applies to *c and replaces it; fails the test unless the result is `want`. */
void build_apply(const struct catalog **c, const struct catalog_command *cmd, enum err want);
/* A snapshot of 4 shards with two hubs, groups, policies, units and limits. */
const struct catalog *build_sample(void);
/* Fails the test unless both hold the same. */
void build_assert_equal(const struct catalog *a, const struct catalog *b);
/* Fills `out` with n times `c` and a NUL. */
void build_text(char *out, size_t n, char c);

#endif
