/* The table of groups, and the heap that tells which of them is due next. */

#include <assert.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/group/groups_priv.h"

/* ---- what the machines call -------------------------------------------------------- */

static void on_answer(void *arg, struct groups_op *op)
{
	groups_answer(((struct groups_entry *)arg)->groups, op);
}

static void on_uuid(void *arg, char out[37])
{
	(void)arg;
	uint8_t uuid[16];
	crypto_uuid(uuid);
	crypto_uuid_text(uuid, out);
}

static void on_event(void *arg, const struct group *g, enum group_event event,
		     const struct group_member *member)
{
	(void)arg;
	struct log_quoted name = log_quote_span(g->name);
	if (event == GROUP_EVENT_LOST) {
		log_limited(LOG_INFO, "GROUP-MEMBER-LOST", "group=%s member=%s state=%s generation=%d",
			    name.text, log_quote_span(member->id).text,
			    group_state_name(g->state), (int)g->generation);
		return;
	}
	log_limited(LOG_INFO, "GROUP-REBALANCED",
		    "group=%s generation=%d members=%zu protocol=%s reason=%s", name.text,
		    (int)g->generation, g->n_members, log_quote_span(g->protocol).text,
		    log_quote(g->reason));
}

const struct group_hooks groups_hooks = {
	.answer = on_answer,
	.uuid = on_uuid,
	.event = on_event,
};

/* ---- table --------------------------------------------------------------------------- */

/* FNV-1a with a seed of this process. */
static uint64_t hash_of(const struct groups *g, struct span name)
{
	uint64_t h = 0xcbf29ce484222325U ^ g->seed;
	for (size_t i = 0; i < name.n; i++) {
		h = (h ^ name.p[i]) * 0x100000001b3U;
	}
	return h ^ h >> 32;
}

struct groups_entry *groups_find(const struct groups *g, struct span name)
{
	uint64_t h = hash_of(g, name);
	struct groups_entry *e = g->slot[h & (g->slots - 1)];
	while (e != NULL && (e->hash != h || !span_eq(e->machine.name, name))) {
		e = e->next;
	}
	return e;
}

static void widen(struct groups *g)
{
	size_t slots = g->slots * 2;
	struct groups_entry **v = (struct groups_entry **)mem_calloc(slots, sizeof *v);
	if (v == NULL) {
		return;		/* longer chains */
	}
	for (size_t i = 0; i < g->slots; i++) {
		while (g->slot[i] != NULL) {
			struct groups_entry *e = g->slot[i];
			g->slot[i] = e->next;
			struct groups_entry **to = &v[e->hash & (slots - 1)];
			e->next = *to;
			*to = e;
		}
	}
	mem_free(g->slot);
	g->slot = v;
	g->slots = slots;
}

struct groups_entry *groups_entry_new(struct groups *g)
{
	struct groups_entry *e = MEM_NEW(struct groups_entry);
	if (e != NULL) {
		e->groups = g;
		e->heap_at = SIZE_MAX;
	}
	return e;
}

void groups_entry_free(struct groups_entry **ep)
{
	struct groups_entry *e = *ep;
	*ep = NULL;
	assert(e->waiting_first == NULL);
	assert(e->heap_at == SIZE_MAX);
	group_fini(&e->machine);
	committed_fini(&e->offsets);
	mem_free(e);
}

enum err groups_insert(struct groups *g, struct groups_entry *e)
{
	void *v = g->heap;
	if (!mem_grow(&v, &g->heap_cap, g->n + 1, sizeof *g->heap)) {
		return ERR_NOMEM;
	}
	g->heap = (struct groups_entry **)v;
	if (g->n >= g->slots) {
		widen(g);
	}
	e->hash = hash_of(g, e->machine.name);
	e->shard = store_shard_of(g->options.store, e->machine.name);
	struct groups_entry **slot = &g->slot[e->hash & (g->slots - 1)];
	e->next = *slot;
	*slot = e;
	g->n++;
	return ERR_OK;
}

enum err groups_add(struct groups *g, struct span name, bool is_load, struct groups_entry **out)
{
	if (g->n >= g->options.max_groups && !is_load) {
		log_limited(LOG_WARN, "GROUP-FAILED", "group=%s reason=\"there are %zu groups already\"",
			    log_quote_span(name).text, g->n);
		return ERR_LIMIT;
	}
	struct groups_entry *e = groups_entry_new(g);
	if (e == NULL) {
		return ERR_NOMEM;
	}
	enum err err = group_init(&e->machine, name, &g->config, &groups_hooks, e);
	if (err != ERR_OK) {
		mem_free(e);
		return err;
	}
	err = groups_insert(g, e);
	if (err != ERR_OK) {
		groups_entry_free(&e);
		return err;
	}
	*out = e;
	return ERR_OK;
}

/* ---- heap ------------------------------------------------------------------------------ */

static void place(struct groups *g, size_t at, struct groups_entry *e)
{
	g->heap[at] = e;
	e->heap_at = at;
}

static void sift_up(struct groups *g, size_t at)
{
	struct groups_entry *e = g->heap[at];
	while (at > 0 && g->heap[(at - 1) / 2]->due_ms > e->due_ms) {
		place(g, at, g->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	place(g, at, e);
}

static void sift_down(struct groups *g, size_t at)
{
	struct groups_entry *e = g->heap[at];
	for (;;) {
		size_t child = 2 * at + 1;
		if (child + 1 < g->heap_n && g->heap[child + 1]->due_ms < g->heap[child]->due_ms) {
			child++;
		}
		if (child >= g->heap_n || g->heap[child]->due_ms >= e->due_ms) {
			break;
		}
		place(g, at, g->heap[child]);
		at = child;
	}
	place(g, at, e);
}

static void take_out(struct groups_entry *e)
{
	struct groups *g = e->groups;
	size_t at = e->heap_at;
	if (at == SIZE_MAX) {
		return;
	}
	e->heap_at = SIZE_MAX;
	struct groups_entry *last = g->heap[--g->heap_n];
	if (last != e) {
		place(g, at, last);
		sift_up(g, at);
		sift_down(g, last->heap_at);
	}
}

static void count_bytes(struct groups_entry *e)
{
	size_t now = e->machine.bytes + e->machine.n_pending * GROUPS_PENDING_BYTES;
	e->groups->bytes += now - e->counted;
	e->counted = now;
}

void groups_schedule(struct groups_entry *e)
{
	count_bytes(e);
	struct groups *g = e->groups;
	int64_t due = groups_is_busy(e) ? INT64_MAX : group_deadline(&e->machine);
	if (due == INT64_MAX) {
		take_out(e);
		return;
	}
	if (e->heap_at == SIZE_MAX) {
		/* groups_insert made room for every entry. */
		assert(g->heap_n < g->heap_cap);
		e->due_ms = due;
		place(g, g->heap_n++, e);
		sift_up(g, e->heap_at);
	} else if (due != e->due_ms) {
		e->due_ms = due;
		sift_up(g, e->heap_at);
		sift_down(g, e->heap_at);
	}
}

void groups_remove(struct groups_entry *e)
{
	struct groups *g = e->groups;
	take_out(e);
	struct groups_entry **at = &g->slot[e->hash & (g->slots - 1)];
	while (*at != e) {
		at = &(*at)->next;
	}
	*at = e->next;
	g->n--;
	g->bytes -= e->counted;
	groups_entry_free(&e);
}
