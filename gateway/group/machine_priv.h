#ifndef GATEWAY_GROUP_MACHINE_PRIV_H
#define GATEWAY_GROUP_MACHINE_PRIV_H

/* Between the files of the group machine. */

#include "gateway/group/machine.h"

enum {
	/* The group's own fields in its row, name and key included: see rows.h. */
	GROUP_HEAD_BYTES = 4096,
	/* Lengths and numbers of one member in the row. */
	GROUP_MEMBER_FIXED_BYTES = 48,
};

/* ---- members.c ------------------------------------------------------------------ */

struct group_identity {
	struct span id;
	struct span instance_id;
	struct span client_id;
	struct span client_host;
};
/* Copies; NULL: no memory. It is in no group yet. */
struct group_member *group_member_new(const struct group_identity *who,
				      const struct groups_protocol *protocols, uint32_t n);
void group_member_free(struct group_member **m);
/* On failure the member is as before. */
enum err group_member_set_protocols(struct group_member *m, const struct groups_protocol *v,
				    uint32_t n) MUST_CHECK;
enum err group_member_set_assignment(struct group_member *m, struct span a) MUST_CHECK;
void group_member_clear_assignment(struct group_member *m);
bool group_member_offers_same(const struct group_member *m, const struct groups_protocol *v,
			      uint32_t n);
size_t group_member_bytes(const struct group_member *m);

enum err group_member_add(struct group *g, struct group_member *m) MUST_CHECK;	/* takes m */
/* Out of the group and freed; nothing of it may be parked. Another leads. */
void group_member_remove(struct group *g, struct group_member *m);
/* After anything of a member changed that stands in the row. */
void group_bytes_count(struct group *g);

bool group_supports(const struct group *g, struct span type, const struct groups_protocol *v,
		    uint32_t n);
/* The protocol of the next generation: of those that all members offer, the one
 * most members prefer. Borrowed from a member. */
struct span group_protocol_elect(const struct group *g);
int32_t group_rebalance_timeout(const struct group *g);
/* GROUP_OK, GROUP_UNKNOWN_MEMBER, GROUP_FENCED_INSTANCE. */
int16_t group_member_check(const struct group *g, struct span id, struct span instance);

enum err group_pending_add(struct group *g, struct span id, int64_t deadline_ms) MUST_CHECK;
bool group_pending_remove(struct group *g, struct span id);
bool group_pending_has(const struct group *g, struct span id);

/* Replaces an owned span by a copy of `from`. On failure it is as before. */
enum err group_text_set(struct span *owned, struct span from) MUST_CHECK;
void group_text_clear(struct span *owned);

/* ---- machine.c -------------------------------------------------------------------- */

void group_answer(struct group *g, struct groups_op *op, int16_t code);
void group_refuse(struct group *g, struct groups_op *op, int16_t code);
void group_session_renew(struct group *g, struct group_member *m, int64_t now_ms);
void group_note_deadline(struct group *g, int64_t at_ms);
/* PREPARING, when the state allows it; otherwise nothing. */
void group_rebalance(struct group *g, const char *reason, int64_t now_ms);
/* To be called at the end of every input: the join phase may be over. */
void group_settle(struct group *g, int64_t now_ms);
/* Parks, or answers at once when its asker has gone away. */
void group_park_join(struct group *g, struct group_member *m, struct groups_op *op);
void group_park_sync(struct group *g, struct group_member *m, struct groups_op *op);
/* A member that leaves or is lost: parked operations are answered `code`. The
 * caller rebalances. */
void group_expel(struct group *g, struct group_member *m, int16_t code);
/* Fills and answers a join with the present generation. */
void group_answer_join(struct group *g, struct groups_op *op, const struct group_member *m,
		       struct span leader_id, bool with_members, bool skip_assignment);
void group_answer_sync(struct group *g, struct groups_op *op, const struct group_member *m);
void group_save(struct group *g, enum group_save what);

#endif
