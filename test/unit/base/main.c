#include <stdlib.h>

#include "suites.h"

int main(void)
{
	SRunner *runner = srunner_create(err_suite());
	srunner_add_suite(runner, mem_suite());
	srunner_add_suite(runner, bytes_suite());
	srunner_add_suite(runner, lock_suite());
	srunner_add_suite(runner, mailbox_suite());
	srunner_add_suite(runner, clock_suite());
	srunner_add_suite(runner, log_suite());
	srunner_add_suite(runner, crypto_suite());
	srunner_add_suite(runner, crc32c_suite());
	srunner_add_suite(runner, keyhash_suite());
	srunner_add_suite(runner, batch_suite());
	srunner_add_suite(runner, budget_suite());
	srunner_add_suite(runner, hist_suite());
	srunner_add_suite(runner, metrics_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
