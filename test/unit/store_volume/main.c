#include <stdlib.h>

#include "suites.h"

int main(void)
{
	SRunner *runner = srunner_create(record_suite());
	srunner_add_suite(runner, index_suite());
	srunner_add_suite(runner, manifest_suite());
	srunner_add_suite(runner, idx_suite());
	srunner_add_suite(runner, volume_suite());
	srunner_add_suite(runner, seek_suite());
	srunner_add_suite(runner, roll_suite());
	srunner_add_suite(runner, space_suite());
	srunner_add_suite(runner, replace_suite());
	srunner_add_suite(runner, recover_suite());
	srunner_add_suite(runner, kill_suite());
	srunner_add_suite(runner, fault_suite());
	srunner_add_suite(runner, concurrent_suite());
	srunner_add_suite(runner, keymap_suite());
	srunner_add_suite(runner, clean_suite());
	srunner_add_suite(runner, compact_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
