/* The guard and the selector: what a hostile peer writes before and into frames. */

#include <stdint.h>

#include "gateway/amqp/filter.h"
#include "gateway/amqp/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct amqp_guard guard = {.n = 0};
	struct amqp_tap_in tap;
	struct amqp_tap_frame frame;
	struct amqp_guard_verdict verdict;
	struct core_start start;
	struct err_detail d = {""};
	struct span in = span_of(p, n);
	amqp_tap_in_init(&tap, LIMIT_AMQP_FRAME);
	while (in.n > 0 && amqp_tap_in_next(&tap, &in, &frame, &d) == ERR_OK &&
	       frame.kind != AMQP_TAP_MORE &&
	       amqp_guard_check(&guard, &frame, &verdict, &d) == ERR_OK) {
	}
	amqp_tap_in_fini(&tap);
	amqp_guard_fini(&guard);
	return amqp_filter_parse(span_of(p, n), &start, &d) == ERR_INTERNAL ? 1 : 0;
}
