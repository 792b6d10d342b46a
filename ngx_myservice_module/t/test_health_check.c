/*
 * Probes: what they find without traffic, what instances report of their
 * sessions, and which worker sends them.
 */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "instance.h"
#include "tls_front.h"
#include "token.h"
#include "verdict.h"


#define CONF(workers, health, servers)                                        \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes " workers ";\n"                                         \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format health 'decision=$myservice_decision '\n"                 \
    "        'session=$myservice_session';\n"                                 \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    "        myservice_health " health ";\n"                                  \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log health;\n"                         \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location = /status { myservice_status; }\n"                      \
    "    }\n"                                                                 \
    "}\n"

#define FAST   "interval=200ms timeout=1s"
#define ONE    "server 127.0.0.1:8081 fail_timeout=1s;\n"
#define TWO    ONE "server 127.0.0.1:8082 fail_timeout=1s;\n"
#define THREE  TWO "server 127.0.0.1:8083 fail_timeout=1s;\n"
#define BUSY   "all instances are busy"
#define NONE   "no available instances"
#define CHECK  "/grpc.health.v1.Health/Check"


static void
pod_of(client_call_t *call, char *pod, size_t size)
{
    client_assert(call, 0, "");
    snprintf(pod, size, "%s", client_pod(call, 0));
}


static void
await_log(const char *text)
{
    long long  since;

    since = harness_now();

    while (!gateway_logged(text)) {
        harness_pause(since, text);
    }
}


/* Waits until "n" instances are in the state. */
static void
await_state(const char *state, int n)
{
    char            text[64], *body;
    bool            found;
    client_t       *client;
    long long       since;
    client_call_t  *call;

    static const client_header_t  get[] = { { ":method", "GET" },
                                            { NULL, NULL } };

    client = client_open(harness_port(8080));
    since = harness_now();
    snprintf(text, sizeof(text), "\"%s\":%d", state, n);

    for ( ;; ) {
        call = client_request(client, "/status", get, NULL, 0, false);
        client_wait(call);
        body = calloc(1, call->len + 1);
        ck_assert_ptr_nonnull(body);
        memcpy(body, call->body, call->len);
        found = strstr(body, text) != NULL;
        free(body);

        if (found) {
            return;
        }

        harness_pause(since, text);
    }
}


static void
await_requests(fake_t *fake, unsigned more)
{
    unsigned   n;
    long long  since;

    n = fake_requests(fake) + more;
    since = harness_now();

    while (fake_requests(fake) < n) {
        harness_pause(since, "health checks");
    }
}


/* For two seconds: one worker probes every 200 ms. */
static void
probed_by_one(fake_t *fake)
{
    unsigned   n;
    long long  since;

    n = fake_requests(fake);
    since = harness_now();

    while (harness_now() - since < 2000) {
        harness_pause(since, "time");
    }

    n = fake_requests(fake) - n;
    ck_assert_uint_le(n, 4 + (harness_now() - since) / 200);
    await_requests(fake, 2);
}


/* A fake that answers "serving" to every probe. */

static atomic_bool  hangs;
static atomic_int   status;


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, CHECK) != 0) {
        fake_ok(call);
        return;
    }

    if (atomic_load(&hangs)) {
        return;
    }

    fake_health(call, atomic_load(&status));
}


static fake_t *
fake_serving(int number, const char *name)
{
    atomic_store(&status, 1);

    return fake_start(number, name, serve);
}


START_TEST(health_dead_instance)
{
    pid_t      pid;
    char       pod[64];
    long long  since;

    pid = instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    gateway_start(CONF("2", "interval=500ms timeout=1s", TWO));
    await_state("free", 2);

    instance_signal(pid, SIGKILL);
    since = harness_now();
    await_log("is down");
    harness_within(since, 1000);
    await_state("down", 1);
    pod_of(echo_once("s1"), pod, sizeof(pod));
    ck_assert_str_eq(pod, "i2");
    client_assert_refused(echo_once("s2"), 8, BUSY);

    /* fail_timeout does not bring it back, health does */
    (void) instance_start(8081, "i1", NULL);
    await_log("is up");
    await_state("free", 1);
    pod_of(echo_once("s2"), pod, sizeof(pod));
    ck_assert_str_eq(pod, "i1");
}
END_TEST


/* one line per change, however often the instance is probed */
START_TEST(health_logs_changes_only)
{
    char     *log, *p;
    unsigned  n;
    fake_t   *fake;

    fake = fake_serving(8081, "one");
    gateway_start(CONF("1", "interval=100ms timeout=1s fails=1", ONE));
    await_requests(fake, 3);
    ck_assert(!gateway_logged("instance is "));

    atomic_store(&status, 2);
    await_log("is down: not serving");
    await_requests(fake, 5);

    log = harness_read("error.log");

    for (n = 0, p = log; (p = strstr(p, "instance is ")) != NULL; p++) {
        n++;
    }

    free(log);
    ck_assert_uint_eq(n, 1);

    atomic_store(&status, 1);
    await_log("is up");
}
END_TEST


/* an instance that shuts down gets no new session; its own session keeps the
 * lease until the next call, which moves the session */
START_TEST(health_draining_instance)
{
    char     pod[64];
    pid_t    pid;
    fake_t  *fake;

    fake = fake_serving(8081, "one");
    gateway_start(CONF("2", FAST, ONE));
    pod_of(echo_once("s1"), pod, sizeof(pod));
    ck_assert_str_eq(pod, "one");

    atomic_store(&status, 2);
    await_state("down", 1);
    ck_assert(gateway_logged("is down: not serving"));

    pid = instance_start(8082, "i2", NULL);
    gateway_reload(CONF("2", FAST, TWO));
    pod_of(echo_once("s1"), pod, sizeof(pod));
    ck_assert_str_eq(pod, "i2");
    gateway_await_access("decision=MOVED session=s1");

    instance_signal(pid, SIGTERM);
    await_state("down", 2);
    ck_assert_uint_gt(fake_requests(fake), 0);
}
END_TEST


START_TEST(health_shutdown_and_back)
{
    long long  since;

    (void) instance_start(8081, "i1", NULL);
    gateway_start(CONF("2", FAST, ONE));
    client_assert(echo_once("s1"), 0, "");
    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    client_assert_refused(echo_once("s1"), 8, NONE);

    /* longer than fail_timeout */
    since = harness_now();

    while (harness_now() - since < 1500) {
        harness_pause(since, "time");
    }

    client_assert_refused(echo_once("s2"), 8, NONE);

    (void) instance_start(8081, "again", NULL);
    await_state("free", 1);
    ck_assert_str_eq(client_pod(echo_once("s2"), 0), "again");
}
END_TEST


/* a restart forgets all; the instances do not */
static void
restart(const char *first)
{
    int          i;
    char         session[16], pods[3][64];
    const char  *conf;

    conf = CONF("2", FAST, THREE);
    (void) instance_start(8081, "i1", NULL);
    (void) instance_start(8082, "i2", NULL);
    (void) instance_start(8083, "i3", NULL);
    gateway_start(conf);

    for (i = 0; i < 3; i++) {
        snprintf(session, sizeof(session), "s%d", i);
        pod_of(echo_once(session), pods[i], sizeof(pods[i]));
    }

    gateway_stop();
    gateway_start(conf);

    if (first != NULL) {
        client_assert_refused(echo_once(first), 8, BUSY);
        ck_assert(!gateway_logged("onflict"));
    }

    for (i = 2; i >= 0; i--) {
        snprintf(session, sizeof(session), "s%d", i);
        ck_assert_str_eq(client_pod(echo_once(session), 0), pods[i]);
        snprintf(session, sizeof(session), "session=s%d", i);
        gateway_await_access(session);
    }

    gateway_await_access("decision=REBUILT session=s0");
    gateway_await_access("decision=REBUILT session=s1");
    gateway_await_access("decision=REBUILT session=s2");
}


START_TEST(health_restart_owners_first)
{
    restart(NULL);
}
END_TEST


START_TEST(health_restart_stranger_first)
{
    restart("stranger");
}
END_TEST


/* the rest of the pool is free: the session still finds its own instance */
START_TEST(health_restart_half_leased)
{
    char         pod[64], other[64];
    const char  *conf;

    conf = CONF("2", FAST, THREE);
    (void) instance_start(8081, "i1", NULL);
    gateway_start(CONF("2", FAST, ONE));
    pod_of(echo_once("s1"), pod, sizeof(pod));
    gateway_stop();

    (void) instance_start(8082, "i2", NULL);
    (void) instance_start(8083, "i3", NULL);
    gateway_start(conf);
    pod_of(echo_once("s2"), other, sizeof(other));
    ck_assert_str_ne(other, "i1");
    ck_assert_str_eq(client_pod(echo_once("s1"), 0), "i1");
}
END_TEST


/* the instance was killed and is back before a probe noticed */
START_TEST(health_started_anew)
{
    pid_t  pid;

    pid = instance_start(8081, "i1", NULL);
    gateway_start(CONF("2", "interval=300ms timeout=1s fails=100", ONE));
    client_assert(echo_once("s1"), 0, "");

    /* the instance has reported its session once */
    await_state("leased", 1);
    gateway_stop();
    gateway_start(CONF("2", "interval=300ms timeout=1s fails=100", ONE));
    client_assert(echo_once("s1"), 0, "");
    gateway_await_access("REBUILT");

    /* another process, which says so: the lease stays for its session */
    instance_signal(pid, SIGKILL);
    (void) instance_start(8081, "i1", NULL);
    await_log("its session begins anew, session=\"s1\"");
    client_assert(echo_once("s1"), 0, "");
    gateway_await_access("MOVED");
}
END_TEST


/* instances that do not name sessions keep their leases */
START_TEST(health_silent_instances)
{
    fake_t  *fake;

    fake = fake_serving(8081, "one");
    gateway_start(CONF("1", "interval=100ms timeout=1s", ONE));
    client_assert(echo_once("s1"), 0, "");
    await_requests(fake, 5);
    client_assert_refused(echo_once("s2"), 8, BUSY);
    client_assert(echo_once("s1"), 0, "");
}
END_TEST


/* no health service: the instance wants no probes */
START_TEST(health_unimplemented)
{
    fake_t  *fake;

    fake = fake_serving(8081, "one");
    atomic_store(&status, -12);
    gateway_start(CONF("1", "interval=100ms timeout=1s fails=1 mandatory",
                       ONE));
    await_requests(fake, 3);
    client_assert(echo_once("s1"), 0, "");
    ck_assert(!gateway_logged("is down"));
}
END_TEST


START_TEST(health_hanging_instance)
{
    (void) fake_serving(8081, "one");
    gateway_start(CONF("1", "interval=200ms timeout=1s fails=1", ONE));
    await_state("free", 1);

    atomic_store(&hangs, true);
    await_log("is down: timed out");
    await_state("down", 1);

    atomic_store(&hangs, false);
    await_log("is up");
    client_assert(echo_once("s1"), 0, "");
}
END_TEST


/* four probes, or three when one was on its way */
START_TEST(health_fails_and_passes)
{
    fake_t    *fake;
    unsigned   n;

    fake = fake_serving(8081, "one");
    gateway_start(CONF("1", "interval=100ms timeout=1s fails=4 passes=4",
                       ONE));
    await_requests(fake, 1);

    atomic_store(&status, 2);
    n = fake_requests(fake);
    await_log("is down");
    ck_assert_uint_ge(fake_requests(fake) - n, 3);

    atomic_store(&status, 1);
    n = fake_requests(fake);
    await_log("is up");
    ck_assert_uint_ge(fake_requests(fake) - n, 3);
}
END_TEST


START_TEST(health_mandatory)
{
    fake_t  *fake;

    fake = fake_serving(8081, "one");
    atomic_store(&status, 2);
    gateway_start(CONF("2", "interval=200ms timeout=1s mandatory", ONE));
    await_requests(fake, 3);
    client_assert_refused(echo_once("s1"), 8, NONE);

    atomic_store(&status, 1);
    await_state("free", 1);
    client_assert(echo_once("s1"), 0, "");
}
END_TEST


/* four workers, one asks: about five checks in a second */
START_TEST(health_one_worker)
{
    fake_t  *fake;

    fake = fake_serving(8081, "one");
    gateway_start(CONF("4", FAST, ONE));
    await_requests(fake, 2);
    probed_by_one(fake);
}
END_TEST


START_TEST(health_worker_killed)
{
    int      i;
    fake_t  *fake;

    fake = fake_serving(8081, "one");
    gateway_start(CONF("3", FAST, ONE));
    await_requests(fake, 2);

    for (i = 0; i < 3; i++) {
        /* the one that checks is among them in two of three cases */
        gateway_kill_workers(2);
        await_requests(fake, 3);
    }

    probed_by_one(fake);
}
END_TEST


/* an old worker that has calls to finish leaves the checks to the new ones */
START_TEST(health_reload)
{
    int             i;
    fake_t         *fake;
    client_call_t  *stream;

    fake = fake_serving(8081, "one");
    (void) instance_start(8082, "i2", "--subscribe-interval 50ms");
    gateway_start(CONF("2", FAST, "server 127.0.0.1:8082;\n"));
    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s1", 60), "s1", "\x0a\x01v", 3);
    client_wait_messages(stream, 1);

    for (i = 0; i < 3; i++) {
        gateway_reload(CONF("2", FAST, TWO));
        await_requests(fake, 3);
    }

    probed_by_one(fake);
    client_wait_messages(stream, client_messages(stream) + 2);
    client_cancel(stream);
    gateway_await_workers(2);
}
END_TEST


/* a hanging check does not hold an old worker back */
START_TEST(health_reload_while_hanging)
{
    fake_t     *fake;
    long long   since;

    fake = fake_serving(8081, "one");
    atomic_store(&hangs, true);
    gateway_start(CONF("2", "interval=200ms timeout=60s", ONE));
    since = harness_now();

    while (fake_requests(fake) == 0) {
        harness_pause(since, "the first check");
    }

    since = harness_now();
    gateway_reload(NULL);
    gateway_await_workers(2);
    harness_within(since, 3000);

    while (fake_requests(fake) == 1) {
        harness_pause(since, "the check of another worker");
    }
}
END_TEST


#define TLS_CONF                                                              \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_health interval=200ms timeout=1s fails=1 mandatory;\n" \
    TWO                                                                       \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        location / {\n"                                                  \
    "            grpc_ssl_verify on;\n"                                       \
    "            grpc_ssl_name myservice;\n"                                  \
    "            grpc_ssl_trusted_certificate %%DIR%%/a/ca.crt;\n"            \
    "            grpc_ssl_certificate %%DIR%%/a/client.crt;\n"                \
    "            grpc_ssl_certificate_key %%DIR%%/a/client.key;\n"            \
    "            grpc_ssl_protocols TLSv1.2 TLSv1.3;\n"                       \
    "            grpc_pass grpcs://u;\n"                                      \
    "        }\n"                                                             \
    "        location = /status { myservice_status; }\n"                      \
    "    }\n"                                                                 \
    "}\n"


/* an instance without a good certificate gets no session and no request */
START_TEST(health_tls)
{
    fake_t  *one, *impostor;

    tls_front_certs("a");
    tls_front_certs("b");
    one = fake_serving(8091, "one");
    impostor = fake_start(8092, "impostor", serve);
    (void) tls_front_start(8081, 8091, "a", 0);
    (void) tls_front_start(8082, 8092, "b", 0);
    gateway_start(TLS_CONF);

    await_state("free", 1);
    await_requests(one, 2);
    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(echo_once("s2"), 8, BUSY);
    ck_assert_uint_eq(fake_requests(impostor), 0);

    atomic_store(&status, 2);
    await_log("is down: not serving");
    atomic_store(&status, 1);
    await_log("is up");
}
END_TEST


START_TEST(health_conf)
{
    const char  *output;

    ck_assert_int_eq(gateway_test(CONF("1", "interval=10s timeout=1s fails=3 "
                                       "passes=2 service=a.b mandatory", ONE),
                                  &output), 0);
    refused(CONF("1", "interval=1ms", ONE), "expected a time of 100ms to 1d");
    refused(CONF("1", "timeout=x", ONE), "expected a time of 100ms to 1d");
    refused(CONF("1", "fails=0", ONE), "expected 1-100");
    refused(CONF("1", "passes=101", ONE), "expected 1-100");
    refused(CONF("1", "interval", ONE), "invalid parameter \"interval\"");
    refused(CONF("1", "fails=1; myservice_health fails=1", ONE),
            "is duplicate");
    refused("%%GLOBALS%%\nevents {}\nhttp {\n%%GLOBALS_HTTP%%\n"
            "upstream u { myservice_health; server 127.0.0.1:8081; } }\n",
            "must stand after \"myservice_sessions\"");
    refused("%%GLOBALS%%\nevents {}\nhttp {\n%%GLOBALS_HTTP%%\n"
            "upstream u { myservice_sessions $myservice_session zone=u:1m; "
            "myservice_health; server 127.0.0.1:8081; }\n"
            "server { location / { grpc_ssl_name $host; "
            "grpc_pass grpcs://u; } } }\n",
            "\"grpc_ssl_name\" with variables");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("health check");

    harness_add(suite, health_dead_instance);
    harness_add(suite, health_logs_changes_only);
    harness_add(suite, health_draining_instance);
    harness_add(suite, health_shutdown_and_back);
    harness_add(suite, health_restart_owners_first);
    harness_add(suite, health_restart_stranger_first);
    harness_add(suite, health_restart_half_leased);
    harness_add(suite, health_started_anew);
    harness_add(suite, health_silent_instances);
    harness_add(suite, health_unimplemented);
    harness_add(suite, health_hanging_instance);
    harness_add(suite, health_fails_and_passes);
    harness_add(suite, health_mandatory);
    harness_add(suite, health_one_worker);
    harness_add(suite, health_worker_killed);
    harness_add(suite, health_reload);
    harness_add(suite, health_reload_while_hanging);
    harness_add(suite, health_tls);
    harness_add(suite, health_conf);

    return harness_run(suite, argv[0]);
}
