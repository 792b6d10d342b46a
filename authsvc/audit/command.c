/* Who ran which command, and how it ended. */

#include "authsvc/audit/command.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>


int
audit_command_open(const audit_options_t *options, audit_t **audit,
    char *error, size_t size)
{
    *audit = NULL;

    if (options->path == NULL) {
        return 0;
    }

    *audit = audit_open(options, error, size);

    return *audit != NULL ? 0 : -1;
}


void
audit_command_close(audit_t *audit, const char *set, const char *name,
    audit_event_t *event, int rc, const char *error)
{
    char            command[64], uid[32];
    struct passwd  *user;

    if (audit == NULL) {
        return;
    }

    snprintf(command, sizeof(command), "%s %s", set, name);
    snprintf(uid, sizeof(uid), "%lu", (unsigned long) getuid());
    user = getpwuid(getuid());

    event->command = command;
    event->by = user != NULL ? user->pw_name : uid;
    event->outcome = rc == 0 ? "ok" : "failed";
    event->detail = rc == 0 ? NULL : error;

    audit_write(audit, event);
    audit_close(audit);
}
