#include "gateway/core/core.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/core/core_priv.h"

/* ---- policies of the catalogue as auth sees them ----------------------- */

static bool offer(const struct catalog_policy *from, const char *hub, auth_policy_fn *fn, void *arg)
{
	struct auth_policy p;
	memset(&p, 0, sizeof p);
	_Static_assert(sizeof p.name == sizeof from->name, "same bound");
	_Static_assert(sizeof p.primary == sizeof from->primary, "same bound");
	memcpy(p.name, from->name, sizeof p.name);
	memcpy(p.primary, from->primary, sizeof p.primary);
	memcpy(p.secondary, from->secondary, sizeof p.secondary);
	p.rights = from->rights;
	bool stop = fn(arg, hub, &p);
	auth_policy_wipe(&p);
	return stop;
}

static void find_policies(void *ctx, struct span path, struct span name, auth_policy_fn *fn,
			  void *arg)
{
	struct core *c = ctx;
	const struct catalog *cat = core_catalog(c);
	const struct catalog_policy *p = catalog_policy_find(cat->policies, cat->n_policies, name);
	bool stop = p != NULL && offer(p, "", fn, arg);
	if (!stop && p != NULL && c->extra_key != NULL && strcmp(p->name, CORE_ROOT_POLICY) == 0) {
		struct catalog_policy extra = *p;
		snprintf(extra.primary, sizeof extra.primary, "%s", c->extra_key);
		snprintf(extra.secondary, sizeof extra.secondary, "%s", c->extra_key);
		stop = offer(&extra, "", fn, arg);
	}
	if (!stop) {
		struct span rest;
		const struct catalog_hub *hub = catalog_hub_of_path(cat, path, &rest);
		p = hub != NULL ? catalog_policy_find(hub->policies, hub->n_policies, name) : NULL;
		if (p != NULL) {
			(void)offer(p, hub->name, fn, arg);
		}
	}
	catalog_drop(&cat);
}

/* What waits for capacity is decided by the pacer; it finds the throttle there. */
static enum err start_pacer(struct core *c, const struct core_options *o,
			    const struct core_pace *pace)
{
	size_t half = c->inflight.max / 2;
	size_t hold = o->throttle_hold_bytes;
	const struct throttle_options t = {
		.hold_ns = c->hold_ns,
		.delay_ns = o->throttle_delay_ms * 1000000,
		/* Sends that pass at once need memory, too. */
		.hold_bytes = hold < half ? hold : half,
	};
	enum err e = throttle_new(&t, &c->throttle);
	return e == ERR_OK ? core_pacer_new(c, pace, &c->pacer) : e;
}

enum err core_new_paced(const struct core_options *o, const struct core_pace *pace,
			struct core **out)
{
	struct core *c = MEM_NEW(struct core);
	if (c == NULL) {
		return ERR_NOMEM;
	}
	c->store = o->store;
	c->hold_ns = o->throttle_hold_ms * 1000000;
	c->max_hubs = o->max_hubs;
	c->max_partitions = o->max_partitions;
	c->max_consumer_groups = o->max_consumer_groups;
	throttle_calls_init(&c->management, o->management_rate);
	c->host = mem_strdup(o->host);
	c->extra_key = o->extra_key != NULL ? mem_strdup(o->extra_key) : NULL;
	c->readers = core_registry_new();
	c->default_retention_ms = o->default_retention_ms;
	c->auth = (struct auth_source){.find = find_policies, .ctx = c};
	lock_init(&c->producer_ids.lock);
	budget_init(&c->inflight, o->inflight_max_bytes);
	enum err e = ERR_NOMEM;
	if (c->host != NULL && c->readers != NULL &&
	    (o->extra_key == NULL || c->extra_key != NULL)) {
		e = start_pacer(c, o, pace);
	}
	if (e != ERR_OK) {
		core_free(&c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

enum err core_new(const struct core_options *o, struct core **out)
{
	return core_new_paced(o, &core_usual_pace, out);
}

void core_free(struct core **cp)
{
	struct core *c = *cp;
	*cp = NULL;
	if (c == NULL) {
		return;
	}
	core_pacer_free(&c->pacer);
	if (c->throttle != NULL) {
		throttle_free(&c->throttle);
	}
	core_registry_free(&c->readers);
	lock_fini(&c->producer_ids.lock);
	mem_free(c->extra_key);
	mem_free(c->host);
	mem_free(c);
}

void core_stop_waiting(struct core *c)
{
	core_pacer_stop(c->pacer);
}

enum err core_flow_open(struct core *c, const char *label, struct throttle_flow **out)
{
	return throttle_flow_open(c->throttle, label, out);
}

void core_flow_close(struct throttle_flow **f)
{
	if (*f != NULL) {
		throttle_flow_close(f);
	}
}

struct store *core_store(struct core *c)
{
	return c->store;
}

const char *core_host(const struct core *c)
{
	return c->host;
}

struct budget *core_inflight(struct core *c)
{
	return &c->inflight;
}

const struct auth_source *core_auth(struct core *c)
{
	return &c->auth;
}

const struct catalog *core_catalog(struct core *c)
{
	return store_catalog(c->store);
}

int64_t core_default_retention(const struct core *c)
{
	return c->default_retention_ms;
}

void core_command(struct core *c, struct store_command *op)
{
	struct catalog_command *cmd = &op->command;
	if (cmd->op == CATALOG_HUB_CREATE && !cmd->has_retention && c->default_retention_ms > 0) {
		cmd->has_retention = true;
		cmd->retention_ms = c->default_retention_ms;
	}
	enum err e = core_quota_check(c, cmd, &op->detail);
	if (e != ERR_OK) {
		metric_inc(METRIC_ERRORS_QUOTA);
		op->err = e;
		op->msg.run = op->done;
		mailbox_post(op->reply_to, &op->msg);
		return;
	}
	store_command(c->store, op);
}

enum err core_position(struct core *c, uint32_t hub_id, uint32_t partition,
		       struct store_position *out)
{
	struct store_partition *p =
		store_partition_find(c->store, (struct store_part){hub_id, partition});
	if (p == NULL) {
		return ERR_NOT_FOUND;
	}
	store_partition_position(p, out);
	store_partition_drop(&p);
	return out->deleted ? ERR_NOT_FOUND : out->is_offline ? ERR_OFFLINE : ERR_OK;
}

void core_offset_text(int64_t seq, char out[32])
{
	snprintf(out, 32, "%lld", (long long)seq);
}

void core_error_text(const struct core *c, enum err e, const char *detail, const char *entity,
		     char tracking[33], char *out, size_t out_size)
{
	crypto_tracking_id(tracking);
	char when[CLOCK_ISO_MAX];
	clock_iso(clock_wall_ms(), when);
	const char *text = detail != NULL && detail[0] != '\0' ? detail : err_text(e);
	snprintf(out, out_size, "%s TrackingId:%s, SystemTracker:%s:%s, Timestamp:%s", text,
		 tracking, c->host, entity != NULL ? entity : "", when);
}
