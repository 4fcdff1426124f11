#ifndef TEST_UNIT_GROUP_GROUPS_BED_H
#define TEST_UNIT_GROUP_GROUPS_BED_H

/* A coordinator over some store, and operations that remember their answer. */

#include <check.h>
#include <stdbool.h>

#include "gateway/group/groups.h"

struct gbed {
	struct groups_options options;
	struct groups *groups;
	struct mailbox mb;
	struct gop *all;
};

struct gop {
	struct groups_op op;	/* first */
	struct gop *next;
	unsigned runs;
	char group[300];
	char id[128];
	char instance[64];
	struct groups_protocol protocol;
	struct groups_assignment assignments[8];
	struct groups_member leaving[4];
	struct groups_offset offsets[16];
	struct groups_description groups[8];
};

void gb_init(struct gbed *b, struct store *store);	/* options may be changed, then open */
void gb_open(struct gbed *b);
void gb_close(struct gbed *b);		/* and frees */
void gb_fini(struct gbed *b);

struct gop *gb_op(struct gbed *b, enum groups_kind kind, const char *group, const char *id);
void gb_submit(struct gbed *b, struct gop *o);
/* Until it is answered; aborts after a minute. */
void gb_wait(struct gbed *b, struct gop *o);
/* Lets the coordinator come to the end of what was posted so far. */
void gb_quiet(struct gbed *b);
/* The n-th allocation of the coordinator thread from here on fails. */
void gb_fault(struct gbed *b, long n);

struct gop *gb_join(struct gbed *b, const char *group, const char *id);	/* submitted */
struct gop *gb_sync(struct gbed *b, const char *group, const struct gop *joined,
		    const char *assignment);				/* submitted */
struct gop *gb_heartbeat(struct gbed *b, const char *group, const char *id, int32_t generation);
/* A stable group of one; its join's answer. */
struct gop *gb_stable(struct gbed *b, const char *group);
struct gop *gb_leave(struct gbed *b, const char *group, const char *id);
struct gop *gb_commit(struct gbed *b, const char *group, const char *id, int32_t generation,
		      uint32_t hub, uint32_t partition, int64_t offset);	/* submitted */
/* The committed offset; -1: none. Waits. */
int64_t gb_fetch(struct gbed *b, const char *group, uint32_t hub, uint32_t partition);
int16_t gb_delete(struct gbed *b, const char *group);
const char *gb_state(struct gbed *b, const char *group);
const char *gb_id(const struct gop *joined);

#define ck_op(b, o, c)                                                         \
	do {                                                                   \
		struct gop *o_ = (o);                                          \
		gb_wait((b), o_);                                              \
		ck_assert_int_eq(o_->op.code, (c));                            \
	} while (0)

#endif
