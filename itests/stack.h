/*
 * The instances behind the gateway: where they are, whom they serve, and, if
 * the stack is ours, how to stop them.
 */

#ifndef ITESTS_STACK_H
#define ITESTS_STACK_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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

/* The same without a check: false if it was not running. */
bool stack_kill_if_running(const test_t *test, int instance);

/* nginx -s reload, which returns before the new workers are there; a new
 * binary in place of the old one, whose workers have ended; a new start that
 * has lost all memory.  A failure is a failed check. */
bool stack_reload(test_t *test);
bool stack_upgrade(test_t *test);
bool stack_regateway(test_t *test);

/* "authsvc key" with these arguments for the shell; "line" gets the first line
 * of its output without the newline.  False when it fails, or the stack has no
 * keys of that kind (KEYS=on). */
bool stack_key(const test_t *test, const char *arguments, char *line,
    size_t size);

/* Process ids of the gateway's workers, and how many there are. */
size_t stack_workers(const test_t *test, pid_t *pids, size_t max);

/* kill -9; the stack does not complain of its end. */
bool stack_kill_worker(test_t *test, pid_t pid);

/* How many lines of the instances' logs have "text", which is a shell's word
 * inside of single quotes; -1 if that is not known. */
long stack_count(const test_t *test, const char *text);

/* A connection to the instance whose session is "session"; NULL, and "why"
 * set, when no addresses are known or none has it. */
rpc_client_t *stack_owner(const test_t *test, const char *session,
    const char **why);

/* How many calls and streams of its session are in flight on an instance; -1
 * when it does not tell, or is not of "session". */
int stack_calls(rpc_client_t *instance, const char *session);

/* The resident memory of a process of the stack ("authsvc"), in kB; -1 when it
 * is not known. */
long stack_memory(const test_t *test, const char *name);

/* How much processor time it has used, in microseconds; -1 likewise. */
int64_t stack_cpu(const test_t *test, const char *name);


#endif /* ITESTS_STACK_H */
