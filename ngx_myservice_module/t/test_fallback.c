/*
 * An error_page that sends a call to other instances: when nginx uses it, and
 * what of the request these instances get.
 */

#include <stdatomic.h>

#include "client.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"
#include "sized.h"


#define CONF(upstream, directives, fallback)                                  \
    "%%GLOBALS%%\n"                                                           \
    "events {}\n"                                                             \
    "http {\n"                                                                \
    "    %%GLOBALS_HTTP%%\n"                                                  \
    "    log_format f 'uri=$uri grpc=$myservice_grpc_status';\n"              \
    "    upstream u {\n"                                                      \
    "        myservice_sessions $myservice_session zone=u:1m;\n"              \
    upstream                                                                  \
    "        keepalive 4;\n"                                                  \
    "    }\n"                                                                 \
    "    upstream v {\n"                                                      \
    "        myservice_sessions $myservice_session zone=v:1m;\n"              \
    "        server 127.0.0.1:8083;\n"                                        \
    "    }\n"                                                                 \
    "    server {\n"                                                          \
    "        listen 127.0.0.1:8080 http2;\n"                                  \
    "        myservice_grpc_errors on;\n"                                     \
    "        access_log %%DIR%%/access.log f;\n"                              \
    "        location / {\n"                                                  \
    "            error_page 500 502 504 = @fallback;\n"                       \
    directives                                                                \
    "            grpc_pass grpc://u;\n"                                       \
    "        }\n"                                                             \
    "        location @fallback {\n"                                          \
    fallback                                                                  \
    "        }\n"                                                             \
    "    }\n"                                                                 \
    "}\n"

#define ONE          "server 127.0.0.1:8081;\n"
#define ELSEWHERE    "grpc_pass grpc://127.0.0.1:8083;\n"
#define OTHERS       "grpc_pass grpc://v;\n"

#define CANCEL       8                  /* RFC 9113 section 7 */

#define BUSY         "all instances are busy"
#define UNAVAILABLE  "backend service unavailable"


static atomic_ulong  body;              /* bytes of the last one */


static void
elsewhere(fake_call_t *call)
{
    atomic_store(&body, call->body);
    fake_ok(call);
}


static void
dies(fake_call_t *call)
{
    fake_close(call);
}


static void
silent(fake_call_t *call)
{
    (void) call;
}


/* The request arrives there as a whole, whenever it comes. */
static void
answered_elsewhere(fake_t *fake, const char *session)
{
    unsigned  n;

    n = fake_requests(fake);
    atomic_store(&body, 0);
    client_assert(echo_once(session), 0, "");
    ck_assert_uint_gt(atomic_load(&body), 5);
    gateway_await_access("grpc=0");

    client_assert(sized_late(session, 40000), 0, "");
    ck_assert_uint_eq(atomic_load(&body), 40000);
    ck_assert_uint_eq(fake_requests(fake), n + 2);
}


START_TEST(fallback_unreachable)
{
    fake_t  *fake;

    fake = fake_start(8083, "elsewhere", elsewhere);
    gateway_start(CONF(ONE, "", ELSEWHERE));
    answered_elsewhere(fake, "s1");
}
END_TEST


START_TEST(fallback_busy)
{
    fake_t  *fake;

    (void) fake_start(8081, "one", fake_ok);
    fake = fake_start(8083, "elsewhere", elsewhere);
    gateway_start(CONF(ONE, "", ELSEWHERE));
    client_assert(echo_once("s1"), 0, "");
    answered_elsewhere(fake, "s2");
    ck_assert_str_eq(client_pod(echo_once("s1"), 0), "one");
}
END_TEST


/* other instances with sessions, where the call is followed like any other */
START_TEST(fallback_sessions)
{
    fake_t  *fake;

    (void) fake_start(8081, "one", fake_ok);
    fake = fake_start(8083, "elsewhere", elsewhere);
    gateway_start(CONF(ONE, "", OTHERS));
    client_assert(echo_once("s1"), 0, "");
    answered_elsewhere(fake, "s2");
    client_assert_refused(echo_once("s3"), 8, BUSY);
}
END_TEST


static void
resets_once(fake_call_t *call)
{
    if (call->number == 1) {
        fake_reset(call, CANCEL);

    } else {
        elsewhere(call);
    }
}


/* the location of the call says which methods may be repeated */
START_TEST(fallback_retry)
{
    fake_t  *fake;

    fake = fake_start(8083, "elsewhere", resets_once);
    gateway_start(CONF(ONE, "",
                       "myservice_retry MyServiceEcho;\n" OTHERS));
    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 2);
}
END_TEST


START_TEST(fallback_retry_off)
{
    fake_t  *fake;

    fake = fake_start(8083, "elsewhere", resets_once);
    gateway_start(CONF(ONE, "myservice_retry MyServiceEcho;\n", OTHERS));
    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


/* no instance answers there, either: the first reason stands */
START_TEST(fallback_unreachable_too)
{
    (void) fake_start(8081, "one", fake_ok);
    gateway_start(CONF(ONE, "", ELSEWHERE));
    client_assert(echo_once("s1"), 0, "");
    client_assert_refused(echo_once("s2"), 8, BUSY);
}
END_TEST


/* listed methods may run twice */
START_TEST(fallback_listed)
{
    fake_t  *fake;

    (void) fake_start(8081, "one", dies);
    fake = fake_start(8083, "elsewhere", elsewhere);
    gateway_start(CONF(ONE, "myservice_retry MyServiceEcho;\n", ELSEWHERE));
    answered_elsewhere(fake, "s1");
}
END_TEST


static void
not_asked(const char *conf, const char *session, int code, const char *text)
{
    fake_t  *fake;

    fake = fake_start(8083, "elsewhere", elsewhere);
    gateway_start(conf);
    client_assert_refused(echo_once(session), code, text);
    client_assert_refused(sized_late(session, 40000), code, text);
    ck_assert_uint_eq(fake_requests(fake), 0);
}


/* the call may have run */
START_TEST(fallback_processed)
{
    (void) fake_start(8081, "one", dies);
    not_asked(CONF("server 127.0.0.1:8081 fail_timeout=0;\n", "", ELSEWHERE),
              "s1", 14, UNAVAILABLE);
}
END_TEST


START_TEST(fallback_timed_out)
{
    (void) fake_start(8081, "one", silent);
    not_asked(CONF(ONE, "grpc_read_timeout 300ms;\n"
                        "myservice_retry MyServiceEcho;\n", ELSEWHERE),
              "s1", 4, "deadline exceeded");
}
END_TEST


/* no refusal of the client itself becomes an answer */
START_TEST(fallback_no_session)
{
    (void) fake_start(8081, "one", fake_ok);
    not_asked(CONF(ONE, "", ELSEWHERE), "", 16, "missing session-id");
}
END_TEST


START_TEST(fallback_no_token)
{
    fake_t         *fake;
    client_call_t  *call;

    (void) fake_start(8081, "one", fake_ok);
    fake = fake_start(8083, "elsewhere", elsewhere);
    gateway_start(CONF(ONE,
                       "error_page 401 403 = @fallback;\n"
                       "myservice_jwt on;\n"
                       "myservice_jwt_secret_file %%DIR%%/secret;\n",
                       ELSEWHERE));

    call = client_grpc(client_open(harness_port(8080)), ECHO, NULL, "s1", "",
                       0);
    client_wait(call);
    client_assert_refused(call, 16, "missing or invalid token");
    ck_assert_uint_eq(fake_requests(fake), 0);
    client_assert(echo_once("s1"), 0, "");
}
END_TEST


/* too long to be kept, and to be sent to a second place */
START_TEST(fallback_too_large)
{
    fake_t           *fake;
    long long         since;
    client_call_t    *call;
    client_header_t   headers[] = {
        { "te", "trailers" },
        { "content-type", "application/grpc" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    static const uint8_t  data[50000];

    fake = fake_start(8083, "elsewhere", elsewhere);
    gateway_start(CONF(ONE, "myservice_replay_buffer 16k;\n", ELSEWHERE));

    /* the end comes when the others have been asked: a request that is there
     * as a whole is kept by nginx */

    call = client_request(client_open(harness_port(8080)), ECHO, headers, data,
                          sizeof(data), true);
    since = harness_now();

    while (!call->done && !gateway_logged("connect() failed")) {
        client_poll(20);
        harness_pause(since, "an instance is asked");
    }

    if (!call->done) {
        client_send(call, "", 1, true);
    }

    client_wait(call);
    client_assert_refused(call, 14, UNAVAILABLE);
    ck_assert_uint_eq(fake_requests(fake), 0);
    client_assert(sized_late("s1", 10000), 0, "");
}
END_TEST


/* of no use to a gRPC client */
START_TEST(fallback_page)
{
    gateway_start(CONF(ONE, "", "return 200 'try later';\n"));
    client_assert_refused(echo_once("s1"), 14, UNAVAILABLE);
    client_assert_refused(sized_late("s1", 100), 14, UNAVAILABLE);
}
END_TEST


/* a client that goes away while the rest of its request is waited for */
START_TEST(fallback_cancelled)
{
    fake_t           *fake;
    client_t         *client;
    client_call_t    *call;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    fake = fake_start(8083, "elsewhere", elsewhere);
    gateway_start(CONF(ONE, "", ELSEWHERE));
    client = client_open(harness_port(8080));
    call = client_request(client, ECHO, headers, "\0\0", 2, true);

    while (call->sent < 2) {
        client_poll(100);
    }

    client_ping(client);
    client_wait_pongs(client, 1);
    client_cancel(call);

    client_assert(echo_once("s1"), 0, "");
    ck_assert_uint_eq(fake_requests(fake), 1);
}
END_TEST


/* or that never sends it */
START_TEST(fallback_body_timeout)
{
    fake_t           *fake;
    client_call_t    *call;
    client_header_t   headers[] = {
        { "content-type", "application/grpc" },
        { "session-id", "s1" },
        { NULL, NULL }
    };

    fake = fake_start(8083, "elsewhere", elsewhere);
    gateway_start(CONF(ONE, "", "client_body_timeout 300ms;\n" ELSEWHERE));
    call = client_request(client_open(harness_port(8080)), ECHO, headers,
                          "\0\0", 2, true);
    client_wait(call);
    ck_assert_int_ne(call->grpc, 0);
    ck_assert_uint_eq(fake_requests(fake), 0);
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("fallback");
    harness_add(suite, fallback_unreachable);
    harness_add(suite, fallback_busy);
    harness_add(suite, fallback_sessions);
    harness_add(suite, fallback_retry);
    harness_add(suite, fallback_retry_off);
    harness_add(suite, fallback_unreachable_too);
    harness_add(suite, fallback_listed);
    harness_add(suite, fallback_processed);
    harness_add(suite, fallback_timed_out);
    harness_add(suite, fallback_no_session);
    harness_add(suite, fallback_no_token);
    harness_add(suite, fallback_too_large);
    harness_add(suite, fallback_page);
    harness_add(suite, fallback_cancelled);
    harness_add(suite, fallback_body_timeout);

    return harness_run(suite, "test_fallback");
}
