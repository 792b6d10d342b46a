/*
 * Calls in flight when their session loses its lease: they end, or go on at
 * another instance, before the gateway serves another session beside them.
 */

#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "inflight.h"
#include "resolved.h"
#include "status.h"
#include "token.h"


/* the instance reports another session: the stream belongs to a stranger */
START_TEST(inflight_conflict)
{
    client_call_t  *stream, *call;

    (void) fake_start(8081, "one", inflight_play);
    gateway_start(CONF(ONE, ""));
    stream = inflight_subscribe("s1");
    call = inflight_slow("s1");

    atomic_store(&inflight.conflict, "Session conflict: was=s2, now=s1");
    client_assert_refused(echo_once("s1"), 8, "all instances are busy");
    inflight_ends_soon(stream, MOVED);
    inflight_ends_soon(call, MOVED);
}
END_TEST


START_TEST(inflight_conflict_resumed)
{
    char            pod[8];
    client_call_t  *stream;

    (void) fake_start(8081, "one", inflight_play);
    (void) fake_start(8082, "two", inflight_play);
    gateway_start(CONF(TWO, RESUME));
    stream = inflight_subscribe("s1");

    atomic_store(&inflight.conflict, "Session conflict: was=s2, now=s1");
    client_assert(echo_once("s1"), 0, "");
    client_wait_messages(stream, 2);
    snprintf(pod, sizeof(pod), "%s", client_pod(stream, 0));
    ck_assert_str_ne(client_pod(stream, 1), pod);
    inflight_goes_on(stream, 600);
    client_cancel(stream);
}
END_TEST


/* an answer that is there as a whole waits for its client, and that is it */
START_TEST(inflight_conflict_answered)
{
    long long       since;
    client_t       *client;
    client_call_t  *stream;

    fake_at_once(fake_start(8081, "one", inflight_play));
    fake_at_once(fake_start(8082, "two", inflight_play));
    gateway_start(CONF(TWO, RESUME));
    atomic_store(&inflight.ends, true);

    client = client_open(harness_port(8080));
    client_window(client, 1);
    stream = client_grpc(client, SUBSCRIBE, token_make("s1", 3600), "s1", "",
                         0);

    while (stream->sent < 5) {
        client_poll(10);
    }

    client_pause(client, true);
    since = harness_now();

    while (atomic_load(&inflight.streams) == 0) {
        harness_pause(since, "the call is at an instance");
    }

    client_await_still();

    atomic_store(&inflight.conflict, "Session conflict: was=s2, now=s1");
    client_assert(echo_once("s1"), 0, "");
    inflight_goes_on(stream, 600);
    client_pause(client, false);
    client_window(client, 60000);
    client_wait(stream);
    client_assert(stream, 0, "");
    ck_assert_uint_eq(client_messages(stream), 1);
    ck_assert_uint_eq(atomic_load(&inflight.streams), 1);
}
END_TEST


/* listed as safe to run twice: sent again before its answer has begun */
START_TEST(inflight_conflict_repeated)
{
    unsigned        n;
    long long       since;
    client_call_t  *call;

    (void) fake_start(8081, "one", inflight_play);
    (void) fake_start(8082, "two", inflight_play);
    gateway_start(CONF(TWO, "myservice_retry Slow;\n"));
    client_assert(echo_once("s1"), 0, "");
    call = inflight_slow("s1");
    n = atomic_load(&inflight.streams);

    atomic_store(&inflight.conflict, "Session conflict: was=s2, now=s1");
    client_assert(echo_once("s1"), 0, "");
    since = harness_now();

    while (atomic_load(&inflight.streams) == n) {
        client_poll(10);
        harness_pause(since, "the call is not repeated");
    }

    inflight_goes_on(call, 300);
    client_cancel(call);
}
END_TEST


/* a health check says that the instance serves another session */
START_TEST(inflight_learned)
{
    client_call_t  *stream;

    (void) fake_start(8081, "one", inflight_play);
    gateway_start(CONF(HEALTH ONE, ""));
    stream = inflight_subscribe("s1");
    inflight_goes_on(stream, 700);

    atomic_store(&inflight.names, "s2");
    status_await("\"session\":\"s2\"");
    inflight_ends_soon(stream, MOVED);
}
END_TEST


/* calls beside a release are the instance's to end, until it has another
 * session */
START_TEST(inflight_released)
{
    client_call_t  *stream, *call;

    (void) fake_start(8081, "one", inflight_play);
    gateway_start(CONF(ONE, ""));
    stream = inflight_subscribe("s1");
    call = inflight_slow("s1");

    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    status_await("\"state\":\"free\"");
    inflight_goes_on(stream, 700);
    inflight_goes_on(call, 10);

    client_assert(echo_once("s2"), 0, "");
    inflight_ends_soon(stream, MOVED);
    inflight_ends_soon(call, MOVED);
    client_assert(echo_once("s2"), 0, "");
}
END_TEST


/* but no longer than their token */
START_TEST(inflight_released_expires)
{
    client_call_t  *stream;

    (void) fake_start(8081, "one", inflight_play);
    gateway_start(CONF_TERMS(" expires=$myservice_jwt_expires", ONE,
                             "myservice_jwt on;\n"
                             "myservice_jwt_secret_file %%DIR%%/secret;\n"));
    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s1", 6), "s1", "", 0);
    client_wait_messages(stream, 1);
    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    inflight_goes_on(stream, 500);
    client_wait(stream);
    client_assert(stream, 16, "token expired");
}
END_TEST


/* a name loses its address, which another instance may have next */
static dns_t *
named(const char *directives)
{
    dns_t *dns;

    dns = dns_start(8119);
    dns_services(dns, SRVNAME, "1 1 8081 a.test", 1);
    dns_addresses(dns, "a.test", "127.0.0.1", 1);
    (void) fake_start(8081, "one", inflight_play);
    (void) fake_start(8082, "two", inflight_play);
    gateway_start(directives);

    return dns;
}


START_TEST(inflight_dropped)
{
    dns_t          *dns;
    client_call_t  *stream, *call;

    dns = named(CONF(DNS SRV "removed=drop;\n", ""));
    stream = inflight_subscribe("s1");
    call = inflight_slow("s1");

    dns_services(dns, SRVNAME, "1 1 8082 a.test", 1);
    status_await_not(status_member("127.0.0.1", 8081, NULL));
    inflight_ends_soon(stream, MOVED);
    inflight_ends_soon(call, MOVED);
}
END_TEST


START_TEST(inflight_dropped_resumed)
{
    dns_t          *dns;
    client_call_t  *stream;

    dns = named(CONF(DNS SRV "removed=drop;\n", RESUME));
    stream = inflight_subscribe("s1");

    dns_services(dns, SRVNAME, "1 1 8082 a.test", 1);
    client_wait_messages(stream, 2);
    ck_assert_str_eq(client_pod(stream, 1), "two");
    client_cancel(stream);
}
END_TEST


/* the control: a member that is only drained keeps them */
START_TEST(inflight_drained)
{
    dns_t          *dns;
    client_call_t  *stream;

    dns = named(CONF(DNS SRV ";\n", ""));
    stream = inflight_subscribe("s1");

    dns_services(dns, SRVNAME, "1 1 8082 a.test", 1);
    status_await("\"removed\":true");
    inflight_goes_on(stream, 700);
    client_cancel(stream);
}
END_TEST


/* many streams of a session that loses its instance, in both workers */
START_TEST(inflight_many)
{
    int             i;
    client_t       *client[4];
    client_call_t  *call[64];

    (void) fake_start(8081, "one", inflight_play);
    gateway_start(CONF(ONE, ""));

    for (i = 0; i < 4; i++) {
        client[i] = client_open(harness_port(8080));
    }

    for (i = 0; i < 64; i++) {
        call[i] = client_grpc(client[i % 4], SUBSCRIBE,
                              token_make("s1", 3600), "s1", "", 0);
        client_wait_messages(call[i], 1);
    }

    atomic_store(&inflight.conflict, "Session conflict: was=s2, now=s1");
    client_assert_refused(echo_once("s1"), 8, "all instances are busy");

    for (i = 0; i < 64; i++) {
        inflight_ends_soon(call[i], MOVED);
    }
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("inflight");

    harness_add(suite, inflight_conflict);
    harness_add(suite, inflight_conflict_resumed);
    harness_add(suite, inflight_conflict_answered);
    harness_add(suite, inflight_conflict_repeated);
    harness_add(suite, inflight_learned);
    harness_add(suite, inflight_released);
    harness_add(suite, inflight_released_expires);
    harness_add(suite, inflight_dropped);
    harness_add(suite, inflight_dropped_resumed);
    harness_add(suite, inflight_drained);
    harness_add(suite, inflight_many);

    return harness_run(suite, argv[0]);
}
