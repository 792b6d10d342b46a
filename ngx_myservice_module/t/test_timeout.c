/* "grpc-timeout": every unit, every bound, and what is refused. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "wire/timeout.h"


static const struct {
    const char  *text;
    int64_t      ms;
} cases[] = {
    { "0m", 0 }, { "0H", 0 }, { "1m", 1 }, { "00000001m", 1 },
    { "250m", 250 }, { "99999999m", 99999999 },
    { "1S", 1000 }, { "2M", 120000 }, { "3H", 10800000 },
    { "99999999H", INT64_C(359999996400000) },
    { "0u", 0 }, { "1u", 1 }, { "1000u", 1 }, { "1001u", 2 },
    { "0n", 0 }, { "1n", 1 }, { "1000000n", 1 }, { "1000001n", 2 },
    { "99999999n", 100 },

    { "", -1 }, { "m", -1 }, { "1", -1 }, { "10", -1 }, { "1s", -1 },
    { "1h", -1 }, { "1ms", -1 }, { "-1m", -1 }, { "+1m", -1 },
    { " 1m", -1 }, { "1 m", -1 }, { "1m ", -1 }, { "1.5S", -1 },
    { "0x1m", -1 }, { "100000000m", -1 }, { "000000001m", -1 },
    { "S1", -1 }, { "\xff" "1m", -1 }
};


START_TEST(test_cases)
{
    ck_assert_int_eq(ms_timeout_parse(cases[_i].text, strlen(cases[_i].text)),
                     cases[_i].ms);
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tcase;
    Suite    *suite;
    SRunner  *runner;

    tcase = tcase_create("cases");
    tcase_add_loop_test(tcase, test_cases, 0,
                        (int) (sizeof(cases) / sizeof(cases[0])));

    suite = suite_create("timeout");
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
