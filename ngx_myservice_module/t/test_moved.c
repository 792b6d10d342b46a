/*
 * "myservice_moved fail": the calls of a session that has lost its instance
 * are told, and so is the next one, before the session gets another instance.
 */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "status.h"


#define CONF_WITH(upstream, http, location)                                   \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format moved 'decision=$myservice_decision '\n"                  \
    "        'grpc=$myservice_grpc_status session=$myservice_session';\n"     \
    http                                                                      \
    STATUS_SERVER                                                             \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    upstream                                                                  \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        myservice_tell on;\n"                                            \
    "        myservice_retry MyServiceEcho MyServiceSubscribe;\n"             \
    "        myservice_resume MyServiceSubscribe;\n"                          \
    "        access_log %%DIR%%/access.log moved;\n"                          \
    "        location / {\n"                                                  \
    location                                                                  \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define ONE     "server 127.0.0.1:8081;\n"
#define TWO     ONE "server 127.0.0.1:8082;\n"
#define FAIL    "myservice_moved fail;\n"
#define HEALTH  "myservice_health interval=100ms timeout=1s;\n"
#define CONF    CONF_WITH(FAIL TWO, "", "")

#define LOST    "session lost its instance"

/* google.rpc.Status: 10, the text, google.rpc.ErrorInfo with SESSION_LOST,
 * ngx_http_myservice_module, decision=LOST */
#define DETAILS                                                               \
    "grpc-status-details-bin: "                                               \
    "CAoSGXNlc3Npb24gbG9zdCBpdHMgaW5zdGFuY2UaZwoodHlwZS5nb29nbGVhcGlzLm"      \
    "NvbS9nb29nbGUucnBjLkVycm9ySW5mbxI7CgxTRVNTSU9OX0xPU1QSGW5neF9odHRw"      \
    "X215c2VydmljZV9tb2R1bGUaEAoIZGVjaXNpb24SBExPU1Q"

#define GOOD     0
#define HOLD     1                      /* no answer */
#define CLOSES   2
#define REFUSES  3                      /* another session's instance */
#define LEAVES   4


static fake_t      *fakes[2];
static atomic_uint  served;
static atomic_int   who = -1;           /* served last */
static atomic_bool  moved;              /* and the client was told so */
static atomic_int   next = GOOD;
static atomic_bool  dumb;               /* checks are not answered */


static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {

        if (!atomic_load(&dumb)) {
            fake_health(call, 1);
        }

        return;
    }

    atomic_store(&who, call->fake == fakes[0] ? 0 : 1);
    atomic_store(&moved, strstr(fake_metadata(call->fake),
                                "\nsession-start: moved\n")
                         != NULL);
    atomic_fetch_add(&served, 1);

    switch (atomic_exchange(&next, GOOD)) {

    case HOLD:
        break;

    case CLOSES:
        fake_close(call);
        break;

    case REFUSES:
        fake_refuse(call, 13, "Session conflict: was=other, now=s1");
        break;

    case LEAVES:
        fake_refuse(call, 14, "instance is shutting down");
        break;

    default:
        fake_headers(call);
        fake_message(call, 0);

        if (strcmp(call->path, SUBSCRIBE) != 0) {
            fake_trailers(call, 0, "");
        }
    }
}


static void
start(const char *conf)
{
    fakes[0] = fake_start(8081, "one", serve);
    fakes[1] = fake_start(8082, "two", serve);
    gateway_start(conf);
}


static client_call_t *
call(const char *session)
{
    return echo_once(session);
}


static void
await_served(unsigned n)
{
    long long  since;

    since = harness_now();

    while (atomic_load(&served) < n) {
        client_poll(10);
        harness_pause(since, "the instance has got a call");
    }
}


/* A stream with its first message, and a call that is not answered. */
static void
in_flight(client_call_t **stream, client_call_t **unary)
{
    unsigned  n;

    client_assert(call("s1"), 0, "");
    *stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE, NULL,
                          "s1", "", 0);
    client_wait_messages(*stream, 1);
    n = atomic_load(&served);
    atomic_store(&next, HOLD);
    *unary = echo_start(client_open(harness_port(8080)), "s1");
    await_served(n + 1);
}


static void
lost(client_call_t *c)
{
    client_wait(c);
    client_assert(c, 10, LOST);
    ck_assert(client_has(c, "grpc-retry-pushback-ms: -1"));
    ck_assert_msg(client_has(c, DETAILS), "%s", c->fields);
    ck_assert_ptr_null(strstr(c->fields, "127.0.0.1"));
}


/* The session begins anew with this call, on instance "n". */
static void
begins(int n, const char *decision)
{
    char            text[64];
    client_call_t  *c;

    c = call("s1");
    client_assert(c, 0, "");
    snprintf(text, sizeof(text), "session-decision: %s", decision);
    ck_assert_msg(client_has(c, text), "%s", c->fields);
    ck_assert(n == -1 || atomic_load(&who) == n);
    ck_assert_int_eq(atomic_load(&moved), strcmp(decision, "MOVED") == 0);
    c = call("s1");
    client_assert(c, 0, "");
    ck_assert(client_has(c, "session-decision: HIT"));
}


START_TEST(moved_between_calls)
{
    int             other;
    unsigned        n;
    client_call_t  *c;

    start(CONF);
    client_assert(call("s1"), 0, "");
    n = atomic_load(&served);
    other = 1 - atomic_load(&who);
    fake_stop(fakes[1 - other]);

    c = call("s1");
    lost(c);
    client_assert_refused(c, 10, LOST);
    ck_assert_ptr_null(strstr(c->fields, "session-decision"));
    gateway_await_access("decision=LOST grpc=10 session=s1");
    ck_assert_uint_eq(atomic_load(&served), n);
    begins(other, "MOVED");
    status_await("\"LOST\":1}");
    status_await("\"ended\":{\"released\":0,\"expired\":0,\"died\":1,");
    ck_assert(gateway_logged("session lost its instance: the instance died, "
                             "session=\"s1\" instance=\"127.0.0.1:"));
}
END_TEST


/* the control */
START_TEST(moved_allowed)
{
    start(CONF_WITH("myservice_moved allow;\n" TWO, "", ""));
    client_assert(call("s1"), 0, "");
    fake_stop(fakes[atomic_load(&who)]);
    begins(-1, "MOVED");
}
END_TEST


/* whichever worker has them; nothing is sent to the other instance */
START_TEST(moved_in_flight)
{
    int             other;
    unsigned        n;
    client_call_t  *stream, *unary;

    start(CONF);
    in_flight(&stream, &unary);
    n = atomic_load(&served);
    other = 1 - atomic_load(&who);
    fake_stop(fakes[1 - other]);

    lost(stream);
    lost(unary);
    lost(call("s1"));
    ck_assert_uint_eq(atomic_load(&served), n);
    begins(other, "MOVED");
}
END_TEST


/* also those of methods that may not run twice */
START_TEST(moved_in_flight_once)
{
    int             other;
    client_call_t  *stream, *unary;

    start(CONF_WITH(FAIL TWO, "", "myservice_retry off;\n"
                    "myservice_resume off;\n"));
    in_flight(&stream, &unary);
    other = 1 - atomic_load(&who);
    fake_stop(fakes[1 - other]);

    lost(stream);
    lost(unary);
    ck_assert_uint_eq(fake_requests(fakes[other]), 0);
    lost(call("s1"));
    begins(other, "MOVED");
}
END_TEST


/* a call that began before the session's first success, and saw it */
START_TEST(moved_in_flight_first)
{
    int             other;
    client_call_t  *first;

    start(CONF_WITH(FAIL TWO, "", "myservice_retry off;\n"));
    atomic_store(&next, HOLD);
    first = echo_start(client_open(harness_port(8080)), "s1");
    await_served(1);
    client_assert(call("s1"), 0, "");
    other = 1 - atomic_load(&who);
    fake_stop(fakes[1 - other]);

    lost(first);
    lost(call("s1"));
    begins(other, "MOVED");
}
END_TEST


/* an instance that still listens is no loss, and gets nothing twice */
START_TEST(moved_connection_once)
{
    unsigned        n;
    client_call_t  *stream, *unary;

    start(CONF_WITH(FAIL TWO, "", "myservice_retry off;\n"
                    "myservice_resume off;\n"));
    in_flight(&stream, &unary);
    n = atomic_load(&served);
    fake_abort(fakes[atomic_load(&who)]);
    client_wait(stream);
    client_wait(unary);
    client_assert(stream, 14, "backend service unavailable");
    client_assert_refused(unary, 14, "backend service unavailable");
    ck_assert_uint_eq(atomic_load(&served), n);
    begins(-1, "HIT");
}
END_TEST


START_TEST(moved_dead)
{
    unsigned        n;
    client_call_t  *stream, *unary;

    start(CONF_WITH(FAIL TWO HEALTH, "", ""));
    status_await("\"health\":\"serving\"");
    in_flight(&stream, &unary);
    n = atomic_load(&served);

    /* it does not answer, and both connections stay */
    atomic_store(&dumb, true);
    lost(stream);
    lost(unary);
    atomic_store(&dumb, false);
    ck_assert_uint_eq(atomic_load(&served), n);
    status_await_not("\"down\":1");
    lost(call("s1"));
    begins(-1, "MOVED");
}
END_TEST


/* one whose process was started again: the state is gone, too */
START_TEST(moved_same_instance)
{
    start(CONF_WITH(FAIL ONE, "", ""));
    client_assert(call("s1"), 0, "");
    fake_refuse_connects(fakes[0], true);
    fake_abort(fakes[0]);
    lost(call("s1"));
    fake_refuse_connects(fakes[0], false);
    begins(0, "MOVED");
}
END_TEST


/* a connection that ends is no loss */
START_TEST(moved_connection)
{
    client_call_t  *c;

    start(CONF);
    client_assert(call("s1"), 0, "");
    atomic_store(&next, CLOSES);
    c = call("s1");
    client_assert(c, 0, "");
    ck_assert(client_has(c, "session-decision: HIT"));
}
END_TEST


/* before the session's first success there is nothing to lose */
START_TEST(moved_first)
{
    client_call_t  *c;

    start(CONF);
    fake_stop(fakes[0]);
    fakes[0] = NULL;
    c = call("s1");
    client_assert(c, 0, "");
    ck_assert(client_has(c, "session-decision: NEW"));
}
END_TEST


START_TEST(moved_conflict)
{
    int  other;

    start(CONF);
    client_assert(call("s1"), 0, "");
    other = 1 - atomic_load(&who);
    atomic_store(&next, REFUSES);
    lost(call("s1"));
    begins(other, "NEW");
    ck_assert(gateway_logged("session lost its instance: the instance serves "
                             "another one, session=\"s1\""));
}
END_TEST


START_TEST(moved_leaving)
{
    int  other;

    start(CONF);
    client_assert(call("s1"), 0, "");
    other = 1 - atomic_load(&who);
    atomic_store(&next, LEAVES);
    lost(call("s1"));
    begins(other, "MOVED");
}
END_TEST


START_TEST(moved_released)
{
    client_call_t  *c;

    start(CONF);
    client_assert(call("s1"), 0, "");
    client_assert(shutdown_get(client_open(harness_port(8080)), "s1"), 0, "");
    c = call("s1");
    client_assert(c, 0, "");
    ck_assert(client_has(c, "session-decision: NEW"));
    status_await("\"ended\":{\"released\":1,\"expired\":0,\"died\":0,");
    ck_assert(gateway_logged("session ended: released, session=\"s1\""));
}
END_TEST


/* no "error_page" sends it elsewhere */
START_TEST(moved_fallback)
{
    start(CONF_WITH(FAIL TWO, "upstream v { server 127.0.0.1:8082; }\n",
                    "error_page 500 502 504 = @v;\n"
                    "grpc_pass grpc://u;\n"
                    "}\n"
                    "location @v { grpc_pass grpc://v; }\n"
                    "location /none {\n"));
    client_assert(call("s1"), 0, "");
    fake_stop(fakes[atomic_load(&who)]);
    lost(call("s1"));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("moved");
    harness_add(suite, moved_between_calls);
    harness_add(suite, moved_allowed);
    harness_add(suite, moved_in_flight);
    harness_add(suite, moved_in_flight_once);
    harness_add(suite, moved_in_flight_first);
    harness_add(suite, moved_connection_once);
    harness_add(suite, moved_dead);
    harness_add(suite, moved_same_instance);
    harness_add(suite, moved_connection);
    harness_add(suite, moved_first);
    harness_add(suite, moved_conflict);
    harness_add(suite, moved_leaving);
    harness_add(suite, moved_released);
    harness_add(suite, moved_fallback);

    return harness_run(suite, "test_moved");
}
