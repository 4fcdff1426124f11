/* Tokens, passwords, connection strings and paths as a peer sends them. */

#include "auth/connstr.h"
#include "auth/sas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void find(void *ctx, struct span path, struct span name, auth_policy_fn *fn, void *arg)
{
	static const struct auth_policy p = {"RootManageSharedAccessKey", AUTH_MANAGE, "key", ""};
	(void)ctx;
	(void)path;
	(void)(span_eq_str(name, p.name) && (fn(arg, "hub", &p) || fn(arg, "", &p)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct auth_source src = {.find = find};
	struct span in = span_of(data, size);
	struct auth_grant g;
	struct auth_connstr cs;
	enum err e = auth_sas_check(&src, in, 1, &g, NULL);
	e = auth_password_check(&src, span_str("$ConnectionString"), in, "hub", 1, &g, NULL);
	e = auth_password_check(&src, in, span_str("key"), "hub", 1, &g, NULL);
	e = auth_connstr_parse(in, &cs, NULL);
	e = auth_path_normalise(in, g.scope);
	(void)e;
	return 0;
}
