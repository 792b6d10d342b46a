/* The main() of a test program. */

#include "authsvc/t/suite.h"

#include <stdlib.h>


int
suite_run(Suite *suite)
{
    int       failed;
    SRunner  *runner;

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
