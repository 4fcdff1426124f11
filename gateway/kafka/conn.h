#ifndef GATEWAY_KAFKA_CONN_H
#define GATEWAY_KAFKA_CONN_H

/* Between conn.c (bytes) and request.c (requests). Loop thread only. */

#include "gateway/kafka/kafka_priv.h"

/* Takes the frame and what was reserved for it; runs the handler. */
void kafka_request_begin(struct kafka_conn *c, struct buf *frame, size_t reserved);
/* The first request leaves the queue: answered, or its connection is gone; then
 * what it waits for is cancelled. */
void kafka_request_pop(struct kafka_conn *c);
/* What is parked ends soon. */
void kafka_requests_cancel(struct kafka_conn *c);

/* Writes the answers whose turn it is. */
void kafka_conn_send(struct kafka_conn *c);
void kafka_conn_resume(struct kafka_conn *c);
void kafka_conn_arm(struct kafka_conn *c);
/* A request is freed. */
void kafka_conn_release(struct kafka_conn *c);
/* Takes what a request was charged for its answer; given back at once, or when
 * the send queue has gone down. */
void kafka_conn_settle(struct kafka_conn *c, size_t charged);

#endif
