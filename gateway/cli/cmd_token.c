/* sluice token */

#include <string.h>

#include "auth/sas.h"
#include "base/clock.h"
#include "gateway/cli/target.h"

enum { TTL_MS = 3600000 };
#define TTL_MOST_MS UINT64_C(315360000000)	/* ten years */

/* --key-name and --key stand for a connection string. */
static enum err from_key(const struct cli_args *a, struct cli_target *out, struct err_detail *d)
{
	const char *host = cli_has(a, CLI_HOST) ? a->v[CLI_HOST] : "localhost";
	*out = (struct cli_target){0};
	if (strlen(host) >= sizeof out->cs.host ||
	    strlen(a->v[CLI_KEY_NAME]) >= sizeof out->cs.key_name ||
	    strlen(a->v[CLI_SAS_KEY]) >= sizeof out->cs.key) {
		return err_set(d, ERR_INVALID, "the host, key name or key is too long");
	}
	(void)strcpy(out->cs.host, host);
	(void)strcpy(out->cs.key_name, a->v[CLI_KEY_NAME]);
	(void)strcpy(out->cs.key, a->v[CLI_SAS_KEY]);
	return ERR_OK;
}

static enum err make(const struct cli_args *a, const struct cli_target *t, uint64_t ttl_ms,
		     struct str *out, struct err_detail *d)
{
	struct str resource = {0};
	const char *publisher = a->v[CLI_PUBLISHER];
	const char *hub = a->v[CLI_HUB];
	enum err e = ERR_OK;
	if (hub != NULL || *t->cs.hub != '\0') {
		e = cli_target_hub(t, hub, &hub, d);
	}
	if (e == ERR_OK && publisher != NULL && hub == NULL) {
		e = err_set(d, ERR_INVALID, "--publisher needs --hub");
	}
	if (e == ERR_OK && *t->cs.key == '\0') {
		e = err_set(d, ERR_INVALID, "the connection string has no key");
	}
	if (e == ERR_OK) {
		str_printf(&resource, "sb://%s", t->cs.host);
		if (hub != NULL) {
			str_printf(&resource, "/%s", hub);
		}
		if (publisher != NULL) {
			str_printf(&resource, "/publishers/%s", publisher);
		}
		e = resource.bad ? ERR_NOMEM
				 : auth_sas_make(resource.p, t->cs.key_name, t->cs.key,
						 (clock_wall_ms() + (int64_t)ttl_ms) / 1000, out);
	}
	str_fini(&resource);
	return e;
}

static int run(const struct cli_args *a)
{
	struct cli_target target;
	struct err_detail d = {{0}};
	struct str token = {0};
	uint64_t ttl_ms;
	if (cli_number(a, CLI_TTL, CLI_MS_KIND, 1000, TTL_MOST_MS, TTL_MS, &ttl_ms, &d) != ERR_OK) {
		return cli_wrong(a, "%s", d.text);
	}
	bool by_key = cli_has(a, CLI_KEY_NAME) || cli_has(a, CLI_SAS_KEY);
	if (by_key && (!cli_has(a, CLI_KEY_NAME) || !cli_has(a, CLI_SAS_KEY))) {
		return cli_wrong(a, "--key-name and --key are needed together");
	}
	if (by_key && (cli_has(a, CLI_CONNECTION_STRING) || cli_has(a, CLI_DATA))) {
		return cli_wrong(a, "--key stands for a connection string; give one of them");
	}
	enum err e = by_key ? from_key(a, &target, &d)
			    : cli_target_find(a, a->v[CLI_POLICY], &target, &d);
	if (e == ERR_OK) {
		e = make(a, &target, ttl_ms, &token, &d);
		cli_target_fini(&target);
	}
	if (e != ERR_OK) {
		str_fini(&token);
		return cli_failed_err(a, e, &d);
	}
	if (cli_has(a, CLI_JSON)) {
		/* A token holds no character that JSON escapes. */
		(void)printf("{\"token\":\"%s\"}\n", token.p);
	} else {
		(void)printf("%s\n", token.p);
	}
	str_fini(&token);
	return CLI_DONE;
}

const struct cli_command cli_token = {
	.name = "token",
	.operands = "",
	.summary = "Make a SAS token, offline",
	.more = "The token is for the namespace, or for --hub and, with --publisher, one publisher of it.",
	.options = CLI_BIT(CONNECTION_STRING) | CLI_BIT(DATA) | CLI_BIT(HUB) | CLI_BIT(PUBLISHER) |
		   CLI_BIT(TTL) | CLI_BIT(KEY_NAME) | CLI_BIT(SAS_KEY) | CLI_BIT(HOST) |
		   CLI_BIT(POLICY) | CLI_BIT(JSON),
	.run = run,
};
