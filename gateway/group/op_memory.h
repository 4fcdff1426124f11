#ifndef GATEWAY_GROUP_OP_MEMORY_H
#define GATEWAY_GROUP_OP_MEMORY_H

/* What the results of a groups_op live in: blocks chained at op->memory, freed
 * together by groups_op_fini. Whoever owns the operation at the moment may call. */

#include "gateway/group/groups.h"

/* Zeroed, aligned for any object. NULL: no memory. */
void *op_alloc(struct groups_op *op, size_t size);
/* A copy of `s` in *out; an absent span stays absent. False: no memory, and *out
 * is absent. */
bool op_copy(struct groups_op *op, struct span s, struct span *out);

/* Sets the code of the operation and whatever results a refused one has: no
 * generation, the asker's own member id, the code at each member or offset that
 * has none yet. */
void op_refuse(struct groups_op *op, int16_t code);

/* What a failed write or allocation is answered with: NOT_COORDINATOR, upon which
 * every client asks again, but for what can never fit. */
int16_t op_code_of(enum err e);

#endif
