#include <check.h>
#include <stdlib.h>

Suite *config_suite(void);
Suite *config_file_suite(void);
Suite *units_suite(void);

int main(void)
{
	SRunner *sr = srunner_create(config_suite());
	srunner_add_suite(sr, config_file_suite());
	srunner_add_suite(sr, units_suite());
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
