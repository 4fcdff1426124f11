/* How long requests may have waited before they were read. Clients send several without
 * waiting for answers, and count the time of each from when they sent it; while a
 * connection is throttled they stand in socket buffers, where nobody sees them come.
 * What may be older than clients' patience allows is refused at once, all that is there,
 * without further silence in between: so it is sent anew, and counts anew. */

#include "base/clock.h"
#include "base/log.h"
#include "gateway/kafka/conn.h"

enum {
	/* Socket buffers of both sides hold less, until more is known. */
	WINDOW_MAX = 12 << 20,
	WINDOW_MIN = 8 << 10,
	WINDOW_STEPS = 8,	/* the window's part after which the time is noted */
	/* A connection of which nothing came for so long while it was read has nothing in
	 * socket buffers: TCP asks again after 200 ms when it had stopped. */
	QUIET_MS = 500,
	/* When it is read again, what waits at the client has come in by then. */
	TRIP_MS = 200,
	/* All that is in socket buffers comes in about that time, and nothing that was
	 * refused comes again. */
	FLUSH_MS = 100,
};

_Static_assert(WINDOW_STEPS + 1 < KAFKA_LAG_MARKS, "the mark is still there");

static void window_is(struct kafka_lag *lag, uint64_t bytes)
{
	bytes = bytes < WINDOW_MAX ? bytes : WINDOW_MAX;
	lag->step = (bytes > WINDOW_MIN ? bytes : WINDOW_MIN) / WINDOW_STEPS;
	lag->marks = 0;
	lag->taken = 0;
}

/* Nothing that is still to be taken was sent before. */
static int64_t oldest_ms(const struct kafka_lag *lag)
{
	uint64_t i = lag->marks;
	int64_t mark_ms = i > WINDOW_STEPS ? lag->mark_ms[(i - WINDOW_STEPS) % KAFKA_LAG_MARKS] : 0;
	return mark_ms > lag->since_ms ? mark_ms : lag->since_ms;
}

/* While it is read without hindrance nothing gets older. */
static void count_free(struct kafka_lag *lag, int64_t now_ms)
{
	if (lag->free_ms != 0 && now_ms > lag->free_ms) {
		lag->since_ms += now_ms - lag->free_ms;
		lag->free_ms = now_ms;
	}
}

static void end_flush(struct kafka_lag *lag)
{
	lag->flush_until_ms = 0;
	/* What was there then is what this client sends ahead. */
	window_is(lag, 2 * lag->flushed);
}

void kafka_lag_blocked(struct kafka_conn *c)
{
	struct kafka_lag *lag = &c->lag;
	/* One that waits for each answer sent this after the last. */
	lag->is_ahead |= c->first != NULL;
	if (lag->since_ms != 0) {
		count_free(lag, clock_mono_ms());
	}
	lag->free_ms = 0;
	if (lag->since_ms == 0 && lag->is_ahead) {
		lag->since_ms = clock_mono_ms();
		if (lag->step == 0) {
			window_is(lag, WINDOW_MAX);
		}
	}
}

void kafka_lag_resumed(struct kafka_conn *c)
{
	c->lag.read_ms = clock_mono_ms();
	c->lag.free_ms = c->lag.read_ms + TRIP_MS;
}

void kafka_lag_none(struct kafka_conn *c)
{
	c->lag = (struct kafka_lag){0};
}

void kafka_lag_received(struct kafka_conn *c)
{
	struct kafka_lag *lag = &c->lag;
	if (!lag->is_ahead) {
		return;
	}
	int64_t now_ms = clock_mono_ms();
	if (now_ms >= lag->read_ms + QUIET_MS) {
		*lag = (struct kafka_lag){0};
	}
	lag->read_ms = now_ms;
}

void kafka_lag_begun(struct kafka_conn *c)
{
	c->lag.is_ahead |= c->first != NULL;
}

void kafka_lag_took(struct kafka_conn *c, size_t n)
{
	struct kafka_lag *lag = &c->lag;
	if (lag->flush_until_ms != 0) {
		lag->flushed += n;
	} else if (lag->step != 0) {
		lag->taken += n;
		if (lag->taken >= lag->step) {
			/* More than a step at once counts as one, to be careful. */
			lag->taken = 0;
			lag->marks++;
			lag->mark_ms[lag->marks % KAFKA_LAG_MARKS] = clock_mono_ms();
		}
	}
}

int64_t kafka_lag_until_ms(const struct kafka_conn *c)
{
	return c->lag.since_ms != 0 ? oldest_ms(&c->lag) + c->front->lag_max_ms : INT64_MAX;
}

bool kafka_lag_is_flushing(struct kafka_conn *c)
{
	struct kafka_lag *lag = &c->lag;
	if (lag->flush_until_ms != 0 && clock_mono_ms() >= lag->flush_until_ms) {
		end_flush(lag);
	}
	return lag->flush_until_ms != 0;
}

bool kafka_lag_is_late(struct kafka_conn *c)
{
	struct kafka_lag *lag = &c->lag;
	if (kafka_lag_is_flushing(c)) {
		return true;
	}
	if (lag->since_ms == 0) {
		return false;
	}
	int64_t now_ms = clock_mono_ms();
	count_free(lag, now_ms);
	if (now_ms < kafka_lag_until_ms(c)) {
		return false;
	}
	log_limited(LOG_INFO, "KAFKA-CONNECTION-LAGS", "conn=%llu peer=%s waited_ms=%lld",
		    (unsigned long long)c->id, c->peer, (long long)(now_ms - oldest_ms(lag)));
	lag->since_ms = 0;
	lag->flushed = 0;
	lag->flush_until_ms = now_ms + FLUSH_MS;
	return true;
}
