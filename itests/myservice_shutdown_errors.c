/*
 * Shutdown without a session, and Shutdown by another session than the owner.
 * Both are refused, and no instance ends.
 */

#include <stdio.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"


#define CLIENTS  3
#define NOT_SET  "Server session is not set"


static void shutdown_mismatch(const client_t *owner, client_t *stranger);


void
myservice_shutdown_errors(test_t *test)
{
    size_t     i;
    client_t   clients[CLIENTS];
    outcome_t  outcome;

    if (clients_open(clients, CLIENTS, test, "shutdown") == -1
        || !clients_login(clients, CLIENTS))
    {
        goto done;
    }

    for (i = 0; i < CLIENTS; i++) {
        outcome = call_shutdown(&clients[i], NULL);
        (void) expect_error(test, &outcome, GRPC_STATUS_PERMISSION_DENIED,
                            NOT_SET, "%s: MyServiceShutdown before any call",
                            clients[i].name);
    }

    if (!client_echo(&clients[0], NULL)) {
        goto done;
    }

    /* the gateway sends another session to a free instance */

    outcome = call_shutdown(&clients[1], NULL);
    (void) expect_error(test, &outcome, GRPC_STATUS_PERMISSION_DENIED,
                        NOT_SET, "client 2: MyServiceShutdown while client 1 "
                        "has an instance");

    shutdown_mismatch(&clients[0], &clients[1]);

    /* client 1 has its instance, and each of the others gets one */

    for (i = 0; i < CLIENTS; i++) {
        if (!client_echo(&clients[i], i == 0 ? clients[0].pod : NULL)) {
            goto done;
        }

        (void) clients_differ(clients, i);
    }

done:

    clients_close(clients, CLIENTS);
}


/* Only a call that bypasses the gateway reaches the instance of another
 * session. */

static void
shutdown_mismatch(const client_t *owner, client_t *stranger)
{
    char           message[320];
    client_t       direct;
    outcome_t      outcome;
    const char    *why;
    rpc_client_t  *instance;

    instance = stack_owner(owner->test, owner->session, &why);

    if (instance == NULL) {
        check_skip(owner->test, why, "%s: MyServiceShutdown straight to the "
                   "instance of %s refused", stranger->name, owner->name);
        return;
    }

    snprintf(message, sizeof(message),
             "Client session mismatch: client=%s, server=%s",
             stranger->session, owner->session);

    direct = *stranger;
    direct.rpc = instance;

    outcome = call_shutdown(&direct, NULL);
    (void) expect_error(owner->test, &outcome, GRPC_STATUS_PERMISSION_DENIED,
                        message, "%s: MyServiceShutdown straight to the "
                        "instance of %s", stranger->name, owner->name);

    rpc_client_free(instance);
}
