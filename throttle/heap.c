#include "throttle/heap.h"

#include <assert.h>

static bool is_before(const struct throttle_node *a, const struct throttle_node *b)
{
	if (a->key != b->key) {
		return (int64_t)(a->key - b->key) < 0;
	}
	return (int64_t)(a->order - b->order) < 0;
}

/* Both are roots without siblings; either may be NULL. */
static struct throttle_node *meld(struct throttle_node *a, struct throttle_node *b)
{
	if (a == NULL || b == NULL) {
		return a != NULL ? a : b;
	}
	if (is_before(b, a)) {
		struct throttle_node *t = a;
		a = b;
		b = t;
	}
	b->prev = a;
	b->next = a->child;
	if (a->child != NULL) {
		a->child->prev = b;
	}
	a->child = b;
	return a;
}

/* Makes one heap of a list of siblings: in pairs forwards, then all of them backwards,
 * which is what keeps removal logarithmic on average. */
static struct throttle_node *meld_siblings(struct throttle_node *first)
{
	struct throttle_node *pairs = NULL;
	while (first != NULL) {
		struct throttle_node *a = first;
		struct throttle_node *b = a->next;
		first = b != NULL ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b != NULL) {
			b->next = b->prev = NULL;
		}
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	struct throttle_node *root = NULL;
	while (pairs != NULL) {
		struct throttle_node *next = pairs->next;
		pairs->next = NULL;
		root = meld(root, pairs);
		pairs = next;
	}
	return root;
}

void throttle_heap_add(struct throttle_heap *h, struct throttle_node *node, uint64_t key)
{
	assert(!node->is_in);
	*node = (struct throttle_node){.key = key, .order = h->orders++, .is_in = true};
	h->top = meld(h->top, node);
	h->n++;
}

void throttle_heap_remove(struct throttle_heap *h, struct throttle_node *node)
{
	assert(node->is_in);
	assert(h->n > 0);
	if (node == h->top) {
		h->top = meld_siblings(node->child);
	} else {
		if (node->prev->child == node) {
			node->prev->child = node->next;
		} else {
			node->prev->next = node->next;
		}
		if (node->next != NULL) {
			node->next->prev = node->prev;
		}
		h->top = meld(h->top, meld_siblings(node->child));
	}
	node->child = node->next = node->prev = NULL;
	node->is_in = false;
	h->n--;
}
