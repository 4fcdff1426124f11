/* The next snapshot. */

#include <assert.h>

#include "store/catalog/catalog_priv.h"

static void place_partitions(struct catalog_box *b, struct catalog_hub_box *h, uint32_t partitions)
{
	while (h->hub.partitions < partitions) {
		h->shards[h->hub.partitions++] = b->c.next_shard;
		b->c.next_shard = (b->c.next_shard + 1) % b->c.shards;
	}
}

static void apply_settings(struct catalog_hub *h, const struct catalog_command *cmd)
{
	h->updated_ms = cmd->now_ms;
	if (cmd->has_retention) {
		h->retention_ms = cmd->retention_ms;
	}
	if (cmd->has_retention_bytes) {
		h->retention_bytes = cmd->retention_bytes;
	}
	if (cmd->has_cleanup) {
		h->cleanup = cmd->cleanup;
	}
}

static enum err apply_create(struct catalog_box *b, const struct catalog_command *cmd)
{
	struct catalog_hub_box *h = catalog_hub_new(cmd->partitions, 0, 0);
	if (h == NULL) {
		return ERR_NOMEM;
	}
	memcpy(h->hub.name, cmd->hub, sizeof h->hub.name);
	h->hub.id = b->c.next_hub_id++;
	h->hub.created_ms = cmd->now_ms;
	h->hub.cleanup = CATALOG_DELETE;
	apply_settings(&h->hub, cmd);
	place_partitions(b, h, cmd->partitions);
	catalog_box_add(b, h);
	return ERR_OK;
}

static void policy_insert(struct catalog_policy *v, uint32_t *n, const struct catalog_policy *p)
{
	bool found;
	uint32_t at = catalog_policy_at(v, *n, span_str(p->name), &found);
	if (!found) {
		memmove(v + at + 1, v + at, (*n - at) * sizeof *v);
		++*n;
	}
	v[at] = *p;
	if ((p->rights & CATALOG_RIGHT_MANAGE) != 0) {
		v[at].rights = CATALOG_RIGHTS_ALL;
	}
}

static void policy_remove(struct catalog_policy *v, uint32_t *n, struct span name)
{
	bool found;
	uint32_t at = catalog_policy_at(v, *n, name, &found);
	assert(found);
	memmove(v + at, v + at + 1, (*n - at - 1) * sizeof *v);
	--*n;
	explicit_bzero(v + *n, sizeof *v);
}

static void apply_policy(struct catalog_policy *v, uint32_t *n, const struct catalog_command *cmd)
{
	if (cmd->op == CATALOG_POLICY_PUT) {
		policy_insert(v, n, &cmd->policy);
	} else {
		policy_remove(v, n, span_str(cmd->policy.name));
	}
}

static void apply_group(struct catalog_hub_box *h, const struct catalog_command *cmd)
{
	bool found;
	uint32_t n = h->hub.n_groups;
	uint32_t at = catalog_group_at(&h->hub, span_str(cmd->group), &found);
	struct catalog_group *v = h->groups;
	if (cmd->op == CATALOG_GROUP_CREATE) {
		assert(!found);
		memmove(v + at + 1, v + at, (n - at) * sizeof *v);
		v[at].created_ms = cmd->now_ms;
		memcpy(v[at].name, cmd->group, sizeof v[at].name);
		h->hub.n_groups++;
	} else {
		assert(found);
		memmove(v + at, v + at + 1, (n - at - 1) * sizeof *v);
		h->hub.n_groups--;
	}
}

/* Commands that change one hub in place. */
static enum err apply_to_hub(struct catalog_box *b, const struct catalog_command *cmd)
{
	const struct catalog_hub *old = catalog_hub_find(&b->c, span_str(cmd->hub));
	assert(old != NULL);
	struct catalog_hub_box *h = catalog_hub_copy(old, cmd->partitions);
	if (h == NULL) {
		return ERR_NOMEM;
	}
	switch (cmd->op) {
	case CATALOG_HUB_UPDATE:
		apply_settings(&h->hub, cmd);
		place_partitions(b, h, cmd->partitions);
		break;
	case CATALOG_GROUP_CREATE:
	case CATALOG_GROUP_DELETE:
		apply_group(h, cmd);
		break;
	default:
		apply_policy(h->policies, &h->hub.n_policies, cmd);
		break;
	}
	catalog_box_replace(b, old->id, h);
	return ERR_OK;
}

static void apply_delete(struct catalog_box *b, const struct catalog_command *cmd)
{
	const struct catalog_hub *h = catalog_hub_find(&b->c, span_str(cmd->hub));
	assert(h != NULL);
	catalog_box_replace(b, h->id, NULL);
	catalog_limits_forget_hub(b, cmd->hub);
}

static enum err apply(struct catalog_box *b, const struct catalog_command *cmd)
{
	switch (cmd->op) {
	case CATALOG_HUB_CREATE:
		return apply_create(b, cmd);
	case CATALOG_HUB_DELETE:
		apply_delete(b, cmd);
		return ERR_OK;
	case CATALOG_PRODUCER_IDS:
		b->c.next_producer_id += cmd->producer_ids;
		return ERR_OK;
	case CATALOG_UNITS_SET:
		catalog_units_apply(&b->c.units, cmd);
		return ERR_OK;
	case CATALOG_LIMIT_PUT:
	case CATALOG_LIMIT_DELETE:
		catalog_limit_apply(b, cmd);
		return ERR_OK;
	case CATALOG_POLICY_DELETE:
		catalog_limits_forget_policy(b, cmd->hub, cmd->policy.name);
		break;
	default:
		break;
	}
	bool is_policy = cmd->op == CATALOG_POLICY_PUT || cmd->op == CATALOG_POLICY_DELETE;
	if (is_policy && cmd->hub[0] == '\0') {
		apply_policy(b->policies, &b->c.n_policies, cmd);
		return ERR_OK;
	}
	return apply_to_hub(b, cmd);
}

enum err catalog_apply(const struct catalog *c, const struct catalog_command *cmd,
		       uint64_t index, const struct catalog **out)
{
	enum err e = catalog_check(c, cmd, NULL);
	if (e != ERR_OK) {
		return e;
	}
	struct catalog_box *b = catalog_box_copy(c);
	if (b == NULL) {
		return ERR_NOMEM;
	}
	e = apply(b, cmd);
	const struct catalog *next = &b->c;
	if (e != ERR_OK) {
		catalog_drop(&next);
		return e;
	}
	b->c.version = index;
	*out = next;
	return ERR_OK;
}
