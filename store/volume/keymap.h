#ifndef STORE_VOLUME_KEYMAP_H
#define STORE_VOLUME_KEYMAP_H

/* Which record is the newest of its key, in bounded memory: keys are kept as 128 bits
 * of SipHash-2-4 under a random key of the process. Two keys that met would cost an
 * event; nobody outside knows the key, and by chance they meet among 2^30 keys with a
 * probability below 2^-69.
 *
 * No locking: one thread's own. */

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum { KEYMAP_SECRET = 16 };

struct keymap_hash {
	uint64_t a;
	uint64_t b;
};
void keymap_hash(const uint8_t secret[KEYMAP_SECRET], struct span key, struct keymap_hash *out);

struct keymap_slot {
	struct keymap_hash hash;
	uint64_t seq_1;		/* sequence number + 1; 0: empty */
};

struct keymap {
	struct keymap_slot *slots;
	size_t n_slots;
	size_t n;
	size_t max_slots;
};

/* Never takes more than `memory` bytes, but for a handful of slots. */
void keymap_init(struct keymap *m, uint64_t memory);
void keymap_fini(struct keymap *m);
void keymap_clear(struct keymap *m);
/* The greater sequence number of a key stays. ERR_LIMIT: a new key does not fit any
 * more. ERR_NOMEM. */
enum err keymap_put(struct keymap *m, const struct keymap_hash *h, int64_t seq) MUST_CHECK;
int64_t keymap_get(const struct keymap *m, const struct keymap_hash *h);	/* -1: none */

#endif
