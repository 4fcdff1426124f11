#ifndef GATEWAY_NET_DIAL_PRIV_H
#define GATEWAY_NET_DIAL_PRIV_H

/* Client settings of TLS, shared by the connections of a process. */

#include <openssl/ssl.h>

#include "base/err.h"

/* The context that trusts ca_file (NULL: the system's CAs), with one more
 * reference. Any thread. Errors: ERR_NOT_FOUND, ERR_INVALID, ERR_NOMEM. */
enum err net_dial_ctx(const char *ca_file, SSL_CTX **out, struct err_detail *d) MUST_CHECK;

#endif
