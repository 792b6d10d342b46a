/*
 * First calls with a store, when several bring one lease, or their worker or the
 * store dies: nobody loses a lease, and no count stays.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "gateway.h"
#include "harness.h"
#include "store_flood.h"


/* Calls at both workers ask at once for a session that another gateway has
 * given an instance: none of them begins it anew. */
START_TEST(flood_known_twice)
{
    int             i, round;
    char            name[32], record[64], *session;
    client_t       *clients[16];
    client_call_t  *c[16];

    (void) flood_start(CONF_LISTEN("8080 reuseport", SLOW, SUBJECT, TOKENS,
                                   ""));

    for (i = 0; i < 16; i++) {
        clients[i] = flood_client();
    }

    for (round = 0; round < 3; round++) {
        snprintf(name, sizeof(name), "127.0.0.1:%d",
                 harness_port(8082 + round));
        snprintf(record, sizeof(record), "1 32503680000000 -c - s%d", round);
        session = strrchr(record, 's');

        freeReplyObject(store_server_ask(flood_store, (const char *[]) {
            "HSET", "{u}:i", name, record, NULL }));
        freeReplyObject(store_server_ask(flood_store, (const char *[]) {
            "HSET", "{u}:s", session, name, NULL }));

        ck_assert_int_eq(kill(flood_server, SIGSTOP), 0);

        for (i = 0; i < 16; i++) {
            c[i] = echo_start_as(clients[i], "alice", session);
            client_ping(clients[i]);
            client_wait_pongs(clients[i], (unsigned) round + 1);
        }

        ck_assert_int_eq(kill(flood_server, SIGCONT), 0);

        for (i = 0; i < 16; i++) {
            client_wait(c[i]);
            client_assert(c[i], 0, "");
        }
    }

    status_await("\"NEW\":0,");
}
END_TEST


/* One worker's calls give the lease back while the other worker has not seen
 * yet that its question has brought the same one: that has it then. */
START_TEST(flood_given_back)
{
    int             i, n, was, quiet;
    pid_t           pids[2];
    client_t       *clients[16];
    client_call_t  *c[16];
    bool            here[16];

    (void) flood_start(CONF_LISTEN("8080 reuseport", SLOW, SUBJECT, TOKENS,
                                   ""));
    ck_assert_uint_eq(gateway_workers(pids, 2), 2);

    /* whose connections are those of the first worker */

    ck_assert_int_eq(kill(pids[1], SIGSTOP), 0);

    for (i = 0; i < 16; i++) {
        clients[i] = flood_client();
        c[i] = echo_start_as(clients[i], "bob", "e");
    }

    for (n = was = quiet = 0; n == 0 || quiet < 20; quiet++) {
        client_poll(10);

        for (was = n, n = i = 0; i < 16; i++) {
            here[i] = c[i]->done;
            n += here[i];
        }

        quiet = n == was ? quiet : 0;
    }

    ck_assert_int_eq(kill(pids[1], SIGCONT), 0);

    for (i = 0; i < 16; i++) {
        client_wait(c[i]);
    }

    store_server_await(0);

    /* both ask at once, and the first one gets the answer */

    ck_assert_int_eq(kill(flood_server, SIGSTOP), 0);

    for (i = 0; i < 16; i++) {
        c[i] = echo_start_as(clients[i], "alice", "h1");
        client_ping(clients[i]);
        client_wait_pongs(clients[i], 1);
    }

    ck_assert_int_eq(kill(pids[1], SIGSTOP), 0);
    ck_assert_int_eq(kill(flood_server, SIGCONT), 0);

    flood_await_hung(1);

    for (i = 0; i < 16; i++) {
        if (here[i]) {
            client_cancel(c[i]);
            client_ping(clients[i]);
            client_wait_pongs(clients[i], 2);
        }
    }

    ck_assert_int_eq(kill(pids[1], SIGCONT), 0);

    for (i = 0; i < 32; i++) {
        if (!here[i % 16]) {
            client_ping(clients[i % 16]);
            client_wait_pongs(clients[i % 16], 2 + (unsigned) i / 16);
        }
    }

    for (i = 0; i < 16; i++) {
        client_assert_refused(flood_token_get(clients[i], "alice", "e2"), 8,
                              MANY);
    }

    store_server_await(1);

    for (i = 0; i < 16; i++) {
        if (!here[i]) {
            client_assert_waits(c[i], 1);
            client_cancel(c[i]);
        }
    }

    client_poll(0);
    store_server_await(0);
}
END_TEST


/* A question that the store answers late, or never, leaves no count behind. */
START_TEST(flood_store_away)
{
    client_t       *c;
    client_call_t  *call;

    c = flood_start(CONF(" timeout=100ms", CONNECTION, ""));

    ck_assert_int_eq(kill(flood_server, SIGSTOP), 0);
    call = echo_get(c, "h1");
    client_assert_refused(call, 14, "session store unavailable");
    ck_assert_int_eq(kill(flood_server, SIGCONT), 0);
    flood_await(c, NULL, "e2", 5);
    store_server_await(0);

    /* and one that nobody waits for */

    ck_assert_int_eq(kill(flood_server, SIGSTOP), 0);
    call = echo_start(c, "h3");
    client_ping(c);
    client_wait_pongs(c, 1);
    client_cancel(call);
    client_ping(c);
    client_wait_pongs(c, 2);
    ck_assert_int_eq(kill(flood_server, SIGCONT), 0);
    flood_await(c, NULL, "e4", 5);
    store_server_await(0);

    ck_assert_int_eq(kill(flood_server, SIGSTOP), 0);
    call = echo_start(c, "h5");
    client_ping(c);
    client_wait_pongs(c, 3);
    store_server_kill(flood_server);
    client_wait(call);
    client_assert_refused(call, 14, "session store unavailable");
    flood_server = store_server_start(harness_port(STORE), NULL);
    flood_await(c, NULL, "e6", 5);
    store_server_await(0);
}
END_TEST


/* The counts of workers that died end with the leases that the store may have
 * given. */
START_TEST(flood_worker)
{
    client_t  *c;

    c = flood_start(CONF_TTL(SLOW, SUBJECT, TOKENS, " ttl=2s"));

    ck_assert_int_eq(kill(flood_server, SIGSTOP), 0);
    (void) echo_start_as(c, "alice", "h1");
    client_ping(c);
    client_wait_pongs(c, 1);
    gateway_kill_workers(2);
    ck_assert_int_eq(kill(flood_server, SIGCONT), 0);

    c = flood_client();
    flood_await(c, "bob", "e", 5);

    /* "h1" counts for alice until its lease is over */

    flood_hang(c, "alice", "h2");

    gateway_kill_workers(2);
    c = flood_client();
    flood_await(c, "alice", "e3", 5);
}
END_TEST


/* The first call of a session is cancelled while a second one, at the other
 * worker, waits for the same lease: that keeps it. */
START_TEST(flood_second)
{
    int             i, round;
    char            session[16];
    client_t       *one[4];
    long long       since;
    client_call_t  *c[4], *call, *kept;

    (void) flood_start(CONF(SLOW, CONNECTION, ""));

    for (i = 0; i < 4; i++) {
        one[i] = flood_client();
    }

    for (round = 0; round < 50; round++) {
        snprintf(session, sizeof(session), "h%d", round);

        for (i = 0; i < 4; i++) {
            c[i] = echo_start(one[i], session);
        }

        for (i = 0; i < 4; i++) {
            if (i != round % 4) {
                client_cancel(c[i]);
            }
        }

        client_poll(0);
        store_server_await(1);

        /* the question may count for the client that began it, until it is
         * over; one of two that ask at the same moment is refused */

        flood_await(one[(round + 1) % 4], NULL, "e1", 5);

        kept = c[round % 4];
        since = harness_now();

        for ( ;; ) {
            call = echo_get(one[round % 4], "e2");

            if (call->grpc == 8 || kept->done) {
                break;
            }

            harness_pause(since, "the session does not count");
        }

        client_assert_refused(kept->done ? kept : call, 8, MANY);

        if (!kept->done) {
            store_server_await(1);
            client_assert_waits(kept, 1);
            client_cancel(kept);
        }

        client_poll(0);
        store_server_await(0);
    }
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_flood_ends");
    harness_add(suite, flood_known_twice);
    harness_add(suite, flood_given_back);
    harness_add(suite, flood_store_away);
    harness_add(suite, flood_worker);
    harness_add(suite, flood_second);

    return harness_run(suite, "test_store_flood_ends");
}
