/* A fetch that found too little waits: for new events in its partitions, or for
 * its time to be over. */

#include <assert.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "gateway/kafka/fetch.h"

/* ---- the end of waiting ------------------------------------------------------------ */

/* A watch that is on its way already still comes, and finds the fetch done. */
static void unwatch(struct kafka_request *r)
{
	struct fetch *f = r->state;
	for (uint32_t i = 0; i < f->n_parts && f->n_watched > 0; i++) {
		struct fetch_part *part = &f->parts[i];
		if (part->state == FETCH_WATCHED) {
			f->n_watched--;
			if (store_unwatch(&part->watch)) {
				part->state = FETCH_DONE;
				kafka_release(r);
			}
		}
	}
}

static void answer(struct kafka_request *r)
{
	struct fetch *f = r->state;
	assert(!f->is_done);
	assert(!f->is_reading);
	assert(!f->is_paying);
	f->is_paying = true;
	unwatch(r);
	fetch_pay(r);
}

/* ---- waiting ------------------------------------------------------------------------ */

static void on_watch(struct msg *m)
{
	struct fetch_part *part = KAFKA_OWNER(struct fetch_part, m, watch.msg);
	struct kafka_request *r = part->r;
	struct fetch *f = r->state;
	if (!f->is_done && !f->is_paying) {
		f->n_watched--;
		if (part->watch.err == ERR_OK) {
			fetch_unread_add(f, part);
		} else {
			fetch_part_fail(f, part, kafka_data_code(part->watch.err));
		}
		if (!f->is_reading) {
			fetch_run(r);
		}
	}
	kafka_release(r);
}

static void park(struct kafka_request *r)
{
	struct fetch *f = r->state;
	kafka_deadline(r, f->deadline_ms);
	while (f->ended != NULL) {
		struct fetch_part *part = f->ended;
		f->ended = part->next;
		part->next = NULL;
		part->state = FETCH_WATCHED;
		part->watch = (struct store_watch){
			.reply_to = r->conn->mailbox,
			.done = on_watch,
			.partition = part->partition,
			.seq = part->at,
		};
		f->n_watched++;
		kafka_hold(r);
		core_fetch_watch(r->conn->front->core, &part->watch);
	}
}

void fetch_settle(struct kafka_request *r)
{
	struct fetch *f = r->state;
	bool is_enough = f->is_ready || f->is_full || f->is_due || r->was_cancelled ||
			 f->bytes >= f->min_bytes || f->n_parts == 0;
	if (is_enough || clock_mono_ms() >= f->deadline_ms) {
		answer(r);
	} else {
		park(r);
	}
}

/* What it still waits for ends, one way or the other. */
static void end(struct kafka_request *r)
{
	struct fetch *f = r->state;
	kafka_hold(r);
	if (f->is_paying) {
		fetch_pay_end(r);
	} else {
		answer(r);
	}
	kafka_release(r);
}

void fetch_tick(struct kafka_request *r, int64_t now_ms)
{
	struct fetch *f = r->state;
	if (f->is_done || now_ms < f->deadline_ms) {
		return;
	}
	f->is_due = true;
	if (!f->is_reading) { /* else the read that comes back ends it */
		end(r);
	}
}

void fetch_cancel(struct kafka_request *r)
{
	struct fetch *f = r->state;
	if (!f->is_done && !f->is_reading) {
		end(r);
	}
}
