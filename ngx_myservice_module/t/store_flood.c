/*
 * First calls that hang, or are cancelled at once, with a store.
 */

#include "store_flood.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "fake.h"
#include "gateway.h"
#include "harness.h"


pid_t          flood_server;
redisContext  *flood_store;
atomic_uint    flood_hung;


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call, 1);

    } else if (call->session[0] == 'e') {
        fake_refuse(call, 5, NONE);

    } else if (call->session[0] == 'h') {
        atomic_fetch_add(&flood_hung, 1);

    } else {
        fake_ok(call);
    }
}


client_t *
flood_client(void)
{
    return client_open(harness_port(8080));
}


client_t *
flood_start(const char *conf)
{
    int             i;
    fake_t         *fake;
    long long       since;
    client_t       *other;
    client_call_t  *call;

    static const char *const  names[] = { "0", "1", "2" };

    flood_server = store_server_start(harness_port(STORE), NULL);
    flood_store = store_server_connect();

    for (i = 0; i < 3; i++) {
        fake = fake_start(8082 + i, names[i], serve);
        fake_forget(fake);
    }

    gateway_start(conf);
    other = client_open(harness_port(8081));
    since = harness_now();

    for ( ;; ) {
        call = echo_get(other, "e");

        if (call->grpc != 14) {
            break;
        }

        harness_pause(since, "the store takes no sessions");
    }

    client_assert(call, 5, NONE);
    store_server_await(0);

    return flood_client();
}


client_call_t *
flood_token_get(client_t *c, const char *user, const char *session)
{
    client_call_t  *call;

    call = echo_start_as(c, user, session);
    client_wait(call);

    return call;
}


void
flood_await(client_t *c, const char *user, const char *session, int status)
{
    long long       since;
    client_call_t  *call;

    for (since = harness_now(); /* void */; /* void */) {
        call = user ? flood_token_get(c, user, session) : echo_get(c, session);

        if (call->grpc == status) {
            return;
        }

        harness_pause(since, "the call is refused");
    }
}


void
flood_hang(client_t *c, const char *user, const char *session)
{
    unsigned        before;
    long long       since;
    client_call_t  *call;

    before = atomic_load(&flood_hung);
    call = echo_start_as(c, user, session);
    since = harness_now();

    while (atomic_load(&flood_hung) == before) {
        client_poll(0);

        if (call->done) {
            call = echo_start_as(c, user, session);
        }

        harness_pause(since, "a call that hangs");
    }
}


void
flood_await_hung(unsigned n)
{
    long long  since;

    for (since = harness_now(); atomic_load(&flood_hung) < n; /* void */) {
        client_poll(0);
        harness_pause(since, "a call that hangs");
    }
}
