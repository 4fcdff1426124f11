#ifndef GATEWAY_AMQP_REQUEST_H
#define GATEWAY_AMQP_REQUEST_H

/* Request and response over a pair of links, as $cbs and $management have it:
 * a request names where its reply goes, the reply carries the request's
 * message-id, of the same type, as correlation-id, and a status-code. Private to
 * gateway/amqp; loop thread only. */

#include "gateway/wire/event.h"
#include "gateway/amqp/link.h"

struct amqp_request {
	struct amqp_message message;
	struct amqp_value properties;		/* application properties: a map, or null */
	struct amqp_value body;			/* of an amqp-value section, or null */
};

enum { AMQP_REPLY_TEXT = ERR_DETAIL_MAX + 256 };

struct amqp_reply {
	int32_t status;		/* as HTTP */
	const char *condition;	/* error-condition; NULL: none is written */
	char text[AMQP_REPLY_TEXT];
	struct str body;	/* the encoded value of the body; empty: null */
};

/* $cbs: put-token. A good token becomes a grant of the connection. */
void amqp_cbs_handle(struct amqp_conn *conn, const struct amqp_request *q, struct amqp_reply *a);
/* $management: READ of a hub or a partition. */
void amqp_management_handle(struct amqp_conn *conn, const struct amqp_request *q,
			    struct amqp_reply *a);

/* Text or binary application property; false when missing or of another type. */
bool amqp_request_text(const struct amqp_request *q, const char *name, struct span *out);
/* Fills in a failure, its text with a tracking id, which is also logged. */
void amqp_reply_error(struct amqp_conn *conn, struct amqp_reply *a, const char *node, int32_t status,
		      const char *condition, enum err e, const char *detail, const char *entity);

#endif
