#include <check.h>
#include <stdlib.h>

#include "test/unit/amqp_front/suites.h"

int main(void)
{
	SRunner *runner = srunner_create(sender_suite());
	srunner_add_suite(runner, receiver_suite());
	srunner_add_suite(runner, quotas_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
