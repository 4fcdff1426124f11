#include <check.h>
#include <stdlib.h>

Suite *catalog_suite(void);
Suite *catalog_check_suite(void);
Suite *catalog_apply_suite(void);
Suite *catalog_codec_suite(void);
Suite *catalog_rows_suite(void);
Suite *catalog_units_suite(void);
Suite *catalog_limit_suite(void);

int main(void)
{
	SRunner *runner = srunner_create(catalog_suite());
	srunner_add_suite(runner, catalog_check_suite());
	srunner_add_suite(runner, catalog_apply_suite());
	srunner_add_suite(runner, catalog_codec_suite());
	srunner_add_suite(runner, catalog_rows_suite());
	srunner_add_suite(runner, catalog_units_suite());
	srunner_add_suite(runner, catalog_limit_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
