/*
 * The form of systemd's EnvironmentFile=: what is taken, what is refused.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/env_file.h"


static const struct {
    const char  *text;
    const char  *want;                  /* "line:name=value|" of each */
} cases[] = {
    { "", "" },
    { "A=1", "1:A=1|" },
    { "A=1\nB=2\n", "1:A=1|2:B=2|" },
    { "\n \n# A=1\n  ; B=2\n\t#\nC=3", "6:C=3|" },
    { "A=\nB=2", "1:A=|2:B=2|" },
    { "  A =  1 \t\r\n", "1:A=1|" },
    { "A_b1=x y  z \r\n", "1:A_b1=x y  z|" },
    { "A=1 # not a comment\n", "1:A=1 # not a comment|" },
    { "A==b=c", "1:A==b=c|" },
    { "A=x\"y\"'z'", "1:A=x\"y\"'z'|" },
    { "A=a\\\nb \\\n c\nB=2", "1:A=ab  c|4:B=2|" },
    { "A=a\\\\b\\\"c\\ \\x", "1:A=a\\b\"c x|" },
    { "A=a\\ \nB=2", "1:A=a |2:B=2|" },
    { "A=a\\", "1:A=a\\|" },
    { "A=a\\\r\nB=2\r\n", "1:A=aB=2|" },
    { "A=a\\\r\n\r\nB=2\r\n", "1:A=a|3:B=2|" },
    { "A=a\\\r\nb \\\r\n c\r\nB=2", "1:A=ab  c|4:B=2|" },
    { "A=a\\\r\n", "1:A=a|" },
    { "A=\"a\\\r\nb\"\r\nB=2", "1:A=ab|3:B=2|" },
    { "A='a\\\r\nb'\nB=2", "1:A=a\\\r\nb|3:B=2|" },
    { "A=\" x # y \" \nB=2", "1:A= x # y |2:B=2|" },
    { "A=\"\\\"\\\\\\`\\$\\x\"", "1:A=\"\\`$\\x|" },
    { "A=\"a\\\nb\nc\"\nB=2", "1:A=ab\nc|4:B=2|" },
    { "A='a\\\"\nb'\n\nB=2", "1:A=a\\\"\nb|4:B=2|" },
    { "A=''", "1:A=|" },
    { "A=\"a'b\"", "1:A=a'b|" },
    { "A", "1:! expected NAME=value" },
    { "A=1\n\nB C=1", "1:A=1|3:! expected NAME=value" },
    { "export A=1", "1:! expected NAME=value" },
    { "=1", "1:! expected NAME=value" },
    { "A-B=1", "1:! expected NAME=value" },
    { "\xef\xbb\xbf" "A=1", "1:! expected NAME=value" },
    { "A='x\nB=1\n", "1:! the quote is not closed" },
    { "A=1\nB=\"\\\"", "1:A=1|2:! the quote is not closed" },
    { "A=\"x\"y", "1:! text after the closing quote" },
    { "A='x' # y", "1:! text after the closing quote" }
};


START_TEST(test_case)
{
    int         rc;
    char        text[256], got[512], *name, *value;
    size_t      len;
    env_file_t  file = { .pos = text, .next = 1 };

    snprintf(text, sizeof(text), "%s", cases[_i].text);
    len = 0;
    got[0] = '\0';

    while ((rc = env_file_next(&file, &name, &value)) == 1) {
        len += (size_t) snprintf(got + len, sizeof(got) - len, "%u:%s=%s|",
                                 file.line, name, value);
    }

    if (rc == -1) {
        snprintf(got + len, sizeof(got) - len, "%u:! %s", file.line,
                 file.error);
    }

    ck_assert_str_eq(got, cases[_i].want);
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    suite = suite_create("env_file");
    tcase = tcase_create("env_file");
    tcase_add_loop_test(tcase, test_case, 0, sizeof(cases) / sizeof(cases[0]));
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
