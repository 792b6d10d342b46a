/*
 * Kept-alive connections that the instance has closed when a call wants one.
 * If the gateway sees this before it writes the request, the call uses a new
 * connection; if it sees this afterwards, the call may have run.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "sized.h"
#include "token.h"


#define CONF_WITH(servers, server, directives)                                \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format kept 'decision=$myservice_decision '\n"                  \
    "        'instance=$myservice_instance grpc=$myservice_grpc_status';\n"   \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    "        myservice_release MyServiceShutdown;\n"                          \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    server                                                                    \
    "        access_log %%DIR%%/access.log kept;\n"                          \
    "        location / {\n"                                                  \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define CONF(servers, directives)  CONF_WITH(servers, "", directives)

#define ONE          "server 127.0.0.1:8081;\n"
#define TWO          ONE "server 127.0.0.1:8082;\n"
#define RETRY_ECHO   "myservice_retry MyServiceEcho;\n"

#define UNAVAILABLE  "backend service unavailable"


static atomic_uint   served;            /* requests over all fakes */
static atomic_ulong  body;              /* bytes of the last one */


static void
play(fake_call_t *call)
{
    atomic_fetch_add(&served, 1);
    atomic_store(&body, call->body);
    fake_ok(call);
}


/* The second request on a connection meets its end: a kept-alive connection
 * that was closed meanwhile. */
static void
stale(fake_call_t *call)
{
    atomic_fetch_add(&served, 1);
    atomic_store(&body, call->body);

    if (call->nth == 2) {
        fake_close(call);

    } else {
        fake_ok(call);
    }
}


static client_call_t *
upload(const char *session, size_t size)
{
    void           *message;
    client_call_t  *call;

    message = calloc(1, size);
    ck_assert_ptr_nonnull(message);
    call = client_grpc(client_open(harness_port(8080)), ECHO,
                       token_make(session, 60), session, message, size);
    free(message);
    client_wait(call);

    return call;
}


/* listed: it is run again, on a new connection to the same instance */
START_TEST(kept_stale_connection)
{
    int              i;
    fake_t          *fake;
    client_call_t   *call;

    fake = fake_start(8081, "one", stale);
    gateway_start(CONF(ONE, RETRY_ECHO));
    client_assert(echo_once("s1"), 0, "");

    for (i = 1; i <= 5; i++) {
        call = echo_once("s1");
        client_assert(call, 0, "");
        ck_assert_uint_eq(client_messages(call), 1);
        ck_assert_uint_eq(fake_connections(fake), 1 + (unsigned) i);
        ck_assert_uint_eq(fake_requests(fake), 1 + 2 * (unsigned) i);
    }
}
END_TEST


/* The call has run, and a kept connection without an answer proves nothing. */
START_TEST(kept_runs_once)
{
    int              i;
    fake_t          *fakes[2];

    fakes[0] = fake_start(8081, "one", stale);
    fakes[1] = fake_start(8082, "two", stale);
    gateway_start(CONF(TWO, "myservice_retry MyServiceSubscribe;\n"));

    for (i = 1; i <= 3; i++) {
        client_assert(echo_once("s1"), 0, "");
        client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
        ck_assert_uint_eq(atomic_load(&served), 2 * (unsigned) i);
    }

    /* and the session stays on its instance */
    ck_assert(fake_requests(fakes[0]) == 0 || fake_requests(fakes[1]) == 0);
    ck_assert(!gateway_logged("instance failed"));
}
END_TEST


/* the same when the whole instance is gone with the call */
static void
dies(fake_call_t *call)
{
    if (atomic_fetch_add(&served, 1) == 1) {
        fake_deaf(call->fake);
        fake_close(call);

    } else {
        fake_ok(call);
    }
}


START_TEST(kept_dies_not_listed)
{
    char            pod[64];
    client_call_t  *call;

    (void) fake_start(8081, "one", dies);
    (void) fake_start(8082, "two", dies);
    gateway_start(CONF(TWO, ""));

    call = echo_once("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
    ck_assert_uint_eq(atomic_load(&served), 2);

    /* the next one cannot connect, and moves */
    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_str_ne(client_pod(call, 0), pod);
    ck_assert_uint_eq(atomic_load(&served), 3);
    gateway_await_access("decision=MOVED");
}
END_TEST


START_TEST(kept_dies_listed)
{
    char            pod[64];
    client_call_t  *call;

    (void) fake_start(8081, "one", dies);
    (void) fake_start(8082, "two", dies);
    gateway_start(CONF(TWO, RETRY_ECHO));

    call = echo_once("s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    call = echo_once("s1");
    client_assert(call, 0, "");
    ck_assert_str_ne(client_pod(call, 0), pod);
    ck_assert_uint_eq(atomic_load(&served), 3);
    gateway_await_access("decision=MOVED");
}
END_TEST


/* closed while it was idle, at the moment of the next call: it is seen before
 * that is written, so that any method goes on a new one, whatever its body */
static void
closed_idle(const char *conf, bool goaway)
{
    size_t          i;
    fake_t         *fake;
    client_t       *client;
    client_call_t  *call;

    static const size_t  size[] = { 0, 100, 20000, 60000 };

    fake = fake_start(8081, "one", play);
    gateway_start(conf);
    client = client_open(harness_port(8080));
    client_assert(echo_get(client, "s1"), 0, "");

    for (i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
        gateway_freeze(true);
        call = sized_start(client, ECHO, "s1", size[i]);

        while (call->sent < size[i] + 5) {
            client_poll(100);
        }

        fake_hang_up(fake, goaway);
        gateway_freeze(false);
        client_wait(call);
        client_assert(call, 0, "");
        ck_assert_uint_eq(atomic_load(&served), 2 + i);
        ck_assert_uint_ge(atomic_load(&body), size[i] + 5);
        ck_assert_uint_eq(fake_connections(fake), 2 + i);
    }
}


START_TEST(kept_closed_idle)
{
    closed_idle(CONF(ONE, "myservice_replay_buffer 16k;\n"), false);
}
END_TEST


START_TEST(kept_goaway_idle)
{
    closed_idle(CONF(ONE, "myservice_replay_buffer 16k;\n"), true);
}
END_TEST


START_TEST(kept_closed_idle_coalesced)
{
    closed_idle(CONF_WITH(ONE, "myservice_coalesce on;\n",
                          "myservice_replay_buffer 16k;\n"), false);
}
END_TEST


/* a connection was reset while it was idle; the gateway notices that when it
 * has a call for it */
START_TEST(kept_reset_connection)
{
    int             i;
    fake_t         *fakes[2];
    client_t       *client;
    client_call_t  *call;
    char            pod[64];

    fakes[0] = fake_start(8081, "one", play);
    fakes[1] = fake_start(8082, "two", play);
    gateway_start(CONF(TWO, ""));
    client = client_open(harness_port(8080));
    call = echo_get(client, "s1");
    client_assert(call, 0, "");
    snprintf(pod, sizeof(pod), "%s", client_pod(call, 0));

    for (i = 0; i < 3; i++) {
        gateway_freeze(true);
        call = echo_start(client, "s1");

        while (call->sent == 0) {
            client_poll(100);
        }

        fake_abort(fakes[0]);
        fake_abort(fakes[1]);
        gateway_freeze(false);
        client_wait(call);
        client_assert(call, 0, "");
        ck_assert_str_eq(client_pod(call, 0), pod);
    }

    ck_assert(!gateway_logged("instance failed"));
    ck_assert_uint_eq(fake_requests(fakes[0]) + fake_requests(fakes[1]), 4);
}
END_TEST


/* the request body is sent again as a whole */
START_TEST(kept_body)
{
    (void) fake_start(8081, "one", stale);
    gateway_start(CONF(ONE, RETRY_ECHO "myservice_replay_buffer 64k;\n"));

    client_assert(echo_once("s1"), 0, "");
    client_assert(upload("s1", 50000), 0, "");
    ck_assert_uint_eq(atomic_load(&body), 50005);
    ck_assert_uint_eq(atomic_load(&served), 3);
}
END_TEST


/* a body that is larger than what may be kept is not repeated */
START_TEST(kept_body_too_large)
{
    (void) fake_start(8081, "one", stale);
    gateway_start(CONF(ONE, RETRY_ECHO "myservice_replay_buffer 16k;\n"));

    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(sized_late("s1", 50000), 14, UNAVAILABLE);
    ck_assert_uint_eq(atomic_load(&served), 2);

    /* without a failure such a body passes */
    client_assert(upload("s1", 50000), 0, "");
    ck_assert_uint_eq(atomic_load(&body), 50005);
}
END_TEST


int
main(int argc, char **argv)
{
    Suite  *suite;

    (void) argc;
    suite = suite_create("kept");

    harness_add(suite, kept_stale_connection);
    harness_add(suite, kept_runs_once);
    harness_add(suite, kept_dies_not_listed);
    harness_add(suite, kept_dies_listed);
    harness_add(suite, kept_closed_idle);
    harness_add(suite, kept_closed_idle_coalesced);
    harness_add(suite, kept_goaway_idle);
    harness_add(suite, kept_reset_connection);
    harness_add(suite, kept_body);
    harness_add(suite, kept_body_too_large);

    return harness_run(suite, argv[0]);
}
