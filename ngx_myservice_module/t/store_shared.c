/*
 * Two gateways that have a first call of the same session.
 */

#include "store_shared.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "gateway.h"
#include "harness.h"
#include "store_pair.h"
#include "store_server.h"


fake_t  *shared_fakes[SHARED_INSTANCES];


static void
serve(fake_call_t *call)
{
    if (call->session[0] == 'w') {
        fake_ok(call);

    } else {
        fake_hold(call);
    }
}


void
shared_begin(const char *conf)
{
    int  i;

    static const char *const  names[SHARED_INSTANCES] = { "0", "1", "2", "3" };

    pair_server = store_server_start(harness_port(PAIR_STORE), NULL);
    pair_store = store_server_connect();

    for (i = 0; i < SHARED_INSTANCES; i++) {
        shared_fakes[i] = fake_start(8082 + i, names[i], serve);
    }

    gateway_start(conf);
    pair_call(8081, "w");
}


client_call_t *
shared_start(int port, const char *session)
{
    return echo_start(client_open(harness_port(port)), session);
}


int
shared_await_held(unsigned n)
{
    int        i;
    long long  since;

    since = harness_now();

    for (i = 0; fake_held(shared_fakes[i]) != n; i++) {
        if (i == SHARED_INSTANCES - 1) {
            client_poll(0);
            harness_pause(since, "calls that the instance holds");
            i = -1;
        }
    }

    return i;
}


void
shared_await(const char *upstream, int i, const char *name, const char *value)
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


void
shared_await_renewal(int i)
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


void
shared_succeeds(client_call_t *call, const char *session, int i)
{
    char  text[64];

    fake_release(shared_fakes[i], fake_ok);
    client_wait(call);
    client_assert(call, 0, "");

    snprintf(text, sizeof(text), "c - %s", session);
    pair_await_record(8082 + i, text);
}
