/* Percent-encoding of grpc-message. */

#include <check.h>
#include <string.h>

#include "wire/percent.h"
#include "harness.h"


typedef struct {
    const char  *plain;
    size_t       len;
    const char  *encoded;
} pair_t;

static const pair_t  pairs[] = {
    { "", 0, "" },
    { "token expired", 13, "token expired" },
    { "100%", 4, "100%25" },
    { "a\nb\r", 4, "a%0Ab%0D" },
    { "~ \x7f", 3, "~ %7F" },
    { "\xd0\xb4", 2, "%D0%B4" },
    { "\0x", 2, "%00x" },
    { "Session conflict: was=a%2Fb, now=c", 34,
      "Session conflict: was=a%252Fb, now=c" }
};


START_TEST(encode)
{
    size_t         n;
    uint8_t        out[256];
    const pair_t  *p;

    p = &pairs[_i];
    n = ms_percent_encode(out, (const uint8_t *) p->plain, p->len);
    ck_assert_uint_eq(n, strlen(p->encoded));
    ck_assert_mem_eq(out, p->encoded, n);

    n = ms_percent_decode(out, out, n);
    ck_assert_uint_eq(n, p->len);
    ck_assert_mem_eq(out, p->plain, n);
}
END_TEST


/* text that is not an escape stays as it is */
START_TEST(decode_lenient)
{
    size_t   i, n;
    uint8_t  out[64];

    static const char  *same[] = { "%", "%4", "%zz", "a%g0", "100%", "%%" };

    for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        n = ms_percent_decode(out, (const uint8_t *) same[i],
                              strlen(same[i]));
        ck_assert_uint_eq(n, strlen(same[i]));
        ck_assert_mem_eq(out, same[i], n);
    }

    n = ms_percent_decode(out, (const uint8_t *) "%e2%82%AC%%20", 13);
    ck_assert_uint_eq(n, 5);
    ck_assert_mem_eq(out, "\xe2\x82\xac% ", 5);
}
END_TEST


int
main(void)
{
    TCase  *tc;
    Suite  *suite;

    suite = suite_create("percent");
    tc = tcase_create("percent");
    tcase_add_loop_test(tc, encode, 0, sizeof(pairs) / sizeof(pairs[0]));
    tcase_add_test(tc, decode_lenient);
    suite_add_tcase(suite, tc);

    return harness_run_units(suite);
}
