#ifndef AUTH_SAS_H
#define AUTH_SAS_H

/* Shared access signatures:
 *   SharedAccessSignature sr=<resource>&sig=<base64>&se=<epoch s>&skn=<policy>
 * string-to-sign = raw received sr + LF + raw received se; key = the UTF-8
 * bytes of the key as printed. Fields in any order; sig and skn are
 * percent-decoded (skn tried once more when no policy has the first name). */

#include <stdint.h>

#include "auth/grant.h"

/* Checks `token` against the policies: primary key, then secondary, in constant
 * time. The grant's scope is the token's resource; a policy of a hub allows
 * only resources of that hub; ".../publishers/p" makes a publisher grant.
 * ERR_OK; ERR_UNAUTHORIZED (malformed, unknown policy, wrong signature, expired)
 * with a detail fit for the client ("InvalidSignature: ...", "ExpiredToken: ...",
 * "MalformedToken: ..."), never naming a key; ERR_NOMEM. `out` is set on ERR_OK only. */
enum err auth_sas_check(const struct auth_source *src, struct span token, int64_t now_ms,
			struct auth_grant *out, struct err_detail *detail) MUST_CHECK;

/* Makes a token for `resource` (as typed, e.g. "sb://host/hub"), valid until
 * expires_s. `out` grows. ERR_INVALID (a time before 1970 or of more than 15
 * digits), ERR_NOMEM. */
enum err auth_sas_make(const char *resource, const char *policy, const char *key,
		       int64_t expires_s, struct str *out) MUST_CHECK;

/* RFC 3986 unreserved characters kept, the rest as %XX (upper case). */
void auth_percent_encode(struct span in, struct str *out);
/* Decodes %XX; '+' becomes a space only when `plus`. ERR_DECODE on a bad escape. */
enum err auth_percent_decode(struct span in, bool plus, struct str *out) MUST_CHECK;

#endif
