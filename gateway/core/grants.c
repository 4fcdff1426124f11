/* The grants of one connection. */

#include <string.h>

#include "base/mem.h"
#include "gateway/core/core.h"

enum err core_grants_add(struct core_grants *g, const struct auth_grant *grant)
{
	for (size_t i = 0; i < g->n; i++) {
		struct auth_grant *have = g->v[i];
		if (strcmp(have->scope, grant->scope) == 0 && have->rights == grant->rights &&
		    strcmp(have->publisher, grant->publisher) == 0) {
			*have = *grant;
			return ERR_OK;
		}
	}
	if (g->n >= CORE_GRANTS_MAX) {
		return ERR_LIMIT;
	}
	void *v = g->v;
	if (!mem_grow(&v, &g->cap, g->n + 1, sizeof *g->v)) {
		return ERR_NOMEM;
	}
	g->v = v;
	g->v[g->n] = mem_dup(grant, sizeof *grant);
	if (g->v[g->n] == NULL) {
		return ERR_NOMEM;
	}
	g->n++;
	return ERR_OK;
}

static const char *right_name(enum auth_right right)
{
	return right == AUTH_SEND ? "Send" : right == AUTH_LISTEN ? "Listen" : "Manage";
}

/* The one that lasts longest of those that cover `path`. NULL: none; *why says whether
 * a grant for it lacked the right. */
static const struct auth_grant *find(const struct core_grants *g, const char *path,
				     enum auth_right right, int64_t now_ms, enum err *why)
{
	const struct auth_grant *best = NULL;
	*why = ERR_UNAUTHORIZED;
	for (size_t i = 0; i < g->n; i++) {
		enum err e = auth_grant_check(g->v[i], path, right, now_ms);
		if (e == ERR_OK && (best == NULL || g->v[i]->expires_ms > best->expires_ms)) {
			best = g->v[i];
		} else if (e == ERR_FORBIDDEN) {
			*why = ERR_FORBIDDEN;
		}
	}
	return best;
}

enum err core_grants_check(const struct core *c, const struct core_grants *g, const char *path,
			   enum auth_right right, int64_t now_ms, int64_t *expires_ms,
			   struct err_detail *d)
{
	enum err why;
	const struct auth_grant *best = find(g, path, right, now_ms, &why);
	if (best != NULL) {
		*expires_ms = best->expires_ms;
		return ERR_OK;
	}
	return err_set(d, why,
		       "Unauthorized access. '%s' claim(s) are required to perform this operation. "
		       "Resource: 'sb://%s/%.300s'.",
		       right_name(right), core_host(c), path);
}

const struct auth_grant *core_grants_find(const struct core_grants *g, const char *path,
					  enum auth_right right, int64_t now_ms)
{
	enum err why;
	return find(g, path, right, now_ms, &why);
}

bool core_grants_any(const struct core_grants *g, int64_t now_ms)
{
	for (size_t i = 0; i < g->n; i++) {
		if (g->v[i]->expires_ms > now_ms) {
			return true;
		}
	}
	return false;
}

void core_grants_fini(struct core_grants *g)
{
	for (size_t i = 0; i < g->n; i++) {
		mem_free(g->v[i]);
	}
	mem_free(g->v);
	*g = (struct core_grants){0};
}
