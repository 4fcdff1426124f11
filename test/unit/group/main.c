#include <stdlib.h>

#include "base/log.h"
#include "test/unit/group/machine_bed.h"

int main(void)
{
	log_setup(LOG_ERROR, false);
	SRunner *r = srunner_create(join_suite());
	srunner_add_suite(r, sync_suite());
	srunner_add_suite(r, static_suite());
	srunner_add_suite(r, machine_suite());
	srunner_add_suite(r, rows_suite());
	srunner_add_suite(r, subscription_suite());
	srunner_add_suite(r, property_suite());
	srunner_add_suite(r, groups_suite());
	srunner_add_suite(r, offsets_suite());
	srunner_add_suite(r, faults_suite());
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
