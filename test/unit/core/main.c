#include <stdlib.h>

#include "test/unit/core/core_fix.h"

int main(void)
{
	SRunner *r = srunner_create(address_suite());
	srunner_add_suite(r, grants_suite());
	srunner_add_suite(r, readers_suite());
	srunner_add_suite(r, sender_suite());
	srunner_add_suite(r, producer_id_suite());
	srunner_add_suite(r, pacer_suite());
	srunner_add_suite(r, lanes_suite());
	srunner_add_suite(r, reading_suite());
	srunner_add_suite(r, units_suite());
	srunner_add_suite(r, quota_suite());
	srunner_add_suite(r, scopes_suite());
	srunner_add_suite(r, load_suite());
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
