/* Members of a group: their memory, the size they take in the row, and what
 * protocol they agree on. */

#include <assert.h>

#include "base/mem.h"
#include "gateway/group/machine_priv.h"

/* ---- owned text ---------------------------------------------------------------- */

enum err group_text_set(struct span *owned, struct span from)
{
	uint8_t *p = (uint8_t *)mem_dup(from.n != 0 ? from.p : (const uint8_t *)"", from.n);
	if (p == NULL) {
		return ERR_NOMEM;
	}
	group_text_clear(owned);
	*owned = span_of(p, from.n);
	return ERR_OK;
}

void group_text_clear(struct span *owned)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} p = {owned->p};
	mem_free(p.out);
	*owned = (struct span){NULL, 0};
}

/* ---- one member ------------------------------------------------------------------ */

static struct span put(uint8_t **at, struct span s)
{
	if (s.p == NULL) {
		return s;
	}
	struct span copy = span_of(*at, s.n);
	if (s.n != 0) {
		memcpy(*at, s.p, s.n);
	}
	*at += s.n;
	return copy;
}

static enum err set_identity(struct group_member *m, const struct group_identity *who)
{
	uint8_t *text = (uint8_t *)mem_alloc(who->id.n + who->instance_id.n + who->client_id.n +
					     who->client_host.n);
	if (text == NULL) {
		return ERR_NOMEM;
	}
	uint8_t *at = text;
	m->id = put(&at, who->id);
	m->instance_id = put(&at, who->instance_id);
	m->client_id = put(&at, who->client_id);
	m->client_host = put(&at, who->client_host);
	mem_free(m->text);
	m->text = text;
	return ERR_OK;
}

enum err group_member_set_protocols(struct group_member *m, const struct groups_protocol *v,
				    uint32_t n)
{
	assert(n <= GROUPS_PROTOCOLS_MAX);
	size_t bytes = 0;
	for (uint32_t i = 0; i < n; i++) {
		bytes += v[i].name.n + v[i].metadata.n;
	}
	struct groups_protocol *copy =
		(struct groups_protocol *)mem_alloc(n * sizeof *copy + bytes);
	if (copy == NULL) {
		return ERR_NOMEM;
	}
	uint8_t *at = (uint8_t *)(copy + n);
	for (uint32_t i = 0; i < n; i++) {
		copy[i].name = put(&at, v[i].name);
		copy[i].metadata = put(&at, v[i].metadata);
	}
	mem_free(m->protocols);
	m->protocols = copy;
	m->n_protocols = n;
	return ERR_OK;
}

enum err group_member_set_assignment(struct group_member *m, struct span a)
{
	uint8_t *p = (uint8_t *)mem_dup(a.n != 0 ? a.p : (const uint8_t *)"", a.n);
	if (p == NULL) {
		return ERR_NOMEM;
	}
	mem_free(m->assignment_block);
	m->assignment_block = p;
	m->assignment = span_of(p, a.n);
	return ERR_OK;
}

void group_member_clear_assignment(struct group_member *m)
{
	mem_free(m->assignment_block);
	m->assignment_block = NULL;
	m->assignment = (struct span){NULL, 0};
}

struct group_member *group_member_new(const struct group_identity *who,
				      const struct groups_protocol *protocols, uint32_t n)
{
	struct group_member *m = MEM_NEW(struct group_member);
	if (m == NULL) {
		return NULL;
	}
	if (set_identity(m, who) != ERR_OK ||
	    group_member_set_protocols(m, protocols, n) != ERR_OK) {
		group_member_free(&m);
	}
	return m;
}

void group_member_free(struct group_member **mp)
{
	struct group_member *m = *mp;
	*mp = NULL;
	if (m == NULL) {
		return;
	}
	assert(m->join_op == NULL);
	assert(m->sync_op == NULL);
	mem_free(m->text);
	mem_free(m->protocols);
	mem_free(m->assignment_block);
	mem_free(m);
}

bool group_member_offers_same(const struct group_member *m, const struct groups_protocol *v,
			      uint32_t n)
{
	if (m->n_protocols != n) {
		return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!span_eq(m->protocols[i].name, v[i].name) ||
		    !span_eq(m->protocols[i].metadata, v[i].metadata)) {
			return false;
		}
	}
	return true;
}

struct span group_member_metadata(const struct group_member *m, struct span protocol)
{
	for (uint32_t i = 0; i < m->n_protocols; i++) {
		if (span_eq(m->protocols[i].name, protocol)) {
			return m->protocols[i].metadata;
		}
	}
	return span_str("");
}

size_t group_member_bytes(const struct group_member *m)
{
	size_t n = GROUP_MEMBER_FIXED_BYTES + m->id.n + m->instance_id.n + m->client_id.n +
		   m->client_host.n + m->assignment.n;
	for (uint32_t i = 0; i < m->n_protocols; i++) {
		n += 8 + m->protocols[i].name.n + m->protocols[i].metadata.n;
	}
	return n;
}

/* ---- members of a group ------------------------------------------------------------ */

struct group_member *group_member_find(const struct group *g, struct span id)
{
	for (size_t i = 0; i < g->n_members; i++) {
		if (span_eq(g->members[i]->id, id)) {
			return g->members[i];
		}
	}
	return NULL;
}

struct group_member *group_member_by_instance(const struct group *g, struct span instance)
{
	for (size_t i = 0; i < g->n_members; i++) {
		if (g->members[i]->instance_id.p != NULL &&
		    span_eq(g->members[i]->instance_id, instance)) {
			return g->members[i];
		}
	}
	return NULL;
}

int16_t group_member_check(const struct group *g, struct span id, struct span instance)
{
	if (instance.p != NULL) {
		const struct group_member *m = group_member_by_instance(g, instance);
		if (m == NULL) {
			return GROUP_UNKNOWN_MEMBER;
		}
		return span_eq(m->id, id) ? GROUP_OK : GROUP_FENCED_INSTANCE;
	}
	return group_member_find(g, id) != NULL ? GROUP_OK : GROUP_UNKNOWN_MEMBER;
}

void group_bytes_count(struct group *g)
{
	g->bytes = 0;
	for (size_t i = 0; i < g->n_members; i++) {
		g->bytes += group_member_bytes(g->members[i]);
	}
}

enum err group_member_add(struct group *g, struct group_member *m)
{
	void *v = g->members;
	if (!mem_grow(&v, &g->members_cap, g->n_members + 1, sizeof *g->members)) {
		return ERR_NOMEM;
	}
	g->members = (struct group_member **)v;
	g->members[g->n_members++] = m;
	if (g->leader == NULL) {
		g->leader = m;
	}
	g->bytes += group_member_bytes(m);
	return ERR_OK;
}

void group_member_remove(struct group *g, struct group_member *m)
{
	size_t i = 0;
	while (g->members[i] != m) {
		i++;
		assert(i < g->n_members);
	}
	memmove(&g->members[i], &g->members[i + 1], (g->n_members - i - 1) * sizeof *g->members);
	g->n_members--;
	if (m->is_joined) {
		assert(g->n_joined > 0);
		g->n_joined--;
	}
	if (g->leader == m) {
		g->leader = g->n_members > 0 ? g->members[0] : NULL;
	}
	g->bytes -= group_member_bytes(m);
	group_member_free(&m);
}

int32_t group_rebalance_timeout(const struct group *g)
{
	int32_t most = 0;
	for (size_t i = 0; i < g->n_members; i++) {
		int32_t t = g->members[i]->rebalance_timeout_ms;
		most = t > most ? t : most;
	}
	return most;
}

/* ---- protocols --------------------------------------------------------------------- */

static bool offers(const struct group_member *m, struct span name)
{
	for (uint32_t i = 0; i < m->n_protocols; i++) {
		if (span_eq(m->protocols[i].name, name)) {
			return true;
		}
	}
	return false;
}

static bool all_offer(const struct group *g, struct span name)
{
	for (size_t i = 0; i < g->n_members; i++) {
		if (!offers(g->members[i], name)) {
			return false;
		}
	}
	return true;
}

bool group_supports(const struct group *g, struct span type, const struct groups_protocol *v,
		    uint32_t n)
{
	if (g->state == GROUP_EMPTY || g->n_members == 0) {
		return type.n != 0 && n != 0;
	}
	if (!span_eq(type, g->protocol_type)) {
		return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (all_offer(g, v[i].name)) {
			return true;
		}
	}
	return false;
}

struct span group_protocol_elect(const struct group *g)
{
	/* Candidates are common to all, so that they stand with the first member. */
	struct span candidate[GROUPS_PROTOCOLS_MAX];
	uint32_t votes[GROUPS_PROTOCOLS_MAX] = {0};
	uint32_t n = 0;
	const struct group_member *first = g->members[0];
	for (uint32_t i = 0; i < first->n_protocols; i++) {
		if (all_offer(g, first->protocols[i].name)) {
			candidate[n++] = first->protocols[i].name;
		}
	}
	if (n == 0) {
		return first->n_protocols > 0 ? first->protocols[0].name : span_str("");
	}
	for (size_t i = 0; i < g->n_members; i++) {
		const struct group_member *m = g->members[i];
		bool has_voted = false;
		for (uint32_t k = 0; k < m->n_protocols && !has_voted; k++) {
			for (uint32_t c = 0; c < n && !has_voted; c++) {
				if (span_eq(candidate[c], m->protocols[k].name)) {
					votes[c]++;
					has_voted = true;
				}
			}
		}
	}
	uint32_t best = 0;
	for (uint32_t c = 1; c < n; c++) {
		best = votes[c] > votes[best] ? c : best;
	}
	return candidate[best];
}

/* ---- pending ids -------------------------------------------------------------------- */

enum err group_pending_add(struct group *g, struct span id, int64_t deadline_ms)
{
	struct group_pending *p = (struct group_pending *)mem_alloc(sizeof *p + id.n);
	if (p == NULL) {
		return ERR_NOMEM;
	}
	p->deadline_ms = deadline_ms;
	p->n = id.n;
	memcpy(p->id, id.p, id.n);
	p->next = g->pending;
	g->pending = p;
	g->n_pending++;
	return ERR_OK;
}

bool group_pending_has(const struct group *g, struct span id)
{
	for (const struct group_pending *p = g->pending; p != NULL; p = p->next) {
		if (span_eq(span_of(p->id, p->n), id)) {
			return true;
		}
	}
	return false;
}

bool group_pending_remove(struct group *g, struct span id)
{
	for (struct group_pending **at = &g->pending; *at != NULL; at = &(*at)->next) {
		struct group_pending *p = *at;
		if (span_eq(span_of(p->id, p->n), id)) {
			*at = p->next;
			g->n_pending--;
			mem_free(p);
			return true;
		}
	}
	return false;
}
