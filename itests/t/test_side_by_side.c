/* scripts/side-by-side.sh: no job is lost, none outlives its script. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPT(lines)                                                         \
    "timeout -k 1 90 bash -euo pipefail 2>&1 <<'EOF'\n"                       \
    ". scripts/side-by-side.sh\n"                                             \
    lines                                                                     \
    "EOF\n"


static void
says(const char *command, const char *want)
{
    char    text[1024];
    FILE   *out;
    size_t  n;

    out = popen(command, "re");
    ck_assert_ptr_nonnull(out);

    n = fread(text, 1, sizeof(text) - 1, out);
    text[n] = '\0';

    ck_assert_msg(pclose(out) == 0, "%s", text);
    ck_assert_msg(strstr(text, want) != NULL, "%s", text);
}


/* "b" is killed while "collect" runs for "a". */
START_TEST(test_killed)
{
    says(SCRIPT("collect() {\n"
                "    echo \"$1 $2\"\n"
                "    [ $1 = a ] || return 0\n"
                "    touch $work/go\n"
                "    while kill -0 $b; do sleep 0.05; done 2>/dev/null\n"
                "}\n"
                "job b 60 bash -c 'until [ -e $0/go ]; do sleep 0.05; done\n"
                "    kill -KILL $PPID' $work\n"
                "b=$!\n"
                "job a 60 true\n"
                "drain 1\n"
                "end_jobs\n"), "\nb 137\n");
}
END_TEST


/* Before "timeout" has made a group of a job. */
START_TEST(test_just_started)
{
    says(SCRIPT("for i in 1 2 3; do job $i 300 sleep 300; done\n"
                "end_jobs\n"
                "[ ! -e $work ]\n"
                "echo end\n"), "end\n");
}
END_TEST


int
main(void)
{
    int       failed;
    TCase    *tcase;
    Suite    *suite;
    SRunner  *runner;

    suite = suite_create("side_by_side");
    tcase = tcase_create("side_by_side");
    tcase_set_timeout(tcase, 100);
    tcase_add_test(tcase, test_killed);
    tcase_add_test(tcase, test_just_started);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
