#ifndef TEST_UNIT_WIRE_GOLDEN_H
#define TEST_UNIT_WIRE_GOLDEN_H

#include <stddef.h>
#include <stdint.h>

enum { GOLDEN_RECORDS = 3, GOLDEN_INFLATED = 208 };
#define GOLDEN_MS INT64_C(1700000000000)

struct golden {
	const char *name;
	const uint8_t *p;
	size_t n;
};
extern const struct golden goldens[];
extern const size_t n_goldens;

#endif
