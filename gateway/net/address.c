/* Unauthorised connections per peer address. */

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "gateway/net/net_priv.h"

enum { KEY = 16 };

struct net_address {
	struct net_address *next;
	uint8_t key[KEY];
	int count;
	size_t bucket;
};

void net_addresses_init(struct net_addresses *t, int max)
{
	lock_init(&t->lock);
	t->max = max;
	memset(t->bucket, 0, sizeof t->bucket);
}

void net_addresses_fini(struct net_addresses *t)
{
	for (size_t i = 0; i < NET_ADDRESS_BUCKETS; i++) {
		while (t->bucket[i] != NULL) {
			struct net_address *a = t->bucket[i];
			t->bucket[i] = a->next;
			mem_free(a);
		}
	}
	lock_fini(&t->lock);
}

/* IPv4 as a mapped IPv6 address; of other IPv6 addresses the /64, because one
 * peer commonly owns all of it. */
static bool key_of(const struct sockaddr_storage *from, uint8_t key[KEY])
{
	memset(key, 0, KEY);
	if (from->ss_family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, from, sizeof v4);
		key[10] = 0xff;
		key[11] = 0xff;
		memcpy(key + 12, &v4.sin_addr, 4);
		return true;
	}
	if (from->ss_family == AF_INET6) {
		struct sockaddr_in6 v6;
		memcpy(&v6, from, sizeof v6);
		size_t n = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) ? KEY : KEY / 2;
		memcpy(key, &v6.sin6_addr, n);
		return true;
	}
	return false;
}

/* FNV-1a. Collisions made on purpose cost a longer list and nothing else. */
static size_t bucket_of(const uint8_t key[KEY])
{
	uint32_t h = 2166136261u;
	for (int i = 0; i < KEY; i++) {
		h = (h ^ key[i]) * 16777619u;
	}
	return h % NET_ADDRESS_BUCKETS;
}

static enum err take_locked(struct net_addresses *t, const uint8_t key[KEY],
			    struct net_address **out)
{
	size_t bucket = bucket_of(key);
	struct net_address *a = t->bucket[bucket];
	while (a != NULL && memcmp(a->key, key, KEY) != 0) {
		a = a->next;
	}
	if (a == NULL) {
		a = MEM_NEW(struct net_address);
		if (a == NULL) {
			return ERR_NOMEM;
		}
		memcpy(a->key, key, KEY);
		a->bucket = bucket;
		a->next = t->bucket[bucket];
		t->bucket[bucket] = a;
	}
	if (a->count >= t->max) {
		return ERR_LIMIT;
	}
	a->count++;
	*out = a;
	return ERR_OK;
}

enum err net_addresses_take(struct net_addresses *t, const struct sockaddr_storage *from,
			    struct net_address **out)
{
	uint8_t key[KEY];
	*out = NULL;
	if (t->max == 0 || !key_of(from, key)) {
		return ERR_OK;
	}
	lock_take(&t->lock);
	enum err e = take_locked(t, key, out);
	lock_give(&t->lock);
	return e;
}

void net_addresses_give(struct net_addresses *t, struct net_address **at)
{
	struct net_address *a = *at;
	*at = NULL;
	if (a == NULL) {
		return;
	}
	lock_take(&t->lock);
	if (--a->count == 0) {
		struct net_address **p = &t->bucket[a->bucket];
		while (*p != a) {
			p = &(*p)->next;
		}
		*p = a->next;
		mem_free(a);
	}
	lock_give(&t->lock);
}
