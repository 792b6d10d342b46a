/*
 * Two gateways have a first call of the same session, as when a client leaves
 * one for the other, and one call is cancelled: the other has its instance.
 * Two upstreams of one nginx are two gateways.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_pair.h"
#include "store_server.h"


#define INSTANCES_N  4                  /* 8082 to 8085 */

#define TENTATIVE    30000              /* ms, of a lease */

#define SERVERS                                                               \
    "server 127.0.0.1:8082; server 127.0.0.1:8083;"                           \
    "server 127.0.0.1:8084; server 127.0.0.1:8085;"

#define GATEWAYS                                                              \
    PAIR_CONF(PAIR_UPSTREAM("8080", "u", "1m", SERVERS)                       \
              PAIR_UPSTREAM("8081", "v", "1m", SERVERS))


static fake_t *fakes[INSTANCES_N];


/* "w" is served at once */

static void
serve(fake_call_t *call)
{
    if (call->session[0] == 'w') {
        fake_ok(call);

    } else {
        fake_hold(call);
    }
}


static void
begin(void)
{
    int  i;

    static const char *const  names[INSTANCES_N] = { "0", "1", "2", "3" };

    pair_server = store_server_start(harness_port(PAIR_STORE), NULL);
    pair_store = store_server_connect();

    for (i = 0; i < INSTANCES_N; i++) {
        fakes[i] = fake_start(8082 + i, names[i], serve);
    }

    gateway_start(GATEWAYS);
    pair_call(8081, "w");
}


/* the instance with "n" calls that it has not answered, which come */

static int
await_held(unsigned n)
{
    int        i;
    long long  since;

    since = harness_now();

    for (i = 0; fake_held(fakes[i]) != n; i++) {
        if (i == INSTANCES_N - 1) {
            client_poll(0);
            harness_pause(since, "calls that the instance holds");
            i = -1;
        }
    }

    return i;
}


/* until the gateway says that of the instance; "value" NULL: nothing */

static void
await(const char *upstream, int i, const char *name, const char *value)
{
    bool        so;
    json_t     *instance, *of;
    long long   since;

    since = harness_now();

    for ( ;; ) {
        instance = api_ask("GET", pair_path(upstream, 8082 + i), INSTANCE,
                           NULL, NULL, 200);
        of = json_object_get(instance, name);
        so = value ? json_is_string(of)
                     && strcmp(json_string_value(of), value) == 0
                   : !json_is_string(of);
        json_decref(instance);

        if (so) {
            return;
        }

        harness_pause(since, name);
    }
}


static client_call_t *
start(int port, const char *session)
{
    return echo_start(client_open(harness_port(port)), session);
}


/* its first call succeeds, and the store has its lease as confirmed */

static void
succeeds(client_call_t *call, const char *session, int i)
{
    char  text[64];

    fake_release(fakes[i], fake_ok);
    client_wait(call);
    client_assert(call, 0, "");

    snprintf(text, sizeof(text), "c - %s", session);
    pair_await_record(8082 + i, text);
}


/* The second gateway has heard of the lease. */
START_TEST(shared_heard)
{
    int             i;
    client_call_t  *a, *b;

    begin();

    a = start(8080, "s");
    i = await_held(1);
    await("v", i, "session", "s");
    b = start(8081, "s");
    ck_assert_int_eq(await_held(2), i);

    client_cancel(a);
    await("u", i, "state", "leased");
    succeeds(b, "s", i);
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

    begin();

    a = start(8080, "s");
    i = await_held(1);
    await("v", i, "session", "s");

    ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);
    b = start(8081, "s");
    ck_assert_int_eq(await_held(2), i);
    ck_assert_int_eq(kill(pair_server, SIGCONT), 0);

    since = harness_now();
    client_cancel(a);
    succeeds(b, "s", i);
    ck_assert_int_lt(harness_now() - since, TENTATIVE);
}
END_TEST


/* waits until the store is told again of the lease */

static void
await_renewal(int i)
{
    char       record[128];
    long long  since;

    snprintf(record, sizeof(record), "%s", pair_record(8082 + i));
    since = harness_now();

    while (strcmp(pair_record(8082 + i), record) == 0) {
        client_poll(0);
        harness_pause(since, "a renewal");
    }
}


/* No call of both succeeds, whichever leaves first: the lease does not stay. */
START_TEST(shared_ends)
{
    int             i, round, n;
    char            session[8];
    client_t       *clients[2];
    client_call_t  *calls[2];

    static const char *const  upstreams[] = { "u", "v" };

    begin();
    clients[0] = client_open(harness_port(8080));
    clients[1] = client_open(harness_port(8081));

    for (round = 0; round < 4; round++) {
        snprintf(session, sizeof(session), "s%d", round);
        n = round % 2;

        calls[0] = echo_start(clients[0], session);
        i = await_held(1);
        await("v", i, "session", session);
        calls[1] = echo_start(clients[1], session);
        ck_assert_int_eq(await_held(2), i);

        if (round == 0) {
            await_renewal(i);
            await_renewal(i);
        }

        /* it gives the lease back, and knows who has it */

        client_cancel(calls[n]);
        client_poll(0);
        await(upstreams[n], i, "state", "leased");
        client_assert_waits(calls[1 - n], 1);
        client_cancel(calls[1 - n]);
        client_poll(0);
        store_server_await(1);
        await(upstreams[n], i, "session", NULL);
        await(upstreams[1 - n], i, "session", NULL);
        fake_release(fakes[i], fake_ok);
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

    begin();
    client = client_open(harness_port(8080));

    a = echo_start(client, "s");
    i = await_held(1);
    await("v", i, "session", "s");
    b = start(8081, "s");
    ck_assert_int_eq(await_held(2), i);
    client_cancel(a);
    client_poll(0);
    await("u", i, "state", "leased");

    ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);
    a = echo_start(client, "s");
    ck_assert_int_eq(await_held(3), i);
    ck_assert_int_eq(kill(pair_server, SIGCONT), 0);

    client_cancel(b);
    succeeds(a, "s", i);
}
END_TEST


/* The call at the second gateway leaves while the store is asked. */
START_TEST(shared_leaves)
{
    int             i;
    client_t       *client;
    unsigned        npings;
    client_call_t  *a, *b;

    begin();
    client = client_open(harness_port(8081));
    npings = 0;

    a = start(8080, "s");
    i = await_held(1);
    await("v", i, "session", "s");

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

    begin();
    clients[0] = client_open(harness_port(8080));
    clients[1] = client_open(harness_port(8081));

    for (round = 0; round < INSTANCES_N - 1; round++) {
        snprintf(session, sizeof(session), "s%d", round);

        ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);

        for (i = 0; i < 2; i++) {
            calls[i] = echo_start(clients[i], session);
            client_ping(clients[i]);
            client_wait_pongs(clients[i], ++npings[i]);
        }

        ck_assert_int_eq(kill(pair_server, SIGCONT), 0);
        i = await_held(2);

        client_cancel(calls[round % 2]);
        client_ping(clients[round % 2]);
        client_wait_pongs(clients[round % 2], ++npings[round % 2]);
        succeeds(calls[1 - round % 2], session, i);
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

    begin();
    clients[0] = client_open(harness_port(8080));
    clients[1] = client_open(harness_port(8081));
    npings = 0;

    for (round = 0; round < 2 * INSTANCES_N; round++) {
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

    begin();
    client = client_open(harness_port(8080));
    npings = 0;

    for (i = 0; i < 2 * INSTANCES_N; i++) {
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
