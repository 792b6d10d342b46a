/*
 * myservicectl: what an operator asks and tells the gateway, over its API
 * (docs/api.md).
 */

#include <stdlib.h>
#include <string.h>
#include <curl/curl.h>

#include "myservicectl/commands.h"
#include "rpc/options.h"
#include "version.h"


#define EXIT_USAGE  2


static void
main_help(const option_t *table)
{
    const command_t  *command;

    printf("usage: myservicectl [options] COMMAND\n\n");

    for (command = commands; command->name != NULL; command++) {
        printf("  %-10s %-8s %s\n", command->name,
               command->argument != NULL ? command->argument : "",
               command->help);
    }

    printf("\n");
    options_help(table, stdout);
    printf("\nA state with \"*\" takes no new session. Exit status: 0; 1 the "
           "gateway refuses;\n2 wrong usage; 3 no such instance, session or "
           "upstream; 4 the gateway does not\nanswer.\n");
}


/* NULL after an error was written. */
static const command_t *
main_command(int n, char **words)
{
    const command_t  *command;

    if (n == 0) {
        fprintf(stderr, "myservicectl: a command is missing, see "
                "myservicectl --help\n");
        return NULL;
    }

    for (command = commands; command->name != NULL; command++) {
        if (strcmp(command->name, words[0]) == 0) {
            break;
        }
    }

    if (command->name == NULL) {
        fprintf(stderr, "myservicectl: unknown command \"%s\", see "
                "myservicectl --help\n", words[0]);
        return NULL;
    }

    if (n != (command->argument != NULL ? 2 : 1)
        || (command->argument != NULL && words[1][0] == '\0'))
    {
        fprintf(stderr, "usage: myservicectl [options] %s%s%s\n",
                command->name, command->argument != NULL ? " " : "",
                command->argument != NULL ? command->argument : "");
        return NULL;
    }

    return command;
}


/* Options of one command, which others would overlook. */
static int
main_options(const command_t *command, char **argv, int n)
{
    int     i, wait, wait_time;
    size_t  j, len;

    static const struct {
        const char  *option;
        const char  *command;
    } of[] = {
        { "follow", "events" }, { "state", "instances" },
        { "deadline", "drain" }, { "wait", "drain" },
        { "wait-time", "drain" }, { "force", "remove" },
        { "revoke", "release" }, { "jti", "revoke" }, { "iss", "revoke" },
        { "sub", "revoke" }, { "until", "revoke" },
    };

    wait = 0;
    wait_time = 0;

    for (i = 0; i < n; i++) {

        /* values do not begin so */

        if (strncmp(argv[i], "--", 2) != 0) {
            continue;
        }

        len = strcspn(argv[i] + 2, "=");

        for (j = 0; j < sizeof(of) / sizeof(of[0]); j++) {
            if (strlen(of[j].option) == len
                && strncmp(of[j].option, argv[i] + 2, len) == 0
                && strcmp(of[j].command, command->name) != 0)
            {
                fprintf(stderr, "myservicectl: --%s is an option of \"%s\", "
                        "not of \"%s\"\n", of[j].option, of[j].command,
                        command->name);
                return -1;
            }
        }

        wait |= len == 4 && strncmp(argv[i] + 2, "wait", len) == 0;
        wait_time |= len == 9 && strncmp(argv[i] + 2, "wait-time", len) == 0;
    }

    if (wait_time && !wait) {
        fprintf(stderr, "myservicectl: --wait-time needs --wait\n");
        return -1;
    }

    return 0;
}


int
main(int argc, char **argv)
{
    int               first;
    char              error[512];
    ctl_t             ctl;
    api_result_t      result;
    const command_t  *command;

    const option_t  options[] = {
        { "api URL", "MYSERVICECTL_API", OPTION_STRING, &ctl.api.url,
          "http://127.0.0.1:10080/api", 1, 1024,
          "the location of myservice_api" },
        { "upstream NAME", "MYSERVICECTL_UPSTREAM", OPTION_STRING,
          &ctl.upstream, NULL, 1, 256, "if there are several" },
        { "ca FILE", "MYSERVICECTL_CA", OPTION_STRING, &ctl.api.ca, NULL, 1,
          1024, "certificates that the gateway's must be signed by" },
        { "cert FILE", "MYSERVICECTL_CERT", OPTION_STRING, &ctl.api.cert, NULL,
          1, 1024, "certificate of the operator" },
        { "key FILE", "MYSERVICECTL_KEY", OPTION_STRING, &ctl.api.key, NULL, 1,
          1024, "its key, if it is not in the same file" },
        { "timeout", "MYSERVICECTL_TIMEOUT", OPTION_TIME, &ctl.api.timeout,
          "10s", 100, 3600 * 1000, "of one request" },
        { "json", NULL, OPTION_FLAG, &ctl.json, NULL, 0, 0,
          "shows what the gateway answered" },
        { "follow", NULL, OPTION_FLAG, &ctl.follow, NULL, 0, 0,
          "with \"events\": shows new ones as they come, until Ctrl-C" },
        { "state NAME", NULL, OPTION_STRING, &ctl.state, NULL, 1, 32,
          "with \"instances\": only those in the state" },
        { "deadline TIME", NULL, OPTION_STRING, &ctl.deadline, NULL, 2, 32,
          "with \"drain\": its session may stay so long, as 5m" },
        { "wait", NULL, OPTION_FLAG, &ctl.wait, NULL, 0, 0,
          "with \"drain\": until the instance has no session any more" },
        { "wait-time", NULL, OPTION_TIME, &ctl.wait_time, "1h", 0,
          INT64_C(86400) * 1000, "how long at most" },
        { "force", NULL, OPTION_FLAG, &ctl.force, NULL, 0, 0,
          "with \"remove\": at once, its lease ends" },
        { "revoke", NULL, OPTION_FLAG, &ctl.revoke, NULL, 0, 0,
          "with \"release\": the session's tokens are refused, too" },
        { "jti ID", NULL, OPTION_STRING, &ctl.jti, NULL, 1, 256,
          "with \"revoke\": one token" },
        { "iss NAME", NULL, OPTION_STRING, &ctl.iss, NULL, 1, 256,
          "with \"revoke\": the tokens of this issuer" },
        { "sub NAME", NULL, OPTION_STRING, &ctl.sub, NULL, 1, 256,
          "for this user that were issued until now" },
        { "until", NULL, OPTION_NUMBER, &ctl.until, "0", 0,
          INT64_C(99999999999),
          "when they have expired, seconds since 1970; 0: after keep= of the "
          "gateway" },
        { NULL, NULL, OPTION_FLAG, NULL, NULL, 0, 0, NULL }
    };

    memset(&ctl, 0, sizeof(ctl));

    first = options_parse(options, argc, argv, error, sizeof(error));

    if (first == OPTIONS_HELP) {
        main_help(options);
        return EXIT_SUCCESS;
    }

    if (first == OPTIONS_VERSION) {
        printf("myservicectl " MS_VERSION "\n");
        return EXIT_SUCCESS;
    }

    if (first == OPTIONS_ERROR) {
        fprintf(stderr, "myservicectl: %s\n", error);
        return EXIT_USAGE;
    }

    command = main_command(argc - first, argv + first);

    if (command == NULL || main_options(command, argv + 1, first - 1) != 0) {
        return EXIT_USAGE;
    }

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fprintf(stderr, "myservicectl: libcurl does not start\n");
        return EXIT_FAILURE;
    }

    result = command->run(&ctl, argv[first + 1]);

    if (result != API_OK) {
        fprintf(stderr, "myservicectl: %s\n", ctl.api.error);
    }

    curl_global_cleanup();

    return (int) result;
}
