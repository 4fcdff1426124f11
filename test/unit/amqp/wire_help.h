#ifndef TEST_UNIT_AMQP_WIRE_HELP_H
#define TEST_UNIT_AMQP_WIRE_HELP_H

/* What the tests of the wire half share. */

#include <check.h>

#include "base/bytes.h"

/* Bytes from hexadecimal text (blanks are passed over), in a block of exactly
 * their length, so that a sanitizer sees any read past the end. Freed with
 * bytes_free. */
struct span hex(const char *text);
/* The same from a C string's characters. */
struct span chars(const char *text);
/* A copy of the first n bytes, in a block of exactly n. */
struct span prefix(struct span s, size_t n);
void bytes_free(struct span s);

/* Fails the test, printing both in hexadecimal, unless they are equal. */
void check_bytes(struct span got, struct span want);
void check_hex(struct span got, const char *want);

static inline struct span str_span(const struct str *s)
{
	return span_of(s->p, s->len);
}

/* Fragment sizes that every stream decoder is fed with; 0: whole. */
extern const size_t fragment_sizes[5];

#endif
