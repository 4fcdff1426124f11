#ifndef THROTTLE_THROTTLE_H
#define THROTTLE_THROTTLE_H

/* Where a send or a delivery asks whether there are units left. Knows nothing
 * of protocols and nodes; time is passed in. Decisions are values; the caller
 * acts on them in its protocol's words. At present every request is admitted:
 * no units are configured anywhere. */

#include <stdint.h>

enum throttle_direction { THROTTLE_IN, THROTTLE_OUT };

struct throttle_request {
	enum throttle_direction direction;
	uint64_t bytes;		/* delivery payload, HTTP body or RecordBatch as received */
	uint32_t events;
};

enum throttle_verdict { THROTTLE_ADMIT, THROTTLE_WAIT, THROTTLE_REFUSE };

struct throttle_decision {
	enum throttle_verdict verdict;
	uint32_t wait_ms;	/* for WAIT and REFUSE: when to ask again */
};

/* Any thread, never blocks. */
struct throttle_decision throttle_admit(const struct throttle_request *req, int64_t now_ns);

#endif
