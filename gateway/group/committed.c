#include "gateway/group/committed.h"

#include <assert.h>

#include "base/mem.h"

enum { FIRST_SLOTS = 8 };

struct groups_committed *committed_new(const struct groups_offset *o, int64_t commit_ms)
{
	assert(o->metadata.n <= GROUPS_METADATA_MAX);
	struct groups_committed *c =
		(struct groups_committed *)mem_alloc(sizeof *c + o->metadata.n);
	if (c == NULL) {
		return NULL;
	}
	*c = (struct groups_committed){
		.part = o->part,
		.offset = o->offset,
		.commit_ms = commit_ms,
		.leader_epoch = o->leader_epoch,
		.metadata_len = (uint32_t)o->metadata.n,
	};
	if (o->metadata.n != 0) {
		memcpy(c->metadata, o->metadata.p, o->metadata.n);
	}
	return c;
}

static struct groups_committed **slot_of(const struct committed_table *t, struct store_part part)
{
	uint64_t h = store_part_key(part) * 0x9e3779b97f4a7c15U;
	return &t->slot[h >> 32 & (t->slots - 1)];
}

enum err committed_reserve(struct committed_table *t, size_t more)
{
	size_t want = t->slots != 0 ? t->slots : FIRST_SLOTS;
	while (want < t->n + more) {
		want *= 2;
	}
	if (want == t->slots) {
		return ERR_OK;
	}
	struct committed_table wider = {0};
	wider.slot = (struct groups_committed **)mem_calloc(want, sizeof *wider.slot);
	if (wider.slot == NULL) {
		return t->slots != 0 ? ERR_OK : ERR_NOMEM;
	}
	wider.slots = want;
	for (size_t i = 0; i < t->slots; i++) {
		while (t->slot[i] != NULL) {
			struct groups_committed *c = t->slot[i];
			t->slot[i] = c->next;
			committed_put(&wider, c);
		}
	}
	mem_free(t->slot);
	*t = wider;
	return ERR_OK;
}

static struct groups_committed **find(const struct committed_table *t, struct store_part part)
{
	struct groups_committed **at = slot_of(t, part);
	while (*at != NULL && store_part_key((*at)->part) != store_part_key(part)) {
		at = &(*at)->next;
	}
	return at;
}

void committed_put(struct committed_table *t, struct groups_committed *c)
{
	assert(t->slots != 0);
	struct groups_committed **at = find(t, c->part);
	struct groups_committed *old = *at;
	c->next = old != NULL ? old->next : NULL;
	*at = c;
	t->n += old == NULL ? 1 : 0;
	mem_free(old);
}

struct groups_committed *committed_find(const struct committed_table *t, struct store_part part)
{
	return t->slots != 0 ? *find(t, part) : NULL;
}

void committed_remove(struct committed_table *t, struct store_part part)
{
	struct groups_committed **at = t->slots != 0 ? find(t, part) : NULL;
	if (at == NULL || *at == NULL) {
		return;
	}
	struct groups_committed *c = *at;
	*at = c->next;
	t->n--;
	mem_free(c);
}

struct groups_committed *committed_next(const struct committed_table *t, struct committed_walk *w)
{
	while (w->next == NULL && w->slot < t->slots) {
		w->next = t->slot[w->slot++];
	}
	struct groups_committed *c = w->next;
	if (c != NULL) {
		w->next = c->next;
	}
	return c;
}

void committed_fini(struct committed_table *t)
{
	for (size_t i = 0; i < t->slots; i++) {
		while (t->slot[i] != NULL) {
			struct groups_committed *c = t->slot[i];
			t->slot[i] = c->next;
			mem_free(c);
		}
	}
	mem_free(t->slot);
	*t = (struct committed_table){0};
}
