/*
 * Twenty sessions call at once, and there are three instances: with
 * myservice_queue none is refused, each gets an instance in its turn.
 */

#include "itests/client.h"
#include "itests/scenario.h"


#define SESSIONS  20


void
waiting_line(test_t *test)
{
    int        i;
    client_t   clients[SESSIONS];
    outcome_t  outcomes[SESSIONS];

    if (clients_open(clients, SESSIONS, test, "line-") == -1
        || !clients_login(clients, SESSIONS))
    {
        goto done;
    }

    /* a session ends a second after its call: the next one's turn */

    clients_parallel(clients, SESSIONS, echo_outcome, outcomes);

    for (i = 0; i < SESSIONS; i++) {
        (void) expect_echo(&clients[i], &outcomes[i], NULL);
    }

done:

    clients_close(clients, SESSIONS);
}
