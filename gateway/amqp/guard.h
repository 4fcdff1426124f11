#ifndef GATEWAY_AMQP_GUARD_H
#define GATEWAY_AMQP_GUARD_H

/* What Proton takes on trust and must be checked before a frame reaches it:
 * it asserts that the first of several transfers has a delivery-id (an abort of
 * the process), loses references when a channel or handle in use is taken a
 * second time, and decodes nested values without a bound. Follows which
 * channels and handles the peer uses. Pure; one per connection. */

#include "base/limits.h"
#include "gateway/amqp/tap.h"

enum {
	AMQP_GUARD_CHANNELS = LIMIT_AMQP_SESSIONS,
	/* Attached by the peer, the refused ones included until it detaches them. */
	AMQP_GUARD_HANDLES = 2 * LIMIT_AMQP_LINKS,
};

struct amqp_guard_handle {
	uint32_t handle;
	uint16_t channel;
	bool partial;	/* a delivery is under way: more transfers follow */
};

struct amqp_guard {
	uint8_t begun[AMQP_GUARD_CHANNELS / 8];	/* one bit a channel */
	struct amqp_guard_handle *handles;
	size_t n;
	size_t cap;
	size_t last;	/* where the last transfer was found */
};

void amqp_guard_fini(struct amqp_guard *g);
/* What is to be done with a frame that was let through. */
struct amqp_guard_verdict {
	/* Not to be fed, and harmless: the Python SDK detaches links of sessions
	 * it has ended before. */
	bool drop;
	/* What follows the performative: of a transfer, the bytes of the message.
	 * Borrows from the frame. */
	struct span payload;
};

/* A frame as the input tap gave it. ERR_PROTOCOL, ERR_DECODE, ERR_LIMIT with a
 * text: it must not be fed, the connection is to be closed. ERR_NOMEM. */
enum err amqp_guard_check(struct amqp_guard *g, const struct amqp_tap_frame *f,
			  struct amqp_guard_verdict *out, struct err_detail *d) MUST_CHECK;

#endif
