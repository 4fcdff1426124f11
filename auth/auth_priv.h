#ifndef AUTH_AUTH_PRIV_H
#define AUTH_AUTH_PRIV_H

/* What the files of this folder share. Any thread; nothing here allocates. */

#include "auth/grant.h"
#include "base/bytes.h"

/* Takes one character, or one %XX escape, off the front of `in` (not empty)
 * and gives its byte value; -1 on a bad escape. '+' is an ordinary character. */
int auth_percent_next(struct span *in);

/* Percent-decodes into fixed space, '+' kept. ERR_DECODE, ERR_TOO_LARGE. */
enum err auth_percent_decode_fixed(struct span in, uint8_t *out, size_t cap,
				   size_t *n) MUST_CHECK;

/* Writes a hub name in the form that scopes have: ASCII lower case. A longer
 * name than LIMIT_HUB_NAME is cut. */
void auth_hub_lower(const char *hub, char out[LIMIT_HUB_NAME + 1]);

/* May a policy that lives on `hub` ("" = namespace) be used for `path`? */
bool auth_hub_allows(const char *hub, const char *path);

/* Manage brings Send and Listen. */
static inline unsigned auth_rights_full(unsigned rights)
{
	return (rights & AUTH_MANAGE) != 0 ? rights | AUTH_SEND | AUTH_LISTEN : rights;
}

/* Does the text begin as a SAS token does (prefix in any case)? */
bool auth_sas_prefixed(struct span text);

/* Sets the policy fields of a grant. Borrows both. */
void auth_grant_set_policy(struct auth_grant *g, const char *hub, const struct auth_policy *p);

#endif
