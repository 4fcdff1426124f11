#include "base/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

enum err crypto_hmac_sha256(struct span key, struct span a, struct span b,
			    uint8_t out[CRYPTO_SHA256])
{
	enum err e = ERR_NOMEM;
	struct str both = {0};
	str_addn(&both, a.p, a.n);
	str_addn(&both, b.p, b.n);
	if (both.bad || key.n > INT32_MAX) {
		goto done;
	}
	unsigned n = 0;
	const uint8_t *k = key.n != 0 ? key.p : (const uint8_t *)"";
	if (HMAC(EVP_sha256(), k, (int)key.n, (const uint8_t *)both.p, both.len, out, &n) == NULL ||
	    n != CRYPTO_SHA256) {
		e = ERR_INTERNAL;
		goto done;
	}
	e = ERR_OK;
done:
	str_fini(&both);
	return e;
}

enum err crypto_sha256(struct span data, uint8_t out[CRYPTO_SHA256])
{
	unsigned n = 0;
	if (EVP_Digest(data.p, data.n, out, &n, EVP_sha256(), NULL) != 1) {
		return ERR_INTERNAL;
	}
	return ERR_OK;
}

bool crypto_equal(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

void crypto_wipe(void *p, size_t n)
{
	OPENSSL_cleanse(p, n);
}

void crypto_random(void *out, size_t n)
{
	if (n > INT32_MAX || RAND_bytes(out, (int)n) != 1) {
		log_fatal("CRYPTO-NO-RANDOM", "the system gave no random bytes");
	}
}

void crypto_uuid(uint8_t out[16])
{
	crypto_random(out, 16);
	out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
	out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

void crypto_uuid_text(const uint8_t uuid[16], char out[CRYPTO_UUID_TEXT])
{
	size_t n = 0;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10) {
			out[n++] = '-';
		}
		n += (size_t)snprintf(out + n, CRYPTO_UUID_TEXT - n, "%02x", uuid[i]);
	}
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum err crypto_base64_encode(struct span in, char *out, size_t out_size)
{
	if (in.n > SIZE_MAX / 2 || (in.n + 2) / 3 * 4 + 1 > out_size) {
		return ERR_TOO_LARGE;
	}
	size_t o = 0;
	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = in.n - i;
		uint32_t v = (uint32_t)in.p[i] << 16;
		v |= left > 1 ? (uint32_t)in.p[i + 1] << 8 : 0;
		v |= left > 2 ? (uint32_t)in.p[i + 2] : 0;
		out[o++] = digits[v >> 18];
		out[o++] = digits[v >> 12 & 63];
		out[o++] = left > 1 ? digits[v >> 6 & 63] : '=';
		out[o++] = left > 2 ? digits[v & 63] : '=';
	}
	out[o] = '\0';
	return ERR_OK;
}

static int digit_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

enum err crypto_base64_decode(struct span in, uint8_t *out, size_t out_size, size_t *n_out)
{
	for (int i = 0; i < 2 && in.n > 0 && in.p[in.n - 1] == '='; i++) {
		in.n--;
	}
	if (in.n % 4 == 1) {
		return ERR_DECODE;
	}
	size_t need = in.n / 4 * 3 + (in.n % 4 != 0 ? in.n % 4 - 1 : 0);
	if (need > out_size) {
		return ERR_TOO_LARGE;
	}
	uint32_t v = 0;
	unsigned bits = 0;
	size_t o = 0;
	for (size_t i = 0; i < in.n; i++) {
		int d = digit_value(in.p[i]);
		if (d < 0) {
			return ERR_DECODE;
		}
		v = v << 6 | (uint32_t)d;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[o++] = (uint8_t)(v >> bits);
		}
	}
	*n_out = o;
	return ERR_OK;
}

void crypto_tracking_id(char out[TRACKING_ID_MAX])
{
	uint8_t raw[16];
	crypto_random(raw, sizeof raw);
	for (int i = 0; i < 16; i++) {
		snprintf(out + 2 * i, 3, "%02x", raw[i]);
	}
}
