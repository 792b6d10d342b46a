/*
 * The commands of "authsvc user" and "authsvc key": their words, their help,
 * their exit codes.
 */

#ifndef AUTHSVC_CORE_COMMAND_H
#define AUTHSVC_CORE_COMMAND_H


#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "rpc/options.h"


#define COMMAND_ERROR  4400             /* bytes: a path is in it */

typedef struct {
    const char  *name;                  /* NULL: the end of the list */
    const char  *usage;                 /* " KID [--now]" */
    int          n;                     /* words after the name */
    int        (*run)(void *data);      /* for the functions of the set */
} command_t;

typedef struct {
    const char       *name;             /* "key" */
    const char       *common;           /* option of all: " --keys DIR" */
    const command_t  *commands;
    const option_t   *options;

    /* whether the options that were given are for this command */
    bool            (*takes)(const command_t *command);

    /* The exit code: 0, or 1 (failed) or 2 (wrong usage) with one line in
     * "error", of COMMAND_ERROR bytes.  "words" are those after the name. */
    int             (*run)(const command_t *command, char **words,
                           char *error);
} command_set_t;


/* argv[0] is the name of the set.  Returns the exit code. */
int command_main(const command_set_t *set, int argc, char **argv);

void command_help(const command_set_t *set, FILE *out);


#endif /* AUTHSVC_CORE_COMMAND_H */
