#ifndef GATEWAY_WIRE_EVENT_PRIV_H
#define GATEWAY_WIRE_EVENT_PRIV_H

/* What event*.c, to_kafka.c and kafka_value.c share. */

#include "gateway/wire/event.h"

/* How far amqp_sections_read looks into each section. */
enum amqp_check {
	AMQP_CHECK_DEEP,	/* every value inside: bytes from a client */
	AMQP_CHECK_OUTER,	/* order and lengths: bytes from the log */
};

/* amqp_message_read with a choice of how much is checked. */
enum err amqp_sections_read(struct span in, enum amqp_check check, struct amqp_message *out,
			    struct err_detail *d) MUST_CHECK;

/* Reads a section's descriptor and moves past it; UINT64_MAX when it is none. */
uint64_t amqp_section_code_read(struct rd *r);

/* The value of a section that amqp_sections_read has found: descriptor left
 * out, outer lengths checked. */
struct amqp_value amqp_section_value(struct span section);

/* Octets of the UTF-8 character at the start of p[0..n), n > 0; 0 if it is not
 * one. */
size_t amqp_utf8_char(const uint8_t *p, size_t n);

#endif
