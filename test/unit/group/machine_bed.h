#ifndef TEST_UNIT_GROUP_MACHINE_BED_H
#define TEST_UNIT_GROUP_MACHINE_BED_H

/* A group machine in simulated time. Requests are made, given to it and looked at
 * here; what it wants stored is encoded, decoded and called stored (or failed). */

#include <check.h>

#include "gateway/group/machine.h"
#include "gateway/group/op_memory.h"
#include "gateway/group/rows.h"

enum { BED_IDS = 512, BED_SESSION = 10000, BED_REBALANCE = 60000 };

/* A request and its answer. Spans of the request point into it. */
struct req {
	struct groups_op op;	/* first */
	struct req *next;
	unsigned answers;
	int64_t answered_ms;
	int64_t asked_ms;
	char id[128];
	char instance[64];
	char client[64];
	struct groups_protocol protocols[GROUPS_PROTOCOLS_MAX];
	char metadata[GROUPS_PROTOCOLS_MAX][32];
	struct groups_assignment assignments[64];
	struct groups_member leaving[8];
	struct mbed *bed;
};

struct mbed {
	struct group g;
	struct group_config config;
	int64_t now;
	unsigned uuids;
	bool holds_saves;	/* group_saved only by mb_saved */
	enum err save_err;
	unsigned saves;
	unsigned rebalanced, lost;
	char last_lost[128];
	struct buf *row;	/* as last stored */
	struct req *all;
};

void mb_init(struct mbed *b, int64_t initial_delay_ms, uint32_t max_members);
void mb_fini(struct mbed *b);
void mb_saved(struct mbed *b, enum err e);
/* Time passes; the machine is called when it asked for that. */
void mb_pass(struct mbed *b, int64_t ms);

struct join_how {
	const char *id;		/* NULL: "" */
	const char *instance;	/* NULL: none */
	int version;		/* 0: 9 */
	const char *type;	/* NULL: "consumer" */
	const char *protocols;	/* NULL: "range"; names separated by commas */
	const char *metadata;	/* NULL: "m" */
	int32_t session_ms, rebalance_ms;	/* 0: BED_SESSION, BED_REBALANCE */
	const char *client;
};
struct req *mb_req(struct mbed *b, enum groups_kind kind);
struct req *mb_join(struct mbed *b, struct join_how how);
/* Joins as version 4 and later do: with the id given out at the first try. */
struct req *mb_join_new(struct mbed *b, struct join_how how);
/* `assignments`: "id=bytes" pairs, ended by NULL; they may be NULL. */
struct req *mb_sync(struct mbed *b, const struct req *joined, const char *const *assignments);
struct req *mb_sync_as(struct mbed *b, const char *id, const char *instance, int32_t generation);
struct req *mb_heartbeat(struct mbed *b, const char *id, const char *instance, int32_t generation);
struct req *mb_leave(struct mbed *b, const char *id, const char *instance);
int16_t mb_commit(struct mbed *b, const char *id, const char *instance, int32_t generation);

/* The answer's strings in static buffers, a few at a time. */
const char *txt(struct span s);
const char *mb_id(const struct req *joined);
/* A stable group of `n` members whose joins are in v; the first leads. */
void mb_stable(struct mbed *b, uint32_t n, struct req **v);

#define ck_code(r, c)                                                          \
	do {                                                                   \
		const struct req *r_ = (r);                                    \
		ck_assert_uint_eq(r_->answers, 1);                             \
		ck_assert_int_eq(r_->op.code, (c));                            \
	} while (0)
#define ck_parked(r)                                                           \
	do {                                                                   \
		const struct req *r_ = (r);                                    \
		ck_assert_uint_eq(r_->answers, 0);                             \
	} while (0)

Suite *join_suite(void);
Suite *sync_suite(void);
Suite *static_suite(void);
Suite *machine_suite(void);
Suite *rows_suite(void);
Suite *subscription_suite(void);
Suite *property_suite(void);
Suite *groups_suite(void);
Suite *offsets_suite(void);
Suite *faults_suite(void);

#endif
