/* base64url: accepted texts and each kind of refused one. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "jwt/base64url.h"
#include "jwt/t/forge.h"


static const struct {
    const char  *text;
    const char  *value;                 /* NULL: refused */
    size_t       len;
} cases[] = {
    { "", "", 0 },
    { "Zg", "f", 1 },
    { "Zm8", "fo", 2 },
    { "Zm9v", "foo", 3 },
    { "Zm9vYg", "foob", 4 },
    { "Zm9vYmE", "fooba", 5 },
    { "Zm9vYmFy", "foobar", 6 },
    { "AAAA", "\0\0\0", 3 },
    { "____", "\xff\xff\xff", 3 },
    { "--__", "\xfb\xef\xff", 3 },
    /* a lone character */
    { "Z", NULL, 0 },
    { "Zm9vY", NULL, 0 },
    /* unused bits that are not zero; the canonical ones are above */
    { "Zh", NULL, 0 },
    { "Zv", NULL, 0 },
    { "Zm9", NULL, 0 },
    { "Zm-", NULL, 0 },
    /* padding, the other alphabet, white space, controls, 8 bit */
    { "Zg==", NULL, 0 },
    { "Zm8=", NULL, 0 },
    { "++//", NULL, 0 },
    { "Zm9v\n", NULL, 0 },
    { "Zm 9v", NULL, 0 },
    { " Zm9v", NULL, 0 },
    { "Zm.v", NULL, 0 },
    { "Zm9\xe9", NULL, 0 },
    { "Zm9\x7f", NULL, 0 }
};


START_TEST(test_cases)
{
    size_t         len;
    unsigned char  out[MS_BASE64URL_DECODED(32)];

    if (cases[_i].value == NULL) {
        ck_assert_int_eq(ms_base64url_decode(out, &len, cases[_i].text,
                                             strlen(cases[_i].text)), -1);
        return;
    }

    ck_assert_int_eq(ms_base64url_decode(out, &len, cases[_i].text,
                                         strlen(cases[_i].text)), 0);
    ck_assert_uint_eq(len, cases[_i].len);
    ck_assert_mem_eq(out, cases[_i].value, len);
}
END_TEST


START_TEST(test_nul)
{
    size_t         len;
    unsigned char  out[8];

    ck_assert_int_eq(ms_base64url_decode(out, &len, "Zm9v", 4), 0);
    ck_assert_int_eq(ms_base64url_decode(out, &len, "Zm\0v", 4), -1);
}
END_TEST


/* Every length and all byte values, against OpenSSL's encoder. */
START_TEST(test_round_trip)
{
    char           *text;
    size_t          i, n, len;
    unsigned char   data[300], *out;

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (unsigned char) (i * 167 + 13);
    }

    for (n = 0; n <= sizeof(data); n++) {
        text = forge_base64url(data, n);
        len = strlen(text);

        /* of the exact size, so that a sanitizer sees an overrun */
        out = malloc(MS_BASE64URL_DECODED(len));
        ck_assert_int_eq(ms_base64url_decode(out, &len, text, len), 0);
        ck_assert_uint_eq(len, n);
        ck_assert_mem_eq(out, data, n);

        free(out);
        free(text);
    }
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("base64url");
    tcase = tcase_create("base64url");
    tcase_add_loop_test(tcase, test_cases, 0,
                        sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tcase, test_nul);
    tcase_add_test(tcase, test_round_trip);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? 0 : 1;
}
