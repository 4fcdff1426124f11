#ifndef GATEWAY_NET_TLS_H
#define GATEWAY_NET_TLS_H

/* Server TLS: one certificate for all ports, TLS 1.2 at least, reloadable
 * without dropping connections. Also makes the development CA. Any thread
 * unless said otherwise. */

#include <stdbool.h>

#include "base/err.h"

struct net_tls;

struct net_tls_files {
	const char *cert;	/* PEM chain */
	const char *key;	/* PEM */
	const char *client_ca;	/* NULL: clients are not asked for certificates */
};

/* Errors: ERR_NOT_FOUND (a file is missing), ERR_IO (unreadable), ERR_INVALID
 * (not PEM, encrypted, or the key belongs to another certificate). */
enum err net_tls_new(const struct net_tls_files *files, struct net_tls **out,
		     struct err_detail *d) MUST_CHECK;
/* Reads the same files again; on failure the present ones stay in use. */
enum err net_tls_reload(struct net_tls *tls, struct err_detail *d) MUST_CHECK;
void net_tls_free(struct net_tls **tls);

/* Ends on this date, "2027-01-31T12:00:00.000Z" (CLOCK_ISO_MAX bytes). */
void net_tls_expiry(struct net_tls *tls, char *out);

/* Makes under `dir` (existing, mode 0700): ca.pem, ca.key, cert.pem (chain with
 * the CA), key.pem, all 0600, where they are missing or expire within 30 days
 * (a new leaf is then signed by the same CA). The leaf names `host`,
 * `node_host`, localhost, 127.0.0.1 and ::1. */
enum err net_tls_make_development(const char *dir, const char *host, const char *node_host,
				  struct err_detail *d) MUST_CHECK;

#endif
