#ifndef TEST_UNIT_BASE_SUITES_H
#define TEST_UNIT_BASE_SUITES_H

#include <check.h>

Suite *err_suite(void);
Suite *mem_suite(void);
Suite *bytes_suite(void);
Suite *lock_suite(void);
Suite *mailbox_suite(void);
Suite *clock_suite(void);
Suite *log_suite(void);
Suite *crypto_suite(void);
Suite *crc32c_suite(void);
Suite *keyhash_suite(void);
Suite *batch_suite(void);
Suite *budget_suite(void);
Suite *hist_suite(void);
Suite *metrics_suite(void);

#endif
