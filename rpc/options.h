/*
 * Options of a program: one table, read from the command line, from the
 * environment and from a file of NAME=value lines (rpc/env_file.h), whose names
 * are those of the environment.  The command line wins over the environment,
 * the environment over the file, the file over the default.
 */

#ifndef RPC_OPTIONS_H
#define RPC_OPTIONS_H


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>


/* What options_parse() returns instead of an index. */
#define OPTIONS_ERROR    -1
#define OPTIONS_HELP     -2             /* --help, -h, or "help" first */
#define OPTIONS_VERSION  -3             /* --version */


typedef enum {
    OPTION_STRING = 0,      /* const char *, borrowed from argv, environ or the
                               file; min..max bytes if max is not 0 */
    OPTION_NUMBER,          /* int64_t, in min..max */
    OPTION_TIME,            /* int64_t milliseconds: 500ms 5s 30m 1h 1d, a bare
                               number is seconds; in min..max */
    OPTION_MODE,            /* int64_t, octal, permissions of a file */
    OPTION_LOG_LEVEL,       /* log_level_t as int */
    OPTION_LOG_FORMAT,      /* log_format_t as int */
    OPTION_FLAG,            /* int, no value on the command line;
                               on/off, 1/0, yes/no, true/false elsewhere */
    OPTION_CONFIG,          /* const char *, the file to read */
    OPTION_RENAMED          /* an old name that still works, with a warning,
                               and is not shown; "deflt" is the new name of a
                               row before this one */
} option_type_t;

typedef struct {
    const char     *name;           /* "session-ttl", or with what stands for
                                       its value: "tls-cert FILE" */
    const char     *env;            /* "MYSERVICE_SESSION_TTL" or NULL */
    option_type_t   type;
    void           *value;          /* of the type above */
    const char     *deflt;          /* parsed like a value; NULL: required, for
                                       strings "unset, value stays NULL" */
    int64_t         min;
    int64_t         max;
    const char     *help;           /* one line */
} option_t;


/*
 * Parses argv[1..] by the table (ended by name == NULL, at most 64 rows).
 * Options are --name value or --name=value.  They may be mixed with other
 * arguments: argv is reordered so that the others come last; "--" ends the
 * options.  An empty value in the environment or in the file counts as unset.
 * Returns the index of the first argument that is not an option (argc if
 * none), OPTIONS_HELP, OPTIONS_VERSION, or OPTIONS_ERROR with one line in
 * "error" that names the option, the bad value and what is allowed.
 */
int options_parse(const option_t *table, int argc, char **argv, char *error,
    size_t size) __attribute__((warn_unused_result));

/* One value of the type OPTION_TIME, -1 if it is not one. */
int option_parse_time(const char *text, int64_t *ms)
    __attribute__((warn_unused_result));

/* The table as --help shows it: name, environment, help, range, default. */
void options_help(const option_t *table, FILE *out);


#endif /* RPC_OPTIONS_H */
