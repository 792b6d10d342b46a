/*
 * More logins at once than nginx.conf lets through. The gateway refuses the
 * excess with a clear error. The logins have no name, so that authsvc hashes
 * none.
 */

#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"


#define RATE_LOGINS  250                /* the burst in nginx.conf is 100 */


static outcome_t rate_login(client_t *client);
static void rate_answers(test_t *test, outcome_t *outcomes);


/* Needs the rate of nginx.conf: another stack may allow more. */
void
login_rate(test_t *test)
{
    int          i;
    client_t     client, *clients;
    outcome_t   *outcomes;
    const char  *rate;

    rate = getenv("LOGIN_RATE");

    if (test->settings->stack == NULL || rate == NULL || atoi(rate) > 20) {
        check_skip(test, "the gateway may allow any number (own stack)",
                   "%d logins at once", RATE_LOGINS);
        return;
    }

    clients = calloc(RATE_LOGINS, sizeof(client_t));
    outcomes = calloc(RATE_LOGINS, sizeof(outcome_t));
    if (clients == NULL || outcomes == NULL) {
        abort();
    }

    if (clients_open(&client, 1, test, "rate") == 0) {
        for (i = 0; i < RATE_LOGINS; i++) {
            clients[i] = client;
        }

        clients_parallel(clients, RATE_LOGINS, rate_login, outcomes);
        rate_answers(test, outcomes);
    }

    clients_close(&client, 1);
    free(outcomes);
    free(clients);
}


static outcome_t
rate_login(client_t *client)
{
    return call_login(client, "", "", client->session);
}


static void
rate_answers(test_t *test, outcome_t *outcomes)
{
    int  i, through, many, other;

    through = 0;
    many = 0;
    other = 0;

    for (i = 0; i < RATE_LOGINS; i++) {
        if (outcomes[i].code == GRPC_STATUS_INVALID_ARGUMENT
            && strcmp(outcomes[i].message, "username is required") == 0)
        {
            through++;

        } else if (outcomes[i].code == GRPC_STATUS_UNAVAILABLE
                   && strcmp(outcomes[i].message, "too many requests") == 0)
        {
            many++;

        } else {
            other++;
        }

        outcome_free(&outcomes[i]);
    }

    (void) check(test, through >= 100 && many > 0 && other == 0,
                 "of %d logins at once at least 100 get through, the others 14 "
                 "\"too many requests\": got %d, %d, and %d other answers",
                 RATE_LOGINS, through, many, other);
}
