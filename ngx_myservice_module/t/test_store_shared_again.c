/*
 * Two gateways have a first call of the same session, and more happens: the
 * store begins anew or is silent, the session moves, is another user's, or is
 * one too many.
 */

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "fake.h"
#include "harness.h"
#include "store_pair.h"
#include "store_proxy.h"
#include "store_server.h"
#include "store_shared.h"


#define UPSTREAM(port, name, store, more, location)                           \
    "    upstream " name " {\n"                                               \
    "        myservice_sessions $myservice_session zone=" name ":1m;\n"       \
    "        myservice_store redis://127.0.0.1:" store                        \
    "                        prefix=u timeout=5s;\n"                          \
    "        " more " " SHARED_SERVERS "\n"                                   \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:" port " http2;\n"                              \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { " location " grpc_pass grpc://" name "; }\n"        \
    "        location /api/ { myservice_api write=on; }\n"                    \
    "    }\n"

/* "at" is the address that the first one has for the store */
#define GATEWAYS_AT(at, more, location)                                       \
    PAIR_CONF(UPSTREAM("8080", "u", at, more, location)                       \
              UPSTREAM("8081", "v", "8090", more, location))
#define GATEWAYS(more, location)  GATEWAYS_AT("8090", more, location)

#define TOKENS  "myservice_jwt on; myservice_jwt_secret_file %%DIR%%/secret;"


/* The first call hangs, and both gateways know of the session.  Returns its
 * instance. */

static int
first(client_call_t **call)
{
    int  i;

    *call = shared_start(8080, "s");
    i = shared_await_held(1);
    shared_await("v", i, "session", "s");

    return i;
}


/* the store is empty, and is told of the session */

static void
again(int i)
{
    store_server_kill(pair_server);
    pair_again();
    pair_await_record(8082 + i, " - s");
}


/* The store begins anew, and the second gateway's call comes and leaves: the
 * first one's is still under way. */
START_TEST(again_second_leaves)
{
    int             i;
    client_call_t  *a, *b;

    shared_begin(GATEWAYS("", ""));

    i = first(&a);
    again(i);
    b = shared_start(8081, "s");
    ck_assert_int_eq(shared_await_held(2), i);
    client_cancel(b);
    shared_await("v", i, "state", "leased");
    shared_await_renewal(i);
    client_assert_waits(a, 1);
    shared_succeeds(a, "s", i);
}
END_TEST


/* Both are under way when the store begins anew, and the first one leaves. */
START_TEST(again_first_leaves)
{
    int             i;
    client_call_t  *a, *b;

    shared_begin(GATEWAYS("", ""));

    i = first(&a);
    b = shared_start(8081, "s");
    ck_assert_int_eq(shared_await_held(2), i);
    again(i);
    shared_await_renewal(i);
    shared_await_renewal(i);
    client_cancel(a);
    shared_await("u", i, "state", "leased");
    client_assert_waits(b, 1);
    shared_succeeds(b, "s", i);
}
END_TEST


/* A call has succeeded at the first gateway, which is cut off while the store
 * begins anew: the second one has only heard of the lease, and gives none of it
 * away. */
START_TEST(again_confirmed)
{
    int             i;
    client_t       *client;
    client_call_t  *a, *b;

    store_proxy_start(8091, PAIR_STORE);
    shared_begin(GATEWAYS_AT("8091", "", ""));
    client = client_open(harness_port(8080));

    a = echo_start(client, "s");
    i = shared_await_held(1);
    shared_await("v", i, "session", "s");
    shared_succeeds(a, "s", i);
    a = echo_start(client, "s");
    ck_assert_int_eq(shared_await_held(1), i);

    store_proxy_away(true);
    again(i);
    b = shared_start(8081, "s");
    ck_assert_int_eq(shared_await_held(2), i);
    client_cancel(b);
    shared_await("v", i, "state", "leased");
    ck_assert_ptr_nonnull(strstr(pair_record(8082 + i), " s"));

    store_proxy_away(false);
    pair_await_record(8082 + i, "c - s");
    client_assert_waits(a, 1);
}
END_TEST


/* The second gateway's call comes while the store is silent, and both leave. */
START_TEST(silent_ends)
{
    int             i;
    client_call_t  *a, *b;

    shared_begin(GATEWAYS("", ""));

    i = first(&a);
    ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);
    b = shared_start(8081, "s");
    ck_assert_int_eq(shared_await_held(2), i);
    ck_assert_int_eq(kill(pair_server, SIGCONT), 0);
    shared_await_renewal(i);
    shared_await_renewal(i);
    client_cancel(a);
    shared_await("u", i, "state", "leased");
    client_cancel(b);
    client_poll(0);
    store_server_await(1);
}
END_TEST


/* A call of another user, while the store is silent, is refused: that is no use
 * of the lease. */
START_TEST(refused)
{
    int             i;
    client_t       *client;
    client_call_t  *a, *b;

    shared_begin(GATEWAYS("", TOKENS));
    client = client_open(harness_port(8081));

    a = echo_start_as(client_open(harness_port(8080)), "alice", "s");
    i = shared_await_held(1);
    shared_await("v", i, "session", "s");

    ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);
    b = echo_start_as(client, "mallory", "s");
    client_wait(b);
    ck_assert_int_eq(b->grpc, 7);
    ck_assert_int_eq(kill(pair_server, SIGCONT), 0);

    shared_await_renewal(i);
    shared_await_renewal(i);
    client_assert_waits(a, 1);
    client_cancel(a);
    client_poll(0);
    store_server_await(1);
}
END_TEST


/* The session has moved at the first gateway, and its call hangs there: the
 * second one tells the instance the same. */
START_TEST(moved)
{
    int             i, k;
    const char     *value;
    client_call_t  *a;

    static const char  start[] = "\nsession-start: ";

    shared_begin(GATEWAYS("", ""));

    i = first(&a);
    shared_succeeds(a, "s", i);
    fake_refuse_connects(shared_fakes[i], true);
    fake_abort(shared_fakes[i]);

    (void) shared_start(8080, "s");
    k = shared_await_held(1);
    shared_await("v", k, "session", "s");
    (void) shared_start(8081, "s");
    ck_assert_int_eq(shared_await_held(2), k);

    value = strstr(fake_metadata(shared_fakes[k]), start);
    ck_assert_ptr_nonnull(value);
    ck_assert_int_eq(strncmp(value + strlen(start), "moved\n", 6), 0);
}
END_TEST


static void
first_only(fake_call_t *call)
{
    static int  n;

    if (n++ == 0) {
        fake_ok(call);

    } else {
        fake_hold(call);
    }
}


/* An operator moves the session at the first gateway while the second one gives
 * the lease back: the next call goes where the session moves. */
START_TEST(moves)
{
    int             i, k;
    client_t       *client;
    client_call_t  *a, *b;

    shared_begin(GATEWAYS("", ""));
    client = client_open(harness_port(8081));

    i = first(&a);
    b = echo_start(client, "s");
    ck_assert_int_eq(shared_await_held(2), i);
    fake_release(shared_fakes[i], first_only);
    client_wait(a);
    pair_await_record(8082 + i, "c - s");
    shared_await("v", i, "state", "tentative");

    ck_assert_int_eq(kill(pair_server, SIGSTOP), 0);
    json_decref(api_ask("POST", "/api/1/upstreams/u/sessions/s/move", MOVE,
                        api_change, "{}", 200));
    client_cancel(b);
    client_ping(client);
    client_wait_pongs(client, 1);
    ck_assert_int_eq(kill(pair_server, SIGCONT), 0);
    pair_await_record(8082 + i, "m - s");
    shared_await("v", i, "session", "s");

    fake_release(shared_fakes[i], fake_ok);
    (void) echo_start(client, "s");
    k = shared_await_held(1);
    ck_assert_int_ne(k, i);
}
END_TEST


static const char *const  limits[] = {
    GATEWAYS("myservice_calls tentative_connection=1;", TOKENS),
    GATEWAYS("myservice_calls tentative=1;", TOKENS)
};


/* First calls hang at the first gateway, then at the second one: they count
 * there, too. */
START_TEST(too_many)
{
    int             i, k;
    char            session[8];
    client_t       *clients[2];
    client_call_t  *a, *b, *kept;

    shared_begin(limits[_i]);
    clients[0] = client_open(harness_port(8080));
    clients[1] = client_open(harness_port(8081));
    kept = NULL;

    for (k = 0; k < 3; k++) {
        snprintf(session, sizeof(session), "s%d", k);
        a = echo_start_as(clients[0], "alice", session);
        i = shared_await_held(1);
        shared_await("v", i, "session", session);
        b = echo_start_as(clients[1], "alice", session);

        if (k == 0) {
            ck_assert_int_eq(shared_await_held(2), i);
            kept = b;

        } else {
            client_wait(b);
            client_assert_refused(b, 8, "too many calls");
        }

        client_assert_waits(a, 1);
        client_cancel(a);
        client_poll(0);

        if (k > 0) {
            store_server_await(2);
            fake_release(shared_fakes[i], fake_ok);
        }
    }

    client_assert_waits(kept, 1);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("store_shared_again");

    harness_add(suite, again_second_leaves);
    harness_add(suite, again_first_leaves);
    harness_add(suite, again_confirmed);
    harness_add(suite, silent_ends);
    harness_add(suite, refused);
    harness_add(suite, moved);
    harness_add(suite, moves);
    harness_add_loop(suite, too_many, 2);

    return harness_run(suite, "test_store_shared_again");
}
