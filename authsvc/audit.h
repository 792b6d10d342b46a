/*
 * One line per login: who, for which session, from where, what came of it,
 * and which token.  Callers only copy a line; a thread writes, so that no
 * login waits for a disk or for whoever reads a pipe.  What users send is
 * escaped to printable ASCII and cut, passwords and tokens are never in it.
 *
 * A line that cannot be written is lost: that is said once in the log of the
 * program, and in the file as soon as it can be written again.
 */

#ifndef AUTHSVC_AUDIT_H
#define AUTHSVC_AUDIT_H


#include <stdbool.h>
#include <stddef.h>
#include <time.h>


#define AUDIT_LINE  4096                /* bytes of the longest; PIPE_BUF */

typedef struct audit_s  audit_t;

typedef enum {
    AUDIT_TEXT = 0,
    AUDIT_JSON
} audit_format_t;

typedef struct {
    const char  *path;                  /* "-": standard output; NULL: none */
    const char  *format;
} audit_options_t;

/* Rows of an options table (rpc/options.h). */
#define AUDIT_OPTIONS(audit)                                                  \
    { "audit-log", "AUTHSVC_AUDIT_LOG", OPTION_STRING, &(audit)->path, NULL,  \
      1, 4095, "file for a line per login, - for standard output" },          \
    { "audit-format", "AUTHSVC_AUDIT_FORMAT", OPTION_STRING,                  \
      &(audit)->format, "text", 1, 16, "of these lines: text or json" }

/* Members may be NULL: there is no such thing. */
typedef struct {
    const char  *outcome;               /* "ok", "refused", "failed" */
    const char  *reason;
    const char  *user;
    const char  *session;
    const char  *address;
    const char  *role;
    const char  *kid;
    const char  *jti;
} audit_event_t;


/* The line with its newline; the length. */
size_t audit_line(audit_format_t format, const audit_event_t *event,
    const struct timespec *now, char out[AUDIT_LINE]);

/* -1 with one line in "error" if the format is not one. */
int audit_usage(const audit_options_t *options, char *error, size_t size)
    __attribute__((warn_unused_result));

/* Makes the file, mode 0600, if it is missing, and starts the thread.  NULL
 * with one line in "error". */
audit_t *audit_open(const audit_options_t *options, char *error, size_t size);

/* From any thread; "audit" may be NULL. */
void audit_write(audit_t *audit, const audit_event_t *event);

/* Opens the file again before the next line: it was renamed. */
void audit_reopen(audit_t *audit);

/* Writes what is left.  NULL is fine. */
void audit_close(audit_t *audit);


#endif /* AUTHSVC_AUDIT_H */
