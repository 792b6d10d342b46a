/*
 * build/backendcheck fails an instance with one fault in the one duty that has
 * it, passes one without, and says what is not offered.  The program itself is
 * the instance, too: "test_backendcheck fake FAULT".
 *
 * A group of cases runs at the same time: they wait most of theirs.
 */

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backendcheck/t/fake.h"
#include "backendcheck/t/job.h"


#define GROUP      22
#define TTL        "500ms"
#define LONG       "2s"                 /* for a machine that is slow now */
#define ARGS_MAX   24

/* More than that the program runs for levels 0 to 2. */
enum {
    LEAVE   = 1,                        /* --pid */
    RELEASE = 2,                        /* --release */
    METHOD  = 4,                        /* --method, no reflection */
    COMMAND = 8                         /* --leave */
};

typedef struct {
    const char  *fault;
    const char  *failed;                /* the one duty that is, or "" */
    int          reached;
    int          options;
    const char  *level;                 /* --level, or NULL */
} case_t;

typedef struct {
    const case_t  *wanted;
    job_t          instance;
    job_t          check;
} run_t;


static const case_t  cases[] = {
    /* nothing is wrong */
    { "", "", 2, 0, NULL },
    { "", "", 3, LEAVE, "3" },
    { "", "", 3, LEAVE|RELEASE, "3" },
    { "", "", 3, COMMAND, "3" },
    { "refused-by-text", "", 3, LEAVE, NULL },
    { "release-exits", "", 2, RELEASE, NULL },
    { "no-reflection", "", 2, METHOD, "2" },

    /* less is offered */
    { "level-0", "", 0, 0, NULL },
    { "level-0", "", 0, LEAVE, "0" },
    { "level-0", "stranger", 0, 0, "1" },
    { "level-1", "", 1, 0, NULL },
    { "level-1", "", 1, 0, "1" },
    { "health-none", "", 1, 0, "1" },
    { "epoch-none", "", 0, 0, NULL },
    { "epoch-none", "epoch", 0, 0, "1" },
    { "tells-no-epoch", "", 1, 0, NULL },
    { "elsewhere-ignored", "", 1, 0, NULL },
    { "elsewhere-ignored", "elsewhere", 1, 0, "2" },
    { "exits-at-once", "", 2, LEAVE, NULL },
    { "exits-at-once", "leave_tells", 2, LEAVE, "3" },

    /* level 0 */
    { "not-serving", "health", -1, 0, NULL },
    { "health-needs-session", "health", -1, 0, NULL },
    { "all-fail", "calls", -1, 0, NULL },
    { "no-reflection", "calls", -1, 0, NULL },

    /* level 1 */
    { "owner-once", "owner", 0, 0, NULL },
    { "no-owner", "stranger", 0, 0, NULL },
    { "wrong-owner", "stranger", 0, 0, NULL },
    { "owner-initial", "stranger", 0, 0, NULL },
    { "refused-by-text-code", "stranger", 0, 0, NULL },
    { "message-first", "stranger", 0, 0, NULL },
    { "streams-open", "stranger", 0, 0, NULL },
    { "never-forgets", "idle_end", 0, 0, NULL },
    { "forgets-early", "idle_end", 0, 0, NULL },
    { "cancel-leaks", "idle_end", 0, 0, NULL },
    { "no-renewal", "idle_renewed", 0, 0, NULL },
    { "first-ttl", "idle_last", 0, 0, NULL },
    { "stranger-renews", "stranger_harmless", 0, 0, NULL },
    { "owner-fails-after", "stranger_harmless", 0, 0, NULL },
    { "busy-forgets", "busy_stays", 0, 0, NULL },
    { "busy-forgets,no-reflection", "busy_stays", 0, METHOD, NULL },
    { "ends-ignored", "session_ends", 0, 0, NULL },
    { "ends-early", "session_ends", 0, 0, NULL },
    { "not-serving-busy", "health_stays", 0, 0, NULL },
    { "cuts-id", "long_id", 0, 0, NULL },
    { "refuses-long", "long_id", 0, 0, NULL },
    { "none-served", "without_session", 0, 0, NULL },
    { "none-takes", "without_session", 0, 0, NULL },
    { "epoch-same", "epoch", 0, 0, NULL },
    { "epoch-seen", "epoch", 0, 0, NULL },
    { "epoch-wrong", "epoch", 0, 0, NULL },
    { "epoch-no-trailer", "epoch", 0, 0, NULL },
    { "epoch-no-owner", "epoch", 0, 0, NULL },
    { "epoch-ends", "epoch", 0, 0, NULL },

    /* level 2 */
    { "calls-constant", "tells_calls", 1, 0, NULL },
    { "calls-word", "tells_calls", 1, 0, NULL },
    { "calls-count-check", "tells_calls", 1, 0, NULL },
    { "names-after-end", "tells_session", 1, 0, NULL },
    { "names-other", "tells_session", 1, 0, NULL },
    { "subject-wrong", "tells_session", 1, 0, NULL },
    { "left-constant", "tells_left", 1, 0, NULL },
    { "left-seconds", "tells_left", 1, 0, NULL },
    { "left-long", "tells_left", 1, 0, NULL },
    { "drains-always", "tells_no_drain", 1, 0, NULL },
    { "instance-changes", "tells_instance", 1, 0, NULL },
    { "instance-blank", "tells_instance", 1, 0, NULL },
    { "instance-long", "tells_instance", 1, 0, NULL },
    { "elsewhere-any", "elsewhere", 1, 0, NULL },
    { "elsewhere-busy", "elsewhere", 1, 0, NULL },
    { "elsewhere-late", "elsewhere", 1, 0, NULL },
    { "tells-old-epoch", "tells_epoch", 1, 0, NULL },

    /* level 3 */
    { "release-fails", "release", 2, LEAVE|RELEASE, NULL },
    { "release-keeps", "release", 2, LEAVE|RELEASE, NULL },
    { "drain-word", "leave_tells", 2, LEAVE, NULL },
    { "drain-names-nobody", "leave_tells", 2, LEAVE, NULL },
    { "drain-serves-nobody", "leave_serves", 2, LEAVE, NULL },
    { "drain-refuses-owner-less", "leave_refuses", 2, LEAVE, NULL },
    { "end-without-trailer", "leave_ends", 2, LEAVE, NULL },
    { "end-serves", "leave_ends", 2, LEAVE, NULL },
    { "end-drains", "leave_ends", 2, LEAVE, NULL },
    { "never-exits", "leave_ends", 2, LEAVE, NULL },
    { "never-exits", "leave_ends", 2, COMMAND, NULL },
};

#define CASES  (sizeof(cases) / sizeof(cases[0]))


static const char *
program(void)
{
    static char  path[1024];
    const char  *build;

    build = getenv("BUILD");
    snprintf(path, sizeof(path), "%s/backendcheck",
             build != NULL ? build : "build");

    return path;
}


static void
run_start(run_t *run, const case_t *wanted, const char *ttl)
{
    int          n;
    char         address[64], pid[16], command[32];
    const char  *fake[] = { "/proc/self/exe", "fake", wanted->fault, NULL };
    const char  *argv[ARGS_MAX] = {
        program(), "--session-ttl", ttl, "--timeout", "2s"
    };

    run->wanted = wanted;
    job_start(&run->instance, fake);
    job_expect(&run->instance, "listening on ", address, sizeof(address));
    snprintf(pid, sizeof(pid), "%d", (int) run->instance.pid);

    n = 5;

    if (wanted->level != NULL) {
        argv[n++] = "--level";
        argv[n++] = wanted->level;
    }

    if (wanted->options & LEAVE) {
        argv[n++] = "--pid";
        argv[n++] = pid;
    }

    if (wanted->options & COMMAND) {
        snprintf(command, sizeof(command), "kill -TERM %s", pid);
        argv[n++] = "--leave";
        argv[n++] = command;
    }

    if (wanted->options & RELEASE) {
        argv[n++] = "--release";
        argv[n++] = FAKE_RELEASE;
    }

    if (wanted->options & METHOD) {
        argv[n++] = "--method";
        argv[n++] = "/fake.Fake/Missing,stream:/fake.Fake/Watch,"
                    "bidi:/fake.Fake/Talk,/fake.Fake/Call";
    }

    argv[n++] = address;
    argv[n] = NULL;

    job_start(&run->check, argv);
}


/* The names of the duties that failed, each with a space. */

static void
failed_duties(const char *output, char *out, size_t size)
{
    char         name[64];
    size_t       used;
    const char  *line;

    used = 0;
    out[0] = '\0';

    for (line = output; line != NULL && *line != '\0';
         line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL)
    {
        if (sscanf(line, "not ok %*u - %63s", name) == 1 && used < size) {
            used += (size_t) snprintf(out + used, size - used, "%s ", name);
        }
    }
}


/* False: said why. */

static bool
run_end(run_t *run)
{
    int            code;
    bool           right;
    char           failed[512], want[128], reached[64];
    const case_t  *wanted;

    wanted = run->wanted;
    code = job_finish(&run->check);
    job_kill(&run->instance);

    failed_duties(run->check.output, failed, sizeof(failed));
    snprintf(want, sizeof(want), "%s%s", wanted->failed,
             wanted->failed[0] != '\0' ? " " : "");

    if (wanted->reached == -1) {
        snprintf(reached, sizeof(reached), "does not reach level 0\n");
    } else {
        snprintf(reached, sizeof(reached), "reaches level %d", wanted->reached);
    }

    right = strcmp(failed, want) == 0
            && strstr(run->check.output, reached) != NULL
            && code == (wanted->failed[0] != '\0');

    if (!right) {
        printf("%sfault \"%s\", level %s: failed: \"%s\", want \"%s\", exit "
               "code %d; want %s\n", run->check.output, wanted->fault,
               wanted->level != NULL ? wanted->level : "-", failed, want,
               code, reached);
        fflush(stdout);
    }

    return right;
}


/* What is wrong only when the machine is slow is right with a longer time. */

START_TEST(test_faults)
{
    size_t        i, n, wrong;
    static run_t  runs[GROUP];

    n = CASES - (size_t) _i * GROUP;
    n = n > GROUP ? GROUP : n;

    for (i = 0; i < n; i++) {
        run_start(&runs[i], &cases[(size_t) _i * GROUP + i], TTL);
    }

    wrong = 0;

    for (i = 0; i < n; i++) {
        if (!run_end(&runs[i])) {
            run_start(&runs[i], runs[i].wanted, LONG);
            wrong += !run_end(&runs[i]);
        }
    }

    ck_assert_msg(wrong == 0, "%zu cases are wrong, see above", wrong);
}
END_TEST


/* What somebody else has is left alone. */

START_TEST(test_occupied)
{
    char          address[64], first[64];
    static job_t  instance, check;
    const char   *fake[] = { "/proc/self/exe", "fake", "", NULL };
    const char   *argv[] = {
        program(), "--session-ttl", "60s", "--level", "0", address, NULL
    };

    job_start(&instance, fake);
    job_expect(&instance, "listening on ", address, sizeof(address));

    /* its session lasts for a minute */
    job_start(&check, argv);
    ck_assert_int_eq(job_finish(&check), 0);

    argv[4] = "1";
    job_start(&check, argv);
    ck_assert_int_eq(job_finish(&check), 1);
    job_kill(&instance);

    failed_duties(check.output, first, sizeof(first));
    ck_assert_str_eq(first, "calls ");
    ck_assert_ptr_nonnull(strstr(check.output, "somebody else's session has "
                                 "the instance"));
}
END_TEST


/* A failed duty says what was sent, what came and what the contract says. */

START_TEST(test_words)
{
    char          address[64];
    size_t        i;
    static job_t  instance, check;
    const char   *fake[] = { "/proc/self/exe", "fake", "no-owner", NULL };
    const char   *argv[] = { program(), "--level=1", address, NULL };
    const char   *texts[] = {
        "not ok - session \"backendcheck-", "another one is refused: sent "
        "/fake.Fake/Call session-id \"backendcheck-", "session-ttl 1000; got 9 "
        "FAILED_PRECONDITION; the contract says: a call of another session "
        "gets any status but OK", "trailer session-owner", "\nnot ok 4 - "
        "stranger #", "not checked: it needs stranger, which has not passed",
        "\n3 passed, 1 failed, 10 skipped\n"
    };

    job_start(&instance, fake);
    job_expect(&instance, "listening on ", address, sizeof(address));
    job_start(&check, argv);
    ck_assert_int_eq(job_finish(&check), 1);
    job_kill(&instance);

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        ck_assert_msg(strstr(check.output, texts[i]) != NULL,
                      "\"%s\" is not in:\n%s", texts[i], check.output);
    }
}
END_TEST


/* Nobody is there; bad arguments. */

START_TEST(test_usage)
{
    size_t        i;
    static job_t  check;

    static const struct {
        const char  *argv[6];
        int          code;
        const char  *text;
    } rows[] = {
        { { "", "--version" }, 0, "backendcheck " },
        { { "", "--help" }, 0, "--session-ttl" },
        { { "" }, 2, "name one instance" },
        { { "", "a:1", "b:1" }, 2, "name one instance" },
        { { "", "--level=4", "a:1" }, 2, "--level" },
        { { "", "--level=3", "a:1" }, 2, "needs --pid or --leave" },
        { { "", "--pid=1", "--leave=true", "a:1" }, 2, "give one of them" },
        { { "", "--method=/a.B/C,Call", "a:1" }, 2, "bad value \"Call\"" },
        { { "", "--release=/a.B", "a:1" }, 2, "bad value \"/a.B\"" },
        { { "", "--release=/a.B/C,/a.B/D", "a:1" }, 2, "must be one" },
        { { "", "--method=bidi:/a", "a:1" }, 2, "bad value \"/a\"" },
        { { "", "--tls-ca=x", "a:1" }, 2, "need --tls" },
        { { "", "127.0.0.1:1" }, 1, "\nnot ok 1 - health" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char  *argv[6];

        memcpy(argv, rows[i].argv, sizeof(argv));
        argv[0] = program();

        job_start(&check, argv);
        ck_assert_int_eq(job_finish(&check), rows[i].code);
        ck_assert_msg(strstr(check.output, rows[i].text) != NULL,
                      "row %zu: \"%s\" is not in:\n%s", i, rows[i].text,
                      check.output);
    }
}
END_TEST


/* A server that knows nothing of sessions, in another language. */

START_TEST(test_plain)
{
    char          address[64];
    static job_t  instance, check;
    const char   *python = getenv("PYTHON");
    const char   *plain[] = {
        python != NULL ? python : "/usr/bin/python3", "-B",
        "backendcheck/t/plain.py", NULL
    };
    const char   *argv[] = {
        program(), "--method", "/plain.Plain/Call,stream:/plain.Plain/Watch,"
        "bidi:/plain.Plain/Talk", address, NULL
    };

    job_start(&instance, plain);
    job_expect(&instance, "listening on ", address, sizeof(address));
    job_start(&check, argv);
    ck_assert_int_eq(job_finish(&check), 0);
    job_kill(&instance);

    ck_assert_ptr_nonnull(strstr(check.output, "\n# the instance reaches level "
                                 "0\n"));
    ck_assert_ptr_nonnull(strstr(check.output, "\n3 passed, 0 failed, 18 "
                                 "skipped\n"));
    ck_assert_ptr_nonnull(strstr(check.output, "bidirectional stream: "
                                 "/plain.Plain/Talk\n"));
}
END_TEST


/* The reference instance over TLS. */

START_TEST(test_tls)
{
    char          address[64], port[16], host[64], dir[] =
        "/tmp/test_backendcheck.XXXXXX";
    char          make[128], cert[64], key[64], ca[64], path[1024];
    char          own[64], own_key[64];
    static job_t  instance, check;
    const char   *build = getenv("BUILD");
    const char   *service[] = {
        path, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
        "--tls-client-ca", ca, NULL
    };
    const char   *argv[] = {
        program(), "--level", "0", "--tls", "--tls-ca", ca, "--tls-cert", own,
        "--tls-key", own_key, host, NULL
    };
    const char   *plain[] = { program(), "--level", "0", host, NULL };

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(make, sizeof(make), "scripts/dev-certs %s >/dev/null", dir);
    ck_assert_int_eq(system(make), 0);
    snprintf(cert, sizeof(cert), "%s/server.crt", dir);
    snprintf(key, sizeof(key), "%s/server.key", dir);
    snprintf(own, sizeof(own), "%s/client.crt", dir);
    snprintf(own_key, sizeof(own_key), "%s/client.key", dir);
    snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
    snprintf(path, sizeof(path), "%s/myservice",
             build != NULL ? build : "build");

    job_start(&instance, service);
    job_expect(&instance, "listening on ", address, sizeof(address));
    snprintf(port, sizeof(port), "%s", strrchr(address, ':'));
    snprintf(host, sizeof(host), "localhost%s", port);

    job_start(&check, argv);
    ck_assert_int_eq(job_finish(&check), 0);
    job_start(&check, plain);
    ck_assert_int_eq(job_finish(&check), 1);
    job_kill(&instance);

    snprintf(make, sizeof(make), "rm -r %s", dir);
    ck_assert_int_eq(system(make), 0);
}
END_TEST


/* The reference instance. */

START_TEST(test_myservice)
{
    char          address[64], path[1024], pid[16], junit[] =
        "/tmp/test_backendcheck.XXXXXX";
    FILE         *in;
    size_t        n;
    static char   text[262144];
    static job_t  instance, check;
    const char   *bad;
    const char   *build = getenv("BUILD");
    const char   *service[] = {
        path, "--listen", "127.0.0.1:0", "--session-grace", "1m", NULL
    };
    const char   *argv[] = {
        program(), "--session-ttl", TTL, "--junit", junit, "--level", "3",
        "--pid", pid, address, NULL
    };

    snprintf(path, sizeof(path), "%s/myservice",
             build != NULL ? build : "build");
    close(mkstemp(junit));

    job_start(&instance, service);
    job_expect(&instance, "listening on ", address, sizeof(address));
    snprintf(pid, sizeof(pid), "%d", (int) instance.pid);

    job_start(&check, argv);
    if (job_finish(&check) != 0) {
        bad = strstr(check.output, "not ok");
        ck_abort_msg("%.2000s", bad != NULL ? bad : check.output);
    }

    job_kill(&instance);

    in = fopen(junit, "r");
    ck_assert_ptr_nonnull(in);
    n = fread(text, 1, sizeof(text) - 1, in);
    text[n] = '\0';
    fclose(in);
    unlink(junit);

    ck_assert_ptr_nonnull(strstr(text, "<testsuite name=\"backendcheck\" "
                                 "tests=\"25\" failures=\"0\""));
}
END_TEST


int
main(int argc, char **argv)
{
    int       failed;
    Suite    *suite;
    TCase    *tcase;
    SRunner  *runner;

    if (argc == 3 && strcmp(argv[1], "fake") == 0) {
        return fake_main(argv[2]);
    }

    suite = suite_create("backendcheck");
    tcase = tcase_create("instances");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_faults, 0,
                        (int) ((CASES + GROUP - 1) / GROUP));
    tcase_add_test(tcase, test_occupied);
    tcase_add_test(tcase, test_words);
    tcase_add_test(tcase, test_usage);
    tcase_add_test(tcase, test_plain);
    tcase_add_test(tcase, test_tls);
    tcase_add_test(tcase, test_myservice);
    suite_add_tcase(suite, tcase);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
