#include "gateway/kafka/handlers.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"

void kafka_refused(const struct kafka_request *r, enum kafka_code code, const char *field,
		   struct span value)
{
	const struct kafka_conn *c = r->conn;
	log_limited(LOG_INFO, "KAFKA-REFUSED",
		    "conn=%llu peer=%s user=%s api=%s version=%d code=%d field=%s value=%s",
		    (unsigned long long)c->id, c->peer, log_quote(c->user), r->api->name,
		    r->version, (int)code, field, log_quote_span(value).text);
}

struct span kafka_span_or_none(const struct kafka_string *s)
{
	if (s->is_null) {
		return span_of(NULL, 0);
	}
	return s->s.p != NULL ? s->s : span_of("", 0);
}

char *kafka_printf(struct kafka_request *r, const char *fmt, ...)
{
	char text[ERR_DETAIL_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	size_t n = strlen(text) + 1;
	char *copy = kafka_alloc(r, n);
	if (copy != NULL) {
		memcpy(copy, text, n);
	}
	return copy;
}

bool kafka_span_copy(struct kafka_request *r, struct span from, struct span *out)
{
	if (from.n == 0) {
		*out = from.p != NULL ? span_of("", 0) : span_of(NULL, 0);
		return true;
	}
	void *copy = kafka_alloc(r, from.n);
	if (copy == NULL) {
		return false;
	}
	memcpy(copy, from.p, from.n);
	*out = span_of(copy, from.n);
	return true;
}

bool kafka_may_manage(struct kafka_request *r, int16_t known_since, struct kafka_refusal *why,
		      int32_t *throttle_ms)
{
	uint32_t wait_ms = 0;
	struct err_detail d = {""};
	if (core_manage_take(r->conn->front->core, &wait_ms, &d) == ERR_OK) {
		return true;
	}
	/* Older clients try again after a time-out, and after nothing else that fits. */
	why->code = r->version >= known_since ? KAFKA_THROTTLING_QUOTA_EXCEEDED
					      : KAFKA_REQUEST_TIMED_OUT;
	struct span text = kafka_arena_copy(&r->arena, span_of(d.text, strlen(d.text) + 1));
	why->why = (const char *)text.p;
	*throttle_ms = kafka_mute(r->conn, (int64_t)wait_ms * KAFKA_NS_PER_MS);
	return false;
}

/* ---- names that stand twice ------------------------------------------------------- */

struct named {
	struct span name;
	uint32_t at;
};

static int compare_names(struct span a, struct span b)
{
	if (a.n != b.n) {
		return a.n < b.n ? -1 : 1;
	}
	return a.n != 0 ? strncasecmp((const char *)a.p, (const char *)b.p, a.n) : 0;
}

static int by_name(const void *a, const void *b)
{
	const struct named *x = a;
	const struct named *y = b;
	int order = compare_names(x->name, y->name);
	return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

struct kafka_twice *kafka_find_twice(struct kafka_request *r, const struct kafka_string *names,
				     uint32_t n)
{
	struct kafka_twice *out = kafka_alloc(r, n * sizeof *out);
	struct named *v = out != NULL ? kafka_alloc(r, n * sizeof *v) : NULL;
	if (v == NULL) {
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		v[i] = (struct named){names[i].s, i};
	}
	if (n > 1) {
		qsort(v, n, sizeof *v, by_name);
	}
	for (uint32_t i = 1; i < n; i++) {
		if (!names[v[i].at].is_null && !names[v[i - 1].at].is_null &&
		    compare_names(v[i].name, v[i - 1].name) == 0) {
			out[v[i - 1].at].is_twice = true;
			out[v[i].at] = (struct kafka_twice){.is_twice = true, .is_later = true};
		}
	}
	return out;
}

/* ---- catalogue changes ---------------------------------------------------------- */

static void command_done(struct msg *m);

/* Sends the slot's next command, if there is one. */
static void command_next(struct kafka_command *slot)
{
	struct kafka_commands *c = slot->of;
	while (c->next < c->n) {
		slot->at = c->next++;
		memset(&slot->op, 0, sizeof slot->op);
		if (c->fill(c->r, slot->at, &slot->op.command)) {
			slot->op.reply_to = c->r->conn->mailbox;
			slot->op.done = command_done;
			c->out++;
			kafka_hold(c->r);
			core_command(c->r->conn->front->core, &slot->op);
			return;
		}
	}
}

static void command_done(struct msg *m)
{
	struct kafka_command *slot =
		(struct kafka_command *)(void *)((char *)m - offsetof(struct store_command, msg) -
						 offsetof(struct kafka_command, op));
	struct kafka_commands *c = slot->of;
	struct kafka_request *r = c->r;
	assert(c->out > 0);
	c->done(r, slot->at, slot->op.err, &slot->op.detail);
	command_next(slot);
	c->out--;
	if (c->out == 0) {
		c->all(r);
	}
	kafka_release(r);
}

static void commands_cancel(struct kafka_request *r)
{
	struct kafka_commands *c = r->state;
	c->n = c->next;
}

void kafka_commands_start(struct kafka_request *r, struct kafka_commands *c)
{
	assert((void *)c == r->state);
	c->r = r;
	r->cancel = commands_cancel;
	for (uint32_t i = 0; i < KAFKA_COMMANDS_OUT; i++) {
		c->slots[i].of = c;
		command_next(&c->slots[i]);
	}
	if (c->out == 0) {
		c->all(r);
	}
}

/* ---- group operations ----------------------------------------------------------- */

static void group_cancel(struct kafka_request *r)
{
	struct kafka_group_op *g = r->state;
	g->is_cancelled = true;
	/* Others are answered soon anyway. */
	if (g->is_out && (g->op.kind == GROUPS_JOIN || g->op.kind == GROUPS_SYNC)) {
		groups_cancel(r->conn->front->groups, &g->op);
	}
}

static void group_fini(struct kafka_request *r)
{
	struct kafka_group_op *g = r->state;
	groups_op_fini(&g->op);
}

void *kafka_group_op_new(struct kafka_request *r, size_t size)
{
	assert(size >= sizeof(struct kafka_group_op));
	struct kafka_group_op *g = kafka_alloc(r, size);
	if (g != NULL) {
		g->r = r;
		r->state = g;
		r->cancel = group_cancel;
		r->fini = group_fini;
	}
	return g;
}

void kafka_group_op_reset(struct kafka_group_op *g, enum groups_kind kind, struct span group)
{
	groups_op_fini(&g->op);
	memset(&g->op, 0, sizeof g->op);
	g->op.kind = kind;
	g->op.group = group;
	g->op.client_id = g->r->client_id;
	g->op.client_host = span_str(g->r->conn->client_host);
	g->op.generation = -1;
}

static void group_done(struct msg *m)
{
	struct kafka_group_op *g =
		(struct kafka_group_op *)(void *)((char *)m - offsetof(struct groups_op, msg) -
						  offsetof(struct kafka_group_op, op));
	struct kafka_request *r = g->r;
	assert(g->is_out);
	g->is_out = false;
	g->done(g);
	kafka_release(r);
}

void kafka_group_op_submit(struct kafka_group_op *g, void (*done)(struct kafka_group_op *g))
{
	assert(!g->is_out);
	g->done = done;
	g->is_out = true;
	g->op.reply_to = g->r->conn->mailbox;
	g->op.done = group_done;
	kafka_hold(g->r);
	groups_submit(g->r->conn->front->groups, &g->op);
}
