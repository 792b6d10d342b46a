/*
 * Command line and environment of the services: one table per program.
 * The command line wins over the environment, the environment over the
 * default.  Accepts --name value and --name=value.
 */

#ifndef RPC_OPTIONS_H
#define RPC_OPTIONS_H


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>


typedef enum {
    OPTION_STRING,          /* const char *, borrowed from argv or environ;
                               min..max bytes if max is not 0 */
    OPTION_NUMBER,          /* int64_t, in min..max */
    OPTION_TIME,            /* int64_t milliseconds: 500ms 5s 30m 1h 1d, a bare
                               number is seconds; in min..max */
    OPTION_LOG_LEVEL,       /* log_level_t as int */
    OPTION_FLAG             /* int, no value on the command line;
                               on/off, 1/0, yes/no, true/false in the environment */
} option_type_t;

typedef struct {
    const char     *name;           /* "session-ttl" */
    const char     *env;            /* "MYSERVICE_SESSION_TTL" or NULL */
    option_type_t   type;
    void           *value;          /* of the type above */
    const char     *deflt;          /* parsed like a value; NULL: required for
                                       strings means "unset, value stays NULL" */
    int64_t         min;
    int64_t         max;
    const char     *help;           /* one line */
} option_t;


/*
 * Parses argv[1..] by the table (ended by name == NULL, at most 64 rows).
 * Options and other arguments may be mixed: argv is reordered so that the
 * others come last; "--" ends the options.  "environ" is read through
 * getenv(), an empty variable counts as unset.  Returns the index of the first
 * argument that is not an option (argc if none), or -1 with one clear line in
 * "error" that names the option, the bad value and what is allowed.
 * Returns -2 when --help and -3 when --version was given.
 */
int options_parse(const option_t *table, int argc, char **argv, char *error,
    size_t size) __attribute__((warn_unused_result));

/* One value of the type OPTION_TIME, -1 if it is not one. */
int option_parse_time(const char *text, int64_t *ms)
    __attribute__((warn_unused_result));

/* The table as --help shows it: name, environment, default, range, help. */
void options_help(const option_t *table, FILE *out);


#endif /* RPC_OPTIONS_H */
