/* Two clients call in turn: each stays on its own instance. */

#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"


#define CLIENTS     2
#define ECHO_CALLS  10


static bool sticky_calls(test_t *test, client_t *clients,
    char pods[][CLIENT_POD]);


void
sticky_session(test_t *test)
{
    int        i;
    char       pods[CLIENTS][CLIENT_POD];
    client_t   clients[CLIENTS];
    outcome_t  outcomes[CLIENTS];

    if (clients_open(clients, CLIENTS, test, "client") == -1
        || !clients_login(clients, CLIENTS)
        || !sticky_calls(test, clients, pods))
    {
        goto done;
    }

    clients_parallel(clients, CLIENTS, shutdown_outcome, outcomes);

    for (i = 0; i < CLIENTS; i++) {
        (void) expect_shutdown(&clients[i], &outcomes[i], pods[i]);
    }

done:

    clients_close(clients, CLIENTS);
}


static bool
sticky_calls(test_t *test, client_t *clients, char pods[][CLIENT_POD])
{
    int  i, call;

    for (call = 0; call < ECHO_CALLS; call++) {
        for (i = 0; i < CLIENTS; i++) {
            if (!client_echo(&clients[i], call == 0 ? NULL : pods[i])) {
                return false;
            }

            memcpy(pods[i], clients[i].pod, CLIENT_POD);
        }
    }

    for (i = 0; i < CLIENTS; i++) {
        (void) check(test, true, "%s: all %d answers from \"%s\"",
                     clients[i].name, ECHO_CALLS, pods[i]);
    }

    return clients_differ(clients, 1);
}
