/*
 * Twelve sessions of one user call at once, again and again, over three
 * gateways with one store, which counts them: two have an instance at any time.
 */

#include <stdio.h>
#include <string.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/several.h"
#include "itests/stack.h"
#include "rpc/server.h"


#define GATEWAYS   3
#define INSTANCES  12
#define SESSIONS   12
#define LIMIT      2
#define ROUNDS     4                    /* in each two sessions end, and with
                                           them their instances */
#define MANY       "too many sessions"
#define ID         128


typedef struct {
    gateways_t   g;
    client_t    *clients;
    bool         has[SESSIONS];
    client_t    *ended[INSTANCES + 1];  /* whose session each one has ended */
    int          served;                /* in the last round */
    bool         refused;               /* somebody, by the store's state */
} limit_t;


static void limit_run(limit_t *l);
static bool limit_settle(limit_t *l);
static bool limit_round(limit_t *l);
static bool limit_judge(limit_t *l, int i, outcome_t *outcome);
static bool limit_watch(limit_t *l);
static bool limit_leave(limit_t *l);
static bool limit_number(limit_t *l, const char *pod, int *number);


void
gateways_limit(test_t *test)
{
    int          i;
    limit_t      l;
    client_t     clients[SESSIONS];
    const char  *why;

    memset(&l, 0, sizeof(limit_t));
    l.g.test = test;
    l.g.instances = stack_size(test, &why);
    l.clients = clients;
    stack_gateways(test, &l.g.at);

    if (l.g.at.n != GATEWAYS || l.g.instances > INSTANCES
        || l.g.instances < LIMIT * (ROUNDS + 1))
    {
        check_skip(test, "it needs a stack of three gateways with a limit "
                   "(GATEWAYS=3 INSTANCES=12 LIMIT=2)", "several gateways");
        return;
    }

    if (clients_open(clients, SESSIONS, test, "limit-") == 0
        && clients_login(clients, SESSIONS))
    {
        for (i = 0; i < SESSIONS; i++) {
            gateways_to(&l.g, &clients[i], i % GATEWAYS + 1);
        }

        limit_run(&l);
    }

    clients_close(clients, SESSIONS);
}


/* The store begins anew after each second end, before any gateway has told it
 * of its leases. */

static void
limit_run(limit_t *l)
{
    int  i;

    if (!limit_settle(l)) {
        return;
    }

    for (i = 0; i < ROUNDS; i++) {

        if (i % 2 == 1
            && (!stack_store(l->g.test, "kill") || !limit_round(l)
                || !stack_store(l->g.test, "start") || !limit_settle(l)))
        {
            return;
        }

        if (!limit_leave(l) || !limit_settle(l)) {
            return;
        }
    }
}


/* Waits until nobody is refused because of the store. */

static bool
limit_settle(limit_t *l)
{
    int64_t  end;

    end = rpc_now() + check_time_left(l->g.test, SEVERAL_PATIENCE);

    do {
        if (!limit_round(l)) {
            return false;
        }

    } while (l->refused && rpc_now() < end);

    return check(l->g.test, !l->refused && l->served == LIMIT,
                 "%d of %d sessions of one user have an instance: %d",
                 LIMIT, SESSIONS, l->served);
}


/* Who has an instance keeps it. */

static bool
limit_round(limit_t *l)
{
    int        i;
    bool       ok;
    outcome_t  outcomes[SESSIONS];

    clients_parallel(l->clients, SESSIONS, echo_outcome, outcomes);

    ok = true;
    l->served = 0;
    l->refused = false;

    for (i = 0; i < SESSIONS; i++) {
        ok = limit_judge(l, i, &outcomes[i]) && ok;
    }

    return ok && limit_watch(l);
}


static bool
limit_judge(limit_t *l, int i, outcome_t *outcome)
{
    client_t  *client;

    client = &l->clients[i];

    if (l->has[i] || outcome->code == GRPC_STATUS_OK) {
        l->served++;

        if (!expect_echo(client, outcome, l->has[i] ? client->pod : NULL)) {
            return false;
        }

        l->has[i] = true;
        return true;
    }

    if (outcome->code == GRPC_STATUS_UNAVAILABLE) {
        l->refused = true;
        return expect_error(l->g.test, outcome, GRPC_STATUS_UNAVAILABLE,
                            SEVERAL_UNAVAILABLE, "%s: MyServiceEcho",
                            client->name);
    }

    return expect_error(l->g.test, outcome, GRPC_STATUS_RESOURCE_EXHAUSTED,
                        MANY, "%s: MyServiceEcho", client->name);
}


/* What the instances say.  One that ends names the session that it has ended
 * for a while. */

static bool
limit_watch(limit_t *l)
{
    int     i, k, n;
    char    session[ID], text[256];
    size_t  len;

    text[0] = '\0';

    for (i = 1, n = 0; i <= l->g.instances; i++) {

        if (!stack_session(l->g.test, i, session, sizeof(session))) {
            continue;
        }

        for (k = 0; k < SESSIONS; k++) {
            if (strcmp(session, l->clients[k].session) == 0
                && l->ended[i] != &l->clients[k])
            {
                n++;
                len = strlen(text);
                snprintf(text + len, sizeof(text) - len, ", %s at %d",
                         l->clients[k].name, i);
            }
        }
    }

    return n <= LIMIT
           || check(l->g.test, false, "%d instances serve sessions of the "
                    "user, who may have %d%s", n, LIMIT, text);
}


/* Both sessions end, each at another gateway than the one it called so far. */

static bool
limit_leave(limit_t *l)
{
    int  i, number;

    for (i = 0; i < SESSIONS; i++) {

        if (!l->has[i]) {
            continue;
        }

        gateways_to(&l->g, &l->clients[i], (i + 1) % GATEWAYS + 1);

        if (!client_shutdown(&l->clients[i], l->clients[i].pod)
            || !limit_number(l, l->clients[i].pod, &number))
        {
            return false;
        }

        l->ended[number] = &l->clients[i];
        l->has[i] = false;
        gateways_to(&l->g, &l->clients[i], i % GATEWAYS + 1);
    }

    return true;
}


static bool
limit_number(limit_t *l, const char *pod, int *number)
{
    return check(l->g.test,
                 sscanf(pod, "myservice-%d", number) == 1 && *number >= 1
                 && *number <= l->g.instances,
                 "\"%s\" is an instance of the stack", pod);
}
