#include <check.h>
#include <stdlib.h>

#include "test/unit/wire/suites.h"

int main(void)
{
	SRunner *runner = srunner_create(inflate_suite());
	srunner_add_suite(runner, records_suite());
	srunner_add_suite(runner, records_iter_suite());
	srunner_add_suite(runner, to_kafka_suite());
	srunner_add_suite(runner, kafka_value_suite());
	srunner_add_suite(runner, compact_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
