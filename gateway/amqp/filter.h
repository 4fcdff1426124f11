#ifndef GATEWAY_AMQP_FILTER_H
#define GATEWAY_AMQP_FILTER_H

/* The selector by which a receiver says where to begin:
 *
 *   expr  := "amqp.annotation." field op value
 *   field := x-opt-offset | x-opt-sequence-number | x-opt-enqueued-time
 *          | x-opt-enqueuedtimeutc
 *   op    := ">" | ">="
 *   value := "'" text "'" | text
 *
 * Offsets are opaque text but for "-1" (the beginning) and "@latest"; the
 * others are integers. Pure; any thread. */

#include "base/bytes.h"
#include "gateway/core/core.h"

/* ERR_INVALID with a text for the client. An offset is not looked at beyond its
 * length: core_start_at knows whether it exists. */
enum err amqp_filter_parse(struct span text, struct core_start *out,
			   struct err_detail *d) MUST_CHECK;

#endif
