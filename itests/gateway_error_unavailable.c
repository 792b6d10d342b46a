/*
 * All instances end without a Shutdown. The gateway answers with a clear error
 * at once, and the first call after the instances are back succeeds.
 */

#include <poll.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"
#include "rpc/server.h"


#define CLIENTS      2
#define AT_ONCE      5000               /* ms */
#define UNAVAILABLE  "backend service unavailable"
#define BUSY         "all instances are busy"

/* ms; for this long the gateway may treat an instance that is back as dead */
#define DEAD_LIMIT   30000


typedef bool (*stop_pt)(test_t *test, int instance);


static bool unavailable_stop(test_t *test, int instances, stop_pt stop,
    const char *how);
static void unavailable_calls(client_t *clients);
static void unavailable_refused(client_t *client, const char *what,
    client_call_pt call);
static bool unavailable_restart(test_t *test, int instances);
static bool unavailable_await(client_t *client);


void
gateway_error_unavailable(test_t *test)
{
    int          instances;
    client_t     clients[CLIENTS];
    const char  *why;

    instances = stack_size(test, &why);

    if (instances == 0) {
        check_skip(test, why, "all instances stopped: calls refused with "
                   "14 \"%s\"", UNAVAILABLE);
        return;
    }

    if (clients_open(clients, CLIENTS, test, "unavail") == -1
        || !clients_login(clients, CLIENTS)
        || !client_echo(&clients[0], NULL)
        || !unavailable_stop(test, instances, stack_kill, "killed"))
    {
        goto done;
    }

    unavailable_calls(clients);

    /* the first call of a session that had an instance */

    if (!unavailable_restart(test, instances)
        || !client_echo(&clients[0], NULL)
        || !unavailable_stop(test, instances, stack_halt, "stopped"))
    {
        goto done;
    }

    unavailable_calls(clients);

    /* the first call of a session that had none */

    if (unavailable_restart(test, instances)
        && client_echo(&clients[1], NULL)
        && unavailable_await(&clients[0]))
    {
        (void) clients_differ(clients, 1);
        (void) client_shutdown(&clients[0], clients[0].pod);
        (void) client_shutdown(&clients[1], clients[1].pod);
    }

done:

    clients_close(clients, CLIENTS);
}


static bool
unavailable_stop(test_t *test, int instances, stop_pt stop, const char *how)
{
    int  n;

    for (n = 1; n <= instances; n++) {
        if (!stop(test, n)) {
            return false;
        }
    }

    check_note(test, "all %d instances are %s", instances, how);

    return true;
}


static void
unavailable_calls(client_t *clients)
{
    int  i;

    for (i = 0; i < CLIENTS; i++) {
        unavailable_refused(&clients[i], "MyServiceEcho", echo_outcome);
        unavailable_refused(&clients[i], "MyServiceSubscribe",
                            subscribe_outcome);
        unavailable_refused(&clients[i], "MyServiceShutdown",
                            shutdown_outcome);

        /* Login does not need the instances */

        (void) client_login(&clients[i]);
    }
}


static void
unavailable_refused(client_t *client, const char *what, client_call_pt call)
{
    int64_t    start, took;
    outcome_t  outcome;

    start = rpc_now();
    outcome = call(client);
    took = rpc_now() - start;

    (void) expect_error(client->test, &outcome, GRPC_STATUS_UNAVAILABLE,
                        UNAVAILABLE, "%s: %s without instances",
                        client->name, what);
    (void) check(client->test, took < AT_ONCE,
                 "%s: %s is refused at once: got %lld ms, want under %d",
                 client->name, what, (long long) took, AT_ONCE);
}


static bool
unavailable_restart(test_t *test, int instances)
{
    int  n;

    for (n = 1; n <= instances; n++) {
        if (!stack_restart(test, n)) {
            return false;
        }
    }

    check_note(test, "all %d instances are back", instances);

    return true;
}


/* When the gateway knows that one instance is up, and leased, it may treat the
 * others as dead a little longer. */

static bool
unavailable_await(client_t *client)
{
    int64_t    start;
    outcome_t  outcome;

    start = rpc_now();

    for ( ;; ) {
        outcome = call_echo(client, NULL);

        if (outcome.code != GRPC_STATUS_RESOURCE_EXHAUSTED
            || strcmp(outcome.message, BUSY) != 0
            || rpc_now() - start >= DEAD_LIMIT
            || check_time_left(client->test, 1000) < 1000)
        {
            break;
        }

        outcome_free(&outcome);
        (void) poll(NULL, 0, 50);
    }

    check_note(client->test, "%s: an instance after %lld ms", client->name,
               (long long) (rpc_now() - start));

    return expect_echo(client, &outcome, NULL);
}
