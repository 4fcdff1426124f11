#include <stdlib.h>

#include "source.h"

int main(void)
{
	SRunner *runner = srunner_create(policy_suite());
	srunner_add_suite(runner, path_suite());
	srunner_add_suite(runner, grant_suite());
	srunner_add_suite(runner, sas_suite());
	srunner_add_suite(runner, password_suite());
	srunner_add_suite(runner, connstr_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
