#include <stdlib.h>

#include "test/unit/throttle/suites.h"

int main(void)
{
	SRunner *runner = srunner_create(bucket_suite());
	srunner_add_suite(runner, heap_suite());
	srunner_add_suite(runner, lane_suite());
	srunner_add_suite(runner, sched_suite());
	srunner_add_suite(runner, figures_suite());
	srunner_add_suite(runner, calls_suite());
	srunner_add_suite(runner, churn_suite());
	srunner_add_suite(runner, parked_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
