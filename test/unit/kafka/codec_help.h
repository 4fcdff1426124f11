#ifndef TEST_UNIT_KAFKA_CODEC_HELP_H
#define TEST_UNIT_KAFKA_CODEC_HELP_H

/* What the tests of the codec share. */

#include <check.h>

#include "gateway/kafka/messages.h"

/* Bytes from hexadecimal text (blanks are passed over), in a block of exactly
 * their length, so that a sanitizer sees any read past the end. Freed with
 * span_free. */
struct span hex(const char *text);
/* A copy of the first n bytes, in a block of exactly n. */
struct span prefix(struct span s, size_t n);
void span_free(struct span s);
/* Fails the test, printing `what` and both in hexadecimal, unless they are equal. */
void check_same(const char *what, struct span got, struct span want);

/* One direction of one version of an API. */
struct form {
	const struct kafka_api *api;
	const struct kafka_struct *desc;
	int16_t version;
	bool is_request;
	bool is_flexible;
	char name[64];	/* "Produce v9 request" */
};
/* All forms that are served, one after another: *at counts from 0; false at the end. */
bool form_next(uint32_t *at, struct form *out);
struct form form_of(int16_t key, int16_t version, bool is_request);

static inline struct span str_span(const struct str *s)
{
	return span_of(s->p, s->len);
}

/* The encoding as one run in a block of exactly its length. */
struct span encode(const struct form *f, const void *in);
enum err decode(const struct form *f, struct span in, struct kafka_arena *arena, void *out,
		struct err_detail *d);
/* decode must fail with `e` and a detail that holds `text`. */
void check_refused(const struct form *f, struct span in, enum err e, const char *text);

#endif
