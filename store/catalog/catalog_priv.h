#ifndef STORE_CATALOG_CATALOG_PRIV_H
#define STORE_CATALOG_CATALOG_PRIV_H

/* How a snapshot is kept. Snapshots share the hubs they have in common: a hub
 * is a counted object of its own, never changed once a snapshot holds it. Only
 * the files of this folder make or change either. */

#include <stdatomic.h>

#include "store/catalog/catalog.h"

struct catalog_hub_box {
	struct catalog_hub hub;	/* first: the box is found from it */
	atomic_uint refs;
	uint32_t *shards;
	struct catalog_group *groups;	/* room for one more than n_groups */
	struct catalog_policy *policies;	/* the same */
};

struct catalog_box {
	struct catalog c;	/* first: the box is found from it */
	atomic_uint refs;
	const struct catalog_hub **hubs;	/* by name; room for one more */
	const struct catalog_hub **by_id;	/* the same hubs by id */
	struct catalog_policy *policies;	/* room for one more */
	struct catalog_limit *limits;		/* the same */
};

/* A private hub with the given room; NULL: no memory. */
struct catalog_hub_box *catalog_hub_new(uint32_t partitions, uint32_t groups, uint32_t policies);
/* A private copy with room for `partitions` (at least its own), one more group
 * and one more policy. */
struct catalog_hub_box *catalog_hub_copy(const struct catalog_hub *h, uint32_t partitions);
void catalog_hub_drop(const struct catalog_hub *h);

/* A private snapshot without content; NULL: no memory. */
struct catalog_box *catalog_box_new(uint32_t shards, uint32_t hubs, uint32_t policies,
				    uint32_t limits);
/* A private copy with room for one more of each. */
struct catalog_box *catalog_box_copy(const struct catalog *c);
static inline const struct catalog_box *catalog_box_of(const struct catalog *c)
{
	return (const struct catalog_box *)c;
}
/* Puts the hub into both orders; takes its reference. Room must be there. */
void catalog_box_add(struct catalog_box *b, struct catalog_hub_box *h);
/* Replaces the hub of the same id, or with NULL removes it. */
void catalog_box_replace(struct catalog_box *b, uint32_t id, struct catalog_hub_box *h);

/* What units and limits may be, and their part of a row (catalog_limit.c). */
enum err catalog_units_check(const struct catalog *c, const struct catalog_command *cmd,
			     struct err_detail *d);
enum err catalog_limit_check(const struct catalog *c, const struct catalog_command *cmd,
			     struct err_detail *d);
void catalog_units_apply(struct catalog_units *u, const struct catalog_command *cmd);
/* PUT and DELETE. */
void catalog_limit_apply(struct catalog_box *b, const struct catalog_command *cmd);
/* Removes the limits that go with a deleted hub, or with its policy (or the
 * namespace's: hub ""). */
void catalog_limits_forget_hub(struct catalog_box *b, const char *hub);
void catalog_limits_forget_policy(struct catalog_box *b, const char *hub, const char *policy);
void catalog_put_units(struct str *s, const struct catalog_units *u);
void catalog_get_units(struct rd *r, struct catalog_units *u);
void catalog_put_limit(struct str *s, const struct catalog_limit *l);
/* Sets r->bad when the text does not fit. */
void catalog_get_limit(struct rd *r, struct catalog_limit *l);
/* Reads the limits of a row into `b`, which has none. ERR_CORRUPT, ERR_NOMEM. */
enum err catalog_get_limits(struct rd *r, struct catalog_box *b);

/* Order of names without case: < 0, 0, > 0. */
int catalog_name_compare(struct span a, struct span b);
/* Where a group or policy stands or would stand in its sorted array. */
uint32_t catalog_group_at(const struct catalog_hub *h, struct span name, bool *found);
uint32_t catalog_policy_at(const struct catalog_policy *v, uint32_t n, struct span name,
			   bool *found);
bool catalog_group_is_default(struct span name);

/* Encoding helpers: numbers big-endian, texts with a u16 length. */
static inline void catalog_put_u8(struct str *s, uint8_t v)
{
	str_addn(s, &v, 1);
}
static inline void catalog_put_u32(struct str *s, uint32_t v)
{
	uint8_t b[4];
	put_u32(b, v);
	str_addn(s, b, sizeof b);
}
static inline void catalog_put_u64(struct str *s, uint64_t v)
{
	uint8_t b[8];
	put_u64(b, v);
	str_addn(s, b, sizeof b);
}
static inline void catalog_put_text(struct str *s, const char *text)
{
	size_t n = strlen(text);
	uint8_t b[2];
	put_u16(b, (uint16_t)n);
	str_addn(s, b, sizeof b);
	str_addn(s, text, n);
}
/* Sets r->bad when the text is longer than the room or holds a NUL. */
void catalog_get_text(struct rd *r, char *out, size_t out_size);
void catalog_put_policy(struct str *s, const struct catalog_policy *p);
void catalog_get_policy(struct rd *r, struct catalog_policy *p);

enum { CATALOG_RIGHTS_ALL = 7, CATALOG_RIGHT_MANAGE = 4 };

#endif
