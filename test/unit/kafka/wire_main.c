#include <check.h>
#include <stdlib.h>

Suite *codec_suite(void);
Suite *codec_errors_suite(void);
Suite *frames_suite(void);
Suite *messages_suite(void);

int main(void)
{
	SRunner *r = srunner_create(messages_suite());
	srunner_add_suite(r, codec_suite());
	srunner_add_suite(r, codec_errors_suite());
	srunner_add_suite(r, frames_suite());
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
