/*
 * Twelve sessions of one user call at once, five instances are free.  With
 * myservice_limit two sessions get one, and another user gets the next.
 */

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"


#define SESSIONS  12
#define LIMIT     2
#define MANY      "too many sessions"

#define OTHER     "LimitedUser"
#define PASSWORD  "LimitedPassword"


static int limit_race(client_t *clients, bool *has);
static void limit_other(test_t *test);
static void limit_again(client_t *clients, const bool *has);


void
session_limit(test_t *test)
{
    bool      has[SESSIONS];
    client_t  clients[SESSIONS];

    if (clients_open(clients, SESSIONS, test, "limit-") == 0
        && clients_login(clients, SESSIONS)
        && check(test, limit_race(clients, has) == LIMIT,
                 "%d of %d sessions of one user have an instance", LIMIT,
                 SESSIONS))
    {
        limit_other(test);
        limit_again(clients, has);
    }

    clients_close(clients, SESSIONS);
}


/* Returns how many have an instance. */

static int
limit_race(client_t *clients, bool *has)
{
    int        i, n;
    outcome_t  outcomes[SESSIONS];

    clients_parallel(clients, SESSIONS, echo_outcome, outcomes);

    for (i = n = 0; i < SESSIONS; i++) {
        has[i] = outcomes[i].code == GRPC_STATUS_OK;

        if (has[i]) {
            n += expect_echo(&clients[i], &outcomes[i], NULL);

        } else {
            (void) expect_error(clients[i].test, &outcomes[i],
                                GRPC_STATUS_RESOURCE_EXHAUSTED, MANY,
                                "%s: MyServiceEcho", clients[i].name);
        }
    }

    return n;
}


static void
limit_other(test_t *test)
{
    client_t   other;
    outcome_t  outcome;

    if (test->settings->stack == NULL) {
        check_skip(test, "it needs --stack", "a session of another user");
        return;
    }

    if (!check(test, stack_user(test, "add " OTHER " --role user <<EOF\n"
                                PASSWORD "\nEOF"),
               "another user is added"))
    {
        return;
    }

    if (client_open(&other, test, "another user", "limit-other") == -1) {
        return;
    }

    outcome = call_login(&other, OTHER, PASSWORD, other.session);

    if (expect_login(&other, &outcome)) {
        (void) client_echo(&other, NULL);
    }

    client_close(&other);
}


/* A session ends, and another one of the user takes its place. */

static void
limit_again(client_t *clients, const bool *has)
{
    int        i, gone, comes;
    test_t    *test;
    outcome_t  outcome;

    gone = comes = 0;
    test = clients[0].test;

    for (i = 0; i < SESSIONS; i++) {
        if (has[i]) {
            gone = i;

        } else {
            comes = i;
        }
    }

    if (!client_shutdown(&clients[gone], clients[gone].pod)
        || !client_echo(&clients[comes], NULL))
    {
        return;
    }

    outcome = call_echo(&clients[gone], NULL);
    (void) expect_error(test, &outcome, GRPC_STATUS_RESOURCE_EXHAUSTED, MANY,
                        "%s, which has left: MyServiceEcho",
                        clients[gone].name);
}
