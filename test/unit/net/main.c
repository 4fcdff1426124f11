#include <stdlib.h>

#include "fixture.h"

int main(void)
{
	log_setup(LOG_ERROR, false);
	SRunner *runner = srunner_create(wheel_suite());
	srunner_add_suite(runner, queue_suite());
	srunner_add_suite(runner, stream_suite());
	srunner_add_suite(runner, limits_suite());
	srunner_add_suite(runner, tls_suite());
	srunner_add_suite(runner, devcert_suite());
	srunner_add_suite(runner, dial_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
