#include "test/unit/amqp/wire_help.h"

#include <stdio.h>
#include <stdlib.h>

const size_t fragment_sizes[5] = {1, 2, 3, 7, 0};

static struct span copy(const void *p, size_t n)
{
	uint8_t *to = malloc(n != 0 ? n : 1);
	ck_assert_ptr_nonnull(to);
	if (n != 0) {
		memcpy(to, p, n);
	}
	return span_of(to, n);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct span hex(const char *text)
{
	uint8_t *to = malloc(strlen(text) / 2 + 1);
	ck_assert_ptr_nonnull(to);
	size_t n = 0;
	int high = -1;
	for (; *text != '\0'; text++) {
		int d = digit(*text);
		if (d < 0) {
			ck_assert_int_eq(*text, ' ');
		} else if (high < 0) {
			high = d;
		} else {
			to[n++] = (uint8_t)(high * 16 + d);
			high = -1;
		}
	}
	ck_assert_int_eq(high, -1);
	struct span s = copy(to, n);
	free(to);
	return s;
}

struct span chars(const char *text)
{
	return copy(text, strlen(text));
}

struct span prefix(struct span s, size_t n)
{
	ck_assert_uint_le(n, s.n);
	return copy(s.p, n);
}

void bytes_free(struct span s)
{
	union {
		const uint8_t *in;
		void *out;
	} p = {.in = s.p};
	free(p.out);
}

static void print_hex(const char *label, struct span s)
{
	fprintf(stderr, "%s (%zu):", label, s.n);
	for (size_t i = 0; i < s.n; i++) {
		fprintf(stderr, "%02x", s.p[i]);
	}
	fprintf(stderr, "\n");
}

void check_bytes(struct span got, struct span want)
{
	if (!span_eq(got, want)) {
		print_hex("got ", got);
		print_hex("want", want);
	}
	ck_assert(span_eq(got, want));
}

void check_hex(struct span got, const char *want)
{
	struct span s = hex(want);
	check_bytes(got, s);
	bytes_free(s);
}
