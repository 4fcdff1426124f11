#ifndef GATEWAY_CORE_CORE_PRIV_H
#define GATEWAY_CORE_CORE_PRIV_H

/* Shared inside gateway/core only. */

#include "base/lock.h"
#include "gateway/core/core.h"

struct core_registry;	/* readers.c: who reads which partition in which group */

struct core {
	struct store *store;
	char *host;
	char *extra_key;	/* NULL: none */
	struct budget inflight;
	struct auth_source auth;
	struct core_registry *readers;
};

struct core_registry *core_registry_new(void);
void core_registry_free(struct core_registry **r);

#endif
