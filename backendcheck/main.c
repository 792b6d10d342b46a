/*
 * Plays the gateway against one instance and says which duties of
 * docs/backend.md it meets: arguments, the run, the level that is reached.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backendcheck/duty.h"
#include "backendcheck/methods.h"
#include "itests/report.h"
#include "itests/runner.h"
#include "itests/settings.h"
#include "rpc/server.h"
#include "version.h"


#define EXIT_USAGE    2

#define LEVELS        4
#define LEVEL_LEAVES  3

/* Of one duty, ms; what it waits for is a multiple of --session-ttl. */
#define DUTY_TIMEOUT  30000
#define DUTY_TTLS     60


static void main_help(const option_t *table);
static int main_usage(const plan_t *plan, int argc, char **argv, int first);
static int main_methods(const plan_t *plan);
static int main_run(const settings_t *settings, const plan_t *plan,
    const char *junit);
static bool main_selected(const plan_t *plan, const duty_t *duty);
static void main_duty(const settings_t *settings, const plan_t *plan,
    size_t duty, result_t *result);
static int main_levels(const plan_t *plan);
static bool main_level(const board_t *board, int level);


static const report_t  report = {
    "backendcheck", "duties", "not offered or not checked"
};


int
main(int argc, char **argv)
{
    int               first, code, tls;
    char              error[512];
    plan_t            plan;
    const char       *junit;
    settings_t        settings;
    rpc_tls_files_t   files;

    const option_t  options[] = {
        { "level N", "BACKENDCHECK_LEVEL", OPTION_NUMBER, &plan.level, "-1",
          -1, LEVEL_LEAVES, "fail unless all duties up to this level are met; "
          "-1: say which level it reaches, fail if a duty is done wrong" },
        { "method LIST", "BACKENDCHECK_METHOD", OPTION_STRING, &plan.methods,
          NULL, 0, 0, "methods to call with an empty message: "
          "/p.Service/Method,stream:/p.Service/Watch,bidi:/p.Service/Talk; "
          "none: by server reflection" },
        { "release METHOD", "BACKENDCHECK_RELEASE", OPTION_STRING,
          &plan.release, NULL, 0, 0, "method that ends the session; the "
          "instance may exit then, and level 3 cannot be checked" },
        { "pid PID", "BACKENDCHECK_PID", OPTION_NUMBER, &plan.pid, "0", 0,
          INT32_MAX, "process of the instance, which gets SIGTERM for level 3; "
          "0: none" },
        { "leave COMMAND", "BACKENDCHECK_LEAVE", OPTION_STRING, &plan.leave,
          NULL, 0, 0, "shell command that sends SIGTERM to it and does not "
          "wait, instead of --pid" },
        { "session-ttl TIME", "BACKENDCHECK_SESSION_TTL", OPTION_TIME,
          &plan.ttl, "1s", 200, 60 * 1000, "the idle time that is tried; "
          "longer for a slow machine" },
        { "timeout TIME", "BACKENDCHECK_TIMEOUT", OPTION_TIME, &plan.timeout,
          "5s", 100, 60 * 1000, "of one call; an instance that leaves may "
          "take twice as long to exit" },
        SETTINGS_TLS_OPTIONS("BACKENDCHECK", &settings, &tls, &files),
        { "junit FILE", "BACKENDCHECK_JUNIT", OPTION_STRING, &junit, NULL, 0,
          0, "the results in JUnit's XML" },
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    memset(&plan, 0, sizeof(plan));
    memset(&settings, 0, sizeof(settings));
    memset(&files, 0, sizeof(files));
    junit = NULL;

    first = options_parse(options, argc, argv, error, sizeof(error));

    if (first == OPTIONS_ERROR) {
        fprintf(stderr, "backendcheck: %s\n", error);
        return EXIT_USAGE;
    }

    if (first == OPTIONS_HELP) {
        main_help(options);
        return EXIT_SUCCESS;
    }

    if (first == OPTIONS_VERSION) {
        printf("backendcheck " MS_VERSION "\n");
        return EXIT_SUCCESS;
    }

    if (main_usage(&plan, argc, argv, first) == -1
        || settings_tls(&settings, report.program, tls, &files) == -1)
    {
        return EXIT_USAGE;
    }

    settings.gateway = argv[first];
    settings.timeout = DUTY_TIMEOUT + DUTY_TTLS * plan.ttl;
    settings.data = &plan;

    signal(SIGPIPE, SIG_IGN);

    /* resolve names as other programs of this host do; c-ares also leaks */
    setenv("GRPC_DNS_RESOLVER", "native", 0);

    code = main_run(&settings, &plan, junit);

    rpc_tls_free(settings.tls);

    return code;
}


static void
main_help(const option_t *table)
{
    printf("usage: backendcheck [option...] host:port\n\n"
           "Plays the gateway against one instance that nobody else uses, and "
           "says for each\nduty of docs/backend.md whether it is met. The "
           "output is TAP.\n\n");
    options_help(table, stdout);
}


static int
main_usage(const plan_t *plan, int argc, char **argv, int first)
{
    if (argc - first != 1 || argv[first][0] == '\0') {
        fprintf(stderr, "backendcheck: name one instance: host:port or "
                "unix:/path; --help shows the options\n");
        return -1;
    }

    if (plan->pid != 0 && plan->leave != NULL) {
        fprintf(stderr, "backendcheck: --pid and --leave: give one of them\n");
        return -1;
    }

    if (plan->level == LEVEL_LEAVES && plan->pid == 0 && plan->leave == NULL) {
        fprintf(stderr, "backendcheck: --level 3 needs --pid or --leave: it "
                "makes the instance leave\n");
        return -1;
    }

    return main_methods(plan);
}


static int
main_methods(const plan_t *plan)
{
    target_t     target;
    const char  *p;

    for (p = plan->methods; p != NULL && *p != '\0'; /* void */ ) {
        if (method_parse(&p, &target) == -1) {
            fprintf(stderr, "backendcheck: --method: bad value \"%s\": must be "
                    "/package.Service/Method of at most %d bytes, perhaps with "
                    "stream: or bidi: before it\n", target.path,
                    PATH_LENGTH - 1);
            return -1;
        }
    }

    p = plan->release;

    if (p != NULL
        && (method_parse(&p, &target) == -1 || *p != '\0'
            || target.kind != KIND_UNKNOWN))
    {
        fprintf(stderr, "backendcheck: --release: bad value \"%s\": must be "
                "one /package.Service/Method of at most %d bytes\n",
                plan->release, PATH_LENGTH - 1);
        return -1;
    }

    return 0;
}


static int
main_run(const settings_t *settings, const plan_t *given, const char *junit)
{
    int         code;
    size_t      i, n;
    plan_t     *plan;
    result_t    results[DUTIES_MAX];
    settings_t  own;

    plan = mmap(NULL, sizeof(plan_t) + sizeof(board_t), PROT_READ|PROT_WRITE,
                MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    if (plan == MAP_FAILED) {
        fprintf(stderr, "backendcheck: no memory: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }

    *plan = *given;
    plan->board = (board_t *) (plan + 1);
    plan->run = (unsigned) getpid() * 2654435761u ^ (unsigned) rpc_now();

    own = *settings;
    own.data = plan;

    for (n = 0, i = 0; duties[i].name != NULL; i++) {
        n += main_selected(plan, &duties[i]);
    }

    report_begin(n);

    for (n = 0, i = 0; duties[i].name != NULL; i++) {
        if (main_selected(plan, &duties[i])) {
            main_duty(&own, plan, i, &results[n]);
            report_end(&report, &results[n], n + 1);
            n++;
        }
    }

    code = main_levels(plan);

    if (junit != NULL && report_junit(&report, junit, results, n) == -1) {
        fprintf(stderr, "backendcheck: cannot write \"%s\": %s\n", junit,
                strerror(errno));
        code = EXIT_FAILURE;
    }

    report_summary(&report, results, n);

    for (i = 0; i < n; i++) {
        free(results[i].output);
    }

    (void) munmap(plan, sizeof(plan_t) + sizeof(board_t));

    return code;
}


/* What leaves is there only if it is said how. */

static bool
main_selected(const plan_t *plan, const duty_t *duty)
{
    if (plan->level != LEVEL_NONE && duty->level > plan->level) {
        return false;
    }

    if (duty->level < LEVEL_LEAVES) {
        return true;
    }

    return strcmp(duty->name, "release") == 0
           ? plan->release != NULL
           : plan->pid != 0 || plan->leave != NULL;
}


static void
main_duty(const settings_t *settings, const plan_t *plan, size_t duty,
    result_t *result)
{
    scenario_t  scenario;

    scenario.name = duties[duty].name;
    scenario.summary = duties[duty].summary;
    scenario.run = duty_run;

    plan->board->current = duty;
    printf("# level %d: %s\n", duties[duty].level, scenario.summary);
    report_scenario(scenario.name);
    runner_run(&scenario, settings, result);

    if (result->failed > 0) {
        if (plan->board->verdicts[duty] != DUTY_NOT_OFFERED) {
            plan->board->verdicts[duty] = DUTY_FAILED;
        }

    } else if (plan->board->verdicts[duty] == DUTY_UNKNOWN) {
        plan->board->verdicts[duty] = DUTY_PASSED;
    }
}


/* Says what is reached, and returns the exit code. */

static int
main_levels(const plan_t *plan)
{
    int             level, reached;
    bool            failed;
    size_t          i;
    const board_t  *board;

    board = plan->board;
    reached = LEVEL_NONE;
    failed = false;

    for (i = 0; duties[i].name != NULL; i++) {
        failed = failed || board->verdicts[i] == DUTY_FAILED;
    }

    for (level = 0; level < LEVELS; level++) {
        if (main_level(board, level) && reached == level - 1) {
            reached = level;
        }
    }

    if (reached == LEVEL_NONE) {
        printf("# the instance does not reach level 0\n");

    } else {
        printf("# the instance reaches level %d%s\n", reached,
               reached == LEVEL_LEAVES - 1 && plan->level == LEVEL_NONE
               && plan->pid == 0 && plan->leave == NULL
               ? "; for level 3 see --pid and --leave" : "");
    }

    return failed || reached < plan->level ? EXIT_FAILURE : EXIT_SUCCESS;
}


/* A line on the duties of a level; true if it is reached. */

static bool
main_level(const board_t *board, int level)
{
    size_t    i;
    bool      leaves;
    unsigned  n[DUTY_NOT_CHECKED + 1];

    memset(n, 0, sizeof(n));
    leaves = false;

    for (i = 0; duties[i].name != NULL; i++) {
        if (duties[i].level == level) {
            n[board->verdicts[i]]++;
            leaves = leaves || (strcmp(duties[i].name, "leave_ends") == 0
                                && board->verdicts[i] == DUTY_PASSED);
        }
    }

    if (n[DUTY_PASSED] + n[DUTY_FAILED] + n[DUTY_NOT_OFFERED]
        + n[DUTY_NOT_CHECKED] == 0)
    {
        return false;
    }

    printf("# level %d: %u passed, %u failed, %u not offered, %u not "
           "checked\n", level, n[DUTY_PASSED], n[DUTY_FAILED],
           n[DUTY_NOT_OFFERED], n[DUTY_NOT_CHECKED]);

    return n[DUTY_PASSED] > 0 && n[DUTY_FAILED] == 0
           && n[DUTY_NOT_OFFERED] == 0 && (level < LEVEL_LEAVES || leaves);
}
