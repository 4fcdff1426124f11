#ifndef AUTH_POLICY_H
#define AUTH_POLICY_H

/* Rights, shared access policies and the seam through which tokens are checked
 * against them. A policy lives on the namespace or on one hub. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"

enum auth_right {
	AUTH_SEND = 1,
	AUTH_LISTEN = 2,
	AUTH_MANAGE = 4,	/* implies the other two */
};

struct auth_policy {
	char name[LIMIT_POLICY_NAME + 1];
	unsigned rights;	/* of enum auth_right; Manage comes with Send and Listen */
	char primary[LIMIT_POLICY_KEY + 1];	/* printed key; its UTF-8 bytes are the HMAC key */
	char secondary[LIMIT_POLICY_KEY + 1];
};

/* "send,listen" <-> bits; names in any case, separated by ','. Manage adds
 * Send and Listen. ERR_INVALID for an unknown or empty list. */
enum err auth_rights_parse(const char *text, unsigned *out) MUST_CHECK;
enum { AUTH_RIGHTS_TEXT = 32 };
void auth_rights_text(unsigned rights, char out[AUTH_RIGHTS_TEXT]);

/* 44 characters: 32 random bytes in base64, as the cloud's keys look. */
void auth_key_make(char out[LIMIT_POLICY_KEY + 1]);
void auth_policy_wipe(struct auth_policy *p);

/* Where policies are found. `path` is the normalised resource path a credential
 * speaks of ("" = namespace, else "hub" or "hub/..."; lower case). The
 * implementation gives, through `fn`, every policy called `name` that lives on
 * the namespace or on the hub that is the longest prefix of `path`, saying for
 * each where it lives (`hub` "" = namespace). It must not block on the network;
 * the policy passed is valid only during fn. fn returns true to stop. */
typedef bool auth_policy_fn(void *arg, const char *hub, const struct auth_policy *policy);
struct auth_source {
	void (*find)(void *ctx, struct span path, struct span name, auth_policy_fn *fn, void *arg);
	void *ctx;
};

#endif
