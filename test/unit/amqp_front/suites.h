#ifndef TEST_UNIT_AMQP_FRONT_SUITES_H
#define TEST_UNIT_AMQP_FRONT_SUITES_H

#include <check.h>

Suite *filter_suite(void);
Suite *guard_suite(void);
Suite *quotas_suite(void);
Suite *receiver_suite(void);
Suite *sender_suite(void);

#endif
