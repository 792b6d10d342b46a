/*
 * The instances behind the gateway: their addresses, their sessions, and, if
 * this program may control the stack, how to stop them.
 */

#ifndef ITESTS_STACK_H
#define ITESTS_STACK_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "itests/check.h"
#include "rpc/client.h"


#define STACK_GATEWAYS  8
#define STACK_ADDRESS   256


typedef struct {
    size_t  n;
    char    address[STACK_GATEWAYS][STACK_ADDRESS];
} stack_gateways_t;


/* Whether anything is known about the instances. */
bool stack_known(const test_t *test);

/* How many instances can be stopped and started; 0, and "why" set, when this
 * program does not control the stack (--stack). */
int stack_size(const test_t *test, const char **why);

/* The number, from 1, of the instance that serves "session"; 0 when none
 * does. */
int stack_find(const test_t *test, const char *session);

/* kill -9; SIGTERM and wait until it has drained; start it again and wait
 * until it is ready.  A failure is a failed check. */
bool stack_kill(test_t *test, int instance);
bool stack_halt(test_t *test, int instance);
bool stack_restart(test_t *test, int instance);

/* SIGTERM, without a wait: the instance drains and ends by itself.  A failure
 * is a failed check. */
bool stack_retire(test_t *test, int instance);

/* Whether all gateways give the instance sessions, or it has one. */
bool stack_joined(const test_t *test, int instance);

/* Whether it has one of these states, with a space between them, at all
 * gateways. */
bool stack_is(const test_t *test, int instance, const char *states);

/* Like stack_kill(), without a check: false if the instance was not running. */
bool stack_kill_if_running(const test_t *test, int instance);

/* nginx -s reload, which returns before the new workers are there; a new
 * binary in place of the old one, whose workers have ended; a new start that
 * has lost all memory.  A failure is a failed check. */
bool stack_reload(test_t *test);
bool stack_upgrade(test_t *test);
bool stack_regateway(test_t *test);

/* "authsvc key" with these arguments for the shell; "line" gets the first line
 * of its output without the newline.  False when it fails, or the stack has no
 * keys of that kind (KEYS=off). */
bool stack_key(const test_t *test, const char *arguments, char *line,
    size_t size);

/* "authsvc user" with these arguments for the shell, for the stack's store and
 * gateway.  False when it fails. */
bool stack_user(const test_t *test, const char *arguments);

/* The gateways, the first one first: 1 unless the stack has several
 * (GATEWAYS=3), 0 when it is not known. */
void stack_gateways(const test_t *test, stack_gateways_t *gateways);

/* What the stack's command "addresses" has behind the name of a part ("store"):
 * its address and its process; false when there is none. */
bool stack_part(const test_t *test, const char *part, char *rest, size_t size);

/* Its address alone. */
bool stack_address(const test_t *test, const char *part, char *address,
    size_t size);

/* "gateway N ACTION" of the stack, and "store ACTION".  A failure is a failed
 * check. */
bool stack_act(test_t *test, int gateway, const char *action);
bool stack_store(test_t *test, const char *action);

/* How many leases the store has, -1 when it does not answer. */
long stack_store_leases(const test_t *test);

/* The session that an instance names in its health answers, "" when it has
 * none; false when it does not answer. */
bool stack_session(const test_t *test, int instance, char *session,
    size_t size);

/* Process ids of the gateway's workers, and how many there are. */
size_t stack_workers(const test_t *test, pid_t *pids, size_t max);

/* kill -9 of a worker. "scripts/stack stop" expects the log lines of it. */
bool stack_kill_worker(test_t *test, pid_t pid);

/* How many lines of the instances' logs have "text", which must not have
 * single quotes; -1 when the logs are not at hand. */
long stack_count(const test_t *test, const char *text);

/* A connection to the instance that serves "session"; NULL, and "why" set,
 * when no addresses are known or no instance serves it. */
rpc_client_t *stack_owner(const test_t *test, const char *session,
    const char **why);

/* How many calls and streams of "session" are in flight on an instance; -1
 * when the instance does not answer or serves another session. */
int stack_calls(rpc_client_t *instance, const char *session);


#endif /* ITESTS_STACK_H */
