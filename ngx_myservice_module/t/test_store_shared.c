/*
 * Two gateways have a first call of the same session, as when a client leaves
 * one for the other, and one call is cancelled: the other has its instance.
 * Two upstreams of one nginx are two gateways.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "fake.h"
#include "harness.h"
#include "store_pair.h"
#include "store_server.h"
#include "store_shared.h"


#define TENTATIVE  30000                /* ms, of a lease */

#define GATEWAYS                                                              \
    PAIR_CONF(PAIR_UPSTREAM("8080", "u", "1m", SHARED_SERVERS)                \
              PAIR_UPSTREAM("8081", "v", "1m", SHARED_SERVERS))


/* The second gateway has heard of the lease. */
START_TEST(shared_heard)
{
    int             i;
    client_call_t  *a, *b;

    shared_begin(GATEWAYS);

    a = shared_start(8080, "s");
    i = shared_await_held(1);
    shared_await("v", i, "session", "s");
    b = shared_start(8081, "s");
    ck_assert_int_eq(shared_await_held(2), i);

    client_cancel(a);
    shared_await("u", i, "state", "leased");
    shared_succeeds(b, "s", i);
}
END_TEST


/* The second gateway has heard of the lease, and asks a store that is silent: its
 * call goes on, and the store is told of its success before the tentative lease
 * is over. */
START_TEST(shared_silent)
{
    int             i;
    long long       since;
    client_call_t  *a, *b;

    shared_begin(GATEWAYS);

    a = shared_start(8080, "s");
    i = shared_await_held(1);
    shared_await("v", i, "session", "s");

    ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);
    b = shared_start(8081, "s");
    ck_assert_int_eq(shared_await_held(2), i);
    ck_assert_int_eq(kill(pair_server, SIGCONT), 0);

    since = harness_now();
    client_cancel(a);
    shared_succeeds(b, "s", i);
    ck_assert_int_lt(harness_now() - since, TENTATIVE);
}
END_TEST


/* No call of both succeeds, whichever leaves first: the lease does not stay. */
START_TEST(shared_ends)
{
    int             i, round, n;
    char            session[8];
    client_t       *clients[2];
    client_call_t  *calls[2];

    static const char *const  upstreams[] = { "u", "v" };

    shared_begin(GATEWAYS);
    clients[0] = client_open(harness_port(8080));
    clients[1] = client_open(harness_port(8081));

    for (round = 0; round < 4; round++) {
        snprintf(session, sizeof(session), "s%d", round);
        n = round % 2;

        calls[0] = echo_start(clients[0], session);
        i = shared_await_held(1);
        shared_await("v", i, "session", session);
        calls[1] = echo_start(clients[1], session);
        ck_assert_int_eq(shared_await_held(2), i);

        if (round == 0) {
            shared_await_renewal(i);
            shared_await_renewal(i);
        }

        /* it gives the lease back, and knows who has it */

        client_cancel(calls[n]);
        client_poll(0);
        shared_await(upstreams[n], i, "state", "leased");
        client_assert_waits(calls[1 - n], 1);
        client_cancel(calls[1 - n]);
        client_poll(0);
        store_server_await(1);
        shared_await(upstreams[n], i, "session", NULL);
        shared_await(upstreams[1 - n], i, "session", NULL);
        fake_release(shared_fakes[i], fake_ok);
    }
}
END_TEST


/* The first gateway's call leaves, then comes another one while the store is
 * silent. */
START_TEST(shared_known)
{
    int             i;
    client_t       *client;
    client_call_t  *a, *b;

    shared_begin(GATEWAYS);
    client = client_open(harness_port(8080));

    a = echo_start(client, "s");
    i = shared_await_held(1);
    shared_await("v", i, "session", "s");
    b = shared_start(8081, "s");
    ck_assert_int_eq(shared_await_held(2), i);
    client_cancel(a);
    client_poll(0);
    shared_await("u", i, "state", "leased");

    ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);
    a = echo_start(client, "s");
    ck_assert_int_eq(shared_await_held(3), i);
    ck_assert_int_eq(kill(pair_server, SIGCONT), 0);

    client_cancel(b);
    shared_succeeds(a, "s", i);
}
END_TEST


/* The call at the second gateway leaves while the store is asked. */
START_TEST(shared_leaves)
{
    int             i;
    client_t       *client;
    unsigned        npings;
    client_call_t  *a, *b;

    shared_begin(GATEWAYS);
    client = client_open(harness_port(8081));
    npings = 0;

    a = shared_start(8080, "s");
    i = shared_await_held(1);
    shared_await("v", i, "session", "s");

    ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);
    b = echo_start(client, "s");
    client_ping(client);
    client_wait_pongs(client, ++npings);
    client_cancel(b);
    client_ping(client);
    client_wait_pongs(client, ++npings);
    ck_assert_int_eq(kill(pair_server, SIGCONT), 0);

    client_assert_waits(a, 1);
    client_cancel(a);
    client_poll(0);
    store_server_await(1);
}
END_TEST


/* The store was asked by both at once. */
START_TEST(shared_asked)
{
    int             i, round;
    char            session[8];
    unsigned        npings[2] = { 0, 0 };
    client_t       *clients[2];
    client_call_t  *calls[2];

    shared_begin(GATEWAYS);
    clients[0] = client_open(harness_port(8080));
    clients[1] = client_open(harness_port(8081));

    for (round = 0; round < SHARED_INSTANCES - 1; round++) {
        snprintf(session, sizeof(session), "s%d", round);

        ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);

        for (i = 0; i < 2; i++) {
            calls[i] = echo_start(clients[i], session);
            client_ping(clients[i]);
            client_wait_pongs(clients[i], ++npings[i]);
        }

        ck_assert_int_eq(kill(pair_server, SIGCONT), 0);
        i = shared_await_held(2);

        client_cancel(calls[round % 2]);
        client_ping(clients[round % 2]);
        client_wait_pongs(clients[round % 2], ++npings[round % 2]);
        shared_succeeds(calls[1 - round % 2], session, i);
    }
}
END_TEST


/* The store was asked by both at once, and both leave before it answers. */
START_TEST(both_leave)
{
    int             i, round;
    char            session[8];
    unsigned        npings;
    client_t       *clients[2];
    client_call_t  *calls[2];

    shared_begin(GATEWAYS);
    clients[0] = client_open(harness_port(8080));
    clients[1] = client_open(harness_port(8081));
    npings = 0;

    for (round = 0; round < 2 * SHARED_INSTANCES; round++) {
        snprintf(session, sizeof(session), "s%d", round);
        ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);

        for (i = 0; i < 2; i++) {
            calls[i] = echo_start(clients[i], session);
            client_ping(clients[i]);
            client_wait_pongs(clients[i], npings + 1);
            client_cancel(calls[i]);
            client_ping(clients[i]);
            client_wait_pongs(clients[i], npings + 2);
        }

        npings += 2;
        ck_assert_int_eq(kill(pair_server, SIGCONT), 0);
        store_server_await(1);
    }
}
END_TEST


/* The only call of a session has left when the store gives it an instance. */
START_TEST(nobody_waits)
{
    int             i;
    char            session[8];
    client_t       *client;
    unsigned        npings;
    client_call_t  *call;

    shared_begin(GATEWAYS);
    client = client_open(harness_port(8080));
    npings = 0;

    for (i = 0; i < 2 * SHARED_INSTANCES; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);

        call = echo_start(client, session);
        client_ping(client);
        client_wait_pongs(client, ++npings);
        client_cancel(call);
        client_ping(client);
        client_wait_pongs(client, ++npings);

        ck_assert_int_eq(kill(pair_server, SIGCONT), 0);
    }

    /* only "w" has an entry: one that has expired would stay */

    store_server_await(1);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_shared");

    harness_add(suite, shared_heard);
    harness_add(suite, shared_silent);
    harness_add(suite, shared_ends);
    harness_add(suite, shared_known);
    harness_add(suite, shared_leaves);
    harness_add(suite, shared_asked);
    harness_add(suite, both_leave);
    harness_add(suite, nobody_waits);

    return harness_run(suite, "test_store_shared");
}
