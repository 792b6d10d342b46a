/*
 * First calls that hang, or are cancelled at once: "tentative_connection" of
 * myservice_calls leaves instances to other clients.  With a store:
 * test_store_flood.c.
 */

#include <stdio.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "status.h"


#define CONF(upstream)                                                        \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format flood 'decision=$myservice_decision '\n"                  \
    "        'grpc=$myservice_grpc_status session=$myservice_session';\n"     \
    STATUS_SERVER                                                             \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    "        myservice_health interval=100ms;\n"                              \
    upstream                                                                  \
    "        server 127.0.0.1:8081;\n"                                        \
    "        server 127.0.0.1:8082;\n"                                        \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        http2_max_concurrent_streams 1000;\n"                            \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log flood;\n"                          \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "    }\n"                                                                 \
    "}\n"

#define FIRST  "myservice_calls tentative_connection=1;\n"
#define MANY   "too many calls"

#define FLOOD  100
#define ROUNDS 20


/* Sessions whose names begin with "h" hang. */
static void
serve(fake_call_t *call)
{
    if (strcmp(call->path, "/grpc.health.v1.Health/Check") == 0) {
        fake_health(call, 1);
        return;
    }

    if (call->session[0] != 'h') {
        fake_ok(call);
    }
}


static client_t *
start(const char *conf)
{
    (void) fake_start(8081, "one", serve);
    (void) fake_start(8082, "two", serve);
    gateway_start(conf);

    return client_open(harness_port(8080));
}


static void
leave(const char *session)
{
    client_assert(shutdown_get(client_open(harness_port(8080)), session), 0,
                  "");
}


START_TEST(flood_hangs)
{
    client_t       *bad;
    client_call_t  *first, *second;

    bad = start(CONF(FIRST));

    first = echo_start(bad, "h1");
    client_poll(0);
    status_await("\"tentative\":1,");
    client_assert_refused(echo_get(bad, "h2"), 8, MANY);
    gateway_await_access("decision=LIMITED grpc=8 session=h2");

    /* another call of the session, and another client */

    second = echo_start(bad, "h1");
    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(echo_get(bad, "h2"), 8, MANY);

    /* one of its calls holds the session's claim still */

    client_cancel(first);
    client_poll(0);
    gateway_await_access("decision=NEW grpc=- session=h1");
    client_assert_refused(echo_get(bad, "s2"), 8, MANY);
    client_cancel(second);
    client_poll(0);
    status_await("\"free\":1,");
    client_assert(echo_get(bad, "s2"), 0, "");

    /* a success counts no more */

    leave("s1");
    status_await("\"free\":1,");
    client_assert(echo_get(bad, "s3"), 0, "");
}
END_TEST


/* thousands, with the sessions of another client between them */
START_TEST(flood_cancelled)
{
    int             i, round;
    char            session[16];
    client_t       *bad;
    client_call_t  *c[FLOOD];

    bad = start(CONF(FIRST));

    for (round = 0; round < ROUNDS; round++) {

        for (i = 0; i < FLOOD; i++) {
            snprintf(session, sizeof(session), "h%d-%d", round, i);
            c[i] = echo_start(bad, session);

            /* half of them at once */

            if (i % 2) {
                client_cancel(c[i]);
            }
        }

        client_poll(0);

        snprintf(session, sizeof(session), "s%d", round);
        client_assert(echo_once(session), 0, "");
        leave(session);

        for (i = 0; i < FLOOD; i++) {
            if (!c[i]->done) {
                client_cancel(c[i]);
            }
        }

        client_poll(0);
        status_await("\"free\":2,");
    }

    status_await("\"BUSY\":0,");
    status_await("\"down\":0}");
}
END_TEST


/* A session that waits counts from its turn on: the next one comes then. */
START_TEST(flood_queue)
{
    client_t       *bad;
    client_call_t  *c, *other;

    bad = start(CONF(FIRST "myservice_queue length=8 timeout=60s;\n"));

    client_assert(echo_once("s1"), 0, "");
    (void) echo_start(bad, "h1");
    client_poll(0);
    status_await("\"tentative\":1,");
    c = echo_start(bad, "s2");
    client_poll(0);
    status_await("\"waiting\":1,");
    other = echo_start(client_open(harness_port(8080)), "s3");
    client_poll(0);
    status_await("\"waiting\":2,");

    leave("s1");
    client_wait(c);
    client_assert_refused(c, 8, MANY);
    client_wait(other);
    client_assert(other, 0, "");
}
END_TEST


START_TEST(flood_conf)
{
    const char  *output;

    ck_assert_int_ne(gateway_test(CONF("myservice_calls "
                                       "tentative_connection=0;\n"), &output),
                     0);
    ck_assert_ptr_nonnull(strstr(output, "invalid \"tentative_connection=0\""));
    ck_assert_int_eq(gateway_test(CONF(FIRST), &output), 0);
    ck_assert_ptr_null(strstr(output, "has no effect"));
    ck_assert_int_eq(gateway_test(CONF(FIRST "myservice_store "
                                       "redis://127.0.0.1:6379;\n"), &output),
                     0);
    ck_assert_ptr_null(strstr(output, "has no effect"));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("flood");
    harness_add(suite, flood_hangs);
    harness_add(suite, flood_cancelled);
    harness_add(suite, flood_queue);
    harness_add(suite, flood_conf);

    return harness_run(suite, "test_flood");
}
