#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

/* A byte budget shared by threads: what bounds memory held for clients. A
 * reservation either succeeds at once or fails; nothing waits here. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
	atomic_size_t used;
	size_t max;
};

static inline void budget_init(struct budget *b, size_t max)
{
	atomic_init(&b->used, 0);
	b->max = max;
}
static inline size_t budget_used(const struct budget *b)
{
	return atomic_load_explicit(&b->used, memory_order_relaxed);
}
static inline bool budget_take(struct budget *b, size_t n)
{
	if (n > b->max) {
		return false;
	}
	/* Relaxed: the counter guards no other data. */
	size_t before = atomic_fetch_add_explicit(&b->used, n, memory_order_relaxed);
	if (before > b->max - n) {
		atomic_fetch_sub_explicit(&b->used, n, memory_order_relaxed);
		return false;
	}
	return true;
}
static inline void budget_give(struct budget *b, size_t n)
{
	atomic_fetch_sub_explicit(&b->used, n, memory_order_relaxed);
}

#endif
