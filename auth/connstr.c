#include "auth/connstr.h"

#include <stdio.h>

#include "base/crypto.h"

enum field {
	FIELD_ENDPOINT,
	FIELD_KEY_NAME,
	FIELD_KEY,
	FIELD_SIGNATURE,
	FIELD_HUB,
	FIELD_EMULATOR,
	FIELD__COUNT
};

static const char *const field_names[] = {
	[FIELD_ENDPOINT] = "Endpoint",
	[FIELD_KEY_NAME] = "SharedAccessKeyName",
	[FIELD_KEY] = "SharedAccessKey",
	[FIELD_SIGNATURE] = "SharedAccessSignature",
	[FIELD_HUB] = "EntityPath",
	[FIELD_EMULATOR] = "UseDevelopmentEmulator",
};
_Static_assert(sizeof field_names / sizeof *field_names == FIELD__COUNT, "one name per field");

enum { PORT_MAX = 65535, PORT_DIGITS = 5 };

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span trim(struct span s)
{
	while (s.n > 0 && is_blank(s.p[0])) {
		s = span_of(s.p + 1, s.n - 1);
	}
	while (s.n > 0 && is_blank(s.p[s.n - 1])) {
		s.n--;
	}
	return s;
}

static size_t find(struct span s, uint8_t c)
{
	const uint8_t *at = s.n != 0 ? memchr(s.p, c, s.n) : NULL;
	return at != NULL ? (size_t)(at - s.p) : s.n;
}

static bool is_host(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];
		uint8_t l = c | 0x20;
		if (!((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
		      c == '_' || c == ':' || c == '%')) {
			return false;
		}
	}
	return s.n != 0;
}

static bool port_parse(struct span s, int *port)
{
	if (s.n == 0 || s.n > PORT_DIGITS) {
		return false;
	}
	int v = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9') {
			return false;
		}
		v = v * 10 + (s.p[i] - '0');
	}
	*port = v;
	return v > 0 && v <= PORT_MAX;
}

/* scheme://HOST[:PORT][/...]; an address of IPv6 stands in brackets. */
static bool endpoint_parse(struct span s, struct auth_connstr *out)
{
	size_t colon = find(s, ':');
	if (s.n - colon >= 3 && memcmp(s.p + colon, "://", 3) == 0) {
		s = span_of(s.p + colon + 3, s.n - colon - 3);
	}
	s.n = find(s, '/');
	struct span host;
	size_t n;
	if (s.n > 0 && s.p[0] == '[') {
		n = find(s, ']');
		if (n == s.n) {
			return false;
		}
		host = span_of(s.p + 1, n - 1);
		n++;
	} else {
		n = find(s, ':');
		host = span_of(s.p, n);
	}
	if (!is_host(host) || span_to_cstr(host, out->host, sizeof out->host) != ERR_OK) {
		return false;
	}
	if (n == s.n) {
		return true;
	}
	return s.p[n] == ':' && port_parse(span_of(s.p + n + 1, s.n - n - 1), &out->port);
}

static bool emulator_parse(struct span value, bool *out)
{
	*out = span_ieq_str(value, "true");
	return *out || span_ieq_str(value, "false");
}

/* An empty EntityPath counts as none. */
static bool field_set(enum field f, struct span value, struct auth_connstr *out)
{
	if (value.n == 0) {
		return f == FIELD_HUB;
	}
	switch (f) {
	case FIELD_ENDPOINT:
		return endpoint_parse(value, out);
	case FIELD_KEY_NAME:
		return span_to_cstr(value, out->key_name, sizeof out->key_name) == ERR_OK;
	case FIELD_KEY:
		return span_to_cstr(value, out->key, sizeof out->key) == ERR_OK;
	case FIELD_SIGNATURE:
		return span_to_cstr(value, out->signature, sizeof out->signature) == ERR_OK;
	case FIELD_HUB:
		return span_to_cstr(value, out->hub, sizeof out->hub) == ERR_OK;
	case FIELD_EMULATOR:
		return emulator_parse(value, &out->emulator);
	case FIELD__COUNT:
		break;
	}
	return false;
}

/* FIELD__COUNT for a name that is not ours. */
static enum field field_of(struct span name)
{
	unsigned f = 0;
	while (f < FIELD__COUNT && !span_ieq_str(name, field_names[f])) {
		f++;
	}
	return (enum field)f;
}

static enum err parse_parts(struct span in, struct auth_connstr *out, struct err_detail *detail)
{
	unsigned seen = 0;
	while (in.n > 0) {
		size_t n = find(in, ';');
		struct span part = trim(span_of(in.p, n));
		n += n < in.n;
		in = span_of(in.p + n, in.n - n);
		if (part.n == 0) {
			continue;
		}
		size_t eq = find(part, '=');
		if (eq == part.n) {
			return err_set(detail, ERR_INVALID,
				       "connection string: a part has no '='");
		}
		enum field f = field_of(trim(span_of(part.p, eq)));
		if (f == FIELD__COUNT) {
			continue;
		}
		if ((seen & 1U << f) != 0) {
			return err_set(detail, ERR_INVALID, "connection string: %s is given twice",
				       field_names[f]);
		}
		seen |= 1U << f;
		if (!field_set(f, trim(span_of(part.p + eq + 1, part.n - eq - 1)), out)) {
			return err_set(detail, ERR_INVALID, "connection string: %s is not valid",
				       field_names[f]);
		}
	}
	return ERR_OK;
}

/* The name of a field that must be there and is not, else NULL. */
static const char *missing(const struct auth_connstr *cs)
{
	if (cs->host[0] == '\0') {
		return field_names[FIELD_ENDPOINT];
	}
	if (cs->signature[0] != '\0') {
		return NULL;
	}
	if (cs->key_name[0] == '\0') {
		return field_names[FIELD_KEY_NAME];
	}
	return cs->key[0] == '\0' ? field_names[FIELD_KEY] : NULL;
}

enum err auth_connstr_parse(struct span in, struct auth_connstr *out, struct err_detail *detail)
{
	*out = (struct auth_connstr){0};
	enum err e = parse_parts(in, out, detail);
	if (e != ERR_OK) {
		goto fail;
	}
	const char *name = missing(out);
	if (name != NULL) {
		e = err_set(detail, ERR_INVALID, "connection string: %s is missing", name);
		goto fail;
	}
	if (out->signature[0] != '\0' && out->key[0] != '\0') {
		e = err_set(detail, ERR_INVALID,
			    "connection string: SharedAccessKey and SharedAccessSignature exclude "
			    "each other");
		goto fail;
	}
	return ERR_OK;
fail:
	auth_connstr_wipe(out);
	return e;
}

static void print_field(struct str *out, enum field f, const char *value)
{
	if (value[0] != '\0') {
		str_add(out, ";");
		str_add(out, field_names[f]);
		str_add(out, "=");
		str_add(out, value);
	}
}

enum err auth_connstr_print(const struct auth_connstr *cs, struct str *out)
{
	const char *const values[] = {cs->key_name, cs->key, cs->signature, cs->hub};
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		if (strchr(values[i], ';') != NULL) {
			return ERR_INVALID;
		}
	}
	if (!is_host(span_str(cs->host)) || cs->port < 0 || cs->port > PORT_MAX) {
		return ERR_INVALID;
	}
	bool v6 = strchr(cs->host, ':') != NULL;
	str_printf(out, "%s=sb://%s%s%s", field_names[FIELD_ENDPOINT], v6 ? "[" : "", cs->host,
		   v6 ? "]" : "");
	if (cs->port != 0) {
		str_printf(out, ":%d", cs->port);
	}
	str_add(out, "/");
	print_field(out, FIELD_KEY_NAME, cs->key_name);
	print_field(out, FIELD_KEY, cs->key);
	print_field(out, FIELD_SIGNATURE, cs->signature);
	print_field(out, FIELD_EMULATOR, cs->emulator ? "true" : "");
	print_field(out, FIELD_HUB, cs->hub);
	return out->bad ? ERR_NOMEM : ERR_OK;
}

void auth_connstr_wipe(struct auth_connstr *cs)
{
	crypto_wipe(cs, sizeof *cs);
}
