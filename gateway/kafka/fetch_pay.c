/* What a fetch found costs capacity, each partition of its own account: the answer goes
 * out when all of it is paid for, or with what is paid when that takes too long. */

#include <assert.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "gateway/kafka/fetch.h"

enum { FETCH = 1 };

/* ---- the answer ---------------------------------------------------------------- */

/* Lays the batches of each partition side by side; one that is not paid for is empty.
 * False: kafka_fail was called. */
static bool place_records(struct kafka_request *r)
{
	struct fetch *f = r->state;
	if (f->n_held == 0) {
		return true;
	}
	struct span *spans = kafka_alloc_array(r, f->n_held, sizeof *spans);
	struct buf **bufs = spans != NULL ? kafka_alloc_array(r, f->n_held, sizeof *bufs) : NULL;
	if (bufs == NULL) {
		return false;
	}
	uint32_t at = 0;
	for (uint32_t i = 0; i < f->n_parts; i++) {
		struct fetch_part *part = &f->parts[i];
		part->first_held = at;
		if (part->is_paid) {
			part->answer->records.parts = spans + at;
			part->answer->records.bufs = bufs + at;
			part->answer->records.n_parts = part->n_held;
		}
		at += part->n_held;
	}
	assert(at == f->n_held);
	for (size_t i = 0; i < f->n_held; i++) {
		uint32_t to = f->parts[f->held[i].part].first_held++;
		spans[to] = f->held[i].bytes;
		bufs[to] = f->held[i].buf;
	}
	return true;
}

/* By what one partition cost at most, as Produce: of what was delivered or waits. */
static int32_t mute(struct kafka_request *r)
{
	struct fetch *f = r->state;
	if (f->largest.bytes == 0) {
		return 0;
	}
	uint32_t i = f->pay_at < f->n_parts ? f->pay_at : 0;
	while (f->parts[i].n_held == 0) {
		i++;
	}
	struct kafka_account a = {
		.is_reading = true,
		.hub_id = f->parts[i].hub_id,
		.partition = f->parts[i].ask->partition,
		.cost = f->largest,
	};
	return kafka_mute_before(r->conn, &a, f->had_to_wait, FETCH_MUTE_MS);
}

void fetch_pay_end(struct kafka_request *r)
{
	struct fetch *f = r->state;
	assert(f->is_paying);
	assert(!f->is_done);
	f->is_done = true;
	if (r->is_gone || !place_records(r)) {
		return;
	}
	f->response.throttle_time_ms = mute(r);
	if (!r->was_cancelled) {
		for (uint32_t i = 0; i < f->n_parts && f->n_held > 0; i++) {
			const struct fetch_part *part = &f->parts[i];
			metric_add(METRIC_EVENTS_OUT, part->is_paid ? (int64_t)part->events : 0);
			metric_add(METRIC_BYTES_OUT, part->is_paid ? (int64_t)part->bytes : 0);
		}
	}
	kafka_answer(r, &f->response);
}

/* ---- payment --------------------------------------------------------------------- */

/* ERR_AGAIN: it waits for its turn. What cannot be paid for at all is left out. */
static enum err pay_part(struct kafka_request *r, struct fetch_part *part)
{
	struct fetch *f = r->state;
	struct throttle_cost cost = {part->bytes, part->events};
	f->largest.bytes = f->largest.bytes > cost.bytes ? f->largest.bytes : cost.bytes;
	f->largest.events = f->largest.events > cost.events ? f->largest.events : cost.events;
	enum err e = kafka_reading_pay(r, part->hub_id, (uint32_t)part->ask->partition, &cost,
				       !r->was_cancelled);
	part->is_paid = e == ERR_OK;
	return e;
}

void fetch_pay(struct kafka_request *r)
{
	struct fetch *f = r->state;
	while (f->n_held > 0 && f->pay_at < f->n_parts && !r->is_gone) {
		struct fetch_part *part = &f->parts[f->pay_at];
		bool waits = part->n_held > 0 && pay_part(r, part) == ERR_AGAIN;
		if (waits && !r->was_cancelled) {
			if (!f->had_to_wait) {
				uint32_t most_ms = r->conn->front->options.throttle_max_ms;
				most_ms = most_ms < FETCH_PAY_MS ? most_ms : FETCH_PAY_MS;
				f->had_to_wait = true;
				f->deadline_ms = clock_mono_ms() + most_ms;
				kafka_deadline(r, f->deadline_ms);
			}
			return;
		}
		f->pay_at++;
	}
	fetch_pay_end(r);
}

static bool is_paying(const struct kafka_request *r)
{
	const struct fetch *f = r->state;
	return !r->is_answered && r->api != NULL && r->api->key == FETCH && f != NULL &&
	       f->is_paying && !f->is_done;
}

void kafka_fetch_go_on(struct kafka_conn *c)
{
	/* An answer takes requests from the front; begin anew then. */
	for (struct kafka_request *r = c->first; r != NULL;) {
		struct kafka_request *next = r->next;
		if (is_paying(r)) {
			kafka_hold(r);
			fetch_pay(r);
			next = r->is_answered ? c->first : next;
			kafka_release(r);
		}
		r = next;
	}
}
