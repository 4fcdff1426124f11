#include <check.h>
#include <stdlib.h>

#include "base/log.h"

Suite *merge_suite(void);
Suite *propose_suite(void);
Suite *partition_suite(void);
Suite *command_suite(void);
Suite *recover_suite(void);
Suite *saver_suite(void);
Suite *exports_suite(void);
Suite *rows_suite(void);
Suite *producer_suite(void);
Suite *trim_suite(void);
Suite *retention_suite(void);
Suite *volumes_suite(void);

int main(void)
{
	log_setup(LOG_ERROR, false);
	SRunner *runner = srunner_create(merge_suite());
	srunner_add_suite(runner, propose_suite());
	srunner_add_suite(runner, partition_suite());
	srunner_add_suite(runner, command_suite());
	srunner_add_suite(runner, recover_suite());
	srunner_add_suite(runner, saver_suite());
	srunner_add_suite(runner, exports_suite());
	srunner_add_suite(runner, rows_suite());
	srunner_add_suite(runner, producer_suite());
	srunner_add_suite(runner, trim_suite());
	srunner_add_suite(runner, retention_suite());
	srunner_add_suite(runner, volumes_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
