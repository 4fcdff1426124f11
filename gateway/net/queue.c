#include "gateway/net/queue.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

static struct net_block *block_get(struct net_pool *pool)
{
	struct net_block *b = pool->free;
	if (b != NULL) {
		pool->free = b->next;
		pool->count--;
	} else {
		b = mem_alloc(sizeof *b + NET_BLOCK);
		if (b == NULL) {
			return NULL;
		}
		b->buf = NULL;
		b->at = b->data;
	}
	b->next = NULL;
	b->start = 0;
	b->end = 0;
	return b;
}

static void block_put(struct net_pool *pool, struct net_block *b)
{
	if (b->buf != NULL || pool->count >= NET_POOL_MAX) {
		buf_drop(&b->buf);
		mem_free(b);
		return;
	}
	b->next = pool->free;
	pool->free = b;
	pool->count++;
}

/* A chain of empty blocks with room for n bytes; NULL: no memory. */
static struct net_block *chain_get(struct net_pool *pool, size_t n)
{
	struct net_block *first = NULL;
	for (size_t room = 0; room < n; room += NET_BLOCK) {
		struct net_block *b = block_get(pool);
		if (b == NULL) {
			while (first != NULL) {
				b = first;
				first = b->next;
				block_put(pool, b);
			}
			return NULL;
		}
		b->next = first;
		first = b;
	}
	return first;
}

static size_t block_fill(struct net_block *b, const uint8_t *p, size_t n)
{
	size_t room = NET_BLOCK - b->end;
	size_t take = n < room ? n : room;
	memcpy(b->data + b->end, p, take);
	b->end += (uint32_t)take;
	return take;
}

static size_t room_of(const struct net_block *b)
{
	return b != NULL && b->buf == NULL ? NET_BLOCK - b->end : 0;
}

static void append(struct net_queue *q, struct net_block *b)
{
	if (q->tail == NULL) {
		q->head = b;
	} else {
		q->tail->next = b;
	}
	q->tail = b;
	b->next = NULL;
}

enum err net_queue_put_buf(struct net_queue *q, struct buf *buf, const void *p, uint32_t n)
{
	struct net_block *b = mem_alloc(sizeof *b);
	if (b == NULL) {
		return ERR_NOMEM;
	}
	*b = (struct net_block){.at = p, .buf = buf_hold(buf), .end = n};
	append(q, b);
	q->bytes += n;
	return ERR_OK;
}

enum err net_queue_put(struct net_queue *q, struct net_pool *pool, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t room = room_of(q->tail);
	struct net_block *more = NULL;
	if (n > room) {
		more = chain_get(pool, n - room);
		if (more == NULL) {
			return ERR_NOMEM;
		}
	}
	q->bytes += n;
	if (room > 0) {
		size_t done = block_fill(q->tail, p, n);
		p += done;
		n -= done;
	}
	while (n > 0) {
		assert(more != NULL);
		size_t done = block_fill(more, p, n);
		p += done;
		n -= done;
		struct net_block *next = more->next;
		append(q, more);
		more = next;
	}
	assert(more == NULL);
	return ERR_OK;
}

void net_queue_drop(struct net_queue *q, struct net_pool *pool, size_t n)
{
	assert(n <= q->bytes);
	q->bytes -= n;
	while (n > 0) {
		struct net_block *b = q->head;
		size_t have = b->end - b->start;
		if (n < have) {
			b->start += (uint32_t)n;
			return;
		}
		n -= have;
		q->head = b->next;
		if (q->head == NULL) {
			q->tail = NULL;
		}
		block_put(pool, b);
	}
}

int net_queue_peek(const struct net_queue *q, struct iovec *iov, int max)
{
	int count = 0;
	for (struct net_block *b = q->head; b != NULL && count < max; b = b->next) {
		/* Readers of an iovec do not write. */
		union {
			const uint8_t *in;
			void *out;
		} at = {.in = b->at + b->start};
		iov[count].iov_base = at.out;
		iov[count].iov_len = b->end - b->start;
		count++;
	}
	return count;
}

void net_pool_fini(struct net_pool *pool)
{
	while (pool->free != NULL) {
		struct net_block *b = pool->free;
		pool->free = b->next;
		mem_free(b);
	}
	pool->count = 0;
}
