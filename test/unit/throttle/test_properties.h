#ifndef TEST_UNIT_THROTTLE_TEST_PROPERTIES_H
#define TEST_UNIT_THROTTLE_TEST_PROPERTIES_H

/* Suites of rules that hold for every run of a simulation. */

#include <check.h>

#include "test/unit/throttle/sim.h"

Suite *properties_exact_suite(void);
Suite *properties_fair_suite(void);
Suite *properties_nested_suite(void);
Suite *properties_change_suite(void);
Suite *properties_refuse_suite(void);
Suite *properties_threads_suite(void);

enum { CASE_TIMEOUT_S = 60 };

/* A place in a hub and nothing else. */
static inline struct throttle_place place_in(const char *hub, int64_t partition)
{
	uint32_t id = 1;
	for (const char *c = hub; *c != '\0'; c++) {
		id = id * 31 + (unsigned char)*c;
	}
	return (struct throttle_place){.hub_id = id, .hub = hub, .partition = partition};
}

#endif
