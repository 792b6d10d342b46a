/*
 * Several gateways with one store: each call goes to another gateway, while the
 * store, a gateway or the way between them fails.  No call of a session that has
 * an instance may fail or come to another instance.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "itests/client.h"
#include "itests/load.h"
#include "itests/proxy.h"
#include "itests/scenario.h"
#include "itests/several.h"
#include "itests/stack.h"
#include "my_service.pb-c.h"
#include "rpc/server.h"


#define GATEWAYS      3
#define WORKERS       2                 /* of each */
#define RACERS        30
#define BURIED        8                 /* of twelve instances */
#define RELOADS       3
#define PROMOTIONS    2                 /* at least */
#define ROUND         6000              /* ms of the soak, for a harm */
#define TTL           4000              /* ms: half of the stack's ttl */
#define HOPPING_TTL   1000


typedef bool (*gateways_pt)(gateways_t *g);


static bool gateways_open(gateways_t *g, test_t *test);
static void gateways_run(gateways_t *g, gateways_pt act);
static bool gateways_heard(gateways_t *g);
static bool gateways_kill(gateways_t *g);
static bool gateways_promote(gateways_t *g);
static bool gateways_proxied(gateways_t *g);
static bool gateways_cut(gateways_t *g);
static bool gateways_agree(gateways_t *g, client_t *client);
static bool gateways_renew(gateways_t *g);
static bool gateways_bury(gateways_t *g);
static int gateways_rounds(const gateways_t *g, int least);
static bool gateways_harm(gateways_t *g, const char *harm, const char *heal);
static void race_run(gateways_t *g, client_t *clients);
static bool race_again(gateways_t *g, client_t *client);


/* More sessions than instances: those that are idle give way. */

void
gateways_hopping(test_t *test)
{
    int64_t       end, late;
    gateways_t    g;
    load_count_t  count;
    load_plan_t   plan = {
        .label = "hop", .sessions = 6, .seats = 4, .visit = 1500,
        .ttl = HOPPING_TTL
    };

    if (!gateways_open(&g, test) || !gateways_all(&g, 1, GATEWAYS, false)) {
        return;
    }

    plan.gateways = &g.at;
    g.load = load_start(test, &plan);

    if (g.load == NULL) {
        return;
    }

    end = rpc_now() + test->settings->soak;
    late = end + SEVERAL_PATIENCE;

    while (rpc_now() < end
           || (!load_contended(g.load) && rpc_now() < late))
    {
        check_pace(SEVERAL_POLL);
    }

    (void) gateways_apart(&g);
    count = load_stop(g.load);
    gateways_counts(&g, &count);
    (void) check(test, count.busy > 0, "some sessions find no instance: %llu",
                 (unsigned long long) count.busy);
    (void) check(test, count.visits > 0, "sessions come and go: %llu",
                 (unsigned long long) count.visits);
}


void
gateways_store_dies(test_t *test)
{
    gateways_t  g;

    if (gateways_open(&g, test)) {
        g.forgets = true;
        gateways_run(&g, gateways_kill);
    }
}


void
gateways_failover(test_t *test)
{
    char        replica[STACK_ADDRESS];
    gateways_t  g;

    if (!gateways_open(&g, test)) {
        return;
    }

    if (!stack_address(test, "store-2", replica, sizeof(replica))) {
        check_skip(test, "the store has no replica (STORES=2)",
                   "a replica becomes the master");
        return;
    }

    g.forgets = true;
    gateways_run(&g, gateways_promote);
}


void
gateways_partition(test_t *test)
{
    int         port;
    char        store[STACK_ADDRESS], proxy[STACK_ADDRESS];
    gateways_t  g;

    if (!gateways_open(&g, test)) {
        return;
    }

    if (!stack_address(test, "store", store, sizeof(store))
        || !stack_address(test, "store-proxy", proxy, sizeof(proxy))
        || sscanf(proxy, "%*[^:]:%d", &port) != 1)
    {
        check_skip(test, "no gateway finds the store at another port "
                   "(STORE_PROXY=6399)", "a gateway without the store");
        return;
    }

    g.proxy = proxy_start(port, store);

    if (check(test, g.proxy != NULL, "a proxy to the store at port %d", port))
    {
        if (gateways_proxied(&g)) {
            gateways_run(&g, gateways_cut);
        }

        proxy_stop(g.proxy);
    }
}


/* Every worker has a connection, and one of them another one. */

static bool
gateways_proxied(gateways_t *g)
{
    int      n;
    int64_t  end;

    end = rpc_now() + check_time_left(g->test, SEVERAL_PATIENCE);

    while ((n = proxy_accepted(g->proxy)) < WORKERS + 1 && rpc_now() < end) {
        check_pace(SEVERAL_POLL);
    }

    return check(g->test, n > WORKERS,
                 "the workers of a gateway are connected: got %d", n);
}


void
gateways_restart(test_t *test)
{
    gateways_t  g;

    if (gateways_open(&g, test)) {
        gateways_run(&g, gateways_renew);
    }
}


/* Several gateways see that an instance has died: one of them moves its session,
 * the others follow. */

void
gateways_instances(test_t *test)
{
    gateways_t    g;
    load_count_t  count;
    load_plan_t   plan = {
        .label = "gateways", .sessions = 2 * SEVERAL_SESSIONS,
        .seats = 2 * SEVERAL_SESSIONS, .ttl = TTL
    };

    if (!gateways_open(&g, test) || !gateways_all(&g, 1, GATEWAYS, false)) {
        return;
    }

    plan.gateways = &g.at;
    g.load = load_start(test, &plan);

    if (g.load == NULL) {
        return;
    }

    if (load_await(g.load) && gateways_bury(&g)) {
        (void) gateways_apart(&g);
    }

    count = load_stop(g.load);
    (void) check(test, count.moves > 0, "sessions move: got %llu",
                 (unsigned long long) count.moves);
    count.moves = 0;
    gateways_counts(&g, &count);
    (void) gateways_none(test, "without a place to move to", count.lost);
    (void) gateways_none(test, "not repeated", count.unrepeatable);
}


void
gateways_race(test_t *test)
{
    size_t      i;
    gateways_t  g;
    client_t   *clients;

    if (!gateways_open(&g, test) || !gateways_all(&g, 1, GATEWAYS, false)) {
        return;
    }

    clients = calloc(RACERS, sizeof(client_t));
    if (clients == NULL) {
        abort();
    }

    if (clients_open(clients, RACERS, test, "race") == 0
        && clients_login(clients, RACERS))
    {
        for (i = 0; i < RACERS; i++) {
            gateways_to(&g, &clients[i], (int) (i % GATEWAYS) + 1);
        }

        race_run(&g, clients);
    }

    clients_close(clients, RACERS);
    free(clients);
}


static void
race_run(gateways_t *g, client_t *clients)
{
    int        i, won;
    outcome_t  outcomes[RACERS];

    clients_parallel(clients, RACERS, echo_outcome, outcomes);

    won = 0;

    for (i = 0; i < RACERS; i++) {
        if (outcomes[i].code != GRPC_STATUS_OK) {
            (void) expect_error(g->test, &outcomes[i],
                                GRPC_STATUS_RESOURCE_EXHAUSTED, SEVERAL_BUSY,
                                "%s: MyServiceEcho", clients[i].name);
            continue;
        }

        won++;

        if (expect_echo(&clients[i], &outcomes[i], NULL)) {
            (void) clients_differ(clients, (size_t) i);
        }
    }

    (void) check(g->test, won == g->instances - g->taken,
                 "of %d sessions as many get an instance as there are free: "
                 "got %d, want %d", RACERS, won, g->instances - g->taken);

    for (i = 0; i < RACERS; i++) {
        if (!race_again(g, &clients[i])) {
            return;
        }
    }
}


/* All gateways say the same. */

static bool
race_again(gateways_t *g, client_t *client)
{
    int        i;
    bool       ok;
    outcome_t  outcome;

    ok = true;

    for (i = 1; i <= GATEWAYS && ok; i++) {
        gateways_to(g, client, i);
        outcome = call_echo(client, NULL);

        if (client->pod[0] != '\0') {
            ok = expect_echo(client, &outcome, client->pod);

        } else {
            ok = expect_error(g->test, &outcome,
                              GRPC_STATUS_RESOURCE_EXHAUSTED, SEVERAL_BUSY,
                              "%s: MyServiceEcho at gateway %d",
                              client->name, i);
        }
    }

    return ok;
}


static bool
gateways_open(gateways_t *g, test_t *test)
{
    const char  *why;

    memset(g, 0, sizeof(gateways_t));
    g->test = test;
    g->instances = stack_size(test, &why);
    stack_gateways(test, &g->at);

    if (g->at.n == GATEWAYS && g->instances >= SEVERAL_SESSIONS) {
        return true;
    }

    check_skip(test, "it needs a stack of three gateways (GATEWAYS=3 "
               "INSTANCES=8)", "several gateways");

    return false;
}


/* "act" does harm, and its end, while sessions call. */

static void
gateways_run(gateways_t *g, gateways_pt act)
{
    load_count_t  count;
    load_plan_t   plan = {
        .label = "gateways", .sessions = SEVERAL_SESSIONS,
        .seats = SEVERAL_SESSIONS,
        .ttl = TTL
    };

    if (!gateways_all(g, 1, GATEWAYS, false)) {
        return;
    }

    plan.gateways = &g->at;
    g->load = load_start(g->test, &plan);

    if (g->load == NULL) {
        return;
    }

    if (load_await(g->load) && gateways_heard(g) && act(g)
        && load_again(g->load))
    {
        (void) gateways_apart(g);
    }

    count = load_stop(g->load);
    gateways_counts(g, &count);
}


/* Waits until each gateway knows of the leases: one that is cut off before it
 * has heard of a session refuses it. */

static bool
gateways_heard(gateways_t *g)
{
    int      i, known, served;
    char     session[128];
    int64_t  end;

    end = rpc_now() + check_time_left(g->test, SEVERAL_PATIENCE);

    do {
        for (i = 1, known = served = 0; i <= g->instances; i++) {
            if (stack_session(g->test, i, session, sizeof(session))
                && session[0] != '\0')
            {
                served++;
                known += stack_is(g->test, i, "leased");
            }
        }

    } while ((known < served || served < SEVERAL_SESSIONS) && rpc_now() < end);

    return check(g->test, known == served && served >= SEVERAL_SESSIONS,
                 "all gateways know of %d leases, of %d", known, served);
}


static bool
gateways_kill(gateways_t *g)
{
    int  i, rounds;

    rounds = gateways_rounds(g, 1);

    for (i = 0; i < rounds; i++) {
        if (!gateways_harm(g, "kill", "start") || !gateways_leases(g)) {
            return false;
        }
    }

    return gateways_harm(g, "freeze", "thaw") && gateways_leases(g);
}


/* More of them in a long soak. */

static int
gateways_rounds(const gateways_t *g, int least)
{
    int  n;

    n = (int) (g->test->settings->soak / ROUND);

    return n > least ? n : least;
}


static bool
gateways_harm(gateways_t *g, const char *harm, const char *heal)
{
    load_harm(g->load, HARM_STORE, 0);

    if (!stack_store(g->test, harm)
        || !gateways_all(g, 1, GATEWAYS, true)
        || !load_again(g->load)
        || !stack_store(g->test, heal)
        || !gateways_all(g, 1, GATEWAYS, false))
    {
        return false;
    }

    load_healed(g->load, HARM_STORE, 0);

    return load_again(g->load);
}


static bool
gateways_promote(gateways_t *g)
{
    int  i, rounds;

    rounds = gateways_rounds(g, PROMOTIONS);

    for (i = 0; i < rounds; i++) {
        load_harm(g->load, HARM_STORE, 0);

        if (!stack_store(g->test, "promote")
            || !gateways_all(g, 1, GATEWAYS, false))
        {
            return false;
        }

        load_healed(g->load, HARM_STORE, 0);

        if (!load_again(g->load) || !gateways_leases(g)) {
            return false;
        }
    }

    return true;
}


/* The last gateway has no store as long as the soak lasts; what happens at the
 * others it learns later. */

static bool
gateways_cut(gateways_t *g)
{
    bool       ok;
    int64_t    end;
    client_t   client;
    outcome_t  outcome;

    if (!gateways_new(g, &client, 1)) {
        return false;
    }

    end = rpc_now() + g->test->settings->soak;
    load_harm(g->load, HARM_STORE, 0);
    proxy_silence(g->proxy, true);

    ok = gateways_all(g, GATEWAYS, GATEWAYS, true)
         && client_echo(&client, NULL);

    if (ok) {
        gateways_to(g, &client, GATEWAYS);
        outcome = call_echo(&client, NULL);
        ok = expect_error(g->test, &outcome, GRPC_STATUS_UNAVAILABLE,
                          SEVERAL_UNAVAILABLE,
                          "%s: MyServiceEcho at gateway %d", client.name,
                          GATEWAYS);
    }

    ok = ok && gateways_all(g, 1, GATEWAYS - 1, false)
         && load_again(g->load);

    while (ok && rpc_now() < end) {
        check_pace(SEVERAL_POLL);
    }

    proxy_silence(g->proxy, false);

    ok = ok && gateways_all(g, GATEWAYS, GATEWAYS, false)
         && gateways_agree(g, &client);

    load_healed(g->load, HARM_STORE, 0);
    client_close(&client);

    return ok;
}


/* Waits until the session has at the last gateway, whose workers connect again
 * one by one, the instance that it has at the first. */

static bool
gateways_agree(gateways_t *g, client_t *client)
{
    int         i;
    bool        same;
    char        pods[2][CLIENT_POD];
    int64_t     end;
    outcome_t   outcome;

    end = rpc_now() + check_time_left(g->test, SEVERAL_PATIENCE);

    do {
        for (i = 0; i < 2; i++) {
            gateways_to(g, client, i == 0 ? 1 : GATEWAYS);
            outcome = call_echo(client, NULL);
            snprintf(pods[i], CLIENT_POD, "%s",
                     outcome.code == GRPC_STATUS_OK
                     ? ((MyService__EchoResponse *) outcome.response)->pod_name
                     : outcome.message);
            same = outcome.code == GRPC_STATUS_OK
                   && strcmp(pods[0], pods[i]) == 0;
            outcome_free(&outcome);
        }

        if (!same) {
            check_pace(SEVERAL_POLL);
        }

    } while (!same && rpc_now() < end);

    return check(g->test, same, "%s: at gateway 1 \"%s\", at gateway %d "
                 "\"%s\"", client->name, pods[0], GATEWAYS, pods[1]);
}


static bool
gateways_bury(gateways_t *g)
{
    int  i;

    /* the others have not room for all sessions */

    for (i = 1; i <= BURIED && i <= g->instances; i++) {
        load_harm(g->load, HARM_INSTANCE, i);

        if (!stack_kill(g->test, i)
            || !load_again(g->load)
            || !stack_restart(g->test, i))
        {
            return false;
        }

        load_healed(g->load, HARM_INSTANCE, i);
    }

    return load_again(g->load);
}


static bool
gateways_renew(gateways_t *g)
{
    int  i;

    load_harm(g->load, HARM_GATEWAY, GATEWAYS);

    if (!stack_act(g->test, GATEWAYS, "kill")
        || !gateways_all(g, 1, GATEWAYS - 1, false)
        || !stack_act(g->test, GATEWAYS, "start")
        || !gateways_all(g, GATEWAYS, GATEWAYS, false))
    {
        return false;
    }

    load_healed(g->load, HARM_GATEWAY, GATEWAYS);

    for (i = 0; i < RELOADS; i++) {
        if (!load_again(g->load) || !stack_reload(g->test)) {
            return false;
        }
    }

    return true;
}
