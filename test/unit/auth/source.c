#include "source.h"

#include <stdio.h>

#include "auth/sas.h"
#include "base/crypto.h"

static const struct {
	const char *hub;
	struct auth_policy policy;
} policies[] = {
	{"", {TEST_ROOT, AUTH_MANAGE, TEST_KEY, TEST_KEY2}},
	{"", {"send&listen", AUTH_SEND | AUTH_LISTEN, TEST_KEY, ""}},
	{"", {"shared", AUTH_LISTEN, TEST_KEY, ""}},
	{"Hub", {"hubrule", AUTH_SEND, TEST_KEY, TEST_KEY2}},
	{"Hub", {"shared", AUTH_SEND, TEST_KEY2, ""}},
};

static bool in_hub(struct span path)
{
	return path.n >= 3 && memcmp(path.p, "hub", 3) == 0 && (path.n == 3 || path.p[3] == '/');
}

static void find(void *ctx, struct span path, struct span name, auth_policy_fn *fn, void *arg)
{
	(void)ctx;
	for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
		bool here = policies[i].hub[0] == '\0' || in_hub(path);
		if (here && span_eq_str(name, policies[i].policy.name) &&
		    fn(arg, policies[i].hub, &policies[i].policy)) {
			return;
		}
	}
}

const struct auth_source test_source = {.find = find};

struct test_token test_token_make(const char *sr, const char *sig, const char *se,
				  const char *skn, const char *key)
{
	struct test_token t;
	struct str enc = {0};
	if (sig == NULL) {
		char line_se[64];
		uint8_t mac[CRYPTO_SHA256];
		char text[64];
		snprintf(line_se, sizeof line_se, "\n%s", se);
		ck_assert_int_eq(crypto_hmac_sha256(span_str(key), span_str(sr), span_str(line_se),
						    mac), ERR_OK);
		ck_assert_int_eq(crypto_base64_encode(span_of(mac, sizeof mac), text, sizeof text),
				 ERR_OK);
		auth_percent_encode(span_str(text), &enc);
		sig = enc.p;
	}
	snprintf(t.text, sizeof t.text, "SharedAccessSignature sr=%s&sig=%s&se=%s&skn=%s", sr, sig,
		 se, skn);
	str_fini(&enc);
	return t;
}
