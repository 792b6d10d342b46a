/*
 * Many sessions start at the same time, and many calls of one session start at
 * the same time over several connections, so that several workers of the
 * gateway get them.
 */

#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"


#define RACERS       30
#define INSTANCES    3
#define CONNECTIONS  8
#define FIRST_CALLS  40
#define BUSY         "all instances are busy"


static bool race_login(client_t *clients, size_t n);
static void race_run(test_t *test, client_t *clients);
static bool first_calls_run(test_t *test, client_t *connections);
static void first_calls_others(test_t *test, client_t *connections);


void
session_race(test_t *test)
{
    client_t  *clients;

    clients = calloc(RACERS, sizeof(client_t));
    if (clients == NULL) {
        abort();
    }

    if (clients_open(clients, RACERS, test, "race") == 0
        && race_login(clients, RACERS))
    {
        race_run(test, clients);
    }

    clients_close(clients, RACERS);
    free(clients);
}


void
session_first_calls(test_t *test)
{
    client_t  connections[CONNECTIONS];

    if (clients_open(connections, CONNECTIONS, test, "first") == 0
        && race_login(connections, INSTANCES + 1)
        && first_calls_run(test, connections))
    {
        first_calls_others(test, connections);
    }

    clients_close(connections, CONNECTIONS);
}


static bool
race_login(client_t *clients, size_t n)
{
    bool        ok;
    size_t      i;
    outcome_t   outcomes[RACERS];

    ok = true;

    clients_parallel(clients, n, login_outcome, outcomes);

    for (i = 0; i < n; i++) {
        ok &= expect_login(&clients[i], &outcomes[i]);
    }

    return ok;
}


static void
race_run(test_t *test, client_t *clients)
{
    int        i, won;
    outcome_t  outcomes[RACERS];

    won = 0;

    clients_parallel(clients, RACERS, echo_outcome, outcomes);

    for (i = 0; i < RACERS; i++) {
        if (outcomes[i].code != GRPC_STATUS_OK) {
            (void) expect_error(test, &outcomes[i],
                                GRPC_STATUS_RESOURCE_EXHAUSTED, BUSY,
                                "%s: MyServiceEcho", clients[i].name);
            continue;
        }

        won++;

        if (expect_echo(&clients[i], &outcomes[i], NULL)) {
            (void) clients_differ(clients, (size_t) i);
        }
    }

    (void) check(test, won == INSTANCES,
                 "of %d sessions get an instance: got %d, want %d", RACERS,
                 won, INSTANCES);

    /* no session moves afterwards */

    for (i = 0; i < RACERS; i++) {
        outcomes[0] = call_echo(&clients[i], NULL);

        if (clients[i].pod[0] != '\0') {
            (void) expect_echo(&clients[i], &outcomes[0], clients[i].pod);

        } else {
            (void) expect_error(test, &outcomes[0],
                                GRPC_STATUS_RESOURCE_EXHAUSTED, BUSY,
                                "%s: MyServiceEcho again", clients[i].name);
        }
    }
}


/* The session of the first connection, on all of them. */

static bool
first_calls_run(test_t *test, client_t *connections)
{
    int         i;
    bool        ok;
    client_t    calls[FIRST_CALLS];
    outcome_t   outcomes[FIRST_CALLS];

    for (i = 0; i < FIRST_CALLS; i++) {
        calls[i] = connections[0];
        calls[i].rpc = connections[i % CONNECTIONS].rpc;
    }

    ok = true;

    clients_parallel(calls, FIRST_CALLS, echo_outcome, outcomes);

    for (i = 0; i < FIRST_CALLS; i++) {
        ok &= expect_echo(&calls[i], &outcomes[i],
                          i == 0 ? NULL : calls[0].pod);
    }

    memcpy(connections[0].pod, calls[0].pod, CLIENT_POD);

    return check(test, ok, "%d first calls of one session over %d "
                 "connections are answered by one instance", FIRST_CALLS,
                 CONNECTIONS);
}


/* The calls took one instance, no more. */

static void
first_calls_others(test_t *test, client_t *connections)
{
    int        i;
    outcome_t  outcome;

    for (i = 1; i < INSTANCES; i++) {
        if (!client_echo(&connections[i], NULL)
            || !clients_differ(connections, (size_t) i))
        {
            return;
        }
    }

    outcome = call_echo(&connections[INSTANCES], NULL);
    (void) expect_error(test, &outcome, GRPC_STATUS_RESOURCE_EXHAUSTED, BUSY,
                        "%s: MyServiceEcho", connections[INSTANCES].name);
}
