#ifndef AUTH_GRANT_H
#define AUTH_GRANT_H

/* A grant: what an authenticated connection may do. Made by verifying a SAS
 * token (auth/sas.h) or a password (below), kept on the connection, expires
 * there. Scopes are normalised paths: no scheme, no host or port, no leading
 * or trailing '/', lower case, percent-decoded; "" is the whole namespace. */

#include <stdbool.h>
#include <stdint.h>

#include "auth/policy.h"

enum { AUTH_SCOPE_MAX = 1024 };

struct auth_grant {
	char scope[AUTH_SCOPE_MAX];
	unsigned rights;
	int64_t expires_ms;	/* wall clock; INT64_MAX = with the connection */
	char policy[LIMIT_POLICY_NAME + 1];
	char policy_hub[LIMIT_HUB_NAME + 1];	/* "" = namespace policy */
	char publisher[LIMIT_PUBLISHER_NAME + 1];	/* "" = none; else may only send as it; lower case */
};

/* Drops scheme and authority if "://" is present (the host is not compared:
 * port forwards and custom endpoints change it), else nothing but leading '/';
 * percent-decodes, lower-cases ASCII, trims '/'. Also cuts a query. A text
 * without "://" that begins with a host is the caller's to handle: see
 * auth_scope_of_resource. ERR_TOO_LARGE, ERR_INVALID (NUL byte, bad escape). */
enum err auth_path_normalise(struct span in, char out[AUTH_SCOPE_MAX]) MUST_CHECK;
/* The same for the resource of a token, which by several samples has no scheme
 * ("host.servicebus.windows.net/hub"): such a first segment is dropped when it
 * contains '.' or ':' or equals "localhost". */
enum err auth_scope_of_resource(struct span in, char out[AUTH_SCOPE_MAX]) MUST_CHECK;

/* True when `scope` is `path` or a prefix of it that ends at a '/' border. */
bool auth_scope_covers(const char *scope, const char *path);

/* Does this grant allow `right` on `path` now? `path` is normalised, such as
 * "hub", "hub/partitions/0", "hub/consumergroups/g/partitions/0",
 * "hub/publishers/p". A publisher grant covers only its own publisher path.
 * ERR_OK, ERR_UNAUTHORIZED (expired, or scope does not cover), ERR_FORBIDDEN
 * (the right is missing). */
enum err auth_grant_check(const struct auth_grant *g, const char *path, enum auth_right right,
			  int64_t now_ms) MUST_CHECK;

/* SASL PLAIN, HTTP Basic and Kafka: `user` is a policy name and `password` its
 * key, or a SAS token; or user "$ConnectionString" and password a connection
 * string. A bare name is looked up on the namespace first, then, when `hub` is
 * not empty, on that hub; a connection string with EntityPath on that hub, then
 * on the namespace with the grant's scope narrowed to that hub. Compares in
 * constant time. ERR_UNAUTHORIZED with a detail that names no secret; ERR_NOMEM.
 * An empty `user`, `password` or stored key never matches. */
enum err auth_password_check(const struct auth_source *src, struct span user, struct span password,
			     const char *hub, int64_t now_ms, struct auth_grant *out,
			     struct err_detail *detail) MUST_CHECK;

#endif
