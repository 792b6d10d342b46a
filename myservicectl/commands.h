/*
 * The commands of myservicectl.
 */

#ifndef MYSERVICECTL_COMMANDS_H
#define MYSERVICECTL_COMMANDS_H


#include <stdbool.h>
#include <stdio.h>

#include "myservicectl/api.h"


typedef struct {
    api_t        api;
    const char  *upstream;              /* NULL: the only one */
    const char  *state;                 /* of "instances", NULL: all */
    int          json;
    int          follow;                /* of "events" */
    int          force;                 /* of "remove" */
    int          revoke;                /* of "release" */
    const char  *jti;                   /* of "revoke"; NULL: not given */
    const char  *iss;
    const char  *sub;
    int64_t      until;                 /* seconds since 1970, 0: not given */
    const char  *deadline;              /* of "drain", "5m"; NULL: none */
    int          wait;                  /* of "drain" */
    int64_t      wait_time;             /* ms */
} ctl_t;

typedef struct {
    const char     *name;
    const char     *argument;           /* NULL: none */
    const char     *help;
    api_result_t  (*run)(ctl_t *ctl, const char *argument);
} command_t;


/* Ends with a name of NULL.  A command that fails leaves the reason in
 * ctl->api.error. */
extern const command_t  commands[];


#endif /* MYSERVICECTL_COMMANDS_H */
