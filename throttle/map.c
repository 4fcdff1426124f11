#include "throttle/throttle_priv.h"

#include "base/mem.h"

enum { MAP_FIRST = 64 };

uint64_t throttle_hash(uint64_t seed, const void *p, size_t len)
{
	/* FNV-1a with a final mix; keys come from authenticated clients. */
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed * UINT64_C(0x9e3779b97f4a7c15);
	const unsigned char *b = p;
	for (size_t i = 0; i < len; i++) {
		h = (h ^ b[i]) * UINT64_C(0x100000001b3);
	}
	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	return h ^ h >> 32;
}

/* Chains grow longer when there is no memory for more of them. */
static void grow(struct throttle_map *m)
{
	size_t n = m->n_heads == 0 ? MAP_FIRST : m->n_heads * 2;
	struct throttle_link **heads = mem_calloc(n, sizeof *heads);
	if (heads == NULL) {
		return;
	}
	for (size_t i = 0; i < m->n_heads; i++) {
		struct throttle_link *next;
		for (struct throttle_link *k = m->heads[i]; k != NULL; k = next) {
			next = k->next;
			k->next = heads[k->hash & (n - 1)];
			heads[k->hash & (n - 1)] = k;
		}
	}
	mem_free(m->heads);
	m->heads = heads;
	m->n_heads = n;
}

enum err throttle_map_add(struct throttle_map *m, struct throttle_link *k, uint64_t hash)
{
	if (m->n >= m->n_heads) {
		grow(m);
	}
	if (m->n_heads == 0) {
		return ERR_NOMEM;
	}
	k->hash = hash;
	struct throttle_link **head = &m->heads[hash & (m->n_heads - 1)];
	k->next = *head;
	*head = k;
	m->n++;
	return ERR_OK;
}

void throttle_map_remove(struct throttle_map *m, struct throttle_link *k)
{
	struct throttle_link **at = &m->heads[k->hash & (m->n_heads - 1)];
	while (*at != k) {
		at = &(*at)->next;
	}
	*at = k->next;
	k->next = NULL;
	m->n--;
}

struct throttle_link *throttle_map_find(const struct throttle_map *m, uint64_t hash)
{
	return m->n_heads == 0 ? NULL : m->heads[hash & (m->n_heads - 1)];
}

void throttle_map_fini(struct throttle_map *m)
{
	mem_free(m->heads);
	*m = (struct throttle_map){0};
}
