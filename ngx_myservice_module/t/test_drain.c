/*
 * myservice_sessions with "drain": the session of an instance that drains, or
 * was removed, moves when that has lasted too long.
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "dns.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "inflight.h"
#include "instance.h"
#include "resolved.h"
#include "status.h"

#undef CONF

#define CONF(terms, upstream, directives)                                     \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format drain 'decision=$myservice_decision '\n"                  \
    "        'grpc=$myservice_grpc_status at=$upstream_addr';\n"              \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m" terms ";\n"     \
    upstream                                                                  \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log drain;\n"                          \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

/* ms by which nginx's clock may be ahead of the test's */
#define EARLY    250

#define DRAIN    " drain=3s"
#define DRAIN_MS 3000
#define LATE     " drain=10s"           /* after a reload is seen to be done */
#define DOWN     "server 127.0.0.1:8081 down;\n"
#define SECOND   "server 127.0.0.1:8082;\n"
#define TWO_MORE SECOND "server 127.0.0.1:8083;\n"
#define TELL     "myservice_moved fail;\n"
#define LOST     "session lost its instance"


static atomic_bool  word;               /* "one" says that it drains */


static void
play(fake_call_t *call)
{
    if (atomic_load(&word)
        && strcmp(call->path, "/grpc.health.v1.Health/Check") == 0)
    {
        call->more[0][0] = "session-drain";
        call->more[0][1] = "1";
        fake_health(call, SERVING);
        return;
    }

    inflight_play(call);
}


static void
start(const char *conf)
{
    (void) fake_start(8081, "one", play);
    (void) fake_start(8082, "two", inflight_play);
    gateway_start(conf);
}


static void
echo_at(const char *session, const char *pod)
{
    resolved_echo_at(session, pod);
}


/* until "until" the session is at "one", and soon after that at "two" */
static void
moves(const char *session, long long until)
{
    client_t       *client;
    client_call_t  *call;

    client = client_open(harness_port(8080));

    do {
        harness_pause(until, "the session moves");
        call = echo_get(client, session);
        client_assert(call, 0, "");

        if (harness_now() + EARLY < until) {
            ck_assert_str_eq(client_pod(call, 0), "one");
        }
    } while (strcmp(client_pod(call, 0), "one") == 0);

    ck_assert_int_ge(harness_now() + EARLY, until);
    gateway_await_access("decision=MOVED grpc=0");
}


/* calls are in flight, and no other call comes */
START_TEST(drain_ends_calls)
{
    long long       since;
    client_call_t  *stream, *call;

    start(CONF(DRAIN, ONE, ""));
    stream = inflight_subscribe("s1");
    call = inflight_slow("s1");

    since = harness_now();
    gateway_reload(CONF(DRAIN, DOWN SECOND, ""));
    client_wait(stream);
    harness_lasted(since, DRAIN_MS);
    harness_within(since, DRAIN_MS);
    client_assert(stream, 14, MOVED);
    inflight_ends_soon(call, MOVED);

    ck_assert(status_has(status_member("127.0.0.1", 8081, "left")));
    ck_assert(status_has("\"session\":\"s1\""));
    echo_at("s1", "two");
    gateway_await_access("decision=MOVED grpc=0");
    ck_assert(!status_has("\"draining\":1"));
}
END_TEST


START_TEST(drain_resumes_stream)
{
    client_call_t  *stream, *call;

    start(CONF(DRAIN, ONE, ""));
    gateway_reload(CONF(DRAIN, ONE, RESUME "myservice_retry Slow;\n"));
    stream = inflight_subscribe("s1");
    call = inflight_slow("s1");
    ck_assert_uint_eq(atomic_load(&inflight.streams), 2);

    gateway_reload(CONF(DRAIN, DOWN SECOND, ""));
    client_wait_messages(stream, 2);
    ck_assert_str_eq(client_pod(stream, 1), "two");
    ck_assert_uint_ge(atomic_load(&inflight.streams), 3);
    inflight_await(4);
    inflight_goes_on(call, 500);
    ck_assert_uint_eq(atomic_load(&inflight.streams), 4);
    echo_at("s1", "two");
    client_cancel(stream);
    client_cancel(call);
    gateway_await_workers(2);
}
END_TEST


/* a session that is idle moves when it comes back, whenever that is */
START_TEST(drain_moves_idle)
{
    start(CONF(LATE, ONE, ""));
    echo_at("s1", "one");

    gateway_reload(CONF(LATE, DOWN SECOND, ""));
    ck_assert(status_has("\"drain_ms\":"));
    ck_assert(status_has("\"draining\":1"));
    echo_at("s2", "two");
    status_await("\"left\":1");
    ck_assert(!status_has("\"drain_ms\":"));

    /* no instance is free */

    client_assert_refused(echo_once("s1"), 8, "all instances are busy");
    ck_assert(status_has("\"session\":\"s1\""));

    gateway_reload(CONF(LATE, DOWN TWO_MORE, ""));
    (void) fake_start(8083, "three", inflight_play);
    echo_at("s1", "three");
    gateway_await_access("decision=MOVED grpc=0");
    echo_at("s2", "two");
}
END_TEST


/* who is to know of a lost instance is told: in flight, and idle */
START_TEST(drain_told)
{
    client_call_t  *stream;

    start(CONF(DRAIN, TELL ONE, RESUME));
    stream = inflight_subscribe("s1");
    gateway_reload(CONF(DRAIN, TELL DOWN TWO_MORE, RESUME));
    (void) fake_start(8083, "three", inflight_play);
    client_wait(stream);
    client_assert(stream, 10, LOST);
    client_assert_refused(echo_once("s1"), 10, LOST);
    client_assert(echo_once("s1"), 0, "");
    gateway_await_access("decision=MOVED grpc=0");
    client_assert(echo_once("s1"), 0, "");
    ck_assert(status_has("\"operator\":1"));
    gateway_await_workers(2);
}
END_TEST


/* an instance that drains by its own word */
START_TEST(drain_by_word)
{
    client_call_t  *stream;

    start(CONF(DRAIN, HEALTH ONE, RESUME));
    stream = inflight_subscribe("s1");
    gateway_reload(CONF(DRAIN, HEALTH TWO, RESUME));

    atomic_store(&word, true);
    status_await(status_member("127.0.0.1", 8081, "draining"));
    ck_assert(status_has("\"drain_ms\":"));
    echo_at("s1", "one");
    client_wait_messages(stream, 2);
    ck_assert_str_eq(client_pod(stream, 1), "two");
    echo_at("s1", "two");
    ck_assert(status_has(status_member("127.0.0.1", 8081, "left")));

    atomic_store(&word, false);
    status_await(status_member("127.0.0.1", 8081, "free"));
    echo_at("s1", "two");
    client_cancel(stream);
    gateway_await_workers(2);
}
END_TEST


/* one that leaves well ends as soon as its session has moved */
START_TEST(drain_ends_instance)
{
    pid_t      pid;
    long long  since;

    pid = instance_start(8081, "one", "--session-grace 60s");
    (void) instance_start(8082, "two", NULL);
    gateway_start(CONF(DRAIN, HEALTH ONE, ""));
    echo_at("s1", "one");
    gateway_reload(CONF(DRAIN, HEALTH TWO, ""));

    (void) kill(pid, SIGTERM);
    status_await(status_member("127.0.0.1", 8081, "draining"));
    since = harness_now();
    echo_at("s1", "one");
    moves("s1", since);

    while (instance_running(pid)) {
        harness_pause(since, "the instance ends");
    }

    ck_assert(!gateway_logged("instance is up"));
    echo_at("s1", "two");
}
END_TEST


/* the end of the drain is in shared memory */
START_TEST(drain_survives)
{
    long long  since;

    start(CONF(" drain=4s", ONE, ""));
    echo_at("s1", "one");

    since = harness_now();
    gateway_reload(CONF(" drain=4s", DOWN SECOND, ""));
    gateway_await_workers(2);
    gateway_kill_workers(2);
    gateway_reload(NULL);
    gateway_reload(CONF(" drain=4s", SECOND, ""));
    moves("s1", since + 4000);
    ck_assert(!status_has(status_member("127.0.0.1", 8081, NULL)));
}
END_TEST


/* a limit that comes with a reload is for drains that have begun, too */
START_TEST(drain_limit_by_reload)
{
    long long  since;

    start(CONF("", ONE, ""));
    echo_at("s1", "one");
    gateway_reload(CONF("", DOWN SECOND, ""));
    ck_assert(status_has("\"draining\":1"));
    ck_assert(!status_has("\"drain_ms\":"));

    since = harness_now();
    gateway_reload(CONF(DRAIN, DOWN SECOND, ""));
    moves("s1", since + DRAIN_MS);
}
END_TEST


/* back before the session has moved: it goes on there */
START_TEST(drain_back)
{
    start(CONF(DRAIN, ONE, ""));
    echo_at("s1", "one");
    gateway_reload(CONF(DRAIN, DOWN SECOND, ""));
    status_await("\"left\":1");
    gateway_reload(CONF(DRAIN, TWO, ""));
    ck_assert(status_has(status_member("127.0.0.1", 8081, "leased")));
    echo_at("s1", "one");
    echo_at("s2", "two");
}
END_TEST


/* an instance that is in no answer of the name server any more */
START_TEST(drain_resolved)
{
    dns_t      *dns;
    long long   since;

    dns = resolved_start(2, "127.0.0.2");
    gateway_start(CONF(DRAIN, DNS APP "valid=1s;\n", ""));
    echo_at("s1", "two");

    dns_addresses(dns, "app.test", "127.0.0.3", 1);
    status_await("\"removed\":true");
    since = harness_now();
    echo_at("s1", "two");
    status_await("\"left\":1");
    harness_within(since, DRAIN_MS);
    echo_at("s1", "three");
    gateway_await_access("decision=MOVED grpc=0");
    ck_assert(!status_has(status_member("127.0.0.2", 8081, NULL)));
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("drain");

    harness_add(suite, drain_ends_calls);
    harness_add(suite, drain_resumes_stream);
    harness_add(suite, drain_moves_idle);
    harness_add(suite, drain_told);
    harness_add(suite, drain_by_word);
    harness_add(suite, drain_ends_instance);
    harness_add(suite, drain_survives);
    harness_add(suite, drain_limit_by_reload);
    harness_add(suite, drain_back);
    harness_add(suite, drain_resolved);

    return harness_run(suite, argv[0]);
}
