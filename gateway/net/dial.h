#ifndef GATEWAY_NET_DIAL_H
#define GATEWAY_NET_DIAL_H

/* A blocking client connection, plain or TLS, for the command line's client
 * commands and the load generator. One thread uses one at a time. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct net_dial_options {
	const char *host;	/* also checked against the certificate and sent as SNI */
	int port;
	bool tls;
	const char *ca_file;	/* trust anchor; NULL: the system's */
	int timeout_ms;		/* connect and each read or write; 0 = 30 s */
};

struct net_dial;

/* Errors: ERR_IO (refused, reset), ERR_TIMEOUT, ERR_UNAUTHORIZED (certificate). */
enum err net_dial_open(const struct net_dial_options *o, struct net_dial **out,
		       struct err_detail *d) MUST_CHECK;
enum err net_dial_write(struct net_dial *c, const void *p, size_t n, struct err_detail *d) MUST_CHECK;
/* At least one byte unless the peer closed (ERR_EOF). */
enum err net_dial_read(struct net_dial *c, void *p, size_t size, size_t *n,
		       struct err_detail *d) MUST_CHECK;
/* True when a read would give bytes, or say why none come, within timeout_ms
 * (0 = poll). */
bool net_dial_readable(struct net_dial *c, int timeout_ms);
void net_dial_set_timeout(struct net_dial *c, int timeout_ms);
void net_dial_close(struct net_dial **c);

#endif
