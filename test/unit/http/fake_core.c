#include "test/unit/http/fake_core.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/lock.h"
#include "base/mem.h"
#include "gateway/group/groups.h"

struct core {
	struct budget inflight;
	struct auth_source auth;
	const struct catalog *catalog;
	struct lock lock;
	struct cond changed;
	bool hold;
	enum err refuse;
	uint32_t busy_ms;	/* for ERR_BUSY: refused for so long; 0: memory is short */
	uint32_t manage_busy_ms;
	int flows;
	char policy[64];
	struct msg *held;
	size_t n_held;
	size_t appended;
};

struct core_sender {
	struct core *core;
};

static void find(void *ctx, struct span path, struct span name, auth_policy_fn *fn, void *arg)
{
	struct auth_policy p = {.name = "p", .rights = AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE,
				.primary = "k", .secondary = "k"};
	(void)ctx;
	(void)path;
	if (span_eq_str(name, "p")) {
		(void)fn(arg, "", &p);
	}
}

struct core *fake_core_new(size_t inflight_max)
{
	struct core *c = MEM_NEW(struct core);
	budget_init(&c->inflight, inflight_max);
	c->auth.find = find;
	c->catalog = catalog_empty(1);
	lock_init(&c->lock);
	cond_init(&c->changed);
	return c;
}

void fake_core_free(struct core **at)
{
	struct core *c = *at;
	ck_assert_int_eq(c->flows, 0);
	*at = NULL;
	catalog_drop(&c->catalog);
	cond_fini(&c->changed);
	lock_fini(&c->lock);
	mem_free(c);
}

void fake_core_hold(struct core *c, bool hold)
{
	lock_take(&c->lock);
	c->hold = hold;
	lock_give(&c->lock);
}

void fake_core_refuse(struct core *c, enum err e)
{
	lock_take(&c->lock);
	c->refuse = e;
	lock_give(&c->lock);
}

void fake_core_busy_for(struct core *c, uint32_t wait_ms)
{
	lock_take(&c->lock);
	c->busy_ms = wait_ms;
	lock_give(&c->lock);
}

void fake_core_manage_busy(struct core *c, uint32_t wait_ms)
{
	lock_take(&c->lock);
	c->manage_busy_ms = wait_ms;
	lock_give(&c->lock);
}

int fake_core_flows(struct core *c)
{
	lock_take(&c->lock);
	int n = c->flows;
	lock_give(&c->lock);
	return n;
}

void fake_core_policy(struct core *c, char out[64])
{
	lock_take(&c->lock);
	memcpy(out, c->policy, sizeof c->policy);
	lock_give(&c->lock);
}

bool fake_core_wait_held(struct core *c, size_t n)
{
	int64_t deadline_ns = clock_mono_ns() + INT64_C(5000000000);
	lock_take(&c->lock);
	while (c->n_held < n && cond_wait_until(&c->changed, &c->lock, deadline_ns)) {
	}
	bool ok = c->n_held >= n;
	lock_give(&c->lock);
	return ok;
}

static void decide(struct core_append *a, uint32_t busy_ms)
{
	a->decision = (struct throttle_decision){
		.verdict = busy_ms != 0 ? THROTTLE_REFUSE : THROTTLE_ADMIT,
		.wait_ms = busy_ms,
		.reason = {.kind = THROTTLE_NAMESPACE, .by_events = true, .rate = 1000},
	};
}

static void answer(struct msg *m, enum err e, uint32_t busy_ms)
{
	struct store_append *op = (struct store_append *)(void *)m;
	op->err = e;
	if (e == ERR_BUSY) {
		decide((struct core_append *)(void *)op, busy_ms);
	}
	buf_drop(&op->batch);
	mailbox_post(op->reply_to, &op->msg);
}

void fake_core_release(struct core *c, enum err e)
{
	lock_take(&c->lock);
	struct msg *m = c->held;
	c->held = NULL;
	c->n_held = 0;
	uint32_t busy_ms = c->busy_ms;
	lock_give(&c->lock);
	while (m != NULL) {
		struct msg *next = m->next;
		answer(m, e, busy_ms);
		m = next;
	}
}

size_t fake_core_appended(struct core *c)
{
	lock_take(&c->lock);
	size_t n = c->appended;
	lock_give(&c->lock);
	return n;
}

/* ---- what the front end calls ------------------------------------------------ */

const char *core_host(const struct core *c)
{
	(void)c;
	return "test";
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
	return catalog_hold(c->catalog);
}

enum err core_resolve(struct core *c, struct span address, struct core_address *out,
		      struct err_detail *d)
{
	(void)c;
	*out = (struct core_address){.kind = CORE_HUB, .partitions = 4};
	if (auth_path_normalise(address, out->path) != ERR_OK) {
		return err_set(d, ERR_INVALID, "bad path");
	}
	snprintf(out->hub, sizeof out->hub, "hub");
	return strcmp(out->path, "hub") == 0 ? ERR_OK : err_set(d, ERR_NOT_FOUND, "no such hub");
}

enum err core_grants_check(const struct core *c, const struct core_grants *g, const char *path,
			   enum auth_right right, int64_t now_ms, int64_t *expires_ms,
			   struct err_detail *d)
{
	(void)c;
	*expires_ms = g->v[0]->expires_ms;
	enum err e = auth_grant_check(g->v[0], path, right, now_ms);
	return e == ERR_OK ? e : err_set(d, e, "claim is missing");
}

enum err core_flow_open(struct core *c, const char *label, struct throttle_flow **out)
{
	struct core **flow = mem_alloc(sizeof *flow);
	ck_assert_str_ne(label, "");
	*flow = c;
	*out = (struct throttle_flow *)(void *)flow;
	lock_take(&c->lock);
	c->flows++;
	lock_give(&c->lock);
	return ERR_OK;
}

void core_flow_close(struct throttle_flow **f)
{
	struct core *c = *(struct core **)(void *)*f;
	lock_take(&c->lock);
	c->flows--;
	lock_give(&c->lock);
	mem_free(*f);
	*f = NULL;
}

void core_busy_text(const struct throttle_decision *d, char *out, size_t size)
{
	snprintf(out, size, "%s. Please wait %u seconds and try again.",
		 d->verdict == THROTTLE_REFUSE ? "Error code : 50002" : "memory",
		 d->verdict == THROTTLE_REFUSE ? (d->wait_ms + 999) / 1000 : 4);
}

enum err core_manage_take(struct core *c, uint32_t *wait_ms, struct err_detail *d)
{
	lock_take(&c->lock);
	*wait_ms = c->manage_busy_ms;
	lock_give(&c->lock);
	return *wait_ms == 0 ? ERR_OK : err_set(d, ERR_BUSY, "Error code : 50008.");
}

enum err core_scopes(struct core *c, struct throttle_scope_info **out, size_t *n)
{
	(void)c;
	*n = 1;
	*out = mem_calloc(1, sizeof **out);
	(*out)->limit.rate[THROTTLE_IN].bytes = 1048576;
	return ERR_OK;
}

void core_metrics_render(struct core *c, struct str *out)
{
	(void)c;
	str_add(out, "sluice_throughput_units 1\n");
}

void core_use(struct core *c, struct core_use *out)
{
	(void)c;
	*out = (struct core_use){.rate[THROTTLE_IN] = {.bytes = 7, .events = 8}};
}

enum err core_sender_open(struct core *c, const struct core_address *a,
			  const struct core_client *client, struct core_sender **out)
{
	(void)a;
	ck_assert_ptr_nonnull(client->flow);
	lock_take(&c->lock);
	snprintf(c->policy, sizeof c->policy, "%s/%s", client->policy_hub, client->policy);
	lock_give(&c->lock);
	*out = MEM_NEW(struct core_sender);
	(*out)->core = c;
	return ERR_OK;
}

void core_sender_close(struct core_sender **s)
{
	mem_free(*s);
	*s = NULL;
}

enum err core_append(struct core_sender *s, struct core_append *a)
{
	struct core *c = s->core;
	a->op.msg.run = a->op.done;
	lock_take(&c->lock);
	enum err e = c->refuse;
	bool hold = c->hold;
	uint32_t busy_ms = c->busy_ms;
	if (e == ERR_OK) {
		c->appended++;
		if (hold) {
			a->op.msg.next = c->held;
			c->held = &a->op.msg;
			c->n_held++;
			cond_broadcast(&c->changed);
		}
	}
	lock_give(&c->lock);
	if (e == ERR_OK && !hold) {
		answer(&a->op.msg, ERR_OK, 0);
	} else if (e != ERR_OK) {
		decide(a, busy_ms);
	}
	return e;
}

enum err core_append_done(struct core_append *a)
{
	return a->op.err;
}

enum err core_position(struct core *c, uint32_t hub_id, uint32_t partition,
		       struct store_position *out)
{
	(void)c;
	(void)hub_id;
	(void)partition;
	*out = (struct store_position){0};
	return ERR_OK;
}

enum err core_readers_list(struct core *c, uint32_t hub_id, struct core_reader_info **out,
			   size_t *n)
{
	(void)c;
	(void)hub_id;
	*out = NULL;
	*n = 0;
	return ERR_OK;
}

void groups_submit(struct groups *g, struct groups_op *op)
{
	(void)g;
	op->code = GROUP_NOT_FOUND;
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

void groups_op_fini(struct groups_op *op)
{
	(void)op;
}

void core_command(struct core *c, struct store_command *op)
{
	(void)c;
	op->err = err_set(&op->detail, ERR_EXISTS, "it exists");
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

void core_error_text(const struct core *c, enum err e, const char *detail, const char *entity,
		     char tracking[33], char *out, size_t out_size)
{
	(void)c;
	crypto_tracking_id(tracking);
	snprintf(out, out_size, "%s %s TrackingId:%s", detail[0] != '\0' ? detail : err_text(e),
		 entity, tracking);
}

/* No store is behind it: backups are refused as while it stops. */
struct store *core_store(struct core *c)
{
	(void)c;
	return NULL;
}

void store_uuid_text(const struct store *s, char out[37])
{
	(void)s;
	out[0] = '\0';
}

uint32_t store_volumes(const struct store *s)
{
	(void)s;
	return 0;
}

const char *store_volume_dir(const struct store *s, uint32_t volume)
{
	(void)s;
	(void)volume;
	return "";
}

void store_pin(struct store *s, struct store_pin *op)
{
	(void)s;
	op->err = ERR_STOPPING;
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

enum err store_pin_renew(struct store *s, uint64_t id)
{
	(void)s;
	(void)id;
	return ERR_NOT_FOUND;
}

void store_unpin(struct store *s, uint64_t id)
{
	(void)s;
	(void)id;
}
