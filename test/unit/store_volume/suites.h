#ifndef TEST_UNIT_STORE_VOLUME_SUITES_H
#define TEST_UNIT_STORE_VOLUME_SUITES_H

#include <check.h>

Suite *record_suite(void);
Suite *index_suite(void);
Suite *manifest_suite(void);
Suite *space_suite(void);
Suite *replace_suite(void);
Suite *idx_suite(void);
Suite *volume_suite(void);
Suite *seek_suite(void);
Suite *roll_suite(void);
Suite *recover_suite(void);
Suite *damage_suite(void);
Suite *kill_suite(void);
Suite *fault_suite(void);
Suite *concurrent_suite(void);
Suite *state_suite(void);
Suite *verify_suite(void);
Suite *scrub_suite(void);
Suite *export_suite(void);
Suite *keymap_suite(void);
Suite *clean_suite(void);
Suite *compact_suite(void);

#endif
