/*
 * The audit log: one JSON line per login, with the user, the session, the
 * address, the outcome and the token, and one per command of "authsvc user" and
 * "authsvc key".  Passwords and tokens are never in it.
 *
 * Callers only copy a line into memory; a thread writes, so that no login
 * waits for a disk or for the reader of a pipe.  A line that cannot be written
 * is lost: the program's log says so once, and the file says how many as soon
 * as it can be written again.
 */

#ifndef AUTHSVC_AUDIT_AUDIT_H
#define AUTHSVC_AUDIT_AUDIT_H


#include <stddef.h>
#include <time.h>


#define AUDIT_LINE  4096                /* bytes of the longest; PIPE_BUF */

typedef struct audit_s  audit_t;

typedef struct {
    const char  *path;                  /* "-": standard output; NULL: none */
    const char  *format;                /* obsolete; NULL or "json" */
} audit_options_t;

/* Rows of an options table (rpc/options.h). */
#define AUDIT_OPTIONS(audit)                                                  \
    { "audit-log FILE", "AUTHSVC_AUDIT_LOG", OPTION_STRING, &(audit)->path,   \
      NULL, 1, 4095, "file for a JSON line per login, - for standard "        \
      "output" },                                                             \
    { "audit-format NAME", "AUTHSVC_AUDIT_FORMAT", OPTION_STRING,             \
      &(audit)->format, NULL, 1, 16, "obsolete: only json is left" }

/* A member that is NULL is not in the line. */
typedef struct {
    const char  *outcome;               /* "ok", "refused", "failed" */
    const char  *reason;
    const char  *user;
    const char  *session;
    const char  *address;
    const char  *role;
    const char  *kid;
    const char  *jti;
    const char  *command;               /* "user disable"; NULL: a login */
    const char  *by;                    /* who ran it */
    const char  *detail;                /* why it failed */
} audit_event_t;


/* The line with its newline; returns its length, 0 when out of memory. */
size_t audit_line(const audit_event_t *event, const struct timespec *now,
    char out[AUDIT_LINE]);

/* -1 with one line in "error" if the format is not JSON. */
int audit_usage(const audit_options_t *options, char *error, size_t size)
    __attribute__((warn_unused_result));

/* Makes the file, mode 0600, if it is missing, and starts the thread.  A FIFO
 * must have a reader.  NULL with one line in "error". */
audit_t *audit_open(const audit_options_t *options, char *error, size_t size);

/* From any thread; "audit" may be NULL. */
void audit_write(audit_t *audit, const audit_event_t *event);

/* Opens the file again before the next line, after logrotate renamed it. */
void audit_reopen(audit_t *audit);

/* Writes the lines that wait.  NULL is fine. */
void audit_close(audit_t *audit);


#endif /* AUTHSVC_AUDIT_AUDIT_H */
