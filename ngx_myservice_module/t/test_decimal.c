/* Numbers as text. */

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "wire/decimal.h"


START_TEST(decimal)
{
    int       bit;
    size_t    len;
    char      text[32];
    uint8_t   p[MS_DECIMAL_LEN + 1];
    uint64_t  n;

    for (bit = 0; bit < 3 * 64; bit++) {

        /* around each power of two */

        n = ((uint64_t) 1 << bit / 3) + (uint64_t) (bit % 3) - 1;

        p[MS_DECIMAL_LEN] = '!';
        len = (size_t) (ms_decimal_write(p, n) - p);
        snprintf(text, sizeof(text), "%" PRIu64, n);

        ck_assert_uint_eq(len, strlen(text));
        ck_assert_mem_eq(p, text, len);
        ck_assert_uint_eq(p[MS_DECIMAL_LEN], '!');
    }

    ck_assert_uint_eq((size_t) (ms_decimal_write(p, UINT64_MAX) - p),
                      MS_DECIMAL_LEN);
    ck_assert_mem_eq(p, "18446744073709551615", MS_DECIMAL_LEN);
}
END_TEST


int
main(void)
{
    TCase  *tc;
    Suite  *suite;

    suite = suite_create("decimal");
    tc = tcase_create("decimal");
    tcase_add_test(tc, decimal);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
