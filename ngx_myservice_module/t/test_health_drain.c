/*
 * An instance that says "session-drain" in its health answers keeps its session
 * and gets no new one, until an answer does not say so.
 */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "status.h"


#define CONF(health, servers)                                                 \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    health                                                                    \
    servers                                                                   \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

#define FAST   "myservice_health interval=100ms timeout=1s;\n"
#define ONE    "server 127.0.0.1:8081;\n"
#define TWO    ONE "server 127.0.0.1:8082;\n"
#define DOWN   "server 127.0.0.1:8081 down;\n"
#define NONE   "no available instances"
#define BUSY   "all instances are busy"
#define IS(s)  status_member("127.0.0.1", 8081, s)

#define SERVING  1
#define NOT      2


static atomic_int           serving = SERVING;
static const char *_Atomic  drain;      /* NULL: the answer does not have it */
static const char *_Atomic  session;    /* of the instance */
static const char *_Atomic  first;      /* of the next call: it becomes that of
                                           the instance.  One that is there
                                           before would be a stranger's */
static atomic_uint          checks;


static void
serve(fake_call_t *call)
{
    int          n;
    const char  *next;

    if (strcmp(call->path, "/grpc.health.v1.Health/Check") != 0) {
        next = atomic_exchange(&first, NULL);

        if (next != NULL) {
            atomic_store(&session, next);
        }

        fake_ok(call);
        return;
    }

    n = 0;
    call->more[n][0] = "session-calls";
    call->more[n++][1] = "0";

    if (atomic_load(&session) != NULL) {
        call->more[n][0] = "session-id";
        call->more[n++][1] = atomic_load(&session);
    }

    if (atomic_load(&drain) != NULL) {
        call->more[n][0] = "session-drain";
        call->more[n++][1] = atomic_load(&drain);
    }

    fake_health(call, atomic_load(&serving));
    atomic_fetch_add(&checks, 1);
}


/* Two more checks are over at least. */
static void
await_checks(void)
{
    unsigned   n;
    long long  since;

    n = atomic_load(&checks) + 3;
    since = harness_now();

    while (atomic_load(&checks) < n) {
        harness_pause(since, "checks");
    }
}


START_TEST(drain_free)
{
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF(FAST, ONE));
    status_await(IS("free"));
    ck_assert(!status_has("session_drain"));

    atomic_store(&drain, "1");
    status_await(IS("left"));
    ck_assert(status_has("\"drain\":true,\"session_drain\":true"));
    client_assert_refused(echo_once("s1"), 8, NONE);
    ck_assert(gateway_logged("instance drains: it wants no new session"));

    atomic_store(&drain, NULL);
    status_await(IS("free"));
    ck_assert(!status_has("session_drain"));
    client_assert(echo_once("s1"), 0, "");
    ck_assert(gateway_logged("instance drains no more"));
    ck_assert(!gateway_logged("is down"));
}
END_TEST


/* whether the instance answers SERVING or not */
START_TEST(drain_keeps_session)
{
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF(FAST, ONE));
    atomic_store(&first, "s1");
    client_assert(echo_once("s1"), 0, "");

    atomic_store(&serving, _i == 0 ? SERVING : NOT);
    atomic_store(&drain, "1");
    status_await(IS("draining"));
    await_checks();
    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(echo_once("s2"), 8, BUSY);
    ck_assert(status_has(IS("draining")));

    if (_i == 1) {

        /* the control: without the word it is down */
        atomic_store(&drain, NULL);
        status_await(IS("down"));
        return;
    }

    /* its session ends */
    atomic_store(&session, NULL);
    status_await(IS("left"));
    client_assert_refused(echo_once("s1"), 8, NONE);
    ck_assert(!gateway_logged("is down"));
}
END_TEST


/* the gateway learns the session of an instance that drains */
START_TEST(drain_learned)
{
    atomic_store(&session, "s1");
    atomic_store(&drain, "1");
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF(FAST, ONE));

    status_await(IS("draining"));
    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(echo_once("s2"), 8, BUSY);
}
END_TEST


START_TEST(drain_other_values)
{
    size_t  i;

    static const char *const  values[] = { "", "0", "11", "true", "yes" };

    (void) fake_start(8081, "one", serve);
    gateway_start(CONF(FAST, ONE));
    status_await(IS("free"));

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        atomic_store(&drain, values[i]);
        await_checks();
        ck_assert(status_has(IS("free")));
    }

    ck_assert(!gateway_logged("instance drains"));
}
END_TEST


/* the operator drains it, too: each takes back its own */
START_TEST(drain_by_operator)
{
    (void) fake_start(8081, "one", serve);
    atomic_store(&drain, "1");
    gateway_start(CONF(FAST, DOWN));
    status_await("\"session_drain\":true");

    atomic_store(&drain, NULL);
    status_await_not("session_drain");
    await_checks();
    ck_assert(status_has(IS("left")));

    atomic_store(&drain, "1");
    status_await("\"session_drain\":true");
    gateway_reload(CONF(FAST, ONE));
    await_checks();
    ck_assert(status_has(IS("left")));

    atomic_store(&drain, NULL);
    status_await(IS("free"));
}
END_TEST


/* the drain is in shared memory: neither a reload nor the death of a worker
 * ends it */
START_TEST(drain_survives)
{
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF(FAST, ONE));
    atomic_store(&drain, "1");
    status_await(IS("left"));

    gateway_reload(CONF("myservice_health interval=1h;\n", ONE));
    ck_assert(status_has(IS("left")));
    gateway_kill_workers(2);
    ck_assert(status_has(IS("left")));
    client_assert_refused(echo_once("s1"), 8, NONE);

    /* no worker would ask any more whether the instance still drains */
    gateway_reload(CONF("", ONE));
    ck_assert(status_has(IS("free")));
    client_assert(echo_once("s1"), 0, "");
}
END_TEST


/* an instance that drained and ended: the next process at the address is
 * free */
START_TEST(drain_then_gone)
{
    fake_t  *fake;

    fake = fake_start(8081, "one", serve);
    gateway_start(CONF(FAST, ONE));
    atomic_store(&first, "s1");
    client_assert(echo_once("s1"), 0, "");
    atomic_store(&drain, "1");
    status_await(IS("draining"));

    fake_stop(fake);
    status_await(IS("down"));
    client_assert_refused(echo_once("s2"), 14, "backend service unavailable");

    atomic_store(&drain, NULL);
    atomic_store(&session, NULL);
    (void) fake_start(8081, "two", serve);
    status_await(IS("free"));
    client_assert(echo_once("s2"), 0, "");
}
END_TEST


/* real instances; returns the one that serves s1: 0 or 1 */
static int
start_two(const char *args, pid_t pids[2])
{
    client_call_t  *call;

    pids[0] = instance_start(8081, "i1", args);
    pids[1] = instance_start(8082, "i2", args);
    gateway_start(CONF(FAST, TWO));
    call = echo_once("s1");
    client_assert(call, 0, "");

    return client_pod(call, 0)[1] - '1';
}


/* SIGTERM: its session stays, others go elsewhere, and it ends with it */
START_TEST(drain_of_myservice)
{
    int             own;
    char            draining[128], free_again[128];
    pid_t           pids[2];
    client_call_t  *call;

    own = start_two("--session-grace 1h", pids);
    snprintf(draining, sizeof(draining), "%s",
             status_member("127.0.0.1", 8081 + own, "draining"));
    snprintf(free_again, sizeof(free_again), "%s",
             status_member("127.0.0.1", 8081 + own, "free"));

    ck_assert_int_eq(kill(pids[own], SIGTERM), 0);
    status_await(draining);

    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_int_eq(client_pod(call, 0)[1] - '1', own);
    call = echo_once("s2");
    client_assert(call, 0, "");
    ck_assert_int_eq(client_pod(call, 0)[1] - '1', 1 - own);
    client_assert_refused(echo_once("s3"), 8, BUSY);

    call = shutdown_get(client_open(harness_port(8080)), "s1");
    client_assert(call, 0, "");
    instance_signal(pids[own], 0);

    (void) instance_start(8081 + own, "new", NULL);
    status_await(free_again);
    client_assert(echo_once("s3"), 0, "");
}
END_TEST


/* when the grace is over the session moves, and no call fails */
START_TEST(drain_too_long)
{
    int             own;
    pid_t           pids[2];
    client_t       *client;
    long long       since;
    client_call_t  *call;

    own = start_two("--session-grace 700ms", pids);
    client = client_open(harness_port(8080));
    ck_assert_int_eq(kill(pids[own], SIGTERM), 0);
    since = harness_now();

    do {
        harness_pause(since, "the session moves");
        call = echo_get(client, "s1");
        client_assert(call, 0, "");
    } while (client_pod(call, 0)[1] - '1' == own);

    harness_lasted(since, 700);
    instance_signal(pids[own], 0);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("health, drain");

    harness_add(suite, drain_free);
    harness_add_loop(suite, drain_keeps_session, 2);
    harness_add(suite, drain_learned);
    harness_add(suite, drain_other_values);
    harness_add(suite, drain_by_operator);
    harness_add(suite, drain_survives);
    harness_add(suite, drain_then_gone);
    harness_add(suite, drain_of_myservice);
    harness_add(suite, drain_too_long);

    return harness_run(suite, argv[0]);
}
