/* What a connection may send and be sent: its flow, the senders and readings on its
 * account, what they cost, and the times at which it is not read. */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/kafka/conn.h"
#include "gateway/kafka/data.h"

enum {
	/* Of an estimate, what a client is told: 3 of 4. Where one request takes a whole
	 * burst (1 s) of the limit, a quarter of a second is left for ticks and the way. */
	TOLD = 3,
	TOLD_OF = 4,
};

/* A tick of the connection ends a mute up to so much late, and somewhat for the way. */
#define TOLD_LESS_NS ((int64_t)(NET_TICK_MS + 20) * KAFKA_NS_PER_MS)

/* Capacity to read from a hub. A turn that is out may outlive the request that asked
 * for it: what was paid then is the next one's. */
struct kafka_reading {
	struct kafka_conn *conn;
	uint32_t hub_id;
	uint32_t partition;		/* for which the turn or the credit is */
	struct core_reading *reading;
	struct core_turn turn;
	struct throttle_cost asked;	/* by the turn */
	struct throttle_cost credit;	/* paid and not used */
	bool is_out;
	bool has_ended;			/* the server stops: there are no more turns */
	bool is_gone;			/* of the connection's no more */
};

/* ---- whose account ------------------------------------------------------------ */

static void senders_close(struct kafka_conn *c)
{
	for (uint32_t i = 0; i < c->n_senders; i++) {
		core_sender_close(&c->senders[i].sender);
	}
	c->n_senders = 0;
}

static void reading_free(struct kafka_reading *p)
{
	core_reading_close(&p->reading);
	mem_free(p);
}

/* One whose turn is out is freed when it comes back. */
static void reading_leave(struct kafka_reading *p)
{
	p->is_gone = true;
	if (!p->is_out) {
		reading_free(p);
	}
}

static void readings_close(struct kafka_conn *c)
{
	for (uint32_t i = 0; i < c->n_readings; i++) {
		reading_leave(c->readings[i]);
	}
	c->n_readings = 0;
}

void kafka_capacity_close(struct kafka_conn *c)
{
	assert(c->n_waiting == 0);
	senders_close(c);
	readings_close(c);
	core_flow_close(&c->flow);
}

/* A connection is one client's as a rule; with another id everything is opened anew. */
static void know_client(struct kafka_request *r)
{
	struct kafka_conn *c = r->conn;
	size_t n = r->client_id.n < KAFKA_CLIENT_ID ? r->client_id.n : KAFKA_CLIENT_ID;
	char id[KAFKA_CLIENT_ID + 1];
	for (size_t i = 0; i < n; i++) {
		uint8_t byte = r->client_id.p[i];
		id[i] = byte != 0 ? (char)byte : '?';
	}
	id[n] = '\0';
	if (strcmp(c->client_id, id) != 0) {
		senders_close(c);
		readings_close(c);
		memcpy(c->client_id, id, n + 1);
	}
}

static enum err client_of(struct kafka_conn *c, struct core_client *out)
{
	if (c->flow == NULL) {
		enum err e = core_flow_open(c->front->core, c->peer, &c->flow);
		if (e != ERR_OK) {
			return e;
		}
	}
	*out = (struct core_client){
		.flow = c->flow,
		.policy = c->user,
		.policy_hub = c->grants.n > 0 ? c->grants.v[0]->policy_hub : "",
		.client_id = c->client_id,
	};
	return ERR_OK;
}

/* ---- sending ------------------------------------------------------------------- */

enum err kafka_sender_of(struct kafka_request *r, const struct kafka_topic *topic,
			 struct core_sender **out)
{
	struct kafka_conn *c = r->conn;
	know_client(r);
	uint32_t i = 0;
	while (i < c->n_senders && c->senders[i].hub_id != topic->hub_id) {
		i++;
	}
	struct kafka_sender found = {.hub_id = topic->hub_id};
	if (i < c->n_senders) {
		found = c->senders[i];
	} else {
		struct core_address a = {
			.kind = CORE_HUB,
			.hub_id = topic->hub_id,
			.partitions = topic->partitions,
		};
		struct core_client client;
		enum err e = client_of(c, &client);
		if (e == ERR_OK) {
			e = core_sender_open(c->front->core, &a, &client, &found.sender);
		}
		if (e != ERR_OK) {
			return e;
		}
		if (c->n_senders == KAFKA_SENDERS) {
			core_sender_close(&c->senders[--i].sender);
		} else {
			c->n_senders++;
		}
	}
	memmove(&c->senders[1], &c->senders[0], i * sizeof c->senders[0]);
	c->senders[0] = found;
	*out = found.sender;
	return ERR_OK;
}

/* ---- reading ------------------------------------------------------------------- */

static enum err reading_new(struct kafka_conn *c, uint32_t hub_id, struct kafka_reading **out)
{
	struct core_client client;
	struct kafka_reading *p = MEM_NEW(struct kafka_reading);
	enum err e = p != NULL ? client_of(c, &client) : ERR_NOMEM;
	if (e == ERR_OK) {
		e = core_reading_open(c->front->core, &client, hub_id, &p->reading);
	}
	if (e != ERR_OK) {
		mem_free(p);
		return e;
	}
	p->conn = c;
	p->hub_id = hub_id;
	*out = p;
	return ERR_OK;
}

static enum err reading_of(struct kafka_request *r, uint32_t hub_id, struct kafka_reading **out)
{
	struct kafka_conn *c = r->conn;
	know_client(r);
	uint32_t i = 0;
	while (i < c->n_readings && c->readings[i]->hub_id != hub_id) {
		i++;
	}
	struct kafka_reading *found = NULL;
	if (i < c->n_readings) {
		found = c->readings[i];
	} else {
		enum err e = reading_new(c, hub_id, &found);
		if (e != ERR_OK) {
			return e;
		}
		if (c->n_readings == KAFKA_READINGS) {
			reading_leave(c->readings[--i]);
		} else {
			c->n_readings++;
		}
	}
	memmove(&c->readings[1], &c->readings[0], i * sizeof c->readings[0]);
	c->readings[0] = found;
	*out = found;
	return ERR_OK;
}

static void on_turn(struct msg *m)
{
	struct kafka_reading *p = KAFKA_OWNER(struct kafka_reading, m, turn.msg);
	struct kafka_conn *c = p->conn;
	p->is_out = false;
	if (p->turn.err == ERR_OK) {
		p->credit.bytes += p->asked.bytes;
		p->credit.events += p->asked.events;
	} else {
		p->has_ended = true;
	}
	if (p->is_gone) {
		reading_free(p);
	}
	kafka_fetch_go_on(c);
	kafka_conn_release(c);
}

static void ask(struct kafka_reading *p, const struct throttle_cost *cost)
{
	struct kafka_conn *c = p->conn;
	p->asked = *cost;
	p->is_out = true;
	c->outstanding++;
	p->turn = (struct core_turn){.reply_to = c->mailbox, .done = on_turn};
	core_reading_wait(p->reading, p->partition, cost, &p->turn);
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

enum err kafka_reading_pay(struct kafka_request *r, uint32_t hub_id, uint32_t partition,
			   const struct throttle_cost *cost, bool may_wait)
{
	struct kafka_reading *p;
	enum err e = reading_of(r, hub_id, &p);
	if (e != ERR_OK) {
		return e;
	}
	if (p->is_out) {
		return ERR_AGAIN;
	}
	if (p->partition != partition) {
		/* Few have limits of their own, and no capacity is made of it. */
		p->partition = partition;
		p->credit = (struct throttle_cost){0};
	}
	struct throttle_cost used = {
		.bytes = less(p->credit.bytes, cost->bytes),
		.events = less(p->credit.events, cost->events),
	};
	struct throttle_cost left = {cost->bytes - used.bytes, cost->events - used.events};
	bool is_paid = (left.bytes == 0 && left.events == 0) ||
		       core_reading_take(p->reading, partition, &left);
	if (is_paid) {
		p->credit.bytes -= used.bytes;
		p->credit.events -= used.events;
		return ERR_OK;
	}
	if (p->has_ended) {
		return ERR_STOPPING;
	}
	if (may_wait) {
		ask(p, &left);
	}
	return ERR_AGAIN;
}

struct throttle_rate kafka_reading_share(struct kafka_request *r, uint32_t hub_id,
					 uint32_t partition)
{
	struct kafka_reading *p;
	if (reading_of(r, hub_id, &p) != ERR_OK) {
		return (struct throttle_rate){UINT64_MAX, UINT64_MAX};
	}
	return core_reading_share(p->reading, partition);
}

/* ---- silence ------------------------------------------------------------------- */

int64_t kafka_estimate_ns(struct kafka_conn *c, const struct kafka_account *a)
{
	for (uint32_t i = 0; i < c->n_senders && !a->is_reading; i++) {
		if (c->senders[i].hub_id == a->hub_id) {
			return core_sender_estimate_ns(c->senders[i].sender, a->partition, &a->cost);
		}
	}
	for (uint32_t i = 0; i < c->n_readings && a->is_reading; i++) {
		if (c->readings[i]->hub_id == a->hub_id) {
			return core_reading_estimate_ns(c->readings[i]->reading,
							(uint32_t)a->partition, &a->cost);
		}
	}
	return 0;
}

int32_t kafka_mute(struct kafka_conn *c, int64_t wait_ns)
{
	int64_t most_ms = c->front->options.throttle_max_ms;
	if (wait_ns <= 0 || most_ms == 0) {
		return 0;
	}
	int64_t wait_ms = wait_ns / KAFKA_NS_PER_MS + (wait_ns % KAFKA_NS_PER_MS != 0);
	wait_ms = wait_ms < most_ms ? wait_ms : most_ms;
	/* A tick would end it late: who sends small requests would get less than its share.
	 * The next one that has to wait is held. */
	if (wait_ms < NET_TICK_MS) {
		return (int32_t)wait_ms;
	}
	int64_t until_ms = clock_mono_ms() + wait_ms;
	c->muted_until_ms = c->muted_until_ms > until_ms ? c->muted_until_ms : until_ms;
	c->mute_looked_ms = until_ms - wait_ms;
	c->muted_for = (struct kafka_account){0};
	/* Nor is the client to blame for its silence. */
	if (c->last_request_ms < c->muted_until_ms) {
		c->last_request_ms = c->muted_until_ms;
	}
	return (int32_t)wait_ms;
}

int32_t kafka_mute_before(struct kafka_conn *c, const struct kafka_account *a, bool has_waited,
			  uint32_t most_ms)
{
	int64_t estimate_ns = kafka_estimate_ns(c, a);
	if (estimate_ns <= 0 && !has_waited) {
		return 0;
	}
	int64_t told_ns = estimate_ns / TOLD_OF * TOLD;
	if (told_ns > estimate_ns - TOLD_LESS_NS) {
		told_ns = estimate_ns - TOLD_LESS_NS;
	}
	int64_t most_ns = (int64_t)most_ms * KAFKA_NS_PER_MS;
	told_ns = told_ns > 0 ? told_ns : 1;
	int32_t told_ms = kafka_mute(c, told_ns < most_ns ? told_ns : most_ns);
	if (told_ms >= NET_TICK_MS) {
		c->muted_for = *a;
	}
	return told_ms;
}

/* Limits may have been raised, or those who were before it gone; looked at once a tick. */
static bool is_still_needed(struct kafka_conn *c, int64_t now_ms)
{
	if (c->muted_for.cost.bytes == 0 || now_ms < c->mute_looked_ms + NET_TICK_MS) {
		return true;
	}
	c->mute_looked_ms = now_ms;
	return kafka_estimate_ns(c, &c->muted_for) > 0;
}

bool kafka_is_blocked(struct kafka_conn *c)
{
	if (c->n_waiting > 0) {
		return true;
	}
	if (c->muted_until_ms == 0 || kafka_lag_is_flushing(c)) {
		return false;
	}
	int64_t lag_ms = kafka_lag_until_ms(c);
	int64_t until_ms = c->muted_until_ms < lag_ms ? c->muted_until_ms : lag_ms;
	int64_t now_ms = clock_mono_ms();
	if (now_ms < until_ms && is_still_needed(c, now_ms)) {
		return true;
	}
	c->muted_until_ms = 0;
	return false;
}
