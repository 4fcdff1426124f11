/* Quotas of what there may be, and of management calls. */

#include <stdio.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "gateway/core/core_priv.h"

static enum err check_hub(const struct core *c, const struct catalog *cat,
			  const struct catalog_command *cmd, struct err_detail *d)
{
	const struct catalog_hub *hub = catalog_hub_find(cat, span_str(cmd->hub));
	if (cmd->op == CATALOG_HUB_CREATE && hub == NULL && c->max_hubs != 0 &&
	    cat->n_hubs >= c->max_hubs) {
		return err_set(d, ERR_LIMIT,
			       "The namespace '%s' has reached its quota of %u event hubs.", c->host,
			       c->max_hubs);
	}
	/* A hub that has more from before keeps them. */
	if (c->max_partitions != 0 && cmd->partitions > c->max_partitions &&
	    (hub == NULL || cmd->partitions > hub->partitions)) {
		return err_set(d, ERR_LIMIT,
			       "An event hub of the namespace '%s' has at most %u partitions, not %u.",
			       c->host, c->max_partitions, cmd->partitions);
	}
	return ERR_OK;
}

static enum err check_group(const struct core *c, const struct catalog *cat,
			    const struct catalog_command *cmd, struct err_detail *d)
{
	const struct catalog_hub *hub = catalog_hub_find(cat, span_str(cmd->hub));
	if (hub == NULL || c->max_consumer_groups == 0 || hub->n_groups < c->max_consumer_groups ||
	    catalog_group_exists(hub, span_str(cmd->group))) {
		return ERR_OK;
	}
	return err_set(d, ERR_LIMIT, "The event hub '%s' has reached its quota of %u consumer groups.",
		       hub->name, c->max_consumer_groups);
}

enum err core_quota_check(const struct core *c, struct catalog_command *cmd, struct err_detail *d)
{
	const struct catalog *cat = store_catalog(c->store);
	enum err e = ERR_OK;
	/* The catalogue looks again: several may be on their way to it. */
	cmd->most = cmd->op == CATALOG_HUB_CREATE     ? c->max_hubs
		    : cmd->op == CATALOG_GROUP_CREATE ? c->max_consumer_groups
						      : 0;
	if (cmd->op == CATALOG_HUB_CREATE || cmd->op == CATALOG_HUB_UPDATE) {
		e = check_hub(c, cat, cmd, d);
	} else if (cmd->op == CATALOG_GROUP_CREATE) {
		e = check_group(c, cat, cmd, d);
	}
	catalog_drop(&cat);
	return e;
}

enum err core_manage_take(struct core *c, uint32_t *wait_ms, struct err_detail *d)
{
	*wait_ms = 0;
	if (throttle_calls_take(&c->management, clock_mono_ns(), wait_ms)) {
		return ERR_OK;
	}
	metric_inc(METRIC_REQUESTS_THROTTLED);
	uint32_t seconds = *wait_ms / 1000 + (*wait_ms % 1000 != 0);
	return err_set(d, ERR_BUSY,
		       "The request was terminated because the namespace %s is being throttled. "
		       "Error code : 50008. The limit of %u management calls per second is reached. "
		       "Please wait %u seconds and try again.",
		       c->host, c->management.rate, seconds != 0 ? seconds : 1);
}
