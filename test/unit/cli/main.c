#include <check.h>
#include <stdlib.h>

Suite *args_suite(void);
Suite *client_suite(void);
Suite *event_json_suite(void);
Suite *frame_suite(void);
Suite *http_suite(void);
Suite *input_suite(void);
Suite *kafka_client_suite(void);
Suite *target_suite(void);
Suite *units_view_suite(void);

int main(void)
{
	SRunner *sr = srunner_create(args_suite());
	srunner_add_suite(sr, frame_suite());
	srunner_add_suite(sr, client_suite());
	srunner_add_suite(sr, event_json_suite());
	srunner_add_suite(sr, http_suite());
	srunner_add_suite(sr, input_suite());
	srunner_add_suite(sr, kafka_client_suite());
	srunner_add_suite(sr, target_suite());
	srunner_add_suite(sr, units_view_suite());
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
