#ifndef GATEWAY_NET_WHEEL_H
#define GATEWAY_NET_WHEEL_H

/* A coarse timing wheel: many deadlines, most of which are moved before they
 * come. Moving one later costs a store: the node stays in its slot and is
 * linked anew when that slot comes by. Pure: time comes as an argument. One
 * thread. */

#include <stdint.h>

enum {
	WHEEL_SLOT_MS = 100,
	WHEEL_SLOTS = 512,	/* 51 s; later deadlines go round more than once */
};

/* Embedded by its owner; members are private. Zero-initialised = unarmed. */
struct wheel_node {
	struct wheel_node *prev;
	struct wheel_node *next;
	int64_t due_ms;
	int64_t slot_tick;	/* where it is linked */
};

struct wheel {
	struct wheel_node slot[WHEEL_SLOTS];
	int64_t tick;		/* slots up to here have been run */
};

/* Called for a node that is due; it is unarmed and may be armed again or freed. */
typedef void wheel_fn(struct wheel_node *node, int64_t now_ms);

void wheel_init(struct wheel *w, int64_t now_ms);
/* Keeps `node` until it is removed or due. INT64_MAX: never. */
void wheel_set(struct wheel *w, struct wheel_node *node, int64_t due_ms);
void wheel_remove(struct wheel_node *node);
/* Runs what is due at now_ms, never early, at most WHEEL_SLOT_MS late. */
void wheel_run(struct wheel *w, int64_t now_ms, wheel_fn *fn);

#endif
