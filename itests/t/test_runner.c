/* A scenario that crashes, hangs or checks nothing fails. */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "itests/runner.h"


typedef struct {
    scenario_t   scenario;
    unsigned     checks;
    unsigned     failed;
    unsigned     skipped;
    const char  *text;                  /* in the output */
} case_t;


static const report_t  report = {
    "integrationtests", "scenarios", "nothing was run"
};


static void
run_pass(test_t *test)
{
    check(test, true, "one");
    check(test, true, "two # three \n four");
}


static void
run_fail(test_t *test)
{
    check_t  c;

    check_begin(&c, test, "thing");
    check_equal(&c, "same", "a", "a");
    check_equal(&c, "field", "got <&>", "want");
    check_done(&c);
}


static void
run_skip(test_t *test)
{
    check_skip(test, "no reason", "it");
}


static void
run_crash(test_t *test)
{
    check(test, true, "before");
    raise(SIGABRT);
}


static void
run_exit(test_t *test)
{
    check(test, true, "before");
    exit(3);
}


static void
run_silent(test_t *test)
{
    (void) test;
}


static void
run_hang(test_t *test)
{
    check(test, true, "before");
    pause();
}


static void
run_long_line(test_t *test)
{
    int  i;

    (void) test;

    printf("# ");

    for (i = 0; i < 100000; i++) {
        putchar('x');
    }

    printf("\nok - after\nok - without a newline");
}


static const case_t  cases[] = {
    { { "pass", run_pass, "" }, 2, 0, 0, "ok - two \\# three \\\\x0a four\n" },
    { { "fail", run_fail, "" }, 1, 1, 0,
      "not ok - thing: field: got \"got <&>\", want \"want\"\n" },
    { { "skip", run_skip, "" }, 1, 0, 1, "ok - it # SKIP no reason\n" },
    { { "crash", run_crash, "" }, 2, 1, 0, "not ok - killed by signal 6" },
    { { "exit", run_exit, "" }, 2, 1, 0, "not ok - exit code 3" },
    { { "silent", run_silent, "" }, 1, 1, 0, "not ok - no check was run" },
    { { "hang", run_hang, "" }, 2, 1, 0, "not ok - timed out" },
    { { "long", run_long_line, "" }, 2, 0, 0, "ok - without a newline\n" },
};


START_TEST(test_scenario)
{
    result_t       result;
    settings_t     settings = { 0 };
    const case_t  *c;

    c = &cases[_i];

    /* a hang is found at most this long after the limit */
    settings.timeout = -4500;

    if (c->scenario.run != run_hang) {
        settings.timeout = 10000;
    }

    runner_run(&c->scenario, &settings, &result);

    ck_assert_str_eq(result.name, c->scenario.name);
    ck_assert_uint_eq(result.checks, c->checks);
    ck_assert_uint_eq(result.failed, c->failed);
    ck_assert_uint_eq(result.skipped, c->skipped);
    ck_assert_msg(strstr(result.output, c->text) != NULL, "\"%s\" not in %s",
                  c->text, result.output);

    free(result.output);
}
END_TEST


START_TEST(test_junit)
{
    char        text[4096], path[] = "/tmp/test_runner.XXXXXX";
    FILE       *in;
    size_t      i, n;
    result_t    results[3];
    settings_t  settings = { 0 };

    settings.timeout = 10000;

    for (i = 0; i < 3; i++) {
        runner_run(&cases[i].scenario, &settings, &results[i]);
        results[i].ms = 1500;
    }

    close(mkstemp(path));
    ck_assert_int_eq(report_junit(&report, path, results, 3), 0);

    in = fopen(path, "r");
    ck_assert_ptr_nonnull(in);
    n = fread(text, 1, sizeof(text) - 1, in);
    text[n] = '\0';
    fclose(in);
    unlink(path);

    ck_assert_ptr_nonnull(strstr(text, "tests=\"3\" failures=\"1\" "
                                 "errors=\"0\" skipped=\"1\" "
                                 "time=\"4.500\""));
    ck_assert_ptr_nonnull(strstr(text, "name=\"fail\" time=\"1.500\">\n"
                                 "<failure message=\"1 of 1 checks failed\">"
                                 "not ok - thing: field: got \""
                                 "got &lt;&amp;&gt;\""));
    ck_assert_ptr_nonnull(strstr(text, "<skipped/>"));

    ck_assert_int_eq(report_junit(&report, "/nonexistent/file",
                                  results, 3), -1);

    for (i = 0; i < 3; i++) {
        free(results[i].output);
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

    suite = suite_create("runner");
    tcase = tcase_create("scenarios");
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_scenario, 0,
                        (int) (sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tcase, test_junit);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
