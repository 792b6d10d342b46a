/*
 * integrationtests: plays the scenarios of the system against a gateway.
 */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/report.h"
#include "itests/runner.h"
#include "itests/scenario.h"
#include "rpc/options.h"


#define EXIT_USAGE  2


static int main_list(void);
static void main_help(const option_t *table);
static int main_stack(settings_t *settings, const char *name);
static int main_tls(settings_t *settings, int on,
    const rpc_tls_files_t *files);
static const scenario_t **main_select(int argc, char **argv, size_t *n,
    bool *all);
static int main_run(const scenario_t **selected, size_t n, bool all,
    const settings_t *settings, const char *junit);


int
main(int argc, char **argv)
{
    int                 first, code, list, tls;
    bool                all;
    char                error[512];
    size_t              n;
    const char         *junit, *stack;
    settings_t          settings;
    rpc_tls_files_t     files;
    const scenario_t  **selected;

    const option_t  options[] = {
        { "list", NULL, OPTION_FLAG, &list, "off", 0, 0,
          "print the names of the scenarios" },
        { "gateway", "GATEWAY_ADDR", OPTION_STRING, &settings.gateway,
          "localhost:10000", 0, 0, "host:port or unix:/path" },
        { "username", "TEST_USERNAME", OPTION_STRING, &settings.username,
          "TestUser", 0, 0, "for Login" },
        { "password", "TEST_PASSWORD", OPTION_STRING, &settings.password,
          "TestPassword", 0, 0, "for Login" },
        { "timeout", "TEST_TIMEOUT", OPTION_TIME, &settings.timeout,
          "60s", 100, 3600 * 1000, "of one scenario" },
        { "token-ttl", "TEST_TOKEN_TTL", OPTION_TIME, &settings.token_ttl,
          "0s", 0, 86400 * 1000,
          "life of the tokens of this stack, to wait for their end" },
        { "soak", "TEST_SOAK", OPTION_TIME, &settings.soak, "6s", 1000,
          3600 * 1000, "how long a survive_ scenario does harm" },
        { "instances", "TEST_INSTANCES", OPTION_STRING, &settings.instances,
          NULL, 0, 0, "addresses of the instances, a,b,c, to call directly" },
        { "no-resume", "TEST_NO_RESUME", OPTION_FLAG, &settings.no_resume,
          "off", 0, 0, "the gateway has no myservice_resume" },
        { "tls", "TEST_TLS", OPTION_FLAG, &tls, "off", 0, 0,
          "connect over TLS, to the gateway and to the instances" },
        { "tls-ca", "TEST_TLS_CA", OPTION_STRING, &files.ca, NULL, 0, 0,
          "file with the authorities to trust; none: those of the system" },
        { "tls-cert", "TEST_TLS_CERT", OPTION_STRING, &files.cert, NULL, 0,
          0, "file with a client certificate" },
        { "tls-key", "TEST_TLS_KEY", OPTION_STRING, &files.key, NULL, 0, 0,
          "file with its private key" },
        { "tls-server-name", "TEST_TLS_SERVER_NAME", OPTION_STRING,
          &settings.tls_server_name, NULL, 0, 0,
          "name in the gateway's certificate; none: host of --gateway" },
        { "stack", "TEST_STACK", OPTION_STRING, &stack, "none", 0, 0,
          "whose stack it is: local, docker (started by us), or none" },
        { "junit", "TEST_JUNIT", OPTION_STRING, &junit, NULL, 0, 0,
          "file for the results in JUnit's XML" },
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    memset(&settings, 0, sizeof(settings));
    memset(&files, 0, sizeof(files));
    junit = NULL;
    list = 0;

    first = options_parse(options, argc, argv, error, sizeof(error));

    if (first == -1) {
        fprintf(stderr, "integrationtests: %s\n", error);
        return EXIT_USAGE;
    }

    if (first == -2) {
        main_help(options);
        return EXIT_SUCCESS;
    }

    if (first == -3) {
        printf("integrationtests 1.0\n");
        return EXIT_SUCCESS;
    }

    if (list) {
        return main_list();
    }

    if (main_stack(&settings, stack) == -1
        || main_tls(&settings, tls, &files) == -1)
    {
        return EXIT_USAGE;
    }

    selected = main_select(argc - first, argv + first, &n, &all);
    if (selected == NULL) {
        rpc_tls_free(settings.tls);
        return EXIT_USAGE;
    }

    signal(SIGPIPE, SIG_IGN);

    /* names as all programs of this host resolve them; c-ares also leaks */
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
           "wants a fresh\nstack of three instances. The output is TAP; exit "
           "0 only if all passed.\n\n");
    options_help(table, stdout);
}


/* Both scripts know the same commands; $STACK names another one. */

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


/* The files are read here, the core is started in every scenario's process. */

static int
main_tls(settings_t *settings, int on, const rpc_tls_files_t *files)
{
    char  error[512];

    if (!on) {
        if (files->ca != NULL || files->cert != NULL || files->key != NULL
            || settings->tls_server_name != NULL)
        {
            fprintf(stderr, "integrationtests: --tls-ca, --tls-cert, "
                    "--tls-key and --tls-server-name need --tls\n");
            return -1;
        }

        return 0;
    }

    settings->tls = rpc_tls_create(files, RPC_TLS_CLIENT, error,
                                   sizeof(error));

    if (settings->tls == NULL) {
        fprintf(stderr, "integrationtests: %s\n", error);
        return -1;
    }

    return 0;
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


/* A scenario that is named must run; of all of them, at least one. */

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
        report_end(&results[i], i + 1);

        skipped += report_skipped(&results[i]);

        if (results[i].failed > 0) {
            code = EXIT_FAILURE;
        }
    }

    if (skipped > 0 && (!all || skipped == n)) {
        code = EXIT_FAILURE;
    }

    if (junit != NULL && report_junit(junit, results, n) == -1) {
        fprintf(stderr, "integrationtests: cannot write \"%s\": %s\n", junit,
                strerror(errno));
        code = EXIT_FAILURE;
    }

    report_summary(results, n);

    for (i = 0; i < n; i++) {
        free(results[i].output);
    }

    free(results);

    return code;
}
