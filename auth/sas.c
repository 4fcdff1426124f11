#include "auth/sas.h"

#include <inttypes.h>
#include <stdio.h>

#include "auth/auth_priv.h"
#include "base/clock.h"
#include "base/crypto.h"

enum {
	/* Seconds; fits an int64 in milliseconds, and no date of use is longer. */
	EXPIRY_DIGITS = 15,
	SIGNATURE_TEXT = 44,	/* base64 of CRYPTO_SHA256 bytes */
	SIGNATURE_ROOM = 64,	/* so that a longer text is seen to be wrong */
};

static const char prefix[] = "SharedAccessSignature ";
enum { PREFIX = sizeof prefix - 1 };

static const char bad_signature[] = "InvalidSignature: The token has an invalid signature.";

/* The fields as received; all borrow from the token. */
struct token {
	struct span sr;
	struct span sig;
	struct span se;
	struct span skn;
};

static enum err malformed(struct err_detail *detail, const char *what)
{
	return err_set(detail, ERR_UNAUTHORIZED, "MalformedToken: %s.", what);
}

bool auth_sas_prefixed(struct span text)
{
	return text.n >= PREFIX && span_ieq_str(span_of(text.p, PREFIX), prefix);
}

static enum err field_set(struct token *t, struct span name, struct span value,
			  struct err_detail *detail)
{
	struct span *to = span_ieq_str(name, "sr")    ? &t->sr
			  : span_ieq_str(name, "sig") ? &t->sig
			  : span_ieq_str(name, "se")  ? &t->se
			  : span_ieq_str(name, "skn") ? &t->skn
						      : NULL;
	if (to == NULL) {
		return ERR_OK;
	}
	if (to->n != 0) {
		return malformed(detail, "A field is given twice");
	}
	if (value.n == 0) {
		return malformed(detail, "A field is empty");
	}
	*to = value;
	return ERR_OK;
}

static enum err token_split(struct span text, struct token *t, struct err_detail *detail)
{
	*t = (struct token){0};
	if (text.n > LIMIT_TOKEN) {
		return malformed(detail, "The token is too long");
	}
	if (!auth_sas_prefixed(text)) {
		return malformed(detail, "The token does not begin with SharedAccessSignature");
	}
	struct rd rd = rd_of(span_of(text.p + PREFIX, text.n - PREFIX));
	while (rd_left(&rd) > 0) {
		const uint8_t *amp = memchr(rd.p, '&', rd_left(&rd));
		struct span part = rd_span(&rd, amp != NULL ? (size_t)(amp - rd.p) : rd_left(&rd));
		if (amp != NULL) {
			rd_skip(&rd, 1);
		}
		const uint8_t *eq = part.n != 0 ? memchr(part.p, '=', part.n) : NULL;
		if (eq == NULL) {
			return malformed(detail, "A field has no value");
		}
		size_t n = (size_t)(eq - part.p);
		enum err e = field_set(t, span_of(part.p, n), span_of(eq + 1, part.n - n - 1),
				       detail);
		if (e != ERR_OK) {
			return e;
		}
	}
	if (t->sr.n == 0 || t->sig.n == 0 || t->se.n == 0 || t->skn.n == 0) {
		return malformed(detail, "One of the fields sr, sig, se and skn is missing");
	}
	return ERR_OK;
}

static bool expiry_parse(struct span se, int64_t *expires_ms)
{
	if (se.n == 0 || se.n > EXPIRY_DIGITS) {
		return false;
	}
	int64_t s = 0;
	for (size_t i = 0; i < se.n; i++) {
		if (se.p[i] < '0' || se.p[i] > '9') {
			return false;
		}
		s = s * 10 + (se.p[i] - '0');
	}
	*expires_ms = s * 1000;
	return true;
}

/* The publisher of ".../publishers/p[/...]"; "" when there is none. */
static enum err publisher_of(const char *scope, char out[LIMIT_PUBLISHER_NAME + 1])
{
	static const char mark[] = "/publishers/";
	const char *at = strstr(scope, mark);
	out[0] = '\0';
	if (at == NULL) {
		return ERR_OK;
	}
	at += sizeof mark - 1;
	return span_to_cstr(span_of(at, strcspn(at, "/")), out, LIMIT_PUBLISHER_NAME + 1);
}

/* string-to-sign = sr LF se; se is bounded, so only the line end is copied. */
static enum err sign(struct span key, struct span sr, struct span se, uint8_t mac[CRYPTO_SHA256])
{
	uint8_t rest[1 + EXPIRY_DIGITS];
	struct wr w = wr_of(rest, sizeof rest);
	wr_u8(&w, '\n');
	wr_span(&w, se);
	if (w.bad) {
		return ERR_INVALID;
	}
	return crypto_hmac_sha256(key, sr, span_of(rest, wr_len(&w)), mac);
}

/* ---- checking -------------------------------------------------------- */

struct attempt {
	const struct token *token;
	struct span sig;		/* decoded */
	struct auth_grant grant;
	bool found;			/* a policy had the name */
	bool matched;
	enum err err;			/* not about the token: no memory */
};

static bool key_matches(struct attempt *a, const char *key)
{
	/* An absent key has no bytes: anybody could sign with it. */
	if (key[0] == '\0' || a->err != ERR_OK) {
		return false;
	}
	uint8_t mac[CRYPTO_SHA256];
	a->err = sign(span_str(key), a->token->sr, a->token->se, mac);
	bool same = a->err == ERR_OK && crypto_equal(span_of(mac, sizeof mac), a->sig);
	crypto_wipe(mac, sizeof mac);
	return same;
}

static bool on_policy(void *arg, const char *hub, const struct auth_policy *policy)
{
	struct attempt *a = arg;
	if (!auth_hub_allows(hub, a->grant.scope)) {
		return false;
	}
	a->found = true;
	if (!key_matches(a, policy->primary) && !key_matches(a, policy->secondary)) {
		return a->err != ERR_OK;
	}
	a->matched = true;
	auth_grant_set_policy(&a->grant, hub, policy);
	return true;
}

/* Looks for the policy by the decoded name and, when nobody has that, by the
 * name decoded once more: one SDK encodes it twice. */
static enum err try_policies(const struct auth_source *src, struct attempt *a,
			     struct err_detail *detail)
{
	uint8_t name[LIMIT_POLICY_NAME];
	uint8_t again[LIMIT_POLICY_NAME];
	size_t n;
	struct span path = span_str(a->grant.scope);
	enum err e = auth_percent_decode_fixed(a->token->skn, name, sizeof name, &n);
	if (e == ERR_DECODE) {
		return malformed(detail, "The field skn has a bad escape");
	}
	if (e == ERR_OK) {
		src->find(src->ctx, path, span_of(name, n), on_policy, a);
		size_t m;
		if (!a->found && memchr(name, '%', n) != NULL &&
		    auth_percent_decode_fixed(span_of(name, n), again, sizeof again, &m) == ERR_OK) {
			src->find(src->ctx, path, span_of(again, m), on_policy, a);
		}
	}
	if (a->err != ERR_OK) {
		return err_set(detail, a->err, "%s", err_text(a->err));
	}
	if (!a->matched) {
		return err_set(detail, ERR_UNAUTHORIZED, "%s", bad_signature);
	}
	return ERR_OK;
}

/* Decodes the signature; a text of the wrong length is left to the comparison. */
static enum err signature_decode(struct span sig, uint8_t out[CRYPTO_SHA256], size_t *n,
				 struct err_detail *detail)
{
	uint8_t text[SIGNATURE_ROOM];
	size_t len;
	enum err e = auth_percent_decode_fixed(sig, text, sizeof text, &len);
	if (e == ERR_DECODE) {
		return malformed(detail, "The field sig has a bad escape");
	}
	if (e != ERR_OK || len > SIGNATURE_TEXT) {
		return err_set(detail, ERR_UNAUTHORIZED, "%s", bad_signature);
	}
	e = crypto_base64_decode(span_of(text, len), out, CRYPTO_SHA256, n);
	if (e == ERR_DECODE) {
		return malformed(detail, "The field sig is not base64");
	}
	if (e != ERR_OK || *n != CRYPTO_SHA256) {
		return err_set(detail, ERR_UNAUTHORIZED, "%s", bad_signature);
	}
	return ERR_OK;
}

static enum err expired(int64_t expires_ms, int64_t now_ms, struct err_detail *detail)
{
	char then[CLOCK_ISO_MAX];
	char now[CLOCK_ISO_MAX];
	clock_iso(expires_ms, then);
	clock_iso(now_ms, now);
	return err_set(detail, ERR_UNAUTHORIZED,
		       "ExpiredToken: The token is expired. Expiration time:'%s', "
		       "current time:'%s'.",
		       then, now);
}

enum err auth_sas_check(const struct auth_source *src, struct span token, int64_t now_ms,
			struct auth_grant *out, struct err_detail *detail)
{
	struct token t;
	enum err e = token_split(token, &t, detail);
	if (e != ERR_OK) {
		return e;
	}
	struct attempt a = {.token = &t};
	if (!expiry_parse(t.se, &a.grant.expires_ms)) {
		return malformed(detail, "The field se is not a number of seconds");
	}
	if (auth_scope_of_resource(t.sr, a.grant.scope) != ERR_OK ||
	    publisher_of(a.grant.scope, a.grant.publisher) != ERR_OK) {
		return malformed(detail, "The field sr is not a resource");
	}
	uint8_t sig[CRYPTO_SHA256];
	size_t n = 0;
	e = signature_decode(t.sig, sig, &n, detail);
	if (e != ERR_OK) {
		return e;
	}
	a.sig = span_of(sig, n);
	e = try_policies(src, &a, detail);
	if (e != ERR_OK) {
		return e;
	}
	if (now_ms >= a.grant.expires_ms) {
		return expired(a.grant.expires_ms, now_ms, detail);
	}
	*out = a.grant;
	return ERR_OK;
}

/* ---- making ---------------------------------------------------------- */

enum err auth_sas_make(const char *resource, const char *policy, const char *key,
		       int64_t expires_s, struct str *out)
{
	char se[24];
	int se_n = snprintf(se, sizeof se, "%" PRId64, expires_s);
	if (expires_s < 0 || se_n > EXPIRY_DIGITS) {
		return ERR_INVALID;
	}
	struct str sr = {0};
	uint8_t mac[CRYPTO_SHA256];
	char sig[SIGNATURE_TEXT + 1];
	auth_percent_encode(span_str(resource), &sr);
	enum err e = sr.bad ? ERR_NOMEM
			    : sign(span_str(key), span_of(sr.p, sr.len), span_str(se), mac);
	if (e != ERR_OK) {
		goto done;
	}
	e = crypto_base64_encode(span_of(mac, sizeof mac), sig, sizeof sig);
	if (e != ERR_OK) {
		goto done;
	}
	str_add(out, prefix);
	str_add(out, "sr=");
	str_addn(out, sr.p, sr.len);
	str_add(out, "&sig=");
	auth_percent_encode(span_str(sig), out);
	str_add(out, "&se=");
	str_add(out, se);
	str_add(out, "&skn=");
	auth_percent_encode(span_str(policy), out);
	e = out->bad ? ERR_NOMEM : ERR_OK;
done:
	crypto_wipe(mac, sizeof mac);
	str_fini(&sr);
	return e;
}
