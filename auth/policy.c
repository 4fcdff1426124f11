#include "auth/policy.h"

#include <assert.h>
#include <stdio.h>

#include "base/crypto.h"

static const struct {
	const char *name;
	unsigned right;
} right_names[] = {
	{"send", AUTH_SEND},
	{"listen", AUTH_LISTEN},
	{"manage", AUTH_MANAGE},
};
enum { RIGHT_NAMES = sizeof right_names / sizeof *right_names };

enum { KEY_RAW_BYTES = 32 };

static unsigned right_of(struct span name)
{
	for (size_t i = 0; i < RIGHT_NAMES; i++) {
		if (span_ieq_str(name, right_names[i].name)) {
			return right_names[i].right;
		}
	}
	return 0;
}

static struct span trim(const char *from, const char *to)
{
	while (from < to && *from == ' ') {
		from++;
	}
	while (to > from && to[-1] == ' ') {
		to--;
	}
	return span_of(from, (size_t)(to - from));
}

enum err auth_rights_parse(const char *text, unsigned *out)
{
	unsigned rights = 0;
	for (const char *p = text;; p++) {
		const char *end = p + strcspn(p, ",");
		unsigned right = right_of(trim(p, end));
		if (right == 0) {
			return ERR_INVALID;
		}
		rights |= right;
		p = end;
		if (*p == '\0') {
			break;
		}
	}
	if ((rights & AUTH_MANAGE) != 0) {
		rights |= AUTH_SEND | AUTH_LISTEN;
	}
	*out = rights;
	return ERR_OK;
}

void auth_rights_text(unsigned rights, char out[AUTH_RIGHTS_TEXT])
{
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < RIGHT_NAMES; i++) {
		if ((rights & right_names[i].right) != 0) {
			n += (size_t)snprintf(out + n, AUTH_RIGHTS_TEXT - n, "%s%s",
					      n != 0 ? "," : "", right_names[i].name);
		}
	}
	assert(n < AUTH_RIGHTS_TEXT);
}

void auth_key_make(char out[LIMIT_POLICY_KEY + 1])
{
	uint8_t raw[KEY_RAW_BYTES];
	crypto_random(raw, sizeof raw);
	enum err e = crypto_base64_encode(span_of(raw, sizeof raw), out, LIMIT_POLICY_KEY + 1);
	assert(e == ERR_OK);
	(void)e;
	crypto_wipe(raw, sizeof raw);
}

void auth_policy_wipe(struct auth_policy *p)
{
	crypto_wipe(p, sizeof *p);
}
