/* Policy names with keys, SAS tokens and connection strings as passwords. */

#include "auth/grant.h"

#include "auth/auth_priv.h"
#include "auth/connstr.h"
#include "auth/sas.h"
#include "base/crypto.h"

static const char connection_string_user[] = "$ConnectionString";

/* One look-up by name and key. Both the namespace and the hub may have a
 * policy of that name; the better place wins, the order of finding does not. */
struct lookup {
	struct span key;
	const char *path;
	bool hub_first;
	bool matched;
	bool matched_hub;
	struct auth_grant grant;
};

static bool key_equal(struct span key, const char *stored)
{
	/* An absent key matches nothing. */
	return stored[0] != '\0' && crypto_equal(key, span_str(stored));
}

static bool on_policy(void *arg, const char *hub, const struct auth_policy *policy)
{
	struct lookup *l = arg;
	bool is_hub = hub[0] != '\0';
	if (!auth_hub_allows(hub, l->path)) {
		return false;
	}
	bool primary = key_equal(l->key, policy->primary);
	bool secondary = key_equal(l->key, policy->secondary);
	if (!primary && !secondary) {
		return false;
	}
	if (l->matched && l->matched_hub == l->hub_first) {
		return false;
	}
	l->matched = true;
	l->matched_hub = is_hub;
	auth_grant_set_policy(&l->grant, hub, policy);
	return false;
}

/* `narrow`: the grant is for `path` alone, even by a policy of the namespace. */
static enum err check_key(const struct auth_source *src, struct span name, struct span key,
			  const char *path, bool narrow, struct auth_grant *out,
			  struct err_detail *detail)
{
	struct lookup l = {.key = key, .path = path, .hub_first = narrow};
	if (name.n != 0 && key.n != 0) {
		src->find(src->ctx, span_str(path), name, on_policy, &l);
	}
	if (!l.matched) {
		return err_set(detail, ERR_UNAUTHORIZED,
			       "InvalidCredentials: The policy name or its key is wrong.");
	}
	_Static_assert(sizeof l.grant.scope > LIMIT_HUB_NAME, "a hub name is a scope");
	if (narrow) {
		memcpy(l.grant.scope, path, strlen(path) + 1);
	} else if (l.matched_hub) {
		auth_hub_lower(l.grant.policy_hub, l.grant.scope);
	}
	l.grant.expires_ms = INT64_MAX;
	*out = l.grant;
	return ERR_OK;
}

static enum err check_connstr(const struct auth_source *src, const struct auth_connstr *cs,
			      const char *hub, int64_t now_ms, struct auth_grant *out,
			      struct err_detail *detail)
{
	char entity[LIMIT_HUB_NAME + 1];
	auth_hub_lower(cs->hub, entity);
	if (cs->signature[0] == '\0') {
		bool narrow = entity[0] != '\0';
		return check_key(src, span_str(cs->key_name), span_str(cs->key),
				 narrow ? entity : hub, narrow, out, detail);
	}
	enum err e = auth_sas_check(src, span_str(cs->signature), now_ms, out, detail);
	if (e == ERR_OK && entity[0] != '\0' && auth_scope_covers(out->scope, entity)) {
		memcpy(out->scope, entity, strlen(entity) + 1);
	}
	return e;
}

enum err auth_password_check(const struct auth_source *src, struct span user, struct span password,
			     const char *hub, int64_t now_ms, struct auth_grant *out,
			     struct err_detail *detail)
{
	char path[LIMIT_HUB_NAME + 1];
	auth_hub_lower(hub != NULL ? hub : "", path);
	if (user.n > LIMIT_POLICY_NAME || password.n > LIMIT_TOKEN) {
		return err_set(detail, ERR_UNAUTHORIZED,
			       "InvalidCredentials: The user name or password is too long.");
	}
	if (span_ieq_str(user, connection_string_user)) {
		struct auth_connstr cs;
		enum err e = auth_connstr_parse(password, &cs, detail);
		if (e == ERR_OK) {
			e = check_connstr(src, &cs, path, now_ms, out, detail);
		} else {
			err_wrap(detail, "InvalidCredentials");
			e = ERR_UNAUTHORIZED;
		}
		auth_connstr_wipe(&cs);
		return e;
	}
	if (auth_sas_prefixed(password)) {
		return auth_sas_check(src, password, now_ms, out, detail);
	}
	return check_key(src, user, password, path, false, out, detail);
}
