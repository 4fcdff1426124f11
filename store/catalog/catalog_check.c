/* Would a command succeed? One function per command. */

#include "store/catalog/catalog_priv.h"

static enum err find_hub(const struct catalog *c, const char *name, const struct catalog_hub **out,
			 struct err_detail *d)
{
	*out = catalog_hub_find(c, span_of(name, strnlen(name, LIMIT_HUB_NAME + 1)));
	if (*out == NULL) {
		return err_set(d, ERR_NOT_FOUND, "hub '%.*s' does not exist", LIMIT_HUB_NAME, name);
	}
	return ERR_OK;
}

/* What create and update have in common. */
static enum err check_settings(const struct catalog_command *cmd, struct err_detail *d)
{
	if (cmd->partitions > LIMIT_PARTITIONS) {
		return err_set(d, ERR_LIMIT, "a hub has at most %d partitions, not %u",
			       LIMIT_PARTITIONS, cmd->partitions);
	}
	if (cmd->has_retention && cmd->retention_ms < 0) {
		return err_set(d, ERR_INVALID, "retention time is negative");
	}
	if (cmd->has_cleanup &&
	    (cmd->cleanup < CATALOG_DELETE || cmd->cleanup > CATALOG_COMPACT_DELETE)) {
		return err_set(d, ERR_INVALID, "unknown clean-up policy");
	}
	return ERR_OK;
}

static enum err check_create(const struct catalog *c, const struct catalog_command *cmd,
			     struct err_detail *d)
{
	enum err e = catalog_name_check("hub", cmd->hub, LIMIT_HUB_NAME, d);
	if (e != ERR_OK) {
		return e;
	}
	if (cmd->partitions == 0) {
		return err_set(d, ERR_INVALID, "a hub has at least one partition");
	}
	e = check_settings(cmd, d);
	if (e != ERR_OK) {
		return e;
	}
	if (catalog_hub_find(c, span_str(cmd->hub)) != NULL) {
		return err_set(d, ERR_EXISTS, "hub '%s' exists", cmd->hub);
	}
	if (c->n_hubs >= LIMIT_HUBS || c->next_hub_id == UINT32_MAX) {
		return err_set(d, ERR_LIMIT, "a namespace has at most %d hubs", LIMIT_HUBS);
	}
	if (cmd->most != 0 && c->n_hubs >= cmd->most) {
		return err_set(d, ERR_LIMIT, "the namespace has reached its quota of %u hubs", cmd->most);
	}
	return ERR_OK;
}

static enum err check_update(const struct catalog *c, const struct catalog_command *cmd,
			     struct err_detail *d)
{
	const struct catalog_hub *h;
	enum err e = find_hub(c, cmd->hub, &h, d);
	if (e != ERR_OK) {
		return e;
	}
	e = check_settings(cmd, d);
	if (e != ERR_OK) {
		return e;
	}
	if (cmd->partitions != 0 && cmd->partitions < h->partitions) {
		return err_set(d, ERR_NOT_ALLOWED,
			       "hub '%s' has %u partitions: their number only grows", h->name,
			       h->partitions);
	}
	return ERR_OK;
}

static enum err check_delete(const struct catalog *c, const struct catalog_command *cmd,
			     struct err_detail *d)
{
	const struct catalog_hub *h;
	return find_hub(c, cmd->hub, &h, d);
}

static enum err check_group_create(const struct catalog *c, const struct catalog_command *cmd,
				   struct err_detail *d)
{
	const struct catalog_hub *h;
	enum err e = find_hub(c, cmd->hub, &h, d);
	if (e != ERR_OK) {
		return e;
	}
	e = catalog_name_check("group", cmd->group, LIMIT_GROUP_NAME, d);
	if (e != ERR_OK) {
		return e;
	}
	if (catalog_group_exists(h, span_str(cmd->group))) {
		return err_set(d, ERR_EXISTS, "consumer group '%s' exists", cmd->group);
	}
	if (h->n_groups >= LIMIT_GROUPS) {
		return err_set(d, ERR_LIMIT, "a hub has at most %d consumer groups", LIMIT_GROUPS);
	}
	if (cmd->most != 0 && h->n_groups >= cmd->most) {
		return err_set(d, ERR_LIMIT, "hub '%s' has reached its quota of %u consumer groups",
			       h->name, cmd->most);
	}
	return ERR_OK;
}

static enum err check_group_delete(const struct catalog *c, const struct catalog_command *cmd,
				   struct err_detail *d)
{
	const struct catalog_hub *h;
	enum err e = find_hub(c, cmd->hub, &h, d);
	if (e != ERR_OK) {
		return e;
	}
	struct span name = span_of(cmd->group, strnlen(cmd->group, LIMIT_GROUP_NAME));
	if (catalog_group_is_default(name)) {
		return err_set(d, ERR_NOT_ALLOWED, "consumer group $Default cannot be deleted");
	}
	if (!catalog_group_exists(h, name)) {
		return err_set(d, ERR_NOT_FOUND, "consumer group '%.*s' does not exist",
			       LIMIT_GROUP_NAME, cmd->group);
	}
	return ERR_OK;
}

/* Where a policy command looks: the namespace's or a hub's policies. */
static enum err find_policies(const struct catalog *c, const struct catalog_command *cmd,
			      const struct catalog_policy **v, uint32_t *n, struct err_detail *d)
{
	*v = c->policies;
	*n = c->n_policies;
	if (cmd->hub[0] == '\0') {
		return ERR_OK;
	}
	const struct catalog_hub *h;
	enum err e = find_hub(c, cmd->hub, &h, d);
	if (e == ERR_OK) {
		*v = h->policies;
		*n = h->n_policies;
	}
	return e;
}

/* Would the namespace be left without a policy that may manage it? */
static bool is_last_manager(const struct catalog_command *cmd, const struct catalog_policy *v,
			    uint32_t n, const struct catalog_policy *old)
{
	if (cmd->hub[0] != '\0' || (old->rights & CATALOG_RIGHT_MANAGE) == 0) {
		return false;
	}
	uint32_t managers = 0;
	for (uint32_t i = 0; i < n; i++) {
		managers += (v[i].rights & CATALOG_RIGHT_MANAGE) != 0;
	}
	return managers == 1;
}

static enum err check_key(const char *which, const char *key, struct err_detail *d)
{
	size_t n = strnlen(key, LIMIT_POLICY_KEY + 1);
	if (n == 0 || n > LIMIT_POLICY_KEY) {
		return err_set(d, ERR_INVALID, "%s key must have 1 to %d characters", which,
			       LIMIT_POLICY_KEY);
	}
	for (size_t i = 0; i < n; i++) {
		if (key[i] <= ' ' || key[i] > '~') {
			return err_set(d, ERR_INVALID, "%s key is not printable ASCII", which);
		}
	}
	return ERR_OK;
}

static enum err check_policy(const struct catalog_policy *p, struct err_detail *d)
{
	enum err e = catalog_name_check("policy", p->name, LIMIT_POLICY_NAME, d);
	if (e != ERR_OK) {
		return e;
	}
	if (p->rights == 0 || (p->rights & ~(unsigned)CATALOG_RIGHTS_ALL) != 0) {
		return err_set(d, ERR_INVALID, "policy '%s' has no valid rights", p->name);
	}
	e = check_key("primary", p->primary, d);
	return e != ERR_OK ? e : check_key("secondary", p->secondary, d);
}

static enum err check_policy_put(const struct catalog *c, const struct catalog_command *cmd,
				 struct err_detail *d)
{
	const struct catalog_policy *v;
	uint32_t n;
	enum err e = find_policies(c, cmd, &v, &n, d);
	if (e != ERR_OK) {
		return e;
	}
	e = check_policy(&cmd->policy, d);
	if (e != ERR_OK) {
		return e;
	}
	const struct catalog_policy *old = catalog_policy_find(v, n, span_str(cmd->policy.name));
	if (old == NULL) {
		return n < LIMIT_POLICIES ? ERR_OK
					  : err_set(d, ERR_LIMIT, "at most %d policies", LIMIT_POLICIES);
	}
	if (cmd->must_be_new) {
		return err_set(d, ERR_EXISTS, "policy '%s' exists", cmd->policy.name);
	}
	if ((cmd->policy.rights & CATALOG_RIGHT_MANAGE) == 0 && is_last_manager(cmd, v, n, old)) {
		return err_set(d, ERR_NOT_ALLOWED,
			       "policy '%s' is the namespace's last one with Manage", old->name);
	}
	return ERR_OK;
}

static enum err check_policy_delete(const struct catalog *c, const struct catalog_command *cmd,
				    struct err_detail *d)
{
	const struct catalog_policy *v;
	uint32_t n;
	enum err e = find_policies(c, cmd, &v, &n, d);
	if (e != ERR_OK) {
		return e;
	}
	struct span name = span_of(cmd->policy.name, strnlen(cmd->policy.name, LIMIT_POLICY_NAME));
	const struct catalog_policy *old = catalog_policy_find(v, n, name);
	if (old == NULL) {
		return err_set(d, ERR_NOT_FOUND, "policy '%.*s' does not exist", LIMIT_POLICY_NAME,
			       cmd->policy.name);
	}
	if (is_last_manager(cmd, v, n, old)) {
		return err_set(d, ERR_NOT_ALLOWED,
			       "policy '%s' is the namespace's last one with Manage", old->name);
	}
	return ERR_OK;
}

static enum err check_producer_ids(const struct catalog *c, const struct catalog_command *cmd,
				   struct err_detail *d)
{
	if (cmd->producer_ids == 0 || cmd->producer_ids > CATALOG_PRODUCER_IDS_MAX) {
		return err_set(d, ERR_INVALID, "a block has 1 to %d producer ids, not %u",
			       CATALOG_PRODUCER_IDS_MAX, cmd->producer_ids);
	}
	if (c->next_producer_id > INT64_MAX - (int64_t)cmd->producer_ids) {
		return err_set(d, ERR_LIMIT, "no producer ids are left");
	}
	return ERR_OK;
}

enum err catalog_check(const struct catalog *c, const struct catalog_command *cmd,
		       struct err_detail *d)
{
	switch (cmd->op) {
	case CATALOG_HUB_CREATE:
		return check_create(c, cmd, d);
	case CATALOG_HUB_UPDATE:
		return check_update(c, cmd, d);
	case CATALOG_HUB_DELETE:
		return check_delete(c, cmd, d);
	case CATALOG_GROUP_CREATE:
		return check_group_create(c, cmd, d);
	case CATALOG_GROUP_DELETE:
		return check_group_delete(c, cmd, d);
	case CATALOG_POLICY_PUT:
		return check_policy_put(c, cmd, d);
	case CATALOG_POLICY_DELETE:
		return check_policy_delete(c, cmd, d);
	case CATALOG_PRODUCER_IDS:
		return check_producer_ids(c, cmd, d);
	case CATALOG_UNITS_SET:
		return catalog_units_check(c, cmd, d);
	case CATALOG_LIMIT_PUT:
	case CATALOG_LIMIT_DELETE:
		return catalog_limit_check(c, cmd, d);
	}
	return err_set(d, ERR_INVALID, "unknown catalogue command %d", (int)cmd->op);
}
