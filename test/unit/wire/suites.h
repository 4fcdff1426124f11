#ifndef TEST_UNIT_WIRE_SUITES_H
#define TEST_UNIT_WIRE_SUITES_H

#include <check.h>

Suite *inflate_suite(void);
Suite *records_suite(void);
Suite *records_iter_suite(void);
Suite *to_kafka_suite(void);
Suite *kafka_value_suite(void);
Suite *compact_suite(void);

#endif
