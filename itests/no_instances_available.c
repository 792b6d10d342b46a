/*
 * Three clients hold the three instances, and the fourth gets the exact
 * refusal. No client calls Shutdown: the instances stay leased at the end.
 */

#include "itests/client.h"
#include "itests/scenario.h"


#define OCCUPANTS  3
#define CLIENTS    (OCCUPANTS + 1)


static bool busy_occupy(client_t *clients);


void
no_instances_available(test_t *test)
{
    client_t   clients[CLIENTS];
    outcome_t  outcome;

    if (clients_open(clients, CLIENTS, test, "noinst-") == -1
        || !clients_login(clients, CLIENTS)
        || !busy_occupy(clients))
    {
        goto done;
    }

    outcome = call_echo(&clients[OCCUPANTS], NULL);

    (void) expect_error(test, &outcome, GRPC_STATUS_RESOURCE_EXHAUSTED,
                        "all instances are busy", "%s: MyServiceEcho",
                        clients[OCCUPANTS].name);

done:

    clients_close(clients, CLIENTS);
}


static bool
busy_occupy(client_t *clients)
{
    size_t  i;

    for (i = 0; i < OCCUPANTS; i++) {
        if (!client_echo(&clients[i], NULL) || !clients_differ(clients, i)) {
            return false;
        }
    }

    return true;
}
