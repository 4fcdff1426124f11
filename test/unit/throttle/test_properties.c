#include <stdlib.h>

#include "test/unit/throttle/test_properties.h"

int main(void)
{
	SRunner *runner = srunner_create(properties_threads_suite());
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
	/* These have one thread and virtual time: the simulation layer runs them. */
	srunner_add_suite(runner, properties_exact_suite());
	srunner_add_suite(runner, properties_fair_suite());
	srunner_add_suite(runner, properties_nested_suite());
	srunner_add_suite(runner, properties_change_suite());
	srunner_add_suite(runner, properties_refuse_suite());
#endif
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
