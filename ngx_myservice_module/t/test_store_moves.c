/*
 * An operator of one gateway moves a session: it moves with its next call, at
 * whichever gateway.  Two upstreams of one nginx are two gateways.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "store_pair.h"
#include "store_server.h"


#define SERVERS  "server 127.0.0.1:8082; server 127.0.0.1:8083;"

/* one gateway, with a third instance */
#define ALONE                                                                 \
    PAIR_CONF(PAIR_UPSTREAM("8080", "u", "1m",                                \
                            SERVERS " server 127.0.0.1:8084;"))

#define GATEWAYS                                                              \
    PAIR_CONF(PAIR_UPSTREAM("8080", "u", "1m", SERVERS)                       \
              PAIR_UPSTREAM("8081", "v", "1m", SERVERS))


static const char *
path_of(const char *upstream, const char *session, const char *more)
{
    static char  path[128];

    snprintf(path, sizeof(path), "/api/1/upstreams/%s/sessions/%s%s", upstream,
             session, more);

    return path;
}


static void
move(const char *upstream, const char *session, const char *body, int status)
{
    json_decref(api_ask("POST", path_of(upstream, session, "/move"), MOVE,
                        api_change, body, status));
}


static void
release(const char *upstream, const char *session)
{
    ck_assert_ptr_null(api_ask("DELETE", path_of(upstream, session, ""),
                               SESSION, api_change, NULL, 204));
}


static bool
moves(const char *upstream, int number)
{
    bool     so;
    json_t  *answer;

    answer = api_ask("GET", pair_path(upstream, number), INSTANCE, NULL, NULL,
                     200);
    so = json_is_true(json_object_get(answer, "moves"));
    json_decref(answer);

    return so;
}


static void
await_moves(const char *upstream, int number, bool so)
{
    long long  since;

    since = harness_now();

    while (moves(upstream, number) != so) {
        harness_pause(since, "the gateway knows whether the session moves");
    }
}


/* where the store has the session, which it has confirmed */

static int
await_at(const char *session)
{
    int        number;
    char       text[32];
    long long  since;

    snprintf(text, sizeof(text), "c - %s", session);
    since = harness_now();

    for (number = 8082; strstr(pair_record(number), text) == NULL;
         number = number == 8084 ? 8082 : number + 1)
    {
        harness_pause(since, text);
    }

    return number;
}


static int
other(int number)
{
    return number ^ 8082 ^ 8083;
}


/* the session's calls at both gateways go to that instance */

static void
stays_at(const char *session, int number)
{
    int             port;
    const char     *name;
    client_call_t  *c;

    name = number == 8082 ? "one" : "two";

    for (port = 8080; port <= 8081; port++) {
        c = echo_get(client_open(harness_port(port)), session);
        client_assert(c, 0, "");
        ck_assert_str_eq(client_pod(c, 0), name);
    }
}


/* the same, once each worker has the store again */

static void
goes_to(const char *session, int number)
{
    int             port;
    const char     *name;
    long long       since;
    client_call_t  *c;

    name = number == 8082 ? "one" : "two";

    for (port = 8080; port <= 8081; port++) {
        since = harness_now();

        for ( ;; ) {
            c = echo_get(client_open(harness_port(port)), session);
            client_assert(c, 0, "");

            if (strcmp(client_pod(c, 0), name) == 0) {
                break;
            }

            harness_pause(since, "the session moves");
        }
    }
}


/* a gateway that had the session, and whose operator said nothing */

START_TEST(at_the_other)
{
    int   number;
    char  from[64];

    pair_begin(GATEWAYS);

    pair_call(8080, "m1");
    number = await_at("m1");
    pair_call(8081, "m1");

    move("u", "m1", "{}", 200);
    await_moves("v", number, true);
    ck_assert(moves("u", number));
    ck_assert(gateway_logged("operator of another gateway moves a session, "
                             "session=\"m1\" from=\"127.0.0.1:"));

    pair_call(8081, "m1");
    ck_assert_int_eq(await_at("m1"), other(number));
    await_moves("u", number, false);
    stays_at("m1", other(number));

    /* once more, but only from where it was */

    snprintf(from, sizeof(from), "{\"from\":\"127.0.0.1:%d\"}",
             harness_port(number));
    move("v", "m1", from, 200);
    stays_at("m1", other(number));
    ck_assert(!moves("v", other(number)));

    /* the other one is for others */

    pair_call(8081, "n1");
    ck_assert_int_eq(await_at("n1"), number);
    stays_at("m1", other(number));
    move("u", "m1", "{}", 409);
}
END_TEST


/* a gateway that did not know the session, and missed the change */

START_TEST(unknown)
{
    int  number;

    pair_begin(GATEWAYS);

    pair_call(8080, "m1");
    number = await_at("m1");
    move("u", "m1", "{}", 200);
    pair_await_record(number, "m - m1");

    gateway_stop();
    gateway_start(GATEWAYS);
    pair_call(8081, "m1");
    ck_assert_int_eq(await_at("m1"), other(number));
    stays_at("m1", other(number));
}
END_TEST


/* the last free instance gets an owner before the session's next call: it stays,
 * at both gateways and for good */

START_TEST(nowhere)
{
    int  number;

    pair_begin(GATEWAYS);

    pair_call(8080, "m1");
    number = await_at("m1");
    pair_call(8081, "m1");
    move("u", "m1", "{}", 200);
    await_moves("v", number, true);
    pair_call(8080, "n1");
    ck_assert_int_eq(await_at("n1"), other(number));

    stays_at("m1", number);
    ck_assert_int_eq(await_at("m1"), number);
    await_moves("u", number, false);
    await_moves("v", number, false);

    release("v", "n1");
    stays_at("m1", number);
    pair_call(8080, "n2");
    ck_assert_int_eq(await_at("n2"), other(number));
    stays_at("m1", number);
}
END_TEST


/* the store is away: the session stays, and moves when the store is back, also
 * if that has lost all */

START_TEST(away)
{
    int        number;
    long long  since;

    pair_begin(GATEWAYS);

    pair_call(8080, "m1");
    number = await_at("m1");
    pair_call(8081, "m1");

    store_server_kill(pair_server);
    move("u", "m1", "{}", 200);
    stays_at("m1", number);

    pair_again();
    await_moves("u", number, true);
    await_moves("v", number, true);

    /* as long as the store is young, the session stays */

    since = harness_now();

    while (strstr(pair_record(other(number)), " m1") == NULL) {
        pair_call(8081, "m1");
        harness_pause(since, "the session moves");
    }

    ck_assert_int_eq(await_at("m1"), other(number));
    goes_to("m1", other(number));
}
END_TEST


/* Two sessions are to move, and stay while the store is away.  The store begins
 * anew, and never gets the lease of an instance that is down: the session of a
 * later one moves. */

START_TEST(in_turn)
{
    int        i, low, at[2];
    fake_t    *fakes[3];
    client_t  *client;

    static const char *const  sessions[] = { "m1", "m2" };

    pair_server = store_server_start(harness_port(PAIR_STORE), NULL);
    pair_store = store_server_connect();
    fakes[0] = fake_start(8082, "one", fake_ok);
    fakes[1] = fake_start(8083, "two", fake_ok);
    fakes[2] = fake_start(8084, "three", fake_ok);
    gateway_start(ALONE);

    for (i = 0; i < 2; i++) {
        pair_call(8080, sessions[i]);
        at[i] = await_at(sessions[i]);
    }

    store_server_kill(pair_server);
    client = client_open(harness_port(8080));

    for (i = 0; i < 2; i++) {
        move("u", sessions[i], "{}", 200);
        client_assert(echo_get(client, sessions[i]), 0, "");
        ck_assert(!moves("u", at[i]));
    }

    low = at[0] < at[1] ? 0 : 1;
    fake_stop(fakes[at[low] - 8082]);
    ck_assert_int_ne(echo_get(client, sessions[low])->grpc, 0);

    pair_again();
    await_moves("u", at[!low], true);
    ck_assert_str_eq(pair_record(at[low]), "");
}
END_TEST


/* a session that was released */

START_TEST(no_lease)
{
    int  number;

    pair_begin(GATEWAYS);

    pair_call(8080, "m1");
    number = await_at("m1");
    release("u", "m1");
    pair_await_record(number, "c - ");
    move("u", "m1", "{}", 404);
    move("v", "none", "{}", 404);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_moves");
    harness_add(suite, at_the_other);
    harness_add(suite, unknown);
    harness_add(suite, nowhere);
    harness_add(suite, away);
    harness_add(suite, in_turn);
    harness_add(suite, no_lease);

    return harness_run(suite, "test_store_moves");
}
