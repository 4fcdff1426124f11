/* The management API's shared access policies, of the namespace and of hubs. */

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "gateway/http/http_priv.h"
#include "gateway/http/manage_json.h"

/* Where the policies are that a path speaks of. */
struct place {
	const struct catalog *cat;	/* one reference */
	const struct catalog_policy *v;
	uint32_t n;
};

/* False: the request has failed, and there is nothing to give back. */
static bool place_open(struct http_request *r, struct place *p)
{
	p->cat = core_catalog(r->front->core);
	if (r->route->scope == HTTP_NAMESPACE) {
		p->v = p->cat->policies;
		p->n = p->cat->n_policies;
		return true;
	}
	const struct catalog_hub *hub = catalog_hub_find(p->cat, span_str(r->hub));
	if (hub == NULL) {
		http_fail(r, ERR_NOT_FOUND, "There is no event hub '%.300s'.", r->hub);
		catalog_drop(&p->cat);
		return false;
	}
	p->v = hub->policies;
	p->n = hub->n_policies;
	return true;
}

/* The policy's name is the last {} of the path. */
static bool read_name(struct http_request *r, char name[LIMIT_POLICY_NAME + 1])
{
	if (http_path_decode(r->params.v[r->params.n - 1], name, LIMIT_POLICY_NAME + 1) == ERR_OK) {
		return true;
	}
	http_fail(r, ERR_INVALID, "The policy's name is malformed or too long.");
	return false;
}

/* Copies the policy that the path names. False: the request has failed. */
static bool find_policy(struct http_request *r, struct catalog_policy *out)
{
	char name[LIMIT_POLICY_NAME + 1];
	struct place p;
	if (!read_name(r, name) || !place_open(r, &p)) {
		return false;
	}
	const struct catalog_policy *found = catalog_policy_find(p.v, p.n, span_str(name));
	if (found != NULL) {
		*out = *found;
	} else {
		http_fail(r, ERR_NOT_FOUND, "There is no policy '%.300s' here.", name);
	}
	catalog_drop(&p.cat);
	return found != NULL;
}

static void put_policy(struct http_request *r, int status, bool with_keys)
{
	struct catalog_policy policy;
	if (find_policy(r, &policy)) {
		http_policy_put(&policy, with_keys, &r->reply);
		str_add(&r->reply, "\n");
		http_request_reply(r, status);
		crypto_wipe(&policy, sizeof policy);
	}
}

bool http_policy_list(struct http_request *r)
{
	struct place p;
	if (place_open(r, &p)) {
		str_add(&r->reply, "{\"policies\":[");
		for (uint32_t i = 0; i < p.n; i++) {
			str_add(&r->reply, i > 0 ? "," : "");
			http_policy_put(&p.v[i], false, &r->reply);
		}
		str_add(&r->reply, "]}\n");
		catalog_drop(&p.cat);
		http_request_reply(r, MHD_HTTP_OK);
	}
	return true;
}

bool http_policy_show(struct http_request *r)
{
	put_policy(r, MHD_HTTP_OK, r->can_manage);
	return true;
}

static bool put_command(struct http_request *r, const struct catalog_policy *policy, bool is_new)
{
	struct catalog_command cmd;
	memset(&cmd, 0, sizeof cmd);
	cmd.op = CATALOG_POLICY_PUT;
	cmd.must_be_new = is_new;
	cmd.policy = *policy;
	memcpy(cmd.hub, r->hub, sizeof cmd.hub);	/* "" where the namespace is meant */
	bool now = http_command(r, &cmd);
	crypto_wipe(&cmd.policy, sizeof cmd.policy);
	return now;
}

bool http_policy_create(struct http_request *r)
{
	struct err_detail d = {""};
	struct catalog_policy policy;
	memset(&policy, 0, sizeof policy);
	enum err e = http_policy_body(span_of(r->body, r->body_len), &policy.rights, &d);
	if (e != ERR_OK) {
		http_fail(r, e, "%s", d.text[0] != '\0' ? d.text : err_text(e));
		return true;
	}
	if (!read_name(r, policy.name)) {
		return true;
	}
	auth_key_make(policy.primary);
	auth_key_make(policy.secondary);
	bool now = put_command(r, &policy, true);
	crypto_wipe(&policy, sizeof policy);
	return now;
}

void http_policy_created(struct http_request *r)
{
	if (http_outcome_ok(r)) {
		put_policy(r, MHD_HTTP_CREATED, true);
	}
}

bool http_policy_rotate(struct http_request *r)
{
	struct err_detail d = {""};
	struct catalog_policy policy;
	bool secondary;
	enum err e = http_rotate_body(span_of(r->body, r->body_len), &secondary, &d);
	if (e != ERR_OK) {
		http_fail(r, e, "%s", d.text[0] != '\0' ? d.text : err_text(e));
		return true;
	}
	if (!find_policy(r, &policy)) {
		return true;
	}
	auth_key_make(secondary ? policy.secondary : policy.primary);
	bool now = put_command(r, &policy, false);
	crypto_wipe(&policy, sizeof policy);
	return now;
}

void http_policy_rotated(struct http_request *r)
{
	if (http_outcome_ok(r)) {
		put_policy(r, MHD_HTTP_OK, true);
	}
}

bool http_policy_delete(struct http_request *r)
{
	struct catalog_command cmd;
	memset(&cmd, 0, sizeof cmd);
	cmd.op = CATALOG_POLICY_DELETE;
	memcpy(cmd.hub, r->hub, sizeof cmd.hub);
	return read_name(r, cmd.policy.name) ? http_command(r, &cmd) : true;
}
