#ifndef TEST_UNIT_HTTP_SUITES_H
#define TEST_UNIT_HTTP_SUITES_H

#include <check.h>

Suite *json_suite(void);
Suite *head_suite(void);
Suite *path_suite(void);
Suite *fields_suite(void);
Suite *batch_json_suite(void);
Suite *manage_json_suite(void);
Suite *routes_suite(void);

#endif
