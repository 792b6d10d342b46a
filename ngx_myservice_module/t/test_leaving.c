/*
 * An instance that stops answers "instance is shutting down" to calls that
 * still arrive: they go on at another instance, whatever their method.  The
 * gRPC core of the instance cancels some of them: the gateway repeats these if
 * their method is listed.
 */

#include <stdatomic.h>
#include <string.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "token.h"


#define CONF(servers, location)                                               \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format leaving 'decision=$myservice_decision '\n"                \
    "        'session=$myservice_session';\n"                                 \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    servers                                                                   \
    "        keepalive 16;\n"                                                 \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log leaving;\n"                        \
    "        location / { " location " grpc_pass grpc://u; }\n"               \
    "    }\n"                                                                 \
    "}\n"

#define ONE     "server 127.0.0.1:8081;\n"
#define TWO     ONE "server 127.0.0.1:8082;\n"
#define LISTED  "myservice_retry MyServiceEcho;"

#define RESUMED    "myservice_resume MyServiceSubscribe;"
#define SUBSCRIBE  "/my_service.MyServiceAPI/MyServiceSubscribe"


/* The fake that gets the first request leaves from its request "since" on. */

static _Atomic(fake_t *)  stopping;
static unsigned           since = 2;
static unsigned           until = 1000;
static bool               in_trailers;
static int                code = 14;
static const char        *text = "instance is shutting down";


static void
stops(fake_call_t *call)
{
    fake_t *none;

    none = NULL;
    (void) atomic_compare_exchange_strong(&stopping, &none, call->fake);

    if (call->fake != atomic_load(&stopping) || call->number < since
        || call->number >= until)
    {
        fake_ok(call);

    } else if (in_trailers) {
        fake_headers(call);
        fake_trailers(call, code, text);

    } else {
        fake_refuse(call, code, text);
    }
}


static void
moves(void)
{
    fake_t         *one, *two;
    client_call_t  *call;

    one = fake_start(8081, "one", stops);
    two = fake_start(8082, "two", stops);
    gateway_start(CONF(TWO, ""));

    client_assert(echo_once("s"), 0, "");
    call = echo_once("s");
    client_assert(call, 0, "");
    ck_assert_uint_eq(client_messages(call), 1);
    ck_assert_str_eq(client_pod(call, 0),
                     atomic_load(&stopping) == one ? "two" : "one");
    gateway_await_access("decision=MOVED session=s");
    ck_assert(gateway_logged("is shutting down"));

    /* the instance gets no second request */
    client_assert(echo_once("s"), 0, "");
    client_assert_refused(echo_once("stranger"), 8, "all instances are busy");
    ck_assert_uint_eq(fake_requests(one) + fake_requests(two), 4);
}


START_TEST(leaving_trailers_only)
{
    moves();
}
END_TEST


START_TEST(leaving_in_trailers)
{
    in_trailers = true;
    moves();
}
END_TEST


/* a stream that has begun goes on elsewhere where it may be resumed */

static bool         together;
static fake_call_t  open_stream;


static void
stops_in_mid_stream(fake_call_t *call)
{
    fake_t *none;

    none = NULL;
    (void) atomic_compare_exchange_strong(&stopping, &none, call->fake);

    if (strcmp(call->path, SUBSCRIBE) != 0) {
        if (call->fake == atomic_load(&stopping)) {
            fake_trailers(&open_stream, code, text);
        }

        stops(call);
        return;
    }

    fake_headers(call);
    fake_message(call, 0);

    if (call->fake != atomic_load(&stopping)) {
        fake_trailers(call, 0, "");

    } else if (together) {
        fake_trailers(call, code, text);

    } else {
        open_stream = *call;
    }
}


static client_call_t *
subscribe(const char *conf)
{
    client_call_t  *stream;

    (void) fake_start(8081, "one", stops_in_mid_stream);
    (void) fake_start(8082, "two", stops_in_mid_stream);
    gateway_start(conf);

    stream = client_grpc(client_open(harness_port(8080)), SUBSCRIBE,
                         token_make("s", 3600), "s", "", 0);

    if (!together) {
        client_wait_messages(stream, 1);
        client_assert(echo_once("s"), 0, "");
    }

    client_wait(stream);

    return stream;
}


START_TEST(leaving_resumed)
{
    client_call_t  *stream;

    stream = subscribe(CONF(TWO, RESUMED));
    client_assert(stream, 0, "");
    ck_assert_uint_eq(client_messages(stream), 2);
}
END_TEST


/* the end comes with the message before it */
START_TEST(leaving_resumed_together)
{
    client_call_t  *stream;

    together = true;
    stream = subscribe(CONF(TWO, RESUMED));
    client_assert(stream, 0, "");
    ck_assert_uint_eq(client_messages(stream), 2);
}
END_TEST


START_TEST(leaving_not_resumed)
{
    client_call_t  *stream;

    together = true;
    stream = subscribe(CONF(TWO, ""));
    client_assert(stream, 14, "instance is shutting down");
    ck_assert_uint_eq(client_messages(stream), 1);
}
END_TEST


/* the same status of the application is its answer */
START_TEST(leaving_other_text)
{
    text = "instance is shutting down the reactor";
    fake_start(8081, "one", stops);
    fake_start(8082, "two", stops);
    gateway_start(CONF(TWO, LISTED));

    client_assert(echo_once("s"), 0, "");
    client_assert_refused(echo_once("s"), 14,
                          "instance is shutting down the reactor");
}
END_TEST


static fake_t *
cancels(const char *conf)
{
    fake_t *one;

    code = 1;
    text = "CANCELLED";
    one = fake_start(8081, "one", stops);
    gateway_start(conf);
    client_assert(echo_once("s"), 0, "");

    return one;
}


START_TEST(leaving_cancelled_listed)
{
    fake_t *one;

    until = 3;
    one = cancels(CONF(ONE, LISTED));

    client_assert(echo_once("s"), 0, "");
    ck_assert_uint_eq(fake_requests(one), 3);
}
END_TEST


/* the gateway repeats the call once */
START_TEST(leaving_cancelled_again)
{
    fake_t *one;

    one = cancels(CONF(ONE, LISTED));

    client_assert_refused(echo_once("s"), 1, "CANCELLED");
    ck_assert_uint_eq(fake_requests(one), 3);
}
END_TEST


START_TEST(leaving_cancelled_not_listed)
{
    fake_t *one;

    one = cancels(CONF(ONE, ""));

    client_assert_refused(echo_once("s"), 1, "CANCELLED");
    ck_assert_uint_eq(fake_requests(one), 2);
}
END_TEST


int
main(void)
{
    Suite *suite;

    suite = suite_create("leaving");

    harness_add(suite, leaving_trailers_only);
    harness_add(suite, leaving_in_trailers);
    harness_add(suite, leaving_resumed);
    harness_add(suite, leaving_resumed_together);
    harness_add(suite, leaving_not_resumed);
    harness_add(suite, leaving_other_text);
    harness_add(suite, leaving_cancelled_listed);
    harness_add(suite, leaving_cancelled_again);
    harness_add(suite, leaving_cancelled_not_listed);

    return harness_run(suite, "test_leaving");
}
