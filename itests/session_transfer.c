/*
 * One session outlives three instances: each Shutdown is followed at once,
 * without a retry or a pause, by the next call.
 */

#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"


#define INSTANCES  3


static bool transfer_instance(client_t *client, int n,
    char pods[][CLIENT_POD]);
static void transfer_none_left(client_t *client);


void
session_transfer(test_t *test)
{
    int       n;
    char      pods[INSTANCES][CLIENT_POD];
    client_t  client;

    if (client_open(&client, test, "client", "transfer") == -1) {
        return;
    }

    if (!client_login(&client)) {
        goto done;
    }

    for (n = 0; n < INSTANCES; n++) {
        if (!transfer_instance(&client, n, pods)) {
            goto done;
        }
    }

    transfer_none_left(&client);

done:

    client_close(&client);
}


static bool
transfer_instance(client_t *client, int n, char pods[][CLIENT_POD])
{
    int  i;

    if (!client_echo(client, NULL)) {
        return false;
    }

    memcpy(pods[n], client->pod, CLIENT_POD);

    for (i = 0; i < n; i++) {
        if (!check(client->test, strcmp(pods[i], pods[n]) != 0,
                   "instance %d of the session is another than its "
                   "instance %d: got \"%s\" and \"%s\"", n + 1, i + 1,
                   pods[n], pods[i]))
        {
            return false;
        }
    }

    return client_echo(client, pods[n]) && client_shutdown(client, pods[n]);
}


/* The gateway has two answers: instances that left by Shutdown are no members;
 * instances that it cannot reach are. */

static void
transfer_none_left(client_t *client)
{
    outcome_t  outcome;

    outcome = call_echo(client, NULL);

    if (outcome.code == GRPC_STATUS_UNAVAILABLE) {
        (void) expect_error(client->test, &outcome, GRPC_STATUS_UNAVAILABLE,
                            "backend service unavailable",
                            "MyServiceEcho after all instances shut down");
        return;
    }

    (void) expect_error(client->test, &outcome,
                        GRPC_STATUS_RESOURCE_EXHAUSTED,
                        "no available instances",
                        "MyServiceEcho after all instances shut down");
}
