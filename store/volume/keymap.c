#include "store/volume/keymap.h"

#include <assert.h>

#include "base/mem.h"

enum {
	SLOTS_AT_FIRST = 256,
	SLOTS_LEAST = 4,
};

/* ---- SipHash-2-4 with 128 bits (Aumasson, Bernstein) -------------------------- */

struct sip {
	uint64_t v[4];
};

static uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static void sip_round(struct sip *s)
{
	uint64_t *v = s->v;
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static void sip_word(struct sip *s, uint64_t m)
{
	s->v[3] ^= m;
	sip_round(s);
	sip_round(s);
	s->v[0] ^= m;
}

static uint64_t sip_end(struct sip *s)
{
	for (int i = 0; i < 4; i++) {
		sip_round(s);
	}
	return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}

/* Little-endian, of up to eight bytes. */
static uint64_t word_of(const uint8_t *p, size_t n)
{
	uint64_t m = 0;
	for (size_t i = 0; i < n; i++) {
		m |= (uint64_t)p[i] << 8 * i;
	}
	return m;
}

void keymap_hash(const uint8_t secret[KEYMAP_SECRET], struct span key, struct keymap_hash *out)
{
	uint64_t k0 = word_of(secret, 8);
	uint64_t k1 = word_of(secret + 8, 8);
	struct sip s = {{
		k0 ^ 0x736f6d6570736575U,
		k1 ^ 0x646f72616e646f6dU ^ 0xee,
		k0 ^ 0x6c7967656e657261U,
		k1 ^ 0x7465646279746573U,
	}};
	size_t whole = key.n & ~(size_t)7;
	for (size_t i = 0; i < whole; i += 8) {
		sip_word(&s, word_of(key.p + i, 8));
	}
	uint64_t last = key.n > whole ? word_of(key.p + whole, key.n - whole) : 0;
	sip_word(&s, last | (uint64_t)(key.n & 0xff) << 56);
	s.v[2] ^= 0xee;
	out->a = sip_end(&s);
	s.v[1] ^= 0xdd;
	out->b = sip_end(&s);
}

/* ---- the map ------------------------------------------------------------------ */

void keymap_init(struct keymap *m, uint64_t memory)
{
	/* While it grows the old slots are there too, half as many at most. */
	uint64_t most = memory / sizeof(struct keymap_slot) / 3 * 2;
	*m = (struct keymap){.max_slots = most > SLOTS_LEAST ? (size_t)most : SLOTS_LEAST};
}

void keymap_fini(struct keymap *m)
{
	mem_free(m->slots);
	*m = (struct keymap){.max_slots = m->max_slots};
}

void keymap_clear(struct keymap *m)
{
	if (m->slots != NULL) {
		memset(m->slots, 0, m->n_slots * sizeof *m->slots);
	}
	m->n = 0;
}

/* The key's slot, or the empty one where it belongs. */
static struct keymap_slot *slot_of(const struct keymap *m, const struct keymap_hash *h)
{
	size_t i = (size_t)(h->a % m->n_slots);
	while (m->slots[i].seq_1 != 0 &&
	       (m->slots[i].hash.a != h->a || m->slots[i].hash.b != h->b)) {
		i = i + 1 < m->n_slots ? i + 1 : 0;
	}
	return &m->slots[i];
}

static bool is_full(const struct keymap *m)
{
	/* One is always empty, so a search ends. */
	return m->n + 1 + m->n_slots / 8 >= m->n_slots;
}

static enum err grow(struct keymap *m)
{
	size_t n = m->n_slots != 0 ? m->n_slots * 2 : SLOTS_AT_FIRST;
	n = n < m->max_slots ? n : m->max_slots;
	/* Less than that much more would only be moved about. */
	if (n < m->n_slots + m->n_slots / 8 + 1) {
		return ERR_LIMIT;
	}
	struct keymap_slot *slots = mem_calloc(n, sizeof *slots);
	if (slots == NULL) {
		return ERR_NOMEM;
	}
	struct keymap old = *m;
	m->slots = slots;
	m->n_slots = n;
	for (size_t i = 0; i < old.n_slots; i++) {
		if (old.slots[i].seq_1 != 0) {
			*slot_of(m, &old.slots[i].hash) = old.slots[i];
		}
	}
	mem_free(old.slots);
	return ERR_OK;
}

enum err keymap_put(struct keymap *m, const struct keymap_hash *h, int64_t seq)
{
	assert(seq >= 0 && seq < INT64_MAX);
	uint64_t seq_1 = (uint64_t)seq + 1;
	struct keymap_slot *slot = m->n_slots > 0 ? slot_of(m, h) : NULL;
	if (slot != NULL && slot->seq_1 != 0) {
		slot->seq_1 = seq_1 > slot->seq_1 ? seq_1 : slot->seq_1;
		return ERR_OK;
	}
	if (slot == NULL || is_full(m)) {
		enum err e = grow(m);
		if (e != ERR_OK) {
			return e;
		}
		slot = slot_of(m, h);
	}
	*slot = (struct keymap_slot){.hash = *h, .seq_1 = seq_1};
	m->n++;
	return ERR_OK;
}

int64_t keymap_get(const struct keymap *m, const struct keymap_hash *h)
{
	return m->n > 0 ? (int64_t)slot_of(m, h)->seq_1 - 1 : -1;
}
