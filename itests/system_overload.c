/*
 * Four clients start at the same time for three instances. Each client gets an
 * instance of its own or a clear error.
 */

#include <stdio.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"


#define CLIENTS   4
#define CONFLICT  "Session conflict: was="


static void overload_attempts(test_t *test, client_t *clients, bool *got);
static bool overload_error(client_t *client, outcome_t *outcome);
static void overload_cleanup(client_t *clients, const bool *got);


void
system_overload(test_t *test)
{
    bool      got[CLIENTS];
    client_t  clients[CLIENTS];

    if (clients_open(clients, CLIENTS, test, "client") == 0
        && clients_login(clients, CLIENTS))
    {
        overload_attempts(test, clients, got);
        overload_cleanup(clients, got);
    }

    clients_close(clients, CLIENTS);
}


static void
overload_attempts(test_t *test, client_t *clients, bool *got)
{
    int        i, passed, refused;
    outcome_t  outcomes[CLIENTS];

    passed = 0;
    refused = 0;

    clients_parallel(clients, CLIENTS, echo_outcome, outcomes);

    for (i = 0; i < CLIENTS; i++) {
        got[i] = false;

        if (outcomes[i].code != GRPC_STATUS_OK) {
            refused++;
            (void) overload_error(&clients[i], &outcomes[i]);
            continue;
        }

        passed++;
        got[i] = expect_echo(&clients[i], &outcomes[i], NULL)
                 && clients_differ(clients, (size_t) i);
    }

    (void) check(test, refused >= 1,
                 "at least one of %d clients is refused: got %d", CLIENTS,
                 refused);
    (void) check(test, passed >= 1,
                 "at least one of %d clients gets an instance: got %d",
                 CLIENTS, passed);
}


/* All answers that the API allows here, with the exact texts. */

static bool
overload_error(client_t *client, outcome_t *outcome)
{
    int                i;
    bool               known;
    size_t             len;
    char               text[512];
    check_t            c;
    static const struct {
        grpc_status_code   code;
        const char        *message;
    } allowed[] = {
        { GRPC_STATUS_RESOURCE_EXHAUSTED, "all instances are busy" },
        { GRPC_STATUS_RESOURCE_EXHAUSTED, "no available instances" },
        { GRPC_STATUS_UNAVAILABLE, "backend service unavailable" },
        { GRPC_STATUS_UNAVAILABLE, "service unavailable" },
    };

    known = false;

    for (i = 0; i < (int) (sizeof(allowed) / sizeof(allowed[0])); i++) {
        known |= outcome->code == allowed[i].code
                 && strcmp(outcome->message, allowed[i].message) == 0;
    }

    if (outcome->code == GRPC_STATUS_INTERNAL) {
        len = (size_t) snprintf(text, sizeof(text), ", now=%s",
                                client->session);
        known = strncmp(outcome->message, CONFLICT, strlen(CONFLICT)) == 0
                && strlen(outcome->message) > strlen(CONFLICT) + len
                && strcmp(outcome->message + strlen(outcome->message) - len,
                          text) == 0;
    }

    snprintf(text, sizeof(text), "%d %s \"%s\"", (int) outcome->code,
             check_code_name((int) outcome->code), outcome->message);

    check_begin(&c, client->test, "%s: MyServiceEcho refused", client->name);
    (void) check_that(&c, known, text, text,
                      "one of the errors of an overload");
    outcome_free(outcome);

    return check_done(&c);
}


static void
overload_cleanup(client_t *clients, const bool *got)
{
    int        i, n, index[CLIENTS];
    client_t   owners[CLIENTS];
    outcome_t  outcomes[CLIENTS];

    n = 0;

    for (i = 0; i < CLIENTS; i++) {
        if (got[i]) {
            owners[n] = clients[i];
            index[n++] = i;
        }
    }

    clients_parallel(owners, (size_t) n, shutdown_outcome, outcomes);

    for (i = 0; i < n; i++) {
        (void) expect_shutdown(&clients[index[i]], &outcomes[i],
                               owners[i].pod);
    }
}
