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
    (void) flood_token_start(c, "alice", "h1");
    client_ping(c);
    client_wait_pongs(c, 1);
    gateway_kill_workers(2);
    ck_assert_int_eq(kill(flood_server, SIGCONT), 0);

    c = flood_client();
    flood_await(c, "bob", "e", 5);
    flood_await(c, "alice", "e", 5);
    (void) flood_token_start(c, "alice", "h2");
    client_poll(0);
    store_server_await(1);
    gateway_kill_workers(2);
    c = flood_client();
    flood_await(c, "alice", "e", 5);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_flood_ends");
    harness_add(suite, flood_store_away);
    harness_add(suite, flood_worker);

    return harness_run(suite, "test_store_flood_ends");
}
