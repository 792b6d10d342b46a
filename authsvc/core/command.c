/*
 * Finds the command, says what is wrong with its words, runs it.
 */

#include "authsvc/core/command.h"

#include <string.h>

#include "authsvc/core/version.h"


void
command_help(const command_set_t *set, FILE *out)
{
    const command_t  *command;

    for (command = set->commands; command->name != NULL; command++) {
        fprintf(out, "  authsvc %s %s%s\n", set->name, command->name,
                command->usage);
    }

    options_help(set->options, out);
}


/* NULL with an error. */
static const command_t *
command_find(const command_set_t *set, int n, char **words, char *error)
{
    const command_t  *command;

    if (n == 0) {
        snprintf(error, COMMAND_ERROR, "%s: a command is missing, see authsvc "
                 "--help", set->name);
        return NULL;
    }

    command = set->commands;

    while (command->name != NULL && strcmp(command->name, words[0]) != 0) {
        command++;
    }

    if (command->name == NULL) {
        snprintf(error, COMMAND_ERROR, "unknown command \"%s %.80s\", see "
                 "authsvc --help", set->name, words[0]);
        return NULL;
    }

    if (n - 1 != command->n || !set->takes(command)) {
        snprintf(error, COMMAND_ERROR, "usage: authsvc %s %s%s%s", set->name,
                 command->name, command->usage, set->common);
        return NULL;
    }

    return command;
}


int
command_main(const command_set_t *set, int argc, char **argv)
{
    int               n, rc;
    char              error[COMMAND_ERROR];
    const command_t  *command;

    n = options_parse(set->options, argc, argv, error, sizeof(error));

    if (n == OPTIONS_HELP) {
        command_help(set, stdout);
        return 0;
    }

    if (n == OPTIONS_VERSION) {
        version_print();
        return 0;
    }

    command = n < 0 ? NULL : command_find(set, argc - n, argv + n, error);
    rc = command != NULL ? set->run(command, argv + n + 1, error) : 2;

    if (rc == 0 && fflush(stdout) != 0) {
        snprintf(error, sizeof(error), "cannot write the output");
        rc = 1;
    }

    if (rc != 0) {
        fprintf(stderr, "authsvc: %s\n", error);
    }

    return rc;
}
