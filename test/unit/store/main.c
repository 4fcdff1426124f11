#include <check.h>
#include <stdlib.h>

#include "base/log.h"

Suite *dir_suite(void);
Suite *dirs_suite(void);
Suite *volumes_suite(void);
Suite *backup_suite(void);
Suite *backup_dir_suite(void);
Suite *store_suite(void);
Suite *restart_suite(void);
Suite *saved_suite(void);
Suite *concurrent_suite(void);
Suite *producer_suite(void);
Suite *lost_suite(void);
Suite *retention_suite(void);
Suite *store_verify_suite(void);

int main(void)
{
	log_setup(LOG_ERROR, false);
	SRunner *runner = srunner_create(dir_suite());
	srunner_add_suite(runner, dirs_suite());
	srunner_add_suite(runner, volumes_suite());
	srunner_add_suite(runner, backup_suite());
	srunner_add_suite(runner, backup_dir_suite());
	srunner_add_suite(runner, store_suite());
	srunner_add_suite(runner, restart_suite());
	srunner_add_suite(runner, saved_suite());
	srunner_add_suite(runner, concurrent_suite());
	srunner_add_suite(runner, producer_suite());
	srunner_add_suite(runner, lost_suite());
	srunner_add_suite(runner, retention_suite());
	srunner_add_suite(runner, store_verify_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
