#ifndef GATEWAY_NET_QUEUE_H
#define GATEWAY_NET_QUEUE_H

/* Bytes waiting for a socket, in blocks that come from the loop's pool: an idle
 * stream holds none. One thread. */

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
	NET_BLOCK = 16 << 10,	/* one TLS record of full size */
	NET_POOL_MAX = 64,	/* blocks kept for reuse per loop: 1 MiB */
};

/* Bytes of its own, or bytes that lie in somebody's buffer, on which it then has
 * a reference. */
struct net_block {
	struct net_block *next;
	const uint8_t *at;	/* data, or the foreign bytes */
	struct buf *buf;	/* NULL: its own bytes */
	uint32_t start;
	uint32_t end;
	uint8_t data[];		/* NET_BLOCK, or none */
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
/* Appends bytes that lie in `b` without copying them; takes a reference of its own. */
enum err net_queue_put_buf(struct net_queue *q, struct buf *b, const void *p,
			   uint32_t n) MUST_CHECK;
/* Removes the first n bytes; n <= bytes. */
void net_queue_drop(struct net_queue *q, struct net_pool *pool, size_t n);
/* Describes the front of the queue, borrowed; gives the number of pieces. */
int net_queue_peek(const struct net_queue *q, struct iovec *iov, int max);
void net_pool_fini(struct net_pool *pool);

#endif
