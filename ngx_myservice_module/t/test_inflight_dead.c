/*
 * Calls in flight on an instance that does not answer, stops serving, or
 * refuses connections.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "inflight.h"
#include "instance.h"
#include "status.h"


static fake_t  *first, *second;


/* checks without an answer: what is in flight ends */
static void
dead(const char *conf, client_call_t **stream, client_call_t **call)
{
    (void) fake_start(8081, "one", inflight_play);
    gateway_start(conf);
    *stream = inflight_subscribe("s1");
    *call = inflight_slow("s1");

    atomic_store(&inflight.serving, HANGS);
    status_await("\"state\":\"down\"");
    ck_assert(status_has("\"health\":\"failing\""));
}


START_TEST(inflight_dead)
{
    client_call_t  *stream, *call;

    dead(CONF(HEALTH ONE, ""), &stream, &call);
    inflight_ends_soon(stream, UNAVAILABLE);
    inflight_ends_soon(call, UNAVAILABLE);
}
END_TEST


START_TEST(inflight_dead_keep)
{
    client_call_t  *stream, *call;

    dead(CONF("myservice_health interval=200ms timeout=1s inflight=keep;\n"
              ONE, ""), &stream, &call);
    inflight_goes_on(stream, 1000);
    inflight_goes_on(call, 10);

    atomic_store(&inflight.serving, SERVING);
    status_await("\"state\":\"leased\"");
    inflight_goes_on(stream, 300);
}
END_TEST


/* an instance that stops, and finishes its calls before: nothing is lost */
START_TEST(inflight_not_serving)
{
    client_call_t  *stream, *call;

    (void) fake_start(8081, "one", inflight_play);
    gateway_start(CONF(HEALTH ONE, RESUME));
    stream = inflight_subscribe("s1");
    call = inflight_slow("s1");

    atomic_store(&inflight.serving, NOT_SERVING);
    status_await("\"health\":\"not serving\"");
    inflight_goes_on(stream, 1000);
    inflight_goes_on(call, 10);
    ck_assert_uint_eq(client_messages(stream), 1);

    /* then it is gone, before its calls are */
    atomic_store(&inflight.serving, HANGS);
    inflight_ends_soon(call, UNAVAILABLE);
}
END_TEST


/* its next call takes the session elsewhere, and then what it has there ends */
START_TEST(inflight_not_serving_moves)
{
    char            pod[8];
    client_call_t  *stream, *call;

    first = fake_start(8081, "one", inflight_play);
    second = fake_start(8082, "two", inflight_play);
    gateway_start(CONF(HEALTH TWO, ""));
    stream = inflight_subscribe("s1");
    snprintf(pod, sizeof(pod), "%s", client_pod(stream, 0));
    atomic_store(&inflight.leaves, strcmp(pod, "one") == 0 ? first : second);
    status_await("\"health\":\"not serving\"");
    inflight_goes_on(stream, 500);

    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_str_ne(client_pod(call, 0), pod);
    inflight_ends_soon(stream, MOVED);
}
END_TEST


/* a process that hangs, its streams idle: they are elsewhere after two
 * checks */
START_TEST(inflight_hung)
{
    int             i;
    pid_t           pids[2];
    long long       since;
    client_call_t  *stream;

    pids[0] = instance_start(8081, "one", "--subscribe-interval 1h");
    pids[1] = instance_start(8082, "two", "--subscribe-interval 1h");
    gateway_start(CONF(HEALTH TWO, RESUME));
    stream = inflight_subscribe("s1");
    i = strcmp(client_pod(stream, 0), "one") == 0 ? 0 : 1;

    ck_assert_int_eq(kill(pids[i], SIGSTOP), 0);
    since = harness_now();
    client_wait_messages(stream, 2);
    harness_within(since, SOON);
    ck_assert_str_eq(client_pod(stream, 1), i == 0 ? "two" : "one");
    ck_assert_int_eq(kill(pids[i], SIGCONT), 0);
    client_cancel(stream);
}
END_TEST


/* an instance that sends something to a call is not dead, however long its
 * health service takes: longer than the timeout of a probe, in which a message
 * comes on a slow machine, too */
START_TEST(inflight_busy)
{
    int             i;
    long long       since;
    client_call_t  *stream;

    (void) fake_start(8081, "one", inflight_play);
    gateway_start(CONF("myservice_health interval=200ms timeout=2s fails=1;\n"
                       ONE, ""));
    stream = inflight_subscribe("s1");
    atomic_store(&inflight.serving, HANGS);
    since = harness_now();

    for (i = 1; harness_now() - since < 3000; i++) {
        fake_message(&inflight.last, i);
        client_wait_messages(stream, (unsigned) i + 1);
        inflight_goes_on(stream, 50);
    }

    ck_assert(status_has("\"state\":\"leased\""));
    ck_assert(!gateway_logged("is down"));
    inflight_ends_soon(stream, UNAVAILABLE);
}
END_TEST


/* Two instances. One of them has a stream and takes no connections then. */
static client_call_t *
refusing(const char *conf)
{
    fake_t         *one, *two;
    client_call_t  *stream;

    one = fake_start(8081, "one", inflight_play);
    two = fake_start(8082, "two", inflight_play);
    gateway_start(conf);
    stream = inflight_subscribe("s1");

    /* other workers know that the instance is down */
    inflight_goes_on(stream, 400);

    first = strcmp(client_pod(stream, 0), "one") == 0 ? one : two;
    second = first == one ? two : one;
    fake_refuse_connects(first, true);

    return stream;
}


/* How many connects have been refused. */
static unsigned
refusals(void)
{
    char        *log;
    unsigned     n;
    const char  *p;

    log = harness_read("error.log");
    n = 0;

    for (p = log; (p = strstr(p, "connect() failed (111")) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


/* one refused connect moves nothing, in no worker */
START_TEST(inflight_refused_once)
{
    int             i;
    unsigned        n;
    client_call_t  *stream, *call[8];

    stream = refusing(CONF(TWO, ""));
    n = fake_requests(second);

    for (i = 0; i < 8; i++) {
        call[i] = echo_start(client_open(harness_port(8080)), "s1");
    }

    client_assert_waits(call[0], 100);
    fake_refuse_connects(first, false);

    for (i = 0; i < 8; i++) {
        client_wait(call[i]);
        client_assert(call[i], 0, "");
    }

    ck_assert_uint_eq(fake_requests(second), n);
    inflight_goes_on(stream, 500);
    ck_assert(!gateway_logged("instance failed"));
    client_cancel(stream);
}
END_TEST


/* four refused connects move the session, and its stream ends */
START_TEST(inflight_refused)
{
    long long       since;
    client_call_t  *stream;

    stream = refusing(CONF(TWO, ""));

    since = harness_now();
    client_assert(echo_once("s1"), 0, "");
    harness_lasted(since, 1000);
    ck_assert_uint_eq(refusals(), 4);
    ck_assert_uint_eq(fake_requests(second), 1);
    inflight_ends_soon(stream, MOVED);
}
END_TEST


/* or fewer of them, when the time to connect is over */
START_TEST(inflight_refused_within)
{
    long long       since;
    client_call_t  *stream;

    stream = refusing(CONF(TWO, "grpc_connect_timeout 300ms;\n"));

    since = harness_now();
    client_assert(echo_once("s1"), 0, "");
    harness_lasted(since, 250);
    ck_assert_uint_ge(refusals(), 1);
    ck_assert_uint_lt(refusals(), 4);
    inflight_ends_soon(stream, MOVED);
}
END_TEST


/* a client gives up while its call waits, and the deadline of a call is
 * over */
START_TEST(inflight_refused_gives_up)
{
    client_call_t   *stream, *call;
    client_header_t  headers[] = {
        { "content-type", "application/grpc" }, { "te", "trailers" },
        { "session-id", "s1" }, { "grpc-timeout", "500m" }, { NULL, NULL }
    };

    stream = refusing(CONF(TWO, ""));

    call = echo_start(client_open(harness_port(8080)), "s1");
    client_assert_waits(call, 100);
    client_cancel(call);

    call = client_request(client_open(harness_port(8080)), ECHO, headers,
                          "\0\0\0\0", 5, false);
    client_wait(call);
    client_assert_refused(call, 4, "deadline exceeded");

    fake_refuse_connects(first, false);
    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(fake_requests(second), 0);
    inflight_goes_on(stream, 10);
    client_cancel(stream);
}
END_TEST


/* without anything in flight a session moves at once */
START_TEST(inflight_refused_alone)
{
    long long       since;
    client_call_t  *stream;

    stream = refusing(CONF(TWO, ""));
    client_cancel(stream);
    client_close(stream->client);
    since = harness_now();

    while (atomic_load(&fake_seen(first)->open) > 0) {
        client_poll(5);
        harness_pause(since, "the stream ends at its instance");
    }

    since = harness_now();

    while (harness_now() - since < 700) {
        client_poll(50);
        harness_pause(since, "time");
    }

    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(refusals(), 1);
    ck_assert_uint_eq(fake_requests(second), 1);
}
END_TEST


/* an instance does not fail for what this machine lacks: TCP has no route to a
 * broadcast address */
START_TEST(inflight_local)
{
    int             i, failed;
    char            session[16];
    client_call_t  *call;

    (void) fake_start(8081, "one", inflight_play);
    (void) fake_start(8082, "two", inflight_play);
    gateway_start(CONF("server 127.255.255.255:8099;\n" TWO, ""));
    failed = 0;

    for (i = 0; i < 2 || failed == 0; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        call = echo_once(session);

        if (call->grpc != 0) {
            client_assert_refused(call, 13,
                                  "gateway cannot connect to an instance");
            failed++;
            continue;
        }

        client_assert(shutdown_get(client_open(harness_port(8080)), session),
                      0, "");
        ck_assert_int_lt(i, 200);
    }

    ck_assert(gateway_logged("[crit]"));
    ck_assert(status_has("\"down\":0"));
    ck_assert(!gateway_logged("instance failed"));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("inflight, dead instances");

    harness_add(suite, inflight_dead);
    harness_add(suite, inflight_dead_keep);
    harness_add(suite, inflight_not_serving);
    harness_add(suite, inflight_not_serving_moves);
    harness_add(suite, inflight_hung);
    harness_add(suite, inflight_busy);
    /* a connection is refused while another of the instance has a call, which
     * a call that shares it does not need */

    if (gateway_keeps()) {
        harness_add(suite, inflight_refused_once);
        harness_add(suite, inflight_refused);
        harness_add(suite, inflight_refused_within);
        harness_add(suite, inflight_refused_gives_up);
        harness_add(suite, inflight_refused_alone);
    }

    harness_add(suite, inflight_local);

    return harness_run(suite, argv[0]);
}
