/*
 * An instance says in its health answers which process it is: after a restart
 * between two probes its session begins anew, and nobody takes the new process
 * for the old one.
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
#include "status.h"
#include "token.h"


#define CONF_WITH(health, more)                                               \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format id 'decision=$myservice_decision '\n"                     \
    "        'session=$myservice_session';\n"                                 \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_health " health ";\n"                                  \
    "        server 127.0.0.1:8081;\n" more                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log id;\n"                             \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    STATUS_SERVER                                                             \
    "}\n"

#define CONF(health)  CONF_WITH(health, "")

#define FAST   "interval=100ms timeout=1s"
#define ANEW   "instance was started anew"
#define IS(s)  status_member("127.0.0.1", 8081, s)
#define L16    "0123456789abcdef"
#define L64    L16 L16 L16 L16


static const char *_Atomic  id;         /* NULL: not said */
static atomic_bool          reports;    /* its session: none, or "s1" */
static atomic_bool          serves;
static atomic_uint          checks;
static fake_call_t          stream;


static void
serve(fake_call_t *call)
{
    int  n;

    if (strcmp(call->path, SUBSCRIBE) == 0) {
        fake_headers(call);
        fake_message(call, 0);
        stream = *call;
        return;
    }

    if (strcmp(call->path, "/grpc.health.v1.Health/Check") != 0) {
        fake_ok(call);
        return;
    }

    n = 0;

    if (atomic_load(&reports)) {
        call->more[n][0] = "session-calls";
        call->more[n++][1] = "0";
    }

    if (atomic_load(&serves)) {
        call->more[n][0] = "session-id";
        call->more[n++][1] = "s1";
    }

    if (atomic_load(&id) != NULL) {
        call->more[n][0] = "instance-id";
        call->more[n++][1] = atomic_load(&id);
    }

    fake_health(call, 1);
    atomic_fetch_add(&checks, 1);
}


/* Two checks that began from now on are over at least. */
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


static void
await_logged(const char *text)
{
    long long  since;

    since = harness_now();

    while (!gateway_logged(text)) {
        harness_pause(since, text);
    }
}


static unsigned
decided(const char *text)
{
    char      *log, *p;
    unsigned   n;

    log = harness_read("access.log");

    for (n = 0, p = log; (p = strstr(p, text)) != NULL; p++) {
        n++;
    }

    free(log);

    return n;
}


/* The log line of a call may come after its answer. */
static void
await_decided(const char *text, unsigned n)
{
    long long  since;

    since = harness_now();

    while (decided(text) < n) {
        harness_pause(since, text);
    }

    ck_assert_uint_eq(decided(text), n);
}


static void
start_with(const char *conf)
{
    (void) fake_start(8081, "one", serve);
    gateway_start(conf);
    await_checks();
    client_assert(echo_once("s1"), 0, "");
}


static void
start(void)
{
    start_with(CONF(FAST));
}


/* whether it also says that it has no session, or says nothing of that */
START_TEST(id_restarted)
{
    atomic_store(&id, "p1");
    start();

    if (_i == 1) {
        atomic_store(&reports, true);
    }

    atomic_store(&id, "p2");
    await_logged(ANEW ", its session begins anew, session=\"s1\"");
    await_checks();
    ck_assert(status_has(IS("leased")));
    client_assert_refused(echo_once("s2"), 8, "all instances are busy");

    client_assert(echo_once("s1"), 0, "");
    gateway_await_access("decision=MOVED session=s1");

    /* it is known by now */
    client_assert(echo_once("s1"), 0, "");
    gateway_await_access("decision=HIT session=s1");
    ck_assert_uint_eq(decided("decision=MOVED"), 1);
}
END_TEST


/* the session began between two checks, at the process that reports it */
START_TEST(id_before_session)
{
    unsigned   n;
    long long  since;

    atomic_store(&id, "p1");
    (void) fake_start(8081, "one", serve);
    gateway_start(CONF("interval=2s timeout=1s"));

    n = atomic_load(&checks);
    since = harness_now();

    while (atomic_load(&checks) == n) {
        harness_pause(since, "a check");
    }

    atomic_store(&id, "p2");
    client_assert(echo_once("s1"), 0, "");
    atomic_store(&reports, true);
    atomic_store(&serves, true);

    await_checks();
    ck_assert(!gateway_logged(ANEW));
    client_assert(echo_once("s1"), 0, "");
    gateway_await_access("decision=HIT session=s1");

    /* the control */
    atomic_store(&id, "p3");
    await_logged(ANEW);
}
END_TEST


/* a call that is in flight was in the old process, or is in none */
START_TEST(id_in_flight)
{
    client_call_t  *call;

    atomic_store(&id, "p1");
    start();
    call = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                       token_make("s1", 3600), "s1", "", 0);
    client_wait_messages(call, 1);

    atomic_store(&id, "p2");
    client_wait(call);
    client_assert(call, 14, "session moved");
}
END_TEST


/* the session is told first where it wants to be */
START_TEST(id_told)
{
    atomic_store(&id, "p1");
    start_with(CONF_WITH(FAST, "myservice_moved fail;\n"));
    atomic_store(&id, "p2");
    await_logged(ANEW);

    client_assert(echo_once("s1"), 10, "session lost its instance");
    client_assert(echo_once("s1"), 0, "");
    gateway_await_access("decision=MOVED session=s1");
    client_assert(echo_once("s1"), 0, "");
}
END_TEST


/* nothing that could be another process */
START_TEST(id_says_nothing)
{
    size_t  i;

    static const char *const  ids[] = {
        L64, NULL, "", "a b", "\xc3\xa4", L64 "0", L64
    };

    atomic_store(&id, ids[0]);
    start();

    for (i = 1; i < sizeof(ids) / sizeof(ids[0]); i++) {
        atomic_store(&id, ids[i]);
        await_checks();
        client_assert(echo_once("s1"), 0, "");
    }

    ck_assert(!gateway_logged(ANEW));
    await_decided("decision=HIT", 6);

    /* the control */
    atomic_store(&id, L16 L16 L16 "0123456789abcdeF");
    await_logged(ANEW);
}
END_TEST


/* it is in shared memory: a reload or the death of a worker forgets nothing,
 * and takes nobody for new */
START_TEST(id_survives)
{
    atomic_store(&id, "p1");
    start();

    gateway_reload(CONF(FAST));
    await_checks();
    gateway_kill_workers(2);
    await_checks();
    client_assert(echo_once("s1"), 0, "");
    ck_assert(!gateway_logged(ANEW));

    atomic_store(&id, "p2");
    await_logged(ANEW);
    client_assert(echo_once("s1"), 0, "");
    gateway_await_access("decision=MOVED session=s1");
}
END_TEST


/* a real instance dies and is back before it is down */
START_TEST(id_of_myservice)
{
    pid_t  pid;

    pid = instance_start(8081, "one", NULL);
    gateway_start(CONF("interval=2s timeout=1s fails=100"));
    client_assert(echo_once("s1"), 0, "");
    client_assert(echo_once("s1"), 0, "");

    instance_signal(pid, SIGKILL);
    (void) instance_start(8081, "two", NULL);
    await_logged(ANEW);
    client_assert(echo_once("s1"), 0, "");
    gateway_await_access("decision=MOVED session=s1");
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("instance id");

    harness_add_loop(suite, id_restarted, 2);
    harness_add(suite, id_before_session);
    harness_add(suite, id_in_flight);
    harness_add(suite, id_told);
    harness_add(suite, id_says_nothing);
    harness_add(suite, id_survives);
    harness_add(suite, id_of_myservice);

    return harness_run(suite, argv[0]);
}
