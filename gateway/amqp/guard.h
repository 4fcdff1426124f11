#ifndef GATEWAY_AMQP_GUARD_H
#define GATEWAY_AMQP_GUARD_H

/* What Proton takes on trust and must be checked before a frame reaches it:
 * it asserts that the first of several transfers has a delivery-id (an abort of
 * the process), loses references when a channel or handle in use is taken a
 * second time, maps one session to two channels when asked to, and decodes
 * nested values without a bound. Follows which channels and handles the peer
 * uses. Transfers are written anew, so that Proton reads from them what was
 * checked and nothing else. Pure; one per connection. */

#include "base/limits.h"
#include "gateway/amqp/tap.h"

enum {
	AMQP_GUARD_CHANNELS = LIMIT_AMQP_SESSIONS,
	/* Attached by the peer, the refused ones included until it detaches them. */
	AMQP_GUARD_HANDLES = 2 * LIMIT_AMQP_LINKS,
	AMQP_GUARD_TAG = 32,	/* octets of a delivery-tag, AMQP 2.8.7 */
	/* A transfer without payload: frame head, descriptor, list head, fields. */
	AMQP_GUARD_TRANSFER = 8 + 3 + 3 + 5 + 5 + 2 + AMQP_GUARD_TAG + 8,
};

struct amqp_guard_handle {
	uint32_t handle;
	uint16_t channel;
	bool partial;	/* a delivery is under way: more transfers follow */
};

struct amqp_guard {
	bool is_open;
	uint8_t begun[AMQP_GUARD_CHANNELS / 8];	/* one bit a channel */
	struct amqp_guard_handle *handles;
	size_t n;
	size_t cap;
	size_t last;	/* where the last transfer was found */
	uint8_t transfer[AMQP_GUARD_TRANSFER];	/* as Proton gets it */
};

void amqp_guard_fini(struct amqp_guard *g);
/* What is to be done with a frame that was let through. */
struct amqp_guard_verdict {
	/* Not to be fed, and harmless: the Python SDK detaches links of sessions
	 * it has ended before. */
	bool drop;
	/* What Proton is to be fed: the frame, or the guard's own transfer, which
	 * is valid until the next call. */
	struct span bytes;
	/* Of a transfer, the bytes of the message. Borrows from the frame. */
	struct span payload;
};

/* A frame as the input tap gave it. ERR_PROTOCOL, ERR_DECODE, ERR_LIMIT with a
 * text: it must not be fed, the connection is to be closed. ERR_NOMEM. */
enum err amqp_guard_check(struct amqp_guard *g, const struct amqp_tap_frame *f,
			  struct amqp_guard_verdict *out, struct err_detail *d) MUST_CHECK;

#endif
