#ifndef TEST_UNIT_HTTP_FRONT_SUITE_H
#define TEST_UNIT_HTTP_FRONT_SUITE_H

#include <check.h>

Suite *front_suite(void);

#endif
