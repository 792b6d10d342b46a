/*
 * What the API of one of three gateways revokes, all refuse: at once, when the
 * store was away meanwhile and begins anew, and when a gateway does.
 */

#include <stdio.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/several.h"
#include "itests/stack.h"
#include "rpc/server.h"


#define GATEWAYS   3
#define INSTANCES  8
#define REVOKED    "token revoked"


static bool revoke_once(gateways_t *g, client_t *client);
static bool revoke_accepted(gateways_t *g, client_t *client);
static bool revoke_refused(gateways_t *g, client_t *client);


void
gateways_revoke(test_t *test)
{
    client_t     client;
    gateways_t   g;
    const char  *why;

    memset(&g, 0, sizeof(gateways_t));
    g.test = test;
    g.instances = stack_size(test, &why);
    stack_gateways(test, &g.at);

    if (g.at.n != GATEWAYS || g.instances < INSTANCES) {
        check_skip(test, "it needs a stack of three gateways (GATEWAYS=3 "
                   "INSTANCES=8)", "several gateways");
        return;
    }

    if (!gateways_all(&g, 1, GATEWAYS, false)
        || !gateways_new(&g, &client, 1))
    {
        return;
    }

    if (!revoke_accepted(&g, &client)
        || !revoke_once(&g, &client)
        || !revoke_refused(&g, &client))
    {
        goto done;
    }

    /* the store dies, and begins anew with nothing in it */

    if (!revoke_accepted(&g, &client)
        || !stack_store(test, "kill")
        || !gateways_all(&g, 1, GATEWAYS, true)
        || !revoke_once(&g, &client))
    {
        goto done;
    }

    (void) expect_refused(&client, NULL, GRPC_STATUS_UNAUTHENTICATED, REVOKED,
                          "a revoked token, without the store");

    gateways_to(&g, &client, 2);
    (void) client_echo(&client, client.pod);

    if (stack_store(test, "start") && revoke_refused(&g, &client)
        && stack_act(test, 2, "kill") && stack_act(test, 2, "start"))
    {
        (void) revoke_refused(&g, &client);
    }

done:

    client_close(&client);
}


static bool
revoke_once(gateways_t *g, client_t *client)
{
    char     command[256];
    test_t  *test;

    test = g->test;
    gateways_to(g, client, 1);
    snprintf(command, sizeof(command), "revoke %s", test->settings->username);

    return check(test, stack_user(test, command), "authsvc user %s: the first "
                 "gateway has acknowledged it", command);
}


/* A token of the second in which others were revoked is refused, too. */

static bool
revoke_accepted(gateways_t *g, client_t *client)
{
    int        i;
    int64_t    end;
    outcome_t  outcome;

    end = rpc_now() + check_time_left(g->test, SEVERAL_PATIENCE);
    gateways_to(g, client, 1);

    do {
        if (!client_login(client)) {
            return false;
        }

        outcome = call_echo(client, NULL);

        if (outcome.code == GRPC_STATUS_OK) {
            break;
        }

        outcome_free(&outcome);
        check_pace(SEVERAL_POLL);

    } while (rpc_now() < end);

    if (!check(g->test, rpc_now() < end, "a new token is good")
        || !expect_echo(client, &outcome, NULL))
    {
        return false;
    }

    for (i = 2; i <= GATEWAYS; i++) {
        gateways_to(g, client, i);

        if (!client_echo(client, client->pod)) {
            return false;
        }
    }

    return true;
}


/* All gateways refuse the token, from now on. */

static bool
revoke_refused(gateways_t *g, client_t *client)
{
    int        i;
    bool       refused;
    int64_t    begin, end;
    outcome_t  outcome;

    begin = rpc_now();
    end = begin + check_time_left(g->test, SEVERAL_PATIENCE);

    for (i = 1; i <= GATEWAYS; i++) {
        gateways_to(g, client, i);

        do {
            outcome = call_echo(client, NULL);
            refused = outcome.code == GRPC_STATUS_UNAUTHENTICATED;
            outcome_free(&outcome);

            if (!refused) {
                check_pace(SEVERAL_POLL);
            }

        } while (!refused && rpc_now() < end);

        if (!expect_refused(client, NULL, GRPC_STATUS_UNAUTHENTICATED,
                            REVOKED, "a revoked token"))
        {
            return false;
        }
    }

    check_note(g->test, "%lld ms until all gateways refuse it",
               (long long) (rpc_now() - begin));

    return true;
}
