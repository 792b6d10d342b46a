/*
 * Calls in flight: a gateway with two workers, fakes that keep streams and
 * slow calls open, and what a test looks at.
 */

#include <stdio.h>
#include <string.h>

#include "inflight.h"
#include "token.h"


inflight_t  inflight = { .serving = SERVING };


void
inflight_play(fake_call_t *call)
{
    const char  *refusal;

    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {

        if (atomic_load(&inflight.serving) == HANGS) {
            return;
        }

        if (atomic_load(&inflight.names) != NULL) {
            call->more[0][0] = "session-id";
            call->more[0][1] = atomic_load(&inflight.names);
        }

        fake_health(call, call->fake == atomic_load(&inflight.leaves)
                          ? NOT_SERVING : atomic_load(&inflight.serving));
        return;
    }

    if (strcmp(call->path, SUBSCRIBE) == 0) {
        inflight.last = *call;
        atomic_fetch_add(&inflight.streams, 1);
        fake_headers(call);
        fake_message(call, 0);

        if (atomic_load(&inflight.ends)) {
            fake_trailers(call, 0, "");
        }

        return;
    }

    if (strcmp(call->path, SLOW) == 0) {
        atomic_fetch_add(&inflight.streams, 1);
        return;
    }

    refusal = atomic_exchange(&inflight.conflict, NULL);

    if (refusal != NULL) {
        fake_refuse(call, 13, refusal);
        return;
    }

    fake_ok(call);
}


static client_call_t *
start(const char *path, const char *session)
{
    return client_grpc(client_open(harness_port(8080)), path,
                       token_make(session, 3600), session, "", 0);
}


client_call_t *
inflight_subscribe(const char *session)
{
    client_call_t  *call;

    call = start(SUBSCRIBE, session);
    client_wait_messages(call, 1);

    return call;
}


client_call_t *
inflight_slow(const char *session)
{
    unsigned        n;
    client_call_t  *call;

    n = atomic_load(&inflight.streams);
    call = start(SLOW, session);
    inflight_await(n + 1);

    return call;
}


void
inflight_await(unsigned n)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&inflight.streams) < n) {
        client_poll(10);
        harness_pause(since, "a call is not on its way");
    }
}


void
inflight_ends_soon(client_call_t *call, const char *message)
{
    long long  since;

    since = harness_now();
    client_wait(call);
    client_assert(call, 14, message);
    harness_within(since, SOON);
}


void
inflight_goes_on(client_call_t *call, long long ms)
{
    client_assert_waits(call, ms);
}
