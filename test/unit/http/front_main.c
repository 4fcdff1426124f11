/* The front end with a core of the test's own: a runner apart from the pure
 * parts', whose route table has members of its own. */

#include <signal.h>
#include <stdlib.h>

#include "test/unit/http/front_suite.h"

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	SRunner *runner = srunner_create(front_suite());
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
