#include <stdlib.h>

#include "test/unit/http/suites.h"

int main(void)
{
	SRunner *runner = srunner_create(json_suite());
	srunner_add_suite(runner, head_suite());
	srunner_add_suite(runner, path_suite());
	srunner_add_suite(runner, fields_suite());
	srunner_add_suite(runner, batch_json_suite());
	srunner_add_suite(runner, manage_json_suite());
	srunner_add_suite(runner, routes_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
