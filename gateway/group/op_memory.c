#include "gateway/group/op_memory.h"

#include <assert.h>
#include <stdalign.h>

#include "base/mem.h"

struct op_block {
	struct op_block *next;
	size_t used;
	size_t size;
	alignas(max_align_t) uint8_t data[];
};

enum { BLOCK_LEAST = 1024 };

void *op_alloc(struct groups_op *op, size_t size)
{
	size_t align = alignof(max_align_t);
	assert(size <= SIZE_MAX / 4);
	size = (size + align - 1) / align * align;
	struct op_block *b = (struct op_block *)op->memory;
	if (b == NULL || b->size - b->used < size) {
		size_t room = size > BLOCK_LEAST ? size : BLOCK_LEAST;
		b = (struct op_block *)mem_calloc(1, sizeof *b + room);
		if (b == NULL) {
			return NULL;
		}
		b->size = room;
		b->next = (struct op_block *)op->memory;
		op->memory = b;
	}
	void *p = b->data + b->used;
	b->used += size;
	return p;
}

bool op_copy(struct groups_op *op, struct span s, struct span *out)
{
	*out = (struct span){NULL, 0};
	if (s.p == NULL) {
		return true;
	}
	uint8_t *p = (uint8_t *)op_alloc(op, s.n + 1);
	if (p == NULL) {
		return false;
	}
	if (s.n != 0) {
		memcpy(p, s.p, s.n);
	}
	*out = span_of(p, s.n);
	return true;
}

void groups_op_fini(struct groups_op *op)
{
	struct op_block *b = (struct op_block *)op->memory;
	op->memory = NULL;
	while (b != NULL) {
		struct op_block *next = b->next;
		mem_free(b);
		b = next;
	}
}

static void refuse_offsets(struct groups_offset *v, uint32_t n, int16_t code, bool is_fetch)
{
	for (uint32_t i = 0; i < n; i++) {
		if (is_fetch) {
			v[i].offset = -1;
			v[i].leader_epoch = -1;
			v[i].metadata = span_str("");
			v[i].commit_ms = 0;
		}
		if (v[i].code == GROUP_OK) {
			v[i].code = code;
		}
	}
}

void op_refuse(struct groups_op *op, int16_t code)
{
	op->code = code;
	switch (op->kind) {
	case GROUPS_JOIN:
		op->u.join.generation = -1;
		op->u.join.protocol = (struct span){NULL, 0};
		op->u.join.leader = span_str("");
		op->u.join.skip_assignment = false;
		op->u.join.members = NULL;
		op->u.join.n_members = 0;
		if (!op_copy(op, op->member_id, &op->u.join.member_id)) {
			op->u.join.member_id = span_str("");
		}
		break;
	case GROUPS_SYNC:
		op->u.sync.result_type = (struct span){NULL, 0};
		op->u.sync.result_protocol = (struct span){NULL, 0};
		op->u.sync.assignment = span_str("");
		break;
	case GROUPS_LEAVE:
		for (uint32_t i = 0; i < op->u.leave.n_members; i++) {
			op->u.leave.members[i].code = code;
		}
		break;
	case GROUPS_COMMIT:
	case GROUPS_DELETE_OFFSETS:
		refuse_offsets(op->u.commit.offsets, op->u.commit.n_offsets, code, false);
		break;
	case GROUPS_FETCH:
		refuse_offsets(op->u.fetch.offsets, op->u.fetch.n_offsets, code, true);
		break;
	case GROUPS_LIST:
		op->u.describe.groups = NULL;
		op->u.describe.n_groups = 0;
		break;
	case GROUPS_DESCRIBE:
	case GROUPS_DELETE:
		for (uint32_t i = 0; i < op->u.describe.n_groups; i++) {
			op->u.describe.groups[i].code = code;
			op->u.describe.groups[i].state = "Dead";
		}
		break;
	case GROUPS_HEARTBEAT:
		break;
	}
}

int16_t op_code_of(enum err e)
{
	switch (e) {
	case ERR_OK:
		return GROUP_OK;
	case ERR_TOO_LARGE:
	case ERR_INVALID:
		return GROUP_INVALID_REQUEST;
	default:
		return GROUP_NOT_COORDINATOR;
	}
}
