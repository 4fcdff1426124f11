#include "gateway/net/wheel.h"

#include <assert.h>
#include <stddef.h>

static void list_init(struct wheel_node *head)
{
	head->prev = head;
	head->next = head;
}

static void list_add(struct wheel_node *head, struct wheel_node *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

void wheel_init(struct wheel *w, int64_t now_ms)
{
	for (int i = 0; i < WHEEL_SLOTS; i++) {
		list_init(&w->slot[i]);
	}
	w->tick = now_ms / WHEEL_SLOT_MS;
}

void wheel_remove(struct wheel_node *node)
{
	if (node->next != NULL) {
		node->prev->next = node->next;
		node->next->prev = node->prev;
		node->next = NULL;
		node->prev = NULL;
	}
}

/* The slot in which a deadline is looked at: the first that begins at or after
 * it, but a slot that is still to come and within one turn. */
static int64_t tick_for(const struct wheel *w, int64_t due_ms)
{
	int64_t last = w->tick + WHEEL_SLOTS - 1;
	if (due_ms > last * WHEEL_SLOT_MS) {
		return last;
	}
	int64_t tick = (due_ms + WHEEL_SLOT_MS - 1) / WHEEL_SLOT_MS;
	return tick <= w->tick ? w->tick + 1 : tick;
}

void wheel_set(struct wheel *w, struct wheel_node *node, int64_t due_ms)
{
	node->due_ms = due_ms;
	if (due_ms == INT64_MAX) {
		return;	/* a linked node falls out when its slot comes */
	}
	int64_t tick = tick_for(w, due_ms);
	if (node->next != NULL) {
		if (node->slot_tick <= tick) {
			return;
		}
		wheel_remove(node);
	}
	node->slot_tick = tick;
	list_add(&w->slot[tick % WHEEL_SLOTS], node);
}

static void run_slot(struct wheel *w, struct wheel_node *slot, int64_t now_ms, wheel_fn *fn)
{
	if (slot->next == slot) {
		return;
	}
	/* Onto a list of its own first: nodes may be armed into this slot, or
	 * removed from anywhere, while it runs. */
	struct wheel_node list = *slot;
	list.next->prev = &list;
	list.prev->next = &list;
	list_init(slot);
	while (list.next != &list) {
		struct wheel_node *node = list.next;
		wheel_remove(node);
		if (node->due_ms == INT64_MAX) {
			continue;
		}
		if (node->due_ms > now_ms) {
			wheel_set(w, node, node->due_ms);
		} else {
			fn(node, now_ms);
		}
	}
}

void wheel_run(struct wheel *w, int64_t now_ms, wheel_fn *fn)
{
	int64_t to = now_ms / WHEEL_SLOT_MS;
	/* After a long pause each slot needs to be looked at only once. */
	int64_t from = to - w->tick > WHEEL_SLOTS ? to - WHEEL_SLOTS : w->tick;
	for (int64_t tick = from + 1; tick <= to; tick++) {
		/* Moved first, so that a node armed meanwhile goes to a later slot. */
		w->tick = tick;
		run_slot(w, &w->slot[tick % WHEEL_SLOTS], now_ms, fn);
	}
}
