#include "auth/grant.h"

#include <stdio.h>

#include "auth/auth_priv.h"

void auth_grant_set_policy(struct auth_grant *g, const char *hub, const struct auth_policy *p)
{
	g->rights = auth_rights_full(p->rights);
	snprintf(g->policy, sizeof g->policy, "%s", p->name);
	snprintf(g->policy_hub, sizeof g->policy_hub, "%s", hub);
}

/* A token may name the address that HTTPS senders post to, "hub/messages" or
 * "hub/publishers/p/messages"; it then covers sending to what lies above. */
static bool covers_as_post_address(const char *scope, const char *path)
{
	static const char tail[] = "/messages";
	size_t n = strlen(path);
	return n != 0 && strncmp(scope, path, n) == 0 && strcmp(scope + n, tail) == 0;
}

enum err auth_grant_check(const struct auth_grant *g, const char *path, enum auth_right right,
			  int64_t now_ms)
{
	if (now_ms >= g->expires_ms && g->expires_ms != INT64_MAX) {
		return ERR_UNAUTHORIZED;
	}
	bool covered = auth_scope_covers(g->scope, path) ||
		       (right == AUTH_SEND && covers_as_post_address(g->scope, path));
	if (!covered) {
		return ERR_UNAUTHORIZED;
	}
	if (g->publisher[0] != '\0' && right != AUTH_SEND) {
		return ERR_FORBIDDEN;
	}
	return (auth_rights_full(g->rights) & (unsigned)right) == (unsigned)right ? ERR_OK
										 : ERR_FORBIDDEN;
}
