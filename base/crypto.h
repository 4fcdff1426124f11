#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

/* Digests, randomness and text encodings (OpenSSL beneath). Any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum { CRYPTO_SHA256 = 32, CRYPTO_UUID_TEXT = 37 };

/* HMAC-SHA256 over `a` then `b` (either may be empty). */
enum err crypto_hmac_sha256(struct span key, struct span a, struct span b,
			    uint8_t out[CRYPTO_SHA256]) MUST_CHECK;
enum err crypto_sha256(struct span data, uint8_t out[CRYPTO_SHA256]) MUST_CHECK;
bool crypto_equal(struct span a, struct span b);	/* constant time in the content */
void crypto_wipe(void *p, size_t n);
/* Cryptographic randomness; aborts the process when the system has none. */
void crypto_random(void *out, size_t n);
void crypto_uuid(uint8_t out[16]);	/* RFC 4122 version 4 */
void crypto_uuid_text(const uint8_t uuid[16], char out[CRYPTO_UUID_TEXT]);

/* Standard base64 with padding. Encode writes a NUL; sizes: 4*ceil(n/3)+1.
 * Decode accepts missing padding, rejects anything else; *n_out gets the size. */
enum err crypto_base64_encode(struct span in, char *out, size_t out_size) MUST_CHECK;
enum err crypto_base64_decode(struct span in, uint8_t *out, size_t out_size,
			      size_t *n_out) MUST_CHECK;

/* "9f86d081884c7d659a2feaa0c55ad015": for errors and log lines alike. */
enum { TRACKING_ID_MAX = 33 };
void crypto_tracking_id(char out[TRACKING_ID_MAX]);

#endif
