#ifndef GATEWAY_AMQP_AMQP_H
#define GATEWAY_AMQP_AMQP_H

/* The AMQP 1.0 front end: connections, SASL, CBS, $management, senders and
 * receivers over qpid-proton's connection driver, one per stream. Proton is not
 * visible outside gateway/amqp. */

#include "gateway/core/core.h"
#include "gateway/net/stream.h"

struct amqp_options {
	struct core *core;
	uint32_t link_credit;		/* per sending link, 100-300 */
	uint32_t idle_timeout_ms;	/* advertised to clients; ours is twice that */
	uint64_t max_message_bytes;	/* LIMIT_MESSAGE */
	uint32_t max_links;		/* of one connection; 0: LIMIT_AMQP_LINKS */
};

struct amqp_front;	/* shared by all connections; immutable */
enum err amqp_front_new(const struct amqp_options *o, struct amqp_front **out) MUST_CHECK;
void amqp_front_free(struct amqp_front **f);	/* after net_stop */

/* For net_listen: ctx is the struct amqp_front. */
extern const struct net_protocol amqp_protocol;

#endif
