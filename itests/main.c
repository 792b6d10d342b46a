/*
 * integrationtests: plays the scenarios of the system against a gateway.
 */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/gateway.h"
#include "itests/report.h"
#include "itests/runner.h"
#include "itests/scenario.h"
#include "itests/settings.h"
#include "rpc/options.h"
#include "version.h"


#define EXIT_USAGE  2


static const report_t  report = {
    "integrationtests", "scenarios", "nothing was run"
};


static int main_list(void);
static void main_help(const option_t *table);
static const char *main_gateway(char *address, size_t size);
static int main_stack(settings_t *settings, const char *name);
static const scenario_t **main_select(int argc, char **argv, size_t *n,
    bool *all);
static int main_run(const scenario_t **selected, size_t n, bool all,
    const settings_t *settings, const char *junit);


int
main(int argc, char **argv)
{
    int                 first, code, list, tls;
    bool                all;
    char                error[512], address[256];
    size_t              n;
    const char         *junit, *stack;
    settings_t          settings;
    rpc_tls_files_t     files;
    const scenario_t  **selected;

    const option_t  options[] = {
        { "list", NULL, OPTION_FLAG, &list, "off", 0, 0,
          "print the names of the scenarios" },
        { "gateway HOST:PORT", "GATEWAY_ADDR", OPTION_STRING, &settings.gateway,
          NULL, 0, 0, "or unix:/path; none: the stack of this tree" },
        { "username NAME", "TEST_USERNAME", OPTION_STRING, &settings.username,
          "TestUser", 0, 0, "for Login" },
        { "password", "TEST_PASSWORD", OPTION_STRING, &settings.password,
          "TestPassword", 0, 0, "for Login" },
        { "timeout", "TEST_TIMEOUT", OPTION_TIME, &settings.timeout,
          "60s", 100, 3600 * 1000, "of one scenario" },
        { "token-ttl", "TEST_TOKEN_TTL", OPTION_TIME, &settings.token_ttl,
          "0s", 0, 86400 * 1000,
          "life of the tokens of this stack, to wait for their end" },
        { "soak", "TEST_SOAK", OPTION_TIME, &settings.soak, "6s", 1000,
          3600 * 1000, "how long a survive_ or gateways_ scenario does harm" },
        { "instances LIST", "TEST_INSTANCES", OPTION_STRING,
          &settings.instances, NULL, 0, 0,
          "addresses of the instances, a,b,c, to call directly" },
        { "no-resume", "TEST_NO_RESUME", OPTION_FLAG, &settings.no_resume,
          "off", 0, 0, "the gateway has no myservice_resume" },
        SETTINGS_TLS_OPTIONS("TEST", &settings, &tls, &files),
        { "stack KIND", "TEST_STACK", OPTION_STRING, &stack, "none", 0, 0,
          "controls the stack: local (scripts/stack), docker, or none" },
        { "junit FILE", "TEST_JUNIT", OPTION_STRING, &junit, NULL, 0, 0,
          "the results in JUnit's XML" },
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    memset(&settings, 0, sizeof(settings));
    memset(&files, 0, sizeof(files));
    junit = NULL;
    list = 0;

    first = options_parse(options, argc, argv, error, sizeof(error));

    if (first == OPTIONS_ERROR) {
        fprintf(stderr, "integrationtests: %s\n", error);
        return EXIT_USAGE;
    }

    if (first == OPTIONS_HELP) {
        main_help(options);
        return EXIT_SUCCESS;
    }

    if (first == OPTIONS_VERSION) {
        printf("integrationtests " MS_VERSION "\n");
        return EXIT_SUCCESS;
    }

    if (list) {
        return main_list();
    }

    if (settings.gateway == NULL) {
        settings.gateway = main_gateway(address, sizeof(address));
    }

    if (settings.gateway == NULL
        || main_stack(&settings, stack) == -1
        || settings_tls(&settings, report.program, tls, &files) == -1)
    {
        return EXIT_USAGE;
    }

    selected = main_select(argc - first, argv + first, &n, &all);
    if (selected == NULL) {
        rpc_tls_free(settings.tls);
        return EXIT_USAGE;
    }

    signal(SIGPIPE, SIG_IGN);

    /* resolve names as other programs of this host do; c-ares also leaks */
    setenv("GRPC_DNS_RESOLVER", "native", 0);

    code = main_run(selected, n, all, &settings, junit);

    free(selected);
    rpc_tls_free(settings.tls);

    return code;
}


static int
main_list(void)
{
    const scenario_t  *scenario;

    for (scenario = scenarios; scenario->name != NULL; scenario++) {
        printf("%-44s  %s\n", scenario->name, scenario->summary);
    }

    return EXIT_SUCCESS;
}


static void
main_help(const option_t *table)
{
    printf("usage: integrationtests [option...] scenario...\n"
           "       integrationtests --list\n\n"
           "Plays scenarios against a gateway; \"all\" means every one. Each "
           "needs a fresh\nstack of three instances. The output is TAP; exit "
           "0 only if all passed.\n\n");
    options_help(table, stdout);
}


/* Without --gateway. "make" and scripts/stack know GATEWAY_PORT, too. */

static const char *
main_gateway(char *address, size_t size)
{
    char         run[PATH_MAX];
    const char  *port;

    port = getenv("GATEWAY_PORT");

    if (port != NULL && port[0] != '\0') {
        snprintf(address, size, "localhost:%s", port);
        return address;
    }

    if (gateway_folder(run, sizeof(run)) == -1) {
        fprintf(stderr, "integrationtests: name the gateway: --gateway "
                "host:port\n");
        return NULL;
    }

    if (gateway_find(run, address, size) == -1) {
        fprintf(stderr, "integrationtests: no stack runs in %s: start one "
                "with \"make run\" or \"scripts/stack start\", or name a "
                "gateway with --gateway host:port\n", run);
        return NULL;
    }

    return address;
}


/* Both scripts have the same commands. $STACK names another script. */

static int
main_stack(settings_t *settings, const char *name)
{
    const char  *script;

    script = getenv("STACK");

    if (strcmp(name, "none") == 0) {
        settings->stack = NULL;
        return 0;
    }

    if (strcmp(name, "local") == 0) {
        settings->stack = script != NULL ? script : "scripts/stack";
        return 0;
    }

    if (strcmp(name, "docker") == 0) {
        settings->stack = script != NULL ? script : "scripts/docker-stack";
        return 0;
    }

    fprintf(stderr, "integrationtests: --stack: bad value \"%s\": must be "
            "local, docker or none\n", name);

    return -1;
}


static const scenario_t **
main_select(int argc, char **argv, size_t *n, bool *all)
{
    int                 i;
    size_t              known;
    const scenario_t  **selected, *scenario;

    for (known = 0; scenarios[known].name != NULL; known++) {
        /* count */
    }

    if (argc == 0) {
        fprintf(stderr, "integrationtests: no scenario is named; --list "
                "shows them, \"all\" runs them\n");
        return NULL;
    }

    selected = calloc((size_t) argc * known, sizeof(scenario_t *));
    if (selected == NULL) {
        fprintf(stderr, "integrationtests: out of memory\n");
        return NULL;
    }

    *n = 0;
    *all = false;

    for (i = 0; i < argc; i++) {
        if (strcmp(argv[i], "all") == 0) {
            *all = true;

            for (scenario = scenarios; scenario->name != NULL; scenario++) {
                selected[(*n)++] = scenario;
            }

            continue;
        }

        scenario = scenario_find(argv[i]);

        if (scenario == NULL) {
            fprintf(stderr, "integrationtests: %s \"%s\"%s\n",
                    argv[i][0] == '-' ? "misplaced option"
                                      : "unknown scenario", argv[i],
                    argv[i][0] == '-' ? ": options go before the scenarios"
                                      : ", --list shows them");
            free(selected);
            return NULL;
        }

        selected[(*n)++] = scenario;
    }

    return selected;
}


/* A named scenario must not be skipped; with "all", one at least must run. */

static int
main_run(const scenario_t **selected, size_t n, bool all,
    const settings_t *settings, const char *junit)
{
    int        code;
    size_t     i, skipped;
    result_t  *results;

    results = calloc(n, sizeof(result_t));
    if (results == NULL) {
        fprintf(stderr, "integrationtests: out of memory\n");
        return EXIT_FAILURE;
    }

    code = EXIT_SUCCESS;
    skipped = 0;

    report_begin(n);

    for (i = 0; i < n; i++) {
        report_scenario(selected[i]->name);
        runner_run(selected[i], settings, &results[i]);
        report_end(&report, &results[i], i + 1);

        skipped += report_skipped(&results[i]);

        if (results[i].failed > 0) {
            code = EXIT_FAILURE;
        }
    }

    if (skipped > 0 && (!all || skipped == n)) {
        code = EXIT_FAILURE;
    }

    if (junit != NULL && report_junit(&report, junit, results, n) == -1) {
        fprintf(stderr, "integrationtests: cannot write \"%s\": %s\n", junit,
                strerror(errno));
        code = EXIT_FAILURE;
    }

    report_summary(&report, results, n);

    for (i = 0; i < n; i++) {
        free(results[i].output);
    }

    free(results);

    return code;
}
