/*
 * First calls that hang, or are cancelled at once, with a store: "tentative"
 * and "tentative_connection" of myservice_calls bound them at each gateway.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "gateway.h"
#include "harness.h"
#include "store_flood.h"


#define FLOOD   100
#define ROUNDS  20


START_TEST(flood_hangs)
{
    client_t       *bad;
    client_call_t  *first, *second;

    bad = flood_start(CONF(SLOW, CONNECTION, ""));

    first = echo_start(bad, "h1");
    client_poll(0);
    store_server_await(1);
    client_assert_refused(echo_get(bad, "h2"), 8, MANY);
    gateway_await_access("decision=LIMITED grpc=8 session=h2");
    status_await("\"LIMITED\":1,");
    store_server_await(1);

    /* another call of the session, and another client; another gateway */

    second = echo_start(bad, "h1");
    client_assert(echo_get(flood_client(), "e1"), 5, NONE);
    client_assert(echo_get(client_open(harness_port(8081)), "e2"), 5, NONE);
    client_assert_refused(echo_get(bad, "h2"), 8, MANY);

    /* one of its calls holds the session's claim still */

    client_cancel(first);
    client_poll(0);
    gateway_await_access("decision=NEW grpc=- session=h1");
    client_assert_refused(echo_get(bad, "s2"), 8, MANY);
    client_cancel(second);
    client_poll(0);
    store_server_await(0);
    flood_await(bad, NULL, "s2", 0);

    /* a success counts no more */

    client_assert(echo_get(bad, "s3"), 0, "");
}
END_TEST


/* thousands, with calls of another client between them */
START_TEST(flood_cancelled)
{
    int             i, round;
    char            session[16];
    client_t       *bad, *good;
    client_call_t  *c[FLOOD];

    bad = flood_start(CONF(SLOW, CONNECTION, ""));
    good = flood_client();

    for (round = 0; round < ROUNDS; round++) {

        for (i = 0; i < FLOOD; i++) {
            snprintf(session, sizeof(session), "h%d-%d", round, i);
            c[i] = echo_start(bad, session);

            /* half of them at once */

            if (i % 2) {
                client_cancel(c[i]);
            }
        }

        client_poll(0);

        snprintf(session, sizeof(session), "e%d", round);
        client_assert(echo_get(good, session), 5, NONE);

        for (i = 0; i < FLOOD; i++) {
            if (!c[i]->done) {
                client_cancel(c[i]);
            }
        }

        client_poll(0);
        store_server_await(0);
        client_assert(echo_get(bad, session), 5, NONE);
    }

    status_await("\"BUSY\":0,");
    status_await("\"down\":0}");
}
END_TEST


/* Both workers ask for many sessions of a user at once. */
START_TEST(flood_subject)
{
    int             i, round, left;
    char            session[16];
    client_t       *clients[8];
    client_call_t  *c[8];

    (void) flood_start(CONF(SLOW, SUBJECT, TOKENS));

    for (i = 0; i < 8; i++) {
        clients[i] = flood_client();
    }

    for (round = 0; round < 10; round++) {

        for (i = 0; i < 8; i++) {
            snprintf(session, sizeof(session), "h%d-%d", round, i);
            c[i] = echo_start_as(clients[i], "alice", session);
        }

        do {
            client_poll(5);

            for (left = i = 0; i < 8; i++) {
                left += !c[i]->done;
            }
        } while (left > 1);

        ck_assert_int_eq(left, 1);
        client_assert(flood_token_get(clients[round % 8], "bob", "e"), 5, NONE);
        store_server_await(1);

        for (i = 0; i < 8; i++) {

            if (c[i]->done) {
                client_assert_refused(c[i], 8, MANY);
                continue;
            }

            flood_await_hung((unsigned) round + 1);
            ck_assert_uint_eq(atomic_load(&flood_hung), (unsigned) round + 1);
            client_assert_waits(c[i], 20);
            client_cancel(c[i]);
        }

        client_poll(0);
        store_server_await(0);
        flood_await(clients[round % 8], "alice", "e", 5);
    }
}
END_TEST


/* Another gateway has given the session an instance, and this one has not heard
 * of it: the session does not count, and is not refused. */
START_TEST(flood_known)
{
    int             i;
    char            name[32], record[64], *session;
    client_t       *c;
    redisReply     *reply;
    client_call_t  *first;

    c = flood_start(CONF(SLOW, "myservice_calls tentative=1 "
                         "tentative_connection=1;\n", TOKENS));

    first = echo_start_as(c, "alice", "h1");
    client_poll(0);
    store_server_await(1);
    client_assert_refused(flood_token_get(c, "alice", "s2"), 8, MANY);
    reply = store_server_ask(flood_store, (const char *[]) {
        "HGET", "{u}:s", "h1", NULL });

    for (i = 8082; i <= 8084; i++) {
        snprintf(name, sizeof(name), "127.0.0.1:%d", harness_port(i));
        snprintf(record, sizeof(record), "1 32503680000000 -c - s%d", i);
        session = strrchr(record, 's');

        if (strcmp(reply->str, name) == 0) {
            continue;
        }

        freeReplyObject(store_server_ask(flood_store, (const char *[]) {
            "HSET", "{u}:i", name, record, NULL }));
        freeReplyObject(store_server_ask(flood_store, (const char *[]) {
            "HSET", "{u}:s", session, name, NULL }));
        client_assert(flood_token_get(c, "alice", session), 0, "");
    }

    freeReplyObject(reply);
    client_assert_refused(flood_token_get(c, "alice", "s2"), 8, MANY);
    client_cancel(first);
    client_poll(0);
    store_server_await(2);
    client_assert(flood_token_get(c, "alice", "s2"), 0, "");
}
END_TEST


START_TEST(flood_deadline)
{
    client_t       *c;
    client_call_t  *call;
    client_header_t  headers[] = {
        { "session-id", "h1" }, { "content-type", "application/grpc" },
        { "te", "trailers" }, { "grpc-timeout", "100m" }, { NULL, NULL }
    };

    c = flood_start(CONF(SLOW, CONNECTION, ""));
    call = client_request(c, ECHO, headers, "\0\0\0\0\0", 5, false);
    client_wait(call);
    ck_assert_int_eq(call->grpc, 4);
    store_server_await(0);
    client_assert(echo_get(c, "e"), 5, NONE);
}
END_TEST


/* A session that is one too many is refused when its turn comes: then that of
 * the next one comes. */
START_TEST(flood_queue)
{
    int             i;
    char            session[16];
    client_t       *bad, *good;
    client_call_t  *c, *first, *last, *busy[2];

    bad = flood_start(CONF(SLOW, CONNECTION
                     "myservice_queue length=8 timeout=60s;\n", ""));
    good = client_open(harness_port(8081));

    (void) echo_start(bad, "h1");
    client_poll(0);
    store_server_await(1);

    for (i = 0; i < 2; i++) {
        snprintf(session, sizeof(session), "h-%d", i);
        busy[i] = echo_start(good, session);
    }

    client_poll(0);
    store_server_await(3);
    status_await("\"free\":0,");
    first = echo_start(flood_client(), "e2");
    client_poll(0);
    status_await("\"waiting\":1,");
    c = echo_start(bad, "s3");
    client_poll(0);
    status_await("\"waiting\":2,");
    last = echo_start(flood_client(), "e4");
    client_poll(0);
    status_await("\"waiting\":3,");

    client_cancel(busy[0]);
    client_wait(c);
    client_assert_refused(c, 8, MANY);
    client_wait(first);
    client_assert(first, 5, NONE);
    client_wait(last);
    client_assert(last, 5, NONE);
}
END_TEST


START_TEST(flood_reload)
{
    client_t       *c;
    client_call_t  *call;

    c = flood_start(CONF(SLOW, SUBJECT, TOKENS));
    call = echo_start_as(c, "alice", "h1");
    client_poll(0);
    store_server_await(1);
    gateway_reload(NULL);
    client_assert_refused(flood_token_get(flood_client(), "alice", "e"), 8,
                          MANY);
    client_cancel(call);
    client_poll(0);
    store_server_await(0);
    client_assert(flood_token_get(flood_client(), "alice", "e"), 5, NONE);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_flood");
    harness_add(suite, flood_hangs);
    harness_add(suite, flood_cancelled);
    harness_add(suite, flood_subject);
    harness_add(suite, flood_known);
    harness_add(suite, flood_deadline);
    harness_add(suite, flood_queue);
    harness_add(suite, flood_reload);

    return harness_run(suite, "test_store_flood");
}
