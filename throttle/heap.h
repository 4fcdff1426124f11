#ifndef THROTTLE_HEAP_H
#define THROTTLE_HEAP_H

/* A pairing heap of nodes that are embedded in what is ordered, so that nothing is
 * ever allocated: the least key first, of equal keys the one that came first. Keys
 * are compared by their difference, so they may wrap around as long as those of one
 * heap lie within 2^63. One thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct throttle_node {
	struct throttle_node *child;	/* the first */
	struct throttle_node *next;	/* sibling */
	struct throttle_node *prev;	/* sibling, or of the first child its parent */
	uint64_t key;
	uint64_t order;
	bool is_in;
};

struct throttle_heap {
	struct throttle_node *top;	/* NULL: empty */
	size_t n;
	uint64_t orders;
};

/* Keeps `node` until it is removed. */
void throttle_heap_add(struct throttle_heap *h, struct throttle_node *node, uint64_t key);
/* `node` stands in `h`. */
void throttle_heap_remove(struct throttle_heap *h, struct throttle_node *node);

#endif
