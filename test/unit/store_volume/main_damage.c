/* What is damaged on the disk: found, named, never served. Beside the other tests of the
 * folder, since each of these opens a volume hundreds of times. */

#include <stdlib.h>

#include "suites.h"

int main(void)
{
	SRunner *runner = srunner_create(damage_suite());
	srunner_add_suite(runner, verify_suite());
	srunner_add_suite(runner, scrub_suite());
	srunner_add_suite(runner, state_suite());
	srunner_add_suite(runner, export_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
