/*
 * Instances that accept connections and never answer: what a session loses that
 * has no other instance yet, with probes and without.
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


#define CONF(health, servers)                                                 \
    "%%GLOBALS%%\n"                                                           \
    "worker_processes 2;\n"                                                   \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format hung 'instance=$myservice_instance '\n"                   \
    "        'decision=$myservice_decision '\n"                               \
    "        'session=$myservice_session';\n"                                 \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    health                                                                    \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        grpc_read_timeout 10s;\n"                                        \
    "        access_log %%DIR%%/access.log hung;\n"                           \
    "        location / { grpc_pass grpc://u; }\n"                            \
    "        location = /my_service.MyServiceAPI/MyServiceSubscribe {\n"      \
    "            grpc_read_timeout 1h;\n"                                     \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define SHIPPED    "myservice_health interval=2s timeout=1s;\n"
#define FAST       "myservice_health interval=100ms timeout=1s fails=1;\n"
#define PASSING    "myservice_health interval=100ms timeout=10s;\n"
#define TWO        "server 127.0.0.1:8081; server 127.0.0.1:8082;\n"
#define THREE      TWO "server 127.0.0.1:8083;\n"
#define CHECK      "/grpc.health.v1.Health/Check"


/* The instance that gets the first call hangs from then on, or its calls do. */

static _Atomic(fake_t *)  hung;
static atomic_bool        only_calls;
static atomic_uint        swallowed;


static void
serve(fake_call_t *call)
{
    bool     check;
    fake_t  *none;

    none = NULL;
    check = strcmp(call->path, CHECK) == 0;

    if (!check) {
        (void) atomic_compare_exchange_strong(&hung, &none, call->fake);
    }

    if (call->fake == atomic_load(&hung)) {

        if (!check) {
            atomic_fetch_add(&swallowed, 1);
            return;
        }

        if (!atomic_load(&only_calls)) {
            return;
        }
    }

    if (check) {
        fake_health(call, 1);

    } else {
        fake_ok(call);
    }
}


static void
never(fake_call_t *call)
{
    (void) call;
    atomic_fetch_add(&swallowed, 1);
}


static void
three_fakes(void)
{
    (void) fake_start(8081, "one", serve);
    (void) fake_start(8082, "two", serve);
    (void) fake_start(8083, "three", serve);
}


static client_call_t *
call_within(client_t *client, const char *timeout)
{
    const client_header_t  headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { timeout != NULL ? "grpc-timeout" : NULL, timeout },
        { NULL, NULL }
    };

    return client_request(client, ECHO, headers, "\0\0\0\0\0", 5, false);
}


/* The client's own timer, which is ahead of the gateway's: in the last eighth of
 * the call's time, if it was meant for that. */
static void
cancel_after(client_call_t *call, long long ms)
{
    long long  since;

    since = harness_now();

    while (harness_now() - since < ms) {
        ck_assert(!call->done);
        client_poll(10);
    }

    client_cancel(call);
}


/* How many calls with that deadline are lost before one succeeds. */
static unsigned
lost(const char *timeout)
{
    unsigned        n;
    client_t       *client;
    client_call_t  *call;

    client = client_open(harness_port(8080));

    for (n = 0; n < 10; n++) {
        call = call_within(client, timeout);
        client_wait(call);

        if (call->grpc == 0) {
            return n;
        }

        client_assert(call, 4, "deadline exceeded");
    }

    return n;
}


START_TEST(hung_without_checks)
{
    three_fakes();
    gateway_start(CONF("", THREE));
    ck_assert_uint_eq(lost("2S"), 1);
    ck_assert_uint_eq(lost("5S"), 0);
    ck_assert(gateway_logged("answer is late: it was the session's first"));
}
END_TEST


START_TEST(hung_with_checks)
{
    three_fakes();
    gateway_start(CONF(SHIPPED, THREE));
    ck_assert_uint_le(lost("1500m"), 2);
}
END_TEST


/* a process that is stopped: its kernel still takes connections */
START_TEST(hung_stopped)
{
    int             i;
    pid_t           pids[3];
    char            text[64];
    client_call_t  *call;

    pids[0] = instance_start(8081, "i1", NULL);
    pids[1] = instance_start(8082, "i2", NULL);
    pids[2] = instance_start(8083, "i3", NULL);
    gateway_start(CONF("", THREE));

    /* finds the instance that the session's call goes to first */
    call = call_within(client_open(harness_port(8080)), NULL);
    client_wait(call);
    gateway_await_access("decision=NEW");
    i = 0;

    while (i < 2) {
        snprintf(text, sizeof(text), "instance=127.0.0.1:%d",
                 harness_port(8081 + i));

        if (harness_contains("access.log", text)) {
            break;
        }

        i++;
    }

    gateway_stop();
    (void) kill(pids[i], SIGSTOP);
    gateway_start(CONF("", THREE));
    ck_assert_uint_eq(lost("1500m"), 1);
    (void) kill(pids[i], SIGCONT);
}
END_TEST


/* its cancel comes before the gateway's own timer */
START_TEST(hung_client_has_a_timer)
{
    client_t  *client;

    three_fakes();
    gateway_start(CONF("", THREE));
    client = client_open(harness_port(8080));
    cancel_after(call_within(client, "8S"), 7400);
    gateway_await_access("decision=NEW");
    ck_assert_uint_eq(lost("5S"), 0);
}
END_TEST


/* a client that gives up proves nothing about the instance */
START_TEST(hung_client_cancels)
{
    client_t  *client;

    three_fakes();
    gateway_start(CONF("", THREE));
    client = client_open(harness_port(8080));
    cancel_after(call_within(client, "10S"), 300);
    gateway_await_access("decision=NEW");
    cancel_after(call_within(client, NULL), 300);

    while (atomic_load(&swallowed) < 2) {
        client_poll(10);
    }

    ck_assert(!gateway_logged("answer is late: it was the session's first"));
}
END_TEST


START_TEST(hung_read_timeout)
{
    client_t       *client;
    client_call_t  *call;

    three_fakes();
    gateway_start(CONF("", THREE));
    client = client_open(harness_port(8080));
    call = call_within(client, NULL);
    client_wait(call);
    client_assert(call, 4, "deadline exceeded");
    ck_assert_uint_eq(lost("5S"), 0);
}
END_TEST


/* calls that overlap keep the lease: they do not keep the session there */
START_TEST(hung_beside_another_call)
{
    client_t               *client;
    const client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "te", "trailers" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    three_fakes();
    gateway_start(CONF("", THREE));
    client = client_open(harness_port(8080));
    (void) client_request(client, SUBSCRIBE, headers, "\0\0\0\0\0", 5,
                          false);

    while (atomic_load(&swallowed) < 1) {
        client_poll(10);
    }

    ck_assert_uint_eq(lost("2S"), 1);
    gateway_await_access("decision=MOVED session=s1");
}
END_TEST


/* its checks find it while a client waits for it without a limit */
START_TEST(hung_is_found_while_tentative)
{
    client_t       *client;
    client_call_t  *call;

    three_fakes();
    gateway_start(CONF(FAST, THREE));
    client = client_open(harness_port(8080));
    call = call_within(client, NULL);

    while (!gateway_logged("is down")) {
        client_poll(10);
    }

    client_cancel(call);
    gateway_await_access("decision=NEW");
    ck_assert_uint_eq(lost("5S"), 0);
    ck_assert_uint_eq(atomic_load(&swallowed), 1);
}
END_TEST


/* a call that takes long does not leave an instance whose probes pass */
START_TEST(hung_only_the_call)
{
    three_fakes();
    atomic_store(&only_calls, true);
    gateway_start(CONF(PASSING, THREE));
    client_wait(call_within(client_open(harness_port(8080)), "900m"));
    client_wait(call_within(client_open(harness_port(8080)), "900m"));
    ck_assert_uint_eq(atomic_load(&swallowed), 2);
}
END_TEST


/* no instance answers: calls try all in turn, and again when they answer */
START_TEST(hung_all)
{
    fake_t  *one, *two;

    one = fake_start(8081, "one", never);
    two = fake_start(8082, "two", never);
    gateway_start(CONF("", TWO));
    (void) lost("500m");
    ck_assert_uint_eq(atomic_load(&swallowed), 10);
    ck_assert_uint_gt(fake_requests(one), 0);
    ck_assert_uint_gt(fake_requests(two), 0);

    fake_stop(one);
    fake_stop(two);
    (void) fake_start(8081, "one", serve);
    (void) fake_start(8082, "two", serve);
    ck_assert_uint_le(lost("5S"), 1);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("hung");

    harness_add(suite, hung_without_checks);
    harness_add(suite, hung_with_checks);
    harness_add(suite, hung_stopped);
    harness_add(suite, hung_client_has_a_timer);
    harness_add(suite, hung_client_cancels);
    harness_add(suite, hung_read_timeout);
    harness_add(suite, hung_beside_another_call);
    harness_add(suite, hung_is_found_while_tentative);
    harness_add(suite, hung_only_the_call);
    harness_add(suite, hung_all);

    return harness_run(suite, argv[0]);
}
