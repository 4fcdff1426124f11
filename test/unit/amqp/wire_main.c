#include <check.h>
#include <stdlib.h>

Suite *codec_suite(void);
Suite *event_suite(void);
Suite *event_out_suite(void);
Suite *tap_in_suite(void);
Suite *tap_out_suite(void);

int main(void)
{
	SRunner *r = srunner_create(codec_suite());
	srunner_add_suite(r, event_suite());
	srunner_add_suite(r, event_out_suite());
	srunner_add_suite(r, tap_in_suite());
	srunner_add_suite(r, tap_out_suite());
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
