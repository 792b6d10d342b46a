/*
 * What an operator drains at one of three gateways, all drain: a session stays
 * where it is, new ones go elsewhere.  So it is when the store was away while the
 * operator said so, and begins anew; and a deadline moves the session, whichever
 * gateway it calls.
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
#define DRAINS     "draining left"
#define TAKES      "free tentative leased"


typedef struct {
    gateways_t   g;
    client_t     client;
    int          own;                   /* the instance of its session */
    int          spare[2];              /* free ones */
} drain_t;


static bool drain_begin(drain_t *d);
static bool drain_all(drain_t *d);
static bool drain_say(drain_t *d, int gateway, const char *word, int instance,
    const char *deadline);
static bool drain_await(drain_t *d, int instance, const char *states);
static bool drain_new(drain_t *d, int gateway, int instance);
static bool drain_stays(drain_t *d);
static bool drain_leaves(drain_t *d);


void
gateways_drain(test_t *test)
{
    drain_t      d;
    const char  *why;

    memset(&d, 0, sizeof(drain_t));
    d.g.test = test;
    d.g.instances = stack_size(test, &why);
    stack_gateways(test, &d.g.at);

    if (d.g.at.n != GATEWAYS || d.g.instances < INSTANCES) {
        check_skip(test, "it needs a stack of three gateways (GATEWAYS=3 "
                   "INSTANCES=8)", "several gateways");
        return;
    }

    if (!gateways_all(&d.g, 1, GATEWAYS, false)
        || !gateways_new(&d.g, &d.client, 1))
    {
        return;
    }

    if (drain_begin(&d) && drain_all(&d) && drain_stays(&d)

        /* the only one that takes a session, and then none does */

        && drain_say(&d, 3, "undrain", d.spare[0], "")
        && drain_await(&d, d.spare[0], TAKES)
        && drain_new(&d, 2, d.spare[0])
        && drain_new(&d, 1, 0)

        /* while the store is away, and what was said before in a new one */

        && stack_store(test, "kill")
        && gateways_all(&d.g, 1, GATEWAYS, true)
        && drain_say(&d, 2, "undrain", d.spare[1], "")
        && stack_store(test, "start")
        && gateways_all(&d.g, 1, GATEWAYS, false)
        && drain_await(&d, d.spare[1], TAKES)
        && stack_act(test, 3, "kill")
        && stack_act(test, 3, "start")
        && drain_await(&d, d.own, DRAINS)
        && drain_stays(&d))
    {
        (void) drain_leaves(&d);
    }

    client_close(&d.client);
}


static bool
drain_begin(drain_t *d)
{
    int  i, n;

    if (!client_echo(&d->client, NULL)) {
        return false;
    }

    d->own = stack_find(d->g.test, d->client.session);

    for (i = 1, n = 0; i <= d->g.instances && n < 2; i++) {
        if (i != d->own && stack_is(d->g.test, i, "free")) {
            d->spare[n++] = i;
        }
    }

    return check(d->g.test, d->own != 0 && n == 2, "the session has an "
                 "instance, %d, and others are free: %d", d->own, n);
}


/* by turns at all gateways */

static bool
drain_all(drain_t *d)
{
    int  i;

    for (i = 1; i <= d->g.instances; i++) {
        if (!drain_say(d, i % GATEWAYS + 1, "drain", i, "")) {
            return false;
        }
    }

    for (i = 1; i <= d->g.instances; i++) {
        if (!drain_await(d, i, DRAINS)) {
            return false;
        }
    }

    return drain_new(d, 1, 0) && drain_new(d, 2, 0) && drain_new(d, 3, 0);
}


/* The operator of that gateway says it. */

static bool
drain_say(drain_t *d, int gateway, const char *word, int instance,
    const char *deadline)
{
    char  action[64];

    snprintf(action, sizeof(action), "%s %d %s", word, instance, deadline);

    return stack_act(d->g.test, gateway, action);
}


/* The instance has one of the states at all gateways. */

static bool
drain_await(drain_t *d, int instance, const char *states)
{
    bool     is;
    int64_t  end;

    end = rpc_now() + check_time_left(d->g.test, SEVERAL_PATIENCE);

    while (!(is = stack_is(d->g.test, instance, states)) && rpc_now() < end) {
        check_pace(SEVERAL_POLL);
    }

    return check(d->g.test, is, "instance %d is \"%s\" at all gateways",
                 instance, states);
}


/* A new session gets that instance; 0: none. */

static bool
drain_new(drain_t *d, int gateway, int instance)
{
    int        got;
    bool       ok;
    client_t   client;
    outcome_t  outcome;

    if (!gateways_new(&d->g, &client, gateway)) {
        return false;
    }

    if (instance == 0) {
        outcome = call_echo(&client, NULL);
        ok = check(d->g.test, outcome.code == GRPC_STATUS_RESOURCE_EXHAUSTED,
                   "a new session at gateway %d has no instance: got %s",
                   gateway, check_code_name(outcome.code));
        outcome_free(&outcome);

    } else {
        ok = client_echo(&client, NULL);
        got = ok ? stack_find(d->g.test, client.session) : 0;
        ok = check(d->g.test, got == instance, "the new session is on the "
                   "instance that does not drain: got %d, want %d", got,
                   instance);
    }

    client_close(&client);

    return ok;
}


static bool
drain_stays(drain_t *d)
{
    int  i;

    for (i = 1; i <= GATEWAYS; i++) {
        gateways_to(&d->g, &d->client, i);

        if (!client_echo(&d->client, d->client.pod)) {
            return false;
        }
    }

    return true;
}


/* The session calls another gateway than the one that has got the deadline. */

static bool
drain_leaves(drain_t *d)
{
    int        i, now;
    int64_t    end;
    outcome_t  outcome;

    for (i = 1; i <= d->g.instances; i++) {
        if (i != d->own && !drain_say(d, 1, "undrain", i, "")) {
            return false;
        }
    }

    if (!drain_say(d, 1, "drain", d->own, "1s")) {
        return false;
    }

    gateways_to(&d->g, &d->client, 3);
    end = rpc_now() + check_time_left(d->g.test, SEVERAL_PATIENCE);

    do {
        check_pace(SEVERAL_POLL);
        outcome = call_echo(&d->client, NULL);

        if (!expect_echo(&d->client, &outcome, NULL)) {
            return false;
        }

        now = stack_find(d->g.test, d->client.session);

    } while (now == d->own && rpc_now() < end);

    return check(d->g.test, now != 0 && now != d->own, "the session has moved "
                 "by the deadline of another gateway: from %d to %d", d->own,
                 now)
           && drain_await(d, d->own, DRAINS)
           && drain_stays(d);
}
