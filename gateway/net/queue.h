#ifndef GATEWAY_NET_QUEUE_H
#define GATEWAY_NET_QUEUE_H

/* Bytes waiting for a socket, in blocks that come from the loop's pool: an idle
 * stream holds none. One thread. */

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

enum {
	NET_BLOCK = 16 << 10,	/* one TLS record of full size */
	NET_POOL_MAX = 64,	/* blocks kept for reuse per loop: 1 MiB */
};

struct net_block {
	struct net_block *next;
	uint32_t start;
	uint32_t end;
	uint8_t data[NET_BLOCK];
};

struct net_pool {
	struct net_block *free;
	int count;
};

struct net_queue {
	struct net_block *head;
	struct net_block *tail;
	size_t bytes;
};

/* Appends all (copied) or nothing: ERR_NOMEM. */
enum err net_queue_put(struct net_queue *q, struct net_pool *pool, const void *p,
		       size_t n) MUST_CHECK;
/* Removes the first n bytes; n <= bytes. */
void net_queue_drop(struct net_queue *q, struct net_pool *pool, size_t n);
/* Describes the front of the queue, borrowed; gives the number of pieces. */
int net_queue_peek(const struct net_queue *q, struct iovec *iov, int max);
void net_pool_fini(struct net_pool *pool);

#endif
