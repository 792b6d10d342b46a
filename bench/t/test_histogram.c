/* Percentiles of the histogram. */

#include <check.h>
#include <stdlib.h>

#include "bench/histogram.h"


static histogram_t  h;


START_TEST(exact)
{
    uint64_t  i;

    for (i = 1; i <= 100; i++) {
        histogram_add(&h, i);
    }

    ck_assert_uint_eq(h.n, 100);
    ck_assert_uint_eq(histogram_quantile(&h, 0.5), 50);
    ck_assert_uint_eq(histogram_quantile(&h, 0.99), 99);
    ck_assert_uint_eq(histogram_quantile(&h, 1), 100);
}
END_TEST


/* of every size a time is reported at most 0.8 % too long, never too short */
START_TEST(precision)
{
    uint64_t  ns, q;

    for (ns = 1; ns < UINT64_C(60000000000); ns += ns / 7 + 1) {
        h = (histogram_t) { 0 };
        histogram_add(&h, ns);
        histogram_add(&h, UINT64_C(70000000000));

        q = histogram_quantile(&h, 0.5);
        ck_assert_uint_ge(q, ns);
        ck_assert_uint_le(q, ns + ns / 128 + 1);
    }
}
END_TEST


START_TEST(limits)
{
    ck_assert_uint_eq(histogram_quantile(&h, 0.99), 0);

    histogram_add(&h, 0);
    ck_assert_uint_eq(histogram_quantile(&h, 0.5), 0);

    histogram_add(&h, UINT64_MAX);
    ck_assert_uint_eq(h.max, UINT64_MAX);
    ck_assert_uint_eq(histogram_quantile(&h, 0.5), 0);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("histogram");
    tcase = tcase_create("histogram");
    tcase_add_test(tcase, exact);
    tcase_add_test(tcase, precision);
    tcase_add_test(tcase, limits);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
