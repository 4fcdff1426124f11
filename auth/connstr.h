#ifndef AUTH_CONNSTR_H
#define AUTH_CONNSTR_H

/* Connection strings: Key=Value pairs separated by ';', split at the first '='
 * only, keys compared without case, unknown keys ignored, trailing ';' allowed.
 * Endpoint=sb://HOST[:PORT]/ ; SharedAccessKeyName ; SharedAccessKey ;
 * SharedAccessSignature ; EntityPath ; UseDevelopmentEmulator. */

#include "auth/policy.h"

struct auth_connstr {
	char host[256];
	int port;	/* 0 = none given */
	char key_name[LIMIT_POLICY_NAME + 1];
	char key[LIMIT_POLICY_KEY + 1];
	char signature[LIMIT_TOKEN];	/* a ready token, or "" */
	char hub[LIMIT_HUB_NAME + 1];
	bool emulator;
};

/* ERR_INVALID with a detail naming the field (never a secret). */
enum err auth_connstr_parse(struct span in, struct auth_connstr *out,
			    struct err_detail *detail) MUST_CHECK;
/* The reverse; the port is written when not 0. */
enum err auth_connstr_print(const struct auth_connstr *cs, struct str *out) MUST_CHECK;
void auth_connstr_wipe(struct auth_connstr *cs);

#endif
