#ifndef GATEWAY_CORE_CORE_PRIV_H
#define GATEWAY_CORE_CORE_PRIV_H

/* Shared inside gateway/core only. */

#include "base/lock.h"
#include "gateway/core/core.h"

struct core_registry;	/* readers.c: who reads which partition in which group */

/* A block of producer ids being given out, and who waits for the next one. */
enum { CORE_PRODUCER_IDS = 1000 };
struct core_producer_ids {
	struct lock lock;	/* a leaf */
	int64_t next;
	int64_t end;
	struct core_producer_id *first;	/* waiting, by msg.next */
	struct core_producer_id *last;
	bool is_asking;
	struct store_command command;	/* while is_asking: of whoever asked */
};

struct core {
	struct store *store;
	char *host;
	char *extra_key;	/* NULL: none */
	int64_t default_retention_ms;
	struct budget inflight;
	struct auth_source auth;
	struct core_registry *readers;
	struct core_producer_ids producer_ids;
};

struct core_registry *core_registry_new(void);
void core_registry_free(struct core_registry **r);

#endif
