/*
 * The instances behind the gateway: where they are, whom they serve, and, if
 * the stack is ours, how to stop them.
 */

#ifndef ITESTS_STACK_H
#define ITESTS_STACK_H


#include <stdbool.h>

#include "itests/check.h"
#include "rpc/client.h"


/* Whether anything is known about the instances. */
bool stack_known(const test_t *test);

/* How many instances can be stopped and started; 0, and "why" set, when the
 * stack is not ours. */
int stack_size(const test_t *test, const char **why);

/* The number of the instance whose session is "session", from 1; 0 when none
 * has it. */
int stack_find(const test_t *test, const char *session);

/* kill -9; SIGTERM and wait until it has drained; start it again and wait
 * until it is ready.  A failure is a failed check. */
bool stack_kill(test_t *test, int instance);
bool stack_halt(test_t *test, int instance);
bool stack_restart(test_t *test, int instance);

/* A connection to the instance whose session is "session"; NULL, and "why"
 * set, when no addresses are known or none has it. */
rpc_client_t *stack_owner(const test_t *test, const char *session,
    const char **why);

/* How many calls and streams of its session are in flight on an instance; -1
 * when it does not tell, or is not of "session". */
int stack_calls(rpc_client_t *instance, const char *session);


#endif /* ITESTS_STACK_H */
