/*
 * The line of the audit log for a command of "authsvc user" or "authsvc key".
 */

#ifndef AUTHSVC_AUDIT_COMMAND_H
#define AUTHSVC_AUDIT_COMMAND_H


#include "authsvc/audit/audit.h"


/* A row of an options table (rpc/options.h). */
#define AUDIT_COMMAND_OPTION(audit)                                           \
    { "audit-log FILE", "AUTHSVC_AUDIT_LOG", OPTION_STRING, &(audit)->path,   \
      NULL, 1, 4095, "file for a JSON line per command" }


/* Before the command: it does not run unobserved.  0 with "audit", which is
 * NULL without a file; -1 with one line in "error". */
int audit_command_open(const audit_options_t *options, audit_t **audit,
    char *error, size_t size) __attribute__((warn_unused_result));

/* After it: "rc" is its exit code, "error" what it said.  "event" has the
 * members that the command knows. */
void audit_command_close(audit_t *audit, const char *set, const char *name,
    audit_event_t *event, int rc, const char *error);


#endif /* AUTHSVC_AUDIT_COMMAND_H */
