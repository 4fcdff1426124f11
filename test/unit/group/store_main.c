#include <stdlib.h>

#include "base/log.h"
#include "test/unit/group/groups_bed.h"

Suite *durable_suite(void);

int main(void)
{
	log_setup(LOG_ERROR, false);
	SRunner *r = srunner_create(durable_suite());
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
