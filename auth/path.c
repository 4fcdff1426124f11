/* Percent escapes, and resources as normalised paths. */

#include "auth/auth_priv.h"

#include "auth/sas.h"

/* A token's resource before its host is dropped: a scope plus scheme, host and port. */
enum { RESOURCE_MAX = AUTH_SCOPE_MAX + 512 };

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_alpha(uint8_t c)
{
	c |= 0x20;
	return c >= 'a' && c <= 'z';
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static char lower(int c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static struct span after(struct span s, size_t n)
{
	return span_of(s.p + n, s.n - n);
}

int auth_percent_next(struct span *in)
{
	if (in->p[0] != '%') {
		int c = in->p[0];
		*in = after(*in, 1);
		return c;
	}
	if (in->n < 3 || hex_value(in->p[1]) < 0 || hex_value(in->p[2]) < 0) {
		return -1;
	}
	int c = hex_value(in->p[1]) * 16 + hex_value(in->p[2]);
	*in = after(*in, 3);
	return c;
}

enum err auth_percent_decode_fixed(struct span in, uint8_t *out, size_t cap, size_t *n)
{
	size_t len = 0;
	while (in.n > 0) {
		int c = auth_percent_next(&in);
		if (c < 0) {
			return ERR_DECODE;
		}
		if (len == cap) {
			return ERR_TOO_LARGE;
		}
		out[len++] = (uint8_t)c;
	}
	*n = len;
	return ERR_OK;
}

void auth_percent_encode(struct span in, struct str *out)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		if (is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~') {
			str_addn(out, &c, 1);
		} else {
			char esc[3] = {'%', hex[c >> 4], hex[c & 15]};
			str_addn(out, esc, sizeof esc);
		}
	}
}

enum err auth_percent_decode(struct span in, bool plus, struct str *out)
{
	while (in.n > 0) {
		bool is_plus = in.p[0] == '+';
		int c = auth_percent_next(&in);
		if (c < 0) {
			return ERR_DECODE;
		}
		uint8_t byte = plus && is_plus ? (uint8_t)' ' : (uint8_t)c;
		str_addn(out, &byte, 1);
	}
	return out->bad ? ERR_NOMEM : ERR_OK;
}

/* Length of "scheme://authority" at the start of `in`; 0 when there is none. */
static size_t authority_end(struct span in)
{
	size_t i = 0;
	while (i < in.n && (is_alpha(in.p[i]) || (i > 0 && (is_digit(in.p[i]) || in.p[i] == '+' ||
							    in.p[i] == '-' || in.p[i] == '.')))) {
		i++;
	}
	if (i == 0 || in.n - i < 3 || memcmp(in.p + i, "://", 3) != 0) {
		return 0;
	}
	i += 3;
	while (i < in.n && in.p[i] != '/' && in.p[i] != '?') {
		i++;
	}
	return i;
}

enum err auth_path_normalise(struct span in, char out[AUTH_SCOPE_MAX])
{
	out[0] = '\0';
	in = after(in, authority_end(in));
	size_t n = 0;
	while (in.n > 0 && in.p[0] != '?') {
		int c = auth_percent_next(&in);
		if (c <= 0) {
			return ERR_INVALID;
		}
		if (n == 0 && c == '/') {
			continue;
		}
		if (n == AUTH_SCOPE_MAX - 1) {
			return ERR_TOO_LARGE;
		}
		out[n++] = lower(c);
	}
	while (n > 0 && out[n - 1] == '/') {
		n--;
	}
	out[n] = '\0';
	return ERR_OK;
}

/* Length of a host at the start of a resource that has no scheme, else 0. */
static size_t bare_host_end(struct span in)
{
	bool host = false;
	size_t i = 0;
	while (i < in.n && in.p[i] != '/' && in.p[i] != '?') {
		host = host || in.p[i] == '.' || in.p[i] == ':';
		i++;
	}
	return host || span_ieq_str(span_of(in.p, i), "localhost") ? i : 0;
}

enum err auth_scope_of_resource(struct span in, char out[AUTH_SCOPE_MAX])
{
	/* The field is encoded once more than the address it holds. */
	uint8_t text[RESOURCE_MAX];
	size_t n;
	out[0] = '\0';
	enum err e = auth_percent_decode_fixed(in, text, sizeof text, &n);
	if (e != ERR_OK) {
		return e == ERR_DECODE ? ERR_INVALID : e;
	}
	struct span uri = span_of(text, n);
	if (authority_end(uri) == 0) {
		while (uri.n > 0 && uri.p[0] == '/') {
			uri = after(uri, 1);
		}
		uri = after(uri, bare_host_end(uri));
	}
	return auth_path_normalise(uri, out);
}

bool auth_scope_covers(const char *scope, const char *path)
{
	size_t n = strlen(scope);
	if (n == 0) {
		return true;
	}
	return strncmp(scope, path, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

void auth_hub_lower(const char *hub, char out[LIMIT_HUB_NAME + 1])
{
	size_t n = 0;
	for (; n < LIMIT_HUB_NAME && hub[n] != '\0'; n++) {
		out[n] = lower((unsigned char)hub[n]);
	}
	out[n] = '\0';
}

bool auth_hub_allows(const char *hub, const char *path)
{
	char name[LIMIT_HUB_NAME + 1];
	auth_hub_lower(hub, name);
	return auth_scope_covers(name, path);
}
