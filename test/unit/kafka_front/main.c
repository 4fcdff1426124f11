#include <stdlib.h>

#include "test/unit/kafka_front/data_help.h"
#include "test/unit/kafka_front/faults.h"
#include "test/unit/kafka_front/fix.h"

int main(void)
{
	SRunner *r = srunner_create(conn_suite());
	srunner_add_suite(r, produce_suite());
	srunner_add_suite(r, fetch_suite());
	srunner_add_suite(r, fetch_wait_suite());
	srunner_add_suite(r, list_offsets_suite());
	srunner_add_suite(r, metadata_suite());
	srunner_add_suite(r, kafka_groups_suite());
	srunner_add_suite(r, admin_suite());
	srunner_add_suite(r, settings_suite());
	srunner_add_suite(r, paced_suite());
	srunner_add_suite(r, delete_records_suite());
	srunner_add_suite(r, compacted_suite());
	srunner_add_suite(r, throttle_suite());
	srunner_add_suite(r, mute_suite());
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
