#ifndef GATEWAY_HTTP_HTTP_H
#define GATEWAY_HTTP_HTTP_H

/* The HTTP front end. The HTTPS port's streams are ours (TLS, limits); after the
 * first request head has been read a connection is proxied through a socketpair
 * to a listener-less libmicrohttpd. The metrics port is a plain stream of the
 * same kind with fewer resources. */

#include "gateway/core/core.h"
#include "gateway/group/groups.h"
#include "gateway/net/stream.h"

struct http_options {
	struct core *core;
	struct groups *groups;		/* NULL: none are shown */
	uint32_t threads;		/* libmicrohttpd pool, 0: 1 */
	uint64_t max_body_bytes;	/* LIMIT_MESSAGE */
	uint32_t idle_timeout_ms;
	uint64_t node_id;		/* what /info says; 0: 1 */
};

struct http_front;
enum err http_front_new(const struct http_options *o, struct http_front **out,
			struct err_detail *d) MUST_CHECK;
/* Resumes every suspended request, then stops libmicrohttpd, then waits for
 * operations of the core that are still out. Call it after net_drain (no stream
 * is left) and before net_stop and core_free. */
void http_front_free(struct http_front **f);
/* What /health/ready answers; false until the server is ready and once it stops. */
void http_front_set_ready(struct http_front *f, bool ready);

/* For net_listen: ctx is the struct http_front. */
extern const struct net_protocol http_protocol;		/* the HTTPS port: everything */
extern const struct net_protocol http_metrics_protocol;	/* /metrics and /health only, no auth */

#endif
