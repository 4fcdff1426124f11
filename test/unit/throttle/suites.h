#ifndef TEST_UNIT_THROTTLE_SUITES_H
#define TEST_UNIT_THROTTLE_SUITES_H

#include <check.h>

Suite *bucket_suite(void);
Suite *heap_suite(void);
Suite *lane_suite(void);
Suite *sched_suite(void);
Suite *figures_suite(void);
Suite *calls_suite(void);
Suite *churn_suite(void);
Suite *parked_suite(void);

#endif
